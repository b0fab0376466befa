"""The Parquet file itself: encodings, row groups, and the metadata that says where it came from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from rasteret_sql.index.schema import METADATA_PREFIX, SCHEMA_VERSION, geo_metadata
from rasteret_sql.index.sqlfiles import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

    from rasteret_sql.index.report import Failure

#: Small, so that a place and a month are few of them; levels are some kilobytes a row.
ROW_GROUP_ROWS = 4096
#: How many failures the metadata lists; the count is of all.
LISTED_FAILURES = 1000


def write_index(con: duckdb.DuckDBPyConnection, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the view `asset_index`, in its order, as GeoParquet 1.1.

    The geometry is written as WKB with a `geo` key of our own: DuckDB's has no bbox covering, and its native
    geometry type is unknown to older readers. DuckDB reads it back as GEOMETRY('OGC:CRS84').

    Args:
        con: connection that sees `asset_index` and `headers`.
        path: the file; it must not be there.
        metadata: further Parquet key-value metadata.
    """
    import duckdb

    row = con.execute("SELECT min(bbox.xmin), min(bbox.ymin), max(bbox.xmax), max(bbox.ymax) FROM headers").fetchone()
    bounds = row if row is not None and row[0] is not None else None
    pairs = {"geo": geo_metadata(bounds), **metadata}
    values = ", ".join(f"{quote_identifier(key)}: {quote_literal(value)}" for key, value in pairs.items())
    copy = (
        f"COPY (SELECT * REPLACE (ST_AsWKB(geometry) AS geometry) FROM asset_index) "  # noqa: S608 - quoted
        f"TO {quote_literal(str(path))} (FORMAT parquet, PARQUET_VERSION V2, COMPRESSION zstd, "
        f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}, GEOPARQUET_VERSION 'NONE', KV_METADATA {{{values}}})"
    )
    try:
        con.execute(copy)
    except duckdb.OutOfMemoryException:
        # Rows of some thousand tiles fit the limit of a build; gigapixel mosaics may need what there is.
        path.unlink(missing_ok=True)
        con.execute("RESET memory_limit")
        con.execute(copy)


def provenance(
    definition: Mapping[str, Any], digest: str, failures: Sequence[Failure], *, seconds: float
) -> dict[str, str]:
    """What the index says of its making, as Parquet key-value metadata.

    Args:
        definition: source and options of the build.
        digest: hash of these and of the SQL.
        failures: the files that are not in it.
        seconds: how long it took.
    """
    listed = [
        {
            "href": failure.href,
            "item_id": failure.item_id,
            "asset": failure.asset,
            "error": failure.error,
            "message": failure.message,
        }
        for failure in failures[:LISTED_FAILURES]
    ]
    values = {
        "schema_version": str(SCHEMA_VERSION),
        "version": package_version(),
        "definition": json.dumps(definition),
        "definition_sha256": digest,
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "build_seconds": f"{seconds:.1f}",
        "failure_count": str(len(failures)),
        "failures": json.dumps(listed),
    }
    return {METADATA_PREFIX + name: value for name, value in values.items()}


@cache
def package_version() -> str:
    """The version of rasteret_sql that is installed; "0+unknown" in a checkout that is not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rasteret-sql")
    except PackageNotFoundError:
        return "0+unknown"
