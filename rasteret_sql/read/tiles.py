"""Encoded tiles to pixels and masks of plan rows; what goes wrong names the tile, its item and its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import TiffError
from rasteret_sql.io import fork
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.read.plan import MaskTile, PlannedAsset, TilePlan
    from rasteret_sql.tiff.decode import TileDecoder
    from rasteret_sql.tiff.model import TileFormat


class TileReader:
    """Decodes the tiles of a plan; threads may share one."""

    def __init__(self, plan: TilePlan) -> None:
        self._plan = plan
        self._decoders: dict[TileFormat, TileDecoder] = {}

    def image(
        self,
        row: int,
        data: memoryview,
        out: npt.NDArray[Any] | None = None,
        size: tuple[int, int] | None = None,
    ) -> npt.NDArray[Any]:
        """Decode the image tile of a plan row, or its top left part.

        Args:
            row: the plan row.
            data: the encoded tile.
            out: where the pixels go, shape (height, width, samples), or None.
            size: (height, width) that is wanted, or None for all of the tile that lies in the image.

        Returns:
            Array (height, width, samples) in native byte order; samples is 1 for planar files.

        Raises:
            TiffError: the bytes are not such a tile.
        """
        plan = self._plan
        asset = plan.assets[plan.asset_no[row]]
        whole = int(plan.height[row]), int(plan.width[row])
        height, width = size or whole
        try:
            decoder = self._decoder(asset.format)
            coded_height = None if asset.format.tiled else whole[0]
            return decoder.decode(data, height, width, out=out, coded_height=coded_height)
        except TiffError as error:
            raise _named(error, asset, int(plan.tile_row[row]), int(plan.tile_col[row]), "") from error

    def mask_tile(self, asset: PlannedAsset, tile: MaskTile, data: memoryview) -> npt.NDArray[np.bool_]:
        """Decode a mask tile; array (height, width), True means valid.

        Raises:
            TiffError: the bytes are not such a tile.
        """
        layout = asset.mask_format or asset.format
        height = min(layout.tile_height, asset.height - tile.tile_row * layout.tile_height)
        width = min(layout.tile_width, asset.width - tile.tile_col * layout.tile_width)
        try:
            decoded = self._decoder(layout).decode(data, height, width)
        except TiffError as error:
            raise _named(error, asset, tile.tile_row, tile.tile_col, "mask ") from error
        valid: npt.NDArray[np.bool_] = decoded[..., 0] != 0
        return valid

    def place_mask(
        self,
        row: int,
        tile: MaskTile,
        valid: npt.NDArray[np.bool_],
        out: npt.NDArray[np.bool_],
        row_off: int = 0,
        col_off: int = 0,
    ) -> None:
        """Copy what a mask tile says of a part of the image tile of a plan row; nothing else of `out` is touched.

        Args:
            row: the plan row.
            tile: which mask tile.
            valid: its decoded pixels.
            out: the mask of a part of the image tile.
            row_off, col_off: pixel of the image tile that lies at `out[0, 0]`.
        """
        plan = self._plan
        asset = plan.assets[plan.asset_no[row]]
        layout = asset.mask_format or asset.format
        first_row = tile.tile_row * layout.tile_height - int(plan.tile_row[row]) * asset.format.tile_height - row_off
        first_col = tile.tile_col * layout.tile_width - int(plan.tile_col[row]) * asset.format.tile_width - col_off
        rows = slice(max(first_row, 0), max(min(first_row + valid.shape[0], out.shape[0]), 0))
        cols = slice(max(first_col, 0), max(min(first_col + valid.shape[1], out.shape[1]), 0))
        if rows.start < rows.stop and cols.start < cols.stop:
            out[rows, cols] = valid[
                rows.start - first_row : rows.stop - first_row, cols.start - first_col : cols.stop - first_col
            ]

    def _decoder(self, layout: TileFormat) -> TileDecoder:
        decoder = self._decoders.get(layout)
        if decoder is None:
            # The first decoder of a codec imports it; a fork in the middle of that would lock the import in the child.
            with fork.no_fork:
                from rasteret_sql.tiff.decode import TileDecoder

                decoder = self._decoders.setdefault(layout, TileDecoder(layout))
        return decoder


def valid_pixels(pixels: npt.NDArray[Any], nodata: float) -> npt.NDArray[np.bool_]:
    """Say which pixels are not nodata; True means valid.

    As in GDAL, NaN marks NaN, a value beyond the range of an integer dtype marks nothing, and a fraction is cut off.
    """
    if pixels.dtype.kind in "fc" and np.isnan(nodata):
        valid: npt.NDArray[np.bool_] = ~np.isnan(pixels)
        return valid
    value = _as_stored(pixels.dtype, nodata)
    return np.ones(pixels.shape, bool) if value is None else pixels != value


def fill_value(dtype: np.dtype[Any], nodata: float | None) -> Any:
    """The value for pixels that are nowhere: nodata where the dtype can hold it, else 0."""
    value = None if nodata is None else _as_stored(dtype, nodata)
    return dtype.type(0) if value is None else value


def _as_stored(dtype: np.dtype[Any], nodata: float) -> Any:
    """Give nodata as a value of the dtype, or None where it has none such."""
    if dtype.kind in "fc":
        with np.errstate(over="ignore"):
            return dtype.type(nodata)
    limits = np.iinfo(dtype)
    if not np.isfinite(nodata) or not limits.min <= nodata <= limits.max:
        return None
    return dtype.type(int(nodata))


def _named(error: TiffError, asset: PlannedAsset, tile_row: int, tile_col: int, kind: str) -> TiffError:
    where = asset.describe_tile(tile_row, tile_col)
    return type(error)(f"{kind}{where}, {redact(asset.address)}: {error}")
