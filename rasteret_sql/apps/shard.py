"""`rasteret-sql shard`: the plan of a read as files, each of which any machine reads by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.apps.arguments import (
    Commands,
    add_area,
    add_bands,
    add_datetime,
    add_index,
    add_level,
    add_scaling,
    geometry,
    new_command,
    sides,
)
from rasteret_sql.apps.console import written_aside
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    import argparse

    from rasteret_sql.arrays.shards import Shard

_EPILOG = """\
The command plans, and fetches nothing. It cuts the plan where files and requests end, so that shards have about as many
bytes each. There are fewer shards if there are fewer files, and these are small. Shards are called 00000, 00001 and so
on. `rasteret-sql read` reads one on any machine that reaches the files, without the index. The same arguments give the
same shards: a second run keeps what is there. Shards of another plan in the folder are an error.

examples:
  rasteret-sql shard s2.parquet -n 64 --bands red,nir -o shards/
  rasteret-sql shard s2.parquet -n 64 --datetime 2024-01 --geometry farm.geojson -o shards/
  rasteret-sql shard s2.parquet -n 16 --bands red,nir --size 256 --datetime 2024-01 -o shards/
  rasteret-sql shard s2.parquet -n 16 --bands red,nir --chips chips.parquet -o shards/"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "shard", "cut a read into pieces for other processes or machines", _EPILOG)
    add_index(command)
    command.add_argument("-n", required=True, type=int, metavar="COUNT", help="number of shards")
    command.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FOLDER", help="folder of the shards; made if it is missing"
    )
    command.add_argument("--json", action="store_true", help="write the report as JSON")
    read = command.add_argument_group("what is read")
    add_bands(read)
    add_area(read, of_geometry="area: GeoJSON, WKT or a file of it, in lon/lat or in --geometry-crs", has_grid=False)
    add_datetime(read)
    add_level(read)
    read.add_argument(
        "--resolution", type=float, metavar="SIZE", help="largest pixel size in CRS units, instead of a level"
    )
    add_scaling(read)
    read.add_argument(
        "--tiles-where",
        metavar="CONDITION",
        help="condition on the statistics of each tile, or of another band under it: 'share(SCL, [8, 9]) < 0.1'",
    )
    read.add_argument(
        "--statistics", metavar="STATS", help="file of `rasteret-sql stats`: nothing is read for --tiles-where"
    )
    chips = command.add_argument_group("chips instead of tiles")
    chips.add_argument("--chips", metavar="CHIPS", help="Parquet file of windows, such as of `rasteret-sql chips`")
    chips.add_argument(
        "--size", type=sides, metavar="PIXELS", help="all windows of this height and width: one number, or HEIGHT,WIDTH"
    )
    chips.add_argument(
        "--stride",
        type=sides,
        metavar="PIXELS",
        help="pixels from one window to the next, in the same forms (the size)",
    )
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Plan, write the shards, and report on stdout."""
    from rasteret_sql.arrays.shards import shards

    folder: Path = arguments.output.expanduser()
    _check_folder(folder)
    if arguments.size is None and arguments.stride is not None:
        raise InvalidArgumentError("stride: got it without size, expected both; add the size of the windows")
    area: dict[str, Any] = {
        "geometry": geometry(arguments.geometry),
        "bbox": arguments.bbox,
        "datetime": arguments.datetime,
        "level": arguments.level,
        "resolution": arguments.resolution,
    }
    windows = None if arguments.chips is None else _table(arguments.chips)
    if arguments.size is not None:
        windows, area = _windows(arguments, windows, area), {}
    found = shards(
        arguments.index,
        arguments.n,
        bands=arguments.bands,
        geometry_crs=arguments.geometry_crs,
        scales=arguments.scales,
        offsets=arguments.offsets,
        statistics=arguments.statistics,
        tiles_where=arguments.tiles_where,
        chips=windows,
        **area,
    )
    kept = _write(found, folder)
    report: dict[str, Any] = {
        "path": str(folder),
        "shards": len(found),
        "kept": kept,
        "tiles": sum(shard.tile_count for shard in found),
        "nbytes": sum(shard.nbytes for shard in found),
        "plan_hash": found[0].plan_hash if found else None,
    }
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        again = f", {kept} of them there before" if kept else ""
        tiles = f"{count(report['tiles'], 'tile')}, {size(report['nbytes'])}"
        print(f"{folder}: {count(len(found), 'shard')}{again}: {tiles}")
    return 0


def _windows(arguments: argparse.Namespace, given: Any, area: dict[str, Any]) -> Any:
    """List all windows of a size, of the items and the area that the other options leave."""
    from rasteret_sql.sql.analysis import chips

    if given is not None:
        raise InvalidArgumentError("size: got it with chips, expected one of them; leave size out")
    rows = chips(
        arguments.index,
        size=arguments.size,
        stride=arguments.stride,
        bands=arguments.bands,
        geometry_crs=arguments.geometry_crs,
        **area,
    )
    return rows.read_all()


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InvalidArgumentError(f"output: got the file {folder}, expected a folder")
    if not folder.parent.is_dir():
        raise InvalidArgumentError(f"output: got {folder}, expected a folder in one that exists; make it first")


def _table(path: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(Path(path).expanduser())
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InvalidArgumentError(f"chips: got {path}, expected a Parquet file of windows ({reason})") from error


def _write(shards: list[Shard], folder: Path) -> int:
    """Write shards, each aside first; give the number of those that were there.

    Raises:
        InvalidArgumentError: the folder has other shards.
    """
    folder.mkdir(exist_ok=True)
    missing = []
    for shard in shards:
        path, data = folder / shard.name, shard.to_bytes()
        if not path.exists():
            missing.append((path, data))
        elif path.read_bytes() != data:
            raise InvalidArgumentError(
                f"output: got {folder}, whose {shard.name} is no shard of this plan, {shard.plan_hash}, in "
                f"{count(len(shards), 'piece')}; expected an empty folder, or the same arguments and index as before"
            )
    for path, data in missing:
        with written_aside(path) as file:
            file.write(data)
    return len(shards) - len(missing)
