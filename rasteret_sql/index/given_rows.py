"""Rows of an index that a definition or a dbt model gives: their columns checked, and staged for the final SELECT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.properties import column_names
from rasteret_sql.index.schema import column_types
from rasteret_sql.index.sqlfiles import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import duckdb

#: Columns of the item, which stand before its properties.
_ITEM_COLUMNS = ("collection", "item_id", "datetime", "start_datetime", "end_datetime")
_ASSET_COLUMNS = ("asset", "href", "mirror")


def stage_given_rows(con: duckdb.DuckDBPyConnection, path: Path, what: str) -> int:
    """Make `headers`, `assets`, `items` and `properties`, which the final SELECT reads, of rows that are whole already.

    Args:
        con: connection of the build.
        path: Parquet file with the rows, in any order; those without levels are files that failed, and are left out.
        what: what gave them, for messages.

    Returns:
        How many rows there are.

    Raises:
        InvalidArgumentError: a column of an index is missing, or has another type.
    """
    reader = f"read_parquet({quote_literal(str(path))})"
    given = {row[0]: row[1] for row in con.execute(f"DESCRIBE FROM {reader}").fetchall()}
    # What reads are pruned by is made anew of what the rows have now.
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
    # DuckDB writes a column that is NULL throughout as WKB without saying so.
    wanted = {**known, "geometry": "BLOB"} if given["geometry"] == "BLOB" else known
    for name, kind in wanted.items():
        if given[name].partition("(")[0] != kind.partition("(")[0] or (
            name in {"formats", "levels"} and given[name] != kind
        ):
            raise InvalidArgumentError(f"{what}: column {name} is {given[name][:200]}, expected {kind[:200]}; cast it")


def _make_views(con: duckdb.DuckDBPyConnection, path: Path, given: Mapping[str, str], known: Mapping[str, str]) -> None:
    reader = f"read_parquet({quote_literal(str(path))}, file_row_number = true)"
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
    for view, columns in views.items():
        # Rows without levels are files that failed; the report has them.
        con.execute(f"CREATE VIEW {view} AS SELECT {', '.join(columns)} FROM {reader} WHERE levels IS NOT NULL")  # noqa: S608 - quoted
