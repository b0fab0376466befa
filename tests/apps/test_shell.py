"""shell without a prompt: -c, -f, stdin, modes, dot commands, exit codes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys

import duckdb
import pytest

from rasteret_sql.apps.main import main
from rasteret_sql.apps.shell.commands import COMMANDS

COMMAND = [sys.executable, "-m", "rasteret_sql", "shell"]


@pytest.fixture
def piped(run, monkeypatch):
    """Run with some text on stdin."""

    def run_piped(text, *arguments):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return run("shell", *arguments)

    return run_piped


def test_every_result_is_shown_in_the_order_of_c_and_f(run, tmp_path):
    file = tmp_path / "q.sql"
    file.write_text("SELECT 3 AS c;\n.mode json\nSELECT 4 AS d")
    outcome = run("shell", "--csv", "-c", "SELECT 1 AS a; SELECT 2 AS b", "-f", file, "-c", "SELECT 5 AS e")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == 'a\n1\nb\n2\nc\n3\n[{"d":4}]\n[{"e":5}]\n'


def test_stdin_is_run_to_its_end(piped):
    outcome = piped("SELECT 1 AS a;\n.mode csv\nSELECT 'x;\ny' AS b;\n-- the end\nSELECT 2 AS c")
    assert outcome.code == 0
    assert outcome.out.endswith('b\n"x;\ny"\nc\n2\n')
    assert outcome.out.startswith("┌───────┐\n│   a   │")


def test_statements_of_stdin_run_before_the_next_line_arrives():
    with subprocess.Popen([*COMMAND, "--csv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"SELECT 1 AS a;\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == [b"a\n", b"1\n"]
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize("how", ["stdin", "-c", "-f"])
def test_the_first_error_ends_it_with_exit_code_1(run, piped, tmp_path, how):
    text = "SELECT 1 AS a; FROM nope; SELECT 3 AS c;"
    if how == "stdin":
        outcome = piped(text, "--csv")
    elif how == "-f":
        (tmp_path / "q.sql").write_text(text)
        outcome = run("shell", "--csv", "-f", tmp_path / "q.sql", "-c", "SELECT 4")
    else:
        outcome = run("shell", "--csv", "-c", text, "-c", "SELECT 4")
    assert (outcome.code, outcome.out) == (1, "a\n1\n")
    assert outcome.err.startswith("rasteret-sql: Catalog Error")


def test_an_error_of_ours_is_our_message(run, index):
    outcome = run("shell", "-c", f"FROM read_tiles('{index}', bands := ['redd'])")
    assert outcome.code == 1
    assert outcome.err.startswith("rasteret-sql: bands: got 'redd', expected one of")


def test_quit_ends_what_is_read(run, piped, tmp_path):
    assert piped("SELECT 1 AS a;\n.quit\nSELECT 2;\n", "--csv").out == "a\n1\n"
    (tmp_path / "q.sql").write_text("SELECT 1 AS a;\n.exit\nSELECT 2;\n")
    assert run("shell", "--csv", "-c", f".read {tmp_path}/q.sql", "-c", "SELECT 3").out == "a\n1\n"


def test_lines_show_a_value_each(run):
    outcome = run(
        "shell", "-line", "-c", "SELECT 1 AS a, NULL AS longer, '\\x00'::BLOB AS b UNION ALL SELECT 2, 'x', NULL"
    )
    assert outcome.out == "     a = 1\nlonger = NULL\n     b = \\x00\n\n     a = 2\nlonger = x\n     b = NULL\n"


@pytest.mark.parametrize("option", ["--json", "-json", "--mode=json"])
def test_modes_have_the_spellings_of_duckdb(run, option):
    assert json.loads(run("shell", option, "-c", "SELECT 1 AS a").out) == [{"a": 1}]


@pytest.mark.parametrize("arguments", [["--mode", "xml"], ["--csv", "--json"], ["one.db", "two.db"]])
def test_wrong_usage_exits_2(run, arguments):
    assert run("shell", *arguments).code == 2


def test_statements_without_a_result_print_nothing(run):
    outcome = run(
        "shell", "-c", "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2); SET threads = 2; UPDATE t SET a = 3;"
        "BEGIN; DELETE FROM t; ROLLBACK; PREPARE p AS FROM t", "--csv", "-c", "EXECUTE p; INSERT INTO t VALUES (9) RETURNING a",
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (0, "a\n3\n3\na\n9\n")


def test_a_database_is_written_and_may_be_opened_for_reading_only(run, tmp_path):
    database = tmp_path / "study.duckdb"
    assert run("shell", database, "-c", "CREATE TABLE t AS SELECT 42 AS n").code == 0
    assert run("shell", database, "-readonly", "--csv", "-c", "FROM t").out == "n\n42\n"
    outcome = run("shell", database, "-readonly", "-c", "CREATE TABLE u AS SELECT 1")
    assert outcome.code == 1
    assert "read-only" in outcome.err
    with duckdb.connect(database) as con:
        assert con.sql("SHOW ALL TABLES").project("name").fetchall() == [("t",)]


def test_a_database_that_cannot_be_opened_is_an_error_at_once(run, tmp_path):
    outcome = run("shell", tmp_path / "absent.duckdb", "-readonly", "-c", "SELECT 1")
    assert (outcome.code, outcome.out) == (1, "")
    assert "absent.duckdb" in outcome.err


def test_a_reader_that_goes_away_is_no_error():
    sql = "SELECT range, repeat('x', 100) FROM range(10000000)"
    with subprocess.Popen([*COMMAND, "-csv", "-c", sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_ctrl_c_ends_with_130():
    sql = "SELECT range, repeat('x', 100) FROM range(100000000000)"
    with subprocess.Popen([*COMMAND, "-csv", "-c", sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.stderr.read() == b""
    assert process.returncode == 130


def test_nothing_of_the_prompt_is_imported_without_one():
    code = (
        "import sys; from rasteret_sql.apps.main import main; main(['shell', '-c', 'SELECT 1']); "
        "print([m for m in ('prompt_toolkit', 'pygments') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_help_lists_every_command_and_describes_a_function(run):
    outcome = run("shell", "-c", ".help")
    assert all(command.usage in outcome.out for command in COMMANDS.values())
    outcome = run("shell", "-c", ".help read_tiles")
    assert outcome.out.startswith("read_tiles(index, bands :=, ")
    assert "Conditions in WHERE prune" in outcome.out.replace("\n  ", " ")
    assert run("shell", "-c", ".help mode").out.startswith(".mode [MODE]\n")


def test_tables_lists_tables_and_views_and_else_the_files_that_are_there(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s2.parquet").touch()
    assert run("shell", "-c", ".tables").out == "There are no tables; of files here, there is 's2.parquet'.\n"
    outcome = run(
        "shell", "--csv", "-c", "CREATE TABLE t (a INTEGER); CREATE TEMP VIEW v AS SELECT 1, 2", "-c", ".tables"
    )
    assert outcome.out == "schema,name,kind,columns\nmain,t,table,1\nmain,v,view,2\n"


def test_tables_counts_the_columns_of_views_that_were_not_used_yet(run, tmp_path):
    """DuckDB shows a Parquet file that it opens as a database by views, and counts their columns when they are used."""
    database = tmp_path / "views.db"
    with duckdb.connect(str(database)) as con:
        con.execute(
            "CREATE TABLE t (a INTEGER); CREATE VIEW v AS SELECT 1, 2; CREATE VIEW gone AS FROM t; DROP TABLE t"
        )
    outcome = run("shell", str(database), "--csv", "-c", ".tables")
    assert "main,v,view,2\n" in outcome.out
    assert "main,gone,view," in outcome.out


def test_schema_tells_how_tables_were_made_and_what_files_and_functions_give(run, index):
    outcome = run("shell", "--csv", "-c", "CREATE TABLE t (a INTEGER)", "-c", ".schema t", "-c", ".schema T")
    assert outcome.out == "CREATE TABLE t(a INTEGER);\n" * 2
    assert "\nasset,VARCHAR\n" in run("shell", "--csv", "-c", f".schema {index}").out
    assert "\npixels,BLOB\n" in run("shell", "--csv", "-c", f".schema read_tiles('{index}')").out


def test_datasets_are_listed_and_described(run):
    outcome = run("shell", "--csv", "-c", ".datasets")
    assert "earthsearch/sentinel-2-l2a" in outcome.out
    assert "id = pc/naip" in run("shell", "-c", ".datasets pc/naip").out
    outcome = run("shell", "-c", ".datasets pc/naib")
    assert (outcome.code, outcome.out) == (1, "")
    assert "did you mean pc/naip" in outcome.err


def total(run, text):
    """The sentence below the table of `.explain`."""
    outcome = run("shell", "-c", f".explain {text}")
    assert outcome.code == 0, outcome.err
    return outcome.out.splitlines()[-1]


def test_explain_agrees_with_explain_read(run, index):
    *_, cost = json.loads(run("sql", f"FROM explain_read('{index}')", "--format", "json").out)
    said = f"{cost['tiles']} tiles of {cost['items']} items: {cost['requests']} range requests, "
    assert total(run, index).startswith(said)


def test_explain_counts_what_conditions_and_columns_leave(run, index):
    everything = total(run, f"SELECT pixels FROM read_tiles('{index}')")
    red = total(run, f"SELECT pixels FROM read_tiles('{index}') WHERE band_name = 'red';")
    assert everything.split()[0] != red.split()[0] == "8"
    assert "0 range requests, 0 bytes to fetch" in total(run, f"SELECT item_id FROM read_tiles('{index}')")


def test_explain_of_two_reads_tells_them_apart(run, index):
    read = f"FROM read_tiles('{index}', bands := ['{{}}'])"
    outcome = run("shell", "-c", f".explain {read.format('red')} UNION ALL {read.format('nir')}")
    assert "read" in outcome.out.splitlines()[1]
    assert outcome.out.splitlines()[-1].startswith("16 tiles of 2 items: ")


def test_explain_fetches_nothing_and_later_reads_do(run, index):
    query = f"SELECT count(pixels) AS n FROM read_tiles('{index}', bands := ['red'])"
    outcome = run("shell", "--csv", "-c", f".explain {query}", "-c", query)
    assert outcome.out.endswith("n\n8\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CREATE TABLE t AS (SELECT 1)", "got CREATE, expected the name of an index or one SELECT"),
        ("", "expected the name of an index or a query"),
        ("nope.parquet", "nope.parquet"),
    ],
)
def test_explain_refuses_what_it_cannot_explain(run, text, words):
    outcome = run("shell", "-c", f".explain {text}")
    assert outcome.code == 1
    assert words in outcome.err


def test_explain_of_a_query_that_reads_no_tiles_says_so(run):
    assert run("shell", "-c", ".explain SELECT 1 + 1").out == "The query reads no tiles.\n"


def test_output_is_whole_at_the_next_output_and_has_the_format_of_its_suffix(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run(
        "shell", "-c", ".output two.json", "-c", "SELECT 1 AS a; SELECT 2 AS b", "-c", ".output", "-c", ".output p.parquet",
        "-c", "SELECT 3 AS c", "-c", ".output", "-c", ".mode csv", "-c", "FROM 'p.parquet'",
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (0, "c\n3\n")
    assert (tmp_path / "two.json").read_text() == '[{"a":1}]\n[{"b":2}]\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.parquet", "two.json"]


def test_output_appears_at_the_end_and_not_at_all_after_an_error(run, tmp_path):
    file = tmp_path / "a.csv"
    assert run("shell", "-c", f".output {file}", "-c", "SELECT 1 AS a").code == 0
    assert file.read_text() == "a\n1\n"
    assert run("shell", "-c", f".output {file}", "-c", "SELECT 2 AS a; FROM nope").code == 1
    assert file.read_text() == "a\n1\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_binary_file_holds_one_result(run, tmp_path):
    outcome = run("shell", "-c", f".output {tmp_path}/a.parquet", "-c", "SELECT 1; SELECT 2")
    assert outcome.code == 1
    assert "has a result already, and parquet holds one" in outcome.err


def test_an_output_that_cannot_be_written_names_the_command(run, tmp_path):
    outcome = run("shell", "-c", f".output {tmp_path}/absent/a.csv")
    assert (outcome.code, outcome.err.startswith("rasteret-sql: .output: the folder")) == (1, True)


def test_maxrows_says_how_many_rows_a_table_shows(run):
    outcome = run("shell", "-c", ".maxrows 3", "-c", "FROM range(10)", "-c", ".maxrows")
    assert "│     2 │" in outcome.out
    assert "│     3 │" not in outcome.out
    assert outcome.out.endswith("3\n")
    assert "more than 3 rows" in outcome.err


def test_the_timer_writes_to_stderr(run):
    outcome = run("shell", "--csv", "-c", ".timer on", "-c", "SELECT 1 AS a")
    assert outcome.out == "a\n1\n"
    assert outcome.err.startswith("Run Time (s): real ")


def test_read_runs_files_but_not_for_ever(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.sql").write_text(".read b.sql\nSELECT 2 AS b;")
    (tmp_path / "b.sql").write_text("SELECT 1 AS a;")
    assert run("shell", "--csv", "-f", "a.sql").out == "a\n1\nb\n2\n"
    (tmp_path / "b.sql").write_text(".read b.sql")
    outcome = run("shell", "-f", "b.sql")
    assert (outcome.code, "reads itself" in outcome.err) == (1, True)
    assert "absent.sql: No such file" in run("shell", "-c", ".read absent.sql").err


def test_cd_is_where_paths_begin(run, tmp_path, index, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run("shell", "--csv", "-c", f".cd {index.parent}", "-c", f"SELECT count(*) AS n FROM '{index.name}'")
    assert outcome.out == "n\n10\n"


def test_open_goes_to_another_database(run, tmp_path):
    database = tmp_path / "a b.duckdb"
    outcome = run(
        "shell", "--csv", "-c", f".open '{database}'", "-c", "CREATE TABLE t AS SELECT 42 AS n", "-c", ".open",
        "-c", ".tables", "-c", f".open '{database}' -readonly", "-c", "FROM t",
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.out.startswith("There are no tables")
    assert outcome.out.endswith("n\n42\n")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (".modo", "did you mean .mode?"),
        (".m", "did you mean .mode or .maxrows?"),
        (".mode xml", ".mode: got 'xml', expected one of table"),
        (".timer", ".timer: got '', expected on or off"),
        (".maxrows many", ".maxrows: got 'many'"),
        (".tables x", "expected nothing after it"),
        (".help nothing", ".help: got 'nothing'"),
        (".open 'a", "a quote is not closed"),
        (".read", "expected a file"),
        (".cd absent", "absent: No such file or directory"),
    ],
)
def test_a_wrong_command_says_what_is_right(run, tmp_path, monkeypatch, command, words):
    monkeypatch.chdir(tmp_path)
    outcome = run("shell", "-c", command)
    assert (outcome.code, outcome.out) == (1, "")
    assert words in outcome.err


def test_nothing_of_ours_is_among_the_tables(run):
    statements = "CREATE TABLE t (a INTEGER); FROM range(3); SELECT '\\x00'::BLOB AS b; BEGIN; SELECT 1 AS a; COMMIT"
    outcome = run("shell", "-c", statements, "-c", ".mode csv", "-c", "FROM range(2)", "-c", ".tables", "-c", ".schema")
    assert outcome.out.endswith("\nschema,name,kind,columns\nmain,t,table,1\nCREATE TABLE t(a INTEGER);\n")


def test_a_transaction_that_failed_goes_on_to_its_rollback(run, tmp_path):
    outcome = run("shell", "--csv", "-c", "BEGIN; CREATE TABLE t (a INTEGER); ROLLBACK; SELECT 1 AS a; FROM t")
    assert (outcome.code, outcome.out) == (1, "a\n1\n")


def test_help_has_examples(capsys):
    assert main(["shell", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert "rasteret-sql shell " in shown


@pytest.mark.parametrize(
    "what",
    [
        "{index}",
        "{index} red",
        "{index} nir,red,green",
        "FROM '{index}' WHERE asset = 'red';",
        "scenes",
        "'{index}' red",
    ],
)
def test_preview_shows_indexes_and_queries(run, index, monkeypatch, what):
    monkeypatch.setenv("RASTERET_SQL_IMAGES", "ascii")
    command = f".preview {what.format(index=index)}"
    outcome = run("shell", "-c", f"CREATE TEMP TABLE scenes AS FROM '{index}' WHERE asset = 'nir'", "-c", command)
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) > 5
    assert " pixels in EPSG:" in outcome.err


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("", "expected the name of an index"),
        ("absent.parquet", "absent.parquet"),
        ("{index} redd", "redd"),
        ("SELECT 1 AS a", "index"),
        ("(DROP TABLE t)", "yntax error"),
    ],
)
def test_preview_refuses_what_it_cannot_show(run, index, monkeypatch, what, words):
    monkeypatch.setenv("RASTERET_SQL_IMAGES", "ascii")
    outcome = run("shell", "-c", f".preview {what.format(index=index)}")
    assert (outcome.code, outcome.out) == (1, "")
    assert words in outcome.err


def test_preview_needs_a_terminal(run, index):
    outcome = run("shell", "-c", f".preview {index}")
    assert (outcome.code, outcome.out) == (1, "")
    assert "stdout is no terminal" in outcome.err


@pytest.mark.parametrize("name", ["read_tiles", "explain_read", "items", "tile_plan", "stac_search", "read_headers"])
def test_help_of_a_function_says_what_each_argument_means_with_an_example(run, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = run("shell", "-c", f".help {name}")
    assert (outcome.code, outcome.err) == (0, "")
    head, described, *blocks = outcome.out.partition("\n\n")[0], *outcome.out.split("\n\n")[1:]
    parameters = [part.split()[0] for part in head[len(name) + 1 : head.index(")")].split(",")]
    for parameter in parameters:
        (line,) = [each for each in described.splitlines() if each.startswith(f"  {parameter} ")]
        assert len(line.split()) > 2, line
    assert max(map(len, f"{head}\n{described}".splitlines())) < 80
    assert f"{name}(" in blocks[-1]
    if name == "read_tiles":
        assert "FROM read_tiles(\n      's2.parquet', bands := ['red', 'nir']," in blocks[-1]


def test_examples_of_functions_fit_a_terminal_of_80_columns():
    from rasteret_sql.apps.function_help import EXAMPLES

    # Help indents them by two.
    assert [line for example in EXAMPLES.values() for line in example.splitlines() if len(line) > 78] == []


def test_the_file_that_a_shell_opens_is_a_view_that_functions_read(run, index):
    read = f"SELECT item_id FROM read_tiles('{index.stem}', bands := ['red']) LIMIT 1"
    outcome = run("shell", index, "-c", read)
    assert (outcome.code, outcome.err) == (0, "")
    assert run("shell", index, "-c", read, "--csv").out.startswith("item_id\n")


def test_the_last_line_of_a_table_that_is_cut_is_no_wider_than_the_table(run, index, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("shell", "-c", ".maxrows 3", "-c", f"FROM read_tiles('{index}')").out.splitlines()
    assert lines[-1].startswith("  over 3 rows ")
    assert max(map(len, lines)) <= 80
