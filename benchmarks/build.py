"""Building an index of many small files: requests per file, our speed against rasteret's, and what memory it takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.data import EPSG, write_small
from benchmarks.measure import ROOT, Contender, measure
from benchmarks.workloads import OURS
from rasteret_sql.testing import RangeServer

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.data import Scale
    from benchmarks.measure import Result

NAME, MEMORY_NAME = "build", "build-memory"
#: Peers and the module that each needs.
MODULES = {"rasteret": "rasteret"}
MOST_REQUESTS_PER_FILE = 1.1
LEAST_SPEEDUP = 5.0
#: Files of the smaller build whose memory is taken; the other one has four times as many, and may take so much more.
MEMORY_FILES, MOST_GROWTH = 10_000, 1.15
_CALLS = {OURS: "ours.build", "rasteret": "rasteret.build_many"}
#: What the items of the peer say; ours are read from the headers.
_FOOTPRINT, _TIME_US = (76.8, 13.0, 76.9, 13.1), 1_704_067_200_000_000


def run(
    folder: Path, scale: Scale, pythons: dict[str, str], repeat: int, *, with_targets: bool
) -> tuple[str, list[str]]:
    """Build, and give a table and what went wrong: a failure, a file that is missing, or too many requests of ours.

    Args:
        folder: for the files and all that is built of them.
        scale: how many files there are, and the latency of the server.
        pythons: the interpreter of each reader.
        repeat: rounds that count.
        with_targets: whether our speed is compared with what we promise.
    """
    small = write_small(folder / "served" / "small", scale)
    with RangeServer(folder / "served", latency_s=scale.latency_s, runs_in="process") as server:
        job_path = folder / f"{NAME}.json"
        job_path.write_text(json.dumps(_job(folder, [server.url(path) for path in small])), encoding="utf-8")
        contenders = [Contender(name, pythons[name], call) for name, call in _CALLS.items() if name in pythons]
        results = measure(contenders, job_path, server, repeat=repeat)
    return _table(results, scale, with_targets=with_targets), _what_is_wrong(results, scale.files)


def run_memory(folder: Path, scale: Scale, *, with_targets: bool) -> str:
    """Build from local files, and from four times as many, each in a process of its own; gives a table.

    Args:
        folder: for the files and the indexes.
        scale: what the files are.
        with_targets: whether there are enough files for the comparison to mean something.
    """
    first = MEMORY_FILES if with_targets else scale.files
    paths = [str(path) for path in write_small(folder / "many", replace(scale, files=4 * first))]
    lines = [f"### {MEMORY_NAME}: peak memory by number of files", "", "| files | s | peak MB |", "|---|---|---|"]
    peaks = []
    for count in (first, 4 * first):
        job_path = folder / f"{MEMORY_NAME}.json"
        job_path.write_text(json.dumps(_job(folder, paths[:count])), encoding="utf-8")
        command = [sys.executable, "-c", "from benchmarks.peers import ours; ours.build()", str(job_path)]
        done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
        facts = json.loads(done.stdout.splitlines()[-1])
        peaks.append(facts["peak_rss_bytes"])
        lines.append(f"| {facts['files']:,} | {facts['read_s']:.1f} | {peaks[-1] / 1e6:.0f} |")
    if with_targets:
        growth = peaks[1] / peaks[0]
        verdict = "kept" if growth <= MOST_GROWTH else "MISSED"
        lines += ["", f"* at most {MOST_GROWTH} x the memory for four times the files: {growth:.2f}, {verdict}"]
    return "\n".join([*lines, ""])


def _job(folder: Path, hrefs: list[str]) -> dict[str, Any]:
    return {
        "hrefs": hrefs,
        "written_index": str(folder / "built.parquet"),
        "rasteret_folder": str(folder / "rasteret" / "build_records"),
        "footprint": _FOOTPRINT,
        "time_us": _TIME_US,
        "epsg": EPSG,
    }


def _table(results: list[Result], scale: Scale, *, with_targets: bool) -> str:
    lines = [
        f"### {NAME}: an index of {scale.files:,} files",
        "",
        "| builder | median s after imports | least - most s | whole process s | peak MB | requests per file |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        if not result.runs:
            lines.append(f"| {result.contender.name} | failed: {result.failure} | | | | |")
            continue
        spread = result.spread("read_s")
        assert spread is not None
        peak = statistics.median(run.facts["peak_rss_bytes"] for run in result.runs) / 1e6
        lines.append(
            f"| {result.contender.name} | {result.median('read_s'):.2f} | {spread[0]:.2f} - {spread[1]:.2f} "
            f"| {result.median('process_s'):.2f} | {peak:.0f} | {_requests_per_file(result, scale.files):.2f} |"
        )
    return "\n".join([*lines, "", *(_verdicts(results) if with_targets else []), ""])


def _verdicts(results: list[Result]) -> list[str]:
    ours = next(result for result in results if result.contender.name == OURS)
    said = []
    for peer in results:
        if peer is ours:
            continue
        for clock, what in (("read_s", "after imports"), ("process_s", "whole process")):
            ours_s, peer_s = ours.median(clock), peer.median(clock)
            if ours_s is None or peer_s is None:
                said.append(f"* {LEAST_SPEEDUP:.0f} x as fast as {peer.contender.name}, {what}: not measured")
                continue
            verdict = "kept" if peer_s / ours_s >= LEAST_SPEEDUP else "MISSED"
            said.append(
                f"* {LEAST_SPEEDUP:.0f} x as fast as {peer.contender.name}, {what}: {peer_s / ours_s:.2f}, {verdict}"
            )
    return said


def _requests_per_file(result: Result, files: int) -> float:
    return max(len(run.requests) for run in result.runs) / files


def _what_is_wrong(results: list[Result], files: int) -> list[str]:
    wrong = [f"{NAME}, {result.contender.name}: {result.failure}" for result in results if result.failure]
    for result in results:
        read = {run.facts["files"] for run in result.runs}
        if read - {files}:
            wrong.append(f"{NAME}, {result.contender.name}: {read} files are in the index, expected {files}")
        if result.contender.name == OURS and result.runs:
            asked = _requests_per_file(result, files)
            if asked > MOST_REQUESTS_PER_FILE:
                wrong.append(f"{NAME}: {asked:.2f} requests per file, expected at most {MOST_REQUESTS_PER_FILE}")
    return wrong
