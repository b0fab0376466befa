"""`rasteret-sql datasets`, and `build` of a dataset."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from rasteret_sql.apps.main import main
from rasteret_sql.index.datasets.catalog import datasets
from tests.support import stac_api


def test_the_catalog_is_listed(run):
    outcome = run("datasets")
    assert outcome.code == 0
    assert "earthsearch/landsat-c2-l2" in outcome.out
    assert "(requester-pays)" in outcome.out


@pytest.mark.parametrize("columns", [80, 60])
def test_the_list_fits_a_terminal_and_is_one_line_each_in_a_file(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    entries = datasets()
    lines = run("datasets").out.splitlines()
    assert len([line for line in lines if line.strip()]) == len(entries)
    monkeypatch.setattr(sys, "stdout", Terminal())
    code = main(["datasets"])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", sys.stdout.getvalue())
    assert code == 0
    assert max(map(len, shown.splitlines())) <= columns
    words = " ".join(shown.split())
    assert all(word in words for entry in entries for word in (entry.id, *entry.title.split()))


class Terminal(io.StringIO):
    """A stream that passes for a terminal."""

    def isatty(self) -> bool:
        return True


def test_an_entry_is_described_with_what_its_reader_must_do(run):
    outcome = run("datasets", "earthsearch/landsat-c2-l2")
    assert "AWS_REQUEST_PAYER=requester" in outcome.out
    assert "rasteret-sql build earthsearch/landsat-c2-l2" in outcome.out
    document = json.loads(run("datasets", "pc/naip", "--json").out)
    assert document["bands"]["NIR"] == "image:4"
    assert len(json.loads(run("datasets", "--json").out)) > 10


def test_an_entry_that_is_not_there_is_an_error_with_near_ones(run):
    outcome = run("datasets", "earthsearch/sentinel2")
    assert outcome.code == 1
    assert "earthsearch/sentinel-2-l2a" in outcome.err


@pytest.fixture(scope="module")
def api(collection, tmp_path_factory):
    if not stac_api.is_installed():
        pytest.skip("rustac is not installed: pip install rustac")
    items = [stac_api.with_absolute_hrefs(path) for path in sorted(collection.document.parent.rglob("items/*.json"))]
    items = [{**item, "collection": "sentinel-2-l2a"} for item in items]
    path = tmp_path_factory.mktemp("api") / "items.json"
    with stac_api.serving(items, path) as url, stac_api.endpoint_of("earthsearch/", url):
        yield url


def test_a_dataset_is_built_by_its_id(run, api, tmp_path):
    index = tmp_path / "s2.parquet"
    options = ("--bbox", "77.5,12.5,78.5,13.5", "--datetime", "2024", "--asset", "red", "--json", "--option", "allow=*")
    outcome = run("build", "earthsearch/sentinel-2-l2a", *options, "-o", index)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["assets"] == {"red": 2}
    rows = run("sql", f"FROM read_tiles('{index}', bands := ['B04']) SELECT DISTINCT asset", "--format", "csv")
    assert rows.out.split() == ["asset", "red"]


def test_an_api_is_searched_by_its_url(run, api, tmp_path):
    options = ("--collection", "sentinel-2-l2a", "--max-items", "1", "--json", "--option", "allow=*")
    outcome = run("build", api, *options, "-o", tmp_path / "a.parquet")
    assert json.loads(outcome.out)["items"] == 1


def test_wrong_arguments_are_one_line(run, tmp_path):
    outcome = run("build", "earthsearch/sentinel-2-l2a", "--bbox", "1,2,3", "-o", tmp_path / "a.parquet")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith("rasteret-sql: --bbox: got")
    outcome = run("build", "a.tif", "b.tif", "--datetime", "2024", "-o", tmp_path / "a.parquet")
    assert "--datetime: is an option of a search, and a.tif is no dataset or STAC API" in outcome.err
    twice = ["earthsearch/sentinel-2-l2a", "earthsearch/sentinel-2-l2a"]
    outcome = run("build", *twice, "--datetime", "2024", "-o", tmp_path / "a.parquet")
    assert "got 2 of them with --datetime" in outcome.err
