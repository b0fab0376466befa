"""Building an index of sources: assets, headers, rows, and a file that appears whole or not at all.

The steps, each a file: `sources` finds assets, `staging` keeps them on disk, `reuse` takes over rows that need no
reading, `headers` and `rows` read the rest, and `finish` writes and checks the index.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import check_choice, checked_list, shown
from rasteret_sql.database.hrefs import absolute, is_url, unsigned
from rasteret_sql.database.schema import text_columns
from rasteret_sql.database.sqlfiles import quote_path, sql_file
from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.index.finish import (
    EXAMPLES,
    OLDER_VERSIONS,
    REMEDY,
    IndexTarget,
    checked_on_duplicate,
    checked_target,
    drop_older_versions,
    finish_build,
    require_given,
    require_rows,
)
from rasteret_sql.index.found import SourceOptions
from rasteret_sql.index.given_bands import GivenBands
from rasteret_sql.index.partitions import checked_partition, require_columns
from rasteret_sql.index.report import BuildReport, crawling, list_failures, reporting
from rasteret_sql.index.sources import resolve_source
from rasteret_sql.index.sources.search import StacSearch
from rasteret_sql.index.sources.tiffs import PathPatterns
from rasteret_sql.index.stac.items import checked_alternate
from rasteret_sql.index.staging import build_connection, definition_digest, leftovers, staging_folder
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import duckdb

    from rasteret_sql.index.found import Source
    from rasteret_sql.index.header_cache import CachedHeaders
    from rasteret_sql.index.report import Progress
    from rasteret_sql.index.rows import HeaderCounts
    from rasteret_sql.index.staging import Inventory

#: Which time of its period an item without datetime may get.
PERIOD_TIMES = ("start", "middle", "end")
_ASSETS = "a list of asset keys, such as ['red', 'nir']"


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """The arguments of a build, checked.

    Attributes:
        sources: give the assets.
        options: which assets are wanted, and where they are read.
        target: the index.
    """

    sources: tuple[Source, ...]
    options: SourceOptions
    target: IndexTarget


def source_options(
    *,
    href_map: Mapping[str, str] | None = None,
    pattern: str | Sequence[str] | None = None,
    collection: str | None = None,
    assets: Sequence[str] | None = None,
    alternate: Sequence[str] | str | None = None,
    period_time: str | None = None,
    given: GivenBands | None = None,
) -> SourceOptions:
    """Check the arguments of `build_index` on its sources.

    Raises:
        InvalidArgumentError: an argument is wrong.
    """
    if href_map is not None and not (
        isinstance(href_map, Mapping)
        and all(isinstance(key, str) and key and isinstance(value, str) for key, value in href_map.items())
    ):
        raise InvalidArgumentError(
            f"href_map: got {shown(href_map)}, expected a mapping of href prefixes to prefixes of their mirrors, "
            f"such as {{'https://example.com/': '/data/'}}"
        )
    listed = checked_list("assets", assets, _ASSETS)
    if listed is not None and (
        isinstance(assets, str) or not listed or not all(isinstance(asset, str) for asset in listed)
    ):
        raise InvalidArgumentError(f"assets: got {shown(assets)}, expected {_ASSETS}")
    if period_time is not None:
        check_choice("period_time", period_time, PERIOD_TIMES)
    return SourceOptions(
        assets=frozenset(listed) if listed is not None else None,
        collection=_checked_text("collection", collection),
        href_map=dict(href_map or {}),
        alternate=checked_alternate(alternate),
        pattern=None if pattern is None else PathPatterns.compile(pattern),
        period_time=period_time,
        given=given or GivenBands(),
    )


def _checked_text(name: str, value: str | None) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected a text")
    return value


def build_request(
    source: Any,
    path: str | os.PathLike[str],
    options: SourceOptions,
    *,
    partition_by: Sequence[str] | str | None = None,
    on_duplicate: str | None = None,
) -> BuildRequest:
    """Check a request for an index; nothing is read.

    Args:
        source: as `build_index` takes it.
        path: path of the index.
        options: which assets are wanted.
        partition_by, on_duplicate: as `build_index` takes them.

    Raises:
        InvalidArgumentError: an argument is wrong.
    """
    partition = checked_partition(partition_by)
    rule = checked_on_duplicate(on_duplicate)
    file = checked_target(path, partition)
    sources, described = resolve_source(source, options)
    definition = {
        "source": described,
        "pattern": options.pattern.text if options.pattern is not None else None,
        "collection": options.collection,
        "assets": sorted(options.assets) if options.assets is not None else None,
        "href_map": {redact(key): redact(value) for key, value in options.href_map.items()},
    }
    if options.alternate:
        definition["alternate"] = list(options.alternate)
    if options.period_time:
        definition["period_time"] = options.period_time
    if options.given:
        definition["given"] = options.given.definition()
    if rule != "error":
        definition["on_duplicate"] = rule
    if isinstance(source, StacSearch):
        definition["search"] = source.definition()
    else:
        definition["again"] = _source_again(source, options.href_map)
    target = IndexTarget(file, definition, partition_by=partition, on_duplicate=rule)
    return BuildRequest(tuple(sources), options, target)


def build(request: BuildRequest, progress: Progress | bool, previous: Path | None = None) -> BuildReport:  # noqa: FBT001
    """Build an index.

    Args:
        request: what is built.
        progress: as for `build_index`.
        previous: an older index; rows of files that did not change are taken over from it.

    Raises:
        BuildError: nothing was found, no file could be read, or files share one key; nothing was written.
    """
    from rasteret_sql.index.header_cache import CachedHeaders

    began_s = time.monotonic()
    can_resume = bool(request.target.definition.get("again") or request.target.definition.get("search"))
    digest = definition_digest(request.target.definition) if can_resume else ""
    with staging_folder(request.target.path, digest) as folder, build_connection(folder) as con:
        # A search has a bar of its own.
        with crawling(progress if "search" not in request.target.definition else False) as on_step:
            inventory = _stage_assets(con, request, folder, on_step)
        unfinished = leftovers(request.target.path, digest) if can_resume else ()
        if previous is not None or unfinished:
            from rasteret_sql.index.reuse import take_over

            take_over(con, folder, previous, unfinished)
        # What changed since the older index is read anew.
        known = CachedHeaders.of_build() if previous is None else None
        counts = _stage_headers(con, request, folder, inventory, progress, known)
        return finish_build(
            con,
            folder,
            request.target,
            counts=counts,
            left_out=dict(inventory.left_out.most_common()),
            began_s=began_s,
        )


def _stage_assets(
    con: duckdb.DuckDBPyConnection,
    request: BuildRequest,
    folder: Path,
    on_step: Callable[[int, int], None] | None,
) -> Inventory:
    """Find the assets, and check as much as can be checked before headers are read."""
    from rasteret_sql.index.properties import create_properties_view
    from rasteret_sql.index.staging import create_assets_view, prepare_reading, stage_sources

    inventory = stage_sources(request.sources, folder, on_first=prepare_reading, on_step=on_step)
    _require_assets(request, inventory)
    create_properties_view(con, folder, inventory.column_files, request.options.period_time)
    if request.target.partition_by:
        properties = {row[0]: row[1] for row in con.execute("DESCRIBE properties").fetchall()}
        require_columns(request.target.partition_by, dict.fromkeys(text_columns(), "VARCHAR") | properties)
    create_assets_view(con, folder)
    ((named_twice,),) = con.execute("SELECT count(*) FROM dropped").fetchall()
    left_out = {"files named twice": int(named_twice)}
    if request.target.on_duplicate == "latest":
        left_out[OLDER_VERSIONS] = drop_older_versions(con)
    inventory.left_out.update({kind: number for kind, number in left_out.items() if number})
    if request.target.on_duplicate == "error":
        _require_unique_keys(con, request.target.path)
    return inventory


def _require_unique_keys(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    con.execute(
        "CREATE OR REPLACE VIEW asset_index AS "
        "SELECT i.collection, i.item_id, a.asset, a.href FROM assets AS a JOIN items AS i USING (item_no)"
    )
    shared = con.execute(f"{sql_file('checks/unique_key.sql')} LIMIT {EXAMPLES}").fetchall()
    if not shared:
        return
    lines = [
        f"    {item_id} {asset} (collection {collection}): {problem}"
        for collection, item_id, asset, _, problem in shared
    ]
    raise BuildError(
        "\n".join(
            [
                f"{path}: different files share one collection, item_id and asset, for example:",
                *lines,
                f"  {REMEDY}",
            ]
        )
    )


def _require_assets(request: BuildRequest, inventory: Inventory) -> None:
    wanted = request.options.assets or frozenset()
    unknown = sorted(wanted - inventory.asset_keys)
    if unknown and inventory.asset_keys:
        raise BuildError(
            f"{request.target.path}: got assets {', '.join(unknown)}, which no item has as a TIFF; "
            f"expected some of {', '.join(sorted(inventory.asset_keys))}"
        )
    if inventory.assets:
        require_given(request.target.path, request.options.given, inventory.asset_keys)
        return
    left_out = ", ".join(f"{count} {kind}" for kind, count in inventory.left_out.most_common())
    raise BuildError(
        "\n".join(
            [
                f"{request.target.path}: no TIFF asset in {request.target.definition['source']}; nothing was written."
                + (f" Left out: {left_out}." if left_out else ""),
                *list_failures(inventory.failures),
            ]
        )
    )


def _stage_headers(
    con: duckdb.DuckDBPyConnection,
    request: BuildRequest,
    folder: Path,
    inventory: Inventory,
    progress: Progress | bool,  # noqa: FBT001
    known: CachedHeaders | None,
) -> HeaderCounts:
    from rasteret_sql.index.rows import stage_headers
    from rasteret_sql.index.staging import HEADERS

    row = con.execute("SELECT count(*) FROM unread_assets").fetchone()
    assert row is not None
    with reporting(progress, int(row[0])) as files:
        counts = stage_headers(con, folder, files.advance, request.options.given, known)
    con.execute(f"CREATE VIEW headers AS FROM read_parquet({quote_path(folder, HEADERS)})")
    ((counts.rows, counts.noted),) = con.execute("SELECT count(*), count(notes) FROM headers").fetchall()
    counts.failures = [*inventory.failures, *counts.failures]
    require_rows(request.target.path, counts)
    return counts


def _source_again(source: Any, href_map: Mapping[str, str]) -> dict[str, Any] | None:
    """Describe a source so that `refresh` can read it again from any working directory.

    Returns:
        Paths and mirrors as JSON can hold them, without secrets; None for a source in memory.
    """
    parts = [source] if isinstance(source, (str, os.PathLike)) else source
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, (str, os.PathLike)) for part in parts):
        return None
    return {
        "paths": [_anywhere(os.fspath(part)) for part in parts],
        "href_map": {_anywhere(key, is_prefix=True): _anywhere(mirror) for key, mirror in href_map.items()},
    }


def _anywhere(path: str, *, is_prefix: bool = False) -> str:
    """Make a path absolute, and take signatures, users and passwords from a URL."""
    if is_url(path):
        # `redact` drops the whole query string; parameters that sign nothing are part of the source.
        query = unsigned(path).partition("?")[2]
        return redact(path) + (f"?{query}" if query else "")
    if is_prefix:
        return path
    slash = "/" if path.endswith("/") else ""
    return absolute(os.path.expanduser(path)) + slash  # noqa: PTH111 - a glob is no path
