"""odc-stac with its pool of threads and with Dask's, and the settings of GDAL that were the fastest here."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.child import Job
from benchmarks.peers.gdal import BULK, THREADS, settle
from benchmarks.peers.stack import end


def pool() -> None:
    """Read with odc-stac's own pool."""
    _run("odc_stac.pool", pool=THREADS)


def dask() -> None:
    """Read through a Dask graph, one task per item and band."""
    job = Job()
    _run("odc_stac.dask", chunks=job["chunks"])


def _run(call: str, **how: Any) -> None:
    job = Job()
    settle(BULK if job["is_bulk"] else {})
    import json

    import odc.stac
    import pystac

    job.begin()
    with open(job["items"], encoding="utf-8") as file:  # noqa: PTH123
        items = [pystac.Item.from_dict(item) for item in json.load(file)["features"]]
    where: dict[str, Any] = {"crs": f"EPSG:{job['epsg']}", "resolution": job["resolution"]}
    if job["bounds"] is not None:
        west, south, east, north = job["bounds"]
        where |= {"x": (west, east), "y": (south, north)}
    found = odc.stac.load(items, bands=job["bands"], resampling=job["resampling"], **where, **how)
    if "chunks" in how:
        found = found.compute(scheduler="threads", num_workers=THREADS)
    end(job, found, call)
