"""Grids of pixels: a CRS, a transform and a size, asked for by users or taken from what they have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from rasteret_sql.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating[Any]]

Transform = tuple[float, float, float, float, float, float]
"""Affine (a, 0, c, 0, e, f) from pixel corner (col, row) to CRS: `x = a * col + c`, `y = e * row + f`."""

Bounds = tuple[float, float, float, float]
"""(xmin, ymin, xmax, ymax)."""

#: Part of a pixel by which bounds may miss a pixel's edge and still lie on it.
SNAP_PIXELS: Final = 1e-6
#: Part of a pixel by which coordinates of pixel centres, often rounded, may miss a regular spacing.
SPACING_PIXELS: Final = 0.01
#: Part of a pixel by which a grid may be turned or sheared over its whole size and still be axis aligned.
SKEW_PIXELS: Final = 1e-4
#: Sides longer than this are mistakes in units, and no array has them.
MAX_SIDE: Final = 2**31 - 1

#: Two turns around the Earth are less, in degrees or grads.
_NO_LONGITUDE: Final = 1000.0

Axis = Literal["x", "y"]
_NAMES: Final[dict[Axis, tuple[str, ...]]] = {"x": ("x", "lon", "longitude"), "y": ("y", "lat", "latitude")}
_STANDARD_NAMES: Final[dict[Axis, tuple[str, ...]]] = {
    "x": ("projection_x_coordinate", "longitude"),
    "y": ("projection_y_coordinate", "latitude"),
}
_DEGREES: Final = frozenset({"lon", "longitude", "lat", "latitude"})


@dataclass(frozen=True, slots=True)
class GeoBox:
    """A grid of pixels, its axes along those of its CRS.

    Attributes:
        crs: authority code such as "EPSG:32643", or WKT2; None for a grid that is nowhere on Earth.
        transform: affine (a, 0, c, 0, e, f), pixel corner (col, row) to CRS; `e` is below 0 where north is up, and
            either may have either sign.
        height, width: size in pixels, at least 1.

    Raises:
        InvalidArgumentError: the transform is rotated, sheared, or not invertible, or the size is not positive.

    Example:
        >>> box = GeoBox("EPSG:32643", (10.0, 0.0, 300000.0, 0.0, -10.0, 2100000.0), height=200, width=100)
        >>> box.bounds
        (300000.0, 2098000.0, 301000.0, 2100000.0)
    """

    crs: str | None
    transform: Transform
    height: int
    width: int

    def __post_init__(self) -> None:
        _check_transform(self.transform)
        for name, side in (("height", self.height), ("width", self.width)):
            if not 1 <= side <= MAX_SIDE:
                raise InvalidArgumentError(
                    f"grid: got a {name} of {side} pixels, expected 1 to {MAX_SIDE}; "
                    "check that resolution and bounds are in units of the CRS"
                )

    @property
    def x_size(self) -> float:
        """Width of a pixel in units of the CRS; positive."""
        return abs(self.transform[0])

    @property
    def y_size(self) -> float:
        """Height of a pixel in units of the CRS; positive."""
        return abs(self.transform[4])

    @property
    def bounds(self) -> Bounds:
        """(xmin, ymin, xmax, ymax) of the pixels' edges, in the CRS."""
        a, _, c, _, e, f = self.transform
        x_end, y_end = c + a * self.width, f + e * self.height
        return min(c, x_end), min(f, y_end), max(c, x_end), max(f, y_end)

    def xs(self) -> Floats:
        """X coordinates of the pixels' centres, float64, shape (width,)."""
        return self.transform[2] + self.transform[0] * (np.arange(self.width) + 0.5)

    def ys(self) -> Floats:
        """Y coordinates of the pixels' centres, float64, shape (height,)."""
        return self.transform[5] + self.transform[4] * (np.arange(self.height) + 0.5)

    def window(self, row_off: int, col_off: int, height: int, width: int) -> GeoBox:
        """The grid of a window of this one, in pixels. It may reach beyond the grid on any side."""
        a, _, c, _, e, f = self.transform
        return GeoBox(self.crs, (a, 0.0, c + a * col_off, 0.0, e, f + e * row_off), height, width)

    @classmethod
    def from_bounds(
        cls,
        bounds: Sequence[float],
        crs: Any,
        resolution: float | Sequence[float],
        anchor: tuple[float, float] = (0.0, 0.0),
    ) -> GeoBox:
        """The grid, north up, of all pixels that bounds touch.

        Args:
            bounds: (xmin, ymin, xmax, ymax) in the CRS. In longitude, `xmin` beyond `xmax` means over the antimeridian.
            crs: what `normalized_crs` takes, or None.
            resolution: size of a pixel in units of the CRS, or (x, y).
            anchor: a point (x, y) at which pixels' edges meet. Bounds between two edges are moved outwards.

        Raises:
            InvalidArgumentError: a value is not finite, not positive, or out of order.
        """
        crs = None if crs is None else normalized_crs(crs)
        xmin, ymin, xmax, ymax = _checked_bounds(bounds, crs)
        x_size, y_size = checked_resolution(resolution)
        origin = _numbers(anchor)
        if len(origin) != 2 or not all(map(math.isfinite, origin)):
            raise InvalidArgumentError(f"anchor: got {anchor!r}, expected two finite numbers (x, y)")
        col_first, width = _snapped(xmin, xmax, origin[0], x_size)
        row_first, height = _snapped(ymin, ymax, origin[1], y_size)
        left, top = origin[0] + col_first * x_size, origin[1] + (row_first + height) * y_size
        return cls(crs, (x_size, 0.0, left, 0.0, -y_size, top), height, width)

    @classmethod
    def from_shape(cls, bounds: Sequence[float], crs: Any, shape: Sequence[int]) -> GeoBox:
        """The grid, north up, that has exactly these bounds.

        Args:
            bounds: (xmin, ymin, xmax, ymax) in the CRS. In longitude, `xmin` beyond `xmax` means over the antimeridian.
            crs: what `normalized_crs` takes, or None.
            shape: (height, width) in pixels.

        Raises:
            InvalidArgumentError: bounds are not finite or out of order, or the shape is not two positive numbers.
        """
        crs = None if crs is None else normalized_crs(crs)
        xmin, ymin, xmax, ymax = _checked_bounds(bounds, crs)
        height, width = checked_shape(shape)
        return cls(crs, ((xmax - xmin) / width, 0.0, xmin, 0.0, (ymin - ymax) / height, ymax), height, width)


def geobox_of(like: Any) -> GeoBox:
    """The grid of something that has one.

    Args:
        like: a `GeoBox`; one of odc-geo, or anything else with `crs`, `transform` (or `affine`) and `shape`, such as an
            open rasterio file; a mapping with `crs`, `transform`, `height` and `width`, such as a rasterio profile; an
            xarray Dataset or DataArray. Of the last, coordinates say where pixels are, for a `GeoTransform` stays as it
            was when an array is cut; it is used where coordinates are missing, and to the digit where both agree.

    Raises:
        InvalidArgumentError: there is no grid in it, or one that is rotated or irregular.
    """
    if isinstance(like, GeoBox):
        return like
    if hasattr(like, "sizes") and hasattr(like, "coords"):
        return _of_xarray(like)
    if isinstance(like, Mapping):
        missing = [key for key in ("crs", "transform", "height", "width") if key not in like]
        if missing:
            raise InvalidArgumentError(
                f"like: got a mapping without {', '.join(missing)}, expected crs, transform, height and width"
            )
        crs, transform = like["crs"], like["transform"]
        shape: Any = like["height"], like["width"]
    else:
        crs, shape = getattr(like, "crs", None), getattr(like, "shape", None)
        transform = getattr(like, "affine", getattr(like, "transform", None))
    if transform is None or shape is None:
        raise InvalidArgumentError(
            f"like: got {type(like).__name__}, expected a GeoBox, an xarray object, or crs, transform and shape"
        )
    return _aligned(crs, _six(transform), *checked_shape(shape))


def normalized_crs(crs: Any) -> str:
    """Spell a CRS as the index does: its authority code where one says exactly the same, otherwise WKT2.

    Args:
        crs: an EPSG code as a number, an authority code, WKT, PROJJSON, a PROJ string, or an object of pyproj, odc-geo,
            rasterio or another library that has `to_wkt`.

    Raises:
        InvalidArgumentError: it is none of them, or one without horizontal axes.
    """
    if hasattr(crs, "__index__") and not isinstance(crs, bool):
        return _spelled(f"EPSG:{int(crs)}")
    if isinstance(crs, str):
        return _spelled(crs)
    from pyproj import CRS
    from pyproj.exceptions import ProjError

    try:
        return _spelled(CRS.from_user_input(crs).to_wkt())
    except ProjError as error:
        raise _not_a_crs(crs) from error


@lru_cache(maxsize=1024)
def same_crs(one: str | None, other: str | None) -> bool:
    """Whether two CRSs put x and y at the same places, however they are spelled.

    Raises:
        InvalidArgumentError: one is not known.
    """
    if one == other:
        return True
    if one is None or other is None:
        return False
    return _is_same(parsed_crs(one), parsed_crs(other))


@lru_cache(maxsize=1024)
def turn_of(crs: str | None) -> float | None:
    """What a turn around the Earth is in x, for a CRS in longitude and latitude: 360 degrees; None for others.

    Raises:
        InvalidArgumentError: the CRS is not known.
    """
    if crs is None:
        return None
    if crs in {"EPSG:4326", "OGC:CRS84"}:
        return 360.0
    parsed = parsed_crs(crs)
    if not parsed.is_geographic:
        return None
    # In radians per unit: a few national CRSs are in grads.
    turn = 2 * math.pi / parsed.axis_info[0].unit_conversion_factor
    return float(round(turn, 6))


def turn_at(crs: str | None, x: float) -> float | None:
    """As `turn_of`, for the CRS of some x: where no longitude is as large, PROJ need not be loaded to tell."""
    return turn_of(crs) if abs(x) < _NO_LONGITUDE else None


def parsed_crs(text: str) -> Any:
    """A pyproj CRS. It is not kept: what PROJ made belongs to its thread.

    Raises:
        InvalidArgumentError: it is not known.
    """
    from pyproj import CRS
    from pyproj.exceptions import ProjError

    try:
        return CRS.from_user_input(text)
    except ProjError as error:
        raise _not_a_crs(text) from error


@lru_cache(maxsize=1024)
def _spelled(text: str) -> str:
    from pyproj import CRS
    from pyproj.exceptions import ProjError

    crs = parsed_crs(text)
    if crs.is_geocentric or (crs.is_vertical and not crs.is_compound):
        raise InvalidArgumentError(f"crs: got {crs.name}, expected one with horizontal axes, such as 'EPSG:32643'")
    try:
        for candidate in _codes(crs):
            if _is_same(CRS.from_authority(*candidate), crs):
                return ":".join(candidate)
        return str(crs.to_wkt())
    except ProjError as error:
        raise _not_a_crs(text) from error


def _is_same(one: Any, other: Any) -> bool:
    """Whether two CRSs differ in the order of their axes at most: x comes first here, whatever they say."""
    if one.equals(other, ignore_axis_order=True):
        return True
    if not (one.is_projected and other.is_projected) or one.is_bound or other.is_bound:
        return False
    # PROJ ignores the order of latitude and longitude only. WKT of other libraries has projected axes swapped, too.
    axes = [sorted((axis.direction, axis.unit_conversion_factor) for axis in crs.axis_info) for crs in (one, other)]
    definition, system = one.to_json_dict(), other.to_json_dict().get("coordinate_system")
    if axes[0] != axes[1] or "coordinate_system" not in definition or system is None:
        return False
    same: bool = type(one).from_json_dict({**definition, "coordinate_system": system}).equals(other)
    return same


def _codes(crs: Any) -> Iterator[tuple[str, str]]:
    """The authority codes that a CRS may have. It is searched for only where it names none that fits."""
    own = crs.to_json_dict().get("id")
    if own:
        yield own["authority"], str(own["code"])
    # To PROJ a datum of which nothing is known but the ellipsoid equals each that has the ellipsoid.
    datums = {part.datum.name.lower() for part in (crs, *crs.sub_crs_list) if part.datum is not None}
    if crs.is_bound or datums & {"unknown", "unnamed"}:
        return
    for registry in ("EPSG", None):
        found = crs.to_authority(auth_name=registry, min_confidence=70)
        if found is not None:
            yield found


def _not_a_crs(crs: Any) -> InvalidArgumentError:
    shown = repr(crs)
    return InvalidArgumentError(
        f"crs: got {shown if len(shown) <= 60 else shown[:57] + '...'}, expected an authority code such as "
        "'EPSG:32643', an EPSG number, WKT, PROJJSON, or an object with to_wkt"
    )


def _of_xarray(like: Any) -> GeoBox:
    dims: dict[Axis, str] = {axis: _dimension(like, axis) for axis in _NAMES}
    reference = _reference(like)
    stored = _stored_transform(reference)
    starts: dict[Axis, tuple[float, float]] = {}
    for axis, dim in dims.items():
        known = None if stored is None else (stored[2], stored[0]) if axis == "x" else (stored[5], stored[4])
        starts[axis] = _spacing(like, dim, known)
    transform = (starts["x"][1], 0.0, starts["x"][0], 0.0, starts["y"][1], starts["y"][0])
    if stored is not None:
        _aligned(None, stored, like.sizes[dims["y"]], like.sizes[dims["x"]])
    crs = _crs_of_xarray(like, reference)
    if crs is None and all(dim.lower() in _DEGREES for dim in dims.values()):
        crs = "EPSG:4326"
    return _aligned(crs, transform, like.sizes[dims["y"]], like.sizes[dims["x"]])


def _dimension(like: Any, axis: Axis) -> str:
    """Find the dimension that an axis runs along: by its CF attributes, else by its name."""
    dims = [str(dim) for dim in like.sizes]
    for dim in dims:
        if dim in like.coords:
            attributes = like.coords[dim].attrs
            if attributes.get("standard_name") in _STANDARD_NAMES[axis] or attributes.get("axis") == axis.upper():
                return dim
    for name in _NAMES[axis]:
        for dim in dims:
            if dim.lower() == name:
                return dim
    raise InvalidArgumentError(
        f"like: got an xarray {type(like).__name__} with dimensions {', '.join(dims) or 'none'}, expected one along "
        f"{axis}: {', '.join(_NAMES[axis])}, or one whose coordinates have the attribute axis='{axis.upper()}'"
    )


def _reference(like: Any) -> Mapping[str, Any]:
    """The attributes of the grid mapping of an xarray object; none where there is none."""
    variables = [like, *getattr(like, "data_vars", {}).values()]
    names = [
        place["grid_mapping"]
        for each in variables
        for place in (getattr(each, "encoding", {}), each.attrs)
        if isinstance(place.get("grid_mapping"), str)
    ]
    for name in (*names, "spatial_ref", "crs"):
        # In a file that was opened without decoding coordinates, the grid mapping is a variable of the dataset.
        for place in (like.coords, getattr(like, "data_vars", {})):
            if name in place and place[name].attrs:
                attributes: Mapping[str, Any] = place[name].attrs
                return attributes
    return {}


def _stored_transform(reference: Mapping[str, Any]) -> tuple[float, ...] | None:
    """The affine of a `GeoTransform` attribute, which is in GDAL's order."""
    stored = reference.get("GeoTransform")
    if stored is None:
        return None
    try:
        c, a, b, f, d, e = map(float, stored.split() if isinstance(stored, str) else stored)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"like: got GeoTransform {stored!r}, expected six numbers: x, pixel width, 0, y, 0, pixel height"
        ) from error
    return a, b, c, d, e, f


def _spacing(like: Any, dim: str, known: tuple[float, float] | None) -> tuple[float, float]:
    """The first edge and the step of the pixels along a dimension.

    Args:
        like: an xarray object.
        dim: the dimension.
        known: the same as a GeoTransform says it, or None.
    """
    size = like.sizes[dim]
    if dim not in like.coords:
        if known is None:
            raise InvalidArgumentError(
                f'like: got neither coordinates along "{dim}" nor a GeoTransform, expected either'
            )
        return known
    try:
        values = np.asarray(like.coords[dim].values)
        centres = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f'like: got coordinates along "{dim}" that are no numbers') from error
    if size > 1:
        step = float(centres[-1] - centres[0]) / (size - 1)
    elif known is not None:
        step = known[1]
    else:
        raise InvalidArgumentError(
            f'like: got one coordinate along "{dim}", expected two or more, or a GeoTransform; give transform and shape'
        )
    start = float(centres[0])
    tolerance = SPACING_PIXELS * abs(step)
    if values.dtype == np.float32:
        tolerance += float(np.spacing(np.abs(values).max()))
    off = np.abs(centres - (start + step * np.arange(size))).max() if step else math.inf
    if not off <= tolerance:
        raise InvalidArgumentError(
            f'like: got irregular coordinates along "{dim}", expected equal steps; '
            "give bounds and resolution of the grid instead"
        )
    if known is not None and known[1]:
        edges = known[0] + known[1] * np.array([0.5, size - 0.5])
        if np.abs(edges - centres[[0, -1]]).max() <= tolerance:
            return known
    return start - step / 2, step


def _crs_of_xarray(like: Any, reference: Mapping[str, Any]) -> str | None:
    for key in ("crs_wkt", "spatial_ref"):
        if reference.get(key):
            return normalized_crs(reference[key])
    if reference.get("grid_mapping_name"):
        from pyproj import CRS
        from pyproj.exceptions import ProjError

        try:
            return normalized_crs(CRS.from_cf(dict(reference)))
        except (ProjError, KeyError, TypeError, ValueError) as error:
            raise InvalidArgumentError(
                f"like: got grid mapping {reference['grid_mapping_name']!r} that is no CRS, expected CF attributes "
                f"or crs_wkt ({error})"
            ) from error
    found = getattr(getattr(like, "rio", None), "crs", None) or like.attrs.get("crs")
    return normalized_crs(found) if found else None


def _six(transform: Any) -> tuple[float, ...]:
    values = _numbers(transform)
    # An `Affine` has a third row, 0 0 1.
    if len(values) not in {6, 9}:
        raise InvalidArgumentError(
            f"transform: got {type(transform).__name__} {transform!s:.60}, expected an affine (a, b, c, d, e, f)"
        )
    return values[:6]


def _aligned(crs: Any, transform: tuple[float, ...], height: int, width: int) -> GeoBox:
    """Make a grid, without the skew of rounding."""
    a, b, c, d, e, f = transform
    if abs(b) * height <= SKEW_PIXELS * abs(a) and abs(d) * width <= SKEW_PIXELS * abs(e):
        b = d = 0.0
    return GeoBox(None if crs is None else normalized_crs(crs), (a, b, c, d, e, f), height, width)


def _check_transform(transform: Sequence[float]) -> None:
    if len(transform) != 6 or not all(map(math.isfinite, transform)):
        raise InvalidArgumentError(f"transform: got {tuple(transform)!r}, expected finite numbers (a, 0, c, 0, e, f)")
    a, b, _, d, e, _ = transform
    if b or d:
        raise InvalidArgumentError(
            f"transform: got {tuple(transform)!r}, which is rotated or sheared; expected (a, 0, c, 0, e, f). "
            "Give bounds and resolution of a grid that is not"
        )
    if not a or not e:
        raise InvalidArgumentError(f"transform: got {tuple(transform)!r}, expected pixel sizes that are not 0")


def _numbers(values: Any) -> tuple[float, ...]:
    """Floats of a sequence; none where it is not one of numbers."""
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return ()


def _checked_bounds(bounds: Sequence[float], crs: str | None) -> Bounds:
    values = _numbers(bounds)
    if len(values) != 4 or not all(map(math.isfinite, values)):
        raise InvalidArgumentError(f"bounds: got {bounds!r}, expected four finite numbers (xmin, ymin, xmax, ymax)")
    xmin, ymin, xmax, ymax = values
    if xmin > xmax:
        xmax += turn_of(crs) or 0.0
    if not (xmin < xmax and ymin < ymax):
        raise InvalidArgumentError(f"bounds: got {values!r}, expected (xmin, ymin, xmax, ymax) with an area")
    return xmin, ymin, xmax, ymax


def checked_resolution(resolution: Any) -> tuple[float, float]:
    """Give the width and height of a pixel.

    Raises:
        InvalidArgumentError: it is neither a number above 0 nor two of them.
    """
    pair = _numbers(resolution if np.ndim(resolution) else (resolution, resolution))
    if len(pair) != 2 or not all(math.isfinite(size) and size > 0 for size in pair):
        raise InvalidArgumentError(f"resolution: got {resolution!r}, expected a number above 0 or (x, y), in CRS units")
    return pair[0], pair[1]


def checked_shape(shape: Any) -> tuple[int, int]:
    """Give (height, width) of a grid.

    Raises:
        InvalidArgumentError: it is no two whole numbers above 0.
    """
    try:
        height, width = (int(side) for side in shape)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"shape: got {shape!r}, expected (height, width) in pixels") from error
    if height < 1 or width < 1:
        raise InvalidArgumentError(f"shape: got {tuple(shape)!r}, expected (height, width) of at least 1")
    return height, width


def _snapped(low: float, high: float, anchor: float, size: float) -> tuple[int, int]:
    """The number of the first pixel, counted from the anchor, and of pixels, so that they hold low to high."""
    first = math.floor((low - anchor) / size + SNAP_PIXELS)
    end = math.ceil((high - anchor) / size - SNAP_PIXELS)
    return first, max(end - first, 1)
