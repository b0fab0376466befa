"""Collections for demos and benchmarks: STAC that pystac reads, files that rasterio reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import shapely
import tifffile
from rasterio.warp import Resampling, reproject

from rasteret_sql.apps.demo.collection import bench_collection, write_collection
from rasteret_sql.errors import InvalidArgumentError


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection"), size=384, tile=128, without_cloud_cover=[2])


@pytest.fixture(scope="module")
def items(collection):
    catalog = pystac.Catalog.from_file(str(collection.document))
    return list(catalog.get_items(recursive=True))


def test_pystac_finds_each_item_with_its_time_crs_and_assets(collection, items):
    assert [item.id for item in items] == [one.item_id for one in collection.items]
    assert [item.id for item in items][:2] == ["S2A_43PHQ_20240105_0_L2A", "S2A_44PJV_20240305_0_L2A"]
    for item, info in zip(items, collection.items, strict=True):
        assert item.datetime == info.when
        assert item.properties["proj:code"] == f"EPSG:{info.epsg}"
        assert list(item.assets) == ["blue", "green", "red", "nir", "scl", "thumbnail"]
        assert item.collection_id == collection.collection_id
        assert item.get_collection().id == collection.collection_id
    assert {info.epsg for info in collection.items} == {32643, 32644}


def test_every_link_and_asset_resolves_and_is_relative(collection):
    documents = list(collection.folder.rglob("*.json"))
    assert len(documents) == 2 + len(collection.items)
    for path in documents:
        document = json.loads(path.read_text())
        hrefs = [one["href"] for one in (*document["links"], *document.get("assets", {}).values())]
        assert hrefs
        for href in hrefs:
            assert not href.startswith("/")
            assert (path.parent / href).is_file()


def test_the_description_of_each_asset_is_that_of_its_file(items):
    for item in items:
        for key, asset in item.assets.items():
            if key == "thumbnail":
                assert asset.media_type == "image/jpeg"
                continue
            with rasterio.open(asset.get_absolute_href()) as image:
                band = asset.extra_fields["raster:bands"][0]
                assert list(image.shape) == asset.extra_fields["proj:shape"]
                assert list(image.transform) == asset.extra_fields["proj:transform"]
                assert image.crs.to_string() == item.properties["proj:code"]
                assert image.dtypes[0] == band["data_type"]
                assert image.nodata == band["nodata"]
                assert image.scales[0] == band.get("scale", 1)
                assert image.overviews(1) == [2, 4]
                assert image.block_shapes == [(128, 128)]
                assert image.compression.name == "deflate"
                assert image.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_cloud_cover_is_measured_and_may_be_missing(collection, items):
    for number, (item, info) in enumerate(zip(items, collection.items, strict=True)):
        with rasterio.open(info.assets["scl"]) as image:
            scl = image.read(1)
        assert info.cloud_cover == pytest.approx(100 * np.isin(scl, (8, 9)).sum() / (scl > 0).sum(), abs=1.5)
        if number == 2:
            assert "eo:cloud_cover" not in item.properties
        else:
            assert item.properties["eo:cloud_cover"] == pytest.approx(info.cloud_cover, abs=1e-3)


def test_footprints_hold_the_valid_pixels_and_nothing_else(collection, items):
    some_nodata = 0
    for item, info in zip(items, collection.items, strict=True):
        footprint = shapely.geometry.shape(item.geometry)
        assert footprint.is_valid
        assert footprint.exterior.is_ccw
        assert item.bbox == pytest.approx(footprint.bounds)
        with rasterio.open(info.assets["red"]) as image:
            valid = image.read(1) > 0
            rows, cols = np.mgrid[4:384:20, 4:384:20]
            x, y = rasterio.transform.xy(image.transform, rows.ravel(), cols.ravel())
            lon, lat = rasterio.warp.transform(image.crs, "EPSG:4326", x, y)
        inside = shapely.contains_xy(footprint, lon, lat)
        assert (inside == valid[rows.ravel(), cols.ravel()]).mean() > 0.98
        some_nodata += not valid.all()
    assert some_nodata == 1


def test_the_site_is_seen_by_every_item(collection):
    site = shapely.box(*collection.site)
    assert 0.004 < site.bounds[2] - site.bounds[0] < 0.02
    for info in collection.items:
        assert shapely.geometry.shape(json.loads(info.path.read_text())["geometry"]).contains(site)


def test_both_zones_show_the_same_ground(collection):
    first, second = collection.items[:2]
    with rasterio.open(first.assets["nir"]) as here, rasterio.open(second.assets["nir"]) as there:
        target, source = here.read(1).astype("float32"), there.read(1).astype("float32")
        warped = np.zeros_like(target)
        reproject(
            source, warped, src_transform=there.transform, src_crs=there.crs, dst_transform=here.transform,
            dst_crs=here.crs, resampling=Resampling.bilinear, src_nodata=0, dst_nodata=0,
        )  # fmt: skip
    common = (warped > 0) & (warped < 4500) & (target > 0) & (target < 4500)

    def likeness(shift):
        moved = np.roll(warped, shift, axis=(0, 1))
        both = common & np.roll(common, shift, axis=(0, 1))
        return np.corrcoef(moved[both], target[both])[0, 1]

    shifts = [(row, col) for row in (-2, 0, 2) for col in (-2, 0, 2)]
    assert max(shifts, key=likeness) == (0, 0)
    assert likeness((0, 0)) > 0.5


def test_a_seed_gives_the_same_bytes_again(tmp_path):
    def written(name):
        folder = write_collection(tmp_path / name, items=1, size=256, tile=128).folder
        return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()}

    assert written("a") == written("b")


def test_benchmark_files_are_unique_and_compress_like_imagery(tmp_path):
    info = bench_collection(tmp_path, items=3, bands=2, size=1024, tile=512)
    assert len(info.hrefs) == len(set(info.hrefs)) == 6
    pictures = []
    for href in info.hrefs:
        with rasterio.open(href) as image:
            pictures.append(image.read(1).tobytes())
            assert (image.crs.to_epsg(), image.overviews(1)) == (32643, [2, 4])
        with tifffile.TiffFile(href) as tiff:
            counts = tiff.pages[0].databytecounts
            assert all(250_000 < count < 400_000 for count in counts)
            assert max(page.offset for page in tiff.pages) < 16 << 10
    assert len(set(pictures)) == 6
    collected = pystac.ItemCollection.from_file(str(info.document))
    assert [item.id for item in collected] == [one.item_id for one in info.items]
    assert all((tmp_path / asset.href).is_file() for item in collected for asset in item.assets.values())
    assert {Path(one).stem for one in info.hrefs} == {"red", "nir"}


def test_benchmark_files_larger_than_their_texture_have_the_size_asked_for(tmp_path):
    info = bench_collection(tmp_path, items=1, bands=1, size=2064, tile=512)
    with rasterio.open(info.hrefs[0]) as image:
        assert image.shape == (2064, 2064)


@pytest.mark.parametrize("arguments", [{"items": 0}, {"items": 74}, {"size": 100}, {"size": 301}], ids=str)
def test_impossible_collections_are_refused_before_anything_is_written(tmp_path, arguments):
    with pytest.raises(InvalidArgumentError, match="even size from 256"):
        write_collection(tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bands", [0, 5])
def test_impossible_benchmarks_are_refused(tmp_path, bands):
    with pytest.raises(InvalidArgumentError, match="1 to 4 bands"):
        bench_collection(tmp_path, bands=bands)
