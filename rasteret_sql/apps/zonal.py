"""`rasteret-sql zonal`: statistics of the pixels in zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import Commands, names, new_command
from rasteret_sql.apps.joins import add_options, common, write_rows
from rasteret_sql.apps.read_bar import read_bar
from rasteret_sql.apps.sql import result_format

if TYPE_CHECKING:
    import argparse

_EPILOG = """\
One row per zone, band, and item or day. The columns of the zones come first, then item_id, collection, datetime, band,
items, the statistics, scale, offset and error. A zone that touches no file has no row.

Statistics: count, sum, sumsq, mean, stdev, min, max, median, majority, minority, variety, and quantiles p0 to p100.

examples:
  rasteret-sql zonal s2.parquet fields.parquet --bands red,nir -o fields_stats.parquet
  rasteret-sql zonal s2.parquet fields.geojson --stats count,mean,p10,p90 --by day
  rasteret-sql zonal s2.parquet fields.parquet --expression "ndvi=(nir - red) / (nir + red)" --valid-where "scl = 4"
  rasteret-sql zonal s2.parquet fields.geojson --weights coverage --by all --format csv"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "zonal", "compute statistics of the pixels in zones", _EPILOG)
    add_options(command, "zones")
    how = command.add_argument_group("statistics")
    how.add_argument(
        "--stats", type=names, metavar="NAME,...", help="statistics (count,sum,mean,stdev,min,max); see below"
    )
    how.add_argument(
        "--weights",
        default="none",
        choices=("none", "coverage"),
        help="take pixels by their centres, or weigh each pixel by its covered part (none)",
    )
    how.add_argument("--all-touched", action="store_true", help="take all pixels of which a polygon covers some part")
    how.add_argument(
        "--by",
        default="item",
        choices=("item", "day", "solar_day", "all"),
        help="group of files for each statistic (item)",
    )
    how.add_argument(
        "--statistics", metavar="STATS", help="file of `rasteret-sql stats`: whole tiles in zones are taken from it"
    )
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Read the zones and write the rows."""
    result_format(arguments)
    from rasteret_sql.sql.analysis import zonal_stats

    with read_bar() as bar:
        rows = zonal_stats(
            arguments.index,
            arguments.zones,
            **common(arguments),
            stats=arguments.stats,
            weights=arguments.weights,
            all_touched=arguments.all_touched,
            by=arguments.by,
            statistics=arguments.statistics,
        )
        write_rows(arguments, rows, bar)
    return 0
