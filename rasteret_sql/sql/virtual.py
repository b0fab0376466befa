"""The streaming table behind `read_tiles`: DuckDB hands it columns and conditions, it plans, reads and streams.

The macro's arguments arrive, as hexadecimal digits of JSON, in a condition on the hidden column `_call`. No function
makes them: one in Python would belong to the connection that made it, and outlive it.
"""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as pads

from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.index.sqlfiles import quote_literal
from rasteret_sql.sql.batches import READ_COLUMNS, rows_kept, tile_batches
from rasteret_sql.sql.planning import parse_arguments, plan_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb

    from rasteret_sql.sql.planning import PlannedTiles, ReadArguments

_TOKEN = re.compile(r'\(_call == "rst_([0-9A-F]+)"\)')
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')


class Connections:
    """The connections of one database, held weakly: a cursor of any of them can plan.

    Args:
        identity: what `_rst_identity()` gives in this database.
        repair: called with an open connection where the one that owns our functions in Python was closed.
    """

    def __init__(self, identity: str, repair: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
        self.identity = identity
        self._repair = repair
        self._connections: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self._owner: weakref.ref[duckdb.DuckDBPyConnection] | None = None
        self._deputy: duckdb.DuckDBPyConnection | None = None

    def add(self, con: duckdb.DuckDBPyConnection) -> None:
        """Remember a connection for as long as it lives."""
        self._connections.add(con)

    def own(self, con: duckdb.DuckDBPyConnection) -> None:
        """Note that the functions in Python belong to a connection: they must not be called once it is closed."""
        self._owner = weakref.ref(con)

    def check(self, con: duckdb.DuckDBPyConnection) -> None:
        """See to it that the functions in Python can be called, with the help of an open connection."""
        from rasteret_sql.sql.connection import bare_cursor

        owner = self._owner() if self._owner is not None else None
        if owner is not None and not _is_open(owner):
            # A cursor, since the connection may be in the middle of the query that reads. It is closed along with it.
            self._deputy = bare_cursor(con)
            self._repair(self._deputy)
            self.own(self._deputy)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Open a new cursor of a connection that is still open.

        Raises:
            InvalidIndexError: all of them are closed.
        """
        import duckdb

        from rasteret_sql.sql.connection import bare_cursor, identity_of

        for con in list(self._connections):
            if _is_open(con):
                self.check(con)
                return bare_cursor(con)
        # The objects that stand for DuckDB's default connection come and go; the connection stays.
        default = duckdb.default_connection()
        if identity_of(default) == self.identity:
            return bare_cursor(default)
        raise InvalidIndexError(
            "read_tiles: every connection that rasteret_sql was installed in is closed; run "
            "rasteret_sql.install(con) again"
        )


def _is_open(con: duckdb.DuckDBPyConnection) -> bool:
    import duckdb

    from rasteret_sql.sql.connection import bare_cursor

    try:
        bare_cursor(con).close()
    except duckdb.Error:
        return False
    return True


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

    def __init__(self, schema: pa.Schema, connections: Connections) -> None:
        self._schema = schema
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
        token = f"rst_{match[1]}"
        arguments, on_error, settings = parse_arguments(bytes.fromhex(match[1]).decode())
        planned = self._plan(arguments, settings)
        plan = planned.plan
        rows = planned.rows.append_column("_call", pa.repeat(pa.scalar(token, pa.string()), planned.rows.num_rows))
        fields = _TEXTS.sub("", text)
        if any(f"({name} " in fields or f"({name})" in fields or f"({name}," in fields for name in READ_COLUMNS):
            # The condition looks at what is read: all tiles are read, and then it is applied.
            return _Stream(schema, _filtered(tile_batches(plan, rows, self._schema, on_error=on_error), filter, names))
        kept = rows_kept(rows, filter)
        if len(kept) < len(plan):
            plan, rows = plan.take(kept), rows.take(kept)
        return _Stream(schema, tile_batches(plan, rows, schema, on_error=on_error))

    def _plan(self, arguments: ReadArguments, settings: dict[str, str]) -> PlannedTiles:
        cursor = self._connections.cursor()
        try:
            # The names and times of the query mean here what they mean where it was asked.
            for name, value in settings.items():
                cursor.execute(f"SET {name} = {quote_literal(value)}")
            return plan_tiles(cursor, arguments, with_rows=True)
        finally:
            cursor.close()


def _filtered(batches: Iterator[pa.RecordBatch], condition: Any, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from pa.Table.from_batches([batch]).filter(condition).select(names).to_batches()
