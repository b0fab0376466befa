"""`rasteret-sql macros`: the SQL that needs no Python, as one script for any DuckDB."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import Commands, new_command
from rasteret_sql.apps.console import written_aside
from rasteret_sql.checks import checked_unicode

if TYPE_CHECKING:
    import argparse

_EPILOG = """\
The script creates items, tile_plan, explain_read and their helpers in any DuckDB of version 1.5 or
newer: the command line, another language, a server. It reads no pixels. `rasteret-sql serve` provides
read_tiles to clients without Python. The script projects areas to UTM and EPSG:3857. For rasters in
another CRS, pass bbox := or geometry := in that CRS, with geometry_crs :=. A geometry selects the tiles that the
bounds of its points, lines and rings touch. With Python, it selects the tiles that it touches itself.

A database file keeps the macros of the script. With --temp, the macros are temporary. A read-only
database accepts only temporary macros.

examples:
  rasteret-sql macros > rasteret.sql && duckdb -init rasteret.sql
  rasteret-sql macros --temp -o rasteret.sql
  rasteret-sql macros --schema rasteret | duckdb study.duckdb
  rasteret-sql macros --json | jq '.functions[].name'

exit codes:
  0  the script is written
  1  the output file cannot be written
  2  wrong usage"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(
        commands, "macros", "write the functions that need no Python, as a SQL script for any DuckDB", _EPILOG
    )
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file instead of stdout")
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--schema",
        default="",
        metavar="NAME",
        help="create the macros in this schema, and the schema: NAME.tile_plan(...)",
    )
    where.add_argument("--temp", action="store_true", help="create temporary macros, which no database file keeps")
    command.add_argument(
        "--json",
        action="store_true",
        help="write the public functions with arguments and grain, and the script, as JSON",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the script."""
    from rasteret_sql import __version__
    from rasteret_sql.sql.catalog import plain_objects, plain_script

    checked_unicode("schema", arguments.schema)
    text = plain_script(__version__, schema=arguments.schema, temporary=arguments.temp)
    if arguments.json:
        functions = [
            {
                "name": one.name,
                "arguments": one.arguments,
                "grain": one.grain,
                "reads": one.reads,
                "comment": one.comment,
            }
            for one in plain_objects()
            if one.is_public
        ]
        text = json.dumps({"version": __version__, "functions": functions, "script": text}, indent=2) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    with written_aside(arguments.output) as file:
        file.write(text.encode())
    return 0
