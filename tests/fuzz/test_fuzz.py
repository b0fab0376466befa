"""Whatever the bytes, parsing and decoding succeed or raise an error of this package, within bounds.

`RASTERET_FUZZ_EXAMPLES` multiplies the number of examples. `make fuzz` sets it, and draws new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rasteret_sql.errors import CorruptTiffError, RangeError, RasteretError, TiffError
from rasteret_sql.index import headers
from rasteret_sql.io.identity import UNKNOWN
from rasteret_sql.io.store import RangeResponse
from rasteret_sql.tiff import names, tags
from rasteret_sql.tiff.decode import TileDecoder
from rasteret_sql.tiff.header import MAX_LEVELS
from rasteret_sql.tiff.ifd import MAX_IFDS, MAX_TILES
from rasteret_sql.tiff.model import TileFormat
from tests.fuzz import mutations
from tests.fuzz.corpus import corpus, make_corpus, regressions
from tests.fuzz.target import MAX_ROUNDS, Cost, examine, examine_tile, parse
from tests.tiff.conftest import BASIC, write_tiff

MANY = int(os.environ.get("RASTERET_FUZZ_EXAMPLES", "1"))
CORPUS_LIMIT_BYTES = 300_000
MEMORY_LIMIT_BYTES = 64 << 20
"""Of Python and NumPy, for any file of the corpus whatever is done to it."""


def examples(count):
    """Settings for `count` examples, times the factor of the environment."""
    return settings(
        max_examples=count * MANY,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


def tiles():
    """Formats and bytes of the tiles of the corpus, by compression."""
    found: dict[str, list[tuple[TileFormat, bytes]]] = {}
    for data in corpus().values():
        for level in parse(data).levels:
            for one in (level, level.mask):
                if one is None:
                    continue
                start, count = int(one.tile_offsets[0]), int(one.tile_byte_counts[0])
                name = names.compression_name(one.format.compression)
                if name == "lerc":
                    name += "_with_more" if one.format.codec_parameters[1:] not in {(), (0,)} else ""
                found.setdefault(name, []).append((one.format, data[start : start + count]))
    return found


TILES = tiles()
ALL_TILES = [data for pairs in TILES.values() for _, data in pairs]
FILES = list(corpus().values())
seeds = st.integers(0, 2**32 - 1)
"""Of `random.Random`, not hypothesis' own randomness, which is slow: what breaks something is kept as a file."""


@pytest.mark.parametrize("name", corpus())
def test_a_file_of_the_corpus_reads(name):
    cost = Cost()
    assert examine(corpus()[name], 16, cost=cost) == "read"
    assert cost.rounds < 10


def test_the_corpus_is_small():
    assert sum(map(len, FILES)) + sum(map(len, regressions().values())) < CORPUS_LIMIT_BYTES


def test_the_corpus_is_what_its_script_makes():
    made = make_corpus()
    assert sorted(made) == sorted(corpus())
    for name, data in made.items():
        # Codec libraries may write other bytes in another version; what they mean stays.
        new, kept = parse(data), parse(corpus()[name])
        assert repr(new.bands) == repr(kept.bands), name
        assert (new.crs, new.transform, new.notes) == (kept.crs, kept.transform, kept.notes), name
        for one, other in zip(new.levels, kept.levels, strict=True):
            assert (one.width, one.height, one.mask is None) == (other.width, other.height, other.mask is None), name
            assert {**_fields(one.format), "jpeg_tables": None} == {**_fields(other.format), "jpeg_tables": None}, name


def _fields(tile_format):
    return {name: getattr(tile_format, name) for name in TileFormat.__slots__}


def test_the_corpus_has_each_codec_and_layout():
    formats = [level.format for data in FILES for level in parse(data).levels]
    compressions = {names.compression_name(one.compression) for one in formats}
    unread = {"old_jpeg", "next", "thunderscan", "pixarfilm", "pixarlog", "jbig", "sgilog", "sgilog24"}
    assert compressions == set(names.COMPRESSION_NAMES.values()) - unread
    assert {one.predictor for one in formats} == {1, 2, 3}
    assert {one.dtype for one in formats} >= {
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "float32",
        "float64",
    }
    assert {(one.byte_order, one.planar, one.tiled) for one in formats} >= {
        ("little", False, True), ("big", False, True), ("little", True, True), ("little", False, False), ("big", False, False)
    }  # fmt: skip


@pytest.mark.parametrize("name", regressions())
def test_what_once_broke_something_is_answered(name):
    tracemalloc.start()
    try:
        examine(regressions()[name])
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@examples(5000)
@given(
    seed=st.sampled_from(FILES),
    randomly=seeds,
    first_bytes=st.sampled_from([8, 100, 1 << 15]),
    size_known=st.booleans(),
)
def test_a_broken_file_reads_or_is_an_error(seed, randomly, first_bytes, size_known):
    examine(mutations.broken_file(seed, random.Random(randomly), FILES), first_bytes, size_known=size_known)


@examples(400)
@given(seed=st.sampled_from(FILES), randomly=seeds)
def test_a_broken_file_takes_little_memory(seed, randomly):
    broken = mutations.broken_file(seed, random.Random(randomly), FILES)
    tracemalloc.start()
    try:
        examine(broken)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_LIMIT_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", sorted(TILES))
@examples(500)
@given(randomly=seeds)
def test_a_broken_tile_decodes_or_is_an_error(codec, randomly):
    randomly = random.Random(randomly)
    tile_format, data = randomly.choice(TILES[codec])
    if randomly.randrange(4) == 0:
        tile_format = mutations.other_format(tile_format, randomly)
    examine_tile(tile_format, mutations.broken_tile(data, randomly, ALL_TILES))


@examples(2000)
@given(randomly=seeds)
def test_a_tile_of_another_format_decodes_or_is_an_error(randomly):
    randomly = random.Random(randomly)
    tile_format, data = randomly.choice(TILES[randomly.choice(sorted(TILES))])
    examine_tile(mutations.other_format(tile_format, randomly), data)


@pytest.mark.parametrize("name", corpus())
def test_a_chain_of_ifds_that_leads_anywhere_ends(name):
    found = mutations.tables(corpus()[name])
    for link in found.links:
        for target in {*found.starts, *found.links, *(start + 1 for start in found.starts), len(corpus()[name]) - 1}:
            broken = bytearray(corpus()[name])
            struct.pack_into(found.order + found.word, broken, link, target)
            cost = Cost()
            examine(bytes(broken), 8, cost=cost)
            assert cost.rounds <= 30


@pytest.mark.slow
@pytest.mark.parametrize("name", corpus())
def test_an_entry_of_any_number_reads_or_is_an_error(name):
    found = mutations.tables(corpus()[name])
    width = struct.calcsize(found.word)
    size = len(corpus()[name])
    for slot in found.slots:
        for number in {*mutations.NUMBERS, size - 1, size, size + 1}:
            if number < 1 << 8 * width:
                for at in (slot.position + 4, slot.position + 4 + width):
                    broken = bytearray(corpus()[name])
                    struct.pack_into(found.order + found.word, broken, at, number)
                    examine(bytes(broken))


class MemoryStore:
    """A store of one file that counts; it may not know the size, and then answers what lies beyond it as a server does."""

    def __init__(self, data, *, size_known):
        self.data, self.size_known = data, size_known
        self.requests = 0

    async def fetch(self, href, start, end, *, identity=UNKNOWN):
        self.requests += 1
        assert 0 <= start < end
        if start >= len(self.data):
            raise RangeError(f"{href}: bytes {start} to {end} of {len(self.data)}")
        part = self.data[start:end]
        return RangeResponse(part, start, len(self.data) if self.size_known else None, None, None)


@examples(1000)
@given(seed=st.sampled_from(FILES), randomly=seeds, size_known=st.booleans())
def test_the_reading_of_a_broken_header_ends(seed, randomly, size_known, monkeypatch):
    data = mutations.broken_file(seed, random.Random(randomly), FILES)
    if len(data) > 100:
        # Most of the file lies behind what is read first.
        monkeypatch.setattr(headers, "FIRST_READ_BYTES", 64)
    store = MemoryStore(data, size_known=size_known)
    monkeypatch.setattr(headers, "store_for", lambda href: store)
    if not data:
        return
    with contextlib.suppress(RasteretError):
        asyncio.run(headers.read_header("memory.tif"))
    assert store.requests < 100


def test_ifds_that_overlap_and_share_their_values_are_few():
    """A file of a megabyte with thousands of overviews that all point to the same arrays."""
    tiles = 100_000
    arrays = struct.pack(f"<{tiles}I", *[16] * tiles)
    overview = [
        (254, 4, 1), (256, 4, 100_000), (257, 4, 16), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1), (322, 3, 1),
        (323, 3, 16),
    ]  # fmt: skip
    main = write_tiff([*overview[1:], (324, 4, [16] * tiles), (325, 4, [16] * tiles)])
    found = mutations.tables(main)
    values = {slot.tag: struct.unpack_from("<I", main, slot.position + 8)[0] for slot in found.slots}
    data = bytearray(main)
    for _ in range(MAX_IFDS):
        struct.pack_into("<I", data, found.links[-1], len(data) + len(data) % 2)
        data += bytes(len(data) % 2)
        entries = [(tag, kind, 1, value) for tag, kind, value in overview]
        entries += [(tag, 4, tiles, values[tag]) for tag in (324, 325)]
        data += struct.pack("<H", len(entries))
        data += b"".join(struct.pack("<HHII", *entry) for entry in entries)
        found.links.append(len(data))
        data += bytes(4)
    assert len(data) < 2 * len(arrays) + 160 * MAX_IFDS
    cost = Cost()
    header = parse(bytes(data), cost=cost)
    assert len(header.levels) <= MAX_LEVELS + 1
    assert sum(level.tile_offsets.size for level in header.levels[1:]) <= MAX_TILES
    assert "were left out" in " ".join(header.notes)


def test_geo_keys_that_share_their_numbers_take_little_memory():
    keys = [1, 1, 0, 8000]
    for number in range(8000):
        keys += [number, tags.GEO_KEY_DIRECTORY if number % 2 else tags.GEO_ASCII_PARAMS, 30_000, 0]
    data = write_tiff([*BASIC, (34735, 3, keys), (34737, 2, "a" * 30_000)])
    tracemalloc.start()
    try:
        parse(data)
        # Each key alone would take 240 kB.
        assert tracemalloc.get_traced_memory()[1] < MEMORY_LIMIT_BYTES
    finally:
        tracemalloc.stop()


def test_values_that_no_image_has_are_refused_before_they_are_unpacked():
    data = write_tiff([*(entry for entry in BASIC if entry[0] != 258), (258, 1, [8] * (2 << 20))])
    tracemalloc.start()
    try:
        with pytest.raises(TiffError, match="BitsPerSample"):
            parse(data)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("photometric", [5, 6])
def test_colours_are_converted_in_little_memory(photometric):
    height, width = 2048, 2048
    samples = 4 if photometric == names.SEPARATED else 3
    tile = TileFormat(
        "little", "uint8", 8, samples, False, 8, 1, photometric, 1, width, height, True, ycbcr_subsampling=(2, 2)
    )
    coded = height * width * 4 if samples == 4 else height * width * 3 // 2
    rng = np.random.default_rng(1)
    data = zlib.compress(rng.integers(0, 256, coded, np.uint8).tobytes(), 1)
    decoder = TileDecoder(tile)
    tracemalloc.start()
    try:
        pixels = decoder.decode(data, height, width)
        assert tracemalloc.get_traced_memory()[1] < 2 * pixels.nbytes + coded + 100 * (1 << 20)
    finally:
        tracemalloc.stop()
    # Rows that end in the middle of a block, converted alone.
    row = height - 2
    part = decoder.decode(data, row + 2, width)
    np.testing.assert_array_equal(part, pixels[: row + 2])


def test_a_jpeg_of_thousands_of_scans_is_refused():
    """Each scan of a dozen bytes takes the time of the whole image."""
    tile_format, data = TILES["jpeg"][0]
    scan = data[data.rindex(b"\xff\xda") :]
    assert TileDecoder(tile_format).decode(data, 16, 16).any()
    with pytest.raises(CorruptTiffError, match="scans"):
        TileDecoder(tile_format).decode(data[:-2] + scan * 1000, 16, 16)


def test_rounds_are_bounded_as_those_of_the_index():
    assert headers.MAX_ROUNDS == MAX_ROUNDS
