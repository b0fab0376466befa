"""The plan of a picture: rows of an index or of `read_tiles`, bands, grid, and the items that lie on top."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.arrays.cubes import check_area, check_no_area, clip_of
from rasteret_sql.arrays.given_tiles import holds_tiles, plan_given_tiles
from rasteret_sql.arrays.grids import onto_grid
from rasteret_sql.checks import checked_unicode
from rasteret_sql.database.folders import is_many
from rasteret_sql.database.sqlfiles import quote_literal
from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.geo.crs import LONLAT, revolution_of, same_crs
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.geo.pixelsize import pixel_size_in
from rasteret_sql.geo.project import joint_bounds
from rasteret_sql.output.class_meanings import Meanings, indexed_meanings
from rasteret_sql.output.picture_bands import (
    check_expression,
    choose_bands,
    expression_of,
    known_assets,
    known_of_tiles,
    labels_of_index,
    labels_of_keys,
)
from rasteret_sql.output.picture_pixels import band_names, used_assets, with_bands
from rasteret_sql.plan.native_grid import bounds_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.geo.clip import Clip
    from rasteret_sql.geo.geobox import Bounds
    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.expressions import Expression
    from rasteret_sql.plan.select import IndexFiles
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.sql.index_rows import AssetProperties
    from rasteret_sql.sql.planning import PlannedTiles

#: Files of one picture. A plan of more takes seconds, and nobody sees them all.
MAX_FILES: Final = 3000
_PLACED: Final = "crs IS NOT NULL AND transform IS NOT NULL"
#: Column of the index by which items lie on top of each other.
_CLOUDS: Final = "eo:cloud_cover"
#: Files in several CRSs are shown in the CRS of most of them, up to so many degrees from west to east: two UTM zones.
_WIDEST_OF_ZONES: Final = 12.0
_WEB_MERCATOR: Final = "EPSG:3857"
#: Latitudes up to which Web Mercator is drawn.
_LAST_PARALLEL: Final = 80.0
#: Degrees of longitude are drawn shorter than those of latitude where the ratio is below this.
_SQUARE_FROM: Final = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class PicturePlan:
    """The tiles and the grid of a picture.

    Attributes:
        plan: the tiles.
        box: the grid.
        bands: names, in the order in which they are shown.
        rank: of each asset of the plan; items of a lower rank lie on top.
        clip: the geometry that is shown; or None.
        is_given: whether the tiles are rows of `read_tiles`, so that nothing is fetched.
        notes: remarks for users.
        expression: formula over the bands that is shown in their place, or None.
        meanings: classes of the one band that is shown, as the index describes them.
    """

    plan: TilePlan
    box: GeoBox
    bands: tuple[str, ...]
    rank: npt.NDArray[np.int64]
    clip: Clip | None = None
    is_given: bool = False
    notes: tuple[str, ...] = ()
    expression: Expression | None = None
    meanings: Meanings = field(default_factory=dict)


def plan_picture(
    index: Any,
    arguments: ReadArguments,
    *,
    connection: duckdb.DuckDBPyConnection | None,
    where: str | None,
    items: Sequence[str] | None,
    size: tuple[int, int],
    all_touched: bool = False,
) -> PicturePlan:
    """Plan a picture; nothing is fetched.

    Args:
        index: rows of an index, or of `read_tiles`.
        arguments: bands, area and time; its `index` is not looked at.
        connection: has the tables that `index` names.
        where: SQL condition on the rows of an index, or None.
        items: ids of the items that are shown; None for all.
        size: (height, width) in pixels, at most.
        all_touched: whether all pixels of which the geometry covers some part are shown.

    Raises:
        InvalidArgumentError: an argument is wrong, or leaves too much for a picture.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to show.
    """
    from rasteret_sql.sql.named_index import shown_index
    from rasteret_sql.sql.readers import planning_cursor

    check_area(arguments)
    if isinstance(index, os.PathLike):
        index = os.fspath(index)
    if connection is not None and isinstance(index, str):
        index = _relation(connection, index)
    if holds_tiles(index):
        if where is not None or items is not None:
            name = "where" if where is not None else "item"
            raise InvalidArgumentError(
                f"{name}: got one with rows of read_tiles, expected none; put it into the query that makes them"
            )
        check_no_area(arguments, has_grid=False)
        return _of_tiles(plan_given_tiles(index, scaling=arguments.scaling), arguments.bands, size)
    with planning_cursor(index) as cursor:
        arguments = shown_index(cursor, index, arguments, with_properties=True)
        arguments = replace(arguments, where=_condition(cursor, arguments, where, items))
        planned = _IndexPlanner(cursor, arguments, size).plan()
        return replace(planned, clip=clip_of(arguments, planned.box, all_touched))


def _relation(connection: duckdb.DuckDBPyConnection, index: str) -> Any:
    """Give a table or a query as the connection sees it; a path stays as it is."""
    import duckdb

    from rasteret_sql.database.select_text import message_of, require_select
    from rasteret_sql.sql.named_index import is_path, is_query

    if not is_query(index) and (is_path(index) or is_many(index)):
        return index
    try:
        return connection.sql(require_select(connection, index if is_query(index) else f"FROM {index}", "index"))
    except duckdb.Error as error:
        raise InvalidIndexError(f"index: the query does not run: {message_of(error)}") from error


def _condition(
    cursor: duckdb.DuckDBPyConnection, arguments: ReadArguments, where: str | None, items: Sequence[str] | None
) -> str | None:
    """Give one condition for rows of the index.

    Raises:
        InvalidArgumentError: `where` is no condition on its columns, or an item is no text that SQL can hold.
    """
    import duckdb

    from rasteret_sql.database.select_text import message_of, nested, require_condition
    from rasteret_sql.sql.named_index import named_index

    conditions = []
    if where is not None:
        condition = nested(require_condition(cursor, where, "where", error=InvalidArgumentError))
        name = named_index(cursor, arguments.index)
        try:
            cursor.execute(f"SELECT 1 FROM query_table($1) WHERE {condition} LIMIT 0", [name])  # noqa: S608 - checked
        except duckdb.Error as error:
            raise InvalidArgumentError(
                f"where: {where!r} does not run: {message_of(error)}; expected a condition on columns of the index"
            ) from error
        conditions.append(condition)
    if items is not None:
        broken = [item for item in items if "\0" in checked_unicode("item", item)]
        if broken:
            # duckdb 1.5 ends a statement there.
            raise InvalidArgumentError(f"item: got {broken[0]!r}, which has NUL; expected the id of an item")
        conditions.append(f"item_id IN ({', '.join(map(quote_literal, items))})" if items else "false")
    if arguments.has_area:
        # Files without a CRS or transform are in no area.
        conditions.append(_PLACED)
    return " AND ".join(conditions) or None


class _IndexPlanner:
    """Plans a picture of the rows of an index."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        arguments: ReadArguments,
        size: tuple[int, int],
        keys: Sequence[tuple[str, int]] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._cursor, self._arguments, self._size = cursor, arguments, size
        #: Asset and number of the bands, where nobody has named them.
        self._keys = keys
        self._notes = notes
        self._expression: Expression | None = None

    def plan(self) -> PicturePlan:
        from rasteret_sql.sql.planning import index_rows, nothing_found

        with index_rows(self._cursor, self._arguments, with_properties=True) as rows:
            self._expression = expression_of(self._arguments.bands, lambda: labels_of_index(rows.index))
            if self._expression is not None:
                self._arguments = replace(self._arguments, bands=list(self._expression.bands))
            selection = rows.select(self._arguments)
            if self._arguments.bands is None and len(selection):
                self._keys = choose_bands(known_assets(rows.index, selection))
                named = list(dict.fromkeys(asset for asset, _ in self._keys))
                self._arguments = replace(self._arguments, bands=named)
                selection = rows.select(self._arguments)
            files = rows.index.files
            assets = files.assets(selection.files, selection.levels, selection.bands, selection.windows)
            _check_count(assets)
            placed = [asset for asset in assets if asset.crs is not None and asset.transform is not None]
            if placed and len(placed) < len(assets):
                return self._narrowed(_PLACED, f"{len(assets) - len(placed):,} files without a CRS are left out")
            items = dict.fromkeys(asset.item_id for asset in sorted(assets, key=_age))
            if not placed and len(items) > 1:
                first = next(iter(items))
                note = f"the files have no CRS: the first of {len(items):,} items is shown"
                return self._narrowed(f"item_id = {quote_literal(first)}", note)
            if placed:
                box = picture_box(placed, self._size)
                plan, properties = rows.plan(onto_grid(self._arguments, box, {"*": "average"}))
            else:
                level = _flat_level(rows.index, selection.files, self._size)
                plan, properties = rows.plan(replace(self._arguments, level=level))
        if not len(plan):
            raise nothing_found(self._cursor, self._arguments)
        assert properties is not None
        names = labels_of_keys(plan, self._keys) if self._keys is not None else band_names(plan)
        plan = with_bands(plan, names, self._keys)
        check_expression(self._expression, names)
        rank = properties.position if self._arguments.is_ordered else _rank(plan.assets, properties)
        planned = PicturePlan(plan, box, tuple(names), rank) if placed else _on_pixels(plan, rank, self._size)
        return replace(planned, notes=self._notes, expression=self._expression, meanings=self._meanings(planned))

    def _meanings(self, planned: PicturePlan) -> Meanings:
        """Give the classes of the one band, by its file on top."""
        from rasteret_sql.sql.named_index import named_index

        if len(planned.bands) != 1 or self._expression is not None:
            return {}
        top = min(np.unique(planned.plan.asset_no).tolist(), key=lambda number: planned.rank[number])
        asset = planned.plan.assets[top]
        name = named_index(self._cursor, self._arguments.index)
        return indexed_meanings(self._cursor, name, asset.item_id, asset.asset, asset.bands[0].band)

    def _narrowed(self, condition: str, note: str) -> PicturePlan:
        """Plan a picture of fewer rows."""
        where = self._arguments.where
        arguments = replace(self._arguments, where=condition if where is None else f"{where} AND {condition}")
        if self._expression is not None:
            arguments = replace(arguments, bands=[self._expression.text])
        return _IndexPlanner(self._cursor, arguments, self._size, self._keys, (*self._notes, note)).plan()


def _check_count(assets: Sequence[PlannedAsset]) -> None:
    if len(assets) > MAX_FILES:
        items = len({(asset.collection, asset.item_id) for asset in assets})
        raise InvalidArgumentError(
            f"index: {len(assets):,} files of {items:,} items are left for one picture, expected {MAX_FILES:,} at most"
            "; choose with bbox, datetime, where or item"
        )


def _age(asset: PlannedAsset) -> tuple[float, str]:
    return math.inf if asset.datetime_us is None else asset.datetime_us, asset.item_id


def _rank(assets: Sequence[PlannedAsset], properties: AssetProperties) -> npt.NDArray[np.int64]:
    """Rank files by clouds, then by time."""
    clouds = np.zeros(len(assets))
    column = properties.columns.get(_CLOUDS)
    if column is not None and column.dtype.kind in "iuf":
        clouds = np.ma.masked_array(column, dtype=np.float64).filled(np.inf)
    latest = np.iinfo(np.int64).max
    times = np.array([latest if asset.datetime_us is None else asset.datetime_us for asset in assets], np.int64)
    rank = np.empty(len(assets), np.int64)
    rank[np.lexsort((np.arange(len(assets)), times, clouds))] = np.arange(len(assets))
    return rank


def _flat_level(index: IndexFiles, numbers: npt.NDArray[np.int64], size: tuple[int, int]) -> int:
    """Give the coarsest level that all files have with at least as many pixels as a size on one side."""
    files, coarsest = index.files, []
    for number in numbers.tolist():
        first, count = (int(files.column(name)[number]) for name in ("first_level", "level_count"))
        levels = slice(first, first + count)
        enough = (files.column("level_height")[levels] >= size[0]) | (files.column("level_width")[levels] >= size[1])
        coarsest.append(max(int(enough.sum()) - 1, 0))
    return min(coarsest, default=0)


def _of_tiles(planned: PlannedTiles, bands: Sequence[str] | None, size: tuple[int, int]) -> PicturePlan:
    """Plan a picture of rows of `read_tiles`."""
    plan = planned.plan
    known = band_names(plan)
    expression = expression_of(bands, lambda: known)
    if expression is not None:
        bands = expression.bands
    if bands is None:
        keys = choose_bands(known_of_tiles(plan))
        by_key = {(asset.asset, band.band): band.name for asset in plan.assets for band in asset.bands}
        bands = [by_key[key] for key in keys]
    missing = [name for name in bands if name not in known]
    if missing:
        raise InvalidArgumentError(f"bands: got {', '.join(missing)}, expected some of {', '.join(known)}")
    plan = with_bands(plan, bands)
    used = used_assets(plan)
    rank = planned.properties.position if planned.properties is not None else np.zeros(len(plan.assets), np.int64)
    if any(asset.crs is None or asset.transform is None for asset in used):
        return replace(_on_pixels(plan, rank, size), is_given=True, expression=expression)
    return PicturePlan(plan, picture_box(used, size), tuple(bands), rank, is_given=True, expression=expression)


def _on_pixels(plan: TilePlan, rank: npt.NDArray[np.int64], size: tuple[int, int]) -> PicturePlan:
    """Plan a picture of ungeoreferenced files: on the pixel grid of the largest file of the first item.

    Each file is shown from its first pixel on, at the size of the largest.
    """
    used = used_assets(plan)
    first = [asset for asset in used if asset.item_id == used[0].item_id]
    height, width = max(asset.height for asset in first), max(asset.width for asset in first)
    assets = tuple(
        replace(asset, crs=None, transform=(width / asset.width, 0.0, 0.0, 0.0, height / asset.height, 0.0))
        for asset in plan.assets
    )
    step = max(height / size[0], width / size[1], 1.0)
    shape = max(round(height / step), 1), max(round(width / step), 1)
    box = GeoBox(None, (step, 0.0, 0.0, 0.0, step, 0.0), *shape)
    return PicturePlan(replace(plan, assets=assets), box, tuple(band_names(plan)), rank)


def picture_box(assets: Iterable[PlannedAsset], size: tuple[int, int]) -> GeoBox:
    """Give the grid of a picture of some files, north up: one CRS, and square pixels, none finer than the files'.

    In longitude and latitude, pixels are square on the ground in the middle of the picture.

    Args:
        assets: the files, which have a CRS and a transform; at least one.
        size: (height, width) in pixels, at most; it has fewer where the files have.

    Raises:
        InvalidArgumentError: the files cannot be brought into one CRS.
    """
    counts = Counter((str(asset.crs), asset.transform, bounds_of(asset)) for asset in assets)
    areas = {(crs, bounds) for crs, _, bounds in counts}
    crs = _common_crs([crs for crs, _, _ in counts.elements()], areas)
    xmin, ymin, xmax, ymax = joint_bounds(areas, crs)
    shrink = 1.0
    if revolution_of(crs) is not None:
        shrink = max(math.cos(math.radians((ymin + ymax) / 2)), 0.05)
        shrink = shrink if shrink < _SQUARE_FROM else 1.0
    sizes = [_pixel_size(*each, crs, shrink) for each in counts]
    finest = min(filter(math.isfinite, sizes), default=0.0)
    pixel = max((xmax - xmin) * shrink / size[1], (ymax - ymin) / size[0], finest)
    # The centres of the last pixels are inside, as those of all others are.
    width, height = (max(round(length), 1) for length in ((xmax - xmin) * shrink / pixel, (ymax - ymin) / pixel))
    return GeoBox(crs, (pixel / shrink, 0.0, xmin, 0.0, -pixel, ymax), height, width)


def _common_crs(codes: Iterable[str], areas: Collection[tuple[str, Bounds]]) -> str:
    """Give the CRS of all files, or one that shows them together.

    Args:
        codes: the CRS of each file.
        areas: CRS and bounds of the files.
    """
    counts: Counter[str] = Counter()
    for code, number in sorted(Counter(codes).items()):
        counts[next((crs for crs in counts if same_crs(crs, code)), code)] += number
    ((most, _),) = counts.most_common(1)
    if len(counts) == 1:
        return most
    try:
        west, south, east, north = joint_bounds(areas, LONLAT)
    except InvalidArgumentError:
        return most
    if east - west <= _WIDEST_OF_ZONES:
        return most
    is_mercator = south >= -_LAST_PARALLEL and north <= _LAST_PARALLEL and east <= 180
    return _WEB_MERCATOR if is_mercator else LONLAT


def _pixel_size(file_crs: str, transform: Any, bounds: Bounds, crs: str, shrink: float) -> float:
    """Give the size of a file's pixels in the units of a CRS; NaN where it has no place there."""
    across, down = abs(transform[0]), abs(transform[4])
    if not same_crs(file_crs, crs):
        xmin, ymin, xmax, ymax = bounds
        across, down = pixel_size_in(crs, file_crs, transform, (xmin + xmax) / 2, (ymin + ymax) / 2)
    # Pixels that are long on purpose keep their detail; those that are long for their latitude have less than it seems.
    return float(min(across, down) if shrink == 1 else max(across * shrink, down))
