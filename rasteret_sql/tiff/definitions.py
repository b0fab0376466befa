"""CRSs that GeoKeys define in parts, or by codes that need PROJ, as authority code or WKT2."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.tiff.datums import geographic_of, has_own_datum, part_of_epsg
from rasteret_sql.tiff.geo import REVISION
from rasteret_sql.tiff.geokeys import (
    CITATION,
    GEOGRAPHIC_CITATION,
    GEOGRAPHIC_TYPE,
    METRE,
    MODEL_GEOCENTRIC,
    MODEL_GEOGRAPHIC,
    MODEL_PROJECTED,
    MODEL_TYPE,
    PROJECTED_CITATION,
    PROJECTED_TYPE,
    PROJECTION,
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
from rasteret_sql.tiff.units import degrees, linear_unit, projected_unit, projected_unit_or_default

if TYPE_CHECKING:
    from rasteret_sql.tiff.geokeys import GeoKeyValues
    from rasteret_sql.tiff.units import Unit

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
        base = geographic_of(keys)
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
    base = geographic_of(keys) if has_own_datum(keys) else None
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

    base = geographic_of(keys)
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

    operation = part_of_epsg("CoordinateOperation", code)
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
            is_that = crs.ellipsoid == part_of_epsg("Ellipsoid", code + 2000)
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
        datum = part_of_epsg("Datum", keys[VERTICAL_DATUM]).name
    name = named.get("VCS Name") or named.get("GCS Name") or "unknown"
    unit = linear_unit(keys[VERTICAL_UNITS] if is_code(keys.get(VERTICAL_UNITS)) else METRE)
    return (
        f"VERT_CS[{quoted(name)},VERT_DATUM[{quoted(datum)},2005],"
        f'UNIT[{quoted(unit.name)},{unit.size!r}],AXIS["Up",UP]]'
    )


def _spelled(crs: Any) -> str:
    """The authority code of a CRS if one is exactly equal, otherwise its WKT2."""
    from pyproj import CRS

    own = crs.to_json_dict().get("id")
    candidates = [(own["authority"], str(own["code"]))] if own else []
    # To PROJ a datum of which nothing is known but the ellipsoid equals each that has the ellipsoid.
    datums = [part.datum.name.lower() for part in (crs, *crs.sub_crs_list) if part.datum is not None]
    if not crs.is_bound and not {"unknown", "unnamed"} & set(datums):
        candidates += [crs.to_authority(auth_name=registry, min_confidence=70) for registry in ("EPSG", None)]
    for candidate in candidates:
        if candidate is not None and CRS.from_authority(*candidate).equals(crs, ignore_axis_order=True):
            return ":".join(candidate)
    wkt: str = crs.to_wkt("WKT2_2019")
    return wkt
