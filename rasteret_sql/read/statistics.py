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
    from collections.abc import Collection, Iterable

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
#: Integers up to here have squares of 64 bits.
MAX_EXACT: Final = 3_037_000_499
MAX_INT64: Final = (1 << 63) - 1
#: Bits of half a square.
_HALF: Final = 32
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


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Parts of zones, summed up; arrays have one element per part.

    Attributes:
        zones: numbers of the zones, each once.
        count, sum, sumsq, min, max: of each part.
        squares: sum of the squared deviations from the mean of the part.
        exact: the sums of values and of squares, as arrays of Python's integers; None where values are no integers.
    """

    zones: Numbers
    count: Floats
    sum: Floats
    sumsq: Floats
    min: Floats
    max: Floats
    squares: Floats
    exact: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]] | None = None

    @classmethod
    def of_integers(
        cls, zones: Numbers, counts: Numbers, exact: tuple[npt.NDArray[Any], npt.NDArray[Any]], low: Any, high: Any
    ) -> Parts:
        """Make them of exact sums.

        Args:
            zones: numbers of the zones.
            counts: how many values each part has, at least one.
            exact: sums of the values and of their squares, of integers of NumPy or Python.
            low, high: the extremes of each part.
        """
        total, squares = (sums.astype(object) for sums in exact)
        return cls(
            zones,
            counts.astype(np.float64),
            total.astype(np.float64),
            squares.astype(np.float64),
            low.astype(np.float64),
            high.astype(np.float64),
            deviations_of(counts, total, squares),
            (total, squares),
        )


def deviations_of(counts: npt.NDArray[Any], total: npt.NDArray[Any], squares: npt.NDArray[Any]) -> Floats:
    """Give the sum of the squared deviations of integers from their mean, of their count, sum and sum of squares."""
    number, total, squares = (each.astype(object) for each in (counts, total, squares))
    # Python divides integers of any size, and rounds once.
    found: Floats = ((number * squares - total * total) / number).astype(np.float64)
    return found


def exact_sums(
    values: npt.NDArray[Any], starts: Numbers, *, with_squares: bool = True
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Sum integers and their squares part by part, without rounding.

    Args:
        values: integers of all parts, back to back.
        starts: where those of each part begin.
        with_squares: whether the second sum is wanted; it is 0 otherwise.

    Returns:
        Both sums, as integers of NumPy or Python.
    """
    largest = max(abs(int(values.min())), abs(int(values.max())))
    if largest > MAX_EXACT:
        # Few files have such values, and Python's integers are of any size.
        objects = values.astype(object)
        return np.add.reduceat(objects, starts), np.add.reduceat(objects * objects, starts)
    numbers = values.astype(np.int64)
    total = np.add.reduceat(numbers, starts)
    if not with_squares:
        return total, np.zeros_like(total)
    squares = numbers * numbers
    if largest * largest * len(values) <= MAX_INT64:
        return total, np.add.reduceat(squares, starts)
    high, low = np.add.reduceat(squares >> _HALF, starts), np.add.reduceat(squares & ((1 << _HALF) - 1), starts)
    return total, high.astype(object) * (1 << _HALF) + low.astype(object)


@dataclass(slots=True, eq=False)
class ZoneStatistics:
    """Statistics of zones, to which parts are added.

    Sums of integers are exact, so the order of their parts decides nothing.

    Args:
        zones: how many.
        names: of the statistics that are wanted. Only what these need is computed of values.

    Attributes:
        count, sum, sumsq, min, max: of each zone. Weighted, but for the extremes, if weights are added.
    """

    zones: int
    names: Collection[str]
    count: Floats = field(init=False)
    sum: Floats = field(init=False)
    sumsq: Floats = field(init=False)
    min: Floats = field(init=False)
    max: Floats = field(init=False)
    _mean: Floats = field(init=False)
    _squares: Floats = field(init=False)
    _exact_count: Floats = field(init=False)
    _exact: npt.NDArray[np.object_] = field(init=False)
    _kept: list[_Kept] = field(init=False, default_factory=list)
    _keeps_values: bool = field(init=False)
    _has_extremes: bool = field(init=False)
    _has_spread: bool = field(init=False)

    def __post_init__(self) -> None:
        names = set(self.names)
        self._keeps_values = not names <= set(MERGEABLE)
        self._has_extremes, self._has_spread = bool(names & {"min", "max"}), bool(names & {"sumsq", "stdev"})
        self.count, self.sum, self.sumsq, self._mean, self._squares, self._exact_count = np.zeros((6, self.zones))
        self.min, self.max = np.full(self.zones, np.inf), np.full(self.zones, -np.inf)
        self._exact = np.full((2, self.zones), 0, object)

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
        is_integer = weights is None and values.dtype.kind in "iu"
        if not is_integer:
            self.merge(self._summed(zones, starts, values, weights))
        else:
            exact = exact_sums(values, starts, with_squares=self._has_spread)
            low, high = self._extremes(values, starts)
            if self._has_spread:
                self.merge(Parts.of_integers(zones, lengths, exact, low, high))
            else:
                total, none = exact[0].astype(np.float64), np.zeros(len(zones))
                self.merge(Parts(zones, lengths.astype(np.float64), total, none, low, high, none, exact))
        if self._keeps_values:
            self._kept.append(_Kept(np.repeat(zones, lengths), values, weights, None))

    def add_counts(self, zones: Numbers, values: npt.NDArray[Any], counts: Numbers) -> None:
        """Add how often values occur in zones, for statistics of all values; `merge` takes what else is known of them.

        Args:
            zones: number of the zone of each value.
            values: the values.
            counts: how often each occurs, at least once.
        """
        self._kept.append(_Kept(zones, values, None, counts))

    def _extremes(self, values: npt.NDArray[Any], starts: Numbers) -> tuple[Floats, Floats]:
        """Give the least and the greatest value of each part; 0 where nobody wants them."""
        if not self._has_extremes:
            return np.zeros(len(starts)), np.zeros(len(starts))
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        return low.astype(np.float64), high.astype(np.float64)

    def _summed(self, zones: Numbers, starts: Numbers, values: npt.NDArray[Any], weights: Floats | None) -> Parts:
        """Sum up values of zones; the arguments are those of `add`."""
        numbers = values.astype(np.float64)
        weighted = numbers if weights is None else numbers * weights
        lengths = np.diff(starts, append=len(values))
        count = lengths.astype(np.float64) if weights is None else np.add.reduceat(weights, starts)
        total, sumsq, squares = np.add.reduceat(weighted, starts), np.zeros(len(zones)), np.zeros(len(zones))
        if self._has_spread:
            sumsq = np.add.reduceat(weighted * numbers, starts)
            # About the mean, where squares of large values would lose digits. An infinity has no distance from it.
            with np.errstate(invalid="ignore"):
                apart = (numbers - np.repeat(total / count, lengths)) ** 2
            squares = np.add.reduceat(apart if weights is None else apart * weights, starts)
        return Parts(zones, count, total, sumsq, *self._extremes(numbers, starts), squares)

    def merge(self, parts: Parts) -> None:
        """Add parts of zones that are summed up."""
        zones, count = parts.zones, parts.count
        before, merged = self.count[zones], self.count[zones] + count
        with np.errstate(invalid="ignore"):
            step = parts.sum / count - self._mean[zones]
            self._squares[zones] += parts.squares + step**2 * before * count / merged
            self._mean[zones] += step * count / merged
        self.count[zones] = merged
        self.min[zones] = np.minimum(self.min[zones], parts.min)
        self.max[zones] = np.maximum(self.max[zones], parts.max)
        if parts.exact is None:
            self.sum[zones] += parts.sum
            self.sumsq[zones] += parts.sumsq
            return
        self._exact_count[zones] += count
        for known, sums in zip(self._exact, parts.exact, strict=True):
            known[zones] += sums

    def values(self) -> dict[str, Floats]:
        """Give the statistics by name; NaN where a zone has no value, but count, sums and variety are 0 there."""
        is_there = self.count > 0
        total, sumsq = self.sum + self._exact[0].astype(np.float64), self.sumsq + self._exact[1].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / self.count
        known = {
            "count": self.count,
            "sum": total,
            "sumsq": sumsq,
            "mean": mean,
            "min": np.where(is_there, self.min, np.nan),
            "max": np.where(is_there, self.max, np.nan),
        }
        if self._has_spread:
            known["stdev"] = np.sqrt(self._variance())
        found = {name: known[name] for name in self.names if name in known}
        others = [name for name in self.names if name not in known]
        return found | (self._of_all_values(others) if others else {})

    def _variance(self) -> Floats:
        """Give the variance of each zone, rounded once where all of its values are integers; NaN without a value."""
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = self._squares / self.count
        exact = np.flatnonzero((self.count > 0) & (self._exact_count == self.count))
        number = self.count[exact].astype(np.int64).astype(object)
        sums, squares = self._exact[:, exact]
        variance[exact] = ((number * squares - sums * sums) / (number * number)).astype(np.float64)
        return variance

    def _of_all_values(self, names: list[str]) -> dict[str, Floats]:
        found = {name: np.full(self.zones, 0.0 if name == "variety" else np.nan) for name in names}
        if not self._kept:
            return found
        zones = np.concatenate([part.zones for part in self._kept])
        values = np.concatenate([part.values for part in self._kept])
        has_weights = any(part.weights is not None for part in self._kept)
        weights = (
            np.concatenate([part.weights for part in self._kept if part.weights is not None]) if has_weights else None
        )
        has_counts = any(part.counts is not None for part in self._kept)
        counts = np.concatenate([part.counts_of_each() for part in self._kept]) if has_counts else None
        # Equal values by weight too, so that the order of tiles decides nothing.
        order = np.lexsort((values, zones) if weights is None else (weights, values, zones))
        zones, values = zones[order], values[order].astype(np.float64)
        weights = None if weights is None else weights[order]
        counts = None if counts is None else counts[order]
        bounds = np.append(np.flatnonzero(np.diff(zones, prepend=-1)), len(zones))
        for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            part = slice(first, end)
            for name in names:
                found[name][zones[first]] = _statistic(
                    name,
                    values[part],
                    None if weights is None else weights[part],
                    None if counts is None else counts[part],
                )
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Values of zones, for statistics of all values; `counts` says how often each occurs, None for once."""

    zones: Numbers
    values: npt.NDArray[Any]
    weights: Floats | None
    counts: Numbers | None

    def counts_of_each(self) -> Numbers:
        return np.ones(len(self.zones), np.int64) if self.counts is None else self.counts


def _statistic(name: str, values: Floats, weights: Floats | None, counts: Numbers | None) -> float:
    """Give a statistic of the sorted values of a zone, of which each may occur several times."""
    quantile = _QUANTILE.fullmatch(name)
    if quantile or name == "median":
        share = int(quantile[1]) / 100 if quantile else 0.5
        return _quantile_of(values, weights, share) if counts is None else _quantile_of_counted(values, counts, share)
    # Not differences, which two infinities have none of.
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    if name == "variety":
        return float(len(starts))
    each = weights if counts is None else counts
    sizes = np.diff(starts, append=len(values)) if each is None else np.add.reduceat(each, starts)
    # The first of several that are equally frequent is the smallest.
    place = sizes.argmax() if name == "majority" else sizes.argmin()
    return float(values[starts[place]])


def _quantile_of_counted(values: Floats, counts: Numbers, share: float) -> float:
    """Give the quantile of sorted values that occur several times, as `_quantile_of` does of all of them in a row."""
    ends = np.cumsum(counts)
    place = share * (int(ends[-1]) - 1)
    first = int(place)
    pair = np.searchsorted(ends, [first, min(first + 1, int(ends[-1]) - 1)], "right")
    return _quantile_of(values[pair], None, place - first)


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
