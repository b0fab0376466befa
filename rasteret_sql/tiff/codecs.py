"""Byte codecs: compressed bytes into a buffer of known size. What they mean as samples is said elsewhere."""

from __future__ import annotations

import re
import struct
import threading
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from rasteret_sql.errors import CorruptTiffError, UnsupportedTiffError
from rasteret_sql.tiff import names, tags

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

Bytes = bytes | memoryview

KEPT_SCRATCH_BYTES: Final = 16 << 20
"""Scratch buffers up to this size stay with their thread; larger ones are freed after use."""

_EXPANSION: Final[dict[int, int]] = {
    names.NONE: 1,
    names.LZW: 4096,
    names.DEFLATE: 1100,
    names.OLD_DEFLATE: 1100,
    names.PACKBITS: 64,
    names.LZMA: 1 << 14,
    names.ZSTD: 1 << 16,
}
"""How many bytes one compressed byte can become at most; a tile that claims more is refused unallocated."""


class ByteCodec(Protocol):
    """Decompresses one tile."""

    def __call__(self, data: Bytes, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Decode into `out`, a contiguous buffer; returns the part of it that was filled."""
        ...


_ONE_STRIP: Final = struct.Struct("<2sHIH" + "HHII" * 8 + "I")
"""A TIFF up to its only strip: header, eight entries of an IFD, no next IFD."""

_thread = threading.local()


def scratch(nbytes: int) -> npt.NDArray[np.uint8]:
    """A buffer of this thread, valid until the thread asks again."""
    if nbytes > KEPT_SCRATCH_BYTES:
        return np.empty(nbytes, np.uint8)
    kept: npt.NDArray[np.uint8] | None = getattr(_thread, "buffer", None)
    if kept is None or kept.size < nbytes:
        kept = _thread.buffer = np.empty(nbytes, np.uint8)
    return kept[:nbytes]


def check_expansion(compression: int, compressed_bytes: int, decoded_bytes: int) -> None:
    """Refuse a tile that cannot become as large as its header says, before anything is allocated.

    Raises:
        CorruptTiffError: no data of the codec expands that much.
    """
    limit = _EXPANSION.get(compression)
    # A few bytes of header or end marker do not count; small tiles are not worth refusing.
    if limit is not None and decoded_bytes > (compressed_bytes + 64) * limit:
        raise CorruptTiffError(
            f"got {compressed_bytes} bytes of {names.compression_name(compression)} data, expected enough "
            f"for {decoded_bytes} bytes; the tile is truncated or its size is wrong"
        )


def imagecodecs_function(name: str) -> Any:
    """A function of imagecodecs, which is imported by the first call.

    Raises:
        UnsupportedTiffError: the installed version has no such function.
    """
    import imagecodecs

    try:
        function = getattr(imagecodecs, name)
    except AttributeError:
        function = None
    if function is None:
        raise UnsupportedTiffError(
            f"got imagecodecs {imagecodecs.__version__}, which has no {name}; expected a newer one. "
            "Upgrade it: pip install -U imagecodecs."
        )
    return function


#: What libtiff says of LZW data that end before the strip is full, with a code that says so or without; of broken
#: codes it says something else.
_LZW_SHORT: Final = re.compile(r"short (\d+) bytes")
_LZW_CUT: Final = "not terminated with EOI"


def byte_codec(compression: int) -> ByteCodec | None:
    """The decoder of a TIFF Compression code, or None where it is no byte codec. Imports imagecodecs."""
    if compression == names.NONE:
        return _none
    make = _MAKERS.get(compression)
    return None if make is None else make()


def _none(data: Bytes, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The data themselves, however many; nothing is copied."""
    del out
    return np.frombuffer(data, np.uint8)


def _deflate() -> ByteCodec:
    deflate_decode = imagecodecs_function("deflate_decode")

    def decode(data: Bytes, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        try:
            return _filled(deflate_decode(data, out=out), out)
        except RuntimeError as error:
            if "INSUFFICIENT_SPACE" not in str(error):
                raise
        # More data than the tile has pixels. libtiff reads what it needs and so does this.
        import zlib

        first = zlib.decompressobj().decompress(data, out.size)
        out[: len(first)] = np.frombuffer(first, np.uint8)
        return out[: len(first)]

    return decode


def _lzw() -> ByteCodec:
    tiff_decode = imagecodecs_function("tiff_decode")

    # libtiff's decoder takes nothing but whole files. imagecodecs has another one, which is half as fast and reads
    # beyond its buffer where codes are broken.
    def decode(data: Bytes, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        try:
            tiff_decode(_one_strip_tiff(names.LZW, data, out.size), out=out)
        except RuntimeError as error:
            short = _LZW_SHORT.search(str(error))
            if short is None and _LZW_CUT not in str(error):
                raise
            found = _lzw_size(tiff_decode, data, out) if short is None else out.size - int(short[1])
            if found <= 0:
                raise
            tiff_decode(_one_strip_tiff(names.LZW, data, found), out=out[:found])
            return out[:found]
        return out

    return decode


def _lzw_size(tiff_decode: Callable[..., Any], data: Bytes, out: npt.NDArray[np.uint8]) -> int:
    """How many bytes LZW data without an end give: the most that libtiff decodes."""
    least, most = 0, out.size - 1
    while least < most:
        middle = (least + most + 1) // 2
        try:
            tiff_decode(_one_strip_tiff(names.LZW, data, middle), out=out[:middle])
        except RuntimeError:
            most = middle - 1
        else:
            least = middle
    return least


def _one_strip_tiff(compression: int, data: Bytes, decoded_bytes: int) -> bytes:
    """A TIFF file whose image is one row of bytes, with the data as its only strip."""
    entries = {
        tags.IMAGE_WIDTH: decoded_bytes,
        tags.IMAGE_LENGTH: 1,
        tags.BITS_PER_SAMPLE: 8,
        tags.COMPRESSION: compression,
        tags.PHOTOMETRIC: 1,
        tags.STRIP_OFFSETS: _ONE_STRIP.size,
        tags.ROWS_PER_STRIP: 1,
        tags.STRIP_BYTE_COUNTS: len(data),
    }
    fields = chain.from_iterable((tag, tags.LONG, 1, value) for tag, value in entries.items())
    return b"".join((_ONE_STRIP.pack(b"II", 42, 8, len(entries), *fields, 0), data))


def _packbits() -> ByteCodec:
    packbits_decode = imagecodecs_function("packbits_decode")

    def decode(data: Bytes, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        try:
            return _filled(packbits_decode(data, out=out), out)
        except RuntimeError as error:
            if "TOO_SMALL" not in str(error):
                raise
        # As above, where the tile has what it needs.
        return np.frombuffer(packbits_decode(data[: _packbits_end(data, out.size)]), np.uint8)[: out.size]

    return decode


def _packbits_end(data: Bytes, decoded_bytes: int) -> int:
    """How many bytes of PackBits data give at least `decoded_bytes`; all where they give fewer."""
    at = decoded = 0
    while decoded < decoded_bytes and at < len(data):
        code = data[at]
        decoded += code + 1 if code < 128 else (257 - code) % 129
        at += code + 2 if code < 128 else 1 + (code > 128)
    return at


def _plain(name: str) -> Callable[[], ByteCodec]:
    """A codec of imagecodecs that fills `out` and needs no care."""

    def make() -> ByteCodec:
        function = imagecodecs_function(name)

        def decode(data: Bytes, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
            return _filled(function(data, out=out), out)

        return decode

    return make


def _filled(result: Any, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return out[: len(result)]


_MAKERS: Final[dict[int, Callable[[], ByteCodec]]] = {
    names.LZW: _lzw,
    names.DEFLATE: _deflate,
    names.OLD_DEFLATE: _deflate,
    names.PACKBITS: _packbits,
    names.LZMA: _plain("lzma_decode"),
    names.ZSTD: _plain("zstd_decode"),
}
