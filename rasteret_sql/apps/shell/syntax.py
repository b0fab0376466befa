"""The place of the cursor in SQL: a word, a string, or the arguments of a function. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rasteret_sql.apps.shell.statements import parts

_WORD_AT_END = re.compile(r"[A-Za-z_\x80-\uffff][\w\x80-\uffff]*$")
_TOKEN = re.compile(r"[A-Za-z_\x80-\uffff][\w\x80-\uffff]*|:=|=>|[()\[\],.;]|[^\s\w]|\d[\w.]*")
_NAME = re.compile(r"[A-Za-z_\x80-\uffff][\w\x80-\uffff]*$")
#: What comes before a table.
_BEFORE_SOURCE = frozenset({"FROM", "JOIN", "INTO", "UPDATE", "TABLE", "DESCRIBE", "SUMMARIZE", "VIEW"})
_ENDS_SOURCES = frozenset(
    {"WHERE", "GROUP", "ORDER", "LIMIT", "SELECT", "ON", "USING", "HAVING", "QUALIFY", "SET", "UNION"}
)
_NO_ALIAS = _ENDS_SOURCES.union(
    ("AS", "JOIN", "LEFT", "RIGHT", "INNER", "FULL", "CROSS", "ANTI", "SEMI", "NATURAL", "ASOF", "POSITIONAL"),
    ("LATERAL", "WINDOW", "OFFSET", "EXCEPT", "INTERSECT", "TABLESAMPLE", "PIVOT", "UNPIVOT"),
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token of SQL. `value` of a string or quoted name is the text between its quotes."""

    kind: Literal["word", "string", "name", "sign"]
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Source:
    """A source of rows in a statement.

    Attributes:
        kind: a table or view, a file, or a function called with `argument`.
        name: of the table, file or function.
        argument: the first argument of the function, if it is a string.
        alias: qualifier of its columns.
    """

    kind: Literal["table", "file", "function"]
    name: str
    argument: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """The innermost function call around the cursor.

    Attributes:
        name: of the function, in lower case.
        first: its first argument, if it is a string.
        position: of the argument at the cursor, from 0.
        parameter: the name before `:=` of the argument at the cursor, or None.
        given: the names of all arguments that have one.
        is_fresh: whether the argument at the cursor is empty, or one word.
    """

    name: str
    first: str | None
    position: int
    parameter: str | None
    given: tuple[str, ...]
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Place:
    """The place of the cursor.

    Attributes:
        kind: "string", "word" (which may be empty), or "nothing" if no completion is possible.
        typed: the typed part of the string or word.
        start: its position in the text.
        quote: the opening quote of the string.
        qualifier: the name before a dot before the word.
        after: the word before, in capitals, or "".
        in_sources: whether a table is expected.
        call: the function call around the cursor, or None.
        sources: the sources of the whole statement.
    """

    kind: Literal["string", "word", "nothing"]
    typed: str
    start: int
    quote: str = ""
    qualifier: str | None = None
    after: str = ""
    in_sources: bool = False
    call: Call | None = None
    sources: tuple[Source, ...] = ()


def place_of(text: str, cursor: int) -> Place:
    """Find the place of the cursor.

    Args:
        text: statements.
        cursor: its position. The text after it counts for `sources` only.
    """
    begin, end = _statement(text, cursor)
    before = text[begin:cursor]
    whole = text[begin:end]
    open_part = next((part for part in parts(before) if part.is_open), None)
    if open_part is not None and open_part.kind == "comment":
        return Place("nothing", "", cursor)
    sources = sources_of(whole)
    if open_part is not None:
        quote = before[open_part.start]
        rest = text[cursor:end]
        if rest.count(quote) % 2:
            # The quote that ends this string is there already.
            rest = rest[rest.index(quote) + 1 :]
        sources = sources_of(f"{before}{quote}{rest}")
        start = open_part.start + 1
        tokens = tokens_of(before[: open_part.start])
        if quote not in "'\"":
            return Place("nothing", "", cursor)
        return Place(
            "string",
            before[start:],
            begin + start,
            quote,
            after=_after(tokens),
            in_sources=_in_sources(tokens),
            call=_call(tokens),
            sources=sources,
        )
    found = _WORD_AT_END.search(before)
    word = found[0] if found is not None else ""
    tokens = tokens_of(before[: len(before) - len(word)])
    if tokens and tokens[-1].kind == "sign" and tokens[-1].value == "." and len(tokens) > 1:
        return Place("word", word, cursor - len(word), "", tokens[-2].value, _after(tokens), sources=sources)
    if not word and re.search(r"[\w'\"]$", before):
        return Place("nothing", "", cursor)
    return Place(
        "word", word, cursor - len(word), "", None, _after(tokens), _in_sources(tokens), _call(tokens), sources
    )


def sources_of(text: str) -> tuple[Source, ...]:
    """Give the sources of a statement: tables, files and functions after FROM, JOIN and their commas."""
    tokens = tokens_of(text)
    found: list[Source] = []
    for at, token in enumerate(tokens):
        starts = token.kind == "word" and token.value.upper() in _BEFORE_SOURCE
        if not starts and not (token.value == "," and _in_sources(tokens[: at + 1])):
            continue
        source = _source(tokens, at + 1)
        if source is not None:
            found.append(source)
    return tuple(found)


def tokens_of(text: str) -> list[Token]:
    """Cut SQL into tokens, without comments."""
    tokens: list[Token] = []
    for part in parts(text):
        piece = text[part.start : part.end]
        if part.kind == "string" or part.kind == "name":  # noqa: PLR1714 - older type checkers see it this way only
            quote = piece[0]
            value = piece[1 : None if part.is_open else -1].replace(quote * 2, quote)
            tokens.append(Token(part.kind, value, part.start, part.end))
        elif part.kind != "comment":
            for match in _TOKEN.finditer(piece):
                kind: Literal["word", "sign"] = "word" if _NAME.match(match[0]) else "sign"
                tokens.append(Token(kind, match[0], part.start + match.start(), part.start + match.end()))
    return tokens


def _statement(text: str, cursor: int) -> tuple[int, int]:
    """Give start and end of the statement at the cursor."""
    begin = 0
    for part in parts(text):
        if part.kind == "end":
            if part.start >= cursor:
                return begin, part.start
            begin = part.end
    return begin, len(text)


def _source(tokens: list[Token], at: int) -> Source | None:
    """Parse the source after FROM."""
    if at >= len(tokens):
        return None
    token = tokens[at]
    if token.kind == "string":
        return Source("file", token.value, alias=_alias(tokens, at + 1))
    if token.kind == "sign" or (token.kind == "word" and token.value.upper() in _NO_ALIAS | _BEFORE_SOURCE):
        return None
    name = token.value
    while at + 2 < len(tokens) and tokens[at + 1].value == "." and tokens[at + 2].kind in {"word", "name"}:
        at += 2
        name = f"{name}.{tokens[at].value}"
    if at + 1 < len(tokens) and tokens[at + 1].value == "(":
        first = tokens[at + 2] if at + 2 < len(tokens) else None
        depth, end = 1, at + 2
        while end < len(tokens) and depth:
            depth += {"(": 1, ")": -1}.get(tokens[end].value, 0) if tokens[end].kind == "sign" else 0
            end += 1
        argument = first.value if first is not None and first.kind == "string" else None
        return Source("function", name.lower(), argument, _alias(tokens, end))
    return Source("table", name, alias=_alias(tokens, at + 1) or name.rpartition(".")[2])


def _alias(tokens: list[Token], at: int) -> str | None:
    if at < len(tokens) and tokens[at].value.upper() == "AS":
        at += 1
    if at >= len(tokens) or tokens[at].kind not in {"word", "name"} or tokens[at].value.upper() in _NO_ALIAS:
        return None
    return tokens[at].value


def _after(tokens: list[Token]) -> str:
    return tokens[-1].value.upper() if tokens and tokens[-1].kind in {"word", "sign"} else ""


def _in_sources(tokens: list[Token]) -> bool:
    """Whether a table is expected: after FROM or JOIN, or after a comma in their list."""
    if not tokens or tokens[-1].kind not in {"word", "sign"}:
        return False
    if tokens[-1].value.upper() in _BEFORE_SOURCE:
        return True
    if tokens[-1].value != ",":
        return False
    depth = 0
    for token in reversed(tokens):
        if token.kind == "sign":
            depth += {")": 1, "(": -1, "]": 1, "[": -1}.get(token.value, 0)
            if depth < 0:
                return False
        elif token.kind == "word" and depth == 0:
            word = token.value.upper()
            if word == "FROM":
                return True
            if word in _ENDS_SOURCES:
                return False
    return False


def _call(tokens: list[Token]) -> Call | None:
    """Find the innermost open parenthesis that belongs to a function, and count the arguments in it."""
    depth = 0
    for at in range(len(tokens) - 1, 0, -1):
        token = tokens[at]
        if token.kind != "sign":
            continue
        if token.value in ")]":
            depth += 1
        elif token.value in "([":
            depth -= 1
            if depth < 0 and token.value == "(":
                if tokens[at - 1].kind != "word":
                    return None
                return _arguments(tokens[at - 1].value.lower(), tokens[at + 1 :])
            depth = max(depth, 0)
    return None


def _arguments(name: str, tokens: list[Token]) -> Call:
    arguments: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "sign" and token.value in "([":
            depth += 1
        elif token.kind == "sign" and token.value in ")]":
            depth -= 1
        elif token.value == "," and token.kind == "sign" and depth == 0:
            arguments.append([])
            continue
        arguments[-1].append(token)
    named = [_parameter(argument) for argument in arguments]
    first = arguments[0][0] if arguments[0] else None
    return Call(
        name,
        first.value if first is not None and first.kind == "string" else None,
        len(arguments) - 1,
        named[-1],
        tuple(parameter for parameter in named if parameter is not None),
        not arguments[-1],
    )


def _parameter(tokens: list[Token]) -> str | None:
    if len(tokens) > 1 and tokens[0].kind == "word" and tokens[1].value in {":=", "=>"}:
        return tokens[0].value.lower()
    return None
