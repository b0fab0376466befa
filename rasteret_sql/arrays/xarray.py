"""Query results as an `xarray.Dataset` with CF coordinates and CRS: native pixels, or on a grid that is asked for."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.arrays.cubes import CubeArguments, plan_cube
from rasteret_sql.arrays.failures import Failures, LazyFailures
from rasteret_sql.arrays.grids import GridArguments
from rasteret_sql.arrays.memory import check_size, new_array
from rasteret_sql.checks import checked_list, number_of, shown
from rasteret_sql.database.schema import RENAMED_PROPERTY
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.fresh import with_fresh_headers
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.read.assembly import filled, read_cube
from rasteret_sql.shared_docs import shares_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import xarray as xr

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.cube import CubeBand

#: Name of the coordinate that holds the CRS, as rioxarray and odc-geo look for it.
SPATIAL_REF = "spatial_ref"
#: `chunks` of xarray's backend: each variable reads a window when it is indexed.
WHEN_INDEXED: Final = object()
_DIMS = ("time", "y", "x")
#: Times that 64 bits of nanoseconds hold.
_FIRST_NS, _LAST_NS = np.datetime64("1677-09-22", "us"), np.datetime64("2262-04-11", "us")


@with_fresh_headers
@shares_arguments
def to_xarray(  # noqa: PLR0913 - keywords only
    index: Any,
    *,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: str = "OGC:CRS84",
    all_touched: bool = False,
    datetime: str | None = None,
    level: int | None = None,
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    shape: tuple[int, int] | None = None,
    transform: Any = None,
    like: Any = None,
    allow_extreme_scale: bool = False,
    resampling: str | Mapping[str, str] = "nearest",
    groupby: str | None = None,
    mosaic: str = "first",
    nodata: float | Mapping[str, float] | None = None,
    dtype: Any = None,
    chunks: Any = None,
    mask_and_scale: bool = False,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    on_error: str = "raise",
) -> xr.Dataset:
    """Read an area into an `xarray.Dataset`.

    Where no grid is requested, and all files share one CRS and one pixel grid, pixels are those of the files, bit for
    bit. Coarser bands are then resampled to the grid of the finest. Files in several CRSs, or on grids that are shifted
    by part of a pixel, need `crs` and `resolution`, or another definition of the grid.

    `index` may also be rows of pixels: a query over `read_pixels` with `x`, `y`, `band` and `value`, or a column for
    each band, and `datetime` where there are several times. They become float64 arrays again, NaN where there is no
    row, on the grid of their coordinates. `crs` is the column of that name, or the argument.

    Args:
        level: on the files' own grid: 0 is full resolution, n the nth overview.
        chunks: None reads at once. Sizes of chunks, for example {"time": 1, "y": 2048, "x": 2048}, make Dask arrays
            that are read when they are computed; {} is one chunk per slice and band.
        on_error: "raise"; or "nodata" fills the pixels of files that failed, and lists these files in the attribute
            "failed". With `chunks` this list is empty at first, and grows while chunks are computed, also by the
            workers of a Dask cluster. The failures are logged as well.

    Returns:
        One variable (time, y, x) per band, in the dtype of the files, with coordinates of pixel centres, ordered by
        time. Coordinates along time are `item_id`, `collection`, and the properties on which all items of each slice
        agree; missing numbers are NaN and missing texts "". `spatial_ref` has the CRS as CF and GDAL write it. Invalid
        pixels hold the nodata value, which is in `_FillValue`. Floats without a nodata value get NaN, which is never
        valid where pixels are resampled or items overlap. Where a band has a mask and no nodata value, a boolean
        variable "<band>_valid" holds the mask if any pixel is invalid. Means and medians of integers are floats.

    Raises:
        InvalidArgumentError: an argument is wrong, or the files share no grid and none is requested.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
        RasteretError: bytes could not be fetched or decoded, and `on_error` is "raise".
    """
    _import_xarray()
    from rasteret_sql.arrays.pixel_table import holds_pixels
    from rasteret_sql.sql.readers import read_arguments

    if holds_pixels(index):
        given = {
            "geometry": geometry, "bbox": bbox, "datetime": datetime, "level": level, "shape": shape,
            "transform": transform, "like": like, "groupby": groupby, "nodata": nodata, "dtype": dtype,
            "chunks": None if chunks is WHEN_INDEXED else chunks, "scales": scales, "offsets": offsets,
        }  # fmt: skip
        return _dataset_of_pixels(index, bands, crs, resolution, given)

    failures = Failures.of(on_error)
    if chunks is not None and chunks is not WHEN_INDEXED:
        from rasteret_sql.arrays.dask import check_chunks

        check_chunks(chunks)
    scaling = GivenScaling.of(scales, offsets)
    planned = plan_cube(
        index,
        read_arguments(bands, geometry, bbox, geometry_crs, datetime, level, None, scaling=scaling),
        CubeArguments(
            GridArguments(crs, resolution, shape, transform, like, allow_extreme_scale),
            resampling,
            groupby,
            mosaic,
            nodata,
            dtype,
            all_touched,
            is_physical=mask_and_scale,
        ),
        with_properties=True,
    )
    return dataset_of(planned, failures, chunks=chunks)


def _dataset_of_pixels(
    rows: Any, bands: Sequence[str] | None, crs: Any, resolution: Any, given: Mapping[str, Any]
) -> xr.Dataset:
    """Make the dataset of rows of pixels.

    Raises:
        InvalidArgumentError: rows lie on no grid, two are one pixel, or an argument has no effect on them.
    """
    from rasteret_sql.arrays.pixel_table import pixel_table, refuse_others

    refuse_others(given)
    if resolution is not None and not (number_of(resolution) or 0) > 0:
        raise InvalidArgumentError(f"resolution: got {shown(resolution)}, expected the size of pixels, one number")
    wanted = checked_list("bands", bands, "names such as ['red', 'nir'], or None for all bands")
    table = pixel_table(rows, wanted, crs, resolution)
    coordinates = {
        "time": ("time", _moments(table.times), {"standard_name": "time", "axis": "T"}),
        **_grid_coordinates(table.box, (table.xs, table.ys), has_transform=True),
    }
    variables = {
        name: (_DIMS, values, {"grid_mapping": SPATIAL_REF, "_FillValue": np.nan})
        for name, values in table.values.items()
    }
    dataset: xr.Dataset = _import_xarray().Dataset(variables, coords=coordinates)
    return dataset


def _import_xarray() -> Any:
    """Import xarray.

    Raises:
        InvalidArgumentError: it is not installed.
    """
    try:
        import xarray as xr
    except ImportError as error:
        raise InvalidArgumentError("to_xarray: xarray is required: pip install 'rasteret-sql[xarray]'") from error
    return xr


def dataset_of(planned: PlannedCube, failures: Failures, *, chunks: Any = None) -> xr.Dataset:
    """Make the dataset of a cube that was planned with properties; the arguments are those of `to_xarray`.

    Raises:
        InvalidArgumentError: xarray is not installed, or a band is named like a coordinate.
        RasteretError: bytes could not be fetched or decoded, and failures are raised.
    """
    xarray = _import_xarray()
    check_size(planned.cube, in_memory=chunks is None)
    coordinates = _coordinates(planned)
    _check_names(planned.cube.bands, coordinates)
    # Chunks that the caller of xarray leaves open are those of `lazy_arrays`.
    encoding: dict[str, Any] = {"preferred_chunks": {"time": 1}} if chunks is WHEN_INDEXED else {}
    attributes: dict[str, Any] = {}
    if chunks is None:
        arrays = _read(planned, failures)
        if failures.found:
            attributes["failed"] = failures.described()
    else:
        from rasteret_sql.arrays.dask import SharedCube, lazy_arrays

        shared = SharedCube(planned.cube, "nodata" if failures.is_kept else "raise")
        if isinstance(told := shared.failures, LazyFailures):
            attributes["failed"] = told.listed
        if chunks is WHEN_INDEXED:
            from rasteret_sql.arrays.indexed import indexed_arrays

            arrays = indexed_arrays(shared)
        else:
            arrays = lazy_arrays(shared, chunks)
    variables: dict[str, Any] = {}
    for band, (pixels, mask) in zip(planned.cube.bands, arrays, strict=True):
        variables[band.name] = (_DIMS, pixels, _attributes(band), encoding)
        if mask is not None:
            variables[f"{band.name}_valid"] = (_DIMS, mask, {"grid_mapping": SPATIAL_REF}, encoding)
    dataset: xr.Dataset = xarray.Dataset(variables, coords=coordinates, attrs=attributes)
    return dataset


def _read(planned: PlannedCube, failures: Failures) -> list[tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]]:
    """Read all of a cube; gives pixels and, where it is to be kept, the mask of each band."""
    cube = planned.cube
    shape = (cube.group_count, cube.box.height, cube.box.width)
    pixels = [new_array(shape, band.dtype) for band in cube.bands]
    masks = [new_array(shape, bool) if band.has_mask else None for band in cube.bands]
    read_cube(cube, pixels, masks, on_failure=failures.add)
    return [
        filled(array, None if mask is None or mask.all() else mask, band)
        for band, array, mask in zip(cube.bands, pixels, masks, strict=True)
    ]


def _check_names(bands: Sequence[CubeBand], coordinates: Mapping[str, Any]) -> None:
    names = {band.name for band in bands}
    for band in bands:
        if band.name in coordinates or f"{band.name}_valid" in names:
            raise InvalidArgumentError(
                f'bands: got "{band.name}", expected no name that a coordinate or a mask of the dataset has; '
                "rename the asset in the query, or use to_numpy"
            )


def _coordinates(planned: PlannedCube) -> dict[str, Any]:
    box = planned.cube.box
    coordinates: dict[str, Any] = {
        "time": ("time", _moments(planned.times), {"standard_name": "time", "axis": "T"}),
        "item_id": ("time", np.array(planned.item_ids, object)),
        "collection": ("time", np.array([collection or "" for collection in planned.collections], object)),
    }
    if (planned.item_counts > 1).any():
        coordinates["item_count"] = ("time", planned.item_counts)
    coordinates |= _grid_coordinates(
        box, planned.centres or (box.xs(), box.ys()), has_transform=planned.has_transform
    )  # fmt: skip
    # A property may have any name, that of a band too; then it is called as an index calls properties.
    bands = {name for band in planned.cube.bands for name in (band.name, f"{band.name}_valid")}
    for name, column in planned.properties.items():
        is_taken = name in coordinates or name in bands
        coordinates[RENAMED_PROPERTY.format(name) if is_taken else name] = ("time", _coordinate(column))
    return coordinates


def _grid_coordinates(box: GeoBox, centres: tuple[Any, Any], *, has_transform: bool) -> dict[str, Any]:
    """Give the coordinates (xs, ys) of pixels with their CF attributes, and the CRS."""
    coordinates: dict[str, Any] = {}
    x_attributes: dict[str, Any] = {"axis": "X", "long_name": "x coordinate of the pixel's centre"}
    y_attributes: dict[str, Any] = {"axis": "Y", "long_name": "y coordinate of the pixel's centre"}
    reference: dict[str, Any] = {}
    if box.crs is not None:
        from pyproj import CRS

        crs = CRS.from_user_input(box.crs)
        with warnings.catch_warnings():
            # What CF has no parameter for is in the WKT beside it.
            warnings.filterwarnings("ignore", message=".*lost in conversion to CF")
            reference = {**crs.to_cf(), "spatial_ref": crs.to_wkt()}
        for axis in crs.cs_to_cf():
            {"X": x_attributes, "Y": y_attributes}.get(axis.get("axis", ""), {}).update(axis)
    if has_transform:
        a, b, c, d, e, f = box.transform
        reference["GeoTransform"] = " ".join(repr(float(value)) for value in (c, a, b, f, d, e))
    xs, ys = centres
    coordinates["x"] = ("x", xs, x_attributes)
    coordinates["y"] = ("y", ys, y_attributes)
    coordinates[SPATIAL_REF] = ((), 0, reference)
    return coordinates


def _moments(times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
    """Give times in nanoseconds, which every xarray takes; in microseconds where one is out of their range."""
    exact = times.astype("M8[us]")
    fits = np.isnat(exact) | ((exact >= _FIRST_NS) & (exact <= _LAST_NS))
    return exact.astype("M8[ns]") if fits.all() else exact


def _coordinate(column: np.ma.MaskedArray[Any, Any]) -> npt.NDArray[Any]:
    """Give a property as an array that files can hold: NULL is NaN, NaT or ""."""
    missing, values = np.ma.getmaskarray(column), np.ma.getdata(column)
    if values.dtype.kind == "M":
        return _moments(np.where(missing, np.datetime64("NaT", "us"), values.astype("M8[us]")))
    if values.dtype.kind == "O":
        return np.array(["" if absent else str(value) for absent, value in zip(missing, values, strict=True)], object)
    if not missing.any():
        return np.asarray(values)
    return np.where(missing, np.nan, values.astype(np.float64))


def _attributes(band: CubeBand) -> dict[str, Any]:
    """Give the CF attributes of a band: its unit, and what turns stored values into physical ones."""
    attributes: dict[str, Any] = {"grid_mapping": SPATIAL_REF}
    if band.unit:
        attributes["units"] = band.unit
    if band.is_physical:
        return attributes
    if (band.nodata is not None and band.fill == band.nodata) or (band.nodata is not None and np.isnan(band.nodata)):
        attributes["_FillValue"] = band.fill
    if band.scale not in {None, 1.0} or band.offset not in {None, 0.0}:
        attributes["scale_factor"] = 1.0 if band.scale is None else band.scale
        attributes["add_offset"] = 0.0 if band.offset is None else band.offset
    return attributes
