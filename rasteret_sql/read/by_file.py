"""Decoded tiles, file by file: what everything is computed with that joins rows of a vector table to pixels.

Samples of points, statistics of zones and pixels as rows share this. Tiles are planned once for all rows, fetched and
decoded once in the order of their bytes, and handed on one after the other. Memory is a few batches of tiles.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.read.stream import TileStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.cube import CubeBand
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.stream import OnError


#: Integers up to here are exact as float64.
_EXACT: Final = 1 << 53


class DecodedTile(NamedTuple):
    """One band of a tile.

    Attributes:
        row: its row of the plan.
        pixels: array (height, width) of the dtype of the file.
        valid: booleans of the same shape; None where all pixels are valid.
        error: why there are no pixels, or None.
    """

    row: int
    pixels: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_] | None
    error: RasteretError | None


def in_file_order(plan: TilePlan) -> TilePlan:
    """Give a plan with its rows by file and byte offset; bands that share a tile lie side by side."""
    return plan.take(np.lexsort((plan.band, plan.tile_col, plan.tile_row, plan.tile_offset, plan.asset_no)))


def tiles_by_file(
    plan: TilePlan, *, on_error: OnError = "raise", options: ReadOptions | None = None
) -> Iterator[tuple[int, Iterator[DecodedTile]]]:
    """Read a plan, and give the number of each file with its tiles.

    Args:
        plan: the tiles, in the order of their files.
        on_error: "raise", or "null" to hand on tiles that could not be read with their error.
        options: limits of the read.

    Raises:
        RasteretError: a tile could not be fetched or decoded, and `on_error` is "raise".
    """
    tiles = decoded_tiles(plan, on_error=on_error, options=options)
    return groupby(tiles, lambda tile: int(plan.asset_no[tile.row]))


def decoded_tiles(
    plan: TilePlan, *, on_error: OnError = "raise", options: ReadOptions | None = None
) -> Iterator[DecodedTile]:
    """Read a plan, and give its tiles in order; the arguments are those of `tiles_by_file`.

    Raises:
        RasteretError: a tile could not be fetched or decoded, and `on_error` is "raise".
    """
    for batch in TileStream(plan, on_error=on_error, options=options):
        assert batch.pixels is not None
        assert batch.mask is not None
        for number, row in enumerate(batch.rows):
            shape = int(plan.height[row]), int(plan.width[row])
            pixels = batch.pixels[batch.pixel_ends[number] : batch.pixel_ends[number + 1]]
            valid = None
            if plan.mask_kind[row] != MaskKind.NONE:
                mask = batch.mask[batch.mask_ends[number] : batch.mask_ends[number + 1]]
                valid = mask.view(np.bool_).reshape(shape)
            dtype = plan.assets[plan.asset_no[row]].dtype
            yield DecodedTile(row, pixels.view(dtype).reshape(shape), valid, batch.errors.get(row))


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


def require_exact(pixels: npt.NDArray[Any], asset: PlannedAsset) -> None:
    """Refuse integers that float64 would round.

    Raises:
        RasteretError: there is one.
    """
    if pixels.dtype.name not in {"int64", "uint64"}:
        return
    is_long = pixels > _EXACT
    if pixels.dtype.kind == "i":
        is_long |= pixels < -_EXACT
    if is_long.any():
        raise RasteretError(
            f'asset "{asset.asset}" of item {asset.item_id}: got the integer {pixels[is_long][0]}, expected at most '
            f"{_EXACT}, for a DOUBLE would round it; read such pixels with read_tiles or to_numpy"
        )


def physical(values: npt.NDArray[Any], band: PlannedBand | CubeBand) -> npt.NDArray[np.float64]:
    """Give stored values times the scale of a band plus its offset; without either, as they are."""
    scale, offset = (1.0 if band.scale is None else band.scale), (0.0 if band.offset is None else band.offset)
    return values.astype(np.float64) * scale + offset
