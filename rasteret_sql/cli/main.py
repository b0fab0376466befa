"""The command `rasteret-sql`: its arguments, and what becomes of errors, Ctrl-C and closed pipes."""

from __future__ import annotations

import argparse
import os
import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from rasteret_sql.cli import build, datasets, demo, explain, info, refresh, sql, validate
from rasteret_sql.cli.console import error_message, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\
examples:
  rasteret-sql demo                                  the whole path in a few seconds, offline
  rasteret-sql build items.json -o s2.parquet        an index of STAC items
  rasteret-sql build earthsearch/sentinel-2-l2a --bbox 77.5,12.9,77.7,13.1 --datetime 2024-01 -o s2.parquet
  rasteret-sql datasets                              what can be built by name
  rasteret-sql build index.sql -o s2.parquet         an index of a reviewed SELECT
  rasteret-sql info s2.parquet                       what is in it
  rasteret-sql validate s2.parquet                   whether its files are still the same
  rasteret-sql refresh s2.parquet                    new files in, changed ones read anew
  rasteret-sql sql "FROM read_tiles('s2.parquet', bands := ['red']) LIMIT 3"

exit codes:
  0 all is well   1 an error   2 wrong usage   3 built, but some files failed
  130 Ctrl-C      141 the reader of the output went away

`rasteret-sql COMMAND --help` says more about each command."""


class ExitCode(IntEnum):
    """What a process ends with when it does not end well; `build` has one of its own."""

    ERROR = 1
    USAGE = 2
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it
    PIPE_CLOSED = 141  # 128 + SIGPIPE


def parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    from rasteret_sql import __version__

    root = argparse.ArgumentParser(
        prog="rasteret-sql",
        description="A collection of cloud GeoTIFFs is a Parquet table, its pixels are a SQL table function.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"rasteret-sql {__version__}")
    commands = root.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for module in (build, refresh, validate, datasets, info, sql, explain, demo):
        module.add_parser(commands)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments after the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    try:
        arguments = parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except SystemExit as ending:
        # argparse has said what there was to say.
        return ending.code if isinstance(ending.code, int) else 0
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return ExitCode.PIPE_CLOSED
    except Exception as error:
        message = error_message(error)
        if message is None:
            raise
        fail(message)
        return ExitCode.ERROR
    return code


def _silence_stdout() -> None:
    """Let the interpreter's last flush of stdout go nowhere, instead of failing again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
