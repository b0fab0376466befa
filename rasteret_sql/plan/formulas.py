"""Formulas that become bands of a result, and the condition that its pixels must meet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.expressions import Condition, Expression, bands_of, parse_condition, parse_expression


@dataclass(frozen=True, slots=True)
class PixelFormulas:
    """What is computed of the pixels of an item before anything else is.

    Attributes:
        expressions: the formulas by the names of their bands in the result.
        valid_where: the condition; pixels where it is not true are not valid. None for none.
    """

    expressions: Mapping[str, Expression]
    valid_where: Condition | None = None

    @classmethod
    def of(cls, expressions: Any, valid_where: Any, bands: Sequence[str] | None) -> PixelFormulas | None:
        """Parse what a caller gave; None where nothing is computed.

        Args:
            expressions: formulas by name, or None.
            valid_where: a condition, or None.
            bands: labels of the bands that are read beside, or None.

        Raises:
            InvalidArgumentError: a formula or the condition cannot be parsed, or a name is that of a band.
        """
        if expressions is None and valid_where is None:
            return None
        condition = None if valid_where is None else parse_condition(valid_where, "valid_where")
        return cls(_parsed(expressions, bands or ()), condition)

    @property
    def labels(self) -> list[str]:
        """The labels of the bands that are needed, each once."""
        condition = () if self.valid_where is None else (self.valid_where,)
        return bands_of([*self.expressions.values(), *condition])

    def parts(self) -> list[tuple[str, Expression | Condition]]:
        """Give each formula and the condition, with what messages call it."""
        found: list[tuple[str, Expression | Condition]] = [
            (f"expressions[{name!r}]", expression) for name, expression in self.expressions.items()
        ]
        return found if self.valid_where is None else [*found, ("valid_where", self.valid_where)]


def _parsed(expressions: Any, bands: Sequence[str]) -> dict[str, Expression]:
    if expressions is None:
        return {}
    if not isinstance(expressions, Mapping) or not expressions:
        raise InvalidArgumentError(
            f"expressions: got {shown(expressions)}, expected formulas by name, such as "
            "{'ndvi': '(nir - red) / (nir + red)'}"
        )
    found = {}
    for name, text in expressions.items():
        if not isinstance(name, str) or not name or name in bands:
            raise InvalidArgumentError(
                f"expressions: got the name {shown(name)}, expected a name that none of the bands has: "
                f"{', '.join(bands) or '(no bands)'}"
            )
        found[name] = parse_expression(text, f"expressions[{name!r}]")
    return found
