"""What was asked for, and how it is named in messages: never with what may be a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rasteret_sql.errors import AssetChangedError, InvalidArgumentError
from rasteret_sql.io.identity import UNKNOWN, FileIdentity, difference

if TYPE_CHECKING:
    from collections.abc import Callable

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)")

#: User and password of a URL in the path of another one, as of a proxy: https://proxy/https://me:secret@host/a.tif.
_INNER_USER = re.compile(r"(?<=://)[^/]*@")

_URL_IN_TEXT = re.compile(r"\b[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"]*")

#: Here the part before "@" is the container: abfss://container@account.dfs.core.windows.net/path.
CONTAINER_BEFORE_AT = frozenset({"abfs", "abfss"})


def without_inner_user(path: str) -> str:
    """Cut user and password out of a URL that stands in the path of another one.

    >>> without_inner_user("/https://me:secret@host/a.tif")
    '/https://host/a.tif'
    """
    return _INNER_USER.sub("", path)


def redact(href: str) -> str:
    """Strip the query string, the fragment and user and password of a URL; paths stay as they are.

    >>> redact("https://user:password@example.com/a.tif?X-Amz-Signature=secret")
    'https://example.com/a.tif'
    """
    match = _URL.match(href)
    if match is None:
        return href
    scheme, authority, path = match.groups()
    if scheme.lower() == "file":
        return href
    if scheme.lower() not in CONTAINER_BEFORE_AT:
        authority = authority.rpartition("@")[2]
    return f"{scheme}://{authority}{without_inner_user(path)}"


def redact_text(text: str) -> str:
    """Apply `redact` to every URL in a text, such as SQL or the message of another library.

    >>> redact_text("FROM 'https://me:secret@example.com/a.parquet?sig=secret' LIMIT 1")
    "FROM 'https://example.com/a.parquet' LIMIT 1"
    """
    return _URL_IN_TEXT.sub(lambda match: redact(match[0]), text)


#: Called with the href of each file that turns out to be another version.
_listeners: list[Callable[[str], None]] = []


def on_changed(listener: Callable[[str], None]) -> Callable[[str], None]:
    """Let a function hear of each file that turns out to be another version than was asked for."""
    _listeners.append(listener)
    return listener


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller of `fetch` asked for.

    Attributes:
        href: path or URL of the file.
        start: offset of the first byte, at least 0.
        end: offset after the last byte, more than `start`.
        identity: facts that the file must still have, as far as they are known.

    Raises:
        InvalidArgumentError: no file can have such a range.
    """

    href: str
    start: int
    end: int
    identity: FileIdentity = UNKNOWN

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise InvalidArgumentError(
                f"{redact(self.href)}: a range from byte {self.start} to byte {self.end} (exclusive) was "
                f"asked for; expected 0 <= start < end."
            )

    def __str__(self) -> str:
        """Name the range for a message; its last number is inclusive, as in HTTP.

        >>> str(Asked("https://example.com/a.tif?token=secret", 0, 16384))
        'bytes 0-16383 of https://example.com/a.tif'
        """
        return f"bytes {self.start}-{self.end - 1} of {redact(self.href)}"

    def require_same(self, found: FileIdentity) -> None:
        """Compare the file with what a store says of it now; every store does so before it gives bytes.

        Raises:
            AssetChangedError: it is another version, or may be one.
        """
        why = difference(self.identity, found)
        if why is not None:
            raise self.changed(why)

    def changed(self, why: str) -> AssetChangedError:
        """Give the error for another version of the file."""
        for listener in _listeners:
            listener(self.href)
        return AssetChangedError(f"{self}: {why}")


def safe_cause(error: BaseException) -> BaseException | None:
    """Give the error for `raise ... from`, or None where its text may hold the query string of a URL."""
    return None if "?" in f"{error} {error!r}" else error
