"""What every fuzzer runs: parse a header and decode tiles of whatever bytes, within bounds that can be counted.

What may come out are results and errors of `rasteret_sql.errors`. Bounds are numbers of calls, rounds and bytes and not
seconds, so that a slow machine fails no test and a fast one hides nothing.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rasteret_sql.errors import TiffError
from rasteret_sql.tiff.buffer import NeedBytes, SparseBytes
from rasteret_sql.tiff.decode import TileDecoder
from rasteret_sql.tiff.header import parse_header

if TYPE_CHECKING:
    from rasteret_sql.tiff.model import Header, Level, TileFormat

MAX_ROUNDS = 512
"""As `rasteret_sql.index.headers` allows."""

MAX_CALLS = 100_000
"""Questions to the buffer in one round: some for each of `MAX_IFDS` tables, some for each value of each level."""

READ_BYTES_FACTOR = 300
"""How often the bytes of a file may be read in one round: IFDs may overlap, and share values."""

MAX_TILE_BYTES = 4 << 20
"""Larger tiles are refused, so that fuzzing measures the decoders and not the memory of the machine."""

TILES_PER_LEVEL = 3


class BoundsError(AssertionError):
    """A promise of the parser or decoder is broken, though nothing crashed."""


class CountedBytes(SparseBytes):
    """A buffer that counts what is asked of it and checks what it gives."""

    __slots__ = ("calls", "read_bytes")

    def __init__(self, *parts: tuple[int, bytes], file_size: int | None = None) -> None:
        super().__init__(*parts, file_size=file_size)
        self.calls = self.read_bytes = 0

    def _count(self) -> None:
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise BoundsError(f"more than {MAX_CALLS} questions to the buffer in one round")

    def has(self, start: int, end: int) -> bool:
        self._count()
        return super().has(start, end)

    def read(self, start: int, end: int) -> memoryview:
        self._count()
        found = super().read(start, end)
        if start < 0 or len(found) != end - start:
            raise BoundsError(f"bytes {start} to {end} gave {len(found)} bytes")
        self.read_bytes += len(found)
        return found


@dataclass(slots=True)
class Cost:
    """What parsing took.

    Attributes:
        rounds: times that bytes were missing.
        calls: most questions to the buffer in one round.
        read_bytes: most bytes read from the buffer in one round.
    """

    rounds: int = 0
    calls: int = 0
    read_bytes: int = 0


def parse(data: bytes, first_bytes: int = 1 << 15, *, size_known: bool = True, cost: Cost | None = None) -> Header:
    """Parse the header of a whole file, giving only what is asked for.

    Args:
        data: the file.
        first_bytes: how many bytes are there in the first round.
        size_known: whether the size of the file is known from the beginning.
        cost: counts what it took.

    Raises:
        TiffError: the header cannot be parsed.
        BoundsError: a bound is broken.
    """
    cost = cost or Cost()
    buffer = CountedBytes((0, data[:first_bytes]), file_size=len(data) if size_known else None)
    while True:
        buffer.calls = buffer.read_bytes = 0
        try:
            return parse_header(buffer, href="fuzzed.tif")
        except NeedBytes as need:
            _answer(buffer, need.ranges, data)
        finally:
            cost.calls = max(cost.calls, buffer.calls)
            cost.read_bytes = max(cost.read_bytes, buffer.read_bytes)
        cost.rounds += 1
        if cost.rounds > MAX_ROUNDS:
            raise BoundsError(f"{MAX_ROUNDS} rounds of missing bytes")
        if cost.read_bytes > READ_BYTES_FACTOR * (len(data) + 4096):
            raise BoundsError(f"{cost.read_bytes} bytes read of a file of {len(data)}")


def _answer(buffer: CountedBytes, ranges: tuple[tuple[int, int], ...], data: bytes) -> None:
    """Add the missing bytes; each round has to ask for something that is not there and can be."""
    new = False
    size = buffer.file_size
    for start, end in ranges:
        if not 0 <= start < end or (size is not None and end > size):
            raise BoundsError(f"bytes {start} to {end} of {size} were asked for")
        if not SparseBytes.has(buffer, start, end):
            new = True
            part = data[start:end]
            buffer.add(start, part)
            if len(part) < end - start:
                buffer.file_size = len(data)
    if not new:
        raise BoundsError("what was asked for was there already")


def examine(data: bytes, first_bytes: int = 1 << 15, *, size_known: bool = True, cost: Cost | None = None) -> str:
    """Parse a file and decode some tiles of each of its levels and masks.

    Returns:
        What came of it: `"read"`, or the name of the error of the header or of the last tile that failed.

    Raises:
        BoundsError: a bound is broken.
        Exception: whatever else leaks; none may.
    """
    try:
        header = parse(data, first_bytes, size_known=size_known, cost=cost)
    except TiffError as error:
        check_message(error)
        return type(error).__name__
    outcome = "read"
    if len(header.bands) != header.levels[0].format.samples_per_pixel:
        raise BoundsError(f"{len(header.bands)} bands of {header.levels[0].format.samples_per_pixel} samples")
    for level in header.levels:
        for one in (level, level.mask):
            if one is not None:
                outcome = _examine_level(data, one, outcome, size_known=size_known)
    return outcome


def _examine_level(data: bytes, level: Level, outcome: str, *, size_known: bool) -> str:
    tile = level.format
    planes = tile.samples_per_pixel if tile.planar else 1
    per_plane = level.tiles_across * level.tiles_down
    if not len(level.tile_offsets) == len(level.tile_byte_counts) == planes * per_plane:
        raise BoundsError(f"{len(level.tile_offsets)} tiles, expected {planes * per_plane}")
    try:
        decoder = TileDecoder(tile, max_tile_bytes=MAX_TILE_BYTES)
    except TiffError as error:
        check_message(error)
        return type(error).__name__
    count = planes * per_plane
    for index in sorted({*range(min(count, TILES_PER_LEVEL)), count - 1}):
        start, size = int(level.tile_offsets[index]), int(level.tile_byte_counts[index])
        if not start or not size:
            continue
        if start + size > len(data):
            if not size_known:
                continue  # the store will say so
            raise BoundsError(f"tile {index} at {start} to {start + size} of {len(data)} bytes")
        row, col = divmod(index % per_plane, level.tiles_across)
        height = min(tile.tile_height, level.height - row * tile.tile_height)
        width = min(tile.tile_width, level.width - col * tile.tile_width)
        failed = decode(decoder, memoryview(data)[start : start + size], height, width)
        outcome = failed or outcome
    return outcome


def decode(decoder: TileDecoder, data: bytes | memoryview, height: int, width: int) -> str | None:
    """Decode a tile; the name of the error where it fails.

    Raises:
        BoundsError: the result is not what was promised.
    """
    try:
        pixels = decoder.decode(data, height, width)
    except TiffError as error:
        check_message(error)
        return type(error).__name__
    if pixels.shape != (height, width, decoder.samples) or pixels.dtype != decoder.dtype:
        raise BoundsError(f"decoded to {pixels.shape} of {pixels.dtype}")
    return None


def examine_tile(tile_format: TileFormat, data: bytes) -> str | None:
    """Decode bytes as a whole tile of a format, and its top left pixel alone; the name of the error where it fails."""
    try:
        decoder = TileDecoder(tile_format, max_tile_bytes=MAX_TILE_BYTES)
    except TiffError as error:
        check_message(error)
        return type(error).__name__
    with contextlib.suppress(TiffError):
        decoder.decode(data, 1, 1, coded_height=tile_format.tile_height)
    return decode(decoder, data, tile_format.tile_height, tile_format.tile_width)


def check_message(error: TiffError) -> None:
    """Messages are read by people: they have an end, and no lines of data.

    Raises:
        BoundsError: this one has not.
    """
    if len(str(error)) > 2000:
        raise BoundsError(f"a message of {len(str(error))} characters: {str(error)[:200]}")
