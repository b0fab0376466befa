"""macros: the script for any DuckDB, and the stock command line that reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import duckdb
import pytest

from rasteret_sql import __version__


def test_the_script_makes_the_functions_in_a_duckdb_without_us(run, index):
    outcome = run("macros")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"-- rasteret_sql {__version__}: ")
    with duckdb.connect() as con:
        con.execute(outcome.out)
        assert len(con.sql(f"FROM items('{index}')").fetchall()) == 2
        assert con.sql(f"SELECT sum(tiles) FROM explain_read('{index}') WHERE band = 'total'").fetchall() > [(0,)]


def test_the_script_goes_to_a_file_that_appears_when_whole(run, tmp_path):
    shown = run("macros", "--temp").out
    outcome = run("macros", "--temp", "-o", tmp_path / "rasteret.sql")
    assert (outcome.code, outcome.out) == (0, "")
    assert (tmp_path / "rasteret.sql").read_text() == shown
    assert list(tmp_path.iterdir()) == [tmp_path / "rasteret.sql"]
    assert run("macros", "-o", tmp_path).code == 1


def test_what_is_public_is_listed_in_json(run):
    told = json.loads(run("macros", "--json", "--schema", "own").out)
    assert [one["name"] for one in told["functions"]] == ["explain_read", "items", "tile_plan"]
    assert told["functions"][1]["arguments"] == ["index", "geometry", "bbox", "geometry_crs", "crs", "datetime"]
    assert told["version"] == __version__
    assert 'CREATE OR REPLACE MACRO "own".items(' in told["script"]


def test_a_schema_is_not_temporary(run):
    outcome = run("macros", "--schema", "own", "--temp")
    assert outcome.code == 2
    assert "not allowed with" in outcome.err


def test_the_stock_command_line_reads_it(run, index, tmp_path):
    shell = os.environ.get("DUCKDB_CLI") or shutil.which("duckdb")
    if shell is None:
        pytest.skip("no duckdb executable: put it on the PATH, or name it in DUCKDB_CLI")
    script = tmp_path / "rasteret.sql"
    query = f"SELECT item_id, files FROM items('{index}', geometry := 'POINT (78 13)') ORDER BY item_id"
    expected = json.loads(run("sql", query, "--json").out)
    for options in ((), ("--temp",)):
        assert run("macros", *options, "-o", script).code == 0
        given = [shell, "-init", script, tmp_path / "study.duckdb", "-json", "-c", f".read {script}", "-c", query]
        done = subprocess.run(given, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_schema_that_is_no_unicode_is_refused(run, options):
    outcome = run("macros", "--schema", "\udcff", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert "schema: got '\\udcff', which is no Unicode text" in outcome.err
