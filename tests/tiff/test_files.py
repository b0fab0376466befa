"""Files that others wrote: facts, pixels and masks equal rasterio's, or the reason why not is named here."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.enums import ColorInterp, MaskFlags

from rasteret_sql.errors import CorruptTiffError, TiffError, UnsupportedTiffError
from rasteret_sql.tiff.decode import TileDecoder

LOSSY = {
    "masked.tif": 16,
    "cogeo.tif": 18,
    "ycbcr_with_mask.tif": 27,
    "rgbsmall_JPEG_ycbcr.tif": 16,
    "quad-tile.jpg.tiff": 92,
    "tiled-jpeg-ycbcr.tif": 20,
    "be_cog.tiff": 119,
    "aiocogeo/tests/data/cog.tif": 14,
    "quad-jpeg.tif": 66,
    "image_geos.tif": 24,
    "goes.tif": 11,
    "rio-tiler/tests/fixtures/cog_rgb.tif": 69,
    "tiff_tiled_ycbcr_jpeg_2x2_sampling.tif": 33,
}
"""JPEGs with chroma at half resolution, by the largest difference of a sample: rasterio's wheels are built with the
IJG's libjpeg 9, which enlarges chroma in another way than libjpeg-turbo does."""

UNSUPPORTED = {
    "uint16_sgilog.tif": "compression sgilog",
    "logluv-3c-16b.tiff": "compression sgilog",
    "zackthecat.tif": "compression old_jpeg",
    "smallliz.tif": "compression old_jpeg",
    "old-style-jpeg-compression.tif": "compression old_jpeg",
    "next_literalrow.tif": "compression next",
    "next_literalspan.tif": "compression next",
    "flower-separated-planar-08.tif": "planar or incomplete CMYK",
    "rotated.tif": "rotated grid",
    "au-3577-rotated.tif": "rotated grid",
}
"""Files that GDAL reads and this package refuses, and the words that say so."""

REFUSED_AS_BROKEN = {
    "size_of_stripbytecount_at_1_and_lower_than_stripcount.tif": "one for each tile",
    "size_of_stripbytecount_lower_than_stripcount.tif": "one for each tile",
    "bytecounts_count_not_same_as_stripoffsets_count.tif": "one for each tile",
    "multipage_single_frame_loop.tiff": "where another IFD begins",
    "corrupt_image.TIF": "expected a TIFF",
}
"""Broken files that GDAL reads anyway."""

OTHER_DTYPE = {"cint32.tif": "complex128", "complex_int32.tif": "complex128", "int24.tif": "int32"}
"""Where rasterio's dtype would lose precision or sign."""

NO_CRS = ("GTModelTypeGeoKey_only.tif", "PixelScaleTag_z_zero.tif", "imagine_localcs_citation.tif")
"""GDAL makes a LOCAL_CS of these; here they have no CRS."""

OTHER_CRS = ("WGS_1984_Web_Mercator.tif", "epsg_27563_allgeokeys.tif")
"""The code is the same, but GDAL's definition has parts (TOWGS84, a name) that the authority's has not."""

TOO_LARGE_PIXELS = 100_000_000


def listed(table, row):
    """What a table says of the file of a manifest row, or None."""
    return next((value for name, value in dict(table).items() if row["path"].endswith(name)), None)


def is_listed(names, row):
    return any(row["path"].endswith(name) for name in names)


def opened(row, data_folder, **options):
    return rasterio.open(data_folder / row["path"], **options)


def check_facts(row, folder, header):
    level = header.levels[0]
    with opened(row, folder) as dataset:
        assert (level.width, level.height) == (dataset.width, dataset.height)
        assert len(header.bands) == dataset.count
        dtype = dataset.dtypes[0].replace("complex_int16", "complex64")
        assert level.format.dtype == (listed(OTHER_DTYPE, row) or dtype)
        np.testing.assert_equal([band.nodata for band in header.bands], list(dataset.nodatavals))
        transform = tuple(dataset.transform)[:6]
        if header.transform is None:
            assert dataset.transform.is_identity
        else:
            assert header.transform == transform
        assert len(header.levels) - 1 == len(dataset.overviews(1))
        if level.format.tiled:
            assert (level.format.tile_height, level.format.tile_width) == dataset.block_shapes[0]
        assert [1.0 if band.scale is None else band.scale for band in header.bands] == list(dataset.scales)
        assert [0.0 if band.offset is None else band.offset for band in header.bands] == list(dataset.offsets)
        assert [band.description for band in header.bands] == list(dataset.descriptions)
        assert [band.unit for band in header.bands] == [unit or None for unit in dataset.units]
        alpha = [color is ColorInterp.alpha for color in dataset.colorinterp]
        assert [band.is_alpha for band in header.bands] == alpha
        check_crs(row, header.crs, dataset.crs)


def check_crs(row, ours, theirs):
    if is_listed(NO_CRS, row):
        assert ours is None
        return
    assert (ours is None) == (theirs is None)
    if theirs is None:
        return
    if is_listed(OTHER_CRS, row):
        assert ours == theirs.to_string()
        return
    crs = pyproj.CRS.from_user_input(ours)
    assert crs.equals(pyproj.CRS.from_wkt(theirs.to_wkt()), ignore_axis_order=True), ours


def overview_of(row, folder, level):
    """Number that rasterio gives the overview of a size."""
    with opened(row, folder) as dataset:
        count = len(dataset.overviews(1))
    for number in range(count):
        with opened(row, folder, overview_level=number) as dataset:
            if dataset.shape == (level.height, level.width):
                return number
    raise AssertionError(f"no overview of {level.width}x{level.height}")


def check_pixels(row, folder, header, read_level):
    data = (folder / row["path"]).read_bytes()
    nodata = header.bands[0].nodata
    for number, level in enumerate(header.levels):
        if level.width * level.height * len(header.bands) > TOO_LARGE_PIXELS:
            continue
        options = {"overview_level": overview_of(row, folder, level)} if number else {}
        got = read_level(data, level, 0 if nodata is None else nodata)
        with opened(row, folder, **options) as dataset:
            expected = np.moveaxis(dataset.read(), 0, -1)
            if level.mask is not None:
                mask = read_level(data, level.mask)[..., 0] != 0
                np.testing.assert_array_equal(mask, dataset.read_masks(1) != 0)
            else:
                assert dataset.mask_flag_enums[0] != [MaskFlags.per_dataset]
        largest = listed(LOSSY, row)
        if largest is None:
            np.testing.assert_array_equal(got, expected)
        else:
            assert got.shape == expected.shape
            assert np.abs(got.astype(int) - expected).max() <= largest


def test_a_scene_reads_as_in_rasterio(scene, shared_data, parse, read_level):
    rounds = []
    header = parse((shared_data / scene["path"]).read_bytes(), rounds=rounds)
    check_facts(scene, shared_data, header)
    check_pixels(scene, shared_data, header, read_level)
    assert len(rounds) <= 1


def test_a_conforming_file_reads_as_in_rasterio(conforming, shared_data, parse, read_level):
    data = (shared_data / conforming["path"]).read_bytes()
    reason = listed(UNSUPPORTED, conforming)
    if reason is not None:
        with pytest.raises(UnsupportedTiffError, match=reason):
            read_level(data, parse(data).levels[0])
        return
    if conforming["gdal_read"] not in {"full", "window"}:
        # GDAL's build has no codec for these (JPEG XL), or the image has no pixels.
        try:
            header = parse(data)
        except CorruptTiffError:
            return
        assert read_level(data, header.levels[0]).any()
        return
    header = parse(data)
    check_facts(conforming, shared_data, header)
    check_pixels(conforming, shared_data, header, read_level)


def test_a_malformed_file_reads_as_in_gdal_or_is_an_error_of_ours(malformed, shared_data, parse, read_level):
    data = (shared_data / malformed["path"]).read_bytes()
    begun = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reason = listed(UNSUPPORTED, malformed) or listed(REFUSED_AS_BROKEN, malformed)
    try:
        header = parse(data)
        for level in header.levels:
            if level.width * level.height * len(header.bands) <= TOO_LARGE_PIXELS:
                read_level(data, level)
    except TiffError as error:
        assert reason is not None or malformed["gdal_read"] != "full", error  # noqa: PT017
        if reason is not None:
            assert reason in str(error)  # noqa: PT017
        return
    finally:
        assert time.monotonic() - begun < 10
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    if malformed["gdal_read"] == "full":
        check_pixels(malformed, shared_data, header, read_level)


def test_huge_blocks_are_refused_before_they_are_allocated(shared_data, parse):
    path = Path("malformed/gdal/autotest/gcore/data/gtiff/huge_raster_with_ovr_huge_block.tif")
    data = (shared_data / path).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for level in parse(data).levels[1:]:
        tile = level.format
        height, width = min(tile.tile_height, level.height), min(tile.tile_width, level.width)
        start, count = int(level.tile_offsets[0]), int(level.tile_byte_counts[0])
        with pytest.raises(TiffError, match=r"expected (at most|enough for)"):
            TileDecoder(tile).decode(data[start : start + count], height, width)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
