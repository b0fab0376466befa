"""The first batch of a time series: from making a dataset until its first batch is there, by three datasets.

The three cases are those of rasteret's own headline: one area on 15 dates, five areas on 30 dates in batches of four,
and one area that two UTM zones share. Scenes have the size and tiles of Sentinel-2.
"""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

import rasteret_sql as rs
from benchmarks.data import EPSG, NORTH, PIXEL_M, TINY, WEST, build_rasteret
from benchmarks.measure import ROOT, Contender, measure
from rasteret_sql.geo.project import project_bounds
from rasteret_sql.testing import RangeServer, bench_collection, write_cog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.data import Scale
    from benchmarks.measure import Result

NAME: Final = "first-batch"
OURS: Final = "rasteret_sql"
#: RasterDataset has series since TorchGeo 0.9, and these samplers came with 0.10.
MODULES: Final = {"torchgeo": "torchgeo.samplers.temporal", "rasteret": "rasteret"}
_OTHER_EPSG: Final = 32644
_FIRST: Final = datetime(2024, 1, 5, 5, tzinfo=UTC)
#: Seconds before each answer, in turn; one latency for little data.
_LATENCIES_S: Final = (0.03, 0.1)
#: Files that differ on disk: what is compared is addresses and bytes.
_DISTINCT: Final = 2
#: Share by which sums of resampled pixels may differ: rasteret resamples by another rule.
_TOLERANCE: Final = 5e-3


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        title: what is read.
        zones: EPSG codes of the scenes, in turn.
        scenes: how many.
        areas: places in a batch.
        target: times as fast as rasteret that we promise to be.
    """

    title: str
    zones: tuple[int, ...]
    scenes: int
    areas: int
    target: float


CASES: Final = {
    "a": Case("one area, 15 dates", (EPSG,), 15, 1, 1.5),
    "b": Case("batch of 4 of five areas, 30 dates", (EPSG,), 30, 4, 2.0),
    "c": Case("one area in two UTM zones, 12 dates", (EPSG, _OTHER_EPSG), 12, 1, 1.5),
}


def run(
    folder: Path, scale: Scale, pythons: dict[str, str], repeat: int, *, with_targets: bool
) -> tuple[str, list[str]]:
    """Measure all cases, and give Markdown and what went wrong."""
    size = scale.size if scale == TINY else 10_980
    tile = scale.tile if scale == TINY else 1024
    _write_distinct(folder, size, tile)
    lines, wrong = [], []
    for latency_s in (scale.latency_s,) if scale == TINY else _LATENCIES_S:
        with RangeServer(folder / "served", latency_s=latency_s, runs_in="process") as server:
            for name, case in CASES.items():
                job_path = _write_job(folder, name, case, size, scale.window, server)
                if "rasteret" in pythons:
                    build_rasteret(pythons["rasteret"], job_path, ROOT)
                calls = {
                    OURS: (pythons.get("torchgeo", pythons[OURS]), "torchgeo_series.ours"),
                    "RasterDataset": (pythons.get("torchgeo"), "torchgeo_series.theirs"),
                    "rasteret": (pythons.get("rasteret"), "rasteret.series"),
                }
                contenders = [Contender(who, python, call) for who, (python, call) in calls.items() if python]
                results = measure(contenders, job_path, server, repeat=repeat, warm_up=repeat > 1)
                lines.append(_table(name, case, latency_s, results, with_targets=with_targets))
                wrong += _what_is_wrong(name, case, results)
    return "\n".join(lines), wrong


def _write_distinct(folder: Path, size: int, tile: int) -> None:
    """Write the files behind the names of scenes: on the grid of `bench_collection`, and in the zone beside it."""
    own = folder / str(EPSG)
    if not own.exists():
        bench_collection(own, items=_DISTINCT, bands=1, size=size, tile=tile)
    other = folder / str(_OTHER_EPSG)
    if other.exists():
        return
    side = PIXEL_M * size
    xmin, _, _, ymax = _bounds(side, f"EPSG:{_OTHER_EPSG}")
    transform = (PIXEL_M, 0.0, round(xmin / PIXEL_M) * PIXEL_M, 0.0, -PIXEL_M, round(ymax / PIXEL_M) * PIXEL_M)
    ground = np.random.default_rng(0).integers(1000, 3000, (min(size, 1024),) * 2, dtype=np.uint16)
    times = -(-size // ground.shape[0])
    for number in range(_DISTINCT):
        pixels = np.tile(np.roll(ground, number, axis=0), (times, times))[:size, :size]
        options = {"crs": f"EPSG:{_OTHER_EPSG}", "transform": transform, "tile": tile, "level": 1, "nodata": 0}
        write_cog(other / f"{number}.tif", pixels, **options)


def _bounds(side: float, crs: str) -> list[float]:
    """Give the bounds of the scenes of `bench_collection` in a CRS."""
    found: list[float] = project_bounds([(WEST, NORTH - side, WEST + side, NORTH)], f"EPSG:{EPSG}", crs)[0].tolist()
    return found


def _write_job(folder: Path, name: str, case: Case, size: int, window: int, server: RangeServer) -> Path:
    """Serve the scenes of a case under names of their own, index them, and write the job."""
    served = folder / "served"
    served.mkdir(exist_ok=True)
    files = {epsg: sorted((folder / str(epsg)).rglob("*.tif")) for epsg in case.zones}
    rows: list[dict[str, Any]] = []
    for number in range(case.scenes):
        epsg = case.zones[number % len(case.zones)]
        when = _FIRST + timedelta(days=number)
        path = served / f"{name}_{when:%Y%m%d}_red.tif"
        path.unlink(missing_ok=True)
        os.link(files[epsg][number // len(case.zones) % _DISTINCT], path)
        rows.append(
            {"item_id": f"{name}-{when:%Y%m%d}", "asset": "red", "href": server.url(path.name), "datetime": when}
        )
    index = folder / f"{name}.parquet"
    rs.build_index(pa.Table.from_pylist(rows), index)
    rng = np.random.default_rng(1)
    # Whole pixels, inside the ground that both zones have.
    places = rng.integers(size // 4, 3 * size // 4 - window, (5, 2))[: case.areas]
    corners = [(WEST + PIXEL_M * col, NORTH - PIXEL_M * row) for row, col in places.tolist()]
    areas = [(west, north - PIXEL_M * window, west + PIXEL_M * window, north) for west, north in corners]
    job = {
        "index": str(index),
        "rasteret_folder": str(folder / "rasteret" / "bench_records"),
        "item_ids": [row["item_id"] for row in rows],
        "times_us": [round(row["datetime"].timestamp() * 1e6) for row in rows],
        "files": [[row["href"]] for row in rows],
        "epsgs": [case.zones[number % len(case.zones)] for number in range(case.scenes)],
        "epsg": EPSG,
        "footprint": _bounds(PIXEL_M * size, "OGC:CRS84"),
        "bands": ["red"],
        "areas": areas,
        "resolution": PIXEL_M,
    }
    path = folder / f"{NAME}-{name}.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def _what_is_wrong(name: str, case: Case, results: Sequence[Result]) -> list[str]:
    wrong = [f"{NAME} {name}, {result.contender.name}: {result.failure}" for result in results if result.failure]
    shapes = {tuple(run.facts["shape"]) for result in results for run in result.runs}
    if len(shapes) > 1:
        wrong.append(f"{NAME} {name}: the shapes differ: {sorted(shapes)}")
    sums = [run.facts["pixel_sum"] for result in results for run in result.runs]
    tolerance = _TOLERANCE if len(case.zones) > 1 else 0.0
    if sums and max(sums) - min(sums) > tolerance * max(sums):
        wrong.append(f"{NAME} {name}: the pixels differ: their sums are {sorted(set(sums))}")
    return wrong


def _table(name: str, case: Case, latency_s: float, results: Sequence[Result], *, with_targets: bool) -> str:
    lines = [
        f"### {NAME} {name}: {case.title}, {latency_s * 1000:.0f} ms before each answer",
        "",
        "From making the dataset until its first batch is there, after imports.",
        "",
        "| dataset | median s | least - most s | of it making s | processor s | requests | MB fetched | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    medians: dict[str, float] = {}
    for result in results:
        who = result.contender.name
        if not result.runs:
            lines.append(f"| {who} | failed: {result.failure} | | | | | | |")
            continue
        median, spread = result.median("read_s"), result.spread("read_s")
        assert median is not None
        assert spread is not None
        medians[who] = median
        facts = {
            fact: statistics.median(run.facts[fact] for run in result.runs)
            for fact in ("making_s", "work_cpu_s", "peak_rss_bytes")
        }
        asked = statistics.median(len(run.requests) for run in result.runs)
        fetched = statistics.median(run.nbytes for run in result.runs) / 1e6
        lines.append(
            f"| {who} | {median:.3f} | {spread[0]:.3f} - {spread[1]:.3f} | {facts['making_s']:.3f} "
            f"| {facts['work_cpu_s']:.2f} | {asked:.0f} | {fetched:.1f} | {facts['peak_rss_bytes'] / 1e6:.0f} |"
        )
    lines.append("")
    for who, median in medians.items():
        if who == OURS or OURS not in medians:
            continue
        ratio = median / medians[OURS]
        is_promised = with_targets and who == "rasteret"
        target = f" (target {case.target:g}: {'kept' if ratio >= case.target else 'missed'})" if is_promised else ""
        lines.append(f"* {ratio:.2f} times as fast as {who}{target}")
    return "\n".join([*lines, ""])
