"""Which pixels of a grid lie inside a geometry, as GDAL decides it. Pure NumPy but for Shapely's coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Window: TypeAlias = tuple[int, int, int, int]
"""(row_off, col_off, height, width) in pixels of a grid."""

#: Decimals of a pixel that count. What projection and division leave beyond them is noise, which would decide about
#: pixels whose edges a geometry follows.
DECIMALS = 6
#: Points this close to a line between pixels lie on it.
_LEAST = 10.0**-DECIMALS / 2
#: Pixels that are worked on at a time; each takes 9 bytes meanwhile.
_CHUNK_PIXELS = 1 << 22
_POINT, _POLYGON = 0, 3  # Shapely's numbers


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A point, line or polygon of an outline.

    Attributes:
        kind: Shapely's number of its kind.
        starts, ends: its edges in pixels (x, y), shape (n, 2), those of holes too; both are the points of a point.
    """

    kind: int
    starts: Floats
    ends: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A geometry in pixels of a grid, as edges.

    A window of the grid has the same pixels inside, whatever other windows are looked at: positions are counted from
    the corner of the grid.

    Attributes:
        parts: what it is made of.
    """

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, geometry: Any) -> Outline:
        """Take a Shapely geometry.

        Args:
            geometry: in pixels: x is columns, y is rows, corners at integers. None and empty ones have no pixels
                inside.
        """
        import shapely

        parts = []
        for part in _simple_parts(geometry):
            kind = int(shapely.get_type_id(part))
            lines = shapely.get_rings(part) if kind == _POLYGON else part
            points, line_no = shapely.get_coordinates(lines, return_index=True)
            points = np.round(points, DECIMALS)
            is_edge = line_no[1:] == line_no[:-1]
            edges = (points, points) if kind == _POINT else (points[:-1][is_edge], points[1:][is_edge])
            parts.append(Part(kind, *edges))
        return cls(tuple(parts))

    def near(self, window: Window) -> Outline:
        """Give what decides about the pixels of a window; other edges are left out.

        Args:
            window: (row_off, col_off, height, width) in pixels of the grid; it may reach beyond the grid.
        """
        row_off, _, height, _ = window
        parts = []
        for part in self.parts:
            low, high = np.minimum(part.starts, part.ends)[:, 1], np.maximum(part.starts, part.ends)[:, 1]
            # Edges beside the window decide about its pixels too.
            near = (low <= row_off + height) & (high >= row_off)
            if near.any():
                parts.append(Part(part.kind, part.starts[near], part.ends[near]))
        return Outline(tuple(parts))

    def inside(self, window: Window, *, all_touched: bool = False) -> npt.NDArray[np.bool_]:
        """Say which pixels of a window are inside.

        Args:
            window: (row_off, col_off, height, width) in pixels of the grid.
            all_touched: take all pixels of which a polygon covers some part. Otherwise a pixel is inside a polygon
                where its centre is. Points and lines always take the pixels that they run through.

        Returns:
            Booleans (height, width).

        Example:
            >>> import shapely
            >>> Outline.of(shapely.box(0.6, 0, 3, 1.4)).inside((0, 0, 2, 3)).astype(int)
            array([[0, 1, 1],
                   [0, 0, 0]])
        """
        row_off, col_off, height, width = window
        inside = np.zeros((height, width), np.bool_)
        for part in self.near(window).parts:
            if part.kind == _POINT:
                _mark(inside, part.starts, (row_off, col_off))
                continue
            is_area = part.kind == _POLYGON
            if is_area:
                _mark_centres(inside, part.starts, part.ends, (row_off, col_off))
            if not is_area or all_touched:
                _mark_edges(inside, part.starts, part.ends, (row_off, col_off), is_area=is_area)
        return inside

    def whole_tiles(
        self, tiles: Window, tile_shape: tuple[int, int], shape: tuple[int, int], *, margin: float = _LEAST
    ) -> npt.NDArray[np.bool_]:
        """Say which tiles of a grid lie inside a polygon of the outline as a whole.

        No edge runs through such a tile, so all of its pixels are on the side on which its first pixel is.

        Args:
            tiles: (row_off, col_off, height, width) in tiles of the grid.
            tile_shape: (height, width) of a tile in pixels.
            shape: (height, width) of the grid in pixels; tiles at its edges are cut off there.
            margin: part of a pixel. Edges that stay so close to the border of a tile count as outside of it.

        Returns:
            Booleans (height, width) of the window of tiles.

        Example:
            >>> import shapely
            >>> Outline.of(shapely.box(0, 0, 8, 5)).whole_tiles((0, 0, 2, 2), (4, 4), (8, 8)).astype(int)
            array([[1, 1],
                   [0, 0]])
        """
        whole = np.zeros(tiles[2:], np.bool_)
        size = np.array(tile_shape[::-1], np.float64)
        for part in self.parts:
            if part.kind != _POLYGON:
                continue
            inside = np.zeros_like(whole)
            # The centre of the first pixel of a tile becomes the centre of a pixel.
            starts, ends = ((points - 0.5) / size + 0.5 for points in (part.starts, part.ends))
            _mark_centres(inside, starts, ends, tiles[:2])
            whole |= inside & ~_crossed_tiles(part, tiles, tile_shape, shape, margin)
        return whole


def _crossed_tiles(
    part: Part, tiles: Window, tile_shape: tuple[int, int], shape: tuple[int, int], margin: float
) -> npt.NDArray[np.bool_]:
    """Mark the tiles that edges run through, beyond a margin at the border of each."""
    size = np.array(tile_shape[::-1], np.float64)
    crossed = np.zeros(tiles[2:], np.bool_)
    corner, extent = np.array(tiles[1::-1], np.float64), np.array(tiles[:1:-1], np.float64)
    starts, ends = part.starts / size, part.ends / size
    near = (np.maximum(starts, ends) >= corner).all(axis=1) & (np.minimum(starts, ends) <= corner + extent).all(axis=1)
    starts, ends = starts[near], ends[near]
    edge, begin, end = cut_edges(starts, ends, tiles)
    first, last = (starts[edge] + (ends - starts)[edge] * share[:, None] for share in (begin, end))
    cell = np.floor((first + last) / 2)
    low, high = cell * size, np.minimum((cell + 1) * size, shape[::-1])
    is_in = (np.maximum(first, last) * size > low + margin).all(axis=1)
    is_in &= (np.minimum(first, last) * size < high - margin).all(axis=1)
    _mark(crossed, cell[is_in], tiles[:2])
    return crossed


def _simple_parts(geometry: Any) -> list[Any]:
    """Give the points, lines and polygons that a geometry is made of."""
    import shapely

    if geometry is None or geometry.is_empty:
        return []
    parts = [geometry]
    while any(shapely.get_type_id(part) > _POLYGON for part in parts):
        parts = shapely.get_parts(parts).tolist()
    return [part for part in parts if not part.is_empty]


def _mark_centres(inside: npt.NDArray[np.bool_], starts: Floats, ends: Floats, corner: tuple[int, int]) -> None:
    """Mark the pixels whose centres are inside rings: those with an odd number of edges to their left."""
    (height, width), (row_off, col_off) = inside.shape, corner
    left, right = _span(starts[:, 0], ends[:, 0], col_off, width)
    first, end = _span(starts[:, 1], ends[:, 1], row_off, height)
    if left >= right:
        return
    rows_at_once = max(_CHUNK_PIXELS // (right - left + 1), 1)
    for top in range(first, end, rows_at_once):
        bottom = min(top + rows_at_once, end)
        _, row, col = row_crossings(starts, ends, top, bottom)
        place = (row - top) * (right - left + 1) + np.clip(col, left, right).astype(np.int64) - left
        turns = np.bincount(place, minlength=(bottom - top) * (right - left + 1)).astype(np.uint8)
        turns = np.add.accumulate(turns.reshape(bottom - top, -1), axis=1, dtype=np.uint8)
        part = inside[top - row_off : bottom - row_off, left - col_off : right - col_off]
        part |= (turns[:, :-1] & 1).astype(np.bool_)


def row_crossings(
    starts: Floats, ends: Floats, top: npt.ArrayLike, bottom: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Find where edges cross the lines through the centres of rows of pixels.

    Args:
        starts, ends: of the edges, in pixels (x, y), shape (n, 2).
        top, bottom: the first row, and the end of the rows, of all edges or of each.

    Returns:
        The edge of each crossing, its row, and the first column whose centre lies to the right of it.
    """
    is_down = (starts[:, 1] < ends[:, 1])[:, None]
    upper, lower = np.where(is_down, starts, ends), np.where(is_down, ends, starts)
    first = np.clip(np.ceil(upper[:, 1] - 0.5), top, bottom).astype(np.int64)
    end = np.clip(np.ceil(lower[:, 1] - 0.5), top, bottom).astype(np.int64)
    crossing = np.flatnonzero(first < end)
    upper, lower = upper[crossing], lower[crossing]
    slope = (lower[:, 0] - upper[:, 0]) / (lower[:, 1] - upper[:, 1])
    edge, step = repeated((end - first)[crossing])
    row = first[crossing][edge] + step
    x = np.round(upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope[edge], DECIMALS)
    # A centre on an edge is inside on the right, and outside on the left, as in GDAL.
    return crossing[edge], row, np.floor(x + 0.5)


def _mark_edges(
    inside: npt.NDArray[np.bool_], starts: Floats, ends: Floats, corner: tuple[int, int], *, is_area: bool
) -> None:
    """Mark the pixels that edges run through."""
    window = (*corner, *inside.shape)
    _, points = edge_points(starts, ends, np.array([window]), np.zeros(len(starts), np.int64), np.array([is_area]))
    _mark(inside, points, corner)


def edge_points(
    starts: Floats,
    ends: Floats,
    windows: npt.NDArray[np.int64],
    window_of: npt.NDArray[np.int64],
    is_area: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find a point of each edge in each pixel that it runs through: edges are cut at the lines between pixels.

    Args:
        starts, ends: of the edges, in pixels (x, y), shape (n, 2).
        windows: (row_off, col_off, height, width) of each window.
        window_of: the window in which pixels of each edge are wanted.
        is_area: whether the edges are those of polygons; of each edge, or of all in an array of one.

    Returns:
        The edge of each point, and the points, shape (m, 2). Some may lie beside their window.
    """
    low, size = windows[:, 1::-1], windows[:, :1:-1]
    seen = (np.maximum(starts, ends) >= low[window_of]).all(axis=1)
    seen &= (np.minimum(starts, ends) <= (low + size)[window_of]).all(axis=1)
    near = np.flatnonzero(seen)
    starts, ends = starts[near], ends[near]
    edge, begin, end = cut_edges(starts, ends, windows[window_of[near]].T)
    is_long, middle = end > begin, (begin + end) / 2
    points = starts[edge] + (ends[edge] - starts[edge]) * middle[:, None]
    # A polygon that ends between two pixels has nothing of the one beyond, and all of the other.
    is_of_area = is_area if len(is_area) == 1 else is_area[near[edge]]
    is_long &= ~is_of_area | (np.abs(points - np.round(points)) > _LEAST).all(axis=1)
    return near[edge[is_long]], points[is_long]


def cut_edges(
    starts: Floats, ends: Floats, window: Window | npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Cut edges at the lines between the pixels of a window.

    Args:
        starts, ends: of the edges, in pixels (x, y), shape (n, 2).
        window: (row_off, col_off, height, width) in pixels of the grid; or one of each for every edge, shape (4, n).

    Returns:
        The edge of each piece, and the shares of that edge at which the piece begins and ends.
    """
    row_off, col_off, height, width = window
    edges, shares = [np.arange(len(starts))] * 2, [np.zeros(len(starts)), np.ones(len(starts))]
    for axis, off, size in ((0, col_off, width), (1, row_off, height)):
        low, high = np.minimum(starts[:, axis], ends[:, axis]), np.maximum(starts[:, axis], ends[:, axis])
        first = np.clip(np.ceil(low), off, off + size + 1).astype(np.int64)
        count = np.clip(np.floor(high) + 1, off, off + size + 1).astype(np.int64) - first
        edge, step = repeated(np.where(high > low, np.maximum(count, 0), 0))
        edges.append(edge)
        shares.append((first[edge] + step - starts[edge, axis]) / (ends[edge, axis] - starts[edge, axis]))
    edge, share = np.concatenate(edges), np.concatenate(shares)
    order = np.lexsort((share, edge))
    edge, share = edge[order], share[order]
    is_piece = edge[1:] == edge[:-1]
    return edge[1:][is_piece], share[:-1][is_piece], share[1:][is_piece]


def _mark(inside: npt.NDArray[np.bool_], points: Floats, corner: tuple[int, int]) -> None:
    height, width = inside.shape
    cols, rows = (np.floor(points) - corner[::-1]).T
    seen = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    inside[rows[seen].astype(np.int64), cols[seen].astype(np.int64)] = True


def _span(x: Floats, other: Floats, off: int, width: int) -> tuple[int, int]:
    """First column and end of what lies between the outermost x, in the columns from `off` on."""
    left = np.clip(np.floor(min(x.min(), other.min())), off, off + width)
    right = np.clip(np.ceil(max(x.max(), other.max())), off, off + width)
    return int(left), int(right)


def repeated(count: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give each number `count` times, and which time it is, from 0 on."""
    number = np.repeat(np.arange(len(count)), count)
    return number, np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
