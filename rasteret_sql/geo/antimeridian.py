"""Geometries and bounds where x repeats itself: over the antimeridian, around poles, in longitudes of 0 to 360.

A *period* is the x after which a map repeats itself; see `crs.period_of`. A *continued* geometry goes on beyond the
edge of the map, without jumps, and so crosses the antimeridian in one piece.

The package `antimeridian` answers one of these questions, where a polygon is split. It is not used: it reads the
winding of rings as what they enclose, which neither STAC nor rasters that are flipped keep to, and it cuts edges along
great circles, where ours are densified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

#: Part of its latitude by which a point may miss a pole, where longitude means nothing, and still be there.
_POLE: Final = 1e-12
_LINE, _RING, _POLYGON = 1, 2, 3  # Shapely's numbers


def continued(geometry: Any, period: float, *, pole: float | None = None, is_ccw: bool | None = None) -> Any:
    """Give a geometry whose edges jump over the edge of a map as one without jumps.

    An edge of more than half a period is taken as going the other way around. A polygon around a pole reaches it.

    Args:
        geometry: a Shapely geometry. Its edges are densified, or so short that none of half a period is meant.
        period: of x.
        pole: y of the North Pole, or beyond it; by default a quarter of the period, as in degrees.
        is_ccw: whether exterior rings run counterclockwise on the ground, which tells the pole inside from the other
            one. Where None, polygons around a pole stay as they are.

    Returns:
        The geometry. The western end of each part lies in the map, at `-period / 2` up to `period / 2`.
    """
    import shapely

    parts = [_continued_part(part, period, pole or period / 4, is_ccw) for part in shapely.get_parts(geometry).tolist()]
    if len(parts) == 1:
        return parts[0]
    is_area = all(shapely.get_type_id(part) == _POLYGON for part in parts)
    return shapely.multipolygons(parts) if is_area else shapely.geometrycollections(parts)


def split_at_antimeridian(geometry: Any, period: float = 360.0) -> Any:
    """Give polygons within one period around x = 0, cut where they cross the antimeridian.

    Args:
        geometry: polygons; parts of other kinds are left out. Edges of more than half a period are taken as going the
            other way around, as in footprints that were never cut.
        period: of x.
    """
    import shapely

    parts: list[Any] = []
    for polygon in _polygons(geometry):
        whole = continued(polygon, period) if _jumps(polygon, period) else polygon
        parts += _in_map(whole, period)
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def repeated(bounds: Floats, period: float) -> Floats:
    """Give bounds as they are, and one period to the west and to the east: a raster may count its x in any of these.

    Args:
        bounds: (xmin, ymin, xmax, ymax) of each, shape (n, 4).
        period: of x.

    Returns:
        Bounds, shape (3 * n, 4), the three of each side by side.
    """
    moved = np.repeat(bounds, 3, axis=0)
    moved[:, 0::2] += np.tile(np.array([0.0, -period, period]), len(bounds))[:, np.newaxis]
    return moved


def within_map(bounds: Floats, period: float) -> Floats:
    """Give bounds inside the map, at `-period / 2` to `period / 2`; bounds over its edge become two.

    Args:
        bounds: (xmin, ymin, xmax, ymax) of each, shape (n, 4); xmin is not above xmax.
        period: of x.

    Returns:
        Bounds, shape (m, 4).

    Example:
        >>> within_map(np.array([(170.0, -10.0, 190.0, 10.0)]), 360.0).tolist()
        [[170.0, -10.0, 180.0, 10.0], [-180.0, -10.0, -170.0, 10.0]]
    """
    half = period / 2
    found: list[tuple[float, float, float, float]] = []
    for xmin, ymin, xmax, ymax in bounds.tolist():
        if xmin >= -half and xmax <= half:
            found.append((xmin, ymin, xmax, ymax))
            continue
        width = xmax - xmin
        start = (xmin + half) % period - half
        if width >= period:
            found.append((-half, ymin, half, ymax))
        elif start + width <= half:
            found.append((start, ymin, start + width, ymax))
        else:
            found += [(start, ymin, half, ymax), (-half, ymin, start + width - period, ymax)]
    return np.array(found, np.float64).reshape(-1, 4)


def narrowest(spans: npt.ArrayLike, period: float) -> npt.NDArray[np.int64]:
    """Say which spans of x to move by one period, so that all together are as narrow as they can be.

    Args:
        spans: (low, high) of each, shape (n, 2).
        period: of x.

    Returns:
        How many periods to add to each span: 0 or 1, shape (n,). All 0 where moving none is as narrow.

    Example:
        >>> narrowest([(179.0, 180.0), (-180.0, -178.0)], 360.0).tolist()
        [0, 1]
    """
    spans = np.asarray(spans, np.float64).reshape(-1, 2)
    if not len(spans):
        return np.zeros(0, np.int64)
    lows, highs = spans[np.argsort(spans[:, 0])].T
    reached = np.maximum.accumulate(highs)
    gaps = lows[1:] - reached[:-1]
    gap_around = lows[0] + period - reached[-1]
    if not gaps.size or gaps.max() <= gap_around + 1e-9 * period:
        return np.zeros(len(spans), np.int64)
    is_west: npt.NDArray[np.bool_] = spans[:, 0] < lows[1:][gaps.argmax()]
    return is_west.astype(np.int64)


def middle_longitude(footprint: Any) -> float:
    """Give the longitude of the middle of a footprint, in degrees of -180 to 180; NaN where it has no extent."""
    import shapely

    spans = shapely.bounds(shapely.get_parts(split_at_antimeridian(footprint)))[:, [0, 2]]
    if not len(spans):
        return float("nan")
    spans = spans + 360.0 * narrowest(spans, 360.0)[:, None]
    return float(((spans.min() + spans.max()) / 2 + 180.0) % 360.0 - 180.0)


def joined_longitudes(longitudes: Floats) -> Floats:
    """Give longitudes that go on beyond 180 degrees where they lie around the antimeridian, within half the Earth.

    So places side by side there have the same solar day.

    Example:
        >>> joined_longitudes(np.array([179.5, -179.5])).tolist()
        [179.5, 180.5]
    """
    moved = longitudes + 360.0 * narrowest(np.stack([longitudes, longitudes], axis=1), 360.0)
    return moved if len(moved) and np.ptp(moved) <= 180.0 else longitudes


def aligned(geometries: npt.NDArray[Any], period: float | None, low: float, high: float) -> npt.NDArray[Any]:
    """Move geometries by whole periods to where a raster counts its x, which may be from 0 or beyond 180 degrees.

    Args:
        geometries: array of Shapely geometries; None and empty ones stay.
        period: of x; None where nothing repeats itself.
        low, high: the raster's x.

    Returns:
        The geometries. One that touches the raster in several periods is the union of them.
    """
    if period is None:
        return geometries
    import shapely

    offsets = (0.0, period, -period)
    bounds = shapely.bounds(geometries)
    hits = np.stack([(bounds[:, 0] + by < high) & (bounds[:, 2] + by > low) for by in offsets])
    found = geometries.copy()
    for number in np.flatnonzero(hits[1:].any(axis=0)).tolist():
        parts = [_moved(geometries[number], by) for by, is_hit in zip(offsets, hits[:, number], strict=True) if is_hit]
        found[number] = parts[0] if len(parts) == 1 else shapely.union_all(parts)
    return found


def _continued_part(part: Any, period: float, pole: float, is_ccw: bool | None) -> Any:  # noqa: FBT001 - of three values
    """Continue a point, line or polygon."""
    import shapely

    kind = shapely.get_type_id(part)
    if kind in {_LINE, _RING}:
        points = shapely.get_coordinates(part)
        return _in_place(shapely.linestrings(_without_jumps(points, period)), period)
    if kind != _POLYGON:
        return part
    exterior, *holes = (shapely.get_coordinates(ring) for ring in shapely.get_rings(part))
    exterior = _without_jumps(_apart_at_poles(exterior, pole), period)
    revolutions = round((exterior[-1, 0] - exterior[0, 0]) / period)
    if revolutions:
        if is_ccw is None:
            return part
        # What lies to the left of a counterclockwise ring is inside: the north where it runs to the east.
        y = pole if (revolutions > 0) == is_ccw else -pole
        exterior = np.vstack([exterior, [exterior[-1, 0], y], [exterior[0, 0], y], exterior[:1]])
    low = exterior[:, 0].min()
    inside = []
    for hole in holes:
        points = _without_jumps(hole, period)
        # The one position inside of the exterior.
        points[:, 0] += period * np.ceil((low - points[:, 0].min()) / period - 1e-9)
        inside.append(points)
    if not revolutions or not inside:
        return _in_place(shapely.Polygon(exterior, inside), period)
    # The outline of a polygon around a pole begins at a meridian of its own, which may run through a hole.
    cut = [_moved(shapely.Polygon(points), by) for points in inside for by in (-period, 0.0, period)]
    return _in_place(shapely.difference(_valid(shapely.Polygon(exterior)), shapely.union_all(_valid(cut))), period)


def _valid(geometries: Any) -> Any:
    """Mend outlines that cross themselves, as those of half the Earth do in some projections."""
    import shapely

    return shapely.make_valid(geometries)


def _without_jumps(points: Floats, period: float) -> Floats:
    return np.column_stack([np.unwrap(points[:, 0], period=period), points[:, 1]])


def _apart_at_poles(ring: Floats, pole: float) -> Floats:
    """Give a ring that arrives at a pole by one meridian, and leaves it by another: the pole has no longitude."""
    is_pole = np.abs(ring[:, 1]) >= pole * (1 - _POLE)
    others = np.flatnonzero(~is_pole[:-1])
    if not is_pole.any() or not others.size:
        return ring
    # It begins beside a pole, so that each has a point before it.
    ring = np.roll(ring[:-1], -int(others[0]), axis=0)
    ring = np.vstack([ring, ring[:1]])
    is_pole = np.abs(ring[:, 1]) >= pole * (1 - _POLE)
    numbers = np.arange(len(ring))
    before = np.maximum.accumulate(np.where(is_pole, 0, numbers))
    after = np.minimum.accumulate(np.where(is_pole, len(ring) - 1, numbers)[::-1])[::-1]
    # Along a parallel of the map's edge, points at the pole have longitudes of their own.
    is_lone = is_pole & ~np.roll(is_pole, 1) & ~np.roll(is_pole, -1)
    first, second = ring.copy(), ring.copy()
    first[is_lone, 0], second[is_lone, 0] = ring[before[is_lone], 0], ring[after[is_lone], 0]
    return np.stack([first, second], axis=1)[np.stack([np.ones_like(is_lone), is_lone], axis=1)]


def _in_place(part: Any, period: float) -> Any:
    """Move a part by whole periods, so that its western end lies in the map."""
    periods = np.floor(part.bounds[0] / period + 0.5)
    return _moved(part, -period * periods) if np.isfinite(periods) else part


def _moved(geometry: Any, by: float) -> Any:
    import shapely

    return shapely.transform(geometry, lambda points: points + np.array([by, 0.0])) if by else geometry


def _polygons(geometry: Any) -> list[Any]:
    import shapely

    parts = shapely.get_parts(geometry).tolist()
    return [part for part in parts if shapely.get_type_id(part) == _POLYGON and not part.is_empty]


def _jumps(polygon: Any, period: float) -> bool:
    """Whether an edge is longer than half a period; one of a whole period runs along a parallel around the Earth."""
    import shapely

    steps = np.abs(np.diff(shapely.get_coordinates(shapely.get_exterior_ring(polygon))[:, 0]))
    return bool(((steps > period / 2) & (steps < period)).any())


def _in_map(polygon: Any, period: float) -> list[Any]:
    """Cut a continued polygon into its parts in the map."""
    import shapely

    xmin, ymin, xmax, ymax = polygon.bounds
    half = period / 2
    if xmin >= -half and xmax <= half:
        return [polygon]
    if xmax - xmin >= period * (1 - 1e-9):
        return [shapely.box(-half, ymin, half, ymax)]
    polygon = _valid(polygon)
    parts: list[Any] = []
    for number in range(int(np.floor(xmin / period + 0.5)), int(np.floor(xmax / period + 0.5)) + 1):
        middle = number * period
        part = shapely.intersection(polygon, shapely.box(middle - half, ymin, middle + half, ymax))
        parts += [each for each in _polygons(_moved(part, -middle)) if each.area > 0]
    return parts
