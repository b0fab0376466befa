"""Which part of each pixel of a grid polygons cover. Pure NumPy but for Shapely's coordinates.

An edge takes from its row of pixels what lies to its right. Edges are cut at the lines between pixels, each piece adds
an area to its pixel, and sums along rows give the parts, exact to the last digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.geo.inside import DECIMALS, cut_edges

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.geo.inside import Window

    Floats = npt.NDArray[np.float64]

#: Less than this part of a pixel is what rounding leaves of sums that are 0.
_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """The polygons of a geometry in pixels of a grid, as edges with the inside to their left where y goes up.

    Attributes:
        starts, ends: the edges in pixels (x, y), shape (n, 2).
    """

    starts: Floats
    ends: Floats

    @classmethod
    def of(cls, geometry: Any) -> Cover:
        """Take a Shapely geometry in pixels: x is columns, y is rows, corners at integers.

        Points and lines cover nothing, and neither do None and empty ones.
        """
        import shapely

        if geometry is None or geometry.is_empty:
            return cls(np.empty((0, 2)), np.empty((0, 2)))
        if not geometry.is_valid:
            geometry = shapely.make_valid(geometry)
        rings = shapely.get_rings(shapely.orient_polygons(shapely.get_parts(geometry)))
        points, ring_no = shapely.get_coordinates(rings, return_index=True)
        is_edge = ring_no[1:] == ring_no[:-1]
        # Noise beyond these decimals would cover slivers of pixels whose edges a geometry follows.
        points = np.round(points, DECIMALS)
        return cls(points[:-1][is_edge], points[1:][is_edge])

    def parts(self, window: Window) -> Floats:
        """Give the part of each pixel of a window that is covered.

        Args:
            window: (row_off, col_off, height, width) in pixels of the grid.

        Returns:
            Parts of 0 to 1, shape (height, width).

        Example:
            >>> import shapely
            >>> Cover.of(shapely.box(0.5, 0, 3, 1.5)).parts((0, 0, 2, 3))
            array([[0.5 , 1.  , 1.  ],
                   [0.25, 0.5 , 0.5 ]])
        """
        row_off, col_off, height, width = window
        starts, ends = self.starts - (col_off, row_off), self.ends - (col_off, row_off)
        # Columns beyond the grid take what lies to its right.
        taken = np.zeros((height, width + 2))
        reaches = (np.maximum(starts[:, 1], ends[:, 1]) > 0) & (np.minimum(starts[:, 1], ends[:, 1]) < height)
        starts, ends = starts[reaches], ends[reaches]
        edge, begin, end = cut_edges(starts, ends, (0, 0, height, width))
        first, last = (starts[edge] + (ends - starts)[edge] * share[:, None] for share in (begin, end))
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
