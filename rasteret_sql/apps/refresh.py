"""`rasteret-sql refresh`: an index built again from its own definition."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import Commands, add_built_index, add_variables, new_command
from rasteret_sql.apps.build import name_failures, report_as_json, report_as_text, shows_progress
from rasteret_sql.apps.console import Style, aligned
from rasteret_sql.wording import count

if TYPE_CHECKING:
    import argparse

#: How many of the files that are gone are shown.
_SHOWN = 5

_EPILOG = """\
The metadata of an index records its source. The command lists the files of the source again, and compares them
with the index by ETag, size and time of change. It reads only new and changed files. It reads all files of an index
definition, because its SELECT may change facts of the headers. This SELECT is in the metadata of the index, and runs
only with --trust. Without --trust, the error shows the SELECT. An index of a table or of items in memory cannot be
refreshed: use `rasteret-sql build`.

examples:
  rasteret-sql refresh s2.parquet
  rasteret-sql refresh s2.parquet --json | jq '{new, changed, kept, gone}'
  rasteret-sql refresh s2.parquet --trust --set period=2024-02

exit codes:
  0  the index is written, and contains every file
  1  nothing is written, and the index is unchanged
  2  wrong usage
  3  the index is written without some files: stderr names each file and the reason"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "refresh", "update an index: add new files, read changed files again", _EPILOG)
    add_built_index(command)
    add_variables(command, help="new value for a variable of its index definition; repeatable")
    command.add_argument(
        "--trust",
        action="store_true",
        help="run the SELECT of an index definition that is in the metadata of the index",
    )
    command.add_argument("--json", action="store_true", help="write the report as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Refresh, and report on stdout; files that failed are named on stderr."""
    from rasteret_sql.sql.indexes import refresh

    report = refresh(
        arguments.index,
        variables=dict(arguments.variables) or None,
        progress=shows_progress(),
        trust=arguments.trust,
    )
    counts = {"new": report.new, "changed": report.changed, "kept": report.kept, "gone": report.gone}
    if arguments.json:
        print(json.dumps({**counts, "gone_files": report.gone_files, "build": report_as_json(report.build)}, indent=2))
        return name_failures(report.build.failures)
    style = Style.of(sys.stdout)
    facts: dict[str, str | list[str]] = {name: count(number, "file") for name, number in counts.items()}
    shown = report.gone_files[:_SHOWN]
    more = [f"and {report.gone - len(shown):,} more"] if report.gone > len(shown) else []
    facts["gone"] = [count(report.gone, "file"), *shown, *more]
    print(report_as_text(report.build, style))
    print(aligned(facts, style, indent="  "))
    return name_failures(report.build.failures)
