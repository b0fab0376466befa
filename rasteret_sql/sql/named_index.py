"""The forms of an index: a table, a view, files, the text of a query, rows in memory. DuckDB sees each under a name."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.database.folders import (
    folder_types,
    index_files,
    index_folder,
    index_reader,
    is_glob,
    is_many,
    is_odd_name,
    not_an_index,
    require_version,
)
from rasteret_sql.database.hrefs import is_url
from rasteret_sql.database.part_bounds import parts_that_meet
from rasteret_sql.database.schema import SCHEMA_VERSION, index_columns, misfit
from rasteret_sql.database.select_text import message_of, require_select, shortened
from rasteret_sql.database.sqlfiles import quote_identifier
from rasteret_sql.errors import AssetNotFoundError, InvalidArgumentError, InvalidIndexError, RasteretError
from rasteret_sql.io import access
from rasteret_sql.sql.catalog import CATALOG, sql_object
from rasteret_sql.sql.unindexed import asset_rows, is_source, is_source_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from rasteret_sql.database.part_bounds import Reach
    from rasteret_sql.plan.arguments import ReadArguments

_QUERY = re.compile(
    r"(?:\s|--[^\n]*\n)*(?:(?:FROM|SELECT|WITH|VALUES|TABLE|PIVOT|UNPIVOT)[\s('\"]|\(\s*(?:FROM|SELECT|WITH)\s)",
    re.IGNORECASE,
)
_PATH = re.compile(r"\.(parquet|parq|geoparquet)\b|://|[/\\*?]", re.IGNORECASE)
#: A URL in the text of a query in place of a table.
_NAMED_URL = re.compile(r"""(?:FROM|JOIN|,)\s*(?:'|")([A-Za-z][A-Za-z0-9+.\-]*://[^'"]+)(?:'|")""", re.IGNORECASE)
#: A name with the suffix of a file: s2.parquett.
_FILE_NAME = re.compile(r"[^\"'\s]*\.[A-Za-z]\w*")
#: What _rst_asset_plan reads of an index.
INDEX_COLUMNS = (
    "collection", "item_id", "asset", "datetime", "href", "mirror", "etag", "file_size", "cog_layout", "crs",
    "transform", "dtype", "bands", "formats", "levels", "reach",
)  # fmt: skip
#: What rows have one of that name files without their headers.
_SOURCE_COLUMNS = frozenset({"href", "assets"})
#: Functions that give assets; cursors see them by their whole names only.
_SOURCES: Final = ("stac_items", "stac_search", "read_headers")
#: Those that indexes of an older schema version lack.
_NEW_COLUMNS = frozenset({"formats", "reach"})
#: Name under which rows that are no file are shown to the planner.
_ROWS = "given_index"


#: What a read does not see of the session that it is part of.
UNSEEN: Final = (
    "A read runs on a separate connection, and cannot see CTEs, temporary tables or uncommitted rows, nor what "
    "con.register shows"
)


def table_of_registered(name: str) -> str:
    """Say how a DataFrame that is registered under a name becomes a table that a read sees."""
    return f"Make a table of a registered DataFrame, under another name: CREATE TABLE my_table AS FROM {name}"


def reason_of(error: duckdb.Error) -> str:
    """Give what DuckDB says of a name that it does not know, without the names that it guesses among its own tables."""
    return message_of(error).partition(" Did you mean ")[0]


def no_such_file(what: str, text: str) -> str | None:
    """Give the message for a name that is neither a table nor a file, and has the suffix of a file; None for others.

    `_rst_no_such_file` says the same.

    Args:
        what: how messages call it.
        text: a name that DuckDB does not know.
    """
    # DuckDB says of a Parquet path itself that there is no such file.
    if _FILE_NAME.fullmatch(text) is None or is_path(text):
        return None
    return (
        f"{what}: {text!r}: no such file, and no table or view of this name; expected a table, a view or a Parquet "
        "path. Check how the suffix is spelled"
    )


def is_query(text: str) -> bool:
    """Whether a text is a query rather than the name of a table or a path."""
    is_bare_path = text.lower().endswith((".parquet", ".parq")) and "'" not in text and '"' not in text
    return not is_bare_path and _QUERY.match(text) is not None


def is_path(text: str) -> bool:
    """Whether a text that is no query looks like a path rather than like the name of a table."""
    return _PATH.search(text) is not None


def index_in_words(index: str) -> str:
    """Give what messages call an index: its path, the text of its query, or that its rows were given."""
    return "(given rows)" if index == _ROWS else shortened(index)


def shown_index(
    cursor: duckdb.DuckDBPyConnection, index: Any, arguments: ReadArguments, *, with_properties: bool = False
) -> ReadArguments:
    """Show the rows of an index to the planner and give the arguments that name them."""
    if isinstance(index, os.PathLike):
        index = os.fspath(index)
    if isinstance(index, str) and (is_query(index) or not is_source_path(index)):
        check_local(index)
        return replace(arguments, index=index, is_ordered=is_query(index))
    rows = _with_names_of_schema(_arrow(index, with_properties=with_properties))
    missing = [column for column in INDEX_COLUMNS if column not in rows.schema.names]
    if missing and "levels" in missing and _SOURCE_COLUMNS.intersection(rows.schema.names):
        # `unindexed` makes rows of an index of them.
        missing = []
    if "pixels" in rows.schema.names and missing:
        raise InvalidIndexError(
            f"index: got {type(index).__name__} with rows of tiles, expected rows of an index; pass the index itself"
        )
    if missing:
        raise InvalidIndexError(
            f"index: got {type(index).__name__} without the column {', '.join(missing)}; expected rows of an index "
            "made by rasteret_sql.build_index or `rasteret-sql build`, with all their columns"
        )
    cursor.register(_ROWS, rows)
    return replace(arguments, index=_ROWS, is_ordered=True)


def _with_names_of_schema(rows: pa.Table) -> pa.Table:
    """Give columns of an index the names of the schema; to DuckDB, ITEM_ID and item_id are one name."""
    known = index_columns()
    return rows.rename_columns([name.lower() if name.lower() in known else name for name in rows.schema.names])


@contextmanager
def explained_index(
    cursor: duckdb.DuckDBPyConnection, index: str, wanted: Callable[[], Reach] | None = None
) -> Iterator[str]:
    """Give a name for an index that `query_table` takes, and explain what DuckDB says of it.

    Args:
        cursor: a connection of its own.
        index: the index.
        wanted: gives bounds, if no row outside of them matters: files of a partitioned index without any are left out.

    Raises:
        InvalidIndexError: the index is not one.
        InvalidArgumentError: DuckDB says something else.
    """
    import duckdb

    name = named_index(cursor, index, wanted)
    try:
        yield name
    except duckdb.Error as error:
        raise _explained(cursor, index, name, error) from error


def named_index(cursor: duckdb.DuckDBPyConnection, index: str, wanted: Callable[[], Reach] | None = None) -> str:
    """Give a name for an index that query_table takes: a query gets a temporary view, and so do many files.

    The arguments are those of `explained_index`.
    """
    _show_remote(cursor, index)
    if not is_query(index) and is_source_path(index):
        cursor.register(_ROWS, asset_rows(index))
        return _ROWS
    return named_table(cursor, index, wanted)


def named_table(cursor: duckdb.DuckDBPyConnection, index: str, wanted: Callable[[], Reach] | None = None) -> str:
    """Give a name for any table that query_table takes, as `named_index` does; GeoJSON is rows of geometries here."""
    if not is_query(index) and (is_many(index) or is_odd_name(index)) and not _is_table(cursor, index):
        return _view_of_files(cursor, index, wanted)
    if not is_query(index):
        # duckdb 1.5 takes dots in a path for those between catalog, schema and table where it is not quoted.
        return quote_identifier(index) if _PATH.search(index) and '"' not in index else index
    import duckdb

    query = require_select(cursor, index, "index")
    try:
        _require_admitted(cursor, index)
        _make_sources(cursor, index)
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW planned_index AS {query}")
    except duckdb.Error as error:
        raise InvalidIndexError(f"index: the query {shortened(index)} does not run: {message_of(error)}") from error
    return "planned_index"


def _make_sources(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    """Let a query call functions that give assets, by their bare names, where its database has them."""
    named = [name for name in _SOURCES if name in query.lower()]
    present = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE database_name = $1"
    known = {name for (name,) in cursor.execute(present, [CATALOG]).fetchall()} if named else set()
    for name in known.intersection(named):
        cursor.execute(sql_object("functions", name).statements(temporary=True)[0])


def _show_remote(cursor: duckdb.DuckDBPyConnection, index: str) -> None:
    """Show what an index names on servers and in buckets, where DuckDB does not read it itself."""
    named = _NAMED_URL.findall(index) if is_query(index) else [index]
    urls = [url for url in named if is_url(url) and not (is_glob(url) or url.endswith("/") or is_source_path(url))]
    if urls:
        from rasteret_sql.sql.remote_index import show_remote

        show_remote(cursor, urls)


def _require_admitted(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse the text of a query that a policy for this process does not let run."""
    policy = access.policy()
    if policy is None or policy.query_check is None:
        return
    ((is_admitted,),) = cursor.execute(f"SELECT {policy.query_check}('', $1::VARCHAR)", [query]).fetchall()
    if not is_admitted:
        raise InvalidIndexError(
            f"index: got {shortened(query)}, expected a SELECT that calls only functions which read. {policy.remedy}"
        )


def _is_table(cursor: duckdb.DuckDBPyConnection, index: str) -> bool:
    """Whether there is a table or view of the name that a folder has too."""
    import duckdb

    if _PATH.search(index):
        return False
    try:
        cursor.execute("SELECT 1 FROM (DESCRIBE FROM query_table($1))", [index])
    except duckdb.Error:
        return False
    return True


def _view_of_files(cursor: duckdb.DuckDBPyConnection, index: str, wanted: Callable[[], Reach] | None) -> str:
    """Make a view of a folder or a glob; hrefs that are relative are led by the folder of their file."""
    import duckdb

    try:
        files: Sequence[str] = [index] if is_url(index) else index_files(index)
        types = None if wanted is None or len(files) == 1 else folder_types(files)
        if wanted is not None and types is not None:
            files = parts_that_meet(index_folder(index), files, wanted)
        if not is_url(index):
            require_version(cursor, files)
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW planned_index AS FROM {index_reader(files, folder_types=types)}")
    except AssetNotFoundError as error:
        raise InvalidIndexError(f"index: {error}") from error
    except duckdb.Error as error:
        raise InvalidIndexError(
            f"index: {shortened(index)} cannot be read as one index: {_reason(index, error)}; expected files made by "
            "rasteret_sql.build_index or `rasteret-sql build`"
        ) from error
    return "planned_index"


def _reason(index: str, error: duckdb.Error) -> str:
    """Say why DuckDB cannot read files; of a missing extension, what it is for and what does without it."""
    if is_url(index) and "httpfs" in str(error):
        return (
            "folders and globs at a URL need DuckDB's extension httpfs, which is not installed (INSTALL httpfs). The "
            "URL of one Parquet file needs none"
        )
    return message_of(error)


def _explained(cursor: duckdb.DuckDBPyConnection, index: str, name: str, error: duckdb.Error) -> RasteretError:
    """Say what is wrong with an index, or else what the planner says."""
    import duckdb

    shown = shortened(index)
    try:
        columns = [
            row[0]
            for row in cursor.execute("SELECT column_name FROM (DESCRIBE FROM query_table($1))", [name]).fetchall()
        ]
    except duckdb.Error as reason:
        if _PATH.search(index):
            return InvalidIndexError(
                f"index: {shown} cannot be read as Parquet: {_reason(index, reason)}; expected an index made by "
                "rasteret_sql.build_index or `rasteret-sql build`"
            )
        return InvalidIndexError(
            no_such_file("index", index)
            or f"index: got {shown}, which is no table or view that a read can see ({reason_of(reason)}). {UNSEEN}; "
            "give a table, a view, a Parquet path or the text of a query, or pass the rows from Python: "
            f"read_tiles(con.sql(...)). {table_of_registered(name)}"
        )
    missing = [column for column in INDEX_COLUMNS if column not in columns]
    if missing and set(missing) <= _NEW_COLUMNS:
        return InvalidIndexError(
            f"index: {shown} has another schema version than {SCHEMA_VERSION}: it has no column {', '.join(missing)}; "
            "build it again with rasteret_sql.build_index or `rasteret-sql build`"
        )
    if missing:
        return not_an_index(f"index: {shown}", missing, columns)
    if isinstance(error, duckdb.ConversionException):
        found = misfit(cursor, name, INDEX_COLUMNS, helpers=f"{CATALOG}.main.")
        if found is not None:
            return found
    return InvalidArgumentError(message_of(error))


def base_of(index: str) -> str | None:
    """The folder that relative hrefs of an index resolve against, where the index is a path or URL."""
    if is_query(index) or not _PATH.search(index):
        return None
    return os.path.dirname(index)  # noqa: PTH120 - URLs too


def check_local(index: str) -> None:
    """Refuse a path of an index that does not exist.

    Raises:
        InvalidIndexError: there is no such file or folder.
    """
    if is_query(index) or "://" in index or any(sign in index for sign in "*?["):
        return
    if not os.path.exists(index):  # noqa: PTH110
        raise InvalidIndexError(
            f"index: {index!r}: no such file; expected the path, glob or URL of an index, or a query. Build one with "
            f"rasteret_sql.build_index(source, {index!r})"
        )


def _arrow(index: Any, *, with_properties: bool = False) -> pa.Table:
    import duckdb
    import pyarrow as pa

    if isinstance(index, str) or is_source(index):
        return asset_rows(index)
    if isinstance(index, duckdb.DuckDBPyRelation):
        known = [column for column in index.columns if column.lower() in INDEX_COLUMNS]
        if with_properties:
            known += [
                column for column in index.columns if column.lower() == "bbox" or column.lower() not in index_columns()
            ]
        if "levels" not in map(str.lower, known):
            # All columns describe assets without headers.
            known = list(index.columns)
        try:
            return index.project(", ".join(map(quote_identifier, known)) or "*").to_arrow_table()
        except duckdb.Error as error:
            raise InvalidIndexError(f"index: the query does not run: {error}") from error
    if isinstance(index, pa.Table):
        return index
    if hasattr(index, "to_wkb"):
        # A GeoDataFrame, whose geometries Arrow does not take as they are.
        return pa.Table.from_pandas(index.to_wkb(), preserve_index=False)
    if isinstance(index, (pa.RecordBatch, pa.RecordBatchReader)) or hasattr(index, "__arrow_c_stream__"):
        return pa.table(index) if not isinstance(index, pa.RecordBatch) else pa.Table.from_batches([index])
    raise InvalidIndexError(
        f"index: got {type(index).__name__}, expected a DuckDB relation, an Arrow table, a path, the text of a query, "
        "or STAC items"
    )


def rows_seen(cursor: duckdb.DuckDBPyConnection, index: str) -> str | None:
    """Tell rows of an index apart, as `_rst_rows_seen` does in the session that asks.

    Raises:
        InvalidArgumentError: a view does not run on a cursor.
    """
    import duckdb

    try:
        helpers = f"{CATALOG}.main."
        asked = cursor.execute(f"SELECT {helpers}_rst_rows_seen({helpers}_rst_relations($1))", [index]).fetchall()
        found = cursor.execute(asked[0][0]).fetchall() if asked[0][0] is not None else [(None,)]
    except duckdb.Error as error:
        raise InvalidArgumentError(message_of(error)) from error
    text: str | None = found[0][0]
    return text
