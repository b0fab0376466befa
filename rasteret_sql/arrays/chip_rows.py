"""Chips of a shard as rows with tensors of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from rasteret_sql.checks import checked_list, shown
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_sql.arrays.shards import Shard

#: The columns, in order.
CHIP_COLUMNS: Final = ("chip", "item_id", "row_off", "col_off", "pixels", "mask")
#: Those that need bytes of files.
READ_COLUMNS: Final = frozenset({"pixels", "mask"})


def checked_columns(columns: Sequence[str] | None) -> list[str]:
    """Give the names of columns of chips; all for None.

    Raises:
        InvalidArgumentError: there is none of a name.
    """
    wanted = checked_list("columns", columns, "names of columns of chips")
    if wanted is None:
        return list(CHIP_COLUMNS)
    if not wanted or not all(isinstance(name, str) and name in CHIP_COLUMNS for name in wanted):
        raise InvalidArgumentError(f"columns: got {shown(wanted)}, expected some of {', '.join(CHIP_COLUMNS)}")
    return list(dict.fromkeys(wanted))


def chip_reader(shard: Shard, columns: Sequence[str] | None, limit: int | None) -> pa.RecordBatchReader:
    """Stream the chips of a shard; see `Shard.read_chips`."""
    names = checked_columns(columns)
    places = shard.chip_table()
    shape, dtype = shard.chip_shape, shard.chip_dtype
    types = {"pixels": dtype, "mask": np.dtype(np.uint8)}
    try:
        fields = {name: pa.fixed_shape_tensor(pa.from_numpy_dtype(types[name]), shape) for name in READ_COLUMNS}
    except pa.ArrowNotImplementedError as error:
        raise InvalidArgumentError(
            f"shard {shard.name}: got pixels of type {dtype}, expected real numbers, of which Arrow has tensors; read "
            "chips() or the tiles"
        ) from error
    schema = pa.schema([(name, fields[name] if name in fields else places.schema.field(name).type) for name in names])
    return pa.RecordBatchReader.from_batches(schema, _batches(shard, schema, limit))


def _batches(shard: Shard, schema: pa.Schema, limit: int | None) -> Iterator[pa.RecordBatch]:
    if not READ_COLUMNS & set(schema.names):
        yield from shard.chip_table()[:limit].select(schema.names).to_batches()
        return
    for places, found in shard.iter_chips(limit=limit):
        columns: dict[str, Any] = dict(zip(places.column_names, places.columns, strict=True))
        for name, values in (("pixels", found.data), ("mask", found.mask.view(np.uint8))):
            if name in schema.names:
                tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(values).storage
                columns[name] = pa.ExtensionArray.from_storage(schema.field(name).type, tensor)
        yield from pa.table([columns[name] for name in schema.names], schema=schema).combine_chunks().to_batches()
