"""The bar: when it is drawn, what it says, and that nothing of it is left."""

from __future__ import annotations

import io

import pytest

from rasteret_sql.apps.read_bar import ReadBar, bar_line, duration, read_bar
from rasteret_sql.read.progress import ReadProgress

HALF = ReadProgress(240, 480, 20_000_000, 40_000_000)


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_line_says_tiles_sizes_speed_and_the_time_that_is_left():
    line = bar_line(HALF, 4.0, 200)
    assert line == "▕████████████            ▏  50%  240/480 tiles  19.1 MiB of 38.1 MiB  4.8 MiB/s  0:04 left"


def test_the_line_knows_no_speed_before_the_first_bytes():
    assert bar_line(ReadProgress(0, 480, 0, 40_000_000), 4.0, 200).endswith("0/480 tiles  0 bytes of 38.1 MiB")
    assert "0%" in bar_line(ReadProgress(), 0.0, 200)


@pytest.mark.parametrize("width", [10, 40, 60, 80, 120])
def test_the_line_is_never_wider_than_the_terminal(width):
    assert len(bar_line(HALF, 4.0, width)) <= width


def test_the_end_is_a_full_bar():
    assert bar_line(ReadProgress(8, 8, 10, 10), 1.0, 200).startswith(f"▕{'█' * 24}▏ 100%")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_durations_are_as_clocks_show_them(seconds, text):
    assert duration(seconds) == text


def test_a_short_read_shows_nothing():
    terminal, clock = Terminal(), Clock()
    bar = ReadBar(terminal, clock)
    bar.report(HALF)
    bar.close()
    assert terminal.getvalue() == ""


def test_a_long_read_is_drawn_now_and_then_and_cleared_at_its_end():
    terminal, clock = Terminal(), Clock()
    bar = ReadBar(terminal, clock)
    for _ in range(100):
        clock.now += 0.01
        bar.report(HALF)
    drawn = terminal.getvalue()
    assert 5 <= drawn.count("tiles") <= 8
    assert "\n" not in drawn
    bar.close()
    assert terminal.getvalue() == drawn + "\r\x1b[K"
    clock.now += 10
    bar.report(HALF)
    bar.close()
    assert terminal.getvalue() == drawn + "\r\x1b[K"


def test_a_terminal_that_went_away_does_not_stop_the_read():
    terminal, clock = Terminal(), Clock()
    bar = ReadBar(terminal, clock)
    clock.now += 1
    terminal.close()
    bar.report(HALF)
    bar.close()


def test_there_is_a_bar_on_terminals_that_can_clear_a_line_only(monkeypatch):
    with read_bar(io.StringIO()) as bar:
        assert bar is None
    with read_bar(Terminal()) as bar:
        assert bar is not None
    monkeypatch.setenv("TERM", "dumb")
    with read_bar(Terminal()) as bar:
        assert bar is None
