"""Images of half the size: means of continuous bands, values of the file for all others; nodata never takes part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.read.resample import resample_areas

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def halved(
    pixels: npt.NDArray[Any], mask: Mask, nodata: float | None, is_continuous: Sequence[bool]
) -> tuple[npt.NDArray[Any], Mask]:
    """Give an image of half the size, rounded up, and its mask.

    Args:
        pixels: array (height, width, band).
        mask: booleans (height, width), True means valid.
        nodata: another sign of pixels without data, or None.
        is_continuous: of each band: whether its pixels become means of two by two, as by `resampling="average"`;
            otherwise the first valid pixel of two by two is taken.

    Returns:
        Pixels are valid where any of two by two was.
    """
    shape = -(-mask.shape[0] // 2), -(-mask.shape[1] // 2)
    smaller = np.empty((*shape, pixels.shape[2]), pixels.dtype)
    valid = np.zeros(shape, bool)
    for row, col in _CORNERS:
        part = mask[row::2, col::2]
        valid[: part.shape[0], : part.shape[1]] |= part
    is_whole = bool(mask.all())
    for band, continuous in enumerate(is_continuous):
        layer = pixels[..., band]
        usable = _usable(layer, None if is_whole else mask, nodata)
        smaller[..., band] = (_means if continuous else _picked)(layer, usable, nodata)
    return smaller, valid


def _usable(layer: npt.NDArray[Any], mask: Mask | None, nodata: float | None) -> Mask | None:
    """Say which pixels take part; None for all."""
    usable = mask
    if layer.dtype.kind in "fc":
        numbers = ~np.isnan(layer)
        usable = numbers if usable is None else usable & numbers
    if nodata is not None and not np.isnan(nodata):
        others = layer != nodata
        usable = others if usable is None else usable & others
    return None if usable is None or usable.all() else usable


def _means(layer: npt.NDArray[Any], usable: Mask | None, nodata: float | None) -> npt.NDArray[Any]:
    # The last box may end beyond the image; it counts what lies inside.
    rows, cols = (2.0 * np.arange(-(-side // 2) + 1) for side in layer.shape)
    means, valid = resample_areas(layer, usable, rows, cols, "average")
    if nodata is not None and layer.dtype.kind in "ui":
        # A mean that would be taken for nodata moves by one, as in resampling.
        lowest = np.iinfo(layer.dtype).min
        means[valid & (means == nodata)] = nodata + 1 if nodata == lowest else nodata - 1
    means[~valid] = _empty(layer.dtype, nodata)
    return means


def _picked(layer: npt.NDArray[Any], usable: Mask | None, nodata: float | None) -> npt.NDArray[Any]:
    result = layer[::2, ::2].copy()
    if usable is None:
        return result
    found = usable[::2, ::2].copy()
    for row, col in _CORNERS[1:]:
        part, counted = layer[row::2, col::2], usable[row::2, col::2]
        inside = slice(part.shape[0]), slice(part.shape[1])
        new = counted & ~found[inside]
        result[inside][new] = part[new]
        found[inside] |= new
    result[~found] = _empty(layer.dtype, nodata)
    return result


def _empty(kind: np.dtype[Any], nodata: float | None) -> Any:
    if nodata is not None:
        return nodata
    return np.nan if kind.kind in "fc" else 0
