"""The outlines of rasters, and of their windows, on the ground, in longitude and latitude."""

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

    import numpy.typing as npt

#: Steps into which each edge is cut.
_STEPS: Final = 20
#: Degrees of longitude that an outline spans at most that is surely not cut by the antimeridian.
_WIDEST: Final = 90.0


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


def window_footprints(
    crs: str, transform: Sequence[float], shape: tuple[int, int], windows: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Give the outlines of windows of a raster in OGC:CRS84.

    Edges are cut into pieces as long as those of `footprint` of the whole raster, so many small windows take few
    points each.

    Args:
        crs: of the raster.
        transform: affine (a, b, c, d, e, f) of the raster, a tuple.
        shape: (height, width) of the raster.
        windows: (row_off, col_off, row_end, col_end) of each, ends exclusive, shape (n, 4).

    Returns:
        Array of Shapely geometries, shape (n,), None as for `footprint`.
    """
    # The number of points of an outline follows from its window alone, not from the windows beside it.
    sides = -(-_STEPS * (windows[:, 2:] - windows[:, :2]) // shape)
    steps = np.maximum(sides.max(axis=1), 1)
    found = np.full(len(windows), None)
    for count in np.unique(steps).tolist():
        some = np.flatnonzero(steps == count)
        found[some] = _outlines(crs, transform, windows[some], count)
    return found


def _outlines(crs: str, transform: Sequence[float], windows: npt.NDArray[np.int64], steps: int) -> npt.NDArray[Any]:
    """Give the outlines of windows whose edges are cut into so many pieces; see `window_footprints`."""
    import shapely

    a, b, c, d, e, f = transform
    row_off, col_off, row_end, col_end = windows.T
    part = np.arange(steps) / steps
    none, all_ = np.zeros(steps), np.ones(steps)
    cols = col_off[:, np.newaxis] + np.outer(col_end - col_off, np.concatenate([part, all_, 1 - part, none]))
    rows = row_off[:, np.newaxis] + np.outer(row_end - row_off, np.concatenate([none, part, all_, 1 - part]))
    try:
        lon, lat = project_points(a * cols + b * rows + c, d * cols + e * rows + f, crs, LONLAT)
    except InvalidArgumentError:
        return np.full(len(windows), None)
    # An outline over the antimeridian or around a pole jumps, and a wide one may go either way around. NaN, which has
    # no position, is less than nothing.
    west, east = lon.min(axis=1), lon.max(axis=1)
    is_plain = np.isfinite(lat).all(axis=1) & (east - west < _WIDEST) & (west >= -180) & (east <= 180)
    found = np.full(len(windows), None)
    found[is_plain] = shapely.polygons(np.stack([lon[is_plain], np.clip(lat[is_plain], -90.0, 90.0)], axis=-1))
    for number in np.flatnonzero(~is_plain).tolist():
        row, col, row_stop, col_stop = windows[number].tolist()
        corner = (a, b, a * col + b * row + c, d, e, d * col + e * row + f)
        found[number] = footprint(crs, corner, col_stop - col, row_stop - row)
    return found
