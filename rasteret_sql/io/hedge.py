"""A second request where the first one takes longer than nearly all others did: whichever answers first is taken."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

#: Requests whose times are kept; before so many, nothing is known of the others.
_KEPT: Final = 200
_ENOUGH: Final = 20
_SLOWEST: Final = 0.95


class Hedge:
    """Sends requests of one store, and the slowest of them twice.

    Args:
        clock: monotonic seconds; replaced in tests.
        sleep: waits; replaced in tests.
    """

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]) -> None:
        self._clock, self._sleep = clock, sleep
        self._taken_s: deque[float] = deque(maxlen=_KEPT)

    @property
    def after_s(self) -> float | None:
        """Seconds after which a request is sent again: 95 of 100 were done by then. None before it is known."""
        if len(self._taken_s) < _ENOUGH:
            return None
        return sorted(self._taken_s)[int(_SLOWEST * len(self._taken_s))]

    async def run(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Give what the first attempt to succeed gives, or the error of the last one."""
        began_s, after_s = self._clock(), self.after_s
        tasks = [asyncio.create_task(attempt())]
        timer = None if after_s is None else asyncio.ensure_future(self._sleep(after_s))
        try:
            if timer is not None:
                await asyncio.wait({*tasks, timer}, return_when=asyncio.FIRST_COMPLETED)
                if not any(task.done() for task in tasks):
                    tasks.append(asyncio.create_task(attempt()))
            waiting = set(tasks)
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                # In the order in which they began, since sets have none.
                ended = [task for task in tasks if task in done]
                good = [task for task in ended if not task.cancelled() and task.exception() is None]
                if good or not waiting:
                    found = (good or ended[-1:])[0].result()
                    self._taken_s.append(self._clock() - began_s)
                    return found
        finally:
            left = [task for task in (*tasks, *filter(None, [timer])) if not task.done()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
