"""Shards read by one process and by two, each with one thread that decodes: does a second worker double the throughput?

Files are local, so decoding bounds the read. Seconds say something on a machine with two free cores alone; processor
time says on any machine what a second worker costs.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import zlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import rasteret_sql as rs
from benchmarks.measure import MOST_S, ROOT
from rasteret_sql.testing import bench_collection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.data import Scale

NAME: Final = "shards"
_SHARDS: Final = 8
#: Times the throughput of one worker that two should have.
_LEAST: Final = 1.7
#: Times the processor time of one worker that two may take.
_MOST_CPU: Final = 1.1
_CHILD: Final = "from benchmarks.shards import read_given; read_given()"


def run(folder: Path, scale: Scale, repeat: int, *, with_targets: bool) -> tuple[str, list[str]]:
    """Measure, and give Markdown and what went wrong: pixels or a number of rows that differ."""
    bench_collection(folder / "collection", items=scale.items, bands=2, size=scale.size, tile=scale.tile)
    index = folder / "shards.parquet"
    rs.build_index(str(folder / "collection" / "items.json"), index)
    paths = []
    for shard in rs.shards(index, _SHARDS):
        path = folder / f"shard-{shard.name}"
        path.write_bytes(shard.to_bytes())
        paths.append(path)
    one, two = [], []
    for number in range(-1, repeat):
        # In turn, so that what else the machine does falls on both; the first round fills the page cache.
        alone, both = _measured([paths]), _measured([paths[::2], paths[1::2]])
        if number >= 0:
            one.append(alone)
            two.append(both)
    checksums = {measured["checksum"] for measured in (*one, *two)}
    wrong = [] if len(checksums) == 1 else [f"{NAME}: got checksums {sorted(checksums)}, expected one"]
    throughput = statistics.median(a["wall_s"] / b["wall_s"] for a, b in zip(one, two, strict=True))
    cpu = statistics.median(b["cpu_s"] / a["cpu_s"] for a, b in zip(one, two, strict=True))
    lines = [
        f"### {NAME}: {len(paths)} shards of {scale.items * 2} files of {scale.size}², one thread that decodes each",
        "",
        "| workers | s | processor s of all | MB/s decoded |",
        "|---|---|---|---|",
    ]
    for workers, rows in ((1, one), (2, two)):
        wall_s, cpu_s = (statistics.median(row[name] for row in rows) for name in ("wall_s", "cpu_s"))
        lines.append(f"| {workers} | {wall_s:.2f} | {cpu_s:.2f} | {rows[0]['nbytes'] / wall_s / 1e6:.0f} |")
    targets = ("", "")
    if with_targets:
        targets = (
            f" (target {_LEAST}: {'kept' if throughput >= _LEAST else 'missed'})",
            f" (at most {_MOST_CPU}: {'kept' if cpu <= _MOST_CPU else 'missed'})",
        )
    lines += [
        "",
        f"* two workers: {throughput:.2f} times the throughput of one{targets[0]}",
        f"* two workers: {cpu:.2f} times the processor time of one{targets[1]}",
    ]
    return "\n".join([*lines, ""]), wrong


def read_given() -> None:
    """Read the shards of the command line once a line arrives, and print what it took; the child of `_measured`."""
    import pyarrow  # noqa: F401, ICN001 - its import is no part of the read

    shards = [rs.Shard.open(path) for path in sys.argv[1:]]
    print("ready", flush=True)
    sys.stdin.readline()
    began_s = time.process_time()
    checksum = nbytes = 0
    with rs.set_options(decode_threads=1):
        for shard in shards:
            for batch in shard.read_tiles(columns=["pixels"]):
                for pixels in batch.column(0):
                    view = memoryview(pixels.as_buffer())
                    # The same in any order of tiles.
                    checksum += zlib.crc32(view[:4096])
                    nbytes += view.nbytes
    print(json.dumps({"cpu_s": time.process_time() - began_s, "checksum": checksum, "nbytes": nbytes}), flush=True)


def _measured(parts: Sequence[Sequence[Path]]) -> dict[str, Any]:
    """Read parts of the shards, each in a process of its own, all at once."""
    with ExitStack() as stack:
        workers = []
        for part in parts:
            command = [sys.executable, "-c", _CHILD, *map(str, part)]
            worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(worker.kill)
            workers.append(stack.enter_context(worker))
        for worker in workers:
            # A worker that fails ends the line.
            assert worker.stdout is not None
            if worker.stdout.readline() != "ready\n":
                raise RuntimeError(f"{NAME}: a worker ended before it read")
        began_s = time.monotonic()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        facts = [json.loads(worker.communicate(timeout=MOST_S)[0]) for worker in workers]
        wall_s = time.monotonic() - began_s
    return {"wall_s": wall_s} | {name: sum(fact[name] for fact in facts) for name in ("cpu_s", "checksum", "nbytes")}
