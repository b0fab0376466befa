"""Numbers of pixels: one for each pixel, whichever window of a grid it is looked at in."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.geo.axis import Axis

#: Steps of common grids, in metres and degrees.
STEPS = (10.0, -10.0, 30.0, 0.6, -463.3127165279165, 0.0001, -1 / 3600, 1 / 12)


@given(
    step=st.sampled_from(STEPS),
    first=st.integers(-(10**6), 10**6),
    phase=st.sampled_from([0.0, 0.5, 0.3, 0.25, -0.25, 1 / 3]),
    offset=st.integers(0, 10_000),
)
def test_windows_of_a_grid_number_its_pixels_alike(step: float, first: int, phase: float, offset: int) -> None:
    start = step * (first + phase)
    whole, window = Axis.of(start, step), Axis.of(start + step * offset, step)
    assert (window.first - whole.first, window.phase) == (offset, whole.phase)
    assert whole.window(start + step * offset) == window
    assert whole.phase == pytest.approx(phase, abs=1e-8)
    pixels = np.arange(5) + 0.5
    np.testing.assert_array_equal(window.coordinates(pixels), whole.coordinates(pixels + offset))
    for other in (37.0, -20.0):
        there = window.positions_in(1234.5, other, pixels), whole.positions_in(1234.5, other, pixels + offset)
        np.testing.assert_array_equal(*there)


@given(step=st.sampled_from(STEPS), first=st.integers(-(10**6), 10**6), source=st.sampled_from([10.0, -10.0, 0.00025]))
def test_positions_are_those_of_exact_arithmetic(step: float, first: int, source: float) -> None:
    axis = Axis(first, 0.25, step)
    start = step * first
    exact = [
        (Fraction(step) * (first + Fraction(0.25) + pixel) - Fraction(start)) / Fraction(source) for pixel in range(3)
    ]
    found = axis.positions_in(start, source, np.arange(3.0))
    np.testing.assert_allclose(found, [float(position) for position in exact], rtol=1e-14)
