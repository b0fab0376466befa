"""A progress bar over the reads of a block, whoever starts them: arrays, streams of tiles, SQL."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from rasteret_sql.bars import Bar
from rasteret_sql.read.progress import ReadProgress, listening

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How often a bar is drawn.
DRAWN_EVERY_S = 0.1


@contextlib.contextmanager
def progress() -> Iterator[None]:
    """Show a bar of bytes and tiles while pixels are read: by `to_xarray`, `to_numpy`, `read_tiles` or in SQL.

    A widget in notebooks that have ipywidgets, text on stderr elsewhere. All reads of the process are counted that run
    while the block lasts, and their total grows as they begin. Lazy arrays are read when they are computed: the block
    goes around that. What other processes read is not seen.

    Example:
        >>> import rasteret_sql as rs
        >>> with rs.progress():
        ...     scenes = rs.to_xarray("s2.parquet", bands=["red", "nir"])  # doctest: +SKIP
    """
    drawing = _Drawing()
    try:
        with listening(drawing.take):
            yield
    except BaseException:
        drawing.end(is_complete=False)
        raise
    drawing.end(is_complete=True)


class _Drawing:
    """Draws a bar from a thread of its own.

    Reports come on the event loop, which must not wait, and whose thread notebooks take for that of the cell that
    started it first: what it prints would appear there.
    """

    def __init__(self) -> None:
        self._latest = ReadProgress()
        self._ends = threading.Event()
        self._bar = Bar("read", unit="B", unit_scale=True, unit_divisor=1024)
        self._thread = threading.Thread(target=self._run, name="rasteret-progress", daemon=True)
        self._thread.start()

    def take(self, latest: ReadProgress) -> None:
        """Keep what is done so far."""
        self._latest = latest

    def end(self, *, is_complete: bool) -> None:
        """Draw the last state and leave it; a read that a `LIMIT` ended early is complete too."""
        self._ends.set()
        self._thread.join()
        latest = self._latest
        self._draw(latest.nbytes if is_complete else latest.total_bytes)
        self._bar.close()

    def _run(self) -> None:
        while not self._ends.wait(DRAWN_EVERY_S):
            self._draw(self._latest.total_bytes)

    def _draw(self, total_bytes: int) -> None:
        latest = self._latest
        note = f"{latest.tiles:,}/{latest.total_tiles:,} tiles" if latest.total_tiles else ""
        self._bar.show(latest.nbytes, total_bytes, note)
