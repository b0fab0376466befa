"""Real scenes on other grids, held against GDAL's warper: many CRSs, dtypes, codecs, masks and overviews."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import rioxarray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.like import geobox_of
from rasteret_sql.geo.pixelmap import PixelMap
from tests.arrays.cube_files import File, make_index

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    # rasterio multiplies transforms in a way that affine is about to drop.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

_TITILER = "scenes/developmentseed+titiler/src/titiler/core/tests/fixtures"
_TILER_PDS = "scenes/cogeotiff+rio-tiler-pds/tests/fixtures"
_SENTINEL = f"{_TILER_PDS}/sentinel-cogs/sentinel-s2-l2a-cogs/29/R/KH/2020/2/S2A_29RKH_20200219_0_L2A"
_MODIS = f"{_TILER_PDS}/modis-pds/MCD43A4.006/21/11/2017006"
#: Parts of a pixel by which places may differ, so that nearest may take a pixel or its neighbour.
TIE_PIXELS = 0.02
#: Scenes, and the CRS that they are read into.
SCENES = {
    "sentinel-2": (f"{_SENTINEL}/B8A.tif", "EPSG:4326"),
    "sentinel-2 classes": (f"{_SENTINEL}/SCL.tif", "EPSG:4326"),
    "landsat near a pole": (
        "scenes/stactools-packages+landsat/tests/data-files/assets2/LC08_L2SR_099120_20191129_20201016_02_T2_SR_B4.TIF",
        "EPSG:3031",
    ),
    "landsat": (
        "scenes/stactools-packages+landsat/tests/data-files/assets3/LC08_L2SP_008059_20191201_20200825_02_T1_ST_QA.TIF",
        "EPSG:4326",
    ),
    "modis, sinusoidal": (
        f"{_MODIS}/MCD43A4.A2017006.h21v11.006.2017018074804_B02.TIF",
        "EPSG:4326",
    ),
    "heights, swiss": (f"{_TITILER}/dem.tif", "EPSG:4326"),
    "over the antimeridian": (f"{_TITILER}/cog_dateline.tif", "EPSG:3832"),
    "nodata NaN": (
        "scenes/developmentseed+titiler/src/titiler/application/tests/fixtures/cog_with_nan.tif",
        "EPSG:32644",
    ),
    "south up": ("scenes/USDAForestService+gdalraster/inst/extdata/south-up.tif", "EPSG:32611"),
    "rgb and infrared": ("scenes/opengeos+data/naip/m_4709963_se_14_1_20200831.tif", "EPSG:4326"),
    "web mercator": ("scenes/cogeotiff+rio-tiler/tests/fixtures/web.tif", "EPSG:4326"),
    "alpha": ("conformance/cogeotiff+rio-tiler/tests/fixtures/cog_rgba.tif", "EPSG:3857"),
    "around the earth": ("conformance/cogeotiff+rio-tiler/tests/fixtures/cog_gradient.tif", "EPSG:3857"),
}


@pytest.fixture(scope="module", params=list(SCENES))
def scene(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, Any]]:
    """A file, its index, and a grid of about 200 x 200 pixels."""
    name, crs = SCENES[request.param]
    path = shared_data / name
    if not path.is_file():
        pytest.skip(f"no file {name} among the real ones")
    with rasterio.open(path) as source:
        west, south, east, north = source.bounds
        xmin, ymin, xmax, ymax = transform_bounds(source.crs, crs, west, min(south, north), east, max(south, north))
    index = tmp_path_factory.mktemp("scene") / "i.parquet"
    rs.build_index(pa.table({"href": [str(path)], "item_id": ["i"], "asset": ["a"]}), index)
    return path, index, {"crs": crs, "resolution": max(xmax - xmin, ymax - ymin) / 200}


@dataclass(frozen=True)
class Reading:
    """The first band on a grid, as this package and as GDAL read it: pixels (height, width), and which are valid."""

    mine: np.ndarray
    valid: np.ndarray
    theirs: np.ndarray
    theirs_valid: np.ndarray
    near_ties: np.ndarray


def _read(scene: tuple[Path, Path, dict[str, Any]], method: str) -> Reading:
    path, index, grid = scene
    dataset = rs.to_xarray(index, resampling=method, **grid)
    band, box = next(iter(dataset)), geobox_of(dataset)
    mine = dataset[band][0].values
    with rasterio.open(path) as whole:
        nodata, has_alpha = whole.nodata, ColorInterp.alpha in whole.colorinterp
        # The warper of GDAL's library takes no overviews by itself, that of its program those that lose nothing.
        size = min(PixelMap(whole.crs.to_wkt(), whole.transform[:6], box, source_width=whole.width).scale)
        level = sum(factor <= size * 1.01 for factor in whole.overviews(1))
    with rasterio.open(path, **({"OVERVIEW_LEVEL": level - 1} if level else {})) as source:
        places = PixelMap(source.crs.to_wkt(), source.transform[:6], box, max_error=0, source_width=source.width)
        rows, cols = places.centres()
        # GDAL takes the width of kernels from the sizes of the windows that it reads and writes; ours is that of the
        # pixel's neighbourhood. So GDAL warps the grid once for each width, and gives the pixels that have it.
        scales = np.ones((2, box.height, box.width))
        if method == "bilinear":
            scales[:] = [np.broadcast_to(scale, mine.shape) for scale in places.kernel_scale(0, box.height)]
        theirs, theirs_valid = np.empty_like(mine), np.zeros(mine.shape, bool)
        for rows_scale, cols_scale in np.unique(scales.reshape(2, -1), axis=1).T.tolist():
            with WarpedVRT(
                source, crs=box.crs, transform=rasterio.Affine(*box.transform), width=box.width, height=box.height,
                resampling=Resampling[method],
                # 0 fails, and rasterio.warp.reproject has no such argument that it heeds.
                tolerance=1e-6,
                add_alpha=nodata is None and not has_alpha,
                UNIFIED_SRC_NODATA="NO",
                XSCALE=repr(1 / cols_scale),
                YSCALE=repr(1 / rows_scale),
            ) as warped:  # fmt: skip
                has_width = (scales[0] == rows_scale) & (scales[1] == cols_scale)
                theirs[has_width] = warped.read(1)[has_width]
                theirs_valid[has_width] = warped.read_masks(1)[has_width] > 0
    if f"{band}_valid" in dataset:
        valid = dataset[f"{band}_valid"][0].values
    else:
        valid = np.ones(mine.shape, bool) if nodata is None else mine != nodata
    if rows.ndim == 1:
        rows, cols = np.broadcast_arrays(rows[:, np.newaxis], cols)
    near = [np.abs(of_axis - np.round(of_axis)) < TIE_PIXELS for of_axis in (rows, cols)]
    return Reading(mine, valid & ~np.isnan(mine), theirs, theirs_valid & ~np.isnan(theirs), near[0] | near[1])


def test_nearest_is_that_of_gdal_but_for_ties(scene: tuple[Path, Path, dict[str, Any]]) -> None:
    found = _read(scene, "nearest")
    decided = ~found.near_ties
    assert decided.mean() > 0.8
    np.testing.assert_array_equal(found.valid[decided], found.theirs_valid[decided])
    decided &= found.valid
    assert decided.mean() > 0.05
    np.testing.assert_array_equal(found.mine[decided], found.theirs[decided])


def test_bilinear_is_that_of_gdal(scene: tuple[Path, Path, dict[str, Any]]) -> None:
    found = _read(scene, "bilinear")
    # The edges of what is valid are ties.
    assert not ((found.valid != found.theirs_valid) & ~found.near_ties).any()
    both = found.valid & found.theirs_valid
    assert both.mean() > 0.05
    theirs = found.theirs[both].astype(float)
    difference = np.abs(found.mine[both] - theirs)
    # Places are exact to a hundredth of a pixel: between two pixels that is a hundredth of their difference.
    assert difference.max() <= max(1.0, np.ptp(theirs) / 100)
    assert np.percentile(difference, 99) <= max(1.0, np.ptp(theirs) / 1000)


def test_native_pixels_are_those_of_the_file(scene: tuple[Path, Path, dict[str, Any]]) -> None:
    path, index, _ = scene
    dataset = rs.to_xarray(index)
    band = next(iter(dataset))
    with warnings.catch_warnings():
        # pyproj says so of oblique projections that it writes as CF.
        warnings.filterwarnings("ignore", message=".*lost in conversion to CF")
        opened: Any = rioxarray.open_rasterio(path)
    with opened as source:
        np.testing.assert_array_equal(dataset[band][0], source[0])
        for axis, step in zip("xy", source.rio.resolution(), strict=True):
            np.testing.assert_allclose(dataset[axis], source[axis], rtol=0, atol=1e-6 * abs(step))
        assert dataset.rio.crs == source.rio.crs
        fill = dataset[band].attrs.get("_FillValue")
        if source.rio.nodata is not None or fill is None:
            np.testing.assert_equal(fill, source.rio.nodata)


def test_rasters_in_compound_crss_are_read_onto_other_grids(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "conformance/gdal/autotest/gcore/data/epsg4326_3855_geotiff1_1.tif"
    if not path.is_file():
        pytest.skip(f"no file {path.name} among the real ones")
    rs.build_index(pa.table({"href": [str(path)], "item_id": ["i"], "asset": ["a"]}), tmp_path / "i.parquet")
    dataset = rs.to_xarray(tmp_path / "i.parquet", crs="EPSG:3857", resolution=1_000_000)
    with rasterio.open(path) as source:
        assert set(np.unique(dataset.a)) >= set(np.unique(source.read(1)))


def test_rasters_of_another_planet_are_refused_on_a_grid_of_the_earth(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "scenes/cogeotiff+rio-tiler/tests/fixtures/cog_nonearth.tif"
    if not path.is_file():
        pytest.skip(f"no file {path.name} among the real ones")
    rs.build_index(pa.table({"href": [str(path)], "item_id": ["i"], "asset": ["a"]}), tmp_path / "i.parquet")
    for bbox in (None, (0, 0, 5, 5)):
        with pytest.raises(InvalidArgumentError, match="PROJ knows no way from"):
            rs.to_xarray(tmp_path / "i.parquet", crs="EPSG:4326", resolution=1, bbox=bbox)


def test_rasters_that_go_on_beyond_a_pole_lack_nothing_before_it(tmp_path: Path) -> None:
    data = np.arange(1, 101, dtype="uint16").reshape(10, 10)
    # The second row lies at 90.1 to 80.2 degrees north.
    file = File("i", "a", data, options={"crs": "EPSG:4326", "transform": (9.9, 0, 1, 0, -9.9, 100), "nodata": 0})
    index = make_index(tmp_path, [file])
    dataset = rs.to_xarray(
        index, crs="EPSG:3857", shape=(431, 150), transform=(73792, 0, 111320, 0, -73792, 31_800_000)
    )
    assert (dataset.a[0, 0] == data[1].repeat(15)[: dataset.sizes["x"]]).mean() > 0.9
    assert (dataset.a[0, :200, 1:-1] != 0).all()
