"""The parts of a file fetched so far, and the request for parts that are missing."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from rasteret_sql.errors import CorruptTiffError

if TYPE_CHECKING:
    from collections.abc import Iterable

MERGE_GAP_BYTES = 4096
"""Missing ranges that lie closer than this are asked for as one."""


class NeedBytes(Exception):  # noqa: N818 - control flow between parser and caller, not an error
    """Parsing cannot go on without these byte ranges; fetch them, add them, and parse again.

    Attributes:
        ranges: (start, end) pairs, sorted, disjoint, `end` exclusive.
    """

    def __init__(self, ranges: tuple[tuple[int, int], ...]) -> None:
        super().__init__(f"{len(ranges)} byte ranges are missing")
        self.ranges = ranges


class SparseBytes:
    r"""The parts of one file that have been fetched so far.

    Where a store gave fewer bytes than were asked for, the file ends there: set `file_size`, or the parser
    asks for the missing bytes again.

    Args:
        parts: (offset, data) pairs to begin with.
        file_size: size of the whole file in bytes, or None where it is not known.

    Example:
        >>> buffer = SparseBytes((0, b"II*\x00"), file_size=4)
        >>> bytes(buffer.read(0, 2))
        b'II'
    """

    __slots__ = ("_parts", "_starts", "file_size")

    def __init__(self, *parts: tuple[int, bytes], file_size: int | None = None) -> None:
        self._starts: list[int] = []
        self._parts: list[bytes] = []
        self.file_size = file_size
        for offset, data in parts:
            self.add(offset, data)

    def add(self, offset: int, data: bytes) -> None:
        """Add the bytes of the file that begin at `offset`; touching and overlapping parts are joined."""
        if not data:
            return
        start, end = offset, offset + len(data)
        kept_starts: list[int] = []
        kept_parts: list[bytes] = []
        for part_start, part in zip(self._starts, self._parts, strict=True):
            part_end = part_start + len(part)
            if part_end < start or part_start > end:
                kept_starts.append(part_start)
                kept_parts.append(part)
                continue
            if part_start < start:
                data = part[: start - part_start] + data
                start = part_start
            if part_end > end:
                data = data + part[len(part) - (part_end - end) :]
                end = part_end
        index = bisect_right(kept_starts, start)
        kept_starts.insert(index, start)
        kept_parts.insert(index, data)
        self._starts, self._parts = kept_starts, kept_parts

    def has(self, start: int, end: int) -> bool:
        """Whether bytes `start` to `end` (exclusive) are all there."""
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and end <= self._starts[index] + len(self._parts[index])

    def available(self, start: int, max_bytes: int) -> memoryview:
        """The bytes from `start` on that are there without a gap; empty where byte `start` is missing."""
        index = bisect_right(self._starts, start) - 1
        if index < 0:
            return memoryview(b"")
        return memoryview(self._parts[index])[start - self._starts[index] :][:max_bytes]

    def read(self, start: int, end: int) -> memoryview:
        """Bytes `start` to `end` (exclusive), without a copy.

        Raises:
            NeedBytes: some of them are missing.
            CorruptTiffError: the file is known to end before `end`.
        """
        index = bisect_right(self._starts, start) - 1
        if index >= 0:
            first = start - self._starts[index]
            part = self._parts[index]
            if end - self._starts[index] <= len(part):
                return memoryview(part)[first : first + end - start]
        self.check(start, end)
        raise NeedBytes(((start, end),))

    def check(self, start: int, end: int) -> None:
        """Refuse a range that the file cannot hold.

        Raises:
            CorruptTiffError: the range is not one, or the file is known to end before `end`.
        """
        if start < 0 or end < start:
            raise CorruptTiffError(f"bytes {start} to {end} are no range of a file")
        if self.file_size is not None and end > self.file_size:
            raise CorruptTiffError(
                f"truncated: bytes {start} to {end} are needed, but the file has {self.file_size} bytes"
            )


class RecordedBytes(SparseBytes):
    """Parts of a file that remember which of their bytes were read: the bytes that another parse needs."""

    __slots__ = ("_read",)

    def __init__(self, *parts: tuple[int, bytes], file_size: int | None = None) -> None:
        self._read: list[tuple[int, int]] = []
        super().__init__(*parts, file_size=file_size)

    def available(self, start: int, max_bytes: int) -> memoryview:
        """The bytes from `start` on that are there without a gap; see `SparseBytes.available`."""
        data = super().available(start, max_bytes)
        self._read.append((start, start + len(data)))
        return data

    def read(self, start: int, end: int) -> memoryview:
        """Bytes `start` to `end` (exclusive), without a copy; see `SparseBytes.read`."""
        data = super().read(start, end)
        self._read.append((start, end))
        return data

    def read_parts(self) -> tuple[tuple[int, bytes], ...]:
        """Give a copy of all bytes that were read, as (offset, data) pairs."""
        merged = merge_ranges((part for part in self._read if part[0] < part[1]), max_gap_bytes=0)
        return tuple((start, bytes(super(RecordedBytes, self).read(start, end))) for start, end in merged)


def merge_ranges(
    ranges: Iterable[tuple[int, int]], *, max_gap_bytes: int = MERGE_GAP_BYTES
) -> tuple[tuple[int, int], ...]:
    """Sort ranges (`end` exclusive) and join those that overlap or are `max_gap_bytes` or less apart."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1] + max_gap_bytes:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
