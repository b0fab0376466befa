"""Where and when the rows of each file of a partitioned index lie, so that reads open only the files that they need.

DuckDB opens every file of an index, and parses its footer, before it leaves any out. A build therefore writes one small
file beside the parts. It counts only as long as each part is the one that it describes, and is all there is.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

#: Its name begins with a dot, so that nothing takes it for a part.
NAME: Final = ".parts.json"
#: Bytes at the end of a part that tell it from another: offsets and sizes of its columns, and when it was made.
_TAIL_BYTES: Final = 16_384
_VERSION: Final = 1


class Reach(NamedTuple):
    """Bounds in degrees, and microseconds since 1970-01-01 UTC; all ends are included."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    start_us: int
    end_us: int

    def meets(self, other: Reach) -> bool:
        """Whether the two have a place and a time in common."""
        return (
            self.xmin <= other.xmax
            and self.xmax >= other.xmin
            and self.ymin <= other.ymax
            and self.ymax >= other.ymin
            and self.start_us <= other.end_us
            and self.end_us >= other.start_us
        )

    def joined(self, other: Reach) -> Reach:
        """Give the least that holds both."""
        return Reach(
            min(self.xmin, other.xmin),
            min(self.ymin, other.ymin),
            max(self.xmax, other.xmax),
            max(self.ymax, other.ymax),
            min(self.start_us, other.start_us),
            max(self.end_us, other.end_us),
        )


def write_part_bounds(folder: Path, reach_of: Mapping[Path, Reach]) -> None:
    """Write the bounds of all parts of an index.

    Args:
        folder: the root of the index.
        reach_of: bounds of all rows of each part.
    """
    parts = {
        path.relative_to(folder).as_posix(): {**_identity(path), "reach": list(reach)}
        for path, reach in reach_of.items()
    }
    (folder / NAME).write_text(json.dumps({"version": _VERSION, "parts": parts}, indent=0), encoding="utf-8")


def parts_that_meet(folder: Path, files: Sequence[str], wanted: Callable[[], Reach]) -> Sequence[str]:
    """Give the parts of an index that may have rows in some bounds, at least one; all parts where it is not certain.

    Args:
        folder: the root of the index.
        files: all of its parts, absolute.
        wanted: gives the bounds.
    """
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return files
    reach = wanted()
    try:
        if found["version"] != _VERSION or {str(folder / name) for name in found["parts"]} != set(files):
            return files
        kept = [str(folder / name) for name in _meeting(folder, found["parts"].items(), reach)]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return files
    return sorted(kept) or files[:1]


def _meeting(folder: Path, parts: Iterable[tuple[str, dict[str, Any]]], wanted: Reach) -> list[str]:
    """Give the names of parts that meet some bounds.

    Raises:
        ValueError: a part is not the one that its entry describes.
    """
    kept = []
    for name, entry in parts:
        reach = Reach(*entry.pop("reach"))
        if _identity(folder / name) != entry:
            raise ValueError(name)
        if reach.meets(wanted):
            kept.append(name)
    return kept


def _identity(path: Path) -> dict[str, int]:
    """Give what tells a part from another that is put in its place."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL_BYTES, 0))
        return {"size": size, "crc32": zlib.crc32(file.read())}
