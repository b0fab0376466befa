"""A CRS as GeoKeys: by its EPSG code, in parts, or as text that GDAL and Esri read. Our reader gets the same CRS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.tiff import geokeys
from rasteret_sql.tiff.crs import crs_of
from rasteret_sql.tiff.geo import RASTER_TYPE, REVISION
from rasteret_sql.tiff.geokeys import USER_DEFINED
from rasteret_sql.tiff.projections import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_sql.tiff.geo import GeoKeys

_PIXEL_IS_AREA: Final = 1
_MAX_CODE: Final = 32766
#: CRSs of OGC and their twins of EPSG, which have another order of axes. GeoTIFF has one order only.
_LONLAT: Final = {"CRS84": 4326, "CRS83": 4269, "CRS27": 4267}


def geo_keys(crs: str) -> GeoKeys:
    """Give the GeoKeys of a CRS, by number.

    Args:
        crs: authority code or WKT.

    Raises:
        InvalidArgumentError: GeoTIFF cannot express it; a reader would get another CRS.
    """
    from pyproj import CRS

    wanted = CRS.from_user_input(crs)
    for keys in _candidates(wanted):
        found, _ = crs_of(keys)
        if found is not None and CRS.from_user_input(found).equals(wanted, ignore_axis_order=True):
            return keys
    raise InvalidArgumentError(
        f"crs: got {_described(wanted)}, expected one that GeoTIFF can express: by an EPSG code, or by one of its "
        "projections; choose another CRS, or write .zarr or .nc"
    )


def _described(crs: Any) -> str:
    """Give the name of a CRS, and its method, since many are unnamed."""
    operation = crs.coordinate_operation
    return crs.name if operation is None else f"{crs.name} ({operation.method_name})"


def _candidates(crs: Any) -> Iterator[GeoKeys]:
    """Give GeoKeys that may express a CRS, the simplest first."""
    yield from filter(None, (_by_code(crs), _in_parts(crs), _as_text(crs)))


def _base(model: int) -> GeoKeys:
    return {REVISION: 0, geokeys.MODEL_TYPE: model, RASTER_TYPE: _PIXEL_IS_AREA}


def _by_code(crs: Any) -> GeoKeys | None:
    if crs.is_compound:
        horizontal, vertical = crs.sub_crs_list[0], crs.sub_crs_list[-1]
        keys, code = _by_code(horizontal), _code(vertical)
        # Only GeoTIFF 1.1 files are read with heights (OGC 19-008r4, annex).
        return None if keys is None or code is None else {**keys, REVISION: 1, geokeys.VERTICAL_TYPE: code}
    code = _code(crs)
    if code is None:
        return None
    named = {geokeys.CITATION: crs.name}
    if crs.is_projected:
        return {**_base(geokeys.MODEL_PROJECTED), **named, geokeys.PROJECTED_TYPE: code}
    if crs.is_geographic:
        return {**_base(geokeys.MODEL_GEOGRAPHIC), **named, geokeys.GEOGRAPHIC_TYPE: code}
    return None


def _code(crs: Any) -> int | None:
    """Give the EPSG code of a CRS, whatever the order of its axes."""
    own = (crs.to_json_dict().get("id") or {}).get("code")
    if own in _LONLAT:
        return _LONLAT[own]
    found = crs.to_authority(auth_name="EPSG", min_confidence=70)
    if found is None or not found[1].isdigit() or not 1024 <= int(found[1]) <= _MAX_CODE:
        return None
    return int(found[1])


def _in_parts(crs: Any) -> GeoKeys | None:
    """Give GeoKeys with the parameters of a projection; None where GeoTIFF has no number for its method."""
    from pyproj.exceptions import CRSError

    if crs.is_bound:
        keys, shift = _in_parts(crs.source_crs), crs.coordinate_operation.towgs84
        return None if keys is None or not shift else {**keys, geokeys.TO_WGS84: tuple(map(float, shift))}
    if crs.is_geographic:
        return {**_base(geokeys.MODEL_GEOGRAPHIC), **_geographic(crs)}
    if not crs.is_projected:
        return None
    try:
        wkt = crs.to_wkt("WKT1_GDAL")
    except CRSError:
        return None
    if not wkt:
        return None
    projection = keys_of(*_projection(wkt))
    if projection is None:
        return None
    found: GeoKeys = {
        **_base(geokeys.MODEL_PROJECTED),
        geokeys.CITATION: crs.name,
        **_geographic(crs.geodetic_crs),
        geokeys.PROJECTED_TYPE: USER_DEFINED,
        geokeys.PROJECTED_CITATION: crs.name,
        geokeys.PROJECTION: USER_DEFINED,
    }
    return found | _linear_units(crs) | projection


def _linear_units(crs: Any) -> GeoKeys:
    size = float(crs.axis_info[0].unit_conversion_factor)
    if size == 1.0:
        return {geokeys.LINEAR_UNITS: geokeys.METRE}
    return {geokeys.LINEAR_UNITS: USER_DEFINED, geokeys.LINEAR_UNIT_SIZE: size}


def _geographic(crs: Any) -> GeoKeys:
    """Give the GeoKeys of a geographic CRS: its code, or its ellipsoid and prime meridian."""
    code = _code(crs)
    if code is not None:
        return {geokeys.GEOGRAPHIC_TYPE: code}
    datum = crs.datum.name if crs.datum is not None else "unknown"
    citation = "|".join(
        (
            f"GCS Name = {crs.name}",
            f"Datum = {datum}",
            f"Ellipsoid = {crs.ellipsoid.name}",
            f"Primem = {crs.prime_meridian.name}",
        )
    )
    keys: GeoKeys = {
        geokeys.GEOGRAPHIC_TYPE: USER_DEFINED,
        geokeys.GEOGRAPHIC_CITATION: f"{citation}|",
        geokeys.DATUM: USER_DEFINED,
        geokeys.ANGULAR_UNITS: geokeys.DEGREE,
        geokeys.ELLIPSOID: USER_DEFINED,
        geokeys.SEMI_MAJOR_AXIS: float(crs.ellipsoid.semi_major_metre),
        geokeys.INVERSE_FLATTENING: float(crs.ellipsoid.inverse_flattening),
    }
    if crs.prime_meridian.longitude:
        keys |= {
            geokeys.PRIME_MERIDIAN: USER_DEFINED,
            geokeys.PRIME_MERIDIAN_LONGITUDE: float(crs.prime_meridian.longitude),
        }
    return keys


def _as_text(crs: Any) -> GeoKeys | None:
    """Put Esri's WKT into a citation, as GDAL does for a CRS without GeoKeys."""
    from pyproj.exceptions import CRSError

    if not crs.is_projected:
        return None
    try:
        wkt = crs.to_wkt("WKT1_ESRI")
    except CRSError:
        return None
    # GDAL reads the text only where the model type is user-defined.
    return {
        **_base(USER_DEFINED),
        geokeys.CITATION: crs.name,
        **_geographic(crs.geodetic_crs),
        geokeys.PROJECTED_CITATION: f"ESRI PE String = {wkt}",
        **_linear_units(crs),
    }


def _projection(wkt: str) -> tuple[str, dict[str, float]]:
    """Give the projection of WKT1, and its parameters by name."""
    method = re.search(r'PROJECTION\["([^"]+)"', wkt)
    parameters = re.findall(r'PARAMETER\["([^"]+)",\s*([-+0-9.eE]+)\]', wkt)
    return "" if method is None else method[1], {name: float(value) for name, value in parameters}
