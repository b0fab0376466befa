"""Colour spaces that GDAL converts when it reads: YCbCr that is not JPEG, and 8-bit CMYK. libtiff converts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.errors import UnsupportedTiffError
from rasteret_sql.tiff import names, tags
from rasteret_sql.tiff.codecs import imagecodecs_function
from rasteret_sql.tiff.writing.layout import FieldType, Ifd, Tag, assemble_tiff

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rasteret_sql.tiff.model import TileFormat

    U8 = npt.NDArray[np.uint8]


BILLION: Final = 1_000_000_000

CCIR_601: Final = (299_000_000, 587_000_000, 114_000_000)
"""Weights of red, green and blue in luma, in billionths, where the file does not say them."""

_IN_TILES: Final = frozenset(((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2)))
_SUBSAMPLINGS: Final = {True: _IN_TILES, False: _IN_TILES | {(4, 4)}}
"""Columns and rows of luma for one colour that libtiff reads, by whether the image has tiles.

It has no 1 x 4 and 2 x 4, and of 4 x 4 it mixes up tiles that reach over the edge of the image.
"""


def is_raw_ycbcr(tile_format: TileFormat) -> bool:
    """Whether decompressed bytes are subsampled YCbCr, which GDAL reads as RGB."""
    return (
        tile_format.photometric == names.YCBCR
        and tile_format.compression in names.BYTE_CODECS
        and tile_format.bits_per_sample == 8
    )


def is_cmyk(tile_format: TileFormat) -> bool:
    """Whether decoded samples are 8-bit CMYK, which GDAL reads as RGBA; fewer than four inks stay as they are."""
    return (
        tile_format.photometric == names.SEPARATED
        and tile_format.bits_per_sample == 8
        and tile_format.samples_per_pixel >= 4
    )


def check_color(tile_format: TileFormat) -> None:
    """Refuse colour spaces that are read neither as they are nor converted.

    Raises:
        UnsupportedTiffError: GDAL would convert the colours and this package does not.
    """
    samples = tile_format.samples_per_pixel
    got = None
    if is_raw_ycbcr(tile_format) and (samples != 3 or tile_format.planar):
        got = f"{samples} samples of planar or incomplete YCbCr"
    elif is_raw_ycbcr(tile_format) and tile_format.ycbcr_subsampling not in _SUBSAMPLINGS[tile_format.tiled]:
        columns, rows = tile_format.ycbcr_subsampling
        got = f"YCbCr in {'tiles' if tile_format.tiled else 'strips'} with one colour for {columns} x {rows} pixels"
    elif is_cmyk(tile_format) and (samples != 4 or tile_format.planar):
        got = f"{samples} samples of planar or incomplete CMYK, or of CMYK and others"
    elif tile_format.photometric in {names.CIELAB, 32844, 32845} and tile_format.bits_per_sample <= 8:
        got = f"photometric interpretation {names.photometric_name(tile_format.photometric)}"
    if got is not None:
        raise UnsupportedTiffError(
            f"got {got}, expected RGB, gray, chunky YCbCr or chunky CMYK. "
            "Rewrite the file as RGB, for example with gdal_translate -of COG."
        )


def cmyk_to_rgba(pixels: U8, out: U8) -> None:
    """Convert CMYK pixels (height, width, 4) to RGBA; alpha is 255."""
    height, width = pixels.shape[:2]
    out[...] = _rgba(pixels.tobytes(), height, width, _shorts(tags.PHOTOMETRIC, names.SEPARATED), samples=4)


class YCbCrReader:
    """Places decompressed, subsampled YCbCr bytes as RGB pixels."""

    __slots__ = ("_horizontal", "_luma", "_tile_width", "_vertical", "is_direct")

    def __init__(self, tile_format: TileFormat) -> None:
        self._horizontal, self._vertical = tile_format.ycbcr_subsampling
        self._tile_width = tile_format.tile_width
        self._luma = tile_format.codec_parameters or CCIR_601
        self.is_direct = False

    def coded_bytes(self, coded_height: int) -> int:
        """Bytes of a tile of `coded_height` rows: blocks of luma, each followed by two bytes of chroma."""
        down, across = -(-coded_height // self._vertical), -(-self._tile_width // self._horizontal)
        return down * across * (self._horizontal * self._vertical + 2)

    def place(self, raw: U8, out: U8) -> None:
        """Place the top left part of a decompressed tile as RGB."""
        height, width = out.shape[:2]
        # libtiff 4.7.2 refuses images that are smaller than a block, so it gets whole blocks.
        rows = -(-height // self._vertical) * self._vertical
        columns = -(-self._tile_width // self._horizontal) * self._horizontal
        fractions = (part for value in self._luma for part in (value, BILLION))
        rgba = _rgba(
            raw.tobytes(),
            rows,
            columns,
            _shorts(tags.PHOTOMETRIC, names.YCBCR),
            _shorts(tags.YCBCR_SUBSAMPLING, self._horizontal, self._vertical),
            _shorts(tags.YCBCR_POSITIONING, 1),
            Tag(tags.YCBCR_COEFFICIENTS, FieldType.RATIONAL, tuple(fractions)),
            samples=3,
        )
        out[...] = rgba[:height, :width, :3]


def _rgba(data: bytes, height: int, width: int, *colour: Tag, samples: int) -> Any:
    """Pixels (height, width, 4) as libtiff's reader of RGB gives them, which GDAL takes.

    Args:
        data: uncompressed samples of 8 bits.
        height: rows.
        width: columns.
        colour: the tags that say what the samples mean.
        samples: of a pixel.
    """
    shape = (
        Tag(tags.IMAGE_WIDTH, FieldType.LONG, (width,)),
        Tag(tags.IMAGE_LENGTH, FieldType.LONG, (height,)),
        Tag(tags.ROWS_PER_STRIP, FieldType.LONG, (height,)),
        _shorts(tags.BITS_PER_SAMPLE, *[8] * samples),
        _shorts(tags.SAMPLES_PER_PIXEL, samples),
        _shorts(tags.COMPRESSION, names.NONE),
    )
    file = b"".join(assemble_tiff([Ifd((*shape, *colour), [data], tiled=False)]))
    return imagecodecs_function("tiff_decode")(file, asrgb=True)


def _shorts(code: int, *values: int) -> Tag:
    return Tag(code, FieldType.SHORT, values)
