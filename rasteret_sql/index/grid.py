"""CRS, footprint and grid of a raster: compared with what STAC says, and brought to lon/lat. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import same_crs
from rasteret_sql.geo.footprint import footprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rasteret_sql.tiff.model import Header

    Affine = tuple[float, float, float, float, float, float]

#: Two transforms are the same where they differ by less than this part of a pixel over the whole image.
SAME_GRID_PIXELS = 0.01


def header_footprint(header: Header) -> bytes | None:
    """The outline of a raster as WKB in OGC:CRS84, or None where it has no grid that lon/lat can express.

    Edges are densified. An outline over the antimeridian is split there; one around a pole reaches it.
    """
    if header.crs is None or header.transform is None:
        return None
    import shapely

    level = header.levels[0]
    outline = footprint(header.crs, header.transform, level.width, level.height)
    return None if outline is None else bytes(shapely.to_wkb(outline))


def bounds_of(geometry: bytes | None) -> dict[str, float] | None:
    """Bounds of a WKB geometry as the `bbox` column holds them; None where lon/lat cannot be meant.

    Longitudes lie within -180 to 180: what is beyond is moved by 360 degrees, and what is on both sides is as wide as
    the Earth. Reads prune row groups by them, by plain comparisons.
    """
    if geometry is None:
        return None
    import shapely

    bounds = shapely.bounds(shapely.from_wkb(geometry)).tolist()
    xmin, ymin, xmax, ymax = bounds
    if not all(map(math.isfinite, bounds)) or not (-360 <= xmin <= xmax <= 360 and -90.001 <= ymin <= ymax <= 90.001):
        return None
    if xmax > 180 or xmin < -180:
        offset = -360 if xmin >= 180 else 360 if xmax <= -180 else 0
        xmin, xmax = xmin + offset, xmax + offset
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


def _is_same_crs(ours: str, theirs: str) -> bool:
    try:
        return same_crs(ours, theirs)
    except InvalidArgumentError:
        return False


def _is_same_grid(ours: Sequence[float], theirs: Sequence[Any], width: int, height: int) -> bool:
    if len(theirs) < 6 or not all(isinstance(value, (int, float)) for value in theirs[:6]):
        return False
    tolerance = SAME_GRID_PIXELS * max(abs(ours[0]), abs(ours[1]), abs(ours[3]), abs(ours[4]))
    spans = (width, height, 1, width, height, 1)
    return all(abs(our - their) * span <= tolerance for our, their, span in zip(ours, theirs[:6], spans, strict=True))
