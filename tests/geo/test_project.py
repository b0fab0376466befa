"""Bounds and geometries in other CRSs, held against pyproj on dense edges."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.antimeridian import (
    aligned,
    continued,
    joined_longitudes,
    middle_longitude,
    narrowest,
    split_at_antimeridian,
)
from rasteret_sql.geo.crs import LONLAT, in_proj_thread, period_of, revolution_of, transformer
from rasteret_sql.geo.project import (
    EVERYWHERE,
    area_bounds,
    joint_bounds,
    map_bounds,
    project_bounds,
    project_geometries,
    project_points,
    search_bounds,
)

PARIS_GRADS = "EPSG:4807"
POLAR = {"EPSG:3413": 90.0, "EPSG:3031": -90.0}
UTM_MERIDIANS = {"EPSG:32643": 75, "EPSG:32701": -177}
PROJECTED = ["EPSG:32643", "EPSG:32701", "EPSG:3857", "EPSG:3035", "EPSG:3413", "EPSG:3031", "EPSG:6933"]


def dense(bounds, steps=2000):
    xmin, ymin, xmax, ymax = bounds
    x, y = np.linspace(xmin, xmax, steps), np.linspace(ymin, ymax, steps)
    return (
        np.concatenate([x, x, np.full(steps, xmin), np.full(steps, xmax)]),
        np.concatenate([np.full(steps, ymin), np.full(steps, ymax), y, y]),
    )


boxes = st.tuples(st.floats(-180, 175), st.floats(-89, 88), st.floats(0.001, 30), st.floats(0.001, 30)).map(
    lambda box: (box[0], box[1], min(box[0] + box[2], 180.0), min(box[1] + box[3], 89.9))
)


@given(bounds=boxes, crs=st.sampled_from(PROJECTED))
@example(bounds=(77.0, 12.0, 78.0, 13.0), crs="EPSG:32643")
@example(bounds=(-5.0, 70.0, 25.0, 89.9), crs="EPSG:3035")
@example(bounds=(0.0, 0.0, 21.0, 1.0), crs="EPSG:3035")
def test_projected_bounds_hold_every_point_of_the_edges(bounds, crs):
    # Transverse Mercator folds a quarter of the Earth away from its meridian.
    assume(
        crs not in UTM_MERIDIANS or all(abs((lon - UTM_MERIDIANS[crs] + 180) % 360 - 180) < 80 for lon in bounds[::2])
    )
    ((xmin, ymin, xmax, ymax),) = project_bounds(bounds, LONLAT, crs)
    x, y = pyproj.Transformer.from_crs(LONLAT, crs, always_xy=True).transform(*dense(bounds))
    if not (np.isfinite(x) & np.isfinite(y)).all():
        assume(not math.isnan(xmin))
        return
    assert not math.isnan(xmin)
    slack = 1e-9 * max(np.abs(x).max(), np.abs(y).max())
    assert xmin <= x.min() + slack
    assert ymin <= y.min() + slack
    assert x.max() <= xmax + slack
    assert y.max() <= ymax + slack


@given(
    x=st.floats(-2e6, 2e6), y=st.floats(-2e6, 2e6), width=st.floats(1e3, 1e6), height=st.floats(1e3, 1e6),
    crs=st.sampled_from(list(POLAR)),
)  # fmt: skip
@example(x=-5e5, y=-5e5, width=1e6, height=1e6, crs="EPSG:3413")
@example(x=-5e5, y=-5e5, width=1e6, height=1e6, crs="EPSG:3031")
@example(x=1e5, y=-5e5, width=1e5, height=1e6, crs="EPSG:3413")
@example(x=0.0, y=-431090.18, width=1000.0, height=748120.0, crs="EPSG:3413")
@example(x=-8.04108661007435e-299, y=-1.0, width=1000.0, height=1000.0, crs="EPSG:3413")
def test_bounds_near_a_pole_hold_every_point_in_longitude_and_latitude(x, y, width, height, crs):
    box = (x, y, x + width, y + height)
    ((west, south, east, north),) = project_bounds(box, crs, LONLAT)
    cols, rows = np.meshgrid(np.linspace(box[0], box[2], 60), np.linspace(box[1], box[3], 60))
    lon, lat = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True).transform(cols.ravel(), rows.ravel())
    slack = 1e-9
    assert south <= lat.min() + slack
    assert lat.max() <= north + slack
    away = np.abs(lat) < 89.999
    assert (((lon[away] - west + slack) % 360) <= east - west + 2 * slack).all()
    if max(box[:2]) < -1 and min(box[2:]) > 1:
        assert (west, east) == (-180.0, 180.0)
        assert POLAR[crs] in (south, north)


@given(lon=st.floats(178.1, 181.9), lat=st.floats(-60, 60), size=st.floats(0.01, 1.0))
def test_a_box_over_the_antimeridian_is_as_narrow_as_it_is(lon, lat, size):
    crs = f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84"
    half = size * 50_000
    (bounds,) = project_bounds((-half, -half, half, half), crs, LONLAT)
    assert bounds[2] - bounds[0] < 4 * size
    assert -180 <= bounds[0] < 180
    x, y = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True).transform(*dense((-half, -half, half, half), 100))
    assert (((x - bounds[0] + 1e-9) % 360) <= bounds[2] - bounds[0] + 2e-9).all()
    assert bounds[1] <= y.min()
    assert y.max() <= bounds[3]
    joined = joint_bounds([(crs, (-half, -half, 0.0, half)), (crs, (0.0, -half, half, half))], LONLAT)
    assert joined[2] - joined[0] < 4 * size


def test_bounds_that_cannot_be_told_hold_everything_when_searching_and_are_an_error_otherwise():
    assert search_bounds([(-180.0, -90.0, 180.0, 90.0)], LONLAT, "EPSG:3035").tolist() == [list(EVERYWHERE)]
    around = "+proj=laea +lat_0=0 +lon_0=180 +datum=WGS84"
    revolutions = search_bounds([(-2e5, -2e5, 2e5, 2e5)], around, LONLAT)
    assert [(part[0] < edge < part[2]) for part, edge in zip(revolutions, (-180, 180, 540), strict=True)] == [True] * 3
    two = map_bounds([(-2e5, -2e5, 2e5, 2e5)], around)
    assert [(part[0] < 180, part[2] == 180, part[0] == -180) for part in two] == [
        (True, True, False),
        (True, False, True),
    ]
    with pytest.raises(InvalidArgumentError, match="area: it cannot be projected from 'OGC:CRS84'"):
        area_bounds((0.0, 80.0, 10.0, 95.0), LONLAT, "EPSG:3413")
    with pytest.raises(InvalidArgumentError, match="each minimum below its maximum"):
        area_bounds((10.0, 0.0, 0.0, 10.0), "EPSG:32643", LONLAT)


def test_an_area_wider_than_half_the_earth_stays_where_it_is():
    assert area_bounds(shapely.box(-100, 0, 100, 10), LONLAT, "EPSG:4326") == (-100, 0, 100, 10)
    assert area_bounds((170.0, 0.0, -170.0, 10.0), LONLAT, LONLAT) == (170, 0, 190, 10)
    halves = shapely.union_all([shapely.box(179, 0, 180, 10), shapely.box(-180, 0, -179, 10)])
    assert area_bounds(halves, LONLAT, LONLAT) == (179, 0, 181, 10)


@given(bounds=boxes, crs=st.sampled_from(["EPSG:32643", "EPSG:3857", "EPSG:3035"]))
def test_projected_edges_lie_where_pyproj_has_them(bounds, crs):
    box = shapely.box(*bounds)
    lon, lat = dense(bounds, 50)
    x, y = pyproj.Transformer.from_crs(LONLAT, crs, always_xy=True).transform(lon, lat)
    assume((np.isfinite(x) & np.isfinite(y)).all())
    (found,) = project_geometries(np.array([box]), LONLAT, crs)
    size = max(np.ptp(x), np.ptp(y))
    assume(size < 1e7)
    distances = shapely.distance(shapely.get_exterior_ring(found), shapely.points(x, y))
    assert distances.max() <= 1e-3 * size


def test_a_polygon_around_a_pole_reaches_it_and_keeps_its_hole():
    ring = shapely.Point(0, 0).buffer(1e6, quad_segs=64)
    hole = shapely.Point(5e5, 0).buffer(1e5)
    (found,) = project_geometries(np.array([ring - hole]), "EPSG:3413", LONLAT)
    assert found.is_valid
    assert found.bounds[2] - found.bounds[0] == pytest.approx(360)
    assert found.bounds[3] == 90
    x, y = pyproj.Transformer.from_crs("EPSG:3413", LONLAT, always_xy=True).transform([5e5, -5e5, 0], [0, 0, 0])
    west = found.bounds[0]
    inside = [found.covers(shapely.Point((lon - west) % 360 + west, lat)) for lat, lon in zip(y, x, strict=True)]
    assert inside == [False, True, True]
    (south,) = project_geometries(np.array([ring.reverse()]), "EPSG:3031", LONLAT)
    assert south.bounds[1] == -90


def test_a_geometry_of_which_a_part_has_no_position_is_refused_by_number():
    outside, across = shapely.Point(0, 95), shapely.LineString([(0, 80), (0, 95)])
    assert project_geometries(np.array([outside, None, shapely.Polygon()]), LONLAT, "EPSG:3413").tolist() == [
        None, None, shapely.Polygon(),
    ]  # fmt: skip
    with pytest.raises(InvalidArgumentError, match="zones: number 1 in OGC:CRS84 reaches beyond"):
        project_geometries(np.array([outside, across]), LONLAT, "EPSG:3413", name="zones")
    assert np.isnan(project_points(0.0, 95.0, LONLAT, "EPSG:3413")).all()


@pytest.mark.parametrize(
    ("crs", "period"),
    [
        (LONLAT, 360.0), (PARIS_GRADS, 400.0), ("EPSG:3857", 2 * math.pi * 6378137), ("EPSG:3395", 2 * math.pi * 6378137),
        ("EPSG:3832", 2 * math.pi * 6378137), ("EPSG:32643", None), ("EPSG:3413", None), ("EPSG:8857", None),
    ],
)  # fmt: skip
def test_x_repeats_itself_in_longitude_and_in_cylindrical_projections(crs, period):
    found = period_of(crs)
    assert found == period if period is None else found == pytest.approx(period)
    assert (revolution_of(crs) is not None) == (crs in {LONLAT, PARIS_GRADS})


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(0, 60)), min_size=1, max_size=8))
def test_spans_are_as_narrow_together_as_any_choice_makes_them(parts):
    spans = np.array([(start, start + width) for start, width in parts])
    moved = spans + 360 * narrowest(spans, 360.0)[:, None]
    choices = [spans + 360 * (spans[:, :1] < cut) for cut in [-181.0, *(spans[:, 0] + 1e-9)]]
    assert np.ptp(moved) <= min(map(np.ptp, choices)) + 1e-6


@given(lon=st.floats(-179, 179), width=st.floats(0.1, 170), height=st.floats(0.1, 80))
def test_a_split_footprint_has_the_area_of_the_whole_and_lies_in_the_map(lon, width, height):
    whole = shapely.box(lon, -height, lon + width, height)
    wrapped = shapely.transform(whole, lambda points: np.stack([(points[:, 0] + 180) % 360 - 180, points[:, 1]], -1))
    for given_ in (whole, wrapped):
        found = split_at_antimeridian(given_)
        assert found.is_valid
        assert found.area == pytest.approx(whole.area, rel=1e-9)
        assert found.bounds[0] >= -180
        assert found.bounds[2] <= 180
        assert shapely.equals_exact(split_at_antimeridian(found).normalize(), found.normalize(), tolerance=1e-9)
    assert continued(wrapped, 360.0).area == pytest.approx(whole.area, rel=1e-9)


def test_geometries_are_moved_to_where_a_raster_counts_its_longitudes():
    west, both = shapely.box(-170, 0, -160, 1), shapely.box(-10, 0, 10, 1)
    found = aligned(np.array([west, both, None]), 360.0, 0.0, 360.0)
    assert found[0].bounds == (190, 0, 200, 1)
    assert [part.bounds for part in found[1].geoms] == [(-10, 0, 10, 1), (350, 0, 370, 1)]
    assert found[2] is None
    assert aligned(np.array([west]), None, 0.0, 1.0)[0] is west


def test_each_thread_has_its_own_transformers_and_the_proj_thread_may_call_itself():
    own = transformer(LONLAT, "EPSG:3857")
    assert transformer(LONLAT, "EPSG:3857") is own
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(transformer, LONLAT, "EPSG:3857")
        assert other.result() is not own

    @in_proj_thread
    def outer():
        return inner()

    @in_proj_thread
    def inner():
        return transformer(LONLAT, "EPSG:3857")

    assert outer() is inner()
    assert outer() is not own


@given(lon=st.floats(-179.9, 179.9), width=st.floats(0.1, 100))
def test_the_middle_of_a_footprint_is_known_over_the_antimeridian_too(lon, width):
    whole = shapely.box(lon - width / 2, 0, lon + width / 2, 1)
    for footprint in (whole, split_at_antimeridian(whole)):
        assert abs((middle_longitude(footprint) - lon + 180) % 360 - 180) < 1e-6
    assert math.isnan(middle_longitude(shapely.Polygon()))


def test_longitudes_go_on_over_the_antimeridian_within_half_the_earth_only():
    assert joined_longitudes(np.array([-179.0, 178.0, -170.0])).tolist() == [181.0, 178.0, 190.0]
    assert joined_longitudes(np.array([-100.0, 20.0, 150.0])).tolist() == [-100.0, 20.0, 150.0]
    assert joined_longitudes(np.array([-10.0, 20.0])).tolist() == [-10.0, 20.0]
