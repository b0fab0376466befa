"""What the settings of a read do: requests in flight against seconds, and bytes that wait against memory.

Each read is a process of its own. The requests must be the same with every setting.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import rasteret_sql as rs
from benchmarks.data import EPSG, NORTH, PIXEL_M, WEST, write_small
from benchmarks.measure import Contender, Result, measure
from rasteret_sql.testing import RangeServer, bench_collection

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.data import Scale

NAME: Final = "limits"


@dataclass(frozen=True, slots=True)
class LimitsScale:
    """What is set.

    Attributes:
        requests: values of `max_requests`.
        buffer_mib: values of `max_buffer_bytes`, in MiB. Smaller ones would cut the requests of a stream.
        latency_s: how long the server waits before each answer.
    """

    requests: tuple[int, ...] = (10, 30, 100, 300, 900)
    buffer_mib: tuple[int, ...] = (64, 128, 512)
    latency_s: float = 0.1


TINY_LIMITS: Final = LimitsScale((1, 4), (1, 8), 0.0)


def run(folder: Path, data: Scale, scale: LimitsScale, repeat: int) -> tuple[str, list[str]]:
    """Measure, and give two tables and what went wrong: requests that differ, and reads that failed.

    Args:
        folder: for the files and their indexes.
        data: sizes of the files.
        scale: what is set.
        repeat: rounds that count.
    """
    served = folder / "served"
    small = write_small(served / "small", data)
    bench_collection(served / "collection", items=data.items, bands=2, size=data.size, tile=data.tile)
    with RangeServer(served, latency_s=scale.latency_s, runs_in="process") as server:
        many, few = folder / "many.parquet", folder / "few.parquet"
        rs.build_index([server.url(path) for path in small], many, pattern="{item_id}.tif")
        rs.build_index(server.url("collection/items.json"), few)
        side = PIXEL_M * min(data.size, 512) / 4
        corner = [WEST, NORTH - side, WEST + side, NORTH]
        one_tile = {
            "bbox": [corner[0] + 1, corner[1] + 1, corner[2] - 1, corner[3] - 1],
            "geometry_crs": f"EPSG:{EPSG}",
        }
        by_requests = [
            _measured(folder, server, repeat, many, one_tile, {"max_requests": value}) for value in scale.requests
        ]
        by_bytes = [
            _measured(folder, server, repeat, few, {}, {"max_buffer_bytes": value << 20}) for value in scale.buffer_mib
        ]
    wrong = []
    for results in (by_requests, by_bytes):
        wrong += [f"{NAME}: {result.failure}" for result in results if result.failure]
        counts = {len(each.requests) for result in results for each in result.runs}
        if len(counts) > 1:
            wrong.append(f"{NAME}: got {sorted(counts)} requests, expected the same number with each setting")
    lines = [
        f"### {NAME}: {len(small):,} tiles of as many files, {scale.latency_s * 1000:.0f} ms before each answer",
        "",
        "| max_requests | s | requests/s | latency alone, requests/s | busy cores |",
        "|---|---|---|---|---|",
    ]
    for value, result in zip(scale.requests, by_requests, strict=True):
        if result.runs:
            seconds, cpu = _median(result, "read_s"), _median(result, "read_cpu_s")
            alone = f"{value / scale.latency_s:,.0f}" if scale.latency_s else "-"
            lines.append(f"| {value} | {seconds:.2f} | {len(small) / seconds:,.0f} | {alone} | {cpu / seconds:.2f} |")
    lines += [
        "",
        f"### {NAME}: whole files, {data.items * 2} of {data.size}²",
        "",
        "| max_buffer_bytes, MiB | s | peak MB |",
        "|---|---|---|",
    ]
    for value, result in zip(scale.buffer_mib, by_bytes, strict=True):
        if result.runs:
            peak = statistics.median(each.facts["peak_rss_bytes"] for each in result.runs) / 1e6
            lines.append(f"| {value} | {_median(result, 'read_s'):.2f} | {peak:.0f} |")
    return "\n".join([*lines, ""]), wrong


def _measured(
    folder: Path, server: RangeServer, repeat: int, index: Path, arguments: dict[str, Any], options: dict[str, int]
) -> Result:
    job = folder / f"{NAME}.json"
    job.write_text(json.dumps({"index": str(index), "arguments": arguments, "options": options}), encoding="utf-8")
    name = ", ".join(f"{name}={value}" for name, value in options.items())
    (result,) = measure([Contender(name, sys.executable, "ours.with_options")], job, server, repeat=repeat)
    return result


def _median(result: Result, name: str) -> float:
    return float(statistics.median(each.facts[name] for each in result.runs))
