"""Physical values of bands: stored values times a scale plus an offset. The only place that computes them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt

    from rasteret_sql.plan.cube import CubeBand
    from rasteret_sql.plan.tile_plan import PlannedBand

#: Scale and offset.
Scaling = tuple[float, float]
#: Stored steps from zero up to which float32, with its 24 bits, has 16 values and more between two of them.
_FLOAT32_STEPS: Final = 1 << 20


def scaling_of(band: PlannedBand | CubeBand) -> Scaling:
    """Give scale and offset of a band; a band without them has 1 and 0."""
    return 1.0 if band.scale is None else band.scale, 0.0 if band.offset is None else band.offset


def physical_dtype(stored: np.dtype[Any], scalings: Collection[Scaling]) -> np.dtype[Any]:
    """Give the smallest float type that holds stored values exactly, and tells their physical values apart.

    float32 rounds physical values to less than 1/32 of the step between two stored ones. Otherwise it is float64.

    Args:
        stored: dtype of the stored values.
        scalings: scale and offset of each file.
    """
    dtype = np.result_type(stored, np.float32)
    if dtype != np.float32 or stored.kind not in "iu":
        return dtype
    limits = np.iinfo(stored)
    beyond = max((abs(offset) / (abs(scale) or 1.0) for scale, offset in scalings), default=0.0)
    steps = max(abs(int(limits.min)), int(limits.max)) + beyond
    return dtype if steps <= _FLOAT32_STEPS else np.dtype(np.float64)


def to_physical(values: npt.NDArray[Any], scaling: Scaling, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Give stored values as physical ones, in a new array of a float dtype."""
    physical = values.astype(dtype)
    make_physical(physical, scaling)
    return physical


def make_physical(values: npt.NDArray[Any], scaling: Scaling) -> None:
    """Make stored values physical, in place; they are of a float dtype."""
    scale, offset = scaling
    # A product with 1 and a sum with 0 would cost as much as any other.
    if scale != 1.0:
        values *= values.dtype.type(scale)
    if offset != 0.0:
        values += values.dtype.type(offset)
