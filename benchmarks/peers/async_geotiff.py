"""async-geotiff with an HTTP store of obstore, all files at once."""

from __future__ import annotations

import asyncio

from benchmarks.peers.child import Job


def window() -> None:
    """Read one window of all items, from a cold start."""
    job = Job()
    job.end(asyncio.run(_read(job, job["window"])))


def full() -> None:
    """Read whole files; imports are not part of the read."""
    job = Job()
    import async_geotiff  # noqa: F401
    import numpy as np  # noqa: F401
    import obstore.store  # noqa: F401

    job.begin()
    job.end(asyncio.run(_read(job, (0, 0, job["size"], job["size"]))))


async def _read(job: Job, place: tuple[int, int, int, int]):
    import numpy as np
    from async_geotiff import GeoTIFF, Window
    from obstore.store import HTTPStore

    store = HTTPStore.from_url(job["base_url"], client_options={"allow_http": True})
    row, col, height, width = place
    found = np.empty((len(job["files"]), len(job["bands"]), height, width), np.uint16)

    async def read(item: int, band: int) -> None:
        path = job["files"][item][band].removeprefix(job["base_url"]).lstrip("/")
        file = await GeoTIFF.open(path, store=store)
        asked = Window(col_off=col, row_off=row, width=width, height=height)
        found[item, band] = (await file.read(window=asked)).data[0]

    await asyncio.gather(*(read(item, band) for item in range(found.shape[0]) for band in range(found.shape[1])))
    return found
