"""rasteret_sql's `to_xarray`, through its public name alone."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.child import Job
from benchmarks.peers.stack import end


def cold() -> None:
    """Read from a cold start, where imports overlap with the first requests."""
    job = Job()
    import rasteret_sql as rs

    end(job, _read(rs, job), "ours_arrays.cold")


def warm() -> None:
    """Read; imports are not part of the read."""
    job = Job()
    rs = _imported()
    job.begin()
    end(job, _read(rs, job), "ours_arrays.warm")


def dask() -> None:
    """Read through a Dask graph; imports are not part of the read."""
    job = Job()
    rs = _imported()
    job.begin()
    end(job, _read(rs, job, chunks=job["chunks"]).compute(scheduler="threads"), "ours_arrays.dask")


def _imported():
    import contextlib

    import aiohttp  # noqa: F401
    import duckdb  # noqa: F401
    import imagecodecs
    import numpy as np  # noqa: F401
    import pyproj  # noqa: F401
    import xarray as xr  # noqa: F401

    import rasteret_sql as rs

    # xarray imports it with the first dataset, and odc-stac and stackstac before they read.
    with contextlib.suppress(ImportError):
        import dask.array  # noqa: F401
    assert imagecodecs.DEFLATE.available
    assert rs.to_xarray
    return rs


def _read(rs, job: Job, **further: Any):
    arguments: dict[str, Any] = {"bands": job["bands"], "datetime": job["datetime"], **further}
    crs = f"EPSG:{job['epsg']}"
    if job["bounds"] is not None:
        arguments |= {"bbox": job["bounds"], "geometry_crs": crs}
    if job["resampling"] is not None:
        arguments |= {"crs": crs, "resolution": job["resolution"], "resampling": job["resampling"]}
    return rs.to_xarray(job["index"], **arguments)
