"""Which windows of one size a grid has, and which of them an area touches. Pure.

Windows begin at the upper left pixel of the level and every `stride` pixels from there, whatever the area is. So the
same window has the same pixels in every read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from rasteret_sql.checks import check_choice, shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geobox import MAX_SIDE, checked_size
from rasteret_sql.geo.touched import is_touched, share_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import numpy.typing as npt

    from rasteret_sql.plan.select import Selection
    from rasteret_sql.plan.tile_plan import PlannedAsset

    Numbers = npt.NDArray[np.int64]

EDGES: Final = ("drop", "keep")
#: Windows that are made at a time.
_WINDOWS_AT_ONCE: Final = 16_384


@dataclass(frozen=True, slots=True)
class ChipGrid:
    """Windows of one size at regular distances; pairs are (height, width).

    Attributes:
        size: of a window, in pixels.
        stride: pixels from one window to the next. Less than the size, windows overlap; more, there are gaps.
        edges: "drop" leaves out windows that reach beyond the image; "keep" cuts them off there.

    Raises:
        InvalidArgumentError: one of them is wrong.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    edges: str = "drop"

    def __post_init__(self) -> None:
        for name, sides in (("size", self.size), ("stride", self.stride)):
            if not all(1 <= side <= MAX_SIDE for side in sides):
                raise InvalidArgumentError(
                    f"{name}: got {shown(sides)}, expected pixels, 1 or more, and {MAX_SIDE} at most"
                )
        check_choice("edges", self.edges, EDGES)

    @classmethod
    def of(cls, size: Any, stride: Any, edges: str) -> ChipGrid:
        """Make it of one number, or of (height, width); without a stride, windows lie side by side.

        Raises:
            InvalidArgumentError: one of them is wrong.
        """
        sides = checked_size("size", size)
        return cls(sides, sides if stride is None else checked_size("stride", stride), edges)

    def counts(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Give how many rows and columns of windows an image of (height, width) pixels has."""
        down, across = (self._count(axis, shape[axis]) for axis in (0, 1))
        return down, across

    def _count(self, axis: int, pixels: int) -> int:
        size, stride = self.size[axis], self.stride[axis]
        if self.edges == "drop":
            return (pixels - size) // stride + 1 if pixels >= size else 0
        # The first window that reaches the edge is the last: further ones would lie inside it.
        reaching = -(-max(pixels - size, 0) // stride) + 1
        return min(reaching, -(-pixels // stride))

    def ranges(self, shape: tuple[int, int], window: Sequence[int]) -> tuple[range, range]:
        """Give the rows and columns of windows that share a pixel with a part of the image.

        Args:
            shape: (height, width) of the image.
            window: (row_off, col_off, row_end, col_end) of the part, ends exclusive.
        """
        rows, cols = (
            range(
                max((window[axis] - self.size[axis]) // self.stride[axis] + 1, 0),
                min(-(-window[axis + 2] // self.stride[axis]), count),
            )
            for axis, count in enumerate(self.counts(shape))
        )
        return rows, cols

    def windows(self, shape: tuple[int, int], rows: Numbers, cols: Numbers) -> Numbers:
        """Give (row_off, col_off, row_end, col_end) of windows by row and column, ends exclusive; shape (n, 4)."""
        offsets = np.stack([rows, cols], axis=1) * self.stride
        return np.hstack([offsets, np.minimum(offsets + self.size, shape)])


@dataclass(frozen=True, slots=True, eq=False)
class ItemChips:
    """The windows of an item: those of its finest grid that the area may touch.

    Attributes:
        grid: which windows a grid has.
        host: number of the file whose pixels count; the finest, or the first of several.
        files: numbers of all files of the item.
        rows, cols: of the windows.
    """

    grid: ChipGrid
    host: int
    files: tuple[int, ...]
    rows: range
    cols: range

    def bounds(self, shape: tuple[int, int]) -> list[int]:
        """Give the pixels (row_off, col_off, row_end, col_end) that hold all windows, ends exclusive."""
        corners = np.array([[self.rows[0], self.cols[0]], [self.rows[-1], self.cols[-1]]], np.int64)
        windows = self.grid.windows(shape, *corners.T)
        return [*windows[0, :2].tolist(), *windows[1, 2:].tolist()]

    def windows(self, asset: PlannedAsset, selection: Selection) -> Iterator[Numbers]:
        """Give the windows that the area touches, row by row, some at a time; shape (n, 4).

        Args:
            asset: the host.
            selection: the files, with their area.
        """
        shape = asset.height, asset.width
        parts = selection.parts[self.host]
        geometry = None
        if selection.area is not None and selection.area.geometry is not None:
            assert asset.crs is not None
            assert asset.transform is not None
            geometry = selection.area.in_pixels(asset.crs, asset.transform, shape)
            if geometry is None:
                return
        across = len(self.cols)
        for first in range(0, len(self.rows) * across, _WINDOWS_AT_ONCE):
            number = np.arange(first, min(first + _WINDOWS_AT_ONCE, len(self.rows) * across))
            row, col = self.rows.start + number // across, self.cols.start + number % across
            windows = self.grid.windows(shape, row, col)
            if len(parts) > 1:
                windows = windows[_in_parts(windows, parts)]
            if geometry is not None:
                windows = windows[is_touched(geometry, windows)]
            if len(windows):
                yield windows


def chips_of_items(assets: Sequence[PlannedAsset], selection: Selection, grid: ChipGrid) -> list[ItemChips]:
    """Give the windows of each item that has some, in the order of its first file."""
    members: dict[Any, list[int]] = {}
    for number, asset in enumerate(assets):
        members.setdefault(asset.item, []).append(number)
    found = []
    for files in members.values():
        host = min(files, key=lambda number: _coarseness(assets[number]))
        shape = assets[host].height, assets[host].width
        rows, cols = grid.ranges(shape, selection.windows[host].tolist())
        if rows and cols:
            found.append(ItemChips(grid, host, tuple(files), rows, cols))
    return found


def _coarseness(asset: PlannedAsset) -> tuple[float, int]:
    """Order files from the finest pixels to the coarsest; files without a transform by their size, and last."""
    return asset.pixel_area, -asset.height * asset.width


def _in_parts(windows: Numbers, parts: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Say which windows share a pixel with one of several parts, (xmin, ymin, xmax, ymax) in pixels."""
    row_off, col_off, row_end, col_end = (side[:, np.newaxis] for side in windows.T)
    shared: npt.NDArray[np.bool_] = np.any(share_pixels((col_off, row_off, col_end, row_end), parts.T), axis=1)
    return shared
