"""What a read does when bytes do not come, have changed or make no sense."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import (
    AssetChangedError,
    AssetNotFoundError,
    CorruptTiffError,
    EmptyReadError,
    InvalidArgumentError,
    InvalidIndexError,
    RangeError,
    TransportError,
)
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import Fault, RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    """Three files of four tiles each, far apart, and their index."""
    for name in "abc":
        data = np.random.default_rng(ord(name)).integers(0, 60_000, (256, 256), np.uint16)
        write_cog(tmp_path / f"{name}.tif", data, tile=128, overviews=(), compression="none", predictor=1)
    with RangeServer(tmp_path) as server:
        rows = [{"href": server.url(f"{name}.tif"), "item_id": name, "asset": "red"} for name in "abc"]
        rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
        server.reset()
        yield server


def test_a_file_that_was_rewritten_is_an_error_that_names_it(server: RangeServer, tmp_path: Path) -> None:
    write_cog(tmp_path / "b.tif", np.zeros((256, 256), np.uint16), tile=128, overviews=())
    with pytest.raises(AssetChangedError, match=r"b\.tif"):
        rs.to_numpy(tmp_path / "i.parquet")


def test_a_local_file_that_was_rewritten_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "f.tif"
    write_cog(path, np.ones((64, 64), np.uint8), tile=64, overviews=())
    rs.build_index([str(path)], tmp_path / "i.parquet")
    assert rs.to_numpy(tmp_path / "i.parquet").data.sum() == 64 * 64
    write_cog(path, np.zeros((64, 64), np.uint8), tile=64, overviews=())
    with pytest.raises(AssetChangedError, match=r"f\.tif"):
        rs.to_numpy(tmp_path / "i.parquet")


def test_a_file_that_is_gone_is_an_error_that_names_it(server: RangeServer, tmp_path: Path) -> None:
    (tmp_path / "c.tif").unlink()
    with pytest.raises(AssetNotFoundError, match=r"c\.tif"):
        rs.to_numpy(tmp_path / "i.parquet")
    with pytest.raises(OSError, match=r"c\.tif"):
        rs.read_tiles(tmp_path / "i.parquet").read_all()


def test_null_on_error_leaves_rows_without_pixels_that_say_why(server: RangeServer, tmp_path: Path) -> None:
    (tmp_path / "b.tif").unlink()
    rows = rs.read_tiles(tmp_path / "i.parquet", on_error="null").read_all().to_pylist()
    assert [(row["item_id"], row["pixels"] is None) for row in rows] == [
        (name, name == "b") for name in "abc" for _ in range(4)
    ]
    for row in rows:
        assert (row["error"] is None) == (row["item_id"] != "b")
        assert row["error"] is None or "b.tif" in row["error"]
    con = rs.connect()
    counts = con.execute(
        f"SELECT count(*), count(pixels), count(error) FROM read_tiles('{tmp_path}/i.parquet', on_error := 'null')"
    ).fetchall()
    con.close()
    assert counts == [(12, 8, 4)]


def test_a_server_that_fails_for_a_while_is_asked_again(server: RangeServer, tmp_path: Path) -> None:
    fault = Fault("status", status=503, value="0")
    server.add_faults("b.tif", fault, fault)
    assert rs.to_numpy(tmp_path / "i.parquet").shape == (3, 1, 256, 256)
    assert [request.status for request in server.requests if request.path == "b.tif"] == [503, 503, 206]


def test_a_server_that_ignores_ranges_is_an_error_that_says_so(server: RangeServer, tmp_path: Path) -> None:
    server.add_faults("b.tif", Fault("ignore_range"))
    with pytest.raises(
        RangeError, match=r"b\.tif: the server answered 200 with the whole file.*Range requests are required"
    ):
        rs.to_numpy(tmp_path / "i.parquet", bands=["red"])


def test_a_file_cut_short_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "f.tif"
    write_cog(path, np.arange(65_536, dtype=np.uint16).reshape(256, 256), tile=128, overviews=(), compression="none")
    rs.build_index([str(path)], tmp_path / "i.parquet")
    stat = path.stat()
    table = pa.parquet.read_table(tmp_path / "i.parquet")
    os.truncate(path, stat.st_size - 1000)
    with pytest.raises(AssetChangedError, match=r"f\.tif.*another size"):
        rs.to_numpy(table)
    # An index that knows nothing of the file: what is read tells.
    for name in ("etag", "file_size", "last_modified"):
        column = table.schema.get_field_index(name)
        table = table.set_column(column, name, pa.nulls(1, table.schema.field(column).type))
    with pytest.raises(RangeError, match=r"f\.tif.*truncated"):
        rs.to_numpy(table)


def test_a_broken_tile_is_an_error_that_names_tile_item_and_file(tmp_path: Path) -> None:
    path = tmp_path / "f.tif"
    data = np.random.default_rng(0).integers(0, 9, (256, 256), np.uint8)
    write_cog(path, data, tile=64, overviews=(), block_leaders=False)
    rs.build_index([str(path)], tmp_path / "i.parquet")
    con = rs.connect()
    ((offset, count),) = con.execute(
        f"SELECT tile_offset, tile_byte_count FROM tile_plan('{tmp_path}/i.parquet') WHERE tile_row = 2 AND tile_col = 3"
    ).fetchall()
    con.close()
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(reversed(data[offset : offset + count]))
    stat = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    message = r'tile \(row 2, col 3\), level 0, asset "data" of item f, .*f\.tif: got \d+ bytes'
    with pytest.raises(CorruptTiffError, match=message):
        rs.to_numpy(tmp_path / "i.parquet")
    rows = rs.read_tiles(tmp_path / "i.parquet", on_error="null").read_all().to_pylist()
    assert [(row["tile_row"], row["tile_col"]) for row in rows if row["pixels"] is None] == [(2, 3)]


def test_a_server_that_is_gone_is_a_transport_error(tmp_path: Path) -> None:
    write_cog(tmp_path / "a.tif", np.ones((16, 16), np.uint8), tile=16, overviews=())
    with RangeServer(tmp_path) as server:
        rs.build_index([server.url("a.tif")], tmp_path / "i.parquet")
    with pytest.raises(TransportError, match=r"a\.tif"):
        rs.to_numpy(tmp_path / "i.parquet")


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("not a table")
    (tmp_path / "empty").mkdir()
    for index, message in (
        (tmp_path / "nothing.parquet", "no such file"),
        (tmp_path, "cannot be read as one index: .*text.parquet"),
        (tmp_path / "empty", r"empty: this folder has no \*\.parquet"),
        (tmp_path / "text.parquet", "cannot be read as Parquet"),
        ("SELECT 1 AS a", "is not an index: it has no column collection"),
        ("FROM nobody", "does not run"),
        (pa.table({"a": [1]}), "without the column collection"),
        (3, "expected a DuckDB relation, an Arrow table"),
    ):
        for read in (rs.to_numpy, rs.to_xarray, rs.read_tiles, rs.explain):
            with pytest.raises(InvalidIndexError, match=message):
                read(index)


def test_bad_arguments_are_refused_before_anything_is_fetched(server: RangeServer, tmp_path: Path) -> None:
    index = tmp_path / "i.parquet"
    for arguments, message in (
        ({"bands": []}, "bands: got"),
        ({"bands": ["rde"]}, "bands: got 'rde', expected one of the assets 'red'"),
        ({"bbox": "here"}, "bbox: got 'here'"),
        ({"bbox": (0, 1, 2)}, "expected four finite numbers"),
        ({"bbox": (1, 9, 2, 8)}, "ymin 9.0 is above its ymax 8.0"),
        ({"geometry": object()}, "geometry: got object"),
        ({"level": 3}, "level: got 3, expected 0 to 0"),
        ({"datetime": "soon"}, "datetime: got 'soon'"),
    ):
        for read in (rs.to_numpy, rs.to_xarray, rs.read_tiles):
            with pytest.raises(InvalidArgumentError, match=message):
                read(index, **arguments)
    with pytest.raises(EmptyReadError, match="touches none of the assets"):
        rs.to_numpy(index, bbox=(0, 0, 1, 1))
    with pytest.raises(EmptyReadError, match=r"datetime: '1999' matches none .*the index has assets without times"):
        rs.to_numpy(index, datetime="1999")
    assert server.requests == []


def test_relative_hrefs_resolve_against_the_index(tmp_path: Path) -> None:
    write_cog(tmp_path / "f.tif", np.ones((16, 16), np.uint8), tile=16, overviews=())
    rs.build_index([str(tmp_path / "f.tif")], tmp_path / "absolute.parquet")
    con = rs.connect()
    relative = f"SELECT * REPLACE ('f.tif' AS href) FROM '{tmp_path}/absolute.parquet'"
    con.execute(f"COPY ({relative}) TO '{tmp_path}/relative.parquet'")
    (tmp_path / "sub").mkdir()
    shutil.copy(tmp_path / "relative.parquet", tmp_path / "sub" / "other.parquet")
    assert rs.to_numpy(tmp_path / "relative.parquet").data.all()
    with pytest.raises(AssetNotFoundError, match=r"sub/f\.tif"):
        rs.to_numpy(tmp_path / "sub" / "other.parquet")
    with pytest.raises(InvalidIndexError, match=r"its href 'f.tif' is relative to the index file"):
        rs.to_numpy(con.sql(f"FROM '{tmp_path}/relative.parquet'"))
    con.close()
