"""`rasteret-sql macros`: the SQL that needs no Python, as one script for any DuckDB."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rasteret_sql.apps.arguments import Commands, new_command
from rasteret_sql.apps.console import written_aside

if TYPE_CHECKING:
    import argparse

_EPILOG = """\
The script makes items, tile_plan and explain_read, and what they call, in any DuckDB of version 1.5
or newer: the command line, another language, a server. It reads no pixels; `rasteret-sql serve` brings
read_tiles to where Python is not. Areas are projected to UTM and EPSG:3857; for rasters in any other CRS
give bbox := or geometry := in their own, with crs :=. A geometry takes the tiles that the bounds of each
of its points, lines and rings touch; with Python it takes those that it touches itself.

In a database file the macros are kept, as they are when the script is read. With --temp they are not,
and a database that is opened read-only takes them too.

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
    command = new_command(commands, "macros", "write the SQL that needs no Python as a script for any DuckDB", _EPILOG)
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file instead of stdout")
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--schema",
        default="",
        metavar="NAME",
        help="make the macros in this schema, and the schema: NAME.tile_plan(...)",
    )
    where.add_argument("--temp", action="store_true", help="make temporary macros, which no database file keeps")
    command.add_argument(
        "--json", action="store_true", help="write what is public, with arguments and grain, and the script"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the script."""
    from rasteret_sql import __version__
    from rasteret_sql.sql.catalog import plain_objects, plain_script

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
