"""Where tiles lie, in few numbers: byte counts, the offset of each run of tiles, and the gaps between tiles.

In nearly every file tiles lie back to back, or a constant number of bytes apart, so that an offset follows from the
byte counts before it. Any other order has a gap per tile. `sql/macros/_rst_tile_offset.sql` gives the offsets back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.plan.file_table import RUN_TILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.tiff.model import Level

    Numbers = npt.NDArray[np.int64]

#: Offsets and byte counts below this, and so gaps, fit 64 bits.
MAX_OFFSET: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Lists:
    """One list of numbers per level: all numbers, and how many each level has."""

    values: Numbers
    lengths: Numbers


@dataclass(frozen=True, slots=True)
class Runs:
    """The tiles of some levels as the index has them.

    Attributes:
        tile_byte_counts: per tile; 0 where it is sparse.
        run_offsets: per run of `RUN_TILES` tiles, the offset of the first one that is there; 0 where none is.
        tile_gaps: bytes between the end of a tile and the next one that is there in its run: one number for all of a
            level, or one per tile. Sparse tiles have a gap of 0, and so has the last tile of a run.
    """

    tile_byte_counts: Lists
    run_offsets: Lists
    tile_gaps: Lists


def runs_of(levels: Sequence[Level]) -> Runs:
    """Write the offsets and byte counts of many levels as runs.

    Args:
        levels: each with as many offsets as byte counts, below `MAX_OFFSET`.
    """
    lengths = np.array([level.tile_byte_counts.size for level in levels], np.int64)
    offsets = _joined([level.tile_offsets for level in levels])
    counts = _joined([level.tile_byte_counts for level in levels])
    is_there = (offsets > 0) & (counts > 0)
    counts = np.where(is_there, counts, 0)

    level = np.repeat(np.arange(lengths.size), lengths)
    position = np.arange(offsets.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    runs = -(-lengths // RUN_TILES)
    run = np.repeat(np.cumsum(runs) - runs, lengths) + position // RUN_TILES

    there = np.flatnonzero(is_there)
    is_first = np.append(True, run[there][1:] != run[there][:-1])[: there.size]
    run_offsets = np.zeros(int(runs.sum()), np.int64)
    run_offsets[run[there[is_first]]] = offsets[there[is_first]]

    before, after = there[:-1][~is_first[1:]], there[1:][~is_first[1:]]
    gaps = np.zeros(offsets.size, np.int64)
    gaps[before] = offsets[after] - offsets[before] - counts[before]
    usual = np.zeros(lengths.size, np.int64)
    usual[level[before]] = gaps[before]
    is_one = np.ones(lengths.size, np.bool_)
    is_one[level[before][gaps[before] != usual[level[before]]]] = False
    # One number stands for every tile, and a sparse one has no gap.
    is_one[level[~is_there]] &= usual[level[~is_there]] == 0
    kept = ~is_one[level] | (position == 0)
    values = np.where(is_one[level], usual[level], gaps)[kept]
    return Runs(
        Lists(counts, lengths),
        Lists(run_offsets, runs),
        Lists(values, np.where(is_one, np.minimum(lengths, 1), lengths)),
    )


def _joined(parts: Sequence[Any]) -> Numbers:
    if not parts:
        return np.empty(0, np.int64)
    return np.concatenate([np.asarray(part, np.int64) for part in parts])
