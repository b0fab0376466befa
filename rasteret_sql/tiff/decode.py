"""Tile bytes to pixels: decompress, reorder, undo the predictor, and place them where they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import (
    CorruptTiffError,
    InvalidArgumentError,
    RasteretError,
    UnsupportedTiffError,
)
from rasteret_sql.tiff import names
from rasteret_sql.tiff.codecs import byte_codec, check_expansion, decompressed, fill, imagecodecs_function, scratch
from rasteret_sql.tiff.color import (
    YCbCrReader,
    check_color,
    cmyk_to_rgba,
    is_cmyk,
    is_raw_ycbcr,
)
from rasteret_sql.tiff.image_codecs import image_codec
from rasteret_sql.tiff.model import MAX_TILE_BYTES
from rasteret_sql.tiff.samples import SampleReader

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.tiff.model import TileFormat

_BIT_ORDER_IS_THEIRS: Final = frozenset((names.JPEG, names.OLD_JPEG, names.LOSSY_JPEG))
"""Codecs whose bytes FillOrder does not concern."""


class TileDecoder:
    """Decodes the tiles of one `TileFormat`; any number of threads may share it.

    imagecodecs is imported when a decoder is made, not when this module is: start requests first.

    Args:
        tile_format: how the tiles are encoded.
        max_tile_bytes: decoded tiles that are larger are refused before anything is allocated.

    Attributes:
        dtype: numpy dtype of decoded pixels, in native byte order.
        samples: samples of a decoded pixel: 1 for planar files.

    Raises:
        UnsupportedTiffError: the codec, predictor or colour space is not read.

    Example:
        >>> decoder = TileDecoder(header.levels[0].format)  # doctest: +SKIP
        >>> decoder.decode(tile_bytes, 512, 512).shape  # doctest: +SKIP
        (512, 512, 1)
    """

    __slots__ = (
        "_decompress",
        "_image",
        "_is_cmyk",
        "_max_tile_bytes",
        "_reader",
        "_reverse_bits",
        "dtype",
        "format",
        "samples",
    )

    def __init__(self, tile_format: TileFormat, *, max_tile_bytes: int = MAX_TILE_BYTES) -> None:
        self.format = tile_format
        self.dtype: np.dtype[Any] = np.dtype(tile_format.dtype)
        self.samples = 1 if tile_format.planar else tile_format.samples_per_pixel
        self._max_tile_bytes = max_tile_bytes
        self._reverse_bits: Any = None
        if tile_format.fill_order == 2 and tile_format.compression not in _BIT_ORDER_IS_THEIRS:
            self._reverse_bits = imagecodecs_function("bitorder_decode")
        check_color(tile_format)
        self._is_cmyk = is_cmyk(tile_format)
        self._decompress = byte_codec(tile_format.compression)
        self._image = image_codec(tile_format) if self._decompress is None else None
        if self._decompress is None and self._image is None:
            raise UnsupportedTiffError(
                f"got compression {names.compression_name(tile_format.compression)} "
                f"({tile_format.compression}), which is not read; expected one of {names.READ_NAMES}. "
                "Rewrite the file, for example with gdal_translate -of COG."
            )
        self._reader: SampleReader | YCbCrReader | None = None
        if self._image is None:
            self._reader = YCbCrReader(tile_format) if is_raw_ycbcr(tile_format) else SampleReader(tile_format)

    def decode(
        self,
        data: bytes | memoryview,
        height: int,
        width: int,
        out: npt.NDArray[Any] | None = None,
        *,
        coded_height: int | None = None,
    ) -> npt.NDArray[Any]:
        """Decode the top left part of one tile.

        Args:
            data: the bytes of the tile as they are in the file.
            height: rows wanted: fewer than the tile has where it reaches over the edge of the image.
            width: columns wanted.
            out: destination of shape (height, width, samples) and the decoder's dtype, of any strides, or
                None for a new array.
            coded_height: rows that the tile was encoded with. By default those of the format for tiles, and
                `height` for strips, whose last one ends where the image does; pass it where fewer rows than
                a strip has are wanted.

        Returns:
            Pixels of shape (height, width, samples) in native byte order; `out` where it was given. After an
            error `out` may be partly written.

        Raises:
            CorruptTiffError: the data are broken or not those of such a tile.
            InvalidArgumentError: the size wanted is not inside the tile, or `out` does not fit.
        """
        tile = self.format
        if coded_height is None:
            coded_height = tile.tile_height if tile.tiled else height
        shape = (height, width, self.samples)
        if not (0 < height <= coded_height <= tile.tile_height and 0 < width <= tile.tile_width):
            raise InvalidArgumentError(
                f"got {height} rows of {coded_height} and {width} columns, expected a part of a tile of "
                f"{tile.tile_height} rows and {tile.tile_width} columns"
            )
        self._check_size(len(data), coded_height)
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype:
            raise InvalidArgumentError(
                f"out: got shape {out.shape} and dtype {out.dtype}, expected {shape} and {self.dtype}"
            )
        try:
            if self._reverse_bits is not None:
                data = self._reverse_bits(bytes(data))
            self._decode(data, out, coded_height)
        except (RasteretError, MemoryError):
            raise
        except Exception as error:
            raise CorruptTiffError(
                f"got {len(data)} bytes that are no {names.compression_name(tile.compression)} data of "
                f"{coded_height} rows and {tile.tile_width} columns ({type(error).__name__}: {error})"
            ) from error
        return out

    def _check_size(self, data_bytes: int, coded_height: int) -> None:
        tile = self.format
        decoded = coded_height * tile.tile_width * self.samples * self.dtype.itemsize
        if decoded > self._max_tile_bytes:
            raise UnsupportedTiffError(
                f"got tiles of {coded_height} rows and {tile.tile_width} columns, {decoded} bytes decoded; "
                f"expected at most {self._max_tile_bytes}. Rewrite the file with tiles, for example with "
                "gdal_translate -of COG."
            )
        if self._reader is not None:
            check_expansion(tile.compression, data_bytes, self._reader.coded_bytes(coded_height))

    def _decode(self, data: bytes | memoryview, out: npt.NDArray[Any], coded_height: int) -> None:
        if self._is_cmyk:
            cmyk = np.empty(out.shape, np.uint8)
            self._place(data, cmyk, coded_height)
            cmyk_to_rgba(cmyk, out)
        else:
            self._place(data, out, coded_height)

    def _place(self, data: bytes | memoryview, out: npt.NDArray[Any], coded_height: int) -> None:
        height, width = out.shape[:2]
        reader, decompress = self._reader, self._decompress
        if reader is None or decompress is None:
            assert self._image is not None
            pixels = self._image(data, coded_height)
            self._check_pixels(pixels, coded_height)
            np.copyto(out, pixels[:height, :width], casting="no")
            return
        nbytes = reader.coded_bytes(coded_height)
        is_whole = height == coded_height and width == self.format.tile_width
        if reader.is_direct and is_whole and out.flags.c_contiguous:
            fill(decompress, data, out.reshape(-1).view(np.uint8))
            return
        # Uncompressed data are used where they are.
        room = scratch(0 if self.format.compression == names.NONE else nbytes)
        # Some writers leave the rows of a tile out that lie below the image, and GDAL does not miss them.
        reader.place(decompressed(decompress, data, room, reader.coded_bytes(height)), out)

    def _check_pixels(self, pixels: npt.NDArray[Any], coded_height: int) -> None:
        """Refuse an image that is no tile: too few rows would be repeated without a word."""
        tile = self.format
        expected = (coded_height, tile.tile_width, self.samples)
        fits = pixels.ndim == 3 and pixels.shape[0] >= coded_height and pixels.shape[1:] == expected[1:]
        if not fits or pixels.dtype != self.dtype:
            raise CorruptTiffError(
                f"got {names.compression_name(tile.compression)} data of (rows, columns, samples) {pixels.shape} and "
                f"dtype {pixels.dtype}, expected {expected} of {self.dtype}"
            )
