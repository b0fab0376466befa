"""Reads that begin again where a header of the cache is of another version than its file has now.

Apart from `header_cache`, so that a read of an index imports nothing of it.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from rasteret_sql.errors import AssetChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Counts:
    """Headers that this process had of the cache, and those that it dropped since their files were rewritten."""

    served: int = 0
    dropped: int = 0


counts = Counts()


def with_fresh_headers(function: Callable[P, T]) -> Callable[P, T]:
    """Let a read begin again, once, if a header of the cache is of another version than the file has now.

    The header has been dropped by then, so the second attempt fetches it.
    """

    @functools.wraps(function)
    def read(*args: P.args, **kwargs: P.kwargs) -> T:
        before = counts.dropped
        try:
            return function(*args, **kwargs)
        except AssetChangedError:
            if counts.dropped == before:
                raise
        return function(*args, **kwargs)

    return read


def with_fresh_stream(function: Callable[P, pa.RecordBatchReader]) -> Callable[P, pa.RecordBatchReader]:
    """Let a function that gives a stream begin again, as `fresh_stream` does."""

    @functools.wraps(function)
    def read(*args: P.args, **kwargs: P.kwargs) -> pa.RecordBatchReader:
        import pyarrow as pa

        before = counts.served
        reader = function(*args, **kwargs)
        if counts.served == before:
            return reader
        batches = fresh_stream(iter(reader), lambda: iter(function(*args, **kwargs)))
        return pa.RecordBatchReader.from_batches(reader.schema, batches)

    return read


def fresh_stream(elements: Iterator[T], again: Callable[[], Iterator[T]]) -> Iterator[T]:
    """Go through a stream, which begins again, once, if its first element shows that a cached header is not fresh.

    Args:
        elements: the stream.
        again: gives the stream from its beginning.

    Raises:
        AssetChangedError: the file of a cached header was rewritten, and elements were given already.
    """
    before = counts.dropped
    is_first = True
    try:
        for element in elements:
            yield element
            is_first = False
    except AssetChangedError as error:
        if counts.dropped == before:
            raise
        if not is_first:
            raise AssetChangedError(f"{error} Its header was cached, and is dropped now: read again.") from error
    else:
        return
    finally:
        # A generator reads ahead, and must end with the stream.
        if isinstance(elements, Generator):
            elements.close()
    yield from again()
