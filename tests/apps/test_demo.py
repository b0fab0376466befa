"""The demo, end to end."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import pytest

from rasteret_sql.apps.console import PROGRAM, Style, program
from rasteret_sql.apps.demo.command import _Demo


def test_the_demo_runs_offline_and_what_it_shows_can_be_pasted(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    pytest.importorskip("matplotlib")
    outcome = run("demo")
    assert (outcome.code, outcome.err) == (0, "")
    shown = outcome.out
    assert re.search(r"read +60 range requests", shown)
    assert "EPSG:32643" in shown
    assert "EPSG:32644" in shown
    # Tables have all of their columns, and no cell is wrapped, in a terminal of the usual width.
    tables = [line for line in shown.splitlines() if line.startswith("│")]
    assert len(tables) > 40
    assert all(len(line) <= 80 and " … " not in line for line in tables)
    assert not any(line.startswith("│  ") and line.split("│")[1].isspace() for line in tables)
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
    *commands, shell = re.findall(r"^  (.+)$", shown.split("Try next")[1], re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        begun, *arguments = shlex.split(command)
        assert begun == program()
        to_file = ["-o", "a.png"] if arguments[0] == "preview" else []  # else it asks for a terminal
        assert run(*arguments, *to_file).code == 0, command
    assert shell.startswith(f"{program()} shell demo/s2.parquet")
    assert run("shell", "demo/s2.parquet", "-c", "SELECT count(*) FROM s2", "--csv").out == "count_star()\n60\n"
    shutil.rmtree(tmp_path / "demo")


def test_the_demo_without_matplotlib_says_so_and_goes_on(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    demo = _Demo(tmp_path, Style(enabled=False))

    class Written:
        collection_id = "x"

    demo._draw([], Written(), (0.0, 0.0, 1.0, 1.0))
    assert not demo.is_drawn
    assert list(tmp_path.iterdir()) == []


def test_commands_are_shown_as_they_can_be_typed(tmp_path, monkeypatch):
    (tmp_path / "a venv").mkdir()
    script = tmp_path / "a venv" / PROGRAM
    script.write_text("#!/bin/sh\necho $1\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"a venv/{PROGRAM}", "demo"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    done = subprocess.run(f"{program()} info", shell=True, capture_output=True, text=True, check=True)
    assert (program(), done.stdout) == (f"'a venv/{PROGRAM}'", "info\n")
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    assert program() == PROGRAM
    # Not started by a script: the one beside the interpreter, if there is one.
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert program() == f"'{script}'"
    script.unlink()
    assert program() == PROGRAM
