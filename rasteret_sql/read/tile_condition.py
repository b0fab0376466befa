"""Conditions on the statistics of tiles: what is known decides, and only tiles of which nothing is known are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.expressions import Condition, parse_condition
from rasteret_sql.read.by_file import FileTiles, file_order, refuse_complex

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.read.by_file import DecodedTile
    from rasteret_sql.read.tile_statistics import TileStatistics
    from rasteret_sql.read.zonal import Known

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

#: Statistics that conditions may name.
NAMES: Final = ("valid_count", "valid_share", "min", "max", "sum", "mean", "stdev")
_SHARE: Final = re.compile(r"share:(-?\d{1,19})")
#: Names that are numbers without a valid pixel too.
_COUNTS: Final = frozenset({"valid_count", "valid_share"})


@dataclass(frozen=True, slots=True)
class TileCondition:
    """A condition that tiles must meet.

    Attributes:
        condition: over the names of statistics, and the shares of values: "share:8".
        known: gives the statistics of the tiles of a band of a file, or None.
    """

    condition: Condition
    known: Known

    @classmethod
    def of(cls, text: Any, known: Known) -> TileCondition:
        """Parse a condition.

        Raises:
            InvalidArgumentError: it cannot be parsed, or names something else.
        """
        condition = parse_condition(text, "tiles_where")
        for name in condition.bands:
            if name not in NAMES and not _SHARE.fullmatch(name):
                raise InvalidArgumentError(
                    f"tiles_where: got {shown(name)}, expected some of {', '.join(NAMES)}, and shares of values in "
                    'double quotes, such as "share:8"'
                )
        return cls(condition, known)

    def kept(self, plan: TilePlan, *, measures: bool = True) -> TilePlan:
        """Give the tiles of a plan that meet the condition.

        A tile that cannot be read stays, so that the read itself says why.

        Args:
            plan: the tiles.
            measures: whether tiles of which nothing is known are read for it; otherwise they stay.

        Raises:
            InvalidArgumentError: a band is complex.
        """
        refuse_complex(plan.assets)
        size = plan.width.astype(np.int64) * plan.height
        values = {name: np.full(len(plan), np.nan) for name in self.condition.bands}
        is_known = np.zeros(len(plan), np.bool_)
        keys = plan.asset_no * (1 << 17) + plan.band
        for key in np.unique(keys).tolist():
            rows = np.flatnonzero(keys == key)
            asset_no, number = divmod(key, 1 << 17)
            asset = plan.assets[asset_no]
            statistics = self.known(asset, next(band for band in asset.bands if band.band == number))
            if statistics is None:
                continue
            tiles = plan.tile_row[rows].astype(np.int64) * asset.tiles_across + plan.tile_col[rows]
            found = {name: _values_of(name, statistics, tiles, size[rows]) for name in values}
            given = [each for each in found.values() if each is not None]
            if len(given) == len(found):
                is_known[rows] = statistics.valid_count[tiles] >= 0
                for name, each in zip(found, given, strict=True):
                    values[name][rows] = each
        keeps = np.zeros(len(plan), np.bool_)
        unknown = np.flatnonzero(~is_known)
        if measures:
            keeps[unknown] = self._measure(plan, unknown, values)
        else:
            keeps[unknown] = True
        valid = {name: np.isfinite(each) for name, each in values.items()}
        keeps |= self.condition.holds(values, valid)
        return plan if keeps.all() else plan.take(np.flatnonzero(keeps))

    def _measure(self, plan: TilePlan, rows: Numbers, values: dict[str, Floats]) -> npt.NDArray[np.bool_]:
        """Read tiles, fill in their values, and say which of them could not be read."""
        part = plan.take(rows)
        order = file_order(part)
        failed = np.zeros(len(rows), np.bool_)
        for tile in FileTiles(part.take(order)).tiles(on_error="null"):
            number = int(order[tile.row])
            if tile.error is not None:
                failed[number] = True
                continue
            for name, each in values.items():
                each[rows[number]] = _measured(name, tile)
        return failed


def _values_of(name: str, statistics: TileStatistics, tiles: Numbers, size: Numbers) -> Floats | None:
    """Give a statistic of tiles, NaN where it has no value; None where it is not known."""
    count = statistics.valid_count[tiles].astype(np.float64)
    found: Floats
    if name in _COUNTS:
        found = count if name == "valid_count" else count / size
        return found
    share = _SHARE.fullmatch(name)
    if share is not None:
        if statistics.classes is None or statistics.class_counts is None:
            return None
        place = np.flatnonzero(statistics.classes == int(share[1]))
        counts = statistics.class_counts[tiles][:, place].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        if share is not None:
            found = counts / count
        elif name == "mean":
            found = statistics.sum[tiles] / count
        elif name == "stdev":
            found = np.sqrt(statistics.squares_of(tiles) / count)
        else:
            found = getattr(statistics, name)[tiles].astype(np.float64)
    return np.where(count > 0, found, np.nan)


def _measured(name: str, tile: DecodedTile) -> float:
    """Give a statistic of a tile, NaN where it has no value."""
    values = tile.numbers()
    if name in _COUNTS:
        return len(values) / (1 if name == "valid_count" else max(tile.pixels.size, 1))
    if not len(values):
        return float("nan")
    share = _SHARE.fullmatch(name)
    if share is not None:
        return np.count_nonzero(values == int(share[1])) / len(values)
    with np.errstate(all="ignore"):
        found = {"stdev": "std"}.get(name, name)
        return float(getattr(values.astype(np.float64), found)())
