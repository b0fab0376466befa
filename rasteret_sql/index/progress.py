"""Progress: how many files are read, of how many that are known of."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Called with the files that are done, and with all that there are: of a definition, those that its SELECT named
#: so far.
Progress = Callable[[int, int], None]


class FileProgress:
    """Counts files that there are and files that are done, and reports both; threads may share it."""

    def __init__(self, report: Progress | None = None, expected: int = 0) -> None:
        """Begin with no file done.

        Args:
            report: called whenever files are done, or None.
            expected: files that there are.
        """
        self._report = report
        self._lock = threading.Lock()
        self._done = 0
        self._expected = expected

    def expect(self, files: int) -> None:
        """Add files that there are."""
        with self._lock:
            self._expected += files

    def advance(self, files: int) -> None:
        """Add files that are done."""
        with self._lock:
            self._done += files
            if self._report is not None and files:
                self._report(self._done, self._expected)


@contextlib.contextmanager
def reporting(progress: Progress | bool, expected: int = 0) -> Iterator[FileProgress]:  # noqa: FBT001
    """Report progress while the block lasts.

    Args:
        progress: True for a bar, a callable, or False.
        expected: files that there are.
    """
    if progress is not True:
        yield FileProgress(progress or None, expected)
        return
    from rasteret_sql.bars import Bar

    with Bar("headers", unit=" files", total=expected) as bar:
        yield FileProgress(bar.show, expected)
