"""`rasteret-sql bench`: what this machine reaches against the store of an index, and where the time of reads goes."""

from __future__ import annotations

import json
import math
import sys
import time
from argparse import ArgumentTypeError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rasteret_sql.apps.arguments import Commands, add_bands, add_datetime, add_index, add_level, new_command, numbers
from rasteret_sql.apps.bench_report import as_json, as_text
from rasteret_sql.apps.console import Style, note
from rasteret_sql.errors import EmptyReadError
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.requests import Request
    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.read.measure import MeasuredRead, Sweep

_MAX_BYTES, _SECONDS = 100_000_000, 20.0
#: Parts of the bytes: each of the two reads of the same tiles; and the sweeps, by how many requests are in flight.
_READ_SHARE = 0.3
_SWEEP_SHARES = {1: 0.04, 8: 0.08, 32: 0.12, 100: 0.16}
#: Length of the ranges of sweeps: that of a tile.
_RANGE_BYTES = 131_072
#: Parts of the seconds: the requests that are made one at a time, and all sweeps together.
_PROBE_TIME, _SWEEP_TIME = 0.1, 0.4
_PROBES = 30
#: Files of a larger index are sampled: to plan them all would take longer than to measure.
_MOST_FILES = 1000
_SEED = 42

_EPILOG = """\
The command reads a sample of tiles: windows of 4 x 4 tiles in random files, the same in each run. It reads
them once cold, without an open connection to the store. Requests of one byte then measure the latency of
the store. Requests of 128 KiB, 1, 8, 32 and 100 at a time, measure its throughput. Finally, the first
tiles are read again, warm. All reads together fetch about --max-bytes.

The median time of the one-byte requests separates "waiting" from "receiving".

examples:
  rasteret-sql bench s2.parquet
  rasteret-sql bench s2.parquet --bands red,nir --max-bytes 20e6 --seconds 5
  rasteret-sql bench s2.parquet --json | jq .verdict"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "bench", "measure the store of an index, and how reads spend their time", _EPILOG)
    add_index(command)
    add_bands(command)
    command.add_argument("--bbox", type=numbers, metavar="XMIN,YMIN,XMAX,YMAX", help="area in lon/lat")
    add_datetime(command)
    add_level(command)
    command.add_argument(
        "--max-bytes",
        type=_positive,
        default=_MAX_BYTES,
        metavar="N",
        help=f"largest number of bytes to fetch ({_MAX_BYTES:,})",
    )
    command.add_argument(
        "--seconds",
        type=_positive,
        default=_SECONDS,
        metavar="S",
        help=f"approximate time limit in seconds ({_SECONDS:.0f})",
    )
    command.add_argument("--json", action="store_true", help="write the results as JSON")
    command.set_defaults(run=run)


@dataclass(slots=True)
class Bench:
    """What was measured; seconds and bytes.

    Attributes:
        index: as it was given.
        stores: hosts, or "local files".
        files, planned_files: of the index, and those that the plan is of.
        tiles: of the plan.
        plan_s: of the first plan and of the second.
        probes_s: of each one-byte request.
        sweeps: requests so many at a time.
        cold, warm: the same tiles, read twice.
        is_repeated: whether some tiles were read more often, because there are too few.
    """

    index: str
    stores: list[str]
    files: int
    planned_files: int
    tiles: int
    plan_s: tuple[float, float]
    cold: MeasuredRead
    warm: MeasuredRead
    probes_s: list[float] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)
    is_repeated: bool = False

    @property
    def fetched_bytes(self) -> int:
        """All that was fetched."""
        return (
            self.cold.encoded_bytes
            + self.warm.encoded_bytes
            + sum(each.nbytes for each in self.sweeps)
            + len(self.probes_s)
        )


def run(arguments: argparse.Namespace) -> int:
    """Measure, and report on stdout."""
    bench = measure(arguments)
    if arguments.json:
        print(json.dumps(as_json(bench), indent=2))
    else:
        print(as_text(bench, Style.of(sys.stdout)))
    return 0


def measure(arguments: argparse.Namespace) -> Bench:
    """Plan, read, probe, sweep, and read again.

    Raises:
        RasteretError: the index is none, or something could not be read.
    """
    import numpy as np

    from rasteret_sql.plan.requests import plan_requests
    from rasteret_sql.read.measure import cut, measured_read, probe, sample_windows, sweep
    from rasteret_sql.sql.readers import plan_index, read_arguments

    files, index = _files(arguments)
    wanted = read_arguments(
        arguments.bands, None, arguments.bbox, "OGC:CRS84", arguments.datetime, arguments.level, None
    )
    plan_s = []
    for _ in range(2):
        began = time.perf_counter()
        plan = plan_index(index, wanted).plan
        plan_s.append(time.perf_counter() - began)
    if not (plan.tile_byte_count > 0).any():
        raise EmptyReadError(
            f"{arguments.index}: got {count(len(plan), 'tile')} without bytes, expected some to read; choose other "
            "bands"
        )
    windows = _Windows(plan, sample_windows(plan, _SEED))
    rows = windows.take(arguments.max_bytes * _READ_SHARE)
    ranges = {
        number: cut(
            plan_requests(plan.take(windows.take(arguments.max_bytes * share)), pixels=True, mask=True),
            _RANGE_BYTES,
            arguments.max_bytes * share,
        )
        for number, share in _SWEEP_SHARES.items()
    }
    stores = sorted({_store(asset.address) for asset in plan.assets})
    nbytes = 2 * _encoded_bytes(plan, rows) + sum(each.nbytes for part in ranges.values() for each in part)
    note(
        f"{arguments.index}: {count(files, 'file')} on {', '.join(stores[:3])}; reading at most {size(int(nbytes))} "
        f"in about {arguments.seconds:.0f} s"
    )
    # Waiting is told from receiving once it is known how long the store takes to answer.
    cold_read = measured_read(plan.take(rows), math.inf)
    probes_s = probe(_spread([each for part in ranges.values() for each in part]), arguments.seconds * _PROBE_TIME)
    latency = float(np.median(probes_s))
    each_s = arguments.seconds * _SWEEP_TIME / len(ranges)
    sweeps = [sweep(part, number, each_s) for number, part in ranges.items()]
    return Bench(
        index=str(arguments.index),
        stores=stores,
        files=files,
        planned_files=len(plan.assets),
        tiles=len(plan),
        plan_s=(plan_s[0], plan_s[1]),
        cold=cold_read.told_apart(latency),
        warm=measured_read(plan.take(rows), latency),
        probes_s=probes_s,
        sweeps=sweeps,
        is_repeated=windows.is_repeated,
    )


class _Windows:
    """Hands out windows of tiles, so many bytes at a time."""

    def __init__(self, plan: TilePlan, windows: Iterator[npt.NDArray[Any]]) -> None:
        self._plan = plan
        self._windows = windows
        self._taken: set[int] = set()
        self.is_repeated = False

    def take(self, nbytes: float) -> npt.NDArray[Any]:
        """Give rows of the plan with about so many encoded bytes, and at least one."""
        import numpy as np

        rows: dict[int, None] = {}
        got = 0
        patience = 1000
        for window in self._windows:
            new = [row for row in window.tolist() if row not in rows]
            fresh = [row for row in new if row not in self._taken]
            patience -= not fresh
            # A small collection is read again rather than measured by a handful of tiles.
            if not fresh and patience > 0:
                continue
            self.is_repeated = self.is_repeated or not fresh
            for row in fresh or new:
                row_bytes = int(self._plan.tile_byte_count[row])
                if got and got + row_bytes > nbytes:
                    got = math.ceil(nbytes)
                    break
                rows[row] = None
                got += row_bytes
            if got >= nbytes or (patience <= 0 and not new):
                break
        self._taken.update(rows)
        return np.array(sorted(rows), np.int64)


def _files(arguments: argparse.Namespace) -> tuple[int, str]:
    """Count the files of an index, and give what is planned: all of them, or a sample where they are many."""
    from rasteret_sql.apps.export import index_rows
    from rasteret_sql.sql.connection import connect

    with connect() as con:
        query = index_rows(con, arguments.index, where="true", sql=None)
        ((files,),) = con.sql(f"SELECT count(*) FROM ({query})").fetchall()  # noqa: S608 - quoted there
    if files <= _MOST_FILES or arguments.bbox is not None:
        return files, arguments.index
    return files, f"{query} USING SAMPLE reservoir({_MOST_FILES} ROWS) REPEATABLE ({_SEED})"


def _encoded_bytes(plan: TilePlan, rows: npt.NDArray[Any]) -> int:
    from rasteret_sql.plan.requests import plan_requests

    return sum(request.nbytes for request in plan_requests(plan.take(rows), pixels=True, mask=True))


def _spread(requests: Sequence[Request]) -> list[Request]:
    """Give some requests, from all over."""
    step = max(1, len(requests) // _PROBES)
    picked = list(requests[::step])[:_PROBES]
    return (picked * _PROBES)[:_PROBES]


def _positive(text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"got {text!r}, expected a number above 0, such as 20e6")
    return value


def _store(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}" if parts.scheme and parts.hostname else "local files"
