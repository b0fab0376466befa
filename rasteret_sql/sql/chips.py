"""The rows of `chips`: windows of items, planned on a cursor, and streamed as Arrow record batches."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from rasteret_sql.checks import number_in_text, number_of, shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import in_proj_thread
from rasteret_sql.geo.footprint import window_footprints
from rasteret_sql.plan.chips import ChipGrid, chips_of_items
from rasteret_sql.plan.derived import PixelsBelow, check_one_crs
from rasteret_sql.plan.formulas import PixelFormulas
from rasteret_sql.plan.tiles import Windows, plan_computed
from rasteret_sql.read.stream import PART_ROWS
from rasteret_sql.read.valid_share import (
    ItemShares,
    Layer,
    ShareOptions,
    computed_valid,
    count_valid,
    needs_pixels,
    read_valid,
    windows_below,
)
from rasteret_sql.sql.joined import kept_by
from rasteret_sql.sql.planning import select_files
from rasteret_sql.sql.statistics_file import kept_statistics
from rasteret_sql.sql.virtual import CallSource, Stream, filtered, is_dry_run, noted, parse_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.chips import ItemChips
    from rasteret_sql.plan.select import Selection
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.plan.tiles import WindowPlan
    from rasteret_sql.read.by_file import FileTiles
    from rasteret_sql.sql.workarounds import Call

    Numbers = npt.NDArray[np.int64]
    #: Gives the numbers of the rows of a table that are wanted.
    Kept = Callable[[pa.Table], Numbers]

_SHARE: Final = "valid_share"
_SIDES: Final = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class ChipArguments:
    """The arguments of `chips` that are not those of every read.

    Attributes:
        grid: size, stride and edges.
        where_valid: windows with a smaller share of valid pixels are left out; None for none.
        statistics: where the statistics of tiles are, or None.
        condition: the condition that pixels must meet to be valid; None for none.

    Raises:
        InvalidArgumentError: one of them is wrong.
    """

    grid: ChipGrid
    where_valid: float | None = None
    statistics: str | None = None
    condition: PixelFormulas | None = None

    def __post_init__(self) -> None:
        if self.where_valid is None:
            return
        share = number_of(self.where_valid)
        if share is None or not 0 <= share <= 1:
            raise InvalidArgumentError(
                f"where_valid: got {shown(self.where_valid)}, expected the least share of valid pixels, 0 to 1"
            )

    @classmethod
    def of_call(cls, own: Mapping[str, str | None]) -> ChipArguments:
        """Make them of what the macro passes.

        Raises:
            InvalidArgumentError: one of them is wrong.
        """
        size, stride = (json.loads(own[name] or "null") for name in ("size", "stride"))
        if size is None:
            raise InvalidArgumentError("size: got NULL, expected pixels, one number or [height, width]: size := 256")
        share = own["where_valid"]
        return cls(
            ChipGrid.of(size, stride, str(own["edges"])),
            None if share is None else number_in_text("where_valid", share),
            own["statistics"],
            PixelFormulas.of(None, own["valid_where"], None),
        )


class ChipSource(CallSource):
    """The table of all windows of all calls of `chips`."""

    function = "chips"
    read_columns = (_SHARE,)

    def _scan(self, call: Call, schema: pa.Schema, condition: Any) -> Stream:
        arguments, own, _, settings = parse_arguments(call.arguments)
        asked = ChipArguments.of_call(own)
        needed = self._needed(schema, condition)
        # A footprint takes longer than a window that a condition leaves out.
        kept = kept_by(condition, call, (*self.read_columns, "footprint"))

        with self._connections.planning_as(settings) as cursor:
            planned = plan_chips(cursor, arguments, asked, wants_share=_SHARE in needed.names)
            if is_dry_run():
                tiles, unaided = planned.fetched(self._schema, kept), None
                if asked.statistics is not None:
                    plain = replace(asked, statistics=None)
                    plain_chips = plan_chips(cursor, arguments, plain, wants_share=_SHARE in needed.names)
                    unaided = plain_chips.fetched(self._schema, kept)
                pixels = planned.computed is not None or needs_pixels(tiles)
                return noted(tiles, schema, pixels=pixels, mask=True, unaided=unaided)
        batches = chip_batches(planned, needed, kept)
        return Stream(schema, filtered(batches, condition, schema, call.token))


@dataclass(frozen=True, slots=True, eq=False)
class PlannedChips:
    """Windows of items, and the tiles under them.

    Attributes:
        assets: the files, or the grids of bands whose pixels must meet a condition.
        selection: what the area touches of each; None without assets.
        items: the windows of each item.
        options: what is wanted of the share of valid pixels; None for nothing, and nothing is read.
        tiles: the tiles under the windows; a window for each item, file and band, in this order. None without options.
        known: valid pixels of each of the tiles, as far as they are known.
        computed: gives the tiles that those of a plan are computed of; None where a plan has tiles of files.
    """

    assets: tuple[PlannedAsset, ...] = ()
    selection: Selection | None = None
    items: Sequence[ItemChips] = ()
    options: ShareOptions | None = None
    tiles: WindowPlan | None = None
    known: Numbers | None = None
    computed: Callable[[TilePlan], FileTiles] | None = None

    def windows(self, item: ItemChips, schema: pa.Schema, kept: Kept | None) -> Iterator[Numbers]:
        """Give the windows of an item that area and condition leave, some at a time.

        Args:
            item: the item.
            schema: columns that a condition may look at.
            kept: gives the numbers of the rows of a table that are wanted; or None for all.
        """
        assert self.selection is not None
        asset = self.assets[item.host]
        for windows in item.windows(asset, self.selection):
            if kept is None:
                yield windows
                continue
            rows = pa.table(_columns(asset, windows, None, schema), schema=schema)
            some = windows[kept(rows)]
            if len(some):
                yield some

    def shares(self, schema: pa.Schema, kept: Kept | None) -> Iterator[list[ItemShares]]:
        """Give the windows of the items, with what is known of their valid pixels, some items at a time."""
        assert self.options is not None
        assert self.tiles is not None
        assert self.known is not None
        assets, bounds, plan = self.assets, self.tiles.bounds, self.tiles.tiles
        group: list[ItemShares] = []
        tiles = window = 0
        for item in self.items:
            members = []
            for number in item.files:
                for _ in assets[number].bands:
                    members.append((assets[number], np.arange(bounds[window], bounds[window + 1])))
                    window += 1
            found = list(self.windows(item, schema, kept))
            if not found:
                continue
            host = assets[item.host]
            layers = [Layer(host, asset, rows, plan, self.known[rows]) for asset, rows in members]
            group.append(ItemShares(np.concatenate(found), layers, self.options, host))
            tiles += sum(len(rows) for _, rows in members)
            if tiles >= PART_ROWS:
                yield group
                group, tiles = [], 0
        if group:
            yield group

    def fetched(self, schema: pa.Schema, kept: Kept | None) -> TilePlan:
        """Give the tiles that are read."""
        if self.tiles is None:
            return plan_computed((), Windows.of((), np.empty(0, np.int64), [], np.empty((0, 4), np.int64)))
        condition = _plain(schema)
        rows = [item.needed() for group in self.shares(condition, kept) for item in group]
        plan = self.tiles.tiles.take(np.concatenate(rows) if rows else np.empty(0, np.int64))
        return plan if self.computed is None or not len(plan) else self.computed(plan).fetched


def plan_chips(
    cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, asked: ChipArguments, *, wants_share: bool
) -> PlannedChips:
    """Plan the windows of an index that a cursor sees.

    Args:
        cursor: a connection of its own, which gets temporary tables.
        arguments: what is read.
        asked: which windows.
        wants_share: whether the share of valid pixels is wanted.

    Raises:
        AssetChangedError: statistics of tiles are of another version of a file.
        InvalidArgumentError: an argument is wrong, or bands of an item share no CRS.
        InvalidIndexError: the index is not one.
        EmptyReadError: the area touches none of the files that the other arguments leave.
    """
    files = select_files(cursor, arguments, asked.condition)
    if files is None:
        return PlannedChips()
    selection = files.selection
    items = chips_of_items(files.assets, selection, asked.grid)
    if not items or not (wants_share or asked.where_valid is not None):
        return PlannedChips(files.assets, selection, items)
    options = ShareOptions(asked.where_valid, is_exact=wants_share)
    windows = _all_windows(files.assets, items)
    tiles = files.plan_windows(windows)
    statistics = None
    if asked.statistics is not None:
        statistics = kept_statistics(cursor, asked.statistics, files.sources)
        files = files.judged(windows, statistics)
    known = files.known_valid(windows, tiles, statistics)
    computed = None if asked.condition is None else files.tiles_of
    return PlannedChips(files.assets, selection, items, options, tiles, known, computed)


def _all_windows(assets: tuple[PlannedAsset, ...], items: Sequence[ItemChips]) -> Windows:
    """Give a window for each item, file and band that holds all windows of the item."""
    asset_no, bands, pixels = [], [], []
    for item in items:
        host = assets[item.host]
        bounds = np.array([item.bounds((host.height, host.width))], np.int64)
        for number in item.files:
            check_one_crs(host, assets[number], _SHARE)
            window = windows_below(PixelsBelow.of(host, assets[number]), bounds)[0]
            for band in assets[number].bands:
                asset_no.append(number)
                bands.append(band)
                pixels.append(window)
    return Windows.of(assets, np.array(asset_no, np.int64), bands, np.stack(pixels))


def chip_batches(planned: PlannedChips, schema: pa.Schema, kept: Kept | None = None) -> Iterator[pa.RecordBatch]:
    """Give windows as record batches; tiles are read for the share of valid pixels alone.

    Args:
        planned: the windows.
        schema: the columns that are wanted.
        kept: gives the numbers of the rows of a table that are wanted; or None for all.

    Raises:
        RasteretError: a tile could not be fetched or decoded.
    """
    condition = _plain(schema)
    if planned.options is None:
        for item in planned.items:
            asset = planned.assets[item.host]
            for windows in planned.windows(item, condition, kept):
                yield pa.record_batch(_columns(asset, windows, None, schema), schema=schema)
        return
    assert planned.tiles is not None
    read = read_valid if planned.computed is None else computed_valid(planned.computed)
    for group in planned.shares(condition, kept):
        for found in count_valid(planned.tiles.tiles, group, read):
            numbers = np.flatnonzero(found.is_kept)
            for first in range(0, len(numbers), PART_ROWS):
                some = numbers[first : first + PART_ROWS]
                share = pa.array(found.counts[some] / found.areas()[some], mask=~found.is_counted[some])
                yield pa.record_batch(_columns(found.host, found.windows[some], share, schema), schema=schema)


def _plain(schema: pa.Schema) -> pa.Schema:
    """Give the columns that need no reading, but for those of which no condition says anything."""
    return pa.schema([field for field in schema if field.name not in {_SHARE, "footprint", "_call"}])


def _columns(asset: PlannedAsset, windows: Numbers, share: pa.Array | None, schema: pa.Schema) -> list[pa.Array]:
    """Give columns of windows of a file, in the order of a schema."""
    count = len(windows)
    row_off, col_off, row_end, col_end = windows.T
    numbers = {"row_off": row_off, "col_off": col_off, "height": row_end - row_off, "width": col_end - col_off}
    constant = {
        "item_id": asset.item_id, "collection": asset.collection, "datetime": asset.datetime_us, "level": asset.level,
        "crs": asset.crs,
    }  # fmt: skip
    columns = []
    for field in schema:
        if field.name in numbers:
            columns.append(pa.array(numbers[field.name]).cast(field.type))
        elif field.name in constant:
            columns.append(pa.repeat(pa.scalar(constant[field.name], field.type), count))
        elif field.name == "bounds":
            columns.append(_bounds(asset, windows, field.type))
        elif field.name == "footprint":
            columns.append(_footprints(asset, windows))
        else:
            columns.append(pa.nulls(count, field.type) if share is None else share)
    return columns


def _bounds(asset: PlannedAsset, windows: Numbers, kind: pa.DataType) -> pa.Array:
    if asset.transform is None:
        return pa.nulls(len(windows), kind)
    a, _, c, _, e, f = asset.transform
    row_off, col_off, row_end, col_end = windows.T
    (x, x_end), (y, y_end) = (c + a * col_off, c + a * col_end), (f + e * row_off, f + e * row_end)
    sides = np.minimum(x, x_end), np.minimum(y, y_end), np.maximum(x, x_end), np.maximum(y, y_end)
    return pa.StructArray.from_arrays([pa.array(side) for side in sides], list(_SIDES))


def _footprints(asset: PlannedAsset, windows: Numbers) -> pa.Array:
    if asset.transform is None or asset.crs is None:
        return pa.nulls(len(windows), pa.binary())
    import shapely

    shape = asset.height, asset.width
    outlines = in_proj_thread(window_footprints)(asset.crs, asset.transform, shape, windows)
    return pa.array(shapely.to_wkb(outlines), pa.binary())


def geoparquet_schema(schema: pa.Schema) -> pa.Schema:
    """Give the columns of a result, whose footprint says that it is a geometry in longitude and latitude."""
    said = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": json.dumps({"crs": "OGC:CRS84"})}
    place = schema.get_field_index("footprint")
    return schema.set(place, schema.field(place).with_metadata(said))
