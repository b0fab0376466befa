"""Ctrl-C in plain Python ends the call that it interrupts, once, while a query waits for bytes that never come."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.testing import RangeServer, write_cog

if TYPE_CHECKING:
    from pathlib import Path

#: Presses Ctrl-C while a query waits, and says what came: DuckDB's errors are swallowed, as careless code does.
_PROGRAM = """
import os, signal, socket, sys, threading
# Shells start background jobs with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
import duckdb
import rasteret_sql as rs
from rasteret_sql.sql import ctrlc

index, base, query = sys.argv[1:]
# Accepts connections, and never answers.
silent = socket.create_server(("127.0.0.1", 0))
con = rs.connect()
here = f"http://127.0.0.1:{silent.getsockname()[1]}"
con.execute(f"CREATE TABLE i AS SELECT * REPLACE (replace(href, '{base}', '{here}') AS href) FROM '{index}'")
asked = []


def press():
    asked.append(silent.accept())
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=press, daemon=True).start()
came = []
try:
    try:
        con.execute(query).fetchall()
    except duckdb.Error as error:
        came.append(type(error).__name__)
    except RuntimeError as error:
        # DuckDB saw the signal before Python did.
        came.append("KeyboardInterrupt" if ctrlc.is_interrupt(error) else repr(error))
except KeyboardInterrupt:
    came.append("KeyboardInterrupt")
try:
    rows = con.execute("SELECT count(*) FROM i").fetchall()
    duckdb.sql("SELECT error('KeyboardInterrupt')").fetchall()
except BaseException as error:
    came.append(type(error).__name__)
print(came, rows, flush=True)
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An index, and the address that begins the hrefs of its files."""
    folder = tmp_path_factory.mktemp("ctrlc")
    write_cog(folder / "a.tif", np.ones((256, 256), np.uint16), tile=64, overviews=())
    with RangeServer(folder) as server:
        rs.build_index(server.url("a.tif"), folder / "i.parquet")
        return folder / "i.parquet", server.base_url


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT sum(octet_length(pixels)) FROM read_tiles('i')",
        "SELECT pixels FROM read_tiles('i')",
        "SELECT a.pixels, b.pixels FROM read_tiles('i') AS a JOIN read_tiles('i') AS b USING (tile_row)",
    ],
)
def test_ctrl_c_ends_the_call_that_waits_for_bytes_with_one_keyboard_interrupt(
    index: tuple[Path, str], query: str, threads: int
) -> None:
    path, base = index
    program = _PROGRAM.replace("asked = []", f"asked = []\ncon.execute('SET threads = {threads}')")
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path), base, query], capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == (
        "['KeyboardInterrupt', 'InvalidInputException'] [(1,)]\n",
        "",
        0,
    )
