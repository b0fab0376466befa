"""Units that GeoKeys name: common ones are listed here, all others are looked up in PROJ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rasteret_sql.tiff.geokeys import (
    ANGULAR_UNIT_SIZE,
    ANGULAR_UNITS,
    AZIMUTH_UNITS,
    CITATION,
    DEGREE,
    GEOGRAPHIC_LINEAR_UNITS,
    LINEAR_UNIT_SIZE,
    LINEAR_UNITS,
    METRE,
    PROJECTED_CITATION,
    USER_DEFINED,
    is_imagine,
    named_parts,
)

if TYPE_CHECKING:
    from rasteret_sql.tiff.geokeys import GeoKeyValues


class Unit(NamedTuple):
    """A unit.

    Attributes:
        name: as EPSG calls it.
        size: in metres or radians.
    """

    name: str
    size: float


_LINEAR: Final = {
    METRE: Unit("metre", 1.0),
    9002: Unit("foot", 0.3048),
    9003: Unit("US survey foot", 1200 / 3937),
}
_DEGREE: Final = Unit("degree", 0.0174532925199433)
_ANGULAR: Final = {
    DEGREE: _DEGREE,
    9101: Unit("radian", 1.0),
    9105: Unit("grad", 0.01570796326794897),
    9106: Unit("gon", 0.01570796326794897),
}
_SPELLINGS_OF_DEGREE: Final = (9107, 9108, 9110, 9111, 9115, 9116, 9117, 9118, 9119, 9120, 9121, 9122)
"""EPSG has a code for each way to write degrees down; numbers in a GeoKey are decimal."""

_FEET: Final = {
    "us survey feet": 9003,
    "us_feet": 9003,
    "feet_us": 9003,
    "foot_us": 9003,
    "us foot": 9003,
    "feet": 9002,
    "international_feet": 9002,
    "international feet": 9002,
}
"""What ERDAS IMAGINE writes after `Units = `, in lower case, other than metres."""


def linear_unit(code: int) -> Unit:
    """A unit of length by its EPSG code.

    Raises:
        LookupError: EPSG has no such unit.
    """
    return _LINEAR[code] if code in _LINEAR else _of_epsg("linear", code)


def angular_unit(code: int) -> Unit:
    """A unit of angles by its EPSG code.

    Raises:
        LookupError: EPSG has no such unit.
    """
    if code in _SPELLINGS_OF_DEGREE:
        return _DEGREE
    return _ANGULAR[code] if code in _ANGULAR else _of_epsg("angular", code)


def projected_unit(keys: GeoKeyValues) -> Unit | None:
    """The unit of the axes of a projected CRS in GeoKeys, or None."""
    code = keys.get(LINEAR_UNITS)
    if code is None or code == USER_DEFINED:
        size = keys.get(LINEAR_UNIT_SIZE)
        if size is not None:
            return Unit("metre" if float(size) == 1 else "unknown", float(size))
    if code is None or code == USER_DEFINED:
        return _cited_unit(keys)
    return linear_unit(code)


def projected_unit_or_default(keys: GeoKeyValues) -> Unit:
    """The unit of the axes of a projected CRS without a code: as GDAL, that of the ellipsoid if there is no other."""
    unit = projected_unit(keys)
    if unit is not None:
        return unit
    code = keys.get(GEOGRAPHIC_LINEAR_UNITS, METRE)
    return linear_unit(METRE if code == USER_DEFINED else code)


def geographic_unit(keys: GeoKeyValues) -> Unit | None:
    """The unit of longitudes and latitudes in GeoKeys, or None."""
    code = keys.get(ANGULAR_UNITS)
    if code is None:
        return None
    if code == USER_DEFINED:
        size = float(keys.get(ANGULAR_UNIT_SIZE, _DEGREE.size))
        return _DEGREE if abs(size - _DEGREE.size) < 1e-12 else Unit("unknown", size)
    return angular_unit(code)


def azimuth_unit(keys: GeoKeyValues) -> Unit:
    """The unit of azimuths: degrees, unless a GeoKey of its own says otherwise."""
    code = keys.get(AZIMUTH_UNITS, DEGREE)
    return angular_unit(DEGREE if code == USER_DEFINED else code)


def degrees(value: float, unit: Unit) -> float:
    """An angle in degrees."""
    return value if unit.size == _DEGREE.size else value * unit.size / _DEGREE.size


def _cited_unit(keys: GeoKeyValues) -> Unit | None:
    """Feet that ERDAS IMAGINE mentions in a citation alone."""
    for number in (PROJECTED_CITATION, CITATION):
        citation = str(keys.get(number, ""))
        unit = named_parts(citation).get("Units", "").lower() if is_imagine(citation) else ""
        if unit in _FEET:
            return linear_unit(_FEET[unit])
    return None


def _of_epsg(category: str, code: int) -> Unit:
    from pyproj.database import get_units_map

    units = get_units_map(auth_name="EPSG", category=category, allow_deprecated=True)
    found = next((unit for unit in units.values() if unit.code == str(code) and unit.conv_factor), None)
    if found is None:
        raise LookupError(f"EPSG has no {category} unit {code}")
    return Unit(found.name, float(found.conv_factor))
