"""Rows of any table as rows of an index: each column cast to its type in `sql/schema/asset_index.sql`.

Rows come from our own Parquet files, from tables and queries, from frames of pandas and from files that such frames
wrote. Text arrives as integers or enums, numbers as DECIMAL, times without a zone. Rows are cast before anything is
compared with them, so a read gives the same for each spelling of the same row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rasteret_sql.errors import InvalidIndexError
from rasteret_sql.index.schema import schema_types
from rasteret_sql.index.select_text import shortened
from rasteret_sql.index.sqlfiles import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

_TIME = "TIMESTAMP WITH TIME ZONE"
#: DuckDB's names of the types that already say an instant.
_INSTANTS = f"('{_TIME}', 'TIMESTAMPTZ_NS')"


def cast_column(name: str, table: str, *, helpers: str = "") -> str:
    """Give SQL for a column of an index, cast to its type; a row without the column is an error of DuckDB.

    Args:
        name: of the column.
        table: alias of the rows.
        helpers: catalog and schema of our macros with a dot at the end, or "" where they are found by their names.
    """
    column = f"{table}.{name}"
    kind = schema_types()[name]
    if kind != _TIME:
        return f"{column}::{kind}"
    # A time without a zone is UTC. Casts of DuckDB would take it for one of the session's zone.
    return (
        f"CASE WHEN typeof({column}) IN {_INSTANTS} THEN TRY_CAST({column} AS {_TIME}) "
        f"ELSE {helpers}_rst_utc({column}, '{name}') END"
    )


def cast_columns(names: Sequence[str], table: str, *, helpers: str = "") -> str:
    """Give the list of a SELECT that casts columns of an index for a read, one to a line, named as in the schema.

    An item without datetime, such as an annual product, has the time of its start, or of its end.

    Args:
        names: of the columns.
        table, helpers: as for `cast_column`.
    """
    casts = {name: cast_column(name, table, helpers=helpers) for name in names}
    if "datetime" in casts:
        others = ", ".join(f"make_timestamptz({table}.reach.{name}::BIGINT)" for name in ("start_us", "end_us"))
        casts["datetime"] = f"coalesce({casts['datetime']}, {others})"
    return ",\n".join(f"        {cast} AS {name}" for name, cast in casts.items())


def misfit(
    cursor: duckdb.DuckDBPyConnection, rows: str, names: Sequence[str], *, helpers: str = ""
) -> InvalidIndexError | None:
    """Find a value that cannot be cast to the type of its column, for a message.

    Args:
        cursor: a connection that has the rows.
        rows: name under which `query_table` finds them.
        names: columns to look at.
        helpers: as for `cast_column`.
    """
    for name in names:
        kind = schema_types()[name]
        text = f"{quote_identifier(name)}::VARCHAR"
        is_list = kind.endswith("[]") and not kind.startswith("STRUCT")
        tried = f"{helpers}_rst_instant({text})" if kind == _TIME else f"TRY_CAST({quote_identifier(name)} AS {kind})"
        found = cursor.execute(
            f"SELECT item_id::VARCHAR, asset::VARCHAR, {text} FROM query_table($1) "  # noqa: S608 - of the schema
            f"WHERE {quote_identifier(name)} IS NOT NULL AND {_fails(tried, name, is_list=is_list)} LIMIT 1",
            [rows],
        ).fetchall()
        for item_id, asset, value in found:
            return InvalidIndexError(
                f'asset "{asset}" of item {item_id}: {name} is {shortened(value)}, expected {_shown(kind)}; correct '
                "the row, or build the index again"
            )
    return None


def _fails(tried: str, name: str, *, is_list: bool) -> str:
    """Give SQL for whether a cast that was tried failed; of a list, each element is tried."""
    if not is_list:
        return f"{tried} IS NULL"
    return f"({tried} IS NULL OR list_count({tried}) < list_count({quote_identifier(name)}::VARCHAR[]))"


def _shown(kind: str) -> str:
    """Give a type for a message."""
    return "a time such as 2024-01-31T10:20:30Z" if kind == _TIME else shortened(kind)[1:-1]
