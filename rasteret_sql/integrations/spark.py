"""Spark: tiles of a collection as a data source in Python, whose partitions are shards.

spark.dataSource.register(rasteret_sql.integrations.spark.RasteretDataSource)
spark.read.format("rasteret").option("bands", "red,nir").load("s2.parquet")
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_sql.arrays.shards import Shard, pieces_of, shards
from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.sql.batches import tile_schema

try:
    from pyspark.sql import datasource
    from pyspark.sql.pandas.types import from_arrow_schema
except ImportError as error:
    raise ImportError(
        "rasteret_sql.integrations.spark: Spark is required: pip install 'rasteret-sql[spark]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: Columns by which tiles are left out before they are fetched: Spark and Arrow compare their values alike.
_FILTERED: Final = frozenset(
    {"collection", "item_id", "asset", "band", "band_name", "level", "tile_row", "tile_col", "crs", "dtype", "href"}
)
_COMPARED: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "EqualTo": operator.eq, "GreaterThan": operator.gt, "GreaterThanOrEqual": operator.ge, "LessThan": operator.lt,
    "LessThanOrEqual": operator.le,
}  # fmt: skip


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[float]:
    return [float(part) for part in _names(text)]


#: Options that are arguments of `rasteret_sql.shards`, and how their text is read. Spark has names in lower case.
_READ: Final[dict[str, Callable[[str], Any]]] = {
    "bands": _names, "geometry": str, "bbox": _numbers, "geometry_crs": str, "datetime": str, "level": int,
    "resolution": float, "statistics": str, "tiles_where": str,
}  # fmt: skip
#: Further options.
_OWN: Final[dict[str, Callable[[str], Any]]] = {"path": str, "columns": _names, "shards": int, "on_error": str}


class RasteretDataSource(datasource.DataSource):  # type: ignore[misc] # Spark may not be there
    """Tiles of a collection, with the columns of `read_tiles`.

    `load` takes the path of an index. The options are the arguments of `rasteret_sql.shards` as text, with commas in
    `bands` and `bbox`; `columns`, of which nothing is fetched without pixels, mask and error; `on_error`; and
    `shards`, the number of partitions. Workers sign requests with their own environment.

    Raises:
        InvalidArgumentError: an option is unknown, or its text cannot be read.
    """

    @classmethod
    def name(cls) -> str:
        """Name the format."""
        return "rasteret"

    def schema(self) -> Any:
        """Give the columns."""
        columns = _parsed(self.options)[1].get("columns")
        schema = tile_schema()
        unknown = [name for name in columns or () if name not in schema.names]
        if unknown:
            raise InvalidArgumentError(f"columns: got {shown(unknown)}, expected some of {', '.join(schema.names)}")
        return from_arrow_schema(schema if columns is None else pa.schema([schema.field(name) for name in columns]))

    def reader(self, schema: Any) -> RasteretReader:
        """Give what plans and reads."""
        return RasteretReader(*_parsed(self.options), list(schema.fieldNames()))


class RasteretReader(datasource.DataSourceReader):  # type: ignore[misc]
    """Plans a read as partitions, and reads them.

    Args:
        read: arguments of `rasteret_sql.shards`.
        own: the other options.
        columns: the columns.
    """

    def __init__(self, read: dict[str, Any], own: dict[str, Any], columns: list[str]) -> None:
        self._read, self._own, self._columns = read, own, columns
        self._conditions: list[Any] = []

    def pushFilters(self, filters: Sequence[Any]) -> Iterable[Any]:  # noqa: N802 - Spark's name
        """Take conditions on columns that are known without reading; give the others back."""
        for each in filters:
            condition = _condition(each)
            if condition is None:
                yield each
            else:
                self._conditions.append(condition)

    def partitions(self) -> list[Any]:
        """Plan once, and give a partition for each shard."""
        found = shards(self._own["path"], 1, **self._read)
        for condition in self._conditions:
            found = [shard for shard in (each.where(condition) for each in found) if shard.tile_count]
        if not found:
            return [datasource.InputPartition(None)]
        pieces = pieces_of(found[0], self._own.get("shards"))
        return [datasource.InputPartition(shard.to_bytes()) for shard in pieces]

    def read(self, partition: Any) -> Iterator[pa.RecordBatch]:
        """Read a shard; it needs no index."""
        if partition.value is not None:
            shard = Shard.from_bytes(partition.value)
            yield from shard.read_tiles(columns=self._columns, on_error=self._own.get("on_error", "raise"))


def _parsed(options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read options: arguments of `rasteret_sql.shards`, and the others.

    Raises:
        InvalidArgumentError: one is unknown, or its text cannot be read.
    """
    read: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, text in options.items():
        place, parsers = (read, _READ) if name in _READ else (own, _OWN)
        if name not in parsers:
            raise InvalidArgumentError(f"option {name!r}: got {shown(text)}, expected one of {', '.join(_READ | _OWN)}")
        try:
            place[name] = parsers[name](text)
        except ValueError as error:
            raise InvalidArgumentError(f"{name}: got {shown(text)}, expected numbers") from error
    if "path" not in own:
        raise InvalidArgumentError("path: got nothing, expected the path of an index: load('s2.parquet')")
    return read, own


def _condition(given: Any) -> Any:
    """Give a condition of Spark as one of Arrow; None where it is no comparison of a column of `_FILTERED`."""
    kind = type(given).__name__
    if kind == "Not":
        # NULL is none of a list for Arrow, and unknown for Spark.
        inner = None if type(given.child).__name__ == "In" else _condition(given.child)
        return None if inner is None else ~inner
    attribute = getattr(given, "attribute", None)
    if not isinstance(attribute, tuple) or len(attribute) != 1 or attribute[0] not in _FILTERED:
        return None
    column = pc.field(attribute[0])
    if kind in _COMPARED and given.value is not None:
        return _COMPARED[kind](column, given.value)
    if kind == "In" and all(value is not None for value in given.value):
        return column.isin(list(given.value))
    if kind in {"IsNull", "IsNotNull"}:
        return column.is_null() if kind == "IsNull" else column.is_valid()
    return None
