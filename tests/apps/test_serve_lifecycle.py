"""serve: how a server starts and ends, and what it reads for clients that want little or go away."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass

import duckdb
import pytest

import rasteret_sql as rs
from rasteret_sql.apps import serve
from rasteret_sql.sql import serving
from rasteret_sql.sql.client import Endpoint
from rasteret_sql.testing.server import RangeServer

from . import served as shells

TOKEN = "a-token-of-my-own-0123"
LATENCY_S = 1.0
#: Files that a query over all of the distant index reads, with one request each. All of them would take minutes.
FILES = 8000
ONE = "FROM rasteret.query('SELECT 1 AS a')"


@dataclass
class Distant:
    """A server whose pixels lie behind a slow line."""

    served: shells.Served
    http: RangeServer
    index: str

    @property
    def tiles(self):
        return f"FROM read_tiles('{self.index}', bands := ['red'])"

    def start(self, sql):
        """Start a query, and give its shell once some of its files were read."""
        before = len(self.http.requests)
        shell = self.served.start(sql)
        wait_for(lambda: len(self.http.requests) - before > 20)
        return shell

    def settled(self, before):
        """How many requests were made when no more come."""
        seen = []

        def is_quiet():
            seen.append(len(self.http.requests))
            # Four answers of the slow line.
            return len(seen) > 10 and len(set(seen[-10:])) == 1

        wait_for(is_quiet)
        return seen[-1] - before


def wait_for(condition):
    while not condition():
        time.sleep(LATENCY_S * 0.4)


@pytest.fixture(scope="module")
def distant(packages, collection, index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distant")
    with RangeServer(collection.folder, latency_s=LATENCY_S) as http:
        path = folder / "distant.parquet"
        with rs.connect() as con:
            con.execute(
                f"COPY (SELECT * REPLACE (replace(href, '{collection.folder}', '{http.base_url}') || '?n=' || n AS href, "
                f"NULL AS etag, item_id || n AS item_id) FROM '{index}', range({FILES // 2}) AS r(n) WHERE asset = 'red') "
                f"TO '{path}'"
            )
        with shells.running(packages, folder, "--allow-dir", folder, "--allow-url", f"{http.base_url}/") as served:
            yield Distant(served, http, path)


@pytest.mark.slow
def test_a_limit_ends_the_reading(distant):
    before = len(distant.http.requests)
    rows = distant.served.run(f"SELECT item_id, octet_length(pixels) AS n {distant.tiles} LIMIT 3")
    assert len(rows) == 3
    assert distant.settled(before) < FILES / 2


def test_ctrl_c_in_the_shell_ends_the_reading(distant):
    before = len(distant.http.requests)
    shell = distant.start(f"SELECT count(pixels) AS n {distant.tiles}")
    shell.send_signal(signal.SIGINT)
    out = shell.communicate()[0]
    assert shell.returncode == 1
    assert "count" not in out
    assert distant.settled(before) < FILES / 2
    assert distant.served.run(ONE) == [{"a": 1}]


@pytest.mark.slow
def test_little_is_read_for_a_client_that_was_killed_and_others_are_served(distant):
    before = len(distant.http.requests)
    shell = distant.start(f"SELECT count(pixels) AS n {distant.tiles}")
    shell.kill()
    shell.communicate()
    assert distant.served.run(ONE) == [{"a": 1}]
    assert distant.settled(before) < FILES / 2
    assert len(distant.served.run(f"SELECT item_id {distant.tiles} LIMIT 3")) == 3


@pytest.mark.slow
def test_a_session_holds_less_than_it_reads(packages, collection, index, tmp_path):
    many = tmp_path / "many.parquet"
    with rs.connect() as con:
        con.execute(
            f"COPY (SELECT * REPLACE (item_id || n AS item_id) FROM '{index}', range(10000) AS r(n) WHERE asset = 'red') "
            f"TO '{many}'"
        )
    allowed = ("--allow-dir", tmp_path, "--allow-dir", collection.folder)
    with shells.running(packages, tmp_path, *allowed, "--memory-limit", "500MB", "--threads", "2") as found:
        # What travels is what is asked for: pixels and masks, 200 kB a file.
        (row,) = found.run(
            f"SELECT count(*) AS n, sum(octet_length(pixels) + octet_length(mask))::BIGINT AS read_bytes "
            f"FROM read_tiles('{many}')"
        )
        assert row["n"] == 80_000
        assert found.peak_bytes() < row["read_bytes"] * 0.6


def test_a_server_that_is_asked_to_end_ends_well_also_while_it_reads(packages, tmp_path):
    with shells.running(packages, tmp_path) as found:
        shell = found.start("FROM rasteret.query('SELECT count(*) AS n FROM range(100000000000) a, range(1000) b')")
        assert found.run(ONE) == [{"a": 1}]
        assert found.end(signal.SIGINT)[:2] == (0, "")
    shell.kill()
    shell.communicate()


def test_a_server_ends_however_soon_it_is_asked_to(packages, tmp_path):
    for number in (signal.SIGTERM, signal.SIGINT) * 2:
        with shells.running(packages, tmp_path, env={"RASTERET_SQL_TOKEN": TOKEN}) as found:
            assert found.facts["token"] == TOKEN
            assert found.end(number) == (0, "", "")


@pytest.mark.slow
def test_those_who_may_write_may_not_leave_the_folders(packages, tmp_path):
    work, outside = tmp_path / "work", tmp_path / "outside"
    for folder in (work, outside):
        folder.mkdir()
    (outside / "x.txt").write_text("hidden words")
    database = work / "study.duckdb"
    with shells.running(packages, tmp_path, database, "--allow-writes", "--allow-dir", work) as found:
        *written, rows = found.answers(
            "FROM rasteret.query('CREATE TABLE study.t AS SELECT 7 AS n')",
            "FROM rasteret.query('INSERT INTO study.t VALUES (8)')",
            f"FROM rasteret.query($$ COPY study.t TO '{work}/t.csv' $$)",
            "FROM rasteret.query('SELECT n FROM study.t ORDER BY n')",
        )
        assert not any(isinstance(answer, str) for answer in written), written
        assert rows == [{"n": 7}, {"n": 8}]
        for message in found.answers(
            f"FROM rasteret.query($$ COPY study.t TO '{outside}/t.csv' $$)",
            f"FROM rasteret.query($$ FROM read_text('{outside}/x.txt') $$)",
            f"FROM rasteret.query($$ ATTACH '{outside}/y.duckdb' AS y $$)",
            "FROM rasteret.query('SET enable_external_access = true')",
            "FROM rasteret.query('LOAD spatial')",
        ):
            assert isinstance(message, str), message
            assert "disabled" in message or "locked" in message, message
    assert (work / "t.csv").read_text() == "n\n7\n8\n"
    assert sorted(path.name for path in outside.iterdir()) == ["x.txt"]
    with shells.running(packages, tmp_path, database) as found:
        assert found.run("FROM rasteret.query('SELECT n FROM t ORDER BY n')") == rows


@pytest.mark.slow
def test_behind_tls_it_listens_elsewhere_and_clients_are_told_its_name(packages, tmp_path):
    uri = "quack:data.example.org:443"
    with shells.running(packages, tmp_path, "--host", "0.0.0.0", "--behind-tls", "--client-uri", uri) as found:
        script = found.client.read_text()
        assert found.facts["uri"] == uri
        assert f"ATTACH IF NOT EXISTS '{uri}'" in script
        # Another machine has files of its own.
        assert "LOAD quack;" in script
        assert str(packages) not in script
        load = [
            f"LOAD '{packages}/duckdb_extension_{name}/extensions/v{shells.VERSION}/{name}.duckdb_extension'"
            for name in ("httpfs", "quack")
        ]
        here = f"quack:127.0.0.1:{found.facts['port']}"
        sql = f"FROM quack_query('{here}', 'SELECT 1 AS a', token := '{found.facts['token']}')"
        assert found.answers(*load, sql, init=False)[-1] == [{"a": 1}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--behind-tls"),
        (["--port", "99999"], "expected 0 to 65535"),
        (["--token", "short"], "expected at least 16"),
        (["--idle-seconds", "0"], "idle-seconds: got 0, expected a number above 0"),
        (["--allow-dir", "/nonexistent"], "which is no folder"),
        (["--allow-url", "nothing", "--extension", "/nonexistent/quack.duckdb_extension"], "which is no file"),
        (["--extension", "/nonexistent/quack.duckdb_extension"], "which is no file"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_remedy(run, arguments, words):
    outcome = run("serve", *arguments)
    assert outcome.code == 2
    assert words in outcome.err


def test_handlers_of_signals_are_those_of_before_when_it_cannot_go_on(run, monkeypatch, tmp_path):
    class Nobody:
        endpoint = Endpoint("quack:localhost:9494", TOKEN)
        closed = 0

        def close(self):
            self.closed += 1

    def handlers():
        descriptor = signal.set_wakeup_fd(-1)
        # Tests before this one may have connected, and then somebody listens.
        signal.set_wakeup_fd(descriptor)
        return [*(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)), descriptor]

    before, nobody = handlers(), Nobody()
    monkeypatch.setattr(serving, "serve", lambda _options: nobody)
    outcome = run("serve", "--write-client", tmp_path / "none" / "client.sql")
    assert outcome.code == 1
    assert "client.sql" in outcome.err
    assert nobody.closed == 1
    assert handlers() == before


def test_an_aiohttp_that_cannot_be_looked_into_is_refused(run, monkeypatch):
    monkeypatch.setattr(serving.importlib.metadata, "version", lambda _name: "3.11.18")
    outcome = run("serve", "--port", "0")
    assert outcome.code == 1
    assert "aiohttp: got 3.11.18, expected 3.12 or newer" in outcome.err


def test_a_duckdb_without_quack_is_told_what_to_install(tmp_path):
    code = (
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "import sys; from rasteret_sql.apps.main import main; sys.exit(main(['serve', '--port', '0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=shells.ROOT, check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "expected duckdb 1.5.5 with the wheels of its extensions" in done.stderr
    assert "pip install 'rasteret-sql[serve]'" in done.stderr
    if duckdb.__version__ != serving.SERVED_DUCKDB:
        assert "python3 -m venv .venv-serve && .venv-serve/bin/pip install" in done.stderr
        assert "make serve" in done.stderr


def test_the_extra_installs_the_duckdb_that_serves():
    project = tomllib.loads((shells.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheels = {
        f"duckdb{name}=={serving.SERVED_DUCKDB}" for name in ("", "-cli", "-extension-httpfs", "-extension-quack")
    }
    assert set(project["optional-dependencies"]["serve"]) == wheels == set(shells.PACKAGES)


@pytest.mark.parametrize("is_beside", [False, True])
def test_the_shell_that_is_printed_is_the_one_of_the_environment(tmp_path, monkeypatch, is_beside):
    here, other = tmp_path / "it's" / "bin", tmp_path / "bin"
    for folder in (here, other):
        folder.mkdir(parents=True)
    (other / "duckdb").write_text("#!/bin/sh\n")
    (other / "duckdb").chmod(0o755)
    if is_beside:
        (here / "duckdb").write_text("#!/bin/sh\n")
    monkeypatch.setattr(sys, "executable", str(here / "python"))
    monkeypatch.setenv("PATH", str(other))
    assert serve._shell() == (shlex.quote(str(here / "duckdb")) if is_beside else "duckdb")
    if is_beside:
        monkeypatch.chdir(tmp_path)
        assert serve._shell() == shlex.quote("it's/bin/duckdb")
        monkeypatch.setenv("PATH", f"{here}{os.pathsep}{other}")
        (here / "duckdb").chmod(0o755)
        assert serve._shell() == "duckdb"
