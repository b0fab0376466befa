"""Ctrl-C in plain Python reaches the caller once, and soon, while a query waits for bytes."""

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
import os, signal, sys, threading, time
import duckdb
import rasteret_sql as rs
from rasteret_sql.sql import ctrlc

con = rs.connect()
con.execute(f"CREATE TABLE i AS SELECT * REPLACE (replace(href, '{sys.argv[2]}', '{sys.argv[3]}') AS href) FROM '{sys.argv[1]}'")
pressed = []


def press():
    while not ctrlc._waiting:
        time.sleep(0.01)
    time.sleep(0.3)
    pressed.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=press, daemon=True).start()
came = []
try:
    try:
        con.execute(sys.argv[4]).fetchall()
    except duckdb.Error:
        for _ in range(100):
            time.sleep(0.1)
    except RuntimeError as error:
        # What DuckDB makes of KeyboardInterrupt where it looks for signals by itself; no `except duckdb.Error` catches it.
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from error
except KeyboardInterrupt:
    came.append(time.monotonic() - pressed[0])
try:
    time.sleep(1)
except KeyboardInterrupt:
    came.append(time.monotonic() - pressed[0])
print(len(came), came[0] < 30, con.execute("SELECT count(*) FROM i").fetchall(), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    "query",
    [
        "SELECT sum(octet_length(pixels)) FROM read_tiles('i')",
        "SELECT a.pixels, b.pixels FROM read_tiles('i') AS a JOIN read_tiles('i') AS b USING (tile_row)",
    ],
)
def test_ctrl_c_reaches_the_caller_while_a_query_waits_for_bytes(tmp_path: Path, query: str) -> None:
    write_cog(tmp_path / "a.tif", np.ones((256, 256), np.uint16), tile=64, overviews=())
    index = tmp_path / "i.parquet"
    with RangeServer(tmp_path) as fast:
        rs.build_index(fast.url("a.tif"), index)
        base = fast.base_url
    with RangeServer(tmp_path, latency_s=60) as slow:
        arguments = [str(index), base, slow.base_url, query]
        ended = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=False
        )
    assert ended.stdout.strip() == "1 True [(1,)]", ended.stderr
