"""Memory for results."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.machine import memory_bytes
from rasteret_sql.io.options import get_options
from rasteret_sql.wording import size

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.cube import Cube


def check_size(cube: Cube, *, in_memory: bool) -> None:
    """Refuse a result of more bytes than the option `max_result_bytes` allows, before anything is fetched.

    Args:
        cube: what will be read.
        in_memory: whether all of it will be in memory at once, with its masks. Then the memory of the machine is the
            limit where the option is not set.

    Raises:
        InvalidArgumentError: it is larger.
    """
    shape = cube.group_count, cube.box.height, cube.box.width
    check_bytes(
        shape, len(cube.bands), sum(band.dtype.itemsize + in_memory for band in cube.bands), in_memory=in_memory
    )


def check_bytes(shape: tuple[int, int, int], bands: int, pixel_bytes: int, *, in_memory: bool = True) -> None:
    """Refuse a result as `check_size` does.

    Args:
        shape: (slices, rows, columns).
        bands: how many there are.
        pixel_bytes: of a pixel with all of its bands.
        in_memory: as for `check_size`.

    Raises:
        InvalidArgumentError: it is larger.
    """
    groups, height, width = shape
    nbytes = groups * height * width * pixel_bytes
    limit, kind = get_options().max_result_bytes, "the option max_result_bytes allows"
    if limit is None and in_memory:
        limit, kind = memory_bytes(), "this machine has memory for"
    if limit is not None and nbytes > limit:
        raise InvalidArgumentError(
            f"result: got {groups:,} x {bands:,} x {height:,} x {width:,} pixels "
            f"(slices, bands, rows, columns), which take {size(nbytes)}, expected {size(limit)} at most, which {kind}; "
            "check that resolution and bounds are in units of the CRS, or read a smaller area, coarser pixels or fewer "
            "items, or use to_xarray with chunks"
        )


def new_array(shape: tuple[int, ...], dtype: npt.DTypeLike, fill: Any = None) -> npt.NDArray[Any]:
    """Make an array of a result, of the value `fill`; without it, its values are not set.

    Raises:
        InvalidArgumentError: there is no memory for it.
    """
    try:
        return np.empty(shape, dtype) if fill is None else np.full(shape, fill, dtype)
    except (MemoryError, ValueError) as error:
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        raise InvalidArgumentError(
            f"result: got the shape {shape} of {np.dtype(dtype)}, which takes {size(nbytes)}, expected a result that "
            "memory can hold; read a smaller area, coarser pixels or fewer items, or use to_xarray with chunks"
        ) from error
