"""The bar: when it is drawn, what it says, and that nothing of it is left."""

from __future__ import annotations

import io
import threading

import pytest

from rasteret_sql.apps import read_bar as module
from rasteret_sql.apps.read_bar import read_bar, stdout_after
from rasteret_sql.bars import Bar
from rasteret_sql.read.progress import ReadBar, ReadProgress

HALF = ReadProgress(240, 480, 20_000_000, 40_000_000)


class Terminal(io.StringIO):
    def __init__(self):
        super().__init__()
        self.drawn = threading.Event()

    def isatty(self):
        return True

    def write(self, text):
        if "tiles" in text:
            self.drawn.set()
        return super().write(text)


def test_the_line_says_tiles_sizes_speed_and_the_time_that_is_left():
    terminal = Terminal()
    with read_bar(terminal, delay_s=0) as bar:
        bar.report(HALF)
        terminal.drawn.wait()
    line = next(line for line in terminal.getvalue().split("\r") if "tiles" in line)
    assert "50%" in line
    assert "19.1M/38.1M" in line
    assert "240/480 tiles" in line
    assert "B/s" in line
    assert "<" in line  # elapsed<left


def test_it_is_drawn_while_the_first_answer_is_waited_for():
    terminal = Terminal()
    with read_bar(terminal, delay_s=0) as bar:
        bar.report(ReadProgress(0, 480, 0, 40_000_000))
        terminal.drawn.wait()
    assert "0/480 tiles" in terminal.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_line_is_never_wider_than_the_terminal(width):
    terminal = Terminal()
    bar = Bar("read", unit="B", unit_scale=True, file=terminal)
    bar._bar.dynamic_ncols = lambda _: (width, None)
    bar.show(20_000_000, 40_000_000, "240/480 tiles")
    bar.close()
    assert all(len(line) <= width for line in terminal.getvalue().replace("\n", "\r").split("\r"))


def test_a_short_read_shows_nothing():
    terminal = Terminal()
    with read_bar(terminal, delay_s=3600) as bar:
        bar.report(HALF)
    assert terminal.getvalue() == ""


def test_its_line_is_cleared_at_the_end_and_nothing_follows():
    terminal = Terminal()
    with read_bar(terminal, delay_s=0) as bar:
        bar.report(HALF)
        terminal.drawn.wait()
    drawn = terminal.getvalue()
    assert "\n" not in drawn
    assert drawn.split("\r")[-2].strip() == ""
    bar.report(HALF)
    bar.close()
    assert terminal.getvalue() == drawn


def test_a_terminal_that_went_away_does_not_stop_the_read():
    terminal = Terminal()
    with read_bar(terminal, delay_s=0) as bar:
        bar.report(HALF)
        terminal.close()


def test_the_bar_is_cleared_before_a_result_is_written_to_the_terminal(monkeypatch):
    terminal, written = Terminal(), []

    class Stdout:
        class buffer:  # noqa: N801
            @staticmethod
            def write(data):
                written.append((data, terminal.getvalue().split("\r")[-2].strip()))
                return len(data)

        @staticmethod
        def isatty():
            return True

    monkeypatch.setattr(module.sys, "stdout", Stdout)
    with read_bar(terminal, delay_s=0) as bar:
        bar.report(HALF)
        terminal.drawn.wait()
        stdout_after(bar).write(b"rows")
    assert written == [(b"rows", "")]


def test_a_read_that_failed_is_left_incomplete():
    terminal = Terminal()
    bar = ReadBar(file=terminal)
    bar.report(HALF)
    bar.close(is_complete=False)
    assert "50%" in terminal.getvalue()
    assert "100%" not in terminal.getvalue()


def test_there_is_a_bar_on_terminals_that_can_clear_a_line_only(monkeypatch):
    with read_bar(io.StringIO()) as bar:
        assert bar is None
    with read_bar(Terminal()) as bar:
        assert bar is not None
    monkeypatch.setenv("TERM", "dumb")
    with read_bar(Terminal()) as bar:
        assert bar is None
