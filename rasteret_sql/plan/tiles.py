"""Windows of files to the tiles that they touch: one function for areas, chips, zones and parts of grids. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidIndexError
from rasteret_sql.plan.ragged import bounds_of, cut_between, spread
from rasteret_sql.plan.tile_plan import MaskKind, MaskTiles, TilePlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_bytes import LevelBytes
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand

    Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Tiles of files, whatever their band; one element each.

    Attributes:
        owner: what each belongs to: a file, or a window of one.
        row, col: of the tile in its level.
    """

    owner: Numbers
    row: Numbers
    col: Numbers

    def take(self, numbers: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Cells:
        """Give some of them."""
        return Cells(self.owner[numbers], self.row[numbers], self.col[numbers])


class Tilings:
    """How files are cut into tiles; each column has one element per file.

    Args:
        assets: the files.

    Attributes:
        width, height: of the level, in pixels.
        tile_width, tile_height: of its tiles.
        mask_tile_width, mask_tile_height: of the tiles of its internal mask, 0 without one.
        is_planar: whether each band has tiles of its own.
        alpha_band: number of the alpha band, 0 without one.
        across, down: tiles in a row, and rows of tiles.
    """

    def __init__(self, assets: Sequence[PlannedAsset]) -> None:
        self.assets = assets
        sizes = np.array(
            [
                (
                    asset.width,
                    asset.height,
                    asset.format.tile_width,
                    asset.format.tile_height,
                    0 if asset.mask_format is None else asset.mask_format.tile_width,
                    0 if asset.mask_format is None else asset.mask_format.tile_height,
                    asset.alpha_band or 0,
                )
                for asset in assets
            ],
            np.int64,
        ).reshape(-1, 7)
        self.width, self.height, self.tile_width, self.tile_height = sizes[:, :4].T
        self.mask_tile_width, self.mask_tile_height, self.alpha_band = sizes[:, 4:].T
        self.is_planar = np.array([asset.format.planar for asset in assets], bool)
        self.across = -(-self.width // self.tile_width)
        self.down = -(-self.height // self.tile_height)

    def widths(self, file: Numbers, col: Numbers) -> Numbers:
        """Give how many pixels wide tiles are, inside the image."""
        tile = self.tile_width[file]
        found: Numbers = np.minimum(tile, self.width[file] - col * tile)
        return found

    def heights(self, file: Numbers, row: Numbers) -> Numbers:
        """Give how many pixels high tiles are, inside the image."""
        tile = self.tile_height[file]
        found: Numbers = np.minimum(tile, self.height[file] - row * tile)
        return found


class Layouts(Tilings):
    """How files are cut into tiles, and where the bytes of the tiles lie.

    Args:
        assets: the files.
        level_bytes: where the tiles of levels lie.
        slots: which of the levels in `level_bytes` each file is.
    """

    def __init__(self, assets: Sequence[PlannedAsset], level_bytes: LevelBytes, slots: Numbers) -> None:
        super().__init__(assets)
        self.level_bytes, self.slots = level_bytes, slots


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of single bands of files; one element each but in `cells`.

    Attributes:
        asset_no: the file of each window.
        bands: the band of each window.
        cells: the tiles that are read; owners are numbers of windows, in ascending order.
    """

    asset_no: Numbers
    bands: Sequence[PlannedBand]
    cells: Cells

    @classmethod
    def of(
        cls, assets: Sequence[PlannedAsset], asset_no: Numbers, bands: Sequence[PlannedBand], pixels: Numbers
    ) -> Windows:
        """Make windows whose tiles are all that their pixels touch.

        Args:
            assets: the files.
            asset_no: the file of each window.
            bands: the band of each window.
            pixels: as for `cells_of_windows`.
        """
        used, number = np.unique(asset_no, return_inverse=True)
        tilings = Tilings([assets[each] for each in used.tolist()])
        return cls(asset_no, bands, cells_of_windows(tilings, number, pixels))

    def take(self, numbers: Numbers) -> Windows:
        """Give some of the windows, by their numbers, ascending."""
        places = np.full(len(self.bands), -1, np.int64)
        places[numbers] = np.arange(len(numbers))
        owner = places[self.cells.owner]
        kept = owner >= 0
        cells = Cells(owner[kept], self.cells.row[kept], self.cells.col[kept])
        return Windows(self.asset_no[numbers], [self.bands[number] for number in numbers.tolist()], cells)


@dataclass(frozen=True, slots=True, eq=False)
class WindowPlan:
    """The plan of some windows.

    Attributes:
        tiles: the tiles, window by window.
        bounds: the first row of each window in `tiles`, and the end of the last window; shape (windows + 1,).
    """

    tiles: TilePlan
    bounds: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """Bands as columns; see `PlannedBand`. NaN stands for no nodata value, too."""

    number: Numbers
    position: Numbers
    nodata: npt.NDArray[np.float64]
    has_nodata: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, bands: Sequence[PlannedBand]) -> _Bands:
        return cls(
            np.array([band.band for band in bands], np.int64),
            np.array([band.position for band in bands], np.int64),
            np.array([np.nan if band.nodata is None else band.nodata for band in bands], np.float64),
            np.array([band.nodata is not None for band in bands], bool),
        )

    def take(self, numbers: Numbers) -> _Bands:
        return _Bands(self.number[numbers], self.position[numbers], self.nodata[numbers], self.has_nodata[numbers])


def cells_in(row_first: Numbers, row_end: Numbers, col_first: Numbers, col_end: Numbers) -> Cells:
    """Give all cells of rectangles, row by row; ends are exclusive, and owners are numbers of rectangles."""
    down, across = np.maximum(row_end - row_first, 0), np.maximum(col_end - col_first, 0)
    counts = down * across
    owner = np.repeat(np.arange(len(counts)), counts)
    number = spread(np.zeros(len(counts), np.int64), counts)
    wide = np.maximum(across, 1)[owner]
    return Cells(owner, row_first[owner] + number // wide, col_first[owner] + number % wide)


def cells_of_windows(tilings: Tilings, asset_no: Numbers, windows: Numbers) -> Cells:
    """Give the tiles that windows touch.

    Args:
        tilings: of the files.
        asset_no: the file of each window.
        windows: (row_off, col_off, row_end, col_end) in pixels of the level, ends exclusive, inside the level or not;
            shape (windows, 4).

    Returns:
        The tiles, window by window.
    """
    tall, wide = tilings.tile_height[asset_no], tilings.tile_width[asset_no]
    row_off, col_off, row_end, col_end = windows.T
    return cells_in(
        np.maximum(row_off // tall, 0),
        np.minimum(-(-row_end // tall), tilings.down[asset_no]),
        np.maximum(col_off // wide, 0),
        np.minimum(-(-col_end // wide), tilings.across[asset_no]),
    )


def plan_windows(layouts: Layouts, windows: Windows) -> WindowPlan:
    """Plan windows; the tiles of each are in the order of their bytes.

    Args:
        layouts: the files.
        windows: what is read of them.

    Raises:
        InvalidIndexError: the index does not have the bytes of a tile.
    """
    cells = windows.cells
    files = Cells(windows.asset_no[cells.owner], cells.row, cells.col)
    tiles = _located(layouts, files, _Bands.of(windows.bands).take(cells.owner))
    bounds = bounds_of(np.bincount(cells.owner, minlength=len(windows.bands)))
    ordered = tiles.take(np.lexsort((tiles.offset, cells.owner)))
    return WindowPlan(_plan(layouts, ordered, partial(_located_masks, layouts)), bounds)


def rows_of_windows(plan: TilePlan, windows: Windows) -> Numbers:
    """Find the rows of a plan that windows touch: one for each cell of the windows, -1 where the plan has none.

    Args:
        plan: tiles, each once.
        windows: their files are numbers in the assets of the plan.
    """
    cells = windows.cells
    numbers = np.array([band.band for band in windows.bands], np.int64)
    columns = [
        np.concatenate(each)
        for each in (
            (plan.asset_no, windows.asset_no[cells.owner]),
            (plan.band, numbers[cells.owner]),
            (plan.tile_row, cells.row),
            (plan.tile_col, cells.col),
        )
    ]
    keys = np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1)
    row_of = np.full(len(keys), -1, np.int64)
    row_of[keys[: len(plan)]] = np.arange(len(plan))
    rows: Numbers = row_of[keys[len(plan) :]]
    return rows


def plan_computed(assets: Sequence[PlannedAsset], windows: Windows) -> TilePlan:
    """Plan windows whose pixels are computed of others: tiles without bytes, all pixels valid.

    Args:
        assets: the grids of the windows.
        windows: their files are numbers in `assets`. The plan has the assets of the windows only.
    """
    used, asset_no = np.unique(windows.asset_no, return_inverse=True)
    tilings = Tilings([assets[number] for number in used.tolist()])
    cells = windows.cells
    file, count = asset_no[cells.owner], len(cells.owner)
    numbers = np.array([band.band for band in windows.bands], np.int32)
    nothing = np.zeros(count, np.int64)
    return TilePlan(
        assets=tuple(tilings.assets),
        asset_no=file,
        band=numbers[cells.owner],
        tile_row=cells.row.astype(np.int32),
        tile_col=cells.col.astype(np.int32),
        width=tilings.widths(file, cells.col).astype(np.int32),
        height=tilings.heights(file, cells.row).astype(np.int32),
        tile_offset=nothing,
        tile_byte_count=nothing,
        nodata=np.full(count, np.nan),
        has_nodata=np.zeros(count, bool),
        mask_kind=np.full(count, MaskKind.NONE, np.uint8),
        mask_first=nothing,
        mask_count=nothing.astype(np.int32),
        mask_tiles=MaskTiles.none(),
    )


def plan_cells(layouts: Layouts, cells: Cells, max_rows: int | None = None) -> Iterator[TilePlan]:
    """Plan tiles of all bands of files, in the order in which their bytes lie in each.

    Args:
        layouts: the files.
        cells: the tiles; owners are numbers of files.
        max_rows: how many rows a part has at most, unless one tile has more; None for one part.

    Yields:
        The parts of the plan, in order; at least one.

    Raises:
        InvalidIndexError: the index does not have the bytes of a tile.
    """
    # Files of a kind share one tuple of bands.
    known: dict[int, int] = {}
    flat: list[PlannedBand] = []
    first = np.empty(len(layouts.assets), np.int64)
    for asset_no, asset in enumerate(layouts.assets):
        first[asset_no] = known.setdefault(id(asset.bands), len(flat))
        if first[asset_no] == len(flat):
            flat += asset.bands
    counts = np.array([len(asset.bands) for asset in layouts.assets], np.int64)[cells.owner]
    bands = _Bands.of(flat).take(spread(first[cells.owner], counts))
    tiles = _located(layouts, cells.take(np.repeat(np.arange(len(cells.owner)), counts)), bands)
    row, col, file = tiles.cells.row, tiles.cells.col, tiles.cells.owner
    tiles = tiles.take(np.lexsort((tiles.bands.number, tiles.bands.position, col, row, tiles.offset, file)))
    place = tiles.cells.owner, tiles.offset, tiles.cells.row, tiles.cells.col
    for first_row, end in pairwise(cut_between(place, max_rows)):
        part = tiles if end - first_row == len(tiles) else tiles.take(np.arange(first_row, end))
        yield _plan(layouts, part, partial(_located_masks, layouts))


@dataclass(frozen=True, slots=True, eq=False)
class _LocatedTiles:
    """Tiles of bands of files, and where their bytes lie; owners of the cells are numbers of files."""

    cells: Cells
    bands: _Bands
    offset: Numbers
    nbytes: Numbers

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, numbers: Numbers) -> _LocatedTiles:
        return _LocatedTiles(
            self.cells.take(numbers), self.bands.take(numbers), self.offset[numbers], self.nbytes[numbers]
        )


def _located(layouts: Layouts, cells: Cells, bands: _Bands) -> _LocatedTiles:
    """Find the bytes of tiles: one cell and its band each."""
    file = cells.owner
    plane = np.where(layouts.is_planar[file], (bands.number - 1) * (layouts.across * layouts.down)[file], 0)
    in_plane = cells.row * layouts.across[file] + cells.col
    offset, nbytes = layouts.level_bytes.image.locate(layouts.slots[file], plane + in_plane)
    _check_known(layouts, cells, offset, "")
    return _LocatedTiles(cells, bands, offset, nbytes)


def plan_located(
    assets: Sequence[PlannedAsset],
    cells: Cells,
    bands: Sequence[PlannedBand],
    band_no: Numbers,
    image: tuple[Numbers, Numbers],
    mask: tuple[Numbers, Numbers],
) -> TilePlan:
    """Make a plan of tiles whose bytes are known, in their order. Everything else follows from the files.

    Args:
        assets: the files.
        cells: the tiles; owners are numbers of files.
        bands: what `band_no` counts in.
        band_no: the band of each tile.
        image: offsets and byte counts of the tiles.
        mask: offsets and byte counts of the mask tiles under each tile, tile after tile.

    Raises:
        InvalidIndexError: there are more or fewer mask tiles than the tiles have under them.
    """

    def located(masks: _MaskCells) -> tuple[Numbers, Numbers]:
        if len(masks.number) != len(mask[0]):
            raise InvalidIndexError(
                f"mask tiles: got the bytes of {len(mask[0])}, expected those of {len(masks.number)}, which lie under "
                "the tiles; plan the read again"
            )
        return mask

    return _plan(Tilings(assets), _LocatedTiles(cells, _Bands.of(bands).take(band_no), *image), located)


def _plan(
    tilings: Tilings, tiles: _LocatedTiles, locate_masks: Callable[[_MaskCells], tuple[Numbers, Numbers]]
) -> TilePlan:
    """Make the rows of a plan: one per tile and band."""
    cells, bands = tiles.cells, tiles.bands
    file = cells.owner
    width, height = tilings.widths(file, cells.col), tilings.heights(file, cells.row)
    has_mask = tilings.mask_tile_width[file] > 0
    kind = _mask_kinds(tilings.alpha_band[file], bands.number, bands.has_nodata, has_mask)
    masks = _MaskCells.of(tilings, cells, kind, (height, width))
    offset, nbytes = locate_masks(masks)
    return TilePlan(
        assets=tuple(tilings.assets),
        asset_no=file,
        band=bands.number.astype(np.int32),
        tile_row=cells.row.astype(np.int32),
        tile_col=cells.col.astype(np.int32),
        width=width.astype(np.int32),
        height=height.astype(np.int32),
        tile_offset=tiles.offset,
        tile_byte_count=tiles.nbytes,
        nodata=bands.nodata,
        has_nodata=bands.has_nodata,
        mask_kind=kind.astype(np.uint8),
        mask_first=bounds_of(masks.count)[:-1],
        mask_count=masks.count.astype(np.int32),
        mask_tiles=MaskTiles(masks.cells.row.astype(np.int32), masks.cells.col.astype(np.int32), offset, nbytes),
    )


def mask_kind(asset: PlannedAsset, band: PlannedBand) -> MaskKind:
    """Say where the masks of the tiles of a band come from, as plans have it."""
    has_mask, has_nodata = asset.mask_format is not None, band.nodata is not None
    return MaskKind(int(_mask_kinds(asset.alpha_band or 0, band.band, has_nodata, has_mask)))


def _mask_kinds(alpha_band: Any, band: Any, has_nodata: Any, has_mask: Any) -> Numbers:
    """Say where masks come from: an internal mask before nodata, and nodata before an alpha band, 0 for none."""
    kind = np.where(np.greater(alpha_band, 0) & np.not_equal(alpha_band, band), MaskKind.ALPHA, MaskKind.NONE)
    return np.where(has_mask, MaskKind.MASK, np.where(has_nodata, MaskKind.NODATA, kind))


@dataclass(frozen=True, slots=True, eq=False)
class _MaskCells:
    """The mask tiles under some tiles, tile after tile.

    Attributes:
        count: how many lie under each tile.
        cells: the mask tiles; owners are numbers of files.
        is_plane: whether each is one of the plane of an alpha band, rather than of an internal mask.
        number: of each, in its plane or mask.
    """

    count: Numbers
    cells: Cells
    is_plane: npt.NDArray[np.bool_]
    number: Numbers

    @classmethod
    def of(cls, tilings: Tilings, cells: Cells, kind: Numbers, size: tuple[Numbers, Numbers]) -> _MaskCells:
        """Find those under tiles of (height, width) pixels, by where the mask of each tile comes from."""
        file = cells.owner
        own = np.flatnonzero((kind == MaskKind.MASK) | ((kind == MaskKind.ALPHA) & tilings.is_planar[file]))
        count = np.zeros(len(file), np.int64)
        is_plane = kind[own] == MaskKind.ALPHA
        tall = np.where(is_plane, tilings.tile_height[file[own]], tilings.mask_tile_height[file[own]])
        wide = np.where(is_plane, tilings.tile_width[file[own]], tilings.mask_tile_width[file[own]])
        top = cells.row[own] * tilings.tile_height[file[own]]
        left = cells.col[own] * tilings.tile_width[file[own]]
        found = cells_in(
            top // tall, (top + size[0][own] - 1) // tall + 1, left // wide, (left + size[1][own] - 1) // wide + 1
        )
        count[own] = np.bincount(found.owner, minlength=len(own))
        asset_no = file[own][found.owner]
        across = -(-tilings.width[asset_no] // wide[found.owner])
        return cls(count, Cells(asset_no, found.row, found.col), is_plane[found.owner], found.row * across + found.col)


def _located_masks(layouts: Layouts, masks: _MaskCells) -> tuple[Numbers, Numbers]:
    """Find the bytes of mask tiles.

    Raises:
        InvalidIndexError: the index does not have those of one.
    """
    asset_no, number = masks.cells.owner, masks.number
    per_plane = (layouts.across * layouts.down)[asset_no]
    offset, nbytes = np.empty(len(number), np.int64), np.empty(len(number), np.int64)
    for tiles, chosen, tile in (
        (layouts.level_bytes.image, masks.is_plane, (layouts.alpha_band[asset_no] - 1) * per_plane + number),
        (layouts.level_bytes.mask, ~masks.is_plane, number),
    ):
        if chosen.any():
            offset[chosen], nbytes[chosen] = tiles.locate(layouts.slots[asset_no[chosen]], tile[chosen])
    _check_known(layouts, masks.cells, offset, "mask ")
    return offset, nbytes


def _check_known(layouts: Layouts, cells: Cells, offset: Numbers, kind: str) -> None:
    """Refuse tiles whose bytes the index does not have.

    Raises:
        InvalidIndexError: there is one.
    """
    unknown = np.flatnonzero(offset < 0)
    if len(unknown):
        first = unknown[0]
        tile = layouts.assets[cells.owner[first]].describe_tile(int(cells.row[first]), int(cells.col[first]))
        raise InvalidIndexError(
            f"{kind}{tile}: the index has no offset and byte count of it, expected those of every tile; build the "
            "index again"
        )
