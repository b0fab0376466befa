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
    from collections.abc import Iterator

    import pyarrow as pa

    from rasteret_sql.index.datasets.catalog import Dataset, DatasetAsset
    from rasteret_sql.index.found import AssetRef, Found, Source, SourceOptions
    from rasteret_sql.index.sources.search import StacSearch


class DatasetSource:
    """A source of a dataset: band names and mirrors of the catalog are added to its items."""

    def __init__(self, source: Source, dataset: Dataset) -> None:
        self._source = source
        self._dataset = dataset
        self._assets: dict[str, list[DatasetAsset]] = {}
        for asset in dataset.assets:
            self._assets.setdefault(asset.key, []).append(asset)

    def find(self) -> Iterator[Found]:
        """Go through the source."""
        for found in self._source.find():
            found.items = [self._described(entry) for entry in found.items]
            yield found

    def _described(self, entry: FoundItem) -> FoundItem:
        platform = str(entry.item.properties.get("platform") or "").lower()
        return FoundItem(entry.item, tuple(self._with_bands(asset, platform) for asset in entry.assets))

    def _with_bands(self, asset: AssetRef, platform: str) -> AssetRef:
        # A mirror of the user has precedence over the mirror of the entry.
        mirror = asset.mirror or mirror_of(asset.href, self._dataset.mirrors)
        known = next(
            (one for one in self._assets.get(asset.asset, ()) if not one.platforms or platform in one.platforms), None
        )
        # The first list has precedence; the others fill in the rest.
        lists = (known.band_list(), *asset.band_lists) if known is not None and known.bands else asset.band_lists
        return replace(asset, band_lists=lists, mirror=mirror)


#: Bytes of a table that are fetched at a time.
PIECE_BYTES = 1 << 24


class DatasetTableSource:
    """The files of a table within the bbox and period of a search.

    The table is fetched as a whole, because DuckDB may lack the extension that reads over HTTP.
    """

    def __init__(self, dataset: Dataset, search: StacSearch, options: SourceOptions) -> None:
        self._dataset = dataset
        self._search = search
        self._options = options

    def find(self) -> Iterator[Found]:
        """Fetch the table and go through it.

        Raises:
            RasteretError: the table cannot be fetched, or does not fit the query of the entry.
        """
        with _local_copy(self._dataset.table) as path:
            source = TableSource(lambda: self._batches(path), self._dataset.id, self._options, self._dataset.table)
            yield from source.find()

    def _batches(self, path: str) -> Iterator[pa.RecordBatch]:
        import duckdb

        conditions, values = self._conditions()
        chosen = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        limit = "" if self._search.max_items is None else f" LIMIT {self._search.max_items}"
        try:
            with own_connection() as con:
                found = require_select(con, self._dataset.query, f"{self._dataset.file}: query", rows="files")
                query = f"SELECT * FROM {nested(found)} AS files{chosen} ORDER BY href{limit}"  # noqa: S608 - checked
                con.execute(f"CREATE VIEW source AS FROM read_parquet({quote_literal(path)})")
                files = con.sql(query, params=values)
                yield from files.to_arrow_reader(ROWS_PER_STEP)
        except duckdb.Error as error:
            raise InvalidIndexError(
                f"{redact(self._dataset.table)}: got a table that the query of {self._dataset.file} does not fit "
                f"({str(error).partition(chr(10))[0]}); correct the entry"
            ) from error

    def _conditions(self) -> tuple[list[str], list[Any]]:
        conditions: list[str] = []
        values: list[Any] = []
        if self._search.bbox is not None:
            parts = box_parts(self._search.bbox)
            touches = "(bbox.xmin <= ? AND bbox.xmax >= ? AND bbox.ymin <= ? AND bbox.ymax >= ?)"
            conditions.append(f"({' OR '.join([touches] * len(parts))})")
            for xmin, ymin, xmax, ymax in parts:
                values += [xmax, xmin, ymax, ymin]
        if self._search.datetime is not None:
            start_us, end_us = parse_period(self._search.datetime)
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
