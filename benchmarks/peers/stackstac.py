"""stackstac on Dask's threads, with integers as they are and the settings of GDAL that were the fastest here.

Its own settings stand above those: it caches what it read to open a file.
"""

from __future__ import annotations

from benchmarks.peers.child import Job
from benchmarks.peers.gdal import BULK, THREADS, settle
from benchmarks.peers.stack import grid, kept


def stack() -> None:
    """Read all items and bands into one array."""
    job = Job()
    settle(BULK if job["is_bulk"] else {})
    import json

    import dask
    import numpy as np
    import stackstac
    from rasterio.enums import Resampling

    job.begin()
    with open(job["items"], encoding="utf-8") as file:  # noqa: PTH123
        items = json.load(file)["features"]
    stacked = stackstac.stack(
        items,
        assets=job["bands"],
        epsg=job["epsg"],
        resolution=job["resolution"],
        bounds=job["bounds"],
        snap_bounds=job["bounds"] is None,
        resampling=Resampling[job["resampling"] or "nearest"],
        chunksize=job["chunks"]["x"],
        dtype="uint16",
        fill_value=np.uint16(0),
        rescale=False,
        xy_coords="center",
        properties=False,
    )
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        found = stacked.compute()
    job.end(found.values, keep=kept(job, "stackstac.stack"), grid=grid(found))
