"""Errors of arguments as errors of options: the option is named as it was typed, and the exit code is that of usage."""

from __future__ import annotations

import argparse
import re
from typing import Any, Final, NoReturn

from rasteret_sql.wording import did_you_mean

#: A message that begins with the name of an argument.
_NAMED: Final = re.compile(r"(?:--)?(?P<name>[a-z_-]+): (?=got |expected |is an option )")
#: Arguments of Python whose options are called differently.
_OPTIONS: Final = {"path": "output", "items": "item", "zones": "geometry"}
#: An argument with or without a value, as messages for Python and SQL spell it.
_ARGUMENT: Final = re.compile(
    r"""(?<![\w'"?&/.-])(?P<name>[a-z]+(?:_[a-z]+)*)\b(?!['"])"""
    r"""(?P<value>(?:=|\s?:=\s?)(?:(?P<quote>['"])(?P<text>[^'"\s]*)(?P=quote)|(?P<word>[\w.-]*\w|)))?"""
)
#: What argparse says of a word that is none of some choices.
_CHOICE: Final = re.compile(r"invalid choice: '(?P<given>[^']*)' \(choose from (?P<known>.*)\)$")


class Parser(argparse.ArgumentParser):
    """A parser that asks whether a similar option or choice is meant, as argparse itself does from Python 3.14 on."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse unknown options here, where those of the command are known; argparse would leave it to the root."""
        found, rest = super().parse_known_args(args, namespace)
        unknown = next((each.partition("=")[0] for each in rest if each.startswith("--")), None)
        if unknown is not None:
            self.error(f"unrecognized arguments: {' '.join(rest)}{did_you_mean(unknown, self._option_string_actions)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Ask for a choice that resembles the word that is none."""
        wrong = _CHOICE.search(message)
        meant = "" if wrong is None else did_you_mean(wrong["given"], re.findall(r"[\w-]+", wrong["known"]))
        super().error(f"{message}{meant}")


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
    name = found["name"].replace("-", "_")
    action = actions.get(name) or actions.get(_OPTIONS.get(name, ""))
    if action is None or getattr(arguments, action.dest) == action.default:
        return None
    return f"{action.option_strings[-1]}: {message[found.end() :]}"


def as_options(message: str, arguments: argparse.Namespace) -> str:
    """Spell arguments in a message as options of the command; a message may advise `geometry_crs="EPSG:32643"`.

    A name of one word is only an argument if it has a value.

    Args:
        message: of an error.
        arguments: of the command, with `parser`, its parser.
    """
    parser: argparse.ArgumentParser | None = getattr(arguments, "parser", None)
    if parser is None:
        return message
    options = {action.dest: action for action in parser._actions if action.option_strings}  # noqa: SLF001 - no other way

    def spelled(found: re.Match[str]) -> str:
        action = options.get(found["name"])
        option = f"--{found['name'].replace('_', '-')}"
        has_value = found["value"] is not None
        if action is None or option not in action.option_strings or not (has_value or "_" in found["name"]):
            return found[0]
        value = found["text"] or found["word"] or ""
        return option if action.nargs == 0 or not value else f"{option} {value}"

    return _ARGUMENT.sub(spelled, message)
