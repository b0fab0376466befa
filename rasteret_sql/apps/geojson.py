"""Rows of a vector table as GeoJSON (RFC 7946): longitude and latitude, and the other columns as properties."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from rasteret_sql.apps.output import batches, strict_json
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.geo.antimeridian import split_at_antimeridian
from rasteret_sql.geo.crs import LONLAT, in_proj_thread
from rasteret_sql.geo.project import project_geometries
from rasteret_sql.sql.vectors import crs_of, expressions, geometries_of, located

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

    from rasteret_sql.sql.vectors import VectorColumns

_NAMED = "_rst_features"
_BATCH_ROWS = 2048
_HALF_REVOLUTION, _REVOLUTION = 180.0, 360.0


def write_geojson(result: duckdb.DuckDBPyRelation, sink: BinaryIO, *, columns: VectorColumns) -> None:
    """Write a FeatureCollection, one feature a line.

    Args:
        result: the rows.
        sink: where they go.
        columns: where their geometries are, and their CRS.

    Raises:
        InvalidArgumentError: rows have no geometry, or one that has no longitude and latitude.
    """
    types = {name: str(kind) for name, kind in zip(result.columns, result.types, strict=True)}
    found = located(columns, types)
    crs = in_proj_thread(crs_of)(columns, found, types)
    own = {found.geometry, found.x, found.y}
    # A point of two columns keeps them as properties.
    listed = [name for name in types if name not in own or found.geometry is None]
    properties = ", ".join(f"{quote_literal(name)}: {_as_json(name, types[name])}" for name in listed)
    selected = ", ".join(
        [*expressions(replace(found, time=None), types), f"to_json({{{properties}}})::VARCHAR AS rst_properties"]
    )
    rows = result.query(_NAMED, f"SELECT {selected} FROM {_NAMED} AS vector_row")  # noqa: S608 - quoted
    assert rows is not None
    separator = '{"type": "FeatureCollection", "features": [\n'
    for batch in batches(rows.to_arrow_reader(_BATCH_ROWS)):
        shapes = _in_degrees(_shapes(batch, columns.what), crs)
        features = (
            f'{{"type": "Feature", "geometry": {shape}, "properties": {strict_json(text)}}}'
            for shape, text in zip(shapes, batch.column("rst_properties").to_pylist(), strict=True)
        )
        sink.write((separator + ",\n".join(features)).encode())
        separator = ",\n"
    sink.write((separator if separator.startswith("{") else "").encode() + b"\n]}\n")


def _as_json(name: str, kind: str) -> str:
    column = f"vector_row.{quote_identifier(name)}"
    return f"to_base64({column})" if kind == "BLOB" else column


def _shapes(batch: Any, what: str) -> npt.NDArray[Any]:
    """Give the geometries of rows; None where a row has none."""
    import shapely

    if "rst_geometry" in batch.schema.names:
        return geometries_of(batch.column("rst_geometry"), what)
    x, y = (batch.column(name).fill_null(float("nan")).to_numpy() for name in ("rst_x", "rst_y"))
    is_there = np.isfinite(x) & np.isfinite(y)
    shapes = np.full(len(x), None, object)
    shapes[is_there] = shapely.points(x[is_there], y[is_there])
    return shapes


def _in_degrees(shapes: npt.NDArray[Any], crs: str) -> list[str]:
    """Give geometries as GeoJSON: within 180 degrees, cut at the antimeridian, exterior rings counterclockwise."""
    import shapely

    # Corners alone are moved, as a reader of GeoJSON expects them.
    projected = in_proj_thread(project_geometries)(shapes, crs, LONLAT, steps=1)
    bounds = shapely.bounds(projected)
    is_beyond = np.flatnonzero((bounds[:, 0] < -_HALF_REVOLUTION) | (bounds[:, 2] > _HALF_REVOLUTION))
    for number in is_beyond.tolist():
        projected[number] = _within(projected[number])
    # An empty geometry is null: RFC 7946, section 3.1.
    oriented = [None if shape is None or shape.is_empty else _oriented(shape) for shape in projected]
    return ["null" if shape is None else str(shapely.to_geojson(shape)) for shape in oriented]


def _within(shape: Any) -> Any:
    """Bring a geometry that goes on beyond the antimeridian to longitudes of -180 to 180."""
    import shapely

    if shape.geom_type in {"Polygon", "MultiPolygon"}:
        return split_at_antimeridian(shape)

    def wrapped(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x = (points[:, 0] + _HALF_REVOLUTION) % _REVOLUTION - _HALF_REVOLUTION
        return np.stack([x, points[:, 1]], axis=1)

    return shapely.transform(shape, wrapped)


def _oriented(shape: Any) -> Any:
    from shapely.geometry import MultiPolygon
    from shapely.geometry.polygon import orient

    if shape.geom_type == "Polygon":
        return orient(shape)
    if shape.geom_type == "MultiPolygon":
        return MultiPolygon([orient(part) for part in shape.geoms])
    return shape
