"""Dtypes that a caller wants pixels in. Pixels are cast where they are decoded, and each cast is checked."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import checked_by_band
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.tiff.nodata import stored_nodata

if TYPE_CHECKING:
    import numpy.typing as npt

#: Dtypes that decoded pixels may have; a caller may want one of these.
DTYPES: Final = (
    "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64", "complex64",
    "complex128",
)  # fmt: skip


def checked_dtypes(dtype: Any) -> dict[str, np.dtype[Any]]:
    """Give dtypes by band, "*" for all others; none where nothing is given.

    Raises:
        InvalidArgumentError: one is no dtype of pixels.
    """
    return checked_by_band("dtype", dtype, _dtype, f"one of {', '.join(DTYPES)}, or a mapping of bands to these")


def always_fits(source: np.dtype[Any], dtype: np.dtype[Any]) -> bool:
    """Whether a dtype holds every value of another one, exactly."""
    if source.kind in "iu" and dtype.kind in "iu":
        own, limits = np.iinfo(source), np.iinfo(dtype)
        return bool(limits.min <= own.min and own.max <= limits.max)
    if dtype.kind in "iu":
        return False
    if source.kind in "iu":
        return source.itemsize * 8 <= _digits(dtype)
    return (dtype.kind == "c" or source.kind == "f") and _digits(source) <= _digits(dtype)


def first_misfit(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """Give the first value that a dtype cannot hold, or None.

    Integers must stay what they are. Floats become integers where they are whole, and other floats where they stay
    finite: these are rounded.
    """
    if always_fits(values.dtype, dtype) or not values.size:
        return None
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if values.dtype.kind in "iu":
            lowest, highest = values.min(), values.max()
            return lowest if lowest.item() < limits.min else highest if highest.item() > limits.max else None
        # The largest integer may be no float, and the one after it is.
        is_odd = ~((values >= float(limits.min)) & (values < float(limits.max + 1))) | (values != np.trunc(values))
    elif values.dtype.kind in "iu":
        size = np.abs(values.astype(np.int64 if values.dtype.kind == "i" else np.uint64)).astype(np.uint64)
        lowest_bit = np.maximum(size & (~size + np.uint64(1)), np.uint64(1))
        is_odd = size // lowest_bit >= np.uint64(1 << _digits(dtype))
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            is_odd = np.isfinite(values) & ~np.isfinite(values.astype(dtype))
    return values[is_odd][0] if is_odd.any() else None


def common_dtype(*dtypes: str) -> np.dtype[Any]:
    """Give the smallest dtype that holds the values of several; those of some 64-bit dtypes are tested one by one."""
    return np.result_type(*dtypes)


def cast_nodata(source: np.dtype[Any], nodata: float | None, dtype: np.dtype[Any]) -> float | int | None:
    """Give the nodata value of files in another dtype; None where they have none, or where the dtype cannot hold it."""
    if nodata is None:
        return None
    stored = stored_nodata(source, nodata)
    if stored is None:
        # It marks nothing in the files.
        stored = nodata
    # Of complex numbers the real part is compared.
    value = np.array([stored]).real
    value = value.astype(np.float64) if value.dtype.kind == "O" else value
    return None if first_misfit(value, dtype) is not None else value.astype(dtype).real.item(0)


@lru_cache(maxsize=16)
def _digits(dtype: np.dtype[Any]) -> int:
    """Count the bits of the integers that a float or complex dtype holds exactly."""
    return int(np.finfo(dtype).nmant) + 1


def _dtype(value: Any) -> np.dtype[Any] | None:
    try:
        name = np.dtype(value).name
    except Exception:  # noqa: BLE001 - NumPy asks the object, whose answer may be any error
        return None
    # In native byte order.
    return np.dtype(name) if name in DTYPES and value is not None else None


def require_castable(where: str, source: np.dtype[Any], dtype: np.dtype[Any]) -> None:
    """Refuse to make real numbers of complex ones.

    Args:
        where: names the file.
        source: of the file.
        dtype: what the caller wants.

    Raises:
        InvalidArgumentError: the file has complex numbers, and the dtype has none.
    """
    if source.kind == "c" and dtype.kind != "c":
        raise InvalidArgumentError(
            f"dtype: got {dtype} for {where}, which is {source}, expected complex64 or complex128; take the real part "
            "of the result"
        )
