"""TIFF bytes to `Header`: the levels and masks among the images of a file, and their shared properties."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rasteret_sql.errors import CorruptTiffError, TiffError
from rasteret_sql.tiff import tags
from rasteret_sql.tiff.buffer import NeedBytes, merge_ranges
from rasteret_sql.tiff.color import is_cmyk
from rasteret_sql.tiff.crs import crs_of, vertical_unit
from rasteret_sql.tiff.gdal_metadata import (
    BandFacts,
    Metadata,
    parse_metadata,
    parse_nodata,
)
from rasteret_sql.tiff.geo import has_control_points, parse_geo_keys, parse_transform
from rasteret_sql.tiff.ghost import parse_ghost_area
from rasteret_sql.tiff.ifd import MAX_TILES, TILE_ARRAYS, walk
from rasteret_sql.tiff.image import parse_level
from rasteret_sql.tiff.model import Band, Header, Level

if TYPE_CHECKING:
    from rasteret_sql.tiff.buffer import SparseBytes
    from rasteret_sql.tiff.ifd import Directory

_ALPHA: Final = frozenset((1, 2, 999))
"""ExtraSamples codes of associated and unassociated alpha, and Corel's."""

MAX_LEVELS: Final = 128
"""Most overviews and masks that are read; 31 halvings take the largest image to one pixel."""


def parse_header(buffer: SparseBytes, *, href: str = "<bytes>") -> Header:
    """Parse everything that is needed to plan and decode reads of one TIFF.

    Args:
        buffer: the parts of the file fetched so far. 32 KiB from its beginning are enough for most COGs.
        href: path or URL, for messages; its query string is left out of them.

    Raises:
        NeedBytes: parts are missing; it names all that are known to be needed. Fetch them, add them to the
            buffer and call again.
        NotTiffError: the bytes are not a TIFF.
        CorruptTiffError: the file contradicts itself or its size.
        UnsupportedTiffError: a valid feature that is not read, for example bands that differ in type.

    Example:
        >>> data = Path("image.tif").read_bytes()  # doctest: +SKIP
        >>> parse_header(SparseBytes((0, data), file_size=len(data))).levels[0].width  # doctest: +SKIP
        10980
    """
    name = identity(href)
    chain = walk(buffer, name)
    main = chain.directories[0]
    overviews, masks, notes = _classify(chain.directories)
    missing = list(chain.missing)
    missing += main.missing(tags.READ_TAGS)
    for directory in (*overviews, *masks):
        # What cannot be read costs this image alone; `_assemble` meets it again.
        with suppress(CorruptTiffError):
            missing += directory.missing(tags.LAYOUT_TAGS)
    if missing:
        raise NeedBytes(merge_ranges(missing))
    notes += chain.notes
    levels = _assemble(main, overviews, masks, notes)
    keys = parse_geo_keys(main)
    transform, transform_note = parse_transform(main, keys)
    crs, crs_note = crs_of(keys)
    if transform is None and has_control_points(main) and crs is not None:
        # It is that of the points, not of pixels.
        transform_note, crs = f"{transform_note} (in {crs.splitlines()[0][:60]})", None
    metadata = parse_metadata(main.text(tags.GDAL_METADATA), main.where)
    bands, band_note = _bands(main, levels[0], metadata, vertical_unit(keys))
    notes += [note for note in (transform_note, crs_note, metadata.note, band_note) if note]
    return Header(
        byte_order=chain.container.byte_order,
        bigtiff=chain.container.bigtiff,
        levels=levels,
        bands=bands,
        crs=crs,
        transform=transform,
        metadata=tuple(metadata.items),
        cog_layout=parse_ghost_area(buffer, chain.container),
        notes=tuple(note.replace(f"{name}: ", "") for note in notes),
    )


def identity(href: str) -> str:
    """A path or URL as messages may show it: without query string, fragment and credentials."""
    if "://" not in href:
        return href
    scheme, _, rest = href.partition("://")
    rest = rest.split("?", 1)[0].split("#", 1)[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _subfile_type(directory: Directory) -> int:
    """NewSubfileType, or its value derived from the old SubfileType."""
    if tags.NEW_SUBFILE_TYPE in directory:
        return directory.integer(tags.NEW_SUBFILE_TYPE, 0)
    old = directory.integer(tags.SUBFILE_TYPE, 0)
    return {2: tags.REDUCED_IMAGE, 3: tags.PAGE}.get(old, 0)


def _classify(directories: list[Directory]) -> tuple[list[Directory], list[Directory], list[str]]:
    """Overviews and masks among the IFDs after the first, and notes on the others."""
    overviews: list[Directory] = []
    masks: list[Directory] = []
    notes: list[str] = []
    others = left_out = tiles = 0
    for directory in directories[1:]:
        try:
            kind = _subfile_type(directory)
        except CorruptTiffError as error:
            notes.append(f"left out: {error}")
            continue
        if kind & (tags.MASK | tags.REDUCED_IMAGE):
            # Images may share the bytes of their arrays, so that the size of a file bounds nothing.
            tiles += max(map(directory.length, TILE_ARRAYS))
            if len(overviews) + len(masks) == MAX_LEVELS or tiles > MAX_TILES:
                left_out += 1
                continue
        if kind & tags.MASK:
            masks.append(directory)
        elif kind & tags.REDUCED_IMAGE:
            overviews.append(directory)
        else:
            others += 1
    if others:
        notes.append(f"{others} further pages are not overviews")
    if left_out:
        notes.append(f"{left_out} overviews and masks were left out: more than {MAX_LEVELS}, or {MAX_TILES} tiles")
    return overviews, masks, notes


def _assemble(
    main: Directory, overviews: list[Directory], masks: list[Directory], notes: list[str]
) -> tuple[Level, ...]:
    """The levels of the main image, each with its mask; an overview or mask that does not fit is noted.

    Raises:
        TiffError: the image is broken, or its mask: without it invalid pixels would count as valid.
    """
    base = parse_level(main)
    levels = [base]
    for directory in overviews:
        level = _try_level(directory, notes)
        if level is None:
            continue
        same_samples = level.format.samples_per_pixel == base.format.samples_per_pixel
        if not same_samples or level.format.dtype != base.format.dtype:
            notes.append(f"{directory.where} has other samples than the image and is no overview of it")
        elif level.width > base.width or level.height > base.height:
            notes.append(f"{directory.where} is larger than the image and is no overview of it")
        else:
            levels.append(level)
    levels.sort(key=lambda level: -level.width * level.height)
    is_any_broken = False
    for directory in masks:
        if not _subfile_type(directory) & tags.REDUCED_IMAGE:
            mask = parse_level(replace(directory, where=f"{directory.where} (mask of the image)"))
        else:
            found = _try_level(directory, notes)
            if found is None:
                is_any_broken = True
                continue
            mask = found
        size = (mask.width, mask.height)
        fits = [
            number for number, level in enumerate(levels) if (level.width, level.height) == size and level.mask is None
        ]
        samples = mask.format.samples_per_pixel
        if not fits or samples not in {1, base.format.samples_per_pixel} or mask.format.planar:
            notes.append(f"{directory.where} is a mask of {size[0]}x{size[1]} pixels that fits no image")
            continue
        levels[fits[0]] = replace(levels[fits[0]], mask=mask)
    if is_any_broken:
        # A broken mask does not say whose it is.
        whole = [level for number, level in enumerate(levels) if not number or level.mask is not None]
        notes.append(f"{len(levels) - len(whole)} overviews without a mask were left out: a mask is broken")
        return tuple(whole)
    return tuple(levels)


def _try_level(directory: Directory, notes: list[str]) -> Level | None:
    """A level other than the main one; a broken one is noted and left out."""
    try:
        return parse_level(directory)
    except TiffError as error:
        notes.append(f"left out: {error}")
        return None


def _bands(main: Directory, level: Level, metadata: Metadata, unit: str | None) -> tuple[tuple[Band, ...], str | None]:
    """One band for each sample of the image."""
    tile_format = level.format
    samples = tile_format.samples_per_pixel
    nodata, note = parse_nodata(main.text(tags.GDAL_NODATA), tile_format.dtype)
    extra = main.integers(tags.EXTRA_SAMPLES)
    base = samples - len(extra)
    bands = []
    for index in range(samples):
        facts = metadata.bands.get(index, BandFacts())
        is_alpha = 0 <= index - base < len(extra) and extra[index - base] in _ALPHA
        if facts.color_interpretation is not None:
            is_alpha = facts.color_interpretation == "alpha"
        if is_cmyk(tile_format):
            is_alpha = index == 3
        bands.append(
            Band(
                band=index + 1,
                nodata=nodata,
                scale=facts.scale,
                offset=facts.offset,
                unit=facts.unit or unit,
                description=facts.description,
                is_alpha=is_alpha,
            )
        )
    return tuple(bands), note
