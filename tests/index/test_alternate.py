"""The STAC extensions alternate-assets and storage: which location of an asset is read, and what STAC says of it."""

from __future__ import annotations

import json
import warnings

import duckdb
import pyarrow as pa
import pystac
import pytest
from pyarrow import parquet
from pystac.extensions.storage import StorageExtension

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.index.info import provenance_of
from rasteret_sql.index.stac.items import locations, storage_of, with_advice
from rasteret_sql.testing.faults import Fault
from rasteret_sql.testing.server import RangeServer

from .reading import read_assets
from .scripted_api import ScriptedApi

PUBLISHED = "https://example.com/data/"
ENVIRONMENT = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_REQUEST_PAYER",
)
FACTS = ("requester_pays", "region", "endpoint")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What the shell of whoever runs the tests says of S3 is not part of them."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """Serve the folder `buckets` as S3: its folders are the buckets."""
    (tmp_path / "buckets").mkdir()
    with RangeServer(tmp_path / "buckets") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.base_url)
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        # One store per bucket and process: buckets of another server must not be found.
        from rasteret_sql.io import stores

        monkeypatch.setattr(stores, "_stores", {})
        yield server


@pytest.fixture
def item(stac_item):
    """Make an item of published hrefs, with the alternate locations of each asset."""

    def make(alternates: dict[str, dict | None], item_id: str = "i", **properties) -> dict:
        document = stac_item(item_id, {key: f"{PUBLISHED}{key}.tif" for key in alternates}, **properties)
        for key, alternate in alternates.items():
            if alternate is not None:
                document["assets"][key]["alternate"] = alternate
        return document

    return make


def at(href, **fields):
    return {"href": str(href), **fields}


def places(source, **options):
    """Published href and mirror of each asset, by key."""
    found = [entry for step in read_assets(source, **options) for entry in step.items]
    return {asset.asset: (asset.href, asset.mirror) for entry in found for asset in entry.assets}


def rows(index):
    return parquet.read_table(index).select(["asset", "href", "mirror"]).sort_by("asset").to_pylist()


def test_assets_are_read_at_their_alternate_location_and_the_published_href_is_kept(cog, s3, item, tmp_path):
    cog("buckets/scenes/red.tif")
    local = cog("local/nir.tif")
    document = item({"red": {"s3": at("s3://scenes/red.tif")}, "nir": None})
    document["assets"]["nir"]["href"] = str(local)
    rs.build_index(document, tmp_path / "i.parquet", alternate="s3")
    assert rows(tmp_path / "i.parquet") == [
        {"asset": "nir", "href": str(local), "mirror": None},
        {"asset": "red", "href": f"{PUBLISHED}red.tif", "mirror": "s3://scenes/red.tif"},
    ]
    assert [request.path for request in s3.requests] == ["scenes/red.tif"]
    with rs.connect() as con:
        query = f"SELECT count(*) FROM read_tiles('{tmp_path / 'i.parquet'}', bands := ['red'])"
        assert con.sql(query).fetchall() == [(4,)]


def test_without_the_argument_alternates_are_not_looked_at(item):
    assert places(item({"red": {"s3": at("s3://b/red.tif")}})) == {"red": (f"{PUBLISHED}red.tif", None)}


def test_of_several_names_the_first_that_an_asset_has_counts(item):
    both = {"gs": at("gs://b/a.tif"), "s3": at("s3://b/a.tif")}
    source = item({"a": both, "b": {"gs": at("gs://b/b.tif")}, "c": None})
    assert {key: mirror for key, (_, mirror) in places(source, alternate=["s3", "gs"]).items()} == {
        "a": "s3://b/a.tif",
        "b": "gs://b/b.tif",
        "c": None,
    }
    # Of a list, some may be names that no asset has.
    assert places(source, alternate=["azure", "gs"])["a"][1] == "gs://b/a.tif"


def test_a_location_is_found_by_its_name_too_and_keys_go_before_names(item):
    alternate = {
        "x": at("s3://x/a.tif", **{"alternate:name": "S3"}),
        "y": at("s3://y/a.tif", **{"alternate:name": "x"}),
    }
    source = item({"a": alternate})
    assert places(source, alternate="S3")["a"][1] == "s3://x/a.tif"
    assert places(source, alternate="x")["a"][1] == "s3://x/a.tif"


def test_an_asset_whose_own_location_has_the_name_is_read_from_its_href(item):
    source = item({"a": {"https": at("https://mirror.example.com/a.tif")}, "b": {"s3": at("s3://b/b.tif")}})
    source["assets"]["a"] |= {"href": "s3://b/a.tif", "alternate:name": "s3"}
    assert places(source, alternate=["s3", "https"]) == {
        "a": ("s3://b/a.tif", None),
        "b": (f"{PUBLISHED}b.tif", "s3://b/b.tif"),
    }


def test_an_alternate_location_that_is_the_published_one_is_no_mirror(item):
    assert places(item({"a": {"https": at(f"{PUBLISHED}a.tif")}}), alternate="https")["a"][1] is None


def test_relative_alternate_hrefs_refer_to_the_document(item, write_json, tmp_path):
    path = write_json("items/i.json", item({"a": {"local": at("../files/a.tif")}}))
    assert places(path, alternate="local")["a"][1] == str(tmp_path / "files" / "a.tif")


def test_href_map_applies_to_the_location_that_was_chosen(item):
    source = item({"a": {"s3": at("s3://b/a.tif")}, "b": None})
    mirrors = {"s3://b/": "/mirror/s3/", PUBLISHED: "/mirror/https/"}
    assert places(source, alternate="s3", href_map=mirrors) == {
        "a": (f"{PUBLISHED}a.tif", "/mirror/s3/a.tif"),
        "b": (f"{PUBLISHED}b.tif", "/mirror/https/b.tif"),
    }
    assert places(source, alternate="s3", href_map={PUBLISHED: "/mirror/"})["a"][1] == "s3://b/a.tif"


def test_a_location_of_another_kind_is_left_out_and_counted(item):
    source = item({"a": {"zarr": at("s3://b/a.zarr", type="application/vnd+zarr")}, "b": None})
    source["assets"]["b"]["alternate"] = {"zarr": at("s3://b/b.tif")}
    (step,) = read_assets(source, alternate="zarr")
    assert step.left_out == {"application/vnd+zarr": 1}
    assert [asset.asset for asset in step.items[0].assets] == ["b"]


def test_without_a_media_type_either_href_may_say_that_it_is_a_tiff(item):
    source = item({"a": {"s3": at("s3://b/a.tif")}, "b": {"s3": at("s3://b/b")}, "c": {"s3": at("s3://b/c.jp2")}})
    for asset in source["assets"].values():
        del asset["type"]
    source["assets"]["a"]["href"] = "https://example.com/Products(1)/$value"
    source["assets"]["c"]["href"] = "https://example.com/c.jp2"
    (step,) = read_assets(source, alternate="s3")
    assert [asset.asset for asset in step.items[0].assets] == ["a", "b"]
    assert step.left_out == {".jp2": 1}


@pytest.mark.parametrize(
    "alternate", [{}, [], None, "s3", {"s3": None}, {"s3": {}}, {"s3": at("")}, {"s3": {"href": 5}}]
)
def test_what_is_no_location_is_none(item, alternate):
    source = item({"a": alternate, "b": {"s3": at("s3://b/b.tif")}})
    assert places(source, alternate="s3")["a"] == (f"{PUBLISHED}a.tif", None)


def test_a_name_that_no_asset_has_is_an_error_with_those_that_there_are(item, tmp_path):
    found = {"s3": at("s3://b/a.tif"), "gs": at("gs://b/a.tif", **{"alternate:name": "Google"})}
    with pytest.raises(BuildError, match=r"alternate: got S3, which no asset has, expected one of Google, gs, s3;"):
        rs.build_index(item({"a": found}), tmp_path / "i.parquet", alternate="S3")
    with pytest.raises(BuildError, match="got s3, gs, which no asset has, and none has alternate locations"):
        rs.build_index(item({"a": None}), tmp_path / "i.parquet", alternate=["s3", "gs"])
    assert list(tmp_path.iterdir()) == []


def test_names_of_assets_that_were_not_asked_for_do_not_count(item):
    source = item({"a": {"s3": at("s3://b/a.tif")}, "b": {"gs": at("gs://b/b.tif")}})
    with pytest.raises(BuildError, match="got gs, which no asset has, expected one of s3"):
        places(source, alternate="gs", assets=["a"])


def test_assets_that_no_item_has_are_said_before_locations(item, tmp_path):
    with pytest.raises(BuildError, match="got assets blue, which no item has"):
        rs.build_index(item({"a": None}), tmp_path / "i.parquet", alternate="s3", assets=["blue"])


def test_files_have_no_alternate_locations(cog, tmp_path):
    with pytest.raises(BuildError, match="none has alternate locations; leave it out"):
        rs.build_index(cog("a.tif"), tmp_path / "i.parquet", alternate="s3")


@pytest.mark.parametrize("alternate", ["", [], [""], 5, {"s3"}, ["s3", None], {"s3": 1}])
def test_what_is_no_name_is_refused_before_anything_is_read(alternate, tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"alternate: got .*, expected the name of a location"):
        rs.build_index("absent.json", tmp_path / "i.parquet", alternate=alternate)
    with pytest.raises(InvalidArgumentError, match="alternate: got"):
        rs.stac_search("https://example.com", alternate=alternate)


def test_an_index_definition_says_it_itself(tmp_path):
    with pytest.raises(InvalidArgumentError, match="or alternate with an index definition"):
        rs.build_index("index.sql", tmp_path / "i.parquet", alternate="s3")


def test_refresh_reads_from_where_the_build_did(cog, s3, item, write_json, tmp_path):
    cog("buckets/scenes/a.tif")
    first = item({"a": {"s3": at("s3://scenes/a.tif")}})
    path = write_json("items.json", {"type": "FeatureCollection", "features": [first]})
    rs.build_index(path, tmp_path / "i.parquet", alternate=["gs", "s3"])
    assert provenance_of(tmp_path / "i.parquet")["definition"]["alternate"] == ["gs", "s3"]
    cog("buckets/scenes/b.tif")
    second = item({"b": {"s3": at("s3://scenes/b.tif")}}, item_id="j")
    write_json("items.json", {"type": "FeatureCollection", "features": [first, second]})
    report = rs.refresh(tmp_path / "i.parquet")
    assert (report.new, report.changed, report.kept, report.gone) == (1, 0, 1, 0)
    assert [row["mirror"] for row in rows(tmp_path / "i.parquet")] == ["s3://scenes/a.tif", "s3://scenes/b.tif"]


def test_the_digest_of_an_index_tells_locations_apart(cog, s3, item, write_json, tmp_path):
    cog("buckets/one/a.tif")
    cog("buckets/two/a.tif")
    path = write_json("i.json", item({"a": {"one": at("s3://one/a.tif"), "two": at("s3://two/a.tif")}}))
    digests = set()
    for alternate in ("one", "two", ["two", "one"]):
        rs.build_index(path, tmp_path / "i.parquet", alternate=alternate)
        digests.add(provenance_of(tmp_path / "i.parquet")["definition_sha256"])
    assert len(digests) == 3


def test_a_search_reads_from_them_and_keeps_it_for_the_refresh(cog, s3, item, tmp_path):
    cog("buckets/scenes/a.tif")
    with ScriptedApi([item({"a": {"s3": at("s3://scenes/a.tif")}})]) as api:
        search = rs.stac_search(api.url, collections=["c"], alternate="s3")
        assert repr(search).endswith("collections=['c'], alternate=['s3'])")
        assert pa.table(search).column("mirror").to_pylist() == ["s3://scenes/a.tif"]
        for source, options in ((search, {}), (rs.stac_search(api.url, collections=["c"]), {"alternate": "s3"})):
            rs.build_index(source, tmp_path / "i.parquet", **options)
            assert rs.refresh(tmp_path / "i.parquet").kept == 1
            assert rows(tmp_path / "i.parquet")[0]["mirror"] == "s3://scenes/a.tif"
        with pytest.raises(BuildError, match="got gs, which no asset has, expected one of s3"):
            rs.build_index(search, tmp_path / "i.parquet", alternate="gs")


@pytest.mark.parametrize("alternate", ["'s3'", "['gs', 's3']"])
def test_sql_reads_from_them(cog, s3, item, write_json, alternate):
    cog("buckets/scenes/a.tif")
    document = item({"a": {"s3": at("s3://scenes/a.tif")}})
    path = write_json("i.json", document)
    with rs.connect() as con, ScriptedApi([document]) as api:
        for call in (
            f"stac_items('{path}', alternate := {alternate})",
            f"stac_search('{api.url}', alternate := {alternate})",
        ):
            query = f"WITH assets AS (FROM {call}) SELECT href, mirror, width FROM read_headers(assets)"
            assert con.sql(query).fetchall() == [(f"{PUBLISHED}a.tif", "s3://scenes/a.tif", 64)]
        assert con.sql(f"SELECT mirror FROM stac_items('{path}')").fetchall() == [(None,)]
        with pytest.raises(duckdb.Error, match="alternate: got azure, which no asset has, expected one of s3"):
            con.sql(f"FROM stac_items('{path}', alternate := 'azure')")
        with pytest.raises(duckdb.Error, match="alternate: got 5, expected the name of a location"):
            con.sql(f"FROM stac_items('{path}', alternate := 5)")


def test_the_command_line_takes_names_in_order(cog, s3, item, write_json, tmp_path, capfd):
    cog("buckets/scenes/a.tif")
    path = write_json("i.json", item({"a": {"s3": at("s3://scenes/a.tif"), "gs": at("gs://scenes/a.tif")}}))
    index = tmp_path / "i.parquet"
    assert main(["build", str(path), "-o", str(index), "--alternate", "azure", "--alternate", "s3"]) == 0
    assert rows(index)[0]["mirror"] == "s3://scenes/a.tif"
    assert main(["build", str(path), "-o", str(index), "--alternate", "azure"]) == 2
    assert "expected one of gs, s3" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["structs", "maps"])
def test_stac_geoparquet_has_them_too(item, tmp_path, kind):
    location = pa.struct({"href": pa.string(), "alternate:name": pa.string(), "storage:requester_pays": pa.bool_()})
    alternates = pa.map_(pa.string(), location) if kind == "maps" else pa.struct({"s3": location, "gs": location})
    asset = pa.struct({"href": pa.string(), "type": pa.string(), "alternate": alternates})
    assets = pa.map_(pa.string(), asset) if kind == "maps" else pa.struct({"a": asset, "b": asset})
    document = item({"a": {"s3": at("s3://bucket/a.tif", **{"storage:requester_pays": True})}, "b": None})
    listed = {key: {**one, "type": "image/tiff"} for key, one in document["assets"].items()}
    if kind == "maps":
        listed["a"]["alternate"] = list(listed["a"]["alternate"].items())
        listed = list(listed.items())
    table = pa.table({"id": ["i"], "assets": pa.array([listed], assets)})
    parquet.write_table(table, tmp_path / "items.parquet")
    for source in (table, tmp_path / "items.parquet"):
        assert places(source, alternate="s3") == {
            "a": (f"{PUBLISHED}a.tif", "s3://bucket/a.tif"),
            "b": (f"{PUBLISHED}b.tif", None),
        }
        (step,) = read_assets(source, alternate="s3")
        assert step.items[0].assets[0].proj == {"requester_pays": True}


def test_no_signature_of_a_location_is_kept(cog, item, tmp_path):
    cog("files/a.tif")
    with RangeServer(tmp_path / "files") as server:
        signed = server.url("a.tif") + "?X-Amz-Signature=SECRET&v=1"
        rs.build_index(item({"a": {"signed": at(signed)}}), tmp_path / "i.parquet", alternate="signed")
        assert rows(tmp_path / "i.parquet")[0]["mirror"] == server.url("a.tif") + "?v=1"
    assert b"SECRET" not in (tmp_path / "i.parquet").read_bytes()


REFUSED = {
    "version 1, of the item": ({"storage:requester_pays": True}, {}),
    "version 1, of the asset": ({"storage:requester_pays": False}, {"storage:requester_pays": True}),
    "version 2": (
        {"storage:schemes": {"aws": {"type": "aws-s3", "platform": "https://{bucket}.s3.{region}.amazonaws.com",
                                     "requester_pays": True}}},
        {"storage:refs": ["aws"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("version", REFUSED)
def test_who_is_refused_learns_that_the_item_says_that_readers_pay(s3, item, tmp_path, monkeypatch, version):
    properties, of_asset = REFUSED[version]
    document = item({"a": {"s3": at("s3://scenes/a.tif", **of_asset)}}, **properties)
    for _ in range(4):
        s3.add_faults("scenes/a.tif", Fault("status", status=403))
    says = r"AccessDeniedError: .*readers pay.* STAC says that whoever reads it pays .*AWS_REQUEST_PAYER=requester"
    with pytest.raises(BuildError, match=says):
        rs.build_index(document, tmp_path / "i.parquet", alternate="s3")
    path = tmp_path / "i.json"
    path.write_text(json.dumps(document))
    with rs.connect() as con:
        headers = "FROM read_headers(assets, on_error := 'null')"
        query = f"WITH assets AS (FROM stac_items('{path}', alternate := 's3')) SELECT notes {headers}"
        ((notes,),) = con.sql(query).fetchall()
    assert "STAC says that whoever reads it pays" in notes[0]
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    with pytest.raises(BuildError) as caught:
        rs.build_index(document, tmp_path / "i.parquet", alternate="s3")
    assert "STAC says" not in str(caught.value)


def test_a_file_that_is_read_gives_no_advice(cog, s3, item, tmp_path):
    cog("buckets/scenes/a.tif")
    document = item({"a": {"s3": at("s3://scenes/a.tif")}}, **{"storage:requester_pays": True})
    report = rs.build_index(document, tmp_path / "i.parquet", alternate="s3")
    assert report.failures == ()


def advice(error, **said):
    return with_advice(error, "refused.", "s3://b/a.tif", json.dumps(said)).removeprefix("refused.").strip()


def test_the_region_and_the_endpoint_are_said_where_the_environment_names_none(monkeypatch):
    said = {"region": "us-west-2", "endpoint": "https://s3.example.com", "requester_pays": True}
    endpoint = "STAC says that its bucket is one of https://s3.example.com: set AWS_ENDPOINT_URL to that."
    region = "STAC says that its region is us-west-2: set AWS_REGION=us-west-2."
    assert advice("AssetNotFoundError", **said) == endpoint
    assert advice("TransportError", **said) == f"{endpoint} {region}"
    assert advice("AccessDeniedError", **said).startswith(f"{endpoint} STAC says that whoever")
    assert advice("NotTiffError", **said) == ""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.com")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert advice("TransportError", **said) == advice("AssetNotFoundError", **said) == ""


@pytest.mark.parametrize("proj", [None, "", "x", "[]", "5", '{"code": "EPSG:4326"}'])
def test_what_says_nothing_of_storage_changes_no_message(proj):
    assert with_advice("AccessDeniedError", "refused.", "s3://b/a.tif", proj) == "refused."


@pytest.mark.parametrize("href", [None, "https://mirror.example.com/a.tif", "/data/a.tif"])
def test_a_file_that_is_read_elsewhere_is_not_advised_on(href):
    assert with_advice("AccessDeniedError", "refused.", href, '{"requester_pays": true}') == "refused."


def test_storage_fields_do_not_hold_for_mirrors_that_the_caller_names(item):
    source = item({"a": {"s3": at("s3://b/a.tif")}}, **{"storage:requester_pays": True})
    ((step,), (mirrored,)) = (read_assets(source, alternate="s3", href_map=m) for m in ({}, {"s3://b/": "s3://mine/"}))
    assert step.items[0].assets[0].proj == {"requester_pays": True}
    assert mirrored.items[0].assets[0].proj == {}


def test_only_files_in_s3_have_such_facts():
    properties = {"storage:requester_pays": True, "storage:region": "us-west-2"}
    assert storage_of("https://b.s3.us-west-2.amazonaws.com/a.tif", {}, properties=properties) == {}
    assert storage_of("s3a://b/a.tif", {}, properties=properties) == {"requester_pays": True, "region": "us-west-2"}


@pytest.mark.parametrize(
    "properties",
    [
        {"storage:requester_pays": "yes", "storage:region": ""},
        {"storage:platform": "AZURE", "storage:requester_pays": True, "storage:region": "westeurope"},
        {"storage:schemes": ["aws"]},
        {"storage:schemes": {"aws": None, "gs": {"type": "custom", "region": "x"}}},
        {"storage:schemes": {"other": {"type": "aws-s3", "region": "x"}}},
    ],
)
def test_fields_that_are_malformed_or_of_another_store_say_nothing(properties):
    assert storage_of("s3://b/a.tif", {"storage:refs": ["aws", "gs", 5]}, properties=properties) == {}


def test_the_location_says_it_before_the_asset_and_the_asset_before_the_item():
    location, asset = {"storage:requester_pays": False}, {"storage:requester_pays": True, "storage:region": "b"}
    said = storage_of("s3://b/a.tif", location, asset, properties={"storage:region": "c"})
    assert said == {"region": "b"}


def test_another_store_than_amazons_is_named_by_its_platform():
    schemes = {
        "cdse": {"type": "custom-s3", "platform": "https://eodata.example.eu?key=SECRET", "requester_pays": False},
        "https": {"type": "example", "platform": "https://download.example.eu"},
    }
    said = storage_of("s3://eodata/a.tif", {"storage:refs": ["https", "cdse"]}, properties={"storage:schemes": schemes})
    assert said == {"endpoint": "https://eodata.example.eu"}


def test_schemes_are_those_that_pystac_reads():
    document = pystac.Item(
        "i", None, None, None, {"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-01-01T00:00:00Z"}
    )
    document.add_asset("a", pystac.Asset("s3://bucket/a.tif", media_type="image/tiff"))
    scheme = pystac.extensions.storage.StorageScheme.create(
        type="aws-s3", platform="https://{bucket}.s3.{region}.amazonaws.com", region="us-west-2", requester_pays=True
    )
    StorageExtension.ext(document, add_if_missing=True).add_scheme("aws", scheme)
    StorageExtension.ext(document.assets["a"]).add_ref("aws")
    (step,) = read_assets(document)
    assert step.items[0].assets[0].proj == {"requester_pays": scheme.requester_pays, "region": scheme.region}


@pytest.mark.parametrize(
    ("name", "count"),
    [("earthsearch-v1_landsat-c2-l2_1_requesterpays.json", 19), ("earthsearch-v1_cop-dem-glo-30_10.json", 10)],
)
def test_storage_of_real_items_is_what_pystac_makes_schemes_of(shared_data, name, count):
    documents = json.loads((shared_data / "stac" / name).read_text())["features"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # pystac writes the fields of version 1, which these files have, as schemes and refs of version 2.
        items = [pystac.Item.from_dict(document, migrate=True) for document in documents]
    expected = {}
    for item in items:
        for key, asset in item.assets.items():
            (ref,) = StorageExtension.ext(asset).refs
            scheme = StorageExtension.ext(item).schemes[ref]
            pays = {"requester_pays": True} if scheme.requester_pays else {}
            expected[item.id, key] = {"region": scheme.region, **pays}
    for source in (documents, [item.to_dict(include_self_link=False, transform_hrefs=False) for item in items]):
        found = [entry for step in read_assets(source) for entry in step.items]
        said = {
            (entry.item.item_id, asset.asset): {name: asset.proj[name] for name in FACTS if name in asset.proj}
            for entry in found
            for asset in entry.assets
        }
        assert len(said) == count
        assert said == {at: expected[at] for at in said}


def test_locations_of_an_asset_without_any_are_none():
    assert locations({"href": "a.tif"}) == {}
