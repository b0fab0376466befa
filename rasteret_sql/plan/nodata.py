"""Nodata values that a caller gives in place of those of the files. They go into the plan, which all reads follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.checks import shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.native_grid import named
from rasteret_sql.plan.tile_plan import MaskKind

if TYPE_CHECKING:
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan

_EXPECTED = "a number, or a mapping of bands to numbers"


def checked_nodata(nodata: Any) -> dict[str, float | int]:
    """Give nodata values by band, "*" for all; none where nothing is given.

    Raises:
        InvalidArgumentError: they are no numbers.
    """
    if nodata is None:
        return {}
    values = dict(nodata) if isinstance(nodata, Mapping) else {"*": nodata}
    for name, value in values.items():
        is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not isinstance(name, str) or not is_number:
            raise InvalidArgumentError(f"nodata: got {shown(nodata)}, expected {_EXPECTED}")
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def with_nodata(plan: TilePlan, values: Mapping[str, float | int]) -> TilePlan:
    """Give a plan whose bands have other nodata values, in masks and as fill.

    Args:
        plan: the plan of a read.
        values: by the name of the band; "*" is for all others.

    Raises:
        InvalidArgumentError: there is no such band, pixels of a band cannot have the value, or a mask of the file, and
            no value, says which of its pixels are valid.
    """
    if not values:
        return plan
    names = {band.name for asset in plan.assets for band in asset.bands}
    unknown = [name for name in values if name != "*" and name not in names]
    if unknown:
        raise InvalidArgumentError(f"nodata: got band {unknown[0]!r}, expected one of {', '.join(sorted(names))}")
    given: dict[tuple[int, int], float | int] = {}
    for number, asset in enumerate(plan.assets):
        for band in asset.bands:
            value = values.get(band.name, values.get("*"))
            if value is not None:
                _require_held(asset, band, value)
                given[number, band.band] = value
    assets = tuple(
        replace(
            asset,
            bands=tuple(replace(band, nodata=given.get((number, band.band), band.nodata)) for band in asset.bands),
        )
        for number, asset in enumerate(plan.assets)
    )
    found = [given.get(key) for key in zip(plan.asset_no.tolist(), plan.band.tolist(), strict=True)]
    is_given = np.array([value is not None for value in found], bool)
    masked = np.flatnonzero(is_given & np.isin(plan.mask_kind, (MaskKind.MASK, MaskKind.ALPHA)))
    if len(masked):
        asset = plan.assets[plan.asset_no[masked[0]]]
        raise InvalidArgumentError(
            f"nodata: got a value for {named(asset)}, which has a mask or an alpha band that says which pixels are "
            "valid, expected files without; give values for other bands only"
        )
    rounded = np.array([np.nan if value is None else float(value) for value in found], np.float64)
    return replace(
        plan,
        assets=assets,
        nodata=np.where(is_given, rounded, plan.nodata),
        has_nodata=plan.has_nodata | is_given,
        mask_kind=np.where(is_given, np.uint8(MaskKind.NODATA), plan.mask_kind),
    )


def _require_held(asset: PlannedAsset, band: PlannedBand, value: float) -> None:
    dtype = np.dtype(asset.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        is_held = value == value // 1 and limits.min <= value <= limits.max
    else:
        kind = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
        with np.errstate(over="ignore"):
            is_held = not np.isfinite(value) or bool(np.isfinite(kind.type(value)))
    if not is_held:
        raise InvalidArgumentError(
            f'nodata: got {value} for band "{band.name}" of {named(asset)}, expected a value that {dtype} pixels can '
            "have"
        )
