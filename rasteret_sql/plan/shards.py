"""Cuts a plan into shards, balanced by the bytes that they fetch: between files, and inside large ones. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rasteret_sql.plan.ragged import spread
from rasteret_sql.plan.requests import MAX_REQUEST_BYTES, coalesce

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import TilePlan

    Numbers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

#: A file with so many times the bytes of a fair share is cut at any cost: shards are within a tenth of each other then.
_MOST_SHARES: Final = 1.1
#: Bytes of a file, and of a fair share, for which the file is cut at all. Pieces of fewer are less than a request.
_LEAST_BYTES: Final = MAX_REQUEST_BYTES
#: How far a cut moves to the end of a request, as a part of a share.
_SLACK: Final = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class _Ranges:
    """The byte ranges of a plan, each once.

    Attributes:
        file, start, end: where each lies.
        rows, range_of_row: each row of the plan and a range that it needs; a row may need several.
    """

    file: Numbers
    start: Numbers
    end: Numbers
    rows: Numbers
    range_of_row: Numbers

    @classmethod
    def of(cls, plan: TilePlan) -> _Ranges:
        files: dict[Hashable, int] = {}
        keys = [files.setdefault((asset.address, asset.identity), len(files)) for asset in plan.assets]
        rows = np.repeat(np.arange(len(plan)), plan.mask_count)
        masks = spread(plan.mask_first, plan.mask_count)
        rows = np.concatenate([np.arange(len(plan)), rows])
        start = np.concatenate([plan.tile_offset, plan.mask_tiles.offset[masks]])
        nbytes = np.concatenate([plan.tile_byte_count, plan.mask_tiles.nbytes[masks]])
        is_there = nbytes > 0
        rows, start, nbytes = rows[is_there], start[is_there], nbytes[is_there]
        file = np.array(keys, np.int64)[plan.asset_no[rows]]
        order = np.lexsort((start, file))
        is_new = np.ones(len(order), bool)
        is_new[1:] = (np.diff(file[order]) != 0) | (np.diff(start[order]) != 0)
        number = np.cumsum(is_new) - 1
        first = order[is_new]
        return cls(file[first], start[first], start[first] + nbytes[first], rows[order], number)


def fetched_bytes(plan: TilePlan) -> int:
    """Give the bytes of the tiles of a plan in their files; tiles that several rows share count once."""
    ranges = _Ranges.of(plan)
    return int((ranges.end - ranges.start).sum())


def cut_plan(
    plan: TilePlan,
    keys: Sequence[Sequence[Hashable]],
    count: int,
    joined: Callable[[], tuple[Numbers, Numbers]] | None = None,
) -> list[Numbers]:
    """Cut a plan into shards.

    Cuts lie between files, or where a request of a large file ends: these cost nothing. If no such place is near, a
    file that is larger than a fair share is cut between any two tiles, for one more request at most. No tile is needed
    by two shards.

    Args:
        plan: the tiles.
        keys: of each file. Files that share a key are cut as one file, such as assets of one address: their tiles would
            be fetched twice otherwise.
        count: of shards; fewer where there are fewer files, and those are small.
        joined: gives numbers and rows; rows with the same number stay together, and files are cut at rows of tiles
            from top to bottom. None for files that are cut in the order of their bytes.

    Returns:
        The rows of each shard, ascending. Shards follow each other in the order of their first files.
    """
    if not len(plan):
        return []
    ranges = _Ranges.of(plan)
    group = groups_of(keys)
    nbytes = ranges.end - ranges.start
    group_of_row = group[plan.asset_no]
    # A range counts where it is first needed.
    _, first = np.unique(ranges.range_of_row, return_index=True)
    row_bytes = np.bincount(ranges.rows[first], nbytes, len(plan)).astype(np.int64)
    weight = np.bincount(group_of_row, row_bytes)
    count = min(count, max(len(np.unique(group_of_row)), int(nbytes.sum()) // _LEAST_BYTES))
    is_large, is_huge = weight > _LEAST_BYTES, weight > _MOST_SHARES * max(weight.sum() / count, _LEAST_BYTES)
    order = _ordered(plan, group_of_row, is_by_place=joined is not None)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    is_start = np.diff(group_of_row[order], prepend=-1) != 0
    is_clean = np.ones(len(order), bool)
    if is_large.any():
        can_cut = ~_crossed(ranges.range_of_row, position[ranges.rows], len(order))
        if joined is not None:
            number, rows = joined()
            can_cut &= ~_crossed(number, position[rows], len(order))
        request = coalesce(ranges.file, ranges.start, ranges.end)
        is_clean = ~_crossed(request[ranges.range_of_row], position[ranges.rows], len(order))
        is_start |= can_cut & np.where(is_clean, is_large[group_of_row[order]], is_huge[group_of_row[order]])
    starts = np.flatnonzero(is_start)
    bounds = cut_balanced(np.add.reduceat(row_bytes[order], starts), count, is_clean[starts])
    ends = np.append(starts, len(order))[bounds]
    return [np.sort(order[first:end]) for first, end in pairwise(ends.tolist())]


def cut_balanced(weights: Numbers, count: int, is_clean: Flags | None = None) -> list[int]:
    """Cut a sequence into runs of weights that are as equal as single elements allow.

    Each run ends where the sum is nearest to its share of what is left.

    Args:
        weights: of the elements.
        count: of runs. None is empty; so there are fewer for fewer elements.
        is_clean: of each element, whether a run had better begin with it: it does if the sum is near enough. None where
            all elements are alike.

    Returns:
        Where each run begins, and the end of the last one.
    """
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(weights)])
    clean = np.empty(0, np.int64) if is_clean is None else np.flatnonzero(is_clean)
    bounds = [0]
    for left in range(min(count, len(weights)), 1, -1):
        first = bounds[-1]
        share = (ends[-1] - ends[first]) / left
        aim = ends[first] + share
        end = int(np.searchsorted(ends, aim))
        if end > first + 1 and aim - ends[end - 1] < ends[end] - aim:
            end -= 1
        low, high = np.searchsorted(ends, [aim - _SLACK * share, aim + _SLACK * share])
        near = clean[slice(*np.searchsorted(clean, [max(low, first + 1), high]))]
        if len(near):
            end = int(near[np.argmin(np.abs(ends[near] - aim))])
        bounds.append(min(max(end, first + 1), len(weights) - left + 1))
    return [*bounds, len(weights)] if len(weights) else [0]


def groups_of(keys: Sequence[Sequence[Hashable]]) -> Numbers:
    """Number what is linked by shared keys, in the order of the first of each group."""
    parent = list(range(len(keys)))

    def root_of(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    owner: dict[Any, int] = {}
    for number, each in enumerate(keys):
        for key in each:
            one, other = sorted((root_of(owner.setdefault(key, number)), root_of(number)))
            parent[other] = one
    roots = np.array([root_of(number) for number in range(len(keys))], np.int64)
    return np.unique(roots, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _ordered(plan: TilePlan, group_of_row: Numbers, *, is_by_place: bool) -> Numbers:
    """Give the rows group by group, in the order in which a large group is cut."""
    address: dict[str, int] = {}
    file = np.array([address.setdefault(asset.address, len(address)) for asset in plan.assets], np.int64)[plan.asset_no]
    keys = [plan.tile_offset, file]
    if is_by_place:
        heights = np.array([asset.format.tile_height for asset in plan.assets], np.int64)
        keys.append(plan.tile_row * heights[plan.asset_no])
    return np.lexsort((*keys, group_of_row))


def _crossed(number: Numbers, position: Numbers, count: int) -> Flags:
    """Say of each of `count` positions whether elements of one number lie before it, and at or behind it."""
    low = np.full(int(number.max(initial=-1)) + 1, count, np.int64)
    high = np.full_like(low, -1)
    np.minimum.at(low, number, position)
    np.maximum.at(high, number, position)
    is_used = high >= 0
    change = np.bincount(low[is_used] + 1, minlength=count + 2) - np.bincount(high[is_used] + 1, minlength=count + 2)
    crossed: Flags = np.cumsum(change)[:count] > 0
    return crossed
