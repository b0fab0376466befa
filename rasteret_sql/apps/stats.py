"""`rasteret-sql stats`: statistics of all tiles of an index, so that later reads need fewer of them."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import Commands, add_bands, add_index, names, new_command
from rasteret_sql.apps.build import name_failures, shows_progress
from rasteret_sql.apps.console import Style, aligned
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    from rasteret_sql.sql.build_stats import StatsReport

_EPILOG = """\
The command reads each tile once, and writes valid count, minimum, maximum, sum and sum of squares of each tile: some
bytes per tile. `rasteret-sql zonal --statistics` takes whole tiles from the file, and reads only tiles that the
boundary of a zone crosses. The results are the same. If the command is interrupted, run it again: it reads the
remaining files. It takes statistics of unchanged files over from an older output.

examples:
  rasteret-sql stats s2.parquet -o s2.stats.parquet
  rasteret-sql stats s2.parquet --bands red,nir --histogram SCL --levels 0,2 -o s2.stats.parquet
  rasteret-sql zonal s2.parquet districts.parquet --bands red --statistics s2.stats.parquet

exit codes:
  0  the statistics are written, and contain every file
  1  nothing is written
  2  wrong usage
  3  the statistics are written without some files: stderr names each file and the reason"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "stats", "measure every tile of an index once, for later reads", _EPILOG)
    add_index(command)
    command.add_argument("-o", "--output", required=True, metavar="STATS", help="file of statistics to write (Parquet)")
    add_bands(command)
    command.add_argument(
        "--histogram",
        type=names,
        metavar="NAME,...",
        help="bands of classes, with at most 256 values, that are counted by value too",
    )
    command.add_argument(
        "--levels",
        type=_levels,
        default=[0],
        metavar="N,...",
        help="levels that are measured: 0 is full resolution, n the nth overview (0)",
    )
    command.add_argument("--json", action="store_true", help="write the report as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and report on stdout; files that failed are named on stderr."""
    from rasteret_sql.sql.build_stats import build_stats

    report = build_stats(
        arguments.index,
        arguments.output,
        bands=arguments.bands,
        histogram=arguments.histogram,
        levels=arguments.levels,
        progress=shows_progress(),
    )
    if arguments.json:
        print(json.dumps(report_as_json(report), indent=2))
    else:
        print(report_as_text(report, Style.of(sys.stdout)))
    return name_failures(report.failures, "statistics")


def report_as_json(report: StatsReport) -> dict[str, Any]:
    """Give the report as JSON can hold it."""
    return asdict(report) | {"path": str(report.path), "seconds": round(report.seconds, 3)}


def report_as_text(report: StatsReport, style: Style) -> str:
    """Lay out what was measured."""
    facts: dict[str, str | list[str]] = {
        "statistics": f"{count(report.rows, 'row')} of {count(report.tiles, 'tile')}, {size(report.stats_bytes)}",
        "read": f"{count(report.files, 'file')} in {report.seconds:.1f} s",
    }
    if report.kept:
        facts["taken over"] = count(report.kept, "file")
    if report.failures:
        facts["failed"] = count(len(report.failures), "file")
    return f"{style.bold(str(report.path))}\n{aligned(facts, style, indent='  ')}"


def _levels(text: str) -> list[int]:
    """Read levels with commas between them."""
    try:
        return [int(part) for part in names(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected whole numbers such as 0,2") from error
