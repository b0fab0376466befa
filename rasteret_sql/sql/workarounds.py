"""What DuckDB and pyarrow do not offer, done another way: each with its reason and the versions that it was seen in.

A test in `tests/sql/test_workarounds.py` stands beside each of them, and fails once the workaround can go.
"""

from __future__ import annotations

import asyncio
import functools
import re
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import duckdb

from rasteret_sql.errors import RasteretError
from rasteret_sql.sql.catalog import CATALOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

P = ParamSpec("P")
T = TypeVar("T")

# Arguments of a table function. The Python client cannot register table functions (duckdb 1.5.5, 2.0.1), and macros
# cannot pass arguments to an Arrow table other than as a condition. pyarrow (26.0) shows an Expression only as text.
#
# The condition compares BLOBs: texts are compared by the session's collation, and DuckDB does not push such down.

#: The condition on `_call`: "rst_" and the JSON of the arguments, as hexadecimal digits.
_CALL = re.compile(r'\(_call == "(7273745F[0-9A-F]+)"\)')
_PREFIX = b"rst_"
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one call of a table macro.

    Attributes:
        token: what its rows hold in `_call`.
        arguments: JSON.
    """

    token: bytes
    arguments: str


def call_of(condition: Any) -> Call | None:
    """Find the arguments in a condition that DuckDB pushes down, or None where they are not constant.

    Args:
        condition: a `pyarrow.compute.Expression`, or None.
    """
    found = None if condition is None else _CALL.search(str(condition))
    if found is None:
        return None
    token = bytes.fromhex(found[1])
    return Call(token, token.removeprefix(_PREFIX).decode())


def mentions(condition: Any, columns: Sequence[str]) -> bool:
    """Whether a condition looks at one of some columns; the arguments are those of `mentioned`."""
    return bool(mentioned(condition, columns))


def mentioned(condition: Any, columns: Sequence[str]) -> frozenset[str]:
    """Give the columns that a condition looks at.

    Args:
        condition: a `pyarrow.compute.Expression`, or None.
        columns: the names of some columns.
    """
    fields = "" if condition is None else _TEXTS.sub("", str(condition))
    return frozenset(
        name for name in columns if f"({name} " in fields or f"({name})" in fields or f"({name}," in fields
    )


# Errors without tracebacks. pyarrow (26.0) puts the traceback of an error in a batch into its message, and so before
# the eyes of whoever is served. A future gives the error, since its `result` is written in C and adds no line.


class _NoLoop:
    """What a future of asyncio asks of its loop while nobody awaits it."""

    def get_debug(self) -> bool:
        return False


def without_traceback(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Give the batches; an error of ours among them has no traceback."""
    return map(asyncio.Future.result, _settled(batches))


def _settled(batches: Iterator[pa.RecordBatch]) -> Iterator[asyncio.Future[pa.RecordBatch]]:
    loop: Any = _NoLoop()
    while True:
        future: asyncio.Future[pa.RecordBatch] = asyncio.Future(loop=loop)
        try:
            future.set_result(next(batches))
        except StopIteration:
            return
        except RasteretError as error:
            future.set_exception(type(error)(str(error)))
        yield future


# Errors without paths. DuckDB (1.5.5) writes file and line of each frame of an error into its message, and so before
# the eyes of whoever is served. The last frame is that of the function which DuckDB calls, and it has no path.


def without_paths(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function that DuckDB calls raise errors of ours without the frames below it, and without its own path.

    It decorates functions of modules, which live as long as the process: DuckDB calls them after a connection ended.
    """

    def called(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except RasteretError as error:
            found = error.with_traceback(None)
        raise found

    called.__code__ = called.__code__.replace(co_filename="rasteret_sql")
    return functools.wraps(function)(called)


# Cursors with our functions. DuckDB (1.5.5, 2.0.1) has no hook for new connections of a database, and a cursor has a
# temporary catalog of its own. Macros in the database itself would be exported and copied along with it. So the method
# `cursor` of the client's class is replaced, once per process.
#
# A function in Python belongs to the connection object that registered it, and a call after that object is gone ends
# the process. DuckDB closes the cursors of a connection that is closed, but not those of one that is only forgotten.
# So a cursor keeps its connection object.

_original_cursor = duckdb.DuckDBPyConnection.cursor
_parents: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection] = weakref.WeakKeyDictionary()


def bare_cursor(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Open a cursor as DuckDB does, without our functions."""
    child = _original_cursor(con)
    _parents[child] = con
    return child


def replace_cursor(cursor: Callable[[duckdb.DuckDBPyConnection], duckdb.DuckDBPyConnection]) -> None:
    """Have `con.cursor()` and `con.duplicate()` of all connections call a function."""
    for name in ("cursor", "duplicate"):
        setattr(duckdb.DuckDBPyConnection, name, cursor)


# Ctrl-C. DuckDB (1.5.5, 2.0.1) raises its own error where a signal ended a query. A Python function around each of its
# methods could replace the error, but DuckDB looks for variables such as `df` in the frame that calls it. So the
# initialiser of its errors is replaced: Python calls it where an error comes out of C++, and what it raises is raised
# in place of the error.

_original_error_init = duckdb.Error.__init__


def raise_from_errors(replacement: Callable[[str], BaseException | None]) -> None:
    """Have another error raised in place of an error of DuckDB.

    Args:
        replacement: called with the message of each error; gives what is raised in its place, or None.
    """

    def initialise(self: duckdb.Error, *arguments: object) -> None:
        _original_error_init(self, *arguments)
        other = replacement(str(arguments[0]) if arguments else "")
        if other is not None:
            raise other

    setattr(duckdb.Error, "__init__", initialise)  # noqa: B010 - assignment to a method is an error of types


# One database, many connection objects. The client (1.5.5, 2.0.1) does not say which database a connection belongs to,
# and two in-memory databases have one name. So a macro in our catalog gives a key.

_IDENTITY = f"{CATALOG}.main._rst_identity"


def set_identity(con: duckdb.DuckDBPyConnection, identity: str) -> None:
    """Give the database of a connection a key."""
    con.execute(f"CREATE MACRO {_IDENTITY}() AS '{identity}'")


def identity_of(con: duckdb.DuckDBPyConnection) -> str:
    """Give the key of the database of a connection, or "" where it has none."""
    try:
        ((identity,),) = bare_cursor(con).execute(f"SELECT {_IDENTITY}()").fetchall()
    except duckdb.Error:
        return ""
    return str(identity)


# Variables of a session. A cursor (duckdb 1.5.5, 2.0.1) does not have the variables of its connection: `getvariable`
# gives NULL there, so other rows without an error. A temporary macro takes the place of the function on the cursor.

_VARIABLE = """
CREATE OR REPLACE TEMP MACRO getvariable(name) AS error(
    'getvariable(' || name::VARCHAR || '): got a variable of the session, expected none in the index of a read, which '
    || 'runs on a separate connection; write its value into the view or query, or pass the rows from '
    || 'Python: rasteret_sql.read_tiles(con.sql(...))'
)
"""


def refuse_variables(cursor: duckdb.DuckDBPyConnection) -> None:
    """Make `getvariable` an error on a cursor, also in views of the database."""
    cursor.execute(_VARIABLE)
