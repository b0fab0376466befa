"""A large zone, with and without statistics of tiles: seconds and bytes, and whether the results are the same.

Items lie side by side, as those of a country do, on several days. A boundary crosses a smaller part of the tiles the
more tiles there are, so tiles are smaller here than those of real collections, and so are the files.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import shapely

import rasteret_sql as rs
from rasteret_sql.testing import RangeServer, write_cog

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "zones"
LEAST_SPEEDUP: Final = 20.0
MOST_BYTES: Final = 0.05
_CRS, _PIXEL_M, _WEST, _NORTH = "EPSG:32643", 10.0, 300_000.0, 1_900_000.0
_STATS: Final = ["count", "sum", "mean", "stdev", "min", "max"]


@dataclass(frozen=True, slots=True)
class ZonesScale:
    """How much is read.

    Attributes:
        across: items side by side, in x and in y.
        days: how often each of them comes.
        size, tile: height and width of a file, and of its tiles, in pixels.
        latency_s: how long the server waits before each answer.
    """

    across: int = 8
    days: int = 3
    size: int = 2048
    tile: int = 128
    latency_s: float = 0.03


TINY_ZONES: Final = ZonesScale(across=2, days=1, size=256, tile=16, latency_s=0.0)


def run(folder: Path, scale: ZonesScale, repeat: int, *, with_targets: bool) -> tuple[str, list[str]]:
    """Measure, and give a table and what went wrong: results that differ.

    Args:
        folder: for the files, their index and the statistics.
        scale: how much is read.
        repeat: rounds that count.
        with_targets: whether speed and bytes are compared with what we promise.
    """
    served = folder / "served"
    served.mkdir(parents=True, exist_ok=True)
    with RangeServer(served, latency_s=scale.latency_s, runs_in="process") as server:
        index, path = folder / "zones.parquet", folder / "zones.stats.parquet"
        rs.build_index(pa.Table.from_pylist(_write(served, scale, server)), index)
        rs.build_stats(index, path)
        width = scale.across * scale.size * _PIXEL_M
        zone = shapely.Point(_WEST + width / 2, _NORTH - width / 2).buffer(width * 0.49, quad_segs=64)
        seconds: dict[str, list[float]] = {"pixels": [], "statistics": []}
        nbytes: dict[str, int] = {}
        rows: dict[str, Any] = {}
        for _ in range(repeat + 1):
            for name, options in (("pixels", {}), ("statistics", {"statistics": path})):
                server.reset()
                began_s = time.perf_counter()
                rows[name] = rs.zonal_stats(
                    index, [zone], geometry_crs=_CRS, stats=_STATS, by="all", **options
                ).read_all()
                seconds[name].append(time.perf_counter() - began_s)
                nbytes[name] = sum((request.end or 0) - (request.start or 0) for request in server.requests)
    wrong = [] if rows["pixels"].equals(rows["statistics"]) else [f"{NAME}: results differ: {rows}"]
    # The first round warms up.
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    speedup, share = median["pixels"] / median["statistics"], nbytes["statistics"] / nbytes["pixels"]
    files, tiles = scale.across**2 * scale.days, math.ceil(scale.size / scale.tile) ** 2
    lines = [
        f"### {NAME}: one zone over {files} files of {tiles} tiles each",
        "",
        "| from | median s | MB fetched |",
        "|---|---|---|",
        *(f"| {name} | {median[name]:.2f} | {nbytes[name] / 1e6:.2f} |" for name in median),
        "",
    ]
    if with_targets:
        kept = {True: "kept", False: "MISSED"}
        lines += [
            f"* at least {LEAST_SPEEDUP:.0f} x as fast: {speedup:.1f}, {kept[speedup >= LEAST_SPEEDUP]}",
            f"* at most {MOST_BYTES:.0%} of the bytes: {share:.1%}, {kept[share <= MOST_BYTES]}",
            "",
        ]
    return "\n".join(lines), wrong


def _write(folder: Path, scale: ZonesScale, server: RangeServer) -> list[dict[str, Any]]:
    """Write the items of a day, and name them once more for each other day; gives the rows of their table."""
    rng = np.random.default_rng(0)
    field = np.kron(rng.normal(1500, 600, (8, 8)), np.ones((scale.size // 8, scale.size // 8)))
    pixels = np.clip(field + rng.normal(0, 100, field.shape), 1, 10_000).astype(np.uint16)
    rows = []
    for number in range(scale.across**2):
        row, col = divmod(number, scale.across)
        step = scale.size * _PIXEL_M
        place = (_PIXEL_M, 0.0, _WEST + col * step, 0.0, -_PIXEL_M, _NORTH - row * step)
        first = folder / f"{number}_0.tif"
        if not first.exists():
            write_cog(
                first, np.roll(pixels, number), tile=scale.tile, overviews=(), nodata=0, transform=place, crs=_CRS
            )
        for day in range(scale.days):
            path = folder / f"{number}_{day}.tif"
            if not path.exists():
                os.link(first, path)
            when = dt.datetime(2024, 1, 1 + day, tzinfo=dt.UTC)
            rows.append({"href": server.url(path.name), "item_id": path.stem, "asset": "red", "datetime": when})
    return rows
