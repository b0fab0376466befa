"""Tiles and windows that areas touch, held against Shapely in whole numbers."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.geo.touched import ProjectedGeometries, tiles_of_window, tiles_touched, windows_touched

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
    given = ProjectedGeometries(np.array([None, west, shapely.box(0, 95, 1, 96)]), "EPSG:4326")
    numbers, geometries, windows = given.place("EPSG:4326", (x_size, 0.0, x_off, 0.0, -1.0, 90.0), (180, 360))
    assert numbers.tolist() == [1]
    row_off, col_off, row_end, col_end = windows[0].tolist()
    assert (row_off, row_end) == (70, 80)
    xs = sorted((x_off + x_size * col_off, x_off + x_size * col_end))
    assert [(x + 180) % 360 - 180 for x in xs] == [-80, -70]
    assert geometries[0].bounds == (col_off, row_off, col_end, row_end)


@pytest.mark.parametrize("crs", ["EPSG:32643", "EPSG:32701", "EPSG:3857", "EPSG:3035", "EPSG:3413"])
@pytest.mark.parametrize(
    ("area", "crs_of_area"),
    [
        (shapely.box(-180, -90, 180, 90), "OGC:CRS84"),
        (shapely.box(-180, 10, 180, 90), "OGC:CRS84"),
        (shapely.box(-20037508, -20037508, 20037508, 20037508), "EPSG:3857"),
    ],
)
def test_what_a_projection_cannot_express_is_cut_to_each_raster(area, crs_of_area, crs):
    x, y = {"EPSG:32643": (800000, 1400000), "EPSG:32701": (200000, 9000000), "EPSG:3035": (4e6, 3e6)}.get(
        crs, (0, 3e6)
    )
    transform = (10.0, 0.0, float(x), 0.0, -10.0, float(y))
    numbers, geometries, windows = ProjectedGeometries(np.array([area]), crs_of_area).place(crs, transform, SHAPE)
    is_south_of_area = crs == "EPSG:32701" and area.bounds[1] == 10
    if is_south_of_area:
        assert not len(numbers)
        return
    assert windows.tolist() == [[0, 0, *SHAPE]]
    assert len(tiles_touched(geometries[0], windows[0], TILE, SHAPE)) == 25
    assert geometries[0].covers(shapely.box(0, 0, SHAPE[1], SHAPE[0]))


def test_an_edge_of_a_wide_area_lies_where_pyproj_has_it():
    transform, shape = (100.0, 0.0, 400_000.0, 0.0, -100.0, 5_600_000.0), (1000, 1000)
    area = shapely.box(-120, 50, 100, 80)
    _, (geometry,), _ = ProjectedGeometries(np.array([area]), "OGC:CRS84").place("EPSG:32643", transform, shape)
    lon = np.linspace(74, 75.5, 300)
    x, y = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:32643", always_xy=True).transform(lon, np.full(300, 50.0))
    pixels = shapely.points((x - transform[2]) / 100, (y - transform[5]) / -100)
    inside = (shapely.get_x(pixels) > 0) & (shapely.get_x(pixels) < 1000)
    assert inside.sum() > 100
    assert shapely.distance(geometry.boundary, pixels[inside]).max() < 0.01
