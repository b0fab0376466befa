"""The command `rasteret-sql shell`: its options, and what is read where nobody sits at a prompt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import Commands, new_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_sql.apps.shell.session import Session

_EPILOG = """\
At a terminal, the shell prompts. Otherwise it reads statements from stdin. With -c or -f, it runs these
and ends. It shows every result. Statements end with `;`. Lines that begin with a dot are commands, and
`.help` lists them. A file, stdin and -c stop at the first error, with exit code 1. Times are in UTC.

The prompt needs rasteret-sql[shell]. Its history is the file $XDG_STATE_HOME/rasteret-sql/history, or
the file in RASTERET_SQL_HISTORY. An empty RASTERET_SQL_HISTORY keeps no history.

examples:
  rasteret-sql shell
  rasteret-sql shell s2.parquet                  # the index is the view s2
  rasteret-sql shell study.duckdb -readonly
  rasteret-sql shell -c ".explain s2.parquet" -c "FROM read_tiles('s2.parquet') LIMIT 3"
  rasteret-sql shell --csv -f report.sql > report.csv
  echo "FROM 's2.parquet' LIMIT 3;" | rasteret-sql shell --line"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(
        commands, "shell", "open a SQL prompt with read_tiles, zonal_stats and the other functions", _EPILOG
    )
    command.add_argument(
        "database",
        nargs="?",
        default=":memory:",
        metavar="DB",
        help="DuckDB database, or a Parquet file to open as a view of its name (in memory)",
    )
    command.add_argument(
        "-c", dest="texts", action=_Text, metavar="SQL", help="run statements or a dot command; repeatable"
    )
    command.add_argument(
        "-f",
        "--file",
        dest="texts",
        action=_Text,
        metavar="FILE",
        help="run the statements and dot commands of a file; repeatable",
    )
    modes = command.add_mutually_exclusive_group()
    modes.add_argument("--mode", default="table", metavar="MODE", help="format of results: table, csv, json, line")
    for name in ("csv", "json", "line"):
        modes.add_argument(
            f"--{name}", f"-{name}", dest="mode", action="store_const", const=name, help=f"as --mode {name}"
        )
    command.add_argument("--readonly", "-readonly", action="store_true", help="open the database for reading only")
    command.set_defaults(run=run, usage_error=command.error)


class _Text(argparse.Action):
    """Keeps what is to be run in the order of -c and -f: pairs of a text, and whether it names a file."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse gives them
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        earlier = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*earlier, (str(values), option_string != "-c")])


def run(arguments: argparse.Namespace) -> int:
    """Prompt, or run what was given."""
    from rasteret_sql.apps.shell.session import Session, format_of
    from rasteret_sql.errors import InvalidArgumentError

    try:
        mode = format_of(arguments.mode)
    except InvalidArgumentError as error:
        arguments.usage_error(f"--mode: {str(error).removeprefix('.mode: ')}")
    prompts = arguments.texts is None and sys.stdin.isatty()
    if prompts:
        from rasteret_sql.apps.shell import prompt

        prompt.check_installed()
    session = Session(arguments.database, read_only=arguments.readonly, mode=mode, is_interactive=prompts)
    try:
        if prompts:
            prompt.run(session)
        else:
            run_texts(session, arguments.texts)
    except BaseException as error:
        session.close(error)
        raise
    session.close()
    return 0


def run_texts(session: Session, texts: list[tuple[str, bool]] | None) -> None:
    """Run texts and files, or stdin, up to the first error or to `.quit`.

    Raises:
        RasteretError: what failed.
    """
    from rasteret_sql.apps.shell.commands import run_file, run_units
    from rasteret_sql.apps.shell.statements import units, units_of_lines

    if texts is None:
        run_units(session, units_of_lines(_lines()))
        return
    for text, is_file in texts:
        if is_file:
            run_file(session, Path(text).expanduser())
        else:
            run_units(session, units(text))
        if session.is_ended:
            return


def _lines() -> Iterator[str]:
    """Give the lines of stdin as they arrive.

    Raises:
        InvalidArgumentError: stdin is no text.
    """
    from rasteret_sql.errors import InvalidArgumentError

    try:
        yield from iter(sys.stdin.readline, "")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"stdin: got bytes that are no UTF-8, expected SQL ({error})") from error
