"""How files are cut into shards."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.plan.shards import cut_balanced, cut_files

weights = st.lists(st.integers(0, 10_000), max_size=60)
counts = st.integers(1, 80)


@given(weights, counts)
def test_runs_hold_every_element_once_in_order_and_none_is_empty(values, count):
    bounds = cut_balanced(np.array(values, np.int64), count)
    assert bounds[0] == 0
    assert bounds[-1] == len(values)
    assert all(first < end for first, end in itertools.pairwise(bounds))
    assert len(bounds) - 1 == min(count, len(values))


@given(weights.filter(len), counts)
def test_a_run_exceeds_its_share_of_what_is_left_by_less_than_one_element(values, count):
    bounds = cut_balanced(np.array(values, np.int64), count)
    runs = len(bounds) - 1
    for number, (first, end) in enumerate(itertools.pairwise(bounds)):
        share = sum(values[first:]) / (runs - number)
        assert end == first + 1 or sum(values[first:end]) - share < max(values[first:end])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3)), max_size=30), counts)
def test_files_that_share_a_key_stay_together_and_each_is_in_one_shard(keys, count):
    pieces = cut_files(keys, np.ones(len(keys), np.int64), count)
    assert sorted(np.concatenate(pieces).tolist() if pieces else []) == list(range(len(keys)))
    shard_of = {file: number for number, piece in enumerate(pieces) for file in piece.tolist()}
    owner: dict[object, int] = {}
    for file, each in enumerate(keys):
        for key in each:
            assert owner.setdefault(key, shard_of[file]) == shard_of[file]
    assert all((np.diff(piece) > 0).all() for piece in pieces)
    firsts = [int(piece[0]) for piece in pieces]
    assert firsts == sorted(firsts)
