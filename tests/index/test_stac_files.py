"""What the real STAC files say, compared with what pystac makes of them."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from datetime import UTC

import pystac
import pytest
from pyarrow import parquet

from rasteret_sql.sql.indexes import build_index

from .reading import read_assets

FILES = {
    "PAIRED_earthsearch-v1_S2A_29RKH_20200219_0_L2A.json": (1, 16),
    "PAIRED_usgs_LC08_L2SP_001062_SR_stac.json": (1, 10),
    "PAIRED_usgs_LC08_L2SP_001062_ST_stac.json": (1, 11),
    "earthsearch-v1_cop-dem-glo-30_10.json": (10, 10),
    "earthsearch-v1_landsat-c2-l2_1_requesterpays.json": (1, 19),
    "earthsearch-v1_sentinel-2-c1-l2a_10.json": (10, 190),
    "earthsearch-v1_sentinel-2-l2a_7.json": (7, 112),
    "pc_naip_1000.ndjson": (1000, 1000),
    "pc_naip_100of436.json": (100, 100),
    "rio-tiler_stac_bands_v1.1.json": (1, 4),
    "stacgeoparquet_cop-dem-glo-30-pc.json": (4, 4),
    "stacgeoparquet_io-lulc-annual-v02-pc.json": (4, 4),
    "umbra_projjson_item.json": (1, 1),
    "v1.1.0_maxar_multi-polygons_projcode_2.json": (2, 6),
}
PARQUET_FILES = {"pc_landsat-c2-l2_100.parquet": (100, 1900), "pc_sentinel-2-l2a_1000.parquet": (1000, 16262)}
TIFF_TYPES = ("image/tiff", "image/vnd.stac.geotiff")


def found(path):
    steps = list(read_assets(path))
    assert [failure for step in steps for failure in step.failures] == []
    return [entry for step in steps for entry in step.items], sum((step.left_out for step in steps), Counter())


def documents(path):
    text = path.read_text()
    if path.suffix == ".ndjson":
        return [json.loads(line) for line in text.splitlines()]
    document = json.loads(text)
    return document.get("features", [document])


def pystac_items(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [pystac.Item.from_dict(document) for document in documents(path)]


def is_tiff(asset):
    if asset.media_type is None:
        return asset.href.endswith(".tif")
    return asset.media_type.startswith(TIFF_TYPES)


@pytest.mark.parametrize("name", FILES)
def test_items_assets_and_times_are_those_that_pystac_reads(shared_data, name):
    items, left_out = found(shared_data / "stac" / name)
    theirs = pystac_items(shared_data / "stac" / name)
    assert (len(items), sum(len(entry.assets) for entry in items)) == FILES[name]
    assert [entry.item.item_id for entry in items] == [item.id for item in theirs]
    assert [entry.item.collection for entry in items] == [item.collection_id for item in theirs]
    for entry, item in zip(items, theirs, strict=True):
        times = (item.datetime, item.common_metadata.start_datetime, item.common_metadata.end_datetime)
        ours = (entry.item.datetime, entry.item.start_datetime, entry.item.end_datetime)
        assert ours == tuple(time and time.replace(tzinfo=time.tzinfo or UTC) for time in times)
        tiffs = {key: asset for key, asset in item.assets.items() if is_tiff(asset)}
        assert [asset.asset for asset in entry.assets] == list(tiffs)
        assert [asset.href for asset in entry.assets] == [asset.get_absolute_href() for asset in tiffs.values()]
    assert sum(left_out.values()) == sum(not is_tiff(asset) for item in theirs for asset in item.assets.values())


@pytest.mark.parametrize("name", PARQUET_FILES)
def test_items_of_stac_geoparquet_are_its_rows(shared_data, name):
    items, _ = found(shared_data / "stac" / name)
    rows = parquet.read_table(shared_data / "stac" / name, columns=["id", "collection", "datetime"]).to_pylist()
    assert (len(items), sum(len(entry.assets) for entry in items)) == PARQUET_FILES[name]
    assert [entry.item.item_id for entry in items] == [row["id"] for row in rows]
    assert [entry.item.collection for entry in items] == [row["collection"] for row in rows]
    assert [entry.item.datetime for entry in items] == [row["datetime"].astimezone(UTC) for row in rows]
    assert all(entry.item.geometry is not None for entry in items)


def test_typed_columns_of_stac_geoparquet_are_item_properties(shared_data):
    steps = list(read_assets(shared_data / "stac" / "pc_landsat-c2-l2_100.parquet"))
    assert all(step.columns.num_rows == len(step.items) for step in steps)
    names = steps[0].columns.schema.names
    assert "eo:cloud_cover" in names
    assert not {"id", "geometry", "assets", "datetime", "links"} & set(names)


def test_jpeg_2000_is_left_out_and_counted(shared_data):
    _, left_out = found(shared_data / "stac" / "PAIRED_earthsearch-v1_S2A_29RKH_20200219_0_L2A.json")
    assert left_out == {"image/jp2": 16, "application/xml": 1, "application/json": 1, "image/jpeg": 1}


def test_bands_that_an_old_item_lists_by_position_get_their_names(shared_data):
    items, _ = found(shared_data / "stac" / "PAIRED_usgs_LC08_L2SP_001062_SR_stac.json")
    first = items[0].assets[0]
    assert first.band_lists == (({"name": "SR_B1", "common_name": "coastal"},),)


def test_relative_hrefs_of_a_collected_item_refer_to_its_self_link(shared_data):
    items, _ = found(shared_data / "stac" / "v1.1.0_maxar_multi-polygons_projcode_2.json")
    folder = "https://maxar-opendata.s3.amazonaws.com/events/Hurricane-Ian-9-26-2022/ard/17/031331303020/2022-10-03"
    assert items[0].assets[0].href == f"{folder}/10300100DB064000-ms.tif"
    assert items[0].assets[0].proj["code"] == "EPSG:32617"


def test_the_paired_item_is_indexed_from_its_mirror(shared_data, tmp_path):
    fixtures = shared_data / "scenes" / "cogeotiff+rio-tiler-pds" / "tests" / "fixtures"
    published = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/"
    report = build_index(
        shared_data / "stac" / "PAIRED_earthsearch-v1_S2A_29RKH_20200219_0_L2A.json",
        tmp_path / "s2.parquet",
        href_map={published: f"{fixtures / 'sentinel-cogs'}/"},
    )
    assert (report.rows, report.items, report.requests, report.failures) == (16, 1, 16, ())
    # The files are reductions of what the item describes.
    assert report.proj_mismatches == 16
    table = parquet.read_table(tmp_path / "s2.parquet").to_pylist()
    assert all(row["href"].startswith(published) and row["mirror"].startswith(str(fixtures)) for row in table)
    red = next(row for row in table if row["asset"] == "red")
    assert red["bands"][0] | {"description": None} == {
        "name": "red",
        "band": 1,
        "common_name": "red",
        "description": None,
        "nodata": 0.0,
        "scale": 0.0001,
        "offset": 0.0,
        "unit": None,
        "is_alpha": False,
        "nodata_integer": None,
    }
    visual = next(row for row in table if row["asset"] == "visual")
    assert [band["name"] for band in visual["bands"]] == ["red", "green", "blue"]
    assert red["eo:cloud_cover"] == 4.051854


def test_assets_whose_files_are_missing_are_failures_by_name(shared_data, tmp_path):
    fixtures = shared_data / "scenes" / "cogeotiff+rio-tiler-pds" / "tests" / "fixtures"
    report = build_index(
        shared_data / "stac" / "PAIRED_usgs_LC08_L2SP_001062_SR_stac.json",
        tmp_path / "sr.parquet",
        href_map={"https://landsatlook.usgs.gov/data/": f"{fixtures / 'usgs-landsat'}/"},
    )
    assert report.rows + len(report.failures) == 10
    assert report.rows > 0
    for failure in report.failures:
        assert failure.error == "AssetNotFoundError"
        assert failure.item_id == "LC08_L2SP_001062_20201031_20201106_02_T2"
        assert failure.asset in failure.href
