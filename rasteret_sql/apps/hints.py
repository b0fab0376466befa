"""What the user of a statement may have meant: an argument with another name, or an argument that leaves no rows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.select_text import objects_of
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError, InvalidIndexError, RasteretError
from rasteret_sql.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

#: Functions that take an area and a period, and give no rows where nothing is found.
_READS = frozenset({"items", "tile_plan", "explain_read", "read_tiles", "read_pixels", "chips"})
#: What DuckDB says where a macro reads a file that is no index, or is not there.
_NO_INDEX = re.compile(r"index_of_schema_2|No files found that match")
_WRONG_ARGUMENTS = re.compile(
    r"Macro (?P<name>\w+)\(\) does not support the supplied arguments.*?Candidate macros:\s*\w+\((?P<known>.*)\)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call in the text of a SELECT.

    Attributes:
        name: of the function, in lower case.
        arguments: parsed expressions by name; those without a name by "".
    """

    name: str
    arguments: list[tuple[str, dict[str, Any]]]


def explained(con: duckdb.DuckDBPyConnection, text: str, message: str) -> RasteretError | None:
    """Give the error that says what is wrong with a call, where DuckDB's message does not.

    DuckDB lists the right names of arguments, but not the wrong one. Of a file that is no index, or is not there, a
    macro gives DuckDB's error; the message of a read says what is expected.

    Args:
        con: the connection that refused the statement.
        text: the statement.
        message: of DuckDB's error.

    Returns:
        The error; None where DuckDB's message is about something else.
    """
    if _NO_INDEX.search(message) is None:
        return _meant_argument(con, text, message)
    for call in _reads(con, text):
        try:
            _plan(con, call, of_files=True)
        except InvalidIndexError as error:
            return error
        except _unknown():
            continue
    return None


def _meant_argument(con: duckdb.DuckDBPyConnection, text: str, message: str) -> InvalidArgumentError | None:
    wrong = _WRONG_ARGUMENTS.search(message)
    if wrong is None:
        return None
    known = [part.partition(":=")[0].strip() for part in wrong["known"].split(",")]
    for call in _calls(con, text):
        for given, _ in call.arguments:
            if call.name == wrong["name"].lower() and given and given.lower() not in known:
                return InvalidArgumentError(
                    f"{wrong['name']}: got the argument {given}, expected {', '.join(known)}"
                    + did_you_mean(given, known)
                )
    return None


def why_empty(con: duckdb.DuckDBPyConnection, text: str) -> str | None:
    """Say which argument of the reads in a SELECT leaves nothing.

    Args:
        con: the connection that ran it.
        text: the SELECT.

    Returns:
        The message of `to_numpy` and other reads that must give something; None where the arguments leave files, or
        where the index cannot be seen from a cursor.
    """
    for call in _reads(con, text):
        try:
            _plan(con, call)
        except EmptyReadError as error:
            return str(error)
        except _unknown():
            continue
    return None


def _reads(con: duckdb.DuckDBPyConnection, text: str) -> Iterator[_Call]:
    """Find the calls of a SELECT that take an area and a period."""
    return (call for call in _calls(con, text) if call.name in _READS)


def _unknown() -> tuple[type[Exception], ...]:
    """Give the errors of a call that cannot be looked at: the statement itself said what is wrong, or ran."""
    import duckdb

    return duckdb.Error, RasteretError, KeyError


def _plan(con: duckdb.DuckDBPyConnection, call: _Call, *, of_files: bool = False) -> None:
    """Find the files of a call on a cursor.

    Args:
        con: the connection of the statement.
        call: the call.
        of_files: leave out indexes that are tables or views, which a cursor may not see.

    Raises:
        EmptyReadError: there are none.
        InvalidIndexError: the index is none, or cannot be seen from a cursor.
    """
    from rasteret_sql.plan.arguments import SQL
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.sql.named_index import is_path
    from rasteret_sql.sql.planning import IndexPlans
    from rasteret_sql.sql.readers import read_arguments

    with con.cursor() as cursor:
        given = _values(cursor, call)
        names = ("bands", "geometry", "bbox", "geometry_crs", "datetime", "level", "resolution")
        arguments = read_arguments(*(given.get(name) for name in names), gsd=given.get("gsd"))
        formulas = PixelFormulas.of(given.get("expressions"), given.get("valid_where"), arguments.bands)
        index = str(given.get("index") or given[""])
        if is_path(index) or not of_files:
            arguments = replace(arguments, index=index, door=SQL)
            plans = IndexPlans(cursor, arguments)
            if formulas is None:
                plans.files(arguments)
            else:
                plans.derived_files(arguments, formulas, scale=False)


def _values(cursor: duckdb.DuckDBPyConnection, call: _Call) -> dict[str, Any]:
    """Compute the arguments of a call, which are constants."""
    tree = _tree(cursor, "SELECT 1")
    tree["statements"][0]["node"]["select_list"] = [
        expression | {"alias": f"rst_{number}"} for number, (_, expression) in enumerate(call.arguments)
    ]
    ((query,),) = cursor.execute("SELECT json_deserialize_sql($1::JSON)", [json.dumps(tree)]).fetchall()
    ((*values,),) = cursor.execute(query).fetchall()
    return {name.lower(): value for (name, _), value in zip(call.arguments, values, strict=True)}


def _calls(con: duckdb.DuckDBPyConnection, text: str) -> Iterator[_Call]:
    """Find the calls of functions in a SELECT."""
    for value in objects_of(_tree(con, text)):
        if value.get("class") == "FUNCTION":
            # duckdb 1.5 has the name of an argument as the alias of its expression.
            named = value.get("arguments")
            arguments = (
                [(each.get("alias") or "", each) for each in value.get("children") or ()]
                if named is None
                else [(each["name"] or "", each["expression"]) for each in named]
            )
            yield _Call(str(value["function_name"]).lower(), arguments)


def _tree(con: duckdb.DuckDBPyConnection, text: str) -> Any:
    """Parse a text; what is no SELECT gives a tree without statements."""
    ((tree,),) = con.execute("SELECT json_serialize_sql($1::VARCHAR)", [text]).fetchall()
    return json.loads(tree)
