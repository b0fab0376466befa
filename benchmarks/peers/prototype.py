"""The least that such a read can be: a plan from arrays, ranges by obstore, and imagecodecs in threads.

It checks nothing: no version of a file, no redirect, no address, no truncated tile. It can read tiles of one codec,
predictor and dtype. So it is a bound for readers that do more, and no reader.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from benchmarks.peers.child import Job


def window() -> None:
    """Read one window of all items, from a cold start."""
    job = Job()
    job.end(asyncio.run(_read(job, job["window"])))


def window_read() -> None:
    """Read one window of all items; imports are not part of the read."""
    job = Job()
    _import()
    job.begin()
    job.end(asyncio.run(_read(job, job["window"])))


def full() -> None:
    """Read whole files; imports are not part of the read."""
    job = Job()
    _import()
    job.begin()
    job.end(asyncio.run(_read(job, [0, 0, job["size"], job["size"]])))


def _import() -> None:
    import imagecodecs
    import numpy as np  # noqa: F401
    import obstore.store  # noqa: F401

    assert imagecodecs.DEFLATE.available


async def _read(job: Job, window: list[int]) -> Any:
    """Give the pixels of a window of all files, shape (item, band, y, x)."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import obstore
    from obstore.store import HTTPStore

    plan = np.load(job["prototype_plan"])
    offsets, ends = plan["offsets"], plan["offsets"] + plan["byte_counts"]
    row_off, col_off, height, width = window
    tile, across = int(plan["tile"]), int(plan["across"])
    rows = range(row_off // tile, -(-(row_off + height) // tile))
    cols = range(col_off // tile, -(-(col_off + width) // tile))
    found = np.empty((len(job["files"]), len(job["bands"]), height, width), np.uint16)
    store = HTTPStore.from_url(job["base_url"], client_options={"allow_http": True})
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def place(data: memoryview, file: int, row: int, col: int) -> None:
        import imagecodecs

        encoded = data[: ends[file, row * across + col] - offsets[file, row * across + col]]
        pixels = np.frombuffer(imagecodecs.deflate_decode(encoded, out=2 * tile * tile), "<u2").reshape(tile, tile)
        top, left = row * tile - row_off, col * tile - col_off
        y, x = slice(max(top, 0), min(top + tile, height)), slice(max(left, 0), min(left + tile, width))
        kept = pixels[y.start - top : y.stop - top]
        # Differences are undone along whole rows, of which the window takes a part.
        undone = imagecodecs.delta_decode(kept, axis=1)
        found[file // len(job["bands"]), file % len(job["bands"]), y, x] = undone[:, x.start - left : x.stop - left]

    async def read(file: int, path: str) -> None:
        # Tile rows of a window lie apart, and the tiles of a row side by side.
        async def read_row(row: int) -> None:
            first, last = row * across + cols[0], row * across + cols[-1]
            start = int(offsets[file, first])
            data = memoryview(await obstore.get_range_async(store, path, start=start, end=int(ends[file, last])))
            await asyncio.gather(
                *(
                    loop.run_in_executor(
                        threads, place, data[offsets[file, row * across + col] - start :], file, row, col
                    )
                    for col in cols
                )
            )

        await asyncio.gather(*map(read_row, rows))

    paths = [href.removeprefix(job["base_url"]).lstrip("/") for files in job["files"] for href in files]
    await asyncio.gather(*(read(file, path) for file, path in enumerate(paths)))
    threads.shutdown()
    return found
