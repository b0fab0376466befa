"""CRSs that GeoKeys define in parts, or by codes that need PROJ, as authority code or WKT2.

Parts are put together as WKT1, for which PROJ knows the methods and parameters that GeoTIFF names. The geographic part
is a datum, an ellipsoid, a prime meridian and an angular unit; each may come from a code or from a key of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.tiff.geo import REVISION
from rasteret_sql.tiff.geokeys import (
    CITATION,
    DATUM,
    DEGREE,
    ELLIPSOID,
    GEOGRAPHIC_CITATION,
    GEOGRAPHIC_TYPE,
    INVERSE_FLATTENING,
    METRE,
    MODEL_GEOCENTRIC,
    MODEL_GEOGRAPHIC,
    MODEL_PROJECTED,
    MODEL_TYPE,
    PRIME_MERIDIAN,
    PRIME_MERIDIAN_LONGITUDE,
    PROJECTED_CITATION,
    PROJECTED_TYPE,
    PROJECTION,
    SEMI_MAJOR_AXIS,
    SEMI_MINOR_AXIS,
    TO_WGS84,
    USER_DEFINED,
    VERTICAL_CITATION,
    VERTICAL_DATUM,
    VERTICAL_TYPE,
    VERTICAL_UNITS,
    is_code,
    may_have_heights,
    named_parts,
    one_line,
    projected_name,
    quoted,
    text_of,
)
from rasteret_sql.tiff.projections import projection_of, utm
from rasteret_sql.tiff.units import (
    Unit,
    angular_unit,
    degrees,
    geographic_unit,
    linear_unit,
    projected_unit,
    projected_unit_or_default,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_sql.tiff.geokeys import GeoKeyValues

_CITED: Final = {
    "wgs_1984_web_mercator": "ESRI:102113",
    "wgs_1984_web_mercator_auxiliary_sphere": "EPSG:3857",
    "google maps global mercator": "EPSG:3857",
}
"""CRSs by citation, in lower case, of writers whose other keys do not define them."""

_ESRI_PE: Final = "ESRI PE String = "

_ELLIPSOIDAL_HEIGHTS: Final = range(5001, 5034)
"""Numbers of GeoTIFF 1.0 for heights above ellipsoids; EPSG does not use them."""

_Found = tuple[str | None, str | None]
"""A CRS as text, and a note."""

_Built = tuple[Any, str | None]
"""A CRS of PROJ or None, and a note."""


@lru_cache(maxsize=256)
def defined(items: tuple[tuple[int, Any], ...]) -> _Found:
    """The CRS of keys without a plain code; the keys are a tuple so that the result can be kept."""
    keys = dict(items)
    crs, note = _horizontal(keys)
    if crs is None:
        return None, note
    if may_have_heights(keys):
        crs, without = _with_heights(crs, keys)
        note = note or without
    return _spelled(crs), note


def _horizontal(keys: GeoKeyValues) -> _Built:
    """The CRS of PROJ that keys describe, without heights, and a note."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    model = keys.get(MODEL_TYPE, USER_DEFINED)
    projected = keys.get(PROJECTED_TYPE)
    if is_code(projected) and model in {MODEL_PROJECTED, USER_DEFINED}:
        try:
            return _projected_of_code(projected, keys)
        except CRSError:
            crs = _projected(keys)
            if crs is None:
                raise
            return crs, f"EPSG:{projected} is unknown to PROJ: its CRS is given as its other GeoKeys define it"
    for cited in (text_of(keys, PROJECTED_CITATION), text_of(keys, CITATION)):
        if _ESRI_PE in cited:
            return CRS.from_wkt(cited.split(_ESRI_PE, 1)[1]), None
    if model == MODEL_PROJECTED:
        cited = text_of(keys, PROJECTED_CITATION, CITATION)
        if cited.lower() in _CITED:
            return CRS.from_user_input(_CITED[cited.lower()]), None
        crs = _projected(keys)
        if crs is not None:
            return crs, None
    geographic = keys.get(GEOGRAPHIC_TYPE)
    if model == MODEL_GEOGRAPHIC and is_code(geographic):
        return CRS.from_epsg(geographic), None
    if model in {MODEL_GEOGRAPHIC, MODEL_GEOCENTRIC}:
        base = _geographic_of(keys)
        if base is not None:
            return CRS.from_wkt(base.to_wkt1("GEOGCS" if model == MODEL_GEOGRAPHIC else "GEOCCS")), None
    # ERDAS IMAGINE begins citations with its copyright, between dollar signs.
    cited = one_line(text_of(keys, CITATION, GEOGRAPHIC_CITATION).rpartition("$")[2])[:100]
    return None, "no CRS: its GeoKeys name no coordinate system" + (f', only "{cited}"' if cited else "")


def _registered(code: int) -> _Built:
    """The projected CRS of an EPSG code. A deprecated code gives its replacement and a note, as in GDAL."""
    from pyproj import CRS

    crs = CRS.from_epsg(code)
    # pyproj 3.6 cannot tell: there a deprecated code stays.
    instead: list[Any] = getattr(crs, "get_non_deprecated", list)() if crs.is_deprecated else []
    if len(instead) != 1:
        return crs, None
    return instead[0], f"EPSG:{code} is deprecated: its CRS is given as {':'.join(instead[0].to_authority() or ())}"


def _projected_of_code(code: int, keys: GeoKeyValues) -> _Built:
    """The CRS of an EPSG code, on the datum and in the unit that other keys give it."""
    from pyproj import CRS

    crs, note = _registered(code)
    if not crs.is_projected:
        return crs, note
    unit = projected_unit(keys)
    if unit is not None:
        crs = _in_unit(crs, unit)
    base = _geographic_of(keys) if _has_own_datum(keys) else None
    if base is None or crs.geodetic_crs is None:
        return crs, note
    other = CRS.from_wkt(base.to_wkt1())
    if other.is_bound or other.equals(crs.geodetic_crs, ignore_axis_order=True):
        return crs, note
    definition = _without_id(crs)
    definition["base_crs"] = _without_id(other)
    return CRS.from_json_dict(definition), note


def _projected(keys: GeoKeyValues) -> Any:
    """The projected CRS that keys define in parts; None where a part is missing."""
    from pyproj import CRS

    base = _geographic_of(keys)
    if base is None:
        return None
    unit = projected_unit_or_default(keys)
    code = keys.get(PROJECTION, USER_DEFINED)
    projection = utm(code, unit.size) or projection_of(keys, base.unit)
    if projection is None:
        return _of_operation(code, base.to_wkt1(), unit) if is_code(code) else None
    return CRS.from_wkt(
        f"PROJCS[{quoted(projected_name(keys))},{base.to_wkt1()},{projection.wkt1(degrees(1.0, base.unit))},"
        f"UNIT[{quoted(unit.name)},{unit.size!r}]{projection.axes_wkt1()}]"
    )


def _of_operation(code: int, base: str, unit: Unit) -> Any:
    """A projected CRS whose projection is an EPSG coordinate operation."""
    from pyproj import CRS
    from pyproj.crs import ProjectedCRS

    operation = _part_of_epsg("CoordinateOperation", code)
    return _in_unit(ProjectedCRS(operation, name=operation.name, geodetic_crs=CRS.from_wkt(base)), unit)


def _in_unit(crs: Any, unit: Unit) -> Any:
    """The CRS with its axes in another linear unit, or itself if they are in that unit."""
    if all(abs(axis.unit_conversion_factor - unit.size) < 1e-9 * unit.size for axis in crs.axis_info):
        return crs
    from pyproj import CRS

    definition = _without_id(crs)
    for axis in definition["coordinate_system"]["axis"]:
        axis["unit"] = {"type": "LinearUnit", "name": unit.name, "conversion_factor": unit.size}
    return CRS.from_json_dict(definition)


def _without_id(crs: Any) -> dict[str, Any]:
    """The definition of a CRS as PROJJSON without its code, to be changed."""
    definition: dict[str, Any] = crs.to_json_dict()
    definition.pop("id", None)
    definition.pop("$schema", None)
    return definition


def _with_heights(crs: Any, keys: GeoKeyValues) -> _Built:
    """The CRS with heights: above the ellipsoid as third axis, others as compound CRS; and a note if without."""
    from pyproj import CRS
    from pyproj.crs import CompoundCRS
    from pyproj.exceptions import CRSError

    code = keys.get(VERTICAL_TYPE)
    try:
        if is_code(code) and code in _ELLIPSOIDAL_HEIGHTS:
            # Heights over another ellipsoid than that of the map say nothing.
            is_that = crs.ellipsoid == _part_of_epsg("Ellipsoid", code + 2000)
            return (crs.to_3d(), None) if is_that else (crs, f"no vertical CRS: {code} is one of another ellipsoid")
        vertical = CRS.from_epsg(code) if is_code(code) else CRS.from_wkt(_vertical_wkt1(keys))
        if vertical.is_vertical and not keys.get(REVISION):
            return crs, None
        if vertical.is_vertical:
            return CompoundCRS(f"{crs.name} + {vertical.name}", [crs.to_2d(), vertical]), None
        if len(vertical.axis_info) == 3 and vertical.to_2d().equals(crs.geodetic_crs.to_2d(), ignore_axis_order=True):
            return crs.to_3d(), None
    except (CRSError, LookupError) as error:
        return crs, f"no vertical CRS: its GeoKeys cannot be understood ({str(error)[:200]})"
    return crs, f"no vertical CRS: EPSG:{code} is none"


def _vertical_wkt1(keys: GeoKeyValues) -> str:
    named = named_parts(str(keys.get(VERTICAL_CITATION, "")))
    datum = named.get("Datum Name", "unknown")
    if is_code(keys.get(VERTICAL_DATUM)):
        datum = _part_of_epsg("Datum", keys[VERTICAL_DATUM]).name
    name = named.get("VCS Name") or named.get("GCS Name") or "unknown"
    unit = linear_unit(keys[VERTICAL_UNITS] if is_code(keys.get(VERTICAL_UNITS)) else METRE)
    return (
        f"VERT_CS[{quoted(name)},VERT_DATUM[{quoted(datum)},2005],"
        f'UNIT[{quoted(unit.name)},{unit.size!r}],AXIS["Up",UP]]'
    )


def _spelled(crs: Any) -> str:
    """The authority code of a CRS if one is exactly equal, otherwise its WKT2."""
    from pyproj import CRS

    for candidate in codes_of(crs):
        if CRS.from_authority(*candidate).equals(crs, ignore_axis_order=True):
            return ":".join(candidate)
    wkt: str = crs.to_wkt("WKT2_2019")
    return wkt


def codes_of(crs: Any) -> Iterator[tuple[str, str]]:
    """Give the authority codes that a CRS may have. PROJ searches for one only where its own does not fit."""
    own = crs.to_json_dict().get("id")
    if own:
        yield own["authority"], str(own["code"])
    # To PROJ a datum of which nothing is known but the ellipsoid equals each that has the ellipsoid.
    datums = {part.datum.name.lower() for part in (crs, *crs.sub_crs_list) if part.datum is not None}
    if crs.is_bound or datums & {"unknown", "unnamed"}:
        return
    for registry in ("EPSG", None):
        found = crs.to_authority(auth_name=registry, min_confidence=70)
        if found is not None:
            yield found


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


def _geographic_of(keys: GeoKeyValues) -> Geographic | None:
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


def _has_own_datum(keys: GeoKeyValues) -> bool:
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
        ellipsoid = _part_of_epsg("Ellipsoid", keys[ELLIPSOID])
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
    datum = _part_of_epsg("Datum", code)
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
        meridian = _part_of_epsg("PrimeMeridian", keys[PRIME_MERIDIAN])
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


def _part_of_epsg(kind: str, code: int) -> Any:
    """A part of a CRS, such as a Datum, by its EPSG code."""
    import pyproj.crs

    return getattr(pyproj.crs, kind).from_epsg(code)
