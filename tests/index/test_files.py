"""Paths, globs, patterns and hrefs."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.database.hrefs import absolute, mirror_of, suffix_of, unsigned
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.sources.tiffs import PathPattern, PathPatterns, distinct_names
from rasteret_sql.testing import write_cog

from .reading import read_assets


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("{item_id}/{asset}.tif", "/x/S2A_1/B04.tif", {"item_id": "S2A_1", "asset": "B04"}),
        ("{item_id}_{asset}.tif", "/x/S2A_1_B04.tif", {"item_id": "S2A_1", "asset": "B04"}),
        ("{collection}/{item_id}.tif", "https://e.com/a/b/c.tif?sig=x", {"collection": "b", "item_id": "c"}),
        ("{tile}/{item_id}.tif", "/29RKH/a%20b.tif", {"tile": "29RKH", "item_id": "a%20b"}),
        ("{item_id}.tif", "https://e.com/a%20b.tif", {"item_id": "a b"}),
        ("{s2:tile}/{asset}.tif", "/29RKH/a.tif", {"s2:tile": "29RKH", "asset": "a"}),
        (
            "{date:%Y%m%d}_{asset}.tif",
            "/20240131_red.tif",
            {"date": datetime(2024, 1, 31, tzinfo=UTC), "asset": "red"},
        ),
        (
            "{date}/{asset}.tif",
            "/2024-01-31/red.tif",
            {"date": datetime(2024, 1, 31, tzinfo=UTC), "asset": "red"},
        ),
        (
            "{datetime:%Y%jT%H%M%S}.tif",
            "/2024032T010203.tif",
            {"datetime": datetime(2024, 2, 1, 1, 2, 3, tzinfo=UTC)},
        ),
        (
            "{datetime}.tif",
            "/2024-01-31T10:00:00+02:00.tif",
            {"datetime": datetime(2024, 1, 31, 8, tzinfo=UTC)},
        ),
        ("T{tile}/{asset}.tif", "/a/T29RKH/B04.tif", {"tile": "29RKH", "asset": "B04"}),
    ],
)
def test_a_pattern_reads_the_end_of_a_path(pattern, path, fields):
    assert PathPattern.compile(pattern).match(path) == fields


@pytest.mark.parametrize("path", ["/a/B04.tiff", "/B04.tif", "/x/a.tif/"])
def test_a_path_that_does_not_end_like_the_pattern_is_refused(path):
    with pytest.raises(InvalidArgumentError, match=r"does not end like the pattern '\{item_id\}/x/\{asset\}\.tif'"):
        PathPattern.compile("{item_id}/x/{asset}.tif").match(path)


@pytest.mark.parametrize(
    "text", ["", "a.tif", "{}.tif", "{a}{a}.tif", "{a", "{asset:%Y}.tif", "{date:%Q}.tif", "{a b}"]
)
def test_a_pattern_that_cannot_be_meant_is_refused(text):
    with pytest.raises(InvalidArgumentError, match=r"^pattern: got"):
        PathPattern.compile(text)


def test_an_id_and_a_date_come_from_one_part_of_a_name(tmp_path):
    """By two patterns, of which each reads the whole path; a refresh reads them again."""
    for name in ("S2A_43PGQ_20240106_0_B04", "S2A_43PGQ_20240111_0_B04", "unlike"):
        write_cog(tmp_path / f"{name}.tif", np.ones((32, 32), np.uint8), tile=32, overviews=())
    index = tmp_path / "i.parquet"
    patterns = ["{item_id}_{asset}.tif", "S2A_{tile}_{date:%Y%m%d}_{number}_B04.tif"]
    expected = [
        (f"S2A_43PGQ_{day}_0", "B04", "43PGQ", f"{day[:4]}-{day[4:6]}-{day[6:]}") for day in ("20240106", "20240111")
    ]
    for build in (
        lambda: rs.build_index(f"{tmp_path}/*.tif", index, pattern=patterns),
        lambda: rs.refresh(index).build,
    ):
        report = build()
        (failure,) = report.failures
        assert "unlike.tif: the path does not end like the pattern '{item_id}_{asset}.tif'" in failure.message
        rows = duckdb.sql(
            f"SELECT item_id, asset, tile, strftime(datetime AT TIME ZONE 'UTC', '%Y-%m-%d') FROM '{index}' ORDER BY ALL"
        ).fetchall()
        assert rows == expected


@pytest.mark.parametrize("patterns", [["{item_id}.tif", "{item_id}_{asset}.tif"], [], [1], 7, ["{item_id}.tif", ""]])
def test_patterns_that_cannot_be_meant_are_refused(patterns):
    with pytest.raises(InvalidArgumentError, match=r"^pattern: got"):
        PathPatterns.compile(patterns)


def test_an_impossible_date_is_refused():
    with pytest.raises(InvalidArgumentError, match="got '20240231' as date"):
        PathPattern.compile("{date:%Y%m%d}.tif").match("/20240231.tif")


def test_names_are_as_short_as_they_can_be_and_distinct():
    hrefs = ["/a/2020/red.tif", "/a/2021/red.tif", "/b/2021/red.tif", "/a/nir.tif", "/a/nir.tiff", "/red.tif"]
    names = distinct_names(hrefs)
    assert names["/a/2020/red.tif"] == "2020/red"
    assert names["/a/2021/red.tif"] == "a/2021/red"
    assert names["/b/2021/red.tif"] == "b/2021/red"
    assert len(set(names.values())) == len(hrefs)


@pytest.mark.parametrize(
    ("href", "base", "expected"),
    [
        ("a.tif", "/x/y/item.json", "/x/y/a.tif"),
        ("../a.tif", "https://e.com/x/y/item.json?q=1", "https://e.com/x/a.tif"),
        ("./a.tif", "s3://bucket/x/item.json", "s3://bucket/x/a.tif"),
        ("/abs/a.tif", "https://e.com/x/item.json", "https://e.com/abs/a.tif"),
        ("https://e.com/a.tif", "/x/item.json", "https://e.com/a.tif"),
        ("file:///x/a%20b.tif", None, "/x/a b.tif"),
    ],
)
def test_hrefs_are_resolved_against_their_document(href, base, expected):
    assert absolute(href, base) == expected


def test_the_longest_prefix_of_href_map_fits():
    href_map = {"https://e.com/": "/mirror/", "https://e.com/deep/": "s3://bucket/"}
    assert mirror_of("https://e.com/deep/a.tif", href_map) == "s3://bucket/a.tif"
    assert mirror_of("https://e.com/a.tif", href_map) == "/mirror/a.tif"
    assert mirror_of("https://e.com/a%20b.tif?v=1", href_map) == "/mirror/a b.tif"
    assert mirror_of("https://other.com/a.tif", href_map) is None


@pytest.mark.parametrize(
    ("href", "stored"),
    [
        ("https://e.com/a.tif?st=1&se=2&sp=rl&sv=3&sr=c&skoid=4&sig=x", "https://e.com/a.tif"),
        (
            "https://e.com/a.tif?X-Amz-Signature=x&X-Amz-Expires=9&versionId=7",
            "https://e.com/a.tif?versionId=7",
        ),
        ("https://e.com/get?file=a.tif&page=2", "https://e.com/get?file=a.tif&page=2"),
        ("/data/what?sig=x.tif", "/data/what?sig=x.tif"),
    ],
)
def test_signatures_are_not_stored_and_other_parameters_are(href, stored):
    assert unsigned(href) == stored


def test_suffixes_ignore_case_and_query():
    assert suffix_of("https://e.com/a.TIF?x=.json") == ".tif"
    assert suffix_of("https://e.com/v1.0/collections/") == ""
    assert suffix_of("/a/.tif") == ""


def test_a_glob_is_expanded_in_order(tmp_path, cog):
    for name in ("b/x.tif", "a/x.tif", "a/deep/y.TIF"):
        cog(name)
    entries = [entry for step in read_assets(f"{tmp_path}/**/*.[tT][iI][fF]") for entry in step.items]
    assert [entry.item.item_id for entry in entries] == ["y", "a/x", "b/x"]
    assert {entry.assets[0].asset for entry in entries} == {"data"}


def test_a_path_that_looks_like_a_glob_but_exists_is_a_path(tmp_path, cog):
    path = cog("a[1].tif")
    assert [entry.assets[0].href for step in read_assets(path) for entry in step.items] == [str(path)]


def test_a_mixed_list_goes_by_extension(tmp_path, cog, write_json, stac_item):
    tiff = cog("a.tif")
    item = write_json("item.json", stac_item("i", {"red": "a.tif"}))
    entries = [entry for step in read_assets([tiff, item]) for entry in step.items]
    assert {entry.item.item_id for entry in entries} == {"a", "i"}


@pytest.mark.parametrize(
    "source", [[], "", [""], 7, None, b"bytes.tif", [7], ["a.tif", 7], "https://e.com/a.parquet"], ids=repr
)
def test_a_source_that_is_none_is_refused_before_io(source):
    with pytest.raises(InvalidArgumentError, match="expected"):
        list(read_assets(source))
