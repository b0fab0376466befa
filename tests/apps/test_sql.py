"""sql: statements, formats, files and exit codes."""

from __future__ import annotations

import base64
import io
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.main import main

TILES = "SELECT item_id, band_name, tile_row, tile_col, transform, pixels FROM read_tiles('{}', bands := ['red'])"


def tiles_of(index):
    return rs.connect().sql(TILES.format(index)).fetchall()


def test_the_table_is_that_of_duckdb_and_shortens_pixels(run, index):
    outcome = run("sql", f"SELECT item_id, pixels FROM read_tiles('{index}', bands := ['red']) LIMIT 3")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0].startswith("┌")
    assert outcome.out.count("\\x") < 100
    assert outcome.err == ""


def test_a_long_table_is_cut_and_says_so(run):
    outcome = run("sql", "FROM range(100)", "--rows", "5")
    assert [line for line in outcome.out.splitlines() if " 4 " in line]
    assert " 5 │" not in outcome.out
    assert "more than 5 rows" in outcome.err


def test_a_table_reads_no_more_rows_than_it_shows(run):
    assert run("sql", "FROM range(1000000000000)").code == 0


def test_only_the_last_of_several_statements_is_shown(run):
    outcome = run(
        "sql", "CREATE TABLE t AS SELECT 7 AS a; INSERT INTO t VALUES (8); SELECT sum(a) AS s FROM t", "--format", "csv"
    )
    assert (outcome.code, outcome.out) == (0, "s\n15\n")


@pytest.mark.parametrize("sql", ["CREATE TABLE t (a INTEGER)", "SET threads = 1", "CREATE TABLE t AS SELECT 1"])
def test_a_statement_without_a_result_prints_nothing(run, sql):
    assert run("sql", sql).out == ""


def test_explain_and_pivot_and_describe_are_shown(run):
    assert "RANGE" in run("sql", "EXPLAIN FROM range(3)").out
    assert "column_name" in run("sql", "DESCRIBE SELECT 1 AS a").out
    outcome = run("sql", "CREATE TABLE t AS SELECT 'x' AS k, 3 AS v; PIVOT t ON k USING sum(v)", "--format", "csv")
    assert outcome.out == "x\n3\n"


def test_times_are_shown_in_utc(run, index):
    outcome = run("sql", f"SELECT DISTINCT datetime FROM '{index}' ORDER BY 1 LIMIT 1", "--format", "csv")
    assert outcome.out == "datetime\n2024-01-05 05:21:11+00\n"


def test_csv_reads_back_with_pixels_in_base64(run, index, tmp_path):
    file = tmp_path / "tiles.csv"
    assert run("sql", TILES.format(index), "-o", file).code == 0
    back = duckdb.sql(
        f"SELECT * REPLACE (from_base64(pixels) AS pixels, transform::DOUBLE[] AS transform) FROM '{file}'"
    )
    assert back.fetchall() == tiles_of(index)


def test_csv_tells_null_from_empty_and_quotes_what_must_be(run):
    outcome = run(
        "sql", "SELECT NULL AS a, '' AS b, 'x,y' AS c, 'say \"hi\"' AS d, E'two\\nlines' AS e", "--format", "csv"
    )
    assert outcome.out == 'a,b,c,d,e\n,"","x,y","say ""hi""","two\nlines"\n'


def test_json_is_an_array_that_any_reader_takes(run, index):
    rows = json.loads(run("sql", TILES.format(index), "--format", "json").out)
    back = [(*list(row.values())[:-1], base64.b64decode(row["pixels"])) for row in rows]
    assert back == tiles_of(index)


def test_json_has_no_nan(run):
    sql = "SELECT 'nan'::DOUBLE AS a, [{'b': '-inf'::FLOAT}] AS b, 'NaN \" -Infinity' AS c"
    (row,) = json.loads(run("sql", sql, "--format", "json").out, parse_constant=pytest.fail)
    assert row == {"a": None, "b": [{"b": None}], "c": 'NaN " -Infinity'}


def test_json_of_no_rows_is_an_empty_array(run):
    assert json.loads(run("sql", "SELECT 1 AS a LIMIT 0", "--format", "json").out) == []


def test_arrow_reads_back(index, capfdbinary):
    assert main(["sql", TILES.format(index), "--format", "arrow"]) == 0
    table = pa.ipc.open_stream(io.BytesIO(capfdbinary.readouterr().out)).read_all()
    assert [tuple(row.values()) for row in table.to_pylist()] == tiles_of(index)


def test_parquet_reads_back(run, index, tmp_path):
    file = tmp_path / "tiles.parquet"
    assert run("sql", TILES.format(index), "-o", file).code == 0
    assert duckdb.sql(f"FROM '{file}'").fetchall() == tiles_of(index)


def test_no_rows_are_written_with_their_columns(run, tmp_path):
    for suffix in ("parquet", "arrows", "csv"):
        file = tmp_path / f"none.{suffix}"
        assert run("sql", "SELECT 1 AS a, 'x'::BLOB AS b LIMIT 0", "-o", file).code == 0
        assert file.exists()
    assert pq.read_schema(tmp_path / "none.parquet").names == ["a", "b"]
    assert (tmp_path / "none.csv").read_text() == "a,b\n"


def test_a_filtered_index_in_parquet_is_an_index(run, index, tmp_path):
    part = tmp_path / "part.parquet"
    assert run("sql", f"FROM '{index}' WHERE asset = 'red'", "-o", part).code == 0
    assert tiles_of(part) == tiles_of(index)
    described = dict(row[:2] for row in duckdb.sql(f"DESCRIBE FROM '{part}'").fetchall())
    assert described["geometry"].startswith("GEOMETRY")


@pytest.mark.parametrize("chosen", ["csv", "json", "arrow", "parquet"])
def test_columns_of_one_name_are_told_apart(run, tmp_path, chosen):
    file = tmp_path / "twice"
    assert run("sql", "SELECT 1 AS a, 2 AS a, 3 AS A", "--format", chosen, "-o", file).code == 0
    if chosen == "json":
        assert json.loads(file.read_text()) == [{"a": 1, "a_1": 2, "A_2": 3}]
    if chosen == "csv":
        assert file.read_text() == "a,a_1,A_2\n1,2,3\n"


def test_the_statements_come_from_a_file_or_stdin(run, tmp_path, monkeypatch):
    file = tmp_path / "q.sql"
    file.write_text("-- first\nSELECT 1 AS a;\n")
    assert run("sql", "-f", file, "--format", "csv").out == "a\n1\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 2 AS b"))
    assert run("sql", "-", "--format", "csv").out == "b\n2\n"


def test_a_database_file_is_used_and_keeps_nothing_of_ours(run, tmp_path):
    database = tmp_path / "study.duckdb"
    assert run("sql", "CREATE TABLE t AS SELECT 1 AS a", "--db", database).code == 0
    assert run("sql", "FROM t", "--db", database, "--format", "csv").out == "a\n1\n"
    assert run("sql", "FROM t", "--db", database).code == 0
    with duckdb.connect(database) as con:
        assert con.sql("SHOW ALL TABLES").project("name").fetchall() == [("t",)]


def test_a_failing_query_leaves_the_output_file_as_it_was(run, tmp_path):
    file = tmp_path / "kept.csv"
    file.write_text("before")
    outcome = run("sql", "SELECT CASE WHEN range < 9000 THEN 1 ELSE error('late') END FROM range(10000)", "-o", file)
    assert outcome.code == 1
    assert "late" in outcome.err
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELEC 1", "syntax error"),
        ("FROM nope", "nope"),
        ("FROM read_tiles('nope.parquet')", "nope.parquet"),
        ("SELECT 'x'::INTEGER", "Could not convert"),
    ],
)
def test_an_error_is_one_message_and_exit_code_1(run, sql, words):
    outcome = run("sql", sql)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("rasteret-sql: ")
    assert words in outcome.err
    assert "Traceback" not in outcome.err


def test_our_own_errors_come_without_duckdbs_announcement(run, index):
    outcome = run("sql", f"FROM read_tiles('{index}', bands := ['redd'])")
    assert outcome.code == 1
    assert outcome.err.startswith("rasteret-sql: bands: got 'redd', expected one of")


@pytest.mark.parametrize(
    "arguments",
    [
        ["sql"],
        ["sql", ""],
        ["sql", "SELECT 1", "-f", "x.sql"],
        ["sql", "SELECT 1", "-o", "x.unknown"],
        ["sql", "SELECT 1", "--format", "xml"],
        ["sql", "SELECT 1", "--rows", "-1"],
        ["sql", "SET threads = 1", "-o", "x.csv"],
    ],
)
def test_wrong_usage_exits_2(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "error:" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["folder", "absent/x.csv"])
def test_an_output_that_cannot_be_written_exits_1(run, tmp_path, output):
    (tmp_path / "folder").mkdir()
    outcome = run("sql", "SELECT 1", "-o", tmp_path / output, "--format", "csv")
    assert outcome.code == 1
    assert outcome.err.startswith("rasteret-sql: -o: ")


def test_a_missing_file_of_statements_exits_1(run, tmp_path):
    outcome = run("sql", "-f", tmp_path / "absent.sql")
    assert outcome.code == 1
    assert "absent.sql: No such file or directory" in outcome.err


def test_sql_that_is_no_unicode_is_refused_wherever_it_comes_from(run, tmp_path, monkeypatch):
    (tmp_path / "latin.sql").write_bytes(b"SELECT '\xff'")
    sources = {"SQL": ["SELECT '\udcff'"], "latin.sql": ["-f", tmp_path / "latin.sql"], "stdin": ["-"]}
    for name, arguments in sources.items():
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"SELECT '\xff'"), encoding="utf-8"))
        outcome = run("sql", *arguments)
        assert outcome.code == 1
        assert f"{name}: got " in outcome.err
        assert "UTF-8" in outcome.err
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT '\udcff';\nSELECT 7 AS n;\n"))
    assert "which is no Unicode text" in run("shell").err
