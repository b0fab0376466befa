"""Samplers whose chips are aligned to the blocks of files. Importing this imports torch and torchgeo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
import shapely
import torch
from torch.utils.data import Sampler

from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.geo.crs import normalized_crs, same_crs
from rasteret_sql.training.dataset import RasteretDataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

    #: A slice of a dataset: x, y and time.
    _Query = tuple[slice, slice, slice]

#: Share of a pixel by which sizes and positions may differ: they are computed in floating point.
_SAME: Final = 1e-6
#: Part of a pixel by which chips may lie outside of a row.
_OUTSIDE_PIXELS: Final = 1e-3


class _Grids(NamedTuple):
    """The pixel grids of items at one resolution; one element per item.

    Attributes:
        x_off, y_off: the corner of the first pixel.
        x_size, y_size: the size of pixels, negative where coordinates fall.
        layout: (height, width, block height, block width) in pixels, shape (n, 4).
    """

    x_off: npt.NDArray[np.float64]
    y_off: npt.NDArray[np.float64]
    x_size: npt.NDArray[np.float64]
    y_size: npt.NDArray[np.float64]
    layout: Numbers

    def bounds(self, item: npt.NDArray[Any], windows: Numbers) -> npt.NDArray[np.float64]:
        """Give (xmin, ymin, xmax, ymax) of windows (row_off, col_off, height, width) of items, shape (n, 4)."""
        row, col, height, width = windows.T
        x = self.x_off[item] + col * self.x_size[item]
        y = self.y_off[item] + row * self.y_size[item]
        x_end, y_end = x + width * self.x_size[item], y + height * self.y_size[item]
        return np.stack([np.minimum(x, x_end), np.minimum(y, y_end), np.maximum(x, x_end), np.maximum(y, y_end)], 1)


class BlockGeoSampler(Sampler[Any]):  # type: ignore[misc]
    """Slices of chips that lie inside blocks of files; made by `rasteret_sql.block_sampler`.

    A sampler of TorchGeo draws chips anywhere, so a chip of the size of a block touches up to four blocks of each file.

    Attributes:
        length: number of chips of an epoch.
    """

    def __init__(
        self,
        dataset: Any,
        size: tuple[int, int] | None,
        *,
        length: int | None,
        shuffle: bool,
        chips_per_block: int,
        roi: Any,
        generator: torch.Generator | None,
    ) -> None:
        ours = _own(dataset)
        grids = _grids_of(ours)
        self._is_random = length is not None
        self._shuffle, self._chips_per_block, self._generator = shuffle, chips_per_block, generator
        self._size = size or _common_block(grids)
        self._res = ours.res
        rows, windows, self._block = _windows(ours, grids, self._size, is_random=self._is_random)
        items = ours.index["item"].to_numpy()[rows]
        if self._is_random:
            windows = _cut_to_rows(ours, grids, roi, rows, windows)
        inside = (windows[:, 2:] >= self._size).all(axis=1)
        inside &= _inside(dataset, ours, roi, rows, grids.bounds(items, windows))
        if not inside.any():
            height, width = self._size
            what = "block that holds a chip" if self._is_random else "chip"
            raise EmptyReadError(
                f"size: no {what} of {height} x {width} pixels lies whole inside a row of the dataset"
                f"{'' if roi is None else ' and inside roi'}; give a smaller size, or a larger area"
            )
        self._items, self._windows, self._block = items[inside], windows[inside], self._block[inside]
        self._grids = grids
        self._left, self._right = (
            np.asarray(side)[rows[inside]] for side in (ours.index.index.left, ours.index.index.right)
        )
        if ours.time_series:
            self._take_whole_series(ours)
        self.length = len(self._items) if length is None else length

    def _take_whole_series(self, dataset: RasteretDataset) -> None:
        """Give each place once, with all times of the dataset: its sample has a slice per time."""
        bounds = self._grids.bounds(self._items, self._windows)
        steps = np.tile(self._res, 2)
        _, first = np.unique(np.round(bounds / steps).astype(np.int64), axis=0, return_index=True)
        first.sort()
        self._items, self._windows, self._block = self._items[first], self._windows[first], self._block[first]
        self._left = np.full(len(first), dataset.index.index.left.min())
        self._right = np.full(len(first), dataset.index.index.right.max())

    def __len__(self) -> int:
        """Count the chips of an epoch."""
        return self.length

    def __iter__(self) -> Iterator[_Query]:
        """Give the slices of an epoch: x, y and time."""
        numbers, windows = self._drawn() if self._is_random else self._listed()
        bounds = self._grids.bounds(self._items[numbers], windows)
        x_res, y_res = self._res
        for number, (xmin, ymin, xmax, ymax) in zip(numbers.tolist(), bounds.tolist(), strict=True):
            times = slice(pd.Timestamp(self._left[number]), pd.Timestamp(self._right[number]), 1)
            yield slice(xmin, xmax, x_res), slice(ymin, ymax, y_res), times

    def _listed(self) -> tuple[Numbers, Numbers]:
        """Give all chips once; those of a block follow each other."""
        numbers = np.arange(len(self._items))
        if self._shuffle:
            blocks, block_of = np.unique(self._block, return_inverse=True)
            rank = torch.randperm(len(blocks), generator=self._generator).numpy()
            numbers = np.argsort(rank[block_of], kind="stable")
        return numbers, self._windows[numbers]

    def _drawn(self) -> tuple[Numbers, Numbers]:
        """Draw blocks, and in each of them chips."""
        blocks = -(-self.length // self._chips_per_block)
        drawn = torch.randint(len(self._items), (blocks,), generator=self._generator).numpy()
        numbers = np.repeat(drawn, self._chips_per_block)[: self.length]
        size = np.array(self._size)
        room = self._windows[numbers, 2:] - size
        share = torch.rand((self.length, 2), generator=self._generator, dtype=torch.float64).numpy()
        offsets = self._windows[numbers, :2] + np.minimum((share * (room + 1)).astype(np.int64), room)
        return numbers, np.concatenate([offsets, np.broadcast_to(size, offsets.shape)], axis=1)


def _own(dataset: Any) -> RasteretDataset:
    """Give the dataset whose blocks count: itself, or the first of ours of what `&` and `|` made."""
    found = dataset
    while not isinstance(found, RasteretDataset) and hasattr(found, "datasets"):
        one, two = found.datasets
        found = one if isinstance(one, RasteretDataset) or hasattr(one, "datasets") else two
    if not isinstance(found, RasteretDataset):
        raise InvalidArgumentError(
            f"dataset: got {type(dataset).__name__}, expected a dataset of to_torchgeo or from_handoff, or what & and "
            "| make of one"
        )
    if found.is_chipped:
        raise InvalidArgumentError(
            "dataset: its rows are the chips that it was given, expected rows that are items; sample its rows by number"
        )
    return found


def _grids_of(dataset: RasteretDataset) -> _Grids:
    """Give the grid of each item, of the first band whose pixels are those of the dataset.

    Raises:
        InvalidArgumentError: the pixels of an item in the index have another CRS or size.
    """
    items, crs, res = dataset.items, normalized_crs(dataset.crs), dataset.res
    table = items.table
    is_same_crs = np.array([same_crs(code, crs) for code in items.crs], bool)[items.crs_of]
    file_of = items.files.file
    levels = table.coarsest(file_of.ravel(), np.full(file_of.size, min(res))).reshape(file_of.shape)
    slots = table.column("first_level")[file_of] + levels
    first = table.column("first_level")[file_of]
    widths, heights = table.column("level_width"), table.column("level_height")
    x_size = table.column("x_size")[file_of] * widths[first] / widths[slots]
    y_size = table.column("y_size")[file_of] * heights[first] / heights[slots]
    fits = (np.abs(np.abs(x_size) - res[0]) < res[0] * _SAME) & (np.abs(np.abs(y_size) - res[1]) < res[1] * _SAME)
    wanted = np.unique(dataset.index["item"].to_numpy())
    other = wanted[~(is_same_crs & fits.any(axis=1))[wanted]]
    if other.size:
        item = int(other[0])
        raise InvalidArgumentError(
            f"dataset: item {items.ids[item]}, and {other.size - 1} others, have other pixels than the dataset: got "
            f"{abs(float(x_size[item, 0])):g} x {abs(float(y_size[item, 0])):g} in "
            f"{items.crs[int(items.crs_of[item])]}, expected {res[0]:g} x {res[1]:g} in {crs}. Resampled chips are not "
            "aligned to blocks: set dataset.crs and dataset.res to those of the files, or leave these items out"
        )
    band = fits.argmax(axis=1)
    each = np.arange(len(items))
    files, level, slot = file_of[each, band], levels[each, band], slots[each, band]
    layout = np.concatenate([np.stack([heights[slot], widths[slot]], 1), table.tile_sizes(files, level)], axis=1)
    return _Grids(
        table.column("x_off")[files], table.column("y_off")[files], x_size[each, band], y_size[each, band],
        layout.astype(np.int64),
    )  # fmt: skip


def _common_block(grids: _Grids) -> tuple[int, int]:
    """Give the (height, width) of the blocks, no larger than an image.

    Raises:
        InvalidArgumentError: files have blocks of several sizes.
    """
    sizes = np.unique(np.minimum(grids.layout[:, 2:], grids.layout[:, :2]), axis=0).tolist()
    if len(sizes) > 1:
        raise InvalidArgumentError(f"size: files have blocks of (height, width) {sizes[:5]}, expected one; give a size")
    return sizes[0][0], sizes[0][1]


def _windows(
    dataset: RasteretDataset, grids: _Grids, size: tuple[int, int], *, is_random: bool
) -> tuple[Numbers, Numbers, Numbers]:
    """Give the windows of all rows: chips, or blocks in which chips are drawn.

    Returns:
        The row of each window, (row_off, col_off, height, width) of each, and the number of its block.
    """
    items = dataset.index["item"].to_numpy()
    layouts, layout_of = np.unique(grids.layout[items], axis=0, return_inverse=True)
    layout_of = layout_of.ravel()
    listed = [_of_layout(tuple(layout), size, is_random=is_random) for layout in layouts.tolist()]
    counts = np.array([len(windows) for windows, _ in listed], np.int64)[layout_of]
    rows = np.repeat(np.arange(len(items)), counts)
    windows = np.concatenate([listed[number][0] for number in layout_of.tolist()])
    most = 1 + max((int(blocks.max(initial=0)) for _, blocks in listed), default=0)
    blocks = np.concatenate([listed[number][1] for number in layout_of.tolist()])
    return rows, windows, rows * most + blocks


def _of_layout(layout: tuple[int, int, int, int], size: tuple[int, int], *, is_random: bool) -> tuple[Numbers, Numbers]:
    """Give windows (row_off, col_off, height, width) of an image, and the number of the block of each, in its order."""
    rows, cols = (_of_axis(layout[axis], layout[2 + axis], size[axis], is_random=is_random) for axis in (0, 1))
    row, col = (each.ravel() for each in np.meshgrid(np.arange(len(rows)), np.arange(len(cols)), indexing="ij"))
    windows = np.stack([rows[row, 0], cols[col, 0], rows[row, 1], cols[col, 1]], axis=1)
    blocks = rows[row, 2] * (cols[:, 2].max(initial=0) + 1) + cols[col, 2]
    order = np.argsort(blocks, kind="stable")
    return windows[order], blocks[order]


def _of_axis(length: int, block: int, size: int, *, is_random: bool) -> Numbers:
    """Cut one axis of an image: start and length of each window, and the number of its block; shape (n, 3).

    A chip that is larger than a block takes as many whole blocks as hold it, and these count as one.
    """
    cell = -(-size // block) * block
    starts = np.arange(0, length, cell)
    room = np.minimum(starts + cell, length) - starts
    numbers = np.arange(len(starts))
    if is_random:
        found = np.stack([starts, room, numbers], axis=1)
        return np.asarray(found[room >= size], np.int64)
    counts = room // size
    cells = np.repeat(numbers, counts)
    within = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([starts[cells] + within * size, np.full(len(cells), size), cells], axis=1).astype(np.int64)


def _cut_to_rows(dataset: RasteretDataset, grids: _Grids, roi: Any, rows: Numbers, windows: Numbers) -> Numbers:
    """Cut blocks to the whole pixels inside the bounds of their row and of a region."""
    items = dataset.index["item"].to_numpy()[rows]
    xmin, ymin, xmax, ymax = shapely.bounds(dataset.index.geometry.to_numpy())[rows].T
    if roi is not None:
        roi_xmin, roi_ymin, roi_xmax, roi_ymax = shapely.bounds(roi)
        xmin, ymin = np.maximum(xmin, roi_xmin), np.maximum(ymin, roi_ymin)
        xmax, ymax = np.minimum(xmax, roi_xmax), np.minimum(ymax, roi_ymax)
    cut = []
    for axis, (low, high, off, size) in enumerate(
        ((ymin, ymax, grids.y_off, grids.y_size), (xmin, xmax, grids.x_off, grids.x_size))
    ):
        ends = np.sort(np.stack([(side - off[items]) / size[items] for side in (low, high)]), axis=0)
        start = np.maximum(np.ceil(ends[0] - _OUTSIDE_PIXELS).astype(np.int64), windows[:, axis])
        end = np.minimum(np.floor(ends[1] + _OUTSIDE_PIXELS).astype(np.int64), windows[:, axis] + windows[:, 2 + axis])
        cut.append((start, end - start))
    (row, height), (col, width) = cut
    return np.stack([row, col, height, width], axis=1)


def _inside(
    dataset: Any, ours: RasteretDataset, roi: Any, rows: Numbers, bounds: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Say which bounds lie whole inside their row, inside the region, and inside a row of a combined dataset."""
    beside = np.tile(np.array(ours.res) * _OUTSIDE_PIXELS, 2) * (1, 1, -1, -1)
    boxes = shapely.box(*(bounds + beside).T)
    geometry = ours.index.geometry.to_numpy()
    around = shapely.bounds(geometry)
    inside = (bounds + beside >= around[rows])[:, :2].all(axis=1) & (bounds + beside <= around[rows])[:, 2:].all(axis=1)
    # Most rows are boxes, of which bounds tell everything.
    is_box = shapely.area(geometry) >= shapely.area(shapely.box(*around.T)) * (1 - 1e-12)
    others = np.flatnonzero(inside & ~is_box[rows])
    inside[others] = shapely.covers(geometry[rows[others]], boxes[others])
    if roi is not None:
        inside &= shapely.covers(roi, boxes)
    if dataset is not ours:
        inside &= _in_combined(dataset, ours, rows, boxes)
    return np.asarray(inside, np.bool_)


def _in_combined(dataset: Any, ours: RasteretDataset, rows: Numbers, boxes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Say which boxes, each with the time of its row, a row of a combined dataset covers."""
    found = np.zeros(len(boxes), bool)
    tree = shapely.STRtree(dataset.index.geometry.to_numpy())
    box, other = tree.query(boxes, predicate="covered_by")
    own, theirs = ours.index.index, dataset.index.index
    overlaps = (np.asarray(own.left)[rows[box]] <= np.asarray(theirs.right)[other]) & (
        np.asarray(own.right)[rows[box]] >= np.asarray(theirs.left)[other]
    )
    found[box[overlaps]] = True
    return found
