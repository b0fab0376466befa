"""Results as Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.workloads import MOST_RSS_BYTES, OURS

if TYPE_CHECKING:
    from benchmarks.measure import Result
    from benchmarks.workloads import Workload


def describe_machine() -> str:
    """Say what was measured on, and what else it had to do."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {load}"


def table(workload: Workload, title: str, results: list[Result], *, with_targets: bool) -> str:
    """Give one table: a row per contender, and below it whether our promises hold where that is asked for."""
    ours = next((result for result in results if result.contender.name == OURS and result.runs), None)
    ours_s = None if ours is None else ours.median(workload.clock)
    lines = [
        f"### {workload.name}: {title}",
        "",
        "| reader | median s | least - most s | to array s | peak MB | requests | MB fetched | ours / it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        name = result.contender.name
        if not result.runs:
            lines.append(f"| {name} | failed: {result.failure} | | | | | | |")
            continue
        median, spread = result.median(workload.clock), result.spread(workload.clock)
        assert median is not None
        assert spread is not None
        array_s = result.median("array_s") or 0.0
        peak = statistics.median(run.facts["peak_rss_bytes"] for run in result.runs) / 1e6
        asked = statistics.median(len(run.requests) for run in result.runs)
        fetched = statistics.median(run.nbytes for run in result.runs) / 1e6
        ratio = "" if ours_s is None or name == OURS else f"{ours_s / median:.2f}"
        shown = f"{name} (1 run)" if len(result.runs) == 1 else name
        lines.append(
            f"| {shown} | {median:.3f} | {spread[0]:.3f} - {spread[1]:.3f} | {array_s:.3f} | {peak:.0f} "
            f"| {asked:.0f} | {fetched:.1f} | {ratio} |"
        )
    return "\n".join([*lines, "", *(_verdicts(workload, results, ours_s) if with_targets else [])])


def _verdicts(workload: Workload, results: list[Result], ours_s: float | None) -> list[str]:
    said = []
    for target in workload.targets:
        peer_s = next(
            (
                result.median(workload.clock)
                for result in results
                if result.contender.name == target.peer and result.runs
            ),
            None,
        )
        if ours_s is None or peer_s is None:
            said.append(f"* at most {target.most:.2f} x {target.peer}: not measured")
        else:
            ratio = ours_s / peer_s
            verdict = "kept" if ratio <= target.most else "MISSED"
            said.append(f"* at most {target.most:.2f} x {target.peer}: {ratio:.2f}, {verdict}")
    for result in results:
        facts = [run.facts for run in result.runs if {"nbytes", "pixels"} & run.facts.keys()]
        if facts:
            peak = max(fact["peak_rss_bytes"] for fact in facts)
            verdict = "kept" if peak < MOST_RSS_BYTES else "MISSED"
            said.append(_amount(facts))
            said.append(f"* peak below {MOST_RSS_BYTES / 1e6:.0f} MB: {peak / 1e6:.0f} MB, {verdict}")
    return [*said, ""]


def _amount(facts: list[dict[str, Any]]) -> str:
    """Say how much was streamed, and how fast."""
    if "pixels" in facts[0]:
        speed = statistics.median(fact["pixels"] / fact["read_s"] for fact in facts)
        return f"* {facts[0]['pixels']:,} pixels at {speed / 1e6:.1f} million rows/s"
    speed = statistics.median(fact["nbytes"] / fact["read_s"] for fact in facts)
    return f"* {facts[0]['tiles']} tiles, {facts[0]['nbytes'] / 1e9:.2f} GB at {speed / 1e6:.0f} MB/s"
