"""Tiles of a plan in its order, in batches, while later ones are still being fetched; memory stays bounded."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rasteret_sql.errors import RasteretError, UnsupportedTiffError
from rasteret_sql.io import interrupts, loop
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.requests import pieces_per_row, plan_requests
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.read import progress
from rasteret_sql.read.engine import ByteBudget, Engine, ReadOptions, import_decoders
from rasteret_sql.read.tiles import TileReader
from rasteret_sql.tiff.model import MAX_TILE_BYTES
from rasteret_sql.tiff.nodata import fill_value, valid_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    import numpy.typing as npt

    from rasteret_sql.plan.requests import Encoded, Piece, Request
    from rasteret_sql.plan.tile_plan import TilePlan

#: Decoded bytes in a batch. Large enough that handing it over costs little, small enough to be handed over soon.
BATCH_BYTES = 8_388_608

OnError = Literal["raise", "null"]


@dataclass(slots=True)
class TileBatch:
    """Decoded tiles of consecutive plan rows, back to back in one buffer.

    Attributes:
        rows: the plan rows, `range(first, end)`.
        pixels: bytes of the tiles, row after row, each (height, width) in C order, little-endian; or None.
        pixel_ends: byte offsets in `pixels` after each row, with a leading 0; int64, shape (rows + 1,).
        mask: one byte per pixel, 1 means valid; or None.
        mask_ends: the same as `pixel_ends` for `mask`; a row where all pixels are valid takes no bytes.
        errors: what went wrong, by plan row.
    """

    rows: range
    pixels: npt.NDArray[np.uint8] | None
    pixel_ends: npt.NDArray[np.int64]
    mask: npt.NDArray[np.uint8] | None
    mask_ends: npt.NDArray[np.int64]
    errors: dict[int, RasteretError]


class _Slot:
    """A batch under construction: how many of its tiles are still to come."""

    def __init__(self, batch: TileBatch, waiting: int, nbytes: int) -> None:
        self.batch = batch
        self.waiting = waiting
        self.nbytes = nbytes
        self.is_done = threading.Event()


class TileStream:
    """Reads the tiles of a plan.

    Args:
        plan: the tiles.
        pixels: whether pixels are wanted.
        mask: whether masks are wanted.
        on_error: "raise" ends the stream at the first row that fails; "null" leaves such rows empty and says why.
        options: bounds of the read.
    """

    def __init__(
        self,
        plan: TilePlan,
        *,
        pixels: bool = True,
        mask: bool = True,
        on_error: OnError = "raise",
        options: ReadOptions | None = None,
    ) -> None:
        self._plan = plan
        self._wants_pixels = pixels
        self._wants_mask = mask
        self._on_error = on_error
        self._options = options or ReadOptions()
        self._tiles = TileReader(plan)
        self._dtypes = [np.dtype(asset.format.dtype) for asset in plan.assets]
        self._requests = plan_requests(plan, pixels=pixels, mask=mask)
        self._layout()
        self._lock = threading.Lock()
        self._slots: dict[int, _Slot] = {}
        self._made = threading.Condition(self._lock)
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[TileBatch]:
        """Give the batches in order.

        Raises:
            RasteretError: a tile could not be fetched or decoded, and `on_error` is "raise".
        """
        budget = ByteBudget(self._options.max_buffer_bytes)
        run: Future[None] | None = None
        try:
            for number in range(len(self._bounds) - 1):
                with interrupts.waiting() as wait:
                    if run is None:
                        run = loop.submit(self._launch(budget))
                        run.add_done_callback(self._launched)
                    wait.ends_by(run.cancel)
                    slot = self._await_slot(number)
                if slot.batch.errors and self._on_error == "raise":
                    raise slot.batch.errors[min(slot.batch.errors)]
                with self._lock:
                    del self._slots[number]
                yield slot.batch
                nbytes = slot.nbytes
                del slot
                loop.submit(_release(budget, nbytes))
        finally:
            if run is not None:
                run.cancel()

    def _layout(self) -> None:
        """Cut the plan into batches and find the bytes of each row."""
        plan = self._plan
        sizes = plan.width.astype(np.int64) * plan.height
        itemsize = np.array([dtype.itemsize for dtype in self._dtypes], np.int64)
        self._pixel_bytes = sizes * itemsize[plan.asset_no] if self._wants_pixels else np.zeros(len(plan), np.int64)
        has_mask = plan.mask_kind != MaskKind.NONE
        self._mask_bytes = sizes * has_mask if self._wants_mask else np.zeros(len(plan), np.int64)
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
        ends = np.cumsum(self._pixel_bytes + self._mask_bytes)
        starts = np.cumsum(self._pixel_bytes) - self._pixel_bytes
        bounds = [0]
        while bounds[-1] < len(ends):
            first = bounds[-1]
            begun = ends[first - 1] if first else 0
            end = max(int(np.searchsorted(ends, begun + BATCH_BYTES, "right")), first + 1)
            unaligned = np.flatnonzero((starts[first:end] - starts[first]) % itemsize[first:end])
            bounds.append(first + int(unaligned[0]) if len(unaligned) else end)
        return bounds

    async def _launch(self, budget: ByteBudget) -> None:
        engine = Engine(self._handle, self._options)
        progress.planned(self._requests)
        by_batch: dict[int, list[Request]] = {}
        for request in self._requests:
            by_batch.setdefault(int(self._batch_of[request.first_row]), []).append(request)
        async with asyncio.TaskGroup() as tasks:
            if self._requests:
                tasks.create_task(import_decoders())
            for number in range(len(self._bounds) - 1):
                first, end = self._bounds[number], self._bounds[number + 1]
                requests = by_batch.get(number, [])
                nbytes = int((self._pixel_bytes[first:end] + self._mask_bytes[first:end]).sum())
                nbytes += sum(request.nbytes for request in requests)
                await budget.acquire(nbytes)
                slot = self._slot(number)
                slot.nbytes = nbytes
                for request in requests:
                    tasks.create_task(self._run(engine, request))
                self._count_down(slot)

    def _launched(self, run: Future[None]) -> None:
        # Cancelled by loop.interrupt(); or by the end of the iteration, after which nobody waits.
        error = loop.interrupted() if run.cancelled() else run.exception()
        if error is not None:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            with self._made:
                self._failure = error
                self._made.notify_all()
                for slot in self._slots.values():
                    slot.is_done.set()

    def _await_slot(self, number: int) -> _Slot:
        with self._made:
            while number not in self._slots and self._failure is None:
                self._made.wait()
            slot = self._slots.get(number)
            # A launch that was cancelled may still have made slots after those that then were told to be done.
            is_awaited = slot is not None and self._failure is None
        if slot is not None and is_awaited:
            slot.is_done.wait()
        if self._failure is not None:
            raise self._failure
        assert slot is not None
        return slot

    def _slot(self, number: int) -> _Slot:
        with self._made:
            slot = self._slots.get(number)
            if slot is None:
                slot = self._slots[number] = self._new_slot(number)
                self._made.notify_all()
            return slot

    def _new_slot(self, number: int) -> _Slot:
        rows = range(self._bounds[number], self._bounds[number + 1])
        pixel_ends = np.concatenate(([0], np.cumsum(self._pixel_bytes[rows.start : rows.stop])))
        mask_ends = np.concatenate(([0], np.cumsum(self._mask_bytes[rows.start : rows.stop])))
        batch = TileBatch(
            rows,
            np.empty(pixel_ends[-1], np.uint8) if self._wants_pixels else None,
            pixel_ends,
            np.zeros(mask_ends[-1], np.uint8) if self._wants_mask else None,
            mask_ends,
            {},
        )
        # One more than its tiles: the launch counts too, so that no batch is given away before it holds its budget.
        slot = _Slot(batch, int(self._waiting[number]) + 1, 0)
        for row in rows:
            if not self._plan.tile_byte_count[row]:
                self._fill_sparse(batch, row)
        return slot

    async def _run(self, engine: Engine, request: Request) -> None:
        try:
            await engine.run(request)
        except RasteretError as error:
            # Bytes could not be fetched, so none of its tiles has been handed on.
            for piece in request.pieces:
                self._finish(piece, error)

    def _handle(self, piece: Piece, encoded: Encoded) -> None:
        error: RasteretError | None = None
        try:
            if piece.kind == "image":
                self._place_image(piece, encoded)
            else:
                self._place_mask(piece, encoded)
        except RasteretError as raised:
            error = raised
        self._finish(piece, error)

    def _finish(self, piece: Piece, error: RasteretError | None) -> None:
        for row in piece.rows:
            slot = self._slot(int(self._batch_of[row]))
            with self._lock:
                if error is not None:
                    slot.batch.errors.setdefault(row, error)
            self._count_down(slot)

    def _count_down(self, slot: _Slot) -> None:
        with self._lock:
            slot.waiting -= 1
            if slot.waiting == 0:
                slot.is_done.set()

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
        value = fill_value(dtype, self._plan.nodata_of(row))
        pixels = np.full(self._shape(row), value, dtype)
        if batch.pixels is not None:
            self._part(batch.pixels, batch.pixel_ends, batch, row).view(dtype)[...] = pixels.ravel()
        if batch.mask is not None and self._plan.mask_kind[row] == MaskKind.NODATA:
            mask = self._part(batch.mask, batch.mask_ends, batch, row).view(bool).reshape(self._shape(row))
            mask[...] = valid_pixels(pixels, self._plan.nodata_of(row))

    def _shape(self, row: int) -> tuple[int, int]:
        return int(self._plan.height[row]), int(self._plan.width[row])

    def _pixels(self, row: int) -> npt.NDArray[Any]:
        batch = self._slot(int(self._batch_of[row])).batch
        assert batch.pixels is not None
        part = self._part(batch.pixels, batch.pixel_ends, batch, row)
        pixels: npt.NDArray[Any] = part.view(self._dtypes[self._plan.asset_no[row]])
        return pixels.reshape(self._shape(row))

    def _mask(self, row: int) -> npt.NDArray[np.bool_]:
        batch = self._slot(int(self._batch_of[row])).batch
        assert batch.mask is not None
        return self._part(batch.mask, batch.mask_ends, batch, row).view(bool).reshape(self._shape(row))

    @staticmethod
    def _part(
        buffer: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], batch: TileBatch, row: int
    ) -> npt.NDArray[np.uint8]:
        at = row - batch.rows.start
        return buffer[ends[at] : ends[at + 1]]


async def _release(budget: ByteBudget, nbytes: int) -> None:
    budget.release(nbytes)
