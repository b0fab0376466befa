"""What must happen to process-wide state when the process forks.

A forked child has the parent's objects but none of its threads, and shares its sockets and its epoll
instance. So in the child nothing of the parent's may be used, and nothing may even be finalised: closing an
inherited connection unregisters it from the epoll instance that the parent is still waiting on.
"""

from __future__ import annotations

# These two lock something before a fork and unlock it afterwards. Were they imported while a fork waits for
# `no_fork`, the second would happen without the first.
import concurrent.futures.thread  # noqa: F401
import logging  # noqa: F401
import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Held while a thread does something that a fork must not cut in two, first of all an import: its lock would
#: stay locked in the child for ever. Forking waits for it. So every import that a thread of ours may be the
#: first to make stands inside it.
no_fork = threading.RLock()

_resets: list[Callable[[], None]] = []
_pinned: weakref.WeakSet[object] = weakref.WeakSet()


def on_fork(reset: Callable[[], None]) -> None:
    """Call `reset` in every forked child, before anything else runs there."""
    _resets.append(reset)


def pin_in_child(inherited: object) -> None:
    """Keep an object of this process from ever being finalised in a forked child."""
    _pinned.add(inherited)


def _after_fork_in_child() -> None:
    no_fork.release()
    inherited = list(_pinned)
    if inherited:
        # A reference that nobody holds is the one thing that interpreter shutdown does not undo.
        import ctypes

        for each in inherited:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))
    _pinned.clear()
    for reset in _resets:
        reset()


os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=_after_fork_in_child)
