"""Tables with an `href` column, and stac-geoparquet: Arrow, DuckDB relations, data frames, Parquet files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import shown
from rasteret_sql.database.hrefs import absolute, is_url, mirror_of, path_of, suffix_of
from rasteret_sql.database.schema import SOURCE_COLUMNS, index_columns
from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.geo.geometry import wkb_of
from rasteret_sql.index.found import TIME_NAMES, AssetRef, Found, FoundItem, SourceKind, parse_times
from rasteret_sql.index.report import Failure
from rasteret_sql.index.sources.tiffs import file_item
from rasteret_sql.index.stac.items import own_base, take_item
from rasteret_sql.io import access
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pyarrow as pa

    from rasteret_sql.index.found import BandList, Source, SourceOptions

ROWS_PER_STEP = 512

_PARQUET_SUFFIXES = frozenset({".parquet", ".geoparquet"})
#: Columns of stac-geoparquet that are no item properties.
_STAC_COLUMNS = frozenset(
    {
        "type",
        "stac_version",
        "stac_extensions",
        "id",
        "collection",
        "geometry",
        "bbox",
        "links",
        "assets",
        *TIME_NAMES,
    }
)


#: Prefixes of item properties that describe assets.
_READ_PROPERTIES = ("proj:", "storage:")


class TableSource:
    """Rows with an `href`, one asset each, or stac-geoparquet rows with `assets`, one item each.

    Columns `item_id` (or `id`), `asset`, `collection`, the three STAC times, `geometry` (WKB, lon/lat), `mirror` and
    `bands` have their meaning in an index. Columns that come from headers are ignored. All other columns become
    property columns of their own type.

    Args:
        batches: opens the table anew.
        what: name of the table in messages.
        options: which assets are wanted; its pattern tells `item_id` and `asset` from `href` where there are no such
            columns.
        base: path or URL that relative hrefs are resolved against.
    """

    def __init__(
        self,
        batches: Callable[[], Iterable[pa.RecordBatch]],
        what: str,
        options: SourceOptions,
        base: str | None = None,
    ) -> None:
        self._batches = batches
        self._what = what
        self._options = options
        self._base = base

    def __iter__(self) -> Iterator[Found]:
        """Read the table, some hundred rows at a time.

        Raises:
            InvalidArgumentError: the table has neither `href` nor `assets`, or Arrow cannot read it.
        """
        row = 0
        for batch in self._batches():
            for start in range(0, batch.num_rows, ROWS_PER_STEP):
                part = batch.slice(start, ROWS_PER_STEP)
                names = {name.lower() for name in part.schema.names}
                if "href" in names:
                    yield self._take_rows(part, row)
                elif "assets" in names:
                    yield self._take_items(part)
                else:
                    raise InvalidArgumentError(
                        f"{self._what}: got the columns {', '.join(part.schema.names)}, "
                        f"expected href (or assets, as in stac-geoparquet); "
                        f"name the column of paths or URLs href"
                    )
                row += part.num_rows

    def _take_rows(self, batch: pa.RecordBatch, first_row: int) -> Found:
        found = Found()
        known = {name.lower(): _plain(batch.column(name)) for name in batch.schema.names}
        known = {
            name: column.to_pylist()
            for name, column in known.items()
            if name in SOURCE_COLUMNS or (name == "id" and "item_id" not in known)
        }
        kept = []
        for row in range(batch.num_rows):
            values = {name: column[row] for name, column in known.items()}
            try:
                entry = self._row(values, first_row + row)
            except RasteretError as error:
                href = values.get("href")
                name = redact(href) if isinstance(href, str) else None
                found.failures.append(Failure(name, None, None, type(error).__name__, str(error)))
                continue
            found.asset_keys.add(entry.assets[0].asset)
            if self._options.assets is None or entry.assets[0].asset in self._options.assets:
                found.items.append(entry)
                kept.append(row)
        taken = {*index_columns(), *SOURCE_COLUMNS} | ({"id"} if "item_id" not in known else set())
        found.columns = _properties(batch, kept, taken)
        return found

    def _row(self, values: Mapping[str, Any], row: int) -> FoundItem:
        href = values.get("href")
        if not isinstance(href, str) or not href:
            raise InvalidArgumentError(f"{self._what}, row {row}: got {shown(href)} as href, expected a path or URL")
        href = absolute(href, self._base)
        fields = self._options.pattern.match(href) if self._options.pattern is not None else {}
        entry = file_item(href, fields, None, self._options)
        item_id = values.get("item_id", values.get("id"))
        collection = values.get("collection")
        times = parse_times(values, f"{self._what}, row {row}")
        changes: dict[str, Any] = {name: time for name, time in times.items() if time is not None}
        changes["geometry"] = wkb_of(values.get("geometry"))
        if item_id is not None:
            changes["item_id"] = str(item_id)
        if collection is not None:
            changes["collection"] = str(collection)
        item = replace(entry.item, **changes)
        bands = _structs(values.get("bands"))
        mirror = values.get("mirror")
        mirror = absolute(mirror) if isinstance(mirror, str) else None
        read_instead = mirror_of(href, self._options.href_map)
        if read_instead is None:
            access.check_named(mirror or href, self._base)
        asset = AssetRef(
            asset=str(values["asset"]) if values.get("asset") is not None else entry.assets[0].asset,
            href=href,
            band_lists=(bands,) if bands else (),
            mirror=read_instead or mirror,
        )
        return FoundItem(item, (asset,))

    def _take_items(self, batch: pa.RecordBatch) -> Found:
        found = Found()
        names = {name.lower(): name for name in batch.schema.names}
        wanted = [
            name for name in batch.schema.names if name.lower() in _STAC_COLUMNS or name.startswith(_READ_PROPERTIES)
        ]
        rows = [_plain(batch.column(name)).to_pylist() for name in wanted]
        kept = []
        for row in range(batch.num_rows):
            values = {name: column[row] for name, column in zip(wanted, rows, strict=True)}
            values |= {lower: values.get(name) for lower, name in names.items() if lower in _STAC_COLUMNS}
            before = len(found.items)
            take_item(found, _document(values), own_base(values, self._base), self._options, named_by=self._base)
            if len(found.items) > before:
                entry = found.items[-1]
                item = replace(entry.item, geometry=wkb_of(values.get("geometry")), properties={})
                found.items[-1] = FoundItem(item, entry.assets)
                kept.append(row)
        found.columns = _properties(batch, kept, _STAC_COLUMNS)
        return found


def _of_object(source: Any, options: SourceOptions) -> tuple[Source, str] | None:
    """Take all objects that stream Arrow batches: Arrow tables, DuckDB relations, data frames."""
    described = f"a table in memory ({type(source).__name__})"
    if hasattr(source, "to_wkb") and hasattr(source, "geometry"):
        # A GeoDataFrame; its own Arrow stream has Python objects as geometries.
        source = source.to_wkb()
    if not hasattr(source, "__arrow_c_stream__"):
        return None

    def batches() -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        try:
            yield from pa.RecordBatchReader.from_stream(source)
        except pa.ArrowException as error:
            raise InvalidArgumentError(
                f"the table: got a table that Arrow cannot read ({error}); expected texts as href; convert the column"
            ) from error

    return TableSource(batches, "the table", options), described


def _parquet_source(path: str, options: SourceOptions) -> TableSource:
    if is_url(path):
        raise InvalidArgumentError(
            f"{redact(path)}: got the URL of a Parquet file, expected a local one; "
            f"download it, or read it with DuckDB and give the relation"
        )
    return TableSource(lambda: parquet_batches(path), path, options, base=path)


KIND = SourceKind(
    rank=30,
    of_object=_of_object,
    takes_path=lambda path: suffix_of(path) in _PARQUET_SUFFIXES,
    of_paths=lambda paths, options: [_parquet_source(absolute(path), options) for path in paths],
)


def parquet_batches(path: str) -> Iterator[pa.RecordBatch]:
    """Read a local Parquet file some rows at a time, without the columns that come from headers.

    Raises:
        InvalidArgumentError: it cannot be read as Parquet.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            skipped = index_columns() - SOURCE_COLUMNS if "levels" in file.schema_arrow.names else frozenset()
            columns = [name for name in file.schema_arrow.names if name not in skipped]
            yield from file.iter_batches(ROWS_PER_STEP, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise InvalidArgumentError(
            f"{path_of(path)}: this file cannot be read as Parquet ({error}); "
            f"expected a table with href, or stac-geoparquet"
        ) from error


def _document(values: Mapping[str, Any]) -> dict[str, Any]:
    assets = _mapping(values.get("assets"))
    if isinstance(assets, dict):
        assets = {key: asset for key, asset in assets.items() if isinstance(asset, dict) and asset.get("href")}
        for asset in assets.values():
            if asset.get("alternate") is not None:
                asset["alternate"] = _mapping(asset["alternate"])
    properties = {
        name: value for name, value in values.items() if name in TIME_NAMES or name.startswith(_READ_PROPERTIES)
    }
    if properties.get("storage:schemes") is not None:
        properties["storage:schemes"] = _mapping(properties["storage:schemes"])
    return {
        "id": values.get("id"),
        "collection": values.get("collection"),
        "properties": properties,
        "assets": {key: _without_nulls(asset) for key, asset in assets.items()} if assets is not None else None,
    }


def _mapping(value: object) -> Any:
    """Make a dictionary of a value of an Arrow map, which is a list of pairs; any other value stays."""
    is_map = isinstance(value, list) and all(isinstance(pair, tuple) for pair in value)
    return dict(value) if is_map else value  # type: ignore[call-overload]


def _properties(batch: pa.RecordBatch, rows: list[int], taken: Iterable[str]) -> pa.RecordBatch:
    import pyarrow as pa

    taken = frozenset(taken)
    names = [name for name in batch.schema.names if name.lower() not in taken]
    arrays = [_plain(batch.column(name)).take(pa.array(rows, pa.int64())) for name in names]
    if not names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _plain(array: pa.Array) -> pa.Array:
    """Give the storage of an extension array, such as WKB."""
    import pyarrow as pa

    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _structs(value: object) -> BandList:
    if not isinstance(value, list) or not all(isinstance(band, dict) for band in value):
        return ()
    return tuple(_without_nulls(band) for band in value)


def _without_nulls(struct: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in struct.items() if value is not None}
