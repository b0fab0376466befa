"""`rasteret-sql sample`: the values of pixels at points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import Commands, new_command
from rasteret_sql.apps.joins import add_options, common, write_rows
from rasteret_sql.apps.read_bar import read_bar
from rasteret_sql.apps.sql import result_format

if TYPE_CHECKING:
    import argparse

_EPILOG = """\
One row per point, item and band. The columns of the points come first, then item_id, collection, datetime, band, value,
window_values, scale, offset and error. A masked or nodata pixel has no value. A point outside all files has no row.

examples:
  rasteret-sql sample s2.parquet plots.parquet --bands red,nir -o values.parquet
  rasteret-sql sample s2.parquet plots.geojson --bands red --match latest
  rasteret-sql sample s2.parquet plots.csv --x-column easting --y-column northing --geometry-crs EPSG:32643 --format csv
  rasteret-sql sample s2.parquet plots.parquet --expression "ndvi=(nir - red) / (nir + red)"
  rasteret-sql sample s2.parquet visits.parquet --match nearest_time --time-column visited"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "sample", "read the values of pixels at points", _EPILOG)
    where = add_options(command, "points")
    where.add_argument("--x-column", metavar="COLUMN", help="column of x coordinates, instead of --geometry-column")
    where.add_argument("--y-column", metavar="COLUMN", help="column of y coordinates")
    where.add_argument("--time-column", metavar="COLUMN", help="column of times, for --match nearest_time")
    how = command.add_argument_group("values")
    how.add_argument(
        "--method",
        default="nearest",
        choices=("nearest", "bilinear"),
        help="pixel of the point, or the four pixels around it",
    )
    how.add_argument(
        "--match", default="all", choices=("all", "latest", "nearest_time"), help="items for each point and band (all)"
    )
    how.add_argument(
        "--window-size", type=int, default=1, metavar="N", help="also give the N x N pixels around each point"
    )
    how.add_argument(
        "--max-distance-pixels",
        type=float,
        default=0,
        metavar="N",
        help="take the nearest valid pixel, up to N pixels away (0)",
    )
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Read the points and write the rows."""
    result_format(arguments)
    from rasteret_sql.sql.analysis import sample_points

    with read_bar() as bar:
        rows = sample_points(
            arguments.index,
            arguments.points,
            **common(arguments),
            x_column=arguments.x_column,
            y_column=arguments.y_column,
            method=arguments.method,
            match=arguments.match,
            time_column=arguments.time_column,
            window_size=arguments.window_size,
            max_distance_pixels=arguments.max_distance_pixels,
        )
        write_rows(arguments, rows, bar)
    return 0
