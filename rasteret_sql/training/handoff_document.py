"""The document of a hand-off: its layout, read and written as TOML."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Of the layout.
VERSION: Final = 1
#: The tables and keys of a file: the type of each value, and whether it must be there.
_SCHEMA: Final[dict[str, dict[str, tuple[type, bool]]]] = {
    "index": {"path": (str, True), "nbytes": (int, True), "sha256": (str, False), "footer_sha256": (str, True)},
    "query": {"sql": (str, True), "seed": (int, True), "block_m": (float, False), "gap_m": (float, False)},
    "chips": {"nbytes": (int, True), "sha256": (str, False), "footer_sha256": (str, True)},
}
#: Tables whose keys are the user's, or arguments.
_FREE: Final = ("splits", "dataset")
_TYPES: Final = {str: "text", int: "a whole number", float: "a number with a decimal point", dict: "a table"}


def read_document(path: Path) -> dict[str, Any]:
    """Read the tables of a document.

    Raises:
        InvalidArgumentError: there is no such file, it is no TOML, or it has another layout.
    """
    try:
        contents = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidArgumentError(
            f"path: {path} cannot be read: {error.strerror}; expected a file that rasteret_sql.handoff wrote"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"path: {path} is no TOML: {error}; expected what handoff wrote") from error
    version = contents.pop("version", None)
    if type(version) is not int or version != VERSION:
        raise InvalidArgumentError(
            f"path: {path} has version {shown(version)}, expected {VERSION}; write it again with rasteret_sql.handoff"
        )
    _check_schema(contents, path)
    return contents


def _check_schema(contents: Mapping[str, Any], path: Path) -> None:
    """Refuse tables and keys that no file has, and values of other types.

    Raises:
        InvalidArgumentError: there is one.
    """
    again = "write the file again with rasteret_sql.handoff"
    for name, table in contents.items():
        if name not in _SCHEMA and name not in _FREE:
            raise InvalidArgumentError(
                f"{path}: got {name!r}, expected one of {', '.join((*_SCHEMA, *_FREE))}; {again}"
            )
        if not isinstance(table, dict):
            raise InvalidArgumentError(f"{path}: {name}: got {shown(table)}, expected a table; {again}")
        unknown = [] if name in _FREE else [key for key in table if key not in _SCHEMA[name]]
        if unknown:
            raise InvalidArgumentError(
                f"{path}: {name}: got {unknown[0]!r}, expected one of {', '.join(_SCHEMA[name])}; {again}"
            )
    for name in ("query", "index"):
        if name not in contents:
            raise InvalidArgumentError(f"path: {path} lacks {name!r}, expected [index] and [query]; {again}")
    for name, keys in _SCHEMA.items():
        if name not in contents:
            continue
        for key, (kind, is_needed) in keys.items():
            value = contents[name].get(key)
            if (value is not None or is_needed) and type(value) is not kind:
                got = "nothing" if value is None else shown(value)
                raise InvalidArgumentError(f"{path}: {name}.{key}: got {got}, expected {_TYPES[kind]}; {again}")


def document_text(contents: Mapping[str, Any]) -> str:
    """Write the tables of a document as TOML."""
    lines = [f"{name} = {_value(value)}" for name, value in contents.items() if not isinstance(value, dict)]
    for name, table in contents.items():
        if isinstance(table, dict) and table:
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        is_long = "\n" in value and "'''" not in value and "\r" not in value
        # JSON's escapes are TOML's, but for one character.
        return f"'''\n{value}'''" if is_long else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(name)} = {_value(each)}' for name, each in value.items())}}}"
    return f"[{', '.join(map(_value, value))}]"
