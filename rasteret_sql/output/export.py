"""Query results as files: cloud optimised GeoTIFF, Zarr, netCDF, or a Parquet table of pixels."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rasteret_sql.arrays.cubes import CubeArguments, GridArguments, plan_cube
from rasteret_sql.arrays.failures import Failures
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.export_files import SUFFIXES, checked_path

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
    """What an export did.

    Attributes:
        files: what was written, in order of time.
        failures: what could not be read, one line for each file; its pixels are nodata.
        requests, tiles, fetched_bytes: how many range requests gave how many encoded tiles and bytes.
        seconds: how long it took.
    """

    files: tuple[ExportedFile, ...]
    failures: tuple[str, ...]
    requests: int
    tiles: int
    fetched_bytes: int
    seconds: float


def export(  # noqa: PLR0913 - keywords only
    index: Any,
    path: str | os.PathLike[str],
    *,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: str = "OGC:CRS84",
    datetime: str | None = None,
    level: int | None = None,
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    shape: tuple[int, int] | None = None,
    transform: Any = None,
    like: Any = None,
    resampling: str | Mapping[str, str] = "nearest",
    groupby: str | None = None,
    mosaic: str = "first",
    mask_and_scale: bool = False,
    on_error: str = "raise",
    nodata: float | None = None,
    overviews: str = "auto",
    compression: str = "deflate",
) -> ExportReport:
    """Write an area of some items and bands into files.

    The suffix says the format. `.tif` is a cloud optimised GeoTIFF of one time: of several, the path has a place for
    what tells them apart, "ndvi-{date}.tif", or `groupby` and `mosaic` make one of them. `.zarr` and `.nc` hold all
    times, as `to_xarray` gives them. `.parquet` is a table with a row for each pixel that has data: time, item_id, x
    and y of its centre, and a column for each band.

    Memory is bounded, whatever the size: files are written block by block (`.zarr` and `.nc` where Dask is installed).
    They are written aside and renamed, and take the place of older ones.

    Args:
        index: rows of an index: a DuckDB relation, an Arrow table, a Parquet path, glob or URL, or the text of a query.
        path: the file. In that of a GeoTIFF, {date} (2024-01-31), {time} (20240131T103000), {item}, {collection} and
            {band} are replaced; {band} gives a file for each band.
        bands, geometry, bbox, geometry_crs, datetime, level: what is read, as in `to_xarray`.
        crs, resolution, shape, transform, like, resampling: onto which grid, and how.
        groupby, mosaic: what one slice of time is, and which pixel is taken where its items overlap.
        mask_and_scale: write physical values as floats, NaN where pixels are not valid. Without it stored values are
            written, and scale and offset in the metadata.
        on_error: "raise", or "nodata" to go on without what cannot be read, and list it in the report.
        nodata: of a GeoTIFF: the value of pixels without data, where those of the files are not to be kept.
        overviews: of a GeoTIFF: "average", "nearest" or "none". "auto" averages bands that are measured: floats, those
            with scale or unit, with a common name such as "red", or resampled by bilinear, cubic or average.
        compression: of a GeoTIFF: "deflate", "zstd" or "none".

    Returns:
        What was written, and what failed.

    Raises:
        InvalidArgumentError: an argument is wrong, a library is missing, or the format cannot hold what was asked for.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
        RasteretError: bytes could not be fetched or decoded and `on_error` is "raise", or the file cannot be written.
    """
    from rasteret_sql.read.progress import listening

    began = time.perf_counter()
    target = checked_path(path)
    kind = SUFFIXES[target.suffix.lower()]
    failures = Failures.of(on_error)
    _check_options(kind, nodata=nodata, overviews=overviews, compression=compression)
    reading = {
        "bands": bands, "geometry": geometry, "bbox": bbox, "geometry_crs": geometry_crs, "datetime": datetime,
        "level": level, "crs": crs, "resolution": resolution, "shape": shape, "transform": transform, "like": like,
        "resampling": resampling, "groupby": groupby, "mosaic": mosaic,
    }  # fmt: skip
    counts = _Counts()
    with listening(counts.report):
        if kind in {"zarr", "nc"}:
            from rasteret_sql.output.export_xarray import write_cube

            file, failed = write_cube(index, target, reading, mask_and_scale=mask_and_scale, on_error=on_error)
            files = [file]
        else:
            planned = _planned(index, **reading)
            if kind == "tif":
                from rasteret_sql.output.export_cog import CogOptions, write_cogs

                options = CogOptions(nodata, overviews, compression, mask_and_scale=mask_and_scale)
                files = write_cogs(planned, target, options, failures)
            else:
                from rasteret_sql.output.export_pixels import write_pixels

                files = [write_pixels(planned, target, failures, mask_and_scale=mask_and_scale)]
            failed = failures.described()
    return ExportReport(
        files=tuple(files),
        failures=tuple(failed),
        requests=counts.requests,
        tiles=counts.tiles,
        fetched_bytes=counts.fetched_bytes,
        seconds=time.perf_counter() - began,
    )


@dataclass(slots=True)
class _Counts:
    """Adds up what reads report, which they do on one thread."""

    requests: int = 0
    tiles: int = 0
    fetched_bytes: int = 0

    def report(self, progress: ReadProgress) -> None:
        """Take what is done so far: reads report each request that has arrived."""
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
        if options[name] not in values:
            raise InvalidArgumentError(f"{name}: got {options[name]!r}, expected one of {', '.join(values)}")
    defaults = {"nodata": None, "overviews": "auto", "compression": "deflate"}
    for name, default in defaults.items():
        if kind != "tif" and options[name] != default:
            raise InvalidArgumentError(f"{name}: got {options[name]!r} for .{kind}, expected it for .tif only")


def _planned(
    index: Any,
    *,
    bands: Any,
    geometry: Any,
    bbox: Any,
    geometry_crs: str,
    datetime: str | None,
    level: int | None,
    resampling: Any,
    groupby: str | None,
    mosaic: str,
    **grid: Any,
) -> PlannedCube:
    from rasteret_sql.sql.readers import read_arguments

    return plan_cube(
        index,
        read_arguments(bands, geometry, bbox, geometry_crs, datetime, level, None),
        CubeArguments(GridArguments(**grid), resampling, groupby, mosaic),
    )
