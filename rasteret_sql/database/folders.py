"""An index of many files: the Parquet files that a path names, and the SQL that reads them as one table."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rasteret_sql.database.hrefs import is_url
from rasteret_sql.database.schema import METADATA_PREFIX, SCHEMA_VERSION, text_columns
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal, quote_path, sql_file
from rasteret_sql.errors import AssetNotFoundError, InvalidIndexError
from rasteret_sql.io import access

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

_GLOB_CHARACTERS = frozenset("*?[")
#: More rows than any file of an index has.
_ROWS_PER_FILE = 1 << 40
#: How many columns of a table that is no index are named.
_SHOWN_COLUMNS = 12
_REMEDY = "Build one with rasteret_sql.build_index(source, {!r})."


def is_many(index: str) -> bool:
    """Whether an index is a local folder or a glob, rather than one file."""
    return is_glob(index) or (not is_url(index) and os.path.isdir(_local(index)))  # noqa: PTH112 - hrefs are text


def is_glob(index: str) -> bool:
    """Whether a path or URL is a glob, and not the name of an existing file."""
    if not _GLOB_CHARACTERS.intersection(index.partition("?")[0] if is_url(index) else index):
        return False
    return is_url(index) or not os.path.exists(_local(index))  # noqa: PTH110 - hrefs are text


def index_files(index: str | os.PathLike[str]) -> list[str]:
    """Give the files of a local index: the file itself, all files below a folder, or the files of a glob.

    Files and folders whose names begin with a dot are left out; running builds are among them.

    Args:
        index: path or glob.

    Returns:
        Absolute paths, in order.

    Raises:
        AssetNotFoundError: there is no such file, or no Parquet file in the folder.
    """
    name = _local(os.fspath(index))
    access.check_pattern(name)
    path = Path(name)
    if path.is_file():
        return [os.path.abspath(path)]  # noqa: PTH100 - links stay
    pattern = f"{glob.escape(name)}/**/*.parquet" if path.is_dir() else name
    found = [file for file in glob.glob(pattern, recursive=True) if os.path.isfile(file)]  # noqa: PTH113, PTH207
    if found := access.kept_paths(found):
        return sorted(map(os.path.abspath, found))
    if path.is_dir():
        raise AssetNotFoundError(f"{name}: this folder has no *.parquet; expected an index. Check the path.")
    raise AssetNotFoundError(f"{name}: no such file; expected an index. {_REMEDY.format(name)}")


def index_folder(index: str) -> Path:
    """Give the folder that a local index is, as its files are spelled; that of a glob has no name of an index."""
    return Path(os.path.abspath(_local(index)))  # noqa: PTH100 - links stay


def index_reader(
    files: Sequence[str],
    *,
    with_numbers: bool = False,
    is_absolute: bool = False,
    folder_types: Mapping[str, str] | None = None,
) -> str:
    """Give SQL that reads the files of an index as one table.

    The table has every column of every file. A relative href gets the folder of its file.

    Args:
        files: result of `index_files`, or one URL or glob of an object store.
        with_numbers: whether there is a column `file_row_number`, which is unique over all files.
        is_absolute: whether a relative href gets the folder of its file for a single file too.
        folder_types: types of the columns that folders add, where these files are some of an index, or one of it.
    """
    numbered = ", file_row_number = true" if with_numbers else ""
    if len(files) == 1 and not is_glob(files[0]) and folder_types is None:
        # Folders named like a=b above a single file are not columns.
        reader = f"read_parquet({_quoted(files[0])}, hive_partitioning = false{numbered})"
        if not is_absolute:
            return reader
        reader = reader.removesuffix(")") + ", filename = true)"
        return f"({sql_file('index/many_files.sql').replace('FROM $files', f'FROM {reader}')})"
    listed = f"[{', '.join(map(_quoted, files))}]"
    if folder_types is None:
        folder_types = {name: "VARCHAR" for name in _folder_columns(files) if name in text_columns()}
    kinds = ", ".join(f"{quote_identifier(name)}: {kind}" for name, kind in folder_types.items())
    options = f", hive_partitioning = true, hive_types = {{{kinds}}}" if folder_types else ""
    reader = f"read_parquet({listed}, union_by_name = true, filename = true{options}{numbered})"
    text = sql_file("index/many_files.sql").replace("FROM $files", f"FROM {reader}")
    if not with_numbers:
        return f"({text})"
    named = f"[{', '.join(map(quote_literal, files))}]"
    number = f"(list_position({named}, filename) - 1) * {_ROWS_PER_FILE} + file_row_number"
    return f"({text.replace('REPLACE (', f'REPLACE ({number} AS file_row_number, ')})"


def folder_types(files: Sequence[str]) -> dict[str, str] | None:
    """Give DuckDB's types of the columns that folders add to all files of an index; None where their values decide.

    DuckDB takes values for texts, numbers or times by what all of them look like, so a type may depend on the files.
    """
    types = {}
    for name in _folder_columns(files):
        if name in text_columns():
            types[name] = "VARCHAR"
        elif all(re.search(rf"/{re.escape(name)}=\d{{1,9}}/", file) for file in files):
            types[name] = "BIGINT"
        else:
            return None
    return types


def not_an_index(what: str, missing: Sequence[str], columns: Sequence[str]) -> InvalidIndexError:
    """Give the error of a table that lacks columns of an index, such as Parquet of another tool.

    Args:
        what: how the message calls it.
        missing: columns that it lacks.
        columns: columns that it has.
    """
    return InvalidIndexError(
        f"{what} is not an index: it has no column {', '.join(missing)}; its columns are "
        f"{', '.join(columns[:_SHOWN_COLUMNS])}. {_REMEDY.format('index.parquet')}"
    )


def require_version(con: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """Refuse files of another version of the schema.

    Raises:
        InvalidIndexError: a file is of another version; the message names it.
    """
    listed = f"[{', '.join(map(_quoted, files))}]"
    rows = con.execute(
        f"SELECT file_name, key::VARCHAR, value::VARCHAR FROM parquet_kv_metadata({listed}) "  # noqa: S608 - quoted
        f"WHERE key::VARCHAR IN ('{METADATA_PREFIX}schema_version', '{METADATA_PREFIX}version')"
    ).fetchall()
    values = {(file, key.removeprefix(METADATA_PREFIX)): value for file, key, value in rows}
    for file in files:
        version = values.get((file, "schema_version"), str(SCHEMA_VERSION))
        if version != str(SCHEMA_VERSION):
            is_later = version.isdigit() and int(version) > SCHEMA_VERSION
            remedy = "Update rasteret_sql, or build it again." if is_later else "Build it again."
            raise InvalidIndexError(
                f"{file} has schema version {version}, written by rasteret_sql {values.get((file, 'version'))}; "
                f"expected {SCHEMA_VERSION}. {remedy}"
            )


def is_odd_name(index: str) -> bool:
    """Whether a path is the name of an existing file that DuckDB would take for a glob, or whose quotes 1.5 loses."""
    is_odd = bool(_GLOB_CHARACTERS.intersection(index)) or '"' in index
    return not is_url(index) and is_odd and os.path.isfile(_local(index))  # noqa: PTH113


def _quoted(file: str) -> str:
    """Quote a file, or a URL or glob of an object store."""
    return quote_literal(file) if is_url(file) else quote_path(file)


def _local(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111 - a glob is no path


def _folder_columns(files: Sequence[str]) -> list[str]:
    """Give the columns that folders named like `column=value` add to all files."""
    folders = [part.partition("=")[0] for part in files[0].split("/")[:-1] if "=" in part]
    return [unquote(name) for name in folders if all(f"/{name}=" in file for file in files)]
