"""Zones on the grids of files: which tiles and pixels lie in which zone, found once for all files on a grid."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.geo.crs import in_proj_thread
from rasteret_sql.geo.inside import Outline
from rasteret_sql.geo.outlines import Outlines
from rasteret_sql.geo.touched import ProjectedGeometries, tiles_touched_by_each

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.geo.inside import Window
    from rasteret_sql.plan.tile_plan import Lattice

    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

#: Bytes of pixel numbers of tiles that are kept for the next file on the same grid.
_CACHED_BYTES: Final = 1 << 26
#: Grids on which zones are kept.
_CACHED_GRIDS: Final = 8
#: Part of a pixel at the border of a tile that holds no centre of a pixel.
_BESIDE_CENTRES: Final = 0.25


@dataclass(slots=True, eq=False)
class PlacedZones:
    """Zones that touch a grid: numbers, geometries in pixels, windows, and the tiles of each.

    Attributes:
        zones: numbers of the zones, ascending.
        geometries: in pixels of the grid.
        windows: (row_off, col_off, row_end, col_end) of each.
        in_tile: places in `zones`, by (tile_row, tile_col).
        outlines: edges of the geometries; None until a pixel is looked for.
        whole: place in `zones`, and number of the tile, of each tile that lies in a zone as a whole, shape (2, n); None
            until it is looked for.
        in_all: whether each tile, row by row, lies as a whole in each zone that it touches; None likewise.
    """

    zones: Numbers
    geometries: npt.NDArray[Any]
    windows: Numbers
    in_tile: dict[tuple[int, int], list[int]]
    outlines: Outlines | None = None
    whole: Numbers | None = None
    in_all: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TilePixels:
    """The pixels of a tile that lie in zones, zone by zone.

    Attributes:
        zones: numbers of the zones that have pixels in the tile.
        starts: where the pixels of each begin in `pixels`.
        pixels: numbers of pixels in the tile, row by row.
        weights: of the pixels, or None.
    """

    zones: Numbers
    starts: Numbers
    pixels: npt.NDArray[np.int32]
    weights: Floats | None

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self.pixels.nbytes + (0 if self.weights is None else self.weights.nbytes) + self.zones.nbytes * 2


class ZoneGrids:
    """Zones on the grids of files.

    Args:
        geometries: array of Shapely geometries, shape (zone,); None and empty ones have no pixels.
        crs: of the geometries.
        is_weighted: whether pixels are weighed by the part of them that a polygon covers.
        all_touched: without weights, whether all pixels count of which a polygon covers some part.
    """

    def __init__(self, geometries: npt.NDArray[Any], crs: str, *, is_weighted: bool, all_touched: bool) -> None:
        self._projected = ProjectedGeometries(geometries, crs)
        self._is_weighted, self._all_touched = is_weighted, all_touched
        self._placed: OrderedDict[Lattice, PlacedZones] = OrderedDict()
        self._pixels: OrderedDict[tuple[Any, ...], TilePixels] = OrderedDict()
        self._cached_bytes = 0

    def place(self, grid: Lattice) -> PlacedZones:
        """Find the zones that touch a grid."""
        placed = self._placed.get(grid)
        if placed is None:
            placed = self._placed[grid] = self._find(grid)
            while len(self._placed) > _CACHED_GRIDS:
                self._placed.popitem(last=False)
        self._placed.move_to_end(grid)
        return placed

    def _find(self, grid: Lattice) -> PlacedZones:
        raster_crs, transform, height, width, tile_height, tile_width = grid
        # The planner refuses files without either where an area is given.
        assert raster_crs is not None
        assert transform is not None
        zones, geometries, windows = in_proj_thread(self._projected.place)(raster_crs, transform, (height, width))
        number, tiles = tiles_touched_by_each(geometries, windows, (tile_height, tile_width), (height, width))
        # The bounds of the others touch the grid, and they themselves do not.
        touches, place = np.unique(number, return_inverse=True)
        in_tile: dict[tuple[int, int], list[int]] = {}
        for each, tile in zip(place.tolist(), map(tuple, tiles.tolist()), strict=True):
            in_tile.setdefault(tile, []).append(each)
        return PlacedZones(np.asarray(zones, np.int64)[touches], geometries[touches], windows[touches], in_tile)

    def are_whole(self, grid: Lattice, tiles: Numbers) -> npt.NDArray[np.bool_]:
        """Say which tiles, by their numbers row by row, lie as a whole in each zone that they touch."""
        placed = self.place(grid)
        if placed.in_all is None:
            _, _, height, width, tile_height, tile_width = grid
            across = -(-width // tile_width)
            placed.in_all = np.zeros(-(-height // tile_height) * across, np.bool_)
            for number, count in zip(*np.unique(self.whole_tiles(grid)[1], return_counts=True), strict=True):
                placed.in_all[number] = count == len(placed.in_tile[divmod(int(number), across)])
        return placed.in_all[tiles]

    def whole_tiles(self, grid: Lattice) -> Numbers:
        """Find the tiles that lie in a zone as a whole.

        Returns:
            For each of them the place of the zone in `PlacedZones.zones`, ascending, and the number of the tile, row by
            row; shape (2, n).
        """
        placed = self.place(grid)
        if placed.whole is None:
            _, _, height, width, *tile_shape = grid
            across = -(-width // tile_shape[1])
            first, end = -(-placed.windows[:, :2] // tile_shape), placed.windows[:, 2:] // tile_shape
            # Tiles at the right and bottom edges of an image may be cut off there.
            end = np.where(placed.windows[:, 2:] == (height, width), -(-placed.windows[:, 2:] // tile_shape), end)
            found = [np.empty((2, 0), np.int64)]
            for number in np.flatnonzero((first < end).all(axis=1)).tolist():
                (row, col), (down, wide) = first[number].tolist(), (end[number] - first[number]).tolist()
                rows, cols = np.nonzero(self._whole_in(placed, number, (row, col, down, wide), grid))
                tiles = (rows + row) * across + cols + col
                found.append(np.stack([np.full(len(tiles), number), tiles]))
            placed.whole = np.concatenate(found, axis=1)
        return placed.whole

    def _whole_in(self, placed: PlacedZones, number: int, tiles: Window, grid: Lattice) -> npt.NDArray[np.bool_]:
        """Say which tiles of a window of tiles lie in a zone as a whole."""
        import shapely

        _, _, height, width, tile_height, tile_width = grid
        tile_shape, shape, geometry = (tile_height, tile_width), (height, width), placed.geometries[number]
        if self._is_weighted:
            return Outline.of(shapely.make_valid(geometry)).whole_tiles(tiles, tile_shape, shape)
        # Edges that stay away from all centres of pixels decide about none.
        return Outline.of(geometry).whole_tiles(tiles, tile_shape, shape, margin=_BESIDE_CENTRES)

    def pixels_in(self, grid: Lattice, place: tuple[int, int]) -> TilePixels:
        """Find the pixels of a tile, by its (tile_row, tile_col), that lie in zones."""
        key = (*grid, *place)
        found = self._pixels.get(key)
        if found is None:
            found = self._pixels[key] = self._find_pixels(grid, place)
            self._cached_bytes += found.nbytes
            while len(self._pixels) > 1 and self._cached_bytes > _CACHED_BYTES:
                self._cached_bytes -= self._pixels.popitem(last=False)[1].nbytes
        self._pixels.move_to_end(key)
        return found

    def _find_pixels(self, grid: Lattice, place: tuple[int, int]) -> TilePixels:
        placed = self.place(grid)
        _, _, height, width, tile_height, tile_width = grid
        top, left = place[0] * tile_height, place[1] * tile_width
        bottom, right = min(top + tile_height, height), min(left + tile_width, width)
        numbers = np.array(placed.in_tile[place], np.int64)
        begins = np.maximum(placed.windows[numbers, :2], (top, left))
        sizes = np.minimum(placed.windows[numbers, 2:], (bottom, right)) - begins
        is_in = (sizes > 0).all(axis=1)
        numbers, windows = numbers[is_in], np.hstack([begins, sizes])[is_in]
        if placed.outlines is None:
            placed.outlines = Outlines.of(placed.geometries, covers=self._is_weighted)
        if self._is_weighted:
            found = placed.outlines.covered(numbers, windows)
        else:
            found = placed.outlines.inside(numbers, windows, all_touched=self._all_touched)
        window, starts = np.unique(found.window, return_index=True)
        pixels = ((found.row - top) * (right - left) + found.col - left).astype(np.int32)
        return TilePixels(placed.zones[numbers[window]], starts, pixels, found.part)
