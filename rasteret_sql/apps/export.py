"""`rasteret-sql export`: an area of items and bands as GeoTIFF, Zarr, netCDF or a table of pixels."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import (
    Commands,
    add_area,
    add_bands,
    add_datetime,
    add_index,
    add_level,
    add_scaling,
    geometry,
    names,
    new_command,
    numbers,
)
from rasteret_sql.apps.console import Style, aligned, columns_of_terminal, listed, note
from rasteret_sql.apps.read_bar import read_bar
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from rasteret_sql.output.export import ExportReport
    from rasteret_sql.output.export_files import ExportedFile

#: Exit code where files are written but some of what they were to hold could not be read.
SOME_FAILED = 3
_SHOWN_FILES = 20
#: Under this name --sql finds the rows of INDEX.
_VIEW = "index"

_EPILOG = """\
The suffix selects the format:
  .tif      a cloud optimised GeoTIFF of one time. --groupby and --mosaic combine several times.
            {date}, {time} or {item} in the name writes one file per time, and {band} one file
            per band
  .zarr     all times and bands, with CRS and coordinates by the CF conventions
  .nc       the same as netCDF
  .parquet  a table with one row per valid pixel: time, item_id, x, y, and the bands

Without --crs and --resolution, the files must share one grid, and their pixels are written unchanged.
An existing file is replaced after the new file is complete.

examples:
  rasteret-sql export s2.parquet -o red.tif --bands red --where "item_id = 'S2B_43PGQ_20240106_0_L2A'"
  rasteret-sql export s2.parquet -o 'ndvi-{item}.tif' --bands '(nir - red) / (nir + red)'
  rasteret-sql export s2.parquet -o 'rgb-{date}.tif' --bands red,green,blue --crs EPSG:32643 --resolution 20
  rasteret-sql export s2.parquet -o best.tif --sql 'FROM index ORDER BY "eo:cloud_cover"' --bands red,nir \\
      --crs EPSG:32643 --resolution 10 --bbox 77.5,12.9,77.7,13.1 --groupby collection --mosaic median
  rasteret-sql export s2.parquet -o cube.zarr --crs EPSG:4326 --resolution 0.0001 --resampling 'scl=nearest,*=bilinear'
  rasteret-sql export s2.parquet -o pixels.parquet --bands red,nir --bbox 77.59,12.97,77.6,12.98 --mask-and-scale

exit codes:
  0  everything is written
  1  an error: no incomplete file remains
  2  wrong usage
  3  everything is written, but with --on-error nodata some files could not be read: stderr names each"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "export", "write an area as GeoTIFF, Zarr, netCDF or a table of pixels", _EPILOG)
    add_index(command)
    command.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="file to write: .tif, .zarr, .nc or .parquet"
    )
    rows = command.add_argument_group("items")
    rows.add_argument("--where", metavar="CONDITION", help="condition on columns of the index")
    rows.add_argument("--sql", metavar="QUERY", help="query for index rows; INDEX is the table `index`")
    add_datetime(rows)
    area = command.add_argument_group("area and bands")
    add_bands(area)
    of_geometry = "GeoJSON or WKT, or a file with it; pixels outside are masked"
    add_area(area, of_geometry=of_geometry, is_clipped=True)
    add_level(area)
    grid = command.add_argument_group("grid")
    grid.add_argument("--crs", metavar="CRS", help="CRS of the grid, such as EPSG:32643")
    grid.add_argument(
        "--resolution", type=_resolution, metavar="SIZE", help="size of a pixel in units of --crs, or X,Y"
    )
    grid.add_argument(
        "--shape", type=_shape, metavar="HEIGHT,WIDTH", help="size of the grid in pixels, instead of --resolution"
    )
    grid.add_argument(
        "--allow-extreme-scale",
        action="store_true",
        help="allow pixels over 1,000 times coarser or finer than those of the files",
    )
    grid.add_argument(
        "--resampling",
        type=_by_band("BAND=METHOD, such as scl=nearest,*=bilinear"),
        default="nearest",
        metavar="METHOD",
        help="nearest, bilinear, cubic, average, mode, min, max; or per band: scl=nearest,*=bilinear (nearest)",
    )
    grid.add_argument("--groupby", metavar="WHAT", help="make one time slice per id, time, day, solar_day, or column")
    grid.add_argument(
        "--mosaic",
        default="first",
        metavar="HOW",
        help="rule for overlapping items: first, last, min, max, mean, median or count (first)",
    )
    values = command.add_argument_group("values and format")
    values.add_argument(
        "--mask-and-scale", action="store_true", help="write physical values as floats, with NaN for missing data"
    )
    add_scaling(values)
    values.add_argument(
        "--dtype",
        type=_by_band("BAND=DTYPE, such as scl=uint8,*=float32"),
        metavar="DTYPE",
        help="dtype of the pixels, such as uint16; or per band: scl=uint8,*=float32 (that of the files)",
    )
    values.add_argument("--nodata", type=float, metavar="VALUE", help="value of pixels without data in a GeoTIFF")
    values.add_argument(
        "--overviews",
        default="auto",
        choices=("auto", "average", "nearest", "none"),
        help="overviews of a GeoTIFF (auto)",
    )
    values.add_argument(
        "--compression",
        default="deflate",
        choices=("deflate", "zstd", "none"),
        help="compression of a GeoTIFF (deflate)",
    )
    values.add_argument(
        "--on-error",
        default="raise",
        choices=("raise", "nodata"),
        help="raise an error, or write nodata for unreadable files (raise)",
    )
    command.add_argument("--json", action="store_true", help="write the report as JSON")
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Export, and report on stdout; what failed is named on stderr."""
    if arguments.where is not None and arguments.sql is not None:
        arguments.usage_error("--where: got --sql too, expected one of them; put the condition into the query")
    from rasteret_sql.output.export import export
    from rasteret_sql.sql.connection import connect

    with connect() as con:
        index = index_rows(con, arguments.index, where=arguments.where, sql=arguments.sql)
        with read_bar():
            report = export(
                index,
                arguments.output,
                bands=arguments.bands,
                geometry=geometry(arguments.geometry),
                bbox=arguments.bbox,
                geometry_crs=arguments.geometry_crs,
                all_touched=arguments.all_touched,
                datetime=arguments.datetime,
                level=arguments.level,
                crs=arguments.crs,
                resolution=arguments.resolution,
                shape=arguments.shape,
                allow_extreme_scale=arguments.allow_extreme_scale,
                resampling=arguments.resampling,
                groupby=arguments.groupby,
                mosaic=arguments.mosaic,
                mask_and_scale=arguments.mask_and_scale,
                scales=arguments.scales,
                offsets=arguments.offsets,
                on_error=arguments.on_error,
                nodata=arguments.nodata,
                dtype=arguments.dtype,
                overviews=arguments.overviews,
                compression=arguments.compression,
            )
    if arguments.json:
        print(json.dumps(_as_json(report), indent=2))
    else:
        print(_as_text(report, Style.of(sys.stdout)))
    if not report.failures:
        return 0
    note(Style.of(sys.stderr).error(f"{count(len(report.failures), 'file')} could not be read, and are nodata:"))
    for line in report.failures:
        note(f"  {line}")
    return SOME_FAILED


def index_rows(con: duckdb.DuckDBPyConnection, index: str | None, *, where: str | None, sql: str | None) -> Any:
    """Give the rows of an index that a condition or a query leaves, as reads take them.

    Args:
        con: where a query runs; the index is a view there, named `index`.
        index: path, folder, glob or URL; None for a query that names its own.
        where: a condition in SQL, or None.
        sql: a query in SQL, or None.

    Raises:
        InvalidIndexError: there is no such index.
    """
    from rasteret_sql.database.folders import index_files, index_reader
    from rasteret_sql.database.select_text import nested, require_condition, require_select
    from rasteret_sql.errors import InvalidArgumentError
    from rasteret_sql.sql.named_index import check_local

    if where is None and sql is None:
        return index
    if index is not None:
        check_local(index)
        # With hrefs that need no folder.
        rows = index_reader([index] if "://" in index else index_files(index), is_absolute=True)
        con.execute(f"CREATE VIEW {_VIEW} AS SELECT * FROM {rows}")  # noqa: S608 - quoted
    if where is not None:
        condition = require_condition(con, where, "--where", error=InvalidArgumentError)
        return f"FROM {rows} AS {_VIEW} WHERE {nested(condition)}"
    assert sql is not None
    expected = "rows of the index, such as \"FROM index WHERE asset = 'red'\" (--where takes a condition alone)"
    return con.sql(require_select(con, sql, "--sql", rows=expected, error=InvalidArgumentError))


def _resolution(text: str) -> float | tuple[float, float]:
    """Read one size, or two."""
    values = numbers(text)
    if len(values) == 1:
        return values[0]
    if len(values) == 2:
        return values[0], values[1]
    raise argparse.ArgumentTypeError(f"got {text!r}, expected a number, or X,Y")


def _shape(text: str) -> tuple[int, int]:
    """Read a height and a width."""
    parts = names(text)
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected HEIGHT,WIDTH in pixels, such as 512,512")
    return int(parts[0]), int(parts[1])


def _by_band(example: str) -> Callable[[str], str | dict[str, str]]:
    """Make a parser of a value for all bands, or of values by band such as "scl=nearest"."""

    def parse(text: str) -> str | dict[str, str]:
        if "=" not in text:
            return text
        values = {}
        for part in names(text):
            band, sign, value = part.rpartition("=")
            if not (sign and band and value):
                raise argparse.ArgumentTypeError(f"got {part!r}, expected {example}")
            values[band] = value
        return values

    return parse


def _as_text(report: ExportReport, style: Style) -> str:
    """Lay out what was written."""
    first = report.files[0]
    width = columns_of_terminal() - 14
    shape = " x ".join(f"{side:,}" for side in first.shape)
    facts: dict[str, str | list[str]] = {
        "grid": f"{shape} ({', '.join(('time', 'y', 'x')[-len(first.shape) :])}), {_crs(first)}",
        "bands": listed([f"{name} {dtype}" for name, dtype in _bands(report)], width=width),
        "read": f"{count(report.tiles, 'tile')} in {count(report.requests, 'range request')}, "
        f"{size(report.fetched_bytes)} in {report.seconds:.1f} s",
    }
    if first.rows is not None:
        facts["rows"] = f"{first.rows:,}"
    lines = [f"{style.bold(str(file.path))}  {size(file.nbytes)}" for file in report.files[:_SHOWN_FILES]]
    if len(report.files) > _SHOWN_FILES:
        lines.append(f"and {len(report.files) - _SHOWN_FILES:,} more; --json lists all")
    return "\n".join([*lines, aligned(facts, style, indent="  ")])


def _bands(report: ExportReport) -> dict[tuple[str, str], None]:
    return {pair: None for file in report.files for pair in zip(file.bands, file.dtypes, strict=True)}


def _crs(file: ExportedFile) -> str:
    if file.crs is None:
        return "no CRS"
    return file.crs if len(file.crs) < 40 else "a CRS of its own"


def _as_json(report: ExportReport) -> dict[str, Any]:
    """Give the report as JSON can hold it."""
    values = asdict(report)
    for file in values["files"]:
        file["path"] = str(file["path"])
    return {**values, "seconds": round(report.seconds, 3)}
