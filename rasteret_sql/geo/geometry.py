"""Geometries in all forms that users have them in, as Shapely geometries. One parser for all doors.

The forms: GeoJSON as text or mapping (a geometry, a Feature, a FeatureCollection); WKT and EWKT; WKB and EWKB as bytes,
as hexadecimal digits, or as DuckDB prints a BLOB; Shapely geometries; objects with `__geo_interface__`; GeoSeries and
GeoDataFrames. Where one geometry is expected, many are their union; where rows are expected, they are rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import normalized_crs, same_crs, shortened

_HEX_WKB: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){5,}")
_BLOB_ESCAPE: Final = re.compile(r"\\x([0-9A-Fa-f]{2})")
_EWKT: Final = re.compile(r"SRID=(\d+);(.*)", re.IGNORECASE | re.DOTALL)
#: Shapely's number of the last kind without curves.
_LAST_STRAIGHT: Final = 7


@dataclass(frozen=True, slots=True)
class Features:
    """Geometries with what is known of each.

    Attributes:
        geometries: Shapely geometries; None where a feature has none.
        properties: of each.
        crs: CRS that they say they are in; None where they say nothing.
        is_many: whether they came as a collection of features, rather than as one geometry.
    """

    geometries: tuple[Any, ...]
    properties: tuple[Mapping[str, Any], ...] = field(default=())
    crs: str | None = None
    is_many: bool = False


def parse_geometry(value: Any, crs: str | None = None, *, name: str = "geometry") -> Any:
    """Give one geometry.

    Args:
        value: any form; see the module.
        crs: CRS that it is taken to be in; None where nothing is said.
        name: of the argument, for messages.

    Returns:
        A Shapely geometry with two dimensions, not empty. Of several features it is the union.

    Raises:
        InvalidArgumentError: the value is no geometry, an empty one, or says that it is in another CRS.
    """
    features = _parsed(value, name)
    _require_crs(features, crs, name)
    if not features.is_many:
        geometry = features.geometries[0]
        if geometry is None:
            raise _no_geometry(value, name, "it has no geometry")
    else:
        import shapely

        known = [each for each in features.geometries if each is not None]
        geometry = shapely.union_all([each if each.is_valid else shapely.make_valid(each) for each in known])
    if geometry.is_empty:
        raise InvalidArgumentError(f"{name}: got {shown(value)}, which is empty; expected one with an extent")
    return geometry


def parse_geometries(value: Any, crs: str | None = None, *, name: str = "geometries") -> Features:
    """Give geometries and the properties of each, in order.

    Args:
        value: any form, see the module, or an iterable of such; None in it stays.
        crs: CRS that they are taken to be in; None where nothing is said.
        name: of the argument, for messages.

    Raises:
        InvalidArgumentError: a value is no geometry, there is none, or they say that they are in another CRS.
    """
    is_one = isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) or has_geo_interface(value)
    if not is_one and not isinstance(value, Iterable):
        raise InvalidArgumentError(
            f"{name}: got {type(value).__name__}, expected a GeoDataFrame, a GeoSeries or a list of geometries"
        )
    parts = [_parsed(value, name)] if is_one else [_parsed(each, name) for each in value]
    for part in parts:
        _require_crs(part, crs or parts[0].crs, name)
    geometries = tuple(geometry for part in parts for geometry in part.geometries)
    if not geometries:
        raise InvalidArgumentError(f"{name}: got none, expected one or more")
    return Features(
        geometries,
        tuple(properties for part in parts for properties in (part.properties or ({},) * len(part.geometries))),
        parts[0].crs,
        is_many=True,
    )


def wkb_of(value: Any) -> bytes | None:
    """Give a geometry of a source as two-dimensional WKB; None where there is none, or none that can be read."""
    if value is None:
        return None
    import shapely

    try:
        geometry = parse_geometry(value)
    except InvalidArgumentError:
        return None
    data: bytes = shapely.to_wkb(geometry, output_dimension=2, include_srid=False)
    return data


def has_geo_interface(value: Any) -> bool:
    """Whether a value describes itself as GeoJSON, even if it fails to."""
    try:
        return hasattr(value, "__geo_interface__")
    except Exception:  # noqa: BLE001 - it has one, which fails; what reads it says so
        return True


def _parsed(value: Any, name: str) -> Features:
    import shapely

    try:
        if value is None:
            return Features((None,))
        if isinstance(value, str):
            return _of_text(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return _checked(shapely.from_wkb(bytes(value)))
        if isinstance(value, shapely.Geometry):
            return _checked(value)
        if hasattr(value, "geometry") and hasattr(value, "crs") and hasattr(value, "to_wkb"):
            return _of_frame(value)
        return _of_geojson(getattr(value, "__geo_interface__", value))
    except Exception as error:  # an object of any library describes itself here
        raise _no_geometry(value, name, error) from error


@lru_cache(maxsize=64)
def _of_text(text: str) -> Features:
    """Read text. Cached, for SQL calls with the same text for each file and tile."""
    import shapely

    stripped = text.strip()
    if stripped.startswith("{"):
        return _of_geojson(json.loads(stripped))
    if stripped.startswith("\\x"):
        unescaped = _BLOB_ESCAPE.sub(lambda match: chr(int(match[1], 16)), stripped)
        return _checked(shapely.from_wkb(unescaped.encode("latin-1")))
    if _HEX_WKB.fullmatch(stripped):
        return _checked(shapely.from_wkb(bytes.fromhex(stripped)))
    ewkt = _EWKT.fullmatch(stripped)
    if ewkt is not None:
        return _checked(shapely.set_srid(shapely.from_wkt(ewkt[2]), int(ewkt[1])))
    return _checked(shapely.from_wkt(stripped))


def _of_geojson(document: Any) -> Features:
    import shapely

    if not isinstance(document, Mapping):
        raise TypeError(f"{type(document).__name__} is no form of a geometry")
    kind = document["type"]
    crs = ((document.get("crs") or {}).get("properties") or {}).get("name")
    if kind == "FeatureCollection":
        parts = [_of_geojson(feature) for feature in document["features"]]
        return Features(
            tuple(part.geometries[0] for part in parts), tuple(part.properties[0] for part in parts), crs, is_many=True
        )
    if kind == "Feature":
        geometry = None if document["geometry"] is None else _of_geojson(document["geometry"]).geometries[0]
        return Features((geometry,), (document.get("properties") or {},), crs)
    try:
        geometry = shapely.from_geojson(json.dumps(document))
    except shapely.errors.ShapelyError:
        # Rings that end before their first point are closed.
        geometry = shapely.geometry.shape(document)
    return Features(_checked(geometry).geometries, ({},), crs)


def _of_frame(frame: Any) -> Features:
    """Read a GeoSeries or a GeoDataFrame."""
    geometries = tuple(_checked(each).geometries[0] if each is not None else None for each in frame.geometry)
    crs = None if frame.crs is None else normalized_crs(frame.crs)
    columns = [] if frame.geometry is frame else [column for column in frame.columns if column != frame.geometry.name]
    properties = tuple(frame[columns].to_dict("records")) if columns else ({},) * len(geometries)
    return Features(geometries, properties, crs, is_many=True)


def _checked(geometry: Any) -> Features:
    """Make sure of finite coordinates and straight edges; leaves heights out.

    Raises:
        ValueError: it has neither.
    """
    import numpy as np
    import shapely

    if geometry is None or shapely.get_type_id(geometry) > _LAST_STRAIGHT:
        raise ValueError("it has curves; segmentize it" if geometry is not None else "it is nothing")
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise ValueError("a coordinate is not finite")
    code = shapely.get_srid(geometry)
    if shapely.has_z(geometry):
        geometry = shapely.force_2d(geometry)
    return Features((geometry,), ({},), f"EPSG:{code}" if code else None)


def _require_crs(features: Features, crs: str | None, name: str) -> None:
    """Refuse geometries that say that they are in another CRS than is said of them.

    Raises:
        InvalidArgumentError: they do.
    """
    if features.crs is None or crs is None:
        return
    try:
        own = normalized_crs(features.crs)
    except InvalidArgumentError:
        # A code of a database of its own.
        return
    if not same_crs(own, normalized_crs(crs, name="geometry_crs")):
        raise InvalidArgumentError(
            f"{name}: got one that says that it is in {shortened(own)}, expected {shortened(crs)}, the CRS that is "
            "given for it; give its own, or reproject it"
        )


def _no_geometry(value: Any, name: str, reason: object) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{name}: got {shown(value)}, expected GeoJSON, WKT or WKB in longitude and latitude, or in the CRS that is "
        f"given with it ({reason})"
    )
