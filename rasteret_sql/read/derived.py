"""Tiles of computed bands: each tile of a file is fetched and decoded once, and kept while it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.plan.derived import PixelsBelow
from rasteret_sql.plan.tiles import Cells, Windows
from rasteret_sql.read.by_file import DecodedTile, FileTiles, decoded_tiles, items_of, physical, require_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.derived import DerivedBands, Output, Source
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.plan.tiles import WindowPlan
    from rasteret_sql.read.engine import ReadOptions
    from rasteret_sql.read.stream import OnError

    Bools = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.int64]

#: Number of the asset and of the band; row and column of the tile.
TileKey = tuple[int, int, int, int]
_NO_PIXELS: Final = np.zeros((0, 0))


@dataclass(slots=True)
class _Job:
    """A tile of a grid, and what is computed for it.

    Attributes:
        asset_no: number of the grid, in the plan of the results.
        tile_row, tile_col: of the tile.
        rows: rows of that plan, one for each band.
        outputs: the bands.
        is_certain: whether the condition is known to be true everywhere.
        until: so many of the fetched tiles must have arrived.
        last: numbers of fetched tiles that nothing needs afterwards.
    """

    asset_no: int
    tile_row: int
    tile_col: int
    rows: list[int]
    outputs: list[Output]
    is_certain: bool
    until: int = 0
    last: list[int] | None = None

    def sources_of(self, output: Output) -> list[Source]:
        """Give the bands that are read for a band."""
        return output.sources_of_values if self.is_certain else output.sources


class DerivedTiles(FileTiles):
    """Tiles of computed bands, item by item.

    Args:
        derived: the bands.
        plan: their tiles, a plan without bytes, of assets of `derived`.
        plan_windows: plans windows of the files.
        scale: compute with physical values.
        certain: whether the condition is known to be true everywhere in each tile of an asset of `derived`, row by
            row, by the number of the asset. The bands of the condition are not read there.

    Raises:
        InvalidIndexError: the index does not have the bytes of a tile.
    """

    def __init__(
        self,
        derived: DerivedBands,
        plan: TilePlan,
        plan_windows: Callable[[Windows], WindowPlan],
        *,
        scale: bool,
        certain: Mapping[int, Bools],
    ) -> None:
        numbers = {id(asset): number for number, asset in enumerate(derived.assets)}
        self._derived, self._scale, self._certain = derived, scale, certain
        self._numbers = [numbers[id(asset)] for asset in plan.assets]
        self._below: dict[tuple[Any, Any], PixelsBelow] = {}
        super().__init__(plan.take(self._order(plan)), items_of(plan.assets).tolist())
        self._jobs = self._make_jobs()
        self._keys = self._needed_tiles()
        self._fetched = self._plan_fetched(plan_windows)

    @property
    def fetched(self) -> TilePlan:
        """The tiles that are fetched."""
        return self._fetched

    def side_by_side(self) -> DerivedTiles:
        """Give the tiles as they are: the bands of a tile lie side by side."""
        return self

    def tiles(self, *, on_error: OnError = "raise", options: ReadOptions | None = None) -> Iterator[DecodedTile]:
        """Read the files, and give the computed tiles in order; the arguments are those of `FileTiles.tiles`.

        Raises:
            RasteretError: a tile could not be fetched or decoded and `on_error` is "raise", or an integer has too many
                digits for float64.
        """
        stream = decoded_tiles(self._fetched, on_error=on_error, options=options)
        held: dict[int, DecodedTile] = {}
        arrived = 0
        for job in self._jobs:
            while arrived < job.until:
                held[arrived] = next(stream)
                arrived += 1
            yield from self._computed(job, held)
            for number in job.last or ():
                del held[number]
            for number, tile in held.items():
                # What stays must not hold the whole batch that it came in.
                if tile.pixels.base is not None:
                    valid = None if tile.valid is None else tile.valid.copy()
                    held[number] = tile._replace(pixels=tile.pixels.copy(), valid=valid)

    def _order(self, plan: TilePlan) -> Numbers:
        """Order tiles so that those that need a tile of the largest extent lie side by side."""
        block = np.zeros((len(plan), 2), np.int64)
        items = items_of(plan.assets)
        largest: dict[int, PlannedAsset] = {}
        for asset_no, item in enumerate(items.tolist()):
            for output in self._derived.outputs[self._numbers[asset_no]]:
                for source in output.sources:
                    file = self._derived.files[source.asset_no]
                    largest[item] = max(largest.get(item, file), file, key=_tile_extent)
        for asset_no in np.unique(plan.asset_no).tolist():
            mine = plan.asset_no == asset_no
            asset, file = plan.assets[asset_no], largest[int(items[asset_no])]
            below = self._below_of(asset, file)
            block[mine, 0] = below.rows[plan.tile_row[mine] * asset.format.tile_height] // file.format.tile_height
            block[mine, 1] = below.cols[plan.tile_col[mine] * asset.format.tile_width] // file.format.tile_width
        keys = (plan.band, plan.tile_col, plan.tile_row, plan.asset_no, block[:, 1], block[:, 0], items[plan.asset_no])
        return np.lexsort(keys)

    def _make_jobs(self) -> list[_Job]:
        plan = self.plan
        jobs: list[_Job] = []
        places = zip(
            plan.asset_no.tolist(), plan.tile_row.tolist(), plan.tile_col.tolist(), plan.band.tolist(), strict=True
        )
        for row, (asset_no, tile_row, tile_col, band) in enumerate(places):
            output = self._derived.outputs[self._numbers[asset_no]][band - 1]
            if jobs and (jobs[-1].asset_no, jobs[-1].tile_row, jobs[-1].tile_col) == (asset_no, tile_row, tile_col):
                jobs[-1].rows.append(row)
                jobs[-1].outputs.append(output)
            else:
                certain = self._certain.get(self._numbers[asset_no])
                is_certain = certain is not None and bool(
                    certain[tile_row * plan.assets[asset_no].tiles_across + tile_col]
                )
                jobs.append(_Job(asset_no, tile_row, tile_col, [row], [output], is_certain))
        return jobs

    def _needed_tiles(self) -> dict[TileKey, int]:
        """Number the tiles of files in the order in which they are needed, and tell jobs which of them are the last."""
        keys: dict[TileKey, int] = {}
        last: dict[int, _Job] = {}
        until = 0
        for job in self._jobs:
            for source in dict.fromkeys(source for output in job.outputs for source in job.sources_of(output)):
                for place in self._tiles_of(job, source):
                    number = keys.setdefault((source.asset_no, source.band.band, *place), len(keys))
                    last[number] = job
                    until = max(until, number + 1)
            job.until = until
        for number, job in last.items():
            job.last = [*(job.last or ()), number]
        return keys

    def _plan_fetched(self, plan_windows: Callable[[Windows], WindowPlan]) -> TilePlan:
        derived = self._derived
        bands = {
            (source.asset_no, source.band.band): source.band
            for outputs in derived.outputs
            for output in outputs
            for source in output.sources
        }
        table = np.array(list(self._keys), np.int64).reshape(-1, 4)
        windows, owner = np.unique(table[:, :2], axis=0, return_inverse=True)
        order = np.argsort(owner.reshape(-1), kind="stable")
        cells = Cells(owner.reshape(-1)[order], table[order, 2], table[order, 3])
        named = [bands[asset_no, band] for asset_no, band in windows.tolist()]
        plan = plan_windows(Windows(windows[:, 0], named, cells)).tiles
        used = np.unique(windows[:, 0])[plan.asset_no]
        places = zip(used.tolist(), plan.band.tolist(), plan.tile_row.tolist(), plan.tile_col.tolist(), strict=True)
        numbers = np.array([self._keys[place] for place in places], np.int64)
        return plan.take(np.argsort(numbers))

    def _tiles_of(self, job: _Job, source: Source) -> Sequence[tuple[int, int]]:
        asset, file = self.plan.assets[job.asset_no], self._derived.files[source.asset_no]
        if asset.lattice == file.lattice:
            return [(job.tile_row, job.tile_col)]
        return self._below_of(asset, file).tiles(file, job.tile_row, job.tile_col, asset)

    def _below_of(self, asset: PlannedAsset, file: PlannedAsset) -> PixelsBelow:
        key = asset.lattice[:4], file.lattice[:4]
        if key not in self._below:
            self._below[key] = PixelsBelow.of(asset, file)
        return self._below[key]

    def _computed(self, job: _Job, held: dict[int, DecodedTile]) -> Iterator[DecodedTile]:
        pixels = _JobPixels(self, job, held)
        for row, output in zip(job.rows, job.outputs, strict=True):
            failed = pixels.failed(output)
            if failed is not None:
                yield failed._replace(row=row, pixels=_NO_PIXELS, valid=None)
                continue
            values, valid = pixels.values_of(output)
            file = self.plan.assets[job.asset_no] if output.own is None else self._derived.files[output.own.asset_no]
            yield DecodedTile(row, values, valid, None, file)

    def placed(self, job: _Job, source: Source, held: dict[int, DecodedTile]) -> DecodedTile:
        """Give the pixels of a band at the pixels of a tile of results; beside the file they are invalid."""
        asset, file = self.plan.assets[job.asset_no], self._derived.files[source.asset_no]
        parts = [
            (place, held[self._keys[source.asset_no, source.band.band, *place]])
            for place in self._tiles_of(job, source)
        ]
        error = next((tile.error for _, tile in parts if tile.error is not None), None)
        if error is not None or asset.lattice == file.lattice:
            return parts[0][1]._replace(error=error)
        shape = int(self.plan.height[job.rows[0]]), int(self.plan.width[job.rows[0]])
        pixels, valid = np.zeros(shape, file.dtype), np.zeros(shape, np.bool_)
        for place, tile in parts:
            here, there = self._under(job, source, place)
            pixels[here] = tile.pixels[there]
            valid[here] = True if tile.valid is None else tile.valid[there]
        return DecodedTile(-1, pixels, valid, None, file)

    def number(self, job: _Job, source: Source, tile: DecodedTile) -> npt.NDArray[np.float64]:
        """Give pixels as a formula takes them.

        Raises:
            RasteretError: float64 would round an integer.
        """
        if tile.pixels.dtype.itemsize == np.dtype(np.int64).itemsize:
            for place in self._tiles_of(job, source):
                here, _ = self._under(job, source, place)
                pixels = tile.pixels[here]
                file = self._derived.files[source.asset_no]
                require_exact(pixels if tile.valid is None else pixels[tile.valid[here]], file, place)
        return physical(tile.pixels, source.band) if self._scale else tile.pixels.astype(np.float64)

    def _under(self, job: _Job, source: Source, place: tuple[int, int]) -> tuple[Any, Any]:
        """Give the indices of the pixels of a tile of results in a tile of a file: in the former, and in the latter."""
        asset, file = self.plan.assets[job.asset_no], self._derived.files[source.asset_no]
        form, own = asset.format, file.format
        below = self._below_of(asset, file)
        rows = below.rows[job.tile_row * form.tile_height : (job.tile_row + 1) * form.tile_height]
        cols = below.cols[job.tile_col * form.tile_width : (job.tile_col + 1) * form.tile_width]
        down = np.flatnonzero((rows // own.tile_height == place[0]) & (rows < file.height))
        across = np.flatnonzero((cols // own.tile_width == place[1]) & (cols < file.width))
        there = np.ix_(rows[down] - place[0] * own.tile_height, cols[across] - place[1] * own.tile_width)
        return np.ix_(down, across), there

    @property
    def condition(self) -> Any:
        """The condition, or None."""
        return self._derived.formulas.valid_where


def _tile_extent(file: PlannedAsset) -> float:
    """Give the area of a tile in units of the CRS."""
    return file.pixel_area * file.format.tile_width * file.format.tile_height


class _JobPixels:
    """The pixels of a tile of results, each band placed once for all that need it."""

    def __init__(self, given: DerivedTiles, job: _Job, held: dict[int, DecodedTile]) -> None:
        self._given, self._job, self._held = given, job, held
        self._tiles: dict[Source, DecodedTile] = {}
        self._numbers: dict[Source, npt.NDArray[np.float64]] = {}
        self._holds: Bools | None = None

    def failed(self, output: Output) -> DecodedTile | None:
        """Give the tile that could not be read, so that a band has no pixels here; None without one."""
        return next((tile for tile in map(self._tile, self._job.sources_of(output)) if tile.error is not None), None)

    def values_of(self, output: Output) -> tuple[npt.NDArray[Any], Bools | None]:
        """Give the pixels of a band, and which are valid."""
        if output.own is not None:
            tile = self._tile(output.own)
            values, valid = tile.pixels, tile.valid
        else:
            assert output.expression is not None
            values, valid = output.expression.compute_masked(*self._inputs(output, output.expression.bands))
        condition = self._given.condition
        if condition is None or self._job.is_certain:
            return values, valid
        if self._holds is None:
            self._holds = condition.holds(*self._inputs(output, condition.bands))
        return values, self._holds if valid is None else valid & self._holds

    def _inputs(self, output: Output, labels: Sequence[str]) -> tuple[dict[str, Any], dict[str, Bools]]:
        tiles = {label: self._tile(output.inputs[label]) for label in labels}
        valid = {
            label: np.ones(tile.pixels.shape, np.bool_) if tile.valid is None else tile.valid
            for label, tile in tiles.items()
        }
        return {label: self._number(output.inputs[label]) for label in labels}, valid

    def _tile(self, source: Source) -> DecodedTile:
        if source not in self._tiles:
            self._tiles[source] = self._given.placed(self._job, source, self._held)
        return self._tiles[source]

    def _number(self, source: Source) -> npt.NDArray[np.float64]:
        if source not in self._numbers:
            self._numbers[source] = self._given.number(self._job, source, self._tile(source))
        return self._numbers[source]
