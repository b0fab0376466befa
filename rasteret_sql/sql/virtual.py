"""The streaming table behind `read_tiles`: DuckDB hands it columns and conditions, it plans, reads and streams.

The macro's arguments arrive, as JSON, in a condition on the hidden column `_call`. No function
makes them: one in Python would belong to the connection that made it, and outlive it.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.dataset as pads

from rasteret_sql.database.own_connection import apply_settings, require_no_collation
from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.index.fresh import counts, fresh_stream
from rasteret_sql.io import interrupts, loop
from rasteret_sql.io.options import options_of_call
from rasteret_sql.plan.arguments import SQL, ReadArguments
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.read.stream import PART_ROWS
from rasteret_sql.sql.argument_texts import coordinate_in, number_in, unfit
from rasteret_sql.sql.batches import READ_COLUMNS, rows_kept, tile_batches, tile_rows, with_call
from rasteret_sql.sql.chosen_tiles import TileChoice
from rasteret_sql.sql.ctrlc import noted as ctrl_c_noted
from rasteret_sql.sql.named_index import rows_seen
from rasteret_sql.sql.planning import plan_parts
from rasteret_sql.sql.workarounds import (
    bare_cursor,
    call_of,
    identity_of,
    mentioned,
    mentions,
    refuse_variables,
    without_paths,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import duckdb

    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.read.stream import OnError
    from rasteret_sql.sql.served_reads import ServedReads
    from rasteret_sql.sql.workarounds import Call

#: Variables of a session whose names begin so are options.
_OPTION: Final = "rasteret_"
#: Rows of a batch that repeats the arguments.
_CALLED_ROWS: Final = 16_384
#: Empty, or the reads of this process, which serves.
_served: list[ServedReads] = []


@dataclass(frozen=True, slots=True)
class PlannedScan:
    """What a scan would read.

    Attributes:
        plan: the tiles that its arguments and conditions leave.
        pixels, mask: which of their parts it would fetch.
        known: the tiles that statistics make needless, or None.
    """

    plan: TilePlan
    pixels: bool
    mask: bool
    known: TilePlan | None = None


_dry_runs: list[list[PlannedScan]] = []


@contextmanager
def scans_only_planned() -> Iterator[list[PlannedScan]]:
    """Have all scans of the process planned and none of them read while the block lasts; gives what was planned.

    Queries find the table empty meanwhile.
    """
    scans: list[PlannedScan] = []
    _dry_runs.append(scans)
    try:
        yield scans
    finally:
        _dry_runs.remove(scans)


class Connections:
    """The connections of one database, held weakly: a cursor of any of them can plan.

    Args:
        identity: what `_rst_identity()` gives in this database.
        repair: called with an open connection where the one that owns our functions in Python was closed.
    """

    def __init__(self, identity: str, repair: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
        self.identity = identity
        self._repair = repair
        self._connections: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, None] = weakref.WeakKeyDictionary()
        self._owner: weakref.ref[duckdb.DuckDBPyConnection] | None = None
        self._deputy: duckdb.DuckDBPyConnection | None = None
        self._planning: set[duckdb.DuckDBPyConnection] = set()

    def add(self, con: duckdb.DuckDBPyConnection) -> None:
        """Remember a connection for as long as it lives."""
        self._connections[con] = None

    def own(self, con: duckdb.DuckDBPyConnection) -> None:
        """Note that the functions in Python belong to a connection: they must not be called once it is closed."""
        self._owner = weakref.ref(con)

    def check(self, con: duckdb.DuckDBPyConnection) -> None:
        """See to it that the functions in Python can be called, with the help of an open connection."""
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

    @contextmanager
    def planning(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a cursor for planning, which `interrupt` reaches, and close it afterwards."""
        cursor = self.cursor()
        self._planning.add(cursor)
        try:
            yield cursor
        finally:
            self._planning.discard(cursor)
            cursor.close()

    @contextmanager
    def planning_as(self, settings: Mapping[str, str]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a cursor for planning on which names, times and orders mean what they mean in the session of a query.

        Our own SQL says all of them itself.

        Args:
            settings: of the session, as `_rst_settings` gives them.

        Raises:
            InvalidArgumentError: a setting cannot be had on a cursor.
        """
        settings = {name: value for name, value in settings.items() if not name.startswith(_OPTION)}
        with self.planning() as cursor:
            require_no_collation(settings)
            apply_settings(cursor, settings)
            refuse_variables(cursor)
            yield cursor

    def interrupt(self) -> None:
        """Interrupt what is being planned."""
        import duckdb

        for cursor in tuple(self._planning):
            # It may have been closed since.
            with suppress(duckdb.Error):
                cursor.interrupt()


def _is_open(con: duckdb.DuckDBPyConnection) -> bool:
    import duckdb

    try:
        bare_cursor(con).close()
    except duckdb.Error:
        return False
    return True


def limit_reads(reads: ServedReads | None) -> None:
    """Let the reads of this process be those of a server, or of nobody else again."""
    _served[:] = [] if reads is None else [reads]


class Stream:
    """What DuckDB takes for a scanner: something that gives a record batch reader.

    Attributes:
        projected_schema: the columns.
        presses: of Ctrl-C when the scan began. If there were more when it is read, it belongs to a query that ends.
        options: those that the session of the query sets. They hold while it is read.
    """

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.projected_schema = schema
        self.presses = interrupts.presses()
        self.options: dict[str, str] = {}
        self._batches = batches

    def begins_again(self, again: Callable[[], Stream]) -> None:
        """Let another stream take the place of this one, if its first batch shows that a cached header is not fresh."""
        self._batches = fresh_stream(self._batches, lambda: again()._batches)  # noqa: SLF001 - another of this class

    def to_reader(self) -> pa.RecordBatchReader:
        """Start reading."""
        batches = self._interruptible()
        if _served:
            batches = _served[0].limited(batches)
        return pa.RecordBatchReader.from_batches(self.projected_schema, batches)

    def _interruptible(self) -> Iterator[pa.RecordBatch]:
        with ctrl_c_noted():
            if interrupts.presses() != self.presses:
                raise loop.interrupted()
            yield from _with_options(self._batches, self.options) if self.options else self._batches


def _with_options(batches: Iterator[pa.RecordBatch], options: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """Make each batch with options of a session; DuckDB may ask for each from another thread."""
    try:
        while True:
            with options_of_call(options):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch
    finally:
        # A generator reads ahead, and must end with the query.
        if isinstance(batches, Generator):
            batches.close()


class CallSource(pads.Dataset):  # type: ignore[misc] # pyarrow has no types
    """A table of the rows of all calls of a table function; a scan without arguments is refused.

    Args:
        schema: its columns, among them `_call`.
        connections: of the database.
    """

    #: The function that users call.
    function: str
    #: Columns whose values need bytes of files: a condition on them prunes nothing.
    read_columns: tuple[str, ...]

    def __init__(self, schema: pa.Schema, connections: Connections) -> None:
        self._schema = schema
        self._connections = connections

    @property
    def schema(self) -> pa.Schema:
        """The columns of the table."""
        return self._schema

    @without_paths
    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_options: Any) -> Stream:  # noqa: A002
        """Start a scan, as DuckDB asks for it.

        Args:
            columns: names of the columns wanted, or None for all.
            filter: a `pyarrow.compute.Expression` that the rows must meet, or None.
        """
        presses = interrupts.presses()
        with ctrl_c_noted(), interrupts.waiting() as wait:
            wait.ends_by(self._connections.interrupt)
            schema = pa.schema([self._schema.field(name) for name in columns or self._schema.names])
            call = call_of(filter)
            if call is None:
                raise self._no_call()
            options = options_of_session(call.arguments)
            before = counts.served
            with options_of_call(options):
                stream = self._scan(call, schema, filter)
        if counts.served > before:
            stream.begins_again(lambda: self._scan(call, schema, filter))
        stream.presses, stream.options = presses, options
        return stream

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        """Plan a call, and give the columns of `schema` of the rows that meet a condition."""
        raise NotImplementedError

    def _needed(self, schema: pa.Schema, condition: Any) -> pa.Schema:
        """Give the columns, but for `_call`, that are wanted or that a condition looks at; one column at least."""
        names = mentioned(condition, self._schema.names).union(schema.names) - {"_call"}
        needed = [field for field in self._schema if field.name in names]
        # Batches without a column have no rows, and DuckDB 1.5 counts rows by the column `_call` alone.
        return pa.schema(needed or [self._schema.field(0)])

    def _no_call(self) -> InvalidArgumentError:
        """Say why a scan has no arguments: DuckDB's optimizer hands them over, and only constants."""
        name = self.function
        with self._connections.planning() as cursor:
            settings = dict(
                cursor.execute("SELECT name, value FROM duckdb_settings() WHERE name LIKE '%optimizer%'").fetchall()
            )
        disabled = settings.get("disabled_optimizers") or ""
        if settings.get("enable_optimizer") == "false":
            return InvalidArgumentError(
                f"{name}: got a session without DuckDB's optimizer (enable_optimizer = false), expected one with "
                "it: it hands arguments and conditions to the read. Write PRAGMA enable_optimizer"
            )
        if "filter_pushdown" in disabled:
            return InvalidArgumentError(
                f"{name}: got a session with disabled_optimizers = {disabled!r}, expected one with "
                "filter_pushdown: it hands arguments and conditions to the read. Write RESET disabled_optimizers"
            )
        # PRAGMA disable_optimizer holds for one connection, and a scan is not told which one that is.
        return InvalidArgumentError(
            f"{name}: got arguments that change from row to row, or a session without DuckDB's optimizer (PRAGMA "
            "disable_optimizer), expected constants or prepared parameters, which the optimizer hands over: a read is "
            f"planned before it starts. Put conditions in WHERE, or call rasteret_sql.{name}(con.sql(...)) with "
            "rows of an index; write PRAGMA enable_optimizer if the arguments are constants"
        )


class TileSource(CallSource):
    """The table of all tiles of all calls of `read_tiles`."""

    function = "read_tiles"
    read_columns = READ_COLUMNS

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        if (seen := parse_comparison(call.arguments)) is not None:
            return self._rows_seen(*seen, call.token, schema)
        arguments, own, on_error, settings = parse_arguments(call.arguments)
        is_dry = is_dry_run()
        choice = TileChoice.of(own["tiles_where"], own["statistics"])
        unaided: Iterator[TilePlan] | None = None
        with self._connections.planning_as(settings) as cursor:
            plan = choice.plan(cursor, arguments, max_rows=None if is_dry else PART_ROWS, is_read=not is_dry)
            if is_dry and choice.statistics is not None:
                unaided = plan_parts(cursor, arguments, None)
        # A condition that looks at what is read is applied to all tiles, once they are read.
        is_of_pixels = mentions(condition, self.read_columns)
        if condition is not None and not is_of_pixels:
            plan = kept_rows(plan, condition, call.token)
            unaided = None if unaided is None else kept_rows(unaided, condition, call.token)
        read = self._schema if is_of_pixels else schema
        if is_dry:
            names = set(read.names)
            (whole,) = plan
            pixels, mask = bool(names & {"pixels", "error"}), "mask" in names
            (without,) = (None,) if unaided is None else unaided
            return noted(whole, schema, pixels=pixels, mask=mask, unaided=without)
        batches = tile_batches(plan, read, token=call.token, on_error=on_error)
        return Stream(schema, filtered(batches, condition, schema) if is_of_pixels else batches)

    def _rows_seen(self, index: str, settings: dict[str, str], token: bytes, schema: pa.Schema) -> Stream:
        """Tell in one row, as its `error`, which rows of an index a read sees; see `_rst_sees_the_same`."""
        with self._connections.planning_as(settings) as cursor:
            found = rows_seen(cursor, index)
        row = {"error": found, "_call": token}
        table = pa.table({field.name: pa.array([row.get(field.name)], field.type) for field in schema}, schema)
        return Stream(schema, iter(table.to_batches()))


def kept_rows(plan: Iterable[TilePlan], condition: Any, token: bytes) -> Iterator[TilePlan]:
    """Give the rows of each part of a plan that meet a condition."""
    for part in plan:
        kept = rows_kept(with_call(tile_rows(part), token), condition)
        yield part if len(kept) == len(part) else part.take(kept)


def parse_arguments(text: str) -> tuple[ReadArguments, dict[str, str | None], OnError, dict[str, str]]:
    """Read the arguments that a macro passes as JSON; also gives those of its own, `on_error` and the settings.

    Where `on_error` is one of a function's own arguments, the function checks it.
    """
    values = json.loads(text)
    settings, own = values.pop("settings"), values.pop("own", {})
    on_error = values.pop("on_error", "raise")
    if on_error not in {"raise", "null"}:
        raise InvalidArgumentError(f"on_error: got {on_error!r}, expected 'raise' or 'null'")
    if values["index"] is None:
        raise InvalidArgumentError(
            "index: got NULL, expected the name of a table or view, a Parquet path or the text of a query"
        )
    scaling = GivenScaling.of(
        values.pop("scales", None), values.pop("offsets", None), is_used=own.get("scale", "true") != "false"
    )
    given = values.pop("given")
    if given["crs"] is not None:
        raise InvalidArgumentError(
            f"crs: got {given['crs']!r} as the CRS of an area, expected geometry_crs := '{given['crs']}'"
        )
    for name in ("bands", "bbox"):
        if values[name] is None and given[name] is not None:
            raise unfit(name, given[name])
    numbers = {name: number_in(name, values.pop(name, None)) for name in ("level", "resolution", "gsd")}
    level, bbox = numbers["level"], values.pop("bbox")
    if level is not None and not level.is_integer():
        raise unfit("level", f"{level}")
    return (
        ReadArguments(
            **values,
            bbox=None if bbox is None else [coordinate_in(part) for part in bbox.strip("[]").split(",")],
            level=None if level is None else int(level),
            resolution=numbers["resolution"],
            gsd=numbers["gsd"],
            scaling=scaling,
            door=SQL,
        ),
        own,
        on_error,
        settings,
    )


def options_of_session(text: str) -> dict[str, str]:
    """Read the options that the session of a query sets, of the JSON that a macro passes."""
    settings = json.loads(text)["settings"]
    return {
        name.removeprefix(_OPTION): value
        for name, value in settings.items()
        if name.startswith(_OPTION) and value is not None
    }


def parse_comparison(text: str) -> tuple[str, dict[str, str]] | None:
    """Read the index and the settings that `_rst_comparison` passes as JSON; None where a read passes its arguments."""
    values = json.loads(text)
    return (values["seen"], values["settings"]) if "seen" in values else None


def is_dry_run() -> bool:
    """Whether scans are planned only; see `scans_only_planned`."""
    return bool(_dry_runs)


def noted(plan: TilePlan, wanted: pa.Schema, *, pixels: bool, mask: bool, unaided: TilePlan | None = None) -> Stream:
    """Note what a scan would read, and give no rows.

    Args:
        plan, pixels, mask: as in `PlannedScan`.
        wanted: the columns of the scan.
        unaided: the tiles that it would read without statistics of tiles; None where it has none.
    """
    known = None if unaided is None else unaided.without(plan)
    scan = PlannedScan(plan, pixels=pixels, mask=mask, known=known)
    for scans in _dry_runs:
        scans.append(scan)
    return Stream(wanted, iter(()))


def filtered(
    batches: Iterator[pa.RecordBatch], condition: Any, wanted: pa.Schema, token: bytes | None = None
) -> Iterator[pa.RecordBatch]:
    """Give the columns of `wanted` of the rows that meet a condition.

    Args:
        batches: with the columns that are wanted, and those that the condition looks at.
        condition: a `pyarrow.compute.Expression`, or None.
        wanted: the columns.
        token: what `_call` holds, where the batches do not have it.
    """
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        if token is not None:
            rows = with_call(rows, token)
        rows = (rows if condition is None else rows.filter(condition)).select(wanted.names)
        if "_call" in wanted.names and token is not None:
            # The text of the arguments, a kilobyte for each row.
            for start in range(0, len(rows), _CALLED_ROWS):
                yield from rows.slice(start, _CALLED_ROWS).cast(wanted).to_batches()
            continue
        yield from rows.to_batches()
