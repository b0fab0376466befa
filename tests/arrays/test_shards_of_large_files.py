"""Shards of files that are larger than a fair share: cut inside, with the rows, chips and bytes of one read."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FILES = 3
SIDE = 4096


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RangeServer, Path]]:
    """Three files of 16 MiB, of which the last has a mask, and their index."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    place: dict[str, Any] = {"crs": "EPSG:32643", "transform": (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)}
    with RangeServer(folder) as server:
        for number in range(FILES):
            pixels = rng.integers(0, 255, (SIDE, SIDE), np.uint8)
            mask = pixels > 3 if number == FILES - 1 else None
            write_cog(folder / f"i{number}.tif", pixels, mask, tile=256, compression="none", **place)
        index = folder / "index.parquet"
        with rs.set_options(allow=["*"]):
            assert rs.build_index([server.url(f"i{number}.tif") for number in range(FILES)], index).rows == FILES
        yield server, index


def _fetched(server: RangeServer, read: Callable[[], Any]) -> list[Any]:
    server.reset()
    read()
    return sorted((request.path, request.start, request.end) for request in server.requests)


@pytest.mark.parametrize("count", [2, 6, 8, 12])
def test_shards_are_balanced_and_have_the_rows_of_one_read_and_no_byte_is_fetched_twice(
    served: tuple[RangeServer, Path], count: int
) -> None:
    server, index = served
    found: list[pa.Table] = []
    one = _fetched(server, lambda: found.append(rs.read_tiles(index).read_all()))
    shards = [rs.Shard.from_bytes(shard.to_bytes()) for shard in rs.shards(index, count)]
    sizes = [shard.nbytes for shard in shards]
    assert len(shards) == count
    assert max(sizes) <= 1.1 * sum(sizes) / count
    tables: list[pa.Table] = []
    cut = _fetched(server, lambda: tables.extend(shard.read_tiles().read_all() for shard in shards))
    assert pa.concat_tables(tables).equals(found[0])
    assert all(one[0] != two[0] or one[2] <= two[1] for one, two in pairwise(cut))
    assert sum(end - start for _, start, end in cut) <= sum(end - start for _, start, end in one)
    # A cut costs a request, and another one where masks lie in a place of their own.
    cuts = sum(shard.file_count for shard in shards) - FILES
    assert len(cut) <= len(one) + 2 * cuts


def test_cuts_where_requests_end_cost_no_request(served: tuple[RangeServer, Path]) -> None:
    server, index = served
    first = rs.connect().sql(f"FROM '{index}' WHERE item_id = 'i0'")
    one = _fetched(server, lambda: rs.read_tiles(first).read_all())
    shards = rs.shards(first, 4)
    assert len(shards) == len(one) == 4
    assert len(_fetched(server, lambda: [shard.read_tiles().read_all() for shard in shards])) == len(one)


def test_pieces_of_less_than_a_request_are_not_made(served: tuple[RangeServer, Path]) -> None:
    _, index = served
    shards = rs.shards(index, 1000)
    assert len(shards) == sum(shard.nbytes for shard in shards) >> 22
    assert [shard.to_bytes() for shard in shards] == [shard.to_bytes() for shard in rs.shards(index, 1000)]


def test_chips_of_a_large_file_are_in_several_shards_and_each_tile_in_one(served: tuple[RangeServer, Path]) -> None:
    server, index = served
    windows = rs.chips(index, size=200, stride=256).read_all()
    wanted: list[Any] = []
    one = _fetched(server, lambda: wanted.append(rs.read_chips(index, windows)))
    shards = [rs.Shard.from_bytes(shard.to_bytes()) for shard in rs.shards(index, 6, chips=windows)]
    assert len(shards) > FILES
    numbers: list[int] = []

    def read() -> None:
        for shard in shards:
            mine = shard.chip_table()["chip"].to_pylist()
            found = shard.chips()
            np.testing.assert_array_equal(found.data, wanted[0].data[mine])
            np.testing.assert_array_equal(found.mask, wanted[0].mask[mine])
            numbers.extend(mine)

    cut = _fetched(server, read)
    assert sorted(numbers) == list(range(len(windows)))
    assert all(one[0] != two[0] or one[2] <= two[1] for one, two in pairwise(cut))
    assert sum(end - start for _, start, end in cut) <= sum(end - start for _, start, end in one)


def test_chips_that_share_tiles_stay_together(served: tuple[RangeServer, Path]) -> None:
    _, index = served
    chips = [("i0", row, 0) for row in range(0, SIDE - 300, 250)]
    (shard,) = rs.shards(index, 4, chips=chips, chip_size=300)
    assert shard.chip_table().num_rows == len(chips)
