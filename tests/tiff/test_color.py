"""Colours that GDAL converts come out as in GDAL: raw YCbCr in all samplings, strips and tiles, whole and in part."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from rasterio.io import MemoryFile

from rasteret_sql.errors import UnsupportedTiffError
from rasteret_sql.tiff.decode import TileDecoder

SAMPLINGS = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)]
LUMAS = {"CCIR 601": None, "BT.709": [2126, 10000, 7152, 10000, 722, 10000]}


def gdal(data):
    with MemoryFile(data) as memory, memory.open() as dataset:
        return np.moveaxis(dataset.read(), 0, -1)


@pytest.fixture
def ycbcr(make_tiff, basic):
    """Writes a TIFF of random YCbCr, in strips of 8 rows or in tiles of 16 pixels; gives its bytes."""

    def write(width, height, sampling, *, tiled=False, compression=1, luma=None):
        across, down = sampling
        rows, columns = (16, 16) if tiled else (8, width)
        random = np.random.default_rng(width * height)
        segments = []
        for top in range(0, height, rows):
            for _ in range(0, width, columns):
                own_rows = rows if tiled else min(rows, height - top)
                blocks = -(-own_rows // down) * -(-columns // across)
                raw = random.integers(0, 256, blocks * (across * down + 2), np.uint8).tobytes()
                segments.append(raw if compression == 1 else zlib.compress(raw))
        offsets = np.cumsum([16, *map(len, segments)])[:-1].tolist()
        arrays = {False: (273, 279), True: (324, 325)}[tiled]
        entries = [
            (256, 3, width), (257, 3, height), (258, 3, [8] * 3), (259, 3, compression), (262, 3, 6), (277, 3, 3),
            (273, 4, None), (279, 4, None), (278, 3, None if tiled else rows), (530, 3, list(sampling)),
            (529, 5, luma), (arrays[0], 4, offsets), (arrays[1], 4, [len(segment) for segment in segments]),
        ]  # fmt: skip
        if tiled:
            entries += [(322, 3, 16), (323, 3, 16)]
        return make_tiff(basic(*entries), data=b"".join(segments))

    return write


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("luma", LUMAS)
@pytest.mark.parametrize(("tiled", "compression"), [(False, 1), (False, 8), (True, 8)])
@pytest.mark.parametrize(("width", "height"), [(16, 16), (48, 32), (17, 13), (20, 9), (33, 8), (1, 1)])
def test_raw_ycbcr_is_that_of_gdal(sampling, luma, tiled, compression, width, height, ycbcr, parse, read_level):
    if tiled and sampling == (4, 4):
        pytest.skip("refused")
    data = ycbcr(width, height, sampling, tiled=tiled, compression=compression, luma=LUMAS[luma])
    np.testing.assert_array_equal(read_level(data, parse(data).levels[0]), gdal(data))


@pytest.mark.parametrize("sampling", SAMPLINGS[:-1])
def test_part_of_a_tile_is_part_of_its_pixels(sampling, ycbcr, parse):
    data = ycbcr(16, 16, sampling, tiled=True, compression=8)
    level = parse(data).levels[0]
    tile = data[int(level.tile_offsets[0]) :][: int(level.tile_byte_counts[0])]
    decoder = TileDecoder(level.format)
    whole = decoder.decode(tile, 16, 16)
    for height, width in ((1, 1), (5, 16), (16, 7), (9, 3)):
        np.testing.assert_array_equal(decoder.decode(tile, height, width), whole[:height, :width])


@pytest.mark.parametrize(("sampling", "tiled"), [((1, 4), False), ((2, 4), True), ((4, 4), True)])
def test_samplings_that_libtiff_does_not_read_are_refused(sampling, tiled, ycbcr, parse):
    with pytest.raises(UnsupportedTiffError, match=r"got YCbCr in (tiles|strips) with one colour for \d x 4 pixels"):
        parse(ycbcr(16, 16, sampling, tiled=tiled))
