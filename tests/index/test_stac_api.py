"""Searches: of a real STAC API where rustac is installed, and of one that is scripted to fail."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from datetime import UTC

import duckdb
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    InvalidArgumentError,
    RasteretError,
    TransportError,
)
from rasteret_sql.index.stac.client import RETRIES
from tests.support import stac_api

from .reading import read_assets
from .scripted_api import ScriptedApi
from .test_stac_files import documents, is_tiff, pystac_items

S2 = "earthsearch-v1_sentinel-2-l2a_7.json"
DEM = "earthsearch-v1_cop-dem-glo-30_10.json"
NOW = {"Retry-After": "0"}


@pytest.fixture(scope="module")
def real(tmp_path_factory, shared_data):
    """A rustac server with items of two collections of Earth Search."""
    if not stac_api.is_installed():
        pytest.skip("rustac is not installed: pip install rustac")
    items = [item for name in (S2, DEM) for item in documents(shared_data / "stac" / name)]
    with stac_api.serving(items, tmp_path_factory.mktemp("api") / "items.json") as url:
        yield url


@pytest.fixture
def scripted(stac_item):
    with ScriptedApi([stac_item(f"i{n}", {"red": f"https://example.com/{n}.tif"}) for n in range(7)]) as api:
        yield api


def items_of(search):
    return [entry for found in read_assets(search) for entry in found.items]


def ids_of(search):
    return [entry.item.item_id for entry in items_of(search)]


# --- A real API ----------------------------------------------------------------------------------


def test_items_assets_and_times_of_a_search_are_those_that_pystac_reads(real, shared_data):
    theirs = {item.id: item for item in pystac_items(shared_data / "stac" / S2)}
    ours = items_of(rs.stac_search(real, collections=["sentinel-2-l2a"], page_items=3))
    assert sorted(entry.item.item_id for entry in ours) == sorted(theirs)
    for entry in ours:
        item = theirs[entry.item.item_id]
        tiffs = {key: asset for key, asset in item.assets.items() if is_tiff(asset)}
        assert entry.item.datetime == item.datetime.replace(tzinfo=UTC)
        assert entry.item.properties["eo:cloud_cover"] == item.properties["eo:cloud_cover"]
        assert {asset.asset: asset.href for asset in entry.assets} == {key: one.href for key, one in tiffs.items()}
        assert {asset.asset: asset.media_type for asset in entry.assets} == {
            key: one.media_type for key, one in tiffs.items()
        }


def test_pages_and_items_are_told_while_a_search_runs(real):
    told = []
    found = ids_of(
        rs.stac_search(real, collections=["sentinel-2-l2a"], page_items=3, progress=lambda *x: told.append(x))
    )
    assert (len(found), told) == (7, [(1, 3), (2, 6), (3, 7)])


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"ids": ["S2B_20EPT_20250731_0_L2A"]}, 1),
        ({"collections": "cop-dem-glo-30"}, 10),
        ({"max_items": 5, "page_items": 2}, 5),
        ({"collections": ["cop-dem-glo-30"], "datetime": "2021-04-22"}, 10),
        ({"collections": ["cop-dem-glo-30"], "datetime": "2021-04-23/.."}, 0),
        ({"collections": ["cop-dem-glo-30"], "bbox": [-180, -90, -178.5, -89]}, 2),
        ({"intersects": "POINT (-61.0 60.5)"}, None),
    ],
)
def test_arguments_reach_the_api(real, shared_data, arguments, count):
    import shapely

    found = ids_of(rs.stac_search(real, **arguments))
    if count is None:
        point = shapely.from_wkt(arguments["intersects"])
        items = [item for name in (S2, DEM) for item in documents(shared_data / "stac" / name)]
        touching = [item for item in items if shapely.from_geojson(json.dumps(item["geometry"])).intersects(point)]
        assert sorted(found) == sorted(item["id"] for item in touching)
    else:
        assert len(found) == len(set(found)) == count


def test_a_bbox_over_the_antimeridian_finds_both_sides_and_each_item_once(real):
    found = ids_of(rs.stac_search(real, collections=["cop-dem-glo-30"], bbox=[179, -90, -179.5, -80]))
    assert found
    assert len(found) == len(set(found))


def test_a_collection_that_the_api_has_not_got_is_an_error_with_those_called_alike(real):
    with pytest.raises(
        InvalidArgumentError, match=r"'sentinel-2-l2', which this API does not have; near .*sentinel-2-l2a"
    ):
        ids_of(rs.stac_search(real, collections=["cop-dem-glo-30", "sentinel-2-l2"]))


def test_what_the_api_does_not_offer_is_refused_rather_than_left_out(real):
    with pytest.raises(InvalidArgumentError, match="got filter, which this API does not offer"):
        ids_of(rs.stac_search(real, filter="eo:cloud_cover < 20"))


def test_a_search_is_a_table_for_arrow_and_duckdb(real, shared_data):
    search = rs.stac_search(real, collections=["sentinel-2-l2a"])
    assert len(pa.table(search)) == 112
    with duckdb.connect() as con:
        counts = con.sql("SELECT count(*), count(DISTINCT item_id), count(geometry) FROM search").fetchall()
    assert counts == [(112, 7, 112)]
    assert "\n" not in repr(search)


# --- What is sent --------------------------------------------------------------------------------


def test_a_month_is_sent_to_its_last_microsecond(scripted):
    ids_of(rs.stac_search(scripted.url, datetime="2024-02"))
    assert scripted.searches[0]["datetime"] == "2024-02-01T00:00:00Z/2024-02-29T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("2024/..", "2024-01-01T00:00:00Z/.."),
        ("/2024-01-31", "../2024-01-31T23:59:59.999999Z"),
        ("9999", "9999-01-01T00:00:00Z/9999-12-31T23:59:59.999999Z"),
        (dt.date(2024, 1, 31), "2024-01-31T00:00:00Z/2024-01-31T23:59:59.999999Z"),
        (dt.datetime(2024, 1, 31, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2024-01-31T10:00:00Z"),
        ((dt.datetime(2024, 1, 1, tzinfo=UTC), None), "2024-01-01T00:00:00Z/.."),
        (("2024-01", "2024-02"), "2024-01-01T00:00:00Z/2024-02-29T23:59:59.999999Z"),
    ],
)
def test_every_form_of_a_datetime_is_sent_as_rfc_3339(given, sent):
    assert rs.stac_search("https://example.com", datetime=given).datetime == sent


def test_a_filter_is_sent_in_its_language(scripted):
    ids_of(rs.stac_search(scripted.url, filter="eo:cloud_cover < 20"))
    ids_of(rs.stac_search(scripted.url, filter={"op": "<", "args": [{"property": "eo:cloud_cover"}, 20]}))
    text, document = (one for one in scripted.searches if "skip" not in one)
    assert (text["method"], text["filter"], text["filter-lang"]) == ("GET", "eo:cloud_cover < 20", "cql2-text")
    assert (document["method"], document["filter"]["op"], document["filter-lang"]) == ("POST", "<", "cql2-json")


def test_an_api_without_post_is_searched_by_get(scripted):
    scripted.has_post = False
    assert len(ids_of(rs.stac_search(scripted.url, intersects="POINT (1 2)", sortby=["-id"], page_items=3))) == 7
    assert {one["method"] for one in scripted.searches} == {"GET"}
    assert scripted.searches[0]["sortby"] == "-id"


def test_one_request_is_made_for_a_page_and_one_for_the_landing_page(scripted):
    assert len(ids_of(rs.stac_search(scripted.url, page_items=3))) == 7
    assert [one["path"].rpartition("/")[2] for one in scripted.asked] == ["stac", "search", "search", "search"]


def test_no_page_is_asked_for_beyond_max_items(scripted):
    assert len(ids_of(rs.stac_search(scripted.url, page_items=2, max_items=4))) == 4
    assert len(scripted.searches) == 2


# --- What goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_a_search_is_tried_again_where_the_server_says_not_now(scripted, status):
    scripted.answers = [None, (status, NOW, "{}"), None]
    assert len(ids_of(rs.stac_search(scripted.url, page_items=4))) == 7
    assert len(scripted.searches) == 3


def test_an_empty_page_with_a_next_link_is_not_the_last(scripted):
    scripted.empty_pages = 2
    assert len(ids_of(rs.stac_search(scripted.url))) == 7


def test_items_that_two_pages_have_are_taken_once(scripted):
    scripted.overlap = 2
    found = ids_of(rs.stac_search(scripted.url, page_items=3))
    assert Counter(found) == dict.fromkeys((f"i{n}" for n in range(7)), 1)


def test_pages_that_lead_back_end_with_an_error(scripted):
    scripted.repeats_next = True
    with pytest.raises(TransportError, match="a page that was read before"):
        ids_of(rs.stac_search(scripted.url, page_items=10))


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, '{"code": "x", "description": "bad limit"}', InvalidArgumentError, r"answered 400 \(bad limit\)"),
        (403, "{}", AccessDeniedError, "answered 403"),
        (404, "<html>no</html>", AssetNotFoundError, "answered 404;"),
        (501, "", InvalidArgumentError, "answered 501"),
        (200, "<html>", InvalidArgumentError, "not JSON"),
        (200, "[1]", InvalidArgumentError, "got a JSON list as a page"),
    ],
)
def test_what_the_server_answers_is_an_error_of_ours_that_names_the_api(scripted, status, body, kind, message):
    scripted.answers = [(status, {}, body)]
    with pytest.raises(kind, match=message) as caught:
        ids_of(rs.stac_search(f"{scripted.url}?token=secret"))
    assert scripted.url in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_refused_search_for_a_collection_that_is_not_there_says_so(scripted):
    scripted.answers = [(404, {}, '{"code": "NotFound"}')]
    scripted.collections = ("sentinel-2-l2a", "naip")
    with pytest.raises(InvalidArgumentError, match=r"got the collection 'sentinel-2', .* near ones are sentinel-2-l2a"):
        ids_of(rs.stac_search(scripted.url, collections=["naip", "sentinel-2"]))


def test_failing_for_good_is_an_error_after_bounded_attempts(scripted, monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda _: None)
    scripted.answers = [(503, {}, "")] * 50
    with pytest.raises(TransportError, match="answered 503"):
        ids_of(rs.stac_search(scripted.url))
    assert len(scripted.searches) == RETRIES + 1


def test_a_long_retry_after_is_cut_short(scripted, monkeypatch):
    waits = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    scripted.answers = [(429, {"Retry-After": "86400"}, ""), None]
    assert len(ids_of(rs.stac_search(scripted.url))) == 7
    assert waits == [60.0]


def test_half_a_search_is_no_index(scripted, tmp_path):
    scripted.answers = [None, (400, {}, "{}")]
    with pytest.raises(InvalidArgumentError):
        rs.build_index(rs.stac_search(scripted.url, page_items=4), tmp_path / "i.parquet")
    assert list(tmp_path.iterdir()) == []


def test_no_connection_is_an_error_without_the_query_string():
    with pytest.raises(TransportError, match="no connection") as caught:
        ids_of(rs.stac_search("http://127.0.0.1:1/stac?key=secret"))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_relative_hrefs_refer_to_the_self_link_of_the_item(scripted):
    scripted.items[0]["assets"]["red"]["href"] = "../data/0.tif"
    scripted.items[0]["links"] = [{"rel": "self", "href": "https://files.example.com/items/i0.json"}]
    first, *_ = items_of(rs.stac_search(scripted.url))
    assert first.assets[0].href == "https://files.example.com/data/0.tif"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bbox": [77.5, 12.9, 77.7]}, "bbox: got .* expected four finite numbers"),
        ({"bbox": [77.5, 13.1, 77.7, 12.9]}, "whose ymin 13.1 is above its ymax 12.9"),
        ({"bbox": [12.9, 77.5, 13.1, 177.7]}, "expected degrees"),
        ({"bbox": [77.7, 12.9, 77.5, 13.1]}, "swap them"),
        ({"bbox": [0, 0, float("nan"), 1]}, "finite"),
        ({"bbox": [0, 0, 1, 1], "intersects": "POINT (0 0)"}, "got both bbox and intersects"),
        ({"intersects": "POINT EMPTY"}, "with an extent"),
        ({"intersects": {"type": "Point", "coordinates": [400000, 1400000]}}, "reproject"),
        ({"intersects": 7}, "intersects: got 7"),
        ({"datetime": "January"}, "datetime: got 'January'"),
        ({"datetime": "2024-02/2024-01"}, "ends before it starts"),
        ({"datetime": ("2024", "2025", "2026")}, "one time or two"),
        ({"filter": "{broken"}, "not JSON"),
        ({"filter": {"eo:cloud_cover": {"lt": 20}}}, "expected CQL2"),
        ({"sortby": [{"field": "id", "direction": "up"}]}, "'asc' or 'desc'"),
        ({"collections": []}, "collections: got"),
        ({"ids": [1]}, "ids: got"),
        ({"max_items": 0}, "max_items: got 0"),
        ({"page_items": 100_000}, "from 1 to 10,000"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_asked(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        rs.stac_search("https://stac.invalid", **arguments)


@pytest.mark.parametrize("api", ["", "s3://bucket/catalog", 7, "no/such-dataset"])
def test_what_is_no_api_is_refused(api):
    with pytest.raises(RasteretError, match=r"api: got|dataset: got"):
        rs.stac_search(api)


def test_an_index_keeps_the_search_that_made_it(scripted, tmp_path, cog):
    from pyarrow import parquet

    path = cog("red.tif")
    for item in scripted.items:
        item["assets"]["red"]["href"] = path.as_uri()
    search = rs.stac_search(f"{scripted.url}?key=secret", collections=["c"], datetime="2024-01", max_items=3)
    with rs.set_options(allow=[tmp_path]):
        rs.build_index(search, tmp_path / "i.parquet")
    metadata = parquet.read_schema(tmp_path / "i.parquet").metadata
    definition = json.loads(metadata[b"rasteret_sql.definition"])
    assert definition["search"] == {
        "url": scripted.url,
        "collections": ["c"],
        "datetime": "2024-01-01T00:00:00Z/2024-01-31T23:59:59.999999Z",
        "max_items": 3,
    }
    assert b"secret" not in b"".join(metadata.values())
