"""Partitioned indexes: one file is split into a tree of `column=value` folders, which appears whole or not at all."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import shown
from rasteret_sql.database import part_bounds
from rasteret_sql.database.part_bounds import Reach, write_part_bounds
from rasteret_sql.database.schema import METADATA_PREFIX, geo_metadata, index_schema
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal, quote_path
from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.index.parquet_file import ROW_GROUP_ROWS, open_writer
from rasteret_sql.plan.period import FIRST_US, LAST_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    import pyarrow as pa

#: Each partition is a folder and a file with a footer; more partitions cost more than they save.
MAX_PARTITIONS = 4096
#: Metadata key with the columns by which an index is split.
PARTITION_KEY = METADATA_PREFIX + "partition_by"

#: Bounds that hold nothing.
_NOWHERE = Reach(math.inf, math.inf, -math.inf, -math.inf, LAST_US, FIRST_US)
_NULL = "__HIVE_DEFAULT_PARTITION__"
_PART = "part-0.parquet"
#: Parts of the time of an item, which are not columns.
_OF_TIME = ("year", "month", "day")
_TIME = "coalesce(datetime, start_datetime)"
#: DuckDB types whose values can be names of folders.
_PLAIN_TYPES = frozenset({"VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DATE"})
#: Largest number of bytes in the name of a folder on common file systems.
_MAX_NAME_BYTES = 255


def checked_partition(partition_by: Sequence[str] | str | None) -> tuple[str, ...]:
    """Check the columns by which an index is split; none for one file.

    Raises:
        InvalidArgumentError: they are not names, or name columns of an index without plain values.
    """
    if partition_by is None:
        return ()
    names = [partition_by] if isinstance(partition_by, str) else partition_by
    expected = "expected names of columns, or year, month or day, such as ['collection', 'year']"
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidArgumentError(f"partition_by: got {shown(partition_by)}, {expected}")
    if len({name.lower() for name in names}) < len(names):
        raise InvalidArgumentError(f"partition_by: got {shown(partition_by)}, expected each name once")
    import pyarrow as pa

    for field in index_schema():
        if field.name in names and not (pa.types.is_string(field.type) or pa.types.is_boolean(field.type)):
            raise InvalidArgumentError(f"partition_by: got {field.name}, which is not a column of texts; {expected}")
    return tuple(names)


def require_columns(partition_by: Sequence[str], columns: Mapping[str, str]) -> None:
    """Refuse to split by a column that the rows do not have.

    Args:
        partition_by: names of columns.
        columns: DuckDB types of the columns, by name.

    Raises:
        InvalidArgumentError: a column is missing, or its values cannot be names of folders.
    """
    plain = sorted(name for name, kind in columns.items() if kind in _PLAIN_TYPES)
    for name in partition_by:
        if name in columns and columns[name] not in _PLAIN_TYPES:
            raise InvalidArgumentError(
                f"partition_by: got {name}, which is {columns[name][:60]}; expected a column of texts or whole numbers"
            )
        if name not in columns and name not in _OF_TIME:
            raise InvalidArgumentError(
                f"partition_by: got {name}, which no item has; expected {', '.join(_OF_TIME)}, or one of "
                f"{', '.join(plain)}"
            )


def checked_folder(target: Path) -> Path:
    """Refuse to replace anything but a partitioned index.

    Raises:
        InvalidArgumentError: the path is a file, or a folder that holds other files.
    """
    if target.is_file():
        raise InvalidArgumentError(f"path: got the file {target}, expected a folder for partition_by; give another one")
    for folder, _, names in os.walk(target):
        for name in names:
            if name != part_bounds.NAME and not _is_part(Path(folder, name)):
                raise InvalidArgumentError(
                    f"path: the folder {target} holds {Path(folder, name)}, which is not part of a "
                    f"partitioned index and would be lost; give a new folder"
                )
    return target


def _is_part(path: Path) -> bool:
    import pyarrow as pa
    from pyarrow import parquet

    if path.suffix != ".parquet":
        return False
    try:
        return PARTITION_KEY.encode() in (parquet.read_metadata(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def split_index(con: duckdb.DuckDBPyConnection, file: Path, folder: Path, partition_by: Sequence[str]) -> None:
    """Write the rows of an index as a tree of files; each is an index with the same metadata and order.

    Args:
        con: a connection whose time zone is UTC.
        file: the index.
        folder: the root of the tree, which must not exist.
        partition_by: columns, from the root downwards.

    Raises:
        InvalidArgumentError: the rows lack a column.
        BuildError: there would be more than `MAX_PARTITIONS` files, or a value is too long for a name.
    """
    from pyarrow import parquet

    described = con.execute(f"DESCRIBE FROM read_parquet({quote_path(file)})").fetchall()
    columns = {row[0]: row[1] for row in described}
    require_columns(partition_by, columns)
    label = _label(partition_by, columns)
    folder.mkdir()
    # With pre-buffering the whole file would end up in memory.
    with parquet.ParquetFile(file, pre_buffer=False) as source:
        # Row groups are smaller where rows have very many tiles.
        spill = _Spill(folder.with_name(f"{folder.name}.spill"), source.metadata.row_group(0).num_rows)
        for batch in source.iter_batches(spill.rows_per_group):
            spill.add(batch, _labels(con, batch, label, [*partition_by, "datetime", "start_datetime"]))
        metadata = {key.decode(): value.decode() for key, value in (source.schema_arrow.metadata or {}).items()}
        schema = source.schema_arrow.remove_metadata()
    reach_of = {}
    for name in spill.names():
        path = folder / name / _PART
        path.parent.mkdir(parents=True)
        reach_of[path] = write_part(path, spill.tables(name), schema, metadata)
    write_part_bounds(folder, reach_of)


def _label(partition_by: Sequence[str], columns: Mapping[str, str]) -> str:
    """Give the folder of a row as an SQL expression."""
    parts = []
    for name in partition_by:
        value = f"{quote_identifier(name)}::VARCHAR" if name in columns else f"date_part('{name}', {_TIME})::VARCHAR"
        parts.append(f"url_encode({quote_literal(name)}) || '=' || coalesce(url_encode({value}), '{_NULL}')")
    return f"concat_ws('/', {', '.join(parts)})"


def _labels(con: duckdb.DuckDBPyConnection, batch: pa.RecordBatch, label: str, names: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    known = pa.Table.from_batches([batch.select([name for name in names if name in batch.schema.names])])
    labels: pa.Array = con.from_arrow(known).project(f"{label} AS label").to_arrow_table()["label"].combine_chunks()
    return labels


class _Spill:
    """Rows in small files by their target folder; only one batch is in memory."""

    def __init__(self, folder: Path, rows_per_group: int) -> None:
        self.rows_per_group = min(ROW_GROUP_ROWS, rows_per_group)
        self._folder = folder
        self._folder.mkdir()
        self._count = 0
        self._files: dict[str, list[Path]] = {}

    def add(self, batch: pa.RecordBatch, labels: pa.Array) -> None:
        """Put each row into a file of its folder."""
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import feather

        for label in pc.unique(labels).to_pylist():
            if label not in self._files:
                self._check(label)
            files = self._files.setdefault(label, [])
            rows = pa.Table.from_batches([batch.filter(pc.equal(labels, label))]).replace_schema_metadata(None)
            files.append(self._folder / f"{self._count}.arrow")
            self._count += 1
            feather.write_feather(rows, files[-1], compression="lz4")

    def _check(self, label: str) -> None:
        long = next((part for part in label.split("/") if len(part.encode()) > _MAX_NAME_BYTES), None)
        if long is not None:
            raise BuildError(
                f"partition_by: {long[:60]}… as the name of a folder has {len(long.encode())} bytes; "
                f"expected {_MAX_NAME_BYTES} at most. Split by another column"
            )
        if len(self._files) == MAX_PARTITIONS:
            raise BuildError(
                f"partition_by: got more than {MAX_PARTITIONS} folders, the last one {label}; "
                f"split by fewer columns, or by columns with fewer values"
            )

    def names(self) -> list[str]:
        """The folders, in order."""
        return sorted(self._files)

    def tables(self, label: str) -> Iterator[pa.Table]:
        """Give the rows of a folder in order, a row group at a time."""
        import pyarrow as pa
        from pyarrow import feather

        waiting: list[pa.Table] = []
        for path in self._files[label]:
            waiting.append(feather.read_table(path, memory_map=False))
            path.unlink()
            if sum(table.num_rows for table in waiting) >= self.rows_per_group:
                table = pa.concat_tables(waiting)
                yield table.slice(0, self.rows_per_group)
                waiting = [table.slice(self.rows_per_group)]
        rest = pa.concat_tables(waiting)
        if rest.num_rows:
            yield rest


def write_part(path: Path, tables: Iterator[pa.Table], schema: pa.Schema, metadata: Mapping[str, str]) -> Reach:
    """Write a part, and give the bounds of its rows."""
    import pyarrow.compute as pc

    boxes: list[list[pa.StructScalar]] = []
    reach = _NOWHERE
    with open_writer(path, schema) as writer:
        for table in tables:
            reach = reach.joined(_reach_of(table))
            box = table["bbox"].combine_chunks()
            boxes.append([pc.min_max(pc.struct_field(box, side)) for side in ("xmin", "ymin", "xmax", "ymax")])
            writer.write_table(table)
        sides = [
            [limits[end].as_py() for limits in side if limits[end].is_valid]
            for side, end in zip(zip(*boxes, strict=True), ("min", "min", "max", "max"), strict=True)
        ]
        bounds = [best(side) for best, side in zip((min, min, max, max), sides, strict=True)] if all(sides) else None
        writer.add_key_value_metadata({**metadata, "geo": geo_metadata(bounds)})
    return reach


def _reach_of(table: pa.Table) -> Reach:
    """Give the bounds of rows; a value that is not known may be any."""
    import pyarrow.compute as pc

    column = table["reach"].combine_chunks()

    def end(name: str, widest: float) -> Any:
        value = pc.min_max(pc.struct_field(column, name), skip_nulls=False)["max" if widest > 0 else "min"].as_py()
        return widest if value is None or math.isnan(value) else value

    return Reach(
        xmin=end("xmin", -math.inf),
        ymin=end("ymin", -math.inf),
        xmax=end("xmax", math.inf),
        ymax=end("ymax", math.inf),
        start_us=end("start_us", FIRST_US),
        end_us=end("end_us", LAST_US),
    )


def put_in_place(written: Path, target: Path) -> None:
    """Rename a finished index, a file or a folder; an older index of that name ends up at `written`.

    Raises:
        BuildError: the file system refuses; the older index stays.
    """
    try:
        if written.is_file() or not target.exists():
            written.replace(target)
        elif not _exchange(written, target):
            _replace_folder(written, target)
    except OSError as error:
        raise BuildError(f"{target}: the index cannot be put there ({error}); nothing was changed.") from error


def _replace_folder(written: Path, target: Path) -> None:
    """Replace a folder in two steps, where one rename cannot."""
    aside = written.with_name(f"{written.name}.old")
    target.rename(aside)
    try:
        written.rename(target)
    except OSError:
        aside.rename(target)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot. Linux can on most file systems."""
    import ctypes

    at_cwd, exchange = -100, 2
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0)
