"""Names in the database of a session, for completion. A thread looks them up, and a cache keeps them."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from rasteret_sql.apps.shell.completion import Function
from rasteret_sql.database.sqlfiles import quote_literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rasteret_sql.apps.shell.session import Session
    from rasteret_sql.apps.shell.syntax import Source

T = TypeVar("T")

#: How long completions, which are made in a thread, wait for what is looked up for the first time.
_PATIENCE_S = 1.0
#: Files may be written again: what is known of one is looked up again after so many seconds.
_KEPT_S = 30.0
#: Functions of ours that are bound without asking anybody: their columns may be looked up.
_LOCAL = frozenset({"read_tiles", "tile_plan", "explain_read", "read_headers", "datasets"})

_FUNCTIONS = """
    SELECT
        function_name,
        any_value(parameters ORDER BY len(parameters) DESC),
        any_value(coalesce(comment, description)),
        bool_or(comment IS NOT NULL AND database_name <> 'system'),
        bool_or(function_type IN ('table', 'table_macro'))
    FROM duckdb_functions()
    WHERE regexp_full_match(function_name, '[a-z]\\w*') AND NOT starts_with(function_name, '_')
    GROUP BY ALL
    ORDER BY function_name
"""
_TABLES = """
    SELECT table_name, 'table' FROM duckdb_tables() WHERE NOT internal AND database_name <> 'rasteret_sql'
    UNION ALL
    SELECT view_name, 'view' FROM duckdb_views() WHERE NOT internal AND database_name <> 'rasteret_sql'
    ORDER BY ALL
"""
_COLUMNS = """
    SELECT column_name, any_value(data_type)
    FROM duckdb_columns() WHERE lower(table_name) = lower({name}) AND NOT internal
    GROUP BY column_name ORDER BY min(column_index)
"""
_DATASETS = "SELECT id, title FROM datasets() ORDER BY id"
_BANDS = """
    SELECT asset, list_filter([rst_band.name FOR rst_band IN any_value(bands)], lambda rst_name: rst_name IS NOT NULL)
    FROM query_table(rasteret_sql.main._rst_index_table({index}))
    GROUP BY asset ORDER BY asset
"""


class Catalog:
    """Returns known names within a second. Other names follow once the thread has found them.

    Args:
        session: the session of the database.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[Any, tuple[float, Any]] = {}
        self._asked: set[Any] = set()
        self._news = threading.Condition()
        self._jobs: queue.SimpleQueue[tuple[Any, Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._look_up, name="rasteret-completion", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, unless it waits for a slow query."""
        self._jobs.put(None)
        self._thread.join(_PATIENCE_S)

    def forget(self) -> None:
        """Look up tables and files again, after a statement has run."""
        with self._news:
            for key in self._known.keys() - {"functions", "datasets"}:
                del self._known[key]

    def functions(self) -> Sequence[Function]:
        """Give all functions."""
        return self._get("functions", self._find_functions, [])

    def tables(self) -> Sequence[tuple[str, str]]:
        """Give tables and views: name and kind."""
        return self._get("tables", lambda: self._rows(_TABLES), [])

    def columns(self, source: Source) -> Sequence[tuple[str, str]]:
        """Give names and types of the columns of a source."""
        if source.kind == "table":
            name = source.name.rpartition(".")[2]
            found = _COLUMNS.format(name=quote_literal(name))
            return self._get(("table", name), lambda: self._rows(found), [])
        if source.kind == "file":
            read = quote_literal(source.name)
        elif source.name in _LOCAL:
            read = f"{source.name}({quote_literal(source.argument) if source.argument is not None else ''})"
        else:
            return []
        described = f"SELECT column_name, column_type FROM (DESCRIBE FROM {read})"  # noqa: S608 - quoted
        return self._get(read, lambda: self._rows_beside(described), [])

    def bands(self, index: str) -> Sequence[tuple[str, str]]:
        """Give the values of `bands :=` for an index: assets, and the bands of assets with several."""
        return self._get(("bands", index), lambda: self._find_bands(index), [])

    def datasets(self) -> Sequence[tuple[str, str]]:
        """Give the datasets of the catalog: id and title."""
        return self._get("datasets", lambda: self._rows_beside(_DATASETS), [])

    def _find_functions(self) -> list[Function]:
        return [
            Function(name, tuple(parameters or ()), comment or "", is_ours, is_table)
            for name, parameters, comment, is_ours, is_table in self._rows(_FUNCTIONS)
        ]

    def _find_bands(self, index: str) -> list[tuple[str, str]]:
        found = []
        for asset, names in self._rows_beside(_BANDS.format(index=quote_literal(index))):
            found.append((asset, ", ".join(names or ())))
            if len(names or ()) > 1:
                found += [(f"{asset}:{name}", "band") for name in names]
        return found

    def _rows(self, query: str) -> list[Any]:
        """Run a query that cannot fail on the connection of the session, which sees temporary tables.

        An error would abort a transaction that the user has begun.
        """
        with self._session.idle:
            return self._session.con.execute(query).fetchall()

    def _rows_beside(self, query: str) -> list[Any]:
        """Run a query that may fail, or take long, on a cursor."""
        cursor = self._session.con.cursor()
        try:
            return cursor.execute(query).fetchall()
        finally:
            cursor.close()

    def _get(self, key: Any, find: Callable[[], T], unknown: T) -> T:
        if not self._session.is_ready:
            return unknown
        with self._news:
            found_at, known = self._known.get(key, (0.0, unknown))
            found: T = known
            if found_at and time.monotonic() - found_at < _KEPT_S:
                return found
            if key not in self._asked:
                self._asked.add(key)
                self._jobs.put((key, find))
            if not found_at:
                self._news.wait_for(lambda: key in self._known, _PATIENCE_S)
                found = self._known.get(key, (0.0, unknown))[1]
        return found

    def _look_up(self) -> None:
        while (job := self._jobs.get()) is not None:
            key, find = job
            found: Any = []
            # A name that is half typed is no table; whatever is wrong, the statement says it when it is run.
            with contextlib.suppress(Exception):
                found = find()
            with self._news:
                self._known[key] = (time.monotonic(), found)
                self._asked.discard(key)
                self._news.notify_all()
            del job, find
