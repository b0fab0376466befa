"""How pixels become colours on a screen: which bands are red, green and blue, and what is black and white."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

#: Percentiles of the valid pixels that become black and white.
PERCENTILES: Final = (2.0, 98.0)
#: Names of red, green and blue: STAC's common names, the bands of Sentinel-2, and single letters.
RGB_NAMES: Final = (("red", "green", "blue"), ("B04", "B03", "B02"), ("R", "G", "B"))


def rgb_places(names: Sequence[str]) -> list[int] | None:
    """Find red, green and blue among band names.

    Args:
        names: as a read calls the bands, "red" or "visual:red", in any case. The first of equal names counts.

    Returns:
        Three positions in `names`, or None where one of the colours is missing.
    """
    short = [name.rpartition(":")[2].casefold() for name in names]
    for wanted in RGB_NAMES:
        folded = [name.casefold() for name in wanted]
        if all(name in short for name in folded):
            return [short.index(name) for name in folded]
    return None


def checked_percentiles(percentiles: Any) -> tuple[float, float]:
    """Give two percentiles as floats.

    Raises:
        InvalidArgumentError: they are not two numbers of 0 to 100 in rising order.
    """
    try:
        low, high = map(float, percentiles)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not 0 <= low < high <= 100:
        raise InvalidArgumentError(
            f"percentiles: got {shown(percentiles)}, expected two numbers of 0 to 100, the lower one first"
        )
    return low, high


def stretch_limits(
    images: Sequence[npt.NDArray[Any]], percentiles: tuple[float, float], combine: Any = np.median
) -> tuple[float, float]:
    """Find the values that become black and white.

    Args:
        images: the valid pixels of one image or more, each an array of one axis. Images without pixels do not count.
        percentiles: of each image, 0 to 100.
        combine: `np.median` or `np.min`: what makes one pair of limits from those of all images.

    Returns:
        (black, white). A single value becomes the middle between the two; without pixels they are (0, 1).
    """
    found = [np.percentile(values.astype(np.float64, copy=False), percentiles) for values in images if len(values)]
    if not found:
        return 0.0, 1.0
    low, high = (float(each) for each in combine(found, axis=0))
    # Values that only rounding tells apart are one value.
    kind = images[0].dtype
    noise = 4 * float(np.finfo(kind).eps) * max(abs(low), abs(high)) if kind.kind == "f" else 0.0
    return (low, high) if high - low > noise else (low - 0.5, low + 0.5)


def stretched(
    values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], limits: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """Stretch values to 0 (black) to 255 (white), of the same shape; pixels that are not valid become 0."""
    # Half of each value: the distance between the largest floats is no float.
    low, high = limits[0] / 2, limits[1] / 2
    share = (np.where(valid, values, limits[0]).astype(np.float64) / 2 - low) / (high - low)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
