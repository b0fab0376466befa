"""Image codecs: the bytes of one tile are an image of their own, with a size that has to fit."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from rasteret_sql.errors import CorruptTiffError, UnsupportedTiffError
from rasteret_sql.tiff import names
from rasteret_sql.tiff.ccitt import ccitt_codec
from rasteret_sql.tiff.codecs import imagecodecs_function
from rasteret_sql.tiff.lerc import check_lerc
from rasteret_sql.tiff.model import MAX_TILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from rasteret_sql.tiff.codecs import Bytes
    from rasteret_sql.tiff.model import TileFormat


MAX_JPEG_SCANS: Final = 100
"""Scans of a progressive JPEG, some ten in practice; each takes bytes of the file and time for the whole image."""

MAX_JPEG_2000_TILES: Final = 4096
"""Tiles that the JPEG 2000 image of one TIFF tile may have."""


class ImageCodec(Protocol):
    """Decodes one tile to pixels."""

    def __call__(self, data: Bytes, coded_height: int) -> npt.NDArray[Any]:
        """Decode to an array (height, width, samples); the caller checks that it is a tile."""
        ...


def image_codec(tile_format: TileFormat) -> ImageCodec | None:
    """The decoder of an image compression, or None where it is none. Imports imagecodecs."""
    make = _MAKERS.get(tile_format.compression)
    return None if make is None else make(tile_format)


def _jpeg(tile_format: TileFormat) -> ImageCodec:
    jpeg_decode = imagecodecs_function("jpeg_decode")

    samples = 1 if tile_format.planar else tile_format.samples_per_pixel
    tables = tile_format.jpeg_tables
    width = tile_format.tile_width
    dtype = np.dtype(tile_format.dtype)
    colorspace: str | None = None
    outcolorspace: str | None = None
    if samples == 3:
        # libtiff decides by the photometric tag alone, whatever markers the stream has.
        is_ycbcr = tile_format.photometric == names.YCBCR
        colorspace, outcolorspace = ("YCBCR" if is_ycbcr else "RGB"), "RGB"
    elif samples == 4:
        colorspace = outcolorspace = "CMYK"

    def decode(data: Bytes, coded_height: int) -> npt.NDArray[Any]:
        found = jpeg_size(data)
        rows, columns = found or (0, 0)
        # A strip may be encoded taller than it is; libtiff reads what it needs.
        fits = columns == width and (rows == coded_height if tile_format.tiled else rows >= coded_height)
        if not fits or rows * columns * samples * dtype.itemsize > MAX_TILE_BYTES:
            raise CorruptTiffError(
                f"got a JPEG of {found or 'unknown'} rows and columns, expected {coded_height} and {width}"
            )
        stream = bytes(data)
        if stream.rfind(b"\xff\xd9") < 0:
            # libjpeg makes up the rest of a truncated image and only warns.
            raise CorruptTiffError(
                f"got {len(stream)} bytes of JPEG without an end marker, expected all of it; it is truncated"
            )
        # Eight times as fast as counting in bytes, which took a tenth of the time of a tile.
        codes = np.frombuffer(stream, np.uint8)
        scans = np.count_nonzero((codes[:-1] == 0xFF) & (codes[1:] == 0xDA))
        if scans > MAX_JPEG_SCANS:
            raise CorruptTiffError(f"got a JPEG of {scans} scans, expected at most {MAX_JPEG_SCANS}")
        # With a destination the decoder refuses an image of another size before it allocates one.
        out = np.empty((rows, columns) if samples == 1 else (rows, columns, samples), dtype)
        pixels = jpeg_decode(stream, tables=tables, colorspace=colorspace, outcolorspace=outcolorspace, out=out)
        return _with_samples(pixels)

    return decode


def jpeg_size(data: Bytes) -> tuple[int, int] | None:
    """Rows and columns that the first frame header of a JPEG stream declares, or None where there is none."""
    view = bytes(data[: 1 << 16])
    position = 0
    while position + 4 <= len(view):
        if view[position] != 0xFF:
            return None
        marker = view[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in {0xD8, 0x01} or 0xD0 <= marker <= 0xD7:
            position += 2
        else:
            length = int.from_bytes(view[position + 2 : position + 4])
            if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
                frame = view[position + 5 : position + 9]
                return (int.from_bytes(frame[:2]), int.from_bytes(frame[2:])) if len(frame) == 4 else None
            position += 2 + length
    return None


def _webp(tile_format: TileFormat) -> ImageCodec:
    webp_decode = imagecodecs_function("webp_decode")

    samples = tile_format.samples_per_pixel
    if samples not in {3, 4} or tile_format.planar or tile_format.dtype != "uint8":
        raise UnsupportedTiffError(
            f"got WebP tiles of {samples} samples of {tile_format.dtype}, expected 3 or 4 chunky ones of "
            "uint8. Rewrite the file, for example with gdal_translate -co COMPRESS=DEFLATE."
        )

    def decode(data: Bytes, coded_height: int) -> npt.NDArray[Any]:
        # With a destination the decoder refuses an image of another size before it allocates one.
        out = np.empty((coded_height, tile_format.tile_width, samples), np.uint8)
        decoded: npt.NDArray[Any] = webp_decode(bytes(data), hasalpha=samples == 4, out=out)
        return decoded

    return decode


def _lerc(tile_format: TileFormat) -> ImageCodec:
    deflate_decode = imagecodecs_function("deflate_decode")
    lerc_decode = imagecodecs_function("lerc_decode")
    zstd_decode = imagecodecs_function("zstd_decode")

    samples = 1 if tile_format.planar else tile_format.samples_per_pixel
    extra = tile_format.codec_parameters[1] if len(tile_format.codec_parameters) > 1 else 0
    if extra not in {0, 1, 2}:
        raise UnsupportedTiffError(
            f"got LERC with additional compression {extra}, expected 0 (none), 1 (deflate) or 2 (ZSTD). "
            "Rewrite the file, for example with gdal_translate -co COMPRESS=ZSTD."
        )
    dtype = np.dtype(tile_format.dtype)
    swapped = tile_format.byte_order != sys.byteorder

    def decode(data: Bytes, coded_height: int) -> npt.NDArray[Any]:
        limit = coded_height * tile_format.tile_width * samples * dtype.itemsize * 2 + 4096
        blob = data
        if extra:
            blob = (deflate_decode if extra == 1 else zstd_decode)(data, out=limit)
        depth = check_lerc(blob, coded_height, tile_format.tile_width, samples, tile_format.dtype)
        pixels, mask = lerc_decode(blob, masks=True)
        if mask is not None and mask.dtype == bool and not mask.all():
            pixels = _masked(pixels, mask, samples)
        if swapped and pixels.dtype.itemsize > 1:
            # libtiff swaps the bytes of samples before it encodes and after it decodes, also for LERC.
            pixels = pixels.byteswap()
        if depth == 1 and samples > 1 and pixels.ndim == 3:
            # One blob per sample, one after the other: libtiff writes that where samples are NaN in different places.
            pixels = np.moveaxis(pixels, 0, -1)
        return _with_samples(pixels)

    return decode


def _jpeg_xl(tile_format: TileFormat) -> ImageCodec:
    jpegxl_decode = imagecodecs_function("jpegxl_decode")

    samples = 1 if tile_format.planar else tile_format.samples_per_pixel

    def decode(data: Bytes, coded_height: int) -> npt.NDArray[Any]:
        shape = (coded_height, tile_format.tile_width, samples)
        out = np.empty(shape[:2] if samples == 1 else shape, tile_format.dtype)
        return _with_samples(jpegxl_decode(bytes(data), keeporientation=True, out=out))

    return decode


def _jpeg_2000(tile_format: TileFormat) -> ImageCodec:
    jpeg2k_decode = imagecodecs_function("jpeg2k_decode")

    samples = 1 if tile_format.planar else tile_format.samples_per_pixel
    if tile_format.compression == names.JPEG2000_APERIO_YCC or tile_format.photometric == names.YCBCR:
        raise UnsupportedTiffError(
            "got JPEG 2000 tiles in YCbCr, expected gray or RGB. "
            "Rewrite the file, for example with gdal_translate -co COMPRESS=DEFLATE."
        )

    def decode(data: Bytes, coded_height: int) -> npt.NDArray[Any]:
        found = jpeg_2000_size(data)
        if found != (coded_height, tile_format.tile_width, samples):
            raise CorruptTiffError(
                f"got JPEG 2000 of {found or 'unknown'} rows, columns and samples, expected {coded_height}, "
                f"{tile_format.tile_width} and {samples}"
            )
        return _with_samples(jpeg2k_decode(bytes(data)))

    return decode


def jpeg_2000_size(data: Bytes) -> tuple[int, int, int] | None:
    """Rows, columns and samples that a JPEG 2000 codestream declares; None where it is none, or an absurd one."""
    view = memoryview(data)
    start = _jpeg_2000_start(view)
    if start is None or bytes(view[start : start + 4]) != b"\xff\x4f\xff\x51" or len(view) < start + 42:
        return None
    # SIZ (ITU T.800, A.5.1): image and tiles each by far edge and near edge, or by size and offset.
    right, bottom, left, top, width, height, tile_left, tile_top, samples = struct.unpack_from(">8IH", view, start + 8)
    if not (width and height and tile_left <= left < right and tile_top <= top < bottom):
        return None
    # The library keeps some kilobytes for each tile of its own.
    if -(-(right - tile_left) // width) * -(-(bottom - tile_top) // height) > MAX_JPEG_2000_TILES:
        return None
    return bottom - top, right - left, samples


def _jpeg_2000_start(view: memoryview) -> int | None:
    """Where the codestream begins: at once, or in a box of a JP2 file. Palettes are not looked for."""
    if bytes(view[4:8]) != b"jP  ":
        return 0
    start = 0
    while start + 8 <= len(view):
        length, kind = struct.unpack_from(">I4s", view, start)
        if kind == b"jp2c":
            return start + 8 if length != 1 else None
        if length < 8 or b"pclr" in bytes(view[start : start + length]):
            return None
        start += length
    return None


def _masked(pixels: npt.NDArray[Any], mask: npt.NDArray[Any], samples: int) -> npt.NDArray[Any]:
    """Apply a validity mask as libtiff does: invalid floats are NaN, an 8-bit alpha band is the mask."""
    if pixels.dtype.kind == "f":
        pixels = pixels.copy()
        pixels[~mask] = np.nan
    elif pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[-1] == samples - 1:
        pixels = np.concatenate((pixels, (mask * np.uint8(255))[..., None]), axis=-1)
    return pixels


def _with_samples(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels as (height, width, samples); images of one sample come without the last axis."""
    return pixels[..., None] if pixels.ndim == 2 else pixels


_MAKERS: Final[dict[int, Callable[[TileFormat], ImageCodec]]] = {
    names.JPEG: _jpeg,
    names.WEBP: _webp,
    names.LERC: _lerc,
    names.CCITT_RLE: ccitt_codec,
    names.CCITT_FAX3: ccitt_codec,
    names.CCITT_FAX4: ccitt_codec,
    names.JPEG_XL: _jpeg_xl,
    names.JPEG_XL_DNG: _jpeg_xl,
    names.JPEG2000: _jpeg_2000,
    names.JPEG2000_APERIO_RGB: _jpeg_2000,
    names.JPEG2000_APERIO_YCC: _jpeg_2000,
}
