"""Headers of many files, read concurrently: one range request per file in the usual case."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from rasteret_sql.errors import CorruptTiffError, RasteretError, TiffError
from rasteret_sql.io import loop
from rasteret_sql.io.identity import UNKNOWN, FileIdentity
from rasteret_sql.io.stores import redact, store_for
from rasteret_sql.tiff.buffer import NeedBytes, RecordedBytes, SparseBytes, merge_ranges
from rasteret_sql.tiff.header import parse_header
from rasteret_sql.tiff.model import Header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future


T = TypeVar("T")

#: Bytes of the first read; they hold the IFDs of nearly every COG.
FIRST_READ_BYTES = 32_768
#: Missing ranges with a smaller gap are fetched in one request.
MAX_GAP_BYTES = 65_536
#: A header that needs more bytes is refused: no real file has one.
MAX_HEADER_BYTES = 1 << 28
#: Largest number of rounds of `NeedBytes` for a file; one per IFD at worst.
MAX_ROUNDS = 512
#: Files whose headers are being read at the same time.
FILES_IN_FLIGHT = 96
#: Batches that are read ahead of the caller.
BATCHES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class ParsedFile(Generic[T]):
    """The header of a file, and the facts that the store gave with it.

    Attributes:
        header: the parsed header, or the part of it that was asked for.
        file_size: bytes, or None.
        etag: or None.
        last_modified: seconds since 1970-01-01 UTC, or None.
        requests, nbytes: number of range requests, and of the bytes that they gave.
        parts: (offset, data) pairs from which the header can be parsed again, if they are wanted.
    """

    header: T
    file_size: int | None
    etag: str | None
    last_modified: float | None
    requests: int
    nbytes: int
    parts: tuple[tuple[int, bytes], ...] = ()


FileHeader: TypeAlias = ParsedFile[Header]


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file whose header could not be read.

    Attributes:
        error: name of the exception's class.
        message: the fault.
    """

    error: str
    message: str


class KnownHeaders(Protocol):
    """Headers that were read before, as `header_cache.CachedHeaders` has them."""

    @property
    def is_learning(self) -> bool:
        """Whether it keeps headers that are read."""

    def lookup(self, hrefs: Sequence[str], /) -> Mapping[str, FileHeader]:
        """Give the headers of some files, as far as they are known."""

    def keep(self, files: Mapping[str, FileHeader], /) -> None:
        """Learn headers that were read, with their `parts`."""


async def read_header(href: str, *, with_parts: bool = False) -> FileHeader:
    """Read the header of one TIFF.

    Args:
        href: path or URL.
        with_parts: whether its bytes are wanted, too.

    Raises:
        FetchError: its bytes cannot be fetched.
        TiffError: its bytes are no TIFF that can be read.
    """
    recorded = RecordedBytes() if with_parts else None
    found = await read_parsed(href, lambda buffer: parse_header(buffer, href=redact(href)), buffer=recorded)
    return found if recorded is None else replace(found, parts=recorded.read_parts())


async def read_parsed(
    href: str,
    parse: Callable[[SparseBytes], T],
    *,
    identity: FileIdentity = UNKNOWN,
    buffer: SparseBytes | None = None,
) -> ParsedFile[T]:
    """Fetch the first bytes of a TIFF, and then those that a parser asks for.

    Args:
        href: path or URL.
        parse: raises `NeedBytes` where bytes are missing.
        identity: facts that the file must have, as far as they are known.
        buffer: an empty one that gets the bytes, or None for a new one.

    Raises:
        FetchError: its bytes cannot be fetched.
        TiffError: it is no TIFF, or one that cannot be read.
    """
    store = store_for(href)
    first = await store.fetch(href, 0, FIRST_READ_BYTES, identity=identity)
    file_size = first.file_size
    if file_size is None and len(first.data) < FIRST_READ_BYTES:
        file_size = len(first.data)
    buffer = SparseBytes() if buffer is None else buffer
    buffer.add(0, first.data)
    buffer.file_size = file_size
    requests = 1
    fetched_bytes = len(first.data)
    for _ in range(MAX_ROUNDS):
        try:
            header = parse(buffer)
        except NeedBytes as need:
            ranges = merge_ranges(need.ranges, max_gap_bytes=MAX_GAP_BYTES)
        else:
            return ParsedFile(header, buffer.file_size, first.etag, first.last_modified, requests, fetched_bytes)
        if fetched_bytes + sum(end - start for start, end in ranges) > MAX_HEADER_BYTES:
            break
        parts = await asyncio.gather(*(store.fetch(href, start, end, identity=first.identity) for start, end in ranges))
        requests += len(ranges)
        for (_, end), part in zip(ranges, parts, strict=True):
            buffer.add(part.start, part.data)
            fetched_bytes += len(part.data)
            if part.start + len(part.data) < end and buffer.file_size is None:
                buffer.file_size = part.start + len(part.data)
    raise CorruptTiffError(
        f"{redact(href)}: the header asks for more than {MAX_HEADER_BYTES:,} bytes or {MAX_ROUNDS} reads; "
        f"expected IFDs of a plausible size. Leave the file out or write it anew."
    )


def read_headers(
    batches: Iterable[Sequence[str]], known: KnownHeaders | None = None
) -> Iterator[list[FileHeader | UnreadFile]]:
    """Read the headers of many files on the background event loop, some batches ahead of the caller.

    Args:
        batches: paths and URLs.
        known: headers that need no reading; learns the others.

    Yields:
        For each batch, the header of each file or why it was not read, in order.
    """
    gate = asyncio.Semaphore(FILES_IN_FLIGHT)
    reading: deque[Future[list[FileHeader | UnreadFile]]] = deque()
    waiting: deque[Sequence[str]] = deque()
    learned: dict[str, FileHeader] = {}
    is_learning = known is not None and known.is_learning

    def outcomes() -> list[FileHeader | UnreadFile]:
        found = reading.popleft().result()
        named = zip(waiting.popleft(), found, strict=True)
        learned.update({href: each for href, each in named if isinstance(each, ParsedFile) and each.parts})
        return found

    try:
        for hrefs in batches:
            there = known.lookup(hrefs) if known is not None else {}
            waiting.append(hrefs)
            reading.append(loop.submit(_read_batch(hrefs, gate, there, with_parts=is_learning)))
            if len(reading) > BATCHES_AHEAD:
                yield outcomes()
        while reading:
            yield outcomes()
    finally:
        for future in reading:
            future.cancel()
        if known is not None and learned:
            known.keep(learned)


async def _read_batch(
    hrefs: Sequence[str], gate: asyncio.Semaphore, known: Mapping[str, FileHeader], *, with_parts: bool
) -> list[FileHeader | UnreadFile]:
    async with asyncio.TaskGroup() as group:
        tasks = {
            href: group.create_task(_read_one(href, gate, with_parts=with_parts)) for href in hrefs if href not in known
        }
    return [known[href] if href in known else tasks[href].result() for href in hrefs]


async def _read_one(href: str, gate: asyncio.Semaphore, *, with_parts: bool) -> FileHeader | UnreadFile:
    async with gate:
        try:
            return await read_header(href, with_parts=with_parts)
        except TiffError as error:
            message = str(error)
            name = redact(href)
            return UnreadFile(type(error).__name__, message if name in message else f"{name}: {message}")
        except RasteretError as error:
            return UnreadFile(type(error).__name__, str(error))
        except Exception as error:  # noqa: BLE001 - one file never ends a build of thousands
            return UnreadFile(
                type(error).__name__, f"{redact(href)}: {error}; this is an error of rasteret_sql itself."
            )
