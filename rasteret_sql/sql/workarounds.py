"""What DuckDB and pyarrow do not offer, done another way: each with its reason and the versions that it was seen in.

A test in `tests/sql/test_workarounds.py` stands beside each of them, and fails once the workaround can go.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import RasteretError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

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
    """Whether a condition looks at one of some columns.

    Args:
        condition: a `pyarrow.compute.Expression`, or None.
        columns: their names.
    """
    fields = "" if condition is None else _TEXTS.sub("", str(condition))
    return any(f"({name} " in fields or f"({name})" in fields or f"({name}," in fields for name in columns)


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
