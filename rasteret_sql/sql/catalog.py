"""The SQL objects of `sql/`: read with their header comments, and made in a connection.

Helpers, whose names begin with `_rst_`, live once in the attached catalog `rasteret_sql`, and every use of one
is qualified with it; so only the public macros need be where a user's names are looked up.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal, sql_folder

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

#: The in-memory catalog that `install` attaches.
CATALOG = "rasteret_sql"

_HEADER = re.compile(r"^-- (name|kind|grain|reads): (.*)$", re.MULTILINE)
_HELPER = re.compile(r"\b_rst_\w+")
_IN_PYTHON = re.compile(r"\b_rstpy_\w+")
_CREATE = re.compile(r"CREATE OR REPLACE MACRO (\w+)\(")
_ARGUMENTS = re.compile(r"MACRO \w+\((.*?)\) AS", re.DOTALL)
_CALL = re.compile(r"\b\w+(?=\()")
#: Helpers and public functions that need no Python, and what stands in for the helpers that are written in it.
PLAIN_FOLDERS = ("macros", "plain")
_COLUMNS = 116


@dataclass(frozen=True, slots=True)
class SqlObject:
    """One file of `sql/`: a macro with its header.

    Attributes:
        name: as users call it.
        kind: "scalar macro" or "table macro".
        grain: what one row is.
        reads: what it reads.
        comment: one sentence.
        text: the statement.
    """

    name: str
    kind: str
    grain: str
    reads: str
    comment: str
    text: str

    @property
    def is_public(self) -> bool:
        """Whether users call it."""
        return not self.name.startswith("_")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of its arguments."""
        found = _ARGUMENTS.search(self.text)
        assert found is not None, f"{self.name}: no macro that takes arguments"
        listed = re.sub(r"--[^\n]*", "", found[1])
        return tuple(part.partition(":=")[0].strip() for part in listed.split(",") if part.strip())

    def plain_statements(self, *, schema: str = "", temporary: bool = False) -> list[str]:
        """Give the statements that make it where a script is read, and describe it.

        Args:
            schema: of the database in use, where it and all helpers go; "" for the one in use.
            temporary: make it for one connection only, and without a comment.
        """
        qualifier = f"{quote_identifier(schema)}." if schema else ""
        text = _HELPER.sub(lambda match: f"{qualifier}{match[0]}", self.text)
        text = _IN_PYTHON.sub(lambda match: f"{qualifier}{match[0]}", text)
        return self._made(text, qualifier, temporary=temporary)

    def statements(self, *, temporary: bool = False, qualifier: str = "", suffix: str = "") -> list[str]:
        """Give the statements that make it and describe it.

        Args:
            temporary: make it for one connection only.
            qualifier: catalog and schema to make it in, or "" for the current ones; helpers go into our catalog.
            suffix: what the names of the functions in Python end with, in helpers.
        """
        text = _HELPER.sub(lambda match: f"{CATALOG}.main.{match[0]}", self.text)
        text = _IN_PYTHON.sub(lambda match: f"{match[0]}{suffix}", text)
        return self._made(text, qualifier if self.is_public else f"{CATALOG}.main.", temporary=temporary)

    def _made(self, text: str, qualifier: str, *, temporary: bool) -> list[str]:
        text = _CREATE.sub(lambda match: f"CREATE OR REPLACE MACRO {qualifier}{match[1]}(", text, count=1)
        if temporary:
            # A comment would stand in the temporary catalog, which duckdb_functions() shows beside the other.
            return [text.replace("CREATE OR REPLACE MACRO", "CREATE OR REPLACE TEMP MACRO", 1)]
        table = "TABLE " if self.kind == "table macro" else ""
        described = quote_literal(f"{self.comment} Grain: {self.grain}.")
        return [text, f"COMMENT ON MACRO {table}{qualifier}{self.name} IS {described}"]


def make_public(con: duckdb.DuckDBPyConnection, qualifier: str, *folders: str) -> None:
    """Make the public macros of some folders in one catalog and schema, with their comments."""
    for found in sql_objects(*folders):
        if found.is_public:
            for statement in found.statements(qualifier=qualifier):
                con.execute(statement)


def plain_script(version: str, *, schema: str = "", temporary: bool = False) -> str:
    """Write what needs no Python as one SQL script, for any DuckDB.

    It can be read twice, and makes each macro after those that it calls.

    Args:
        version: of rasteret_sql; the script says it.
        schema: a schema that the script makes, and puts all macros into; "" for the one in use.
        temporary: make the macros for one connection, so that no database file holds them afterwards.
    """
    parts = [_script_header(version, schema, temporary=temporary)]
    if schema:
        parts.append(f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(schema)};\n")
    for found in plain_objects():
        statements = found.plain_statements(schema=schema, temporary=temporary)
        comment = textwrap.fill(found.comment, _COLUMNS, initial_indent="-- ", subsequent_indent="-- ")
        parts.append(f"{comment}\n" + "".join(f"{statement};\n" for statement in statements))
    return "\n".join(parts)


def _script_header(version: str, schema: str, *, temporary: bool) -> str:
    where = f"schema {schema} of the database in use" if schema else "database and schema in use"
    if temporary:
        kept = "The macros are temporary: they end with the connection, and no database file holds them."
    else:
        kept = (
            f"The macros are made in the {where}. Where that is a file, they are kept in it, as they are now; "
            "`rasteret-sql macros --temp` writes a script that leaves nothing in files."
        )
    lines = [
        f"rasteret_sql {version}: what needs no Python, for DuckDB 1.5 and newer. Written by `rasteret-sql macros`.",
        "",
        "  duckdb -init rasteret.sql      a shell that has the functions",
        "  .read rasteret.sql             in a shell that is open; it may be read again",
        "",
        *textwrap.wrap(kept, _COLUMNS),
        "",
    ]
    prefix = f"{quote_identifier(schema)}." if schema else ""
    for found in plain_objects():
        if found.is_public:
            first, *others = found.arguments
            lines.append(f"{prefix}{found.name}({', '.join([first, *(f'{name} :=' for name in others)])})")
            lines += [f"  {line}" for line in textwrap.wrap(f"{found.comment} Grain: {found.grain}.", _COLUMNS - 2)]
    return "".join(f"-- {line}".rstrip() + "\n" for line in lines)


@cache
def plain_objects() -> tuple[SqlObject, ...]:
    """Give the public functions that need no Python, and the helpers that they need, each after those that it uses."""
    objects = {found.name: found for found in sql_objects(*PLAIN_FOLDERS)}
    needed: set[str] = set()
    waiting = [name for name, found in objects.items() if found.is_public]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [used for used in _CALL.findall(objects[name].text) if used in objects]
    return tuple(found for name, found in objects.items() if name in needed)


@cache
def sql_objects(*folders: str) -> tuple[SqlObject, ...]:
    """Read the objects of some folders of `sql/`, each after those that it uses."""
    objects = {
        found.name: found for folder in folders for found in map(_read, sorted((sql_folder() / folder).glob("*.sql")))
    }
    ordered: dict[str, SqlObject] = {}

    def add(found: SqlObject) -> None:
        if found.name in ordered:
            return
        for used in _CALL.findall(found.text):
            if used != found.name and used in objects:
                add(objects[used])
        ordered[found.name] = found

    for found in objects.values():
        add(found)
    return tuple(ordered.values())


def sql_object(folder: str, name: str) -> SqlObject:
    """Read one object of a folder of `sql/`."""
    return _read(sql_folder() / folder / f"{name}.sql")


def _read(path: Path) -> SqlObject:
    text = path.read_text(encoding="utf-8")
    header = dict(_HEADER.findall(text))
    comments = [line[3:] for line in text.splitlines() if line.startswith("-- ") and not _HEADER.match(line)]
    statement = "\n".join(line for line in text.splitlines() if not line.startswith("-- "))
    return SqlObject(
        header["name"],
        header["kind"],
        header["grain"],
        header["reads"],
        " ".join(comments),
        statement.strip().rstrip(";"),
    )
