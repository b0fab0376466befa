"""Offsets of tiles from runs, byte counts and gaps: what an index keeps is given back, for any tiles in any order."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.index.header_columns import runs_of
from rasteret_sql.plan.ragged import Ragged, bounds_of
from rasteret_sql.plan.tile_bytes import RUN_TILES, TileBytes

#: Tiles back to back, a few bytes apart, sparse, and anywhere.
TILES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 8, 8, 8, 500])), min_size=1, max_size=3 * RUN_TILES)
ANYWHERE = st.lists(st.tuples(st.integers(1, 2**40), st.integers(0, 9000)), min_size=1, max_size=2 * RUN_TILES)


def _level(offsets: np.ndarray, counts: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(tile_offsets=offsets, tile_byte_counts=counts)


def _in_order(tiles: list[tuple[int, int]]) -> SimpleNamespace:
    counts = np.array([count * 100 for count, _ in tiles], np.int64)
    gaps = np.array([gap for _, gap in tiles], np.int64)
    return _level(1000 + np.cumsum(counts + gaps) - counts - gaps, counts)


def _anywhere(tiles: list[tuple[int, int]]) -> SimpleNamespace:
    offsets, counts = np.array(tiles, np.int64).T
    return _level(offsets, counts)


def _bytes_of(levels: list[SimpleNamespace]) -> TileBytes:
    runs = runs_of(levels)
    lists = (runs.tile_byte_counts, runs.run_offsets, runs.tile_gaps)
    return TileBytes(*(Ragged(each.values, bounds_of(each.lengths)) for each in lists))


@given(
    st.lists(TILES.map(_in_order) | ANYWHERE.map(_anywhere), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3 * RUN_TILES)), max_size=40),
)
def test_offsets_come_back(levels: list[SimpleNamespace], wanted: list[tuple[int, int]]) -> None:
    wanted = [(level % len(levels), tile) for level, tile in wanted]
    level, tile = np.array(wanted, np.int64).reshape(-1, 2).T
    offsets, counts = _bytes_of(levels).locate(level, tile)
    for (number, at), offset, count in zip(wanted, offsets.tolist(), counts.tolist(), strict=True):
        known = levels[number]
        if at >= known.tile_offsets.size:
            assert (offset, count) == (-1, 0)
        elif known.tile_byte_counts[at] == 0:
            assert (offset, count) == (0, 0)
        else:
            assert (offset, count) == (known.tile_offsets[at], known.tile_byte_counts[at])


def test_a_tile_that_the_index_does_not_know_is_no_sparse_tile() -> None:
    unknown = TileBytes(Ragged.of([[-1, 5]], np.int64), Ragged.of([[100]], np.int64), Ragged.of([[0]], np.int64))
    offsets, _ = unknown.locate(np.array([0, 0, 0]), np.array([0, 1, 2]))
    assert offsets.tolist() == [-1, 100, -1]
