"""`rasteret-sql preview`: a picture of an index, in a file or in the terminal."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import Commands, add_area, add_datetime, add_scaling, geometry, names, new_command
from rasteret_sql.apps.console import Style, note, written_aside
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    from rasteret_sql.output.picture import Picture

_DEFAULT_SIZE = 1024
_SHOWN_CLASSES = 24
_PROTOCOLS = ("kitty", "iterm", "sixel", "blocks", "ascii")
_MOSAICS = ("first", "last", "min", "max", "mean", "median", "count")

_EPILOG = """\
Without --bands, the picture shows red, green and blue if the index has them, else a colour image, else the first
band. If items overlap, the item with the least eo:cloud_cover is on top, then the earliest item. With --sql, the first
row is on top. The command reads the coarsest sufficient overviews, and visible items only: it stops when everything is
covered. Pixels without data are transparent.

A formula over bands is shown in colours. The colours of a difference diverge from 0. Names with other characters than
letters, digits and "_" need double quotes. Files of classes, formulas and colour maps have a legend.

--sql is a query for rows of an index, or of read_tiles. In the query, INDEX is the table `index`. A query that names
its files needs no INDEX. A terminal shows the picture by its graphics protocol if the protocol is known, else in
half-blocks. --protocol, or the variable RASTERET_SQL_IMAGES, selects another protocol.

examples:
  rasteret-sql preview s2.parquet
  rasteret-sql preview s2.parquet -o s2.png
  rasteret-sql preview s2.parquet --bands nir --colormap viridis --datetime 2024-01 -o nir.png
  rasteret-sql preview s2.parquet --bands '(nir - red) / (nir + red)' -o ndvi.png
  rasteret-sql preview s2.parquet --bbox=77.96,13.01,77.99,13.04 --where '"eo:cloud_cover" < 10' -o clear.png
  rasteret-sql preview s2.parquet --sql "FROM index ORDER BY datetime DESC" -o latest.png
  rasteret-sql preview --sql "FROM read_tiles('s2.parquet', bands := ['scl'], level := 1)" -o classes.png"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "preview", "draw an index as a picture, in a file or in the terminal", _EPILOG)
    command.add_argument("index", nargs="?", metavar="INDEX", help="path, folder, glob or URL of an index")
    command.add_argument("--sql", metavar="QUERY", help="show the rows of a query; INDEX is the table `index`")
    command.add_argument("--where", metavar="CONDITION", help="show the rows of INDEX that meet a condition")
    command.add_argument("--item", action="append", metavar="ID", help="show this item; repeatable")
    command.add_argument(
        "--bands",
        type=names,
        metavar="NAME,...",
        help="three bands, or one: assets, or bands of assets (visual:red); or a formula: '(nir - red) / (nir + red)'",
    )
    of_geometry = "GeoJSON or WKT, or a file with it; pixels outside are transparent"
    add_area(command, of_geometry=of_geometry, is_clipped=True, has_grid=False)
    add_datetime(command)
    command.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help=f"largest length of the longer side ({_DEFAULT_SIZE}; in a terminal: the size of the terminal)",
    )
    command.add_argument(
        "--percentiles",
        type=_percentiles,
        metavar="LOW,HIGH",
        help="percentiles shown as black and white (2,98; colour images are not stretched)",
    )
    command.add_argument(
        "--colormap",
        metavar="NAME",
        help="colours of one band: gray, viridis, magma, RdYlGn, RdBu, or another name from cmap",
    )
    command.add_argument("--no-legend", action="store_true", help="write the picture without its legend")
    command.add_argument("--mosaic", choices=_MOSAICS, default="first", help="rule for overlapping items (first)")
    add_scaling(command)
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="write a .png, .jpg or .webp")
    command.add_argument("--protocol", choices=_PROTOCOLS, help="graphics protocol of the terminal")
    command.add_argument(
        "--json", action="store_true", help="print the bounds, CRS, bands, levels and bytes of the picture"
    )
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Draw the picture, and write or show it."""
    _check(arguments)
    is_shown = arguments.output is None and not arguments.json
    from rasteret_sql.apps import terminal_images
    from rasteret_sql.output.picture import SUFFIXES

    if arguments.output is not None and arguments.output.suffix.lower() not in SUFFIXES:
        arguments.usage_error(f"-o: {arguments.output} has none of the suffixes {', '.join(SUFFIXES)}")
    space = terminal_images.room(sys.stdout, protocol=arguments.protocol) if is_shown else None
    usual = _DEFAULT_SIZE if space is None else (space.height, space.width)
    drawn = _draw(arguments, usual if arguments.size is None else arguments.size)
    if arguments.output is not None:
        with written_aside(arguments.output) as file:
            file.write(drawn.encoded(arguments.output.suffix, legend=False if arguments.no_legend else None))
    if space is not None:
        sys.stdout.write(terminal_images.encode(drawn.pixels, space))
        sys.stdout.flush()
    if arguments.json:
        facts = drawn.facts() | ({} if arguments.output is None else {"output": str(arguments.output)})
        print(json.dumps(facts, indent=2))
    else:
        for line in described(drawn, Style.of(sys.stderr)):
            note(line)
    return 0


def described(drawn: Picture, style: Style) -> list[str]:
    """Describe a picture and its cost, in one line or more."""
    height, width = drawn.pixels.shape[:2]
    parts = [
        f"{', '.join(drawn.bands)} of {count(len(drawn.item_ids), 'item')}",
        f"{width} x {height} pixels in {drawn.crs if drawn.crs and len(drawn.crs) < 20 else 'a CRS of its own'}"
        if drawn.crs
        else f"{width} x {height} pixels",
    ]
    if drawn.levels:
        parts.append(f"level {', '.join(map(str, drawn.levels))}")
    if drawn.requests:
        parts.append(f"{count(drawn.requests, 'request')}, {size(drawn.nbytes)}")
    lines = [style.dim("; ".join(parts))]
    if drawn.classes:
        shown = list(drawn.classes.items())
        legend = [
            f"{_swatch(color, style)}{value} {drawn.class_names.get(value, '')}".rstrip()
            for value, color in shown[:_SHOWN_CLASSES]
        ]
        more = [f"and {len(shown) - _SHOWN_CLASSES} more"] if len(shown) > _SHOWN_CLASSES else []
        lines.append("  ".join([*legend, *more]))
    elif len(drawn.limits) == 1:
        low, high = drawn.limits[0]
        lines.append(style.dim(f"{drawn.colormap} from {low:.6g} to {high:.6g}"))
    return lines + [f"Note: {each}." for each in drawn.notes]


def _swatch(color: str, style: Style) -> str:
    if not style.enabled:
        return f"{color} "
    red, green, blue = bytes.fromhex(color[1:])
    return f"\x1b[38;2;{red};{green};{blue}m■\x1b[0m "


def _check(arguments: argparse.Namespace) -> None:
    """Refuse wrong arguments before anything runs."""
    if arguments.index is None and arguments.sql is None:
        arguments.usage_error("expected INDEX, or a query with --sql")
    if arguments.sql is not None and arguments.where is not None:
        arguments.usage_error("--where: got it with --sql, expected one of them; say WHERE in the query")
    if arguments.output is None and not arguments.json and arguments.protocol is None and not sys.stdout.isatty():
        arguments.usage_error("stdout is no terminal that shows pictures: give a file with -o, or say --protocol")


def _draw(arguments: argparse.Namespace, pixels: Any) -> Picture:
    from rasteret_sql.apps.read_bar import read_bar
    from rasteret_sql.output.picture import picture

    wanted = {
        "bands": arguments.bands,
        "bbox": arguments.bbox,
        "geometry": geometry(arguments.geometry),
        "geometry_crs": arguments.geometry_crs,
        "all_touched": arguments.all_touched,
        "datetime": arguments.datetime,
        "where": arguments.where,
        "item": arguments.item,
        "size": pixels,
        "percentiles": arguments.percentiles,
        "colormap": arguments.colormap,
        "mosaic": arguments.mosaic,
        "scales": arguments.scales,
        "offsets": arguments.offsets,
    }
    with read_bar():
        if arguments.sql is None:
            return picture(arguments.index, **wanted)
        from rasteret_sql.apps.export import index_rows
        from rasteret_sql.sql.connection import connect

        with connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            rows = index_rows(con, arguments.index, where=None, sql=arguments.sql)
            return picture(rows, connection=con, **wanted)


def _percentiles(text: str) -> tuple[float, float]:
    """Read two numbers."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected two numbers, such as 2,98") from error
    return low, high
