"""Whether a condition may be true somewhere in a tile, by the bounds of its bands there. Pure.

The answer errs on one side alone: a tile in which the condition is true somewhere is always possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

import numpy as np

from rasteret_sql.plan.formula_text import Arithmetic, Band, Choice, Comparison, Logic, Negative, Not, Number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.expressions import Condition
    from rasteret_sql.plan.formula_text import Truth, Value

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

#: Low and high ends of values, and where there are any.
Interval: TypeAlias = "tuple[Floats, Floats, Bools]"
#: Whether a comparison, and whether its opposite, may be true.
Possible: TypeAlias = "tuple[Bools, Bools]"
_OPPOSITE: Final = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True, slots=True, eq=False)
class TileBounds:
    """Bounds of the valid pixels of a band in tiles; arrays have one element per tile.

    Attributes:
        low, high: ends of its values, infinite where they are not known.
        has_pixels: whether there may be a valid pixel.
        occurs: says where one of some values may occur, or with True, where any other value may; None for a band whose
            values are not counted.
    """

    low: Floats
    high: Floats
    has_pixels: Bools
    occurs: Callable[[Sequence[float], bool], Bools] | None = None


def may_hold(condition: Condition, bounds: Mapping[str, TileBounds]) -> npt.NDArray[np.bool_]:
    """Say in which tiles a condition may be true somewhere.

    Args:
        condition: the condition.
        bounds: of its bands, by label.

    Example:
        >>> from rasteret_sql.plan.expressions import parse_condition
        >>> red = TileBounds(np.array([1.0, 50.0]), np.array([40.0, 90.0]), np.array([True, True]))
        >>> may_hold(parse_condition("red > 60", "valid_where"), {"red": red})
        array([False,  True])
    """
    with np.errstate(all="ignore"):
        return _truth(condition.tree, [bounds[label] for label in condition.bands])[0]


def _truth(tree: Truth, bounds: Sequence[TileBounds]) -> Possible:
    match tree:
        case Comparison(sign, left, right):
            return _compared(sign, left, right, bounds), _compared(_OPPOSITE[sign], left, right, bounds)
        case Choice(operand, members):
            counted = _counted(operand, members, bounds)
            if counted is not None:
                return counted
            equal = [_compared("=", operand, member, bounds) for member in members]
            others = [_compared("<>", operand, member, bounds) for member in members]
            return np.logical_or.reduce(equal), np.logical_and.reduce(others)
        case Not(operand):
            is_true, is_false = _truth(operand, bounds)
            return is_false, is_true
        case Logic(word, left, right):
            first, second = _truth(left, bounds), _truth(right, bounds)
            if word == "OR":
                return first[0] | second[0], first[1] & second[1]
            return first[0] & second[0], first[1] | second[1]
        case _:
            assert_never(tree)


def _counted(operand: Value, members: Sequence[Value], bounds: Sequence[TileBounds]) -> Possible | None:
    """Say whether a band may have one of some numbers, and another value; None where its values are not counted."""
    numbers = [member.value for member in members if isinstance(member, Number)]
    if not isinstance(operand, Band) or len(numbers) < len(members):
        return None
    band = bounds[operand.number]
    if band.occurs is None:
        return None
    return band.has_pixels & band.occurs(numbers, False), band.has_pixels & band.occurs(numbers, True)


def _compared(sign: str, left: Value, right: Value, bounds: Sequence[TileBounds]) -> Bools:
    (low, high, is_there), (other_low, other_high, is_other) = _interval(left, bounds), _interval(right, bounds)
    both: Bools = is_there & is_other
    counted = _counted(left, [right], bounds) if sign in {"=", "<>"} else None
    if counted is not None:
        return counted[sign == "<>"]
    match sign:
        case "<":
            both &= low < other_high
        case "<=":
            both &= low <= other_high
        case ">":
            both &= high > other_low
        case ">=":
            both &= high >= other_low
        case "=":
            both &= (low <= other_high) & (high >= other_low)
        case _:
            both &= ~((low == high) & (other_low == other_high) & (low == other_low))
    return both


def _interval(tree: Value, bounds: Sequence[TileBounds]) -> Interval:
    """Give the ends of a value. Rounding keeps the order of numbers, so that of the ends bounds that of pixels."""
    count = len(bounds[0].low)
    match tree:
        case Band(number):
            found = bounds[number]
            return found.low, found.high, found.has_pixels
        case Number(value):
            return np.full(count, value), np.full(count, value), np.ones(count, np.bool_)
        case Negative(operand):
            low, high, is_there = _interval(operand, bounds)
            return -high, -low, is_there
        case Arithmetic(sign, left, right):
            (low, high, first), (other_low, other_high, second) = _interval(left, bounds), _interval(right, bounds)
            is_there = first & second
            if sign == "+":
                ends = low + other_low, high + other_high
            elif sign == "-":
                ends = low - other_high, high - other_low
            else:
                ends = np.full(count, -np.inf), np.full(count, np.inf)
            # The sum of opposite infinities is no number.
            return np.where(np.isnan(ends[0]), -np.inf, ends[0]), np.where(np.isnan(ends[1]), np.inf, ends[1]), is_there
        case _:
            assert_never(tree)
