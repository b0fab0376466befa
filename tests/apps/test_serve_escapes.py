"""serve: a client gets nothing that it may not have, whichever way it asks and however it spells it."""

from __future__ import annotations

import shutil

import pytest

from rasteret_sql.testing.server import RangeServer

#: What refuses: our own checks of paths and globs, and that of DuckDB.
REFUSALS = (
    "outside of the folders that this process lets its clients read",
    "got '..' behind a wildcard",
    "file system operations are disabled by configuration",
)
SECRET = "hidden words"

FORBIDDEN = [
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
]  # fmt: skip
READING = [
    "SELECT 1 AS a", "FROM range(2)", "SUMMARIZE notes", "DESCRIBE notes", "SHOW TABLES", "EXPLAIN FROM notes",
    "WITH a AS (SELECT 1) FROM a", "VALUES (1)", "EXPLAIN ANALYZE SELECT 1", "SELECT 'FROM quack_stop()' AS a",
]  # fmt: skip


def on_server(sql):
    return "FROM rasteret.query('{}')".format(sql.replace("'", "''"))


def test_statements_that_do_not_just_read_are_refused(served, index):
    queries = [on_server(sql.format(folder=index.parent)) for sql in FORBIDDEN]
    for sql, message in zip(FORBIDDEN, served.answers(*queries), strict=True):
        assert "Authorization failed" in message, (sql, message)
    assert not (index.parent / "out.csv").exists()
    assert served.run("FROM rasteret.notes") == [{"note": "clear", "n": 7}]


def test_statements_that_read_run(served):
    for sql, rows in zip(READING, served.answers(*map(on_server, READING)), strict=True):
        assert isinstance(rows, list), (sql, rows)
        assert rows, sql


def test_an_index_that_is_a_query_is_checked_too(served):
    message = served.run("FROM read_tiles('FROM quack_server_list()')")
    assert "with the table function quack_server_list, expected one SELECT that only reads" in message


@pytest.fixture(scope="module")
def outside(served, index, collection):
    """A folder that clients may not read, with a file of each kind; links in an allowed folder lead into it."""
    folder = served.client.parent
    inside = index.parent / "escapes"
    inside.mkdir()
    sources = {"tif": collection.items[0].assets["red"], "json": collection.items[0].path, "parquet": index}
    for suffix, source in sources.items():
        for where in (folder, inside):
            shutil.copy(source, where / f"x.{suffix}")
        (inside / f"link.{suffix}").symlink_to(folder / f"x.{suffix}")
    (folder / "x.txt").write_text(SECRET)
    (inside / "x.txt").write_text("known words")
    (inside / "link.txt").symlink_to(folder / "x.txt")
    (inside / "folder").symlink_to(folder)
    return folder


def ways(stem, index, item_id):
    """All ways to read a file of a name without suffix: SQL by name of the way."""
    first = f"FROM '{index}' WHERE asset = 'red' AND item_id = '{item_id}'"
    tiles = "SELECT item_id FROM read_tiles($$SELECT * REPLACE ({}) " + first + "$$)"
    return {
        "href": tiles.format(
            f"'{stem}.tif' AS href, NULL::VARCHAR AS mirror, NULL::VARCHAR AS etag, NULL AS last_modified"
        ),
        "mirror": tiles.format(f"'{stem}.tif' AS mirror, NULL::VARCHAR AS etag, NULL AS last_modified"),
        "headers": on_server(f"WITH f AS (SELECT '{stem}.tif' AS href) SELECT href FROM read_headers('f')"),
        "document": f"SELECT item_id FROM stac_items('{stem}.json')",
        "documents": f"SELECT item_id FROM stac_items('{stem}.js*n')",
        "index": f"SELECT item_id FROM tile_plan('{stem}.parquet') LIMIT 1",
        "indexes": f"SELECT item_id FROM tile_plan('{stem}*.parquet') LIMIT 1",
        "text": on_server(f"SELECT content FROM read_text('{stem}.txt')"),
        "blob": on_server(f"SELECT content FROM read_blob('{stem}.txt')"),
        "csv": on_server(f"FROM read_csv('{stem}.txt', header = false)"),
        "table": on_server(f"SELECT item_id FROM '{stem}.parquet' LIMIT 1"),
        "metadata": on_server(f"SELECT num_rows FROM parquet_file_metadata('{stem}.parquet')"),
        "names": on_server(f"FROM glob('{stem}.txt')"),
    }


def test_every_way_reads_files_in_the_folders(served, index, collection, outside):
    queries = ways(f"{index.parent}/escapes/x", index, collection.items[0].item_id)
    for way, rows in zip(queries, served.answers(*queries.values()), strict=True):
        assert isinstance(rows, list), (way, rows)
        assert rows, way


@pytest.mark.parametrize(
    "spelling",
    ["{outside}/x", "file://{outside}/x", "{inside}/../../{beside}/x", "{inside}/link", "{inside}/folder/x", "~/x", "./x",
     "{inside}/*/../../../{beside}/x"],
)  # fmt: skip
def test_no_way_leads_to_a_file_outside_of_them(served, index, collection, outside, spelling):
    inside = index.parent / "escapes"
    assert (outside / "x.txt").read_text() == SECRET
    beside = outside.name
    assert outside.parent == index.parent.parent
    stem = spelling.format(outside=outside, inside=inside, beside=beside)
    queries = ways(stem, index, collection.items[0].item_id)
    if spelling.startswith("./"):  # an href is never relative to the folder that the server runs in
        del queries["href"], queries["mirror"]
    for way, message in zip(queries, served.answers(*queries.values()), strict=True):
        assert isinstance(message, str), (way, message)
        assert SECRET not in message, way
        if way == "documents" and spelling.endswith("link"):
            # The glob looks into an allowed folder, and finds the link; it is left out.
            assert list(inside.glob("link.js*n"))
            assert "no file matches this glob" in message
            continue
        assert any(words in message for words in REFUSALS), (way, message)


def test_globs_give_no_names_of_files_outside(served, index, outside):
    inside = index.parent / "escapes"
    listed, *refused = served.answers(
        on_server(f"FROM glob('{inside}/**')"),
        on_server(f"FROM glob('{outside}/*')"),
        on_server("FROM glob('/**')"),
        on_server(f"FROM glob('{inside}/../../{outside.name}/*')"),
        f"FROM stac_items('{outside}/*.json')",
        "FROM stac_items('/**/*.json')",
        f"FROM datasets(folder := '{outside}')",
    )
    assert f"{inside}/x.txt" in str(listed)
    assert "study.duckdb" not in str(listed)
    for message in refused:
        assert isinstance(message, str), message
        assert any(words in message for words in REFUSALS), message


ADDRESSES = [
    "http://127.0.0.1:{port}/a.tif", "http://localhost:{port}/a.tif", "http://[::1]:{port}/a.tif", "http://2130706433:{port}/a.tif",
    "http://169.254.169.254/latest/meta-data", "http://[::ffff:127.0.0.1]:{port}/a.tif", "http://0.0.0.0:{port}/a.tif",
    "http://127.1:{port}/a.tif", "http://0x7f.1:{port}/a.tif",
]  # fmt: skip
BUCKETS = ["s3://bucket/key.tif", "gs://bucket/key.tif", "az://container/key.tif"]


def test_addresses_inside_and_buckets_are_not_asked(served, tmp_path):
    (tmp_path / "a.tif").write_bytes(b"0123456789")
    with RangeServer(tmp_path) as http:
        urls = [url.format(port=http.base_url.rpartition(":")[2]) for url in ADDRESSES]
        ours = [
            query
            for url in [*urls, *BUCKETS]
            for query in (
                on_server(f"WITH f AS (SELECT '{url}' AS href) FROM read_headers('f')"),
                f"FROM stac_items('{url}.json')",
            )
        ]
        searches = [f"FROM stac_search('{url}')" for url in urls]
        theirs = [on_server(f"SELECT size FROM read_blob('{url}')") for url in [*urls, *BUCKETS[:2]]]
        for sql, message in zip([*ours, *searches], served.answers(*ours, *searches), strict=True):
            assert isinstance(message, str), (sql, message)
            assert "which this process does not let" in message or "that this process lets its clients" in message, (
                sql,
                message,
            )
        for sql, message in zip(theirs, served.answers(*theirs), strict=True):
            assert "disabled by configuration" in message, (sql, message)
        assert http.requests == []


def test_credentials_of_the_environment_are_not_shown(served):
    rows = served.run(on_server("SELECT name, value FROM duckdb_settings()"))
    assert len(rows) > 50
    assert "verysecret" not in str(rows)
    assert served.facts["token"] not in str(rows)


def test_another_token_is_refused(served):
    load = served.client.read_text().partition("CREATE OR REPLACE TEMPORARY SECRET")[0]
    wrong = f"{load} FROM quack_query('{served.facts['uri']}', 'SELECT 1', token := 'another one than that')"
    right = f"FROM quack_query('{served.facts['uri']}', 'SELECT 1 AS a', token := '{served.facts['token']}')"
    refused, allowed = served.answers(wrong, right, init=False)
    assert "Authentication failed" in refused
    assert allowed == [{"a": 1}]
