"""Schema files as rows, and Markdown tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MADE = "<!-- Written by docs/generate.py; edit what it describes instead. -->\n"


@dataclass(frozen=True, slots=True)
class Column:
    """A column, or a field inside one, as a schema file says it."""

    name: str
    type: str
    meaning: str


_NAME_AND_TYPE = re.compile(r'"?(?P<name>\w+)"? (?P<type>.+)')


def columns_of(schema: str) -> list[Column]:
    """Read the columns of a schema file; a field of a struct is named with all that it lies in."""
    lines = [line.strip() for line in schema.splitlines() if not line.startswith("-- ")]
    body = iter(lines[next(n for n, line in enumerate(lines) if line.startswith("CREATE TABLE")) + 1 :])
    return list(_columns(body, ""))


def _columns(lines: Iterator[str], inside: str) -> Iterator[Column]:
    """Give the columns up to the bracket that closes the struct `inside`; its own column comes first."""
    found: list[Column] = []
    for line in lines:
        code, _, meaning = (part.strip() for part in line.partition("-- "))
        code = code.rstrip(",;")
        if code.startswith(")"):
            if inside:
                brackets = code[1:]
                yield Column(inside, f"STRUCT{brackets}", meaning)
                yield from (Column(f"{inside}{brackets}.{one.name}", one.type, one.meaning) for one in found)
            else:
                yield from found
            return
        if code.endswith(" STRUCT("):
            found += _columns(lines, code.removesuffix(" STRUCT("))
            continue
        match = _NAME_AND_TYPE.fullmatch(code)
        assert match is not None, f"a schema line that docs/generate.py cannot read: {line!r}"
        found.append(Column(match["name"], match["type"], meaning))
    raise AssertionError("a schema file that does not end")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)])


def column_table(columns: Sequence[Column]) -> str:
    """Write the columns of a table as one."""
    return table(("Column", "Type", "Meaning"), [(f"`{one.name}`", f"`{one.type}`", one.meaning) for one in columns])
