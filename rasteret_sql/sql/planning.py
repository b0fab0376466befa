"""Runs the planner's SQL on a connection and gives its result as plain values."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import (
    AssetNotFoundError,
    EmptyReadError,
    InvalidArgumentError,
    InvalidIndexError,
    RasteretError,
)
from rasteret_sql.index.folders import index_files, index_reader, is_many, require_version
from rasteret_sql.index.hrefs import is_url
from rasteret_sql.index.schema import SCHEMA_VERSION
from rasteret_sql.index.select_text import message_of, require_select
from rasteret_sql.index.select_text import shortened as _shortened
from rasteret_sql.index.sqlfiles import quote_identifier
from rasteret_sql.io import access
from rasteret_sql.plan.tile_plan import MaskTile, PlannedAsset, PlannedBand, TilePlan, tile_format
from rasteret_sql.sql.catalog import CATALOG, make_public
from rasteret_sql.sql.properties import read_properties
from rasteret_sql.tiff.ghost import frames_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from rasteret_sql.read.stream import OnError
    from rasteret_sql.sql.properties import AssetProperties
    from rasteret_sql.tiff.ghost import Frames

_QUERY = re.compile(
    r"(?:\s|--[^\n]*\n)*(?:(?:FROM|SELECT|WITH|VALUES|TABLE|PIVOT|UNPIVOT)[\s('\"]|\(\s*(?:FROM|SELECT|WITH)\s)",
    re.IGNORECASE,
)
_PATH = re.compile(r"\.(parquet|parq|geoparquet)\b|://|[/\\*?]", re.IGNORECASE)
_PASSED = (
    "($index, bands := $bands::VARCHAR[], geometry := $geometry::VARCHAR, bbox := $bbox::DOUBLE[], "
    "crs := $crs::VARCHAR, datetime := $datetime::VARCHAR, level := $level::BIGINT, resolution := $resolution::DOUBLE)"
)
_PLANNED = f"{_PASSED[:-1]}, resolution_crs := $resolution_crs::VARCHAR, margin := $margin::DOUBLE)"
#: Makes the table of files that arguments leave, with all of their levels.
PLAN_ASSETS = f"CREATE OR REPLACE TEMP TABLE planned_assets AS FROM {CATALOG}.main._rst_asset_plan{_PLANNED}"
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://|/|[A-Za-z]:[\\/]|~")
#: What _rst_asset_plan reads of an index.
INDEX_COLUMNS = (
    "collection", "item_id", "asset", "datetime", "href", "mirror", "etag", "file_size", "cog_layout", "crs",
    "transform", "dtype", "bands", "formats", "levels", "reach",
)  # fmt: skip
#: Those that indexes of an older schema version lack.
_NEW_COLUMNS = frozenset({"formats", "reach"})


@dataclass(frozen=True, slots=True)
class ReadArguments:
    """What was asked of a read; each field is the argument of `read_tiles` of that name.

    Attributes:
        index: name of a table or view, Parquet path, glob or URL, or the text of a query.
        bands: assets, or bands inside them ("visual:red"); None for all.
        geometry: GeoJSON, WKT or WKB in `crs`, or None.
        bbox: (xmin, ymin, xmax, ymax) in `crs`, or None.
        crs: CRS of `geometry` and `bbox`.
        datetime: STAC's forms, or None.
        level: 0 is full resolution; None leaves it to `resolution`.
        resolution: largest pixel size, in units of the raster's CRS, or None.
        resolution_crs: whose units `resolution` has instead, or None.
        margin: so many pixels beside the area are read too: pixels of the level, or of `resolution` where those are
            larger.
        is_ordered: whether the order of the index's rows means something, as in the result of a query.
    """

    index: str
    bands: Sequence[str] | None = None
    geometry: str | None = None
    bbox: Sequence[float] | None = None
    crs: str = "OGC:CRS84"
    datetime: str | None = None
    level: int | None = None
    resolution: float | None = None
    resolution_crs: str | None = None
    margin: float | None = None
    is_ordered: bool = False


@dataclass(frozen=True, slots=True)
class PlannedTiles:
    """A plan, and what else was asked for.

    Attributes:
        plan: the tiles.
        rows: the rows of `read_tiles` without their pixels, a `pyarrow.Table` with as many rows; or None.
        properties: what the index says of each asset of the plan beside what a read needs; or None.
    """

    plan: TilePlan
    rows: Any = None
    properties: AssetProperties | None = None


def plan_tiles(
    cursor: duckdb.DuckDBPyConnection,
    arguments: ReadArguments,
    *,
    with_rows: bool = False,
    with_properties: bool = False,
    must_find: bool = False,
) -> PlannedTiles:
    """Plan a read with the SQL of `sql/macros`.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what was asked.
        with_rows: whether the rows of `read_tiles` are wanted too.
        with_properties: whether the properties of the items are.
        must_find: whether a plan without tiles is an error, whatever made it so.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
        EmptyReadError: the area touches none of the assets that the other arguments leave, or nothing is left at all
            and `must_find` is given.
    """
    import duckdb

    name = named_index(cursor, arguments.index)
    try:
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE planned_assets AS "  # noqa: S608 - constants
            f"SELECT * EXCLUDE (formats, levels, reach) FROM {CATALOG}.main._rst_asset_plan{_PLANNED}",
            plan_parameters(arguments, name),
        )
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE planned_tiles AS "
            f"FROM {CATALOG}.main._rst_asset_tiles('planned_assets', geometry := $geometry::VARCHAR, "
            "crs := $crs::VARCHAR)",
            {"geometry": arguments.geometry, "crs": arguments.crs},
        )
        assets = _assets(cursor, base_of(arguments.index))
        plan = _tile_plan(cursor, assets)
        rows = None
        if with_rows:
            rows = cursor.sql(f"FROM {CATALOG}.main._rst_tile_rows('planned_assets', 'planned_tiles')").to_arrow_table()
        properties = read_properties(cursor, name, is_ordered=arguments.is_ordered) if with_properties else None
        if not assets and _is_outside(cursor, arguments, name):
            raise _outside(arguments)
        if must_find and not len(plan):
            raise EmptyReadError(_why_empty(cursor, arguments, name))
    except duckdb.Error as error:
        raise explained(cursor, arguments.index, name, error) from error
    return PlannedTiles(plan, rows, properties)


def explain_read(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> Any:
    """Give the rows of `explain_read` for the arguments as a `pyarrow.Table`.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
    """
    import duckdb

    name = named_index(cursor, arguments.index)
    make_public(cursor, f"{CATALOG}.main.", "macros")
    try:
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE explained AS FROM {CATALOG}.main.explain_read{_PASSED}",
            _parameters(arguments, name),
        )
        return cursor.sql("FROM explained").to_arrow_table()
    except duckdb.Error as error:
        raise explained(cursor, arguments.index, name, error) from error


def is_query(text: str) -> bool:
    """Whether a text is a query rather than the name of a table or a path."""
    is_bare_path = text.lower().endswith((".parquet", ".parq")) and "'" not in text and '"' not in text
    return not is_bare_path and _QUERY.match(text) is not None


def _parameters(arguments: ReadArguments, name: str) -> dict[str, Any]:
    return {
        "index": name,
        "bands": None if arguments.bands is None else list(arguments.bands),
        "geometry": arguments.geometry,
        "bbox": None if arguments.bbox is None else list(arguments.bbox),
        "crs": arguments.crs,
        "datetime": arguments.datetime,
        "level": arguments.level,
        "resolution": arguments.resolution,
    }


def plan_parameters(arguments: ReadArguments, name: str) -> dict[str, Any]:
    """Give the parameters of `PLAN_ASSETS` for an index that goes by a name."""
    return _parameters(arguments, name) | {"resolution_crs": arguments.resolution_crs, "margin": arguments.margin}


def require_found(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, name: str) -> None:
    """Make sure that `planned_assets` has a row.

    Raises:
        EmptyReadError: it has none; says which of the arguments left nothing.
    """
    ((is_any,),) = cursor.execute("SELECT count(*) > 0 FROM planned_assets").fetchall()
    if not is_any:
        raise (
            _outside(arguments)
            if _is_outside(cursor, arguments, name)
            else EmptyReadError(_why_empty(cursor, arguments, name))
        )


def _is_outside(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, name: str) -> bool:
    """Whether it is the area that leaves nothing."""
    if arguments.bbox is None and arguments.geometry is None:
        return False
    anywhere = replace(arguments, bbox=None, geometry=None)
    ((is_any,),) = cursor.execute(
        f"SELECT count(*) > 0 FROM {CATALOG}.main._rst_asset_plan{_PASSED}",  # noqa: S608 - constants
        _parameters(anywhere, name),
    ).fetchall()
    return bool(is_any)


def _outside(arguments: ReadArguments) -> EmptyReadError:
    area = f"bbox {list(arguments.bbox)}" if arguments.bbox is not None else "geometry"
    period = "" if arguments.datetime is None else f" within datetime {arguments.datetime!r}"
    return EmptyReadError(
        f"{area} ({arguments.crs}): touches none of the assets of index {_shortened(arguments.index)}{period}; "
        "expected an area inside their footprints. Check the order (xmin, ymin, xmax, ymax: longitude first) and crs"
    )


def _why_empty(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, name: str) -> str:
    """Say which filter left nothing; areas that touch no asset have been said before."""
    shown = _shortened(arguments.index)
    ((rows, first, last),) = cursor.execute(
        "SELECT count(*), make_timestamp(epoch_us(min(datetime))), make_timestamp(epoch_us(max(datetime))) "
        "FROM query_table($1)",
        [name],
    ).fetchall()
    if not rows:
        return f"index: {shown} gives no rows, expected those of an index; widen its conditions"
    anytime = replace(arguments, datetime=None)
    ((is_any,),) = cursor.execute(
        f"SELECT count(*) > 0 FROM {CATALOG}.main._rst_asset_plan{_PASSED}",  # noqa: S608 - constants
        _parameters(anytime, name),
    ).fetchall()
    if arguments.datetime is not None and is_any:
        return (
            f"datetime: {arguments.datetime!r} holds none of the assets of index {shown} that the other arguments "
            f"leave; its rows " + ("have none" if first is None else f"are of {first} to {last} UTC")
        )
    if arguments.geometry is not None:
        return f"geometry ({arguments.crs}): touches no tile of index {shown}; expected an area inside the files"
    return f"bands: {arguments.bands} are in none of the {rows} rows of index {shown} that the other arguments leave"


def named_index(cursor: duckdb.DuckDBPyConnection, index: str) -> str:
    """Give a name for an index that query_table takes: a query gets a temporary view, and so do many files."""
    if not is_query(index) and is_many(index) and not _is_table(cursor, index):
        return _view_of_files(cursor, index)
    if not is_query(index):
        # duckdb 1.5 takes dots in a path for those between catalog, schema and table where it is not quoted.
        return quote_identifier(index) if _PATH.search(index) and '"' not in index else index
    import duckdb

    query = require_select(cursor, index, "index")
    try:
        _require_admitted(cursor, index)
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW planned_index AS {query}")
    except duckdb.Error as error:
        raise InvalidIndexError(f"index: the query {_shortened(index)} does not run: {message_of(error)}") from error
    return "planned_index"


def _require_admitted(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse the text of a query that a policy for this process does not let run."""
    policy = access.policy()
    if policy is None or policy.query_check is None:
        return
    ((is_admitted,),) = cursor.execute(f"SELECT {policy.query_check}('', $1::VARCHAR)", [query]).fetchall()
    if not is_admitted:
        raise InvalidIndexError(
            f"index: got {_shortened(query)}, expected a SELECT that calls only functions which read. {policy.remedy}"
        )


def _is_table(cursor: duckdb.DuckDBPyConnection, index: str) -> bool:
    """Whether there is a table or view of the name that a folder has too."""
    import duckdb

    if _PATH.search(index):
        return False
    try:
        cursor.execute("SELECT 1 FROM (DESCRIBE FROM query_table($1))", [index])
    except duckdb.Error:
        return False
    return True


def _view_of_files(cursor: duckdb.DuckDBPyConnection, index: str) -> str:
    """Make a view of a folder or a glob; hrefs that are relative are led by the folder of their file."""
    import duckdb

    try:
        files = [index] if is_url(index) else index_files(index)
        if not is_url(index):
            require_version(cursor, files)
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW planned_index AS FROM {index_reader(files)}")
    except AssetNotFoundError as error:
        raise InvalidIndexError(f"index: {error}") from error
    except duckdb.Error as error:
        raise InvalidIndexError(
            f"index: {_shortened(index)} cannot be read as one index: {message_of(error)}; expected files made by "
            "rasteret_sql.build_index or `rasteret-sql build`"
        ) from error
    return "planned_index"


def explained(cursor: duckdb.DuckDBPyConnection, index: str, name: str, error: duckdb.Error) -> RasteretError:
    """Say what is wrong with an index, or else what the planner says."""
    import duckdb

    shown = _shortened(index)
    try:
        columns = {
            row[0]
            for row in cursor.execute("SELECT column_name FROM (DESCRIBE FROM query_table($1))", [name]).fetchall()
        }
    except duckdb.Error as reason:
        if _PATH.search(index):
            return InvalidIndexError(
                f"index: {shown} cannot be read as Parquet: {message_of(reason)}; expected an index made by "
                "rasteret_sql.build_index or `rasteret-sql build`"
            )
        return InvalidIndexError(
            f"index: got {shown}, which is no table or view that a read can see ({message_of(reason)}). A read runs "
            "beside the query that it is part of, so it sees no CTE, temporary table or uncommitted row; give a table, "
            "a view, a Parquet path or the text of a query, or pass the rows from Python: read_tiles(con.sql(...))"
        )
    missing = [column for column in INDEX_COLUMNS if column not in columns]
    if missing and set(missing) <= _NEW_COLUMNS:
        return InvalidIndexError(
            f"index: {shown} has another schema version than {SCHEMA_VERSION}: it has no column {', '.join(missing)}; "
            "build it again with rasteret_sql.build_index or `rasteret-sql build`"
        )
    if missing:
        return InvalidIndexError(
            f"index: {shown} is not an index: it has no column {', '.join(missing)}; expected one made by "
            "rasteret_sql.build_index or `rasteret-sql build`"
        )
    return InvalidArgumentError(message_of(error))


@dataclass(frozen=True, slots=True)
class _Kind:
    """What many files of a collection have the same of."""

    frames: Frames
    format: Any
    mask_format: Any
    bands: tuple[PlannedBand, ...]


def _assets(cursor: duckdb.DuckDBPyConnection, base: str | None) -> tuple[PlannedAsset, ...]:
    # Nested values take most of the time that rows do, so those that are the same are fetched once.
    kinds: dict[int, _Kind] = {}
    for cog_layout, form, mask_form, bands, numbers in cursor.execute(
        "SELECT cog_layout, image.format, image.mask.format, bands, list(asset_no) FROM planned_assets "
        "GROUP BY cog_layout, image.format, image.mask.format, bands"
    ).fetchall():
        planned = tuple(PlannedBand(**band) for band in bands)
        kinds |= dict.fromkeys(numbers, _Kind(frames_of(cog_layout), _format(form), _format(mask_form), planned))
    rows = cursor.execute(
        "SELECT asset_no, crs, transform[1], transform[2], transform[3], transform[4], transform[5], transform[6], "
        "collection, item_id, asset, epoch_us(datetime), href, coalesce(mirror, href), etag, level, image.width, "
        "image.height, alpha_band, row_off, col_off, row_end, col_end FROM planned_assets ORDER BY asset_no"
    ).fetchall()
    grids: dict[Any, Any] = {}
    return tuple(_asset(row, kinds[row[0]], base, grids) for row in rows)


def _asset(row: Sequence[Any], kind: _Kind, base: str | None, grids: dict[Any, Any]) -> PlannedAsset:
    (
        collection, item_id, asset, datetime_us, href, address, etag, level, width, height, alpha_band,
        row_off, col_off, row_end, col_end,
    ) = row[8:]  # fmt: skip
    # One object for all files on a grid: they are compared, and sent to other processes together.
    crs, transform = grids.setdefault(row[1:8], (row[1], None if row[2] is None else row[2:8]))
    # By position, in half the time: there may be a hundred thousand.
    return PlannedAsset(
        collection, item_id, asset, datetime_us, href, resolved(address, base, item_id, asset), etag, kind.frames,
        level, width, height, crs, transform, kind.format, kind.mask_format, alpha_band, kind.bands, row_off, col_off,
        row_end, col_end,
    )  # fmt: skip


def _format(struct: dict[str, Any] | None) -> Any:
    return None if struct is None or struct["dtype"] is None else tile_format(struct)


def _tile_plan(cursor: duckdb.DuckDBPyConnection, assets: tuple[PlannedAsset, ...]) -> TilePlan:
    columns = cursor.execute(
        "SELECT asset_no, band, tile_row, tile_col, width, height, tile_offset, tile_byte_count, nodata, mask_kind, "
        "mask_tiles FROM planned_tiles ORDER BY asset_no, tile_offset, tile_row, tile_col, band_position, band"
    ).fetchnumpy()
    nodata = np.ma.masked_array(columns["nodata"])
    return TilePlan(
        assets=assets,
        asset_no=_plain(columns["asset_no"], np.int64),
        band=_plain(columns["band"], np.int32),
        tile_row=_plain(columns["tile_row"], np.int32),
        tile_col=_plain(columns["tile_col"], np.int32),
        width=_plain(columns["width"], np.int32),
        height=_plain(columns["height"], np.int32),
        tile_offset=_plain(columns["tile_offset"], np.int64),
        tile_byte_count=_plain(columns["tile_byte_count"], np.int64),
        nodata=nodata.filled(np.nan).astype(np.float64),
        has_nodata=~np.ma.getmaskarray(nodata),
        mask_kind=_objects(columns["mask_kind"]),
        mask_tiles=[
            None if tiles is None
            else tuple(
                MaskTile(tile["tile_row"], tile["tile_col"], tile["tile_offset"], tile["tile_byte_count"])
                for tile in tiles
            )
            for tiles in _objects(columns["mask_tiles"])
        ],
    )  # fmt: skip


def _plain(column: Any, dtype: Any) -> Any:
    return np.ma.getdata(column).astype(dtype, copy=False)


def _objects(column: Any) -> list[Any]:
    missing = np.ma.getmaskarray(column).tolist()
    return [None if absent else value for absent, value in zip(missing, np.ma.getdata(column), strict=True)]


def base_of(index: str) -> str | None:
    """The folder that relative hrefs of an index resolve against, where the index is a path or URL."""
    if is_query(index) or not _PATH.search(index):
        return None
    return os.path.dirname(index)  # noqa: PTH120 - URLs too


def resolved(address: str | None, base: str | None, item_id: str, asset: str) -> str:
    """Lead an address that is relative by the folder of its index.

    Raises:
        InvalidIndexError: there is no address, or no folder.
    """
    if address is None:
        raise InvalidIndexError(f'asset "{asset}" of item {item_id}: its href is NULL, expected a path or URL')
    if _ABSOLUTE.match(address):
        return address
    if base is None:
        raise InvalidIndexError(
            f'asset "{asset}" of item {item_id}: its href {_shortened(address)} is relative to the index file, which '
            "this query does not show; pass the path of the index, or make hrefs absolute in the query"
        )
    return f"{base}/{address}" if base else address


def parse_arguments(text: str) -> tuple[ReadArguments, OnError, dict[str, str]]:
    """Read the arguments that the macro `read_tiles` passes as JSON; also gives `on_error` and the settings."""
    values = json.loads(text)
    settings = {"search_path": values.pop("search_path"), "TimeZone": values.pop("time_zone")}
    on_error = values.pop("on_error")
    if on_error not in {"raise", "null"}:
        raise InvalidArgumentError(f"on_error: got {on_error!r}, expected 'raise' or 'null'")
    if values["index"] is None:
        raise InvalidArgumentError(
            "index: got NULL, expected the name of a table or view, a Parquet path or the text of a query"
        )
    bbox, resolution = values.pop("bbox"), values.pop("resolution")
    return (
        ReadArguments(
            **values,
            bbox=None if bbox is None else [_number(part) for part in bbox.strip("[]").split(",")],
            resolution=None if resolution is None else float(resolution),
        ),
        on_error,
        settings,
    )


def _number(text: str) -> float:
    return float("nan") if text.strip() == "NULL" else float(text)
