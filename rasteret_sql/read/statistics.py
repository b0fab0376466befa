"""Statistics of the pixels of many zones at once: parts of zones arrive tile by tile, and are merged.

Count, sum and sum of squares of two parts add up, and their extremes are compared. Everything else needs all values of
a zone: median, quantiles, majority, minority and variety are exact, so the values are kept until the zone is complete.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import is_one_of, shown
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

#: Statistics that parts of a zone have too.
MERGEABLE: Final = ("count", "sum", "sumsq", "min", "max", "mean", "stdev")
#: Statistics of all values of a zone.
EXACT: Final = ("median", "majority", "minority", "variety")
QUANTILES: Final = tuple(f"p{percent}" for percent in range(101))
STATISTICS: Final = ("count", "sum", "sumsq", "mean", "stdev", "min", "max", *EXACT)
#: What is given where nothing is asked for.
DEFAULT: Final = ("count", "sum", "mean", "stdev", "min", "max")
#: Part of all weights by which the place of a quantile may differ from that of a value and still be its place.
_NOISE: Final = 1e-12
_QUANTILE: Final = re.compile(r"p(\d{1,3})")


def check_statistics(names: Iterable[Any] | None) -> tuple[str, ...]:
    """Give the names of statistics, or those of `DEFAULT` for None.

    Raises:
        InvalidArgumentError: one is not known, or there is none.
    """
    if names is None:
        return DEFAULT
    found = tuple(names)
    unknown = [name for name in found if not is_one_of(name, STATISTICS + QUANTILES)]
    if unknown or not found:
        raise InvalidArgumentError(
            f"stats: got {shown(unknown[0]) if unknown else []}, expected some of {', '.join(STATISTICS)}, and "
            "quantiles p0 to p100"
        )
    return tuple(dict.fromkeys(found))


@dataclass(slots=True, eq=False)
class ZoneStatistics:
    """Statistics of zones, to which parts are added.

    Args:
        zones: how many.
        keeps_values: whether statistics of all values are wanted.

    Attributes:
        count, sum, sumsq, min, max: of each zone. Weighted, but for the extremes, if weights are added.
    """

    zones: int
    keeps_values: bool
    count: Floats = field(init=False)
    sum: Floats = field(init=False)
    sumsq: Floats = field(init=False)
    min: Floats = field(init=False)
    max: Floats = field(init=False)
    _mean: Floats = field(init=False)
    _squares: Floats = field(init=False)
    _kept: list[tuple[Numbers, npt.NDArray[Any], Floats | None]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.count, self.sum, self.sumsq, self._mean, self._squares = np.zeros((5, self.zones))
        self.min, self.max = np.full(self.zones, np.inf), np.full(self.zones, -np.inf)

    def add(self, zones: Numbers, starts: Numbers, values: npt.NDArray[Any], weights: Floats | None) -> None:
        """Add the values of some zones.

        Args:
            zones: numbers of the zones, each once, shape (n,).
            starts: where the values of each begin, shape (n,); none is without values.
            values: of all zones, back to back.
            weights: of the values, above 0; None where all weigh 1.
        """
        if not len(zones):
            return
        lengths = np.diff(starts, append=len(values))
        numbers = values.astype(np.float64)
        weighted = numbers if weights is None else numbers * weights
        count = lengths.astype(np.float64) if weights is None else np.add.reduceat(weights, starts)
        total = np.add.reduceat(weighted, starts)
        mean = total / count
        # About the mean, where squares of large values would lose their digits.
        apart = (numbers - np.repeat(mean, lengths)) ** 2
        squares = np.add.reduceat(apart if weights is None else apart * weights, starts)
        before, merged = self.count[zones], self.count[zones] + count
        step = mean - self._mean[zones]
        self._squares[zones] += squares + step**2 * before * count / merged
        self._mean[zones] += step * count / merged
        self.count[zones] = merged
        self.sum[zones] += total
        self.sumsq[zones] += np.add.reduceat(weighted * numbers, starts)
        self.min[zones] = np.minimum(self.min[zones], np.minimum.reduceat(numbers, starts))
        self.max[zones] = np.maximum(self.max[zones], np.maximum.reduceat(numbers, starts))
        if self.keeps_values:
            self._kept.append((np.repeat(zones, lengths), values, weights))

    def values_of(self, names: Iterable[str]) -> dict[str, Floats]:
        """Give statistics by name; NaN where a zone has no value, but for its count, sums and variety, which are 0."""
        names = tuple(names)
        is_there = self.count > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.sum / self.count
            variance = self._squares / self.count
        known = {
            "count": self.count,
            "sum": self.sum,
            "sumsq": self.sumsq,
            "mean": mean,
            "stdev": np.sqrt(variance),
            "min": np.where(is_there, self.min, np.nan),
            "max": np.where(is_there, self.max, np.nan),
        }
        found = {name: known[name] for name in names if name in known}
        others = [name for name in names if name not in known]
        return found | (self._exact(others) if others else {})

    def _exact(self, names: list[str]) -> dict[str, Floats]:
        found = {name: np.full(self.zones, 0.0 if name == "variety" else np.nan) for name in names}
        if not self._kept:
            return found
        zones = np.concatenate([part[0] for part in self._kept])
        values = np.concatenate([part[1] for part in self._kept])
        has_weights = self._kept[0][2] is not None
        weights = np.concatenate([part[2] for part in self._kept if part[2] is not None]) if has_weights else None
        # Equal values by weight too, so that the order of tiles decides nothing.
        order = np.lexsort((values, zones) if weights is None else (weights, values, zones))
        zones, values = zones[order], values[order].astype(np.float64)
        weights = None if weights is None else weights[order]
        bounds = np.append(np.flatnonzero(np.diff(zones, prepend=-1)), len(zones))
        for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            part = values[first:end]
            each = None if weights is None else weights[first:end]
            for name in names:
                found[name][zones[first]] = _statistic(name, part, each)
        return found


def _statistic(name: str, values: Floats, weights: Floats | None) -> float:
    """Give a statistic of the sorted values of a zone."""
    quantile = _QUANTILE.fullmatch(name)
    if quantile or name == "median":
        share = int(quantile[1]) / 100 if quantile else 0.5
        return _quantile_of(values, weights, share)
    starts = np.flatnonzero(np.diff(values, prepend=np.nan))
    if name == "variety":
        return float(len(starts))
    sizes = np.diff(starts, append=len(values)) if weights is None else np.add.reduceat(weights, starts)
    # The first of several that are equally frequent is the smallest.
    place = sizes.argmax() if name == "majority" else sizes.argmin()
    return float(values[starts[place]])


def _quantile_of(values: Floats, weights: Floats | None, share: float) -> float:
    """Interpolate between sorted values, by their weights as exactextract does between values that all differ.

    Equal weights give what NumPy gives. exactextract takes equal values for one, so that its median of 0, 0, 0 and 10
    is 5. Between a number and an infinity lies that infinity, and NaN lies between the two infinities.
    """
    places = np.arange(len(values), dtype=np.float64)
    place = share * (len(values) - 1)
    if weights is not None:
        places = places * weights + (len(values) - 1) * (np.cumsum(weights) - weights)
        place *= weights.sum()
    if np.isfinite(values[[0, -1]]).all():
        return float(np.quantile(values, share) if weights is None else np.interp(place, places, values))
    # NumPy would multiply an infinity by 0. Sums of weights leave a rounding error, by which a place misses its value.
    noise = _NOISE * places[-1]
    upper = min(int(np.searchsorted(places, place - noise)), len(values) - 1)
    pair = slice(max(upper - 1, 0), upper + 1)
    if upper == 0 or places[upper] - place <= noise:
        return float(values[upper])
    if np.isfinite(values[pair]).all():
        return float(np.interp(place, places[pair], values[pair]))
    with np.errstate(invalid="ignore"):
        return float(values[pair].sum())
