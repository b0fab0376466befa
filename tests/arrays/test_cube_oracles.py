"""Cubes held against odc-stac, rioxarray, rasterio and gdalwarp on the same inputs and the same grid."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import rioxarray

import rasteret_sql as rs
from rasteret_sql.geo.like import geobox_of
from rasteret_sql.geo.pixelmap import PixelMap
from rasteret_sql.geo.resampling import AREA_METHODS
from tests.arrays.cube_files import File, at, make_index, noise, smooth, stac_items, ties

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

pytestmark = [
    # rasterio multiplies transforms in a way that affine is about to drop.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def _odc(folder: Path, files: list[File], **options: Any) -> xr.Dataset:
    """What odc-stac loads; it takes nodata and dtype from STAC, so they are said."""
    reason = "odc-stac, with the odc-geo and odc-loader that it brings, is not installed"
    stac = pytest.importorskip("odc.stac", reason=reason)
    return stac.load(stac_items(folder, files), nodata=0, dtype="uint16", **options)


def _gdalwarp(source: Path, dataset: xr.Dataset, method: str, *options: str) -> np.ndarray:
    """What gdalwarp makes of a file on the grid of a dataset, without approximation."""
    if shutil.which("gdalwarp") is None:
        pytest.skip("gdalwarp, the exact oracle, is not installed; Debian's gdal-bin has it")
    out = source.with_suffix(f".{method}.warped.tif")
    # The wheels of rasterio bring a PROJ database that another GDAL does not read.
    command = [
        "gdalwarp", "-q", "-overwrite", "-et", "0", "-ovr", "NONE", "-t_srs", dataset.rio.crs.to_string(),
        "-te", *map(repr, map(float, dataset.rio.bounds())), "-ts", str(dataset.sizes["x"]), str(dataset.sizes["y"]),
        "-r", method, *options, str(source), str(out),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin:/usr/local/bin"})
    with rasterio.open(out) as warped:
        pixels: np.ndarray = warped.read(1)
    return pixels


def _gdal_version() -> tuple[int, ...]:
    """The version of gdalwarp; () where it is not installed."""
    if shutil.which("gdalwarp") is None:
        return ()
    said = subprocess.run(["gdalwarp", "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(int(part) for part in said.split(",")[0].removeprefix("GDAL ").split(".")[:2])


@pytest.fixture
def two_zones(tmp_path: Path) -> tuple[Path, list[File]]:
    """The same ground from two UTM zones, at 78 degrees east where they meet."""
    files = [
        File("a", "red", smooth((120, 140)), 1, options={"nodata": 0, "transform": at(825_000)}),
        File("b", "red", smooth((130, 120)), 2, options={"nodata": 0, "transform": at(174_000, 1_400_200), "crs": "EPSG:32644"}),
    ]  # fmt: skip
    files[0].data[10:20, 30:40] = 0
    return make_index(tmp_path, files), files


def test_native_pixels_are_those_of_rioxarray_and_odc_stac(tmp_path: Path) -> None:
    files = [
        File("a", "red", noise(1), 1, options={"nodata": 0}),
        File("b", "red", noise(2), 2, options={"nodata": 0, "transform": at(600_320, 1_400_160)}),
    ]
    dataset = rs.to_xarray(make_index(tmp_path, files))
    for number, file in enumerate(files):
        source = rioxarray.open_rasterio(tmp_path / file.name)[0]
        np.testing.assert_array_equal(dataset.red[number].sel(x=source.x, y=source.y), source)
        assert int((dataset.red[number] != 0).sum()) == source.size
    peer = _odc(tmp_path, files)
    np.testing.assert_array_equal(dataset.x, peer.x)
    np.testing.assert_array_equal(dataset.y, peer.y)
    np.testing.assert_array_equal(dataset.red, peer.red)
    assert dataset.rio.crs == peer.rio.crs


def test_overviews_are_chosen_as_odc_stac_chooses_them(tmp_path: Path) -> None:
    files = [File("a", "red", noise(1, (128, 96)), options={"nodata": 0, "overviews": (2, 4)})]
    index = make_index(tmp_path, files)
    for resolution in (20, 40):
        dataset = rs.to_xarray(index, resolution=resolution)
        peer = _odc(tmp_path, files, crs="EPSG:32643", resolution=resolution)
        np.testing.assert_array_equal(dataset.red, peer.red)


def test_bands_of_three_resolutions_come_on_the_finest_as_from_odc_stac(tmp_path: Path) -> None:
    files = [
        File("a", asset, noise(size, (1920 // size, 1200 // size)), options={"transform": at(size=size), "nodata": 0})
        for asset, size in (("red", 10), ("swir", 20), ("aerosol", 60))
    ]
    dataset = rs.to_xarray(make_index(tmp_path, files), bands=["red", "swir", "aerosol"])
    assert list(dataset) == ["red", "swir", "aerosol"]
    peer = _odc(tmp_path, files, like=dataset.odc.geobox) if hasattr(dataset, "odc") else None
    for file, size in zip(files, (10, 20, 60), strict=True):
        # Each coarse pixel is repeated: no pixel lies interleaved with those of another resolution.
        expected = file.data.repeat(size // 10, 0).repeat(size // 10, 1)
        np.testing.assert_array_equal(dataset[file.asset][0], expected)
        if peer is not None:
            np.testing.assert_array_equal(dataset[file.asset], peer[file.asset])


def test_nearest_in_another_crs_is_that_of_odc_stac_but_for_ties(two_zones: tuple[Path, list[File]]) -> None:
    index, files = two_zones
    for options in ({"crs": "EPSG:4326", "resolution": 0.0001}, {"crs": "EPSG:32643", "resolution": 15}):
        dataset = rs.to_xarray(index, **options)
        assert dataset.item_id.values.tolist() == ["a", "b"]
        peer = _odc(index.parent, files, like=dataset.odc.geobox)
        for number, file in enumerate(files):
            mine, theirs = dataset.red[number].values, peer.red[number].values
            near = ties(dataset, index.parent / file.name)
            assert near.mean() < 0.6
            np.testing.assert_array_equal(mine[~near], theirs[~near])
            # At ties it is one of the neighbours, and coverage differs by the outermost pixels at most.
            assert ((mine == 0) != (theirs == 0)).mean() < 0.01
            assert (mine != 0).mean() > 0.3


def test_overlaps_become_what_odc_stac_makes_of_them(two_zones: tuple[Path, list[File]]) -> None:
    index, files = two_zones
    dataset = rs.to_xarray(f"FROM '{index}' ORDER BY item_id", crs="EPSG:32643", resolution=10, groupby="collection")
    peer = _odc(index.parent, files, like=dataset.odc.geobox, groupby=lambda *_: 0)
    near = ties(dataset, index.parent / files[0].name) | ties(dataset, index.parent / files[1].name)
    np.testing.assert_array_equal(dataset.red[0].values[~near], peer.red[0].values[~near])
    assert (dataset.red == 0).sum() < dataset.red.size


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "average", "mode", "min", "max"])
@pytest.mark.parametrize("grid", [("EPSG:4326", 0.00009), ("EPSG:3857", 25)])
def test_every_method_is_that_of_gdalwarp(
    two_zones: tuple[Path, list[File]], method: str, grid: tuple[str, float]
) -> None:
    if method == "mode" and _gdal_version() >= (3, 11):
        pytest.skip("this GDAL weighs modes by area; tests/read/test_resample.py holds both rules against each other")
    index, files = two_zones
    dataset = rs.to_xarray(f"FROM '{index}' WHERE item_id = 'a'", crs=grid[0], resolution=grid[1], resampling=method)
    mine = dataset.red[0].values.astype(int)
    source = at(825_000)
    rows, cols = PixelMap("EPSG:32643", source, geobox_of(dataset)).largest_scale
    # gdalwarp takes the width of kernels from the sizes of the windows that it reads and writes; ours is that of a pixel.
    widths = ["-wo", f"XSCALE={1 / cols}", "-wo", f"YSCALE={1 / rows}"]
    name = "near" if method == "nearest" else method
    theirs = _gdalwarp(index.parent / files[0].name, dataset, name, *widths).astype(int)
    both = (mine != 0) & (theirs != 0)
    assert both.mean() > 0.4
    assert ((mine != 0) & (theirs == 0)).mean() < 0.001
    # gdalwarp gives a value to areas that lie beside the image, too, by up to one of its pixels.
    assert ((mine == 0) & (theirs != 0)).mean() < (0.02 if method in AREA_METHODS else 0.001)
    difference = np.abs(mine - theirs)[both]
    if method in {"bilinear", "cubic", "average"}:
        # Two versions of PROJ, and a lattice that is exact to a hundredth of a pixel.
        assert difference.max() <= 4
        assert (difference <= 1).mean() > 0.99
    else:
        assert (difference == 0).mean() > 0.985


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("float32", np.nan), ("float32", -9999.0), ("uint16", None), ("int16", -32768)]
)
def test_gaps_are_those_of_rioxarray_and_gdalwarp(tmp_path: Path, dtype: str, nodata: float | None) -> None:
    data = smooth((90, 100), dtype)
    data[20:40, 30:50] = 7 if nodata is None else nodata
    options = {} if nodata is None else {"nodata": nodata}
    index = make_index(tmp_path, [File("a", "red", data, options=options)])
    native = rs.to_xarray(index).red
    source = rioxarray.open_rasterio(tmp_path / "a_red.tif")
    np.testing.assert_array_equal(native, source)
    np.testing.assert_equal(
        native.attrs.get("_FillValue", None), source.rio.nodata if dtype != "float32" or nodata is not None else np.nan
    )
    physical = rs.to_xarray(index, mask_and_scale=True).red
    assert int(np.isnan(physical).sum()) == (0 if nodata is None else 400)
    warped = rs.to_xarray(index, crs="EPSG:4326", resolution=0.0001, resampling="bilinear")
    fill = [] if nodata is None else ["-dstnodata", str(nodata)]
    theirs = _gdalwarp(tmp_path / "a_red.tif", warped, "bilinear", *fill)
    mine = warped.red[0].values
    inside = np.s_[8:-8, 8:-8]
    if nodata is not None:

        def gap(pixels: np.ndarray) -> np.ndarray:
            return np.isnan(pixels) if np.isnan(nodata) else pixels == nodata

        assert (gap(mine) != gap(theirs)).mean() < 0.003
        assert gap(mine[inside]).any()
        both = ~gap(mine) & ~gap(theirs)
        assert mine[both].min() > 400, "nothing lies between data and nodata"
        assert np.abs(mine[both].astype(float) - theirs[both]).max() < 40
    else:
        assert "red_valid" in warped
        assert warped.red_valid[0].values[inside].all()
        assert np.abs(mine[inside].astype(float) - theirs[inside]).max() < 40


def test_internal_masks_and_alpha_leave_no_trace_of_what_they_hide(tmp_path: Path) -> None:
    hidden = np.zeros((64, 64), bool)
    hidden[10:30, 10:40] = True
    data = np.where(hidden, 250, smooth((64, 64)) // 40 + 1).astype("uint8")
    alpha = np.where(hidden, 0, 255).astype("uint8")
    files = [
        File("a", "red", data, mask=~hidden),
        File("a", "pair", np.stack([data, alpha]), options={"alpha": True}),
    ]
    index = make_index(tmp_path, files)
    for band in ("red", "pair:1"):
        native = rs.to_xarray(index, bands=[band])
        np.testing.assert_array_equal(native[f"{band}_valid"][0], ~hidden)
        np.testing.assert_array_equal(native[band][0], np.where(hidden, 0, data))
        for method in ("nearest", "bilinear", "max"):
            warped = rs.to_xarray(index, bands=[band], crs="EPSG:4326", resolution=0.0001, resampling=method)
            valid = warped[f"{band}_valid"][0].values
            assert warped[band][0].values[valid].max() < 100
            assert (warped[band][0].values[~valid] == 0).all()
            assert (~valid[8:-8, 8:-8]).any()
    theirs = _gdalwarp(tmp_path / "a_red.tif", warped, "near", "-dstnodata", "0")
    nearest = rs.to_xarray(index, bands=["red"], crs="EPSG:4326", resolution=0.0001)
    assert (nearest.red[0].values != theirs).mean() < 0.003


def test_rasters_with_south_up_are_turned_on_grids_and_stay_on_their_own(tmp_path: Path) -> None:
    data = noise(3, (50, 60))
    north_up = File("n", "red", data, options={"nodata": 0})
    south_up = File("s", "red", data[::-1], options={"nodata": 0, "transform": at(north=1_399_500, south_up=True)})
    index = make_index(tmp_path, [north_up, south_up])
    own = rs.to_xarray(f"FROM '{index}' WHERE item_id = 's'")
    np.testing.assert_array_equal(own.red[0], data[::-1])
    assert own.y.values[0] < own.y.values[-1]
    np.testing.assert_array_equal(own.red[0].sortby("y", ascending=False), data)
    for options in ({"resolution": 10}, {"crs": "EPSG:32643", "resolution": 10}):
        turned = rs.to_xarray(f"FROM '{index}' WHERE item_id = 's'", **options)
        straight = rs.to_xarray(f"FROM '{index}' WHERE item_id = 'n'", **options)
        np.testing.assert_array_equal(turned.red, straight.red)
        np.testing.assert_array_equal(turned.red[0], data)
        np.testing.assert_array_equal(turned.y, straight.y)
    together = rs.to_xarray(index, crs="EPSG:4326", resolution=0.0001, resampling="cubic").red.values
    np.testing.assert_array_equal(together[0], together[1])
    theirs = _gdalwarp(tmp_path / "s_red.tif", rs.to_xarray(index, crs="EPSG:4326", resolution=0.0001), "near")
    mine = rs.to_xarray(index, crs="EPSG:4326", resolution=0.0001).red[1].values
    assert (mine != theirs).mean() < 0.003


def test_zones_1_and_60_meet_at_the_antimeridian(tmp_path: Path) -> None:
    files = [
        File("west", "red", smooth((100, 120)), 1, options={"nodata": 0, "crs": "EPSG:32660", "transform": at(833_000, 101_000)}),
        File("east", "red", smooth((100, 120)), 2, options={"nodata": 0, "crs": "EPSG:32601", "transform": at(166_000, 101_000)}),
    ]  # fmt: skip
    index = make_index(tmp_path, files)
    grids: list[dict[str, Any]] = [
        {"crs": "EPSG:4326", "resolution": 0.0001},
        {"crs": "EPSG:4326", "resolution": 0.0001, "bbox": (179.995, 0.903, -179.992, 0.912)},
        {"crs": "EPSG:32660", "resolution": 10},
        {"crs": "EPSG:3832", "resolution": 12},
    ]
    for options in grids:
        dataset = rs.to_xarray(index, **options)
        assert dataset.sizes["x"] < 500, "the grid goes on over the antimeridian, not around the Earth"
        assert (np.diff(dataset.x.values) > 0).all()
        for number, file in enumerate(files):
            theirs = _gdalwarp(tmp_path / file.name, dataset, "near", "--config", "CENTER_LONG", "180")
            mine = dataset.red[number].values
            assert (mine != 0).mean() > 0.15
            assert (mine != theirs).mean() < 0.01
    crossing = rs.to_xarray(index, **grids[1])
    assert float(crossing.x[0]) < 180 < float(crossing.x[-1])


def test_longitudes_on_both_sides_of_the_antimeridian_are_one_grid(tmp_path: Path) -> None:
    data = noise(5, (50, 200))
    files = [
        File("w", "red", data[:, :100], 1, options={"nodata": 0, "crs": "EPSG:4326", "transform": at(179, 5, 0.01)}),
        File("e", "red", data[:, 100:], 1, options={"nodata": 0, "crs": "EPSG:4326", "transform": at(-180, 5, 0.01)}),
    ]
    index = make_index(tmp_path, files)
    area = {"bbox": (179.5, 4.6, -179.5, 4.9)}
    for options in ({}, {"resolution": 0.01}, {"crs": "EPSG:4326", "resolution": 0.01}):
        whole = rs.to_xarray(index, groupby="time", **options)
        np.testing.assert_array_equal(whole.red[0], data)
        np.testing.assert_allclose(whole.x[[0, -1]], [179.005, 180.995])
        part = rs.to_xarray(index, groupby="time", **area, **options)
        np.testing.assert_array_equal(part.red[0], data[10:40, 50:150])
        lazy = rs.to_xarray(index, groupby="time", chunks={"x": 7, "y": 11}, **options)
        np.testing.assert_array_equal(lazy.red[0], data)
    # A grid east of Greenwich takes the western file one turn further on.
    east = rs.to_xarray(index, groupby="time", crs="EPSG:4326", shape=(50, 100), transform=at(180, 5, 0.01))
    np.testing.assert_array_equal(east.red[0], data[:, 100:])


def test_rasters_around_the_earth_have_no_seam(tmp_path: Path) -> None:
    data = noise(6, (18, 36))
    index = make_index(tmp_path, [File("a", "red", data, options={"crs": "EPSG:4326", "transform": at(-180, 90, 10)})])
    turned = rs.to_xarray(index, crs="EPSG:4326", shape=(18, 36), transform=at(0, 90, 10))
    np.testing.assert_array_equal(turned.red[0], np.roll(data, -18, axis=1))
    assert "red_valid" not in turned
    same = rs.to_xarray(index, crs="EPSG:4326", resolution=10)
    np.testing.assert_array_equal(same.red[0], data)
