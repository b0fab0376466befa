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

_ODD_NAMES: Final = {
    PHOTOMETRIC: "PhotometricInterpretation", SUB_IFDS: "SubIFDs", JPEG_TABLES: "JPEGTables",
    YCBCR_COEFFICIENTS: "YCbCrCoefficients", YCBCR_SUBSAMPLING: "YCbCrSubSampling",
    YCBCR_POSITIONING: "YCbCrPositioning", GDAL_METADATA: "GDAL_METADATA", GDAL_NODATA: "GDAL_NODATA",
}  # fmt: skip
"""Names that are not simply the words of their constants."""

NAMES: Final[dict[int, str]] = {
    code: _ODD_NAMES.get(code, constant.title().replace("_", ""))
    for constant, code in list(globals().items())
    if constant.isupper() and isinstance(code, int)
}

DATASET_TAGS: Final = frozenset(
    (
        MODEL_PIXEL_SCALE, MODEL_TIEPOINT, MODEL_TRANSFORMATION, GEO_KEY_DIRECTORY, GEO_DOUBLE_PARAMS,
        GEO_ASCII_PARAMS, GDAL_METADATA, GDAL_NODATA,
    )
)  # fmt: skip
"""What is read of the first image only, for the whole file."""

LAYOUT_TAGS: Final = frozenset(NAMES) - DATASET_TAGS - {SUB_IFDS, YCBCR_POSITIONING}
"""What must be known of every image whose tiles are read."""

READ_TAGS: Final = LAYOUT_TAGS | DATASET_TAGS | {SUB_IFDS}

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
