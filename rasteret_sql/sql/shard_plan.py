"""A shard as a plan: files of a read with their tiles, and the chips that lie in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import shown, whole_number_of
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geobox import MAX_SIDE
from rasteret_sql.plan.shards import cut_plan
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.plan.tiles import Cells, Tilings, plan_located, rows_of_windows
from rasteret_sql.read.chips import ChipLayout
from rasteret_sql.sql.row_checks import RowNames
from rasteret_sql.sql.shard_files import REMEDY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan

    Numbers = npt.NDArray[np.int64]

#: More shards than anybody has tiles for: a count that is meant for something else.
_MAX_COUNT: Final = 1_000_000
#: Cells of all chips of a shard; more take more memory than a machine has.
_MAX_CELLS: Final = 1 << 31


@dataclass(frozen=True, slots=True, eq=False)
class ShardChips:
    """The chips of a shard.

    Attributes:
        numbers: row of each chip in the table of all chips, from 0.
        item_ids: the item of each.
        offsets: (row_off, col_off) of each, in pixels of the level; shape (chips, 2).
        size: (height, width) of all.
    """

    numbers: Numbers
    item_ids: tuple[str, ...]
    offsets: Numbers
    size: tuple[int, int]

    def take(self, numbers: Numbers) -> ShardChips:
        """Give some of the chips."""
        item_ids = tuple(self.item_ids[number] for number in numbers.tolist())
        return ShardChips(self.numbers[numbers], item_ids, self.offsets[numbers], self.size)

    def first(self, count: int) -> ShardChips:
        """Give the first of the chips."""
        return self.take(np.arange(min(count, len(self.item_ids))))

    def check(self, plan: TilePlan) -> None:
        """Refuse chips that no plan has.

        Raises:
            InvalidArgumentError: a chip is of no file, is too large, or covers more tiles than there are.
        """
        height, width = self.size
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE) or (np.abs(self.offsets) > MAX_SIDE).any():
            raise InvalidArgumentError(
                f"chips: got a size of {self.size}, or offsets, beyond {MAX_SIDE} pixels; {REMEDY}"
            )
        items = np.array(self.item_ids, object)
        unknown = set(self.item_ids) - {asset.item_id for asset in plan.assets}
        if unknown:
            raise InvalidArgumentError(f"chips: item {min(unknown)!r} has no file in the shard; {REMEDY}")
        total = 0.0
        rows = np.bincount(plan.asset_no, minlength=len(plan.assets)).tolist()
        for asset, count in zip(plan.assets, rows, strict=True):
            form, offsets = asset.format, self.offsets[items == asset.item_id]
            first = np.maximum(offsets, 0) // (form.tile_height, form.tile_width)
            end = -(
                -np.minimum(offsets + self.size, (asset.height, asset.width)) // (form.tile_height, form.tile_width)
            )
            cells = np.maximum(end - first, 0).astype(np.float64).prod(axis=1)
            total += float(cells.sum()) * len(asset.bands)
            if cells.max(initial=0) > count or total > _MAX_CELLS:
                raise InvalidArgumentError(
                    f"chips: those of item {asset.item_id} touch more tiles of asset {asset.asset!r} than the "
                    f"{count} of the shard; {REMEDY}"
                )


@dataclass(frozen=True, slots=True, eq=False)
class ShardPlan:
    """One shard of a read.

    Attributes:
        number: from 0.
        count: of all shards.
        plan_hash: of the plan of all shards: files, their versions, and tiles, as the index gave them.
        origins: URLs that the index was read from; what it names is checked by them, as rows of an index are.
        plan: the tiles, in the order of the read.
        chips: the chips, or None.
    """

    number: int
    count: int
    plan_hash: str
    origins: tuple[str, ...]
    plan: TilePlan
    chips: ShardChips | None = None

    @property
    def name(self) -> str:
        """Its number with leading zeros, as many digits as all shards need, and five at least."""
        return f"{self.number:0{max(len(str(self.count - 1)), 5)}d}"


def checked_count(count: Any) -> int:
    """Give the number of shards.

    Raises:
        InvalidArgumentError: it is none.
    """
    number = whole_number_of(count)
    if number is None or not 1 <= number <= _MAX_COUNT:
        raise InvalidArgumentError(f"n: got {shown(count)}, expected a number of shards, 1 to {_MAX_COUNT:,}")
    return number


def split(shard: ShardPlan, count: int) -> list[ShardPlan]:
    """Cut a shard in pieces, of which none is empty: see `cut_plan`. With chips, files of an item stay together."""
    plan, chips = shard.plan, shard.chips
    if chips is None:
        pieces = cut_plan(plan, [(asset.address,) for asset in plan.assets], count)
        files = [np.unique(plan.asset_no[rows]) for rows in pieces]
        return _numbered(shard, pieces, files, [None] * len(pieces))

    @cache
    def joined() -> tuple[Numbers, Numbers]:
        layout, rows = rows_of_chips(plan, chips)
        return layout.chips[layout.windows.cells.owner][rows >= 0], rows[rows >= 0]

    keys = [(asset.address, ("item", asset.item_id)) for asset in plan.assets]
    # Chips beside their images need no tile.
    pieces = cut_plan(plan, keys, count, joined) or [np.empty(0, np.int64)]
    of_row = np.zeros(len(plan), np.int64)
    for number, rows in enumerate(pieces):
        of_row[rows] = number
    items, item_of_file = np.unique([asset.item_id for asset in plan.assets], return_inverse=True)
    low, high = np.full(len(items), len(pieces), np.int64), np.zeros(len(items), np.int64)
    np.minimum.at(low, item_of_file[plan.asset_no], of_row)
    np.maximum.at(high, item_of_file[plan.asset_no], of_row)
    low[low == len(pieces)] = 0
    item_of_chip = np.searchsorted(items, chips.item_ids)
    of_chip = low[item_of_chip]
    if (low < high).any():
        chip, rows = joined()
        of_chip[chip] = of_row[rows]
    mine = [chips.take(np.flatnonzero(of_chip == piece)) for piece in range(len(pieces))]
    # An item has all of its files, also those beside whose images its chips lie.
    files = [
        np.union1d(plan.asset_no[rows], np.flatnonzero(np.isin(items[item_of_file], each.item_ids)))
        for rows, each in zip(pieces, mine, strict=True)
    ]
    return _numbered(shard, pieces, files, mine)


def rows_of_chips(plan: TilePlan, chips: ShardChips) -> tuple[ChipLayout, Numbers]:
    """Give the windows of chips, and the rows of a plan that they touch: -1 where the plan has none."""
    layout = ChipLayout(plan.assets, chips.item_ids, chips.offsets, chips.size)
    return layout, rows_of_windows(plan, layout.windows)


def _numbered(
    shard: ShardPlan, pieces: Sequence[Numbers], files: Sequence[Numbers], chips: Sequence[ShardChips | None]
) -> list[ShardPlan]:
    return [
        ShardPlan(
            number, len(pieces), shard.plan_hash, shard.origins, shard.plan.take(rows).with_assets(files[number]),
            chips[number],
        )
        for number, rows in enumerate(pieces)
    ]  # fmt: skip


def decoded_bytes(plan: TilePlan) -> dict[str, int]:
    """Give the bytes of the columns `pixels` and `mask` of a plan, once they are decoded."""
    itemsize = np.array([np.dtype(asset.dtype).itemsize for asset in plan.assets], np.int64)
    count = plan.width.astype(np.int64) * plan.height
    has_mask = plan.mask_kind != MaskKind.NONE
    return {"pixels": int((count * itemsize[plan.asset_no]).sum()), "mask": int(count[has_mask].sum())}


def plan_of_tables(
    assets: Sequence[PlannedAsset], tiles: Mapping[str, Numbers], masks: Mapping[str, Numbers]
) -> TilePlan:
    """Make a plan of the columns of a shard, which may be anybody's.

    Args:
        assets: the files.
        tiles: file, band, tile_row, tile_col, gap and nbytes of each.
        masks: offset and nbytes of the mask tiles, tile after tile.

    Raises:
        InvalidIndexError: a tile is none of its file, or lies outside of it.
    """
    file, row, col = tiles["file"], tiles["tile_row"], tiles["tile_col"]
    if len(file) and not (file.min() >= 0 and file.max() < len(assets) and (np.diff(file) >= 0).all()):
        raise InvalidArgumentError(f"tiles: file is out of order, expected 0 to {len(assets) - 1}; {REMEDY}")
    names = RowNames([asset.item_id for asset in assets], [asset.asset for asset in assets], remedy=REMEDY)
    tilings = Tilings(assets)
    names.require((row >= 0) & (row < tilings.down[file]), file, "tile_row", row, "one of the rows of tiles")
    names.require((col >= 0) & (col < tilings.across[file]), file, "tile_col", col, "one of the columns of tiles")
    bands, band_no = _bands(names, assets, file, tiles["band"])
    nbytes = tiles["nbytes"]
    names.require(nbytes >= 0, file, "tile_byte_counts", nbytes, "0 or more bytes")
    ends = np.cumsum(tiles["gap"] + nbytes)
    is_first = np.diff(file, prepend=-1) != 0
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(file)), 0))
    # Sums begin anew with each file.
    offset = ends - nbytes - np.concatenate([np.zeros(1, np.int64), ends])[first]
    _check_within(names, assets, file, offset, nbytes)
    cells = Cells(file, row, col)
    _check_mask_count(tilings, cells, len(masks["offset"]))
    plan = plan_located(assets, cells, bands, band_no, (offset, nbytes), (masks["offset"], masks["nbytes"]))
    owner = np.repeat(file, plan.mask_count)
    names.require(masks["nbytes"] >= 0, owner, "mask.tile_byte_counts", masks["nbytes"], "0 or more bytes")
    _check_within(names, assets, owner, masks["offset"], masks["nbytes"])
    return plan


def _bands(
    names: RowNames, assets: Sequence[PlannedAsset], file: Numbers, band: Numbers
) -> tuple[list[PlannedBand], Numbers]:
    """Give the bands of all files, and which of them each tile is of."""
    # Files of a kind share one tuple of bands.
    first: dict[int, int] = {}
    flat: list[PlannedBand] = []
    table: dict[tuple[int, int], int] = {}
    for number, asset in enumerate(assets):
        begun = first.setdefault(id(asset.bands), len(flat))
        if begun == len(flat):
            flat += asset.bands
        table |= {(number, each.band): begun + place for place, each in enumerate(asset.bands)}
    distinct, place = np.unique(np.stack([file, band]), axis=1, return_inverse=True)
    band_no = np.array([table.get(key, -1) for key in zip(*distinct.tolist(), strict=True)], np.int64)[
        place.reshape(-1)
    ]
    names.require(band_no >= 0, file, "band", band, "one of the bands of its file")
    return flat, band_no


def _check_within(
    names: RowNames, assets: Sequence[PlannedAsset], file: Numbers, offset: Numbers, nbytes: Numbers
) -> None:
    sizes = [np.iinfo(np.int64).max if asset.identity.size is None else asset.identity.size for asset in assets]
    size = np.array(sizes, np.int64)[file]
    is_right = (nbytes == 0) | ((offset >= 0) & (nbytes <= size) & (offset <= size - nbytes))
    names.require(is_right, file, "tile_offsets", offset, "tiles that end within file_size")


def _check_mask_count(tilings: Tilings, cells: Cells, given: int) -> None:
    """Refuse masks whose tiles would take far more memory than the shard has bytes for."""
    file = cells.owner
    down = np.ceil(tilings.heights(file, cells.row) / np.maximum(tilings.mask_tile_height[file], 1))
    across = np.ceil(tilings.widths(file, cells.col) / np.maximum(tilings.mask_tile_width[file], 1))
    least = float(np.where(tilings.mask_tile_width[file] > 0, down * across, 0.0).sum())
    if least > given:
        raise InvalidArgumentError(f"mask tiles: got {given}, expected {least:.0f} or more under the tiles; {REMEDY}")
