"""Map projections, from GeoKeys and to them: the keys of their parameters, and the names that WKT1 has for these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from rasteret_sql.tiff import geokeys
from rasteret_sql.tiff.geokeys import METHOD, STANDARD_PARALLEL_1, STANDARD_PARALLEL_2
from rasteret_sql.tiff.units import azimuth_unit, degrees

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_sql.tiff.geo import GeoKeys
    from rasteret_sql.tiff.geokeys import GeoKeyValues
    from rasteret_sql.tiff.units import Unit


class _Parameter(NamedTuple):
    """One parameter of a projection.

    Attributes:
        name: in WKT1.
        keys: GeoKeys that may hold it, in order of preference; writers differ.
        default: where none does.
        kind: in which unit the GeoKey is.
    """

    name: str
    keys: tuple[int, ...]
    default: float = 0.0
    kind: Literal["angle", "azimuth", "number"] = "angle"


class Projection(NamedTuple):
    """A projection with its parameters, angles in degrees and lengths in the unit of the axes."""

    method: str
    parameters: dict[str, float]
    axes: tuple[str, str] | None = None

    def wkt1(self, in_degrees: float = 1.0) -> str:
        """The nodes of a PROJCS, for a base whose angular unit has `in_degrees` degrees."""
        listed = ",".join(
            f'PARAMETER["{name}",{value / in_degrees if _is_angle(name) else value!r}]'
            for name, value in self.parameters.items()
        )
        return f'PROJECTION["{self.method}"],{listed}'

    def axes_wkt1(self) -> str:
        """The AXIS nodes of a PROJCS, where PROJ needs to be told."""
        if self.axes is None:
            return ""
        east, north = self.axes
        return f',AXIS["Easting",{east}],AXIS["Northing",{north}]'


_LONGITUDES: Final = (geokeys.ORIGIN_LONGITUDE, geokeys.FALSE_ORIGIN_LONGITUDE, geokeys.CENTER_LONGITUDE)
_LATITUDES: Final = (geokeys.ORIGIN_LATITUDE, geokeys.FALSE_ORIGIN_LATITUDE, geokeys.CENTER_LATITUDE)
_EASTINGS: Final = (geokeys.FALSE_EASTING, geokeys.CENTER_EASTING, geokeys.FALSE_ORIGIN_EASTING)
_NORTHINGS: Final = (geokeys.FALSE_NORTHING, geokeys.CENTER_NORTHING, geokeys.FALSE_ORIGIN_NORTHING)

_OFFSETS: Final = (
    _Parameter("false_easting", _EASTINGS, kind="number"),
    _Parameter("false_northing", _NORTHINGS, kind="number"),
)
_SCALE: Final = _Parameter("scale_factor", (geokeys.ORIGIN_SCALE, geokeys.CENTER_SCALE), 1.0, kind="number")
_MERIDIAN: Final = _Parameter("central_meridian", _LONGITUDES)
_PARALLEL: Final = _Parameter("standard_parallel_1", (STANDARD_PARALLEL_1,))
_PARALLELS: Final = (_PARALLEL, _Parameter("standard_parallel_2", (STANDARD_PARALLEL_2,)))
_LATITUDE: Final = _Parameter("latitude_of_origin", _LATITUDES)
_ORIGIN: Final = (_LATITUDE, _MERIDIAN)
_SCALED_ORIGIN: Final = (*_ORIGIN, _SCALE)
_CENTER: Final = (_Parameter("latitude_of_center", _LATITUDES), _Parameter("longitude_of_center", _LONGITUDES))
_AZIMUTH: Final = _Parameter("azimuth", (geokeys.AZIMUTH,), kind="azimuth")
_OBLIQUE: Final = (*_CENTER, _AZIMUTH, _Parameter("rectified_grid_angle", (geokeys.RECTIFIED_ANGLE,), 90.0), _SCALE)

_METHODS: Final[dict[int, tuple[str, tuple[_Parameter, ...]]]] = {
    1: ("Transverse_Mercator", _SCALED_ORIGIN),
    3: ("Hotine_Oblique_Mercator", _OBLIQUE),
    4: ("Laborde_Oblique_Mercator", (*_CENTER, _AZIMUTH, _SCALE)),
    7: ("Mercator_1SP", (_MERIDIAN, _SCALE)),
    8: ("Lambert_Conformal_Conic_2SP", (*_PARALLELS, *_ORIGIN)),
    9: ("Lambert_Conformal_Conic_1SP", _SCALED_ORIGIN),
    10: ("Lambert_Azimuthal_Equal_Area", _CENTER),
    11: ("Albers_Conic_Equal_Area", (*_PARALLELS, *_CENTER)),
    12: ("Azimuthal_Equidistant", _CENTER),
    13: ("Equidistant_Conic", (*_PARALLELS, *_CENTER)),
    14: ("Stereographic", _SCALED_ORIGIN),
    15: (
        "Polar_Stereographic",
        (_LATITUDE, _Parameter("central_meridian", (geokeys.POLE_LONGITUDE, *_LONGITUDES)), _SCALE),
    ),
    16: ("Oblique_Stereographic", _SCALED_ORIGIN),
    17: ("Equirectangular", (_PARALLEL, *_ORIGIN)),
    18: ("Cassini_Soldner", _ORIGIN),
    19: ("Gnomonic", _ORIGIN),
    20: ("Miller_Cylindrical", (_CENTER[1],)),
    21: ("Orthographic", _ORIGIN),
    22: ("Polyconic", _ORIGIN),
    23: ("Robinson", (_CENTER[1],)),
    24: ("Sinusoidal", (_CENTER[1],)),
    25: ("VanDerGrinten", (_MERIDIAN,)),
    26: ("New_Zealand_Map_Grid", _ORIGIN),
    27: ("Transverse_Mercator_South_Orientated", _SCALED_ORIGIN),
    28: ("Cylindrical_Equal_Area", (_PARALLEL, _MERIDIAN)),
    9815: ("Hotine_Oblique_Mercator_Azimuth_Center", _OBLIQUE),
}
"""WKT1 projection and its parameters by ProjMethodGeoKey, as OGR spells them; 9815 is an EPSG code that
libgeotiff writes, because GeoTIFF has no number for that variant."""

_CENTER_KEYS: Final = (geokeys.CENTER_LATITUDE, geokeys.CENTER_LONGITUDE)
_FALSE_ORIGIN_KEYS: Final = (
    geokeys.FALSE_ORIGIN_LATITUDE, geokeys.FALSE_ORIGIN_LONGITUDE, geokeys.FALSE_ORIGIN_EASTING,
    geokeys.FALSE_ORIGIN_NORTHING,
)  # fmt: skip
#: Methods that libgeotiff writes with the keys of a centre or a false origin; all others by a parameter's first key.
_CENTERED: Final = (3, 10, 12, 14, 17, 19, 20, 21, 23, 24, 25)
_WRITTEN_KEYS: Final = {8: _FALSE_ORIGIN_KEYS} | dict.fromkeys(_CENTERED, _CENTER_KEYS)

_UTM_NORTH: Final = range(16001, 16061)
_UTM_SOUTH: Final = range(16101, 16161)


def utm(code: int, metres: float) -> Projection | None:
    """The UTM zone of a ProjectionGeoKey, for axes in units of so many metres; None if it is no UTM zone."""
    if code not in _UTM_NORTH and code not in _UTM_SOUTH:
        return None
    return Projection(
        "Transverse_Mercator",
        {
            "latitude_of_origin": 0.0,
            "central_meridian": code % 100 * 6.0 - 183.0,
            "scale_factor": 0.9996,
            "false_easting": 500000.0 / metres,
            "false_northing": (10000000.0 if code in _UTM_SOUTH else 0.0) / metres,
        },
    )


def projection_of(keys: GeoKeyValues, angle: Unit) -> Projection | None:
    """The projection that GeoKeys define by method and parameters, or None.

    Args:
        keys: the GeoKeys.
        angle: the unit of longitudes and latitudes.
    """
    if keys.get(METHOD) not in _METHODS:
        return None
    method, listed = _METHODS[keys[METHOD]]
    if keys[METHOD] == 7:
        method, listed = _mercator(keys)
    values = {}
    for name, candidates, default, kind in (*listed, *_OFFSETS):
        found = next((float(keys[key]) for key in candidates if key in keys), None)
        if found is None:
            values[name] = default
        elif kind == "number":
            values[name] = found
        else:
            values[name] = degrees(found, angle if kind == "angle" else azimuth_unit(keys))
    return Projection(method, values, _axes(method, values))


def keys_of(method: str, parameters: Mapping[str, float]) -> GeoKeys | None:
    """Give the GeoKeys of a projection; None where GeoTIFF has no number for its method.

    Args:
        method: name of the projection in WKT1.
        parameters: by their names in WKT1; angles in degrees.
    """
    for number, (name, listed) in _METHODS.items():
        if name == method:
            preferred = _WRITTEN_KEYS.get(number, ())
            keys: GeoKeys = {METHOD: number}
            for each in (*listed, *_OFFSETS):
                if each.name in parameters:
                    keys[next((key for key in each.keys if key in preferred), each.keys[0])] = parameters[each.name]
            return keys
    return None


def _mercator(keys: GeoKeyValues) -> tuple[str, tuple[_Parameter, ...]]:
    """The variant of Mercator: a standard parallel wins over a scale, and a latitude without a scale is one."""
    if STANDARD_PARALLEL_1 in keys:
        return "Mercator_2SP", (_PARALLEL, _MERIDIAN)
    latitude = next((float(keys[key]) for key in _LATITUDES if key in keys), 0.0)
    scale = next((float(keys[key]) for key in _SCALE.keys if key in keys), 1.0)
    if latitude and scale != 1:
        raise ValueError(f"a Mercator with both a latitude of origin {latitude} and a scale {scale}")
    if latitude:
        return "Mercator_2SP", (_Parameter("standard_parallel_1", _LATITUDES), _MERIDIAN)
    return _METHODS[7]


def _axes(method: str, values: dict[str, float]) -> tuple[str, str] | None:
    """Where the axes of a polar stereographic map point; None where PROJ knows by itself."""
    if method != "Polar_Stereographic":
        return None
    direction = "SOUTH" if values["latitude_of_origin"] > 0 else "NORTH"
    return direction, direction


def _is_angle(parameter: str) -> bool:
    return not parameter.startswith(("false", "scale"))
