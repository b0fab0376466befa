"""The demo, end to end."""

from __future__ import annotations

import re
import shutil
import sys

import pytest

from rasteret_sql.apps.console import Style
from rasteret_sql.apps.demo import _Demo


def test_the_demo_runs_offline_and_what_it_shows_can_be_pasted(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("matplotlib")
    outcome = run("demo")
    assert (outcome.code, outcome.err) == (0, "")
    shown = outcome.out
    assert re.search(r"read +60 range requests", shown)
    assert "EPSG:32643" in shown
    assert "EPSG:32644" in shown
    # What explain_read foretold is what read_tiles took.
    total = re.search(r"│ total +│ +\d+ │ +\d+ │ +\d+ │ +(\d+) │", shown)
    assert f"{total[1]} requests" in shown.split("6. ")[1].split("7. ")[0]
    assert (tmp_path / "demo" / "ndvi.png").stat().st_size > 50_000
    # The server is gone, and every statement still runs.
    queries = (tmp_path / "demo" / "queries.sql").read_text()
    for statement in queries.strip().split("\n\n"):
        assert statement in shown
    again = run("sql", "-f", "demo/queries.sql", "--format", "csv")
    assert again.code == 0, again.err
    lines = again.out.splitlines()
    assert len(lines) == 13
    for line in lines[1:]:
        date, crs, _, ndvi, _ = line.split(",")
        assert re.search(rf"│ {date} │ {crs} │ +[\d.]+ │ +{ndvi} │", shown)
    shutil.rmtree(tmp_path / "demo")


def test_the_demo_without_matplotlib_says_so_and_goes_on(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    demo = _Demo(tmp_path, Style(enabled=False))

    class Written:
        collection_id = "x"

    demo._draw([], Written(), (0.0, 0.0, 1.0, 1.0))
    assert not demo.is_drawn
    assert list(tmp_path.iterdir()) == []
