"""Whether a condition may be true somewhere in a tile, or is true everywhere, by the bounds of its bands there. Pure.

Both answers err on the safe side: a tile in which the condition is true somewhere is always possible, and a tile in
which it is not true somewhere is never certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

import numpy as np

from rasteret_sql.plan.formula_text import Arithmetic, Band, Choice, Comparison, Logic, Negative, Not, Number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.expressions import Condition
    from rasteret_sql.plan.formula_text import Truth, Value

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

_OPPOSITE: Final = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True, slots=True, eq=False)
class TileBounds:
    """Bounds of the valid pixels of a band in tiles; arrays have one element per tile.

    Attributes:
        low, high: ends of its values, infinite where they are not known.
        has_pixels: whether there may be a valid pixel.
        has_invalid: whether there may be a pixel that is not valid.
        occurs: says where one of some values may occur, or with True, where any other value may; None for a band whose
            values are not counted.
    """

    low: Floats
    high: Floats
    has_pixels: Bools
    has_invalid: Bools
    occurs: Callable[[Sequence[float], bool], Bools] | None = None


class Possible(NamedTuple):
    """Whether a condition may be true, false and NULL somewhere in tiles."""

    is_true: Bools
    is_false: Bools
    is_null: Bools


class _Interval(NamedTuple):
    """Ends of values in tiles, where there may be a value, and where there may be NULL beside."""

    low: Floats
    high: Floats
    has_pixels: Bools
    has_invalid: Bools

    @property
    def is_null(self) -> Bools:
        """Whether a comparison with it may be NULL: a value that is not finite, as after a division by zero, counts."""
        return self.has_invalid | ~(np.isfinite(self.low) & np.isfinite(self.high))


def possible(condition: Condition, bounds: Mapping[str, TileBounds]) -> Possible:
    """Say in which tiles a condition may be true, false and NULL somewhere.

    Args:
        condition: the condition.
        bounds: of its bands, by label.
    """
    with np.errstate(all="ignore"):
        return _truth(condition.tree, [bounds[label] for label in condition.bands])


def may_hold(condition: Condition, bounds: Mapping[str, TileBounds]) -> Bools:
    """Say in which tiles a condition may be true somewhere; the arguments are those of `possible`.

    Example:
        >>> from rasteret_sql.plan.expressions import parse_condition
        >>> some = np.array([True, True])
        >>> red = TileBounds(np.array([1.0, 50.0]), np.array([40.0, 90.0]), some, some)
        >>> may_hold(parse_condition("red > 60", "valid_where"), {"red": red})
        array([False,  True])
    """
    return possible(condition, bounds).is_true


def holds_everywhere(condition: Condition, bounds: Mapping[str, TileBounds]) -> Bools:
    """Say in which tiles a condition is true everywhere, for certain; the arguments are those of `possible`.

    Example:
        >>> from rasteret_sql.plan.expressions import parse_condition
        >>> some, none = np.array([True, True]), np.array([False, False])
        >>> red = TileBounds(np.array([1.0, 50.0]), np.array([40.0, 90.0]), some, none)
        >>> holds_everywhere(parse_condition("red < 60", "valid_where"), {"red": red})
        array([ True, False])
    """
    is_true, is_false, is_null = possible(condition, bounds)
    return is_true & ~is_false & ~is_null


def _truth(tree: Truth, bounds: Sequence[TileBounds]) -> Possible:
    match tree:
        case Comparison(sign, left, right):
            first, second = _interval(left, bounds), _interval(right, bounds)
            return Possible(
                _compared(sign, left, right, bounds),
                _compared(_OPPOSITE[sign], left, right, bounds),
                first.is_null | second.is_null,
            )
        case Choice(operand, members):
            is_null = np.logical_or.reduce([_interval(each, bounds).is_null for each in (operand, *members)])
            counted = _counted(operand, members, bounds)
            if counted is not None:
                return Possible(*counted, is_null)
            equal = [_compared("=", operand, member, bounds) for member in members]
            others = [_compared("<>", operand, member, bounds) for member in members]
            return Possible(np.logical_or.reduce(equal), np.logical_and.reduce(others), is_null)
        case Not(operand):
            return _negated(_truth(operand, bounds))
        case Logic(word, left, right):
            first_truth, second_truth = _truth(left, bounds), _truth(right, bounds)
            if word == "OR":
                # NOT (NOT a AND NOT b)
                return _negated(_both(_negated(first_truth), _negated(second_truth)))
            return _both(first_truth, second_truth)
        case _:
            assert_never(tree)


def _negated(found: Possible) -> Possible:
    return Possible(found.is_false, found.is_true, found.is_null)


def _both(first: Possible, second: Possible) -> Possible:
    """Join two truths by AND: false if one is false, and else NULL if one is NULL."""
    is_null = (first.is_null & (second.is_true | second.is_null)) | (second.is_null & (first.is_true | first.is_null))
    return Possible(first.is_true & second.is_true, first.is_false | second.is_false, is_null)


def _counted(operand: Value, members: Sequence[Value], bounds: Sequence[TileBounds]) -> tuple[Bools, Bools] | None:
    """Say whether a band may have one of some numbers, and another value; None where its values are not counted."""
    numbers = [member.value for member in members if isinstance(member, Number)]
    if not isinstance(operand, Band) or len(numbers) < len(members):
        return None
    band = bounds[operand.number]
    if band.occurs is None:
        return None
    return band.has_pixels & band.occurs(numbers, False), band.has_pixels & band.occurs(numbers, True)


def _compared(sign: str, left: Value, right: Value, bounds: Sequence[TileBounds]) -> Bools:
    first, second = _interval(left, bounds), _interval(right, bounds)
    both: Bools = first.has_pixels & second.has_pixels
    counted = _counted(left, [right], bounds) if sign in {"=", "<>"} else None
    if counted is not None:
        return counted[sign == "<>"]
    match sign:
        case "<":
            both &= first.low < second.high
        case "<=":
            both &= first.low <= second.high
        case ">":
            both &= first.high > second.low
        case ">=":
            both &= first.high >= second.low
        case "=":
            both &= (first.low <= second.high) & (first.high >= second.low)
        case _:
            both &= ~((first.low == first.high) & (second.low == second.high) & (first.low == second.low))
    return both


def _interval(tree: Value, bounds: Sequence[TileBounds]) -> _Interval:
    """Give the ends of a value. Rounding keeps the order of numbers, so that of the ends bounds that of pixels."""
    count = len(bounds[0].low)
    match tree:
        case Band(number):
            found = bounds[number]
            return _Interval(found.low, found.high, found.has_pixels, found.has_invalid)
        case Number(value):
            ends = np.full(count, value)
            return _Interval(ends, ends, np.ones(count, np.bool_), np.zeros(count, np.bool_))
        case Negative(operand):
            own = _interval(operand, bounds)
            return own._replace(low=-own.high, high=-own.low)
        case Arithmetic(sign, left, right):
            first, second = _interval(left, bounds), _interval(right, bounds)
            if sign == "+":
                low, high = first.low + second.low, first.high + second.high
            elif sign == "-":
                low, high = first.low - second.high, first.high - second.low
            else:
                low, high = np.full(count, -np.inf), np.full(count, np.inf)
            return _Interval(
                # The sum of opposite infinities is no number.
                np.where(np.isnan(low), -np.inf, low),
                np.where(np.isnan(high), np.inf, high),
                first.has_pixels & second.has_pixels,
                first.has_invalid | second.has_invalid,
            )
        case _:
            assert_never(tree)
