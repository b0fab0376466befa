"""Chips, fixed-size windows of many items, read in one go: each tile is fetched and decoded once for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.stores import redact
from rasteret_sql.read.windows import Target, WindowReader
from rasteret_sql.tiff.nodata import fill_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import PlannedBand, TilePlan
    from rasteret_sql.read.engine import ReadOptions


class ChipLayout:
    """Which tiles the chips of some items take.

    Args:
        plan: all tiles of the levels that are read.
        item_ids: the item of each chip, shape (chip,).
        row_off, col_off: upper left pixel of each chip in its level, shape (chip,); may be outside the image.
        size: (height, width) of all chips.

    Attributes:
        bands: what is known of each band, in the order in which they were asked for.
        dtype: of all bands.
        shape: (chip, band, y, x).

    Raises:
        InvalidArgumentError: an item or one of its bands is not in the plan, or is there twice, or dtypes differ.
    """

    def __init__(
        self,
        plan: TilePlan,
        item_ids: Sequence[str],
        row_off: npt.NDArray[np.int64],
        col_off: npt.NDArray[np.int64],
        size: tuple[int, int],
    ) -> None:
        self._plan = plan
        self._row_off, self._col_off, self._size = row_off, col_off, size
        self.bands = _bands(plan)
        self.dtype = _dtype(plan)
        self.shape = (len(item_ids), len(self.bands), *size)
        self._chips = _chips_by_item(item_ids)
        self._files = self._find_files()

    def read(self, data: npt.NDArray[Any], mask: npt.NDArray[np.bool_], options: ReadOptions | None = None) -> None:
        """Read the chips into arrays of shape (chip, band, y, x).

        Pixels outside the image get nodata, or 0 for a band without, and are False in the mask.

        Raises:
            RasteretError: bytes could not be fetched or decoded.
        """
        fills = [fill_value(self.dtype, band.nodata) for band in self.bands]
        rows: list[npt.NDArray[np.int64]] = []
        targets: list[Target] = []
        for (asset_no, band_no), tile_rows in self._rows_by_file().items():
            asset = self._plan.assets[asset_no]
            place = self._files[asset_no, band_no]
            for chip in self._chips[asset.item_id]:
                row_off, col_off = int(self._row_off[chip]), int(self._col_off[chip])
                rows.append(
                    self._touched(tile_rows, row_off, col_off, asset.format.tile_height, asset.format.tile_width)
                )
                targets.append(Target(data[chip, place], mask[chip, place], row_off, col_off, fills[place]))
        taken = np.concatenate(rows)
        target_of = np.repeat(np.arange(len(rows)), [len(found) for found in rows])
        # In file order, so that tiles that lie side by side are asked for at the same time.
        order = np.lexsort((self._plan.tile_offset[taken], self._plan.asset_no[taken]))
        WindowReader(self._plan.take(taken[order]), targets, target_of[order]).read(options)

    def _touched(
        self, grid: npt.NDArray[np.int64], row_off: int, col_off: int, tile_height: int, tile_width: int
    ) -> npt.NDArray[np.int64]:
        height, width = self._size
        rows = slice(max(row_off // tile_height, 0), max(-(-(row_off + height) // tile_height), 0))
        cols = slice(max(col_off // tile_width, 0), max(-(-(col_off + width) // tile_width), 0))
        return grid[rows, cols].ravel()

    def _rows_by_file(self) -> dict[tuple[int, int], npt.NDArray[np.int64]]:
        """Give the plan rows of each asset number and band number as a grid of tiles."""
        plan = self._plan
        order = np.lexsort((plan.tile_col, plan.tile_row, plan.band, plan.asset_no))
        keys = np.stack([plan.asset_no[order], plan.band[order]])
        starts = np.flatnonzero(np.concatenate(([True], (keys[:, 1:] != keys[:, :-1]).any(axis=0))))
        grids = {}
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            rows = order[start:end]
            across = int(plan.tile_col[rows].max()) + 1
            grids[int(keys[0, start]), int(keys[1, start])] = rows.reshape(-1, across)
        return grids

    def _find_files(self) -> dict[tuple[int, int], int]:
        """Give the place of each asset number and band number among the bands."""
        places = {band.name: number for number, band in enumerate(self.bands)}
        files: dict[tuple[int, int], int] = {}
        owners: dict[tuple[str, int], tuple[str, int]] = {}
        for number, asset in enumerate(self._plan.assets):
            self._chips.setdefault(asset.item_id, [])
            for band in asset.bands:
                place = places[band.name]
                here = redact(asset.href), band.band
                other = owners.setdefault((asset.item_id, place), here)
                if other != here:
                    raise InvalidArgumentError(
                        f'band "{band.name}" of item {asset.item_id}: got two, {other} and {here}, '
                        "expected one; tell them apart in the query, for example by their collection"
                    )
                files[number, band.band] = place
        for item_id, chips in self._chips.items():
            missing = [band.name for number, band in enumerate(self.bands) if (item_id, number) not in owners]
            if chips and missing:
                raise InvalidArgumentError(
                    f"chips: item {item_id!r} has no band {', '.join(missing)} in the index, expected all of "
                    f"{', '.join(band.name for band in self.bands)}; leave its chips out, or ask for other bands"
                )
        return files


def _bands(plan: TilePlan) -> list[PlannedBand]:
    found = sorted(
        ((band.position, asset.asset, band.band, band) for asset in plan.assets for band in asset.bands),
        key=lambda each: each[:3],
    )
    return list({band.name: band for *_, band in reversed(found)}.values())[::-1]


def _dtype(plan: TilePlan) -> np.dtype[Any]:
    dtypes = {asset.format.dtype: asset for asset in plan.assets}
    if len(dtypes) > 1:
        described = " and ".join(f'asset "{asset.asset}" is {dtype}' for dtype, asset in dtypes.items())
        raise InvalidArgumentError(f"bands: {described}, expected one dtype; choose such bands")
    return np.dtype(next(iter(dtypes)))


def _chips_by_item(item_ids: Sequence[str]) -> dict[str, list[int]]:
    chips: dict[str, list[int]] = {}
    for number, item_id in enumerate(item_ids):
        chips.setdefault(item_id, []).append(number)
    return chips
