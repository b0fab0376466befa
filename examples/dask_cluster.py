"""Read a collection on a Dask cluster: a lazy cube, whose mean over time many processes compute, and tiles as a table.

    python examples/dask_cluster.py index.parquet --bands red nir

Without an index it makes a small collection of its own and serves it. It runs on a `LocalCluster`; what changes for a
real one is said where it does.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from dask.distributed import Client, LocalCluster

import rasteret_sql as rs

if TYPE_CHECKING:
    import pandas as pd

#: Stored values above this are bright.
BRIGHT = 3000


def main() -> None:
    """Compute a composite, and print what it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", nargs="?", help="an index; left out: a small collection that is made for this")
    parser.add_argument("--bands", nargs="+", default=["red", "nir"])
    parser.add_argument("--crs", default="EPSG:32643")
    parser.add_argument("--resolution", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()

    with ExitStack() as stack:
        index = arguments.index or _collection(stack)
        # On a real cluster this changes:
        # 1. The cluster: no LocalCluster, but Client("tcp://scheduler:8786"), or that of dask-jobqueue, dask-kubernetes
        #    or Coiled.
        # 2. Packages: scheduler and workers need rasteret_sql of the same version.
        # 3. Files: workers must reach them, by URLs or shared paths. Variables that sign requests, such as
        #    AWS_ACCESS_KEY_ID, are set on each worker; tasks carry no secrets.
        # 4. Results: workers write them (below), because compute() brings all of them to this process.
        # The index stays here. Workers need neither it nor DuckDB: a task carries the addresses and byte ranges of its
        # own tiles.
        # Workers are started, not forked: threads and sockets do not survive a fork.
        cluster = stack.enter_context(
            LocalCluster(n_workers=arguments.workers, threads_per_worker=2, dashboard_address=":0")
        )
        client = stack.enter_context(Client(cluster))

        # The plan is made here, once; nothing of the files is read before compute().
        cube = rs.to_xarray(
            index,
            bands=arguments.bands,
            crs=arguments.crs,
            resolution=arguments.resolution,
            groupby="solar_day",
            chunks={"time": 1, "y": 1024, "x": 1024},
            mask_and_scale=True,
            # A file that cannot be read leaves a gap, and is listed, by whichever worker it was.
            on_error="nodata",
        )
        print(f"{len(client.scheduler_info()['workers'])} workers, {cube.nbytes / 1e6:.0f} MB in {cube.sizes}")
        # On a real cluster write from the workers: composite.to_zarr("s3://…").
        composite = cube.mean("time").compute()
        for band in arguments.bands:
            values = composite[band]
            print(f"{band}: mean {float(values.mean()):.4f}, {values.size - int(values.count())} pixels without data")
        for line in cube.attrs["failed"]:
            print(f"failed: {line}")

        # Tiles as rows, for what is no grid: each partition is a shard, and fetches its own files. Here the workers
        # count pixels above a threshold. On a real cluster: tiles.to_parquet("s3://…").
        tiles = rs.to_dask(index, bands=arguments.bands[:1], columns=["item_id", "dtype", "pixels"])
        counts = tiles.map_partitions(_bright, meta={"item_id": "object", "tiles": "int64", "bright": "int64"})
        for row in counts.compute().groupby("item_id").sum().itertuples():
            print(f"{row.tiles} tiles of item {row.Index}: {row.bright} bright pixels")


def _bright(tiles: pd.DataFrame) -> pd.DataFrame:
    """Count the tiles of a partition, and their pixels above a threshold, by item."""
    pixels = [np.frombuffer(data, dtype) for data, dtype in zip(tiles.pixels, tiles.dtype, strict=True)]
    counted = tiles[["item_id"]].assign(tiles=1, bright=[int((values > BRIGHT).sum()) for values in pixels])
    return counted.groupby("item_id").sum().reset_index()


def _collection(stack: ExitStack) -> Path:
    """Make a collection of COGs, serve it, and build its index."""
    from rasteret_sql.testing import RangeServer, write_collection

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    written = write_collection(folder, items=6, size=512, tile=256)
    server = stack.enter_context(RangeServer(folder))
    rs.build_index(server.url(written.document.name), folder / "index.parquet")
    return folder / "index.parquet"


if __name__ == "__main__":
    main()
