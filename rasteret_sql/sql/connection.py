"""Puts the functions into a DuckDB connection, and leaves nothing in its file.

Everything lives in an in-memory catalog, `rasteret_sql`, that is attached to the database, where every connection of
the process finds it. What users call must also be found under its bare name: a connection gets the public
macros as temporary ones, and so does each cursor of a connection that we know. No database of the user holds them, so
EXPORT DATABASE and COPY FROM DATABASE do not carry them along.
"""

from __future__ import annotations

import os
import uuid
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any

import duckdb
from duckdb.func import FunctionNullHandling, PythonUDFType

from rasteret_sql.checks import shown
from rasteret_sql.database.sqlfiles import quote_literal
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.importing import import_whole
from rasteret_sql.io import fork, loop
from rasteret_sql.sql import ctrlc, functions, read_headers, stac, unindexed
from rasteret_sql.sql.catalog import CATALOG, PLAIN_FOLDERS, make_public, sql_object, sql_objects
from rasteret_sql.sql.workarounds import bare_cursor, identity_of, replace_cursor, set_identity, without_paths

if TYPE_CHECKING:
    from rasteret_sql.sql.virtual import Connections

_FOLDERS = ("macros", "functions")

#: What casts the rows of an index, each after what it calls, and what gives assets without headers their columns.
_CASTS = ("_rst_instant", "_rst_utc", "_rst_asset_columns")

_lock = fork.Lock()
_databases: weakref.WeakValueDictionary[str, Connections] = weakref.WeakValueDictionary()
_followed: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, Connections] = weakref.WeakKeyDictionary()


def connect(database: str | os.PathLike[str] = ":memory:", **options: Any) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection that has `read_tiles` and the other functions.

    Args:
        database: path of a database file, or ":memory:".
        **options: passed to `duckdb.connect`.

    Returns:
        An ordinary DuckDB connection. What it runs is the caller's SQL, and its errors are DuckDB's.

    Raises:
        InvalidArgumentError: DuckDB cannot open the database, or takes no such options.

    Example:
        >>> import rasteret_sql as rs
        >>> con = rs.connect()
        >>> con.execute("SELECT count(*) > 0 FROM duckdb_functions() WHERE function_name = 'read_tiles'").fetchall()
        [(True,)]
    """
    if not isinstance(database, (str, os.PathLike)) or not isinstance(path := os.fspath(database), str):
        raise InvalidArgumentError(
            f"database: got {shown(database)}, expected the path of a DuckDB database, or ':memory:'"
        )
    try:
        with fork.no_fork:
            con = duckdb.connect(path, **options)
    except (duckdb.Error, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidArgumentError(
            f"database: {shown(database)} cannot be opened: {reason}; expected the path of a DuckDB database that no "
            "other process writes, or ':memory:', and options of duckdb.connect"
        ) from error
    return install(con)


def install(con: duckdb.DuckDBPyConnection | ModuleType) -> duckdb.DuckDBPyConnection:
    """Add `read_tiles`, `stac_search` and the other functions to a DuckDB connection and its cursors.

    It can be called again. It works for `:memory:`, for a file and for a file opened read-only, and leaves nothing in a
    database file. Each process installs for itself.

    Args:
        con: an open DuckDB connection, or the module `duckdb` for its default one.

    Returns:
        The same connection.

    Raises:
        InvalidArgumentError: `con` is no open DuckDB connection, or a database of the name `rasteret_sql` is attached.
    """
    if isinstance(con, ModuleType):
        con = duckdb.default_connection()
    if not isinstance(con, duckdb.DuckDBPyConnection):
        raise InvalidArgumentError(
            f"con: got {type(con).__name__}, expected a DuckDB connection such as duckdb.connect() gives"
        )
    ctrlc.watch()
    try:
        with fork.no_fork, _lock:
            _install(con)
    except duckdb.TransactionException as error:
        raise InvalidArgumentError(
            f"con: it is in a transaction, expected none while the functions are "
            f"installed; COMMIT or ROLLBACK first ({error})"
        ) from error
    except duckdb.ConnectionException as error:
        raise InvalidArgumentError(
            f"con: the connection is closed; open one with duckdb.connect() ({error})"
        ) from error
    return con


def interrupt(con: duckdb.DuckDBPyConnection) -> None:
    """Stop the query that runs on a connection, from another thread, and the reading that it waits for.

    DuckDB looks at its own interrupt only between batches; a thread that waits for bytes, or for a plan on a cursor of
    its own, would go on. All reads of the process end, those of other connections too.
    """
    con.interrupt()
    connections = _followed.get(con)
    if connections is not None:
        connections.interrupt()
    loop.interrupt()


def make_planner(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Let a new in-memory connection plan in SQL, without the functions that stream, and so without pyarrow."""
    con.execute(f"ATTACH ':memory:' AS {CATALOG} (READ_WRITE)")
    functions.register(con, "")
    for found in sql_objects(*PLAIN_FOLDERS):
        # The functions in Python are there. Rows have their headers by the time they are planned.
        if not found.is_public and not found.name.startswith("_rstpy_"):
            con.execute(found.statements()[0])
    return con


def make_casts(con: duckdb.DuckDBPyConnection) -> None:
    """Let a new in-memory connection cast the rows of an index: all that a read needs, in a hundredth of the time."""
    con.execute(f"ATTACH ':memory:' AS {CATALOG} (READ_WRITE)")
    for name in _CASTS:
        con.execute(sql_object("macros", name).statements()[0])


def publish(con: duckdb.DuckDBPyConnection) -> None:
    """Make the public macros in the database in use, for connections that no `cursor()` of this process opens."""
    make_public(con, "", *_FOLDERS)


def _install(con: duckdb.DuckDBPyConnection) -> None:
    rows = con.execute("SELECT database_name FROM duckdb_databases()").fetchall()
    connections = _connections(con) if (CATALOG,) in rows else _attach(con)
    _follow(con, connections)


def _attach(con: duckdb.DuckDBPyConnection) -> Connections:
    """Attach the catalog and fill it; gives what the virtual table needs to know of connections."""
    import_whole("rasteret_sql.sql.virtual")
    from rasteret_sql.sql.virtual import Connections

    connections = Connections(uuid.uuid4().hex, _make_helpers)
    # What is made in a transaction would go with its ROLLBACK; DuckDB says so where there is one.
    con.begin()
    con.rollback()
    con.execute(f"ATTACH ':memory:' AS {CATALOG} (READ_WRITE)")
    try:
        _fill(con, connections)
    except BaseException:
        # The next install would take a catalog that is half full for somebody else's.
        con.execute(f"DETACH {CATALOG}")
        raise
    _databases[connections.identity] = connections
    return connections


def _fill(con: duckdb.DuckDBPyConnection, connections: Connections) -> None:
    """Make everything in the catalog."""
    from rasteret_sql.sql.batches import schema_of
    from rasteret_sql.sql.chips import ChipSource
    from rasteret_sql.sql.pixels import PixelSource, pixel_schema
    from rasteret_sql.sql.samples import SampleSource
    from rasteret_sql.sql.shard_sources import ShardChipSource, ShardSource, ShardTileSource
    from rasteret_sql.sql.virtual import TileSource
    from rasteret_sql.sql.zonal import ZonalSource, zonal_schema

    # duckdb 1.5 scans an Arrow view with the context of the connection that made it, so it is made on this one.
    ((search_path,),) = con.execute("SELECT current_setting('search_path')").fetchall()
    con.execute(f"USE {CATALOG}")
    try:
        set_identity(con, connections.identity)
        con.from_arrow(TileSource(schema_of(con, "tiles"), connections)).create_view("_rst_tile_source")
        con.from_arrow(PixelSource(pixel_schema(con), connections)).create_view("_rst_pixel_source")
        con.from_arrow(SampleSource(schema_of(con, "samples"), connections)).create_view("_rst_sample_source")
        con.from_arrow(ChipSource(schema_of(con, "chips"), connections)).create_view("_rst_chip_source")
        con.from_arrow(ShardSource(schema_of(con, "shards"), connections)).create_view("_rst_shard_source")
        con.from_arrow(ShardTileSource(schema_of(con, "tiles"), connections)).create_view("_rst_shard_tile_source")
        con.from_arrow(ShardChipSource(schema_of(con, "shard_chips"), connections)).create_view(
            "_rst_shard_chip_source"
        )
        con.from_arrow(ZonalSource(zonal_schema(con), connections)).create_view("_rst_zonal_source")
    finally:
        con.execute(f"SET search_path = {quote_literal(search_path)}")
    _make_helpers(con)
    connections.own(con)
    make_public(con, f"{CATALOG}.main.", *_FOLDERS)


def _connections(con: duckdb.DuckDBPyConnection) -> Connections:
    """Find what an earlier `install` in the same database made.

    Raises:
        InvalidArgumentError: the attached database of our name is not ours.
    """
    identity = identity_of(con)
    connections = _databases.get(identity)
    if connections is None:
        raise InvalidArgumentError(
            f"con: a database of the name {CATALOG!r} is attached, expected that name to be free for the functions; "
            f"attach it under another name, for example ATTACH '…' AS mine"
        )
    connections.check(con)
    return connections


def _make_helpers(con: duckdb.DuckDBPyConnection) -> None:
    """Make the functions in Python, which belong to this connection, and the helpers that call them.

    Their names are new each time: DuckDB has no way to take over the functions of a connection that was closed.
    """
    from rasteret_sql.sql.tile_values import tile_values

    suffix = f"_{uuid.uuid4().hex[:12]}"
    functions.register(con, suffix)
    stac.register(con, suffix)
    con.create_function(
        f"_rstpy_to_list{suffix}",
        tile_values,
        ["BLOB", "VARCHAR"],
        "DOUBLE[]",
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )
    read_headers.register(con, suffix, f"{CATALOG}.main.")
    identity = identity_of(con)

    def assets_of(index: str, settings: str) -> str:
        return unindexed.assets_of(_databases[identity], index, settings)

    con.create_function(
        f"_rstpy_assets_of{suffix}", without_paths(assets_of), ["VARCHAR", "VARCHAR"], "VARCHAR", side_effects=False
    )
    for found in sql_objects(*_FOLDERS):
        if not found.is_public:
            for statement in found.statements(suffix=suffix):
                con.execute(statement)


def _follow(con: duckdb.DuckDBPyConnection, connections: Connections) -> None:
    """Make the public macros in a connection, and see to it that its cursors get them too."""
    for found in sql_objects(*_FOLDERS):
        if found.is_public:
            for statement in found.statements(temporary=True):
                con.execute(statement)
    connections.add(con)
    _followed[con] = connections
    replace_cursor(_cursor)


def _cursor(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Create a duplicate of the current connection."""
    with fork.no_fork, _lock:
        child = bare_cursor(con)
        connections = _followed.get(con)
        if connections is not None:
            _follow(child, connections)
    return child
