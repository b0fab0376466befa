"""Results of queries that hold rows of `read_tiles`, in the place of an index."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.database.sqlfiles import quote_identifier
from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.geo.crs import LONLAT
from rasteret_sql.geo.project import project_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from rasteret_sql.plan.scaling import GivenScaling
    from rasteret_sql.sql.planning import PlannedTiles


def holds_tiles(rows: Any) -> bool:
    """Whether a query result holds rows of `read_tiles` rather than those of an index; nothing is run to know.

    Texts and paths are those of an index.
    """
    names = column_names(rows)
    return "tile_row" in names and "levels" not in names


def plan_given_tiles(
    rows: Any, bands: Sequence[str] | None = None, scaling: GivenScaling | None = None
) -> PlannedTiles:
    """Plan a read of tiles that are there already: nothing is fetched.

    All of them are in memory while the plan is.

    Args:
        rows: a DuckDB relation, an Arrow table, batch or stream, or a data frame with the columns of `read_tiles`. The
            columns `scale`, `offset` and `unit`, which an index has in `bands`, are used where they are there.
        bands: names of the bands that are wanted, in that order; None for all, by asset and number.
        scaling: scales and offsets in place of those of the rows; None for none.

    Returns:
        A plan, and properties that know the order of the rows and where they lie.

    Raises:
        InvalidArgumentError: a column is missing, or the tiles do not fit together.
        EmptyReadError: there are no rows.
        InvalidIndexError: the query does not run.
    """
    from rasteret_sql.plan.given_tiles import NEEDED_COLUMNS, OPTIONAL_COLUMNS, plan_given
    from rasteret_sql.sql.index_rows import AssetProperties
    from rasteret_sql.sql.planning import PlannedTiles

    names = column_names(rows)
    missing = [name for name in NEEDED_COLUMNS if name not in names]
    if missing:
        raise InvalidArgumentError(
            f"tiles: got rows without {', '.join(missing)}, expected the columns of read_tiles; select "
            f"{' and '.join(missing)} too, or pass rows of an index"
        )
    wanted = [bands] if isinstance(bands, str) else bands
    plan = plan_given(_table(rows, [name for name in (*NEEDED_COLUMNS, *OPTIONAL_COLUMNS) if name in names]), wanted)
    if scaling:
        listed = scaling.applied([asset.bands for asset in plan.assets])
        assets = (replace(asset, bands=given) for asset, given in zip(plan.assets, listed, strict=True))
        plan = replace(plan, assets=tuple(assets))
    count = len(plan.assets)
    longitude = np.array([_longitude(asset) for asset in plan.assets])
    return PlannedTiles(plan, properties=AssetProperties(np.arange(count), longitude, {}))


def _table(rows: Any, names: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    table = table_of(rows, names)
    # Of texts and bytes by other libraries, types that Arrow can encode.
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    schema = pa.schema([field.with_type(plain.get(field.type, field.type)) for field in table.schema])
    return table if schema == table.schema else table.cast(schema)


def table_of(rows: Any, names: Sequence[str]) -> pa.Table:
    """Give columns of a query result, by the names that `column_names` gives.

    Raises:
        InvalidIndexError: the query does not run.
    """
    import duckdb
    import pyarrow as pa

    if isinstance(rows, duckdb.DuckDBPyRelation):
        from rasteret_sql.database.select_text import message_of

        try:
            # DuckDB finds names in any case, and gives them back as the query has them.
            return rows.project(
                ", ".join(f"{quote_identifier(name)} AS {quote_identifier(name)}" for name in names)
            ).to_arrow_table()
        except duckdb.Error as error:
            raise InvalidIndexError(f"tiles: the query does not run: {message_of(error)}") from error
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    return table.rename_columns([_own_name(name) for name in table.column_names]).select(list(names))


def column_names(rows: Any) -> list[str]:
    """Give the names of the columns of a query result; none of what is no such."""
    import duckdb

    if isinstance(rows, duckdb.DuckDBPyRelation):
        return [_own_name(name) for name in rows.columns]
    names = getattr(getattr(rows, "schema", None), "names", None)
    if not isinstance(names, list):
        columns = getattr(rows, "columns", None)
        names = [] if columns is None else [str(name) for name in columns]
    return [_own_name(name) for name in names]


def _own_name(name: str) -> str:
    """Give a column of `read_tiles` its name there; to DuckDB, ITEM_ID and item_id are one name."""
    from rasteret_sql.plan.given_tiles import NEEDED_COLUMNS, OPTIONAL_COLUMNS

    known = (*NEEDED_COLUMNS, *OPTIONAL_COLUMNS, "levels")
    return name.lower() if name.lower() in known else name


def _longitude(asset: Any) -> float:
    """Give the longitude of the middle of the tiles of a file in degrees, NaN where it is unknown."""
    if asset.crs is None or asset.transform is None:
        return float("nan")
    a, _, c, _, e, f = asset.transform
    longitude, _ = project_points(c + a * asset.width / 2, f + e * asset.height / 2, asset.crs, LONLAT)
    return float(longitude)
