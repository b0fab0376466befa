"""Chips are what GDAL reads of the same files: bit for bit in their own grid, like our cubes in any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import NORTH, WEST, File, at, make_index, noise, smooth
from tests.training.scenes import CRS, as_array, day, read_window, window

SIDE = 96


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory):
    """A folder with a file of each dtype and of each way to say what has no data, and an index for each."""
    folder = tmp_path_factory.mktemp("kinds")
    options = {"transform": at(), "overviews": (2, 4), "tile": 32}
    mask = np.ones((SIDE, SIDE), bool)
    mask[10:40, 5:60] = False
    holes = noise(3, (SIDE, SIDE), "int16")
    holes[20:50, 30:70] = -9999
    floats = noise(4, (SIDE, SIDE)).astype("float32") / 7
    floats[:20, 40:] = np.nan
    files = {
        "uint8": File("uint8", "a", noise(1, (SIDE, SIDE), "uint8"), options=options),
        "int16": File("int16", "a", holes, options=options | {"nodata": -9999}),
        "uint16": File("uint16", "a", noise(2, (SIDE, SIDE)), options=options),
        "float32": File("float32", "a", floats, options=options | {"nodata": np.nan}),
        "masked": File("masked", "a", noise(5, (SIDE, SIDE)), mask=mask, options=options),
        "bands": File("bands", "a", noise(6, (3, SIDE, SIDE)), options=options),
        "planar": File("planar", "a", noise(7, (3, SIDE, SIDE)), options=options | {"planar": True}),
    }
    return {
        name: (rs.to_torchgeo(make_index(folder, [file], name=f"{name}.parquet")), folder / file.name)
        for name, file in files.items()
    }


KINDS = ["uint8", "int16", "uint16", "float32", "masked", "bands", "planar"]


def expected_of(path, row: int, col: int, height: int, width: int, level: int | None = None):
    """Pixels as float32 and validity, shape (band, height, width), what lies outside being nodata or 0."""
    options: dict[str, Any] = {} if level is None else {"overview_level": level}
    with rasterio.open(path, **options) as source:
        pixels, masks = source.read(), source.read_masks() > 0
        fill = source.nodata or 0
    pixels = np.where(masks, pixels, np.asarray(fill, pixels.dtype))
    pad = max(height, width) + max(pixels.shape)
    sides = ((0, 0), (pad, pad), (pad, pad))
    pixels, masks = np.pad(pixels, sides, constant_values=fill), np.pad(masks, sides)
    part = slice(None), slice(row + pad, row + pad + height), slice(col + pad, col + pad + width)
    return pixels[part].astype(np.float32), masks[part].all(axis=0, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row=st.integers(-20, SIDE - 1), col=st.integers(-20, SIDE - 1), height=st.integers(1, 60), width=st.integers(1, 60)
)
def test_chips_in_the_native_grid_equal_rasterio_windows_bit_for_bit(one_of_each, kind, row, col, height, width):
    dataset, path = one_of_each[kind]
    row, col = max(row, 1 - height), max(col, 1 - width)
    sample = dataset[window(row, col, height, width)]
    pixels, valid = expected_of(path, row, col, height, width)
    assert np.array_equal(as_array(sample), pixels, equal_nan=True)
    assert np.array_equal(as_array(sample, "mask_valid"), valid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "level"), [(2, 0), (4, 1)])
def test_chips_of_a_coarser_step_equal_the_overview(one_of_each, kind, factor, level):
    dataset, path = one_of_each[kind]
    x, y = window(0, 0, 64, 80)
    step = 10.0 * factor
    sample = dataset[x.start : x.stop : step, y.start : y.stop : step]
    pixels, valid = expected_of(path, 0, 0, 64 // factor, 80 // factor, level)
    assert np.array_equal(as_array(sample), pixels, equal_nan=True)
    assert np.array_equal(as_array(sample, "mask_valid"), valid)


def test_masks_are_whole_numbers_with_one_axis_less(tmp_path):
    classes = noise(1, (SIDE, SIDE), "uint8") % 5
    index = make_index(tmp_path, [File("A", "class", classes)])
    sample = rs.to_torchgeo(index, is_image=False)[window(3, 4, 20, 30)]
    assert sample["mask"].dtype == torch.int64
    assert sample["mask"].shape == (20, 30)
    assert np.array_equal(as_array(sample, "mask"), classes[3:23, 4:34])
    assert "image" not in sample


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float64, "f8"), (torch.int64, "i8"), (torch.uint8, "u1")])
def test_a_dtype_that_is_asked_for_is_given(tmp_path, dtype, expected):
    index = make_index(tmp_path, [File("A", "a", noise(1, (SIDE, SIDE), "uint8"))])
    sample = rs.to_torchgeo(index, dtype=dtype)[window(3, 4, 20, 30)]
    assert sample["image"].dtype == dtype
    assert np.array_equal(as_array(sample)[0], noise(1, (SIDE, SIDE), "uint8")[3:23, 4:34].astype(expected))


def test_bands_of_several_resolutions_come_in_the_order_asked_for_on_the_finest_grid(tmp_path):
    fine, coarse = noise(1, (SIDE, SIDE)), noise(2, (SIDE // 2, SIDE // 2))
    files = [
        File("A", "fine", fine),
        File("A", "coarse", coarse, options={"transform": at(size=20.0)}),
        File("A", "other", noise(3, (SIDE, SIDE))),
    ]
    index = make_index(tmp_path, files)
    dataset = rs.to_torchgeo(index, bands=["coarse", "other", "fine"], resampling="nearest")
    assert dataset.bands == ("coarse", "other", "fine")
    assert dataset.res == (10.0, 10.0)
    image = as_array(dataset[window(4, 6, 32, 40)])
    assert np.array_equal(image[0], np.kron(coarse, np.ones((2, 2)))[4:36, 6:46])
    assert np.array_equal(image[1], files[2].data[4:36, 6:46])
    assert np.array_equal(image[2], fine[4:36, 6:46])
    coarse_dataset = rs.to_torchgeo(index, bands=["coarse"])
    assert coarse_dataset.res == (20.0, 20.0)
    assert np.array_equal(as_array(coarse_dataset[window(4, 6, 32, 40)])[0], coarse[2:18, 3:23])


def test_bands_inside_files_are_named_and_may_be_mixed_with_files(tmp_path):
    visual = noise(1, (3, SIDE, SIDE), "uint8")
    files = [
        File("A", "visual", visual, options={"band_names": ["red", "green", "blue"]}),
        File("A", "nir", noise(2, (SIDE, SIDE), "uint8")),
    ]
    dataset = rs.to_torchgeo(make_index(tmp_path, files), bands=["nir", "visual:blue", "visual:red"])
    assert dataset.bands == ("nir", "visual:blue", "visual:red")
    image = as_array(dataset[window(4, 6, 32, 40)])
    expected = np.stack([files[1].data, visual[2], visual[0]])[:, 4:36, 6:46]
    assert np.array_equal(image, expected)


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Two tiles side by side whose pixels change slowly."""
    folder = tmp_path_factory.mktemp("ground")
    wide = smooth((128, 256))
    files = [
        File("west", "red", wide[:, :128], options={"overviews": (2,), "nodata": 0}),
        File("east", "red", wide[:, 128:], options={"transform": at(WEST + 1280), "overviews": (2,), "nodata": 0}),
    ]
    return folder, make_index(folder, files), wide


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize(("crs", "step"), [("EPSG:4326", 1e-4), ("EPSG:4326", 3e-4), ("EPSG:3857", 9.0), (CRS, 7.0)])
def test_chips_in_another_crs_or_step_are_those_of_to_numpy(ground, method, crs, step):
    _, index, _ = ground
    dataset = rs.to_torchgeo(index, crs=crs, resolution=step, resampling=method)
    x, y, _ = dataset.bounds
    left, top = x.start + 21.3 * step, y.stop - 33.9 * step
    sample = dataset[left : left + 60 * step, top - 50 * step : top]
    transform = (step, 0.0, left, 0.0, -step, top)
    assert sample["transform"][:6].tolist() == pytest.approx(transform)
    cube = rs.to_numpy(
        index, crs=crs, transform=transform, shape=(50, 60), resampling=method, mosaic="first", groupby="time"
    )
    assert np.array_equal(as_array(sample), np.asarray(cube.data[0], np.float32))


@pytest.mark.parametrize(("crs", "step"), [("EPSG:4326", 1e-4), ("EPSG:3857", 10.0), (CRS, 7.0)])
def test_chips_in_another_crs_lie_where_gdal_puts_them(ground, crs, step):
    folder, index, _ = ground
    dataset = rs.to_torchgeo(index, crs=crs, resolution=step)
    x, y, _ = dataset.bounds
    left, top = x.start + 10 * step, y.stop - 12 * step
    sample = dataset[left : left + 80 * step, top - 80 * step : top]
    with rasterio.open(folder / "west_red.tif") as source:
        expected = np.zeros((80, 80), np.float32)
        reproject(
            rasterio.band(source, 1), expected, dst_crs=crs, resampling=Resampling.bilinear,
            dst_transform=rasterio.transform.from_origin(left, top, step, step), dst_nodata=0,
        )  # fmt: skip
    both = as_array(sample, "mask_valid")[0] & (expected > 0)
    assert both.mean() > 0.8
    difference = np.abs(as_array(sample)[0] - expected)[both]
    # Half a pixel beside would be hundreds.
    assert np.quantile(difference, 0.99) < 20


@pytest.mark.parametrize("mosaic", ["first", "last", "min", "max", "mean", "median"])
def test_items_that_overlap_in_one_slice_become_one_as_the_mosaic_says(tmp_path, mosaic):
    stack = np.stack([noise(number, (SIDE, SIDE)) for number in range(3)])
    stack[1, :30] = 0
    files = [File(f"I{number}", "red", data, options={"nodata": 0}) for number, data in enumerate(stack)]
    dataset = rs.to_torchgeo(make_index(tmp_path, files), mosaic=mosaic)
    image = as_array(dataset[window(10, 10, 40, 40)])[0]
    part = np.ma.masked_equal(stack[:, 10:50, 10:50], 0)
    expected = {
        "first": part[0], "last": part[2], "min": part.min(0), "max": part.max(0), "mean": part.mean(0),
        "median": np.ma.median(part, 0),
    }[mosaic]  # fmt: skip
    assert np.allclose(image, expected.filled(0))


def test_the_order_of_the_query_decides_which_item_lies_on_top(tmp_path, con):
    files = [File(f"I{number}", "red", noise(number, (SIDE, SIDE)), number + 1) for number in range(3)]
    index = make_index(tmp_path, files)
    for order, top in (("item_id", 0), ("item_id DESC", 2), ("item_id = 'I1' DESC, item_id", 1)):
        dataset = rs.to_torchgeo(con.sql(f"FROM '{index}' ORDER BY {order}"))
        assert np.array_equal(as_array(dataset[window(0, 0, 32, 32)])[0], files[top].data[:32, :32]), order
        assert list(dataset.index["item_id"]) == ["I0", "I1", "I2"]


def test_south_up_files_are_read_north_up(tmp_path):
    data = noise(1, (SIDE, SIDE))
    path_options = {"transform": at(north=NORTH - SIDE * 10.0, south_up=True)}
    index = make_index(tmp_path, [File("A", "red", data, options=path_options)])
    image = as_array(rs.to_torchgeo(index)[window(5, 7, 20, 30)])[0]
    assert np.array_equal(image, data[::-1][5:25, 7:37])


def test_stored_values_become_physical_ones_with_scale(tmp_path):
    data = noise(1, (SIDE, SIDE))
    data[:10] = 0
    options = {"nodata": 0, "scales": [0.0001], "offsets": [-0.1]}
    index = make_index(tmp_path, [File("A", "red", data, options=options)])
    sample = rs.to_torchgeo(index, scale=True)[window(0, 0, 32, 32)]
    expected = data[:32, :32].astype(np.float32) * np.float32(0.0001) + np.float32(-0.1)
    expected[:10] = 0
    assert np.array_equal(as_array(sample)[0], expected)


@pytest.mark.parametrize("mosaic", ["first", "last", "min", "max", "mean", "median"])
def test_items_over_one_another_become_physical_each_by_its_own_scale_and_offset(tmp_path, mosaic):
    """As of Sentinel-2 before and after 2022-01-25."""
    scalings = ((0.0001, 0.0), (0.0001, -0.1), (0.0002, 0.05))
    files = [
        File(
            f"I{number}", "red", noise(number, (SIDE, SIDE)), number + 1,
            options={"nodata": 0, "scales": [scale], "offsets": [offset]},
        )
        for number, (scale, offset) in enumerate(scalings)
    ]  # fmt: skip
    stack = np.stack([file.data * scale + offset for file, (scale, offset) in zip(files, scalings, strict=True)])
    expected = {
        "first": stack[0], "last": stack[-1], "min": stack.min(axis=0), "max": stack.max(axis=0),
        "mean": stack.mean(axis=0), "median": np.median(stack, axis=0),
    }[mosaic]  # fmt: skip
    index = make_index(tmp_path, files)
    with pytest.raises(InvalidArgumentError, match="scale=True"):
        rs.to_torchgeo(index, mosaic=mosaic)
    sample = rs.to_torchgeo(index, scale=True, mosaic=mosaic)[window(0, 0, 32, 32)]
    np.testing.assert_allclose(as_array(sample)[0], expected[:32, :32], rtol=0, atol=2e-7)


def test_items_in_two_zones_are_both_there(tmp_path):
    west = File("W", "red", smooth((64, 64)), options={"transform": at(795_000.0), "nodata": 0})
    east = File("E", "red", smooth((64, 64)), options={"transform": at(205_000.0), "crs": "EPSG:32644", "nodata": 0})
    more = File("V", "red", smooth((64, 64)), options={"transform": at(790_000.0), "nodata": 0})
    dataset = rs.to_torchgeo(make_index(tmp_path, [west, east, more]))
    assert str(dataset.crs) == CRS
    assert len(dataset) == 3
    for row in range(3):
        xmin, ymin, xmax, ymax = dataset.index.geometry.iloc[row].bounds
        sample = dataset[xmin:xmax, ymin:ymax]
        assert as_array(sample, "mask_valid").mean() > 0.8, dataset.index["item_id"].iloc[row]
        assert as_array(sample).max() > 500


def test_reads_of_the_served_scenes_equal_those_of_gdal(served):
    dataset = rs.to_torchgeo(served.index, bands=["nir", "red"])
    image = as_array(dataset[(*window(10, 20, 50, 60), day(3))])
    expected = np.concatenate([read_window(served.path("C", band), 10, 20, 50, 60) for band in ("nir", "red")])
    assert np.array_equal(image, expected)
