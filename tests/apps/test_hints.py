"""Hints below a statement: the argument that was meant, and the argument that leaves no rows."""

from __future__ import annotations

import pytest

from rasteret_sql.apps.hints import why_empty
from rasteret_sql.sql.connection import connect


@pytest.mark.parametrize("function", ["items", "tile_plan", "explain_read", "read_tiles", "read_pixels", "chips"])
@pytest.mark.parametrize("door", ["sql", "shell"])
def test_a_table_without_rows_says_which_argument_leaves_nothing(run, index, function, door):
    size = ", size := 8" if function == "chips" else ""
    text = f"FROM {function}('{index}', datetime := '2030'{size})"
    outcome = run("sql", text) if door == "sql" else run("shell", "-c", text)
    assert outcome.code == 0
    assert "datetime: '2030' matches none of the assets" in outcome.err
    assert "touches none" not in outcome.err


def test_conditions_of_a_query_are_not_blamed_on_arguments(run, index):
    assert run("sql", f"FROM items('{index}', datetime := '2024') WHERE item_id = 'nobody'").err == ""
    assert run("sql", f"FROM items('{index}', datetime := '2030')", "--format", "csv").err == ""


def test_arguments_may_be_any_constants(index):
    with connect() as con:
        con.execute(f"CREATE TABLE scenes AS FROM '{index}'")
        outside = "tile_plan(index := 'scenes', datetime := concat('20', '30'), bands := ['red'])"
        for text in (f"FROM {outside}", f"SELECT count(*) FROM (SELECT 1) AS one, {outside}"):
            assert "'2030' matches none of the assets of index 'scenes'" in str(why_empty(con, text))
        # What a cursor does not see is left alone.
        con.execute(f"CREATE TEMP TABLE mine AS FROM '{index}'")
        assert why_empty(con, "FROM tile_plan('mine', datetime := '2030')") is None
        assert why_empty(con, "CREATE TABLE t AS SELECT 1") is None
        assert why_empty(con, f"FROM (VALUES ('2030')) AS v(d), tile_plan('{index}', datetime := v.d)") is None


@pytest.mark.parametrize("door", ["sql", "shell"])
@pytest.mark.parametrize(
    ("call", "given", "meant"),
    [
        ("FROM read_tiles('{index}', bandz := ['red'])", "bandz", "bands"),
        ("FROM items('{index}', datetim := '2024')", "datetim", "datetime"),
        ("FROM datasets(foldr := 'x')", "foldr", "folder"),
        ("SELECT rst_value(NULL, dtyp := 'uint8')", "dtyp", "dtype"),
    ],
)
def test_an_argument_that_is_nearly_right_is_asked_for(run, index, door, call, given, meant):
    text = call.format(index=index)
    outcome = run("sql", text) if door == "sql" else run("shell", "-c", text)
    assert outcome.code != 0
    assert f"got the argument {given}, expected " in outcome.err
    assert f"; did you mean {meant}?" in outcome.err
    assert "type casts" not in outcome.err


@pytest.mark.parametrize("function", ["items", "tile_plan", "explain_read", "read_tiles", "read_pixels"])
@pytest.mark.parametrize("door", ["sql", "shell"])
def test_a_file_that_is_no_index_gets_one_message(run, tmp_path, function, door):
    other = tmp_path / "other.parquet"
    with connect() as con:
        con.execute(f"COPY (SELECT 1 AS a) TO '{other}'")
    for path, message in (
        (other, "is not an index: it has no column collection, item_id"),
        (tmp_path / "nope.parquet", "cannot be read as Parquet: No files found"),
    ):
        text = f"FROM {function}('{path}')"
        outcome = run("sql", text) if door == "sql" else run("shell", "-c", text)
        assert outcome.code != 0
        assert f"index: '{path}' {message}" in outcome.err
        assert "rasteret-sql build" in outcome.err
        assert "index_of_schema_2" not in outcome.err


def test_a_table_that_is_no_index_is_not_called_invisible(run):
    outcome = run("sql", "CREATE TEMP TABLE t AS SELECT 1 AS a; FROM items('t')")
    assert outcome.code != 0
    assert "separate connection" not in outcome.err


def test_other_errors_of_duckdb_stay_as_they_are(run, index):
    outcome = run("sql", f"FROM items('{index}', 1, 2, 3, 4, 5, 6, 7)")
    assert "does not support the supplied arguments" in outcome.err


def test_hints_know_formulas_and_sizes_in_metres(index):
    with connect() as con:
        for arguments in (
            "gsd := 20, datetime := '2030', bands := ['red']",
            "expressions := {'half': 'red / 2'}, datetime := '2030'",
            "valid_where := 'red > 3', datetime := '2030', bands := ['red']",
        ):
            assert "'2030' matches none" in str(why_empty(con, f"FROM read_pixels('{index}', {arguments})"))
        # The read itself says what is wrong with a formula.
        text = f"FROM read_pixels('{index}', expressions := {{'half': 'red /'}}, datetime := '2030')"
        assert why_empty(con, text) is None
