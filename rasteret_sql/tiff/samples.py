"""Decompressed bytes to pixels: sample widths, byte order and predictors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import UnsupportedTiffError
from rasteret_sql.tiff.codecs import imagecodecs_function

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from rasteret_sql.tiff.model import TileFormat

    U8 = npt.NDArray[np.uint8]
    Pixels = npt.NDArray[Any]

HORIZONTAL = 2
FLOATING_POINT = 3


class SampleReader:
    """Places the decompressed bytes of tiles of one format as pixels.

    Attributes:
        row_bytes: bytes that a row of a tile takes.
        is_direct: the bytes are the pixels as they are in memory.
    """

    __slots__ = ("_place", "_samples", "_tile_width", "is_direct", "row_bytes")

    def __init__(self, tile_format: TileFormat) -> None:
        bits = tile_format.bits_per_sample
        dtype = np.dtype(tile_format.dtype)
        self._samples = 1 if tile_format.planar else tile_format.samples_per_pixel
        self._tile_width = tile_format.tile_width
        self.row_bytes = -(-self._tile_width * self._samples * bits // 8)
        coded = _coded_dtype(dtype, bits)
        swapped = tile_format.byte_order != sys.byteorder
        self.is_direct = False
        if tile_format.predictor == HORIZONTAL:
            self._place = self._horizontal(coded, dtype, bits, swapped=swapped)
        elif tile_format.predictor == FLOATING_POINT:
            self._place = self._floating_point(coded, dtype)
        elif tile_format.predictor != 1:
            raise UnsupportedTiffError(
                f"got predictor {tile_format.predictor}, expected 1 (none), 2 (horizontal) or 3 (floating "
                "point). Rewrite the file, for example with gdal_translate -of COG."
            )
        elif coded is None:
            self._place = self._packed(dtype, bits, little=tile_format.byte_order == "little")
        else:
            self.is_direct = coded == dtype and (not swapped or coded.itemsize == 1)
            self._place = self._as_they_are(coded.newbyteorder("S") if swapped else coded)

    def coded_bytes(self, coded_height: int) -> int:
        """Bytes of a tile of `coded_height` rows."""
        return self.row_bytes * coded_height

    def place(self, raw: U8, out: Pixels) -> None:
        """Place the top left part of a decompressed tile.

        Args:
            raw: the bytes of at least as many rows as are wanted; a predictor may overwrite them.
            out: destination of shape (height, width, samples).
        """
        self._place(raw[: out.shape[0] * self.row_bytes], out)

    def _rows(self, raw: Pixels, height: int) -> Pixels:
        return raw.reshape(height, self._tile_width, -1)

    def _as_they_are(self, coded: np.dtype[Any]) -> Callable[[U8, Pixels], None]:
        def place(raw: U8, out: Pixels) -> None:
            height, width = out.shape[:2]
            _widen(self._rows(raw.view(coded), height)[:, :width], out)

        return place

    def _packed(self, dtype: np.dtype[Any], bits: int, *, little: bool) -> Callable[[U8, Pixels], None]:
        float24_decode = imagecodecs_function("float24_decode")
        packints_decode = imagecodecs_function("packints_decode")

        def place(raw: U8, out: Pixels) -> None:
            height, width = out.shape[:2]
            values: Pixels
            if dtype.kind == "f":
                values = float24_decode(raw.tobytes(), byteorder="<" if little else ">")
            elif bits == 24:
                # libtiff swaps triples of big-endian files, so GDAL writes and reads them low byte first; all
                # other odd widths are one stream from the top bit down, whatever the byte order.
                first, middle, last = raw.reshape(-1, 3).astype(np.uint32).T
                values = first << 16 | middle << 8 | last if little else first | middle << 8 | last << 16
            else:
                words = np.dtype(f"u{dtype.itemsize}")
                values = packints_decode(raw.tobytes(), words, bits, runlen=self._tile_width * self._samples)
            if dtype.kind == "i":
                shift = dtype.itemsize * 8 - bits
                values = (values << shift).view(dtype) >> shift
            out[...] = self._rows(values, height)[:, :width]

        return place

    def _horizontal(
        self, coded: np.dtype[Any] | None, dtype: np.dtype[Any], bits: int, *, swapped: bool
    ) -> Callable[[U8, Pixels], None]:
        if coded is None or bits not in {8, 16, 32, 64}:
            raise UnsupportedTiffError(
                f"got predictor 2 with {bits} bits per sample, expected 8, 16, 32 or 64. "
                "Rewrite the file, for example with gdal_translate -of COG."
            )
        delta_decode = imagecodecs_function("delta_decode")

        # Differences are those of the words, whatever they mean.
        words = np.dtype(f"u{bits // 8}")
        one_sample = self._samples == 1
        is_native = coded == dtype

        def place(raw: U8, out: Pixels) -> None:
            height, width = out.shape[:2]
            source = raw.view(words)
            if swapped and bits > 8:
                source.byteswap(inplace=True)
            source = self._rows(source, height)[:, :width]
            if not is_native:
                _widen(delta_decode(source, axis=-2).view(coded), out)
            elif one_sample:
                delta_decode(source[:, :, 0], axis=-1, out=out.view(words)[:, :, 0])
            else:
                delta_decode(source, axis=-2, out=out.view(words))

        return place

    def _floating_point(self, coded: np.dtype[Any] | None, dtype: np.dtype[Any]) -> Callable[[U8, Pixels], None]:
        if coded is None and dtype.kind == "f":
            return self._floating_point_24()
        if coded is None or coded.kind != "f":
            raise UnsupportedTiffError(
                f"got predictor 3 with samples of {dtype}, expected floats of 16, 24, 32 or 64 bits. "
                "Rewrite the file, for example with gdal_translate -of COG."
            )
        delta_decode = imagecodecs_function("delta_decode")

        samples = self._samples

        def place(raw: U8, out: Pixels) -> None:
            # The bytes of a row are sorted by significance: they have no byte order, rows are undone whole.
            # This is four times as fast as imagecodecs' floatpred_decode.
            height, width = out.shape[:2]
            differences = raw.reshape(height, -1, samples)
            if samples == 1:
                delta_decode(differences[:, :, 0], axis=-1, out=differences[:, :, 0])
            else:
                delta_decode(differences, axis=-2, out=differences)
            words: Pixels = raw.reshape(height, coded.itemsize, self._tile_width, samples)[:, :, :width]
            while words.shape[1] > 1:
                pairs = words[:, ::2].astype(f"u{2 * words.itemsize}")
                pairs <<= 8 * words.itemsize
                pairs |= words[:, 1::2]
                words = pairs
            out[...] = words[:, 0].view(coded)

        return place

    def _floating_point_24(self) -> Callable[[U8, Pixels], None]:
        float24_decode = imagecodecs_function("float24_decode")
        values = self._tile_width * self._samples

        def place(raw: U8, out: Pixels) -> None:
            height, width = out.shape[:2]
            differences = raw.reshape(height, -1, self._samples)
            planes = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(height, 3, values)
            little = np.ascontiguousarray(planes[:, ::-1].transpose(0, 2, 1))
            out[...] = self._rows(float24_decode(little.tobytes(), byteorder="<"), height)[:, :width]

        return place


def _coded_dtype(dtype: np.dtype[Any], bits: int) -> np.dtype[Any] | None:
    """The dtype of samples as they are in the file, in native order; None where numpy has none."""
    if dtype.itemsize * 8 == bits:
        return dtype
    if dtype.kind == "f" and bits == 16:
        return np.dtype(np.float16)
    if dtype.kind == "c":
        # Complex integers: pairs of half as many bits as the sample.
        return np.dtype((f"i{bits // 16}", 2)).base
    return None


def _widen(source: Pixels, out: Pixels) -> None:
    """Copy samples into a destination of their own or a wider type."""
    if source.dtype.kind == "i" and out.dtype.kind == "c":
        pairs = source.reshape(*out.shape, 2)
        out.real, out.imag = pairs[..., 0], pairs[..., 1]
    else:
        out[...] = source
