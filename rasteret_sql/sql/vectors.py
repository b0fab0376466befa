"""Rows of a vector table, fetched for a read: points or geometries, their CRS, their times, and a key of each row.

A read fetches the columns that it needs. All other columns stay where they are: results name a row by its number, and
whoever shows them joins the table by it. The key is a hash of the whole row, and says whether both saw the same rows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.geo.crs import LONLAT, in_proj_thread, normalized_crs, revolution_of, same_crs, shortened
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.sql.catalog import CATALOG
from rasteret_sql.sql.named_index import UNSEEN, is_path, no_such_file, reason_of, table_of_registered

if TYPE_CHECKING:
    from collections.abc import Collection

    import duckdb
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

#: Names that columns of geometries, and pairs of coordinates, are found by.
_GEOMETRY_NAMES: Final = ("geometry", "geom", "wkb_geometry", "the_geom", "wkb", "wkt", "geojson")
_XY_NAMES: Final = (("x", "y"), ("lon", "lat"), ("lng", "lat"), ("longitude", "latitude"))
_TYPED_CRS: Final = re.compile(r"GEOMETRY\('(.*)'\)", re.DOTALL)
_GEOJSON: Final = (".geojson", ".json")
#: The member "crs" of a GeoJSON file of 2008, a mapping of mappings.
_CRS_MEMBER: Final = r'"crs"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})'
_NUMBERS: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")
#: Shapely's number of the last kind without curves.
_LAST_STRAIGHT: Final = 7
#: A little-endian point in WKB: byte order, type 1, x and y.
_POINT: Final = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])
_FETCH: Final = """
CREATE OR REPLACE TEMP TABLE vector_rows AS
SELECT row_number() OVER () - 1 AS rst_row, hash(vector_row) AS rst_key, {columns}
FROM query_table($1) AS vector_row
"""


@dataclass(frozen=True, slots=True)
class VectorColumns:
    """Where a vector table has its geometries; None where its column names are to say it.

    Attributes:
        what: how messages call the table: "points" or "zones".
        geometry: name of the column of geometries.
        x, y: names of the columns of coordinates.
        time: name of the column of times.
        crs: of the geometries.
        path: of the file that the table is; None for other tables.
    """

    what: str
    geometry: str | None = None
    x: str | None = None
    y: str | None = None
    time: str | None = None
    crs: Any = None
    path: str | None = None

    def __post_init__(self) -> None:
        for name in ("geometry", "x", "y", "time"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise InvalidArgumentError(f"{name}_column: got {shown(value)}, expected the name of a column")
        if (self.x is None) != (self.y is None):
            raise InvalidArgumentError(f"{self.what}: got one of x_column and y_column, expected both or neither")
        if self.geometry is not None and self.x is not None:
            raise InvalidArgumentError(
                f"{self.what}: got geometry_column and x_column, expected one of them; leave one out"
            )


@dataclass(frozen=True, slots=True, eq=False)
class VectorRows:
    """The rows of a vector table; arrays have one element per row.

    Attributes:
        x, y: coordinates of points, NaN where a row has none; None where geometries were fetched.
        geometries: Shapely geometries, None where a row has none; None where points were fetched.
        crs: of the geometries.
        times_us: microseconds since 1970 UTC, `NaT` as int64 where a row has none; None where no time is asked for.
        keys: hash of each row.
    """

    x: Floats | None
    y: Floats | None
    geometries: npt.NDArray[Any] | None
    crs: str
    times_us: Numbers | None
    keys: npt.NDArray[np.uint64]


def point_rows(
    cursor: duckdb.DuckDBPyConnection, name: str, columns: VectorColumns, taken: Collection[str]
) -> VectorRows:
    """Fetch points.

    Args:
        cursor: a connection of its own, which gets a temporary table.
        name: under which `query_table` finds the table.
        columns: where the points are.
        taken: names of columns that results have beside those of the table.

    Raises:
        InvalidArgumentError: the table cannot be read, has no points, or does not say where they are.
    """
    found, crs, rows = _fetched(cursor, name, columns, taken)
    if found.geometry is not None:
        x, y = _points_of(rows.column("rst_geometry").combine_chunks(), columns.what)
    else:
        x, y = (_floats(rows.column(side)) for side in ("rst_x", "rst_y"))
    times = None
    if found.time is not None:
        times = rows.column("rst_time").fill_null(np.iinfo(np.int64).min).to_numpy()
    in_proj_thread(_check_range)(x, y, crs, columns.what)
    return VectorRows(x, y, None, crs, times, rows.column("rst_key").to_numpy())


def zone_rows(
    cursor: duckdb.DuckDBPyConnection, name: str, columns: VectorColumns, taken: Collection[str]
) -> VectorRows:
    """Fetch geometries; the arguments are those of `point_rows`.

    Raises:
        InvalidArgumentError: the table cannot be read, has no geometries, or does not say where they are.
    """
    import shapely

    _, crs, rows = _fetched(cursor, name, columns, taken)
    geometries = geometries_of(rows.column("rst_geometry").combine_chunks(), columns.what)
    xmin, ymin, _, ymax = shapely.bounds(geometries).T
    highest = np.where(np.abs(ymax) > np.abs(ymin), ymax, ymin)
    in_proj_thread(_check_range)(xmin, highest, crs, columns.what)
    return VectorRows(None, None, geometries, crs, None, rows.column("rst_key").to_numpy())


def _fetched(
    cursor: duckdb.DuckDBPyConnection, name: str, columns: VectorColumns, taken: Collection[str]
) -> tuple[VectorColumns, str, Any]:
    """Fetch the columns that a read needs; gives their names, their CRS, and the rows as an Arrow table."""
    import duckdb

    what = columns.what
    try:
        types = dict(
            cursor.execute("SELECT column_name, column_type FROM (DESCRIBE FROM query_table($1))", [name]).fetchall()
        )
        _refuse_taken(types, taken, what)
        if (columns.path or "").lower().endswith(_GEOJSON):
            types = _with_crs_of_geojson(cursor, str(columns.path), types)
        found = located(columns, types)
        crs = in_proj_thread(crs_of)(columns, found, types)
        cursor.execute(_FETCH.format(columns=", ".join(expressions(found, types))), [name])
        return found, crs, cursor.sql("FROM vector_rows ORDER BY rst_row ASC").to_arrow_table()
    except duckdb.Error as error:
        raise InvalidArgumentError(
            no_such_file(what, name)
            or f"{what}: {shown(name)} cannot be read ({reason_of(error)}); expected a table, a view or a Parquet path "
            f"that a read can see. {UNSEEN}{'' if is_path(name) else f'. {table_of_registered(name)}'}"
        ) from error


def _with_crs_of_geojson(cursor: duckdb.DuckDBPyConnection, path: str, types: dict[str, str]) -> dict[str, str]:
    """Have the geometries of a GeoJSON file say their CRS: longitude and latitude, or that of its old member "crs"."""
    ((member,),) = cursor.execute(
        "SELECT regexp_extract(content, $2, 1) FROM read_text($1)", [path, _CRS_MEMBER]
    ).fetchall()
    document = json.loads(member or "{}")
    crs = quote_literal(str((document.get("properties") or {}).get("name") or LONLAT))
    return {name: f"GEOMETRY({crs})" if kind == "GEOMETRY" else kind for name, kind in types.items()}


def _refuse_taken(types: Collection[str], taken: Collection[str], what: str) -> None:
    known = {name.lower() for name in taken}
    clashing = [name for name in types if name.lower() in known]
    if clashing:
        raise InvalidArgumentError(
            f"{what}: got the column {', '.join(clashing)}, expected no name that the result gives to columns of its "
            "own; rename it"
        )


def located(columns: VectorColumns, types: dict[str, str]) -> VectorColumns:
    """Find the columns of geometries or coordinates in a table.

    Raises:
        InvalidArgumentError: a named one is not there, or the names and types of columns leave it open.
    """
    lower = {name.lower(): name for name in types}

    def named(argument: str, name: str | None) -> str | None:
        if name is None:
            return None
        if name.lower() not in lower:
            raise InvalidArgumentError(
                f"{argument}: got {shown(name)}, expected a column of {columns.what}: {', '.join(types)}"
            )
        return lower[name.lower()]

    geometry, x = named("geometry_column", columns.geometry), named("x_column", columns.x)
    y, time = named("y_column", columns.y), named("time_column", columns.time)
    if geometry is None and x is None:
        typed = [name for name, kind in types.items() if kind.startswith("GEOMETRY")]
        listed = [lower[name] for name in _GEOMETRY_NAMES if name in lower]
        pairs = [pair for pair in _XY_NAMES if set(pair) <= set(lower)] if columns.what == "points" else []
        if len(typed) == 1 or (not typed and listed):
            geometry = typed[0] if typed else listed[0]
        elif not typed and pairs:
            x, y = lower[pairs[0][0]], lower[pairs[0][1]]
        else:
            expected, remedy = "one of geometries", "name it with geometry_column"
            if columns.what == "points":
                expected, remedy = f"{expected}, or coordinates x and y", f"{remedy}, or with x_column and y_column"
            raise InvalidArgumentError(
                f"{columns.what}: got the columns {', '.join(types)}, expected {expected}; {remedy}"
            )
    return VectorColumns(columns.what, geometry, x, y, time, columns.crs)


def crs_of(columns: VectorColumns, found: VectorColumns, types: dict[str, str]) -> str:
    """Give the CRS of a table: the one that is given, its own, or longitude and latitude where names say so.

    Raises:
        InvalidArgumentError: nothing says what it is, or two things are said.
    """
    own = None
    if found.geometry is not None and (typed := _TYPED_CRS.fullmatch(types[found.geometry])):
        own = normalized_crs(typed[1].replace("''", "'"))
    given = None if columns.crs is None else normalized_crs(columns.crs, name="geometry_crs")
    if given is not None and own is not None and not same_crs(given, own):
        raise InvalidArgumentError(
            f"geometry_crs: got {shortened(given)}, and column {found.geometry} of {columns.what} says that it is in "
            f"{shortened(own)}, expected the same; leave geometry_crs out"
        )
    if given or own:
        return str(given or own)
    if found.x is not None and found.x.lower() in {"lon", "lng", "longitude"}:
        return LONLAT
    raise InvalidArgumentError(
        f"geometry_crs: {columns.what} do not say what CRS they are in, expected one: give geometry_crs, "
        f"such as 'EPSG:32643', or '{LONLAT}' for longitude and latitude"
    )


def expressions(found: VectorColumns, types: dict[str, str]) -> list[str]:
    """Give what is selected of a table.

    Raises:
        InvalidArgumentError: a column is of a type that holds no geometries or coordinates.
    """
    parts = []
    if found.geometry is not None:
        column, kind = f"vector_row.{quote_identifier(found.geometry)}", types[found.geometry]
        if kind.startswith("GEOMETRY"):
            parts.append(f"ST_AsWKB({column})::BLOB AS rst_geometry")
        elif kind in {"BLOB", "VARCHAR", "JSON"}:
            parts.append(f"{column}::{'BLOB' if kind == 'BLOB' else 'VARCHAR'} AS rst_geometry")
        elif kind.startswith("STRUCT"):
            parts.append(f"to_json({column})::VARCHAR AS rst_geometry")
        else:
            raise InvalidArgumentError(
                f"geometry_column: {found.geometry} is of type {kind}, expected GEOMETRY, WKB, WKT or GeoJSON"
            )
    for side, name in (("x", found.x), ("y", found.y)):
        if name is not None:
            if not _NUMBERS.fullmatch(types[name]):
                raise InvalidArgumentError(f"{side}_column: {name} is of type {types[name]}, expected numbers")
            parts.append(f"vector_row.{quote_identifier(name)}::DOUBLE AS rst_{side}")
    if found.time is not None:
        column, kind = f"vector_row.{quote_identifier(found.time)}", types[found.time]
        if not kind.startswith(("TIMESTAMP", "DATE", "VARCHAR")):
            raise InvalidArgumentError(f"time_column: {found.time} is of type {kind}, expected times")
        parts.append(f"epoch_us({CATALOG}.main._rst_utc({column}, 'time_column')) AS rst_time")
    return parts


def _floats(column: Any) -> Floats:
    found: Floats = column.fill_null(float("nan")).to_numpy().astype(np.float64)
    return found


def _points_of(column: Any, what: str) -> tuple[Floats, Floats]:
    """Give the coordinates of points; NaN of NULL and of empty ones."""
    import pyarrow as pa

    simple = _simple_points(column) if pa.types.is_binary(column.type) else None
    if simple is not None:
        return simple
    x, y = np.full(len(column), np.nan), np.full(len(column), np.nan)
    for row, value in enumerate(column.to_pylist()):
        point = None if value is None else _geometry_of(value, what, row)
        if point is None or point.is_empty:
            continue
        if point.geom_type != "Point":
            raise InvalidArgumentError(
                f"{what}: row {row + 1} is a {point.geom_type}, expected a Point; take its centroid, or use zonal "
                "statistics"
            )
        x[row], y[row] = point.x, point.y
    return x, y


def geometries_of(column: Any, what: str) -> npt.NDArray[Any]:
    """Give Shapely geometries with two dimensions; None of NULL, empty ones stay."""
    import pyarrow as pa
    import shapely

    values = np.array([None, *column.to_pylist()], object)[1:]
    if pa.types.is_binary(column.type):
        try:
            found = shapely.from_wkb(values)
        except (shapely.errors.ShapelyError, TypeError):
            found = None
        if found is not None and _is_plain(found):
            return np.asarray(shapely.force_2d(found))
    geometries = [None if value is None else _geometry_of(value, what, row) for row, value in enumerate(values)]
    return np.array([None, *geometries], object)[1:]


def _is_plain(geometries: npt.NDArray[Any]) -> bool:
    """Whether geometries have straight edges and finite coordinates; what parses them one by one says more."""
    import shapely

    is_straight = (shapely.get_type_id(geometries) <= _LAST_STRAIGHT).all()
    return bool(is_straight and np.isfinite(shapely.get_coordinates(geometries)).all())


def _simple_points(column: Any) -> tuple[Floats, Floats] | None:
    """Read points of plain WKB; None where something else is among them."""
    is_there = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.drop_null()
    buffers = values.buffers()
    offsets = np.frombuffer(buffers[1], np.int32)[values.offset : values.offset + len(values) + 1]
    if not len(values) or (np.diff(offsets) != _POINT.itemsize).any():
        return None
    points = np.frombuffer(buffers[2], np.uint8)[offsets[0] : offsets[-1]].view(_POINT)
    if (points["order"] != 1).any() or (points["kind"] != 1).any():
        return None
    x, y = np.full(len(column), np.nan), np.full(len(column), np.nan)
    x[is_there], y[is_there] = points["x"], points["y"]
    return x, y


def _geometry_of(value: Any, what: str, row: int) -> Any:
    try:
        return parse_geometry(value, name=f"{what}: row {row + 1}")
    except RasteretError:
        import shapely

        # An empty one is nowhere, which is no fault of a row.
        text = value if isinstance(value, str) else None
        try:
            found = shapely.from_wkb(bytes(value)) if text is None else shapely.from_wkt(text)
        except shapely.errors.ShapelyError:
            found = None
        if found is not None and found.is_empty:
            return None
        raise


def _check_range(x: Floats, y: Floats, crs: str, what: str) -> None:
    """Refuse latitudes beyond the poles: such are longitudes.

    Raises:
        InvalidArgumentError: there is one.
    """
    revolution = revolution_of(crs)
    if revolution is None:
        return
    wrong = np.flatnonzero(np.abs(y) > revolution / 4)
    if len(wrong):
        row = int(wrong[0])
        raise InvalidArgumentError(
            f"{what}: row {row + 1} is at x {x[row]:g}, y {y[row]:g} in {shortened(crs)}, expected a latitude in y and "
            "a longitude in x; swap them, or give the geometry_crs that they are in"
        )
