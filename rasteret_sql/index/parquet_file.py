"""The Parquet file of an index: the order of its rows, encodings, row groups, and the metadata on its making."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from rasteret_sql.database.schema import METADATA_PREFIX, SCHEMA_VERSION, geo_metadata, index_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa
    from pyarrow import parquet

    from rasteret_sql.index.report import Failure

#: Small enough that a plan decodes few rows beside those of an area and a month, and large enough that the footer is
#: short: it takes some kilobytes for each row group, and DuckDB looks at every column of each in every statement.
ROW_GROUP_ROWS = 8192
#: Bytes of a page. DuckDB reads no page behind the last row that it needs.
_PAGE_BYTES = 1 << 16
#: Values that are encoded before the size of a page is looked at; a value of a list column is a whole list.
_PAGE_STEP_ROWS = 256
#: How many failures the metadata lists; the count is of all.
LISTED_FAILURES = 1000
#: Bytes in memory that are sorted at a time: DuckDB's own sort exceeds its limit with rows this wide.
BUCKET_BYTES = 1 << 25
#: Rows that are joined at a time, and rows in a batch of their result.
JOINED_ROWS = 8_192
_BATCH_ROWS = 2048
#: In the order of the query the narrow tables are held in memory, and the wide headers stream past them.
_AS_WRITTEN = "SET disabled_optimizers = 'join_order,build_side_probe_side'"
_ROWS = "SELECT * REPLACE (ST_AsWKB(geometry) AS geometry) FROM asset_index"
_ITEMS_OF = "SELECT min(item_no), max(item_no) FROM assets WHERE asset_no BETWEEN $1 AND $2"

#: The column that orders the rows; it is not written.
_ORDER = "asset_no"
#: Bytes of a row without its tiles, bytes of a tile, and the number of files that may be open.
_ROW_BYTES, _TILE_BYTES, _MOST_BUCKETS = 2048, 8, 256
_SIZE = """
    SELECT
        count(*),
        coalesce(sum(list_sum(list_transform(
            levels, lambda l: len(l.tile_byte_counts) + coalesce(len(l.mask.tile_byte_counts), 0)
        ))), 0)::BIGINT,
        coalesce(max(asset_no), 0),
        min(bbox.xmin), min(bbox.ymin), max(bbox.xmax), max(bbox.ymax)
    FROM headers
"""
_TILES = "levels.list.element.{}{}.list.element"
#: Encodings of columns whose dictionary would be longer than their values; all other columns have a dictionary.
_ENCODINGS = {
    **{
        _TILES.format(mask, name): "DELTA_BINARY_PACKED"
        for mask in ("", "mask.")
        for name in ("tile_byte_counts", "run_offsets", "tile_gaps")
    },
    "file_size": "DELTA_BINARY_PACKED",
    "item_id": "DELTA_BYTE_ARRAY",
    "href": "DELTA_BYTE_ARRAY",
    "mirror": "DELTA_BYTE_ARRAY",
    "etag": "PLAIN",
}
#: Structs and columns of the schema that have statistics, because queries filter by them; all properties have them too.
_PRUNED_STRUCTS = ("bbox.", "reach.")
_PRUNED_COLUMNS = frozenset({"collection", "item_id", "asset", "datetime", "start_datetime", "end_datetime"})


def write_index(con: duckdb.DuckDBPyConnection, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the view `asset_index`, in the order of `asset_no`, as GeoParquet 1.1.

    Memory does not grow with the number of rows: some rows are joined at a time and go into files by their position in
    the order; then each of these files is sorted by itself.

    The geometry is written as WKB with a `geo` key of our own: the key that DuckDB writes has no bbox covering, and
    older readers do not know its native geometry type. DuckDB reads the column back as GEOMETRY('OGC:CRS84').

    Args:
        con: connection that sees `asset_index`, `assets` and `headers`; its time zone is UTC.
        path: the file, which must not exist. Rows wait in files beside it.
        metadata: further Parquet key-value metadata.
    """
    import pyarrow as pa

    ((rows_in_all, tiles, last, *bounds),) = con.execute(_SIZE).fetchall()
    rows_per_bucket = _rows_per_bucket(rows_in_all, tiles)
    with _Buckets(path, rows_per_bucket) as buckets:
        for rows in _joined(con, last):
            buckets.add(rows)
        kept = [field for field in buckets.schema if field.name != _ORDER]
        schema = pa.schema(kept)
        with open_writer(path, schema) as writer:
            for table in buckets.in_order():
                writer.write_table(table.select(schema.names), min(ROW_GROUP_ROWS, rows_per_bucket))
            geo = geo_metadata(bounds if bounds[0] is not None else None)
            writer.add_key_value_metadata({"geo": geo, **metadata})


def _joined(con: duckdb.DuckDBPyConnection, last: int) -> Iterator[pa.RecordBatchReader]:
    """Give the rows of `asset_index`, some assets at a time, in any order."""
    con.execute(_AS_WRITTEN)
    for first in range(0, last + 1, JOINED_ROWS):
        bounds = (first, first + JOINED_ROWS - 1)
        (items,) = con.execute(_ITEMS_OF, bounds).fetchall()
        names = ("rst_first_asset_no", "rst_last_asset_no", "rst_first_item_no", "rst_last_item_no")
        for name, value in zip(names, (*bounds, *items), strict=True):
            con.execute(f"SET VARIABLE {name} = $1::BIGINT", [value])
        yield con.sql(_ROWS).to_arrow_reader(_BATCH_ROWS)
    con.execute("RESET disabled_optimizers")


def open_writer(path: Path, schema: pa.Schema) -> parquet.ParquetWriter:
    """Begin an index file, with encodings and statistics for its columns.

    Args:
        path: the file, which must not exist.
        schema: its columns.
    """
    from pyarrow import parquet

    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    return parquet.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression="zstd",
        use_dictionary=[leaf for leaf in leaves if leaf not in _ENCODINGS],
        column_encoding={leaf: _ENCODINGS[leaf] for leaf in leaves if leaf in _ENCODINGS},
        write_statistics=[leaf for leaf in leaves if _has_statistics(leaf)],
        store_schema=False,
        data_page_size=_PAGE_BYTES,
        write_batch_size=_PAGE_STEP_ROWS,
    )


def _rows_per_bucket(rows: int, tiles: int) -> int:
    """Give as many whole row groups as fit into a bucket, or fewer rows than one if each has very many tiles."""
    nbytes = rows * _ROW_BYTES + tiles * _TILE_BYTES
    most = max(1, rows * BUCKET_BYTES // max(1, nbytes), rows // _MOST_BUCKETS)
    return most // ROW_GROUP_ROWS * ROW_GROUP_ROWS or most


class _Buckets:
    """Rows in files by their position in the order; each file is small enough to be sorted in memory."""

    def __init__(self, path: Path, rows_per_bucket: int) -> None:
        import pyarrow as pa

        self.schema = pa.schema([])
        self._path = path
        self._rows = rows_per_bucket
        self._writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for number, writer in self._writers.items():
            writer.close()
            self._file(number).unlink(missing_ok=True)

    def add(self, rows: pa.RecordBatchReader) -> None:
        """Put rows into their buckets; all rows have one schema."""
        import numpy as np
        import pyarrow as pa

        self.schema = rows.schema
        for batch in rows:
            bucket = batch.column(_ORDER).to_numpy() // self._rows
            order = np.argsort(bucket, kind="stable")
            numbers, firsts = np.unique(bucket[order], return_index=True)
            # Slices of one sorted copy: a filter per bucket would look at every row again.
            sorted_rows = batch if (order[1:] > order[:-1]).all() else batch.take(pa.array(order))
            for number, first, end in zip(numbers.tolist(), firsts, [*firsts[1:], len(bucket)], strict=True):
                self._writer(number).write_batch(sorted_rows.slice(first, end - first))
        # Arrow's pool would keep the memory of several batches; the same below.
        pa.default_memory_pool().release_unused()

    def _writer(self, number: int) -> pa.ipc.RecordBatchFileWriter:
        import pyarrow as pa

        if number not in self._writers:
            # Threads of Arrow's pool would keep memory of their own.
            options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
            self._writers[number] = pa.ipc.new_file(self._file(number), self.schema, options=options)
        return self._writers[number]

    def in_order(self) -> Iterator[pa.Table]:
        """Give all rows, bucket by bucket; no rows can be added afterwards."""
        import pyarrow as pa

        for number in sorted(self._writers):
            self._writers[number].close()
        for number in sorted(self._writers):
            with pa.OSFile(str(self._file(number))) as file:
                table = pa.ipc.open_file(file).read_all()
            yield table.sort_by(_ORDER)
            del table
            pa.default_memory_pool().release_unused()
            self._file(number).unlink()

    def _file(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}.arrow")


def _leaves(name: str, kind: pa.DataType) -> Iterator[str]:
    """Give the paths of the Parquet columns of an Arrow column."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{name}.{field.name}", field.type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _leaves(f"{name}.list.element", kind.value_type)
    else:
        yield name


def _has_statistics(leaf: str) -> bool:
    """Whether queries filter by this column; statistics of all columns would be most of the footer."""
    return (
        leaf.startswith(_PRUNED_STRUCTS) or leaf in _PRUNED_COLUMNS or ("." not in leaf and leaf not in index_columns())
    )


def provenance(
    definition: Mapping[str, Any], digest: str, failures: Sequence[Failure], *, seconds: float
) -> dict[str, str]:
    """Describe how an index was built, as Parquet key-value metadata.

    Args:
        definition: source and options of the build.
        digest: hash of the definition and of the SQL of builds.
        failures: the files that are not in the index.
        seconds: duration of the build.
    """
    listed = [asdict(failure) for failure in failures[:LISTED_FAILURES]]
    values = {
        "schema_version": str(SCHEMA_VERSION),
        "version": package_version(),
        "definition": json.dumps(definition),
        "definition_sha256": digest,
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "build_seconds": f"{seconds:.1f}",
        "failure_count": str(len(failures)),
        "failures": json.dumps(listed),
    }
    return {METADATA_PREFIX + name: value for name, value in values.items()}


@cache
def package_version() -> str:
    """Give the version of the installed package; "0+unknown" in a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rasteret-sql")
    except PackageNotFoundError:
        return "0+unknown"
