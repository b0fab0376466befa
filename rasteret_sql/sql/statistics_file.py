"""The file of statistics of tiles: its columns, its rows, and which of them are those of a file and band of a read.

A row is used where the file is the version that was measured, and where masks, nodata and tiles are the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_sql.checks import checked_path
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.select_text import shortened
from rasteret_sql.errors import AssetChangedError, InvalidArgumentError
from rasteret_sql.io.asked import redact
from rasteret_sql.io.identity import FileIdentity, compare
from rasteret_sql.plan.ragged import Ragged
from rasteret_sql.plan.tiles import mask_kind
from rasteret_sql.read.tile_statistics import UNKNOWN, TileStatistics
from rasteret_sql.sql.batches import schema_of
from rasteret_sql.sql.named_index import is_query, named_table, no_such_file, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb
    from pyarrow import parquet

    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand

#: Increases when an older reader would misread the file.
VERSION: Final = "1"
#: The key of the Parquet metadata that says what the file is.
VERSION_KEY: Final = "rasteret_statistics.version"
_SUMS: Final = ("min", "max", "sum", "sumsq")
_FLOAT_SUMS: Final = (*_SUMS, "squares")
#: What tells a file and band from others, and what must be the same for its statistics to hold.
_KEY: Final = ("href", "band", "level")
_FACTS: Final = ("dtype", "nodata", "mask", "width", "height", "tile_width", "tile_height")
_IDENTITY: Final = ("etag", "file_size", "last_modified")
_LISTS: Final = ("valid_count", "integers", "floats", "classes", "class_counts")
_REMEDY: Final = "write them with rasteret_sql.build_stats or `rasteret-sql stats`"


@cache
def statistics_schema() -> pa.Schema:
    """Give the columns of `sql/schema/tile_statistics.sql`."""
    with own_connection() as con:
        return schema_of(con, "tile_statistics")


def open_statistics(path: Path) -> parquet.ParquetWriter:
    """Begin a file of statistics, with encodings that take few bytes per tile."""
    from pyarrow import parquet

    lists = {f"integers.{name}.list.element": "DELTA_BINARY_PACKED" for name in _SUMS}
    lists |= {f"floats.{name}.list.element": "BYTE_STREAM_SPLIT" for name in _FLOAT_SUMS}
    schema = statistics_schema()
    plain = [field.name for field in schema if not pa.types.is_nested(field.type)]
    return parquet.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression="zstd",
        compression_level=9,
        use_dictionary=[*plain, *(f"{name}.list.element" for name in ("valid_count", "classes", "class_counts"))],
        column_encoding=lists,
        write_statistics=plain,
        store_schema=False,
    )


def facts_of(asset: PlannedAsset, band: PlannedBand) -> dict[str, Any]:
    """Give what must be the same for the statistics of a band to hold."""
    form, nodata = asset.format, band.nodata
    return {
        "dtype": asset.dtype,
        "nodata": None if nodata is None else str(nodata) if isinstance(nodata, int) else f"{nodata:.17g}",
        "mask": mask_kind(asset, band).name.lower(),
        "width": asset.width,
        "height": asset.height,
        "tile_width": form.tile_width,
        "tile_height": form.tile_height,
    }


def statistics_row(asset: PlannedAsset, band: PlannedBand, found: TileStatistics) -> dict[str, Any]:
    """Give the row of a band of a file."""
    modified_s = asset.identity.modified_s
    modified = None if modified_s is None else datetime.fromtimestamp(modified_s, UTC)
    is_known, has_pixels = found.valid_count != UNKNOWN, found.valid_count > 0
    sums = {
        name: pa.array(getattr(found, name), mask=~(has_pixels if name in {"min", "max"} else is_known))
        for name in (_SUMS if found.squares is None else _FLOAT_SUMS)
    }
    return {
        "collection": asset.collection,
        "item_id": asset.item_id,
        "asset": asset.asset,
        "band": band.band,
        "band_name": band.name,
        "level": asset.level,
        "href": asset.href,
        "etag": asset.identity.etag,
        "file_size": asset.identity.size,
        "last_modified": modified,
        **facts_of(asset, band),
        "valid_count": pa.array(found.valid_count, mask=~is_known),
        "integers": sums if found.squares is None else None,
        "floats": None if found.squares is None else sums,
        "classes": None if found.classes is None else pa.array(found.classes),
        "class_counts": None if found.class_counts is None else pa.array(found.class_counts.reshape(-1)),
    }


def statistics_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Make a table of rows of `statistics_row`."""
    schema = statistics_schema()
    return pa.table([_column([row[each.name] for row in rows], each.type) for each in schema], schema=schema)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Make a column of values, or of Arrow arrays that become lists."""
    if pa.types.is_struct(kind):
        children = [
            _column([None if value is None else value[field.name] for value in values], field.type) for field in kind
        ]
        is_null = pa.array([value is None for value in values])
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=is_null)
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    ends = np.cumsum([0, *(0 if value is None else len(value) for value in values)])
    is_null = [*(value is None for value in values), False]
    parts = [value.cast(kind.value_type) for value in values if value is not None]
    joined = pa.concat_arrays(parts) if parts else pa.array([], kind.value_type)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32(), mask=np.array(is_null)), joined, kind)


def is_current(row: Mapping[str, Any], asset: PlannedAsset, band: PlannedBand) -> bool:
    """Whether a row is of the version of a file that the index has, and of the same pixels."""
    facts = facts_of(asset, band)
    is_same = all(row[name] == facts[name] for name in _FACTS)
    return is_same and compare(asset.identity, _identity(row)).verdict == "same"


class KeptStatistics:
    """Statistics of tiles of some files.

    Args:
        table: rows of a file of statistics.
        name: of the file, for messages.
    """

    def __init__(self, table: pa.Table, name: str) -> None:
        self._name = name
        self._rows = table.select([*_KEY, *_FACTS, *_IDENTITY]).to_pylist()
        self._numbers: dict[tuple[Any, ...], list[int]] = {}
        for number, row in enumerate(self._rows):
            self._numbers.setdefault(tuple(row[part] for part in _KEY), []).append(number)
        lists = {part: table.column(part).combine_chunks() for part in _LISTS}
        self._lists = {part: _ragged(lists[part]) for part in ("valid_count", "classes", "class_counts")}
        self._has_classes = lists["classes"].is_valid()
        self._sums = {
            part: {name: _ragged(pc.struct_field(lists[part], name)) for name in names}
            for part, names in (("integers", _SUMS), ("floats", _FLOAT_SUMS))
        }

    def __call__(self, asset: PlannedAsset, band: PlannedBand) -> TileStatistics | None:
        """Give the statistics of the tiles of a band of a file, or None where none hold.

        Raises:
            AssetChangedError: they are of another version of the file.
        """
        numbers = self._numbers.get((asset.href, band.band, asset.level), ())
        current = next((number for number in numbers if is_current(self._rows[number], asset, band)), None)
        if current is not None:
            return self._statistics(current)
        for number in numbers:
            found = _identity(self._rows[number])
            verdict, fact = compare(asset.identity, found)
            if verdict == "changed":
                raise AssetChangedError(
                    f'statistics: {self._name} is of another version of asset "{asset.asset}" of item {asset.item_id}, '
                    f"{redact(asset.href)}: got another {fact} ({found}), expected {asset.identity}, as the index has "
                    f"it. Refresh the index, and {_REMEDY} again"
                )
        return None

    def _statistics(self, number: int) -> TileStatistics:
        count = self._lists["valid_count"][number]
        names = self._sums["integers" if np.dtype(self._rows[number]["dtype"]).kind in "iu" else "floats"]
        sums = {name: values[number] for name, values in names.items()}
        classes = self._lists["classes"][number] if self._has_classes[number].as_py() else None
        return TileStatistics(
            count,
            **{name: sums[name] for name in _SUMS},
            squares=sums.get("squares"),
            classes=classes,
            class_counts=None if classes is None else self._lists["class_counts"][number].reshape(len(count), -1),
        )


def _ragged(lists: pa.Array) -> Ragged:
    """Give a column of lists; a NULL in a list is `UNKNOWN`, and no list is an empty one."""
    bounds = np.concatenate([[0], np.cumsum(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))])
    values = lists.flatten().fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
    return Ragged(values.astype(np.float64 if values.dtype.kind == "f" else np.int64), bounds.astype(np.int64))


def _identity(row: Mapping[str, Any]) -> FileIdentity:
    modified = row["last_modified"]
    return FileIdentity(row["etag"], row["file_size"], None if modified is None else modified.timestamp())


def checked_statistics(statistics: Any) -> str | None:
    """Give the path of a file of statistics, or the text of a query.

    Raises:
        InvalidArgumentError: it is no path or text.
    """
    if statistics is None or (isinstance(statistics, str) and is_query(statistics)):
        return statistics
    return str(checked_path("statistics", statistics))


def kept_statistics(cursor: duckdb.DuckDBPyConnection, name: str, assets: Iterable[PlannedAsset]) -> KeptStatistics:
    """Fetch the statistics of the levels of files that are read.

    Args:
        cursor: a connection of its own.
        name: path of the file, a table or view, or the text of a query.
        assets: the files.

    Raises:
        InvalidArgumentError: there is no such file or table, or it has other columns.
    """
    import duckdb

    schema = statistics_schema()
    wanted = list(assets)
    hrefs, levels = sorted({asset.href for asset in wanted}), sorted({asset.level for asset in wanted})
    try:
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE kept_statistics AS SELECT {', '.join(schema.names)} FROM query_table($name) "  # noqa: S608 - names of our schema
            "WHERE href IN (SELECT unnest($hrefs::VARCHAR[])) AND level IN (SELECT unnest($levels::INTEGER[]))",
            {"name": named_table(cursor, name), "hrefs": hrefs, "levels": levels},
        )
        table = cursor.sql("FROM kept_statistics").to_arrow_table()
        return KeptStatistics(table.cast(schema), shortened(name))
    except (duckdb.Error, pa.ArrowInvalid) as error:
        missing = _missing_columns(cursor, name) if isinstance(error, duckdb.BinderException) else []
        if missing:
            raise InvalidArgumentError(
                f"statistics: {shortened(name)} is not a file of statistics: it has no column {', '.join(missing)}; "
                "build one with rasteret_sql.build_stats or `rasteret-sql stats`"
            ) from error
        reason = reason_of(error) if isinstance(error, duckdb.Error) else str(error)
        raise InvalidArgumentError(
            no_such_file("statistics", name)
            or f"statistics: {shortened(name)} cannot be read as statistics of tiles: {reason}; {_REMEDY}"
        ) from error


def _missing_columns(cursor: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    """Give the columns of statistics that a table or file does not have."""
    described = "SELECT lower(column_name) FROM (DESCRIBE FROM query_table($1))"
    known = {column for (column,) in cursor.execute(described, [named_table(cursor, name)]).fetchall()}
    return [column for column in statistics_schema().names if column not in known]
