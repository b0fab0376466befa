"""The one background event loop of the process, and the bridge to it from synchronous code.

It runs in a daemon thread that starts with the first use. So `run` works where the caller's own thread
already runs a loop (notebooks), from any number of threads, and in a forked child, which gets a loop of its
own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from rasteret_sql.errors import RasteretError
from rasteret_sql.io import foreign_threads, fork, interrupts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")

#: How long the end of the interpreter waits for connections to close.
SHUTDOWN_TIMEOUT_S = 2.0


class _LoopThread:
    """An event loop that runs for ever in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        fork.pin_in_child(self.loop)
        self._thread = threading.Thread(target=self._run, name="rasteret-io", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    @property
    def is_current_thread(self) -> bool:
        return threading.get_ident() == self._thread.ident

    def stop(self, callbacks: list[Callable[[], Awaitable[None]]]) -> None:
        """Cancel what runs, await the callbacks, and end the thread; give up where it hangs."""
        end = asyncio.run_coroutine_threadsafe(self._finish(callbacks), self.loop)
        with contextlib.suppress(Exception):
            end.result(SHUTDOWN_TIMEOUT_S)
        if not end.done():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(SHUTDOWN_TIMEOUT_S)
        if not self._thread.is_alive():
            self.loop.close()

    async def _finish(self, callbacks: list[Callable[[], Awaitable[None]]]) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for callback in callbacks:
            with contextlib.suppress(Exception):
                await callback()
        await self.loop.shutdown_asyncgens()


_lock = fork.Lock()
_current: _LoopThread | None = None
_at_shutdown: list[Callable[[], Awaitable[None]]] = []
_running: set[Future[Any]] = set()
_is_refusing = False
_running_lock = fork.Lock()


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine on the background loop.

    Returns:
        Its future. Cancelling it cancels the coroutine.

    Raises:
        RasteretError: Ctrl-C has ended the process, which waits for its threads.
    """
    thread = _loop_thread()
    with _running_lock:
        if _is_refusing:
            coroutine.close()
            raise interrupted()
        # It may run at once, and whoever sees that it does may interrupt it.
        future = asyncio.run_coroutine_threadsafe(coroutine, thread.loop)
        _running.add(future)
    future.add_done_callback(_running.discard)
    return future


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for what it returns.

    Any thread may call it, also one that runs an event loop of its own, which then stands still until the
    result is there. Ctrl-C cancels the coroutine, whichever thread waits.

    Raises:
        RasteretError: the caller runs on the background loop itself and would wait for ever; `await` there. Or
            `interrupt` was called meanwhile.
    """
    if _current is not None and _current.is_current_thread:
        coroutine.close()
        name = getattr(coroutine, "__qualname__", "coroutine")
        raise RasteretError(
            f"{name}: run() was called on the event loop of rasteret_sql, "
            f"where waiting for it would never end; await the coroutine instead."
        )
    with interrupts.waiting() as wait:
        future = submit(coroutine)
        try:
            wait.ends_by(future.cancel)
            return future.result()
        except CancelledError:
            raise interrupted() from None
        except BaseException:
            future.cancel()
            raise
        finally:
            # The traceback of an error refers to this frame; without this, a cycle keeps the arrays it holds
            # alive.
            del future


def interrupt() -> None:
    """Stop all reads of this process: reads that a call waits for, and reads ahead of a query.

    Any thread may call it. Each call that waits raises a RasteretError, or DuckDB's error with its message. Reads that
    begin later are not stopped. `con.interrupt()` stops a query of DuckDB between two batches, but not the read that
    the query waits for.

    Example:
        >>> import rasteret_sql as rs
        >>> rs.interrupt()
    """
    with _running_lock:
        futures = tuple(_running)
    for future in futures:
        future.cancel()


def interrupted() -> RasteretError:
    """Make the error for what waits for something that was cancelled."""
    return RasteretError("the read was interrupted before it ended")


def at_shutdown(callback: Callable[[], Awaitable[None]]) -> None:
    """Await `callback()` on the loop when the interpreter ends, before the loop is closed."""
    if callback not in _at_shutdown:
        _at_shutdown.append(callback)


def shutdown() -> None:
    """Cancel all that runs on the background loop and end its thread; the next use starts another one."""
    global _current
    with _lock:
        ended, _current = _current, None
    if ended is not None:
        ended.stop(list(_at_shutdown))


def _loop_thread() -> _LoopThread:
    global _current  # noqa: PLW0603 - the one loop of the process
    current = _current
    if current is None:
        interrupts.watch()
        with fork.no_fork, _lock:
            current = _current
            if current is None:
                current = _current = _LoopThread()
    return current


def _reset_in_child() -> None:
    global _current  # noqa: PLW0603 - the one loop of the process
    _current = None
    _running.clear()


def _before_threads_are_joined() -> None:
    """Let threads that wait for bytes, or are about to, end where Ctrl-C ends the process."""
    global _is_refusing  # noqa: PLW0603 - it says something of the process
    foreign_threads.note_threads_of_executors()
    if not interrupts.has_ended_process():
        return
    with _running_lock:
        _is_refusing = True
    interrupt()


def _end() -> None:
    global _is_refusing  # noqa: PLW0603 - it says something of the process
    # Handlers of others, which run after this one, may read.
    _is_refusing = False
    shutdown()
    foreign_threads.wait_until_out()


fork.on_fork(_reset_in_child)
atexit.register(_end)
# Threads of `concurrent.futures` are joined long before handlers of `atexit` run; they hear of the end in this way.
# It is an error once the process ends, and no thread is left to be told.
with contextlib.suppress(RuntimeError):
    threading._register_atexit(_before_threads_are_joined)  # type: ignore[attr-defined]  # noqa: SLF001
