"""The grid of a picture: one CRS for all files, square pixels, and none finer than those of the files."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import LONLAT, revolution_of, same_crs
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.geo.pixelmap import pixel_size_in
from rasteret_sql.geo.project import joint_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_sql.geo.geobox import Bounds, Transform

#: Files in several CRSs are shown in the one that most have, up to so many degrees from west to east: two UTM zones.
_WIDEST_OF_ZONES: Final = 12.0
_WEB_MERCATOR = "EPSG:3857"
#: Latitudes up to which Web Mercator is drawn.
_LAST_PARALLEL: Final = 80.0
#: A degree of longitude that is shorter than this part of one of latitude is drawn so.
_SQUARE_FROM: Final = 0.9


@dataclass(frozen=True, slots=True)
class Extent:
    """Windows of files that are alike.

    Attributes:
        crs, transform: of the files; pixels are those of a level.
        row_off, col_off, row_end, col_end: the window; ends are exclusive.
        count: how many files have it.
    """

    crs: str
    transform: Transform
    row_off: int
    col_off: int
    row_end: int
    col_end: int
    count: int = 1

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) in the CRS of the files."""
        window = GeoBox(self.crs, self.transform, 1, 1).window(
            self.row_off, self.col_off, self.row_end - self.row_off, self.col_end - self.col_off
        )
        return window.bounds


def picture_box(extents: Sequence[Extent], size: tuple[int, int]) -> GeoBox:
    """Give the grid of a picture of some files, north up.

    In longitude and latitude, pixels are square on the ground in the middle of the picture.

    Args:
        extents: of the files; at least one.
        size: (height, width) in pixels, at most; it has fewer where the files have.

    Raises:
        InvalidArgumentError: the files cannot be brought into one CRS.
    """
    crs = _common_crs(extents)
    xmin, ymin, xmax, ymax = _bounds_of(extents, crs)
    shrink = 1.0
    if revolution_of(crs) is not None:
        shrink = max(math.cos(math.radians((ymin + ymax) / 2)), 0.05)
        shrink = shrink if shrink < _SQUARE_FROM else 1.0
    finest = min(filter(math.isfinite, (_pixel_size(each, crs, shrink) for each in extents)), default=0.0)
    side = max((xmax - xmin) * shrink / size[1], (ymax - ymin) / size[0])
    pixel = max(side, finest)
    # The centres of the last pixels are inside, as those of all others are.
    width, height = (max(round(length), 1) for length in ((xmax - xmin) * shrink / pixel, (ymax - ymin) / pixel))
    return GeoBox(crs, (pixel / shrink, 0.0, xmin, 0.0, -pixel, ymax), height, width)


def flat_box(height: int, width: int, size: tuple[int, int]) -> GeoBox:
    """Give the grid of a picture of an ungeoreferenced image: its pixels, or fewer."""
    step = max(height / size[0], width / size[1], 1.0)
    pixels = (step, 0.0, 0.0, 0.0, step, 0.0)
    return GeoBox(None, pixels, max(round(height / step), 1), max(round(width / step), 1))


def _common_crs(extents: Sequence[Extent]) -> str:
    """Give the CRS of all files, or one that shows them together."""
    counts: Counter[str] = Counter()
    for each in extents:
        known = next((crs for crs in counts if same_crs(crs, each.crs)), each.crs)
        counts[known] += each.count
    ((most, _),) = counts.most_common(1)
    if len(counts) == 1:
        return most
    try:
        west, south, east, north = _bounds_of(extents, LONLAT)
    except InvalidArgumentError:
        return most
    if east - west <= _WIDEST_OF_ZONES:
        return most
    is_mercator = south >= -_LAST_PARALLEL and north <= _LAST_PARALLEL and east <= 180
    return _WEB_MERCATOR if is_mercator else LONLAT


def _bounds_of(extents: Sequence[Extent], crs: str) -> Bounds:
    return joint_bounds({(each.crs, each.bounds) for each in extents}, crs)


def _pixel_size(extent: Extent, crs: str, shrink: float) -> float:
    """Give the size of a file's pixels in the units of a CRS; NaN where it has no place there."""
    across, down = abs(extent.transform[0]), abs(extent.transform[4])
    if not same_crs(extent.crs, crs):
        xmin, ymin, xmax, ymax = extent.bounds
        across, down = pixel_size_in(crs, extent.crs, extent.transform, (xmin + xmax) / 2, (ymin + ymax) / 2)
    # Pixels that are long on purpose keep their detail; those that are so for their latitude have less than it seems.
    return min(across, down) if shrink == 1 else max(across * shrink, down)
