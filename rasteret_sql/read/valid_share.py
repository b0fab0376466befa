"""How many pixels of windows are valid in all bands of an item.

What is known of whole tiles bounds the count of each window from both sides. Tiles are read only under windows whose
count the bounds do not decide, each once. While an item is read, memory holds one byte per pixel under these windows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rasteret_sql.plan.derived import PixelsBelow
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.plan.tiles import Tilings, cells_of_windows
from rasteret_sql.read.stream import TileStream
from rasteret_sql.read.tile_statistics import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.plan.tiles import Cells
    from rasteret_sql.read.by_file import FileTiles
    from rasteret_sql.read.tile_statistics import TileStatistics

    Numbers = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    #: Reads rows of a plan, and gives each with its valid pixels; items come in order.
    Reader = Callable[[TilePlan, Numbers], Iterator[tuple[int, Bools]]]


@dataclass(frozen=True, slots=True)
class ShareOptions:
    """What is wanted of the share of valid pixels.

    Attributes:
        least: windows with a smaller share are left out; None keeps all.
        is_exact: whether the share is wanted, rather than only which windows have enough.
    """

    least: float | None = None
    is_exact: bool = True


class Layer:
    """One band of a file under the windows of an item.

    Args:
        host: the file whose pixels count.
        asset: the file of the band.
        rows: rows of `plan` that are tiles of the band.
        plan: a plan.
        known: valid pixels of each of the rows; `UNKNOWN` where they must be read.
    """

    def __init__(
        self,
        host: PlannedAsset,
        asset: PlannedAsset,
        rows: Numbers,
        plan: TilePlan,
        known: Numbers,
    ) -> None:
        #: Valid pixels of each row.
        self.known = known
        self.rows, self._asset = rows, asset
        self._is_on_grid = host.lattice[:4] == asset.lattice[:4]
        self._below = PixelsBelow.of(host, asset)
        self._tilings = Tilings([asset])
        across = int(self._tilings.across[0])
        number = plan.tile_row[rows].astype(np.int64) * across + plan.tile_col[rows]
        sizes = plan.width[rows].astype(np.int64) * plan.height[rows]
        #: Rows of which no read can tell more.
        self.is_decided = (self.known == 0) | (self.known == sizes)
        order = np.argsort(number)
        self._numbers, self._order = number[order], order

    def bounds(self, windows: Numbers, area: Numbers) -> tuple[Numbers, Numbers]:
        """Give the least and the largest number of valid pixels in each window of so many pixels."""
        if not self._is_on_grid or not (self.known != UNKNOWN).any():
            return np.zeros(len(windows), np.int64), area
        cells = self._cells(windows)
        known = self.known[self._places(cells)]
        tall, wide = self._tilings.tile_height[0], self._tilings.tile_width[0]
        top, left = cells.row * tall, cells.col * wide
        heights, widths = (
            self._tilings.heights(np.zeros_like(cells.row), cells.row),
            self._tilings.widths(np.zeros_like(cells.col), cells.col),
        )
        row_off, col_off, row_end, col_end = windows[cells.owner].T
        common = (np.minimum(row_end, top + heights) - np.maximum(row_off, top)) * (
            np.minimum(col_end, left + widths) - np.maximum(col_off, left)
        )
        invalid = heights * widths - known
        low = np.where(known == UNKNOWN, 0, np.maximum(common - invalid, 0))
        high = np.where(known == UNKNOWN, common, np.minimum(common, known))
        totals = [np.zeros(len(windows), np.int64) for _ in range(2)]
        for total, values in zip(totals, (low, high), strict=True):
            np.add.at(total, cells.owner, values)
        return totals[0], totals[1]

    def needed(self, windows: Numbers) -> Numbers:
        """Give the rows of the plan that windows need, but for those that no read can tell more of."""
        places = np.unique(self._places(self._cells(windows)))
        found: Numbers = self.rows[places[~self.is_decided[places]]]
        return found

    def leave_out(self, valid: Bools, corner: tuple[int, int]) -> None:
        """Note which pixels are known to be invalid: beside the file, and in tiles without a valid pixel.

        Args:
            valid: pixels of the host.
            corner: (row, col) of the first of them.
        """
        rows, cols = self._under(valid, corner)
        valid[(rows < 0) | (rows >= self._asset.height)] = False
        valid[:, (cols < 0) | (cols >= self._asset.width)] = False
        across = int(self._tilings.across[0])
        for number in self._numbers[self.known[self._order] == 0].tolist():
            self.place(valid, corner, divmod(number, across), None)

    def place(self, valid: Bools, corner: tuple[int, int], tile: tuple[int, int], found: Bools | None) -> None:
        """Note which pixels of a tile are valid; None means that none is.

        Args:
            valid: pixels of the host, which stay invalid where they are.
            corner: (row, col) of the first of them.
            tile: row and column of the tile.
            found: pixels of the tile.
        """
        form = self._asset.format
        rows, cols = self._under(valid, corner)
        down = _within(rows, tile[0] * form.tile_height, min((tile[0] + 1) * form.tile_height, self._asset.height))
        across = _within(cols, tile[1] * form.tile_width, min((tile[1] + 1) * form.tile_width, self._asset.width))
        if found is None:
            valid[down, across] = False
        elif self._is_on_grid:
            first = rows[down.start] - tile[0] * form.tile_height, cols[across.start] - tile[1] * form.tile_width
            height, width = down.stop - down.start, across.stop - across.start
            valid[down, across] &= found[first[0] : first[0] + height, first[1] : first[1] + width]
        else:
            there = np.ix_(rows[down] - tile[0] * form.tile_height, cols[across] - tile[1] * form.tile_width)
            valid[down, across] &= found[there]

    def _under(self, valid: Bools, corner: tuple[int, int]) -> tuple[Numbers, Numbers]:
        row, col = corner
        return self._below.rows[row : row + valid.shape[0]], self._below.cols[col : col + valid.shape[1]]

    def _cells(self, windows: Numbers) -> Cells:
        """Give the tiles under windows of the host."""
        return cells_of_windows(self._tilings, np.zeros(len(windows), np.int64), windows_below(self._below, windows))

    def _places(self, cells: Cells) -> Numbers:
        """Give the place of each tile in `rows`."""
        found: Numbers = self._order[np.searchsorted(self._numbers, cells.row * self._tilings.across[0] + cells.col)]
        return found


def windows_below(below: PixelsBelow, windows: Numbers) -> Numbers:
    """Give windows of a grid as windows of the pixels of a file, inside its level or not; shape (n, 4)."""
    row_off, col_off, row_end, col_end = windows.T
    ends = [
        (below.rows[row_off], below.rows[row_end - 1]),
        (below.cols[col_off], below.cols[col_end - 1]),
    ]
    # The rows of a file may run the other way than those of the grid.
    (top, bottom), (left, right) = ((np.minimum(*pair), np.maximum(*pair) + 1) for pair in ends)
    return np.stack([top, left, bottom, right], axis=1)


def _within(numbers: Numbers, first: int, end: int) -> slice:
    """Give the place of the numbers from `first` to `end`, exclusive; numbers ascend, or descend."""
    places = np.flatnonzero((numbers >= first) & (numbers < end))
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


@dataclass(slots=True, eq=False)
class ItemShares:
    """The windows of an item, and what is known of their valid pixels.

    Args:
        windows: (row_off, col_off, row_end, col_end) of each, ends exclusive, shape (n, 4).
        layers: the bands of the item.
        options: what is wanted.
        host: the file whose pixels count.

    Attributes:
        counts: valid pixels of each window, where `is_counted`.
        is_counted: windows whose count is known.
        is_kept: windows with enough valid pixels, where that is known.
        is_open: windows whose pixels must be read.
    """

    windows: Numbers
    layers: Sequence[Layer]
    options: ShareOptions
    host: PlannedAsset
    counts: Numbers = field(init=False)
    is_counted: Bools = field(init=False)
    is_kept: Bools = field(init=False)
    is_open: Bools = field(init=False)
    _valid: Bools | None = field(init=False, default=None)
    _corner: tuple[int, int] = field(init=False, default=(0, 0))

    def __post_init__(self) -> None:
        area = self.areas()
        low, high = area, area
        for layer in self.layers:
            least, most = layer.bounds(self.windows, area)
            # Pixels that one band lacks are not those that another lacks, in the worst case.
            low, high = low - (area - least), np.minimum(high, most)
        low = np.maximum(low, 0)
        self.counts, self.is_counted = low, low == high
        self.is_kept = np.ones(len(area), np.bool_)
        self.is_open = ~self.is_counted
        if self.options.least is not None:
            self.is_kept = high / area >= self.options.least
            is_enough = low / area >= self.options.least
            self.is_open &= self.is_kept & (self.options.is_exact | ~is_enough)

    def areas(self) -> Numbers:
        """Give the number of pixels of each window."""
        found: Numbers = (self.windows[:, 2:] - self.windows[:, :2]).prod(axis=1)
        return found

    def needed(self) -> Numbers:
        """Give the rows of the plan that must be read."""
        windows = self.windows[self.is_open]
        parts = [layer.needed(windows) for layer in self.layers] if len(windows) else []
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def add(self, layer: Layer, tile: tuple[int, int], found: Bools) -> None:
        """Take the valid pixels of a tile."""
        layer.place(self._pixels(), self._corner, tile, found)

    def finish(self) -> None:
        """Count the valid pixels of open windows, once all tiles are taken."""
        numbers = np.flatnonzero(self.is_open)
        if len(numbers):
            valid, (top, left) = self._pixels(), self._corner
            for number in numbers.tolist():
                row_off, col_off, row_end, col_end = self.windows[number].tolist()
                part = valid[row_off - top : row_end - top, col_off - left : col_end - left]
                self.counts[number] = np.count_nonzero(part)
            self._valid = None
        self.is_counted |= self.is_open
        if self.options.least is not None:
            self.is_kept &= ~self.is_counted | (self.counts / self.areas() >= self.options.least)

    def _pixels(self) -> Bools:
        """Give the pixels that hold all open windows: valid, unless something is known of them."""
        if self._valid is None:
            windows = self.windows[self.is_open]
            top, left = windows[:, :2].min(axis=0).tolist()
            bottom, right = windows[:, 2:].max(axis=0).tolist()
            self._corner = top, left
            self._valid = np.ones((bottom - top, right - left), np.bool_)
            for layer in self.layers:
                layer.leave_out(self._valid, self._corner)
        return self._valid


def count_valid(plan: TilePlan, items: Sequence[ItemShares], read: Reader) -> Iterator[ItemShares]:
    """Read what some items need, and give each with its counts, in order.

    Args:
        plan: that the layers of the items are rows of.
        items: the items.
        read: `read_valid`, or that of `computed_valid`.

    Raises:
        RasteretError: a tile could not be fetched or decoded.
    """
    needed = [item.needed() for item in items]
    owner = np.repeat(np.arange(len(items)), [len(rows) for rows in needed])
    rows = np.concatenate(needed) if needed else np.empty(0, np.int64)
    order = np.lexsort(
        (plan.band[rows], plan.tile_col[rows], plan.tile_row[rows], plan.tile_offset[rows], plan.asset_no[rows], owner)
    )
    rows = rows[order]
    layer_of = {
        int(row): (number, layer) for number, item in enumerate(items) for layer in item.layers for row in layer.rows
    }
    done = 0
    for row, found in read(plan, rows):
        number, layer = layer_of[row]
        while done < number:
            items[done].finish()
            yield items[done]
            done += 1
        items[done].add(layer, (int(plan.tile_row[row]), int(plan.tile_col[row])), found)
    for item in items[done:]:
        item.finish()
        yield item


def needs_pixels(plan: TilePlan) -> bool:
    """Whether pixels are read beside masks: masks of integers say all, and only floats may be NaN."""
    return any(np.dtype(plan.assets[number].dtype).kind in "fc" for number in np.unique(plan.asset_no).tolist())


def read_valid(plan: TilePlan, rows: Numbers) -> Iterator[tuple[int, Bools]]:
    """Read rows of a plan in order; gives each row, and which of its pixels are valid and numbers."""
    if not len(rows):
        return
    wanted = plan.take(rows)
    for batch in TileStream(wanted, pixels=needs_pixels(wanted), mask=True):
        part = batch.plan
        for row in batch.rows:
            valid = batch.mask_of(row)
            if valid is None:
                valid = np.ones((part.height[row], part.width[row]), np.bool_)
            if np.dtype(part.assets[part.asset_no[row]].dtype).kind in "fc":
                valid = valid & ~np.isnan(batch.pixels_of(row))
            yield int(rows[batch.first_row + row]), valid


def computed_valid(tiles_of: Callable[[TilePlan], FileTiles]) -> Reader:
    """Give what reads rows of a plan of computed bands, item by item, as `read_valid` reads those of files.

    Args:
        tiles_of: gives the tiles that the rows of a plan are computed of.
    """

    def read(plan: TilePlan, rows: Numbers) -> Iterator[tuple[int, Bools]]:
        if not len(rows):
            return
        wanted = plan.take(rows)
        given = tiles_of(wanted)
        row_of = dict(zip(_places(wanted), rows.tolist(), strict=True))
        places = _places(given.plan)
        for tile in given.tiles():
            valid = np.ones(tile.pixels.shape, np.bool_) if tile.valid is None else tile.valid
            yield row_of[places[tile.row]], valid & ~np.isnan(tile.pixels) if tile.pixels.dtype.kind == "f" else valid

    return read


def _places(plan: TilePlan) -> list[tuple[int, ...]]:
    """Give file, band, row and column of the tiles of a plan."""
    columns = plan.asset_no, plan.band, plan.tile_row, plan.tile_col
    return list(zip(*(column.tolist() for column in columns), strict=True))


def known_counts(asset: PlannedAsset, plan: TilePlan, statistics: TileStatistics | None) -> Numbers:
    """Give the number of valid pixels of tiles, as far as it is known; `UNKNOWN` elsewhere.

    Args:
        asset: a file.
        plan: tiles of one of its bands.
        statistics: of the tiles of the band, or None.
    """
    known = np.full(len(plan), UNKNOWN, np.int64)
    if statistics is not None:
        known = statistics.valid_count[plan.tile_row.astype(np.int64) * asset.tiles_across + plan.tile_col]
    is_whole = (plan.mask_kind == MaskKind.NONE) & (np.dtype(asset.dtype).kind in "iub")
    return np.where(is_whole, plan.width.astype(np.int64) * plan.height, known)
