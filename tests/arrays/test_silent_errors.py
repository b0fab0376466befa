"""Twelve ways in which readers of raster collections have given wrong pixels without a word; none of them is ours.

Each test says what it is about and holds our behaviour to it. Where more is tested, the docstring says where.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import rioxarray  # noqa: F401 - gives arrays their accessor `rio`

import rasteret_sql as rs
from rasteret_sql.errors import AssetChangedError, AssetNotFoundError, InvalidArgumentError
from rasteret_sql.testing.server import RangeServer
from tests.arrays.cube_files import File, at, make_index, noise, write_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("dtype", "compression"), [("uint16", "none"), ("int16", "deflate"), ("float32", "lzw")])
def test_big_endian_files_are_not_byte_swapped(tmp_path: Path, dtype: str, compression: str) -> None:
    """More in tests/tiff/test_decode.py and tests/sql/test_layouts.py."""
    data = noise(1, dtype=dtype)
    index = make_index(
        tmp_path, [File("a", "red", data, options={"byte_order": "big", "bigtiff": True, "compression": compression})]
    )
    np.testing.assert_array_equal(rs.to_xarray(index).red[0], data)
    turned = rs.to_xarray(index, crs="EPSG:4326", resolution=0.0001, mask_and_scale=True).red.values
    assert np.isin(turned[np.isfinite(turned)], data).all()


def test_two_files_under_one_id_are_refused_and_not_mixed(tmp_path: Path) -> None:
    """Of one key, in the index itself; of one id in two collections, both are kept. More in tests/arrays/test_arrays.py."""
    files = [File("a", "red", noise(1)), File("b", "red", noise(2))]
    index = make_index(tmp_path, files)
    same = f"SELECT * REPLACE ('same' AS item_id, TIMESTAMPTZ '2024-01-01' AS datetime) FROM '{index}'"
    for read in (rs.to_xarray, rs.to_numpy):
        with pytest.raises(InvalidArgumentError, match=r"got two, .*a_red\.tif and .*b_red\.tif.*groupby"):
            read(same)
    apart = f"SELECT * REPLACE ('same' AS item_id, item_id AS collection) FROM '{index}'"
    dataset = rs.to_xarray(apart)
    assert dataset.collection.values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(dataset.red, [files[0].data, files[1].data])


def test_no_answer_is_kept_for_another_area_or_day(tmp_path: Path) -> None:
    """A read knows nothing of those before it: same index, other area, day, and the first again."""
    files = [File(item, "red", noise(number), number + 1) for number, item in enumerate("ab")]
    index = make_index(tmp_path, files)

    def read(left: int, day: str) -> Any:
        return rs.to_xarray(
            index, bbox=(left, 1_399_500, left + 100, 1_399_900), geometry_crs="EPSG:32643", datetime=day
        ).red.values

    wanted = {
        (left, day): files[day - 1].data[np.newaxis, 10:50, (left - 600_000) // 10 :][..., :10]
        for left in (600_100, 600_300)
        for day in (1, 2)
    }
    for _ in range(2):
        for (left, day), expected in wanted.items():
            np.testing.assert_array_equal(read(left, f"2024-01-0{day}"), expected)


def test_rows_of_an_index_that_was_built_anew_are_those_of_the_new_one(tmp_path: Path) -> None:
    """And files that were rewritten behind an index are an error. More in tests/index/test_refresh.py."""
    index = make_index(tmp_path, [File("a", "red", noise(1))])
    before = rs.to_xarray(index)
    make_index(tmp_path, [File("b", "red", noise(2, (32, 48)), 2)])
    after = rs.to_xarray(index)
    assert after.item_id.values.tolist() == ["b"]
    assert after.red.shape == (1, 32, 48)
    assert before.red.shape == (1, 64, 64)
    np.testing.assert_array_equal(after.red[0], noise(2, (32, 48)))
    write_files(tmp_path, [File("b", "red", noise(3, (32, 47)), 2)])
    with pytest.raises(AssetChangedError, match=r"b_red\.tif"):
        rs.to_xarray(index)


def test_classes_of_two_zones_stay_classes(tmp_path: Path) -> None:
    """What is not said to be blended is not: nearest is the default, and mode keeps classes. More in test_cube_oracles.py."""
    classes = np.where(np.random.default_rng(1).random((64, 64)) < 0.5, 4, 9).astype("uint8")
    files = [
        File("a", "scl", classes, options={"transform": at(825_000)}),
        File("b", "scl", classes, options={"transform": at(174_000), "crs": "EPSG:32644"}),
        File("a", "red", noise(1), options={"transform": at(825_000)}),
    ]
    index = make_index(tmp_path, files)
    grid: dict[str, Any] = {"crs": "EPSG:32643", "resolution": 13, "groupby": "collection"}
    methods: list[Any] = ["nearest", "mode", {"scl": "nearest", "*": "bilinear"}]
    for method in methods:
        dataset = rs.to_xarray(index, resampling=method, **grid)
        assert set(np.unique(dataset.scl.values[dataset.scl_valid.values])) == {4, 9}
    assert set(np.unique(rs.to_xarray(index, bands=["scl"], **grid).scl)) <= {0, 4, 9}


@pytest.mark.parametrize("method", ["bilinear", "cubic", "average", "min", "max"])
def test_nodata_is_no_number_to_reckon_with(tmp_path: Path, method: str) -> None:
    """No -9998 out of -9999. More in test_cube_oracles.py."""
    data = np.full((64, 64), 10.0, np.float32)
    data[20:40, 20:40] = -9999
    whole = data.astype("int16")
    files = [File("a", "dem", data, options={"nodata": -9999}), File("a", "height", whole, options={"nodata": -9999})]
    index = make_index(tmp_path, files)
    for grid in ({"crs": "EPSG:4326", "resolution": 0.00013}, {"resolution": 17}):
        dataset = rs.to_xarray(index, resampling=method, **grid)
        for name in ("dem", "height"):
            values = dataset[name].values
            data_values = values[values != -9999]
            np.testing.assert_allclose(data_values, 10, rtol=1e-5)
            assert 0.5 < data_values.size / values.size < 0.98


def test_pixels_that_no_file_covers_are_nodata_and_not_zero(tmp_path: Path) -> None:
    """Or, where no value is free to say so, False in the mask. More in tests/arrays/test_arrays.py."""
    files = [
        File("a", "dem", noise(1, dtype="int16"), options={"nodata": -32768}),
        File("a", "red", noise(2, dtype="uint8")),
        File("a", "rate", noise(3, dtype="float32")),
    ]
    index = make_index(tmp_path, files)
    dataset = rs.to_xarray(index, crs="EPSG:32643", transform=at(599_900), shape=(64, 84))
    beside = np.s_[0, :, :10]
    assert (dataset.dem.values[beside] == -32768).all()
    assert np.isnan(dataset.rate.values[beside]).all()
    assert not dataset.red_valid.values[beside].any()
    physical = rs.to_xarray(index, crs="EPSG:32643", transform=at(599_900), shape=(64, 84), mask_and_scale=True)
    for name in ("dem", "red", "rate"):
        assert np.isnan(physical[name].values[beside]).all()
        np.testing.assert_array_equal(
            physical[name][0, :, 10:74], next(file.data for file in files if file.asset == name)
        )


def test_zeros_are_data_where_nodata_does_not_say_otherwise(tmp_path: Path) -> None:
    """More in tests/arrays/test_arrays.py."""
    zeros = np.zeros((32, 32), "uint16")
    index = make_index(tmp_path, [File("a", "red", zeros), File("b", "red", zeros, 2, options={"nodata": None})])
    dataset = rs.to_xarray(index)
    assert "_FillValue" not in dataset.red.attrs
    assert "red_valid" not in dataset
    physical = rs.to_xarray(index, mask_and_scale=True)
    assert (physical.red == 0).all()
    mean = rs.to_xarray(index, groupby="collection", mosaic="mean")
    assert (mean.red == 0).all()
    assert (rs.to_xarray(index, groupby="collection", mosaic="count").red == 2).all()


def test_scenes_after_midnight_of_the_last_day_are_there(tmp_path: Path) -> None:
    """Ends of a period are whole days. More in tests/sql/test_plan.py."""
    times = [dt.datetime(2024, 1, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC), dt.datetime(2024, 2, 1, tzinfo=dt.UTC)]
    files = [File(f"i{number}", "red", noise(number), when) for number, when in enumerate(times)]
    index = make_index(tmp_path, files)
    for period, items in {
        "2024-01-01/2024-01-31": ["i0"],
        "2024-01": ["i0"],
        "2024-01-31": ["i0"],
        "2024-01-31/2024-02-01": ["i0", "i1"],
        "2024-02-01/..": ["i1"],
    }.items():
        assert rs.to_xarray(index, datetime=period).item_id.values.tolist() == items


def test_unknown_cloud_cover_is_not_a_clear_sky(tmp_path: Path) -> None:
    """NULL in the index, NaN in arrays, and left out by a condition on it. More in test_cube_mosaics.py."""
    covers = {"a": 0.0, "b": None, "c": 80.0}
    files = [
        File(item, "red", noise(number), number + 1, None, {"eo:cloud_cover": cover})
        for number, (item, cover) in enumerate(covers.items())
    ]
    index = make_index(tmp_path, files)
    np.testing.assert_array_equal(rs.to_xarray(index)["eo:cloud_cover"], [0.0, np.nan, 80.0])
    clear = rs.to_xarray(f"FROM '{index}' WHERE \"eo:cloud_cover\" < 20")
    assert clear.item_id.values.tolist() == ["a"]
    with_unknown = rs.to_xarray(f"FROM '{index}' WHERE coalesce(\"eo:cloud_cover\", 0) < 20")
    assert with_unknown.item_id.values.tolist() == ["a", "b"]


def test_grids_of_10_and_20_metres_are_not_interleaved(tmp_path: Path) -> None:
    """Coordinates are equal steps, and no row is half empty. More in test_cube_oracles.py."""
    files = [
        File("a", "red", noise(1, (64, 64)), options={"nodata": 0}),
        File("a", "swir", noise(2, (32, 32)), options={"nodata": 0, "transform": at(size=20)}),
        File("b", "swir", noise(3, (32, 32)), 2, options={"nodata": 0, "transform": at(size=20)}),
    ]
    index = make_index(tmp_path, files)
    dataset = rs.to_xarray(index)
    assert dict(dataset.sizes) == {"time": 2, "y": 64, "x": 64}
    assert set(np.diff(dataset.x)) == {10.0}
    np.testing.assert_array_equal(dataset.red[0], files[0].data)
    np.testing.assert_array_equal(dataset.swir[1], files[2].data.repeat(2, 0).repeat(2, 1))
    assert (dataset.red[1] == 0).all(), "item b has no such band"
    coarse = rs.to_xarray(index, resolution=20)
    np.testing.assert_array_equal(coarse.swir, [files[1].data, files[2].data])
    assert set(np.diff(coarse.x)) == {20.0}


def test_items_that_fail_leave_a_trace(tmp_path: Path) -> None:
    """An error by default; a list where asked to go on; a row in the report of a build. More in test_cubes.py."""
    files = [File(item, "red", noise(number), number + 1) for number, item in enumerate("abc")]
    with RangeServer(tmp_path) as server:
        index = make_index(tmp_path, files, server.base_url)
        (tmp_path / "b_red.tif").unlink()
        with pytest.raises(AssetNotFoundError, match=r'"red" of item b'):
            rs.to_xarray(index)
        dataset = rs.to_xarray(index, on_error="nodata")
        assert dataset.item_id.values.tolist() == ["a", "b", "c"]
        assert ["item b" in line for line in dataset.attrs["failed"]] == [True]
        assert not dataset.red_valid.values[1].any()
        np.testing.assert_array_equal(dataset.red[[0, 2]], [files[0].data, files[2].data])
        hrefs = pa.table({"href": [server.url(file.name) for file in files]})
        report = rs.build_index(hrefs, tmp_path / "again.parquet")
        assert len(report.failures) == 1
    with rasterio.open(tmp_path / "a_red.tif") as source:
        np.testing.assert_array_equal(dataset.red[0], source.read(1))


@pytest.mark.filterwarnings("ignore:Use `@` matmul instead of:PendingDeprecationWarning")  # odc-geo and affine 3
@pytest.mark.parametrize("crs", ["EPSG:32643", "EPSG:4326", "EPSG:3857"])
def test_coordinates_of_a_grid_that_an_object_has_are_the_very_same(tmp_path: Path, crs: str) -> None:
    """Arrays join by equal coordinates: a last digit that differs drops pixels. Of rioxarray, odc-geo, and our own."""
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_zeros

    index = make_index(tmp_path, [File("A", "red", noise(1))])
    sizes = {"EPSG:32643": 12.3, "EPSG:4326": 0.0001, "EPSG:3857": 12.3}
    ours = rs.to_xarray(index, crs=crs, resolution=sizes[crs])
    part = ours.isel(x=slice(3, 41), y=slice(5, 37))
    grid = GeoBox.from_bbox(tuple(float(each) for each in (part.x[0], part.y[-1], part.x[-1], part.y[0])), crs=crs,
                            resolution=sizes[crs])  # fmt: skip
    theirs = xr_zeros(grid)
    renamed = theirs.rename({dim: name for dim, name in zip(theirs.dims, ("y", "x"), strict=True) if dim != name})
    reprojected = ours.red.isel(time=0).rio.reproject(crs)
    for like, expected in ((ours, ours), (part, part), (theirs, renamed), (grid, renamed), (reprojected, reprojected)):
        found = rs.to_xarray(index, like=like)
        assert np.array_equal(found.x, expected.x)
        assert np.array_equal(found.y, expected.y)


@pytest.mark.parametrize("year", [1, 1600, 1677, 2024, 2262, 2300, 9999])
def test_times_that_nanoseconds_cannot_hold_are_themselves(tmp_path: Path, year: int) -> None:
    when = dt.datetime(year, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    index = make_index(tmp_path, [File("A", "red", noise(1), when)])
    expected = np.datetime64(when.replace(tzinfo=None), "us")
    assert rs.to_xarray(index).time.values.astype("M8[us]").tolist() == [expected.tolist()]
    assert rs.to_numpy(index).times.tolist() == [expected.tolist()]


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"),
    [(1e-4, -0.1, "float32"), (2.75e-5, -0.2, "float32"), (1 / 1440, 2_460_000.5, "float64"), (60.0, 1.7e9, "float64")],
)
def test_physical_values_tell_two_stored_ones_apart(tmp_path: Path, scale: float, offset: float, dtype: str) -> None:
    data = np.array([[1, 2], [65534, 65535]], "uint16")
    index = make_index(tmp_path, [File("A", "red", data, options={"scales": [scale], "offsets": [offset]})])
    for chunks in (None, {}):
        values = rs.to_xarray(index, mask_and_scale=True, chunks=chunks).red
        assert values.dtype == dtype
        np.testing.assert_allclose(np.diff(values.values[0], axis=1), scale, rtol=1 / 16)


def test_scales_that_mean_the_same_are_the_same(tmp_path: Path) -> None:
    files = [
        File("A", "red", noise(1), 1, options={"scales": [0.5]}),
        File("B", "red", noise(1), 2, options={"scales": [0.5], "offsets": [0.0]}),
    ]
    assert rs.to_xarray(make_index(tmp_path, files)).sizes["time"] == 2


def test_complex_pixels_whose_real_part_is_nodata_keep_their_imaginary_part(tmp_path: Path) -> None:
    data = np.array([[1j, 1 + 0j], [0j, 2 - 3j]], "complex64")
    index = make_index(tmp_path, [File("A", "c", data, options={"nodata": 0.0})])
    dataset = rs.to_xarray(index)
    assert np.array_equal(dataset.c.values[0], data)
    assert dataset.c_valid.values[0].tolist() == [[False, True], [False, True]]
    assert "_FillValue" not in dataset.c.attrs
    assert np.array_equal(rs.to_numpy(index).data[0, 0], data)
