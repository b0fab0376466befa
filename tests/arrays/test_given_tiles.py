"""Rows of read_tiles become the arrays that a read of the same tiles gives, and nothing is fetched for it."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError, InvalidIndexError, RasteretError
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer
from tests.arrays.cube_files import File, make_index, noise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with rs.connect() as con:
        yield con


def _write(folder: Path, name: str, **options: Any) -> np.ndarray:
    height, width = options.pop("size", (90, 130))
    dtype = options.pop("dtype", np.uint16)
    count = options.pop("count", 1)
    data = np.random.default_rng(sum(map(ord, name))).integers(0, 200, (count, height, width)).astype(dtype)
    defaults = {"transform": TRANSFORM, "overviews": (2,), "nodata": 0}
    write_cog(folder / f"{name}.tif", data if count > 1 else data[0], tile=32, **defaults | options)
    return data


def _index(folder: Path, *names: str, base: str | None = None) -> Path:
    """Make an index of files named item_asset.tif, one day apart."""
    rows = [
        {
            "href": f"{base or f'{folder}/'}{name}.tif", "item_id": name.split("_")[0], "asset": name.split("_")[1],
            "datetime": dt.datetime(2024, 1, 1 + "abc".index(name[0]), tzinfo=dt.UTC), "collection": "c",
        }
        for name in names
    ]  # fmt: skip
    rs.build_index(pa.Table.from_pylist(rows), folder / "i.parquet")
    return folder / "i.parquet"


def _assert_same(given: rs.RasterArray, read: rs.RasterArray) -> None:
    assert given.data.dtype == read.data.dtype
    np.testing.assert_array_equal(given.data, read.data)
    np.testing.assert_array_equal(given.mask, read.mask)
    np.testing.assert_array_equal(given.times, read.times)
    for name in ("item_ids", "collections", "bands", "transform", "crs", "nodata", "level"):
        assert repr(getattr(given, name)) == repr(getattr(read, name)), name


@pytest.mark.parametrize("form", ["relation", "table", "batch", "stream", "frame"])
def test_tiles_in_any_form_make_the_array_that_a_read_gives(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, form: str
) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "a_nir")
    _write(tmp_path, "b_red", transform=(10.0, 0.0, 600_640.0, 0.0, -10.0, 1_399_840.0))
    index = _index(tmp_path, "a_red", "a_nir", "b_red")
    relation = con.sql(f"FROM read_tiles('{index}')")
    rows: Any = {
        "relation": lambda: relation,
        "table": relation.to_arrow_table,
        "batch": lambda: relation.to_arrow_table().combine_chunks().to_batches()[0],
        "stream": lambda: relation.to_arrow_reader(4),
        "frame": relation.to_arrow_table().to_pandas,
    }[form]()
    _assert_same(rs.to_numpy(rows), rs.to_numpy(index))


def test_bands_are_chosen_by_name_in_the_order_asked_for(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "a_rgb", count=3, photometric="rgb", band_names=["R", "G", "B"])
    index = _index(tmp_path, "a_red", "a_rgb")
    rows = con.sql(f"FROM read_tiles('{index}')")
    _assert_same(rs.to_numpy(rows, bands=["rgb:G", "red"]), rs.to_numpy(index, bands=["rgb:G", "red"]))
    _assert_same(rs.to_numpy(rows, bands=["rgb"]), rs.to_numpy(index, bands=["rgb"]))
    with pytest.raises(InvalidArgumentError, match=r"got 'nir', expected some of .* 'red', 'rgb:R'"):
        rs.to_numpy(rows, bands=["nir"])


@pytest.mark.parametrize(
    "options",
    [
        {"nodata": None},
        {"nodata": np.nan, "dtype": np.float32},
        {"nodata": -9999, "dtype": np.int16},
        {"dtype": np.complex64, "nodata": None},
        {"dtype": np.float64},
        {"transform": (10.0, 0.0, 600_000.0, 0.0, 10.0, 1_300_000.0)},
        {"transform": (0.1, 0.0, 77.7, 0.0, -0.1, 12.3), "crs": "EPSG:4326"},
        {"rows_per_strip": 7},
        {"byte_order": "big"},
    ],
    ids=str,
)
def test_pixels_masks_and_places_are_those_of_a_read(
    tmp_path: Path, con: duckdb.DuckDBPyConnection, options: dict[str, Any]
) -> None:
    _write(tmp_path, "a_red", **options)
    index = _index(tmp_path, "a_red")
    _assert_same(rs.to_numpy(con.sql(f"FROM read_tiles('{index}')")), rs.to_numpy(index))
    read = rs.to_xarray(index)
    given = rs.to_xarray(con.sql(f"FROM read_tiles('{index}')"))
    assert given.drop_vars("collection").equals(read.drop_vars("collection"))
    assert list(given.data_vars) == list(read.data_vars)
    assert repr(given.red.attrs) == repr(read.red.attrs)
    assert given.spatial_ref.attrs == read.spatial_ref.attrs


def test_internal_masks_are_kept(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (90, 130)).astype(bool)
    _write(tmp_path, "a_red", nodata=None, mask=mask)
    index = _index(tmp_path, "a_red")
    given = rs.to_numpy(con.sql(f"FROM read_tiles('{index}')"))
    _assert_same(given, rs.to_numpy(index))
    np.testing.assert_array_equal(given.mask[0, 0], mask)
    dataset = rs.to_xarray(con.sql(f"FROM read_tiles('{index}')"))
    np.testing.assert_array_equal(dataset.red_valid[0], mask)


def test_missing_tiles_are_masked_and_the_area_is_that_of_the_tiles(
    tmp_path: Path, con: duckdb.DuckDBPyConnection
) -> None:
    data = _write(tmp_path, "a_red")[0]
    index = _index(tmp_path, "a_red")
    picked = "WHERE (tile_row, tile_col) IN ((1, 1), (2, 2), (2, 4))"
    array = rs.to_numpy(con.sql(f"FROM read_tiles('{index}') {picked}"))
    assert array.transform == (10.0, 0.0, 600_320.0, 0.0, -10.0, 1_399_680.0)
    assert array.shape == (1, 1, 90 - 32, 130 - 32)
    expected = np.zeros_like(data)
    for rows, cols in (((32, 64), (32, 64)), ((64, 90), (64, 96)), ((64, 90), (128, 130))):
        expected[slice(*rows), slice(*cols)] = data[slice(*rows), slice(*cols)]
    np.testing.assert_array_equal(array.data[0, 0], expected[32:, 32:])
    np.testing.assert_array_equal(array.mask[0, 0], expected[32:, 32:] != 0)


def test_nothing_is_fetched_but_what_the_query_fetches(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    _write(tmp_path, "a_red")
    with RangeServer(tmp_path) as server:
        index = _index(tmp_path, "a_red", base=server.url(""))
        table = con.sql(f"FROM read_tiles('{index}')").to_arrow_table()
        server.reset()
        rs.to_xarray(table)
        assert server.requests == []


def test_a_target_grid_groups_and_dask_take_tiles_too(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    _write(tmp_path, "a_red", overviews=())
    _write(tmp_path, "b_red", overviews=(), transform=(10.0, 0.0, 600_305.0, 0.0, -10.0, 1_399_840.0))
    index = _index(tmp_path, "a_red", "b_red")
    asked: dict[str, Any] = {"crs": "EPSG:4326", "resolution": 0.0002, "groupby": "solar_day", "resampling": "bilinear"}
    read = rs.to_xarray(index, **asked)
    rows = con.sql(f"FROM read_tiles('{index}')")
    np.testing.assert_array_equal(rs.to_xarray(rows, **asked).red, read.red)
    lazy = rs.to_xarray(rows, **asked, chunks={"x": 50})
    elsewhere = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(elsewhere.red, read.red)


def test_tiles_that_come_twice_are_taken_once_unless_they_differ(
    tmp_path: Path, con: duckdb.DuckDBPyConnection
) -> None:
    _write(tmp_path, "a_red")
    index = _index(tmp_path, "a_red")
    tiles = f"FROM read_tiles('{index}')"
    twice = con.sql(f"{tiles} UNION ALL BY NAME {tiles} WHERE tile_row = 1")
    _assert_same(rs.to_numpy(twice), rs.to_numpy(index))
    other = f"FROM (SELECT * REPLACE (repeat('\\x07'::BLOB, width * height * 2) AS pixels) {tiles}) WHERE tile_row = 1"
    with pytest.raises(InvalidArgumentError, match=r"tile \(row 1, col 0\), .* item a: got two that differ"):
        rs.to_numpy(con.sql(f"{tiles} UNION ALL BY NAME {other}"))


def test_tiles_of_two_levels_or_grids_are_refused(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "b_red", crs="EPSG:32644")
    _write(tmp_path, "c_red", transform=(10.0, 0.0, 600_005.0, 0.0, -10.0, 1_400_000.0))
    index = _index(tmp_path, "a_red", "b_red", "c_red")
    tiles = f"FROM read_tiles('{index}')"
    with pytest.raises(InvalidArgumentError, match=r"item a: got tiles of the levels 0 and 1.*WHERE level = 0"):
        rs.to_numpy(con.sql(f"{tiles} UNION ALL BY NAME FROM read_tiles('{index}', level := 1)"))
    with pytest.raises(InvalidArgumentError, match=r"EPSG:32643 .*EPSG:32644"):
        rs.to_numpy(con.sql(f"{tiles} WHERE item_id IN ('a', 'b')"))
    with pytest.raises(InvalidArgumentError, match=r"0\.5000 columns"):
        rs.to_numpy(con.sql(f"{tiles} WHERE item_id IN ('a', 'c')"))
    moved = "[transform[1], 0, transform[3] + 3 * tile_col, 0, transform[5], transform[6]]"
    with pytest.raises(InvalidArgumentError, match=r"does not fit to those of the other tiles"):
        rs.to_numpy(con.sql(f"SELECT * REPLACE ({moved} AS transform) {tiles} WHERE item_id = 'a'"))


def test_a_query_without_pixels_is_told_to_select_them(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    _write(tmp_path, "a_red")
    index = _index(tmp_path, "a_red")
    with pytest.raises(InvalidArgumentError, match="select pixels and mask too"):
        rs.to_xarray(con.sql(f"SELECT * EXCLUDE (pixels, mask) FROM read_tiles('{index}')"))
    with pytest.raises(InvalidArgumentError, match="without transform, expected the columns of read_tiles"):
        rs.to_xarray(con.sql(f"SELECT * EXCLUDE (transform) FROM read_tiles('{index}')"))
    with pytest.raises(EmptyReadError, match="got no rows"):
        rs.to_xarray(con.sql(f"FROM read_tiles('{index}') WHERE tile_row > 99"))
    with pytest.raises(InvalidIndexError, match=r"the query does not run: .*pineapple"):
        rs.to_xarray(con.sql(f"SELECT * REPLACE (error('pineapple') AS crs) FROM read_tiles('{index}')"))
    with pytest.raises(InvalidArgumentError, match=r"pixels have 3 bytes, expected 2048"):
        rs.to_xarray(con.sql(f"SELECT * REPLACE ('abc'::BLOB AS pixels) FROM read_tiles('{index}')"))


def test_tiles_that_failed_are_errors_or_masked_and_listed(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    data = _write(tmp_path, "a_red")[0]
    _write(tmp_path, "b_red")
    index = _index(tmp_path, "a_red", "b_red")
    (tmp_path / "b_red.tif").unlink()
    rows = con.sql(f"FROM read_tiles('{index}', on_error := 'null')").to_arrow_table()
    with pytest.raises(RasteretError, match=r"b_red\.tif"):
        rs.to_xarray(rows)
    dataset = rs.to_xarray(rows, on_error="nodata")
    assert dataset.item_id.values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(dataset.red[0], data)
    assert (dataset.red[1] == 0).all()
    (failed,) = dataset.attrs["failed"]
    assert 'asset "red" of item b' in failed


def test_files_without_a_transform_are_placed_by_the_numbers_of_their_tiles(
    tmp_path: Path, con: duckdb.DuckDBPyConnection
) -> None:
    for name in ("a_red", "b_red"):
        _write(tmp_path, name, transform=None, crs=None)
    index = _index(tmp_path, "a_red", "b_red")
    tiles = f"FROM read_tiles('{index}')"
    _assert_same(rs.to_numpy(con.sql(tiles)), rs.to_numpy(index))
    with pytest.raises(InvalidArgumentError, match=r"item b: it has no transform, .* expected \(0, 0\)"):
        rs.to_numpy(con.sql(f"{tiles} WHERE item_id = 'a' OR tile_col > 0"))


def test_scales_are_used_where_the_query_has_them(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    _write(tmp_path, "a_red", scales=[0.5], offsets=[-3.0])
    index = _index(tmp_path, "a_red")
    columns = '0.5::DOUBLE AS scale, -3.0::DOUBLE AS "offset"'
    rows = con.sql(f"SELECT * EXCLUDE (error), {columns} FROM read_tiles('{index}')")
    np.testing.assert_array_equal(
        rs.to_xarray(rows, mask_and_scale=True).red, rs.to_xarray(index, mask_and_scale=True).red
    )


def test_chips_and_zones_of_tiles_are_those_of_the_files(tmp_path: Path) -> None:
    pytest.importorskip("geopandas")
    for name in ("a_red", "a_nir", "b_red", "b_nir"):
        _write(tmp_path, name)
    index = _index(tmp_path, "a_red", "a_nir", "b_red", "b_nir")
    tiles = rs.read_tiles(index).read_all()
    chips = [("b", 60, 100), ("a", 3, 5), ("a", -4, 20)]
    given, read = (rs.read_chips(rows, chips, size=40, bands=["red", "nir"]) for rows in (tiles, index))
    np.testing.assert_array_equal(given.data, read.data)
    np.testing.assert_array_equal(given.mask, read.mask)
    zones = [shapely.box(600_100, 1_399_400, 600_900, 1_399_950), shapely.Point(601_005, 1_399_805)]
    frames = [rs.to_geopandas(rows, zones, geometry_crs="EPSG:32643") for rows in (tiles, index)]
    assert len(frames[0]) == len(frames[1]) == 8
    for one, other in zip(*(frame.sort_values(["item_id", "band"]).itertuples() for frame in frames), strict=True):
        assert (one.item_id, one.band, one.transform) == (other.item_id, other.band, other.transform)
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_chips_and_zones_that_need_a_missing_tile_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("geopandas")
    data = _write(tmp_path, "a_red")
    tiles = rs.read_tiles(_index(tmp_path, "a_red")).read_all()
    is_missing = np.logical_and(tiles["tile_row"].to_numpy() == 1, tiles["tile_col"].to_numpy() == 2)
    tiles = tiles.filter(pa.array(~is_missing))
    np.testing.assert_array_equal(rs.read_chips(tiles, [("a", 0, 0)], size=64).data[0, 0], data[0, :64, :64])
    missing = r'tile \(row 1, col 2\), level 0, asset "red" of item a: window number 0 touches it'
    with pytest.raises(InvalidArgumentError, match=missing):
        rs.read_chips(tiles, [("a", 0, 40)], size=64)
    with pytest.raises(InvalidArgumentError, match=missing):
        rs.to_geopandas(tiles, shapely.box(600_500, 1_399_500, 600_800, 1_399_900), geometry_crs="EPSG:32643")


def test_chips_of_given_tiles_are_counted_from_the_corner_of_the_level(tmp_path):
    data = noise(1, (128, 128))
    index = make_index(tmp_path, [File("a", "red", data)])
    with rs.connect() as con:
        tiles = con.sql(f"FROM read_tiles('{index}') WHERE tile_row >= 1 AND tile_col >= 2").to_arrow_table()
    chips = rs.read_chips(tiles, [("a", 40, 70), ("a", 32, 64), ("a", 100, 100)], size=20)
    for number, (row, col) in enumerate([(40, 70), (32, 64), (100, 100)]):
        assert np.array_equal(chips.data[number, 0], data[row : row + 20, col : col + 20])
    assert chips.mask.all()
    for corner in ((0, 70), (40, 60)):
        with pytest.raises(InvalidArgumentError, match="chips: number 0 begins at pixel"):
            rs.read_chips(tiles, [("a", *corner)], size=20)
