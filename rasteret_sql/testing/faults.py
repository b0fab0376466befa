"""What a `RangeServer` does wrong, as plain values, and what it records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal[
    "close",
    "content_range",
    "drip",
    "etag",
    "gzip",
    "hang",
    "ignore_range",
    "other_range",
    "redirect",
    "reset",
    "short",
    "status",
    "truncate",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One answer that is not as it should be.

    The kinds:

    * `close`: the connection is closed without an answer.
    * `content_range`: the right bytes under the header `value`; no Content-Range where it is None.
    * `drip`: the right bytes, `count` at a time, with `delay_s` between them.
    * `etag`: the answer to a request without If-Match, under the ETag `value`; no ETag where it is None.
    * `gzip`: the right bytes, compressed, with Content-Encoding gzip.
    * `hang`: `count` bytes of the body, then silence; no answer at all where it is None.
    * `ignore_range`: 200 and the whole file.
    * `other_range`: 206 and a range of the same length, `count` bytes further on.
    * `redirect`: `status` (302 if None) to the location `value`.
    * `reset`: `count` bytes of the body, then the connection is reset.
    * `short`: a body that is `count` bytes shorter than Content-Range, and Content-Length says so.
    * `status`: `status` without further ado, with Retry-After `value` unless that is None.
    * `truncate`: `count` bytes of the body, then the connection is closed in good order.

    Attributes:
        kind: what goes wrong.
        status: HTTP status, for `status` and `redirect`.
        value: a header, see above.
        count: bytes, see above; 0 if not given.
        delay_s: seconds, for `drip`.
    """

    kind: FaultKind
    status: int | None = None
    value: str | None = None
    count: int | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request that a `RangeServer` has answered, or begun to.

    Attributes:
        method: "GET" or "HEAD".
        path: decoded path without its leading slash, without the query string.
        start: first byte that was asked for, or None without a range.
        end: end (exclusive) of the range that was asked for, or None where it is open or missing.
        status: HTTP status of the answer, or 0 where there was none.
        nbytes_sent: bytes of the body that were sent.
        headers: of the request; names in lower case.
    """

    method: str
    path: str
    start: int | None
    end: int | None
    status: int
    nbytes_sent: int
    headers: dict[str, str]
