"""Names of compressions and photometric interpretations, as the index spells them."""

from __future__ import annotations

from typing import Final

NONE: Final = 1
CCITT_RLE: Final = 2
CCITT_FAX3: Final = 3
CCITT_FAX4: Final = 4
LZW: Final = 5
OLD_JPEG: Final = 6
JPEG: Final = 7
DEFLATE: Final = 8
NEXT: Final = 32766
PACKBITS: Final = 32773
OLD_DEFLATE: Final = 32946
JPEG2000_APERIO_YCC: Final = 33003
JPEG2000_APERIO_RGB: Final = 33005
SGILOG: Final = 34676
SGILOG24: Final = 34677
JPEG2000: Final = 34712
LERC: Final = 34887
LOSSY_JPEG: Final = 34892
LZMA: Final = 34925
ZSTD: Final = 50000
WEBP: Final = 50001
JPEG_XL: Final = 50002
JPEG_XL_DNG: Final = 52546

BYTE_CODECS: Final = frozenset((NONE, LZW, DEFLATE, PACKBITS, OLD_DEFLATE, LZMA, ZSTD))
"""Compressions that know nothing of pixels: their bytes are samples as TIFF 6.0 lays them out."""

IMAGE_CODECS: Final = frozenset(
    (
        CCITT_RLE, CCITT_FAX3, CCITT_FAX4, JPEG, JPEG2000_APERIO_YCC, JPEG2000_APERIO_RGB, JPEG2000, LERC, WEBP,
        JPEG_XL, JPEG_XL_DNG,
    )
)  # fmt: skip
"""Compressions that code whole images."""

READ_NAMES: Final = "none, lzw, deflate, packbits, zstd, lzma, lerc, jpeg, webp, jpegxl, jpeg2000, ccitt_*"
"""The compressions that are read, for messages."""

MINISWHITE: Final = 0
MINISBLACK: Final = 1
RGB: Final = 2
PALETTE: Final = 3
SEPARATED: Final = 5
YCBCR: Final = 6
CIELAB: Final = 8

COMPRESSION_NAMES: Final[dict[int, str]] = {
    NONE: "none",
    CCITT_RLE: "ccitt_rle",
    CCITT_FAX3: "ccitt_fax3",
    CCITT_FAX4: "ccitt_fax4",
    LZW: "lzw",
    OLD_JPEG: "old_jpeg",
    JPEG: "jpeg",
    DEFLATE: "deflate",
    NEXT: "next",
    PACKBITS: "packbits",
    32809: "thunderscan",
    32908: "pixarfilm",
    32909: "pixarlog",
    OLD_DEFLATE: "deflate",
    JPEG2000_APERIO_YCC: "jpeg2000",
    JPEG2000_APERIO_RGB: "jpeg2000",
    34661: "jbig",
    SGILOG: "sgilog",
    SGILOG24: "sgilog24",
    JPEG2000: "jpeg2000",
    LERC: "lerc",
    LOSSY_JPEG: "jpeg",
    LZMA: "lzma",
    ZSTD: "zstd",
    WEBP: "webp",
    JPEG_XL: "jpegxl",
    JPEG_XL_DNG: "jpegxl",
}

PHOTOMETRIC_NAMES: Final[dict[int, str]] = {
    MINISWHITE: "miniswhite",
    MINISBLACK: "minisblack",
    RGB: "rgb",
    PALETTE: "palette",
    4: "mask",
    SEPARATED: "separated",
    YCBCR: "ycbcr",
    CIELAB: "cielab",
    9: "icclab",
    10: "itulab",
    32803: "cfa",
    32844: "logl",
    32845: "logluv",
    34892: "linear_raw",
}


def compression_name(code: int) -> str:
    """Name of a TIFF Compression code: `"deflate"`; `"compression_44510"` where it has none."""
    return COMPRESSION_NAMES.get(code, f"compression_{code}")


def photometric_name(code: int) -> str:
    """Name of a TIFF PhotometricInterpretation code: `"minisblack"`; `"photometric_99"` where it has none."""
    return PHOTOMETRIC_NAMES.get(code, f"photometric_{code}")
