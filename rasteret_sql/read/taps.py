"""Which source pixels make up a target pixel along one axis, and what each weighs.

Positions are pixels of the file along the axis, pixel edges at integers: the centre of the first pixel is 0.5. They are
those of the file and not of the part that was read, so that no rounding depends on where a read starts. `offset` is the
number of the first pixel that was read; indexes count from it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.geo.resampling import EPSILON, WIDENED_FROM, reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Indexes = NDArray[np.intp]
    AnyFloats = NDArray[np.floating[Any]]
    Scale = tuple[float, float] | tuple[AnyFloats, AnyFloats]


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where target pixels lie in a source, and how they are made of it.

    Attributes:
        method: One of METHODS.
        rows, cols: In pixels of the file, both 1-D or both 2-D: centres of target pixels or, for areas, corners.
        scale: Source pixels per target pixel along (rows, cols), by which kernels widen.
        offset: Row and column of the file at which the source begins.
    """

    method: str
    rows: Floats
    cols: Floats
    scale: Scale
    offset: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function of the distance to a source pixel, along rows and along columns.

    Attributes:
        name: "nearest", "bilinear" or "cubic".
        scale: Source pixels per target pixel along (rows, cols), at least 1: one number each for all targets, or arrays
            of shape (targets,).
        radius: Source pixels on each side, along (rows, cols).
        widened: Whether the kernel is stretched by `scale`.
    """

    name: str
    scale: Scale
    radius: tuple[int, int]
    widened: bool

    @classmethod
    def of(cls, method: str, scale: Scale) -> Kernel:
        """Make a kernel; either all targets have a `scale` for which it widens, or none."""
        widened = method != "nearest" and bool((np.maximum(*scale) > WIDENED_FROM).any())
        if not widened:
            return cls(method, (1.0, 1.0), (reach(method, 1.0), reach(method, 1.0)), widened)
        rows, cols = np.maximum(scale[0], 1.0), np.maximum(scale[1], 1.0)
        return cls(method, (rows, cols), (reach(method, np.max(rows)), reach(method, np.max(cols))), widened)

    def weights(self, steps: Indexes, fraction: Floats, axis: int) -> Floats:
        """Weigh source pixels by their distance.

        Args:
            steps: Distances in whole pixels from the pixel before the target, shape (taps, 1).
            fraction: Part of a pixel from the centre of that pixel to the target, shape (targets,).
            axis: 0 for rows, 1 for columns.

        Returns:
            Shape (taps, targets). The weights of one target sum to 1.
        """
        if self.widened:
            x = np.abs(steps - fraction) / self.scale[axis]
            if self.name == "bilinear":
                weight: Floats = np.maximum(1 - x, 0)
            else:
                near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
                weight = np.where(x < 1, near, np.where(x < 2, far, 0))
            weight /= _total(weight)
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
class Taps:
    """The source pixels that targets are made of along one axis, in order, and their weights.

    Attributes:
        index: Shape (taps, targets). Targets that need fewer taps than others repeat an index with weight 0.
        weight: Shape (taps, targets), or empty where no weights are needed. Weights of one target sum to 1.
    """

    index: Indexes
    weight: Floats

    def span(self) -> slice:
        """The part of the source in which all taps lie."""
        return slice(int(self.index[0].min()), int(self.index[-1].max()) + 1)

    def part(self, block: slice) -> Taps:
        """The taps of some targets."""
        return Taps(self.index[:, block], self.weight[:, block])


@dataclass(frozen=True, slots=True)
class Centres:
    """Centres of target pixels along one axis. Those outside of the image are moved into it.

    Attributes:
        inside: Whether the centre lies in the image, shape (targets,).
        position: Of the centre, in pixels of the file, shape (targets,).
        offset, size: The first pixel that was read, and how many were.
        taps: What the kernel takes.
        whole: Whether all taps lie in the image, shape (targets,).
    """

    inside: Bools
    position: Floats
    offset: int
    size: int
    taps: Taps
    whole: Bools

    @classmethod
    def of(cls, positions: Floats, offset: int, size: int, kernel: Kernel, axis: int) -> Centres:
        """Find the taps of centres at some positions."""
        inside = (positions >= offset) & (positions + EPSILON <= offset + size)
        position = positions if inside.all() else np.where(inside, positions, offset + 0.5)
        if kernel.name == "nearest":
            return cls(inside, position, offset, size, NO_TAPS, inside)
        fraction = position - 0.5
        before = np.floor(fraction)
        fraction -= before
        radius = kernel.radius[axis]
        steps = np.arange(1 - radius, radius + 1)[:, np.newaxis]
        index = before.astype(np.intp) - offset + steps
        weight = kernel.weights(steps, fraction, axis)
        outside = (index < 0) | (index >= size)
        whole: Bools = np.logical_not(outside.any(axis=0))
        if not whole.all():
            # What a target weighs must not depend on its neighbours: those that lose no weight are not scaled.
            is_cut = (outside & (weight != 0)).any(axis=0)
            weight[outside] = 0
            weight /= np.where(is_cut, _total(weight), 1.0)
            np.clip(index, 0, size - 1, out=index)
        return cls(inside, position, offset, size, Taps(index, weight), whole)

    def nearest(self) -> Indexes:
        """The pixels that hold the centres."""
        return np.minimum((self.position + EPSILON).astype(np.intp) - self.offset, self.size - 1)

    def part(self, block: slice) -> Centres:
        """Some of the centres."""
        inside, position, whole = self.inside[block], self.position[block], self.whole[block]
        return Centres(inside, position, self.offset, self.size, self.taps.part(block), whole)


@dataclass(frozen=True, slots=True)
class Boxes:
    """Extents of target pixels along one axis, and the source pixels that they touch; shape (targets,) each.

    Attributes:
        inside: Whether the box overlaps the image.
        start, stop: Its edges in pixels, counted from the first pixel that was read.
        first, count: The first pixel that it touches, counted likewise, and how many it touches.
    """

    inside: Bools
    start: Floats
    stop: Floats
    first: Indexes
    count: Indexes

    @classmethod
    def of(cls, corner: Floats, across: Floats, offset: int, size: int) -> Boxes:
        """Find the pixels that boxes touch, each from its `corner` to the one `across`, in either order."""
        start, stop = np.minimum(corner, across), np.maximum(corner, across)
        # A box without extent at the edge of a pixel lies in the pixel that begins there.
        reached = np.where(start == stop, np.floor(start + EPSILON) + 1, stop)
        inside = (reached > offset) & (start < offset + size) & np.isfinite(start) & np.isfinite(stop)
        start, stop = np.where(inside, start, offset), np.where(inside, stop, offset + 1.0)
        first = np.clip(np.floor(start + EPSILON) - offset, 0, size - 1).astype(np.intp)
        end = np.clip(np.ceil(stop - EPSILON) - offset, 0, size).astype(np.intp)
        return cls(inside, start - offset, stop - offset, first, np.maximum(end - first, 1))

    def part(self, which: slice | Indexes) -> Boxes:
        """Some of the boxes."""
        return Boxes(*(getattr(self, field.name)[which] for field in fields(self)))

    def taps(self, *, weighted: bool = True) -> Taps:
        """The pixels that the boxes touch, weighted by the part that is covered."""
        steps = np.arange(self.count.max())[:, np.newaxis]
        last = self.count - 1
        index = self.first + np.minimum(steps, last)
        if not weighted:
            return Taps(index, NO_TAPS.weight)
        weight = (steps <= last).astype(np.float64)
        # At the edges of the image these may be more than 1: the outermost pixels stand for what lies outside.
        weight[0] = self.first + 1 - self.start
        weight[last, np.arange(len(last))] = self.stop - (self.first + last)
        np.maximum(weight, 0, out=weight)
        weight[0, last == 0] = 1
        return Taps(index, weight / _total(weight))


NO_TAPS = Taps(np.empty((0, 0), np.intp), np.empty((0, 0)))


def _total(weight: Floats) -> Floats:
    """Sum weights (taps, targets) tap by tap.

    `sum` adds in another order where there is one target, and then that target would depend on its neighbours.
    """
    total: Floats = weight[0].copy()
    for of_tap in weight[1:]:
        total += of_tap
    return total
