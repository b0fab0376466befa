"""STAC datetimes to UTC."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The times of a STAC item.
TIME_NAMES = ("datetime", "start_datetime", "end_datetime")


def parse_datetime(value: object, name: str) -> datetime | None:
    """Read an RFC 3339 date or date and time; without an offset it is UTC.

    Args:
        value: text, a `datetime`, or None.
        name: what to call it in a message.

    Raises:
        InvalidArgumentError: it is something else.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value.strip().upper())
    if not isinstance(value, datetime):
        raise InvalidArgumentError(
            f"{name}: got {value!r}, expected a time such as '2024-01-31T10:20:30Z'; correct the source"
        )
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidArgumentError(
            f"{name}: got {value}, expected a year from 1 to 9999; correct the source"
        ) from error


def parse_times(values: Mapping[str, object], what: str) -> dict[str, datetime | None]:
    """Read the three times of an item.

    Args:
        values: anything that has `datetime`, `start_datetime` and `end_datetime`, as far as they are known.
        what: what to call it in a message.

    Raises:
        InvalidArgumentError: one of them is no time, or the period ends before it starts.
    """
    times = {name: parse_datetime(values.get(name), f"{what}, {name}") for name in TIME_NAMES}
    start, end = times["start_datetime"], times["end_datetime"]
    if start is not None and end is not None and start > end:
        raise InvalidArgumentError(
            f"{what}: got the start_datetime {start} and the end_datetime {end}, expected the start first; "
            f"correct the source"
        )
    return times
