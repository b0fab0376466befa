"""Progress of reads: tiles and bytes that have arrived, of those that reads have planned, and a bar of them.

Reads report from the event loop, once per request. Without a listener a report costs a look at an empty list.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.bars import Bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_sql.plan.requests import Request

#: How often a bar is drawn.
DRAWN_EVERY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """Progress of all reads since a listener began to listen.

    Attributes:
        tiles, total_tiles: encoded tiles that have arrived, and that reads have planned so far.
        nbytes, total_bytes: bytes of their requests, likewise.
    """

    tiles: int = 0
    total_tiles: int = 0
    nbytes: int = 0
    total_bytes: int = 0


#: Called on the event loop, where all reads wait for it. It must be quick and must not raise.
ReadReport = Callable[[ReadProgress], None]


class _Listener:
    """Adds up what all reads of the process report, and passes it on."""

    def __init__(self, report: ReadReport) -> None:
        self.report = report
        self.progress = ReadProgress()


_listeners: list[_Listener] = []


@contextlib.contextmanager
def listening(report: ReadReport) -> Iterator[None]:
    """Report all reads of the process while the block lasts, those that SQL starts too.

    A read adds its total when it starts. A read that is cut into parts, as for large arrays, adds the total of each
    part. A `LIMIT` may end a read before its total is reached.

    Args:
        report: called with the progress so far whenever it changes.
    """
    listener = _Listener(report)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def planned(requests: Sequence[Request]) -> None:
    """Report the requests that a read is about to send. Called on the event loop."""
    if _listeners:
        tiles = sum(len(request.pieces) for request in requests)
        nbytes = sum(request.nbytes for request in requests)
        for listener in tuple(_listeners):
            so_far = listener.progress
            listener.progress = replace(
                so_far, total_tiles=so_far.total_tiles + tiles, total_bytes=so_far.total_bytes + nbytes
            )
            listener.report(listener.progress)


def arrived(request: Request) -> None:
    """Report that the bytes of a request have arrived. Called on the event loop."""
    if _listeners:
        for listener in tuple(_listeners):
            so_far = listener.progress
            listener.progress = replace(
                so_far, tiles=so_far.tiles + len(request.pieces), nbytes=so_far.nbytes + request.nbytes
            )
            listener.report(listener.progress)


class ReadBar:
    """A bar of all reads of the process, drawn from a thread of its own.

    Reports come on the event loop, which must not wait. Notebooks take its thread for that of the cell that started it
    first, so a bar that is printed there would appear below that cell.

    Args:
        **options: those of tqdm.
    """

    def __init__(self, **options: Any) -> None:
        self._latest = ReadProgress()
        self._ends = threading.Event()
        self._bar = Bar("read", unit="B", unit_scale=True, unit_divisor=1024, **options)
        self._thread = threading.Thread(target=self._run, name="rasteret-progress", daemon=True)
        self._thread.start()

    def report(self, latest: ReadProgress) -> None:
        """Take the progress so far."""
        self._latest = latest

    def close(self, *, is_complete: bool = True) -> None:
        """Draw the last state. A read that a `LIMIT` ended early is complete too."""
        if self._ends.is_set():
            return
        self._ends.set()
        self._thread.join()
        self._draw(self._latest.nbytes if is_complete else self._latest.total_bytes)
        self._bar.close()

    def _run(self) -> None:
        while not self._ends.wait(DRAWN_EVERY_S):
            self._draw(self._latest.total_bytes)

    def _draw(self, total_bytes: int) -> None:
        latest = self._latest
        note = f"{latest.tiles:,}/{latest.total_tiles:,} tiles" if latest.total_tiles else ""
        self._bar.show(latest.nbytes, total_bytes, note)


@contextlib.contextmanager
def read_bar(**options: Any) -> Iterator[ReadBar]:
    """Show a bar of all reads of the process while the block lasts.

    Args:
        **options: those of tqdm.
    """
    bar = ReadBar(**options)
    try:
        with listening(bar.report):
            yield bar
    except BaseException:
        bar.close(is_complete=False)
        raise
    bar.close()


@contextlib.contextmanager
def progress() -> Iterator[None]:
    """Show a bar of bytes and tiles while pixels are read: by `to_xarray`, `to_numpy`, `read_tiles` or in SQL.

    The bar is a widget in notebooks that have ipywidgets, and text on stderr elsewhere. It counts all reads of the
    process while the block lasts, and its total grows as reads begin. Lazy arrays are read when they are computed: put
    the block around that. Reads of other processes are not counted.

    Example:
        >>> import rasteret_sql as rs
        >>> with rs.progress():
        ...     scenes = rs.to_xarray("s2.parquet", bands=["red", "nir"])  # doctest: +SKIP
    """
    with read_bar():
        yield
