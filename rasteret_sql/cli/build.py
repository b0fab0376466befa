"""`rasteret-sql build`: an index of TIFF files or STAC items."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rasteret_sql.cli.arguments import Commands, mapping, new_command
from rasteret_sql.cli.console import Style, aligned, columns_of_terminal, count, listed, note, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from rasteret_sql.index.report import BuildReport

#: Exit code where the index is written but some files are not in it.
SOME_FAILED = 3

_EPILOG = """\
SOURCE is a path, a glob (quote it; ** goes into folders) or a URL of TIFF files, of STAC
items, collections or catalogs (JSON or NDJSON), or of Parquet with an href column.

examples:
  rasteret-sql build items.json -o s2.parquet
  rasteret-sql build https://example.com/catalog.json -o s2.parquet --asset red --asset nir
  rasteret-sql build 'scenes/**/*.tif' -o s2.parquet --pattern '{item_id}/{asset}.tif'
  rasteret-sql build items.json -o s2.parquet --href-map https://example.com/=/mnt/mirror/

exit codes:
  0  the index is written and holds every file
  1  nothing is written
  2  wrong usage
  3  the index is written, but some files are not in it: stderr names each, with the reason"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "build", "read the headers of TIFF files into a Parquet index", _EPILOG)
    command.add_argument("source", nargs="+", metavar="SOURCE", help="TIFF files, STAC documents or tables")
    command.add_argument("-o", "--output", required=True, metavar="INDEX", help="the index that is written")
    command.add_argument(
        "--href-map",
        action="append",
        type=mapping,
        default=[],
        metavar="FROM=TO",
        help="read what begins with FROM at TO instead; may be repeated, the longest FROM that fits counts",
    )
    command.add_argument("--pattern", help="what the end of a path says of a file: '{item_id}/{asset}.tif'")
    command.add_argument("--collection", help="collection of the items that name none")
    command.add_argument(
        "--asset",
        action="append",
        dest="assets",
        metavar="KEY",
        help="only assets of this key; may be repeated",
    )
    command.add_argument("--json", action="store_true", help="write the report as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build, and report on stdout; files that failed are named on stderr."""
    from rasteret_sql.index.build import build_index

    with _progress_bar() as progress:
        report = build_index(
            arguments.source if len(arguments.source) > 1 else arguments.source[0],
            arguments.output,
            href_map=dict(arguments.href_map) or None,
            pattern=arguments.pattern,
            collection=arguments.collection,
            assets=arguments.assets,
            progress=progress,
        )
    if arguments.json:
        print(json.dumps(report_as_json(report), indent=2))
    else:
        print(report_as_text(report, Style.of(sys.stdout)))
    if not report.failures:
        return 0
    style = Style.of(sys.stderr)
    note(style.error(f"{count(len(report.failures), 'file')} not in the index:"))
    for failure in report.failures:
        note(f"  {failure.href or failure.item_id or 'a document'}\n    {failure.error}: {failure.message}")
    return SOME_FAILED


def report_as_text(report: BuildReport, style: Style) -> str:
    """Lay out what was built."""
    width = columns_of_terminal() - 14
    assets = [f"{key} ({rows:,})" for key, rows in report.assets.items()]
    facts: dict[str, str | list[str]] = {
        "index": f"{count(report.rows, 'file')} of {count(report.items, 'item')}, {size(report.index_bytes)}",
        "assets": listed(assets, width=width),
        "read": f"{count(report.requests, 'range request')} in {report.seconds:.1f} s",
    }
    if report.left_out:
        left_out = [f"{number:,} {kind}" for kind, number in report.left_out.items()]
        facts["left out"] = listed(left_out, width=width)
    if report.proj_mismatches:
        facts["note"] = (
            f"{count(report.proj_mismatches, 'file')} whose header contradicts the proj: fields of STAC, "
            f"and is believed"
        )
    if report.noted:
        facts["noted"] = f"{count(report.noted, 'file')} of which something was left out: see the column notes"
    if report.failures:
        facts["failed"] = count(len(report.failures), "file")
    return f"{style.bold(str(report.path))}\n{aligned(facts, style, indent='  ')}"


def report_as_json(report: BuildReport) -> dict[str, Any]:
    """Give the report as JSON can hold it."""
    return {
        "path": str(report.path),
        "rows": report.rows,
        "items": report.items,
        "assets": dict(report.assets),
        "failures": [asdict(failure) for failure in report.failures],
        "left_out": dict(report.left_out),
        "proj_mismatches": report.proj_mismatches,
        "noted": report.noted,
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
        "index_bytes": report.index_bytes,
    }


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | bool]:
    """Show a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield False
        return
    from tqdm import tqdm

    with tqdm(unit=" files", desc="headers", leave=False, file=sys.stderr, dynamic_ncols=True) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
