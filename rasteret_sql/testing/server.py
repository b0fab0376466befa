"""`RangeServer`: a folder served over HTTP with latency and faults, by a thread or a process."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from rasteret_sql.testing.faults import Fault, FaultKind, Request
from rasteret_sql.testing.serving import Serving

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from types import TracebackType

__all__ = ["Fault", "FaultKind", "RangeServer", "Request"]

Faults = dict[str, list[Fault | None]]


class RangeServer:
    """Serves the files under a folder at 127.0.0.1 and a free port, for as long as the `with` block lasts.

    GET and HEAD, Range (206, 416), ETag, Last-Modified, If-Match (412), keep-alive; 404 for folders.

    Args:
        root: the folder.
        latency_s: seconds that each answer waits before its first byte, as a distant server's does.
        faults: path to what goes wrong with its next requests, in order; None in a list is one right answer.
            After the list all answers are right. The faults of path "*" befall files that have none of their
            own.
        runs_in: "thread" of this process, or a "process" of its own, which takes no time from the one that is
            measured.

    >>> with RangeServer(folder, latency_s=0.03) as server:  # doctest: +SKIP
    ...     read(server.url("a.tif"))
    ...     assert server.ranges_of("a.tif") == [(0, 32768)]
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        latency_s: float = 0.0,
        faults: Mapping[str, Iterable[Fault | None]] | None = None,
        runs_in: Literal["thread", "process"] = "thread",
    ) -> None:
        self._root = Path(root).resolve()
        self._latency_s = latency_s
        self._faults = {path.lstrip("/"): list(listed) for path, listed in (faults or {}).items()}
        self._backend: _InThread | _InProcess = _InThread() if runs_in == "thread" else _InProcess()
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin to serve; `with` does this."""
        self._port = self._backend.start(self._root, self._latency_s, self._faults)

    def close(self) -> None:
        """Close all connections and end; `with` does this."""
        self._backend.close()

    @property
    def root(self) -> Path:
        """The folder that is served."""
        return self._root

    @property
    def base_url(self) -> str:
        """Address of the folder, without a slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    def url(self, path: str | os.PathLike[str] = "") -> str:
        """Give the URL of a file, named relative to the folder or by its full path below it."""
        relative = Path(path)
        if relative.is_absolute() and relative.resolve().is_relative_to(self._root):
            relative = relative.resolve().relative_to(self._root)
        name = "" if not str(path) else relative.as_posix().lstrip("/")
        return f"{self.base_url}/{quote(name)}"

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order in which their answers ended."""
        return self._backend.requests()

    def ranges_of(self, path: str | os.PathLike[str]) -> list[tuple[int | None, int | None]]:
        """Give the ranges (start, end) that were asked for of one file, sorted; (None, None) is all of it."""
        name = Path(path).as_posix().removeprefix(self._root.as_posix()).lstrip("/")
        found = [(request.start, request.end) for request in self.requests if request.path == name]
        return sorted(found, key=lambda bounds: (bounds[0] or 0, bounds[1] or 0))

    def reset(self) -> None:
        """Forget the requests so far; faults that are left stay."""
        self._backend.reset()

    def add_faults(self, path: str, *faults: Fault | None) -> None:
        """Let further things go wrong with the next requests for a file."""
        self._backend.add_faults({path.lstrip("/"): list(faults)})


class _InThread:
    """Serves from a daemon thread of this process."""

    def __init__(self) -> None:
        self._serving: Serving | None = None
        self._thread: threading.Thread | None = None
        self._recorded: list[Request] = []

    def start(self, root: Path, latency_s: float, faults: Faults) -> int:
        queues = {path: deque(listed) for path, listed in faults.items()}
        self._recorded = []
        self._serving = Serving(root, latency_s, queues, self._recorded)
        self._thread = threading.Thread(target=self._serving.run, name="range-server", daemon=True)
        self._thread.start()
        return self._serving.wait_until_open()

    def close(self) -> None:
        if self._serving is not None and self._thread is not None:
            self._serving.stop()
            self._thread.join()
        self._serving = self._thread = None

    def requests(self) -> list[Request]:
        return list(self._recorded)

    def reset(self) -> None:
        self._recorded.clear()

    def add_faults(self, faults: Faults) -> None:
        assert self._serving is not None, "the server is not running"
        for path, listed in faults.items():
            self._serving.faults.setdefault(path, deque()).extend(listed)


class _InProcess:
    """Serves from a child process: calls the methods of an `_InThread` there, with pickles over stdin and stdout."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._recorded: list[Request] = []

    def start(self, root: Path, latency_s: float, faults: Faults) -> int:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "rasteret_sql.testing.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        port: int = self._call("start", root, latency_s, faults)
        return port

    def close(self) -> None:
        if self._child is None:
            return
        self._recorded = self.requests()
        with self._child:  # closes the pipes, which ends the child, and waits for it
            self._child = None

    def requests(self) -> list[Request]:
        if self._child is not None:
            self._recorded = self._call("requests")
        return list(self._recorded)

    def reset(self) -> None:
        self._recorded = []
        if self._child is not None:
            self._call("reset")

    def add_faults(self, faults: Faults) -> None:
        self._call("add_faults", faults)

    def _call(self, method: str, *arguments: Any) -> Any:
        assert self._child is not None, "the server is not running"
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        pickle.dump((method, arguments), self._child.stdin)
        self._child.stdin.flush()
        return pickle.load(self._child.stdout)  # noqa: S301 - of our own child


def _serve_parent() -> None:
    """Serve as the child process of an `_InProcess`, until the parent closes stdin or is gone."""
    backend = _InThread()
    with contextlib.suppress(EOFError):
        while True:
            method, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - of our own parent
            pickle.dump(getattr(backend, method)(*arguments), sys.stdout.buffer)
            sys.stdout.flush()
    backend.close()


if __name__ == "__main__":
    _serve_parent()
