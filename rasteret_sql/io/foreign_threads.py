"""Threads that other libraries started, and that are inside Python when the interpreter ends.

obstore (0.12.1) delivers each answer from a thread of its own, which may still be in `call_soon_threadsafe` when the
reader has its bytes and the script is over. DuckDB (1.5.5, 2.0.1) takes batches of a scan in threads of its own. Once
the interpreter finalises, CPython 3.11 to 3.13 ends a thread that asks for the GIL, and unwinds its stack. Rust and
C++ do not allow that: the process aborts without a message, with exit code 134. So the end of the interpreter waits
until these threads have left Python. CPython 3.14 lets such threads hang instead.

A thread of an executor may hold up the end for ever. `submit` of CPython 3.11 to 3.13 starts it first and notes it
afterwards, and Ctrl-C between the two leaves a thread that nobody tells to end.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import thread as executors
from typing import Any, Final

#: How long the end of the interpreter waits. A thread that stays longer waits for something that may never come.
LIMIT_S: Final = 2.0
_POLL_S: Final = 0.001


def wait_until_out() -> None:
    """Wait, for at most `LIMIT_S`, until no thread of another library runs Python code."""
    end_s = time.monotonic() + LIMIT_S
    while _are_inside() and time.monotonic() < end_s:
        # The threads take the GIL meanwhile.
        time.sleep(_POLL_S)


def note_threads_of_executors() -> None:
    """Note what Ctrl-C kept `submit` from noting, before `concurrent.futures` tells its threads to end."""
    # No public names exist.
    known: Any = executors
    run, queues, lock = known._worker, known._threads_queues, known._global_shutdown_lock  # noqa: SLF001
    with lock:
        for thread in threading.enumerate():
            # Both are gone once the thread has ended.
            target, arguments = getattr(thread, "_target", None), getattr(thread, "_args", ())
            if target is run and arguments and thread not in queues:
                queues[thread] = arguments[1]


def _are_inside() -> bool:
    """Whether a thread that Python did not start runs Python code."""
    own = {
        thread.ident
        for thread in threading.enumerate()
        # Stands for a foreign thread that has asked for `current_thread()`.
        if not isinstance(thread, threading._DummyThread)  # noqa: SLF001 - no public name tells them apart
    }
    return any(ident not in own for ident in sys._current_frames())  # noqa: SLF001 - named so, but documented
