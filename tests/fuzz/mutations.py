"""How files and tiles are broken: a `random.Random` decides, be it hypothesis' or one of a long run."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING, NamedTuple

from rasteret_sql.tiff import names, tags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from rasteret_sql.tiff.model import TileFormat

MAX_BYTES = 1 << 18
"""Broken files are not made longer than this."""

NUMBERS = (
    0, 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 24, 32, 64, 127, 128, 255, 256, 1000, 4096, 2**15 - 1, 2**15, 2**16 - 1, 2**16,
    2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
"""Where arithmetic goes wrong."""

COMPRESSIONS = (*names.COMPRESSION_NAMES, 0, 44510)
CODES: dict[int, tuple[int, ...]] = {
    tags.COMPRESSION: COMPRESSIONS,
    tags.PREDICTOR: (0, 1, 2, 3, 4),
    tags.PHOTOMETRIC: (*names.PHOTOMETRIC_NAMES, 99),
    tags.SAMPLE_FORMAT: (0, 1, 2, 3, 4, 5, 6, 7),
    tags.BITS_PER_SAMPLE: (0, 1, 3, 8, 9, 12, 16, 24, 31, 32, 33, 64, 128, 129),
    tags.PLANAR_CONFIGURATION: (0, 1, 2, 3),
    tags.FILL_ORDER: (1, 2),
    tags.NEW_SUBFILE_TYPE: (0, 1, 2, 4, 5, 8),
    tags.T4_OPTIONS: (0, 1, 2, 3, 4, 5),
}
"""Values that a tag may well have, beside `NUMBERS`."""


class Slot(NamedTuple):
    """Where an entry of an IFD lies in a file."""

    position: int
    tag: int
    type: int


class Tables(NamedTuple):
    """Where the tables of a file lie, as far as they can be followed.

    Attributes:
        order: `struct` prefix.
        word: `struct` code of counts and offsets.
        slots: entries of all IFDs.
        links: positions of the offsets of IFDs: in the file header, and behind each IFD.
        starts: positions of the IFDs.
    """

    order: str
    word: str
    slots: list[Slot]
    links: list[int]
    starts: list[int]


def tables(data: bytes) -> Tables | None:
    """Find the tables of a file by the simplest means; None where it does not begin as a TIFF does."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None or len(data) < 16:
        return None
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    word, count_code, size = ("Q", "Q", 20) if big else ("I", "H", 12)
    width = struct.calcsize(word)
    found = Tables(order, word, [], [8 if big else 4], [])
    while len(found.starts) < 64:
        start = struct.unpack_from(order + word, data, found.links[-1])[0]
        head = struct.calcsize(count_code)
        if not start or start in found.starts or start + head > len(data):
            break
        count = struct.unpack_from(order + count_code, data, start)[0]
        link = start + head + count * size
        if link + width > len(data):
            break
        found.starts.append(start)
        for position in range(start + head, link, size):
            found.slots.append(Slot(position, *struct.unpack_from(order + "HH", data, position)))
        found.links.append(link)
    return found


def number(random: Random, size: int) -> int:
    """A number that may hurt: an edge of some type, or of the file."""
    pick = random.randrange(4)
    if pick == 0:
        return max(size + random.randint(-2, 2), 0)
    if pick == 1:
        return random.randrange(max(size, 1))
    return random.choice(NUMBERS)


def break_entry(data: bytearray, random: Random) -> None:
    """Overwrite the tag, type, count or value of an entry, or make an IFD follow another one."""
    found = tables(data)
    if found is None or not found.slots:
        break_bytes(data, random)
        return
    order, word = found.order, found.word
    width = struct.calcsize(word)
    limit = (1 << 8 * width) - 1
    if random.randrange(8) == 0:
        target = random.choice([*found.starts, *found.links, 0, number(random, len(data))])
        struct.pack_into(order + word, data, random.choice(found.links), min(target, limit))
        return
    slot = random.choice(found.slots)
    at_count, at_value = slot.position + 4, slot.position + 4 + width
    match random.randrange(8):
        case 0:
            struct.pack_into(order + "H", data, slot.position, random.choice(sorted(tags.READ_TAGS)))
        case 1:
            struct.pack_into(order + "H", data, slot.position + 2, random.choice([*tags.TYPE_SIZES, 0, 14, 99]))
        case 2 | 3:
            struct.pack_into(order + word, data, at_count, min(number(random, len(data)), limit))
        case 4 if slot.tag in CODES:
            value = random.choice(CODES[slot.tag])
            # One SHORT, wherever the value was.
            struct.pack_into(order + "H", data, slot.position + 2, 3)
            struct.pack_into(order + word, data, at_count, 1)
            struct.pack_into(order + "H", data, at_value, value & 0xFFFF)
        case _:
            value = min(number(random, len(data)), limit)
            code = {3: "H", 4: "I"}.get(slot.type, word)
            struct.pack_into(order + code, data, at_value, value & ((1 << 8 * struct.calcsize(code)) - 1))


def break_bytes(data: bytearray, random: Random) -> None:
    """Change, insert, remove or repeat some bytes."""
    if not data:
        data += random.randbytes(1)
        return
    at = random.randrange(len(data))
    length = min(1 << random.randrange(7), len(data) - at)
    match random.randrange(7):
        case 0 | 1:
            data[at] = random.randrange(256)
        case 2:
            data[at] ^= 1 << random.randrange(8)
        case 3:
            data[at:at] = random.randbytes(length)
        case 4:
            del data[at : at + length]
        case 5:
            data[at : at + length] = bytes([random.choice((0, 255, 127, 128))]) * length
        case _:
            other = random.randrange(len(data))
            data[at : at + length] = data[other : other + length]


def truncate(data: bytearray, random: Random) -> None:
    """Cut the end off."""
    del data[random.randrange(len(data) + 1) :]


def splice(data: bytearray, random: Random, others: Sequence[bytes]) -> None:
    """Put part of another file here, at the place that it had there or at another."""
    other = random.choice(others)
    first, second = sorted((random.randrange(len(other) + 1), random.randrange(len(other) + 1)))
    at = first if random.randrange(2) else random.randrange(len(data) + 1)
    data[at : at + second - first] = other[first:second]


def broken_file(seed: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """A file with one to some breaks, most of them in its tables."""
    data = bytearray(seed)
    for _ in range(1 << random.randrange(4)):
        match random.randrange(16):
            case 0:
                truncate(data, random)
            case 1:
                splice(data, random, others)
            case 2 | 3 | 4 | 5:
                break_bytes(data, random)
            case _:
                break_entry(data, random)
    return bytes(data[:MAX_BYTES])


def broken_tile(seed: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """The bytes of a tile with one to some breaks; those of LERC get the checksum that they should have."""
    data = bytearray(seed)
    for _ in range(1 << random.randrange(4)):
        match random.randrange(12):
            case 0:
                truncate(data, random)
            case 1:
                splice(data, random, others)
            case _:
                break_bytes(data, random)
    if random.randrange(4):
        mend_lerc(data)
    return bytes(data[:MAX_BYTES])


_FORMATS: dict[str, Callable[[Random], object]] = {
    "byte_order": lambda random: random.choice(("little", "big")),
    "dtype": lambda random: random.choice(
        ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "complex64",
         "complex128")
    ),
    "samples_per_pixel": lambda random: random.choice((1, 2, 3, 4, 5, 7)),
    "planar": lambda random: random.choice((True, False)),
    "compression": lambda random: random.choice(COMPRESSIONS),
    "photometric": lambda random: random.choice((0, 1, 2, 3, 5, 6, 8)),
    "fill_order": lambda random: random.choice((1, 2)),
    "tile_width": lambda random: random.choice((1, 3, 8, 15, 16, 17, 33, 200)),
    "tile_height": lambda random: random.choice((1, 3, 8, 15, 16, 17, 33, 200)),
    "tiled": lambda random: random.choice((True, False)),
    "jpeg_tables": lambda random: random.choice((None, b"", random.randbytes(20))),
    "ycbcr_subsampling": lambda random: (random.choice((1, 2, 4)), random.choice((1, 2, 4))),
    "codec_parameters": lambda random: tuple(random.choice((0, 1, 2, 3, 4)) for _ in range(random.randrange(3))),
}  # fmt: skip

_BITS = {"i": (8, 16, 32, 64), "f": (16, 24, 32, 64), "c": (32, 64, 128)}


def other_format(tile_format: TileFormat, random: Random) -> TileFormat:
    """A format that differs in some fields, such as an IFD may hold."""
    changes = {}
    for name in random.sample(sorted(_FORMATS), random.choice((0, 1, 1, 2, 3))):
        changes[name] = _FORMATS[name](random)
    changed = dataclasses.replace(tile_format, **changes)
    if "dtype" in changes:
        # As the parser pairs them: samples are never wider than their dtype.
        bits = {"uint8": 8, "int8": 8, "complex64": 64, "complex128": 128}.get(changed.dtype)
        widest = bits or int(changed.dtype[-2:])
        fewer = [bits for bits in (*range(1, 33), 64, 128) if widest // 2 < bits <= widest]
        changed = dataclasses.replace(
            changed, bits_per_sample=random.choice(fewer if changed.dtype[0] == "u" else [widest])
        )
    if changed.compression in names.BYTE_CODECS and random.randrange(3) == 0:
        changed = dataclasses.replace(changed, predictor=random.choice((1, 2, 3)))
    return changed


def mend_lerc(data: bytearray) -> None:
    """Set the size and checksum (Fletcher's, as Lerc2 has it) of a LERC blob, so that its decoder looks further."""
    if not data.startswith(b"Lerc2 ") or len(data) < 42 or int.from_bytes(data[6:10], "little") < 3:
        return
    version = int.from_bytes(data[6:10], "little")
    size_at = 14 + 4 * (5 if version >= 4 else 4)
    size = int.from_bytes(data[size_at : size_at + 4], "little")
    if not 14 < size <= len(data):
        size = len(data)
        data[size_at : size_at + 4] = size.to_bytes(4, "little")
    first = second = 0xFFFF
    words = memoryview(bytes(data[14:size]))
    pairs = len(words) // 2
    at = 0
    while pairs:
        block = min(pairs, 359)
        pairs -= block
        for _ in range(block):
            first += words[at] << 8
            first += words[at + 1]
            second += first
            at += 2
        first = (first & 0xFFFF) + (first >> 16)
        second = (second & 0xFFFF) + (second >> 16)
    if len(words) & 1:
        first += words[at] << 8
        second += first
    first = (first & 0xFFFF) + (first >> 16)
    second = (second & 0xFFFF) + (second >> 16)
    data[10:14] = ((second << 16 | first) & 0xFFFFFFFF).to_bytes(4, "little")
