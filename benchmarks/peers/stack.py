"""What is done with a dataset once the clock has stopped: bands as one array, and the grid they lie on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers.child import Job


class Stack:
    """Arrays (item, y, x) that become one of shape (item, band, y, x) when NumPy asks for it, so not on the clock."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays

    def __array__(self, dtype: Any = None, *, copy: bool | None = None):
        import numpy as np

        return np.stack(self._arrays, axis=1, dtype=dtype)


def end(job: Job, dataset: Any, call: str) -> None:
    """Stop the clocks, and report the bands of a dataset (time, y, x) that has been read."""
    found = Stack([dataset[band].values for band in job["bands"]])
    job.end(found, keep=kept(job, call), grid=grid(dataset))


def kept(job: Job, call: str) -> str | None:
    """Where the pixels of a call below `benchmarks.peers` are left, None where checksums have to do."""
    return f"{job['kept']}/{call}.npy" if job["kept"] else None


def grid(dataset: Any) -> list[float]:
    """Give width, height, and the first and last pixel centre in x and y."""
    x, y = dataset["x"].values, dataset["y"].values
    return [len(x), len(y), float(x[0]), float(x[-1]), float(y[0]), float(y[-1])]
