"""Requests that are sent a second time: only slow ones, and only where that was asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rasteret_sql.errors import InvalidArgumentError, TransportError
from rasteret_sql.io import loop
from rasteret_sql.io.hedge import Hedge
from rasteret_sql.io.http import HttpStore
from rasteret_sql.io.options import Options, set_options
from rasteret_sql.testing.server import Fault, RangeServer

from .conftest import CONTENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(folder: Path) -> Iterator[RangeServer]:
    with RangeServer(folder) as server:
        yield server


def test_a_request_that_hangs_is_answered_by_a_second_one(server: RangeServer) -> None:
    store = HttpStore()
    url = server.url("a.tif")

    async def reads() -> None:
        for start in range(0, 2000, 100):
            await store.fetch(url, start, start + 100)
        server.add_faults("a.tif", Fault("hang"))
        response = await asyncio.wait_for(store.fetch(url, 5000, 5100), 120)
        assert response.data == CONTENT[5000:5100]
        await store.aclose()

    with set_options(hedge=True, silence_s=3600):
        loop.run(reads())
    ranges = [(request.start, request.end) for request in server.requests]
    assert ranges[-2:] == [(5000, 5100)] * 2
    # Whichever of the others were slow on this machine were sent twice too.
    assert len(set(ranges)) == 21


def test_nothing_is_sent_twice_by_default(server: RangeServer) -> None:
    store = HttpStore()

    async def reads() -> None:
        for start in range(0, 3000, 100):
            await store.fetch(server.url("a.tif"), start, start + 100)
        await store.aclose()

    loop.run(reads())
    assert len(server.requests) == 30
    assert Options().hedge is False


class _Attempts:
    """Attempts that end when they are told, by their number."""

    def __init__(self, count: int) -> None:
        self.ends = [asyncio.get_running_loop().create_future() for _ in range(count)]
        self.begun = 0
        self.all_begun = asyncio.Event()
        self.cancelled: list[int] = []

    async def __call__(self) -> str:
        number, self.begun = self.begun, self.begun + 1
        if self.begun == len(self.ends):
            self.all_begun.set()
        try:
            return await asyncio.shield(self.ends[number])
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise


async def _at_once(_seconds: float) -> None:
    return


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_answer_is_taken_and_the_other_request_is_given_up(first: int) -> None:
    async def runs() -> None:
        hedge = Hedge(lambda: 0.0, _at_once)
        hedge._taken_s.extend([0.1] * 20)
        attempts = _Attempts(2)
        task = asyncio.create_task(hedge.run(attempts))
        await asyncio.wait_for(attempts.all_begun.wait(), 120)
        attempts.ends[first].set_result(f"answer {first}")
        assert await asyncio.wait_for(task, 120) == f"answer {first}"
        assert attempts.cancelled == [1 - first]

    loop.run(runs())


def test_an_error_waits_for_the_other_answer_and_is_raised_where_both_fail() -> None:
    async def runs() -> None:
        for second in ("answer", TransportError("second")):
            hedge = Hedge(lambda: 0.0, _at_once)
            hedge._taken_s.extend([0.1] * 20)
            attempts = _Attempts(2)
            task = asyncio.create_task(hedge.run(attempts))
            await asyncio.wait_for(attempts.all_begun.wait(), 120)
            attempts.ends[0].set_exception(TransportError("first"))
            await asyncio.sleep(0)
            assert not task.done()
            if isinstance(second, str):
                attempts.ends[1].set_result(second)
                assert await asyncio.wait_for(task, 120) == second
            else:
                attempts.ends[1].set_exception(second)
                with pytest.raises(TransportError, match="second"):
                    await asyncio.wait_for(task, 120)

    loop.run(runs())


def test_nothing_is_hedged_before_enough_is_known() -> None:
    async def runs() -> None:
        hedge = Hedge(lambda: 0.0, _at_once)
        attempts = _Attempts(1)
        attempts.ends[0].set_result("answer")
        for _ in range(19):
            attempts.begun = 0
            assert await hedge.run(attempts) == "answer"
            assert hedge.after_s is None
        attempts.begun = 0
        await hedge.run(attempts)
        assert hedge.after_s == 0.0

    loop.run(runs())


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("0", False), (True, True), ("False", False)])
def test_texts_are_truth_values(value: object, expected: bool) -> None:
    with set_options(hedge=value):
        from rasteret_sql.io.options import get_options

        assert get_options().hedge is expected


def test_other_values_are_refused() -> None:
    for value in ("maybe", 2, None):
        with pytest.raises(InvalidArgumentError, match=r"hedge: got .*, expected true or false"):
            set_options(hedge=value)
