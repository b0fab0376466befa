"""GeoKeys to a CRS. Common EPSG codes need no look-up in PROJ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rasteret_sql.tiff.geo import RASTER_TYPE, REVISION
from rasteret_sql.tiff.geokeys import (
    CITATION,
    DATUM,
    ELLIPSOID,
    GEOGRAPHIC_TYPE,
    LINEAR_UNITS,
    METRE,
    MODEL_GEOGRAPHIC,
    MODEL_PROJECTED,
    MODEL_TYPE,
    PROJECTED_CITATION,
    PROJECTED_TYPE,
    VERTICAL_TYPE,
    VERTICAL_UNITS,
    is_code,
    is_imagine,
    may_have_heights,
    text_of,
)

if TYPE_CHECKING:
    from rasteret_sql.tiff.geo import GeoKeys

METRIC_CODES: Final = (
    (2056, 2056), (2154, 2154), (3031, 3031), (3034, 3035), (3395, 3395), (3413, 3413), (3577, 3577), (3857, 3857),
    (5070, 5070), (6931, 6933), (25828, 25837), (26901, 26923), (27700, 27700), (28348, 28358),
    (32601, 32660), (32701, 32760),
)  # fmt: skip
"""Ranges (both ends inclusive) of common EPSG codes in metres that need no look-up in PROJ."""

_METRIC: Final = frozenset(code for first, last in METRIC_CODES for code in range(first, last + 1))

GEOGRAPHIC_CODES: Final = frozenset((4258, 4267, 4269, 4283, 4326))
"""Common EPSG codes of geographic CRSs that need no look-up in PROJ."""


def crs_of(keys: GeoKeys) -> tuple[str | None, str | None]:
    """The CRS that GeoKeys describe, as authority code or WKT2, or None and a note that says why.

    PROJ is imported only where the keys do not hold a common EPSG code that says all.
    """
    code = _plain_code(keys)
    if code is not None:
        return f"EPSG:{code}", None
    if not set(keys) - {REVISION, RASTER_TYPE}:
        return None, None
    try:
        from rasteret_sql.tiff.definitions import defined

        return defined(tuple(sorted(keys.items())))
    except Exception as error:  # noqa: BLE001 - PROJ and its database fail in ways that are not worth telling apart
        return None, f"no CRS: its GeoKeys cannot be understood ({type(error).__name__}: {str(error)[:200]})"


def vertical_unit(keys: GeoKeys) -> str | None:
    """The unit that the vertical GeoKeys give to pixel values, as GDAL does; None where there is none."""
    code = keys.get(VERTICAL_UNITS)
    if isinstance(code, int):
        from rasteret_sql.tiff.units import linear_unit

        try:
            return linear_unit(code).name
        except LookupError:
            return None
    vertical = keys.get(VERTICAL_TYPE)
    if not isinstance(vertical, int) or not is_code(vertical):
        return None
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_epsg(vertical)
    except CRSError:
        return None
    return str(crs.axis_info[-1].unit_name) if crs.is_vertical else None


def _plain_code(keys: GeoKeys) -> int | None:
    """The EPSG code of keys that need no look-up in PROJ, or None."""
    if may_have_heights(keys):
        return None
    model = keys.get(MODEL_TYPE)
    code = keys.get(GEOGRAPHIC_TYPE)
    if model == MODEL_GEOGRAPHIC:
        return code if isinstance(code, int) and code in GEOGRAPHIC_CODES else None
    projected = keys.get(PROJECTED_TYPE)
    if not isinstance(projected, int) or model not in {None, MODEL_PROJECTED}:
        return None
    if keys.get(LINEAR_UNITS, METRE) != METRE or any(key in keys for key in (GEOGRAPHIC_TYPE, DATUM, ELLIPSOID)):
        return None
    if is_imagine(text_of(keys, CITATION, PROJECTED_CITATION)):
        return None
    return projected if projected in _METRIC else None
