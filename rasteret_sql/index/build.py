"""Building an index: sources, headers, one SELECT, checks, and a file that appears whole or not at all."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.index.finishing import (
    EXAMPLES,
    build_connection,
    checked_target,
    definition_digest,
    finish_build,
    leftovers,
    require_rows,
    staging_folder,
)
from rasteret_sql.index.folders import text_columns
from rasteret_sql.index.hrefs import is_url
from rasteret_sql.index.kept import source_again, take_over
from rasteret_sql.index.partitions import checked_partition, require_columns
from rasteret_sql.index.progress import reporting
from rasteret_sql.index.report import BuildReport, list_failures
from rasteret_sql.index.sources.alternate import checked_alternate
from rasteret_sql.index.sources.api import StacSearch
from rasteret_sql.index.sources.pattern import PathPattern
from rasteret_sql.index.sources.resolve import resolve_source
from rasteret_sql.index.sources.stac import StacOptions
from rasteret_sql.index.sqlfiles import quote_literal, sql_file
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from rasteret_sql.index.model import Found, Source
    from rasteret_sql.index.progress import Progress
    from rasteret_sql.index.rows import HeaderCounts
    from rasteret_sql.index.staging import Inventory


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What `build_index` was asked for, checked.

    Attributes:
        sources: what gives the assets.
        path: where the index is to be.
        partition_by: columns by which it is split into files.
        options: which assets are wanted, and where they are read.
        definition: the request as the index keeps it, without secrets.
    """

    sources: tuple[Source, ...]
    path: Path
    partition_by: tuple[str, ...]
    options: StacOptions
    definition: Mapping[str, Any]


def build_index(
    source: Any,
    path: str | os.PathLike[str],
    *,
    href_map: Mapping[str, str] | None = None,
    pattern: str | None = None,
    collection: str | None = None,
    assets: Sequence[str] | None = None,
    alternate: Sequence[str] | str | None = None,
    variables: Mapping[str, Any] | None = None,
    partition_by: Sequence[str] | str | None = None,
    progress: Progress | bool = False,
) -> BuildReport:
    """Build an index: read the headers of TIFF files and write one Parquet row per asset.

    Files that cannot be read are in the report, and the others in the index. A build that was interrupted is
    taken up by the next one of the same source and options.

    Args:
        source: path, glob (with `**`) or http(s) URL, or a list of these: TIFF files; STAC Items,
            ItemCollections, Collections and Catalogs as JSON, which are crawled; NDJSON; stac-geoparquet or
            other Parquet with an `href` column. Or a table: Arrow, a DuckDB relation, a data frame. Or STAC
            items as dictionaries or pystac objects. Or what `stac_search` gives.
            Or an index definition: a `.sql` file with one SELECT, which says all the rest itself.
        path: where the index is written; a file that is there is replaced once the new one is complete.
        href_map: mirrors for reading: prefix of an href -> prefix of what is read instead; the longest fits.
            The index keeps both.
        pattern: what the end of a path says of a file, for example `"{item_id}/{asset}.tif"`. Fields are
            item_id, asset, collection, datetime, date and, as `{date:%Y%m%d}`, times in a format; any other
            name becomes a column. A file that does not fit is a failure. Without a pattern `item_id` is the
            file name, led by as many folders as make it unique, and `asset` is "data".
        collection: collection of the items that name none.
        assets: keys of the assets that are wanted; all TIFF assets without it.
        alternate: name of the alternate location of STAC assets that is read, such as "s3", or several, best first: a
            key of `alternate`, or an `alternate:name`. The index keeps it as `mirror`, beside the published `href`;
            `href_map` is applied to it. Assets that have no such location are read from `href`; where none of them
            has one, that is an error, which lists the names that there are.
        variables: what `getvariable('name')` gives in an index definition.
        partition_by: columns by which the index is split, and `path` is then a folder: `["collection", "year"]`
            writes `collection=.../year=.../part-0.parquet`. `year`, `month` and `day` are those of `datetime`
            where no column is called so. The folder appears as a whole, in the place of an older one.
        progress: True for a progress bar, or a callable that takes (files done, files in all); of an index
            definition it is given the files that its SELECT has named so far.

    Returns:
        What was built, and what was not.

    Raises:
        InvalidArgumentError: an argument is wrong; nothing was read.
        BuildError: nothing was found, no file could be read, or files share one key; nothing was written.

    Example:
        >>> build_index("scenes/*/*.tif", "s.parquet", pattern="{item_id}/{asset}.tif").rows  # doctest: +SKIP
        16
    """
    if _is_definition(source):
        if any(value is not None for value in (href_map, pattern, collection, assets, alternate)):
            raise InvalidArgumentError(
                f"{os.fspath(source)}: got href_map, pattern, collection, assets or alternate with an index "
                f"definition, expected none; write them into its SELECT"
            )
        from rasteret_sql.sql.definitions import build_definition

        return build_definition(source, path, variables=variables, partition_by=partition_by, progress=progress)
    if variables is not None:
        raise InvalidArgumentError("variables: they are for index definitions, which are .sql files; leave them out")
    options = _options(href_map, collection, assets, alternate)
    return _build(_checked(source, path, options, pattern, partition_by), progress)


def build_again(
    source: Any,
    path: str | os.PathLike[str],
    *,
    href_map: Mapping[str, str] | None,
    pattern: str | None,
    collection: str | None,
    assets: Sequence[str] | None,
    alternate: Sequence[str] | None = None,
    partition_by: Sequence[str] | None = None,
    progress: Progress | bool = False,
) -> BuildReport:
    """Build an index in the place of an older one, and take over the rows of files that did not change."""
    options = _options(href_map, collection, assets, alternate)
    request = _checked(source, path, options, pattern, partition_by)
    return _build(request, progress, previous=Path(path))


def _build(request: BuildRequest, progress: Progress | bool, previous: Path | None = None) -> BuildReport:  # noqa: FBT001
    began_s = time.monotonic()
    can_resume = bool(request.definition.get("again") or request.definition.get("search"))
    digest = definition_digest(request.definition) if can_resume else ""
    with staging_folder(request.path, digest) as folder, build_connection(folder) as con:
        inventory = _stage_sources(con, request, folder)
        take_over(con, folder, previous, leftovers(request.path, digest) if can_resume else ())
        counts = _stage_headers(con, request, folder, inventory, progress)
        return finish_build(
            con,
            folder,
            request.path,
            definition=request.definition,
            counts=counts,
            failures=(*inventory.failures, *counts.failures),
            left_out=dict(inventory.left_out.most_common()),
            began_s=began_s,
            partition_by=request.partition_by,
        )


def _is_definition(source: Any) -> bool:
    return (
        isinstance(source, (str, os.PathLike))
        and os.fspath(source).lower().endswith(".sql")
        and not is_url(str(source))
    )


async def build_index_async(source: Any, path: str | os.PathLike[str], **options: Any) -> BuildReport:
    """Build an index without blocking the caller's event loop; see `build_index`."""
    return await asyncio.to_thread(build_index, source, path, **options)


def read_assets(
    source: Any,
    *,
    href_map: Mapping[str, str] | None = None,
    pattern: str | None = None,
    collection: str | None = None,
    assets: Sequence[str] | None = None,
    alternate: Sequence[str] | str | None = None,
) -> Iterator[Found]:
    """Go through a source of assets without reading any header; arguments as for `build_index`.

    Raises:
        InvalidArgumentError: an argument is wrong.
    """
    options = _options(href_map, collection, assets, alternate)
    sources, _ = resolve_source(source, _compiled(pattern), options)
    for one in sources:
        yield from one.find()


def _options(
    href_map: Mapping[str, str] | None,
    collection: str | None,
    assets: Sequence[str] | None,
    alternate: Sequence[str] | str | None,
) -> StacOptions:
    if href_map is not None and not (
        isinstance(href_map, Mapping)
        and all(isinstance(key, str) and key and isinstance(value, str) for key, value in href_map.items())
    ):
        raise InvalidArgumentError(
            f"href_map: got {href_map!r}, expected a mapping of href prefixes to prefixes of their mirrors, "
            f"such as {{'https://example.com/': '/data/'}}"
        )
    if assets is not None and (
        isinstance(assets, str) or not assets or not all(isinstance(asset, str) for asset in assets)
    ):
        raise InvalidArgumentError(f"assets: got {assets!r}, expected a list of asset keys, such as ['red', 'nir']")
    return StacOptions(
        frozenset(assets) if assets is not None else None,
        _checked_text("collection", collection),
        dict(href_map or {}),
        checked_alternate(alternate),
    )


def _compiled(pattern: str | None) -> PathPattern | None:
    text = _checked_text("pattern", pattern)
    return PathPattern.compile(text) if text is not None else None


def _checked_text(name: str, value: str | None) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidArgumentError(f"{name}: got {value!r}, expected a text")
    return value


def _checked(
    source: Any,
    path: str | os.PathLike[str],
    options: StacOptions,
    pattern: str | None,
    partition_by: Sequence[str] | str | None,
) -> BuildRequest:
    compiled = _compiled(pattern)
    partition = checked_partition(partition_by)
    target = checked_target(path, partition)
    sources, described = resolve_source(source, compiled, options)
    definition = {
        "source": described,
        "pattern": pattern,
        "collection": options.collection,
        "assets": sorted(options.assets) if options.assets is not None else None,
        "href_map": {redact(key): redact(value) for key, value in options.href_map.items()},
    }
    if options.alternate:
        definition["alternate"] = list(options.alternate)
    if isinstance(source, StacSearch):
        definition["search"] = source.definition()
    else:
        definition["again"] = source_again(source, options.href_map)
    return BuildRequest(tuple(sources), target, partition, options, definition)


def _stage_sources(con: duckdb.DuckDBPyConnection, request: BuildRequest, folder: Path) -> Inventory:
    from rasteret_sql.index.properties import create_properties_view
    from rasteret_sql.index.staging import create_assets_view, prepare_reading, stage_sources

    inventory = stage_sources(request.sources, folder, on_first=prepare_reading)
    _require_assets(request, inventory)
    create_properties_view(con, folder, inventory.column_files)
    if request.partition_by:
        # Before headers are read, rather than after it.
        properties = {row[0]: row[1] for row in con.execute("DESCRIBE properties").fetchall()}
        require_columns(request.partition_by, dict.fromkeys(text_columns(), "VARCHAR") | properties)
    create_assets_view(con, folder)
    ((named_twice,),) = con.execute("SELECT count(*) FROM named_twice").fetchall()
    if named_twice:
        inventory.left_out["files named twice"] += named_twice
    con.execute(
        "CREATE OR REPLACE VIEW asset_index AS "
        "SELECT i.collection, i.item_id, a.asset, a.href FROM assets AS a JOIN items AS i USING (item_no)"
    )
    shared = con.execute(f"{sql_file('checks/unique_key.sql')} LIMIT {EXAMPLES}").fetchall()
    if shared:
        lines = [
            f"    {item_id} {asset} (collection {collection}): {problem}"
            for collection, item_id, asset, _, problem in shared
        ]
        raise BuildError(
            "\n".join(
                [
                    f"{request.path}: different files share one collection, item_id and asset, for example:",
                    *lines,
                    "  Tell them apart: with collection=, with a pattern, or with columns item_id and asset.",
                ]
            )
        )
    return inventory


def _require_assets(request: BuildRequest, inventory: Inventory) -> None:
    wanted = request.options.assets or frozenset()
    unknown = sorted(wanted - inventory.asset_keys)
    if unknown and inventory.asset_keys:
        raise BuildError(
            f"{request.path}: got assets {', '.join(unknown)}, which no item has as a TIFF; "
            f"expected some of {', '.join(sorted(inventory.asset_keys))}"
        )
    if inventory.assets:
        return
    left_out = ", ".join(f"{count} {kind}" for kind, count in inventory.left_out.most_common())
    raise BuildError(
        "\n".join(
            [
                f"{request.path}: no TIFF asset in {request.definition['source']}; nothing was written."
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
) -> HeaderCounts:
    from rasteret_sql.index.rows import stage_headers
    from rasteret_sql.index.staging import HEADERS

    row = con.execute("SELECT count(*) FROM unread_assets").fetchone()
    assert row is not None
    with reporting(progress, int(row[0])) as files:
        counts = stage_headers(con, folder, files.advance)
    con.execute(f"CREATE VIEW headers AS FROM read_parquet({quote_literal(str(folder / HEADERS))})")
    ((counts.rows, counts.noted),) = con.execute("SELECT count(*), count(notes) FROM headers").fetchall()
    require_rows(request.path, counts, [*inventory.failures, *counts.failures])
    return counts
