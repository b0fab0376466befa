"""STAC's forms of a date, a time or a period as microseconds; the same rule as `sql/macros/_rst_datetime_range.sql`."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

import numpy as np

from rasteret_sql.errors import InvalidArgumentError

#: An open end: before and after all times.
FIRST_US: Final = -9_223_372_036_854_775_807
LAST_US: Final = 9_223_372_036_854_775_807

_DATE: Final = re.compile(r"\d{4}(?:-\d{2}){0,2}")
_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?(?:Z|([+-])(\d{2})(?::?(\d{2}))?)?", re.IGNORECASE
)
#: What a date of so many characters lasts.
_UNITS: Final[dict[int, Literal["Y", "M", "D"]]] = {4: "Y", 7: "M", 10: "D"}


class Period(NamedTuple):
    """Microseconds since 1970-01-01 UTC; the end is exclusive."""

    start_us: int
    end_us: int


def parse_period(text: str) -> Period:
    """Read a year, month, day or RFC 3339 time, or two of them with a slash between; both ends are included.

    Args:
        text: such as "2024-01", "2024-01-01/2024-02-15" or "../2024"; ".." and nothing leave an end open. A time
            without an offset is UTC.

    Raises:
        InvalidArgumentError: it is none of them, or it ends before it starts.
    """
    first, slash, last = text.partition("/")
    ends = [part.strip() for part in (first, last if slash else first)]
    instants = [None if part in {"", ".."} else _instant(part) for part in ends]
    is_wrong = any(part not in {"", ".."} and at is None for part, at in zip(ends, instants, strict=True))
    if is_wrong or "/" in last or text.strip() in {"", ".."}:
        raise InvalidArgumentError(
            f"datetime: got {text!r}, expected a year, month, day or RFC 3339 time, or two of them with a slash "
            "between, such as '2024-01' or '2024-01-01/2024-02-15'; '..' leaves an end open"
        )
    start, end = instants
    if start is not None and end is not None and start > end:
        raise InvalidArgumentError(f"datetime: got {text!r}, which ends before it starts; swap the two ends")
    return Period(FIRST_US if start is None else start, LAST_US if end is None else _after(ends[1], end))


def _instant(text: str) -> int | None:
    """Give the first microsecond of a date or time, None where the text is neither."""
    try:
        if _DATE.fullmatch(text):
            return int(np.datetime64(text, "us").astype(np.int64))
        found = _TIME.fullmatch(text)
        if found is None:
            return None
        date, hour, minute, second, fraction, sign, offset_hours, offset_minutes = found.groups()
        seconds = int(hour) * 3600 + int(minute) * 60 + int(second or 0)
        if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 59:
            return None
        offset = (int(offset_hours or 0) * 60 + int(offset_minutes or 0)) * 60_000_000
        at = int(np.datetime64(date, "us").astype(np.int64)) + seconds * 1_000_000
        at += int((fraction or "0")[:6].ljust(6, "0"))
    except ValueError:
        return None
    return at + offset if sign == "-" else at - offset


def _after(text: str, instant: int) -> int:
    """Give the first microsecond after a date or time that begins at an instant."""
    unit = _UNITS.get(len(text))
    if unit is None:
        return instant + 1
    return int((np.datetime64(text, unit) + np.timedelta64(1, unit)).astype("M8[us]").astype(np.int64))
