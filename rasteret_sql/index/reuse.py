"""Rows that exist already: of an older index, of a build that was killed, of a SELECT."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.folders import index_files, index_reader
from rasteret_sql.database.schema import column_types
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal, quote_path, sql_file
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.properties import column_names
from rasteret_sql.index.rows import header_schema
from rasteret_sql.index.staging import ASSETS, HEADERS, ITEMS, KEPT_FILE, ROWS_PER_HEADER_FILE
from rasteret_sql.index.validate import IndexedFile, compare_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

#: Files that are compared at a time.
_FILES_PER_BATCH = 2048


def take_over(
    con: duckdb.DuckDBPyConnection, staged: Path, previous: Path | None, unfinished: Sequence[Path] = ()
) -> None:
    """Stage the rows that need no reading, and list their assets in `taken`.

    A row is taken over if item, asset and file are the same, and the footprint is that of the source now. Rows of an
    older index are compared with their files: one byte is fetched, and ETag, size or time of change must be those of
    the row. Rows that a killed build read within a day are taken as they are.

    Args:
        con: connection of the build, with `assets`, `items` and `taken`.
        staged: the staging folder.
        previous: the older index, or None.
        unfinished: folders of killed builds of the same definition.
    """
    con.from_arrow(header_schema().empty_table()).create("header_columns")
    con.execute("CREATE TABLE kept (asset_no BIGINT, row_no BIGINT)")
    files = (staged / KEPT_FILE.format(number) for number in itertools.count())
    for folder in unfinished:
        if _see_unfinished(con, folder):
            _take(con, folder, next(files), is_compared=False)
    if previous is not None:
        reader = index_reader(index_files(previous), with_numbers=True)
        con.execute(f"CREATE OR REPLACE VIEW old_index AS FROM {reader}")
        _take(con, previous.parent, next(files), is_compared=True)


def _see_unfinished(con: duckdb.DuckDBPyConnection, folder: Path) -> bool:
    """Make `old_index` of the rows that a killed build read; False if there are none."""
    import duckdb

    if not list(folder.glob(HEADERS)):
        return False
    readers = [f"read_parquet({quote_path(folder, name)})" for name in (HEADERS, ASSETS, ITEMS)]
    text = sql_file("index/unfinished_index.sql")
    for name, reader in zip(("$headers", "$assets", "$items"), readers, strict=True):
        text = text.replace(name, reader)
    try:
        con.execute(f"CREATE OR REPLACE VIEW old_index AS {text}")
    except duckdb.Error:
        # The build was killed while it wrote, or was one of another version.
        return False
    return True


def _take(con: duckdb.DuckDBPyConnection, folder: Path, staged: Path, *, is_compared: bool) -> None:
    """Stage the rows of `old_index` whose files did not change.

    Args:
        con: connection of the build.
        folder: folder that relative hrefs refer to.
        staged: the file to write; without any rows it is not written.
        is_compared: whether one byte of each file is fetched.
    """
    if not _is_alike(con):
        return
    base = quote_literal(f"{os.path.abspath(folder)}/")  # noqa: PTH100 - hrefs are text
    candidates = sql_file("index/kept_candidates.sql").replace("$folder", base)
    con.execute(f"CREATE TABLE candidates AS {candidates}")
    con.execute("DELETE FROM kept")
    if is_compared:
        with con.cursor() as cursor:
            cursor.execute("FROM candidates ORDER BY asset_no")
            names = [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(_FILES_PER_BATCH):
                _keep(con, [dict(zip(names, row, strict=True)) for row in rows])
    else:
        con.execute("INSERT INTO kept SELECT asset_no, row_no FROM candidates")
    con.execute("DROP TABLE candidates")
    columns = ", ".join(
        "ST_AsWKB(o.geometry) AS geometry" if name == "geometry" else f"o.{quote_identifier(name)}"
        for name in header_schema().names
        if name != "asset_no"
    )
    if not con.execute("SELECT 1 FROM kept LIMIT 1").fetchall():
        return
    aside = staged.with_suffix(".partial")
    con.execute(
        f"COPY (SELECT k.asset_no, {columns} "  # noqa: S608 - names of our schema
        "FROM old_index AS o JOIN kept AS k ON k.row_no = o.file_row_number) "
        f"TO {quote_literal(str(aside))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_PER_HEADER_FILE})"
    )
    aside.replace(staged)
    con.execute("INSERT INTO taken SELECT asset_no FROM kept")


def _is_alike(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether the older index has the columns and types of this version."""
    old = {row[0]: row[1] for row in con.execute("DESCRIBE old_index").fetchall()}
    new = {row[0]: row[1] for row in con.execute("DESCRIBE header_columns").fetchall()}
    return all(old.get(name) == kind for name, kind in new.items() if name not in {"asset_no", "geometry"})


def _keep(con: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    files = [
        IndexedFile(row["read_href"], row["item_id"], row["asset"], row["etag"], row["file_size"], row["last_modified"])
        for row in rows
    ]
    kept = [row for row, state in zip(rows, compare_files(files), strict=True) if state.kind == "unchanged"]
    con.execute(
        "INSERT INTO kept SELECT unnest(?::BIGINT[]), unnest(?::BIGINT[])",
        [[row["asset_no"] for row in kept], [row["row_no"] for row in kept]],
    )


#: Columns of items, and columns of assets; all others are of headers or are properties.
_ITEM_COLUMNS = ("collection", "item_id", "datetime", "start_datetime", "end_datetime")
_ASSET_COLUMNS = ("asset", "href", "mirror")


def stage_given_rows(con: duckdb.DuckDBPyConnection, path: Path, what: str) -> int:
    """Make the views of the final SELECT, `headers`, `assets`, `items` and `properties`, of rows of an index.

    Args:
        con: connection of the build.
        path: Parquet file with the rows, in any order. A row without levels is a file that failed, and is left out.
        what: origin of the rows, for messages.

    Returns:
        The number of rows.

    Raises:
        InvalidArgumentError: a column of an index is missing, or has another type.
    """
    reader = f"read_parquet({quote_path(path)})"
    given = {row[0]: row[1] for row in con.execute(f"DESCRIBE FROM {reader}").fetchall()}
    # `reach` is computed anew from the other columns of the rows.
    known = {name: kind for name, kind in column_types(con).items() if name != "reach"}
    _require_columns(given, known, what)
    _make_views(con, path, given, known)
    ((rows,),) = con.execute("SELECT count(*) FROM headers").fetchall()
    return int(rows)


def _require_columns(given: Mapping[str, str], known: Mapping[str, str], what: str) -> None:
    missing = [name for name in known if name not in given]
    if missing:
        raise InvalidArgumentError(
            f"{what}: its SELECT gives no {', '.join(missing)}; expected all columns of an index. "
            f"Let read_headers(...) give its rows, or name these columns too"
        )
    # DuckDB writes a geometry column of NULLs as a BLOB.
    wanted = {**known, "geometry": "BLOB"} if given["geometry"] == "BLOB" else known
    for name, kind in wanted.items():
        if given[name].partition("(")[0] != kind.partition("(")[0] or (
            name in {"formats", "levels"} and given[name] != kind
        ):
            raise InvalidArgumentError(f"{what}: column {name} is {given[name][:200]}, expected {kind[:200]}; cast it")


def _make_views(con: duckdb.DuckDBPyConnection, path: Path, given: Mapping[str, str], known: Mapping[str, str]) -> None:
    reader = f"read_parquet({quote_path(path)}, file_row_number = true)"
    geometry = "geometry" if given["geometry"] == "BLOB" else "ST_AsWKB(geometry) AS geometry"
    properties = column_names(name for name in given if name not in {*known, "reach"})
    headers = [name for name in given if name in known and name not in {*_ITEM_COLUMNS, *_ASSET_COLUMNS, "geometry"}]
    views = {
        "headers": ["file_row_number AS asset_no", geometry, *map(quote_identifier, headers)],
        "assets": ["file_row_number AS asset_no", "file_row_number AS item_no", *_ASSET_COLUMNS],
        "items": ["file_row_number AS item_no", *_ITEM_COLUMNS],
        "properties": [
            "file_row_number AS item_no",
            *(f"{quote_identifier(name)} AS {quote_identifier(column)}" for name, column in properties.items()),
        ],
    }
    con.execute("CREATE TABLE dropped (asset_no BIGINT)")
    # Rows without levels are files that failed; the report has them.
    conditions = dict.fromkeys(views, "levels IS NOT NULL")
    conditions["assets"] += " AND file_row_number NOT IN (SELECT asset_no FROM dropped)"
    for view, columns in views.items():
        con.execute(f"CREATE VIEW {view} AS SELECT {', '.join(columns)} FROM {reader} WHERE {conditions[view]}")  # noqa: S608 - quoted
