"""A build that is killed leaves what it read, and the next build of the same definition reads the rest."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

import rasteret_sql as rs
from rasteret_sql.index.staging import leftovers
from rasteret_sql.testing.server import RangeServer

FILES = 700
#: Builds the list of URLs that it is given, and kills itself once so many files are staged.
KILLED = """
import os, signal, sys
import rasteret_sql as rs

path, base, files, after = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def progress(done, total):
    if done >= after:
        os.kill(os.getpid(), signal.SIGKILL)

rs.build_index([f"{base}?n={n}" for n in range(files)], path, progress=progress)
"""


@pytest.fixture
def server(cog, tmp_path):
    cog("files/a.tif")
    with RangeServer(tmp_path / "files") as server:
        yield server


def build(server, path, files=FILES):
    return rs.build_index([f"{server.url('a.tif')}?n={n}" for n in range(files)], path)


def killed(server, path, after):
    """Run a build that is killed once so many files are staged."""
    arguments = [str(path), server.url("a.tif"), str(FILES), str(after)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    server.reset()


def test_the_next_build_reads_only_what_the_killed_one_did_not(server, tmp_path):
    path = tmp_path / "i.parquet"
    killed(server, path, after=300)
    assert not path.exists()
    assert len(leftovers(path)) == 1
    report = build(server, path)
    # Headers are staged 256 at a time, and the second batch was done when the build was killed.
    assert (report.rows, report.requests, len(server.requests)) == (FILES, FILES - 512, FILES - 512)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["files", "i.parquet"]


def test_the_resumed_index_is_the_one_that_a_whole_build_gives(server, tmp_path):
    killed(server, tmp_path / "i.parquet", after=1)
    build(server, tmp_path / "i.parquet")
    build(server, tmp_path / "j.parquet")
    with rs.connect() as con:
        query = "SELECT * EXCLUDE (indexed_at) FROM '{}'"
        resumed = con.sql(query.format(tmp_path / "i.parquet")).fetchall()
        assert resumed == con.sql(query.format(tmp_path / "j.parquet")).fetchall()


def test_a_build_that_is_killed_twice_keeps_what_both_read(server, tmp_path):
    path = tmp_path / "i.parquet"
    killed(server, path, after=1)
    killed(server, path, after=1)
    assert len(leftovers(path)) == 2
    assert build(server, path).requests == FILES - 512
    assert leftovers(path) == []


def test_another_definition_takes_nothing_and_cleans_up(server, tmp_path):
    path = tmp_path / "i.parquet"
    killed(server, path, after=1)
    assert build(server, path, files=10).requests == 10
    assert leftovers(path) == []


def test_rows_that_are_older_than_a_day_are_read_again(server, tmp_path):
    path = tmp_path / "i.parquet"
    killed(server, path, after=1)
    (folder,) = leftovers(path)
    with rs.connect() as con:
        (staged,) = folder.glob("headers*.parquet")
        con.execute(
            f"COPY (SELECT * REPLACE (indexed_at - INTERVAL 2 DAY AS indexed_at) FROM '{staged}') TO '{staged}.new'"
            " (FORMAT parquet)"
        )
    (folder / f"{staged.name}.new").replace(staged)
    assert build(server, path).requests == FILES


def test_a_leftover_that_cannot_be_read_is_no_hindrance(server, tmp_path):
    path = tmp_path / "i.parquet"
    killed(server, path, after=1)
    (folder,) = leftovers(path)
    (folder / "items.parquet").write_bytes(b"PAR1 and then it was killed")
    assert build(server, path).requests == FILES


def test_a_build_that_fails_by_itself_leaves_nothing(server, tmp_path):
    (tmp_path / "text.tif").write_text("this is no TIFF, whatever its name")
    with pytest.raises(rs.RasteretError):
        rs.build_index(tmp_path / "text.tif", tmp_path / "i.parquet")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["files", "text.tif"]
