"""Query results as a table, lines, CSV, JSON, Arrow or Parquet, streamed: never more than some batches in memory.

BLOBs are base64 in CSV and JSON (`from_base64()` gives them back in DuckDB), bytes in Arrow and Parquet, and
cut off in tables and lines. CSV and JSON have other values as DuckDB prints them; in JSON NaN and infinity are null.
"""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

from rasteret_sql.apps.console import columns_of_terminal
from rasteret_sql.database.select_text import plain_message
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.errors import RasteretError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb
    import pyarrow as pa

Format = Literal["table", "line", "csv", "json", "arrow", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
#: Formats that make a mess of a terminal.
BINARY_FORMATS = frozenset({"arrow", "parquet"})
#: What the suffix of a file says of its format.
SUFFIXES: dict[str, Format] = {
    ".txt": "table",
    ".csv": "csv",
    ".json": "json",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".parquet": "parquet",
}

#: Rows that are taken from DuckDB at a time; pixels of a tile are half a megabyte and more.
_BATCH_ROWS = 2048
_BLOB_BATCH_ROWS = 16
#: A row group of Parquet ends at so many rows or bytes, whichever comes first.
_ROW_GROUP_ROWS = 122_880
_ROW_GROUP_BYTES = 64 << 20
#: Columns of a terminal that show a cost with all that it says.
_COST_COLUMNS = 110
_COST_ROWS = 1000
#: Of a BLOB in a table.
_SHOWN_BYTES = 32

#: What a result is called by the query over it.
_NAMED = "_rst_named"
_PROJECTED = "_rst_projected"
_NOT_JSON = re.compile(r'("(?:[^"\\]|\\.)*")|-?\b(?:NaN|Infinity)\b')
#: The end of a table of which DuckDB leaves out columns of the middle.
_CUT_COLUMNS = re.compile(r"columns \(\d+ shown\)\s*$")
_NEEDS_QUOTES = re.compile(r'[",\r\n]')


@dataclass(frozen=True, slots=True)
class Box:
    """A table for people.

    Attributes:
        text: the table, ending with a line break.
        is_cut: whether there are more rows than it shows.
        rows: how many it shows.
    """

    text: str
    is_cut: bool
    rows: int = 0


def drawn(
    con: duckdb.DuckDBPyConnection, result: duckdb.DuckDBPyRelation, *, max_rows: int, spared: Sequence[str] = ()
) -> Box:
    """Draw a result for people: a plan of DuckDB's as it is, everything else as a table; see `box`."""
    if result.columns == ["explain_key", "explain_value"]:
        # A plan is a picture of many lines, which no cell holds.
        return Box("".join(str(row[1]).rstrip() + "\n" for row in result.fetchall()), is_cut=False)
    return box(con, result, max_rows=max_rows, spared=spared)


def box(
    con: duckdb.DuckDBPyConnection, result: duckdb.DuckDBPyRelation, *, max_rows: int, spared: Sequence[str] = ()
) -> Box:
    """Draw the first rows of a result as DuckDB draws tables; the query stops after them.

    Args:
        con: the connection of the result.
        result: the rows.
        max_rows: how many rows are drawn at most.
        spared: columns that are left out, one after the other, until the terminal holds all others. Where it does not,
            DuckDB leaves out columns of the middle.
    """
    head = _projected(result, _without_most_bytes)
    head.query(_PROJECTED, f"CREATE OR REPLACE TEMP TABLE _rst_shown AS FROM {_PROJECTED} LIMIT {max_rows + 1}")
    ((rows,),) = con.execute("SELECT count(*) FROM temp._rst_shown").fetchall()
    left_out: list[str] = []
    text, is_whole = _table(con, max_rows, left_out)
    for name in spared:
        if is_whole:
            break
        left_out.append(name)
        text, is_whole = _table(con, max_rows, left_out)
    con.execute("DROP TABLE temp._rst_shown")
    lines = [line.rstrip() for line in text.rstrip().splitlines()]
    if rows > max_rows:
        # DuckDB was given no more than these, and would say that there are no others.
        # The line stays as wide as the table: "over " takes five of the blanks that follow, if there are more.
        lines[-1] = re.sub(rf"^(\s*)({max_rows} rows)(?: {{5}}(?= ))?", r"\1over \2", lines[-1])
    return Box("\n".join(lines) + "\n", rows > max_rows, min(rows, max_rows))


def _table(con: duckdb.DuckDBPyConnection, max_rows: int, left_out: Sequence[str]) -> tuple[str, bool]:
    """Draw the rows that are shown, without some of their columns; also gives whether the terminal holds all others.

    The last line says how many columns there are.
    """
    head = con.sql(f"FROM temp._rst_shown LIMIT {max_rows}")
    names = head.columns
    shown = [name for name in names if name not in left_out]
    text = io.StringIO()
    with redirect_stdout(text):
        kept = head.project(", ".join(map(quote_identifier, shown)))
        kept.show(max_rows=max_rows, max_width=columns_of_terminal())
    table = text.getvalue()
    is_whole = _CUT_COLUMNS.search(table) is None
    if len(shown) < len(names) and is_whole:
        counted = f"{len(names)} columns ({len(shown)} shown)"
        blanks = len(counted) - len(f"{len(shown)} columns")
        table = re.sub(rf" {{0,{blanks}}}\b{len(shown)} columns(?=\s*$)", counted, table)
    return table, is_whole


def cost_table(con: duckdb.DuckDBPyConnection, cost: duckdb.DuckDBPyRelation) -> str:
    """Draw the cost of a read by collection and band.

    In a narrow terminal, where DuckDB would leave out columns of the middle, the columns that say least are left out.
    """
    if columns_of_terminal() < _COST_COLUMNS:
        spared = {"tile_bytes"}.intersection(cost.columns)
        collections = cost.project("collection").filter("collection IS NOT NULL").distinct().fetchall()
        if len(collections) <= 1:
            spared.add("collection")
        cost = cost.project(f"* EXCLUDE ({', '.join(spared)})") if spared else cost
    return box(con, cost, max_rows=_COST_ROWS).text


def forget_views(con: duckdb.DuckDBPyConnection) -> None:
    """Drop the views that duckdb 1.5 makes of a result that is asked again, and leaves where users see them."""
    import duckdb

    # In a transaction that failed nothing can be dropped; they are made anew next time.
    with suppress(duckdb.Error):
        for name in (_NAMED, _PROJECTED):
            con.execute(f"DROP VIEW IF EXISTS temp.{name}")


def write_lines(result: duckdb.DuckDBPyRelation, sink: BinaryIO) -> None:
    """Write each row as lines of names and values, with an empty line between rows."""
    names = result.columns
    width = max(map(len, names), default=0)
    texts = _projected(
        result, lambda name, type_: f"coalesce(CAST({_without_most_bytes(name, type_)} AS VARCHAR), 'NULL')"
    )
    separator = ""
    for batch in batches(texts.to_arrow_reader(_batch_rows(result))):
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        for row in rows:
            lines = (f"{name:>{width}} = {value}\n" for name, value in zip(names, row, strict=True))
            sink.write((separator + "".join(lines)).encode())
            separator = "\n"


def write_csv(result: duckdb.DuckDBPyRelation, sink: BinaryIO) -> None:
    """Write CSV with a header; NULL is an empty cell, an empty text is `""`."""
    sink.write((",".join(map(_cell, _unique(result.columns))) + "\n").encode())
    texts = _projected(
        result, lambda name, type_: f"to_base64({name})" if type_ == "BLOB" else f"CAST({name} AS VARCHAR)"
    )
    for batch in batches(texts.to_arrow_reader(_batch_rows(result))):
        columns = (map(_cell, column.to_pylist()) for column in batch.columns)
        sink.write("".join(",".join(cells) + "\n" for cells in zip(*columns, strict=True)).encode())


def write_json(result: duckdb.DuckDBPyRelation, sink: BinaryIO) -> None:
    """Write an array of objects, one a line."""
    values = _projected(result, lambda name, type_: f"to_base64({name})" if type_ == "BLOB" else name)
    fields = ", ".join(f"{quote_literal(name)}: {quote_identifier(name)}" for name in values.columns)
    objects = values.project(f"to_json({{{fields}}})::VARCHAR AS object")
    separator = "["
    for batch in batches(objects.to_arrow_reader(_batch_rows(result))):
        lines = map(strict_json, batch.column(0).to_pylist())
        sink.write((separator + ",\n".join(lines)).encode())
        separator = ",\n"
    sink.write(b"[]\n" if separator == "[" else b"]\n")


def write_arrow(result: duckdb.DuckDBPyRelation, sink: BinaryIO) -> None:
    """Write a stream of Arrow IPC."""
    import pyarrow as pa

    reader = _renamed(result).to_arrow_reader(_batch_rows(result))
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in batches(reader):
            writer.write_batch(batch)


def write_parquet(result: duckdb.DuckDBPyRelation, sink: BinaryIO) -> None:
    """Write Parquet with zstd; geometries as GeoParquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    reader = _renamed(result).to_arrow_reader(_batch_rows(result))
    schema = _geoparquet_schema(reader.schema)
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in row_groups(reader):
            writer.write_table(pa.Table.from_batches(group).cast(schema), row_group_size=_ROW_GROUP_ROWS)


#: What writes each format that is a stream of bytes.
WRITERS: dict[str, Callable[[duckdb.DuckDBPyRelation, BinaryIO], None]] = {
    "line": write_lines,
    "csv": write_csv,
    "json": write_json,
    "arrow": write_arrow,
    "parquet": write_parquet,
}


def _projected(result: duckdb.DuckDBPyRelation, expression: Callable[[str, str], str]) -> duckdb.DuckDBPyRelation:
    """Change the columns of a result: `expression` gives the SQL for a quoted name and a type."""
    names = [quote_identifier(name) for name in _unique(result.columns)]
    types = [str(type_) for type_ in result.types]
    selected = ", ".join(f"{expression(*pair)} AS {pair[0]}" for pair in zip(names, types, strict=True))
    projected = result.query(
        _NAMED,
        f"SELECT {selected} FROM {_NAMED} AS result({', '.join(names)})",  # noqa: S608 - quoted
    )
    assert projected is not None
    return projected


def _without_most_bytes(name: str, type_: str) -> str:
    return f"{name}[:{_SHOWN_BYTES}]" if type_ == "BLOB" else name


def _renamed(result: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return _projected(result, lambda name, _: name)


def _unique(names: list[str]) -> list[str]:
    """Make names differ as DuckDB does: a, a_1, a_2; it does not tell upper from lower case."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 0
        while candidate.lower() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.lower())
        unique.append(candidate)
    return unique


def _batch_rows(result: duckdb.DuckDBPyRelation) -> int:
    return _BLOB_BATCH_ROWS if any("BLOB" in str(type_) for type_ in result.types) else _BATCH_ROWS


def batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Go through a stream; what fails in the query meanwhile reaches us through Arrow, as errors of all kinds.

    Raises:
        RasteretError: the query failed.
    """
    import pyarrow as pa

    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (OSError, pa.ArrowException) as error:
            raise RasteretError(plain_message(str(error))) from error
        yield batch


def _cell(value: str | None) -> str:
    if value is None:
        return ""
    if not value or _NEEDS_QUOTES.search(value):
        return '"' + value.replace('"', '""') + '"'
    return value


def strict_json(line: str) -> str:
    """Put null where DuckDB wrote NaN or Infinity, which JSON does not have; texts stay as they are."""
    if "NaN" not in line and "Infinity" not in line:
        return line
    return _NOT_JSON.sub(lambda match: match[1] or "null", line)


def row_groups(reader: pa.RecordBatchReader) -> Iterator[list[pa.RecordBatch]]:
    """Give the batches of a stream, as many together as a row group of Parquet has."""
    group: list[pa.RecordBatch] = []
    rows = held_bytes = 0
    for batch in batches(reader):
        group.append(batch)
        rows += batch.num_rows
        held_bytes += batch.nbytes
        if rows >= _ROW_GROUP_ROWS or held_bytes >= _ROW_GROUP_BYTES:
            yield group
            group, rows, held_bytes = [], 0, 0
    if group:
        yield group


def _geoparquet_schema(schema: pa.Schema) -> pa.Schema:
    """Say in the metadata which columns are geometries, so that DuckDB and GeoPandas read them as such."""
    columns: dict[str, Any] = {}
    for field in schema:
        metadata = field.metadata or {}
        if metadata.get(b"ARROW:extension:name") == b"geoarrow.wkb":
            crs = json.loads(metadata.get(b"ARROW:extension:metadata") or b"{}").get("crs")
            # GeoParquet takes PROJJSON; a column without `crs` is longitude and latitude, null is unknown.
            known = {} if crs == "OGC:CRS84" else {"crs": crs if isinstance(crs, dict) else None}
            columns[field.name] = {"encoding": "WKB", "geometry_types": [], **known}
    if not columns:
        return schema
    geo = {"version": "1.1.0", "primary_column": next(iter(columns)), "columns": columns}
    return schema.with_metadata({**(schema.metadata or {}), b"geo": json.dumps(geo).encode()})
