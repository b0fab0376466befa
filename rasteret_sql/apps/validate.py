"""`rasteret-sql validate`: whether the files of an index are still those that were indexed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import Commands, add_built_index, new_command
from rasteret_sql.apps.console import Style, aligned, fail
from rasteret_sql.wording import count

if TYPE_CHECKING:
    import argparse

    from rasteret_sql.index.validate import ValidationReport

#: How many files of each kind are shown.
_SHOWN = 5

_EPILOG = """\
The command compares ETag, size and time of change of each file with the index. It reads no pixels.

examples:
  rasteret-sql validate s2.parquet
  rasteret-sql validate s2.parquet --sample 200
  rasteret-sql validate s2.parquet --json | jq .counts

exit codes:
  0  no file changed since it was indexed
  1  files changed or are gone: `rasteret-sql refresh` reads them again
  2  no change was found, but some files could not be checked; or wrong usage"""


class _ExitCode(IntEnum):
    DRIFT = 1
    NOT_CHECKED = 2


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(
        commands, "validate", "check whether the files of an index changed since they were indexed", _EPILOG
    )
    add_built_index(command)
    command.add_argument("--sample", type=int, metavar="N", help="check only N files, the same in each run")
    command.add_argument("--json", action="store_true", help="write the report as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and report on stdout."""
    from rasteret_sql.errors import RasteretError
    from rasteret_sql.index.validate import validate

    try:
        report = validate(arguments.index, sample=arguments.sample)
    except RasteretError as error:
        # Not 1, which says that there is drift.
        fail(str(error))
        return _ExitCode.NOT_CHECKED
    if arguments.json:
        print(json.dumps(_as_json(report), indent=2))
    else:
        print(_as_text(report, Style.of(sys.stdout)))
    if report.has_drift:
        return _ExitCode.DRIFT
    return 0 if report.is_complete else _ExitCode.NOT_CHECKED


def _as_text(report: ValidationReport, style: Style) -> str:
    of = "" if report.checked == report.files else f", a sample of {report.files:,}"
    facts: dict[str, str | list[str]] = {"checked": f"{count(report.checked, 'file')}{of}"}
    for kind, number in report.counts.items():
        if not number:
            continue
        shown = [state for state in report.states if state.kind == kind][:_SHOWN]
        lines = [f"{state.item_id} {state.asset}: {state.message}" for state in shown]
        more = [f"and {number - len(shown):,} more"] if shown and number > len(shown) else []
        facts[kind] = [count(number, "file"), *lines, *more]
    return f"{style.bold(str(report.path))}\n{aligned(facts, style, indent='  ')}"


def _as_json(report: ValidationReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "files": report.files,
        "checked": report.checked,
        "counts": dict(report.counts),
        "states": [asdict(state) for state in report.states],
    }
