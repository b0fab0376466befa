"""Read a collection on a Dask cluster: an index, a lazy cube, and a mean over time that many processes compute.

    python examples/dask_cluster.py index.parquet --bands red nir

Without an index it makes a small collection of its own and serves it. It runs on a `LocalCluster`; what changes for a
real one is said where it does.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from dask.distributed import Client, LocalCluster

import rasteret_sql as rs


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
        # A real cluster: Client("tcp://scheduler:8786"). Its scheduler and workers need rasteret_sql of the same
        # version, and workers must reach the files: URLs or shared paths, and what signs requests (environment
        # variables) on each of them. They need neither the index nor DuckDB: a task carries the addresses and byte
        # ranges of its own tiles.
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
        )
        print(f"{len(client.scheduler_info()['workers'])} workers, {cube.nbytes / 1e6:.0f} MB in {cube.sizes}")
        # On a real cluster write from the workers: composite.to_zarr("s3://…").
        composite = cube.mean("time").compute()
        for band in arguments.bands:
            values = composite[band]
            print(f"{band}: mean {float(values.mean()):.4f}, {int(values.isnull().sum())} pixels without data")


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
