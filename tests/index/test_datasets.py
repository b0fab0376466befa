"""The catalog of datasets: every entry builds an index whose bands are found by all of their names."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.datasets import catalog
from rasteret_sql.index.datasets.catalog import dataset, datasets
from rasteret_sql.testing.cog import write_cog
from tests.support.stac_api import endpoint_of

from .scripted_api import ScriptedApi

if TYPE_CHECKING:
    from pathlib import Path

SENTINEL_2 = (
    "coastal",
    "blue",
    "green",
    "red",
    "rededge1",
    "rededge2",
    "rededge3",
    "nir",
    "nir08",
    "nir09",
    "swir16",
    "swir22",
)
SENTINEL_2_NAMES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
LANDSAT_8 = {"B2": "blue", "B3": "green", "B4": "red", "B5": "nir08", "B6": "swir16", "B7": "swir22", "B10": "lwir11"}
NAIP = {"R": 1, "G": 2, "B": 3, "NIR": 4, "red": 1, "green": 2, "blue": 3, "nir": 4}
#: Where real items of a collection are, or the TIFF assets of an item as its public documentation shows it.
ITEMS = {
    "earthsearch/cop-dem-glo-30": "earthsearch-v1_cop-dem-glo-30_10.json",
    "earthsearch/cop-dem-glo-90": {"data": "s3://copernicus-dem-90m/a/a.tif"},
    "earthsearch/landsat-c2-l2": "earthsearch-v1_landsat-c2-l2_1_requesterpays.json",
    "earthsearch/naip": {"image": "s3://naip-analytic/tx/2020/60cm/rgbir_cog/m.tif"},
    "earthsearch/sentinel-2-c1-l2a": "earthsearch-v1_sentinel-2-c1-l2a_10.json",
    "earthsearch/sentinel-2-l2a": "earthsearch-v1_sentinel-2-l2a_7.json",
    "pc/alos-dem": {"data": "https://ai4edataeuwest.blob.core.windows.net/alos-dem/AW3D30_global/a.tif"},
    "pc/esa-worldcover": {
        "map": "https://ai4edataeuwest.blob.core.windows.net/esa-worldcover/v200/2021/map/a.tif",
        "input_quality": "https://ai4edataeuwest.blob.core.windows.net/esa-worldcover/v200/2021/quality/a.tif",
    },
    "pc/io-lulc-annual-v02": "stacgeoparquet_io-lulc-annual-v02-pc.json",
    "pc/landsat-c2-l2": "pc_landsat-c2-l2_100.parquet",
    "pc/naip": "pc_naip_100of436.json",
    "pc/nasadem": {"elevation": "https://nasademeuwest.blob.core.windows.net/nasadem-cog/v001/a.tif"},
    "pc/sentinel-2-l2a": "pc_sentinel-2-l2a_1000.parquet",
    "pc/usda-cdl": {
        "cropland": "https://landcoverdata.blob.core.windows.net/usda-cdl/cropland/2021/a.tif",
        "confidence": "https://landcoverdata.blob.core.windows.net/usda-cdl/cropland/2021/b.tif",
    },
}
#: Asked for -> asset, or band number of the one asset.
EXPECTED = {
    "earthsearch/cop-dem-glo-30": {"DEM": "data", "data": "data"},
    "earthsearch/cop-dem-glo-90": {"DEM": "data"},
    "earthsearch/landsat-c2-l2": {**LANDSAT_8, "B1": "coastal", "red": "red", "qa_pixel": "qa_pixel"},
    "earthsearch/naip": NAIP,
    "earthsearch/sentinel-2-c1-l2a": dict(zip(SENTINEL_2_NAMES, SENTINEL_2, strict=True))
    | {"red": "red", "SCL": "scl"},
    "earthsearch/sentinel-2-l2a": dict(zip(SENTINEL_2_NAMES, SENTINEL_2, strict=True)) | {"red": "red", "SCL": "scl"},
    "pc/alos-dem": {"DEM": "data"},
    "pc/esa-worldcover": {"MAP": "map", "map": "map"},
    "pc/io-lulc-annual-v02": {"LULC": "data"},
    "pc/landsat-c2-l2": {**LANDSAT_8, "red": "red"},
    "pc/naip": NAIP,
    "pc/nasadem": {"DEM": "elevation"},
    "pc/sentinel-2-l2a": dict(zip(SENTINEL_2, SENTINEL_2_NAMES, strict=True)) | {"B04": "B04", "scl": "SCL"},
    "pc/usda-cdl": {"CDL": "cropland", "confidence": "confidence"},
}
#: Bands of the files, where they are not one.
BAND_COUNTS = {"visual": 3, "preview": 3, "image": 4, "input_quality": 3}


def first_item(name, shared_data) -> dict:
    """A real item of the dataset's collection, or one as its documentation has it."""
    described = ITEMS[name]
    collection = dataset(name).collection
    if isinstance(described, str):
        if described.endswith(".parquet"):
            return parquet_item(shared_data / "stac" / described)
        document = json.loads((shared_data / "stac" / described).read_text())
        item = document.get("features", [document])[0]
        assert item["collection"] == collection
        return item
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "minimal",
        "collection": collection,
        "geometry": {"type": "Point", "coordinates": [77.5, 13.0]},
        "properties": {"datetime": "2021-01-01T00:00:00Z"},
        "links": [],
        "assets": {key: {"href": href, "type": "image/tiff; application=geotiff"} for key, href in described.items()},
    }


def parquet_item(path) -> dict:
    from pyarrow import parquet

    names = ["id", "collection", "assets", "platform", "datetime"]
    rows = parquet.read_table(path, columns=names).to_pylist()
    row = next(row for row in rows if row["platform"].lower() in {"landsat-8", "sentinel-2a"})
    assets = {
        key: {name: value for name, value in asset.items() if value is not None}
        for key, asset in row["assets"].items()
        if asset is not None
    }
    properties = {"datetime": row["datetime"].isoformat(), "platform": row["platform"]}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": row["id"],
        "collection": row["collection"],
        "geometry": None,
        "properties": properties,
        "assets": assets,
        "links": [],
    }


def with_files(item: dict, folder: Path) -> dict[str, str]:
    """Write a TIFF for each asset, and give the map from published hrefs to them."""
    mirrors = {}
    for number, (key, asset) in enumerate(item["assets"].items()):
        if not asset.get("type", "").startswith("image/tiff"):
            continue
        bands = BAND_COUNTS.get(key, 1)
        pixels = np.full((bands, 32, 32) if bands > 1 else (32, 32), number + 1, "uint16")
        path = write_cog(folder / f"{number}.tif", pixels, tile=32, overviews=(), crs="EPSG:32643")
        mirrors[asset["href"]] = str(path)
    return mirrors


@pytest.mark.parametrize("name", ITEMS)
def test_an_index_of_each_dataset_has_its_bands_by_all_of_their_names(name, shared_data, tmp_path):
    item = first_item(name, shared_data)
    mirrors = with_files(item, tmp_path)
    with ScriptedApi([item], collections=(dataset(name).collection,)) as api, endpoint_of(name, api.url):
        report = rs.build_index(rs.stac_search(name, max_items=1), tmp_path / "i.parquet", href_map=mirrors)
        assert api.searches[0]["collections"] == [dataset(name).collection]
    assert (report.rows, report.failures) == (len(mirrors), ())
    with rs.connect() as con:
        for asked, expected in EXPECTED[name].items():
            query = f"SELECT DISTINCT asset, band FROM tile_plan('{tmp_path / 'i.parquet'}', bands := ['{asked}'])"
            rows = con.sql(query).fetchall()
            if isinstance(expected, int):
                assert rows == [("image", expected)], asked
            else:
                assert {row[0] for row in rows} == {expected}, asked


def test_every_entry_is_tested():
    assert {entry.id for entry in datasets()} == {*ITEMS, "aef/v1-annual"}


def test_landsat_bands_are_numbered_as_on_their_platform(tmp_path, shared_data):
    item = first_item("earthsearch/landsat-c2-l2", shared_data)
    mirrors = with_files(item, tmp_path)
    older = {**item, "id": "older", "properties": {**item["properties"], "platform": "landsat-5"}}
    with ScriptedApi([older], collections=("landsat-c2-l2",)) as api, endpoint_of("earthsearch/", api.url):
        rs.build_index(rs.stac_search("earthsearch/landsat-c2-l2"), tmp_path / "i.parquet", href_map=mirrors)
    with rs.connect() as con:
        plan = f"FROM tile_plan('{tmp_path / 'i.parquet'}', bands := ['B4']) SELECT DISTINCT asset"
        assert con.sql(plan).fetchall() == [("nir08",)]


def test_a_mirror_of_the_entry_is_in_the_index_beside_the_published_href(tmp_path):
    item = first_item("earthsearch/cop-dem-glo-90", None)
    with ScriptedApi([item], collections=("cop-dem-glo-90",)) as api, endpoint_of("earthsearch/", api.url):
        table = __import__("pyarrow").table(rs.stac_search("earthsearch/cop-dem-glo-90"))
    (row,) = table.select(["href", "mirror"]).to_pylist()
    assert row == {
        "href": "s3://copernicus-dem-90m/a/a.tif",
        "mirror": "https://copernicus-dem-90m.s3.eu-central-1.amazonaws.com/a/a.tif",
    }


# --- AlphaEarth: a table of files, stored bottom-up ----------------------------------------------


@pytest.fixture
def alphaearth(tmp_path, monkeypatch):
    """The entry with a table on this machine: two years of one place, and one year of another."""
    import pyarrow as pa
    from pyarrow import parquet

    pixels = np.arange(64 * 32 * 32).reshape(64, 32, 32).astype("int8")
    rows = []
    for year, west in ((2022, 11.0), (2023, 11.0), (2023, 20.0)):
        name = f"v1/annual/{year}/32N/x{west:.0f}.tiff"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        grid = (10.0, 0.0, 300_000.0, 0.0, 10.0, 1_000_000.0)
        write_cog(
            tmp_path / name, pixels, tile=32, overviews=(), crs="EPSG:32632", transform=grid, nodata=-128, planar=True
        )
        box = {"wgs84_west": west, "wgs84_south": 9.0, "wgs84_east": west + 1, "wgs84_north": 10.0}
        path = f"s3://us-west-2.opendata.source.coop/tge-labs/aef/{name}"
        rows.append({"fid": len(rows), "path": path, "year": year, "utm_zone": "32N", **box})
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "aef_index.parquet")
    entry = replace(
        dataset("aef/v1-annual"),
        table=str(tmp_path / "aef_index.parquet"),
        mirrors={"s3://us-west-2.opendata.source.coop/tge-labs/aef/": f"{tmp_path}/"},
    )
    monkeypatch.setattr(catalog, "_built_in", lambda: (entry,))
    return pixels


def test_alphaearth_is_searched_by_place_and_year(alphaearth, tmp_path):
    search = rs.stac_search("aef/v1-annual", bbox=[11.5, 9.2, 11.6, 9.3], datetime="2023")
    report = rs.build_index(search, tmp_path / "aef.parquet")
    assert (report.rows, report.failures) == (1, ())
    with rs.connect() as con:
        row = con.sql(f"""
            SELECT item_id, collection, start_datetime, end_datetime, len(bands), bands[64].name, bands[1].nodata,
                   transform[6], utm_zone
            FROM '{tmp_path / "aef.parquet"}'""").fetchall()[0]
        assert row[:2] == ("2023/32N/x11", "aef-v1-annual")
        assert [str(time)[:19] for time in row[2:4]] == ["2023-01-01 00:00:00", "2023-12-31 23:59:59"]
        assert row[4:] == (64, "A63", -128.0, 1_000_000.0, "32N")
        tiles = con.sql(
            f"FROM read_tiles('{tmp_path / 'aef.parquet'}', bands := ['A02']) SELECT pixels, dtype"
        ).fetchall()
    assert np.array_equal(np.frombuffer(tiles[0][0], tiles[0][1]).reshape(32, 32), alphaearth[2])


def test_alphaearth_is_not_searched_by_what_a_table_has_not(alphaearth):
    with pytest.raises(InvalidArgumentError, match="filter: the dataset aef/v1-annual is a table of files"):
        rs.stac_search("aef/v1-annual", filter="a < 3")


def test_the_last_day_of_a_year_is_in_it(alphaearth):
    import pyarrow as pa

    years = {
        one: len(pa.table(rs.stac_search("aef/v1-annual", datetime=one)))
        for one in ("2022-12-31", "2023-01-01", "2024")
    }
    assert years == {"2022-12-31": 1, "2023-01-01": 2, "2024": 0}


# --- Entries of one's own ------------------------------------------------------------------------

ENTRY = {
    "id": '"mine/aerial"',
    "title": '"Aerial"',
    "endpoint": '"https://stac.example.com"',
    "collection": '"aerial"',
    "licence": '"CC0-1.0"',
    "attribution": '"me"',
    "authentication": '"none"',
}


def write_entry(folder: Path, name: str = "a.toml", **changes: str | None) -> Path:
    folder.mkdir(exist_ok=True)
    values = {key: value for key, value in {**ENTRY, **changes}.items() if value is not None}
    (folder / name).write_text("\n".join(f"{key} = {value}" for key, value in values.items()))
    return folder / name


def test_a_folder_of_ones_own_adds_to_the_catalog(tmp_path, monkeypatch):
    write_entry(tmp_path / "mine")
    assert "mine/aerial" in [entry.id for entry in datasets(tmp_path / "mine")]
    assert "mine/aerial" not in [entry.id for entry in datasets()]
    monkeypatch.setenv("RASTERET_SQL_DATASETS", str(tmp_path / "mine"))
    assert rs.stac_search("mine/aerial").url == "https://stac.example.com"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": None}, "title: got nothing, expected a text"),
        ({"title": "7"}, "title: got 7, expected a text"),
        ({"colour": '"red"'}, "got the key colour, expected some of id, title"),
        ({"id": '"Mine"'}, "id: got 'Mine', expected an id such as"),
        ({"id": '"pc/naip"'}, "id: got 'pc/naip', which .*pc_naip.toml has too"),
        ({"authentication": '"key"'}, "authentication: got 'key', expected one of none, requester-pays"),
        ({"endpoint": None}, "endpoint: got nothing, expected either"),
        ({"endpoint": '"stac.example.com"'}, "expected the URL of a STAC API"),
        ({"table": '"a.parquet"'}, "endpoint: .* expected either"),
        ({"endpoint": None, "table": '"a.parquet"'}, "query: got nothing, expected a SELECT"),
        ({"assets": '[{ key = "a", bands = "b" }]'}, r"assets\[0\]\.bands: got 'b', expected a list of texts"),
        ({"assets": '[{ bands = ["b"] }]'}, r"assets\[0\]\.key: got nothing"),
        (
            {"assets": '[{ key = "a", bands = ["b"], common_names = [] , scale = true }]'},
            r"assets\[0\]\.scale: got True",
        ),
        ({"assets": '[{ key = "a", bands = ["b", "c"], common_names = ["x"] }]'}, "one for each of the 2 bands"),
        ({"mirrors": "{ a = 1 }"}, "mirrors: got .* expected a table of texts"),
        ({"title": '"unfinished'}, "not a TOML file"),
    ],
)
def test_a_broken_entry_is_an_error_that_names_file_key_and_what_is_expected(tmp_path, changes, message):
    path = write_entry(tmp_path / "mine", **changes)
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        datasets(tmp_path / "mine")
    assert str(caught.value).startswith(str(path))


def test_two_files_with_one_id_are_an_error_and_so_is_a_folder_that_is_none(tmp_path):
    write_entry(tmp_path / "mine")
    write_entry(tmp_path / "mine", "b.toml")
    with pytest.raises(InvalidArgumentError, match=r"b\.toml: id: got 'mine/aerial', which .*a\.toml has too"):
        datasets(tmp_path / "mine")
    with pytest.raises(InvalidArgumentError, match="which is no folder"):
        datasets(tmp_path / "none")


def test_names_of_bands_are_unique_in_each_dataset():
    for entry in datasets():
        for asset in entry.assets:
            for one, other in itertools.combinations(asset.bands, 2):
                assert one != other, entry.id


def test_every_name_that_bands_takes_is_listed_with_keys_of_assets():
    with rs.connect() as con:
        rows = dict(con.sql("SELECT id, bands FROM datasets()").fetchall())
    sentinel = rows["earthsearch/sentinel-2-l2a"]
    assert (sentinel["red"], sentinel["B04"], sentinel["visual"]) == ("red", "red", "visual")
    assert rows["earthsearch/naip"]["image"] == "image"
    assert all(rows[entry.id][asset.key] == asset.key for entry in datasets() for asset in entry.assets)
