"""The columns of an index, read from `sql/schema/asset_index.sql`, and the keys of its metadata."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from rasteret_sql.index.own_connection import own_connection
from rasteret_sql.index.sqlfiles import sql_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb
    import pyarrow as pa

#: Increases when an older reader would misread the index.
SCHEMA_VERSION = 2
#: Prefix of our keys in the Parquet metadata; the only other key is `geo`.
METADATA_PREFIX = "rasteret_sql."

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


def _split(text: str) -> list[str]:
    """Split the columns of a table at the commas that stand in no parentheses."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
