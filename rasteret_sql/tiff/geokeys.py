"""Numbers of the GeoKeys that describe a CRS (OGC 19-008r4, GeoTIFF 1.1), and helpers for their values."""

from __future__ import annotations

import re
from typing import Any, Final, TypeGuard

from rasteret_sql.tiff.geo import REVISION

GeoKeyValues = dict[int, Any]
"""Values by GeoKey number, as `rasteret_sql.tiff.geo.parse_geo_keys` gives them."""

MODEL_TYPE: Final = 1024
CITATION: Final = 1026

GEOGRAPHIC_TYPE: Final = 2048
GEOGRAPHIC_CITATION: Final = 2049
DATUM: Final = 2050
PRIME_MERIDIAN: Final = 2051
GEOGRAPHIC_LINEAR_UNITS: Final = 2052
ANGULAR_UNITS: Final = 2054
ANGULAR_UNIT_SIZE: Final = 2055
ELLIPSOID: Final = 2056
SEMI_MAJOR_AXIS: Final = 2057
SEMI_MINOR_AXIS: Final = 2058
INVERSE_FLATTENING: Final = 2059
AZIMUTH_UNITS: Final = 2060
PRIME_MERIDIAN_LONGITUDE: Final = 2061
TO_WGS84: Final = 2062

PROJECTED_TYPE: Final = 3072
PROJECTED_CITATION: Final = 3073
PROJECTION: Final = 3074
METHOD: Final = 3075
LINEAR_UNITS: Final = 3076
LINEAR_UNIT_SIZE: Final = 3077
STANDARD_PARALLEL_1: Final = 3078
STANDARD_PARALLEL_2: Final = 3079
ORIGIN_LONGITUDE: Final = 3080
ORIGIN_LATITUDE: Final = 3081
FALSE_EASTING: Final = 3082
FALSE_NORTHING: Final = 3083
FALSE_ORIGIN_LONGITUDE: Final = 3084
FALSE_ORIGIN_LATITUDE: Final = 3085
FALSE_ORIGIN_EASTING: Final = 3086
FALSE_ORIGIN_NORTHING: Final = 3087
CENTER_LONGITUDE: Final = 3088
CENTER_LATITUDE: Final = 3089
CENTER_EASTING: Final = 3090
CENTER_NORTHING: Final = 3091
ORIGIN_SCALE: Final = 3092
CENTER_SCALE: Final = 3093
AZIMUTH: Final = 3094
POLE_LONGITUDE: Final = 3095
RECTIFIED_ANGLE: Final = 3096

VERTICAL_TYPE: Final = 4096
VERTICAL_CITATION: Final = 4097
VERTICAL_DATUM: Final = 4098
VERTICAL_UNITS: Final = 4099

MODEL_PROJECTED: Final = 1
MODEL_GEOGRAPHIC: Final = 2
MODEL_GEOCENTRIC: Final = 3

USER_DEFINED: Final = 32767
METRE: Final = 9001
DEGREE: Final = 9102


def is_code(value: object) -> TypeGuard[int]:
    """Whether the value of a GeoKey is an EPSG code: neither absent, undefined, user-defined nor private."""
    return isinstance(value, int) and 1024 <= value < USER_DEFINED


def text_of(keys: GeoKeyValues, *numbers: int) -> str:
    """The first citation among some GeoKeys; empty where there is none."""
    return next((str(keys[number]) for number in numbers if keys.get(number)), "")


def one_line(text: str) -> str:
    """A citation without its line breaks, for names and notes."""
    return " ".join(text.split())


def is_imagine(citation: str) -> bool:
    """Whether ERDAS IMAGINE wrote a citation: lines of `Name = value` after its copyright."""
    return "IMAGINE GeoTIFF" in citation


def named_parts(citation: str) -> dict[str, str]:
    """The parts of a citation such as `GCS Name = unknown|Datum = D_x|Ellipsoid = E|Primem = Greenwich|`.

    A citation without parts is the name of the geographic CRS.
    """
    text = citation.rpartition("$")[2] if is_imagine(citation) else citation
    pairs = (part.split("=", 1) for part in re.split(r"[|\n]", text) if "=" in part)
    named = {key.strip(): value.strip() for key, value in pairs}
    if not named and text:
        named["GCS Name"] = one_line(text)
    return named


def projected_name(keys: GeoKeyValues) -> str:
    """The name that citations give a projected CRS, or `unnamed`."""
    for number in (PROJECTED_CITATION, CITATION):
        citation = str(keys.get(number, ""))
        named = named_parts(citation)
        name = named.get("PCS Name") or named.get("Projection Name") or ("" if is_imagine(citation) else citation)
        if name:
            return one_line(name)
    return "unnamed"


def quoted(text: str) -> str:
    """Text as WKT string; quotes are doubled."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def may_have_heights(keys: GeoKeyValues) -> bool:
    """Whether GDAL may report heights too: those over ellipsoids always, others for files of GeoTIFF 1.1."""
    if is_code(keys.get(VERTICAL_TYPE)):
        return True
    return bool(keys.get(REVISION)) and any(key in keys for key in (VERTICAL_TYPE, VERTICAL_DATUM, VERTICAL_UNITS))
