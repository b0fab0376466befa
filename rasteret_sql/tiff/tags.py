"""Numbers and names of the TIFF tags, field types and codes that are read."""

from __future__ import annotations

from typing import Final

NEW_SUBFILE_TYPE: Final = 254
SUBFILE_TYPE: Final = 255
IMAGE_WIDTH: Final = 256
IMAGE_LENGTH: Final = 257
BITS_PER_SAMPLE: Final = 258
COMPRESSION: Final = 259
PHOTOMETRIC: Final = 262
FILL_ORDER: Final = 266
STRIP_OFFSETS: Final = 273
SAMPLES_PER_PIXEL: Final = 277
ROWS_PER_STRIP: Final = 278
STRIP_BYTE_COUNTS: Final = 279
PLANAR_CONFIGURATION: Final = 284
T4_OPTIONS: Final = 292
T6_OPTIONS: Final = 293
PREDICTOR: Final = 317
TILE_WIDTH: Final = 322
TILE_LENGTH: Final = 323
TILE_OFFSETS: Final = 324
TILE_BYTE_COUNTS: Final = 325
SUB_IFDS: Final = 330
INK_SET: Final = 332
EXTRA_SAMPLES: Final = 338
SAMPLE_FORMAT: Final = 339
JPEG_TABLES: Final = 347
YCBCR_COEFFICIENTS: Final = 529
YCBCR_SUBSAMPLING: Final = 530
YCBCR_POSITIONING: Final = 531
REFERENCE_BLACK_WHITE: Final = 532
MODEL_PIXEL_SCALE: Final = 33550
MODEL_TIEPOINT: Final = 33922
MODEL_TRANSFORMATION: Final = 34264
GEO_KEY_DIRECTORY: Final = 34735
GEO_DOUBLE_PARAMS: Final = 34736
GEO_ASCII_PARAMS: Final = 34737
GDAL_METADATA: Final = 42112
GDAL_NODATA: Final = 42113
LERC_PARAMETERS: Final = 50674

NAMES: Final[dict[int, str]] = {
    NEW_SUBFILE_TYPE: "NewSubfileType",
    SUBFILE_TYPE: "SubfileType",
    IMAGE_WIDTH: "ImageWidth",
    IMAGE_LENGTH: "ImageLength",
    BITS_PER_SAMPLE: "BitsPerSample",
    COMPRESSION: "Compression",
    PHOTOMETRIC: "PhotometricInterpretation",
    FILL_ORDER: "FillOrder",
    STRIP_OFFSETS: "StripOffsets",
    SAMPLES_PER_PIXEL: "SamplesPerPixel",
    ROWS_PER_STRIP: "RowsPerStrip",
    STRIP_BYTE_COUNTS: "StripByteCounts",
    PLANAR_CONFIGURATION: "PlanarConfiguration",
    T4_OPTIONS: "T4Options",
    T6_OPTIONS: "T6Options",
    PREDICTOR: "Predictor",
    TILE_WIDTH: "TileWidth",
    TILE_LENGTH: "TileLength",
    TILE_OFFSETS: "TileOffsets",
    TILE_BYTE_COUNTS: "TileByteCounts",
    SUB_IFDS: "SubIFDs",
    INK_SET: "InkSet",
    EXTRA_SAMPLES: "ExtraSamples",
    SAMPLE_FORMAT: "SampleFormat",
    JPEG_TABLES: "JPEGTables",
    YCBCR_COEFFICIENTS: "YCbCrCoefficients",
    YCBCR_SUBSAMPLING: "YCbCrSubSampling",
    REFERENCE_BLACK_WHITE: "ReferenceBlackWhite",
    MODEL_PIXEL_SCALE: "ModelPixelScale",
    MODEL_TIEPOINT: "ModelTiepoint",
    MODEL_TRANSFORMATION: "ModelTransformation",
    GEO_KEY_DIRECTORY: "GeoKeyDirectory",
    GEO_DOUBLE_PARAMS: "GeoDoubleParams",
    GEO_ASCII_PARAMS: "GeoAsciiParams",
    GDAL_METADATA: "GDAL_METADATA",
    GDAL_NODATA: "GDAL_NODATA",
    LERC_PARAMETERS: "LercParameters",
}

LAYOUT_TAGS: Final = frozenset(
    (
        NEW_SUBFILE_TYPE,
        SUBFILE_TYPE,
        IMAGE_WIDTH,
        IMAGE_LENGTH,
        BITS_PER_SAMPLE,
        COMPRESSION,
        PHOTOMETRIC,
        FILL_ORDER,
        STRIP_OFFSETS,
        SAMPLES_PER_PIXEL,
        ROWS_PER_STRIP,
        STRIP_BYTE_COUNTS,
        PLANAR_CONFIGURATION,
        T4_OPTIONS,
        T6_OPTIONS,
        PREDICTOR,
        TILE_WIDTH,
        TILE_LENGTH,
        TILE_OFFSETS,
        TILE_BYTE_COUNTS,
        INK_SET,
        EXTRA_SAMPLES,
        SAMPLE_FORMAT,
        JPEG_TABLES,
        YCBCR_COEFFICIENTS,
        YCBCR_SUBSAMPLING,
        REFERENCE_BLACK_WHITE,
        LERC_PARAMETERS,
    )
)
"""What must be known of every image whose tiles are read."""

DATASET_TAGS: Final = frozenset(
    (
        MODEL_PIXEL_SCALE,
        MODEL_TIEPOINT,
        MODEL_TRANSFORMATION,
        GEO_KEY_DIRECTORY,
        GEO_DOUBLE_PARAMS,
        GEO_ASCII_PARAMS,
        GDAL_METADATA,
        GDAL_NODATA,
    )
)
"""What is read of the first image only, for the whole file."""

READ_TAGS: Final = frozenset((*LAYOUT_TAGS, *DATASET_TAGS, SUB_IFDS))

ASCII: Final = 2
"""Field type of text."""

SHORT: Final = 3
"""Field type of 16-bit numbers."""

LONG: Final = 4
"""Field type of 32-bit numbers."""

TYPE_SIZES: Final[dict[int, int]] = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8
}  # fmt: skip
"""Bytes of one value of a field type (TIFF 6.0 section 2, and BigTIFF's 16 to 18)."""

TYPE_CODES: Final[dict[int, str]] = {
    1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I",
    16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
"""`struct` codes of the field types that are not text."""

INTEGER_TYPES: Final = frozenset((1, 3, 4, 6, 8, 9, 13, 16, 17, 18))
"""Field types that may hold a count, an offset or a code."""

REDUCED_IMAGE: Final = 1
"""Bit of NewSubfileType: a reduced-resolution version of another image."""

PAGE: Final = 2
"""Bit of NewSubfileType: one page of many."""

MASK: Final = 4
"""Bit of NewSubfileType: a transparency mask of another image."""


def tag_name(tag: int) -> str:
    """Name of a tag with its number, for messages."""
    return f"{NAMES[tag]} ({tag})" if tag in NAMES else f"tag {tag}"
