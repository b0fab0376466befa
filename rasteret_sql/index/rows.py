"""A header and what the source says of its file, made one row of an index. No I/O."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import CorruptTiffError, RasteretError
from rasteret_sql.index.grid import bounds_of, contradicts, header_footprint, joint_bounds
from rasteret_sql.index.headers import FileHeader, UnreadFile, read_headers
from rasteret_sql.index.levels import MAX_OFFSET, levels_to_arrow
from rasteret_sql.index.report import Failure
from rasteret_sql.index.schema import index_schema
from rasteret_sql.index.stac.locations import with_advice
from rasteret_sql.index.staging import HeaderFiles
from rasteret_sql.io.stores import redact
from rasteret_sql.tiff.names import compression_name, photometric_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from rasteret_sql.tiff.model import Band, Header, Level

    ReadHeader = tuple[dict[str, Any], FileHeader]
    from rasteret_sql.index.found import BandList

#: Files whose headers are read, and rows that are staged, together.
FILES_PER_BATCH = 256

_ASSETS = """
    SELECT a.asset_no, a.asset, a.read_href, a.band_lists, a.proj, i.item_id, i.geometry
    FROM unread_assets AS a
    JOIN items AS i USING (item_no)
    ORDER BY a.asset_no
"""


@dataclass(slots=True)
class HeaderCounts:
    """What header reading came to.

    Attributes:
        rows: files that were read.
        requests: range requests that they took.
        proj_mismatches: assets whose STAC `proj:` fields contradict the header.
        size_mismatches: assets whose `file:size` is not that of the file.
        noted: files of which something was left out.
        failures: files that were not read.
    """

    rows: int = 0
    requests: int = 0
    proj_mismatches: int = 0
    size_mismatches: int = 0
    noted: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, file: FileHeader, proj: Mapping[str, Any]) -> None:
        """Count a file that became a row, and compare it with what STAC's `proj:` fields and `file:size` say of it."""
        self.rows += 1
        self.requests += file.requests
        self.noted += bool(file.header.notes)
        self.proj_mismatches += contradicts(file.header, proj)
        self.size_mismatches += file.file_size is not None and proj.get("file_size", file.file_size) != file.file_size


def header_schema() -> pa.Schema:
    """Columns of the staged headers: `asset_no`, and everything of the index that a header tells."""
    import pyarrow as pa

    of_headers = [
        column
        for column in index_schema()
        if column.name not in {"collection", "item_id", "asset", "href", "mirror", "reach"}
        and not column.name.endswith("datetime")
    ]
    return pa.schema([pa.field("asset_no", pa.int64()), *of_headers])


def stage_headers(con: duckdb.DuckDBPyConnection, folder: Path, progress: Callable[[int], None]) -> HeaderCounts:
    """Read the headers of all staged assets and stage their rows.

    Args:
        con: connection of the build, with the views `unread_assets` and `items`.
        folder: where rows are staged.
        progress: called with the number of files of each batch that is done.
    """
    counts = HeaderCounts()
    schema = header_schema()
    waiting: deque[list[dict[str, Any]]] = deque()

    def batches() -> Iterator[list[str]]:
        with con.cursor() as cursor:
            cursor.execute(_ASSETS)
            names = [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(FILES_PER_BATCH):
                waiting.append([dict(zip(names, row, strict=True)) for row in rows])
                yield [row["read_href"] for row in waiting[-1]]

    file = HeaderFiles(folder, schema)
    for outcomes in read_headers(batches()):
        assets = waiting.popleft()
        read: list[ReadHeader] = []
        for asset, outcome in zip(assets, outcomes, strict=True):
            if isinstance(outcome, FileHeader):
                read.append((asset, outcome))
            else:
                counts.failures.append(_failure(asset, outcome.error, outcome.message))
        _stage(file, read, schema, counts)
        file.flush()
        progress(len(assets))
    file.flush()
    return counts


def _stage(file: HeaderFiles, read: Sequence[ReadHeader], schema: pa.Schema, counts: HeaderCounts) -> None:
    """Write the rows of some files; one that cannot be a row is a failure, and the others are written."""
    for part, batch in header_batches(read, schema):
        if isinstance(batch, UnreadFile):
            ((asset, _),) = part
            counts.failures.append(_failure(asset, batch.error, batch.message))
            continue
        file.write(batch)
        for asset, one in part:
            counts.add(one, json.loads(asset["proj"] or "{}"))


def header_batches(
    read: Sequence[ReadHeader], schema: pa.Schema
) -> Iterator[tuple[Sequence[ReadHeader], pa.RecordBatch | UnreadFile]]:
    """Make rows of headers, in order; a file that cannot be a row comes alone, with the reason.

    Args:
        read: what the source says of each file (`asset_no, asset, read_href, band_lists, geometry`), and its header.
        schema: as `header_schema` gives it.
    """
    if not read:
        return
    try:
        batch = _to_batch(read, schema)
    except Exception as error:  # noqa: BLE001 - one file never ends a build of thousands
        if len(read) > 1:
            middle = len(read) // 2
            yield from header_batches(read[:middle], schema)
            yield from header_batches(read[middle:], schema)
            return
        asset, _ = read[0]
        message = str(error)
        if not isinstance(error, RasteretError):
            message = f"{redact(asset['read_href'])}: its header does not fit the index ({message}); leave it out."
        yield read, UnreadFile(type(error).__name__, message)
        return
    yield read, batch


def _failure(asset: Mapping[str, Any], error: str, message: str) -> Failure:
    message = with_advice(error, message, asset["read_href"], asset["proj"])
    return Failure(redact(asset["read_href"]), asset["item_id"], asset["asset"], error, message)


def _to_batch(read: Sequence[ReadHeader], schema: pa.Schema) -> pa.RecordBatch:
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


def _to_row(asset: Mapping[str, Any], file: FileHeader, now: datetime) -> dict[str, Any]:
    header = file.header
    _require_consistent(header, asset["read_href"])
    level = header.levels[0]
    outline = header_footprint(header)
    said = bounds_of(asset["geometry"])
    # Reads are pruned by the bbox, and a footprint may be drawn tighter than the pixels lie.
    bounds = joint_bounds(said, _outline_bounds(outline))
    modified = file.last_modified
    return {
        "asset_no": asset["asset_no"],
        "geometry": asset["geometry"] if said is not None else outline,
        "bbox": bounds,
        "bands": _bands(header.bands, asset["band_lists"], asset["asset"]),
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
        "notes": list(header.notes) or None,
        "file_size": file.file_size,
        "etag": file.etag,
        "last_modified": datetime.fromtimestamp(modified, UTC) if modified is not None else None,
        "indexed_at": now,
    }


# What these give is the same for many files of a collection, and is read alone.
_outline_bounds = lru_cache(maxsize=4096)(bounds_of)


@lru_cache(maxsize=1024)
def _bands(bands: tuple[Band, ...], band_lists: str | None, asset: str) -> list[dict[str, Any]]:
    return merge_bands(bands, json.loads(band_lists or "[]"), asset)


def _require_small_numbers(read: Sequence[ReadHeader]) -> None:
    """Refuse tiles whose offset or length the index cannot hold; all files at once, since none ever has one."""
    import numpy as np

    parts = [(asset, part) for asset, file in read for level in file.header.levels for part in _parts(level)]
    numbers = [array for _, part in parts for array in (part.tile_offsets, part.tile_byte_counts)]
    if np.concatenate(numbers).max(initial=0) < MAX_OFFSET:
        return
    for asset, part in parts:
        offset, nbytes = part.tile_offsets.max(initial=0), part.tile_byte_counts.max(initial=0)
        if max(offset, nbytes) >= MAX_OFFSET:
            raise CorruptTiffError(
                f"{redact(asset['read_href'])}: a level of {part.width} x {part.height} pixels has tiles at byte "
                f"{offset} and of {nbytes} bytes; expected less than {MAX_OFFSET}. Write the file anew."
            )


def _parts(level: Level) -> tuple[Level, ...]:
    return (level,) if level.mask is None else (level, level.mask)


def _require_consistent(header: Header, href: str) -> None:
    """Refuse a header that the checks of the index would refuse: it costs one row, not the build."""
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


_TEXTS = ("name", "common_name", "description", "unit")
_NUMBERS = ("nodata", "scale", "offset")


def merge_bands(bands: Sequence[Band], band_lists: Sequence[BandList], asset: str) -> list[dict[str, Any]]:
    """Describe the bands of a file.

    nodata, scale, offset and unit are those of the TIFF header, and of the source where the header has none.
    The name is that of the source, else the description in the TIFF, else the asset key where there is one
    band, else the number of the band.

    Args:
        bands: as the header describes them.
        band_lists: as the source describes them. A list is used only where it fits: one entry per band,
            not counting alpha bands that it may leave out.
        asset: key of the asset.

    Returns:
        One entry per band, with the fields of `bands` in the index.
    """
    fitting = [described for described in (_fitted(bands, one) for one in band_lists) if described]
    return [_merged(band, [described[at] for described in fitting], asset, len(bands)) for at, band in enumerate(bands)]


def _fitted(bands: Sequence[Band], described: BandList) -> list[Mapping[str, Any]]:
    nothing: Mapping[str, Any] = {}
    if len(described) == 1 and described[0].get("every"):
        return [nothing if band.is_alpha else described[0] for band in bands]
    if len(described) == len(bands):
        return list(described)
    if len(described) == sum(not band.is_alpha for band in bands):
        entries = iter(described)
        return [nothing if band.is_alpha else next(entries) for band in bands]
    return []


def _merged(band: Band, described: Sequence[Mapping[str, Any]], asset: str, band_count: int) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for entry in described:
        for name in _TEXTS:
            if isinstance(entry.get(name), str) and entry[name]:
                said.setdefault(name, entry[name])
        for name in _NUMBERS:
            number = _number(entry.get(name))
            if number is not None:
                said.setdefault(name, number)
    own_name = band.description or (asset if band_count == 1 else str(band.band))
    return {
        "name": said.get("name") or own_name,
        "band": band.band,
        "common_name": said.get("common_name"),
        "description": band.description or said.get("description"),
        "nodata": _first(_number(band.nodata), said.get("nodata")),
        "scale": _first(band.scale, said.get("scale")),
        "offset": _first(band.offset, said.get("offset")),
        "unit": band.unit or said.get("unit"),
        "is_alpha": band.is_alpha,
    }


def _first(header: float | None, source: float | None) -> float | None:
    return source if header is None else header


def _number(value: object) -> float | None:
    """A number, also one that STAC writes as text: "nan", "inf", "-inf"."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
