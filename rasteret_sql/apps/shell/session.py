"""A session of the shell: a connection, the format of results, and the statements that run."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast, get_args

from rasteret_sql.apps.console import Style, note, written_aside
from rasteret_sql.apps.output import BINARY_FORMATS, SUFFIXES, WRITERS, Format, drawn, forget_views
from rasteret_sql.apps.read_bar import read_bar, stdout_after
from rasteret_sql.apps.sql import SHOWN_ROWS, last_result, say_why_empty, statements_of
from rasteret_sql.database.select_text import plain_message
from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.wording import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    from rasteret_sql.read.progress import ReadBar

T = TypeVar("T")

#: Other names of formats, as the `duckdb` command has them.
_ALIASES: dict[str, Format] = {"box": "table", "duckbox": "table", "lines": "line"}
#: How often it is looked whether Ctrl-C was pressed. A statement that goes on is then interrupted again: only now may
#: it have come to what can be interrupted.
_LOOK_EVERY_S = 0.05
#: DuckDB says below a table of so many rows how many there are, if the table is wide enough for that.
_COUNTED_ROWS = 10
#: Rows that a table of ours shows.
_ALL_ROWS = 10_000


class Session:
    """A connection, and the format of its results. Statements run in a thread, so that Ctrl-C reaches the session.

    The prompt appears at once. From `begin` on, a thread makes the functions, since their imports take longer than a
    user needs for the first line.

    Args:
        database: path of a DuckDB database, or ":memory:".
        read_only: open it for reading only.
        mode: format of results.
        is_interactive: whether a user sits at a prompt. Tables then show the number of rows.

    Attributes:
        mode: format of results.
        shows_time: whether each statement is timed.
        max_rows: rows that a table shows.
        is_ended: whether `.quit` has run.
        nesting: depth of nested `.read`.
        idle: a lock, held while a statement or a look-up runs on the connection.
    """

    def __init__(
        self,
        database: str = ":memory:",
        *,
        read_only: bool = False,
        mode: Format = "table",
        is_interactive: bool = False,
    ) -> None:
        self.mode = mode
        self.is_interactive = is_interactive
        self.shows_time = False
        self.max_rows = SHOWN_ROWS
        self.is_ended = False
        self.nesting = 0
        self.idle = threading.Lock()
        self._output = _Output()
        self._opening = _Opening(database, read_only=read_only)

    def begin(self) -> None:
        """Begin to make the functions, without waiting for them."""
        self._opening.begin()

    def open(self, database: str = ":memory:", *, read_only: bool = False) -> None:
        """Close this database and open another.

        Raises:
            RasteretError: it cannot be opened; one in memory is open instead.
        """
        import duckdb

        with self.idle:
            # First of all, since it may be the same file.
            self._opening.close()
            try:
                self._opening = _Opening(database, read_only=read_only)
            except duckdb.Error as error:
                self._opening = _Opening(":memory:", read_only=False)
                raise RasteretError(f"{plain_message(str(error))}. A database in memory is open instead.") from error

    @property
    def is_ready(self) -> bool:
        """Whether the functions are there."""
        return self._opening.is_done

    @property
    def con(self) -> duckdb.DuckDBPyConnection:
        """The connection, as soon as the functions are there."""
        return self._opening.result()

    def close(self, failure: BaseException | None = None) -> None:
        """Finish the output file, or drop it after an error, and close the connection."""
        try:
            self._output.close(failure)
        finally:
            self._opening.close()

    def run(self, text: str) -> None:
        """Run the statements of a text in order, and show the result of each.

        Raises:
            KeyboardInterrupt: Ctrl-C; the statement that ran has ended.
        """
        with self._timed():
            self.attend(lambda: self._run(text))

    def show(self, query: str, mode: Format | None = None) -> None:
        """Show the result of a query of the shell itself, in the format of the session."""
        with self._timed():
            self.attend(lambda: self._show_text(query, mode))

    def write(self, text: str) -> None:
        """Write text where results go."""
        with self._sink(None) as sink:
            sink.write(text.encode())

    def attend(self, work: Callable[[], T]) -> T:
        """Run a function in a thread, and stop it on Ctrl-C.

        Raises:
            KeyboardInterrupt: Ctrl-C; the work has ended.
        """
        self._opening.result()
        is_said = False
        with _interrupts() as times_pressed:
            future = _in_thread(lambda: self._alone(work))
            while not future.done():
                if times_pressed():
                    self._interrupt()
                if times_pressed() > 1 and not is_said:
                    is_said = True
                    note("It stops as soon as it can; Ctrl-\\ ends the session at once.")
                with contextlib.suppress(TimeoutError):
                    future.exception(_LOOK_EVERY_S)
            if times_pressed():
                raise KeyboardInterrupt
        return future.result()

    def direct(self, path: str | None) -> None:
        """Send results to a file, which appears when it is complete, or with None to stdout.

        Raises:
            InvalidArgumentError: there is no such folder.
        """
        self._output.close()
        if path is not None:
            self._output.open(Path(path), self.mode)

    def set_mode(self, name: str) -> None:
        """Choose the format of results.

        Raises:
            InvalidArgumentError: there is none of this name.
        """
        self.mode = format_of(name)

    def _interrupt(self) -> None:
        from rasteret_sql.sql.connection import interrupt

        interrupt(self.con)

    def _alone(self, work: Callable[[], T]) -> T:
        with self.idle:
            return work()

    def _run(self, text: str) -> None:
        for statement in statements_of(self.con, text):
            with read_bar() as bar:
                result = last_result(self.con, statement)
                if result is not None:
                    self._show(result, bar, None, self.max_rows, statement.query)

    def _show_text(self, query: str, mode: Format | None) -> None:
        with read_bar() as bar:
            self._show(self.con.sql(query), bar, mode, _ALL_ROWS)

    def _show(
        self,
        result: duckdb.DuckDBPyRelation,
        bar: ReadBar | None,
        mode: Format | None,
        max_rows: int,
        text: str = "",
    ) -> None:
        try:
            self._write_result(result, bar, self._output.mode or mode or self.mode, max_rows, text)
        finally:
            forget_views(self.con)

    def _write_result(
        self, result: duckdb.DuckDBPyRelation, bar: ReadBar | None, chosen: Format, max_rows: int, text: str
    ) -> None:
        if chosen in BINARY_FORMATS:
            self._output.check_binary(chosen)
        if chosen == "table":
            table = drawn(self.con, result, max_rows=max_rows)
            with self._sink(bar) as sink:
                sink.write(table.text.encode())
            if bar is not None:
                bar.close()
            say_why_empty(self.con, table, text)
            if table.is_cut:
                note(f"There are more than {max_rows} rows: .maxrows N shows more, .mode csv or .output FILE all.")
            elif self.is_interactive and table.rows >= _COUNTED_ROWS and table.text.endswith("┘\n"):
                note(Style.of(sys.stderr).dim(count(table.rows, "row")))
            return
        with self._sink(bar) as sink:
            WRITERS[chosen](result, sink)

    @contextlib.contextmanager
    def _sink(self, bar: ReadBar | None) -> Iterator[BinaryIO]:
        """Give what a result is written to."""
        if self._output.file is not None:
            yield self._output.file
            return
        sys.stdout.flush()
        yield stdout_after(bar)
        sys.stdout.buffer.flush()

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Format a duration as the `duckdb` command does."""
        wanted = self.shows_time
        started, before = time.perf_counter(), os.times()
        try:
            yield
        finally:
            if wanted:
                after = os.times()
                note(
                    f"Run Time (s): real {time.perf_counter() - started:.3f} "
                    f"user {after.user - before.user:.3f} sys {after.system - before.system:.3f}"
                )


class _Output:
    """The file that receives results in place of stdout."""

    def __init__(self) -> None:
        self.file: BinaryIO | None = None
        self.mode: Format | None = None
        self._path = Path()
        self._closing = contextlib.ExitStack()
        self._is_written = False

    def open(self, path: Path, mode: Format) -> None:
        """Begin a file. Its suffix decides the format, or else the session does."""
        self.file = self._closing.enter_context(written_aside(path, ".output"))
        self.mode = SUFFIXES.get(path.suffix.lower(), mode)
        self._path = path
        self._is_written = False

    def check_binary(self, mode: Format) -> None:
        """Refuse a second result in a file of one result, and binary formats in a terminal."""
        if self.file is None and sys.stdout.isatty():
            raise InvalidArgumentError(f".mode: {mode} is binary, expected a file for it; name one with .output FILE")
        if self._is_written:
            raise InvalidArgumentError(
                f".output: {self._path} has a result already, and {mode} holds one; begin another with .output FILE"
            )
        self._is_written = self.file is not None

    def close(self, failure: BaseException | None = None) -> None:
        """Rename the file to its name, or drop it after an error."""
        self.file = self.mode = None
        self._closing.__exit__(None if failure is None else type(failure), failure, None)


def format_of(name: str) -> Format:
    """Give the format with a name.

    Raises:
        InvalidArgumentError: there is none of this name.
    """
    known = get_args(Format)
    chosen = _ALIASES.get(name, name)
    if chosen not in known:
        raise InvalidArgumentError(f".mode: got {name!r}, expected one of {', '.join(known)}")
    return cast("Format", chosen)


def show_error(message: str) -> None:
    """Print an error at the prompt. Messages of DuckDB name their kind already."""
    style = Style.of(sys.stderr)
    kind, sign, rest = message.partition(": ")
    if sign and kind.endswith(" Error") and kind.replace(" ", "").isalpha():
        note(f"{style.error(f'{kind}:')} {rest}")
    else:
        note(f"{style.error('Error:')} {message}")


class _Opening:
    """A connection whose file is open, while a thread still makes the functions.

    Raises:
        duckdb.Error: the file cannot be opened.
    """

    def __init__(self, database: str, *, read_only: bool) -> None:
        self._file: duckdb.DuckDBPyConnection | None = None
        self._future: Future[duckdb.DuckDBPyConnection] | None = None
        if database != ":memory:":
            import duckdb

            self._file = duckdb.connect(str(Path(database).expanduser()), read_only=read_only)

    @property
    def is_done(self) -> bool:
        return self._future is not None and self._future.done() and self._future.exception() is None

    def begin(self) -> None:
        if self._future is None:
            self._future = _in_thread(self._opened)

    def result(self) -> duckdb.DuckDBPyConnection:
        self.begin()
        assert self._future is not None
        return self._future.result()

    def close(self) -> None:
        """Close it, and wait for the thread: an import at the end of the interpreter would crash it."""
        if self._future is not None and self._future.exception() is None:
            self._future.result().close()
        elif self._file is not None:
            self._file.close()

    def _opened(self) -> duckdb.DuckDBPyConnection:
        from rasteret_sql.sql.connection import connect, install

        con = connect() if self._file is None else install(self._file)
        con.execute("SET TimeZone = 'UTC'")
        # DuckDB's bar would be drawn over ours.
        con.execute("SET enable_progress_bar = false")
        return con


@contextlib.contextmanager
def _interrupts() -> Iterator[Callable[[], int]]:
    """Count Ctrl-C while the block lasts, in place of raising KeyboardInterrupt anywhere in the main thread."""
    pressed = 0

    def note_it(_number: int, _frame: object) -> None:
        nonlocal pressed
        pressed += 1

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = signal.signal(signal.SIGINT, note_it)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _in_thread(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the future raises it
            future.set_exception(error)

    # A daemon, so that what cannot be stopped does not keep the process.
    threading.Thread(target=run, name="rasteret-shell", daemon=True).start()
    return future
