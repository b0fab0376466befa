"""The function in Python behind `read_headers`: hrefs in, rows of an index out, a vector of 2,048 files at a time.

Modules that reading needs are imported when the function first runs: making a connection stays fast.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from duckdb.func import FunctionNullHandling, PythonUDFType

from rasteret_sql.database.hrefs import absolute, is_url, unsigned
from rasteret_sql.database.schema import column_types, index_schema
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.errors import AssetNotFoundError, BuildError, InvalidArgumentError, RasteretError
from rasteret_sql.geo.crs import in_proj_thread
from rasteret_sql.geo.geometry import wkb_of
from rasteret_sql.sql.workarounds import without_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from rasteret_sql.index.headers import FileHeader, KnownHeaders, UnreadFile
    from rasteret_sql.index.report import FileProgress
    from rasteret_sql.index.rows import HeaderCounts, UnreadAsset

#: Session variable with the token of the build whose SELECT runs.
BUILD_VARIABLE = "rasteret_sql_build"
#: Arguments of the function, all of them texts: `sql/functions/_rst_headers.sql` gives them.
_ARGUMENTS = (
    "href", "mirror", "collection", "item_id", "asset", "geometry", "bands", "band_lists", "proj", "on_error", "given",
    "build",
)  # fmt: skip
_ON_ERROR = ("raise", "skip", "null")
#: Index columns that the macro takes from its source.
_OF_SOURCE = frozenset({"collection", "item_id", "asset", "datetime", "start_datetime", "end_datetime"})
#: Index columns that the function does not give.
_NOT_OF_HEADERS = _OF_SOURCE | {"geometry", "reach"}
#: Columns of the source that are neither properties nor columns of an index.
_CONSUMED = ("band_lists", "proj")


def register(con: duckdb.DuckDBPyConnection, suffix: str, qualifier: str) -> None:
    """Make the function in the database of a connection, and the macro that lists the columns of an index.

    Args:
        con: the connection.
        suffix: end of the function's name.
        qualifier: catalog and schema of the macro.
    """
    columns = column_types(con)
    names = ", ".join(quote_literal(name) for name in [*columns, *_CONSUMED])
    con.execute(f"CREATE OR REPLACE MACRO {qualifier}_rst_index_columns() AS [{names}]")
    con.execute(
        f"COMMENT ON MACRO {qualifier}_rst_index_columns IS "
        f"'Names that are no properties: the columns of an index, and what read_headers uses up. Grain: one value.'"
    )
    fields = ", ".join(
        f"{quote_identifier(name)} {kind}" for name, kind in columns.items() if name not in _NOT_OF_HEADERS
    )
    con.create_function(
        f"_rstpy_read_headers{suffix}",
        _header_rows,
        [duckdb.sqltype(f"STRUCT({', '.join(f'{name} VARCHAR' for name in _ARGUMENTS)})")],
        duckdb.sqltype(f"STRUCT(geometry BLOB, columns STRUCT({fields}))"),
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
        # A condition on its result must not call it twice.
        side_effects=True,
    )


@dataclass(frozen=True, slots=True)
class _Build:
    counts: HeaderCounts
    progress: FileProgress
    known: KnownHeaders | None = None


_builds: dict[str, _Build] = {}


@contextlib.contextmanager
def counted(
    con: duckdb.DuckDBPyConnection, progress: FileProgress, known: KnownHeaders | None = None
) -> Iterator[HeaderCounts]:
    """Count the headers that `read_headers` reads on a connection while the block lasts.

    Unless `on_error` is given, a file that fails is listed in the counts, and its row has no levels.

    Args:
        con: the connection.
        progress: learns of files as they are named and read.
        known: headers that need no reading; learns the others.
    """
    from rasteret_sql.index.rows import HeaderCounts

    token = uuid.uuid4().hex
    counts = HeaderCounts()
    _builds[token] = _Build(counts, progress, known)
    con.execute(f"SET VARIABLE {BUILD_VARIABLE} = '{token}'")
    try:
        yield counts
    finally:
        del _builds[token]
        con.execute(f"RESET VARIABLE {BUILD_VARIABLE}")


@without_paths
def _header_rows(files: Any) -> Any:  # Any: duckdb evaluates annotations, and pyarrow is imported only now
    """Read the headers of one vector of files, concurrently.

    Args:
        files: structs of `_ARGUMENTS`.

    Returns:
        Structs of `geometry` (WKB) and `columns`: the columns of an index that come from headers, and `href` and
        `mirror` as the index keeps them.

    Raises:
        InvalidArgumentError: `on_error` has another value than `_ON_ERROR`, or values of bands are no numbers.
        BuildError: a file cannot be read, and `on_error` is "raise".
    """
    from rasteret_sql.index.headers import UnreadFile, read_headers
    from rasteret_sql.index.report import FileProgress
    from rasteret_sql.index.rows import FILES_PER_BATCH

    rows = files.to_pylist()
    assets: list[UnreadAsset] = []
    outcomes: dict[int, FileHeader | UnreadFile] = {}
    for number, row in enumerate(rows):
        if row["on_error"] is not None and row["on_error"] not in _ON_ERROR:
            raise InvalidArgumentError(f"on_error: got {row['on_error']!r}, expected 'raise', 'skip' or 'null'")
        assets.append(_asset(number, row))
        try:
            _require_usable(row)
        except RasteretError as error:
            outcomes[number] = UnreadFile(type(error).__name__, str(error))
    waiting = [number for number in range(len(rows)) if number not in outcomes]
    build = _builds.get(rows[0]["build"]) if rows else None
    progress = build.progress if build is not None else FileProgress()
    progress.expect(len(rows))
    progress.advance(len(rows) - len(waiting))
    parts = [waiting[start : start + FILES_PER_BATCH] for start in range(0, len(waiting), FILES_PER_BATCH)]
    hrefs = ([assets[number].read_href for number in part] for part in parts)
    found = read_headers(hrefs, build.known if build is not None else _cached(rows, assets))
    for part, outcomes_of_part in zip(parts, found, strict=True):
        for number, outcome in zip(part, outcomes_of_part, strict=True):
            outcomes[number] = _with_folder(outcome, rows[number])
        progress.advance(len(part))
    return _to_structs(rows, assets, [outcomes[number] for number in range(len(rows))], build)


def _cached(rows: Sequence[dict[str, Any]], assets: Sequence[UnreadAsset]) -> KnownHeaders | None:
    """Give the header cache, which files on this machine do not need."""
    if not any(is_url(asset.read_href) for asset in assets):
        return None
    from rasteret_sql.index.header_cache import CachedFiles

    return CachedFiles({asset.read_href: row["collection"] for asset, row in zip(assets, rows, strict=True)})


def _asset(number: int, row: dict[str, Any]) -> UnreadAsset:
    from rasteret_sql.index.given_bands import given_of
    from rasteret_sql.index.rows import UnreadAsset

    named = row["mirror"] or row["href"]
    return UnreadAsset(
        asset_no=number,
        item_id=row["item_id"],
        asset=row["asset"],
        read_href=absolute(named) if named else "",
        geometry=wkb_of(row["geometry"]),
        band_lists=_band_lists(row),
        proj=row["proj"],
        given=given_of(row["given"]),
    )


def _require_usable(row: dict[str, Any]) -> None:
    """Refuse a row whose file cannot be read, or whose bands are not described by structs.

    Raises:
        InvalidArgumentError: it has no href, or `bands` is no list of structs.
    """
    what = f"item {row['item_id']}, asset {row['asset']}"
    if not row["href"]:
        raise InvalidArgumentError(
            f"{what}: got {row['href']!r} as href, expected a path or URL; name the column of paths or URLs href"
        )
    if not _is_bands(row["bands"]):
        raise InvalidArgumentError(
            f"{what}: got {row['bands']} as bands, expected a list of structs such as [{{'name': 'B04'}}]; "
            f"name another column bands, or leave it out"
        )


def _is_bands(text: str | None) -> bool:
    bands = json.loads(text) if text is not None else []
    return isinstance(bands, list) and all(isinstance(band, dict) for band in bands)


def _band_lists(row: dict[str, Any]) -> str | None:
    """Give the descriptions of the bands as staging has them: the column `bands` comes first."""
    lists: str | None = row["band_lists"]
    if row["bands"] is None or not _is_bands(row["bands"]):
        return lists
    described = [
        {name: value for name, value in band.items() if value is not None} for band in json.loads(row["bands"])
    ]
    return json.dumps([described, *json.loads(lists or "[]")])


def _with_folder(outcome: FileHeader | UnreadFile, row: dict[str, Any]) -> FileHeader | UnreadFile:
    """Add to the message on a missing file which folder its relative href was resolved against."""
    from rasteret_sql.index.headers import UnreadFile

    named = row["mirror"] or row["href"]
    if not isinstance(outcome, UnreadFile) or outcome.error != AssetNotFoundError.__name__:
        return outcome
    if os.path.isabs(named) or named.startswith("file://") or is_url(named):  # noqa: PTH117 - hrefs are text
        return outcome
    return UnreadFile(
        outcome.error,
        f"{outcome.message} The href {named!r} is relative to the working directory, {os.getcwd()}; "  # noqa: PTH109 - hrefs are text
        f"give absolute paths or URLs.",
    )


@in_proj_thread
def _to_structs(
    rows: Sequence[dict[str, Any]],
    assets: Sequence[UnreadAsset],
    outcomes: Sequence[FileHeader | UnreadFile],
    build: _Build | None,
) -> pa.Array:
    from rasteret_sql.index.rows import make_rows

    batches, unread = make_rows(assets, outcomes, build.counts if build is not None else None)
    for number in sorted(unread):
        _take_failure(rows[number], assets[number], unread[number], build)
    return _assembled(rows, batches, unread)


def _take_failure(row: dict[str, Any], asset: UnreadAsset, file: UnreadFile, build: _Build | None) -> None:
    """List a failure in the build that reads, or raise it.

    Raises:
        BuildError: failures are to be raised.
    """
    if build is not None and row["on_error"] != "raise":
        build.counts.failures.append(asset.failure(file))
    elif row["on_error"] not in {"skip", "null"}:
        raise BuildError(
            f"item {row['item_id']}, asset {row['asset']}: {file.error}: {file.message} "
            f"To leave such files out give on_error := 'skip', to get rows whose notes say why, on_error := 'null'."
        )


def _assembled(
    rows: Sequence[dict[str, Any]], batches: Sequence[pa.RecordBatch], unread: dict[int, UnreadFile]
) -> pa.Array:
    """Put rows in the order of the vector; the row of an unread file has its hrefs, and the reason as a note."""
    import pyarrow as pa

    from rasteret_sql.index.rows import header_schema

    table = pa.Table.from_batches(batches, header_schema()).combine_chunks()
    if unread:
        position = {number: at for at, number in enumerate(table.column("asset_no").to_pylist())}
        table = table.take(pa.array([position.get(number) for number in range(len(rows))], pa.int64()))
    columns: dict[str, Any] = {name: _one_chunk(table.column(name)) for name in table.column_names}
    for name in ("href", "mirror"):
        stored = [unsigned(absolute(row[name])) if row[name] else None for row in rows]
        columns[name] = pa.array(stored, pa.string())
    if unread:
        notes = columns["notes"].to_pylist()
        for number, file in unread.items():
            notes[number] = [f"{file.error}: {file.message}"]
        columns["notes"] = pa.array(notes, columns["notes"].type)
    names = [name for name in index_schema().names if name not in _NOT_OF_HEADERS]
    inner = pa.StructArray.from_arrays([columns[name] for name in names], names)
    return pa.StructArray.from_arrays([columns["geometry"], inner], ["geometry", "columns"])


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
