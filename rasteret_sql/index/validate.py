"""Drift: whether the files of an index are unchanged since they were indexed. No pixels are read."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rasteret_sql.checks import checked_path, shown
from rasteret_sql.database.folders import index_files, index_reader, not_an_index
from rasteret_sql.database.hrefs import absolute
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.sqlfiles import sql_file
from rasteret_sql.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    InvalidArgumentError,
    InvalidIndexError,
    RasteretError,
)
from rasteret_sql.io import loop
from rasteret_sql.io.identity import FileIdentity, compare
from rasteret_sql.io.stores import redact, store_for
from rasteret_sql.wording import count

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

Kind = Literal["unchanged", "changed", "gone", "no access", "unknown"]

KINDS: tuple[Kind, ...] = ("unchanged", "changed", "gone", "no access", "unknown")
#: Files that are requested at the same time, and rows of the index in memory.
FILES_IN_FLIGHT = 96
ROWS_PER_BATCH = 2048
#: Columns without which files cannot be validated.
_REQUIRED = ("item_id", "asset", "href", "mirror", "etag", "file_size", "last_modified")
#: Files of each kind that a report lists; it counts all of them.
LISTED = 1000


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file as the index has it.

    Attributes:
        href: path or URL of its bytes, absolute.
        item_id, asset: of one row that names it.
        etag, file_size, last_modified: their values when the file was indexed, or None; the time is in seconds since
            1970-01-01 UTC.
    """

    href: str
    item_id: str
    asset: str
    etag: str | None
    file_size: int | None
    last_modified: float | None


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of a file, compared with the index.

    Attributes:
        kind: "unchanged", "changed", "gone", "no access" or "unknown".
        href: its path or URL, without query string.
        item_id, asset: of one row that names it.
        message: the difference, or why the state is not known.
    """

    kind: Kind
    href: str
    item_id: str
    asset: str
    message: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """The outcome of `validate`.

    Attributes:
        path: the index.
        files: number of files that it names.
        checked: number of files that were requested.
        counts: number of files of each kind: "unchanged", "changed", "gone", "no access", "unknown".
        states: the files that are not "unchanged"; a thousand of each kind at most.
    """

    path: Path
    files: int
    checked: int
    counts: Mapping[Kind, int]
    states: tuple[FileState, ...] = field(default_factory=tuple)

    @property
    def has_drift(self) -> bool:
        """Whether a file changed or is gone."""
        return bool(self.counts["changed"] or self.counts["gone"])

    @property
    def is_complete(self) -> bool:
        """Whether every requested file could be compared."""
        return not (self.counts["no access"] or self.counts["unknown"])

    def __repr__(self) -> str:
        """Summarise the outcome in one line; `str()` names files too."""
        return f"<ValidationReport {self._summary}>"

    def __str__(self) -> str:
        lines = [self._summary]
        lines += [f"  {state.kind}: {state.item_id} {state.asset}: {state.message}" for state in self.states[:10]]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from rasteret_sql.markup import details, panel, table

        kinds = [kind for kind in KINDS if kind == "unchanged" or self.counts[kind]]
        files = table(
            ("item", "asset", "", "what differs"),
            [(state.item_id, state.asset, state.kind, state.message) for state in self.states],
        )
        return panel(
            "ValidationReport",
            str(self.path),
            table(("files", "checked", *kinds), [(self.files, self.checked, *(self.counts[kind] for kind in kinds))]),
            details(count(len(self.states), "file"), files) if self.states else None,
        )

    @property
    def _summary(self) -> str:
        of = "" if self.checked == self.files else f" of {self.files:,}"
        counts = ", ".join(f"{number:,} {kind}" for kind, number in self.counts.items() if number)
        return f"{self.path}: {self.checked:,}{of} files: {counts or 'none'}"


def validate(index: str | os.PathLike[str], *, sample: int | None = None) -> ValidationReport:
    """Compare the files of an index with their ETag, size and time of change when it was built.

    One byte of each file is fetched. Reads notice a changed file too, and raise; this function tells beforehand.

    Args:
        index: a local index: a file, a folder of them, or a glob.
        sample: number of files to request, chosen by a hash of their hrefs; or None for all.

    Returns:
        How many files are unchanged, changed or gone, and which files changed.

    Raises:
        AssetNotFoundError: there is no such index.
        InvalidIndexError: it is no index, or has no facts about its files.
        InvalidArgumentError: `sample` is not a number above 0.

    Example:
        >>> import rasteret_sql as rs
        >>> rs.validate("s2.parquet", sample=200).has_drift  # doctest: +SKIP
        False
    """
    import duckdb

    if sample is not None and (not isinstance(sample, int) or isinstance(sample, bool) or sample < 1):
        raise InvalidArgumentError(f"sample: got {shown(sample)}, expected a number of files above 0, or None for all")
    path = checked_path("index", index)
    files_of_index = index_files(path)
    counts: Counter[Kind] = Counter()
    listed: list[FileState] = []
    try:
        with own_connection() as con:
            con.execute(f"CREATE VIEW asset_index AS FROM {index_reader(files_of_index)}")
            columns = con.table("asset_index").columns
            missing = [name for name in _REQUIRED if name not in columns]
            if missing:
                raise not_an_index(str(path), missing, columns)
            con.execute(f"CREATE VIEW indexed_files AS {sql_file('index/indexed_files.sql')}")
            ((files,),) = con.execute("SELECT count(*) FROM indexed_files").fetchall()
            for batch in _batches(con, path, sample):
                for state in compare_files(batch):
                    counts[state.kind] += 1
                    if state.kind != "unchanged" and counts[state.kind] <= LISTED:
                        listed.append(state)
    except duckdb.Error as error:
        raise InvalidIndexError(
            f"{path} is not an index whose files can be validated: {error}. Expected href, etag, file_size and "
            f"last_modified; build one with rasteret_sql.build_index(source, 'index.parquet')"
        ) from error
    listed.sort(key=lambda state: KINDS.index(state.kind))
    return ValidationReport(path, files, counts.total(), {kind: counts[kind] for kind in KINDS}, tuple(listed))


def _batches(con: duckdb.DuckDBPyConnection, path: Path, sample: int | None) -> Iterator[list[IndexedFile]]:
    limit = f" LIMIT {sample}" if sample is not None else ""
    with con.cursor() as cursor:
        cursor.execute(f"FROM indexed_files ORDER BY hash(href), href{limit}")
        while rows := cursor.fetchmany(ROWS_PER_BATCH):
            yield [IndexedFile(absolute(row[0], str(path)), *row[1:]) for row in rows]


def compare_files(files: Sequence[IndexedFile]) -> list[FileState]:
    """Fetch one byte of each file, concurrently, and give their states, in order."""
    return loop.run(_compare_all(files))


async def _compare_all(files: Sequence[IndexedFile]) -> list[FileState]:
    gate = asyncio.Semaphore(FILES_IN_FLIGHT)

    async def one(file: IndexedFile) -> FileState:
        async with gate:
            kind, message = await _compare(file)
            return FileState(kind, redact(file.href), file.item_id, file.asset, message)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(file)) for file in files]
    return [task.result() for task in tasks]


async def _compare(file: IndexedFile) -> tuple[Kind, str]:
    try:
        answer = await store_for(file.href).fetch(file.href, 0, 1)
    except AssetNotFoundError as error:
        return "gone", str(error)
    except AccessDeniedError as error:
        return "no access", str(error)
    except RasteretError as error:
        return "unknown", str(error)
    return drift(file, answer.identity)


def drift(file: IndexedFile, found: FileIdentity) -> tuple[Kind, str]:
    """Compare the index and a store on a file, as reads do; pure.

    Args:
        file: the file as the index has it.
        found: the facts that the store has of it.
    """
    name = redact(file.href)
    indexed = FileIdentity(file.etag, file.file_size, file.last_modified)
    verdict, fact = compare(indexed, found)
    if verdict == "changed":
        assert fact
        return "changed", f"{name} has {found.said(fact)} now, and had {indexed.said(fact)} when it was indexed"
    if verdict == "same":
        return "unchanged", ""
    if fact:
        return "unknown", f"{name}: the store gives no {fact}: {found} now, and {indexed} when it was indexed"
    return "unknown", f"{name}: index and store have neither ETag, size nor time of change in common"
