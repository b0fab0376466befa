"""The command `rasteret-sql`: its arguments, and what becomes of errors, Ctrl-C and closed pipes."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from enum import IntEnum
from typing import TYPE_CHECKING

from rasteret_sql.apps import (
    bench,
    build,
    cache,
    chips,
    datasets,
    explain,
    export,
    info,
    macros,
    preview,
    read,
    refresh,
    sample,
    serve,
    shard,
    sql,
    stats,
    validate,
    zonal,
)
from rasteret_sql.apps.console import error_message, fail
from rasteret_sql.apps.demo import command as demo
from rasteret_sql.apps.shell import command as shell
from rasteret_sql.apps.usage import Parser, as_options, usage_message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

_EPILOG = """\
examples:
  rasteret-sql demo                                  run the whole path in a minute, offline
  rasteret-sql build items.json -o s2.parquet        index STAC items
  rasteret-sql build earthsearch/sentinel-2-l2a --bbox 77.5,12.9,77.7,13.1 --datetime 2024-01 -o s2.parquet
  rasteret-sql info s2.parquet                       describe the index
  rasteret-sql explain s2.parquet --bands red        show the cost of a read
  rasteret-sql sql "FROM read_tiles('s2.parquet', bands := ['red']) LIMIT 3"
  rasteret-sql shell                                 run SQL at a prompt with completion
  rasteret-sql serve --allow-dir .                   run SQL from the stock duckdb shell
  rasteret-sql preview s2.parquet -o s2.png          draw a picture
  rasteret-sql export s2.parquet -o cube.zarr        write pixels as GeoTIFF, Zarr, netCDF or a table
  rasteret-sql zonal s2.parquet fields.geojson       compute statistics of the pixels in zones

exit codes:
  0 success    1 an error   2 wrong usage   3 written, but some files failed
  130 Ctrl-C   141 the reader of the output closed the pipe

`rasteret-sql COMMAND --help` describes each command."""


#: The commands in the order of the help, under the headings that they have there.
GROUPS: dict[str, tuple[ModuleType, ...]] = {
    "build and update an index": (build, refresh, validate, stats, datasets, cache),
    "query an index": (info, explain, sql, shell),
    "read pixels": (preview, export, sample, zonal, chips),
    "read in pieces, anywhere": (shard, read),
    "use it from other programs": (serve, macros),
    "try it and measure it": (demo, bench),
}


class ExitCode(IntEnum):
    """What a process ends with when it does not end well; `build` has one of its own."""

    ERROR = 1
    USAGE = 2
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it
    PIPE_CLOSED = 141  # 128 + SIGPIPE


class _GroupedFormatter(argparse.RawDescriptionHelpFormatter):
    """Lists the commands under headings; argparse has groups of arguments, but none of commands."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no public name for it
            return super()._format_action(action)
        commands = iter(action._get_subactions())  # noqa: SLF001
        parts = []
        for heading, modules in GROUPS.items():
            parts.append(f"{'':{self._current_indent}}{heading}:\n")
            self._indent()
            parts += [self._format_action(command) for _, command in zip(modules, commands, strict=False)]
            self._dedent()
        return "".join(parts)


class _Versions(argparse.Action):
    """Prints what a report of a fault needs; `--version` is one line for scripts."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from rasteret_sql.apps.versions import versions

        found = versions()
        width = max(map(len, found)) + 2
        for name, version in found.items():
            print(f"{name:<{width}}{version}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    from rasteret_sql import __version__

    root = Parser(
        prog="rasteret-sql",
        description="A collection of cloud GeoTIFFs is a Parquet table, and its pixels are a SQL table function.",
        epilog=_EPILOG,
        formatter_class=_GroupedFormatter,
    )
    root.add_argument("--version", action="version", version=f"rasteret-sql {__version__}")
    root.add_argument("--versions", action=_Versions, nargs=0, help="print versions of libraries too, and exit")
    commands = root.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for modules in GROUPS.values():
        for module in modules:
            module.add_parser(commands)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments after the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    arguments = argparse.Namespace()
    try:
        arguments = parser().parse_args(argv)
        with _options(arguments):
            code: int = arguments.run(arguments)
        sys.stdout.flush()
    except SystemExit as ending:
        # argparse has said what there was to say.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _silence_stdout()
            return ExitCode.PIPE_CLOSED
        return ending.code if isinstance(ending.code, int) else 0
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        _silence_stdout()
        return ExitCode.PIPE_CLOSED
    except Exception as error:
        if _is_interrupt(error):
            return _interrupted()
        message = error_message(error)
        if message is None:
            raise
        message = as_options(message, arguments)
        wrong_option = usage_message(message, arguments)
        if wrong_option is not None:
            fail(wrong_option)
            return ExitCode.USAGE
        fail(message)
        return ExitCode.ERROR
    return code


def _options(arguments: argparse.Namespace) -> AbstractContextManager[object]:
    """Set the options of a command; without any, their module is not imported."""
    if not arguments.process_options:
        return nullcontext()
    from rasteret_sql.io.options import set_options

    return set_options(**dict(arguments.process_options))


def _interrupted() -> ExitCode:
    """Have the end of the process not wait for threads that read."""
    from rasteret_sql.io import interrupts

    interrupts.end_process()
    return ExitCode.INTERRUPTED


def _is_interrupt(error: Exception) -> bool:
    """Whether DuckDB saw Ctrl-C before Python did."""
    if not isinstance(error, RuntimeError):
        return False
    from rasteret_sql.sql.ctrlc import is_interrupt

    return is_interrupt(error)


def _silence_stdout() -> None:
    """Let the interpreter's last flush of stdout go nowhere, instead of failing again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
