"""The files of a read whose pixels are computed: formulas as bands, and a condition that pixels must meet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.plan.derived import PixelsBelow, derive
from rasteret_sql.plan.possible import holds_everywhere, may_hold
from rasteret_sql.plan.ragged import bounds_of
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.plan.select import cells_of, joined
from rasteret_sql.plan.tiles import Cells, Tilings, WindowPlan, Windows, plan_computed
from rasteret_sql.read.by_file import refuse_complex
from rasteret_sql.read.derived import DerivedTiles
from rasteret_sql.read.tile_statistics import UNKNOWN, TileStatistics, bounds_of_tiles
from rasteret_sql.sql.selected import SelectedFiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.derived import DerivedBands, Source
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.plan.possible import TileBounds
    from rasteret_sql.plan.select import Selection
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan
    from rasteret_sql.read.zonal import Known
    from rasteret_sql.sql.index_rows import IndexRows


class TilesOfCondition(NamedTuple):
    """What statistics say of a condition in the tiles of a grid, row by row.

    Attributes:
        is_possible: whether it may be true somewhere.
        is_certain: whether it is true everywhere.
    """

    is_possible: npt.NDArray[np.bool_]
    is_certain: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class DerivedFiles:
    """The grids of results, whose windows the caller chooses, as it chooses those of `SelectedFiles`.

    Attributes:
        bands: the bands of results, and the files that they are computed of.
    """

    bands: DerivedBands
    _files: SelectedFiles
    _scale: bool
    #: What statistics say of the condition, by the number of the grid.
    _judged: Mapping[int, TilesOfCondition] = field(default_factory=dict)

    @classmethod
    def of(
        cls, rows: IndexRows, arguments: ReadArguments, formulas: PixelFormulas, *, scale: bool
    ) -> DerivedFiles | None:
        """Select the files of a read and the bands of each; None where nothing is left.

        Args:
            rows: of the index.
            arguments: what is read; without bands, formulas alone, or all bands where there are none.
            formulas: what is computed.
            scale: compute with physical values.

        Raises:
            InvalidArgumentError: an argument is wrong, or a band is complex.
            EmptyReadError: no item has the bands that are needed.
        """
        stored = replace(arguments, scaling=GivenScaling())
        needed = _needed(rows, stored, formulas)
        is_given = arguments.bands is not None or not formulas.expressions
        given = rows.select(stored) if is_given else needed
        if not len(given) and not len(needed):
            return None
        given, needed = _scaled(given, needed, arguments.scaling)
        selection = joined(given, needed)
        files = SelectedFiles.of(rows, selection)
        refuse_complex(files.assets)
        bands = derive(
            files.assets,
            _bands_by_file(selection, given) if is_given else [()] * len(selection),
            _bands_by_file(selection, needed),
            formulas,
            len(arguments.bands or ()) + 1,
        )
        if not bands.assets:
            names = ", ".join(map(repr, formulas.labels))
            raise EmptyReadError(
                f"{' and '.join(what for what, _ in formulas.parts())}: none of the items that the other arguments "
                f"leave has all bands that are needed, of {names}; expected one or more"
            )
        return cls(bands, files, scale)

    @property
    def assets(self) -> tuple[PlannedAsset, ...]:
        """The grids, each with its bands."""
        return self.bands.assets

    @property
    def sources(self) -> Sequence[PlannedAsset]:
        """The files whose tiles are read."""
        return self.bands.files

    @property
    def selection(self) -> Selection:
        """What the area touches of each grid."""
        return self._files.selection.take(self.bands.hosts)

    def located(self) -> DerivedFiles:
        """Give the grids so that windows may be planned once the connection is closed; see `SelectedFiles.located`."""
        return replace(self, _files=self._files.located())

    def longitudes(self) -> npt.NDArray[np.float64]:
        """Give the longitude of the middle of each grid's item in degrees, NaN where it is unknown."""
        return self._files.longitudes()[self.bands.hosts]

    def check_scaling(self, group_of: Sequence[int], remedy: str) -> None:
        """Refuse formulas over stored values of different scales in one group; see `DerivedBands.check_scaling`."""
        if not self._scale:
            self.bands.check_scaling(group_of, remedy)

    def windows(self) -> Windows:
        """Give all tiles of all bands that the area touches."""
        selection = self._files.selection
        found = cells_of(Tilings(self._files.assets), selection)
        bounds = np.searchsorted(found.owner, np.arange(len(selection) + 1))
        parts = [
            (asset_no, band, slice(bounds[host], bounds[host + 1]))
            for asset_no, (asset, host) in enumerate(zip(self.assets, self.bands.hosts.tolist(), strict=True))
            for band in asset.bands
        ]
        owner = np.repeat(np.arange(len(parts)), [each.stop - each.start for _, _, each in parts])
        row, col = (np.concatenate([column[each] for _, _, each in parts]) for column in (found.row, found.col))
        asset_no = np.array([number for number, _, _ in parts], np.int64)
        return Windows(asset_no, [band for _, band, _ in parts], Cells(owner, row, col))

    def judged(self, windows: Windows, known: Known) -> DerivedFiles:
        """Find out what statistics of tiles say of the condition in tiles; `possible`, `known` and reads use it.

        Args:
            windows: of the grids.
            known: gives the statistics of the tiles of a band of a file, or None.

        Raises:
            AssetChangedError: statistics are of another version of a file.
        """
        condition, cells = self.bands.formulas.valid_where, windows.cells
        if condition is None:
            return self
        found = {}
        asset_no = windows.asset_no[cells.owner]
        for number in np.unique(asset_no).tolist():
            host, inputs = self.assets[number], self.bands.outputs[number][0].inputs
            mine = asset_no == number
            tiles = np.unique(cells.row[mine] * host.tiles_across + cells.col[mine])
            bounds = {label: self._bounds(host, inputs[label], tiles, known) for label in condition.bands}
            is_possible, is_certain = np.ones(host.tile_count, np.bool_), np.zeros(host.tile_count, np.bool_)
            is_possible[tiles], is_certain[tiles] = may_hold(condition, bounds), holds_everywhere(condition, bounds)
            found[number] = TilesOfCondition(is_possible, is_certain)
        return replace(self, _judged=found)

    def _bounds(self, host: PlannedAsset, source: Source, tiles: npt.NDArray[np.int64], known: Known) -> TileBounds:
        """Give the bounds of a band under tiles of a grid."""
        other = self.bands.files[source.asset_no]
        below = PixelsBelow.of(host, other)
        places = [divmod(tile, host.tiles_across) for tile in tiles.tolist()]
        under = [below.tiles(other, row, col, host) for row, col in places]
        numbers = [[row * other.tiles_across + col for row, col in each] for each in under]
        statistics = known(other, source.band)
        bounds = bounds_of_tiles(statistics, numbers, other.tile_areas(), source.band, scale=self._scale)
        is_beside = np.array([not below.is_inside(other, row, col, host) for row, col in places], np.bool_)
        return replace(bounds, has_invalid=bounds.has_invalid | is_beside)

    def possible(self, windows: Windows) -> Windows:
        """Leave out the tiles in which the condition is known to be true nowhere."""
        cells = windows.cells
        keeps = np.ones(len(cells.owner), np.bool_)
        asset_no = windows.asset_no[cells.owner]
        for number, found in self._judged.items():
            mine = asset_no == number
            tiles = cells.row[mine] * self.assets[number].tiles_across + cells.col[mine]
            keeps[mine] = found.is_possible[tiles]
        return replace(windows, cells=cells.take(keeps))

    def known(self, known: Known) -> Known:
        """Give the statistics of tiles of bands of results: those of a file's band where the condition changes nothing.

        A tile in which the condition is true nowhere has no valid pixel, and one in which it is true everywhere has
        those of the file. Of formulas it is known at most that there are none.

        Args:
            known: gives the statistics of the tiles of a band of a file, or None.
        """
        numbers = {id(asset): number for number, asset in enumerate(self.assets)}

        def of_band(asset: PlannedAsset, band: PlannedBand) -> TileStatistics | None:
            number = numbers[id(asset)]
            own, judged = self.bands.outputs[number][band.band - 1].own, self._judged.get(number)
            found = None if own is None else known(self.bands.files[own.asset_no], own.band)
            if found is None:
                found = TileStatistics.unknown(asset.tile_count)
            if judged is None:
                return found
            is_same = judged.is_certain | (found.valid_count == 0)
            counts = np.where(is_same, found.valid_count, UNKNOWN)
            return replace(found, valid_count=np.where(judged.is_possible, counts, 0))

        return of_band

    def known_valid(self, windows: Windows, planned: WindowPlan, known: Known | None) -> npt.NDArray[np.int64]:
        """Give the number of valid pixels of tiles, as far as it is known, and `UNKNOWN` for all others.

        Args:
            windows: of the grids.
            planned: their plan.
            known: gives the statistics of the tiles of a band of a file; or None.
        """
        found = np.full(len(planned.tiles), UNKNOWN, np.int64)
        if known is None:
            return found
        of_band = self.known(known)
        for number, (asset_no, band) in enumerate(zip(windows.asset_no.tolist(), windows.bands, strict=True)):
            asset, mine = self.assets[asset_no], slice(planned.bounds[number], planned.bounds[number + 1])
            statistics = of_band(asset, band)
            assert statistics is not None
            tiles = planned.tiles.tile_row[mine].astype(np.int64) * asset.tiles_across + planned.tiles.tile_col[mine]
            found[mine] = statistics.valid_count[tiles]
        return found

    def plan_windows(self, windows: Windows) -> WindowPlan:
        """Plan windows of the grids, without the tiles that they are computed of."""
        counts = np.bincount(windows.cells.owner, minlength=len(windows.bands))
        return WindowPlan(self.computed(windows), bounds_of(counts))

    def computed(self, windows: Windows) -> TilePlan:
        """Plan windows of the grids, without the tiles that they are computed of."""
        return plan_computed(self.assets, windows)

    def tiles_of(self, plan: TilePlan) -> DerivedTiles:
        """Plan the tiles that some computed tiles need.

        Raises:
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        certain = {number: found.is_certain for number, found in self._judged.items()}
        return DerivedTiles(self.bands, plan, self._files.plan_windows, scale=self._scale, certain=certain)

    def tiles(self, windows: Windows) -> DerivedTiles:
        """Plan windows of the grids, and the tiles that they are computed of.

        Raises:
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        return self.tiles_of(self.computed(windows))


def _needed(rows: IndexRows, arguments: ReadArguments, formulas: PixelFormulas) -> Selection:
    """Select the bands of formulas; an error says which of them it is about."""
    try:
        return rows.select(replace(arguments, bands=formulas.labels))
    except InvalidArgumentError:
        for what, part in formulas.parts():
            try:
                rows.select(replace(arguments, bands=part.bands))
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"{what}: {error}") from error
        raise


def _scaled(first: Selection, second: Selection, scaling: GivenScaling) -> tuple[Selection, Selection]:
    """Give two selections with scales and offsets of a caller, of bands of either.

    Raises:
        InvalidArgumentError: a scale or offset is that of no band of both.
    """
    bands = scaling.applied([*first.bands, *second.bands])
    count = len(first)
    return replace(first, bands=tuple(bands[:count])), replace(second, bands=tuple(bands[count:]))


def _bands_by_file(selection: Selection, some: Selection) -> list[tuple[PlannedBand, ...]]:
    """Give the bands that some of the files of a selection have in another one."""
    bands = dict(zip(some.files.tolist(), some.bands, strict=True))
    return [bands.get(number, ()) for number in selection.files.tolist()]
