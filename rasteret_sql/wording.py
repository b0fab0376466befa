"""Numbers in words: "2,000 files", "17.3 MiB"; and names that are meant. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_KIB = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def count(number: int, noun: str, plural: str = "") -> str:
    """Give a number with its noun: "1 file", "2,000 files"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number_bytes: int) -> str:
    """Give a number of bytes as people say it: "17.3 MiB"."""
    if number_bytes < _KIB:
        return count(number_bytes, "byte")
    value = float(number_bytes)
    for unit in _UNITS:
        value /= _KIB
        if value < _KIB or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def shortened(text: str, characters: int) -> str:
    """Cut a text where it is longer than `characters`."""
    return text if len(text) <= characters else f"{text[: characters - 1].rstrip()}…"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Ask for the names that a wrong name may stand for: "; did you mean red?".

    Args:
        given: the wrong name.
        known: right names.

    Returns:
        The names that begin with it, or else those that resemble it; the empty text where there are none.
    """
    known = list(known)
    begun = [name for name in known if given and name.startswith(given)]
    close = begun or difflib.get_close_matches(given, known, n=3)
    return f"; did you mean {' or '.join(close[:3])}?" if close else ""
