"""The plan of a read as plain values: what `sql/macros/_rst_asset_plan.sql` and `_rst_asset_tiles.sql` give."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.tiff.model import TileFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from rasteret_sql.tiff.ghost import Frames


@dataclass(frozen=True, slots=True)
class PlannedBand:
    """One band that is read of an asset; `band` is 1-based, `position` is its place in what was asked for.

    Physical values are stored ones times `scale` plus `offset`, in `unit`; each is None where it is unknown.
    """

    band: int
    name: str
    position: int
    nodata: float | None
    scale: float | None = None
    offset: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedAsset:
    """One file, the level that is read of it, and the window of that level; ends are exclusive.

    Attributes:
        collection, item_id, asset: the key of the index row.
        datetime_us: microseconds since 1970-01-01 UTC, or None.
        href: address as published; for messages and results.
        address: where the bytes are read.
        etag: ETag that the file had when it was indexed, or None.
        frames: what lies around each of its tiles.
        level: 0 is full resolution.
        width, height: of the level, in pixels.
        crs: authority code or WKT2, or None.
        transform: affine (a, b, c, d, e, f) of the level, pixel corner to CRS, or None.
        format: how its tiles are decoded.
        mask_format: how the tiles of its internal mask are decoded, or None.
        alpha_band: number of the alpha band, or None.
        bands: what is read of it.
        row_off, col_off, row_end, col_end: the window in pixels of the level.
    """

    collection: str | None
    item_id: str
    asset: str
    datetime_us: int | None
    href: str
    address: str
    etag: str | None
    frames: Frames
    level: int
    width: int
    height: int
    crs: str | None
    transform: tuple[float, float, float, float, float, float] | None
    format: TileFormat
    mask_format: TileFormat | None
    alpha_band: int | None
    bands: tuple[PlannedBand, ...]
    row_off: int
    col_off: int
    row_end: int
    col_end: int

    def __reduce__(self) -> tuple[Callable[..., PlannedAsset], tuple[Any, ...]]:
        """Pickle the fields alone, five times as fast as a dataclass does: tasks are sent by the ten thousand."""
        return PlannedAsset, _FIELDS(self)

    @property
    def dtype(self) -> str:
        """The numpy name of decoded samples."""
        return self.format.dtype

    def describe_tile(self, tile_row: int, tile_col: int) -> str:
        """Name one of its tiles in a message."""
        return f'tile (row {tile_row}, col {tile_col}), level {self.level}, asset "{self.asset}" of item {self.item_id}'


_FIELDS: Final[Callable[[PlannedAsset], tuple[Any, ...]]] = attrgetter(*PlannedAsset.__match_args__)


@dataclass(frozen=True, slots=True)
class MaskTile:
    """A tile that says which pixels of an image tile are valid."""

    tile_row: int
    tile_col: int
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class TilePlan:
    """The tiles that a read takes, one row per tile and band; all columns have the same length.

    Attributes:
        assets: the files; `asset_no` counts in them.
        asset_no, band, tile_row, tile_col: what the row is.
        width, height: pixels of the tile that lie in the image.
        tile_offset, tile_byte_count: bytes in the file; 0 and 0 for a sparse tile.
        nodata: of the band; NaN also where it has none.
        has_nodata: whether the band has a nodata value.
        mask_kind: "mask" (internal mask), "nodata", "alpha", or None where all pixels are valid.
        mask_tiles: the tiles of the internal mask, or of the plane of the alpha band, under the tile; or None.
    """

    assets: tuple[PlannedAsset, ...]
    asset_no: npt.NDArray[np.int64]
    band: npt.NDArray[np.int32]
    tile_row: npt.NDArray[np.int32]
    tile_col: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    tile_offset: npt.NDArray[np.int64]
    tile_byte_count: npt.NDArray[np.int64]
    nodata: npt.NDArray[np.float64]
    has_nodata: npt.NDArray[np.bool_]
    mask_kind: list[str | None]
    mask_tiles: list[tuple[MaskTile, ...] | None]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.asset_no)

    def __reduce__(self) -> tuple[Callable[..., TilePlan], tuple[Any, ...]]:
        """Pickle the columns in one piece: of a few tiles, what is said of an array takes more than what is in it."""
        packed = b"".join(getattr(self, name).astype(dtype, copy=False).tobytes() for name, dtype in _COLUMNS.items())
        return _unpacked, (self.assets, packed, self.mask_kind, self.mask_tiles)

    def take(self, rows: npt.NDArray[np.int64]) -> TilePlan:
        """Give the plan of some of the rows, in the order of `rows`."""
        picked = rows.tolist()
        return TilePlan(
            assets=self.assets,
            asset_no=self.asset_no[rows],
            band=self.band[rows],
            tile_row=self.tile_row[rows],
            tile_col=self.tile_col[rows],
            width=self.width[rows],
            height=self.height[rows],
            tile_offset=self.tile_offset[rows],
            tile_byte_count=self.tile_byte_count[rows],
            nodata=self.nodata[rows],
            has_nodata=self.has_nodata[rows],
            mask_kind=[self.mask_kind[row] for row in picked],
            mask_tiles=[self.mask_tiles[row] for row in picked],
        )


#: The arrays of a plan, the widest first, so that each begins at a multiple of its width where they lie in one piece.
_COLUMNS: Final[Mapping[str, type[np.generic]]] = {
    "asset_no": np.int64,
    "tile_offset": np.int64,
    "tile_byte_count": np.int64,
    "nodata": np.float64,
    "band": np.int32,
    "tile_row": np.int32,
    "tile_col": np.int32,
    "width": np.int32,
    "height": np.int32,
    "has_nodata": np.bool_,
}


def _unpacked(
    assets: tuple[PlannedAsset, ...],
    packed: bytes,
    mask_kind: list[str | None],
    mask_tiles: list[tuple[MaskTile, ...] | None],
) -> TilePlan:
    columns: dict[str, Any] = {}
    start, count = 0, len(mask_kind)
    for name, dtype in _COLUMNS.items():
        columns[name] = np.frombuffer(packed, dtype, count, start)
        start += columns[name].nbytes
    return TilePlan(assets, mask_kind=mask_kind, mask_tiles=mask_tiles, **columns)


def tile_format(struct: Mapping[str, Any]) -> TileFormat:
    """Make a `TileFormat` of the `format` struct of an index."""
    values = dict(struct)
    horizontal, vertical = values.pop("ycbcr_subsampling") or (2, 2)
    return TileFormat(
        ycbcr_subsampling=(horizontal, vertical),
        codec_parameters=tuple(values.pop("codec_parameters") or ()),
        **values,
    )
