"""What Lerc2 blobs declare, checked before the library sees them.

The library trusts a blob whose checksum is right: it allocates what the header asks for; where the first bit-stuffed
block holds no values it reads from a buffer that is not there; and where floats are coded as in version 6 it throws
what nobody catches. The last two end the process. All show in the first bytes of a blob. The rest is left to the
library, which is some ten times as fast as Python would be.

Format: https://github.com/Esri/lerc/blob/master/doc/MORE.md and the library's `Lerc2.cpp`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rasteret_sql.errors import CorruptTiffError, UnsupportedTiffError

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.tiff.codecs import Bytes

    Mask = npt.NDArray[np.uint8]

_DTYPES: Final = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
"""Sample types by their number in the header."""

_OFFSET_BYTES: Final = ((1,), (1,), (2, 1, 1), (2, 1), (4, 2, 2, 1), (4, 2, 1), (4, 2, 1), (8, 4, 4, 2))
"""Bytes of the offset of a block by sample type and the two bits that say how it is shortened."""

_RAW, _STUFFED, _ZERO = 0, 1, 2
"""Kinds of blocks; 3 is a constant other than 0."""

_COUNT_BYTES: Final = (4, 2, 1, 0)
"""Bytes of the number of values by two bits of a bit-stuffed block."""

_KIND_BITS, _DIFFERENCE = 0xC3, 4
"""Bits of the first byte of a block that say how many bytes it has; the others say where it lies."""

_KEPT: Final = {kept: bytes(flags & kept for flags in range(256)) for kept in (_KIND_BITS, _KIND_BITS | _DIFFERENCE)}
"""Tables that keep such bits."""

_END_OF_MASK: Final = -32768


class Blob(NamedTuple):
    """What the header of one blob says.

    Attributes:
        version: of the format.
        rows, columns, depth: size, and values per pixel.
        valid: number of valid pixels.
        block: rows and columns of a block.
        size: bytes of the blob.
        dtype: number of the sample type.
        max_error: of values, absolute.
        lowest, highest: of all values.
        body: bytes of the header.
    """

    version: int
    rows: int
    columns: int
    depth: int
    valid: int
    block: int
    size: int
    dtype: int
    max_error: float
    lowest: float
    highest: float
    body: int


def check_lerc(data: Bytes, rows: int, columns: int, samples: int, dtype: str) -> int:
    """Refuse LERC data that are not those of a tile; returns the values per pixel of each of its blobs.

    Args:
        data: one blob, or one for each sample.
        rows: of the tile.
        columns: of the tile.
        samples: of the tile; an alpha band of 8 bits may be coded as mask.
        dtype: of the tile.

    Raises:
        CorruptTiffError: the blobs are others, or are cut or made up.
        UnsupportedTiffError: they are in a coding that libtiff does not write and that cannot be read safely.
    """
    blobs = _blobs(data)
    depth = blobs[0].depth if blobs else 0
    declared = [(blob.rows, blob.columns, blob.depth, _DTYPES[blob.dtype]) for blob in blobs[:1]]
    fits = depth == samples or (depth == samples - 1 and dtype == "uint8")
    if depth == 1 and len(blobs) == samples:
        fits = True
    elif len(blobs) != 1:
        fits = False
    if not fits or declared[0] != (rows, columns, depth, dtype):
        raise CorruptTiffError(
            f"got {len(blobs)} LERC blobs of (rows, columns, samples, dtype) {declared}, expected "
            f"{(rows, columns, samples, dtype)}"
        )
    start = 0
    mask: Mask | None = None
    for blob in blobs:
        if blob[1:4] != blobs[0][1:4]:
            raise CorruptTiffError(f"got a LERC blob of {blob[1:4]}, expected {blobs[0][1:4]} as in the one before it")
        body = data[start : start + blob.size]
        try:
            mask = _mask(body, blob, mask)
            _check_first_block(body, blob, mask)
        except (IndexError, struct.error):
            raise CorruptTiffError(f"got a LERC blob of {blob.size} bytes that ends too early") from None
        start += blob.size
    return depth


def _blobs(data: Bytes) -> list[Blob]:
    """The headers of the blobs that follow each other; what is behind them is left out, as the library does."""
    blobs: list[Blob] = []
    start = 0
    while True:
        blob = _header(data, start)
        if blob is None:
            return blobs
        blobs.append(blob)
        start += blob.size


def _header(data: Bytes, start: int) -> Blob | None:
    if data[start : start + 6] != b"Lerc2 " or len(data) < start + 10:
        return None
    (version,) = struct.unpack_from("<i", data, start + 6)
    at = start + (14 if version >= 3 else 10)
    integers = struct.Struct("<7i" if version >= 4 else "<6i")
    numbers = struct.Struct("<3d")
    # Version 6 has another integer, four flags, and two more numbers.
    gap, tail = (8, 16) if version >= 6 else (0, 0)
    body = at + integers.size + gap + numbers.size + tail
    if not 0 < version <= 6 or len(data) < body + 4:
        return None
    values = integers.unpack_from(data, at)
    max_error, lowest, highest = numbers.unpack_from(data, at + integers.size + gap)
    rows, columns, *depth, valid, block, size, dtype = values
    blob = Blob(
        version, rows, columns, depth[0] if depth else 1, valid, block, size, dtype, max_error, lowest, highest,
        body - start,
    )  # fmt: skip
    if not (0 <= dtype < len(_DTYPES) and block > 0 and blob.body < size <= len(data) - start and blob.depth > 0):
        return None
    return blob


def _mask(data: Bytes, blob: Blob, before: Mask | None) -> Mask | None:
    """The validity mask of a blob (rows, columns), or None where all pixels are valid.

    Args:
        data: the blob.
        blob: its header.
        before: the mask of the blob before it, which one without a mask of its own shares.
    """
    pixels = blob.rows * blob.columns
    (nbytes,) = struct.unpack_from("<i", data, blob.body)
    if blob.valid in {0, pixels} or nbytes <= 0:
        return None if blob.valid == pixels else before
    parts: list[Bytes] = []
    at = blob.body + 4
    while True:
        (count,) = struct.unpack_from("<h", data, at)
        if count == _END_OF_MASK:
            break
        if count > 0:
            parts.append(data[at + 2 : at + 2 + count])
            at += 2 + count
        else:
            parts.append(bytes(data[at + 2 : at + 3]) * -count)
            at += 3
    bits = np.unpackbits(np.frombuffer(b"".join(parts), np.uint8))
    if bits.size < pixels:
        raise CorruptTiffError(f"got a LERC mask of {bits.size} pixels, expected {pixels}")
    return bits[:pixels].reshape(blob.rows, blob.columns)


def _check_first_block(data: Bytes, blob: Blob, mask: Mask | None) -> None:
    """Follow the blocks of a blob up to the first that is bit-stuffed, which has to hold values."""
    if not blob.valid or blob.lowest == blob.highest:
        return
    at = blob.body + 4 + max(struct.unpack_from("<i", data, blob.body)[0], 0)
    itemsize = np.dtype(_DTYPES[blob.dtype]).itemsize
    if blob.version >= 4:
        ranges = blob.depth * itemsize
        if data[at : at + ranges] == data[at + ranges : at + 2 * ranges]:
            return
        at += 2 * ranges
    in_one_sweep = data[at]
    at += 1
    may_be_huffman = (blob.version >= 2 and itemsize == 1 and blob.max_error == 0.5) or (
        blob.version >= 6 and blob.dtype >= 6 and blob.max_error == 0
    )
    if in_one_sweep:
        return
    if may_be_huffman and data[at]:
        if itemsize > 1:
            raise UnsupportedTiffError(
                "got LERC data in the lossless coding of floats of version 6, which cannot be decoded safely; "
                "expected that of version 4. Rewrite the file, for example with gdal_translate -co COMPRESS=LERC_ZSTD."
            )
        return
    at += may_be_huffman
    # Differences between samples of integers (version 5) are int32.
    has_differences = blob.version >= 5 and blob.dtype < 6
    significant = _KIND_BITS | (_DIFFERENCE if has_differences else 0)
    for top in range(0, blob.rows, blob.block):
        values, alike = _values_of_blocks(blob, mask, top)
        before = -1
        number = 0
        while number < len(values):
            flags = data[at]
            kind = flags & 3
            nbytes = 1
            if kind == _RAW:
                nbytes += itemsize * values[number]
            elif kind != _ZERO:
                is_difference = has_differences and flags & _DIFFERENCE
                nbytes += _OFFSET_BYTES[4 if is_difference else blob.dtype][flags >> 6]
            if kind == _STUFFED:
                at += nbytes
                if not data[at] & 31 or not any(data[at + 1 : at + 1 + _COUNT_BYTES[data[at] >> 6]]):
                    raise CorruptTiffError("got LERC data with a bit-stuffed block of no values")
                return
            run = 1
            if flags & significant == before and number < alike:
                # Second of its kind: the rest of a run is found without a loop.
                flags_ahead = bytes(data[at : at + (alike - number) * nbytes : nbytes]).translate(_KEPT[significant])
                run = len(flags_ahead) - len(flags_ahead.lstrip(flags_ahead[:1]))
            before = flags & significant
            at += run * nbytes
            number += run


def _values_of_blocks(blob: Blob, mask: Mask | None, top: int) -> tuple[list[int], int]:
    """How many values each block of a row of blocks has, and how many from the first on have as many as it."""
    size = blob.block
    height = min(size, blob.rows - top)
    if mask is not None:
        columns = np.count_nonzero(mask[top : top + height], axis=0)
        counts = np.add.reduceat(columns, np.arange(0, blob.columns, size))
        return np.repeat(counts, blob.depth).tolist(), 0
    whole, rest = divmod(blob.columns, size)
    alike = whole * blob.depth
    return [height * size] * alike + [height * rest] * (blob.depth if rest else 0), alike
