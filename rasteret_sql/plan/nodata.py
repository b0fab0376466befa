"""Nodata values that a caller gives in place of those of the files. They go into the plan, which all reads follow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.checks import check_known_bands, checked_by_band, value_of_band
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.dtypes import first_misfit
from rasteret_sql.plan.files import Files, Kind
from rasteret_sql.plan.native_grid import named
from rasteret_sql.plan.ragged import spread
from rasteret_sql.plan.tile_plan import MaskKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan


def checked_nodata(nodata: Any) -> dict[str, float | int]:
    """Give nodata values by band, "*" for all others; none where nothing is given.

    Raises:
        InvalidArgumentError: they are no numbers.
    """
    return checked_by_band("nodata", nodata, _number, "a number, or a mapping of bands to numbers")


def with_nodata(
    plan: TilePlan, values: Mapping[str, float | int], dtypes: Mapping[str, np.dtype[Any]] | None = None
) -> TilePlan:
    """Give a plan whose bands have other nodata values, in masks and as fill.

    Args:
        plan: the plan of a read.
        values: by band, as `value_of_band` looks them up.
        dtypes: dtypes that pixels are cast to, in the same form.

    Raises:
        InvalidArgumentError: there is no such band, pixels of a band cannot have the value, or a mask of the file, and
            no value, says which of its pixels are valid.
    """
    if not values:
        return plan
    check_known_bands("nodata", values, (band.name for asset in plan.assets for band in asset.bands))
    given = {
        (number, band.band): band.nodata
        for number, asset in enumerate(plan.assets)
        for band in _given(asset, asset.bands, values, dtypes or {})
    }
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
        raise _has_mask(plan.assets[plan.asset_no[masked[0]]])
    rounded = np.array([np.nan if value is None else float(value) for value in found], np.float64)
    return replace(
        plan,
        assets=assets,
        nodata=np.where(is_given, rounded, plan.nodata),
        has_nodata=plan.has_nodata | is_given,
        mask_kind=np.where(is_given, np.uint8(MaskKind.NODATA), plan.mask_kind),
    )


def files_with_nodata(files: Files, values: Mapping[str, float | int]) -> Files:
    """Give files whose bands have other nodata values, as `with_nodata` does for a plan.

    Raises:
        InvalidArgumentError: as there.
    """
    if not values:
        return files
    check_known_bands("nodata", values, (band.name for kind in files.kinds for band in kind.bands))
    return Files(files.columns, [_changed(files, number, values) for number in range(len(files.kinds))], files.crs)


def _changed(files: Files, number: int, values: Mapping[str, float | int]) -> Kind:
    """Give a kind of files whose bands have other nodata values."""
    kind, mine = files.kinds[number], np.flatnonzero(files.column("kind") == number)
    if not len(mine):
        return kind
    asset = files.asset(int(mine[0]), 0)
    given = {band.band: band for band in _given(asset, kind.bands, values, {})}
    levels = spread(files.column("first_level")[mine], files.column("level_count")[mine])
    has_mask = bool(files.column("level_mask_format")[levels].any())
    if any(
        has_mask or (kind.alpha_band not in {None, band.band} and band.nodata is None)
        for band in kind.bands
        if band.band in given
    ):
        raise _has_mask(asset)
    return replace(kind, bands=tuple(given.get(band.band, band) for band in kind.bands))


def _given(
    asset: PlannedAsset,
    bands: tuple[PlannedBand, ...],
    values: Mapping[str, float | int],
    dtypes: Mapping[str, np.dtype[Any]],
) -> list[PlannedBand]:
    """Give the bands of a file that have a value, with it."""
    given = []
    for band in bands:
        value = value_of_band(values, band.name)
        if value is None:
            continue
        own = np.dtype(asset.dtype)
        wanted = value_of_band(dtypes, band.name) or own
        if not (_is_held(value, own) or _is_held(value, wanted)):
            raise InvalidArgumentError(
                f'nodata: got {value} for band "{band.name}" of {named(asset)}, expected a value that {own} pixels can '
                "have"
            )
        given.append(replace(band, nodata=value))
    return given


def _is_held(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind in "iu":
        # Of Python's numbers, which NumPy's integers may not hold.
        limits = np.iinfo(dtype)
        return value == value // 1 and limits.min <= value <= limits.max
    # The real part of a complex number is compared. Floats are rounded, and must stay finite.
    real = np.zeros(0, dtype).real.dtype
    return not np.isfinite(value) or first_misfit(np.array([float(value)]), real) is None


def _has_mask(asset: PlannedAsset) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"nodata: got a value for {named(asset)}, which has a mask or an alpha band that says which pixels are "
        "valid, expected files without; give values for other bands only"
    )


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    number: float | int = value.item() if isinstance(value, np.generic) else value
    return number
