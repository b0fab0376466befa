"""CRS, footprint and grid of a raster: compared with what STAC says, and brought to lon/lat. No I/O."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from rasteret_sql.tiff.model import Header

    Affine = tuple[float, float, float, float, float, float]

#: Points per edge of a footprint that is brought to lon/lat.
POINTS_PER_EDGE = 21
#: Two transforms are the same where they differ by less than this part of a pixel over the whole image.
SAME_GRID_PIXELS = 0.01


def header_footprint(header: Header) -> bytes | None:
    """The outline of a raster as WKB in OGC:CRS84, or None where it has no grid that lon/lat can express.

    Edges are densified. An outline over the antimeridian is split there; one around a pole reaches it.
    """
    if header.crs is None or header.transform is None:
        return None
    level = header.levels[0]
    return _footprint(header.crs, header.transform, level.width, level.height)


@lru_cache(maxsize=4096)
def _footprint(crs: str, transform: Affine, width: int, height: int) -> bytes | None:
    # Cached: the assets and dates of a place share few grids, and PROJ takes most of a millisecond for one.
    import numpy as np
    import pyproj
    import shapely

    try:
        to_lonlat = _to_lonlat(crs)
        cols, rows = _outline(width, height)
        a, b, c, d, e, f = transform
        lon, lat = to_lonlat.transform(a * cols + b * rows + c, d * cols + e * rows + f)
        is_finite = np.isfinite(lon) & np.isfinite(lat)
        if is_finite.sum() < 4:
            return None
        lon, lat = lon[is_finite], np.clip(lat[is_finite], -90.0, 90.0)
        pole = _pole_inside(to_lonlat, transform, width, height)
    except pyproj.exceptions.ProjError:
        return None
    if pole is not None:
        shape = shapely.box(-180.0, min(lat.min(), pole), 180.0, max(lat.max(), pole))
    else:
        shape = _split(_unwrapped(lon), lat)
    if shape.is_empty:
        return None
    data: bytes = shapely.to_wkb(shape)
    return data


def bounds_of(geometry: bytes | None) -> dict[str, float] | None:
    """Bounds of a WKB geometry as the `bbox` column holds them; None where lon/lat cannot be meant.

    Longitudes lie within -180 to 180: what is beyond is turned by 360 degrees, and what is on both sides is as wide as
    the Earth. Reads prune row groups by them, which knows no turns.
    """
    if geometry is None:
        return None
    import shapely

    bounds = shapely.bounds(shapely.from_wkb(geometry)).tolist()
    xmin, ymin, xmax, ymax = bounds
    if not all(map(math.isfinite, bounds)) or not (-360 <= xmin <= xmax <= 360 and -90.001 <= ymin <= ymax <= 90.001):
        return None
    if xmax > 180 or xmin < -180:
        turn = -360 if xmin >= 180 else 360 if xmax <= -180 else 0
        xmin, xmax = xmin + turn, xmax + turn
        if xmax > 180 or xmin < -180:
            xmin, xmax = -180.0, 180.0
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}


def joint_bounds(one: dict[str, float] | None, other: dict[str, float] | None) -> dict[str, float] | None:
    """Bounds that hold both, or the one that there is."""
    if one is None or other is None:
        return one or other
    return {
        "xmin": min(one["xmin"], other["xmin"]),
        "ymin": min(one["ymin"], other["ymin"]),
        "xmax": max(one["xmax"], other["xmax"]),
        "ymax": max(one["ymax"], other["ymax"]),
    }


def contradicts(header: Header, proj: Mapping[str, Any]) -> bool:
    """Whether what STAC says of the CRS, shape or transform of an asset is not what its header says."""
    level = header.levels[0]
    shape = proj.get("shape")
    if shape is not None and list(shape) != [level.height, level.width]:
        return True
    transform = proj.get("transform")
    if transform is not None and header.transform is not None:
        return not _is_same_grid(header.transform, transform, level.width, level.height)
    code = proj.get("code")
    return code is not None and header.crs is not None and not _is_same_crs(header.crs, code)


def _is_same_grid(ours: Sequence[float], theirs: Sequence[Any], width: int, height: int) -> bool:
    if len(theirs) < 6 or not all(isinstance(value, (int, float)) for value in theirs[:6]):
        return False
    tolerance = SAME_GRID_PIXELS * max(abs(ours[0]), abs(ours[1]), abs(ours[3]), abs(ours[4]))
    spans = (width, height, 1, width, height, 1)
    return all(abs(our - their) * span <= tolerance for our, their, span in zip(ours, theirs[:6], spans, strict=True))


@lru_cache(maxsize=256)
def _is_same_crs(ours: str, theirs: str) -> bool:
    if ours.upper() == theirs.upper():
        return True
    import pyproj

    try:
        # Axis order is no difference: the axes of a transform are always x, y.
        same: bool = pyproj.CRS.from_user_input(ours).equals(pyproj.CRS.from_user_input(theirs), ignore_axis_order=True)
    except pyproj.exceptions.ProjError:
        return False
    return same


@lru_cache(maxsize=64)
def _to_lonlat(crs: str) -> Any:
    import pyproj

    return pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)


def _outline(width: int, height: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Pixel corners (col, row) around the image, closed."""
    import numpy as np

    cols = np.linspace(0.0, width, POINTS_PER_EDGE)
    rows = np.linspace(0.0, height, POINTS_PER_EDGE)
    return (
        np.concatenate([cols, np.full(POINTS_PER_EDGE - 1, width), cols[-2::-1], np.zeros(POINTS_PER_EDGE - 1)]),
        np.concatenate([np.zeros(POINTS_PER_EDGE), rows[1:], np.full(POINTS_PER_EDGE - 1, height), rows[-2::-1]]),
    )


def _pole_inside(to_lonlat: Any, transform: Affine, width: int, height: int) -> float | None:
    """Latitude of the pole that lies inside a raster of a projected CRS, or None."""
    if to_lonlat.source_crs.is_geographic:
        return None
    a, b, c, d, e, f = transform
    determinant = a * e - b * d
    for pole in (90.0, -90.0):
        x, y = to_lonlat.transform(0.0, pole, direction="INVERSE")
        if not (math.isfinite(x) and math.isfinite(y)) or determinant == 0:
            continue
        col = (e * (x - c) - b * (y - f)) / determinant
        row = (a * (y - f) - d * (x - c)) / determinant
        # In cylindrical projections the pole is an edge, not a point inside.
        if 0 < col < width and 0 < row < height and _is_a_point(pole, to_lonlat, (x, y)):
            return pole
    return None


def _is_a_point(pole: float, to_lonlat: Any, at: tuple[float, float]) -> bool:
    x, y = to_lonlat.transform(90.0, pole, direction="INVERSE")
    return math.isclose(x, at[0], abs_tol=1.0) and math.isclose(y, at[1], abs_tol=1.0)


def _unwrapped(lon: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Longitudes without jumps: steps of more than half a turn are taken as crossing the antimeridian."""
    import numpy as np

    return np.unwrap(lon, period=360.0)


def _split(lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]) -> Any:
    import numpy as np
    import shapely

    shape = shapely.polygons(np.column_stack([lon, lat]))
    if lon.min() >= -180.0 and lon.max() <= 180.0:
        return shape
    if lon.max() - lon.min() >= 360.0:
        return shapely.box(-180.0, lat.min(), 180.0, lat.max())
    shape = shapely.make_valid(shape)
    parts = []
    for turn in (-360.0, 0.0, 360.0):
        part = shapely.intersection(shape, shapely.box(turn - 180.0, -90.0, turn + 180.0, 90.0))
        part = shapely.transform(part, lambda xy, turn=turn: xy - [turn, 0.0])
        parts += [one for one in shapely.get_parts(part) if one.geom_type == "Polygon" and not one.is_empty]
    return shapely.multipolygons(parts) if len(parts) > 1 else parts[0] if parts else shapely.Polygon()
