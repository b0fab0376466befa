"""A part of a plan that is streamed: its requests, and its batches while their tiles arrive."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import RasteretError, UnsupportedTiffError
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.requests import Reach, pieces_per_row, plan_requests
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.read.tiles import TileReader
from rasteret_sql.tiff.model import MAX_TILE_BYTES
from rasteret_sql.tiff.nodata import fill_value, valid_pixels

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.requests import Encoded, Piece, Request
    from rasteret_sql.plan.tile_plan import TilePlan

#: Decoded bytes in a batch. Large enough that handing it over costs little, small enough to be handed over soon.
BATCH_BYTES: Final = 8_388_608
#: Rows in a batch, of tiles so small that their number counts: as many as DuckDB takes at a time.
BATCH_ROWS: Final = 2_048
#: What a row takes beside its pixels: what is known of it while it is fetched, decoded and handed over.
ROW_BYTES: Final = 4_096


@dataclass(slots=True)
class TileBatch:
    """Decoded tiles of consecutive plan rows, back to back in one buffer.

    Attributes:
        plan: the part of the plan that the rows are of.
        first_row: number of the first row of `plan` among all rows of the read.
        rows: the rows of `plan`, `range(first, end)`.
        pixels: bytes of the tiles, row after row, each (height, width) in C order, little-endian; or None.
        pixel_ends: byte offsets in `pixels` after each row, with a leading 0; int64, shape (rows + 1,).
        mask: one byte per pixel, 1 means valid; or None.
        mask_ends: the same as `pixel_ends` for `mask`; a row where all pixels are valid takes no bytes.
        errors: what went wrong, by row of `plan`.
    """

    plan: TilePlan
    first_row: int
    rows: range
    pixels: npt.NDArray[np.uint8] | None
    pixel_ends: npt.NDArray[np.int64]
    mask: npt.NDArray[np.uint8] | None
    mask_ends: npt.NDArray[np.int64]
    errors: dict[int, RasteretError]

    def pixels_of(self, row: int) -> npt.NDArray[Any]:
        """Give the pixels of a row of `plan`, shape (height, width), of the dtype of its file."""
        assert self.pixels is not None
        dtype = self.plan.assets[self.plan.asset_no[row]].dtype
        pixels: npt.NDArray[Any] = self._part(self.pixels, self.pixel_ends, row).view(dtype)
        return pixels.reshape(self._shape(row))

    def mask_of(self, row: int) -> npt.NDArray[np.bool_] | None:
        """Give the mask of a row of `plan`, shape (height, width), True = valid; None where all pixels are valid."""
        if self.plan.mask_kind[row] == MaskKind.NONE:
            return None
        assert self.mask is not None
        return self._part(self.mask, self.mask_ends, row).view(np.bool_).reshape(self._shape(row))

    def _shape(self, row: int) -> tuple[int, int]:
        return int(self.plan.height[row]), int(self.plan.width[row])

    def _part(self, buffer: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], row: int) -> npt.NDArray[np.uint8]:
        at = row - self.rows.start
        return buffer[ends[at] : ends[at + 1]]


class Slot:
    """A batch under construction: how many of its tiles are still to come.

    Attributes:
        batch: the batch.
        nbytes: what it holds of the budget.
        is_done: set when all of its tiles are there.
    """

    def __init__(self, batch: TileBatch, waiting: int) -> None:
        self.batch = batch
        self.nbytes = 0
        self.is_done = threading.Event()
        self._waiting = waiting
        self._lock = threading.Lock()

    def count_down(self, row: int | None = None, error: RasteretError | None = None) -> None:
        """Note that a tile is there, or what went wrong with it."""
        with self._lock:
            if row is not None and error is not None:
                self.batch.errors.setdefault(row, error)
            self._waiting -= 1
            if self._waiting == 0:
                self.is_done.set()


class StreamPart:
    """Some consecutive rows of a read, cut into batches.

    Args:
        plan: the rows.
        first_row: number of the first of them among all rows of the read.
        pixels: whether pixels are wanted.
        mask: whether masks are wanted.
        max_reach_bytes: decoded bytes between the first and the last row that one request may serve.

    Attributes:
        requests: what is fetched, by number of the batch that waits for it first.
        batch_bytes: memory of each batch.

    Raises:
        UnsupportedTiffError: a tile is too large for a batch.
    """

    def __init__(self, plan: TilePlan, first_row: int, *, pixels: bool, mask: bool, max_reach_bytes: int) -> None:
        self._plan, self._first_row = plan, first_row
        self._wants_pixels, self._wants_mask = pixels, mask
        self._tiles = TileReader(plan)
        self._dtypes = [np.dtype(asset.format.dtype) for asset in plan.assets]
        self._slots: dict[int, Slot] = {}
        self._lock = threading.Lock()
        self._layout()
        held = self._row_bytes + ROW_BYTES
        starts = np.cumsum(held) - held
        self.requests: dict[int, list[Request]] = {}
        for request in plan_requests(plan, pixels=pixels, mask=mask, reach=Reach(starts, max_reach_bytes)):
            self.requests.setdefault(int(self._batch_of[request.first_row]), []).append(request)
        self.batch_bytes: list[int] = np.add.reduceat(held, self._bounds[:-1]).tolist() if len(plan) else []

    def slot(self, number: int) -> Slot:
        """Give a batch under construction; made with the first tile that arrives for it."""
        with self._lock:
            slot = self._slots.get(number)
            if slot is None:
                slot = self._slots[number] = self._new_slot(number)
            return slot

    def take(self, number: int) -> Slot:
        """Give a batch that is complete, and keep it no longer."""
        with self._lock:
            return self._slots.pop(number)

    def handle(self, piece: Piece, encoded: Encoded) -> None:
        """Decode a tile into its batches."""
        error: RasteretError | None = None
        try:
            if piece.kind == "image":
                self._place_image(piece, encoded)
            else:
                self._place_mask(piece, encoded)
        except RasteretError as raised:
            error = raised
        self.finish(piece, error)

    def finish(self, piece: Piece, error: RasteretError | None) -> None:
        """Note that a tile is done with, or what went wrong with it."""
        for row in piece.rows:
            self._slot_of(row).count_down(row, error)

    def _layout(self) -> None:
        """Cut the plan into batches and find the bytes of each row."""
        plan = self._plan
        sizes = plan.width.astype(np.int64) * plan.height
        itemsize = np.array([dtype.itemsize for dtype in self._dtypes], np.int64)
        self._pixel_bytes = sizes * itemsize[plan.asset_no] if self._wants_pixels else np.zeros(len(plan), np.int64)
        has_mask = plan.mask_kind != MaskKind.NONE
        self._mask_bytes = sizes * has_mask if self._wants_mask else np.zeros(len(plan), np.int64)
        self._row_bytes = self._pixel_bytes + self._mask_bytes
        too_large = np.flatnonzero(self._pixel_bytes > MAX_TILE_BYTES)
        if len(too_large):
            raise self._too_large(int(too_large[0]))
        bounds = self._bounds = self._cut(itemsize[plan.asset_no])
        self._batch_of = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds)) if len(plan) else np.empty(0, np.int64)
        parts = pieces_per_row(plan, pixels=self._wants_pixels, mask=self._wants_mask)
        self._waiting = np.bincount(self._batch_of, parts, len(bounds) - 1).astype(np.int64)

    def _too_large(self, row: int) -> UnsupportedTiffError:
        plan = self._plan
        asset = plan.assets[plan.asset_no[row]]
        return UnsupportedTiffError(
            f"{asset.describe_tile(int(plan.tile_row[row]), int(plan.tile_col[row]))}, {redact(asset.address)}: got "
            f"{plan.height[row]} rows and {plan.width[row]} columns, expected at most {MAX_TILE_BYTES} bytes. Rewrite "
            "the file with tiles, for example with gdal_translate -of COG, or read windows of it with to_numpy."
        )

    def _cut(self, itemsize: npt.NDArray[np.int64]) -> list[int]:
        """Give the first row of each batch, and the number of rows; tiles in a batch begin at whole items."""
        ends = np.cumsum(self._row_bytes)
        starts = np.cumsum(self._pixel_bytes) - self._pixel_bytes
        bounds = [0]
        while bounds[-1] < len(ends):
            first = bounds[-1]
            begun = ends[first - 1] if first else 0
            fitting = int(np.searchsorted(ends, begun + BATCH_BYTES, "right"))
            end = max(min(fitting, first + BATCH_ROWS), first + 1)
            unaligned = np.flatnonzero((starts[first:end] - starts[first]) % itemsize[first:end])
            bounds.append(first + int(unaligned[0]) if len(unaligned) else end)
        return bounds

    def _new_slot(self, number: int) -> Slot:
        rows = range(self._bounds[number], self._bounds[number + 1])
        pixel_ends = np.concatenate(([0], np.cumsum(self._pixel_bytes[rows.start : rows.stop])))
        mask_ends = np.concatenate(([0], np.cumsum(self._mask_bytes[rows.start : rows.stop])))
        batch = TileBatch(
            self._plan,
            self._first_row,
            rows,
            np.empty(pixel_ends[-1], np.uint8) if self._wants_pixels else None,
            pixel_ends,
            np.zeros(mask_ends[-1], np.uint8) if self._wants_mask else None,
            mask_ends,
            {},
        )
        for row in rows:
            if not self._plan.tile_byte_count[row]:
                self._fill_sparse(batch, row)
        # One more than its tiles: the launch counts too, so that no batch is given away before it holds its budget.
        return Slot(batch, int(self._waiting[number]) + 1)

    def _slot_of(self, row: int) -> Slot:
        return self.slot(int(self._batch_of[row]))

    def _place_image(self, piece: Piece, encoded: Encoded) -> None:
        plan = self._plan
        asset = plan.assets[piece.asset_no]
        single = asset.format.planar or asset.format.samples_per_pixel == 1
        if single and self._wants_pixels:
            for row in piece.rows:
                pixels = self._pixels(row)
                self._tiles.image(row, encoded, out=pixels[..., np.newaxis])
                self._mark_valid(row, pixels, pixels)
            return
        decoded = self._tiles.image(piece.rows[0], encoded)
        alpha = decoded[..., asset.alpha_band - 1] if asset.alpha_band and not asset.format.planar else None
        for row in piece.rows:
            band = decoded[..., 0 if single else int(plan.band[row]) - 1]
            if self._wants_pixels:
                self._pixels(row)[...] = band
            self._mark_valid(row, band, band if alpha is None else alpha)

    def _mark_valid(self, row: int, band: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> None:
        """Fill the mask of a row whose own tile says which of its pixels are valid."""
        kind = self._plan.mask_kind[row]
        if not self._wants_mask or kind == MaskKind.NONE or self._plan.mask_count[row]:
            return
        valid = valid_pixels(band, self._plan.nodata_of(row)) if kind == MaskKind.NODATA else alpha != 0
        self._mask(row)[...] = valid

    def _place_mask(self, piece: Piece, encoded: Encoded) -> None:
        assert piece.mask_tile is not None
        asset = self._plan.assets[piece.asset_no]
        valid = self._tiles.mask_tile(asset, piece.mask_tile, encoded)
        for row in piece.rows:
            self._tiles.place_mask(row, piece.mask_tile, valid, self._mask(row))

    def _fill_sparse(self, batch: TileBatch, row: int) -> None:
        dtype = self._dtypes[self._plan.asset_no[row]]
        pixel = np.array(fill_value(dtype, self._plan.nodata_of(row)), dtype)
        if batch.pixels is not None:
            batch.pixels_of(row)[...] = pixel
        if batch.mask is not None and self._plan.mask_kind[row] == MaskKind.NODATA:
            mask = batch.mask_of(row)
            assert mask is not None
            mask[...] = valid_pixels(pixel, self._plan.nodata_of(row))

    def _pixels(self, row: int) -> npt.NDArray[Any]:
        return self._slot_of(row).batch.pixels_of(row)

    def _mask(self, row: int) -> npt.NDArray[np.bool_]:
        mask = self._slot_of(row).batch.mask_of(row)
        assert mask is not None
        return mask
