"""Encodes the pixels of one TIFF tile or strip: predictor, byte order, bit packing, codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from rasteret_sql.tiff.model import ByteOrder

Compression = Literal[
    "none",
    "deflate",
    "deflate_old",
    "jpeg",
    "lerc",
    "lerc_deflate",
    "lerc_zstd",
    "lzma",
    "lzw",
    "packbits",
    "webp",
    "zstd",
]

# TIFF Compression tags; TIFF 6.0, its technical notes, and GDAL's registrations.
COMPRESSION_TAGS: dict[str, int] = {
    "none": 1,
    "lzw": 5,
    "jpeg": 7,
    "deflate": 8,
    "packbits": 32773,
    "deflate_old": 32946,
    "lerc": 34887,
    "lerc_deflate": 34887,
    "lerc_zstd": 34887,
    "lzma": 34925,
    "zstd": 50000,
    "webp": 50001,
}
assert set(COMPRESSION_TAGS) == set(get_args(Compression))

PREDICTING = frozenset({"lzw", "deflate", "deflate_old", "zstd", "lzma"})
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

# Markers of tables that a JPEGTables tag may hold for all tiles: DQT and DHT (ITU T.81, B.1.1.3).
_JPEG_TABLE_MARKERS = (0xDB, 0xC4)
_JPEG_SOS = 0xDA


@dataclass(frozen=True, slots=True)
class SegmentFormat:
    """How the pixels of a tile or strip become bytes.

    Attributes:
        compression: name of the codec.
        level: effort of the codec, quality for JPEG, maximum error for LERC; None is the codec's default.
        predictor: 1 none, 2 horizontal, 3 floating point.
        byte_order: of samples, where the codec keeps samples as they are.
        bits_per_sample: fewer than the dtype's are packed, rows padded to bytes.
        photometric: `"ycbcr"` and `"rgb"` matter to JPEG.
        fill_order: 2 reverses the bits of each byte.
    """

    compression: Compression = "deflate"
    level: float | None = None
    predictor: int = 1
    byte_order: ByteOrder = "little"
    bits_per_sample: int = 8
    photometric: str = "minisblack"
    fill_order: int = 1


def encode_segment(pixels: npt.NDArray[Any], form: SegmentFormat) -> bytes:
    """Encode the pixels of one tile or strip.

    Args:
        pixels: shape (height, width, samples), native byte order.
        form: how to encode them.

    Raises:
        InvalidArgumentError: the codec cannot hold such pixels.
    """
    try:
        data = _encoded(pixels, form)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise InvalidArgumentError(
            f"pixels of shape {pixels.shape} and dtype {pixels.dtype} cannot be encoded with "
            f"{form.compression!r}: {error}. Choose another compression or dtype"
        ) from error
    return data.translate(_REVERSED_BITS) if form.fill_order == 2 else data


def _encoded(pixels: npt.NDArray[Any], form: SegmentFormat) -> bytes:
    import imagecodecs

    level = form.level
    match form.compression:
        case "jpeg":
            colour = {"ycbcr": "ycbcr", "rgb": "rgb"}.get(form.photometric, "gray")
            given = "gray" if colour == "gray" else "rgb"
            return bytes(
                imagecodecs.jpeg8_encode(
                    pixels[..., 0] if pixels.shape[2] == 1 else pixels,
                    level=90 if level is None else int(level),
                    colorspace=given,
                    outcolorspace=colour,
                    subsampling="420" if colour == "ycbcr" else "444",
                )
            )
        case "webp":
            lossless: dict[str, Any] = {"lossless": True} if level is None else {"level": level, "lossless": False}
            return bytes(imagecodecs.webp_encode(pixels, **lossless))
        case "lerc" | "lerc_deflate" | "lerc_zstd":
            extra: Any = form.compression.partition("_")[2] or None
            image = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            if form.byte_order == "big":
                image = image.byteswap()  # libtiff swaps samples behind every codec, also behind this one
            return bytes(imagecodecs.lerc_encode(image, level=level or 0.0, compression=extra))
        case "packbits":
            # TIFF 6.0, section 9: each row is packed on its own.
            rows = _sample_rows(pixels, form)
            return b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in rows)
        case "none":
            return _sample_rows(pixels, form).tobytes()
        case generic:
            codecs: dict[str, Callable[..., Any]] = {
                "lzw": imagecodecs.lzw_encode,
                "lzma": imagecodecs.lzma_encode,
                "zstd": imagecodecs.zstd_encode,
            }
            encode = codecs.get(generic, imagecodecs.deflate_encode)
            arguments = () if level is None or generic == "lzw" else (int(level),)
            return bytes(encode(_sample_rows(pixels, form).tobytes(), *arguments))


def _sample_rows(pixels: npt.NDArray[Any], form: SegmentFormat) -> npt.NDArray[np.uint8]:
    """Give the bytes that go into a byte codec, shape (height, bytes of a row)."""
    height = pixels.shape[0]
    if form.bits_per_sample < pixels.dtype.itemsize * 8:
        return _packed_bits(pixels, form.bits_per_sample)
    import imagecodecs

    if form.predictor == 3:
        # Technical Note 3: the bytes of a row are sorted by significance, whatever the byte order.
        differences = np.ascontiguousarray(imagecodecs.floatpred_encode(np.ascontiguousarray(pixels), axis=-2))
        return differences.view(np.uint8).reshape(height, -1)
    if form.predictor == 2:
        # TIFF 6.0, section 14: each sample less the one a pixel to the left, modulo its width.
        pixels = imagecodecs.delta_encode(np.ascontiguousarray(pixels).view(f"u{pixels.dtype.itemsize}"), axis=-2)
    dtype = pixels.dtype.newbyteorder("<" if form.byte_order == "little" else ">")
    return np.ascontiguousarray(pixels, dtype=dtype).reshape(height, -1).view(np.uint8)


def _packed_bits(pixels: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Pack the lowest bits of each sample, first sample in the highest bits, rows padded to bytes."""
    if bits == 1:
        return np.packbits(pixels.reshape(pixels.shape[0], -1) & 1, axis=1)
    values = pixels.reshape(pixels.shape[0], -1).astype(np.uint64)
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    one_bit = ((values[..., None] >> shifts) & np.uint64(1)).astype(np.uint8)
    return np.packbits(one_bit.reshape(pixels.shape[0], -1), axis=1)


def split_jpeg_tables(stream: bytes) -> tuple[bytes, bytes]:
    """Split a JPEG stream into its tables, for the JPEGTables tag, and an abbreviated stream without them."""
    tables, rest = bytearray(stream[:2]), bytearray(stream[:2])
    at = 2
    while stream[at + 1] != _JPEG_SOS:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        (tables if stream[at + 1] in _JPEG_TABLE_MARKERS else rest).extend(stream[at:end])
        at = end
    return bytes(tables + b"\xff\xd9"), bytes(rest + stream[at:])
