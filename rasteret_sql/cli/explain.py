"""`rasteret-sql explain`: what a read would cost, before it is paid."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rasteret_sql.cli.arguments import Commands, names, new_command, numbers
from rasteret_sql.cli.console import count, size

if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  rasteret-sql explain s2.parquet --bands red,nir
  rasteret-sql explain s2.parquet --bbox=-11.5,24.6,-11.4,24.7 --datetime 2020-02 --resolution 40

The table is that of `FROM explain_read('s2.parquet', ...)` in `rasteret-sql sql`."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(
        commands, "explain", "say what a read would cost: tiles, bytes and requests; fetches nothing", _EPILOG
    )
    command.add_argument("index", metavar="INDEX", help="path, glob or URL of an index")
    command.add_argument("--bands", type=names, metavar="NAME,...", help="assets, or bands inside them (visual:red)")
    command.add_argument("--bbox", type=numbers, metavar="XMIN,YMIN,XMAX,YMAX", help="lon/lat, or in --crs")
    command.add_argument("--crs", default="OGC:CRS84", help="CRS of --bbox (lon/lat)")
    command.add_argument("--datetime", metavar="WHEN", help="'2024-01', '2024-01-01/2024-02-15', ends included")
    command.add_argument("--level", type=int, help="0 is full resolution, n the nth overview")
    command.add_argument("--resolution", type=float, help="instead of a level: the largest pixel, in CRS units")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and the total in words."""
    from rasteret_sql.cli.output import box
    from rasteret_sql.sql.connection import connect
    from rasteret_sql.sql.readers import explain

    cost = explain(
        arguments.index,
        bands=arguments.bands,
        bbox=arguments.bbox,
        crs=arguments.crs,
        datetime=arguments.datetime,
        level=arguments.level,
        resolution=arguments.resolution,
    )
    with connect() as con:
        con.register("cost", cost)
        sys.stdout.write(box(con, con.sql("FROM cost"), max_rows=1000).text)
    total = cost.to_pylist()[-1]
    print(
        f"{count(total['tiles'], 'tile')} of {count(total['items'], 'item')}: {count(total['requests'], 'request')}, "
        f"{size(total['request_bytes'])} to fetch, {size(total['pixel_bytes'])} of pixels"
    )
    return 0
