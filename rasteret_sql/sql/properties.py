"""What an index says of planned assets beside what a read needs: place, order and the properties of their items."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.database.schema import index_columns
from rasteret_sql.database.sqlfiles import quote_identifier

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

#: Types of columns that become coordinates: what has no one value per item does not.
_PLAIN_TYPES = (
    "VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIMESTAMP", "UUID", "ENUM",
)  # fmt: skip
#: Prefix of the columns that every index has, among those of properties.
OWN = "rst_own_"


@dataclass(frozen=True, slots=True, eq=False)
class AssetProperties:
    """Columns of an index, one element per asset of a plan.

    Attributes:
        position: place of the asset's row in the query; all 0 for a table or a path, whose rows have no order.
        longitude: of the middle of its bbox in degrees, NaN where it is unknown.
        columns: the properties of its item by name; masked where they are NULL.
        own: the columns that every index has, likewise.
    """

    position: npt.NDArray[np.int64]
    longitude: npt.NDArray[np.float64]
    columns: dict[str, np.ma.MaskedArray[Any, Any]]
    own: dict[str, np.ma.MaskedArray[Any, Any]] = field(default_factory=dict)

    @classmethod
    def none(cls, count: int) -> AssetProperties:
        """Give those of assets of which nothing is known."""
        return cls(np.zeros(count, np.int64), np.full(count, np.nan), {})

    def take(self, numbers: npt.NDArray[np.int64]) -> AssetProperties:
        """Give those of some of the assets."""
        columns, own = ({name: column[numbers] for name, column in each.items()} for each in (self.columns, self.own))
        return AssetProperties(self.position[numbers], self.longitude[numbers], columns, own)


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
        quote_identifier(f"{OWN}{name}" if name in known else name): _cast(name, kind)
        for name, kind in described
        if kind.startswith(_PLAIN_TYPES) and "[" not in kind
    }


def _cast(name: str, kind: str) -> str:
    """Give a column as a type that NumPy has."""
    quoted = quote_identifier(name)
    if kind.startswith(("DECIMAL", "HUGEINT")):
        return f"{quoted}::DOUBLE"
    if kind.startswith(("UUID", "ENUM")):
        return f"{quoted}::VARCHAR"
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"make_timestamp(epoch_us({quoted}))"
    return quoted
