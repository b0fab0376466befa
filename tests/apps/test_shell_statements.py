"""Where statements end: strings, names, comments and dot commands."""

from __future__ import annotations

import pytest

from rasteret_sql.apps.shell.statements import is_complete, split, units, units_of_lines


def texts(text):
    return units(text)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ';'",
        "SELECT 'it''s; fine'",
        'SELECT 1 AS "a;""b"',
        r"SELECT e'\'; still', E'\\'",
        "SELECT $$ ; $$",
        "SELECT $tag$ ; $$ ; $tag$",
        "SELECT $1 + $2",
        "SELECT 1 -- a; b\n + 1",
        "SELECT 1 /* ; /* ; */ ; */ + 1",
        "SELECT 'é; 中'",
        "SELECT '\n.tables\n;'",
        "SELECT 1\n.5",
        r"SELECT 'C:\'",
        "SELECT name'; '",
    ],
)
def test_a_semicolon_inside_something_ends_nothing(statement):
    assert texts(f"{statement}; SELECT 2") == [statement, "SELECT 2"]
    assert is_complete(f"{statement};")
    assert not is_complete(statement)


@pytest.mark.parametrize(
    "begun", ["SELECT ';", 'SELECT ";', "SELECT /* ;", "SELECT $$ ;", "SELECT e'\\';", "SELECT 'a'';", "/*", "SELECT '"]
)
def test_what_is_still_open_is_not_complete(begun):
    assert not is_complete(begun)


@pytest.mark.parametrize("blank", ["", "  \n ", "-- nothing; here", "/* ; */", ";", " ; -- x\n;"])
def test_nothing_is_complete_and_runs_nothing(blank):
    assert is_complete(blank)
    assert texts(blank) == []


def test_comments_stay_in_the_statement_that_they_stand_in():
    assert texts("-- head\nSELECT 1; -- tail\n") == ["SELECT 1"]
    assert texts("SELECT 1 -- why\n;") == ["SELECT 1 -- why"]


def test_dot_commands_are_lines_where_a_statement_would_begin():
    text = ".mode csv\nSELECT 1;\n  .tables\n-- note\n.timer on\nSELECT 2\n.not_a_command\n"
    assert texts(text) == [".mode csv", "SELECT 1", ".tables", ".timer on", "SELECT 2\n.not_a_command"]
    assert [unit.startswith(".") for unit in units(text)] == [True, False, True, True, False]


def test_a_dot_command_may_hold_a_semicolon_and_need_not_end_with_a_line_break():
    assert texts(".explain FROM t; SELECT 1") == [".explain FROM t; SELECT 1"]


def test_the_rest_is_what_does_not_end():
    found, rest = split("SELECT 1; SELECT 2\n")
    assert found == ["SELECT 1"]
    assert rest == "SELECT 2\n"


def test_lines_are_run_as_soon_as_they_end_something():
    seen = []

    def lines():
        for line in ("SELECT\n", "1;\n", ".mode csv\n", "SELECT ';\n", "';\n", "SELECT 3"):
            seen.append(line)
            yield line

    arrived = [(unit, len(seen)) for unit in units_of_lines(lines())]
    assert arrived == [("SELECT\n1", 2), (".mode csv", 3), ("SELECT ';\n'", 5), ("SELECT 3", 6)]
