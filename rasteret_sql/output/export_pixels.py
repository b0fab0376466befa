"""A cube as a Parquet table with a row for each pixel that has data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.export_blocks import BlockReader
from rasteret_sql.output.export_files import described, made_aside
from rasteret_sql.output.export_formula import FormulaReader, with_formula
from rasteret_sql.plan.native_grid import refuse_unplaced_crs

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.arrays.failures import Failures
    from rasteret_sql.output.export_blocks import Block
    from rasteret_sql.output.export_files import ExportedFile
    from rasteret_sql.plan.expressions import Expression

#: Columns that come before those of the bands.
_KEYS = ("time", "item_id", "x", "y")
#: Pixels of a row group. A block is cut into row groups, so that neighbours in x, y and time are stored together.
_GROUP_PIXELS = 1 << 20
_SIDE = 1024
_METADATA = b"rasteret_sql.grid"


def write_pixels(
    planned: PlannedCube,
    target: Path,
    failures: Failures,
    *,
    formula: Expression | None = None,
) -> ExportedFile:
    """Write a cube as a table: time, item_id, x and y of the pixel's centre, and a column for each band.

    Pixels without data in any band are left out; a band without data in a pixel is NULL there.

    Raises:
        InvalidArgumentError: a band is named like another column, Parquet has no such dtype, or a file has a CRS and no
            transform.
        RasteretError: it could not be read or written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if formula is None:
        reader = BlockReader(planned.cube, failures)
    else:
        reader = FormulaReader(planned.cube, formula, failures)
        planned = with_formula(planned, formula)
    cube = planned.cube
    refuse_unplaced_crs("x, y", cube.plan.assets)
    places = range(len(cube.bands))
    schema = _schema(planned, [reader.dtype(place) for place in places])
    side = min(reader.side(places, _SIDE), 2 * _SIDE)
    rows = 0
    with made_aside(target) as aside, parquet.ParquetWriter(aside, schema, compression="zstd") as writer:
        for group in range(cube.group_count):
            for block in reader.blocks(group, places, side):
                height, width = block.masks[0].shape
                step = max(1, _GROUP_PIXELS // width)
                for start in range(0, height, step):
                    table = _table(planned, group, block, slice(start, min(start + step, height)), schema)
                    if table.num_rows:
                        writer.write_table(table, row_group_size=_GROUP_PIXELS)
                        rows += table.num_rows
                    del table
                pa.default_memory_pool().release_unused()
    return described(
        planned,
        target,
        bands=tuple(band.name for band in cube.bands),
        dtypes=tuple(str(reader.dtype(place)) for place in places),
        groups=range(cube.group_count),
        rows=rows,
    )


def _schema(planned: PlannedCube, dtypes: list[np.dtype[Any]]) -> pa.Schema:
    """Give the columns, with the grid in the metadata.

    Raises:
        InvalidArgumentError: a band cannot be a column.
    """
    import pyarrow as pa

    box = planned.cube.box
    fields = [
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("item_id", pa.dictionary(pa.int32(), pa.string())),
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
    ]
    for band, dtype in zip(planned.cube.bands, dtypes, strict=True):
        if band.name in _KEYS:
            raise InvalidArgumentError(
                f'bands: got "{band.name}", expected another name than those of the columns {", ".join(_KEYS)}; '
                "rename the asset in the query"
            )
        if dtype.kind == "c":
            raise InvalidArgumentError(
                f'band "{band.name}": got {dtype}, expected real numbers, since Parquet has no complex ones; write '
                ".tif or .zarr"
            )
        fields.append(pa.field(band.name, pa.from_numpy_dtype(dtype)))
    grid = {
        "crs": box.crs,
        "transform": box.transform if planned.has_transform else None,
        "height": box.height,
        "width": box.width,
    }
    return pa.schema(fields, metadata={_METADATA: json.dumps(grid).encode()})


def _table(planned: PlannedCube, group: int, block: Block, rows: slice, schema: pa.Schema) -> pa.Table:
    """Give the pixels of some rows of a block that have data."""
    import pyarrow as pa

    masks = [mask[rows] for mask in block.masks]
    row, col = np.nonzero(np.logical_or.reduce(masks))
    count = len(row)
    a, _, c, _, e, f = planned.cube.box.transform
    time = planned.times[group]
    item = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([planned.item_ids[group]]))
    columns = [
        pa.array(np.full(count, time, "M8[us]")).cast(schema.field("time").type),
        item,
        pa.array(c + a * (col + (block.col_off + 0.5))),
        pa.array(f + e * (row + (block.row_off + rows.start + 0.5))),
    ]
    for pixels, mask in zip(block.pixels, masks, strict=True):
        valid = mask[row, col]
        columns.append(pa.array(pixels[rows][row, col], mask=None if valid.all() else ~valid))
    return pa.Table.from_arrays(columns, schema=schema)
