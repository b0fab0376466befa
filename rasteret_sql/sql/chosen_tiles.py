"""The tiles of a read, and which of them meet a condition on statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.select_text import shortened
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.derived import Source
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.read.bands_below import OtherBands
from rasteret_sql.read.stream import PART_ROWS
from rasteret_sql.read.tile_condition import ParsedCondition, TileCondition
from rasteret_sql.sql.planning import index_rows, plan_parts, require_inside
from rasteret_sql.sql.selected import SelectedFiles
from rasteret_sql.sql.statistics_file import kept_statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import Item, PlannedAsset, PlannedBand, TilePlan
    from rasteret_sql.read.zonal import Known
    from rasteret_sql.sql.index_rows import IndexRows


@dataclass(frozen=True, slots=True)
class TileChoice:
    """Which tiles of a read are wanted.

    Attributes:
        condition: that the statistics of tiles must meet; None for all tiles.
        statistics: where the statistics of tiles are, or None: then tiles are read for the condition.
    """

    condition: ParsedCondition | None
    statistics: str | None

    @classmethod
    def of(cls, tiles_where: Any, statistics: str | None) -> TileChoice:
        """Parse a condition; None is none.

        Raises:
            InvalidArgumentError: it cannot be parsed, or there are statistics without it.
        """
        if tiles_where is not None:
            return cls(ParsedCondition.of(tiles_where), statistics)
        if statistics is not None:
            raise InvalidArgumentError(
                f"statistics: got {shortened(statistics)} without tiles_where, expected both: the condition that tiles "
                "must meet, such as tiles_where := 'valid_share > 0.9'"
            )
        return cls(None, None)

    def plan(
        self, cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, *, max_rows: int | None = PART_ROWS,
        is_read: bool = True,
    ) -> Iterator[TilePlan]:  # fmt: skip
        """Plan a read in parts, which may give nothing, and leave out the tiles that do not meet the condition.

        All that is read of the index is read at once: the parts need no connection.

        Args:
            cursor: a connection of its own, which gets temporary tables.
            arguments: what was asked.
            max_rows: how many rows a part has at most, unless one tile has more; None for one part.
            is_read: whether tiles that statistics do not decide may be read; otherwise they stay.

        Raises:
            AssetChangedError: statistics are of another version of a file.
            InvalidArgumentError: an argument is wrong.
            InvalidIndexError: the index is not one.
            EmptyReadError: the area touches none of the assets that the other arguments leave.
        """
        if self.condition is None:
            return plan_parts(cursor, arguments, max_rows)
        labels = self.condition.bands
        with index_rows(cursor, arguments, further=labels) as rows:
            selection = rows.select(arguments)
            (whole,) = rows.plan_selection(selection, None)
            others = _other_bands(rows, arguments, labels) if labels else None
        require_inside(cursor, arguments, selection)
        files = [*whole.assets, *(() if others is None else others.files)]
        known: Known = _nothing_known if self.statistics is None else kept_statistics(cursor, self.statistics, files)
        asked = TileCondition(self.condition, known, others)
        parts = (whole,) if max_rows is None else whole.parts(max_rows)
        return (asked.kept(part, measures=is_read) for part in parts)


def _other_bands(rows: IndexRows, arguments: ReadArguments, labels: Sequence[str]) -> OtherBands:
    """Select the bands that a condition names beside those that are read.

    Raises:
        InvalidArgumentError: no item has one of them, or a label names several bands of an item.
    """
    try:
        selection = rows.select(replace(arguments, bands=labels, scaling=GivenScaling()))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"tiles_where: {error}") from error
    files = SelectedFiles.of(rows, selection).located()
    sources: dict[tuple[Item, str], Source] = {}
    for asset_no, asset in enumerate(files.assets):
        for band in asset.bands:
            label = labels[band.position - 1]
            other = sources.setdefault((asset.item, label), Source(asset_no, band))
            if other.band is not band:
                raise InvalidArgumentError(
                    f"tiles_where: got {label!r}, which names {other.band.name} and {band.name} of item "
                    f"{asset.item_id}, expected one band; name it in full, in double quotes"
                )
    return OtherBands(files.assets, sources, files.plan_windows)


def _nothing_known(_: PlannedAsset, __: PlannedBand) -> None:
    """Know no statistics."""
