"""How a plan is cut into shards."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_sql.plan.requests import MAX_REQUEST_BYTES, plan_requests
from rasteret_sql.plan.shards import cut_balanced, cut_plan, fetched_bytes, groups_of
from rasteret_sql.plan.tile_plan import MaskKind
from tests.support.plans import File, plan_of_rows

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


@given(weights.filter(len), counts, st.data())
def test_a_run_begins_with_a_better_element_only_near_its_share(values, count, data):
    is_better = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    plain, moved = (cut_balanced(np.array(values, np.int64), count, given) for given in (None, is_better))
    assert len(plain) == len(moved)
    ends = np.concatenate([[0], np.cumsum(values)])
    for number, (first, end) in enumerate(itertools.pairwise(moved[:-1])):
        share = (ends[-1] - ends[first]) / (len(moved) - 1 - number)
        is_nearest = abs(ends[end] - ends[first] - share) <= max(values[first : end + 1])
        assert (
            is_nearest or end == first + 1 or (is_better[end] and abs(ends[end] - ends[first] - share) <= 0.05 * share)
        )


MEGABYTE = 1 << 20
#: File, number of the range in it, its size, and a mask tile: a range of the same kind.
ROWS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 60),
        st.integers(0, MEGABYTE),
        st.none() | st.integers(61, 90),
    ),
    min_size=1,
    max_size=80,
)
KEYS = st.lists(st.sampled_from("abc"), min_size=5, max_size=5)


FILES = [File(name) for name in "vwxyz"]


def _mask(number):
    return (MaskKind.NONE, []) if number is None else (MaskKind.MASK, [(0, 0, number * MEGABYTE, MEGABYTE)])


def _plan(rows):
    """Make a plan of rows in the order of a read."""
    ordered = sorted({(file, number): (size, mask) for file, number, size, mask in rows}.items())
    return plan_of_rows(
        FILES,
        [(file, number, 0, number * MEGABYTE, size, *_mask(mask)) for (file, number), (size, mask) in ordered],
    )


@settings(max_examples=40)
@given(ROWS, KEYS, counts)
def test_rows_are_in_one_shard_each_and_no_range_in_two(rows, keys, count):
    plan = _plan(rows)
    pieces = cut_plan(plan, [(key,) for key in keys], count)
    assert sorted(np.concatenate(pieces).tolist()) == list(range(len(plan)))
    assert all(len(piece) and (np.diff(piece) > 0).all() for piece in pieces)
    assert sum(fetched_bytes(plan.take(piece)) for piece in pieces) == fetched_bytes(plan)
    assert [piece.tolist() for piece in cut_plan(plan, [(key,) for key in keys], count)] == [
        piece.tolist() for piece in pieces
    ]


@settings(max_examples=40)
@given(ROWS, KEYS, counts)
def test_files_that_share_a_key_stay_together_while_they_are_small(rows, keys, count):
    plan = _plan(rows)
    key_of_row = np.array(keys)[plan.asset_no]
    pieces = cut_plan(plan, [(key,) for key in keys], count)
    firsts = []
    for key in dict.fromkeys(keys):
        if not (key_of_row == key).any():
            continue
        mine = [number for number, piece in enumerate(pieces) if (key_of_row[piece] == key).any()]
        firsts.append(mine[0])
        assert mine == list(range(mine[0], mine[-1] + 1))
        if fetched_bytes(plan.take(np.flatnonzero(key_of_row == key))) <= MAX_REQUEST_BYTES:
            assert len(mine) == 1
    assert firsts == sorted(firsts)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.integers(0, MEGABYTE), st.none()), min_size=1), counts
)
def test_a_cut_costs_at_most_one_request(rows, count):
    plan = _plan(rows)
    pieces = cut_plan(plan, [(number,) for number in range(5)], count)
    one = plan_requests(plan, pixels=True, mask=True)
    cut = [plan_requests(plan.take(piece), pixels=True, mask=True) for piece in pieces]
    parts = sum(len({int(file) for file in plan.asset_no[piece]}) for piece in pieces)
    assert sum(map(len, cut)) <= len(one) + parts - len(set(plan.asset_no.tolist()))


def test_rows_with_one_number_stay_together_and_files_are_cut_from_top_to_bottom():
    rows = [(0, row, col, (row * 4 + col) * MEGABYTE, MEGABYTE, *_mask(None)) for row in range(10) for col in range(4)]
    plan = plan_of_rows(FILES[:1], rows)
    # Windows of two rows of tiles each.
    window = plan.tile_row.astype(np.int64) // 2
    pieces = cut_plan(plan, [("v",)], 5, lambda: (window, np.arange(len(plan))))
    assert [sorted(set(window[piece].tolist())) for piece in pieces] == [[0], [1], [2], [3], [4]]
    whole = cut_plan(plan, [("v",)], 5, lambda: (np.zeros(len(plan), np.int64), np.arange(len(plan))))
    assert [len(piece) for piece in whole] == [40]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3)), max_size=30))
def test_what_shares_a_key_is_one_group(keys):
    groups = groups_of(keys).tolist()
    owner: dict[object, int] = {}
    for group, each in zip(groups, keys, strict=True):
        for key in each:
            assert owner.setdefault(key, group) == group
    assert list(dict.fromkeys(groups)) == list(range(len(set(groups))))
