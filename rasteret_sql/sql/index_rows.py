"""The rows of an index that a read may need, fetched once, and planned as often as it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.database.part_bounds import Reach
from rasteret_sql.database.schema import cast_columns
from rasteret_sql.errors import AccessDeniedError, InvalidIndexError
from rasteret_sql.geo.antimeridian import middle_longitude
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.geo.utm import is_lonlat
from rasteret_sql.io import access
from rasteret_sql.io.options import get_options
from rasteret_sql.plan.area import Area
from rasteret_sql.plan.bands import IndexBand
from rasteret_sql.plan.files import LEVEL_NUMBERS, NO_TIME, TEXTS, Files, Kind
from rasteret_sql.plan.period import FIRST_US, LAST_US
from rasteret_sql.plan.ragged import Ragged, bounds_of
from rasteret_sql.plan.select import IndexFiles, plan_selection, select
from rasteret_sql.plan.tile_bytes import LevelBytes, TileBytes
from rasteret_sql.plan.tile_plan import tile_format
from rasteret_sql.sql.catalog import CATALOG
from rasteret_sql.sql.property_columns import OWN, property_columns
from rasteret_sql.sql.row_checks import (
    CHECKED_LEVELS,
    RowNames,
    check_bytes,
    check_kind,
    check_levels,
    check_transforms,
)
from rasteret_sql.tiff.ghost import frames_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.io.identity import IdentityRule
    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.select import Selection
    from rasteret_sql.plan.tile_plan import TilePlan

    Numbers = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://|/|[A-Za-z]:[\\/]|~")
#: Rows so far beside an area are fetched too: a grid over it may reach beyond it, and is planned with the same rows.
_BESIDE_DEGREES: Final = 0.1
_HALF_TURN: Final = 180.0
_BOUNDS: Final = ("xmin", "ymin", "xmax", "ymax")
_LISTS: Final = ("tile_byte_counts", "run_offsets", "tile_gaps")
#: The columns `LEVEL_NUMBERS`, of a struct of the column `levels`.
_LEVELS: Final = (
    ("level_width", "rst_level.width"),
    ("level_height", "rst_level.height"),
    ("level_format", "rst_level.format"),
    ("level_mask_format", "coalesce(rst_level.mask.format, 0)"),
)
_COLUMNS: Final = (
    "collection", "item_id", "asset", "datetime", "href", "mirror", "etag", "file_size", "cog_layout", "crs",
    "transform", "dtype", "bands", "formats", "levels", "reach", "last_modified",
)  # fmt: skip
_TIME_OF_CHANGE: Final = _COLUMNS[-1]
#: The rows of an index, cast and numbered. DuckDB names the table where it has no such column, as an index of another
#: schema version has not.
_FETCH: Final = """
CREATE OR REPLACE TEMP TABLE planned_rows AS
SELECT
{casts},
    row_number() OVER () AS rst_position
    {properties}
FROM query_table($1) AS index_of_schema_2
WHERE {condition}
"""
#: The order of plans. Rows are sorted without their levels, which are far wider than all else.
_ORDER: Final = (
    "ORDER BY collection ASC NULLS LAST, datetime ASC NULLS LAST, item_id ASC NULLS LAST, asset ASC NULLS LAST, "
    "href ASC NULLS LAST, rst_position ASC"
)


@dataclass(frozen=True, slots=True, eq=False)
class AssetProperties:
    """Columns of an index, one element per asset of a plan.

    Attributes:
        position: place of the asset's row in the query; all 0 for a table or a path, whose rows have no order.
        longitude: of the middle of its bbox in degrees, NaN where it is unknown.
        columns: the properties of its item by name; masked where they are NULL.
        own: the columns that every index has, likewise.
    """

    position: npt.NDArray[np.int64]
    longitude: npt.NDArray[np.float64]
    columns: dict[str, np.ma.MaskedArray[Any, Any]]
    own: dict[str, np.ma.MaskedArray[Any, Any]] = field(default_factory=dict)

    @classmethod
    def none(cls, count: int) -> AssetProperties:
        """Give those of assets of which nothing is known."""
        return cls(np.zeros(count, np.int64), np.full(count, np.nan), {})

    def take(self, numbers: npt.NDArray[np.int64]) -> AssetProperties:
        """Give those of some of the assets."""
        columns, own = ({name: column[numbers] for name, column in each.items()} for each in (self.columns, self.own))
        return AssetProperties(self.position[numbers], self.longitude[numbers], columns, own)


class IndexRows:
    """Rows of an index on a connection of their own.

    Args:
        cursor: gets a temporary table of the rows.
        name: under which `query_table` finds the index.
        arguments: area and period, by which row groups are left out; whether the order of rows means something.
        base: folder that relative hrefs resolve against, or None.
        with_properties: whether the properties of items are wanted.
        origins: URLs that the rows come from, by which it is checked what they name.
        labels: of bands, where the rows have no other files; None for rows with all files.

    Raises:
        InvalidArgumentError: the area cannot be read.
        AccessDeniedError: a row that is read names what an index from the network may not name.
        InvalidIndexError: a row has no address, or contradicts itself.
        duckdb.Error: the index is not one, or its query does not run.
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: str,
        arguments: ReadArguments,
        *,
        base: str | None,
        with_properties: bool = False,
        origins: Sequence[str] = (),
        labels: Sequence[str] | None = None,
    ) -> None:
        self._cursor, self._origins = cursor, tuple(origins)
        self._labels = None if labels is None else frozenset(labels)
        self._scope = _scope(arguments)
        columns = property_columns(cursor, name) if with_properties else {}
        properties = "".join(f",\n        {expression} AS {column}" for column, expression in columns.items())
        condition = _condition(self._scope, arguments)
        self._rule: IdentityRule = get_options().identity
        self._fetch(name, properties, condition)
        self._base = base
        self._is_resolved: set[int] = set()
        self.index = self._fetched()
        self._properties = self._fetched_properties(columns, is_ordered=arguments.is_ordered) if columns else None

    def hold(self, arguments: ReadArguments, labels: Sequence[str] | None) -> bool:
        """Whether all rows in an area are among these that have the bands of some labels; None for all bands.

        Raises:
            InvalidArgumentError: the area cannot be read.
        """
        if self._labels is not None and (labels is None or not self._labels.issuperset(labels)):
            return False
        if self._scope is None:
            return True
        area = Area.of(arguments)
        if area is None:
            return False
        parts = area.in_degrees()
        # Half of what was fetched beside the scope is left for what projected bounds may miss.
        low, high = self._scope[:2] - _BESIDE_DEGREES / 2, self._scope[2:] + _BESIDE_DEGREES / 2
        return bool((parts[:, :2] >= low).all() and (parts[:, 2:] <= high).all())

    def plan(self, arguments: ReadArguments) -> tuple[TilePlan, AssetProperties | None]:
        """Plan a read of rows that its area and period leave; gives the properties of its assets too.

        Raises:
            InvalidArgumentError: an argument is wrong.
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        selection = self.select(arguments)
        (plan,) = self.plan_selection(selection)
        return plan, None if self._properties is None else self.properties_of(selection)

    def plan_selection(self, selection: Selection, max_rows: int | None = None) -> Iterator[TilePlan]:
        """Plan the tiles of a selection of these rows, in parts that are planned when they are wanted.

        All that is fetched of the index is fetched at once: the parts need no connection.

        Args:
            selection: some of the rows.
            max_rows: how many rows a part has at most, unless one tile has more; None for one part.

        Raises:
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        level_bytes = self.level_bytes(selection.files, selection.levels)
        return plan_selection(self.index, selection, level_bytes, max_rows)

    def select(self, arguments: ReadArguments) -> Selection:
        """Choose files, bands, levels and windows, without planning their tiles.

        Raises:
            InvalidArgumentError: an argument is wrong.
        """
        selection = select(self.index, arguments, Area.of(arguments))
        self._resolve(selection.files)
        return selection

    def properties_of(self, selection: Selection) -> AssetProperties:
        """Give the properties of the files of a selection."""
        assert self._properties is not None
        return self._properties.take(selection.files)

    def largest_tile(self) -> int:
        """Give the bytes of the largest tile of any level; 0 without tiles."""
        ((largest,),) = self._cursor.execute(
            "SELECT max(list_max(list_transform(levels, lambda rst_level: list_max(rst_level.tile_byte_counts)))) "
            "FROM planned_rows"
        ).fetchall()
        return int(largest or 0)

    def _fetch(self, name: str, properties: str, condition: str) -> None:
        import duckdb

        try:
            self._cursor.execute(_FETCH.format(casts=_casts(), properties=properties, condition=condition), [name])
        except duckdb.BinderException as error:
            if _TIME_OF_CHANGE not in str(error):
                raise
            # Queries that list the columns of an index by name may leave it out.
            casts = _casts(_COLUMNS[:-1]) + f",\n        NULL::TIMESTAMPTZ AS {_TIME_OF_CHANGE}"
            self._cursor.execute(_FETCH.format(casts=casts, properties=properties, condition=condition), [name])

    def _resolve(self, numbers: Numbers) -> None:
        """Lead addresses of files that are relative by the folder of their index."""
        addresses, items, assets = (self.index.files.columns[name] for name in ("address", "item_id", "asset"))
        for number in numbers.tolist():
            if number not in self._is_resolved:
                address = resolved(addresses[number], self._base, items[number], assets[number])
                if self._origins:
                    self._check_named(address, items[number], assets[number])
                addresses[number] = address
                self._is_resolved.add(number)

    def _check_named(self, address: str, item_id: str, asset: str) -> None:
        try:
            access.check_named(address, self._origins, resolve=True)
        except AccessDeniedError as error:
            raise AccessDeniedError(f'asset "{asset}" of item {item_id}: {error}') from error

    def _fetched(self) -> IndexFiles:
        rows = self._numpy(
            "SELECT collection, item_id, asset, href, coalesce(mirror, href) AS address, etag, crs, "  # noqa: S608 - ours
            "file_size, epoch_us(last_modified) AS modified_us, epoch_us(datetime) AS datetime_us, "
            "transform[1] AS x_size, transform[2] AS x_skew, "
            "transform[3] AS x_off, transform[4] AS y_skew, transform[5] AS y_size, transform[6] AS y_off, "
            "len(transform) AS transform_length, reach.xmin AS xmin, reach.ymin AS ymin, "
            "reach.xmax AS xmax, reach.ymax AS ymax, reach.start_us AS start_us, reach.end_us AS end_us, "
            f"rst_position FROM planned_rows {_ORDER}"
        )
        self._position = np.ma.getdata(rows["rst_position"]).astype(np.int64)
        columns: dict[str, Any] = {name: _texts(rows[name]) for name in TEXTS}
        self._names = RowNames(columns["item_id"], columns["asset"])
        self._file_size = np.ma.filled(rows["file_size"].astype(np.int64), -1)
        columns |= self._compared(columns["etag"], np.ma.filled(rows["modified_us"].astype(np.int64), NO_TIME))
        check_transforms(self._names, rows)
        for name in ("x_size", "x_off", "y_size", "y_off"):
            columns[name] = np.ma.filled(rows[name].astype(np.float64), np.nan)
        for name, unknown in (("datetime_us", NO_TIME), ("start_us", FIRST_US), ("end_us", LAST_US)):
            columns[name] = np.ma.filled(rows[name].astype(np.int64), unknown)
        codes: dict[str | None, int] = {}
        columns["crs"] = np.array([codes.setdefault(code, len(codes)) for code in _texts(rows["crs"])], np.int64)
        levels = self._levels()
        columns |= {name: levels[name].values for name in LEVEL_NUMBERS}
        columns["level_count"] = levels["level_width"].lengths
        columns["first_level"] = levels["level_width"].bounds[:-1]
        kinds, bands, columns["kind"] = self._kinds(len(columns["level_count"]))
        check_levels(self._names, levels, columns["kind"], [kind.formats for kind in kinds], bands)
        bounds = np.stack([np.ma.filled(rows[name].astype(np.float64), np.nan) for name in _BOUNDS], axis=1)
        files = Files(columns, kinds, list(codes))
        return IndexFiles(files, bands, bounds)

    def _levels(self) -> dict[str, Ragged]:
        """Give the numbers of the levels of each row; -1 stands for NULL."""
        listed = ", ".join(f"{number} AS {name}" for name, number in (*_LEVELS, *CHECKED_LEVELS))
        rows = self._numpy(
            f"SELECT rst_position, {listed} FROM (SELECT rst_position, unnest(levels) AS rst_level, "  # noqa: S608 - ours
            "generate_subscripts(levels, 1) AS rst_number FROM planned_rows) "
            "ORDER BY rst_position ASC, rst_number ASC"
        )
        owner = np.ma.getdata(rows.pop("rst_position")).astype(np.int64) - 1
        bounds = bounds_of(np.bincount(owner, minlength=len(self._position)))
        levels = {name: Ragged(np.ma.filled(column.astype(np.int64), -1), bounds) for name, column in rows.items()}
        return {name: column.take(self._position - 1) for name, column in levels.items()}

    def _compared(self, etags: list[Any], modified_us: Numbers) -> dict[str, Any]:
        """Give the columns that tell versions of files apart, of which the rule of a read compares some."""
        everything, nothing = self._rule == "etag", self._rule == "none"
        return {
            "etag": etags if everything else [None] * len(etags),
            "file_size": np.full_like(self._file_size, -1) if nothing else self._file_size,
            "modified_us": modified_us if everything else np.full_like(modified_us, NO_TIME),
        }

    def _kinds(self, count: int) -> tuple[list[Kind], tuple[tuple[IndexBand, ...], ...], Numbers]:
        """Give what rows share. Nested values take most of the time that rows do, so each is fetched once."""
        kinds, all_bands, kind_of = [], [], np.zeros(count, np.int64)
        row_at = np.empty(count + 1, np.int64)
        row_at[self._position] = np.arange(count)
        for number, (cog_layout, dtype, formats, bands, positions) in enumerate(
            self._cursor.execute(
                "SELECT cog_layout, dtype, formats, bands, list(rst_position) FROM planned_rows "
                "GROUP BY cog_layout, dtype, formats, bands"
            ).fetchall()
        ):
            rows = row_at[positions]
            known = tuple(map(_index_band, bands or ()))
            check_kind(self._names, int(rows.min()), formats, known)
            kinds.append(
                Kind(frames_of(cog_layout), tuple(map(tile_format, formats or ())), (), _alpha_band(dtype, known))
            )
            all_bands.append(known)
            kind_of[rows] = number
        return kinds, tuple(all_bands), kind_of

    def level_bytes(self, numbers: Numbers, levels: Numbers) -> LevelBytes:
        """Fetch where the tiles of levels of files lie.

        Args:
            numbers: the files.
            levels: a level of each.

        Raises:
            InvalidIndexError: a tile lies outside of its file.
        """
        # One list of all levels for each column: a list for each level would be an object of Python each.
        listed = ", ".join(
            f"flatten(list(level.{part}{name} ORDER BY slot ASC)), "
            f"list(coalesce(len(level.{part}{name}), 0) ORDER BY slot ASC)"
            for part in ("", "mask.")
            for name in _LISTS
        )
        row = self._numpy(
            f"SELECT {listed} FROM (SELECT p.slot, r.levels[p.level] AS level FROM planned_rows AS r JOIN ("  # noqa: S608
            "SELECT unnest($positions::BIGINT[]) AS rst_position, unnest($levels::BIGINT[]) AS level, "
            "generate_subscripts($positions::BIGINT[], 1) AS slot) AS p USING (rst_position))",
            {"positions": self._position[numbers].tolist(), "levels": (levels + 1).tolist()},
        )
        columns = [_numbers(column.tolist()[0]) for column in row.values()]
        lists = [Ragged(each, bounds_of(lengths)) for each, lengths in zip(columns[::2], columns[1::2], strict=True)]
        image, mask = lists[: len(_LISTS)], lists[len(_LISTS) :]
        found = LevelBytes(TileBytes(*image), TileBytes(*mask))
        check_bytes(self._names, numbers, self._file_size, found)
        return found

    def _fetched_properties(self, columns: dict[str, str], *, is_ordered: bool) -> AssetProperties:
        listed = ", ".join(["rst_position", *columns])
        rows = self._numpy(f"SELECT {listed} FROM planned_rows {_ORDER}")  # noqa: S608 - quoted
        position = np.ma.getdata(rows.pop("rst_position")).astype(np.int64)
        longitude = np.ma.filled(rows.pop("rst_longitude").astype(np.float64), np.nan)
        for number, wkb in enumerate(rows.pop("rst_footprint").tolist()):
            if wkb is not None:
                longitude[number] = middle_longitude(parse_geometry(wkb))
        own = {name.removeprefix(OWN): rows.pop(name) for name in tuple(rows) if name.startswith(OWN)}
        return AssetProperties(position if is_ordered else np.zeros_like(position), longitude, rows, own)

    def _numpy(self, query: str, parameters: dict[str, Any] | None = None) -> dict[str, np.ma.MaskedArray[Any, Any]]:
        columns = self._cursor.execute(query, parameters or {}).fetchnumpy()
        return {name: np.ma.masked_array(column) for name, column in columns.items()}


def _casts(columns: Sequence[str] = _COLUMNS) -> str:
    return cast_columns(columns, "index_of_schema_2", helpers=f"{CATALOG}.main.")


def _scope(arguments: ReadArguments) -> Floats | None:
    """Give the bounds (xmin, ymin, xmax, ymax) in degrees of the area of a read; endless over the antimeridian.

    None where they are not known: an area in another CRS, or none.

    Raises:
        InvalidArgumentError: the area cannot be read.
    """
    area = Area.of(arguments)
    if area is None or not is_lonlat(area.crs):
        return None
    parts = area.in_degrees()
    low, high = parts[:, :2].min(axis=0), parts[:, 2:].max(axis=0)
    # Of an area at the antimeridian nothing is known of longitudes that are counted otherwise.
    if low[0] <= -_HALF_TURN or high[0] >= _HALF_TURN:
        low[0], high[0] = -np.inf, np.inf
    return np.concatenate([low, high])


def reach_of(arguments: ReadArguments) -> Reach:
    """Give the bounds outside of which no row is fetched for a read; endless where they are not known.

    Raises:
        InvalidArgumentError: the area cannot be read.
    """
    scope, period = _scope(arguments), arguments.period
    xmin, ymin, xmax, ymax = (-np.inf, -np.inf, np.inf, np.inf) if scope is None else _widened(scope)
    # The end of a period is exclusive, and that of a reach is not.
    start_us, end_us = (FIRST_US, LAST_US) if period is None else (period.start_us, period.end_us - 1)
    return Reach(xmin, ymin, xmax, ymax, start_us, end_us)


def _widened(scope: Floats) -> list[float]:
    widened: list[float] = (scope + np.array([-1, -1, 1, 1]) * _BESIDE_DEGREES).tolist()
    return widened


def _condition(scope: Floats | None, arguments: ReadArguments) -> str:
    """Give comparisons of columns that are never NULL with constants: by them row groups are left out."""
    conditions = ["true"]
    if scope is not None:
        xmin, ymin, xmax, ymax = _widened(scope)
        reach = "index_of_schema_2.reach"
        conditions += [f"{reach}.ymin <= {_literal(ymax)}", f"{reach}.ymax >= {_literal(ymin)}"]
        conditions += [f"{reach}.xmin <= {_literal(xmax)}", f"{reach}.xmax >= {_literal(xmin)}"]
    period = arguments.period
    if period is not None:
        conditions += [
            f"index_of_schema_2.reach.start_us < {period.end_us}",
            f"index_of_schema_2.reach.end_us >= {period.start_us}",
        ]
    if arguments.where is not None:
        conditions.append(arguments.where)
    return " AND ".join(conditions)


def _literal(number: float) -> str:
    return f"'{number!r}'::DOUBLE"


def _numbers(values: Any) -> Numbers:
    """Give a list of numbers, or None, as an array; -1 stands for NULL in it."""
    return np.empty(0, np.int64) if values is None else np.ma.filled(values, -1).astype(np.int64)


def _texts(column: np.ma.MaskedArray[Any, Any]) -> list[Any]:
    texts: list[Any] = column.tolist()
    return texts


def _index_band(band: Mapping[str, Any]) -> IndexBand:
    """Make a band of its struct in an index; one of an earlier version has no exact nodata."""
    exact = band.get("nodata_integer")
    known = IndexBand(*(band[name] for name in IndexBand.__match_args__))
    return known if exact is None else replace(known, nodata=int(exact))


def _alpha_band(dtype: str, bands: Sequence[IndexBand]) -> int | None:
    """As in GDAL: the last of two or four bands of unsigned 8 or 16 bits."""
    is_alpha = dtype in {"uint8", "uint16"} and len(bands) in {2, 4} and bands[-1].is_alpha
    return len(bands) if is_alpha else None


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
        shown = repr(address if len(address) <= 120 else f"{address[:117]}...")
        raise InvalidIndexError(
            f'asset "{asset}" of item {item_id}: its href {shown} is relative to the index file, which '
            "this query does not show; pass the path of the index, or make hrefs absolute in the query"
        )
    return f"{base}/{address}" if base else address
