"""rasterio with a pool of threads, alone and with rasterstats and exactextract: a thread works on a file at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.peers.child import Job
from benchmarks.peers.gdal import BULK, THREADS, settle

if TYPE_CHECKING:
    from collections.abc import Callable


def points() -> None:
    """Sample each file at all points; the blocks of all files fit into GDAL's cache."""

    def sampled(file, places):
        import numpy as np

        return np.fromiter((values[0] for values in file.sample(places)), np.uint16, len(places))

    _points(sampled)


def points_of_whole_files() -> None:
    """Read each file as a whole, and take the pixels of the points from it with NumPy."""

    def taken(file, places):
        import numpy as np

        x, y = np.array(places).T
        col, row = ~file.transform @ (x, y)
        return file.read(1)[np.floor(row).astype(int), np.floor(col).astype(int)]

    _points(taken)


def polygons() -> None:
    """Let rasterstats read a window for each polygon."""

    def computed(file, shapes):
        import rasterstats

        return rasterstats.zonal_stats(shapes, file.name, stats=["count", "mean"])

    _polygons("rasterstats", computed)


def polygons_of_whole_files() -> None:
    """Read each file as a whole, and give its pixels to rasterstats."""

    def computed(file, shapes):
        import rasterstats

        return rasterstats.zonal_stats(
            shapes, file.read(1), affine=file.transform, nodata=file.nodata, stats=["count", "mean"]
        )

    _polygons("rasterstats", computed)


def coverage() -> None:
    """Let exactextract read the pixels of each polygon."""
    _exactextract("feature-sequential")


def coverage_by_raster() -> None:
    """Let exactextract read each raster from its top to its end, and weigh all polygons on the way."""
    _exactextract("raster-sequential")


def _exactextract(strategy: str) -> None:
    def computed(file, shapes):
        from exactextract import exact_extract

        features = [{"type": "Feature", "properties": {}, "geometry": shape.__geo_interface__} for shape in shapes]
        rows = exact_extract(file, features, ["count", "mean"], strategy=strategy)
        return [row["properties"] for row in rows]

    _polygons("exactextract", computed)


def _points(sample: Callable[[Any, list[tuple[float, float]]], Any]) -> None:
    job = Job()
    settle(BULK)
    import numpy as np
    import rasterio

    places = [(x, y) for x, y in job["points"]]
    tasks = [(item, band) for item in range(len(job["files"])) for band in range(len(job["bands"]))]
    job.begin()
    found = np.empty((len(job["files"]), len(job["bands"]), len(places)), np.uint16)

    def read(task: tuple[int, int]) -> None:
        item, band = task
        with rasterio.open(job["files"][item][band]) as file:
            found[item, band] = sample(file, places)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, tasks))
    job.end(found)


def _polygons(library: str, compute: Callable[[Any, list[Any]], list[dict[str, Any]]]) -> None:
    job = Job()
    settle(BULK)
    import numpy as np
    import rasterio
    import shapely

    shapes = [shapely.Polygon(ring) for ring in job["polygons"]]
    # Its import is no part of the work.
    import_module(library)
    job.begin()

    def read(href: str) -> list[dict[str, Any]]:
        with rasterio.open(href) as file:
            return compute(file, shapes)

    with ThreadPoolExecutor(THREADS) as pool:
        rows = list(pool.map(read, [files[0] for files in job["files"]]))
    job.stop()
    job.keep(np.array([[(row["count"], row["mean"]) for row in each] for each in rows], np.float64))
    job.end()
