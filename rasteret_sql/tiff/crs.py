"""GeoKeys to a CRS: an EPSG code where there is one, WKT2 built by PROJ where the keys define their own."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.tiff.geo import REVISION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_sql.tiff.geo import GeoKeys

MODEL_TYPE: Final = 1024
CITATION: Final = 1026
GEOGRAPHIC_TYPE: Final = 2048
GEOGRAPHIC_CITATION: Final = 2049
DATUM: Final = 2050
PRIME_MERIDIAN: Final = 2051
ANGULAR_UNITS: Final = 2054
ANGULAR_UNIT_SIZE: Final = 2055
ELLIPSOID: Final = 2056
SEMI_MAJOR_AXIS: Final = 2057
SEMI_MINOR_AXIS: Final = 2058
INVERSE_FLATTENING: Final = 2059
PRIME_MERIDIAN_LONGITUDE: Final = 2061
PROJECTED_TYPE: Final = 3072
PROJECTED_CITATION: Final = 3073
PROJECTION: Final = 3074
METHOD: Final = 3075
LINEAR_UNITS: Final = 3076
LINEAR_UNIT_SIZE: Final = 3077
TO_WGS84: Final = 2062
VERTICAL_TYPE: Final = 4096
VERTICAL_CITATION: Final = 4097
VERTICAL_DATUM: Final = 4098
VERTICAL_UNITS: Final = 4099

MODEL_PROJECTED: Final = 1
MODEL_GEOGRAPHIC: Final = 2
USER_DEFINED: Final = 32767
WGS84_3D: Final = 4979
"""As vertical CRS it means heights above the ellipsoid."""

_STANDARD_PARALLEL_1, _STANDARD_PARALLEL_2 = 3078, 3079
_ORIGIN_LONGITUDE, _ORIGIN_LATITUDE = 3080, 3081
_FALSE_EASTING, _FALSE_NORTHING = 3082, 3083
_FALSE_ORIGIN_LONGITUDE, _FALSE_ORIGIN_LATITUDE = 3084, 3085
_FALSE_ORIGIN_EASTING, _FALSE_ORIGIN_NORTHING = 3086, 3087
_CENTER_LONGITUDE, _CENTER_LATITUDE = 3088, 3089
_CENTER_EASTING, _CENTER_NORTHING = 3090, 3091
_ORIGIN_SCALE, _CENTER_SCALE = 3092, 3093
_AZIMUTH, _POLE_LONGITUDE = 3094, 3095
_RECTIFIED_ANGLE = 3096

_LONGITUDES = (_ORIGIN_LONGITUDE, _FALSE_ORIGIN_LONGITUDE, _CENTER_LONGITUDE, _POLE_LONGITUDE)
_LATITUDES = (_ORIGIN_LATITUDE, _FALSE_ORIGIN_LATITUDE, _CENTER_LATITUDE)
_SCALES = (_ORIGIN_SCALE, _CENTER_SCALE)
_EASTINGS = (_FALSE_EASTING, _FALSE_ORIGIN_EASTING, _CENTER_EASTING)
_NORTHINGS = (_FALSE_NORTHING, _FALSE_ORIGIN_NORTHING, _CENTER_NORTHING)

_Parameter = tuple[str, tuple[int, ...], float]
"""WKT1 name, GeoKeys that may hold it in order of preference, default."""

_OFFSETS: Final[tuple[_Parameter, ...]] = (
    ("false_easting", _EASTINGS, 0.0),
    ("false_northing", _NORTHINGS, 0.0),
)
_ORIGIN: Final[tuple[_Parameter, ...]] = (
    ("latitude_of_origin", _LATITUDES, 0.0),
    ("central_meridian", _LONGITUDES, 0.0),
)
_SCALED_ORIGIN: Final[tuple[_Parameter, ...]] = (*_ORIGIN, ("scale_factor", _SCALES, 1.0))
_CENTER: Final[tuple[_Parameter, ...]] = (
    ("latitude_of_center", _LATITUDES, 0.0),
    ("longitude_of_center", _LONGITUDES, 0.0),
)
_PARALLELS: Final[tuple[_Parameter, ...]] = (
    ("standard_parallel_1", (_STANDARD_PARALLEL_1,), 0.0),
    ("standard_parallel_2", (_STANDARD_PARALLEL_2,), 0.0),
)
_MERIDIAN: Final[_Parameter] = ("central_meridian", _LONGITUDES, 0.0)

_METHODS: Final[dict[int, tuple[str, tuple[_Parameter, ...]]]] = {
    1: ("Transverse_Mercator", _SCALED_ORIGIN),
    7: ("Mercator_1SP", _SCALED_ORIGIN),
    8: ("Lambert_Conformal_Conic_2SP", (*_PARALLELS, *_ORIGIN)),
    9: ("Lambert_Conformal_Conic_1SP", _SCALED_ORIGIN),
    10: ("Lambert_Azimuthal_Equal_Area", _CENTER),
    11: ("Albers_Conic_Equal_Area", (*_PARALLELS, *_CENTER)),
    12: ("Azimuthal_Equidistant", _CENTER),
    13: ("Equidistant_Conic", (*_PARALLELS, *_CENTER)),
    14: ("Stereographic", _SCALED_ORIGIN),
    15: (
        "Polar_Stereographic",
        (
            ("latitude_of_origin", _LATITUDES, 0.0),
            ("central_meridian", (_POLE_LONGITUDE, *_LONGITUDES), 0.0),
            ("scale_factor", _SCALES, 1.0),
        ),
    ),
    16: ("Oblique_Stereographic", _SCALED_ORIGIN),
    17: (
        "Equirectangular",
        (
            ("standard_parallel_1", (_STANDARD_PARALLEL_1,), 0.0),
            ("latitude_of_origin", (_CENTER_LATITUDE, *_LATITUDES), 0.0),
            ("central_meridian", (_CENTER_LONGITUDE, *_LONGITUDES), 0.0),
        ),
    ),
    18: ("Cassini_Soldner", _ORIGIN),
    19: ("Gnomonic", _ORIGIN),
    20: ("Miller_Cylindrical", _CENTER),
    21: ("Orthographic", _ORIGIN),
    22: ("Polyconic", _SCALED_ORIGIN),
    23: ("Robinson", (("longitude_of_center", _LONGITUDES, 0.0),)),
    24: ("Sinusoidal", (("longitude_of_center", _LONGITUDES, 0.0),)),
    25: ("VanDerGrinten", (_MERIDIAN,)),
    26: ("New_Zealand_Map_Grid", _ORIGIN),
    27: ("Transverse_Mercator_South_Orientated", _SCALED_ORIGIN),
    28: (
        "Cylindrical_Equal_Area",
        (("standard_parallel_1", (_STANDARD_PARALLEL_1,), 0.0), _MERIDIAN),
    ),
}
"""WKT1 projection and its parameters by ProjCoordTransGeoKey, as OGR spells them."""

_LINEAR_UNITS: Final[dict[int, tuple[str, float]]] = {
    9001: ("metre", 1.0),
    9002: ("foot", 0.3048),
    9003: ("US survey foot", 1200 / 3937),
    9005: ("Clarke's foot", 0.3047972654),
    9036: ("kilometre", 1000.0),
}
_ANGULAR_UNITS: Final[dict[int, tuple[str, float]]] = {
    9101: ("radian", 1.0),
    9102: ("degree", 0.0174532925199433),
    9105: ("grad", 0.01570796326794897),
    9106: ("gon", 0.01570796326794897),
    9122: ("degree", 0.0174532925199433),
}
_CITED: Final = {
    "WGS_1984_Web_Mercator": "ESRI:102113",
    "WGS_1984_Web_Mercator_Auxiliary_Sphere": "EPSG:3857",
}
"""CRSs that ArcGIS names and whose keys do not say what it means."""

METRIC_CODES: Final = (
    (2056, 2056), (2154, 2154), (3031, 3035), (3395, 3395), (3413, 3413), (3577, 3577), (3857, 3857),
    (5070, 5070), (6931, 6933), (25828, 25838), (26901, 26923), (27700, 27700), (28348, 28358),
    (32601, 32660), (32701, 32760),
)  # fmt: skip
"""Ranges (both ends inclusive) of common EPSG codes in metres, for which PROJ need not be asked."""

_ESRI_PE: Final = "ESRI PE String = "


def crs_of(keys: GeoKeys) -> tuple[str | None, str | None]:
    """The CRS that GeoKeys describe, as authority code or WKT2, or None and a note that says why.

    PROJ is imported only where the keys do not hold an EPSG code that says all.
    """
    code = _plain_code(keys)
    if code is not None:
        return f"EPSG:{code}", None
    if not any(key in keys for key in (MODEL_TYPE, GEOGRAPHIC_TYPE, PROJECTED_TYPE, PROJECTED_CITATION)):
        return None, None
    try:
        return _defined(tuple(sorted(keys.items())))
    except Exception as error:  # noqa: BLE001 - PROJ and its database fail in ways that are not worth telling apart
        return None, f"no CRS: its GeoKeys cannot be understood ({type(error).__name__}: {str(error)[:200]})"


def vertical_unit(keys: GeoKeys) -> str | None:
    """The unit that the vertical GeoKeys give to pixel values, as GDAL does; None where there is none."""
    code = keys.get(VERTICAL_UNITS)
    if isinstance(code, int):
        return _LINEAR_UNITS[code][0] if code in _LINEAR_UNITS else None
    vertical = keys.get(VERTICAL_TYPE)
    if not isinstance(vertical, int) or not _is_code(vertical) or vertical == WGS84_3D:
        return None
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return str(CRS.from_epsg(vertical).axis_info[-1].unit_name)
    except (CRSError, IndexError):
        return None


def _plain_code(keys: GeoKeys) -> int | None:
    """The EPSG code that says all without a look into PROJ's database."""
    model = keys.get(MODEL_TYPE)
    projected = keys.get(PROJECTED_TYPE)
    geographic = keys.get(GEOGRAPHIC_TYPE)
    if _has_heights(keys):
        return None
    if isinstance(projected, int) and _is_code(projected) and model in {None, MODEL_PROJECTED}:
        # Another unit than that of the code changes the CRS, and EPSG has codes in feet.
        unit = keys.get(LINEAR_UNITS)
        is_metric = any(first <= projected <= last for first, last in METRIC_CODES)
        return projected if unit is None or (unit == 9001 and is_metric) else None
    if isinstance(geographic, int) and _is_code(geographic) and model == MODEL_GEOGRAPHIC:
        return geographic if keys.get(ANGULAR_UNITS, 9102) in {9102, 9122} else None
    return None


def _has_heights(keys: Mapping[int, Any]) -> bool:
    """Whether GDAL reports a vertical CRS too: it does for files of GeoTIFF 1.1."""
    return bool(keys.get(REVISION)) and any(key in keys for key in (VERTICAL_TYPE, VERTICAL_CITATION, VERTICAL_DATUM))


def _is_code(value: object) -> bool:
    return isinstance(value, int) and 1024 <= value < USER_DEFINED


@lru_cache(maxsize=256)
def _defined(items: tuple[tuple[int, Any], ...]) -> tuple[str | None, str | None]:
    """The CRS of keys without a plain code; the keys are a tuple so that the result can be kept."""
    from pyproj import CRS

    keys = dict(items)
    horizontal = _wkt1(keys)
    if horizontal is None:
        return None, "no CRS: its GeoKeys name no coordinate system"
    crs = CRS.from_user_input(horizontal)
    if _is_code(keys.get(PROJECTED_TYPE)):
        crs = _in_unit(crs, *_linear_unit(keys))
    if _has_heights(keys):
        crs = _with_vertical(crs, keys)
    return _spelled(crs), None


def _in_unit(crs: Any, name: str, size: float) -> Any:
    """The CRS with its axes in another linear unit; itself where they have it already."""
    if all(abs(axis.unit_conversion_factor - size) < 1e-9 * size for axis in crs.axis_info):
        return crs
    from pyproj import CRS

    definition = crs.to_json_dict()
    definition.pop("id", None)
    for axis in definition["coordinate_system"]["axis"]:
        axis["unit"] = {"type": "LinearUnit", "name": name, "conversion_factor": size}
    return CRS.from_json_dict(definition)


def _with_vertical(crs: Any, keys: Mapping[int, Any]) -> Any:
    """The CRS with heights."""
    from pyproj import CRS
    from pyproj.crs import CompoundCRS

    code: Any = keys.get(VERTICAL_TYPE)
    if code == WGS84_3D:
        return crs.to_3d()
    if _is_code(code):
        vertical = CRS.from_epsg(code)
    else:
        named = _named_parts(str(keys.get(VERTICAL_CITATION, "")))
        datum = named.get("Datum Name", "unknown")
        if _is_code(keys.get(VERTICAL_DATUM)):
            datum = _from_epsg("Datum", keys[VERTICAL_DATUM]).name
        name = named.get("VCS Name") or named.get("GCS Name") or "unknown"
        unit, size = _LINEAR_UNITS.get(keys.get(VERTICAL_UNITS, 9001), _LINEAR_UNITS[9001])
        vertical = CRS.from_wkt(
            f'VERT_CS[{_quoted(name)},VERT_DATUM[{_quoted(datum)},2005],UNIT[{_quoted(unit)},{size!r}],AXIS["Up",UP]]'
        )
    return CompoundCRS(f"{crs.name} + {vertical.name}", [crs, vertical])


def _spelled(crs: Any) -> str:
    """Authority code of a CRS where one says exactly the same, otherwise its WKT2."""
    from pyproj import CRS

    authority = None if crs.is_bound else crs.to_authority(min_confidence=70)
    if authority is not None:
        known = CRS.from_authority(*authority)
        if known.equals(crs, ignore_axis_order=True):
            return ":".join(authority)
    wkt: str = crs.to_wkt("WKT2_2019")
    return wkt


def _wkt1(keys: Mapping[int, Any]) -> str | None:
    """The CRS as WKT1 or EPSG code, for PROJ to read."""
    citation = str(keys.get(PROJECTED_CITATION, "")) or str(keys.get(CITATION, ""))
    if citation in _CITED:
        return _CITED[citation]
    if _ESRI_PE in citation:
        return citation.split(_ESRI_PE, 1)[1]
    projected = keys.get(PROJECTED_TYPE)
    model = keys.get(MODEL_TYPE)
    if _is_code(projected):
        return f"EPSG:{projected}"
    if model == MODEL_PROJECTED or projected is not None:
        return _projected_wkt1(keys)
    if model == MODEL_GEOGRAPHIC or GEOGRAPHIC_TYPE in keys:
        return _geographic_wkt1(keys)
    return None


def _projected_wkt1(keys: Mapping[int, Any]) -> str | None:
    base = _geographic_wkt1(keys)
    if base is None:
        return None
    angle = _angular_unit(keys)[1] / _ANGULAR_UNITS[9102][1]
    unit, size = _linear_unit(keys)
    zone = int(keys.get(PROJECTION, USER_DEFINED))
    values: dict[str, float]
    if 16001 <= zone <= 16060 or 16101 <= zone <= 16160:
        number, south = zone % 100, zone > 16100
        method = "Transverse_Mercator"
        values = {
            "latitude_of_origin": 0.0,
            "central_meridian": number * 6.0 - 183.0,
            "scale_factor": 0.9996,
            "false_easting": 500000.0 / size,
            "false_northing": (10000000.0 if south else 0.0) / size,
        }
    else:
        if keys.get(METHOD) not in _METHODS:
            return _conversion_of_code(zone, base)
        method, parameters = _METHODS[keys[METHOD]]
        if method == "Mercator_1SP" and _STANDARD_PARALLEL_1 in keys:
            method = "Mercator_2SP"
            parameters = (("standard_parallel_1", (_STANDARD_PARALLEL_1,), 0.0), _MERIDIAN)
        values = {}
        for name, candidates, default in (*parameters, *_OFFSETS):
            value = next((float(keys[key]) for key in candidates if key in keys), default)
            is_angle = not name.startswith(("false", "scale"))
            values[name] = value * angle if is_angle else value
    name = _quoted(str(keys.get(PROJECTED_CITATION) or keys.get(CITATION) or "unnamed"))
    listed = ",".join(f'PARAMETER["{key}",{value!r}]' for key, value in values.items())
    return f'PROJCS[{name},{base},PROJECTION["{method}"],{listed},UNIT[{_quoted(unit)},{size!r}]]'


def _conversion_of_code(code: int, base: str) -> str | None:
    """A projected CRS whose projection is an EPSG coordinate operation."""
    if not _is_code(code):
        return None
    from pyproj import CRS
    from pyproj.crs import ProjectedCRS

    operation = _from_epsg("CoordinateOperation", code)
    wkt: str = ProjectedCRS(operation, geodetic_crs=CRS.from_user_input(base)).to_wkt()
    return wkt


def _geographic_wkt1(keys: Mapping[int, Any]) -> str | None:
    code: Any = keys.get(GEOGRAPHIC_TYPE)
    if _is_code(code):
        from pyproj import CRS

        crs = CRS.from_epsg(code)
        wkt: str = (crs.to_2d() if len(crs.axis_info) == 3 else crs).to_wkt("WKT1_GDAL")
        return wkt
    named = _named_parts(str(keys.get(GEOGRAPHIC_CITATION, "")))
    spheroid = _spheroid(keys, named)
    if spheroid is None:
        return None
    datum = named.get("Datum", "unknown")
    if _is_code(keys.get(DATUM)):
        datum = _from_epsg("Datum", keys[DATUM]).name
    meridian = float(keys.get(PRIME_MERIDIAN_LONGITUDE, 0.0))
    meridian_name = named.get("Primem", "Greenwich" if meridian == 0 else "unnamed")
    if _is_code(keys.get(PRIME_MERIDIAN)):
        prime = _from_epsg("PrimeMeridian", keys[PRIME_MERIDIAN])
        meridian, meridian_name = prime.longitude, prime.name
    unit, size = _angular_unit(keys)
    shift = ""
    if isinstance(keys.get(TO_WGS84), tuple):
        values = (*keys[TO_WGS84], 0.0, 0.0, 0.0, 0.0)[:7]
        shift = f",TOWGS84[{','.join(repr(float(value)) for value in values)}]"
    return (
        f"GEOGCS[{_quoted(named.get('GCS Name', 'unknown'))},DATUM[{_quoted(datum)},{spheroid}{shift}],"
        f"PRIMEM[{_quoted(meridian_name)},{meridian!r}],UNIT[{_quoted(unit)},{size!r}]]"
    )


def _spheroid(keys: Mapping[int, Any], named: Mapping[str, str]) -> str | None:
    """The ellipsoid as WKT1, from its axes, its code, or the code of its datum."""
    code: Any = keys.get(ELLIPSOID)
    major = keys.get(SEMI_MAJOR_AXIS)
    minor = keys.get(SEMI_MINOR_AXIS)
    inverse = keys.get(INVERSE_FLATTENING)
    name = named.get("Ellipsoid", "unknown")
    if _is_code(code) or (major is None and _is_code(keys.get(DATUM))):
        known: Any = _from_epsg("Ellipsoid", code) if _is_code(code) else _from_epsg("Datum", keys[DATUM]).ellipsoid
        name = known.name
        if major is None:
            major, inverse, minor = known.semi_major_metre, known.inverse_flattening, None
    if major is None:
        return None
    if inverse is None:
        inverse = 0.0 if minor in {None, major} else major / (major - minor)
    return f"SPHEROID[{_quoted(name)},{float(major)!r},{float(inverse)!r}]"


def _named_parts(citation: str) -> dict[str, str]:
    """The parts of a citation such as `GCS Name = unknown|Datum = D_x|Ellipsoid = E|Primem = Greenwich|`."""
    parts = re.split(r"\|", citation)
    pairs = (part.split("=", 1) for part in parts if "=" in part)
    named = {key.strip(): value.strip() for key, value in pairs}
    if not named and citation:
        named["GCS Name"] = citation
    return named


def _linear_unit(keys: Mapping[int, Any]) -> tuple[str, float]:
    code = keys.get(LINEAR_UNITS, 9001)
    if code in _LINEAR_UNITS:
        return _LINEAR_UNITS[code]
    return "unknown", float(keys.get(LINEAR_UNIT_SIZE, 1.0))


def _angular_unit(keys: Mapping[int, Any]) -> tuple[str, float]:
    code = keys.get(ANGULAR_UNITS, 9102)
    if code in _ANGULAR_UNITS:
        return _ANGULAR_UNITS[code]
    return "unknown", float(keys.get(ANGULAR_UNIT_SIZE, _ANGULAR_UNITS[9102][1]))


def _from_epsg(kind: str, code: int) -> Any:
    """A part of a CRS, such as a Datum, by its EPSG code."""
    import pyproj.crs

    return getattr(pyproj.crs, kind).from_epsg(code)


def _quoted(text: str) -> str:
    """Text as WKT string; quotes are doubled."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
