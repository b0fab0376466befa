"""What is known to differ from rasterio, file by file, and why. Names are ends of paths."""

from __future__ import annotations

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

REFUSED = {
    "uint16_sgilog.tif": "Compression (259): got sgilog",
    "logluv-3c-16b.tiff": "Compression (259): got sgilog",
    "zackthecat.tif": "Compression (259): got old_jpeg",
    "smallliz.tif": "Compression (259): got old_jpeg",
    "old-style-jpeg-compression.tif": "Compression (259): got old_jpeg",
    "next_literalrow.tif": "Compression (259): got next",
    "next_literalspan.tif": "Compression (259): got next",
    "flower-separated-planar-08.tif": "planar or incomplete CMYK",
}
"""Files that GDAL reads and this package refuses, and the words that say so."""

REFUSED_AS_BROKEN = {
    "size_of_stripbytecount_at_1_and_lower_than_stripcount.tif": "one for each tile",
    "size_of_stripbytecount_lower_than_stripcount.tif": "one for each tile",
    "bytecounts_count_not_same_as_stripoffsets_count.tif": "one for each tile",
    "corrupt_image.TIF": "expected a TIFF",
    "minimum_tiff_tags_no_warning.tif": "got offset 0 of tile 0 of 1",
}
"""Broken files that GDAL reads anyway, and the words that say what is wrong with them."""

OTHER_DTYPE = {"cint32.tif": "complex128", "complex_int32.tif": "complex128", "int24.tif": "int32"}
"""Where rasterio's dtype would lose precision or sign."""

OTHER_CRS = ("ArcGIS-1.0.0-non_scaled.tiff", "ArcGIS-2.0.1-non_scaled.tiff")
"""Where GDAL's CRS is not what the file says: to GDAL 3.10 a GCS_EUREF_FIN on ETRS_1989 lies on the Irish IRENET95."""
