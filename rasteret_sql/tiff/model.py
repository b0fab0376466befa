"""What a TIFF header says, as plain values: one `Header` per file, one `Level` per resolution.

Field names and units are those of the index (`sql/schema/asset_index.sql`); numbers of tags are those of
TIFF 6.0, so that a value can be looked up in the specification.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ByteOrder = Literal["little", "big"]

MAX_TILE_BYTES: Final = 1 << 28
"""Largest decoded tile. Larger ones are strips of a file that was never meant to be read in parts."""


@dataclass(frozen=True, slots=True)
class TileFormat:
    """How the bytes of one tile become an array; the same for all tiles of an IFD.

    Attributes:
        byte_order: byte order of the file.
        dtype: numpy dtype name of decoded samples in native order, for example `"uint16"`.
        bits_per_sample: bits that one sample takes in the file (1 to 128; may be fewer than the dtype's).
        samples_per_pixel: samples of the whole image, over all planes.
        planar: True for PlanarConfiguration 2, one plane of tiles per sample.
        compression: TIFF Compression tag (1 none, 5 LZW, 8 deflate, 50000 ZSTD, ...).
        predictor: TIFF Predictor tag (1 none, 2 horizontal, 3 floating point).
        photometric: TIFF PhotometricInterpretation tag.
        fill_order: TIFF FillOrder tag (2: bits of each byte are reversed).
        tile_width: width of a tile in pixels; a strip is as wide as the image.
        tile_height: height of a tile in pixels; RowsPerStrip for strips.
        tiled: False for strips, whose last one may be shorter than `tile_height`.
        jpeg_tables: the JPEGTables tag, or None.
        ycbcr_subsampling: YCbCrSubSampling (horizontal, vertical).
        codec_parameters: further tags that a codec needs: LercParameters, T4Options, or YCbCrCoefficients in
            billionths.
    """

    byte_order: ByteOrder
    dtype: str
    bits_per_sample: int
    samples_per_pixel: int
    planar: bool
    compression: int
    predictor: int
    photometric: int
    fill_order: int
    tile_width: int
    tile_height: int
    tiled: bool
    jpeg_tables: bytes | None = None
    ycbcr_subsampling: tuple[int, int] = (2, 2)
    codec_parameters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of an image: level 0 is full resolution, n the nth overview.

    Tiles are numbered row by row from the top left: `tile_row * tiles_across + tile_col`, and, when
    planar, plane by plane. `tile_offsets` and `tile_byte_counts` are int64 arrays in that order; a tile whose byte
    count is 0 is sparse: it was never written and reads as nodata, or 0.

    Attributes:
        width, height: size in pixels.
        format: how its tiles are decoded.
        tile_offsets, tile_byte_counts: int64, shape (planes * tiles_down * tiles_across,).
        mask: the internal mask of this level (one sample, or one for each band; non-zero is valid), or None.
    """

    width: int
    height: int
    format: TileFormat
    tile_offsets: npt.NDArray[np.int64]
    tile_byte_counts: npt.NDArray[np.int64]
    mask: Level | None = None

    @property
    def tiles_across(self) -> int:
        """Number of tile columns."""
        return -(-self.width // self.format.tile_width)

    @property
    def tiles_down(self) -> int:
        """Number of tile rows."""
        return -(-self.height // self.format.tile_height)


@dataclass(frozen=True, slots=True)
class Band:
    """One band (sample) of an image, as its TIFF describes it; `band` is 1-based."""

    band: int
    nodata: float | int | None = None
    scale: float | None = None
    offset: float | None = None
    unit: str | None = None
    description: str | None = None
    is_alpha: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """Everything that is needed to plan and decode reads of one TIFF.

    Attributes:
        byte_order: "little" or "big".
        bigtiff: True for BigTIFF.
        levels: level 0, then the overviews from the largest to the smallest.
        bands: one entry per sample of level 0.
        crs: authority code such as "EPSG:32643", or WKT2 where there is no code; None without a CRS.
        transform: affine (a, b, c, d, e, f) from pixel corner (col, row) to CRS, or None where the file
            has no usable georeferencing.
        metadata: GDAL_METADATA items of the dataset as (name, value).
        cog_layout: what GDAL's COG ghost area promises, for example "LAYOUT=IFDS_BEFORE_DATA".
        notes: what was left out and why, for example "3 further pages are not overviews".
    """

    byte_order: ByteOrder
    bigtiff: bool
    levels: tuple[Level, ...]
    bands: tuple[Band, ...]
    crs: str | None
    transform: tuple[float, float, float, float, float, float] | None
    metadata: tuple[tuple[str, str], ...] = ()
    cog_layout: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
