"""Pixels of many geometries found together are those of each geometry alone, and their covered parts are areas."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine

from rasteret_sql.geo import outlines
from rasteret_sql.geo.inside import Outline
from rasteret_sql.geo.outlines import Outlines

# rasterio multiplies transforms in a way that affine is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

SIZE = 100


def _star(rng: np.random.Generator) -> shapely.Polygon:
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 30))))
    radii = rng.uniform(0.3, 30) * rng.uniform(0.3, 1, len(angles))
    middle = rng.uniform(-10, SIZE + 10, 2)
    return shapely.Polygon(middle + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _some(rng: np.random.Generator, count: int) -> np.ndarray:
    makers = (
        lambda: _star(rng),
        lambda: _star(rng).buffer(0).difference(shapely.box(20, 20, 40, 40)),
        lambda: shapely.MultiPolygon([_star(rng), _star(rng)]),
        lambda: shapely.LineString(rng.uniform(-10, SIZE + 10, (5, 2))),
        lambda: shapely.MultiPoint(rng.integers(0, 2 * SIZE, (3, 2)) / 2),
        lambda: shapely.GeometryCollection([_star(rng), shapely.Point(3, 4), shapely.MultiPolygon([_star(rng)])]),
        lambda: shapely.Polygon(rng.integers(0, 2 * SIZE, (6, 2)) / 2),
        shapely.Polygon,
        lambda: None,
    )
    found = np.empty(count, object)
    found[:] = [makers[number % len(makers)]() for number in range(count)]
    return found


def _windows(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.hstack([rng.integers(0, SIZE // 2, (count, 2)), rng.integers(1, SIZE // 2, (count, 2))])


def _image(found: outlines.GridPixels, number: int, window: list[int]) -> np.ndarray:
    image = np.zeros(window[2:])
    mine = found.window == number
    image[found.row[mine] - window[0], found.col[mine] - window[1]] = 1 if found.part is None else found.part[mine]
    return image


@pytest.mark.parametrize("all_touched", [False, True])
def test_pixels_of_many_geometries_are_those_of_each_alone(all_touched: bool) -> None:
    rng = np.random.default_rng(3)
    geometries, windows = _some(rng, 180), _windows(rng, 90)
    numbers = np.sort(rng.choice(180, 90, replace=False))
    found = Outlines.of(geometries).inside(numbers, windows, all_touched=all_touched)
    place = found.window * SIZE * SIZE + found.row * SIZE + found.col
    assert (np.diff(place) > 0).all()  # each pixel once, in order
    for number, (geometry, window) in enumerate(zip(geometries[numbers], windows.tolist(), strict=True)):
        expected = Outline.of(geometry).inside(tuple(window), all_touched=all_touched)
        np.testing.assert_array_equal(_image(found, number, window) > 0, expected)


@pytest.mark.parametrize("all_touched", [False, True])
def test_pixels_of_many_polygons_are_those_that_gdal_burns(all_touched: bool) -> None:
    rng = np.random.default_rng(5)
    stars = np.array([_star(rng) for _ in range(60)], object)
    windows = np.array([(0, 0, SIZE, SIZE)] * len(stars))
    found = Outlines.of(stars).inside(np.arange(len(stars)), windows, all_touched=all_touched)
    for number, star in enumerate(stars):
        burnt = geometry_mask([star], (SIZE, SIZE), Affine.identity(), invert=True, all_touched=all_touched)
        np.testing.assert_array_equal(_image(found, number, [0, 0, SIZE, SIZE]) > 0, burnt)


def test_covered_parts_of_many_polygons_are_areas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_CHUNK_PIXELS", 1000)
    rng = np.random.default_rng(7)
    geometries, windows = _some(rng, 63), _windows(rng, 63)
    found = Outlines.of(geometries, covers=True).covered(np.arange(63), windows)
    assert found.part is not None
    assert (found.part > 0).all()
    for number, (geometry, window) in enumerate(zip(geometries, windows.tolist(), strict=True)):
        rows, cols = np.indices(window[2:])
        boxes = shapely.box(*(cols + window[1], rows + window[0], cols + window[1] + 1, rows + window[0] + 1))
        valid = None if geometry is None else shapely.make_valid(geometry)
        expected = np.nan_to_num(shapely.area(shapely.intersection(valid, boxes)))
        # Corners are rounded to a millionth of a pixel.
        np.testing.assert_allclose(_image(found, number, window), expected, atol=1e-5)


def test_polygons_in_a_collection_of_collections_cover_pixels() -> None:
    polygons = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)])
    nested = shapely.GeometryCollection([polygons, shapely.LineString([(0, 3), (3, 3)])])
    found = Outlines.of(np.array([nested], object), covers=True).covered(np.array([0]), np.array([(0, 0, 4, 4)]))
    np.testing.assert_array_equal(_image(found, 0, [0, 0, 4, 4]), np.diag([1.0, 0, 1, 0]))


def test_no_geometries_have_no_pixels() -> None:
    none = np.empty(0, np.int64)
    empty = Outlines.of(np.array([None, shapely.Point()], object), covers=True)
    assert not len(empty.covered(np.array([0, 1]), np.array([(0, 0, 2, 2)] * 2)).row)
    assert not len(empty.inside(np.array([0, 1]), np.array([(0, 0, 2, 2)] * 2)).row)
    assert not len(Outlines.of(np.empty(0, object)).inside(none, np.empty((0, 4), np.int64)).row)
