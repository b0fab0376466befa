"""Values of bands that a caller gives to a build, in place of those of headers and of the source. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping  # noqa: TC003 - dataclasses look annotations up
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import value_of_band
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.nodata import checked_nodata
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.tiff.gdal_metadata import parse_nodata

if TYPE_CHECKING:
    from rasteret_sql.tiff.model import Header


@dataclass(frozen=True, slots=True)
class GivenBands:
    """Values by band: an asset key, or a band of an asset ("visual:red"), or "*" for all others.

    Attributes:
        scales, offsets, nodata: what takes the place of the fields of `bands` in the index.
    """

    scales: Mapping[str, float] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)
    nodata: Mapping[str, float | int] = field(default_factory=dict)

    @classmethod
    def of(cls, scales: Any, offsets: Any, nodata: Any) -> GivenBands:
        """Check the arguments of these names: a number, or a mapping of bands to numbers, or None.

        Raises:
            InvalidArgumentError: an argument holds no such numbers.
        """
        scaling = GivenScaling.of(scales, offsets)
        return cls(scaling.scales, scaling.offsets, checked_nodata(nodata))

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.scales or self.offsets or self.nodata)

    def named(self) -> dict[str, str]:
        """Give the assets that values are given for, and the argument that names each."""
        return {
            band.partition(":")[0]: name for name, values in self._values().items() for band in values if band != "*"
        }

    def definition(self) -> dict[str, Any]:
        """Give the arguments as JSON can hold them, without those that are empty."""
        return {
            name: {band: value if math.isfinite(value) else str(value) for band, value in values.items()}
            for name, values in self._values().items()
            if values
        }

    @classmethod
    def of_definition(cls, values: Mapping[str, Any]) -> GivenBands:
        """Read what `definition` wrote; other keys are ignored."""
        nodata = {
            band: float(one) if isinstance(one, str) else one for band, one in (values.get("nodata") or {}).items()
        }
        return cls.of(values.get("scales"), values.get("offsets"), nodata or None)

    def applied(self, bands: list[dict[str, Any]], asset: str, header: Header) -> list[dict[str, Any]]:
        """Give the bands of a file with these values.

        Args:
            bands: with the fields of `bands` in the index.
            asset: key of the asset.
            header: of the file.

        Raises:
            InvalidArgumentError: the asset has no band of that name, its pixels cannot have a nodata value, or a mask,
                and no value, says which of its pixels are valid.
        """
        names = [asset] if len(bands) == 1 else [f"{asset}:{band['name']}" for band in bands]
        numbered = {f"{asset}:{band['band']}": name for band, name in zip(bands, names, strict=True)}
        found = [dict(band) for band in bands]
        for key, values in (("scale", self.scales), ("offset", self.offsets), ("nodata", self.nodata)):
            by_name = {numbered.get(band, band): value for band, value in values.items()}
            unknown = next((band for band in by_name if band.startswith(f"{asset}:") and band not in names), None)
            if unknown is not None:
                raise InvalidArgumentError(f"{key}: got band '{unknown}', expected one of {', '.join(names)}")
            for band, name in zip(found, names, strict=True):
                value = value_of_band(by_name, name)
                if value is not None and not band["is_alpha"]:
                    band.update(_nodata(value, name, header) if key == "nodata" else {key: value})
        return found

    def _values(self) -> dict[str, Mapping[str, Any]]:
        return {"scales": self.scales, "offsets": self.offsets, "nodata": self.nodata}


@lru_cache(maxsize=64)
def given_of(text: str) -> GivenBands:
    """Read the arguments that `read_headers` passes as JSON.

    Raises:
        InvalidArgumentError: an argument holds no numbers.
    """
    values = json.loads(text)
    return GivenBands.of(values.get("scales"), values.get("offsets"), values.get("nodata"))


def _nodata(value: float, name: str, header: Header) -> dict[str, Any]:
    """Give the fields of a band that its nodata value decides."""
    level = header.levels[0]
    if level.mask is not None or any(band.is_alpha for band in header.bands):
        raise InvalidArgumentError(
            f'nodata: got {value} for band "{name}" of a file with a mask or an alpha band that says which pixels are '
            "valid, expected files without; give values for other bands only"
        )
    exact, note = parse_nodata(str(value), level.format.dtype)
    if note is not None or exact is None:
        raise InvalidArgumentError(
            f'nodata: got {value} for band "{name}", expected a value that {level.format.dtype} pixels can have'
        )
    beyond = isinstance(exact, int) and int(float(exact)) != exact
    return {"nodata": float(exact), "nodata_integer": exact if beyond else None}
