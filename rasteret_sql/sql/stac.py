"""The functions in Python behind `stac_search`, `stac_items` and `datasets`.

DuckDB calls them while it binds a query, with constants, and reads the Parquet file whose path they give. One statement
is bound several times, so what the same arguments gave is kept for a short while, and never longer: an API changes.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import tempfile
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io import access, fork
from rasteret_sql.sql.workarounds import without_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

#: Seconds for which a search, or documents over HTTP, are not read again for the same arguments.
KEPT_S = 60.0
#: The same for files on this machine, which may be written at any time.
LOCAL_KEPT_S = 2.0
#: Seconds after which the file of a result goes: a prepared statement may read it until then.
FILE_KEPT_S = 3600.0
_SKIPPED = ("raise", "skip")


@dataclass(frozen=True, slots=True)
class _Result:
    made_s: float
    kept_s: float
    path: Future[str]


_lock = fork.Lock()
_results: dict[str, _Result] = {}
_folder: list[Path] = []


def register(con: duckdb.DuckDBPyConnection, suffix: str) -> None:
    """Make the functions in the database of a connection, with a suffix to their names."""
    text = "VARCHAR"
    functions = {
        "_rstpy_stac_search": search_file,
        "_rstpy_stac_items": items_file,
        "_rstpy_datasets": datasets_json,
    }
    for name, function in functions.items():
        con.create_function(f"{name}{suffix}", function, [text], text, side_effects=False)


@without_paths
def search_file(arguments: str) -> str:
    """Run a search, and give the path of a Parquet file with its assets.

    Args:
        arguments: those of the macro, as JSON.

    Raises:
        RasteretError: an argument is wrong, or the API fails.
    """
    from rasteret_sql.index.sources.search import stac_search

    given = _given(arguments)
    api = given.pop("api", None)
    for name in ("page_items", "max_items"):
        if name in given:
            given[name] = int(given[name])
    search = stac_search(api, **given)

    def write(path: Path) -> None:
        from rasteret_sql.index.asset_table import write_asset_rows
        from rasteret_sql.index.found import SourceOptions

        write_asset_rows([search.source(SourceOptions())], path)

    # The entry of the catalog may have changed although its id has not.
    return kept_file(f"search {arguments} {search.url} {search.dataset!r}", KEPT_S, write)


@without_paths
def items_file(arguments: str) -> str:
    """Read STAC documents, and give the path of a Parquet file with their assets.

    Raises:
        RasteretError: an argument is wrong, or a document cannot be read.
    """
    from rasteret_sql.database.hrefs import is_url
    from rasteret_sql.index.stac.items import checked_alternate

    given = _given(arguments)
    source = given.get("source")
    on_error = given.get("on_error", "raise")
    if on_error not in _SKIPPED:
        raise InvalidArgumentError(f"on_error: got {on_error!r}, expected one of {', '.join(_SKIPPED)}")
    if not isinstance(source, str) or not source:
        raise InvalidArgumentError(f"source: got {source!r}, expected a path, glob or URL of STAC documents")
    alternate = checked_alternate(given.get("alternate"))

    def write(path: Path) -> None:
        from rasteret_sql.index.asset_table import write_asset_rows
        from rasteret_sql.index.found import SourceOptions
        from rasteret_sql.index.sources import resolve_source

        sources, _ = resolve_source(source, SourceOptions(collection=given.get("collection"), alternate=alternate))
        write_asset_rows(sources, path, on_error=on_error)

    kept_s = KEPT_S if is_url(source) else LOCAL_KEPT_S
    return kept_file(f"items {arguments} {Path.cwd()}", kept_s, write)


@without_paths
def datasets_json(folder: str) -> str:
    """Give the catalog of datasets as a JSON array.

    Args:
        folder: of the user's own entries, or "" for the one that the environment names.

    Raises:
        InvalidArgumentError: an entry is broken.
    """
    from rasteret_sql.index.datasets.catalog import datasets

    if folder:
        access.real_path(os.path.expanduser(folder))  # noqa: PTH111 - as it was written
    return json.dumps([dataset.as_row() for dataset in datasets(folder or None)])


def _given(arguments: str) -> dict[str, Any]:
    given = {name: value for name, value in json.loads(arguments).items() if value is not None}
    if "bbox" in given:
        # As text, for JSON would not keep the numbers to their last digit.
        given["bbox"] = json.loads(given["bbox"].replace("NULL", "null"))
    return given


def kept_file(key: str, kept_s: float, write: Callable[[Path], None]) -> str:
    """Give the file of a result that is still fresh, or make it; the same arguments at the same time wait for one."""
    with _lock:
        now_s = time.monotonic()
        _forget_old(now_s)
        result = _results.get(key)
        is_mine = result is None or now_s - result.made_s > result.kept_s
        if is_mine:
            result = _results[key] = _Result(now_s, kept_s, Future())
    assert result is not None
    if not is_mine:
        return result.path.result()
    try:
        path = _new_file()
        write(path)
    except BaseException as error:
        with _lock:
            _results.pop(key, None)
        result.path.set_exception(error)
        raise
    with _lock:
        # Freshness counts from the end: a long search is not asked again at once.
        if _results.get(key) is result:
            _results[key] = _Result(time.monotonic(), kept_s, result.path)
    result.path.set_result(str(path))
    return str(path)


def results_folder() -> Path:
    """Give the folder of the files that these functions name, which goes with the process."""
    with _lock:
        if not _folder:
            _folder.append(Path(tempfile.mkdtemp(prefix="rasteret_sql.")))
        return _folder[0]


def _new_file() -> Path:
    handle, name = tempfile.mkstemp(suffix=".parquet", dir=results_folder())
    os.close(handle)
    return Path(name)


def _forget_old(now_s: float) -> None:
    for key, result in list(_results.items()):
        if result.path.done() and now_s - result.made_s > result.kept_s:
            del _results[key]
    if _folder:
        limit_s = time.time() - FILE_KEPT_S
        for path in _folder[0].glob("*.parquet"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < limit_s:
                    path.unlink()


@atexit.register
def _remove() -> None:
    while _folder:
        shutil.rmtree(_folder.pop(), ignore_errors=True)


@fork.on_fork
def _leave_to_parent() -> None:
    """The files are the parent's, which removes them."""
    _folder.clear()
    _results.clear()
