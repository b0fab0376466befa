"""The prompt: history, several lines, colours and completion by prompt_toolkit, and Ctrl-C that keeps the session."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.console import Style, error_message, note
from rasteret_sql.apps.shell.commands import COMMANDS, run_unit
from rasteret_sql.apps.shell.session import show_error
from rasteret_sql.apps.shell.statements import is_complete, units
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.lexers import Lexer

    from rasteret_sql.apps.shell.session import Session

_PROMPT = "sql> "
#: Where the history lies; an empty value keeps none.
HISTORY_VARIABLE = "RASTERET_SQL_HISTORY"
#: Commands that are also understood without their dot.
_PLAIN_WORDS = frozenset({"exit", "help", "quit"})
#: Of what a completion is; the terminal cuts it further.
_ABOUT_CHARACTERS = 90
#: Terminals have light and dark backgrounds: only colours that are read on both, or that bring their own.
_COLORS = {
    "pygments.keyword": "ansiblue bold",
    "pygments.name.builtin": "ansiblue",
    "pygments.name.function": "ansicyan",
    "pygments.literal.string": "ansigreen",
    "pygments.literal.number": "ansimagenta",
    "pygments.comment": "ansibrightblack italic",
    "prompt": "bold",
    "command": "ansicyan",
    "continuation": "ansibrightblack",
    "completion-menu.completion": "bg:#303030 fg:#dadada",
    "completion-menu.completion.current": "bg:#005f87 fg:#ffffff bold noreverse",
    "completion-menu.meta.completion": "bg:#262626 fg:#a8a8a8",
    "completion-menu.meta.completion.current": "bg:#004460 fg:#dadada noreverse",
    "auto-suggestion": "ansibrightblack",
}


def check_installed() -> None:
    """Refuse to prompt without the libraries of the prompt.

    Raises:
        InvalidArgumentError: they are not installed.
    """
    for name in ("prompt_toolkit", "pygments"):
        try:
            __import__(name)
        except ImportError as error:
            raise InvalidArgumentError(
                f"shell: the prompt requires {name}: pip install 'rasteret-sql[shell]'; or "
                "give statements with -c, -f or on stdin"
            ) from error


def run(session: Session) -> None:
    """Prompt until `.quit` or Ctrl-D."""
    from rasteret_sql import __version__
    from rasteret_sql.apps.shell.catalog import Catalog

    catalog = Catalog(session)
    prompt = _prompt_session(catalog)
    # Not before the prompt is there: it would be drawn later.
    prompt.app.after_render += lambda _: session.begin()
    note(
        Style.of(sys.stderr).dim(
            f"rasteret_sql {__version__}. Statements end with ;  .help lists commands, Ctrl-D quits."
        )
    )
    try:
        while not session.is_ended:
            try:
                text = prompt.prompt()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            run_typed(session, text)
            catalog.forget()
    finally:
        catalog.close()


def run_typed(session: Session, text: str) -> None:
    """Run the typed text. Errors are printed, and the session continues."""
    try:
        for unit in units(_as_command(text)):
            run_unit(session, unit)
            if session.is_ended:
                return
    except KeyboardInterrupt:
        show_error("interrupted")
    except Exception as error:  # noqa: BLE001 - the session outlives every error
        message = error_message(error)
        show_error(message if message is not None else f"{type(error).__name__}: {error}")


def _as_command(text: str) -> str:
    """Translate commands of other shells."""
    word = text.strip().rstrip(";").lower()
    return f".{word}" if word in _PLAIN_WORDS else text


def history_path() -> Path | None:
    """Give the path of the history, or None for no history."""
    given = os.environ.get(HISTORY_VARIABLE)
    if given is not None:
        return Path(given).expanduser() if given else None
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "rasteret-sql" / "history"


def _history() -> History:
    """Open the history. If its file cannot be written, it lasts for the session only."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    path = history_path()
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Statements may name what is nobody else's business.
        path.touch(mode=0o600)
        with path.open("a"):
            pass
    except OSError as error:
        note(f"history: {path}: {error.strerror}; statements of this session are not kept. Set {HISTORY_VARIABLE}.")
        return InMemoryHistory()
    return FileHistory(str(path))


def _prompt_session(catalog: Any) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.completion import ThreadedCompleter
    from prompt_toolkit.output import ColorDepth, create_output
    from prompt_toolkit.styles import Style as PromptStyle

    output = create_output(always_prefer_tty=True)
    is_plain = not Style.of(sys.stdout if sys.stdout.isatty() else sys.stderr).enabled
    return PromptSession(
        [("class:prompt", _PROMPT)],
        multiline=True,
        prompt_continuation=lambda width, _number, _wrapped: [("class:continuation", "... ".rjust(width))],
        history=_history(),
        auto_suggest=AutoSuggestFromHistory(),
        completer=ThreadedCompleter(_completer(catalog)),
        complete_while_typing=True,
        lexer=_lexer(),
        key_bindings=_key_bindings(),
        style=PromptStyle.from_dict(_COLORS),
        color_depth=ColorDepth.DEPTH_1_BIT if is_plain else None,
        output=output,
        enable_open_in_editor=True,
        reserve_space_for_menu=8,
    )


def _completer(catalog: Any) -> Completer:
    from prompt_toolkit.completion import Completer, Completion

    from rasteret_sql.apps.shell.completion import suggest

    commands = [(name, command.help) for name, command in COMMANDS.items()]

    class _Completer(Completer):
        """Gives suggestions for the cursor. Errors of look-ups are not shown."""

        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
            with contextlib.suppress(Exception):
                for found in suggest(
                    document.text,
                    document.cursor_position,
                    catalog,
                    commands,
                    is_asked=complete_event.completion_requested,
                ):
                    about = found.about.partition(". ")[0]
                    yield Completion(
                        found.text, found.start - document.cursor_position, display_meta=about[:_ABOUT_CHARACTERS]
                    )

    return _Completer()


def _lexer() -> Lexer:
    from prompt_toolkit.application.current import get_app
    from prompt_toolkit.lexers import DynamicLexer, PygmentsLexer, SimpleLexer
    from pygments.lexers.sql import PostgresLexer

    sql, command = PygmentsLexer(PostgresLexer), SimpleLexer("class:command")

    def fitting() -> Lexer:
        return command if get_app().current_buffer.text.lstrip().startswith(".") else sql

    return DynamicLexer(fitting)


def _key_bindings() -> KeyBindings:
    from prompt_toolkit.application.current import get_app
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @Condition
    def chooses() -> bool:
        state = get_app().current_buffer.complete_state
        return state is not None and state.current_completion is not None

    @bindings.add("enter", filter=~chooses)
    def enter(event: KeyPressEvent) -> None:
        """Run a complete statement, or begin the next line."""
        buffer = event.current_buffer
        if is_complete(_as_command(buffer.text)):
            buffer.validate_and_handle()
        else:
            buffer.newline(copy_margin=True)

    @bindings.add("enter", filter=chooses)
    def take(event: KeyPressEvent) -> None:
        """Insert the chosen completion."""
        event.current_buffer.complete_state = None

    @bindings.add("escape", "enter")
    def break_line(event: KeyPressEvent) -> None:
        """Begin a line at the cursor."""
        event.current_buffer.insert_text("\n")

    return bindings
