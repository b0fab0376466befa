"""What a nodata value says of pixels, as GDAL takes it: which are valid, and what those hold that are not there."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def valid_pixels(pixels: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
    """Say which pixels are not nodata; True means valid.

    As in GDAL, NaN marks NaN, a value beyond the range of an integer dtype marks nothing, and a fraction is cut off.
    Floats are nodata where they differ from it by less than four float32 epsilons of its size: overviews that were
    averaged often hold such. Of complex numbers the real part counts. None marks nothing.
    """
    if nodata is None:
        return np.ones(pixels.shape, bool)
    if pixels.dtype.kind == "c":
        pixels = pixels.real
    if pixels.dtype.kind == "f" and np.isnan(nodata):
        valid: npt.NDArray[np.bool_] = ~np.isnan(pixels)
        return valid
    value = stored_nodata(pixels.dtype, nodata)
    if value is None:
        return np.ones(pixels.shape, bool)
    if pixels.dtype.kind == "f":
        lowest, highest = _nearly(pixels.dtype.name, float(value))
        nearly: npt.NDArray[np.bool_] = (pixels >= lowest) & (pixels <= highest)
        return ~nearly
    differs: npt.NDArray[np.bool_] = pixels != value
    return differs


@lru_cache(maxsize=64)
def _nearly(dtype: str, nodata: float) -> tuple[Any, Any]:
    """Give the lowest and the highest float that GDAL takes for a nodata value."""
    kind = np.dtype(dtype)
    bits = np.dtype(f"i{kind.itemsize}")
    size = kind.type(abs(nodata))
    epsilon = kind.type(np.finfo(np.float32).eps)
    if not size or not np.isfinite(size):
        return kind.type(nodata), kind.type(nodata)

    def farthest(end: Any) -> Any:
        # Positive floats are ordered as their bits are.
        near, far = int(size.view(bits)), int(kind.type(end).view(bits))
        while abs(far - near) > 1:
            middle = np.array((near + far) // 2, bits).view(kind)[()]
            if abs(middle - size) < epsilon * abs(middle + size) * kind.type(2):
                near = (near + far) // 2
            else:
                far = (near + far) // 2
        return np.array(near, bits).view(kind)[()]

    with np.errstate(over="ignore"):
        smallest, largest = farthest(0), farthest(np.inf)
    return (smallest, largest) if nodata > 0 else (-largest, -smallest)


def fill_value(dtype: np.dtype[Any], nodata: float | None) -> Any:
    """The value for pixels that are nowhere: nodata where the dtype can hold it, else 0."""
    value = None if nodata is None else stored_nodata(dtype, nodata)
    return dtype.type(0) if value is None else value


def stored_nodata(dtype: np.dtype[Any], nodata: float) -> Any:
    """Give nodata as a value of the dtype, or None where it has none such."""
    if dtype.kind in "fc":
        with np.errstate(over="ignore"):
            return dtype.type(nodata)
    limits = np.iinfo(dtype)
    if not np.isfinite(nodata) or not limits.min <= nodata <= limits.max:
        return None
    return dtype.type(int(nodata))
