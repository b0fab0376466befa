"""`python -m benchmarks`: measures, and prints Markdown; nothing is written into the repository."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import (
    arrays,
    arrays_data,
    blocks,
    codecs,
    first_batch,
    limits,
    resampling,
    shards,
    training,
    transports,
    warm,
    zones,
)
from benchmarks import build as build_workload
from benchmarks import index as index_workload
from benchmarks.data import BANDS, TINY, Data, Scale, build_rasteret, make_job, write_data
from benchmarks.measure import ROOT, Contender, Result, is_installed, measure
from benchmarks.report import describe_machine, table
from benchmarks.workloads import OURS, PROTOTYPE, WORKLOADS, Workload
from rasteret_sql.testing import RangeServer

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Peers and the module that each needs.
_MODULES = {
    "rasterio": "rasterio",
    "rasteret": "rasteret",
    "async-geotiff": "async_geotiff",
    PROTOTYPE: "obstore",
    "tifffile": "tifffile",
    "rasterstats": "rasterstats",
    "exactextract": "exactextract",
}
#: What only workloads other than windows and whole files read, thousands of values each.
_ARGUMENTS_OF_OTHERS = ("chips", "hrefs", "points", "polygons")
_PEERS = {**_MODULES, **arrays.MODULES, **first_batch.MODULES}
_NAMES = (
    *WORKLOADS,
    *arrays.WORKLOADS,
    build_workload.NAME,
    build_workload.MEMORY_NAME,
    blocks.NAME,
    codecs.NAME,
    resampling.NAME,
    first_batch.NAME,
    index_workload.NAME,
    limits.NAME,
    shards.NAME,
    training.NAME,
    transports.NAME,
    warm.NAME,
    zones.NAME,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the workloads asked for; 1 where a reader failed, or did other work than the rest."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.workloads if name not in _NAMES]
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(_NAMES)}")
    scale = TINY if arguments.tiny else Scale()
    names = arguments.workloads or _NAMES
    served = [name for name in names if name in WORKLOADS]
    wrong = _run_served(served, arguments, scale) if served else []
    if array_names := [name for name in names if name in arrays.WORKLOADS]:
        wrong += _run_arrays(array_names, arguments, scale)
    if build_workload.NAME in names:
        wrong += _run_build(arguments, scale)
    if build_workload.MEMORY_NAME in names:
        _run_build_memory(arguments, scale)
    if resampling.NAME in names:
        _run_resampling(arguments, scale)
    if codecs.NAME in names:
        wrong += _run_codecs(arguments, scale)
    if index_workload.NAME in names:
        _run_index(arguments, scale)
    if limits.NAME in names:
        wrong += _run_limits(arguments, scale)
    if shards.NAME in names:
        wrong += _run_shards(arguments, scale)
    if transports.NAME in names:
        _run_transports(arguments, scale)
    if zones.NAME in names:
        wrong += _run_zones(arguments, scale)
    if warm.NAME in names:
        wrong += _run_warm(arguments, scale)
    for each in (training, blocks):
        if each.NAME in names:
            wrong += _run_training(each, arguments, scale)
    if first_batch.NAME in names:
        wrong += _run_first_batch(arguments, scale)
    for fault in wrong:
        _say(fault)
    return 1 if wrong else 0


def _run_served(names: Sequence[str], arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Run workloads that read from a server; returns what went wrong."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        _say(f"writing files to {folder}")
        data = write_data(folder, scale)
        server = stack.enter_context(RangeServer(data.served, latency_s=scale.latency_s, runs_in="process"))
        job = make_job(data, server)
        pythons = _pythons(_MODULES, arguments.peer_python, arguments.peers)
        print(f"{describe_machine()}; {scale.latency_s * 1000:.0f} ms before each answer\n", flush=True)
        wrong = []
        for name in names:
            wrong += _run(WORKLOADS[name], job, data, server, pythons, arguments.repeat)
    return wrong


def _run_arrays(names: Sequence[str], arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Run workloads that give arrays; returns what went wrong."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        _say(f"writing files to {folder}")
        data = arrays_data.write_data(folder, scale)
        server = stack.enter_context(RangeServer(data.served, latency_s=scale.latency_s, runs_in="process"))
        jobs = arrays_data.make_jobs(data, server)
        pythons = _pythons(arrays.MODULES, arguments.peer_python, arguments.peers)
        wrong = []
        for name in names:
            print(f"{describe_machine()}; {scale.latency_s * 1000:.0f} ms before each answer\n", flush=True)
            workload = arrays.WORKLOADS[name]
            text, faults = arrays.run(
                workload,
                jobs[workload.area],
                folder,
                server,
                pythons,
                arguments.repeat,
                with_targets=scale != TINY,
            )
            print(text, flush=True)
            wrong += faults
        return wrong


def _run_build(arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Build indexes of many files; returns what went wrong."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        pythons = _pythons(build_workload.MODULES, arguments.peer_python, arguments.peers)
        print(f"{describe_machine()}; {scale.latency_s * 1000:.0f} ms before each answer\n", flush=True)
        text, wrong = build_workload.run(folder, scale, pythons, arguments.repeat, with_targets=scale != TINY)
        print(text, flush=True)
        return wrong


def _run_build_memory(arguments: argparse.Namespace, scale: Scale) -> None:
    """Take the memory of builds."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        print(f"{describe_machine()}\n", flush=True)
        print(build_workload.run_memory(folder, scale, with_targets=scale != TINY), flush=True)


def _run_codecs(arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Run the decoders, all in this process; returns what went wrong."""
    asked = codecs.PEERS if arguments.peers is None else arguments.peers
    peers = [name for name in codecs.PEERS if name in asked and is_installed(sys.executable, _MODULES[name])]
    print(f"{describe_machine()}\n", flush=True)
    text, wrong = codecs.run(peers, scale.size, scale.tile, arguments.repeat, with_targets=scale != TINY)
    print(text, flush=True)
    return wrong


def _run_resampling(arguments: argparse.Namespace, scale: Scale) -> None:
    """Resample pixels in memory, all in this process."""
    asked = resampling.PEERS if arguments.peers is None else arguments.peers
    peers = [name for name in resampling.PEERS if name in asked and is_installed(sys.executable, _MODULES[name])]
    print(f"{describe_machine()}\n", flush=True)
    print(resampling.run(peers, scale.size // 4, arguments.repeat), flush=True)


def _run_index(arguments: argparse.Namespace, scale: Scale) -> None:
    """Write indexes and plan from them."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        folder.mkdir(parents=True, exist_ok=True)
        size = index_workload.TINY_INDEX if scale == TINY else index_workload.FULL_INDEX
        print(f"{describe_machine()}\n", flush=True)
        print(index_workload.run(folder, size, arguments.repeat, with_targets=scale != TINY), flush=True)


def _run_shards(arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Read shards with one worker and with two; returns what went wrong."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{describe_machine()}\n", flush=True)
        text, wrong = shards.run(folder, scale, arguments.repeat, with_targets=scale != TINY)
        print(text, flush=True)
        return wrong


def _run_limits(arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Read with several settings; returns what went wrong."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        size = limits.TINY_LIMITS if scale == TINY else limits.LimitsScale()
        print(f"{describe_machine()}\n", flush=True)
        text, wrong = limits.run(folder, scale, size, arguments.repeat)
        print(text, flush=True)
        return wrong


def _run_transports(arguments: argparse.Namespace, scale: Scale) -> None:
    """Fetch ranges with each transport."""
    if not is_installed(sys.executable, "obstore"):
        _say("obstore is not installed, and transports is left out")
        return
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        print(f"{describe_machine()}\n", flush=True)
        print(
            transports.run(folder, transports.TINY if scale == TINY else transports.FULL, arguments.repeat), flush=True
        )


def _run_zones(arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Compute statistics of a large zone; returns what went wrong."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        size = zones.TINY_ZONES if scale == TINY else zones.ZonesScale()
        print(f"{describe_machine()}; {size.latency_s * 1000:.0f} ms before each answer\n", flush=True)
        text, wrong = zones.run(folder, size, arguments.repeat, with_targets=scale != TINY)
        print(text, flush=True)
        return wrong


def _run_warm(arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Repeat queries of local files; returns what went wrong."""
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        print(f"{describe_machine()}; local files\n", flush=True)
        text, wrong = warm.run(folder, scale, with_targets=scale != TINY)
        print(text, flush=True)
        return wrong


def _run_training(workload: Any, arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Read chips for training; returns what went wrong."""
    pythons = _pythons({"torchgeo": "torchgeo"}, arguments.peer_python, arguments.peers)
    if "torchgeo" not in pythons:
        return []
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        (folder / "served").mkdir(parents=True, exist_ok=True)
        server = stack.enter_context(RangeServer(folder / "served", latency_s=scale.latency_s, runs_in="process"))
        print(f"{describe_machine()}; {scale.latency_s * 1000:.0f} ms before each answer\n", flush=True)
        text, wrong = workload.run(
            folder, scale, server, pythons["torchgeo"], arguments.repeat, with_targets=scale != TINY
        )
        print(text, flush=True)
        return wrong


def _run_first_batch(arguments: argparse.Namespace, scale: Scale) -> list[str]:
    """Read first batches of time series; returns what went wrong."""
    pythons = _pythons(first_batch.MODULES, arguments.peer_python, arguments.peers)
    if "torchgeo" not in pythons and not is_installed(sys.executable, "torchgeo"):
        _say("torchgeo is not installed, and first batches are not measured")
        return []
    with ExitStack() as stack:
        folder = arguments.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{describe_machine()}\n", flush=True)
        text, wrong = first_batch.run(folder, scale, pythons, arguments.repeat, with_targets=scale != TINY)
        print(text, flush=True)
        return wrong


def _run(
    workload: Workload, job: dict[str, Any], data: Data, server: RangeServer, pythons: dict[str, str], repeat: int
) -> list[str]:
    job = _job_of(workload, job, data.scale)
    job_path = data.folder / f"{workload.name}.json"
    job_path.write_text(json.dumps(job), encoding="utf-8")
    contenders = [
        Contender(name, pythons[name.partition(",")[0]], call, name in workload.measured_once)
        for name, call in workload.calls.items()
        if name.partition(",")[0] in pythons
    ]
    if any(contender.name == "rasteret" for contender in contenders):
        build_rasteret(pythons["rasteret"], job_path, ROOT)
    rounds = 1 if workload.name in {"memory", "pixels"} else repeat
    results = measure(contenders, job_path, server, repeat=rounds, warm_up=rounds > 1)
    scale = data.scale
    numbers = {
        **job,
        "items": len(job["files"]),
        "bands": len(BANDS),
        "chips": scale.chips,
        "files": scale.files,
        "gigabytes": scale.stream_bytes / 1e9,
        "points": len(job.get("points", ())),
        "polygons": scale.polygons,
        "pixels": scale.pixels,
    }
    print(table(workload, workload.title.format(**numbers), results, with_targets=scale != TINY), flush=True)
    return _what_is_wrong(workload, results, job)


def _job_of(workload: Workload, job: dict[str, Any], scale: Scale) -> dict[str, Any]:
    if workload.name == "points-half":
        return {**job, "points": job["points"][: len(job["points"]) // 2]}
    if not workload.name.startswith(("W1", "W2")):
        return job
    # Python's garbage collector visits every list of a process, so a cold start has only its own arguments.
    job = {name: value for name, value in job.items() if name not in _ARGUMENTS_OF_OTHERS}
    if workload.name != "W2":
        return job
    first = {name: job[name][: scale.full_items] for name in ("files", "item_ids", "times_us")}
    return {**job, **first}


def _what_is_wrong(workload: Workload, results: list[Result], job: dict[str, Any]) -> list[str]:
    """Say which reader failed or read other pixels, and where we asked for more than one range of each file."""
    wrong = [f"{workload.name}, {result.contender.name}: {result.failure}" for result in results if result.failure]
    checksums = {
        result.contender.name: {run.facts["checksum"] for run in result.runs} for result in results if result.runs
    }
    if len(set().union(*checksums.values())) > 1:
        wrong.append(f"{workload.name}: the pixels differ: {checksums}")
    ours = next(result for result in results if result.contender.name == OURS)
    wrong += [
        f"{workload.name}: the results of {result.contender.name} differ from those of {OURS}"
        for result in results
        if result.runs and ours.runs and not _is_same(job, ours, result, workload.tolerance)
    ]
    if workload.name.startswith("W1"):
        expected = [("GET", True)] * (len(job["files"]) * len(BANDS))
        wrong += [
            f"{workload.name}: {len(run.requests)} requests, expected {len(expected)}, each a GET with a range"
            for run in ours.runs
            if run.requests != expected
        ]
    return wrong


def _is_same(job: dict[str, Any], ours: Result, theirs: Result, tolerance: float) -> bool:
    """Whether results that two readers kept (`Job.keep`) are the same, or neither kept any."""
    paths = [Path(job["kept"]) / f"{result.contender.call}.npy" for result in (ours, theirs)]
    if not any(path.exists() for path in paths):
        return True
    return np.allclose(*(np.load(path) for path in paths), rtol=tolerance, atol=0, equal_nan=True)


def _pythons(modules: dict[str, str], peer_python: str | None, peers: Sequence[str] | None) -> dict[str, str]:
    """Find the interpreter of each reader; a peer that has none is left out."""
    found = {OURS: sys.executable}
    for name, module in modules.items():
        if peers is not None and name not in peers:
            continue
        for python in (sys.executable, peer_python):
            if python is not None and is_installed(python, module):
                found[name] = python
                break
        else:
            _say(f"{name} is not installed, and left out")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"some of {', '.join(_NAMES)}; all without it")
    parser.add_argument("--repeat", type=int, default=5, help="rounds that count; default 5")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=sorted(_PEERS),
        help="peers that take part; default all",
    )
    parser.add_argument("--peer-python", help="an interpreter that has the peers which this one lacks")
    parser.add_argument("--data", type=_folder, help="keep the files in this folder; default a temporary one")
    parser.add_argument("--tiny", action="store_true", help="little of everything, to see that it works")
    return parser


def _folder(text: str) -> Path:
    """Give a path that does not depend on where a process runs."""
    return Path(text).resolve()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
