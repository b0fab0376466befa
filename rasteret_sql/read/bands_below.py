"""Statistics of the pixels of other bands of an item under the tiles of a file.

Statistics of whole tiles bound them: a tile of the other band that lies under a part of it says how many of its pixels
the part has at least and at most. Where bounds do not decide, the tiles of the other band are read, each once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rasteret_sql.plan.derived import PixelsBelow, check_one_crs
from rasteret_sql.plan.possible import TileBounds
from rasteret_sql.plan.tiles import Cells, Tilings, Windows, cells_of_windows
from rasteret_sql.read.by_file import FileTiles, in_file_order
from rasteret_sql.read.tile_statistics import UNKNOWN
from rasteret_sql.read.valid_share import windows_below

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.derived import Source
    from rasteret_sql.plan.tile_plan import Item, PlannedAsset
    from rasteret_sql.plan.tiles import WindowPlan
    from rasteret_sql.read.by_file import DecodedTile
    from rasteret_sql.read.tile_statistics import TileStatistics
    from rasteret_sql.read.zonal import Known

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class OtherBands:
    """The bands that conditions on tiles name beside the band of the tile.

    Attributes:
        files: the files of the bands.
        sources: the band of each item and label; an item may lack some.
        plan_windows: plans windows of `files`.
    """

    files: Sequence[PlannedAsset]
    sources: Mapping[tuple[Item, str], Source]
    plan_windows: Callable[[Windows], WindowPlan]


class BandBelow:
    """One band of an item under some tiles of a file of the item.

    A cell is the part of a tile of the band that lies under one of the tiles of the file.

    Args:
        host: the file.
        tiles: numbers of its tiles, row by row; shape (tile,).
        source: the band.
        other: the file of the band.
        known: gives the statistics of the tiles of a band of a file, or None.
        classes: groups of values whose pixels are counted.

    Raises:
        AssetChangedError: statistics are of another version of the file.
        InvalidArgumentError: the files have different CRSs.
    """

    def __init__(
        self,
        host: PlannedAsset,
        tiles: Numbers,
        source: Source,
        other: PlannedAsset,
        known: Known,
        classes: Sequence[tuple[float, ...]],
    ) -> None:
        check_one_crs(host, other, "tiles_where")
        self.source, self.other, self._classes = source, other, classes
        form = host.format
        top, left = (tiles // host.tiles_across) * form.tile_height, (tiles % host.tiles_across) * form.tile_width
        ends = np.minimum(top + form.tile_height, host.height), np.minimum(left + form.tile_width, host.width)
        windows = windows_below(PixelsBelow.of(host, other), np.stack([top, left, *ends], axis=1))
        #: Pixels under each tile, also those beside the file, which are not valid.
        self.areas: Numbers = (windows[:, 2:] - windows[:, :2]).prod(axis=1)
        size = other.height, other.width
        self._windows = np.stack([np.clip(windows[:, place], 0, size[place % 2]) for place in range(4)], axis=1)
        touched = np.flatnonzero((self._windows[:, 2:] > self._windows[:, :2]).all(axis=1))
        cells = cells_of_windows(Tilings([other]), np.zeros(len(touched), np.int64), self._windows[touched])
        self.cells = Cells(touched[cells.owner], cells.row, cells.col)
        self.tile_of = cells.row * other.tiles_across + cells.col
        self._sums = CellSums.of(self._pixels(), other.tile_areas()[self.tile_of], len(classes))
        statistics = known(other, source.band)
        if statistics is not None:
            self._sums.take_known(statistics, self.tile_of, classes)

    def open_cells(self, owners: Bools) -> Numbers:
        """Give the cells that are not known exactly, of some of the tiles of the file."""
        return np.flatnonzero(owners[self.cells.owner] & ~self._sums.is_exact)

    def add(self, cell: int, tile: DecodedTile) -> None:
        """Measure a cell of a tile that was read."""
        row_off, col_off, row_end, col_end = self._windows[self.cells.owner[cell]].tolist()
        form = self.other.format
        top, left = int(self.cells.row[cell]) * form.tile_height, int(self.cells.col[cell]) * form.tile_width
        part = (
            slice(max(row_off - top, 0), row_end - top),
            slice(max(col_off - left, 0), col_end - left),
        )
        valid = None if tile.valid is None else tile.valid[part]
        self._sums.measure(cell, tile._replace(pixels=tile.pixels[part], valid=valid), self._classes)

    def bounds(self, name: str, group: int = 0) -> TileBounds:
        """Give the bounds of a statistic under each tile.

        Args:
            name: of the statistic.
            group: of a share, the number of its group of values.
        """
        return self._sums.bounds(name, group, self.cells.owner, self.areas)

    def _pixels(self) -> Numbers:
        """Give the number of pixels of each cell."""
        form, other, cells = self.other.format, self.other, self.cells
        top, left = cells.row * form.tile_height, cells.col * form.tile_width
        row_off, col_off, row_end, col_end = self._windows[cells.owner].T
        down = np.minimum(row_end, np.minimum(top + form.tile_height, other.height)) - np.maximum(row_off, top)
        across = np.minimum(col_end, np.minimum(left + form.tile_width, other.width)) - np.maximum(col_off, left)
        found: Numbers = down * across
        return found


@dataclass(slots=True, eq=False)
class CellSums:
    """What is known of cells: counts from both sides, and sums where they are exact.

    Attributes:
        pixels: of each cell.
        tile_pixels: of the tile that it is a part of.
        is_exact: whether all of it is known.
        low, high: least and largest value that may occur; infinite where nothing is known.
        count_low, count_high: of valid pixels.
        class_low, class_high: of the pixels of each group of values, shape (group, cell).
        rest_low, rest_high: of the other valid pixels, shape (group, cell).
        sum, squares: of the valid pixels, and of their squared deviations from the mean; where `is_exact`.
    """

    pixels: Numbers
    tile_pixels: Numbers
    is_exact: Bools
    low: Floats
    high: Floats
    count_low: Numbers
    count_high: Numbers
    class_low: Numbers
    class_high: Numbers
    rest_low: Numbers
    rest_high: Numbers
    sum: Floats = field(init=False)
    squares: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.sum, self.squares = np.zeros(len(self.pixels)), np.zeros(len(self.pixels))

    @classmethod
    def of(cls, pixels: Numbers, tile_pixels: Numbers, groups: int) -> CellSums:
        """Make those of cells of which nothing is known."""
        count = len(pixels)
        none, all_of_each = np.zeros((groups, count), np.int64), np.tile(pixels, (groups, 1))
        return cls(
            pixels, tile_pixels, np.zeros(count, np.bool_), np.full(count, -np.inf), np.full(count, np.inf),
            np.zeros(count, np.int64), pixels.copy(), none, all_of_each, none.copy(), all_of_each.copy(),
        )  # fmt: skip

    def take_known(self, statistics: TileStatistics, tiles: Numbers, classes: Sequence[tuple[float, ...]]) -> None:
        """Take what is known of whole tiles, by the number of the tile of each cell."""
        count = statistics.valid_count[tiles]
        is_known, has_pixels = count != UNKNOWN, count > 0
        count = np.where(is_known, count, 0)
        self.count_low, self.count_high = self._parts(count, is_known)
        self.low = np.where(is_known, np.where(has_pixels, statistics.min[tiles], np.inf), self.low)
        self.high = np.where(is_known, np.where(has_pixels, statistics.max[tiles], -np.inf), self.high)
        self.is_exact = is_known & ((self.pixels == self.tile_pixels) | ~has_pixels)
        with np.errstate(all="ignore"):
            self.sum = np.where(self.is_exact & has_pixels, statistics.sum[tiles], 0.0)
            self.squares = np.where(self.is_exact & has_pixels, np.nan_to_num(statistics.squares_of(tiles)), 0.0)
        if not classes:
            return
        if statistics.classes is None or statistics.class_counts is None:
            self.is_exact &= ~has_pixels
            for group in range(len(classes)):
                self.class_high[group] = self.rest_high[group] = self.count_high
            return
        for group, values in enumerate(classes):
            counts = statistics.class_counts[tiles][:, np.isin(statistics.classes, values)].sum(axis=1)
            counts = np.where(is_known, counts, 0)
            self.class_low[group], self.class_high[group] = self._parts(counts, is_known)
            self.rest_low[group], self.rest_high[group] = self._parts(count - counts, is_known)

    def measure(self, cell: int, tile: DecodedTile, classes: Sequence[tuple[float, ...]]) -> None:
        """Measure the pixels of a cell."""
        values = tile.numbers()
        self.count_low[cell] = self.count_high[cell] = len(values)
        for group, members in enumerate(classes):
            found = np.count_nonzero(np.isin(values, members))
            self.class_low[group, cell] = self.class_high[group, cell] = found
            self.rest_low[group, cell] = self.rest_high[group, cell] = len(values) - found
        self.is_exact[cell] = True
        self.low[cell], self.high[cell], self.sum[cell], self.squares[cell] = np.inf, -np.inf, 0.0, 0.0
        if len(values):
            floats = values.astype(np.float64)
            with np.errstate(all="ignore"):
                self.low[cell], self.high[cell], self.sum[cell] = floats.min(), floats.max(), floats.sum()
                self.squares[cell] = np.square(floats - floats.mean()).sum()

    def bounds(self, name: str, group: int, owner: Numbers, areas: Numbers) -> TileBounds:
        """Give the bounds of a statistic of the cells of each owner.

        Args:
            name: of the statistic.
            group: of a share, the number of its group of values.
            owner: of each cell, ascending.
            areas: pixels of each owner, also those that no cell has.
        """
        owners = len(areas)
        least, most = (_added(count, owner, owners) for count in (self.count_low, self.count_high))
        always = np.zeros(owners, np.bool_)
        if name in {"valid_count", "valid_share"}:
            over = areas if name == "valid_share" else np.ones(owners, np.int64)
            return TileBounds(least / over, most / over, ~always, always)
        if name == "share":
            low, high = self._share(group, owner, owners)
        else:
            is_exact = _added((~self.is_exact).astype(np.int64), owner, owners) == 0
            low, high = self._numbers(name, is_exact, owner, owners)
        # Without a valid pixel the statistic is NULL.
        return TileBounds(low, high, most > 0, least == 0)

    def _parts(self, counts: Numbers, is_known: Bools) -> tuple[Numbers, Numbers]:
        """Bound how many of so many pixels of whole tiles lie in cells."""
        beside = self.tile_pixels - self.pixels
        low = np.where(is_known, np.maximum(counts - beside, 0), 0)
        return low, np.where(is_known, np.minimum(counts, self.pixels), self.pixels)

    def _share(self, group: int, owner: Numbers, owners: int) -> tuple[Floats, Floats]:
        low, high, rest_low, rest_high = (
            _added(each[group], owner, owners)
            for each in (self.class_low, self.class_high, self.rest_low, self.rest_high)
        )
        return low / np.maximum(low + rest_high, 1), high / np.maximum(high + rest_low, 1)

    def _numbers(self, name: str, is_exact: Bools, owner: Numbers, owners: int) -> tuple[Floats, Floats]:
        """Bound a statistic of values. It is exact where all cells are, and else lies between the extremes."""
        low, high = np.full(owners, np.inf), np.full(owners, -np.inf)
        np.minimum.at(low, owner, self.low)
        np.maximum.at(high, owner, self.high)
        count = _added(self.count_low, owner, owners)
        with np.errstate(all="ignore"):
            total = _added(self.sum, owner, owners)
            mean = total / count
            if name == "min":
                exact = low
            elif name == "max":
                exact = high
            elif name == "sum":
                exact = total
            elif name == "mean":
                exact = mean
            else:
                own = np.where(self.count_low > 0, self.sum / self.count_low, 0.0)
                apart = self.count_low * np.square(own - mean[owner])
                exact = np.sqrt(_added(self.squares + np.where(self.count_low > 0, apart, 0.0), owner, owners) / count)
            if name == "sum":
                low, high = np.full(owners, -np.inf), np.full(owners, np.inf)
            elif name == "stdev":
                low, high = np.zeros(owners), high - low
        # No number is no bound: the statistic is not finite then, and a comparison with it is NULL.
        low, high = np.where(is_exact, exact, low), np.where(is_exact, exact, high)
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _added(values: npt.NDArray[np.float64] | Numbers, owner: Numbers, owners: int) -> npt.NDArray[np.float64]:
    """Add up the values of each owner."""
    found = np.zeros(owners)
    np.add.at(found, owner, values)
    return found


def measure(below: Sequence[tuple[BandBelow, Bools]], others: OtherBands) -> None:
    """Read the cells of bands that are not known, each tile once.

    Args:
        below: bands, and of which tiles of their host the cells are wanted.
        others: where their tiles are.

    Raises:
        RasteretError: a tile could not be fetched or decoded.
    """
    wanted: dict[tuple[int, int, int], list[tuple[BandBelow, int]]] = {}
    bands = {}
    for band_below, owners in below:
        source = band_below.source
        bands[source.asset_no, source.band.band] = source.band
        for cell in band_below.open_cells(owners).tolist():
            key = source.asset_no, source.band.band, int(band_below.tile_of[cell])
            wanted.setdefault(key, []).append((band_below, cell))
    if not wanted:
        return
    keys = np.array(sorted(wanted), np.int64)
    windows, owner = np.unique(keys[:, :2], axis=0, return_inverse=True)
    across = np.array([others.files[number].tiles_across for number in keys[:, 0].tolist()], np.int64)
    cells = Cells(owner.reshape(-1), keys[:, 2] // across, keys[:, 2] % across)
    named = [bands[asset_no, band] for asset_no, band in windows.tolist()]
    plan = in_file_order(others.plan_windows(Windows(windows[:, 0], named, cells)).tiles)
    used = np.unique(windows[:, 0])
    for tile in FileTiles(plan).tiles():
        asset_no = int(used[plan.asset_no[tile.row]])
        number = int(plan.tile_row[tile.row]) * others.files[asset_no].tiles_across + int(plan.tile_col[tile.row])
        for band_below, cell in wanted[asset_no, int(plan.band[tile.row]), number]:
            band_below.add(cell, tile)
