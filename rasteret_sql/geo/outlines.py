"""The pixels of a grid that lie inside many geometries, or of which they cover a part, found together.

`inside.Outline` answers the same for one geometry, as an image. Here the edges of all geometries are arrays, so that a
thousand small ones take no longer than a large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rasteret_sql.geo.inside import DECIMALS, cut_edges, edge_points, repeated, row_crossings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

_POINT, _POLYGON = 0, 3  # Shapely's numbers
#: Less than this part of a pixel is what rounding leaves of sums that are 0.
_LEAST: Final = 1e-12
#: Pixels of windows whose covered parts are worked on at a time, unless one window has more.
_CHUNK_PIXELS: Final = 1 << 20


class GridPixels(NamedTuple):
    """Pixels of windows, window by window, and row by row in each.

    Attributes:
        window: number of the window of each pixel, ascending.
        row, col: of each pixel, in the grid.
        part: how much of the pixel is covered, above 0; None where that is not asked.
    """

    window: Numbers
    row: Numbers
    col: Numbers
    part: Floats | None


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Geometries in pixels of a grid, as edges; arrays have one element per edge, geometry by geometry.

    Attributes:
        starts, ends: in pixels (x, y), shape (n, 2); both are the point of a point.
        part: number of the point, line or polygon that the edge is of.
        kind: Shapely's number of the kind of the part.
        bounds: the edges of geometry i are `bounds[i]` to `bounds[i + 1]`, exclusive.
        is_single: whether a geometry is one polygon, of each geometry.
    """

    starts: Floats
    ends: Floats
    part: Numbers
    kind: Numbers
    bounds: Numbers
    is_single: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, geometries: npt.NDArray[Any], *, covers: bool = False) -> Outlines:
        """Take Shapely geometries.

        Args:
            geometries: in pixels: x is columns, y is rows, corners at integers. None and empty ones have no edges.
            covers: for `covered`: polygons alone, valid, and with the inside to the left of their edges where y goes
                up. Otherwise for `inside`.
        """
        import shapely

        count = len(geometries)
        if covers and not (is_valid := shapely.is_valid(geometries) | shapely.is_missing(geometries)).all():
            geometries = np.where(is_valid, geometries, shapely.make_valid(geometries))
        parts, owner = _simple_parts(geometries)
        if covers:
            is_polygon = shapely.get_type_id(parts) == _POLYGON
            parts, owner = shapely.orient_polygons(parts[is_polygon]), owner[is_polygon]
        kinds = shapely.get_type_id(parts)
        areas, others = np.flatnonzero(kinds == _POLYGON), np.flatnonzero(kinds != _POLYGON)
        rings, ring_of = shapely.get_rings(parts[areas], return_index=True)
        lines, line_of = np.concatenate([rings, parts[others]]), np.concatenate([areas[ring_of], others])
        order = np.argsort(line_of, kind="stable")
        points, line_no = shapely.get_coordinates(lines[order], return_index=True)
        # Noise beyond these decimals would decide about pixels whose edges a geometry follows.
        points, part_of = np.round(points, DECIMALS), line_of[order][line_no]
        is_point = kinds[part_of] == _POINT
        # The last point of a line begins no edge.
        begins = np.flatnonzero(is_point | np.append(line_no[1:] == line_no[:-1], False)[: len(line_no)])
        ends = np.where(is_point[begins], begins, begins + 1)
        part = part_of[begins]
        return cls(
            points[begins],
            points[ends],
            part,
            kinds[part].astype(np.int64),
            np.searchsorted(owner[part], np.arange(count + 1)),
            np.bincount(owner, minlength=count) == np.bincount(owner[areas], minlength=count),
        )

    def inside(self, numbers: Numbers, windows: Numbers, *, all_touched: bool = False) -> GridPixels:
        """Find the pixels inside geometries, by the rule of `Outline.inside`.

        Args:
            numbers: of geometries.
            windows: (row_off, col_off, height, width) of the window of each in which pixels are wanted, shape (n, 4).
            all_touched: take all pixels of which a polygon covers some part.

        Example:
            >>> import shapely
            >>> outlines = Outlines.of(np.array([shapely.box(0.6, 0, 3, 1.4)], object))
            >>> outlines.inside(np.array([0]), np.array([(0, 0, 2, 3)])).col.tolist()
            [1, 2]
        """
        edges, window_of = self._near(numbers, windows)
        found = [self._centres(edges, window_of, windows)]
        kind = self.kind[edges]
        is_run_through = (kind != _POINT) & ((kind != _POLYGON) | all_touched)
        if is_run_through.any():
            found.append(self._run_through(edges[is_run_through], window_of[is_run_through], windows))
        if (is_point := kind == _POINT).any():
            found.append(_pixels_at(self.starts[edges[is_point]], window_of[is_point], windows))
        if len(found) == 1 and self.is_single[numbers].all():
            return GridPixels(*found[0], None)
        window, row, col = (np.concatenate(each) for each in zip(*found, strict=True))
        return GridPixels(*_distinct(window, row, col, windows), None)

    def covered(self, numbers: Numbers, windows: Numbers) -> GridPixels:
        """Find the pixels that polygons cover a part of, and the part.

        An edge takes from its row of pixels what lies to its right. Edges are cut at the lines between pixels, each
        piece adds an area to its pixel, and sums along rows give the parts, exact to the last digits.

        Args:
            numbers, windows: as in `inside`.

        Example:
            >>> import shapely
            >>> outlines = Outlines.of(np.array([shapely.box(0.5, 0, 3, 1.5)], object), covers=True)
            >>> outlines.covered(np.array([0]), np.array([(0, 0, 2, 3)])).part
            array([0.5 , 1.  , 1.  , 0.25, 0.5 , 0.5 ])
        """
        found = [
            (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)),
            *(self._parts(numbers, windows, some) for some in _chunks(windows)),
        ]
        window, row, col, part = (np.concatenate(each) for each in zip(*found, strict=True))
        order = np.argsort(window, kind="stable")
        return GridPixels(window[order], row[order], col[order], part[order])

    def _near(self, numbers: Numbers, windows: Numbers) -> tuple[Numbers, Numbers]:
        """Give the edges that decide about the pixels of windows, and the window of each."""
        first = self.bounds[numbers]
        window_of, step = repeated(self.bounds[numbers + 1] - first)
        edges = first[window_of] + step
        y, other = self.starts[edges, 1], self.ends[edges, 1]
        row_off, height = windows[window_of, 0], windows[window_of, 2]
        # Edges beside the window decide about its pixels too.
        near = (np.minimum(y, other) <= row_off + height) & (np.maximum(y, other) >= row_off)
        return edges[near], window_of[near]

    def _centres(self, edges: Numbers, window_of: Numbers, windows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Find the pixels whose centres lie inside polygons; those of several polygons of a geometry several times."""
        is_area = self.kind[edges] == _POLYGON
        edges, window_of = edges[is_area], window_of[is_area]
        row_off, col_off, height, width = windows[window_of].T
        edge, row, right = row_crossings(self.starts[edges], self.ends[edges], row_off, row_off + height)
        col = np.clip(right, col_off[edge], (col_off + width)[edge]).astype(np.int64)
        order = np.lexsort((col, row, self.part[edges[edge]], window_of[edge]))
        window, row, col = window_of[edge][order], row[order], col[order]
        # A ring is closed, so a row crosses it an even number of times: the inside begins, and ends.
        first = col[::2]
        span, step = repeated(col[1::2] - first)
        return window[::2][span], row[::2][span], first[span] + step

    def _run_through(self, edges: Numbers, window_of: Numbers, windows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Find the pixels that edges run through."""
        is_area = self.kind[edges] == _POLYGON
        edge, points = edge_points(self.starts[edges], self.ends[edges], windows, window_of, is_area)
        return _pixels_at(points, window_of[edge], windows)

    def _parts(self, numbers: Numbers, windows: Numbers, some: Numbers) -> tuple[Numbers, Numbers, Numbers, Floats]:
        """Find the pixels that polygons cover in some of the windows, and their parts; see `covered`."""
        edges, near_of = self._near(numbers[some], windows[some])
        row_off, col_off, height, width = windows[some].T
        offset = np.stack([col_off, row_off], axis=1)[near_of]
        starts, ends = self.starts[edges] - offset, self.ends[edges] - offset
        shape = np.stack([np.zeros_like(near_of), np.zeros_like(near_of), height[near_of], width[near_of]])
        edge, begin, end = cut_edges(starts, ends, shape)
        first, last = (starts[edge] + (ends - starts)[edge] * share[:, None] for share in (begin, end))
        middle = (first + last) / 2
        row, rise, window = np.floor(middle[:, 1]).astype(np.int64), last[:, 1] - first[:, 1], near_of[edge]
        is_in = (row >= 0) & (row < height[window])
        row, rise, window = row[is_in], rise[is_in], window[is_in]
        # What lies to the left of the window takes whole rows of it, and what lies to the right nothing.
        x = np.clip(middle[is_in, 0], 0, width[window])
        col = np.floor(x).astype(np.int64)
        beside = rise * (x - col)
        # The windows lie below each other, and columns beyond them take what lies to their right.
        top, across = np.cumsum(height) - height, int(width.max()) + 2
        place = (row + top[window]) * across + col
        taken = np.bincount(
            np.concatenate([place, place + 1]), np.concatenate([rise - beside, beside]), int(height.sum()) * across
        )
        covered: Floats = np.clip(-np.cumsum(taken.reshape(-1, across), axis=1), 0.0, 1.0)
        covered[covered < _LEAST] = 0.0
        window, step = repeated(height)
        covered[np.arange(across) >= width[window][:, None]] = 0.0
        line, col = np.nonzero(covered)
        window, row = window[line], step[line]
        return some[window], row + row_off[window], col + col_off[window], covered[line, col]


def _simple_parts(geometries: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Numbers]:
    """Give the points, lines and polygons that geometries are made of, and the geometry of each."""
    import shapely

    parts, owner = shapely.get_parts(geometries, return_index=True)
    while (shapely.get_type_id(parts) > _POLYGON).any():
        parts, part_of = shapely.get_parts(parts, return_index=True)
        owner = owner[part_of]
    is_there = ~shapely.is_empty(parts)
    return parts[is_there], owner[is_there]


def _pixels_at(points: Floats, window_of: Numbers, windows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Give the pixels at points that lie in their windows."""
    col, row = np.floor(points).T
    row_off, col_off, height, width = windows[window_of].T
    seen = (row >= row_off) & (row < row_off + height) & (col >= col_off) & (col < col_off + width)
    return window_of[seen], row[seen].astype(np.int64), col[seen].astype(np.int64)


def _distinct(window: Numbers, row: Numbers, col: Numbers, windows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Give each pixel once, window by window and row by row."""
    row_off, col_off, height, width = windows.T
    ends = np.cumsum(height * width)
    place = (ends - height * width)[window] + (row - row_off[window]) * width[window] + col - col_off[window]
    place = np.unique(place)
    window = np.searchsorted(ends, place, side="right")
    row, col = np.divmod(place - (ends - height * width)[window], width[window])
    return window, row + row_off[window], col + col_off[window]


def _chunks(windows: Numbers) -> Iterator[Numbers]:
    """Give the numbers of windows in groups of similar width, of so many pixels each."""
    order = np.argsort(windows[:, 3], kind="stable")
    begin, rows = 0, 0
    for place, (height, width) in enumerate(windows[order, 2:].tolist()):
        if place > begin and (rows + height) * width > _CHUNK_PIXELS:
            yield order[begin:place]
            begin, rows = place, 0
        rows += height
    if begin < len(order):
        yield order[begin:]
