"""What Python callers read with: any query result as an index, and its tiles as Arrow batches."""

from __future__ import annotations

import math
import os
import re
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.checks import (
    check_choice,
    checked_list,
    checked_unicode,
    number_of,
    shown,
    text_of,
    whole_number_of,
    without_crs,
)
from rasteret_sql.database.folders import index_files, is_many
from rasteret_sql.database.own_connection import own_connection
from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.geo.crs import LONLAT
from rasteret_sql.geo.geobox import numbers_of
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.index.fresh import with_fresh_stream
from rasteret_sql.io import fork
from rasteret_sql.plan.arguments import ReadArguments
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.sql.cost import ReadCost
from rasteret_sql.sql.named_index import is_query, shown_index
from rasteret_sql.sql.planning import IndexPlans, PlannedTiles, explain_read, nothing_found
from rasteret_sql.sql.unindexed import is_source_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    import pyarrow as pa

    from rasteret_sql.plan.files import Files
    from rasteret_sql.read.stream import OnError
    from rasteret_sql.sql.index_rows import AssetProperties

#: An argument as SQL spells it.
_SQL_ARGUMENT: Final = re.compile(r"\b([a-z_]+) := ?")
#: Overviews halve an image: no file has so many of them.
_MAX_LEVEL = 1 << 16


def _new_connection() -> duckdb.DuckDBPyConnection:
    con = own_connection()
    # It looks at the statistics of each column in each row group, in every statement: a quarter of the time of a small
    # plan from a large index. Row groups are left out without it.
    con.execute("SET GLOBAL disabled_optimizers = 'statistics_propagation'")
    # Closing it in a forked child would wait for DuckDB's threads, which are not there.
    fork.pin_in_child(con)
    return con


#: By whether the planner's SQL is in them.
_connections = {with_macros: fork.PerProcess(_new_connection) for with_macros in (False, True)}
#: Those that have their SQL.
_ready: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
#: Indexes for whose files everything was imported: to look at the first row again would take a tenth of a plan.
_warmed: fork.PerProcess[set[str]] = fork.PerProcess(set)
_lock = fork.Lock()
#: Files of a plan whose memory is given back: 100,000 files leave 400 MB.
_MANY_FILES: Final = 10_000


@with_fresh_stream
@without_crs
def read_tiles(  # noqa: PLR0913 - keywords only
    index: Any,
    *,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: str = "OGC:CRS84",
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
    scales: float | Mapping[str, float] | None = None,
    offsets: float | Mapping[str, float] | None = None,
    statistics: str | os.PathLike[str] | None = None,
    tiles_where: str | None = None,
    on_error: OnError = "raise",
) -> pa.RecordBatchReader:
    """Stream the tiles of an index, in the order in which their bytes lie in each file.

    Args:
        index: rows of an index: a DuckDB relation, an Arrow table or reader, a pandas frame, a Parquet path,
            glob or URL, or the text of a query. Or assets without an index: STAC items, documents or a search, TIFF
            files, or a table with `href`; their headers are read.
        bands: assets ("red"), or bands inside them ("visual:red"); None for all.
        geometry: GeoJSON (mapping or text), WKT, WKB or anything with `__geo_interface__`, in `geometry_crs`, or
            None. Whole tiles that it touches are read.
        bbox: (xmin, ymin, xmax, ymax) in `geometry_crs`, or None.
        geometry_crs: CRS of `geometry` and `bbox`; longitude and latitude by default.
        datetime: "2024-01", "2024-01-01/2024-02-15" and other forms of STAC, ends included; or None.
        level: 0 is full resolution, n the nth overview.
        resolution: largest pixel size in units of each raster's CRS, instead of a level.
        scales, offsets: values of the columns `scale` and `offset`, instead of those of the files, or mappings of bands
            to values, with "*" for all others.
        statistics: path of a file of `build_stats`, or the text of a query of several, for `tiles_where`.
        tiles_where: condition on the statistics of each tile, such as "valid_share > 0.9 AND max > 9000". It names
            valid_count, valid_share, min, max, sum, mean and stdev of the stored valid pixels, and in double quotes the
            share of a value among them, such as "share:8". With a band, such as `share(SCL, [8, 9]) < 0.1` or
            `max(B08) > 9000`, a statistic is that of the pixels of this band of the item that lie under the tile. Tiles
            that do not meet the condition are left out. With `statistics` they are not fetched; tiles that the file
            does not decide are read to decide.
        on_error: "raise", or "null" for rows without pixels whose `error` says why.

    Returns:
        A reader of record batches with the columns of `read_tiles` in SQL; `pixels` are (height, width) in C order,
        little-endian. Nothing is fetched before the first batch is asked for.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: the area touches no asset.
        RasteretError: while reading: bytes could not be fetched or decoded.
    """
    import pyarrow as pa

    from rasteret_sql.sql.batches import schema_of, tile_batches
    from rasteret_sql.sql.chosen_tiles import TileChoice
    from rasteret_sql.sql.statistics_file import checked_statistics

    check_choice("on_error", on_error, ("raise", "null"))
    scaling = GivenScaling.of(scales, offsets)
    arguments = read_arguments(bands, geometry, bbox, geometry_crs, datetime, level, resolution, scaling=scaling)
    choice = TileChoice.of(tiles_where, checked_statistics(statistics))
    with planning_cursor(index) as cursor:
        chosen = choice.plan(cursor, shown_index(cursor, index, arguments))
        schema = pa.schema([field for field in schema_of(cursor, "tiles") if field.name != "_call"])
    return pa.RecordBatchReader.from_batches(schema, tile_batches(chosen, schema, on_error=on_error))


@without_crs
def explain(
    index: Any,
    *,
    bands: Sequence[str] | None = None,
    geometry: Any = None,
    bbox: Sequence[float] | None = None,
    geometry_crs: str = "OGC:CRS84",
    datetime: str | None = None,
    level: int | None = None,
    resolution: float | None = None,
) -> ReadCost:
    """Return the cost of a read, without fetching anything.

    The arguments are those of `read_tiles`.

    Returns:
        The rows of `explain_read` in SQL: one per collection and band, and a total. DuckDB and Arrow take it as a
        table. Where nothing is left to read, `why_empty` says which argument left nothing.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: `index` holds no rows of an index.
    """
    arguments = read_arguments(bands, geometry, bbox, geometry_crs, datetime, level, resolution)
    with planning_cursor(with_macros=True) as cursor:
        arguments = shown_index(cursor, index, arguments)
        try:
            cost = ReadCost(explain_read(cursor, arguments))
        except InvalidArgumentError as error:
            # The planner in SQL spells arguments as SQL does.
            raise type(error)(_SQL_ARGUMENT.sub(r"\1=", str(error))) from error
        return cost if cost.total["tiles"] else ReadCost(cost.table, str(nothing_found(cursor, arguments)))


@contextmanager
def index_plans(index: Any, arguments: ReadArguments, *, with_properties: bool = False) -> Iterator[IndexPlans]:
    """Plan a read of any rows of an index, once or several times.

    Args:
        index: as for `read_tiles`.
        arguments: what is asked; its `index` is not looked at. Rows in its area and period are fetched.
        with_properties: whether the properties of the items are wanted.

    Raises:
        InvalidIndexError: `index` holds no rows of an index.
    """
    with planning_cursor(index) as cursor:
        shown = shown_index(cursor, index, arguments, with_properties=with_properties)
        yield IndexPlans(cursor, shown, with_properties=with_properties)


def plan_index(index: Any, arguments: ReadArguments) -> PlannedTiles:
    """Plan a read of any rows of an index that must give something.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to read.
    """
    with index_plans(index, arguments) as plans:
        return plans.plan(arguments)


def files_of(index: Any, arguments: ReadArguments) -> tuple[Files, AssetProperties]:
    """Plan the files of any rows of an index with all of their levels, for reads that choose windows later.

    Args:
        index: as for `read_tiles`.
        arguments: what is asked; its `index` is not looked at.

    Raises:
        InvalidArgumentError: an argument is wrong, or a file has no CRS or transform.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left.
    """
    from rasteret_sql.sql.files import plan_files

    with planning_cursor(index) as cursor:
        found = plan_files(cursor, shown_index(cursor, index, arguments, with_properties=True))
    if len(found[0]) > _MANY_FILES:
        _leave_connection()
    return found


def _leave_connection() -> None:
    """Let go of this process's connection for planning: the next plan makes another, in 20 ms.

    DuckDB's allocator keeps the memory of a large plan until its database ends. It is not closed here, since that would
    close the cursors of other threads: the database ends with the last of them.
    """
    with _lock:
        _connections[False].renew()


def read_arguments(
    bands: Any,
    geometry: Any,
    bbox: Any,
    crs: str | None,
    datetime: str | None,
    level: int | None,
    resolution: float | None,
    *,
    gsd: float | None = None,
    scaling: GivenScaling | None = None,
) -> ReadArguments:
    """Make the planner's arguments of what a caller gave.

    Raises:
        InvalidArgumentError: one of them is of a type that it cannot be.
    """
    # As in SQL, where nothing given is NULL.
    crs = LONLAT if crs is None else text_of("geometry_crs", crs, "a CRS such as 'EPSG:32643'")
    bands = checked_list("bands", bands, "names such as ['red', 'visual:red'], or None for all bands")
    for name, number in (("level", level), ("resolution", resolution), ("gsd", gsd)):
        if number is not None and number_of(number) is None:
            raise InvalidArgumentError(f"{name}: got {shown(number)}, expected a number")
    if level is not None and not (math.isfinite(level) and int(level) == level and level < _MAX_LEVEL):
        raise InvalidArgumentError(f"level: got {shown(level)}, expected a whole number: 0 (full resolution) or more")
    is_named = bands is None or all(isinstance(band, str) or whole_number_of(band) is not None for band in bands)
    if not is_named or bands == []:
        raise InvalidArgumentError(
            f"bands: got {shown(bands)}, expected names such as ['red', 'visual:red'], or None for all bands"
        )
    if bbox is not None:
        sides = numbers_of(bbox)
        if not sides:
            raise InvalidArgumentError(f"bbox: got {shown(bbox)}, expected four numbers (xmin, ymin, xmax, ymax)")
        bbox = list(sides)
    return ReadArguments(
        index="",
        bands=None if bands is None else [checked_unicode("bands", str(band)) for band in bands],
        geometry=None if geometry is None else parse_geometry(geometry, crs).wkb_hex,
        bbox=bbox,
        crs=crs,
        datetime=None if datetime is None else text_of("datetime", datetime, "a period such as '2024-01'"),
        level=None if level is None else int(level),
        resolution=None if resolution is None else float(resolution),
        gsd=None if gsd is None else float(gsd),
        scaling=scaling or GivenScaling(),
    )


@contextmanager
def planning_cursor(index: Any = None, *, with_macros: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a cursor of a connection of this process's own for planning.

    Args:
        index: what will be read, so that what its first fetch needs is imported while DuckDB prepares and plans.
        with_macros: whether the planner's SQL is there, which takes 0.2 seconds to make. Reads need the casts alone.
    """
    from rasteret_sql.sql import ctrlc
    from rasteret_sql.sql.connection import make_casts, make_planner
    from rasteret_sql.sql.workarounds import bare_cursor

    ctrlc.watch()
    with _lock:
        con = _connections[with_macros].get()
        _warm_up(con, index)
        if con not in _ready:
            make = make_planner if with_macros else make_casts
            make(con)
            _ready.add(con)
        cursor = bare_cursor(con)
    try:
        yield cursor
    finally:
        cursor.close()


def _warm_up(con: duckdb.DuckDBPyConnection, index: Any) -> None:
    """Start what the first fetch needs, by the address of the first row."""
    import duckdb

    from rasteret_sql.io.stores import warm_up
    from rasteret_sql.read.engine import DECODERS

    if isinstance(index, os.PathLike):
        index = os.fspath(index)
    if not isinstance(index, str) or index in _warmed.get() or is_query(index) or is_source_path(index):
        return
    _warmed.get().add(index)
    try:
        # The files of an index on a server are likely to be on one too; to look would cost it further requests.
        index = index_files(index)[0] if is_many(index) and "://" not in index else index
        addresses = (
            [(index,)]
            if "://" in index
            else con.execute("SELECT coalesce(mirror, href) FROM query_table($1) LIMIT 1", [index]).fetchall()
        )
        for (address,) in addresses:
            warm_up(address, *DECODERS)
    except (duckdb.Error, RasteretError, RuntimeError):
        # Whatever is wrong here is said by the plan or by the read, which know more. duckdb 1.5 raises a RuntimeError
        # for a text that is no Unicode.
        return
