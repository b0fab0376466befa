"""Outlines of windows on the ground."""

from __future__ import annotations

import numpy as np
import shapely

from rasteret_sql.geo.footprint import window_footprints

UTM = "EPSG:32643"
TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_500_000.0)
SHAPE = 2_000, 3_000


def test_the_outline_of_a_window_does_not_depend_on_the_windows_beside_it() -> None:
    # Windows of a grid, those cut off at its edges, and one as large as the raster.
    windows = np.array([
        (0, 0, 256, 256), (256, 512, 512, 768), (1_792, 0, 2_000, 256), (1_792, 2_816, 2_000, 3_000),
        (0, 0, 2_000, 3_000), (5, 5, 6, 6),
    ])  # fmt: skip
    together = window_footprints(UTM, TRANSFORM, SHAPE, windows)
    alone = [window_footprints(UTM, TRANSFORM, SHAPE, window[np.newaxis])[0] for window in windows]
    assert shapely.to_wkb(together).tolist() == shapely.to_wkb(alone).tolist()
    backwards = window_footprints(UTM, TRANSFORM, SHAPE, windows[::-1])[::-1]
    assert shapely.to_wkb(backwards).tolist() == shapely.to_wkb(together).tolist()


def test_no_windows_have_no_outlines() -> None:
    assert not len(window_footprints(UTM, TRANSFORM, SHAPE, np.empty((0, 4), np.int64)))
