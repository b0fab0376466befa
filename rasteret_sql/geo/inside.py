"""Which pixels of a grid lie inside a geometry, as GDAL decides it. Pure NumPy but for Shapely's coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

#: Decimals of a pixel that count. What projection and division leave beyond them is noise, which would decide about
#: pixels whose edges a geometry follows.
_DECIMALS = 6
#: Pixels that are worked on at a time; each takes 9 bytes meanwhile.
_CHUNK_PIXELS = 1 << 22
_POINT, _POLYGON = 0, 3  # Shapely's numbers


def pixels_inside(geometry: Any, shape: tuple[int, int], *, all_touched: bool = False) -> npt.NDArray[np.bool_]:
    """Say which pixels are inside a geometry.

    Args:
        geometry: a Shapely geometry in pixels: x is columns, y is rows, corners at integers. None and empty ones have
            no pixels inside.
        shape: (height, width) of the grid.
        all_touched: take all pixels of which a polygon covers some part. Otherwise a pixel is inside a polygon where
            its centre is. Points and lines always take the pixels that they run through.

    Returns:
        Booleans of `shape`.

    Example:
        >>> import shapely
        >>> pixels_inside(shapely.box(0.6, 0, 3, 1.4), (2, 3)).astype(int)
        array([[0, 1, 1],
               [0, 0, 0]])
    """
    import shapely

    inside = np.zeros(shape, np.bool_)
    for part in _simple_parts(geometry):
        kind = shapely.get_type_id(part)
        if kind == _POINT:
            _mark(inside, np.round(shapely.get_coordinates(part), _DECIMALS))
            continue
        lines = shapely.get_rings(part) if kind == _POLYGON else part
        points, line_no = shapely.get_coordinates(lines, return_index=True)
        is_edge = line_no[1:] == line_no[:-1]
        points = np.round(points, _DECIMALS)
        starts, ends = points[:-1][is_edge], points[1:][is_edge]
        if kind == _POLYGON:
            _mark_centres(inside, starts, ends)
        if kind != _POLYGON or all_touched:
            _mark_edges(inside, starts, ends, is_area=kind == _POLYGON)
    return inside


def _simple_parts(geometry: Any) -> list[Any]:
    """Give the points, lines and polygons that a geometry is made of."""
    import shapely

    if geometry is None or geometry.is_empty:
        return []
    parts = [geometry]
    while any(shapely.get_type_id(part) > _POLYGON for part in parts):
        parts = shapely.get_parts(parts).tolist()
    return [part for part in parts if not part.is_empty]


def _mark_centres(inside: npt.NDArray[np.bool_], starts: Floats, ends: Floats) -> None:
    """Mark the pixels whose centres are inside rings: those with an odd number of edges to their left."""
    height, width = inside.shape
    is_down = starts[:, 1] < ends[:, 1]
    upper, lower = np.where(is_down[:, None], starts, ends), np.where(is_down[:, None], ends, starts)
    first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
    end = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64)
    crosses = first < end
    if not crosses.any():
        return
    upper, lower, first, end = upper[crosses], lower[crosses], first[crosses], end[crosses]
    slope = (lower[:, 0] - upper[:, 0]) / (lower[:, 1] - upper[:, 1])
    left, right = _span(upper[:, 0], lower[:, 0], width)
    if left >= right:
        return
    rows_at_once = max(_CHUNK_PIXELS // (right - left + 1), 1)
    for top in range(int(first.min()), int(end.max()), rows_at_once):
        bottom = min(top + rows_at_once, int(end.max()))
        begin, count = np.maximum(first, top), np.minimum(end, bottom) - np.maximum(first, top)
        edge, step = _repeated(np.maximum(count, 0))
        row = begin[edge] + step
        col = np.ceil(upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope[edge] - 0.5)
        place = (row - top) * (right - left + 1) + np.clip(col, left, right).astype(np.int64) - left
        turns = np.bincount(place, minlength=(bottom - top) * (right - left + 1)).astype(np.uint8)
        turns = np.add.accumulate(turns.reshape(bottom - top, -1), axis=1, dtype=np.uint8)
        inside[top:bottom, left:right] |= (turns[:, :-1] & 1).astype(np.bool_)


def _mark_edges(inside: npt.NDArray[np.bool_], starts: Floats, ends: Floats, *, is_area: bool) -> None:
    """Mark the pixels that edges run through: they are cut at the lines between pixels, and each piece lies in one."""
    height, width = inside.shape
    seen = (
        (np.maximum(starts, ends) >= 0).all(axis=1) & (np.minimum(starts, ends) <= (width, height)).all(axis=1)
    )  # fmt: skip
    starts, ends = starts[seen], ends[seen]
    if not len(starts):
        return
    edges, shares = [np.arange(len(starts))] * 2, [np.zeros(len(starts)), np.ones(len(starts))]
    for axis, size in ((0, width), (1, height)):
        low, high = np.minimum(starts[:, axis], ends[:, axis]), np.maximum(starts[:, axis], ends[:, axis])
        first = np.clip(np.ceil(low), 0, size + 1).astype(np.int64)
        count = np.clip(np.floor(high) + 1, 0, size + 1).astype(np.int64) - first
        edge, step = _repeated(np.where(high > low, np.maximum(count, 0), 0))
        edges.append(edge)
        shares.append((first[edge] + step - starts[edge, axis]) / (ends[edge, axis] - starts[edge, axis]))
    edge, share = np.concatenate(edges), np.concatenate(shares)
    order = np.lexsort((share, edge))
    edge, share = edge[order], share[order]
    is_piece = edge[1:] == edge[:-1]
    edge, middle = edge[1:][is_piece], ((share[1:] + share[:-1]) / 2)[is_piece]
    is_long = (share[1:] > share[:-1])[is_piece]
    points = starts[edge] + (ends[edge] - starts[edge]) * middle[:, None]
    if is_area:
        # A polygon that ends between two pixels has nothing of the one beyond, and all of the other.
        is_long &= (np.abs(points - np.round(points)) > 10.0**-_DECIMALS / 2).all(axis=1)
    _mark(inside, points[is_long])


def _mark(inside: npt.NDArray[np.bool_], points: Floats) -> None:
    height, width = inside.shape
    cols, rows = np.floor(points).T
    seen = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    inside[rows[seen].astype(np.int64), cols[seen].astype(np.int64)] = True


def _span(x: Floats, other: Floats, width: int) -> tuple[int, int]:
    """First column and end of what lies between the outermost x."""
    left = np.clip(np.floor(min(x.min(), other.min())), 0, width)
    right = np.clip(np.ceil(max(x.max(), other.max())), 0, width)
    return int(left), int(right)


def _repeated(count: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give each number `count` times, and which time it is."""
    number = np.repeat(np.arange(len(count)), count)
    return number, np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
