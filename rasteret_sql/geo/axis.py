"""One axis of a grid, with pixels numbered from the origin of its CRS: a pixel has one number in all windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating[Any]]

#: Decimal digits of a phase that count. The origins of a grid's windows have different rounding errors. These are
#: smaller, as long as the origin of the CRS is less than 20 million pixels away.
PHASE_DIGITS: Final = 8
#: Numbers of pixels are counted from this part of a pixel. Common phases do not lie near it, so that rounding decides
#: nothing.
_ANCHOR: Final = 0.37


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a grid. Pixel n reaches from `step * (n + phase)` to `step * (n + 1 + phase)` in the CRS.

    Attributes:
        first: Number of the first pixel.
        phase: Part of a pixel by which the edges of pixels lie beside multiples of `step`, from -0.37 to 0.63.
        step: From one pixel to the next, in units of the CRS; may be below 0.
    """

    first: int
    phase: float
    step: float

    @classmethod
    def of(cls, start: float, step: float) -> Axis:
        """Give the axis of pixels of a size `step`, the first of which begins at `start` in the CRS."""
        pixels = start / step
        first = math.floor(pixels + _ANCHOR)
        return cls(first, round(pixels - first, PHASE_DIGITS), step)

    def window(self, start: float) -> Axis:
        """Give the same axis from another pixel on, which begins at `start` in the CRS."""
        return Axis(round(start / self.step - self.phase), self.phase, self.step)

    def coordinates(self, pixels: Floats) -> Floats:
        """Give coordinates in the CRS of points, counted in pixels from the start of the first one."""
        coordinates: Floats = self.step * (self.first + pixels + self.phase)
        return coordinates

    def positions_in(self, start: float, step: float, pixels: Floats) -> Floats:
        """Give positions of points on another axis of the same CRS.

        Args:
            start, step: Of the other axis: where its first pixel begins, and its step, in units of the CRS.
            pixels: Points, counted in pixels from the start of the first one of this axis.

        Returns:
            Pixels of the other axis, counted from the start of its first one.
        """
        # Counted from the pixel that is nearest to `start`, numbers are small and lose no digits. The position of that
        # pixel is exact, so that the result depends on nothing but both axes and the number of the pixel.
        nearest = round(start / self.step - self.phase)
        offset = (Fraction(self.step) * (nearest + Fraction(self.phase)) - Fraction(start)) / Fraction(step)
        return float(offset) + self.step / step * (self.first - nearest + pixels)
