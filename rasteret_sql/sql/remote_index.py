"""An index on a server or in a bucket, read with our stores where DuckDB has not its extension httpfs.

The index becomes a view whose name is its URL. DuckDB looks for views before files, so paths and texts of queries work
as they are. Of the Parquet file, the footer is read, and then the columns and row groups that a scan wants.
"""

from __future__ import annotations

import io
import itertools
import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from rasteret_sql.errors import InvalidIndexError
from rasteret_sql.io import fork, interrupts, loop
from rasteret_sql.io.asked import redact
from rasteret_sql.io.identity import UNKNOWN
from rasteret_sql.io.stores import store_for
from rasteret_sql.plan.requests import MAX_GAP_BYTES, coalesce
from rasteret_sql.sql.workarounds import mentioned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    import duckdb

    from rasteret_sql.io.store import RangeResponse

#: Bytes of the first request, and of the one for the footer: most indexes are smaller, or have a smaller footer.
_FOOTER_BYTES: Final = 65_536
#: The length of the footer and the magic bytes, at the end of a Parquet file.
_TAIL_BYTES: Final = 8
_MAGIC: Final = b"PAR1"
_BATCH_ROWS: Final = 8_192
_HAS_HTTPFS: Final = "SELECT bool_or(loaded OR installed) FROM duckdb_extensions() WHERE extension_name = 'httpfs'"

#: URLs that a connection has a view of.
_shown: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, set[str]] = weakref.WeakKeyDictionary()
_lock = fork.Lock()


def show_remote(cursor: duckdb.DuckDBPyConnection, urls: Sequence[str]) -> None:
    """Show Parquet files at URLs to a connection under their URLs, unless DuckDB reads them itself.

    Args:
        cursor: gets temporary views.
        urls: of single files.

    Raises:
        RasteretError: a file cannot be read.
        InvalidIndexError: a file is no Parquet file.
    """
    with _lock:
        known = _shown.setdefault(cursor, set())
    new = [url for url in urls if url not in known]
    if not new or cursor.execute(_HAS_HTTPFS).fetchall() == [(True,)]:
        return
    for url in new:
        cursor.register(url, RemoteParquet(url))
        known.add(url)


class RemoteParquet(pads.Dataset):  # type: ignore[misc] # pyarrow has no types
    """A Parquet file in a store, of which a scan reads the columns and row groups that it wants.

    Args:
        url: of any scheme that a store reads.

    Raises:
        RasteretError: the file cannot be read.
        InvalidIndexError: it is no Parquet file.
    """

    def __init__(self, url: str) -> None:
        self._file = _RemoteFile(url)
        self._file.fetch_footer()
        try:
            self._parquet = pq.ParquetFile(self._file)
        except pa.ArrowInvalid as error:
            raise _no_parquet(url) from error
        self._schema = _with_geometry(self._parquet.schema_arrow)

    @property
    def schema(self) -> pa.Schema:
        """The columns of the file."""
        return self._schema

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_options: Any) -> Any:  # noqa: A002
        """Start a scan, as DuckDB asks for it.

        Args:
            columns: names of the columns wanted, or None for all.
            filter: a `pyarrow.compute.Expression` that the rows must meet, or None.
        """
        names = self._schema.names if columns is None else list(columns)
        needed = [name for name in self._schema.names if name in {*names, *mentioned(filter, self._schema.names)}]
        # Batches without a column have no rows.
        needed = needed or self._schema.names[:1]
        schema = pa.schema([self._schema.field(name) for name in needed])
        batches = self._batches(self._groups(filter), schema)
        return pads.Scanner.from_batches(batches, schema=schema, columns=names, filter=filter)

    def _groups(self, condition: Any) -> list[int]:
        """Give the row groups whose statistics admit a condition."""
        if condition is None:
            return list(range(self._parquet.num_row_groups))
        fragment = pads.ParquetFileFormat().make_fragment(self._file)
        return [group.id for part in fragment.split_by_row_group(condition) for group in part.row_groups]

    def _batches(self, groups: Sequence[int], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Read row groups, each while the bytes of the next are on their way."""
        coming = self._fetch_group(groups[0], schema.names) if groups else []
        try:
            for group, following in itertools.zip_longest(groups, groups[1:]):
                parts = [_awaited(future) for future in coming]
                coming = [] if following is None else self._fetch_group(following, schema.names)
                with self._file.holding(parts) as file:
                    parquet = pq.ParquetFile(file, metadata=self._parquet.metadata)
                    for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=schema.names):
                        columns = [batch.column(name).cast(schema.field(name).type) for name in schema.names]
                        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        finally:
            for future in coming:
                future.cancel()

    def _fetch_group(self, group: int, names: Sequence[str]) -> list[Future[RangeResponse]]:
        """Begin to fetch the bytes of some columns of a row group, near ones together."""
        found = self._parquet.metadata.row_group(group)
        chunks = [found.column(number) for number in range(found.num_columns)]
        chunks = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] in set(names)]
        starts = [_start_of(chunk) for chunk in chunks]
        ends = [start + chunk.total_compressed_size for start, chunk in zip(starts, chunks, strict=True)]
        first, last = np.array(starts, np.int64), np.array(ends, np.int64)
        request = coalesce(np.zeros(len(chunks), np.int64), first, last, max_gap_bytes=MAX_GAP_BYTES)
        spans = [
            (int(first[request == number].min()), int(last[request == number].max())) for number in np.unique(request)
        ]
        return [self._file.begin(start, end) for start, end in spans if not self._file.has(start, end)]


class _RemoteFile(io.RawIOBase):
    """A file in a store as Arrow reads it: bytes that were fetched, or else a request for them."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._store, self._identity = url, store_for(url), UNKNOWN
        self._parts: list[RangeResponse] = []
        self._size = self._position = 0

    def fetch_footer(self) -> None:
        """Fetch the footer of a Parquet file.

        Raises:
            InvalidIndexError: it has none.
        """
        answer = _awaited(self.begin(0, _FOOTER_BYTES))
        self._parts = [answer]
        self._identity = answer.identity
        self._size = answer.file_size or len(answer.data)
        tail = self._bytes(max(0, self._size - _FOOTER_BYTES), self._size, is_kept=True)
        if tail[-len(_MAGIC) :] != _MAGIC or self._size < _TAIL_BYTES:
            raise _no_parquet(self._url)
        length = int.from_bytes(tail[-_TAIL_BYTES : -len(_MAGIC)], "little") + _TAIL_BYTES
        if len(tail) < length <= self._size:
            self._bytes(self._size - length, self._size, is_kept=True)

    def begin(self, start: int, end: int) -> Future[RangeResponse]:
        """Begin to fetch bytes `start` to `end` (exclusive)."""
        return loop.submit(self._store.fetch(self._url, start, end, identity=self._identity))

    def holding(self, parts: Sequence[RangeResponse]) -> _RemoteFile:
        """Give the same file with further bytes at hand."""
        other = _RemoteFile(self._url)
        other._identity, other._size, other._parts = self._identity, self._size, [*parts, *self._parts]
        return other

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it has positions."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read from the position on."""
        end = self._size if size < 0 else min(self._position + size, self._size)
        data = self._bytes(self._position, end) if end > self._position else b""
        self._position += len(data)
        return data

    def _bytes(self, start: int, end: int, *, is_kept: bool = False) -> bytes:
        part = self._holder(start, end)
        if part is not None:
            return bytes(memoryview(part.data)[start - part.start : end - part.start])
        part = _awaited(self.begin(start, end))
        if is_kept:
            self._parts.append(part)
        return bytes(part.data)

    def has(self, start: int, end: int) -> bool:
        """Whether bytes `start` to `end` (exclusive) are at hand."""
        return self._holder(start, end) is not None

    def _holder(self, start: int, end: int) -> RangeResponse | None:
        held = (part for part in self._parts if part.start <= start and end <= part.start + len(part.data))
        return next(held, None)


def _awaited(future: Future[RangeResponse]) -> RangeResponse:
    """Wait for an answer; `interrupt` and Ctrl-C end the wait."""
    with interrupts.waiting() as wait:
        wait.ends_by(future.cancel)
        try:
            return future.result()
        except CancelledError:
            raise loop.interrupted() from None


def _start_of(chunk: Any) -> int:
    """Give the first byte of a column in a row group: that of its dictionary, where it has one."""
    starts = [chunk.data_page_offset, chunk.dictionary_page_offset if chunk.has_dictionary_page else None]
    return int(min(start for start in starts if start))


def _with_geometry(schema: pa.Schema) -> pa.Schema:
    """Mark the column `geometry` as one, as DuckDB does when it reads GeoParquet."""
    place = schema.get_field_index("geometry")
    if place < 0 or b"geo" not in (schema.metadata or {}) or not pa.types.is_binary(schema.field(place).type):
        return schema
    # An index is in this CRS.
    crs = '{"crs": "OGC:CRS84", "crs_type": "authority_code"}'
    named = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": crs}
    return schema.set(place, schema.field(place).with_metadata(named))


def _no_parquet(url: str) -> InvalidIndexError:
    return InvalidIndexError(
        f"index: {redact(url)} is no Parquet file; expected an index made by rasteret_sql.build_index or "
        "`rasteret-sql build`"
    )
