"""A server that accepts connections and never answers, and an index of files behind it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import duckdb
import numpy as np

import rasteret_sql as rs
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextmanager
def silent_index(folder: Path, files: int = 4) -> Iterator[tuple[Path, socket.socket]]:
    """Make an index of files that nobody ever sends.

    Args:
        folder: where it is made.
        files: how many; each has one band of 256 x 256 pixels.

    Yields:
        Its path, and the socket at which the server listens.
    """
    for number in range(files):
        write_cog(folder / f"{number}.tif", np.ones((256, 256), np.uint16), tile=64, overviews=())
    rs.build_index(str(folder / "*.tif"), folder / "here.parquet")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        index = folder / "silent.parquet"
        with duckdb.connect() as con:
            con.execute(
                f"COPY (SELECT * REPLACE (replace(href, '{folder}', '{address}') AS href) FROM '{folder}/here.parquet') "
                f"TO '{index}'"
            )
        yield index, server


def interrupted(command: Sequence[str], server: socket.socket) -> subprocess.CompletedProcess[str]:
    """Run a command, and press Ctrl-C when it waits for the server."""
    _forget_connections(server)
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment) as process:
        connection, _ = server.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            # Whoever waits for the server waits for ever.
            out, err = ended_or_stacks(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def ended_or_stacks(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Give what a process has written when it ends; the stacks of one that hangs are in what it writes on stderr."""
    try:
        # Far longer than it takes on any machine.
        return process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        return process.communicate()


def _forget_connections(server: socket.socket) -> None:
    """Close what an earlier command has opened beside its first connection."""
    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
    server.setblocking(True)
