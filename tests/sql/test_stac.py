"""`stac_search`, `stac_items` and `datasets` in SQL."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index import asset_table
from rasteret_sql.sql import stac

S2 = "earthsearch-v1_sentinel-2-l2a_7.json"


@pytest.fixture
def searches(monkeypatch):
    """Count what is written for queries, with nothing kept from other tests."""
    monkeypatch.setattr(stac, "_results", {})
    calls = []
    write = asset_table.write_asset_rows

    def counted(sources, path, **options):
        calls.append(path)
        return write(sources, path, **options)

    monkeypatch.setattr(asset_table, "write_asset_rows", counted)
    return calls


def items(folder, *, count=2, **properties):
    features = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"i{number}",
            "collection": "c",
            "geometry": {"type": "Point", "coordinates": [77.5, 13.0]},
            "properties": {"datetime": "2024-01-02T00:00:00Z", **properties},
            "assets": {
                "red": {"href": "red.tif", "type": "image/tiff", "roles": ["data"], "title": "Red"},
                "preview": {"href": "p.jpg", "type": "image/jpeg"},
            },
            "links": [],
        }
        for number in range(count)
    ]
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_a_row_is_an_item_and_a_tiff_asset(con, tmp_path):
    path = items(tmp_path, **{"eo:cloud_cover": 7.5, "proj": "x"})
    result = con.sql(f"FROM stac_items('{path}') ORDER BY item_id LIMIT 1")
    row = dict(zip(result.columns, result.fetchall()[0], strict=True))
    assert (row["collection"], row["item_id"], row["asset"], row["media_type"]) == ("c", "i0", "red", "image/tiff")
    assert (row["href"], row["asset_roles"], row["asset_title"]) == (str(tmp_path / "red.tif"), ["data"], "Red")
    assert (row["eo:cloud_cover"], row["properties:proj"]) == (7.5, "x")
    assert row["bbox"] == {"xmin": 77.5, "ymin": 13.0, "xmax": 77.5, "ymax": 13.0}
    types = dict(zip(result.columns, map(str, result.types), strict=True))
    assert types["geometry"] == "GEOMETRY('OGC:CRS84')"
    assert types["datetime"] == "TIMESTAMP WITH TIME ZONE"


def test_the_columns_are_those_of_the_schema(con, tmp_path):
    from rasteret_sql.database.sqlfiles import sql_file

    with duckdb.connect() as plain:
        plain.execute(sql_file("schema/stac_assets.sql"))
        expected = {row[0]: row[1] for row in plain.sql("DESCRIBE stac_assets").fetchall()}
    given = {row[0]: row[1] for row in con.sql(f"DESCRIBE FROM stac_items('{items(tmp_path)}')").fetchall()}
    assert list(given) == list(expected)
    assert {name: kind.partition("(")[0] for name, kind in given.items()} == {
        name: kind.partition("(")[0] for name, kind in expected.items()
    }


def test_real_items_have_their_properties_as_columns(con, shared_data):
    path = shared_data / "stac" / S2
    theirs = {one["id"]: one["properties"]["eo:cloud_cover"] for one in json.loads(path.read_text())["features"]}
    query = f"""SELECT item_id, "eo:cloud_cover" FROM stac_items('{path}') WHERE asset = 'red'"""
    assert dict(con.sql(query).fetchall()) == theirs


def test_one_statement_reads_its_source_once(con, tmp_path, searches):
    path = items(tmp_path)
    con.sql(f"SELECT count(*) FROM stac_items('{path}')").fetchall()
    con.execute("SELECT count(*) FROM stac_items(?)", [str(path)]).fetchall()
    assert len(searches) == 1


def test_results_are_not_kept_beyond_their_time(con, tmp_path, searches, monkeypatch):
    monkeypatch.setattr(stac, "LOCAL_KEPT_S", -1.0)
    path = items(tmp_path)
    query = f"SELECT count(*) FROM stac_items('{path}')"
    assert con.execute(query).fetchall() == [(2,)]
    items(tmp_path, count=5)
    assert con.execute(query).fetchall() == [(5,)]


def test_without_a_match_common_properties_are_there_and_null(con, tmp_path):
    path = items(tmp_path, count=0)
    query = f"""SELECT count(*) FROM stac_items('{path}') WHERE "eo:cloud_cover" < 20 AND asset = 'red'"""
    assert con.sql(query).fetchall() == [(0,)]


def test_a_document_that_cannot_be_read_is_an_error_or_skipped(con, tmp_path):
    path = items(tmp_path)
    with pytest.raises(duckdb.Error, match=r"gone\.json"):
        con.sql(f"FROM stac_items('{tmp_path / 'gone.json'}')")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(duckdb.Error, match=r"broken\.json"):
        con.sql(f"FROM stac_items('{tmp_path}/*.json')")
    skipped = f"SELECT count(*) FROM stac_items('{tmp_path}/*.json', on_error := 'skip')"
    assert con.sql(skipped).fetchall() == [(2,)]
    with pytest.raises(duckdb.Error, match="on_error: got 'ignore'"):
        con.sql(f"FROM stac_items('{path}', on_error := 'ignore')")


def test_wrong_arguments_are_errors_of_ours(con):
    with pytest.raises(duckdb.Error, match=r"bbox: got .* expected four"):
        con.sql("FROM stac_search('https://stac.invalid', bbox := [1, 2])")
    with pytest.raises(duckdb.Error, match="datetime: got 'soon'"):
        con.sql("FROM stac_search('https://stac.invalid', datetime := 'soon')")
    with pytest.raises(duckdb.Error, match="expected an id of the catalog, such as earthsearch/sentinel-2-l2a"):
        con.sql("FROM stac_search('earthsearch/sentinel-2')")


def test_all_arguments_reach_the_search(con, searches, monkeypatch):
    asked = []

    def stop(api, **given):
        asked.append((api, given))
        raise InvalidArgumentError("stop")

    monkeypatch.setattr("rasteret_sql.index.sources.search.stac_search", stop)
    with pytest.raises(duckdb.Error, match="stop"):
        con.execute(
            """
            FROM stac_search(
                'https://x', collections := ['c'], bbox := [77.1, 12.9, 77.7, 13.1],
                intersects := 'POINT (1 2)'::GEOMETRY, datetime := '2024', ids := ['a', 'b'],
                filter := {'op': '<', 'args': [1, 2]}, sortby := ['-id'], max_items := 7, page_items := 9
            )"""
        )
    assert asked == [
        (
            "https://x",
            {
                "collections": ["c"],
                "bbox": [77.1, 12.9, 77.7, 13.1],
                "intersects": "POINT (1 2)",
                "datetime": "2024",
                "ids": ["a", "b"],
                "filter": {"op": "<", "args": [1, 2]},
                "sortby": ["-id"],
                "max_items": 7,
                "page_items": 9,
            },
        )
    ]


def test_cursors_and_other_connections_of_the_database_have_them(tmp_path):
    path = items(tmp_path)
    first = rs.connect(tmp_path / "a.db")
    second = rs.connect(tmp_path / "a.db")
    query = f"SELECT count(*) FROM stac_items('{path}')"
    assert first.cursor().execute(query).fetchall() == [(2,)]
    first.close()
    assert second.execute(query).fetchall() == [(2,)]
    second.close()


def test_the_catalog_is_a_table(con):
    rows = con.sql("SELECT id, bands['B04'] FROM datasets() WHERE id LIKE '%sentinel-2-l2a'").fetchall()
    assert rows == [("earthsearch/sentinel-2-l2a", "red"), ("pc/sentinel-2-l2a", "B04")]


def test_files_of_results_go_with_the_process(tmp_path):
    import subprocess
    import sys

    code = (
        "import rasteret_sql as rs, rasteret_sql.sql.stac as s;"
        f"rs.connect().sql('''SELECT count(*) FROM stac_items({str(items(tmp_path))!r})''').fetchall();"
        "print(s._folder[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.name.startswith("rasteret_sql.")
    assert not folder.exists()
