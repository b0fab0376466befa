"""Ctrl-C in plain Python: it ends the reads that a query waits for, and the query raises KeyboardInterrupt.

Python handles a signal in its main thread, between two steps of Python code. Three things are in the way while DuckDB
(1.5.5, 2.0.1) runs a query there:

* The main thread is in C++, and other threads wait for bytes. But Python writes each signal into a socket at once
  (`signal.set_wakeup_fd`). A thread of ours listens there and ends the reads, and so the query ends with an error.
* The error of DuckDB comes first. `workarounds.raise_from_errors` has code of ours run where Python makes the error,
  and there the KeyboardInterrupt takes its place.
* The main thread may read itself, in the middle of DuckDB, which makes an error of the KeyboardInterrupt. This is
  noted, and the same code raises it again.

Where DuckDB looks for signals itself, it raises `RuntimeError: Query interrupted`, as for any query. Nothing is done
where another handler has SIGINT, as in our shell.
"""

from __future__ import annotations

import atexit
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rasteret_sql.io import fork
from rasteret_sql.sql.workarounds import raise_from_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_writer: socket.socket | None = None
#: How to stop each scan that waits now. Dictionaries of Python change whole, so no lock is needed.
_waiting: dict[object, Callable[[], None]] = {}
#: Whether the main thread has raised a KeyboardInterrupt into DuckDB.
_raised_into_duckdb = False


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
    raise_from_errors(_interrupt_in_place_of)


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C end what a thread does for DuckDB in the block.

    Args:
        stop: ends it with an error; called in a thread of ours.
    """
    global _raised_into_duckdb  # noqa: PLW0603 - a fact of the main thread
    key = object()
    try:
        _waiting[key] = stop
        yield
    except KeyboardInterrupt:
        # This is the main thread, and DuckDB makes an error of it.
        _raised_into_duckdb = True
        raise
    finally:
        _waiting.pop(key, None)


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is Ctrl-C, also where DuckDB saw the signal first."""
    # DuckDB has no class for it.
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, RuntimeError) and str(error) == "Query interrupted"
    )


def _listen(reader: socket.socket) -> None:
    with reader:
        while signals := reader.recv(64):
            if signal.SIGINT in signals and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                for stop in tuple(_waiting.values()):
                    stop()


def _interrupt_in_place_of(message: str) -> BaseException | None:
    """Give the KeyboardInterrupt that DuckDB made an error of; called for each of its errors.

    A signal that Python has not handled yet becomes a KeyboardInterrupt by itself, since this is Python code.
    """
    global _raised_into_duckdb  # noqa: PLW0603 - a fact of the main thread
    if not _raised_into_duckdb or threading.current_thread() is not threading.main_thread():
        return None
    _raised_into_duckdb = False
    # Readers of Arrow have errors of their own. Then this is another one, and comes later.
    return KeyboardInterrupt() if KeyboardInterrupt.__name__ in message else None


def _end(listener: threading.Thread) -> None:
    """Close the socket, and so end the thread that listens, when the interpreter ends."""
    if _writer is not None:
        signal.set_wakeup_fd(-1)
        _writer.close()
        listener.join()


def _reset_in_child() -> None:
    global _writer  # noqa: PLW0603 - the one socket of the process
    if _writer is not None:
        # The child shares the socket, at whose other end the parent listens. Its only thread is its main thread.
        signal.set_wakeup_fd(-1)
        _writer.close()
        _writer = None
    _waiting.clear()


fork.on_fork(_reset_in_child)
