"""Lists of numbers of several lengths as one array: what NumPy computes with where Python would loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Lists of numbers, back to back.

    Attributes:
        values: the numbers of all lists.
        bounds: where each list begins in `values`, and the end of the last one; int64, shape (lists + 1,).
    """

    values: npt.NDArray[Any]
    bounds: Numbers

    def __len__(self) -> int:
        """Count the lists."""
        return len(self.bounds) - 1

    def __getitem__(self, number: int) -> npt.NDArray[Any]:
        """Give one list."""
        return self.values[self.bounds[number] : self.bounds[number + 1]]

    @property
    def lengths(self) -> Numbers:
        """The length of each list."""
        return np.diff(self.bounds)

    def take(self, numbers: Numbers) -> Ragged:
        """Give some of the lists, in the order of `numbers`."""
        lengths = self.lengths[numbers]
        return Ragged(self.values[spread(self.bounds[numbers], lengths)], bounds_of(lengths))

    @classmethod
    def of(cls, lists: Sequence[Any], dtype: Any) -> Ragged:
        """Make it of lists."""
        parts = [np.asarray(part, dtype) for part in lists]
        values = np.concatenate(parts) if parts else np.empty(0, dtype)
        return cls(values, bounds_of(np.array([len(part) for part in parts], np.int64)))


def bounds_of(lengths: npt.NDArray[Any]) -> Numbers:
    """Give where lists of these lengths begin when they lie back to back, and the end of the last one."""
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds


def spread(starts: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> Numbers:
    """Give `starts[0], starts[0] + 1, …` up to `lengths[0]` numbers, then those from `starts[1]`, and so on."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    numbers: Numbers = np.arange(total) + np.repeat(np.asarray(starts, np.int64) - (ends - lengths), lengths)
    return numbers


def cut_between(keys: Sequence[npt.NDArray[Any]], max_count: int | None) -> list[int]:
    """Give the bounds of runs of at most `max_count` elements, or of one group if it is longer.

    Args:
        keys: columns of the same length. Neighbours that agree in all of them are a group, and stay together.
        max_count: None for one run.

    Returns:
        Where each run begins, and the end of the last one; (0, 0) for no elements.
    """
    count = len(keys[0])
    if max_count is None or count <= max_count:
        return [0, count]
    is_new = np.any([np.diff(column) != 0 for column in keys], axis=0)
    ends = np.append(np.flatnonzero(is_new) + 1, count)
    return [0, *(int(ends[number - 1]) for number in cut_by_ends(ends, max_count)[1:])]


def cut_by_ends(ends: npt.NDArray[Any], max_count: int) -> list[int]:
    """Give the bounds of runs of groups that have at most `max_count` elements together, or are one group.

    Args:
        ends: where each group ends, ascending, among the elements of all.

    Returns:
        Where each run begins, and the end of the last one; (0, 0) for no groups.
    """
    bounds = [0]
    while bounds[-1] < len(ends):
        begun = int(ends[bounds[-1] - 1]) if bounds[-1] else 0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(ends, begun + max_count, "right"))))
    return bounds if len(ends) else [0, 0]
