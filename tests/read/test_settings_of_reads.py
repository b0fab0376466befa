"""Settings bound what a read takes, at each door, and never change what is requested or read."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io import loop, machine, options, stores
from rasteret_sql.io.local import LocalStore
from rasteret_sql.read.engine import in_decode_thread
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rasteret_sql.io.store import RangeResponse

FILES = 24
MIB = 2**20


class Gate:
    """A local store whose fetches wait for each other: so many must be in flight before the first one ends."""

    def __init__(self) -> None:
        self.store = LocalStore()
        self.wanted = 1
        self.reset()

    def reset(self) -> None:
        """Forget what was fetched."""
        self.ranges: list[tuple[str, int, int]] = []
        self.flying: list[int] = []
        self.most, self.most_bytes = 0, 0
        self.is_open = asyncio.Event()

    async def fetch(self, href: str, start: int, end: int, **identity: Any) -> RangeResponse:
        """Fetch a range, once `wanted` are in flight."""
        self.ranges.append((href, start, end))
        self.flying.append(end - start)
        self.most, self.most_bytes = max(self.most, len(self.flying)), max(self.most_bytes, sum(self.flying))
        if len(self.flying) >= self.wanted:
            self.is_open.set()
        await asyncio.wait_for(self.is_open.wait(), 120)
        # Whatever else may begin does so now.
        for _ in range(20):
            await asyncio.sleep(0)
        self.flying.remove(end - start)
        return await self.store.fetch(href, start, end, **identity)

    async def aclose(self) -> None:
        """Close the files."""
        await self.store.aclose()


@pytest.fixture
def index(tmp_path: Path) -> Path:
    rows = []
    for number in range(FILES):
        pixels = np.random.default_rng(number).integers(1, 9000, (64, 64), np.uint16)
        path = tmp_path / f"{number:02}.tif"
        write_cog(path, pixels, tile=64, transform=(10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0), overviews=())
        when = dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=number)
        rows.append({"href": str(path), "item_id": f"{number:02}", "asset": "red", "datetime": when})
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    return tmp_path / "i.parquet"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setitem(stores._stores, "local", gate)
    yield gate
    loop.run(gate.aclose())


def by_python(index: Path) -> Any:
    return rs.to_numpy(index).data.tobytes()


def by_stream(index: Path) -> Any:
    return b"".join(rs.read_tiles(index).read_all().column("pixels").to_pylist())


def by_sql(index: Path, **settings: int) -> Any:
    with rs.connect() as con:
        for name, value in settings.items():
            con.execute(f"SET VARIABLE rasteret_{name} = {value}")
        rows = con.execute("SELECT pixels FROM read_tiles($1) ORDER BY item_id", [str(index)]).fetchall()
    return b"".join(pixels for (pixels,) in rows)


@pytest.mark.parametrize("requests", [1, 3, FILES])
@pytest.mark.parametrize("door", ["python", "stream", "sql"])
def test_a_read_has_as_many_requests_in_flight_as_its_setting_says(
    index: Path, gate: Gate, door: str, requests: int
) -> None:
    expected = by_python(index)
    usual = sorted(gate.ranges)
    gate.reset()
    gate.wanted = requests
    if door == "sql":
        found = by_sql(index, max_requests=requests)
    else:
        with rs.set_options(max_requests=requests):
            found = {"python": by_python, "stream": by_stream}[door](index)
    assert found == expected
    assert gate.most == requests
    assert sorted(gate.ranges) == usual


def test_the_environment_sets_them_too(index: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_current", [])
    monkeypatch.setenv("RASTERET_SQL_MAX_REQUESTS", "2")
    gate.wanted = 2
    by_python(index)
    assert (gate.most, len(gate.ranges)) == (2, FILES)


def test_bytes_in_flight_stay_within_the_budget(index: Path, gate: Gate) -> None:
    expected = by_python(index)
    largest = max(end - start for _, start, end in gate.ranges)
    for requests in (1, 4):
        gate.reset()
        gate.wanted = requests
        with rs.set_options(max_buffer_bytes=requests * largest + 1):
            assert by_python(index) == expected
        assert gate.most_bytes <= requests * largest + 1
        assert (gate.most, len(gate.ranges)) == (requests, FILES)


@pytest.mark.parametrize("name", ["max_requests", "max_buffer_bytes", "decode_threads"])
def test_a_session_sets_each_of_them(index: Path, name: str) -> None:
    with pytest.raises(duckdb.Error, match=f"{name}: got '0', expected 1 (request|byte|thread) or more"):
        by_sql(index, **{name: 0})
    assert by_sql(index, **{name: 1}) == by_stream(index)


def test_as_many_threads_decode_as_the_setting_says() -> None:
    async def meet(count: int) -> None:
        barrier = threading.Barrier(count)
        await asyncio.gather(*(in_decode_thread(lambda: barrier.wait(120)) for _ in range(count)))

    async def names() -> set[str]:
        return set(await asyncio.gather(*(in_decode_thread(lambda: threading.current_thread().name) for _ in range(9))))

    for count in (5, 1, 3):
        with rs.set_options(decode_threads=count):
            loop.run(meet(count))
            assert len(loop.run(names())) <= count


@pytest.mark.parametrize(
    ("cores", "memory", "files", "requests", "nbytes"),
    [
        (1, 2**29, 256, 100, 64 * MIB),
        (1, 2**29, 128, 64, 64 * MIB),
        (2, 2**33, 1024, 100, 64 * MIB),
        (16, 2**36, 65536, 800, 512 * MIB),
        (16, 2**32, 65536, 800, 128 * MIB),
        (64, 2**38, 1024, 512, 2048 * MIB),
        (64, 2**38, None, 1000, 2048 * MIB),
        (2, None, None, 100, 64 * MIB),
    ],
)
def test_settings_follow_the_machine(
    cores: int, memory: int | None, files: int | None, requests: int, nbytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "_current", [options.Options()])
    for name, value in (("cores", cores), ("memory_bytes", memory), ("_open_files", files)):
        monkeypatch.setattr(machine, name, lambda value=value: value)
    assert (machine.max_requests(), machine.max_buffer_bytes(), machine.decode_threads()) == (requests, nbytes, cores)


@pytest.mark.parametrize(
    ("cpu", "memory", "expected"),
    [("100000 100000", "536870912", (1, 2**29)), ("max 100000", "max", None), (None, None, None), ("10000 100000", "1", (1, 1))],
)  # fmt: skip
def test_a_container_has_the_cores_and_the_memory_that_it_may_use(
    cpu: str | None,
    memory: str | None,
    expected: tuple[int, int] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "nothing")
    machine._container_limit.cache_clear()
    whole = machine.cores(), machine.memory_bytes()
    for name, text in (("cpu.max", cpu), ("memory.max", memory)):
        if text is not None:
            (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    machine._container_limit.cache_clear()
    assert (machine.cores(), machine.memory_bytes()) == (expected or whole)
    machine._container_limit.cache_clear()


@pytest.mark.parametrize("name", ["max_requests", "max_buffer_bytes", "decode_threads"])
@pytest.mark.parametrize("value", [0, -1, "many", float("nan")])
def test_a_setting_that_bounds_nothing_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{name}: got .*, expected (1|a whole number of) "):
        rs.set_options(**{name: value})
