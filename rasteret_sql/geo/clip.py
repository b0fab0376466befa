"""The pixels of a grid that a read is cut to: those inside a geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.geo.inside import Outline
from rasteret_sql.geo.touched import ProjectedGeometries

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.geo.inside import Window


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A geometry on a grid.

    Attributes:
        outline: the geometry, in pixels of the grid.
        all_touched: whether pixels of which a polygon covers some part are inside; otherwise those whose centre is.
    """

    outline: Outline
    all_touched: bool

    @classmethod
    def of(cls, geometry: Any, crs: str, grid: GeoBox, *, all_touched: bool) -> Clip | None:
        """Bring a geometry to a grid. Its edges are densified where the CRSs differ.

        Args:
            geometry: a Shapely geometry.
            crs: of the geometry.
            grid: the grid, which has a CRS.
            all_touched: see `Clip`.

        Returns:
            The clip; None for a geometry that lies outside the grid.

        Raises:
            InvalidArgumentError: a CRS is not known, or nothing leads from one to the other.
        """
        assert grid.crs is not None
        projected = ProjectedGeometries(np.array([geometry], object), crs)
        _, placed, _ = projected.place(grid.crs, grid.transform, (grid.height, grid.width))
        return cls(Outline.of(placed[0]), all_touched) if len(placed) else None

    def near(self, window: Window) -> Clip:
        """Give what decides about the pixels of a window of the grid."""
        return Clip(self.outline.near(window), self.all_touched)

    def inside(self, window: Window) -> npt.NDArray[np.bool_]:
        """Say which pixels of a window of the grid are inside, shape (height, width)."""
        return self.outline.inside(window, all_touched=self.all_touched)
