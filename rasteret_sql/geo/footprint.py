"""The outline of a raster on the ground, in longitude and latitude."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.antimeridian import continued, split_at_antimeridian
from rasteret_sql.geo.crs import LONLAT
from rasteret_sql.geo.project import project_points

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Steps into which each edge is cut.
_STEPS: Final = 20


@lru_cache(maxsize=4096)
def footprint(crs: str, transform: Sequence[float], width: int, height: int) -> Any:
    """Give the outline of a raster in OGC:CRS84, as a Shapely geometry.

    Edges are densified. An outline over the antimeridian is split there; one around a pole reaches it. Points that have
    no position on Earth, such as the corners of a full disk, are left out.

    Cached, since the assets and dates of a place share few grids, and PROJ takes most of a millisecond for one.

    Args:
        crs: of the raster.
        transform: affine (a, b, c, d, e, f), a tuple; it may be rotated or sheared.
        width, height: in pixels.

    Returns:
        A polygon or a multipolygon; None where longitude and latitude cannot express it.
    """
    a, b, c, d, e, f = transform
    part = np.arange(_STEPS) / _STEPS
    none, all_ = np.zeros(_STEPS), np.ones(_STEPS)
    cols = width * np.concatenate([part, all_, 1 - part, none, [0.0]])
    rows = height * np.concatenate([none, part, all_, 1 - part, [0.0]])
    try:
        lon, lat = project_points(a * cols + b * rows + c, d * cols + e * rows + f, crs, LONLAT)
    except InvalidArgumentError:
        return None
    is_there = np.isfinite(lon)
    if is_there.sum() < 4:
        return None
    import shapely

    lon, lat = lon[is_there], np.clip(lat[is_there], -90.0, 90.0)
    outline = continued(shapely.polygons(np.stack([lon, lat], axis=-1)), 360.0, is_ccw=a * e - b * d > 0)
    found = split_at_antimeridian(outline)
    return None if found.is_empty else found
