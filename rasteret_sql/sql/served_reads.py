"""Reads of a served process: their batches are small, and a read whose client takes no rows any more ends.

A client that is killed leaves its query open: quack 1.5 does not notice. DuckDB pulls nothing more for it, so the read
stands still, and would hold what it fetched ahead as long as the server runs.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from rasteret_sql.errors import TransportError
from rasteret_sql.sql.workarounds import without_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    import pyarrow as pa


class ServedReads:
    """The reads of a served process.

    Args:
        batch_bytes: bytes of a batch; one row may have more. DuckDB bounds what it holds of a result by numbers of
            batches, and counts the bytes of BLOBs nowhere.
        idle_s: seconds after which a read ends of which DuckDB took nothing.
        clock: gives seconds; replaced in tests.
    """

    def __init__(self, batch_bytes: int, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.idle_s = idle_s
        self._batch_bytes, self._clock = batch_bytes, clock
        self._reads: weakref.WeakSet[_Read] = weakref.WeakSet()
        self._is_stopped = threading.Event()

    def limited(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the rows of a read in small batches. Errors come without traceback, which would show paths."""
        read = _Read(_cut(batches, self._batch_bytes), self.idle_s, self._clock)
        self._reads.add(read)
        return without_traceback(read)

    def end_idle(self) -> int:
        """End the reads of which nothing was taken for too long, and give their number."""
        return sum(read.end_if_idle() for read in tuple(self._reads))

    def watch(self) -> None:
        """Let a thread end idle reads until `stop`."""
        threading.Thread(target=self._watch, name="rasteret-served-reads", daemon=True).start()

    def stop(self) -> None:
        """End the thread of `watch`."""
        self._is_stopped.set()

    def _watch(self) -> None:
        while not self._is_stopped.wait(self.idle_s / 4):
            self.end_idle()


class _Read:
    """The batches of one read, which another thread may end between two of them."""

    def __init__(self, batches: Iterator[pa.RecordBatch], idle_s: float, clock: Callable[[], float]) -> None:
        self._batches: Iterator[pa.RecordBatch] | None = batches
        self._idle_s, self._clock = idle_s, clock
        self._taken_at = clock()
        self._is_taking = threading.Lock()

    def __iter__(self) -> Self:
        """Give itself."""
        return self

    def __next__(self) -> pa.RecordBatch:
        """Give the next batch.

        Raises:
            TransportError: the read was ended, since nothing was taken of it for too long.
        """
        with self._is_taking:
            if self._batches is None:
                raise TransportError(
                    f"the client took no rows of this query for {self._idle_s:g} s, expected one that reads on, so the "
                    "server has ended its read. Run the query again, or serve with more --idle-seconds"
                )
            try:
                return next(self._batches)
            finally:
                self._taken_at = self._clock()

    def end_if_idle(self) -> bool:
        """End it unless a batch was taken lately, or is being read; whether it ended now."""
        if not self._is_taking.acquire(blocking=False):
            return False
        try:
            is_idle = self._batches is not None and self._clock() - self._taken_at >= self._idle_s
            if is_idle:
                # The generator ends with its last reference: it sends no more requests, and frees what it holds.
                self._batches = None
            return is_idle
        finally:
            self._is_taking.release()


def _cut(batches: Iterator[pa.RecordBatch], nbytes: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = max(1, nbytes * batch.num_rows // max(batch.nbytes, 1))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)
