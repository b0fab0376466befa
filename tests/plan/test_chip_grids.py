"""Windows of one size on a grid: they tile it, and an area finds those that it touches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.chips import ChipGrid

SIDES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def _all(grid: ChipGrid, shape: tuple[int, int]) -> np.ndarray:
    down, across = grid.counts(shape)
    rows, cols = np.divmod(np.arange(down * across), max(across, 1))
    return grid.windows(shape, rows, cols)


@given(SIDES, SIDES)
def test_windows_side_by_side_tile_the_grid_exactly(shape: tuple[int, int], size: tuple[int, int]) -> None:
    covered = np.zeros(shape, int)
    for row_off, col_off, row_end, col_end in _all(ChipGrid(size, size, "keep"), shape).tolist():
        assert row_off < row_end <= shape[0]
        assert col_off < col_end <= shape[1]
        covered[row_off:row_end, col_off:col_end] += 1
    assert (covered == 1).all()


@given(SIDES, SIDES, SIDES)
def test_windows_are_those_that_a_loop_over_offsets_finds(
    shape: tuple[int, int], size: tuple[int, int], stride: tuple[int, int]
) -> None:
    whole = [
        [row, col, row + size[0], col + size[1]]
        for row in range(0, shape[0] - size[0] + 1, stride[0])
        for col in range(0, shape[1] - size[1] + 1, stride[1])
    ]
    assert _all(ChipGrid(size, stride), shape).tolist() == whole
    kept = _all(ChipGrid(size, stride, "keep"), shape).tolist()
    assert [each for each in kept if (each[2] - each[0], each[3] - each[1]) == size] == whole
    covered = np.zeros(shape, bool)
    for row_off, col_off, row_end, col_end in kept:
        covered[row_off:row_end, col_off:col_end] = True
    starts = [np.array([position % stride[axis] < size[axis] for position in range(shape[axis])]) for axis in (0, 1)]
    # Nothing between two windows is missing, up to the edge of the image; gaps are those of the stride.
    assert (covered == np.outer(*starts)).all()


@given(SIDES, SIDES, SIDES, st.tuples(*[st.integers(0, 39)] * 4), st.sampled_from(["drop", "keep"]))
def test_an_area_finds_the_windows_that_share_a_pixel_with_it(
    shape: tuple[int, int], size: tuple[int, int], stride: tuple[int, int], part: tuple[int, ...], edges: str
) -> None:
    top, bottom = sorted(side % shape[0] for side in part[:2])
    left, right = sorted(side % shape[1] for side in part[2:])
    grid = ChipGrid(size, stride, edges)
    rows, cols = grid.ranges(shape, (top, left, bottom + 1, right + 1))
    found = [(row * stride[0], col * stride[1]) for row in rows for col in cols]
    assert found == [
        (row_off, col_off)
        for row_off, col_off, row_end, col_end in _all(grid, shape).tolist()
        if row_off <= bottom and row_end > top and col_off <= right and col_end > left
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, None, "drop"), "size: got"),
        ((256, 0, "drop"), "stride: got"),
        (("256", None, "drop"), "size: got"),
        (((1, 2, 3), None, "drop"), "size: got"),
        ((10**30, None, "drop"), "size: got"),
        ((256, None, "pad"), "edges: got"),
    ],
)
def test_wrong_windows_are_refused(arguments: tuple[object, object, str], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ChipGrid.of(*arguments)
