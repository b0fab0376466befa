"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

#: What `add_subparsers` gives; argparse has no public name for its type.
Commands = Any
#: A command, or a group of its arguments.
Group = Any

#: What the help of a command ends with that has no exit codes of its own.
_EXIT_CODES = """

exit codes:
  0  success
  1  an error: stderr names it
  2  wrong usage"""


def new_command(commands: Commands, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    """Add a command whose help ends with examples, laid out as they are written, and its exit codes."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog if "\nexit codes:" in epilog else epilog + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--option",
        action="append",
        type=variable,
        dest="process_options",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the process, such as identity=size; see rasteret_sql.Options; repeatable",
    )
    # Errors name the options as the parser does.
    command.set_defaults(parser=command)
    return command


def add_index(command: argparse.ArgumentParser, *, is_optional: bool = False) -> None:
    """Add the index that a command reads."""
    command.add_argument(
        "index", nargs="?" if is_optional else None, metavar="INDEX", help="path, folder, glob or URL of an index"
    )


def add_built_index(command: argparse.ArgumentParser) -> None:
    """Add the index that a command works on as a whole."""
    command.add_argument("index", metavar="INDEX", help="an index of `rasteret-sql build`: a file or a folder")


def add_bands(group: Group) -> None:
    """Add the bands that are read."""
    group.add_argument("--bands", type=names, metavar="NAME,...", help="assets, or bands of assets (visual:red)")


def add_area(group: Group, *, of_geometry: str, is_clipped: bool = False, has_grid: bool = True) -> None:
    """Add the area that is read.

    Args:
        group: where it goes.
        of_geometry: the help of --geometry.
        is_clipped: whether pixels outside of a geometry are masked, which --all-touched goes with.
        has_grid: whether the command has --crs, for the CRS of a grid. Others refuse it.
    """
    group.add_argument(
        "--bbox",
        type=numbers,
        metavar="XMIN,YMIN,XMAX,YMAX",
        help="area in lon/lat, or in --geometry-crs; write --bbox=-122.5,... if it begins with a minus",
    )
    group.add_argument("--geometry", metavar="GEOMETRY", help=of_geometry)
    if is_clipped:
        group.add_argument(
            "--all-touched",
            action="store_true",
            help="keep every pixel of which the geometry covers some part, not only those whose centre is inside",
        )
    of = "CRS of --bbox and --geometry (lon/lat)"
    group.add_argument("--geometry-crs", default="OGC:CRS84", metavar="CRS", help=of)
    if not has_grid:
        group.add_argument("--crs", type=refused_crs, help=argparse.SUPPRESS)


def add_datetime(group: Group) -> None:
    """Add the period that is read."""
    group.add_argument(
        "--datetime", metavar="WHEN", help="period, both ends included: '2024-01', '2024-01-01/2024-02-15'"
    )


def add_level(group: Group) -> None:
    """Add the level that is read."""
    group.add_argument("--level", type=int, metavar="N", help="level to read: 0 is full resolution, n the nth overview")


def add_pixel_size(group: Group) -> None:
    """Add the largest pixel size, in place of a level."""
    group.add_argument(
        "--resolution", type=float, metavar="SIZE", help="largest pixel size in CRS units, instead of a level"
    )
    group.add_argument("--gsd", type=float, metavar="METRES", help="largest pixel size in metres, instead of a level")


def add_scaling(group: Group) -> None:
    """Add scales and offsets in place of those of the files."""
    for name, example in (("scale", "red=0.0001,nir=0.0002"), ("offset", "red=-0.1,*=0")):
        group.add_argument(
            f"--{name}s",
            type=numbers_by_band,
            metavar=name.upper(),
            help=f"{name} of the bands, instead of that of the files: a number, or numbers by band: {example}",
        )


def add_variables(command: argparse.ArgumentParser, *, help: str) -> None:  # noqa: A002 - argparse calls it so
    """Add the variables of an index definition."""
    command.add_argument(
        "--set", action="append", type=variable, dest="variables", default=[], metavar="NAME=VALUE", help=help
    )


def refused_crs(text: str) -> str:
    """Refuse --crs where there is no grid."""
    raise argparse.ArgumentTypeError(f"got {text!r} as the CRS of an area, expected --geometry-crs {text}")


def mapping(text: str) -> tuple[str, str]:
    """Read FROM=TO."""
    source, sign, target = text.partition("=")
    if not (sign and source and target):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected FROM=TO, such as https://example.com/=/data/")
    return source, target


def variable(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, sign, value = text.partition("=")
    if not (sign and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=VALUE, such as period=2024-01")
    return name, value


def numbers(text: str) -> list[float]:
    """Read numbers with commas or spaces between them."""
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected xmin,ymin,xmax,ymax") from error


def numbers_by_band(text: str) -> float | dict[str, float]:
    """Read a number for all bands, or numbers by band such as "red=0.0001,*=1"."""
    try:
        if "=" not in text:
            return float(text)
        parts = [part.rpartition("=") for part in names(text)]
        return {band: float(value) for band, _, value in parts}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number, or BAND=NUMBER,...") from error


def geometry(text: str | None) -> str | None:
    """Read a geometry, which may be in a file."""
    if text is None or text.lstrip().startswith(("{", "POINT", "POLYGON", "MULTI", "LINESTRING", "GEOMETRY")):
        return text
    path = Path(text).expanduser()
    return path.read_text(encoding="utf-8") if path.is_file() else text


def names(text: str) -> list[str]:
    """Read names with commas between them."""
    return [part.strip() for part in text.split(",") if part.strip()]


def sides(text: str) -> int | tuple[int, int]:
    """Read PIXELS, or HEIGHT,WIDTH."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in {1, 2}:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected pixels such as 256, or HEIGHT,WIDTH")
    return found[0] if len(found) == 1 else (found[0], found[1])
