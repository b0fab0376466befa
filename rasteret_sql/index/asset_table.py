"""The assets that sources find, as a table: one row per item and TIFF asset. No header is read."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.schema import geo_metadata
from rasteret_sql.database.sqlfiles import quote_identifier, quote_literal, quote_path, sql_file
from rasteret_sql.errors import BuildError
from rasteret_sql.index.header_columns import bounds_of
from rasteret_sql.index.properties import create_properties_view
from rasteret_sql.index.report import list_failures
from rasteret_sql.index.staging import ITEMS, ParquetFile, create_assets_view, stage_sources
from rasteret_sql.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    import pyarrow as pa

    from rasteret_sql.index.found import Source

OnError = Literal["raise", "skip"]

#: Items whose bounds are computed at a time.
_ROWS_PER_STEP = 2048
_BOXES = "boxes.parquet"
_REMEDY = "correct it, or leave them out with on_error 'skip'"
#: Columns of the table that a property must not shadow; `column_names` takes care of the columns of an index.
_OWN_COLUMNS = frozenset({"media_type", "asset_title", "asset_roles", "band_lists", "proj"})
#: Common properties: a table without rows has their columns too, so that queries which name them run.
_COMMON_PROPERTIES = {
    "platform": "VARCHAR",
    "constellation": "VARCHAR",
    "instruments": "VARCHAR[]",
    "gsd": "DOUBLE",
    "created": "TIMESTAMPTZ",
    "updated": "TIMESTAMPTZ",
    "eo:cloud_cover": "DOUBLE",
    "eo:snow_cover": "DOUBLE",
    "proj:epsg": "BIGINT",
    "proj:code": "VARCHAR",
    "view:off_nadir": "DOUBLE",
    "view:sun_azimuth": "DOUBLE",
    "view:sun_elevation": "DOUBLE",
    "sat:orbit_state": "VARCHAR",
    "sat:relative_orbit": "BIGINT",
}


def write_asset_rows(sources: Sequence[Source], path: Path, *, on_error: OnError = "raise") -> int:
    """Write the assets of sources as GeoParquet, whole or not at all.

    Args:
        sources: gone through once.
        path: the file, in an existing folder.
        on_error: "raise" if a part of a source cannot be read, or "skip" that part.

    Returns:
        The number of rows.

    Raises:
        BuildError: a part of a source cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name:
        folder = Path(name)
        with _rows(sources, folder, on_error) as con:
            row = con.execute("SELECT min(bbox.xmin), min(bbox.ymin), max(bbox.xmax), max(bbox.ymax) FROM boxes")
            bounds = row.fetchone()
            geo = geo_metadata(bounds if bounds is not None and bounds[0] is not None else None)
            aside = folder / "rows.parquet"
            con.execute(
                f"COPY (SELECT * REPLACE (ST_AsWKB(geometry) AS geometry) FROM asset_rows) "  # noqa: S608 - quoted
                f"TO {quote_literal(str(aside))} (FORMAT parquet, COMPRESSION zstd, GEOPARQUET_VERSION 'NONE', "
                f"KV_METADATA {{geo: {quote_literal(geo)}}})"
            )
            rows = con.execute("SELECT count(*) FROM assets").fetchone()
        aside.replace(path)
    assert rows is not None
    return int(rows[0])


def asset_table(
    sources: Sequence[Source], *, on_error: OnError = "raise", what: str = "source", remedy: str = _REMEDY
) -> pa.Table:
    """Give the assets of sources as an Arrow table; see `write_asset_rows`.

    Args:
        sources: gone through once.
        on_error: as for `write_asset_rows`.
        what, remedy: how an error names the source, and what it recommends.
    """
    with (
        tempfile.TemporaryDirectory(prefix="rasteret_sql.") as name,
        _rows(sources, Path(name), on_error, what, remedy) as con,
    ):
        return con.sql("FROM asset_rows").to_arrow_table()


@contextlib.contextmanager
def _rows(
    sources: Sequence[Source], folder: Path, on_error: OnError, what: str = "source", remedy: str = _REMEDY
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection with the table as the view `asset_rows`."""
    import duckdb

    inventory = stage_sources(sources, folder)
    if inventory.failures and on_error == "raise":
        head = f"{what}: {count(len(inventory.failures), 'part')} of it cannot be used; {remedy}:"
        raise BuildError("\n".join([head, *list_failures(inventory.failures)]))
    _stage_boxes(folder)
    try:
        with own_connection() as con:
            create_properties_view(con, folder, inventory.column_files)
            con.execute(f"CREATE VIEW boxes AS FROM read_parquet({quote_path(folder, _BOXES)})")
            create_assets_view(con, folder)
            _create_properties(con, is_empty=not inventory.assets)
            con.execute(f"CREATE VIEW asset_rows AS {sql_file('index/stac_assets.sql')}")
            yield con
    except duckdb.Error as error:
        raise BuildError(f"{what}: DuckDB could not make a table of it ({error}).") from error


def _create_properties(con: duckdb.DuckDBPyConnection, *, is_empty: bool) -> None:
    names = [row[0] for row in con.execute("DESCRIBE properties").fetchall() if row[0] != "item_no"]
    columns = [
        f"{quote_identifier(name)} AS {quote_identifier(f'properties:{name}')}"
        if name.lower() in _OWN_COLUMNS
        else quote_identifier(name)
        for name in names
    ]
    if is_empty:
        missing = {name: kind for name, kind in _COMMON_PROPERTIES.items() if name not in names}
        columns += [f"NULL::{kind} AS {quote_identifier(name)}" for name, kind in missing.items()]
    con.execute(f"CREATE VIEW asset_properties AS SELECT {', '.join(['item_no', *columns])} FROM properties")  # noqa: S608 - quoted


def _stage_boxes(folder: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    box = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
    schema = pa.schema({"item_no": pa.int64(), "bbox": box})
    with ParquetFile(folder / _BOXES, schema) as file, parquet.ParquetFile(folder / ITEMS) as items:
        for batch in items.iter_batches(_ROWS_PER_STEP, columns=["item_no", "geometry"]):
            boxes = [bounds_of(geometry) for geometry in batch.column("geometry").to_pylist()]
            file.write(pa.RecordBatch.from_arrays([batch.column("item_no"), pa.array(boxes, box)], schema=schema))
