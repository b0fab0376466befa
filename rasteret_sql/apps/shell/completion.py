"""Suggestions for the text at the cursor. Pure, except for names of files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, get_args

from rasteret_sql.apps.output import Format
from rasteret_sql.apps.shell.syntax import Call, Place, Source, place_of
from rasteret_sql.database.sqlfiles import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_KEYWORDS = """
    ALL ALTER ANALYZE AND ANTI ANY AS ASC ASOF ATTACH BEGIN BETWEEN BY CALL CASE CAST CHECKPOINT COLUMN
    COLUMNS COMMENT COMMIT COPY CREATE CROSS CUBE CURRENT DATABASE DEFAULT DELETE DESC DESCRIBE DETACH
    DISTINCT DROP ELSE END EXCEPT EXCLUDE EXISTS EXPLAIN EXPORT FALSE FILTER FIRST FOLLOWING FROM FULL
    FUNCTION GLOB GROUP GROUPING HAVING IF ILIKE IMPORT IN INDEX INNER INSERT INSTALL INTERSECT INTERVAL
    INTO IS JOIN LAST LATERAL LEFT LIKE LIMIT LOAD MACRO MATERIALIZED NATURAL NOT NULL NULLS OFFSET ON OR
    ORDER OVER PARTITION PERCENT PIVOT POSITIONAL PRAGMA PRECEDING PREPARE QUALIFY RECURSIVE REPLACE RESET
    RETURNING RIGHT ROLLBACK ROLLUP ROW ROWS SAMPLE SCHEMA SELECT SEMI SET SETS SHOW SUMMARIZE TABLE TABLES
    TABLESAMPLE TEMP TEMPORARY THEN TO TRANSACTION TRUE TRUNCATE TRY_CAST TYPE UNBOUNDED UNION UNPIVOT
    UPDATE USE USING VACUUM VALUES VIEW VIEWS WHEN WHERE WINDOW WITH WITHIN
"""
KEYWORDS = tuple(_KEYWORDS.split())
#: Files that DuckDB or we read, by what reads them.
_DATA = (".parquet", ".geoparquet", ".csv", ".json", ".ndjson", ".jsonl", ".geojson")
_SQL = (".sql",)
_DATABASES = (".duckdb", ".ddb", ".db")
_PLAIN_NAME = re.compile(r"[a-z_]\w*$", re.IGNORECASE)
_NAMES_BANDS = frozenset({"bands", "assets", "band", "asset"})
_MOST = 200


@dataclass(frozen=True, slots=True)
class Function:
    """A SQL function. `is_ours` marks functions of rasteret_sql, whose first parameter has no default."""

    name: str
    parameters: tuple[str, ...] = ()
    comment: str = ""
    is_ours: bool = False
    is_table: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text that replaces the typed text from `start` to the cursor. `about` describes it."""

    text: str
    start: int
    about: str = ""


class Knowledge(Protocol):
    """Names in a database. Every method returns at once, and returns nothing for names that are not known yet."""

    def functions(self) -> Sequence[Function]:
        """Give all functions."""
        ...

    def tables(self) -> Sequence[tuple[str, str]]:
        """Give tables and views: name and kind."""
        ...

    def columns(self, source: Source) -> Sequence[tuple[str, str]]:
        """Give names and types of the columns of a source."""
        ...

    def bands(self, index: str) -> Sequence[tuple[str, str]]:
        """Give values of `bands :=` for an index, and their descriptions."""
        ...

    def datasets(self) -> Sequence[tuple[str, str]]:
        """Give the datasets of the catalog: id and title."""
        ...


def suggest(
    text: str, cursor: int, known: Knowledge, commands: Iterable[tuple[str, str]] = (), *, is_asked: bool = True
) -> list[Suggestion]:
    """Give suggestions for the text at the cursor, the likeliest first.

    Args:
        text: the typed text.
        cursor: position of the cursor in it.
        known: names in the database.
        commands: names and descriptions of the dot commands.
        is_asked: whether the user asked for suggestions. Only then an empty word has any.
    """
    if text.lstrip().startswith(".") and "\n" not in text[:cursor].strip():
        found = _of_command(text, cursor, known, commands, is_asked=is_asked)
    else:
        found = _of_sql(text, cursor, known, is_asked=is_asked)
    unique: dict[str, Suggestion] = {}
    for suggestion in found:
        unique.setdefault(suggestion.text.lower(), suggestion)
        if len(unique) >= _MOST:
            break
    # What is there already is no suggestion.
    return [found for found in unique.values() if text[found.start : cursor].lower() != found.text.lower()]


def _of_command(
    text: str, cursor: int, known: Knowledge, commands: Iterable[tuple[str, str]], *, is_asked: bool
) -> Iterator[Suggestion]:
    dot = text.index(".")
    name, space, rest = text[dot + 1 : cursor].partition(" ")
    if not space:
        yield from _fitting([(f".{command}", about) for command, about in commands], f".{name}", dot)
        return
    start = cursor - len(rest.lstrip())
    typed = text[start:cursor]
    if name == "mode":
        yield from _fitting([(mode, "") for mode in get_args(Format)], typed, start)
    elif name == "timer":
        yield from _fitting([("on", ""), ("off", "")], typed, start)
    elif name == "help":
        yield from _fitting([(command, about) for command, about in commands], typed, start)
        ours = [(function.name, function.comment) for function in known.functions() if function.is_ours]
        yield from _fitting(ours, typed, start)
    elif name == "datasets":
        yield from _fitting(known.datasets(), typed, start)
    elif name in {"read", "open", "output", "cd"}:
        suffixes = {"read": _SQL, "open": _DATABASES, "output": (*_DATA, ".txt"), "cd": ()}[name]
        yield from _paths(typed, start, suffixes)
    elif name in {"schema", "explain", "preview"}:
        if " " not in typed and "(" not in typed and "'" not in typed:
            yield from _fitting(known.tables(), typed, start)
            yield from _paths(typed, start, _DATA)
        if name != "schema" and is_asked | bool(typed):
            blanked = " " * (cursor - len(rest)) + text[cursor - len(rest) :]
            yield from _of_sql(blanked, cursor, known, is_asked=False)


def _of_sql(text: str, cursor: int, known: Knowledge, *, is_asked: bool) -> Iterator[Suggestion]:
    place = place_of(text, cursor)
    if place.kind == "string":
        yield from _of_quoted(text, cursor, place, known)
    elif place.kind == "word":
        yield from _of_word(place, known, is_asked=is_asked)


def _of_quoted(text: str, cursor: int, place: Place, known: Knowledge) -> Iterator[Suggestion]:
    closing = "" if text[cursor : cursor + 1] == place.quote else place.quote
    call = place.call
    if place.quote == '"':
        names = [*_columns(place.sources, known), *known.tables()]
        found = _fitting(names, place.typed, place.start)
    elif call is not None and call.parameter in _NAMES_BANDS:
        found = _fitting(known.bands(call.first) if call.first else (), place.typed, place.start)
    elif call is not None and call.name == "stac_search" and call.parameter is None:
        found = _fitting(known.datasets() if call.position == 0 else (), place.typed, place.start)
    elif place.in_sources or place.after == "TO" or (call is not None and call.parameter is None):
        is_index = call is not None and any(
            function.is_ours and function.name == call.name for function in known.functions()
        )
        if is_index:
            yield from _fitting(known.tables(), place.typed, place.start, closing)
        found = _paths(place.typed, place.start, _DATA)
    else:
        return
    for suggestion in found:
        ending = "" if suggestion.text.endswith("/") and suggestion.about == "folder" else closing
        yield Suggestion(suggestion.text + ending, suggestion.start, suggestion.about)


def _of_word(place: Place, known: Knowledge, *, is_asked: bool) -> Iterator[Suggestion]:
    typed, start = place.typed, place.start
    if place.qualifier is not None:
        sources = [
            source for source in place.sources if (source.alias or source.name).lower() == place.qualifier.lower()
        ]
        yield from _named(_columns(sources, known), typed, start)
        return
    if place.call is not None:
        function = next((found for found in known.functions() if found.is_ours and found.name == place.call.name), None)
        if function is not None and function.is_table:
            yield from _parameters(place.call, function, typed, start)
            return
    if place.in_sources:
        yield from _of_source(place, known)
        return
    if not typed and not is_asked:
        return
    # A word after a value is a keyword; after AS it is a new name.
    if place.after == "AS" or typed.isdigit():
        return
    yield from _named(_columns(place.sources, known), typed, start)
    functions = known.functions()
    yield from _calls((function for function in functions if function.is_ours and not function.is_table), typed, start)
    if typed:
        yield from _fitting([(_cased(keyword, typed), "") for keyword in KEYWORDS], typed, start)
        yield from _named(known.tables(), typed, start)
        yield from _calls((function for function in functions if not function.is_table), typed, start)


def _of_source(place: Place, known: Knowledge) -> Iterator[Suggestion]:
    typed, start = place.typed, place.start
    yield from _named(known.tables(), typed, start)
    if place.after in {"FROM", "JOIN", ",", "DESCRIBE", "SUMMARIZE"}:
        tables = [function for function in known.functions() if function.is_table]
        yield from _calls((function for function in tables if function.is_ours), typed, start)
        if not typed:
            for found in _paths("", start, _DATA):
                if found.about != "folder":
                    yield Suggestion(f"'{found.text}'", start, found.about)
            return
        yield from _calls((function for function in tables if not function.is_ours), typed, start)
    yield from _fitting(
        [(_cased(keyword, typed), "") for keyword in ("SELECT", "LATERAL")] if typed else [], typed, start
    )


def _parameters(call: Call, function: Function, typed: str, start: int) -> Iterator[Suggestion]:
    """Give the arguments of one of our functions that are still missing. The first one is a file or table."""
    if not call.is_fresh:
        return
    if call.position == 0:
        if function.parameters and function.parameters[0] == "index":
            for found in _paths("", start, (".parquet",)):
                if not typed and found.about != "folder":
                    yield Suggestion(f"'{found.text}'", start, found.about)
        return
    left = [name for name in function.parameters[1:] if name not in call.given]
    yield from _fitting([(f"{name} := ", "") for name in left], typed, start)


def _columns(sources: Iterable[Source], known: Knowledge) -> list[tuple[str, str]]:
    return [column for source in sources for column in known.columns(source)]


def _named(names: Iterable[tuple[str, str]], typed: str, start: int) -> Iterator[Suggestion]:
    """Give names as SQL identifiers, quoted if they are not plain."""
    for suggestion in _fitting(names, typed, start):
        plain = _PLAIN_NAME.match(suggestion.text) and suggestion.text.upper() not in KEYWORDS
        yield suggestion if plain else Suggestion(quote_identifier(suggestion.text), start, suggestion.about)


def _calls(functions: Iterable[Function], typed: str, start: int) -> Iterator[Suggestion]:
    yield from _fitting([(f"{function.name}(", function.comment) for function in functions], typed, start)


def _fitting(names: Iterable[tuple[str, str]], typed: str, start: int, closing: str = "") -> Iterator[Suggestion]:
    lower = typed.lower()
    for name, about in names:
        if name.lower().startswith(lower):
            yield Suggestion(name + closing, start, about)


def _paths(typed: str, start: int, suffixes: tuple[str, ...]) -> Iterator[Suggestion]:
    """Give folders, and files of some suffixes, whose path begins with the typed text."""
    if "://" in typed:
        return
    folder, slash, begun = typed.rpartition("/")
    try:
        entries = sorted(Path(folder + slash or ".").expanduser().iterdir(), key=lambda path: path.name)
        for entry in entries[:5000]:
            is_folder = entry.is_dir()
            if entry.name.startswith(begun) and (begun or not entry.name.startswith(".")):
                if is_folder:
                    yield Suggestion(f"{folder}{slash}{entry.name}/", start, "folder")
                elif entry.suffix.lower() in suffixes:
                    yield Suggestion(f"{folder}{slash}{entry.name}", start, "file")
    except (OSError, RuntimeError):
        return


def _cased(keyword: str, typed: str) -> str:
    return keyword.lower() if typed.islower() else keyword
