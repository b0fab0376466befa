"""Tiles that GDAL and imagecodecs encode come back as they were; what is broken is an error."""

from __future__ import annotations

import dataclasses
import threading
import zlib
from functools import lru_cache

import imagecodecs
import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile

from rasteret_sql.errors import CorruptTiffError, InvalidArgumentError, UnsupportedTiffError
from rasteret_sql.tiff import codecs, image_codecs, names
from rasteret_sql.tiff.decode import TileDecoder
from rasteret_sql.tiff.model import TileFormat

BYTES = TileFormat("little", "uint8", 8, 1, False, 8, 1, 1, 1, 16, 16, True)
LOSSLESS = ["NONE", "LZW", "DEFLATE", "PACKBITS", "ZSTD", "LZMA", "LERC", "LERC_DEFLATE", "LERC_ZSTD"]
PREDICTING = {"LZW", "DEFLATE", "ZSTD"}
INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float32", "float64"]


def written(array, **options):
    """A GeoTIFF of an array (bands, height, width), written by GDAL."""
    count, height, width = array.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=count, height=height, width=width, dtype=array.dtype, **options
        ) as dataset:
            dataset.write(array)
        return memory.read()


def noise(shape, dtype, seed):
    """Values of the whole range of a dtype, in runs that compress."""
    random = np.random.default_rng(seed)
    raw = random.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
    raw[random.random(shape) < 0.5] = 7
    values = raw.view(dtype)[..., 0]
    return np.nan_to_num(values) if values.dtype.kind == "f" else values


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    codec=st.sampled_from(LOSSLESS),
    dtype=st.sampled_from([*INTEGERS, *FLOATS]),
    predictor=st.sampled_from([1, 2, 3]),
    endianness=st.sampled_from(["LITTLE", "BIG"]),
    interleave=st.sampled_from(["pixel", "band"]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    tiled=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_gdal_writes_reads_back_bit_for_bit(
    codec, dtype, predictor, endianness, interleave, shape, tiled, seed, parse, read_level
):
    options = {"compress": codec, "ENDIANNESS": endianness, "interleave": interleave}
    if codec in PREDICTING and not (predictor == 3 and dtype not in FLOATS):
        options["predictor"] = predictor
    if codec.startswith("LERC"):
        options["MAX_Z_ERROR"] = 0
        if np.dtype(dtype).itemsize == 8 and dtype not in FLOATS:
            return  # Lerc knows no 64-bit integers
    options |= {"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {"blockysize": 7}
    array = noise(shape, dtype, seed)
    data = written(array, **options)
    if codec.startswith("LERC") and endianness == "BIG" and dtype in FLOATS:
        # LERC is given swapped bytes as floats: some are NaN, which GDAL itself does not get back.
        with MemoryFile(data) as memory, memory.open() as dataset:
            array = dataset.read()
    level = parse(data).levels[0]
    np.testing.assert_array_equal(read_level(data, level), np.moveaxis(array, 0, -1), strict=True)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 9, 10, 12, 15, 17, 20, 24, 31])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
def test_odd_bit_depths_read_as_in_gdal(bits, interleave, endianness, parse, read_level):
    dtype = "uint8" if bits <= 8 else "uint16" if bits <= 16 else "uint32"
    array = np.random.default_rng(bits).integers(0, 1 << bits, (3, 19, 21)).astype(dtype)
    data = written(array, nbits=bits, interleave=interleave, ENDIANNESS=endianness, compress="DEFLATE", blockysize=8)
    level = parse(data).levels[0]
    assert level.format.bits_per_sample == bits
    np.testing.assert_array_equal(read_level(data, level), np.moveaxis(array, 0, -1), strict=True)


@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
def test_half_floats_are_widened(predictor, endianness, parse, read_level):
    array = np.random.default_rng(1).normal(size=(2, 30, 21)).astype("float16").astype("float32")
    data = written(array, nbits=16, compress="DEFLATE", predictor=predictor, ENDIANNESS=endianness, interleave="pixel")
    with MemoryFile(data) as memory, memory.open() as dataset:
        # GDAL 3.11 and later give float16 as it is.
        expected = np.moveaxis(dataset.read(), 0, -1).astype("float32")
    np.testing.assert_array_equal(read_level(data, parse(data).levels[0]), expected, strict=True)


def test_negative_integers_of_odd_width_keep_their_sign():
    odd = dataclasses.replace(BYTES, dtype="int16", bits_per_sample=12, compression=1, tile_width=2, tile_height=1)
    packed = bytes([0xFF, 0xF0, 0x05])
    assert TileDecoder(odd).decode(packed, 1, 2).tolist() == [[[-1], [5]]]


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
def test_complex_samples_read_as_in_rasterio(dtype, endianness, parse, read_level):
    random = np.random.default_rng(3)
    array = np.round(random.normal(size=(2, 9, 11)) * 100) + 1j * np.round(random.normal(size=(2, 9, 11)) * 100)
    numpy_dtype = "complex64" if dtype == "complex_int16" else dtype
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=2, height=9, width=11, dtype=dtype, ENDIANNESS=endianness, compress="LZW"
        ) as dataset:
            dataset.write(array.astype(numpy_dtype))
        data = memory.read()
    level = parse(data).levels[0]
    np.testing.assert_array_equal(read_level(data, level), np.moveaxis(array.astype(numpy_dtype), 0, -1), strict=True)


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_jpeg_without_chroma_conversion_is_exact(bands, interleave, parse, read_level):
    array = noise((bands, 48, 40), "uint8", 5)
    data = written(array, compress="JPEG", interleave=interleave, tiled=True, blockxsize=32, blockysize=16)
    with MemoryFile(data) as memory, memory.open() as dataset:
        expected = np.moveaxis(dataset.read(), 0, -1)
    np.testing.assert_array_equal(read_level(data, parse(data).levels[0]), expected, strict=True)


def test_ycbcr_jpeg_without_subsampling_differs_by_rounding_alone(tmp_path, parse, read_level):
    array = noise((40, 48, 3), "uint8", 6)
    path = tmp_path / "ycbcr.tif"
    tifffile.imwrite(
        path, array, photometric="rgb", compression="jpeg", tile=(16, 16), subsampling=(1, 1), compressionargs={"level": 80}
    )  # fmt: skip
    data = path.read_bytes()
    level = parse(data).levels[0]
    assert (level.format.photometric, level.format.ycbcr_subsampling) == (6, (1, 1))
    with rasterio.open(path) as dataset:
        expected = np.moveaxis(dataset.read(), 0, -1).astype(int)
    assert np.abs(read_level(data, level) - expected).max() <= 1


@pytest.mark.parametrize("samples", [3, 4])
def test_webp_reads_as_in_gdal(samples, parse, read_level):
    array = noise((samples, 40, 33), "uint8", 7)
    data = written(
        array,
        compress="WEBP",
        WEBP_LOSSLESS="YES",
        interleave="pixel",
        tiled=True,
        blockxsize=16,
        blockysize=16,
    )
    with MemoryFile(data) as memory, memory.open() as dataset:
        expected = np.moveaxis(dataset.read(), 0, -1)
    np.testing.assert_array_equal(read_level(data, parse(data).levels[0]), expected, strict=True)


@pytest.mark.parametrize(("compression", "encode"), [
    (50002, lambda tile: imagecodecs.jpegxl_encode(tile, lossless=True)),
    (34712, lambda tile: imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k")),
])  # fmt: skip
@pytest.mark.parametrize("samples", [1, 3])
def test_lossless_image_codecs_round_trip(compression, encode, samples):
    array = noise((16, 16, samples), "uint8", 8)
    tile = dataclasses.replace(BYTES, compression=compression, samples_per_pixel=samples)
    data = encode(array if samples > 1 else array[..., 0])
    np.testing.assert_array_equal(TileDecoder(tile).decode(data, 16, 16), array)
    with pytest.raises(CorruptTiffError):
        TileDecoder(dataclasses.replace(tile, tile_width=32)).decode(data, 16, 16)


def test_lerc_pixels_that_are_invalid_are_nan():
    array = np.arange(256, dtype="float32").reshape(16, 16)
    mask = array % 3 > 0
    tile = dataclasses.replace(BYTES, dtype="float32", bits_per_sample=32, compression=34887)
    blob = imagecodecs.lerc_encode(array, level=0, masks=mask)
    decoded = TileDecoder(tile).decode(blob, 16, 16)[..., 0]
    assert np.isnan(decoded[~mask]).all()
    assert (decoded[mask] == array[mask]).all()


def test_bits_of_bytes_are_reversed_where_fill_order_says_so():
    array = noise((16, 16, 1), "uint8", 9)
    data = imagecodecs.bitorder_encode(zlib.compress(array.tobytes()))
    tile = dataclasses.replace(BYTES, fill_order=2)
    np.testing.assert_array_equal(TileDecoder(tile).decode(data, 16, 16), array)


def test_decoding_fills_a_strided_destination_and_clips_to_it():
    array = noise((16, 16), "uint16", 10)
    data = zlib.compress(imagecodecs.delta_encode(array, axis=-1).tobytes())
    tile = dataclasses.replace(BYTES, dtype="uint16", bits_per_sample=16, predictor=2)
    whole = np.zeros((40, 50, 1), "uint16")
    part = whole[3:14, 5:12]
    assert TileDecoder(tile).decode(data, 11, 7, part) is part
    np.testing.assert_array_equal(part[..., 0], array[:11, :7])
    assert whole.sum() == part.sum()


def test_a_short_last_strip_is_as_high_as_asked_for():
    array = noise((5, 16, 1), "uint8", 11)
    strip = dataclasses.replace(BYTES, tiled=False)
    decoder = TileDecoder(strip)
    data = zlib.compress(array.tobytes())
    np.testing.assert_array_equal(decoder.decode(data, 5, 16), array)
    np.testing.assert_array_equal(decoder.decode(data, 2, 9, coded_height=5), array[:2, :9])
    with pytest.raises(CorruptTiffError, match="got 80 bytes decoded, expected 96"):
        decoder.decode(data, 6, 16)


@pytest.mark.parametrize(("height", "width"), [(0, 16), (17, 16), (16, 17), (16, 0)])
def test_a_size_outside_the_tile_is_a_wrong_argument(height, width):
    with pytest.raises(InvalidArgumentError, match="expected a part of a tile"):
        TileDecoder(BYTES).decode(b"", height, width)


def test_a_destination_that_does_not_fit_is_a_wrong_argument():
    with pytest.raises(InvalidArgumentError, match="out: got shape"):
        TileDecoder(BYTES).decode(zlib.compress(bytes(256)), 16, 16, np.zeros((16, 16, 1), "uint16"))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("codec", ["LZW", "DEFLATE", "PACKBITS", "ZSTD", "LZMA", "LERC", "WEBP", "JPEG", "NONE"])
def test_truncated_tiles_are_never_silent(codec, dtype, parse):
    if codec in {"WEBP", "JPEG"} and dtype != "uint8":
        pytest.skip("8-bit codec")
    array = noise((3, 32, 32), dtype, 12)
    data = written(array, compress=codec, tiled=True, blockxsize=32, blockysize=32, interleave="pixel")
    level = parse(data).levels[0]
    start, count = int(level.tile_offsets[0]), int(level.tile_byte_counts[0])
    decoder = TileDecoder(level.format)
    tile = data[start : start + count]
    good = decoder.decode(tile, 32, 32)
    for cut in (1, 2, 3, 9, count // 3, count // 2, count - 3, count):
        try:
            decoded = decoder.decode(tile[: count - cut], 32, 32)
        except CorruptTiffError:
            continue
        # What was cut off was a checksum or an end marker: the pixels are all there.
        np.testing.assert_array_equal(decoded, good)


@pytest.mark.parametrize("rows", [1, 5, 15])
def test_lzw_that_ends_below_the_image_is_read_and_lzw_that_is_cut_is_not(rows):
    # GDAL asks of the last row of tiles only for what lies in the image.
    array = noise((16, 16, 1), "uint8", 14)
    decoder = TileDecoder(dataclasses.replace(BYTES, compression=5))
    data = imagecodecs.lzw_encode(array[:rows].tobytes())
    np.testing.assert_array_equal(decoder.decode(data, rows, 16), array[:rows])
    with pytest.raises(CorruptTiffError):
        decoder.decode(data, rows + 1, 16)
    for end in range(len(data) - 2):
        with pytest.raises(CorruptTiffError):
            decoder.decode(data[:end], rows, 16)


def test_data_beyond_what_a_tile_needs_are_ignored_as_in_libtiff():
    array = noise((16, 16, 1), "uint8", 13)
    more = array.tobytes() + bytes(100)
    for compression, data in (
        (1, more),
        (8, zlib.compress(more)),
        (32773, imagecodecs.packbits_encode(more)),
    ):
        tile = dataclasses.replace(BYTES, compression=compression)
        np.testing.assert_array_equal(TileDecoder(tile).decode(data, 16, 16), array)


def test_a_tile_that_cannot_be_so_large_is_refused_before_it_is_allocated():
    huge = dataclasses.replace(BYTES, tile_width=16_000, tile_height=16_000)
    with pytest.raises(CorruptTiffError, match="got 100 bytes of deflate data, expected enough for 256000000 bytes"):
        TileDecoder(huge).decode(bytes(100), 16_000, 16_000)
    with pytest.raises(UnsupportedTiffError, match="decoded; expected at most"):
        TileDecoder(huge, max_tile_bytes=1000).decode(bytes(100), 16_000, 16_000)


@pytest.mark.parametrize("compression", [6, 32766, 34676, 44510])
def test_an_unknown_codec_is_unsupported_by_name(compression):
    with pytest.raises(
        UnsupportedTiffError, match=rf"got compression \w+ \({compression}\).*expected one of none, lzw"
    ):
        TileDecoder(dataclasses.replace(BYTES, compression=compression))


@pytest.mark.parametrize(
    "change",
    [
        {"predictor": 4},
        {"predictor": 3},
        {"predictor": 2, "bits_per_sample": 4},
        {"photometric": 8},
        {"photometric": 5, "samples_per_pixel": 4, "planar": True},
    ],
)
def test_what_is_not_read_is_refused_when_the_decoder_is_made(change):
    with pytest.raises(UnsupportedTiffError, match=r"got .*expected .*Rewrite the file"):
        TileDecoder(dataclasses.replace(BYTES, **change))


def test_cmyk_is_read_as_rgba_like_gdal(parse, read_level):
    array = noise((4, 20, 20), "uint8", 14)
    data = written(array, photometric="CMYK", interleave="pixel")
    header = parse(data)
    with MemoryFile(data) as memory, memory.open() as dataset:
        expected = np.moveaxis(dataset.read(), 0, -1)
    np.testing.assert_array_equal(read_level(data, header.levels[0]), expected)
    assert [band.is_alpha for band in header.bands] == [False, False, False, True]


def test_threads_may_share_a_decoder():
    random = np.random.default_rng(15)
    arrays = [random.integers(0, 60000, (16, 16, 1)).astype("uint16") for _ in range(40)]
    tiles = [zlib.compress(imagecodecs.delta_encode(array, axis=-2).tobytes()) for array in arrays]
    decoder = TileDecoder(dataclasses.replace(BYTES, dtype="uint16", bits_per_sample=16, predictor=2))
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            for number, tile in enumerate(tiles):
                if not np.array_equal(decoder.decode(tile, 16, 16), arrays[number]):
                    wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@lru_cache(maxsize=1)
def encoded_tiles():
    """Compression, samples and bytes of tiles of 16 x 16 pixels."""
    array, rgb = noise((16, 16), "uint8", 16), noise((16, 16, 3), "uint8", 17)
    return (
        (5, 1, imagecodecs.lzw_encode(array.tobytes())),
        (8, 1, zlib.compress(array.tobytes())),
        (32773, 1, imagecodecs.packbits_encode(array.tobytes())),
        (50000, 1, imagecodecs.zstd_encode(array.tobytes())),
        (34925, 1, imagecodecs.lzma_encode(array.tobytes())),
        (34887, 1, imagecodecs.lerc_encode(array)),
        (7, 3, imagecodecs.jpeg_encode(rgb)),
        (50001, 3, imagecodecs.webp_encode(rgb)),
    )


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_broken_tiles_raise_nothing_but_corrupt_tiff_errors(data):
    compression, samples, tile = data.draw(st.sampled_from(encoded_tiles()))
    broken = bytearray(tile)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    tile_format = dataclasses.replace(BYTES, compression=compression, samples_per_pixel=samples)
    try:
        decoded = TileDecoder(tile_format).decode(bytes(broken), 16, 16)
    except CorruptTiffError:
        return
    assert decoded.shape == (16, 16, samples)


def test_headers_let_pass_exactly_the_compressions_that_have_decoders():
    assert set(codecs._MAKERS) | {names.NONE} == names.BYTE_CODECS
    assert set(image_codecs._MAKERS) == names.IMAGE_CODECS
