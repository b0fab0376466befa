"""Formulas and conditions over bands, such as "(nir - red) / (nir + red)", computed over arrays. Pure.

`formula_text` parses both by one grammar. Pictures, exports, pixels, points and zones compute them here.
"""

from __future__ import annotations

import functools
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, assert_never

import numpy as np

from rasteret_sql.plan.formula_text import (
    Arithmetic,
    Band,
    Choice,
    Comparison,
    Logic,
    Negative,
    Not,
    Number,
    bands_in,
    parse_truth,
    parse_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.formula_text import Truth, Value

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]


def _divided(left: Any, right: Any) -> Any:
    """Divide as SQL does: a division by zero has no value, and so has what is computed with it."""
    return np.where(np.equal(right, 0), np.nan, np.divide(left, right))


_ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
    "**": operator.pow,
}
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula over bands.

    Attributes:
        text: the formula as its author wrote it.
        bands: labels of the bands in it, each once, in the order of the text.
        tree: the parsed formula, in which a band is its number in `bands`.
    """

    text: str
    bands: tuple[str, ...]
    tree: Value

    @property
    def is_difference(self) -> bool:
        """Whether it is a difference of bands, or a product or quotient of one, so that its values lie around 0."""
        return _is_difference(self.tree)

    def compute(self, values: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.float64]:
        """Compute the formula in float64, so that differences of unsigned integers do not wrap.

        Args:
            values: arrays of one shape by band label, in stored or physical values, as the caller chooses.

        Returns:
            float64 of the shape of the arrays. NaN where it divides by zero; an undefined power gives
            NaN, and one that is too large an infinity.
        """
        arrays = [np.asarray(values[band], np.float64) for band in self.bands]
        with np.errstate(all="ignore"):
            return np.asarray(_value_of(self.tree, arrays), np.float64)

    def compute_masked(
        self, values: Mapping[str, npt.ArrayLike], valid: Mapping[str, npt.NDArray[np.bool_]]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Compute the formula where it has a value.

        Args:
            values: arrays of one shape by band label.
            valid: masks of the same shape by band label, True = valid.

        Returns:
            Results; and their mask, True where all bands are valid and the result is finite.
        """
        results = self.compute(values)
        mask = np.logical_and.reduce([valid[band] for band in self.bands])
        return results, mask & np.isfinite(results)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition over bands.

    Attributes:
        text: the condition as its author wrote it.
        bands: labels of the bands in it, each once, in the order of the text.
        tree: the parsed condition, in which a band is its number in `bands`.
    """

    text: str
    bands: tuple[str, ...]
    tree: Truth

    def holds(self, values: Mapping[str, npt.ArrayLike], valid: Mapping[str, Bools]) -> Bools:
        """Say where the condition is true, by SQL's rules: an invalid pixel is NULL, and NULL is not true.

        Args:
            values: arrays of one shape by band label.
            valid: masks of the same shape by band label, True = valid.

        Returns:
            Booleans of that shape. A comparison with a value that is not finite, as after a division by zero, is NULL.
        """
        arrays = [np.asarray(values[band], np.float64) for band in self.bands]
        with np.errstate(all="ignore"):
            is_true, _ = _truth_of(self.tree, arrays, [valid[band] for band in self.bands])
        return is_true


def parse_expression(text: str, argument: str = "bands") -> Expression:
    """Parse a formula.

    Args:
        text: band labels, numbers, `+ - * / **` and parentheses. A label that is no identifier, such as "visual:red",
            stands in double quotes; a double quote inside it is doubled.
        argument: name of the caller's argument, for messages.

    Raises:
        InvalidArgumentError: the text is no such formula, names no band, or is too long.

    Example:
        >>> parse_expression("(nir - red) / (nir + red)").bands
        ('nir', 'red')
    """
    tree, bands = parse_value(text, argument)
    return Expression(text, bands, tree)


def parse_condition(text: str, argument: str) -> Condition:
    """Parse a condition.

    Args:
        text: formulas as for `parse_expression`, compared by `= <> < <= > >=`, IN and BETWEEN, and joined by AND, OR,
            NOT and parentheses, with the precedence of SQL, but for powers: -a ** 2 is -(a ** 2). Bands named
            like these words stand in double quotes.
        argument: name of the caller's argument, for messages.

    Raises:
        InvalidArgumentError: the text is no such condition, names no band, or is too long.

    Example:
        >>> parse_condition("SCL IN (4, 5, 6) AND NOT red > 9000", "valid_where").bands
        ('SCL', 'red')
    """
    tree, bands = parse_truth(text, argument)
    return Condition(text, bands, tree)


def looks_like_expression(text: object) -> bool:
    """Whether a text has an operator or a parenthesis outside double quotes, as names of bands rarely have."""
    if not isinstance(text, str):
        return False
    return any(character in "+-*/(" for character in re.sub(r'"(?:[^"]|"")*"', "", text))


def formula_remedy(label: object) -> str:
    """Give the end of a message about an unknown band that looks like a formula; empty for all others."""
    if not looks_like_expression(label):
        return ""
    return "; a formula over bands stands alone in bands, and export, picture and plot_rgb take one"


def bands_of(expressions: Iterable[Expression | Condition]) -> list[str]:
    """Give the labels of the bands that formulas and conditions need, each once, in their order."""
    return list(dict.fromkeys(band for expression in expressions for band in expression.bands))


def _is_difference(tree: Value) -> bool:
    match tree:
        case Arithmetic("-", left, right):
            return bool(bands_in(left) and bands_in(right))
        case Arithmetic("*", left, right):
            return _is_difference(left) or _is_difference(right)
        case Arithmetic("/", left, _):
            return _is_difference(left)
        case Negative(operand):
            return _is_difference(operand)
        case _:
            return False


def _value_of(tree: Value, arrays: Sequence[Floats]) -> Any:
    match tree:
        case Band(number):
            return arrays[number]
        case Number(value):
            return np.float64(value)
        case Negative(operand):
            return -_value_of(operand, arrays)
        case Arithmetic(sign, left, right):
            return _ARITHMETIC[sign](_value_of(left, arrays), _value_of(right, arrays))
        case _:
            assert_never(tree)


def _truth_of(tree: Truth, arrays: Sequence[Floats], valid: Sequence[Bools]) -> tuple[Bools, Bools]:
    """Give where a condition is true, and where it is known."""
    match tree:
        case Comparison(sign, left, right):
            return _compared(sign, _known_value(left, arrays, valid), _known_value(right, arrays, valid))
        case Choice(operand, members):
            value = _known_value(operand, arrays, valid)
            found = [_compared("=", value, _known_value(member, arrays, valid)) for member in members]
            is_true = functools.reduce(operator.or_, (each[0] for each in found))
            return is_true, is_true | functools.reduce(operator.and_, (each[1] for each in found))
        case Not(operand):
            is_true, is_known = _truth_of(operand, arrays, valid)
            return is_known & ~is_true, is_known
        case Logic(word, left, right):
            (first, first_known), (second, second_known) = (_truth_of(each, arrays, valid) for each in (left, right))
            if word == "OR":
                return first | second, first | second | (first_known & second_known)
            is_false = (first_known & ~first) | (second_known & ~second)
            return first & second, is_false | (first_known & second_known)
        case _:
            assert_never(tree)


def _known_value(tree: Value, arrays: Sequence[Floats], valid: Sequence[Bools]) -> tuple[Floats, Bools]:
    """Give a value, and where it is not NULL."""
    value = _value_of(tree, arrays)
    return value, functools.reduce(operator.and_, (valid[number] for number in bands_in(tree)), np.isfinite(value))


def _compared(sign: str, left: tuple[Floats, Bools], right: tuple[Floats, Bools]) -> tuple[Bools, Bools]:
    is_known = left[1] & right[1]
    return _COMPARISONS[sign](left[0], right[0]) & is_known, is_known
