"""rasteret_sql, through its public names alone."""

from __future__ import annotations

import contextlib
import time

from benchmarks.peers.child import Job


def window() -> None:
    """Read one window of all items, from a cold start."""
    job = Job()
    import rasteret_sql as rs

    found = rs.to_numpy(job["index"], bands=job["bands"], bbox=job["bounds"], geometry_crs=job["crs"])
    job.end(found.data)


def window_read() -> None:
    """Read one window of all items; imports are not part of the read."""
    job = Job()
    rs = _imported()
    job.begin()
    found = rs.to_numpy(job["index"], bands=job["bands"], bbox=job["bounds"], geometry_crs=job["crs"])
    job.end(found.data)


def full() -> None:
    """Read whole files; imports are not part of the read."""
    job = Job()
    rs = _imported()
    job.begin()
    found = rs.to_numpy(job["index"], bands=job["bands"], datetime=job["full_datetime"])
    job.end(found.data)


def chips() -> None:
    """Read many small windows at random places; imports are not part of the read."""
    job = Job()
    rs = _imported()
    ids = job["item_ids"]
    job.begin()
    found = rs.read_chips(
        job["index"],
        [(ids[item], row, col) for item, row, col in job["chips"]],
        size=job["chip_size"],
        bands=job["bands"],
    )
    job.end(found.data)


def headers() -> None:
    """Read the headers of many files into a Parquet index, from a cold start."""
    job = Job()
    import rasteret_sql as rs

    report = rs.build_index(job["hrefs"], job["written_index"], pattern="{item_id}.tif")
    job.end(files=report.rows)


def build() -> None:
    """Build an index of many files; imports are not part of the build."""
    job = Job()
    import aiohttp  # noqa: F401
    import duckdb  # noqa: F401
    import pyproj  # noqa: F401
    import shapely  # noqa: F401
    from pyarrow import parquet  # noqa: F401

    import rasteret_sql as rs
    from rasteret_sql.index import build, finish, rows  # noqa: F401

    with contextlib.suppress(ImportError):
        # pyarrow imports it, where it is installed, with the first array that it makes.
        import pandas as pd  # noqa: F401
    job.begin()
    report = rs.build_index(job["hrefs"], job["written_index"], pattern="{item_id}.tif")
    job.end(files=report.rows)


def with_options() -> None:
    """Stream tiles with some settings; imports are not part of the read."""
    job = Job()
    rs = _imported()
    import pyarrow as pa  # noqa: F401

    rs.set_options(**job["options"])
    job.begin()
    began_s = time.process_time()
    nbytes = sum(batch.nbytes for batch in rs.read_tiles(job["index"], **job["arguments"]))
    job.end(nbytes=nbytes, read_cpu_s=time.process_time() - began_s)


def stream() -> None:
    """Stream all tiles of a large index through SQL, which adds up their sizes."""
    job = Job()
    import rasteret_sql as rs

    con = rs.connect()
    job.begin()
    rows = con.execute(
        "SELECT sum(octet_length(pixels)), count(*) FROM read_tiles($1)", [job["repeated_index"]]
    ).fetchall()
    ((nbytes, tiles),) = rows
    job.end(nbytes=int(nbytes), tiles=int(tiles))


def _imported():
    import aiohttp  # noqa: F401
    import duckdb  # noqa: F401
    import imagecodecs
    import numpy as np  # noqa: F401

    import rasteret_sql as rs

    assert imagecodecs.DEFLATE.available
    assert rs.to_numpy
    return rs
