"""Resampling in NumPy: the reference of the compiled kernels, and what runs where there are none.

`resample.py` has the rules. NumPy calls that release the GIL do the work, block by block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.geo.resampling import WIDENED_FROM
from rasteret_sql.read.taps import Boxes, Centres, Kernel, Taps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rasteret_sql.read.taps import Placement, Scale

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Indexes = NDArray[np.intp]
    Pixels = NDArray[Any]

_LEAST_WEIGHT = 1e-6
#: Sums of weights this close to 1 are 1: all source pixels are valid, and only rounding says otherwise.
_WEIGHT_ERROR = 1e-12

_BLOCK_PIXELS = 1 << 16  # so few at a time that what they need fits the caches, and threads need little memory
# Boxes are worked on with others of about their size, so that a large one does not make all others slow.
_BOX_SIDES = (2, 3, 4, 6, 8, 11, 15, 22, 32)
_LARGEST_MODE_BOX = 15  # its 225 pixels are counted in uint8
_EXTREMES: dict[str, np.ufunc] = {"min": np.fmin, "max": np.fmax}


def fill_points(pixels: Pixels, mask: Bools | None, placement: Placement, target: tuple[Pixels, Bools]) -> None:
    """Resample at the centres of target pixels: the arguments of `resample_points`, checked, into zeros."""
    out, valid = target
    method, rows, cols, scale = placement.method, placement.rows, placement.cols, placement.scale
    source = _Source.of(pixels, mask, placement.offset)
    with np.errstate(all="ignore"):
        if rows.ndim == 1:
            kernel = Kernel.of(method, scale)
            row_centres, col_centres = source.centres(rows, kernel, 0), source.centres(cols, kernel, 1)
            for block in _blocks(out.shape, pixels.shape[1]):
                values = _points(_Separable(source), row_centres.part(block), col_centres, kernel)
                _put(values, out[block], valid[block])
        else:
            depth = 2 * max(Kernel.of(method, scale).radius)
            for block in _blocks(out.shape, depth=depth):
                block_rows, block_cols = rows[block].reshape(-1), cols[block].reshape(-1)
                part = out[block].reshape(-1), valid[block].reshape(-1)
                for which, kernel in _kernels(method, scale, block):
                    row_centres = source.centres(block_rows[which], kernel, 0)
                    col_centres = source.centres(block_cols[which], kernel, 1)
                    values = _points(_Scattered(source), row_centres, col_centres, kernel)
                    if isinstance(which, slice):
                        _put(values, *part)
                    else:
                        part[0][which], part[1][which] = np.where(values[1], values[0], 0), values[1]


def fill_areas(pixels: Pixels, mask: Bools | None, placement: Placement, target: tuple[Pixels, Bools]) -> None:
    """Resample over the areas of target pixels: the arguments of `resample_areas`, checked, into zeros."""
    out, valid = target
    method, rows, cols = placement.method, placement.rows, placement.cols
    source = _Source.of(pixels, mask, placement.offset, _filler(pixels.dtype, method))
    with np.errstate(all="ignore"):
        if rows.ndim == 1 and method != "mode":
            row_boxes, col_boxes = source.boxes(rows[:-1], rows[1:], 0), source.boxes(cols[:-1], cols[1:], 1)
            for block in _blocks(out.shape, pixels.shape[1]):
                _put(_areas(_Separable(source), row_boxes.part(block), col_boxes, method), out[block], valid[block])
        else:
            if rows.ndim == 1:
                rows, cols = np.broadcast_arrays(rows[:, np.newaxis], cols)
            for block in _blocks(out.shape):
                first, last = (block, slice(-1)), (slice(block.start + 1, block.stop + 1), slice(1, None))
                row_boxes = source.boxes(rows[first].reshape(-1), rows[last].reshape(-1), 0)
                col_boxes = source.boxes(cols[first].reshape(-1), cols[last].reshape(-1), 1)
                part = out[block].reshape(-1), valid[block].reshape(-1)
                _scattered_areas(source, row_boxes, col_boxes, method, *part)


@dataclass(frozen=True, slots=True)
class _Source:
    """The window of a file that is resampled, in C order. Masked pixels hold a filler, which cannot spoil a sum."""

    pixels: Pixels
    mask: Bools | None
    offset: tuple[int, int]

    @classmethod
    def of(cls, pixels: Pixels, mask: Bools | None, offset: tuple[int, int], filler: Any = 0) -> _Source:
        if mask is None or mask.all():
            return cls(np.ascontiguousarray(pixels), None, offset)
        filled = np.full(pixels.shape, filler, pixels.dtype)
        np.copyto(filled, pixels, where=mask)
        return cls(filled, np.ascontiguousarray(mask), offset)

    def centres(self, positions: Floats, kernel: Kernel, axis: int) -> Centres:
        return Centres.of(positions, self.offset[axis], self.pixels.shape[axis], kernel, axis)

    def boxes(self, corner: Floats, across: Floats, axis: int) -> Boxes:
        return Boxes.of(corner, across, self.offset[axis], self.pixels.shape[axis])

    def mask_near(self, rows: Taps, cols: Taps) -> Bools | None:
        """The mask, or None where all pixels between the outermost taps are valid."""
        return None if self.mask is None or self.mask[rows.span(), cols.span()].all() else self.mask


@dataclass(frozen=True, slots=True)
class _Separable:
    """What targets (rows, cols) are made of where rows and cols are resampled one after the other."""

    source: _Source

    def cross(self, rows: Bools, cols: Bools) -> Bools:
        return rows[:, np.newaxis] & cols

    def positions(self, rows: Floats, cols: Floats, which: Indexes) -> tuple[Floats, Floats]:
        row, col = np.divmod(which, len(cols))
        return rows[row], cols[col]

    def pick(self, pixels: Pixels, rows: Indexes, cols: Indexes) -> Pixels:
        """The pixels at `rows` and `cols`."""
        first, end = int(rows.min()), int(rows.max()) + 1
        if end - first < len(rows):
            return pixels[first:end].take(cols, axis=1).take(rows - first, axis=0)
        picked: Pixels = pixels.take(rows, axis=0).take(cols, axis=1)
        return picked

    def sum(self, pixels: Pixels, rows: Taps, cols: Taps, *, careful: bool = False) -> Pixels:
        """The weighted sums of the pixels of the taps; `careful` keeps infinity and NaN without weight out of them."""
        row_span, col_span = rows.span(), cols.span()
        sums = np.ascontiguousarray(pixels[row_span, col_span])
        for axis, taps, start in ((0, rows, row_span.start), (1, cols, col_span.start)):
            window, sums = sums, np.zeros(1)
            for index, weight in zip(taps.index - start, taps.weight, strict=True):
                part = window.take(index, axis=axis)
                if careful:
                    part.swapaxes(0, axis)[weight == 0] = 0
                sums = sums + part * (weight if axis else weight[:, np.newaxis])
        return sums

    def reduce(self, ufunc: np.ufunc, pixels: Pixels, rows: Taps, cols: Taps) -> Pixels:
        """What `ufunc` makes of all pixels of the taps."""
        row_span, col_span = rows.span(), cols.span()
        total: Pixels = np.ascontiguousarray(pixels[row_span, col_span])
        for axis, index in ((0, rows.index - row_span.start), (1, cols.index - col_span.start)):
            window, total = total, total.take(index[0], axis=axis)
            for index_of_tap in index[1:]:
                ufunc(total, window.take(index_of_tap, axis=axis), out=total)
        return total


@dataclass(frozen=True, slots=True)
class _Scattered:
    """What targets (targets,) are made of that have rows and cols of their own."""

    source: _Source

    def cross(self, rows: Bools, cols: Bools) -> Bools:
        return rows & cols

    def positions(self, rows: Floats, cols: Floats, which: Indexes) -> tuple[Floats, Floats]:
        return rows[which], cols[which]

    def pick(self, pixels: Pixels, rows: Indexes, cols: Indexes) -> Pixels:
        """The pixels at `rows` and `cols`."""
        picked: Pixels = pixels.reshape(-1).take(rows * pixels.shape[1] + cols)
        return picked

    def sum(self, pixels: Pixels, rows: Taps, cols: Taps, *, careful: bool = False) -> Pixels:
        """The weighted sums of the pixels of the taps; `careful` keeps infinity and NaN without weight out of them."""
        flat = pixels.reshape(-1)
        sums: Pixels
        sums, line, product = np.zeros((3, *rows.index.shape[1:]), np.result_type(pixels.dtype, np.float64))
        for row, row_weight in zip(rows.index * pixels.shape[1], rows.weight, strict=True):
            line[:] = 0
            for col, col_weight in zip(cols.index, cols.weight, strict=True):
                values = flat.take(row + col)
                if careful:
                    values[(row_weight == 0) | (col_weight == 0)] = 0
                line += np.multiply(values, col_weight, out=product)
            sums += np.multiply(line, row_weight, out=line)
        return sums

    def reduce(self, ufunc: np.ufunc, pixels: Pixels, rows: Taps, cols: Taps) -> Pixels:
        """What `ufunc` makes of all pixels of the taps."""
        flat = pixels.reshape(-1)
        total: Pixels = flat.take(rows.index[0] * pixels.shape[1] + cols.index[0])
        for row in rows.index * pixels.shape[1]:
            for col in cols.index:
                ufunc(total, flat.take(row + col), out=total)
        return total


_Form = _Separable | _Scattered


def _points(form: _Form, rows: Centres, cols: Centres, kernel: Kernel) -> tuple[Pixels, Bools]:
    """The values of targets, and which of them are valid."""
    source = form.source
    valid = form.cross(rows.inside, cols.inside)
    if source.mask is not None:
        valid &= form.pick(source.mask, rows.nearest(), cols.nearest())
    if not valid.any():
        return np.zeros(valid.shape, source.pixels.dtype), valid
    if kernel.name == "nearest":
        return form.pick(source.pixels, rows.nearest(), cols.nearest()), valid
    mask = source.mask_near(rows.taps, cols.taps)
    if kernel.name == "bilinear" or kernel.widened:
        values, enough = _weigh(form, mask, rows.taps, cols.taps, _LEAST_WEIGHT)
        return values, valid & enough
    values, _ = _weigh(form, None, rows.taps, cols.taps)
    whole = form.cross(rows.whole, cols.whole)
    if mask is not None:
        whole &= form.reduce(np.logical_and, mask, rows.taps, cols.taps)
    lacking = np.flatnonzero(valid & ~whole)
    if lacking.size:
        bilinear = Kernel.of("bilinear", (1.0, 1.0))
        row_positions, col_positions = form.positions(rows.position, cols.position, lacking)
        row_centres = source.centres(row_positions, bilinear, 0)
        col_centres = source.centres(col_positions, bilinear, 1)
        values.reshape(-1)[lacking], _ = _points(_Scattered(source), row_centres, col_centres, bilinear)
    return values, valid


def _areas(form: _Form, rows: Boxes, cols: Boxes, method: str) -> tuple[Pixels, Bools]:
    """The average, min or max of boxes, and which of them are valid."""
    weighted = method == "average"
    row_taps, col_taps = rows.taps(weighted=weighted), cols.taps(weighted=weighted)
    valid = form.cross(rows.inside, cols.inside)
    mask = form.source.mask_near(row_taps, col_taps)
    if mask is not None:
        valid &= form.reduce(np.logical_or, mask, row_taps, col_taps)
    if weighted:
        values, enough = _weigh(form, mask, row_taps, col_taps)
        return values, valid & enough
    return form.reduce(_EXTREMES[method], form.source.pixels, row_taps, col_taps), valid


def _scattered_areas(source: _Source, rows: Boxes, cols: Boxes, method: str, out: Pixels, valid: Bools) -> None:
    """Fill targets, those with boxes of about the same size together."""
    side = np.where(rows.inside & cols.inside, np.maximum(rows.count, cols.count), 0)
    smaller = 0
    for largest in _BOX_SIDES:
        if method == "mode" and largest > _LARGEST_MODE_BOX:
            break
        alike = np.flatnonzero((side > smaller) & (side <= largest))
        smaller = largest
        step = max(1, 4 * _BLOCK_PIXELS // (largest * largest if method == "mode" else largest))
        for begin in range(0, len(alike), step):
            which = alike[begin : begin + step]
            boxes = (rows, cols) if len(which) == len(side) else (rows.part(which), cols.part(which))
            values = _mode(source, *boxes) if method == "mode" else _areas(_Scattered(source), *boxes, method)
            out[which], valid[which] = values
    for target in np.flatnonzero(side > smaller):
        one = slice(target, target + 1)
        if method == "mode":
            values = _mode_of_large_box(source, rows.part(one), cols.part(one))
        else:
            values = _areas(_Separable(source), rows.part(one), cols.part(one), method)
        _put(values, out[one], valid[one])
    np.copyto(out, 0, where=~valid)


def _mode(source: _Source, rows: Boxes, cols: Boxes) -> tuple[Pixels, Bools]:
    """The most frequent values of small boxes, by comparing all pairs of pixels, and which boxes are valid."""
    pixels = source.pixels.reshape(-1)
    row_taps, col_taps = rows.taps(weighted=False), cols.taps(weighted=False)
    mask = source.mask_near(row_taps, col_taps)
    modes, most = np.zeros(rows.first.shape, pixels.dtype), np.zeros(rows.first.shape, np.uint8)
    earlier: list[tuple[Pixels, Bools]] = []
    for row_step, row in enumerate(row_taps.index * source.pixels.shape[1]):
        for col_step, col in enumerate(col_taps.index):
            index = row + col
            values = pixels.take(index)
            known = (row_step < rows.count) & (col_step < cols.count)
            if mask is not None:
                known &= mask.reshape(-1).take(index)
            frequency = known.astype(np.uint8)
            for earlier_values, earlier_known in earlier:
                frequency += ((values == earlier_values) & earlier_known).view(np.uint8)
            earlier.append((values, known))
            # As many as before is not enough: the first value to get there wins.
            better = (frequency > most) & known
            np.copyto(modes, values, where=better)
            np.copyto(most, frequency, where=better)
    return modes, most > 0


def _mode_of_large_box(source: _Source, rows: Boxes, cols: Boxes) -> tuple[Pixels, Bools]:
    """The most frequent value of one box, and whether it is valid."""
    window = rows.taps(weighted=False).span(), cols.taps(weighted=False).span()
    values = source.pixels[window].reshape(-1)
    if source.mask is not None:
        values = values[source.mask[window].reshape(-1)]
    if not values.size:
        return np.zeros(1, values.dtype), np.zeros(1, np.bool_)
    # In the reverse, the first of a value is the one that completed its count.
    _, from_end, count = np.unique(values[::-1], return_index=True, return_counts=True, equal_nan=False)
    return values[::-1][[from_end[count == count.max()].max()]], np.ones(1, np.bool_)


def _weigh(
    form: _Form, mask: Bools | None, rows: Taps, cols: Taps, least_weight: float = 0.0
) -> tuple[Pixels, Bools | np.bool_]:
    """Weighted sums in the dtype of the source, and which have more than the least weight of valid pixels."""
    dtype = form.source.pixels.dtype
    sums = form.sum(form.source.pixels, rows, cols)
    if dtype.kind in "fc" and not np.isfinite(sums).all():
        sums = form.sum(form.source.pixels, rows, cols, careful=True)
    enough: Bools | np.bool_ = np.True_
    if mask is not None:
        weights = form.sum(mask, rows, cols)
        enough = weights > least_weight
        weights[np.abs(weights - 1) < _WEIGHT_ERROR] = 1
        sums /= weights
    if dtype.kind in "fc":
        return sums.astype(dtype), enough
    limits = np.iinfo(dtype)
    sums += 0.5
    np.floor(sums, out=sums)
    np.clip(sums, limits.min, limits.max, out=sums)
    values = sums.astype(dtype)
    if dtype.itemsize == 8:
        # The largest value has no float64, and the next above it does not fit.
        values[sums >= float(limits.max)] = limits.max
    return values, enough


def _kernels(method: str, scale: Scale, block: slice) -> Iterator[tuple[slice | Indexes, Kernel]]:
    """The kernels of scattered targets in some rows, and which of the targets, flattened, each is for."""
    if not isinstance(scale[0], np.ndarray) or not isinstance(scale[1], np.ndarray):
        yield slice(None), Kernel.of(method, scale)
        return
    rows, cols = scale[0][block].reshape(-1), scale[1][block].reshape(-1)
    is_wide = np.maximum(rows, cols) > WIDENED_FROM
    for which in (np.flatnonzero(is_wide), np.flatnonzero(~is_wide)):
        if len(which) == len(rows):
            yield slice(None), Kernel.of(method, (rows, cols))
        elif len(which):
            yield which, Kernel.of(method, (rows[which], cols[which]))


def _put(values: tuple[Pixels, Bools], out: Pixels, valid: Bools) -> None:
    """Write values where they are valid, into zeros."""
    valid[...] = values[1]
    np.copyto(out, values[0], where=valid)


def _filler(dtype: np.dtype[Any], method: str) -> Any:
    """What masked pixels are to hold, so that they take no part."""
    if method not in _EXTREMES:
        return 0
    return np.nan if dtype.kind == "f" else getattr(np.iinfo(dtype), "max" if method == "min" else "min")


def _blocks(shape: tuple[int, ...], source_width: int = 0, depth: int = 1) -> Iterator[slice]:
    """Some rows of the target at a time, fewer where each target needs many (`depth`) taps."""
    step = max(1, 4 * _BLOCK_PIXELS // max(4, depth) // max(shape[1], source_width))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))
