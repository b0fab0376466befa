"""Charts of the benchmarks: one for each question, from the tables of docs/performance.md."""
# ruff: noqa: INP001 - a script's helper, not a module of the package

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_PAGE = Path(__file__).resolve().parent / "performance.md"
_OURS, _THEIRS, _INK = "#00897b", "#9aa5ad", "#22313f"
_NAME = "rasteret_sql"

Rows = list[list[str]]


def charts() -> dict[str, npt.NDArray[np.uint8]]:
    """Draw all charts, by name: uint8 (height, width, 3)."""
    results = _table("| Workload | rasteret_sql | peer |")
    arrays = _table("| Workload | Reader | Whole process, s |")
    training = _table("| Workers | | rasteret_sql, chips/s |")
    return {
        "chart-cold": _bars(_against(results, "Cold start"), "seconds"),
        "chart-window": _bars(_against(results, "Read only: 2048²"), "seconds"),
        "chart-chips": _bars(_against(results, "Read only: 2,000 chips"), "seconds"),
        "chart-headers": _bars(_against(results, "Headers of 1,000 files"), "seconds"),
        "chart-arrays": _bars([(row[1], float(row[3])) for row in arrays if row[0].startswith("X2")], "seconds"),
        "chart-training": _bars(
            [
                (f"{name}, {row[0]} workers" if row[0] != "0" else f"{name}, no worker", float(row[column]))
                for row in training
                if row[1] == "warm"
                for name, column in ((_NAME, 2), ("RasterDataset", 3))
            ],
            "chips per second",
        ),
    }


def _table(start: str) -> Rows:
    """Give the rows of a table; an empty first cell means that of the row above."""
    lines = _PAGE.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(start))
    rows: Rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        rows.append([cells[0] or rows[-1][0], *cells[1:]])
    return rows


def _against(rows: Rows, workload: str) -> list[tuple[str, float]]:
    """Give the seconds of rasteret_sql and of its peers for a workload."""
    chosen = [row for row in rows if row[0].startswith(workload)]
    return [(_NAME, float(chosen[0][1].split(" s")[0])), *((row[2], float(row[3])) for row in chosen)]


def _bars(values: Sequence[tuple[str, float]], unit: str) -> npt.NDArray[np.uint8]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 0.34 * len(values) + 0.65), dpi=120, layout="constrained", facecolor="white")
    axes: Any = figure.subplots()
    names = [name for name, _ in values]
    numbers = [number for _, number in values]
    colors = [_OURS if name.startswith(_NAME) else _THEIRS for name in names]
    bars = axes.barh(range(len(values)), numbers, color=colors, height=0.66)
    axes.bar_label(
        bars,
        [f"{number:.0f}" if number >= 100 else f"{number:#.3g}" for number in numbers],
        padding=4,
        color=_INK,
        fontsize=9,
    )
    axes.set_yticks(range(len(values)), names, fontsize=9, color=_INK)
    axes.invert_yaxis()
    axes.set_xlim(0, max(numbers) * 1.12)
    axes.set_xlabel(unit, fontsize=9, color=_INK)
    axes.tick_params(length=0, labelsize=9, colors=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return np.asarray(imagecodecs.png_decode(data.getvalue()))[..., :3]
