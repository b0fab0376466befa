"""Files that were replaced between index and read: an error in every store, at every door, without a further request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AssetChangedError, InvalidArgumentError
from rasteret_sql.io import stores
from rasteret_sql.testing import Fault, RangeServer, write_cog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = 128
#: So that each answer of a test comes without an ETag.
NO_ETAG = [Fault("etag", value=None)] * 40


def _write(path: Path, value: int, size: int = SIZE) -> None:
    """Write a file whose pixels are all `value`; files of one size have as many bytes."""
    write_cog(path, np.full((size, size), value, np.uint8), tile=64, overviews=(), compression="none", predictor=1)


def _replace(path: Path, size: int = SIZE) -> None:
    before = path.stat()
    _write(path, 9, size)
    os.utime(path, (before.st_mtime + 60, before.st_mtime + 60))


@pytest.fixture(params=["http", "local", "object"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Path]]:
    """A file and its index; the store of the file gives no ETag, or the index has none."""
    folder = tmp_path / "files"
    folder.mkdir()
    file, index = folder / "a.tif", tmp_path / "index.parquet"
    _write(file, 5)
    if request.param == "local":
        rs.build_index([str(file)], index)
    elif request.param == "object":
        store = pytest.importorskip("obstore.store").LocalStore(folder)
        from rasteret_sql.io.objects import ObjectStore

        monkeypatch.setitem(stores._stores, "object", ObjectStore(open_store=lambda _url, _settings: store))
        rs.build_index(pa.table({"href": ["s3://bucket/a.tif"], "item_id": ["a"], "asset": ["data"]}), index)
    else:
        with RangeServer(folder, faults={"a.tif": NO_ETAG}) as server:
            rs.build_index([server.url("a.tif")], index)
            yield file, index
        return
    table = pa.parquet.read_table(index)
    column = table.schema.get_field_index("etag")
    pa.parquet.write_table(table.set_column(column, "etag", pa.nulls(1, pa.string())), index)
    yield file, index


@pytest.mark.parametrize("size", [SIZE, SIZE // 2, 2 * SIZE])
def test_no_pixel_of_a_replaced_file_is_read(place: tuple[Path, Path], size: int) -> None:
    file, index = place
    assert (rs.to_numpy(index).data == 5).all()
    _replace(file, size)
    with pytest.raises(AssetChangedError, match=r"a\.tif: the file has another (size|time of change) now"):
        rs.to_numpy(index)


def _sql(index: Path) -> Any:
    with rs.connect() as con:
        return con.execute(f"SELECT sum(octet_length(pixels)) FROM read_tiles('{index}')").fetchall()


DOORS: dict[str, Callable[[Path], Any]] = {
    "to_numpy": rs.to_numpy,
    "read_tiles": lambda index: rs.read_tiles(index).read_all(),
    "SQL": _sql,
    "xarray": rs.to_xarray,
    "dask": lambda index: rs.to_xarray(index, chunks={}).compute(),
    "picture": rs.picture,
    "export": lambda index: rs.export(index, index.with_suffix(".tif")),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_notices_and_asks_no_more_than_before(door: str, tmp_path: Path) -> None:
    import duckdb

    (tmp_path / "files").mkdir()
    _write(tmp_path / "files" / "a.tif", 5)
    with RangeServer(tmp_path / "files", faults={"a.tif": NO_ETAG}) as server:
        rs.build_index([server.url("a.tif")], tmp_path / "i.parquet")
        server.reset()
        DOORS[door](tmp_path / "i.parquet")
        asked = server.ranges_of("a.tif")
        assert len(asked) == 1
        server.reset()
        _replace(tmp_path / "files" / "a.tif")
        with pytest.raises((AssetChangedError, duckdb.Error), match="another time of change now"):
            DOORS[door](tmp_path / "i.parquet")
        assert server.ranges_of("a.tif") == asked


class TestRules:
    """A file whose ETag changed, and nothing else."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[Path]:
        (tmp_path / "files").mkdir()
        _write(tmp_path / "files" / "a.tif", 5)
        with RangeServer(tmp_path / "files", faults={"a.tif": [Fault("etag", value='"old"')]}) as server:
            rs.build_index([server.url("a.tif")], tmp_path / "i.parquet")
            yield tmp_path / "i.parquet"

    def test_a_changed_etag_is_an_error_that_says_how_to_pass_it(self, index: Path) -> None:
        with pytest.raises(AssetChangedError, match=r'"old".*identity="size"'):
            rs.to_numpy(index)

    @pytest.mark.parametrize("rule", ["size", "none"])
    def test_the_size_alone_or_nothing_is_compared(self, index: Path, rule: str) -> None:
        with rs.set_options(identity=rule):
            assert (rs.to_numpy(index).data == 5).all()
            lazy = rs.to_xarray(index, chunks={})
        # The rule is part of the plan, so workers follow it too.
        assert (lazy.to_array() == 5).all()

    @pytest.mark.parametrize("rule", ["size", "none"])
    def test_a_variable_says_so_in_sql(self, index: Path, rule: str) -> None:
        query = f"SELECT sum(octet_length(pixels)) FROM read_tiles('{index}')"
        with rs.connect() as con:
            con.execute(f"SET VARIABLE rasteret_identity = '{rule}'")
            assert con.execute(query).fetchall() == [(SIZE * SIZE,)]
            con.execute("RESET VARIABLE rasteret_identity")
            with pytest.raises(Exception, match='"old"'):
                con.execute(query).fetchall()
            con.execute("SET VARIABLE rasteret_identity = 'md5'")
            with pytest.raises(Exception, match="identity: got 'md5', expected one of etag, size, none"):
                con.execute(query).fetchall()

    def test_the_size_still_tells(self, index: Path) -> None:
        _replace(index.parent / "files" / "a.tif", 2 * SIZE)
        with rs.set_options(identity="size"), pytest.raises(AssetChangedError, match="another size"):
            rs.to_numpy(index)


def test_a_query_that_lists_columns_without_the_time_of_change_still_reads(tmp_path: Path) -> None:
    _write(tmp_path / "a.tif", 5)
    rs.build_index([str(tmp_path / "a.tif")], tmp_path / "i.parquet")
    query = f"SELECT * EXCLUDE (last_modified) FROM '{tmp_path / 'i.parquet'}'"
    assert (rs.to_numpy(query).data == 5).all()


def test_refresh_takes_a_replaced_file_in_and_reads_it(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    _write(tmp_path / "files" / "a.tif", 5)
    with RangeServer(tmp_path / "files", faults={"a.tif": NO_ETAG}) as server:
        rs.build_index([server.url("a.tif")], tmp_path / "i.parquet")
        _replace(tmp_path / "files" / "a.tif")
        assert rs.validate(tmp_path / "i.parquet").counts["changed"] == 1
        assert rs.refresh(tmp_path / "i.parquet").changed == 1
        assert (rs.to_numpy(tmp_path / "i.parquet").data == 9).all()


def test_a_rule_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="identity: got 'md5'"):
        rs.set_options(identity="md5")
