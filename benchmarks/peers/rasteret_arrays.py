"""rasteret 0.4.1's `get_xarray` of a collection that was built before."""

from __future__ import annotations

from benchmarks.peers.child import Job
from benchmarks.peers.rasteret import imported
from benchmarks.peers.stack import end


def read() -> None:
    """Read an area of all items."""
    job = Job()
    rasteret = imported()
    import shapely

    job.begin()
    collection = rasteret.load(job["rasteret_folder"])
    found = collection.get_xarray(
        shapely.box(*job["bounds"]), bands=job["bands"], geometry_crs=job["epsg"], max_concurrent=128, progress=False
    )
    end(job, found.squeeze("geometry", drop=True), "rasteret_arrays.read")
