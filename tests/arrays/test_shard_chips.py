"""Chips of shards as rows: the same pixels in SQL, as tensors of Arrow, and as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.sql import shard_chips
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RangeServer, Path]]:
    folder = tmp_path_factory.mktemp("chips")
    rows = []
    with RangeServer(folder) as server:
        for number in range(4):
            for band in ("red", "nir"):
                pixels = np.random.default_rng([number, len(band)]).integers(0, 5000, (160, 130), np.uint16)
                write_cog(folder / f"i{number}_{band}.tif", pixels, tile=64, nodata=0, crs="EPSG:32643")
                href = server.url(f"i{number}_{band}.tif")
                rows.append({"href": href, "item_id": f"i{number}", "asset": band, "collection": "c"})
        index = folder / "index.parquet"
        with rs.set_options(allow=["*"]):
            rs.build_index(pa.Table.from_pylist(rows), index)
        yield server, index


@pytest.fixture(scope="module")
def index(served: tuple[RangeServer, Path]) -> Path:
    return served[1]


@pytest.fixture(scope="module")
def windows(index: Path) -> pa.Table:
    return rs.chips(index, size=50, bands=["red"]).read_all()


def _requests(server: RangeServer) -> list[Any]:
    return sorted((request.path, request.start, request.end) for request in server.requests)


@pytest.mark.parametrize("source", ["a table", "a view", "a file", "sizes"])
def test_shards_of_chips_in_sql_are_those_of_python(
    index: Path, windows: pa.Table, tmp_path: Path, source: str
) -> None:
    con = rs.connect()
    query = f"FROM chips('{index}', size := 50, bands := ['red'])"
    given = str(tmp_path / "w.parquet") if source == "a file" else "w"
    if source == "a file":
        con.execute(f"COPY ({query}) TO '{given}' (FORMAT parquet)")
    elif source in {"a table", "sizes"}:
        con.execute(f"CREATE TABLE w AS SELECT {'item_id, row_off, col_off' if source == 'sizes' else '*'} {query}")
    elif source == "a view":
        con.execute(f"CREATE TABLE t AS {query}; CREATE VIEW w AS FROM t")
    size = ", chip_size := [50, 50]" if source == "sizes" else ""
    rows = con.execute(
        f"SELECT shard FROM shards('{index}', 3, bands := ['red', 'nir'], chips := '{given}'{size}) ORDER BY number"
    ).fetchall()
    expected = rs.shards(index, 3, bands=["red", "nir"], chips=windows)
    assert [row[0] for row in rows] == [shard.to_bytes() for shard in expected]
    assert len(rows) == 3


def test_rows_in_sql_have_the_pixels_of_one_read_and_send_its_requests(
    served: tuple[RangeServer, Path], windows: pa.Table
) -> None:
    server, index = served
    server.reset()
    wanted = rs.read_chips(index, windows, bands=["red", "nir"])
    one = _requests(server)
    con = rs.connect()
    con.execute(f"CREATE TABLE w AS FROM chips('{index}', size := 50, bands := ['red'])")
    call = f"shards('{index}', 3, bands := ['red', 'nir'], chips := 'w')"
    blobs = con.execute(f"SELECT shard FROM {call}").fetchall()
    server.reset()
    found = pa.concat_tables(con.sql("FROM read_shard_chips($1)", params=[row[0]]).to_arrow_table() for row in blobs)
    assert _requests(server) == one
    assert sorted(found["chip"].to_pylist()) == list(range(len(windows)))
    for row in found.to_pylist():
        chip = row["chip"]
        assert (row["bands"], row["dtype"], row["nodata"]) == (["red", "nir"], "uint16", [0.0, 0.0])
        shape = (2, row["height"], row["width"])
        np.testing.assert_array_equal(np.frombuffer(row["pixels"], np.uint16).reshape(shape), wanted.data[chip])
        np.testing.assert_array_equal(np.frombuffer(row["mask"], bool).reshape(shape), wanted.mask[chip])
        assert [row[name] for name in ("item_id", "row_off", "col_off")] == [
            windows[name][chip].as_py() for name in ("item_id", "row_off", "col_off")
        ]


def test_conditions_and_columns_in_sql_leave_out_what_is_not_needed(
    served: tuple[RangeServer, Path], windows: pa.Table
) -> None:
    server, index = served
    (shard,) = rs.shards(index, 1, bands=["red"], chips=windows)
    data = shard.to_bytes()
    con = rs.connect()
    server.reset()
    names = con.execute("SELECT chip, item_id FROM read_shard_chips($1)", [data]).fetchall()
    assert len(names) == len(windows)
    assert con.execute("SELECT count(*) FROM read_shard_chips($1)", [data]).fetchall() == [(len(names),)]
    assert server.requests == []
    query = "SELECT chip, pixels FROM read_shard_chips($1) WHERE item_id = 'i2' AND row_off = 0"
    found = con.execute(query, [data]).fetchall()
    assert {request.path for request in server.requests} == {"i2_red.tif"}
    wanted = [n for n, row in enumerate(windows.to_pylist()) if row["item_id"] == "i2" and row["row_off"] == 0]
    assert [row[0] for row in found] == wanted
    assert [row[1] for row in found] == [shard.chips().data[chip].tobytes() for chip in wanted]
    assert con.execute("SELECT chip FROM read_shard_chips($1) WHERE pixels IS NULL", [data]).fetchall() == []


def test_tensors_are_the_arrays_whatever_is_read_at_once(
    served: tuple[RangeServer, Path], windows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, index = served
    (shard,) = rs.shards(index, 1, bands=["red", "nir"], chips=windows)
    wanted = shard.chips()
    server.reset()
    whole = list(shard.iter_chips())
    one = _requests(server)
    assert len(whole) == 1
    monkeypatch.setattr(shard_chips, "_PART_BYTES", 50_000)
    server.reset()
    parts = list(shard.iter_chips())
    assert len(parts) == 4
    assert _requests(server) == one
    for places, found in parts:
        np.testing.assert_array_equal(found.data, wanted.data[places["chip"].to_pylist()])
    table = shard.read_chips().read_all()
    assert table.column_names == ["chip", "item_id", "row_off", "col_off", "pixels", "mask"]
    order = table["chip"].to_pylist()
    assert sorted(order) == list(range(len(windows)))
    for name, values in (("pixels", wanted.data), ("mask", wanted.mask.view(np.uint8))):
        assert table.schema.field(name).type.shape == [2, 50, 50]
        np.testing.assert_array_equal(table[name].combine_chunks().to_numpy_ndarray(), values[order])
    assert [places.num_rows for places, _ in shard.iter_chips(limit=2)] == [2]


def test_columns_of_chips_without_pixels_fetch_nothing(served: tuple[RangeServer, Path], windows: pa.Table) -> None:
    server, index = served
    (shard,) = rs.shards(index, 1, bands=["red"], chips=windows)
    server.reset()
    table = shard.read_chips(columns=["row_off", "chip"], limit=3).read_all()
    assert table.to_pydict() == {"row_off": windows["row_off"].to_pylist()[:3], "chip": [0, 1, 2]}
    assert server.requests == []


@pytest.mark.parametrize(
    ("sql", "match"),
    [
        ("FROM shards('{index}', 2, chips := 'nothing')", "chips: .*nothing"),
        ("FROM shards('{index}', 2, chips := 'absent.parquet')", "chips: .*absent.parquet"),
        (
            "FROM shards('{index}', 2, chips := 'FROM range(3)', chip_size := 8)",
            "chips: got the query .*make a table of",
        ),
        ("FROM shards('{index}', 2, chips := 'other', chip_size := 8)", "expected item_id, row_off, col_off"),
        ("FROM shards('{index}', 2, chip_size := 8)", "chip_size: got 8 without chips"),
        ("FROM shards('{index}', 2, chips := 'w')", "chip_size: got None, expected pixels"),
        ("FROM shards('{index}', 2, chips := 'w', chip_size := 'x')", "chip_size: got"),
        ("FROM shards('{index}', 2, chips := 'w', chip_size := 8, datetime := '2024')", "datetime: got it with chips"),
        ("FROM read_shard_chips(NULL)", "shard: got NULL"),
        ("FROM read_shard_chips('{shard}')", r"shard 00000: got one of tiles, expected one that shards\(chips="),
    ],
)
def test_wrong_arguments_in_sql_are_refused_by_name(index: Path, tmp_path: Path, sql: str, match: str) -> None:
    con = rs.connect()
    con.execute("CREATE TABLE w AS SELECT 'i0' AS item_id, 0 AS row_off, 0 AS col_off")
    con.execute("CREATE TABLE other AS FROM range(3)")
    path = tmp_path / "shard"
    path.write_bytes(rs.shards(index, 1)[0].to_bytes())
    with pytest.raises(duckdb.Error, match=match):
        con.execute(sql.format(index=index, shard=path)).fetchall()


def test_a_temporary_table_of_chips_is_refused(index: Path) -> None:
    """A read, which runs beside the session, would see another table or none."""
    con = rs.connect()
    con.execute("CREATE TEMP TABLE w AS SELECT 'i0' AS item_id, 0 AS row_off, 0 AS col_off")
    with pytest.raises(duckdb.Error, match="chips"):
        con.execute(f"FROM shards('{index}', 1, chips := 'w', chip_size := 8)").fetchall()


def test_pixels_that_arrow_has_no_tensors_of_are_refused_by_name(tmp_path: Path) -> None:
    write_cog(tmp_path / "a.tif", np.ones((64, 64), np.complex64), tile=64)
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
    (shard,) = rs.shards(tmp_path / "i.parquet", 1, chips=[("a", 0, 0)], chip_size=8)
    assert shard.chips().data.dtype == np.complex64
    with pytest.raises(InvalidArgumentError, match="got pixels of type complex64"):
        shard.read_chips()
    for wrong in (["nothing"], []):
        with pytest.raises(InvalidArgumentError, match="columns: got"):
            shard.read_chips(columns=wrong)
