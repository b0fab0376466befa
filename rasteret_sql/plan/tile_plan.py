"""The plan of a read: which files and levels, and which tiles of them, as columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rasteret_sql.plan.ragged import bounds_of, cut_between, cut_by_ends, spread
from rasteret_sql.tiff.model import TileFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from rasteret_sql.io.identity import FileIdentity
    from rasteret_sql.tiff.ghost import Frames

#: Collection, id and time of an item.
Item = tuple[str | None, str, int | None]
#: CRS and transform; height and width of the level and of its tiles.
Lattice = tuple[str | None, tuple[float, float, float, float, float, float] | None, int, int, int, int]


@dataclass(frozen=True, slots=True)
class PlannedBand:
    """One band that is read of an asset; `band` is 1-based, `position` is its place in what was asked for.

    Physical values are stored ones times `scale` plus `offset`, in `unit`; each is None where it is unknown.
    """

    band: int
    name: str
    position: int
    nodata: float | int | None
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
        identity: facts that the file must still have when it is read.
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
        first_row, first_col: where `height` and `width` begin in the level, in pixels; 0 but for given tiles, which may
            be a part of it.
    """

    collection: str | None
    item_id: str
    asset: str
    datetime_us: int | None
    href: str
    address: str
    identity: FileIdentity
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
    first_row: int = 0
    first_col: int = 0

    def __reduce__(self) -> tuple[Callable[..., PlannedAsset], tuple[Any, ...]]:
        """Pickle the fields alone, five times as fast as a dataclass does: tasks are sent by the ten thousand."""
        return PlannedAsset, _FIELDS(self)

    @property
    def dtype(self) -> str:
        """The numpy name of decoded samples."""
        return self.format.dtype

    @property
    def item(self) -> Item:
        """The item of the file: files of one item have the same collection, id and time."""
        return self.collection, self.item_id, self.datetime_us

    @property
    def lattice(self) -> Lattice:
        """The grid of its pixels and tiles: what lies in files of one lattice is found once."""
        form = self.format
        return self.crs, self.transform, self.height, self.width, form.tile_height, form.tile_width

    @property
    def tiles_across(self) -> int:
        """How many tiles a row of the level has."""
        return -(-self.width // self.format.tile_width)

    @property
    def tile_count(self) -> int:
        """How many tiles the level has, without planes."""
        return self.tiles_across * -(-self.height // self.format.tile_height)

    def tile_areas(self) -> npt.NDArray[np.int64]:
        """Give the number of pixels of each tile of the level, inside the image, row by row."""
        tall, wide = self.format.tile_height, self.format.tile_width
        heights = np.minimum(tall, self.height - np.arange(0, self.height, tall))
        widths = np.minimum(wide, self.width - np.arange(0, self.width, wide))
        return np.outer(heights, widths).reshape(-1)

    @property
    def pixel_area(self) -> float:
        """The area of a pixel in units of the CRS; infinite without a transform."""
        return math.inf if self.transform is None else abs(self.transform[0] * self.transform[4])

    def describe_tile(self, tile_row: int, tile_col: int) -> str:
        """Name one of its tiles in a message."""
        return f'tile (row {tile_row}, col {tile_col}), level {self.level}, asset "{self.asset}" of item {self.item_id}'


_FIELDS: Final[Callable[[PlannedAsset], tuple[Any, ...]]] = attrgetter(*PlannedAsset.__match_args__)


class MaskTile(NamedTuple):
    """A tile that says which pixels of an image tile are valid."""

    tile_row: int
    tile_col: int
    offset: int
    nbytes: int


class MaskKind(IntEnum):
    """Where the mask of a tile comes from."""

    NONE = 0
    """All pixels are valid."""
    MASK = 1
    """Tiles of the file's internal mask."""
    NODATA = 2
    """The pixels themselves: those that are not nodata."""
    ALPHA = 3
    """The alpha band: in tiles of its own where the file is planar, otherwise in the image tile."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskTiles:
    """Mask tiles as columns of the same length; see `MaskTile`."""

    tile_row: npt.NDArray[np.int32]
    tile_col: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    nbytes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Count them."""
        return len(self.offset)

    def __getitem__(self, number: int) -> MaskTile:
        """Give one."""
        return MaskTile(
            int(self.tile_row[number]), int(self.tile_col[number]), int(self.offset[number]), int(self.nbytes[number])
        )

    def take(self, numbers: npt.NDArray[np.int64]) -> MaskTiles:
        """Give some of them."""
        return MaskTiles(self.tile_row[numbers], self.tile_col[numbers], self.offset[numbers], self.nbytes[numbers])

    @classmethod
    def none(cls) -> MaskTiles:
        """Give no mask tiles."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class TilePlan:
    """The tiles that a read takes, one row per tile and band; all columns have the same length.

    A row takes about 70 bytes.

    Attributes:
        assets: the files; `asset_no` counts in them.
        asset_no, band, tile_row, tile_col: what the row is.
        width, height: pixels of the tile that lie in the image.
        tile_offset, tile_byte_count: bytes in the file; 0 and 0 for a sparse tile.
        nodata: of the band, rounded; NaN also where it has none. See `nodata_of`.
        has_nodata: whether the band has a nodata value.
        mask_kind: a `MaskKind`.
        mask_first, mask_count: the mask tiles under the tile, in `mask_tiles`; none where the mask does not come in
            tiles of its own.
        mask_tiles: tiles of internal masks, and of planes of alpha bands. Rows share them.
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
    mask_kind: npt.NDArray[np.uint8]
    mask_first: npt.NDArray[np.int64]
    mask_count: npt.NDArray[np.int32]
    mask_tiles: MaskTiles

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.asset_no)

    def __reduce__(self) -> tuple[Callable[..., TilePlan], tuple[Any, ...]]:
        """Pickle the columns in one piece: of a few tiles, what is said of an array takes more than what is in it."""
        masks = self.mask_tiles.take(spread(self.mask_first, self.mask_count))
        plan = replace(self, mask_first=bounds_of(self.mask_count)[:-1])
        return _unpacked, (self.assets, _packed(plan, _COLUMNS), len(self), _packed(masks, _MASK_COLUMNS), len(masks))

    def take(self, rows: npt.NDArray[np.int64]) -> TilePlan:
        """Give the plan of some of the rows, in the order of `rows`."""
        return TilePlan(
            self.assets, mask_tiles=self.mask_tiles, **{name: getattr(self, name)[rows] for name in _COLUMNS}
        )

    def parts(self, max_rows: int) -> Iterator[TilePlan]:
        """Give the plan in parts of at most so many rows. Files stay together if they fit, and so do bands of a tile.

        So the requests of a file are the same in each plan that has all of its tiles.
        """
        if len(self) <= max_rows:
            yield self
            return
        ends = np.append(np.flatnonzero(np.diff(self.asset_no)) + 1, len(self))
        place = self.asset_no, self.tile_offset, self.tile_row, self.tile_col
        for first_file, end_file in pairwise(cut_by_ends(ends, max_rows)):
            start, stop = (int(ends[number - 1]) if number else 0 for number in (first_file, end_file))
            for first, end in pairwise(cut_between([column[start:stop] for column in place], max_rows)):
                yield self.take(np.arange(start + first, start + end))

    def without(self, other: TilePlan) -> TilePlan:
        """Give the plan of the tiles that another plan does not have."""
        keys = [
            [
                (plan.assets[asset_no].address, *place)
                for asset_no, *place in zip(
                    *(column.tolist() for column in (plan.asset_no, plan.band, plan.tile_row, plan.tile_col)),
                    strict=True,
                )
            ]
            for plan in (self, other)
        ]
        known = set(keys[1])
        return self.take(np.array([row for row, key in enumerate(keys[0]) if key not in known], np.int64))

    def with_assets(self, numbers: npt.NDArray[np.int64]) -> TilePlan:
        """Give the plan with some of the assets alone, by their numbers, ascending; its rows are of these."""
        return replace(
            self,
            assets=tuple(self.assets[number] for number in numbers.tolist()),
            asset_no=np.searchsorted(numbers, self.asset_no),
        )

    def bands_of_rows(self) -> tuple[list[PlannedBand], npt.NDArray[np.int64]]:
        """Give the distinct bands of files that rows are of, and the place of each row's band among them."""
        # Rows of one band of a file are many.
        keys = np.stack([self.asset_no, self.band.astype(np.int64)])
        distinct, place = np.unique(keys, axis=1, return_inverse=True)
        known: dict[tuple[int, int], PlannedBand] = {}
        for number in np.unique(distinct[0]).tolist():
            for band in self.assets[number].bands:
                known.setdefault((number, band.band), band)
        return [known[key] for key in zip(*distinct.tolist(), strict=True)], place.reshape(-1)

    def nodata_of(self, row: int) -> float | int | None:
        """Give the nodata value of a row, or None: of 64-bit integers exact, where `nodata` is rounded."""
        if not self.has_nodata[row]:
            return None
        asset = self.assets[self.asset_no[row]]
        if asset.format.dtype not in {"int64", "uint64"}:
            return float(self.nodata[row])
        number = int(self.band[row])
        exact: float | None = next(band.nodata for band in asset.bands if band.band == number)
        return exact


#: The columns of a plan, the widest first, so that each begins at a multiple of its width where they lie in one piece.
_COLUMNS: Final[Mapping[str, type[np.generic]]] = {
    "asset_no": np.int64,
    "tile_offset": np.int64,
    "tile_byte_count": np.int64,
    "nodata": np.float64,
    "mask_first": np.int64,
    "band": np.int32,
    "tile_row": np.int32,
    "tile_col": np.int32,
    "width": np.int32,
    "height": np.int32,
    "mask_count": np.int32,
    "has_nodata": np.bool_,
    "mask_kind": np.uint8,
}
_MASK_COLUMNS: Final[Mapping[str, type[np.generic]]] = {
    "offset": np.int64,
    "nbytes": np.int64,
    "tile_row": np.int32,
    "tile_col": np.int32,
}


def _packed(table: TilePlan | MaskTiles, columns: Mapping[str, type[np.generic]]) -> bytes:
    return b"".join(getattr(table, name).astype(dtype, copy=False).tobytes() for name, dtype in columns.items())


def _unpacked(
    assets: tuple[PlannedAsset, ...], packed: bytes, count: int, packed_masks: bytes, mask_count: int
) -> TilePlan:
    masks = MaskTiles(**_columns_in(packed_masks, mask_count, _MASK_COLUMNS))
    return TilePlan(assets, mask_tiles=masks, **_columns_in(packed, count, _COLUMNS))


def _columns_in(packed: bytes, count: int, columns: Mapping[str, type[np.generic]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    start = 0
    for name, dtype in columns.items():
        found[name] = np.frombuffer(packed, dtype, count, start)
        start += found[name].nbytes
    return found


def tile_format(struct: Mapping[str, Any]) -> TileFormat:
    """Make a `TileFormat` of the `format` struct of an index."""
    values = dict(struct)
    horizontal, vertical = values.pop("ycbcr_subsampling") or (2, 2)
    return TileFormat(
        ycbcr_subsampling=(horizontal, vertical),
        codec_parameters=tuple(values.pop("codec_parameters") or ()),
        **values,
    )
