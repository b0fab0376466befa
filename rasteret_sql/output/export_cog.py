"""Slices of a cube as cloud optimised GeoTIFFs: names of files, bands, nodata, masks and colours."""

from __future__ import annotations

import math
import re
import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.arrays.display import rgb_places
from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.cog_writer import TILE, CogBand, CogForm, CogWriter
from rasteret_sql.output.export_blocks import BlockReader
from rasteret_sql.output.export_files import check_length, check_replaceable, described, made_aside, time_text
from rasteret_sql.output.export_formula import FormulaReader, with_formula
from rasteret_sql.output.file_colors import FileColors, colors_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.arrays.failures import Failures
    from rasteret_sql.output.export_blocks import Block
    from rasteret_sql.output.export_files import ExportedFile
    from rasteret_sql.plan.cube import Cube, CubeBand
    from rasteret_sql.plan.expressions import Expression

PLACES: Final = ("item", "collection", "date", "time", "band")
#: STAC's common names of bands, all of which are measured.
_MEASURED: Final = frozenset({
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075", "rededge078",
    "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12",
})  # fmt: skip
_UNSAFE: Final = re.compile(r"[^\w.+-]+")
_SMOOTH: Final = frozenset({"bilinear", "cubic", "average"})
_AVERAGED: Final = frozenset({"mean", "median"})


@dataclass(frozen=True, slots=True)
class CogOptions:
    """How GeoTIFFs are written; the arguments of `export` of these names."""

    nodata: float | None = None
    overviews: str = "auto"
    compression: Any = "deflate"
    mask_and_scale: bool = False


@dataclass(frozen=True, slots=True)
class _File:
    """One file: its path, the slice of the cube, and the bands."""

    path: Path
    group: int
    places: tuple[int, ...]


def write_cogs(
    planned: PlannedCube,
    target: Path,
    options: CogOptions,
    failures: Failures,
    formula: Expression | None = None,
) -> list[ExportedFile]:
    """Write the slices of a cube.

    Args:
        planned: the cube.
        target: the path, whose name may have `PLACES` in braces.
        options: how files are written.
        failures: decides about files that cannot be read.
        formula: what is written in place of the bands, or None.

    Raises:
        InvalidArgumentError: a GeoTIFF cannot hold it.
        RasteretError: it could not be read or written.
    """
    if formula is None:
        reader = BlockReader(planned.cube, failures)
    else:
        reader = FormulaReader(planned.cube, formula, failures)
        planned, options = with_formula(planned, formula), replace(options, mask_and_scale=True)
    files = _files(planned, target)
    forms = [_form(planned, reader, file, options) for file in files]
    return [_write(planned, reader, file, form, options) for file, form in zip(files, forms, strict=True)]


def _files(planned: PlannedCube, target: Path) -> list[_File]:
    """List the files of an export.

    Raises:
        InvalidArgumentError: two files would have one name, or a placeholder has no value.
    """
    used = _used_places(target)
    groups, bands = range(planned.cube.group_count), planned.cube.bands
    every = tuple(range(len(bands)))
    picks: list[tuple[int, ...]] = [(place,) for place in every] if "band" in used else [every]
    files: dict[Path, _File] = {}
    for group in groups:
        for places in picks:
            facts = {name: _fact(planned, group, name) for name in sorted(used - {"band"})}
            facts["band"] = _safe(bands[places[0]].name)
            path = target.with_name(target.name.format(**facts))
            check_length(path)
            if path in files:
                raise InvalidArgumentError(_same_name(planned, target, files[path], group, places))
            files[path] = _File(path, group, places)
    for path in files:
        check_replaceable(path, planned.cube.plan.assets)
    return list(files.values())


def _used_places(target: Path) -> set[str]:
    """Give the placeholders of a name.

    Raises:
        InvalidArgumentError: braces hold anything else, a format such as {date:>20} too.
    """
    try:
        parts = [part[1:] for part in string.Formatter().parse(target.name) if part[1] is not None]
    except ValueError as error:
        raise InvalidArgumentError(f"path: got {target.name!r}, expected braces around one of {_listed()}") from error
    for name, spec, conversion in parts:
        if name not in PLACES or spec or conversion:
            shown = f"{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}"
            raise InvalidArgumentError(f"path: got {{{shown}}} in {target.name!r}, expected one of {_listed()}")
    return {str(name) for name, _, _ in parts}


def _listed() -> str:
    return ", ".join(f"{{{name}}}" for name in PLACES)


def _fact(planned: PlannedCube, group: int, name: str) -> str:
    """Give the value of a placeholder.

    Raises:
        InvalidArgumentError: the slice has no such value.
    """
    items, time = planned.item_ids[group], time_text(planned, group)
    if name == "item":
        if planned.item_counts[group] > 1:
            raise InvalidArgumentError(
                f"path: got {{item}} for the slice of {time}, which has {planned.item_counts[group]} items, expected "
                "one; use {date} or {time}"
            )
        return _safe(items)
    if name == "collection":
        collection = planned.collections[group]
        if collection is None:
            raise InvalidArgumentError(
                f"path: got {{collection}} for the slice of {time} ({items[:80]}), which has no collection or "
                "several; leave it out"
            )
        return _safe(collection)
    if time is None:
        raise InvalidArgumentError(f"path: got {{{name}}} for item {items[:80]}, which has no datetime; use {{item}}")
    return time[:10] if name == "date" else re.sub(r"[-:]", "", time).replace(".", "_").removesuffix("Z")


def _safe(text: str) -> str:
    """Make a text part of a file's name."""
    return _UNSAFE.sub("_", text)


def _same_name(planned: PlannedCube, target: Path, other: _File, second: int, places: Sequence[int]) -> str:
    first = other.group
    if first == second:
        names = [planned.cube.bands[each[0]].name for each in (other.places, places)]
        return (
            f'path: got {target.name!r} for the bands "{names[0]}" and "{names[1]}", which would be one file, '
            f"{other.path.name}, expected a name for each; rename one of the assets in the query"
        )
    facts = [f"{time_text(planned, group)} ({planned.item_ids[group][:60]})" for group in (first, second)]
    count = planned.cube.group_count
    return (
        f"path: got {target.name!r} for {count} slices of time, expected a name for each: {facts[0]} and {facts[1]} "
        "would be one file; put {date}, {time} or {item} into the name, make one slice with groupby and mosaic, or "
        "write .zarr or .nc, which hold all times"
    )


def _form(planned: PlannedCube, reader: BlockReader, file: _File, options: CogOptions) -> CogForm:
    """Describe a file, before anything is read.

    Raises:
        InvalidArgumentError: a GeoTIFF cannot hold it.
    """
    cube = planned.cube
    bands = [cube.bands[place] for place in file.places]
    dtypes = {reader.dtype(place): cube.bands[place].name for place in file.places}
    if len(dtypes) > 1:
        facts = " and ".join(f"{name} is {dtype}" for dtype, name in dtypes.items())
        raise InvalidArgumentError(
            f"bands: {facts}, expected one dtype, since a GeoTIFF has one; choose bands of one dtype, put {{band}} "
            "into the name for a file each, or write .zarr or .nc"
        )
    (dtype,) = dtypes
    if dtype.kind == "f" and dtype.itemsize < 4:
        raise InvalidArgumentError(
            f'band "{bands[0].name}": got {dtype}, expected a dtype that GeoTIFF readers know; write .zarr or .nc'
        )
    nodata = np.nan if options.mask_and_scale else _nodata(bands, dtype, options)
    colors = FileColors() if options.mask_and_scale else colors_of(cube, file.group, file.places)
    is_rgb = colors.photometric == "rgb" or (
        dtype == np.uint8 and rgb_places([band.name for band in bands]) == [0, 1, 2]
    )
    form = CogForm(
        box=cube.box,
        has_transform=planned.has_transform,
        dtype=dtype,
        bands=tuple(_cog_band(band, dtype, options, is_palette=colors.table is not None) for band in bands),
        nodata=nodata,
        compression=options.compression,
        has_overviews=options.overviews != "none",
        photometric="rgb" if is_rgb else "minisblack" if colors.table is None else "palette",
        has_alpha=colors.has_alpha and nodata is None,
        colormap=None if colors.table is None else _whole_table(colors.table, dtype),
        metadata=_facts(planned, file.group),
    )
    form.check()
    return form


def _whole_table(table: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> npt.NDArray[np.uint8]:
    """Give a colour to each value of a dtype; black to values that the table of packed pixels lacks."""
    whole = np.zeros((2 ** (8 * dtype.itemsize), 3), np.uint8)
    whole[: len(table)] = table[: len(whole)]
    return whole


def _cog_band(band: CubeBand, dtype: np.dtype[Any], options: CogOptions, *, is_palette: bool) -> CogBand:
    if options.mask_and_scale:
        scale = offset = None
    else:
        scale = None if band.scale == 1.0 else band.scale
        offset = None if band.offset == 0.0 else band.offset
    is_continuous = options.overviews == "average" or (
        options.overviews == "auto"
        and not is_palette
        and (
            dtype.kind in "fc"
            or band.scale is not None
            or band.offset is not None
            or bool(band.unit)
            or band.method in _SMOOTH
            or band.mosaic in _AVERAGED
            or band.name.rpartition(":")[2].lower() in _MEASURED
        )
    )
    return CogBand(band.name, is_continuous, scale, offset, band.unit)


def _nodata(bands: Sequence[CubeBand], dtype: np.dtype[Any], options: CogOptions) -> float | None:
    """Choose the nodata value of a file; None leaves it to an internal mask.

    Raises:
        InvalidArgumentError: pixels of the dtype cannot have the value, or bands have different values.
    """
    if options.nodata is not None:
        value = dtype.type(0) + 0 if dtype.kind == "c" else _held(dtype, options.nodata)
        if value is None or dtype.kind == "c":
            raise InvalidArgumentError(
                f"nodata: got {shown(options.nodata)}, expected a value that {dtype} pixels can have"
            )
        return value
    values = {repr(own): (own, band.name) for band in bands for own in [_own_nodata(band)]}
    if len(values) == 1:
        return next(iter(values.values()))[0]
    known = [(own, name) for own, name in values.values() if own is not None]
    if len(known) > 1:
        facts = " and ".join(f"{name} has {own}" for own, name in known)
        raise InvalidArgumentError(
            f"nodata: {facts}, expected one value, since a GeoTIFF has one; give nodata, put {{band}} into the name "
            "for a file each, or write .zarr or .nc"
        )
    return None


def _own_nodata(band: CubeBand) -> float | None:
    """Give the nodata value that pixels of a band hold; None where no value is free."""
    if band.nodata is None:
        return None
    is_held = band.fill == band.nodata or bool(np.isnan(band.nodata))
    return band.nodata if is_held else None


def _held(dtype: np.dtype[Any], value: float) -> float | None:
    """Convert a value to a dtype; None where the dtype cannot hold it."""
    if dtype.kind == "f":
        return float(dtype.type(value))
    info = np.iinfo(dtype)
    return int(value) if math.isfinite(value) and value == int(value) and info.min <= value <= info.max else None


def _facts(planned: PlannedCube, group: int) -> dict[str, str]:
    facts = {
        "datetime": time_text(planned, group),
        "collection": planned.collections[group],
        "item_ids": planned.item_ids[group],
    }
    return {name: value for name, value in facts.items() if value}


def _write(planned: PlannedCube, reader: BlockReader, file: _File, form: CogForm, options: CogOptions) -> ExportedFile:
    side = reader.side(file.places, TILE)
    is_masked = _is_masked([planned.cube.bands[place] for place in file.places], form, options)
    masked = [number for number, place in enumerate(file.places) if not _is_alpha(planned.cube, place)]
    with made_aside(file.path) as aside, CogWriter(form, aside.parent, side) as writer:
        for block in reader.blocks(file.group, file.places, side):
            mask = _common_mask(block, form, masked) if is_masked else np.ones(block.masks[0].shape, bool)
            if form.nodata is not None and not options.mask_and_scale:
                _put_nodata(block, form, is_checked=options.nodata is not None)
            pixels = block.pixels[0][..., np.newaxis] if len(block.pixels) == 1 else np.stack(block.pixels, axis=2)
            writer.add(block.row_off, block.col_off, pixels, mask)
        with aside.open("wb") as sink:
            writer.write(sink)
    return described(
        planned,
        file.path,
        bands=tuple(band.name for band in form.bands),
        dtypes=(str(form.dtype),) * len(form.bands),
        groups=range(file.group, file.group + 1),
    )


def _is_masked(bands: Sequence[CubeBand], form: CogForm, options: CogOptions) -> bool:
    """Whether an internal mask, and no value, marks pixels without data."""
    if options.mask_and_scale or options.nodata is not None:
        return False
    return any(band.has_mask or (form.nodata is None and _own_nodata(band) is not None) for band in bands)


def _is_alpha(cube: Cube, place: int) -> bool:
    """Whether a band is an alpha channel, which masks the other bands and has data everywhere."""
    sources = cube.sources
    found = np.flatnonzero(sources.place == place).tolist()
    return any(cube.plan.assets[sources.asset_no[number]].alpha_band == sources.band[number] for number in found)


def _common_mask(block: Block, form: CogForm, masked: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Give the mask of all bands but alpha.

    Raises:
        InvalidArgumentError: bands have different masks.
    """
    first, *others = masked or [0]
    mask = block.masks[first]
    for number in others:
        if not np.array_equal(mask, block.masks[number]):
            row, col = np.argwhere(mask != block.masks[number])[0].tolist()
            names = [form.bands[each].name for each in (first, number)]
            place = f"row {block.row_off + row}, column {block.col_off + col}"
            raise InvalidArgumentError(
                f'bands: at {place} one of "{names[0]}" and "{names[1]}" has data and the other has none, '
                "expected data in both or in neither, since a GeoTIFF has one mask; give nodata, a value that no pixel "
                "has, put {band} into the name for a file each, or write .zarr or .nc"
            )
    return mask


def _put_nodata(block: Block, form: CogForm, *, is_checked: bool) -> None:
    """Put the nodata value where there is no data. Under an internal mask, pixels keep the values of the files.

    Args:
        block: the pixels.
        form: has the nodata value.
        is_checked: whether a pixel with data may not have the value.

    Raises:
        InvalidArgumentError: a pixel with data has it.
    """
    for band, pixels, mask in zip(form.bands, block.pixels, block.masks, strict=True):
        taken = mask & (pixels == form.nodata)
        if is_checked and taken.any():
            row, col = np.argwhere(taken)[0].tolist()
            raise InvalidArgumentError(
                f'nodata: got {form.nodata}, which is a reading of "{band.name}" at row {block.row_off + row}, column '
                f"{block.col_off + col}, expected a value that no pixel with data has; choose another value"
            )
        pixels[~mask] = form.nodata
