"""Where the bytes of tiles lie: offsets from byte counts, offsets of runs, and gaps, as the index keeps them.

Tiles of a level are cut into runs of `RUN_TILES`. A tile begins where its run does, behind the tiles of the run before
it and the gaps between them. `sql/macros/_rst_tile_offset.sql` says the same in SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from rasteret_sql.plan.ragged import Ragged, bounds_of, spread

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

#: Tiles of a run, which share an offset: those of the others are sums of at most so many numbers. `_rst_run_tiles` says
#: the same in SQL.
RUN_TILES: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class TileBytes:
    """Where the tiles of some levels lie; each column has one list per level, empty where there are no tiles.

    Attributes:
        counts: bytes of each tile, plane by plane, row by row; 0 for a sparse tile, below 0 for an unknown one.
        run_offsets: of each run of `RUN_TILES` tiles, where its first tile that is not sparse begins.
        gaps: bytes between a tile and the next one of its run: one number for all of a level, or one per tile.
    """

    counts: Ragged
    run_offsets: Ragged
    gaps: Ragged

    def locate(self, level: Numbers, tile: Numbers) -> tuple[Numbers, Numbers]:
        """Give the offsets and byte counts of tiles.

        Args:
            level: the level of each tile.
            tile: its number in the level, from 0.

        Returns:
            Offsets and byte counts; 0 and 0 where a tile is sparse, an offset of -1 where the index does not have it.
        """
        run = tile // RUN_TILES
        is_known = (tile < self.counts.lengths[level]) & (run < self.run_offsets.lengths[level])
        if not is_known.all():
            offset, count = np.full(len(tile), -1, np.int64), np.zeros(len(tile), np.int64)
            offset[is_known], count[is_known] = self.locate(level[is_known], tile[is_known])
            return offset, count
        count = self.counts.values[self.counts.bounds[level] + tile].astype(np.int64)
        offset = self.run_offsets.values[self.run_offsets.bounds[level] + run] + self._before(level, tile)
        has_gaps = self.gaps.lengths[level] > 0
        offset = np.where((count < 0) | ((count > 0) & ~has_gaps), -1, np.where(count == 0, 0, offset))
        return offset, np.maximum(count, 0)

    def _before(self, level: Numbers, tile: Numbers) -> Numbers:
        """Give the bytes of a tile's run that lie before it."""
        first = self.counts.bounds[level] + tile // RUN_TILES * RUN_TILES
        # Only runs that tiles are asked of are summed: a table that is mapped from disk has millions.
        runs, sample, run_of = np.unique(first, return_index=True, return_inverse=True)
        lengths = np.minimum(self.counts.bounds[level[sample] + 1] - runs, RUN_TILES)
        places = spread(runs, lengths)
        owner = np.repeat(level[sample], lengths)
        sizes = np.maximum(self.counts.values[places].astype(np.int64), 0)
        gap_count = self.gaps.lengths[owner]
        # One gap stands for all tiles of its level, sparse ones too.
        within = np.where(gap_count > 1, places - self.counts.bounds[owner], 0)
        if self.gaps.values.size:
            found = self.gaps.bounds[owner] + np.minimum(within, np.maximum(gap_count - 1, 0))
            sizes += np.where(gap_count > 0, self.gaps.values[np.minimum(found, self.gaps.values.size - 1)], 0)
        sums, starts = bounds_of(sizes), bounds_of(lengths)[:-1]
        begin = starts[run_of.reshape(-1)]
        before: Numbers = sums[begin + tile % RUN_TILES] - sums[begin]
        return before


@dataclass(frozen=True, slots=True, eq=False)
class LevelBytes:
    """Where the tiles of some levels lie, and those of their internal masks."""

    image: TileBytes
    mask: TileBytes
