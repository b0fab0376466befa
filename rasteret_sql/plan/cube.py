"""The cube of a read: files and their bands, assigned to arrays (group, y, x) on one grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import check_known_bands, value_of_band
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io.stores import redact
from rasteret_sql.plan.dtypes import cast_nodata, common_dtype, require_castable
from rasteret_sql.plan.mosaics import FLOATING, mosaic_dtype
from rasteret_sql.plan.native_grid import named
from rasteret_sql.plan.places import touches
from rasteret_sql.plan.scaling import physical_band, scaling_of
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.tiff.nodata import fill_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.clip import Clip
    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.places import Places, Window
    from rasteret_sql.plan.scaling import Scaling
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan

#: How to read files whose stored values mean different things.
_SCALING_REMEDY: Final = "read physical values, with mask_and_scale=True, or read them apart"


@dataclass(frozen=True, slots=True)
class CubeBand:
    """One band of a cube.

    Attributes:
        name: the requested name.
        source_dtype: dtype of decoded pixels: that of the files, or that of the caller.
        dtype: dtype of the array, which differs for means, medians and counts.
        nodata: the value of pixels without data, or None if no value is free.
        fill: the same value, or 0 if there is none.
        is_filled: whether invalid pixels of the files may hold other values.
        has_mask: whether only a mask identifies pixels with data.
        mask_kinds: origins of the masks of its files.
        scale, offset, unit: a physical value is the stored value times `scale` plus `offset`, in `unit`; or None.
        is_physical: whether the array holds physical values, NaN where pixels are not valid. Each file then has its own
            scale and offset, and `scale` and `offset` are None.
        method: resampling method.
        mosaic: rule for overlapping items, or None if items do not overlap.
    """

    name: str
    source_dtype: np.dtype[Any]
    dtype: np.dtype[Any]
    nodata: float | None
    fill: Any
    is_filled: bool
    has_mask: bool
    mask_kinds: frozenset[MaskKind]
    scale: float | None
    offset: float | None
    unit: str | None
    method: str
    mosaic: str | None
    is_physical: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """The bands of files that make up a cube, one element each, ordered by group, band and the query's order.

    Attributes:
        asset_no, band: the file in the plan, and the number of the band in it.
        group, place: its slice: `place` is a position in the bands of the cube.
        start, end: its rows in the plan; `end` is exclusive.
    """

    asset_no: npt.NDArray[np.int64]
    band: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Count them."""
        return len(self.asset_no)

    def __reduce__(self) -> tuple[Callable[..., Sources], tuple[Any, ...]]:
        """Pickle one array in place of six."""
        return _sources_of, (np.stack(self._columns()),)

    def take(self, picked: npt.NDArray[np.int64]) -> Sources:
        """Give some of them."""
        return Sources(*(column[picked] for column in self._columns()))

    def _columns(self) -> list[npt.NDArray[np.int64]]:
        return [self.asset_no, self.band, self.group, self.place, self.start, self.end]


def _sources_of(columns: npt.NDArray[np.int64]) -> Sources:
    return Sources(*columns)


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """The plan of a read into arrays (group, y, x), one per band.

    Attributes:
        box: the grid of the arrays.
        bands: in requested order.
        group_count: length of the first axis.
        plan: the tiles, by file and band.
        sources: the slice of each band of a file.
        whole: the grid that contains `box`. It decides the width of kernels.
        clip: the geometry in `whole` that limits the read, or None.
    """

    box: GeoBox
    bands: tuple[CubeBand, ...]
    group_count: int
    plan: TilePlan
    sources: Sources
    whole: GeoBox
    clip: Clip | None = None

    @property
    def window(self) -> tuple[int, int, int, int]:
        """(row_off, col_off, height, width) of `box` in `whole`."""
        return _window_in(self.whole, self.box)

    def located(
        self, source: int, box: GeoBox, places: Places
    ) -> tuple[Window, tuple[int, int] | None, npt.NDArray[np.int64]] | None:
        """Locate a part of the grid in a source; None where the source has no tile there.

        Args:
            source: number of the source.
            box: the part of the grid.
            places: locates grids in the files.

        Returns:
            Window and first pixel, as `Places.window` gives them, and the rows of the plan that the window touches.
        """
        asset = self.plan.assets[self.sources.asset_no[source]]
        found = places.window(asset, box, self.bands[self.sources.place[source]].method)
        if found is None:
            return None
        rows = np.arange(self.sources.start[source], self.sources.end[source])
        rows = rows[touches(self.plan, rows, asset, found[0])]
        return (*found, rows) if len(rows) else None

    def part(
        self, bands: Sequence[int], groups: slice, box: GeoBox, picked: npt.NDArray[np.int64], places: Places
    ) -> Cube:
        """Give the cube of some bands and groups in a part of the grid, without other files and tiles.

        Args:
            bands: positions of the bands, ascending.
            groups: the groups, with a start and an end.
            box: the part of the grid.
            picked: the sources of those bands and groups.
            places: where grids lie in the files.
        """
        taken, parts = [], [np.empty(0, np.int64)]
        for source in picked.tolist():
            found = self.located(source, box, places)
            if found is not None:
                taken.append(source)
                parts.append(found[2])
        sources = self.sources.take(np.array(taken, np.int64))
        counts = np.array([len(rows) for rows in parts[1:]], np.int64)
        used, asset_no = np.unique(sources.asset_no, return_inverse=True)
        plan = self.plan.take(np.concatenate(parts)).with_assets(used)
        ends = np.cumsum(counts)
        return Cube(
            box=box,
            bands=tuple(self.bands[place] for place in bands),
            group_count=groups.stop - groups.start,
            plan=plan,
            sources=Sources(
                asset_no=asset_no,
                band=sources.band,
                group=sources.group - groups.start,
                place=np.searchsorted(bands, sources.place),
                start=ends - counts,
                end=ends,
            ),
            whole=self.whole,
            clip=None if self.clip is None else self.clip.near(_window_in(self.whole, box)),
        )


def _window_in(whole: GeoBox, part: GeoBox) -> tuple[int, int, int, int]:
    """Give (row_off, col_off, height, width) of a part of a grid."""
    a, _, c, _, e, f = whole.transform
    return round((part.transform[5] - f) / e), round((part.transform[2] - c) / a), part.height, part.width


def is_covered(cube: Cube, place: int, places: Places) -> bool:
    """Whether files without masks have all pixels of a band, on the very grid of the cube, which no geometry clips."""
    if cube.clip is not None or cube.bands[place].mask_kinds != {MaskKind.NONE}:
        return False
    full = set()
    for number in np.flatnonzero(cube.sources.place == place).tolist():
        found = cube.located(number, cube.box, places)
        if found is None or found[1] is None or found[0].shape != (cube.box.height, cube.box.width):
            continue
        window, layout = found[0], cube.plan.assets[cube.sources.asset_no[number]].format
        down = -(-window.row_end // layout.tile_height) - window.row_off // layout.tile_height
        across = -(-window.col_end // layout.tile_width) - window.col_off // layout.tile_width
        if len(found[2]) == down * across:
            full.add(int(cube.sources.group[number]))
    return len(full) == cube.group_count


def make_cube(
    plan: TilePlan,
    box: GeoBox,
    group_of: npt.NDArray[np.int64],
    position: npt.NDArray[np.int64],
    *,
    mosaic: str | None,
    resampling: Mapping[str, str],
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
    clip: Clip | None = None,
    is_by_item: bool = False,
    is_physical: bool = False,
) -> Cube:
    """Assign the bands of files to the arrays of a cube.

    Args:
        plan: the tiles; at least one.
        box: the grid.
        group_of: the group of each asset of the plan.
        position: rank of each asset in a mosaic.
        mosaic: rule for overlapping assets of a group. None means that a group has one asset per band.
        resampling: method by band, or by asset; "*" is for all others.
        dtypes: dtypes of the caller, in the same form. All other bands have the dtype of their files.
        clip: the geometry in `box` that limits the cube.
        is_by_item: whether the caller reads each item alone, so that files of a band may differ in dtype and scale. The
            bands then describe the first file.
        is_physical: whether the arrays hold physical values, each by the scale and offset of its file. Files of a band
            may then differ in dtype, scale and offset.

    Raises:
        InvalidArgumentError: files of one band have two dtypes, or two of one group one band, and `mosaic` is None; or
            `resampling` or `dtypes` names a band that is not read.
    """
    found, dtypes = bands_of(plan.assets), dtypes or {}
    for name, values in (("resampling", resampling), ("dtype", dtypes)):
        check_known_bands(name, values, [band.name for band in found])
    places = {band.name: number for number, band in enumerate(found)}
    order = np.lexsort((plan.tile_offset, plan.band, plan.asset_no))
    # Plans of files with one band are in that order.
    if (np.diff(order) < 0).any():
        plan = plan.take(order)
    new = np.flatnonzero(np.diff(plan.asset_no, prepend=-1) | np.diff(plan.band, prepend=-1))
    asset_no, band_no = plan.asset_no[new], plan.band[new].astype(np.int64)
    name_of = {
        (number, band.band): places[band.name] for number, asset in enumerate(plan.assets) for band in asset.bands
    }
    place = np.array([name_of[key] for key in zip(asset_no.tolist(), band_no.tolist(), strict=True)], np.int64)
    sources = Sources(asset_no, band_no, group_of[asset_no], place, new, np.append(new[1:], len(plan)))
    sources = sources.take(np.lexsort((asset_no, position[asset_no], place, sources.group)))
    if mosaic is None:
        _check_alone(plan.assets, sources, found)
    group_count = int(group_of.max()) + 1
    bands = [
        _cube_band(
            _BandFacts.of(
                plan, sources, number, each, value_of_band(dtypes, each.name), is_apart=is_by_item or is_physical
            ),
            mosaic,
            value_of_band(resampling, each.name) or "nearest",
            is_physical=is_physical,
        )
        for number, each in enumerate(found)
    ]
    if clip is not None:
        # No stored value of a complex number tells that a pixel is outside.
        bands = [
            replace(band, has_mask=band.has_mask or (band.dtype.kind == "c" and not band.is_physical)) for band in bands
        ]
    return Cube(box, tuple(bands), group_count, plan, sources, whole=box, clip=clip)


def bands_of(assets: Sequence[PlannedAsset]) -> list[PlannedBand]:
    """Give the bands of some files in requested order. The first asset key wins if several files have a band."""
    # Files of one asset may have bands of one number and other names.
    first: dict[tuple[int, str, int, str], PlannedBand] = {}
    for asset in assets:
        for band in asset.bands:
            first.setdefault((band.position, asset.asset, band.band, band.name), band)
    bands: dict[str, PlannedBand] = {}
    for key in sorted(first, key=lambda key: key[:3]):
        bands.setdefault(first[key].name, first[key])
    return list(bands.values())


def check_no_second(assets: Sequence[PlannedAsset], key_of: Callable[[PlannedAsset], Any], column: str) -> None:
    """Refuse files of one item that have the same band.

    Args:
        assets: the files.
        key_of: returns the key of the item of an asset.
        column: the column of the index that the remedy names.

    Raises:
        InvalidArgumentError: two files have one band of an item.
    """
    owners: dict[Any, str] = {}
    for asset in assets:
        for band in asset.bands:
            here = f"band {band.band} of {redact(asset.href)}"
            other = owners.setdefault((key_of(asset), band.name), here)
            if other != here:
                raise InvalidArgumentError(
                    f'band "{band.name}" of item {asset.item_id}: got two, {other} and {here}, expected one; '
                    f"tell them apart in the query, for example by their {column}"
                )


def check_same_scaling(
    first: tuple[PlannedAsset, PlannedBand], other: tuple[PlannedAsset, PlannedBand], remedy: str
) -> None:
    """Refuse to compute with stored values of two files where they stand for other physical ones in each.

    Args:
        first, other: files, each with its band.
        remedy: what the message ends with.

    Raises:
        InvalidArgumentError: the bands have different scales or offsets.
    """
    (asset, band), (other_asset, other_band) = first, other
    if scaling_of(band) != scaling_of(other_band):
        raise InvalidArgumentError(
            f'band "{band.name}": {named(asset)} has scale {band.scale} and offset {band.offset}, '
            f"{named(other_asset)} {other_band.scale} and {other_band.offset}, expected the same; {remedy}"
        )


def _check_alone(assets: Sequence[PlannedAsset], sources: Sources, bands: Sequence[PlannedBand]) -> None:
    same = (np.diff(sources.group) == 0) & (np.diff(sources.place) == 0)
    if not same.any():
        return
    first = int(np.flatnonzero(same)[0])
    pair = [
        f"band {sources.band[number]} of {redact(assets[sources.asset_no[number]].href)}"
        for number in (first, first + 1)
    ]
    raise InvalidArgumentError(
        f'band "{bands[sources.place[first]].name}" of item {assets[sources.asset_no[first]].item_id}: got two, '
        f"{pair[0]} and {pair[1]}, expected one; tell them apart in the query, for example by their href, or make "
        'one of them with groupby="id"'
    )


@dataclass(frozen=True, slots=True)
class _BandFacts:
    """What is known of a band in all of its files.

    Attributes:
        band: in the first of its files.
        dtype: dtype of decoded pixels.
        nodatas: nodata values in that dtype; None for files without one.
        is_dropped: whether the dtype cannot hold the nodata value of a file.
        kinds: where the masks of its files come from.
        scalings: scale and offset of its files.
    """

    band: PlannedBand
    dtype: np.dtype[Any]
    nodatas: tuple[float | None, ...]
    is_dropped: bool
    kinds: frozenset[MaskKind]
    scalings: frozenset[Scaling]

    @classmethod
    def of(
        cls,
        plan: TilePlan,
        sources: Sources,
        number: int,
        band: PlannedBand,
        wanted: np.dtype[Any] | None,
        *,
        is_apart: bool,
    ) -> _BandFacts:
        """Collect the facts of a band in all of its files.

        Args:
            plan: the tiles.
            sources: the slice of each band of a file.
            number: of the band in the cube.
            band: the band.
            wanted: the requested dtype, or None.
            is_apart: whether stored values of two files never meet, so that they may mean different things.

        Raises:
            InvalidArgumentError: the files have two dtypes, scales or offsets, and their stored values meet.
        """
        mine = np.flatnonzero(sources.place == number)
        known: dict[tuple[Any, ...], tuple[PlannedAsset, PlannedBand]] = {}
        kinds: set[MaskKind] = set()
        for asset_no, band_no, start in zip(
            sources.asset_no[mine].tolist(), sources.band[mine].tolist(), sources.start[mine].tolist(), strict=True
        ):
            asset = plan.assets[asset_no]
            each = next(each for each in asset.bands if each.band == band_no)
            known.setdefault((asset.dtype, repr(each.nodata), *scaling_of(each)), (asset, each))
            kinds.add(MaskKind(plan.mask_kind[start]))
        (first, first_band), *others = known.values()
        for asset, each in () if is_apart else others:
            if asset.dtype != first.dtype and wanted is None:
                raise InvalidArgumentError(
                    f'band "{band.name}": {named(first)} is {first.dtype} and {named(asset)} is {asset.dtype}, '
                    f'expected one dtype; give dtype="{common_dtype(first.dtype, asset.dtype)}", or read them apart, '
                    f"each with a condition in the query: WHERE dtype = '{first.dtype}'"
                )
            check_same_scaling((first, first_band), (asset, each), _SCALING_REMEDY)
        dtypes = {asset.dtype for asset, _ in known.values()}
        if wanted is None and len(dtypes) > 1:
            wanted = common_dtype(*dtypes)
        if wanted is None:
            wanted, cast = np.dtype(first.dtype), [each.nodata for _, each in known.values()]
        else:
            for asset, _ in known.values():
                require_castable(named(asset), np.dtype(asset.dtype), wanted)
            cast = [cast_nodata(np.dtype(asset.dtype), each.nodata, wanted) for asset, each in known.values()]
        is_dropped = any(
            new is None and each.nodata is not None for new, (_, each) in zip(cast, known.values(), strict=True)
        )
        nodatas = tuple({repr(value): value for value in cast}.values())
        scalings = frozenset(scaling_of(each) for _, each in known.values())
        return cls(replace(first_band, name=band.name), wanted, nodatas, is_dropped, frozenset(kinds), scalings)


def _cube_band(facts: _BandFacts, mosaic: str | None, method: str, *, is_physical: bool) -> CubeBand:
    """Choose dtype, nodata value and fill of the array of a band."""
    dtype, kinds, nodatas = mosaic_dtype(mosaic, facts.dtype), facts.kinds, facts.nodatas
    nodata = nodatas[0] if len(nodatas) == 1 else None
    if mosaic == "count":
        nodata, has_mask = None, False
    elif dtype.kind == "c":
        # The real part alone tells that a complex number is nodata: it is no value that others could be told from.
        nodata, has_mask = None, kinds != {MaskKind.NONE}
    elif (dtype.kind == "f" and nodata is None) or mosaic in FLOATING:
        # A float has a value that no pixel with data has.
        nodata, has_mask = np.nan, bool(kinds & {MaskKind.MASK, MaskKind.ALPHA}) and mosaic not in FLOATING
    else:
        has_mask = nodata is None or not _holds(dtype, nodata) or kinds != {MaskKind.NODATA}
    band = CubeBand(
        name=facts.band.name,
        source_dtype=facts.dtype,
        dtype=dtype,
        nodata=nodata,
        fill=fill_value(dtype, nodata),
        # A float may be nodata without being equal to it.
        is_filled=bool(kinds & {MaskKind.MASK, MaskKind.ALPHA} and dtype.kind != "c")
        or (MaskKind.NODATA in kinds and (len(nodatas) > 1 or (dtype.kind == "f" and not np.isnan(nodata or 0.0))))
        or facts.is_dropped,
        has_mask=has_mask,
        mask_kinds=kinds,
        scale=None if mosaic == "count" else facts.band.scale,
        offset=None if mosaic == "count" else facts.band.offset,
        unit=None if mosaic == "count" else facts.band.unit,
        method=method,
        mosaic=mosaic,
    )
    return physical_band(band, facts.scalings) if is_physical else band


def _holds(dtype: np.dtype[Any], nodata: float) -> bool:
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return bool(np.isfinite(nodata)) and nodata == int(nodata) and limits.min <= nodata <= limits.max
