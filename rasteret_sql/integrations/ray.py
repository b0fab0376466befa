"""Ray Data: tiles or chips of a collection as a dataset, whose read tasks are shards.

import rasteret_sql.integrations.ray
dataset = rasteret_sql.integrations.ray.dataset("s2.parquet", bands=["red", "nir"])
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rasteret_sql.arrays.chip_rows import CHIP_COLUMNS, READ_COLUMNS, checked_columns
from rasteret_sql.arrays.shards import Shard, shards
from rasteret_sql.checks import check_choice
from rasteret_sql.errors import EmptyReadError

try:
    import ray.data
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata
    from ray.data.extensions import ArrowTensorArray
except ImportError as error:
    raise ImportError("rasteret_sql.integrations.ray: Ray is required: pip install 'rasteret-sql[ray]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def dataset(
    index: Any,
    *,
    columns: Sequence[str] | None = None,
    on_error: str = "raise",
    override_num_blocks: int | None = None,
    concurrency: int | None = None,
    ray_remote_args: dict[str, Any] | None = None,
    **read: Any,
) -> ray.data.Dataset:
    """Give the tiles or chips of a collection as a dataset of Ray.

    The read is planned here, once. Each task reads one shard: it needs neither the index nor DuckDB, and secrets are
    never inside. Workers sign requests with their own environment: pass variables in
    `ray_remote_args={"runtime_env": {"env_vars": {...}}}`.

    Args:
        index: as for `rasteret_sql.shards`; or a shard, which is read as it is.
        columns: columns of `read_tiles`, or of chips: chip, item_id, row_off, col_off, pixels, mask. None for all.
            Without `pixels`, `mask` and `error`, nothing is fetched. `select_columns` of the dataset does the same.
        on_error: "raise", or "null" for rows of tiles without pixels whose `error` says why.
        override_num_blocks, concurrency, ray_remote_args: as for `ray.data.read_datasource`.
        **read: further arguments of `rasteret_sql.shards`: bands, bbox, chips, chip_size and others.

    Returns:
        A dataset. Tiles have the columns of `read_tiles`. Chips have tensors: `pixels` and `mask` (band, y, x).

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
    """
    source = RasteretDatasource(index, columns=columns, on_error=on_error, **read)
    return ray.data.read_datasource(
        source,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
        ray_remote_args=ray_remote_args,
    )


class RasteretDatasource(Datasource):  # type: ignore[misc] # Ray may not be there
    """The tiles or chips of a collection as a datasource of Ray; the arguments are those of `dataset`."""

    def __init__(
        self, index: Any, *, columns: Sequence[str] | None = None, on_error: str = "raise", **read: Any
    ) -> None:
        super().__init__()
        check_choice("on_error", on_error, ("raise", "null"))
        whole = [index] if isinstance(index, Shard) and not read else shards(index, 1, **read)
        if not whole:
            raise EmptyReadError("index: no tiles are left by the other arguments, expected some; widen them")
        self._shard = whole[0]
        self._on_error = on_error
        self._projection_map: dict[str, str] | None = None
        if columns is not None:
            names = [columns] if isinstance(columns, str) else list(columns)
            _check_columns(names, self._shard)
            self._projection_map = {name: name for name in names}

    def get_name(self) -> str:
        """Name the read tasks."""
        return "Rasteret"

    def supports_projection_pushdown(self) -> bool:
        """Take the columns that later steps need."""
        return True

    def apply_projection(self, projection_map: dict[str, str] | None) -> RasteretDatasource:
        """Give a source of fewer columns."""
        found = copy.copy(self)
        found._projection_map = self._combine_projection_map(  # noqa: SLF001 - a copy
            self._projection_map, None if projection_map is None else {name: name for name in projection_map}
        )
        return found

    def estimate_inmemory_data_size(self) -> int:
        """Give the bytes of all blocks: of pixels and masks exactly, of other columns by their first rows."""
        return _block_bytes(self._shard, self._columns())

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Cut the plan into shards, one for each task."""
        del data_context
        columns, on_error = self._columns(), self._on_error
        tasks = []
        for shard in self._shard.split(max(parallelism, 1)):
            rows = shard.chip_table().num_rows if shard.has_chips else shard.tile_count
            metadata = BlockMetadata(
                num_rows=rows if per_task_row_limit is None else min(rows, per_task_row_limit),
                size_bytes=_block_bytes(shard, columns),
                input_files=None,
                exec_stats=None,
            )
            task = _Read(shard, columns, per_task_row_limit, on_error)
            schema = next(iter(_Read(shard, columns, 0, on_error)())).schema
            tasks.append(ReadTask(task, metadata, schema=schema, per_task_row_limit=per_task_row_limit))
        return tasks

    def _columns(self) -> list[str] | None:
        return None if self._projection_map is None else list(self._projection_map)


class _Read:
    """What a task does: reads one shard. It is pickled as the bytes of the shard."""

    def __init__(self, shard: Shard, columns: list[str] | None, limit: int | None, on_error: str) -> None:
        self._shard, self._columns, self._limit, self._on_error = shard, columns, limit, on_error

    def __call__(self) -> Iterator[pa.Table]:
        if self._shard.has_chips:
            yield from _chip_blocks(self._shard, self._columns, self._limit)
            return
        # Without a column, blocks still have rows.
        wanted = self._columns or (self._columns if self._columns is None else ["band"])
        reader: Any = self._shard.read_tiles(columns=wanted, limit=self._limit, on_error=self._on_error)  # type: ignore[arg-type]
        has_rows = False
        for batch in reader:
            has_rows = True
            table = pa.Table.from_batches([batch])
            yield table if self._columns is None else table.select(self._columns)
        if not has_rows:
            table = reader.schema.empty_table()
            yield table if self._columns is None else table.select(self._columns)


def _chip_blocks(shard: Shard, columns: list[str] | None, limit: int | None) -> Iterator[pa.Table]:
    """Read chips some at a time: a block for each part, so that memory does not grow with the shard."""
    wanted = list(CHIP_COLUMNS if columns is None else columns)
    read = [name for name in wanted if name in READ_COLUMNS]
    table = shard.chip_table()[:limit]
    if not read or not len(table):
        for name in read:
            empty = np.empty((0, *shard.chip_shape), shard.chip_dtype if name == "pixels" else bool)
            table = table.append_column(name, ArrowTensorArray.from_numpy(empty))
        yield table.select(wanted)
        return
    for places, found in shard.iter_chips(limit=limit):
        block = places
        for name in read:
            values = found.data if name == "pixels" else found.mask
            block = block.append_column(name, ArrowTensorArray.from_numpy(values))
        yield block.select(wanted)


def _check_columns(names: list[Any], shard: Shard) -> None:
    """Refuse columns that there are not.

    Raises:
        InvalidArgumentError: there is one.
    """
    if not shard.has_chips:
        shard.read_tiles(columns=names)
        return
    checked_columns(names)


#: Rows by whose size that of all others is told.
_SAMPLED_ROWS = 1024


def _block_bytes(shard: Shard, columns: list[str] | None) -> int:
    """Give the bytes of the rows of a shard as Arrow."""
    if shard.has_chips:
        sizes = shard.chip_nbytes()
        # Arrow has booleans as bits.
        sizes["mask"] = -(-sizes["mask"] // 8)
        wanted = set(CHIP_COLUMNS if columns is None else columns)
        table = shard.chip_table()
        plain = table.select([name for name in table.column_names if name in wanted]).nbytes
        return int(plain + sum(nbytes for name, nbytes in sizes.items() if name in wanted))
    wanted = set(shard.read_tiles().schema.names if columns is None else columns)
    sizes = shard.decoded_nbytes_by_column()
    plain_names = sorted(wanted - {*sizes, "error"})
    plain = 0
    if plain_names:
        rows = min(shard.tile_count, _SAMPLED_ROWS)
        sample = shard.read_tiles(columns=plain_names, limit=rows).read_all()
        plain = sample.nbytes * shard.tile_count // max(rows, 1)
    return int(plain + sum(nbytes for name, nbytes in sizes.items() if name in wanted))
