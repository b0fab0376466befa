"""`rasteret-sql read`: the tiles or chips of shards as Parquet, each once however often the command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.apps.arguments import Commands, names, new_command
from rasteret_sql.apps.console import written_aside
from rasteret_sql.apps.output import row_groups
from rasteret_sql.apps.read_bar import read_bar
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    import argparse

    from rasteret_sql.arrays.shards import Shard

_EPILOG = """\
The rows are those of `read_tiles` in SQL. A shard of chips gives a row per chip: chip, item_id, row_off, col_off, and
the tensors pixels and mask (band, y, x): Arrow's `arrow.fixed_shape_tensor`, which other readers see as lists. The file
appears when it is complete: a piece that was killed is read again, and a second run keeps what is there. With several
shards, -o is a folder, and each file is called after its shard.

examples:
  rasteret-sql read shards/00007 -o out.parquet
  rasteret-sql read shards/* -o tiles/
  rasteret-sql read shards/$(printf %05d $SLURM_ARRAY_TASK_ID) -o tiles/
  rasteret-sql read https://example.com/shards/00007 --columns item_id,band_name,pixels,dtype -o out.parquet"""
#: The key of the Parquet metadata that says which rows the file has.
_KEY: Final = b"rasteret_sql.shard"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = new_command(commands, "read", "read shards into Parquet", _EPILOG)
    command.add_argument("shards", nargs="+", metavar="SHARD", help="path or URL of a file of `rasteret-sql shard`")
    command.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help="Parquet file, or folder that exists"
    )
    command.add_argument(
        "--columns",
        type=names,
        metavar="NAME,...",
        help="columns of read_tiles, or of chips (all); nothing is fetched without pixels",
    )
    command.add_argument("--tiles", action="store_true", help="of a shard of chips, the tiles under them")
    command.add_argument(
        "--on-error",
        default="raise",
        choices=("raise", "null"),
        help="end at the first tile that cannot be read, or write its row without pixels and with the reason (raise)",
    )
    command.add_argument("--json", action="store_true", help="write the report as JSON")
    command.set_defaults(run=run, usage_error=command.error)


def run(arguments: argparse.Namespace) -> int:
    """Read the shards that are missing, and report on stdout."""
    from rasteret_sql.arrays.shards import Shard

    output: Path = arguments.output.expanduser()
    is_folder = output.is_dir()
    if len(arguments.shards) > 1 and not is_folder:
        raise InvalidArgumentError(f"output: got {output} for {len(arguments.shards)} shards, expected a folder")
    report = []
    with read_bar():
        for address in arguments.shards:
            shard = Shard.open(address)
            path = output / f"{_stem(address)}.parquet" if is_folder else output
            report.append(_read(shard, path, arguments))
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    for row in report:
        if row["is_kept"]:
            print(f"{row['path']}: was there before")
        else:
            print(f"{row['path']}: {count(row['rows'], 'row')}, {size(row['nbytes'])}")
    return 0


def _stem(address: str) -> str:
    return address.partition("?")[0].rstrip("/").rpartition("/")[2]


def _read(shard: Shard, path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Read a shard into a file, unless the file has its rows already."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    on_error = arguments.on_error
    if shard.has_chips and not arguments.tiles:
        if on_error != "raise":
            raise InvalidArgumentError(f"on_error: got {on_error!r} for chips, expected 'raise'; or write --tiles")
        rows, count_of_rows = shard.read_chips(columns=arguments.columns), shard.chip_table().num_rows
    else:
        rows, count_of_rows = shard.read_tiles(columns=arguments.columns, on_error=on_error), shard.tile_count
    asked = {
        "plan_hash": shard.plan_hash, "number": shard.number, "count": shard.shard_count,
        "columns": rows.schema.names, "on_error": on_error,
    } | ({} if arguments.tiles or not shard.has_chips else {"rows": "chips"})  # fmt: skip
    if path.exists():
        _require_same(path, asked)
        return {"path": str(path), "is_kept": True, "rows": count_of_rows, "nbytes": path.stat().st_size}
    schema = rows.schema.with_metadata({_KEY: json.dumps(asked)})
    with written_aside(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in row_groups(rows):
            writer.write_table(pa.Table.from_batches(group, rows.schema).replace_schema_metadata(schema.metadata))
    return {"path": str(path), "is_kept": False, "rows": count_of_rows, "nbytes": path.stat().st_size}


def _require_same(path: Path, asked: dict[str, Any]) -> None:
    """Refuse a file that has other rows.

    Raises:
        InvalidArgumentError: it has.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        text = (pq.read_schema(path).metadata or {}).get(_KEY)
        found = None if text is None else json.loads(text)
    except (OSError, ValueError, pa.ArrowException):
        found = None
    if found != asked:
        wrong = "this command did not write" if found is None else "has rows of another shard, or other columns"
        raise InvalidArgumentError(
            f"output: got the existing file {path}, which {wrong}, expected a new file or one with the rows of this "
            "shard; remove it, or choose another name"
        )
