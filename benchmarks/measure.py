"""Runs readers as processes of their own, in turn, and takes their times."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_sql.testing import RangeServer

#: Where `benchmarks` can be imported from.
ROOT = Path(__file__).parents[1]
#: Seconds after which a process is killed.
MOST_S = 1800


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: as the table shows it.
        python: the interpreter.
        call: module and function below `benchmarks.peers`, for example "ours.window".
        is_measured_once: whether one run has to do, in the last round.
    """

    name: str
    python: str
    call: str
    is_measured_once: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One process, from its start to its end.

    Attributes:
        process_s: from the start of the interpreter until it has ended, less the time to report.
        array_s: from the start of the interpreter until the result was there.
        read_s: the read alone, where it was taken.
        requests: what the server was asked: (method, whether it had a range).
        nbytes: bytes that the server sent.
        facts: what the process reported.
    """

    process_s: float
    array_s: float
    read_s: float | None
    requests: list[tuple[str, bool]]
    nbytes: int
    facts: dict[str, Any]


@dataclass(slots=True)
class Result:
    """All runs of one contender, or why it has none."""

    contender: Contender
    runs: list[Run] = field(default_factory=list)
    failure: str | None = None

    def median(self, name: str) -> float | None:
        """The median of a field of the runs, None where it was not taken."""
        values = [value for run in self.runs if (value := getattr(run, name)) is not None]
        return statistics.median(values) if values else None

    def spread(self, name: str) -> tuple[float, float] | None:
        """The least and the most of a field."""
        values = [value for run in self.runs if (value := getattr(run, name)) is not None]
        return (min(values), max(values)) if values else None


def measure(
    contenders: Sequence[Contender], job_path: Path, server: RangeServer, *, repeat: int, warm_up: bool = True
) -> list[Result]:
    """Run all contenders in turn, `repeat` times; who fails is not run again.

    A first round is not counted: it fills the page cache and compiles modules.
    """
    results = [Result(contender) for contender in contenders]
    for number in range(-1 if warm_up else 0, repeat):
        for result in results:
            if result.failure is not None or (result.contender.is_measured_once and number < repeat - 1):
                continue
            try:
                run = _run(result.contender, job_path, server)
            except subprocess.CalledProcessError as error:
                result.failure = _last_line(error.stderr)
                continue
            except subprocess.TimeoutExpired:
                result.failure = f"no result after {MOST_S} s"
                continue
            if number >= 0:
                result.runs.append(run)
    return results


def is_installed(python: str, module: str) -> bool:
    """Whether an interpreter can import a module."""
    found = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return found.returncode == 0


def _run(contender: Contender, job_path: Path, server: RangeServer) -> Run:
    module, function = contender.call.split(".")
    script = f"from benchmarks.peers import {module}; {module}.{function}()"
    command = [contender.python, "-c", script, str(job_path), contender.call]
    server.reset()
    began_s = time.monotonic()
    done = subprocess.run(
        command, check=True, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=MOST_S
    )
    ended_s = time.monotonic()
    facts = json.loads(done.stdout.splitlines()[-1])
    asked = server.requests
    return Run(
        process_s=ended_s - began_s - facts["reporting_s"],
        array_s=facts["ended_s"] - began_s,
        read_s=facts["read_s"],
        requests=[(request.method, request.start is not None) for request in asked],
        nbytes=sum(request.nbytes_sent for request in asked),
        facts=facts,
    )


def _environment() -> dict[str, str]:
    """Let processes keep compiled modules. Peers are installed with theirs, and ours are run from the repository."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
