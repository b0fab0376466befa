"""Tiles as a Dask DataFrame, whose partitions are shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rasteret_sql.arrays.shards import Shard, pieces_of, shards
from rasteret_sql.checks import check_choice
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rasteret_sql.read.stream import OnError


def to_dask(
    index: Any,
    *,
    columns: Sequence[str] | None = None,
    npartitions: int | None = None,
    on_error: OnError = "raise",
    **read: Any,
) -> Any:
    """Give the tiles of an index as a Dask DataFrame, where a table is wanted; `to_xarray(chunks=...)` gives arrays.

    The read is planned here, once. Each partition reads one shard: it needs neither the index nor DuckDB.

    Args:
        index: rows of an index, as for `shards`.
        columns: names of the columns of `read_tiles`, in this order; None for all. Without `pixels`, `mask` and
            `error`, nothing is fetched.
        npartitions: the number of partitions; by default, one for 64 MiB of the files, and 8 at least. There are fewer
            if there are fewer files, and these are small.
        on_error: "raise", or "null" for rows without pixels whose `error` says why.
        **read: further arguments of `shards`: bands, bbox, datetime and others, without `chips`.

    Returns:
        A `dask.dataframe.DataFrame` with the columns of `read_tiles` as types of Arrow: `pixels` are bytes.

    Raises:
        InvalidArgumentError: an argument is wrong, or Dask is not installed.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
    """
    try:
        import dask.dataframe as dd
        import pandas as pd
    except ImportError as error:
        raise InvalidArgumentError(
            "to_dask: Dask with data frames is required: pip install 'rasteret-sql[dask]' pandas"
        ) from error
    check_choice("on_error", on_error, ("raise", "null"))
    if read.get("chips") is not None:
        raise InvalidArgumentError("chips: got some for a table of tiles, expected none; use shards(chips=...)")
    found = shards(index, 1, **read)
    if not found:
        raise EmptyReadError("index: no tiles are left by the other arguments, expected some; widen them")
    meta = found[0].read_tiles(columns=columns, limit=0).schema.empty_table().to_pandas(types_mapper=pd.ArrowDtype)
    partitions = [_Partition(shard, columns, on_error) for shard in pieces_of(found[0], npartitions)]
    make: Any = dd.from_map
    return make(_read, partitions, meta=meta, label="read-shard")


class _Partition:
    """One shard, and how it is read; pickled as its bytes, which schedulers pass on unopened."""

    def __init__(self, shard: Shard, columns: Sequence[str] | None, on_error: OnError) -> None:
        self.shard, self.columns, self.on_error = shard, columns, on_error

    def __reduce__(self) -> tuple[Callable[..., _Partition], tuple[Any, ...]]:
        return _Partition, (self.shard, self.columns, self.on_error)

    def __dask_tokenize__(self) -> Any:
        """Say what the partition is."""
        return self.shard.plan_hash, self.shard.number, self.shard.shard_count, self.columns, self.on_error


def _read(partition: _Partition) -> Any:
    """Read a partition: a data frame of pandas.

    Raises:
        RasteretError: bytes could not be fetched or decoded, and `on_error` is "raise".
    """
    import pandas as pd

    rows = partition.shard.read_tiles(columns=partition.columns, on_error=partition.on_error)
    return rows.read_all().to_pandas(types_mapper=pd.ArrowDtype)
