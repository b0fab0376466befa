"""Where tiles lie: any offsets come back through SQL as they were."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_sql.index.header_columns import MAX_OFFSET, RUN_TILES, runs_of
from rasteret_sql.plan import tile_bytes
from rasteret_sql.sql.connection import make_planner
from rasteret_sql.tiff.model import Level, TileFormat

FORMAT = TileFormat("little", "uint16", 16, 1, False, 8, 2, 1, 1, 512, 512, tiled=True)


@pytest.fixture(scope="module")
def planner():
    return make_planner(duckdb.connect())


def level(offsets, counts):
    return Level(1, 1, FORMAT, np.array(offsets, np.int64), np.array(counts, np.int64))


def decoded(planner, levels):
    """The offsets that SQL gives of each level."""

    def lists(part):
        return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *part.lengths]).astype(np.int32)), pa.array(part.values))

    runs = runs_of(levels)
    table = {"c": lists(runs.tile_byte_counts), "r": lists(runs.run_offsets), "g": lists(runs.tile_gaps)}
    planner.register("encoded", pa.table({"number": range(len(levels)), **table}))
    offset = "rasteret_sql.main._rst_tile_offset(c, r, g, n)"
    rows = planner.execute(
        f"SELECT list({offset} ORDER BY n) FROM (SELECT *, unnest(range(1, len(c) + 1)) AS n FROM encoded) "
        "GROUP BY number ORDER BY number"
    ).fetchall()
    return runs, [row[0] for row in rows]


def expected(one):
    return np.where((one.tile_offsets > 0) & (one.tile_byte_counts > 0), one.tile_offsets, 0).tolist()


def test_writers_and_readers_have_runs_of_one_size(planner):
    ((in_sql,),) = planner.execute("SELECT rasteret_sql.main._rst_run_tiles()").fetchall()
    assert tile_bytes.RUN_TILES == in_sql == RUN_TILES


NUMBERS = st.one_of(st.just(0), st.integers(0, 200), st.integers(0, MAX_OFFSET - 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=3 * RUN_TILES), min_size=1, max_size=4))
def test_any_offsets_come_back(planner, levels):
    levels = [level(*zip(*tiles, strict=True)) for tiles in levels]
    _, offsets = decoded(planner, levels)
    assert offsets == [expected(one) for one in levels]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.one_of(st.just(0), st.integers(1, 900_000)), min_size=1, max_size=300),
    gap=st.sampled_from([0, 8, -3]),
)
def test_tiles_a_constant_gap_apart_with_sparse_ones_come_back(planner, counts, gap):
    counts = np.array(counts)
    steps = np.where(counts > 0, counts + gap, 0)
    one = level(10_000 + np.cumsum(steps) - steps, counts)
    _, offsets = decoded(planner, [one])
    assert offsets == [expected(one)]


@pytest.mark.parametrize(("gap", "tiles", "gaps"), [(0, 484, 1), (8, 484, 1), (8, 1, 1)])
def test_a_constant_gap_is_one_number_and_a_run_one_offset(gap, tiles, gaps):
    counts = np.random.default_rng(1).integers(1, 1000, tiles)
    runs = runs_of([level(8 + np.cumsum(counts + gap) - counts, counts)])
    assert runs.tile_gaps.values.size == gaps
    assert runs.run_offsets.values.size == -(-tiles // RUN_TILES)


def test_turned_shared_and_overlapping_tiles_come_back(planner):
    offsets = [4000, 3000, 3000, 3100, 0, 2000]
    _, found = decoded(planner, [level(offsets, [10, 500, 500, 800, 5, 1])])
    assert found == [offsets]


def test_no_levels_are_no_numbers():
    assert runs_of([]).tile_gaps.values.size == 0


def test_offsets_take_time_in_proportion_to_tiles(planner):
    # A copy of the list for each of its tiles takes minutes for the tenth part of these.
    counts = np.full(1_000_000, 7)
    _, offsets = decoded(planner, [level(8 + np.cumsum(counts), counts)])
    assert offsets[0][-1] == 8 + 7_000_000
