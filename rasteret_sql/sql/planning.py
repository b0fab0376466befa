"""Plans reads of an index, whatever it goes by, and says why one takes nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import EmptyReadError
from rasteret_sql.sql.catalog import CATALOG
from rasteret_sql.sql.index_rows import IndexRows, reach_of
from rasteret_sql.sql.named_index import base_of, explained_index, index_in_words, is_path, is_query, named_index
from rasteret_sql.sql.origins import origins_of
from rasteret_sql.sql.selected import SelectedFiles
from rasteret_sql.sql.unindexed import UnindexedAssets
from rasteret_sql.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from rasteret_sql.database.part_bounds import Reach
    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.plan.select import Selection
    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.sql.derived import DerivedFiles
    from rasteret_sql.sql.index_rows import AssetProperties

#: The macro explain_read, without the error of an area that touches no asset: `ReadCost` says it.
_EXPLAIN = f"""
CREATE OR REPLACE TEMP TABLE explained AS
WITH
planned AS MATERIALIZED (
    SELECT * EXCLUDE (formats, levels, reach)
    FROM {CATALOG}.main._rst_asset_plan(
        $index, bands := $bands::VARCHAR[], geometry := $geometry::VARCHAR, bbox := $bbox::DOUBLE[],
        crs := $crs::VARCHAR, datetime := $datetime::VARCHAR, level := $level::BIGINT,
        resolution := $resolution::DOUBLE
    )
)
FROM {CATALOG}.main._rst_cost('planned', geometry := $geometry::VARCHAR, crs := $crs::VARCHAR)
"""  # noqa: S608 - our own names


@dataclass(frozen=True, slots=True)
class PlannedTiles:
    """A plan, and what else was asked for.

    Attributes:
        plan: the tiles.
        properties: what the index says of each asset of the plan beside what a read needs; or None.
    """

    plan: TilePlan
    properties: AssetProperties | None = None


def plan_tiles(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> TilePlan:
    """Plan a read, which may give nothing, as a whole; see `plan_parts`."""
    (plan,) = plan_parts(cursor, arguments, None)
    return plan


def plan_parts(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, max_rows: int | None) -> Iterator[TilePlan]:
    """Plan a read, which may give nothing, in parts that are planned when they are wanted.

    All that is read of the index is read at once: the parts need no connection.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what was asked.
        max_rows: how many rows a part has at most, unless one tile has more; None for one part.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
        EmptyReadError: the area touches none of the assets that the other arguments leave.
    """
    with index_rows(cursor, arguments) as rows:
        selection = rows.select(arguments)
        parts = rows.plan_selection(selection, max_rows)
    require_inside(cursor, arguments, selection)
    return parts


def require_inside(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, selection: Selection) -> None:
    """Refuse an area that touches nothing.

    Raises:
        EmptyReadError: nothing is selected, and it is the area that leaves nothing.
    """
    if not len(selection) and _is_outside(cursor, arguments):
        raise _outside(arguments)


def select_files(
    cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, formulas: PixelFormulas | None = None
) -> SelectedFiles | DerivedFiles | None:
    """Give the files of a read, without their tiles; None where there are none.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what was asked.
        formulas: what is computed of their bands, in stored values; None for nothing.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
        EmptyReadError: the area touches none of the assets that the other arguments leave, or no item has the bands
            that are needed.
    """
    found: SelectedFiles | DerivedFiles | None
    with index_rows(cursor, arguments, formulas=formulas) as rows:
        if formulas is None:
            found = SelectedFiles.of(rows, rows.select(arguments))
        else:
            from rasteret_sql.sql.derived import DerivedFiles

            found = DerivedFiles.of(rows, arguments, formulas, scale=False)
            found = None if found is None else found.located()
    if found is not None and found.assets:
        return found
    if _is_outside(cursor, arguments):
        raise _outside(arguments)
    return None


class IndexPlans:
    """Plans of one read, which may be planned several times: rows of its index are fetched once.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: the index, and the area and period whose rows are fetched.
        with_properties: whether the properties of the items are wanted.
    """

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, *, with_properties: bool = False
    ) -> None:
        self._cursor, self._arguments, self._with_properties = cursor, arguments, with_properties
        self._rows: IndexRows | None = None

    def files(self, arguments: ReadArguments) -> SelectedFiles:
        """Give the files of a read, without their tiles; at least one.

        Raises:
            InvalidArgumentError: an argument is wrong.
            InvalidIndexError: the index is not one.
            EmptyReadError: nothing is left to read.
        """
        arguments = self._of_index(arguments)
        with self._rows_for(arguments) as rows:
            found = SelectedFiles.of(rows, rows.select(arguments))
        if not found.assets:
            raise nothing_found(self._cursor, arguments)
        return found

    def derived_files(self, arguments: ReadArguments, formulas: PixelFormulas, *, scale: bool) -> DerivedFiles:
        """Give the files of a read, and the bands that are computed of theirs; at least one.

        Args:
            arguments: what is read; without bands, formulas alone, or all bands where there are none.
            formulas: what is computed.
            scale: compute with physical values.

        Raises:
            InvalidArgumentError: an argument is wrong.
            InvalidIndexError: the index is not one.
            EmptyReadError: nothing is left to read.
        """
        from rasteret_sql.sql.derived import DerivedFiles

        arguments = self._of_index(arguments)
        with self._rows_for(arguments, formulas) as rows:
            found = DerivedFiles.of(rows, arguments, formulas, scale=scale)
        if found is None:
            raise nothing_found(self._cursor, replace(arguments, bands=arguments.bands or formulas.labels))
        return found

    def plan(self, arguments: ReadArguments) -> PlannedTiles:
        """Plan a read that must give something.

        Raises:
            InvalidArgumentError: an argument is wrong.
            InvalidIndexError: the index is not one.
            EmptyReadError: nothing is left to read.
        """
        arguments = self._of_index(arguments)
        with self._rows_for(arguments) as rows:
            plan, properties = rows.plan(arguments)
        if not plan.assets:
            raise nothing_found(self._cursor, arguments)
        if not len(plan):
            raise EmptyReadError(_why_empty(self._cursor, arguments))
        return PlannedTiles(plan, properties)

    def _of_index(self, arguments: ReadArguments) -> ReadArguments:
        return replace(arguments, index=self._arguments.index, is_ordered=self._arguments.is_ordered)

    def _reach(self, arguments: ReadArguments) -> Reach:
        """Give bounds that hold all rows which may be fetched for a plan: `_rows_for` tries its own arguments first."""
        return reach_of(self._arguments).joined(reach_of(arguments))

    @contextmanager
    def _rows_for(self, arguments: ReadArguments, formulas: PixelFormulas | None = None) -> Iterator[IndexRows]:
        """Give rows that hold all that an area and labels take: those that are there, or else theirs."""
        labels = _labels_of(arguments, formulas)
        with explained_index(self._cursor, arguments.index, partial(self._reach, arguments)) as name:
            if self._rows is None:
                self._rows = self._fetched(self._arguments, name, labels)
            if not self._rows.hold(arguments, labels):
                self._rows = self._fetched(arguments, name, labels)
            yield self._rows

    def _fetched(self, arguments: ReadArguments, name: str, labels: Sequence[str] | None) -> IndexRows:
        return _rows(self._cursor, name, arguments, labels, with_properties=self._with_properties)


def _labels_of(arguments: ReadArguments, formulas: PixelFormulas | None) -> Sequence[str] | None:
    """Give the labels of all bands that a read needs; None where it needs every band."""
    if formulas is None or (arguments.bands is None and not formulas.expressions):
        return arguments.bands
    return [*(arguments.bands or ()), *formulas.labels]


@contextmanager
def index_rows(
    cursor: duckdb.DuckDBPyConnection,
    arguments: ReadArguments,
    *,
    formulas: PixelFormulas | None = None,
    further: Sequence[str] = (),
    with_properties: bool = False,
) -> Iterator[IndexRows]:
    """Fetch the rows that area and period of a read leave; what DuckDB says of them while they are used is explained.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what was asked.
        formulas: what is computed of bands; None for nothing.
        further: labels of bands that are needed beside those of the read.
        with_properties: whether the properties of the items are wanted.

    Raises:
        InvalidArgumentError: the area cannot be read.
        InvalidIndexError: the index is not one.
    """
    with explained_index(cursor, arguments.index, partial(reach_of, arguments)) as name:
        labels = _labels_of(arguments, formulas)
        labels = None if labels is None else [*labels, *further]
        yield _rows(cursor, name, arguments, labels, with_properties=with_properties)


def _rows(
    cursor: duckdb.DuckDBPyConnection,
    name: str,
    arguments: ReadArguments,
    labels: Sequence[str] | None,
    *,
    with_properties: bool,
) -> IndexRows:
    """Fetch rows of an index; of assets without headers, the headers that a read needs are read."""
    import duckdb

    index = arguments.index
    origins = index_origins(cursor, index)

    def fetched(name: str, labels: Sequence[str] | None) -> IndexRows:
        return IndexRows(
            cursor,
            name,
            arguments,
            base=base_of(index),
            with_properties=with_properties,
            origins=origins,
            labels=labels,
        )

    try:
        return fetched(name, None)
    except duckdb.BinderException:
        assets = UnindexedAssets.of(cursor, name, index, origins)
        if assets is None:
            raise
    return fetched(assets.with_headers(arguments, labels), labels)


def index_origins(cursor: duckdb.DuckDBPyConnection, index: str) -> tuple[str, ...]:
    """Give the URLs that an index is read from; see `origins_of`."""
    return origins_of(cursor, index, is_file=is_path(index) and not is_query(index))


def explain_read(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> Any:
    """Give the rows of `explain_read` for the arguments as a `pyarrow.Table`.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
    """
    with explained_index(cursor, arguments.index) as name:
        assets = UnindexedAssets.of(cursor, name, arguments.index, index_origins(cursor, arguments.index))
        shown = name if assets is None else assets.with_headers(arguments, arguments.bands)
        cursor.execute(_EXPLAIN, _parameters(arguments, shown))
        return cursor.sql("FROM explained").to_arrow_table()


def _parameters(arguments: ReadArguments, name: str) -> dict[str, Any]:
    return {
        "index": name,
        "bands": None if arguments.bands is None else list(arguments.bands),
        "geometry": arguments.geometry,
        "bbox": None if arguments.bbox is None else list(arguments.bbox),
        "crs": arguments.crs,
        "datetime": arguments.datetime,
        "level": arguments.level,
        "resolution": arguments.resolution,
    }


def nothing_found(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> EmptyReadError:
    """Give the error of a read that takes nothing: it says which of the arguments left nothing."""
    if _is_outside(cursor, arguments):
        return _outside(arguments)
    return EmptyReadError(_why_empty(cursor, arguments))


def _is_outside(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> bool:
    """Whether it is the area that leaves nothing."""
    anywhere = replace(arguments, bbox=None, geometry=None, grid=None, resolution=None, gsd=None)
    return arguments.has_area and _finds_some(cursor, anywhere)


def _finds_some(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> bool:
    with explained_index(cursor, arguments.index) as name:
        assets = UnindexedAssets.of(cursor, name, arguments.index, index_origins(cursor, arguments.index))
        if assets is not None:
            # No header is read for a message.
            return bool(assets.wanted(arguments, arguments.bands))
    with index_rows(cursor, arguments) as rows:
        return len(rows.select(arguments)) > 0


def _outside(arguments: ReadArguments) -> EmptyReadError:
    period = "" if arguments.datetime is None else f" within datetime {arguments.datetime!r}"
    return EmptyReadError(
        f"{_area_in_words(arguments)}: touches none of the assets of index {index_in_words(arguments.index)}{period}; "
        "expected an area inside their footprints. Check the order (xmin, ymin, xmax, ymax: longitude first) and "
        "geometry_crs"
    )


def _area_in_words(arguments: ReadArguments) -> str:
    area = "geometry" if arguments.bbox is None else f"bbox {list(arguments.bbox)}"
    if arguments.grid is not None:
        area = f"grid with bounds {list(arguments.grid.bounds)}"
    return f"{area} ({arguments.crs})"


def _why_empty(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> str:
    """Say which filter left nothing; areas that touch no asset have been said before."""
    shown = index_in_words(arguments.index)
    ((rows, first, last),) = cursor.execute(
        "SELECT count(*), make_timestamp(epoch_us(min(datetime))), make_timestamp(epoch_us(max(datetime))) "  # noqa: S608
        f"FROM query_table($1) WHERE {arguments.where or 'true'}",
        [named_index(cursor, arguments.index)],
    ).fetchall()
    if not rows:
        return f"index {shown}: got no rows, expected those of an index, or assets; widen its conditions"
    times = "the index has assets " + ("without times" if first is None else f"from {first} to {last} UTC")
    if arguments.datetime is not None and _finds_some(cursor, replace(arguments, datetime=None)):
        return (
            f"datetime: {arguments.datetime!r} matches none of the assets of index {shown} that the other arguments "
            f"leave; {times}"
        )
    if arguments.datetime is not None and arguments.has_area:
        return (
            f"{_area_in_words(arguments)} touches none of the assets of index {shown}, and datetime "
            f"{arguments.datetime!r} matches none; {times}. Check both"
        )
    if arguments.geometry is not None:
        return f"geometry ({arguments.crs}): touches no tile of index {shown}; expected an area inside the files"
    return (
        f"bands: got {arguments.bands}, which no asset of index {shown} has that the other arguments leave; the index "
        f"has {count(rows, 'row')}"
    )
