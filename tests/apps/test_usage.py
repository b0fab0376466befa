"""Wrong values of options are wrong usage: exit code 2, one line, and the option as it is typed."""

from __future__ import annotations

import re

import duckdb
import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explain", "INDEX", "--bbox", "1,2,3"), "--bbox: got [1.0, 2.0, 3.0], expected four"),
        (("explain", "INDEX", "--datetime", "yesterday"), "--datetime: got 'yesterday', expected"),
        (("explain", "INDEX", "--level", "-1"), "--level: got -1, expected 0"),
        (("explain", "INDEX", "--bands", "foo"), "--bands: got 'foo', expected"),
        (("export", "INDEX", "-o", "a.xyz"), "--output: got 'a.xyz', expected a name that ends in"),
        (("export", "INDEX", "-o", "a.tif", "--resampling", "foo"), "--resampling: got 'foo', expected"),
        (("preview", "INDEX", "-o", "a.png", "--size", "0"), "--size: got 0, expected"),
        (("preview", "INDEX", "-o", "a.png", "--bands", "nir-"), "--bands: got 'nir-', expected an expression"),
        (("serve", "--port", "99999"), "--port: got 99999, expected"),
    ],
)
def test_a_wrong_value_of_an_option_is_wrong_usage(run, index, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    outcome = run(*(str(index) if each == "INDEX" else each for each in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"rasteret-sql: {message}")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("source", ["catalog.json", "*.tif", "absent.parquet"])
@pytest.mark.parametrize(("option", "value"), [("--bbox", "1,2,3,4"), ("--datetime", "2024"), ("--max-items", "3")])
def test_an_option_of_a_search_for_files_says_what_it_is_for(run, tmp_path, monkeypatch, source, option, value):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "catalog.json").write_text("{}")
    outcome = run("build", source, option, value, "-o", "x.parquet")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"{option}: is an option of a search, and {source} is no dataset or STAC API" in outcome.err
    assert f"leave {option} out" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("expalin", "INDEX"), "explain"),
        (("explain", "INDEX", "--bnds", "red"), "--bands"),
        (("explain", "INDEX", "--dattime=2024"), "--datetime"),
        (("export", "INDEX", "-o", "a.tif", "--compression", "zsdt"), "zstd"),
        (("export", "INDEX", "-o", "a.tif", "--bands", "redd"), "red"),
        (("build", "earthsearch/sentinel-2-l2b", "-o", "x.parquet"), "earthsearch/sentinel-2-l2a"),
    ],
)
def test_a_name_that_is_nearly_right_is_asked_for(run, index, tmp_path, monkeypatch, arguments, meant):
    monkeypatch.chdir(tmp_path)
    outcome = run(*(str(index) if each == "INDEX" else each for each in arguments))
    assert outcome.code != 0
    assert re.search(rf"; did you mean (\S+ or )*{meant}( or \S+)*\?", outcome.err)


def test_a_name_that_resembles_none_is_not_asked_for(run, index):
    assert "did you mean" not in run("explain", str(index), "--qqqq", "1").err
    assert "did you mean" not in run("zzzz").err


@pytest.mark.parametrize(
    "command",
    [
        ("info",),
        ("validate",),
        ("refresh",),
        ("explain",),
        ("preview", "-o", "a.png"),
        ("export", "-o", "a.tif"),
        ("sample", "p.csv"),
        ("zonal", "p.geojson"),
    ],
)
def test_what_is_no_index_gets_one_message_of_every_command(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text("lon,lat\n75.9,12.6\n")
    (tmp_path / "p.geojson").write_text('{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}')
    duckdb.sql("SELECT 1 AS a, 2 AS b").write_parquet("other.parquet")
    name, *rest = command
    other = run(name, "other.parquet", *rest)
    assert other.code != 0
    assert re.search(r"other\.parquet'? is not an index: it has no column .*; its columns are a, b\.", other.err)
    assert "Build one with `rasteret-sql build SOURCE -o index.parquet`" in other.err
    absent = run(name, "absent.parquet", *rest)
    assert absent.code != 0
    assert re.search(r"absent\.parquet'?: no such file; expected", absent.err)
    assert "Build one with `rasteret-sql build SOURCE -o absent.parquet`" in absent.err


def test_errors_of_files_and_data_are_no_usage(run, index, tmp_path):
    assert run("info", tmp_path / "none.parquet").code == 1
    assert run("explain", index, "--geometry", tmp_path / "none.geojson").code in {1, 2}
    assert run("sql", "SELECT error('bands: got nothing')").code == 1
