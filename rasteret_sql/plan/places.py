"""Where grids lie in the files of a plan: windows of levels, and which tiles they touch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from rasteret_sql.geo.crs import revolution_at, same_crs
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.geo.pixelmap import PixelMap
from rasteret_sql.geo.resampling import EPSILON, reach
from rasteret_sql.geo.touched import share_pixels
from rasteret_sql.io import fork
from rasteret_sql.plan.native_grid import GRID_TOLERANCE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rasteret_sql.geo.geobox import Transform
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan

#: CRS and transform of a level, and its width.
Lattice: TypeAlias = "tuple[str | None, Transform | None, int]"


@dataclass(frozen=True, slots=True)
class Window:
    """Rows and columns of a level; ends are exclusive."""

    row_off: int
    col_off: int
    row_end: int
    col_end: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.row_end - self.row_off, self.col_end - self.col_off


class Places:
    """Where parts of a grid lie in files; found once for all files on one lattice."""

    def __init__(self, whole: GeoBox) -> None:
        self._whole = whole
        self._found: dict[tuple[Lattice, GeoBox, str], tuple[Window, tuple[int, int] | None] | None] = {}

    def window(self, asset: PlannedAsset, box: GeoBox, method: str) -> tuple[Window, tuple[int, int] | None] | None:
        """Give the part of a level that a grid takes, and its first row and column where both grids are one."""
        key = lattice_of(asset), box, method
        if key not in self._found:
            self._found[key] = self._find(asset, box, method)
        found = self._found[key]
        if found is None:
            return None
        window, shift = found
        window = Window(
            max(window.row_off, 0), max(window.col_off, 0),
            min(window.row_end, asset.height), min(window.col_end, asset.width),
        )  # fmt: skip
        return (window, shift) if min(window.shape) > 0 else None

    def _find(self, asset: PlannedAsset, box: GeoBox, method: str) -> tuple[Window, tuple[int, int] | None] | None:
        shift = shift_between(asset, box, self._whole)
        if shift is not None:
            rows, cols = shift
            return Window(rows, cols, rows + box.height, cols + box.width), shift
        return source_window(asset, box, method, self._whole)


def source_window(asset: PlannedAsset, box: GeoBox, method: str, whole: GeoBox) -> tuple[Window, None] | None:
    """Give what a part of a grid takes of a level, before it is cut to the level; None where it has no place there."""
    places = pixel_map(lattice_of(asset), box, whole)
    extent = places.extent()
    if extent is None:
        return None
    row_min, col_min, row_max, col_max = extent
    if places.period is not None and col_max - col_min > places.period / 2:
        # Places jump at the edge of a raster around the Earth: all columns may be needed.
        col_min, col_max = 0.0, float(asset.width)
    beside = [reach(method, scale) for scale in places.largest_scale]
    return (
        Window(
            math.floor(row_min + EPSILON) - beside[0],
            math.floor(col_min + EPSILON) - beside[1],
            math.ceil(row_max) + beside[0] + 1,
            math.ceil(col_max) + beside[1] + 1,
        ),
        None,
    )


def lattice_of(asset: PlannedAsset) -> Lattice:
    """What the places of a file's pixels depend on."""
    return asset.crs, asset.transform, asset.width


@lru_cache(maxsize=64)
def pixel_map(lattice: Lattice, box: GeoBox, whole: GeoBox) -> PixelMap:
    """Say where the pixels of a part of a grid lie in files on a lattice.

    Places, and the width of kernels, are those of the whole grid: no pixel depends on the part that it is read with.
    """
    crs, transform, width = lattice
    assert transform is not None
    return PixelMap(crs, transform, box, source_width=width, part_of=whole)


def cover_of(lattice: Lattice, window: Window, box: GeoBox, whole: GeoBox) -> Window | None:
    """Give the part of a grid in which the pixels of a window of a file lie, or somewhat more; None where none do."""
    crs, transform, width = lattice
    assert transform is not None
    entire = Window(0, 0, box.height, box.width)
    scales = pixel_map(lattice, box, whole).scale
    source = GeoBox(crs, transform, 1, width).window(window.row_off, window.col_off, *window.shape)
    places = PixelMap(box.crs, box.transform, source, source_width=box.width)
    extent = places.extent()
    if extent is None or not all(map(math.isfinite, scales)) or not places.is_complete():
        return entire
    row_min, col_min, row_max, col_max = extent
    if places.period is not None and col_max - col_min > abs(places.period) / 2:
        return entire
    # Where the grid's projection ends, the last corner that has a place may be a pixel of the file short.
    beside = [2 + math.ceil(1 / scale) for scale in scales]
    cover = Window(
        max(math.floor(row_min) - beside[0], 0),
        max(math.floor(col_min) - beside[1], 0),
        min(math.ceil(row_max) + beside[0], box.height),
        min(math.ceil(col_max) + beside[1], box.width),
    )
    return cover if min(cover.shape) > 0 else None


def shift_between(asset: PlannedAsset, box: GeoBox, whole: GeoBox) -> tuple[int, int] | None:
    """Give the row and column of a file's level at which a part of a grid begins, or None where they are not one grid.

    The whole grid decides: a part of it lies on the pixels of a file no better than the whole does.
    """
    if asset.transform is None:
        return round(box.transform[5]), round(box.transform[2])
    x_size, _, x_off, _, y_size, y_off = asset.transform
    a, _, c, _, e, f = whole.transform
    near_x = abs(x_size - a) * max(whole.width, asset.width) <= GRID_TOLERANCE * abs(x_size)
    near_y = abs(y_size - e) * max(whole.height, asset.height) <= GRID_TOLERANCE * abs(y_size)
    if not near_x or not near_y or not same_crs(asset.crs, box.crs):
        return None
    rows = (f - y_off) / y_size + round((box.transform[5] - f) / e)
    cols = (c - x_off) / x_size + round((box.transform[2] - c) / a)
    revolution = revolution_at(box.crs, box.transform[2])
    if revolution is not None:
        period = revolution / x_size
        cols -= period * round((cols + (box.width - asset.width) / 2) / period)
        is_within = cols + GRID_TOLERANCE >= 0 and cols + box.width <= asset.width + GRID_TOLERANCE
        is_around = cols <= GRID_TOLERANCE and asset.width <= cols + box.width + GRID_TOLERANCE
        if box.width + asset.width > abs(period) and not is_within and not is_around:
            # They may meet at both ends.
            return None
    if abs(rows - round(rows)) > GRID_TOLERANCE or abs(cols - round(cols)) > GRID_TOLERANCE:
        return None
    return round(rows), round(cols)


def touches(plan: TilePlan, rows: npt.NDArray[np.int64], asset: PlannedAsset, window: Window) -> npt.NDArray[np.bool_]:
    """Say which rows of a plan, all of one file, have tiles that a window touches."""
    top, left = plan.tile_row[rows] * asset.format.tile_height, plan.tile_col[rows] * asset.format.tile_width
    tiles = (left, top, left + plan.width[rows], top + plan.height[rows])
    return share_pixels(tiles, (window.col_off, window.row_off, window.col_end, window.row_end))


fork.on_fork(pixel_map.cache_clear)
