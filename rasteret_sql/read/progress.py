"""Progress of reads: how many tiles and bytes are here, of those that reads have planned; for whoever listens.

Reads report from the event loop, once per request, and look at an empty list where nobody listens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_sql.plan.requests import Request


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """What reads have done since somebody began to listen.

    Attributes:
        tiles, total_tiles: encoded tiles that are here, and that reads have planned to fetch so far.
        nbytes, total_bytes: the same of the bytes of their requests.
    """

    tiles: int = 0
    total_tiles: int = 0
    nbytes: int = 0
    total_bytes: int = 0


#: Called on the event loop, where all reads wait for it: it must be quick and must not raise.
ReadReport = Callable[[ReadProgress], None]


class _Listener:
    """Adds up what all reads of the process report, and passes it on."""

    def __init__(self, report: ReadReport) -> None:
        self.report = report
        self.progress = ReadProgress()


_listeners: list[_Listener] = []


@contextlib.contextmanager
def listening(report: ReadReport) -> Iterator[None]:
    """Have all reads of the process reported while the block lasts: those that SQL starts run in threads of DuckDB.

    A read tells its total when it starts; one that is cut in parts, as of large arrays, tells that of each part. A
    `LIMIT` may end a read before its total is reached.

    Args:
        report: called with what is done so far whenever that changes.
    """
    listener = _Listener(report)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def planned(requests: Sequence[Request]) -> None:
    """Report what a read is about to fetch. Called on the event loop."""
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
    """Report that the bytes of a request are here. Called on the event loop."""
    if _listeners:
        for listener in tuple(_listeners):
            so_far = listener.progress
            listener.progress = replace(
                so_far, tiles=so_far.tiles + len(request.pieces), nbytes=so_far.nbytes + request.nbytes
            )
            listener.report(listener.progress)
