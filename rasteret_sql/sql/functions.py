"""The functions of a connection that are written in Python: bounds, sizes and tile numbers by `geo`.

DuckDB calls them from its own threads, so each runs in the thread that works with PROJ for these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence  # noqa: TC003 - duckdb evaluates the annotations of functions it is given
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import in_proj_thread, parsed_crs, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

Bounds = dict[str, float]

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BOUNDS = "STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE)[]"
_GRID = (
    "STRUCT(width INTEGER, height INTEGER, tile_width INTEGER, tile_height INTEGER, "
    "first_row INTEGER, last_row INTEGER, first_col INTEGER, last_col INTEGER)"
)


def register(con: duckdb.DuckDBPyConnection, suffix: str) -> None:
    """Make the functions in the database of a connection, with a suffix to their names."""
    text = "VARCHAR"
    signatures: list[tuple[str, Callable[..., Any], list[Any], str]] = [
        ("_rstpy_project", project, [_BOUNDS, text, text], _BOUNDS),
        ("_rstpy_pixel_size", pixel_size, ["DOUBLE", text, text, _BOUNDS, text], "DOUBLE"),
        ("_rstpy_geometry_parts", geometry_parts, [text, text], _BOUNDS),
        ("_rstpy_tiles_touched", tiles_touched, [text, text, text, "DOUBLE[]", _GRID], "BIGINT[]"),
    ]
    for name, function, arguments, result in signatures:
        con.create_function(f"{name}{suffix}", in_proj_thread(function), arguments, result, side_effects=False)


def project(parts: Sequence[Bounds], from_crs: str, to_crs: str) -> list[Bounds]:
    """Give bounds in one CRS as bounds in another that hold them; see `search_bounds`."""
    from rasteret_sql.geo.project import search_bounds

    given = [[part[side] for side in _SIDES] for part in parts]
    return [dict(zip(_SIDES, bounds, strict=True)) for bounds in search_bounds(given, from_crs, to_crs)]


def pixel_size(size: float, from_crs: str, to_crs: str, area: Sequence[Bounds], area_crs: str) -> float:
    """Give the size of a pixel in the units of another CRS, at the middle of an area.

    Args:
        size: width and height of the pixel, in units of `from_crs`.
        from_crs, to_crs: authority codes or WKT2.
        area: bounds in `area_crs`; the first counts.
        area_crs: its CRS.

    Raises:
        InvalidArgumentError: a CRS is not known, or the middle of the area is not in the domain of one.
    """
    from rasteret_sql.geo.pixelsize import pixel_size_in
    from rasteret_sql.geo.project import project_points

    part = area[0]
    x, y = project_points((part["xmin"] + part["xmax"]) / 2, (part["ymin"] + part["ymax"]) / 2, area_crs, from_crs)
    found = min(pixel_size_in(to_crs, from_crs, (size, 0.0, 0.0, 0.0, -size, 0.0), float(x), float(y)))
    if not math.isfinite(found) or not found:
        raise InvalidArgumentError(
            f"resolution: the middle of the area ({area_crs}) cannot be projected to {shortened(to_crs)!r}, the CRS of "
            "some rasters, so that no level of them can be chosen; leave them out, or give level instead"
        )
    return found


def geometry_parts(text: str, crs: str) -> list[Bounds]:
    """Give the bounds of the parts of a geometry, in the geometry's own CRS.

    Args:
        text: the geometry; see `parse_geometry`.
        crs: its CRS.

    Raises:
        InvalidArgumentError: the text is no geometry, or the CRS is not known.
    """
    from rasteret_sql.geo.geometry import parse_geometry

    parsed_crs(crs)
    geometry = parse_geometry(text, crs)
    parts = getattr(geometry, "geoms", [geometry])
    return [dict(zip(_SIDES, part.bounds, strict=True)) for part in parts]


def tiles_touched(
    text: str, crs: str, raster_crs: str, transform: Sequence[float], grid: Mapping[str, int]
) -> list[int]:
    """Give the numbers of the tiles that a geometry touches.

    Args:
        text: the geometry.
        crs: its CRS.
        raster_crs: CRS of the raster.
        transform: affine (a, b, c, d, e, f) of the level.
        grid: size of the level and of its tiles, and the tile rows and columns to look at, last ones included.

    Returns:
        `tile_row * tiles_across + tile_col` of each, ascending.
    """
    from rasteret_sql.geo import touched

    tile_shape = grid["tile_height"], grid["tile_width"]
    shape = grid["height"], grid["width"]
    window = (
        grid["first_row"] * tile_shape[0],
        grid["first_col"] * tile_shape[1],
        min((grid["last_row"] + 1) * tile_shape[0], shape[0]),
        min((grid["last_col"] + 1) * tile_shape[1], shape[1]),
    )
    geometry = _projected(text, crs, raster_crs)
    if geometry is None:
        # Its bounds are known to touch the raster, and more cannot be told.
        tiles = touched.tiles_of_window(window, tile_shape)
    else:
        _, placed, _ = touched.place(geometry, raster_crs, transform, shape)
        if not len(placed):
            return []
        tiles = touched.tiles_touched(placed[0], window, tile_shape, shape)
    numbers: list[int] = (tiles[:, 0] * -(-shape[1] // tile_shape[1]) + tiles[:, 1]).tolist()
    return numbers


@lru_cache(maxsize=64)
def _projected(text: str, crs: str, raster_crs: str) -> Any:
    """Give an array of one geometry in the CRS of a raster; None where only a part of it has a position there."""
    import numpy as np

    from rasteret_sql.geo.geometry import parse_geometry
    from rasteret_sql.geo.project import project_geometries

    geometry = np.array([parse_geometry(text, crs)], object)
    parsed_crs(raster_crs)
    try:
        return project_geometries(geometry, crs, raster_crs)
    except InvalidArgumentError:
        return None
