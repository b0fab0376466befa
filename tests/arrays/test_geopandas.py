"""Rows of item, geometry and band, held against rasterio's windows and masks."""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, EmptyReadError, InvalidArgumentError
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from pathlib import Path

# rasterio multiplies transforms in a way that affine is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

UTM = "EPSG:32643"
TRANSFORM = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)


def _write(folder: Path, name: str, **options: Any) -> np.ndarray:
    size = options.pop("size", (96, 128))
    data = np.random.default_rng(sum(map(ord, name))).integers(0, 50, size, np.uint16)
    defaults = {"transform": TRANSFORM, "overviews": (2,), "nodata": 0}
    write_cog(folder / f"{name}.tif", data, tile=32, **defaults | options)
    return data


def _index(folder: Path, *names: str, base: str | None = None) -> Path:
    """Make an index of files named item_asset.tif, one day apart."""
    rows = [
        {
            "href": f"{base or f'{folder}/'}{name}.tif", "item_id": name.split("_")[0], "asset": name.split("_")[1],
            "datetime": dt.datetime(2024, 1, 1 + "abc".index(name[0]), tzinfo=dt.UTC), "collection": "c",
        }
        for name in names
    ]  # fmt: skip
    rs.build_index(pa.Table.from_pylist(rows), folder / "i.parquet")
    return folder / "i.parquet"


def _fields(count: int = 12, seed: int = 0) -> gpd.GeoDataFrame:
    """Fields of some hundred metres on and around the raster."""
    rng = np.random.default_rng(seed)
    middles = rng.uniform((599_900, 1_398_900), (601_400, 1_400_100), (count, 2))
    shapes = [
        shapely.Polygon(middle + rng.uniform(30, 250) * np.stack([np.cos(turns), np.sin(turns)], axis=1))
        for middle, turns in ((each, np.sort(rng.uniform(0, 2 * np.pi, 7))) for each in middles)
    ]
    return gpd.GeoDataFrame({"crop": [f"crop {n}" for n in range(count)]}, geometry=shapes, crs=UTM)


def _assert_as_rasterio_has_it(row: Any, path: Path, *, all_touched: bool = False) -> None:
    with rasterio.open(path) as source:
        window = source.window(*rasterio.windows.bounds(_window_of(row), Affine(*row.transform)))
        pixels = source.read(1, window=window)
        assert pixels.shape == row.pixels.shape
        inside = geometry_mask(
            [row.geometry], pixels.shape, Affine(*row.transform), invert=True, all_touched=all_touched
        )
        np.testing.assert_array_equal(row.mask, inside & (pixels != source.nodata))
        np.testing.assert_array_equal(row.pixels[inside], pixels[inside])


def _window_of(row: Any) -> rasterio.windows.Window:
    height, width = row.pixels.shape
    return rasterio.windows.Window(0, 0, width, height)


@pytest.mark.parametrize("all_touched", [False, True])
def test_each_row_is_the_window_and_mask_of_its_geometry(tmp_path: Path, all_touched: bool) -> None:
    for name in ("a_red", "a_nir", "b_red", "b_nir"):
        _write(tmp_path, name)
    index = _index(tmp_path, "a_red", "a_nir", "b_red", "b_nir")
    fields = _fields(30)
    rows = rs.to_geopandas(index, fields, bands=["red", "nir"], all_touched=all_touched)
    box = shapely.box(600_000, 1_400_000 - 960, 601_280, 1_400_000)
    on_it = [number for number, field in enumerate(fields.geometry) if field.intersection(box).area > 0]
    assert 5 < len(on_it) < 30
    assert rows.index.tolist() == [number for number in on_it for _ in range(4)]
    assert list(zip(rows.item_id, rows.band, strict=True)) == [
        (item, band) for _ in on_it for item in "ab" for band in ("red", "nir")
    ]
    for row in rows.itertuples():
        _assert_as_rasterio_has_it(row, tmp_path / f"{row.item_id}_{row.band}.tif", all_touched=all_touched)


def test_columns_index_and_crs_of_the_geometries_are_kept(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    index = _index(tmp_path, "a_red")
    fields = _fields().rename_geometry("outline").set_index("crop")
    fields["area"] = fields.area
    rows = rs.to_geopandas(index, fields, bands=["red"])
    assert isinstance(rows, gpd.GeoDataFrame)
    assert list(rows.columns) == [
        "area", "item_id", "collection", "datetime", "band", "outline", "pixels", "mask", "transform", "crs", "nodata",
    ]  # fmt: skip
    assert rows.crs == fields.crs
    assert rows.geometry.name == "outline"
    assert rows.index.name == "crop"
    assert (rows["area"] == fields.loc[rows.index, "area"]).all()
    assert rows.geometry.geom_equals(fields.loc[rows.index].geometry).all()
    assert rows["crs"].unique().tolist() == [UTM]
    assert set(rows.collection) == {"c"}
    assert set(rows.nodata) == {0.0}
    assert rows.datetime.iloc[0] == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def test_geometries_come_in_many_forms(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    index = _index(tmp_path, "a_red")
    fields = _fields(8).to_crs("OGC:CRS84")
    expected = rs.to_geopandas(index, fields)
    shapes = fields.geometry.tolist()
    for form in (
        fields.geometry,
        shapes,
        [shape.wkt for shape in shapes],
        [shape.wkb for shape in shapes],
        [shape.__geo_interface__ for shape in shapes],
        fields.to_crs("EPSG:4326"),
    ):
        found = rs.to_geopandas(index, form)
        assert found.index.tolist() == expected.index.tolist()
        for one, other in zip(found["mask"], expected["mask"], strict=True):
            np.testing.assert_array_equal(one, other)
    utm = fields.to_crs(UTM)
    one = rs.to_geopandas(index, shapely.box(600_100, 1_399_500, 600_200, 1_399_600), geometry_crs=UTM)
    assert one["pixels"].iloc[0].shape == (10, 10)
    assert one.crs == utm.crs


def test_a_geometry_in_another_crs_is_masked_as_when_it_is_projected_first(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    index = _index(tmp_path, "a_red")
    fields = _fields(20)
    here = rs.to_geopandas(index, fields)
    there = rs.to_geopandas(index, fields.to_crs("EPSG:4326"))
    assert here.index.tolist() == there.index.tolist()
    differing = sum((one != other).sum() for one, other in zip(here["mask"], there["mask"], strict=True))
    assert differing == 0


def test_items_of_any_crs_and_resolution_are_read_on_their_own_grids(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "b_red", transform=(20.0, 0.0, 600_000.0, 0.0, -20.0, 1_400_000.0), size=(48, 64))
    _write(tmp_path, "c_red", transform=(0.001, 0.0, 75.92, 0.0, -0.001, 12.67), crs="EPSG:4326", size=(40, 40))
    index = _index(tmp_path, "a_red", "b_red", "c_red")
    rows = rs.to_geopandas(index, shapely.box(75.925, 12.655, 75.928, 12.658))
    assert rows["crs"].tolist() == [UTM, UTM, "EPSG:4326"]
    fine, coarse, lonlat = (row.pixels.shape for row in rows.itertuples())
    assert fine[0] > 1.8 * coarse[0]
    assert lonlat == (3, 3)
    assert rows["mask"].iloc[2].sum() == (rows["pixels"].iloc[2] != 0).sum()


def test_each_tile_is_fetched_once_however_many_geometries_share_it(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    with RangeServer(tmp_path) as server:
        index = _index(tmp_path, "a_red", base=server.url(""))
        # All within the tile (row 1, col 1).
        small = [shapely.box(600_330 + n, 1_399_600 - n, 600_400 + n, 1_399_670 - n) for n in range(200)]
        server.reset()
        rows = rs.to_geopandas(index, small, geometry_crs=UTM)
        assert len(rows) == 200
        assert len(server.requests) == 1
        ((start, end),) = server.ranges_of("a_red.tif")
        assert start is not None
        assert end is not None
        ((nbytes,),) = (
            rs.connect()
            .sql(f"SELECT tile_byte_count FROM tile_plan('{index}', level := 0) WHERE tile_row = 1 AND tile_col = 1")
            .fetchall()
        )
        assert end - start == nbytes


def test_tiles_that_a_geometry_does_not_touch_are_not_read_for_it(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    with RangeServer(tmp_path) as server:
        index = _index(tmp_path, "a_red", base=server.url(""))
        corner = shapely.Polygon(
            [(600_010, 1_399_990), (600_010, 1_399_100), (600_030, 1_399_100), (601_200, 1_399_990)]
        )
        server.reset()
        row = next(rs.to_geopandas(index, corner, geometry_crs=UTM).itertuples())
        whole = rs.to_geopandas(index, shapely.box(600_000, 1_399_040, 601_280, 1_400_000), geometry_crs=UTM)
        assert (row.pixels[64:, 70:] == 0).all()
        assert not row.mask[64:, 70:].any()
        assert (whole.iloc[0]["pixels"][64:, 70:] != 0).any()


def test_a_bow_tie_points_and_lines_are_geometries_too(tmp_path: Path) -> None:
    data = _write(tmp_path, "a_red", nodata=None)
    index = _index(tmp_path, "a_red")
    bow_tie = shapely.Polygon([(600_100, 1_399_900), (600_500, 1_399_500), (600_500, 1_399_900), (600_100, 1_399_500)])
    shapes = [
        bow_tie,
        shapely.Point(600_105, 1_399_895),
        shapely.LineString([(600_005, 1_399_995), (600_055, 1_399_995)]),
    ]
    rows = rs.to_geopandas(index, shapes, geometry_crs=UTM)
    assert not bow_tie.is_valid
    assert rows["mask"].iloc[0].shape == (40, 40)
    assert 700 < rows["mask"].iloc[0].sum() < 900
    assert rows["pixels"].iloc[1].tolist() == [[data[10, 10]]]
    assert rows["mask"].iloc[1].all()
    assert rows["pixels"].iloc[2].tolist() == [data[0, :6].tolist()]
    assert set(rows.nodata) == {None}


def test_geometries_over_the_antimeridian_are_read_on_both_of_its_sides(tmp_path: Path) -> None:
    west = _write(tmp_path, "a_red", transform=(0.01, 0.0, 178.72, 0.0, -0.01, 0.96), crs="EPSG:4326", nodata=None)
    east = _write(tmp_path, "b_red", transform=(0.01, 0.0, -180.0, 0.0, -0.01, 0.96), crs="EPSG:4326", nodata=None)
    index = _index(tmp_path, "a_red", "b_red")
    rows = rs.to_geopandas(index, shapely.box(179.9, 0.4, 180.2, 0.5))
    assert rows.item_id.tolist() == ["a", "b"]
    np.testing.assert_array_equal(rows["pixels"].iloc[0], west[46:56, 118:128])
    np.testing.assert_array_equal(rows["pixels"].iloc[1], east[46:56, 0:20])
    assert all(mask.all() for mask in rows["mask"])


def test_levels_are_chosen_as_in_other_reads(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    index = _index(tmp_path, "a_red")
    shape = shapely.box(600_100, 1_399_500, 600_200, 1_399_600)
    for options in ({"level": 1}, {"resolution": 20}):
        row = next(rs.to_geopandas(index, shape, geometry_crs=UTM, **options).itertuples())
        assert row.pixels.shape == (5, 5)
        assert row.transform == (20.0, 0.0, 600_100.0, 0.0, -20.0, 1_399_600.0)


def test_a_file_that_fails_is_an_error_or_listed_and_never_dropped(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "b_red")
    index = _index(tmp_path, "a_red", "b_red")
    (tmp_path / "b_red.tif").unlink()
    shape = shapely.box(600_100, 1_399_500, 600_200, 1_399_600)
    with pytest.raises(AssetNotFoundError, match=r"b_red\.tif"):
        rs.to_geopandas(index, shape, geometry_crs=UTM)
    rows = rs.to_geopandas(index, shape, geometry_crs=UTM, on_error="nodata")
    assert rows.item_id.tolist() == ["a", "b"]
    assert [bool(mask.any()) for mask in rows["mask"]] == [True, False]
    (failed,) = rows.attrs["failed"]
    assert 'asset "red" of item b' in failed


def test_bad_arguments_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    index = _index(tmp_path, "a_red")
    fields = _fields()
    for message, geometries, options in (
        (r"got the column mask", fields.assign(mask=1), {}),
        (r"some without a CRS", gpd.GeoSeries(fields.geometry.tolist()), {}),
        (r"say that they are in WGS 84 / UTM zone 43N", fields, {"geometry_crs": "EPSG:4326"}),
        (r"got int, expected a GeoDataFrame", 7, {}),
        (r"geometries: got 'somewhere'", ["somewhere"], {}),
        (r"got none, expected one or more", [], {}),
        (r"on_error: got 'skip'", fields, {"on_error": "skip"}),
        (r"crs: got 'EPSG:1'", [shapely.Point(0, 0)], {"geometry_crs": "EPSG:1"}),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            rs.to_geopandas(index, geometries, **options)
    with pytest.raises(EmptyReadError, match="touches none"):
        rs.to_geopandas(index, shapely.box(10, 10, 11, 11))
    with pytest.raises(EmptyReadError, match="not empty"):
        rs.to_geopandas(index, [shapely.Polygon(), None])


def test_two_files_of_one_band_and_item_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "a_red")
    _write(tmp_path, "b_red")
    index = _index(tmp_path, "a_red", "b_red")
    query = f"SELECT * REPLACE ('same' AS item_id, '2024-01-01'::TIMESTAMPTZ AS datetime) FROM '{index}'"
    with pytest.raises(InvalidArgumentError, match=r"got two, .*a_red\.tif and .*b_red\.tif"):
        rs.to_geopandas(query, _fields())


def test_without_geopandas_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(InvalidArgumentError, match=r"rasteret-sql\[geopandas\]"):
        rs.to_geopandas(tmp_path / "i.parquet", [])
