"""Ctrl-C ends every command with 130 while it waits for bytes that never come, and leaves no file behind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.silence import interrupted, silent_index

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, socket.socket]]:
    with silent_index(tmp_path_factory.mktemp("silent")) as found:
        yield found


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["export", "INDEX", "-o", "OUTPUT"], "cube.zarr"),
        (["export", "INDEX", "-o", "OUTPUT"], "cube.nc"),
        (["export", "INDEX", "-o", "OUTPUT", "--where", "item_id = '0'"], "one.tif"),
        (["export", "INDEX", "-o", "OUTPUT", "--on-error", "nodata"], "pixels.parquet"),
        (["sql", "FROM read_tiles('INDEX')", "-o", "OUTPUT"], "tiles.parquet"),
        (["sql", "FROM read_tiles('INDEX')"], None),
        (["sql", "CREATE TABLE t AS FROM read_tiles('INDEX'); SELECT count(*) FROM t"], None),
        (["preview", "INDEX", "-o", "OUTPUT"], "picture.png"),
        (["shell", "-c", "SELECT count(pixels) FROM read_tiles('INDEX')"], None),
        (["validate", "INDEX"], None),
    ],
    ids=["zarr", "netcdf", "tiff", "pixels", "sql to a file", "sql", "sql of two", "preview", "shell", "validate"],
)
def test_ctrl_c_ends_a_command_that_waits_for_bytes(silent, tmp_path, arguments, output):
    if output is not None and output.endswith((".zarr", ".nc")):
        pytest.importorskip("zarr" if output.endswith(".zarr") else "netCDF4")
    index, server = silent
    path = str(tmp_path / str(output))
    filled = [each.replace("INDEX", str(index)).replace("OUTPUT", path) for each in arguments]
    ended = interrupted(filled, server)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
    assert list(tmp_path.iterdir()) == []
