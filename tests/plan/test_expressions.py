"""Formulas over bands have arithmetic and nothing else; conditions mean what DuckDB means by them."""

import random

import duckdb
import numpy as np
import pytest

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.expressions import bands_of, looks_like_expression, parse_condition, parse_expression

RED = np.array([[10, 200], [0, 7]], np.uint8)
NIR = np.array([[60, 100], [0, 9]], np.uint8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(nir - red) / (nir + red)", (60 - 10) / 70),
        ("nir-red", 50),
        ("red - nir", -50),
        ("-red + 2*nir", 110),
        ("red ** 3 ** 2", 10.0**9),
        ("-red ** 2", -100),
        ("nir / red / 2", 3),
        ("(nir\n - red)", 50),
        ("2.5e-1 * nir + .5", 15.5),
        ('"nir" * 1e1', 600),
    ],
)
def test_arithmetic_is_that_of_python_in_float64(text, expected):
    found = parse_expression(text).compute({"nir": NIR, "red": RED})
    assert found.dtype == np.float64
    assert found.shape == RED.shape
    assert found[0, 0] == pytest.approx(expected, rel=1e-15)


def test_differences_of_unsigned_integers_do_not_wrap():
    assert parse_expression("nir - red").compute({"nir": NIR, "red": RED})[0, 1] == -100


@pytest.mark.parametrize(
    ("text", "bands"),
    [
        ("(B08 - B04) / (B08 + B04)", ("B08", "B04")),
        ('"visual:red" - "red-jp2"', ("visual:red", "red-jp2")),
        ('"a""b" + 1', ('a"b',)),
        ("in + class - lambda", ("in", "class", "lambda")),
        ("grün + ﬁ", ("grün", "ﬁ")),
        ("b1 - b0", ("b1", "b0")),
        ('"1" / "2"', ("1", "2")),
    ],
)
def test_any_name_of_a_band_can_be_said(text, bands):
    expression = parse_expression(text)
    assert expression.bands == bands
    values = {band: np.float64(number + 2) for number, band in enumerate(bands)}
    assert np.isfinite(expression.compute(values))


def test_a_name_is_its_own_band_whatever_names_the_parser_gives():
    assert parse_expression("b1 - b0").compute({"b0": 1, "b1": 5}) == 4


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "red.real",
        "red[0]",
        "f(red)",
        "red if nir else 1",
        "red // nir",
        "red % nir",
        "red < nir",
        "red and nir",
        "red, nir",
        "'red' + 1",
        "red nir",
        "(red",
        "red # nir",
        "red = 1",
        "0x10 + red",
        "1_000 * red",
        "1j * red",
        '"red + 1',
        "",
        "1 + 2",
        "(" * 400 + "red" + ")" * 50,
        "-" * 499 + "r",
        "9" * 400 + "+ red",
        "red" + "+red" * 300,
    ],
)
def test_all_other_text_is_refused_by_name(text):
    with pytest.raises(InvalidArgumentError, match=r"^expr: got .*, expected an expression"):
        parse_expression(text, "expr")


@pytest.mark.parametrize("text", [None, 3, ["red"]])
def test_values_that_are_no_text_are_refused(text):
    with pytest.raises(InvalidArgumentError, match="bands: got"):
        parse_expression(text)


def test_pixels_without_a_result_are_not_valid():
    valid = {"nir": np.array([[True, True], [True, False]]), "red": np.ones((2, 2), bool)}
    values, mask = parse_expression("(nir - red) / (nir + red)").compute_masked({"nir": NIR, "red": RED}, valid)
    assert mask.tolist() == [[True, True], [False, False]]
    assert values[0, 1] == pytest.approx(-100 / 300)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(nir - red) / (nir + red)", True),
        ("2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)", True),
        ("-(nir - red)", True),
        ("nir / red", False),
        ("nir * 0.0001 - 0.1", False),
        ("(nir + red) ** 2", False),
    ],
)
def test_differences_of_bands_are_told_from_other_formulas(text, expected):
    assert parse_expression(text).is_difference is expected


def test_bands_of_several_expressions_are_read_once():
    expressions = [parse_expression("(nir - red) / (nir + red)"), parse_expression("red - green")]
    assert bands_of(expressions) == ["nir", "red", "green"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("nir-red", True), ("(nir)", True), ("visual:red", False), ('"red-jp2"', False), ("B04", False), (4, False)],
)
def test_operators_tell_expressions_from_names(text, expected):
    assert looks_like_expression(text) is expected


def _random_value(draw, depth):
    if depth == 0 or draw.random() < 0.3:
        return draw.choice(["a", "b", "c", "-a", "2", "0", "-1.5", "3e0"])
    left, right = _random_value(draw, depth - 1), _random_value(draw, depth - 1)
    text = draw.choice([*(f"{left} {sign} {right}" for sign in "+-*"), f"{left} / nonzero({right})"])
    return f"({text})" if draw.random() < 0.5 else text


def _random_condition(draw, depth):
    if depth == 0 or draw.random() < 0.3:
        left, right = _random_value(draw, 2), _random_value(draw, 1)
        negation = draw.choice(["", "not ", "NOT "])
        return draw.choice(
            [
                f"{left} {draw.choice(['=', '==', '<>', '!=', '<', '<=', '>', '>='])} {right}",
                f"{left} {negation}in ({right}, 1, {_random_value(draw, 0)})",
                f"{left} {negation}BETWEEN {right} AND {_random_value(draw, 1)}",
            ]
        )
    left, right = _random_condition(draw, depth - 1), _random_condition(draw, depth - 1)
    text = draw.choice([f"{left} and {right}", f"{left} OR {right}", f"NOT {left} AND {right}", f"not ({left})"])
    return f"({text})" if draw.random() < 0.5 else text


def test_conditions_mean_what_duckdb_means():
    """The same text over the same numbers, with NULL where a pixel is not valid or a divisor is 0."""
    draw = random.Random(0)
    numbers = np.array([[x, y, z] for x in (0, 1, 2, 7) for y in (0, 1, 3) for z in (-1, 2, 5)] * 2, np.float64)
    is_valid = np.random.default_rng(0).random(numbers.shape) > 0.2
    con = duckdb.connect()
    con.execute("CREATE MACRO nonzero(value) AS nullif(value, 0)")
    con.execute("CREATE TABLE t (n INTEGER, a DOUBLE, b DOUBLE, c DOUBLE)")
    con.executemany(
        "INSERT INTO t VALUES (?, ?, ?, ?)",
        [
            [n, *(value if known else None for value, known in zip(*row, strict=True))]
            for n, row in enumerate(zip(numbers.tolist(), is_valid.tolist(), strict=True))
        ],
    )
    columns = {name: numbers[:, place] for place, name in enumerate("abc")}
    masks = {name: is_valid[:, place] for place, name in enumerate("abc")}
    counts = set()
    for _ in range(400):
        text = f"{_random_condition(draw, 3)} OR a = 7"
        expected = [row[0] for row in con.execute(f"SELECT n FROM t WHERE {text} ORDER BY n").fetchall()]
        condition = parse_condition(text.replace("nonzero", ""), "valid_where")
        found = np.broadcast_to(condition.holds(columns, masks), len(numbers))
        assert np.flatnonzero(found).tolist() == expected, text
        counts.add(len(expected))
    con.close()
    assert len(counts) > 20


def test_a_formula_divided_by_zero_has_no_value_and_neither_has_what_is_computed_with_it():
    found = parse_expression("1 / (1 / red)").compute({"red": RED})
    assert np.isnan(found[1, 0])
    assert found[0, 0] == 10


@pytest.mark.parametrize(
    ("text", "bands"),
    [
        ("SCL IN (4, 5, 6)", ("SCL",)),
        ('"in" > 1 and "visual:red" <> red', ("in", "visual:red", "red")),
        ("not qa between 1 and 2", ("qa",)),
    ],
)
def test_conditions_say_which_bands_they_need(text, bands):
    assert parse_condition(text, "valid_where").bands == bands


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("SCL", "'SCL' at character 1 of 'SCL'"),
        ("SCL = 4 4", "'4' at character 9 of 'SCL = 4 4'"),
        ("1 < red < 5", "'<' at character 9"),
        ("(red = 1) + 1", r"'\+' at character 11"),
        ("red IN ()", r"'\)' at character 9"),
        ("red IN (1", "'red IN \\(1', which ends too early"),
        ("red BETWEEN 1", "which ends too early"),
        ("red % 2 = 1", "'%' at character 5"),
        ("f(red) = 1", r"'\(' at character 2"),
        ("red NOT 3", "'3' at character 9"),
        ("NOT red", "'red' at character 5"),
        ("red = 1 AND 4", "'4' at character 13"),
        ("red = 'a'", '"\'" at character 7'),
        ("-" * 300 + "red > 1", "at character 102"),
        ("", "got ''"),
        ("1 = 1", "expected a condition with at least one band"),
    ],
)
def test_what_is_no_condition_is_refused_where_it_stops_being_one(text, got):
    with pytest.raises(InvalidArgumentError, match=rf"^valid_where: .*{got}.*") as raised:
        parse_condition(text, "valid_where")
    assert "expected a condition" in str(raised.value)
