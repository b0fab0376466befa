"""The arguments of a read: what is read, checked before any I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence  # noqa: TC003 - dataclasses look annotations up
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import check_crs
from rasteret_sql.geo.geobox import GeoBox  # noqa: TC001 - dataclasses look annotations up
from rasteret_sql.geo.utm import is_lonlat
from rasteret_sql.plan.period import parse_period
from rasteret_sql.plan.scaling import GivenScaling

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.plan.period import Period

_HALF_TURN: Final = 180.0
_TURN: Final = 360.0


@dataclass(frozen=True, slots=True)
class Door:
    """How a caller spells arguments that messages name.

    Attributes:
        crs, level: with what stands before their values.
        resolution: as these; None where the caller has no such argument.
    """

    crs: str
    level: str
    resolution: str | None


SQL: Final = Door("geometry_crs := ", "level :=", "resolution :=")
PYTHON: Final = Door("geometry_crs=", "level=", "resolution=")
#: Of callers that take several levels, and no resolution.
LEVELS: Final = Door("geometry_crs=", "levels=", None)


@dataclass(frozen=True, slots=True)
class ReadArguments:
    """What is read; each field is the argument of `read_tiles` of that name.

    Attributes:
        index: name of a table or view, Parquet path, glob or URL, or the text of a query.
        bands: assets, or bands inside them ("visual:red"); None for all.
        geometry: GeoJSON, WKT or WKB in `crs`, or None.
        bbox: (xmin, ymin, xmax, ymax) in `crs`, or None.
        grid: a grid whose bounds are the area, instead of both; it may go on beyond the antimeridian and the poles.
        crs: CRS of `geometry` and `bbox`.
        datetime: STAC's forms, or None.
        level: 0 is full resolution; None leaves it to `resolution` or `gsd`.
        resolution: largest pixel size, in units of the raster's CRS, or None.
        gsd: largest pixel size in metres on the ground, at the middle of each file, or None.
        resolution_crs: whose units `resolution` has instead, or None.
        max_scale: how many times coarser or finer than the pixels of all files `resolution` may be; None for any.
        margin: so many pixels beside the area are read too: pixels of the level, or of `resolution` where those are
            larger.
        where: SQL condition on the rows of the index, checked by `require_condition`; or None.
        scaling: scales and offsets in place of those of the files.
        is_ordered: whether the order of the index's rows means something, as in the result of a query.
        door: how messages spell arguments.

    Raises:
        InvalidArgumentError: one of them is wrong, or two contradict each other.
    """

    index: str
    bands: Sequence[str] | None = None
    geometry: str | None = None
    bbox: Sequence[float] | None = None
    grid: GeoBox | None = None
    crs: str = "OGC:CRS84"
    datetime: str | None = None
    level: int | None = None
    resolution: float | None = None
    gsd: float | None = None
    resolution_crs: str | None = None
    max_scale: float | None = None
    margin: float | None = None
    where: str | None = None
    scaling: GivenScaling = field(default_factory=GivenScaling)
    is_ordered: bool = False
    door: Door = PYTHON

    def __post_init__(self) -> None:
        if self.bbox is not None and self.geometry is not None:
            raise InvalidArgumentError("area: got both bbox and geometry, expected one of them; leave one out")
        sizes = [name for name in ("level", "resolution", "gsd") if getattr(self, name) is not None]
        if len(sizes) > 1:
            rest = "one" if sizes == ["level", "resolution"] else "the others"
            raise InvalidArgumentError(
                f"{sizes[0]}: got both {' and '.join(sizes)}, expected one of them; leave {rest} out"
            )
        if self.bbox is not None and (len(self.bbox) != 4 or not all(map(math.isfinite, self.bbox))):
            raise InvalidArgumentError(
                f"bbox: got {list(self.bbox)}, expected four finite numbers [xmin, ymin, xmax, ymax]"
            )
        if self.bands is not None:
            _check_bands(self.bands)
        if self.level is not None and self.level < 0:
            raise InvalidArgumentError(f"level: got {self.level}, expected 0 (full resolution) or more")
        for name in ("resolution", "gsd"):
            size = getattr(self, name)
            if size is not None and not size > 0:
                raise InvalidArgumentError(f"{name}: got {size}, expected a pixel size above 0")
        check_crs("geometry_crs", self.crs)
        if self.datetime is not None:
            parse_period(self.datetime)

    @property
    def has_area(self) -> bool:
        """Whether an area is given."""
        return self.bbox is not None or self.geometry is not None or self.grid is not None

    def bbox_parts(self) -> npt.NDArray[np.float64]:
        """Give `bbox` as one or, over the antimeridian, two bounds; shape (parts, 4).

        A grid over a bbox may lie beyond the antimeridian. So order and range are checked when an area is planned,
        before any I/O.

        Raises:
            InvalidArgumentError: it cannot be (xmin, ymin, xmax, ymax).
        """
        assert self.bbox is not None
        return bbox_parts(self.bbox, self.crs, self.door)

    @property
    def period(self) -> Period | None:
        """The period, or None where none is given."""
        return None if self.datetime is None else parse_period(self.datetime)


def bbox_parts(bbox: Sequence[float], crs: str, door: Door) -> npt.NDArray[np.float64]:
    """Give a bbox as one or, over the antimeridian, two bounds; shape (parts, 4).

    Raises:
        InvalidArgumentError: it cannot be (xmin, ymin, xmax, ymax).
    """
    shown = list(bbox)
    xmin, ymin, xmax, ymax = bbox
    if ymin > ymax:
        raise InvalidArgumentError(
            f"bbox: got {shown}, whose ymin {ymin} is above its ymax {ymax}; expected [xmin, ymin, xmax, ymax]: swap "
            "them"
        )
    is_degrees = is_lonlat(crs)
    if is_degrees and (ymin < -90 or ymax > 90 or min(xmin, xmax) < -_HALF_TURN or max(xmin, xmax) > _HALF_TURN):
        raise InvalidArgumentError(
            f"bbox: got {shown}, expected degrees, longitude -180 to 180 and latitude -90 to 90; for other coordinates "
            f"name their CRS, for example {door.crs}'EPSG:32643'"
        )
    if xmin <= xmax:
        return np.array([bbox], np.float64)
    width = xmax + _TURN - xmin
    if not is_degrees or width > _HALF_TURN:
        over = f"; over the antimeridian that would be {width:.2f} degrees wide" if is_degrees else ""
        raise InvalidArgumentError(
            f"bbox: got {shown}, whose xmin {xmin} is above its xmax {xmax}{over}; expected [xmin, ymin, xmax, ymax]: "
            "swap them"
        )
    return np.array([(xmin, ymin, _HALF_TURN, ymax), (-_HALF_TURN, ymin, xmax, ymax)], np.float64)


def _check_bands(bands: Sequence[Any]) -> None:
    if not bands or any(band is None for band in bands):
        raise InvalidArgumentError(
            f"bands: got {list(bands)}, expected names such as ['red', 'visual:red'], or NULL for all"
        )
    if len(set(bands)) < len(bands):
        raise InvalidArgumentError(
            f"bands: got [{', '.join(map(str, bands))}], expected each name once; leave the repeated ones out"
        )
