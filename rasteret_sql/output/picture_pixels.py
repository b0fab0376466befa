"""The pixels of a picture: items on top of each other, as many as it takes until nothing shines through."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.output.formula_values import item_values, put_together
from rasteret_sql.plan.cube import make_cube
from rasteret_sql.plan.places import Places, Window, cover_of, lattice_of, pixel_map
from rasteret_sql.plan.requests import plan_requests
from rasteret_sql.plan.scaling import scaling_of
from rasteret_sql.read.assembly import read_cube
from rasteret_sql.wording import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.clip import Clip
    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.cube import Cube
    from rasteret_sql.plan.expressions import Expression
    from rasteret_sql.plan.places import Lattice
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan

    Mask = npt.NDArray[np.bool_]

#: Items of the third round that are read although they may be hidden; the fourth has three times as many, and so on.
_SPARE_ITEMS: Final = 4
_KEPT_FOOTPRINTS: Final = 64
#: Bytes that one picture may fetch.
MAX_BYTES: Final = 2 * 1024**3
#: Bytes of pixels that one picture may decode. Tiles that a sparse file leaves out count: they are averaged too.
MAX_DECODED_BYTES: Final = 64 * 1024**3
#: Bytes of pixels of one file that are decoded at a time; a larger file is read in strips of the picture.
_STRIP_BYTES: Final = 512 * 1024**2
#: Bytes of pixels and masks of the items of a formula that are read together, and of one pixel, at most.
_ITEMS_BYTES: Final = 256 * 1024**2
_VALUE_BYTES: Final = 9


@dataclass(slots=True, eq=False)
class Reading:
    """The pixels of the items that were read so far.

    Attributes:
        values: one array (height, width) per band: stored values, or physical ones where files store them differently.
        valid: booleans (height, width), True where all bands have a value.
        item_ids: the items that were read.
        levels: the levels that were read of them.
        requests, nbytes: requests and bytes that were fetched.
    """

    values: list[npt.NDArray[Any]]
    valid: Mask
    item_ids: list[str] = field(default_factory=list)
    levels: set[int] = field(default_factory=set)
    requests: int = 0
    nbytes: int = 0


def with_bands(plan: TilePlan, names: Sequence[str], keys: Sequence[tuple[str, int]] | None = None) -> TilePlan:
    """Reduce a plan to some bands, in that order. Alpha is in the mask already, and left out.

    Args:
        plan: the tiles.
        names: of the bands.
        keys: asset and 1-based number of each, where it is known by them; the band then gets the name. A name alone may
            fit another band: some files call their third band "1".
    """
    by_name = {name: number for number, name in enumerate(names)}
    by_key = None if keys is None else {key: number for number, key in enumerate(keys)}
    assets, kept = [], []
    for asset in plan.assets:
        bands = []
        for band in asset.bands:
            place = by_name.get(band.name) if by_key is None else by_key.get((asset.asset, band.band))
            if place is not None and band.band != asset.alpha_band:
                bands.append(replace(band, name=names[place], position=place))
        assets.append(replace(asset, bands=tuple(bands)))
        kept.append({band.band for band in bands})
    rows = [band in kept[number] for number, band in zip(plan.asset_no.tolist(), plan.band.tolist(), strict=True)]
    return replace(plan.take(np.flatnonzero(rows)), assets=tuple(assets))


def band_names(plan: TilePlan) -> list[str]:
    """Give the names of the bands of a plan but for alpha, in the order in which they were asked for."""
    keys = dict.fromkeys(
        (band.position, asset.asset, band.band, band.name)
        for asset in plan.assets
        for band in asset.bands
        if band.band != asset.alpha_band
    )
    return list(dict.fromkeys(name for *_, name in sorted(keys, key=lambda key: key[:3])))


def used_assets(plan: TilePlan) -> list[PlannedAsset]:
    """Give the files of which a plan has tiles."""
    return [plan.assets[number] for number in np.unique(plan.asset_no).tolist()]


def read_picture(
    plan: TilePlan,
    box: GeoBox,
    rank: npt.NDArray[np.int64],
    *,
    resampling: str,
    mosaic: str,
    formula: Expression | None = None,
    clip: Clip | None = None,
    max_bytes: int = MAX_BYTES,
) -> Reading:
    """Read the bands of a plan onto a grid.

    Args:
        plan: the tiles of one band or more.
        box: the grid.
        rank: of each asset of the plan; items of a lower rank lie on top.
        resampling: how pixels of the files become those of the grid.
        mosaic: one of `MOSAICS`. For "first" and "last", no more items are read than it takes.
        formula: is computed for each item from physical values; its values take the place of those of the bands.
        clip: the geometry in the grid that is shown; or None.
        max_bytes: bytes that may be fetched.

    Raises:
        EmptyReadError: no item has all bands.
        InvalidArgumentError: it would take too many bytes.
        RasteretError: bytes could not be fetched or decoded.
    """
    reader = _Reader(plan, box, rank, resampling, max_bytes, clip, formula, is_last=mosaic == "last")
    if mosaic in {"first", "last"}:
        reader.read_until_covered()
    else:
        reader.add(reader.items, mosaic)
    return reader.reading


class _Reader:
    def __init__(
        self,
        plan: TilePlan,
        box: GeoBox,
        rank: npt.NDArray[np.int64],
        resampling: str,
        max_bytes: int,
        clip: Clip | None,
        formula: Expression | None,
        *,
        is_last: bool,
    ) -> None:
        self._plan, self._box, self._rank = plan, box, -rank if is_last else rank
        self._resampling, self._max_bytes = resampling, max_bytes
        self._clip, self._formula = clip, formula
        shape = box.height, box.width
        #: The pixels that are shown, where there is a pixel.
        self._inside = np.ones(shape, np.bool_) if clip is None else clip.inside((0, 0, *shape))
        self._members = _items(plan)
        kinds = {item: _kind(plan.assets[number] for number in self._members[item]) for item in self._members}
        self._kinds = kinds
        #: Whether files of a band differ in dtype, scale or offset. Then physical values are shown.
        self._is_mixed = _are_mixed(kinds)
        #: Where files lie in the grid, of those that were looked at last.
        self._footprints: dict[tuple[Lattice, Window], tuple[tuple[slice, slice], Mask]] = {}
        #: From the top.
        self.items = sorted(self._members, key=lambda item: min(rank[number] for number in self._members[item]))
        if is_last:
            self.items.reverse()
        self.reading = Reading([], np.zeros((box.height, box.width), np.bool_))

    def read_until_covered(self) -> None:
        """Read items from the top, until no pixel is left that another item has."""
        waiting = self.items
        for round_no in itertools.count():
            taken, waiting = self._next(waiting, int(_SPARE_ITEMS * (2.0 ** (round_no - 1) - 1)))
            if not taken:
                break
            self.add(taken, "first")
        if not self.reading.values:
            # All items are smaller than a pixel, and beside its centre.
            self.add(self.items[:1], "first")

    def _next(self, waiting: list[int], spare: int) -> tuple[list[int], list[int]]:
        """Give the items that are read next, and those that are left.

        An item is left where items above it may have all that it would show. All items under it are left there too, so
        that each pixel is that of the first item that has it.

        Args:
            waiting: items, from the top.
            spare: so many are read although they may be hidden, so that there are few rounds.
        """
        valid = self.reading.valid
        claimed, blocked = np.zeros_like(valid), np.zeros_like(valid)
        taken: list[int] = []
        left: list[int] = []
        for number, item in enumerate(waiting):
            place, needed = self._needed(item)
            if not needed.any():
                continue
            is_hidden = not (needed & ~claimed[place]).any()
            if (is_hidden and spare <= 0) or (needed & blocked[place]).any():
                left.append(item)
                blocked[place] |= needed
                if (blocked | valid | ~self._inside).all():
                    return taken, left + waiting[number + 1 :]
                continue
            spare -= is_hidden
            claimed[place] |= needed
            taken.append(item)
        return taken, left

    def _needed(self, item: int) -> tuple[tuple[slice, slice], Mask]:
        """Give a part of the grid, and the pixels of it that are missing and that an item has."""
        asset = self._plan.assets[self._members[item][0]]
        key = lattice_of(asset), Window(asset.row_off, asset.col_off, asset.row_end, asset.col_end)
        if key not in self._footprints:
            if len(self._footprints) == _KEPT_FOOTPRINTS:
                self._footprints.pop(next(iter(self._footprints)))
            self._footprints[key] = _footprint(*key, self._box)
        place, inside = self._footprints[key]
        return place, inside & self._inside[place] & ~self.reading.valid[place]

    def add(self, items: Sequence[int], mosaic: str) -> None:
        """Read items, and put their pixels where there are none."""
        if self._formula is None:
            values, valid = self._band_values(items, mosaic)
        else:
            shape = self._box.height, self._box.width
            result, valid = put_together(mosaic, shape, self._formula_values(self._formula, items))
            values = [result]
        so_far = self.reading
        if not so_far.values:
            so_far.values, so_far.valid = values, valid
            return
        new = valid & ~so_far.valid
        so_far.values = [np.where(new, each, old) for each, old in zip(values, so_far.values, strict=True)]
        so_far.valid |= new

    def _band_values(self, items: Sequence[int], mosaic: str) -> tuple[list[npt.NDArray[Any]], Mask]:
        """Read the mosaic of each band of some items, and where all bands have a value."""
        groups = np.zeros(len(self._plan.assets), np.int64)
        _, pixels, masks = self._read(items, mosaic, groups, is_physical=self._is_mixed)
        valid = np.logical_and.reduce([mask[0] for mask in masks])
        values = [_real(each[0]) for each in pixels]
        for each in values:
            if each.dtype.kind == "f":
                valid &= np.isfinite(each)
        return values, valid

    def _formula_values(
        self, formula: Expression, items: Sequence[int]
    ) -> Iterator[tuple[npt.NDArray[np.float64], Mask]]:
        """Compute a formula for each of some items; items that store values alike are read together."""
        each = self._box.height * self._box.width * len(band_names(self._plan)) * _VALUE_BYTES
        most = max(1, _ITEMS_BYTES // each)
        for _, same in itertools.groupby(items, self._kinds.__getitem__):
            alike = list(same)
            for start in range(0, len(alike), most):
                batch = alike[start : start + most]
                groups = np.zeros(len(self._plan.assets), np.int64)
                for group, item in enumerate(batch):
                    groups[self._members[item]] = group
                cube, pixels, masks = self._read(batch, "first", groups)
                for group in range(len(batch)):
                    yield item_values(
                        formula, cube, [array[group] for array in pixels], [mask[group] for mask in masks]
                    )

    def _read(
        self, items: Sequence[int], mosaic: str, groups: npt.NDArray[np.int64], *, is_physical: bool = False
    ) -> tuple[Cube, list[npt.NDArray[Any]], list[Mask]]:
        """Read items.

        Args:
            items: whose files are read.
            mosaic: rule for the files of a group.
            groups: the group of each asset of the plan.
            is_physical: whether physical values are read, not stored ones.

        Returns:
            The cube, and pixels and masks (group, height, width) of each of its bands.
        """
        assets = [number for item in items for number in self._members[item]]
        rows = np.flatnonzero(np.isin(self._plan.asset_no, assets))
        cube = make_cube(
            self._plan.take(rows),
            self._box,
            groups,
            self._rank,
            mosaic=mosaic,
            resampling={"*": self._resampling},
            clip=self._clip,
            is_physical=is_physical,
        )
        self.reading.levels |= {self._plan.assets[number].level for number in assets}
        self.reading.item_ids += [self._plan.assets[self._members[item][0]].item_id for item in items]
        shape = cube.group_count, self._box.height, self._box.width
        pixels = [np.empty(shape, band.dtype) for band in cube.bands]
        masks = [np.empty(shape, np.bool_) for _ in cube.bands]
        for rows_of, part in self._parts(cube):
            read_cube(part, [each[:, rows_of] for each in pixels], [each[:, rows_of] for each in masks])
        return cube, pixels, masks

    def _parts(self, cube: Cube) -> list[tuple[slice, Cube]]:
        """Cut a cube into strips whose files are small enough to decode, and add up what they take.

        Raises:
            InvalidArgumentError: it is too much.
        """
        places, sources = Places(cube.whole), np.arange(len(cube.sources))
        height, width = cube.box.height, cube.box.width

        def strip(top: int, end: int) -> tuple[slice, Cube]:
            box = cube.box.window(top, 0, end - top, width)
            groups = slice(0, cube.group_count)
            return slice(top, end), cube.part(range(len(cube.bands)), groups, box, sources, places)

        parts = [strip(0, height)]
        decoded = _decoded_bytes(parts[0][1].plan)
        strips = min(1 + int(decoded.max(initial=0) // _STRIP_BYTES), height)
        if strips > 1:
            edges = [height * number // strips for number in range(strips + 1)]
            parts = [strip(*edge) for edge in itertools.pairwise(edges)]
        requests = [request for _, part in parts for request in plan_requests(part.plan, pixels=True, mask=True)]
        nbytes = self.reading.nbytes + sum(request.nbytes for request in requests)
        for taken, most, verb in (
            (nbytes, self._max_bytes, "fetches"),
            (int(decoded.sum()), MAX_DECODED_BYTES, "decodes"),
        ):
            if taken > most:
                raise InvalidArgumentError(
                    f"index: a picture of {width} x {height} pixels {verb} {size(taken)}, expected {size(most)} at "
                    "most; choose fewer items, a smaller bbox, or files with overviews"
                )
        self.reading.requests += len(requests)
        self.reading.nbytes = nbytes
        return parts


def _items(plan: TilePlan) -> dict[int, list[int]]:
    """Give the assets of each item that has all bands.

    Raises:
        EmptyReadError: no item has.
    """
    names = band_names(plan)
    numbers: dict[tuple[Any, ...], int] = {}
    members: dict[int, list[int]] = {}
    for number in np.unique(plan.asset_no).tolist():
        asset = plan.assets[number]
        item = numbers.setdefault(asset.item, len(numbers))
        members.setdefault(item, []).append(number)
    whole = {
        item: assets
        for item, assets in members.items()
        if {band.name for number in assets for band in plan.assets[number].bands} >= set(names)
    }
    if not whole:
        raise EmptyReadError(
            f"bands: no item of {len(members)} has all of {', '.join(names)}, expected one or more; choose bands that "
            "items have together"
        )
    return whole


def _decoded_bytes(plan: TilePlan) -> npt.NDArray[Any]:
    """Give the bytes of the pixels of each file's tiles."""
    itemsize = np.array([np.dtype(asset.dtype).itemsize for asset in plan.assets], np.int64)
    pixels = plan.height.astype(np.int64) * plan.width
    return np.bincount(plan.asset_no, pixels * itemsize[plan.asset_no], len(plan.assets))


def _footprint(lattice: Lattice, window: Window, box: GeoBox) -> tuple[tuple[slice, slice], Mask]:
    """Give the part of a grid where a window of files lies, and the pixels of it whose centre is in the window."""
    cover = cover_of(lattice, window, box, box)
    if cover is None:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.bool_)
    part = box.window(cover.row_off, cover.col_off, *cover.shape)
    rows, cols = pixel_map(lattice, part, box).centres()
    down = (rows >= window.row_off) & (rows < window.row_end)
    across = (cols >= window.col_off) & (cols < window.col_end)
    inside = down[:, np.newaxis] & across if down.ndim == 1 else down & across
    return (slice(cover.row_off, cover.row_end), slice(cover.col_off, cover.col_end)), inside


def _kind(assets: Iterator[PlannedAsset]) -> frozenset[tuple[Any, ...]]:
    """Give the meaning of the values of an item's bands."""
    return frozenset((band.name, asset.dtype, *scaling_of(band)) for asset in assets for band in asset.bands)


def _are_mixed(kinds: Mapping[int, frozenset[tuple[Any, ...]]]) -> bool:
    """Whether a band means one thing in one item and another in the next."""
    every = frozenset().union(*kinds.values())
    return len({name for name, *_ in every}) < len(every)


def _real(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give the magnitude of complex values."""
    return np.abs(values) if values.dtype.kind == "c" else values
