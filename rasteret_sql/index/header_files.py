"""Headers that were just read as the files of a plan, without an index and without DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.database.hrefs import absolute, unsigned
from rasteret_sql.index.header_columns import formats_of, runs_of
from rasteret_sql.index.rows import require_consistent
from rasteret_sql.io.options import get_options
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.files import LEVEL_NUMBERS, NO_TIME, NUMBERS, TEXTS, TILE_NUMBERS, Files, Kind
from rasteret_sql.plan.ragged import bounds_of
from rasteret_sql.plan.tile_plan import PlannedBand
from rasteret_sql.tiff.ghost import frames_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_sql.index.headers import FileHeader
    from rasteret_sql.tiff.model import Header, Level


def files_of_headers(read: Sequence[tuple[str, FileHeader]]) -> Files:
    """Give the files of headers, with all bands of each, named by their numbers.

    Args:
        read: the path or URL of each file, and its header.

    Raises:
        CorruptTiffError: a header contradicts itself.
    """
    for href, file in read:
        require_consistent(file.header, href)
    headers = [file.header for _, file in read]
    levels = [level for header in headers for level in header.levels]
    counts = np.array([len(header.levels) for header in headers], np.int64)
    crs = list(dict.fromkeys(header.crs for header in headers))
    texts = {name: [_texts(href, file)[name] for href, file in read] for name in TEXTS}
    numbers = {name: np.array([_numbers(file)[name] for _, file in read]) for name in NUMBERS if name in _KNOWN}
    numbers |= {
        "crs": np.array([crs.index(header.crs) for header in headers], np.int64),
        "kind": np.arange(len(read)),
        "first_level": bounds_of(counts)[:-1],
        "level_count": counts,
    }
    forms = {
        name: np.array([_of_level(level, header)[name] for header in headers for level in header.levels], np.int64)
        for name in LEVEL_NUMBERS
    }
    return Files(texts | numbers | forms | _tiles(levels), [_kind(header) for header in headers], crs)


#: Numbers of files that do not depend on the other files.
_KNOWN = frozenset(NUMBERS) - {"crs", "kind", "first_level", "level_count"}


def _texts(href: str, file: FileHeader) -> dict[str, str | None]:
    shown = redact(unsigned(href))
    return {
        "collection": None,
        "item_id": shown,
        "asset": shown.rpartition("/")[2],
        "href": unsigned(absolute(href)),
        "address": absolute(href),
        "etag": file.etag if get_options().identity == "etag" else None,
    }


def _numbers(file: FileHeader) -> dict[str, float]:
    rule = get_options().identity
    transform = file.header.transform or (np.nan,) * 6
    is_timed = rule == "etag" and file.last_modified is not None
    return {
        "datetime_us": NO_TIME,
        "start_us": NO_TIME,
        "end_us": NO_TIME,
        "x_size": transform[0],
        "x_off": transform[2],
        "y_size": transform[4],
        "y_off": transform[5],
        "file_size": -1 if rule == "none" or file.file_size is None else file.file_size,
        "modified_us": round((file.last_modified or 0) * 1e6) if is_timed else NO_TIME,
    }


def _of_level(level: Level, header: Header) -> dict[str, int]:
    formats = formats_of(header.levels)
    return {
        "level_width": level.width,
        "level_height": level.height,
        "level_format": formats.index(level.format) + 1,
        "level_mask_format": 0 if level.mask is None else formats.index(level.mask.format) + 1,
    }


def _tiles(levels: Sequence[Level]) -> dict[str, Any]:
    """Give where the tiles of levels and of their masks lie; a level without a mask has an empty list."""
    images = runs_of(levels)
    masks = runs_of([level.mask for level in levels if level.mask is not None])
    has_mask = np.array([level.mask is not None for level in levels], bool)
    columns: dict[str, Any] = {}
    for name, lists in zip(
        TILE_NUMBERS,
        (images.tile_byte_counts, images.run_offsets, images.tile_gaps,
         masks.tile_byte_counts, masks.run_offsets, masks.tile_gaps),
        strict=True,
    ):  # fmt: skip
        lengths = lists.lengths
        if name.startswith("mask_"):
            lengths = np.zeros(len(levels), np.int64)
            lengths[has_mask] = lists.lengths
        columns[name], columns[f"{name}_bounds"] = lists.values, bounds_of(lengths)
    return columns


def _kind(header: Header) -> Kind:
    first = header.levels[0].format
    bands = tuple(
        PlannedBand(band.band, str(band.band), position, band.nodata, band.scale, band.offset, band.unit)
        for position, band in enumerate(header.bands)
    )
    # As in GDAL: the last of two or four bands of unsigned 8 or 16 bits.
    is_alpha = first.dtype in {"uint8", "uint16"} and len(bands) in {2, 4} and header.bands[-1].is_alpha
    alpha_band = len(bands) if is_alpha else None
    return Kind(frames_of(list(header.cog_layout) or None), tuple(formats_of(header.levels)), bands, alpha_band)
