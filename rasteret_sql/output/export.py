"""Query results as files: cloud optimised GeoTIFF, Zarr, netCDF, or a Parquet table of pixels."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.arrays.cubes import CubeArguments, plan_cube
from rasteret_sql.arrays.failures import Failures
from rasteret_sql.arrays.grids import GridArguments
from rasteret_sql.arrays.memory import check_size
from rasteret_sql.checks import check_choice, check_flag, shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.index.fresh import with_fresh_headers
from rasteret_sql.output.export_files import SUFFIXES, check_replaceable, checked_target
from rasteret_sql.output.export_formula import plan_with_formula
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.shared_docs import shares_arguments

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from rasteret_sql.arrays.cubes import PlannedCube
    from rasteret_sql.output.export_files import ExportedFile
    from rasteret_sql.read.progress import ReadProgress

#: How overviews may be made.
OVERVIEWS = ("auto", "average", "nearest", "none")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The files and the cost of an export.

    Attributes:
        files: the files that were written, in order of time.
        failures: one line for each file that could not be read; its pixels are nodata.
        requests, tiles, fetched_bytes: number of range requests, and of the encoded tiles and bytes that they gave.
        seconds: duration.
    """

    files: tuple[ExportedFile, ...]
    failures: tuple[str, ...]
    requests: int
    tiles: int
    fetched_bytes: int
    seconds: float


@with_fresh_headers
@shares_arguments
def export(  # noqa: PLR0913 - keywords only
    index: Any,
    path: str | os.PathLike[str],
    *,
    bands: Sequence[str] | str | None = None,
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
    mask_and_scale: bool = False,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    on_error: str = "raise",
    nodata: float | None = None,
    dtype: Any = None,
    overviews: str = "auto",
    compression: str = "deflate",
) -> ExportReport:
    """Write an area into files.

    The suffix decides the format. `.tif` is a cloud optimised GeoTIFF of one time. For several times, put a placeholder
    into the path, "ndvi-{date}.tif", or make one slice of them with `groupby` and `mosaic`. `.zarr` and `.nc` hold all
    times, as `to_xarray` gives them. `.parquet` is a table with a row for each pixel that has data: time, item_id, x
    and y of its centre, and a column for each band.

    Memory is bounded, whatever the size: files are written block by block (`.zarr` and `.nc` where Dask is installed).
    Files are written under a temporary name and renamed, and replace older files. A file that is read is never
    replaced.

    Pixels are those of `to_numpy`, also under a mask. A GeoTIFF keeps the colours of the files: photometric
    interpretation, alpha channel and palette.

    A formula over bands, such as "(nir - red) / (nir + red)", is computed from physical values, and is one band of
    float32, NaN where a band has no value. It is computed for each item alone; `mosaic` combines its values. `.tif` and
    `.parquet` hold it, and `nodata` and `dtype` are refused with it.

    Args:
        path: the file. For a GeoTIFF, {date} (2024-01-31), {time} (20240131T103000), {item}, {collection} and {band}
            are replaced; {band} gives a file for each band.
        bands: assets ("red"), or bands inside them ("visual:red"); None for all; or one formula of band names, numbers,
            + - * / ** and parentheses, in which a name such as "visual:red" stands in double quotes.
        mask_and_scale: write physical values as floats, NaN where pixels are not valid. Without it, stored values are
            written, and scale and offset go into the metadata.
        on_error: "raise", or "nodata" to leave out files that cannot be read, and to list them in the report.
        nodata: for a GeoTIFF, the value of pixels without data; by default the value of the files.
        overviews: for a GeoTIFF, "average", "nearest" or "none". "auto" averages measured bands: floats, bands with a
            scale, a unit or a common name such as "red", and bands resampled by bilinear, cubic or average.
        compression: for a GeoTIFF, "deflate", "zstd" or "none".

    Returns:
        A report of the files that were written, and of those that could not be read.

    Raises:
        InvalidArgumentError: an argument is wrong, a library is missing, or the format cannot hold what was asked for.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
        RasteretError: bytes could not be fetched or decoded and `on_error` is "raise", or the file cannot be written.
    """
    from rasteret_sql.output.export_pixels import write_pixels
    from rasteret_sql.output.export_xarray import write_cube
    from rasteret_sql.read.progress import listening
    from rasteret_sql.sql.readers import read_arguments

    began = time.perf_counter()
    target = checked_target(path)
    kind = SUFFIXES[target.suffix.lower()]
    failures = Failures.of(on_error)
    check_flag("mask_and_scale", mask_and_scale)
    _check_options(kind, nodata=nodata, overviews=overviews, compression=compression)
    wanted = CubeArguments(
        GridArguments(crs, resolution, shape, transform, like, allow_extreme_scale),
        resampling,
        groupby,
        mosaic,
        None,
        dtype,
        all_touched,
        is_physical=mask_and_scale,
    )

    scaling = GivenScaling.of(scales, offsets)

    def plan(labels: Any, *, is_by_item: bool = False) -> PlannedCube:
        arguments = read_arguments(labels, geometry, bbox, geometry_crs, datetime, level, None, scaling=scaling)
        # A formula is computed in float64 from stored values.
        cube = replace(wanted, is_by_item=is_by_item, is_physical=mask_and_scale and not is_by_item)
        return plan_cube(index, arguments, cube, with_properties=kind in {"zarr", "nc"})

    planned, formula = plan_with_formula(
        bands, plan, kind=kind, mosaic=mosaic, refused={"nodata": nodata, "dtype": dtype}
    )
    check_size(planned.cube, in_memory=False)
    counts = _Counts()
    failed: list[str] | None = None
    with listening(counts.report):
        if kind == "tif":
            from rasteret_sql.output.export_cog import CogOptions, write_cogs

            options = CogOptions(nodata, overviews, compression, mask_and_scale)
            files = write_cogs(planned, target, options, failures, formula)
        else:
            check_replaceable(target, planned.cube.plan.assets)
            if kind == "parquet":
                files = [write_pixels(planned, target, failures, formula=formula)]
            else:
                file, failed = write_cube(planned, target, failures)
                files = [file]
    return ExportReport(
        files=tuple(files),
        failures=tuple(failures.described() if failed is None else failed),
        requests=counts.requests,
        tiles=counts.tiles,
        fetched_bytes=counts.fetched_bytes,
        seconds=time.perf_counter() - began,
    )


@dataclass(slots=True)
class _Counts:
    """Adds up the reports of reads, which come on one thread."""

    requests: int = 0
    tiles: int = 0
    fetched_bytes: int = 0

    def report(self, progress: ReadProgress) -> None:
        """Take a report: reads send one for each request that has arrived."""
        self.requests += progress.nbytes > self.fetched_bytes
        self.tiles, self.fetched_bytes = progress.tiles, progress.nbytes


def _check_options(kind: str, **options: Any) -> None:
    """Refuse options that are none, or are those of another format.

    Raises:
        InvalidArgumentError: there is one.
    """
    from rasteret_sql.output.cog_writer import COMPRESSIONS

    known = {"overviews": OVERVIEWS, "compression": COMPRESSIONS}
    for name, values in known.items():
        check_choice(name, options[name], values)
    defaults = {"nodata": None, "overviews": "auto", "compression": "deflate"}
    nodata = options["nodata"]
    if nodata is not None and not isinstance(nodata, (int, float, np.number)):
        raise InvalidArgumentError(f"nodata: got {shown(nodata)}, expected a number")
    for name, default in defaults.items():
        if kind != "tif" and options[name] != default:
            raise InvalidArgumentError(f"{name}: got {shown(options[name])} for .{kind}, expected it for .tif only")
