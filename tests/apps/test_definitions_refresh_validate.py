"""build of an index definition, refresh and validate: what they print, and their exit codes."""

from __future__ import annotations

import json
import shutil

import pytest

from rasteret_sql.testing.server import Fault, RangeServer

DEFINITION = """\
-- name: demo
-- kind: index
-- grain: one row per asset
WITH found AS (SELECT file AS href, parse_filename(file, true) AS asset FROM glob('{folder}/*.tif'))
FROM read_headers(found) WHERE asset LIKE getvariable('names')
"""


@pytest.fixture
def folder(collection, tmp_path):
    """Three files of the collection in a folder of their own."""
    (tmp_path / "files").mkdir()
    for number, href in enumerate(sorted(collection.hrefs)[:3]):
        shutil.copy(href, tmp_path / "files" / f"f{number}.tif")
    (tmp_path / "index.sql").write_text(DEFINITION.format(folder=tmp_path / "files"))
    return tmp_path


@pytest.fixture
def index(folder, run):
    assert run("build", f"{folder}/files/*.tif", "-o", folder / "i.parquet").code == 0
    return folder / "i.parquet"


def test_a_definition_is_built_with_its_variables(run, folder):
    outcome = run("build", folder / "index.sql", "-o", folder / "d.parquet", "--set", "names=f%", "--json")
    assert (outcome.code, json.loads(outcome.out)["rows"]) == (0, 3)
    outcome = run("build", folder / "index.sql", "-o", folder / "d.parquet", "--set", "names=f1")
    assert (outcome.code, outcome.err) == (0, "")
    assert "1 file of 1 item" in outcome.out


def test_a_definition_whose_file_fails_exits_3_and_names_it(run, folder):
    (folder / "files" / "f9.tif").write_text("no TIFF")
    outcome = run("build", folder / "index.sql", "-o", folder / "d.parquet", "--set", "names=%")
    assert outcome.code == 3
    assert "f9.tif" in outcome.err


def test_info_says_what_definition_an_index_was_built_of(run, folder):
    run("build", folder / "index.sql", "-o", folder / "d.parquet", "--set", "names=f%")
    assert "index.sql" in run("info", folder / "d.parquet").out


@pytest.mark.parametrize("text", ["names", "=f", "not a name=f"])
def test_a_malformed_variable_is_wrong_usage(run, folder, text):
    outcome = run("build", folder / "index.sql", "-o", folder / "d.parquet", "--set", text)
    assert outcome.code == 2
    assert "expected NAME=VALUE" in outcome.err


def test_refresh_says_what_became_of_the_files(run, index, folder):
    shutil.copy(folder / "files" / "f0.tif", folder / "files" / "f7.tif")
    (folder / "files" / "f1.tif").unlink()
    outcome = run("refresh", index)
    assert (outcome.code, outcome.err) == (0, "")
    assert "3 files of 3 items" in outcome.out
    for fact in ("new      1 file", "changed  0 files", "kept     2 files", "gone     1 file"):
        assert fact in outcome.out
    assert "f1.tif" in outcome.out


def test_refresh_as_json_can_be_parsed(run, index, folder):
    (folder / "files" / "f1.tif").unlink()
    report = json.loads(run("refresh", index, "--json").out)
    assert [report[name] for name in ("new", "changed", "kept", "gone")] == [0, 0, 2, 1]
    assert report["build"]["rows"] == 2
    assert report["gone_files"] == [str(folder / "files" / "f1.tif")]


def test_refresh_with_a_file_that_fails_exits_3_and_names_it(run, index, folder):
    (folder / "files" / "f1.tif").write_text("no TIFF")
    outcome = run("refresh", index)
    assert outcome.code == 3
    assert "f1.tif" in outcome.err


def test_refresh_of_what_cannot_be_built_again_exits_1(run, index, folder):
    (folder / "none.parquet").write_bytes(b"")
    outcome = run("refresh", folder / "none.parquet")
    assert (outcome.code, outcome.out) == (1, "")
    assert "none.parquet is not an index" in outcome.err


def test_validate_without_drift_exits_0(run, index):
    outcome = run("validate", index)
    assert (outcome.code, outcome.err) == (0, "")
    assert "checked    3 files" in outcome.out
    assert "unchanged  3 files" in outcome.out


def test_validate_with_drift_exits_1_and_names_the_files(run, index, folder):
    (folder / "files" / "f0.tif").write_bytes(b"II*\0")
    (folder / "files" / "f1.tif").unlink()
    outcome = run("validate", index)
    assert outcome.code == 1
    assert "f0.tif has 4 bytes now" in outcome.out
    assert "f1.tif" in outcome.out
    report = json.loads(run("validate", index, "--json").out)
    assert (report["counts"]["changed"], report["counts"]["gone"]) == (1, 1)
    assert {state["kind"] for state in report["states"]} == {"changed", "gone"}


def test_validate_of_a_sample_says_so(run, index):
    assert "1 file, a sample of 3" in run("validate", index, "--sample", "1").out


def test_validate_that_cannot_check_exits_2(run, folder):
    with RangeServer(folder / "files") as server:
        run("build", server.url("f0.tif"), "-o", folder / "i.parquet")
        server.add_faults("f0.tif", Fault("status", status=403))
        outcome = run("validate", folder / "i.parquet")
        assert outcome.code == 2
        assert "no access" in outcome.out
    outcome = run("validate", folder / "absent.parquet")
    assert (outcome.code, outcome.out) == (2, "")
    assert "absent.parquet: no such file" in outcome.err
