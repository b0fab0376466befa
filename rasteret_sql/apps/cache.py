"""`rasteret-sql cache`: the headers that reads without an index have kept."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import Commands, new_command
from rasteret_sql.apps.console import Style, aligned
from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    import argparse

    from rasteret_sql.index.header_cache import CachedCollection

_EPILOG = """\
A read of STAC items or files without an index keeps the headers that it reads, so that the next read, also of another
process, reads none. The options header_cache and header_cache_bytes (RASTERET_SQL_HEADER_CACHE and
RASTERET_SQL_HEADER_CACHE_BYTES) are the folder, or "off", and its largest size.

examples:
  rasteret-sql cache ls
  rasteret-sql cache ls --json
  rasteret-sql cache clear
  rasteret-sql cache clear --collection sentinel-2-l2a"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "cache", "list or remove the headers kept by reads without an index", _EPILOG)
    command.add_argument(
        "action",
        choices=("ls", "clear"),
        metavar="ACTION",
        help="ls lists headers by collection, clear removes them",
    )
    command.add_argument("--collection", metavar="ID", help="collection whose headers are listed or removed")
    command.add_argument("--json", action="store_true", help="write JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List the cache on stdout, or remove its files."""
    from rasteret_sql.index.header_cache import cache_folder, cached_collections, clear_cache

    folder = cache_folder()
    found = cached_collections()
    if arguments.collection is not None:
        known = [each.collection for each in found if each.collection is not None]
        if arguments.collection not in known:
            listed = ", ".join(known) or "it has none"
            raise InvalidArgumentError(
                f"collection: got {shown(arguments.collection)}, expected a collection of the header cache: {listed}"
            )
        found = [each for each in found if each.collection == arguments.collection]
    if arguments.action == "clear":
        removed = clear_cache(arguments.collection)
        print(json.dumps({"removed_bytes": removed}) if arguments.json else f"{size(removed)} removed")
        return 0
    if arguments.json:
        print(json.dumps({"folder": None if folder is None else str(folder), "collections": list(map(asdict, found))}))
        return 0
    style = Style.of(sys.stdout)
    for each in found:
        print(_described(each, style))
    print("The header cache is off." if folder is None else f"{count(len(found), 'collection')} in {folder}")
    return 0


def _described(collection: CachedCollection, style: Style) -> str:
    first, last = (
        datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
        for seconds in (collection.first_s, collection.last_s)
    )
    facts: dict[str, str | list[str]] = {
        "headers": f"{count(collection.files, 'file')}, {size(collection.nbytes)}",
        "read": f"{first} to {last} UTC",
    }
    return f"{style.bold(collection.collection or '(no collection)')}\n{aligned(facts, style, indent='  ')}"
