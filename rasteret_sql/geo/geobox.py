"""Grids of pixels: a CRS, a transform and a size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from rasteret_sql.checks import number_of, shown, whole_number_of
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import normalized_crs, revolution_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.floating[Any]]

Number = TypeVar("Number", int, float)

Transform = tuple[float, float, float, float, float, float]
"""Affine (a, 0, c, 0, e, f) from pixel corner (col, row) to CRS: `x = a * col + c`, `y = e * row + f`."""

Bounds = tuple[float, float, float, float]
"""(xmin, ymin, xmax, ymax)."""

#: Part of a pixel by which bounds may miss a pixel's edge and still lie on it.
SNAP_PIXELS: Final = 1e-6
#: Sides longer than this are mistakes in units, and no array has them.
MAX_SIDE: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class GeoBox:
    """A grid of pixels, its axes along those of its CRS.

    Attributes:
        crs: authority code such as "EPSG:32643", or WKT2; None for an ungeoreferenced grid.
        transform: affine (a, 0, c, 0, e, f), pixel corner (col, row) to CRS; `e` is below 0 where north is up, and
            either may have either sign.
        height, width: size in pixels, at least 1.

    Raises:
        InvalidArgumentError: the transform is rotated, sheared, or not invertible, or the size is not positive.

    Example:
        >>> box = GeoBox("EPSG:32643", (10.0, 0.0, 300000.0, 0.0, -10.0, 2100000.0), height=200, width=100)
        >>> box.bounds
        (300000.0, 2098000.0, 301000.0, 2100000.0)
    """

    crs: str | None
    transform: Transform
    height: int
    width: int

    def __post_init__(self) -> None:
        _check_transform(self.transform)
        for name, side in (("height", self.height), ("width", self.width)):
            if not 1 <= side <= MAX_SIDE:
                raise InvalidArgumentError(
                    f"grid: got a {name} of {side} pixels, expected 1 to {MAX_SIDE}; "
                    "check that resolution and bounds are in units of the CRS"
                )

    @property
    def x_size(self) -> float:
        """Width of a pixel in units of the CRS; positive."""
        return abs(self.transform[0])

    @property
    def y_size(self) -> float:
        """Height of a pixel in units of the CRS; positive."""
        return abs(self.transform[4])

    @property
    def bounds(self) -> Bounds:
        """(xmin, ymin, xmax, ymax) of the pixels' edges, in the CRS."""
        a, _, c, _, e, f = self.transform
        x_end, y_end = c + a * self.width, f + e * self.height
        return min(c, x_end), min(f, y_end), max(c, x_end), max(f, y_end)

    def xs(self) -> Floats:
        """X coordinates of the pixels' centres, float64, shape (width,)."""
        return self.transform[2] + self.transform[0] * (np.arange(self.width) + 0.5)

    def ys(self) -> Floats:
        """Y coordinates of the pixels' centres, float64, shape (height,)."""
        return self.transform[5] + self.transform[4] * (np.arange(self.height) + 0.5)

    def window(self, row_off: int, col_off: int, height: int, width: int) -> GeoBox:
        """The grid of a window of this one, in pixels. It may reach beyond the grid on any side."""
        a, _, c, _, e, f = self.transform
        return GeoBox(self.crs, (a, 0.0, c + a * col_off, 0.0, e, f + e * row_off), height, width)

    @classmethod
    def from_bounds(
        cls,
        bounds: Sequence[float],
        crs: Any,
        resolution: float | Sequence[float],
        anchor: tuple[float, float] = (0.0, 0.0),
    ) -> GeoBox:
        """The grid, north up, of all pixels that bounds touch.

        Args:
            bounds: (xmin, ymin, xmax, ymax) in the CRS. In longitude, `xmin` beyond `xmax` means over the antimeridian.
            crs: what `normalized_crs` takes, or None.
            resolution: size of a pixel in units of the CRS, or (x, y).
            anchor: a point (x, y) at which pixels' edges meet. Bounds between two edges are moved outwards.

        Raises:
            InvalidArgumentError: a value is not finite, not positive, or out of order.
        """
        crs = None if crs is None else normalized_crs(crs)
        xmin, ymin, xmax, ymax = _checked_bounds(bounds, crs)
        x_size, y_size = checked_resolution(resolution)
        origin = numbers_of(anchor)
        if len(origin) != 2 or not all(map(math.isfinite, origin)):
            raise InvalidArgumentError(f"anchor: got {shown(anchor)}, expected two finite numbers (x, y)")
        col_first, width = _snapped(xmin, xmax, origin[0], x_size)
        row_first, height = _snapped(ymin, ymax, origin[1], y_size)
        left, top = origin[0] + col_first * x_size, origin[1] + (row_first + height) * y_size
        return cls(crs, (x_size, 0.0, left, 0.0, -y_size, top), height, width)

    @classmethod
    def from_shape(cls, bounds: Sequence[float], crs: Any, shape: Sequence[int]) -> GeoBox:
        """The grid, north up, that has exactly these bounds.

        Args:
            bounds: (xmin, ymin, xmax, ymax) in the CRS. In longitude, `xmin` beyond `xmax` means over the antimeridian.
            crs: what `normalized_crs` takes, or None.
            shape: (height, width) in pixels.

        Raises:
            InvalidArgumentError: bounds are not finite or out of order, or the shape is not two positive numbers.
        """
        crs = None if crs is None else normalized_crs(crs)
        xmin, ymin, xmax, ymax = _checked_bounds(bounds, crs)
        height, width = checked_shape(shape)
        return cls(crs, ((xmax - xmin) / width, 0.0, xmin, 0.0, (ymin - ymax) / height, ymax), height, width)


def _check_transform(transform: Sequence[float]) -> None:
    if len(transform) != 6 or not all(map(math.isfinite, transform)):
        raise InvalidArgumentError(
            f"transform: got {shown(tuple(transform))}, expected finite numbers (a, 0, c, 0, e, f)"
        )
    a, b, _, d, e, _ = transform
    if b or d:
        raise InvalidArgumentError(
            f"transform: got {shown(tuple(transform))}, which is rotated or sheared; expected (a, 0, c, 0, e, f). "
            "Give bounds and resolution of a grid that is not"
        )
    if not a or not e:
        raise InvalidArgumentError(f"transform: got {shown(tuple(transform))}, expected pixel sizes that are not 0")


def numbers_of(values: Any) -> tuple[float, ...]:
    """Give the numbers of a sequence as floats; an empty tuple where it is no sequence of numbers."""
    return _all_of(values, number_of)


def _all_of(values: Any, convert: Callable[[Any], Number | None]) -> tuple[Number, ...]:
    """Give converted values; an empty tuple where one of them, or the sequence, is none. Items of bytes are none."""
    if isinstance(values, (bytes, bytearray)):
        return ()
    try:
        found = [convert(value) for value in values]
    except TypeError:
        return ()
    known = tuple(value for value in found if value is not None)
    return known if len(known) == len(found) else ()


def _checked_bounds(bounds: Sequence[float], crs: str | None) -> Bounds:
    values = numbers_of(bounds)
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise InvalidArgumentError(
            f"bounds: got {shown(bounds)}, expected four finite numbers (xmin, ymin, xmax, ymax)"
        )
    xmin, ymin, xmax, ymax = values
    if xmin > xmax:
        xmax += revolution_of(crs) or 0.0
    if not (xmin < xmax and ymin < ymax):
        raise InvalidArgumentError(f"bounds: got {shown(values)}, expected (xmin, ymin, xmax, ymax) with an area")
    return xmin, ymin, xmax, ymax


def checked_resolution(resolution: Any) -> tuple[float, float]:
    """Give the width and height of a pixel.

    Raises:
        InvalidArgumentError: it is neither a number above 0 nor two of them.
    """
    pair = numbers_of(resolution if np.ndim(resolution) else (resolution, resolution))
    if len(pair) != 2 or not all(math.isfinite(size) and size > 0 for size in pair):
        raise InvalidArgumentError(
            f"resolution: got {shown(resolution)}, expected a number above 0 or (x, y), in CRS units"
        )
    return pair[0], pair[1]


def checked_shape(shape: Any) -> tuple[int, int]:
    """Give (height, width) of a grid.

    Raises:
        InvalidArgumentError: it is no two whole numbers above 0.
    """
    sides = _all_of(shape, whole_number_of)
    if len(sides) != 2:
        raise InvalidArgumentError(f"shape: got {shown(shape)}, expected whole numbers (height, width) in pixels")
    height, width = sides
    if height < 1 or width < 1:
        raise InvalidArgumentError(f"shape: got {shown(tuple(shape))}, expected (height, width) of at least 1")
    return height, width


def checked_size(name: str, size: Any) -> tuple[int, int]:
    """Give (height, width) of chips, of one number for both or of two.

    Raises:
        InvalidArgumentError: they are no whole numbers.
    """
    one = whole_number_of(size)
    sides = _all_of(size, whole_number_of) if one is None else (one, one)
    if len(sides) != 2:
        raise InvalidArgumentError(f"{name}: got {shown(size)}, expected pixels, one number or (height, width)")
    return sides[0], sides[1]


def _snapped(low: float, high: float, anchor: float, size: float) -> tuple[int, int]:
    """The number of the first pixel, counted from the anchor, and of pixels, so that they hold low to high."""
    first = math.floor((low - anchor) / size + SNAP_PIXELS)
    end = math.ceil((high - anchor) / size - SNAP_PIXELS)
    return first, max(end - first, 1)
