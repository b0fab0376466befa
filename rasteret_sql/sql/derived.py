"""The files of a read whose pixels are computed: formulas as bands, and a condition that pixels must meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rasteret_sql.errors import EmptyReadError, InvalidArgumentError
from rasteret_sql.plan.derived import PixelsBelow, derive
from rasteret_sql.plan.possible import may_hold
from rasteret_sql.plan.ragged import bounds_of
from rasteret_sql.plan.scaling import GivenScaling
from rasteret_sql.plan.select import cells_of, joined
from rasteret_sql.plan.tiles import Cells, Tilings, WindowPlan, Windows, plan_computed
from rasteret_sql.read.by_file import refuse_complex
from rasteret_sql.read.derived import DerivedTiles
from rasteret_sql.read.tile_statistics import UNKNOWN, bounds_of_tiles
from rasteret_sql.sql.selected import SelectedFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.arguments import ReadArguments
    from rasteret_sql.plan.derived import DerivedBands
    from rasteret_sql.plan.formulas import PixelFormulas
    from rasteret_sql.plan.select import Selection
    from rasteret_sql.plan.tile_plan import PlannedAsset, PlannedBand, TilePlan
    from rasteret_sql.read.zonal import Known
    from rasteret_sql.sql.index_rows import IndexRows


@dataclass(frozen=True, slots=True, eq=False)
class DerivedFiles:
    """The grids of results, whose windows the caller chooses, as it chooses those of `SelectedFiles`.

    Attributes:
        bands: the bands of results, and the files that they are computed of.
    """

    bands: DerivedBands
    _files: SelectedFiles
    _scale: bool

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

    def possible(self, windows: Windows, known: Known) -> Windows:
        """Leave out the tiles in which the condition is true nowhere; the arguments are those of `may_hold`."""
        return replace(windows, cells=windows.cells.take(self.may_hold(windows, known)))

    def may_hold(self, windows: Windows, known: Known) -> npt.NDArray[np.bool_]:
        """Say in which tiles the condition may be true somewhere, as far as statistics of tiles say it.

        Args:
            windows: of the grids.
            known: gives the statistics of the tiles of a band of a file, or None.
        """
        condition, cells = self.bands.formulas.valid_where, windows.cells
        if condition is None:
            return np.ones(len(cells.owner), np.bool_)
        asset_no = windows.asset_no[cells.owner]
        keeps = np.ones(len(cells.owner), np.bool_)
        for number in np.unique(asset_no).tolist():
            mine = np.flatnonzero(asset_no == number)
            host, inputs = self.assets[number], self.bands.outputs[number][0].inputs
            bounds = {}
            for label in condition.bands:
                source = inputs[label]
                other = self.bands.files[source.asset_no]
                statistics = known(other, source.band)
                below = PixelsBelow.of(host, other)
                tiles = [
                    below.tiles(other, row, col, host)
                    for row, col in zip(cells.row[mine].tolist(), cells.col[mine].tolist(), strict=True)
                ]
                numbers = [[row * other.tiles_across + col for row, col in each] for each in tiles]
                bounds[label] = bounds_of_tiles(statistics, numbers, source.band, scale=self._scale)
            keeps[mine] = may_hold(condition, bounds)
        return keeps

    def known_valid(self, windows: Windows, planned: WindowPlan, known: Known | None) -> npt.NDArray[np.int64]:
        """Give 0 for tiles in which the condition is true nowhere, and `UNKNOWN` for all others.

        Args:
            windows: of the grids.
            planned: their plan.
            known: gives the statistics of the tiles of a band of a file; or None.
        """
        found = np.full(len(planned.tiles), UNKNOWN, np.int64)
        if known is not None:
            found[~self.may_hold(windows, known)] = 0
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
        return DerivedTiles(self.bands, plan, self._files.plan_windows, scale=self._scale)

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
