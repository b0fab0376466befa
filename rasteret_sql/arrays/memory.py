"""Memory for results."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.wording import size

if TYPE_CHECKING:
    import numpy.typing as npt


def new_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Make an array of a result; its values are not set.

    Raises:
        InvalidArgumentError: there is no memory for it.
    """
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        raise InvalidArgumentError(
            f"result: got the shape {shape} of {np.dtype(dtype)}, which takes {size(nbytes)}, expected a result that "
            "memory can hold; read a smaller area, coarser pixels or fewer items, or use to_xarray with chunks"
        ) from error
