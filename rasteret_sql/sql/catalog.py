"""The SQL objects of `sql/`: read with their header comments, and made in a connection.

Helpers, whose names begin with `_rst_`, live once in the attached catalog `rasteret_sql`, and every use of one
is qualified with it; so only the public macros need be where a user's names are looked up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rasteret_sql.index.sqlfiles import quote_literal, sql_folder

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

#: The in-memory catalog that `install` attaches.
CATALOG = "rasteret_sql"

_HEADER = re.compile(r"^-- (name|kind|grain|reads): (.*)$", re.MULTILINE)
_HELPER = re.compile(r"\b_rst_\w+")
_IN_PYTHON = re.compile(r"\b_rstpy_\w+")
_CREATE = re.compile(r"CREATE OR REPLACE MACRO (\w+)\(")


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

    def statements(self, *, temporary: bool = False, qualifier: str = "", suffix: str = "") -> list[str]:
        """Give the statements that make it and describe it.

        Args:
            temporary: make it for one connection only.
            qualifier: catalog and schema to make it in, or "" for the current ones.
            suffix: what the names of the functions in Python end with, in helpers.
        """
        text = _HELPER.sub(lambda match: f"{CATALOG}.main.{match[0]}", self.text)
        text = _IN_PYTHON.sub(lambda match: f"{match[0]}{suffix}", text)
        kind = "TEMP MACRO" if temporary else "MACRO"
        if self.is_public:
            text = _CREATE.sub(lambda match: f"CREATE OR REPLACE {kind} {qualifier}{match[1]}(", text, count=1)
        name = f"{qualifier}{self.name}" if self.is_public else f"{CATALOG}.main.{self.name}"
        if temporary:
            # A comment would stand in the temporary catalog, which duckdb_functions() shows beside the other.
            return [text]
        table = "TABLE " if self.kind == "table macro" else ""
        return [
            text,
            f"COMMENT ON MACRO {table}{name} IS {quote_literal(f'{self.comment} Grain: {self.grain}.')}",
        ]


def make_public(con: duckdb.DuckDBPyConnection, qualifier: str, *folders: str) -> None:
    """Make the public macros of some folders in one catalog and schema, with their comments."""
    for found in sql_objects(*folders):
        if found.is_public:
            for statement in found.statements(qualifier=qualifier):
                con.execute(statement)


@cache
def sql_objects(*folders: str) -> tuple[SqlObject, ...]:
    """Read the objects of some folders of `sql/`, each after those that it uses."""
    objects = {found.name: found for folder in folders for found in map(_read, _files(folder))}
    ordered: dict[str, SqlObject] = {}

    def add(found: SqlObject) -> None:
        if found.name in ordered:
            return
        for used in re.findall(r"\b\w+(?=\()", found.text):
            if used != found.name and used in objects:
                add(objects[used])
        ordered[found.name] = found

    for found in objects.values():
        add(found)
    return tuple(ordered.values())


def _files(folder: str) -> list[Path]:
    return sorted((sql_folder() / folder).glob("*.sql"))


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
