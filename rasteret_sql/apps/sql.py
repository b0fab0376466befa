"""`rasteret-sql sql`: SQL in a connection where `read_tiles` and its siblings are there."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rasteret_sql.apps.arguments import Commands, new_command
from rasteret_sql.apps.console import note, written_aside
from rasteret_sql.apps.output import BINARY_FORMATS, FORMATS, SUFFIXES, WRITERS, Box, drawn
from rasteret_sql.apps.read_bar import read_bar, stdout_after
from rasteret_sql.checks import checked_unicode
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    import duckdb

    from rasteret_sql.read.progress import ReadBar

#: Rows that a table shows where --rows says nothing; DuckDB's own limit.
SHOWN_ROWS = 40

#: Kinds of statements whose columns are the user's, whatever their names.
_SELECTING = frozenset({"SELECT", "MULTI", "EXECUTE"})
_DROPPED_ROWS = 64

_EPILOG = """\
Separate statements by `;`. The command shows the result of the last statement. Times are in UTC.

A table shows the first 40 rows, and the query stops there. All other formats stream every row.
In CSV and JSON a BLOB is base64: from_base64() in DuckDB, base64.b64decode() in Python.
JSON is an array with one object per line. Arrow is a stream of Arrow IPC.

examples:
  rasteret-sql sql "FROM read_tiles('s2.parquet') LIMIT 3"
  rasteret-sql sql "SELECT item_id, \\"eo:cloud_cover\\" FROM 's2.parquet'" --format csv | head
  rasteret-sql sql "FROM read_tiles('s2.parquet', bands := ['red'])" -o red.parquet
  rasteret-sql sql -f report.sql --db study.duckdb
  echo "FROM explain_read('s2.parquet')" | rasteret-sql sql -"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "sql", "run SQL with read_tiles, zonal_stats and the other functions", _EPILOG)
    command.add_argument("sql", nargs="?", metavar="SQL", help="statements; - reads them from stdin")
    command.add_argument("-f", "--file", metavar="FILE", help="read the statements from a file")
    add_result(command)
    command.add_argument("--db", default=":memory:", metavar="FILE", help="DuckDB database (in memory)")
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Run the statements and show the last result."""
    text = _text(arguments)
    result_format(arguments)
    from rasteret_sql.sql.connection import connect

    with connect(arguments.db) as con, read_bar() as bar:
        con.execute("SET TimeZone = 'UTC'")
        statements = statements_of(con, text)
        if not statements:
            arguments.usage_error("there is no statement in SQL")
        for statement in statements[:-1]:
            run_through(con, statement)
        result = last_result(con, statements[-1])
        if result is None:
            if arguments.output is not None:
                arguments.usage_error("-o: the last statement has no result to write")
            return 0
        write_result(con, result, arguments, bar, statements[-1].query)
    return 0


def add_result(command: argparse.ArgumentParser, suffixes: Mapping[str, str] = SUFFIXES) -> None:
    """Add where rows go, and how.

    Args:
        command: the command.
        suffixes: formats by suffix.
    """
    command.set_defaults(suffixes=suffixes)
    command.add_argument(
        "--format",
        choices=tuple(dict.fromkeys([*FORMATS, *suffixes.values()])),
        help="format of the result (table, or the format of the output file's suffix)",
    )
    command.add_argument("--json", action="store_const", const="json", dest="format", help="as --format json")
    command.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write to a file, which appears when it is complete"
    )
    command.add_argument(
        "--rows", type=int, default=SHOWN_ROWS, metavar="N", help=f"number of rows that a table shows ({SHOWN_ROWS})"
    )


def write_result(
    con: duckdb.DuckDBPyConnection,
    result: duckdb.DuckDBPyRelation,
    arguments: argparse.Namespace,
    bar: ReadBar | None,
    text: str = "",
    *,
    writers: Mapping[str, Callable[[duckdb.DuckDBPyRelation, BinaryIO], None]] = WRITERS,
    spared: Sequence[str] = (),
) -> None:
    """Write rows as the options of `add_result` say.

    Args:
        con: the connection of the rows.
        result: the rows.
        arguments: the options.
        bar: the bar that is drawn meanwhile.
        text: the statement that gives the rows; a table without rows is explained by it.
        writers: what writes each format but a table.
        spared: columns that a table leaves out first where the terminal does not hold all.
    """
    output_format = result_format(arguments)
    if output_format == "table":
        _write_table(con, result, arguments, bar, text, spared)
        return
    with _sink(arguments, bar) as sink:
        writers[output_format](result, sink)


def last_result(con: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> duckdb.DuckDBPyRelation | None:
    """Give what a statement selects, which runs when it is read; run others, and give what they tell."""
    import duckdb

    try:
        # Typed as never None, which duckdb 1.5 gives for statements without rows.
        result: duckdb.DuckDBPyRelation | None = con.sql(statement)
    except duckdb.Error as error:
        from rasteret_sql.apps.hints import explained

        if (meant := explained(con, statement.query, str(error))) is not None:
            raise meant from error
        raise
    if result is None:
        return None
    if statement.type.name not in _SELECTING and result.columns in (["Count"], ["Success"], []):
        result.fetchall()
        return None
    return result


def statements_of(con: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
    """Split a text into its statements.

    Raises:
        InvalidArgumentError: it is no Unicode text; DuckDB's binding would say so by a TypeError.
    """
    return con.extract_statements(checked_unicode("SQL", text))


def say_why_empty(con: duckdb.DuckDBPyConnection, table: Box, text: str) -> None:
    """Note which argument of a statement leaves a table without rows, or with the one row of `explain_read`."""
    from rasteret_sql.apps.hints import why_empty

    if text and table.rows <= 1 and (reason := why_empty(con, text)) is not None:
        note(reason)


def run_through(con: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> None:
    """Run a statement to its end and drop its rows; duckdb 2.0 wants them fetched before it runs another."""
    con.execute(statement)
    while con.fetchmany(_DROPPED_ROWS):
        pass


def _text(arguments: argparse.Namespace) -> str:
    if (arguments.sql is None) == (arguments.file is None):
        arguments.usage_error("give the statements as SQL, as - for stdin, or with -f FILE")
    if arguments.file is not None:
        return sql_of_file(Path(arguments.file).expanduser())
    return sql_of_stdin() if arguments.sql == "-" else cast("str", arguments.sql)


def sql_of_file(path: Path) -> str:
    """Read the SQL of a file.

    Raises:
        InvalidArgumentError: the file is no text.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path}: got bytes that are no UTF-8, expected SQL ({error})") from error


def sql_of_stdin() -> str:
    """Read the SQL of stdin.

    Raises:
        InvalidArgumentError: stdin is no text.
    """
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"stdin: got bytes that are no UTF-8, expected SQL ({error})") from error


def result_format(arguments: argparse.Namespace) -> str:
    """Choose the format, and refuse what cannot be before anything runs."""
    chosen: str | None = arguments.format
    suffixes: Mapping[str, str] = arguments.suffixes
    if arguments.rows < 0:
        arguments.usage_error(f"--rows: got {arguments.rows}, expected 0 or more")
    if arguments.output is None:
        chosen = chosen or "table"
        if chosen in BINARY_FORMATS and sys.stdout.isatty():
            arguments.usage_error(f"--format {chosen} is binary: give a file with -o, or send stdout to one")
        return chosen
    chosen = chosen or suffixes.get(arguments.output.suffix.lower())
    if chosen is None:
        arguments.usage_error(f"-o: {arguments.output} has none of the suffixes {', '.join(suffixes)}; add --format")
    return cast("str", chosen)


def _write_table(
    con: duckdb.DuckDBPyConnection,
    result: duckdb.DuckDBPyRelation,
    arguments: argparse.Namespace,
    bar: ReadBar | None,
    text: str,
    spared: Sequence[str],
) -> None:
    table = drawn(con, result, max_rows=arguments.rows, spared=spared)
    with _sink(arguments, bar) as sink:
        sink.write(table.text.encode())
    say_why_empty(con, table, text)
    if table.is_cut:
        if bar is not None:
            bar.close()
        note(f"There are more than {arguments.rows} rows: --rows N shows more, --format csv or -o FILE all.")


@contextlib.contextmanager
def _sink(arguments: argparse.Namespace, bar: ReadBar | None) -> Iterator[BinaryIO]:
    """Give what the result is written to."""
    if arguments.output is None:
        sys.stdout.flush()
        yield stdout_after(bar)
        sys.stdout.buffer.flush()
    else:
        with written_aside(arguments.output) as file:
            yield file
