"""Every byte of a decoded tile comes from the file: what lay in memory before never shows, whatever the codec leaves."""

from __future__ import annotations

import dataclasses
import zlib

import imagecodecs
import numpy as np
import pytest
from rasterio.io import MemoryFile

from rasteret_sql.errors import CorruptTiffError
from rasteret_sql.tiff import codecs, image_codecs, names
from rasteret_sql.tiff.decode import TileDecoder
from rasteret_sql.tiff.model import TileFormat
from tests.tiff.conftest import parse_whole

SIZE = 16
TILE = TileFormat("little", "uint8", 8, 1, False, 1, 1, 1, 1, SIZE, SIZE, True)
ENCODERS = {
    names.NONE: bytes,
    names.LZW: imagecodecs.lzw_encode,
    names.DEFLATE: zlib.compress,
    names.OLD_DEFLATE: zlib.compress,
    names.PACKBITS: imagecodecs.packbits_encode,
    names.LZMA: imagecodecs.lzma_encode,
    names.ZSTD: imagecodecs.zstd_encode,
}
SAMPLES = {
    "uint8": {},
    "uint16": {"dtype": "uint16", "bits_per_sample": 16},
    "big-endian": {"dtype": "uint16", "bits_per_sample": 16, "byte_order": "big"},
}
POISONS = (0x00, 0xAB, 0xFF)


@pytest.fixture(params=POISONS, ids=hex)
def poison(request, monkeypatch):
    """What new arrays and the scratch buffer hold before anything is decoded."""
    empty = np.empty

    def poisoned(*args, **kwargs):
        array = empty(*args, **kwargs)
        array.reshape(-1).view(np.uint8)[:] = request.param
        return array

    monkeypatch.setattr(np, "empty", poisoned)
    codecs._thread.__dict__.clear()
    yield request.param
    codecs._thread.__dict__.clear()


def wanted_pixels(tile_format, rows=SIZE):
    values = np.arange(rows * SIZE * tile_format.samples_per_pixel) * 7 % 251
    return values.astype(tile_format.dtype).reshape(rows, SIZE, -1)


def as_stored(pixels, tile_format):
    return pixels.astype(pixels.dtype.newbyteorder("<" if tile_format.byte_order == "little" else ">")).tobytes()


def destinations(poison, shape, dtype):
    """A destination that takes the bytes as they are, and one between pixels of others."""
    direct = np.full(shape, poison, dtype)
    around = np.full((shape[0] + 2, shape[1] + 2, shape[2]), poison, dtype)
    return direct, around[1:-1, 1:-1]


def test_every_byte_codec_is_here():
    assert ENCODERS.keys() == names.BYTE_CODECS


@pytest.mark.parametrize("surplus", [0, 1, 100, 5000], ids="surplus {}".format)
@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("compression", ENCODERS, ids=names.compression_name)
def test_pixels_are_those_of_the_data_whatever_follows_them(compression, samples, surplus, poison):
    tile_format = dataclasses.replace(TILE, compression=compression, **SAMPLES[samples])
    pixels = wanted_pixels(tile_format)
    data = ENCODERS[compression](as_stored(pixels, tile_format) + (bytes(range(250)) * 20)[:surplus])
    decoder = TileDecoder(tile_format)
    for height, width in ((SIZE, SIZE), (SIZE, 9), (5, SIZE), (5, 9)):
        for out in destinations(poison, (height, width, 1), decoder.dtype):
            decoder.decode(data, height, width, out)
            np.testing.assert_array_equal(out, pixels[:height, :width])


def test_packets_across_the_end_of_a_tile_are_cut_there(poison):
    tile_format = dataclasses.replace(TILE, compression=names.PACKBITS)
    pixels = wanted_pixels(tile_format)
    raw = pixels.tobytes() + bytes(range(100, 150))
    packets = b"".join(bytes([len(raw[at : at + 100]) - 1]) + raw[at : at + 100] for at in range(0, len(raw), 100))
    # The last packet may even be cut itself.
    for data in (packets, packets[:-40]):
        for out in destinations(poison, pixels.shape, np.uint8):
            np.testing.assert_array_equal(TileDecoder(tile_format).decode(data, SIZE, SIZE, out), pixels)


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("compression", ENCODERS, ids=names.compression_name)
def test_data_that_end_too_early_are_an_error(compression, samples, poison):
    tile_format = dataclasses.replace(TILE, compression=compression, **SAMPLES[samples])
    pixels = wanted_pixels(tile_format)
    raw = as_stored(pixels, tile_format)
    decoder = TileDecoder(tile_format)
    for missing in (1, 16, 100, len(raw) - 1):
        data = ENCODERS[compression](raw[:-missing])
        for out in destinations(poison, pixels.shape, decoder.dtype):
            with pytest.raises(CorruptTiffError):
                decoder.decode(data, SIZE, SIZE, out)


def test_rows_below_the_image_may_be_missing(poison):
    """GDAL asks of the last row of tiles only for what lies in the image."""
    # Uncompressed tiles say their size by their byte count.
    for compression, encode in ENCODERS.items() - {(names.NONE, bytes)}:
        tile_format = dataclasses.replace(TILE, compression=compression)
        pixels = wanted_pixels(tile_format, rows=5)
        for out in destinations(poison, pixels.shape, np.uint8):
            TileDecoder(tile_format).decode(encode(pixels.tobytes()), 5, SIZE, out)
            np.testing.assert_array_equal(out, pixels)


def test_a_checksum_counts_also_where_data_go_on_behind_the_tile():
    tile_format = dataclasses.replace(TILE, compression=names.DEFLATE)
    data = bytearray(zlib.compress(wanted_pixels(tile_format).tobytes() + bytes(100)))
    data[-1] ^= 1
    with pytest.raises(CorruptTiffError):
        TileDecoder(tile_format).decode(bytes(data), SIZE, SIZE)


@pytest.mark.parametrize(("found", "is_read"), [(256, True), (300, True), (255, False), (0, False)])
def test_a_codec_that_leaves_its_bytes_elsewhere_fills_the_tile_all_the_same(found, is_read, poison, monkeypatch):
    monkeypatch.setitem(codecs._MAKERS, names.ZSTD, lambda: lambda data, out, needed: np.full(found, 7, np.uint8))
    decoder = TileDecoder(dataclasses.replace(TILE, compression=names.ZSTD))
    for out in destinations(poison, (SIZE, SIZE, 1), np.uint8):
        if is_read:
            assert (decoder.decode(b"data", SIZE, SIZE, out) == 7).all()
        else:
            with pytest.raises(CorruptTiffError, match=f"got {found} bytes decoded, expected 256"):
                decoder.decode(b"data", SIZE, SIZE, out)


@pytest.mark.parametrize(
    "shape", [(1, SIZE, 1), (SIZE - 1, SIZE, 1), (SIZE, 1, 1), (SIZE, SIZE, 2), (SIZE, SIZE), (1, 1, 1)]
)
def test_an_image_that_is_no_tile_is_an_error_and_not_repeated(shape, monkeypatch):
    monkeypatch.setitem(image_codecs._MAKERS, names.WEBP, lambda _: lambda data, rows: np.zeros(shape, np.uint8))
    with pytest.raises(CorruptTiffError, match=r"got webp data of .*expected \(16, 16, 1\) of uint8"):
        TileDecoder(dataclasses.replace(TILE, compression=names.WEBP)).decode(b"data", SIZE, SIZE)


def fax(bits, codec):
    """The only strip of a bilevel image that GDAL writes."""
    options = {"driver": "GTiff", "count": 1, "height": SIZE, "width": SIZE, "dtype": "uint8", "nbits": 1}
    with MemoryFile() as memory:
        with memory.open(compress=codec, blockysize=SIZE, **options) as dataset:
            dataset.write(bits, 1)
        data = memory.read()
    level = parse_whole(data).levels[0]
    return data[level.tile_offsets[0] :][: level.tile_byte_counts[0]]


def encoded_images():
    gray, rgb = wanted_pixels(TILE)[..., 0], wanted_pixels(dataclasses.replace(TILE, samples_per_pixel=3))
    bits = (gray > 100).astype(np.uint8)
    return {
        names.JPEG: (3, imagecodecs.jpeg_encode(rgb)),
        names.JPEG_XL: (3, imagecodecs.jpegxl_encode(rgb, lossless=True)),
        names.JPEG_XL_DNG: (1, imagecodecs.jpegxl_encode(gray, lossless=True)),
        names.JPEG2000: (3, imagecodecs.jpeg2k_encode(rgb, level=0, codecformat="j2k")),
        names.JPEG2000_APERIO_RGB: (3, imagecodecs.jpeg2k_encode(rgb, level=0, codecformat="j2k")),
        names.LERC: (1, imagecodecs.lerc_encode(gray)),
        names.WEBP: (3, imagecodecs.webp_encode(rgb, lossless=True)),
        names.CCITT_RLE: (1, fax(bits, "CCITTRLE")),
        names.CCITT_FAX3: (1, fax(bits, "CCITTFAX3")),
        names.CCITT_FAX4: (1, fax(bits, "CCITTFAX4")),
    }


def test_every_image_codec_gives_the_same_pixels_whatever_lay_in_memory(monkeypatch):
    images = encoded_images()
    assert images.keys() == names.IMAGE_CODECS - {names.JPEG2000_APERIO_YCC}
    empty = np.empty
    found = {}
    for value in POISONS:
        monkeypatch.setattr(np, "empty", lambda *args, value=value, **kw: _filled(empty(*args, **kw), value))
        for compression, (samples, data) in images.items():
            bits = 1 if compression in {names.CCITT_RLE, names.CCITT_FAX3, names.CCITT_FAX4} else 8
            tile_format = dataclasses.replace(
                TILE, compression=compression, samples_per_pixel=samples, bits_per_sample=bits
            )
            decoder = TileDecoder(tile_format)
            # Exact, with surplus, and cut.
            for case, given in enumerate((data, data + bytes(50), data[: len(data) // 2], data[:-4])):
                for out in destinations(value, (SIZE, SIZE, samples), np.uint8):
                    try:
                        pixels = decoder.decode(given, SIZE, SIZE, out).copy()
                    except CorruptTiffError:
                        pixels = None
                    before = found.setdefault((compression, case), pixels)
                    np.testing.assert_array_equal(pixels, before)
            assert found[compression, 0] is not None
            assert found[compression, 2] is None


def _filled(array, value):
    array.reshape(-1).view(np.uint8)[:] = value
    return array
