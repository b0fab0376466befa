"""What a build gives back: how many rows, what failed, what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: How many failures `str(report)` lists.
LISTED_FAILURES = 10


@dataclass(frozen=True, slots=True)
class Failure:
    """One file or document that is not in the index, and why.

    Attributes:
        href: its path or URL, without query string; None where an item as a whole failed.
        item_id, asset: what it would have been, as far as that is known.
        error: name of the exception's class.
        message: what is wrong; it stands alone.
    """

    href: str | None
    item_id: str | None
    asset: str | None
    error: str
    message: str

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
        left_out: assets that are not TIFF by media type or extension, and files named twice.
        proj_mismatches: assets whose STAC `proj:` fields contradict the TIFF header, which was believed.
        size_mismatches: assets whose STAC `file:size` is not the size of the file, which may be another than was meant.
        noted: files of which something was left out, such as further pages; the column `notes` says what.
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

    def __str__(self) -> str:
        size = f"{_count(self.rows, 'row')} of {_count(self.items, 'item')}, {self.index_bytes:,} bytes"
        lines = [
            f"{self.path}: {size}; {_count(self.requests, 'request')} in {self.seconds:.1f} s",
            "  assets: " + ", ".join(f"{key} ({rows})" for key, rows in self.assets.items()),
        ]
        if self.left_out:
            lines.append("  left out: " + ", ".join(f"{count} {kind}" for kind, count in self.left_out.items()))
        if self.proj_mismatches:
            lines.append(
                f"  {_count(self.proj_mismatches, 'asset')} whose STAC proj: fields contradict the TIFF "
                f"header, which was believed"
            )
        if self.size_mismatches:
            lines.append(f"  {_count(self.size_mismatches, 'asset')} whose size is not the file:size of STAC")
        if self.noted:
            lines.append(f"  {_count(self.noted, 'file')} of which something was left out: see the column notes")
        if self.failures:
            lines.append(f"  {_count(len(self.failures), 'failure')}:")
            lines += list_failures(self.failures)
        return "\n".join(lines)


def list_failures(failures: tuple[Failure, ...] | list[Failure]) -> list[str]:
    """One line per failure, the first `LISTED_FAILURES` of them."""
    lines = [f"    {failure}" for failure in failures[:LISTED_FAILURES]]
    if len(failures) > LISTED_FAILURES:
        lines.append(f"    and {len(failures) - LISTED_FAILURES:,} more")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
