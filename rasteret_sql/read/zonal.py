"""Statistics of the pixels of files in zones: each tile is fetched and decoded once, however many zones it lies in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.checks import check_choice, check_flag
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.cube import check_no_second, check_same_scaling
from rasteret_sql.plan.tiles import Cells, Windows
from rasteret_sql.read.by_file import physical, refuse_complex, require_exact
from rasteret_sql.read.statistics import MERGEABLE, ZoneStatistics
from rasteret_sql.read.zone_grids import ZoneGrids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.errors import RasteretError
    from rasteret_sql.plan.tile_plan import Lattice, PlannedAsset, PlannedBand
    from rasteret_sql.read.by_file import DecodedTile, FileTiles
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.stream import OnError
    from rasteret_sql.read.tile_statistics import TileStatistics

    #: Gives what is known of the tiles of a band of a file, or None.
    Known = Callable[[PlannedAsset, PlannedBand], TileStatistics | None]
    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

WEIGHTS: Final = ("none", "coverage")
SCALING_REMEDY: Final = "compute with physical values, by the argument scale, or take by 'item'"


@dataclass(frozen=True, slots=True)
class ZonalOptions:
    """Which pixels are in a zone, and what is computed of them.

    Attributes:
        statistics: names of statistics; see `read/statistics`.
        weights: "none" takes the pixels whose centres are inside; "coverage" takes all pixels that a polygon covers
            a part of, and weighs them by it.
        all_touched: without weights, take all pixels of which a polygon covers some part.
        scale: compute with physical values.

    Raises:
        InvalidArgumentError: one of them is wrong, or two contradict each other.
    """

    statistics: tuple[str, ...]
    weights: str = "none"
    all_touched: bool = False
    scale: bool = False

    def __post_init__(self) -> None:
        check_choice("weights", self.weights, WEIGHTS)
        check_flag("all_touched", self.all_touched)
        check_flag("scale", self.scale)
        if self.all_touched and self.weights == "coverage":
            raise InvalidArgumentError(
                "all_touched: got True with weights 'coverage', expected one of them; coverage takes all pixels that "
                "a polygon covers a part of"
            )

    @property
    def keeps_values(self) -> bool:
        """Whether a statistic needs all values of a zone."""
        return not set(self.statistics) <= set(MERGEABLE)


@dataclass(frozen=True, slots=True, eq=False)
class ZonalGroup:
    """Statistics of one band of some files in zones; arrays have one element per zone.

    Attributes:
        assets: the files.
        band: the band, as the first of them has it.
        scale, offset: of the band, where all files have the same; None otherwise.
        zones: numbers of the zones that touch one of the files, ascending.
        items: how many of the files each touches.
        statistics: by name; NaN where a zone has no valid pixel.
        errors: why a zone has no statistics, by place in `zones`.
    """

    assets: tuple[PlannedAsset, ...]
    band: PlannedBand
    scale: float | None
    offset: float | None
    zones: Numbers
    items: Numbers
    statistics: dict[str, Floats]
    errors: dict[int, RasteretError]


class _Group:
    """What is computed of one band of some files while their tiles arrive.

    Args:
        zones: how many zones there are.
        options: what is computed.
        waiting: how many files are still to come.
    """

    def __init__(self, zones: int, options: ZonalOptions, waiting: int) -> None:
        self.statistics = ZoneStatistics(zones, options.statistics)
        self.items = np.zeros(zones, np.int64)
        self.assets: list[tuple[PlannedAsset, PlannedBand]] = []
        self.errors: dict[int, RasteretError] = {}
        self.waiting = waiting

    def result(self) -> ZonalGroup:
        """Give the statistics of the zones that touch a file."""
        zones = np.flatnonzero(self.items)
        places = {zone: place for place, zone in enumerate(zones.tolist())}
        scales = {(band.scale, band.offset) for _, band in self.assets}
        scale, offset = next(iter(scales))
        return ZonalGroup(
            tuple(asset for asset, _ in self.assets),
            self.assets[0][1],
            scale if len(scales) == 1 else None,
            offset if len(scales) == 1 else None,
            zones,
            self.items[zones],
            {name: values[zones] for name, values in self.statistics.values().items()},
            {places[zone]: error for zone, error in self.errors.items()},
        )


class ZonalLayout:
    """The pixels of zones in files.

    Args:
        assets: the files, each at the level that is read.
        geometries: array of Shapely geometries, shape (zone,); None and empty ones have no pixels.
        crs: of the geometries.
        options: which pixels count, and what is computed.
        group_of: a number for each file; files of one number are computed together, band by band.

    Attributes:
        assets: the files.
        windows: the tiles of each band of each file that a zone touches.

    Raises:
        InvalidArgumentError: two files claim one band of an item, or a band is complex.
    """

    def __init__(
        self,
        assets: Sequence[PlannedAsset],
        geometries: npt.NDArray[Any],
        crs: str,
        options: ZonalOptions,
        group_of: Sequence[int],
    ) -> None:
        self.assets = assets
        self._options, self._group_of, self._count = options, group_of, len(geometries)
        self._zones = ZoneGrids(
            geometries, crs, is_weighted=options.weights == "coverage", all_touched=options.all_touched
        )
        check_no_second(assets, attrgetter("item"), "href")
        refuse_complex(assets)
        self._grids = [asset.lattice for asset in assets]
        self.windows = self._windows()
        self._known: dict[tuple[int, int], tuple[TileStatistics, npt.NDArray[np.bool_]]] = {}

    def keep(self, numbers: Numbers) -> None:
        """Leave out all windows but some, by their numbers, ascending."""
        self.windows = self.windows.take(numbers)

    def take_known(self, known: Known) -> None:
        """Leave out tiles whose statistics are known, and that lie as a whole in each zone that they touch.

        Tiles that are known to have no valid pixel are left out wherever they lie.

        Args:
            known: gives the statistics of the tiles of a band of a file, or None.
        """
        cells, parts = self.windows.cells, self.parts()
        bounds = np.searchsorted(cells.owner, np.arange(len(parts) + 1))
        is_known = np.zeros(len(cells.owner), np.bool_)
        for window, (asset_no, (asset, band)) in enumerate(zip(self.windows.asset_no.tolist(), parts, strict=True)):
            statistics = known(asset, band)
            if statistics is None:
                continue
            mine = slice(bounds[window], bounds[window + 1])
            tiles = cells.row[mine] * asset.tiles_across + cells.col[mine]
            count = statistics.valid_count[tiles]
            is_whole = (count > 0) & self._zones.are_whole(self._grids[asset_no], tiles)
            if self._options.keeps_values and (statistics.classes is None or self._options.weights != "none"):
                is_whole[:] = False
            is_known[mine] = is_whole | (count == 0)
            taken = np.zeros(len(statistics.valid_count), np.bool_)
            taken[tiles[is_whole]] = True
            self._known[asset_no, band.band] = statistics, taken
        self.windows = replace(self.windows, cells=cells.take(~is_known))

    def check_scaling(self) -> None:
        """Refuse to compute stored values of different scales together.

        Raises:
            InvalidArgumentError: files of one group have different scales or offsets of a band, and `scale` is False.
        """
        if self._options.scale:
            return
        first: dict[tuple[int, str], tuple[PlannedAsset, PlannedBand]] = {}
        for number, part in zip(self.windows.asset_no.tolist(), self.parts(), strict=True):
            known = first.setdefault(self._key(number, part[1]), part)
            check_same_scaling(known, part, SCALING_REMEDY)

    def parts(self) -> list[tuple[PlannedAsset, PlannedBand]]:
        """Give the file and the band of each window."""
        numbers = self.windows.asset_no.tolist()
        return [(self.assets[number], band) for number, band in zip(numbers, self.windows.bands, strict=True)]

    def read(
        self, given: FileTiles, *, on_error: OnError = "raise", options: ReadOptions | None = None
    ) -> Iterator[ZonalGroup]:
        """Read the zones; a group is given once all of its files are read.

        Args:
            given: the tiles of `windows`.
            on_error: "raise", or "null" to give zones without statistics and say why.
            options: limits of the read.

        Raises:
            RasteretError: a tile could not be fetched or decoded and `on_error` is "raise", or an integer has too many
                digits for float64.
        """
        groups = self._groups()
        used, plan = list(self._bands), given.plan
        for numbers, tiles in given.by_group(on_error=on_error, options=options):
            members = {}
            for number in numbers:
                for band in self._bands[used[number]]:
                    group = groups[self._key(used[number], band)]
                    members[number, band.band] = band, group
                    self._add_known(used[number], band, group)
            for tile in tiles:
                number = int(plan.asset_no[tile.row])
                band, group = members[number, int(plan.band[tile.row])]
                place = int(plan.tile_row[tile.row]), int(plan.tile_col[tile.row])
                self._add(tile, place, used[number], band, group)
            for number in numbers:
                yield from self._ended(used[number], groups)

    def unread(self) -> Iterator[ZonalGroup]:
        """Give what `read` would give, without statistics."""
        groups = self._groups()
        for asset_no in self._bands:
            yield from self._ended(asset_no, groups)

    def _windows(self) -> Windows:
        tiles: dict[Lattice, Numbers] = {}
        for grid in sorted(set(self._grids), key=str):
            found = list(self._zones.place(grid).in_tile)
            tiles[grid] = np.array(sorted(found), np.int64).reshape(-1, 2)
        keys = [
            (asset_no, band)
            for asset_no, asset in enumerate(self.assets)
            for band in asset.bands
            if len(tiles[self._grids[asset_no]])
        ]
        cells = [tiles[self._grids[asset_no]] for asset_no, _ in keys]
        owner = np.repeat(np.arange(len(keys)), [len(each) for each in cells])
        joined = np.concatenate(cells) if cells else np.empty((0, 2), np.int64)
        numbers = np.array([asset_no for asset_no, _ in keys], np.int64)
        return Windows(numbers, [band for _, band in keys], Cells(owner, joined[:, 0], joined[:, 1]))

    def _key(self, asset_no: int, band: PlannedBand) -> tuple[int, str]:
        return self._group_of[asset_no], band.name

    def _groups(self) -> dict[tuple[int, str], _Group]:
        """Make what is computed of each group and band, and know how many files it waits for."""
        self._bands: dict[int, list[PlannedBand]] = {}
        sizes: dict[tuple[int, str], int] = {}
        for asset_no, band in zip(self.windows.asset_no.tolist(), self.windows.bands, strict=True):
            self._bands.setdefault(asset_no, []).append(band)
            key = self._key(asset_no, band)
            sizes[key] = sizes.get(key, 0) + 1
        return _Groups(sizes, self._count, self._options)

    def _add(self, tile: DecodedTile, place: tuple[int, int], asset_no: int, band: PlannedBand, group: _Group) -> None:
        """Add the pixels of a tile, by its row and column, to the zones that they lie in."""
        found = self._zones.pixels_in(self._grids[asset_no], place)
        if tile.error is not None:
            group.errors.update(dict.fromkeys(found.zones.tolist(), tile.error))
            return
        values = tile.pixels.reshape(-1).take(found.pixels)
        counts = np.ones(len(values), bool) if tile.valid is None else tile.valid.reshape(-1).take(found.pixels)
        if values.dtype.kind == "f":
            # What is not a number is in no statistic, whether or not the file says that it is nodata.
            counts &= ~np.isnan(values)
        if not len(values) or not counts.any():
            return
        zones, starts, weights = found.zones, found.starts, found.weights
        if not counts.all():
            left = np.add.reduceat(counts, starts, dtype=np.int64)
            zones, left = zones[left > 0], left[left > 0]
            starts = np.cumsum(left) - left
            values, weights = values[counts], None if weights is None else weights[counts]
        require_exact(values, tile.file, place)
        if self._options.scale:
            values = physical(values, band)
        group.statistics.add(zones, starts, values, weights)

    def _add_known(self, asset_no: int, band: PlannedBand, group: _Group) -> None:
        """Add the statistics of the tiles of a band that are not read."""
        if (asset_no, band.band) not in self._known:
            return
        statistics, taken = self._known[asset_no, band.band]
        grid = self._grids[asset_no]
        place, tiles = self._zones.whole_tiles(grid)
        is_taken = taken[tiles]
        zones, tiles = self._zones.place(grid).zones[place[is_taken]], tiles[is_taken]
        if not len(zones):
            return
        group.statistics.merge(statistics.parts(zones, tiles, band, scale=self._options.scale))
        if self._options.keeps_values:
            zones, values, counts = statistics.class_parts(zones, tiles)
            group.statistics.add_counts(zones, physical(values, band) if self._options.scale else values, counts)

    def _ended(self, asset_no: int, groups: dict[tuple[int, str], _Group]) -> Iterator[ZonalGroup]:
        """Give the groups that have waited for a file alone."""
        placed = self._zones.place(self._grids[asset_no])
        for band in self._bands[asset_no]:
            key = self._key(asset_no, band)
            group = groups[key]
            group.items[placed.zones] += 1
            group.assets.append((self.assets[asset_no], band))
            group.waiting -= 1
            if not group.waiting:
                del groups[key]
                yield group.result()


class _Groups(dict[tuple[int, str], _Group]):
    """Groups by number and band, each made when its first file comes."""

    def __init__(self, sizes: dict[tuple[int, str], int], zones: int, options: ZonalOptions) -> None:
        self._sizes, self._zones, self._options = sizes, zones, options

    def __missing__(self, key: tuple[int, str]) -> _Group:
        group = self[key] = _Group(self._zones, self._options, self._sizes[key])
        return group
