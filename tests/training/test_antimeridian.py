"""Items over the antimeridian, in a CRS that ends there."""

import numpy as np
import pytest
from pyproj import Transformer

import rasteret_sql as rs
from rasteret_sql.testing import write_cog
from rasteret_sql.testing.cog import CogOptions

SIDE, PIXEL, WEST, NORTH = 256, 200.0, 150_000.0, 8_110_000.0


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326"])
def test_chips_across_the_antimeridian_hold_the_pixels_that_lie_there(crs, tmp_path):
    pixels = (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 1000 + 1).astype(np.uint16)
    transform = (PIXEL, 0.0, WEST, 0.0, -PIXEL, NORTH)
    write_cog(tmp_path / "a.tif", pixels, options=CogOptions(crs="EPSG:32701", transform=transform, tile=64, nodata=0))
    rs.build_index([tmp_path / "a.tif"], tmp_path / "index.parquet")
    dataset = rs.to_torchgeo(tmp_path / "index.parquet", crs=crs, resampling="nearest")
    x, y, _ = dataset.bounds
    step = dataset.res[0]
    assert x.stop - x.start < 400 * step
    left, bottom = (x.start + x.stop) / 2 - 16 * step, (y.start + y.stop) / 2
    sample = dataset[left : left + 32 * step : step, bottom : bottom + 32 * step : step]
    assert sample["mask_valid"].all()
    xs, ys = np.meshgrid(left + step * (np.arange(32) + 0.5), bottom + step * (31.5 - np.arange(32)))
    east, north = Transformer.from_crs(crs, "EPSG:32701", always_xy=True).transform(xs, ys)
    expected = pixels[((NORTH - north) // PIXEL).astype(int), ((east - WEST) // PIXEL).astype(int)]
    assert (sample["image"][0].numpy() == expected).all()
