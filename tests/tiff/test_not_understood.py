"""What a header says and nobody understands is refused, or noted where it concerns one image of many; never guessed."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest
from rasterio.io import MemoryFile

from rasteret_sql.errors import CorruptTiffError, TiffError, UnsupportedTiffError
from rasteret_sql.tiff import tags
from rasteret_sql.tiff.gdal_metadata import parse_metadata, parse_nodata

MASK, OVERVIEW, OVERVIEW_MASK = 4, 1, 5
SMALL = ((256, 3, 4), (257, 3, 4), (279, 4, 16))
BROKEN = {
    "type of BitsPerSample": (258, 99, [1]),
    "no width": (256, 3, 0),
    "strip beyond the file": (273, 4, 99_999),
    "compression": (259, 3, 44_510),
    "no offsets": (273, 4, None),
    "offset 0": (273, 4, 0),
}


def gdal(data):
    """Pixels and nodata by rasterio."""
    with MemoryFile(data) as memory, memory.open() as dataset:
        return np.moveaxis(dataset.read(), 0, -1), dataset.nodata


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_overview_costs_itself_alone(broken, make_tiff, basic, parse):
    whole, small = basic((254, 4, OVERVIEW), *SMALL), basic((254, 4, OVERVIEW), *SMALL, BROKEN[broken])
    header = parse(make_tiff(basic(), whole, small))
    assert [level.width for level in header.levels] == [8, 4]
    assert len(header.notes) == 1
    assert header.notes[0].startswith("left out: IFD 2: ")


@pytest.mark.parametrize("entry", [(254, 99, [1]), (255, 99, [1]), (330, 99, [1])])
def test_an_ifd_that_does_not_say_what_it_is_costs_itself_alone(entry, make_tiff, basic, parse):
    ifds = [basic(entry), basic()] if entry[0] == tags.SUB_IFDS else [basic(), basic(entry)]
    header = parse(make_tiff(*ifds))
    assert len(header.levels) == 1
    assert "got field type 99" in " ".join(header.notes)


@pytest.mark.parametrize("broken", BROKEN)
def test_an_image_whose_mask_is_broken_is_refused(broken, make_tiff, basic, parse):
    with pytest.raises(TiffError, match=r"IFD 1 \(mask of the image\): .*got .*expected "):
        parse(make_tiff(basic(), basic((254, 4, MASK), BROKEN[broken])))


@pytest.mark.parametrize("broken", BROKEN)
def test_an_overview_whose_mask_is_broken_is_left_out(broken, make_tiff, basic, parse):
    header = parse(
        make_tiff(
            basic(),
            basic((254, 4, MASK)),
            basic((254, 4, OVERVIEW), *SMALL),
            basic((254, 4, OVERVIEW_MASK), *SMALL, BROKEN[broken]),
        )
    )
    assert [(level.width, level.mask is not None) for level in header.levels] == [(8, True)]
    assert header.notes[1] == "1 overviews without a mask were left out: a mask is broken"


@pytest.mark.parametrize("compression", [1, 8])
def test_a_tile_with_bytes_and_no_offset_is_an_error_and_one_without_bytes_is_sparse(
    compression, make_tiff, basic, parse
):
    strip = bytes(range(32)) if compression == 1 else zlib.compress(bytes(range(32)))
    entries = [(259, 3, compression), (278, 3, 4), (273, 4, [16, 0])]
    with pytest.raises(CorruptTiffError, match=r"StripOffsets.*got offset 0 of tile 1 of 2, which has"):
        parse(make_tiff(basic(*entries, (279, 4, [len(strip)] * 2)), data=strip))
    level = parse(make_tiff(basic(*entries, (279, 4, [len(strip), 0])), data=strip)).levels[0]
    assert level.tile_byte_counts.tolist() == [len(strip), 0]


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("tiled", [True, False])
def test_the_only_tile_without_bytes_is_sparse_and_the_only_strip_is_not(
    tiled, compression, make_tiff, basic, parse, read_level
):
    pixels = np.arange(256, dtype="uint8")
    strip = pixels.tobytes() if compression == 1 else zlib.compress(pixels.tobytes())
    size = ((256, 3, 16), (257, 3, 16), (259, 3, compression), (278, 3, 16), (279, 4, 0))
    entries = basic(*size)
    if tiled:
        no_strips = ((273, 4, None), (278, 3, None), (279, 4, None))
        entries = basic(*size, *no_strips, (322, 3, 16), (323, 3, 16), (324, 4, 16), (325, 4, 0))
    data = make_tiff(entries, data=strip)
    expected, _ = gdal(data)
    np.testing.assert_array_equal(read_level(data, parse(data).levels[0]), expected)
    assert expected.any() != tiled


@pytest.mark.parametrize("samples", [4, 5])
@pytest.mark.parametrize("ink_set", [0, 2, 7])
def test_inks_that_are_not_cmyk_are_refused(ink_set, samples, make_tiff, basic, parse):
    inks = [(258, 3, [8] * samples), (262, 3, 5), (277, 3, samples), (279, 4, 64 * samples)]
    with pytest.raises(UnsupportedTiffError, match=rf"InkSet \(332\): got {ink_set}, expected 1"):
        parse(make_tiff(basic(*inks, (332, 3, ink_set)), data=bytes(64 * samples)))


@pytest.mark.parametrize("ink_set", [None, 1, 2])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_inks_that_are_read_are_those_of_gdal(samples, ink_set, make_tiff, basic, parse, read_level):
    if samples == 4 and ink_set == 2:
        pytest.skip("refused")
    values = np.random.default_rng(samples).integers(0, 256, 64 * samples, np.uint8)
    inks = [(258, 3, [8] * samples), (262, 3, 5), (277, 3, samples), (279, 4, 64 * samples), (332, 3, ink_set)]
    data = make_tiff(basic(*inks), data=values.tobytes())
    np.testing.assert_array_equal(read_level(data, parse(data).levels[0]), gdal(data)[0])


INTEGERS = {1: 1, 3: 2, 4: 4, 16: 8, 17: 8}
"""Bytes of integer field types."""


@pytest.mark.parametrize("tag", sorted(tags.LAYOUT_TAGS), ids=tags.tag_name)
def test_no_number_of_a_header_is_too_large_for_an_index(tag, make_tiff, basic, parse):
    """Each tag in each integer type with the largest value; PhotometricInterpretation as LONG8 overflowed a column."""
    codecs = ((259, 3, 1), (259, 3, 3), (259, 3, 8), (259, 3, 34887))
    for (kind, nbytes), codec in itertools.product(INTEGERS.items(), codecs):
        signed = kind == 17
        top = (1 << (8 * nbytes - signed)) - 1
        for value in (top, -1 if signed else top // 2 + 1):
            if kind == 1 and value > 255:
                continue
            entries = basic(codec, (tag, kind, [value] * 2 if tag in {530, 50674} else value))
            try:
                header = parse(make_tiff(entries, bigtiff=True))
            except TiffError:
                continue
            tile = header.levels[0].format
            numbers = [tile.photometric, tile.predictor, tile.compression, *tile.codec_parameters]
            numbers += [tile.tile_width, tile.tile_height, tile.bits_per_sample, tile.samples_per_pixel]
            assert all(0 <= number < 2**31 for number in numbers), (kind, value, tile)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32", "float64"])
@pytest.mark.parametrize(
    "text",
    ["-3,4e+2", "7,5", "7.5", "1,234.5", "1.234,5", "200", "200,0", " 12 ", "9 (none)", "+4", ",5", "1e2", "12e"],
)
def test_numbers_are_read_as_gdal_reads_them(text, dtype, make_tiff, basic, parse):
    bits, sample_format = np.dtype(dtype).itemsize * 8, {"u": 1, "i": 2, "f": 3}[np.dtype(dtype).kind]
    layout = [(258, 3, bits), (339, 3, sample_format), (279, 4, 8 * bits), (42113, 2, text)]
    xml = f'<GDALMetadata><Item name="SCALE" sample="0" role="scale">{text}</Item></GDALMetadata>'
    data = make_tiff(basic(*layout, (42112, 2, xml)), data=bytes(8 * bits))
    band = parse(data).bands[0]
    with MemoryFile(data) as memory, memory.open() as dataset:
        assert band.scale == dataset.scales[0]
        if band.nodata is None:
            assert parse(data).notes
        else:
            assert band.nodata == dataset.nodata


@pytest.mark.parametrize("role", ["scale", "offset"])
def test_a_text_that_is_no_number_is_noted(role):
    xml = f'<GDALMetadata><Item name="X" sample="1" role="{role}">much</Item></GDALMetadata>'
    found = parse_metadata(xml, "a.tif: IFD 0")
    assert getattr(found.bands[1], role) is None
    assert found.note == f"GDAL_METADATA: the {role} of band 2, 'much', is no number and was left out"


@pytest.mark.parametrize(("text", "dtype", "value"), [
    ("18446744073709551615", "uint64", 2**64 - 1),
    ("9223372036854775807", "int64", 2**63 - 1),
    ("-9223372036854775808", "int64", -(2**63)),
    ("9007199254740993", "int64", 2**53 + 1),
    ("9007199254740993.0", "int64", 2**53 + 1),
    ("9007199254740993,00", "uint64", 2**53 + 1),
    ("9.007199254740993e15", "uint64", None),
    ("7.5", "int64", None),
    ("18446744073709551616", "uint64", None),
    ("1e999999999", "uint64", None),
])  # fmt: skip
def test_nodata_of_64_bits_is_exact(text, dtype, value):
    found, note = parse_nodata(text, dtype)
    assert (found, type(found)) == (value, type(value))
    assert (note is None) == (value is not None)
