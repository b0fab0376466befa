"""The functions of a connection that are written in Python: projection and geometry, by pyproj and Shapely.

They give small values only: bounds and tile numbers. What is imported here is imported when it is first called.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence  # noqa: TC003 - duckdb evaluates the annotations of functions it is given
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import in_proj_thread, parsed_crs, transformer

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

Bounds = dict[str, float]
P = ParamSpec("P")
T = TypeVar("T")

_BOUNDS = "STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE)[]"
_GRID = (
    "STRUCT(width INTEGER, height INTEGER, tile_width INTEGER, tile_height INTEGER, "
    "first_row INTEGER, last_row INTEGER, first_col INTEGER, last_col INTEGER)"
)
#: Lon/lat bounds wider than this are not projected: every pixel of a raster is taken to lie in them.
_WIDE_DEGREES = 30
_EVERYWHERE = {"xmin": -1e30, "ymin": -1e30, "xmax": 1e30, "ymax": 1e30}
#: Degrees or metres are cut into so many steps along the longest side of a geometry before it is reprojected.
_STEPS = 100
_HALF_TURN = 180.0
_HEX_WKB = re.compile(r"(?:[0-9A-Fa-f]{2}){5,}")
_BLOB_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})")


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
    """Give bounds in one CRS as bounds in another, with curved edges held.

    Args:
        parts: bounds in `from_crs`, x before y.
        from_crs, to_crs: authority codes or WKT2.

    Returns:
        Bounds in `to_crs`, x before y. They may be larger than need be, but never smaller.

    Raises:
        InvalidArgumentError: a CRS is not known.
    """
    projection = transformer(from_crs, to_crs)
    is_lonlat = parsed_crs(from_crs).is_geographic
    projected = []
    for part in parts:
        span = max(part["xmax"] - part["xmin"], part["ymax"] - part["ymin"]) if is_lonlat else 0
        if span > _WIDE_DEGREES:
            # Wide bounds may hold a pole or the edge of the projection, so that their own edges bound nothing.
            projected.append(dict(_EVERYWHERE))
            continue
        xmin, ymin, xmax, ymax = projection.transform_bounds(
            part["xmin"], part["ymin"], part["xmax"], part["ymax"], densify_pts=21 + int(22 * span), errcheck=False
        )
        if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
            projected.append(dict(_EVERYWHERE))
            continue
        if xmin > xmax:
            projected.append({"xmin": xmin, "ymin": ymin, "xmax": 180.0, "ymax": ymax})
            xmin = -180.0
        projected.append({"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax})
    return projected


def pixel_size(size: float, from_crs: str, to_crs: str, area: Sequence[Bounds], area_crs: str) -> float:
    """Give the size of a pixel in the units of another CRS, at the middle of an area.

    Args:
        size: width and height of the pixel, in units of `from_crs`.
        from_crs, to_crs: authority codes or WKT2.
        area: bounds in `area_crs`.
        area_crs: its CRS.

    Raises:
        InvalidArgumentError: a CRS is not known, or the middle of the area is not in the domain of one.
    """
    to_source = transformer(area_crs, from_crs)
    projection = transformer(from_crs, to_crs)
    part = area[0]
    x, y = to_source.transform((part["xmin"] + part["xmax"]) / 2, (part["ymin"] + part["ymax"]) / 2)
    xs, ys = projection.transform([x - size / 2, x + size / 2, x, x], [y, y, y - size / 2, y + size / 2])
    across = math.hypot(xs[1] - xs[0], ys[1] - ys[0])
    down = math.hypot(xs[3] - xs[2], ys[3] - ys[2])
    if not math.isfinite(across + down) or not across or not down:
        raise InvalidArgumentError(
            f"resolution: the middle of the area ({area_crs}) cannot be projected to {_shortened(to_crs)}, the CRS of "
            "some rasters, so that no level of them can be chosen; leave them out, or give level instead"
        )
    return min(across, down)


@in_proj_thread
def area_bounds(
    geometry: str | None, bbox: Sequence[float] | None, crs: str, to_crs: str
) -> tuple[float, float, float, float]:
    """Give the bounds of an area in another CRS, with curved edges held.

    Args:
        geometry: the area as `geometry_parts` takes it, or None.
        bbox: or else its (xmin, ymin, xmax, ymax); longitudes may run over the antimeridian.
        crs: CRS of the area.
        to_crs: CRS of the bounds. Longitudes of an area over the antimeridian go on beyond 180.

    Raises:
        InvalidArgumentError: a CRS is not known, or the area cannot be projected.
    """
    to_lonlat = parsed_crs(to_crs).is_geographic
    if geometry is not None:
        projected = _projected(geometry, crs, to_crs)
        xmin, ymin, xmax, ymax = projected.bounds
        if to_lonlat and xmax - xmin > _HALF_TURN:
            import shapely

            turned = shapely.transform(projected, lambda xy: xy + [[360.0, 0.0]] * (xy[:, :1] < 0))
            if turned.bounds[2] - turned.bounds[0] < xmax - xmin:
                xmin, ymin, xmax, ymax = turned.bounds
    else:
        assert bbox is not None
        xmin, ymin, xmax, ymax = bbox
        if xmin > xmax and parsed_crs(crs).is_geographic:
            xmax += 360.0
        if not xmin <= xmax or not ymin <= ymax:
            raise InvalidArgumentError(
                f"bbox: got {list(bbox)}, expected (xmin, ymin, xmax, ymax), each minimum below its maximum"
            )
        if crs != to_crs:
            xmin, ymin, xmax, ymax = transformer(crs, to_crs).transform_bounds(
                xmin, ymin, xmax, ymax, densify_pts=_STEPS, errcheck=False
            )
            if to_lonlat and xmin > xmax:
                xmax += 360.0
    if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
        raise InvalidArgumentError(
            f"area: it cannot be projected from {_shortened(crs)} to {_shortened(to_crs)}; expected one inside the "
            "area of use of both, check geometry_crs and the order (x, y)"
        )
    return xmin, ymin, xmax, ymax


def geometry_parts(text: str, crs: str) -> list[Bounds]:
    """Give the bounds of the parts of a geometry, in the geometry's own CRS.

    Args:
        text: GeoJSON, WKT, or WKB as hexadecimal digits or as DuckDB prints a BLOB.
        crs: its CRS; names it in messages.

    Raises:
        InvalidArgumentError: the text is no geometry, or an empty one.
    """
    geometry = parse_geometry(text)
    parsed_crs(crs)
    parts = getattr(geometry, "geoms", [geometry])
    return [dict(zip(("xmin", "ymin", "xmax", "ymax"), part.bounds, strict=True)) for part in parts]


def tiles_touched(
    text: str, crs: str, raster_crs: str, transform: Sequence[float], grid: Mapping[str, int]
) -> list[int]:
    """Give the numbers of the tiles that a geometry touches; sharing no more than an edge is not touching.

    Args:
        text: the geometry.
        crs: its CRS.
        raster_crs: CRS of the raster.
        transform: affine (a, b, c, d, e, f) of the level.
        grid: size of the level and of its tiles, and the tile rows and columns to look at, last ones included.

    Returns:
        `tile_row * tiles_across + tile_col` of each, ascending.
    """
    import numpy as np
    import shapely

    from rasteret_sql.geo.crs import revolution_of

    geometry = _projected(text, crs, raster_crs)
    across = -(-grid["width"] // grid["tile_width"])
    grid_rows, grid_cols = np.meshgrid(
        np.arange(grid["first_row"], grid["last_row"] + 1),
        np.arange(grid["first_col"], grid["last_col"] + 1),
        indexing="ij",
    )
    rows, cols = grid_rows.ravel(), grid_cols.ravel()
    x_start = transform[2] + transform[0] * cols * grid["tile_width"]
    x_end = transform[2] + transform[0] * np.minimum((cols + 1) * grid["tile_width"], grid["width"])
    y_start = transform[5] + transform[4] * rows * grid["tile_height"]
    y_end = transform[5] + transform[4] * np.minimum((rows + 1) * grid["tile_height"], grid["height"])
    turn = revolution_of(raster_crs)
    touched = np.zeros(rows.shape, bool)
    # Longitudes of the geometry and of the raster may be counted from -180, from 0, or on beyond 180.
    for by in (0.0,) if turn is None else (0.0, turn, -turn):
        boxes = shapely.box(
            np.minimum(x_start, x_end) + by,
            np.minimum(y_start, y_end),
            np.maximum(x_start, x_end) + by,
            np.maximum(y_start, y_end),
        )
        found = shapely.intersects(geometry, boxes)
        if geometry.area > 0:
            found &= ~shapely.touches(geometry, boxes)
        touched |= found
    numbers: list[int] = (rows * across + cols)[touched].tolist()
    return numbers


@lru_cache(maxsize=64)
def parse_geometry(text: str) -> Any:
    """Read GeoJSON, WKT, or WKB as `geometry_parts` takes it, as a Shapely geometry.

    Raises:
        InvalidArgumentError: the text is no geometry, or an empty one.
    """
    import shapely

    stripped = text.strip()
    try:
        if stripped.startswith("{"):
            geojson = json.loads(stripped)
            if geojson.get("type") == "Feature":
                geojson = geojson["geometry"]
            if geojson.get("type") == "FeatureCollection":
                geojson = {
                    "type": "GeometryCollection",
                    "geometries": [f["geometry"] for f in geojson["features"]],
                }
            geometry = shapely.from_geojson(json.dumps(geojson))
        elif stripped.startswith("\\x"):
            geometry = shapely.from_wkb(_unescaped(stripped))
        elif _HEX_WKB.fullmatch(stripped):
            geometry = shapely.from_wkb(bytes.fromhex(stripped))
        else:
            geometry = shapely.from_wkt(stripped)
    except (shapely.errors.ShapelyError, ValueError, KeyError, AttributeError) as error:
        raise InvalidArgumentError(
            f"geometry: got {_shortened(text)}, expected GeoJSON, WKT or WKB in longitude and latitude, or in the CRS "
            f"that crs := names ({error})"
        ) from error
    if geometry is None or geometry.is_empty:
        raise InvalidArgumentError(f"geometry: got {_shortened(text)}, which is empty; expected one with an extent")
    return geometry


@lru_cache(maxsize=64)
def _projected(text: str, crs: str, raster_crs: str) -> Any:
    import shapely

    geometry = parse_geometry(text)
    if crs != raster_crs:
        xmin, ymin, xmax, ymax = geometry.bounds
        step = max(xmax - xmin, ymax - ymin) / _STEPS
        if step > 0:
            geometry = shapely.segmentize(geometry, step)
        geometry = shapely.transform(geometry, transformer(crs, raster_crs).transform, interleaved=False)
        if not geometry.is_valid:
            geometry = shapely.make_valid(geometry)
    shapely.prepare(geometry)
    return geometry


def _unescaped(text: str) -> bytes:
    return _BLOB_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1")


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
