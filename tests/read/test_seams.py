"""Rasters around the Earth, read onto grids over the antimeridian, around poles and beyond them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError
from rasteret_sql.geo.resampling import METHODS
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

#: The first longitude and latitude, the step between rows, and the size of rasters with pixels of a degree.
WORLDS = {
    "from -180": (-180.0, 90.0, -1.0, 180, 360),
    "from 0": (0.0, 90.0, -1.0, 180, 360),
    "from 170": (170.0, 90.0, -1.0, 180, 360),
    "centres on the edge": (-180.5, 90.5, -1.0, 181, 360),
    "south up": (-180.0, -90.0, 1.0, 180, 360),
    "above the pole": (-180.0, 100.0, -1.0, 200, 360),
    "more than around": (-181.0, 90.0, -1.0, 180, 362),
}
_EDGE = 20_037_508.342789244
#: CRS, bounds and pixels along a side.
GRIDS = {
    "north": ("EPSG:3413", (-4e6, -4e6, 4e6, 4e6), 50),
    "north beside the meridian": ("EPSG:3413", (-4.1e6, -3.9e6, 4e6, 4e6), 51),
    "south": ("EPSG:3031", (-4e6, -4e6, 4e6, 4e6), 50),
    "mercator": ("EPSG:3857", (-_EDGE, -_EDGE, _EDGE, _EDGE), 64),
    "mercator over its edge": ("EPSG:3857", (_EDGE - 2e6, -2e6, _EDGE + 2e6, 2e6), 37),
    "utm 1": ("EPSG:32601", (0.0, 3e6, 1e6, 4e6), 40),
    "utm 60": ("EPSG:32660", (0.0, 3e6, 1e6, 4e6), 40),
    "degrees from 0": ("EPSG:4326", (0.0, -90.0, 360.0, 90.0), 72),
    "degrees over the edge": ("EPSG:4326", (170.0, -20.0, 190.0, 20.0), 33),
}


def _written(folder: Path, world: str) -> tuple[str, npt.NDArray[np.int16], tuple[float, ...]]:
    x, y, step, height, width = WORLDS[world]
    pixels = np.random.default_rng(7).integers(1, 200, (height, width)).astype("int16")
    transform = (1.0, 0.0, x, 0.0, step, y)
    write_cog(folder / "world.tif", pixels, crs="EPSG:4326", transform=transform, tile=64)
    rs.build_index(folder / "world.tif", folder / "i.parquet")
    return str(folder / "i.parquet"), pixels, transform


@pytest.mark.parametrize("world", WORLDS)
def test_no_pixel_is_invalid_that_gdal_has(world: str, tmp_path: Path) -> None:
    index, pixels, transform = _written(tmp_path, world)
    for name, (crs, (xmin, ymin, xmax, ymax), side) in GRIDS.items():
        onto = Affine((xmax - xmin) / side, 0.0, xmin, 0.0, (ymin - ymax) / side, ymax)
        for method in METHODS:
            expected = np.full((side, side), -1, "int16")
            reproject(
                pixels, expected, src_transform=Affine(*transform), src_crs="EPSG:4326", dst_transform=onto,
                dst_crs=crs, resampling=getattr(Resampling, method), dst_nodata=-1,
            )  # fmt: skip
            got = rs.to_numpy(index, crs=crs, transform=tuple(onto)[:6], shape=(side, side), resampling=method)
            assert not ((expected != -1) & ~got.mask[0, 0]).any(), (name, method)


@pytest.mark.parametrize("method", ["average", "mode", "min", "max"])
def test_a_pixel_across_the_edge_has_values_of_its_own_longitude(method: str, tmp_path: Path) -> None:
    """Each column holds its longitude, and each pixel of a polar grid, those at the edge too, one near its own."""
    longitudes = np.broadcast_to(np.arange(-179.5, 180.0), (180, 360)).astype("float32")
    write_cog(tmp_path / "w.tif", longitudes, crs="EPSG:4326", transform=(1.0, 0.0, -180.0, 0.0, -1.0, 90.0), tile=64)
    rs.build_index(tmp_path / "w.tif", tmp_path / "i.parquet")
    options: Any = {"crs": "EPSG:3413", "transform": (160000.0, 0, -4e6, 0, -160000.0, 4e6), "shape": (50, 50)}
    got = rs.to_numpy(str(tmp_path / "i.parquet"), resampling=method, **options)
    edges = (np.arange(50) + 0.5) * 160000.0 - 4e6
    x, y = np.meshgrid(edges, -edges)
    from rasterio.warp import transform as to_lonlat

    lon = np.array(to_lonlat("EPSG:3413", "EPSG:4326", x.ravel().tolist(), y.ravel().tolist())[0]).reshape(50, 50)
    away = np.abs((got.data[0, 0] - lon + 180) % 360 - 180)
    is_far = np.hypot(x, y) > 8 * 160000.0
    assert got.mask.all()
    assert away[is_far].max() < 12


@pytest.mark.parametrize("dtype", ["int16", "int64"])
@pytest.mark.parametrize("top", [110.0, 95.0, -70.0])
def test_rows_beyond_a_pole_are_read_on_the_files_own_grid(dtype: str, top: float, tmp_path: Path) -> None:
    info = np.iinfo(dtype)
    pixels = np.random.default_rng(1).integers(info.min, info.max, (96, 48), dtype)
    transform = (0.5, 0.0, -180.0, 0.0, -0.5, top)
    write_cog(tmp_path / "w.tif", pixels, crs="EPSG:4326", transform=transform, tile=16)
    index = str(rs.build_index(tmp_path / "w.tif", tmp_path / "i.parquet").path)
    for first, end in ((0, 96), (0, 16), (80, 96)):
        grid = (0.5, 0.0, -180.0, 0.0, -0.5, top - 0.5 * first)
        got = rs.to_numpy(index, like={"crs": "EPSG:4326", "transform": grid, "height": end - first, "width": 48})
        assert got.mask.all(), (first, end)
        np.testing.assert_array_equal(got.data[0, 0], pixels[first:end])
    with rasterio.open(tmp_path / "w.tif") as source:
        np.testing.assert_array_equal(source.read(1), pixels)


@pytest.mark.parametrize(("x", "y", "expected"), [(800000, 1399995, 0), (800005, 1400000, 0), (800000, 1400000, 0)])
def test_a_point_on_the_first_edge_of_a_raster_is_in_it(x: int, y: int, expected: int, tmp_path: Path) -> None:
    pixels = np.arange(32 * 32, dtype="uint16").reshape(32, 32)
    write_cog(tmp_path / "p.tif", pixels, crs="EPSG:32643", transform=(10.0, 0.0, 8e5, 0.0, -10.0, 14e5), tile=16)
    index = str(rs.build_index(tmp_path / "p.tif", tmp_path / "i.parquet").path)
    got = rs.to_numpy(index, bbox=(x, y, x, y), geometry_crs="EPSG:32643")
    assert got.data.tolist() == [[[[expected]]]]
    for edge in ((800320, 1399995), (800005, 1399680)):
        with pytest.raises(EmptyReadError, match="touches none of the assets"):
            rs.to_numpy(index, bbox=(*edge, *edge), geometry_crs="EPSG:32643")
