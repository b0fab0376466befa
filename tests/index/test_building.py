"""What decides the rows of a build is in its digest; what it stages is whole, and holds each file once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import rasteret_sql as rs
from rasteret_sql.database import sqlfiles
from rasteret_sql.index import staging
from rasteret_sql.index.rows import header_schema
from rasteret_sql.index.staging import HEADERS, SQL_OF_ROWS, HeaderFiles, definition_digest


@pytest.fixture
def copied_sql(tmp_path, monkeypatch):
    """A copy of the SQL that is read in place of it."""
    folder = tmp_path / "sql"
    shutil.copytree(sqlfiles.sql_folder(), folder)
    monkeypatch.setattr(sqlfiles, "sql_folder", lambda: folder)
    sqlfiles.sql_file.cache_clear()
    yield folder
    sqlfiles.sql_file.cache_clear()


@pytest.mark.parametrize("name", SQL_OF_ROWS)
def test_sql_that_decides_rows_changes_the_digest(copied_sql, name):
    before = definition_digest({"source": "a"})
    with (copied_sql / name).open("a", encoding="utf-8") as file:
        file.write("\n-- changed")
    sqlfiles.sql_file.cache_clear()
    assert definition_digest({"source": "a"}) != before


def test_no_sql_of_a_build_is_missing_from_the_digest(cog, tmp_path, monkeypatch):
    path = tmp_path / "i.parquet"
    rs.build_index(cog("files/a.tif"), path)
    read = set()
    folder = sqlfiles.sql_folder()
    read_text = Path.read_text

    def recorded(file, **options):
        if file.is_relative_to(folder):
            read.add(file.relative_to(folder).as_posix())
        return read_text(file, **options)

    monkeypatch.setattr(Path, "read_text", recorded)
    sqlfiles.sql_file.cache_clear()
    rs.refresh(path)
    # Checks refuse an index as a whole, and what is asked of the old and the new one is said of them.
    reported = {"index/indexed_files.sql", "index/refreshed_files.sql", "index/index_info.sql", "index/many_files.sql"}
    assert {name for name in read if not name.startswith("checks/")} - reported <= set(SQL_OF_ROWS)
    assert "index/positions.sql" in read


def test_staged_headers_become_few_files_and_no_row_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "ROWS_PER_HEADER_FILE", 6)
    schema = header_schema()
    files = HeaderFiles(tmp_path, schema)
    for first in range(0, 16, 2):
        rows = [{"asset_no": first}, {"asset_no": first + 1}]
        files.write([pa.RecordBatch.from_pylist(rows, schema)])
    written = sorted(tmp_path.glob(HEADERS))
    assert [parquet.read_metadata(path).num_rows for path in written] == [6, 6, 2, 2]
    assert sorted(tmp_path.iterdir()) == written
    numbers = [number for path in written for number in parquet.read_table(path)["asset_no"].to_pylist()]
    assert numbers == list(range(16))


def test_a_flush_without_rows_leaves_an_empty_file_once(tmp_path):
    files = HeaderFiles(tmp_path, header_schema())
    files.write([])
    files.write([])
    (path,) = tmp_path.iterdir()
    assert parquet.read_metadata(path).num_rows == 0


def test_rows_that_are_joined_in_parts_are_those_that_are_joined_at_once(cog, tmp_path, monkeypatch):
    from rasteret_sql.index import parquet_file

    for number in range(7):
        cog(f"files/{number}.tif")
    query = "SELECT * EXCLUDE (indexed_at) FROM '{}'"
    rs.build_index(tmp_path / "files" / "*.tif", tmp_path / "once.parquet")
    monkeypatch.setattr(parquet_file, "JOINED_ROWS", 3)
    rs.build_index(tmp_path / "files" / "*.tif", tmp_path / "parts.parquet")
    with rs.connect() as con:
        once = con.sql(query.format(tmp_path / "once.parquet")).fetchall()
        assert con.sql(query.format(tmp_path / "parts.parquet")).fetchall() == once
    assert len(once) == 7
