"""`rasteret-sql chips`: windows of one size as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import (
    Commands,
    add_area,
    add_bands,
    add_datetime,
    add_index,
    add_level,
    add_pixel_size,
    new_command,
    sides,
)
from rasteret_sql.apps.read_bar import read_bar
from rasteret_sql.apps.sql import add_result, result_format, write_result

if TYPE_CHECKING:
    import argparse

_EPILOG = """\
One row per item and window: item_id, collection, datetime, level, row_off, col_off, height, width, bounds, crs,
footprint and valid_share. Windows begin at the upper left pixel of an image. Without --where-valid and --valid-where
nothing is fetched, and valid_share is NULL.

examples:
  rasteret-sql chips s2.parquet --size 256 -o chips.parquet
  rasteret-sql chips s2.parquet --size 256 --stride 128 --bands red,nir --where-valid 0.9 -o chips.parquet
  rasteret-sql chips s2.parquet --size 256 --bands red --valid-where "scl NOT IN (8, 9, 10)" --where-valid 0.9
  rasteret-sql chips s2.parquet --size 256 --where-valid 0.9 --statistics s2.stats.parquet --format csv"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "chips", "list windows of one size as rows", _EPILOG)
    add_index(command)
    add_result(command)
    which = command.add_argument_group("windows")
    which.add_argument(
        "--size", required=True, type=sides, metavar="PIXELS", help="height and width: one number, or HEIGHT,WIDTH"
    )
    which.add_argument(
        "--stride",
        type=sides,
        metavar="PIXELS",
        help="pixels from one window to the next, in the same forms (the size)",
    )
    which.add_argument(
        "--edges",
        default="drop",
        choices=("drop", "keep"),
        help="leave out windows that reach beyond the image, or cut them off there (drop)",
    )
    which.add_argument(
        "--where-valid", type=float, metavar="SHARE", help="least share of pixels, 0 to 1, that are valid in all bands"
    )
    which.add_argument(
        "--valid-where",
        metavar="CONDITION",
        help='pixels where it is not true are not valid: "scl NOT IN (8, 9, 10)"',
    )
    which.add_argument(
        "--statistics", metavar="STATS", help="file of `rasteret-sql stats`: fewer tiles are read for --where-valid"
    )
    read = command.add_argument_group("what is read")
    add_bands(read)
    add_area(read, of_geometry="area as GeoJSON or WKT, in lon/lat or in --geometry-crs", has_grid=False)
    add_datetime(read)
    add_level(read)
    add_pixel_size(read)
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """List the windows and write the rows."""
    result_format(arguments)
    from rasteret_sql.sql.analysis import chips
    from rasteret_sql.sql.connection import connect

    with read_bar() as bar, connect() as con:
        rows = chips(
            arguments.index,
            size=arguments.size,
            stride=arguments.stride,
            bands=arguments.bands,
            geometry=arguments.geometry,
            bbox=arguments.bbox,
            geometry_crs=arguments.geometry_crs,
            datetime=arguments.datetime,
            level=arguments.level,
            resolution=arguments.resolution,
            gsd=arguments.gsd,
            edges=arguments.edges,
            where_valid=arguments.where_valid,
            valid_where=arguments.valid_where,
            statistics=arguments.statistics,
        )
        con.execute("SET TimeZone = 'UTC'")
        write_result(con, con.from_arrow(rows).set_alias("windows"), arguments, bar)
    return 0
