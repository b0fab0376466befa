"""What a transport costs: processor time of its import, and of ranges over HTTP, for our store and for obstore's.

Both fetch the same ranges of one file, from a server in a process of its own. Our store checks each answer; obstore's
is used as it is.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measure import MOST_S, ROOT
from rasteret_sql.testing import RangeServer

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "transports"
CONTENDERS: Final = ("aiohttp", "obstore")

#: Bytes of a range, and how many are fetched.
FULL: Final = ((65_536, 4_000), (1 << 20, 1_000))
#: Proves that the script works; its figures mean nothing.
TINY: Final = ((1_024, 8),)
_FILE: Final = "ranges.bin"


def run(folder: Path, ranges: tuple[tuple[int, int], ...], repeat: int) -> str:
    """Measure, and give a table.

    Args:
        folder: for the file.
        ranges: bytes of a range, and how many are fetched.
        repeat: rounds that count; the contenders take turns.
    """
    served = folder / "transports"
    served.mkdir(parents=True, exist_ok=True)
    (served / _FILE).write_bytes(bytes(max(nbytes for nbytes, _ in ranges)) * 16)
    rows = []
    with RangeServer(served, runs_in="process") as server:
        for nbytes, count in ranges:
            found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
            for _ in range(repeat):
                for name, results in found.items():
                    results.append(_measured(name, {"url": server.url(_FILE), "nbytes": nbytes, "count": count}))
            rows += [(nbytes, count, name, results) for name, results in found.items()]
    lines = [
        f"### {NAME}: ranges over HTTP, 64 in flight",
        "",
        "| bytes | transport | import, CPU ms | CPU ms per 1,000 requests | CPU s per GB | requests/s |",
        "|---|---|---|---|---|---|",
    ]
    for nbytes, count, name, results in rows:
        imported, cpu, seconds = (
            statistics.median(each[key] for each in results) for key in ("import_cpu_s", "cpu_s", "s")
        )
        lines.append(
            f"| {nbytes:,} | {name} | {1000 * imported:.0f} | {1e6 * cpu / count:.0f} "
            f"| {cpu / count / nbytes * 1e9:.2f} | {count / seconds:,.0f} |"
        )
    return "\n".join([*lines, ""])


def _measured(name: str, job: dict[str, Any]) -> dict[str, float]:
    script = f"from benchmarks.peers import transports; transports.{name}()"
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(job)], check=True, cwd=ROOT, capture_output=True, timeout=MOST_S
    )
    facts: dict[str, float] = json.loads(done.stdout)
    return facts
