"""Which part of each pixel of a grid polygons cover. Pure NumPy but for Shapely's coordinates.

An edge takes from its row of pixels what lies to its right. Edges are cut at the lines between pixels, each piece adds
an area to its pixel, and sums along rows give the parts, exact to the last digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

#: Decimals of a pixel that count, as in `geo/inside`: what projection leaves beyond them would cover slivers of pixels
#: whose edges a geometry follows.
_DECIMALS: Final = 6
#: Less than this part of a pixel is what rounding leaves of sums that are 0.
_LEAST: Final = 1e-12


def pixels_covered(geometry: Any, window: tuple[int, int, int, int]) -> Floats:
    """Give the part of each pixel that a geometry covers.

    Args:
        geometry: a Shapely geometry in pixels: x is columns, y is rows, corners at integers. Points and lines cover
            nothing, and neither do None and empty ones.
        window: (row_off, col_off, height, width) of the grid.

    Returns:
        Parts of 0 to 1, shape (height, width).

    Example:
        >>> import shapely
        >>> pixels_covered(shapely.box(0.5, 0, 3, 1.5), (0, 0, 2, 3))
        array([[0.5 , 1.  , 1.  ],
               [0.25, 0.5 , 0.5 ]])
    """
    row_off, col_off, height, width = window
    starts, ends = _edges(geometry)
    starts, ends = starts - (col_off, row_off), ends - (col_off, row_off)
    # Columns beyond the grid take what lies to its right.
    taken = np.zeros((height, width + 2))
    reaches = (np.maximum(starts[:, 1], ends[:, 1]) > 0) & (np.minimum(starts[:, 1], ends[:, 1]) < height)
    first, last = _cut(starts[reaches], ends[reaches], (height, width))
    middle = (first + last) / 2
    row, rise = np.floor(middle[:, 1]).astype(np.int64), last[:, 1] - first[:, 1]
    is_in = (row >= 0) & (row < height)
    row, rise = row[is_in], rise[is_in]
    # What lies to the left of the grid takes whole rows of it, and what lies to the right nothing.
    x = np.clip(middle[is_in, 0], 0, width)
    col = np.floor(x).astype(np.int64)
    beside = rise * (x - col)
    np.add.at(taken, (row, col), rise - beside)
    np.add.at(taken, (row, col + 1), beside)
    covered = np.clip(-np.cumsum(taken[:, :width], axis=1), 0.0, 1.0)
    covered[covered < _LEAST] = 0.0
    return covered


def _edges(geometry: Any) -> tuple[Floats, Floats]:
    """Give the edges of the polygons of a geometry, with the inside to the left where y goes up."""
    import shapely

    if geometry is None or geometry.is_empty:
        return np.empty((0, 2)), np.empty((0, 2))
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
    rings = shapely.get_rings(shapely.orient_polygons(shapely.get_parts(geometry)))
    points, ring_no = shapely.get_coordinates(rings, return_index=True)
    is_edge = ring_no[1:] == ring_no[:-1]
    points = np.round(points, _DECIMALS)
    return points[:-1][is_edge], points[1:][is_edge]


def _cut(starts: Floats, ends: Floats, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Cut edges at the lines between pixels; gives where pieces begin and end."""
    height, width = shape
    edges, shares = [np.arange(len(starts))] * 2, [np.zeros(len(starts)), np.ones(len(starts))]
    for axis, size in ((0, width), (1, height)):
        low, high = np.minimum(starts[:, axis], ends[:, axis]), np.maximum(starts[:, axis], ends[:, axis])
        first = np.clip(np.ceil(low), 0, size + 1).astype(np.int64)
        count = np.clip(np.floor(high) + 1, 0, size + 1).astype(np.int64) - first
        count = np.where(high > low, np.maximum(count, 0), 0)
        edge = np.repeat(np.arange(len(count)), count)
        line = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        edges.append(edge)
        shares.append((line - starts[edge, axis]) / (ends[edge, axis] - starts[edge, axis]))
    edge, share = np.concatenate(edges), np.concatenate(shares)
    order = np.lexsort((share, edge))
    edge, share = edge[order], share[order][:, None]
    is_piece = edge[1:] == edge[:-1]
    step = ends - starts
    points = starts[edge] + step[edge] * share
    return points[:-1][is_piece], points[1:][is_piece]
