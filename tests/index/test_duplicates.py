"""Different files that share collection, item_id and asset: `on_duplicate`."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from pyarrow import parquet

import rasteret_sql as rs
from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.testing.cog import write_cog


@pytest.fixture
def pair(cog, stac_item):
    """Two versions of an item, each of two assets, and an item beside them; the newer version comes first."""

    def version(name, item_id="scene", **properties):
        hrefs = {asset: str(cog(f"{name}/{asset}.tif")) for asset in ("red", "nir")}
        return stac_item(item_id, hrefs, version=name, **properties)

    return [
        version("new", updated="2024-05-01T00:00:00Z", created="2024-01-03T00:00:00Z"),
        version("old", updated="2024-02-01T00:00:00Z", created="2024-01-04T00:00:00Z"),
        version("other", "other"),
    ]


def versions(path):
    return sorted((row["item_id"], row["asset"], row["version"]) for row in parquet.read_table(path).to_pylist())


LATEST = [(item, asset, name) for item, name in (("other", "other"), ("scene", "new")) for asset in ("nir", "red")]


def test_files_that_share_a_key_are_an_error_that_names_the_remedies(pair, tmp_path):
    for rule in (None, "error"):
        with pytest.raises(BuildError, match=r"(?s)scene nir .*new/nir.tif.*on_duplicate 'latest'.*'keep'.*pattern"):
            rs.build_index(pair, tmp_path / "i.parquet", on_duplicate=rule)
    assert not (tmp_path / "i.parquet").exists()


def test_the_version_that_changed_last_is_taken(pair, tmp_path):
    report = rs.build_index(pair, tmp_path / "i.parquet", on_duplicate="latest")
    assert versions(tmp_path / "i.parquet") == LATEST
    assert report.left_out == {"files of older versions of items": 2}


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ({}, {}),
        ({"created": "2024-05-01T00:00:00Z"}, {"created": "2024-04-01T00:00:00Z"}),
        ({"updated": "2024-05-01T00:00:00Z"}, {"created": "2024-04-01T00:00:00Z"}),
        ({"updated": "2024-05-01T00:00:00Z"}, {"updated": "no time"}),
        ({"updated": "2024-05-01T02:00:00+01:00"}, {"updated": "2024-05-01T00:30:00Z"}),
    ],
)
def test_of_versions_that_changed_together_or_at_unknown_times_the_last_one_is_taken(new, old, pair, tmp_path):
    for item, times in zip(pair, (new, old, {}), strict=True):
        item["properties"] = {
            name: value for name, value in item["properties"].items() if name not in {"updated", "created"}
        } | times
    source = [pair[1], pair[0], pair[2]]
    rs.build_index(source, tmp_path / "i.parquet", on_duplicate="latest")
    assert versions(tmp_path / "i.parquet") == LATEST


def test_no_item_is_made_of_two_versions(pair, tmp_path):
    del pair[0]["assets"]["nir"]
    rs.build_index(pair, tmp_path / "i.parquet", on_duplicate="latest")
    assert [row for row in versions(tmp_path / "i.parquet") if row[0] == "scene"] == [("scene", "red", "new")]


def test_all_versions_can_be_kept_and_chosen_by_a_condition(stac_item, tmp_path):
    items = []
    for number, name in enumerate(("old", "new"), 1):
        href = write_cog(tmp_path / f"{name}.tif", np.full((64, 64), number, "uint8"))
        items.append(stac_item("scene", {"red": str(href)}, version=name))
    path = tmp_path / "i.parquet"
    report = rs.build_index(items, path, on_duplicate="keep")
    assert (report.rows, report.items, report.left_out) == (2, 1, {})
    for number, name in enumerate(("old", "new"), 1):
        pixels = rs.to_numpy(f"SELECT * FROM '{path}' WHERE version = '{name}'").data
        assert (pixels == number).all()
    tiles = rs.read_tiles(str(path)).read_all()
    assert sorted(set(tiles["href"].to_pylist())) == sorted(str(tmp_path / f"{name}.tif") for name in ("old", "new"))


@pytest.mark.parametrize("rule", ["latest", "keep"])
def test_refresh_has_the_rule_of_the_build(rule, pair, write_json, tmp_path):
    document = write_json("items.json", {"type": "FeatureCollection", "features": pair})
    built = rs.build_index(document, tmp_path / "i.parquet", on_duplicate=rule)
    refreshed = rs.refresh(tmp_path / "i.parquet")
    assert (refreshed.build.rows, refreshed.build.left_out) == (built.rows, built.left_out)
    assert (refreshed.kept, refreshed.new, refreshed.gone) == (built.rows, 0, 0)


@pytest.mark.parametrize(("rule", "rows"), [("latest", LATEST), ("keep", 6), ("error", None), (None, None)])
def test_a_definition_says_it_in_its_header(rule, rows, pair, write_json, tmp_path):
    document = write_json("items.json", {"type": "FeatureCollection", "features": pair})
    line = f"-- on_duplicate: {rule}\n" if rule else ""
    text = f"-- name: a\n-- kind: index\n-- grain: one row per asset\n{line}FROM read_headers(items)"
    definition = tmp_path / "a.sql"
    definition.write_text(text.replace("FROM", f"WITH items AS (FROM stac_items('{document}')) FROM"))
    path = tmp_path / "i.parquet"
    if rows is None:
        with pytest.raises(BuildError, match=r"check unique_key: .*on_duplicate 'latest'"):
            rs.build_index(definition, path)
        return
    report = rs.build_index(definition, path)
    if rule == "latest":
        assert versions(path) == rows
        assert report.left_out == {"files of older versions of items": 2}
    else:
        assert report.rows == rows


def test_rows_of_tables_have_versions_too(cog, tmp_path):
    con = duckdb.connect()
    con.execute("CREATE TABLE files (href VARCHAR, item_id VARCHAR, updated TIMESTAMPTZ, version VARCHAR)")
    for name, time in (("new", "2024-03-01"), ("old", "2024-02-01")):
        con.execute("INSERT INTO files VALUES (?, 'a', ?, ?)", [str(cog(f"{name}.tif")), time, name])
    rs.build_index(con.sql("FROM files"), tmp_path / "i.parquet", on_duplicate="latest")
    assert versions(tmp_path / "i.parquet") == [("a", "data", "new")]


def test_another_rule_is_refused_before_anything_is_read(cog, tmp_path):
    with pytest.raises(InvalidArgumentError, match="on_duplicate: got 'newest', expected 'error', 'latest' or 'keep'"):
        rs.build_index(str(cog("a.tif")), tmp_path / "i.parquet", on_duplicate="newest")
    definition = tmp_path / "a.sql"
    definition.write_text("-- name: a\n-- kind: index\n-- grain: x\n-- on_duplicate: first\nSELECT 1")
    with pytest.raises(InvalidArgumentError, match=r"a\.sql: on_duplicate: got 'first', expected"):
        rs.build_index(definition, tmp_path / "i.parquet")
    with pytest.raises(InvalidArgumentError, match="write '-- on_duplicate: keep' into its header"):
        rs.build_index(definition, tmp_path / "i.parquet", on_duplicate="keep")
