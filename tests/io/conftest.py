"""Fixtures of the transport tests: files with known bytes, and a store whose waits take no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rasteret_sql.io import loop
from rasteret_sql.io.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rasteret_sql.io.http import HttpStore
    from rasteret_sql.testing import RangeServer

SIZE = 100_000
CONTENT = bytes((7 * i + i // 251) % 256 for i in range(SIZE))


class Waits:
    """A sleep that returns at once, and a clock that it moves."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.now = 1000.0

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.tif").write_bytes(CONTENT)
    (tmp_path / "b.tif").write_bytes(CONTENT[::-1])
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def make_store(waits: Waits):
    """Makes stores with the fake clock; closes them, so that no connection is left open."""
    from rasteret_sql.io.http import HttpStore

    made = []

    def make(**arguments) -> HttpStore:
        store = HttpStore(sleep=waits.sleep, clock=waits.clock, jitter=lambda: 0.0, **arguments)
        made.append(store)
        return store

    yield make
    for store in made:
        loop.run(store.aclose())


@pytest.fixture
def store(make_store: Callable[..., HttpStore]) -> HttpStore:
    return make_store()


def sent(server: RangeServer, href: str) -> dict[str, str]:
    """Read an object, and give the headers of the request."""
    server.reset()
    assert loop.run(ObjectStore().fetch(href, 10, 5000)).data == CONTENT[10:5000]
    (request,) = server.requests
    return request.headers
