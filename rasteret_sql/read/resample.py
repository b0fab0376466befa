"""Resampling of decoded pixels onto another grid, as GDAL's warper does it: pure NumPy, coordinates are given.

Coordinates are in source pixels, with pixel *corners* at integers: the centre of `pixels[0, 0]` is (0.5, 0.5). They
take one of two forms. *Separable*, 1-D `rows` and `cols`, is for grids that share a CRS: each axis is then resampled by
itself. *Scattered*, 2-D `rows` and `cols`, is for everything else. Axes may run backwards.

What a target pixel is made of:

* nearest, bilinear and cubic (a = -0.5) look at the centre of the target pixel. It has a value if its centre lies in a
  valid source pixel. Weights of invalid source pixels are dropped and the rest is scaled to 1. Where one of the 16
  pixels of a cubic kernel is not there, bilinear takes its place. With more than 1/0.95 source pixels per target pixel,
  kernels are as wide as the scale says, and cubic drops weights too.
* average, mode, min and max look at the box between two corners of the target pixel: the one at its row and column,
  and the one diagonally across. So targets that are turned by 45 degrees have empty boxes, which is GDAL's rule and
  does for turns of a few degrees. Each source pixel that the box touches takes part; average weighs it by the part that
  is covered, in each direction. Where a box leaves the image, the outermost pixels stand for what lies outside. Mode
  counts source pixels; of values that are as frequent, the one wins that gets there first, row by row.

Sums are in float64, and integers are rounded half up. Hence 64-bit integers beyond 2**52 are exact with nearest, mode,
min and max only. An unmasked NaN is a value: it spreads to targets in which it has a weight, and min and max pass over
it. A result that equals a nodata value is the caller's to handle.
NumPy calls that release the GIL do the work, block by block: threads may share a source, and fill some rows each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Indexes = NDArray[np.intp]
    Pixels = NDArray[Any]

METHODS = ("nearest", "bilinear", "cubic", "average", "mode", "min", "max")
POINT_METHODS = frozenset({"nearest", "bilinear", "cubic"})
AREA_METHODS = frozenset({"average", "mode", "min", "max"})

EPSILON = 1e-10
"""Pixels: a coordinate this close to the next pixel lies in it, as in GDAL."""

_WIDENED_FROM = 1 / 0.95
_KERNEL_RADIUS = {"bilinear": 1, "cubic": 2}
_LEAST_WEIGHT = 1e-6

_BLOCK_PIXELS = 1 << 16  # so few at a time that what they need fits the caches, and threads need little memory
# Boxes are worked on with others of about their size, so that a large one does not make all others slow.
_BOX_SIDES = (2, 3, 4, 6, 8, 11, 15, 22, 32)
_LARGEST_MODE_BOX = 15  # its 225 pixels are counted in uint8
_EXTREMES: dict[str, np.ufunc] = {"min": np.fmin, "max": np.fmax}


def reach(method: str, scale: float) -> int:
    """How many source pixels a method reads on each side of the pixel that holds a coordinate.

    What is read for coordinates from `first` to `last` lies in the pixels from `floor(first + EPSILON) - reach` to, for
    centres, `floor(last + EPSILON) + reach` (inclusive) or, for corners, `ceil(last - EPSILON) + reach` (exclusive).

    Args:
        method: One of METHODS.
        scale: Source pixels per target pixel along the axis; more than 1 when downsampling.

    Raises:
        InvalidArgumentError: The method is not known.
    """
    _check_method(method, METHODS)
    if method not in _KERNEL_RADIUS:
        return 0
    return math.ceil(_KERNEL_RADIUS[method] * max(scale, 1.0))


def resample_points(
    pixels: Pixels,
    mask: Bools | None,
    rows: Floats,
    cols: Floats,
    method: str,
    scale: tuple[float, float] = (1.0, 1.0),
) -> tuple[Pixels, Bools]:
    """Resample at the centres of target pixels.

    Args:
        pixels: (height, width), of any numeric dtype.
        mask: Booleans of the same shape, True means valid; None where all pixels are.
        rows, cols: Where the centres lie, in source pixels: (H,) and (W,), or both (H, W). NaN, infinity and places
            outside of the image give invalid pixels.
        method: One of POINT_METHODS.
        scale: Source pixels per target pixel along rows and cols, which widens bilinear and cubic.

    Returns:
        Pixels (H, W) of the dtype of the source, and a mask of the same shape, True where there is a value. Pixels are
        0 elsewhere.

    Raises:
        InvalidArgumentError: The method is not one of POINT_METHODS, or shapes or dtype do not fit.

    Example:
        >>> resample_points(np.array([[0, 10]]), None, np.array([0.5]), np.array([0.5, 1.0, 1.5]), "bilinear")[0]
        array([[ 0,  5, 10]])
    """
    _check_method(method, POINT_METHODS)
    separable = _is_separable(pixels, mask, rows, cols, corners=0)
    shape = rows.shape[0], cols.shape[-1]
    out, valid = np.zeros(shape, pixels.dtype), np.zeros(shape, np.bool_)
    if not pixels.size or not out.size:
        return out, valid
    source = _Source.of(pixels, mask)
    kernel = _Kernel.of(method, scale)
    height, width = pixels.shape
    with np.errstate(all="ignore"):
        if separable:
            row_centres, col_centres = _Centres.of(rows, height, kernel, 0), _Centres.of(cols, width, kernel, 1)
            for block in _blocks(shape, width):
                values = _points(_Separable(source), row_centres.part(block), col_centres, kernel)
                _put(values, out[block], valid[block])
        else:
            for block in _blocks(shape, depth=2 * max(kernel.radius)):
                row_centres = _Centres.of(rows[block].reshape(-1), height, kernel, 0)
                col_centres = _Centres.of(cols[block].reshape(-1), width, kernel, 1)
                values = _points(_Scattered(source), row_centres, col_centres, kernel)
                _put(values, out[block].reshape(-1), valid[block].reshape(-1))
    return out, valid


def resample_areas(pixels: Pixels, mask: Bools | None, rows: Floats, cols: Floats, method: str) -> tuple[Pixels, Bools]:
    """Resample over the areas of target pixels.

    Args:
        pixels: (height, width), of any numeric dtype; complex numbers can be averaged only.
        mask: Booleans of the same shape, True means valid; None where all pixels are.
        rows, cols: Where the corners of the target pixels lie, in source pixels: (H + 1,) and (W + 1,), or both
            (H + 1, W + 1). NaN and infinity give invalid pixels, and so do boxes outside of the image.
        method: One of AREA_METHODS.

    Returns:
        Pixels (H, W) of the dtype of the source, and a mask of the same shape, True where a valid source pixel lies in
        the box. Pixels are 0 elsewhere.

    Raises:
        InvalidArgumentError: The method is not one of AREA_METHODS, or shapes or dtype do not fit.

    Example:
        >>> pixels = np.array([[0, 10, 20, 20]])
        >>> resample_areas(pixels, None, np.array([0.0, 1.0]), np.array([0.0, 2.0, 4.0]), "average")[0]
        array([[ 5, 20]])
    """
    _check_method(method, AREA_METHODS)
    separable = _is_separable(pixels, mask, rows, cols, corners=1)
    if pixels.dtype.kind == "c" and method != "average":
        raise InvalidArgumentError(
            f"resampling {method!r}: got {pixels.dtype}, but complex numbers have no order. "
            "Use 'average' or 'nearest', or resample the real part."
        )
    shape = rows.shape[0] - 1, cols.shape[-1] - 1
    out, valid = np.zeros(shape, pixels.dtype), np.zeros(shape, np.bool_)
    if not pixels.size or not out.size:
        return out, valid
    source = _Source.of(pixels, mask, _filler(pixels.dtype, method))
    height, width = pixels.shape
    with np.errstate(all="ignore"):
        if separable and method != "mode":
            row_boxes, col_boxes = _Boxes.of(rows[:-1], rows[1:], height), _Boxes.of(cols[:-1], cols[1:], width)
            for block in _blocks(shape, width):
                _put(_areas(_Separable(source), row_boxes.part(block), col_boxes, method), out[block], valid[block])
        else:
            if separable:
                rows, cols = np.broadcast_arrays(rows[:, np.newaxis], cols)
            for block in _blocks(shape):
                first, last = (block, slice(-1)), (slice(block.start + 1, block.stop + 1), slice(1, None))
                row_boxes = _Boxes.of(rows[first].reshape(-1), rows[last].reshape(-1), height)
                col_boxes = _Boxes.of(cols[first].reshape(-1), cols[last].reshape(-1), width)
                target = out[block].reshape(-1), valid[block].reshape(-1)
                _scattered_areas(source, row_boxes, col_boxes, method, *target)
    return out, valid


@dataclass(frozen=True, slots=True)
class _Source:
    """What is resampled, in C order; masked pixels hold `filler`, so that what they held can be in no sum."""

    pixels: Pixels
    mask: Bools | None

    @classmethod
    def of(cls, pixels: Pixels, mask: Bools | None, filler: Any = 0) -> _Source:
        if mask is None or mask.all():
            return cls(np.ascontiguousarray(pixels), None)
        filled = np.full(pixels.shape, filler, pixels.dtype)
        np.copyto(filled, pixels, where=mask)
        return cls(filled, np.ascontiguousarray(mask))

    def mask_near(self, rows: _Taps, cols: _Taps) -> Bools | None:
        """The mask, or None where all pixels that the taps lie among are valid."""
        return None if self.mask is None or self.mask[rows.span(), cols.span()].all() else self.mask


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A function of the distance to a source pixel, along rows and along cols."""

    name: str
    scale: tuple[float, float]
    radius: tuple[int, int]
    widened: bool

    @classmethod
    def of(cls, method: str, scale: tuple[float, float]) -> _Kernel:
        if method == "nearest":
            return cls(method, (1.0, 1.0), (0, 0), widened=False)
        widened = max(scale) > _WIDENED_FROM
        row_scale, col_scale = (max(of_axis, 1.0) if widened else 1.0 for of_axis in scale)
        return cls(method, (row_scale, col_scale), (reach(method, row_scale), reach(method, col_scale)), widened)

    def weights(self, steps: Indexes, fraction: Floats, axis: int) -> Floats:
        """What pixels weigh that lie whole steps from the one a fraction before the target: (taps, targets)."""
        if self.widened:
            x = np.abs(steps - fraction) / self.scale[axis]
            if self.name == "bilinear":
                weight: Floats = np.maximum(1 - x, 0)
            else:
                near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
                weight = np.where(x < 1, near, np.where(x < 2, far, 0))
            weight /= weight.sum(axis=0)
            return weight
        x, weight = fraction, np.empty((len(steps), len(fraction)))
        if self.name == "bilinear":
            weight[0], weight[1] = 1 - x, x
        else:
            weight[0], weight[3] = ((1 - 0.5 * x) * x - 0.5) * x, (0.5 * x - 0.5) * x * x
            weight[2] = ((2 - 1.5 * x) * x + 0.5) * x
            weight[1] = 1 - weight[0] - weight[2] - weight[3]
        return weight


@dataclass(frozen=True, slots=True)
class _Taps:
    """The source pixels that targets are made of along one axis, in order, and what they weigh: both (taps, targets).

    Taps that are not needed repeat another one's index and weigh 0. Weights of one target sum to 1.
    """

    index: Indexes
    weight: Floats

    def span(self) -> slice:
        return slice(int(self.index[0].min()), int(self.index[-1].max()) + 1)

    def part(self, block: slice) -> _Taps:
        return _Taps(self.index[:, block], self.weight[:, block])


@dataclass(frozen=True, slots=True)
class _Centres:
    """Centres of target pixels along one axis: (targets,) each. Those outside of the image are moved into it."""

    inside: Bools
    place: Floats
    size: int
    taps: _Taps
    whole: Bools  # where all taps lie in the image

    @classmethod
    def of(cls, places: Floats, size: int, kernel: _Kernel, axis: int) -> _Centres:
        inside = (places >= 0) & (places + EPSILON <= size)
        place = places if inside.all() else np.where(inside, places, 0.5)
        if kernel.name == "nearest":
            return cls(inside, place, size, _NO_TAPS, inside)
        fraction = place - 0.5
        left = np.floor(fraction)
        fraction -= left
        radius = kernel.radius[axis]
        steps = np.arange(1 - radius, radius + 1)[:, np.newaxis]
        index = left.astype(np.intp) + steps
        weight = kernel.weights(steps, fraction, axis)
        whole = (index[0] >= 0) & (index[-1] < size)
        if not whole.all():
            weight[(index < 0) | (index >= size)] = 0
            weight /= weight.sum(axis=0)
            np.clip(index, 0, size - 1, out=index)
        return cls(inside, place, size, _Taps(index, weight), whole)

    def nearest(self) -> Indexes:
        return np.minimum((self.place + EPSILON).astype(np.intp), self.size - 1)

    def part(self, block: slice) -> _Centres:
        inside, place, whole = self.inside[block], self.place[block], self.whole[block]
        return _Centres(inside, place, self.size, self.taps.part(block), whole)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Extents of target pixels along one axis, and the source pixels that they touch: (targets,) each."""

    inside: Bools
    start: Floats
    stop: Floats
    first: Indexes
    count: Indexes

    @classmethod
    def of(cls, corner: Floats, across: Floats, size: int) -> _Boxes:
        start, stop = np.minimum(corner, across), np.maximum(corner, across)
        inside = (stop > 0) & (start < size) & np.isfinite(start) & np.isfinite(stop)
        start, stop = np.where(inside, start, 0.0), np.where(inside, stop, 1.0)
        first = np.clip(np.floor(start + EPSILON), 0, size - 1).astype(np.intp)
        end = np.clip(np.ceil(stop - EPSILON), 0, size).astype(np.intp)
        return cls(inside, start, stop, first, np.maximum(end - first, 1))

    def part(self, which: slice | Indexes) -> _Boxes:
        return _Boxes(*(getattr(self, field.name)[which] for field in fields(self)))

    def taps(self, *, weighted: bool = True) -> _Taps:
        steps = np.arange(self.count.max())[:, np.newaxis]
        last = self.count - 1
        index = self.first + np.minimum(steps, last)
        if not weighted:
            return _Taps(index, _NO_TAPS.weight)
        weight = (steps <= last).astype(np.float64)
        # At the edges of the image these may be more than 1: the outermost pixels stand for what lies outside.
        weight[0] = self.first + 1 - self.start
        weight[last, np.arange(len(last))] = self.stop - (self.first + last)
        np.maximum(weight, 0, out=weight)
        weight[0, last == 0] = 1
        return _Taps(index, weight / weight.sum(axis=0))


_NO_TAPS = _Taps(np.empty((0, 0), np.intp), np.empty((0, 0)))


@dataclass(frozen=True, slots=True)
class _Separable:
    """What targets (rows, cols) are made of where rows and cols are resampled one after the other."""

    source: _Source

    def cross(self, rows: Bools, cols: Bools) -> Bools:
        return rows[:, np.newaxis] & cols

    def places(self, rows: Floats, cols: Floats, which: Indexes) -> tuple[Floats, Floats]:
        row, col = np.divmod(which, len(cols))
        return rows[row], cols[col]

    def pick(self, pixels: Pixels, rows: Indexes, cols: Indexes) -> Pixels:
        """The pixels at `rows` and `cols`."""
        first, end = int(rows.min()), int(rows.max()) + 1
        if end - first < len(rows):
            return pixels[first:end].take(cols, axis=1).take(rows - first, axis=0)
        picked: Pixels = pixels.take(rows, axis=0).take(cols, axis=1)
        return picked

    def sum(self, pixels: Pixels, rows: _Taps, cols: _Taps, *, careful: bool = False) -> Pixels:
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

    def reduce(self, ufunc: np.ufunc, pixels: Pixels, rows: _Taps, cols: _Taps) -> Pixels:
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

    def places(self, rows: Floats, cols: Floats, which: Indexes) -> tuple[Floats, Floats]:
        return rows[which], cols[which]

    def pick(self, pixels: Pixels, rows: Indexes, cols: Indexes) -> Pixels:
        """The pixels at `rows` and `cols`."""
        picked: Pixels = pixels.reshape(-1).take(rows * pixels.shape[1] + cols)
        return picked

    def sum(self, pixels: Pixels, rows: _Taps, cols: _Taps, *, careful: bool = False) -> Pixels:
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

    def reduce(self, ufunc: np.ufunc, pixels: Pixels, rows: _Taps, cols: _Taps) -> Pixels:
        """What `ufunc` makes of all pixels of the taps."""
        flat = pixels.reshape(-1)
        total: Pixels = flat.take(rows.index[0] * pixels.shape[1] + cols.index[0])
        for row in rows.index * pixels.shape[1]:
            for col in cols.index:
                ufunc(total, flat.take(row + col), out=total)
        return total


_Form = _Separable | _Scattered


def _points(form: _Form, rows: _Centres, cols: _Centres, kernel: _Kernel) -> tuple[Pixels, Bools]:
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
        bilinear = _Kernel.of("bilinear", (1.0, 1.0))
        row_places, col_places = form.places(rows.place, cols.place, lacking)
        row_centres = _Centres.of(row_places, source.pixels.shape[0], bilinear, 0)
        col_centres = _Centres.of(col_places, source.pixels.shape[1], bilinear, 1)
        values.reshape(-1)[lacking], _ = _points(_Scattered(source), row_centres, col_centres, bilinear)
    return values, valid


def _areas(form: _Form, rows: _Boxes, cols: _Boxes, method: str) -> tuple[Pixels, Bools]:
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


def _scattered_areas(source: _Source, rows: _Boxes, cols: _Boxes, method: str, out: Pixels, valid: Bools) -> None:
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


def _mode(source: _Source, rows: _Boxes, cols: _Boxes) -> tuple[Pixels, Bools]:
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


def _mode_of_large_box(source: _Source, rows: _Boxes, cols: _Boxes) -> tuple[Pixels, Bools]:
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
    form: _Form, mask: Bools | None, rows: _Taps, cols: _Taps, least_weight: float = 0.0
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


def _is_separable(pixels: Pixels, mask: Bools | None, rows: Floats, cols: Floats, *, corners: int) -> bool:
    """Whether coordinates are separable; shapes and dtype are checked."""
    if pixels.dtype.kind not in "iufc":
        raise InvalidArgumentError(f"resampling: got pixels of dtype {pixels.dtype}, expected numbers. Cast them.")
    if pixels.ndim != 2 or (mask is not None and mask.shape != pixels.shape):
        got = f"pixels {pixels.shape}" if mask is None else f"pixels {pixels.shape} and mask {mask.shape}"
        raise InvalidArgumentError(f"resampling: got {got}, expected (height, width). Resample one band at a time.")
    separable = rows.ndim == cols.ndim == 1
    if min(rows.shape + cols.shape) < corners or not (separable or (rows.ndim == 2 and rows.shape == cols.shape)):
        raise InvalidArgumentError(
            f"resampling: got rows {rows.shape} and cols {cols.shape}, expected two 1-D arrays, or two 2-D arrays of "
            "the same shape, with one more corner than there are pixels for areas. Broadcast the coordinates."
        )
    return separable


def _check_method(method: str, methods: Collection[str]) -> None:
    if method not in methods:
        known = ", ".join(name for name in METHODS if name in methods)
        raise InvalidArgumentError(f"resampling {method!r}: it is not a method here. Use one of {known}.")
