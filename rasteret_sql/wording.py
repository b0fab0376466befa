"""Numbers in words: "2,000 files", "17.3 MiB". Pure."""

from __future__ import annotations

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
