"""What an index says of planned assets beside what a read needs: place, order and the properties of their items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.index.schema import index_columns
from rasteret_sql.index.sqlfiles import quote_identifier

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

#: Types of columns that become coordinates: what has no one value per item does not.
_PLAIN_TYPES = (
    "VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIMESTAMP", "UUID", "ENUM",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class AssetProperties:
    """Columns of an index, one element per asset of a plan.

    Attributes:
        position: place of the asset's row in the query; all 0 for a table or a path, whose rows have no order.
        longitude: of the middle of its bbox in degrees, NaN where it is unknown.
        columns: the properties of its item by name; masked where they are NULL.
    """

    position: npt.NDArray[np.int64]
    longitude: npt.NDArray[np.float64]
    columns: dict[str, np.ma.MaskedArray[Any, Any]]

    @classmethod
    def none(cls, count: int) -> AssetProperties:
        """Give those of assets of which nothing is known."""
        return cls(np.zeros(count, np.int64), np.full(count, np.nan), {})


def read_properties(cursor: duckdb.DuckDBPyConnection, index: str, *, is_ordered: bool) -> AssetProperties:
    """Read them for the temporary table `planned_assets`.

    Args:
        cursor: where the plan was made.
        index: name under which `query_table` finds the index.
        is_ordered: whether the order of its rows means something.
    """
    described = cursor.execute(
        "SELECT column_name, column_type FROM (DESCRIBE FROM query_table($1))", [index]
    ).fetchall()
    known = index_columns()
    kinds = {
        name: kind
        for name, kind in described
        if name not in known and kind.startswith(_PLAIN_TYPES) and "[" not in kind
    }
    given = "".join(f", i.{quote_identifier(name)}" for name in kinds)
    cast = "".join(f", {_cast(name, kind)} AS {quote_identifier(name)}" for name, kind in kinds.items())
    position = "row_number() OVER ()" if is_ordered else "0::BIGINT"
    longitude = (
        "(bbox.xmin + bbox.xmax) / 2 + CASE WHEN bbox.xmin > bbox.xmax THEN 180 ELSE 0 END"
        if any(name == "bbox" for name, _ in described)
        else "NULL::DOUBLE"
    )
    query = f"""
        SELECT p.asset_no AS rst_asset_no, i.rst_position, i.rst_longitude{given}
        FROM planned_assets AS p
        JOIN (
            SELECT
                collection,
                item_id,
                asset,
                href,
                {position} AS rst_position,
                {longitude} AS rst_longitude
                {cast}
            FROM query_table($1)
        ) AS i
            ON i.item_id = p.item_id
            AND i.asset = p.asset
            AND i.href = p.href
            AND i.collection IS NOT DISTINCT FROM p.collection
        QUALIFY row_number() OVER (PARTITION BY p.asset_no ORDER BY i.rst_position) = 1
        ORDER BY p.asset_no
    """  # noqa: S608 - identifiers are quoted
    columns = cursor.execute(query, [index]).fetchnumpy()
    return AssetProperties(
        position=np.ma.getdata(columns["rst_position"]).astype(np.int64),
        longitude=np.ma.masked_array(columns["rst_longitude"]).filled(np.nan).astype(np.float64),
        columns={name: np.ma.masked_array(columns[name]) for name in kinds},
    )


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
