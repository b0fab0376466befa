"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from typing import Any

#: What `add_subparsers` gives; argparse has no public name for its type.
Commands = Any

#: What the help of a command ends with that has no exit codes of its own.
_EXIT_CODES = """

exit codes:
  0  all is well
  1  an error: stderr says which
  2  wrong usage"""


def new_command(commands: Commands, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    """Add a command whose help ends with examples, laid out as they are written, and its exit codes."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog if "\nexit codes:" in epilog else epilog + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return command


def mapping(text: str) -> tuple[str, str]:
    """Read FROM=TO."""
    source, sign, target = text.partition("=")
    if not (sign and source and target):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected FROM=TO, such as https://example.com/=/data/")
    return source, target


def variable(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, sign, value = text.partition("=")
    if not (sign and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=VALUE, such as period=2024-01")
    return name, value


def numbers(text: str) -> list[float]:
    """Read numbers with commas or spaces between them."""
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected xmin,ymin,xmax,ymax") from error


def names(text: str) -> list[str]:
    """Read names with commas between them."""
    return [part.strip() for part in text.split(",") if part.strip()]
