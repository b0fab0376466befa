"""Fetches ranges of one file with one transport, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

# What a read has imported before it chooses a transport.
import numpy as np  # noqa: F401

from rasteret_sql.io import loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_IN_FLIGHT = 64


def aiohttp() -> None:
    """Fetch with our store."""
    job, began_s = json.loads(sys.argv[1]), time.process_time()
    import aiohttp  # noqa: F401

    from rasteret_sql.io.stores import store_for

    imported_s = time.process_time() - began_s
    store = store_for(job["url"])

    async def fetch(start: int, end: int) -> int:
        return len((await store.fetch(job["url"], start, end)).data)

    _measure(job, imported_s, fetch)


def obstore() -> None:
    """Fetch with obstore, which checks nothing."""
    job, began_s = json.loads(sys.argv[1]), time.process_time()
    import obstore
    from obstore.store import HTTPStore

    imported_s = time.process_time() - began_s
    base, _, name = job["url"].rpartition("/")
    store = HTTPStore.from_url(base, client_options={"allow_http": True})

    async def fetch(start: int, end: int) -> int:
        return len(await obstore.get_range_async(store, name, start=start, end=end))

    _measure(job, imported_s, fetch)


def _measure(job: dict[str, Any], imported_s: float, fetch: Callable[[int, int], Awaitable[int]]) -> None:
    nbytes = job["nbytes"]

    async def read(count: int) -> None:
        slots = asyncio.Semaphore(_IN_FLIGHT)

        async def one(number: int) -> None:
            async with slots:
                start = number % 16 * nbytes
                assert await fetch(start, start + nbytes) == nbytes

        await asyncio.gather(*map(one, range(count)))

    # Connections are made before the clock starts.
    loop.run(read(_IN_FLIGHT))
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    loop.run(read(job["count"]))
    facts = {
        "import_cpu_s": imported_s,
        "cpu_s": time.process_time() - began_cpu_s,
        "s": time.perf_counter() - began_s,
    }
    sys.stdout.write(json.dumps(facts) + "\n")
