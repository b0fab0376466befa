"""Reads of a served process: small batches, and an end for reads whose client takes no rows any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import TransportError
from rasteret_sql.sql.served_reads import ServedReads
from rasteret_sql.sql.virtual import limit_reads
from rasteret_sql.testing import RangeServer
from tests.load.scenes import write_scenes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDLE_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reads(clock: Clock) -> Iterator[ServedReads]:
    """Those of this process, until the test ends."""
    reads = ServedReads(1 << 18, IDLE_S, clock)
    limit_reads(reads)
    yield reads
    limit_reads(None)


def batches(count: int, closed: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        for number in range(count):
            yield pa.record_batch({"number": [number] * 10})
    finally:
        closed.append("closed")


def test_a_read_of_which_nothing_is_taken_ends_and_others_go_on(reads: ServedReads, clock: Clock) -> None:
    closed: list[str] = []
    gone, slow = reads.limited(batches(3, closed)), reads.limited(batches(3, []))
    next(gone)
    next(slow)
    clock.now += IDLE_S - 1
    assert reads.end_idle() == 0
    next(slow)
    clock.now += 1
    assert (reads.end_idle(), closed) == (1, ["closed"])
    assert reads.end_idle() == 0
    assert len(list(slow)) == 1
    with pytest.raises(TransportError, match=r"took no rows of this query for 60 s.*--idle-seconds"):
        next(gone)


def test_a_read_that_is_dropped_is_closed_at_once(reads: ServedReads) -> None:
    closed: list[str] = []
    read = reads.limited(batches(3, closed))
    next(read)
    del read
    assert closed == ["closed"]
    assert reads.end_idle() == 0


def test_batches_are_small_and_have_all_rows(clock: Clock) -> None:
    rows = [
        row for batch in ServedReads(16, IDLE_S, clock).limited(batches(3, [])) for row in batch["number"].to_pylist()
    ]
    assert rows == [0] * 10 + [1] * 10 + [2] * 10
    assert {batch.num_rows for batch in ServedReads(16, IDLE_S, clock).limited(batches(3, []))} == {2}


def test_the_thread_that_ends_reads_is_stopped(clock: Clock) -> None:
    reads = ServedReads(16, 0.01, clock)
    closed: list[str] = []
    read = reads.limited(batches(3, closed))
    next(read)
    clock.now += 1
    reads.stop()
    reads._watch()
    assert closed == []


def test_the_read_of_a_client_that_stands_still_requests_no_more_and_its_query_ends_with_an_error(
    reads: ServedReads, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    with RangeServer(tmp_path / "served") as server, rs.connect() as con:
        scenes = write_scenes(server, tmp_path, 2000, tile=128)
        found = con.execute(f"FROM read_tiles('{scenes.index}')")
        assert found.fetchone() is not None
        clock.now += IDLE_S
        assert reads.end_idle() == 1
        assert len(server.requests) < scenes.count
        with pytest.raises(Exception, match="took no rows of this query"):
            found.fetchall()
        assert len(server.requests) < scenes.count
