"""The level that is read of a file depends on the file and the grid, and not on the part of the grid that is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.geo.pixelsize import pixel_size_in
from rasteret_sql.geo.project import area_bounds
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("shift", [-3e-5, -1e-5, 0.0, 1e-5, 3e-5])
def test_windows_of_a_grid_read_the_level_of_the_whole(shift: float, tmp_path: Path) -> None:
    """The grid's pixels are those of an overview somewhere in the file: coarser on one side, finer on the other."""
    pixels = np.random.default_rng(5).integers(1, 999, (128, 128)).astype("uint16")
    transform = (100.0, 0.0, 820_000.0, 0.0, -100.0, 1_400_000.0)
    write_cog(tmp_path / "a.tif", pixels, crs="EPSG:32643", transform=transform, tile=32, nodata=0)
    index = str(rs.build_index(tmp_path / "a.tif", tmp_path / "i.parquet").path)
    xmin, ymin, xmax, ymax = area_bounds((820_000, 1_387_200, 832_800, 1_400_000), "EPSG:32643", "EPSG:32644")
    middle = (xmin + xmax) / 2, (ymin + ymax) / 2
    unit = min(pixel_size_in("EPSG:32643", "EPSG:32644", (1.0, 0, 0, 0, -1.0, 0), *middle))
    size = 200.0 / unit * (1 + shift)
    whole = GeoBox.from_bounds((xmin, ymin, xmax, ymax), "EPSG:32644", size)
    expected = rs.to_numpy(index, like=_like(whole), resampling="average")
    for row, col in ((8, 4), (8, whole.width - 16), (whole.height - 20, 20)):
        part = whole.window(row, col, 12, 12)
        found = rs.to_numpy(index, like=_like(part), resampling="average")
        assert found.level == expected.level
        np.testing.assert_array_equal(found.data[0, 0], expected.data[0, 0, row : row + 12, col : col + 12])


def _like(box: GeoBox) -> dict[str, object]:
    return {"crs": box.crs, "transform": box.transform, "height": box.height, "width": box.width}
