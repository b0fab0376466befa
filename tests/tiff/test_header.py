"""Headers of files written by hand: what each tag means, and what is refused."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_sql.errors import CorruptTiffError, NotTiffError, TiffError, UnsupportedTiffError
from rasteret_sql.tiff.buffer import NeedBytes, SparseBytes
from rasteret_sql.tiff.crs import METRIC_CODES, crs_of
from rasteret_sql.tiff.gdal_metadata import parse_metadata, parse_nodata
from rasteret_sql.tiff.header import identity, parse_header
from rasteret_sql.tiff.ifd import MAX_IFDS

SCALE = (33550, 12, (10.0, 20.0, 0.0))
TIEPOINT = (33922, 12, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0))


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_both_formats_parse(order, bigtiff, make_tiff, basic, parse):
    header = parse(make_tiff(basic(), order=order, bigtiff=bigtiff))
    level = header.levels[0]
    assert (header.byte_order, header.bigtiff) == ("little" if order == "<" else "big", bigtiff)
    assert (level.width, level.height, level.format.dtype) == (8, 8, "uint8")
    assert (level.tile_offsets.tolist(), level.tile_byte_counts.tolist()) == ([16], [64])


def test_nothing_known_asks_for_a_first_read_within_the_file():
    with pytest.raises(NeedBytes) as caught:
        parse_header(SparseBytes(file_size=5000))
    assert caught.value.ranges == ((0, 5000),)
    with pytest.raises(NeedBytes) as caught:
        parse_header(SparseBytes())
    assert caught.value.ranges == ((0, 32768),)


def test_all_values_of_all_known_ifds_are_asked_for_at_once(make_tiff, basic, parse):
    far = bytes(100_000)
    tall = basic((257, 3, 8), (278, 3, 1), (273, 4, [16] * 8), (279, 4, [8] * 8), SCALE, TIEPOINT)
    data = make_tiff(tall, [(254, 4, 1), *tall], data=far)
    rounds = []
    header = parse(data, first_bytes=16, rounds=rounds)
    assert len(header.levels) == 2
    assert len(rounds) == 2, rounds


def test_a_file_within_the_first_read_needs_no_second(make_tiff, basic, parse):
    rounds = []
    parse(make_tiff(basic(SCALE, TIEPOINT)), rounds=rounds)
    assert rounds == []


@pytest.mark.parametrize(
    "data", [b"", b"II", b"GIF89a..........", b"<html><body>Not found</body>", b"II\x2b\0\4\0\0\0" * 2]
)
def test_what_is_no_tiff_says_so(data, parse):
    with pytest.raises(NotTiffError, match="expected a TIFF"):
        parse(data)


def test_a_message_never_holds_the_query_string_or_credentials():
    url = "https://user:secret@example.com/a/b.tif?sig=SECRET#x"
    assert identity(url) == "https://example.com/a/b.tif"
    with pytest.raises(NotTiffError) as caught:
        parse_header(SparseBytes((0, b"hello there"), file_size=11), href=url)
    assert "https://example.com/a/b.tif" in str(caught.value)
    assert "secret" not in str(caught.value).lower()


def test_a_loop_of_ifds_ends_with_a_note(make_tiff, basic, parse):
    data = make_tiff(basic())
    first = int.from_bytes(data[4:8], "little")
    assert parse(make_tiff(basic(), last=first)).notes == (
        "IFD 1 is an earlier one again: the chain of IFDs is a loop",
    )


def test_an_ifd_beyond_the_file_ends_the_chain_with_a_note(make_tiff, basic, parse):
    (note,) = parse(make_tiff(basic(), last=1 << 30)).notes
    assert note.startswith("the chain of IFDs ends early: IFD 1: got a table at bytes 1073741824")


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_file_may_end_with_its_last_entry(bigtiff, make_tiff, basic, parse):
    data = make_tiff(basic(), bigtiff=bigtiff)
    assert parse(data[: -8 if bigtiff else -4]).levels == parse(data).levels


def test_the_chain_behind_a_sub_ifd_is_not_followed(make_tiff, basic, parse):
    half = basic((254, 4, 1), (256, 3, 4), (257, 3, 4), (279, 4, 16))
    quarter = basic((254, 4, 1), (256, 3, 2), (257, 3, 2), (279, 4, 4))
    main = basic((330, 4, 1))
    data = bytearray(make_tiff(main, half, quarter))
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * len(main)
    second = int.from_bytes(data[end : end + 4], "little")
    data[end : end + 4] = bytes(4)
    place = data.index((330).to_bytes(2, "little") + (4).to_bytes(2, "little"), first) + 8
    data[place : place + 4] = second.to_bytes(4, "little")
    assert [level.width for level in parse(bytes(data)).levels] == [8, 4]


def test_many_pages_are_left_out_with_a_note(make_tiff, basic, parse):
    header = parse(make_tiff(*[basic()] * 3))
    assert header.notes == ("2 further pages are not overviews",)
    assert MAX_IFDS < 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((256, 3, 0), r"ImageWidth \(256\): got 0, expected 1 to"),
        ((256, 4, 2**32 - 1), r"ImageWidth"),
        ((257, 3, None), r"ImageLength \(257\): got no value"),
        ((277, 3, 0), r"SamplesPerPixel"),
        ((258, 3, [8, 8]), r"BitsPerSample .* got 2 values"),
        ((284, 3, 3), r"PlanarConfiguration .* expected 1 \(chunky\) or 2"),
        ((278, 3, 4), r"StripOffsets \(273\): got 1 values, expected 2, one for each tile"),
        ((278, 3, 0), r"RowsPerStrip"),
        ((273, 3, None), r"StripOffsets .* got no such tag"),
        ((273, 4, 1_000_000), r"got tile 0 of 1 at bytes 1000000 to 1000064, expected it inside"),
        ((279, 4, 1_000_000), r"truncated\?"),
        ((256, 99, 8), r"ImageWidth \(256\): got field type 99"),
        ((273, 12, 16.0), r"StripOffsets \(273\): got field type 12, expected an integer type"),
        ((42112, 2, "<!DOCTYPE x [<!ENTITY a 'b'>]><GDALMetadata/>"), r"without a document type"),
        ((34264, 12, (1.0, 2.0)), r"ModelTransformation .* got 2 numbers, expected 16"),
    ],
)
def test_tags_that_cannot_be_are_named_with_what_was_expected(change, message, make_tiff, basic, parse):
    if change[0] == 258:
        change = (258, 3, [8, 8])
        entries = basic((277, 3, 3), change)
    else:
        entries = basic(change)
    with pytest.raises(CorruptTiffError, match=message) as caught:
        parse(make_tiff(entries))
    assert str(caught.value).startswith("test.tif: IFD 0: ")


def test_a_file_cut_inside_its_directory_is_truncated(make_tiff, basic, parse):
    data = make_tiff(basic())
    with pytest.raises(CorruptTiffError, match="truncated"):
        parse(data[:-20])


def test_a_count_beyond_the_file_allocates_nothing(make_tiff, basic, parse):
    data = bytearray(make_tiff(basic((257, 4, 2**31 - 1), (278, 3, 1), (273, 4, [16] * 2), (279, 4, [8] * 2))))
    with pytest.raises(CorruptTiffError, match=r"StripOffsets .* got 2147483647 tiles, expected|got 2147483647 tiles"):
        parse(bytes(data))


def test_missing_byte_counts_of_uncompressed_strips_are_computed(make_tiff, basic, parse):
    entries = basic((278, 3, 3), (273, 4, [16, 40, 64]), (279, 4, None))
    level = parse(make_tiff(entries)).levels[0]
    assert level.tile_byte_counts.tolist() == [24, 24, 16]


def test_missing_byte_counts_of_compressed_tiles_are_an_error(make_tiff, basic, parse):
    entries = basic((278, 3, 3), (273, 4, [16, 40, 64]), (279, 4, None), (259, 3, 5))
    with pytest.raises(CorruptTiffError, match="StripByteCounts"):
        parse(make_tiff(entries))


@pytest.mark.parametrize(("kind", "offset"), [(3, 16), (4, 16), (16, 16), (13, 16)])
def test_tile_offsets_of_each_integer_type_are_read(kind, offset, make_tiff, basic, parse):
    entries = basic((278, 3, 4), (273, kind, [offset, offset + 32]), (279, 3, [32, 32]))
    level = parse(make_tiff(entries, bigtiff=True)).levels[0]
    assert level.tile_offsets.tolist() == [16, 48]
    assert level.tile_offsets.dtype == np.int64


def test_samples_of_different_types_are_unsupported_by_name(make_tiff, basic, parse):
    with pytest.raises(UnsupportedTiffError, match=r"BitsPerSample.*samples differ in type.*Split the bands"):
        parse(make_tiff(basic((277, 3, 3), (258, 3, [8, 16, 8]))))


def test_scale_and_tiepoint_make_the_transform(make_tiff, basic, parse):
    tiepoint = (33922, 12, (2.0, 3.0, 0.0, 500.0, 900.0, 0.0))
    header = parse(make_tiff(basic(SCALE, tiepoint)))
    assert header.transform == (10.0, 0.0, 480.0, 0.0, -20.0, 960.0)


def test_pixel_is_point_moves_the_transform_by_half_a_pixel(make_tiff, basic, parse):
    keys = (34735, 3, (1, 1, 0, 1, 1025, 0, 1, 2))
    assert parse(make_tiff(basic(SCALE, TIEPOINT, keys))).transform == (10.0, 0.0, 495.0, 0.0, -20.0, 910.0)


def test_a_matrix_may_be_south_up(make_tiff, basic, parse):
    matrix = (34264, 12, (0.5, 0, 0, -180.0, 0, 0.5, 0, -90.0, 0, 0, 0, 0, 0, 0, 0, 1.0))
    assert parse(make_tiff(basic(matrix))).transform == (0.5, 0.0, -180.0, 0.0, 0.5, -90.0)


def test_a_rotated_grid_gives_pixels_without_a_transform_and_a_note(make_tiff, basic, parse):
    matrix = (34264, 12, (0.5, 0.1, 0, -180.0, 0.1, -0.5, 0, -90.0, 0, 0, 0, 0, 0, 0, 0, 1.0))
    keys = (34735, 3, (1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326))
    header = parse(make_tiff(basic(matrix, keys)))
    assert header.transform is None
    assert header.crs == "EPSG:4326"
    (note,) = header.notes
    assert note.startswith("no transform: the grid (0.5, 0.1, -180.0, 0.1, -0.5, -90.0) is rotated or sheared; warp")


def test_ground_control_points_give_no_transform_and_a_note(make_tiff, basic, parse):
    points = (33922, 12, tuple(float(n) for n in range(24)))
    header = parse(make_tiff(basic(points)))
    assert header.transform is None
    assert header.notes == ("no transform: 4 ground control points instead of a grid",)


def test_overviews_and_masks_are_told_by_their_subfile_type(make_tiff, basic, parse):
    half = ((256, 3, 4), (257, 3, 4), (279, 4, 16))
    mask = ((258, 3, 1), (279, 4, 8))
    header = parse(
        make_tiff(
            basic(),
            basic((254, 4, 1), *half),
            basic((254, 4, 4), *mask),
            basic((254, 4, 5), (258, 3, 1), *half[:2], (279, 4, 4)),
            basic((254, 4, 4), (256, 3, 3), (279, 4, 24)),
            basic((254, 4, 1), (277, 3, 3), (258, 3, [8, 8, 8]), (256, 3, 2), (257, 3, 2), (279, 4, 12)),
            basic((254, 4, 2)),
        )
    )
    assert [(level.width, level.mask is not None) for level in header.levels] == [(8, True), (4, True)]
    assert [level.mask.width for level in header.levels] == [8, 4]
    assert len(header.notes) == 3


def test_overviews_in_sub_ifds_are_levels(make_tiff, basic, parse):
    entries = basic((254, 4, 1), (256, 3, 4), (257, 3, 4), (279, 4, 16))
    inner = make_tiff(entries)
    offset = int.from_bytes(inner[4:8], "little")
    data = inner + make_tiff(basic((330, 4, offset)), data=b"")[16:]
    shift = len(inner) - 16
    outer = make_tiff(basic((330, 4, offset)), data=b"")
    first = int.from_bytes(outer[4:8], "little") + shift
    header = parse(data[:4] + first.to_bytes(4, "little") + data[8:])
    assert [level.width for level in header.levels] == [8, 4]


def test_alpha_is_told_by_extra_samples(make_tiff, basic, parse):
    entries = basic((277, 3, 4), (258, 3, [8] * 4), (262, 3, 2), (338, 3, 2), (256, 3, 4), (257, 3, 4))
    assert [band.is_alpha for band in parse(make_tiff(entries)).bands] == [False, False, False, True]


def test_band_facts_come_from_gdal_metadata(make_tiff, basic, parse):
    xml = (
        '<GDALMetadata><Item name="A">b &amp; c</Item><Item name="SCALE" sample="0" role="scale">0.1</Item>'
        '<Item name="OFFSET" sample="0" role="offset">-2</Item><Item name="UNITTYPE" sample="0" role="unittype">K</Item>'
        '<Item name="DESCRIPTION" sample="0" role="description">red</Item>'
        '<Item name="X" domain="OTHER">y</Item><Item name="S" sample="7" role="scale">3</Item></GDALMetadata>'
    )
    header = parse(make_tiff(basic((42112, 2, xml), (42113, 2, "7"))))
    band = header.bands[0]
    assert header.metadata == (("A", "b & c"),)
    assert (band.scale, band.offset, band.unit, band.description, band.nodata) == (0.1, -2.0, "K", "red", 7)


def test_metadata_that_is_no_xml_is_left_out_with_a_note():
    metadata = parse_metadata("<GDALMetadata><Item", "x")
    assert metadata.items == []
    assert metadata.note is not None


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        (None, "uint8", None),
        ("", "uint8", None),
        ("0", "uint8", 0),
        (" -9999 ", "int16", -9999),
        ("-9999", "uint8", None),
        ("300", "uint8", None),
        ("nan", "uint8", None),
        ("18446744073709551615", "uint64", 2**64 - 1),
        ("-9223372036854775808", "int64", -(2**63)),
        ("9007199254740993", "int64", 9007199254740993),
        ("-3.40282346638528859811704183484516925e+38", "float32", -float(np.finfo("f4").max)),
        ("3.4028234663852886e+38garbage", "float64", 3.4028234663852886e38),
        ("-inf", "float32", -math.inf),
        ("1.#INF", "float64", math.inf),
        ("0.1", "float32", float(np.float32(0.1))),
        ("0.1", "float64", 0.1),
        ("none", "float32", None),
    ],
)
def test_nodata_is_what_a_pixel_can_hold(text, dtype, value):
    assert parse_nodata(text, dtype)[0] == value


@pytest.mark.parametrize("text", ["nan", "-1.#QNAN", "NaN", "-nan(ind)", "1.#IND"])
def test_nodata_may_be_nan_as_any_c_library_spells_it(text):
    assert math.isnan(parse_nodata(text, "float32")[0])


def test_nodata_that_no_pixel_can_hold_is_noted(make_tiff, basic, parse):
    header = parse(make_tiff(basic((42113, 2, "-9999"))))
    assert header.bands[0].nodata is None
    assert header.notes == ("GDAL_NODATA -9999 cannot occur in uint8 pixels",)


def test_the_ghost_area_of_a_cog_is_read(make_tiff, basic, parse):
    lines = b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    ghost = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(lines) + lines
    data = make_tiff(basic((273, 4, 200)), bigtiff=True, data=ghost.ljust(300, b"\0"))
    assert parse(data).cog_layout == ("LAYOUT=IFDS_BEFORE_DATA", "BLOCK_LEADER=SIZE_AS_UINT4")


def test_a_plain_epsg_code_does_not_import_pyproj():
    code = (
        "import sys; from rasteret_sql.tiff.crs import crs_of; import rasteret_sql.tiff.header;"
        "assert crs_of({1024: 1, 3072: 32643, 3076: 9001}) == ('EPSG:32643', None);"
        "assert crs_of({1024: 2, 2048: 4326, 2054: 9102}) == ('EPSG:4326', None);"
        "assert not {'pyproj', 'imagecodecs', 'rasterio', 'tifffile', 'asyncio'} & set(sys.modules), set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_decoder_does_not_import_imagecodecs():
    code = "import sys, rasteret_sql.tiff.decode; assert 'imagecodecs' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_codes_taken_for_metric_are_metric():
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    seen = 0
    for first, last in METRIC_CODES:
        for code in range(first, last + 1):
            try:
                crs = CRS.from_epsg(code)
            except CRSError:
                continue
            seen += 1
            assert {axis.unit_conversion_factor for axis in crs.axis_info} == {1.0}, code
    assert seen > 150


def test_a_code_in_feet_with_keys_in_metres_is_not_given_as_that_code():
    feet, note = crs_of({1024: 1, 3072: 2225, 3076: 9003})
    metres, _ = crs_of({1024: 1, 3072: 2225, 3076: 9001})
    assert (feet, note) == ("EPSG:2225", None)
    assert metres.startswith("PROJCRS")


def test_keys_that_make_no_sense_give_no_crs_and_a_note():
    crs, note = crs_of({1024: 1, 3072: 32767, 3074: 32767, 3075: 99})
    assert crs is None
    assert note.startswith("no CRS")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_broken_headers_raise_nothing_but_tiff_errors(data, sample_headers):
    whole = sample_headers[data.draw(st.integers(0, len(sample_headers) - 1))]
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(broken) - 1))
        broken[position] = data.draw(st.integers(0, 255))
    broken = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    buffer = SparseBytes((0, broken), file_size=len(broken))
    try:
        header = parse_header(buffer)
    except TiffError as error:
        assert "<bytes>" in str(error)  # noqa: PT017
    else:
        for level in header.levels:
            assert level.tile_offsets.size == level.tile_byte_counts.size


@pytest.mark.parametrize("code", [6, 32766, 34676, 44510])
def test_a_compression_that_is_not_read_is_refused_with_the_header(code, make_tiff, basic, parse):
    message = rf"test.tif: IFD 0: Compression \(259\): got \w+ \({code}\), which is not read; expected one of none, lzw"
    with pytest.raises(UnsupportedTiffError, match=message):
        parse(make_tiff(basic((259, 3, code))))


def test_colours_that_are_not_converted_are_refused_with_the_header(make_tiff, basic, parse):
    with pytest.raises(UnsupportedTiffError, match=r"test.tif: IFD 0: got photometric interpretation cielab"):
        parse(make_tiff(basic((262, 3, 8))))


def test_an_overview_that_is_not_read_is_left_out_with_a_note(make_tiff, basic, parse):
    half = basic((254, 4, 1), (256, 3, 4), (257, 3, 4), (279, 4, 16), (259, 3, 34676))
    header = parse(make_tiff(basic(), half))
    assert len(header.levels) == 1
    assert header.notes[0].startswith("left out: IFD 1: Compression (259): got sgilog")
