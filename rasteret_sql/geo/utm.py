"""Bounds in longitude and latitude as bounds in UTM and Web Mercator, without PROJ, whose import takes 60 ms.

The formulas are those of `sql/macros/_rst_project_to_utm.sql` and `_rst_project_to_mercator.sql`, to the last term. All
other projections are PROJ's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from rasteret_sql.geo.antimeridian import repeated

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

#: One revolution around the Earth, in degrees.
REVOLUTION: Final = 360.0
#: CRSs in longitude and latitude in degrees on (very nearly) WGS 84.
_LONLAT: Final = frozenset({"OGC:CRS84", "EPSG:4326", "EPSG:4269", "EPSG:4258", "CRS84"})
#: Zones of WGS 84 in the north and in the south, of NAD83 and of ETRS89.
_NORTH: Final = re.compile(r"EPSG:326(0[1-9]|[1-5]\d|60)|EPSG:269(0[1-9]|1\d|2[0-3])|EPSG:258(2[89]|3[0-8])")
_SOUTH: Final = re.compile(r"EPSG:327(0[1-9]|[1-5]\d|60)")
#: First eccentricity of WGS 84, its equatorial radius, and 0.9996 times its rectifying radius, in metres.
_ECCENTRICITY: Final = 0.0818191908426215
_RADIUS: Final = 6_378_137.0
_SCALED_RADIUS: Final = 6_364_902.166165086
#: Krueger's series for WGS 84, (turns, factor), the smallest term first, so that their sum loses nothing.
_SERIES: Final = (
    (12, 1.491117731258390e-17),
    (10, 5.711757677865804e-15),
    (8, 2.429170607201359e-12),
    (6, 1.197645503329453e-9),
    (4, 7.608527773572307e-7),
    (2, 8.377318206244698e-4),
)
#: Latitudes beyond are cut off, and longitudes so far from the meridian of a zone.
_MAX_LATITUDE: Final = 89.9
_ZONE_REACH: Final = 45
#: Steps along an edge: so many a degree, and an edge at least.
_STEPS: Final = 22


def is_lonlat(code: str | None) -> bool:
    """Whether a code stands for longitude and latitude in degrees on (very nearly) WGS 84."""
    return code is not None and code.upper() in _LONLAT


def utm_zone(code: str) -> int | None:
    """Give the zone of a UTM CRS of WGS 84, NAD83 or ETRS89, below 0 in the south; None for other CRSs."""
    code = code.upper()
    if _NORTH.fullmatch(code):
        return int(code[-2:])
    return -int(code[-2:]) if _SOUTH.fullmatch(code) else None


def bounds_in_utm(parts: Floats, zone: int) -> Floats:
    """Give lon/lat bounds as bounds in a UTM zone.

    Args:
        parts: (xmin, ymin, xmax, ymax) in degrees, shape (parts, 4).
        zone: below 0 in the south.

    Returns:
        Bounds in metres; none of parts over 45 degrees from the zone's meridian, which cuts the others off.
    """
    meridian = 6 * abs(zone) - 183
    parts = repeated(parts, REVOLUTION)
    xmin, xmax = np.maximum(parts[:, 0], meridian - _ZONE_REACH), np.minimum(parts[:, 2], meridian + _ZONE_REACH)
    ymin, ymax = np.maximum(parts[:, 1], -_MAX_LATITUDE), np.minimum(parts[:, 3], _MAX_LATITUDE)
    found = [
        _bounds(*_utm(*_boundary(*part, meridian), meridian, south=zone < 0))
        for part in zip(xmin.tolist(), ymin.tolist(), xmax.tolist(), ymax.tolist(), strict=True)
        if part[0] <= part[2] and part[1] <= part[3]
    ]
    return np.array(found, np.float64).reshape(-1, 4)


def bounds_in_mercator(parts: Floats) -> Floats:
    """Give lon/lat bounds as bounds in EPSG:3857, one revolution around the Earth to the west and to the east too.

    Latitudes beyond 89.9 degrees are cut off.
    """
    parts = repeated(parts, REVOLUTION)
    x = _RADIUS * np.radians(parts[:, 0::2])
    low, high = np.maximum(parts[:, 1], -_MAX_LATITUDE), np.minimum(parts[:, 3], _MAX_LATITUDE)
    y = _RADIUS * np.arcsinh(np.tan(np.radians(np.stack([low, high], axis=1))))
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)


def _boundary(xmin: float, ymin: float, xmax: float, ymax: float, meridian: float) -> tuple[Floats, Floats]:
    """Give points (lon, lat) along the edges of bounds, with those where an edge in UTM turns."""
    steps = max(_STEPS, int(np.ceil(_STEPS * max(xmax - xmin, ymax - ymin))))
    part = np.arange(steps + 1)
    x, y = xmin + (xmax - xmin) * part / steps, ymin + (ymax - ymin) * part / steps
    # Northing turns along a parallel at the meridian, easting along a meridian at the equator.
    turn_x, turn_y = max(xmin, min(xmax, meridian)), max(ymin, min(ymax, 0.0))
    ones = np.ones(steps + 1)
    return (
        np.concatenate([x, x, xmin * ones, xmax * ones, [turn_x, turn_x, xmin, xmax]]),
        np.concatenate([ymin * ones, ymax * ones, y, y, [ymin, ymax, turn_y, turn_y]]),
    )


def _utm(lon: Floats, lat: Floats, meridian: float, *, south: bool) -> tuple[Floats, Floats]:
    """Give easting and northing in metres."""
    phi, delta = np.radians(lat), np.radians(lon - meridian)
    # Tangent of the conformal latitude.
    tau = np.sinh(np.arcsinh(np.tan(phi)) - _ECCENTRICITY * np.arctanh(_ECCENTRICITY * np.sin(phi)))
    xi = np.arctan2(tau, np.cos(delta))
    eta = np.arcsinh(np.sin(delta) / np.sqrt(tau * tau + np.cos(delta) ** 2))
    east, north = np.zeros_like(xi), np.zeros_like(xi)
    for turns, factor in _SERIES:
        east += factor * np.cos(turns * xi) * np.sinh(turns * eta)
        north += factor * np.sin(turns * xi) * np.cosh(turns * eta)
    return 500_000 + _SCALED_RADIUS * (eta + east), 10_000_000 * south + _SCALED_RADIUS * (xi + north)


def _bounds(x: Floats, y: Floats) -> tuple[float, float, float, float]:
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
