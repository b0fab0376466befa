"""The grid of a read into arrays: as arguments define it, with missing parts from the files."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import normalized_crs, same_crs
from rasteret_sql.geo.geobox import GeoBox, checked_resolution, checked_shape
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.geo.like import geobox_of
from rasteret_sql.geo.project import area_bounds, joint_bounds
from rasteret_sql.geo.resampling import reach
from rasteret_sql.plan.native_grid import bounds_of, check_grid, named, native_box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import PlannedAsset

#: Grids that are so many times coarser or finer than all files are mistakes in units: a degree has 111,000 metres.
MAX_SCALE = 1000.0


@dataclass(frozen=True, slots=True)
class GridArguments:
    """The grid that a caller asks for; all None for that of the files.

    Attributes:
        crs: of the grid.
        resolution: size of its pixels, one number or (x, y), in units of its CRS.
        shape: (height, width).
        transform: affine (a, b, c, d, e, f), or an `Affine`.
        like: an object with a grid: xarray, odc-geo GeoBox, rasterio profile.
        allow_extreme_scale: whether pixels may be over `MAX_SCALE` times coarser or finer than those of the files.
    """

    crs: Any = None
    resolution: Any = None
    shape: Any = None
    transform: Any = None
    like: Any = None
    allow_extreme_scale: bool = False

    @property
    def is_given(self) -> bool:
        """Whether any of them is."""
        return any(value is not None for value in (self.crs, self.resolution, self.shape, self.transform, self.like))


def onto_grid(
    arguments: ReadArguments, box: GeoBox, resampling: Mapping[str, str], *, max_scale: float | None = None
) -> ReadArguments:
    """Give the arguments that plan all that a grid takes.

    Args:
        arguments: of the read.
        box: the grid.
        resampling: methods by band.
        max_scale: how many times coarser or finer than the pixels of all files those of the grid may be; None for any.

    Raises:
        InvalidArgumentError: the grid has no CRS.
    """
    if box.crs is None:
        raise InvalidArgumentError(
            "grid: the files have pixels of several sizes and no CRS, expected one of them; choose bands of one size"
        )
    return replace(
        arguments,
        geometry=None,
        bbox=None,
        grid=box,
        crs=box.crs,
        level=None,
        resolution=min(box.x_size, box.y_size),
        resolution_crs=box.crs,
        max_scale=max_scale,
        margin=max(reach(method, 1.0) for method in resampling.values()) + 1,
    )


def given_box(arguments: ReadArguments, grid: GridArguments) -> GeoBox | None:
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


def _area(arguments: ReadArguments, crs: str) -> tuple[float, float, float, float]:
    area = arguments.bbox if arguments.geometry is None else parse_geometry(arguments.geometry, arguments.crs)
    return area_bounds(area, arguments.crs, crs)


def derived_box(assets: Sequence[PlannedAsset], arguments: ReadArguments, grid: GridArguments) -> GeoBox | None:
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
        return None if is_one_grid(assets) else native_box(assets)
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


def on_files_grid(box: GeoBox, assets: Sequence[PlannedAsset], arguments: ReadArguments, grid: GridArguments) -> GeoBox:
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


def is_one_grid(assets: Sequence[PlannedAsset]) -> bool:
    """Whether files share one grid."""
    try:
        check_grid(assets)
    except InvalidArgumentError:
        return False
    return True


def _listed(codes: Sequence[str | None]) -> str:
    return ", ".join(str(code)[:40] for code in codes)
