"""Pixels of files at points: each tile is fetched and decoded once, however many points lie in it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rasteret_sql.checks import check_choice, shown
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.cube import check_no_second
from rasteret_sql.plan.tiles import Cells, Windows
from rasteret_sql.read.by_file import refuse_complex, require_exact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.errors import RasteretError
    from rasteret_sql.geo.points import PlacedPoints, ProjectedPoints
    from rasteret_sql.plan.tile_plan import Lattice, PlannedAsset, PlannedBand
    from rasteret_sql.read.by_file import DecodedTile, FileTiles
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.stream import OnError

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int64]

METHODS: Final = ("nearest", "bilinear")
MATCHES: Final = ("all", "latest", "nearest_time")
#: Pixels beside a point, to either side, that can be asked for.
_MAX_REACH: Final = 50
#: Pixels of one file that are gathered at a time; each takes some 40 bytes.
_MAX_GATHERED: Final = 1 << 25
#: Placed points that are kept for the next file on the same grid; each takes 40 bytes.
_CACHED_POINTS: Final = 4_000_000
_NO_TIME: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How points are sampled.

    Attributes:
        method: "nearest" takes the pixel in which a point lies; "bilinear" weighs the four pixels around it.
        match: which items: "all", the "latest", or the one "nearest_time" to the time of the point.
        window: side of the square of pixels that is given beside the value, an odd number; 1 gives none.
        max_distance: so far, in pixels, the nearest valid pixel may be where a point lies in an invalid one.

    Raises:
        InvalidArgumentError: one of them is wrong.
    """

    method: str = "nearest"
    match: str = "all"
    window: int = 1
    max_distance: float = 0.0

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("match", self.match, MATCHES)
        largest = 2 * _MAX_REACH + 1
        if not _is_number(self.window) or not 1 <= self.window <= largest or self.window % 2 != 1:
            raise InvalidArgumentError(
                f"window_size: got {shown(self.window)}, expected an odd number from 1 to {largest}: the point "
                "is in the middle"
            )
        if not _is_number(self.max_distance) or not 0 <= self.max_distance < _MAX_REACH:
            raise InvalidArgumentError(
                f"max_distance_pixels: got {shown(self.max_distance)}, expected a number of pixels from 0 to below "
                f"{_MAX_REACH}"
            )

    @property
    def reach(self) -> int:
        """Pixels beside that of a point, to either side, that are needed."""
        around = 1 if self.method == "bilinear" else 0
        return max(around, int(self.window) // 2, int(self.max_distance + 0.5) if self.max_distance else 0)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """One band of one file at some points; arrays have one element per point.

    Attributes:
        asset: the file.
        band: the band.
        points: numbers of the points, ascending.
        values: the values, shape (n,).
        valid: whether there is a value.
        window_values, window_valid: the pixels around each point, shape (n, window, window); None for a window of 1.
        errors: why there is none, by place in `points`.
    """

    asset: PlannedAsset
    band: PlannedBand
    points: Numbers
    values: Floats
    valid: Bools
    window_values: Floats | None
    window_valid: Bools | None
    errors: dict[int, RasteretError]


class SampleLayout:
    """The pixels of points in files.

    Args:
        assets: the files, each at the level that is read.
        points: the points.
        options: how they are sampled.
        times_us: time of each point in microseconds since 1970, `NaT` as int64 where it has none; or None.

    Attributes:
        assets: the files.
        windows: the tiles of each band of each file that holds a point; no window where no file does.

    Raises:
        InvalidArgumentError: two files claim one band of an item, a band is complex, or points are too many for what
            is asked of each.
    """

    def __init__(
        self,
        assets: Sequence[PlannedAsset],
        points: ProjectedPoints,
        options: SampleOptions,
        times_us: Numbers | None = None,
    ) -> None:
        self.assets = assets
        self._points, self._options, self._times_us = points, options, times_us
        self._known: OrderedDict[Lattice, PlacedPoints] = OrderedDict()
        check_no_second(assets, attrgetter("item"), "href")
        refuse_complex(assets)
        self._grids = [asset.lattice for asset in assets]
        #: A number for each band, by its name; positions are equal where all bands are read.
        self._column = {
            name: number
            for number, name in enumerate(dict.fromkeys(band.name for asset in assets for band in asset.bands))
        }
        self._winners = None if options.match == "all" else self._matched()
        self._take(self._windows())

    def parts(self) -> list[tuple[PlannedAsset, PlannedBand]]:
        """Give the file and the band of each window."""
        numbers = self.windows.asset_no.tolist()
        return [(self.assets[number], band) for number, band in zip(numbers, self.windows.bands, strict=True)]

    def keep(self, numbers: Numbers) -> None:
        """Leave out all windows but some, by their numbers, ascending."""
        self._take(self.windows.take(numbers))

    def _take(self, windows: Windows) -> None:
        self.windows = windows
        self._bands: dict[int, list[PlannedBand]] = {}
        for asset_no, band in zip(windows.asset_no.tolist(), windows.bands, strict=True):
            self._bands.setdefault(asset_no, []).append(band)
        #: The files of the windows; plans number these.
        self._used = list(self._bands)

    def read(
        self, given: FileTiles, *, on_error: OnError = "raise", options: ReadOptions | None = None
    ) -> Iterator[Samples]:
        """Read the points, file by file and band by band.

        Args:
            given: the tiles of `windows`.
            on_error: "raise", or "null" to give points without a value and say why.
            options: limits of the read.

        Raises:
            RasteretError: a tile could not be fetched or decoded and `on_error` is "raise", or an integer has too many
                digits for float64.
        """
        plan = given.plan
        for numbers, tiles in given.by_group(on_error=on_error, options=options):
            pixels = {number: self._points_of(self._used[number]) for number in numbers}
            for tile in tiles:
                place = int(plan.band[tile.row]), int(plan.tile_row[tile.row]), int(plan.tile_col[tile.row])
                pixels[int(plan.asset_no[tile.row])].gather.take(tile, *place)
            for number in numbers:
                yield from self._sampled(self._used[number], pixels.pop(number))

    def unread(self) -> Iterator[Samples]:
        """Give what `read` would give, without values."""
        for asset_no in self._used:
            yield from self._sampled(asset_no, self._points_of(asset_no))

    def _matched(self) -> npt.NDArray[np.int32]:
        """Choose the file of each point and band, by its number; -1 for none. Shape (points, bands)."""
        shape = len(self._points), len(self._column)
        best, winner = np.full(shape, _NO_TIME), np.full(shape, -1, np.int32)
        for asset_no in self._by_grid():
            asset = self.assets[asset_no]
            if asset.datetime_us is None:
                continue
            numbers = self._placed(asset_no).numbers
            if self._times_us is None:
                score = np.full(len(numbers), asset.datetime_us)
            else:
                times = self._times_us[numbers]
                numbers, times = numbers[times != _NO_TIME], times[times != _NO_TIME]
                score = -np.abs(times - asset.datetime_us)
            for column in {self._column[band.name] for band in asset.bands}:
                known, holder = best[numbers, column], winner[numbers, column]
                # Files are in the order of time. Of two that are equally near in time the earlier one is taken.
                is_later = asset_no > holder if self._times_us is None else asset_no < holder
                wins = (score > known) | (score == known) & is_later | (holder < 0)
                best[numbers[wins], column] = score[wins]
                winner[numbers[wins], column] = asset_no
        return winner

    def _by_grid(self) -> list[int]:
        """Give the numbers of the files, those of one CRS and grid side by side: points are placed once for them."""
        order: dict[Lattice, list[int]] = {}
        for asset_no, grid in enumerate(self._grids):
            order.setdefault(grid, []).append(asset_no)
        return [asset_no for grid in sorted(order, key=lambda grid: str(grid[0])) for asset_no in order[grid]]

    def _windows(self) -> Windows:
        shared: dict[Lattice, Numbers] = {}
        found: dict[tuple[int, int], Numbers] = {}
        for asset_no in self._by_grid():
            asset, grid = self.assets[asset_no], self._grids[asset_no]
            if self._winners is not None:
                placed = self._placed(asset_no)
                for place, band in enumerate(asset.bands):
                    wins = self._winners[placed.numbers, self._column[band.name]] == asset_no
                    found[asset_no, place] = _tiles_of(placed.take(wins), asset, self._options.reach)
                continue
            if grid not in shared:
                placed = self._placed(asset_no)
                self._check_gathered(len(placed), asset)
                shared[grid] = _tiles_of(placed, asset, self._options.reach)
            found |= {(asset_no, place): shared[grid] for place in range(len(asset.bands))}
        keys = sorted(key for key, tiles in found.items() if len(tiles))
        tiles = np.concatenate([found[key] for key in keys]) if keys else np.empty((0, 2), np.int64)
        owner = np.repeat(np.arange(len(keys)), [len(found[key]) for key in keys])
        bands = [self.assets[asset_no].bands[place] for asset_no, place in keys]
        return Windows(np.array([key[0] for key in keys], np.int64), bands, Cells(owner, tiles[:, 0], tiles[:, 1]))

    def _check_gathered(self, count: int, asset: PlannedAsset) -> None:
        side = 2 * self._options.reach + 1
        if count * side * side > _MAX_GATHERED:
            raise InvalidArgumentError(
                f'points: {count} lie in asset "{asset.asset}" of item {asset.item_id}, and {side} x {side} pixels are '
                f"needed for each, expected at most {_MAX_GATHERED} pixels of a file; take a smaller window or "
                "max_distance_pixels, or some of the points at a time"
            )

    def _placed(self, asset_no: int) -> PlacedPoints:
        grid = self._grids[asset_no]
        placed = self._known.get(grid)
        if placed is None:
            raster_crs, transform, height, width = grid[:4]
            # The planner refuses files without either where an area is given.
            assert raster_crs is not None
            assert transform is not None
            placed = self._known[grid] = self._points.place(raster_crs, transform, (height, width))
            while len(self._known) > 1 and sum(map(len, self._known.values())) > _CACHED_POINTS:
                self._known.popitem(last=False)
        self._known.move_to_end(grid)
        return placed

    def _points_of(self, asset_no: int) -> _PointsOf:
        """Find the points of a file, and make ready for the pixels around them."""
        asset, placed, wins = self.assets[asset_no], self._placed(asset_no), None
        if self._winners is not None:
            taken = self._winners[placed.numbers] == asset_no
            is_taken = taken[:, [self._column[band.name] for band in asset.bands]].any(axis=1)
            placed, wins = placed.take(is_taken), taken[is_taken]
        return _PointsOf(placed, wins, _Gather(placed, asset, self._options.reach))

    def _sampled(self, asset_no: int, found: _PointsOf) -> Iterator[Samples]:
        placed, wins, gather = found
        for band in self._bands[asset_no]:
            chosen = np.ones(len(placed), bool) if wins is None else wins[:, self._column[band.name]]
            if chosen.any():
                block = gather.block(band.band, chosen)
                yield _samples(self.assets[asset_no], band, placed.take(chosen), block, self._options)


class _Block(NamedTuple):
    """Pixels around points: values and whether they are valid, shape (points, side, side); and errors by point."""

    values: Floats
    valid: Bools
    errors: dict[int, RasteretError]


class _PointsOf(NamedTuple):
    """The points of a file, for which bands its pixels are taken at each (None: for all), and the pixels."""

    placed: PlacedPoints
    wins: Bools | None
    gather: _Gather


class _Gather:
    """Collects the pixels around points of one file while its tiles arrive."""

    def __init__(self, placed: PlacedPoints, asset: PlannedAsset, reach: int) -> None:
        self._count, self._side = len(placed), 2 * reach + 1
        beside = np.arange(-reach, reach + 1)
        shape = self._count, self._side, self._side
        rows = np.broadcast_to((placed.pixel_rows[:, None] + beside)[:, :, None], shape).ravel()
        cols = np.broadcast_to((placed.pixel_cols[:, None] + beside)[:, None, :], shape).ravel()
        is_in = np.flatnonzero((rows >= 0) & (rows < asset.height) & (cols >= 0) & (cols < asset.width))
        form = asset.format
        self._across = asset.tiles_across
        key = rows[is_in] // form.tile_height * self._across + cols[is_in] // form.tile_width
        order = np.argsort(key, kind="stable")
        self._keys, self._slots = key[order], is_in[order]
        self._rows, self._cols = rows[self._slots] % form.tile_height, cols[self._slots] % form.tile_width
        self._blocks: dict[int, _Block] = {}

    def take(self, tile: DecodedTile, band: int, tile_row: int, tile_col: int) -> None:
        """Take the pixels that lie in a tile."""
        block = self._blocks.setdefault(band, self._empty())
        key = tile_row * self._across + tile_col
        some = slice(*np.searchsorted(self._keys, (key, key + 1)).tolist())
        slots, rows, cols = self._slots[some], self._rows[some], self._cols[some]
        if tile.error is not None:
            block.errors.update(dict.fromkeys((slots // self._side**2).tolist(), tile.error))
            return
        pixels = tile.pixels[rows, cols]
        valid = None if tile.valid is None else tile.valid[rows, cols]
        require_exact(pixels if valid is None else pixels[valid], tile.file, (tile_row, tile_col))
        block.values.reshape(-1)[slots] = pixels
        block.valid.reshape(-1)[slots] = True if valid is None else valid

    def block(self, band: int, chosen: Bools) -> _Block:
        """Give the pixels of a band around some of the points."""
        block = self._blocks.get(band) or self._empty()
        places = {number: place for place, number in enumerate(np.flatnonzero(chosen).tolist())}
        errors = {places[number]: error for number, error in block.errors.items() if number in places}
        return _Block(block.values[chosen], block.valid[chosen], errors)

    def _empty(self) -> _Block:
        shape = self._count, self._side, self._side
        return _Block(np.zeros(shape), np.zeros(shape, np.bool_), {})


def _samples(
    asset: PlannedAsset, band: PlannedBand, placed: PlacedPoints, block: _Block, options: SampleOptions
) -> Samples:
    reach = options.reach
    values, valid = block.values[:, reach, reach], block.valid[:, reach, reach]
    if options.method == "bilinear":
        values = np.where(valid, _bilinear(placed, block, reach), 0.0)
    if options.max_distance > 0:
        values, valid = _nearest_valid(placed, block, options, values, valid)
    window_values = window_valid = None
    if options.window > 1:
        half = int(options.window) // 2
        middle = slice(reach - half, reach + half + 1)
        window_values, window_valid = block.values[:, middle, middle], block.valid[:, middle, middle]
    if block.errors:
        valid = valid.copy()
        valid[list(block.errors)] = False
    return Samples(asset, band, placed.numbers, values, valid, window_values, window_valid, block.errors)


def _bilinear(placed: PlacedPoints, block: _Block, reach: int) -> Floats:
    """Weigh the four pixels around each point; weights of invalid ones are dropped, and the rest is scaled to 1."""
    first_row, first_col = np.floor(placed.rows - 0.5), np.floor(placed.cols - 0.5)
    down, right = placed.rows - 0.5 - first_row, placed.cols - 0.5 - first_col
    row = first_row.astype(np.int64) - placed.pixel_rows + reach
    col = first_col.astype(np.int64) - placed.pixel_cols + reach
    number = np.arange(len(placed))
    total, weights = np.zeros(len(placed)), np.zeros(len(placed))
    for by_row, by_col in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (down if by_row else 1 - down) * (right if by_col else 1 - right)
        at = number, row + by_row, col + by_col
        weight = np.where(block.valid[at], weight, 0.0)
        # A pixel without weight may be NaN.
        total += np.where(weight > 0, weight * block.values[at], 0.0)
        weights += weight
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = total / weights
    return found


def _nearest_valid(
    placed: PlacedPoints, block: _Block, options: SampleOptions, values: Floats, valid: Bools
) -> tuple[Floats, Bools]:
    """Take, where the pixel of a point is invalid, the valid one whose centre is nearest to the point."""
    lost = np.flatnonzero(~valid)
    if not len(lost):
        return values, valid
    beside = np.arange(-options.reach, options.reach + 1) + 0.5
    down = placed.pixel_rows[lost, None] + beside - placed.rows[lost, None]
    right = placed.pixel_cols[lost, None] + beside - placed.cols[lost, None]
    distance = np.sqrt(down[:, :, None] ** 2 + right[:, None, :] ** 2)
    distance[~block.valid[lost] | (distance > options.max_distance)] = np.inf
    distance = distance.reshape(len(lost), -1)
    nearest = distance.argmin(axis=1)
    is_found = np.isfinite(distance[np.arange(len(lost)), nearest])
    lost, nearest = lost[is_found], nearest[is_found]
    values, valid = values.copy(), valid.copy()
    values[lost], valid[lost] = block.values.reshape(len(block.values), -1)[lost, nearest], True
    return values, valid


def _tiles_of(placed: PlacedPoints, asset: PlannedAsset, reach: int) -> Numbers:
    """Give (tile_row, tile_col) of the tiles that hold the pixels of points and those beside them, shape (n, 2)."""
    form = asset.format
    across = asset.tiles_across
    keys = [
        np.clip(placed.pixel_rows + down, 0, asset.height - 1) // form.tile_height * across
        + np.clip(placed.pixel_cols + right, 0, asset.width - 1) // form.tile_width
        for down in _steps(reach, form.tile_height)
        for right in _steps(reach, form.tile_width)
    ]
    found = np.unique(np.concatenate(keys))
    return np.stack([found // across, found % across], axis=1).astype(np.int64)


def _steps(reach: int, tile: int) -> list[int]:
    """Give distances at which no tile within reach is missed."""
    return sorted({*range(-reach, reach, tile), reach})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
