"""Chips of a block's size for training: aligned to the blocks of files, or anywhere. Both through our dataset."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Contender, measure
from benchmarks.training import write_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.data import Scale
    from benchmarks.measure import Result
    from rasteret_sql.testing import RangeServer

NAME: Final = "blocks"
_ALIGNED: Final = "inside blocks"
_ANYWHERE: Final = "anywhere"
#: Times as fast as chips anywhere that aligned chips should be.
_LEAST: Final = 3.0


def run(
    folder: Path, scale: Scale, server: RangeServer, python: str, repeat: int, *, with_targets: bool
) -> tuple[str, list[str]]:
    """Measure, and give Markdown and what went wrong: aligned chips that take more than one request for each band."""
    path = write_job(folder, scale, server)
    job = {**json.loads(path.read_text(encoding="utf-8")), "size": scale.tile, "count": max(scale.chips // 8, 16)}
    path.write_text(json.dumps(job), encoding="utf-8")
    contenders = [
        Contender(_ALIGNED, python, "torchgeo_chips.in_blocks"),
        Contender(_ANYWHERE, python, "torchgeo_chips.anywhere"),
    ]
    results = measure(contenders, path, server, repeat=repeat, warm_up=repeat > 1)
    wrong = [f"{NAME}, {result.contender.name}: {result.failure}" for result in results if result.failure]
    # One more chip comes before the clock starts.
    most = (job["count"] + 1) * len(job["bands"])
    wrong += [
        f"{NAME}: {len(run.requests)} requests for {job['count']} chips, expected at most one per chip and band"
        for result in results
        for run in result.runs
        if result.contender.name == _ALIGNED and len(run.requests) > most
    ]
    return _table(results, job["count"], scale.tile, len(job["bands"]), with_targets=with_targets), wrong


def _table(results: Sequence[Result], count: int, size: int, bands: int, *, with_targets: bool) -> str:
    lines = [
        f"### {NAME}: {count} random chips of {size}² x {bands} bands from files with blocks of {size}²",
        "",
        "| chips | chips/s | processor ms per chip | MB per chip | requests per chip |",
        "|---|---|---|---|---|",
    ]
    rates: dict[str, float] = {}
    for result in results:
        who = result.contender.name
        if not result.runs:
            lines.append(f"| {who} | failed: {result.failure} | | | |")
            continue
        rates[who] = count / statistics.median(run.facts["chips_s"] for run in result.runs)
        cpu_ms = statistics.median(run.facts["chips_cpu_s"] for run in result.runs) / count * 1000
        fetched = statistics.median(run.nbytes for run in result.runs) / count / 1e6
        asked = statistics.median(len(run.requests) for run in result.runs) / count
        lines.append(f"| {who} | {rates[who]:.1f} | {cpu_ms:.1f} | {fetched:.2f} | {asked:.2f} |")
    lines.append("")
    if len(rates) == len(results):
        ratio = rates[_ALIGNED] / rates[_ANYWHERE]
        target = f" (target {_LEAST:g}: {'kept' if ratio >= _LEAST else 'missed'})" if with_targets else ""
        lines.append(f"* chips inside blocks: {ratio:.2f} times as many a second{target}")
    return "\n".join([*lines, ""])
