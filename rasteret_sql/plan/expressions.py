"""Band expressions, such as "(nir - red) / (nir + red)": parsed into trees, and computed over arrays. Pure.

Text is never evaluated as code. Names and numbers are recognised first, `ast` parses the operators between them, and
any other syntax is an error.
"""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<name>[^\W\d]\w*)
    | "(?P<quoted>(?:[^"]|"")+)"
    | (?P<operator>\*\*|[-+*/()])
    """,
    re.VERBOSE,
)
_OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_SIGNS: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_MAX_CHARACTERS: Final = 2000
#: Nested operators. The interpreter's stack is not much deeper.
_MAX_DEPTH: Final = 100
_SYNTAX: Final = (
    'band names, numbers, + - * / ** and parentheses; a name with other characters in double quotes ("B-1")'
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula over bands.

    Attributes:
        text: the formula as its author wrote it.
        bands: labels of the bands in it, each once, in the order of the text.
        tree: the parsed formula; a name in it is "b" and a position in `bands`.
    """

    text: str
    bands: tuple[str, ...]
    tree: ast.expr

    @property
    def is_difference(self) -> bool:
        """Whether it is a difference of bands, or a product or quotient of one, so that its values lie around 0."""
        return _is_difference(self.tree)

    def compute(self, values: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.float64]:
        """Compute the formula in float64, so that differences of unsigned integers do not wrap.

        Args:
            values: arrays of one shape by band label, in stored or physical values, as the caller chooses.

        Returns:
            float64 of the shape of the arrays. A division by zero and an undefined power give an infinity or NaN.
        """
        arrays = [np.asarray(values[band], np.float64) for band in self.bands]
        with np.errstate(all="ignore"):
            return np.asarray(_computed(self.tree, arrays), np.float64)

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
    if not isinstance(text, str) or len(text) > _MAX_CHARACTERS:
        raise InvalidArgumentError(
            f"{argument}: got {shown(text)}, expected an expression of at most {_MAX_CHARACTERS} characters"
        )
    bands, python = _tokens(text, argument)
    try:
        tree = ast.parse(python, mode="eval").body
        _check(tree)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise InvalidArgumentError(f"{argument}: got {shown(text)}, expected an expression of {_SYNTAX}") from error
    if not bands:
        raise InvalidArgumentError(f"{argument}: got {shown(text)}, expected an expression with at least one band")
    return Expression(text, tuple(bands), tree)


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


def bands_of(expressions: Iterable[Expression]) -> list[str]:
    """Give the labels of the bands that some formulas need, each once, in their order."""
    return list(dict.fromkeys(band for expression in expressions for band in expression.bands))


def _tokens(text: str, argument: str) -> tuple[list[str], str]:
    """Split a text into labels, and the same text with a Python name for each label.

    Names of bands need not be names in Python: "in" is a keyword, and Python normalises letters.

    Raises:
        InvalidArgumentError: a character belongs to no formula.
    """
    bands: list[str] = []
    parts = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise InvalidArgumentError(
                f"{argument}: got {text[position]!r} in {shown(text)}, expected an expression of {_SYNTAX}"
            )
        position = found.end()
        quoted = found["quoted"]
        name = found["name"] if quoted is None else quoted.replace('""', '"')
        if name is not None and name not in bands:
            bands.append(name)
        if found["space"] is None:
            parts.append(found[0] if name is None else f"b{bands.index(name)}")
    # Spaces keep "0 x10" from becoming a number of another base.
    return bands, " ".join(parts)


def _check(tree: ast.expr, depth: int = 0) -> None:
    """Refuse every node that is not arithmetic.

    Raises:
        ValueError: there is one, or nodes are nested too deeply.
        OverflowError: a number is too large for a float.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} nested operators")
    match tree:
        case ast.Name():
            return
        case ast.Constant(value=int() | float() as value):
            float(value)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            _check(left, depth + 1)
            _check(right, depth + 1)
        case ast.UnaryOp(op=unary, operand=operand) if type(unary) in _SIGNS:
            _check(operand, depth + 1)
        case _:
            raise ValueError(type(tree).__name__)


def _is_difference(tree: ast.expr) -> bool:
    match tree:
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _has_band(left) and _has_band(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _is_difference(left) or _is_difference(right)
        case ast.BinOp(left=left, op=ast.Div()):
            return _is_difference(left)
        case ast.UnaryOp(operand=operand):
            return _is_difference(operand)
        case _:
            return False


def _has_band(tree: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) for node in ast.walk(tree))


def _computed(tree: ast.expr, arrays: list[npt.NDArray[np.float64]]) -> Any:
    match tree:
        case ast.Name(id=name):
            return arrays[int(name[1:])]
        case ast.BinOp(left=left, op=sign, right=right):
            return _OPERATORS[type(sign)](_computed(left, arrays), _computed(right, arrays))
        case ast.UnaryOp(op=unary, operand=operand):
            return _SIGNS[type(unary)](_computed(operand, arrays))
        case ast.Constant(value=value):
            return np.float64(value)  # type: ignore[arg-type]
        case _:
            raise AssertionError(type(tree).__name__)
