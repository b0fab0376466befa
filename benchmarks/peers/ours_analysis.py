"""rasteret_sql: values at points, statistics of polygons, and pixels as rows; imports are not part of the work."""

from __future__ import annotations

import contextlib

from benchmarks.peers.child import Job


def points() -> None:
    """Read the values of all items and bands at points."""
    job = Job()
    rs = _imported()
    import numpy as np
    import pyarrow as pa

    places = np.array(job["points"])
    given = pa.table({"point": np.arange(len(places)), "x": places[:, 0], "y": places[:, 1]})
    job.begin()
    rows = rs.sample_points(
        job["index"], given, bands=job["bands"], x_column="x", y_column="y", geometry_crs=job["crs"]
    ).read_all()
    job.stop()
    found = np.zeros((len(job["item_ids"]), len(job["bands"]), len(places)), np.uint16)
    where = _numbers(rows, "item_id", job["item_ids"]), _numbers(rows, "band", job["bands"]), rows["point"].to_numpy()
    # NULL, where a pixel is nodata, is 0 in the file.
    found[where] = rows["value"].fill_null(0).to_numpy()
    job.end(found, rows=len(rows))


def polygons() -> None:
    """Compute statistics of the pixels whose centres lie in polygons."""
    _zonal("none")


def coverage() -> None:
    """Compute statistics of the pixels that polygons cover, weighed by the covered part."""
    _zonal("coverage")


def pixels() -> None:
    """Average all pixels of a large index, as rows, in SQL."""
    job = Job()
    rs = _imported()
    con = rs.connect()
    job.begin()
    rows = con.execute(
        "SELECT band, avg(value), count(*) FROM read_pixels($1, bands := $2) GROUP BY band ORDER BY band",
        [job["pixel_index"], job["bands"]],
    ).fetchall()
    job.stop()
    assert [band for band, _, _ in rows] == sorted(job["bands"])
    job.end(pixels=sum(count for _, _, count in rows))


def _zonal(weights: str) -> None:
    job = Job()
    rs = _imported()
    import numpy as np
    import pyarrow as pa
    import shapely

    shapes = shapely.to_wkb([shapely.Polygon(ring) for ring in job["polygons"]])
    given = pa.table({"zone": np.arange(len(shapes)), "geometry": pa.array(shapes, pa.binary())})
    job.begin()
    rows = rs.zonal_stats(
        job["index"],
        given,
        bands=job["bands"][:1],
        stats=["count", "mean"],
        geometry_crs=job["crs"],
        weights=weights,
    ).read_all()
    job.stop()
    found = np.full((len(job["item_ids"]), len(shapes), 2), np.nan)
    where = _numbers(rows, "item_id", job["item_ids"]), rows["zone"].to_numpy()
    for number, statistic in enumerate(("count", "mean")):
        found[(*where, number)] = rows[statistic].to_numpy()
    job.keep(found)
    job.end(rows=len(rows))


def _numbers(rows, column: str, names: list[str]):
    """Give the position of each value of a column among names, int64 (rows,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.index_in(rows[column], pa.array(names)).to_numpy()


def _imported():
    import aiohttp  # noqa: F401
    import duckdb  # noqa: F401
    import imagecodecs
    import pyarrow.compute
    import pyarrow.dataset
    import pyproj  # noqa: F401
    import shapely  # noqa: F401

    import rasteret_sql as rs

    assert imagecodecs.DEFLATE.available
    assert pyarrow.compute.index_in
    assert pyarrow.dataset.dataset
    assert rs.sample_points
    with contextlib.suppress(ImportError):
        # pyarrow imports it, where it is installed, with the first array that it makes.
        import pandas as pd  # noqa: F401
    return rs
