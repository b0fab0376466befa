"""Resampling of decoded pixels onto another grid, as GDAL's warper does it: coordinates are given.

Coordinates are pixels of the file, with pixel *corners* at integers: the centre of the file's first pixel is (0.5,
0.5). They take one of two forms. *Separable*, 1-D `rows` and `cols`, is for grids that share a CRS: each axis is then
resampled by itself. *Scattered*, 2-D `rows` and `cols`, is for everything else. Axes may run backwards.

`pixels` may be a window of the file; `offset` says where it begins. What a target pixel becomes depends on its own
coordinates and on the source pixels beside them, to the last bit: not on the window, nor on the other targets.

How a target pixel is made:

* nearest, bilinear and cubic (a = -0.5) look at the centre of the target pixel. It has a value if its centre lies in a
  valid source pixel. Weights of invalid source pixels are dropped and the rest is scaled to 1. Where one of the 16
  pixels of a cubic kernel is missing, bilinear takes its place. With more than 1/0.95 source pixels per target pixel,
  kernels are as wide as the scale says, and cubic drops weights too.
* average, mode, min and max look at the box between two corners of the target pixel: the one at its row and column,
  and the one diagonally across. So targets that are rotated by 45 degrees have empty boxes. This is GDAL's rule, and
  holds for rotations of a few degrees. Each source pixel that the box touches takes part. Average weighs it by the part
  that is covered, in each direction. Where a box leaves the image, the outermost pixels stand for what lies outside.
  Mode counts source pixels. Of values that are equally frequent, it takes the one that reaches that count first, row by
  row.

Sums are in float64, and integers are rounded half up. Hence 64-bit integers beyond 2**52 are exact with nearest, mode,
min and max only. An unmasked NaN is a value: it spreads to targets in which it has a weight, and min and max skip it.
The caller handles results that equal a nodata value.

Compiled kernels do the work where they were built (`compiled.py`), and NumPy elsewhere (`resample_numpy.py`). Pixels
are the same, to the last bit. Both release the GIL: threads may share a source, and fill some rows each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.resampling import AREA_METHODS, POINT_METHODS, check_method
from rasteret_sql.read import compiled
from rasteret_sql.read.resample_numpy import fill_areas, fill_points
from rasteret_sql.read.taps import Placement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rasteret_sql.read.taps import Scale

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Pixels = NDArray[Any]


def resample_points(
    pixels: Pixels,
    mask: Bools | None,
    rows: Floats,
    cols: Floats,
    method: str,
    scale: Scale = (1.0, 1.0),
    *,
    offset: tuple[int, int] = (0, 0),
) -> tuple[Pixels, Bools]:
    """Resample at the centres of target pixels.

    Args:
        pixels: (height, width), of any numeric dtype.
        mask: Booleans of the same shape, True means valid; None where all pixels are.
        rows, cols: Where the centres lie, in pixels of the file: (H,) and (W,), or both (H, W). NaN, infinity and
            positions outside of the image give invalid pixels.
        method: One of POINT_METHODS.
        scale: Source pixels per target pixel along rows and along cols, which widens bilinear and cubic: two numbers,
            or for scattered coordinates two arrays (H, W).
        offset: Row and column of the file at which `pixels` begins.

    Returns:
        Pixels (H, W) of the dtype of the source, and a mask of the same shape, True where there is a value. Pixels are
        0 elsewhere.

    Raises:
        InvalidArgumentError: The method is not one of POINT_METHODS, or shapes, dtype or offset do not fit.

    Example:
        >>> resample_points(np.array([[0, 10]]), None, np.array([0.5]), np.array([0.5, 1.0, 1.5]), "bilinear")[0]
        array([[ 0,  5, 10]])
    """
    check_method(method, POINT_METHODS)
    _check(pixels, mask, rows, cols, offset, corners=0)
    target = _empty(pixels, (rows.shape[0], cols.shape[-1]))
    placement = Placement(method, rows, cols, scale, offset)
    if pixels.size and target[0].size and not compiled.fill(pixels, mask, placement, target):
        fill_points(pixels, mask, placement, target)
    return target


def resample_areas(
    pixels: Pixels,
    mask: Bools | None,
    rows: Floats,
    cols: Floats,
    method: str,
    *,
    offset: tuple[int, int] = (0, 0),
) -> tuple[Pixels, Bools]:
    """Resample over the areas of target pixels.

    Args:
        pixels: (height, width), of any numeric dtype; complex numbers can be averaged only.
        mask: Booleans of the same shape, True means valid; None where all pixels are.
        rows, cols: Where the corners of the target pixels lie, in pixels of the file: (H + 1,) and (W + 1,), or both
            (H + 1, W + 1). NaN and infinity give invalid pixels, and so do boxes outside of the image.
        method: One of AREA_METHODS.
        offset: Row and column of the file at which `pixels` begins.

    Returns:
        Pixels (H, W) of the dtype of the source, and a mask of the same shape, True where a valid source pixel lies in
        the box. Pixels are 0 elsewhere.

    Raises:
        InvalidArgumentError: The method is not one of AREA_METHODS, or shapes, dtype or offset do not fit.

    Example:
        >>> pixels = np.array([[0, 10, 20, 20]])
        >>> resample_areas(pixels, None, np.array([0.0, 1.0]), np.array([0.0, 2.0, 4.0]), "average")[0]
        array([[ 5, 20]])
    """
    check_method(method, AREA_METHODS)
    _check(pixels, mask, rows, cols, offset, corners=1)
    if pixels.dtype.kind == "c" and method != "average":
        raise InvalidArgumentError(
            f"resampling {method!r}: got {pixels.dtype}, but complex numbers have no order. "
            "Use 'average' or 'nearest', or resample the real part."
        )
    target = _empty(pixels, (rows.shape[0] - 1, cols.shape[-1] - 1))
    placement = Placement(method, rows, cols, (1.0, 1.0), offset)
    if pixels.size and target[0].size and not compiled.fill(pixels, mask, placement, target):
        fill_areas(pixels, mask, placement, target)
    return target


def _empty(pixels: Pixels, shape: tuple[int, int]) -> tuple[Pixels, Bools]:
    """Make the pixels of a target and their validity, zero both."""
    return np.zeros(shape, pixels.dtype), np.zeros(shape, np.bool_)


def _check(
    pixels: Pixels, mask: Bools | None, rows: Floats, cols: Floats, offset: tuple[int, int], *, corners: int
) -> None:
    """Refuse shapes, dtypes and offsets that do not fit.

    Raises:
        InvalidArgumentError: they do not.
    """
    if pixels.dtype.kind not in "iufc":
        raise InvalidArgumentError(f"resampling: got pixels of dtype {pixels.dtype}, expected numbers. Cast them.")
    if pixels.ndim != 2 or (mask is not None and mask.shape != pixels.shape):
        got = f"pixels {pixels.shape}" if mask is None else f"pixels {pixels.shape} and mask {mask.shape}"
        raise InvalidArgumentError(f"resampling: got {got}, expected (height, width). Resample one band at a time.")
    if min(offset) < 0:
        raise InvalidArgumentError(
            f"resampling: got offset {tuple(offset)}, expected a row and a column of the file, 0 or more. Crop the "
            "pixels."
        )
    separable = rows.ndim == cols.ndim == 1
    if min(rows.shape + cols.shape) < corners or not (separable or (rows.ndim == 2 and rows.shape == cols.shape)):
        raise InvalidArgumentError(
            f"resampling: got rows {rows.shape} and cols {cols.shape}, expected two 1-D arrays, or two 2-D arrays of "
            "the same shape, with one more corner than there are pixels for areas. Broadcast the coordinates."
        )
