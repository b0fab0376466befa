"""What a picture reads: rows of an index or of `read_tiles`, the bands of them, the grid, and who lies on top."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.arrays.cubes import _check_area, _check_no_area, _onto
from rasteret_sql.arrays.given_tiles import holds_tiles, plan_given_tiles
from rasteret_sql.errors import InvalidArgumentError, InvalidIndexError
from rasteret_sql.index.folders import index_files, index_reader, is_glob, is_many
from rasteret_sql.index.hrefs import is_url
from rasteret_sql.index.sqlfiles import quote_identifier, quote_literal, sql_file
from rasteret_sql.output.picture_bands import KnownAsset, KnownBand, choose_bands
from rasteret_sql.output.picture_grid import Extent, flat_box, picture_box
from rasteret_sql.output.picture_pixels import band_names, with_bands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb
    import numpy.typing as npt

    from rasteret_sql.geo.geobox import GeoBox
    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.sql.planning import PlannedTiles

#: Files that one picture is made of; planning more takes seconds, and nobody sees them all.
MAX_FILES: Final = 3000
_PLACED: Final = "crs IS NOT NULL AND transform IS NOT NULL"
_COLUMNS: Final = "collection, item_id, asset, datetime, crs, transform, row_off, col_off, row_end, col_end"
#: Where the index has it, items are laid on top of each other by it.
_CLOUDS: Final = "eo:cloud_cover"


@dataclass(frozen=True, slots=True, eq=False)
class PicturePlan:
    """What is read.

    Attributes:
        plan: the tiles.
        box: the grid.
        bands: names, in the order in which they are shown.
        rank: of each asset of the plan; items of a lower one lie on top.
        is_given: whether the tiles are rows of `read_tiles`, so that nothing is fetched.
        notes: what a user should know.
    """

    plan: TilePlan
    box: GeoBox
    bands: tuple[str, ...]
    rank: npt.NDArray[np.int64]
    is_given: bool = False
    notes: tuple[str, ...] = ()


def plan_picture(
    index: Any,
    arguments: ReadArguments,
    *,
    connection: duckdb.DuckDBPyConnection | None,
    where: str | None,
    items: Sequence[str] | None,
    size: tuple[int, int],
) -> PicturePlan:
    """Plan a picture; nothing is fetched.

    Args:
        index: rows of an index, or of `read_tiles`.
        arguments: bands, area and time; its `index` is not looked at.
        connection: where tables and queries that `index` names are found.
        where: SQL condition on the rows of an index, or None.
        items: ids of the items that are shown; None for all.
        size: (height, width) in pixels, at most.

    Raises:
        InvalidArgumentError: an argument is wrong, or leaves too much for a picture.
        InvalidIndexError: `index` holds no rows of an index.
        EmptyReadError: nothing is left to show.
    """
    from rasteret_sql.sql.readers import planning_cursor

    _check_area(arguments)
    if isinstance(index, os.PathLike):
        index = os.fspath(index)
    if connection is not None and isinstance(index, str):
        index = _relation(connection, index)
    if holds_tiles(index):
        if where is not None or items is not None:
            name = "where" if where is not None else "item"
            raise InvalidArgumentError(
                f"{name}: got one with rows of read_tiles, expected none; say it in the query that makes them"
            )
        _check_no_area(arguments, has_grid=False)
        return _of_tiles(plan_given_tiles(index), arguments.bands, size)
    with planning_cursor(index) as cursor:
        return _IndexPlanner(cursor, index, arguments, size).plan(where, items)


def _relation(connection: duckdb.DuckDBPyConnection, index: str) -> Any:
    """Give a table or a query as the connection sees it; a path stays as it is."""
    import duckdb

    from rasteret_sql.index.select_text import message_of, require_select
    from rasteret_sql.sql.planning import _PATH, is_query

    if not is_query(index) and (_PATH.search(index) or is_many(index)):
        return index
    try:
        return connection.sql(require_select(connection, index if is_query(index) else f"FROM {index}", "index"))
    except duckdb.Error as error:
        raise InvalidIndexError(f"index: the query does not run: {message_of(error)}") from error


def index_rows(index: str) -> str:
    """Give SQL for the rows of an index that a path or URL names, with hrefs that need no folder.

    Raises:
        InvalidIndexError: there is no such file.
    """
    return _rows_of(index)[1]


class _IndexPlanner:
    """Plans a picture of the rows of an index."""

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, index: Any, arguments: ReadArguments, size: tuple[int, int]
    ) -> None:
        self._cursor, self._index, self._size = cursor, index, size
        self._arguments = arguments
        self._notes: list[str] = []

    def plan(self, where: str | None, items: Sequence[str] | None) -> PicturePlan:
        import duckdb

        from rasteret_sql.sql.planning import explained

        self._show_rows(where, items)
        try:
            self._list_assets()
            return self._planned()
        except duckdb.Error as error:
            name = self._arguments.index
            raise explained(self._cursor, name, quote_identifier(name), error) from error

    def _show_rows(self, where: str | None, items: Sequence[str] | None) -> None:
        """Make a view of the rows that are left, with hrefs that need no folder."""
        import duckdb

        from rasteret_sql.index.select_text import message_of, nested, require_condition, require_select
        from rasteret_sql.sql.planning import is_query
        from rasteret_sql.sql.readers import _shown

        name, rows, is_ordered = "query", self._index, True
        if not isinstance(rows, str):
            rows = _shown(self._cursor, rows, self._arguments, with_properties=True).index
        else:
            if is_query(rows):
                require_select(self._cursor, rows, "index")
            name, rows, is_ordered = _rows_of(rows)
        conditions = []
        if where is not None:
            conditions = [nested(require_condition(self._cursor, where, "where", error=InvalidArgumentError))]
        if items is not None:
            conditions.append(f"item_id IN ({', '.join(map(quote_literal, items))})")
        if self._arguments.bbox is not None or self._arguments.geometry is not None:
            # What is nowhere on Earth is in no area.
            conditions.append(_PLACED)
        chosen = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        try:
            selected = f"SELECT * FROM {rows}{chosen}"  # noqa: S608 - the condition is the caller's own SQL
            self._cursor.execute(f"CREATE OR REPLACE TEMP VIEW {quote_identifier(name)} AS {selected}")
        except duckdb.Error as error:
            if where is not None:
                raise InvalidArgumentError(
                    f"where: {where!r} does not run: {message_of(error)}; expected a condition on columns of the index"
                ) from error
            raise InvalidIndexError(
                f"index: {name} cannot be read: {message_of(error)}; expected one made by rasteret_sql.build_index or "
                "`rasteret-sql build`"
            ) from error
        self._arguments = replace(self._arguments, index=name, is_ordered=is_ordered)

    def _list_assets(self) -> None:
        """Make a table of the files that are left, at full resolution, and choose the bands where nobody did."""
        from rasteret_sql.sql.catalog import CATALOG
        from rasteret_sql.sql.planning import _PASSED, _parameters

        name = quote_identifier(self._arguments.index)
        self._cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE picture_assets AS SELECT {_COLUMNS} "  # noqa: S608 - constants
            f"FROM {CATALOG}.main._rst_asset_plan{_PASSED}",
            _parameters(self._arguments, name),
        )
        if self._arguments.bands is None:
            known = _known_assets(self._cursor, name)
            if known:
                bands = choose_bands(known)
                used = {each.asset for each in known if any(each.label(band) in bands for band in each.bands)}
                listed = ", ".join(map(quote_literal, sorted(used)))
                self._cursor.execute(f"DELETE FROM picture_assets WHERE asset NOT IN ({listed})")  # noqa: S608
                self._arguments = replace(self._arguments, bands=bands)
        ((files, items),) = self._cursor.execute(
            "SELECT count(*), count(DISTINCT (collection, item_id)) FROM picture_assets"
        ).fetchall()
        if files > MAX_FILES:
            raise InvalidArgumentError(
                f"index: {files:,} files of {items:,} items are left for one picture, expected {MAX_FILES:,} at most; "
                "choose with bbox, datetime, where or item"
            )

    def _planned(self) -> PicturePlan:
        extents = [
            Extent(crs, tuple(transform), *window)
            for crs, transform, *window in self._cursor.execute(
                "SELECT crs, transform, row_off, col_off, row_end, col_end, count(*) FROM picture_assets "
                "WHERE crs IS NOT NULL AND transform[1] IS NOT NULL GROUP BY ALL ORDER BY ALL"
            ).fetchall()
        ]
        ((count,),) = self._cursor.execute("SELECT count(*) FROM picture_assets").fetchall()
        if not extents:
            return self._flat()
        if sum(extent.count for extent in extents) < count:
            missing = count - sum(extent.count for extent in extents)
            self._notes.append(f"{missing:,} files without a CRS are left out")
            self._narrow(_PLACED)
        box = picture_box(extents, self._size)
        planned = self._plan_tiles(_onto(self._arguments, box, {"*": "average"}))
        names = band_names(planned.plan)
        return PicturePlan(planned.plan, box, tuple(names), self._rank(planned), notes=tuple(self._notes))

    def _flat(self) -> PicturePlan:
        """Plan a picture of the first item, where no file has a place on Earth."""
        rows = self._cursor.execute(
            "SELECT item_id, count(DISTINCT item_id) OVER () FROM picture_assets ORDER BY datetime, item_id LIMIT 1"
        ).fetchall()
        level = None
        if rows:
            item, count = rows[0]
            if count > 1:
                self._notes.append(f"the files have no CRS: the first of {count:,} items is shown")
            self._narrow(f"item_id = {quote_literal(item)}")
            level = self._flat_level()
        planned = self._plan_tiles(replace(self._arguments, level=level))
        return replace(_on_pixels(planned, self._size), notes=tuple(self._notes))

    def _flat_level(self) -> int:
        """Give the coarsest level that all files have with as many pixels as are wanted."""
        rows = self._cursor.execute(
            "SELECT list_transform(levels, lambda each: [each.height, each.width]) "  # noqa: S608 - quoted
            f"FROM {quote_identifier(self._arguments.index)} WHERE asset IN (SELECT asset FROM picture_assets)"
        ).fetchall()
        fine = []
        for (shapes,) in rows:
            enough = [any(map(operator.ge, shape, self._size)) for shape in shapes]
            fine.append(max(sum(enough) - 1, 0))
        return min(fine, default=0)

    def _narrow(self, condition: str) -> None:
        """Leave fewer rows."""
        old = quote_identifier(self._arguments.index)
        self._cursor.execute(f"CREATE OR REPLACE TEMP VIEW narrowed AS SELECT * FROM {old} WHERE {condition}")  # noqa: S608
        self._arguments = replace(self._arguments, index="narrowed")

    def _plan_tiles(self, arguments: ReadArguments) -> PlannedTiles:
        from rasteret_sql.sql.planning import plan_tiles

        return plan_tiles(self._cursor, arguments, with_properties=True, must_find=True)

    def _rank(self, planned: PlannedTiles) -> npt.NDArray[np.int64]:
        assets, properties = planned.plan.assets, planned.properties
        assert properties is not None
        if self._arguments.is_ordered:
            return properties.position
        clouds = np.zeros(len(assets))
        column = properties.columns.get(_CLOUDS)
        if column is not None and column.dtype.kind in "iuf":
            clouds = np.ma.masked_array(column, dtype=np.float64).filled(np.inf)
        latest = np.iinfo(np.int64).max
        times = np.array([latest if asset.datetime_us is None else asset.datetime_us for asset in assets], np.int64)
        rank = np.empty(len(assets), np.int64)
        rank[np.lexsort((np.arange(len(assets)), times, clouds))] = np.arange(len(assets))
        return rank


def _rows_of(index: str) -> tuple[str, str, bool]:
    """Give a name for an index that is named by a text, SQL for its rows, and whether their order means something."""
    from rasteret_sql.sql.planning import _PATH, is_query
    from rasteret_sql.sql.readers import _check_local

    if is_query(index):
        return "query", f"({index.strip().rstrip(';')}\n)", True
    _check_local(index)
    if not is_url(index) and (is_many(index) or len(files := index_files(index)) > 1):
        return "index", index_reader(index_files(index)), False
    if is_url(index) and is_glob(index):
        return "index", index_reader([index]), False
    path = index if is_url(index) else files[0]
    reader = f"read_parquet({quote_literal(path)}, hive_partitioning = false, filename = true)"
    text = sql_file("index/many_files.sql").replace("FROM $files", f"FROM {reader}")
    name = os.path.basename(path.partition("?")[0])  # noqa: PTH119 - URLs too
    return (name if _PATH.search(name) else "index"), f"({text})", False


def _known_assets(cursor: duckdb.DuckDBPyConnection, name: str) -> list[KnownAsset]:
    rows = cursor.execute(
        "SELECT collection::VARCHAR, asset, dtype, formats[1].photometric, "  # noqa: S608 - quoted
        "list_transform(bands, lambda each: (each.band, each.name, each.common_name, each.is_alpha)), count(*) "
        f"FROM {name} AS index_rows SEMI JOIN picture_assets AS left_over "
        "ON left_over.collection IS NOT DISTINCT FROM index_rows.collection::VARCHAR "
        "AND left_over.item_id = index_rows.item_id AND left_over.asset = index_rows.asset "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [
        KnownAsset(
            collection,
            asset,
            dtype,
            photometric,
            tuple(KnownBand(*band[:3]) for band in map(_values, bands) if not band[3]),
            len(bands) == 1,
            count,
        )
        for collection, asset, dtype, photometric, bands, count in rows
    ]


def _values(struct: Any) -> Sequence[Any]:
    """Give the fields of a struct without names, of which DuckDB makes a tuple or a mapping."""
    from collections.abc import Mapping

    return list(struct.values()) if isinstance(struct, Mapping) else struct


def _of_tiles(planned: PlannedTiles, bands: Sequence[str] | None, size: tuple[int, int]) -> PicturePlan:
    """Plan a picture of rows of `read_tiles`."""
    plan = planned.plan
    names = list(bands) if bands is not None else _chosen_names(plan)
    known = band_names(plan)
    missing = [name for name in names if name not in known]
    if missing:
        raise InvalidArgumentError(f"bands: got {', '.join(missing)}, expected some of {', '.join(known)}")
    plan = with_bands(plan, names)
    planned = replace(planned, plan=plan)
    used = [plan.assets[number] for number in np.unique(plan.asset_no).tolist()]
    if any(asset.crs is None or asset.transform is None for asset in used):
        return replace(_on_pixels(planned, size), bands=tuple(names), is_given=True)
    extents = [_extent(asset) for asset in used]
    rank = planned.properties.position if planned.properties is not None else np.zeros(len(plan.assets), np.int64)
    return PicturePlan(plan, picture_box(extents, size), tuple(names), rank, is_given=True)


def _chosen_names(plan: TilePlan) -> list[str]:
    """Choose bands of rows of tiles, which know their names alone."""
    known: dict[tuple[str | None, str], tuple[PlannedAsset, dict[str, None]]] = {}
    for asset in plan.assets:
        _, names = known.setdefault((asset.collection, asset.asset), (asset, {}))
        names |= dict.fromkeys(band.name for band in asset.bands if band.band != asset.alpha_band)
    by_label: dict[str, str] = {}
    assets = []
    for (collection, key), (asset, names) in known.items():
        bands = tuple(KnownBand(number + 1, name.rpartition(":")[2], None) for number, name in enumerate(names))
        each = KnownAsset(collection, key, asset.dtype, None, bands, len(bands) == 1, 1)
        by_label |= {each.label(band): name for band, name in zip(bands, names, strict=True)}
        assets.append(each)
    return [by_label[label] for label in choose_bands(assets)]


def _extent(asset: PlannedAsset) -> Extent:
    assert asset.crs is not None
    assert asset.transform is not None
    return Extent(asset.crs, asset.transform, asset.row_off, asset.col_off, asset.row_end, asset.col_end)


def _on_pixels(planned: PlannedTiles, size: tuple[int, int]) -> PicturePlan:
    """Plan a picture of files without a place on Earth: in pixels of the largest, the first item's on top.

    Each is shown from its first pixel on, at the size of the largest.
    """
    plan = planned.plan
    used = [plan.assets[number] for number in np.unique(plan.asset_no).tolist()]
    first = [asset for asset in used if asset.item_id == used[0].item_id]
    height, width = max(asset.height for asset in first), max(asset.width for asset in first)
    pixels: Mapping[int, tuple[float, float, float, float, float, float]] = {
        id(asset): (width / asset.width, 0.0, 0.0, 0.0, height / asset.height, 0.0) for asset in plan.assets
    }
    assets = tuple(replace(asset, crs=None, transform=pixels[id(asset)]) for asset in plan.assets)
    plan = replace(plan, assets=assets)
    rank = planned.properties.position if planned.properties is not None else np.zeros(len(assets), np.int64)
    return PicturePlan(plan, flat_box(height, width, size), tuple(band_names(plan)), rank)
