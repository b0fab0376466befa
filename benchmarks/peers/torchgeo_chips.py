"""Chips of a list through a `DataLoader`, from our dataset or from TorchGeo's `RasterDataset`."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.peers.child import Job
from benchmarks.peers.gdal import SETTINGS


def ours_0() -> None:
    """Ours, in this process."""
    _read(_ours, 0)


def ours_2() -> None:
    """Ours, two workers."""
    _read(_ours, 2)


def ours_4() -> None:
    """Ours, four workers."""
    _read(_ours, 4)


def theirs_0() -> None:
    """RasterDataset, in this process."""
    _read(_theirs, 0)


def theirs_2() -> None:
    """RasterDataset, two workers."""
    _read(_theirs, 2)


def theirs_4() -> None:
    """RasterDataset, four workers."""
    _read(_theirs, 4)


def in_blocks() -> None:
    """Ours, chips of a block's size that lie inside blocks."""
    import rasteret_sql as rs

    _sample(lambda dataset, job: rs.block_sampler(dataset, job["size"], length=job["count"], generator=0))


def anywhere() -> None:
    """Ours, chips of the same size that lie anywhere."""
    import torch
    from torchgeo.samplers import RandomGeoSampler

    torch.manual_seed(0)
    _sample(lambda dataset, job: RandomGeoSampler(dataset, job["size"], length=job["count"]))


def _sample(make: Any) -> None:
    """Read the chips of a sampler through a `DataLoader` in this process, from a dataset that is made before."""
    import warnings

    warnings.simplefilter("ignore")
    job = Job()
    from torch.utils.data import DataLoader
    from torchgeo.datasets import stack_samples

    dataset = _ours(job)
    loader = DataLoader(dataset, sampler=make(dataset, job), batch_size=job["batch"], collate_fn=stack_samples)
    # The first chip brings the imports and connections that come once.
    (x, y, _), first = dataset.bounds, dataset.index.index[0]
    dataset[x.start : x.start + 10.0, y.stop - 10.0 : y.stop, first.left : first.right]
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    total = sum(float(batch["image"].double().sum()) for batch in loader)
    job.end(chips_s=time.monotonic() - began_s, chips_cpu_s=time.process_time() - began_cpu_s, pixel_sum=total)


def _read(make: Any, workers: int) -> None:
    import os
    import warnings

    os.environ |= SETTINGS
    warnings.simplefilter("ignore")
    job = Job()
    import pandas as pd
    import torch  # noqa: F401
    from torch.utils.data import DataLoader
    from torchgeo.datasets import stack_samples

    # What both need is there before the clock starts.
    import rasteret_sql.training.dataset  # noqa: F401

    job.begin()
    began_s = time.monotonic()
    dataset = make(job)
    left, _, _, top = _extent(dataset)
    queries = []
    for day, row, col in job["chips"]:
        xmin, ymax = left + 10.0 * col, top - 10.0 * row
        span, start = 10.0 * job["size"], pd.Timestamp(day)
        queries.append(
            (slice(xmin, xmin + span), slice(ymax - span, ymax), slice(start, start + pd.Timedelta(hours=23)))
        )
    half = len(queries) // 2
    epochs = _Epochs([queries[:half], queries[half:]])
    loader = DataLoader(
        dataset,
        sampler=epochs,
        batch_size=job["batch"],
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=stack_samples,
    )
    total, times = 0.0, []
    for _ in range(2):
        for batch in loader:
            total += float(batch["image"].double().sum())
        times.append(time.monotonic())
    job.end(cold_s=times[0] - began_s, warm_s=times[1] - times[0], pixel_sum=total)


class _Epochs:
    """A list of chips per epoch, as a sampler."""

    def __init__(self, epochs: list[list[Any]]) -> None:
        self._epochs = epochs
        self._number = -1

    def __iter__(self) -> Any:
        self._number += 1
        return iter(self._epochs[self._number])

    def __len__(self) -> int:
        return len(self._epochs[0])


def _extent(dataset: Any) -> tuple[float, float, float, float]:
    return tuple(dataset.index.total_bounds)


def _ours(job: Job) -> Any:
    import rasteret_sql as rs

    return rs.to_torchgeo(job["index"], bands=job["bands"])


def _theirs(job: Job) -> Any:
    from torchgeo.datasets import RasterDataset

    class Chips(RasterDataset):
        filename_glob = "*_red.tif"
        filename_regex = r"(?P<date>\d{8})_(?P<band>red|nir)\.tif"
        separate_files = True
        all_bands = tuple(job["bands"])

    # GDAL keeps connections by thread. Those of this thread would be shared by all workers that are forked from it, and
    # their reads would fail.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(Chips, [f"/vsicurl/{url}" for url in job["urls"]]).result()
