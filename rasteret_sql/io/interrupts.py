"""Ctrl-C ends what threads wait for.

Python raises KeyboardInterrupt in its main thread only, and not while this runs C++. A thread of Dask, of DuckDB or of
a pool would wait on for its bytes, and the end of the process for the thread. But Python writes each signal into a
socket at once (`signal.set_wakeup_fd`). A thread of ours listens there, and ends the waits that began before. Nothing
is done where another handler has SIGINT, as in our shell.
"""

from __future__ import annotations

import atexit
import selectors
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rasteret_sql.io import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS = 64

#: Both ends of the socket, once somebody listens.
_ends: tuple[socket.socket, socket.socket] | None = None
_lock = fork.Lock()
_waits: dict[int, Wait] = {}
_presses = 0
_has_ended_command = False


class Wait:
    """What a thread waits for, or is about to."""

    def __init__(self) -> None:
        self._end: Callable[[], object] | None = None
        self._is_ended = False

    def ends_by(self, end: Callable[[], object]) -> None:
        """Say how Ctrl-C ends the wait with an error. If it was pressed since the wait was announced, that is done now.

        Args:
            end: called in any thread, maybe twice.
        """
        self._end = end
        if self._is_ended:
            end()

    def end(self) -> None:
        """End the wait, or the one that begins."""
        self._is_ended = True
        if self._end is not None:
            self._end()


def watch() -> None:
    """Listen for SIGINT from now on; does nothing outside the main thread, or where somebody else listens."""
    global _ends  # noqa: PLW0603 - the one socket of the process
    if _ends is not None or threading.current_thread() is not threading.main_thread():
        return
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()
        return
    _ends = reader, writer
    listener = threading.Thread(target=_listen, args=(reader,), name="rasteret-sigint", daemon=True)
    listener.start()
    atexit.register(_end, listener)


@contextmanager
def waiting() -> Iterator[Wait]:
    """Announce a wait that Ctrl-C is to end, before whatever is waited for begins."""
    wait = Wait()
    with _lock:
        # The signal of a press is in the socket before Python handles it. So a wait that begins after the
        # KeyboardInterrupt is announced after the press was heard, and goes on.
        _hear()
        _waits[id(wait)] = wait
    try:
        yield wait
    finally:
        del _waits[id(wait)]


def presses() -> int:
    """Say how often Ctrl-C was pressed."""
    _hear()
    return _presses


def end_process() -> None:
    """Note that the process ends now because of Ctrl-C."""
    global _has_ended_command  # noqa: PLW0603 - a fact of the process
    _has_ended_command = True


def has_ended_process() -> bool:
    """Whether the process, which ends, ends because of Ctrl-C."""
    # Python keeps the error that nobody caught.
    return _has_ended_command or isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)


def _hear() -> bool:
    """End the waits that were announced before a press that is new; False when nothing comes any more."""
    global _presses  # noqa: PLW0603 - a fact of the process
    if _ends is None:
        return False
    with _lock:
        try:
            signals = _ends[0].recv(_SIGNALS)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if signal.SIGINT not in signals or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return bool(signals)
        _presses += 1
        waits = tuple(_waits.values())
    for wait in waits:
        wait.end()
    return True


def _listen(reader: socket.socket) -> None:
    with reader, selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while selector.select() and _hear():
            pass


def _end(listener: threading.Thread) -> None:
    """Close the socket, and so end the thread that listens, when the interpreter ends."""
    if _ends is not None:
        signal.set_wakeup_fd(-1)
        _ends[1].close()
        listener.join()


def _reset_in_child() -> None:
    global _ends  # noqa: PLW0603 - the one socket of the process
    if _ends is not None:
        # The child shares the socket, at whose other end the parent listens. Its only thread is its main thread.
        signal.set_wakeup_fd(-1)
        for end in _ends:
            end.close()
        _ends = None
    _waits.clear()


fork.on_fork(_reset_in_child)
