"""Kinds of sources: how one is added, catalogs in memory, dates of tables, and texts that no file format can hold."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys

import duckdb
import pandas as pd
import pyarrow as pa
import pystac
import pytest
from pyarrow import parquet

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index import sources
from rasteret_sql.index.info import info
from rasteret_sql.sql.indexes import build_index, refresh

from .reading import read_assets


def ids(source):
    return sorted(entry.item.item_id for step in read_assets(source) for entry in step.items)


@pytest.fixture
def kind_of_lists(tmp_path):
    """A module of sources that reads text files with one path a line."""
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "lists_of_paths.py").write_text(
        "from pathlib import Path\n"
        "from rasteret_sql.index.found import SourceKind\n"
        "from rasteret_sql.index.sources.tiffs import tiff_files\n"
        "def of_paths(paths, options):\n"
        "    return [tiff_files(Path(path).read_text().split(), options) for path in paths]\n"
        "KIND = SourceKind(rank=50, takes_path=lambda path: path.endswith('.txt'), of_paths=of_paths)\n"
    )
    sources.__path__.append(str(tmp_path / "kinds"))
    sources.source_kinds.cache_clear()
    yield
    sources.__path__.pop()
    sources.source_kinds.cache_clear()
    sys.modules.pop("rasteret_sql.index.sources.lists_of_paths", None)


@pytest.mark.usefixtures("kind_of_lists")
def test_a_source_is_added_by_one_file(cog, tmp_path):
    (tmp_path / "files.txt").write_text(f"{cog('a.tif')}\n{cog('b.tif')}\n")
    assert build_index(tmp_path / "files.txt", tmp_path / "i.parquet").rows == 2
    assert refresh(tmp_path / "i.parquet").kept == 2


def test_every_kind_has_a_rank_of_its_own():
    ranks = [kind.rank for kind in sources.source_kinds()]
    assert len(ranks) == 4
    assert ranks == sorted(set(ranks))


def item_of(item_id, href):
    item = pystac.Item(item_id, None, None, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), {})
    item.add_asset("red", pystac.Asset(str(href), media_type=pystac.MediaType.COG))
    return item


def collection_of(name, *items):
    extent = pystac.Extent(pystac.SpatialExtent([[0, 0, 1, 1]]), pystac.TemporalExtent([[None, None]]))
    collection = pystac.Collection(name, name, extent)
    collection.add_items(items)
    return collection


@pytest.mark.parametrize("make", ["catalog", "collection", "list", "nested"])
def test_catalogs_of_pystac_are_sources(make, cog, tmp_path):
    one, two = item_of("one", cog("1.tif")), item_of("two", cog("2.tif"))
    catalog = pystac.Catalog("root", "root")
    if make == "nested":
        inner = pystac.Catalog("inner", "inner")
        inner.add_child(collection_of("a", one))
        catalog.add_child(inner)
        catalog.add_child(collection_of("b", two))
    else:
        catalog.add_items([one, two])
    source = {"collection": collection_of("c", one.clone(), two.clone()), "list": [catalog]}.get(make, catalog)
    assert ids(source) == ["one", "two"]
    assert build_index(source, tmp_path / "i.parquet").rows == 2


@pytest.mark.parametrize("make", ["object", "dictionary", "resolved in part"])
def test_documents_of_a_catalog_in_memory_that_are_not_read_yet_are_crawled(make, cog, tmp_path):
    catalog = pystac.Catalog("root", "root")
    catalog.add_child(collection_of("a", item_of("one", cog("1.tif")), item_of("two", cog("2.tif"))))
    catalog.normalize_and_save(str(tmp_path / "stac"), pystac.CatalogType.SELF_CONTAINED)
    opened = pystac.Catalog.from_file(str(tmp_path / "stac" / "catalog.json"))
    if make == "resolved in part":
        next(opened.get_children())
    source = opened if make != "dictionary" else json.loads((tmp_path / "stac" / "catalog.json").read_text())
    if make == "dictionary":
        source["links"].append({"rel": "self", "href": str(tmp_path / "stac" / "catalog.json")})
    assert ids(source) == ["one", "two"]


@pytest.mark.parametrize(
    "make",
    [
        lambda href: duckdb.sql(f"SELECT '{href}' AS href, DATE '2024-01-15' AS datetime"),
        lambda href: duckdb.sql(f"SELECT '{href}' AS href, TIMESTAMP '2024-01-15' AS datetime"),
        lambda href: pd.DataFrame({"href": [href], "datetime": [dt.date(2024, 1, 15)]}),
        lambda href: pa.table({"href": [href], "datetime": pa.array([dt.date(2024, 1, 15)], pa.date64())}),
        lambda href: pa.table({"href": [href], "datetime": ["2024-01-15"]}),
    ],
    ids=["date", "timestamp", "date objects", "date64", "text"],
)
def test_a_date_is_its_first_moment_in_utc(make, cog, tmp_path):
    build_index(make(str(cog("a.tif"))), tmp_path / "i.parquet")
    (row,) = parquet.read_table(tmp_path / "i.parquet").to_pylist()
    assert row["datetime"] == dt.datetime(2024, 1, 15, tzinfo=dt.UTC)


def test_a_table_that_arrow_cannot_hold_is_an_error_of_ours(cog, tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"the table: got a table that Arrow cannot read \("):
        build_index(pd.DataFrame({"href": [cog("a.tif")]}), tmp_path / "i.parquet")


LONE = "\ud800"


@pytest.mark.parametrize("part", ["id", "asset key", "collection", "href"])
def test_a_name_that_is_no_unicode_costs_its_own_file(part, cog, stac_item, tmp_path):
    good, bad = (stac_item(name, {"red": str(cog(f"{name}.tif"))}) for name in ("good", "bad"))
    if part == "id":
        bad["id"] += LONE
    elif part == "asset key":
        bad["assets"][f"red{LONE}"] = bad["assets"].pop("red")
    elif part == "collection":
        bad["collection"] += LONE
    else:
        bad["assets"]["red"]["href"] += LONE
    report = build_index([bad, good], tmp_path / "i.parquet")
    assert report.rows == 1
    (failure,) = report.failures
    assert f"the {part.split()[-1]} is no valid Unicode" in str(failure)
    assert str(report).encode()
    assert info(tmp_path / "i.parquet").provenance["failures"][0]["item_id"].startswith("bad")


def test_texts_and_properties_that_are_no_unicode_get_replacement_characters(cog, stac_item, tmp_path):
    item = stac_item("a", {"red": str(cog("a.tif"))}, note=f"x{LONE}y", **{f"odd{LONE}": {"deep": [LONE]}}, smile="😀")
    item["assets"]["red"] |= {"title": LONE, "roles": [LONE], "raster:bands": [{"unit": LONE}]}
    assert build_index(item, tmp_path / "i.parquet").rows == 1
    (row,) = parquet.read_table(tmp_path / "i.parquet").to_pylist()
    assert (row["note"], row["smile"], row["bands"][0]["unit"]) == ("x\ufffdy", "😀", "\ufffd")
    assert row["odd\ufffd"] == {"deep": ["\ufffd"]}


def test_a_file_name_that_is_no_utf8_costs_its_own_file(cog, tmp_path):
    good = cog("good.tif")
    cog("bad.tif").rename(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.tif"))
    report = build_index(f"{tmp_path}/*.tif", tmp_path / "i.parquet")
    assert [entry.error for entry in report.failures] == ["InvalidArgumentError"]
    assert (report.rows, good.exists()) == (1, True)
