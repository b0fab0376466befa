"""rasterio (GDAL) with a pool of threads and the settings that were the fastest here."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING

from benchmarks.peers.child import Job

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

#: One request per header and as few as possible for tiles; no look at the folder, no HEAD. More threads, VSI_CACHE and
#: larger first reads were slower or no faster.
SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "CPL_VSIL_CURL_USE_HEAD": "NO",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_TCP_KEEPALIVE": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_CACHEMAX": "512",
    "VSI_CACHE": "NO",
}
#: For reads that take most of every file: faster than GDAL's defaults of 16 kB and 16 MB, but slower for windows.
BULK = {"CPL_VSIL_CURL_CHUNK_SIZE": "1048576", "CPL_VSIL_CURL_CACHE_SIZE": "500000000"}
THREADS = int(os.environ.get("BENCHMARK_GDAL_THREADS", "16"))


def window() -> None:
    """Read one window of all items, from a cold start."""
    job = Job()
    settle()
    import numpy as np

    row, col, height, width = job["window"]
    found = np.empty((len(job["files"]), len(job["bands"]), height, width), np.uint16)
    _read_each(job, found, ((row, row + height), (col, col + width)))
    job.end(found)


def full() -> None:
    """Read whole files; imports are not part of the read."""
    _read_full(BULK)


def full_usual() -> None:
    """Read whole files without the settings for bulk."""
    _read_full({})


def _read_full(further: dict[str, str]) -> None:
    job = Job()
    settle(further)
    import numpy as np
    import rasterio

    assert rasterio.open
    job.begin()
    found = np.empty((len(job["files"]), len(job["bands"]), job["size"], job["size"]), np.uint16)
    _read_each(job, found, None)
    job.end(found)


def chips_by_file() -> None:
    """Read many small windows, all those of one file by one thread, so that GDAL decodes each tile once."""
    job = Job()
    settle(BULK)
    import numpy as np
    import rasterio

    size = job["chip_size"]
    by_item: dict[int, list[tuple[int, int, int]]] = {}
    for number, (item, row, col) in enumerate(job["chips"]):
        by_item.setdefault(item, []).append((number, row, col))

    job.begin()
    found = np.empty((len(job["chips"]), len(job["bands"]), size, size), np.uint16)

    def read(task: tuple[int, int]) -> None:
        item, band = task
        with rasterio.open(job["files"][item][band]) as file:
            for number, row, col in sorted(by_item[item], key=lambda chip: chip[1:]):
                file.read(1, window=((row, row + size), (col, col + size)), out=found[number, band])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, [(item, band) for item in by_item for band in range(len(job["bands"]))]))
    job.end(found)


def chips_in_order() -> None:
    """Read many small windows in the order in which they are asked for; each thread keeps the files that it opened."""
    import threading

    mine = threading.local()

    def opened(href: str):
        import rasterio

        files = mine.__dict__.setdefault("files", {})
        if href not in files:
            files[href] = rasterio.open(href)
        return nullcontext(files[href])

    _read_chips(opened)


def chips_one_by_one() -> None:
    """Read many small windows in the order in which they are asked for; each opens its file."""

    def opened(href: str):
        import rasterio

        return rasterio.open(href)

    _read_chips(opened)


def headers() -> None:
    """Open many files; nothing is written."""
    job = Job()
    settle()
    import rasterio

    def read(href: str):
        with rasterio.open(href) as file:
            return file.profile, file.overviews(1)

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(read, job["hrefs"]))
    job.end(files=len(found))


def settle(further: dict[str, str] | None = None) -> None:
    """Set GDAL up, where the environment does not say otherwise."""
    for name, value in {**SETTINGS, **(further or {})}.items():
        os.environ.setdefault(name, value)


def _read_chips(opened: Callable[[str], AbstractContextManager]) -> None:
    job = Job()
    settle()
    import numpy as np
    import rasterio

    assert rasterio.open
    size = job["chip_size"]
    job.begin()
    found = np.empty((len(job["chips"]), len(job["bands"]), size, size), np.uint16)

    def read(task: tuple[int, int]) -> None:
        number, band = task
        item, row, col = job["chips"][number]
        with opened(job["files"][item][band]) as file:
            file.read(1, window=((row, row + size), (col, col + size)), out=found[number, band])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, [(number, band) for number in range(len(found)) for band in range(len(job["bands"]))]))
    job.end(found)


def _read_each(job: Job, found, window) -> None:
    import rasterio

    def read(task: tuple[int, int]) -> None:
        item, band = task
        with rasterio.open(job["files"][item][band]) as file:
            file.read(1, window=window, out=found[item, band])

    items, bands = found.shape[:2]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, [(item, band) for item in range(items) for band in range(bands)]))
