"""What must happen to process-wide state when the process forks.

A forked child has the parent's objects but none of its threads, and shares its sockets and its epoll
instance. So in the child nothing of the parent's may be used, and nothing may even be finalised: closing an
inherited connection unregisters it from the epoll instance that the parent is still waiting on.

A lock of a module is a `Lock`, and a loop, pool or connection of a module is a `PerProcess`: both are new in the child.
A fork waits for imports of other threads, and for what holds `no_fork`.
"""

from __future__ import annotations

import _imp
import _thread

# These two lock something before a fork and unlock it afterwards. Were they imported while a fork waits for
# `no_fork`, the second would happen without the first.
import concurrent.futures.thread  # noqa: F401
import importlib
import logging  # noqa: F401
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Held while a thread does something that a fork must not cut in two, such as opening a database: a lock of DuckDB
#: would stay locked in the child for ever. Forking waits for it.
no_fork = threading.RLock()
#: Seconds that a fork waits for imports of other threads; an import that takes longer may hang in the child.
IMPORT_WAIT_S = 60.0
_POLL_S = 0.001

_resets: list[Callable[[], None]] = []
_renewed: weakref.WeakSet[Lock | PerProcess[Any]] = weakref.WeakSet()
_pinned: weakref.WeakSet[object] = weakref.WeakSet()


class Lock(_thread.RLock):  # type: ignore[misc] # final for type checkers only
    """A reentrant lock of this process; a forked child has it free, whoever held it in the parent.

    Its methods are written in C, so Ctrl-C cannot come between taking the lock and the block that releases it.
    """

    def __init__(self) -> None:
        super().__init__()
        _renewed.add(self)

    def renew(self) -> None:
        """Be free in a forked child, unless the thread that forked holds it and will release it."""
        # Methods that `threading` itself uses; no public ones do this.
        if not self._is_owned():  # type: ignore[attr-defined]
            self._at_fork_reinit()  # type: ignore[attr-defined]


class PerProcess(Generic[T]):
    """A loop, pool or connection that each process makes for itself, with its first use.

    Args:
        make: makes it, while no other thread does and no fork happens.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        _renewed.add(self)

    def get(self) -> T:
        """Give it."""
        if not self._made:
            with no_fork:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]

    def renew(self) -> None:
        """Leave it to the parent: a forked child makes its own."""
        self._made = []


def on_fork(reset: Callable[[], None]) -> None:
    """Call `reset` in every forked child, before anything else runs there."""
    _resets.append(reset)


def pin_in_child(inherited: object) -> None:
    """Keep an object of this process from ever being finalised in a forked child."""
    _pinned.add(inherited)


def _before_fork() -> None:
    """Wait until no other thread holds `no_fork` or imports: a lock of an import would stay locked in the child."""
    end_s = time.monotonic() + IMPORT_WAIT_S
    while True:
        no_fork.acquire()
        # Nobody begins an import while this is held.
        _imp.acquire_lock()
        if not _is_importing() or time.monotonic() > end_s:
            return
        _imp.release_lock()
        # An import may need it in order to end.
        no_fork.release()
        time.sleep(_POLL_S)


def _is_importing() -> bool:
    """Whether another thread is in the middle of an import; False in an interpreter that does not tell."""
    # Private names of CPython 3.11 to 3.13; nothing public tells of imports that go on.
    references = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    locks = [reference() for reference in tuple(references.values())]
    owners = [getattr(lock, "owner", None) for lock in locks]
    return any(owner not in {None, threading.get_ident()} for owner in owners)


def _after_fork_in_parent() -> None:
    _imp.release_lock()
    no_fork.release()


def _after_fork_in_child() -> None:
    _imp.release_lock()
    no_fork.release()
    inherited = list(_pinned)
    if inherited:
        # A reference that nobody holds is the one thing that interpreter shutdown does not undo.
        import ctypes

        for each in inherited:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))
    _pinned.clear()
    for each in tuple(_renewed):
        each.renew()
    for reset in _resets:
        reset()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
