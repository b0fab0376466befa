"""Whether an HTTP answer holds the bytes that were asked for. Pure: status and headers in, a verdict out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rasteret_sql.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    FetchError,
    RangeError,
    TransportError,
)
from rasteret_sql.io.bearer_tokens import remedy
from rasteret_sql.io.identity import OTHER_VERSION, FileIdentity
from rasteret_sql.io.retry import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_sql.io.asked import Asked

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Body:
    """What the body of a good answer holds; `end` is exclusive, `file_size` None where it is not said."""

    start: int
    end: int
    file_size: int | None


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A Content-Range header; `end` is exclusive, and both bounds are None in an answer 416."""

    start: int | None
    end: int | None
    file_size: int | None


def parse_content_range(value: str | None) -> ContentRange | None:
    """Read a Content-Range header (RFC 9110, section 14.4), or give None where it is missing or unreadable.

    >>> parse_content_range("bytes 0-99/1000")
    ContentRange(start=0, end=100, file_size=1000)
    """
    match = _CONTENT_RANGE.fullmatch(value.strip()) if value is not None else None
    if match is None:
        return None
    first, last, size = match.groups()
    return ContentRange(
        start=None if first is None else int(first),
        end=None if last is None else int(last) + 1,
        file_size=None if size == "*" else int(size),
    )


def check_answer(
    asked: Asked, status: int, headers: Mapping[str, str], *, sender: str | None = None, had_token: bool = False
) -> Body:
    """Decide from status and headers whether the body may be read, and what it will hold.

    The one answer but 206 that is accepted is 200 with a whole file that is no longer than the range asked
    for, and a range that starts at 0: then the body is what was asked for. Any other 200 is refused unread,
    since it may be a file of many gigabytes.

    Args:
        asked: range and file, and the version that it must be.
        status: of the HTTP answer.
        headers: of the HTTP answer; looked up by their usual spelling, so the mapping must ignore case.
        sender: the host that answered, if the request was redirected.
        had_token: whether the request had a bearer token.

    Raises:
        FetchError: one of its subclasses says what is wrong.
    """
    if sender is not None and status == 200 and _is_page(headers):
        raise AccessDeniedError(
            f"{asked}: the server redirected to a page of {sender}, such as one for a login; expected 206. "
            f"{remedy(asked.href, had_token=had_token)}"
        )
    if status in {200, 206, 416}:
        asked.require_same(_identity(asked, status, headers))
    if status not in {200, 206}:
        raise _refusal(asked, status, headers, sender, had_token=had_token)
    if _is_encoded(headers):
        raise RangeError(
            f"{asked}: the server sent the bytes with Content-Encoding {headers['Content-Encoding']}; expected "
            f"the file as it is stored. Turn off compression of these files on the server, or use another mirror or a "
            f"local copy."
        )
    if status == 200:
        return _whole_file(asked, headers)
    return _partial(asked, headers.get("Content-Range"))


def _identity(asked: Asked, status: int, headers: Mapping[str, str]) -> FileIdentity:
    """Give the facts of an answer about its file."""
    size = None
    if status == 200 and not _is_encoded(headers):
        length = headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else None
    elif status in {206, 416}:
        got = parse_content_range(headers.get("Content-Range"))
        size = None if got is None else got.file_size
    # Some servers give no ETag with 416; the sizes say what there is to say.
    etag = headers.get("ETag") or (asked.identity.etag if status == 416 else None)
    return FileIdentity(etag, size, parse_http_date(headers.get("Last-Modified")))


def _is_page(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"


def _is_encoded(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}


def _whole_file(asked: Asked, headers: Mapping[str, str]) -> Body:
    length = headers.get("Content-Length", "")
    if asked.start == 0 and length.isdigit() and int(length) <= asked.end:
        if int(length) == 0:
            raise _empty_file(asked)
        return Body(0, int(length), int(length))
    raise RangeError(
        f"{asked}: the server answered 200 with the whole file; expected 206 with these bytes alone. "
        f"Range requests are required: use another mirror or a local copy."
    )


def _partial(asked: Asked, header: str | None) -> Body:
    got = parse_content_range(header)
    if got is None or got.start is None or got.end is None:
        shown = "no Content-Range" if header is None else f"the unreadable Content-Range {header!r}"
        raise RangeError(
            f"{asked}: the server answered 206 with {shown}; expected bytes {asked.start}-{asked.end - 1}. "
            f"Use another mirror or a local copy."
        )
    at_end_of_file = got.file_size is not None and asked.start < got.end == got.file_size < asked.end
    if got.start != asked.start or not (got.end == asked.end or at_end_of_file):
        raise RangeError(
            f"{asked}: the server answered 206 with Content-Range {header!r}; expected bytes "
            f"{asked.start}-{asked.end - 1}. Use another mirror or a local copy."
        )
    if got.file_size is not None and got.end > got.file_size:
        raise RangeError(
            f"{asked}: the server answered 206 with Content-Range {header!r}, which reaches beyond the end "
            f"of the file that it states. Use another mirror or a local copy."
        )
    return Body(asked.start, got.end, got.file_size)


def _refusal(
    asked: Asked, status: int, headers: Mapping[str, str], sender: str | None, *, had_token: bool
) -> FetchError:
    who = "the server" if sender is None else f"{sender}, to which the server redirected,"
    answered = f"{asked}: {who} answered {status}"
    if status in {401, 403, 407}:
        return AccessDeniedError(
            f"{answered}; expected 206. It wants credentials or a signed URL, the signature has expired, or "
            f"(some object stores) there is no such file: check the URL and the access rights. "
            f"{remedy(asked.href, had_token=had_token)}"
        )
    if status in {404, 410}:
        return AssetNotFoundError(
            f"{answered}; expected 206. There is no such file: check the URL, or refresh or rebuild the index."
        )
    if status == 412:
        got = _identity(asked, status, headers)
        return asked.changed(
            f"the server answered {status}, precondition failed: the file has another ETag now ({got}); expected "
            f"{asked.identity}, as it was when it was indexed. {OTHER_VERSION}"
        )
    if status == 416:
        got_range = parse_content_range(headers.get("Content-Range"))
        size = None if got_range is None else got_range.file_size
        if size == 0:
            return _empty_file(asked)
        has = "range not satisfiable" if size is None else f"the file has only {size} bytes"
        return RangeError(
            f"{answered}: {has}; expected bytes from {asked.start} on. It was truncated or rewritten: "
            f"replace it, then refresh or rebuild the index."
        )
    if status >= 500 or status in {408, 429}:
        return TransportError(f"{answered}; expected 206. Try again later, or with fewer requests at a time.")
    return RangeError(f"{answered}; expected 206. Check the URL, or use another mirror or a local copy.")


def _empty_file(asked: Asked) -> RangeError:
    return RangeError(
        f"{asked}: the file is empty (0 bytes); expected a file with content. It was never written "
        f"completely: replace it, then refresh or rebuild the index."
    )
