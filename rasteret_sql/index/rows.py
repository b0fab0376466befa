"""Headers of files, with what their source says of them, made rows of an index."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.schema import index_schema
from rasteret_sql.errors import CorruptTiffError, RasteretError
from rasteret_sql.index.given_bands import GivenBands
from rasteret_sql.index.header_columns import (
    MAX_OFFSET,
    bounds_of,
    contradicts,
    header_footprint,
    joint_bounds,
    levels_to_arrow,
    merge_bands,
    possible_nodata,
)
from rasteret_sql.index.headers import FileHeader, UnreadFile, read_headers
from rasteret_sql.index.report import Failure
from rasteret_sql.index.stac.items import with_advice
from rasteret_sql.index.staging import HeaderFiles
from rasteret_sql.io.stores import redact
from rasteret_sql.tiff.names import compression_name, photometric_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from rasteret_sql.index.headers import KnownHeaders
    from rasteret_sql.tiff.model import Band, Header, Level

#: Files whose headers are read, and whose rows are staged, together.
FILES_PER_BATCH = 256

_ASSETS = """
    SELECT a.asset_no, i.item_id, a.asset, a.read_href, i.geometry, a.band_lists, a.proj
    FROM unread_assets AS a
    JOIN items AS i USING (item_no)
    ORDER BY a.asset_no
"""


@dataclass(frozen=True, slots=True)
class UnreadAsset:
    """A file to read, as its source describes it.

    Attributes:
        asset_no: its number in the build.
        item_id, asset: its item and asset key.
        read_href: path or URL of its bytes.
        geometry: footprint of the item as WKB in OGC:CRS84, or None.
        band_lists: `AssetRef.band_lists` as JSON, or None.
        proj: `AssetRef.proj` as JSON, or None.
        given: values of bands in place of those of headers and of the source.
    """

    asset_no: int
    item_id: str | None
    asset: str
    read_href: str
    geometry: bytes | None
    band_lists: str | None
    proj: str | None
    given: GivenBands = field(default_factory=GivenBands, kw_only=True)

    def failure(self, file: UnreadFile) -> Failure:
        """Describe the failure of this file, for a report."""
        href = redact(self.read_href) if self.read_href else None
        return Failure(href, self.item_id, self.asset, file.error, file.message)


@dataclass(slots=True)
class HeaderCounts:
    """Counts of the headers of a build.

    Attributes:
        rows: files that were read.
        requests: range requests that reading took.
        proj_mismatches: assets whose STAC `proj:` fields contradict the header.
        size_mismatches: assets whose `file:size` is not the size of the file.
        noted: files of which something was left out.
        failures: files that were not read.
        asset_keys: assets of these files.
        given: values of bands that were given for them.
    """

    rows: int = 0
    requests: int = 0
    proj_mismatches: int = 0
    size_mismatches: int = 0
    noted: int = 0
    failures: list[Failure] = field(default_factory=list)
    asset_keys: set[str] = field(default_factory=set)
    given: GivenBands = field(default_factory=GivenBands)

    def add(self, asset: UnreadAsset, file: FileHeader) -> None:
        """Count a file that became a row, and compare it with the `proj:` fields and `file:size` of STAC."""
        proj = json.loads(asset.proj or "{}")
        self.rows += 1
        self.asset_keys.add(asset.asset)
        self.given = asset.given or self.given
        self.requests += file.requests
        self.noted += bool(file.header.notes)
        self.proj_mismatches += contradicts(file.header, proj)
        self.size_mismatches += file.file_size is not None and proj.get("file_size", file.file_size) != file.file_size


def header_schema() -> pa.Schema:
    """Columns of staged headers: `asset_no`, and all columns of an index that come from a header."""
    import pyarrow as pa

    of_headers = [
        column
        for column in index_schema()
        if column.name not in {"collection", "item_id", "asset", "href", "mirror", "reach"}
        and not column.name.endswith("datetime")
    ]
    return pa.schema([pa.field("asset_no", pa.int64()), *of_headers])


def stage_headers(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    progress: Callable[[int], None],
    given: GivenBands,
    known: KnownHeaders | None = None,
) -> HeaderCounts:
    """Read the headers of all staged assets and stage their rows.

    Args:
        con: connection of the build, with the views `unread_assets` and `items`.
        folder: folder of the staged rows.
        progress: called with the number of files of each batch that is done.
        given: values of bands in place of those of headers and of the source.
        known: headers that need no reading.
    """
    counts = HeaderCounts()
    waiting: deque[list[UnreadAsset]] = deque()

    def batches() -> Iterator[list[str]]:
        with con.cursor() as cursor:
            cursor.execute(_ASSETS)
            while rows := cursor.fetchmany(FILES_PER_BATCH):
                waiting.append([UnreadAsset(*row, given=given) for row in rows])
                yield [asset.read_href for asset in waiting[-1]]

    file = HeaderFiles(folder, header_schema())
    for outcomes in read_headers(batches(), known):
        assets = waiting.popleft()
        rows, unread = make_rows(assets, outcomes, counts)
        counts.failures += [asset.failure(unread[asset.asset_no]) for asset in assets if asset.asset_no in unread]
        file.write(rows)
        progress(len(assets))
    file.write([])
    return counts


def make_rows(
    assets: Sequence[UnreadAsset], outcomes: Sequence[FileHeader | UnreadFile], counts: HeaderCounts | None
) -> tuple[list[pa.RecordBatch], dict[int, UnreadFile]]:
    """Make rows of headers.

    Args:
        assets: the files.
        outcomes: the header of each, or why it was not read.
        counts: receives the files that became rows, or None.

    Returns:
        Batches of `header_schema()`, in order; and by `asset_no` the files without a row. A header that cannot become
        a row costs its own row only.
    """
    unread: dict[int, UnreadFile] = {}
    read: list[tuple[UnreadAsset, FileHeader]] = []
    for asset, outcome in zip(assets, outcomes, strict=True):
        if not isinstance(outcome, UnreadFile):
            read.append((asset, outcome))
        else:
            message = with_advice(outcome.error, outcome.message, asset.read_href, asset.proj)
            unread[asset.asset_no] = UnreadFile(outcome.error, message)
    batches = []
    for part, batch in _batches(read, header_schema()):
        if isinstance(batch, UnreadFile):
            ((asset, _),) = part
            unread[asset.asset_no] = batch
            continue
        batches.append(batch)
        if counts is not None:
            for asset, file in part:
                counts.add(asset, file)
    return batches, unread


def _batches(
    read: Sequence[tuple[UnreadAsset, FileHeader]], schema: pa.Schema
) -> Iterator[tuple[Sequence[tuple[UnreadAsset, FileHeader]], pa.RecordBatch | UnreadFile]]:
    """Make one batch of all files; after an error, halve them until the file with the fault is alone."""
    if not read:
        return
    try:
        batch = _to_batch(read, schema)
    except Exception as error:  # noqa: BLE001 - one file never ends a build of thousands
        if len(read) > 1:
            middle = len(read) // 2
            yield from _batches(read[:middle], schema)
            yield from _batches(read[middle:], schema)
            return
        message = str(error)
        if not isinstance(error, RasteretError):
            message = f"{redact(read[0][0].read_href)}: its header does not fit the index ({message}); leave it out."
        yield read, UnreadFile(type(error).__name__, message)
        return
    yield read, batch


def _to_batch(read: Sequence[tuple[UnreadAsset, FileHeader]], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    now = datetime.now(UTC)
    _require_small_numbers(read)
    rows = [_to_row(asset, file, now) for asset, file in read]
    formats, levels = levels_to_arrow([file.header.levels for _, file in read])
    nested = {"formats": formats, "levels": levels}
    arrays = [
        nested[column.name] if column.name in nested else pa.array([row[column.name] for row in rows], column.type)
        for column in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _to_row(asset: UnreadAsset, file: FileHeader, now: datetime) -> dict[str, Any]:
    header = file.header
    require_consistent(header, asset.read_href)
    level = header.levels[0]
    outline = header_footprint(header)
    item_bounds = bounds_of(asset.geometry)
    bands, notes = _bands(header.bands, asset.band_lists, asset.asset, level.format.dtype)
    if asset.given:
        bands = asset.given.applied(bands, asset.asset, header)
    modified = file.last_modified
    return {
        "asset_no": asset.asset_no,
        "geometry": asset.geometry if item_bounds is not None else outline,
        # Reads are pruned by the bbox, and the footprint of an item may be smaller than its pixels.
        "bbox": joint_bounds(item_bounds, _outline_bounds(outline)),
        "bands": bands,
        "dtype": level.format.dtype,
        "crs": header.crs,
        "transform": header.transform,
        "width": level.width,
        "height": level.height,
        "samples_per_pixel": level.format.samples_per_pixel,
        "planar": level.format.planar,
        "compression": compression_name(level.format.compression),
        "predictor": level.format.predictor,
        "photometric": photometric_name(level.format.photometric),
        "byte_order": header.byte_order,
        "bigtiff": header.bigtiff,
        "cog_layout": list(header.cog_layout) or None,
        "notes": [*header.notes, *notes] or None,
        "file_size": file.file_size,
        "etag": file.etag,
        "last_modified": datetime.fromtimestamp(modified, UTC) if modified is not None else None,
        "indexed_at": now,
    }


# Many files of a collection share outline and bands. The results are read only.
_outline_bounds = lru_cache(maxsize=4096)(bounds_of)


@lru_cache(maxsize=1024)
def _bands(
    bands: tuple[Band, ...], band_lists: str | None, asset: str, dtype: str
) -> tuple[list[dict[str, Any]], list[str]]:
    lists, notes = possible_nodata(json.loads(band_lists or "[]"), dtype)
    # A value that the header overrules is no loss.
    is_missed = any(band.nodata is None and not band.is_alpha for band in bands)
    return merge_bands(bands, lists, asset), notes if is_missed else []


def _require_small_numbers(read: Sequence[tuple[UnreadAsset, FileHeader]]) -> None:
    """Refuse tiles whose offset or length the index cannot hold. All files are checked at once: none ever fails."""
    import numpy as np

    parts = [(asset, part) for asset, file in read for level in file.header.levels for part in _parts(level)]
    numbers = [array for _, part in parts for array in (part.tile_offsets, part.tile_byte_counts)]
    if np.concatenate(numbers).max(initial=0) < MAX_OFFSET:
        return
    for asset, part in parts:
        offset, nbytes = part.tile_offsets.max(initial=0), part.tile_byte_counts.max(initial=0)
        if max(offset, nbytes) >= MAX_OFFSET:
            raise CorruptTiffError(
                f"{redact(asset.read_href)}: a level of {part.width} x {part.height} pixels has tiles at byte "
                f"{offset} and of {nbytes} bytes; expected less than {MAX_OFFSET}. Write the file anew."
            )


def _parts(level: Level) -> tuple[Level, ...]:
    return (level,) if level.mask is None else (level, level.mask)


def require_consistent(header: Header, href: str) -> None:
    """Refuse a header that would fail the checks of the index: here it costs one row, there the build."""
    first = header.levels[0]
    for number, level in enumerate(header.levels):
        planes = level.format.samples_per_pixel if level.format.planar else 1
        tiles = level.tiles_across * level.tiles_down * planes
        if not tiles == len(level.tile_offsets) == len(level.tile_byte_counts):
            raise CorruptTiffError(
                f"{redact(href)}: level {number} has {len(level.tile_offsets)} tile offsets and "
                f"{len(level.tile_byte_counts)} byte counts; expected {tiles} of each. Write the file anew."
            )
        if level.width > first.width or level.height > first.height:
            raise CorruptTiffError(
                f"{redact(href)}: level {number} has {level.width} x {level.height} pixels; "
                f"expected at most {first.width} x {first.height}, as level 0 has. Write the file anew."
            )
