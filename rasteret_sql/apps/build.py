"""`rasteret-sql build`: an index of TIFF files or STAC items."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import (
    Commands,
    add_scaling,
    add_variables,
    mapping,
    names,
    new_command,
    numbers,
    numbers_by_band,
)
from rasteret_sql.apps.console import Style, aligned, columns_of_terminal, listed, note
from rasteret_sql.wording import count, did_you_mean, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from rasteret_sql.index.report import BuildReport, Failure
    from rasteret_sql.index.sources.search import StacSearch

#: Exit code where the index is written but some files are not in it.
SOME_FAILED = 3

#: Options that make a build a search.
_SEARCH = ("bbox", "intersects", "datetime", "ids", "filter", "sortby", "max_items", "page_items")

#: What the names of sources end with that are no datasets, even if there is no such file.
_FILE_SUFFIXES = (".json", ".geojson", ".ndjson", ".jsonl", ".parquet", ".tif", ".tiff", ".sql")

_EPILOG = """\
SOURCE is one of these:
  * a path, a glob (quote it; ** matches nested folders) or a URL of TIFF files, of STAC items,
    collections or catalogs (JSON or NDJSON), or of Parquet with an href column
  * the id of a dataset (see `rasteret-sql datasets`)
  * the URL of a STAC API, with an option of the search
  * an index definition: a .sql file with a header (name, kind: index, grain) and one SELECT

examples:
  rasteret-sql build items.json -o s2.parquet
  rasteret-sql build earthsearch/sentinel-2-l2a --bbox 77.5,12.9,77.7,13.1 --datetime 2024-01 -o s2.parquet
  rasteret-sql build https://example.com/stac/v1 --collection s2 --datetime 2024 --max-items 100 -o s2.parquet
  rasteret-sql build index.sql -o s2.parquet --set period=2024-01
  rasteret-sql build https://example.com/catalog.json -o s2.parquet --asset red --asset nir
  rasteret-sql build 'scenes/**/*.tif' -o s2.parquet --pattern '{item_id}/{asset}.tif'
  rasteret-sql build items.json -o s2/ --partition-by collection,year
  rasteret-sql build items.json -o s2.parquet --href-map https://example.com/=/mnt/mirror/
  rasteret-sql build items.json -o s2.parquet --alternate s3
  rasteret-sql build items.json -o s2.parquet --stats s2.stats.parquet --histogram scl
  rasteret-sql build landsat.json -o landsat.parquet --scales red=0.0000275 --offsets red=-0.2

exit codes:
  0  the index, and with --stats the statistics, are written, and contain every file
  1  nothing is written; or with --stats, the index alone
  2  wrong usage
  3  the index or the statistics are written without some files: stderr names each file and the reason"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "build", "read the headers of TIFF files into a Parquet index", _EPILOG)
    command.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="TIFF files, STAC documents, tables, a dataset, a STAC API or an index definition",
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="INDEX",
        help="index to write: a file, or a folder with --partition-by",
    )
    command.add_argument(
        "--href-map",
        action="append",
        type=mapping,
        default=[],
        metavar="FROM=TO",
        help="read hrefs that start with FROM from TO; repeatable, the longest matching FROM counts",
    )
    command.add_argument(
        "--pattern",
        action="append",
        help="names at the end of a path: '{item_id}/{asset}.tif'; repeatable: each pattern reads the whole path",
    )
    command.add_argument("--collection", help="collection of a search, or of items without a collection")
    command.add_argument(
        "--asset",
        action="append",
        dest="assets",
        metavar="KEY",
        help="read only assets with this key; repeatable",
    )
    command.add_argument(
        "--alternate",
        action="append",
        metavar="NAME",
        help="read STAC assets at the alternate location with this name; repeatable, best first",
    )
    command.add_argument(
        "--period-time",
        choices=("start", "middle", "end"),
        help="datetime of items that have only a period, such as annual products (none: reads take the start)",
    )
    command.add_argument(
        "--partition-by",
        type=names,
        metavar="COLUMN,...",
        help="split the index into INDEX/COLUMN=value/...; year, month and day come from the times of items",
    )
    command.add_argument(
        "--on-duplicate",
        choices=("error", "latest", "keep"),
        help="if files share collection, item and asset: fail (error, the default), take the version with the latest "
        "change, or keep all files",
    )
    stats = command.add_argument_group("statistics of tiles, which need all pixels")
    stats.add_argument(
        "--stats",
        metavar="STATS",
        help="then measure all tiles of full resolution, as `rasteret-sql stats` does, and write them to this file",
    )
    stats.add_argument(
        "--histogram",
        type=names,
        metavar="NAME,...",
        help="with --stats: bands of classes, with at most 256 values, that are counted by value too",
    )
    bands = command.add_argument_group("values of bands, instead of those of the files and of STAC")
    add_scaling(bands)
    bands.add_argument(
        "--nodata",
        type=numbers_by_band,
        metavar="VALUE",
        help="nodata value: a number, or numbers by band: red=0,scl=255",
    )
    search = command.add_argument_group("search of a dataset or of a STAC API")
    search.add_argument(
        "--bbox",
        type=numbers,
        metavar="XMIN,YMIN,XMAX,YMAX",
        help="area in lon/lat; write --bbox=-122.5,... if it begins with a minus",
    )
    search.add_argument("--intersects", metavar="GEOMETRY", help="area, as GeoJSON or WKT in lon/lat")
    search.add_argument(
        "--datetime", metavar="PERIOD", help="period, inclusive: '2024-01', '2024-01-01/2024-02-15', '../2024'"
    )
    search.add_argument("--ids", type=names, metavar="ID,ID", help="ids of items")
    search.add_argument("--filter", metavar="CQL2", help="condition for the API, as CQL2 text or JSON")
    search.add_argument(
        "--sortby", type=names, metavar="FIELD", help="order of items; --sortby=-properties.datetime descends"
    )
    search.add_argument("--max-items", type=int, metavar="N", help="largest number of items")
    search.add_argument("--page-items", type=int, metavar="N", help="items per page of the answer (100)")
    add_variables(command, help="value of getvariable('NAME') in an index definition, as text; repeatable")
    command.add_argument("--json", action="store_true", help="write the report as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build, and report on stdout; files that failed are named on stderr."""
    from rasteret_sql.sql.indexes import build_index

    _check_stats(arguments)
    search = _search(arguments)
    report = build_index(
        search or (arguments.source if len(arguments.source) > 1 else arguments.source[0]),
        arguments.output,
        href_map=dict(arguments.href_map) or None,
        pattern=arguments.pattern,
        collection=arguments.collection if search is None else None,
        assets=arguments.assets,
        alternate=arguments.alternate,
        period_time=arguments.period_time,
        scales=arguments.scales,
        offsets=arguments.offsets,
        nodata=arguments.nodata,
        variables=dict(arguments.variables) or None,
        partition_by=arguments.partition_by,
        on_duplicate=arguments.on_duplicate,
        progress=shows_progress(),
    )
    if not arguments.json:
        print(report_as_text(report, Style.of(sys.stdout)))
    code = name_failures(report.failures)
    values = report_as_json(report)
    if arguments.stats is not None:
        from rasteret_sql.apps import stats
        from rasteret_sql.sql.build_stats import build_stats

        measured = build_stats(report.path, arguments.stats, histogram=arguments.histogram, progress=shows_progress())
        if not arguments.json:
            print(stats.report_as_text(measured, Style.of(sys.stdout)))
        values["statistics"] = stats.report_as_json(measured)
        code = max(code, name_failures(measured.failures, "statistics"))
    if arguments.json:
        print(json.dumps(values, indent=2))
    return code


def _check_stats(arguments: argparse.Namespace) -> None:
    """Refuse options of statistics before anything is read.

    Raises:
        InvalidArgumentError: no statistics can be written to the path, or there is a histogram without one.
    """
    from rasteret_sql.errors import InvalidArgumentError

    if arguments.stats is None:
        if arguments.histogram is not None:
            raise InvalidArgumentError(
                f"histogram: got {','.join(arguments.histogram)}, expected --stats, the file that holds it, beside it"
            )
        return
    from rasteret_sql.sql.build_stats import checked_output

    if checked_output(arguments.stats, "stats").resolve() == Path(arguments.output).resolve():
        raise InvalidArgumentError(f"stats: got {arguments.stats}, the path of the index, expected another file")


def name_failures(failures: Sequence[Failure], what: str = "index") -> int:
    """Name the files that failed on stderr, and give the exit code.

    Args:
        failures: the files.
        what: they are not in.
    """
    if not failures:
        return 0
    style = Style.of(sys.stderr)
    note(style.error(f"{count(len(failures), 'file')} not in the {what}:"))
    for failure in failures:
        note(f"  {failure.href or failure.item_id or 'a document'}\n    {failure.error}: {failure.message}")
    return SOME_FAILED


def _search(arguments: argparse.Namespace) -> StacSearch | None:
    """Make the search that is asked for, or None where files or documents are."""
    from rasteret_sql.errors import InvalidArgumentError

    given = {name: getattr(arguments, name) for name in _SEARCH if getattr(arguments, name) is not None}
    if not given and not _may_be_dataset(arguments.source):
        for source in arguments.source:
            _check_named(source)
        return None
    from rasteret_sql.index.sources.search import stac_search

    _check_searchable(arguments.source, given)
    if len(arguments.source) > 1:
        raise InvalidArgumentError(f"SOURCE: got {len(arguments.source)} of them with --{next(iter(given))}; give one")
    (source,) = arguments.source
    if arguments.collection is not None:
        given["collections"] = [arguments.collection]
    return stac_search(source, **given, progress=_found if sys.stderr.isatty() else False)


def _check_searchable(sources: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse options of a search for files and documents, which are indexed whole.

    Raises:
        InvalidArgumentError: a source is one of these.
    """
    from rasteret_sql.errors import InvalidArgumentError

    files = [source for source in sources if "://" not in source and _is_file(source)]
    if given and files:
        name = next(iter(given))
        option = "--" + name.replace("_", "-")
        raise InvalidArgumentError(
            f"{name}: is an option of a search, and {files[0]} is no dataset or STAC API. All files of a document, "
            f"glob or table are indexed: leave {option} out, and choose when the index is read"
        )


def _check_named(source: str) -> None:
    """Refuse what is neither a file nor a dataset but resembles the id of one.

    Raises:
        InvalidArgumentError: it does.
    """
    from rasteret_sql.errors import InvalidArgumentError
    from rasteret_sql.index.datasets.catalog import datasets

    if "://" in source or _is_file(source):
        return
    meant = did_you_mean(source, [entry.id for entry in datasets()])
    if meant:
        raise InvalidArgumentError(f"SOURCE: {source}: no such file or dataset{meant}")


def _is_file(source: str) -> bool:
    """Whether a source is a file, a glob, or the name of a file that is not there, rather than a dataset."""
    path = Path(source).expanduser()
    return path.exists() or bool(set("*?[").intersection(source)) or path.suffix.lower() in _FILE_SUFFIXES


def _may_be_dataset(sources: Sequence[str]) -> bool:
    from rasteret_sql.index.datasets.catalog import is_dataset

    return len(sources) == 1 and is_dataset(sources[0])


def _found(pages: int, items: int) -> None:
    print(f"\rfound {count(items, 'item')} on {count(pages, 'page')}\x1b[K\r", end="", file=sys.stderr, flush=True)


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
    notes = []
    if report.proj_mismatches:
        mismatches = count(report.proj_mismatches, "file")
        notes.append(f"{mismatches} whose header contradicts the proj: fields of STAC, and is believed")
    if report.size_mismatches:
        notes.append(f"{count(report.size_mismatches, 'file')} whose size is not the file:size of STAC")
    if notes:
        facts["note"] = notes
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
        "size_mismatches": report.size_mismatches,
        "noted": report.noted,
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
        "index_bytes": report.index_bytes,
    }


def shows_progress() -> bool:
    """Whether bars are shown: on stderr, where that is a terminal."""
    return sys.stderr.isatty()
