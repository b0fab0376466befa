"""A bar on stderr while bytes arrive, which is gone before results are written."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_sql.read.progress import ReadBar

#: A read that ends sooner shows nothing.
_DELAY_S = 0.3


class _AfterBar:
    """A terminal for results. The first result clears the bar."""

    def __init__(self, stream: BinaryIO, bar: ReadBar) -> None:
        self._stream = stream
        self._bar = bar

    def write(self, data: bytes) -> int:
        """Write, with no bar in the way."""
        self._bar.close()
        return self._stream.write(data)


def stdout_after(bar: ReadBar | None) -> BinaryIO:
    """Give stdout for writing results. Where it is a terminal, the first of them clears the bar."""
    if bar is None or not sys.stdout.isatty():
        return sys.stdout.buffer
    return cast("BinaryIO", _AfterBar(sys.stdout.buffer, bar))


@contextlib.contextmanager
def read_bar(stream: TextIO | None = None, *, delay_s: float = _DELAY_S) -> Iterator[ReadBar | None]:
    """Show a bar for the reads of the block, where the stream (stderr) is a terminal that can clear a line."""
    stream = stream or sys.stderr
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rasteret_sql.read import progress

    with progress.read_bar(file=stream, delay=delay_s, leave=False) as bar:
        yield bar
