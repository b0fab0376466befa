"""Writes cloud optimised GeoTIFFs of any codec, predictor, layout, mask and byte order."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.tiff import geokeys
from rasteret_sql.tiff.geo import RASTER_TYPE
from rasteret_sql.tiff.writing.layout import FieldType, Ifd, IfdPlacement, LayoutOptions, Tag, assemble_tiff
from rasteret_sql.tiff.writing.tags import (
    COLOUR_SAMPLES,
    PHOTOMETRIC_TAGS,
    SAMPLE_FORMATS,
    Photometric,
    grid_tags,
    image_tags,
    key_tags,
    metadata_tags,
)
from rasteret_sql.tiff.writing.tiles import (
    COMPRESSION_TAGS,
    PREDICTING,
    Compression,
    SegmentFormat,
    encode_segment,
    split_jpeg_tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.tiff.geo import GeoKeys
    from rasteret_sql.tiff.model import ByteOrder


@dataclass(frozen=True, slots=True)
class CogOptions:
    """Options of `write_cog`, which takes every field as a keyword, too.

    Attributes:
        crs: authority code such as `"EPSG:32643"`, or None for a file without a CRS.
        transform: affine (a, b, c, d, e, f), pixel corner to CRS, or None. North-up grids become
            ModelPixelScale and ModelTiepoint, others ModelTransformation.
        area_or_point: `"point"` ties the grid to pixel centres (RasterPixelIsPoint); the pixels stay where
            `transform` puts them.
        tile: tile size in pixels, or (height, width), each a multiple of 16.
        overview_tile: tile size of the overviews; None takes `tile`.
        rows_per_strip: write strips of that many rows instead of tiles.
        compression: codec; `"lerc_deflate"` and `"lerc_zstd"` compress LERC's bytes once more.
        level: effort of the codec, quality (1-100) for JPEG and WebP, maximum error for LERC. None is the
            codec's default; WebP and LERC are lossless then.
        predictor: True chooses 2 for integers and 3 for floats, where the codec has predictors; False is 1.
        overviews: factors by which the overviews are smaller, in rising order.
        overview_resampling: `"nearest"` takes the top left pixel, `"average"` the mean of the valid ones.
        nodata: the GDAL_NODATA value, or None.
        sparse: leave out tiles of nodata alone (of 0 where there is no nodata value).
        planar: one plane of tiles per band (PlanarConfiguration 2).
        photometric: colour space; `"ycbcr"` is for three-band JPEG.
        alpha: the last band is an alpha channel.
        colormap: (256, 3) uint8 colours of a `"palette"` image.
        bits_per_sample: pack unsigned integers to fewer bits than their dtype has.
        mask_bits: bits of a mask pixel, 1 or 8.
        jpeg_tables: keep the tables of JPEG tiles in a JPEGTables tag, as libtiff does.
        fill_order: 2 writes the bits of each byte in reverse.
        byte_order: of the file.
        bigtiff: 64-bit offsets.
        ifds: `"first"` as COGs do, or `"last"`, behind the pixels.
        block_leaders: write GDAL's COG ghost area and tile frames; None does so where the format allows it
            (tiles, chunky, IFDs first).
        band_names: descriptions, one per band.
        scales: factors to physical values, one per band.
        offsets: offsets to physical values, one per band.
        units: units of physical values, one per band.
        metadata: further GDAL_METADATA items of the dataset.

    Raises:
        InvalidArgumentError: a value is not possible, or two contradict each other.
    """

    crs: str | None = "EPSG:32643"
    transform: Sequence[float] | None = (10.0, 0.0, 600000.0, 0.0, -10.0, 1400000.0)
    area_or_point: Literal["area", "point"] = "area"
    tile: int | tuple[int, int] = 512
    overview_tile: int | tuple[int, int] | None = None
    rows_per_strip: int | None = None
    compression: Compression = "deflate"
    level: float | None = None
    predictor: bool | Literal[1, 2, 3] = True
    overviews: tuple[int, ...] = (2, 4)
    overview_resampling: Literal["nearest", "average"] = "nearest"
    nodata: float | None = None
    sparse: bool = False
    planar: bool = False
    photometric: Photometric = "minisblack"
    alpha: bool = False
    colormap: npt.NDArray[np.uint8] | None = None
    bits_per_sample: int | None = None
    mask_bits: Literal[1, 8] = 1
    jpeg_tables: bool = True
    fill_order: Literal[1, 2] = 1
    byte_order: ByteOrder = "little"
    bigtiff: bool = False
    ifds: IfdPlacement = "first"
    block_leaders: bool | None = None
    band_names: Sequence[str] | None = None
    scales: Sequence[float] | None = None
    offsets: Sequence[float] | None = None
    units: Sequence[str] | None = None
    metadata: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSION_TAGS:
            names = sorted(COMPRESSION_TAGS)
            raise InvalidArgumentError(f"compression {self.compression!r}; use one of {names}")
        if self.photometric not in PHOTOMETRIC_TAGS or self.photometric == "mask":
            names = sorted(set(PHOTOMETRIC_TAGS) - {"mask"})
            raise InvalidArgumentError(f"photometric {self.photometric!r}; use one of {names}")
        for name in ("tile", "overview_tile"):
            size = getattr(self, name)
            if size is not None and any(side < 16 or side % 16 for side in _pair(size)):
                raise InvalidArgumentError(f"{name}={size!r}; sides of tiles are multiples of 16 (TIFF 6.0)")
        if self.rows_per_strip is not None and self.rows_per_strip < 1:
            raise InvalidArgumentError(f"rows_per_strip={self.rows_per_strip}; a strip has one row or more")
        if list(self.overviews) != sorted({factor for factor in self.overviews if factor > 1}):
            raise InvalidArgumentError(f"overviews={self.overviews!r}; give rising factors of 2 or more")
        if self.transform is not None and len(self.transform) not in (6, 9):
            raise InvalidArgumentError(f"transform={self.transform!r}; give the numbers (a, b, c, d, e, f)")
        if self.block_leaders and not self._may_frame:
            raise InvalidArgumentError("block_leaders with strips, planes or IFDs behind the pixels; leave it out")

    @property
    def _may_frame(self) -> bool:
        return self.rows_per_strip is None and not self.planar and self.ifds == "first"


def write_cog(
    path: str | os.PathLike[str],
    data: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    options: CogOptions | None = None,
    **overrides: Any,
) -> Path:
    """Write an array as a cloud optimised GeoTIFF.

    The file is written aside and renamed, so no reader sees half of it.

    Args:
        path: the file; missing folders are made.
        data: (height, width) or (bands, height, width), of any dtype that GDAL reads; booleans become 1-bit.
        mask: (height, width), True means valid: written as internal mask IFDs, one per level.
        options: how to write it; None takes `CogOptions()`.
        **overrides: single fields of `CogOptions`.

    Returns:
        The path that was written.

    Raises:
        InvalidArgumentError: an option is unknown, or the codec cannot hold such pixels.

    Example:
        >>> import numpy as np, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> path = write_cog(f"{folder}/B04.tif", np.arange(4096, dtype="uint16").reshape(64, 64), tile=32)
        >>> path.name
        'B04.tif'
    """
    parts = _cog_parts(data, mask, options, overrides)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.writelines(parts)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def encode_cog(
    data: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
    options: CogOptions | None = None,
    **overrides: Any,
) -> bytes:
    """Give the bytes of the file that `write_cog` would write; arguments and errors are the same."""
    return b"".join(_cog_parts(data, mask, options, overrides))


def _cog_parts(
    data: npt.ArrayLike, mask: npt.ArrayLike | None, options: CogOptions | None, overrides: Mapping[str, Any]
) -> Iterator[bytes]:
    known = {one.name for one in fields(CogOptions)}
    if unknown := sorted(set(overrides) - known):
        raise InvalidArgumentError(f"unknown options {unknown}; CogOptions has {sorted(known)}")
    options = replace(options or CogOptions(), **overrides)
    pixels = np.asarray(data)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.dtype.kind not in SAMPLE_FORMATS:
        raise InvalidArgumentError(
            f"data of shape {pixels.shape} and dtype {pixels.dtype}; give numbers as (height, width) or "
            "(bands, height, width)"
        )
    if pixels.dtype.kind == "b":
        options = replace(options, bits_per_sample=1)
        pixels = pixels.astype(np.uint8)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    valid = None if mask is None else np.asarray(mask, dtype=bool)
    if valid is not None and valid.shape != pixels.shape[1:]:
        raise InvalidArgumentError(f"mask of shape {valid.shape}; the image is {pixels.shape[1:]}")
    _check_bands(pixels, options)
    writer = _ImageWriter(pixels, options)
    levels = [(pixels, valid)]
    levels += [overview(pixels, valid, factor, options) for factor in options.overviews]
    return assemble_tiff(
        [writer.image(image, level) for level, (image, _) in enumerate(levels)],
        LayoutOptions(
            byte_order=options.byte_order,
            bigtiff=options.bigtiff,
            ifds=options.ifds,
            block_leaders=options._may_frame if options.block_leaders is None else options.block_leaders,  # noqa: SLF001
        ),
        masks=[writer.mask(one, level) for level, (_, one) in enumerate(levels) if one is not None],
    )


def _check_bands(pixels: npt.NDArray[Any], options: CogOptions) -> None:
    bands = len(pixels)
    for name in ("band_names", "scales", "offsets", "units"):
        values = getattr(options, name)
        if values is not None and len(values) != bands:
            raise InvalidArgumentError(f"{name} has {len(values)} entries; the image has {bands} bands")
    colours = COLOUR_SAMPLES.get(options.photometric, 1)
    if bands < colours + options.alpha:
        raise InvalidArgumentError(
            f"{bands} bands with photometric={options.photometric!r} and alpha={options.alpha}; "
            f"give {colours + options.alpha} or more"
        )
    if options.bits_per_sample is not None and pixels.dtype.kind != "u":
        raise InvalidArgumentError(f"bits_per_sample with dtype {pixels.dtype}; give unsigned integers")


def overview(
    pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, factor: int, options: CogOptions
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Make an image and its mask `factor` times smaller; sizes are rounded up. Exports halve by `output/halving.py`.

    Args:
        pixels: (bands, height, width).
        valid: (height, width), True means valid, or None.
        factor: how much smaller.
        options: for `overview_resampling` and `nodata`.

    Returns:
        The smaller image and mask. With `"average"`, pixels whose area holds no valid one are nodata (or 0).
    """
    if options.overview_resampling == "nearest":
        return pixels[:, ::factor, ::factor], None if valid is None else valid[::factor, ::factor]
    usable = np.ones(pixels.shape, bool) if valid is None else np.broadcast_to(valid, pixels.shape)
    fill = 0 if options.nodata is None else options.nodata
    if options.nodata is not None:
        usable = usable & (~np.isnan(pixels) if math.isnan(fill) else pixels != fill)
    shape = pixels[:, ::factor, ::factor].shape
    total, count = np.zeros(shape, np.result_type(pixels, np.float32)), np.zeros(shape, np.uint16)
    for row in range(factor):
        for col in range(factor):
            part, ok = pixels[:, row::factor, col::factor], usable[:, row::factor, col::factor]
            inside = np.s_[:, : part.shape[1], : part.shape[2]]
            total[inside] += np.where(ok, part, 0)
            count[inside] += ok
    mean = total / np.maximum(count, 1)
    if pixels.dtype.kind in "ui":
        mean = np.rint(mean)
    result = np.where(count == 0, fill, mean).astype(pixels.dtype)
    return result, None if valid is None else np.asarray((count > 0).any(axis=0))


class _ImageWriter:
    """Turns the levels of one image, and their masks, into IFDs."""

    def __init__(self, pixels: npt.NDArray[Any], options: CogOptions) -> None:
        self._options = options
        self._dtype = pixels.dtype
        self._bands = len(pixels)
        predictor = int(options.predictor)
        if isinstance(options.predictor, bool):
            packed = options.bits_per_sample is not None
            usable = options.predictor and options.compression in PREDICTING and not packed
            predictor = {"f": 3, "u": 2, "i": 2}.get(self._dtype.kind, 1) if usable else 1
        self._form = SegmentFormat(
            compression=options.compression,
            level=options.level,
            predictor=predictor,
            byte_order=options.byte_order,
            bits_per_sample=options.bits_per_sample or self._dtype.itemsize * 8,
            photometric=options.photometric,
            fill_order=options.fill_order,
        )

    def image(self, pixels: npt.NDArray[Any], level: int) -> Ifd:
        """Give the IFD of the image at a level."""
        options = self._options
        tile_height, tile_width = self._segment_size(pixels, level)
        segments: list[bytes | None] = []
        fill = 0 if options.nodata is None else options.nodata
        for plane in pixels[:, None] if options.planar else pixels[None]:
            for part in self._parts(plane, tile_height, tile_width):
                empty = options.sparse and _all_equal(part, fill)
                segments.append(None if empty else encode_segment(part, self._form))
        tags = self._tags(pixels, (tile_height, tile_width), level)
        if options.compression == "jpeg" and options.jpeg_tables and options.fill_order == 1:
            split = [None if one is None else split_jpeg_tables(one) for one in segments]
            tables = {one[0] for one in split if one is not None}
            if len(tables) == 1:
                segments = [None if one is None else one[1] for one in split]
                tags.append(Tag(347, FieldType.UNDEFINED, tables.pop()))
        return Ifd(tuple(tags), tuple(segments), tiled=options.rows_per_strip is None)

    def mask(self, valid: npt.NDArray[np.bool_], level: int) -> Ifd:
        """Give the mask IFD of a level. Masks are deflated whatever the image is, as GDAL's are."""
        options = self._options
        tile_height, tile_width = self._segment_size(valid[None], level)
        form = SegmentFormat(bits_per_sample=options.mask_bits, fill_order=options.fill_order, photometric="mask")
        pixels = valid[None].astype(np.uint8) * (255 if options.mask_bits == 8 else 1)
        segments = [encode_segment(part, form) for part in self._parts(pixels, tile_height, tile_width)]
        is_tiled = options.rows_per_strip is None
        tags = image_tags(form, shape=valid.shape, segment=(tile_height, tile_width), level=level, is_tiled=is_tiled)
        return Ifd(tuple(tags), tuple(segments), tiled=is_tiled)

    def _segment_size(self, pixels: npt.NDArray[Any], level: int) -> tuple[int, int]:
        options = self._options
        if options.rows_per_strip is not None:
            return min(options.rows_per_strip, pixels.shape[1]), pixels.shape[2]
        return _pair(options.overview_tile if level and options.overview_tile else options.tile)

    def _parts(self, plane: npt.NDArray[Any], tile_height: int, tile_width: int) -> list[npt.NDArray[Any]]:
        """Cut (samples, height, width) into tiles (height, width, samples), filled by repeating edges."""
        _, height, width = plane.shape
        parts = []
        for row in range(0, height, tile_height):
            for col in range(0, width, tile_width):
                part = plane[:, row : row + tile_height, col : col + tile_width].transpose(1, 2, 0)
                below, right = tile_height - part.shape[0], tile_width - part.shape[1]
                if self._options.rows_per_strip is None and (below or right):
                    part = np.pad(part, ((0, below), (0, right), (0, 0)), mode="edge")
                parts.append(np.ascontiguousarray(part))
        return parts

    def _tags(self, pixels: npt.NDArray[Any], segment: tuple[int, int], level: int) -> list[Tag]:
        options = self._options
        tags = image_tags(
            self._form,
            shape=pixels.shape[1:],
            segment=segment,
            samples=self._bands,
            kind=self._dtype.kind,
            level=level,
            is_tiled=options.rows_per_strip is None,
            is_planar=options.planar,
            has_alpha=options.alpha,
            colormap=options.colormap,
            nodata=options.nodata,
        )
        if level:
            return tags
        described: dict[str, Sequence[str | float] | None] = {
            "description": options.band_names,
            "scale": options.scales,
            "offset": options.offsets,
            "unittype": options.units,
        }
        return [*tags, *_geo_tags(options), *metadata_tags(options.metadata or {}, described)]


def _geo_tags(options: CogOptions) -> list[Tag]:
    """Give the tags of the grid and, by its code alone as most writers do, the CRS.

    Raises:
        InvalidArgumentError: the CRS is not the code of an EPSG CRS.
    """
    tags: list[Tag] = []
    if options.transform is not None:
        a, b, c, d, e, f = (float(value) for value in tuple(options.transform)[:6])
        if options.area_or_point == "point":
            c, f = c + (a + b) / 2, f + (d + e) / 2
        tags = grid_tags((a, b, c, d, e, f))
    if options.crs is None and options.area_or_point == "area":
        return tags  # a directory of nothing but the default makes GDAL see a local CRS
    keys: GeoKeys = {RASTER_TYPE: 2 if options.area_or_point == "point" else 1}
    if options.crs is not None:
        is_projected, code = _crs_code(options.crs)
        keys[geokeys.MODEL_TYPE] = geokeys.MODEL_PROJECTED if is_projected else geokeys.MODEL_GEOGRAPHIC
        keys[geokeys.PROJECTED_TYPE if is_projected else geokeys.GEOGRAPHIC_TYPE] = code
    return [*tags, *key_tags(keys)]


def _crs_code(crs: str) -> tuple[bool, int]:
    """Give (projected, EPSG code); UTM zones and WGS 84 are known without pyproj, whose import is slow."""
    authority, _, digits = crs.partition(":")
    if authority.upper() == "EPSG" and digits.isdigit():
        code = int(digits)
        if 32601 <= code <= 32660 or 32701 <= code <= 32760:
            return True, code
        if code == 4326:
            return False, code
        import pyproj

        try:
            return not pyproj.CRS.from_epsg(code).is_geographic, code
        except pyproj.exceptions.CRSError:
            pass
    raise InvalidArgumentError(f'crs={crs!r}; give the code of an EPSG CRS such as "EPSG:32643", or None')


def _all_equal(part: npt.NDArray[Any], value: float) -> bool:
    return bool(np.isnan(part).all() if math.isnan(value) else (part == value).all())


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
