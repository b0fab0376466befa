"""build, info and explain: what they print, and their exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.arguments import mapping
from rasteret_sql.testing import write_cog
from rasteret_sql.testing.server import RangeServer


def test_build_writes_the_index_and_exits_0(run, collection, tmp_path):
    outcome = run("build", collection.document, "-o", tmp_path / "i.parquet")
    assert (outcome.code, outcome.err) == (0, "")
    assert "10 files of 2 items" in outcome.out
    assert "2 image/jpeg" in outcome.out
    assert rs.connect().sql(f"SELECT count(*) FROM '{tmp_path / 'i.parquet'}'").fetchall() == [(10,)]


def test_build_takes_a_url_and_counts_one_request_per_file(run, collection, tmp_path):
    with RangeServer(collection.folder) as server:
        outcome = run("build", server.url("catalog.json"), "-o", tmp_path / "i.parquet", "--json")
    report = json.loads(outcome.out)
    assert (outcome.code, report["rows"], report["requests"]) == (0, 10, 10)


def test_build_takes_only_the_assets_named(run, collection, tmp_path):
    outcome = run(
        "build", collection.document, "-o", tmp_path / "i.parquet", "--asset", "red", "--asset", "nir", "--json"
    )
    assert json.loads(outcome.out)["assets"] == {"nir": 2, "red": 2}


def test_build_takes_several_sources_a_pattern_and_a_collection(run, collection, tmp_path):
    files = sorted(path for path in collection.hrefs if path.endswith(("B04.tif", "B08.tif")))
    pattern = ("--pattern", "{item_id}/{asset}.tif", "--collection", "mine")
    outcome = run("build", *files, "-o", tmp_path / "i.parquet", *pattern, "--json")
    assert json.loads(outcome.out)["assets"] == {"B04": 2, "B08": 2}
    rows = rs.connect().sql(f"SELECT DISTINCT collection FROM '{tmp_path / 'i.parquet'}'").fetchall()
    assert rows == [("mine",)]


def test_build_with_a_file_that_fails_exits_3_and_names_it_on_stderr(run, collection, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_text("no TIFF")
    outcome = run("build", collection.hrefs[0], broken, "-o", tmp_path / "i.parquet")
    assert outcome.code == 3
    assert "1 file not in the index:" in outcome.err
    assert str(broken) in outcome.err
    assert "NotTiffError" in outcome.err
    assert "failed  1 file" in outcome.out
    assert (tmp_path / "i.parquet").exists()


def test_the_json_report_holds_the_failures(run, collection, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_text("no TIFF")
    outcome = run("build", collection.hrefs[0], broken, "-o", tmp_path / "i.parquet", "--json")
    (failure,) = json.loads(outcome.out)["failures"]
    assert (outcome.code, failure["error"]) == (3, "NotTiffError")
    assert failure["href"].endswith("broken.tif")


def test_build_of_nothing_exits_1_and_writes_nothing(run, tmp_path):
    outcome = run("build", tmp_path / "absent.tif", "-o", tmp_path / "i.parquet")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("rasteret-sql: ")
    assert "absent.tif" in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_build_reads_mirrors(run, collection, tmp_path):
    item = json.loads(collection.items[0].path.read_text())
    for asset in item["assets"].values():
        asset["href"] = "https://example.com/" + asset["href"].removeprefix("../")
    document = tmp_path / "item.json"
    document.write_text(json.dumps(item))
    mirror = collection.items[0].path.parents[1].as_posix() + "/"
    outcome = run("build", document, "-o", tmp_path / "i.parquet", "--href-map", f"https://example.com/={mirror}")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("text", ["no-sign", "=to", "from="])
def test_a_malformed_href_map_is_wrong_usage(run, tmp_path, text):
    outcome = run("build", "x.tif", "-o", tmp_path / "i.parquet", "--href-map", text)
    assert outcome.code == 2
    assert "expected FROM=TO" in outcome.err


def test_an_href_map_is_split_at_its_first_sign():
    assert mapping("https://a/=/data/year=2024/") == ("https://a/", "/data/year=2024/")


def test_info_says_what_is_in_an_index(run, index):
    outcome = run("info", index)
    assert outcome.code == 0
    for fact in ("2 items, 10 files", "EPSG:32643 (5), EPSG:32644 (5)", "B04", "provenance", "catalog.json"):
        assert fact in outcome.out
    assert "\x1b" not in outcome.out


def test_info_as_json_can_be_parsed(run, index):
    facts = json.loads(run("info", index, "--json").out)
    assert (facts["items"], facts["rows"], facts["crs"]) == (2, 10, {"EPSG:32643": 5, "EPSG:32644": 5})
    assert facts["index_bytes"] == Path(index).stat().st_size


def test_info_of_what_is_no_index_exits_1(run, tmp_path):
    text = tmp_path / "text.parquet"
    text.write_text("no Parquet")
    for path in (text, tmp_path / "absent.parquet"):
        outcome = run("info", path)
        assert (outcome.code, outcome.out) == (1, "")
        assert path.name in outcome.err


def test_explain_says_the_cost_as_the_sql_function_does(run, index):
    outcome = run("explain", index, "--bands", "red,nir", "--datetime", "2024-01")
    total = rs.connect().sql(
        f"SELECT tiles, requests FROM explain_read('{index}', bands := ['red', 'nir'], datetime := '2024-01') WHERE band = 'total'"
    )
    ((tiles, requests),) = total.fetchall()
    assert outcome.code == 0
    assert f"{tiles} tiles of 1 item: {requests} range requests" in outcome.out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--bbox", "0,0,1,1"], r"bbox .* touches none of the assets of index .*longitude first"),
        (["--bbox", "12.65,75.92,12.66,75.93"], r"bbox .* touches none of the assets of index .*longitude first"),
        (["--datetime", "1999"], r"datetime: '1999' matches none of the assets .*; the index has assets from 20\d\d"),
        (
            ["--bbox", "0,0,1,1", "--datetime", "1999"],
            r"bbox .* touches none of the assets of index .*, and datetime '1999' matches none; .* Check both",
        ),
    ],
)
def test_explain_of_nothing_says_which_argument_leaves_nothing(run, index, options, reason):
    outcome = run("explain", index, *options)
    assert outcome.code == 0
    assert re.search(rf"^0 tiles of 0 items: .*\. {reason}", outcome.out, re.MULTILINE)
    said = json.loads(run("explain", index, *options, "--json").out)
    assert said["total"]["tiles"] == 0
    assert re.search(reason, said["why_empty"])


@pytest.mark.parametrize(("columns", "is_whole"), [("80", False), ("120", True)])
def test_a_cost_is_shown_by_band_in_a_narrow_terminal_too(run, index, monkeypatch, columns, is_whole):
    monkeypatch.setenv("COLUMNS", columns)
    for arguments in (("explain", index), ("shell", "-c", f".explain {index}")):
        head, *rows = [line for line in run(*arguments).out.splitlines() if line.startswith("│")]
        names = [cell.strip() for cell in head.split("│")[1:-1]]
        assert {"band", "items", "files", "tiles", "requests", "request_bytes", "pixel_bytes"} <= set(names)
        assert ("collection" in names) == is_whole
        assert all(len(line) <= int(columns) for line in rows)


def test_explain_of_something_has_no_reason_to_be_empty(run, index):
    assert json.loads(run("explain", index, "--json").out)["why_empty"] is None


def test_explain_of_an_unknown_band_lists_the_known_ones(run, index):
    outcome = run("explain", index, "--bands", "redd")
    assert outcome.code == 2
    assert outcome.err.startswith("rasteret-sql: --bands: got 'redd', expected")


def test_a_partitioned_index_goes_through_all_commands(run, collection, tmp_path):
    folder = tmp_path / "i"
    built = run("build", collection.document, "-o", folder, "--partition-by", "collection,year", "--json")
    assert (built.code, json.loads(built.out)["rows"], json.loads(built.out)["path"]) == (0, 10, str(folder))
    assert [path.name for path in folder.rglob("*.parquet")] == ["part-0.parquet"] * len(list(folder.glob("*/*")))
    assert run("build", collection.document, "-o", tmp_path / "i.parquet").code == 0
    for index in (folder, f"{folder}/"):
        facts = run("info", index)
        assert "2 items, 10 files" in facts.out
        assert "split by  collection, year" in facts.out
        costs = run("explain", index, "--bands", "red")
        assert (costs.code, costs.out) == (0, run("explain", tmp_path / "i.parquet", "--bands", "red").out)
        assert run("validate", index).code == 0
        assert json.loads(run("refresh", index, "--json").out)["kept"] == 10
    refused = run("build", collection.document, "-o", tmp_path, "--partition-by", "year")
    assert refused.code == 1
    assert "which is not part of a partitioned index" in refused.err


@pytest.mark.parametrize("words", [[], ["--partition-by", "collection"], ["--json"]])
def test_statistics_are_built_with_the_index(run, collection, tmp_path, words):
    index, stats = tmp_path / ("s2" if "--partition-by" in words else "s2.parquet"), tmp_path / "s2.stats.parquet"
    built = run("build", collection.document, "-o", index, "--stats", stats, "--histogram", "scl", *words)
    assert built.code == 0, built.err
    other = run("stats", index, "-o", tmp_path / "other.parquet", "--histogram", "scl")
    assert other.code == 0, other.err
    rows = f"SELECT * FROM read_stats('{stats}')"
    both = [rows, f"SELECT * FROM read_stats('{tmp_path / 'other.parquet'}')"]
    with rs.connect() as con:
        assert con.sql(f"SELECT count(*) FROM ({rows}) WHERE classes IS NOT NULL").fetchall() > [(0,)]
        for first, second in (both, both[::-1]):
            assert con.sql(f"{first} EXCEPT ALL {second}").fetchall() == []
    if "--json" in words:
        report = json.loads(built.out)
        assert report["path"] == str(index)
        assert report["statistics"]["path"] == str(stats)
    else:
        assert str(index) in built.out
        assert str(stats) in built.out


def test_files_that_fail_in_the_index_or_the_statistics_are_named(run, tmp_path):
    for name in ("a", "b"):
        write_cog(tmp_path / f"{name}.tif", np.ones((64, 64), np.uint8), tile=32)
    whole = (tmp_path / "b.tif").read_bytes()
    # Tiles lie behind the header, at the end of the file.
    (tmp_path / "b.tif").write_bytes(whole[: len(whole) - 20] + bytes(20))
    (tmp_path / "c.tif").write_bytes(b"no TIFF")
    outcome = run("build", tmp_path / "*.tif", "-o", tmp_path / "i.parquet", "--stats", tmp_path / "i.stats.parquet")
    assert outcome.code == 3
    assert "1 file not in the index" in outcome.err
    assert "c.tif" in outcome.err
    assert "1 file not in the statistics" in outcome.err
    assert "b.tif" in outcome.err.partition("not in the statistics")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--histogram", "scl"], "--histogram: scl, expected --stats"),
        (["--stats", "s.csv"], "--stats: s.csv, expected a name that ends in .parquet"),
        (["--stats", "i.parquet"], "--stats: i.parquet, the path of the index, expected another file"),
    ],
)
def test_wrong_options_of_statistics_are_refused_before_the_index_is_built(
    run, collection, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    outcome = run("build", collection.document, "-o", "i.parquet", *words)
    assert outcome.code == 2
    assert message.replace(": ", ": got ", 1) in outcome.err
    assert not (tmp_path / "i.parquet").exists()
