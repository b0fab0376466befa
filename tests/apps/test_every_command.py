"""What holds for every command, whichever there are: help, exit codes, streams, JSON, terminals, signals.

The commands and their arguments are those of the parser, so that a new command is held to this without being named here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess

import pytest
import shapely

import rasteret_sql as rs
from rasteret_sql.apps import main as main_module
from rasteret_sql.apps.main import main, parser
from tests.apps.test_process import COMMAND, in_warm_terminal
from tests.support import warm

ESCAPE = "\x1b["
#: Commands that go on until they are told to stop, or ask for what they do; their own tests run them.
LASTING = {"serve", "shell"}


def _geojson(places, wkt):
    path = places["folder"] / "rows.geojson"
    path.write_text(shapely.to_geojson(shapely.from_wkt(wkt)))
    return path


def _shard(places):
    path = places["folder"] / "00000"
    path.write_bytes(rs.shards(places["index"], 8, bands=["red"])[0].to_bytes())
    return path


#: What an argument is given in a run that works, and in one that cannot, by its metavar.
GOOD = {
    "POINTS": lambda places: _geojson(places, "POINT (77.952 13.025)"),
    "ZONES": lambda places: _geojson(places, "POLYGON ((77.95 13.02, 77.955 13.02, 77.955 13.03, 77.95 13.02))"),
    "INDEX": lambda places: places["index"],
    "SOURCE": lambda places: places["document"],
    "SQL": lambda _: "SELECT 42 AS answer",
    "ID": lambda _: None,
    "FOLDER": lambda places: places["folder"] / "demo",
    "STATS": lambda places: places["folder"] / "s.parquet",
    "FILE": lambda places: places["folder"] / "out.tif",
    "NEW INDEX": lambda places: places["folder"] / "out.parquet",
    "DB": lambda _: None,
    "PIXELS": lambda _: "64",
    "COUNT": lambda _: "3",
    "SHARD": _shard,
    "ACTION": lambda _: "ls",
}
BAD = {
    "POINTS": lambda places: places["folder"] / "absent.parquet",
    "ZONES": lambda places: places["folder"] / "absent.geojson",
    "INDEX": lambda places: places["folder"] / "absent.parquet",
    "SOURCE": lambda places: places["folder"] / "absent.json",
    "SQL": lambda _: "FROM no_such_table",
    "ID": lambda _: "no/such-dataset",
    "FOLDER": lambda places: places["index"],
    "STATS": lambda places: places["folder"] / "absent" / "s.parquet",
    "FILE": lambda places: places["folder"] / "absent" / "out.tif",
    "NEW INDEX": lambda places: places["folder"] / "absent" / "out.parquet",
    "DB": lambda places: places["folder"] / "absent" / "a.duckdb",
    "PIXELS": lambda _: "0",
    "COUNT": lambda _: "0",
    "SHARD": lambda places: places["folder"] / "absent",
    "ACTION": lambda _: "mislay",
}
#: Commands whose result is a file, so that what they say of it goes to stderr.
FOR_A_FILE = {"preview"}
#: What some commands must be told beside their required arguments, to do something that ends soon.
FURTHER = {
    "export": ("--bands", "red", "--where", "crs = 'EPSG:32643'"),
    "bench": ("--seconds", "1", "--max-bytes", "1e6"),
    "preview": ("-o", "picture.png"),
}
#: What a run that cannot work is told, of commands without a positional argument that can be wrong.
FAILING = {
    "macros": ("-o", "absent-folder/rasteret.sql"),
}


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


def options(command: argparse.ArgumentParser) -> set[str]:
    return {option for action in command._actions for option in action.option_strings}


def required(command: argparse.ArgumentParser, values: dict, places: dict) -> list[str]:
    """Give the arguments that a command needs, and its optional positional ones too."""
    given = []
    for action in command._actions:
        if action.option_strings and not action.required:
            continue
        metavar = action.metavar
        name = "NEW INDEX" if action.option_strings and metavar == "INDEX" else metavar
        assert name in values, f"{command.prog}: say in GOOD and BAD what {metavar} may be"
        value = values[name](places)
        if value is not None:
            given += [*action.option_strings[:1], str(value)]
    return given


@pytest.fixture
def places(index, collection, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return {"index": index, "document": collection.document, "folder": tmp_path}


every_command = pytest.mark.parametrize("name", sorted(commands()))
ending_command = pytest.mark.parametrize("name", sorted(set(commands()) - LASTING))


@every_command
def test_help_is_on_stdout_with_examples_and_exit_codes(run, name):
    outcome = run(name, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"usage: rasteret-sql {name} ")
    examples = outcome.out.partition("\nexamples:\n")[2].partition("\n\n")[0]
    assert f"rasteret-sql {name}" in examples
    assert re.search(r"\nexit codes:\n  0  ", outcome.out)
    assert outcome.out.rstrip().splitlines()[-1].startswith("  ")


@every_command
def test_examples_parse(name):
    """An example whose options have gone is wrong usage for whoever pastes it."""
    shown = commands()[name].epilog.partition("examples:\n")[2].partition("\n\n")[0]
    lines = [line.strip() for line in shown.replace("\\\n", " ").splitlines() if "rasteret-sql" in line]
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)
        words = words[words.index("rasteret-sql") + 1 :]
        end = next((n for n, word in enumerate(words) if word in {"|", ">", "&&"}), len(words))
        assert parser().parse_args(words[:end]).run, line


@every_command
def test_help_without_colour_where_none_is_wanted(name):
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        code, shown = in_warm_terminal(name, "--help", **environment)
        assert code == 0
        assert ESCAPE not in shown


@every_command
def test_what_there_is_to_say_is_also_said_in_json(name):
    assert "--json" in options(commands()[name])


@every_command
def test_every_option_says_what_it_does(name):
    for action in commands()[name]._actions:
        assert action.help, f"{name} {action.dest}"


@every_command
def test_an_unknown_option_is_wrong_usage(run, places, name):
    outcome = run(name, *required(commands()[name], GOOD, places), "--no-such-option")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"rasteret-sql {name}: error: " in outcome.err or "rasteret-sql: error: " in outcome.err
    assert "--no-such-option" in outcome.err


@every_command
def test_what_is_missing_is_wrong_usage(run, name):
    missing = [action for action in commands()[name]._actions if action.required]
    if not missing:
        pytest.skip(f"{name} needs no argument")
    outcome = run(name)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"rasteret-sql {name}: error: " in outcome.err


@every_command
def test_a_mistake_is_a_message_on_stderr_and_no_traceback(run, places, name):
    arguments = FAILING.get(name) or (*required(commands()[name], BAD, places), *FURTHER.get(name, ()))
    before = sorted(places["folder"].rglob("*"))
    outcome = run(name, *arguments)
    assert outcome.code in {1, 2}
    assert outcome.out == ""
    assert outcome.err.startswith(("rasteret-sql: ", "usage: "))
    assert "Traceback" not in outcome.err
    assert ESCAPE not in outcome.err
    assert sorted(places["folder"].rglob("*")) == before


@ending_command
def test_the_result_is_on_stdout_and_no_progress_where_stderr_is_no_terminal(places, name):
    arguments = [*required(commands()[name], GOOD, places), *FURTHER.get(name, ())]
    done = warm.run("-m", "rasteret_sql", name, *arguments, cwd=places["folder"], env={**os.environ, "TERM": "xterm"})
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout or name in FOR_A_FILE
    for stream in (done.stdout, done.stderr):
        assert ESCAPE.encode() not in stream
        assert b"\r" not in stream


@ending_command
def test_json_is_all_that_is_on_stdout(run, places, name):
    outcome = run(name, *required(commands()[name], GOOD, places), *FURTHER.get(name, ()), "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)
    assert "\r" not in outcome.err


@ending_command
def test_colour_is_for_terminals_that_want_it(places, name):
    arguments = [*required(commands()[name], GOOD, places), *FURTHER.get(name, ())]
    arguments.append("--json")
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        code, shown = in_warm_terminal(name, *arguments, **environment)
        assert code == 0, shown
        # A bar moves the cursor, which is no colour.
        assert not re.search(r"\x1b\[[\d;]*m", shown)


@every_command
def test_a_reader_that_went_away_is_no_error(name):
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen([*COMMAND, name, "--help"], stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        assert process.stderr.read() == b""
    # argparse takes the error of its own writing for none.
    assert process.returncode in {0, 141}


@ending_command
def test_a_reader_of_results_that_went_away_is_no_error(places, name):
    arguments = [*required(commands()[name], GOOD, places), *FURTHER.get(name, ())]
    if name in FOR_A_FILE:
        arguments.append("--json")
    reading, writing = os.pipe()
    os.close(reading)
    done = warm.run("-m", "rasteret_sql", name, *arguments, stdout=writing, cwd=places["folder"])
    os.close(writing)
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr
    assert done.returncode == 141


@every_command
def test_ctrl_c_ends_quietly_with_130(run, places, monkeypatch, name):
    def interrupted(_):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the signal was ignored")

    made = parser()
    (action,) = (one for one in made._actions if isinstance(one, argparse._SubParsersAction))
    action.choices[name].set_defaults(run=interrupted)
    monkeypatch.setattr(main_module, "parser", lambda: made)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as a process begins with
    try:
        outcome = run(name, *required(commands()[name], GOOD, places))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")


def test_the_help_lists_every_command_once_under_a_heading(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("\ncommands:\n")[2].partition("\n\n")[0]
    names = re.findall(r"^    (\w+)", listed, re.MULTILINE)
    assert sorted(names) == sorted(commands())
    assert re.findall(r"^  (\w.*):$", listed, re.MULTILINE) == list(main_module.GROUPS)
