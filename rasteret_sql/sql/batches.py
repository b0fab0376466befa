"""The rows of `read_tiles` as Arrow: those of a plan, and the record batches with their decoded tiles."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rasteret_sql.database.sqlfiles import sql_file
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.read.stream import OnError, TileStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.stream_part import TileBatch

    Floats = npt.NDArray[np.float64]

#: The columns of `read_tiles` that need bytes of a file.
READ_COLUMNS = ("pixels", "mask", "error")
_UNKNOWN = (float("nan"),) * 6
#: Lines of `sql/schema/tiles.sql` that name a column and its type.
_COLUMN = re.compile(r'^ {4}"?(\w+)"? ([A-Z][A-Z ]*(?:\[\]|\([^)]*\))?)', re.MULTILINE)
_ARROW_TYPES = {
    "VARCHAR": pa.string(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "DOUBLE[]": pa.list_(pa.field("child", pa.float64())),
    "BLOB": pa.binary(),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
    "STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE)": pa.struct(
        [(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")]
    ),
}


def schema_of(con: duckdb.DuckDBPyConnection, name: str) -> pa.Schema:
    """Give the columns of a file of `sql/schema` as an Arrow schema, with times in UTC whatever the session's zone."""
    # Under a name of ours: a user may well have a temporary table of tiles.
    text = sql_file(f"schema/{name}.sql")
    con.execute(text.replace(f"CREATE TABLE {name}", f"CREATE TEMP TABLE _rst_{name}", 1))
    fields = [
        field.with_type(pa.timestamp("us", "UTC")) if pa.types.is_timestamp(field.type) else field
        for field in con.sql(f"FROM temp.main._rst_{name} LIMIT 0").to_arrow_table().schema
    ]
    con.execute(f"DROP TABLE temp.main._rst_{name}")
    return pa.schema(fields)


@cache
def tile_schema() -> pa.Schema:
    """Give the columns of `read_tiles` as Arrow, as `schema_of` does, where there is no DuckDB."""
    columns = _COLUMN.findall(sql_file("schema/tiles.sql"))
    return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in columns if name != "_call"])


def tile_rows(plan: TilePlan) -> pa.Table:
    """Give the columns of `sql/schema/tiles.sql` that need no reading, one row per row of the plan."""
    assets = plan.assets
    files = {
        "collection": pa.array([asset.collection for asset in assets], pa.string()),
        "item_id": pa.array([asset.item_id for asset in assets], pa.string()),
        "asset": pa.array([asset.asset for asset in assets], pa.string()),
        "datetime": pa.array([asset.datetime_us for asset in assets], pa.timestamp("us", "UTC")),
        "level": pa.array([asset.level for asset in assets], pa.int32()),
        "crs": pa.array([asset.crs for asset in assets], pa.string()),
        "dtype": pa.array([asset.dtype for asset in assets], pa.string()),
        "href": pa.array([asset.href for asset in assets], pa.string()),
    }
    asset_no = pa.array(plan.asset_no)
    columns: dict[str, Any] = {name: column.take(asset_no) for name, column in files.items()}
    columns |= _bands(plan)
    for name in ("band", "tile_row", "tile_col", "width", "height"):
        columns[name] = pa.array(getattr(plan, name))
    columns["nodata"] = pa.array(plan.nodata, mask=~plan.has_nodata)
    columns |= _places(plan)
    return pa.table(columns)


def _bands(plan: TilePlan) -> dict[str, pa.Array]:
    """Give what is known of the band of each row."""
    bands, place = plan.bands_of_rows()
    rows = pa.array(place)
    return {
        "band_name": pa.array([band.name for band in bands], pa.string()).take(rows),
        "scale": pa.array([band.scale for band in bands], pa.float64()).take(rows),
        "offset": pa.array([band.offset for band in bands], pa.float64()).take(rows),
        "unit": pa.array([band.unit for band in bands], pa.string()).take(rows),
    }


def _places(plan: TilePlan) -> dict[str, pa.Array]:
    """Give bounds and transform of each tile; NULL in a file without a transform."""
    transforms = np.array([asset.transform or _UNKNOWN for asset in plan.assets], np.float64).reshape(-1, 6)
    sizes = np.array([(asset.format.tile_width, asset.format.tile_height) for asset in plan.assets], np.int64).reshape(
        -1, 2
    )
    x_size, _, x_off, _, y_size, y_off = transforms[plan.asset_no].T
    tile_width, tile_height = sizes[plan.asset_no].T
    left, top = plan.tile_col * tile_width, plan.tile_row * tile_height
    x, y = x_off + x_size * left, y_off + y_size * top
    x_end, y_end = x_off + x_size * (left + plan.width), y_off + y_size * (top + plan.height)
    is_unknown = np.isnan(x_size)
    corners = {
        "xmin": np.minimum(x, x_end), "ymin": np.minimum(y, y_end), "xmax": np.maximum(x, x_end),
        "ymax": np.maximum(y, y_end),
    }  # fmt: skip
    sides = [_nullable(values, is_unknown) for values in corners.values()]
    zeros = np.zeros(len(plan))
    affine = np.stack([x_size, zeros, x, zeros, y_size, y], axis=1).ravel()
    values = _nullable(affine, np.isnan(affine))
    ends = pa.array(np.arange(len(plan) + 1, dtype=np.int32) * 6)
    return {
        "bounds": pa.StructArray.from_arrays(sides, list(corners)),
        "transform": pa.ListArray.from_arrays(ends, values),
    }


def _nullable(values: Floats, is_null: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=is_null)


def tile_batches(
    plan: Iterable[TilePlan],
    schema: pa.Schema,
    *,
    token: bytes | None = None,
    on_error: OnError = "raise",
    options: ReadOptions | None = None,
) -> Iterator[pa.RecordBatch]:
    """Give rows of `read_tiles` in record batches; fetches only what the columns asked for need.

    Args:
        plan: the tiles, part by part.
        schema: the columns wanted.
        token: what `_call` holds, if it is among them.
        on_error: "raise", or "null" for rows with an error instead of pixels.
        options: bounds of the read.
    """

    def rows_of(part: TilePlan) -> pa.Table:
        rows = tile_rows(part)
        return (with_call(rows, token) if token is not None and "_call" in planned else rows).select(planned)

    wanted = set(schema.names)
    planned = [name for name in schema.names if name not in READ_COLUMNS]
    if len(planned) == len(schema):
        for part in plan:
            yield from rows_of(part).cast(schema).combine_chunks().to_batches()
        return
    stream = TileStream(
        plan,
        pixels="pixels" in wanted or "error" in wanted,
        mask="mask" in wanted,
        on_error=on_error,
        options=options,
    )
    known: tuple[TilePlan, pa.Table] | None = None
    for tiles in stream:
        if known is None or known[0] is not tiles.plan:
            known = tiles.plan, rows_of(tiles.plan)
        yield _record_batch(tiles, known[1].slice(tiles.rows.start, len(tiles.rows)), schema)


def _record_batch(tiles: TileBatch, rows: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    failed = np.array([row in tiles.errors for row in tiles.rows], bool)
    columns: list[Any] = []
    for field in schema:
        if field.name == "pixels":
            assert tiles.pixels is not None
            columns.append(_blobs(tiles.pixels, tiles.pixel_ends, ~failed))
        elif field.name == "mask":
            assert tiles.mask is not None
            has_mask = tiles.plan.mask_kind[tiles.rows.start : tiles.rows.stop] != MaskKind.NONE
            columns.append(_blobs(tiles.mask, tiles.mask_ends, has_mask & ~failed))
        elif field.name == "error":
            columns.append(pa.array([_said(tiles, row) for row in tiles.rows], pa.string()))
        else:
            columns.append(rows.column(field.name).combine_chunks().cast(field.type))
    return pa.record_batch([_one_chunk(column) for column in columns], schema=schema)


def _blobs(buffer: Any, ends: Any, valid: Any) -> pa.Array:
    """Make a binary array over a buffer without copying it."""
    validity = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    offsets = pa.py_buffer(ends.astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), len(valid), [validity, offsets, pa.py_buffer(buffer)])


def _said(tiles: TileBatch, row: int) -> str | None:
    error = tiles.errors.get(row)
    return None if error is None else str(error)


def _one_chunk(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column


def with_call(rows: pa.Table, token: bytes) -> pa.Table:
    """Append the column `_call`: the arguments, a kilobyte that all rows share."""
    call = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int8)), pa.array([token], pa.binary()))
    return rows.append_column("_call", call)


def rows_kept(rows: pa.Table, condition: Any) -> Any:
    """Give the numbers of the rows that meet a `pyarrow.compute.Expression`, ascending."""
    numbered = rows.append_column("_row", pa.array(np.arange(rows.num_rows)))
    return np.sort(numbered.filter(condition).column("_row").to_numpy())
