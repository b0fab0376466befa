"""`rasteret-sql explain`: what a read would cost, before it is paid."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import (
    Commands,
    add_area,
    add_bands,
    add_datetime,
    add_index,
    add_level,
    new_command,
)
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    import argparse

    import duckdb

_EPILOG = """\
examples:
  rasteret-sql explain s2.parquet --bands red,nir
  rasteret-sql explain s2.parquet --bbox=-11.5,24.6,-11.4,24.7 --datetime 2020-02 --resolution 40
  rasteret-sql explain s2.parquet --json | jq '.total.request_bytes'

`FROM explain_read('s2.parquet', ...)` in `rasteret-sql sql` returns the same table."""

_PARAMETERS = ("index", "bands", "geometry", "bbox", "crs", "datetime", "level", "resolution")
_QUERY = """
    CREATE TEMP TABLE cost AS FROM explain_read(
        $index, bands := $bands, geometry := $geometry, bbox := $bbox, crs := $crs, datetime := $datetime,
        level := $level, resolution := $resolution
    )
"""
_TOTAL = "SELECT tiles, items, requests, request_bytes, pixel_bytes FROM temp.cost WHERE band = 'total'"
_SHOWN_ROWS = 1000


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(
        commands, "explain", "show the cost of a read (tiles, bytes and requests) without fetching anything", _EPILOG
    )
    add_index(command)
    add_bands(command)
    add_area(command, crs_flag="--crs", of_geometry="area as GeoJSON or WKT, in lon/lat or in --crs")
    add_datetime(command)
    add_level(command)
    command.add_argument("--resolution", type=float, help="largest pixel size in CRS units, instead of a level")
    command.add_argument("--json", action="store_true", help="write the rows and the total as JSON")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and the total in words."""
    from rasteret_sql.apps.output import box
    from rasteret_sql.sql.connection import connect

    with connect() as con:
        values = {name: getattr(arguments, name) for name in _PARAMETERS}
        if Path(arguments.index).is_dir():
            # In SQL a folder has a slash at its end, or it would be the name of a table.
            values["index"] = arguments.index.rstrip("/") + "/"
        con.execute(_QUERY, values).fetchall()
        if arguments.json:
            print(json.dumps(_as_json(con), indent=2))
            return 0
        sys.stdout.write(box(con, con.sql("SELECT * EXCLUDE (sparse_tiles) FROM temp.cost"), max_rows=_SHOWN_ROWS).text)
        tiles, items, requests, request_bytes, pixel_bytes = con.execute(_TOTAL).fetchall()[0]
    print(
        f"{count(tiles, 'tile')} of {count(items, 'item')}: {count(requests, 'range request')}, "
        f"{size(request_bytes)} to fetch, {size(pixel_bytes)} of pixels"
    )
    return 0


def _as_json(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Give the costs as JSON can hold them; the total is of no band and no collection."""
    costs = con.sql("FROM temp.cost")
    rows = [dict(zip(costs.columns, row, strict=True)) for row in costs.fetchall()]
    total = {name: value for name, value in rows[-1].items() if name not in {"collection", "band"}}
    return {"total": total, "bands": rows[:-1]}
