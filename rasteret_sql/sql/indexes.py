"""The doors to `index`: building and refreshing an index, of sources or of an index definition.

A definition is SQL that calls our functions, so these doors lie above both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from rasteret_sql.checks import check_flag, checked_path, shown
from rasteret_sql.database.hrefs import is_url
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_sql.index.finish import OnDuplicate
    from rasteret_sql.index.refresh import RefreshReport
    from rasteret_sql.index.report import BuildReport, Progress


def build_index(  # noqa: PLR0913 - the options of a build, by keyword
    source: Any,
    path: str | os.PathLike[str],
    *,
    href_map: Mapping[str, str] | None = None,
    pattern: str | Sequence[str] | None = None,
    collection: str | None = None,
    assets: Sequence[str] | None = None,
    alternate: Sequence[str] | str | None = None,
    period_time: Literal["start", "middle", "end"] | None = None,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    nodata: float | Mapping[str, float] | None = None,
    variables: Mapping[str, Any] | None = None,
    partition_by: Sequence[str] | str | None = None,
    on_duplicate: OnDuplicate | None = None,
    progress: Progress | bool = False,
) -> BuildReport:
    """Build an index: read the headers of TIFF files and write one Parquet row per asset.

    Files that cannot be read are listed in the report; the index has all others. An interrupted build is continued by
    the next build of the same source and options.

    Args:
        source: path, glob (with `**`) or http(s) URL, or a list of these: TIFF files; STAC Items, ItemCollections,
            Collections and Catalogs as JSON, which are crawled; NDJSON; stac-geoparquet or other Parquet with an
            `href` column. Or a table: Arrow, a DuckDB relation, a data frame. Or STAC items as dictionaries or pystac
            objects. Or a `stac_search`. Or an index definition: a `.sql` file with one SELECT.
        path: path of the index; an older index is replaced once the new one is complete.
        href_map: mirrors for reading: prefix of an href -> prefix of its mirror; the longest prefix counts. The index
            keeps both hrefs.
        pattern: fields at the end of a path, for example `"{item_id}/{asset}.tif"`. Fields are item_id, asset,
            collection, datetime, date and, as `{date:%Y%m%d}`, times in a format; any other name becomes a column. A
            file that does not match is a failure. Several patterns each read the whole path, for an id that holds a
            date: `["{item_id}.tif", "{tile}_{date:%Y%m%d}_v1.tif"]`. Without a pattern `item_id` is the file name, led
            by as many folders as make it unique, and `asset` is "data".
        collection: collection of the items that name none.
        assets: keys of the wanted assets; all TIFF assets by default.
        alternate: name of the alternate location of STAC assets that is read, such as "s3", or several, best first: a
            key of `alternate`, or an `alternate:name`. The index keeps it as `mirror`, beside the published `href`;
            `href_map` is applied to it. An asset without such a location is read from `href`; if no asset has one, the
            build fails with the names that exist.
        period_time: the `datetime` that items get which have a period alone, such as annual products: its "start",
            "middle" or "end". By default `datetime` stays NULL, and reads take the start.
        scales, offsets, nodata: values of bands that the index gets, instead of those of the files and of STAC: a
            number for all bands, or numbers by asset ("B04") or band ("visual:red"), with "*" for all others. A
            physical value is the stored value times the scale, plus the offset. Files with a mask or an alpha band
            refuse `nodata`.
        variables: values for `getvariable('name')` in an index definition.
        partition_by: columns by which the index is split; `path` is then a folder: `["collection", "year"]` writes
            `collection=.../year=.../part-0.parquet`. `year`, `month` and `day` are those of `datetime` unless a column
            has that name. The folder appears as a whole, in the place of an older one.
        on_duplicate: the rule for different files that share collection, item_id and asset, such as versions of a
            reprocessed item. "error", the default, ends the build. "latest" takes the version whose `updated` or else
            `created` is latest, and of equal ones the one found last; the report counts the files of the others.
            "keep" takes all: a read puts them together as files of one item, so choose with WHERE. An index definition
            has the line `-- on_duplicate: latest` in its header instead.
        progress: True for a progress bar, or a callable that takes (files done, files in all); for an index
            definition, files in all are the files that its SELECT has named so far.

    Returns:
        The rows that were built, and the files that failed.

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
        given = {"period_time": period_time, "scales": scales, "offsets": offsets, "nodata": nodata}
        for name, value in given.items():
            if value is not None:
                raise InvalidArgumentError(
                    f"{os.fspath(source)}: got {name}={shown(value)} with an index definition, expected none; give "
                    "it to read_headers in its SELECT"
                )
        if on_duplicate is not None:
            raise InvalidArgumentError(
                f"{os.fspath(source)}: got on_duplicate={shown(on_duplicate)} with an index definition, expected none; "
                f"write '-- on_duplicate: {on_duplicate}' into its header"
            )
        from rasteret_sql.sql.definitions import build_definition

        return build_definition(source, path, variables=variables, partition_by=partition_by, progress=progress)
    if variables is not None:
        raise InvalidArgumentError("variables: they are for index definitions, which are .sql files; leave them out")
    from rasteret_sql.index.build import build, build_request, source_options
    from rasteret_sql.index.given_bands import GivenBands

    options = source_options(
        href_map=href_map,
        pattern=pattern,
        collection=collection,
        assets=assets,
        alternate=alternate,
        period_time=period_time,
        given=GivenBands.of(scales, offsets, nodata),
    )
    request = build_request(source, path, options, partition_by=partition_by, on_duplicate=on_duplicate)
    return build(request, progress)


def _is_definition(source: Any) -> bool:
    return (
        isinstance(source, (str, os.PathLike))
        and os.fspath(source).lower().endswith(".sql")
        and not is_url(str(source))
    )


def refresh(
    index: str | os.PathLike[str],
    *,
    variables: Mapping[str, Any] | None = None,
    progress: Progress | bool = False,
    trust: bool = False,
) -> RefreshReport:
    """Update an index from its recorded source: add new files, read changed files again, remove missing files.

    The metadata of the index record its source: paths and options, a search, or the SQL of a definition. The files of
    the source are listed again. One request of one byte compares a file with the index; its header is read only if
    ETag, size or time of change differ. The SELECT of a definition may change the values of headers, so all of its
    headers are read again. The new index takes the place of the old one once it is complete.

    Args:
        index: a local index: a file, or the folder of a partitioned one.
        variables: new values for variables of an index definition, by name.
        progress: as for `build_index`.
        trust: whether the SELECT in the metadata of an index that a definition made may run. It may read any file and
            URL, and the author of the index wrote it.

    Returns:
        The report of the build, and how many files are new, changed, kept and gone.

    Raises:
        AssetNotFoundError: there is no such index.
        InvalidIndexError: it is no index, or its metadata do not say how it was built.
        InvalidArgumentError: a variable is missing, or is given to an index that was not built of SQL; or the index
            holds SQL, and `trust` is not given: the message shows the SQL.
        BuildError: nothing was found or could be read, or a check failed; the index stays as it was.

    Example:
        >>> import rasteret_sql as rs
        >>> rs.refresh("s2.parquet").new  # doctest: +SKIP
        12
    """
    from rasteret_sql.index.refresh import compared, files_before, read_recipe

    path = checked_path("index", index)
    if variables is not None and not isinstance(variables, Mapping):
        raise InvalidArgumentError(f"variables: got {shown(variables)}, expected a mapping of names to values")
    check_flag("trust", trust)
    recipe = read_recipe(path)
    recipe.require_trust(trust=trust)
    with files_before(path) as before:
        if recipe.sql is not None:
            from rasteret_sql.sql.definitions import build_from_text

            report = build_from_text(
                recipe.sql,
                path,
                what=recipe.described,
                variables=recipe.with_variables(variables),
                partition_by=recipe.partition_by,
                progress=progress,
            )
        else:
            from rasteret_sql.index.build import build

            report = build(recipe.request(variables), progress, previous=path)
        return compared(before, report)
