"""CCITT codecs of bilevel images (T.4 and T.6): modified Huffman, Group 3 and Group 4.

libtiff decodes these some ten times as fast, and imagecodecs decodes them too. But neither reports broken data: libtiff
gave pixels for most strips with one wrong bit, and for every Group 3 strip that was cut off. This decoder refuses a
strip that ends before its last row, and most strips with a wrong bit. Bilevel images are small: Python is fast enough.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from rasteret_sql.errors import CorruptTiffError, UnsupportedTiffError
from rasteret_sql.tiff import names

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.tiff.codecs import Bytes
    from rasteret_sql.tiff.image_codecs import ImageCodec
    from rasteret_sql.tiff.model import TileFormat

_WHITE: Final = (
    "00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 "
    "101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 "
    "0011000 00000010 00000011 00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111 "
    "00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 00001011 01010010 "
    "01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 "
    "00110010 00110011 00110100"
)
"""Codes of white runs of 0 to 63 pixels (T.4, table 2)."""

_WHITE_LONG: Final = (
    "11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 "
    "011001101 011010010 011010011 011010100 011010101 011010110 011010111 011011000 011011001 "
    "011011010 011011011 010011000 010011001 010011010 011000 010011011"
)
"""Codes of white runs of 64, 128, ... 1728 pixels, which another code follows."""

_BLACK: Final = (
    "0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 "
    "000011000 0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 "
    "00000101000 00000010111 00000011000 000011001010 000011001011 000011001100 000011001101 "
    "000001101000 000001101001 000001101010 000001101011 000011010010 000011010011 000011010100 "
    "000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011 "
    "000001010100 000001010101 000001010110 000001010111 000001100100 000001100101 000001010010 "
    "000001010011 000000100100 000000110111 000000111000 000000100111 000000101000 000001011000 "
    "000001011001 000000101011 000000101100 000001011010 000001100110 000001100111"
)
_BLACK_LONG: Final = (
    "0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 "
    "0000001101100 0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 "
    "0000001110011 0000001110100 0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 "
    "0000001010100 0000001010101 0000001011010 0000001011011 0000001100100 0000001100101"
)
_LONGER: Final = (
    "00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 "
    "000000010110 000000010111 000000011100 000000011101 000000011110 000000011111"
)
"""Codes of runs of 1792, 1856, ... 2560 pixels of either colour."""

_PASS, _HORIZONTAL = 100, 101
_MODES: Final = {
    "0001": _PASS, "001": _HORIZONTAL, "1": 0, "011": 1, "000011": 2, "0000011": 3, "010": -1, "000010": -2,
    "0000010": -3,
}  # fmt: skip
"""Codes of two-dimensional coding (T.4, table 4); vertical modes are their offset."""

_RUN_BITS: Final = 13
_MODE_BITS: Final = 7
_Table = list[tuple[int, int]]
"""(value, length of the code) by the next bits; length 0 where no code begins so."""


@lru_cache(maxsize=1)
def _tables() -> tuple[_Table, _Table, _Table]:
    """Lookup tables of white runs, black runs and modes."""

    def runs(short: str, long: str) -> dict[str, int]:
        codes = {code: run for run, code in enumerate(short.split())}
        codes |= {code: 64 * (index + 1) for index, code in enumerate(long.split())}
        return codes | {code: 1792 + 64 * index for index, code in enumerate(_LONGER.split())}

    def table(codes: dict[str, int], bits: int) -> _Table:
        found = [(0, 0)] * (1 << bits)
        for code, value in codes.items():
            first = int(code, 2) << (bits - len(code))
            for index in range(first, first + (1 << (bits - len(code)))):
                found[index] = (value, len(code))
        return found

    white = table(runs(_WHITE, _WHITE_LONG), _RUN_BITS)
    return white, table(runs(_BLACK, _BLACK_LONG), _RUN_BITS), table(_MODES, _MODE_BITS)


class _Rows:
    """Reads rows of runs from a stream of bits; runs alternate white and black, beginning with white."""

    __slots__ = ("_bits", "_modes", "_runs", "_width", "_words", "position")

    def __init__(self, data: Bytes, width: int) -> None:
        padded = np.frombuffer(bytes(data) + bytes(8), np.uint8).astype(np.uint32)
        words = padded[:-3] << 24 | padded[1:-2] << 16 | padded[2:-1] << 8 | padded[3:]
        # A list of integers would take forty bytes for each byte of data.
        self._words = array("I", words.astype(np.uintc).tobytes())
        self._bits = 8 * len(data)
        self._width = width
        white, black, self._modes = _tables()
        self._runs = (white, black)
        self.position = 0

    def _peek(self, bits: int) -> int:
        position = self.position
        if position > self._bits:
            raise CorruptTiffError("got CCITT data that end before the last row; the tile is truncated")
        return (self._words[position >> 3] >> (32 - bits - (position & 7))) & ((1 << bits) - 1)

    def align(self) -> None:
        """Skip to the next byte."""
        self.position = (self.position + 7) & ~7

    def skip_end_of_line(self) -> bool:
        """Skip fill bits and one end-of-line code, where they come next."""
        if self._peek(11):
            return False
        while not self._peek(1):
            self.position += 1
        self.position += 1
        return True

    def tag(self) -> int:
        """The bit after an end-of-line code: 1 where the row is coded for itself."""
        bit = self._peek(1)
        self.position += 1
        return bit

    def _run(self, color: int) -> int:
        total = 0
        table = self._runs[color]
        while True:
            run, length = table[self._peek(_RUN_BITS)]
            if not length:
                raise CorruptTiffError("got CCITT data with bits that are no code of a run")
            self.position += length
            total += run
            if run < 64:
                return total

    def one_dimensional(self) -> list[int]:
        """A row coded for itself."""
        runs: list[int] = []
        done = 0
        while done < self._width:
            run = self._run(len(runs) & 1)
            runs.append(run)
            done += run
        return self._checked(runs, done)

    def two_dimensional(self, reference: list[int]) -> list[int]:
        """A row coded by its differences to the row above; steps and names are those of libtiff."""
        width = self._width
        above = [*reference, 0, 0, 0]
        runs: list[int] = []
        a0, pending = 0, 0
        b1, index = above[0], 1
        while a0 < width:
            mode, length = self._modes[self._peek(_MODE_BITS)]
            if not length:
                raise CorruptTiffError("got CCITT data with bits that are no two-dimensional mode")
            self.position += length
            if mode == _HORIZONTAL:
                for _ in range(2):
                    run = self._run(len(runs) & 1)
                    runs.append(pending + run)
                    a0, pending = a0 + run, 0
                continue
            if runs:
                while b1 <= a0 and b1 < width:
                    b1 += above[index] + above[index + 1]
                    index += 2
            if mode == _PASS:
                b1 += above[index]
                pending += b1 - a0
                a0 = b1
                b1 += above[index + 1]
                index += 2
                continue
            run = b1 + mode - a0
            if run < 0:
                raise CorruptTiffError("got CCITT data whose runs go backwards")
            runs.append(pending + run)
            a0, pending = a0 + run, 0
            if mode >= 0:
                b1 += above[index]
                index += 1
            else:
                index -= 1
                b1 -= above[index]
            if index + 1 >= len(above):
                above += [0, 0]
        if pending:
            runs.append(pending)
        return self._checked(runs, a0)

    def _checked(self, runs: list[int], done: int) -> list[int]:
        if done != self._width:
            raise CorruptTiffError(f"got a CCITT row of {done} pixels, expected {self._width}")
        return runs


def decode_ccitt(
    data: Bytes, height: int, width: int, *, compression: int, t4_options: int = 0
) -> npt.NDArray[np.uint8]:
    """Decode a bilevel image; returns (height, width), 0 for what is coded as white and 1 for black.

    Args:
        data: the bytes, most significant bit first.
        height: rows.
        width: columns.
        compression: TIFF Compression: 2 (modified Huffman), 3 (Group 3) or 4 (Group 4).
        t4_options: TIFF T4Options; bit 0 says that Group 3 rows may be two-dimensional.

    Raises:
        CorruptTiffError: the data are no such image, or end too early.
        UnsupportedTiffError: Group 3 data use the uncompressed mode.
    """
    if compression == names.CCITT_FAX3 and t4_options & 2:
        raise UnsupportedTiffError(
            "got T4Options with uncompressed mode, expected compressed rows. "
            "Rewrite the file, for example with gdal_translate -of COG."
        )
    rows = _Rows(data, width)
    row = [width]
    lengths: list[int] = []
    counts: list[int] = []
    for _ in range(height):
        if compression == names.CCITT_FAX4:
            row = rows.two_dimensional(row)
        elif compression == names.CCITT_RLE:
            row = rows.one_dimensional()
            rows.align()
        else:
            has_end = rows.skip_end_of_line()
            is_two_dimensional = bool(t4_options & 1) and has_end and not rows.tag()
            row = rows.two_dimensional(row) if is_two_dimensional else rows.one_dimensional()
        lengths += row
        counts.append(len(row))
    return _pixels(lengths, counts, height, width)


def _pixels(lengths: list[int], counts: list[int], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Runs of all rows to pixels."""
    per_row = np.asarray(counts)
    first = np.repeat(np.cumsum(per_row) - per_row, per_row)
    colors = ((np.arange(len(lengths)) - first) & 1).astype(np.uint8)
    return np.repeat(colors, lengths).reshape(height, width)


def ccitt_codec(tile_format: TileFormat) -> ImageCodec:
    """The decoder of tiles of a CCITT compression."""
    samples = 1 if tile_format.planar else tile_format.samples_per_pixel
    if samples != 1 or tile_format.bits_per_sample != 1:
        raise UnsupportedTiffError(
            f"got CCITT tiles of {samples} samples of {tile_format.bits_per_sample} bits, expected 1 of 1 "
            "bit. Rewrite the file, for example with gdal_translate -of COG."
        )
    options = tile_format.codec_parameters[0] if tile_format.codec_parameters else 0

    def decode(data: Bytes, coded_height: int) -> npt.NDArray[np.uint8]:
        pixels = decode_ccitt(
            data,
            coded_height,
            tile_format.tile_width,
            compression=tile_format.compression,
            t4_options=options,
        )
        return pixels[..., None]

    return decode
