"""From a query to a cube: the grid, the groups of items and the bands that a read into arrays has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rasteret_sql.arrays.given_tiles import holds_tiles, plan_given_tiles
from rasteret_sql.arrays.grids import (
    MAX_SCALE,
    GridArguments,
    derived_box,
    given_box,
    is_one_grid,
    on_files_grid,
    onto_grid,
)
from rasteret_sql.arrays.groups import GROUPINGS, agreed, check_groupby, group_keys, members_of
from rasteret_sql.checks import check_choice, check_flag, check_known_bands, shown
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.geo.clip import Clip
from rasteret_sql.geo.crs import same_crs, shortened
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.geo.like import centres_of
from rasteret_sql.geo.resampling import METHODS
from rasteret_sql.plan.cube import Cube, make_cube
from rasteret_sql.plan.dtypes import checked_dtypes
from rasteret_sql.plan.mosaics import MOSAICS
from rasteret_sql.plan.native_grid import native_box
from rasteret_sql.plan.nodata import checked_nodata, with_nodata
from rasteret_sql.sql.index_rows import AssetProperties

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import PlannedAsset
    from rasteret_sql.plan.tiles import WindowPlan, Windows
    from rasteret_sql.sql.planning import PlannedTiles

_HALF_TURN = 180.0
#: Missing times sort behind all others.
_NO_TIME = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class CubeArguments:
    """How items and bands become arrays.

    Attributes:
        grid: what grid.
        resampling: method, or methods by band with "*" for all others.
        groupby: None for a slice per item, one of `GROUPINGS`, or a column of the index.
        mosaic: how items of one group that overlap become one.
        nodata: value, or values by band, that take the place of those of the files; None for those of the files.
        dtype: dtype of pixels, or dtypes by band; None for those of the files.
        all_touched: whether all pixels that the polygon of an area touches are inside it.
        is_by_item: whether the caller reads each item alone; see `make_cube`.
        is_physical: whether arrays hold physical values, NaN where pixels are not valid.
    """

    grid: GridArguments = field(default_factory=GridArguments)
    resampling: str | Mapping[str, str] = "nearest"
    groupby: str | None = None
    mosaic: str = "first"
    nodata: Any = None
    dtype: Any = None
    all_touched: bool = False
    is_by_item: bool = False
    is_physical: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PlannedCube:
    """A cube, and what its groups are; all but `cube` have one element per group, in order of time.

    Attributes:
        cube: what is read.
        level: the level that was read, where all files had the same; or None.
        has_transform: whether the grid is on the ground, or only one of pixels.
        centres: coordinates of pixel centres along x and y where the grid came with them, or None.
        times: of the first item of each group, `datetime64[us]` in UTC, NaT where unknown.
        item_ids: ids of the items of each group, joined by commas.
        collections: of the items; None where unknown or not one.
        item_counts: how many items.
        properties: of the items by name, where all items of each group have the same; masked where NULL.
    """

    cube: Cube
    level: int | None
    has_transform: bool
    centres: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None
    times: npt.NDArray[np.datetime64]
    item_ids: tuple[str, ...]
    collections: tuple[str | None, ...]
    item_counts: npt.NDArray[np.int64]
    properties: dict[str, np.ma.MaskedArray[Any, Any]]


def plan_cube(
    index: Any, arguments: ReadArguments, wanted: CubeArguments, *, with_properties: bool = False
) -> PlannedCube:
    """Plan a read into arrays.

    Args:
        index: rows of an index.
        arguments: what is read; `crs` is that of its area.
        wanted: into what.
        with_properties: whether the properties of items are wanted.

    Raises:
        InvalidArgumentError: an argument is wrong, or the files share no grid and none is given.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
    """
    resampling = _checked_resampling(wanted.resampling, arguments.bands)
    _check_mosaic(wanted)
    nodata, dtypes = checked_nodata(wanted.nodata), checked_dtypes(wanted.dtype)
    check_flag("all_touched", wanted.all_touched)
    check_flag("mask_and_scale", wanted.is_physical)
    check_flag("allow_extreme_scale", wanted.grid.allow_extreme_scale)
    check_groupby(wanted.groupby)
    check_area(arguments)
    box = given_box(arguments, wanted.grid)
    if holds_tiles(index):
        if nodata:
            raise InvalidArgumentError(
                "nodata: got one with rows of read_tiles, expected none: their masks are made already; give the index"
            )
        check_no_area(arguments, has_grid=box is not None)
    # A grid may go on beyond the antimeridian, where a bbox may not.
    is_beyond = box is not None and arguments.bbox is not None and max(map(abs, arguments.bbox[::2])) > _HALF_TURN
    fetched = replace(arguments, bbox=None) if is_beyond and same_crs(arguments.crs, "OGC:CRS84") else arguments
    with plans_of(index, fetched, with_properties=with_properties or wanted.groupby is not None) as plans:
        if box is None:
            assets = plans.files(arguments).assets
            derived = derived_box(assets, arguments, wanted.grid) if wanted.grid.is_given else None
            if derived is None and (wanted.grid.is_given or is_one_grid(assets)):
                planned = plans.plan(arguments)
                planned = replace(planned, plan=with_nodata(planned.plan, nodata, dtypes))
                box = native_box(planned.plan.assets)
                clip = clip_of(arguments, box, wanted.all_touched)
                return _assembled(planned, box, wanted, resampling, dtypes, clip)
            box = derived or native_box(assets)
        max_scale = MAX_SCALE if wanted.grid.is_given and not wanted.grid.allow_extreme_scale else None
        planned = plans.plan(onto_grid(arguments, box, resampling, max_scale=max_scale))
        planned = replace(planned, plan=with_nodata(planned.plan, nodata, dtypes))
    box = on_files_grid(box, planned.plan.assets, arguments, wanted.grid)
    return _assembled(planned, box, wanted, resampling, dtypes, clip_of(arguments, box, wanted.all_touched))


def clip_of(arguments: ReadArguments, box: GeoBox, all_touched: bool) -> Clip | None:  # noqa: FBT001 - a value
    """Give the geometry of a read on its grid; None without one.

    Raises:
        EmptyReadError: the geometry lies outside the grid.
    """
    if arguments.geometry is None:
        return None
    geometry = parse_geometry(arguments.geometry, arguments.crs)
    clip = Clip.of(geometry, arguments.crs, box, all_touched=all_touched)
    if clip is None:
        raise EmptyReadError(
            f"geometry ({arguments.crs}): lies outside the grid in {shortened(box.crs)} with bounds {list(box.bounds)}"
            "; expected a geometry that touches the grid. Check the order (longitude first) and the CRS of both"
        )
    return clip


class Files(Protocol):
    """The files of a read, as `SelectedFiles` has them."""

    @property
    def assets(self) -> tuple[PlannedAsset, ...]:
        """The files."""

    def plan_windows(self, windows: Windows, /) -> WindowPlan:
        """Plan windows of the files."""


class Plans(Protocol):
    """Plans of a read, as `IndexPlans` makes them."""

    def files(self, arguments: ReadArguments, /) -> Files:
        """Give the files of a read."""

    def plan(self, arguments: ReadArguments, /) -> PlannedTiles:
        """Plan their tiles."""


@dataclass(frozen=True, slots=True)
class _GivenPlans:
    """Plans of rows of tiles, which are read as they are."""

    planned: PlannedTiles

    @property
    def assets(self) -> tuple[PlannedAsset, ...]:
        return self.planned.plan.assets

    def files(self, arguments: ReadArguments, /) -> Files:
        del arguments
        return self

    def plan_windows(self, windows: Windows, /) -> WindowPlan:
        from rasteret_sql.plan.given_tiles import plan_given_windows

        return plan_given_windows(self.planned.plan, windows)

    def plan(self, arguments: ReadArguments, /) -> PlannedTiles:
        del arguments
        return self.planned


@contextmanager
def plans_of(index: Any, arguments: ReadArguments, *, with_properties: bool = False) -> Iterator[Plans]:
    """Plan a read of rows of an index or of tiles, once or several times; see `sql.readers.index_plans`."""
    from rasteret_sql.sql.readers import index_plans

    if holds_tiles(index):
        yield _GivenPlans(plan_given_tiles(index, arguments.bands, arguments.scaling))
        return
    with index_plans(index, arguments, with_properties=with_properties) as plans:
        yield plans


def check_no_area(arguments: ReadArguments, *, has_grid: bool) -> None:
    """Refuse what rows of tiles cannot be cut to.

    Raises:
        InvalidArgumentError: a time or level is given, or an area that makes no grid.
    """
    names = ("datetime", "level") if has_grid else ("geometry", "bbox", "datetime", "level")
    given = [name for name in names if getattr(arguments, name) is not None]
    if given:
        raise InvalidArgumentError(
            f"{given[0]}: got one with rows of read_tiles, expected none: they are put together as they are; give it "
            "to read_tiles, or say a grid with crs and resolution"
        )


def check_area(arguments: ReadArguments) -> None:
    """Refuse a bbox whose corners are swapped, or whose coordinates are of another CRS than is said.

    A grid may go on beyond the antimeridian, as in (170, -20, 190, 20), so it may be planned for a bbox that does.

    Raises:
        InvalidArgumentError: `bbox` is wrong.
    """
    if arguments.bbox is None:
        return
    xmin, ymin, xmax, ymax = arguments.bbox
    if same_crs(arguments.crs, "OGC:CRS84"):
        if max(abs(xmin), abs(xmax)) > 2 * _HALF_TURN or max(abs(ymin), abs(ymax)) > _HALF_TURN / 2:
            raise InvalidArgumentError(
                f"bbox: got {list(arguments.bbox)}, expected degrees, longitude -180 to 180 and latitude -90 to 90; "
                'for other coordinates name their CRS, for example geometry_crs="EPSG:32643"'
            )
        if max(abs(xmin), abs(xmax)) > _HALF_TURN and xmin <= xmax and ymin <= ymax:
            return
    arguments.bbox_parts()


def _assembled(
    planned: PlannedTiles,
    box: GeoBox,
    wanted: CubeArguments,
    resampling: Mapping[str, str],
    dtypes: Mapping[str, np.dtype[Any]],
    clip: Clip | None,
) -> PlannedCube:
    """Put a plan's assets into groups, and make a cube of them."""
    plan = planned.plan
    properties = planned.properties or AssetProperties.none(len(plan.assets))
    keys = group_keys(plan.assets, properties, wanted.groupby)
    times = np.array([_NO_TIME if asset.datetime_us is None else asset.datetime_us for asset in plan.assets], np.int64)
    _, first_of, group_of = np.unique(keys, return_index=True, return_inverse=True)
    starts = np.full(len(first_of), _NO_TIME)
    np.minimum.at(starts, group_of, times)
    places = np.full(len(first_of), np.iinfo(np.int64).max)
    np.minimum.at(places, group_of, properties.position)
    order = np.lexsort((first_of, places, starts))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    group_of = rank[group_of]
    cube = make_cube(
        plan,
        box,
        group_of,
        properties.position,
        mosaic=None if wanted.groupby is None else wanted.mosaic,
        resampling=resampling,
        dtypes=dtypes,
        clip=clip,
        is_by_item=wanted.is_by_item,
        is_physical=wanted.is_physical,
    )
    starts = starts[order]
    members = members_of(plan.assets, group_of)
    levels = {asset.level for asset in plan.assets}
    return PlannedCube(
        cube=cube,
        level=next(iter(levels)) if len(levels) == 1 else None,
        has_transform=plan.assets[0].transform is not None,
        centres=None if wanted.grid.like is None else centres_of(wanted.grid.like),
        times=np.where(starts == _NO_TIME, np.datetime64("NaT", "us"), starts.astype("M8[us]")),
        item_ids=tuple(",".join(dict.fromkeys(item_id for _, item_id in each)) for each in members),
        collections=tuple(_one({collection for collection, _ in each}) for each in members),
        item_counts=np.array([len(each) for each in members], np.int64),
        properties=agreed(properties, group_of),
    )


def _one(values: set[str | None]) -> str | None:
    return next(iter(values)) if len(values) == 1 else None


def _checked_resampling(resampling: Any, bands: Sequence[str] | None) -> dict[str, str]:
    """Give methods by band.

    Raises:
        InvalidArgumentError: a method or a band is not known.
    """
    methods = dict(resampling) if isinstance(resampling, Mapping) else {"*": resampling}
    for band, method in methods.items():
        check_choice("resampling" if band == "*" else f"resampling of {shown(band)}", method, METHODS)
    if bands is not None:
        check_known_bands("resampling", methods, bands)
    return {"*": "nearest"} | methods


def _check_mosaic(wanted: CubeArguments) -> None:
    if wanted.groupby is not None and not isinstance(wanted.groupby, str):
        raise InvalidArgumentError(
            f"groupby: got {shown(wanted.groupby)}, expected None, one of {', '.join(GROUPINGS)}, or the name of a "
            "column"
        )
    check_choice("mosaic", wanted.mosaic, MOSAICS)
    if wanted.groupby is None and wanted.mosaic != "first":
        raise InvalidArgumentError(
            f'mosaic: got {shown(wanted.mosaic)} without groupby, expected both; give for example groupby="solar_day"'
        )
