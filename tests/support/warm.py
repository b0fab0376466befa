"""Processes that start warm: forked from one that has imported what they need, so that a start takes no second.

They are processes in all that tests ask of them: streams, terminals, folder, environment, signals, exit status, and the
end of the interpreter. Tests of what is imported, and of how an interpreter starts, begin with `sys.executable` instead.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

SERVER = Path(__file__).with_name("warm_server.py")
#: What commands import when they need it. Whatever is not installed is left out.
LIBRARIES = (
    "rasteret_sql.apps.main", "aiohttp", "dask.array", "duckdb", "imagecodecs", "numpy", "obstore", "pandas",
    "prompt_toolkit", "pyarrow.dataset", "pyarrow.parquet", "pygments", "pyproj", "shapely", "tqdm", "xarray",
)  # fmt: skip
#: DuckDB 1.5 ends a process that was forked after its import with a segmentation fault on Ctrl-C, and a started one well.
IS_FORKED = not version("duckdb").startswith("1.")
#: Far longer than any of these processes takes on any machine.
PATIENCE_S = 300.0


class WarmProcess:
    """A process that has been started; what `subprocess.Popen` has of the same names."""

    def __init__(self, arguments: list[str], control: socket.socket) -> None:
        self.args = arguments
        self._control = control
        self._received = b""
        self.returncode: int | None = None
        self.pid = int(self._line(PATIENCE_S))

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Wait for its end; one that hangs is aborted, and its stacks are what it writes on stderr."""
        if self.returncode is None:
            try:
                self.returncode = int(self._line(timeout))
            except TimeoutError:
                self.send_signal(signal.SIGABRT)
                self.returncode = int(self._line(PATIENCE_S))
            self._control.close()
        return self.returncode

    def _line(self, timeout: float) -> str:
        self._control.settimeout(timeout)
        while b"\n" not in self._received:
            part = self._control.recv(100)
            assert part, f"the server of {self.args} has ended"
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()


@cache
def _server(libraries: tuple[str, ...]) -> socket.socket:
    """Start the server of these libraries, once; it ends with this process, whose end of the socket it waits for."""
    ours, theirs = socket.socketpair()
    # A process of the server may outlive a test that has failed, and then keeps no stream of the tests open.
    command = [sys.executable, str(SERVER), str(theirs.fileno()), *libraries]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(PATIENCE_S)

    atexit.register(end)
    return ours


def start(
    *arguments: str,
    stdin: int,
    stdout: int,
    stderr: int,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    start_new_session: bool = False,
    libraries: tuple[str, ...] = LIBRARIES,
) -> WarmProcess | subprocess.Popen[bytes]:
    """Start what `python` does with arguments that begin with `-m` or `-c`; streams are numbers of open files."""
    environment = dict(os.environ) if env is None else env
    # An interpreter that runs already has taken note of these.
    for name in {*environment, *os.environ} - {"PYTHONFAULTHANDLER"}:
        assert not name.startswith("PYTHON") or environment.get(name) == os.environ.get(name), name
    if not IS_FORKED:
        return subprocess.Popen(
            [sys.executable, *arguments], stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=environment,
            start_new_session=start_new_session,
        )  # fmt: skip
    control, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(_server(libraries), [b"."], [stdin, stdout, stderr, theirs.fileno()])
    request = {
        "arguments": arguments, "cwd": str(cwd or Path.cwd()), "environment": environment, "session": start_new_session,
    }  # fmt: skip
    control.sendall(f"{json.dumps(request)}\n".encode())
    return WarmProcess(list(arguments), control)


def run(
    *arguments: str,
    stdin: int | None = None,
    stdout: int | None = None,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    libraries: tuple[str, ...] = LIBRARIES,
) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end; gives its exit status and what it wrote on the streams that are not given."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
        process = start(
            *arguments,
            stdin=nothing.fileno() if stdin is None else stdin,
            stdout=out.fileno() if stdout is None else stdout,
            stderr=err.fileno(),
            cwd=cwd,
            env=env,
            libraries=libraries,
        )
        code = process.wait(PATIENCE_S)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())
