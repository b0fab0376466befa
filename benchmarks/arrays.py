"""Arrays of many items: ours against those of the peers, by time, memory, and pixel for pixel."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks.data import BANDS, build_rasteret
from benchmarks.measure import ROOT, Contender, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Result
    from rasteret_sql.testing import RangeServer

#: The rows that are ours: the first counts for the whole process, the second for the read alone.
COLD, WARM, LAZY = "rasteret_sql", "rasteret_sql, imported before", "rasteret_sql, Dask"
#: Peers and the module that each needs.
MODULES = {"odc-stac": "odc.stac", "stackstac": "stackstac", "rasteret": "rasteret"}
#: Whose pixels the others' are compared with, where a resampled one may differ.
_REFERENCE = "odc_stac.pool"
#: Our peak memory as a share of odc-stac's.
_MOST_MEMORY = 0.5

_ALL = {
    COLD: "ours_arrays.cold",
    WARM: "ours_arrays.warm",
    "odc-stac, pool": "odc_stac.pool",
    "odc-stac, Dask": "odc_stac.dask",
    "stackstac": "stackstac.stack",
}


@dataclass(frozen=True, slots=True)
class ArrayWorkload:
    """One comparison.

    Attributes:
        name: as it is asked for.
        title: what is done; filled in with the fields of the job.
        area: name of the job, in `arrays_data.make_jobs`.
        resampling: as the readers name it, None for pixels as they are.
        least: how many times faster than each peer we promise to be.
        has_memory_target: whether our peak memory is to be half of odc-stac's.
        calls: function below `benchmarks.peers` by contender.
    """

    name: str
    title: str
    area: Literal["window", "full", "warped", "zones"]
    resampling: Literal["nearest", "bilinear"] | None
    least: dict[str, float]
    has_memory_target: bool
    calls: dict[str, str]


WORKLOADS = {
    workload.name: workload
    for workload in (
        ArrayWorkload(
            "X1",
            "a window of {window}² x {band_count} bands x {item_count} items",
            "window",
            None,
            {"odc-stac": 5.0, "stackstac": 5.0, "rasteret": 2.5},
            has_memory_target=False,
            calls=_ALL | {"rasteret": "rasteret_arrays.read"},
        ),
        ArrayWorkload(
            "X2",
            "{size}² x {band_count} bands x {item_count} items",
            "full",
            None,
            {"odc-stac": 2.0},
            has_memory_target=True,
            calls=_ALL,
        ),
        ArrayWorkload(
            "X3-nearest",
            "{size}² x {band_count} bands x {item_count} items of two UTM zones on the grid of one, nearest",
            "zones",
            "nearest",
            {"odc-stac": 1.5},
            has_memory_target=True,
            calls=_ALL | {LAZY: "ours_arrays.dask"},
        ),
        ArrayWorkload(
            "X3-bilinear",
            "{size}² x {band_count} bands x {item_count} items of two UTM zones on the grid of one, bilinear",
            "zones",
            "bilinear",
            {"odc-stac": 1.5},
            has_memory_target=True,
            calls=_ALL | {LAZY: "ours_arrays.dask"},
        ),
        ArrayWorkload(
            "X3-all",
            "{size}² x {band_count} bands x {item_count} items of one UTM zone on a grid of the next, bilinear",
            "warped",
            "bilinear",
            {"odc-stac": 1.5},
            has_memory_target=True,
            calls=_ALL | {LAZY: "ours_arrays.dask"},
        ),
    )
}


def run(
    workload: ArrayWorkload,
    job: dict[str, Any],
    folder: Path,
    server: RangeServer,
    pythons: dict[str, str],
    repeat: int,
    *,
    with_targets: bool,
) -> tuple[str, list[str]]:
    """Run one workload.

    Args:
        workload: what is read.
        job: as `arrays_data.make_jobs` gives it for the workload's area.
        folder: where the job is written.
        server: counts the requests.
        pythons: the interpreter of each reader; who has none takes no part.
        repeat: rounds that count.
        with_targets: whether the text says if our promises hold.

    Returns:
        A table, and what went wrong.
    """
    job = {**job, "resampling": workload.resampling}
    job_path = folder / f"{workload.name}.json"
    job_path.write_text(json.dumps(job), encoding="utf-8")
    contenders = [
        Contender(name, pythons[family], call)
        for name, call in workload.calls.items()
        if (family := name.partition(",")[0]) in pythons and (name != LAZY or find_spec("dask") is not None)
    ]
    if any(contender.name == "rasteret" for contender in contenders):
        build_rasteret(pythons["rasteret"], job_path, ROOT)
    results = measure(contenders, job_path, server, repeat=repeat, warm_up=repeat > 1)
    title = workload.title.format(**job, band_count=len(BANDS))
    lines = [f"### {workload.name}: {title}", "", *_rows(results), ""]
    if workload.resampling is not None:
        lines += [*_differences(Path(job["kept"]), results), ""]
    if with_targets:
        lines += [*_verdicts(workload, results), ""]
    return "\n".join(lines), _what_is_wrong(workload, results)


def _rows(results: Sequence[Result]) -> list[str]:
    ours = _median(results, COLD, "process_s"), _median(results, WARM, "read_s")
    lines = [
        (
            "| reader | whole process s | least - most | it / ours | read only s | least - most | it / ours "
            "| CPU s | peak MB | requests | MB fetched |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        name = result.contender.name
        if not result.runs:
            lines.append(f"| {name} | failed: {result.failure} | | | | | | | | | |")
            continue
        cells = [
            cell
            for clock, own in zip(("process_s", "read_s"), ours, strict=True)
            for cell in _cells(result, clock, own)
        ]
        cpu_s = statistics.median(run.facts["cpu_s"] for run in result.runs)
        peak = statistics.median(run.facts["peak_rss_bytes"] for run in result.runs) / 1e6
        asked = statistics.median(len(run.requests) for run in result.runs)
        fetched = statistics.median(run.nbytes for run in result.runs) / 1e6
        lines.append(f"| {name} | {' | '.join(cells)} | {cpu_s:.2f} | {peak:.0f} | {asked:.0f} | {fetched:.1f} |")
    return lines


def _cells(result: Result, clock: str, ours_s: float | None) -> list[str]:
    """Give median, spread and ratio of one clock; empty where it is not what the row is there for."""
    median, spread, name = result.median(clock), result.spread(clock), result.contender.name
    if median is None or spread is None or (name == WARM and clock == "process_s"):
        return ["", "", ""]
    ratio = "" if ours_s is None or name in {COLD, WARM} else f"{median / ours_s:.2f}"
    return [f"{median:.3f}", f"{spread[0]:.3f} - {spread[1]:.3f}", ratio]


def _verdicts(workload: ArrayWorkload, results: Sequence[Result]) -> list[str]:
    said = []
    for peer, least in workload.least.items():
        for clock, ours_name, what in (("process_s", COLD, "whole process"), ("read_s", WARM, "read only")):
            ours_s, peer_s = _median(results, ours_name, clock), _best(results, peer, clock)
            if ours_s is None or peer_s is None:
                said.append(f"* {what}, at least {least:g} times as fast as {peer}: not measured")
                continue
            verdict = "kept" if peer_s / ours_s >= least else "MISSED"
            said.append(f"* {what}, at least {least:g} times as fast as {peer}: {peer_s / ours_s:.2f}, {verdict}")
    if workload.has_memory_target:
        ours, theirs = _peak(results, COLD), _peak(results, "odc-stac")
        if ours is None or theirs is None:
            said.append(f"* peak memory, at most {_MOST_MEMORY:g} of odc-stac's: not measured")
        else:
            verdict = "kept" if ours / theirs <= _MOST_MEMORY else "MISSED"
            said.append(f"* peak memory, at most {_MOST_MEMORY:g} of odc-stac's: {ours / theirs:.2f}, {verdict}")
    return said


def _median(results: Sequence[Result], name: str, clock: str) -> float | None:
    return next((result.median(clock) for result in results if result.contender.name == name and result.runs), None)


def _best(results: Sequence[Result], peer: str, clock: str) -> float | None:
    """Give the least median of the ways in which a peer was called."""
    medians = (result.median(clock) for result in results if _is_of(result, peer))
    return min((median for median in medians if median is not None), default=None)


def _peak(results: Sequence[Result], reader: str) -> float | None:
    """Give the least median peak of the ways in which a reader was called."""
    peaks = [
        statistics.median(run.facts["peak_rss_bytes"] for run in result.runs)
        for result in results
        if result.runs and _is_of(result, reader)
    ]
    return min(peaks, default=None)


def _is_of(result: Result, reader: str) -> bool:
    name = result.contender.name
    return name == reader if reader == COLD else name.partition(",")[0] == reader


def _differences(folder: Path, results: Sequence[Result]) -> list[str]:
    """Compare resampled pixels with those of odc-stac."""
    measured = [result.contender for result in results if result.runs]
    reference = folder / f"{_REFERENCE}.npy"
    if not any(contender.call == _REFERENCE for contender in measured):
        return []
    theirs = np.load(reference, mmap_mode="r")
    said = []
    for contender in measured:
        path = folder / f"{contender.call}.npy"
        if path == reference:
            continue
        found = np.load(path, mmap_mode="r")
        if found.shape != theirs.shape:
            said.append(f"* {contender.name}: shape {found.shape}, odc-stac's {theirs.shape}")
            continue
        said.append(f"* {contender.name} against odc-stac: {describe_difference(found, theirs)}")
    return said


def describe_difference(found: np.ndarray, theirs: np.ndarray) -> str:
    """Say how two arrays (item, band, y, x) of integers with nodata 0 differ."""
    equal = one_sided = both = apart = most = 0
    for mine, other in zip(found, theirs, strict=True):
        mine_valid, other_valid = mine != 0, other != 0
        shared = mine_valid & other_valid
        steps = np.abs(mine.astype(np.int32) - other.astype(np.int32))[shared]
        equal += int((mine == other).sum())
        one_sided += int((mine_valid ^ other_valid).sum())
        both += int(shared.sum())
        apart += int((steps > 1).sum())
        most = max(most, int(steps.max(initial=0)))
    return (
        f"{equal / found.size:.6f} equal; of {both} pixels valid in both {apart} differ by more than 1, "
        f"at most by {most}; {one_sided} valid in one only"
    )


def _what_is_wrong(workload: ArrayWorkload, results: Sequence[Result]) -> list[str]:
    """Say which reader failed or gave another grid, or other pixels where nothing was resampled."""
    wrong = [f"{workload.name}, {result.contender.name}: {result.failure}" for result in results if result.failure]
    measured = [result for result in results if result.runs]
    grids = {result.contender.name: result.runs[0].facts["grid"] for result in measured}
    if len({tuple(grid) for grid in grids.values()}) > 1:
        wrong.append(f"{workload.name}: the grids differ: {grids}")
    sums = {result.contender.name: {run.facts["checksum"] for run in result.runs} for result in measured}
    if workload.resampling is None and len(set().union(*sums.values())) > 1:
        wrong.append(f"{workload.name}: the pixels differ: {sums}")
    return wrong
