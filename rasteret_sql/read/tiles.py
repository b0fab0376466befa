"""Encoded tiles to pixels and masks of plan rows; what goes wrong names the tile, its item and its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import RasteretError, TiffError
from rasteret_sql.io import fork
from rasteret_sql.io.stores import redact
from rasteret_sql.tiff.ghost import check_frame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rasteret_sql.plan.requests import Encoded
    from rasteret_sql.plan.tile_plan import MaskTile, PlannedAsset, TilePlan
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
        encoded: Encoded,
        out: npt.NDArray[Any] | None = None,
        size: tuple[int, int] | None = None,
    ) -> npt.NDArray[Any]:
        """Decode the image tile of a plan row, or its top left part.

        Args:
            row: the plan row.
            encoded: the encoded tile.
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
            check_frame(asset.frames, *encoded)
            return decoder.decode(encoded.data, height, width, out=out, coded_height=coded_height)
        except (TiffError, MemoryError) as error:
            raise _named(error, asset, int(plan.tile_row[row]), int(plan.tile_col[row]), "") from error

    def mask_tile(self, asset: PlannedAsset, tile: MaskTile, encoded: Encoded) -> npt.NDArray[np.bool_]:
        """Decode a mask tile; array (height, width, samples of the mask), True means valid.

        Raises:
            TiffError: the bytes are not such a tile.
        """
        layout = asset.mask_format or asset.format
        height = min(layout.tile_height, asset.height - tile.tile_row * layout.tile_height)
        width = min(layout.tile_width, asset.width - tile.tile_col * layout.tile_width)
        try:
            check_frame(asset.frames, *encoded)
            decoded = self._decoder(layout).decode(encoded.data, height, width)
        except (TiffError, MemoryError) as error:
            raise _named(error, asset, tile.tile_row, tile.tile_col, "mask ") from error
        valid: npt.NDArray[np.bool_] = decoded != 0
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
            valid: its decoded pixels; a mask of many samples has one for each band.
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
            sample = min(int(plan.band[row]), valid.shape[2]) - 1
            out[rows, cols] = valid[
                rows.start - first_row : rows.stop - first_row, cols.start - first_col : cols.stop - first_col, sample
            ]

    def _decoder(self, layout: TileFormat) -> TileDecoder:
        decoder = self._decoders.get(layout)
        if decoder is None:
            # The first decoder of a codec imports it; a fork in the middle of that would lock the import in the child.
            with fork.no_fork:
                from rasteret_sql.tiff.decode import TileDecoder

                decoder = self._decoders.setdefault(layout, TileDecoder(layout))
        return decoder


def _named(
    error: TiffError | MemoryError, asset: PlannedAsset, tile_row: int, tile_col: int, kind: str
) -> RasteretError:
    where = asset.describe_tile(tile_row, tile_col)
    if isinstance(error, MemoryError):
        layout = asset.format
        return RasteretError(
            f"{kind}{where}, {redact(asset.address)}: got no memory to decode it, expected enough for "
            f"{layout.tile_height} x {layout.tile_width} pixels of {layout.samples_per_pixel} samples in each thread; "
            "read a smaller area, or fewer bands at a time"
        )
    return type(error)(f"{kind}{where}, {redact(asset.address)}: {error}")
