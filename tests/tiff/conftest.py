"""How these tests read a whole file, with this package and with rasterio as oracle."""

from __future__ import annotations

import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from rasteret_sql.tiff.buffer import NeedBytes, SparseBytes
from rasteret_sql.tiff.decode import TileDecoder
from rasteret_sql.tiff.header import parse_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rasteret_sql.tiff.model import Header, Level

MAX_ROUNDS = 20


def parse_whole(data: bytes, first_bytes: int = 32768, rounds: list[Any] | None = None) -> Header:
    """Parse a header from the bytes of a whole file, giving only what is asked for."""
    buffer = SparseBytes((0, data[:first_bytes]), file_size=len(data))
    for _ in range(MAX_ROUNDS):
        try:
            return parse_header(buffer, href="test.tif")
        except NeedBytes as need:
            if rounds is not None:
                rounds.append(need.ranges)
            for start, end in need.ranges:
                assert 0 <= start < end <= len(data)
                buffer.add(start, data[start:end])
    raise AssertionError(f"parsing asked for bytes {MAX_ROUNDS} times")


def read_whole(data: bytes, level: Level, fill: float = 0) -> np.ndarray:
    """Decode all tiles of a level to (height, width, samples); sparse ones are `fill`."""
    tile = level.format
    decoder = TileDecoder(tile)
    out = np.full((level.height, level.width, tile.samples_per_pixel), fill, decoder.dtype)
    per_plane = level.tiles_across * level.tiles_down
    spans = zip(level.tile_offsets.tolist(), level.tile_byte_counts.tolist(), strict=True)
    for index, (offset, count) in enumerate(spans):
        if not offset or not count:
            continue
        plane, number = divmod(index, per_plane)
        tile_row, tile_col = divmod(number, level.tiles_across)
        top, left = tile_row * tile.tile_height, tile_col * tile.tile_width
        height = min(tile.tile_height, level.height - top)
        width = min(tile.tile_width, level.width - left)
        window = out[top : top + height, left : left + width]
        if tile.planar:
            window = window[:, :, plane : plane + 1]
        decoder.decode(memoryview(data)[offset : offset + count], height, width, window)
    return out


@pytest.fixture
def parse() -> Callable[..., Header]:
    return parse_whole


@pytest.fixture
def read_level() -> Callable[..., np.ndarray]:
    return read_whole


@pytest.fixture(autouse=True)
def _oracle_without_sidecars() -> Iterator[None]:
    """rasterio looks at the file alone: no .aux.xml, .msk, .ovr or world files; and it may warn."""
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@pytest.fixture
def make_tiff() -> Callable[..., bytes]:
    """Writes a TIFF by hand from (tag, type, values) entries, one list per IFD."""
    return write_tiff


_CODES = {
    1: "B",
    2: "s",
    3: "H",
    4: "I",
    5: "II",
    7: "B",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    99: "B",
}


def write_tiff(
    *ifds: list[tuple[int, int, Any]],
    order: str = "<",
    bigtiff: bool = False,
    data: bytes = b"\x2a" * 64,
    last: int = 0,
) -> bytes:
    """A TIFF whose pixel data begin at byte 16; `last` is the offset that the last IFD points to."""
    word, count_code, size = ("Q", "Q", 8) if bigtiff else ("I", "H", 4)
    head = b"II" if order == "<" else b"MM"
    body = bytearray(16)
    body += data
    pointer = 8 if bigtiff else 4
    for entries in ifds:
        fields = []
        for tag, kind, values in entries:
            if kind == 2:
                raw, number = values.encode() + b"\0", len(values) + 1
            else:
                numbers = values if isinstance(values, list | tuple) else [values]
                code = _CODES[kind]
                raw, number = struct.pack(order + code[0] * len(numbers), *numbers), len(numbers) // len(code)
            if len(raw) > size:
                body += bytes(len(body) % 2)
                fields.append((tag, kind, number, struct.pack(order + word, len(body))))
                body += raw
            else:
                fields.append((tag, kind, number, raw.ljust(size, b"\0")))
        body += bytes(len(body) % 2)
        struct.pack_into(order + word, body, pointer, len(body))
        body += struct.pack(order + count_code, len(fields))
        for tag, kind, number, raw in fields:
            body += struct.pack(order + "HH" + word, tag, kind, number) + raw
        pointer = len(body)
        body += struct.pack(order + word, last)
    if bigtiff:
        struct.pack_into(order + "2sHHH", body, 0, head, 43, 8, 0)
    else:
        struct.pack_into(order + "2sH", body, 0, head, 42)
    return bytes(body)


BASIC: list[tuple[int, int, Any]] = [
    (256, 3, 8),
    (257, 3, 8),
    (258, 3, 8),
    (259, 3, 1),
    (262, 3, 1),
    (273, 4, 16),
    (277, 3, 1),
    (278, 3, 8),
    (279, 4, 64),
]


@pytest.fixture
def basic() -> Callable[..., list[tuple[int, int, Any]]]:
    """Entries of an 8x8 uint8 image in one strip; arguments add or replace entries, None removes one."""

    def entries(*changes: tuple[int, int, Any]) -> list[tuple[int, int, Any]]:
        found = {tag: (tag, kind, values) for tag, kind, values in BASIC}
        for tag, kind, values in changes:
            found.pop(tag, None)
            if values is not None:
                found[tag] = (tag, kind, values)
        return [found[tag] for tag in sorted(found)]

    return entries


@pytest.fixture(scope="session")
def sample_headers() -> list[bytes]:
    """Small TIFFs with every tag that is read, in both byte orders and formats."""
    xml = '<GDALMetadata><Item name="SCALE" sample="0" role="scale">0.1</Item></GDALMetadata>'
    keys = (1, 1, 0, 4, 1024, 0, 1, 1, 1025, 0, 1, 2, 1026, 34737, 4, 0, 3072, 0, 1, 32643)
    rich = [
        *BASIC,
        (254, 4, 0),
        (330, 4, 90),
        (33550, 12, (10.0, 20.0, 0.0)),
        (33922, 12, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0)),
        (34735, 3, keys),
        (34737, 2, "utm|"),
        (42112, 2, xml),
        (42113, 2, "0"),
    ]
    tiled = [entry for entry in BASIC if entry[0] not in {273, 278, 279}]
    tiled += [
        (254, 4, 1),
        (322, 3, 4),
        (323, 3, 4),
        (324, 4, [16] * 4),
        (325, 4, [16] * 4),
        (347, 7, [255, 217]),
    ]
    return [
        write_tiff(sorted(rich), sorted(tiled), order=order, bigtiff=bigtiff)
        for order in "<>"
        for bigtiff in (False, True)
    ]
