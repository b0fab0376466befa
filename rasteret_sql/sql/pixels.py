"""The rows of `read_pixels`: planned as those of `read_tiles`, and streamed as Arrow record batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from rasteret_sql.checks import check_choice, check_flag, shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geometry import parse_geometry
from rasteret_sql.read.by_file import FileTiles, in_file_order
from rasteret_sql.read.pixel_rows import PixelReader
from rasteret_sql.read.tile_condition import TileCondition
from rasteret_sql.sql.batches import rows_kept, schema_of, with_call
from rasteret_sql.sql.joined import flag_of, formulas_of, rebatched
from rasteret_sql.sql.planning import IndexPlans, plan_tiles
from rasteret_sql.sql.statistics_file import kept_statistics
from rasteret_sql.sql.virtual import CallSource, Stream, filtered, is_dry_run, noted, parse_arguments
from rasteret_sql.sql.workarounds import mentions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import duckdb

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.plan.tile_plan import TilePlan
    from rasteret_sql.read.pixel_rows import PixelRows
    from rasteret_sql.sql.workarounds import Call

LAYOUTS: Final = ("long", "wide")
ON_ERROR: Final = ("raise", "skip")
_MAX_BANDS: Final = 256
#: Columns of the bands of the layout "wide", by their position in what was asked for.
WIDE_COLUMNS: Final = tuple(f"b{position}" for position in range(1, _MAX_BANDS + 1))
#: Columns before those of the bands.
_PLACE_COLUMNS: Final = ("item_id", "collection", "datetime", "x", "y", "crs")


def pixel_schema(con: duckdb.DuckDBPyConnection) -> pa.Schema:
    """Give the columns of `sql/schema/pixels.sql`, and those of bands before `_call`."""
    *fields, call = schema_of(con, "pixels")
    return pa.schema([*fields, *(pa.field(name, pa.float64()) for name in WIDE_COLUMNS), call])


@dataclass(frozen=True, slots=True)
class PixelArguments:
    """The arguments of `read_pixels` that are not those of every read.

    Attributes:
        layout: "long" gives a row per pixel and band, "wide" a row per pixel.
        all_touched: whether all pixels of which a polygon covers some part are in the area.
        scale: give physical values.
        formulas: what is computed of the bands; None for nothing.
        on_error: "raise", or "skip" to leave out the pixels of tiles that cannot be read.
        statistics: where the statistics of tiles are, or None.

    Raises:
        InvalidArgumentError: one of them is wrong.
    """

    layout: str = "long"
    all_touched: bool = False
    scale: bool = False
    formulas: PixelFormulas | None = None
    on_error: str = "raise"
    statistics: str | None = None

    def __post_init__(self) -> None:
        check_choice("on_error", self.on_error, ON_ERROR)
        check_choice("layout", self.layout, LAYOUTS)
        check_flag("all_touched", self.all_touched)
        check_flag("scale", self.scale)

    @classmethod
    def of_call(cls, own: Mapping[str, str | None], bands: Sequence[str] | None) -> PixelArguments:
        """Make them of what the macro passes, and the labels of the bands that are read.

        Raises:
            InvalidArgumentError: one of them is wrong.
        """
        return cls(
            str(own["layout"]), flag_of("all_touched", own["all_touched"]), flag_of("scale", own["scale"]),
            formulas_of(own, bands), str(own["on_error"]), own["statistics"],
        )  # fmt: skip

    def columns(self, bands: Sequence[str] | None) -> tuple[str, ...]:
        """Give the names of the bands of the result by their positions, formulas last; they are columns of "wide".

        Raises:
            InvalidArgumentError: the layout is "wide", and there are none, or too many, or two columns of one name.
        """
        names = (*(bands or ()), *(() if self.formulas is None else self.formulas.expressions))
        if self.layout == "wide" and not 1 <= len(names) <= _MAX_BANDS:
            raise InvalidArgumentError(
                f"bands: got {len(names) or 'none'} with layout 'wide', expected the names of its columns, at most "
                f"{_MAX_BANDS}"
            )
        if self.layout == "wide":
            _check_alone(names)
        return names


def _check_alone(names: Sequence[str]) -> None:
    """Refuse bands and formulas that are not the only column of their name; to SQL, RED and red are one name."""
    seen = set(_PLACE_COLUMNS)
    for name in names:
        if name.lower() in seen:
            raise InvalidArgumentError(
                f"layout: got 'wide' and the name {shown(name)}, which another column has, expected bands and formulas "
                f"whose names differ from each other, in more than case, and from {', '.join(_PLACE_COLUMNS)}; give "
                "the formula another name, read the band by a formula, or take the layout 'long'"
            )
        seen.add(name.lower())


class PixelSource(CallSource):
    """The table of all pixels of all calls of `read_pixels`."""

    function = "read_pixels"
    read_columns = ("x", "y", "value", *WIDE_COLUMNS)

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        arguments, own, _, settings = parse_arguments(call.arguments)
        asked = PixelArguments.of_call(own, arguments.bands)
        asked.columns(arguments.bands)

        def kept(plan: TilePlan) -> TilePlan:
            if condition is None or mentions(condition, self.read_columns):
                return plan
            return plan.take(rows_kept(_file_rows(plan, call, asked), condition))

        with self._connections.planning_as(settings) as cursor:
            tiles = plan_pixels(cursor, arguments, asked, kept)
            if is_dry_run():
                unaided = None
                if asked.statistics is not None:
                    unaided = plan_pixels(cursor, arguments, replace(asked, statistics=None), kept).fetched
                return noted(tiles.fetched, schema, pixels=True, mask=True, unaided=unaided)
        batches = pixel_batches(tiles, arguments, asked, self._needed(schema, condition))
        return Stream(schema, filtered(batches, condition, schema, call.token))


def plan_pixels(
    cursor: duckdb.DuckDBPyConnection,
    arguments: ReadArguments,
    asked: PixelArguments,
    kept: Callable[[TilePlan], TilePlan] | None = None,
) -> FileTiles:
    """Plan the tiles whose pixels are rows.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what is read.
        asked: how it is given.
        kept: gives the part of a plan that is wanted; None for all of it.

    Raises:
        AssetChangedError: statistics of tiles are of another version of a file.
        InvalidArgumentError: an argument is wrong.
        InvalidIndexError: the index is not one.
        EmptyReadError: the area touches none of the assets that the other arguments leave, or no item has the bands
            that are needed.
    """
    if asked.formulas is None:
        plan = plan_tiles(cursor, arguments)
        plan = plan if kept is None else kept(plan)
        if asked.statistics is not None:
            known = kept_statistics(cursor, asked.statistics, plan.assets)
            plan = TileCondition.of("valid_count > 0", known).kept(plan, measures=False)
        return FileTiles(in_file_order(plan))
    files = IndexPlans(cursor, arguments).derived_files(arguments, asked.formulas, scale=asked.scale)
    windows = files.windows()
    if asked.statistics is not None:
        files = files.judged(windows, kept_statistics(cursor, asked.statistics, files.sources))
    plan = files.computed(files.possible(windows))
    return files.tiles_of(plan if kept is None else kept(plan))


def pixel_batches(
    tiles: FileTiles, arguments: ReadArguments, asked: PixelArguments, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Read the pixels of tiles, and give them as record batches.

    Args:
        tiles: the tiles.
        arguments: what is read.
        asked: how it is given.
        schema: the columns of `pixel_schema` that are wanted.

    Raises:
        InvalidArgumentError: a band is complex, or a file has a CRS and no transform.
    """
    reader = PixelReader(
        tiles,
        _area(arguments),
        arguments.crs,
        all_touched=asked.all_touched,
        scale=asked.scale,
        skips_failures=asked.on_error == "skip",
    )
    found = reader.wide() if asked.layout == "wide" else reader.long()
    return rebatched(_record_batch(rows, schema) for rows in found)


def _area(arguments: ReadArguments) -> Any:
    """Give the area of a read as a geometry, or None without one."""
    import shapely

    if arguments.geometry is not None:
        return parse_geometry(arguments.geometry, arguments.crs)
    if arguments.bbox is None:
        return None
    return shapely.MultiPolygon([shapely.box(*bounds) for bounds in arguments.bbox_parts().tolist()])


def _file_rows(plan: TilePlan, call: Call, asked: PixelArguments) -> pa.Table:
    """Give the columns that follow from file and band, for each row of a plan."""
    files = pa.table(
        {
            "item_id": pa.array([asset.item_id for asset in plan.assets], pa.string()),
            "collection": pa.array([asset.collection for asset in plan.assets], pa.string()),
            "datetime": pa.array([asset.datetime_us for asset in plan.assets], pa.timestamp("us", "UTC")),
            "crs": pa.array([asset.crs for asset in plan.assets], pa.string()),
        }
    ).take(pa.array(plan.asset_no))
    bands, place = plan.bands_of_rows()
    names = pa.array([None if asked.layout == "wide" else band.name for band in bands], pa.string())
    files = files.append_column("band", names.take(pa.array(place)))
    return with_call(files, call.token)


def _record_batch(found: PixelRows, schema: pa.Schema) -> pa.RecordBatch:
    count, asset = len(found.rows), found.asset
    constant = {
        "item_id": asset.item_id, "collection": asset.collection, "datetime": asset.datetime_us, "crs": asset.crs,
        "band": next(iter(found.bands.values())).name,
    }  # fmt: skip
    columns = []
    for field in schema:
        if field.name in constant:
            columns.append(pa.repeat(pa.scalar(constant[field.name], field.type), count))
        elif field.name in {"x", "y"}:
            columns.append(pa.array(found.x if field.name == "x" else found.y))
        elif field.name == "value":
            columns.append(pa.array(next(iter(found.values.values()))))
        else:
            position = int(field.name[1:])
            values = found.values.get(position)
            columns.append(
                pa.nulls(count, field.type) if values is None else pa.array(values, mask=~found.valid[position])
            )
    return pa.record_batch(columns, schema=schema)


def wide_schema(schema: pa.Schema, bands: Sequence[str]) -> pa.Schema:
    """Give the columns of the layout "wide" under the names of their bands."""
    names = dict(zip(WIDE_COLUMNS, bands, strict=False))
    return pa.schema([field.with_name(names.get(field.name, field.name)) for field in schema])


def columns_of(schema: pa.Schema, asked: PixelArguments, bands: Sequence[str] | None) -> pa.Schema:
    """Give the columns of a result, as they are named while it is read."""
    last = WIDE_COLUMNS[: len(asked.columns(bands))] if asked.layout == "wide" else ("band", "value")
    return pa.schema([schema.field(name) for name in (*_PLACE_COLUMNS, *last)])
