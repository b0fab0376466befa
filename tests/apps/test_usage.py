"""Wrong values of options are wrong usage: exit code 2, one line, and the option as it is typed."""

from __future__ import annotations

import argparse
import json
import re

import duckdb
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.usage import as_options
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing import RangeServer


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
        (
            ("preview", "INDEX", "-o", "a.png", "--bands", "nir-"),
            "--bands: got 'nir-', which ends too early, expected an expression",
        ),
        (("serve", "--port", "99999"), "--port: got 99999, expected"),
    ],
)
def test_a_wrong_value_of_an_option_is_wrong_usage(run, index, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    outcome = run(*(str(index) if each == "INDEX" else each for each in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"rasteret-sql: {message}")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("preview", "INDEX", "-o", "a.png", "--bbox", "600000,1,600500,2"), "for example --geometry-crs EPSG:32643"),
        (("explain", "INDEX", "--bbox", "600000,1,600500,2"), "for example --geometry-crs EPSG:32643"),
        (("explain", "INDEX", "--level", "9"), "or give --resolution"),
        (("export", "INDEX", "-o", "a.tif", "--crs", "EPSG:4326", "--resolution", "10"), "or --allow-extreme-scale"),
        (("export", "INDEX", "-o", "a.tif", "--mosaic", "max"), "give for example --groupby solar_day"),
    ],
)
def test_an_error_advises_options_as_they_are_typed(run, index, tmp_path, monkeypatch, arguments, advice):
    monkeypatch.chdir(tmp_path)
    outcome = run(*(str(index) if each == "INDEX" else each for each in arguments))
    assert outcome.code != 0
    assert advice in outcome.err
    assert not re.search(r"[a-z]=|:=", outcome.err)


@pytest.mark.parametrize(
    ("message", "spelled"),
    [
        ('give geometry_crs="EPSG:1" or level=', "give --geometry-crs EPSG:1 or --level"),
        ("give geometry_crs := 'EPSG:1' or level :=", "give --geometry-crs EPSG:1 or --level"),
        ("or all_touched=True; check geometry_crs", "or --all-touched; check --geometry-crs"),
        # What is no argument of the command, or is quoted, or is SQL or an address, stays.
        ("a column 'geometry_crs', mosaic=, WHERE level = 3", "a column 'geometry_crs', mosaic=, WHERE level = 3"),
        (
            "https://a/b?level=3&bands=4, --level: got 3, the level",
            "https://a/b?level=3&bands=4, --level: got 3, the level",
        ),
    ],
)
def test_only_arguments_of_the_command_are_spelled_as_options(message, spelled):
    parser = argparse.ArgumentParser()
    for option in ("--geometry-crs", "--level", "--bands"):
        parser.add_argument(option)
    parser.add_argument("--all-touched", action="store_true")
    assert as_options(message, argparse.Namespace(parser=parser)) == spelled


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--levels", "9"), r"--levels: got 9, expected 0 to \d, the levels of asset .*; choose one of them$"),
        (("--histogram", "red"), r'--histogram: got band "red" of item .*, which has more than 256 values, expected'),
    ],
)
def test_stats_names_its_options_and_no_others(run, index, tmp_path, words, message):
    outcome = run("stats", str(index), *words, "-o", str(tmp_path / "s.parquet"))
    assert outcome.code == 2
    assert re.search(message, outcome.err.strip())


def test_explain_in_python_advises_arguments_as_python_has_them(index):
    with pytest.raises(InvalidArgumentError, match=r"or give resolution=$"):
        rs.explain(str(index), level=9)
    with pytest.raises(InvalidArgumentError, match="geometry_crs='EPSG:32643'"):
        rs.explain(str(index), bbox=(600_000, 1, 600_500, 2))


def test_a_search_of_a_static_catalog_on_a_server_says_what_the_option_is_for(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "c", "links": []}
    (tmp_path / "catalog.json").write_text(json.dumps(catalog))
    with RangeServer(tmp_path) as server:
        outcome = run("build", f"{server.base_url}/catalog.json", "--bbox", "1,2,3,4", "-o", "x.parquet")
    assert outcome.code == 1
    assert (
        "bbox, datetime and the like are options of a search. A static catalog is read as a whole: leave them out"
        in (outcome.err)
    )


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
        ("chips", "--size", "8"),
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
