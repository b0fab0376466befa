"""The streaming table behind `read_tiles`: DuckDB hands it columns and conditions, it plans, reads and streams.

The macro's arguments arrive as a token in a condition on the hidden column `_call`; `CallRegister` keeps what
each token stands for.
"""

from __future__ import annotations

import hashlib
import re
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as pads

from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.sql.batches import READ_COLUMNS, rows_kept, tile_batches
from rasteret_sql.sql.planning import parse_arguments, plan_tiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from rasteret_sql.sql.planning import PlannedTiles, ReadArguments

_TOKEN = re.compile(r'_call == "(rst_[0-9a-f]{32})"')
_MAX_CALLS = 10_000


class CallRegister:
    """Remembers the arguments of calls under short tokens; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, arguments: str) -> str:
        """Remember the arguments of a call; the same arguments give the same token."""
        token = "rst_" + hashlib.sha256(arguments.encode()).hexdigest()[:32]
        with self._lock:
            self._calls[token] = arguments
            self._calls.move_to_end(token)
            while len(self._calls) > _MAX_CALLS:
                self._calls.popitem(last=False)
        return token

    def find(self, token: str) -> str:
        """Give the arguments of a token back."""
        return self._calls[token]


class Connections:
    """The connections of one database, held weakly: a cursor of any of them can plan."""

    def __init__(self) -> None:
        self._connections: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()

    def add(self, con: duckdb.DuckDBPyConnection) -> None:
        """Remember a connection for as long as it lives."""
        self._connections.add(con)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Open a new cursor of a connection that is still open.

        Raises:
            InvalidIndexError: all of them are closed.
        """
        import duckdb

        from rasteret_sql.sql.connection import bare_cursor

        for con in list(self._connections):
            try:
                return bare_cursor(con)
            except duckdb.Error:
                continue
        raise InvalidIndexError(
            "read_tiles: every connection that rasteret_sql was installed in is closed; run "
            "rasteret_sql.install(con) again"
        )


class _Stream:
    """What DuckDB takes for a scanner: something that gives a record batch reader."""

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.projected_schema = schema
        self._batches = batches

    def to_reader(self) -> pa.RecordBatchReader:
        """Start reading."""
        return pa.RecordBatchReader.from_batches(self.projected_schema, self._batches)


class TileSource(pads.Dataset):  # type: ignore[misc] # pyarrow has no types
    """The table of all tiles of all calls; a scan without a token is refused."""

    def __init__(self, schema: pa.Schema, calls: CallRegister, connections: Connections) -> None:
        self._schema = schema
        self._calls = calls
        self._connections = connections

    @property
    def schema(self) -> pa.Schema:
        """The columns of `sql/schema/tiles.sql`."""
        return self._schema

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_options: Any) -> _Stream:  # noqa: A002
        """Start a scan, as DuckDB asks for it.

        Args:
            columns: names of the columns wanted, or None for all.
            filter: a `pyarrow.compute.Expression` that the rows must meet, or None.
        """
        names = list(columns) if columns else self._schema.names
        schema = pa.schema([self._schema.field(name) for name in names])
        text = "" if filter is None else str(filter)
        match = _TOKEN.search(text)
        if match is None:
            raise InvalidArgumentError(
                "read_tiles: got arguments that change from row to row, expected constants or prepared parameters; a "
                "read is planned before it starts. Put conditions in WHERE, or call "
                "rasteret_sql.read_tiles(con.sql(...)) with rows of an index"
            )
        token = match[1]
        arguments, on_error = parse_arguments(self._calls.find(token))
        planned = self._plan(arguments)
        plan = planned.plan
        rows = planned.rows.append_column("_call", pa.repeat(pa.scalar(token, pa.string()), planned.rows.num_rows))
        if any(f"({name} " in text or f"({name})" in text or f"({name}," in text for name in READ_COLUMNS):
            # The condition looks at what is read: all tiles are read, and then it is applied.
            return _Stream(schema, _filtered(tile_batches(plan, rows, self._schema, on_error=on_error), filter, names))
        kept = rows_kept(rows, filter)
        if len(kept) < len(plan):
            plan, rows = plan.take(kept), rows.take(kept)
        return _Stream(schema, tile_batches(plan, rows, schema, on_error=on_error))

    def _plan(self, arguments: ReadArguments) -> PlannedTiles:
        cursor = self._connections.cursor()
        try:
            return plan_tiles(cursor, arguments, with_rows=True)
        finally:
            cursor.close()


def _filtered(batches: Iterator[pa.RecordBatch], condition: Any, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from pa.Table.from_batches([batch]).filter(condition).select(names).to_batches()
