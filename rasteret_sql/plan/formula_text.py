"""The grammar of formulas and conditions over bands: text to tree. Pure.

Values have SQL's arithmetic, such as "(nir - red) / (nir + red)". Conditions add comparisons, IN, BETWEEN, AND, OR and
NOT, such as "SCL IN (4, 5, 6)". Powers alone are Python's: -a ** 2 is -(a ** 2), and a ** b ** c is a ** (b ** c). Text
is never evaluated as code.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError

_TOKEN: Final = re.compile(
    r"""
      (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[^\W\d]\w*)
    | "(?P<quoted>(?:[^"]|"")+)"
    | (?P<sign>\*\*|<=|>=|<>|!=|==|[-+*/(),<>=\[\]])
    """,
    re.VERBOSE,
)
_SPACE: Final = re.compile(r"\s*")
_MAX_CHARACTERS: Final = 2000
#: Nested operators. The interpreter's stack is not much deeper.
_MAX_DEPTH: Final = 100
#: Words of conditions; a band of such a name stands in double quotes there.
_WORDS: Final = frozenset({"AND", "OR", "NOT", "IN", "BETWEEN"})
_ARITHMETIC: Final = {"+": 5, "-": 5, "*": 6, "/": 6, "**": 8}
_COMPARISONS: Final = {"=": "=", "==": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_LOGIC: Final = {"OR": 1, "AND": 2}
#: How tightly operators hold their operands: OR, AND, NOT, comparisons, sums, products, signs, powers.
_NOT, _COMPARISON, _SUM, _SIGN, _POWER = 3, 4, 5, 7, 8
_VALUE: Final = 'band names, numbers, + - * / ** and parentheses; a name with other characters in double quotes ("B-1")'
_CONDITION: Final = (
    "comparisons (= <> < <= > >=), IN, BETWEEN, AND, OR and NOT over band names, numbers, + - * / ** and parentheses, "
    'such as SCL IN (4, 5); a name with other characters in double quotes ("B-1")'
)


@dataclass(frozen=True, slots=True)
class Call:
    """A statistic with arguments, such as share(SCL, [8, 9]).

    Attributes:
        name: what stands before the parenthesis.
        band: the label of a band, or None.
        values: numbers, in the order of the text; empty without any.
    """

    name: str
    band: str | None
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """The value of a band, by its number among the labels of the text."""

    number: int


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Negative:
    """The negative of a value."""

    operand: Value


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two values and one of `+ - * / **`."""

    sign: str
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values and one of `= <> < <= > >=`."""

    sign: str
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a value equals one of some: IN."""

    operand: Value
    members: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Logic:
    """Two truths and AND or OR."""

    word: str
    left: Truth
    right: Truth


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a truth."""

    operand: Truth


Value: TypeAlias = Band | Number | Negative | Arithmetic
Truth: TypeAlias = Comparison | Choice | Logic | Not
Node: TypeAlias = Value | Truth
_VALUES: Final = (Band, Number, Negative, Arithmetic)


def parse_value(text: object, argument: str) -> tuple[Value, tuple[str, ...]]:
    """Parse a formula; gives its tree, and the labels of its bands, each once, in the order of the text.

    Raises:
        InvalidArgumentError: the text is none, names no band, or is too long.
    """
    return _Parser(text, argument, is_condition=False).value()


def parse_truth(text: object, argument: str) -> tuple[Truth, tuple[str, ...]]:
    """Parse a condition; gives what `parse_value` gives of it.

    Raises:
        InvalidArgumentError: the text is none, names no band, or is too long.
    """
    return _Parser(text, argument, is_condition=True).truth()


def parse_truth_of_statistics(text: object, argument: str) -> tuple[Truth, tuple[str | Call, ...]]:
    """Parse a condition whose operands are names of statistics, or calls of them with a band.

    Raises:
        InvalidArgumentError: the text is none, names no statistic, or is too long.
    """
    return _Parser(text, argument, is_condition=True, has_calls=True).truth_of_statistics()


class _Token(NamedTuple):
    """A part of a text: a number, a band, or a sign or word; `kind` is "end" behind the last one."""

    kind: str
    text: str
    position: int


class _Parser:
    """Parses a text by the precedence of its operators.

    Args:
        text: the text.
        argument: name of the caller's argument, for messages.
        is_condition: whether it is a condition.
        has_calls: whether operands may be calls.
    """

    def __init__(self, text: object, argument: str, *, is_condition: bool, has_calls: bool = False) -> None:
        kind = "a condition" if is_condition else "an expression"
        self._expected = f"{kind} of {_CONDITION if is_condition else _VALUE}"
        self._argument, self._is_condition, self._has_calls = argument, is_condition, has_calls
        if not isinstance(text, str) or len(text) > _MAX_CHARACTERS:
            raise InvalidArgumentError(
                f"{argument}: got {shown(text)}, expected {kind} of at most {_MAX_CHARACTERS} characters"
            )
        self._text, self._kind = text, kind
        self._operands: list[str | Call] = []
        self._tokens = self._split()
        self._next = 0

    def value(self) -> tuple[Value, tuple[str, ...]]:
        """Give the tree of a formula, and its bands."""
        return self._as_value(self._whole(), self._tokens[0]), self._known_bands()

    def truth(self) -> tuple[Truth, tuple[str, ...]]:
        """Give the tree of a condition, and its bands."""
        return self._as_truth(self._whole(), self._tokens[0]), self._known_bands()

    def truth_of_statistics(self) -> tuple[Truth, tuple[str | Call, ...]]:
        """Give the tree of a condition, and its operands."""
        tree = self._as_truth(self._whole(), self._tokens[0])
        return tree, self._known_operands("statistic")

    def _whole(self) -> Node:
        tree = self._node(0, 0)
        if self._peek().kind != "end":
            raise self._refused(self._peek())
        return tree

    def _known_bands(self) -> tuple[str, ...]:
        return tuple(label for label in self._known_operands("band") if isinstance(label, str))

    def _known_operands(self, what: str) -> tuple[str | Call, ...]:
        if not self._operands:
            raise InvalidArgumentError(
                f"{self._argument}: got {shown(self._text)}, expected {self._kind} with at least one {what}"
            )
        return tuple(self._operands)

    def _split(self) -> list[_Token]:
        tokens = []
        position = self._after_space(0)
        while position < len(self._text):
            found = _TOKEN.match(self._text, position)
            if found is None:
                raise self._refused(_Token("sign", self._text[position], position))
            word = found[0].upper()
            if found["number"] is not None:
                tokens.append(_Token("number", found[0], position))
            elif found["quoted"] is not None:
                tokens.append(_Token("band", found["quoted"].replace('""', '"'), position))
            elif found["name"] is not None and not (self._is_condition and word in _WORDS):
                tokens.append(_Token("band", found[0], position))
            else:
                tokens.append(_Token("sign", word, position))
            position = self._after_space(found.end())
        return [*tokens, _Token("end", "", position)]

    def _after_space(self, position: int) -> int:
        found = _SPACE.match(self._text, position)
        return position if found is None else found.end()

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *signs: str) -> bool:
        """Go past one of some signs or words; False where another token is next."""
        token = self._peek()
        is_there = token.kind == "sign" and token.text in signs
        self._next += is_there
        return is_there

    def _require(self, sign: str) -> None:
        if not self._take(sign):
            raise self._refused(self._peek())

    def _node(self, minimum: int, depth: int) -> Node:
        """Parse operands, and the operators between them that hold them at least as tightly as `minimum`."""
        token = self._peek()
        if depth > _MAX_DEPTH:
            raise self._refused(token, f"{self._kind} of at most {_MAX_DEPTH} nested operators")
        node = self._operand(depth)
        while True:
            before = self._next
            node, depth = self._joined(node, minimum, depth + 1), depth + 1
            if self._next == before:
                return node
            if depth > _MAX_DEPTH:
                raise self._refused(token, f"{self._kind} of at most {_MAX_DEPTH} nested operators")

    def _operand(self, depth: int) -> Node:
        token = self._peek()
        self._next += 1
        if token.kind == "band":
            operand: str | Call = token.text
            if self._has_calls and not self._is_quoted(token) and self._take("("):
                operand = self._call(token.text)
            if operand not in self._operands:
                self._operands.append(operand)
            return Band(self._operands.index(operand))
        if token.kind == "number" and math.isfinite(float(token.text)):
            return Number(float(token.text))
        if token.kind == "sign" and token.text == "(":
            node = self._node(0, depth + 1)
            self._require(")")
            return node
        if token.kind == "sign" and token.text in {"+", "-"}:
            value = self._value(_SIGN, depth + 1)
            return value if token.text == "+" else Negative(value)
        if token.kind == "sign" and token.text == "NOT":
            return Not(self._truth(_NOT, depth + 1))
        raise self._refused(token)

    def _is_quoted(self, token: _Token) -> bool:
        return self._text[token.position] == '"'

    def _call(self, name: str) -> Call:
        """Parse the arguments of a call: a band, numbers, or both; several numbers stand in brackets."""
        band: str | None = None
        values: tuple[float, ...] = ()
        token = self._peek()
        if token.kind == "band":
            self._next += 1
            band = token.text
        if band is None or self._take(","):
            values = self._numbers()
        self._require(")")
        return Call(name, band, values)

    def _numbers(self) -> tuple[float, ...]:
        """Parse a number, or numbers in brackets."""
        if not self._take("["):
            return (self._number(),)
        found = [self._number()]
        while self._take(","):
            found.append(self._number())
        self._require("]")
        return tuple(found)

    def _number(self) -> float:
        is_negative = self._take("-")
        token = self._peek()
        if token.kind != "number" or not math.isfinite(float(token.text)):
            raise self._refused(token)
        self._next += 1
        return -float(token.text) if is_negative else float(token.text)

    def _joined(self, left: Node, minimum: int, depth: int) -> Node:
        """Parse the operator behind an operand, and what it joins to it; gives the operand itself without one."""
        token = self._peek()
        if token.kind != "sign":
            return left
        sign = token.text
        holds = _ARITHMETIC.get(sign, 0)
        if holds and holds >= minimum:
            self._next += 1
            # A power is joined from its right: a ** b ** c is a ** (b ** c), and a ** -b needs no parentheses.
            right = self._value(_SIGN if sign == "**" else holds + 1, depth)
            return Arithmetic(sign, self._as_value(left, token), right)
        if not self._is_condition:
            return left
        if sign in _LOGIC and _LOGIC[sign] >= minimum:
            self._next += 1
            return Logic(sign, self._as_truth(left, token), self._truth(_LOGIC[sign] + 1, depth))
        if minimum > _COMPARISON or not (sign in _COMPARISONS or sign in {"IN", "BETWEEN", "NOT"}):
            return left
        value = self._as_value(left, token)
        self._next += 1
        if sign in _COMPARISONS:
            return Comparison(_COMPARISONS[sign], value, self._value(_SUM, depth))
        found = self._listed(value, depth) if sign == "IN" or (sign == "NOT" and self._take("IN")) else None
        if found is None:
            if sign == "NOT":
                self._require("BETWEEN")
            low = self._value(_SUM, depth)
            self._require("AND")
            found = Logic("AND", Comparison(">=", value, low), Comparison("<=", value, self._value(_SUM, depth)))
        return Not(found) if sign == "NOT" else found

    def _listed(self, value: Value, depth: int) -> Truth:
        """Parse the members of IN."""
        self._require("(")
        members = [self._value(_SUM, depth)]
        while self._take(","):
            members.append(self._value(_SUM, depth))
        self._require(")")
        return Choice(value, tuple(members))

    def _value(self, minimum: int, depth: int) -> Value:
        token = self._peek()
        return self._as_value(self._node(minimum, depth), token)

    def _truth(self, minimum: int, depth: int) -> Truth:
        token = self._peek()
        return self._as_truth(self._node(minimum, depth), token)

    def _as_value(self, node: Node, token: _Token) -> Value:
        if isinstance(node, _VALUES):
            return node
        raise self._refused(token)

    def _as_truth(self, node: Node, token: _Token) -> Truth:
        if not isinstance(node, _VALUES):
            return node
        raise self._refused(token)

    def _refused(self, token: _Token, expected: str | None = None) -> InvalidArgumentError:
        got = shown(self._text)
        if token.kind != "end":
            got = f"{shown(token.text)} at character {token.position + 1} of {got}"
        elif self._text.strip():
            got = f"{got}, which ends too early"
        return InvalidArgumentError(f"{self._argument}: got {got}, expected {expected or self._expected}")


def bands_in(node: Node) -> set[int]:
    """Give the numbers of the bands in a tree."""
    match node:
        case Band(number):
            return {number}
        case Number():
            return set()
        case Negative(operand) | Not(operand):
            return bands_in(operand)
        case Choice(operand, members):
            return bands_in(operand).union(*map(bands_in, members))
        case _:
            return bands_in(node.left) | bands_in(node.right)
