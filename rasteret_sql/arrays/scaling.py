"""Stored values to physical ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.cube import CubeBand


def filled(
    pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None, band: CubeBand
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Put the fill of a band where pixels of its files are not valid, for files hold there what they like."""
    if mask is not None and band.is_filled:
        np.copyto(pixels, band.fill, where=~mask)
    return pixels, mask


def scaled(pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_], band: CubeBand) -> npt.NDArray[Any]:
    """Give physical values as the smallest float type that holds the stored ones exactly, NaN where not valid."""
    dtype = np.result_type(pixels.dtype, np.float32)
    values = pixels.astype(dtype)
    if band.scale is not None:
        values *= dtype.type(band.scale)
    if band.offset is not None:
        values += dtype.type(band.offset)
    values[~mask] = np.nan
    return values
