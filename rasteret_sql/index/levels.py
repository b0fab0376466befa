"""Levels of TIFF headers as the nested columns of the index. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.database.schema import index_schema
from rasteret_sql.tiff.model import TileFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from rasteret_sql.tiff.model import Level

    Numbered = tuple[Level | None, int]
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

_FORMAT_FIELDS = tuple(field.name for field in fields(TileFormat))


def levels_to_arrow(rows: Sequence[Sequence[Level]]) -> tuple[pa.ListArray, pa.ListArray]:
    """Give the levels of many files as the columns `formats` and `levels` of the index.

    Args:
        rows: `Header.levels` of each file.

    Returns:
        One list of structs per file, of the types that the schema gives `formats` and `levels`.
    """
    formats = [_formats_of(levels) for levels in rows]
    numbers = [{form: number for number, form in enumerate(forms, 1)} for forms in formats]
    flat: list[Numbered] = [
        (level, known[level.format]) for levels, known in zip(rows, numbers, strict=True) for level in levels
    ]
    masks: list[Numbered] = [
        (level.mask, known[level.mask.format] if level.mask is not None else 0)
        for levels, known in zip(rows, numbers, strict=True)
        for level in levels
    ]
    return _lists(formats, _format_structs(formats), "formats"), _lists(rows, _structs(flat, masks), "levels")


def _formats_of(levels: Sequence[Level]) -> list[TileFormat]:
    """Give the formats of the levels and masks of one file, each once."""
    parts = [part for level in levels for part in (level, level.mask) if part is not None]
    return list(dict.fromkeys(part.format for part in parts))


def _lists(rows: Sequence[Sequence[Any]], values: pa.Array, column: str) -> pa.ListArray:
    import numpy as np
    import pyarrow as pa

    ends = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), values, type=index_schema().field(column).type)


def _format_structs(formats: Sequence[Sequence[TileFormat]]) -> pa.Array:
    import pyarrow as pa

    kind = index_schema().field("formats").type.value_type
    return pa.array([{name: getattr(form, name) for name in _FORMAT_FIELDS} for row in formats for form in row], kind)


def _structs(
    levels: Sequence[Numbered], masks: Sequence[Numbered] = (), kind: pa.StructType | None = None
) -> pa.StructArray:
    """Give one struct per level; null for no level."""
    import numpy as np
    import pyarrow as pa

    kind = kind or index_schema().field("levels").type.value_type
    there = [(level, number) for level, number in levels if level is not None]
    runs = runs_of([level for level, _ in there])
    arrays = []
    for field in kind:
        if field.name == "format":
            values = pa.array([number for _, number in there], field.type)
        elif field.name == "mask":
            values = _structs(masks, kind=field.type)
        elif pa.types.is_list(field.type):
            lists = getattr(runs, field.name)
            ends = np.concatenate([[0], np.cumsum(lists.lengths)]).astype(np.int32)
            values = pa.ListArray.from_arrays(pa.array(ends), pa.array(lists.values), type=field.type)
        else:
            values = pa.array([getattr(level, field.name) for level, _ in there], field.type)
        arrays.append(values)
    structs = pa.StructArray.from_arrays(arrays, fields=list(kind))
    if len(there) == len(levels):
        return structs
    position = np.cumsum([level is not None for level, _ in levels]) - 1
    indices = pa.array(
        [int(at) if level is not None else None for at, (level, _) in zip(position, levels, strict=True)],
        pa.int64(),
    )
    return structs.take(indices)


#: Tiles of a run: part of the format of an index. The readers have the same number: `_rst_run_tiles()` and `plan`.
RUN_TILES: Final = 64
#: Offsets and byte counts below this, and so gaps, fit 64 bits.
MAX_OFFSET: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Lists:
    """One list of numbers per level: all numbers, and the length of each list."""

    values: Numbers
    lengths: Numbers


@dataclass(frozen=True, slots=True)
class Runs:
    """The tiles of some levels as the index has them.

    In nearly every file tiles lie back to back, or a constant number of bytes apart, so that offsets follow from the
    byte counts. Tiles in any other order have a gap each. `sql/macros/_rst_tile_offset.sql` gives the offsets back.

    Attributes:
        tile_byte_counts: per tile; 0 for a sparse tile.
        run_offsets: per run of `RUN_TILES` tiles, the offset of its first tile that is not sparse; 0 if all are.
        tile_gaps: bytes from the end of a tile to the next tile of its run that is not sparse: one number for a whole
            level, or one per tile. The gap of a sparse tile and of the last tile of a run is 0.
    """

    tile_byte_counts: Lists
    run_offsets: Lists
    tile_gaps: Lists


def runs_of(levels: Sequence[Level]) -> Runs:
    """Give the offsets and byte counts of many levels as runs.

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
