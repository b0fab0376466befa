"""From a query to a cube: the grid, the groups of items and the bands that a read into arrays has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rasteret_sql.arrays.given_tiles import holds_tiles, plan_given_tiles
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.antimeridian import joined_longitudes
from rasteret_sql.geo.crs import normalized_crs, revolution_of, same_crs
from rasteret_sql.geo.geobox import GeoBox, checked_resolution, checked_shape
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.geo.like import geobox_of
from rasteret_sql.geo.project import area_bounds, joint_bounds
from rasteret_sql.geo.resampling import METHODS, reach
from rasteret_sql.plan.cube import Cube, make_cube
from rasteret_sql.plan.mosaics import MOSAICS
from rasteret_sql.plan.native_grid import bounds_of, check_grid, named, native_box
from rasteret_sql.sql.properties import AssetProperties

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.sql.planning import PlannedTiles

#: Ways of grouping items that are no columns.
GROUPINGS = ("id", "time", "day", "solar_day")
_HALF_TURN = 180.0
_DAY_US = 86_400_000_000
_US_PER_DEGREE = _DAY_US // 360
#: Missing times sort behind all others.
_NO_TIME = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class GridArguments:
    """The grid that a caller asks for; all None for that of the files.

    Attributes:
        crs: of the grid.
        resolution: size of its pixels, one number or (x, y), in units of its CRS.
        shape: (height, width).
        transform: affine (a, b, c, d, e, f), or an `Affine`.
        like: an object with a grid: xarray, odc-geo GeoBox, rasterio profile.
    """

    crs: Any = None
    resolution: Any = None
    shape: Any = None
    transform: Any = None
    like: Any = None

    @property
    def is_given(self) -> bool:
        """Whether any of them is."""
        return any(value is not None for value in (self.crs, self.resolution, self.shape, self.transform, self.like))


@dataclass(frozen=True, slots=True)
class CubeArguments:
    """How items and bands become arrays.

    Attributes:
        grid: what grid.
        resampling: method, or methods by band with "*" for all others.
        groupby: None for a slice per item, one of `GROUPINGS`, or a column of the index.
        mosaic: how items of one group that overlap become one.
    """

    grid: GridArguments = GridArguments()
    resampling: str | Mapping[str, str] = "nearest"
    groupby: str | None = None
    mosaic: str = "first"


@dataclass(frozen=True, slots=True, eq=False)
class PlannedCube:
    """A cube, and what its groups are; all but `cube` have one element per group, in order of time.

    Attributes:
        cube: what is read.
        level: the level that was read, where all files had the same; or None.
        has_transform: whether the grid is on the ground, or only one of pixels.
        times: of the first item of each group, `datetime64[us]` in UTC, NaT where unknown.
        item_ids: ids of the items of each group, joined by commas.
        collections: of the items; None where unknown or not one.
        item_counts: how many items.
        properties: of the items by name, where all items of each group have the same; masked where NULL.
    """

    cube: Cube
    level: int | None
    has_transform: bool
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
    check_area(arguments)
    box = _given_box(arguments, wanted.grid)
    if holds_tiles(index):
        check_no_area(arguments, has_grid=box is not None)
    has_area = arguments.bbox is None or _is_plannable(arguments.bbox)
    fetched = arguments if box is None or has_area else replace(arguments, bbox=None)
    with _plans(index, fetched, with_properties=with_properties or wanted.groupby is not None) as plans:
        if box is None:
            assets = plans.assets(arguments)
            derived = _derived_box(assets, arguments, wanted.grid) if wanted.grid.is_given else None
            if derived is None and (wanted.grid.is_given or _is_one_grid(assets)):
                planned = plans.plan(arguments)
                return _assembled(planned, native_box(planned.plan.assets), wanted, resampling)
            box = derived or native_box(assets)
        planned = plans.plan(onto_grid(arguments, box, resampling))
    return _assembled(planned, _on_lattice(box, planned.plan.assets, arguments, wanted.grid), wanted, resampling)


class _Plans(Protocol):
    """What plans a read, as `IndexPlans` does."""

    def assets(self, arguments: ReadArguments, /) -> Sequence[PlannedAsset]:
        """Give the files that a read takes."""

    def plan(self, arguments: ReadArguments, /) -> PlannedTiles:
        """Plan their tiles."""


@dataclass(frozen=True, slots=True)
class _GivenPlans:
    """Plans of rows of tiles, which are read as they are."""

    planned: PlannedTiles

    def assets(self, arguments: ReadArguments, /) -> Sequence[PlannedAsset]:
        del arguments
        return self.planned.plan.assets

    def plan(self, arguments: ReadArguments, /) -> PlannedTiles:
        del arguments
        return self.planned


@contextmanager
def _plans(index: Any, arguments: ReadArguments, *, with_properties: bool = False) -> Iterator[_Plans]:
    from rasteret_sql.sql.readers import index_plans

    if holds_tiles(index):
        yield _GivenPlans(plan_given_tiles(index, arguments.bands))
        return
    with index_plans(index, arguments, with_properties=with_properties) as plans:
        yield plans


def plan_some(index: Any, arguments: ReadArguments) -> TilePlan:
    """Plan a read that must give something.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
    """
    with _plans(index, arguments) as plans:
        return plans.plan(arguments).plan


def _is_plannable(bbox: Sequence[float]) -> bool:
    """Whether rows can be fetched by a bbox; grids may be asked for beyond the antimeridian."""
    return -_HALF_TURN <= bbox[0] <= bbox[2] <= _HALF_TURN


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


def onto_grid(arguments: ReadArguments, box: GeoBox, resampling: Mapping[str, str]) -> ReadArguments:
    """Give the arguments that plan all that a grid takes."""
    if box.crs is None:
        raise InvalidArgumentError(
            "grid: the files have pixels of several sizes and no CRS, expected one of them; choose bands of one size"
        )
    return replace(
        arguments,
        geometry=None,
        bbox=_planned_bounds(box),
        crs=box.crs,
        level=None,
        resolution=min(box.x_size, box.y_size),
        resolution_crs=box.crs,
        margin=max(reach(method, 1.0) for method in resampling.values()) + 1,
    )


def _planned_bounds(box: GeoBox) -> list[float]:
    """Give the bounds of a grid as the planner takes them: longitudes in -180 to 180, swapped over the antimeridian."""
    xmin, ymin, xmax, ymax = box.bounds
    if revolution_of(box.crs) != 360.0:
        return [xmin, ymin, xmax, ymax]
    ymin, ymax = max(ymin, -90.0), min(ymax, 90.0)
    if xmin < -180.0 or xmax > 180.0:
        width = xmax - xmin
        xmin = (xmin + 180.0) % 360.0 - 180.0
        xmax = xmin + width
        if xmax > 180.0:
            # Only of some CRSs the planner knows that they wrap.
            is_known = width < 180.0 and box.crs in {"OGC:CRS84", "EPSG:4326", "EPSG:4269", "EPSG:4258"}
            xmin, xmax = (xmin, xmax - 360.0) if is_known else (-180.0, 180.0)
    return [xmin, ymin, xmax, ymax]


def _given_box(arguments: ReadArguments, grid: GridArguments) -> GeoBox | None:
    """Give the grid that the arguments say in full, or None.

    Raises:
        InvalidArgumentError: they contradict each other.
    """
    if not grid.is_given:
        return None
    if grid.resolution is not None:
        checked_resolution(grid.resolution)
    if grid.shape is not None:
        checked_shape(grid.shape)
    if arguments.level is not None:
        raise InvalidArgumentError(
            f"level: got {arguments.level} with a grid to read onto, expected one of them; overviews are chosen by the "
            "grid's pixel size"
        )
    others = {name: getattr(grid, name) for name in ("crs", "resolution", "shape", "transform")}
    if grid.like is not None:
        given = [name for name, value in others.items() if value is not None]
        if given:
            raise InvalidArgumentError(f"like: got {', '.join(given)} too, expected none of them; leave one out")
        box = geobox_of(grid.like)
        if box.crs is None:
            raise InvalidArgumentError(
                f"like: got {type(grid.like).__name__} without a CRS, expected one with; write it there first, for "
                "example with .rio.write_crs()"
            )
        return box
    crs = None if grid.crs is None else normalized_crs(grid.crs)
    if grid.transform is not None:
        if grid.shape is None or grid.resolution is not None:
            raise InvalidArgumentError("transform: expected shape with it, and no resolution")
        if crs is None:
            raise InvalidArgumentError("transform: got no crs with it, expected the CRS that it leads to")
        height, width = checked_shape(grid.shape)
        return geobox_of({"crs": crs, "transform": grid.transform, "height": height, "width": width})
    if grid.shape is not None and grid.resolution is not None:
        raise InvalidArgumentError("shape: got resolution too, expected one of them; leave one out")
    if crs is None or (arguments.bbox is None and arguments.geometry is None):
        return None
    if grid.shape is None and grid.resolution is None:
        return None
    return _box_over(_area(arguments, crs), crs, grid)


def _box_over(bounds: tuple[float, float, float, float], crs: str, grid: GridArguments) -> GeoBox:
    if grid.shape is not None:
        return GeoBox.from_shape(bounds, crs, grid.shape)
    return GeoBox.from_bounds(bounds, crs, grid.resolution)


def check_area(arguments: ReadArguments) -> None:
    """Refuse coordinates of another CRS than is said.

    Raises:
        InvalidArgumentError: `bbox` is in degrees by its CRS, and not by its numbers.
    """
    if arguments.bbox is None or len(arguments.bbox) != 4 or not same_crs(arguments.crs, "OGC:CRS84"):
        return
    xmin, ymin, xmax, ymax = arguments.bbox
    if max(abs(xmin), abs(xmax)) > 360 or max(abs(ymin), abs(ymax)) > 90:
        raise InvalidArgumentError(
            f"bbox: got {list(arguments.bbox)}, expected degrees, longitude -180 to 180 and latitude -90 to 90; for "
            'other coordinates name their CRS, for example geometry_crs="EPSG:32643"'
        )


def _area(arguments: ReadArguments, crs: str) -> tuple[float, float, float, float]:
    area = arguments.bbox if arguments.geometry is None else parse_geometry(arguments.geometry, arguments.crs)
    return area_bounds(area, arguments.crs, crs)


def _derived_box(assets: Sequence[PlannedAsset], arguments: ReadArguments, grid: GridArguments) -> GeoBox | None:
    """Give the grid that is asked for, with what was left out taken from the files; None for their own grid.

    Raises:
        InvalidArgumentError: the files do not tell it.
    """
    crs = None if grid.crs is None else normalized_crs(grid.crs)
    codes = list(dict.fromkeys(asset.crs for asset in assets))
    if None in codes:
        missing = next(asset for asset in assets if asset.crs is None)
        raise InvalidArgumentError(
            f"grid: {named(missing)} has no CRS, so it cannot be read onto a grid; leave it out, or what says the grid"
        )
    if crs is None:
        if any(not same_crs(codes[0], code) for code in codes[1:]):
            raise InvalidArgumentError(
                f"crs: the files are in {_listed(codes)}, expected the one that they are to be read onto; give crs="
            )
        crs = codes[0]
    assert crs is not None
    is_native = all(same_crs(crs, code) for code in codes)
    if is_native and grid.resolution is None and grid.shape is None:
        return None if _is_one_grid(assets) else native_box(assets)
    if grid.resolution is None and grid.shape is None:
        finest = min(assets, key=lambda asset: abs(asset.transform[0]) if asset.transform else math.inf)
        size = f"{_finest_size(finest, crs):.6g}"
        raise InvalidArgumentError(
            f"resolution: got none for {crs}, in which pixels of {named(finest)} have about {size}, expected the size "
            f"of the grid's pixels; give for example resolution={size}"
        )
    if arguments.bbox is not None or arguments.geometry is not None:
        return _box_over(_area(arguments, crs), crs, grid)
    # The dates of a place share their bounds.
    areas = {(str(asset.crs), bounds_of(asset)) for asset in assets}
    return _box_over(joint_bounds(areas, crs), crs, grid)


def _finest_size(asset: PlannedAsset, crs: str) -> float:
    from rasteret_sql.geo.pixelsize import pixel_size_in

    assert asset.transform is not None
    x_size, _, x_off, _, y_size, y_off = asset.transform
    x, y = x_off + x_size * asset.width / 2, y_off + y_size * asset.height / 2
    return min(pixel_size_in(crs, asset.crs, asset.transform, x, y))


def _on_lattice(box: GeoBox, assets: Sequence[PlannedAsset], arguments: ReadArguments, grid: GridArguments) -> GeoBox:
    """Move a grid that only its resolution and area say by less than a pixel, onto that of the files if they have one.

    So no pixel is resampled that need not be.
    """
    if grid.resolution is None:
        return box
    for asset in assets:
        if asset.transform is None or not same_crs(asset.crs, box.crs):
            return box
    try:
        check_grid(assets)
    except InvalidArgumentError:
        return box
    first = assets[0].transform
    assert first is not None
    sizes = abs(first[0]), abs(first[4])
    same_size = math.isclose(sizes[0], box.x_size, rel_tol=1e-9) and math.isclose(sizes[1], box.y_size, rel_tol=1e-9)
    if not same_size:
        return box
    if arguments.bbox is None and arguments.geometry is None:
        own = native_box(assets)
        return GeoBox(box.crs, own.transform, own.height, own.width) if first[0] > 0 > first[4] else _north_up(own)
    assert box.crs is not None
    return GeoBox.from_bounds(_area(arguments, box.crs), box.crs, sizes, anchor=(first[2], first[5]))


def _north_up(box: GeoBox) -> GeoBox:
    """Give a grid with the same pixels, from the west and from the north."""
    xmin, _, _, ymax = box.bounds
    return GeoBox(box.crs, (box.x_size, 0.0, xmin, 0.0, -box.y_size, ymax), box.height, box.width)


def _is_one_grid(assets: Sequence[PlannedAsset]) -> bool:
    try:
        check_grid(assets)
    except InvalidArgumentError:
        return False
    return True


def _assembled(planned: PlannedTiles, box: GeoBox, wanted: CubeArguments, resampling: Mapping[str, str]) -> PlannedCube:
    """Put a plan's assets into groups, and make a cube of them."""
    plan = planned.plan
    properties = planned.properties or AssetProperties.none(len(plan.assets))
    keys = _keys(plan.assets, properties, wanted.groupby)
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
    )
    starts = starts[order]
    members = _members(plan.assets, group_of)
    levels = {asset.level for asset in plan.assets}
    return PlannedCube(
        cube=cube,
        level=next(iter(levels)) if len(levels) == 1 else None,
        has_transform=plan.assets[0].transform is not None,
        times=np.where(starts == _NO_TIME, np.datetime64("NaT", "us"), starts.astype("M8[us]")),
        item_ids=tuple(",".join(dict.fromkeys(item_id for _, item_id in each)) for each in members),
        collections=tuple(_one({collection for collection, _ in each}) for each in members),
        item_counts=np.array([len(each) for each in members], np.int64),
        properties=_agreed(properties, group_of),
    )


def _keys(assets: Sequence[PlannedAsset], properties: AssetProperties, groupby: str | None) -> npt.NDArray[np.int64]:
    """Give a number for each asset, the same for those of one group.

    Raises:
        InvalidArgumentError: there is no such column, or a group needs a time that an item lacks.
    """
    values: list[Any]
    if groupby is None:
        values = [(asset.collection, asset.item_id, asset.datetime_us) for asset in assets]
    elif groupby == "id":
        values = [asset.item_id for asset in assets]
    elif groupby in GROUPINGS:
        for asset in assets:
            if asset.datetime_us is None:
                raise InvalidArgumentError(
                    f'groupby: item {asset.item_id} has no datetime, expected one for "{groupby}"; leave the item out, '
                    'or group by "id" or a column'
                )
        times = np.array([asset.datetime_us for asset in assets], np.int64)
        if groupby == "solar_day":
            longitude = properties.longitude
            if np.isnan(longitude).any():
                number = int(np.flatnonzero(np.isnan(longitude))[0])
                raise InvalidArgumentError(
                    f'groupby: {named(assets[number])} has no bbox in the index, expected one for "solar_day"; '
                    'group by "day"'
                )
            times = times + (joined_longitudes(longitude) * _US_PER_DEGREE).astype(np.int64)
        values = (times if groupby == "time" else times // _DAY_US).tolist()
    elif groupby == "collection":
        values = [asset.collection for asset in assets]
    elif groupby in properties.columns:
        values = properties.columns[groupby].tolist()
    else:
        known = ", ".join(sorted(["collection", *properties.columns]))
        raise InvalidArgumentError(
            f"groupby: got {groupby!r}, expected None, one of {', '.join(GROUPINGS)}, or a column of the index: {known}"
        )
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _members(assets: Sequence[PlannedAsset], group_of: npt.NDArray[np.int64]) -> list[list[tuple[str | None, str]]]:
    """Give collection and id of the items of each group."""
    found: list[dict[tuple[str | None, str], None]] = [{} for _ in range(int(group_of.max()) + 1)]
    for asset, group in zip(assets, group_of.tolist(), strict=True):
        found[group][asset.collection, asset.item_id] = None
    return [list(each) for each in found]


def _one(values: set[str | None]) -> str | None:
    return next(iter(values)) if len(values) == 1 else None


def _agreed(properties: AssetProperties, group_of: npt.NDArray[np.int64]) -> dict[str, np.ma.MaskedArray[Any, Any]]:
    """Give the properties that all assets of each group agree on, one element per group."""
    _, first = np.unique(group_of, return_index=True)
    agreed = {}
    for name, column in properties.columns.items():
        spread = column[first][group_of]
        missing, expected = np.ma.getmaskarray(column), np.ma.getmaskarray(spread)
        same = np.ma.getdata(column) == np.ma.getdata(spread)
        if ((missing == expected) & (missing | same)).all():
            agreed[name] = column[first]
    return agreed


def _checked_resampling(resampling: Any, bands: Sequence[str] | None) -> dict[str, str]:
    """Give methods by band.

    Raises:
        InvalidArgumentError: a method or a band is not known.
    """
    methods = dict(resampling) if isinstance(resampling, Mapping) else {"*": resampling}
    for band, method in methods.items():
        if method not in METHODS:
            raise InvalidArgumentError(f"resampling: got {method!r} for {band!r}, expected one of {', '.join(METHODS)}")
        if bands is not None and band != "*" and band not in bands:
            raise InvalidArgumentError(
                f"resampling: got band {band!r}, expected one of {', '.join(bands)}, or '*' for all others"
            )
    return {"*": "nearest"} | methods


def _check_mosaic(wanted: CubeArguments) -> None:
    if wanted.groupby is not None and not isinstance(wanted.groupby, str):
        raise InvalidArgumentError(
            f"groupby: got {wanted.groupby!r}, expected None, one of {', '.join(GROUPINGS)}, or the name of a column"
        )
    if wanted.mosaic not in MOSAICS:
        raise InvalidArgumentError(f"mosaic: got {wanted.mosaic!r}, expected one of {', '.join(MOSAICS)}")
    if wanted.groupby is None and wanted.mosaic != "first":
        raise InvalidArgumentError(
            f'mosaic: got {wanted.mosaic!r} without groupby, expected both; give for example groupby="solar_day"'
        )


def _listed(codes: Sequence[str | None]) -> str:
    return ", ".join(str(code)[:40] for code in codes)
