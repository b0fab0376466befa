"""serve: the stock DuckDB shell gets what a local connection gives, and nothing that it may not have."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import rasteret_sql as rs
from rasteret_sql.cli.main import main
from rasteret_sql.testing.server import RangeServer

from . import served as shells

NASTY = ["it's", 'say "hi"', "a\\b", "$$x$$", "two\nlines", "é€", "'; FROM nope; --", "{}", "%s", ""]


@pytest.fixture(scope="module")
def packages():
    return shells.environment()


@pytest.fixture(scope="module")
def database(packages, index, tmp_path_factory):
    """Made with the duckdb that serves it: an older one cannot read files of a newer one."""
    path = tmp_path_factory.mktemp("db") / "study.duckdb"
    code = (
        f"import duckdb; con = duckdb.connect({str(path)!r}); con.execute('CREATE TABLE notes AS SELECT $$clear$$ AS note, 7 AS n'); "
        f"con.execute('CREATE TABLE s2 AS FROM $${index}$$')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(packages)})
    return path


@pytest.fixture(scope="module")
def served(packages, collection, index, database, tmp_path_factory):
    """A server over a small collection."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "secret.txt").write_text("hidden words")
    (index.parent / "link.tif").symlink_to(folder / "secret.txt")
    found = shells.start_server(
        packages, folder, database, "--allow-dir", index.parent, "--allow-dir", collection.folder,
        env={"AWS_SECRET_ACCESS_KEY": "verysecret", "AWS_ACCESS_KEY_ID": "key"},
    )  # fmt: skip
    yield found
    found.process.send_signal(signal.SIGTERM)
    out, err = found.process.communicate(timeout=30)
    assert (found.process.returncode, out, err) == (0, "", "")


@pytest.fixture
def tile_query(index):
    return f"FROM read_tiles('{index}', bands := ['red'])"


def same(served, sql):
    """The rows of a query, which are those of a local connection."""
    with rs.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        local = con.execute(f"SELECT to_json(r)::VARCHAR FROM ({sql}) AS r").fetchall()
    rows = served.run(f"SELECT to_json(r)::VARCHAR AS j FROM ({sql}) AS r")
    assert not isinstance(rows, str), rows
    assert [row["j"] for row in rows] == [row for (row,) in local]
    return rows


def test_the_same_sql_gives_the_same_rows(served, index, collection):
    for sql in (
        f"SELECT * EXCLUDE (pixels, mask), md5(pixels) AS p, md5(mask) AS m FROM read_tiles('{index}')",
        f"SELECT item_id, md5(pixels) AS p FROM read_tiles('{index}', bands := ['red'], level := 0, resolution := NULL)",
        f"FROM tile_plan('{index}', bands := ['nir'], datetime := '2024-01', resolution := 20)",
        f"FROM explain_read('{index}', bbox := [-180, -85, 180, 85])",
        f"FROM items('{index}')",
        f"SELECT item_id, asset, crs, len(levels) AS n FROM read_headers('{index}')",
        f"SELECT item_id, asset, href FROM stac_items('{collection.document}')",
        "SELECT id, title FROM datasets()",
    ):
        same(served, sql)


def test_values_of_tiles_are_decoded_by_the_client_as_by_python(served, index):
    same(served, f"SELECT list_sum(rst_to_list(pixels, dtype)) AS s, len(rst_to_list(mask, 'bool')) AS n "
                 f"FROM read_tiles('{index}')")  # fmt: skip


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]
)
def test_every_dtype_is_decoded_as_numpy_does(served, dtype):
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind == "f":
        info = np.finfo(kind)
        values = np.array([0, -0.0, 1, -2.5, 0.1, info.max, info.tiny, info.smallest_subnormal, np.inf, -np.inf], kind)
    else:
        info = np.iinfo(kind)
        values = np.array([0, 1, info.max, info.min, info.max // 3], kind)
    rows = served.run(
        f"SELECT rst_to_list(from_hex('{values.astype(kind.newbyteorder('<')).tobytes().hex()}'), '{dtype}')::VARCHAR AS v"
    )
    assert [float(text) for text in rows[0]["v"].strip("[]").split(", ")] == values.astype(float).tolist()


@pytest.mark.parametrize("text", NASTY)
def test_arguments_arrive_whatever_characters_are_in_them(served, index, text):
    quoted = "'" + text.replace("'", "''") + "'"
    sql = f"SELECT count(*) AS n FROM tile_plan('{index}', bands := ['red', {quoted}])"
    with rs.connect() as con, pytest.raises(Exception, match="expected") as local:
        con.execute(sql).fetchall()
    got = served.run(sql)
    assert isinstance(got, str)
    expected = str(local.value).partition("bands: ")[2].partition("\n\n")[0]
    assert expected in got


def test_geometries_null_and_prepared_parameters_arrive(served, index):
    geometry = "'POLYGON ((77 12, 79 12, 79 14, 77 14, 77 12))'"
    for argument in (geometry, f"ST_AsWKB({geometry}::GEOMETRY)", f"{geometry}::GEOMETRY", "NULL"):
        same(served, f"FROM tile_plan('{index}', geometry := {argument})")
    rows = served.run(
        f"PREPARE p AS SELECT count(*) > 0 AS n FROM tile_plan($1, bands := $2, bbox := $3); "
        f"EXECUTE p('{index}', ['red'], [-180, -85, 180, 85])"
    )
    assert rows == [{"n": True}]


def test_two_reads_in_one_query_do_not_disturb_each_other(served, index):
    rows = served.run(
        f"SELECT count(*) AS n, count_if(a.pixels = b.pixels)::BIGINT AS same FROM read_tiles('{index}') a "
        f"JOIN read_tiles('{index}') b USING (item_id, asset, band, level, tile_row, tile_col)"
    )
    assert rows[0]["n"] == rows[0]["same"] > 0


def test_columns_say_what_is_read(packages, collection, index, tmp_path):
    with RangeServer(collection.folder) as http:
        remote = tmp_path / "remote.parquet"
        with rs.connect() as con:
            con.execute(
                f"COPY (SELECT * REPLACE (replace(href, '{collection.folder}', '{http.base_url}') AS href, NULL AS etag) "
                f"FROM '{index}') TO '{remote}'"
            )
        found = shells.start_server(packages, tmp_path, "--allow-dir", tmp_path, "--allow-url", f"{http.base_url}/")
        try:
            rows = found.run(f"FROM read_tiles('{remote}', columns := ['item_id', 'tile_row + 1 AS r'])")
            assert set(rows[0]) == {"item_id", "r"}
            rows = found.run(f"FROM rasteret.query($$ SELECT count(*) AS n FROM read_tiles('{remote}') $$)")
            assert rows[0]["n"] > 0
            assert http.requests == []
            rows = found.run(f"SELECT count(pixels) AS n FROM read_tiles('{remote}', columns := ['item_id', 'pixels'])")
            assert rows[0]["n"] > 0
            assert http.requests
        finally:
            found.process.terminate()
            found.process.communicate(timeout=30)


def test_tables_of_the_database_are_found_and_cannot_be_changed(served):
    assert served.run("FROM rasteret.query('SELECT note, n FROM notes')") == [{"note": "clear", "n": 7}]
    assert served.run("FROM rasteret.notes") == [{"note": "clear", "n": 7}]
    assert same_count(served) > 0
    assert "Authorization failed" in served.run("FROM rasteret.query('INSERT INTO study.notes VALUES (''x'', 1)')")
    assert isinstance(served.run("INSERT INTO rasteret.notes VALUES ('x', 1)"), str)
    assert served.run("FROM rasteret.notes") == [{"note": "clear", "n": 7}]


def same_count(served):
    return served.run("SELECT count(*) AS n FROM read_tiles('s2', bands := ['red'])")[0]["n"]


def test_an_error_of_ours_reaches_the_client_whole_and_without_a_traceback(served, index, tile_query):
    message = served.run(f"FROM read_tiles('{index}', bands := ['redd'])")
    assert "bands: got 'redd', expected one of the assets" in message
    missing = f"FROM read_tiles($$SELECT * REPLACE ('{index.parent}/none.tif' AS href) FROM '{index}'$$)"
    message = served.run(missing)
    assert "there is no such file; expected one" in message
    assert "Traceback" not in message
    assert ".py" not in message
    assert len(served.run(tile_query)) > 0


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t AS SELECT 1", "DROP VIEW notes", "COPY (SELECT 1) TO '{folder}/out.csv'", "SET threads = 1",
        "ATTACH ':memory:' AS x", "LOAD icu", "INSTALL spatial", "PRAGMA database_list", "CALL range(3)", "DETACH study",
        "CREATE SECRET (TYPE s3)", "SELECT 1; DROP VIEW notes", "WITH a AS (SELECT 1) INSERT INTO study.notes FROM a",
        "EXPLAIN ANALYZE DROP VIEW notes", "EXPLAIN (ANALYZE, format ') SELECT 1; --') DROP VIEW notes",
        "FROM quack_stop('quack:localhost:9494')", "FROM QUACK_STOP('quack:localhost:9494')",
        "FROM system.main.quack_stop('x')", "FROM quack_serve('quack:localhost:9999', token := 'abcdefgh')",
        "SELECT (SELECT 1 FROM quack_server_list())", "FROM quack_query('quack:10.0.0.1:1', 'SELECT 1')",
        "FROM query('FROM quack_server_list()')", "FROM enable_logging('Quack')", "FROM duckdb_secrets()",
        "FROM duckdb_logs()", "FROM arrow_scan(1::POINTER, 2::POINTER, 3::POINTER)", "FROM json_execute_serialized_sql('x')",
        "FROM enable_profiling()", "FROM checkpoint()", "SELECT write_log('x')", "BEGIN; DROP VIEW notes", "not even SQL",
    ],
)  # fmt: skip
def test_statements_that_do_not_just_read_are_refused(served, index, sql):
    quoted = sql.format(folder=index.parent).replace("'", "''")
    message = served.run(f"FROM rasteret.query('{quoted}')")
    assert "Authorization failed" in message, message
    assert served.run("FROM rasteret.notes") == [{"note": "clear", "n": 7}]


@pytest.mark.parametrize(
    "sql", ["SELECT 1 AS a", "FROM range(2)", "SUMMARIZE notes", "DESCRIBE notes", "SHOW TABLES", "EXPLAIN FROM notes",
            "WITH a AS (SELECT 1) FROM a", "VALUES (1)", "EXPLAIN ANALYZE SELECT 1", "SELECT 'FROM quack_stop()' AS a"],
)  # fmt: skip
def test_statements_that_read_run(served, sql):
    assert isinstance(served.run(f"FROM rasteret.query('{sql.replace(chr(39), chr(39) * 2)}')"), list)


def test_an_index_that_is_a_query_is_checked_too(served):
    message = served.run("FROM read_tiles('FROM quack_server_list()')")
    assert "expected a SELECT that calls only functions which read" in message


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "file:///etc/passwd", "{index}/../../../../../../etc/passwd", "{secret}", "{link}", "~/.bashrc"],
)
@pytest.mark.parametrize("way", ["href", "mirror", "headers", "stac", "duckdb", "index"])
def test_no_way_leads_to_a_file_outside_of_the_folders(served, index, path, way):
    path = path.format(index=index.parent, secret=served.client.parent / "secret.txt", link=index.parent / "link.tif")
    tiles = "FROM read_tiles($$SELECT * REPLACE ({}) FROM '" + str(index) + "'$$)"
    message = served.run(
        {
            "href": tiles.format(f"'{path}' AS href, NULL::VARCHAR AS mirror, NULL::VARCHAR AS etag"),
            "mirror": tiles.format(f"'{path}' AS mirror, NULL::VARCHAR AS etag"),
            "headers": f"FROM rasteret.query($$ WITH f AS (SELECT '{path}' AS href) FROM read_headers('f') $$)",
            "stac": f"FROM stac_items('{path}')",
            "duckdb": f"FROM rasteret.query($$ FROM read_text('{path}') $$)",
            "index": f"FROM read_tiles('{path}')",
        }[way]
    )
    assert isinstance(message, str)
    assert any(
        words in message
        for words in ("outside of the folders", "disabled by configuration", "No files found", "does not exist")
    ), message
    assert "hidden" not in message


@pytest.mark.parametrize("pattern", ["/etc/*", "{index}/*/../../../*", "/**/*.json"])
def test_globs_do_not_list_other_folders(served, index, pattern):
    pattern = pattern.format(index=index.parent)
    for sql in (f"FROM stac_items('{pattern}')", f"FROM rasteret.query($$ FROM glob('{pattern}') $$)",
                f"FROM read_tiles('{pattern}')", "FROM datasets(folder := '/etc')"):  # fmt: skip
        message = served.run(sql)
        assert isinstance(message, str), message
        assert "passwd" not in message


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/a.tif", "http://localhost:{port}/a.tif", "http://[::1]:{port}/a.tif", "http://2130706433:{port}/a.tif",
     "http://169.254.169.254/latest/meta-data", "http://[::ffff:127.0.0.1]:{port}/a.tif", "http://0.0.0.0:{port}/a.tif",
     "s3://bucket/key.tif", "gs://bucket/key.tif", "http://127.1:{port}/a.tif", "http://0x7f.1:{port}/a.tif"],
)  # fmt: skip
@pytest.mark.parametrize("way", ["headers", "stac", "search"])
def test_addresses_inside_and_buckets_are_not_asked(served, tmp_path, url, way):
    with RangeServer(tmp_path) as http:
        url = url.format(port=http.base_url.rpartition(":")[2])
        message = served.run(
            {
                "headers": f"FROM rasteret.query($$ WITH f AS (SELECT '{url}' AS href) FROM read_headers('f') $$)",
                "stac": f"FROM stac_items('{url}.json')",
                "search": f"FROM stac_search('{url}')",
            }[way]
        )
        assert http.requests == []
    assert isinstance(message, str)


def test_credentials_of_the_environment_are_not_shown(served):
    rows = served.run("FROM rasteret.query('SELECT name, value FROM duckdb_settings()')")
    assert len(rows) > 50
    assert "verysecret" not in str(rows)
    assert served.facts["token"] not in str(rows)


def test_another_token_is_refused(served):
    load = served.client.read_text().partition("CREATE OR REPLACE TEMPORARY SECRET")[0]
    sql = f"{load} FROM quack_query('{served.facts['uri']}', 'SELECT 1', token := 'another one than that')"
    assert "Authentication failed" in served.run(sql, init=False)


def test_clients_at_the_same_time_do_not_disturb_each_other(served, index, tile_query):
    good = [served.start(f"SELECT count(pixels) AS n {tile_query}") for _ in range(3)]
    bad = served.start(f"FROM read_tiles('{index}', bands := ['redd'])")
    assert "redd" in bad.communicate(timeout=60)[1]
    found = {shell.communicate(timeout=60)[0].rpartition("[")[2] for shell in good}
    assert len(found) == 1
    assert bad.returncode == 1


def test_the_script_of_a_client_is_for_its_owner_only(served):
    assert stat.S_IMODE(served.client.stat().st_mode) == 0o600
    assert served.facts["token"] in served.client.read_text()


def test_a_server_that_is_asked_to_end_ends_well_also_while_it_reads(packages, index, collection, tmp_path):
    found = shells.start_server(packages, tmp_path, "--allow-dir", index.parent, "--allow-dir", collection.folder)
    shell = found.start("FROM rasteret.query('SELECT count(*) AS n FROM range(100000000000) a, range(1000) b')")
    assert found.run("FROM rasteret.query('SELECT 1 AS a')") == [{"a": 1}]
    found.process.send_signal(signal.SIGINT)
    found.process.communicate(timeout=30)
    assert found.process.returncode == 0
    shell.kill()
    shell.communicate()


def test_the_token_comes_from_the_environment_or_a_file(packages, tmp_path):
    token = "a-token-of-my-own-0123"
    found = shells.start_server(packages, tmp_path, env={"RASTERET_SQL_TOKEN": token})
    assert found.facts["token"] == token
    found.process.terminate()
    found.process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--behind-tls"),
        (["--port", "99999"], "expected 0 to 65535"),
        (["--token", "short"], "expected at least 16"),
        (["--allow-dir", "/nonexistent"], "which is no folder"),
        (["--extension", "/nonexistent/quack.duckdb_extension"], "which is no file"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_remedy(run, arguments, words):
    outcome = run("serve", *arguments)
    assert outcome.code == 1
    assert words in outcome.err


def test_a_duckdb_without_quack_is_told_what_to_install(tmp_path):
    code = (
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "import sys; from rasteret_sql.cli.main import main; sys.exit(main(['serve', '--port', '0']))"
    )
    environ = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=environ,
        cwd=Path(shells.ROOT),
        check=False,
    )
    assert done.returncode == 1
    assert "pip install duckdb==1.5.5 duckdb-extension-quack==1.5.5" in done.stderr


def test_help_has_examples(capsys):
    assert main(["serve", "--help"]) == 0
    assert "duckdb -init client.sql" in capsys.readouterr().out
