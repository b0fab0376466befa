"""The plugin for dbt-duckdb: functions on every connection, sources from STAC, and external models that are indexes.

In profiles.yml:

    plugins:
      - module: rasteret_sql.integrations.dbt
        alias: rasteret_sql
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from dbt_common.exceptions import DbtRuntimeError
from dbt_common.invocation import get_invocation_id

from rasteret_sql.database.hrefs import is_url
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.schema import METADATA_PREFIX
from rasteret_sql.database.select_text import plain_message
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal, quote_path, sql_folder
from rasteret_sql.errors import BuildError, InvalidArgumentError, RasteretError
from rasteret_sql.index.definition import kept_text
from rasteret_sql.index.finish import IndexTarget, checked_target, finish_build, require_rows
from rasteret_sql.index.report import Failure, list_failures
from rasteret_sql.index.reuse import stage_given_rows
from rasteret_sql.index.rows import HeaderCounts
from rasteret_sql.index.staging import build_connection, staging_folder
from rasteret_sql.sql.connection import install

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbt.adapters.duckdb.utils import SourceConfig, TargetConfig

    from rasteret_sql.index.report import BuildReport

#: What the configuration of a source may call, and the name of its first argument.
_SOURCES = {"stac_search": "api", "stac_items": "source"}
#: What rows in which a check found fault are called, beside the index whose place they do not take.
REFUSED = ".refused"
#: Where the macro `write_to_file` of the project puts rows that are to take the place of an index, and the key of
#: their metadata that tells of which run they are.
ROWS = ".rows"
_INVOCATION = "dbt_invocation_id"
_REMEDY = (
    "put write_to_file.sql of examples/dbt/macros into the macros of the project: it has rows written beside an index, "
    "which stays until they are checked"
)
#: How long a thread waits for another one that makes the table of the same source.
_TURN_S = 600.0


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A source that was read.

    Attributes:
        asked: run of dbt, function and arguments.
        version_before: of the table of the source, before it was made of what was read.
    """

    asked: tuple[str, ...]
    version_before: int | None


class _Turns:
    """Lets threads make the table of a source one after the other.

    Each thread that has a model of the source makes it, by CREATE OR REPLACE TABLE of what `load` gave, and DuckDB
    refuses to do that twice at the same time. dbt-duckdb drops what it was given once the table is there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[int, queue.SimpleQueue[None]]] = {}

    def wait(self, name: str) -> Callable[[], None]:
        """Wait for the thread before this one, and give what ends the turn of this one."""
        # Made for use in finalizers, as events are not.
        ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        thread = threading.get_ident()
        with self._lock:
            before, self._last[name] = self._last.get(name), (thread, ended)
        if before is not None and before[0] != thread:
            with contextlib.suppress(queue.Empty):
                before[1].get(timeout=_TURN_S)
        return lambda: ended.put(None)


class Plugin(BasePlugin):  # type: ignore[misc]
    """What dbt-duckdb makes of `module: rasteret_sql.integrations.dbt`."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:  # noqa: ARG002 - dbt-duckdb gives it
        """Begin without a connection."""
        self._con: weakref.ref[duckdb.DuckDBPyConnection] | None = None
        self._turns = _Turns()
        self._loaded: dict[str, _Loaded] = {}

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Install the functions in the connection that dbt opened.

        Raises:
            DbtRuntimeError: they cannot be installed.
        """
        _install(conn)
        self._con = weakref.ref(conn)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Install the functions in a cursor, which a thread of dbt has for itself, and a `check_*` macro per check.

        Raises:
            DbtRuntimeError: they cannot be installed.
        """
        _install(cursor)
        for name, statement in _check_macros().items():
            cursor.execute(f"CREATE OR REPLACE TEMP MACRO {name}(index) AS TABLE {statement}")

    def load(self, source_config: SourceConfig) -> Any:
        """Give a source as an Arrow table: one row per item and TIFF asset.

        A source is read once in each run of dbt, which asks for it once per model and test.

        Args:
            source_config: whose `meta` has `stac_search` or `stac_items`: the function's arguments by name, or its
                first one alone.

        Raises:
            DbtRuntimeError: the configuration is wrong, or the source cannot be read.
        """
        name = source_config.table_name()
        what = f"source {name}"
        end_turn = self._turns.wait(name)
        try:
            function, arguments = _call(source_config, what)
            with self._cursor() as con:
                _require_arguments(con, function, arguments, what)
                table = self._rows_of(con, source_config, function, arguments)
        except RasteretError as error:
            end_turn()
            raise DbtRuntimeError(str(error)) from error
        except duckdb.Error as error:
            end_turn()
            raise DbtRuntimeError(f"{what}: {plain_message(str(error))}") from error
        except BaseException:
            end_turn()
            raise
        weakref.finalize(table, end_turn)
        return table

    def _rows_of(
        self, con: duckdb.DuckDBPyConnection, source_config: SourceConfig, function: str, arguments: dict[str, Any]
    ) -> Any:
        name = source_config.table_name()
        asked = (get_invocation_id(), function, json.dumps(arguments, sort_keys=True, default=str))
        loaded, version = self._loaded.get(name), _version_of(con, source_config)
        if loaded is not None and loaded.asked == asked and version not in {None, loaded.version_before}:
            return con.sql(f"FROM {name}").to_arrow_table()
        first, *others = arguments
        named = ", ".join([f"${first}", *(f"{name} := ${name}" for name in others)])
        table = con.sql(f"FROM {function}({named})", params=arguments).to_arrow_table()
        self._loaded[name] = _Loaded(asked, version)
        return table

    def store(self, target_config: TargetConfig) -> None:
        """Make an index of the rows that an external model wrote: sorted, checked, with its definition; then rename.

        Args:
            target_config: the model and its file.

        Raises:
            DbtRuntimeError: the rows are no index, or a check found fault; they lie beside it, with `.refused`.
        """
        model = target_config.config.model
        what = f"dbt model {model.unique_id}"
        try:
            path = _location(target_config, what)
            rows = _written_rows(path, what)
            try:
                report = _build(path, rows, _definition(model, what), what)
            except RasteretError as error:
                raise BuildError(
                    self._refuse(target_config, path, rows, str(error).removeprefix(f"{what}: "))
                ) from error
            if rows != path:
                rows.unlink(missing_ok=True)
            if report.failures:
                AdapterLogger("rasteret_sql").warning("\n".join([f"{what}:", *list_failures(report.failures)]))
            self._renew_view(target_config, path)
        except RasteretError as error:
            raise DbtRuntimeError(str(error)) from error

    def _refuse(self, target_config: TargetConfig, path: Path, rows: Path, fault: str) -> str:
        """Put rows that are no index aside, and give the message."""
        refused = path.with_name(path.name + REFUSED)
        rows.replace(refused)
        what = f"dbt model {target_config.config.model.unique_id}"
        said = f"{what}: {fault}\nThe rows that it gave are no index; they are in {refused}."
        if rows == path:
            return f"{said} dbt-duckdb wrote them in the place of the index, if there was one; {_REMEDY}"
        # Of a model without rows, dbt-duckdb's view leaves out what has a NULL.
        self._renew_view(target_config, path, always=True)
        return f"{said} The index is as it was."

    def default_materialization(self) -> str:
        """Sources become tables: what a search found once is what all models of a run see."""
        return "table"

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        con = self._con() if self._con is not None else None
        if con is None:
            raise InvalidArgumentError("dbt: got no connection, expected the one that dbt-duckdb opens; run dbt again")
        return con.cursor()

    def _renew_view(self, target_config: TargetConfig, path: Path, *, always: bool = False) -> None:
        """Make the view of a model anew where its columns are not those of the file: their order may be another one."""
        with self._cursor() as con:
            columns = con.execute(f"DESCRIBE FROM read_parquet({quote_path(path)})").fetchall()
            if always or [(row[0], row[1]) for row in columns] != [
                (one.name, one.dtype) for one in target_config.column_list
            ]:
                location = quote_literal(target_config.location.path)
                con.execute(f"CREATE OR REPLACE VIEW {target_config.relation} AS FROM read_parquet({location})")


@cache
def _check_macros() -> dict[str, str]:
    """The checks of every index, each as a query of the table that `index` names."""
    return {
        f"check_{file.stem}": (
            f"WITH asset_index AS (FROM query_table(index)) FROM (\n{file.read_text(encoding='utf-8')}\n)"
        )
        for file in sorted((sql_folder() / "checks").glob("*.sql"))
    }


def _install(con: duckdb.DuckDBPyConnection) -> None:
    try:
        install(con)
    except RasteretError as error:
        raise DbtRuntimeError(str(error)) from error


def _version_of(con: duckdb.DuckDBPyConnection, source_config: SourceConfig) -> int | None:
    """What tells a table from the one that is made in its place; None where there is none."""
    rows = con.execute(
        "SELECT table_oid FROM duckdb_tables() WHERE database_name = coalesce($1, current_database()) "
        "AND lower(schema_name) = lower($2) AND lower(table_name) = lower($3)",
        [source_config.database, source_config.schema, source_config.identifier],
    ).fetchall()
    return rows[0][0] if rows else None


def _call(source_config: SourceConfig, what: str) -> tuple[str, dict[str, Any]]:
    """The function that a source is read by, and its arguments, the first one first."""
    functions = [name for name in _SOURCES if name in source_config]
    if len(functions) != 1:
        raise InvalidArgumentError(
            f"{what}: its meta has {' and '.join(functions) or 'neither'}, expected one of {', '.join(_SOURCES)}; "
            f"give the arguments of that function, such as stac_search: {{api: https://…, collections: […]}}"
        )
    (function,) = functions
    first, given = _SOURCES[function], source_config[function]
    arguments = dict(given) if isinstance(given, Mapping) else {first: given}
    if not isinstance(arguments.get(first), str) or not arguments[first]:
        raise InvalidArgumentError(f"{what}: {function} has {arguments.get(first)!r} as {first}, expected a text")
    values = {first: arguments.pop(first), **arguments}
    return function, {name: _bound(value) for name, value in values.items() if value is not None}


def _bound(value: Any) -> Any:
    """A value of YAML as DuckDB takes it; objects are GeoJSON and CQL2."""
    return json.dumps(value) if isinstance(value, Mapping) else value


def _require_arguments(con: duckdb.DuckDBPyConnection, function: str, arguments: Mapping[str, Any], what: str) -> None:
    ((known,), *_) = con.execute(
        "SELECT parameters FROM duckdb_functions() WHERE function_name = ?", [function]
    ).fetchall()
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise InvalidArgumentError(
            f"{what}: {function} got {', '.join(map(str, unknown))}, expected some of {', '.join(known)}"
        )


def _location(target_config: TargetConfig, what: str) -> Path:
    """The file of an external model."""
    location = target_config.location
    if location is None or location.format != "parquet" or is_url(location.path) or not Path(location.path).is_file():
        raise InvalidArgumentError(
            f"{what}: got the location {location.path if location else None!r}, expected one Parquet file on this "
            f"machine; leave out format and partition_by, or the plugin"
        )
    return checked_target(location.path, replaces_any_parquet=True)


def _written_rows(path: Path, what: str) -> Path:
    """The file with the rows that dbt-duckdb wrote in this run: beside the index, or in its place.

    Raises:
        InvalidArgumentError: it wrote them to neither of them.
    """
    beside = path.with_name(path.name + ROWS)
    if _metadata(beside).get(_INVOCATION) == get_invocation_id():
        return beside
    metadata = _metadata(path)
    if any(key.startswith(METADATA_PREFIX) for key in metadata):
        raise InvalidArgumentError(
            f"{what}: got no rows of this run in {beside}, expected those of the model; another run "
            f"took them. Run it again"
        )
    if metadata.get(_INVOCATION) != get_invocation_id():
        AdapterLogger("rasteret_sql").warning(
            f"{what}: dbt-duckdb writes over the index before it is checked; {_REMEDY}"
        )
    return path


def _metadata(path: Path) -> dict[str, str]:
    """What a Parquet file says of itself; nothing where it is none, such as what a killed run left."""
    if not path.is_file():
        return {}
    try:
        with own_connection() as con:
            rows = con.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
    except duckdb.Error:
        return {}
    return {key.decode(): value.decode(errors="replace") for key, value in rows}


def _definition(model: Any, what: str) -> dict[str, Any]:
    """What the index keeps of the model that it was made by: `sql` is for definitions, which `refresh` runs again."""
    return {
        "source": what,
        "name": model.name,
        "grain": "one row per asset",
        "compiled_sql": kept_text(model.compiled_code or model.raw_code),
        "reads": sorted(model.depends_on.nodes),
    }


def _build(path: Path, rows: Path, definition: Mapping[str, Any], what: str) -> BuildReport:
    """Put an index of the rows in its place."""
    began_s = time.monotonic()
    with staging_folder(path) as folder, build_connection(folder) as con:
        _require_rows(con, rows, what)
        count = stage_given_rows(con, rows, what)
        counts = HeaderCounts(rows=count, failures=_failures(con, rows))
        require_rows(path, counts)
        target = IndexTarget(path, definition)
        return finish_build(con, folder, target, counts=counts, left_out={}, began_s=began_s)


def _require_rows(con: duckdb.DuckDBPyConnection, path: Path, what: str) -> None:
    """Refuse a model without rows, which dbt-duckdb writes as one row of NULLs."""
    reader = f"read_parquet({quote_path(path)})"
    columns = [row[0] for row in con.execute(f"DESCRIBE FROM {reader}").fetchall()]
    given = " OR ".join(f"{quote_identifier(name)} IS NOT NULL" for name in columns)
    if not con.execute(f"SELECT 1 FROM {reader} WHERE {given} LIMIT 1").fetchall():  # noqa: S608 - quoted
        raise BuildError(f"{what}: its SELECT gives no rows.")


def _failures(con: duckdb.DuckDBPyConnection, path: Path) -> list[Failure]:
    """The files that `read_headers` could not read: rows without levels, whose notes say why."""
    rows = con.execute(
        f"SELECT href, item_id, asset, notes[1] FROM read_parquet({quote_path(path)}) "  # noqa: S608 - quoted
        f"WHERE levels IS NULL AND href IS NOT NULL"
    ).fetchall()
    failures = []
    for href, item_id, asset, note in rows:
        error, _, message = (note or "BuildError: it has no levels").partition(": ")
        failures.append(Failure(href, item_id, asset, error, message))
    return failures
