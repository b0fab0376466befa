"""The columns of an index, read from `sql/schema/asset_index.sql`, casts to them, and the keys of its metadata.

Rows of an index come from our own Parquet files, from tables and queries, and from data frames. Text arrives as
integers or enums, numbers as DECIMAL, times without a zone. Rows are cast before anything is compared with them, so a
read gives the same for each spelling of the same row.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.select_text import shortened
from rasteret_sql.database.sqlfiles import quote_identifier, sql_file
from rasteret_sql.errors import InvalidIndexError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb
    import pyarrow as pa

#: Increases when an older reader would misread the index.
SCHEMA_VERSION = 2
#: Prefix of our keys in the Parquet metadata; the only other key is `geo`.
METADATA_PREFIX = "rasteret_sql."

#: Name of a property whose own name is empty, or that of a column, band or coordinate beside it.
RENAMED_PROPERTY = "properties:{}"

_TIME = "TIMESTAMP WITH TIME ZONE"
#: DuckDB's names of the types that already say an instant.
_INSTANTS = f"('{_TIME}', 'TIMESTAMPTZ_NS')"
#: Index columns that a source may give; all other columns come from headers.
SOURCE_COLUMNS = frozenset(
    {
        "collection",
        "item_id",
        "asset",
        "datetime",
        "start_datetime",
        "end_datetime",
        "geometry",
        "href",
        "mirror",
        "bands",
    }
)


@cache
def index_schema() -> pa.Schema:
    """Give the Arrow schema of an index without property columns; `geometry` is WKB."""
    import pyarrow as pa

    with own_connection() as con:
        con.execute(sql_file("schema/asset_index.sql"))
        table = con.sql("SELECT * REPLACE (ST_AsWKB(geometry) AS geometry) FROM asset_index").to_arrow_table()
    utc = pa.timestamp("us", tz="UTC")
    return pa.schema([field.with_type(utc) if pa.types.is_timestamp(field.type) else field for field in table.schema])


def column_types(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Give names and DuckDB types of the columns of every index, in order."""
    schema = sql_file("schema/asset_index.sql")
    con.execute(schema.replace("CREATE TABLE asset_index", "CREATE TEMP TABLE _rst_asset_index", 1))
    rows = con.execute("DESCRIBE temp.main._rst_asset_index").fetchall()
    con.execute("DROP TABLE temp.main._rst_asset_index")
    return {row[0]: row[1] for row in rows}


@cache
def schema_types() -> Mapping[str, str]:
    """Give the DuckDB types of the columns of an index, in order, as the schema writes them."""
    text = re.sub(r"--[^\n]*", "", sql_file("schema/asset_index.sql"))
    body = text[text.index("(") + 1 : text.rindex(")")]
    types = {}
    for part in _split(body):
        name, _, kind = part.strip().partition(" ")
        written = re.sub(r"\s+", " ", kind.removesuffix(" NOT NULL"))
        types[name] = written.replace("( ", "(").replace(" )", ")")
    return types


@cache
def index_columns() -> frozenset[str]:
    """Give the names of the columns of every index."""
    return frozenset(schema_types())


@cache
def text_columns() -> frozenset[str]:
    """Give the names of the text columns; without them DuckDB would read a folder `collection=2024` as a number."""
    return frozenset(name for name, kind in schema_types().items() if kind == "VARCHAR")


def geo_metadata(bounds: Sequence[float] | None) -> str:
    """Give the `geo` key of a GeoParquet 1.1 file whose `geometry` is WKB in OGC:CRS84, covered by `bbox`.

    Args:
        bounds: (xmin, ymin, xmax, ymax) of all geometries, or None for no geometry.
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [],
        "covering": {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if bounds is not None:
        column["bbox"] = list(bounds)
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})


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


def _split(text: str) -> list[str]:
    """Split the columns of a table at the commas that stand in no parentheses."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
