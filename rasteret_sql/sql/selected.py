"""The files that a read selects, whose windows its caller chooses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rasteret_sql.plan.tiles import Layouts, plan_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.select import Selection
    from rasteret_sql.plan.tile_bytes import LevelBytes
    from rasteret_sql.plan.tile_plan import PlannedAsset, TilePlan
    from rasteret_sql.plan.tiles import WindowPlan, Windows
    from rasteret_sql.read.by_file import FileTiles
    from rasteret_sql.read.zonal import Known
    from rasteret_sql.sql.index_rows import IndexRows


@dataclass(frozen=True, slots=True, eq=False)
class SelectedFiles:
    """The files of a read, whose windows the caller chooses.

    Attributes:
        assets: the files.
        selection: their rows, levels, bands and windows.
    """

    assets: tuple[PlannedAsset, ...]
    selection: Selection
    _rows: IndexRows
    #: Where the tiles of all files lie, once `located` has fetched it.
    _level_bytes: LevelBytes | None = None

    @classmethod
    def of(cls, rows: IndexRows, selection: Selection) -> SelectedFiles:
        """Take the files of a selection."""
        found = rows.index.files.assets(selection.files, selection.levels, selection.bands, selection.windows)
        return cls(found, selection, rows)

    @property
    def sources(self) -> Sequence[PlannedAsset]:
        """The files whose tiles are read."""
        return self.assets

    def longitudes(self) -> npt.NDArray[np.float64]:
        """Give the longitude of the middle of each file's item in degrees, NaN where it is unknown.

        Plans have them where the properties of the items were asked for.
        """
        return self._rows.properties_of(self.selection).longitude

    def located(self) -> SelectedFiles:
        """Fetch the offsets of the tiles of all files, so that windows may be planned once the connection is closed.

        Raises:
            InvalidIndexError: a tile lies outside of its file.
        """
        return replace(self, _level_bytes=self._rows.level_bytes(self.selection.files, self.selection.levels))

    def plan_windows(self, windows: Windows) -> WindowPlan:
        """Plan windows of the files. Offsets of tiles are fetched for the files of the windows only.

        Args:
            windows: their files are numbers in `assets`.

        Raises:
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        used, asset_no = np.unique(windows.asset_no, return_inverse=True)
        level_bytes, slots = self._level_bytes, used
        if level_bytes is None:
            level_bytes = self._rows.level_bytes(self.selection.files[used], self.selection.levels[used])
            slots = np.arange(len(used))
        layouts = Layouts([self.assets[number] for number in used.tolist()], level_bytes, slots)
        return plan_windows(layouts, replace(windows, asset_no=asset_no))

    def judged(self, windows: Windows, known: Known) -> SelectedFiles:  # noqa: ARG002 - see `DerivedFiles`
        """Give the files themselves: no condition chooses their pixels."""
        return self

    def possible(self, windows: Windows) -> Windows:
        """Give all tiles: no condition chooses their pixels."""
        return windows

    def known(self, known: Known) -> Known:
        """Give the statistics of tiles themselves: bands of results are those of the files."""
        return known

    def known_valid(self, windows: Windows, planned: WindowPlan, known: Known | None) -> npt.NDArray[np.int64]:
        """Give the number of valid pixels of tiles, as far as it is known; see `read/valid_share.known_counts`.

        Args:
            windows: of the files.
            planned: their plan.
            known: gives the statistics of the tiles of a band of a file; or None.

        Raises:
            AssetChangedError: statistics are of another version of a file.
        """
        from rasteret_sql.read.valid_share import known_counts

        found = [np.empty(0, np.int64)]
        for number, (asset_no, band) in enumerate(zip(windows.asset_no.tolist(), windows.bands, strict=True)):
            asset = self.assets[asset_no]
            plan = planned.tiles.take(np.arange(planned.bounds[number], planned.bounds[number + 1]))
            found.append(known_counts(asset, plan, None if known is None else known(asset, band)))
        return np.concatenate(found)

    def tiles_of(self, plan: TilePlan) -> FileTiles:
        """Give the tiles of a plan, file by file."""
        from rasteret_sql.read.by_file import FileTiles, in_file_order

        return FileTiles(in_file_order(plan))

    def tiles(self, windows: Windows) -> FileTiles:
        """Plan windows of the files, file by file.

        Raises:
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        return self.tiles_of(self.plan_windows(windows).tiles)

    def check_scaling(self, group_of: Sequence[int], remedy: str) -> None:
        """Do nothing: nothing is computed of bands of these files."""
