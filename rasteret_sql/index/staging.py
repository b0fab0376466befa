"""A build in progress: its folder beside the index, its connection, and what was found and read so far."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from rasteret_sql.database.hrefs import unsigned
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.sqlfiles import quote_path, sql_file
from rasteret_sql.errors import BuildError, InvalidArgumentError
from rasteret_sql.index.report import Failure
from rasteret_sql.io.disk import writing
from rasteret_sql.io.stores import warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import duckdb
    import pyarrow as pa
    from pyarrow import parquet

    from rasteret_sql.index.found import AssetRef, Found, ItemRef, Source

ITEMS = "items.parquet"
ASSETS = "assets.parquet"
#: Staged headers: a glob, the file of one batch, and the file of rows that are taken over.
HEADERS = "headers*.parquet"
HEADER_FILE = "headers_{:06}.parquet"
KEPT_FILE = "headers_kept_{}.parquet"
#: One file per source and schema: tables have property columns of their own types.
COLUMNS = "columns_{}.parquet"

#: Rows are collected up to this number before they are written.
ROWS_PER_WRITE = 4096
#: Rows of headers in one file: each query opens all of these files.
ROWS_PER_HEADER_FILE = 4096

#: Memory of DuckDB while it joins and sorts; beyond it DuckDB works on disk, beside the index. Each thread holds row
#: groups of its own, so there are two.
MEMORY_LIMIT = "512MB"
THREADS = 2

#: The SQL that decides the rows of an index, their values and their order.
SQL_OF_ROWS = (
    "schema/asset_index.sql",
    "functions/read_headers.sql",
    "functions/_rst_headers.sql",
    "macros/_rst_asset_columns.sql",
    "functions/_rst_item_time.sql",
    "index/named_twice.sql",
    "index/superseded.sql",
    "index/assets.sql",
    "index/kept_candidates.sql",
    "index/unfinished_index.sql",
    "index/positions.sql",
    "index/build_index.sql",
)

_SUFFIX = ".building"
_LOCK = "lock"
_DIGEST_LENGTH = 16
#: Characters of a file's name that its staging folder takes over; each may have four bytes.
_WHOLE_NAME = 48


@contextlib.contextmanager
def staging_folder(path: Path, digest: str = "") -> Iterator[Path]:
    """Make a folder beside the index, so that a rename ends the build.

    The folder is removed at the end. A build that succeeds also removes the folders of killed builds of this index.
    With a digest, the folder stays after Ctrl-C, as after a kill: `leftovers` finds it.

    Args:
        path: the index.
        digest: hash of the definition, or "" if no later build may take rows over.

    Raises:
        RasteretError: the disk is full.
    """
    import shutil
    import tempfile

    prefix = f"{_prefix(path)}{digest[:_DIGEST_LENGTH]}."
    with writing(path):
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=path.parent))
    with writing(path), (folder / _LOCK).open("wb") as lock:
        locked(lock)
        try:
            yield folder
        except KeyboardInterrupt:
            if not digest:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    for ended in [folder, *leftovers(path)]:
        shutil.rmtree(ended, ignore_errors=True)


def leftovers(path: Path, digest: str = "") -> list[Path]:
    """Give the folders of killed builds of an index; a running build holds a lock on its folder.

    Args:
        path: the index.
        digest: hash of the definition, or "" for all.
    """
    import glob

    found = path.parent.glob(f"{glob.escape(_prefix(path))}{digest[:_DIGEST_LENGTH]}*{_SUFFIX}")
    return sorted(folder for folder in found if _is_ended(folder))


def _prefix(path: Path) -> str:
    """Begin the name of a staging folder, which is longer than that of the file, by what tells the file from others."""
    name = path.name
    if len(name) > _WHOLE_NAME:
        name = f"{name[:_WHOLE_NAME]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f".{name}."


def _is_ended(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("rb+") as lock:
            return locked(lock)
    except OSError:
        return False


def locked(file: IO[bytes]) -> bool:
    """Lock a file for as long as it is open; True if no other process has it locked."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def definition_digest(definition: Mapping[str, Any]) -> str:
    """Hash a definition together with the SQL that makes its rows."""
    text = "\0".join([json.dumps(definition, sort_keys=True), *map(sql_file, SQL_OF_ROWS)])
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def build_connection(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory that spills to a folder.

    Raises:
        BuildError: DuckDB failed inside the block.
    """
    import duckdb

    try:
        with own_connection(memory_limit=MEMORY_LIMIT, threads=THREADS, temp_directory=str(folder / "spill")) as con:
            # Staged bytes are read a few times, from a disk; a cache of them would fill the memory.
            con.execute("SET enable_external_file_cache = false")
            yield con
    except duckdb.Error as error:
        raise BuildError(
            f"{folder.parent}: DuckDB could not build the index ({error}); nothing was written."
        ) from error


@dataclass(slots=True)
class Inventory:
    """Counts of the staged items and assets.

    Attributes:
        items, assets: their numbers.
        asset_keys: every TIFF asset key of the sources, wanted or not.
        failures: items, assets and documents that cannot be used.
        left_out: numbers of assets that are left out, by media type, extension or another reason.
        column_files: files of typed property columns.
    """

    items: int = 0
    assets: int = 0
    asset_keys: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    column_files: list[Path] = field(default_factory=list)


class ParquetFile:
    """A Parquet file that grows by rows; without any rows it is there too, once the block ends."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        from pyarrow import parquet

        self._schema = schema
        self._writer: parquet.ParquetWriter = parquet.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._rows and exception[0] is None:
            self._flush()
        self._writer.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_PER_WRITE:
            self._flush()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch of the file's schema as it is."""
        self._writer.write_batch(batch)

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows.clear()


class HeaderFiles:
    """Rows of headers in Parquet files. Each file is whole, so a killed build leaves rows that can be taken over.

    Every `write` makes a file; small files are joined once they have some thousand rows.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._written: list[pa.RecordBatch] = []
        self._small: list[Path] = []
        self._files = 0

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Write rows; without any rows, write only the first file."""
        if not batches and self._files:
            return
        self._written += batches
        if sum(batch.num_rows for batch in self._written) < ROWS_PER_HEADER_FILE:
            self._small.append(self._write(batches, []))
        else:
            self._write(self._written, self._small)
            self._written, self._small = [], []

    def _write(self, batches: Sequence[pa.RecordBatch], instead_of: Sequence[Path]) -> Path:
        import pyarrow as pa
        from pyarrow import parquet

        path = self._folder / HEADER_FILE.format(self._files)
        aside = path.with_suffix(".partial")
        parquet.write_table(pa.Table.from_batches(batches, self._schema), aside, compression="zstd")
        # A build that is killed between these two steps reads the headers again; no row is ever there twice.
        for small in instead_of:
            small.unlink()
        aside.replace(path)
        self._files += 1
        return path


def create_assets_view(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make `found_assets`, all staged assets, `assets`, each file once, and `unread_assets`.

    The last are the assets that are not in the table `taken`: their headers must be read.

    Args:
        con: connection with the view `items`.
        folder: the staging folder.
    """
    con.execute(f"CREATE VIEW found_assets AS FROM read_parquet({quote_path(folder, ASSETS)})")
    con.execute(f"CREATE TABLE dropped AS {sql_file('index/named_twice.sql')}")
    con.execute(sql_file("index/assets.sql"))
    con.execute("CREATE TABLE taken (asset_no BIGINT)")
    con.execute("CREATE VIEW unread_assets AS FROM assets WHERE asset_no NOT IN (SELECT asset_no FROM taken)")


def stage_sources(
    sources: Iterable[Source],
    folder: Path,
    *,
    on_first: Callable[[AssetRef], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Inventory:
    """Go through the sources and write their items and assets, numbered in order.

    Args:
        sources: the sources.
        folder: the staging folder.
        on_first: called with the first asset.
        on_step: called after each document, page or batch of rows with the number of these so far, and of assets.
    """
    inventory = Inventory()
    steps = 0
    with (
        ParquetFile(folder / ITEMS, items_schema()) as items,
        ParquetFile(folder / ASSETS, assets_schema()) as assets,
    ):
        for source in sources:
            columns: ParquetFile | None = None
            schema: pa.Schema | None = None
            try:
                for found in source:
                    if found.columns is not None and found.items:
                        batch = _numbered(found.columns, inventory.items)
                        if columns is None or batch.schema != schema:
                            if columns is not None:
                                columns.__exit__(None, None, None)
                            path = folder / COLUMNS.format(len(inventory.column_files))
                            inventory.column_files.append(path)
                            columns, schema = ParquetFile(path, batch.schema), batch.schema
                        columns.write(batch)
                    _stage(found, inventory, items, assets)
                    steps += 1
                    if on_step is not None:
                        on_step(steps, inventory.assets)
                    if on_first is not None and inventory.assets:
                        on_first(next(asset for entry in found.items for asset in entry.assets))
                        on_first = None
            finally:
                if columns is not None:
                    columns.__exit__(None, None, None)
    return inventory


def _stage(found: Found, inventory: Inventory, items: ParquetFile, assets: ParquetFile) -> None:
    for entry in found.items:
        item = entry.item
        usable = [asset for asset in entry.assets if _is_usable(item, asset, inventory)]
        items.add(
            {
                "item_no": inventory.items,
                "collection": to_unicode(item.collection) if item.collection is not None else None,
                "item_id": to_unicode(item.item_id),
                "datetime": item.datetime,
                "start_datetime": item.start_datetime,
                "end_datetime": item.end_datetime,
                "geometry": item.geometry,
                "properties": _to_json(item.properties) if item.properties else None,
            }
        )
        for asset in usable:
            assets.add(
                {
                    "asset_no": inventory.assets,
                    "item_no": inventory.items,
                    "asset": asset.asset,
                    "href": unsigned(asset.href),
                    "mirror": unsigned(asset.mirror) if asset.mirror is not None else None,
                    "read_href": asset.mirror or asset.href,
                    "band_lists": _to_json(asset.band_lists) if asset.band_lists else None,
                    "proj": _to_json(asset.proj) if asset.proj else None,
                    "media_type": to_unicode(asset.media_type) if asset.media_type is not None else None,
                    "title": to_unicode(asset.title) if asset.title is not None else None,
                    "roles": [to_unicode(role) for role in asset.roles] or None,
                }
            )
            inventory.assets += 1
        inventory.items += 1
    inventory.failures += found.failures
    inventory.left_out += found.left_out
    inventory.asset_keys |= found.asset_keys


def _is_usable(item: ItemRef, asset: AssetRef, inventory: Inventory) -> bool:
    """Whether names and hrefs of an asset can be stored; an asset with other ones is a failure of its own."""
    texts = {"id": item.item_id, "collection": item.collection, "key": asset.asset, "href": asset.href}
    texts["mirror"] = asset.mirror
    wrong = next((name for name, text in texts.items() if text is not None and text != to_unicode(text)), None)
    if wrong is None:
        return True
    item_id, key = (text.encode("utf-8", "backslashreplace").decode() for text in (item.item_id, asset.asset))
    message = f"item {item_id!r}, asset {key!r}: the {wrong} is no valid Unicode; correct the source"
    inventory.failures.append(Failure(None, item_id, key, InvalidArgumentError.__name__, message))
    return False


def to_unicode(text: str) -> str:
    """Replace lone surrogates, which neither Parquet nor DuckDB's JSON can hold, by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def prepare_reading(asset: AssetRef) -> None:
    """Begin to import the modules of header reading while sources are still gone through."""
    # An href that no store reads becomes a failure later, when it is read.
    with contextlib.suppress(InvalidArgumentError):
        warm_up(asset.mirror or asset.href, "pyproj", "shapely")


def items_schema() -> pa.Schema:
    """Columns of the staged items; `properties` is JSON."""
    import pyarrow as pa

    utc = pa.timestamp("us", tz="UTC")
    return pa.schema(
        {
            "item_no": pa.int64(),
            "collection": pa.string(),
            "item_id": pa.string(),
            "datetime": utc,
            "start_datetime": utc,
            "end_datetime": utc,
            "geometry": pa.binary(),
            "properties": pa.string(),
        }
    )


def assets_schema() -> pa.Schema:
    """Columns of the staged assets; `band_lists` and `proj` are JSON."""
    import pyarrow as pa

    texts = ("asset", "href", "mirror", "read_href", "band_lists", "proj", "media_type", "title")
    numbers = {"asset_no": pa.int64(), "item_no": pa.int64()}
    return pa.schema(numbers | dict.fromkeys(texts, pa.string()) | {"roles": pa.list_(pa.string())})


def _numbered(columns: pa.RecordBatch, first_item_no: int) -> pa.RecordBatch:
    import pyarrow as pa

    numbers = pa.array(range(first_item_no, first_item_no + columns.num_rows), pa.int64())
    return pa.RecordBatch.from_arrays([numbers, *columns.columns], names=["item_no", *columns.schema.names])


def _to_json(value: object) -> str:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, default=str)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, default=str)
    return to_unicode(text)


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value
