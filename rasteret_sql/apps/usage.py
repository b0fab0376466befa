"""Errors of arguments as errors of options: the option is named as it was typed, and the exit code is that of usage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

#: A message that begins with the name of an argument.
_NAMED: Final = re.compile(r"(?:--)?(?P<name>[a-z_]+): (?=got |expected |is an option )")
#: Arguments of Python whose options are called differently.
_OPTIONS: Final = {"path": "output", "geometry_crs": "crs", "items": "item", "zones": "geometry"}


def usage_message(message: str, arguments: argparse.Namespace) -> str | None:
    """Give the message of an error that the value of an option caused; None for all other errors.

    Args:
        message: of an error; DuckDB passes on those of a function's arguments, so the type says little.
        arguments: of the command, with `parser`, its parser.
    """
    found = _NAMED.match(message)
    parser: argparse.ArgumentParser | None = getattr(arguments, "parser", None)
    if found is None or parser is None:
        return None
    actions = {action.dest: action for action in parser._actions if action.option_strings}  # noqa: SLF001 - no other way
    name = found["name"]
    action = actions.get(name) or actions.get(_OPTIONS.get(name, ""))
    if action is None or getattr(arguments, action.dest) == action.default:
        return None
    return f"{action.option_strings[-1]}: {message[found.end() :]}"
