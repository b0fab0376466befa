"""The area of a read, in the CRS of any raster."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.antimeridian import repeated, within_map
from rasteret_sql.geo.crs import check_crs, in_proj_thread, shortened
from rasteret_sql.geo.utm import REVOLUTION, bounds_in_mercator, bounds_in_utm, is_lonlat, utm_zone

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.geo.touched import ProjectedGeometries
    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import PlannedAsset

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A bbox or a geometry.

    DuckDB may plan from threads of its own, so PROJ works in the thread for these.

    Attributes:
        crs: its CRS.
        parts: (xmin, ymin, xmax, ymax) of its parts, shape (parts, 4).
        geometry: the geometry, or None for a bbox.
    """

    crs: str
    parts: Floats
    geometry: ProjectedGeometries | None = None
    _parts_in: dict[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, arguments: ReadArguments) -> Area | None:
        """Give the area of a read, or None where it has none.

        Raises:
            InvalidArgumentError: bbox, geometry or CRS cannot be read.
        """
        if arguments.grid is not None:
            return cls.of_grid(arguments.grid)
        if arguments.bbox is not None:
            return cls(arguments.crs, arguments.bbox_parts())
        return None if arguments.geometry is None else area_of_geometry(arguments.geometry, arguments.crs)

    @classmethod
    def of_grid(cls, grid: GeoBox) -> Area:
        """Give the bounds of a grid, which has a CRS."""
        assert grid.crs is not None
        return cls(grid.crs, np.array([grid.bounds], np.float64))

    def in_degrees(self) -> Floats:
        """Give bounds of its parts in longitude and latitude, inside the map and cut at the antimeridian.

        Raises:
            InvalidArgumentError: the CRS is not known.
        """
        if is_lonlat(self.crs):
            bounds = within_map(self.parts, REVOLUTION)
        else:
            from rasteret_sql.geo.project import map_bounds

            bounds = in_proj_thread(map_bounds)(self.parts, self.crs)
        bounds[:, 1::2] = np.clip(bounds[:, 1::2], -90.0, 90.0)
        return bounds

    def parts_in(self, code: str) -> Floats:
        """Give bounds of its parts in another CRS. They may be larger than need be, but never smaller.

        Raises:
            InvalidArgumentError: a CRS is not known.
        """
        if code not in self._parts_in:
            self._parts_in[code] = self._projected_parts(code)
        return self._parts_in[code]

    def _projected_parts(self, code: str) -> Floats:
        if is_lonlat(self.crs):
            zone = utm_zone(code)
            if is_lonlat(code):
                return repeated(self.parts, REVOLUTION)
            if zone is not None:
                return bounds_in_utm(self.parts, zone)
            if code.upper() == "EPSG:3857":
                return bounds_in_mercator(self.parts)
        if self.crs.upper() == code.upper():
            return self.parts
        from rasteret_sql.geo.project import search_bounds

        return in_proj_thread(search_bounds)(self.parts, self.crs, code)

    @in_proj_thread
    def pixel_size(self, size: float, from_crs: str, to_crs: str) -> float:
        """Give the size of a pixel in the units of another CRS, at the middle of the area.

        Args:
            size: width and height of the pixel, in units of `from_crs`.
            from_crs, to_crs: authority codes or WKT2.

        Raises:
            InvalidArgumentError: a CRS is not known, or the middle of the area is not in the domain of one.
        """
        from rasteret_sql.geo.pixelsize import pixel_size_in
        from rasteret_sql.geo.project import project_points

        xmin, ymin, xmax, ymax = self.parts[0].tolist()
        x, y = project_points((xmin + xmax) / 2, (ymin + ymax) / 2, self.crs, from_crs)
        found = min(pixel_size_in(to_crs, from_crs, (size, 0.0, 0.0, 0.0, -size, 0.0), float(x), float(y)))
        if not math.isfinite(found) or not found:
            raise InvalidArgumentError(
                f"resolution: the middle of the area ({self.crs}) cannot be projected to {shortened(to_crs)!r}, the "
                "CRS of some rasters, so that no level of them can be chosen; leave them out, or give level instead"
            )
        return found

    def tiles_touched(
        self, asset: PlannedAsset, row_first: int, row_end: int, col_first: int, col_end: int
    ) -> npt.NDArray[np.int64]:
        """Give (row, col) of the tiles in a range that the geometry touches; see `geo.touched`."""
        assert asset.crs is not None
        assert asset.transform is not None
        tile_shape = asset.format.tile_height, asset.format.tile_width
        tiles = row_first, col_first, row_end, col_end
        return self.tiles_in(asset.crs, asset.transform, (asset.height, asset.width), tile_shape, tiles)

    def tiles_in(
        self,
        raster_crs: str,
        transform: Sequence[float],
        shape: tuple[int, int],
        tile_shape: tuple[int, int],
        tiles: tuple[int, int, int, int],
    ) -> npt.NDArray[np.int64]:
        """Give (row, col) of the tiles of a raster that the geometry touches, shape (n, 2), row by row.

        Args:
            raster_crs: of the raster.
            transform: affine (a, 0, c, 0, e, f) of the level.
            shape: (height, width) of the level.
            tile_shape: (height, width) of a tile.
            tiles: (row_first, col_first, row_end, col_end) of the tiles to look at, ends exclusive.

        Raises:
            InvalidArgumentError: a CRS is not known.
        """
        from rasteret_sql.geo.touched import tiles_touched

        rows, cols = tile_shape
        row_first, col_first, row_end, col_end = tiles
        window = row_first * rows, col_first * cols, min(row_end * rows, shape[0]), min(col_end * cols, shape[1])
        placed = self.in_pixels(raster_crs, transform, shape)
        if placed is None:
            return np.empty((0, 2), np.int64)
        return tiles_touched(placed, window, tile_shape, shape)

    def in_pixels(self, raster_crs: str, transform: Sequence[float], shape: tuple[int, int]) -> Any:
        """Give the geometry in the pixels of a raster, as a Shapely geometry; None where it touches none.

        The arguments are those of `tiles_in`.

        Raises:
            InvalidArgumentError: a CRS is not known.
        """
        assert self.geometry is not None
        _, placed, _ = in_proj_thread(self.geometry.place)(raster_crs, transform, shape)
        return placed[0] if len(placed) else None


@lru_cache(maxsize=64)
@in_proj_thread
def area_of_geometry(text: str, crs: str) -> Area:
    """Give the area of a geometry. Cached, for SQL calls with the same text for each file.

    Args:
        text: the geometry; see `parse_geometry`.
        crs: its CRS.

    Raises:
        InvalidArgumentError: the text is no geometry, or the CRS is not known.
    """
    import shapely

    from rasteret_sql.geo.geometry import parse_geometry
    from rasteret_sql.geo.touched import ProjectedGeometries

    check_crs("geometry_crs", crs)
    geometry = parse_geometry(text, crs)
    parts = np.asarray(shapely.bounds(shapely.get_parts(geometry)))
    return Area(crs, parts, ProjectedGeometries(np.array([geometry], object), crs))
