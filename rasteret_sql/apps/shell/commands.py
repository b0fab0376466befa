"""The dot commands: `.help`, `.tables`, `.mode` and so on."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rasteret_sql.apps.console import Style, aligned, columns_of_terminal
from rasteret_sql.apps.output import Format
from rasteret_sql.apps.shell.explain import explain_query
from rasteret_sql.apps.shell.statements import is_blank, units
from rasteret_sql.apps.sql import sql_of_file
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rasteret_sql.apps.shell.session import Session

#: While a result is shown, duckdb 1.5 has views of it.
_USERS = "NOT internal AND database_name <> 'rasteret_sql' AND NOT starts_with({name}, '_rst_')"
_TABLES = f"""
    SELECT schema_name AS schema, table_name AS name, 'table' AS kind, column_count AS columns
    FROM duckdb_tables() WHERE {_USERS.format(name="table_name")}
    UNION ALL
    SELECT schema_name, view_name, 'view', column_count
    FROM duckdb_views() WHERE {_USERS.format(name="view_name")}
    ORDER BY ALL
"""  # noqa: S608 - constants
_DEFINITIONS = f"""
    SELECT sql FROM (
        SELECT table_name AS name, sql FROM duckdb_tables() WHERE {_USERS.format(name="table_name")}
        UNION ALL
        SELECT view_name, sql FROM duckdb_views() WHERE {_USERS.format(name="view_name")}
    )
    WHERE $name IS NULL OR lower(name) = lower($name)
    ORDER BY name
"""  # noqa: S608 - constants
_FUNCTION = """
    SELECT function_name, parameters, comment FROM duckdb_functions()
    WHERE lower(function_name) = lower($name) AND comment IS NOT NULL AND database_name <> 'system'
    LIMIT 1
"""
_TIMES_NESTED = 16


@dataclass(frozen=True, slots=True)
class Command:
    """A dot command.

    Attributes:
        usage: its name and arguments.
        help: what it does.
        run: does it, given the session and the arguments as they were typed.
    """

    usage: str
    help: str
    run: Callable[[Session, str], None]


def run_unit(session: Session, text: str) -> None:
    """Run a dot command, or statements.

    Raises:
        InvalidArgumentError: there is no such command, or its arguments are wrong.
        KeyboardInterrupt: Ctrl-C.
    """
    if text.startswith("."):
        name, _, rest = text[1:].strip().rstrip(";").partition(" ")
        find(name).run(session, rest.strip())
    elif not is_blank(text):
        session.run(text)


def find(name: str) -> Command:
    """Give the command of a name, or of the beginning of one that no other begins with.

    Raises:
        InvalidArgumentError: there is none, or several.
    """
    if name in COMMANDS:
        return COMMANDS[name]
    begun = [known for known in COMMANDS if name and known.startswith(name)]
    if len(begun) == 1:
        return COMMANDS[begun[0]]
    meant = did_you_mean(f".{name}", [f".{known}" for known in COMMANDS]) if name else ""
    raise InvalidArgumentError(f".{name}: there is no such command{meant or ';'} .help lists all of them")


def _help(session: Session, text: str) -> None:
    if not text:
        style = Style.of(sys.stdout)
        lines = aligned({command.usage: command.help for command in dict.fromkeys(COMMANDS.values())}, style)
        session.write(
            f"{lines}\n\nStatements end with a semicolon. Tab completes, Ctrl-C stops what runs, Ctrl-D quits.\n"
            "`.help read_tiles` describes a function.\n"
        )
        return
    name = text.removeprefix(".")
    if name in COMMANDS:
        session.write(f"{COMMANDS[name].usage}\n  {COMMANDS[name].help}\n")
        return
    rows = session.attend(lambda: session.con.execute(_FUNCTION, {"name": name.rstrip("()")}).fetchall())
    if not rows:
        raise InvalidArgumentError(
            f".help: got {text!r}, expected a dot command or one of the functions of rasteret_sql, such as read_tiles"
        )
    ((function, parameters, comment),) = rows
    first, *named = parameters or [""]
    # No line ends before a sign.
    arguments = ", ".join([first, *(f"{parameter}\0:=" for parameter in named)])
    width = columns_of_terminal() - 1
    hanging = textwrap.fill(f"{function}({arguments})", width, subsequent_indent=" " * (len(function) + 1)).replace(
        "\0", " "
    )
    described = textwrap.fill(comment, width, initial_indent="  ", subsequent_indent="  ")
    session.write("\n".join([hanging, described, *_details(function, parameters or [], width), ""]))


def _details(function: str, parameters: Sequence[str], width: int) -> list[str]:
    """Give the lines that say what the arguments of a function mean, and an example."""
    from rasteret_sql.apps.function_help import EXAMPLES, argument_meanings
    from rasteret_sql.sql.catalog import sql_objects

    macro = next((each for each in sql_objects("macros", "functions") if each.name == function), None)
    if macro is None:
        return []
    meanings = argument_meanings(macro)
    known = {name: meanings[name].replace("`", "") for name in parameters if name in meanings}
    indent = max(map(len, known), default=0) + 4
    lines = [
        textwrap.fill(text, width, initial_indent=f"  {name:<{indent - 2}}", subsequent_indent=" " * indent)
        for name, text in known.items()
    ]
    example = textwrap.indent(EXAMPLES[function], "  ").splitlines() if function in EXAMPLES else []
    return [part for block in (lines, example) if block for part in ("", *block)]


def _tables(session: Session, text: str) -> None:
    import duckdb

    _expect_nothing(".tables", text)
    con = session.con
    # DuckDB counts the columns of a view when it is first used.
    for schema, name, kind, columns in session.attend(lambda: con.execute(_TABLES).fetchall()):
        if kind == "view" and columns is None:
            with contextlib.suppress(duckdb.Error):  # its files may be gone
                con.execute(f"DESCRIBE {quote_identifier(schema)}.{quote_identifier(name)}").fetchall()
    if session.attend(lambda: con.execute(f"SELECT count(*) FROM ({_TABLES})").fetchall()) != [(0,)]:  # noqa: S608
        session.show(_TABLES)
        return
    files = sorted(path.name for path in Path().glob("*.parquet"))[:_TIMES_NESTED]
    found = f"; of files here, there is {', '.join(quote_literal(name) for name in files)}" if files else ""
    session.write(f"There are no tables{found}.\n")


def _schema(session: Session, text: str) -> None:
    name = _unquoted(text) or None
    rows = session.attend(lambda: session.con.execute(_DEFINITIONS, {"name": name}).fetchall())
    if rows:
        session.write("".join(f"{sql}\n" for (sql,) in rows))
    elif name is not None:
        is_call = name.endswith(")")
        session.show(f"SELECT column_name, column_type FROM (DESCRIBE FROM {name if is_call else _as_source(name)})")  # noqa: S608
    else:
        session.write("There are no tables.\n")


def _datasets(session: Session, text: str) -> None:
    name = _unquoted(text)
    if not name:
        session.show("SELECT id, title FROM datasets() ORDER BY id")
        return
    known = session.attend(lambda: session.con.execute("SELECT id FROM datasets()").fetchall())
    ids = [str(row[0]) for row in known]
    if name not in ids:
        meant = did_you_mean(name, ids)
        raise InvalidArgumentError(f".datasets: got {name!r}, which is no dataset{meant or ';'} .datasets lists them")
    session.show(f"FROM datasets() WHERE id = {quote_literal(name)}", "line")


def _explain(session: Session, text: str) -> None:
    text = text.rstrip("; ")
    if not text:
        raise InvalidArgumentError(".explain: expected the name of an index or a query that reads tiles")
    query = text if _is_query(text) else f"FROM read_tiles({quote_literal(_unquoted(text))})"
    con = session.con
    session.write(session.attend(lambda: explain_query(con, query)))


def _preview(session: Session, text: str) -> None:
    from rasteret_sql.apps.shell.preview import preview

    text = text.rstrip("; ")
    words = text.split()
    if not words:
        raise InvalidArgumentError(".preview: expected the name of an index, perhaps with bands, or a query")
    if _is_query(text):
        preview(session, text, None, is_query=True)
        return
    name = _unquoted(words[0])
    bands = [band for word in words[1:] for band in word.split(",") if band] or None
    is_table = _as_source(name).startswith('"')
    preview(session, f"FROM {_as_source(name)}" if is_table else name, bands, is_query=is_table)


def _timer(session: Session, text: str) -> None:
    session.shows_time = _is_on(".timer", text)


def _mode(session: Session, text: str) -> None:
    if not text:
        session.write(f"{session.mode}; there are {', '.join(get_args(Format))}\n")
        return
    session.set_mode(text)


def _max_rows(session: Session, text: str) -> None:
    if not text:
        session.write(f"{session.max_rows}\n")
        return
    if not text.isdigit():
        raise InvalidArgumentError(f".maxrows: got {text!r}, expected a whole number, 0 or more")
    session.max_rows = int(text)


def _output(session: Session, text: str) -> None:
    session.direct(_unquoted(text) or None)


def _read(session: Session, text: str) -> None:
    path = Path(_unquoted(text)).expanduser()
    if not text:
        raise InvalidArgumentError(".read: expected a file of statements")
    run_file(session, path)


def run_file(session: Session, path: Path) -> None:
    """Run the statements and dot commands of a file, up to the first that fails.

    Raises:
        InvalidArgumentError: the file is no text, or reads itself.
        OSError: it cannot be read.
    """
    text = sql_of_file(path)
    session.nesting += 1
    try:
        if session.nesting > _TIMES_NESTED:
            raise InvalidArgumentError(
                f".read: {path} reads itself, or files are nested more than {_TIMES_NESTED} deep"
            )
        run_units(session, units(text))
    finally:
        session.nesting -= 1


def run_units(session: Session, units: Iterable[str]) -> None:
    """Run statements and dot commands, up to the first that fails or to `.quit`."""
    for unit in units:
        run_unit(session, unit)
        if session.is_ended:
            return


def _open(session: Session, text: str) -> None:
    words = _words(".open", text)
    read_only = "-readonly" in words or "--readonly" in words
    paths = [word for word in words if not word.startswith("-")]
    if len(paths) > 1:
        raise InvalidArgumentError(f".open: got {len(paths)} paths, expected one; quote a path with spaces in it")
    session.open(paths[0] if paths else ":memory:", read_only=read_only)


def _cd(session: Session, text: str) -> None:
    if text:
        os.chdir(Path(_unquoted(text)).expanduser())
    else:
        session.write(f"{Path.cwd()}\n")


def _quit(session: Session, text: str) -> None:
    _expect_nothing(".quit", text)
    session.is_ended = True


def _is_query(text: str) -> bool:
    """Whether a text is a query, and not the name of an index."""
    return "(" in text or text.split(maxsplit=1)[0].upper() in {"FROM", "SELECT", "WITH", "TABLE", "VALUES", "PIVOT"}


def _as_source(name: str) -> str:
    """Write a name as what stands after FROM: a path as a string, a table as it is."""
    if "." in name or "/" in name or "*" in name:
        return quote_literal(name)
    return quote_identifier(name)


def _unquoted(text: str) -> str:
    text = text.strip().rstrip(";").strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(text[0] * 2, text[0])
    return text


def _words(command: str, text: str) -> Sequence[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{command}: got {text!r}, in which a quote is not closed") from error


def _is_on(command: str, text: str) -> bool:
    if text not in {"on", "off"}:
        raise InvalidArgumentError(f"{command}: got {text!r}, expected on or off")
    return text == "on"


def _expect_nothing(command: str, text: str) -> None:
    if text:
        raise InvalidArgumentError(f"{command}: got {text!r}, expected nothing after it")


_QUIT = Command(".quit", "end the session, as .exit and Ctrl-D do", _quit)

#: The commands by name, in the order in which `.help` lists them.
COMMANDS: dict[str, Command] = {
    "help": Command(".help [NAME]", "list the commands, or describe one or a function", _help),
    "tables": Command(".tables", "list tables and views", _tables),
    "schema": Command(".schema [NAME]", "say how a table was made, or the columns of a file or of f(...)", _schema),
    "datasets": Command(
        ".datasets [ID]", "list the datasets that stac_search knows by name, or describe one", _datasets
    ),
    "explain": Command(".explain INDEX|QUERY", "say what a read would cost: tiles, bytes, requests", _explain),
    "preview": Command(".preview INDEX [BANDS]|QUERY", "show a picture: .preview s2.parquet nir,red,green", _preview),
    "timer": Command(".timer on|off", "say how long each statement takes", _timer),
    "mode": Command(".mode [MODE]", f"show results as {', '.join(get_args(Format))}", _mode),
    "maxrows": Command(".maxrows [N]", "how many rows a table shows; the query stops after them", _max_rows),
    "output": Command(".output [FILE]", "send results to a file, which is whole at the next .output", _output),
    "read": Command(".read FILE", "run the statements of a file", _read),
    "open": Command(".open [DB] [-readonly]", "close this database and open another", _open),
    "cd": Command(".cd [FOLDER]", "go to a folder: paths in SQL begin there", _cd),
    "quit": _QUIT,
    "exit": _QUIT,
}
