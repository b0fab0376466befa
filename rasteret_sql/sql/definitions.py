"""Runs index definitions: the SELECT of a `.sql` file becomes an index as `build_index` writes it."""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from rasteret_sql import errors
from rasteret_sql.errors import AssetNotFoundError, BuildError, InvalidArgumentError, RasteretError
from rasteret_sql.index.definition import checked_variables, kept_text, kept_variables, parse_definition
from rasteret_sql.index.finishing import build_connection, checked_target, finish_build, require_rows, staging_folder
from rasteret_sql.index.properties import column_names
from rasteret_sql.index.schema import index_columns
from rasteret_sql.index.sqlfiles import quote_identifier, quote_literal, sql_file
from rasteret_sql.sql.connection import install
from rasteret_sql.sql.header_rows import counted

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from rasteret_sql.index.definition import Definition
    from rasteret_sql.index.report import BuildReport

#: Columns of the item, which stand before its properties.
_ITEM_COLUMNS = ("collection", "item_id", "datetime", "start_datetime", "end_datetime")
_ASSET_COLUMNS = ("asset", "href", "mirror")


def build_definition(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    variables: Mapping[str, Any] | None = None,
) -> BuildReport:
    """Build an index of an index definition.

    Args:
        source: path of a `.sql` file.
        path: where the index is written.
        variables: what `getvariable('name')` gives in it.

    Raises:
        AssetNotFoundError: there is no such file.
        InvalidArgumentError: it is no definition, or gives no rows of an index.
        BuildError: it failed, no file could be read, or a check gave rows; nothing was written.
    """
    file = Path(source).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise AssetNotFoundError(f"{file}: no such file; expected an index definition, which is a .sql file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{file}: cannot be read as text ({error}); expected an index definition") from error
    return build_from_text(text, path, what=str(file), variables=variables)


def build_from_text(
    text: str, path: str | os.PathLike[str], *, what: str, variables: Mapping[str, Any] | None = None
) -> BuildReport:
    """Build an index of the text of a definition; see `build_definition`.

    Args:
        text: the definition.
        path: where the index is written.
        what: where the text comes from, for messages and for the index.
        variables: what `getvariable('name')` gives in it.
    """
    target = checked_target(path)
    definition = parse_definition(text, what)
    values = checked_variables(variables)
    began_s = time.monotonic()
    with staging_folder(target) as folder, build_connection(folder) as con:
        install(con)
        query = _query(con, definition, what)
        for name, value in values.items():
            con.execute(
                f"SET VARIABLE {quote_identifier(name)} = ?", [list(value) if isinstance(value, tuple) else value]
            )
        rows = folder / "rows.parquet"
        with counted(con) as counts:
            found = _copy(con, query, rows, what)
        if not found:
            raise BuildError(f"{target}: the SELECT of {what} gives no rows; nothing was written.")
        if len(counts.failures) >= found:
            require_rows(target, counts, counts.failures)
        _require_index(con, rows, what)
        _make_views(con, rows)
        if not counts.rows:
            # Rows of another index have their headers already.
            ((counts.rows,),) = con.execute("SELECT count(*) FROM headers").fetchall()
        require_rows(target, counts, counts.failures)
        return finish_build(
            con,
            folder,
            target,
            definition={
                "source": what,
                "name": definition.name,
                "grain": definition.grain,
                "sql": kept_text(text),
                "variables": kept_variables(values),
            },
            counts=counts,
            failures=counts.failures,
            left_out={},
            began_s=began_s,
            checks=definition.checks,
        )


def _query(con: duckdb.DuckDBPyConnection, definition: Definition, what: str) -> str:
    """Give the one SELECT of a definition."""
    try:
        statements = con.extract_statements(definition.text)
    except duckdb.Error as error:
        raise InvalidArgumentError(f"{what}: this is no SQL: {plain_error(error)}") from error
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise InvalidArgumentError(
            f"{what}: got {', '.join(kinds) or 'no statement'}, expected one SELECT; "
            f"the build makes the connection, writes the file and runs the checks"
        )
    return definition.text.rstrip().rstrip(";")


def _copy(con: duckdb.DuckDBPyConnection, query: str, path: Path, what: str) -> int:
    """Write what the SELECT gives, and say how many rows that is."""
    copy = f"COPY (\n{query}\n) TO {quote_literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
    try:
        ((rows,),) = con.execute(copy).fetchall()
        return int(rows)
    except duckdb.Error as error:
        raise BuildError(f"{what}: {plain_error(error)}\nNothing was written.") from error


def _require_index(con: duckdb.DuckDBPyConnection, path: Path, what: str) -> None:
    """See to it that rows have the columns of an index, and that their types are those of the schema."""
    con.execute(sql_file("schema/asset_index.sql").replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
    wanted = {row[0]: row[1] for row in con.execute("DESCRIBE temp.main.asset_index").fetchall()}
    con.execute("DROP TABLE temp.main.asset_index")
    reader = f"read_parquet({quote_literal(str(path))})"
    given = {row[0]: row[1] for row in con.execute(f"DESCRIBE FROM {reader}").fetchall()}
    missing = [name for name in wanted if name not in given]
    if missing:
        raise InvalidArgumentError(
            f"{what}: its SELECT gives no {', '.join(missing)}; expected all columns of an index. "
            f"Let read_headers(...) give its rows, or name these columns too"
        )
    # DuckDB writes a column that is NULL throughout as WKB without saying so.
    wanted["geometry"] = given["geometry"] if given["geometry"] == "BLOB" else wanted["geometry"]
    for name, kind in wanted.items():
        if given[name].partition("(")[0] != kind.partition("(")[0] or (name == "levels" and given[name] != kind):
            raise InvalidArgumentError(f"{what}: column {name} is {given[name][:200]}, expected {kind[:200]}; cast it")


def _make_views(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make what `sql/index/build_index.sql` reads of rows that are whole already."""
    reader = f"read_parquet({quote_literal(str(path))}, file_row_number = true)"
    described = con.execute(f"DESCRIBE FROM read_parquet({quote_literal(str(path))})").fetchall()
    given = {row[0]: row[1] for row in described}
    geometry = "geometry" if given["geometry"] == "BLOB" else "ST_AsWKB(geometry) AS geometry"
    known = index_columns()
    properties = column_names(name for name in given if name not in known)
    headers = [name for name in given if name in known and name not in {*_ITEM_COLUMNS, *_ASSET_COLUMNS, "geometry"}]
    views = {
        "headers": ["file_row_number AS asset_no", geometry, *map(quote_identifier, headers)],
        "assets": ["file_row_number AS asset_no", "file_row_number AS item_no", *_ASSET_COLUMNS],
        "items": ["file_row_number AS item_no", *_ITEM_COLUMNS],
        "properties": [
            "file_row_number AS item_no",
            *(f"{quote_identifier(name)} AS {quote_identifier(column)}" for name, column in properties.items()),
        ],
    }
    for view, columns in views.items():
        # Rows without levels are files that failed; the report has them.
        con.execute(f"CREATE VIEW {view} AS SELECT {', '.join(columns)} FROM {reader} WHERE levels IS NOT NULL")  # noqa: S608 - quoted


def plain_error(error: duckdb.Error) -> str:
    """Leave of DuckDB's message about an error of ours only our message."""
    message = str(error)
    found = _our_error().search(message)
    return message[found.end() :].strip() if found is not None else message


@cache
def _our_error() -> re.Pattern[str]:
    names = [
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, RasteretError)
    ]
    return re.compile(rf"\b(?:rasteret_sql\.errors\.)?(?:{'|'.join(names)}): ")
