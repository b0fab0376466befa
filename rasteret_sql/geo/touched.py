"""Which pixels and tiles of a raster an area touches.

One rule: pixels and tiles are half open. An area touches those with which it shares more than an edge, so that areas
side by side share no pixel. Points and lines touch all pixels that they meet, also at an edge. What projection and
division leave of rounding, `NOISE` of a pixel, decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.geo.antimeridian import aligned
from rasteret_sql.geo.crs import period_of, same_crs
from rasteret_sql.geo.project import clipped, is_wide, project_each, project_geometries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Tiles = npt.NDArray[np.int64]
    """(tile_row, tile_col) of each, shape (n, 2)."""

#: Part of a pixel by which an area may reach into the next pixel and not touch it.
NOISE: Final = 1e-6


class ProjectedGeometries:
    """Geometries that are found in the rasters of many CRSs; each CRS is projected to once.

    Geometries that a CRS cannot express as a whole are cut to what lies around a raster, for each raster.

    Args:
        geometries: array of Shapely geometries, shape (n,); None and empty ones touch nothing.
        crs: of the geometries.
    """

    def __init__(self, geometries: npt.NDArray[Any], crs: str) -> None:
        self._geometries, self._crs = geometries, crs
        self._known: dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]] = {}

    def place(
        self, raster_crs: str, transform: Sequence[float], shape: tuple[int, int]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Find the geometries that touch a raster, and the window of each.

        Args:
            raster_crs: of the raster. Where x repeats itself, geometries are moved to where the raster counts its x.
            transform: affine (a, 0, c, 0, e, f) of the level.
            shape: (height, width) of the level.

        Returns:
            The numbers of the geometries that touch it, shape (m,); these in pixels, x is columns, y is rows, corners
            at integers; and their windows (row_off, col_off, row_end, col_end), ends exclusive, cut to the raster,
            shape (m, 4).

        Raises:
            InvalidArgumentError: a CRS is not known, nothing leads from one to the other, or the raster lies where the
                CRS of the geometries cannot express it.
        """
        import shapely

        if raster_crs not in self._known:
            self._known[raster_crs] = self._projected(raster_crs)
        geometries, is_partial = self._known[raster_crs]
        a, _, c, _, e, f = transform
        (low, high), (bottom, top) = sorted((c, c + a * shape[1])), sorted((f, f + e * shape[0]))
        if is_partial.any():
            near = clipped(self._geometries[is_partial], self._crs, (low, bottom, high, top), raster_crs)
            geometries = geometries.copy()
            geometries[is_partial] = project_geometries(near, self._crs, raster_crs)
        geometries = aligned(geometries, period_of(raster_crs), low, high)
        bounds = (shapely.bounds(geometries) - (c, f, c, f)) / (a, e, a, e)
        corners = np.sort(bounds.reshape(-1, 2, 2), axis=1)
        windows = windows_touched(corners.reshape(-1, 4), shape)
        numbers = np.flatnonzero((windows[:, :2] < windows[:, 2:]).all(axis=1))
        in_pixels = shapely.transform(geometries[numbers], lambda points: (points - (c, f)) / (a, e))
        return numbers, in_pixels, windows[numbers]

    def _projected(self, raster_crs: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Give the geometries in another CRS, None where they must be cut first, and which these are."""
        if same_crs(self._crs, raster_crs):
            return self._geometries, np.zeros(len(self._geometries), np.bool_)
        wide = is_wide(self._geometries, self._crs)
        others = self._geometries.copy()
        others[wide] = None
        projected, is_cut = project_each(others, self._crs, raster_crs)
        return projected, wide | is_cut


def pixels_touched(bounds: npt.ArrayLike) -> Floats:
    """Give the pixels that bounds touch, on a grid without end.

    Args:
        bounds: (xmin, ymin, xmax, ymax) of each in pixels, shape (n, 4).

    Returns:
        (col_off, row_off, col_end, row_end) of each, whole numbers, ends exclusive; shape (n, 4). Bounds without extent
        touch one pixel: on the border of two, the one that begins there.
    """
    low, high = np.hsplit(np.asarray(bounds, np.float64).reshape(-1, 4), 2)
    start = np.floor(low + NOISE)
    return np.hstack([start, np.maximum(np.ceil(high - NOISE), start + 1)])


def windows_touched(bounds: npt.ArrayLike, shape: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Give the windows of rasters that bounds touch.

    Args:
        bounds: (xmin, ymin, xmax, ymax) of each in pixels, shape (n, 4); NaN touches nothing.
        shape: (height, width) of the level, or of the level of each; shape (2,) or (n, 2).

    Returns:
        (row_off, col_off, row_end, col_end) of each, ends exclusive, cut to the raster; shape (n, 4). Windows that
        touch nothing of it have no rows or no columns.

    Example:
        >>> windows_touched([(1, 2.5, 3, 4)], (4, 4)).tolist()
        [[2, 1, 4, 3]]
    """
    pixels = pixels_touched(bounds)
    starts, ends, sizes = pixels[:, 1::-1], pixels[:, :1:-1], np.asarray(shape, np.float64)
    # NaN is not less than anything.
    is_touched: npt.NDArray[np.bool_] = np.all((starts < sizes) & (ends > 0), axis=1)
    windows = np.hstack([np.maximum(starts, 0), np.minimum(ends, sizes)])
    return np.where(is_touched[:, None], windows, 0).astype(np.int64)


def share_pixels(first: Iterable[npt.NDArray[Any]], second: Iterable[Any]) -> npt.NDArray[np.bool_]:
    """Say which boxes share more than an edge with others.

    Args:
        first: (xmin, ymin, xmax, ymax) in pixels, ends exclusive: four arrays.
        second: the same, as arrays or numbers that broadcast with those.
    """
    xmin, ymin, xmax, ymax = first
    others_xmin, others_ymin, others_xmax, others_ymax = second
    shared: npt.NDArray[np.bool_] = (
        (xmin < others_xmax) & (xmax > others_xmin) & (ymin < others_ymax) & (ymax > others_ymin)
    )
    return shared


def tiles_of_window(window: Sequence[int], tile_shape: tuple[int, int]) -> Tiles:
    """Give (tile_row, tile_col) of the tiles of a window, shape (n, 2), row by row.

    Args:
        window: (row_off, col_off, row_end, col_end), ends exclusive, not empty.
        tile_shape: (height, width) of a tile.
    """
    row_off, col_off, row_end, col_end = window
    rows, cols = np.meshgrid(
        np.arange(row_off // tile_shape[0], (row_end - 1) // tile_shape[0] + 1),
        np.arange(col_off // tile_shape[1], (col_end - 1) // tile_shape[1] + 1),
        indexing="ij",
    )
    return np.stack([rows.ravel(), cols.ravel()], axis=1).astype(np.int64)


def tiles_touched(geometry: Any, window: Sequence[int], tile_shape: tuple[int, int], shape: tuple[int, int]) -> Tiles:
    """Give the tiles of a window that a geometry touches.

    Args:
        geometry: a Shapely geometry in pixels; see `ProjectedGeometries`.
        window: (row_off, col_off, row_end, col_end), ends exclusive.
        tile_shape: (height, width) of a tile.
        shape: (height, width) of the level; tiles at its edges are cut off there.

    Returns:
        (tile_row, tile_col) of each, shape (n, 2), row by row.
    """
    return tiles_touched_by_each(np.array([geometry], object), np.array([window]), tile_shape, shape)[1]


def tiles_touched_by_each(
    geometries: npt.NDArray[Any],
    windows: npt.NDArray[np.int64],
    tile_shape: tuple[int, int],
    shape: tuple[int, int],
) -> tuple[npt.NDArray[np.int64], Tiles]:
    """Give the tiles of windows that geometries touch; the arguments are those of `tiles_touched`, of each geometry.

    Returns:
        The number of the geometry, ascending, and (tile_row, tile_col) of each of its tiles, row by row.

    Example:
        >>> import shapely
        >>> boxes = np.array([shapely.box(0, 0, 1, 1), shapely.box(3, 0, 5, 1)], object)
        >>> number, tiles = tiles_touched_by_each(boxes, np.array([(0, 0, 1, 1), (0, 3, 1, 5)]), (4, 4), (8, 8))
        >>> number.tolist(), tiles.tolist()
        ([0, 1, 1], [[0, 0], [0, 0], [0, 1]])
    """
    first = windows[:, :2] // tile_shape
    down, across = ((windows[:, 2:] - 1) // tile_shape + 1 - first).T
    number = np.repeat(np.arange(len(windows)), down * across)
    step = np.arange(len(number)) - np.repeat(np.cumsum(down * across) - down * across, down * across)
    tiles = first[number] + np.stack(np.divmod(step, across[number]), axis=1)
    starts = tiles * tile_shape
    touched = _are_touched(geometries, number, np.hstack([starts, np.minimum(starts + tile_shape, shape)]))
    return number[touched], tiles[touched]


def is_touched(geometry: Any, windows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say which windows a geometry touches.

    Args:
        geometry: a Shapely geometry in pixels; see `ProjectedGeometries`.
        windows: (row_off, col_off, row_end, col_end) of each, ends exclusive, shape (n, 4).

    Returns:
        Booleans, shape (n,).
    """
    return _are_touched(np.array([geometry], object), np.zeros(len(windows), np.int64), windows)


def _are_touched(
    geometries: npt.NDArray[Any], number: npt.NDArray[np.int64], windows: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Say of each window whether the geometry of a number touches it."""
    import shapely

    bounds = shapely.bounds(geometries)
    xmin, ymin, xmax, ymax = bounds[number].T
    rows, cols, row_ends, col_ends = windows.T
    touched: npt.NDArray[np.bool_] = np.bincount(number, minlength=len(geometries))[number] == 1
    touched &= (rows <= ymin) & (cols <= xmin) & (row_ends >= ymax) & (col_ends >= xmax)
    others = np.flatnonzero(~touched)
    if not len(others):
        return touched
    # What is thinner than the noise is a line.
    is_area = (shapely.area(geometries) > 0) & ((bounds[:, 2:] - bounds[:, :2]).min(axis=1) > 2 * NOISE)
    margin = np.where(is_area, NOISE, 0.0)[number]
    boxes = shapely.box(cols + margin, rows + margin, col_ends - margin, row_ends - margin)[others]
    needed = np.zeros(len(geometries), np.bool_)
    needed[number[others]] = True
    valid = geometries.copy()
    is_broken = needed & ~shapely.is_valid(geometries)
    valid[is_broken] = shapely.make_valid(geometries[is_broken])
    shapely.prepare(valid[needed])
    touched[others] = shapely.intersects(valid[number[others]], boxes)
    return touched
