"""Resampling methods: their names, and how far each looks beside a coordinate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection

METHODS = ("nearest", "bilinear", "cubic", "average", "mode", "min", "max")
#: Methods that look at the centre of a target pixel.
POINT_METHODS = frozenset({"nearest", "bilinear", "cubic"})
#: Methods that look at the box between the corners of a target pixel.
AREA_METHODS = frozenset({"average", "mode", "min", "max"})

EPSILON = 1e-10
"""Pixels: a coordinate this close to the next pixel lies in it, as in GDAL."""

WIDENED_FROM = 1 / 0.95
"""Source pixels per target pixel above which kernels widen, as in GDAL."""

_KERNEL_RADIUS = {"bilinear": 1, "cubic": 2}


def check_method(method: str, methods: Collection[str] = METHODS) -> None:
    """Refuse a method that is not one of `methods`.

    Raises:
        InvalidArgumentError: it is not.
    """
    if method not in methods:
        known = ", ".join(name for name in METHODS if name in methods)
        raise InvalidArgumentError(f"resampling {shown(method)}: it is not a method here. Use one of {known}.")


def reach(method: str, scale: float) -> int:
    """How many source pixels a method reads on each side of the pixel that holds a coordinate.

    For coordinates from `first` to `last`, a method reads the pixels from `floor(first + EPSILON) - reach` to, for
    centres, `floor(last + EPSILON) + reach` (inclusive) or, for corners, `ceil(last - EPSILON) + reach` (exclusive).

    Args:
        method: One of METHODS.
        scale: Source pixels per target pixel along the axis; more than 1 when downsampling.

    Raises:
        InvalidArgumentError: The method is not known.
    """
    check_method(method)
    if method not in _KERNEL_RADIUS:
        return 0
    return math.ceil(_KERNEL_RADIUS[method] * max(scale, 1.0))
