"""The size of an index and a cold plan from it: bytes per tile, milliseconds, and the share that is read."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from pyarrow import parquet

from benchmarks.hive import write_hive
from benchmarks.index_data import Shape, make_places, stage
from benchmarks.measure import ROOT
from rasteret_sql.database.sqlfiles import quote_literal, sql_file
from rasteret_sql.index.parquet_file import provenance, write_index
from rasteret_sql.index.properties import create_properties_view
from rasteret_sql.index.staging import HEADERS, create_assets_view

if TYPE_CHECKING:
    from pathlib import Path

NAME = "index"
MOST_BYTES_PER_TILE = 3.0
MOST_COLD_MS = 150.0
MOST_PYTHON_MS = 60.0
MOST_HIVE_MS = 150.0
MOST_HIVE_SHARE = 0.005
MOST_SHARE = 0.02
_CITY_DEGREES = 0.2
_MONTH = "2024-02"
_THREADS = 2
_MEMORY_LIMIT = "1GB"


@dataclass(frozen=True, slots=True)
class IndexScale:
    """How large the indexes are.

    Attributes:
        planned: the index that is planned from.
        weighed: those whose bytes per tile are taken.
        month: one month of the index in folders, at most three dates of each place.
        months: how many months that index has.
    """

    planned: Shape
    weighed: tuple[Shape, ...]
    month: Shape
    months: int


FULL_INDEX = IndexScale(
    Shape(20_000, 10, 1024), (Shape(800, 10, 512), Shape(800, 10, 1024)), Shape(20_000, 3, 1024), 34
)
#: Proves that the scripts work; its figures mean nothing.
TINY_INDEX = IndexScale(Shape(200, 2, 1024), (Shape(20, 2, 512),), Shape(50, 3, 1024), 3)


def run(folder: Path, scale: IndexScale, repeat: int, *, with_targets: bool) -> str:
    """Make the indexes, measure, and give a table.

    Args:
        folder: where they are written.
        scale: how large they are.
        repeat: cities that are planned, each in a process of its own.
        with_targets: whether the table says if our promises hold.
    """
    lines = [
        "### index: size, and one city and one month from it, cold",
        "",
        "| what | measured |" + (" target | |" if with_targets else ""),
        "|---|---|" + ("---|---|" if with_targets else ""),
    ]

    def add(what: str, value: float, most: float, shown: str) -> None:
        verdict = f" at most {shown.format(most)} | {'kept' if value <= most else 'MISSED'} |" if with_targets else ""
        lines.append(f"| {what} | {shown.format(value)} |{verdict}")

    for shape in scale.weighed:
        path = write_synthetic(folder, shape)
        add(
            f"bytes per tile, tiles of {shape.tile}, {shape.rows:,} rows, whole file",
            path.stat().st_size / _tiles(path),
            MOST_BYTES_PER_TILE,
            "{:.2f}",
        )
    path = write_synthetic(folder, scale.planned)
    footer = parquet.read_metadata(path)
    rows = f"{scale.planned.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB, {footer.num_row_groups} row groups"
    runs = [_cold(path, lon, lat) for lon, lat in _cities(scale.planned, repeat)]
    add(f"tile_plan, ms after imports ({rows})", _median(runs, "plan_ms"), MOST_COLD_MS, "{:.0f}")
    add("the same with the macros made first, ms", _median(runs, "all_ms"), MOST_COLD_MS, "{:.0f}")
    if all(run["read_bytes"] is not None for run in runs):
        worst = max(run["read_bytes"] for run in runs) / path.stat().st_size
        add("share of the file that is read, at most", worst, MOST_SHARE, "{:.2%}")
    runs = [_cold(path, lon, lat, "plan_in_python") for lon, lat in _cities(scale.planned, repeat)]
    add("a plan in Python, ms after imports", _median(runs, "plan_ms"), MOST_PYTHON_MS, "{:.0f}")
    add("the same, ms of processor time", _median(runs, "cpu_ms"), MOST_PYTHON_MS, "{:.0f}")
    add("the same plan again, ms of processor time", _median(runs, "again_cpu_ms"), MOST_PYTHON_MS, "{:.0f}")
    root = write_hive(folder, write_synthetic(folder, scale.month), scale.months)
    nbytes = sum(path.stat().st_size for path in root.rglob("*.parquet"))
    rows = f"{scale.month.rows * scale.months:,} rows in {scale.months} months, {nbytes / 1e6:,.0f} MB"
    runs = [_cold(root, lon, lat, "plan_in_python") for lon, lat in _cities(scale.month, repeat)]
    add(f"a plan in Python, ms after imports ({rows})", _median(runs, "plan_ms"), MOST_HIVE_MS, "{:.0f}")
    add("the same, ms of processor time", _median(runs, "cpu_ms"), MOST_HIVE_MS, "{:.0f}")
    if all(run["read_bytes"] is not None for run in runs):
        worst = max(run["read_bytes"] for run in runs) / nbytes
        add("share of the files that is read, at most", worst, MOST_HIVE_SHARE, "{:.2%}")
    return "\n".join([*lines, ""])


def write_synthetic(folder: Path, shape: Shape) -> Path:
    """Write an index of files that do not exist, as a build writes it; one that is there is kept."""
    path = folder / f"index-{shape.places}-{shape.dates}-{shape.tile}.parquet"
    if path.exists():
        return path
    staged = folder / f"{path.stem}.staged"
    staged.mkdir(exist_ok=True)
    stage(staged, shape)
    config: dict[str, Any] = {
        "memory_limit": _MEMORY_LIMIT,
        "threads": _THREADS,
        "temp_directory": str(staged / "spill"),
    }
    with duckdb.connect(config=config) as con:
        con.execute("SET TimeZone = 'UTC'")
        create_properties_view(con, staged, [])
        create_assets_view(con, staged)
        con.execute(f"CREATE VIEW headers AS FROM read_parquet({quote_literal(str(staged / HEADERS))})")
        con.execute(f"CREATE TABLE positions AS {sql_file('index/positions.sql')}")
        con.execute(f"CREATE VIEW asset_index AS {sql_file('index/build_index.sql')}")
        write_index(con, staged / "index.parquet", provenance({"source": NAME}, "", [], seconds=0))
    (staged / "index.parquet").rename(path)
    for file in staged.glob("*.parquet"):
        file.unlink()
    return path


def _tiles(path: Path) -> int:
    ((tiles,),) = duckdb.execute(
        "SELECT sum(list_sum(list_transform(levels, lambda l: len(l.tile_byte_counts)))) FROM read_parquet($1)",
        [str(path)],
    ).fetchall()
    return int(tiles)


def _cities(shape: Shape, count: int) -> list[tuple[float, float]]:
    rng = random.Random(11)
    centres = [place.footprint.centroid for place in make_places(shape.places)]
    chosen = rng.sample(centres, count)
    return [(min(179.0, max(-179.0, at.x + rng.uniform(-0.4, 0.4))), at.y + rng.uniform(-0.4, 0.4)) for at in chosen]


def _cold(path: Path, lon: float, lat: float, function: str = "plan") -> dict[str, Any]:
    job = {
        "index": str(path),
        "bbox": [lon, lat, lon + _CITY_DEGREES, lat + _CITY_DEGREES],
        "datetime": _MONTH,
        "threads": _THREADS,
    }
    command = [sys.executable, "-c", f"from benchmarks.peers import index; index.{function}()", json.dumps(job)]
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return float(statistics.median(run[name] for run in runs))
