"""Byte codecs: compressed bytes into a buffer of known size. `samples` and `color` make pixels of them."""

from __future__ import annotations

import struct
import threading
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from rasteret_sql.errors import CorruptTiffError, UnsupportedTiffError
from rasteret_sql.tiff import names, tags
from rasteret_sql.tiff.model import MAX_TILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    U8 = npt.NDArray[np.uint8]

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
    """Decompresses one tile. Call it by `decompressed`, which checks what it gives."""

    def __call__(self, data: Bytes, out: U8, needed: int) -> U8:
        """Decode at least the first `needed` bytes of a tile.

        Args:
            data: the compressed bytes.
            out: contiguous room for the whole tile.
            needed: bytes that the caller uses, at most the size of `out`.

        Returns:
            The decoded bytes from the first on: part of `out`, or an array of the codec's own.
        """
        ...


_ONE_STRIP: Final = struct.Struct("<2sHIH" + "HHII" * 8 + "I")
"""A TIFF up to its only strip: header, eight entries of an IFD, no next IFD."""

_thread = threading.local()


def scratch(nbytes: int) -> U8:
    """A buffer of this thread; it is valid until the next call of the thread."""
    if nbytes > KEPT_SCRATCH_BYTES:
        return np.empty(nbytes, np.uint8)
    kept: U8 | None = getattr(_thread, "buffer", None)
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


def byte_codec(compression: int) -> ByteCodec | None:
    """The decoder of a TIFF Compression code, or None where it is no byte codec. Imports imagecodecs."""
    if compression == names.NONE:
        return _none
    make = _MAKERS.get(compression)
    return None if make is None else make()


def decompressed(codec: ByteCodec, data: Bytes, out: U8, needed: int) -> U8:
    """The first `needed` bytes of a tile; they lie in `out`, or in memory of the codec's own.

    Raises:
        CorruptTiffError: the data hold fewer bytes.
    """
    found = codec(data, out, needed)
    if found.size < needed:
        raise CorruptTiffError(f"got {found.size} bytes decoded, expected {needed}; the tile is truncated")
    return found[:needed]


def fill(codec: ByteCodec, data: Bytes, out: U8) -> None:
    """Fill `out` with the bytes of a tile, wherever the codec leaves them.

    Raises:
        CorruptTiffError: the data hold fewer bytes.
    """
    found = decompressed(codec, data, out, out.size)
    if found.ctypes.data != out.ctypes.data:
        out[:] = found


def _none(data: Bytes, out: U8, needed: int) -> U8:
    """The data themselves, however many; nothing is copied."""
    del out, needed
    return np.frombuffer(data, np.uint8)


def _plain(name: str) -> Callable[[], ByteCodec]:
    """A codec of imagecodecs that stops where `out` is full."""

    def make() -> ByteCodec:
        function = imagecodecs_function(name)

        def decode(data: Bytes, out: U8, needed: int) -> U8:
            del needed
            found: U8 = function(data, out=out)
            return found

        return decode

    return make


def _growing(name: str, too_small: str) -> Callable[[], ByteCodec]:
    """A codec of imagecodecs that fails with the words `too_small` where there are more data than `out` has room for.

    Such data are decoded to their end, so that their checksum counts, and cut off as libtiff does: the last strip of
    an image may be coded as high as the others.
    """

    def make() -> ByteCodec:
        function = imagecodecs_function(name)

        def decode(data: Bytes, out: U8, needed: int) -> U8:
            del needed
            while True:
                try:
                    found: U8 = function(data, out=out)
                except RuntimeError as error:
                    if too_small not in str(error) or 2 * out.size > MAX_TILE_BYTES:
                        raise
                    out = np.empty(2 * out.size, np.uint8)
                else:
                    return found

        return decode

    return make


def _libtiff(compression: int) -> Callable[[], ByteCodec]:
    """A codec of libtiff, which takes nothing but whole files and stops after `needed` bytes.

    The codecs of imagecodecs itself are no replacement: its LZW is half as fast and reads beyond its buffer where codes
    are broken, and its PackBits refuses data that go on behind the tile.
    """

    def make() -> ByteCodec:
        tiff_decode = imagecodecs_function("tiff_decode")

        def decode(data: Bytes, out: U8, needed: int) -> U8:
            found = out[:needed]
            tiff_decode(_one_strip_tiff(compression, data, needed), out=found)
            return found

        return decode

    return make


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


_MAKERS: Final[dict[int, Callable[[], ByteCodec]]] = {
    names.LZW: _libtiff(names.LZW),
    names.DEFLATE: _growing("deflate_decode", "INSUFFICIENT_SPACE"),
    names.OLD_DEFLATE: _growing("deflate_decode", "INSUFFICIENT_SPACE"),
    names.PACKBITS: _libtiff(names.PACKBITS),
    names.LZMA: _plain("lzma_decode"),
    names.ZSTD: _growing("zstd_decode", "too small"),
}
