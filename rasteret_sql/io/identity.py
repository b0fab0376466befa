"""Whether a store still has the version of a file that an index row describes. Pure: values in, a verdict out.

The index has the ETag, the size and the time of change of each file. Each answer of a store has them too, so the
comparison needs no request of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from rasteret_sql.checks import is_one_of, shown
from rasteret_sql.errors import InvalidArgumentError

#: What is compared: all facts; the size alone; nothing.
IdentityRule = Literal["etag", "size", "none"]

#: The facts that messages name.
Fact = Literal["size", "time of change", "ETag"]

_FACTS: Final[tuple[Fact, ...]] = ("size", "time of change", "ETag")
RULES: Final[tuple[IdentityRule, ...]] = ("etag", "size", "none")
#: HTTP gives times in whole seconds.
SAME_TIME_S: Final = 1.0
#: Servers append the name of a compression to the ETag of the file.
_COMPRESSED: Final = re.compile(r"(?:--?|;)(?:gzip|br|deflate|df|zstd)$", re.IGNORECASE)
#: ETag of a multi-part upload in S3: an MD5 and the number of parts. The same bytes in other parts have another one.
_OF_PARTS: Final = re.compile(r"[0-9a-f]{32}-\d+", re.IGNORECASE)

_REWRITTEN: Final = "It was rewritten since: refresh or rebuild the index."
#: What a message recommends where the size is the same, and the ETag or the time of change differs.
OTHER_VERSION: Final = (
    f'{_REWRITTEN} This read compared by identity="etag": ETag, size and time of change. If the file was only uploaded '
    'again, with the same content, read with the option identity="size".'
)


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """The facts that tell one version of a file from another; each is None where it is not known.

    Attributes:
        etag: entity tag, as the store gave it.
        size: bytes of the whole file.
        modified_s: time of the last change, in seconds since 1970-01-01 UTC.
    """

    etag: str | None = None
    size: int | None = None
    modified_s: float | None = None

    @property
    def if_match(self) -> str | None:
        """The ETag for the header If-Match, or None where the header would refuse a file that is the same.

        A weak ETag never matches (RFC 9110, section 13.1.1). One of parts or of a compressed answer may differ for
        the same bytes; the answer's own facts decide there.
        """
        return None if self.etag is None or _is_loose(self.etag) else self.etag

    def said(self, fact: Fact) -> str:
        """Give a fact for a message, or "" where it is not known."""
        if fact == "size":
            return "" if self.size is None else f"{self.size} bytes"
        if fact == "time of change":
            return "" if self.modified_s is None else f"time of change {_as_time(self.modified_s)}"
        return "" if self.etag is None else f"ETag {self.etag}"

    def __str__(self) -> str:
        """List the facts for a message.

        >>> str(FileIdentity('"a"', 10))
        '10 bytes, ETag "a"'
        """
        return ", ".join(filter(None, map(self.said, _FACTS))) or "nothing known"


#: A file of which nothing is known: every answer is taken.
UNKNOWN: Final = FileIdentity()


class Comparison(NamedTuple):
    """The outcome of a comparison.

    Attributes:
        verdict: "unknown" where a fact that decides is missing on one side.
        fact: name of the fact that decided, or "".
    """

    verdict: Literal["same", "changed", "unknown"]
    fact: Fact | Literal[""] = ""


def checked_rule(value: Any) -> IdentityRule:
    """Give a rule that a caller named.

    Raises:
        InvalidArgumentError: there is no such rule.
    """
    for rule in RULES:
        if is_one_of(value, (rule,)):
            return rule
    raise InvalidArgumentError(f"identity: got {shown(value)}, expected one of {', '.join(RULES)}")


def compare(indexed: FileIdentity, found: FileIdentity) -> Comparison:
    """Compare a file as the index has it with the file that a store has now.

    Different sizes are different files. The same ETag is the same file. Different ETags are different files, unless
    one of them is weak or made of parts, and size and time of change agree. Without ETags the time of change decides.

    >>> compare(FileIdentity('"a"', 10), FileIdentity('W/"a"', 10)).verdict
    'same'
    >>> compare(FileIdentity(size=10), FileIdentity('"b"', 11))
    Comparison(verdict='changed', fact='size')
    """
    if indexed.size is not None and found.size is not None and indexed.size != found.size:
        return Comparison("changed", "size")
    if indexed.etag is not None:
        return _compare_etags(indexed, found, indexed.etag)
    is_as_old = _is_as_old(indexed, found)
    if is_as_old is not None:
        return Comparison("same") if is_as_old else Comparison("changed", "time of change")
    return Comparison("unknown" if indexed.size is None or found.size is None else "same")


def same_etag(one: str, other: str) -> bool:
    """Compare two ETags weakly (RFC 9110, section 8.8.3.2): W/"a" is the same as "a", quoted or not.

    >>> same_etag('"a"', 'W/"a-gzip"')
    True
    """
    return _core(one) == _core(other)


def difference(indexed: FileIdentity, found: FileIdentity) -> str | None:
    """Say why a read must not take the bytes of a file, or give None; the text follows the name of the file.

    A store that gives no ETag where the index has one leaves open whether the file was rewritten.
    """
    verdict, fact = compare(indexed, found)
    if verdict == "changed":
        remedy = _REWRITTEN if fact == "size" else OTHER_VERSION
        return f"the file has another {fact} now: {found}; expected {indexed}, as it was when it was indexed. {remedy}"
    if verdict == "unknown" and fact:
        return (
            f"the server gave no {fact}: {found}; expected {indexed}, as the file was when it was indexed, so it is "
            "unknown whether it was rewritten since. Refresh or rebuild the index from this server, or read with the "
            'option identity="size".'
        )
    return None


def _compare_etags(indexed: FileIdentity, found: FileIdentity, expected: str) -> Comparison:
    if found.etag is None:
        return Comparison("unknown", "ETag")
    if same_etag(expected, found.etag):
        return Comparison("same")
    is_loose = _is_loose(expected) or _is_loose(found.etag)
    if is_loose and indexed.size is not None and indexed.size == found.size and _is_as_old(indexed, found):
        return Comparison("same")
    return Comparison("changed", "ETag")


def _is_as_old(indexed: FileIdentity, found: FileIdentity) -> bool | None:
    if indexed.modified_s is None or found.modified_s is None:
        return None
    return abs(indexed.modified_s - found.modified_s) < SAME_TIME_S


def _as_time(seconds: float) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"


def _core(etag: str) -> str:
    return _COMPRESSED.sub("", etag.removeprefix("W/").strip('"'))


def _is_loose(etag: str) -> bool:
    """Whether the same bytes may have another ETag."""
    if etag.startswith("W/"):
        return True
    plain = etag.strip('"')
    return _COMPRESSED.search(plain) is not None or _OF_PARTS.fullmatch(plain) is not None
