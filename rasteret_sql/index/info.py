"""What is in an index: counts, dates, CRSs, sizes and where it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import AssetNotFoundError, InvalidIndexError
from rasteret_sql.index.schema import METADATA_PREFIX, SCHEMA_VERSION, index_columns
from rasteret_sql.index.sqlfiles import quote_literal, sql_file

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import duckdb

_REQUIRED = ("item_id", "asset", "href", "bands", "dtype", "crs", "transform", "levels")
_REMEDY = 'Build one with rasteret_sql.build_index(source, "{}").'


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """Facts about an index.

    Attributes:
        path: the file.
        rows, items: assets, and distinct items.
        collections: rows per collection; None is the key of those without.
        assets: rows per asset key.
        bands: names of the bands of each asset key.
        datetime_range: first and last time as RFC 3339 in UTC, or None where no row has one.
        crs: rows per CRS.
        bbox: (xmin, ymin, xmax, ymax) in lon/lat, or None.
        tiles: tiles of all levels and masks.
        tile_bytes: their bytes in the TIFF files.
        index_bytes: size of the index.
        provenance: what the index says of its making: version, definition, failures, ...
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
        path: a local index file.

    Raises:
        AssetNotFoundError: there is no such file.
        InvalidIndexError: it is not an index, or one of a later schema version.
    """
    import duckdb

    file = Path(path).expanduser()
    if not file.is_file():
        raise AssetNotFoundError(f"{file}: no such file; expected an index. {_REMEDY.format(file)}")
    try:
        with duckdb.connect() as con:
            return _describe(con, file)
    except duckdb.Error as error:
        raise InvalidIndexError(
            f"{file} is not an index: DuckDB cannot read it as Parquet ({error}). {_REMEDY.format('index.parquet')}"
        ) from error


def _describe(con: duckdb.DuckDBPyConnection, path: Path) -> IndexInfo:
    source = f"read_parquet({quote_literal(str(path))})"
    columns = [row[0] for row in con.execute(f"DESCRIBE FROM {source}").fetchall()]
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        subject = f"column {missing[0]} is" if len(missing) == 1 else f"columns {', '.join(missing)} are"
        raise InvalidIndexError(
            f"{path} is not an index: {subject} missing; "
            f"it has {', '.join(columns[:12])}. {_REMEDY.format('index.parquet')}"
        )
    provenance = _provenance(con, path)
    # An index that was written by plain SQL may lack columns that no read needs.
    absent = sorted(index_columns() - set(columns))
    nulls = "".join(f", NULL AS {name}" for name in absent)
    con.execute(f"CREATE VIEW asset_index AS SELECT *{nulls} FROM {source}")  # noqa: S608 - quoted
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
        index_bytes=path.stat().st_size,
        provenance=provenance,
    )


def _provenance(con: duckdb.DuckDBPyConnection, path: Path) -> dict[str, Any]:
    rows = con.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
    values: dict[str, Any] = {}
    for raw_key, raw_value in rows:
        key, value = raw_key.decode(), raw_value.decode()
        if not key.startswith(METADATA_PREFIX):
            continue
        name = key.removeprefix(METADATA_PREFIX)
        if name in {"definition", "failures"}:
            value = json.loads(value)
        elif name in {"schema_version", "failure_count"}:
            value = int(value)
        values[name] = value
    version = values.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        remedy = "Update rasteret_sql, or build it again." if version > SCHEMA_VERSION else "Build it again."
        raise InvalidIndexError(
            f"{path} has schema version {version}, written by rasteret_sql {values.get('version')}; "
            f"expected {SCHEMA_VERSION}. {remedy}"
        )
    return values


def _counts(con: duckdb.DuckDBPyConnection, column: str) -> dict[Any, int]:
    query = f"SELECT {column}, count(*) FROM asset_index GROUP BY {column} ORDER BY {column}"  # noqa: S608 - our names
    return dict(con.execute(query).fetchall())


def _bands(con: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, ...]]:
    rows = con.execute(
        "SELECT asset, list_distinct(flatten(list(list_transform(bands, lambda b: b.name)))) "
        "FROM asset_index GROUP BY asset ORDER BY asset"
    ).fetchall()
    return {asset: tuple(sorted(name for name in names or () if name is not None)) for asset, names in rows}
