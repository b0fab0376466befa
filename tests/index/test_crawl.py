"""STAC documents over HTTP and from disk: crawling, relative hrefs, what is no STAC."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import BuildError, InvalidArgumentError
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


class _Endless:
    """A server whose every catalog links to two others that nobody has seen, or whose pages never end."""

    def __init__(self, kind: str) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                asked.append(self.path)
                name = self.path.strip("/").removesuffix(".json")
                if kind == "pages":
                    links = [{"rel": "next", "href": f"/{int(name) + 1}.json"}]
                    document = {"type": "FeatureCollection", "features": [], "links": links}
                else:
                    ends = ("0", "1") if kind == "wide" else ("0",)
                    links = [{"rel": "child", "href": f"/{name}{end}.json"} for end in ends]
                    document = {
                        "type": "Catalog",
                        "id": name,
                        "stac_version": "1.0.0",
                        "description": "",
                        "links": links,
                    }
                data = gzip.compress(json.dumps(document).encode())
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                # Compressed although nobody asked for it.
                self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/1.json"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(
    ("kind", "says"), [("wide", "expected at most 40"), ("deep", "100 deep"), ("pages", "at most 40")]
)
def test_a_catalog_without_end_is_an_error(kind, says, tmp_path):
    limit = 1000 if kind == "deep" else 40
    endless = _Endless(kind)
    with endless as url, rs.set_options(max_documents=limit), pytest.raises(InvalidArgumentError, match=says) as caught:
        rs.build_index(url, tmp_path / "i.parquet")
    assert "max_documents" in str(caught.value)
    # Two requests for each document: a range, and the whole where the server gives no ranges.
    assert len(endless.asked) < 2 * 110
    assert not (tmp_path / "i.parquet").exists()


@pytest.mark.parametrize("data", [gzip.compress(b"{}", mtime=0)[:-9], b"\x1f\x8bnothing"], ids=["cut", "broken"])
def test_broken_gzip_is_a_failure_that_says_so(data, tmp_path):
    (tmp_path / "item.json").write_bytes(data)
    with pytest.raises(BuildError, match="gzip"):
        rs.build_index(tmp_path / "item.json", tmp_path / "i.parquet")


def test_documents_in_gzip_are_read(cog, stac_item, tmp_path):
    (tmp_path / "item.json").write_bytes(gzip.compress(json.dumps(stac_item("a", {"red": str(cog("a.tif"))})).encode()))
    assert rs.build_index(tmp_path / "item.json", tmp_path / "i.parquet").rows == 1


def test_lone_surrogates_are_failures_that_can_be_printed(cog, stac_item, tmp_path):
    good = stac_item("good", {"red": str(cog("a.tif"))})
    bad = [
        stac_item("\ud800", {"red": str(cog("a.tif"))}),
        {**stac_item("b\ud800", {"red": "b.tif"}), "properties": {"datetime": "2024\ud800"}},
        {**stac_item("c\ud800", {"red": "c.tif"}), "assets": 5},
        stac_item("d", {"red\udfff": "d.tif"}),
    ]
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [good, *bad]}))
    report = rs.build_index(tmp_path / "items.json", tmp_path / "i.parquet")
    assert (report.rows, len(report.failures)) == (1, len(bad))
    assert f"{report} {report!r} {report._repr_html_()} {report.failures}".encode()
