"""Statistics of polygons from SQL, warm: the queries of one connection over local files, again and again."""

from __future__ import annotations

import random
import statistics
import time
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import shapely

import rasteret_sql as rs
from benchmarks.data import EPSG, polygons
from rasteret_sql.testing import bench_collection

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.data import Scale

NAME: Final = "warm"
#: Milliseconds that the DuckDB extension cog quotes for the same shapes on a machine of its author.
QUOTED_MS: Final = {"series": 95.0, "parcels": 17.0}
_PARCELS: Final = 200
_ROUNDS: Final = 21


def run(folder: Path, scale: Scale, *, with_targets: bool) -> tuple[str, list[str]]:
    """Measure, and give a table and what went wrong: rows that are missing.

    Args:
        folder: for the files and their index.
        scale: size of the files and of their tiles.
        with_targets: whether the medians are compared with the quoted ones.
    """
    items = scale.full_items
    collection = bench_collection(folder / "warm", items=items, bands=1, size=scale.size, tile=scale.tile)
    index = folder / "warm.parquet"
    rs.build_index(str(collection.document), index)
    rings = polygons(random.Random(0), _PARCELS, scale.size)
    geometry = pa.array([shapely.to_wkb(shapely.Polygon(ring)) for ring in rings], pa.binary())
    con = rs.connect()
    con.register("zones", pa.table({"zone": pa.array(range(_PARCELS)), "geometry": geometry}))
    con.execute("CREATE TABLE parcels AS FROM zones")
    con.execute("CREATE TABLE field AS FROM zones LIMIT 1")
    queries = {
        "series": (f"one polygon x {items} items", _query(index, "field"), items),
        "parcels": (
            f"{_PARCELS} polygons x 1 item",
            _query(index, "parcels", f", datetime := '{collection.items[0].when:%Y-%m-%d}'"),
            _PARCELS,
        ),
    }
    ms: dict[str, list[float]] = {name: [] for name in queries}
    processor_ms: dict[str, list[float]] = {name: [] for name in queries}
    wrong = []
    # The first round warms up.
    for number in range(_ROUNDS + 1):
        for name, (what, query, expected) in queries.items():
            began_s, began_processor_s = time.perf_counter(), time.process_time()
            rows = con.execute(query).fetchall()
            if number:
                ms[name].append(1000 * (time.perf_counter() - began_s))
                processor_ms[name].append(1000 * (time.process_time() - began_processor_s))
            if len(rows) != expected:
                wrong.append(f"{NAME}, {what}: {len(rows)} rows, expected {expected}")
    con.close()
    lines = [
        f"### {NAME}: SELECT * FROM zonal_stats(...) in one connection, local files of {scale.size}²",
        "",
        "| query | median ms | least - most ms | processor time, median ms |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {what} | {statistics.median(ms[name]):.0f} | {min(ms[name]):.0f} - {max(ms[name]):.0f} "
        f"| {statistics.median(processor_ms[name]):.0f} |"
        for name, (what, _, _) in queries.items()
    ]
    if with_targets:
        lines += ["", *(_verdict(queries[name][0], statistics.median(ms[name]), QUOTED_MS[name]) for name in queries)]
    return "\n".join([*lines, ""]), wrong


def _query(index: Path, zones: str, further: str = "") -> str:
    return (
        f"FROM zonal_stats('{index}', '{zones}', bands := ['red'], stats := ['count', 'mean'], "
        f"geometry_crs := 'EPSG:{EPSG}'{further})"
    )


def _verdict(what: str, median: float, quoted: float) -> str:
    verdict = "kept" if median <= quoted else "MISSED"
    return f"* {what}: at most {quoted:.0f} ms: {median:.0f}, {verdict}"
