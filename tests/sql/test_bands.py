"""Files of many bands: what is fetched is what is asked for."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing import RangeServer, write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    with RangeServer(tmp_path) as server:
        yield server


def indexed(server: RangeServer, folder: Path, data: np.ndarray, **options: object) -> Path:
    """The index of one file of 2 x 2 tiles, which no request has been made for yet."""
    write_cog(folder / "f.tif", data, tile=32, overviews=(), **options)
    rs.build_index([server.url("f.tif")], folder / "i.parquet")
    server.reset()
    return folder / "i.parquet"


def test_three_bands_of_a_planar_embedding_fetch_three_bands(server: RangeServer, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(-127, 128, (64, 128, 128)).astype(np.int8)
    names = [f"A{number:02}" for number in range(64)]
    index = indexed(server, tmp_path, data, planar=True, nodata=-128, band_names=names, compression="zstd")
    asked = ["A00", "A31", "A63"]
    array = rs.to_numpy(index, bands=asked)
    np.testing.assert_array_equal(array.data[0], data[[0, 31, 63]])
    with rs.connect() as con:
        planned = con.execute(f"SELECT sum(tile_byte_count) FROM tile_plan('{index}', bands := {asked})").fetchall()
        whole = con.execute(f"SELECT sum(tile_byte_count) FROM tile_plan('{index}')").fetchall()
    # The tiles of each band lie back to back, and these bands further apart than what is read over.
    assert len(server.requests) == 3
    assert sum(request.nbytes_sent for request in server.requests) == planned[0][0]
    assert planned[0][0] < whole[0][0] / 20


def test_three_bands_of_three_hundred_are_read_alone(server: RangeServer, tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 60_000, (300, 64, 64), np.uint16)
    index = indexed(server, tmp_path, data, planar=True)
    array = rs.to_numpy(index, bands=["data:3", "data:150", "data:300"])
    np.testing.assert_array_equal(array.data[0], data[[2, 149, 299]])
    assert len(server.requests) == 3
    assert sum(request.nbytes_sent for request in server.requests) < 3 * 64 * 64 * 2 * 1.1


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("a", "a", "1"), ["f:1", "f:2", "f:3"]),
        (("2", "", "1"), ["f:1", "f:2", "f:3"]),
        (("4", "3", "2"), ["f:4", "f:3", "f:2"]),
        (("x", "x", "y"), ["f:1", "f:2", "f:y"]),
    ],
)
def test_a_band_called_by_a_number_is_not_taken_for_the_band_of_that_number(
    tmp_path: Path, names: tuple[str, ...], labels: list[str]
) -> None:
    data = np.stack([np.full((32, 32), value, np.uint8) for value in (200, 100, 20)])
    write_cog(tmp_path / "f.tif", data, tile=32, overviews=(), band_names=names)
    rs.build_index(str(tmp_path / "f.tif"), tmp_path / "i.parquet", pattern="{asset}.tif")
    index = tmp_path / "i.parquet"
    array = rs.to_numpy(index)
    assert dict(zip(array.bands, array.data[0, :, 0, 0].tolist(), strict=True)) == dict(
        zip(labels, (200, 100, 20), strict=True)
    )
    for label, value in zip(labels, (200, 100, 20), strict=True):
        assert rs.to_numpy(index, bands=[label]).data[0, 0, 0, 0] == value
    with rs.connect() as con:
        rows = con.sql(f"SELECT band_name, band FROM tile_plan('{index}')").fetchall()
        assert {(name, band) for name, band in rows} == set(zip(labels, (1, 2, 3), strict=True))
        for number, label in enumerate(labels, 1):
            assert con.sql(f"SELECT band FROM tile_plan('{index}', bands := ['{label}'])").fetchall() == [(number,)]


@pytest.mark.parametrize("asked", [[2], [4, 1], [1, 2, 3, 4]])
def test_a_chunky_file_is_fetched_once_for_any_number_of_bands(
    server: RangeServer, tmp_path: Path, asked: list[int]
) -> None:
    data = np.random.default_rng(2).integers(0, 60_000, (4, 64, 64), np.uint16)
    index = indexed(server, tmp_path, data)
    names = [f"data:{number}" for number in asked]
    with rs.connect() as con:
        rows = con.execute(f"FROM read_tiles('{index}', bands := {names})").fetchall()
    assert len(rows) == 4 * len(asked)
    assert len(server.requests) == 1
    assert server.requests[0].nbytes_sent < data.nbytes * 1.1
    np.testing.assert_array_equal(rs.to_numpy(index, bands=names).data[0], data[np.array(asked) - 1])


def index_of_items(folder: Path, *items: tuple[str, str, tuple[str, ...], tuple[int, ...]]) -> Path:
    """The index of items of one asset each: id, asset key, band descriptions, and the value of each band."""
    rows = []
    for item_id, asset, names, values in items:
        data = np.stack([np.full((32, 32), value, np.uint8) for value in values])
        write_cog(folder / f"{item_id}.tif", data, tile=32, overviews=(), band_names=names)
        bands = [{"name": name, "band": n, "common_name": "red"} for n, name in enumerate(names, 1) if len(names) == 1]
        when = dt.datetime(2024, 1, len(rows) + 1, tzinfo=dt.UTC)
        row = {"href": str(folder / f"{item_id}.tif"), "item_id": item_id, "asset": asset, "datetime": when}
        rows.append({**row, "collection": "c", "bands": bands or None})
    rs.build_index(pa.Table.from_pylist(rows), folder / "i.parquet")
    return folder / "i.parquet"


def values_in_sql(con: duckdb.DuckDBPyConnection, index: Path, arguments: str = "") -> list[tuple[object, ...]]:
    query = (
        f"SELECT item_id, band_name, rst_to_list(pixels, dtype)[1] FROM read_tiles('{index}'{arguments}) ORDER BY ALL"
    )
    return con.execute(query).fetchall()


def test_bands_without_description_are_called_as_in_the_files_that_describe_them(tmp_path: Path) -> None:
    index = index_of_items(
        tmp_path,
        ("a", "image", ("", ""), (1, 2)),
        ("b", "image", ("red", "nir"), (3, 4)),
        ("c", "image", ("", ""), (5, 6)),
    )
    array = rs.to_numpy(index)
    assert array.bands == ("image:red", "image:nir")
    assert array.data[:, :, 0, 0].tolist() == [[1, 2], [3, 4], [5, 6]]
    for label in ("image:red", "red", "image:1"):
        assert rs.to_numpy(index, bands=[label]).data[:, 0, 0, 0].tolist() == [1, 3, 5]
    with rs.connect() as con:
        assert values_in_sql(con, index, ", bands := ['red']") == [("a", "red", 1), ("b", "red", 3), ("c", "red", 5)]
        query = f"SELECT DISTINCT band, band_name FROM tile_plan('{index}') ORDER BY ALL"
        assert con.execute(query).fetchall() == [(1, "image:red"), (2, "image:nir")]


def test_bands_in_another_order_are_found_by_name(tmp_path: Path) -> None:
    index = index_of_items(tmp_path, ("a", "image", ("red", "nir"), (1, 2)), ("b", "image", ("nir", "red"), (4, 3)))
    expected = [("a", "image:nir", 2), ("a", "image:red", 1), ("b", "image:nir", 4), ("b", "image:red", 3)]
    with rs.connect() as con:
        for arguments in ("", ", bands := ['image']", ", bands := ['image:red', 'image:nir']"):
            assert values_in_sql(con, index, arguments) == expected
        query = f"SELECT item_id, band FROM tile_plan('{index}', bands := ['image:red']) ORDER BY ALL"
        assert con.execute(query).fetchall() == [("a", 1), ("b", 2)]
    assert rs.to_numpy(index, bands=["image:red"]).data[:, 0, 0, 0].tolist() == [1, 3]


def refusals(index: Path, bands: list[str]) -> Iterator[str]:
    """What each planner says of bands that it refuses."""
    with pytest.raises(InvalidArgumentError) as refused:
        rs.to_numpy(index, bands=bands)
    yield str(refused.value)
    with rs.connect() as con:
        for function in ("read_tiles", "tile_plan", "explain_read"):
            with pytest.raises(duckdb.Error) as error:
                con.execute(f"FROM {function}('{index}', bands := {bands})").fetchall()
            yield str(error.value)


def test_a_name_that_would_pass_items_over_is_refused(tmp_path: Path) -> None:
    index = index_of_items(tmp_path, ("old", "B04", ("B04",), (1,)), ("new", "red", ("red",), (2,)))
    for message in refusals(index, ["red"]):
        assert "got 'red', which names asset 'red' in some items and asset 'B04' in others" in message
        assert "give both, 'B04', 'red', or leave out the items of one" in message
    with rs.connect() as con:
        assert values_in_sql(con, index, ", bands := ['red', 'B04']") == [("new", "red", 2), ("old", "B04", 1)]


def test_an_asset_that_an_item_lacks_is_not_looked_for_in_its_composite(tmp_path: Path) -> None:
    index = index_of_items(tmp_path, ("a", "visual", ("red", "green"), (1, 2)), ("b", "red", ("x",), (3,)))
    assert rs.to_numpy(index, bands=["red"]).item_ids == ("b",)


def test_two_names_of_one_band_are_refused(tmp_path: Path) -> None:
    index = index_of_items(tmp_path, ("a", "image", ("red", "nir"), (1, 2)))
    for message in refusals(index, ["red", "image:red"]):
        assert "got 'red' and 'image:red', which both name band 1 of asset 'image'" in message
    # The band of a whole asset has its name in full, whichever stands first.
    for bands in (["image", "image:red"], ["image:red", "image"]):
        assert rs.to_numpy(index, bands=bands).bands == ("image:red", "image:nir")
