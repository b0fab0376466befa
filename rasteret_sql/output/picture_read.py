"""The pixels of a picture: items on top of each other, as many as it takes until nothing shines through."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.arrays.scaling import scaled
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.plan.cube import make_cube
from rasteret_sql.plan.places import Places, Window, cover_of, lattice_of, pixel_map, touches
from rasteret_sql.plan.requests import plan_requests
from rasteret_sql.read.assembly import read_cube

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.cube import Cube
    from rasteret_sql.plan.places import Lattice
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan

#: Items that are read in the third round beside those that are needed, three times as many in the fourth, and so on.
_SPARE_ITEMS: Final = 4
_KEPT_FOOTPRINTS: Final = 64
#: No picture is worth more.
MAX_BYTES: Final = 2 * 1024**3


@dataclass(slots=True, eq=False)
class Reading:
    """What was read.

    Attributes:
        values: one array (height, width) per band: stored values, or physical ones where files store them differently.
        valid: booleans (height, width), True where all bands have a value.
        item_ids: the items that were read.
        levels: the levels that were read of them.
        requests, nbytes: what was fetched.
    """

    values: list[npt.NDArray[Any]]
    valid: npt.NDArray[np.bool_]
    item_ids: list[str] = field(default_factory=list)
    levels: set[int] = field(default_factory=set)
    requests: int = 0
    nbytes: int = 0


def with_bands(plan: TilePlan, names: Sequence[str]) -> TilePlan:
    """Leave of a plan the bands of some names, in that order, but for alpha, which is in the mask already."""
    places = {name: number for number, name in enumerate(names)}
    kept: list[set[int]] = [
        {band.band for band in asset.bands if band.name in places and band.band != asset.alpha_band}
        for asset in plan.assets
    ]
    assets = tuple(
        replace(
            asset,
            bands=tuple(replace(band, position=places[band.name]) for band in asset.bands if band.band in numbers),
        )
        for asset, numbers in zip(plan.assets, kept, strict=True)
    )
    rows = [band in kept[number] for number, band in zip(plan.asset_no.tolist(), plan.band.tolist(), strict=True)]
    return replace(plan.take(np.flatnonzero(rows)), assets=assets)


def band_names(plan: TilePlan) -> list[str]:
    """Give the names of the bands of a plan but for alpha, in the order in which they were asked for."""
    keys = {
        (band.position, asset.asset, band.band): band.name
        for asset in reversed(plan.assets)
        for band in asset.bands
        if band.band != asset.alpha_band
    }
    return list(dict.fromkeys(keys[key] for key in sorted(keys)))


def read_picture(
    plan: TilePlan,
    box: GeoBox,
    rank: npt.NDArray[np.int64],
    *,
    resampling: str,
    mosaic: str,
    max_bytes: int = MAX_BYTES,
) -> Reading:
    """Read the bands of a plan onto a grid.

    Args:
        plan: the tiles of one band or more.
        box: the grid.
        rank: of each asset of the plan; items of a lower one lie on top.
        resampling: how pixels of the files become those of the grid.
        mosaic: one of `MOSAICS`. Of "first" and "last", no more items are read than it takes.
        max_bytes: what may be fetched.

    Raises:
        EmptyReadError: no item has all bands.
        InvalidArgumentError: it would take more than `max_bytes`, or the mosaic makes values of several items of what
            they store in different ways.
        RasteretError: bytes could not be fetched or decoded.
    """
    return _Reader(plan, box, rank, resampling, max_bytes).read(mosaic)


class _Reader:
    def __init__(
        self, plan: TilePlan, box: GeoBox, rank: npt.NDArray[np.int64], resampling: str, max_bytes: int
    ) -> None:
        self._plan, self._box, self._rank = plan, box, rank
        self._resampling, self._max_bytes = resampling, max_bytes
        self._names = band_names(plan)
        self._members = self._items()
        self._kinds = {item: _kind(plan.assets[number] for number in self._members[item]) for item in self._members}
        #: Files of a band differ in dtype or scale: then physical values are compared.
        self._is_mixed = _are_mixed(self._kinds.values())
        #: Where files lie in the grid, of those that were looked at last.
        self._footprints: dict[tuple[Lattice, Window], tuple[tuple[slice, slice], npt.NDArray[np.bool_]]] = {}
        self._reading = Reading([], np.zeros((box.height, box.width), np.bool_))

    def read(self, mosaic: str) -> Reading:
        items = sorted(self._members, key=lambda item: min(self._rank[number] for number in self._members[item]))
        if mosaic not in {"first", "last"}:
            self._add(items, mosaic, is_scaled=False)
            return self._reading
        waiting = items[::-1] if mosaic == "last" else items
        for round_no in itertools.count():
            taken, waiting = self._next(waiting, int(_SPARE_ITEMS * (2.0 ** (round_no - 1) - 1)))
            if not taken:
                break
            self._add(taken, mosaic, is_scaled=self._is_mixed)
        if not self._reading.values:
            # All of them are smaller than a pixel, and beside its centre.
            self._add(items[:1], mosaic, is_scaled=False)
        return self._reading

    def _items(self) -> dict[int, list[int]]:
        """Give the assets of each item that has all bands.

        Raises:
            EmptyReadError: none has.
        """
        numbers: dict[tuple[Any, ...], int] = {}
        members: dict[int, list[int]] = {}
        for number in np.unique(self._plan.asset_no).tolist():
            asset = self._plan.assets[number]
            item = numbers.setdefault((asset.collection, asset.item_id, asset.datetime_us), len(numbers))
            members.setdefault(item, []).append(number)
        whole = {
            item: assets
            for item, assets in members.items()
            if {band.name for number in assets for band in self._plan.assets[number].bands} >= set(self._names)
        }
        if not whole:
            raise EmptyReadError(
                f"bands: no item of {len(members)} has all of {', '.join(self._names)}, expected one or more; choose "
                "bands that items have together"
            )
        return whole

    def _next(self, waiting: list[int], spare: int) -> tuple[list[int], list[int]]:
        """Give the items that are read next, and those that are left.

        An item is left where items above it may have all that it would show; and with it all that lie under it there,
        so that each pixel is that of the first item that has it.

        Args:
            waiting: items, from the top.
            spare: so many are read although they may be hidden, so that there are few rounds.
        """
        valid = self._reading.valid
        claimed, blocked = valid.copy(), np.zeros_like(valid)
        taken: list[int] = []
        left: list[int] = []
        for number, item in enumerate(waiting):
            place, needed = self._needed(item)
            if not needed.any():
                continue
            is_hidden = not (needed & ~claimed[place]).any()
            is_other = self._is_mixed and bool(taken) and self._kinds[item] != self._kinds[taken[0]]
            if is_other or (is_hidden and spare <= 0) or (needed & blocked[place]).any():
                left.append(item)
                blocked[place] |= needed
                if (blocked | valid).all():
                    return taken, left + waiting[number + 1 :]
                continue
            spare -= is_hidden
            claimed[place] |= needed
            taken.append(item)
        return taken, left

    def _needed(self, item: int) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
        """Give a part of the grid, and the pixels of it that are missing and that an item has."""
        asset = self._plan.assets[self._members[item][0]]
        key = lattice_of(asset), Window(asset.row_off, asset.col_off, asset.row_end, asset.col_end)
        if key not in self._footprints:
            if len(self._footprints) == _KEPT_FOOTPRINTS:
                self._footprints.pop(next(iter(self._footprints)))
            self._footprints[key] = _footprint(*key, self._box)
        place, inside = self._footprints[key]
        return place, inside & ~self._reading.valid[place]

    def _add(self, items: Sequence[int], mosaic: str, *, is_scaled: bool) -> None:
        """Read items, and put their pixels where there are none."""
        assets = [number for item in items for number in self._members[item]]
        rows = np.flatnonzero(np.isin(self._plan.asset_no, assets))
        rank = -self._rank if mosaic == "last" else self._rank
        cube = make_cube(
            self._plan.take(rows),
            self._box,
            np.zeros(len(self._plan.assets), np.int64),
            rank,
            mosaic="first" if mosaic == "last" else mosaic,
            resampling={"*": self._resampling},
        )
        self._count(cube, items)
        shape = 1, self._box.height, self._box.width
        pixels = [np.empty(shape, band.dtype) for band in cube.bands]
        masks = [np.empty(shape, np.bool_) for _ in cube.bands]
        read_cube(cube, pixels, masks)
        valid = np.logical_and.reduce([mask[0] for mask in masks])
        values = [
            _real(scaled(each[0], mask[0], band) if is_scaled else each[0])
            for each, mask, band in zip(pixels, masks, cube.bands, strict=True)
        ]
        for each in values:
            if each.dtype.kind == "f":
                valid &= np.isfinite(each)
        so_far = self._reading
        if not so_far.values:
            so_far.values, so_far.valid = values, valid
            return
        new = valid & ~so_far.valid
        so_far.values = [np.where(new, each, old) for each, old in zip(values, so_far.values, strict=True)]
        so_far.valid |= new

    def _count(self, cube: Cube, items: Sequence[int]) -> None:
        """Add up what a cube takes.

        Raises:
            InvalidArgumentError: it is too much.
        """
        requests = plan_requests(cube.plan.take(_taken_rows(cube)), pixels=True, mask=True)
        nbytes = sum(request.nbytes for request in requests)
        reading = self._reading
        if reading.nbytes + nbytes > self._max_bytes:
            raise InvalidArgumentError(
                f"index: a picture of {self._box.width} x {self._box.height} pixels takes "
                f"{(reading.nbytes + nbytes) / 1024**2:,.0f} MiB, expected {self._max_bytes / 1024**2:,.0f} at most; "
                "choose fewer items, a smaller bbox, or files with overviews"
            )
        reading.requests += len(requests)
        reading.nbytes += nbytes
        for item in items:
            for number in self._members[item]:
                reading.levels.add(self._plan.assets[number].level)
            reading.item_ids.append(self._plan.assets[self._members[item][0]].item_id)


def _footprint(lattice: Lattice, window: Window, box: GeoBox) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
    """Give the part of a grid where a window of files lies, and which of its pixels have their centre in it."""
    cover = cover_of(lattice, window, box, box)
    if cover is None:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.bool_)
    part = box.window(cover.row_off, cover.col_off, *cover.shape)
    rows, cols = pixel_map(lattice, part, box).centres()
    down = (rows >= window.row_off) & (rows < window.row_end)
    across = (cols >= window.col_off) & (cols < window.col_end)
    inside = down[:, np.newaxis] & across if down.ndim == 1 else down & across
    return (slice(cover.row_off, cover.row_end), slice(cover.col_off, cover.col_end)), inside


def _taken_rows(cube: Cube) -> npt.NDArray[np.int64]:
    """Give the rows of a cube's plan whose tiles its grid touches."""
    places, parts = Places(cube.whole), [np.empty(0, np.int64)]
    sources = cube.sources
    for number in range(len(sources)):
        asset = cube.plan.assets[sources.asset_no[number]]
        found = places.window(asset, cube.box, cube.bands[sources.place[number]].method)
        if found is not None:
            rows = np.arange(sources.start[number], sources.end[number])
            parts.append(rows[touches(cube.plan, rows, asset, found[0])])
    return np.sort(np.concatenate(parts))


def _kind(assets: Iterator[PlannedAsset]) -> frozenset[tuple[Any, ...]]:
    """Give what the values of an item's bands mean."""
    return frozenset((band.name, asset.dtype, band.scale, band.offset) for asset in assets for band in asset.bands)


def _are_mixed(kinds: Collection[frozenset[tuple[Any, ...]]]) -> bool:
    found: dict[str, tuple[Any, ...]] = {}
    return any(
        found.setdefault(name, rest) != rest for kind in kinds for name, *more in kind for rest in (tuple(more),)
    )


def _real(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give the magnitude of complex values."""
    return np.abs(values) if values.dtype.kind == "c" else values
