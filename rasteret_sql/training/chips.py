"""A table of windows as the index of a TorchGeo dataset."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import normalized_crs, same_crs
from rasteret_sql.geo.geobox import checked_size
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.geo.project import project_geometries
from rasteret_sql.training.items import FIRST_US, ITEM_US, LAST_US, OUTLINE_STEPS, interval_index, item_footprints

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa
    from geopandas import GeoDataFrame

    from rasteret_sql.database.select_text import Scope
    from rasteret_sql.training.items import Items

_SIDES = ("xmin", "ymin", "xmax", "ymax")
#: Columns that the rows of `chips` have: their bounds hold at any level.
_LISTED = frozenset({"item_id", "row_off", "col_off", "height", "width", "bounds", "crs"})


def chip_frame(
    items: Items,
    chips: Any,
    crs: str,
    resolution: tuple[float, float],
    geometry_crs: str,
    *,
    size: int | tuple[int, int] | None,
    label_column: str | None,
) -> GeoDataFrame:
    """Make an index with a row per chip, in the order of the table.

    Args:
        items: what is read.
        chips: the table; see `to_torchgeo`.
        crs: of the index.
        resolution: (x, y) of its pixels.
        geometry_crs: of the chips.
        size: pixels of a chip, one number or (height, width); None where the table says it.
        label_column: a column of the table, or None.

    Raises:
        InvalidArgumentError: the table is not such a one, or a chip touches no item.
    """
    import geopandas as gpd
    import shapely

    table, geometry_crs = _table(chips, geometry_crs)
    names = set(table.column_names)
    pixels = _size(size)
    numbers = _numbers(items, table) if "item_id" in names else np.full(len(table), -1, np.int64)
    if names >= _LISTED:
        bounds = _of_listed(items, table, numbers, crs, resolution, pixels)
    elif {"row_off", "col_off"} <= names:
        bounds = _of_pixels(items, table, numbers, crs, pixels)
    else:
        bounds = _of_ground(items, table, numbers, crs, resolution, geometry_crs, pixels)
    start_us, end_us = _times(items, table, numbers)
    data: dict[str, Any] = {
        "item": numbers,
        "item_id": np.array([None if number < 0 else items.ids[number] for number in numbers.tolist()], object),
    }
    if label_column is not None:
        data[label_column] = _labels(table, label_column)
    frame = gpd.GeoDataFrame(data, index=interval_index(start_us, end_us), geometry=shapely.box(*bounds.T), crs=crs)
    _require_touched(items, frame, crs)
    return frame


def _table(chips: Any, crs: str) -> tuple[pa.Table, str]:
    """Give the rows as Arrow, and their CRS: a GeoDataFrame says its own."""
    import duckdb
    import pyarrow as pa

    if isinstance(chips, os.PathLike):
        chips = os.fspath(chips)
    try:
        if hasattr(chips, "to_wkb") and hasattr(chips, "crs"):
            if chips.crs is not None:
                crs = normalized_crs(chips.crs)
            table = pa.Table.from_pandas(chips.to_wkb(), preserve_index=False)
        elif isinstance(chips, str):
            table = queried(chips)
        elif isinstance(chips, duckdb.DuckDBPyRelation):
            table = chips.to_arrow_table()
        else:
            table = pa.table(chips)
    except (duckdb.Error, TypeError, ValueError, pa.ArrowInvalid) as error:
        raise InvalidArgumentError(
            f"chips: got {type(chips).__name__} that is no table ({error}), expected a DuckDB relation, an Arrow "
            "table, a frame, a path of Parquet or the text of a query"
        ) from error
    if not len(table):
        raise InvalidArgumentError("chips: got no rows, expected windows; widen the conditions of the query")
    return table, crs


def queried(text: str, scope: Scope | None = None) -> pa.Table:
    """Give the rows of a Parquet file or of the text of a query.

    Args:
        text: path, or one SELECT.
        scope: what a query of somebody else may read; None for one of the caller.

    Raises:
        InvalidArgumentError: the query is not one SELECT that only reads.
    """
    import duckdb

    from rasteret_sql.database.select_text import message_of, require_select, shortened
    from rasteret_sql.database.sqlfiles import quote_literal
    from rasteret_sql.sql.named_index import is_query
    from rasteret_sql.sql.readers import planning_cursor

    with planning_cursor() as cursor:
        if not is_query(text):
            if scope is not None and not text.lower().endswith((".parquet", ".geoparquet")):
                raise InvalidArgumentError(
                    f"chips: got {text!r}, expected a Parquet file or one SELECT. Review the file, and pass trust=True "
                    "if you trust whoever wrote it"
                )
            query = f"FROM {quote_literal(text)}"
        else:
            query = require_select(cursor, text, "chips", rows="windows", scope=scope, error=InvalidArgumentError)
        try:
            return cursor.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise InvalidArgumentError(
                f"chips: got {shortened(text)}, which cannot be read: {message_of(error)}; expected a Parquet file or "
                "one SELECT of windows"
            ) from error


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = checked_size("chip_size", size)
    if min(height, width) < 1:
        raise InvalidArgumentError(f"chip_size: got {shown(size)}, expected 1 pixel or more")
    return height, width


def _numbers(items: Items, table: pa.Table) -> npt.NDArray[np.int64]:
    """Find the item of each chip."""
    known: dict[str, int] = {}
    for number, item_id in enumerate(items.ids):
        known[item_id] = -1 if item_id in known else number
    numbers: list[int] = []
    for row, item_id in enumerate(table.column("item_id").to_pylist()):
        found = known.get(item_id)
        if found is None or found < 0:
            reason = "is not in the index" if found is None else "is there more than once, with other times"
            raise InvalidArgumentError(
                f"chips: row {row} has item_id {item_id!r}, which {reason}; expected one of the items of the query"
            )
        numbers.append(found)
    return np.array(numbers, np.int64)


def _of_pixels(
    items: Items, table: pa.Table, numbers: npt.NDArray[np.int64], crs: str, size: tuple[int, int] | None
) -> npt.NDArray[np.float64]:
    """Give the bounds of windows in the pixels of their items."""
    if size is None or "item_id" not in table.column_names:
        raise InvalidArgumentError("chips: got row_off and col_off, expected item_id and chip_size with them")
    rows, cols = (_floats(table, name) for name in ("row_off", "col_off"))
    other = next((code for code in np.unique(items.crs_of[numbers]) if not same_crs(items.crs[code], crs)), None)
    if other is not None:
        raise InvalidArgumentError(
            f"chips: got row_off and col_off in items in {items.crs[other]}, expected {crs}, the CRS of the dataset; "
            "give crs=, or windows as geometry"
        )
    files = items.files.file[numbers, 0]
    x_size, x_off, y_size, y_off = (items.table.column(name)[files] for name in ("x_size", "x_off", "y_size", "y_off"))
    x, y = x_off + cols * x_size, y_off + rows * y_size
    x_end, y_end = x + size[1] * x_size, y + size[0] * y_size
    return np.stack([np.minimum(x, x_end), np.minimum(y, y_end), np.maximum(x, x_end), np.maximum(y, y_end)], axis=1)


def _of_listed(
    items: Items, table: pa.Table, numbers: npt.NDArray[np.int64], crs: str, resolution: tuple[float, float],
    size: tuple[int, int] | None,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Give the bounds of rows of `chips`, or of so many pixels around their middles.

    Raises:
        InvalidArgumentError: a row has no bounds, or they lie outside of the CRS.
    """
    import shapely

    if table.column("bounds").null_count or table.column("crs").null_count:
        raise InvalidArgumentError("chips: bounds or crs is NULL in some rows, expected windows of files with a CRS")
    rows = table.column("bounds").to_pylist()
    boxes = shapely.box(*np.array([[row[side] for side in _SIDES] for row in rows], np.float64).T)
    codes = np.array(table.column("crs").to_pylist(), object)
    for code in np.unique(codes.astype(str)).tolist():
        mine = codes == code
        boxes[mine] = project_geometries(
            boxes[mine], normalized_crs(code), normalized_crs(crs), steps=OUTLINE_STEPS, name="chips"
        )
    bounds = np.asarray(shapely.bounds(boxes))
    if not np.isfinite(bounds).all():
        row = int((~np.isfinite(bounds)).any(axis=1).argmax())
        raise InvalidArgumentError(f"chips: row {row} lies outside of {crs}, the CRS of the dataset; leave it out")
    return bounds if size is None else _around(items, bounds, numbers, crs, resolution, size)


def _of_ground(
    items: Items, table: pa.Table, numbers: npt.NDArray[np.int64], crs: str, resolution: tuple[float, float],
    geometry_crs: str, size: tuple[int, int] | None,
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Give the bounds of windows on the ground, or of so many pixels around their middles."""
    import shapely

    names = set(table.column_names)
    if "geometry" in names:
        geometry = _geometries(table, geometry_crs)
    elif set(_SIDES) <= names:
        geometry = shapely.box(*(_floats(table, name) for name in _SIDES))
    elif "bbox" in names:
        rows = table.column("bbox").to_pylist()
        geometry = shapely.box(*np.array([[row[side] for side in _SIDES] for row in rows], np.float64).T)
    elif {"x", "y"} <= names:
        geometry = shapely.points(_floats(table, "x"), _floats(table, "y"))
    else:
        raise InvalidArgumentError(
            f"chips: got columns {', '.join(table.column_names)}, expected geometry; xmin, ymin, xmax and ymax; bbox; "
            "x and y; or item_id, row_off and col_off"
        )
    geometry = project_geometries(
        geometry, normalized_crs(geometry_crs, name="geometry_crs"), normalized_crs(crs), steps=OUTLINE_STEPS,
        name="chips",
    )  # fmt: skip
    bounds = shapely.bounds(geometry)
    if not np.isfinite(bounds).all():
        row = int((~np.isfinite(bounds)).any(axis=1).argmax())
        raise InvalidArgumentError(f"chips: row {row} lies outside of {crs}; check geometry_crs, {geometry_crs}")
    if size is not None:
        return _around(items, bounds, numbers, crs, resolution, size)
    thin = np.flatnonzero((bounds[:, 2] <= bounds[:, 0]) | (bounds[:, 3] <= bounds[:, 1]))
    if thin.size:
        raise InvalidArgumentError(f"chips: row {int(thin[0])} is a point or line, expected chip_size with such")
    return np.asarray(bounds)


def _around(
    items: Items, bounds: npt.NDArray[np.float64], numbers: npt.NDArray[np.int64], crs: str,
    resolution: tuple[float, float], size: tuple[int, int],
) -> npt.NDArray[np.float64]:  # fmt: skip
    """Give bounds of so many pixels around the middles of others, on the edges of pixels."""
    corner = np.zeros((len(bounds), 2))
    # On the grid of the item, or of the first one, where it is in the CRS of the index.
    known = np.where(numbers < 0, 0, numbers)
    on_grid = np.array([same_crs(code, crs) for code in items.crs])[items.crs_of[known]]
    corner[on_grid] = items.bounds[known[on_grid]][:, :2]
    steps = np.array(resolution)
    middle = (bounds[:, :2] + bounds[:, 2:]) / 2
    extent = np.array([size[1], size[0]]) * steps
    low = corner + np.round((middle - extent / 2 - corner) / steps) * steps
    return np.concatenate([low, low + extent], axis=1)


def _geometries(table: pa.Table, crs: str) -> npt.NDArray[Any]:
    values = table.column("geometry").to_pylist()
    shapes = [parse_geometry(value, crs, name=f"chips: row {row}, geometry") for row, value in enumerate(values)]
    return np.array(shapes, object)


def _times(
    items: Items, table: pa.Table, numbers: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    names = set(table.column_names)
    known = numbers >= 0
    start_us = np.where(known, items.start_us[numbers], FIRST_US)
    end_us = np.where(known, items.end_us[numbers], LAST_US)
    if known.all():
        return start_us, end_us
    if {"start_datetime", "end_datetime"} <= names:
        given = _microseconds(table, "start_datetime"), _microseconds(table, "end_datetime")
    elif "datetime" in names:
        given = (_microseconds(table, "datetime"),) * 2
    else:
        return start_us, end_us
    start_us = np.where(known, start_us, given[0])
    return start_us, np.where(known, end_us, np.maximum(given[1], start_us + ITEM_US))


def _microseconds(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name)
    if not pa.types.is_timestamp(column.type) and not pa.types.is_date(column.type):
        raise InvalidArgumentError(f"chips: {name} holds {column.type}, expected times")
    if column.null_count:
        raise InvalidArgumentError(f"chips: {name} is NULL in {column.null_count} rows, expected times")
    zone = getattr(column.type, "tz", None)
    moments = pc.cast(column, pa.timestamp("us", tz=zone))
    return np.asarray(pc.cast(moments, pa.int64()).to_numpy())


def _labels(table: pa.Table, name: str) -> npt.NDArray[Any]:
    if name not in table.column_names:
        raise InvalidArgumentError(
            f"label_column: got {shown(name)}, expected a column of chips: {', '.join(table.column_names)}"
        )
    column = table.column(name)
    if column.null_count:
        raise InvalidArgumentError(f"label_column: {name!r} is NULL in {column.null_count} rows of chips")
    values = column.to_numpy()
    if values.dtype.kind not in "biuf":
        raise InvalidArgumentError(
            f"label_column: {name!r} holds {column.type}, expected numbers; make numbers of classes in the query"
        )
    if np.isnan(values).any():
        raise InvalidArgumentError(
            f"label_column: {name!r} is NaN in {int(np.isnan(values).sum())} rows of chips, expected numbers; leave "
            "these rows out"
        )
    return np.asarray(values)


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    try:
        values = np.asarray(table.column(name).to_numpy(), np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"chips: {name} holds {table.column(name).type}, expected numbers") from error
    if not np.isfinite(values).all():
        raise InvalidArgumentError(f"chips: {name} is NULL or not finite in some rows, expected numbers")
    return values


def _require_touched(items: Items, frame: GeoDataFrame, crs: str) -> None:
    """Refuse chips that lie beside their item, or beside all items.

    Raises:
        InvalidArgumentError: there is one.
    """
    import shapely

    geometry, numbers = frame.geometry.to_numpy(), frame["item"].to_numpy()
    lands = item_footprints(items, crs)
    touched = np.zeros(len(frame), bool)
    own = numbers >= 0
    touched[own] = shapely.intersects(geometry[own], lands[numbers[own]])
    if not own.all():
        tree = shapely.STRtree(lands)
        touched[np.flatnonzero(~own)[np.unique(tree.query(geometry[~own], predicate="intersects")[0])]] = True
    if not touched.all():
        row = int((~touched).argmax())
        raise InvalidArgumentError(
            f"chips: row {row} at {[round(float(side), 6) for side in geometry[row].bounds]} in {crs[:40]} touches no "
            f"item, and so do {int((~touched).sum()) - 1} others of {len(frame)}; check geometry_crs, or leave these "
            "rows out"
        )
