"""refresh: an index is built again from its own definition, and only what changed is read."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import BuildError, InvalidArgumentError, InvalidIndexError
from rasteret_sql.testing.server import RangeServer

from .scripted_api import ScriptedApi

ONE_BYTE = (0, 1)
HEADER = (0, 32_768)


def counts(report):
    return report.new, report.changed, report.kept, report.gone


def hrefs(path):
    with rs.connect() as con:
        return {href.rpartition("/")[2] for (href,) in con.sql(f"SELECT href FROM '{path}'").fetchall()}


def asked(server):
    """How often each range was asked for, of TIFF files."""
    return Counter((r.path, (r.start, r.end)) for r in server.requests if r.path.endswith(".tif"))


@pytest.fixture
def catalog(cog, stac_item, tmp_path):
    """Items on a server, and how they are published anew."""
    with RangeServer(tmp_path / "files") as server:

        def publish(*names, **properties):
            items = [stac_item(name, {"red": server.url(f"{name}.tif")}, **properties) for name in names]
            (tmp_path / "files" / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))

        for name in "abcd":
            cog(f"files/{name}.tif")
        publish("a", "b", "c")
        yield server, publish


def test_only_new_and_changed_files_are_read_and_others_cost_one_byte(catalog, cog, tmp_path):
    server, publish = catalog
    index = tmp_path / "i.parquet"
    rs.build_index(server.url("items.json"), index)
    cog("files/b.tif", bands=2)
    publish("b", "c", "d")
    server.reset()
    report = rs.refresh(index)
    assert counts(report) == (1, 1, 1, 1)
    assert report.gone_files == (server.url("a.tif"),)
    assert asked(server) == {
        ("b.tif", ONE_BYTE): 1, ("b.tif", HEADER): 1, ("c.tif", ONE_BYTE): 1, ("d.tif", HEADER): 1,
    }  # fmt: skip
    assert hrefs(index) == {"b.tif", "c.tif", "d.tif"}
    assert "1 new, 1 changed, 1 kept, 1 gone" in str(report)


def test_a_refreshed_index_is_the_one_that_a_build_gives(catalog, cog, tmp_path):
    server, publish = catalog
    rs.build_index(server.url("items.json"), tmp_path / "i.parquet")
    cog("files/b.tif", bands=2)
    publish("d", "c", "b", **{"eo:cloud_cover": 7})
    rs.refresh(tmp_path / "i.parquet")
    rs.build_index(server.url("items.json"), tmp_path / "j.parquet")
    with rs.connect() as con:
        query = "SELECT * EXCLUDE (indexed_at) FROM '{}'"
        refreshed = con.sql(query.format(tmp_path / "i.parquet")).fetchall()
        assert refreshed == con.sql(query.format(tmp_path / "j.parquet")).fetchall()
        cloud = con.sql(f"SELECT DISTINCT \"eo:cloud_cover\" FROM '{tmp_path / 'i.parquet'}'").fetchall()
        assert cloud == [(7,)]
        tiles = con.sql(f"SELECT count(pixels) FROM read_tiles('{tmp_path / 'i.parquet'}')")
        assert tiles.fetchall() == [(16,)]  # of 2 bands of b, and of one of c and of d


def test_a_footprint_that_the_source_corrected_is_not_kept(catalog, stac_item, tmp_path):
    server, _ = catalog
    rs.build_index(server.url("items.json"), tmp_path / "i.parquet")
    item = stac_item("a", {"red": server.url("a.tif")})
    item["geometry"]["coordinates"] = [[[76, 11], [78, 12], [78, 13], [77, 13], [76, 11]]]
    (tmp_path / "files" / "items.json").write_text(json.dumps(item))
    server.reset()
    rs.refresh(tmp_path / "i.parquet")
    assert asked(server) == {("a.tif", HEADER): 1}
    with rs.connect() as con:
        assert con.sql(f"SELECT ST_AsText(geometry) LIKE '%76 11%' FROM '{tmp_path / 'i.parquet'}'").fetchall() == [
            (True,)
        ]


def test_a_second_refresh_changes_nothing_but_when(catalog, tmp_path):
    server, _ = catalog
    rs.build_index(server.url("items.json"), tmp_path / "i.parquet")
    assert counts(rs.refresh(tmp_path / "i.parquet")) == (0, 0, 3, 0)
    server.reset()
    assert counts(rs.refresh(tmp_path / "i.parquet")) == (0, 0, 3, 0)
    assert set(asked(server)) == {(f"{name}.tif", ONE_BYTE) for name in "abc"}


def test_a_file_that_can_no_longer_be_read_is_gone_and_in_the_report(catalog, tmp_path):
    server, _ = catalog
    rs.build_index(server.url("items.json"), tmp_path / "i.parquet")
    (tmp_path / "files" / "a.tif").unlink()
    report = rs.refresh(tmp_path / "i.parquet")
    assert counts(report) == (0, 0, 2, 1)
    assert [failure.error for failure in report.build.failures] == ["AssetNotFoundError"]


def test_globs_patterns_mirrors_and_collections_are_those_of_the_build_wherever_it_runs(cog, tmp_path, monkeypatch):
    cog("files/i0/red.tif")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "files")
    options = {"pattern": "{item_id}/{asset}.tif", "collection": "c", "assets": ["red"]}
    rs.build_index("*/*.tif", tmp_path / "i.parquet", href_map={f"{tmp_path}/files/": "./"}, **options)
    cog("files/i1/red.tif")
    cog("files/i1/nir.tif")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert counts(rs.refresh(tmp_path / "i.parquet")) == (1, 0, 1, 0)
    with rs.connect() as con:
        rows = con.sql(f"SELECT collection, item_id, asset FROM '{tmp_path / 'i.parquet'}' ORDER BY ALL").fetchall()
    assert rows == [("c", "i0", "red"), ("c", "i1", "red")]


def test_an_index_definition_is_run_again_with_its_variables(cog, tmp_path):
    cog("files/a.tif")
    (tmp_path / "index.sql").write_text(
        "-- name: demo\n-- kind: index\n-- grain: one row per asset\n"
        f"WITH found AS (SELECT file AS href FROM glob('{tmp_path}/files/' || getvariable('names'))) FROM read_headers(found)"
    )
    rs.build_index(tmp_path / "index.sql", tmp_path / "i.parquet", variables={"names": "*.tif"})
    cog("files/b.tif")
    cog("files/a.tif", bands=2)
    (tmp_path / "index.sql").unlink()
    index = tmp_path / "i.parquet"
    assert counts(rs.refresh(index, trust=True)) == (1, 1, 0, 0)
    assert counts(rs.refresh(index, trust=True, variables={"names": "b.tif"})) == (0, 0, 1, 1)
    assert counts(rs.refresh(index, trust=True)) == (0, 0, 1, 0)


def test_a_select_in_the_metadata_runs_only_where_it_is_trusted(cog, tmp_path):
    cog("files/a.tif")
    (tmp_path / "index.sql").write_text(
        "-- name: demo\n-- kind: index\n-- grain: one row per asset\n"
        f"WITH found AS (SELECT file AS href FROM glob('{tmp_path}/files/*')) FROM read_headers(found)"
    )
    index = tmp_path / "i.parquet"
    rs.build_index(tmp_path / "index.sql", index)
    before = index.read_bytes()
    with pytest.raises(InvalidArgumentError, match=r"expected trust=True to run it") as caught:
        rs.refresh(index)
    assert "FROM glob(" in str(caught.value)
    assert index.read_bytes() == before
    assert counts(rs.refresh(index, trust=True)) == (0, 0, 1, 0)


def test_a_variable_that_looks_like_a_secret_is_asked_for(cog, tmp_path):
    cog("files/a.tif")
    (tmp_path / "index.sql").write_text(
        "-- name: demo\n-- kind: index\n-- grain: one row per asset\n"
        f"WITH found AS (SELECT '{tmp_path}/files/' || getvariable('my_token') AS href) FROM read_headers(found)"
    )
    rs.build_index(tmp_path / "index.sql", tmp_path / "i.parquet", variables={"my_token": "a.tif"})
    with pytest.raises(InvalidArgumentError, match=r"does not keep the value of my_token, .* --set my_token="):
        rs.refresh(tmp_path / "i.parquet", trust=True)
    again = rs.refresh(tmp_path / "i.parquet", trust=True, variables={"my_token": "a.tif"})
    assert counts(again) == (0, 0, 1, 0)


def test_an_index_of_what_was_in_memory_is_refused_with_the_remedy(cog, stac_item, tmp_path):
    item = stac_item("a", {"red": str(cog("a.tif"))})
    rs.build_index(item, tmp_path / "i.parquet")
    before = (tmp_path / "i.parquet").read_bytes()
    with pytest.raises(InvalidIndexError, match=r"was built of STAC items in memory, which cannot be asked again"):
        rs.refresh(tmp_path / "i.parquet")
    assert (tmp_path / "i.parquet").read_bytes() == before


def test_an_index_that_plain_sql_wrote_is_refused_with_the_remedy(cog, tmp_path):
    rs.build_index(cog("a.tif"), tmp_path / "i.parquet")
    with rs.connect() as con:
        con.execute(f"COPY (FROM '{tmp_path / 'i.parquet'}') TO '{tmp_path / 'j.parquet'}'")
    with pytest.raises(InvalidIndexError, match=r"Build it anew with rasteret_sql\.build_index"):
        rs.refresh(tmp_path / "j.parquet")


def test_variables_are_refused_where_there_are_none(cog, tmp_path):
    rs.build_index(cog("a.tif"), tmp_path / "i.parquet")
    with pytest.raises(InvalidArgumentError, match="was not built of an index definition"):
        rs.refresh(tmp_path / "i.parquet", variables={"a": 1})


def test_a_refresh_that_fails_leaves_the_index_as_it_was(cog, tmp_path):
    path = cog("files/a.tif")
    rs.build_index(f"{tmp_path}/files/*.tif", tmp_path / "i.parquet")
    before = (tmp_path / "i.parquet").read_bytes()
    path.unlink()
    with pytest.raises(BuildError, match="nothing was written"):
        rs.refresh(tmp_path / "i.parquet")
    assert (tmp_path / "i.parquet").read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["files", "i.parquet"]


def test_a_search_is_asked_again(cog, stac_item, tmp_path):
    items = [stac_item(name, {"red": cog(f"{name}.tif").as_uri()}) for name in "abc"]
    with rs.set_options(allow=[tmp_path]), ScriptedApi(items[:2]) as api:
        search = rs.stac_search(api.url, collections=["c"], datetime="2024-01", bbox=[77, 12, 78, 13])
        rs.build_index(search, tmp_path / "i.parquet", assets=["red"])
        api.items[:] = items[1:]
        assert counts(rs.refresh(tmp_path / "i.parquet")) == (1, 0, 1, 1)
        first, *_, last = api.searches
        assert last == first


def test_a_definition_that_searches_takes_its_arguments_from_variables(cog, stac_item, tmp_path):
    items = [stac_item(name, {"red": cog(f"{name}.tif").as_uri()}, **{"eo:cloud_cover": 5}) for name in "ab"]
    with rs.set_options(allow=[tmp_path]), ScriptedApi(items) as api:
        (tmp_path / "index.sql").write_text(
            "-- name: demo\n-- kind: index\n-- grain: one row per asset\n"
            f"WITH found AS (FROM stac_search('{api.url}', collections := ['c'], "
            "bbox := getvariable('bbox')::DOUBLE[], datetime := getvariable('period')) "
            'WHERE "eo:cloud_cover" < 20) FROM read_headers(found)'
        )
        variables = {"bbox": "[77, 12, 78, 13]", "period": "2024-01"}
        report = rs.build_index(tmp_path / "index.sql", tmp_path / "i.parquet", variables=variables)
        assert (report.rows, report.proj_mismatches) == (2, 0)
        assert counts(rs.refresh(tmp_path / "i.parquet", trust=True)) == (0, 0, 2, 0)
        assert api.searches[0]["bbox"] == [77, 12, 78, 13]
