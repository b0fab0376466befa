"""Query results as NumPy and xarray objects, held against rasterio and rioxarray."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import rioxarray
import xarray as xr

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing.cog import write_cog

if TYPE_CHECKING:
    from pathlib import Path

# rasterio multiplies transforms in a way that affine is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)


def _write(folder: Path, name: str, **options: Any) -> np.ndarray:
    size = options.pop("size", (96, 128))
    data = np.random.default_rng(sum(map(ord, name))).integers(1, 5000, size, np.uint16)
    write_cog(
        folder / f"{name}.tif", data, tile=32, **{"transform": TRANSFORM, "overviews": (2,), "nodata": 0} | options
    )
    return data


def _index(folder: Path, rows: list[tuple[str, str, int]]) -> Path:
    """Make an index of (item, asset, day) rows, whose files are named item_asset.tif."""
    table = [
        {
            "href": str(folder / f"{item}_{asset}.tif"), "item_id": item, "asset": asset,
            "datetime": dt.datetime(2024, 1, day, tzinfo=dt.UTC), "collection": "c",
        }
        for item, asset, day in rows
    ]  # fmt: skip
    rs.build_index(pa.Table.from_pylist(table), folder / "i.parquet")
    return folder / "i.parquet"


def test_items_on_one_lattice_make_one_array(tmp_path: Path) -> None:
    left = _write(tmp_path, "a_red")
    right = _write(tmp_path, "b_red", transform=(10.0, 0.0, 600_640.0, 0.0, -10.0, 1_399_840.0))
    array = rs.to_numpy(_index(tmp_path, [("a", "red", 1), ("b", "red", 2)]))
    assert array.item_ids == ("a", "b")
    assert array.shape == (2, 1, 96 + 16, 128 + 64)
    assert array.transform == TRANSFORM
    np.testing.assert_array_equal(array.data[0, 0, :96, :128], left)
    np.testing.assert_array_equal(array.data[1, 0, 16:, 64:], right)
    assert not array.mask[0, 0, 96:].any()
    assert not array.mask[1, 0, :16].any()
    assert (array.data[~array.mask] == 0).all()
    assert array.times.tolist() == [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)]  # noqa: DTZ001 - numpy has no zones


def test_bands_come_in_the_order_asked_for(tmp_path: Path) -> None:
    red, nir = _write(tmp_path, "a_red"), _write(tmp_path, "a_nir")
    index = _index(tmp_path, [("a", "red", 1), ("a", "nir", 1)])
    array = rs.to_numpy(index, bands=["red", "nir"])
    assert array.bands == ("red", "nir")
    np.testing.assert_array_equal(array.data[0], [red, nir])
    assert rs.to_numpy(index, bands=["nir", "red"]).bands == ("nir", "red")
    assert rs.to_numpy(index, bands="nir").bands == ("nir",)


def test_files_that_share_no_grid_are_refused_with_the_remedy(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "a_swir", transform=(20.0, 0.0, 600_000.0, 0.0, -20.0, 1_400_000.0), size=(48, 64))
    _write(tmp_path, "b_red", crs="EPSG:32644")
    _write(tmp_path, "c_red", transform=(10.0, 0.0, 600_005.0, 0.0, -10.0, 1_400_000.0))
    index = _index(tmp_path, [("a", "red", 1), ("a", "swir", 1), ("b", "red", 2), ("c", "red", 3)])
    for read in (rs.to_numpy, rs.to_xarray):
        with pytest.raises(InvalidArgumentError, match=r"in EPSG:32643 and .*in EPSG:32644, expected one CRS"):
            read(index, bands=["red"], datetime="2024-01-01/2024-01-02")
        with pytest.raises(InvalidArgumentError, match=r"lie 0.5000 columns and 0.0000 rows beside.*resolution=10"):
            read(f"FROM '{index}' WHERE item_id IN ('a', 'c')", bands=["red"])
    both = rs.to_numpy(index, datetime="2024-01-01", resolution=20, bands=["red", "swir"])
    assert both.shape == (1, 2, 48, 64)
    with rasterio.open(tmp_path / "a_red.tif", overview_level=0) as source:
        np.testing.assert_array_equal(both.data[0, 0], source.read(1))


def test_two_files_under_one_key_are_an_error_that_names_both(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "b_red")
    index = _index(tmp_path, [("a", "red", 1), ("b", "red", 1)])
    query = f"SELECT * REPLACE ('same' AS item_id) FROM '{index}'"
    with pytest.raises(InvalidArgumentError, match=r"got two, .*a_red\.tif and .*b_red\.tif"):
        rs.to_numpy(query)


def test_xarray_has_cf_coordinates_that_rioxarray_takes(tmp_path: Path) -> None:
    data = {name: _write(tmp_path, name, size=(96, 128)) for name in ("b_red", "a_red")}
    index = _index(tmp_path, [("b", "red", 2), ("a", "red", 1)])
    dataset = rs.to_xarray(index, bbox=(600_100, 1_399_200, 600_900, 1_399_900), geometry_crs="EPSG:32643")
    assert dict(dataset.sizes) == {"time": 2, "y": 70, "x": 80}
    assert dataset.item_id.values.tolist() == ["a", "b"]
    assert dataset.red.dtype == np.uint16
    assert dataset.red.attrs["_FillValue"] == 0
    np.testing.assert_array_equal(dataset.red.values, [data[f"{i}_red"][10:80, 10:90] for i in "ab"])
    with rasterio.open(tmp_path / "a_red.tif") as source:
        assert dataset.rio.crs == source.crs
        window = rasterio.windows.Window(10, 10, 80, 70)
        assert dataset.red.rio.transform() == source.window_transform(window)
    reference = rioxarray.open_rasterio(tmp_path / "a_red.tif")[0, 10:80, 10:90]
    np.testing.assert_array_equal(dataset.x, reference.x)
    np.testing.assert_array_equal(dataset.y, reference.y)
    assert dataset.red.rio.nodata == 0


def test_xarray_goes_through_netcdf(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    dataset = rs.to_xarray(_index(tmp_path, [("a", "red", 1)]))
    dataset.to_netcdf(tmp_path / "out.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "out.nc", engine="netcdf4", mask_and_scale=False) as again:
        np.testing.assert_array_equal(again.red, dataset.red)


def test_mask_and_scale_gives_physical_floats(tmp_path: Path) -> None:
    data = np.array([[0, 1000], [2000, 3000]], np.uint16).repeat(16, 0).repeat(16, 1)
    write_cog(tmp_path / "a_red.tif", data, tile=32, overviews=(), nodata=0, scales=[0.0001], offsets=[-0.1])
    index = _index(tmp_path, [("a", "red", 1)])
    physical = rs.to_xarray(index, mask_and_scale=True).red
    assert physical.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(physical.values[0]), data == 0)
    np.testing.assert_allclose(physical.values[0][data > 0], data[data > 0] * 0.0001 - 0.1, atol=1e-7)
    stored = rs.to_xarray(index).red
    assert (stored.attrs["scale_factor"], stored.attrs["add_offset"]) == (0.0001, -0.1)


def test_zero_is_data_unless_nodata_says_otherwise(tmp_path: Path) -> None:
    data = np.zeros((32, 32), np.uint8)
    write_cog(tmp_path / "a_red.tif", data, tile=32, overviews=())
    write_cog(tmp_path / "b_red.tif", data, tile=32, overviews=(), mask=np.eye(32, dtype=bool))
    index = _index(tmp_path, [("a", "red", 1), ("b", "red", 2)])
    dataset = rs.to_xarray(index, datetime="2024-01-01")
    assert "_FillValue" not in dataset.red.attrs
    assert list(dataset) == ["red"]
    # A mask that no nodata value can say is not lost.
    masked = rs.to_xarray(index, datetime="2024-01-02")
    np.testing.assert_array_equal(masked.red_valid.values[0], np.eye(32, dtype=bool))


def test_chips_equal_windows_of_rasterio(tmp_path: Path) -> None:
    names = [f"{item}_{asset}" for item in "ab" for asset in ("red", "nir")]
    for name in names:
        _write(tmp_path, name, crs="EPSG:32643" if name[0] == "a" else "EPSG:32644")
    index = _index(tmp_path, [(item, asset, 1) for item in "ab" for asset in ("red", "nir")])
    rng = np.random.default_rng(1)
    chips = [("ab"[rng.integers(2)], int(rng.integers(-20, 90)), int(rng.integers(-20, 120))) for _ in range(60)]
    array = rs.read_chips(index, chips, size=(24, 40), bands=["red", "nir"])
    assert array.data.shape == (60, 2, 24, 40)
    for number, (item, row, col) in enumerate(chips):
        for band, asset in enumerate(("red", "nir")):
            with rasterio.open(tmp_path / f"{item}_{asset}.tif") as source:
                window = rasterio.windows.Window(col, row, 40, 24)
                expected = source.read(1, window=window, boundless=True, fill_value=0)
            np.testing.assert_array_equal(array.data[number, band], expected)
            np.testing.assert_array_equal(array.mask[number, band], expected != 0)


def test_chips_of_an_unknown_item_or_band_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "b_red")
    _write(tmp_path, "b_nir")
    index = _index(tmp_path, [("a", "red", 1), ("b", "red", 1), ("b", "nir", 1)])
    with pytest.raises(InvalidArgumentError, match="item 'c' has no band red"):
        rs.read_chips(index, [("c", 0, 0)], size=8, bands=["red"])
    with pytest.raises(InvalidArgumentError, match="item 'a' has no band nir in the index, expected all of red, nir"):
        rs.read_chips(index, [("a", 0, 0)], size=8, bands=["red", "nir"])
    with pytest.raises(InvalidArgumentError, match="chips: got none"):
        rs.read_chips(index, [], size=8)
    with pytest.raises(InvalidArgumentError, match="size: got 0"):
        rs.read_chips(index, [("a", 0, 0)], size=0)


def test_reads_work_inside_a_running_loop_in_threads_and_after_a_fork(tmp_path: Path) -> None:
    data = _write(tmp_path, "a_red")
    index = _index(tmp_path, [("a", "red", 1)])

    async def notebook() -> int:
        return int(rs.to_numpy(index).data.sum())

    total = int(data.sum())
    assert asyncio.run(notebook()) == total
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: int(rs.to_numpy(index).data.sum()), range(8))) == [total] * 8
    code = (
        "import os, signal, rasteret_sql as rs\n"
        f"total = int(rs.to_numpy({str(index)!r}).data.sum())\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    signal.alarm(30)\n"
        f"    os._exit(0 if int(rs.to_numpy({str(index)!r}).data.sum()) == total else 3)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_public_names_are_sorted_documented_and_importable() -> None:
    assert rs.__all__ == sorted(rs.__all__)
    for name in rs.__all__:
        assert getattr(rs, name).__doc__, name
        assert name in dir(rs)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rs.nothing
    code = "import sys, rasteret_sql; print([m for m in ('numpy', 'duckdb', 'pyarrow', 'aiohttp') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("bbox", "crs"),
    [((75.92, 12.655, 75.93, 12.66), "OGC:CRS84"), ((600_100, 1_399_500, 600_500, 1_399_900), "EPSG:32643")],
)
def test_to_numpy_of_a_path_needs_no_pyarrow_dataset(tmp_path: Path, bbox: tuple[float, ...], crs: str) -> None:
    _write(tmp_path, "a_red")
    index = _index(tmp_path, [("a", "red", 1)])
    code = (
        f"import sys, rasteret_sql as rs; rs.to_numpy({str(index)!r}, bbox={bbox}, geometry_crs={crs!r});"
        "print([m for m in ('pyarrow.dataset', 'pyproj', 'shapely', 'pystac', 'tifffile', 'obstore') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_files_of_one_band_may_have_other_nodata_but_not_other_scales(tmp_path: Path) -> None:
    zero = _write(tmp_path, "a_red")
    _write(tmp_path, "b_red", nodata=65535)
    _write(tmp_path, "c_red", scales=[0.0001], offsets=[-0.1])
    index = _index(tmp_path, [("a", "red", 1), ("b", "red", 2), ("c", "red", 3)])
    first = np.array(zero)
    array = rs.to_numpy(index, datetime="2024-01-01/2024-01-02")
    assert array.nodata == (None,)
    dataset = rs.to_xarray(index, datetime="2024-01-01/2024-01-02")
    assert "_FillValue" not in dataset.red.attrs
    np.testing.assert_array_equal(dataset.red.values[0], first)
    with pytest.raises(
        InvalidArgumentError, match=r"has scale None and offset None, asset \"red\" of item c 0.0001 and -0.1"
    ):
        rs.to_xarray(index)


def test_a_mask_that_says_more_than_nodata_is_not_lost(tmp_path: Path) -> None:
    data = np.full((32, 32), 5, np.uint8)
    write_cog(tmp_path / "a_red.tif", data, tile=32, overviews=(), nodata=0, mask=np.eye(32, dtype=bool))
    dataset = rs.to_xarray(_index(tmp_path, [("a", "red", 1)]))
    assert dataset.red.attrs["_FillValue"] == 0
    np.testing.assert_array_equal(dataset.red_valid.values[0], np.eye(32, dtype=bool))
