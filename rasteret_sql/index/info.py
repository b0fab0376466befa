"""Facts about an index: counts, dates, CRSs, sizes and provenance."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.folders import index_files, index_reader, not_an_index, require_version
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.schema import METADATA_PREFIX, index_columns
from rasteret_sql.database.sqlfiles import sql_file
from rasteret_sql.errors import InvalidIndexError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import duckdb

_REQUIRED = ("item_id", "asset", "href", "bands", "dtype", "crs", "transform", "levels")
_REMEDY = "Build one with rasteret_sql.build_index(source, 'index.parquet')."


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """Facts about an index.

    Attributes:
        path: the file or folder.
        rows, items: assets, and distinct items.
        collections: rows per collection; None is the key of rows without one.
        assets: rows per asset key.
        bands: names of the bands of each asset key.
        datetime_range: first and last time as RFC 3339 in UTC, or None if no row has a time.
        crs: rows per CRS.
        bbox: (xmin, ymin, xmax, ymax) in lon/lat, or None.
        tiles: number of tiles of all levels and masks.
        tile_bytes: their bytes in the TIFF files.
        index_bytes: size of the index.
        provenance: version, definition, failures and other facts of the build.
    """

    path: Path
    rows: int
    items: int
    collections: Mapping[str | None, int]
    assets: Mapping[str, int]
    bands: Mapping[str, tuple[str, ...]]
    datetime_range: tuple[str, str] | None
    crs: Mapping[str | None, int]
    bbox: tuple[float, float, float, float] | None
    tiles: int
    tile_bytes: int
    index_bytes: int
    provenance: Mapping[str, Any] = field(default_factory=dict)


def info(path: str | os.PathLike[str]) -> IndexInfo:
    """Describe an index.

    Args:
        path: a local index: a file, a folder of them, or a glob.

    Raises:
        AssetNotFoundError: there is no such file.
        InvalidIndexError: it is no index, or one of another schema version.
    """
    file = Path(path).expanduser()
    with _opened(file) as con:
        return _describe(con, file)


def provenance_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Give the provenance of an index without reading its rows; see `IndexInfo`.

    Raises:
        AssetNotFoundError: there is no such file.
        InvalidIndexError: it is no index, or one of another schema version.
    """
    file = Path(path).expanduser()
    with _opened(file) as con:
        _columns(con, file)
        return _provenance(con, file)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection for an index; a file that DuckDB cannot read is no index."""
    import duckdb

    index_files(file)
    try:
        with own_connection() as con:
            yield con
    except duckdb.Error as error:
        raise InvalidIndexError(
            f"{file} is not an index: DuckDB cannot read it as Parquet ({error}). {_REMEDY}"
        ) from error


def _columns(con: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    """Give the columns of an index; a file without the columns that reads need is no index."""
    rows = con.execute(f"DESCRIBE FROM {index_reader(index_files(path))}").fetchall()
    columns = [row[0] for row in rows]
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise not_an_index(str(path), missing, columns)
    return columns


def _describe(con: duckdb.DuckDBPyConnection, path: Path) -> IndexInfo:
    columns = _columns(con, path)
    provenance = _provenance(con, path)
    # An index written by plain SQL may lack columns that reads do not need.
    absent = sorted(index_columns() - set(columns))
    nulls = "".join(f", NULL AS {name}" for name in absent)
    files = index_files(path)
    con.execute(f"CREATE VIEW asset_index AS SELECT *{nulls} FROM {index_reader(files)}")  # noqa: S608 - quoted
    result = con.execute(sql_file("index/index_info.sql"))
    names = [column[0] for column in result.description]
    row = result.fetchone()
    assert row is not None
    facts = dict(zip(names, row, strict=True))
    return IndexInfo(
        path=path,
        rows=facts["row_count"],
        items=facts["items"],
        collections=_counts(con, "collection"),
        assets=_counts(con, "asset"),
        bands=_bands(con),
        datetime_range=(facts["first"], facts["last"]) if facts["first"] is not None else None,
        crs=_counts(con, "crs"),
        bbox=tuple(facts["bbox"]) if facts["bbox"][0] is not None else None,
        tiles=facts["tiles"] or 0,
        tile_bytes=int(facts["tile_bytes"] or 0),
        index_bytes=sum(Path(file).stat().st_size for file in files),
        provenance=provenance,
    )


def _provenance(con: duckdb.DuckDBPyConnection, path: Path) -> dict[str, Any]:
    files = index_files(path)
    require_version(con, files)
    rows = con.execute("SELECT key, value FROM parquet_kv_metadata(?)", [files]).fetchall()
    values: dict[str, Any] = {}
    # Values that differ between files are left out.
    for (raw_key, raw_value), count in Counter(rows).items():
        key, value = raw_key.decode(), raw_value.decode()
        if not key.startswith(METADATA_PREFIX) or count < len(files):
            continue
        name = key.removeprefix(METADATA_PREFIX)
        if name in {"definition", "failures", "partition_by"}:
            value = json.loads(value)
        elif name in {"schema_version", "failure_count"}:
            value = int(value)
        values[name] = value
    return values


def _counts(con: duckdb.DuckDBPyConnection, column: str) -> dict[Any, int]:
    query = f"SELECT {column}, count(*) FROM asset_index GROUP BY {column} ORDER BY {column}"  # noqa: S608 - our names
    return dict(con.execute(query).fetchall())


def _bands(con: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, ...]]:
    rows = con.execute(
        "SELECT asset, list_distinct(flatten(list(list_transform(bands, lambda rst_band: rst_band.name)))) "
        "FROM asset_index GROUP BY asset ORDER BY asset"
    ).fetchall()
    return {asset: tuple(sorted(name for name in names or () if name is not None)) for asset, names in rows}
