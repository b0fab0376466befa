"""The header cache: headers of files on servers, kept on the disk of this machine, so that the next read has them.

Each collection has a folder of Parquet files, whose rows are the bytes that the parser read of a file, with the facts
that tell its version. A read parses these bytes again, so the cache has no format of its own for headers. Files only
appear and disappear as a whole: a read that finds one gone asks the server, as it does without a cache.

A cache may be wrong, which an index may not: the file may have been rewritten since. Reads send the ETag. Where a
server refuses it, the entry is dropped for all processes, and the next read fetches the header.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from rasteret_sql.database.hrefs import is_url, unsigned
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.sqlfiles import quote_literal
from rasteret_sql.errors import TiffError
from rasteret_sql.index.fresh import counts
from rasteret_sql.index.headers import ParsedFile
from rasteret_sql.index.staging import locked
from rasteret_sql.io import access
from rasteret_sql.io.asked import on_changed, redact
from rasteret_sql.io.options import get_options
from rasteret_sql.tiff.buffer import NeedBytes, SparseBytes
from rasteret_sql.tiff.header import parse_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    import duckdb

    from rasteret_sql.index.headers import FileHeader

#: Value of the option `header_cache` for no cache.
OFF: Final = "off"
#: A build takes headers that were read within this time, as it takes the rows of a build that was killed.
MAX_AGE_OF_BUILD_S: Final = 86_400.0
#: So many small files of a collection are joined; a file of this size stays as it is.
_MAX_SMALL_FILES: Final = 16
_SMALL_BYTES: Final = 8 << 20
#: Files of writers that were killed go after this time.
_ABANDONED_S: Final = 3600.0
#: How often a read lists the files again, where another process joins them.
_LISTINGS: Final = 3
_WITHOUT_COLLECTION: Final = "without-collection"
_MAX_NAME: Final = 80
_PARTIAL: Final = ".partial"
_LOCK: Final = "lock"

_LOOKUP: Final = """
SELECT address, etag, file_size, last_modified, starts, parts, cached_s
FROM read_parquet($path)
WHERE address IN (SELECT unnest($addresses::VARCHAR[])) AND cached_s >= $since_s
"""
_JOINED: Final = """
SELECT * FROM read_parquet($paths)
QUALIFY row_number() OVER (PARTITION BY address ORDER BY cached_s DESC) = 1
ORDER BY address ASC
"""
_LISTED: Final = """
SELECT address, collection, len(parts) > 0, cached_s
FROM read_parquet($path)
"""

_log = logging.getLogger(__name__)
#: Addresses that this process has of the cache, and the folder of each.
_served: dict[str, Path] = {}


@dataclass(frozen=True, slots=True)
class CachedCollection:
    """What the cache has of a collection.

    Attributes:
        collection: its id; None for files that name none.
        files: number of files whose headers are there.
        nbytes: bytes on disk.
        first_s, last_s: when the first and the last of them were read, in seconds since 1970-01-01 UTC.
    """

    collection: str | None
    files: int
    nbytes: int
    first_s: float
    last_s: float


def cache_folder() -> Path | None:
    """Give the folder of the cache, which may not exist; None where the option `header_cache` turns it off.

    A process that serves others has none: what it may read is checked for each request, and what the cache has was
    read by somebody else.
    """
    given = get_options().header_cache
    if given == OFF or access.policy() is not None:
        return None
    if given is not None:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - there may be no home
    return Path(base) / "rasteret_sql" / "headers" if Path(base).is_absolute() else None


@dataclass(frozen=True, slots=True)
class CachedHeaders:
    """Headers of one collection, or of all.

    Attributes:
        folders: where they are.
        max_bytes: size of the whole cache.
        collection: of files that are learned.
        max_age_s: headers that were read longer ago are not given.
    """

    folders: tuple[Path, ...]
    max_bytes: int
    collection: str | None = None
    max_age_s: float | None = None

    @classmethod
    def of_collection(cls, collection: str | None) -> CachedHeaders | None:
        """Give the headers of a collection; None without a cache, or where reads do not compare versions of files."""
        folder, options = cache_folder(), get_options()
        if folder is None or options.identity != "etag":
            return None
        return cls((folder / _name_of(collection),), options.header_cache_bytes, collection)

    @classmethod
    def of_build(cls) -> CachedHeaders | None:
        """Give the headers that a build takes: recent ones. It adds none, since an index has its own."""
        folder = cache_folder()
        folders = () if folder is None else tuple(_collections(folder))
        return cls(folders, 0, max_age_s=MAX_AGE_OF_BUILD_S) if folders else None

    @property
    def is_learning(self) -> bool:
        """Whether it keeps headers that are read."""
        return self.max_age_s is None

    def lookup(self, hrefs: Sequence[str], /) -> dict[str, FileHeader]:
        """Give the headers of some files, as far as they are there."""
        wanted = {unsigned(href): href for href in hrefs if is_url(href)}
        if not wanted or not any(_files(folder) for folder in self.folders):
            return {}
        found: dict[str, FileHeader] = {}
        for address, (row, file) in self._rows(list(wanted)).items():
            header = _parsed(address, row)
            if header is not None:
                found[wanted[address]] = header
                _served[address] = file.parent
        counts.served += len(found)
        return found

    def keep(self, files: Mapping[str, FileHeader], /) -> None:
        """Add the headers of files on servers that tell their version; a disk that is full keeps none."""
        rows = [
            _row(unsigned(href), self.collection, file)
            for href, file in files.items()
            if is_url(href) and (file.etag is not None or file.last_modified is not None)
        ]
        (folder,) = self.folders
        if not rows or not _write(folder, rows):
            return
        for row in rows:
            _served[row["address"]] = folder
        with contextlib.suppress(OSError):
            _join(folder)
            _limit(folder.parent, self.max_bytes)

    def _rows(self, addresses: list[str]) -> dict[str, tuple[tuple[Any, ...], Path]]:
        """Give the newest row of each address, and its file."""
        since_s = 0.0 if self.max_age_s is None else time.time() - self.max_age_s
        found = _newest(self.folders, _LOOKUP, {"addresses": addresses, "since_s": since_s})
        for file in {file for _, file in found.values()}:
            with contextlib.suppress(OSError):
                os.utime(file)
        return found


@dataclass(frozen=True, slots=True)
class CachedFiles:
    """Headers of files of any collections, which the cache has by collection.

    Attributes:
        collections: the collection of each file, by its path or URL.
    """

    collections: Mapping[str, str | None]
    is_learning: bool = True

    def lookup(self, hrefs: Sequence[str], /) -> dict[str, FileHeader]:
        """Give the headers of some files, as far as they are there."""
        found: dict[str, FileHeader] = {}
        for collection in dict.fromkeys(self.collections[href] for href in hrefs):
            cached = CachedHeaders.of_collection(collection)
            if cached is not None:
                found |= cached.lookup([href for href in hrefs if self.collections[href] == collection])
        return found

    def keep(self, files: Mapping[str, FileHeader], /) -> None:
        """Add headers that were read."""
        for collection in dict.fromkeys(self.collections[href] for href in files):
            cached = CachedHeaders.of_collection(collection)
            if cached is not None:
                cached.keep({href: file for href, file in files.items() if self.collections[href] == collection})


def _newest(
    folders: Sequence[Path], query: str, parameters: Mapping[str, Any]
) -> dict[str, tuple[tuple[Any, ...], Path]]:
    """Give the newest row of each address, and its file; a file that cannot be read is removed.

    Args:
        folders: of the files.
        query: of one file, `$path`. The first column is the address, the last one `cached_s`.
        parameters: others of the query.
    """
    found: dict[str, tuple[tuple[Any, ...], Path]] = {}
    with own_connection() as con:
        for _ in range(_LISTINGS):
            is_whole = True
            for file in [file for folder in folders for file in _files(folder)]:
                rows = _read(con, file, query, parameters)
                is_whole = is_whole and rows is not None
                for row in rows or ():
                    if row[0] not in found or row[-1] > found[row[0]][0][-1]:
                        found[row[0]] = row, file
            if is_whole:
                break
            # Another process joins files: what was in one that is gone is in a new one.
    return found


def cached_collections() -> list[CachedCollection]:
    """Give what the cache has, by collection."""
    folder = cache_folder()
    found = []
    for each in _collections(folder) if folder is not None else ():
        rows = [row for row, _ in _newest((each,), _LISTED, {}).values()]
        if rows:
            collection = next((name for _, name, _, _ in rows if name is not None), None)
            times = [cached_s for *_, cached_s in rows]
            files = sum(has_header for _, _, has_header, _ in rows)
            found.append(CachedCollection(collection, files, _bytes_of(_files(each)), min(times), max(times)))
    return sorted(found, key=lambda each: each.collection or "")


def clear_cache(collection: str | None = None) -> int:
    """Remove the headers of a collection, or of all.

    Args:
        collection: its id; None for all.

    Returns:
        The bytes that were removed.
    """
    folder = cache_folder()
    if folder is None:
        return 0
    removed = 0
    for each in _collections(folder) if collection is None else [folder / _name_of(collection)]:
        for file in _files(each):
            with contextlib.suppress(OSError):
                nbytes = file.stat().st_size
                file.unlink()
                removed += nbytes
    return removed


@on_changed
def _drop(href: str) -> None:
    """Drop the header of a file that has another version now."""
    address = unsigned(href)
    folder = _served.pop(address, None)
    folders = [] if folder is None else [folder]
    if folder is not None:
        counts.dropped += 1
    elif (base := cache_folder()) is not None:
        # Rows of an index or a table may have this header, too, and the next ones must not.
        parameters = {"addresses": [address], "since_s": 0.0}
        folders = [each for each in _collections(base) if _newest([each], _LOOKUP, parameters)]
    for each in folders:
        # A row without bytes takes the place of all older ones.
        _write(each, [_row(address, None, None)])


def _row(address: str, collection: str | None, file: FileHeader | None) -> dict[str, Any]:
    return {
        "collection": collection,
        "address": address,
        "etag": None if file is None else file.etag,
        "file_size": None if file is None else file.file_size,
        "last_modified": None if file is None else file.last_modified,
        "starts": [] if file is None else [start for start, _ in file.parts],
        "parts": [] if file is None else [data for _, data in file.parts],
        "cached_s": time.time(),
    }


def _write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Write rows as a file of their own, whole or not at all; False where that fails."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        {
            "collection": pa.string(),
            "address": pa.string(),
            "etag": pa.string(),
            "file_size": pa.int64(),
            "last_modified": pa.float64(),
            "starts": pa.list_(pa.int64()),
            "parts": pa.list_(pa.binary()),
            "cached_s": pa.float64(),
        }
    )
    aside = None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = _new_file(folder)
        parquet.write_table(pa.Table.from_pylist(list(rows), schema), aside, compression="zstd")
        aside.replace(aside.with_suffix(".parquet"))
    except OSError as error:
        _log.warning("%s: headers could not be cached: %s", folder, error)
        if aside is not None:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
        return False
    return True


def _new_file(folder: Path) -> Path:
    handle, name = tempfile.mkstemp(suffix=_PARTIAL, dir=folder)
    os.close(handle)
    return Path(name)


def _read(
    con: duckdb.DuckDBPyConnection, file: Path, query: str, parameters: Mapping[str, Any]
) -> list[tuple[Any, ...]] | None:
    """Give rows of a file; None where it is gone. A file that cannot be read is removed."""
    import duckdb

    try:
        return con.execute(query, {"path": str(file), **parameters}).fetchall()
    except duckdb.Error as error:
        if not file.exists():
            return None
        _log.warning("%s: this file of the header cache cannot be read and is removed: %s", file, error)
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
        return []


def _parsed(address: str, row: tuple[Any, ...]) -> FileHeader | None:
    """Parse a header again; None where its bytes are not enough for this version."""
    _, etag, file_size, last_modified, starts, parts, _ = row
    if not parts:
        return None
    if len(starts) != len(parts) or None in starts or None in parts:
        return None
    buffer = SparseBytes(*zip(starts, parts, strict=True), file_size=file_size)
    try:
        header = parse_header(buffer, href=redact(address))
    except (NeedBytes, TiffError):
        return None
    return ParsedFile(header, file_size, etag, last_modified, requests=0, nbytes=0)


def _join(folder: Path) -> None:
    """Join the small files of a collection, unless another process does."""
    small = [file for file in _files(folder) if file.stat().st_size < _SMALL_BYTES]
    if len(small) <= _MAX_SMALL_FILES:
        return
    import duckdb

    with (folder / _LOCK).open("wb") as lock:
        if not locked(lock):
            return
        aside = _new_file(folder)
        try:
            with own_connection() as con:
                con.execute(
                    f"COPY ({_JOINED}) TO {quote_literal(str(aside))} "
                    "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 8192)",
                    {"paths": [str(file) for file in small]},
                )
        except duckdb.Error as error:
            _log.warning("%s: files of the header cache could not be joined: %s", folder, error)
            aside.unlink(missing_ok=True)
            return
        aside.replace(aside.with_suffix(".parquet"))
        for file in small:
            file.unlink(missing_ok=True)


def _limit(folder: Path, max_bytes: int) -> None:
    """Remove the files that were not used for longest, until the cache is small enough; and what was never finished."""
    for partial in folder.glob(f"*/*{_PARTIAL}"):
        if time.time() - partial.stat().st_mtime > _ABANDONED_S:
            partial.unlink(missing_ok=True)
    known = [(file.stat(), file) for each in _collections(folder) for file in _files(each)]
    total = sum(stat.st_size for stat, _ in known)
    for stat, file in sorted(known, key=lambda each: each[0].st_mtime):
        if total <= max_bytes:
            return
        file.unlink(missing_ok=True)
        total -= stat.st_size


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _bytes_of(files: Iterable[Path]) -> int:
    total = 0
    for file in files:
        with contextlib.suppress(OSError):  # it was joined with others just now
            total += file.stat().st_size
    return total


def _collections(folder: Path) -> list[Path]:
    return sorted(each for each in folder.glob("*") if each.is_dir())


def _name_of(collection: str | None) -> str:
    if collection is None:
        return _WITHOUT_COLLECTION
    name = f"c-{quote(collection, safe='')}"
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
