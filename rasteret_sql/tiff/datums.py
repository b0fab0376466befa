"""The geographic part of a CRS from GeoKeys: datum, ellipsoid, prime meridian and angular unit, as WKT1."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rasteret_sql.tiff.geokeys import (
    DATUM,
    DEGREE,
    ELLIPSOID,
    GEOGRAPHIC_CITATION,
    GEOGRAPHIC_TYPE,
    INVERSE_FLATTENING,
    PRIME_MERIDIAN,
    PRIME_MERIDIAN_LONGITUDE,
    SEMI_MAJOR_AXIS,
    SEMI_MINOR_AXIS,
    TO_WGS84,
    is_code,
    named_parts,
    quoted,
    text_of,
)
from rasteret_sql.tiff.units import Unit, angular_unit, degrees, geographic_unit

if TYPE_CHECKING:
    from rasteret_sql.tiff.geokeys import GeoKeyValues


@dataclass(frozen=True, slots=True)
class Geographic:
    """A geographic CRS in parts.

    Attributes:
        name, datum, ellipsoid, meridian: names.
        semi_major, inverse_flattening: of the ellipsoid, in metres; 0 means a sphere.
        longitude: of the prime meridian, in degrees from Greenwich.
        unit: of longitudes and latitudes.
        shift: to WGS 84, three or seven numbers, or none.
        wkt1: the definition of an EPSG code that says all of this.
    """

    name: str
    datum: str
    ellipsoid: str
    semi_major: float
    inverse_flattening: float
    meridian: str
    longitude: float
    unit: Unit
    shift: tuple[float, ...] = ()
    wkt1: str | None = None

    def to_wkt1(self, keyword: str = "GEOGCS") -> str:
        """Its WKT1; a GEOCCS has no unit of its own here."""
        if self.wkt1 is not None and keyword == "GEOGCS":
            return self.wkt1
        in_degrees = degrees(1.0, self.unit) if keyword == "GEOGCS" else 1.0
        shift = f",TOWGS84[{','.join(repr(value) for value in self.shift)}]" if self.shift else ""
        unit = f"UNIT[{quoted(self.unit.name)},{self.unit.size!r}]" if keyword == "GEOGCS" else 'UNIT["metre",1]'
        return (
            f"{keyword}[{quoted(self.name)},DATUM[{quoted(self.datum)},"
            f"SPHEROID[{quoted(self.ellipsoid)},{self.semi_major!r},{self.inverse_flattening!r}]{shift}],"
            f"PRIMEM[{quoted(self.meridian)},{self.longitude / in_degrees!r}],{unit}]"
        )


def geographic_of(keys: GeoKeyValues) -> Geographic | None:
    """The geographic CRS of GeoKeys; None where they name neither code, datum nor ellipsoid.

    Keys for single parts win over a code for the whole, as in GDAL: a file that says EPSG:4326 and a semi-major
    axis of 6378140 m has that axis.
    """
    code = keys.get(GEOGRAPHIC_TYPE)
    if is_code(code):
        return _overridden(_of_code(code), keys)
    named = named_parts(text_of(keys, GEOGRAPHIC_CITATION))
    start = Geographic(
        name=named.get("GCS Name") or named.get("Datum") or "unknown",
        datum=named.get("Datum", "unknown"),
        ellipsoid=named.get("Ellipsoid", "unknown"),
        semi_major=math.nan,
        inverse_flattening=0.0,
        meridian=named.get("Primem", "Greenwich"),
        longitude=0.0,
        unit=angular_unit(DEGREE),
    )
    found = _overridden(start, keys)
    return None if math.isnan(found.semi_major) else found


def has_own_datum(keys: GeoKeyValues) -> bool:
    """Whether GeoKeys give a projected CRS a datum or ellipsoid beside its code."""
    return any(is_code(keys.get(number)) for number in (GEOGRAPHIC_TYPE, DATUM, ELLIPSOID))


def _of_code(code: int) -> Geographic:
    from pyproj import CRS

    crs = CRS.from_epsg(code)
    if not crs.is_geographic:
        crs = crs.geodetic_crs if crs.geodetic_crs is not None and crs.geodetic_crs.is_geographic else crs
    flat = crs.to_2d() if len(crs.axis_info) == 3 and crs.is_geographic else crs
    ellipsoid, meridian = crs.ellipsoid, crs.prime_meridian
    if ellipsoid is None or meridian is None:
        raise LookupError(f"EPSG:{code} is no geographic CRS")
    unit = Unit(flat.axis_info[0].unit_name, flat.axis_info[0].unit_conversion_factor)
    return Geographic(
        name=crs.name,
        datum=_datum_name(crs.datum.name if crs.datum is not None else "unknown"),
        ellipsoid=ellipsoid.name,
        semi_major=ellipsoid.semi_major_metre,
        inverse_flattening=ellipsoid.inverse_flattening,
        meridian=meridian.name,
        longitude=_longitude(meridian),
        unit=unit if crs.is_geographic else angular_unit(DEGREE),
        wkt1=str(flat.to_wkt("WKT1_GDAL")) if crs.is_geographic else None,
    )


def _overridden(start: Geographic, keys: GeoKeyValues) -> Geographic:
    """Apply the keys of single parts to a geographic CRS. Its own WKT1 stays only if they change nothing."""
    found = start
    if is_code(keys.get(DATUM)):
        found = _with_datum(found, keys[DATUM])
    if is_code(keys.get(ELLIPSOID)):
        ellipsoid = part_of_epsg("Ellipsoid", keys[ELLIPSOID])
        found = _with_ellipsoid(found, ellipsoid.name, ellipsoid.semi_major_metre, ellipsoid.inverse_flattening)
    found = _with_axes(found, keys)
    unit = geographic_unit(keys)
    if unit is not None and not math.isclose(unit.size, found.unit.size, rel_tol=1e-12):
        found = replace(found, unit=unit, wkt1=None)
    found = _with_meridian(found, keys)
    # Of datums that EPSG knows, PROJ knows better shifts than files do.
    is_known = is_code(keys.get(GEOGRAPHIC_TYPE)) or is_code(keys.get(DATUM))
    if isinstance(keys.get(TO_WGS84), tuple) and not is_known:
        shift = (*(float(value) for value in keys[TO_WGS84]), 0.0, 0.0, 0.0, 0.0)[:7]
        found = replace(found, shift=shift)
    return found


def _with_datum(found: Geographic, code: int) -> Geographic:
    datum = part_of_epsg("Datum", code)
    # An ensemble of datums such as WGS 84 has its ellipsoid nowhere else.
    ellipsoid = datum.to_json_dict()["ellipsoid"]
    name = _datum_name(datum.name)
    if name == found.datum:
        return found
    known = datum.ellipsoid
    if known is not None:
        axes = known.semi_major_metre, known.inverse_flattening
    else:
        axes = float(ellipsoid["semi_major_axis"]), float(ellipsoid["inverse_flattening"])
    title = name if found.name == "unknown" else found.name
    return replace(_with_ellipsoid(found, ellipsoid["name"], *axes), name=title, datum=name, wkt1=None)


def _with_meridian(found: Geographic, keys: GeoKeyValues) -> Geographic:
    if is_code(keys.get(PRIME_MERIDIAN)):
        meridian = part_of_epsg("PrimeMeridian", keys[PRIME_MERIDIAN])
        name, longitude = meridian.name, _longitude(meridian)
    elif PRIME_MERIDIAN_LONGITUDE in keys:
        name = "unnamed" if found.meridian == "Greenwich" else found.meridian
        longitude = degrees(float(keys[PRIME_MERIDIAN_LONGITUDE]), found.unit)
    else:
        return found
    if math.isclose(longitude, found.longitude, abs_tol=1e-11):
        return found
    return replace(found, meridian=name, longitude=longitude, wkt1=None)


def _with_axes(found: Geographic, keys: GeoKeyValues) -> Geographic:
    major, minor, inverse = (keys.get(key) for key in (SEMI_MAJOR_AXIS, SEMI_MINOR_AXIS, INVERSE_FLATTENING))
    if major is None and minor is None and inverse is None:
        return found
    semi_major = found.semi_major if major is None else float(major)
    if inverse is not None:
        flattening = 0.0 if math.isinf(inverse) else float(inverse)
    elif minor is not None:
        flattening = 0.0 if minor == semi_major else semi_major / (semi_major - float(minor))
    else:
        flattening = found.inverse_flattening
    return _with_ellipsoid(found, found.ellipsoid, semi_major, flattening)


def _with_ellipsoid(found: Geographic, name: str, semi_major: float, inverse_flattening: float) -> Geographic:
    """Replace the ellipsoid, unless the axes are equal to a hundredth of a millimetre."""
    same = math.isclose(semi_major, found.semi_major, rel_tol=1e-12) and math.isclose(
        inverse_flattening, found.inverse_flattening, rel_tol=1e-10
    )
    if same:
        return found
    return replace(found, ellipsoid=name, semi_major=semi_major, inverse_flattening=inverse_flattening, wkt1=None)


def _datum_name(name: str) -> str:
    return name.removesuffix(" ensemble")


def _longitude(meridian: Any) -> float:
    """Degrees from Greenwich of a prime meridian, which EPSG may give in grads."""
    return degrees(meridian.longitude, Unit(meridian.unit_name, float(meridian.unit_conversion_factor)))


def part_of_epsg(kind: str, code: int) -> Any:
    """A part of a CRS, such as a Datum, by its EPSG code."""
    import pyproj.crs

    return getattr(pyproj.crs, kind).from_epsg(code)
