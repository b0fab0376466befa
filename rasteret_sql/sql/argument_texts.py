"""Arguments of table functions that arrive as text: DuckDB casts what it can, and Python says what was expected."""

from __future__ import annotations

from typing import Final

from rasteret_sql.checks import number_in_text
from rasteret_sql.errors import InvalidArgumentError

#: What is expected of arguments that DuckDB could not cast; `_rst_asset_plan` says the same.
_EXPECTED: Final = {
    "bands": "a list of names: bands := ['{given}']",
    "bbox": "four finite numbers [xmin, ymin, xmax, ymax]",
    "level": "a whole number: 0 (full resolution) or more",
    "resolution": "a number",
    "gsd": "a number of metres",
}


def unfit(name: str, given: str) -> InvalidArgumentError:
    """Give the error of an argument that DuckDB could not cast, by the text that was given."""
    shown = f"'{given}'" if name == "bands" else given
    return InvalidArgumentError(f"{name}: got {shown}, expected {_EXPECTED[name].format(given=given)}")


def number_in(name: str, text: str | None) -> float | None:
    """Read a number that DuckDB wrote as text.

    Raises:
        InvalidArgumentError: it is none.
    """
    return None if text is None else number_in_text(name, text, _EXPECTED[name])


def coordinate_in(text: str) -> float:
    """Read a coordinate of a bbox, NaN for NULL."""
    return float("nan") if text.strip() == "NULL" else float(text)
