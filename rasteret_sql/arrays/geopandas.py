"""Query results as a GeoDataFrame: one row per item, geometry and band, with the pixels of the geometry's window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rasteret_sql.arrays.cubes import plans_of
from rasteret_sql.arrays.failures import Failures
from rasteret_sql.arrays.memory import new_array
from rasteret_sql.checks import check_flag, shown
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.geo.crs import LONLAT, normalized_crs, parsed_crs, same_crs
from rasteret_sql.geo.geometry import parse_geometries
from rasteret_sql.index.fresh import with_fresh_headers
from rasteret_sql.shared_docs import shares_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    import geopandas as gpd
    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import PlannedAsset
    from rasteret_sql.read.zones import ZoneLayout

#: Columns that are added to those of the geometries, in order; the column of geometries stands between these two.
_BEFORE = ("item_id", "collection", "datetime", "band")
_AFTER = ("pixels", "mask", "transform", "crs", "nodata")


@with_fresh_headers
@shares_arguments
def to_geopandas(
    index: Any,
    geometries: Any,
    *,
    bands: Sequence[str] | None = None,
    geometry_crs: Any = None,
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
    all_touched: bool = False,
    on_error: Literal["raise", "nodata"] = "raise",
) -> gpd.GeoDataFrame:
    """Read the pixels of many geometries, each tile fetched and decoded once however many geometries share it.

    Items may have any CRS and resolution: pixels are those of the files, and nothing is resampled. Memory is the
    result, 64 MiB of tiles in flight, one tile per decoding thread, and some kilobytes per row.

    Args:
        geometries: a GeoDataFrame or GeoSeries; or Shapely geometries, GeoJSON, WKT or objects with
            `__geo_interface__`: one, or a list. Properties of GeoJSON features become columns.
        geometry_crs: CRS of geometries that have none of their own; longitude and latitude by default.
        resolution: largest pixel size in units of each raster's CRS, instead of a level.
        on_error: "raise", or "nodata" to mask what could not be read and to list it in `attrs["failed"]`.

    Returns:
        One row per geometry, item and band, in the order of the geometries, of time, and of `bands`. The index and the
        columns of a GeoDataFrame are kept, and say which geometry a row is of. Added are `item_id`, `collection`,
        `datetime`, `band`; `pixels`, an array (y, x) of the file's dtype: the window of the geometry's bounds, cut off
        at the edges of the file; `mask`, booleans of the same shape, True for pixels that are valid and inside the
        geometry; the affine `transform` of the window; the `crs` of the file; and `nodata`, None where the band has
        none. Pixels of tiles that the geometry does not touch hold nodata, or 0. Items that a geometry does not touch
        have no row for it.

    Raises:
        InvalidArgumentError: an argument is wrong, or geopandas is not installed.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: no item has pixels in any of the geometries.
        RasteretError: bytes could not be fetched or decoded.

    Example:
        >>> rows = to_geopandas("s2.parquet", fields, bands=["red"])  # doctest: +SKIP
        >>> rows["mean"] = [row.pixels[row.mask].mean() for row in rows.itertuples()]  # doctest: +SKIP
    """
    try:
        import geopandas as gpd
    except ImportError as error:
        raise InvalidArgumentError(
            "to_geopandas: geopandas is required: pip install 'rasteret-sql[geopandas]'"
        ) from error
    from rasteret_sql.geo.search import search_boxes
    from rasteret_sql.read.zones import ZoneLayout
    from rasteret_sql.sql.readers import read_arguments

    failures = Failures.of(on_error)
    check_flag("all_touched", all_touched)
    given = _frame(geometries, geometry_crs)
    crs = normalized_crs(given.crs)
    area = search_boxes(given.geometry.bounds.to_numpy(), crs)
    if area is None:
        raise EmptyReadError("geometries: got none that is not empty, expected one or more")
    arguments = read_arguments(bands, area, None, crs, datetime, level, resolution)
    with plans_of(index, arguments) as plans:
        files = plans.files(arguments)
        layout = ZoneLayout(files.assets, given.geometry.to_numpy(), crs, all_touched=all_touched)
        if not layout.cells:
            raise EmptyReadError(
                f"geometries: none of {len(given)} touches an item that the index, bands and datetime leave; widen one "
                "of them, or look at the index with SQL"
            )
        planned = files.plan_windows(layout.windows())
    pixels = [new_array((cell.height, cell.width), layout.assets[cell.asset_no].dtype) for cell in layout.cells]
    masks = [new_array(array.shape, bool) for array in pixels]
    layout.read(planned, pixels, masks, on_failure=failures.add)
    frame = _joined(given, layout, pixels, masks)
    if failures.found:
        frame.attrs["failed"] = failures.described()
    return gpd.GeoDataFrame(frame, geometry=given.geometry.name, crs=given.crs)


def _joined(
    given: gpd.GeoDataFrame,
    layout: ZoneLayout,
    pixels: Sequence[npt.NDArray[Any]],
    masks: Sequence[npt.NDArray[np.bool_]],
) -> Any:
    """Put the columns together: those of the geometries, repeated, and what was read."""
    import pandas as pd

    assets = [layout.assets[cell.asset_no] for cell in layout.cells]
    times = [np.datetime64("NaT" if asset.datetime_us is None else asset.datetime_us, "us") for asset in assets]
    frame = given.take([cell.zone for cell in layout.cells])
    columns: dict[str, Any] = {
        "item_id": [asset.item_id for asset in assets],
        "collection": [asset.collection for asset in assets],
        "datetime": pd.DatetimeIndex(np.array(times, "M8[us]")).tz_localize("UTC"),
        "band": [cell.band.name for cell in layout.cells],
        "pixels": _objects(pixels),
        "mask": _objects(masks),
        "transform": _objects([_corner(cell, asset) for cell, asset in zip(layout.cells, assets, strict=True)]),
        "crs": [asset.crs for asset in assets],
        "nodata": _objects([cell.band.nodata for cell in layout.cells]),
    }
    name = given.geometry.name
    others = [column for column in given.columns if column != name]
    before = {column: frame[column] for column in others} | {column: columns[column] for column in _BEFORE}
    after = {column: columns[column] for column in _AFTER}
    return pd.DataFrame(before | {name: frame.geometry} | after, index=frame.index)


def _corner(cell: Any, asset: PlannedAsset) -> tuple[float, float, float, float, float, float]:
    assert asset.transform is not None
    a, _, c, _, e, f = asset.transform
    return a, 0.0, c + a * cell.col_off, 0.0, e, f + e * cell.row_off


def _objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    """Give a column whose values stay what they are, also where they are arrays of one shape."""
    column = np.empty(len(values), object)
    for number, value in enumerate(values):
        column[number] = value
    return column


def _frame(geometries: Any, geometry_crs: Any) -> gpd.GeoDataFrame:
    """Give geometries as a GeoDataFrame with a CRS.

    Raises:
        InvalidArgumentError: they are none, their CRS is not known or another one, or columns have names that are ours.
    """
    import geopandas as gpd

    if isinstance(geometries, gpd.GeoSeries):
        frame = gpd.GeoDataFrame(geometry=geometries)
    elif isinstance(geometries, gpd.GeoDataFrame):
        frame = geometries
    else:
        crs = normalized_crs(LONLAT if geometry_crs is None else geometry_crs, name="geometry_crs")
        features = parse_geometries(geometries, crs)
        frame = gpd.GeoDataFrame(list(features.properties), geometry=list(features.geometries), crs=parsed_crs(crs))
    taken = [name for name in (*_BEFORE, *_AFTER) if name in frame.columns]
    if taken:
        raise InvalidArgumentError(
            f"geometries: got the column {', '.join(taken)}, expected no name that the result gives to columns of its "
            "own; rename it"
        )
    if frame.crs is None and geometry_crs is None:
        raise InvalidArgumentError(
            "geometries: got some without a CRS, expected one; set it with set_crs, or give geometry_crs"
        )
    if frame.crs is None:
        return frame.set_crs(parsed_crs(normalized_crs(geometry_crs, name="geometry_crs")))
    if geometry_crs is not None and not same_crs(
        normalized_crs(frame.crs), normalized_crs(geometry_crs, name="geometry_crs")
    ):
        raise InvalidArgumentError(
            f"geometry_crs: got {shown(geometry_crs)}, and the geometries say that they are in {frame.crs.name}, "
            "expected the same; leave geometry_crs out, or bring them there with to_crs"
        )
    return frame
