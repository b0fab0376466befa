"""Which columns of an index are properties of its items, and how a read fetches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rasteret_sql.database.schema import index_columns
from rasteret_sql.database.sqlfiles import quote_identifier

if TYPE_CHECKING:
    import duckdb

#: Types of columns that become coordinates: what has no one value per item does not.
_PLAIN_TYPES = (
    "VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIMESTAMP", "UUID", "ENUM",
)  # fmt: skip
#: Prefix of the columns that every index has, among those of properties.
OWN = "rst_own_"


def property_columns(cursor: duckdb.DuckDBPyConnection, index: str) -> dict[str, str]:
    """Give what is read of the properties of an index: quoted names of columns, and their expressions.

    Args:
        cursor: where the index is found.
        index: name under which `query_table` finds it.
    """
    described = cursor.execute(
        "SELECT column_name, column_type FROM (DESCRIBE FROM query_table($1))", [index]
    ).fetchall()
    known = index_columns()
    kinds = dict(described)
    has_bbox = "bbox" in kinds
    middle = "(bbox.xmin + bbox.xmax) / 2 + CASE WHEN bbox.xmin > bbox.xmax THEN 180 ELSE 0 END"
    columns = {"rst_longitude": middle if has_bbox else "NULL::DOUBLE", "rst_footprint": "NULL::BLOB"}
    if has_bbox and "geometry" in kinds:
        # The bbox of what crosses the antimeridian is as wide as the Earth, and its middle is elsewhere.
        wkb = "ST_AsWKB(geometry)" if kinds["geometry"].startswith("GEOMETRY") else "geometry"
        columns["rst_footprint"] = f"CASE WHEN bbox.xmin <= -180 AND bbox.xmax >= 180 THEN {wkb} END"
    return columns | {
        quote_identifier(f"{OWN}{name}" if name in known else name): _cast_property(name, kind)
        for name, kind in described
        if kind.startswith(_PLAIN_TYPES) and "[" not in kind
    }


def _cast_property(name: str, kind: str) -> str:
    """Give a column as a type that NumPy has."""
    quoted = quote_identifier(name)
    if kind.startswith(("DECIMAL", "HUGEINT")):
        return f"{quoted}::DOUBLE"
    if kind.startswith(("UUID", "ENUM")):
        return f"{quoted}::VARCHAR"
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"make_timestamp(epoch_us({quoted}))"
    return quoted
