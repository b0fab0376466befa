"""Colour spaces that GDAL converts when it reads: YCbCr that is not JPEG, and 8-bit CMYK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import UnsupportedTiffError
from rasteret_sql.tiff import names

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.tiff.model import TileFormat

    U8 = npt.NDArray[np.uint8]


CCIR_601: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma where the file does not say them."""

PIXELS_AT_ONCE: Final = 1 << 20
"""Pixels whose colours are converted together."""


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
    """Convert CMYK to RGBA as libtiff does, in integers; alpha is 255."""
    step = max(PIXELS_AT_ONCE // pixels.shape[1], 1)
    for top in range(0, len(pixels), step):
        rows = pixels[top : top + step].astype(np.uint16)
        out[top : top + step, :, :3] = (255 - rows[..., 3:4]) * (255 - rows[..., :3]) // 255
    out[..., 3] = 255


class YCbCrReader:
    """Places decompressed, subsampled YCbCr bytes as RGB pixels."""

    __slots__ = ("_horizontal", "_luma", "_tile_width", "_vertical", "is_direct")

    def __init__(self, tile_format: TileFormat) -> None:
        self._horizontal, self._vertical = tile_format.ycbcr_subsampling
        self._tile_width = tile_format.tile_width
        self._luma = tuple(value / 1e9 for value in tile_format.codec_parameters) or CCIR_601
        self.is_direct = False

    def coded_bytes(self, coded_height: int) -> int:
        """Bytes of a tile of `coded_height` rows."""
        return self._blocks(coded_height)[0] * self._blocks(coded_height)[1] * self._block_bytes

    @property
    def _block_bytes(self) -> int:
        return self._horizontal * self._vertical + 2

    def _blocks(self, height: int) -> tuple[int, int]:
        return -(-height // self._vertical), -(-self._tile_width // self._horizontal)

    def place(self, raw: U8, out: U8) -> None:
        """Place the top left part of a decompressed tile as RGB."""
        height = len(out)
        # Colours are computed in wide integers, many times the size of the pixels: some rows at a time.
        step = max(PIXELS_AT_ONCE // (self._tile_width * self._vertical), 1) * self._vertical
        row_bytes = self._blocks(self._vertical)[1] * self._block_bytes
        for top in range(0, height, step):
            self._place_rows(raw[top // self._vertical * row_bytes :], out[top : top + step])

    def _place_rows(self, raw: U8, out: U8) -> None:
        height, width = out.shape[:2]
        down, across = self._blocks(height)
        blocks = raw[: down * across * self._block_bytes].reshape(down, across, self._block_bytes)
        luma = blocks[..., :-2].reshape(down, across, self._vertical, self._horizontal)
        rows = luma.transpose(0, 2, 1, 3).reshape(down * self._vertical, across * self._horizontal)
        blue, red = (
            np.repeat(np.repeat(blocks[..., index], self._vertical, axis=0), self._horizontal, axis=1)
            for index in (-2, -1)
        )
        rgb = _ycbcr_to_rgb(rows, blue, red, self._luma)
        for band, values in enumerate(rgb):
            out[..., band] = values[:height, :width]


def _ycbcr_to_rgb(luma: U8, blue: U8, red: U8, weights: tuple[float, ...]) -> tuple[Any, Any, Any]:
    """RGB as libtiff's TIFFYCbCrtoRGB computes it, in 16-bit fixed point from single-precision `weights`."""
    shift = 16
    half = 1 << (shift - 1)
    code = np.arange(256, dtype=np.int64) - 128

    def fixed(value: float) -> int:
        return int(value * (1 << shift) + 0.5)

    lumas = [np.float32(weight) for weight in weights]
    f1 = np.float32(2) - np.float32(2) * lumas[0]
    f2 = lumas[0] * f1 / lumas[1]
    f3 = np.float32(2) - np.float32(2) * lumas[2]
    f4 = lumas[2] * f3 / lumas[1]
    red_of = (fixed(float(f1)) * code + half) >> shift
    green_of_red = -fixed(float(f2)) * code
    blue_of = (fixed(float(f3)) * code + half) >> shift
    green_of_blue = -fixed(float(f4)) * code + half
    base = luma.astype(np.int64)
    return (
        np.clip(base + red_of[red], 0, 255),
        np.clip(base + ((green_of_blue[blue] + green_of_red[red]) >> shift), 0, 255),
        np.clip(base + blue_of[blue], 0, 255),
    )
