"""The SQL files, which lie inside the installed package or at the root of a checkout, and quoting."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from rasteret_sql.errors import InvalidArgumentError

_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def sql_folder() -> Path:
    """Give the folder that holds `schema/`, `macros/`, `index/` and `checks/`."""
    installed = _PACKAGE / "sql" / "files"
    if installed.is_dir():
        return installed
    return _PACKAGE.parent / "sql"


@cache
def sql_file(name: str) -> str:
    """Give the text of one SQL file.

    Args:
        name: its path inside the folder, for example `"schema/asset_index.sql"`.

    Raises:
        InvalidArgumentError: there is no such file.
    """
    path = sql_folder() / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError(f"{name!r}: no such SQL file in {sql_folder()}; is the package complete?") from error


def quote_identifier(name: str) -> str:
    """Write a name as an SQL identifier, whatever its characters.

    >>> quote_identifier("eo:cloud_cover")
    '"eo:cloud_cover"'
    """
    return '"' + name.replace('"', '""') + '"'


_GLOB_CHARACTER = re.compile(r"([*?\[])")


def quote_path(path: str | Path, pattern: str = "") -> str:
    """Write the path of a file as an SQL string that DuckDB does not take for a glob.

    Args:
        path: a local file; of a folder, with `pattern`.
        pattern: a glob in the folder.

    >>> quote_path("run[1]/i.parquet")
    "'run[[]1]/i.parquet'"
    """
    escaped = _GLOB_CHARACTER.sub(r"[\1]", str(path))
    return quote_literal(f"{escaped}/{pattern}" if pattern else escaped)


def quote_literal(text: str) -> str:
    """Write a text as an SQL string, where DuckDB takes no bound parameter.

    >>> quote_literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
