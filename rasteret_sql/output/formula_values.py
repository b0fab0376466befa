"""Values of a formula: computed for each item alone, in float64 from stored values, and then put together.

Bands of two items never meet in one value, and the scale is applied in the arithmetic of the formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.read.by_file import physical, require_exact
from rasteret_sql.read.mosaic import Mosaic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.cube import Cube
    from rasteret_sql.plan.expressions import Expression
    from rasteret_sql.plan.tile_plan import PlannedAsset

    Reading = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]

_WHOLE: Final = slice(None)


def item_values(
    formula: Expression,
    cube: Cube,
    pixels: Sequence[npt.NDArray[Any]],
    masks: Sequence[npt.NDArray[np.bool_]],
) -> Reading:
    """Compute a formula for one item.

    Args:
        formula: what is computed.
        cube: the bands of the item; it has all bands of the formula.
        pixels: stored values (y, x) of each band of the cube.
        masks: their validity, True = valid.

    Returns:
        Values (y, x), and their mask: True where all bands are valid and the value is finite.

    Raises:
        RasteretError: float64 would round an integer.
    """
    values, valid = {}, {}
    for place, (band, stored, mask) in enumerate(zip(cube.bands, pixels, masks, strict=True)):
        require_exact(stored[mask], _asset(cube, place), None)
        real = np.abs(stored) if stored.dtype.kind == "c" else stored
        values[band.name], valid[band.name] = physical(real, band), mask
    return formula.compute_masked(values, valid)


def put_together(mosaic: str, shape: tuple[int, int], readings: Iterable[Reading]) -> Reading:
    """Give the mosaic of the values of items.

    Args:
        mosaic: one of `MOSAICS` but "count".
        shape: (height, width) of the values.
        readings: values and mask of each item, in order.
    """
    values, mask = np.empty(shape, np.float64), np.empty(shape, np.bool_)
    result = Mosaic(mosaic, values, mask, np.nan)
    result.begin(_WHOLE)
    if mosaic == "median":
        result.add((_WHOLE, _WHOLE), list(readings))
    else:
        for reading in readings:
            result.add((_WHOLE, _WHOLE), [reading])
    result.finish(_WHOLE)
    return values, mask


def _asset(cube: Cube, place: int) -> PlannedAsset:
    """Give the first file of a band, for messages."""
    number: int = cube.sources.asset_no[np.flatnonzero(cube.sources.place == place)[0]]
    return cube.plan.assets[number]
