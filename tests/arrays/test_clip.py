"""Reads of a geometry have its pixels, by GDAL's rule, and no others: in arrays, files and pictures."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.features import geometry_mask

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.geo.inside import Outline
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_CRS = "EPSG:32643"
_SIDE = 96
_TRANSFORM = (10.0, 0.0, 8e5, 0.0, -10.0, 14e5)
_TILES = (16, 32, 96)
_PIXELS = np.random.default_rng(3).integers(1, 1000, (_SIDE, _SIDE)).astype("uint16")


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The same pixels in tiles of several sizes."""
    folder = tmp_path_factory.mktemp("clip")
    found = {}
    for tile in _TILES:
        write_cog(folder / f"t{tile}.tif", _PIXELS, crs=_CRS, transform=_TRANSFORM, tile=tile, nodata=0)
        found[tile] = str(rs.build_index(folder / f"t{tile}.tif", folder / f"t{tile}.parquet").path)
    return found


def _star(corners: list[tuple[float, float]], x: float, y: float, size: float) -> shapely.Polygon:
    angles = np.sort([angle for angle, _ in corners])
    radii = np.array([radius for _, radius in corners]) * size
    return shapely.Polygon(np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1))


_CORNERS = st.lists(st.tuples(st.floats(0, 6.28), st.floats(0.2, 1)), min_size=3, max_size=12)


@st.composite
def _areas(draw: st.DrawFn) -> Any:
    """Polygons and multipolygons with holes, inside and across the edges of the raster."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        x, y = 8e5 + draw(st.floats(0, 960)), 14e5 - draw(st.floats(0, 960))
        size = draw(st.floats(20, 600))
        outer = shapely.make_valid(_star(draw(_CORNERS), x, y, size))
        hole = shapely.make_valid(_star(draw(_CORNERS), x, y, size / 3))
        parts.append(shapely.difference(outer, hole) if draw(st.booleans()) else outer)
    merged = shapely.union_all(parts)
    areas = [part for part in shapely.get_parts(merged) if part.geom_type == "Polygon" and part.area > 1]
    return shapely.MultiPolygon(areas) if len(areas) != 1 else areas[0]


def _expected(got: Any, area: Any, *, all_touched: bool) -> npt.NDArray[np.bool_]:
    """What GDAL burns on the grid of a result, where the raster is."""
    a, b, c, d, e, f = got.transform
    shape = got.shape[-2:]
    inside: npt.NDArray[np.bool_] = geometry_mask(
        [area], shape, rasterio.Affine(a, b, c, d, e, f), all_touched=all_touched, invert=True
    )
    cols, rows = c + a * (np.arange(shape[1]) + 0.5), f + e * (np.arange(shape[0]) + 0.5)
    is_there = (rows[:, None] < 14e5) & (rows[:, None] > 14e5 - 960) & (cols > 8e5) & (cols < 8e5 + 960)
    return inside & is_there


@given(
    area=_areas(), tile=st.sampled_from(_TILES), all_touched=st.booleans(), resolution=st.sampled_from([None, 7, 25])
)
@example(
    area=shapely.Polygon([(8e5, 14e5), (800960, 1399040), (8e5, 1399040)]), tile=16, all_touched=False, resolution=None
)
def test_the_mask_of_a_polygon_is_that_of_gdal_whatever_the_tiles(
    indexes: dict[int, str], area: Any, tile: int, all_touched: bool, resolution: float | None
) -> None:
    if area.is_empty or not area.intersects(shapely.box(800001, 1399041, 800959, 1399999)):
        return
    options: dict[str, Any] = {"geometry": area, "geometry_crs": _CRS, "all_touched": all_touched}
    if resolution is not None:
        options |= {"crs": _CRS, "resolution": resolution, "resampling": "bilinear"}
    got = rs.to_numpy(indexes[tile], **options)
    expected = _expected(got, area, all_touched=all_touched)
    np.testing.assert_array_equal(got.mask[0, 0], expected)
    assert (got.data[0, 0][~expected] == 0).all()
    eager = rs.to_xarray(indexes[tile], **options)
    lazy = rs.to_xarray(indexes[tile], **options, chunks={"y": 17, "x": 40})
    (name,) = eager.data_vars
    np.testing.assert_array_equal(eager[name].to_numpy()[0], got.data[0, 0])
    np.testing.assert_array_equal(lazy[name].to_numpy(), eager[name].to_numpy())


@given(area=_areas(), corner=st.tuples(st.integers(-5, 80), st.integers(-5, 80)), all_touched=st.booleans())
def test_a_window_has_the_pixels_of_the_whole(area: Any, corner: tuple[int, int], all_touched: bool) -> None:
    in_pixels = shapely.transform(area, lambda points: (points - (8e5, 14e5)) / (10.0, -10.0))
    outline = Outline.of(in_pixels)
    whole = outline.inside((-10, -10, 130, 130), all_touched=all_touched)
    row, col = corner
    part = pickle.loads(pickle.dumps(outline.near((row, col, 30, 25))))
    np.testing.assert_array_equal(
        part.inside((row, col, 30, 25), all_touched=all_touched), whole[row + 10 : row + 40, col + 10 : col + 35]
    )


@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize("onto", [{}, {"crs": "EPSG:3857", "resolution": 12}, {"crs": "EPSG:4326", "resolution": 2e-4}])
def test_a_polygon_in_another_crs_is_densified(
    indexes: dict[int, str], onto: dict[str, Any], all_touched: bool
) -> None:
    to_lonlat = Transformer.from_crs(_CRS, "OGC:CRS84", always_xy=True)
    triangle = shapely.Polygon([(800103, 1399907), (800907, 1399481), (800207, 1399103)])
    lonlat = shapely.transform(triangle, lambda xy: np.stack(to_lonlat.transform(*xy.T), axis=1))
    got = rs.to_numpy(indexes[16], geometry=lonlat, all_touched=all_touched, **onto)
    to_grid = Transformer.from_crs("OGC:CRS84", got.crs, always_xy=True)
    fine = shapely.transform(shapely.segmentize(lonlat, 1e-6), lambda xy: np.stack(to_grid.transform(*xy.T), axis=1))
    a, _, c, _, e, f = got.transform or ()
    in_pixels = shapely.transform(fine, lambda points: (points - (c, f)) / (a, e))
    if all_touched:
        # GDAL burns pixels beside the many short edges of this polygon, too.
        rows, cols = np.indices(got.shape[-2:])
        covered = shapely.area(shapely.intersection(shapely.box(cols, rows, cols + 1, rows + 1), in_pixels))
        assert got.mask[0, 0][covered > 1e-4].all()
        assert not got.mask[0, 0][covered == 0].any()
        return
    inside = geometry_mask([in_pixels], got.shape[-2:], rasterio.Affine.identity(), invert=True)
    np.testing.assert_array_equal(got.mask[0, 0], inside)


def test_a_mean_over_a_polygon_is_that_of_the_polygon(indexes: dict[int, str]) -> None:
    area = shapely.Polygon([(800103, 1399907), (800907, 1399481), (800207, 1399103)])
    (row,) = rs.to_geopandas(indexes[32], area, geometry_crs=_CRS).itertuples()
    expected = row.pixels[row.mask].mean()
    got = rs.to_numpy(indexes[32], geometry=area, geometry_crs=_CRS)
    assert got.data[got.mask].mean() == expected
    scaled = rs.to_xarray(indexes[32], geometry=area, geometry_crs=_CRS, mask_and_scale=True)
    (name,) = scaled.data_vars
    assert float(scaled[name].astype("f8").mean()) == pytest.approx(expected, rel=1e-12)
    wide = rs.to_numpy(indexes[32], bbox=area.bounds, geometry_crs=_CRS)
    assert wide.mask.all()
    assert wide.shape == got.shape


@pytest.mark.parametrize("dtype", ["uint8", "float32", "complex64"])
def test_pixels_outside_are_told_apart_in_bands_without_a_nodata_value(dtype: str, tmp_path: Path) -> None:
    pixels = (_PIXELS % 200 + 1).astype(dtype)
    write_cog(tmp_path / "x.tif", pixels, crs=_CRS, transform=_TRANSFORM, tile=32)
    index = str(rs.build_index(tmp_path / "x.tif", tmp_path / "i.parquet").path)
    options: dict[str, Any] = {"geometry": shapely.Point(800480, 1399520).buffer(300), "geometry_crs": _CRS}
    expected = rs.to_numpy(index, **options).mask[0, 0]
    for chunks in (None, {"y": 20}):
        dataset = rs.to_xarray(index, chunks=chunks, **options)
        name = next(iter(dataset.data_vars))
        if dtype == "float32":
            valid = ~np.isnan(dataset[name].to_numpy()[0])
        else:
            valid = dataset[f"{name}_valid"].to_numpy()[0]
            assert (dataset[name].to_numpy()[0][~valid] == 0).all()
        np.testing.assert_array_equal(valid, expected)
    assert 0 < expected.sum() < expected.size


def test_files_have_the_pixels_of_the_polygon(indexes: dict[int, str], tmp_path: Path) -> None:
    options: dict[str, Any] = {"geometry": shapely.Point(800480, 1399520).buffer(300), "geometry_crs": _CRS}
    for all_touched in (False, True):
        got = rs.to_numpy(indexes[16], all_touched=all_touched, **options)
        rs.export(indexes[16], tmp_path / "x.tif", all_touched=all_touched, **options)
        with rasterio.open(tmp_path / "x.tif") as file:
            np.testing.assert_array_equal(file.read_masks(1) > 0, got.mask[0, 0])
            np.testing.assert_array_equal(file.read(1), got.data[0, 0])
        (written,) = rs.export(indexes[16], tmp_path / "x.parquet", all_touched=all_touched, **options).files
        assert written.rows == got.mask.sum()


@pytest.mark.parametrize("mosaic", ["first", "max"])
def test_pictures_are_transparent_outside_the_polygon(indexes: dict[int, str], mosaic: str) -> None:
    area = shapely.Point(800480, 1399520).buffer(300)
    drawn = rs.picture(indexes[16], geometry=area, geometry_crs=_CRS, mosaic=mosaic)
    got = rs.to_numpy(indexes[16], geometry=area, geometry_crs=_CRS)
    assert drawn.transform == got.transform
    np.testing.assert_array_equal(drawn.pixels[..., 3] > 0, got.mask[0, 0])
    wider = rs.picture(indexes[16], geometry=area, geometry_crs=_CRS, mosaic=mosaic, all_touched=True)
    assert (wider.pixels[..., 3] > 0).sum() > (drawn.pixels[..., 3] > 0).sum()


def test_a_geometry_beside_a_given_grid_is_refused(indexes: dict[int, str]) -> None:
    like = {"crs": _CRS, "transform": (10.0, 0, 8e5, 0, -10.0, 14e5), "height": 20, "width": 20}
    with pytest.raises(EmptyReadError, match="lies outside the grid in EPSG:32643 with bounds"):
        rs.to_numpy(indexes[16], geometry=shapely.box(800500, 1399100, 800600, 1399200), geometry_crs=_CRS, like=like)
    with pytest.raises(InvalidArgumentError, match="all_touched: got 'yes', expected True or False"):
        rs.to_numpy(indexes[16], geometry=shapely.box(800500, 1399100, 800600, 1399200), all_touched="yes")
