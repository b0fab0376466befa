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
    from rasteret_sql.plan.tile_plan import PlannedAsset
    from rasteret_sql.plan.tiles import WindowPlan, Windows
    from rasteret_sql.read.by_file import FileTiles
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

    @classmethod
    def of(cls, rows: IndexRows, selection: Selection) -> SelectedFiles:
        """Take the files of a selection."""
        found = rows.index.files.assets(selection.files, selection.levels, selection.bands, selection.windows)
        return cls(found, selection, rows)

    def longitudes(self) -> npt.NDArray[np.float64]:
        """Give the longitude of the middle of each file's item in degrees, NaN where it is unknown.

        Plans have them where the properties of the items were asked for.
        """
        return self._rows.properties_of(self.selection).longitude

    def plan_windows(self, windows: Windows) -> WindowPlan:
        """Plan windows of the files. Offsets of tiles are fetched for the files of the windows only.

        Args:
            windows: their files are numbers in `assets`.

        Raises:
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        used, asset_no = np.unique(windows.asset_no, return_inverse=True)
        level_bytes = self._rows.level_bytes(self.selection.files[used], self.selection.levels[used])
        layouts = Layouts([self.assets[number] for number in used.tolist()], level_bytes, np.arange(len(used)))
        return plan_windows(layouts, replace(windows, asset_no=asset_no))

    def tiles(self, windows: Windows) -> FileTiles:
        """Plan windows of the files, file by file.

        Raises:
            InvalidIndexError: the index does not have the bytes of a tile.
        """
        from rasteret_sql.read.by_file import FileTiles, in_file_order

        return FileTiles(in_file_order(self.plan_windows(windows).tiles))

    def check_scaling(self, group_of: Sequence[int], remedy: str) -> None:
        """Do nothing: nothing is computed of bands of these files."""
