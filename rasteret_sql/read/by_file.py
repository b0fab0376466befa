"""Decoded tiles, file by file: what everything is computed with that joins rows of a vector table to pixels.

Samples of points, statistics of zones and pixels as rows share this. Tiles are planned once for all rows, fetched and
decoded once in the order of their bytes, and handed on one after the other. Memory is a few batches of tiles.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.io.asked import redact
from rasteret_sql.plan.scaling import scaling_of, to_physical
from rasteret_sql.read.stream import TileStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.cube import CubeBand
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.stream import OnError


#: Integers up to here are exact as float64, and so are sums up to here, in any order.
EXACT_DOUBLE: Final = 1 << 53
#: Integers that may be larger.
_LONG_DTYPES: Final = frozenset({"int64", "uint64"})


class DecodedTile(NamedTuple):
    """One band of a tile.

    Attributes:
        row: its row of the plan.
        pixels: array (height, width) of the dtype of the file.
        valid: booleans of the same shape; None where all pixels are valid.
        error: why there are no pixels, or None.
        file: the file that the pixels are of, or that could not be read; of a formula, a file that has its grid.
    """

    row: int
    pixels: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_] | None
    error: RasteretError | None
    file: PlannedAsset

    def numbers(self) -> npt.NDArray[Any]:
        """Give the valid pixels that are numbers, in one row."""
        values = self.pixels.reshape(-1) if self.valid is None else self.pixels[self.valid]
        return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def file_order(plan: TilePlan) -> npt.NDArray[np.int64]:
    """Give the order of the tiles of a plan in which each file is read once, from its begin to its end."""
    return np.lexsort((plan.band, plan.tile_col, plan.tile_row, plan.tile_offset, plan.asset_no))


def in_file_order(plan: TilePlan) -> TilePlan:
    """Give a plan with its rows by file and byte offset; bands that share a tile lie side by side."""
    return plan.take(file_order(plan))


class FileTiles:
    """Decoded tiles of a plan, in its order.

    Args:
        plan: the tiles; those of a file, or of a group of files, side by side.
        group_of: a number for each file of the plan; None where each is a group of its own.

    Attributes:
        plan: the tiles.
    """

    def __init__(self, plan: TilePlan, group_of: Sequence[int] | None = None) -> None:
        self.plan = plan
        self._group_of = range(len(plan.assets)) if group_of is None else group_of

    @property
    def fetched(self) -> TilePlan:
        """The tiles that are fetched."""
        return self.plan

    def side_by_side(self) -> FileTiles:
        """Give the tiles with the bands of each tile of an item side by side."""
        item_of = items_of(self.plan.assets)
        plan = self.plan
        bands, place = plan.bands_of_rows()
        position = np.array([band.position for band in bands], np.int64)
        order = np.lexsort((position[place], plan.tile_col, plan.tile_row, item_of[plan.asset_no]))
        return FileTiles(plan.take(order))

    def tiles(self, *, on_error: OnError = "raise", options: ReadOptions | None = None) -> Iterator[DecodedTile]:
        """Read the plan, and give its tiles in order.

        Args:
            on_error: "raise", or "null" to hand on tiles that could not be read with their error.
            options: limits of the read.

        Raises:
            RasteretError: a tile could not be fetched or decoded, and `on_error` is "raise".
        """
        return decoded_tiles(self.plan, on_error=on_error, options=options)

    def by_group(
        self, *, on_error: OnError = "raise", options: ReadOptions | None = None
    ) -> Iterator[tuple[list[int], Iterator[DecodedTile]]]:
        """Read the plan, and give the numbers of the files of each group with its tiles, also of those without any.

        The arguments are those of `tiles`.

        Raises:
            RasteretError: a tile could not be fetched or decoded, and `on_error` is "raise".
        """
        members: dict[int, list[int]] = {}
        for number, group in enumerate(self._group_of):
            members.setdefault(group, []).append(number)
        group_of = np.array(self._group_of, np.int64)[self.plan.asset_no]
        has_tiles = set(np.unique(group_of).tolist())
        tiles = groupby(self.tiles(on_error=on_error, options=options), lambda tile: int(group_of[tile.row]))
        for group, numbers in members.items():
            yield numbers, next(tiles)[1] if group in has_tiles else iter(())


def items_of(assets: Sequence[PlannedAsset]) -> npt.NDArray[np.int64]:
    """Give the number of the item of each file."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(asset.item, len(numbers)) for asset in assets], np.int64)


def decoded_tiles(
    plan: TilePlan, *, on_error: OnError = "raise", options: ReadOptions | None = None
) -> Iterator[DecodedTile]:
    """Read a plan, and give its tiles in order; the arguments are those of `FileTiles.tiles`.

    Raises:
        RasteretError: a tile could not be fetched or decoded, and `on_error` is "raise".
    """
    for batch in TileStream(plan, on_error=on_error, options=options):
        for row in batch.rows:
            file = batch.plan.assets[batch.plan.asset_no[row]]
            pixels, valid = batch.pixels_of(row), batch.mask_of(row)
            yield DecodedTile(batch.first_row + row, pixels, valid, batch.errors.get(row), file)


def refuse_complex(assets: Sequence[PlannedAsset]) -> None:
    """Refuse files whose pixels are no real numbers.

    Raises:
        InvalidArgumentError: there is one.
    """
    for asset in assets:
        if np.dtype(asset.dtype).kind == "c":
            raise InvalidArgumentError(
                f'bands: asset "{asset.asset}" of item {asset.item_id} is {asset.dtype}, expected real numbers: a '
                "DOUBLE would lose the imaginary part. Read complex pixels as arrays, with rasteret_sql.to_numpy"
            )


def require_exact(pixels: npt.NDArray[Any], asset: PlannedAsset, tile: tuple[int, int] | None) -> None:
    """Refuse integers that float64 would round.

    Args:
        pixels: of the file.
        asset: the file.
        tile: row and column of the tile that they are of; None for several tiles.

    Raises:
        RasteretError: there is one.
    """
    if pixels.dtype.name not in _LONG_DTYPES:
        return
    is_long = pixels > EXACT_DOUBLE
    if pixels.dtype.kind == "i":
        is_long |= pixels < -EXACT_DOUBLE
    if is_long.any():
        where = f'asset "{asset.asset}" of item {asset.item_id}' if tile is None else asset.describe_tile(*tile)
        raise RasteretError(
            f"{where}, {redact(asset.address)}: got the integer {pixels[is_long][0]}, expected at most "
            f"{EXACT_DOUBLE} in magnitude, for a DOUBLE would round it. Read such pixels with read_tiles or to_numpy"
        )


def physical(values: npt.NDArray[Any], band: PlannedBand | CubeBand) -> npt.NDArray[np.float64]:
    """Give stored values times the scale of a band plus its offset; without either, as they are."""
    return to_physical(values, scaling_of(band), np.dtype(np.float64))
