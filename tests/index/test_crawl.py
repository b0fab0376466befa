"""STAC documents over HTTP and from disk: crawling, relative hrefs, what is no STAC."""

from __future__ import annotations

import json

import pytest

from rasteret_sql.errors import BuildError
from rasteret_sql.sql.indexes import build_index
from rasteret_sql.testing.server import Fault, RangeServer

from .reading import read_assets


def link(rel, href):
    return {"rel": rel, "href": href}


@pytest.fixture
def catalog(tmp_path, write_json, stac_item):
    """A static catalog: catalog.json -> two collections -> three items, with relative links all through."""
    write_json("stac/catalog.json", {
        "type": "Catalog", "stac_version": "1.0.0", "id": "root",
        "links": [link("self", "./catalog.json"), link("child", "./a/collection.json"), link("child", "b/collection.json")],
    })  # fmt: skip
    for name, items in {"a": ["a1", "a2"], "b": ["b1"]}.items():
        links = [link("root", "../catalog.json"), link("parent", "../catalog.json")]
        links += [link("item", f"./items/{item}.json") for item in items]
        document = {"type": "Collection", "stac_version": "1.0.0", "id": name, "links": links}
        write_json(f"stac/{name}/collection.json", document)
        for item in items:
            write_json(f"stac/{name}/items/{item}.json", stac_item(item, {"red": f"../data/{item}.tif"}))
    return tmp_path / "stac" / "catalog.json"


def names(source):
    return [entry.item.item_id for step in read_assets(source) for entry in step.items]


def hrefs(source):
    return [asset.href for step in read_assets(source) for entry in step.items for asset in entry.assets]


def failures(source):
    return [failure for step in read_assets(source) for failure in step.failures]


def test_a_static_catalog_is_crawled_in_the_order_of_its_links(catalog):
    assert names(catalog) == ["a1", "a2", "b1"]


def test_relative_hrefs_refer_to_the_local_document(catalog):
    assert hrefs(catalog)[0] == str(catalog.parent / "a" / "data" / "a1.tif")


def test_relative_hrefs_refer_to_the_url_of_the_document(catalog, tmp_path):
    with RangeServer(tmp_path) as server:
        assert hrefs(server.url("stac/catalog.json")) == [
            server.url(f"stac/{name[0]}/data/{name}.tif") for name in ("a1", "a2", "b1")
        ]
        assert len(server.requests) == 6


def test_a_catalog_that_links_to_itself_ends(catalog):
    document = json.loads(catalog.read_text())
    document["links"].append(link("child", "catalog.json"))
    catalog.write_text(json.dumps(document))
    assert names(catalog) == ["a1", "a2", "b1"]


def test_a_document_that_is_missing_is_a_failure_and_the_others_are_found(catalog):
    (catalog.parent / "a" / "items" / "a1.json").unlink()
    assert names(catalog) == ["a2", "b1"]
    (failure,) = failures(catalog)
    assert failure.error == "AssetNotFoundError"
    assert failure.href.endswith("a/items/a1.json")


def test_a_server_that_knows_no_ranges_may_give_documents(catalog, tmp_path):
    with RangeServer(tmp_path, faults={"*": [Fault("ignore_range")] * 2}) as server:
        assert names(server.url("stac/b/items/b1.json")) == ["b1"]


def test_next_pages_are_followed_over_http_but_not_from_a_saved_file(tmp_path, write_json, stac_item):
    def page(number, *links):
        items = [stac_item(f"item{number}", {"red": "https://example.com/red.tif"})]
        return {"type": "FeatureCollection", "features": items, "links": list(links)}

    first = write_json("page1.json", page(1, link("next", "page2.json")))
    write_json("page2.json", page(2))
    with RangeServer(tmp_path) as server:
        assert names(server.url("page1.json")) == ["item1", "item2"]
    assert names(first) == ["item1"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"type": "Topology", "arcs": []}, "got a JSON object of type 'Topology'"),
        ("text", "got a JSON str"),
        ({"type": "Feature", "id": "x", "properties": {}}, "item 'x': got NoneType as its assets"),
        ({"type": "Feature", "assets": {}}, "item None: got no text as its id"),
    ],
)
def test_what_is_no_stac_is_a_failure_that_says_what_it_is(write_json, document, words):
    (failure,) = failures(write_json("x.json", document))
    assert words in failure.message


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    (failure,) = failures(tmp_path / "x.json")
    assert failure.message.startswith(f"{tmp_path / 'x.json'}: not JSON")


def test_a_time_that_is_none_fails_its_item_only(tmp_path, write_json, stac_item):
    items = [stac_item("a", {"red": "r.tif"}, datetime="yesterday"), stac_item("b", {"red": "r.tif"})]
    path = write_json("x.json", {"type": "FeatureCollection", "features": items})
    assert names(path) == ["b"]
    (failure,) = failures(path)
    assert failure.item_id == "a"
    assert "got 'yesterday', expected a time such as" in failure.message


def test_a_period_that_ends_before_it_starts_fails_its_item(write_json, stac_item):
    times = {
        "datetime": None,
        "start_datetime": "2024-02-01T00:00:00Z",
        "end_datetime": "2024-01-01T00:00:00Z",
    }
    (failure,) = failures(write_json("x.json", stac_item("a", {"red": "r.tif"}, **times)))
    assert "expected the start first" in failure.message


def test_ndjson_is_read_line_by_line_and_its_bad_line_is_named(tmp_path, stac_item):
    lines = [json.dumps(stac_item(f"item{number}", {"red": "r.tif"})) for number in range(3)]
    path = tmp_path / "items.ndjson"
    path.write_text("\n".join([lines[0], "", lines[1], "{", lines[2]]))
    assert names(path) == ["item0", "item1"]
    (failure,) = failures(path)
    assert f"{path}, line 4: not JSON" in failure.message


def test_items_in_memory_are_a_source(stac_item):
    item = stac_item("a", {"red": "https://example.com/red.tif"})
    assert names(item) == names([item]) == names({"type": "FeatureCollection", "features": [item]}) == ["a"]


def test_pystac_objects_are_a_source(stac_item):
    import pystac

    item = pystac.Item.from_dict(stac_item("a", {"red": "https://example.com/red.tif"}))
    assert names(item) == names([item]) == names(pystac.ItemCollection([item])) == ["a"]


def test_nothing_found_says_why(tmp_path, write_json, stac_item):
    item = stac_item("a", {})
    item["assets"] = {"jp2": {"href": "a.jp2", "type": "image/jp2"}}
    with pytest.raises(BuildError, match=r"no TIFF asset in .*Left out: 1 image/jp2"):
        build_index(write_json("x.json", item), tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


def test_a_missing_document_says_so(tmp_path):
    with pytest.raises(BuildError, match="AssetNotFoundError"):
        build_index(tmp_path / "none.json", tmp_path / "x.parquet")
