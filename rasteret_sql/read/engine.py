"""Fetch requests on the event loop and decode their tiles in threads, bounded by bytes in flight."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from rasteret_sql.errors import FetchError, RangeError, RasteretError
from rasteret_sql.io import fork, machine
from rasteret_sql.io.asked import Asked
from rasteret_sql.io.stores import store_for
from rasteret_sql.io.threads import ThreadPool, import_in_thread
from rasteret_sql.plan.requests import Encoded
from rasteret_sql.read import progress
from rasteret_sql.wording import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rasteret_sql.io.store import RangeResponse, RangeStore
    from rasteret_sql.plan.requests import Piece, Request

T = TypeVar("T")

#: What decoders import: taken care of before the first of them is made.
DECODERS = ("imagecodecs", "rasteret_sql.tiff.decode")
#: A thread decodes at least so many encoded bytes at a time; shorter jobs cost more to hand over than to do.
MIN_JOB_BYTES = 262_144
#: Jobs of one request that wait for a thread, or run in it. More would only hold memory.
_JOBS_PER_THREAD: Final = 4
#: All reads of the process together hold as many bytes as so many reads. Each read may hold a batch beyond that.
_READS_AT_FULL: Final = 2


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Bounds of a read; those of the process by default, when the read begins.

    Attributes:
        max_requests: requests in flight at a time.
        max_buffer_bytes: bytes of fetched and of decoded tiles that wait for the next step.
    """

    max_requests: int = field(default_factory=machine.max_requests)
    max_buffer_bytes: int = field(default_factory=machine.max_buffer_bytes)


class _ProcessBudget:
    """The bytes that all reads of the process hold, and the reads that wait for some."""

    def __init__(self) -> None:
        self.used_bytes = 0
        self.waiting: dict[int, ByteBudget] = {}

    def wake(self) -> None:
        """Let reads begin what fits now, those first that wait longest."""
        for budget in tuple(self.waiting.values()):
            budget.wake()


class ByteBudget:
    """Lets work of one read begin in order while its bytes, and those of all reads of the process, stay within limits.

    A read that holds nothing begins whatever is next. So a part that is larger than a limit is read alone, and a read
    whose consumer stands still does not hold up the others. All methods run on the event loop.

    Args:
        limit_bytes: of the read.
        process_limit_bytes: of all reads; twice that of a read by default.
    """

    def __init__(self, limit_bytes: int, process_limit_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.process_limit_bytes = _READS_AT_FULL * limit_bytes if process_limit_bytes is None else process_limit_bytes
        self.used_bytes = 0
        self._process = _process_budget.get()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, nbytes: int) -> None:
        """Wait until `nbytes` more fit."""
        if not self._waiting and self._fits(nbytes):
            self._take(nbytes)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((nbytes, turn))
        self._process.waiting[id(self)] = self
        await turn

    def release(self, nbytes: int) -> None:
        """Give `nbytes` back."""
        self._take(-nbytes)
        self._process.wake()

    async def drained(self) -> None:
        """Wait until the read holds nothing."""
        everything = self.limit_bytes + 1
        await self.acquire(everything)
        self.release(everything)

    def close(self) -> None:
        """Give back all that the read holds: it has ended, and nobody waits."""
        self._process.waiting.pop(id(self), None)
        self._waiting.clear()
        self.release(self.used_bytes)

    def wake(self) -> None:
        """Begin what waits and fits."""
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif self._fits(wanted):
                self._waiting.popleft()
                self._take(wanted)
                turn.set_result(None)
            else:
                return
        self._process.waiting.pop(id(self), None)

    def _take(self, nbytes: int) -> None:
        self.used_bytes += nbytes
        self._process.used_bytes += nbytes

    def _fits(self, nbytes: int) -> bool:
        return self.used_bytes == 0 or (
            self.used_bytes + nbytes <= self.limit_bytes
            and self._process.used_bytes + nbytes <= self.process_limit_bytes
        )


_process_budget = fork.PerProcess(_ProcessBudget)


class Engine:
    """Fetches requests and hands each of their tiles, still encoded, to a function that runs in a thread.

    Args:
        options: bounds of the read.
        store_of: gives the store of an address.
    """

    def __init__(self, options: ReadOptions, store_of: Callable[[str], RangeStore] = store_for) -> None:
        self._store_of = store_of
        self._slots = asyncio.Semaphore(options.max_requests)

    async def run(self, request: Request, handle: Callable[[Piece, Encoded], None]) -> None:
        """Fetch a request and decode its tiles.

        Args:
            request: what is fetched.
            handle: called in a thread with each tile and its bytes.

        Raises:
            RasteretError: the bytes could not be fetched, or a tile could not be decoded.
        """
        async with self._slots:
            response = await _fetched(self._store_of(request.address), request)
        got = len(response.data)
        if got < request.nbytes:
            raise RangeError(
                f"{Asked(request.address, request.start, request.end)}: got {got} bytes, for the file ends at "
                f"byte {request.start + got}; expected {request.nbytes}. The file is truncated: replace it and "
                f"build its index row again."
            )
        progress.arrived(request)
        data = memoryview(response.data)

        async def decode(pieces: Sequence[Piece]) -> None:
            def work() -> None:
                for piece in pieces:
                    handle(piece, Encoded(data, piece.offset - request.start, piece.nbytes))

            await in_decode_thread(work)

        # Values of pieces are made for the jobs that run: a request may have a million of them.
        running: set[asyncio.Task[None]] = set()
        try:
            for job in _jobs(request):
                if len(running) >= _JOBS_PER_THREAD * machine.decode_threads():
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for each in done:
                        each.result()
                running.add(asyncio.create_task(decode(job)))
            await asyncio.gather(*running)
        finally:
            # What they write to must not be given back while they write.
            await asyncio.gather(*running, return_exceptions=True)


async def in_decode_thread(work: Callable[[], T]) -> T:
    """Await what `work()` returns or raises, run in one of the threads that decode."""
    size, pools = machine.decode_threads(), _pools.get()
    if size not in pools:
        pools[size] = ThreadPool(size, "rasteret-decode")
    return await pools[size].run(work)


async def _fetched(store: RangeStore, request: Request) -> RangeResponse:
    """Fetch a request; what fails below a store, and is no error of ours yet, becomes one here.

    Raises:
        RasteretError: the bytes could not be fetched.
    """
    try:
        return await store.fetch(request.address, request.start, request.end, identity=request.identity)
    except RasteretError:
        raise
    except MemoryError as error:
        asked = Asked(request.address, request.start, request.end)
        raise FetchError(
            f"{asked}: got no memory for {size(request.nbytes)}, expected enough for the requests in flight; read a "
            "smaller area, or fewer bands at a time"
        ) from error
    except Exception as error:
        asked = Asked(request.address, request.start, request.end)
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise FetchError(f"{asked}: got {reason}, expected {size(request.nbytes)}; try again") from error


async def run_all(
    requests: Sequence[Request],
    handle: Callable[[Piece, Encoded], None],
    options: ReadOptions,
    on_failure: Callable[[Request, RasteretError], None] | None = None,
    store_of: Callable[[str], RangeStore] = store_for,
) -> None:
    """Fetch and decode all requests, in any order.

    Args:
        requests: what is fetched.
        handle: called in a thread with each tile and its bytes.
        options: bounds of the read.
        on_failure: told of each request that failed. Without it the first error cancels the rest.
        store_of: gives the store of an address; one that takes times, for example.

    Raises:
        RasteretError: some bytes could not be fetched, or some tile could not be decoded.
    """
    engine = Engine(options, store_of)
    budget = ByteBudget(options.max_buffer_bytes)

    async def one(request: Request) -> None:
        try:
            await engine.run(request, handle)
        except RasteretError as error:
            if on_failure is None:
                raise
            on_failure(request, error)
        finally:
            budget.release(request.nbytes)

    progress.planned(requests)
    decoders = asyncio.create_task(import_decoders())
    tasks: set[asyncio.Task[None]] = set()
    failed: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            failed.append(error)

    try:
        for request in requests:
            await budget.acquire(request.nbytes)
            if failed:
                break
            task = asyncio.create_task(one(request))
            tasks.add(task)
            task.add_done_callback(ended)
        while tasks and not failed:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            await asyncio.sleep(0)
    finally:
        left = list(tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(decoders, *left, return_exceptions=True)
        budget.close()
    if failed:
        raise failed[0]


async def import_decoders() -> None:
    """Import what decodes tiles, in a thread, while the first bytes are on their way."""
    await import_in_thread(*DECODERS)


def _jobs(request: Request) -> Iterator[list[Piece]]:
    """Cut the pieces of a request into jobs of a thread."""
    job: list[Piece] = []
    size = 0
    for piece in request.pieces:
        if size >= MIN_JOB_BYTES:
            yield job
            job, size = [], 0
        job.append(piece)
        size += piece.nbytes
    yield job


#: By their number of threads, since the option may change. The event loop alone looks at them.
_pools: fork.PerProcess[dict[int, ThreadPool]] = fork.PerProcess(dict)
