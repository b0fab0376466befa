"""The ten queries of the tutorial give the same wherever its SQL runs."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import duckdb
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main
from tests.apps import served as shells

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
_FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
#: The first line of each of the ten.
_NUMBERED = re.compile(r"-- (?P<number>\d+)\. ")

#: In a process of its own: dbt's warnings are not ours.
DBT = "import sys; from dbt.cli.main import dbtRunner; sys.exit(not dbtRunner().invoke(sys.argv[1:]).success)"
PROJECT = """\
name: tutorial
version: "1.0"
profile: tutorial
flags:
  send_anonymous_usage_stats: false
models:
  tutorial:
    +materialized: table
"""
PROFILES = """\
tutorial:
  target: local
  outputs:
    local:
      type: duckdb
      path: tutorial.duckdb
      threads: 4
      keep_open: true
      settings:
        TimeZone: UTC
      plugins:
        - module: rasteret_sql.integrations.dbt
          alias: rasteret_sql
"""

#: Names of the columns, then every row as text.
Table = list[tuple[str, ...]]


def fences(language: str, text: str) -> list[str]:
    return [match["code"] for match in _FENCE.finditer(text) if match["language"] == language]


QUERIES = [code for code in fences("sql", TUTORIAL.read_text(encoding="utf-8")) if _NUMBERED.match(code)]
NUMBERS = range(1, len(QUERIES) + 1)


def as_text(con: duckdb.DuckDBPyConnection, query: str) -> Table:
    """What a query gives, each value as DuckDB writes it as text, NULL as nothing."""
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE OR REPLACE TEMP TABLE given AS {query}")
    given = con.sql("SELECT coalesce(COLUMNS(*)::VARCHAR, '') FROM given")
    return [tuple(con.sql("FROM given").columns), *given.fetchall()]


def of_csv(text: str) -> Table:
    return [tuple(row) for row in csv.reader(io.StringIO(text))]


def of_json(text: str) -> list[dict[str, Any]]:
    """An array of rows, whose numbers are those that were written, digit by digit."""
    rows: list[dict[str, Any]] = json.loads(text, parse_float=Decimal)
    return rows


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "PYTHONWARN"))}
    return {**kept, "TZ": "UTC", "DO_NOT_TRACK": "1"}


def output_of(folder: Path, *command: str) -> str:
    ran = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader of the tutorial is when all that stands before its last query has run."""
    place = tmp_path_factory.mktemp("tutorial")
    text = TUTORIAL.read_text(encoding="utf-8")
    before = text[: text.index(QUERIES[-1])]
    code = "\n".join(fences("python", before))
    output_of(place, sys.executable, "-c", code)
    return place


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[Table]:
    """What Python gives."""
    with pytest.MonkeyPatch.context() as patch, rs.connect() as con:
        patch.chdir(folder)
        return [as_text(con, query) for query in QUERIES]


@pytest.fixture(scope="module")
def expected_json(folder: Path) -> list[list[dict[str, Any]]]:
    """What Python gives, as DuckDB writes it as JSON."""
    with pytest.MonkeyPatch.context() as patch, rs.connect() as con:
        patch.chdir(folder)
        written = []
        for query in QUERIES:
            as_text(con, query)
            rows = con.sql("SELECT to_json(given)::VARCHAR FROM given").fetchall()
            written.append([json.loads(row, parse_float=Decimal) for (row,) in rows])
        return written


@pytest.fixture(scope="module")
def from_shell(folder: Path) -> Path:
    """The folder with what one session of the shell wrote of each, as CSV and as JSON."""
    lines = [
        line
        for mode in ("csv", "json")
        for number, query in zip(NUMBERS, QUERIES, strict=True)
        for line in (f".mode {mode}", f".output shell_{number}.{mode}", query.rstrip())
    ]
    (folder / "queries.sql").write_text("\n".join([*lines, ".output", ""]))
    output_of(folder, sys.executable, "-m", "rasteret_sql", "shell", "-f", "queries.sql")
    return folder


@pytest.fixture(scope="module")
def from_stock_shell(folder: Path) -> Path:
    """The folder with what the stock DuckDB shell wrote of each, as a client of `rasteret-sql serve`."""
    packages = shells.environment()
    lines = [
        line
        for number, query in zip(NUMBERS, QUERIES, strict=True)
        for line in (f".output stock_{number}.csv", query.rstrip())
    ]
    script = "\n".join([".mode csv", ".nullvalue ''", "SET TimeZone = 'UTC';", *lines, ".output", ""])
    with shells.running(packages, folder, "--allow-dir", folder) as served:
        ran = subprocess.run(
            [str(packages / "duckdb_cli" / "duckdb"), "-init", str(served.client), "-bail"],
            input=script,
            cwd=folder,
            env={**os.environ, **shells.NO_TERMINAL},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def built(folder: Path) -> list[Table]:
    """What dbt makes of them, one model each."""
    try:
        version("dbt-duckdb")
    except PackageNotFoundError:
        pytest.skip("dbt-duckdb is not installed: pip install 'rasteret-sql[dbt]'")
    (folder / "dbt_project.yml").write_text(PROJECT)
    (folder / "profiles.yml").write_text(PROFILES)
    (folder / "models").mkdir()
    for number, query in zip(NUMBERS, QUERIES, strict=True):
        (folder / "models" / f"query_{number}.sql").write_text(query.rstrip().removesuffix(";"))
    output_of(folder, sys.executable, "-c", DBT, "--no-use-colors", "build", "--profiles-dir", ".")
    with duckdb.connect(str(folder / "tutorial.duckdb"), read_only=True) as con:
        return [as_text(con, f"FROM query_{number}") for number in NUMBERS]


def test_there_are_ten_and_each_has_its_number() -> None:
    numbers = [match["number"] for match in map(_NUMBERED.match, QUERIES) if match is not None]
    assert numbers == [str(number) for number in range(1, 11)]


def test_every_sql_fence_of_the_tutorial_is_one_of_them() -> None:
    assert fences("sql", TUTORIAL.read_text(encoding="utf-8")) == QUERIES


@pytest.mark.parametrize("number", NUMBERS)
def test_python_gives_rows_in_an_order_that_the_query_says(number: int, folder: Path, expected: list[Table]) -> None:
    assert len(expected[number - 1]) > 1
    assert "ORDER BY" in QUERIES[number - 1].splitlines()[-1]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_command_sql_gives_the_same(
    number: int, folder: Path, expected: list[Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert main(["sql", QUERIES[number - 1], "-o", f"sql_{number}.csv"]) == 0
    assert of_csv((folder / f"sql_{number}.csv").read_text(encoding="utf-8")) == expected[number - 1]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_shell_gives_the_same(
    number: int, from_shell: Path, expected: list[Table], expected_json: list[list[dict[str, Any]]]
) -> None:
    assert of_csv((from_shell / f"shell_{number}.csv").read_text(encoding="utf-8")) == expected[number - 1]
    assert of_json((from_shell / f"shell_{number}.json").read_text(encoding="utf-8")) == expected_json[number - 1]


def test_the_shell_takes_a_query_as_an_argument(folder: Path, expected: list[Table]) -> None:
    command = (sys.executable, "-m", "rasteret_sql", "shell", "--csv", "-c", QUERIES[8])
    assert of_csv(output_of(folder, *command)) == expected[8]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_stock_shell_gives_the_same(number: int, from_stock_shell: Path, expected: list[Table]) -> None:
    assert of_csv((from_stock_shell / f"stock_{number}.csv").read_text(encoding="utf-8")) == expected[number - 1]


@pytest.mark.parametrize("number", NUMBERS)
def test_dbt_gives_the_same(number: int, built: list[Table], expected: list[Table]) -> None:
    assert built[number - 1] == expected[number - 1]
