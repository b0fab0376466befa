"""The prompt in a pseudo-terminal: typing, completion, Ctrl-C, Ctrl-D, history, the bar."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import pytest

from rasteret_sql.sql.indexes import build_index
from rasteret_sql.testing import write_collection
from rasteret_sql.testing.server import RangeServer

pytest.importorskip("prompt_toolkit", reason="the prompt needs prompt_toolkit")
pytest.importorskip("pygments", reason="the prompt needs pygments")

#: Ctrl-C reaches those whose controlling terminal it is pressed in.
START = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from rasteret_sql.apps.main import main; sys.exit(main(['shell', *sys.argv[1:]]))"
)
COMMAND = [sys.executable, "-c", START]
#: When it is given up that something will be shown, to say what was shown instead.
PATIENCE_S = 600.0
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Terminal:
    """A shell in a pseudo-terminal, and what it shows."""

    def __init__(self, *arguments, cwd, columns=110, **environment):
        self._parent, child = pty.openpty()
        termios.tcsetwinsize(child, (40, columns))
        kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], stdin=child, stdout=child, stderr=child, cwd=cwd, start_new_session=True,
            env={
                **kept, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(cwd), **environment,
            },
        )  # fmt: skip
        os.close(child)
        self.raw = ""
        self._seen = 0

    @property
    def shown(self):
        return CODES.sub("", self.raw)

    def send(self, text):
        os.write(self._parent, text.encode())

    def line(self, text):
        self.send(f"{text}\r")

    def wait_for(self, words):
        """Wait until something new is shown; gives what was shown up to its end."""
        until = time.monotonic() + PATIENCE_S
        while words not in self.shown[self._seen :]:
            left = until - time.monotonic()
            assert left > 0, f"{words!r} was never shown:\n{self.shown[self._seen :]}"
            assert self._receive(left), f"the shell ended before it showed {words!r}:\n{self.shown[self._seen :]}"
        start = self._seen
        self._seen = self.shown.index(words, start) + len(words)
        return self.shown[start : self._seen]

    def ask(self, text):
        """Run a statement; gives what is shown up to the next prompt."""
        self.line(text)
        # The prompt is drawn again and again while one types; what was run is the last of it.
        self.wait_for(f"sql> {text}"[-20:])
        return self.wait_for("sql>")

    def end(self):
        """Wait for the process to end; gives the exit code."""
        until = time.monotonic() + PATIENCE_S
        while self._receive(until - time.monotonic()):
            pass
        return self.process.wait(PATIENCE_S)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        os.close(self._parent)

    def _receive(self, patience):
        if not select.select([self._parent], [], [], max(patience, 0))[0]:
            return False
        try:
            data = os.read(self._parent, 65536)
        except OSError:  # the child closed its side
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def shell(tmp_path):
    """Start shells; each is waited for until it prompts."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **options):
            terminal = Terminal(*arguments, cwd=tmp_path, **options)
            stack.callback(terminal.close)
            terminal.wait_for("sql>")
            return terminal

        yield start


def test_a_statement_shows_a_table_and_ctrl_d_ends_cleanly(shell):
    terminal = shell()
    terminal.line("SELECT 41 + 1 AS answer;")
    assert "│     42 │" in terminal.wait_for("└────────┘")
    terminal.wait_for("sql>")
    terminal.send("\x04")
    assert terminal.end() == 0
    assert "leaked" not in terminal.shown
    assert "Traceback" not in terminal.shown


def test_enter_goes_on_until_the_semicolon(shell):
    terminal = shell()
    terminal.line("SELECT 'a;")
    terminal.wait_for("...")
    terminal.line("b' AS text,")
    terminal.line("40 + 2 AS n;")
    assert "42" in terminal.wait_for("└")


@pytest.mark.parametrize("command", [".quit", ".exit;", ".q", "quit", "exit;"])
def test_quit_ends(shell, command):
    terminal = shell()
    terminal.line(command)
    assert terminal.end() == 0


def test_an_error_is_our_message_and_the_session_goes_on(shell, index):
    terminal = shell()
    terminal.line(f"FROM read_tiles('{index}', bands := ['redd']);")
    shown = terminal.wait_for("sql>")
    shown += terminal.wait_for("expected one of")
    assert "Error: bands: got 'redd', expected one of" in shown
    assert "Invalid Input" not in shown
    terminal.line("SELECT 6 * 7 AS n;")
    terminal.wait_for("42")


def test_ctrl_c_at_the_prompt_clears_the_line(shell):
    terminal = shell()
    terminal.send("SELECT nonsense")
    terminal.wait_for("nonsense")
    terminal.send("\x03")
    terminal.wait_for("sql>")
    terminal.line("SELECT 6 * 7 AS n;")
    assert "Error" not in terminal.wait_for("│    42 │")


def test_ctrl_c_stops_a_query_and_keeps_the_session(shell):
    terminal = shell()
    terminal.line("CREATE TEMP TABLE kept AS SELECT 42 AS n;")
    terminal.line("SELECT 'begun' AS a; SELECT count(*) FROM range(1000000000000) t(a) WHERE a % 7 = 3;")
    terminal.wait_for("│ begun")
    terminal.send("\x03")
    terminal.wait_for("Error: interrupted")
    terminal.line("FROM kept;")
    terminal.wait_for("│    42 │")


def test_ctrl_c_stops_a_read_that_waits_for_its_server_and_the_bar_says_how_far_it_is(shell, tmp_path):
    write_collection(tmp_path / "far", items=2, size=256, tile=128)
    with RangeServer(tmp_path / "far", runs_in="process") as near:
        index = tmp_path / "far.parquet"
        build_index(str(tmp_path / "far" / "catalog.json"), index, href_map={f"{tmp_path}/far/": near.url("")})
        # Every further answer comes after hours: nobody waits for that.
        terminal = shell()
        port = near.url("").rsplit(":", 1)[1]
    with RangeServer(tmp_path / "far", latency_s=36_000, runs_in="process") as far:
        slow = str(tmp_path / "slow.parquet")
        terminal.line(
            f"COPY (SELECT * REPLACE (replace(mirror, ':{port}', ':{far.url('').rsplit(':', 1)[1]}') AS mirror) "
            f"FROM '{index}') TO '{slow}'; SELECT 'copied' AS a;"
        )
        terminal.wait_for("│ copied")
        terminal.line("SELECT sum(octet_length(pixels)) FROM read_tiles('slow.parquet', bands := ['red']);")
        terminal.wait_for("0/8 tiles")
        terminal.send("\x03")
        terminal.wait_for("Error: interrupted")
        terminal.line("SELECT 6 * 7 AS n;")
        terminal.wait_for("│    42 │")
        terminal.wait_for("sql>")
        terminal.send("\x04")
        assert terminal.end() == 0


def test_tab_completes_functions_and_bands(shell, tmp_path, index):
    (tmp_path / "s2.parquet").write_bytes(index.read_bytes())
    terminal = shell()
    # What is known is known once the connection is open.
    terminal.line("SELECT 'open' AS a;")
    terminal.wait_for("│ open")
    terminal.send("SELECT count(*) AS tiles FROM read_t")
    terminal.wait_for("The tiles that touch an area")
    terminal.send("\t\r's2")
    terminal.wait_for("file")
    terminal.send("\t\r, bands := ['re")
    terminal.wait_for("red'")
    terminal.send("\t\r]);")
    terminal.wait_for("]);")
    terminal.send("\r")
    assert "│     8 │" in terminal.wait_for("└───────┘")


def test_history_is_kept_for_the_next_session(shell, tmp_path):
    path = tmp_path / "deep" / "history"
    first = shell(RASTERET_SQL_HISTORY=str(path))
    first.line("SELECT 'remembered' AS a;")
    first.wait_for("│ remembered")
    first.wait_for("sql>")
    first.send("\x04")
    assert first.end() == 0
    assert path.stat().st_mode & 0o077 == 0
    second = shell(RASTERET_SQL_HISTORY=str(path))
    second.send("\x1b[A")
    second.wait_for("remembered")


def test_a_history_that_cannot_be_written_is_said_and_no_hindrance(shell, tmp_path):
    (tmp_path / "file").touch()
    terminal = shell(RASTERET_SQL_HISTORY=str(tmp_path / "file" / "history"))
    assert "history" in terminal.shown
    terminal.line("SELECT 6 * 7 AS n;")
    terminal.wait_for("42")


def test_no_color_is_honoured(shell):
    terminal = shell(NO_COLOR="1")
    terminal.line("SELECT nope;")
    terminal.wait_for("Binder Error")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.raw)


def test_errors_have_colour_where_it_is_wanted(shell):
    terminal = shell()
    terminal.line("SELECT nope;")
    terminal.wait_for("Binder Error")
    assert "\x1b[1;31mBinder Error:" in terminal.raw


def test_the_timer_and_the_mode_are_those_of_the_session(shell):
    terminal = shell()
    terminal.line(".timer on")
    terminal.line(".mode csv")
    terminal.line("SELECT 42 AS n, 'x' AS t;")
    terminal.wait_for("n,t\r\n42,x")
    terminal.wait_for("Run Time (s): real")


def test_open_says_what_it_cannot_open_and_the_session_goes_on(shell, tmp_path):
    terminal = shell()
    terminal.line(f".open -readonly {tmp_path}/absent.duckdb")
    terminal.wait_for("A database in memory is open instead.")
    terminal.line("SELECT 6 * 7 AS n;")
    terminal.wait_for("│    42 │")
    terminal.line(f".open {tmp_path}/new.duckdb")
    terminal.line("CREATE TABLE t AS SELECT 43 AS n;")
    terminal.line(f".open {tmp_path}/new.duckdb")
    terminal.line("FROM t;")
    terminal.wait_for("│    43 │")


def test_without_prompt_toolkit_the_error_says_what_to_install(tmp_path):
    blocked = tmp_path / "prompt_toolkit.py"
    blocked.write_text("raise ImportError('not here')")
    terminal = Terminal(cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    try:
        code = terminal.end()
        assert code == 1
        assert "pip install 'rasteret-sql[shell]'" in terminal.shown.replace("\r\n", " ")
        assert "Traceback" not in terminal.shown
    finally:
        terminal.close()


def test_a_signal_to_end_ends_it(shell):
    terminal = shell()
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() != 0
