"""Plans that are longer than memory: they are planned in parts, read within a budget, and the pixels are the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.io import fork, loop
from rasteret_sql.plan import select
from rasteret_sql.plan.requests import Reach, plan_requests
from rasteret_sql.read import engine
from rasteret_sql.read.engine import ByteBudget, ReadOptions
from rasteret_sql.read.stream import PART_ROWS, TileStream
from rasteret_sql.read.stream_part import ROW_BYTES
from rasteret_sql.sql.batches import tile_rows
from rasteret_sql.sql.named_index import shown_index
from rasteret_sql.sql.planning import plan_parts
from rasteret_sql.sql.readers import planning_cursor, read_arguments
from rasteret_sql.testing import write_cog
from tests.support.plans import masks_of

if TYPE_CHECKING:
    from pathlib import Path

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import TilePlan

PLACE: dict[str, Any] = {"crs": "EPSG:32643", "transform": (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)}
EVERYTHING = read_arguments(None, None, None, None, None, None, None)
#: Tiles of the file that is in an index many times.
TILES = 1024
FILES = 1000


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files whose tiles are shared by bands, lie in planes, have masks, or are sparse."""
    folder = tmp_path_factory.mktemp("mixed")
    pixels = np.random.default_rng(1).integers(1, 250, (3, 300, 280), np.uint8)
    mask = np.ones((300, 280), bool)
    mask[:100, 50:] = False
    shared: dict[str, Any] = {**PLACE, "tile": 64, "overviews": (2,), "photometric": "rgb"}
    write_cog(folder / "a.tif", pixels, mask, **shared)
    write_cog(folder / "b.tif", pixels, mask, planar=True, **shared)
    write_cog(folder / "c.tif", pixels[0], **PLACE, tile=32, overviews=(2,), nodata=0)
    rs.build_index([str(folder / f"{name}.tif") for name in "abc"], folder / "index.parquet")
    return folder / "index.parquet"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 1,024 tiles in a thousand rows: a plan of a million tiles."""
    folder = tmp_path_factory.mktemp("many")
    pixels = (np.arange(512 * 512) % 251).astype(np.uint8).reshape(512, 512)
    write_cog(folder / "a.tif", pixels, tile=16, overviews=(), compression="none", predictor=False)
    rs.build_index([str(folder / "a.tif")], folder / "one.parquet")
    con = rs.connect()
    con.sql(
        f"SELECT * REPLACE (format('{{:04d}}', n) AS item_id) FROM '{folder}/one.parquet', range({FILES}) AS t(n)"
    ).write_parquet(str(folder / "many.parquet"))
    con.close()
    return folder / "many.parquet"


def _parts(index: Path, max_rows: int | None, arguments: ReadArguments = EVERYTHING) -> list[TilePlan]:
    with planning_cursor(str(index)) as cursor:
        return list(plan_parts(cursor, shown_index(cursor, str(index), arguments), max_rows))


@pytest.mark.parametrize("max_rows", [1, 4, 7, 40, 1000])
@pytest.mark.parametrize("level", [None, 1])
def test_parts_of_a_plan_are_the_plan(mixed: Path, max_rows: int, level: int | None) -> None:
    arguments = read_arguments(None, None, (600_300, 1_397_500, 602_000, 1_399_500), "EPSG:32643", None, level, None)
    (whole,) = _parts(mixed, None, arguments)
    parts = _parts(mixed, max_rows, arguments)
    rows = [row for part in parts for row in tile_rows(part).to_pylist()]
    assert rows == tile_rows(whole).to_pylist()
    assert np.concatenate([part.tile_offset for part in parts]).tolist() == whole.tile_offset.tolist()
    masks = [masks_of(part, row) for part in parts for row in range(len(part))]
    assert masks == [masks_of(whole, row) for row in range(len(whole))]
    # The three bands of a tile of "a" are decoded together.
    assert max(map(len, parts)) <= max(max_rows, 3)
    for part in parts:
        assert len({asset.href for asset in part.assets}) == len(part.assets)


@pytest.mark.parametrize("max_rows", [1, 5, 64])
@pytest.mark.parametrize("budget_bytes", [1, 30_000])
def test_parts_of_a_plan_give_the_pixels_of_the_plan(mixed: Path, max_rows: int, budget_bytes: int) -> None:
    (whole,) = _parts(mixed, None)

    def read(plan: Any, options: ReadOptions) -> list[tuple[int, bytes, bytes]]:
        found = []
        for batch in TileStream(plan, options=options):
            assert batch.pixels is not None
            assert batch.mask is not None
            for number, row in enumerate(batch.rows):
                pixels = batch.pixels[batch.pixel_ends[number] : batch.pixel_ends[number + 1]].tobytes()
                mask = batch.mask[batch.mask_ends[number] : batch.mask_ends[number + 1]].tobytes()
                found.append((batch.first_row + row, pixels, mask))
        return found

    expected = read(whole, ReadOptions())
    assert [row for row, *_ in expected] == list(range(len(whole)))
    assert len({pixels for _, pixels, _ in expected}) > 50
    assert read(whole.parts(max_rows), ReadOptions(max_buffer_bytes=budget_bytes)) == expected


@pytest.mark.parametrize("max_bytes", [1, 4096, 20_000, 10_000_000])
def test_requests_serve_rows_that_lie_within_reach_of_each_other(mixed: Path, max_bytes: int) -> None:
    (plan,) = _parts(mixed, None)
    sizes = plan.width.astype(np.int64) * plan.height
    starts = np.cumsum(sizes) - sizes
    free = plan_requests(plan, pixels=True, mask=True)
    bound = plan_requests(plan, pixels=True, mask=True, reach=Reach(starts, max_bytes))

    def pieces(requests: Any) -> list[Any]:
        return sorted(
            (piece.kind, piece.asset_no, piece.offset, piece.rows) for each in requests for piece in each.pieces
        )

    assert pieces(bound) == pieces(free)
    assert len(bound) >= len(free)
    for request in bound:
        first_rows = [piece.rows[0] for piece in request.pieces]
        assert starts[max(first_rows)] - starts[min(first_rows)] <= max_bytes
    if max_bytes == 10_000_000:
        assert bound == free or len(bound) == len(free)


@pytest.mark.parametrize("door", ["sql", "arrow"])
def test_a_read_that_ends_early_plans_no_more_than_it_needs(
    many: Path, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[int] = []
    plan_cells = select.plan_cells

    def counted(*arguments: Any) -> Any:
        for part in plan_cells(*arguments):
            planned.append(len(part))
            yield part

    monkeypatch.setattr(select, "plan_cells", counted)
    if door == "sql":
        con = rs.connect()
        query = f"SELECT item_id, pixels FROM read_tiles('{many}') LIMIT 1"
        ((item_id, pixels),) = con.sql(query).fetchall()
        con.close()
    else:
        reader = rs.read_tiles(many)
        batch = reader.read_next_batch()
        item_id, pixels = batch.column("item_id")[0].as_py(), batch.column("pixels")[0].as_py()
        reader.close()
    assert (item_id, pixels) == (
        "0000",
        bytes(np.tile(np.arange(512 * 16) % 251, 1).reshape(16, 512)[:, :16].astype(np.uint8)),
    )
    # What is read ahead, and one part that waits for its turn.
    assert 0 < sum(planned) <= 64 * 2**20 // ROW_BYTES + 2 * PART_ROWS < FILES * TILES / 10
    assert max(planned) <= PART_ROWS


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The budget of a process in which nothing else reads."""
    monkeypatch.setattr(engine, "_process_budget", fork.PerProcess(engine._ProcessBudget))
    return engine._process_budget.get()


def test_reads_that_stand_still_hold_a_batch_each_beside_the_budget_of_the_process(process: Any) -> None:
    async def reads() -> None:
        budgets = [ByteBudget(100, 250) for _ in range(10)]
        # Four fit the process; the others hold nothing, so each begins.
        for budget in budgets:
            await asyncio.wait_for(budget.acquire(60), 120)
        waiting = [asyncio.create_task(budget.acquire(10)) for budget in budgets]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        for budget in budgets[:7]:
            budget.release(60)
        await asyncio.wait_for(asyncio.gather(*waiting[:7]), 120)
        assert [budget.used_bytes for budget in budgets] == [10] * 7 + [60] * 3
        assert process.used_bytes == 250
        # What one read gives back another one gets, which waits longest.
        budgets[0].release(10)
        await asyncio.wait_for(waiting[7], 120)
        assert [budget.used_bytes for budget in budgets] == [0] + [10] * 6 + [70, 60, 60]
        for task in waiting:
            task.cancel()
        for budget in budgets:
            budget.close()

    loop.run(reads())
    assert (process.used_bytes, process.waiting) == (0, {})


def test_a_read_that_was_given_up_holds_nothing(mixed: Path, process: Any) -> None:
    async def given_up() -> None:
        async with asyncio.timeout(120):
            while process.used_bytes or process.waiting:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)

    for _ in range(3):
        batches = iter(TileStream(_parts(mixed, None)[0]))
        assert next(batches).rows
        assert process.used_bytes > 0
        batches.close()
        loop.run(given_up())
    assert list(TileStream(_parts(mixed, None)[0]))
    loop.run(given_up())


_PEAK = """
import resource, sys
import rasteret_sql as rs
import rasteret_sql.sql.virtual, rasteret_sql.read.stream, aiohttp, imagecodecs, pyarrow.dataset
con = rs.connect()
con.execute("SET enable_progress_bar = false")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
print(con.sql(sys.argv[1]).fetchall())
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT tile_row, octet_length(pixels) FROM read_tiles('{index}') LIMIT 1", "[(0, 256)]"),
        ("SELECT count(*), max(item_id) FROM read_tiles('{index}')", f"[({FILES * TILES}, '0999')]"),
        ("SELECT count(*) FROM read_tiles('{index}') WHERE item_id = '0500'", f"[({TILES},)]"),
    ],
)
def test_a_million_tiles_are_planned_in_little_memory(many: Path, query: str, expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, query.format(index=many)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, grown = done.stdout.splitlines()
    assert found == expected
    # It was 2,900 MiB.
    assert float(grown) < 400
