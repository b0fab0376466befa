"""The function behind `read_headers`: hrefs in, rows of an index out, a vector of 2,048 files at a time."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_sql.errors import AssetNotFoundError, BuildError, InvalidArgumentError, RasteretError
from rasteret_sql.geo.crs import in_proj_thread
from rasteret_sql.index.headers import FileHeader, UnreadFile, read_headers
from rasteret_sql.index.hrefs import absolute, is_url, unsigned
from rasteret_sql.index.report import Failure, FileProgress
from rasteret_sql.index.rows import FILES_PER_BATCH, HeaderCounts, header_batches, header_schema
from rasteret_sql.index.schema import index_schema
from rasteret_sql.index.stac.locations import with_advice
from rasteret_sql.io.stores import redact
from rasteret_sql.sql.functions import parse_geometry
from rasteret_sql.sql.headers import NOT_OF_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from rasteret_sql.index.rows import ReadHeader

#: Session variable by which a build is told what was read in it.
BUILD_VARIABLE = "rasteret_sql_build"


@dataclass(frozen=True, slots=True)
class _Build:
    counts: HeaderCounts
    progress: FileProgress


_builds: dict[str, _Build] = {}


@contextlib.contextmanager
def counted(con: duckdb.DuckDBPyConnection, progress: FileProgress) -> Iterator[HeaderCounts]:
    """Count what `read_headers` reads on a connection while the block lasts.

    Files that fail are listed there, and give rows without levels, where `on_error` is not given.

    Args:
        con: the connection.
        progress: is told of files as they are named and read.
    """
    token = uuid.uuid4().hex
    counts = HeaderCounts()
    _builds[token] = _Build(counts, progress)
    con.execute(f"SET VARIABLE {BUILD_VARIABLE} = '{token}'")
    try:
        yield counts
    finally:
        del _builds[token]
        con.execute(f"RESET VARIABLE {BUILD_VARIABLE}")


def header_rows(files: pa.StructArray) -> pa.StructArray:
    """Read the headers of one vector of files, concurrently.

    Args:
        files: what `sql/functions/_rst_headers.sql` gives of each.

    Returns:
        Structs of `geometry` (WKB) and `columns`: the columns of an index that headers tell, with `href` and
        `mirror` as the index keeps them.

    Raises:
        InvalidArgumentError: `on_error` is nothing known.
        BuildError: a file cannot be read, and `on_error` is "raise".
    """
    rows = files.to_pylist()
    assets: list[dict[str, Any]] = []
    outcomes: list[FileHeader | UnreadFile | None] = []
    for number, row in enumerate(rows):
        _require_known(row["on_error"])
        try:
            assets.append({"asset_no": number, **_asset(row)})
            outcomes.append(None)
        except RasteretError as error:
            assets.append({"asset_no": number, "href": row["href"], "mirror": None, "read_href": row["href"]})
            outcomes.append(UnreadFile(type(error).__name__, str(error)))
    waiting = [number for number, outcome in enumerate(outcomes) if outcome is None]
    build = _builds.get(rows[0]["build"]) if rows else None
    progress = build.progress if build is not None else FileProgress()
    progress.expect(len(rows))
    progress.advance(len(rows) - len(waiting))
    parts = [waiting[start : start + FILES_PER_BATCH] for start in range(0, len(waiting), FILES_PER_BATCH)]
    found = read_headers([assets[number]["read_href"] for number in part] for part in parts)
    for part, outcomes_of_part in zip(parts, found, strict=True):
        for number, outcome in zip(part, outcomes_of_part, strict=True):
            outcomes[number] = _with_folder(outcome, rows[number])
        progress.advance(len(part))
    return _to_structs(rows, assets, outcomes)


def _require_known(on_error: str | None) -> None:
    if on_error not in {None, "raise", "skip", "null"}:
        raise InvalidArgumentError(f"on_error: got {on_error!r}, expected 'raise', 'skip' or 'null'")


def _asset(row: dict[str, Any]) -> dict[str, Any]:
    """What rows of an index need to know of a file."""
    href = row["href"]
    if not href:
        raise InvalidArgumentError(
            f"item {row['item_id']}, asset {row['asset']}: got {href!r} as href, expected a path or URL; "
            f"name the column of paths or URLs href"
        )
    href = absolute(href)
    mirror = absolute(row["mirror"]) if row["mirror"] else None
    return {
        "href": unsigned(href),
        "mirror": unsigned(mirror) if mirror is not None else None,
        "read_href": mirror or href,
        "item_id": row["item_id"],
        "asset": row["asset"],
        "band_lists": _band_lists(row),
    }


def _with_folder(outcome: FileHeader | UnreadFile, row: dict[str, Any]) -> FileHeader | UnreadFile:
    """Where no file is at a relative href, say what it was resolved against: rows do not tell what they stand in."""
    named = row["mirror"] or row["href"]
    if isinstance(outcome, FileHeader) or outcome.error != AssetNotFoundError.__name__:
        return outcome
    if os.path.isabs(named) or named.startswith("file://") or is_url(named):  # noqa: PTH117 - hrefs are text
        return outcome
    return UnreadFile(
        outcome.error,
        f"{outcome.message} The href {named!r} is relative to the working directory, {os.getcwd()}; "  # noqa: PTH109 - hrefs are text
        f"give absolute paths or URLs.",
    )


def _band_lists(row: dict[str, Any]) -> str | None:
    """Descriptions of the bands as the staging has them: those of the column `bands` come first."""
    if row["bands"] is None:
        lists: str | None = row["band_lists"]
        return lists
    bands = json.loads(row["bands"])
    if not isinstance(bands, list) or not all(isinstance(band, dict) for band in bands):
        raise InvalidArgumentError(
            f"item {row['item_id']}, asset {row['asset']}: got {row['bands']} as bands, expected a list of structs "
            f"such as [{{'name': 'B04'}}]; name another column bands, or leave it out"
        )
    described = [{name: value for name, value in band.items() if value is not None} for band in bands]
    return json.dumps([described, *json.loads(row["band_lists"] or "[]")])


@in_proj_thread
def _to_structs(
    rows: Sequence[dict[str, Any]],
    assets: Sequence[dict[str, Any]],
    outcomes: Sequence[FileHeader | UnreadFile | None],
) -> pa.Array:
    read: list[ReadHeader] = []
    unread: dict[int, UnreadFile] = {}
    for asset, outcome, row in zip(assets, outcomes, rows, strict=True):
        if isinstance(outcome, FileHeader):
            asset["geometry"] = _wkb(row["geometry"])
            read.append((asset, outcome))
        elif outcome is not None:
            message = with_advice(outcome.error, outcome.message, asset["read_href"], row["proj"])
            unread[asset["asset_no"]] = UnreadFile(outcome.error, message)
    batches = []
    for part, batch in header_batches(read, header_schema()):
        if isinstance(batch, UnreadFile):
            unread[part[0][0]["asset_no"]] = batch
            continue
        batches.append(batch)
        for asset, file in part:
            build = _builds.get(rows[asset["asset_no"]]["build"])
            if build is not None:
                build.counts.add(file, json.loads(rows[asset["asset_no"]]["proj"] or "{}"))
    for number, outcome in unread.items():
        _take_failure(rows[number], assets[number], outcome)
    return _assembled(assets, batches, unread)


def _take_failure(row: dict[str, Any], asset: dict[str, Any], outcome: UnreadFile) -> None:
    """List a failure in the build that reads, or raise it.

    Raises:
        BuildError: nothing says that failures are no reason to stop.
    """
    build = _builds.get(row["build"])
    if build is not None and row["on_error"] != "raise":
        href = redact(asset["read_href"]) if asset["read_href"] else None
        build.counts.failures.append(Failure(href, row["item_id"], row["asset"], outcome.error, outcome.message))
    elif row["on_error"] not in {"skip", "null"}:
        raise BuildError(
            f"item {row['item_id']}, asset {row['asset']}: {outcome.error}: {outcome.message} "
            f"To leave such files out give on_error := 'skip', to get rows whose notes say why, on_error := 'null'."
        )


def _assembled(
    assets: Sequence[dict[str, Any]], batches: Sequence[pa.RecordBatch], unread: dict[int, UnreadFile]
) -> pa.Array:
    """Put rows in the order of the vector; a file that was not read has its hrefs, and its notes say why."""
    table = pa.Table.from_batches(batches, header_schema()).combine_chunks()
    if unread:
        position = {number: at for at, number in enumerate(table.column("asset_no").to_pylist())}
        table = table.take(pa.array([position.get(number) for number in range(len(assets))], pa.int64()))
    columns: dict[str, Any] = {name: _one_chunk(table.column(name)) for name in table.column_names}
    text = pa.string()
    columns["href"] = pa.array([_stored(asset["href"]) for asset in assets], text)
    columns["mirror"] = pa.array([asset["mirror"] for asset in assets], text)
    if unread:
        notes = columns["notes"].to_pylist()
        for number, outcome in unread.items():
            notes[number] = [f"{outcome.error}: {outcome.message}"]
        columns["notes"] = pa.array(notes, columns["notes"].type)
    names = [name for name in index_schema().names if name not in NOT_OF_HEADERS]
    inner = pa.StructArray.from_arrays([columns[name] for name in names], names)
    return pa.StructArray.from_arrays([columns["geometry"], inner], ["geometry", "columns"])


def _stored(href: str | None) -> str | None:
    return unsigned(href) if href else None


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _wkb(text: str | None) -> bytes | None:
    """A geometry of the source as WKB; None where there is none, or none that can be read."""
    if text is None:
        return None
    import shapely

    try:
        shape = parse_geometry(text)
    except InvalidArgumentError:
        return None
    data: bytes = shapely.to_wkb(shape, output_dimension=2, include_srid=False)
    return data
