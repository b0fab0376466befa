"""The area of a read, in the CRS of any raster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.geo.utm import bounds_in_mercator, bounds_in_utm, is_lonlat, turned, utm_zone

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import PlannedAsset

    Floats = npt.NDArray[np.float64]

_BOUNDS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A bbox or a geometry.

    Attributes:
        crs: its CRS.
        parts: (xmin, ymin, xmax, ymax) of its parts, shape (parts, 4).
        geometry: as `parse_geometry` takes it, or None for a bbox.
    """

    crs: str
    parts: Floats
    geometry: str | None = None
    _known: dict[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, arguments: ReadArguments) -> Area | None:
        """Give the area of a read, or None where it has none.

        Raises:
            InvalidArgumentError: bbox, geometry or CRS cannot be read.
        """
        from rasteret_sql.geo.crs import in_proj_thread
        from rasteret_sql.sql.functions import geometry_parts

        if arguments.bbox is not None:
            return cls(arguments.crs, arguments.bbox_parts())
        if arguments.geometry is None:
            return None
        parts = in_proj_thread(geometry_parts)(arguments.geometry, arguments.crs)
        return cls(arguments.crs, _array(parts), arguments.geometry)

    @property
    def is_over_antimeridian(self) -> bool:
        """Whether it is a bbox over the antimeridian."""
        return self.geometry is None and len(self.parts) > 1

    def parts_in(self, code: str) -> Floats:
        """Give bounds of its parts in another CRS. They may be larger than need be, but never smaller.

        Raises:
            InvalidArgumentError: a CRS is not known.
        """
        if code not in self._known:
            self._known[code] = self._projected(code)
        return self._known[code]

    def _projected(self, code: str) -> Floats:
        if is_lonlat(self.crs):
            zone = utm_zone(code)
            if is_lonlat(code):
                return turned(self.parts)
            if zone is not None:
                return bounds_in_utm(self.parts, zone)
            if code.upper() == "EPSG:3857":
                return bounds_in_mercator(self.parts)
        if self.crs.upper() == code.upper():
            return self.parts
        from rasteret_sql.geo.crs import in_proj_thread
        from rasteret_sql.sql.functions import project

        return _array(in_proj_thread(project)(_dicts(self.parts), self.crs, code))

    def pixel_size(self, size: float, from_crs: str, to_crs: str) -> float:
        """Give the size of a pixel in the units of another CRS, at the middle of the area.

        Raises:
            InvalidArgumentError: a CRS is not known, or the middle of the area is not in the domain of one.
        """
        from rasteret_sql.geo.crs import in_proj_thread
        from rasteret_sql.sql.functions import pixel_size

        return in_proj_thread(pixel_size)(size, from_crs, to_crs, _dicts(self.parts), self.crs)

    def tiles_touched(
        self, asset: PlannedAsset, row_first: int, row_end: int, col_first: int, col_end: int
    ) -> npt.NDArray[np.int64]:
        """Give (row, col) of the tiles in a range that the geometry touches; an edge in common is not touching."""
        from rasteret_sql.geo.crs import in_proj_thread
        from rasteret_sql.sql.functions import tiles_touched

        assert self.geometry is not None
        assert asset.crs is not None
        assert asset.transform is not None
        layout = asset.format
        grid = {
            "width": asset.width, "height": asset.height, "tile_width": layout.tile_width,
            "tile_height": layout.tile_height, "first_row": row_first, "last_row": row_end - 1, "first_col": col_first,
            "last_col": col_end - 1,
        }  # fmt: skip
        numbers = np.array(
            in_proj_thread(tiles_touched)(self.geometry, self.crs, asset.crs, asset.transform, grid), np.int64
        )
        across = -(-asset.width // layout.tile_width)
        return np.stack([numbers // across, numbers % across], axis=1)


def _array(parts: list[dict[str, float]]) -> Floats:
    return np.array([[part[name] for name in _BOUNDS] for part in parts], np.float64).reshape(-1, 4)


def _dicts(parts: Floats) -> list[Any]:
    return [dict(zip(_BOUNDS, part, strict=True)) for part in parts.tolist()]
