"""Places of one grid's pixels in another: PROJ is the oracle, the stated error the bound."""

from __future__ import annotations

import math
import threading
import tracemalloc
from functools import lru_cache

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.geo.pixelmap import PixelMap
from rasteret_sql.geo.pixelsize import pixel_size_in, resolution_in
from rasteret_sql.geo.resampling import WIDENED_FROM

RADIUS = 6371007.181
SINUSOIDAL = pyproj.CRS(f"+proj=sinu +lon_0=0 +R={RADIUS} +units=m").to_wkt()
LONLAT = "EPSG:4326"
#: Source, target, and an area (west, south, east, north) that both are made for.
PAIRS = {
    "UTM to lon/lat": (LONLAT, "EPSG:32643", (72, -60, 78, 70)),
    "lon/lat to UTM": ("EPSG:32643", LONLAT, (72, -60, 78, 70)),
    "UTM to its neighbour": ("EPSG:32643", "EPSG:32644", (76, 0, 80, 80)),
    "UTM south to north": ("EPSG:32736", "EPSG:32636", (30, -5, 36, 5)),
    "web Mercator to UTM": ("EPSG:32633", "EPSG:3857", (12, 30, 18, 80)),
    "UTM to web Mercator": ("EPSG:3857", "EPSG:32633", (12, 30, 18, 80)),
    "polar stereographic to lon/lat": (LONLAT, "EPSG:3413", (-170, 60, 170, 89)),
    "UTM to polar stereographic": ("EPSG:3413", "EPSG:32622", (-54, 60, -48, 83)),
    "Albers to UTM": ("EPSG:32615", "EPSG:5070", (-96, 25, -90, 49)),
    "UTM to Albers": ("EPSG:5070", "EPSG:32615", (-96, 25, -90, 49)),
    "LAEA to lon/lat": (LONLAT, "EPSG:3035", (-10, 35, 30, 70)),
    "lon/lat to LAEA": ("EPSG:3035", LONLAT, (-10, 35, 30, 70)),
    "sinusoidal to UTM": ("EPSG:32643", SINUSOIDAL, (72, -60, 78, 70)),
    "UTM to sinusoidal": (SINUSOIDAL, "EPSG:32643", (72, -60, 78, 70)),
    "northing first to UTM": ("EPSG:32760", "EPSG:2193", (174, -46, 179, -35)),
    "northing first to lon/lat, another datum": (LONLAT, "EPSG:31467", (7.5, 47.5, 10.5, 54)),
    "lon/lat to northing first, another datum": ("EPSG:31467", LONLAT, (7.5, 47.5, 10.5, 54)),
    "grads to lon/lat": (LONLAT, "EPSG:4807", (-4, 43, 7, 50)),
}


@lru_cache
def transformer(from_crs: str, to_crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(from_crs, to_crs, always_xy=True)


def exact(source_crs, source_transform, target: GeoBox, offset: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Places as PROJ gives them, point by point, not turned around the Earth; NaN where there is no Earth."""
    a, _, c, _, e, f = target.transform
    more = 1 if offset == 0.0 else 0
    rows, cols = np.mgrid[: target.height + more, : target.width + more] + offset
    target_x, target_y = c + a * cols, f + e * rows
    x, y = transformer(target.crs, source_crs).transform(target_x, target_y, errcheck=False)
    is_outside = ~(np.isfinite(x) & np.isfinite(y))
    if target.crs == SINUSOIDAL:
        # PROJ gives places there, too, of what is on the other side.
        is_outside |= np.abs(target_x) > math.pi * RADIUS * np.cos(target_y / RADIUS)
    x[is_outside] = y[is_outside] = np.nan
    a, _, c, _, e, f = source_transform
    return (y - f) / e, (x - c) / a


def assert_within(places, expected, error: float, period: float | None = None) -> None:
    """Compare places, and columns but for turns of `period`."""
    for found, right in zip(places, expected, strict=True):
        assert found.dtype == np.float64
        assert found.shape == right.shape
        np.testing.assert_array_equal(np.isnan(found), np.isnan(right))
        difference = (found - right)[~np.isnan(right)]
        if period is not None and right is expected[1]:
            difference -= period * np.round(difference / period)
        # What is left are digits, of places up to some millions.
        assert np.abs(difference).max(initial=0.0) <= error + 1e-7


def unit(crs: str) -> float:
    """Metres in a unit of a CRS, more or less."""
    axis = pyproj.CRS(crs).axis_info[0]
    return axis.unit_conversion_factor * (6371000.0 if pyproj.CRS(crs).is_geographic else 1.0)


METRES = st.floats(1, 3000)
SIDES = st.integers(1, 200)


@st.composite
def maps(draw, sizes=METRES, side=SIDES):
    """A source 200 pixels wide and a target around one place, of like resolution."""
    source_crs, target_crs, (west, south, east, north) = PAIRS[draw(st.sampled_from(sorted(PAIRS)))]
    lon, lat = draw(st.floats(west, east)), draw(st.floats(south, north))
    size, ratio = draw(sizes), draw(st.floats(0.3, 4))
    height, width = draw(side), draw(side)
    flips = draw(st.sampled_from([(1, -1), (1, 1), (-1, -1)]))
    x, y = transformer(LONLAT, target_crs).transform(lon, lat)
    target_size = size / unit(target_crs)
    target = GeoBox(
        target_crs,
        (
            target_size,
            0.0,
            x - target_size * draw(st.floats(0, 1)) * width,
            0.0,
            -target_size,
            y + target_size * draw(st.floats(0, 1)) * height,
        ),
        height,
        width,
    )
    x, y = transformer(LONLAT, source_crs).transform(lon, lat)
    source_size = size / ratio / unit(source_crs)
    a, e = flips[0] * source_size, flips[1] * source_size
    return source_crs, (a, 0.0, x - 100 * a, 0.0, e, y - 100 * e), target


@settings(max_examples=100, deadline=None)
@given(case=maps(), max_error=st.sampled_from([0.0, 0.001, 0.01, 0.125]))
def test_places_are_those_of_proj_to_within_the_stated_error(case, max_error: float) -> None:
    source_crs, source_transform, target = case
    places = PixelMap(source_crs, source_transform, target, max_error, source_width=200)
    assert not places.is_separable
    assert places.error <= max_error
    assert_within(places.centres(), exact(source_crs, source_transform, target), places.error, places.period)
    assert_within(places.corners(), exact(source_crs, source_transform, target, 0.0), places.error, places.period)


@settings(max_examples=40, deadline=None)
@given(case=maps(sizes=st.floats(3000, 100_000), side=st.integers(20, 150)))
def test_the_error_is_kept_where_grids_bend_much(case) -> None:
    source_crs, source_transform, target = case
    places = PixelMap(source_crs, source_transform, target, source_width=200)
    assert_within(places.centres(), exact(source_crs, source_transform, target), places.error, places.period)


@settings(max_examples=60, deadline=None)
@given(case=maps(sizes=st.floats(1, 20_000)))
def test_an_extent_holds_every_pixel_and_little_more(case) -> None:
    source_crs, source_transform, target = case
    places = PixelMap(source_crs, source_transform, target, source_width=200)
    found = places.extent()
    corners = places.corners()
    if found is None:
        assert np.isnan(corners[0]).all()
        return
    row_min, col_min, row_max, col_max = found
    exact_rows, exact_cols = exact(source_crs, source_transform, target, 0.0)
    if places.period is not None:
        exact_cols -= places.period * np.round((exact_cols - 100) / places.period)
    for rows, cols in (corners, places.centres(), (exact_rows, exact_cols)):
        assert row_min <= np.nanmin(rows)
        assert np.nanmax(rows) <= row_max
        assert col_min <= np.nanmin(cols)
        assert np.nanmax(cols) <= col_max
    if places.period is not None and col_max - col_min > places.period / 4:
        return  # Corners do not reach a pole that lies inside a pixel.
    assert row_min >= np.nanmin(corners[0]) - 1.1
    assert row_max <= np.nanmax(corners[0]) + 1.1
    assert col_min >= np.nanmin(corners[1]) - 1.1
    assert col_max <= np.nanmax(corners[1]) + 1.1


def test_an_extent_holds_the_bulge_of_a_straight_edge() -> None:
    # The northern edge of a lon/lat box over a cone: its middle lies south of both corners.
    target = GeoBox.from_shape((-120, 30, -72, 48), LONLAT, (180, 480))
    source = (1000.0, 0.0, -3e6, 0.0, -1000.0, 4e6)
    found = PixelMap("EPSG:5070", source, target).extent()
    assert found is not None
    rows, _ = exact("EPSG:5070", source, target, 0.0)
    assert rows[-1].max() > rows[-1, [0, -1]].max() + 100
    assert found[2] == pytest.approx(rows.max(), abs=1.1)
    assert found[2] >= rows.max()


@settings(max_examples=40, deadline=None)
@given(case=maps(sizes=st.floats(1, 20_000)), data=st.data())
def test_places_of_some_rows_are_those_rows_of_all_places(case, data) -> None:
    places = PixelMap(*case)
    height = case[2].height
    start = data.draw(st.integers(0, height - 1))
    end = data.draw(st.integers(start + 1, height))
    for part, whole in zip(places.centres(start, end), places.centres(), strict=True):
        np.testing.assert_array_equal(part, whole[start:end])
    for part, whole in zip(places.corners(start, end), places.corners(), strict=True):
        np.testing.assert_array_equal(part, whole[start : end + 1])


@settings(max_examples=60, deadline=None)
@given(case=maps(sizes=st.floats(10, 1000), side=st.integers(2, 300)), data=st.data())
def test_a_pixel_has_the_same_place_in_every_window_of_a_grid(case, data) -> None:
    # So that an array read in chunks is the one read at once, to the last bit.
    source_crs, source_transform, target = case
    a, _, c, _, e, f = target.transform
    c, f = a * round(c / a), e * round(f / e)
    target = GeoBox(target.crs, (a, 0.0, c, 0.0, e, f), target.height, target.width)
    row_off = data.draw(st.integers(0, target.height - 1))
    col_off = data.draw(st.integers(0, target.width - 1))
    height = data.draw(st.integers(1, target.height - row_off))
    width = data.draw(st.integers(1, target.width - col_off))
    window = target.window(row_off, col_off, height, width)
    whole, part = PixelMap(source_crs, source_transform, target), PixelMap(source_crs, source_transform, window)
    cols = slice(col_off, col_off + width)
    for one, other in zip(part.centres(), whole.centres(row_off, row_off + height), strict=True):
        np.testing.assert_array_equal(one, other[:, cols])
    for one, other in zip(part.kernel_scale(0, height), whole.kernel_scale(row_off, row_off + height), strict=True):
        expected = np.broadcast_to(other, (height, target.width))[:, cols]
        if np.ndim(one):
            np.testing.assert_array_equal(one, expected)
        else:
            # One number for all: no kernel widens in this part of the grid.
            assert one == 1.0
            assert expected.max() <= WIDENED_FROM


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("EPSG:32643", "EPSG:32643"),
        ("EPSG:32643", pyproj.CRS(32643).to_wkt()),
        ("EPSG:4326", "OGC:CRS84"),
        ("EPSG:2193", pyproj.CRS(2193).to_wkt("WKT1_GDAL")),
        (None, None),
    ],
)
def test_grids_of_one_crs_are_separable_and_exact(one: str | None, other: str | None) -> None:
    target = GeoBox(other, (0.5, 0.0, 100.0, 0.0, -0.25, 40.0), 7, 5)
    places = PixelMap(one, (0.25, 0.0, 99.0, 0.0, 0.25, 30.0), target)
    assert places.is_separable
    assert places.error == 0
    assert places.scale == (1.0, 2.0)
    rows, cols = places.centres()
    assert rows.tolist() == [39.5, 38.5, 37.5, 36.5, 35.5, 34.5, 33.5]
    assert cols.tolist() == [5.0, 7.0, 9.0, 11.0, 13.0]
    rows, cols = places.corners(2, 4)
    assert rows.tolist() == [38.0, 37.0, 36.0]
    assert cols.tolist() == [4.0, 6.0, 8.0, 10.0, 12.0, 14.0]
    assert places.extent() == (33.0, 4.0, 40.0, 14.0)


def test_proj_is_asked_for_less_than_one_pixel_in_two_hundred(monkeypatch) -> None:
    asked = 0
    original = PixelMap._exact

    def counted(self, rows, cols):
        nonlocal asked
        asked += np.broadcast(rows, cols).size
        return original(self, rows, cols)

    monkeypatch.setattr(PixelMap, "_exact", counted)
    target = GeoBox("EPSG:32644", (10.0, 0.0, 199980.0, 0.0, -10.0, 2100000.0), 2048, 2048)
    places = PixelMap("EPSG:32643", (10.0, 0.0, 8e5, 0.0, -10.0, 2.1e6), target)
    places.centres()
    assert asked < 2048 * 2048 / 200
    assert places.error < 1e-4


def test_some_rows_take_memory_for_some_rows() -> None:
    target = GeoBox("EPSG:32644", (10.0, 0.0, 200000.0, 0.0, -10.0, 2100000.0), 8192, 4096)
    places = PixelMap("EPSG:32643", (10.0, 0.0, 8e5, 0.0, -10.0, 2.1e6), target)
    tracemalloc.start()
    try:
        places.centres(1000, 1064)
        assert tracemalloc.get_traced_memory()[1] < 6 * 2 * 64 * 4096 * 8
    finally:
        tracemalloc.stop()


# Around the Earth


@pytest.mark.parametrize(("crs", "first_col"), [("EPSG:32601", 3e5), ("EPSG:32660", 6e5)])
@pytest.mark.parametrize("west", [179.0, -181.0])
def test_a_lonlat_target_over_the_antimeridian_is_continuous_in_a_utm_source(crs: str, first_col: float, west) -> None:
    target = GeoBox.from_bounds((west, 60.0, west + 2.0, 60.5), LONLAT, 0.01)
    source = (100.0, 0.0, first_col, 0.0, -100.0, 6.8e6)
    rows, cols = PixelMap(crs, source, target).centres()
    assert np.isfinite(rows).all()
    assert (np.abs(np.diff(cols, axis=1) - 5.55) < 0.3).all()
    assert_within((rows, cols), exact(crs, source, target), 0.01)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("west", [170.0, -190.0])
def test_places_are_continuous_around_a_lonlat_source_over_the_antimeridian(west: float, separable: bool) -> None:
    # 170 to 190 in one, -190 to -170 in the other; the target reaches beyond both its edges.
    source = (0.01, 0.0, west, 0.0, -0.01, 70.0)
    if separable:
        target = GeoBox.from_bounds((165.0, 60.0, 195.0, 61.0), LONLAT, 0.02)
    else:
        target = GeoBox("EPSG:3832", (2000.0, 0.0, 1.6e6, 0.0, -2000.0, 8.4e6), 30, 1700)  # Mercator around 150 E
    places = PixelMap(LONLAT, source, target, source_width=2000)
    _, cols = places.centres()
    steps = np.diff(cols)
    assert places.is_separable is separable
    np.testing.assert_allclose(steps, np.median(steps), atol=0.02)
    assert cols.min() < 0
    assert cols.max() > 2000
    assert places.period == pytest.approx(36000)


def test_a_utm_target_over_the_antimeridian_falls_on_both_edges_of_a_global_source() -> None:
    target = GeoBox("EPSG:32660", (1000.0, 0.0, 4e5, 0.0, -1000.0, 5e6), 300, 600)
    for left, middle in ((-180.0, 0.0), (0.0, 180.0)):
        source = (0.01, 0.0, left, 0.0, -0.01, 90.0)
        for width in (36000, None):
            places = PixelMap(LONLAT, source, target, source_width=width)
            rows, cols = places.centres()
            expected_rows, expected_cols = exact(LONLAT, source, target)
            lon = expected_cols * 0.01 + left
            expected_cols = ((lon - middle + 180) % 360 + middle - 180 - left) / 0.01
            assert_within((rows, cols), (expected_rows, expected_cols), places.error)
            assert cols.min() >= 0
            assert cols.max() <= 36000
            extent = places.extent()
            assert extent is not None
            is_cut = left == -180
            assert ((cols[:, 0] > 30000) & (cols[:, -1] < 6000)).all() == is_cut
            assert (extent[3] - extent[1] > 35000) == is_cut


def test_the_edges_of_a_grid_around_the_earth_are_the_edges_of_a_source_around_the_earth() -> None:
    target = GeoBox.from_bounds((-180, -90, 180, 90), LONLAT, 0.1)
    places = PixelMap(LONLAT, (0.1, 0.0, -180.0, 0.0, -0.1, 90.0), target, source_width=3600)
    rows, cols = places.corners()
    np.testing.assert_allclose(rows, np.arange(1801), atol=1e-9)
    np.testing.assert_allclose(cols, np.arange(3601), atol=1e-9)


def test_longitudes_from_0_to_360_fall_into_a_source_from_180_west() -> None:
    target = GeoBox.from_bounds((0, -90, 360, 90), LONLAT, 1.0)
    _, cols = PixelMap(LONLAT, (1.0, 0.0, -180.0, 0.0, -1.0, 90.0), target, source_width=360).centres()
    np.testing.assert_allclose(cols, [*np.arange(180.5, 360), *np.arange(0.5, 180)], atol=1e-9)


def test_a_turn_is_400_in_grads() -> None:
    target = GeoBox.from_bounds((1, 45, 2, 46), LONLAT, 0.1)
    assert PixelMap("EPSG:4807", (0.1, 0.0, 0.0, 0.0, -0.1, 50.0), target).period == pytest.approx(4000)


# Poles, and the edges of projections


@pytest.mark.parametrize("shift", [0.0, 0.5, 13.3])
def test_a_target_over_the_pole_has_the_places_of_proj(shift: float) -> None:
    target = GeoBox("EPSG:3413", (25000.0, 0.0, 25000.0 * (shift - 80), 0.0, -25000.0, 25000.0 * 70), 150, 160)
    source = (0.25, 0.0, -180.0, 0.0, -0.25, 90.0)
    places = PixelMap(LONLAT, source, target, source_width=1440)
    expected = exact(LONLAT, source, target)
    assert_within(places.centres(), expected, places.error)
    extent = places.extent()
    assert extent is not None
    assert extent[0] <= expected[0].min() <= 1
    assert extent[1] <= 1
    assert extent[3] >= 1439
    # At the pole a pixel spans every longitude; that is no reason to read a coarse overview.
    assert 0.5 < places.scale[0] < 1.2
    assert places.scale[1] < 5


def test_points_beyond_the_edge_of_a_projection_are_nan_and_the_others_are_those_of_proj() -> None:
    disk = pyproj.CRS("+proj=ortho +lat_0=40 +lon_0=10 +datum=WGS84").to_wkt()
    target = GeoBox(disk, (60000.0, 0.0, -60000.0 * 120, 0.0, -60000.0, 60000.0 * 120), 240, 240)
    source = (0.5, 0.0, -180.0, 0.0, -0.5, 90.0)
    places = PixelMap(LONLAT, source, target, source_width=720)
    rows, _ = places.centres()
    assert 0.1 < np.isnan(rows).mean() < 0.4
    assert_within(places.centres(), exact(LONLAT, source, target), places.error)
    assert all(map(math.isfinite, (*places.extent(), *places.scale)))


def test_latitudes_beyond_the_pole_are_nan() -> None:
    target = GeoBox(LONLAT, (0.5, 0.0, 70.0, 0.0, -0.5, 95.0), 40, 20)
    places = PixelMap("EPSG:3413", (1000.0, 0.0, 0.0, 0.0, -1000.0, 0.0), target)
    rows, _ = places.centres()
    assert np.isnan(rows[:10]).all()
    assert np.isfinite(rows[10:]).all()


def test_copies_of_the_earth_beyond_the_outline_of_a_sinusoidal_grid_are_nan() -> None:
    # A tile of MODIS in the north east: half of it is beyond 180 degrees.
    size = 1111950.5197 / 120
    target = GeoBox(SINUSOIDAL, (size, 0.0, size * 1440, 0.0, -size, size * 600), 120, 120)
    places = PixelMap(LONLAT, (0.1, 0.0, -180.0, 0.0, -0.1, 90.0), target, source_width=3600)
    rows, cols = places.centres()
    is_beyond = np.isnan(exact(LONLAT, (0.1, 0.0, -180.0, 0.0, -0.1, 90.0), target)[0])
    np.testing.assert_array_equal(np.isnan(rows), is_beyond)
    assert 0.2 < is_beyond.mean() < 0.9
    assert np.nanmin(cols) > 1800


def test_a_target_out_of_reach_has_no_extent() -> None:
    target = GeoBox(LONLAT, (0.5, 0.0, 70.0, 0.0, -0.5, 195.0), 10, 10)
    places = PixelMap("EPSG:3413", (1000.0, 0.0, 0.0, 0.0, -1000.0, 0.0), target)
    assert np.isnan(places.corners()[0]).all()
    assert places.extent() is None
    assert all(map(math.isnan, places.scale))
    assert math.isnan(resolution_in("EPSG:3413", target))


# Sizes


def test_scale_counts_pixels_of_the_source_per_pixel_of_the_target() -> None:
    target = GeoBox("EPSG:32644", (20.0, 0.0, 2e5, 0.0, -40.0, 2e6), 50, 50)
    rows, cols = PixelMap("EPSG:32643", (10.0, 0.0, 8e5, 0.0, -10.0, 2e6), target).scale
    assert rows == pytest.approx(4, rel=0.02)
    assert cols == pytest.approx(2, rel=0.02)


def test_kernels_do_not_widen_along_the_shear_of_a_sinusoidal_grid() -> None:
    # A tile of MODIS at 92 degrees west and 45 north: two rows down, a target pixel lies one and a half columns aside.
    source = (231.656358, 0.0, -7250844.0, 0.0, -231.656358, 5026943.0)
    target = GeoBox(LONLAT, (0.0047, 0.0, -92.4, 0.0, -0.0047, 45.2), 40, 60)
    pixel_map = PixelMap(SINUSOIDAL, source, target, source_width=100)
    rows, cols = pixel_map.kernel_scale(0, 40)
    np.testing.assert_allclose(rows, 0.0047 / 231.656358 * math.radians(1) * RADIUS, rtol=1e-3)
    sideways = math.sin(math.radians(45)) * math.radians(92.2)
    np.testing.assert_allclose(cols, rows * math.cos(math.radians(45.1)) / (1 + sideways), rtol=0.02)
    assert pixel_map.scale[1] > 3 * cols.max(), "the sides of its pixels are longer"


def test_a_grid_rotated_by_a_right_angle_has_its_columns_along_the_rows_of_the_source() -> None:
    source = (1000.0, 0.0, -3e6, 0.0, -1000.0, 3e6)
    straight = GeoBox("EPSG:3413", (2000.0, 0.0, 0.0, 0.0, -5000.0, -1e6), 40, 40)
    assert PixelMap("EPSG:3413", source, straight).kernel_scale(0, 40) == (5.0, 2.0)
    # Both are polar stereographic, EPSG:3413 along 45 degrees west and EPSG:5936 along 150 degrees west.
    turned = GeoBox("EPSG:5936", (2000.0, 0.0, 2.2e6, 0.0, -5000.0, 3e6), 40, 40)
    rows, cols = PixelMap("EPSG:3413", source, turned).kernel_scale(0, 40)
    assert (rows < cols).all()


@pytest.mark.parametrize("lat", [0, 45, 60])
def test_resolution_is_the_shorter_side_of_a_pixel_in_units_of_the_source(lat: float) -> None:
    x, y = transformer(LONLAT, "EPSG:32643").transform(75, lat)
    target = GeoBox("EPSG:32643", (10.0, 0.0, x - 500, 0.0, -10.0, y + 500), 100, 100)
    geod = pyproj.Geod(ellps="WGS84")
    _, _, metres_north = geod.inv(75, lat, 75, lat + 0.01)
    _, _, metres_east = geod.inv(75, lat, 75.01, lat)
    width, height = pixel_size_in(LONLAT, "EPSG:32643", target.transform, x, y)
    assert width == pytest.approx(10 / metres_east * 0.01, rel=1e-3)
    assert height == pytest.approx(10 / metres_north * 0.01, rel=1e-3)
    assert resolution_in(LONLAT, target) == pytest.approx(min(width, height), rel=1e-3)
    assert resolution_in("EPSG:32643", target) == 10


def test_the_size_of_a_pixel_at_the_antimeridian_is_that_of_its_neighbours() -> None:
    x, y = transformer(LONLAT, "EPSG:32660").transform(180, 10)
    assert pixel_size_in(LONLAT, "EPSG:32660", (1000.0, 0, 0, 0, -1000.0, 0), x, y)[0] == pytest.approx(
        0.0091, rel=0.02
    )
    target = GeoBox("EPSG:32660", (1000.0, 0.0, x - 500, 0.0, -1000.0, y), 1, 1)
    assert PixelMap(LONLAT, (0.01, 0, -180, 0, -0.01, 90), target).scale[1] == pytest.approx(0.91, rel=0.02)


# Threads and refusals


def test_threads_that_come_and_go_get_the_same_places() -> None:
    target = GeoBox("EPSG:32644", (10.0, 0.0, 2e5, 0.0, -10.0, 2e6), 100, 100)
    source = (10.0, 0.0, 8e5, 0.0, -10.0, 2e6)
    places = PixelMap("EPSG:32643", source, target)
    expected = places.centres()
    found = []

    def work() -> None:
        # One map of another thread, and one of this.
        found.extend([places.centres(), PixelMap("EPSG:32643", source, target).centres()])

    for _ in range(10):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 80
    for rows, cols in found:
        np.testing.assert_array_equal(rows, expected[0])
        np.testing.assert_array_equal(cols, expected[1])


@pytest.mark.parametrize(
    ("source_crs", "target_crs", "message"),
    [
        (None, LONLAT, "one without a CRS, expected both or neither"),
        (LONLAT, None, "one without a CRS, expected both or neither"),
        ("EPSG:1", LONLAT, "crs: got 'EPSG:1', expected an authority code"),
        (LONLAT, "nowhere", "crs: got 'nowhere', expected an authority code"),
        ("IAU_2015:49900", LONLAT, "knows no way from EPSG:4326 to IAU_2015:49900"),
    ],
)
def test_grids_that_nothing_leads_between_are_refused(source_crs, target_crs, message: str) -> None:
    target = GeoBox(target_crs, (1.0, 0.0, 0.0, 0.0, -1.0, 50.0), 4, 4)
    with pytest.raises(InvalidArgumentError, match=message):
        PixelMap(source_crs, (1.0, 0.0, 0.0, 0.0, -1.0, 50.0), target)
    with pytest.raises(InvalidArgumentError, match=message):
        resolution_in(source_crs, target)


def test_a_rotated_source_is_refused() -> None:
    target = GeoBox(LONLAT, (1.0, 0.0, 0.0, 0.0, -1.0, 50.0), 4, 4)
    with pytest.raises(InvalidArgumentError, match="rotated"):
        PixelMap(LONLAT, (1.0, 0.1, 0.0, 0.1, -1.0, 50.0), target)


@pytest.mark.parametrize("max_error", [-0.1, math.nan])
def test_an_error_below_0_is_refused(max_error: float) -> None:
    with pytest.raises(InvalidArgumentError, match="max_error: got"):
        PixelMap(LONLAT, (1, 0, 0, 0, -1, 0), GeoBox(LONLAT, (1, 0, 0, 0, -1, 0), 1, 1), max_error)
