"""Checks of single arguments, the same at each door. A message names the argument, what it got and what is expected."""

from __future__ import annotations

import functools
import math
import operator
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Complex, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.wording import shortened

P = ParamSpec("P")
T = TypeVar("T")

#: Characters of a value that a message shows.
_SHOWN = 60


def shown(value: object) -> str:
    """Represent a value in a message: on one line, short, and whatever its `__repr__` does."""
    if type(value).__repr__ is object.__repr__:
        # Its address says nothing.
        return type(value).__name__
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - any object may be given
        text = f"<{type(value).__name__}>"
    return shortened(" ".join(text.split()), _SHOWN)


def shown_names(names: Iterable[object]) -> str:
    """List names in a message: texts as they are, and what is no name as a message shows a value."""
    return ", ".join(name if isinstance(name, str) else shown(name) for name in names)


def is_one_of(value: object, choices: Collection[str]) -> bool:
    """Whether a value is one of some texts; arrays and lists, which cannot be compared or hashed, are none."""
    return isinstance(value, str) and value in choices


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse a value that is none of some texts.

    Raises:
        InvalidArgumentError: it is not.
    """
    if not is_one_of(value, choices):
        few = 2
        expected = " or ".join(map(repr, choices)) if len(choices) <= few else f"one of {', '.join(choices)}"
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected {expected}")


def without_crs(function: Callable[P, T]) -> Callable[P, T]:
    """Refuse the argument `crs` of a function that has no grid: `geometry_crs` is the CRS of its area."""

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> T:
        if "crs" in options:
            given = shown(options["crs"])
            raise InvalidArgumentError(f"crs: got {given} as the CRS of an area, expected geometry_crs={given}")
        return function(*args, **options)

    return call


def check_flag(name: str, value: Any) -> None:
    """Refuse a value that is neither true nor false; the text "no" would be true.

    Raises:
        InvalidArgumentError: it is not.
    """
    # NumPy's booleans are equal to Python's.
    if getattr(value, "shape", ()) != () or value not in (True, False):
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected True or False")


def text_of(name: str, value: Any, expected: str) -> str:
    """Give the text of a value, such as a CRS of another library or a date.

    Raises:
        InvalidArgumentError: it has none.
    """
    try:
        return str(value)
    except Exception as error:
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected {expected}") from error


def checked_unicode(name: str, text: str) -> str:
    """Give a text that can be encoded; an argument of a process that is no UTF-8 has lone surrogates.

    Raises:
        InvalidArgumentError: it cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{name}: got {shown(text)}, which is no Unicode text; expected UTF-8") from error
    return text


def number_of(value: Any) -> float | None:
    """Give a real number as a float; None where it is none. Python converts texts and truth values, which are none."""
    is_other = isinstance(value, (str, bytes, bytearray, bool)) or type(value).__name__.startswith("bool")
    if is_other or (isinstance(value, Complex) and not isinstance(value, Real)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def number_in_text(name: str, text: str | None, expected: str = "a number") -> float:
    """Read a finite number that DuckDB wrote as text.

    Raises:
        InvalidArgumentError: it is none, or NULL.
    """
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidArgumentError(f"{name}: got {text or 'NULL'}, expected {expected}")
    return number


def whole_number_of(value: Any) -> int | None:
    """Give an integer, of whatever library; None where it is none."""
    if isinstance(value, bool) or type(value).__name__.startswith("bool"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def checked_list(name: str, value: Any, expected: str) -> list[Any] | None:
    """Give a list of one text or of an iterable; None stays.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return [value]
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Iterable):
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected {expected}")
    return list(value)


def checked_by_band(name: str, value: Any, convert: Callable[[Any], T | None], expected: str) -> dict[str, T]:
    """Give values by band, "*" for all others; none where None is given.

    Args:
        name: of the argument.
        value: one value for all bands, or a mapping of bands to values.
        convert: gives a value as it is used, or None where it is none.
        expected: what the message expects.

    Raises:
        InvalidArgumentError: a value is none, or a key is no name.
    """
    if value is None:
        return {}
    found: dict[str, T] = {}
    for band, each in dict(value).items() if isinstance(value, Mapping) else [("*", value)]:
        converted = convert(each)
        if not isinstance(band, str) or converted is None:
            raise InvalidArgumentError(f"{name}: got {shown(value)}, expected {expected}")
        found[band] = converted
    return found


def value_of_band(values: Mapping[str, T], band: str) -> T | None:
    """Give the value of a band: by its name, by its asset (what stands before the colon), or that of all others."""
    return next((values[key] for key in (band, band.rpartition(":")[0], "*") if key in values), None)


def check_known_bands(name: str, values: Iterable[str], bands: Iterable[str]) -> None:
    """Refuse values by band for a band that is not read.

    Args:
        name: of the argument.
        values: its bands.
        bands: what is read; the asset before a colon names all of its bands.

    Raises:
        InvalidArgumentError: there is one.
    """
    bands = list(dict.fromkeys(bands))
    known = {"*", *bands, *(band.rpartition(":")[0] for band in bands if ":" in band)}
    for band in values:
        if band not in known:
            raise InvalidArgumentError(
                f"{name}: got band {shown(band)}, expected one of {', '.join(bands)}, or '*' for all others"
            )


def checked_path(name: str, value: Any) -> Path:
    """Give a path that a file system can hold, with "~" expanded.

    Raises:
        InvalidArgumentError: it is no text or path, or an empty one, or has characters that no path has.
    """
    try:
        text = os.fspath(value)
        if isinstance(text, str) and text and b"\0" not in os.fsencode(text):
            return Path(text).expanduser()
    except (TypeError, ValueError, RuntimeError) as error:
        # No text or path; a lone surrogate; a user who does not exist.
        raise InvalidArgumentError(f"{name}: got {shown(value)}, expected the path of a file or folder") from error
    raise InvalidArgumentError(f"{name}: got {shown(value)}, expected the path of a file or folder")
