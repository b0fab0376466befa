"""Chips, fixed-size windows of many items, read in one go: each tile is fetched and decoded once for all of them."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.cube import bands_of, check_no_second
from rasteret_sql.plan.tiles import Windows
from rasteret_sql.read.windows import Target, read_windows
from rasteret_sql.tiff.nodata import fill_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import PlannedAsset
    from rasteret_sql.plan.tiles import WindowPlan
    from rasteret_sql.read.engine import ReadOptions


class ChipLayout:
    """The windows of files that the chips of some items take.

    Args:
        assets: the files, each at the level that is read.
        item_ids: the item of each chip, shape (chip,).
        offsets: (row_off, col_off) of each chip, the upper left pixel in its level, shape (chip, 2); may be outside
            the image.
        size: (height, width) of all chips.

    Attributes:
        bands: the bands, in the order in which they were requested.
        dtype: of all bands.
        shape: (chip, band, y, x).
        windows: one window per chip and band.
        chips: the chip of each window.

    Raises:
        InvalidArgumentError: an item or one of its bands is not in the files, or is there twice, or dtypes differ.
    """

    def __init__(
        self,
        assets: Sequence[PlannedAsset],
        item_ids: Sequence[str],
        offsets: npt.NDArray[np.int64],
        size: tuple[int, int],
    ) -> None:
        self.bands = bands_of(assets)
        self.dtype = _dtype(assets)
        self.shape = (len(item_ids), len(self.bands), *size)
        chips = _chips_by_item(item_ids)
        self._check_bands(assets, chips)
        positions = {band.name: number for number, band in enumerate(self.bands)}
        taken = [
            (chip, asset_no, band)
            for asset_no, asset in enumerate(assets)
            for band in asset.bands
            for chip in chips.get(asset.item_id, ())
        ]
        #: Chip, and position of the band, of each window.
        self._slots = [(chip, positions[band.name]) for chip, _, band in taken]
        self.chips = np.array([chip for chip, *_ in taken], np.int64)
        self._corners = np.array(
            [offsets[chip] - (assets[asset_no].first_row, assets[asset_no].first_col) for chip, asset_no, _ in taken],
            np.int64,
        ).reshape(-1, 2)
        _check_given(assets, taken, offsets, self._corners)
        self.windows = Windows.of(
            assets,
            np.array([asset_no for _, asset_no, _ in taken], np.int64),
            [band for *_, band in taken],
            np.concatenate([self._corners, self._corners + size], axis=1),
        )

    def read(
        self,
        planned: WindowPlan,
        data: npt.NDArray[Any],
        mask: npt.NDArray[np.bool_],
        options: ReadOptions | None = None,
    ) -> None:
        """Read the chips into arrays of shape (chip, band, y, x).

        Pixels outside the image get nodata, or 0 for a band without, and are False in the mask.

        Args:
            planned: the plan of `windows`.
            data: of `dtype`.
            mask: True means valid.
            options: limits of the read.

        Raises:
            RasteretError: bytes could not be fetched or decoded.
        """
        fills = [fill_value(self.dtype, band.nodata) for band in self.bands]
        targets = [
            Target(data[chip, position], mask[chip, position], row_off, col_off, fills[position])
            for (chip, position), (row_off, col_off) in zip(self._slots, self._corners.tolist(), strict=True)
        ]
        read_windows(planned, targets, options)

    def _check_bands(self, assets: Sequence[PlannedAsset], chips: dict[str, list[int]]) -> None:
        """Refuse bands that an item has twice, and items of chips that lack one."""
        check_no_second(assets, attrgetter("item_id"), "collection")
        known = {(asset.item_id, band.name) for asset in assets for band in asset.bands}
        for item_id in chips:
            missing = [band.name for band in self.bands if (item_id, band.name) not in known]
            if missing:
                raise InvalidArgumentError(
                    f"chips: item {item_id!r} has no band {', '.join(missing)} in the index, expected all of "
                    f"{', '.join(band.name for band in self.bands)}; leave its chips out, or ask for other bands"
                )


def _check_given(
    assets: Sequence[PlannedAsset],
    taken: Sequence[tuple[int, int, Any]],
    offsets: npt.NDArray[np.int64],
    corners: npt.NDArray[np.int64],
) -> None:
    """Refuse chips that begin before the first of the given tiles: what the file has there is not known.

    Raises:
        InvalidArgumentError: there is one.
    """
    for (chip, asset_no, _), corner in zip(taken, corners.tolist(), strict=True):
        asset = assets[asset_no]
        if (asset.first_row and corner[0] < 0) or (asset.first_col and corner[1] < 0):
            raise InvalidArgumentError(
                f"chips: number {chip} begins at pixel {tuple(offsets[chip].tolist())} of item {asset.item_id}, and "
                f"the tiles of its band {asset.bands[0].name} begin at {(asset.first_row, asset.first_col)}; expected "
                "tiles that hold all chips: widen the query that gives them, or pass the index"
            )


def _dtype(assets: Sequence[PlannedAsset]) -> np.dtype[Any]:
    dtypes = {asset.dtype: asset for asset in assets}
    if len(dtypes) > 1:
        described = " and ".join(f'asset "{asset.asset}" is {dtype}' for dtype, asset in dtypes.items())
        raise InvalidArgumentError(f"bands: {described}, expected one dtype; choose such bands")
    return np.dtype(next(iter(dtypes)))


def _chips_by_item(item_ids: Sequence[str]) -> dict[str, list[int]]:
    chips: dict[str, list[int]] = {}
    for number, item_id in enumerate(item_ids):
        chips.setdefault(item_id, []).append(number)
    return chips
