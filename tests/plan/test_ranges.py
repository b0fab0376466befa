"""Coalescing of byte ranges: the rule, and that SQL and Python keep the same one."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_sql.plan.requests import MAX_GAP_BYTES, MAX_REQUEST_BYTES, coalesce
from rasteret_sql.sql.connection import make_planner

ranges = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 20_000_000), st.integers(1, 3_000_000)),
    min_size=1,
    max_size=60,
)


def _columns(found: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    file, start, size = (np.array(column, np.int64) for column in zip(*found, strict=True))
    return file, start, start + size


@given(found=ranges, gap=st.integers(0, 1_000_000), longest=st.integers(1, 10_000_000))
def test_each_request_is_one_file_and_within_its_limits(
    found: list[tuple[int, int, int]], gap: int, longest: int
) -> None:
    file, start, end = _columns(found)
    request = coalesce(file, start, end, max_gap_bytes=gap, max_request_bytes=longest)
    assert set(request.tolist()) == set(range(request.max() + 1))
    for number in range(request.max() + 1):
        members = request == number
        assert len(set(file[members].tolist())) == 1
        first, last = start[members].min(), end[members].max()
        assert last - first < longest + (end - start)[members].max()
        # No gap longer than the limit inside a request, but for bytes of a longer range that another one fetches.
        whole_file = file == file[members][0]
        for here in sorted(set(start[members].tolist()))[1:]:
            assert here - end[whole_file & (start < here)].max() <= gap


@given(found=ranges, gap=st.integers(0, 1_000_000))
def test_near_ranges_share_a_request(found: list[tuple[int, int, int]], gap: int) -> None:
    file, start, end = _columns(found)
    request = coalesce(file, start, end, max_gap_bytes=gap, max_request_bytes=1 << 60)
    for number in range(1, request.max() + 1):
        before, here = request == number - 1, request == number
        if file[before][0] == file[here][0]:
            assert start[here].min() - end[before].max() > gap


@given(found=ranges)
def test_the_order_of_the_input_does_not_matter(found: list[tuple[int, int, int]]) -> None:
    file, start, end = _columns(found)
    request = coalesce(file, start, end)
    back = coalesce(file[::-1], start[::-1], end[::-1])[::-1]
    np.testing.assert_array_equal(request, back)


def test_no_ranges_make_no_request() -> None:
    empty = np.empty(0, np.int64)
    assert coalesce(empty, empty, empty).shape == (0,)


@pytest.fixture(scope="module")
def planner() -> duckdb.DuckDBPyConnection:
    return make_planner(duckdb.connect())


def test_sql_and_python_have_the_same_limits(planner: duckdb.DuckDBPyConnection) -> None:
    limits = planner.execute("SELECT rasteret_sql.main._rst_limits()").fetchall()
    assert limits == [({"max_gap_bytes": MAX_GAP_BYTES, "max_request_bytes": MAX_REQUEST_BYTES},)]


@settings(max_examples=40, deadline=None)
@given(found=ranges)
def test_sql_and_python_make_the_same_requests(
    planner: duckdb.DuckDBPyConnection, found: list[tuple[int, int, int]]
) -> None:
    found = sorted(set(found))
    file, start, end = _columns(found)
    expected = coalesce(file, start, end)
    mask_tiles = pa.array(
        [None] * len(found), pa.list_(pa.struct([("tile_offset", "int64"), ("tile_byte_count", "int64")]))
    )
    tiles = pa.table(
        {
            "address": [f"f{n}" for n in file],
            "tile_offset": start,
            "tile_byte_count": end - start,
            "mask_tiles": mask_tiles,
        }
    )
    planner.register("tiles", tiles)
    rows = planner.execute(
        "SELECT request FROM rasteret_sql.main._rst_requests('tiles') ORDER BY address, range_start, range_end"
    ).fetchall()
    ours = [number for (number,) in rows]
    order = np.lexsort((end, start, file))
    assert ours == expected[order].tolist()
