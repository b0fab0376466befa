"""In which pixels of rasters points lie. Points are projected once to each CRS.

One rule, as for `geo/touched` and `rst_value`: pixels are half open, and a point on an edge lies in the pixel to the
right of it or below it. What projection and division leave of rounding, `NOISE` of a pixel, decides nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from rasteret_sql.geo.crs import in_proj_thread, period_of
from rasteret_sql.geo.project import project_points
from rasteret_sql.geo.touched import NOISE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

#: CRSs for which projected points are kept. A million points take 16 MB in each.
_CACHED_CRSS: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class PlacedPoints:
    """The points that lie in a raster; one element each.

    Attributes:
        numbers: of the points, ascending.
        rows, cols: where they lie, in pixels of the level with corners at integers.
        pixel_rows, pixel_cols: the pixel of each.
    """

    numbers: Numbers
    rows: Floats
    cols: Floats
    pixel_rows: Numbers
    pixel_cols: Numbers

    def __len__(self) -> int:
        """Count them."""
        return len(self.numbers)

    def take(self, chosen: npt.NDArray[np.bool_]) -> PlacedPoints:
        """Give some of them."""
        return PlacedPoints(
            self.numbers[chosen], self.rows[chosen], self.cols[chosen],
            self.pixel_rows[chosen], self.pixel_cols[chosen],
        )  # fmt: skip


class ProjectedPoints:
    """Points that are found in the rasters of many CRSs.

    Args:
        x, y: coordinates of the points, shape (n,); NaN lies in no raster.
        crs: of the points.
    """

    def __init__(self, x: Floats, y: Floats, crs: str) -> None:
        self.x, self.y, self.crs = x, y, crs
        self._known: OrderedDict[str, tuple[Floats, Floats]] = OrderedDict()

    def __len__(self) -> int:
        """Count the points."""
        return len(self.x)

    @in_proj_thread
    def place(self, raster_crs: str, transform: Sequence[float], shape: tuple[int, int]) -> PlacedPoints:
        """Find the points that lie in a raster.

        Args:
            raster_crs: of the raster. Where x repeats itself, points are moved to where the raster counts its x.
            transform: affine (a, 0, c, 0, e, f) of the level.
            shape: (height, width) of the level.

        Raises:
            InvalidArgumentError: a CRS is not known, or nothing leads from one to the other.
        """
        x, y = self._projected(raster_crs)
        a, _, c, _, e, f = transform
        rows = (y - f) / e
        is_near = np.flatnonzero((rows >= -NOISE) & (rows < shape[0]))
        x, rows = x[is_near], rows[is_near]
        cols = (x - c) / a
        is_in = (cols >= -NOISE) & (cols < shape[1])
        period = period_of(raster_crs)
        for by in () if period is None else (period, -period):
            moved = (x + by - c) / a
            takes = ~is_in & (moved >= -NOISE) & (moved < shape[1])
            cols, is_in = np.where(takes, moved, cols), is_in | takes
        rows, cols = rows[is_in], cols[is_in]
        return PlacedPoints(is_near[is_in], rows, cols, _pixels(rows, shape[0]), _pixels(cols, shape[1]))

    def _projected(self, raster_crs: str) -> tuple[Floats, Floats]:
        if raster_crs not in self._known:
            self._known[raster_crs] = project_points(self.x, self.y, self.crs, raster_crs)
            while len(self._known) > _CACHED_CRSS:
                self._known.popitem(last=False)
        self._known.move_to_end(raster_crs)
        return self._known[raster_crs]


def _pixels(positions: Floats, size: int) -> Numbers:
    return np.minimum(np.floor(positions + NOISE), size - 1).astype(np.int64)
