"""Statistics of whole tiles: measured once, kept in a file, and added to the statistics of zones in place of pixels.

A tile of which something is not exact is unknown, and its pixels are read: integers beyond what a sum of squares of 64
bits holds, and floats that are not finite.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.possible import TileBounds
from rasteret_sql.plan.scaling import scaling_of
from rasteret_sql.read.by_file import EXACT_DOUBLE, physical
from rasteret_sql.read.statistics import MAX_EXACT, MAX_INT64, Parts, deviations_of, exact_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand
    from rasteret_sql.read.by_file import DecodedTile

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

#: Classes that a histogram has at most.
MAX_CLASSES: Final = 256
#: The valid count of a tile of which nothing is known.
UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class TileStatistics:
    """Statistics of the tiles of one band of a level of a file, row by row; arrays have one element per tile.

    Attributes:
        valid_count: valid pixels that are numbers; `UNKNOWN` where the tile must be read.
        min, max, sum, sumsq: of these pixels; int64 for integers, and exact, float64 for floats. 0 without pixels.
        squares: of floats, the sum of the squared deviations from the mean of the tile; None for integers.
        classes: the values of the band, ascending; None without a histogram.
        class_counts: how often each class occurs, shape (tiles, classes); None without a histogram.
    """

    valid_count: Numbers
    min: npt.NDArray[Any]
    max: npt.NDArray[Any]
    sum: npt.NDArray[Any]
    sumsq: npt.NDArray[Any]
    squares: Floats | None
    classes: Numbers | None = None
    class_counts: Numbers | None = None

    @classmethod
    def unknown(cls, tiles: int) -> TileStatistics:
        """Give the statistics of so many tiles of which nothing is known."""
        zeros = np.zeros(tiles)
        return cls(np.full(tiles, UNKNOWN, np.int64), zeros, zeros, zeros, zeros, zeros)

    def parts(self, zones: Numbers, tiles: Numbers, band: PlannedBand, *, scale: bool) -> Parts:
        """Sum up the tiles of zones.

        Args:
            zones: the zone of each tile, ascending.
            tiles: numbers of tiles; each is known, and has a valid pixel.
            band: the band.
            scale: whether physical values are wanted.
        """
        starts = np.flatnonzero(np.diff(zones, prepend=-1))
        numbers, count = zones[starts], self.valid_count[tiles]
        counts = np.add.reduceat(count, starts)
        low, high = np.minimum.reduceat(self.min[tiles], starts), np.maximum.reduceat(self.max[tiles], starts)
        if self.squares is None:
            exact = _total(self.sum[tiles], starts), _total(self.sumsq[tiles], starts)
            parts = Parts.of_integers(numbers, counts, exact, low, high)
        else:
            total = np.add.reduceat(self.sum[tiles], starts)
            apart = (self.sum[tiles] / count - np.repeat(total / counts, np.diff(starts, append=len(tiles)))) ** 2
            squares = np.add.reduceat(self.squares[tiles] + apart * count, starts)
            sumsq = np.add.reduceat(self.sumsq[tiles], starts)
            parts = Parts(numbers, counts.astype(np.float64), total, sumsq, low, high, squares)
        return _physical(parts, band) if scale else parts

    def squares_of(self, tiles: Numbers) -> Floats:
        """Give the sum of the squared deviations from the mean of tiles, by their numbers; NaN without pixels."""
        if self.squares is not None:
            return self.squares[tiles]
        has_pixels = self.valid_count[tiles] > 0
        some = tiles[has_pixels]
        found = np.full(len(tiles), np.nan)
        found[has_pixels] = deviations_of(self.valid_count[some], self.sum[some], self.sumsq[some])
        return found

    def class_parts(self, zones: Numbers, tiles: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Give zone, value and count of the classes that occur in the tiles of zones; arguments as for `parts`."""
        assert self.classes is not None
        assert self.class_counts is not None
        starts = np.flatnonzero(np.diff(zones, prepend=-1))
        counts = np.add.reduceat(self.class_counts[tiles], starts, axis=0)
        number, place = np.nonzero(counts)
        return zones[starts][number], self.classes[place], counts[number, place]


def _total(sums: Numbers, starts: Numbers) -> npt.NDArray[Any]:
    """Add up integers part by part; as Python's integers where 64 bits may not hold them."""
    largest = max(int(sums.max()), -int(sums.min()))
    fits = largest * len(sums) <= MAX_INT64
    found: npt.NDArray[Any] = np.add.reduceat(sums if fits else sums.astype(object), starts)
    return found


def _physical(parts: Parts, band: PlannedBand) -> Parts:
    """Give parts of physical values: stored ones times the scale of a band plus its offset."""
    scale, offset = scaling_of(band)
    ends = parts.min * scale + offset, parts.max * scale + offset
    total, squares = parts.sum * scale + parts.count * offset, parts.squares * scale**2
    return Parts(
        parts.zones, parts.count, total, squares + total**2 / parts.count, np.minimum(*ends), np.maximum(*ends), squares
    )


def bounds_of_tiles(
    statistics: TileStatistics | None,
    tiles: Sequence[Sequence[int]],
    sizes: Numbers,
    band: PlannedBand,
    *,
    scale: bool,
) -> TileBounds:
    """Give the bounds of a band in groups of tiles.

    Args:
        statistics: of its tiles; None where nothing is known.
        tiles: numbers of the tiles of each group; a group without tiles has no pixels.
        sizes: pixels of each tile of the level.
        band: the band.
        scale: whether physical values are wanted.
    """
    low, high = np.full(len(tiles), -np.inf), np.full(len(tiles), np.inf)
    has_pixels = np.array([len(each) > 0 for each in tiles], np.bool_)
    has_invalid = np.ones(len(tiles), np.bool_)
    if statistics is None:
        return TileBounds(low, high, has_pixels, has_invalid)
    is_known = np.ones(len(tiles), np.bool_)
    for group, numbers in enumerate(tiles):
        counts = statistics.valid_count[numbers]
        is_known[group] = (counts != UNKNOWN).all()
        if not is_known[group]:
            continue
        there = np.asarray(numbers, np.int64)[counts > 0]
        has_pixels[group] = len(there) > 0
        has_invalid[group] = not len(there) or bool((counts < sizes[numbers]).any())
        if len(there):
            low[group], high[group] = statistics.min[there].min(), statistics.max[there].max()
    if scale:
        ends = physical(low, band), physical(high, band)
        return TileBounds(np.minimum(*ends), np.maximum(*ends), has_pixels, has_invalid)
    classes, class_counts = statistics.classes, statistics.class_counts
    if classes is None or class_counts is None:
        return TileBounds(low, high, has_pixels, has_invalid)

    def occurs(values: Sequence[float], is_other: bool) -> npt.NDArray[np.bool_]:  # noqa: FBT001 - see `TileBounds`
        counts = class_counts[:, np.isin(classes, values) != is_other].sum(axis=1)
        return np.array([counts[numbers].any() for numbers in tiles], np.bool_) | ~is_known

    return TileBounds(low, high, has_pixels, has_invalid, occurs)


@dataclass(slots=True, eq=False)
class TileMeasurer:
    """Measures the tiles of one band of a file, in any order.

    Args:
        asset, band: the band.
        tiles: how many tiles the level has.
        has_classes: whether a histogram is wanted.
    """

    asset: PlannedAsset
    band: PlannedBand
    tiles: int
    has_classes: bool
    _count: Numbers = field(init=False)
    _sums: npt.NDArray[Any] = field(init=False)
    _counted: dict[int, tuple[Numbers, Numbers]] = field(init=False, default_factory=dict)
    _classes: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        is_integer = np.dtype(self.asset.dtype).kind in "iu"
        if self.has_classes and not is_integer:
            raise InvalidArgumentError(
                f'histogram: got band "{self.band.name}" of item {self.asset.item_id}, which is {self.asset.dtype}, '
                "expected integers, the numbers of classes; leave it out"
            )
        self._count = np.full(self.tiles, UNKNOWN, np.int64)
        # Minimum, maximum, sum, sum of squares; of floats, squared deviations too.
        self._sums = np.zeros((4 if is_integer else 5, self.tiles), np.int64 if is_integer else np.float64)

    def add(self, number: int, tile: DecodedTile) -> None:
        """Measure a tile.

        Args:
            number: of the tile in the level, row by row.
            tile: its pixels, without error.

        Raises:
            InvalidArgumentError: a histogram is wanted, and there are too many values.
        """
        values = tile.numbers()
        is_integer = self._sums.dtype.kind == "i"
        sums = [0] * len(self._sums)
        if len(values):
            found = _integer_sums(values) if is_integer else _float_sums(values)
            if found is None:
                return
            sums = found
        if self.has_classes:
            self._count_classes(number, values)
        self._count[number] = len(values)
        self._sums[:, number] = sums

    def _count_classes(self, number: int, values: npt.NDArray[Any]) -> None:
        classes, counts = np.unique(values, return_counts=True)
        self._classes.update(classes.tolist())
        if len(self._classes) > MAX_CLASSES:
            raise InvalidArgumentError(
                f'histogram: got band "{self.band.name}" of item {self.asset.item_id}, which has more than '
                f"{MAX_CLASSES} values, expected classes; leave it out"
            )
        self._counted[number] = classes.astype(np.int64), counts

    def result(self) -> TileStatistics:
        """Give the statistics of all tiles that were added; others are unknown."""
        low, high, total, sumsq, *squares = self._sums
        classes = class_counts = None
        if self.has_classes:
            classes = np.array(sorted(self._classes), np.int64)
            class_counts = np.zeros((self.tiles, len(classes)), np.int64)
            for number, (values, counts) in self._counted.items():
                class_counts[number, np.searchsorted(classes, values)] = counts
        return TileStatistics(
            self._count, low, high, total, sumsq, squares[0] if squares else None, classes, class_counts
        )


def _integer_sums(values: npt.NDArray[Any]) -> list[int] | None:
    """Give minimum, maximum, sum and sum of squares of integers, or None where 64 bits do not hold them."""
    low, high = int(values.min()), int(values.max())
    largest = max(-low, high)
    if largest > MAX_EXACT:
        return None
    if largest * largest * len(values) <= EXACT_DOUBLE:
        # Every sum on the way is exact.
        floats = values.astype(np.float64)
        return [low, high, int(floats.sum()), int(np.dot(floats, floats))]
    total, squares = (int(sums[0]) for sums in exact_sums(values, np.zeros(1, np.int64)))
    return [low, high, total, squares] if squares <= MAX_INT64 else None


def _float_sums(values: npt.NDArray[Any]) -> list[Any] | None:
    """Give minimum, maximum, sum, and sums of squares and of squared deviations, or None where one is not finite."""
    floats = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        total = floats.sum()
        found = [floats.min(), floats.max(), total, np.square(floats).sum()]
        found.append(np.square(floats - total / len(floats)).sum())
    return found if np.isfinite(found).all() else None
