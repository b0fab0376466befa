"""The rows of `sample_points`: planned on a cursor, and streamed as Arrow record batches, for SQL and for Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from rasteret_sql.checks import check_choice, check_flag, number_in_text, shown
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.geo.points import ProjectedPoints
from rasteret_sql.read.by_file import physical
from rasteret_sql.read.samples import SampleLayout, SampleOptions
from rasteret_sql.sql.joined import errors_of, files_around, flag_of, formulas_of, kept_by, rebatched, required
from rasteret_sql.sql.named_index import named_table
from rasteret_sql.sql.vectors import VectorColumns, point_rows
from rasteret_sql.sql.virtual import CallSource, Stream, filtered, is_dry_run, noted, parse_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand
    from rasteret_sql.read.by_file import FileTiles
    from rasteret_sql.read.samples import Samples
    from rasteret_sql.read.stream import OnError
    from rasteret_sql.sql.vectors import VectorRows
    from rasteret_sql.sql.workarounds import Call

#: Columns of a row that follow from the file and the band alone.
_FILE_COLUMNS: Final = ("item_id", "collection", "datetime", "band", "scale", "offset")
#: Columns that need bytes of a file.
VALUE_COLUMNS: Final = ("value", "window_values", "error")
#: Columns that users see; those of the points have none of these names.
SAMPLE_COLUMNS: Final = ("item_id", "collection", "datetime", "band", *VALUE_COLUMNS[:2], "scale", "offset", "error")


@dataclass(frozen=True, slots=True)
class SampleArguments:
    """The arguments of `sample_points` that are not those of every read.

    Attributes:
        columns: where the points are.
        options: how they are sampled.
        scale: whether values are physical ones.
        formulas: what is computed of the bands; None for nothing.

    Raises:
        InvalidArgumentError: one of them is wrong, or two contradict each other.
    """

    columns: VectorColumns
    options: SampleOptions
    scale: bool = False
    formulas: PixelFormulas | None = None

    def __post_init__(self) -> None:
        check_flag("scale", self.scale)
        needs_time, has_time = self.options.match == "nearest_time", self.columns.time is not None
        if needs_time != has_time:
            raise InvalidArgumentError(
                f"time_column: got {shown(self.columns.time)} and match {shown(self.options.match)}, expected a column "
                "of times for match 'nearest_time', and none for others"
            )

    @classmethod
    def of_call(cls, own: Mapping[str, str | None], bands: Sequence[str] | None) -> SampleArguments:
        """Make them of what the macro passes, and the labels of the bands that are read.

        Raises:
            InvalidArgumentError: one of them is wrong.
        """
        window = number_in_text("window_size", own["window_size"])
        if window != int(window):
            raise InvalidArgumentError(f"window_size: got {window}, expected an odd number of pixels")
        return cls(
            VectorColumns("points", own["geometry"], own["x"], own["y"], own["time"], own["crs"], own["points"]),
            SampleOptions(
                str(own["method"]), str(own["match"]), int(window),
                number_in_text("max_distance_pixels", own["max_distance_pixels"]),
            ),
            flag_of("scale", own["scale"]),
            formulas_of(own, bands),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class PlannedSamples:
    """Points, the files that they lie in, and the tiles that these take.

    Attributes:
        layout: the points in files; None where no row has a position.
        tiles: the tiles; None with the layout.
        keys: of the rows of the points.
    """

    layout: SampleLayout | None
    tiles: FileTiles | None
    keys: npt.NDArray[np.uint64]


class SampleSource(CallSource):
    """The table of all samples of all calls of `sample_points`."""

    function = "sample_points"
    read_columns = VALUE_COLUMNS

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        arguments, own, on_error, settings = parse_arguments(call.arguments)
        asked = SampleArguments.of_call(own, arguments.bands)
        name = required("points", own["points"])
        kept = kept_by(condition, call, ("rst_row", "rst_key", *VALUE_COLUMNS))
        with self._connections.planning_as(settings) as cursor:
            points = point_rows(cursor, named_table(cursor, name), asked.columns, SAMPLE_COLUMNS)
            planned = plan_samples(cursor, arguments, points, asked, kept)
        needed = self._needed(schema, condition)
        needs_values = not {*VALUE_COLUMNS}.isdisjoint(needed.names)
        if is_dry_run() and planned.tiles is not None:
            return noted(planned.tiles.fetched, schema, pixels=needs_values, mask=needs_values)
        batches = sample_batches(planned, needed, asked, on_error=on_error, reads=needs_values)
        return Stream(schema, filtered(batches, condition, schema, call.token))


def plan_samples(
    cursor: duckdb.DuckDBPyConnection,
    arguments: ReadArguments,
    points: VectorRows,
    asked: SampleArguments,
    kept: Any = None,
) -> PlannedSamples:
    """Plan samples of an index that a cursor sees.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what is read, without an area.
        points: the points.
        asked: what is asked.
        kept: gives the numbers of the rows, of one per file and band, that are wanted; or None for all.

    Raises:
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
        EmptyReadError: no point lies in a file that the other arguments leave.
    """
    assert points.x is not None
    assert points.y is not None
    bounds = np.stack([points.x, points.y, points.x, points.y], axis=1)
    files = files_around(
        cursor, arguments, bounds, points.crs, "points", formulas=asked.formulas, scale=asked.scale
    )  # fmt: skip
    if files is None:
        return PlannedSamples(None, None, points.keys)
    layout = SampleLayout(files.assets, ProjectedPoints(points.x, points.y, points.crs), asked.options, points.times_us)
    if not len(layout.windows.bands) and asked.options.match != "nearest_time":
        raise EmptyReadError(
            f"points: none of {len(points.x)} lies in a file that the index, bands and datetime leave; expected one or "
            "more. Check crs and the order: x is longitude"
        )
    if kept is not None:
        layout.keep(kept(_file_rows(layout.parts())))
    if not len(layout.windows.bands):
        return PlannedSamples(None, None, points.keys)
    return PlannedSamples(layout, files.tiles(layout.windows), points.keys)


def sample_batches(
    planned: PlannedSamples,
    schema: pa.Schema,
    asked: SampleArguments,
    *,
    on_error: OnError,
    reads: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Read samples, and give them as record batches.

    Args:
        planned: what is read.
        schema: the columns of `sql/schema/samples.sql` that are wanted.
        asked: what is asked.
        on_error: "raise", or "null" for rows without a value whose `error` says why.
        reads: whether values are wanted; nothing is fetched otherwise.
    """
    check_choice("on_error", on_error, ("raise", "null"))
    if planned.layout is None or planned.tiles is None:
        return
    found = planned.layout.read(planned.tiles, on_error=on_error) if reads else planned.layout.unread()
    yield from rebatched(_record_batch(samples, planned.keys, schema, asked) for samples in found)


def _file_rows(parts: list[tuple[PlannedAsset, PlannedBand]]) -> pa.Table:
    """Give the columns that follow from a file and a band."""
    return pa.table(
        {
            "item_id": pa.array([asset.item_id for asset, _ in parts], pa.string()),
            "collection": pa.array([asset.collection for asset, _ in parts], pa.string()),
            "datetime": pa.array([asset.datetime_us for asset, _ in parts], pa.timestamp("us", "UTC")),
            "band": pa.array([band.name for _, band in parts], pa.string()),
            "scale": pa.array([band.scale for _, band in parts], pa.float64()),
            "offset": pa.array([band.offset for _, band in parts], pa.float64()),
        }
    )


def _record_batch(
    samples: Samples, keys: npt.NDArray[np.uint64], schema: pa.Schema, asked: SampleArguments
) -> pa.RecordBatch:
    count = len(samples.points)
    file = _file_rows([(samples.asset, samples.band)])
    columns: dict[str, Any] = {}
    for field in schema:
        if field.name in _FILE_COLUMNS:
            columns[field.name] = pa.repeat(file.column(field.name)[0], count).cast(field.type)
    columns |= {
        "rst_row": pa.array(samples.points),
        "rst_key": pa.array(keys[samples.points]),
        "value": pa.array(_values(samples.values, samples, asked), mask=~samples.valid),
        "error": errors_of(samples.errors, count),
    }
    if "window_values" in schema.names:
        columns["window_values"] = _window(samples, asked)
    return pa.record_batch([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _window(samples: Samples, asked: SampleArguments) -> pa.Array:
    if samples.window_values is None or samples.window_valid is None:
        return pa.nulls(len(samples.points), pa.list_(pa.float64()))
    values = _values(samples.window_values, samples, asked)
    ends = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values[0].size)
    return pa.ListArray.from_arrays(ends, pa.array(values.ravel(), mask=~samples.window_valid.ravel()))


def _values(values: npt.NDArray[np.float64], samples: Samples, asked: SampleArguments) -> npt.NDArray[np.float64]:
    return physical(values, samples.band) if asked.scale else values
