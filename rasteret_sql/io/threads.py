"""A small pool of daemon threads for calls that block: file reads and first imports.

The event loop's default executor will not do: its threads are joined before `atexit` handlers run, and
it refuses work from then on, so a read from such a handler would fail, and a read that hangs on a dead
network mount would keep the interpreter from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from rasteret_sql.io import fork

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_imported: set[str] = set()


class ThreadPool:
    """Runs blocking calls for coroutines; threads start when they are first needed and end with `close`."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], Callable[[], None]] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    async def run(self, call: Callable[[], T]) -> T:
        """Await what `call()` returns or raises, run in one of the threads."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def deliver(value: T | None, error: BaseException | None) -> None:
            if result.cancelled():
                return
            if error is not None:
                result.set_exception(error)
            else:
                result.set_result(value)  # type: ignore[arg-type]

        def post(value: T | None, error: BaseException | None) -> None:
            # The loop may have been closed while the call ran; then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(deliver, value, error)

        def job() -> Callable[[], None]:
            try:
                value = call()
            except BaseException as error:  # noqa: BLE001 - delivered to the coroutine that waits
                return partial(post, None, error)
            return partial(post, value, None)

        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._started < self._size:
            self._started += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        return await result

    def close(self) -> None:
        """End the threads once they have done what was asked of them; the next call starts others."""
        for _ in range(self._started):
            self._jobs.put(None)
        self._started = 0
        self._idle = threading.Semaphore(0)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            deliver = job()
            del job
            # Idle before the result is known, so that whoever waits for it finds this thread free for the next call.
            self._idle.release()
            deliver()
            del deliver


async def import_in_thread(*modules: str) -> None:
    """Import large libraries, unless they are there already, while the event loop goes on with other work.

    A coroutine may import nothing else that could be new: see `fork.no_fork`.
    """
    if all(module in _imported for module in modules):
        return

    def load() -> None:
        with fork.no_fork:
            for module in modules:
                import_module(module)
        _imported.update(modules)

    pool = ThreadPool(1, "rasteret-import")
    try:
        await pool.run(load)
    finally:
        pool.close()
