"""The items of a dataset: those of a search or of a table of files, with the band names and mirrors of its entry."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasteret_sql.database.hrefs import absolute, is_url, mirror_of
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.select_text import nested, require_select
from rasteret_sql.database.sqlfiles import quote_literal
from rasteret_sql.errors import InvalidIndexError, RangeError
from rasteret_sql.index.found import FoundItem
from rasteret_sql.index.sources.tables import ROWS_PER_STEP, TableSource
from rasteret_sql.index.stac.arguments import box_parts
from rasteret_sql.io import loop
from rasteret_sql.io.identity import UNKNOWN
from rasteret_sql.io.stores import redact, store_for
from rasteret_sql.plan.period import parse_period

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from rasteret_sql.index.datasets.catalog import Dataset, DatasetAsset
    from rasteret_sql.index.found import AssetRef, Found, ItemRef, Source, SourceOptions
    from rasteret_sql.index.sources.search import StacSearch


def with_bands(source: Source, dataset: Dataset) -> Iterator[Found]:
    """Go through a source of a dataset, and add band names and mirrors of the catalog to its items."""
    described: dict[str, list[DatasetAsset]] = {}
    for asset in dataset.assets:
        described.setdefault(asset.key, []).append(asset)
    for found in source:
        found.items = [
            FoundItem(entry.item, tuple(_with_bands(entry.item, asset, described, dataset) for asset in entry.assets))
            for entry in found.items
        ]
        yield found


def _with_bands(
    item: ItemRef, asset: AssetRef, described: Mapping[str, Sequence[DatasetAsset]], dataset: Dataset
) -> AssetRef:
    platform = str(item.properties.get("platform") or "").lower()
    # A mirror of the user has precedence over the mirror of the entry.
    mirror = asset.mirror or mirror_of(asset.href, dataset.mirrors)
    known = next(
        (one for one in described.get(asset.asset, ()) if not one.platforms or platform in one.platforms), None
    )
    # The first list has precedence; the others fill in the rest.
    lists = (known.band_list(), *asset.band_lists) if known is not None and known.bands else asset.band_lists
    return replace(asset, band_lists=lists, mirror=mirror)


#: Bytes of a table that are fetched at a time.
PIECE_BYTES = 1 << 24


def table_of_dataset(search: StacSearch, options: SourceOptions) -> Iterator[Found]:
    """Go through the files of the table of a dataset within the bbox and period of a search.

    The table is fetched as a whole, because DuckDB may lack the extension that reads over HTTP.

    Raises:
        RasteretError: the table cannot be fetched, or does not fit the query of the entry.
    """
    dataset = search.dataset
    assert dataset is not None
    with _local_copy(dataset.table) as path:
        yield from TableSource(lambda: _batches(dataset, search, path), dataset.id, options, dataset.table)


def _batches(dataset: Dataset, search: StacSearch, path: str) -> Iterator[pa.RecordBatch]:
    import duckdb

    conditions, values = _conditions(search)
    chosen = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    limit = "" if search.max_items is None else f" LIMIT {search.max_items}"
    try:
        with own_connection() as con:
            found = require_select(con, dataset.query, f"{dataset.file}: query", rows="files")
            query = f"SELECT * FROM {nested(found)} AS files{chosen} ORDER BY href{limit}"  # noqa: S608 - checked
            con.execute(f"CREATE VIEW source AS FROM read_parquet({quote_literal(path)})")
            files = con.sql(query, params=values)
            yield from files.to_arrow_reader(ROWS_PER_STEP)
    except duckdb.Error as error:
        raise InvalidIndexError(
            f"{redact(dataset.table)}: got a table that the query of {dataset.file} does not fit "
            f"({str(error).partition(chr(10))[0]}); correct the entry"
        ) from error


def _conditions(search: StacSearch) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if search.bbox is not None:
        parts = box_parts(search.bbox)
        touches = "(bbox.xmin <= ? AND bbox.xmax >= ? AND bbox.ymin <= ? AND bbox.ymax >= ?)"
        conditions.append(f"({' OR '.join([touches] * len(parts))})")
        for xmin, ymin, xmax, ymax in parts:
            values += [xmax, xmin, ymax, ymin]
    if search.datetime is not None:
        start_us, end_us = parse_period(search.datetime)
        conditions += ["epoch_us(start_datetime) < ?", "epoch_us(end_datetime) >= ?"]
        values += [end_us, start_us]
    return conditions, values


@contextlib.contextmanager
def _local_copy(href: str) -> Iterator[str]:
    if not is_url(href):
        yield absolute(href)
        return
    with tempfile.TemporaryDirectory(prefix="rasteret_sql.") as folder:
        path = Path(folder) / "table.parquet"
        store = store_for(href)
        identity = UNKNOWN
        start = 0
        with path.open("wb") as file:
            while True:
                piece = loop.run(store.fetch(href, start, start + PIECE_BYTES, identity=identity))
                file.write(piece.data)
                start += len(piece.data)
                identity = piece.identity
                if start == piece.file_size or len(piece.data) < PIECE_BYTES:
                    break
        if piece.file_size is not None and start != piece.file_size:
            raise RangeError(f"{redact(href)}: got {start} bytes, expected {piece.file_size}; try again")
        yield str(path)
