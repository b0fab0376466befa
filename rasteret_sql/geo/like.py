"""The grid of an object that has one: of xarray, odc-geo, rasterio, or a mapping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import normalized_crs
from rasteret_sql.geo.geobox import GeoBox, checked_shape, numbers_of

if TYPE_CHECKING:
    import numpy.typing as npt

#: Part of a pixel by which coordinates of pixel centres, often rounded, may miss a regular spacing.
SPACING_PIXELS: Final = 0.01
#: Part of a pixel by which a grid may be rotated or sheared over its whole size and still be axis aligned.
SKEW_PIXELS: Final = 1e-4

Axis = Literal["x", "y"]
_NAMES: Final[dict[Axis, tuple[str, ...]]] = {"x": ("x", "lon", "longitude"), "y": ("y", "lat", "latitude")}
_STANDARD_NAMES: Final[dict[Axis, tuple[str, ...]]] = {
    "x": ("projection_x_coordinate", "longitude"),
    "y": ("projection_y_coordinate", "latitude"),
}
_DEGREES: Final = frozenset({"lon", "longitude", "lat", "latitude"})


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


def centres_of(like: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """The coordinates of pixel centres of an object, x before y, so that what is read onto its grid has the very same.

    They differ in the last digits from what is computed of a transform, and arrays join by equal coordinates.

    Args:
        like: as for `geobox_of`.

    Returns:
        Arrays float64, shapes (width,) and (height,); None where the object has no coordinates.
    """
    if hasattr(like, "sizes") and hasattr(like, "coords"):
        dims = [_dimension(like, "x"), _dimension(like, "y")]
        if not all(dim in like.coords for dim in dims):
            return None
        x, y = (like.coords[dim].values for dim in dims)
    else:
        # A GeoBox of odc-geo has its own, by dimension.
        coordinates = getattr(like, "coordinates", None)
        names = getattr(like, "dimensions", None) or ()
        if not isinstance(coordinates, Mapping) or len(names) != 2:
            return None
        y, x = (coordinates[name].values for name in names)
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


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
        # A window of the grid has its step to the last bit, whatever rounding errors its coordinates have.
        first = round((start - known[0]) / known[1] - 0.5)
        edges = known[0] + known[1] * (first + np.array([0.5, size - 0.5]))
        if np.abs(edges - centres[[0, -1]]).max() <= tolerance:
            return known[0] + known[1] * first, known[1]
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
    values = numbers_of(transform)
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
