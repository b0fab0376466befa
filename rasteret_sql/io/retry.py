"""Whether and when a failed request is tried again. Pure: clock, sleep and chance are the caller's."""

from __future__ import annotations

from dataclasses import dataclass

from rasteret_sql.errors import InvalidArgumentError

#: Answers that say "not now": the same request may succeed later.
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter, bounded by a number of attempts and by total time.

    Attributes:
        attempts: how often a request is sent at most, the first time included.
        total_s: no attempt starts later than this after the first one.
        first_delay_s: upper bound of the delay after the first failure; it doubles with each further one.
        max_delay_s: upper bound of every delay, also of one that the server asks for by Retry-After.
    """

    attempts: int = 6
    total_s: float = 90.0
    first_delay_s: float = 0.25
    max_delay_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidArgumentError(f"RetryPolicy: attempts is {self.attempts}; expected at least 1.")
        for name in ("total_s", "first_delay_s", "max_delay_s"):
            if not getattr(self, name) >= 0:
                raise InvalidArgumentError(
                    f"RetryPolicy: {name} is {getattr(self, name)}; expected at least 0 seconds."
                )

    def delay_s(
        self, failures: int, elapsed_s: float, *, jitter: float, retry_after_s: float | None = None
    ) -> float | None:
        """Give the seconds to wait before the next attempt, or None when it is time to give up.

        Args:
            failures: attempts that have failed, at least 1.
            elapsed_s: seconds since the first attempt began.
            jitter: random number, 0 <= jitter < 1; it spreads the delay over the upper half of the backoff,
                so that requests that failed together do not all come back together.
            retry_after_s: what the server asked for, or None; never undercut, save by `max_delay_s`.

        >>> RetryPolicy().delay_s(3, 1.0, jitter=0.5)
        0.75
        """
        if failures >= self.attempts:
            return None
        backoff_s = min(self.max_delay_s, self.first_delay_s * 2.0 ** (failures - 1))
        delay_s = backoff_s * (0.5 + 0.5 * jitter)
        if retry_after_s is not None:
            delay_s = max(delay_s, min(self.max_delay_s, retry_after_s + self.first_delay_s * jitter))
        return delay_s if elapsed_s + delay_s <= self.total_s else None


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """Read a Retry-After header (RFC 9110, section 10.2.3): seconds, or a date.

    Args:
        value: the header, or None.
        now_s: now, in seconds since 1970-01-01 UTC.

    Returns:
        Seconds from now, at least 0, or None where the header is missing or unreadable.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    at_s = parse_http_date(value)
    return None if at_s is None else max(0.0, at_s - now_s)


def parse_http_date(value: str | None) -> float | None:
    """Read an HTTP date; gives seconds since 1970-01-01 UTC, or None where it is missing or unreadable.

    >>> parse_http_date("Thu, 01 Jan 1970 00:01:00 GMT")
    60.0
    """
    if value is None:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
