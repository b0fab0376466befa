"""Ctrl-C in plain Python: it ends the read that a query waits for, and reaches the caller as KeyboardInterrupt.

DuckDB (1.5.5, 2.0.1) does not look for signals while its threads work, or makes an error of its own of a
KeyboardInterrupt, and a thread of it that waits for bytes sees nothing of a signal. But Python writes each signal into
a socket (`signal.set_wakeup_fd`), whatever its main thread is doing. A thread of ours listens there and ends the reads.
Where the main thread itself read, and DuckDB swallows the KeyboardInterrupt, it is sent again after the query. Where
DuckDB sees it first, it says RuntimeError: Query interrupted. Nothing is done where another handler has SIGINT, as
in our shell.
"""

from __future__ import annotations

import _thread
import atexit
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rasteret_sql.io import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How long DuckDB has to end a query whose scan has ended: it would swallow a signal that comes before.
_UNWINDING_S: Final = 0.1
_LOOK_AGAIN_S: Final = 0.02
_GIVE_UP_S: Final = 5.0
_ONE_PRESS_S: Final = 0.5

_writer: socket.socket | None = None
_sent_s = -_ONE_PRESS_S
#: How to stop each scan that waits now. Sets of Python change whole, so no lock is needed.
_waiting: dict[object, Callable[[], None]] = {}


def watch() -> None:
    """Listen for SIGINT from now on; does nothing outside the main thread, or where somebody else listens."""
    global _writer  # noqa: PLW0603 - the one socket of the process
    if _writer is not None or threading.current_thread() is not threading.main_thread():
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()
        return
    _writer = writer
    listener = threading.Thread(target=_listen, args=(reader,), name="rasteret-sigint", daemon=True)
    listener.start()
    atexit.register(_end, listener)


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C end what a thread waits for in the block.

    Args:
        stop: ends it with an error; called in a thread of ours, maybe several times.
    """
    key = object()
    _waiting[key] = stop
    try:
        yield
    except KeyboardInterrupt:
        # This is the main thread, in the middle of a query of DuckDB, which makes an error of it.
        _send_again()
        raise
    finally:
        del _waiting[key]


def _listen(reader: socket.socket) -> None:
    with reader:
        while signals := reader.recv(64):
            is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            if signal.SIGINT in signals and is_ours and _waiting:
                _stop_waiting()


def _stop_waiting() -> None:
    """End what is waited for. The main thread raises KeyboardInterrupt when the query has ended."""
    # If the main thread itself waits, its KeyboardInterrupt must come while it does, where `interruptible` sees it.
    time.sleep(_LOOK_AGAIN_S)
    stops = dict(_waiting)
    end_s = time.monotonic() + _GIVE_UP_S
    while stops.keys() & _waiting.keys() and time.monotonic() < end_s:
        for key in stops.keys() & _waiting.keys():
            # What is stopped may only just have come to what can be stopped.
            stops[key]()
        time.sleep(_LOOK_AGAIN_S)


def _send_again() -> None:
    """Send SIGINT to the main thread once more, soon; once for all scans that one Ctrl-C ended."""
    global _sent_s  # noqa: PLW0603 - a time of the process
    now_s = time.monotonic()
    if now_s - _sent_s > _ONE_PRESS_S:
        _sent_s = now_s
        threading.Timer(_UNWINDING_S, _send).start()


def _send() -> None:
    if hasattr(signal, "pthread_kill"):
        # A signal to the thread ends a sleep too.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _end(listener: threading.Thread) -> None:
    """Close the socket, and so end the thread that listens, when the interpreter ends."""
    if _writer is not None:
        signal.set_wakeup_fd(-1)
        _writer.close()
        listener.join(_LOOK_AGAIN_S)


def _reset_in_child() -> None:
    global _writer  # noqa: PLW0603 - the one socket of the process
    if _writer is not None:
        # The child shares the socket, at whose other end the parent listens. Its only thread is its main thread.
        signal.set_wakeup_fd(-1)
        _writer.close()
        _writer = None
    _waiting.clear()


fork.on_fork(_reset_in_child)
