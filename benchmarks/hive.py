"""An index of ten million rows in a folder for each month: one month of files that do not exist, again and again.

What a build of so many rows would write is made of one file of an index, whose rows get the times of other months.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from rasteret_sql.database.part_bounds import write_part_bounds
from rasteret_sql.index.partitions import PARTITION_KEY, write_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_YEAR = 2024
_MONTHS_PER_YEAR = 12
_TIMES = ("start_us", "end_us")


def write_hive(folder: Path, month: Path, months: int) -> Path:
    """Write an index of folders `year=…/month=…`; one that is there is kept.

    Args:
        folder: where it is written.
        month: an index whose items are all of January 2024.
        months: how many there are.
    """
    root = folder / f"hive-{months}-{month.stem}"
    if root.exists():
        return root
    written = folder / f"{root.name}.written"
    reach_of = {}
    for number in range(months):
        year, of_year = _YEAR + number // _MONTHS_PER_YEAR, number % _MONTHS_PER_YEAR + 1
        later = datetime(year, of_year, 1, tzinfo=UTC) - datetime(_YEAR, 1, 1, tzinfo=UTC)
        path = written / f"year={year}" / f"month={of_year}" / "part-0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with parquet.ParquetFile(month) as source:
            metadata = {key.decode(): value.decode() for key, value in (source.schema_arrow.metadata or {}).items()}
            metadata[PARTITION_KEY] = '["year", "month"]'
            schema = source.schema_arrow.remove_metadata()
            reach_of[path] = write_part(path, _later(source, later // timedelta(microseconds=1)), schema, metadata)
    write_part_bounds(written, reach_of)
    written.rename(root)
    return root


def _later(source: parquet.ParquetFile, later_us: int) -> Iterator[pa.Table]:
    """Give the row groups of an index with later times."""
    for number in range(source.num_row_groups):
        table = source.read_row_group(number).replace_schema_metadata(None)
        times = pc.add(table["datetime"].cast(pa.int64()), later_us).cast(table["datetime"].type)
        table = table.set_column(table.schema.get_field_index("datetime"), "datetime", times)
        reach = table["reach"].combine_chunks()
        parts: dict[str, Any] = {field.name: reach.field(field.name) for field in reach.type}
        parts |= {name: pc.add(parts[name], later_us) for name in _TIMES}
        shifted = pa.StructArray.from_arrays(list(parts.values()), fields=list(reach.type))
        yield table.set_column(table.schema.get_field_index("reach"), "reach", shifted)
