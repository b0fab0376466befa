"""Tiles of a plan straight into arrays: windows of levels, each tile fetched and decoded once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import FetchError, InvalidArgumentError, RasteretError
from rasteret_sql.io import loop
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.dtypes import always_fits, first_misfit
from rasteret_sql.plan.requests import plan_requests
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.read.engine import ReadOptions, run_all
from rasteret_sql.read.tiles import TileReader
from rasteret_sql.tiff.nodata import fill_value, valid_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.requests import Encoded, Piece, Request
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.plan.tiles import WindowPlan

    OnFailure = Callable[[PlannedAsset, RasteretError], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where pixels of one band of one file go.

    Attributes:
        pixels: array (height, width); any strides. Pixels of a file of another dtype are cast to its dtype.
        mask: booleans of the same shape, True means valid; None where nobody wants to know.
        row_off, col_off: pixel of the asset's level that lies at `pixels[0, 0]`; may be negative.
        fill: value for pixels that no tile covers; they are False in the mask.
    """

    pixels: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_] | None
    row_off: int
    col_off: int
    fill: Any


@dataclass(frozen=True, slots=True)
class _Overlap:
    """The part of a tile that lies in a target, in pixels of the tile and of the target."""

    tile: tuple[slice, slice]
    target: tuple[slice, slice]


class MisfitError(InvalidArgumentError):
    """A dtype that the caller wants cannot hold a pixel. Not the file is at fault, so `on_failure` is not told."""


class WindowReader:
    """Reads the tiles of a plan into targets; each tile is fetched and decoded once, however many rows need it.

    Args:
        plan: the tiles.
        targets: where pixels go; what they hold before does not matter.
        target_of: the target of each plan row, as a position in `targets`.
    """

    def __init__(self, plan: TilePlan, targets: Sequence[Target], target_of: npt.NDArray[np.int64]) -> None:
        self._plan = plan
        self._targets = [targets[number] for number in target_of.tolist()]
        self._tiles = TileReader(plan)
        self._failed: set[int] = set()
        self._row_off, self._row_first, self._row_end = _spans(
            plan.tile_row,
            np.array([asset.format.tile_height for asset in plan.assets], np.int64)[plan.asset_no],
            plan.height,
            np.array([target.row_off for target in targets], np.int64)[target_of],
            np.array([target.pixels.shape[0] for target in targets], np.int64)[target_of],
        )
        self._col_off, self._col_first, self._col_end = _spans(
            plan.tile_col,
            np.array([asset.format.tile_width for asset in plan.assets], np.int64)[plan.asset_no],
            plan.width,
            np.array([target.col_off for target in targets], np.int64)[target_of],
            np.array([target.pixels.shape[1] for target in targets], np.int64)[target_of],
        )
        self._fill(targets, target_of)

    def read(self, options: ReadOptions | None = None, on_failure: OnFailure | None = None) -> None:
        """Fetch and decode everything.

        Args:
            options: bounds of the read.
            on_failure: told of each file and error, in any thread, while the pixels that it is about are filled and
                become False in the mask. Without it the first error ends the read.

        Raises:
            InvalidArgumentError: a target cannot hold a pixel.
            RasteretError: a tile could not be fetched or decoded, and there is no `on_failure`.
        """
        requests = plan_requests(self._plan, pixels=True, mask=True)
        for row in np.flatnonzero(self._plan.tile_byte_count == 0).tolist():
            self._fill_sparse(row)
        options = options or ReadOptions()
        if on_failure is None:
            loop.run(run_all(requests, self._handle, options, self._raise_named))
            return

        def failed(pieces: Sequence[Piece], error: RasteretError) -> None:
            for piece in pieces:
                for row in piece.rows:
                    self._fill_failed(row)
            on_failure(self._plan.assets[pieces[0].asset_no], error)

        def handle(piece: Piece, encoded: Encoded) -> None:
            try:
                self._handle(piece, encoded)
            except MisfitError:
                raise
            except RasteretError as error:
                failed([piece], error)

        def failed_request(request: Request, error: RasteretError) -> None:
            if isinstance(error, MisfitError):
                raise error
            failed(request.pieces, error)

        loop.run(run_all(requests, handle, options, failed_request))

    def _raise_named(self, request: Request, error: RasteretError) -> None:
        """Raise an error again; stores know addresses only, so that those of theirs get the item that failed."""
        if not isinstance(error, FetchError):
            raise error
        asset = self._plan.assets[request.pieces[0].asset_no]
        raise type(error)(f'asset "{asset.asset}" of item {asset.item_id}: {error}') from error

    def _handle(self, piece: Piece, encoded: Encoded) -> None:
        if piece.kind == "mask":
            assert piece.mask_tile is not None
            valid = self._tiles.mask_tile(self._plan.assets[piece.asset_no], piece.mask_tile, encoded)
            for row in piece.rows:
                self._place_mask(row, piece, valid)
        elif len(piece.rows) == 1:
            self._place_one(piece.rows[0], encoded)
        else:
            self._place_many(piece.rows, encoded)

    def _place_one(self, row: int, encoded: Encoded) -> None:
        asset = self._plan.assets[self._plan.asset_no[row]]
        overlap = self._overlap(row)
        if overlap is None:
            return
        rows, cols = overlap.tile
        out = self._targets[row].pixels[overlap.target]
        is_whole = rows.start == cols.start == 0 and (asset.format.planar or asset.format.samples_per_pixel == 1)
        if is_whole and out.dtype == asset.dtype:
            self._tiles.image(row, encoded, out[..., np.newaxis], out.shape)
            self._mark_valid(row, overlap, out, out)
            return
        decoded = self._tiles.image(row, encoded, size=(rows.stop, cols.stop))
        self._place(row, overlap, decoded)

    def _place_many(self, rows: Sequence[int], encoded: Encoded) -> None:
        decoded = self._tiles.image(rows[0], encoded)
        for row in rows:
            overlap = self._overlap(row)
            if overlap is not None:
                self._place(row, overlap, decoded)

    def _place(self, row: int, overlap: _Overlap, decoded: npt.NDArray[Any]) -> None:
        asset = self._plan.assets[self._plan.asset_no[row]]
        part = decoded[overlap.tile]
        band = part[..., 0 if part.shape[2] == 1 else int(self._plan.band[row]) - 1]
        alpha = part[..., asset.alpha_band - 1] if asset.alpha_band and not asset.format.planar else band
        self._put(row, overlap, band)
        self._mark_valid(row, overlap, band, alpha)

    def _put(self, row: int, overlap: _Overlap, band: npt.NDArray[Any]) -> None:
        """Copy pixels into their target; a cast to its dtype is checked, but for pixels that are nodata.

        Raises:
            MisfitError: the dtype of the target cannot hold a pixel.
        """
        target = self._targets[row]
        out = target.pixels[overlap.target]
        if always_fits(band.dtype, out.dtype):
            out[...] = band
            return
        is_nodata = self._plan.mask_kind[row] == MaskKind.NODATA
        valid = valid_pixels(band, self._plan.nodata_of(row) if is_nodata else None)
        value = first_misfit(band[valid], out.dtype)
        if value is not None:
            asset = self._plan.assets[self._plan.asset_no[row]]
            where = asset.describe_tile(int(self._plan.tile_row[row]), int(self._plan.tile_col[row]))
            raise MisfitError(
                f"{where}, {redact(asset.address)}: got a pixel of {value.item()!r} ({band.dtype}), which {out.dtype} "
                f'cannot hold, expected pixels that fit dtype="{out.dtype}"; give a wider one'
            )
        out[...] = target.fill
        np.copyto(out, band, where=valid, casting="unsafe")

    def _mark_valid(self, row: int, overlap: _Overlap, band: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> None:
        whole = self._targets[row].mask
        if self._plan.mask_count[row] or whole is None:
            return
        kind = self._plan.mask_kind[row]
        mask = whole[overlap.target]
        if kind == MaskKind.NONE:
            mask[...] = True
        elif kind == MaskKind.NODATA:
            mask[...] = valid_pixels(band, self._plan.nodata_of(row))
        else:
            mask[...] = alpha != 0

    def _place_mask(self, row: int, piece: Piece, valid: npt.NDArray[np.bool_]) -> None:
        overlap = self._overlap(row)
        whole = self._targets[row].mask
        if overlap is None or whole is None or row in self._failed:
            return
        assert piece.mask_tile is not None
        rows, cols = overlap.tile
        mask = whole[overlap.target]
        self._tiles.place_mask(row, piece.mask_tile, valid, mask, rows.start, cols.start)

    def _fill_sparse(self, row: int) -> None:
        overlap = self._overlap(row)
        if overlap is None:
            return
        dtype = np.dtype(self._plan.assets[self._plan.asset_no[row]].dtype)
        shape = self._targets[row].pixels[overlap.target].shape
        pixels = np.broadcast_to(fill_value(dtype, self._plan.nodata_of(row)), shape)
        self._put(row, overlap, pixels)
        if self._plan.mask_kind[row] != MaskKind.ALPHA:
            self._mark_valid(row, overlap, pixels, pixels)

    def _fill_failed(self, row: int) -> None:
        """Fill the pixels of a row whose image or mask tile failed; of one with both, whichever comes last."""
        self._failed.add(row)
        overlap = self._overlap(row)
        if overlap is None:
            return
        target = self._targets[row]
        target.pixels[overlap.target] = target.fill
        if target.mask is not None:
            target.mask[overlap.target] = False

    def _fill(self, targets: Sequence[Target], target_of: npt.NDArray[np.int64]) -> None:
        """Fill the targets that tiles leave gaps in. To touch the others twice would cost as much as to decode them."""
        sizes = np.maximum(self._row_end - self._row_first, 0) * np.maximum(self._col_end - self._col_first, 0)
        covered = np.bincount(target_of, sizes, len(targets))
        # A mask that comes in tiles of its own may have gaps where the image has none.
        own = np.isin(self._plan.mask_kind, (MaskKind.MASK, MaskKind.ALPHA))
        has_gaps = np.bincount(target_of, own, len(targets)) > 0
        for number, target in enumerate(targets):
            if has_gaps[number] or covered[number] < target.pixels.size:
                target.pixels[...] = target.fill
                if target.mask is not None:
                    target.mask[...] = False

    def _overlap(self, row: int) -> _Overlap | None:
        rows = slice(int(self._row_first[row]), int(self._row_end[row]))
        cols = slice(int(self._col_first[row]), int(self._col_end[row]))
        if rows.start >= rows.stop or cols.start >= cols.stop:
            return None
        row_off, col_off = int(self._row_off[row]), int(self._col_off[row])
        return _Overlap(
            (slice(rows.start - row_off, rows.stop - row_off), slice(cols.start - col_off, cols.stop - col_off)),
            (rows, cols),
        )


def read_windows(
    planned: WindowPlan,
    targets: Sequence[Target],
    options: ReadOptions | None = None,
    on_failure: OnFailure | None = None,
) -> None:
    """Read planned windows into arrays, file by file.

    Args:
        planned: the windows.
        targets: the array of each window.
        options: limits of the read.
        on_failure: see `WindowReader.read`.

    Raises:
        RasteretError: a tile could not be fetched or decoded, and there is no `on_failure`.
    """
    plan = planned.tiles
    target_of = np.repeat(np.arange(len(targets)), np.diff(planned.bounds))
    # In file order, so that tiles that lie side by side are requested at the same time.
    order = np.lexsort((plan.tile_offset, plan.asset_no))
    WindowReader(plan.take(order), targets, target_of[order]).read(options, on_failure)


def _spans(
    number: npt.NDArray[np.int32],
    tile_size: npt.NDArray[np.int64],
    visible: npt.NDArray[np.int32],
    target_off: npt.NDArray[np.int64],
    target_size: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give, along one axis, where tiles begin in their targets, and the part of a target that each covers."""
    offset = number * tile_size - target_off
    return offset, np.maximum(offset, 0), np.minimum(offset + visible, target_size)
