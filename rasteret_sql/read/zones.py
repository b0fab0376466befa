"""Which pixels of which files lie in some geometries, and the reading of them: each tile once for all geometries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.geo.crs import revolution_of
from rasteret_sql.geo.inside import pixels_inside
from rasteret_sql.geo.touched import ProjectedGeometries, tiles_touched
from rasteret_sql.io.stores import redact
from rasteret_sql.read.windows import Target, WindowReader
from rasteret_sql.tiff.nodata import fill_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.windows import OnFailure

    Rows = npt.NDArray[np.int64]

#: Areas that a read is planned with. A geometry lies in one of them; more would take longer to plan than they save.
_PLANNED_AREAS = 24
_NO_TILES = ((0, 0), np.empty((0, 0), np.int64))

_Lattice = tuple[str | None, tuple[float, ...] | None, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """One band of one file in the window of one geometry.

    Attributes:
        zone: number of the geometry.
        asset_no: the file, in the plan's assets.
        band: the band.
        row_off, col_off, height, width: the window in pixels of the level.
    """

    zone: int
    asset_no: int
    band: PlannedBand
    row_off: int
    col_off: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A geometry in pixels of a lattice, its window, and the numbers (row, col) of the tiles that it touches."""

    geometry: Any
    row_off: int
    col_off: int
    row_end: int
    col_end: int
    tiles: Rows


class ZoneLayout:
    """The windows of geometries in the files of a plan.

    Args:
        plan: the tiles that all geometries need.
        geometries: array of Shapely geometries, shape (zone,).
        crs: of the geometries.
        all_touched: which pixels are inside a polygon; see `pixels_inside`.

    Attributes:
        cells: what is read, by geometry, item in the order of the plan, and band as asked for. There is none of a file
            that a geometry does not touch.

    Raises:
        InvalidArgumentError: two files claim one band of an item.
    """

    def __init__(self, plan: TilePlan, geometries: npt.NDArray[Any], crs: str, *, all_touched: bool = False) -> None:
        self._plan = plan
        self._all_touched = all_touched
        _check_alone(plan.assets)
        self._lattice_of = [_lattice(asset) for asset in plan.assets]
        self._places = _find_places(set(self._lattice_of), geometries, crs)
        items: dict[Any, int] = {}
        numbered = [
            (zone, items.setdefault((asset.collection, asset.item_id, asset.datetime_us), len(items)), asset_no, place)
            for asset_no, asset in enumerate(plan.assets)
            for zone, place in self._places[self._lattice_of[asset_no]].items()
        ]
        cells = [
            ((zone, item, band.position, asset_no, band.band), Cell(
                zone, asset_no, band, place.row_off, place.col_off,
                place.row_end - place.row_off, place.col_end - place.col_off,
            ))
            for zone, item, asset_no, place in numbered
            for band in plan.assets[asset_no].bands
        ]  # fmt: skip
        self.cells = [cell for _, cell in sorted(cells, key=lambda pair: pair[0])]

    def read(
        self,
        pixels: Sequence[npt.NDArray[Any]],
        masks: Sequence[npt.NDArray[np.bool_]],
        options: ReadOptions | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        """Read the windows of all cells.

        Args:
            pixels: one array (height, width) per cell, of the dtype of its file. What lies in tiles that the geometry
                does not touch gets nodata, or 0 for a band without.
            masks: booleans of the same shapes, True means valid and inside the geometry.
            options: bounds of the read.
            on_failure: told of each file and error; see `WindowReader.read`.

        Raises:
            RasteretError: bytes could not be fetched or decoded, and there is no `on_failure`.
        """
        rows_of = _rows_by_tile(self._plan)
        targets, rows = [], []
        for number, cell in enumerate(self.cells):
            fill = fill_value(pixels[number].dtype, cell.band.nodata)
            targets.append(Target(pixels[number], masks[number], cell.row_off, cell.col_off, fill))
            tiles = self._place(cell).tiles
            rows.append(self._rows(cell, rows_of.get((cell.asset_no, cell.band.band), _NO_TILES), tiles))
        taken = np.concatenate(rows)
        target_of = np.repeat(np.arange(len(rows)), [len(found) for found in rows])
        # In file order, so that tiles that lie side by side are asked for at the same time.
        order = np.lexsort((self._plan.tile_offset[taken], self._plan.asset_no[taken]))
        WindowReader(self._plan.take(taken[order]), targets, target_of[order]).read(options, on_failure)
        inside: tuple[Any, npt.NDArray[np.bool_]] | None = None
        for number in sorted(range(len(self.cells)), key=self._inside_key):
            cell = self.cells[number]
            key = self._inside_key(number)
            if inside is None or inside[0] != key:
                inside = key, self._inside(cell)
            masks[number][...] &= inside[1]

    def _rows(self, cell: Cell, of_file: tuple[tuple[int, int], Rows], tiles: Rows) -> Rows:
        corner, grid = of_file
        places = tiles - corner
        rows = np.full(len(tiles), -1, np.int64)
        is_near = np.all((places >= 0) & (places < grid.shape), axis=1)
        rows[is_near] = grid[places[is_near, 0], places[is_near, 1]]
        if rows.min() < 0:
            tile_row, tile_col = tiles[rows.argmin()].tolist()
            raise RasteretError(
                f"{self._plan.assets[cell.asset_no].describe_tile(tile_row, tile_col)}: geometry number {cell.zone} "
                "touches it, and it is not in the plan, expected it there; read this geometry by itself"
            )
        return rows

    def _place(self, cell: Cell) -> _Place:
        return self._places[self._lattice_of[cell.asset_no]][cell.zone]

    def _inside_key(self, number: int) -> tuple[int, int]:
        """Cells of one key have the same pixels inside."""
        cell = self.cells[number]
        return cell.zone, id(self._place(cell))

    def _inside(self, cell: Cell) -> npt.NDArray[np.bool_]:
        import shapely

        corner = cell.col_off, cell.row_off
        shifted = shapely.transform(self._place(cell).geometry, lambda points: points - corner)
        return pixels_inside(shifted, (cell.height, cell.width), all_touched=self._all_touched)


def planning_area(geometries: npt.NDArray[Any], crs: str) -> Any:
    """Give a simple geometry that holds all geometries, or None where there are none.

    Those that lie near each other share a box; the boxes are as few as a plan can take.
    """
    import shapely

    bounds = shapely.bounds(geometries)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    if not len(bounds):
        return None
    revolution = revolution_of(crs)
    # A centimetre, so that points and upright lines have an area, and rounding leaves no tile out.
    edge = 0.01 if revolution is None else 1e-7 * revolution / 360
    middles = (bounds[:, :2] + bounds[:, 2:]) / 2
    origin, span = middles.min(axis=0), max(np.ptp(middles, axis=0).max(), edge)
    cells_across = min(len(bounds), _PLANNED_AREAS)
    while True:
        places = np.floor((middles - origin) / span * cells_across).astype(np.int64)
        number = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
        if number.max() < _PLANNED_AREAS:
            break
        cells_across //= 2
    boxes = []
    for one in range(number.max() + 1):
        xmin, ymin = bounds[number == one, :2].min(axis=0) - edge
        xmax, ymax = bounds[number == one, 2:].max(axis=0) + edge
        boxes.append(shapely.box(xmin, ymin, xmax, ymax))
    return shapely.union_all(boxes)


def _lattice(asset: PlannedAsset) -> _Lattice:
    form = asset.format
    return asset.crs, asset.transform, asset.height, asset.width, form.tile_height, form.tile_width


def _find_places(lattices: set[_Lattice], geometries: npt.NDArray[Any], crs: str) -> dict[_Lattice, dict[int, _Place]]:
    """Give, for each lattice, the geometries that touch it, by number."""
    projected = ProjectedGeometries(geometries, crs)
    places: dict[_Lattice, dict[int, _Place]] = {}
    for lattice in lattices:
        raster_crs, transform, height, width, tile_height, tile_width = lattice
        # The planner refuses files without either where an area is given.
        assert raster_crs is not None
        assert transform is not None
        shape = height, width
        found = places[lattice] = {}
        for zone, geometry, window in zip(*projected.place(raster_crs, transform, shape), strict=True):
            tiles = tiles_touched(geometry, window, (tile_height, tile_width), shape)
            if len(tiles):
                row_off, col_off, row_end, col_end = window.tolist()
                found[int(zone)] = _Place(geometry, row_off, col_off, row_end, col_end, tiles)
    return places


def _rows_by_tile(plan: TilePlan) -> dict[tuple[int, int], tuple[tuple[int, int], Rows]]:
    """Give, by asset number and band number, the first tile (row, col) and the plan row of each tile from there on."""
    order = np.lexsort((plan.band, plan.asset_no))
    keys = np.stack([plan.asset_no[order], plan.band[order]])
    starts = np.flatnonzero(np.concatenate(([True], (keys[:, 1:] != keys[:, :-1]).any(axis=0))))
    found = {}
    for rows in np.split(order, starts[1:]):
        tile_rows, tile_cols = plan.tile_row[rows], plan.tile_col[rows]
        corner = int(tile_rows.min()), int(tile_cols.min())
        grid = np.full((int(tile_rows.max()) - corner[0] + 1, int(tile_cols.max()) - corner[1] + 1), -1, np.int64)
        grid[tile_rows - corner[0], tile_cols - corner[1]] = rows
        found[int(plan.asset_no[rows[0]]), int(plan.band[rows[0]])] = corner, grid
    return found


def _check_alone(assets: Sequence[PlannedAsset]) -> None:
    owners: dict[Any, str] = {}
    for asset in assets:
        for band in asset.bands:
            here = f"band {band.band} of {redact(asset.href)}"
            key = asset.collection, asset.item_id, asset.datetime_us, band.name
            other = owners.setdefault(key, here)
            if other != here:
                raise InvalidArgumentError(
                    f'band "{band.name}" of item {asset.item_id}: got two, {other} and {here}, expected one; '
                    "tell them apart in the query, for example by their href"
                )
