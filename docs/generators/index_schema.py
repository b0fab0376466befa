"""The page of the columns of an index, its checks and its metadata."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from generators.tables import MADE, column_table, columns_of, table
from rasteret_sql.database.sqlfiles import sql_file, sql_folder

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA_INTRO = """\
# The index

One row per asset: one TIFF file of one STAC item. The file is GeoParquet 1.1, sorted by collection, position,
time, item and asset, so a query skips row groups by position and time. Item properties (`"eo:cloud_cover"`, ...)
follow `end_datetime`, one column each, NULL if an item has none. Any tool that reads Parquet reads it.

A selection of its rows is an index too: a view, a query, or a file that `COPY` wrote. A read needs the columns
{needed}.
"""
_METADATA = {
    "schema_version": "changes when an older reader would misread the index",
    "version": "of rasteret_sql that built it",
    "definition": "source and options of the build, as JSON",
    "definition_sha256": "hash of these and of the SQL that made the rows",
    "built_at": "UTC",
    "build_seconds": "wall time",
    "failure_count": "files that could not be indexed",
    "failures": "the first thousand of them, as JSON",
}


def schema_page() -> str:
    """The columns of an index, its checks and its metadata."""
    from rasteret_sql.database.schema import METADATA_PREFIX
    from rasteret_sql.index.parquet_file import provenance
    from rasteret_sql.sql.named_index import INDEX_COLUMNS

    written = provenance({}, "", (), seconds=0.0)
    metadata = [(f"`{key}`", _METADATA[key.removeprefix(METADATA_PREFIX)]) for key in written]
    metadata.append(("`geo`", "GeoParquet 1.1: WKB in OGC:CRS84, with `bbox` as its covering"))
    checks = [(f"`{path.stem}`", _comment(path)) for path in sorted((sql_folder() / "checks").glob("*.sql"))]
    needed = textwrap.fill(", ".join(f"`{name}`" for name in INDEX_COLUMNS), 118)
    columns = columns_of(sql_file("schema/asset_index.sql"))
    return f"""\
{MADE}
{_SCHEMA_INTRO.format(needed=needed)}
## Columns

{column_table(columns)}

## Checks

A build writes nothing when one of these queries, in `sql/checks/`, gives a row.

{table(("Check", "Claim"), checks)}

## Parquet metadata

{table(("Key", "Value"), metadata)}
"""


def _comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = re.compile(r"-- (name|kind|grain|reads): ")
    return " ".join(line[3:] for line in lines if line.startswith("-- ") and not header.match(line))
