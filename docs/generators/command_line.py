"""The page of the commands, from their parsers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generators.tables import MADE, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_CLI_INTRO = """\
# Command line

`rasteret-sql COMMAND`, or `python -m rasteret_sql COMMAND`. Results go to stdout; progress, notes and errors to stderr.
"""


def cli_page() -> str:
    """The commands, from their parsers."""
    from rasteret_sql.apps.main import parser

    root = parser()
    (commands,) = (action for action in root._actions if isinstance(action.choices, dict))  # noqa: SLF001
    assert isinstance(commands.choices, dict)
    parts = [MADE, _CLI_INTRO, _fenced(root.epilog)]
    parts += [_command(command) for command in commands.choices.values()]
    return "\n".join(parts)


def _command(command: argparse.ArgumentParser) -> str:
    actions = [one for one in command._actions if one.dest != "help"]  # noqa: SLF001
    rows = [(f"`{_invocation(one)}`", _help(command, one)) for one in actions]
    usage = " ".join(
        [
            command.prog,
            *(
                _invocation(one, is_short=True) if one.required else f"[{_invocation(one, is_short=True)}]"
                for one in _usage_order(actions)
            ),
        ]
    )
    return "\n".join(
        [
            f"## {command.prog}\n",
            f"{command.description}\n",
            f"```text\n{usage}\n```\n",
            table(("Argument", "Meaning"), rows) + "\n",
            _fenced(command.epilog),
        ]
    )


def _usage_order(actions: Sequence[argparse.Action]) -> list[argparse.Action]:
    return sorted(actions, key=lambda one: not one.option_strings)


def _invocation(action: argparse.Action, *, is_short: bool = False) -> str:
    metavar = action.metavar
    if metavar is None:
        metavar = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    shown = metavar if isinstance(metavar, str) else " ".join(metavar)
    if not action.option_strings:
        return f"{shown} ..." if action.nargs in {"+", "*"} else shown
    flags = ", ".join(action.option_strings[: 1 if is_short else None])
    return flags if action.nargs == 0 else f"{flags} {shown}"


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": command.prog}


def _fenced(epilog: str | None) -> str:
    return f"```text\n{epilog.strip()}\n```\n" if epilog else ""
