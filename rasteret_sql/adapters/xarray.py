"""Query results as an `xarray.Dataset` on the native grid of the files, with CF coordinates and CRS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.adapters.numpy import item_times, plan_arrays
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.read.grid import GridLayout
from rasteret_sql.read.tiles import valid_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import xarray as xr

    from rasteret_sql.read.plan import PlannedBand

#: Name of the coordinate that holds the CRS, as rioxarray and odc-geo look for it.
SPATIAL_REF = "spatial_ref"


def to_xarray(
    index: Any,
    *,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    crs: str = "OGC:CRS84",
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
    mask_and_scale: bool = False,
) -> xr.Dataset:
    """Read an area into an `xarray.Dataset`, pixel for pixel as the files have it.

    All files must share one CRS and one pixel grid.

    Args:
        index: rows of an index: a DuckDB relation, an Arrow table, a Parquet path, glob or URL, or the text of a query.
        bands: assets ("red"), or bands inside them ("visual:red"); None for all.
        geometry: GeoJSON, WKT, WKB or anything with `__geo_interface__`, in `crs`; only tiles that it touches are
            read, and what lies outside them is masked.
        bbox: (xmin, ymin, xmax, ymax) in `crs`.
        crs: CRS of `geometry` and `bbox`; longitude and latitude by default.
        datetime: "2024-01", "2024-01-01/2024-02-15" and other forms of STAC, ends included.
        level: 0 is full resolution, n the nth overview.
        resolution: instead of a level, the largest pixel size in units of each raster's CRS.
        mask_and_scale: give floats, with NaN for pixels that are not valid, and scale and offset applied.

    Returns:
        One variable (time, y, x) per band, in the dtype of the files, with coordinates of pixel centres, `item_id`
        and `collection` along time, ordered by time, and `spatial_ref`. Pixels that are not valid hold the nodata
        value, which is in `_FillValue`. Where a mask says more than nodata does, a boolean variable
        "<band>_valid" has it.

    Raises:
        InvalidArgumentError: an argument is wrong, or the files do not share one grid.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
        RasteretError: bytes could not be fetched or decoded.
    """
    try:
        import xarray as xr
    except ImportError as error:
        raise InvalidArgumentError(
            "to_xarray: xarray is not installed, expected it to be; run pip install 'rasteret-sql[xarray]'"
        ) from error
    from rasteret_sql.sql.readers import read_arguments

    layout = GridLayout(plan_arrays(index, read_arguments(bands, geometry, bbox, crs, datetime, level, resolution)))
    shape = (len(layout.items), layout.height, layout.width)
    pixels = [np.empty(shape, dtype) for dtype in layout.dtypes]
    masks = [np.empty(shape, bool) for _ in layout.bands]
    layout.read(pixels, masks)

    dims = ("time", "y", "x")
    variables: dict[str, Any] = {}
    reserved = {"time", "y", "x", "item_id", "collection", SPATIAL_REF}
    for number, (band, array, mask) in enumerate(zip(layout.bands, pixels, masks, strict=True)):
        if band.name in reserved or f"{band.name}_valid" in {other.name for other in layout.bands}:
            raise InvalidArgumentError(
                f'bands: got "{band.name}", expected no name that a coordinate or a mask of the dataset has; '
                "rename the asset in the query, or use to_numpy"
            )
        scale, offset = layout.scaling(number)
        if mask_and_scale:
            variables[band.name] = (dims, _scaled(array, mask, scale, offset), _attributes(band))
            continue
        nodata = layout.nodata(number)
        attributes = _attributes(band) | _packing(array.dtype, nodata, scale, offset)
        variables[band.name] = (dims, array, attributes)
        says_all = "_FillValue" in attributes and np.array_equal(mask, valid_pixels(array, nodata or 0.0))
        if not says_all and not mask.all():
            variables[f"{band.name}_valid"] = (dims, mask, {"grid_mapping": SPATIAL_REF})
    dataset = xr.Dataset(variables, coords=_coordinates(layout))
    return dataset.sortby("time") if len(layout.items) > 1 else dataset


def _coordinates(layout: GridLayout) -> dict[str, Any]:
    coordinates: dict[str, Any] = {
        "time": ("time", item_times(layout).astype("M8[ns]"), {"standard_name": "time", "axis": "T"}),
        "item_id": ("time", np.array([item_id for _, item_id, _ in layout.items], object)),
        "collection": ("time", np.array([collection for collection, _, _ in layout.items], object)),
    }
    x_attributes: dict[str, Any] = {"axis": "X", "long_name": "x coordinate of the pixel's centre"}
    y_attributes: dict[str, Any] = {"axis": "Y", "long_name": "y coordinate of the pixel's centre"}
    reference: dict[str, Any] = {}
    if layout.crs is not None:
        from pyproj import CRS

        crs = CRS.from_user_input(layout.crs)
        reference = {**crs.to_cf(), "spatial_ref": crs.to_wkt()}
        for axis in crs.cs_to_cf():
            {"X": x_attributes, "Y": y_attributes}.get(axis.get("axis", ""), {}).update(axis)
    if layout.transform is not None:
        x_size, _, x_off, _, y_size, y_off = layout.transform
        reference["GeoTransform"] = " ".join(repr(value) for value in (x_off, x_size, 0.0, y_off, 0.0, y_size))
    else:
        x_size, x_off, y_size, y_off = 1.0, 0.0, 1.0, 0.0
    coordinates["x"] = ("x", x_off + x_size * (np.arange(layout.width) + 0.5), x_attributes)
    coordinates["y"] = ("y", y_off + y_size * (np.arange(layout.height) + 0.5), y_attributes)
    coordinates[SPATIAL_REF] = ((), 0, reference)
    return coordinates


def _attributes(band: PlannedBand) -> dict[str, Any]:
    attributes: dict[str, Any] = {"grid_mapping": SPATIAL_REF}
    if band.unit:
        attributes["units"] = band.unit
    return attributes


def _packing(dtype: np.dtype[Any], nodata: float | None, scale: float | None, offset: float | None) -> dict[str, Any]:
    """Give the CF attributes that turn stored values into physical ones."""
    attributes: dict[str, Any] = {}
    if nodata is not None and _holds(dtype, nodata):
        attributes["_FillValue"] = dtype.type(nodata)
    if scale not in {None, 1.0} or offset not in {None, 0.0}:
        attributes["scale_factor"] = 1.0 if scale is None else scale
        attributes["add_offset"] = 0.0 if offset is None else offset
    return attributes


def _holds(dtype: np.dtype[Any], nodata: float) -> bool:
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return bool(np.isfinite(nodata)) and nodata == int(nodata) and limits.min <= nodata <= limits.max


def _scaled(
    pixels: npt.NDArray[Any], mask: npt.NDArray[np.bool_], scale: float | None, offset: float | None
) -> npt.NDArray[Any]:
    """Give physical values as the smallest float type that holds the stored ones exactly."""
    dtype = np.result_type(pixels.dtype, np.float32)
    values = pixels.astype(dtype)
    if scale is not None:
        values *= dtype.type(scale)
    if offset is not None:
        values += dtype.type(offset)
    values[~mask] = np.nan
    return values
