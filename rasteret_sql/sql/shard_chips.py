"""The chips of shards: read some at a time, and shown as rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.tiles import WindowPlan
from rasteret_sql.sql.joined import kept_by
from rasteret_sql.sql.shard_plan import rows_of_chips, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from rasteret_sql.read.chips import ChipLayout
    from rasteret_sql.sql.shard_plan import ShardChips, ShardPlan

    Rows = Callable[[pa.Table], Any]

#: Bytes of the chips that are read together. An item whose chips share tiles is read as a whole.
_PART_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class ChipPart:
    """Some chips of a shard, with their pixels.

    Attributes:
        chips: which they are.
        layout: their bands and dtype.
        data: pixels, shape (chip, band, y, x).
        mask: True means valid; of the same shape.
    """

    chips: ShardChips
    layout: ChipLayout
    data: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]


def planned_chips(shard: ShardPlan) -> tuple[ChipLayout, WindowPlan]:
    """Plan the windows of the chips of a shard.

    Raises:
        InvalidArgumentError: the shard is one of tiles, or lacks a tile of a chip.
    """
    plan = shard.plan
    layout, rows = rows_of_chips(plan, chips_of(shard))
    if len(rows) and rows.min() < 0:
        raise InvalidArgumentError(
            f"shard {shard.name}: it lacks {int((rows < 0).sum())} tiles of its chips, expected all; make it again"
        )
    owner = np.bincount(layout.windows.cells.owner, minlength=len(layout.windows.bands))
    return layout, WindowPlan(plan.take(rows), np.concatenate([[0], np.cumsum(owner)]))


def chips_of(shard: ShardPlan) -> ShardChips:
    """Give the chips of a shard.

    Raises:
        InvalidArgumentError: it is one of tiles.
    """
    if shard.chips is None:
        raise InvalidArgumentError(
            f"shard {shard.name}: got one of tiles, expected one that shards(chips=...) made; read its tiles"
        )
    return shard.chips


def read_parts(shard: ShardPlan) -> Iterator[ChipPart]:
    """Read the chips of a shard, some at a time; no tile is fetched twice.

    Raises:
        InvalidArgumentError: the shard is one of tiles, or lacks a tile of a chip.
        RasteretError: bytes could not be fetched or decoded.
    """
    layout, _ = planned_chips(shard)
    # A pixel and its mask.
    nbytes = int(np.prod(layout.shape, dtype=np.float64)) * (layout.dtype.itemsize + 1)
    for piece in split(shard, max(-(-nbytes // _PART_BYTES), 1)):
        chips = chips_of(piece)
        if len(chips.numbers):
            layout, planned = planned_chips(piece)
            data, mask = np.empty(layout.shape, layout.dtype), np.empty(layout.shape, bool)
            layout.read(planned, data, mask)
            yield ChipPart(chips, layout, data, mask)


def places_of(chips: ShardChips) -> dict[str, pa.Array]:
    """Give what a chip is as columns: `chip`, the row in the table of all chips, and its window."""
    row_off, col_off = chips.offsets.T
    return {
        "chip": pa.array(chips.numbers),
        "item_id": pa.array(chips.item_ids, pa.string()),
        "row_off": pa.array(row_off),
        "col_off": pa.array(col_off),
    }


def sql_batches(shard: ShardPlan, schema: pa.Schema, condition: Any, call: Any) -> Iterator[pa.RecordBatch]:
    """Give the rows of `read_shard_chips`: those that a condition leaves, if it says nothing of pixels.

    Args:
        shard: one with chips.
        schema: columns of `read_shard_chips` without `_call`. Without pixels and mask, nothing is fetched.
        condition: on the columns, or None.
        call: the call that the condition is of.
    """
    plain = pa.schema([field for field in schema if field.name not in {"pixels", "mask"}])
    kept: Rows | None = kept_by(condition, call, ("pixels", "mask"))
    layout, _ = planned_chips(shard)
    if kept is not None:
        named = pa.table(_columns(chips_of(shard), layout, plain), plain)
        shard = replace(shard, chips=chips_of(shard).take(np.asarray(kept(named), np.int64)))
    if len(plain) == len(schema):
        yield from pa.table(_columns(chips_of(shard), layout, schema), schema).to_batches()
        return
    for part in read_parts(shard):
        step = max(_PART_BYTES // max(part.data[:1].nbytes, 1), 1)
        for first in range(0, len(part.data), step):
            some = slice(first, first + step)
            numbers = np.arange(len(part.data))[some]
            columns = _columns(part.chips.take(numbers), part.layout, plain)
            for name, values in (("pixels", part.data), ("mask", part.mask)):
                if name in schema.names:
                    columns[name] = pa.array([chip.tobytes() for chip in values[some]], schema.field(name).type)
            yield pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _columns(chips: ShardChips, layout: ChipLayout, schema: pa.Schema) -> dict[str, pa.Array]:
    """Give the columns of `read_shard_chips` that need no pixels."""
    count = len(chips.numbers)
    height, width = chips.size
    alike = {
        "height": height,
        "width": width,
        "bands": [band.name for band in layout.bands],
        "nodata": [band.nodata for band in layout.bands],
        "dtype": layout.dtype.name,
    }
    places = places_of(chips)
    return {
        field.name: pa.array([alike[field.name]] * count, field.type)
        if field.name in alike
        else places[field.name].cast(field.type)
        for field in schema
    }
