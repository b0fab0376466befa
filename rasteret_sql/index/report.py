"""What a build tells its caller: progress while it runs, and a report at its end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rasteret_sql.checks import check_flag
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rasteret_sql.markup import Html

#: How many failures `str(report)` lists.
LISTED_FAILURES = 10


@dataclass(frozen=True, slots=True)
class Failure:
    """One file or document that is not in the index, with the reason.

    Attributes:
        href: its path or URL, without query string; None where an item as a whole failed.
        item_id, asset: its item and asset key, where they are known.
        error: name of the exception's class.
        message: the fault, in a message that needs no context.
    """

    href: str | None
    item_id: str | None
    asset: str | None
    error: str
    message: str

    def __post_init__(self) -> None:
        # A lone surrogate of a source can be neither printed nor written.
        for name in ("href", "item_id", "asset", "message"):
            text = getattr(self, name)
            if text is not None and not text.isascii():
                object.__setattr__(self, name, text.encode("utf-8", "backslashreplace").decode())

    def __str__(self) -> str:
        name = " ".join(part for part in (self.item_id, self.asset) if part)
        return f"{name + ': ' if name else ''}{self.error}: {self.message}"


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The outcome of `build_index`.

    Attributes:
        path: the index.
        rows: its rows, one per asset.
        items: distinct items.
        assets: rows per asset key.
        failures: the files that could not be indexed.
        left_out: numbers of assets that are not in the index, by media type, extension or another reason.
        proj_mismatches: assets whose STAC `proj:` fields contradict the TIFF header; the index has the header's values.
        size_mismatches: assets whose STAC `file:size` is not the size of the file: STAC may mean another file.
        noted: files of which a part was left out, such as further pages; the column `notes` names it.
        requests: range requests that header reading made.
        seconds: wall time.
        index_bytes: size of the index.
    """

    path: Path
    rows: int
    items: int
    assets: Mapping[str, int]
    failures: tuple[Failure, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    proj_mismatches: int = 0
    size_mismatches: int = 0
    noted: int = 0
    requests: int = 0
    seconds: float = 0.0
    index_bytes: int = 0

    def __repr__(self) -> str:
        """Summarise the outcome in one line; `str()` gives all of it."""
        failed = f", {count(len(self.failures), 'failure')}" if self.failures else ""
        return f"<BuildReport {self.path}: {self._extent}{failed}>"

    def __str__(self) -> str:
        took = f"{count(self.requests, 'request')} in {self.seconds:.1f} s"
        lines = [
            f"{self.path}: {self._extent}, {self.index_bytes:,} bytes; {took}",
            "  assets: " + ", ".join(f"{key} ({rows})" for key, rows in self.assets.items()),
        ]
        if self.left_out:
            lines.append("  left out: " + ", ".join(f"{number} {kind}" for kind, number in self.left_out.items()))
        lines += [f"  {remark}" for remark in self._remarks()]
        if self.failures:
            lines.append(f"  {count(len(self.failures), 'failure')}:")
            lines += list_failures(self.failures)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from rasteret_sql.markup import details, facts, line, panel

        return panel(
            "BuildReport",
            str(self.path),
            facts(
                {
                    "index": f"{self._extent}, {size(self.index_bytes)}",
                    "assets": [f"{key} ({number:,})" for key, number in self.assets.items()],
                    "read with": f"{count(self.requests, 'request')} in {self.seconds:.1f} s",
                    "left out": [f"{number:,} {kind}" for kind, number in self.left_out.items()],
                }
            ),
            *map(line, self._remarks()),
            details(count(len(self.failures), "failure"), failure_table(self.failures)) if self.failures else None,
        )

    @property
    def _extent(self) -> str:
        return f"{count(self.rows, 'row')} of {count(self.items, 'item')}"

    def _remarks(self) -> list[str]:
        remarks = []
        if self.proj_mismatches:
            remarks.append(
                f"{count(self.proj_mismatches, 'asset')} whose STAC proj: fields contradict the TIFF "
                f"header, which was believed"
            )
        if self.size_mismatches:
            remarks.append(f"{count(self.size_mismatches, 'asset')} whose size is not the file:size of STAC")
        if self.noted:
            remarks.append(f"{count(self.noted, 'file')} of which something was left out: see the column notes")
        return remarks


def failure_table(failures: Sequence[Failure]) -> Html:
    """Lay out failures for notebooks."""
    from rasteret_sql.markup import table

    return table(
        ("item", "asset", "error", "message"),
        [(failure.item_id, failure.asset, failure.error, failure.message) for failure in failures],
    )


def list_failures(failures: tuple[Failure, ...] | list[Failure]) -> list[str]:
    """Give one line per failure, for the first `LISTED_FAILURES`."""
    lines = [f"    {failure}" for failure in failures[:LISTED_FAILURES]]
    if len(failures) > LISTED_FAILURES:
        lines.append(f"    and {len(failures) - LISTED_FAILURES:,} more")
    return lines


#: Called with the number of files done and of files in all; for an index definition, files in all are the files that
#: its SELECT has named so far.
Progress = Callable[[int, int], None]


class FileProgress:
    """Counts of files in all and of files done, which are reported; threads may share it."""

    def __init__(self, report: Progress | None = None, expected: int = 0) -> None:
        """Begin with no file done.

        Args:
            report: called whenever files are done, or None.
            expected: files in all.
        """
        self._report = report
        self._lock = threading.Lock()
        self._done = 0
        self._expected = expected

    def expect(self, files: int) -> None:
        """Add files that are to be read."""
        with self._lock:
            self._expected += files

    def advance(self, files: int) -> None:
        """Add files that are done."""
        with self._lock:
            self._done += files
            if self._report is not None and files:
                self._report(self._done, self._expected)


@contextlib.contextmanager
def crawling(progress: Progress | bool) -> Iterator[Callable[[int, int], None] | None]:  # noqa: FBT001
    """Show that a build is alive while it finds files: the documents that were read, and the files that they name.

    Args:
        progress: True for a bar; a callable is told of files only, once their number is known.
    """
    if progress is not True:
        yield None
        return
    from rasteret_sql.bars import Bar

    with Bar("documents", unit=" documents", leave=False) as bar:
        yield lambda documents, files: bar.show(documents, note=f"{files:,} files")


@contextlib.contextmanager
def reporting(progress: Progress | bool, expected: int = 0, what: str = "headers") -> Iterator[FileProgress]:  # noqa: FBT001
    """Report progress while the block lasts.

    Args:
        progress: True for a bar, a callable, or False.
        expected: files in all.
        what: is read of the files, on a bar.
    """
    if not callable(progress):
        check_flag("progress", progress)
    if progress is not True:
        yield FileProgress(progress or None, expected)
        return
    from rasteret_sql.bars import Bar

    with Bar(what, unit=" files", total=expected) as bar:
        yield FileProgress(bar.show, expected)
