"""The results for third-party files, as a page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance import expected
from tests.conformance.examine import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conformance.examine import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "files.md"

_HEAD = """# Compatibility

This page lists {total} TIFFs from other projects and what `build_index` and `read_tiles` make of each. Each file is indexed. Every
level, band and mask is read through `read_tiles` and compared with rasterio: pixels bit for bit (except NaN payloads), and dtype,
nodata, transform, CRS, band count, block shape, overviews, scale, offset, unit, description and alpha. [Correctness](correctness.md)
explains the results. The tests write this page, and fail if their results differ from it.

* **equal**: the file is indexed, and everything is as in rasterio.
* **equal but for chroma**: the file is a JPEG with chroma at half resolution. Samples differ by at most the number, because
  rasterio's wheels have another libjpeg. A GDAL with libjpeg-turbo returns the pixels of rasteret_sql.
* **read; no oracle**: the file is read, but rasterio's GDAL cannot read it.
* **refused**: the error says why. If rasterio reads the file, the table says so.
"""

_TITLES = {
    "scenes": "Scenes: files as agencies publish them",
    "conformance": "Conformance: what readers and writers test themselves with",
    "malformed": "Malformed: broken and hostile files",
}


def page(found: Mapping[str, Mapping[str, Outcome]]) -> str:
    """The page as Markdown; `found` gives the outcomes of each group by path."""
    parts = [_HEAD.format(total=sum(map(len, found.values()))), _totals(found)]
    for group, outcomes in found.items():
        rows = [f"| {path.partition('/')[2]} | {_verdict(path, outcome)} |" for path, outcome in outcomes.items()]
        parts.append("\n".join([f"## {_TITLES[group]}\n", "| File | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def kind_of(path: str, outcome: Outcome) -> str:
    """The kind of an outcome: the head of its column of totals."""
    if outcome.error is not None:
        return "refused; rasterio reads it" if outcome.gdal_reads else "refused"
    if not outcome.gdal_reads:
        return "read; no oracle"
    if outcome.differing:
        return "differs"
    return "equal but for chroma" if listed(expected.LOSSY, path) else "equal"


def _totals(found: Mapping[str, Mapping[str, Outcome]]) -> str:
    kinds = ["equal", "equal but for chroma", "read; no oracle", "refused", "refused; rasterio reads it", "differs"]
    counts = {
        group: [sum(kind_of(path, one) == kind for path, one in outcomes.items()) for kind in kinds]
        for group, outcomes in found.items()
    }
    shown = [number for number in range(len(kinds)) if any(row[number] for row in counts.values())]
    lines = [
        "| | files | " + " | ".join(kinds[number] for number in shown) + " |",
        "|---|---:|" + "---:|" * len(shown),
    ]
    for group, row in counts.items():
        lines.append(f"| {group} | {sum(row)} | " + " | ".join(str(row[number]) for number in shown) + " |")
    sums = [sum(column) for column in zip(*counts.values(), strict=True)]
    lines.append(f"| all | {sum(sums)} | " + " | ".join(str(sums[number]) for number in shown) + " |\n")
    return "\n".join(lines)


def _verdict(path: str, outcome: Outcome) -> str:
    kind = kind_of(path, outcome)
    if outcome.error is not None:
        return f"{kind}: {_short(outcome.error)}"
    if kind == "equal but for chroma":
        kind = f"{kind}, at most {listed(expected.LOSSY, path)}"
    if outcome.differing:
        return f"{kind}: {_escaped('; '.join(outcome.differing))}"
    notes = "; ".join(_escaped(_first_sentence(note)) for note in outcome.notes)
    return f"{kind}; {notes}" if notes else kind


def _short(error: str) -> str:
    """An error without its remedy, the words of other libraries and what they are about."""
    tile = r"tile \(row (\d+), col (\d+)\), level (\d+), asset .*?, (?=got|expected)"
    text = re.sub(tile, r"tile (\1, \2) of level \3: ", error.replace("\n", " "))
    text = re.sub(r" \(\w+(Error|Exception): .*", "", text)
    return _escaped(_first_sentence(text))


def _first_sentence(text: str) -> str:
    return re.split(r"[.;] (?=[A-Z])|; expected one of", text)[0]


def _escaped(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", text).replace("|", "\\|").replace("<", "&lt;")
