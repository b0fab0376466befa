"""JSON documents, read whole: from disk or over HTTP, also from servers that know no range requests."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    InvalidArgumentError,
    RangeError,
    TransportError,
)
from rasteret_sql.io import access
from rasteret_sql.io.stores import redact, store_for

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A STAC document larger than this is refused; NDJSON is read line by line and has no limit.
MAX_DOCUMENT_BYTES = 1 << 30
FIRST_DOCUMENT_BYTES = 1 << 22
NDJSON_PIECE_BYTES = 1 << 23
GET_TIMEOUT_S = 60.0


async def fetch_document(href: str) -> Any:
    """Fetch a JSON document and parse it.

    Raises:
        FetchError: it cannot be fetched.
        InvalidArgumentError: it is not JSON.
    """
    try:
        data = await _fetch_whole(href)
    except RangeError:
        if not href.startswith(("http://", "https://")):
            raise
        # STAC APIs and small web servers answer 200 to a range request; for a document that is as good.
        data = await asyncio.to_thread(_get, href)
    return _parse(data, redact(href))


async def _fetch_whole(href: str) -> bytes:
    store = store_for(href)
    first = await store.fetch(href, 0, FIRST_DOCUMENT_BYTES)
    if len(first.data) < FIRST_DOCUMENT_BYTES or first.file_size == FIRST_DOCUMENT_BYTES:
        return first.data
    rest = await store.fetch(href, FIRST_DOCUMENT_BYTES, MAX_DOCUMENT_BYTES, if_match=first.etag)
    return first.data + rest.data


def read_lines(href: str) -> Iterator[Any]:
    """Parse an NDJSON file line by line; empty lines are skipped.

    Raises:
        FetchError: it cannot be fetched.
        InvalidArgumentError: a line is not JSON.
    """
    from rasteret_sql.io import loop

    store = store_for(href)
    number = 0
    start = 0
    rest = b""
    etag = None
    while True:
        piece = loop.run(store.fetch(href, start, start + NDJSON_PIECE_BYTES, if_match=etag))
        start += len(piece.data)
        etag = piece.etag
        is_last = len(piece.data) < NDJSON_PIECE_BYTES or start == piece.file_size
        *lines, rest = (rest + piece.data).split(b"\n")
        if is_last:
            lines.append(rest)
        for line in lines:
            number += 1
            if line.strip():
                yield _parse(line, f"{redact(href)}, line {number}")
        if is_last:
            return


def _parse(data: bytes, what: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{what}: not JSON ({error}); expected a STAC document.") from error


def _get(href: str) -> bytes:
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class CheckedRedirects(HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> Request | None:
            access.check_url(arguments[-1], resolve=True)
            return super().redirect_request(*arguments)

    access.check_url(href, resolve=True)

    request = Request(href, headers={"Accept": "application/geo+json, application/json"})  # noqa: S310 - http(s) only
    try:
        with build_opener(CheckedRedirects).open(request, timeout=GET_TIMEOUT_S) as response:
            data: bytes = response.read(MAX_DOCUMENT_BYTES)
            return data
    except HTTPError as error:
        kind = {
            401: AccessDeniedError,
            403: AccessDeniedError,
            404: AssetNotFoundError,
            410: AssetNotFoundError,
        }
        message = f"{redact(href)}: the server answered {error.code}; expected 200 and a STAC document."
        raise kind.get(error.code, TransportError)(message) from error
    except OSError as error:
        if isinstance(error, AccessDeniedError):
            raise
        raise TransportError(f"{redact(href)}: {error}; expected a STAC document.") from error
