"""Images of half the size: means of what is continuous, values that are there of all else; nodata never takes part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

#: Pixels that are halved at a time, so that sums and masks stay small.
_PIXELS = 1 << 20
_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def halved(
    pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_], nodata: float | None, is_continuous: Sequence[bool]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Give an image of half the size, rounded up, and its mask.

    Args:
        pixels: array (height, width, band).
        mask: booleans (height, width), True means valid.
        nodata: what pixels without data hold, too.
        is_continuous: of each band: whether its pixels become means of two by two; otherwise the first valid one of
            these is taken.

    Returns:
        Pixels are valid where any of two by two was.
    """
    height, width = mask.shape
    shape = -(-height // 2), -(-width // 2)
    smaller = np.empty((*shape, pixels.shape[2]), pixels.dtype)
    valid = np.zeros(shape, bool)
    for row, col in _CORNERS:
        part = mask[row::2, col::2]
        valid[: part.shape[0], : part.shape[1]] |= part
    is_whole = bool(mask.all())
    step = max(1, _PIXELS // max(1, width)) * 2
    for start in range(0, height, step):
        rows = slice(start, start + step)
        into = slice(start // 2, start // 2 + -(-(min(start + step, height) - start) // 2))
        for band, continuous in enumerate(is_continuous):
            layer = pixels[rows, :, band]
            usable = _usable(layer, None if is_whole else mask[rows], nodata)
            halve = _means if continuous else _picked
            smaller[into, :, band] = halve(layer, usable, nodata)
    return smaller, valid


def _usable(
    layer: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None, nodata: float | None
) -> npt.NDArray[np.bool_] | None:
    """Say which pixels take part; None for all."""
    usable = mask
    if layer.dtype.kind in "fc":
        numbers = ~np.isnan(layer)
        usable = numbers if usable is None else usable & numbers
    if nodata is not None and not np.isnan(nodata):
        others = layer != nodata
        usable = others if usable is None else usable & others
    return None if usable is None or usable.all() else usable


def _means(layer: npt.NDArray[Any], usable: npt.NDArray[np.bool_] | None, nodata: float | None) -> npt.NDArray[Any]:
    shape = -(-layer.shape[0] // 2), -(-layer.shape[1] // 2)
    kind = layer.dtype
    is_small = kind.kind in "ui" and kind.itemsize <= 2
    total = np.zeros(shape, np.int32 if is_small else np.result_type(kind, np.float64))
    number = np.zeros(shape, np.uint8)
    for row, col in _CORNERS:
        part = layer[row::2, col::2]
        inside = slice(part.shape[0]), slice(part.shape[1])
        if usable is None:
            total[inside] += part
            number[inside] += 1
        else:
            counted = usable[row::2, col::2]
            np.add(total[inside], part, out=total[inside], where=counted, casting="unsafe")
            number[inside] += counted
    divisor = np.maximum(number, 1)
    if kind.kind in "ui":
        means = np.rint(total / divisor)
        info = np.iinfo(kind)
        # Sums of the widest integers are floats, which may round beyond the last one.
        result = np.clip(means, info.min, info.max).astype(kind) if kind.itemsize < 8 else _clipped(means, kind)
        if nodata is not None:
            # A mean that would be taken for nodata moves by one, as in resampling.
            result[(result == nodata) & (number > 0)] = nodata + 1 if nodata == info.min else nodata - 1
    else:
        result = (total / divisor).astype(kind)
    if usable is not None:
        result[number == 0] = _empty(kind, nodata)
    return result


def _clipped(means: npt.NDArray[Any], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    info = np.iinfo(kind)
    result = np.full(means.shape, info.max, kind)
    fits = means < float(info.max)
    result[fits] = np.maximum(means[fits], info.min).astype(kind)
    return result


def _picked(layer: npt.NDArray[Any], usable: npt.NDArray[np.bool_] | None, nodata: float | None) -> npt.NDArray[Any]:
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
