"""Pixels of files as rows: tiles come in order, and each gives the valid pixels in an area."""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.clip import Clip
from rasteret_sql.geo.crs import in_proj_thread
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.io.asked import redact
from rasteret_sql.plan.native_grid import refuse_unplaced_crs
from rasteret_sql.read.by_file import items_of, physical, refuse_complex, require_exact
from rasteret_sql.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.errors import RasteretError
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan
    from rasteret_sql.read.by_file import DecodedTile, FileTiles
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.stream import OnError

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

_log = logging.getLogger("rasteret_sql")
#: Grids for which a geometry is kept in pixels.
_CACHED_GRIDS: Final = 16
_NOWHERE: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class PixelRows:
    """Pixels of one tile; arrays have one element per pixel.

    Attributes:
        asset: a file of the tile.
        rows, cols: of the pixels in the level.
        values: of each band, by its position in what was asked for.
        valid: whether each has a value, by position.
        bands: the bands, by position.
    """

    asset: PlannedAsset
    rows: Numbers
    cols: Numbers
    values: dict[int, Floats]
    valid: dict[int, Bools]
    bands: dict[int, PlannedBand]

    @property
    def x(self) -> Floats:
        """The centres of the pixels in the CRS of the file; of a file without either, in pixels."""
        a, _, c = (self.asset.transform or _NOWHERE)[:3]
        return np.asarray(c + a * (self.cols + 0.5), np.float64)

    @property
    def y(self) -> Floats:
        """The same for y."""
        e, f = (self.asset.transform or _NOWHERE)[4:]
        return np.asarray(f + e * (self.rows + 0.5), np.float64)


class PixelReader:
    """Reads the pixels of a plan.

    Args:
        given: the tiles.
        geometry: Shapely geometry of the area, or None for all pixels of the tiles.
        crs: of the geometry.
        all_touched: which pixels are inside a polygon; see `geo/inside`.
        scale: give physical values.
        skips_failures: leave out the pixels of tiles that cannot be read, and log why, once for each file.

    Raises:
        InvalidArgumentError: a band is complex, or a file has a CRS and no transform.
    """

    def __init__(
        self,
        given: FileTiles,
        geometry: Any,
        crs: str,
        *,
        all_touched: bool,
        scale: bool,
        skips_failures: bool = False,
    ) -> None:
        plan = given.plan
        refuse_complex(plan.assets)
        refuse_unplaced_crs("x, y", (plan.assets[number] for number in np.unique(plan.asset_no).tolist()))
        self._given, self._geometry, self._crs = given, geometry, crs
        self._all_touched, self._scale = all_touched, scale
        self._on_error: OnError = "null" if skips_failures else "raise"
        self._clips: OrderedDict[tuple[Any, ...], Clip | None] = OrderedDict()
        #: The first error of each file with tiles that could not be read, by address, and where these tiles are.
        self._failed: dict[str, tuple[RasteretError, set[tuple[int, int]]]] = {}

    def long(self, options: ReadOptions | None = None) -> Iterator[PixelRows]:
        """Give the valid pixels of each tile and band, in the order of the plan.

        Raises:
            RasteretError: a tile could not be fetched or decoded, or an integer has too many digits for float64.
        """
        with self._logging_failures():
            for tile in self._given.tiles(on_error=self._on_error, options=options):
                yield from self._rows(self._given.plan, [tile])

    def wide(self, options: ReadOptions | None = None) -> Iterator[PixelRows]:
        """Give the pixels of each tile with all of its bands, item by item; pixels without any valid band are left out.

        Raises:
            InvalidArgumentError: bands of an item lie on different grids, or one name stands for several bands.
            RasteretError: a tile could not be fetched or decoded, or an integer has too many digits for float64.
        """
        _check_one_grid(self._given.plan.assets)
        given = self._given.side_by_side()
        plan = given.plan
        item_of = items_of(plan.assets)[plan.asset_no]

        def place(tile: DecodedTile) -> tuple[int, int, int]:
            return int(item_of[tile.row]), int(plan.tile_row[tile.row]), int(plan.tile_col[tile.row])

        with self._logging_failures():
            for _, tiles in groupby(given.tiles(on_error=self._on_error, options=options), place):
                yield from self._rows(plan, list(tiles))

    @contextmanager
    def _logging_failures(self) -> Iterator[None]:
        """Log the tiles that were left out once for each file, when the read ends or is given up."""
        try:
            yield
        finally:
            for address, (error, places) in self._failed.items():
                tiles = count(len(places), "tile")
                _log.warning("%s; the pixels of %s of %s are left out", error, tiles, redact(address))
            self._failed.clear()

    def _rows(self, plan: TilePlan, tiles: Sequence[DecodedTile]) -> Iterator[PixelRows]:
        """Give the pixels of tiles of a plan that lie on each other."""
        for tile in tiles:
            if tile.error is not None:
                _, places = self._failed.setdefault(tile.file.address, (tile.error, set()))
                places.add((int(plan.tile_row[tile.row]), int(plan.tile_col[tile.row])))
        tiles = [tile for tile in tiles if tile.error is None]
        if not tiles:
            return
        row = tiles[0].row
        asset = plan.assets[plan.asset_no[row]]
        form = asset.format
        place = int(plan.tile_row[row]), int(plan.tile_col[row])
        top, left = place[0] * form.tile_height, place[1] * form.tile_width
        shape = tiles[0].pixels.shape
        inside = self._inside(asset, (top, left, *shape))
        found = np.zeros(shape, np.bool_)
        for tile in tiles:
            found |= True if tile.valid is None else tile.valid
        if inside is not None:
            found &= inside
        rows, cols = np.nonzero(found)
        if not len(rows):
            return
        values, valid, bands = {}, {}, {}
        for tile in tiles:
            band = _band_of(plan, tile.row)
            pixels = tile.pixels[rows, cols]
            is_valid = np.ones(len(rows), np.bool_) if tile.valid is None else tile.valid[rows, cols]
            require_exact(pixels[is_valid], tile.file, place)
            values[band.position] = physical(pixels, band) if self._scale else pixels.astype(np.float64)
            valid[band.position], bands[band.position] = is_valid, band
        yield PixelRows(asset, rows + top, cols + left, values, valid, bands)

    def _inside(self, asset: PlannedAsset, window: tuple[int, int, int, int]) -> Bools | None:
        if self._geometry is None:
            return None
        assert asset.transform is not None
        key = asset.crs, asset.transform, asset.height, asset.width
        if key not in self._clips:
            grid = GeoBox(asset.crs, asset.transform, asset.height, asset.width)
            self._clips[key] = in_proj_thread(Clip.of)(self._geometry, self._crs, grid, all_touched=self._all_touched)
            while len(self._clips) > _CACHED_GRIDS:
                self._clips.popitem(last=False)
        self._clips.move_to_end(key)
        clip = self._clips[key]
        return np.zeros(window[2:], np.bool_) if clip is None else clip.inside(window)


def _band_of(plan: TilePlan, row: int) -> PlannedBand:
    number = int(plan.band[row])
    bands = plan.assets[int(plan.asset_no[row])].bands
    return next(band for band in bands if band.band == number)


def _check_one_grid(assets: Sequence[PlannedAsset]) -> None:
    """Refuse items whose bands cannot be columns of one row.

    Raises:
        InvalidArgumentError: bands of an item lie on different grids, or one name stands for several bands.
    """
    item_of = items_of(assets)
    first: dict[int, PlannedAsset] = {}
    named: dict[tuple[int, int], PlannedBand] = {}
    for item, asset in zip(item_of.tolist(), assets, strict=True):
        form = asset.format
        other = first.setdefault(item, asset)
        if other.lattice != asset.lattice:
            raise InvalidArgumentError(
                f'layout: asset "{asset.asset}" of item {asset.item_id} has {asset.height} x {asset.width} pixels in '
                f'tiles of {form.tile_height} x {form.tile_width}, and asset "{other.asset}" {other.height} x '
                f"{other.width} in tiles of {other.format.tile_height} x {other.format.tile_width}; expected one grid "
                "for the layout 'wide'. Read them by themselves, take levels that agree, or bring them onto one grid "
                "with rasteret_sql.to_xarray"
            )
        for band in asset.bands:
            known = named.setdefault((item, band.position), band)
            if known is not band and (known.band, known.name) != (band.band, band.name):
                raise InvalidArgumentError(
                    f"bands: got a name that stands for {known.name} and {band.name} of item {asset.item_id}, expected "
                    "one band for each column of the layout 'wide'; name the bands"
                )
