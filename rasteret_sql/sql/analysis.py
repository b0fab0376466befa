"""Public Python functions that return rows: pixels, values at points, statistics of zones, windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from rasteret_sql.checks import check_choice, checked_list, without_crs
from rasteret_sql.index.fresh import with_fresh_stream
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.shared_docs import shares_arguments
from rasteret_sql.sql.named_index import shown_index
from rasteret_sql.sql.readers import planning_cursor, read_arguments

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from rasteret_sql.read.stream import OnError

#: Under which a cursor sees the vector table.
_VECTORS = "given_vectors"


@with_fresh_stream
@without_crs
@shares_arguments
def read_pixels(  # noqa: PLR0913 - those of read_tiles, and what rows are like
    index: Any,
    *,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: Any = "OGC:CRS84",
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
    gsd: float | None = None,
    expressions: Mapping[str, str] | None = None,
    valid_where: str | None = None,
    layout: Literal["long", "wide"] = "long",
    all_touched: bool = False,
    scale: bool = False,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    statistics: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> pa.RecordBatchReader:
    """Read the valid pixels of an area and period as rows, while later tiles are being fetched.

    Args:
        resolution: largest pixel size in units of each raster's CRS, instead of a level.
        layout: "long" gives a row per pixel and band, with `band` and `value`. "wide" gives a row per pixel, with a
            column for each name in `bands`, NULL where the pixel of the band is invalid. In this layout, the bands of
            an item need one grid.
        all_touched: take all pixels of which the area covers some part, not only those whose centres are inside.
        scale: give physical values: each stored value times the scale of its band, plus the offset.
        statistics: path of a file of `build_stats`, or the text of a query of several. Tiles in which `valid_where` is
            true nowhere, by the smallest and largest value of each band, are not fetched; without it, tiles without a
            valid pixel are not. Results are the same.
        on_error: "raise", or "skip" to leave out the pixels of tiles that cannot be read, and to log why, once for
            each file.

    Returns:
        A reader of record batches with `item_id`, `collection`, `datetime`; `x` and `y`, the centre of the pixel in the
        CRS of the file; `crs`; and the columns of the layout. Masked and nodata pixels are left out. Nothing is fetched
        before the first batch is requested.

    Raises:
        InvalidArgumentError: an argument is wrong, or bands of an item lie on different grids.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: the area touches no asset.
        RasteretError: while reading: bytes could not be fetched or decoded, and `on_error` is "raise".

    Example:
        >>> rows = read_pixels("s2.parquet", bands=["red"], geometry=field)  # doctest: +SKIP
        >>> rows.read_pandas().groupby("datetime")["value"].mean()  # doctest: +SKIP
    """
    import pyarrow as pa

    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.sql.pixels import (
        PixelArguments,
        columns_of,
        pixel_batches,
        pixel_schema,
        plan_pixels,
        wide_schema,
    )
    from rasteret_sql.sql.statistics_file import checked_statistics

    scaling = GivenScaling.of(scales, offsets, is_used=scale)
    arguments = read_arguments(
        bands, geometry, bbox, geometry_crs, datetime, level, resolution, gsd=gsd, scaling=scaling
    )
    asked = PixelArguments(
        layout, all_touched, scale, PixelFormulas.of(expressions, valid_where, arguments.bands), on_error,
        checked_statistics(statistics),
    )  # fmt: skip
    names = asked.columns(arguments.bands)
    with planning_cursor(index) as cursor:
        tiles = plan_pixels(cursor, shown_index(cursor, index, arguments), asked)
        schema = columns_of(pixel_schema(cursor), asked, arguments.bands)
    result = wide_schema(schema, names)
    batches = pixel_batches(tiles, arguments, asked, schema)
    return pa.RecordBatchReader.from_batches(result, (batch.rename_columns(result.names) for batch in batches))


@with_fresh_stream
@without_crs
@shares_arguments
def sample_points(  # noqa: PLR0913 - each is a question of its own
    index: Any,
    points: Any,
    *,
    bands: Sequence[str] | None = None,
    geometry_column: str | None = None,
    x_column: str | None = None,
    y_column: str | None = None,
    geometry_crs: Any = None,
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
    gsd: float | None = None,
    expressions: Mapping[str, str] | None = None,
    valid_where: str | None = None,
    method: Literal["nearest", "bilinear"] = "nearest",
    match: Literal["all", "latest", "nearest_time"] = "all",
    time_column: str | None = None,
    window_size: int = 1,
    max_distance_pixels: float = 0,
    scale: bool = False,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    on_error: OnError = "raise",
) -> pa.RecordBatchReader:
    """Read the values of pixels at points, each tile fetched and decoded once however many points lie in it.

    A point on the edge of a pixel lies in the pixel to its right or below, as in GDAL. Memory holds the points, some
    batches of tiles, and the values of one file at a time.

    Args:
        points: a GeoDataFrame or GeoSeries, a data frame, an Arrow table, a DuckDB relation, the path of a Parquet,
            CSV or GeoJSON file, the text of a query; or points in any form, one or a list. Pairs (x, y) are points in
            `geometry_crs`, longitude and latitude by default.
        geometry_column: column of points as GEOMETRY, WKB, WKT or GeoJSON. By default, the column of type GEOMETRY, or
            a column with a usual name.
        x_column, y_column: columns of coordinates, instead of `geometry_column`.
        geometry_crs: CRS of the points, x before y, if they declare none.
        resolution: largest pixel size in units of each raster's CRS, instead of a level.
        method: "nearest" takes the pixel in which a point lies. "bilinear" weighs the four pixels around the point.
            Invalid pixels do not take part.
        match: items for each point and band: "all" items whose file contains the point, the "latest" of them, or the
            item "nearest_time" to the time of the point. A file contains a point even if its pixel is invalid.
        time_column: column of times of the points, for match "nearest_time". Times without a zone are UTC.
        window_size: odd number: the side, in pixels, of the square around each point in `window_values`.
        max_distance_pixels: largest distance of a valid pixel that replaces an invalid one. The valid pixel with the
            nearest centre is taken.
        scale: give physical values: each stored value times the scale of its band, plus the offset.
        on_error: "raise", or "null" for rows without a value whose `error` says why.

    Returns:
        A reader of record batches: `read_all()` gives a `pyarrow.Table`, `read_pandas()` a data frame. One row per
        point, item and band, file by file and in the order of the points. The columns of the points come first, then
        `item_id`, `collection`, `datetime`, `band`; `value`, NULL where the pixel is masked or nodata; `window_values`;
        `scale`, `offset` and `error`. A point outside all files has no row. Neither has a point without coordinates.
        Nothing is fetched before the first batch is requested.

    Raises:
        InvalidArgumentError: an argument is wrong, the points have no coordinates or no CRS, or a column of the points
            has the name of a column of the result.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: no point lies in a file.
        RasteretError: while reading: bytes could not be fetched or decoded.

    Example:
        >>> rows = sample_points("s2.parquet", "plots.parquet", bands=["red"])  # doctest: +SKIP
        >>> rows.read_pandas().groupby("plot")["value"].mean()  # doctest: +SKIP
    """
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.read.samples import SampleOptions
    from rasteret_sql.sql.batches import schema_of
    from rasteret_sql.sql.samples import SAMPLE_COLUMNS, SampleArguments, plan_samples, sample_batches
    from rasteret_sql.sql.vector_tables import vector_table
    from rasteret_sql.sql.vectors import VectorColumns, point_rows

    check_choice("on_error", on_error, ("raise", "null"))
    scaling = GivenScaling.of(scales, offsets, is_used=scale)
    arguments = read_arguments(bands, None, None, None, datetime, level, resolution, gsd=gsd, scaling=scaling)
    columns = VectorColumns("points", geometry_column, x_column, y_column, time_column, geometry_crs)
    formulas = PixelFormulas.of(expressions, valid_where, arguments.bands)
    options = SampleOptions(method, match, window_size, max_distance_pixels)
    asked = SampleArguments(columns, options, scale, formulas)
    with planning_cursor(index) as cursor:
        given = vector_table(cursor, points, "points", geometry_crs)
        cursor.register(_VECTORS, given)
        rows = point_rows(cursor, _VECTORS, columns, SAMPLE_COLUMNS)
        planned = plan_samples(cursor, shown_index(cursor, index, arguments), rows, asked)
        schema = _chosen(schema_of(cursor, "samples"), SAMPLE_COLUMNS)
    return _joined(sample_batches(planned, schema, asked, on_error=on_error), given, schema)


@with_fresh_stream
@without_crs
@shares_arguments
def zonal_stats(  # noqa: PLR0913 - each is a question of its own
    index: Any,
    zones: Any,
    *,
    bands: Sequence[str] | None = None,
    stats: Sequence[str] | None = None,
    geometry_column: str | None = None,
    geometry_crs: Any = None,
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
    gsd: float | None = None,
    expressions: Mapping[str, str] | None = None,
    valid_where: str | None = None,
    weights: Literal["none", "coverage"] = "none",
    all_touched: bool = False,
    by: Literal["item", "day", "solar_day", "all"] = "item",
    scale: bool = False,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    statistics: str | os.PathLike[str] | None = None,
    on_error: OnError = "raise",
) -> pa.RecordBatchReader:
    """Compute statistics of the pixels in zones, each tile fetched and decoded once however many zones it lies in.

    Masked pixels, nodata pixels and NaN never count. Memory holds the zones, some batches of tiles, and the statistics
    of one group of files (see `by`). Median, quantiles, majority, minority and variety are exact. For them, memory also
    holds the values of the group.

    Args:
        zones: a GeoDataFrame or GeoSeries, an Arrow table, a DuckDB relation, the path of a Parquet or GeoJSON file,
            the text of a query; or geometries in any form, one or a list.
        stats: names out of "count", "sum", "sumsq", "mean", "stdev" (of the population), "min", "max", "median",
            "majority", "minority", "variety", and quantiles "p0" to "p100", interpolated as by NumPy; by default
            "count", "sum", "mean", "stdev", "min" and "max".
        geometry_column: column of zones as GEOMETRY, WKB, WKT or GeoJSON. By default, the column of type GEOMETRY, or a
            column with a usual name.
        geometry_crs: CRS of the zones, x before y, if they declare none.
        resolution: largest pixel size in units of each raster's CRS, instead of a level.
        weights: "none" takes the pixels whose centres are inside, as GDAL's rasterizer does. "coverage" takes all
            pixels that a polygon covers in part, and weighs each pixel by its covered part, as exactextract does.
        by: group of files for each statistic: per "item", per UTC "day", per "solar_day", or "all" files together.
            Where items overlap, each of their pixels counts.
        scale: compute with physical values: each stored value times the scale of its band, plus the offset.
        statistics: path of a file of `build_stats`, or the text of a query of several. Tiles that lie as a whole in all
            zones that they touch are taken from it, and only the others are read; results are the same. Tiles of files,
            bands, levels and statistics that it does not have are read. With `expressions` or `valid_where`, tiles are
            read in which `valid_where` may be true.
        on_error: "raise", or "null" for rows without statistics whose `error` says why.

    Returns:
        A reader of record batches: `read_all()` gives a `pyarrow.Table`, `read_pandas()` a data frame. One row per
        zone, band, and item or day. The columns of the zones come first, then `item_id`, `collection`, `datetime`,
        `band`; `items`, the number of files of the band that the zone touches; one column per statistic; `scale`,
        `offset` and `error`. A zone that touches a file but contains no valid pixel has a row with a count of 0. A zone
        that touches no file has no row. Nothing is fetched before the first batch is requested.

    Raises:
        InvalidArgumentError: an argument is wrong, the zones have no geometry or no CRS, or a column of the zones has
            the name of a possible column of the result.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: no zone touches a file.
        AssetChangedError: `statistics` has another version of a file than the index.
        RasteretError: while reading: bytes could not be fetched or decoded.

    Example:
        >>> rows = zonal_stats("s2.parquet", "fields.parquet", bands=["red"], stats=["mean"])  # doctest: +SKIP
        >>> rows.read_pandas().pivot_table("mean", "field", "datetime")  # doctest: +SKIP
    """
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.read.statistics import check_statistics
    from rasteret_sql.read.zonal import ZonalOptions
    from rasteret_sql.sql.statistics_file import checked_statistics
    from rasteret_sql.sql.vector_tables import vector_table
    from rasteret_sql.sql.vectors import VectorColumns, zone_rows
    from rasteret_sql.sql.zonal import (
        OUTPUT_COLUMNS,
        ZONAL_COLUMNS,
        ZonalArguments,
        plan_zones,
        zonal_batches,
        zonal_schema,
    )

    check_choice("on_error", on_error, ("raise", "null"))
    scaling = GivenScaling.of(scales, offsets, is_used=scale)
    names = check_statistics(checked_list("stats", stats, "names such as ['mean', 'p90'], or None"))
    arguments = read_arguments(bands, None, None, None, datetime, level, resolution, gsd=gsd, scaling=scaling)
    columns = VectorColumns("zones", geometry_column, crs=geometry_crs)
    formulas = PixelFormulas.of(expressions, valid_where, arguments.bands)
    asked = ZonalArguments(
        columns, ZonalOptions(names, weights, all_touched, scale), by, formulas, checked_statistics(statistics)
    )
    with planning_cursor(index) as cursor:
        given = vector_table(cursor, zones, "zones", geometry_crs)
        cursor.register(_VECTORS, given)
        rows = zone_rows(cursor, _VECTORS, columns, ZONAL_COLUMNS)
        planned = plan_zones(cursor, shown_index(cursor, index, arguments), rows, asked)
        schema = _chosen(zonal_schema(cursor), [*OUTPUT_COLUMNS[0], *names, *OUTPUT_COLUMNS[1]])
    return _joined(zonal_batches(planned, schema, asked, on_error=on_error), given, schema)


@with_fresh_stream
@without_crs
@shares_arguments
def chips(  # noqa: PLR0913 - those of read_tiles, and which windows
    index: Any,
    *,
    size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: Any = "OGC:CRS84",
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
    gsd: float | None = None,
    edges: Literal["drop", "keep"] = "drop",
    where_valid: float | None = None,
    valid_where: str | None = None,
    statistics: str | os.PathLike[str] | None = None,
) -> pa.RecordBatchReader:
    """List windows of one size of each item as rows, as a training set needs them.

    Windows begin at the upper left pixel of an image, and every `stride` pixels from there, whatever the area is. If
    the bands of an item have several resolutions, windows are those of its finest grid, and `size` is in its pixels.
    Nothing is fetched unless `where_valid` or `valid_where` is given.

    Args:
        size: height and width of the windows in pixels; one number for both.
        stride: pixels from one window to the next, one number or (height, width). By default, windows lie side by side.
            A smaller stride makes windows that overlap, and a larger one leaves gaps.
        geometry: area as GeoJSON (mapping or text), WKT, WKB or an object with `__geo_interface__`, in `geometry_crs`;
            or None. Windows that it touches are listed, as for `bbox`.
        resolution: largest pixel size in units of each raster's CRS, instead of a level.
        edges: "drop" leaves out windows that reach beyond the image. "keep" cuts them off at its right and bottom
            edges, so that windows cover the whole image.
        where_valid: least share of pixels, 0 to 1, that are valid in all bands: neither masked, nodata nor NaN. Windows
            with less are left out. 0 leaves out none, and gives the share of each.
        valid_where: condition over bands of the item, such as `'SCL NOT IN (8, 9, 10)'`. Pixels where it is not true do
            not count as valid. Its bands need not be in `bands`, and are read at the nearest pixel. An item without
            them has no windows.
        statistics: path of a file of `build_stats`, or the text of a query of several. Tiles are read only under
            windows whose share it does not decide; with `valid_where`, tiles in which it is true nowhere are not read.
            Results are the same.

    Returns:
        A reader of record batches: `read_all()` gives a `pyarrow.Table`, which `read_chips` and `to_torchgeo` take as
        `chips`. One row per item and window, with `item_id`, `collection`, `datetime`, `level`; `row_off`, `col_off`,
        `height` and `width` in pixels of the level; `bounds`, in `crs`, the CRS of the file; `footprint`, WKB in
        longitude and latitude; and `valid_share`, NULL without `where_valid` and `valid_where`. Rows stream. If the
        share is counted, memory holds the windows of an item, and a byte for each pixel under those that must be read.

    Raises:
        InvalidArgumentError: an argument is wrong, or bands of an item whose share is counted have several CRSs.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: the area touches no asset, or no item has the bands of `valid_where`.
        AssetChangedError: `statistics` has another version of a file than the index.
        RasteretError: while reading: bytes could not be fetched or decoded.

    Example:
        >>> windows = chips("s2.parquet", size=256, bands=["red"], where_valid=0.9)  # doctest: +SKIP
        >>> pixels = read_chips("s2.parquet", windows, bands=["red"])  # doctest: +SKIP
    """
    import pyarrow as pa

    from rasteret_sql.plan.chips import ChipGrid
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.sql.batches import schema_of
    from rasteret_sql.sql.chips import ChipArguments, chip_batches, geoparquet_schema, plan_chips
    from rasteret_sql.sql.statistics_file import checked_statistics

    condition = PixelFormulas.of(None, valid_where, None)
    asked = ChipArguments(ChipGrid.of(size, stride, edges), where_valid, checked_statistics(statistics), condition)
    wants_share = where_valid is not None or condition is not None
    arguments = read_arguments(bands, geometry, bbox, geometry_crs, datetime, level, resolution, gsd=gsd)
    with planning_cursor(index) as cursor:
        planned = plan_chips(cursor, shown_index(cursor, index, arguments), asked, wants_share=wants_share)
        schema = geoparquet_schema(pa.schema([each for each in schema_of(cursor, "chips") if each.name != "_call"]))
    return pa.RecordBatchReader.from_batches(schema, chip_batches(planned, schema))


def _chosen(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """Give the number of a row, and the columns of a result."""
    import pyarrow as pa

    return pa.schema([schema.field(name) for name in ("rst_row", *names)])


def _joined(batches: Iterator[pa.RecordBatch], given: pa.Table, schema: pa.Schema) -> pa.RecordBatchReader:
    """Put the columns of the rows of a vector table before those that are read for them.

    Args:
        batches: what is read; `rst_row` is the number of a row of the table.
        given: the table.
        schema: of `batches`.
    """
    import pyarrow as pa

    names = schema.names[1:]
    result = pa.schema([*given.schema, *(schema.field(name) for name in names)])

    def joined() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = given.take(batch.column("rst_row"))
            table = pa.table([*rows.columns, *(batch.column(name) for name in names)], schema=result)
            yield from table.combine_chunks().to_batches()

    return pa.RecordBatchReader.from_batches(result, joined())
