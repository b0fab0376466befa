"""Points and zones in all forms that Python callers have them in, as one Arrow table whose geometries say their CRS."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_sql.checks import number_of, shown
from rasteret_sql.database.select_text import message_of
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import LONLAT, normalized_crs, parsed_crs
from rasteret_sql.geo.geometry import has_geo_interface, parse_geometries
from rasteret_sql.sql.named_index import is_query, named_table, no_such_file

if TYPE_CHECKING:
    import duckdb

_GEOJSON = (".geojson", ".json", ".geojsonl")


def vector_table(cursor: duckdb.DuckDBPyConnection, value: Any, what: str, crs: Any) -> pa.Table:
    """Give a vector table as Arrow has it, with all its columns.

    Args:
        cursor: reads files and queries.
        value: a GeoDataFrame or GeoSeries, a data frame, an Arrow table, a DuckDB relation, the path of a Parquet,
            CSV or GeoJSON file, the text of a query, or geometries in any form, one or a list; points may be pairs
            (x, y) too.
        what: how messages call it: "points" or "zones".
        crs: of geometries that are no rows of a table; longitude and latitude where it is None.

    Raises:
        InvalidArgumentError: it is none of these, or cannot be read.
    """
    import duckdb

    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    try:
        if isinstance(value, str) and value.lower().endswith(_GEOJSON):
            return _of_geometries(_parsed_file(value, what), what, crs)
        if isinstance(value, str) and (is_query(value) or _is_file(value)):
            return cursor.table_function("query_table", [named_table(cursor, value)]).to_arrow_table()
        if isinstance(value, duckdb.DuckDBPyRelation):
            return value.to_arrow_table()
    except duckdb.Error as error:
        raise InvalidArgumentError(f"{what}: got {shown(value)}, which cannot be read ({message_of(error)})") from error
    if hasattr(value, "geometry") and hasattr(value, "to_arrow") and hasattr(value, "crs"):
        return _of_frame(value)
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if isinstance(value, pa.Table):
        return _with_geoparquet_crs(value)
    if hasattr(value, "__arrow_c_stream__"):
        return _with_geoparquet_crs(pa.table(value))
    if hasattr(value, "to_records") and hasattr(value, "columns"):
        return pa.Table.from_pandas(value)
    if isinstance(value, str) and (missing := no_such_file(what, value)) is not None:
        raise InvalidArgumentError(missing)
    return _of_geometries(_with_points(value) if what == "points" else value, what, crs)


def _with_points(value: Any) -> Any:
    """Make points of pairs (x, y), one or several; what is no pair stays."""
    import shapely

    if _is_pair(value):
        return [shapely.Point(float(value[0]), float(value[1]))]
    is_one = isinstance(value, (str, bytes, bytearray, memoryview, Mapping)) or has_geo_interface(value)
    if is_one or not isinstance(value, Iterable):
        return value
    return [shapely.Point(float(each[0]), float(each[1])) if _is_pair(each) else each for each in value]


def _is_pair(value: Any) -> bool:
    """Whether a value is two numbers in a row."""
    is_row = isinstance(value, (list, tuple)) or getattr(value, "ndim", None) == 1
    return is_row and len(value) == len("xy") and all(number_of(each) is not None for each in value)


def _is_file(text: str) -> bool:
    return "://" in text or "*" in text or Path(text).suffix.lower() in {".parquet", ".parq", ".geoparquet", ".csv"}


def _parsed_file(path: str, what: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"{what}: got {path!r}, which cannot be read as GeoJSON ({error})") from error


def _of_frame(frame: Any) -> pa.Table:
    import geopandas as gpd

    if isinstance(frame, gpd.GeoSeries):
        frame = gpd.GeoDataFrame(geometry=frame)
    return pa.table(frame.to_arrow()).replace_schema_metadata(None)


def _of_geometries(value: Any, what: str, crs: Any) -> pa.Table:
    import shapely

    given = None if crs is None else normalized_crs(crs, name="geometry_crs")
    features = parse_geometries(value, given, name=what)
    own = given or normalized_crs(features.crs or LONLAT)
    columns: dict[str, list[Any]] = {}
    for number, properties in enumerate(features.properties):
        for name, each in properties.items():
            columns.setdefault(str(name), [None] * len(features.geometries))[number] = each
    arrays: dict[str, Any] = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            # Values of several types in one property.
            arrays[name] = pa.array([None if each is None else json.dumps(each) for each in values])
    geometries = [None if each is None else shapely.to_wkb(each) for each in features.geometries]
    fields = [pa.field(name, array.type) for name, array in arrays.items() if name != "geometry"]
    listed = [array for name, array in arrays.items() if name != "geometry"]
    return pa.table([*listed, pa.array(geometries, pa.binary())], schema=pa.schema([*fields, _field("geometry", own)]))


def _with_geoparquet_crs(table: pa.Table) -> pa.Table:
    """Have the geometries of a table that was read from GeoParquet say their CRS."""
    try:
        known = json.loads((table.schema.metadata or {}).get(b"geo", b"{}")).get("columns", {})
    except ValueError:
        known = {}
    for name, column in known.items():
        number = table.schema.get_field_index(name)
        if number < 0 or (table.schema.field(number).metadata or {}).get(b"ARROW:extension:name"):
            continue
        # Without the key it is longitude and latitude; null says that it is not known.
        crs = column.get("crs", LONLAT)
        own = None if crs is None else normalized_crs(crs if isinstance(crs, str) else json.dumps(crs))
        table = table.set_column(number, _field(name, own), table.column(number).cast(pa.binary()))
    return table.replace_schema_metadata(None)


def _field(name: str, crs: str | None) -> pa.Field:
    """Make a field of WKB, as GeoArrow has it."""
    said = {} if crs is None else {"crs": parsed_crs(crs).to_json_dict(), "crs_type": "projjson"}
    metadata = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": json.dumps(said)}
    return pa.field(name, pa.binary(), metadata=metadata)
