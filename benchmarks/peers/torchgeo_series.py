"""The first batch of a time series through a `DataLoader`, from our dataset or from TorchGeo's `RasterDataset`."""

from __future__ import annotations

import importlib
import time
from typing import Any, Final

from benchmarks.peers.child import Job
from benchmarks.peers.gdal import SETTINGS

#: What our dataset imports when it is made and read. The clock starts after imports, of all readers alike.
_OF_OURS: Final = (
    "duckdb",
    "imagecodecs",
    "aiohttp",
    "rasteret_sql.io.http",
    "rasteret_sql.read.assembly",
    "rasteret_sql.sql.connection",
    "rasteret_sql.sql.files",
    "rasteret_sql.sql.readers",
    "rasteret_sql.tiff.decode",
    "rasteret_sql.tiff.image_codecs",
    "rasteret_sql.training.dataset",
    "rasteret_sql.training.torchgeo",
)


def ours() -> None:
    """Ours."""
    _read(_ours, _OF_OURS)


def theirs() -> None:
    """RasterDataset."""
    _read(_theirs, ("rasterio.vrt", "rasterio.merge"))


def _read(make: Any, modules: tuple[str, ...]) -> None:
    import os
    import warnings

    os.environ |= SETTINGS
    warnings.simplefilter("ignore")
    job = Job()
    import pandas as pd
    from torch.utils.data import DataLoader
    from torchgeo.datasets import stack_samples

    for name in modules:
        importlib.import_module(name)
    step = job["resolution"]
    job.begin()
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    dataset = make(job)
    made_s = time.monotonic()
    times = slice(pd.Timestamp(2024, 1, 1), pd.Timestamp(2024, 12, 31))
    queries = [(slice(xmin, xmax, step), slice(ymin, ymax, step), times) for xmin, ymin, xmax, ymax in job["areas"]]
    loader = DataLoader(dataset, batch_sampler=[queries], collate_fn=stack_samples)
    batch = next(iter(loader))["image"]
    job.stop()
    cpu_s = time.process_time() - began_cpu_s
    job.end(making_s=made_s - began_s, work_cpu_s=cpu_s, shape=list(batch.shape), pixel_sum=float(batch.double().sum()))


def _ours(job: Job) -> Any:
    import rasteret_sql as rs

    return rs.to_torchgeo(job["index"], bands=job["bands"], time_series=True, crs=f"EPSG:{job['epsg']}")


def _theirs(job: Job) -> Any:
    from torchgeo.datasets import RasterDataset

    class Scenes(RasterDataset):
        filename_glob = "*_red.tif"
        filename_regex = r".*_(?P<date>\d{8})_red\.tif"

    paths = [f"/vsicurl/{href}" for (href,) in job["files"]]
    return Scenes(paths, crs=_crs(job["epsg"]), res=job["resolution"], time_series=True)


def _crs(epsg: int) -> Any:
    from pyproj import CRS

    return CRS.from_epsg(epsg)
