"""Stored values to physical ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.cube import CubeBand
#: Stored steps from zero up to which float32, with its 24 bits, has 16 values and more between two of them.
_FLOAT32_STEPS = 1 << 20


def filled(
    pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None, band: CubeBand
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Put the fill of a band where pixels of its files are not valid, for files hold there what they like."""
    if mask is not None and band.is_filled:
        np.copyto(pixels, band.fill, where=~mask)
    return pixels, mask


def scaled_dtype(band: CubeBand) -> np.dtype[Any]:
    """Give the smallest float type that holds the stored values of a band exactly, and tells their physical ones apart.

    float32 rounds physical values to less than 1/32 of the step between two stored ones, or float64 is taken.
    """
    dtype = np.result_type(band.dtype, np.float32)
    if dtype != np.float32 or band.dtype.kind not in "iu":
        return dtype
    limits = np.iinfo(band.dtype)
    scale = abs(1.0 if band.scale is None else band.scale) or 1.0
    steps = max(abs(int(limits.min)), int(limits.max)) + abs(band.offset or 0.0) / scale
    return dtype if steps <= _FLOAT32_STEPS else np.dtype(np.float64)


def scaled(pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_], band: CubeBand) -> npt.NDArray[Any]:
    """Give physical values as `scaled_dtype`, NaN where not valid."""
    dtype = scaled_dtype(band)
    values = pixels.astype(dtype)
    if band.scale is not None:
        values *= dtype.type(band.scale)
    if band.offset is not None:
        values += dtype.type(band.offset)
    values[~mask] = np.nan
    return values
