"""Random chips for training, through a TorchGeo dataset and a `DataLoader`: ours against TorchGeo's `RasterDataset`."""

from __future__ import annotations

import json
import os
import random
import statistics
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import rasteret_sql as rs
from benchmarks.measure import Contender, measure
from rasteret_sql.testing import bench_collection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.data import Scale
    from benchmarks.measure import Result
    from rasteret_sql.testing import RangeServer

NAME = "training"
WORKERS = (0, 2, 4)
#: How many times faster than `RasterDataset` we promise to be.
_LEAST = {"cold": 8.0, "warm": 3.0}
_BANDS = ("red", "nir")
_BATCH = 16
#: Pixels of a file's side by those of the other workloads: what is read must not fit the caches of GDAL.
_LARGER = 4


def write_job(folder: Path, scale: Scale, server: RangeServer) -> Path:
    """Write files, their index and the job; `folder / "served"` is what the server serves.

    Every item has files of its own by name, though few differ on disk: what is compared is addresses and bytes.
    """
    served = folder / "served"
    distinct = bench_collection(
        folder / "distinct", items=2, bands=len(_BANDS), size=scale.size * _LARGER, tile=scale.tile
    )
    served.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number in range(scale.items):
        item = distinct.items[number % 2]
        when = distinct.items[0].when + timedelta(days=number)
        for band in _BANDS:
            name = f"{when:%Y%m%d}_{band}.tif"
            (served / name).unlink(missing_ok=True)
            os.link(item.assets[band], served / name)
            rows.append({"item_id": f"{when:%Y%m%d}", "asset": band, "href": server.url(name), "datetime": when})
    index = folder / "training.parquet"
    rs.build_index(pa.Table.from_pylist(rows), index)
    rng = random.Random(0)
    most = scale.size * _LARGER - scale.window
    days = sorted({row["item_id"] for row in rows})
    chips = [
        [rng.choice(days), rng.randint(0, most), rng.randint(0, most)] for _ in range(2 * max(scale.chips // 8, _BATCH))
    ]
    job = {
        "index": str(index),
        "urls": sorted(row["href"] for row in rows if row["asset"] == _BANDS[0]),
        "bands": list(_BANDS),
        "chips": chips,
        "size": scale.window,
        "batch": _BATCH,
        "crs": "EPSG:32643",
    }
    path = folder / "training.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def run(
    folder: Path, scale: Scale, server: RangeServer, python: str, repeat: int, *, with_targets: bool
) -> tuple[str, list[str]]:
    """Measure, and give Markdown and what went wrong."""
    path = write_job(folder, scale, server)
    contenders = [
        Contender(f"{name}, {workers} workers", python, f"torchgeo_chips.{call}_{workers}")
        for workers in WORKERS
        for name, call in (("rasteret_sql", "ours"), ("RasterDataset", "theirs"))
    ]
    results = measure(contenders, path, server, repeat=repeat, warm_up=repeat > 1)
    wrong = [f"{NAME}, {result.contender.name}: {result.failure}" for result in results if result.failure]
    sums = {run.facts["pixel_sum"] for result in results for run in result.runs}
    if len(sums) > 1:
        wrong.append(f"{NAME}: the pixels differ: their sums are {sorted(sums)}")
    return _table(results, json.loads(path.read_text(encoding="utf-8")), with_targets=with_targets), wrong


def _table(results: Sequence[Result], job: dict[str, Any], *, with_targets: bool) -> str:
    lines = [
        f"### {NAME}: random chips of {job['size']}² x {len(job['bands'])} bands, batches of {job['batch']}",
        "",
        "Cold: the dataset is made, workers begin, and the first half of the chips is read. Warm: the other half.",
        "",
        "| dataset | chips/s cold | chips/s warm | requests | MB fetched | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    rates: dict[str, dict[str, float]] = {}
    half = len(job["chips"]) // 2
    for result in results:
        if not result.runs:
            lines.append(f"| {result.contender.name} | failed: {result.failure} | | | | |")
            continue
        found = {
            when: half / statistics.median(run.facts[f"{when}_s"] for run in result.runs) for when in ("cold", "warm")
        }
        rates[result.contender.name] = found
        asked = statistics.median(len(run.requests) for run in result.runs)
        fetched = statistics.median(run.nbytes for run in result.runs) / 1e6
        peak = statistics.median(run.facts["peak_rss_bytes"] for run in result.runs) / 1e6
        lines.append(
            f"| {result.contender.name} | {found['cold']:.1f} | {found['warm']:.1f} | {asked:.0f} | {fetched:.0f} "
            f"| {peak:.0f} |"
        )
    lines.append("")
    for workers in WORKERS:
        names = [f"{name}, {workers} workers" for name in ("rasteret_sql", "RasterDataset")]
        if not all(name in rates for name in names):
            continue
        for when, least in _LEAST.items():
            ratio = rates[names[0]][when] / rates[names[1]][when]
            target = f" (target {least:g}: {'kept' if ratio >= least else 'missed'})" if with_targets else ""
            lines.append(f"* {workers} workers, {when}: {ratio:.1f} times RasterDataset{target}")
    return "\n".join([*lines, ""])
