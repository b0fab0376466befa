"""CCITT rows that GDAL encodes come back as they were; broken ones are errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile

from rasteret_sql.errors import CorruptTiffError
from rasteret_sql.tiff.ccitt import decode_ccitt


def bilevel(height, width, density, repeats, seed):
    """Bilevel rows of runs; `repeats` makes rows alike, as two-dimensional coding likes them."""
    random = np.random.default_rng(seed)
    toggles = random.random((height, width)) < density
    rows = np.cumsum(toggles, axis=1) % 2
    return np.repeat(rows, repeats, axis=0)[:height].astype("uint8")


def written(array, codec):
    height, width = array.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=1,
            height=height,
            width=width,
            dtype="uint8",
            nbits=1,
            compress=codec,
            blockysize=height,
        ) as dataset:
            dataset.write(array, 1)
        return memory.read()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    codec=st.sampled_from(["CCITTRLE", "CCITTFAX3", "CCITTFAX4"]),
    height=st.integers(1, 20),
    width=st.integers(1, 6000),
    density=st.sampled_from([0.0, 0.001, 0.02, 0.5, 1.0]),
    repeats=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_what_gdal_writes_reads_back(codec, height, width, density, repeats, seed, parse, read_level):
    array = bilevel(height, width, density, repeats, seed)
    data = written(array, codec)
    np.testing.assert_array_equal(read_level(data, parse(data).levels[0])[..., 0], array)


@pytest.mark.parametrize(("codec", "compression"), [("CCITTRLE", 2), ("CCITTFAX3", 3), ("CCITTFAX4", 4)])
def test_broken_rows_are_corrupt_or_of_the_right_size(codec, compression, parse):
    array = bilevel(20, 300, 0.05, 2, 1)
    data = written(array, codec)
    level = parse(data).levels[0]
    start, count = int(level.tile_offsets[0]), int(level.tile_byte_counts[0])
    tile = data[start : start + count]
    with pytest.raises(CorruptTiffError):
        decode_ccitt(tile[: count // 2], 20, 300, compression=compression)
    random = np.random.default_rng(2)
    refused = 0
    for _ in range(200):
        broken = bytearray(tile)
        broken[random.integers(count)] ^= 1 << int(random.integers(8))
        try:
            assert decode_ccitt(bytes(broken), 20, 300, compression=compression).shape == (20, 300)
        except CorruptTiffError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(("codec", "compression"), [("CCITTRLE", 2), ("CCITTFAX3", 3), ("CCITTFAX4", 4)])
@pytest.mark.parametrize("width", [7, 300, 2600])
def test_a_strip_that_is_cut_off_is_an_error(codec, compression, width, parse):
    """libtiff fills the rest of a Group 3 strip with white and says nothing that a caller sees."""
    array = bilevel(20, width, 0.05, 2, 3)
    data = written(array, codec)
    level = parse(data).levels[0]
    start, count = int(level.tile_offsets[0]), int(level.tile_byte_counts[0])
    tile = data[start : start + count]
    for end in {*np.linspace(0, count, 15, dtype=int).tolist(), *range(max(count - 12, 0), count)} - {count}:
        try:
            pixels = decode_ccitt(tile[:end], 20, width, compression=compression)
        except CorruptTiffError:
            continue
        # What was cut off was an end marker, or fill bits.
        np.testing.assert_array_equal(pixels, array)
        assert end >= count - 4
