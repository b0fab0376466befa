"""Whether two CRSs are the same, across spellings and versions of the EPSG registry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
from pyproj.crs import Datum
from pyproj.exceptions import CRSError

SAME_M = 0.001
"""Maps that differ by less are the same."""

_DEGREE = np.pi / 180


def same_crs(ours: str | None, theirs: Any) -> bool:
    """Whether our CRS is that of rasterio.

    Args:
        ours: authority code or WKT2.
        theirs: a `rasterio.crs.CRS` or None. An engineering CRS is a name without a definition: None here.
    """
    if not theirs or any(keyword in theirs.to_wkt() for keyword in ("LOCAL_CS[", "ENGCRS[")):
        return ours is None
    if ours is None:
        return False
    mine, other = pyproj.CRS.from_user_input(ours), pyproj.CRS.from_wkt(theirs.to_wkt())
    if mine.equals(other, ignore_axis_order=True):
        # To PROJ a datum "unknown" equals each other one with its ellipsoid.
        return _datum_names(mine) == _datum_names(other)
    # rasterio's registry may be newer or older than pyproj's: what a code means is not a matter of the file.
    return theirs.to_authority() == tuple(ours.split(":")) or _map_alike(mine, other)


def _map_alike(mine: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Whether two CRSs have equal datums and units, and give each place on a grid the same coordinates."""
    if mine.is_compound or other.is_compound:
        parts = list(zip(mine.sub_crs_list, other.sub_crs_list, strict=False))
        whole = len(mine.sub_crs_list) == len(other.sub_crs_list) > 0
        return whole and all(one.equals(two, ignore_axis_order=True) or _map_alike(one, two) for one, two in parts)
    if mine.is_bound or other.is_bound or mine.is_vertical or other.is_vertical:
        return False
    if len(mine.axis_info) != len(other.axis_info) or mine.is_projected != other.is_projected:
        return False
    if not np.allclose(_units(mine), _units(other), rtol=1e-10, atol=0):
        return False
    return _datums_alike(mine, other) and (not mine.is_projected or _grids_alike(mine, other))


def _units(crs: pyproj.CRS) -> list[float]:
    return [axis.unit_conversion_factor for axis in crs.axis_info]


def _datums_alike(mine: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Whether ellipsoids and prime meridians are equal, and the datums too, unless the registry knows neither."""
    one, two = mine.ellipsoid, other.ellipsoid
    if one is None or two is None or mine.prime_meridian is None or other.prime_meridian is None:
        return False
    axes = [(ellipsoid.semi_major_metre, _semi_minor(ellipsoid)) for ellipsoid in (one, two)]
    meridians = [crs.prime_meridian.longitude * crs.prime_meridian.unit_conversion_factor for crs in (mine, other)]
    if not np.allclose(*axes, rtol=0, atol=SAME_M) or abs(meridians[0] - meridians[1]) > 1e-11:
        return False
    return _datum_names(mine) == _datum_names(other)


def _semi_minor(ellipsoid: Any) -> float:
    flattening = 1 / ellipsoid.inverse_flattening if ellipsoid.inverse_flattening else 0.0
    return float(ellipsoid.semi_major_metre * (1 - flattening))


def _datum_name(crs: pyproj.CRS) -> str | None:
    """The name of the datum of a CRS in the EPSG registry; None where it has none there."""
    name = crs.datum.name if crs.datum is not None else ""
    try:
        return str(Datum.from_name(name, auth_name="EPSG").name).removesuffix(" ensemble")
    except CRSError:
        return None


def _datum_names(crs: pyproj.CRS) -> list[str | None]:
    return [_datum_name(part) for part in crs.sub_crs_list or [crs]]


def _grids_alike(mine: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Whether both projections put a grid of places all over the globe at the same coordinates."""
    lon, lat = (values.ravel() for values in np.meshgrid(np.arange(-180, 181, 7.5), np.arange(-90, 91, 7.5)))
    grids = []
    for crs in (mine, other):
        angle = crs.geodetic_crs.axis_info[0].unit_conversion_factor / _DEGREE
        transformer = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
        x, y = transformer.transform(lon / angle, lat / angle)
        grids.append(np.stack([x, y]) * crs.axis_info[0].unit_conversion_factor)
    near = [np.isfinite(grid).all(0) & (np.abs(grid) < 5e7).all(0) for grid in grids]
    both = near[0] & near[1]
    if (near[0] != near[1]).any() or both.sum() < 20:
        return False
    return bool(np.abs(grids[0][:, both] - grids[1][:, both]).max() < SAME_M)
