"""The plugin for dbt-duckdb: functions on every connection, sources from STAC, and external models that are indexes.

In profiles.yml:

    plugins:
      - module: rasteret_sql.adapters.dbt
        alias: rasteret_sql
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from dbt_common.exceptions import DbtRuntimeError

from rasteret_sql.errors import BuildError, InvalidArgumentError, RasteretError
from rasteret_sql.index.definition import kept_text
from rasteret_sql.index.finishing import build_connection, checked_target, finish_build, require_rows, staging_folder
from rasteret_sql.index.hrefs import is_url
from rasteret_sql.index.report import Failure, list_failures
from rasteret_sql.index.rows import HeaderCounts
from rasteret_sql.index.sqlfiles import quote_identifier, quote_literal, sql_folder
from rasteret_sql.sql.connection import install
from rasteret_sql.sql.definitions import _make_views, _require_index, plain_error

if TYPE_CHECKING:
    from dbt.adapters.duckdb.utils import SourceConfig, TargetConfig

    from rasteret_sql.index.report import BuildReport

#: What the configuration of a source may call, and the name of its first argument.
_SOURCES = {"stac_search": "api", "stac_items": "source"}
#: What an index of which a check found fault is called, beside the place that it does not take.
REFUSED = ".refused"


class Plugin(BasePlugin):  # type: ignore[misc]
    """What dbt-duckdb makes of `module: rasteret_sql.adapters.dbt`."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:  # noqa: ARG002 - dbt-duckdb gives it
        """Begin without a connection."""
        self._con: weakref.ref[duckdb.DuckDBPyConnection] | None = None

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Install the functions in the connection that dbt opened.

        Raises:
            DbtRuntimeError: they cannot be installed.
        """
        try:
            install(conn)
        except RasteretError as error:
            raise DbtRuntimeError(str(error)) from error
        self._con = weakref.ref(conn)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Install the functions in a cursor, which a thread of dbt has for itself, and a `check_*` macro per check.

        Raises:
            DbtRuntimeError: they cannot be installed.
        """
        try:
            install(cursor)
        except RasteretError as error:
            raise DbtRuntimeError(str(error)) from error
        for name, statement in _check_macros().items():
            cursor.execute(f"CREATE OR REPLACE TEMP MACRO {name}(index) AS TABLE {statement}")

    def load(self, source_config: SourceConfig) -> Any:
        """Give a source as an Arrow table: one row per item and TIFF asset.

        Args:
            source_config: whose `meta` has `stac_search` or `stac_items`: the function's arguments by name, or its
                first one alone.

        Raises:
            DbtRuntimeError: the configuration is wrong, or the source cannot be read.
        """
        what = f"source {source_config.table_name()}"
        try:
            function, arguments = _call(source_config, what)
            with self._cursor() as con:
                _require_arguments(con, function, arguments, what)
                first, *others = arguments
                named = ", ".join([f"${first}", *(f"{name} := ${name}" for name in others)])
                return con.sql(f"FROM {function}({named})", params=arguments).to_arrow_table()
        except RasteretError as error:
            raise DbtRuntimeError(str(error)) from error
        except duckdb.Error as error:
            raise DbtRuntimeError(f"{what}: {plain_error(error)}") from error

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
            try:
                report = _build(path, _definition(model, what), what)
            except RasteretError as error:
                refused = path.with_name(path.name + REFUSED)
                path.replace(refused)
                text = str(error).removeprefix(f"{what}: ")
                raise BuildError(
                    f"{what}: {text}\nThe rows that it gave are no index; they are in {refused}."
                ) from error
            if report.failures:
                AdapterLogger("rasteret_sql").warning("\n".join([f"{what}:", *list_failures(report.failures)]))
            self._renew_view(target_config, path)
        except RasteretError as error:
            raise DbtRuntimeError(str(error)) from error

    def default_materialization(self) -> str:
        """Sources become tables: what a search found once is what all models of a run see."""
        return "table"

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        con = self._con() if self._con is not None else None
        if con is None:
            raise InvalidArgumentError("dbt: got no connection, expected the one that dbt-duckdb opens; run dbt again")
        return con.cursor()

    def _renew_view(self, target_config: TargetConfig, path: Path) -> None:
        """Make the view of a model anew where its columns are not those of the file: their order may be another one."""
        with self._cursor() as con:
            columns = con.execute(f"DESCRIBE FROM read_parquet({quote_literal(str(path))})").fetchall()
            if [(row[0], row[1]) for row in columns] != [(one.name, one.dtype) for one in target_config.column_list]:
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
    return checked_target(location.path)


def _definition(model: Any, what: str) -> dict[str, Any]:
    """What the index keeps of the model that it was made by: `sql` is for definitions, which `refresh` runs again."""
    return {
        "source": what,
        "name": model.name,
        "grain": "one row per asset",
        "compiled_sql": kept_text(model.compiled_code or model.raw_code),
        "reads": sorted(model.depends_on.nodes),
    }


def _build(path: Path, definition: Mapping[str, Any], what: str) -> BuildReport:
    """Put an index in the place of the file with its rows."""
    began_s = time.monotonic()
    with staging_folder(path) as folder, build_connection(folder) as con:
        _require_rows(con, path, what)
        _require_index(con, path, what)
        _make_views(con, path)
        failures = _failures(con, path)
        ((rows,),) = con.execute("SELECT count(*) FROM headers").fetchall()
        counts = HeaderCounts(rows=rows, failures=failures)
        require_rows(path, counts, failures)
        return finish_build(
            con,
            folder,
            path,
            definition=definition,
            counts=counts,
            failures=failures,
            left_out={},
            began_s=began_s,
        )


def _require_rows(con: duckdb.DuckDBPyConnection, path: Path, what: str) -> None:
    """Refuse a model without rows, which dbt-duckdb writes as one row of NULLs."""
    reader = f"read_parquet({quote_literal(str(path))})"
    columns = [row[0] for row in con.execute(f"DESCRIBE FROM {reader}").fetchall()]
    given = " OR ".join(f"{quote_identifier(name)} IS NOT NULL" for name in columns)
    if not con.execute(f"SELECT 1 FROM {reader} WHERE {given} LIMIT 1").fetchall():  # noqa: S608 - quoted
        raise BuildError(f"{what}: its SELECT gives no rows.")


def _failures(con: duckdb.DuckDBPyConnection, path: Path) -> list[Failure]:
    """The files that `read_headers` could not read: rows without levels, whose notes say why."""
    rows = con.execute(
        f"SELECT href, item_id, asset, notes[1] FROM read_parquet({quote_literal(str(path))}) "  # noqa: S608 - quoted
        f"WHERE levels IS NULL AND href IS NOT NULL"
    ).fetchall()
    failures = []
    for href, item_id, asset, note in rows:
        error, _, message = (note or "BuildError: it has no levels").partition(": ")
        failures.append(Failure(href, item_id, asset, error, message))
    return failures
