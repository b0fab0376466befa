"""A bar on stderr while bytes arrive: tiles and sizes so far and in all, and how long the rest may take."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from rasteret_sql.wording import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rasteret_sql.read.progress import ReadProgress

#: A read that ends sooner shows nothing.
_DELAY_S = 0.3
_INTERVAL_S = 0.1
_BAR_CELLS = 24
#: What a cell looks like that is an eighth full, two eighths, and so on.
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_CLEAR_LINE = "\r\x1b[K"


class ReadBar:
    """Draws the progress of reads over and over in one line of a terminal.

    Args:
        stream: the terminal.
        clock: gives seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._started = clock()
        self._drawn_at = 0.0
        self._is_drawn = False
        self._is_closed = False
        self._latest: ReadProgress | None = None
        self._timer: threading.Timer | None = None
        # Reads report from the event loop, results are written from elsewhere.
        self._lock = threading.Lock()

    def report(self, progress: ReadProgress) -> None:
        """Draw what is done, unless that was just drawn or the read has just begun."""
        now = self._clock()
        with self._lock:
            self._latest = progress
            early = _DELAY_S - (now - self._started)
            if self._is_closed or now - self._drawn_at < _INTERVAL_S:
                return
            if early <= 0:
                self._draw(progress, now)
            elif self._timer is None:
                # A server may take its time with the first answer.
                self._timer = threading.Timer(early, self._draw_latest)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Clear the line for good, before anything else is written."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._is_drawn and not self._is_closed:
                with contextlib.suppress(OSError, ValueError):
                    print(_CLEAR_LINE, end="", file=self._stream, flush=True)
            self._is_closed = True

    def _draw_latest(self) -> None:
        with self._lock:
            if self._latest is not None and not self._is_closed and not self._is_drawn:
                self._draw(self._latest, self._clock())

    def _draw(self, progress: ReadProgress, now: float) -> None:
        self._drawn_at = now
        self._is_drawn = True
        width = shutil.get_terminal_size((80, 24)).columns
        line = bar_line(progress, now - self._started, width - 1)
        # A terminal that went away is the affair of those who write results.
        with contextlib.suppress(OSError, ValueError):
            print(f"{_CLEAR_LINE}{line}", end="", file=self._stream, flush=True)


class _AfterBar:
    """A terminal that results are written to, of which the bar is cleared first."""

    def __init__(self, stream: BinaryIO, bar: ReadBar) -> None:
        self._stream = stream
        self._bar = bar

    def write(self, data: bytes) -> int:
        """Write, with no bar in the way."""
        self._bar.close()
        return self._stream.write(data)


def stdout_after(bar: ReadBar | None) -> BinaryIO:
    """Give stdout for writing results: where it is a terminal, the first of them clears the bar."""
    if bar is None or not sys.stdout.isatty():
        return sys.stdout.buffer
    return cast("BinaryIO", _AfterBar(sys.stdout.buffer, bar))


@contextlib.contextmanager
def read_bar(stream: TextIO | None = None) -> Iterator[ReadBar | None]:
    """Show a bar for the reads of the block, where the stream (stderr) is a terminal that can clear a line."""
    stream = stream or sys.stderr
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rasteret_sql.read.progress import listening

    bar = ReadBar(stream)
    with listening(bar.report):
        try:
            yield bar
        finally:
            bar.close()


def bar_line(progress: ReadProgress, seconds: float, width: int) -> str:
    """Lay out the line: at most `width` characters.

    Args:
        progress: what is done.
        seconds: since the read began.
        width: columns that it may take.
    """
    done = progress.nbytes / progress.total_bytes if progress.total_bytes else 0.0
    # Half a cell more would look like the end.
    eighths = min(int(done * _BAR_CELLS * 8), _BAR_CELLS * 8)
    full, part = divmod(eighths, 8)
    cells = ("█" * full + (_EIGHTHS[part] if part else "")).ljust(_BAR_CELLS)
    facts = [
        f"{progress.tiles:,}/{progress.total_tiles:,} tiles",
        f"{size(progress.nbytes)} of {size(progress.total_bytes)}",
    ]
    if progress.nbytes and seconds > 0:
        speed = progress.nbytes / seconds
        facts.append(f"{size(int(speed))}/s")
        facts.append(f"{duration((progress.total_bytes - progress.nbytes) / speed)} left")
    text = "  ".join(facts)
    line = f"▕{cells}▏ {done:>4.0%}  {text}"
    return line if len(line) <= width else text[:width]


def duration(seconds: float) -> str:
    """Give a time as "0:07" or "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
