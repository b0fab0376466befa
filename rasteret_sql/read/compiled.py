"""The compiled kernels of resampling, where they were built: `hatch_build.py` compiles the C code of `kernels/`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.io.options import get_options

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from rasteret_sql.read.taps import Placement

    Bools = NDArray[np.bool_]
    Pixels = NDArray[Any]

_NAME: Final = "rasteret_sql.read._kernels"
#: The module of the kernels; None where it was not built.
kernels: ModuleType | None = import_module(_NAME) if find_spec(_NAME) else None


def fill(pixels: Pixels, mask: Bools | None, placement: Placement, target: tuple[Pixels, Bools]) -> bool:
    """Resample with a compiled kernel: the arguments of `resample_points` and `resample_areas`, checked.

    Returns:
        Whether a kernel did it. There may be none, or none for the dtype and method.
    """
    if kernels is None or not has_kernel(pixels.dtype, placement.method) or not get_options().compiled:
        return False
    kernels.resample(
        _rows(pixels),
        None if mask is None else _rows(mask),
        _doubles(placement.rows),
        _doubles(placement.cols),
        placement.method,
        *(_doubles(each) if isinstance(each, np.ndarray) else float(each) for each in placement.scale),
        *placement.offset,
        *target,
    )
    return True


def in_use() -> str:
    """Say whether compiled kernels resample pixels: "compiled", or "NumPy" with the reason."""
    if kernels is None:
        return "NumPy (no kernels were compiled: there was no C compiler, or nothing was installed)"
    return "compiled" if get_options().compiled else "NumPy (the option compiled is off)"


def has_kernel(dtype: np.dtype[Any], method: str) -> bool:
    """Whether the compiled kernels know a method for a dtype."""
    if not dtype.isnative or dtype.itemsize > 8:
        return False
    return dtype.kind in "iu" or (dtype.kind == "f" and (dtype.itemsize > 2 or method == "nearest"))


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """Give an array whose elements are neighbours within a row, as kernels need it: nearly always the array itself."""
    if array.flags.aligned and (array.shape[-1] == 1 or array.strides[-1] == array.itemsize):
        return array
    return np.ascontiguousarray(array)


def _doubles(values: NDArray[np.floating[Any]]) -> NDArray[Any]:
    return _rows(np.asarray(values, np.float64))
