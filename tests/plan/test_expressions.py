"""Band expressions: arithmetic and nothing else."""

import numpy as np
import pytest

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.expressions import bands_of, looks_like_expression, parse_expression

RED = np.array([[10, 200], [0, 7]], np.uint8)
NIR = np.array([[60, 100], [0, 9]], np.uint8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(nir - red) / (nir + red)", (60 - 10) / 70),
        ("nir-red", 50),
        ("red - nir", -50),
        ("-red + 2*nir", 110),
        ("red ** 2 ** 2", 10.0**4),
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
