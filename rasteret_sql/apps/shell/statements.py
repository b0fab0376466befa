"""Splits a text into SQL statements and dot commands. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Where something begins in which a semicolon ends nothing, or where a statement ends.
_BEGINS = re.compile(r"""--|/\*|["';]|(?<![\w$])\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?\$""")
_COMMENT_SIGNS = re.compile(r"/\*|\*/")
_QUOTED = {
    "'": re.compile(r"'[^']*(?:''[^']*)*('|$)"),
    '"': re.compile(r'"[^"]*(?:""[^"]*)*("|$)'),
    "e'": re.compile(r"'[^'\\]*(?:(?:''|\\.)[^'\\]*)*('|\\?$)", re.DOTALL),
}
_ESCAPES = re.compile(r"(?<!\w)[eE]$")

Kind = Literal["text", "string", "name", "comment", "end"]


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of SQL: `text[start:end]`, end exclusive.

    Attributes:
        kind: "string" and "name" are quoted, "end" is a semicolon that ends a statement.
        is_open: whether it is a string, name or comment without an end.
    """

    kind: Kind
    start: int
    end: int
    is_open: bool = False


def parts(text: str, start: int = 0) -> Iterator[Part]:
    """Cut SQL into strings, quoted names, comments, ends of statements, and the text between them.

    Args:
        text: SQL.
        start: where to begin, outside of strings, names and comments.
    """
    at = start
    for_ever = len(text)
    while at < for_ever:
        found = _BEGINS.search(text, at)
        if found is None:
            yield Part("text", at, for_ever)
            return
        if found.start() > at:
            yield Part("text", at, found.start())
        part = _part(text, found.start(), found[0])
        yield part
        at = part.end


def split(text: str) -> tuple[list[str], str]:
    """Give the statements and dot commands that end in a text, without semicolons, and the rest that does not end.

    A dot command is a line that begins with a dot where a statement would begin. The rest is "" where there is nothing
    but white space and comments.
    """
    units: list[str] = []
    at = 0
    while True:
        at = _skip_blank(text, at)
        if text.startswith(".", at):
            end = text.find("\n", at)
            if end < 0:
                return units, text[at:]
            units.append(text[at:end].strip())
            at = end
            continue
        ending = next((part for part in parts(text, at) if part.kind == "end"), None)
        if ending is None:
            return units, "" if is_blank(text[at:]) else text[at:]
        if not is_blank(text[at : ending.start]):
            units.append(text[at : ending.start].strip())
        at = ending.end


def units(text: str) -> list[str]:
    """Give all statements and dot commands of a text. The last one needs no end."""
    found, rest = split(text)
    return [*found, rest.strip()] if rest.strip() else found


def units_of_lines(lines: Iterable[str]) -> Iterator[str]:
    """Give each statement or dot command as soon as its lines have arrived."""
    held = ""
    for line in lines:
        # A line that ends nothing is not worth looking at all that came before it again.
        held += line
        if ";" not in line and not held.lstrip().startswith("."):
            continue
        found, held = split(held)
        yield from found
    yield from units(held)


def is_blank(text: str) -> bool:
    """Whether a text is white space and comments only."""
    return all(
        (part.kind == "comment" and not (part.is_open and text.startswith("/*", part.start)))
        or not text[part.start : part.end].strip()
        for part in parts(text)
    )


def is_complete(text: str) -> bool:
    """Whether Enter runs the text: a dot command, an empty text, or statements that have all ended."""
    if text.lstrip().startswith("."):
        return True
    return not split(text)[1]


def _skip_blank(text: str, at: int) -> int:
    """Give the position of the first statement or dot command."""
    for part in parts(text, at):
        piece = text[part.start : part.end]
        if part.kind == "comment" and not part.is_open:
            continue
        if part.kind == "text" and not piece.strip():
            continue
        return part.start + len(piece) - len(piece.lstrip())
    return len(text)


def _part(text: str, at: int, begin: str) -> Part:
    if begin == ";":
        return Part("end", at, at + 1)
    if begin == "--":
        end = text.find("\n", at)
        return Part("comment", at, len(text) if end < 0 else end, is_open=end < 0)
    if begin == "/*":
        return _block_comment(text, at)
    if begin.startswith("$"):
        end = text.find(begin, at + len(begin))
        return Part("string", at, len(text) if end < 0 else end + len(begin), is_open=end < 0)
    kind: Kind = "name" if begin == '"' else "string"
    escapes = begin == "'" and _ESCAPES.search(text[max(at - 2, 0) : at])
    found = _QUOTED["e'" if escapes else begin].match(text, at)
    assert found is not None
    return Part(kind, at, found.end(), is_open=found[1] != begin)


def _block_comment(text: str, at: int) -> Part:
    depth, end = 0, at
    for sign in _COMMENT_SIGNS.finditer(text, at):
        depth += 1 if sign[0] == "/*" else -1
        end = sign.end()
        if depth == 0:
            return Part("comment", at, end)
    return Part("comment", at, len(text), is_open=True)
