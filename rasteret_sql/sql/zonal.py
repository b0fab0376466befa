"""The rows of `zonal_stats`: planned on a cursor, and streamed as Arrow record batches, for SQL and for Python."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from rasteret_sql.checks import check_choice, shown
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.plan.days import DAY_US, solar_days, utc_days
from rasteret_sql.read.statistics import QUANTILES, STATISTICS, check_statistics
from rasteret_sql.read.zonal import SCALING_REMEDY, ZonalLayout, ZonalOptions
from rasteret_sql.sql.batches import schema_of
from rasteret_sql.sql.joined import errors_of, files_around, flag_of, formulas_of, kept_by, rebatched, required
from rasteret_sql.sql.named_index import named_table
from rasteret_sql.sql.statistics_file import kept_statistics
from rasteret_sql.sql.vectors import VectorColumns, zone_rows
from rasteret_sql.sql.virtual import CallSource, Stream, filtered, is_dry_run, noted, parse_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan
    from rasteret_sql.read.by_file import FileTiles
    from rasteret_sql.read.stream import OnError
    from rasteret_sql.read.zonal import ZonalGroup
    from rasteret_sql.sql.derived import DerivedFiles
    from rasteret_sql.sql.selected import SelectedFiles
    from rasteret_sql.sql.vectors import VectorRows
    from rasteret_sql.sql.workarounds import Call

GROUPINGS: Final = ("item", "day", "solar_day", "all")
#: Columns of a result before and after those of the statistics.
OUTPUT_COLUMNS: Final = (("item_id", "collection", "datetime", "band", "items"), ("scale", "offset", "error"))
#: All statistics that are columns.
_COLUMNS: Final = (*STATISTICS, *QUANTILES)
#: Columns that users see; those of the zones have none of these names.
ZONAL_COLUMNS: Final = (*OUTPUT_COLUMNS[0], *_COLUMNS, *OUTPUT_COLUMNS[1])


def zonal_schema(con: duckdb.DuckDBPyConnection) -> pa.Schema:
    """Give the columns of `sql/schema/zonal_stats.sql`, and those of quantiles behind `variety`."""
    schema = schema_of(con, "zonal_stats")
    place = schema.get_field_index("variety") + 1
    quantiles = [pa.field(name, pa.float64()) for name in QUANTILES]
    return pa.schema([*list(schema)[:place], *quantiles, *list(schema)[place:]])


@dataclass(frozen=True, slots=True)
class ZonalArguments:
    """The arguments of `zonal_stats` that are not those of every read.

    Attributes:
        columns: where the zones are.
        options: which pixels count, and what is computed.
        by: group of files for each statistic: per "item", UTC "day" or "solar_day", or "all".
        formulas: what is computed of the bands; None for nothing.
        statistics: where the statistics of tiles are, or None.

    Raises:
        InvalidArgumentError: one of them is wrong.
    """

    columns: VectorColumns
    options: ZonalOptions
    by: str = "item"
    formulas: PixelFormulas | None = None
    statistics: str | None = None

    def __post_init__(self) -> None:
        check_choice("by", self.by, GROUPINGS)

    @classmethod
    def of_call(
        cls, own: Mapping[str, str | None], columns: Sequence[str], bands: Sequence[str] | None
    ) -> ZonalArguments:
        """Make them of what the macro passes.

        Args:
            own: arguments as text.
            columns: names of the columns that a query looks at: only statistics among them are computed.
            bands: labels of the bands that are read.

        Raises:
            InvalidArgumentError: one of them is wrong.
        """
        stats = json.loads(own["stats"] or "null")
        if stats is not None and not isinstance(stats, list):
            raise InvalidArgumentError(f"stats: got {shown(stats)}, expected a list of names: stats := ['mean']")
        asked = check_statistics(stats)
        return cls(
            VectorColumns("zones", own["geometry"], crs=own["crs"], path=own["zones"]),
            ZonalOptions(
                tuple(name for name in asked if name in columns), str(own["weights"]),
                flag_of("all_touched", own["all_touched"]), flag_of("scale", own["scale"]),
            ),
            str(own["by"]),
            formulas_of(own, bands),
            own["statistics"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class PlannedZones:
    """Zones, the files that they touch, and the tiles that these take.

    Attributes:
        layout: the zones in files; None where no row has a geometry.
        tiles: the tiles; None with the layout.
        keys: of the rows of the zones.
        days: the day of each file of the layout, or None.
    """

    layout: ZonalLayout | None
    tiles: FileTiles | None
    keys: npt.NDArray[np.uint64]
    days: npt.NDArray[np.int64] | None = None

    @property
    def fetched(self) -> TilePlan | None:
        """The tiles that are fetched; None with the layout."""
        return None if self.tiles is None else self.tiles.fetched


class ZonalSource(CallSource):
    """The table of all statistics of all calls of `zonal_stats`."""

    function = "zonal_stats"
    read_columns = (*_COLUMNS, "error")

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        arguments, own, on_error, settings = parse_arguments(call.arguments)
        needed = self._needed(schema, condition)
        asked = ZonalArguments.of_call(own, needed.names, arguments.bands)
        name = required("zones", own["zones"])
        kept = kept_by(condition, call, ("rst_row", "rst_key", "items", *self.read_columns))
        with self._connections.planning_as(settings) as cursor:
            zones = zone_rows(cursor, named_table(cursor, name), asked.columns, ZONAL_COLUMNS)
            planned = plan_zones(cursor, arguments, zones, asked, kept)
            reads = not set(self.read_columns).isdisjoint(needed.names)
            if is_dry_run() and planned.tiles is not None:
                unaided = None
                if asked.statistics is not None:
                    unaided = plan_zones(cursor, arguments, zones, replace(asked, statistics=None), kept).fetched
                return noted(planned.tiles.fetched, schema, pixels=reads, mask=reads, unaided=unaided)
        batches = zonal_batches(planned, needed, asked, on_error=on_error, reads=reads)
        return Stream(schema, filtered(batches, condition, schema, call.token))


def plan_zones(
    cursor: duckdb.DuckDBPyConnection,
    arguments: ReadArguments,
    zones: VectorRows,
    asked: ZonalArguments,
    kept: Callable[[pa.Table], Any] | None = None,
) -> PlannedZones:
    """Plan statistics of an index that a cursor sees.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what is read, without an area.
        zones: the zones.
        asked: what is computed.
        kept: gives the numbers of the rows, of one per file and band, that are wanted; or None for all.

    Raises:
        AssetChangedError: statistics of tiles are of another version of a file.
        InvalidArgumentError: an argument is wrong, or stored values of different scales would be computed together.
        InvalidIndexError: the index is not one.
        EmptyReadError: no zone touches a file that the other arguments leave.
    """
    import shapely

    assert zones.geometries is not None
    bounds = shapely.bounds(zones.geometries)
    is_solar = asked.by == "solar_day"
    files = files_around(
        cursor, arguments, bounds, zones.crs, "zones",
        formulas=asked.formulas, scale=asked.options.scale, with_properties=is_solar,
    )  # fmt: skip
    if files is None:
        return PlannedZones(None, None, zones.keys)
    days = _days(files, asked.by)
    groups = np.arange(len(files.assets)) if asked.by == "item" else np.zeros(len(files.assets), np.int64)
    group_of = (groups if days is None else days).tolist()
    layout = ZonalLayout(files.assets, zones.geometries, zones.crs, asked.options, group_of)
    if not len(layout.windows.bands):
        raise EmptyReadError(
            f"zones: none of {len(zones.geometries)} touches a file that the index, bands and datetime leave; expected "
            "one or more. Check geometry_crs and the order: x is longitude"
        )
    if kept is not None:
        layout.keep(kept(_output_rows(layout, asked.by, days)))
    if not len(layout.windows.bands):
        return PlannedZones(None, None, zones.keys)
    layout.check_scaling()
    files.check_scaling(group_of, SCALING_REMEDY)
    if asked.statistics is not None:
        statistics = kept_statistics(cursor, asked.statistics, files.sources)
        files = files.judged(layout.windows, statistics)
        layout.windows = files.possible(layout.windows)
        layout.take_known(files.known(statistics))
    return PlannedZones(layout, files.tiles(layout.windows), zones.keys, days)


def zonal_batches(
    planned: PlannedZones,
    schema: pa.Schema,
    asked: ZonalArguments,
    *,
    on_error: OnError,
    reads: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Read zones, and give their statistics as record batches.

    Args:
        planned: what is read.
        schema: the columns of `zonal_schema` that are wanted.
        asked: what is asked.
        on_error: "raise", or "null" for rows without statistics whose `error` says why.
        reads: whether statistics are wanted; nothing is fetched otherwise.
    """
    layout, days = planned.layout, planned.days
    if layout is None or planned.tiles is None:
        return
    found = layout.read(planned.tiles, on_error=on_error) if reads else layout.unread()
    first_day = {} if days is None else {id(asset): day for asset, day in zip(layout.assets, days, strict=True)}

    def batches() -> Iterator[pa.RecordBatch]:
        for group in found:
            day = first_day.get(id(group.assets[0]))
            row = _output_row(group.assets[0], group.band, asked.by, day)
            yield _record_batch(group, row, planned.keys, schema)

    yield from rebatched(batches())


def _days(files: SelectedFiles | DerivedFiles, by: str) -> npt.NDArray[np.int64] | None:
    if by not in {"day", "solar_day"}:
        return None
    for asset in files.assets:
        if asset.datetime_us is None:
            raise InvalidArgumentError(
                f"by: item {asset.item_id} has no datetime, expected one for {by!r}; leave the item out, or take by "
                "'item' or 'all'"
            )
    times = np.array([asset.datetime_us for asset in files.assets], np.int64)
    if by == "day":
        return utc_days(times)
    longitudes = files.longitudes()
    unknown = np.flatnonzero(np.isnan(longitudes))
    if len(unknown):
        raise InvalidArgumentError(
            f"by: item {files.assets[int(unknown[0])].item_id} has no bbox in the index, expected one for "
            "'solar_day'; take by 'day'"
        )
    return solar_days(times, longitudes)


def _output_row(asset: PlannedAsset, band: PlannedBand, by: str, day: int | None) -> dict[str, Any]:
    """Give the columns of a row that follow from a file, a band and the day of the file."""
    is_item = by == "item"
    return {
        "item_id": asset.item_id if is_item else None,
        "collection": asset.collection if is_item else None,
        "datetime": asset.datetime_us if is_item else None if day is None else int(day) * DAY_US,
        "band": band.name,
    }


def _output_rows(layout: ZonalLayout, by: str, days: npt.NDArray[np.int64] | None) -> pa.Table:
    """Give one row per file and band, with the columns that follow from them; scales are those of the band."""
    numbers = layout.windows.asset_no.tolist()
    parts = layout.parts()
    rows = [
        _output_row(asset, band, by, None if days is None else int(days[number]))
        for number, (asset, band) in zip(numbers, parts, strict=True)
    ]
    kinds = {"datetime": pa.timestamp("us", "UTC")}
    columns = {
        name: pa.array([row[name] for row in rows], kinds.get(name, pa.string()))
        for name in ("item_id", "collection", "datetime", "band")
    }
    columns |= {
        name: pa.array([getattr(band, name) for _, band in parts], pa.float64()) for name in ("scale", "offset")
    }
    return pa.table(columns)


def _record_batch(
    group: ZonalGroup, row: dict[str, Any], keys: npt.NDArray[np.uint64], schema: pa.Schema
) -> pa.RecordBatch:
    count = len(group.zones)
    failed = np.zeros(count, bool)
    failed[list(group.errors)] = True
    columns: dict[str, Any] = {
        "rst_row": pa.array(group.zones),
        "rst_key": pa.array(keys[group.zones]),
        "items": pa.array(group.items),
        "scale": pa.repeat(pa.scalar(group.scale, pa.float64()), count),
        "offset": pa.repeat(pa.scalar(group.offset, pa.float64()), count),
        "error": errors_of(group.errors, count),
    }
    for name, values in group.statistics.items():
        columns[name] = pa.array(values, mask=failed | np.isnan(values))
    for field in schema:
        if field.name in row:
            columns[field.name] = pa.repeat(pa.scalar(row[field.name], field.type), count)
        elif field.name not in columns:
            columns[field.name] = pa.nulls(count, field.type)
    return pa.record_batch([columns[field.name].cast(field.type) for field in schema], schema=schema)
