"""The pixels of files that lie in geometries, read in one go: each tile is fetched and decoded once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.geo.inside import Outline
from rasteret_sql.geo.touched import ProjectedGeometries, tiles_touched_by_each
from rasteret_sql.plan.cube import check_no_second
from rasteret_sql.plan.tiles import Cells, Windows
from rasteret_sql.read.windows import Target, read_windows
from rasteret_sql.tiff.nodata import fill_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import Lattice, PlannedAsset, PlannedBand
    from rasteret_sql.plan.tiles import WindowPlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.windows import OnFailure

    Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cell:
    """One band of one file in the window of one geometry.

    Attributes:
        zone: number of the geometry.
        asset_no: number of the file.
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
    """A geometry in pixels of a grid, its window, and (row, col) of the tiles that it touches."""

    geometry: Any
    row_off: int
    col_off: int
    row_end: int
    col_end: int
    tiles: Rows


class ZoneLayout:
    """The windows of geometries in files.

    Args:
        assets: the files, each at the level that is read.
        geometries: array of Shapely geometries, shape (zone,).
        crs: of the geometries.
        all_touched: which pixels are inside a polygon; see `Outline.inside`.

    Attributes:
        assets: the files.
        cells: what is read, by geometry, item in the order of the files, and band as requested. A file that a geometry
            does not touch has none.

    Raises:
        InvalidArgumentError: two files claim one band of an item.
    """

    def __init__(
        self, assets: Sequence[PlannedAsset], geometries: npt.NDArray[Any], crs: str, *, all_touched: bool = False
    ) -> None:
        self.assets = assets
        self._all_touched = all_touched
        check_no_second(assets, attrgetter("item"), "href")
        self._lattice_of = [asset.lattice for asset in assets]
        self._places = _find_places(set(self._lattice_of), geometries, crs)
        items: dict[Any, int] = {}
        numbered = [
            (zone, items.setdefault(asset.item, len(items)), asset_no, place)
            for asset_no, asset in enumerate(assets)
            for zone, place in self._places[self._lattice_of[asset_no]].items()
        ]
        cells = [
            ((zone, item, band.position, asset_no, band.band), Cell(
                zone, asset_no, band, place.row_off, place.col_off,
                place.row_end - place.row_off, place.col_end - place.col_off,
            ))
            for zone, item, asset_no, place in numbered
            for band in assets[asset_no].bands
        ]  # fmt: skip
        self.cells = [cell for _, cell in sorted(cells, key=lambda pair: pair[0])]

    def windows(self) -> Windows:
        """Give the windows of all cells, each with the tiles that its geometry touches."""
        tiles = [self._place(cell).tiles for cell in self.cells]
        owner = np.repeat(np.arange(len(tiles)), [len(each) for each in tiles])
        row, col = np.concatenate(tiles).T
        asset_no = np.array([cell.asset_no for cell in self.cells], np.int64)
        return Windows(asset_no, [cell.band for cell in self.cells], Cells(owner, row, col))

    def read(
        self,
        planned: WindowPlan,
        pixels: Sequence[npt.NDArray[Any]],
        masks: Sequence[npt.NDArray[np.bool_]],
        options: ReadOptions | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        """Read the windows of all cells.

        Args:
            planned: the plan of `windows()`.
            pixels: one array (height, width) per cell, of the dtype of its file. Pixels of tiles that the geometry
                does not touch get nodata, or 0 for a band without.
            masks: booleans of the same shapes, True means valid and inside the geometry.
            options: limits of the read.
            on_failure: called with each file and error; see `WindowReader.read`.

        Raises:
            RasteretError: bytes could not be fetched or decoded, and there is no `on_failure`.
        """
        targets = [
            Target(array, mask, cell.row_off, cell.col_off, fill_value(array.dtype, cell.band.nodata))
            for cell, array, mask in zip(self.cells, pixels, masks, strict=True)
        ]
        read_windows(planned, targets, options, on_failure)
        inside: tuple[Any, npt.NDArray[np.bool_]] | None = None
        for number in sorted(range(len(self.cells)), key=self._inside_key):
            cell = self.cells[number]
            key = self._inside_key(number)
            if inside is None or inside[0] != key:
                inside = key, self._inside(cell)
            masks[number][...] &= inside[1]

    def _place(self, cell: Cell) -> _Place:
        return self._places[self._lattice_of[cell.asset_no]][cell.zone]

    def _inside_key(self, number: int) -> tuple[int, int]:
        """Cells of one key have the same pixels inside."""
        cell = self.cells[number]
        return cell.zone, id(self._place(cell))

    def _inside(self, cell: Cell) -> npt.NDArray[np.bool_]:
        window = cell.row_off, cell.col_off, cell.height, cell.width
        return Outline.of(self._place(cell).geometry).inside(window, all_touched=self._all_touched)


def _find_places(lattices: set[Lattice], geometries: npt.NDArray[Any], crs: str) -> dict[Lattice, dict[int, _Place]]:
    """Give, for each lattice, the geometries that touch it, by number."""
    projected = ProjectedGeometries(geometries, crs)
    places: dict[Lattice, dict[int, _Place]] = {}
    for lattice in lattices:
        raster_crs, transform, height, width, tile_height, tile_width = lattice
        # The planner refuses files without either where an area is given.
        assert raster_crs is not None
        assert transform is not None
        shape = height, width
        found = places[lattice] = {}
        zones, placed, windows = projected.place(raster_crs, transform, shape)
        number, tiles = tiles_touched_by_each(placed, windows, (tile_height, tile_width), shape)
        bounds = np.searchsorted(number, np.arange(len(zones) + 1)).tolist()
        for each in np.unique(number).tolist():
            row_off, col_off, row_end, col_end = windows[each].tolist()
            mine = tiles[bounds[each] : bounds[each + 1]]
            found[int(zones[each])] = _Place(placed[each], row_off, col_off, row_end, col_end, mine)
    return places
