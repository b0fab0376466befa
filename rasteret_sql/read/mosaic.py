"""Mosaics: overlapping items of a group become one array. Pixels without data fall through to the next item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

#: Bytes per pixel that "count" and "mean" take beside the result: a counter and, for means, a sum.
COUNT_BYTES = 4
MEAN_BYTES = COUNT_BYTES + 8


class Mosaic:
    """One array, made of readings that are added in order.

    Args:
        kind: One of `MOSAICS`.
        pixels: The result, shape (height, width), of the dtype that `mosaic_dtype` gives.
        mask: Its validity, of the same shape; True means valid.
        fill: The value of pixels that are valid in no reading.
    """

    def __init__(self, kind: str, pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_], fill: Any) -> None:
        self._kind = kind
        self._pixels, self._mask, self._fill = pixels, mask, fill
        # Sums of float32 would depend on the order of the items.
        self._sum = np.zeros(pixels.shape, np.result_type(pixels.dtype, np.float64)) if kind == "mean" else None
        self._count = np.zeros(pixels.shape, np.uint32) if kind in {"mean", "count"} else None

    def begin(self, rows: slice) -> None:
        """Fill some rows, before readings are added to them. Threads may do so for rows that do not overlap."""
        # The memory of the result is touched here for the first time, which takes as long as placing pixels.
        self._pixels[rows] = self._fill
        self._mask[rows] = False

    def add(
        self,
        place: tuple[slice, slice],
        readings: Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]],
    ) -> None:
        """Add readings of one part of the array. Threads may do so for parts that do not overlap.

        Args:
            place: Rows and columns of the part.
            readings: Pixels and validity, each of the shape of the part, in order. "median" takes all readings of a
                part at once.
        """
        if self._kind == "median":
            self._add_median(place, readings)
            return
        for pixels, valid in readings:
            self._add(place, pixels, valid)

    def finish(self, rows: slice) -> None:
        """Make the result of some rows, once all readings are added."""
        if self._count is None:
            return
        count = self._count[rows]
        if self._sum is not None:
            valid = count > 0
            self._pixels[rows][valid] = self._sum[rows][valid] / count[valid]
            self._mask[rows] = valid
            return
        dtype = self._pixels.dtype
        self._pixels[rows] = count if dtype.kind == "f" else np.minimum(count, np.iinfo(dtype).max)
        self._mask[rows] = True

    def _add(self, place: tuple[slice, slice], pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> None:
        if self._count is not None:
            self._count[place] += valid
            if self._sum is not None:
                self._sum[place] += np.where(valid, pixels, 0)
            return
        out, mask = self._pixels[place], self._mask[place]
        if self._kind == "first":
            taken = valid & ~mask
        elif self._kind == "last":
            taken = valid
        else:
            better = pixels < out if self._kind == "min" else pixels > out
            taken = valid & (better | ~mask)
        np.copyto(out, pixels, where=taken)
        mask |= valid

    def _add_median(
        self, place: tuple[slice, slice], readings: Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]
    ) -> None:
        if not readings:
            return
        stack = np.stack([pixels for pixels, _ in readings]).astype(self._pixels.dtype, copy=False)
        valid = np.stack([mask for _, mask in readings])
        count = valid.sum(axis=0)
        # Sorting puts what is not valid behind everything else; NaN goes there by itself.
        behind = np.where(valid, stack, np.array(np.nan, stack.dtype))
        behind.sort(axis=0)
        lower = np.take_along_axis(behind, np.maximum(count - 1, 0)[np.newaxis] // 2, 0)[0]
        upper = np.take_along_axis(behind, (count // 2)[np.newaxis].clip(0, len(readings) - 1), 0)[0]
        some = count > 0
        out = self._pixels[place]
        middle = (lower.astype(np.result_type(lower, np.float64)) + upper) / 2
        np.copyto(out, middle, where=some, casting="same_kind")
        self._mask[place] |= some
