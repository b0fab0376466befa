"""Pixels inside geometries are those that GDAL burns."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine

from rasteret_sql.geo import inside
from rasteret_sql.geo.inside import Outline

# rasterio multiplies transforms in a way that affine is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def _burnt(geometry: shapely.Geometry, shape: tuple[int, int], *, all_touched: bool) -> np.ndarray:
    return geometry_mask([geometry], shape, Affine.identity(), invert=True, all_touched=all_touched)


def _star(rng: np.random.Generator, shape: tuple[int, int], corners: int) -> shapely.Polygon:
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(0.3, 80) * rng.uniform(0.3, 1, corners)
    middle = rng.uniform(-20, np.array(shape[::-1]) + 20)
    return shapely.Polygon(middle + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1))


@pytest.mark.parametrize("all_touched", [False, True])
def test_polygons_are_burnt_as_gdal_burns_them(all_touched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "_CHUNK_PIXELS", 1000)
    rng = np.random.default_rng(7)
    for number in range(150):
        shape = tuple(rng.integers(1, 120, 2).tolist())
        star = _star(rng, shape, int(rng.integers(3, 40)))
        if number % 3 == 1 and star.is_valid:
            star = star.difference(star.representative_point().buffer(0.3))
        if number % 3 == 2:
            star = shapely.MultiPolygon([star, shapely.box(200, 200, 210, 211)])
        expected = _burnt(star, shape, all_touched=all_touched)
        np.testing.assert_array_equal(Outline.of(star).inside((0, 0, *shape), all_touched=all_touched), expected)


def test_centres_on_an_edge_are_burnt_as_gdal_burns_them() -> None:
    rng = np.random.default_rng(11)
    for number in range(400):
        polygon = shapely.Polygon(rng.integers(0, 24, (int(rng.integers(3, 7)), 2)) / 2)
        if polygon.is_valid:
            polygon = polygon if number % 2 else polygon.reverse()
            expected = _burnt(polygon, (12, 12), all_touched=False)
            np.testing.assert_array_equal(Outline.of(polygon).inside((0, 0, 12, 12)), expected)


@pytest.mark.parametrize("all_touched", [False, True])
def test_a_polygon_that_ends_between_pixels_takes_none_of_the_next(all_touched: bool) -> None:
    noise = 1e-9  # as division by a pixel's size leaves it
    found = Outline.of(shapely.box(2 - noise, 1, 5 + noise, 3)).inside((0, 0, 6, 8), all_touched=all_touched)
    expected = np.zeros((6, 8), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(found, expected)


def test_points_and_lines_take_the_pixels_that_they_run_through() -> None:
    points = shapely.MultiPoint([(0.2, 0.9), (3.0, 2.0), (-1, 0), (9, 9)])
    assert np.argwhere(Outline.of(points).inside((0, 0, 4, 5))).tolist() == [[0, 0], [2, 3]]
    rng = np.random.default_rng(3)
    for _ in range(50):
        line = shapely.LineString(rng.uniform(-10, 70, (5, 2)))
        np.testing.assert_array_equal(Outline.of(line).inside((0, 0, 60, 50)), _burnt(line, (60, 50), all_touched=True))


def test_a_collection_takes_what_its_parts_take_and_nothing_takes_nothing() -> None:
    parts = [shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3), shapely.Point(4.5, 0.5)]
    expected = np.logical_or.reduce([Outline.of(part).inside((0, 0, 4, 5)) for part in parts])
    np.testing.assert_array_equal(Outline.of(shapely.GeometryCollection(parts)).inside((0, 0, 4, 5)), expected)
    assert not Outline.of(None).inside((0, 0, 4, 5)).any()
    assert not Outline.of(shapely.Polygon()).inside((0, 0, 4, 5)).any()
