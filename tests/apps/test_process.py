"""The command as a process: help, pipes, signals, terminals."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

import rasteret_sql as rs
from rasteret_sql import __version__
from rasteret_sql.apps.main import main
from tests.support import warm

COMMAND = [sys.executable, "-m", "rasteret_sql"]


def in_terminal(*arguments, **environment):
    """Run in a pseudo-terminal; gives exit code and everything that was shown."""
    return _in_terminal(_started, arguments, environment)


def in_warm_terminal(*arguments, **environment):
    """Do the same in a process that starts warm."""
    return _in_terminal(_forked, arguments, environment)


def _started(arguments, child, environment):
    return subprocess.Popen([*COMMAND, *arguments], stdin=child, stdout=child, stderr=child, env=environment)


def _forked(arguments, child, environment):
    return warm.start("-m", "rasteret_sql", *arguments, stdin=child, stdout=child, stderr=child, env=environment)


def _in_terminal(start, arguments, environment):
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (40, 100))
    process = start(list(map(str, arguments)), child, {**os.environ, "TERM": "xterm", **environment})
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # the child closed its side
            break
        if not part:
            break
        shown += part
    os.close(parent)
    return process.wait(warm.PATIENCE_S), shown.decode()


@pytest.mark.parametrize("command", ["build", "refresh", "validate", "info", "sql", "explain", "demo"])
def test_every_command_has_help_with_examples(capsys, command):
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert f"rasteret-sql {command} " in shown


def test_no_command_is_wrong_usage(capsys):
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from rasteret_sql.apps.main import main; main(['--help']); "
        "print([m for m in ('duckdb', 'pyarrow', 'numpy', 'tqdm', 'aiohttp') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_the_module_runs_as_the_command_does():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"rasteret-sql {__version__}\n"


def test_versions_are_those_of_python_line_by_line():
    done = subprocess.run([*COMMAND, "--versions"], capture_output=True, text=True, check=True)
    assert dict(line.split(maxsplit=1) for line in done.stdout.splitlines()) == rs.versions()


@pytest.mark.parametrize("chosen", ["csv", "json", "arrow"])
def test_a_reader_that_goes_away_is_no_error(chosen):
    command = [*COMMAND, "sql", "SELECT range, repeat('x', 100) FROM range(1000000)", "--format", chosen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_ctrl_c_ends_quietly_with_130():
    # The first bytes are here, so the signal comes while the query runs.
    sql = "SELECT range, repeat('x', 100) FROM range(100000000000)"
    with subprocess.Popen(
        [*COMMAND, "sql", sql, "--format", "csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.stderr.read() == b""
    assert process.returncode == 130


@pytest.mark.parametrize("chosen", ["arrow", "parquet"])
def test_binary_formats_are_refused_on_a_terminal(chosen):
    code, shown = in_terminal("sql", "SELECT 1", "--format", chosen)
    assert code == 2
    assert "is binary" in shown


def test_colour_is_for_terminals_that_want_it(index):
    assert "\x1b[" in in_terminal("info", index)[1]
    assert "\x1b[" not in in_terminal("info", index, NO_COLOR="1")[1]
    assert "\x1b[" not in in_terminal("info", index, TERM="dumb")[1]


def test_build_shows_a_bar_on_a_terminal_only(collection, tmp_path):
    code, shown = in_terminal("build", collection.document, "-o", tmp_path / "i.parquet")
    assert code == 0
    assert "headers" in shown
