"""A real STAC API on this machine: rustac, where it is installed."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from rasteret_sql.database.hrefs import absolute
from rasteret_sql.index.datasets import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Seconds after which a server that runs and does not answer yet is asked again.
BETWEEN_S = 0.02
#: How many free ports are tried.
TRIES = 5


def program() -> str | None:
    """The program `rustac`, beside the interpreter or on the path, or None."""
    beside = Path(sys.executable).with_name("rustac")
    return str(beside) if beside.exists() else shutil.which("rustac")


def is_installed() -> bool:
    """Whether there is one."""
    return program() is not None


@contextlib.contextmanager
def serving(items: Sequence[dict[str, Any]], path: Path) -> Iterator[str]:
    """Serve items, which are written to `path` first; gives the URL of the API."""
    command = program()
    assert command is not None
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(items)}))
    for _ in range(TRIES):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        server = subprocess.Popen(
            [command, "serve", "-a", address, "--create-collections", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if _answers(f"http://{address}/", server):
                yield f"http://{address}"
                return
        finally:
            server.terminate()
            server.wait()
    raise AssertionError(f"{command} serve ended {TRIES} times before it answered")


@contextlib.contextmanager
def endpoint_of(prefix: str, url: str) -> Iterator[None]:
    """Let the entries of the catalog whose ids begin so be asked for at `url`."""
    entries = tuple(
        replace(entry, endpoint=url) if entry.id.startswith(prefix) and entry.endpoint else entry
        for entry in catalog._built_in()
    )
    with mock.patch.object(catalog, "_built_in", return_value=entries):
        yield


def with_absolute_hrefs(path: Path) -> dict[str, Any]:
    """Read an item, and make the hrefs of its assets absolute."""
    item: dict[str, Any] = json.loads(path.read_text())
    for asset in item["assets"].values():
        asset["href"] = Path(absolute(asset["href"], str(path))).as_uri()
    item["links"] = []
    return item


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait for the first answer; False if the server ended, since another one has taken its port meanwhile."""
    while server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url):
            return server.poll() is None
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(BETWEEN_S)
    return False
