"""Runs index definitions: the SELECT of a `.sql` file becomes an index as `build_index` writes it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from rasteret_sql.database.select_text import plain_message, require_select
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal
from rasteret_sql.errors import AssetNotFoundError, BuildError, InvalidArgumentError
from rasteret_sql.index.definition import checked_variables, kept_text, kept_variables, parse_definition
from rasteret_sql.index.finish import (
    OLDER_VERSIONS,
    IndexTarget,
    checked_target,
    drop_older_versions,
    finish_build,
    require_given,
    require_rows,
)
from rasteret_sql.index.partitions import checked_partition
from rasteret_sql.index.report import reporting
from rasteret_sql.index.reuse import stage_given_rows
from rasteret_sql.index.staging import ROWS_PER_HEADER_FILE, build_connection, staging_folder
from rasteret_sql.sql.connection import install
from rasteret_sql.sql.read_headers import counted

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from rasteret_sql.index.report import BuildReport, Progress


def build_definition(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    variables: Mapping[str, Any] | None = None,
    partition_by: Sequence[str] | str | None = None,
    progress: Progress | bool = False,
) -> BuildReport:
    """Build an index of an index definition.

    Args:
        source: path of a `.sql` file.
        path: where the index is written.
        variables: what `getvariable('name')` gives in it.
        partition_by, progress: as for `build_index`.

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
    return build_from_text(
        text, path, what=str(file), variables=variables, partition_by=partition_by, progress=progress
    )


def build_from_text(
    text: str,
    path: str | os.PathLike[str],
    *,
    what: str,
    variables: Mapping[str, Any] | None = None,
    partition_by: Sequence[str] | str | None = None,
    progress: Progress | bool = False,
) -> BuildReport:
    """Build an index of the text of a definition; see `build_definition`.

    Args:
        text: the definition.
        path: where the index is written.
        what: where the text comes from, for messages and for the index.
        variables: what `getvariable('name')` gives in it.
        partition_by, progress: as for `build_index`.
    """
    partition = checked_partition(partition_by)
    file = checked_target(path, partition)
    definition = parse_definition(text, what)
    values = checked_variables(variables)
    target = IndexTarget(
        file,
        {
            "source": what,
            "name": definition.name,
            "grain": definition.grain,
            "sql": kept_text(text),
            "variables": kept_variables(values),
        },
        partition_by=partition,
        checks=definition.checks,
        on_duplicate=definition.on_duplicate,
    )
    began_s = time.monotonic()
    with staging_folder(file) as folder, build_connection(folder) as con:
        install(con)
        query = require_select(con, text, what, error=InvalidArgumentError)
        for name, value in values.items():
            con.execute(
                f"SET VARIABLE {quote_identifier(name)} = ?", [list(value) if isinstance(value, tuple) else value]
            )
        rows = folder / "rows.parquet"
        with reporting(progress) as files, counted(con, files) as counts:
            found = _copy(con, query, rows, what)
        if not found:
            raise BuildError(f"{file}: the SELECT of {what} gives no rows; nothing was written.")
        if len(counts.failures) >= found:
            require_rows(file, counts)
        require_given(file, counts.given, counts.asset_keys)
        # Not what was read: a SELECT may leave files out, or give rows of another index, which have their headers.
        counts.rows = stage_given_rows(con, rows, what)
        require_rows(file, counts)
        left_out = {}
        if definition.on_duplicate == "latest" and (older := drop_older_versions(con)):
            left_out[OLDER_VERSIONS] = older
            counts.rows -= older
        return finish_build(con, folder, target, counts=counts, left_out=left_out, began_s=began_s)


def _copy(con: duckdb.DuckDBPyConnection, query: str, path: Path, what: str) -> int:
    """Write what the SELECT gives, and say how many rows that is."""
    # Larger row groups, of rows this wide, would take as much memory as all the rest.
    options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_PER_HEADER_FILE}"
    copy = f"COPY (\n{query}\n) TO {quote_literal(str(path))} ({options})"
    try:
        ((rows,),) = con.execute(copy).fetchall()
        return int(rows)
    except duckdb.Error as error:
        raise BuildError(f"{what}: {plain_message(str(error))}\nNothing was written.") from error
