"""Conditions on the statistics of tiles: statistics decide, and tiles are read only where they do not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.expressions import Condition
from rasteret_sql.plan.formula_text import Call, parse_truth_of_statistics
from rasteret_sql.plan.possible import TileBounds, possible
from rasteret_sql.read.bands_below import BandBelow, measure
from rasteret_sql.read.by_file import FileTiles, file_order, refuse_complex

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.read.bands_below import OtherBands
    from rasteret_sql.read.by_file import DecodedTile
    from rasteret_sql.read.tile_statistics import TileStatistics
    from rasteret_sql.read.zonal import Known

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

#: Statistics that conditions may name.
NAMES: Final = ("valid_count", "valid_share", "min", "max", "sum", "mean", "stdev")
_SHARE: Final = "share"
_QUOTED_SHARE: Final = re.compile(r"share:(-?\d{1,19})")
#: Names that are numbers without a valid pixel too.
_COUNTS: Final = frozenset({"valid_count", "valid_share"})


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic that a condition names.

    Attributes:
        name: one of `NAMES`, or "share".
        band: label of the band whose pixels under the tile count; None for the band of the tile.
        values: of a share.
    """

    name: str
    band: str | None = None
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, operand: str | Call) -> Statistic | None:
        """Give what an operand names; None where it names no statistic."""
        if isinstance(operand, Call):
            is_known = bool(operand.values) if operand.name == _SHARE else operand.name in NAMES and not operand.values
            return cls(operand.name, operand.band, operand.values) if is_known else None
        quoted = _QUOTED_SHARE.fullmatch(operand)
        if quoted is not None:
            return cls(_SHARE, None, (int(quoted[1]),))
        return cls(operand) if operand in NAMES else None


@dataclass(frozen=True, slots=True)
class ParsedCondition:
    """The text of a condition on tiles, parsed.

    Attributes:
        condition: over labels of the statistics.
        statistics: by label.
    """

    condition: Condition
    statistics: dict[str, Statistic]

    @classmethod
    def of(cls, text: Any) -> ParsedCondition:
        """Parse a condition.

        Raises:
            InvalidArgumentError: it cannot be parsed, or names something else than statistics.
        """
        tree, operands = parse_truth_of_statistics(text, "tiles_where")
        statistics = {}
        for number, operand in enumerate(operands):
            found = Statistic.of(operand)
            if found is None:
                got = operand if isinstance(operand, str) else f"{operand.name}(...)"
                raise InvalidArgumentError(
                    f"tiles_where: got {shown(got)}, expected some of {', '.join(NAMES)}, of the tile or of another "
                    "band (max(B08)), and shares of values (share(SCL, [8, 9]), or of the tile itself share([8, 9]) "
                    'or "share:8")'
                )
            statistics[f"{number}"] = found
        return cls(Condition(text, tuple(statistics), tree), statistics)

    @property
    def bands(self) -> list[str]:
        """The labels of the bands that it names beside the band of the tile, each once."""
        return list(dict.fromkeys(each.band for each in self.statistics.values() if each.band is not None))

    def classes_of(self, band: str | None) -> list[tuple[float, ...]]:
        """Give the values of the shares of a band."""
        shares = [each for each in self.statistics.values() if each.band == band and each.name == _SHARE]
        return list(dict.fromkeys(each.values for each in shares))


@dataclass(frozen=True, slots=True)
class TileCondition:
    """A condition that tiles must meet.

    Attributes:
        parsed: the condition.
        known: gives the statistics of the tiles of a band of a file, or None.
        others: the other bands that it names; None without any.
    """

    parsed: ParsedCondition
    known: Known
    others: OtherBands | None = None

    @classmethod
    def of(cls, text: Any, known: Known) -> TileCondition:
        """Parse a condition on the band of the tile alone; see `ParsedCondition.of`."""
        return cls(ParsedCondition.of(text), known)

    def kept(self, plan: TilePlan, *, measures: bool = True) -> TilePlan:
        """Give the tiles of a plan that meet the condition.

        A tile that cannot be read stays, so that the read itself says why.

        Args:
            plan: the tiles.
            measures: whether tiles that the statistics do not decide are read for it; otherwise they stay.

        Raises:
            InvalidArgumentError: a band is complex, or another band has another CRS.
            RasteretError: a tile of another band could not be fetched or decoded.
        """
        refuse_complex(plan.assets)
        found = _Found(self, plan)
        condition = self.parsed.condition
        is_true, is_false, is_null = possible(condition, found.bounds)
        is_exact = found.is_exact()
        keeps = is_true & ~is_false & ~is_null
        is_open = is_true & ~keeps & ~is_exact
        if not measures:
            keeps |= is_open
        elif is_open.any():
            keeps |= found.measure(is_open)
            is_exact |= is_open
        values, valid = found.values()
        keeps |= is_exact & condition.holds(values, valid)
        return plan if keeps.all() else plan.take(np.flatnonzero(keeps))


class _Found:
    """What is known of the statistics of the tiles of a plan.

    Args:
        asked: the condition.
        plan: the tiles.

    Attributes:
        bounds: of each statistic, one element per row of the plan.
    """

    def __init__(self, asked: TileCondition, plan: TilePlan) -> None:
        self._plan, self._statistics, self._others = plan, asked.parsed.statistics, asked.others
        self._size = plan.width.astype(np.int64) * plan.height
        self.bounds = {label: self._unknown(each) for label, each in self._statistics.items()}
        #: Rows whose own pixels are known.
        self._is_known = np.ones(len(plan), np.bool_)
        self._take_own(asked.known)
        #: The bands under each file, with the rows of the file and the place of their tiles.
        self._below: list[tuple[str, BandBelow, Numbers, Numbers]] = []
        for label in asked.parsed.bands:
            self._take_other(label, asked)
        self._bound_others(asked.parsed)
        self._parsed = asked.parsed

    def is_exact(self) -> Bools:
        """Whether all statistics of a tile are known exactly."""
        exact = [~each.has_pixels | ((each.low == each.high) & ~each.has_invalid) for each in self.bounds.values()]
        found: Bools = np.logical_and.reduce(exact)
        return found

    def values(self) -> tuple[dict[str, Floats], dict[str, Bools]]:
        """Give statistics that are known exactly, and where they are no NULL."""
        values = {
            label: np.where(each.has_pixels & (each.low == each.high), each.low, np.nan)
            for label, each in self.bounds.items()
        }
        return values, {label: np.isfinite(each) for label, each in values.items()}

    def measure(self, is_open: Bools) -> Bools:
        """Read what some tiles need to be decided, and give those that could not be read themselves."""
        failed = np.zeros(len(self._plan), np.bool_)
        own = np.flatnonzero(is_open & ~self._is_known)
        if len(own):
            failed[own] = self._measure_own(own)
        if self._others is not None:
            wanted = []
            for _, below, rows, place in self._below:
                owners = np.zeros(len(below.areas), np.bool_)
                owners[place[is_open[rows]]] = True
                wanted.append((below, owners))
            measure(wanted, self._others)
            self._bound_others(self._parsed)
        return failed

    def _unknown(self, statistic: Statistic) -> TileBounds:
        """Give the bounds of a statistic of which nothing is known; that of a band that an item lacks is NULL."""
        count = len(self._plan)
        is_own, is_count = statistic.band is None, statistic.name in _COUNTS
        low, high = np.full(count, 0.0 if is_count else -np.inf), np.full(count, np.inf)
        return TileBounds(low, high, np.full(count, is_own), np.full(count, not (is_own and is_count)))

    def _take_own(self, known: Known) -> None:
        """Take what is known of the tiles themselves."""
        own = {label: each for label, each in self._statistics.items() if each.band is None}
        if not own:
            return
        plan = self._plan
        self._is_known[:] = False
        keys = plan.asset_no * (1 << 17) + plan.band
        for key in np.unique(keys).tolist():
            rows = np.flatnonzero(keys == key)
            asset_no, number = divmod(key, 1 << 17)
            asset = plan.assets[asset_no]
            statistics = known(asset, next(band for band in asset.bands if band.band == number))
            if statistics is None:
                continue
            tiles = plan.tile_row[rows].astype(np.int64) * asset.tiles_across + plan.tile_col[rows]
            found = {label: _values_of(each, statistics, tiles, self._size[rows]) for label, each in own.items()}
            given = {label: each for label, each in found.items() if each is not None}
            if len(given) < len(found):
                continue
            is_known = statistics.valid_count[tiles] >= 0
            self._is_known[rows] = is_known
            for label, each in given.items():
                self._set(label, rows[is_known], each[is_known])

    def _set(self, label: str, rows: Numbers, values: Floats) -> None:
        """Note exact values, NaN for NULL."""
        bounds, is_null = self.bounds[label], np.isnan(values)
        bounds.low[rows] = bounds.high[rows] = values
        bounds.has_pixels[rows], bounds.has_invalid[rows] = ~is_null, is_null

    def _measure_own(self, rows: Numbers) -> Bools:
        """Read tiles, note their values, and say which of them could not be read."""
        part = self._plan.take(rows)
        order = file_order(part)
        failed = np.zeros(len(rows), np.bool_)
        own = {label: each for label, each in self._statistics.items() if each.band is None}
        values = {label: np.full(len(rows), np.nan) for label in own}
        for tile in FileTiles(part.take(order)).tiles(on_error="null"):
            number = int(order[tile.row])
            if tile.error is not None:
                failed[number] = True
                continue
            for label, statistic in own.items():
                values[label][number] = _measured(statistic, tile)
        for label, each in values.items():
            self._set(label, rows, each)
        return failed

    def _take_other(self, label: str, asked: TileCondition) -> None:
        """Find the pixels of another band under the tiles."""
        others, plan = asked.others, self._plan
        assert others is not None
        for asset_no in np.unique(plan.asset_no).tolist():
            asset = plan.assets[asset_no]
            source = others.sources.get((asset.item, label))
            if source is None:
                continue
            rows = np.flatnonzero(plan.asset_no == asset_no)
            numbers = plan.tile_row[rows].astype(np.int64) * asset.tiles_across + plan.tile_col[rows]
            tiles, place = np.unique(numbers, return_inverse=True)
            classes = asked.parsed.classes_of(label)
            below = BandBelow(asset, tiles, source, others.files[source.asset_no], asked.known, classes)
            self._below.append((label, below, rows, place.reshape(-1)))

    def _bound_others(self, parsed: ParsedCondition) -> None:
        """Note what is known of the bands under the tiles."""
        for band, below, rows, place in self._below:
            for label, statistic in self._statistics.items():
                if statistic.band != band:
                    continue
                group = parsed.classes_of(band).index(statistic.values) if statistic.name == _SHARE else 0
                found, bounds = below.bounds(statistic.name, group), self.bounds[label]
                bounds.low[rows], bounds.high[rows] = found.low[place], found.high[place]
                bounds.has_pixels[rows], bounds.has_invalid[rows] = found.has_pixels[place], found.has_invalid[place]


def _values_of(statistic: Statistic, statistics: TileStatistics, tiles: Numbers, size: Numbers) -> Floats | None:
    """Give a statistic of tiles, NaN where it has no value; None where it is not known."""
    name = statistic.name
    count = statistics.valid_count[tiles].astype(np.float64)
    found: Floats
    if name in _COUNTS:
        found = count if name == "valid_count" else count / size
        return found
    if name == _SHARE and (statistics.classes is None or statistics.class_counts is None):
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        if name == _SHARE:
            assert statistics.classes is not None
            assert statistics.class_counts is not None
            is_member = np.isin(statistics.classes, statistic.values)
            found = statistics.class_counts[tiles][:, is_member].sum(axis=1) / count
        elif name == "mean":
            found = statistics.sum[tiles] / count
        elif name == "stdev":
            found = np.sqrt(statistics.squares_of(tiles) / count)
        else:
            found = getattr(statistics, name)[tiles].astype(np.float64)
    return np.where(count > 0, found, np.nan)


def _measured(statistic: Statistic, tile: DecodedTile) -> float:
    """Give a statistic of a tile, NaN where it has no value."""
    name, values = statistic.name, tile.numbers()
    if name in _COUNTS:
        return len(values) / (1 if name == "valid_count" else max(tile.pixels.size, 1))
    if not len(values):
        return float("nan")
    if name == _SHARE:
        return np.count_nonzero(np.isin(values, statistic.values)) / len(values)
    with np.errstate(all="ignore"):
        found = {"stdev": "std"}.get(name, name)
        return float(getattr(values.astype(np.float64), found)())
