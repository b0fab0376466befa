"""Cuts a plan into shards: whole files, balanced by the bytes that they fetch. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.plan.ragged import spread

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy.typing as npt

    from rasteret_sql.plan.tile_plan import TilePlan

    Numbers = npt.NDArray[np.int64]


def fetched_bytes(plan: TilePlan) -> Numbers:
    """Give the bytes of the tiles of each file of a plan; tiles that several rows share count once."""
    image = [plan.asset_no, plan.tile_offset, plan.tile_byte_count]
    rows = np.repeat(np.arange(len(plan)), plan.mask_count)
    numbers = spread(plan.mask_first, plan.mask_count)
    masks = [plan.asset_no[rows], plan.mask_tiles.offset[numbers], plan.mask_tiles.nbytes[numbers]]
    asset_no, offset, nbytes = (np.concatenate(both) for both in zip(image, masks, strict=True))
    order = np.lexsort((offset, asset_no))
    is_new = np.ones(len(order), bool)
    is_new[1:] = (np.diff(asset_no[order]) != 0) | (np.diff(offset[order]) != 0)
    first = order[is_new]
    found = np.zeros(len(plan.assets), np.int64)
    np.add.at(found, asset_no[first], nbytes[first])
    return found


def cut_files(keys: Sequence[Sequence[Hashable]], nbytes: Numbers, count: int) -> list[Numbers]:
    """Cut files into shards.

    Args:
        keys: of each file. Files that share a key stay together, such as assets of one address: their tiles would be
            fetched twice otherwise.
        nbytes: of each file.
        count: of shards; fewer where there are fewer groups of files.

    Returns:
        The numbers of the files of each shard, ascending. Shards follow each other in the order of their first files.
    """
    group = _groups(keys)
    weights = np.bincount(group, nbytes, int(group.max(initial=-1)) + 1).astype(np.int64)
    bounds = cut_balanced(weights, count)
    shard = np.searchsorted(bounds, group, "right") - 1
    order = np.argsort(shard, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(shard[order])) + 1) if len(order) else []


def cut_balanced(weights: Numbers, count: int) -> list[int]:
    """Cut a sequence into runs of weights that are as equal as single elements allow.

    Each run ends where the sum is nearest to its share of what is left.

    Args:
        weights: of the elements.
        count: of runs. None is empty; so there are fewer for fewer elements.

    Returns:
        Where each run begins, and the end of the last one.
    """
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(weights)])
    bounds = [0]
    for left in range(min(count, len(weights)), 1, -1):
        first = bounds[-1]
        aim = ends[first] + (ends[-1] - ends[first]) / left
        end = int(np.searchsorted(ends, aim))
        if end > first + 1 and aim - ends[end - 1] < ends[end] - aim:
            end -= 1
        bounds.append(min(max(end, first + 1), len(weights) - left + 1))
    return [*bounds, len(weights)] if len(weights) else [0]


def _groups(keys: Sequence[Sequence[Hashable]]) -> Numbers:
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
