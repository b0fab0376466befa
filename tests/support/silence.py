"""A server that accepts connections and never answers, and an index of files behind it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np

import rasteret_sql as rs
from rasteret_sql.testing import write_cog
from tests.support import warm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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


def interrupted(arguments: Sequence[str], server: socket.socket) -> subprocess.CompletedProcess[str]:
    """Run the command with arguments, and press Ctrl-C when it waits for the server."""
    _forget_connections(server)
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        Path(os.devnull).open("rb") as nothing,
    ):
        streams = {"stdin": nothing.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
        process = warm.start("-m", "rasteret_sql", *arguments, **streams)
        server.settimeout(warm.PATIENCE_S)
        connection, _ = server.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            # Whoever waits for the server waits for ever.
            code = process.wait(warm.PATIENCE_S)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())


def _forget_connections(server: socket.socket) -> None:
    """Close what an earlier command has opened beside its first connection."""
    server.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
    server.setblocking(True)
