"""Plans reads of whatever an index goes by: a table, a view, files, or the text of a query."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.database.folders import index_files, index_reader, is_many, is_odd_name, require_version
from rasteret_sql.database.hrefs import is_url
from rasteret_sql.database.schema import SCHEMA_VERSION, misfit
from rasteret_sql.database.select_text import message_of, require_select
from rasteret_sql.database.select_text import shortened as _shortened
from rasteret_sql.database.sqlfiles import quote_identifier
from rasteret_sql.errors import (
    AssetNotFoundError,
    EmptyReadError,
    InvalidArgumentError,
    InvalidIndexError,
    RasteretError,
)
from rasteret_sql.io import access
from rasteret_sql.plan.arguments import SQL, ReadArguments
from rasteret_sql.plan.tiles import Layouts, plan_windows
from rasteret_sql.sql.catalog import CATALOG, make_public
from rasteret_sql.sql.index_rows import IndexRows
from rasteret_sql.sql.origins import origins_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.plan.select import Selection
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.plan.tiles import WindowPlan, Windows
    from rasteret_sql.read.stream import OnError
    from rasteret_sql.sql.properties import AssetProperties

_QUERY = re.compile(
    r"(?:\s|--[^\n]*\n)*(?:(?:FROM|SELECT|WITH|VALUES|TABLE|PIVOT|UNPIVOT)[\s('\"]|\(\s*(?:FROM|SELECT|WITH)\s)",
    re.IGNORECASE,
)
_PATH = re.compile(r"\.(parquet|parq|geoparquet)\b|://|[/\\*?]", re.IGNORECASE)
_PASSED = (
    "($index, bands := $bands::VARCHAR[], geometry := $geometry::VARCHAR, bbox := $bbox::DOUBLE[], "
    "crs := $crs::VARCHAR, datetime := $datetime::VARCHAR, level := $level::BIGINT, resolution := $resolution::DOUBLE)"
)
#: What _rst_asset_plan reads of an index.
INDEX_COLUMNS = (
    "collection", "item_id", "asset", "datetime", "href", "mirror", "etag", "file_size", "cog_layout", "crs",
    "transform", "dtype", "bands", "formats", "levels", "reach",
)  # fmt: skip
#: Those that indexes of an older schema version lack.
_NEW_COLUMNS = frozenset({"formats", "reach"})


@dataclass(frozen=True, slots=True)
class PlannedTiles:
    """A plan, and what else was asked for.

    Attributes:
        plan: the tiles.
        properties: what the index says of each asset of the plan beside what a read needs; or None.
    """

    plan: TilePlan
    properties: AssetProperties | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SelectedFiles:
    """The files of a read, whose windows the caller chooses.

    Attributes:
        assets: the files.
    """

    assets: tuple[PlannedAsset, ...]
    _rows: IndexRows
    _selection: Selection

    def longitudes(self) -> npt.NDArray[np.float64]:
        """Give the longitude of the middle of each file's item in degrees, NaN where it is unknown.

        Plans have them where the properties of the items were asked for.
        """
        return self._rows.properties_of(self._selection).longitude

    def plan_windows(self, windows: Windows) -> WindowPlan:
        """Plan windows of the files. Offsets of tiles are fetched for the files of the windows only.

        Args:
            windows: their files are numbers in `assets`.

        Raises:
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        used, asset_no = np.unique(windows.asset_no, return_inverse=True)
        level_bytes = self._rows.level_bytes(self._selection.files[used], self._selection.levels[used])
        layouts = Layouts([self.assets[number] for number in used.tolist()], level_bytes, np.arange(len(used)))
        return plan_windows(layouts, replace(windows, asset_no=asset_no))


def plan_tiles(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> TilePlan:
    """Plan a read, which may give nothing.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what was asked.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
        EmptyReadError: the area touches none of the assets that the other arguments leave.
    """
    with index_rows(cursor, arguments) as rows:
        plan, _ = rows.plan(arguments)
    if not plan.assets and _is_outside(cursor, arguments):
        raise _outside(arguments)
    return plan


class IndexPlans:
    """Plans of one read, which may be planned several times: rows of its index are fetched once.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: the index, and the area and period whose rows are fetched.
        with_properties: whether the properties of the items are wanted.
    """

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, *, with_properties: bool = False
    ) -> None:
        self._cursor, self._arguments, self._with_properties = cursor, arguments, with_properties
        self._rows: IndexRows | None = None

    def files(self, arguments: ReadArguments) -> SelectedFiles:
        """Give the files of a read, without their tiles; at least one.

        Raises:
            InvalidArgumentError: an argument is wrong.
            InvalidIndexError: the index is not one.
            EmptyReadError: nothing is left to read.
        """
        arguments = self._of_index(arguments)
        with _explained(self._cursor, arguments.index) as name:
            rows = self._rows_for(arguments, name)
            selection = rows.select(arguments)
            found = rows.index.files.assets(selection.files, selection.levels, selection.bands, selection.windows)
        if not found:
            raise nothing_found(self._cursor, arguments)
        return SelectedFiles(found, rows, selection)

    def plan(self, arguments: ReadArguments) -> PlannedTiles:
        """Plan a read that must give something.

        Raises:
            InvalidArgumentError: an argument is wrong.
            InvalidIndexError: the index is not one.
            EmptyReadError: nothing is left to read.
        """
        arguments = self._of_index(arguments)
        with _explained(self._cursor, arguments.index) as name:
            plan, properties = self._rows_for(arguments, name).plan(arguments)
        if not plan.assets:
            raise nothing_found(self._cursor, arguments)
        if not len(plan):
            raise EmptyReadError(_why_empty(self._cursor, arguments))
        return PlannedTiles(plan, properties)

    def _of_index(self, arguments: ReadArguments) -> ReadArguments:
        return replace(arguments, index=self._arguments.index, is_ordered=self._arguments.is_ordered)

    def _rows_for(self, arguments: ReadArguments, name: str) -> IndexRows:
        """Give rows that hold all that an area takes: those that are there, or else those of the area."""
        if self._rows is None:
            self._rows = self._fetched(self._arguments, name)
        if not self._rows.hold(arguments):
            self._rows = self._fetched(arguments, name)
        return self._rows

    def _fetched(self, arguments: ReadArguments, name: str) -> IndexRows:
        return _rows(self._cursor, name, arguments, with_properties=self._with_properties)


@contextmanager
def index_rows(
    cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, *, with_properties: bool = False
) -> Iterator[IndexRows]:
    """Fetch the rows that area and period of a read leave; what DuckDB says of them while they are used is explained.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what was asked.
        with_properties: whether the properties of the items are wanted.

    Raises:
        InvalidArgumentError: the area cannot be read.
        InvalidIndexError: the index is not one.
    """
    with _explained(cursor, arguments.index) as name:
        yield _rows(cursor, name, arguments, with_properties=with_properties)


def _rows(
    cursor: duckdb.DuckDBPyConnection, name: str, arguments: ReadArguments, *, with_properties: bool
) -> IndexRows:
    index = arguments.index
    origins = origins_of(cursor, index, is_file=is_path(index) and not is_query(index))
    return IndexRows(cursor, name, arguments, base=base_of(index), with_properties=with_properties, origins=origins)


@contextmanager
def _explained(cursor: duckdb.DuckDBPyConnection, index: str) -> Iterator[str]:
    """Give a name for an index that `query_table` takes, and explain what DuckDB says of it.

    Raises:
        InvalidIndexError: the index is not one.
        InvalidArgumentError: DuckDB says something else.
    """
    import duckdb

    name = named_index(cursor, index)
    try:
        yield name
    except duckdb.Error as error:
        raise explained(cursor, index, name, error) from error


def explain_read(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> Any:
    """Give the rows of `explain_read` for the arguments as a `pyarrow.Table`.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
    """
    with _explained(cursor, arguments.index) as name:
        make_public(cursor, f"{CATALOG}.main.", "macros")
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE explained AS FROM {CATALOG}.main.explain_read{_PASSED}",
            _parameters(arguments, name),
        )
        return cursor.sql("FROM explained").to_arrow_table()


def is_query(text: str) -> bool:
    """Whether a text is a query rather than the name of a table or a path."""
    is_bare_path = text.lower().endswith((".parquet", ".parq")) and "'" not in text and '"' not in text
    return not is_bare_path and _QUERY.match(text) is not None


def is_path(text: str) -> bool:
    """Whether a text that is no query looks like a path rather than like the name of a table."""
    return _PATH.search(text) is not None


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


def nothing_found(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> EmptyReadError:
    """Give the error of a read that takes nothing: it says which of the arguments left nothing."""
    if _is_outside(cursor, arguments):
        return _outside(arguments)
    return EmptyReadError(_why_empty(cursor, arguments))


def _is_outside(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> bool:
    """Whether it is the area that leaves nothing."""
    anywhere = replace(arguments, bbox=None, geometry=None, grid=None, resolution=None)
    return arguments.has_area and _finds_some(cursor, anywhere)


def _finds_some(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> bool:
    with index_rows(cursor, arguments) as rows:
        return len(rows.select(arguments)) > 0


def _outside(arguments: ReadArguments) -> EmptyReadError:
    area = "geometry" if arguments.bbox is None else f"bbox {list(arguments.bbox)}"
    if arguments.grid is not None:
        area = f"grid with bounds {list(arguments.grid.bounds)}"
    period = "" if arguments.datetime is None else f" within datetime {arguments.datetime!r}"
    return EmptyReadError(
        f"{area} ({arguments.crs}): touches none of the assets of index {_shortened(arguments.index)}{period}; "
        "expected an area inside their footprints. Check the order (xmin, ymin, xmax, ymax: longitude first) and crs"
    )


def _why_empty(cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments) -> str:
    """Say which filter left nothing; areas that touch no asset have been said before."""
    shown = _shortened(arguments.index)
    ((rows, first, last),) = cursor.execute(
        "SELECT count(*), make_timestamp(epoch_us(min(datetime))), make_timestamp(epoch_us(max(datetime))) "  # noqa: S608
        f"FROM query_table($1) WHERE {arguments.where or 'true'}",
        [named_index(cursor, arguments.index)],
    ).fetchall()
    if not rows:
        return f"index: {shown} gives no rows, expected those of an index; widen its conditions"
    if arguments.datetime is not None and _finds_some(cursor, replace(arguments, datetime=None)):
        return (
            f"datetime: {arguments.datetime!r} holds none of the assets of index {shown} that the other arguments "
            f"leave; its rows " + ("have none" if first is None else f"are of {first} to {last} UTC")
        )
    if arguments.geometry is not None:
        return f"geometry ({arguments.crs}): touches no tile of index {shown}; expected an area inside the files"
    return f"bands: {arguments.bands} are in none of the {rows} rows of index {shown} that the other arguments leave"


def named_index(cursor: duckdb.DuckDBPyConnection, index: str) -> str:
    """Give a name for an index that query_table takes: a query gets a temporary view, and so do many files."""
    if not is_query(index) and (is_many(index) or is_odd_name(index)) and not _is_table(cursor, index):
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
    if isinstance(error, duckdb.ConversionException):
        found = misfit(cursor, name, INDEX_COLUMNS, helpers=f"{CATALOG}.main.")
        if found is not None:
            return found
    return InvalidArgumentError(message_of(error))


def base_of(index: str) -> str | None:
    """The folder that relative hrefs of an index resolve against, where the index is a path or URL."""
    if is_query(index) or not _PATH.search(index):
        return None
    return os.path.dirname(index)  # noqa: PTH120 - URLs too


def parse_arguments(text: str) -> tuple[ReadArguments, dict[str, str | None], OnError, dict[str, str]]:
    """Read the arguments that a macro passes as JSON; also gives those of its own, `on_error` and the settings."""
    values = json.loads(text)
    settings, own = values.pop("settings"), values.pop("own", {})
    on_error = values.pop("on_error")
    if on_error not in {"raise", "null"}:
        raise InvalidArgumentError(f"on_error: got {on_error!r}, expected 'raise' or 'null'")
    if values["index"] is None:
        raise InvalidArgumentError(
            "index: got NULL, expected the name of a table or view, a Parquet path or the text of a query"
        )
    given = values.pop("given")
    for name in ("bands", "bbox"):
        if values[name] is None and given[name] is not None:
            raise _unfit(name, given[name])
    numbers = {name: _number_of(name, values.pop(name)) for name in ("level", "resolution")}
    level, bbox = numbers["level"], values.pop("bbox")
    if level is not None and not level.is_integer():
        raise _unfit("level", f"{level}")
    return (
        ReadArguments(
            **values,
            bbox=None if bbox is None else [_number(part) for part in bbox.strip("[]").split(",")],
            level=None if level is None else int(level),
            resolution=numbers["resolution"],
            door=SQL,
        ),
        own,
        on_error,
        settings,
    )


def parse_comparison(text: str) -> tuple[str, dict[str, str]] | None:
    """Read the index and the settings that `_rst_comparison` passes as JSON; None where a read passes its arguments."""
    values = json.loads(text)
    return (values["seen"], values["settings"]) if "seen" in values else None


def rows_seen(cursor: duckdb.DuckDBPyConnection, index: str) -> str | None:
    """Tell rows of an index apart, as `_rst_rows_seen` does in the session that asks.

    Raises:
        InvalidArgumentError: a view does not run on a cursor.
    """
    import duckdb

    try:
        asked = cursor.execute(f"SELECT {CATALOG}.main._rst_rows_seen($1)", [index]).fetchall()
        found = cursor.execute(asked[0][0]).fetchall() if asked[0][0] is not None else [(None,)]
    except duckdb.Error as error:
        raise InvalidArgumentError(message_of(error)) from error
    text: str | None = found[0][0]
    return text


#: What is expected of arguments that DuckDB could not cast; `_rst_asset_plan` says the same.
_EXPECTED: Final = {
    "bands": "a list of names: bands := ['{given}']",
    "bbox": "four finite numbers [xmin, ymin, xmax, ymax]",
    "level": "a whole number: 0 (full resolution) or more",
    "resolution": "a number",
}


def _unfit(name: str, given: str) -> InvalidArgumentError:
    shown = f"'{given}'" if name == "bands" else given
    return InvalidArgumentError(f"{name}: got {shown}, expected {_EXPECTED[name].format(given=given)}")


def _number_of(name: str, text: str | None) -> float | None:
    """Read a number that DuckDB wrote as text.

    Raises:
        InvalidArgumentError: it is none.
    """
    if text is None:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise _unfit(name, text) from error


def _number(text: str) -> float:
    return float("nan") if text.strip() == "NULL" else float(text)
