"""`rasteret-sql explain`: the cost of a read, without reading."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import (
    Commands,
    add_area,
    add_bands,
    add_datetime,
    add_index,
    add_level,
    new_command,
)

if TYPE_CHECKING:
    import argparse

_EPILOG = """\
examples:
  rasteret-sql explain s2.parquet --bands red,nir
  rasteret-sql explain s2.parquet --bbox=-11.5,24.6,-11.4,24.7 --datetime 2020-02 --resolution 40
  rasteret-sql explain s2.parquet --json | jq '.total.request_bytes'

`FROM explain_read('s2.parquet', ...)` in `rasteret-sql sql` returns the same table."""

_PARAMETERS = ("index", "bands", "geometry", "bbox", "geometry_crs", "datetime", "level", "resolution")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(
        commands, "explain", "show the cost of a read (tiles, bytes and requests) without fetching anything", _EPILOG
    )
    add_index(command)
    add_bands(command)
    add_area(command, of_geometry="area as GeoJSON or WKT, in lon/lat or in --geometry-crs", has_grid=False)
    add_datetime(command)
    add_level(command)
    command.add_argument("--resolution", type=float, help="largest pixel size in CRS units, instead of a level")
    command.add_argument("--json", action="store_true", help="write the rows and the total as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and the total in words."""
    from rasteret_sql.apps.output import cost_table
    from rasteret_sql.sql.connection import connect
    from rasteret_sql.sql.readers import explain

    cost = explain(**{name: getattr(arguments, name) for name in _PARAMETERS})
    if arguments.json:
        print(json.dumps({"total": cost.total, "bands": cost.to_pylist()[:-1], "why_empty": cost.why_empty}, indent=2))
        return 0
    with connect() as con:
        shown = con.from_arrow(cost.table).project("* EXCLUDE (sparse_tiles)")
        sys.stdout.write(cost_table(con, shown))
    print(cost.in_words)
    return 0
