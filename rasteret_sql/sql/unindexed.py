"""Assets without headers in the place of an index: the headers that a read needs are read, and become index rows."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql import errors
from rasteret_sql.database.hrefs import INDEX_SUFFIXES, TIFF_SUFFIXES, absolute, is_url, suffix_of
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.database.sqlfiles import quote_identifier, sql_file
from rasteret_sql.errors import AccessDeniedError, BuildError, InvalidIndexError, RasteretError
from rasteret_sql.geo.crs import in_proj_thread
from rasteret_sql.geo.geometry import wkb_of
from rasteret_sql.io import access, fork
from rasteret_sql.plan.area import Area
from rasteret_sql.plan.arguments import ReadArguments
from rasteret_sql.sql.catalog import CATALOG, sql_objects
from rasteret_sql.sql.origins import origins_of
from rasteret_sql.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb
    import pyarrow as pa

    from rasteret_sql.sql.virtual import Connections

#: Suffixes of documents and files that hold no rows, by which a path is a source of assets rather than an index.
SOURCE_SUFFIXES: Final = TIFF_SUFFIXES | {".json", ".geojson", ".ndjson", ".jsonl", ".geojsonl"}
#: Columns of `stac_items` that an index does not have.
_OF_ASSETS: Final = ["media_type", "asset_title", "asset_roles"]
#: Names on the cursor of a read: the assets, and those of them whose headers were read.
_ASSETS: Final = "unindexed_assets"
_INDEXED: Final = "assets_with_headers"
#: So far beside an area assets are read too, as rows of an index are (`index_rows`).
_BESIDE_DEGREES: Final = 0.1

_FACTS: Final = f"""
SELECT
    rst_no,
    collection::VARCHAR AS collection,
    coalesce(item_id::VARCHAR, href::VARCHAR) AS item_id,
    coalesce(asset::VARCHAR, 'data') AS asset,
    coalesce(mirror::VARCHAR, href::VARCHAR) AS address,
    geometry::VARCHAR AS geometry,
    proj::VARCHAR AS proj,
    concat_ws(' ', to_json(bands)::VARCHAR, band_lists::VARCHAR) AS described
FROM (
    SELECT
        *,
        epoch_us({CATALOG}.main._rst_utc(datetime, 'datetime')) AS rst_us,
        epoch_us({CATALOG}.main._rst_utc(start_datetime, 'start_datetime')) AS rst_start_us,
        epoch_us({CATALOG}.main._rst_utc(end_datetime, 'end_datetime')) AS rst_end_us
    FROM {_ASSETS}
)
WHERE ($start_us IS NULL OR coalesce(rst_end_us, rst_us) >= $start_us)
    AND ($end_us IS NULL OR coalesce(rst_start_us, rst_us) < $end_us)
ORDER BY rst_no ASC
"""  # noqa: S608 - our own names


def is_source_path(text: str) -> bool:
    """Whether a text that is no query is the path, glob or URL of STAC documents or TIFF files."""
    return suffix_of(text) in SOURCE_SUFFIXES and not os.path.isdir(text)  # noqa: PTH112 - may be a URL


def is_source(subject: Any) -> bool:
    """Whether a value is a source of assets that is no table: items, documents, TIFF files, a search of an API.

    A list of Parquet files is none: `index` takes a folder or a glob instead.
    """
    if isinstance(subject, (dict, list, tuple)):
        return bool(subject) and not any(
            isinstance(part, (str, os.PathLike)) and suffix_of(os.fspath(part)) in INDEX_SUFFIXES for part in subject
        )
    return hasattr(subject, "items_as_dicts") or (
        hasattr(subject, "to_dict") and (hasattr(subject, "stac_extensions") or hasattr(subject, "extra_fields"))
    )


def asset_rows(subject: Any) -> pa.Table:
    """Give a table of the assets of a source that is no table.

    Raises:
        InvalidIndexError: it is no source of assets.
        BuildError: a part of it cannot be used.
    """
    from rasteret_sql.index.asset_table import asset_table
    from rasteret_sql.index.found import SourceOptions
    from rasteret_sql.index.sources import resolve_source

    try:
        sources, _ = resolve_source(subject, SourceOptions())
    except errors.InvalidArgumentError as error:
        raise InvalidIndexError(f"index: {error}") from error
    rows = asset_table(sources, what="index", remedy="correct it, or leave them out of it")
    return rows.drop_columns(_OF_ASSETS)


class UnindexedAssets:
    """Assets on the cursor of a read.

    Args:
        cursor: gets temporary tables.
        origins: URLs that the rows come from, by which it is checked what they name.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, origins: Sequence[str]) -> None:
        self._cursor, self._origins = cursor, origins

    @classmethod
    def of(
        cls, cursor: duckdb.DuckDBPyConnection, name: str, index: str, origins: Sequence[str]
    ) -> UnindexedAssets | None:
        """Take rows that have an href and no headers, or items in the form of stac-geoparquet; None for other rows.

        Args:
            cursor: where the rows are found.
            name: under which `query_table` finds them.
            index: as the caller named them.
            origins: URLs that the rows come from.
        """
        columns = cls.columns(cursor, name)
        if columns is None:
            return None
        if "href" not in columns:
            is_local_file = suffix_of(index) in INDEX_SUFFIXES and os.path.isfile(index)  # noqa: PTH113
            items = index if is_local_file else cursor.table_function("query_table", [name]).to_arrow_table()
            name = "items_without_headers"
            cursor.register(name, asset_rows(items))
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE {_ASSETS} AS {sql_file('index/unindexed_assets.sql')}", [name])
        return cls(cursor, origins)

    @staticmethod
    def columns(cursor: duckdb.DuckDBPyConnection, name: str) -> set[str] | None:
        """Give the columns of rows, in lower case, if they are assets without headers; None for other rows."""
        described = cursor.execute("SELECT column_name FROM (DESCRIBE FROM query_table($1))", [name]).fetchall()
        columns = {column.lower() for (column,) in described}
        is_other = "levels" in columns or "tile_row" in columns or not columns & {"href", "assets"}
        return None if is_other else columns

    def wanted(self, arguments: ReadArguments, labels: Iterable[str] | None = None) -> list[int]:
        """Give the numbers of the assets that a read may need, as far as their source describes them.

        An asset lies where the geometry of its item is, or where its `proj:` fields put its pixels. An asset that the
        source gives no place, or no bands, is wanted.

        Args:
            arguments: area and period of the read.
            labels: of bands; None for all.

        Raises:
            AccessDeniedError: a row from the network names what it may not name.
        """
        period = arguments.period
        found = self._cursor.execute(
            _FACTS,
            {
                "start_us": None if period is None else period.start_us,
                "end_us": None if period is None else period.end_us,
            },
        )
        assert found.description is not None
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        rows = self._of_where(rows, arguments.where)
        area = Area.of(arguments)
        if area is not None:
            parts = [tuple(part) for part in area.in_degrees().tolist()]
            rows = in_proj_thread(lambda: [row for row in rows if _touches(row, parts)])()
        if labels is not None:
            rows = _with_labels(rows, list(labels))
        for row in rows if self._origins else ():
            self._check_named(row)
        return [row["rst_no"] for row in rows]

    def with_headers(self, arguments: ReadArguments, labels: Iterable[str] | None) -> str:
        """Read the headers of the assets that a read may need.

        Returns:
            Name of their rows on the cursor, rows of an index.

        Raises:
            RasteretError: a header cannot be read.
        """
        chosen = self.wanted(arguments, labels)
        wanted = self._cursor.sql(
            f"SELECT a.* FROM {_ASSETS} AS a JOIN (SELECT unnest($1::BIGINT[]) AS rst_no) AS w USING (rst_no) "  # noqa: S608
            "ORDER BY rst_no ASC",
            params=[chosen],
        ).to_arrow_table()
        self._cursor.register(_INDEXED, _read(wanted))
        return _INDEXED

    def _of_where(self, rows: list[dict[str, Any]], where: str | None) -> list[dict[str, Any]]:
        """Leave out what a condition on columns of the source leaves out; other conditions wait for the headers."""
        import duckdb

        if where is None:
            return rows
        # Headers widen the bounds of an item.
        unknown = "EXCLUDE (geometry, bands, band_lists, proj)"
        try:
            kept = self._cursor.execute(f"SELECT rst_no FROM (SELECT * {unknown} FROM {_ASSETS}) WHERE {where}")  # noqa: S608
        except duckdb.BinderException:
            return rows
        numbers = {number for (number,) in kept.fetchall()}
        return [row for row in rows if row["rst_no"] in numbers]

    def _check_named(self, row: dict[str, Any]) -> None:
        try:
            access.check_named(absolute(row["address"] or ""), self._origins, resolve=True)
        except AccessDeniedError as error:
            raise AccessDeniedError(f'asset "{row["asset"]}" of item {row["item_id"]}: {error}') from error


def _touches(row: dict[str, Any], parts: Sequence[tuple[float, ...]]) -> bool:
    bounds = _bounds(row["geometry"], row["proj"])
    if bounds is None:
        return True
    xmin, ymin, xmax, ymax = bounds
    return any(
        xmin <= part[2] + _BESIDE_DEGREES
        and xmax >= part[0] - _BESIDE_DEGREES
        and ymin <= part[3] + _BESIDE_DEGREES
        and ymax >= part[1] - _BESIDE_DEGREES
        for part in parts
    )


@lru_cache(maxsize=4096)
def _bounds(geometry: str | None, proj: str | None) -> tuple[float, float, float, float] | None:
    """Give the bounds of an asset in degrees, of its item and of its pixels together; None where they are not known."""
    import shapely

    from rasteret_sql.geo.footprint import footprint
    from rasteret_sql.index.header_columns import bounds_of, joint_bounds

    known = json.loads(proj) if proj is not None else {}
    outline = None
    if known.get("code") and len(known.get("shape") or ()) == 2 and len(known.get("transform") or ()) >= 6:
        height, width = known["shape"]
        try:
            outline = footprint(known["code"], tuple(map(float, known["transform"][:6])), int(width), int(height))
        except (RasteretError, TypeError, ValueError):
            # What STAC describes is no grid: the header decides.
            return None
    found = joint_bounds(
        bounds_of(wkb_of(geometry)), bounds_of(None if outline is None else bytes(shapely.to_wkb(outline)))
    )
    return None if found is None else (found["xmin"], found["ymin"], found["xmax"], found["ymax"])


def _with_labels(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Leave out assets that no label can name; items are looked at one by one, as `plan.bands` compares them.

    A label is the key of an asset, or the key and a band. Any other label may be the name of a band: then the assets
    that the source describes by this name are taken, or all assets of the item where it describes none.
    """
    items: dict[tuple[str | None, str], list[dict[str, Any]]] = {}
    for row in rows:
        items.setdefault((row["collection"], row["item_id"]), []).append(row)
    kept: set[int] = set()
    for assets in items.values():
        for label in labels:
            named = [row for row in assets if label == row["asset"]]
            named = named or [row for row in assets if label.startswith(f"{row['asset']}:")]
            named = named or [row for row in assets if json.dumps(label) in (row["described"] or "")]
            kept.update(row["rst_no"] for row in named or assets)
    return [row for row in rows if row["rst_no"] in kept]


def assets_of(connections: Connections, index: str, settings: str) -> str:
    """Give the name under which `query_table` finds assets without headers; "" for an index, and for what is not found.

    Args:
        connections: of the database.
        index: name of a table or view, or a path, as a macro got it.
        settings: of the session, as JSON.

    Raises:
        AccessDeniedError: a row from the network names what it may not name.
        RasteretError: STAC documents or TIFF files cannot be used.
    """
    import duckdb

    from rasteret_sql.sql.named_index import is_path, is_query, named_index

    if is_query(index):
        return ""
    if is_source_path(index):
        return quote_identifier(_assets_file(index))
    if is_path(index) and not os.path.isfile(index):  # noqa: PTH113 - as it was written
        # Folders, globs and URLs of Parquet files are indexes.
        return ""
    with connections.planning_as(json.loads(settings)) as cursor:
        try:
            name = named_index(cursor, index)
            columns = UnindexedAssets.columns(cursor, name)
            origins = origins_of(cursor, index, is_file=is_path(index))
            if columns is None:
                return ""
            if origins and (assets := UnindexedAssets.of(cursor, name, index, origins)) is not None:
                # Checks what the rows name.
                assets.wanted(ReadArguments(index=index))
        except (duckdb.Error, InvalidIndexError):
            return ""
    return name if "href" in columns else quote_identifier(_assets_file(index))


def _assets_file(source: str) -> str:
    """Give the path of a Parquet file with the assets of documents or TIFF files, which is made once per statement."""
    from rasteret_sql.sql.stac import KEPT_S, LOCAL_KEPT_S, kept_file

    def write(path: Path) -> None:
        from pyarrow import parquet

        parquet.write_table(asset_rows(source), path)

    return kept_file(f"assets {source} {Path.cwd()}", KEPT_S if is_url(source) else LOCAL_KEPT_S, write)


def _new_connection() -> duckdb.DuckDBPyConnection:
    from rasteret_sql.sql import read_headers
    from rasteret_sql.sql.connection import make_casts

    con = own_connection()
    # Closing it in a forked child would wait for DuckDB's threads, which are not there.
    fork.pin_in_child(con)
    make_casts(con)
    read_headers.register(con, "", f"{CATALOG}.main.")
    needed = {"_rst_file_stem", "_rst_item_time", "_rst_headers", "read_headers"}
    for found in sql_objects("macros", "functions"):
        if found.name in needed:
            con.execute(found.statements(qualifier=f"{CATALOG}.main.")[0])
    return con


#: Reads headers: functions in Python belong to a connection, and that of a caller may be closed.
_connection = fork.PerProcess(_new_connection)
_lock = fork.Lock()


def _read(wanted: pa.Table) -> pa.Table:
    """Give rows of an index for assets, in their order.

    Raises:
        RasteretError: a header cannot be read.
    """
    import duckdb

    from rasteret_sql.sql.workarounds import bare_cursor

    with _lock:
        cursor = bare_cursor(_connection.get())
    try:
        cursor.register("wanted", wanted)
        found = cursor.sql(
            "SELECT * EXCLUDE (rst_no, geometry), ST_AsWKB(geometry) AS geometry, rst_no "  # noqa: S608 - ours
            f"FROM {CATALOG}.main.read_headers('wanted', on_error := 'null')"
        )
        rows = found.to_arrow_table().sort_by("rst_no")
    except duckdb.Error as error:
        raise InvalidIndexError(f"index: its assets cannot be read ({' '.join(str(error).split())})") from error
    finally:
        cursor.close()
    _require_headers(rows)
    return rows.drop_columns(["rst_no"])


def _require_headers(rows: pa.Table) -> None:
    """Refuse rows whose header was not read.

    Raises:
        RasteretError: there are some; its class is that of the first fault.
    """
    import pyarrow.compute as pc

    unread = rows.select(["item_id", "asset", "notes"]).filter(pc.is_null(rows.column("levels"))).to_pylist()
    if not unread:
        return
    kind, _, message = unread[0]["notes"][0].partition(": ")
    found = getattr(errors, kind, BuildError)
    others = f" {count(len(unread) - 1, 'further file')} cannot be read either." if len(unread) > 1 else ""
    raise found(
        f'asset "{unread[0]["asset"]}" of item {unread[0]["item_id"]}: {message} Without its header the asset cannot '
        f"be read: leave it out, or build an index, whose report lists such files.{others}"
    )
