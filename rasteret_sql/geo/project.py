"""Points, bounds and geometries in another CRS. Straight edges become curves there: they are densified first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.antimeridian import aligned, continued, narrowest, repeated, within_map
from rasteret_sql.geo.crs import LONLAT, period_of, revolution_of, same_crs, shortened, transformer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from rasteret_sql.geo.geobox import Bounds

    Floats = npt.NDArray[np.float64]
    Geometries: TypeAlias = npt.NDArray[Any]

#: Edges are cut into so many steps along the longest side of a geometry, and of bounds along each side.
STEPS: Final = 100
#: What spans more, in degrees or metres, may hold a pole or the edge of the projection: its own edges bound nothing.
_WIDEST: Final = 30.0
_WIDEST_METRES: Final = 3_300_000.0
#: Part of the sides of bounds beside which geometries are clipped: what clipping adds as an edge lies outside.
_BESIDE: Final = 0.1
#: Bounds that hold every pixel.
EVERYWHERE: Final[Bounds] = (-1e30, -1e30, 1e30, 1e30)


def project_points(x: npt.ArrayLike, y: npt.ArrayLike, from_crs: str, to_crs: str) -> tuple[Floats, Floats]:
    """Give points in another CRS; NaN where they have no position there.

    Raises:
        InvalidArgumentError: a CRS is not known, or nothing leads from one to the other.
    """
    x, y = np.array(x, np.float64), np.array(y, np.float64)
    if same_crs(from_crs, to_crs):
        return x, y
    found_x, found_y = (np.asarray(each) for each in transformer(from_crs, to_crs).transform(x, y, errcheck=False))
    is_there = np.isfinite(found_x) & np.isfinite(found_y)
    return np.where(is_there, found_x, np.nan), np.where(is_there, found_y, np.nan)


def project_geometries(
    geometries: Geometries, from_crs: str, to_crs: str, *, steps: int = STEPS, name: str = "geometries"
) -> Geometries:
    """Give geometries in another CRS, densified; over the antimeridian they go on beyond it.

    Args:
        geometries: array of Shapely geometries, shape (n,); None and empty ones stay.
        from_crs, to_crs: the CRSs. Where they are the same, geometries are given back as they are.
        steps: into which the longest side of a geometry is cut. Fewer are for outlines that are kept.
        name: of the argument, for messages.

    Returns:
        The geometries, shape (n,); None for those that have no position in `to_crs`.

    Raises:
        InvalidArgumentError: a CRS is not known, nothing leads from one to the other, or a part of a geometry has a
            position in `to_crs` and another part has none.
    """
    projected, is_cut = project_each(geometries, from_crs, to_crs, steps=steps)
    if is_cut.any():
        raise InvalidArgumentError(
            f"{name}: number {is_cut.argmax()} in {shortened(from_crs)} reaches beyond what {shortened(to_crs)}, "
            "the CRS of some rasters, can express, expected geometries inside it; cut it to the area of interest, or "
            "leave these rasters out"
        )
    return projected


def project_each(
    geometries: Geometries, from_crs: str, to_crs: str, *, steps: int = STEPS
) -> tuple[Geometries, npt.NDArray[np.bool_]]:
    """As `project_geometries`, but say for each geometry whether only a part of it has a position; it is None then."""
    if same_crs(from_crs, to_crs) or not len(geometries):
        return geometries, np.zeros(len(geometries), np.bool_)
    import shapely

    densified = _densified(geometries, steps)
    points, owner = shapely.get_coordinates(densified, return_index=True)
    found = np.stack(project_points(points[:, 0], points[:, 1], from_crs, to_crs), axis=-1)
    return _rebuilt(geometries, densified, found, owner, to_crs)


def widest_in(crs: str) -> float:
    """Give the side of bounds in a CRS, above which they may hold a pole or the edge of a projection."""
    return _WIDEST if revolution_of(crs) is not None else _WIDEST_METRES


def is_wide(geometries: Geometries, crs: str) -> npt.NDArray[np.bool_]:
    """Whether geometries span so much that they may hold a pole or the edge of a projection."""
    import shapely

    bounds = shapely.bounds(geometries)
    widest = widest_in(crs)
    wide: npt.NDArray[np.bool_] = (bounds[:, 2:] - bounds[:, :2]).max(axis=1, initial=0.0) > widest
    return wide


def clipped(geometries: Geometries, crs: str, bounds: Sequence[float], bounds_crs: str) -> Geometries:
    """Give the parts of geometries around bounds in another CRS.

    Raises:
        InvalidArgumentError: a CRS is not known, or the bounds cannot be projected.
    """
    import shapely

    xmin, ymin, xmax, ymax = bounds
    beside_x, beside_y = (xmax - xmin) * _BESIDE, (ymax - ymin) * _BESIDE
    around = area_bounds((xmin - beside_x, ymin - beside_y, xmax + beside_x, ymax + beside_y), bounds_crs, crs)
    moved = aligned(geometries, period_of(crs), around[0], around[2])
    return np.asarray(shapely.clip_by_rect(moved, *around))


def project_bounds(bounds: npt.ArrayLike, from_crs: str, to_crs: str) -> Floats:
    """Give bounds in another CRS. They hold every point, and may be larger than need be.

    Known exception: bounds in EPSG:2056 were found too small by 2.3 m, probably where PROJ changes from one datum
    operation to another.

    Args:
        bounds: (xmin, ymin, xmax, ymax) of each, shape (n, 4); in longitude, xmin above xmax means over the
            antimeridian.
        from_crs, to_crs: the CRSs.

    Returns:
        Bounds in `to_crs`, shape (n, 4). Over the antimeridian, xmax goes on beyond it. NaN where an edge, or a part of
        one, has no position there.

    Raises:
        InvalidArgumentError: a CRS is not known, or nothing leads from one to the other.
    """
    found = np.array(bounds, np.float64).reshape(-1, 4)
    found[found[:, 0] > found[:, 2], 2] += revolution_of(from_crs) or 0.0
    if same_crs(from_crs, to_crs):
        return found
    import shapely

    return _bounds(np.asarray(shapely.box(*found.T)), from_crs, to_crs)


def search_bounds(parts: npt.ArrayLike, from_crs: str, to_crs: str) -> Floats:
    """Give bounds in another CRS to search with: `EVERYWHERE` where they are unknown.

    Where x repeats itself, each part is given once per revolution that a raster may count its x in.

    Args:
        parts: (xmin, ymin, xmax, ymax) of each part in `from_crs`, shape (n, 4).
        from_crs, to_crs: the CRSs.

    Returns:
        Bounds, shape (m, 4).

    Raises:
        InvalidArgumentError: a CRS is not known, or nothing leads from one to the other.
    """
    projected = _known_bounds(parts, from_crs, to_crs)
    period = revolution_of(to_crs) if same_crs(from_crs, to_crs) else period_of(to_crs)
    return projected if period is None else np.unique(repeated(projected, period), axis=0)


def map_bounds(parts: npt.ArrayLike, from_crs: str) -> Floats:
    """Give bounds in longitude and latitude, inside the map: bounds over the antimeridian are cut there.

    Args:
        parts: (xmin, ymin, xmax, ymax) of each part in `from_crs`, shape (n, 4).
        from_crs: the CRS.

    Returns:
        Bounds in degrees, shape (m, 4); `EVERYWHERE` where they are unknown.

    Raises:
        InvalidArgumentError: the CRS is not known, or nothing leads from it to longitude and latitude.
    """
    return within_map(_known_bounds(parts, from_crs, LONLAT), 360.0)


def _known_bounds(parts: npt.ArrayLike, from_crs: str, to_crs: str) -> Floats:
    """As `project_bounds`, but `EVERYWHERE` in place of NaN, and of bounds that may hold a pole."""
    given = np.array(parts, np.float64).reshape(-1, 4)
    projected = project_bounds(given, from_crs, to_crs)
    if revolution_of(from_crs) is not None and not same_crs(from_crs, to_crs):
        projected[np.maximum(given[:, 2] - given[:, 0], given[:, 3] - given[:, 1]) > _WIDEST] = np.nan
    projected[np.isnan(projected).any(axis=1)] = EVERYWHERE
    return projected


def area_bounds(area: Any, from_crs: str, to_crs: str) -> Bounds:
    """Give the bounds of an area in another CRS, never smaller than it.

    Args:
        area: a Shapely geometry, or (xmin, ymin, xmax, ymax) in which xmin above xmax means over the antimeridian.
        from_crs, to_crs: the CRSs.

    Returns:
        Bounds in `to_crs`. Those of an area over the antimeridian go on beyond it.

    Raises:
        InvalidArgumentError: a CRS is not known, or the area cannot be projected.
    """
    import shapely

    if isinstance(area, shapely.Geometry):
        bounds = _bounds(shapely.get_parts(area), from_crs, to_crs)
    else:
        xmin, ymin, xmax, ymax = area
        if not (xmin <= xmax or revolution_of(from_crs) is not None) or not ymin <= ymax:
            raise InvalidArgumentError(
                f"bbox: got {list(area)}, expected (xmin, ymin, xmax, ymax), each minimum below its maximum"
            )
        bounds = project_bounds([xmin, ymin, xmax, ymax], from_crs, to_crs)
    if np.isnan(bounds).any():
        raise InvalidArgumentError(
            f"area: it cannot be projected from {shortened(from_crs)!r} to {shortened(to_crs)!r}; expected one inside "
            "the area of use of both, check geometry_crs and the order (x, y)"
        )
    return _joint(bounds, to_crs)


def joint_bounds(areas: Iterable[tuple[str, Sequence[float]]], to_crs: str) -> Bounds:
    """Give the bounds in one CRS that hold bounds in several; over the antimeridian where the other way is longer.

    Args:
        areas: CRS and (xmin, ymin, xmax, ymax) of each; at least one.
        to_crs: the CRS.

    Raises:
        InvalidArgumentError: a CRS is not known, or bounds cannot be projected.
    """
    return _joint(np.array([area_bounds(bounds, from_crs, to_crs) for from_crs, bounds in areas]), to_crs)


def _joint(bounds: Floats, crs: str) -> Bounds:
    period = period_of(crs)
    if period is not None:
        bounds[:, [0, 2]] += period * narrowest(bounds[:, [0, 2]], period)[:, None]
    xmin, ymin = bounds[:, :2].min(axis=0).tolist()
    xmax, ymax = bounds[:, 2:].max(axis=0).tolist()
    return xmin, ymin, xmax, ymax


def _bounds(geometries: Geometries, from_crs: str, to_crs: str) -> Floats:
    """Give the bounds of geometries in another CRS, shape (n, 4), with what densified edges may miss of the curves."""
    import shapely

    if same_crs(from_crs, to_crs):
        return np.asarray(shapely.bounds(geometries))
    densified = _densified(geometries, STEPS)
    points, owner = shapely.get_coordinates(densified, return_index=True)
    found = np.stack(project_points(points[:, 0], points[:, 1], from_crs, to_crs), axis=-1)
    projected, is_cut = _rebuilt(geometries, densified, found, owner, to_crs)
    period = period_of(to_crs)
    missed, is_at_pole = _missed(points, found, owner, len(geometries), period)
    bounds: Floats = shapely.bounds(projected) + np.hstack([-missed, missed])
    bounds[is_cut] = np.nan
    if period is not None:
        is_around = is_at_pole | (bounds[:, 2] - bounds[:, 0] >= period)
        bounds[is_around, 0], bounds[is_around, 2] = -period / 2, period / 2
    revolution = revolution_of(to_crs)
    if revolution is not None:
        north = revolution / 4
        bounds[is_at_pole & (bounds[:, 1] < 0), 1] = -north
        bounds[is_at_pole & (bounds[:, 3] > 0), 3] = north
        bounds[:, [1, 3]] = np.clip(bounds[:, [1, 3]], -north, north)
    return bounds


def _missed(
    points: Floats, found: Floats, owner: npt.NDArray[np.int64], count: int, period: float | None
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Say how far curves may reach beyond their points, and which geometries have an edge that meets a pole.

    A curve turns between two points only where its slope is less than its bend. A parabola then misses an eighth of the
    bend; half of it is what the kink of latitudes at a pole misses.

    Args:
        points, found: vertices before and after projection, shape (m, 2).
        owner: number of the geometry of each, shape (m,).
        count: how many geometries.
        period: of x, after projection; or None.

    Returns:
        Distances (x, y), shape (count, 2), and booleans, shape (count,).
    """
    missed, is_at_pole = np.zeros((count, 2)), np.zeros(count, np.bool_)
    given, steps = np.diff(points, axis=0), np.diff(found, axis=0)
    if period is not None:
        steps[:, 0] -= period * np.round(steps[:, 0] / period)
    # Only points inside of one edge, which are equally far apart, lie on one curve.
    is_smooth = np.abs(np.diff(given, axis=0)).max(axis=1, initial=0.0) <= 1e-6 * np.abs(given[1:]).max(
        axis=1, initial=0.0
    )
    is_smooth &= owner[2:] == owner[:-2]
    bend, slope = np.abs(np.diff(steps, axis=0)), np.abs(steps[1:] + steps[:-1]) / 2
    np.maximum.at(missed, owner[1:-1], np.where(is_smooth[:, None] & (slope <= bend), bend / 2, 0.0))
    if period is not None:
        is_jump: npt.NDArray[np.bool_] = np.abs(steps[:, 0]) > period / 4
        is_at_pole[owner[1:-1][is_smooth & (is_jump[1:] | is_jump[:-1])]] = True
    return missed, is_at_pole


def _rebuilt(
    geometries: Geometries, densified: Geometries, found: Floats, owner: npt.NDArray[np.int64], crs: str
) -> tuple[Geometries, npt.NDArray[np.bool_]]:
    """Make geometries of projected vertices.

    Args:
        geometries: before projection.
        densified: the same, densified.
        found: vertices of `densified` after projection, NaN where they have no position.
        owner: number of the geometry of each.
        crs: of `found`.

    Returns:
        The geometries, None where a vertex has no position; and whether just a part of each has one.
    """
    import shapely

    is_there = np.asarray(np.isfinite(found).all(axis=1))
    is_lost, is_found = np.zeros((2, len(geometries)), np.bool_)
    is_lost[owner[~is_there]], is_found[owner[is_there]] = True, True
    projected = shapely.set_coordinates(densified, np.where(is_there[:, None], found, 0.0))
    projected[is_lost] = None
    period = period_of(crs)
    if period is not None:
        # No cylindrical projection has y beyond half its period but Mercator, whose maps end there.
        pole = period / (4 if revolution_of(crs) is not None else 2)
        bounds = shapely.bounds(projected)
        for number in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > period / 2).tolist():
            projected[number] = continued(projected[number], period, pole=pole, is_ccw=_is_ccw(geometries[number]))
    return projected, is_lost & is_found


def _densified(geometries: Geometries, steps: int) -> Geometries:
    """Cut the edges of geometries, each into steps of a part of its longest side."""
    import shapely

    bounds = shapely.bounds(geometries)
    step = np.maximum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]) / steps
    # Points have no side, empty geometries no bounds.
    has_side = step > 0
    densified: Geometries = geometries.copy()
    densified[has_side] = shapely.segmentize(geometries[has_side], step[has_side])
    return densified


def _is_ccw(geometry: Any) -> bool:
    """Whether the exterior of the largest polygon of a geometry runs counterclockwise."""
    import shapely

    largest = max(shapely.get_parts(geometry).tolist(), key=lambda part: part.area)
    return bool(shapely.is_ccw(shapely.get_exterior_ring(largest))) if largest.area > 0 else True
