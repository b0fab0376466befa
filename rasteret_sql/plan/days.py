"""The days of items: of UTC, and of mean solar time where an item lies. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rasteret_sql.geo.antimeridian import joined_longitudes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Microseconds of a day.
DAY_US: Final = 86_400_000_000
_US_PER_DEGREE: Final = DAY_US // 360


def utc_days(times_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give the number of the day of each time, counted from 1970."""
    return times_us // DAY_US


def solar_days(times_us: npt.NDArray[np.int64], longitudes: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Give the number of the solar day of each time and longitude; items around the antimeridian share theirs."""
    import numpy as np

    days: npt.NDArray[np.int64] = (
        times_us + (joined_longitudes(longitudes) * _US_PER_DEGREE).astype(np.int64)
    ) // DAY_US
    return days
