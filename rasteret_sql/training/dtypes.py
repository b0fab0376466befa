"""Whether pixels, fill values and labels fit the dtype of a tensor; torch itself wraps them or cuts them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rasteret_sql.checks import number_of, shown
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy.typing as npt


def check_fill(fill: float | None, dtype: torch.dtype) -> None:
    """Make sure that a dtype holds the value of pixels without data.

    Raises:
        InvalidArgumentError: it does not.
    """
    if fill is None:
        return
    value = number_of(fill)
    if value is None:
        raise InvalidArgumentError(f"fill: got {shown(fill)}, expected a number that {dtype} holds, or None")
    if dtype.is_floating_point:
        if not np.isfinite(value) or abs(value) <= torch.finfo(dtype).max:
            return
        raise InvalidArgumentError(f"fill: got {shown(fill)}, expected a number that {dtype} holds; choose another one")
    limits = torch.iinfo(dtype)
    if not (np.isfinite(value) and fill == int(fill) and limits.min <= fill <= limits.max):
        raise InvalidArgumentError(
            f"fill: got {shown(fill)}, expected an integer from {limits.min} to {limits.max}, the range of {dtype}; "
            "choose another fill, or another dtype"
        )


def check_band(name: str, source: np.dtype[Any], dtype: torch.dtype) -> None:
    """Make sure that a dtype can hold numbers of the kind of a band.

    Raises:
        InvalidArgumentError: the band has complex numbers.
    """
    if source.kind == "c":
        raise InvalidArgumentError(
            f'band "{name}": its files hold {source}, expected real numbers for {dtype}; a sample has no complex '
            "tensors, so read such bands with to_xarray"
        )


def check_values(pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None, dtype: torch.dtype) -> None:
    """Make sure that a dtype holds the pixels of a sample.

    Args:
        pixels: shape (T, C, H, W).
        valid: which of them become values, same shape; or None for all.
        dtype: of the tensor.

    Raises:
        InvalidArgumentError: a value is out of its range, or would be cut to an integer.
    """
    if _always_fits(pixels.dtype, dtype):
        return
    values = pixels if valid is None else pixels[valid]
    if not values.size:
        return
    if not dtype.is_floating_point and values.dtype.kind == "f":
        cut = ~np.isfinite(values) | (values != np.trunc(values))
        if cut.any():
            raise _misfit(values[cut][0], values.dtype, dtype, "give a float dtype, or fill for pixels without data")
    limits = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return
    for extreme in (finite.min(), finite.max()):
        if not limits.min <= extreme.item() <= limits.max:
            raise _misfit(extreme, values.dtype, dtype, "give a wider dtype")


def _always_fits(source: np.dtype[Any], dtype: torch.dtype) -> bool:
    """Whether a dtype holds every value of another one, perhaps rounded."""
    if dtype in {torch.float32, torch.float64} and source.itemsize <= (4 if dtype == torch.float32 else 8):
        return True
    if source.kind in "biu" and not dtype.is_floating_point:
        limits = torch.iinfo(dtype)
        own = np.iinfo(np.uint8 if source.kind == "b" else source)
        return bool(limits.min <= own.min and own.max <= limits.max)
    # Rounded, but never infinite.
    return source.kind in "biu" and dtype in {torch.float32, torch.float64}


def _misfit(value: Any, source: np.dtype[Any], dtype: torch.dtype, remedy: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"dtype: the files hold {value.item()!r} ({source}), which {dtype} cannot, expected a dtype that holds every "
        f"pixel; {remedy}"
    )
