"""Image file directories: the chain of tables that a TIFF is made of, and the values of their tags."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from rasteret_sql.errors import CorruptTiffError, NotTiffError
from rasteret_sql.tiff import tags
from rasteret_sql.tiff.buffer import NeedBytes

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.tiff.buffer import SparseBytes
    from rasteret_sql.tiff.model import ByteOrder

MAX_IFDS: Final = 1024
"""Most IFDs that are read; a note says that others were left out. All are walked again after each read."""

MAX_CHAIN_ENTRIES: Final = 1 << 16
"""Most entries of all IFDs together, since tables may overlap; a note says that others were left out."""

MAX_ENTRIES: Final = 4096
"""Entries of one IFD; libtiff writes fewer than 100."""

MAX_VALUE_BYTES: Final = 16 << 20
"""Largest value of a tag that describes the whole file."""

MAX_LAYOUT_BYTES: Final = 1 << 20
"""Largest value of a tag of each image that is not a tile array: twice that of 65,535 samples."""

MAX_TILES: Final = 1 << 24
"""Tiles of one image: a million by a million pixels in tiles of 256."""

MAX_FILE_BYTES: Final = 1 << 62
"""Where a file whose size is not known ends at the latest."""

FIRST_READ_BYTES: Final = 32 << 10
"""What is asked for when nothing of a file is known."""

IFD_READ_BYTES: Final = 8 << 10
"""What is asked for at the offset of an IFD: its table and, usually, its values."""


Entry = tuple[int, int, int, int]
"""One entry of an IFD: tag, field type, number of values, and its value field as an unsigned number in the byte order
of the file, which is where the values lie, or the values themselves where they fit."""


@dataclass(frozen=True, slots=True)
class Container:
    """What the first bytes of a TIFF say, and how they are unpacked."""

    byte_order: ByteOrder
    bigtiff: bool
    first_ifd: int

    @property
    def prefix(self) -> str:
        """Byte order for `struct`."""
        return "<" if self.byte_order == "little" else ">"

    @property
    def field_bytes(self) -> int:
        """Size of the value field of an entry."""
        return 8 if self.bigtiff else 4


@dataclass(slots=True)
class Directory:
    """One IFD whose table has been read; values are looked up on demand.

    Attributes:
        where: file and IFD, for messages.
        container: how the file is unpacked.
        buffer: the bytes of the file.
        table_entries: entries of the table.
        entries: the entry of each tag, the first one where there are more.
    """

    where: str
    container: Container
    buffer: SparseBytes
    table_entries: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)

    def __contains__(self, tag: int) -> bool:
        return tag in self.entries

    def length(self, tag: int) -> int:
        """How many values a tag has; 0 where it is not there."""
        return self.entries[tag][2] if tag in self.entries else 0

    def check_extent(self, tag: int, start: int, nbytes: int) -> None:
        """Refuse a value that is too large, or that the file ends before.

        Raises:
            CorruptTiffError: it is.
        """
        limit = 8 * MAX_TILES if tag in TILE_ARRAYS else MAX_VALUE_BYTES if tag in _OF_THE_FILE else MAX_LAYOUT_BYTES
        if nbytes > limit:
            raise self.corrupt(tag, f"{self.length(tag)} values in {nbytes} bytes", f"at most {limit} bytes")
        file_size = MAX_FILE_BYTES if self.buffer.file_size is None else self.buffer.file_size
        if start + nbytes > file_size:
            raise self.corrupt(
                tag,
                f"a value at bytes {start} to {start + nbytes}",
                f"a value inside the {file_size} bytes of the file (truncated?)",
            )

    def missing(self, wanted: frozenset[int]) -> list[tuple[int, int]]:
        """Ranges of the values of `wanted` tags that are not in the buffer yet."""
        sizes, has, field_bytes = tags.TYPE_SIZES, self.buffer.has, self.container.field_bytes
        ranges = []
        for tag, kind, length, offset in self.entries.values():
            nbytes = length * sizes.get(kind, 0)
            if nbytes > field_bytes and tag in wanted and not has(offset, offset + nbytes):
                ranges.append((offset, offset + nbytes))
                self.check_extent(tag, offset, nbytes)
        return ranges

    def raw(self, tag: int) -> bytes | memoryview:
        """The bytes of the value of a tag that is there.

        Raises:
            NeedBytes: they are not in the buffer yet.
            CorruptTiffError: the type is unknown, the value is too large, or the file ends before it.
        """
        _, kind, length, value = self.entries[tag]
        size = tags.TYPE_SIZES.get(kind)
        if size is None:
            raise self.corrupt(tag, f"field type {kind}", "one of 1 to 13 or 16 to 18")
        nbytes = size * length
        container = self.container
        if nbytes <= container.field_bytes:
            return value.to_bytes(container.field_bytes, container.byte_order)[:nbytes]
        self.check_extent(tag, value, nbytes)
        return self.buffer.read(value, value + nbytes)

    def numbers(self, tag: int) -> tuple[int | float, ...]:
        """The values of a tag as numbers; empty where the tag is not there. Rationals are divided."""
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        _, kind, length, _ = entry
        code = tags.TYPE_CODES.get(kind)
        if code is None:
            raise self.corrupt(tag, "text", "numbers")
        raw = self.raw(tag)
        # A count, not a letter for each value: `struct` needs 32 bytes of memory for every letter.
        values = struct.unpack(f"{self.container.prefix}{length * len(code)}{code[0]}", raw)
        if len(code) == 2:
            pairs = zip(values[::2], values[1::2], strict=True)
            return tuple(a / b if b else float("nan") for a, b in pairs)
        return values

    def integers(self, tag: int) -> tuple[int, ...]:
        """The values of a tag as integers; empty where the tag is not there."""
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        if entry[2] == 1 and entry[1] in _SINGLE:
            return (self.integer(tag),)
        if entry[1] not in tags.INTEGER_TYPES:
            raise self.corrupt(tag, f"field type {entry[1]}", "an integer type")
        return tuple(map(int, self.numbers(tag)))

    def integer(self, tag: int, default: int | None = None) -> int:
        """The first value of a tag as integer.

        Raises:
            CorruptTiffError: the tag is not there and there is no default, or it holds no integer.
        """
        entry = self.entries.get(tag)
        if entry is None:
            if default is None:
                raise self.corrupt(tag, "no value", "an integer")
            return default
        _, kind, length, value = entry
        if length == 1 and kind in _SINGLE:
            # It comes first in its field, which most values are.
            bits = _SINGLE[kind]
            if self.container.byte_order == "big":
                value >>= 8 * self.container.field_bytes - bits
            return value & ((1 << bits) - 1)
        values = self.integers(tag)
        if not values:
            raise self.corrupt(tag, "no value", "an integer")
        return values[0]

    def array(self, tag: int) -> npt.NDArray[np.int64]:
        """The values of a tag as int64 array, for tile offsets and byte counts of any number."""
        kind = self.entries[tag][1]
        if kind not in tags.INTEGER_TYPES:
            raise self.corrupt(tag, f"field type {kind}", "an integer type")
        dtype = f"{self.container.prefix}{tags.TYPE_CODES[kind]}"
        values = np.frombuffer(self.raw(tag), dtype).astype(np.int64)
        if kind not in _BELOW_2_63 and values.size and int(values.min()) < 0:
            raise self.corrupt(tag, "a value below 0 or above 2^63", "offsets and byte counts")
        return values

    def text(self, tag: int) -> str | None:
        """The value of a text tag up to its first NUL, or None where the tag is not there."""
        if tag not in self.entries:
            return None
        return bytes(self.raw(tag)).split(b"\0", 1)[0].decode("utf-8", "replace")

    def corrupt(self, tag: int, got: str, expected: str) -> CorruptTiffError:
        """The error for a tag whose value cannot be."""
        name = tags.tag_name(tag)
        return CorruptTiffError(f"{self.where}: {name}: got {got}, expected {expected}. {REMEDY}")


REMEDY: Final = "Fetch the file again or rewrite it, for example with gdal_translate -of COG."

_OF_THE_FILE: Final = frozenset(tags.DATASET_TAGS)

_SINGLE: Final = {tags.SHORT: 16, tags.LONG: 32}
"""Bits of the field types that most tags of one value have."""

_BELOW_2_63: Final = frozenset((1, tags.SHORT, tags.LONG))
"""Unsigned field types whose values all fit int64."""

_TABLES: Final = {
    (order, bigtiff): tuple(struct.Struct(("<" if order == "little" else ">") + code) for code in codes)
    for order in ("little", "big")
    for bigtiff, codes in ((False, ("H", "HHII", "I")), (True, ("Q", "HHQQ", "Q")))
}
"""The number of entries of an IFD, an entry, and the offset of the next IFD, by byte order and BigTIFF."""

TILE_ARRAYS: Final = frozenset((tags.STRIP_OFFSETS, tags.STRIP_BYTE_COUNTS, tags.TILE_OFFSETS, tags.TILE_BYTE_COUNTS))


def parse_container(buffer: SparseBytes, name: str) -> Container:
    """Parse the 8 or 16 bytes that a TIFF begins with.

    Raises:
        NotTiffError: they are not those of a TIFF.
        NeedBytes: they are not there yet.
    """
    size = buffer.file_size
    if size is not None and size < 8:
        raise NotTiffError(f"{name}: got a file of {size} bytes, expected a TIFF. Check the path or URL.")
    if not buffer.has(0, 8):
        raise NeedBytes(((0, FIRST_READ_BYTES if size is None else min(size, FIRST_READ_BYTES)),))
    start = bytes(buffer.read(0, 8))
    order: ByteOrder
    if start[:2] == b"II":
        order = "little"
    elif start[:2] == b"MM":
        order = "big"
    else:
        raise _not_tiff(name, start)
    prefix = "<" if order == "little" else ">"
    version, first = struct.unpack(prefix + "2xHI", start)
    if version == 42:
        return Container(order, bigtiff=False, first_ifd=first)
    if version == 43:
        if size is not None and size < 16:
            raise CorruptTiffError(f"{name}: got a BigTIFF of {size} bytes, expected at least 16. {REMEDY}")
        offset_size, zero, first = struct.unpack(prefix + "4xHHQ", buffer.read(0, 16))
        if offset_size == 8 and zero == 0:
            return Container(order, bigtiff=True, first_ifd=first)
    raise _not_tiff(name, start)


def _not_tiff(name: str, start: bytes) -> NotTiffError:
    return NotTiffError(
        f"{name}: got a file that begins with {start!r}, expected a TIFF (II*, MM* or BigTIFF). "
        "Check the path or URL: a server may have answered with a page instead of the file."
    )


def parse_directory(buffer: SparseBytes, container: Container, offset: int, where: str) -> tuple[Directory, int]:
    """Parse the table of the IFD at `offset`; returns it and the offset of the next IFD (0: none).

    Raises:
        NeedBytes: parts of the table are not there yet.
        CorruptTiffError: the table lies outside the file or is absurdly long.
    """
    head, entry, tail = _TABLES[container.byte_order, container.bigtiff]
    (count,) = head.unpack(_need(buffer, offset, offset + head.size, where))
    if not 0 < count <= MAX_ENTRIES:
        raise CorruptTiffError(f"{where} at byte {offset}: got {count} entries, expected 1 to {MAX_ENTRIES}. {REMEDY}")
    table = offset + head.size
    end = table + count * entry.size
    size = buffer.file_size
    # Some files end with their last entry; the offset of the next IFD is missed by nobody.
    is_cut = size is not None and end <= size < end + tail.size
    data = _need(buffer, table, end if is_cut else end + tail.size, where)
    entries = list(entry.iter_unpack(data[: count * entry.size]))
    next_offset = 0 if is_cut else tail.unpack_from(data, count * entry.size)[0]
    # Of two entries of one tag the first one counts.
    by_tag = {one[0]: one for one in reversed(entries)}
    return Directory(where, container, buffer, count, by_tag), next_offset


def _need(buffer: SparseBytes, start: int, end: int, where: str) -> memoryview:
    """Read part of a table; where it is missing ask for what usually follows it, too."""
    size = buffer.file_size
    limit = MAX_FILE_BYTES if size is None else size
    if start < 0 or end > limit:
        raise CorruptTiffError(
            f"{where}: got a table at bytes {start} to {end}, expected it inside the {limit} bytes of the "
            f"file (truncated?). {REMEDY}"
        )
    if buffer.has(start, end):
        return buffer.read(start, end)
    wanted = max(end, start + IFD_READ_BYTES)
    raise NeedBytes(((start, wanted if size is None else min(wanted, size)),))


@dataclass(slots=True)
class Chain:
    """The IFDs of a file as far as they have been read.

    Attributes:
        container: how the file is unpacked.
        directories: the IFDs in order; SubIFDs of the first one follow the chain.
        missing: ranges that are needed to go on.
        notes: what was left out.
        entries: entries of the tables of all of them.
    """

    container: Container
    directories: list[Directory] = field(default_factory=list)
    missing: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entries: int = 0


def walk(buffer: SparseBytes, name: str) -> Chain:
    """Parse the tables of all IFDs, and of the SubIFDs of the first, without their values.

    Raises:
        NotTiffError: the bytes are not a TIFF.
        NeedBytes: not even the first IFD is there.
        CorruptTiffError: the first IFD is broken.
    """
    container = parse_container(buffer, name)
    chain = Chain(container)
    seen: set[int] = set()
    _follow(buffer, chain, container.first_ifd, seen, name, "IFD")
    if not chain.directories:
        if chain.missing:
            raise NeedBytes(tuple(chain.missing))
        raise CorruptTiffError(f"{name}: got no IFD, expected at least one image. {REMEDY}")
    first = chain.directories[0]
    if tags.SUB_IFDS in first:
        try:
            missing = first.missing(frozenset((tags.SUB_IFDS,)))
            offsets = () if missing else first.integers(tags.SUB_IFDS)
        except CorruptTiffError as error:
            chain.notes.append(f"left out: {error}")
            return chain
        chain.missing.extend(missing)
        for number, offset in enumerate(offsets[:MAX_IFDS]):
            _follow(buffer, chain, offset, seen, name, f"SubIFD {number} of IFD 0, image", is_single=True)
    return chain


def _follow(
    buffer: SparseBytes,
    chain: Chain,
    offset: int,
    seen: set[int],
    name: str,
    label: str,
    *,
    is_single: bool = False,
) -> None:
    """Parse the IFDs from `offset` on until the chain ends or bytes are missing; what ends it early is noted."""
    number = 0
    while offset:
        where = f"{name}: {label} {number}"
        if offset in seen:
            chain.notes.append(f"{label} {number} is an earlier one again: the chain of IFDs is a loop")
            return
        if len(seen) >= MAX_IFDS or chain.entries > MAX_CHAIN_ENTRIES:
            note = f"only the first {len(seen)} IFDs were looked at"
            chain.notes += [] if note in chain.notes else [note]
            return
        seen.add(offset)
        try:
            directory, offset = parse_directory(buffer, chain.container, offset, where)
        except NeedBytes as need:
            chain.missing.extend(need.ranges)
            return
        except CorruptTiffError as error:
            if not chain.directories:
                raise
            chain.notes.append(f"the chain of IFDs ends early: {error}")
            return
        chain.directories.append(directory)
        chain.entries += directory.table_entries
        if is_single:
            return
        number += 1
