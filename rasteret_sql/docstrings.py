"""Google-style docstrings, taken apart, for reference pages and for help at the prompt."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Sections of a docstring in the order of the page, and what they are called there.
TITLES = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Raises": "Raises",
    "Example": "Example",
}
_SECTION = re.compile(rf"^({'|'.join(TITLES)}):$")
_ITEM = re.compile(r"^    (?P<name>[\w*, ]+): (?P<text>.*)$")


@dataclass(frozen=True, slots=True)
class Sections:
    """A Google-style docstring taken apart: its text, its lists of names, and its other sections."""

    text: str
    items: dict[str, dict[str, str]]
    others: dict[str, str]


def sections(docstring: str | None) -> Sections:
    """Take a docstring apart."""
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in (docstring or "").splitlines():
        match = _SECTION.match(line)
        if match:
            current = match[1]
            parts[current] = []
        else:
            parts[current].append(line)
    listed: list[str] = [name for name in ("Args", "Attributes", "Raises") if name in parts]
    items = {name: _items(parts.pop(name)) for name in listed}
    text = "\n".join(parts.pop("")).strip()
    return Sections(text, items, {name: inspect.cleandoc("\n".join(lines)) for name, lines in parts.items()})


def _items(lines: Sequence[str]) -> dict[str, str]:
    items: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        match = _ITEM.match(line)
        if match:
            names = [name.strip().lstrip("*") for name in match["name"].split(",")]
            items |= dict.fromkeys(names, match["text"])
        elif line.strip():
            items |= {name: f"{items[name]} {line.strip()}" for name in names}
    return {name: sentence(text) for name, text in items.items()}


def sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    text = text.rstrip(".") + "."
    return text if text.startswith(("`", '"')) else text[0].upper() + text[1:]
