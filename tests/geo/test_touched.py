"""Tiles and windows that areas touch, held against Shapely in whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.geo.touched import place, tiles_of_window, tiles_touched, windows_touched

TILE, SHAPE = (4, 5), (18, 23)
WHOLE = (0, 0, *SHAPE)


def boxes_of(tiles):
    return [
        shapely.box(col * 5, row * 4, min(col * 5 + 5, SHAPE[1]), min(row * 4 + 4, SHAPE[0]))
        for row, col in tiles.tolist()
    ]


corners = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 18)), min_size=3, max_size=7, unique=True)


@given(corners)
def test_an_area_touches_the_tiles_with_which_it_shares_an_area(points):
    geometry = shapely.MultiPoint(points).convex_hull
    found = {tuple(tile) for tile in tiles_touched(geometry, WHOLE, TILE, SHAPE).tolist()}
    every = tiles_of_window(WHOLE, TILE)
    assert len(every) == 25
    for tile, box in zip(every.tolist(), boxes_of(every), strict=True):
        if geometry.area:
            assert (tuple(tile) in found) == (geometry.intersection(box).area > 0)
        else:
            assert (tuple(tile) in found) == geometry.intersects(box)


@given(col=st.integers(0, 22), row=st.integers(0, 17), noise=st.floats(-9e-7, 9e-7))
def test_rounding_decides_nothing_at_the_edges_of_pixels(col, row, noise):
    exact = windows_touched([(col, row, col + 1, row + 1)], SHAPE)
    assert exact.tolist() == [[row, col, row + 1, col + 1]]
    noisy = [(col + noise, row + noise, col + 1 - noise, row + 1 - noise)]
    assert windows_touched(noisy, SHAPE).tolist() == exact.tolist()
    tiles = tiles_touched(shapely.box(*noisy[0]), WHOLE, TILE, SHAPE)
    assert tiles.tolist() == [[row // 4, col // 5]]


def test_points_and_lines_touch_what_they_meet():
    assert len(tiles_touched(shapely.Point(5, 4), WHOLE, TILE, SHAPE)) == 4
    assert tiles_touched(shapely.LineString([(5, 1), (5, 3)]), WHOLE, TILE, SHAPE).tolist() == [[0, 0], [0, 1]]


def test_windows_beside_a_raster_are_empty():
    beside = [(-3, 0, 0, 4), (23, 0, 24, 4), (0, -2, 3, 0), (0, 18, 3, 19), (np.nan,) * 4]
    assert (windows_touched(beside, SHAPE) == 0).all()


@pytest.mark.parametrize(("x_off", "x_size"), [(0.0, 1.0), (-180.0, 1.0), (360.0, -1.0)])
def test_geometries_are_placed_in_rasters_however_they_count_longitudes(x_off, x_size):
    west = shapely.box(-80, 10, -70, 20)
    numbers, geometries, windows = place(
        np.array([None, west, shapely.box(0, 95, 1, 96)]),
        "EPSG:4326",
        (x_size, 0.0, x_off, 0.0, -1.0, 90.0),
        (180, 360),
    )
    assert numbers.tolist() == [1]
    row_off, col_off, row_end, col_end = windows[0].tolist()
    assert (row_off, row_end) == (70, 80)
    xs = sorted((x_off + x_size * col_off, x_off + x_size * col_end))
    assert [(x + 180) % 360 - 180 for x in xs] == [-80, -70]
    assert geometries[0].bounds == (col_off, row_off, col_end, row_end)
