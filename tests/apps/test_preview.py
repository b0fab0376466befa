"""`rasteret-sql preview`: pictures in files and in terminals, and what is said of them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import duckdb
import imagecodecs
import numpy as np
import pytest

from rasteret_sql.apps.console import Style
from rasteret_sql.apps.preview import described
from rasteret_sql.output.picture import picture
from tests.apps.test_process import in_terminal


def test_a_picture_is_written_and_described(run, index, tmp_path):
    outcome = run("preview", index, "-o", tmp_path / "a.png")
    assert (outcome.code, outcome.out) == (0, "")
    assert re.match(r"red, green, blue of 2 items; \d+ x \d+ pixels in EPSG:\d+; level 0; 6 requests, ", outcome.err)
    shown = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(shown, picture(index).pixels)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("suffix", "start"), [("jpg", b"\xff\xd8"), ("webp", b"RIFF"), ("PNG", b"\x89PNG")])
def test_the_suffix_says_the_format(run, index, tmp_path, suffix, start):
    assert run("preview", index, "-o", tmp_path / f"a.{suffix}", "--size", 64).code == 0
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(start)


def test_arguments_are_those_of_a_picture(run, index, tmp_path):
    arguments = ["--bands", "nir", "--colormap", "magma", "--percentiles", "10,90", "--size", 50, "--mosaic", "max"]
    outcome = run("preview", index, *arguments, "--json", "-o", tmp_path / "a.png")
    expected = picture(index, bands=["nir"], colormap="magma", percentiles=(10, 90), size=50, mosaic="max")
    facts = json.loads(outcome.out)
    assert facts == expected.facts() | {"output": str(tmp_path / "a.png")}
    assert outcome.err == ""
    written = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    np.testing.assert_array_equal(written, expected.with_legend())
    run("preview", index, *arguments, "--no-legend", "-o", tmp_path / "a.png")
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "a.png").read_bytes()), expected.pixels)


def test_json_alone_shows_nothing(run, index):
    outcome = run("preview", index, "--json", "--size", 20)
    assert json.loads(outcome.out)["bands"] == ["red", "green", "blue"]
    assert outcome.err == ""


def test_rows_are_chosen_by_condition_item_or_query(run, index):
    one = min(json.loads(run("preview", index, "--json", "--size", 20).out)["items"])
    for arguments in (
        [index, "--where", f"item_id = '{one}'"],
        [index, "--item", one],
        [index, "--sql", f"FROM index WHERE item_id = '{one}'"],
        ["--sql", f"FROM '{index}' WHERE item_id = '{one}'"],
        ["--sql", f"FROM read_tiles('{index}', bands := ['red']) WHERE item_id = '{one}'"],
        [index, "--sql", f"FROM read_tiles('index', bands := ['red']) WHERE item_id = '{one}'"],
    ):
        outcome = run("preview", *arguments, "--json", "--size", 20)
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["items"] == [one]


def test_a_query_may_use_relative_hrefs(run, index, tmp_path):
    ((folder,),) = duckdb.sql(f"SELECT DISTINCT regexp_replace(href, '[^/]*/[^/]*$', '') FROM '{index}'").fetchall()
    for part in Path(folder).iterdir():
        (tmp_path / part.name).symlink_to(part)
    path = tmp_path / "i.parquet"
    duckdb.sql(f"COPY (SELECT * REPLACE (regexp_extract(href, '[^/]*/[^/]*$') AS href) FROM '{index}') TO '{path}'")
    outcome = run("preview", path, "--sql", "FROM index WHERE asset = 'red'", "--json", "--size", 20)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["bands"] == ["red"]


def test_a_terminal_gets_half_blocks_as_wide_as_it_is(index):
    code, shown = in_terminal("preview", index, TERM="xterm-256color", COLORTERM="truecolor", TMUX="", NO_COLOR="")
    assert code == 0
    # The bar of the read is cleared before: what stays on a line is behind its last carriage return.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in shown.split("\n")]
    width = max(len(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in lines if "▀" in line)
    assert width <= 100
    assert 30 <= sum("▀" in line for line in lines) <= 38
    assert "2 items" in shown


def test_a_terminal_that_has_graphics_gets_them(index):
    _, shown = in_terminal("preview", index, TERM="xterm-kitty", TMUX="", STY="")
    assert "\x1b_Ga=T,f=100" in shown
    _, shown = in_terminal("preview", index, "--protocol", "sixel", TERM="xterm")
    assert "\x1bP0;1;0q" in shown
    _, shown = in_terminal("preview", index, TERM="xterm", RASTERET_SQL_IMAGES="iterm", TMUX="")
    assert "\x1b]1337;File=inline=1" in shown


def test_no_color_is_honoured(index):
    _, shown = in_terminal("preview", index, TERM="xterm-256color", NO_COLOR="1", TMUX="")
    assert "\x1b[3" not in shown
    assert "▀" not in shown


def test_classes_are_shown_with_their_colours(run, index):
    outcome = run("preview", index, "--bands", "scl", "--protocol", "ascii")
    assert re.search(r"#[0-9a-f]{6} 4 vegetation  #", outcome.err)
    lines = described(picture(index, bands=["scl"], size=20), Style(enabled=True))
    assert re.search(r"\x1b\[38;2;\d+;\d+;\d+m■\x1b\[0m \d+", lines[1])


def test_a_formula_is_a_band(run, index, tmp_path):
    outcome = run("preview", index, "--bands", "(nir - red)/(nir + red)", "--json", "-o", tmp_path / "a.png")
    facts = json.loads(outcome.out)
    assert (facts["bands"], facts["colormap"]) == (["(nir - red)/(nir + red)"], "RdYlGn")
    assert facts["limits"][0][0] == -facts["limits"][0][1]
    written = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    assert written.shape[0] > facts["height"]


def test_one_band_says_what_its_colours_mean(run, index):
    outcome = run("preview", index, "--bands", "nir", "--colormap", "viridis", "--protocol", "ascii")
    assert re.search(r"viridis from \d+(\.\d+)? to \d+", outcome.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected INDEX, or a query with --sql"),
        (["INDEX", "--sql", "FROM index", "--where", "true"], "--where: got it with --sql"),
        (["INDEX"], "stdout is no terminal that shows pictures: give a file with -o"),
        (["INDEX", "-o", "a.gif"], "-o: a.gif has none of the suffixes .png, .jpg"),
        (["INDEX", "-o", "a.png", "--percentiles", "2"], "got '2', expected two numbers, such as 2,98"),
        (["INDEX", "-o", "a.png", "--mosaic", "best"], "invalid choice: 'best'"),
    ],
)
def test_wrong_usage_is_said_before_anything_runs(run, index, arguments, message):
    outcome = run("preview", *(index if each == "INDEX" else each for each in arguments))
    assert outcome.code == 2
    assert message in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["INDEX", "--sql", '"eo:cloud_cover" < 10'],
            "--sql: got .*expected one query .*--where takes a condition alone",
        ),
        (["INDEX", "--sql", "DROP TABLE a"], "--sql: got 'DROP TABLE a', expected one query"),
        (["INDEX", "--sql", "FROM nowhere"], "nowhere"),
        (["none.parquet"], "index: 'none.parquet': no such file"),
        (["none.parquet", "--sql", "FROM index"], "index: 'none.parquet': no such file"),
        (["INDEX", "--where", "no_such = 1"], "where: 'no_such = 1' does not run"),
        (["INDEX", "--colormap", "viridis"], "colormap: got one with the three bands"),
        (["INDEX", "--size", "0"], "size: got 0, expected pixels"),
        (["INDEX", "-o", "nowhere/a.png"], "the folder nowhere does not exist"),
    ],
)
def test_what_cannot_be_is_an_error_with_a_remedy(run, index, arguments, message):
    given = [index if each == "INDEX" else each for each in arguments]
    given += [] if "-o" in given else ["--json"]
    outcome = run("preview", *given)
    # A wrong value of an option is wrong usage.
    is_usage = re.match(r"rasteret-sql: --\w+: got", outcome.err) is not None
    assert is_usage == ("got" in message)
    assert outcome.code == (2 if is_usage else 1)
    assert outcome.out == ""
    assert re.search(message, outcome.err)
    assert "Traceback" not in outcome.err


def test_maps_need_no_matplotlib_and_an_unknown_one_is_answered_with_names(run, index, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = run("preview", index, "--bands", "red", "--colormap", "terrain", "--json")
    assert json.loads(outcome.out)["colormap"] == "terrain"
    outcome = run("preview", index, "--bands", "red", "--colormap", "nonsense", "--json")
    assert outcome.code == 2
    assert "--colormap: got 'nonsense', expected gray, viridis" in outcome.err


def test_help_has_examples(run):
    shown = run("preview", "--help").out
    assert "examples:" in shown
    assert "rasteret-sql preview s2.parquet -o s2.png" in shown
