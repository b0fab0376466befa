"""The synthetic landscape behaves like one where tests and demos rely on it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from rasteret_sql.apps.demo.landscape import SCL_NODATA, SCL_WATER, SceneOptions, make_landscape

JANUARY = datetime(2024, 1, 5, tzinfo=UTC)
APRIL = datetime(2024, 4, 20, tzinfo=UTC)
SEPTEMBER = datetime(2024, 9, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def landscape():
    return make_landscape(512, 640, seed=3)


def ndvi(scene) -> np.ndarray:
    red, nir = scene.bands[2].astype(float), scene.bands[3].astype(float)
    return (nir - red) / (nir + red)


def test_one_seed_gives_one_picture_and_another_seed_another(landscape):
    options = SceneOptions(cloud_cover=0.2)
    again = make_landscape(512, 640, seed=3).scene(JANUARY, options)
    first = landscape.scene(JANUARY, options)
    np.testing.assert_array_equal(first.bands, again.bands)
    np.testing.assert_array_equal(first.scl, again.scl)
    other = make_landscape(512, 640, seed=4).scene(JANUARY, options)
    assert (first.bands != other.bands).mean() > 0.9


def test_vegetation_follows_the_monsoon(landscape):
    dry, green = (np.median(ndvi(landscape.scene(when))) for when in (APRIL, SEPTEMBER))
    assert dry < 0.4
    assert green > 0.5


def test_water_is_dark_in_the_near_infrared_and_classified(landscape):
    scene = landscape.scene(JANUARY)
    water = scene.scl == SCL_WATER
    assert 0.002 < water.mean() < 0.3
    assert np.median(scene.bands[3][::2, ::2][water]) < 0.5 * np.median(scene.bands[3])


@pytest.mark.parametrize("wanted", [0.0, 0.1, 0.5, 0.9])
def test_cloud_cover_is_about_what_was_wanted(landscape, wanted):
    scene = landscape.scene(JANUARY, SceneOptions(cloud_cover=wanted))
    assert scene.cloud_cover == pytest.approx(100 * wanted, abs=4)
    clouded = np.isin(scene.scl, (8, 9)).mean()
    assert scene.cloud_cover == pytest.approx(100 * clouded, abs=1)


def test_a_swath_edge_leaves_zeros_in_the_east_in_all_bands(landscape):
    scene = landscape.scene(JANUARY, SceneOptions(swath_edge=0.6))
    invalid = scene.bands[0] == 0
    assert 0.3 < invalid.mean() < 0.5
    assert all(((band == 0) == invalid).all() for band in scene.bands)
    assert (np.diff(invalid.astype(int), axis=1) >= 0).all()
    np.testing.assert_array_equal(scene.scl == SCL_NODATA, invalid[::2, ::2])


def test_valid_pixels_are_never_nodata_and_reflectance_is_plausible(landscape):
    scene = landscape.scene(SEPTEMBER, SceneOptions(cloud_cover=0.3))
    assert scene.bands.dtype == np.uint16
    assert scene.bands.min() >= 1
    assert scene.bands.max() <= 16000
