"""What all commands print with: emphasis where a terminal wants it, tables, sizes, and messages of errors."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from rasteret_sql.database.select_text import plain_message
from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.io.disk import writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Width of tables where there is no terminal to ask.
DEFAULT_COLUMNS = 120
#: The name of the command.
PROGRAM = "rasteret-sql"
#: The remedy of messages that miss an index.
_BUILD = re.compile(r"rasteret_sql\.build_index\(source, (?P<quote>['\"])(?P<index>.*?)(?P=quote)\)")


def program() -> str:
    """Give the command `rasteret-sql` as it can be typed here: by its name, or by its path where PATH lacks it."""
    started = Path(sys.argv[0])
    if started.name != PROGRAM:
        started = Path(sys.executable).with_name(PROGRAM)
    found = shutil.which(PROGRAM)
    if not started.exists() or (found is not None and started.samefile(found)):
        return PROGRAM
    return shlex.quote(str(started))


@dataclass(frozen=True, slots=True)
class Style:
    """Emphasis by ANSI codes; plain text where they are not wanted.

    Attributes:
        enabled: whether codes are written.
    """

    enabled: bool

    @classmethod
    def of(cls, stream: TextIO) -> Style:
        """Choose for a stream: a terminal that is not dumb, and no NO_COLOR in the environment."""
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(wanted and stream.isatty())

    def bold(self, text: str) -> str:
        """Headings and totals."""
        return self._coded("1", text)

    def dim(self, text: str) -> str:
        """What may be skipped."""
        return self._coded("2", text)

    def accent(self, text: str) -> str:
        """What may be typed: SQL and commands."""
        return self._coded("36", text)

    def error(self, text: str) -> str:
        """The word before an error."""
        return self._coded("1;31", text)

    def _coded(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.enabled else text


def columns_of_terminal() -> int:
    """Give the width that tables may take."""
    return shutil.get_terminal_size((DEFAULT_COLUMNS, 24)).columns


def note(message: str) -> None:
    """Say something that is no part of the result, on stderr."""
    sys.stdout.flush()
    print(message, file=sys.stderr)


def fail(message: str) -> None:
    """Say on stderr why the command ends."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    print(f"{Style.of(sys.stderr).error('rasteret-sql:')} {_as_commands(message)}", file=sys.stderr)


def _as_commands(message: str) -> str:
    """Spell what a message tells to call in Python as a command."""
    message = message.replace("rasteret_sql.build_index or `rasteret-sql build`", "`rasteret-sql build`")
    return _BUILD.sub(lambda call: f"`rasteret-sql build SOURCE -o {shlex.quote(call['index'])}`", message)


def error_message(error: Exception) -> str | None:
    """Give the message for an error that a user can act upon; None for what must be a defect of ours."""
    if isinstance(error, RasteretError):
        return str(error)
    library = type(error).__module__.lstrip("_").partition(".")[0]
    if library == "duckdb":
        return plain_message(str(error))
    if library == "pyarrow":
        return f"the result cannot be written in this format: {error}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def aligned(facts: Mapping[str, str | Sequence[str]], style: Style, *, indent: str = "") -> str:
    """Lay out names and values in two columns; a sequence of values takes a line each."""
    width = max(map(len, facts), default=0) + 2
    lines = []
    for name, value in facts.items():
        values = [value] if isinstance(value, str) else list(value)
        for number, line in enumerate(values):
            head = f"{name if number == 0 else '':<{width}}"
            lines.append(f"{indent}{style.dim(head)}{line}")
    return "\n".join(lines)


def listed(values: Sequence[str], *, width: int, empty: str = "none") -> list[str]:
    """Join words with commas into lines of at most `width` characters."""
    if not values:
        return [empty]
    lines = [""]
    for number, value in enumerate(values):
        word = value + ("," if number < len(values) - 1 else "")
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


@contextlib.contextmanager
def written_aside(path: Path, option: str = "-o") -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name once it is complete, or not at all.

    Args:
        path: its name.
        option: what the user gave it to; for messages.

    Raises:
        InvalidArgumentError: there is no such folder, or the path is one.
        RasteretError: the disk is full.
    """
    path = path.expanduser()
    if path.is_dir():
        raise InvalidArgumentError(f"{option}: got the directory {path}, expected a file")
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"{option}: the folder {path.parent} does not exist; make it first")
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            with aside.open("wb") as file:
                yield file
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
