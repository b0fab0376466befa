"""The files of others that are compared with rasterio, where they are there, and what was found of them."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

from tests.conformance.examine import Outcome, examine_all

FOLDER = Path(__file__).parents[3] / "shared" / "data"
MANIFEST = FOLDER / "MANIFEST.tsv"
GROUPS = ("scenes", "conformance", "malformed")


@lru_cache(maxsize=1)
def manifest() -> tuple[dict[str, str], ...]:
    """Rows of the manifest, group by group; none where the files are absent."""
    if not MANIFEST.is_file():
        return ()
    with MANIFEST.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return tuple(row for group in GROUPS for row in sorted(rows, key=lambda row: row["path"]) if row["group"] == group)


def examine_group(group: str) -> dict[str, Outcome]:
    """What is found of the files of a group, by path in the folder of files."""
    paths = [row["path"] for row in manifest() if row["group"] == group]
    together = 1 if group == "malformed" else 16
    return dict(zip(paths, examine_all([FOLDER / path for path in paths], together=together), strict=True))
