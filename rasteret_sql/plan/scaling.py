"""Physical values of bands: stored values times a scale plus an offset. The only place that computes them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping  # noqa: TC003 - dataclasses look annotations up
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import check_flag, check_known_bands, checked_by_band, number_of, shown, value_of_band
from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.cube import CubeBand
    from rasteret_sql.plan.tile_plan import PlannedBand

#: Scale and offset.
Scaling = tuple[float, float]
#: Stored steps from zero up to which float32, with its 24 bits, has 16 values and more between two of them.
_FLOAT32_STEPS: Final = 1 << 20
_EXPECTED: Final = "{}, or such numbers by band, as in {{'red': {}}}"


@dataclass(frozen=True, slots=True)
class GivenScaling:
    """Scales and offsets of a caller, in place of those of the files.

    Attributes:
        scales, offsets: by band, as `value_of_band` looks them up. What is not given stays that of the files.
    """

    scales: Mapping[str, float] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, scales: Any, offsets: Any, *, is_used: bool = True) -> GivenScaling:
        """Check the arguments of these names: a number, or a mapping of bands to numbers, or None.

        Args:
            scales, offsets: the arguments.
            is_used: whether physical values are computed, or scale and offset are part of the result.

        Raises:
            InvalidArgumentError: an argument holds no such numbers, or has no effect.
        """
        check_flag("scale", is_used)
        given = cls(
            checked_by_band("scales", scales, scale_of, _EXPECTED.format("a number other than 0", 0.0001)),
            checked_by_band("offsets", offsets, finite_of, _EXPECTED.format("a number", -0.1)),
        )
        for name, values in (("scales", scales), ("offsets", offsets)):
            if values is not None and not is_used:
                raise InvalidArgumentError(
                    f"{name}: got {shown(values)} for stored values, expected scale=True, for physical values"
                )
        return given

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.scales or self.offsets)

    def applied(self, files: Sequence[tuple[PlannedBand, ...]]) -> list[tuple[PlannedBand, ...]]:
        """Give the bands of some files with these scales and offsets.

        Args:
            files: the bands that are read of each file.

        Raises:
            InvalidArgumentError: no file has a band of that name.
        """
        names = [band.name for bands in set(files) for band in bands]
        if not self or not names:
            return list(files)
        for name, values in (("scales", self.scales), ("offsets", self.offsets)):
            check_known_bands(name, values, sorted(names))
        known = {bands: tuple(map(self._applied, bands)) for bands in set(files)}
        return [known[bands] for bands in files]

    def _applied(self, band: PlannedBand) -> PlannedBand:
        scale, offset = value_of_band(self.scales, band.name), value_of_band(self.offsets, band.name)
        return replace(
            band,
            scale=band.scale if scale is None else scale,
            offset=band.offset if offset is None else offset,
        )


def finite_of(value: Any) -> float | None:
    """Give a finite number; None where it is none."""
    number = number_of(value)
    return number if number is not None and math.isfinite(number) else None


def scale_of(value: Any) -> float | None:
    """Give a finite number other than 0; None where it is none."""
    return finite_of(value) or None


def scaling_of(band: PlannedBand | CubeBand) -> Scaling:
    """Give scale and offset of a band; a band without them has 1 and 0."""
    return 1.0 if band.scale is None else band.scale, 0.0 if band.offset is None else band.offset


def physical_dtype(stored: np.dtype[Any], scalings: Collection[Scaling]) -> np.dtype[Any]:
    """Give the smallest float type that holds stored values exactly, and tells their physical values apart.

    float32 rounds physical values to less than 1/32 of the step between two stored ones. Otherwise it is float64.

    Args:
        stored: dtype of the stored values.
        scalings: scale and offset of each file.
    """
    dtype = np.result_type(stored, np.float32)
    if dtype != np.float32 or stored.kind not in "iu":
        return dtype
    limits = np.iinfo(stored)
    beyond = max((abs(offset) / (abs(scale) or 1.0) for scale, offset in scalings), default=0.0)
    steps = max(abs(int(limits.min)), int(limits.max)) + beyond
    return dtype if steps <= _FLOAT32_STEPS else np.dtype(np.float64)


def physical_band(band: CubeBand, scalings: Collection[Scaling]) -> CubeBand:
    """Give a band whose array holds the physical values of its files, NaN where pixels are not valid.

    Args:
        band: the band with stored values.
        scalings: scale and offset of its files.
    """
    stored = band.dtype if band.mosaic == "count" else band.source_dtype
    return replace(
        band,
        dtype=physical_dtype(stored, scalings),
        nodata=np.nan,
        fill=np.nan,
        is_filled=True,
        has_mask=False,
        scale=None,
        offset=None,
        is_physical=True,
    )


def to_physical(values: npt.NDArray[Any], scaling: Scaling, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Give stored values as physical ones, in a new array of a float dtype."""
    physical = values.astype(dtype)
    make_physical(physical, scaling)
    return physical


def make_physical(values: npt.NDArray[Any], scaling: Scaling) -> None:
    """Make stored values physical, in place; they are of a float dtype."""
    scale, offset = scaling
    # A product with 1 and a sum with 0 would cost as much as any other.
    if scale != 1.0:
        values *= values.dtype.type(scale)
    if offset != 0.0:
        values += values.dtype.type(offset)
