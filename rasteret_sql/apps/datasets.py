"""`rasteret-sql datasets`: the catalog of datasets."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import Commands, new_command
from rasteret_sql.apps.console import Style, aligned, columns_of_terminal, listed, note

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rasteret_sql.index.datasets.catalog import Dataset

_EPILOG = """\
You can add entries: put one TOML file per dataset, like the files of the package, into a folder. The
environment variable RASTERET_SQL_DATASETS names the folder.

examples:
  rasteret-sql datasets
  rasteret-sql datasets earthsearch/sentinel-2-l2a
  rasteret-sql datasets pc/naip --json"""
#: Columns that the names of facts and their indent take.
_MARGIN = 18


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "datasets", "list the named datasets of `build`, or describe one", _EPILOG)
    command.add_argument("id", nargs="?", metavar="ID", help="dataset to describe")
    command.add_argument("--folder", metavar="FOLDER", help="folder of your own entries (RASTERET_SQL_DATASETS)")
    command.add_argument("--json", action="store_true", help="write JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the catalog, or one entry."""
    from rasteret_sql.index.datasets.catalog import dataset, datasets

    style = Style.of(sys.stdout)
    if arguments.id is not None:
        entry = dataset(arguments.id, arguments.folder)
        print(json.dumps(entry.as_row(), indent=2) if arguments.json else _described(entry, style))
        return 0
    entries = datasets(arguments.folder)
    if arguments.json:
        print(json.dumps([entry.as_row() for entry in entries], indent=2))
        return 0
    print(_listed(entries, style))
    note("\nrasteret-sql datasets ID describes one dataset.")
    return 0


def _listed(entries: Sequence[Dataset], style: Style) -> str:
    """List ids and titles. A title takes one line in a file, and as many as it needs in a terminal."""
    ids = max((len(entry.id) for entry in entries), default=0) + 2
    width = max(columns_of_terminal() - ids, 20) if sys.stdout.isatty() else sys.maxsize
    facts = {}
    for entry in entries:
        *lines, last = textwrap.wrap(entry.title, width)
        needs = "" if entry.authentication == "none" else f"({entry.authentication})"
        if needs and len(last) + 2 + len(needs) <= width:
            facts[entry.id] = [*lines, f"{last}  {style.dim(needs)}"]
        else:
            facts[entry.id] = [*lines, last, *([style.dim(needs)] if needs else [])]
    return aligned(facts, style)


def _described(entry: Dataset, style: Style) -> str:
    width = max(columns_of_terminal() - _MARGIN, 40)
    names = entry.band_map()
    renamed = [f"{name} = {target}" for name, target in names.items() if name != target]
    targets = {target.partition(":")[0] for name, target in names.items() if name != target}
    bands = renamed + [name for name, target in names.items() if name == target and name not in targets]
    facts: dict[str, str | list[str]] = {
        "title": entry.title,
        "endpoint": entry.endpoint or entry.table,
        "collection": entry.collection,
        "licence": f"{entry.licence} {entry.licence_url}".strip(),
        "attribution": entry.attribution,
        "authentication": [
            entry.authentication,
            *(_wrapped(entry.needs, width) if entry.authentication != "none" else ()),
        ],
        "bands": listed(bands, width=width, empty="as STAC and the files name them"),
    }
    if entry.mirrors:
        facts["mirrors"] = [f"{source} at {mirror}" for source, mirror in entry.mirrors.items()]
    if entry.notes:
        facts["notes"] = [line for part in entry.notes.splitlines() for line in _wrapped(part, width)]
    facts["file"] = entry.file
    build = style.accent(
        f"rasteret-sql build {entry.id} --bbox XMIN,YMIN,XMAX,YMAX --datetime 2024-01 -o index.parquet"
    )
    return f"{style.bold(entry.id)}\n{aligned(facts, style, indent='  ')}\n\n{build}"


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)
