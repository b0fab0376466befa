"""Tiles of a plan in its order, in batches, while later ones are still being fetched; memory stays bounded.

A plan may be longer than memory: it comes in parts, and each is planned when its turn to be fetched comes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from rasteret_sql.errors import RasteretError
from rasteret_sql.io import interrupts, loop
from rasteret_sql.plan.tile_plan import TilePlan
from rasteret_sql.read import progress
from rasteret_sql.read.engine import ByteBudget, Engine, ReadOptions, import_decoders, in_decode_thread
from rasteret_sql.read.stream_part import StreamPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from rasteret_sql.plan.requests import Request
    from rasteret_sql.read.stream_part import Slot, TileBatch

#: Rows that are planned, and made requests of, at a time: few, so that the first tile of a long plan comes soon.
PART_ROWS: Final = 16_384

OnError = Literal["raise", "null"]


class TileStream:
    """Reads the tiles of a plan.

    Args:
        plan: the tiles, or parts of them in order.
        pixels: whether pixels are wanted.
        mask: whether masks are wanted.
        on_error: "raise" ends the stream at the first row that fails; "null" leaves such rows empty and says why.
        options: bounds of the read.
    """

    def __init__(
        self,
        plan: TilePlan | Iterable[TilePlan],
        *,
        pixels: bool = True,
        mask: bool = True,
        on_error: OnError = "raise",
        options: ReadOptions | None = None,
    ) -> None:
        self._parts = iter(plan.parts(PART_ROWS) if isinstance(plan, TilePlan) else plan)
        self._wants_pixels = pixels
        self._wants_mask = mask
        self._on_error = on_error
        self._options = options or ReadOptions()
        self._first_row = 0
        #: Batches whose requests are sent, in order: their part, and their number in it.
        self._launched: deque[tuple[StreamPart, int]] = deque()
        self._changed = threading.Condition()
        self._is_ended = False
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[TileBatch]:
        """Give the batches in order.

        Raises:
            RasteretError: a tile could not be fetched or decoded, and `on_error` is "raise".
        """
        budget = ByteBudget(self._options.max_buffer_bytes)
        run: Future[None] | None = None
        try:
            while True:
                with interrupts.waiting() as wait:
                    if run is None:
                        run = loop.submit(self._launch(budget))
                        run.add_done_callback(self._ended)
                    wait.ends_by(run.cancel)
                    slot = self._await_next()
                if slot is None:
                    return
                if slot.batch.errors and self._on_error == "raise":
                    raise slot.batch.errors[min(slot.batch.errors)]
                nbytes = slot.nbytes
                yield slot.batch
                del slot
                loop.submit(_release(budget, nbytes))
        finally:
            if run is not None:
                run.cancel()

    async def _launch(self, budget: ByteBudget) -> None:
        """Send the requests of all batches; ends when they are consumed, or when nobody wants them any more."""
        engine = Engine(self._options)
        try:
            async with asyncio.TaskGroup() as tasks:
                while (part := await in_decode_thread(self._next_part)) is not None:
                    await self._launch_part(part, engine, budget, tasks)
            await budget.drained()
        finally:
            budget.close()

    async def _launch_part(
        self, part: StreamPart, engine: Engine, budget: ByteBudget, tasks: asyncio.TaskGroup
    ) -> None:
        planned = [request for some in part.requests.values() for request in some]
        if planned:
            progress.planned(planned)
            tasks.create_task(import_decoders())
        del planned
        for number, nbytes in enumerate(part.batch_bytes):
            requests = part.requests.pop(number, [])
            held = nbytes + sum(request.nbytes for request in requests)
            await budget.acquire(held)
            slot = part.slot(number)
            slot.nbytes = held
            for request in requests:
                tasks.create_task(_run(engine, part, request))
            with self._changed:
                self._launched.append((part, number))
                self._changed.notify_all()
            slot.count_down()

    def _next_part(self) -> StreamPart | None:
        """Plan the next rows; it takes time, so it runs in a thread."""
        plan = next(self._parts, None)
        if plan is None:
            return None
        first_row = self._first_row
        self._first_row += len(plan)
        return StreamPart(
            plan,
            first_row,
            pixels=self._wants_pixels,
            mask=self._wants_mask,
            max_reach_bytes=max(self._options.max_buffer_bytes // 4, 1),
        )

    def _ended(self, run: Future[None]) -> None:
        # Cancelled by loop.interrupt(); or by the end of the iteration, after which nobody waits.
        error = loop.interrupted() if run.cancelled() else run.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        with self._changed:
            self._is_ended, self._failure = True, error
            self._changed.notify_all()
            if error is not None:
                for part, number in self._launched:
                    part.slot(number).is_done.set()

    def _await_next(self) -> Slot | None:
        """Wait for the next batch; None after the last one."""
        with self._changed:
            while not self._launched and not self._is_ended:
                self._changed.wait()
            self._raise_failure()
            if not self._launched:
                return None
            part, number = self._launched[0]
        # A launch that was cancelled may append more batches, which nobody tells to be done; this one was there before.
        part.slot(number).is_done.wait()
        with self._changed:
            self._raise_failure()
            self._launched.popleft()
        return part.take(number)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


async def _run(engine: Engine, part: StreamPart, request: Request) -> None:
    try:
        await engine.run(request, part.handle)
    except RasteretError as error:
        # Bytes could not be fetched, so none of its tiles has been handed on.
        for piece in request.pieces:
            part.finish(piece, error)


async def _release(budget: ByteBudget, nbytes: int) -> None:
    budget.release(nbytes)
