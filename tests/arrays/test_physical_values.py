"""Files of one band that store the same reflectance in different ways, as Sentinel-2 before and after 2022-01-25.

The oracle is NumPy over rasterio: each file by its own scale and offset, and then whatever is done with several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import File, at, make_index, noise, smooth

if TYPE_CHECKING:
    from pathlib import Path

#: Scale and offset of each item.
_SCALINGS = {"before": (0.0001, 0.0), "after": (0.0001, -0.1), "other": (0.0002, 0.05)}
_ONTO = {"crs": "EPSG:32643", "resolution": 20.0, "resampling": "average"}


def _files() -> list[File]:
    files = []
    for number, (item, (scale, offset)) in enumerate(_SCALINGS.items(), 1):
        data = noise(number)
        data[number * 10 : number * 10 + 15, 5:40] = 0
        options = {"nodata": 0, "scales": (scale,), "offsets": (offset,)}
        files.append(File(item, "red", data, number, options=options, properties={"tile": "T"}))
    return files


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return make_index(tmp_path, _files())


def _physical(path: Path, stored: Any = None) -> Any:
    """Physical values of a file in float64, NaN where it has nodata; of `stored` in place of its own pixels."""
    with rasterio.open(path) as source:
        values = (source.read(1) if stored is None else stored).astype(np.float64)
        values[values == source.nodata] = np.nan
        return values * source.scales[0] + source.offsets[0]


def _expected(index: Path) -> Any:
    return np.stack([_physical(index.parent / f"{item}_red.tif") for item in _SCALINGS])


def test_each_file_of_a_series_has_its_own_scale_and_offset(index: Path) -> None:
    expected = _expected(index)
    array = rs.to_numpy(index, mask_and_scale=True)
    assert array.data.dtype == np.float32
    assert np.isnan(array.nodata[0] or 0)
    np.testing.assert_array_equal(array.mask[:, 0], ~np.isnan(expected))
    for values in (
        array.data[:, 0],
        rs.to_xarray(index, mask_and_scale=True).red.values,
        rs.to_xarray(index, mask_and_scale=True, chunks={"y": 17, "x": 23}).red.values,
    ):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("mosaic", ["first", "last", "min", "max", "mean", "median", "count"])
def test_mosaics_combine_physical_values(index: Path, mosaic: str) -> None:
    stack = _expected(index)
    valid = ~np.isnan(stack)
    expected = {
        "first": lambda: np.where(valid[0], stack[0], np.where(valid[1], stack[1], stack[2])),
        "last": lambda: np.where(valid[2], stack[2], np.where(valid[1], stack[1], stack[0])),
        "min": lambda: np.nanmin(stack, axis=0),
        "max": lambda: np.nanmax(stack, axis=0),
        "mean": lambda: np.nanmean(stack, axis=0),
        "median": lambda: np.nanmedian(stack, axis=0),
        "count": lambda: valid.sum(axis=0),
    }[mosaic]()
    options: dict[str, Any] = {"groupby": "tile", "mosaic": mosaic, "mask_and_scale": True}
    eager = rs.to_xarray(index, **options).red
    np.testing.assert_allclose(eager.values[0], expected, rtol=0, atol=1e-6)
    assert eager.dtype == np.float32
    lazy = rs.to_xarray(index, chunks={"y": 30, "x": 20}, **options).red
    assert lazy.dtype == np.float32
    np.testing.assert_array_equal(lazy.values, eager.values)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "average", "mode"])
def test_stored_values_are_resampled_and_then_scaled(tmp_path: Path, method: str) -> None:
    """So a file has the same physical values whatever is read with it, and those of a read of its stored values."""
    files = [
        File(item, "red", smooth(phase=number), number + 1, options={"scales": (scale,), "offsets": (offset,)})
        for number, (item, (scale, offset)) in enumerate(_SCALINGS.items())
    ]
    index = make_index(tmp_path, files)
    onto = _ONTO | {"resampling": method}
    series = rs.to_xarray(index, mask_and_scale=True, **onto).red.values
    for number, item in enumerate(_SCALINGS):
        alone = f"SELECT * FROM '{index}' WHERE item_id = '{item}'"
        np.testing.assert_array_equal(rs.to_xarray(alone, mask_and_scale=True, **onto).red.values[0], series[number])
        stored = rs.to_xarray(alone, **onto).red.values[0]
        np.testing.assert_allclose(series[number], _physical(tmp_path / f"{item}_red.tif", stored), rtol=0, atol=2e-7)


def test_stored_values_of_two_offsets_are_refused_with_the_remedy(index: Path) -> None:
    for read in (rs.to_numpy, rs.to_xarray):
        with pytest.raises(InvalidArgumentError, match=r"scale 0\.0001 and offset .*mask_and_scale=True"):
            read(index)


@pytest.mark.parametrize("scalings", [((None,), (None,)), ((1.0,), (0.0,)), ((1.0,), (None,)), ((None,), (0.0,))])
def test_no_scale_is_a_scale_of_one_and_no_offset_an_offset_of_zero(tmp_path: Path, scalings: Any) -> None:
    scales, offsets = scalings
    given: dict[str, Any] = {"scales": scales, "offsets": offsets}
    options = {name: value for name, value in given.items() if value != (None,)}
    files = [File("a", "red", noise(1), 1), File("b", "red", noise(2), 2, options=options)]
    index = make_index(tmp_path, files)
    expected = np.stack([file.data for file in files])
    np.testing.assert_array_equal(rs.to_numpy(index).data[:, 0], expected)
    np.testing.assert_array_equal(rs.to_numpy(index, mask_and_scale=True).data[:, 0], expected)


def test_physical_values_of_two_dtypes_meet(tmp_path: Path) -> None:
    files = [
        File("a", "red", noise(1, dtype="uint8"), 1, options={"scales": (0.004,), "nodata": 255}),
        File("b", "red", noise(2), 2, options={"scales": (0.0001,), "offsets": (-0.1,), "nodata": 0}),
    ]
    index = make_index(tmp_path, files)
    with pytest.raises(InvalidArgumentError, match="expected one dtype"):
        rs.to_numpy(index)
    values = rs.to_numpy(index, mask_and_scale=True).data[:, 0]
    expected = np.stack([_physical(tmp_path / file.name) for file in files])
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)


def test_a_dtype_that_cannot_hold_a_stored_pixel_is_refused_for_physical_values_too(tmp_path: Path) -> None:
    index = make_index(tmp_path, [File("a", "red", noise(1, low=300), options={"scales": (0.5,)})])
    with pytest.raises(InvalidArgumentError, match="uint8 cannot hold"):
        rs.to_numpy(index, dtype="uint8", mask_and_scale=True)


def test_smallest_and_largest_are_those_of_physical_values(tmp_path: Path) -> None:
    """A scale below zero turns the order of stored values around."""
    options = {"scales": (-0.5,), "offsets": (10.0,)}
    files = [File(item, "red", noise(number), number, options=options) for number, item in enumerate("ab", 1)]
    index = make_index(tmp_path, files)
    stack = np.stack([file.data * -0.5 + 10.0 for file in files])
    for mosaic, expected in (("min", stack.min(axis=0)), ("max", stack.max(axis=0))):
        found = rs.to_xarray(index, groupby="collection", mosaic=mosaic, mask_and_scale=True)
        np.testing.assert_allclose(found.red.values[0], expected, rtol=1e-6)


def test_pixels_outside_a_geometry_are_nan(index: Path) -> None:
    west, north = 600_000, 1_400_000
    area = {
        "type": "Polygon",
        "coordinates": [[[west, north], [west + 640, north], [west, north - 640], [west, north]]],
    }
    values = rs.to_numpy(index, geometry=area, geometry_crs="EPSG:32643", mask_and_scale=True)
    rows, cols = np.mgrid[:64, :64]
    outside = rows + cols >= 64
    assert np.isnan(values.data[:, 0, outside]).all()
    inside = rows + cols < 63
    np.testing.assert_allclose(values.data[:, 0][:, inside], _expected(index)[:, inside], rtol=0, atol=2e-7)


@pytest.mark.parametrize("suffix", ["tif", "nc", "zarr", "parquet"])
def test_exports_write_physical_values_of_files_that_differ(index: Path, tmp_path: Path, suffix: str) -> None:
    expected = np.nanmean(_expected(index), axis=0)
    path = tmp_path / f"out.{suffix}"
    rs.export(index, path, groupby="tile", mosaic="mean", mask_and_scale=True)
    if suffix == "tif":
        with rasterio.open(path) as source:
            found = source.read(1)
    elif suffix == "parquet":
        from pyarrow import parquet

        table = parquet.read_table(path).to_pandas()
        rows = ((at()[5] - table["y"]) // 10).astype(int)
        found = np.full((64, 64), np.nan)
        found[rows, ((table["x"] - at()[2]) // 10).astype(int)] = table["red"]
    else:
        import xarray as xr

        with xr.open_dataset(path, engine="netcdf4" if suffix == "nc" else "zarr") as dataset:
            found = dataset.red.values[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mosaic", ["first", "mean", "max"])
def test_pictures_show_physical_values_of_files_that_differ(tmp_path: Path, mosaic: str) -> None:
    """Both items have the reflectance 0.1, so a picture of both has one grey, but for the left half of one."""
    left = np.full((64, 64), 1000, np.uint16)
    left[:, :32] = 3000
    right = np.full((64, 64), 2000, np.uint16)
    right[:, :32] = 4000
    files = [
        File("a", "red", left, options={"scales": (0.0001,), "offsets": (0.0,)}),
        File("b", "red", right, options={"scales": (0.0001,), "offsets": (-0.1,), "transform": at(600_640)}),
    ]
    shown = rs.picture(make_index(tmp_path, files), bands=["red"], mosaic=mosaic).pixels
    halves = shown[:, :, 0].reshape(len(shown), 4, -1)
    assert halves.min(axis=(0, 2)).tolist() == halves.max(axis=(0, 2)).tolist()
    assert halves[0, 0, 0] == halves[0, 2, 0] > halves[0, 1, 0] == halves[0, 3, 0]


def test_formulas_take_each_item_by_its_own_scale_and_offset(tmp_path: Path) -> None:
    files = []
    for number, (item, (scale, offset)) in enumerate(_SCALINGS.items(), 1):
        options = {"scales": (scale,), "offsets": (offset,)}
        files += [
            File(item, band, noise(10 * number + place, low=1500), number, options=options)
            for place, band in enumerate(("red", "nir"))
        ]
    index = make_index(tmp_path, files)
    rs.export(index, tmp_path / "ndvi.tif", bands="(nir - red) / (nir + red)", groupby="collection", mosaic="mean")
    each = []
    for item in _SCALINGS:
        red, nir = (_physical(tmp_path / f"{item}_{band}.tif") for band in ("red", "nir"))
        each.append((nir - red) / (nir + red))
    with rasterio.open(tmp_path / "ndvi.tif") as source:
        np.testing.assert_allclose(source.read(1), np.mean(each, axis=0), rtol=1e-5)
