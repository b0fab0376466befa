"""Files of `write_cog` are read by rasterio and tifffile as what was written."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing.cog import CogOptions, encode_cog, write_cog

BYTE_CODECS = ["none", "deflate", "deflate_old", "lzw", "zstd", "lzma", "packbits"]
LERC = ["lerc", "lerc_deflate", "lerc_zstd"]
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
LERC_DTYPES = ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def noise(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Values over the whole range of a dtype, with runs that compress."""
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        values = rng.normal(0, 1e3, shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        values = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    values[..., : shape[-1] // 3] = values[..., :1]
    return values


def rasterio_levels(data: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels (bands, height, width) and validity of every level."""
    levels = []
    with rasterio.io.MemoryFile(data) as file:
        with file.open() as image:
            count = len(image.overviews(1))
        for level in [None, *range(count)]:
            with rasterio.open(file.name, **({} if level is None else {"overview_level": level})) as image:
                levels.append((image.read(), image.dataset_mask() > 0))
    return levels


def assert_same_bytes(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert np.ascontiguousarray(got).tobytes() == np.ascontiguousarray(expected).tobytes()


@st.composite
def files(draw: st.DrawFn) -> tuple[tuple[int, int, int], str, int, bool, dict[str, Any]]:
    """Shape, dtype, seed of the values, whether there is a mask, options."""
    compression = draw(st.sampled_from(BYTE_CODECS + LERC))
    dtype = draw(st.sampled_from(LERC_DTYPES if compression in LERC else DTYPES))
    predictor = draw(st.sampled_from([True, False, 1, 2, 3]))
    if predictor in (2, 3) and predictor is not True:
        assume(compression in {"deflate", "deflate_old", "lzw", "zstd", "lzma"})
        assume(predictor == 2 or dtype.startswith("float"))
    shape = (draw(st.integers(1, 4)), draw(st.integers(3, 90)), draw(st.integers(3, 90)))
    options: dict[str, Any] = {
        "compression": compression,
        "predictor": predictor,
        "planar": draw(st.booleans()),
        "byte_order": draw(st.sampled_from(["little", "big"])),
        "bigtiff": draw(st.booleans()),
        "ifds": draw(st.sampled_from(["first", "last"])),
        "overviews": draw(st.sampled_from([(), (2,), (2, 4), (3,)])),
        "mask_bits": draw(st.sampled_from([1, 8])),
        "fill_order": draw(st.sampled_from([1, 1, 2])),
    }
    if draw(st.booleans()):
        options["rows_per_strip"] = draw(st.integers(1, 100))
    else:
        sides = st.sampled_from([16, 32, 48])
        options["tile"] = (draw(sides), draw(sides))
    seed = draw(st.integers(0, 1000))
    return shape, dtype, seed, draw(st.booleans()), options


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(files())
@example(((2, 50, 40), "uint16", 0, False, {"compression": "lerc_zstd", "byte_order": "big", "tile": 16}))
@example(((3, 50, 40), "float32", 0, True, {"compression": "lzw", "predictor": 3, "byte_order": "big", "tile": 16}))
def test_rasterio_and_tifffile_read_what_was_written_at_every_level(file):
    shape, dtype, seed, masked, options = file
    data = noise(shape, dtype, seed)
    mask = np.random.default_rng(seed).random(shape[1:]) > 0.4 if masked else None
    written = encode_cog(data, mask, **options)
    factors = (1, *options.get("overviews", (2, 4)))
    levels = rasterio_levels(written)
    assert len(levels) == len(factors)
    for (pixels, valid), factor in zip(levels, factors, strict=True):
        assert_same_bytes(pixels, data[:, ::factor, ::factor])
        if mask is not None:
            np.testing.assert_array_equal(valid, mask[::factor, ::factor])
    # tifffile takes LERC's samples as native, libtiff swaps them; what GDAL reads is what counts.
    if options["compression"] in LERC and options["byte_order"] == "big":
        return
    if options["compression"] in LERC and options.get("fill_order") == 2:
        return
    with tifffile.TiffFile(io.BytesIO(written)) as tiff:
        got = tiff.pages[0].asarray()
    expected = data if options.get("planar") or len(data) == 1 else data.transpose(1, 2, 0)
    np.testing.assert_array_equal(got.reshape(expected.shape), expected)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_complex_samples_are_read_back(dtype, byte_order):
    data = (noise((1, 40, 40), "float32") + 1j * noise((1, 40, 40), "float32", 1)).astype(dtype)
    assert_same_bytes(rasterio_levels(encode_cog(data, tile=16, byte_order=byte_order))[0][0], data)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 12, 15])
@pytest.mark.parametrize("options", [{}, {"rows_per_strip": 5}, {"planar": True}], ids=str)
def test_packed_bits_are_read_back(bits, options):
    data = np.random.default_rng(bits).integers(0, 2**bits, (2, 33, 45), dtype="uint8" if bits < 8 else "uint16")
    got = rasterio_levels(encode_cog(data, tile=16, bits_per_sample=bits, **options))
    assert_same_bytes(got[0][0], data)


def test_booleans_become_one_bit():
    data = np.random.default_rng(0).random((40, 50)) > 0.5
    written = encode_cog(data, tile=16)
    assert_same_bytes(rasterio_levels(written)[0][0][0], data.astype("uint8"))
    with tifffile.TiffFile(io.BytesIO(written)) as tiff:
        assert tiff.pages[0].bitspersample == 1


def test_webp_is_lossless_without_a_level():
    data = noise((3, 70, 50), "uint8")
    assert_same_bytes(rasterio_levels(encode_cog(data, tile=32, compression="webp"))[0][0], data)


@pytest.mark.parametrize("jpeg_tables", [True, False])
@pytest.mark.parametrize(
    "options",
    [{"photometric": "ycbcr"}, {"photometric": "rgb"}, {"planar": True}, {"rows_per_strip": 16}],
    ids=str,
)
def test_jpeg_is_close_and_keeps_its_tables_where_asked(options, jpeg_tables):
    y, x = np.mgrid[:70, :90]
    smooth = np.stack([x, y, x + y]).astype("uint8")
    if "rows_per_strip" in options:
        smooth = smooth[:1]
    written = encode_cog(smooth, tile=32, compression="jpeg", jpeg_tables=jpeg_tables, **options)
    got = rasterio_levels(written)[0][0]
    assert np.abs(got.astype(int) - smooth).mean() < 1.5
    with tifffile.TiffFile(io.BytesIO(written)) as tiff:
        assert (347 in tiff.pages[0].tags) is jpeg_tables


def test_descriptions_scales_offsets_units_and_nodata_are_read_by_gdal():
    written = encode_cog(
        noise((2, 20, 20), "int16"),
        tile=16,
        nodata=-9999,
        band_names=["a < b", "B08"],
        scales=[0.0001, 2.0],
        offsets=[-0.1, 0.0],
        units=["1", "K"],
        metadata={"AREA": "x & y"},
    )
    with rasterio.io.MemoryFile(written) as file, file.open() as image:
        assert image.descriptions == ("a < b", "B08")
        assert image.scales == (0.0001, 2.0)
        assert image.offsets == (-0.1, 0.0)
        assert image.units == ("1", "K")
        assert image.nodatavals == (-9999.0, -9999.0)
        assert image.tags()["AREA"] == "x & y"


@pytest.mark.parametrize("nodata", [float("nan"), float("inf"), -3.4028234663852886e38, 0.1])
def test_float_nodata_round_trips(nodata):
    with (
        rasterio.io.MemoryFile(encode_cog(noise((1, 20, 20), "float64"), tile=16, nodata=nodata)) as file,
        file.open() as image,
    ):
        np.testing.assert_equal(image.nodata, nodata)


@pytest.mark.parametrize("crs", ["EPSG:32643", "EPSG:4326", "EPSG:3857", "EPSG:3035", "EPSG:4674"])
@pytest.mark.parametrize(
    "transform",
    [(10, 0, 600000, 0, -10, 1400000), (0.5, 0, -180, 0, 0.25, -90), (2, 1, 10, 1, -2, 20)],
    ids=["north-up", "south-up", "rotated"],
)
@pytest.mark.parametrize("area_or_point", ["area", "point"])
def test_grid_and_crs_are_read_by_gdal(crs, transform, area_or_point):
    written = encode_cog(
        noise((1, 20, 20), "uint8"), tile=16, crs=crs, transform=transform, area_or_point=area_or_point
    )
    with rasterio.io.MemoryFile(written) as file, file.open() as image:
        assert image.crs.to_string() == crs
        np.testing.assert_allclose(tuple(image.transform)[:6], transform, rtol=1e-15, atol=1e-9)
        assert image.tags()["AREA_OR_POINT"] == area_or_point.title()


def test_a_file_may_have_a_grid_without_a_crs_or_neither():
    data = noise((1, 20, 20), "uint8")
    with rasterio.io.MemoryFile(encode_cog(data, tile=16, crs=None)) as file, file.open() as image:
        assert image.crs is None
        assert tuple(image.transform)[:6] == (10, 0, 600000, 0, -10, 1400000)
    with (
        rasterio.io.MemoryFile(encode_cog(data, tile=16, crs=None, transform=None)) as file,
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        file.open() as image,
    ):
        assert image.crs is None


def test_alpha_palette_and_rgb_are_named_as_such():
    interp = rasterio.enums.ColorInterp

    def colours(data, **options):
        with rasterio.io.MemoryFile(encode_cog(data, tile=16, **options)) as file, file.open() as image:
            return image.colorinterp, image

    assert colours(noise((2, 20, 20), "uint8"), alpha=True)[0] == (interp.gray, interp.alpha)
    rgba = (interp.red, interp.green, interp.blue, interp.alpha)
    assert colours(noise((4, 20, 20), "uint8"), alpha=True, photometric="rgb")[0] == rgba
    table = np.random.default_rng(0).integers(0, 256, (256, 3), dtype="uint8")
    written = encode_cog(noise((20, 20), "uint8"), tile=16, photometric="palette", colormap=table)
    with rasterio.io.MemoryFile(written) as file, file.open() as image:
        assert image.colorinterp == (interp.palette,)
        assert [image.colormap(1)[n][:3] for n in range(256)] == [tuple(row) for row in table.tolist()]


@pytest.mark.parametrize("nodata", [None, 7])
@pytest.mark.parametrize("planar", [True, False])
def test_sparse_tiles_are_left_out_and_read_as_nodata(nodata, planar):
    data = np.full((2, 64, 64), 0 if nodata is None else nodata, "uint16")
    data[:, 5, 40] = (1, 2)
    written = encode_cog(data, tile=32, sparse=True, nodata=nodata, planar=planar, overviews=(2,))
    assert_same_bytes(rasterio_levels(written)[0][0], data)
    with tifffile.TiffFile(io.BytesIO(written)) as tiff:
        counts = tiff.pages[0].databytecounts
        assert [count > 0 for count in counts] == [False, True, False, False] * (2 if planar else 1)
        assert [offset > 0 for offset in tiff.pages[0].dataoffsets] == [count > 0 for count in counts]


def test_sparse_tiles_do_not_hide_their_mask():
    data = np.zeros((1, 64, 64), "uint16")
    data[0, 40:, 40:] = 5
    mask = np.random.default_rng(0).random((64, 64)) > 0.5
    (pixels, valid), *_ = rasterio_levels(encode_cog(data, mask, tile=32, sparse=True))
    assert_same_bytes(pixels, data)
    np.testing.assert_array_equal(valid, mask)


def test_average_overviews_are_means_of_valid_pixels():
    data = np.array([[1, 3, 0, 0, 9], [5, 7, 0, 8, 0], [2, 2, 2, 2, 2]], "uint16")
    got = rasterio_levels(encode_cog(data, tile=16, nodata=0, overviews=(2,), overview_resampling="average"))[1][0]
    np.testing.assert_array_equal(got[0], [[4, 8, 9], [2, 2, 2]])


def test_average_overviews_honour_a_mask_and_nan():
    data = np.array([[1, 3], [np.nan, 100]], "float32")
    mask = np.array([[True, True], [True, False]])
    pixels, valid = rasterio_levels(
        encode_cog(data, mask, tile=16, nodata=np.nan, overviews=(2,), overview_resampling="average")
    )[1]
    assert pixels.tolist() == [[[2.0]]]
    assert valid.all()


def test_overviews_may_have_tiles_of_another_size():
    data = noise((1, 200, 200), "uint16")
    written = encode_cog(data, tile=64, overview_tile=32)
    with tifffile.TiffFile(io.BytesIO(written)) as tiff:
        assert [(page.tilelength, page.tilewidth) for page in tiff.pages] == [(64, 64), (32, 32), (32, 32)]
    assert_same_bytes(rasterio_levels(written)[2][0], data[:, ::4, ::4])


def test_a_file_of_the_benchmark_has_its_header_in_16_kib():
    data = np.zeros((1, 10980, 10980), "uint8")
    written = encode_cog(data, compression="zstd", overviews=(2, 4, 8, 16))
    with tifffile.TiffFile(io.BytesIO(written[: 16 << 10])) as tiff:
        offsets = [offset for page in tiff.pages for offset in page.dataoffsets]
        assert len(tiff.pages) == 5
        assert len(offsets) == 22**2 + 11**2 + 6**2 + 3**2 + 2**2
        assert min(offsets) < 16 << 10


def test_the_ghost_area_and_frames_are_those_of_gdals_cog_driver(tmp_path):
    data, mask = noise((1, 100, 100), "uint16"), np.random.default_rng(0).random((100, 100)) > 0.5
    path = write_cog(tmp_path / "ours.tif", data, mask, tile=32)
    written = path.read_bytes()
    ghost = written[8:].split(b" bytes\n", 1)
    size = int(ghost[0].removeprefix(b"GDAL_STRUCTURAL_METADATA_SIZE="))
    text = ghost[1][:size]
    assert text.startswith(b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n")
    assert text.endswith(b"MASK_INTERLEAVED_WITH_IMAGERY=YES\n")
    with tifffile.TiffFile(path) as tiff:
        tiles = [(page.dataoffsets, page.databytecounts) for page in tiff.pages]
    for offsets, counts in tiles:
        for offset, count in zip(offsets, counts, strict=True):
            assert struct.unpack("<I", written[offset - 4 : offset]) == (count,)
            assert written[offset + count : offset + count + 4] == written[offset + count - 4 : offset + count]
    image, first_mask = tiles[:2]
    follows = [o + c + 8 for o, c in zip(*image, strict=True)]
    assert list(first_mask[0]) == follows
    with rasterio.open(path) as opened:
        assert opened.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_ifds_behind_the_pixels_are_there_and_readable():
    written = encode_cog(noise((1, 100, 100), "uint16"), tile=32, ifds="last")
    with tifffile.TiffFile(io.BytesIO(written)) as tiff:
        last_pixel = max(
            o + c for page in tiff.pages for o, c in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
        assert min(page.offset for page in tiff.pages) >= last_pixel


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"compresion": "lzw"}, "unknown options"),
        ({"compression": "rar"}, "'rar'"),
        ({"tile": 100}, "multiples of 16"),
        ({"tile": 0}, "multiples of 16"),
        ({"overviews": (4, 2)}, "rising factors"),
        ({"overviews": (1, 2)}, "rising factors"),
        ({"rows_per_strip": 0}, "one row or more"),
        ({"transform": (1, 2)}, "numbers"),
        ({"crs": "moon"}, "EPSG"),
        ({"crs": "EPSG:999999"}, "EPSG"),
        ({"block_leaders": True, "planar": True}, "block_leaders"),
        ({"photometric": "rgb", "alpha": True}, "4 or more"),
        ({"photometric": "palette"}, "colormap"),
        ({"band_names": ["a"]}, "band_names has 1"),
        ({"compression": "jpeg"}, "'jpeg'"),
    ],
    ids=str,
)
def test_impossible_options_are_refused_before_anything_is_written(tmp_path, options, says):
    with pytest.raises(InvalidArgumentError, match=says):
        write_cog(tmp_path / "x.tif", noise((2, 20, 20), "uint16"), **{"tile": 16, **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [np.zeros(3), np.zeros((0, 4)), np.array([["a"]]), np.zeros((1, 1, 2, 2))], ids=str)
def test_data_that_is_no_image_is_refused(data):
    with pytest.raises(InvalidArgumentError, match="height, width"):
        encode_cog(data)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"\(3, 3\)"):
        encode_cog(np.zeros((4, 4), "uint8"), np.ones((3, 3), bool))


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "x.tif"
    write_cog(path, noise((1, 64, 64), "uint16"))
    write_cog(path, noise((1, 20, 20), "uint16", 1), options=CogOptions(tile=16))
    assert [one.name for one in path.parent.iterdir()] == ["x.tif"]
    assert_same_bytes(rasterio_levels(path.read_bytes())[0][0], noise((1, 20, 20), "uint16", 1))
