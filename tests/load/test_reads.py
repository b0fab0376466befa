"""Reads of many threads and processes at once, reads that are given up, and reads of which some tiles fail.

Each test has a small form, and a large one for `make test-load`. Requests are counted; nothing is timed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import RasteretError
from rasteret_sql.testing import Fault, RangeServer
from tests.load.scenes import TILES, write_scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
#: Longest wait for a process or thread of a test, on a machine that does other things too.
WAIT_S = 300
#: Requests that a read may have in flight, and batches that wait for whoever consumes them.
AHEAD = 400
SUM = "SELECT sum(list_sum(rst_to_list(pixels, dtype)))::BIGINT FROM read_tiles('{}')"


def small_and_large(small: int, large: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("count", [small, pytest.param(large, marks=pytest.mark.load)])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    (tmp_path / "served").mkdir()
    with RangeServer(tmp_path / "served") as server:
        yield server


@small_and_large(8, 64)
def test_threads_with_cursors_of_one_connection_get_all_pixels(server: RangeServer, tmp_path: Path, count: int) -> None:
    scenes = write_scenes(server, tmp_path, 20)
    begin = threading.Barrier(count)
    with rs.connect() as con:

        def read(_number: int) -> int:
            begin.wait(WAIT_S)
            with con.cursor() as cursor:
                return cursor.execute(SUM.format(scenes.index)).fetchall()[0][0]

        with ThreadPoolExecutor(count) as pool:
            assert set(pool.map(read, range(count), timeout=WAIT_S)) == {scenes.total}
    assert len(server.requests) == count * scenes.count


_FORKS = """
import multiprocessing, sys, warnings
import rasteret_sql as rs
warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
index, count = sys.argv[1], int(sys.argv[2])

def read(results):
    results.put(int(rs.to_numpy(index).data.sum(dtype="int64")))

context = multiprocessing.get_context("fork")
results = context.Queue()
read(results)
children = [context.Process(target=read, args=(results,), daemon=True) for _ in range(count)]
for child in children:
    child.start()
read(results)
print(*[results.get(timeout=120) for _ in range(count + 2)])
for child in children:
    child.join(120)
print(*[child.exitcode for child in children])
"""


@small_and_large(2, 8)
def test_forked_processes_and_their_parent_read_at_once(server: RangeServer, tmp_path: Path, count: int) -> None:
    scenes = write_scenes(server, tmp_path, 20)
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, str(scenes.index), str(count)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=WAIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    totals, codes = (line.split() for line in done.stdout.splitlines())
    assert totals == [str(scenes.total)] * (count + 2)
    assert codes == ["0"] * count


def close_reader(index: Path, has_begun: Callable[[], bool]) -> None:
    reader = rs.read_tiles(index)
    assert next(iter(reader)).num_rows
    assert has_begun()
    reader.close()


def drop_generator(index: Path, has_begun: Callable[[], bool]) -> None:
    batches = iter(rs.read_tiles(index))
    assert next(batches).num_rows
    assert has_begun()
    del batches


def take_some_rows(index: Path, has_begun: Callable[[], bool]) -> None:
    with rs.connect() as con:
        assert con.execute(f"FROM read_tiles('{index}')").fetchone()
        assert has_begun()


def interrupt_connection(index: Path, has_begun: Callable[[], bool]) -> None:
    _interrupt(index, has_begun, lambda con: con.interrupt())


def interrupt_reads(index: Path, has_begun: Callable[[], bool]) -> None:
    _interrupt(index, has_begun, lambda _con: rs.interrupt())


def _interrupt(
    index: Path, has_begun: Callable[[], bool], interrupt: Callable[[duckdb.DuckDBPyConnection], None]
) -> None:
    """Interrupt a query from another thread once the server has answered some of its requests."""
    with rs.connect() as con, ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: con.execute(SUM.format(index)).fetchall())
        while not has_begun():
            assert not wait([running], timeout=0.02).done
        interrupt(con)
        with pytest.raises((duckdb.Error, RasteretError), match=r"(?i)interrupt"):
            running.result(WAIT_S)


@pytest.mark.parametrize(
    "give_up", [close_reader, drop_generator, take_some_rows, interrupt_connection, interrupt_reads]
)
@small_and_large(2000, 20_000)
def test_nothing_more_is_requested_for_a_read_that_is_given_up(
    server: RangeServer, tmp_path: Path, count: int, give_up: Callable[..., None]
) -> None:
    if give_up is take_some_rows and duckdb.__version__.startswith("1."):
        pytest.skip("duckdb 1.5 collects all rows of execute() before it gives one")
    # Reads ahead are bounded by bytes: 128 KiB of pixels for each request.
    scenes = write_scenes(server, tmp_path, count, tile=128)
    give_up(scenes.index, lambda: bool(server.requests))
    assert len(server.requests) < count / 2
    # Requests of the read would go on beside those of another one.
    other = write_scenes(server, tmp_path, 200)
    assert int(rs.to_numpy(other.index).data.sum(dtype=np.int64)) == other.total
    assert len(server.requests) <= other.count + AHEAD


@small_and_large(500, 25_000)
def test_one_percent_of_requests_fail_and_all_other_tiles_are_right(
    server: RangeServer, tmp_path: Path, count: int
) -> None:
    scenes = write_scenes(server, tmp_path, count)
    server.add_faults("scene.tif", *([None] * 99 + [Fault("status", status=404)]) * (count // 100))
    with rs.connect() as con:
        rows = con.execute(
            f"""
            SELECT error IS NULL AS is_read, count(*), count(DISTINCT item_id), sum(list_sum(rst_to_list(pixels, dtype)))::BIGINT,
                count(*) FILTER (error LIKE '%/scene.tif%404%')
            FROM read_tiles('{scenes.index}', on_error := 'null') GROUP BY ALL ORDER BY ALL
            """
        ).fetchall()
    failed = count // 100
    assert [row[:4] for row in rows] == [
        (False, failed * TILES, failed, None),
        (True, (count - failed) * TILES, count - failed, scenes.total // count * (count - failed)),
    ]
    assert rows[0][4] == failed * TILES
    assert len(server.requests) == count
