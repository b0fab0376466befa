"""Sizes of a grid's pixels in another CRS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.geo.crs import LONLAT, revolution_of, same_crs, transformer
from rasteret_sql.geo.geobox import GeoBox

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.geo.geobox import Transform

    Floats = npt.NDArray[np.floating[Any]]

#: Fractions of a grid's sides at which the size of pixels is looked at.
_FRACTIONS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)


def pixel_size_in(
    crs: str | None, source_crs: str | None, source_transform: Transform, x: float, y: float
) -> tuple[float, float]:
    """The size of a pixel of a source in units of another CRS, at one point.

    Args:
        crs: the CRS whose units are asked for.
        source_crs, source_transform: of the source; axis aligned.
        x, y: the point, in `source_crs`.

    Returns:
        (along its rows, along its columns): lengths of its width and of its height. NaN where the point is outside of
        `crs`.

    Raises:
        InvalidArgumentError: a CRS is not known, just one is None, or nothing leads from one to the other.
    """
    a, _, _, _, e, _ = source_transform
    pixel = GeoBox(source_crs, (a, 0.0, x - a / 2, 0.0, e, y - e / 2), 1, 1)
    right, down = pixel_steps(crs, pixel, (0.5,))
    return float(np.hypot(*right)[0]), float(np.hypot(*down)[0])


def resolution_in(source_crs: str | None, target: GeoBox) -> float:
    """The size of a target's pixels in units of a source's CRS, by which an overview is chosen.

    It is the shorter side of a pixel, its median over the target: an overview as fine as that loses nothing. NaN where
    no part of the target is inside `source_crs`.

    Raises:
        InvalidArgumentError: a CRS is not known, just one grid has one, or nothing leads from one to the other.
    """
    right, down = pixel_steps(source_crs, target)
    return median_of(np.minimum(np.hypot(*right), np.hypot(*down)))


def pixel_steps(crs: str | None, grid: GeoBox, fractions: tuple[float, ...] = _FRACTIONS) -> tuple[Floats, Floats]:
    """The steps (x, y) in another CRS from the left to the right side of pixels, and from their top to their bottom.

    Args:
        crs: the CRS.
        grid: the grid of the pixels.
        fractions: of the grid's sides, at which pixels are looked at.

    Returns:
        Two arrays of shape (2, number of fractions squared).
    """
    a, _, c, _, e, f = grid.transform
    rows, cols = np.meshgrid(np.array(fractions) * grid.height, np.array(fractions) * grid.width, indexing="ij")
    return _steps_at(crs, grid.crs, c + a * cols.ravel(), f + e * rows.ravel(), (a, e))


def sizes_at(crs: str, grid_crs: str, size: float, x: Floats, y: Floats) -> npt.NDArray[np.float64]:
    """The sizes of a grid's pixels in units of another CRS, at points of that CRS: the shorter side of each.

    Args:
        crs: the CRS.
        grid_crs: CRS of the grid.
        size: width and height of its pixels.
        x, y: the points in `crs`, shape (n,).

    Returns:
        Sizes, shape (n,); NaN at points that have no position in the grid's CRS.

    Raises:
        InvalidArgumentError: a CRS is not known, or nothing leads from one to the other.
    """
    there_x, there_y = transformer(crs, grid_crs).transform(x, y, errcheck=False)
    right, down = _steps_at(crs, grid_crs, np.asarray(there_x), np.asarray(there_y), (size, -size))
    sizes: npt.NDArray[np.float64] = np.minimum(np.hypot(*right), np.hypot(*down))
    return sizes


def metres_at(crs: str, x: Floats, y: Floats, size: tuple[Floats, Floats]) -> npt.NDArray[np.float64]:
    """The longer side of pixels in metres on the ground, along the ellipsoid of WGS 84.

    Args:
        crs: of the pixels.
        x, y: their centres, shape (n,).
        size: (width, height) of each in units of the CRS, shape (n,).

    Returns:
        Lengths, shape (n,); NaN at points outside of the Earth.

    Raises:
        InvalidArgumentError: the CRS is not known.
    """
    from pyproj import Geod

    wide, tall = size
    to_degrees = transformer(crs, LONLAT)
    ellipsoid = Geod(ellps="WGS84")

    def length(across: Floats, down: Floats) -> npt.NDArray[np.float64]:
        start = to_degrees.transform(x - across / 2, y - down / 2, errcheck=False)
        end = to_degrees.transform(x + across / 2, y + down / 2, errcheck=False)
        ends = np.stack([*start, *end])
        found: npt.NDArray[np.float64] = np.full(len(x), np.nan)
        is_there = np.isfinite(ends).all(axis=0)
        found[is_there] = ellipsoid.inv(*ends[:, is_there])[2]
        return found

    nothing = np.zeros_like(x)
    longest: npt.NDArray[np.float64] = np.maximum(length(wide, nothing), length(nothing, tall))
    return longest


def _steps_at(
    crs: str | None, grid_crs: str | None, x: Floats, y: Floats, size: tuple[float, float]
) -> tuple[Floats, Floats]:
    """As `pixel_steps`, for pixels of a size (a, e) around points of the grid's CRS; shape (2, points) each."""
    a, e = size
    # Left, right, top and bottom.
    x = x + a * np.array([[-0.5], [0.5], [0.0], [0.0]])
    y = y + e * np.array([[0.0], [0.0], [-0.5], [0.5]])
    if not same_crs(grid_crs, crs):
        x, y = transformer(grid_crs, crs).transform(x, y, errcheck=False)
        is_outside = ~(np.isfinite(x) & np.isfinite(y))
        x[is_outside] = y[is_outside] = np.nan
    right, down = np.stack([x[1] - x[0], y[1] - y[0]]), np.stack([x[3] - x[2], y[3] - y[2]])
    revolution = revolution_of(crs)
    if revolution is not None:
        right[0] -= revolution * np.round(right[0] / revolution)
        down[0] -= revolution * np.round(down[0] / revolution)
    return right, down


def median_of(values: Floats) -> float:
    """The median of finite values; NaN where there are none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else math.nan
