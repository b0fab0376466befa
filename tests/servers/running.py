"""Servers as processes of their own: found, started in a folder, awaited, and ended for sure."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Generous: the machine may be busy.
STARTS_WITHIN_S = 180
ENDS_WITHIN_S = 30
#: Programs of packages for Python and Node lie beside the interpreter, those of the system often in /usr/sbin.
_PLACES = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
)


def program(name: str) -> str:
    """Give the path of a program, or skip the test."""
    found = shutil.which(name, path=_PLACES)
    if found is None:
        pytest.skip(f"{name} is not installed: bash tests/servers/install.sh")
    return found


def free_ports(count: int) -> list[int]:
    """Give ports of this machine that nobody listens at."""
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in listening]


def run(*command: str | Path, **more: str) -> str:
    """Run a program to its end, and give what it printed; it fails loudly."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=STARTS_WITHIN_S, env={**os.environ, **more},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def started(command: Sequence[str | Path], folder: Path, port: int | None = None, **environment: str) -> Iterator[None]:
    """Run a server while the block lasts; wait until it listens at a port, and end it and its children at the end."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**_without_keys(), **environment},
        )  # fmt: skip
    try:
        if port is not None:
            _wait_until_open(child, port, log)
        yield
    finally:
        _end(child)


def _without_keys() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "AZURE_", "GOOGLE_"))}


def _wait_until_open(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until:
        assert child.poll() is None, f"ended with {child.returncode}:\n{log.read_text(errors='replace')[-3000:]}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.05)
    pytest.fail(f"no answer at port {port} within {STARTS_WITHIN_S} s:\n{log.read_text(errors='replace')[-3000:]}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the server and its children: what they hold is thrown away, and some take half a minute to end well."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(ENDS_WITHIN_S)
