"""rasteret 0.4.1: a collection that was built before, opened and read."""

from __future__ import annotations

from benchmarks.peers.child import Job


def build() -> None:
    """Build the collection that `window` and `full` open."""
    job = Job()
    import pyarrow as pa
    import shapely

    rasteret = imported()

    xmin, ymin, xmax, ymax = job["footprint"]
    footprint = shapely.box(xmin, ymin, xmax, ymax)
    table = pa.table(
        {
            "id": job["item_ids"],
            "datetime": pa.array(job["times_us"], pa.timestamp("us", "UTC")),
            "geometry": pa.array([footprint.wkb] * len(job["item_ids"]), pa.binary()),
            "bbox": pa.array(
                [{"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}] * len(job["item_ids"]),
                pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")]),
            ),
            "proj:epsg": pa.array(job.values.get("epsgs") or [job["epsg"]] * len(job["item_ids"]), pa.int64()),
            "assets": [
                {band: {"href": href} for band, href in zip(job["bands"], files, strict=True)} for files in job["files"]
            ],
        }
    )
    rasteret.build_from_table(
        table,
        name="bench",
        workspace_dir=job["rasteret_folder"],
        enrich_cog=True,
        band_codes=job["bands"],
        force=True,
    )
    job.end(files=len(job["files"]) * len(job["bands"]))


def build_many() -> None:
    """Build a collection of many files of one band; imports, and the table that it is built of, are not part of it."""
    job = Job()
    import pyarrow as pa
    import shapely

    rasteret = imported()
    count = len(job["hrefs"])
    footprint = shapely.box(*job["footprint"])
    bbox = dict(zip(("xmin", "ymin", "xmax", "ymax"), job["footprint"], strict=True))
    table = pa.table(
        {
            "id": [f"item-{number}" for number in range(count)],
            "datetime": pa.array([job["time_us"]] * count, pa.timestamp("us", "UTC")),
            "geometry": pa.array([footprint.wkb] * count, pa.binary()),
            "bbox": pa.array([bbox] * count, pa.struct([(name, pa.float64()) for name in bbox])),
            "proj:epsg": pa.array([job["epsg"]] * count, pa.int64()),
            "assets": [{"data": {"href": href}} for href in job["hrefs"]],
        }
    )
    job.begin()
    built = rasteret.build_from_table(
        table,
        name="bench",
        workspace_dir=job["rasteret_folder"],
        enrich_cog=True,
        band_codes=["data"],
        # As many as its batches have, and more; fewer were slower.
        max_concurrent=300,
        force=True,
    )
    headers = built.dataset.to_table(["data_metadata"]).column("data_metadata")
    job.end(files=len(headers) - headers.null_count)


def window() -> None:
    """Read one window of all items, from a cold start."""
    job = Job()
    job.end(_read(imported(), job, job["bounds"]))


def full() -> None:
    """Read whole files; imports are not part of the read."""
    job = Job()
    rasteret = imported()
    job.begin()
    job.end(_read(rasteret, job, job["all_bounds"]))


def series() -> None:
    """Read the first batch of a time series, from opening the collection; imports are not part of it."""
    job = Job()
    rasteret = imported()
    import time

    import numpy as np
    from rasteret.core import window_read  # noqa: F401
    from rasteret.fetch import header_parser  # noqa: F401

    job.begin()
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    collection = rasteret.load(job["rasteret_folder"])
    made_s = time.monotonic()
    samples = [
        collection.read_window(
            record_ids=job["item_ids"],
            bounds=tuple(area),
            res=(job["resolution"], job["resolution"]),
            bands=job["bands"],
            target_crs=job["epsg"],
            max_concurrent=128,
            group_by="id",
        )
        for area in job["areas"]
    ]
    batch = np.stack(samples).astype(np.float32)
    job.stop()
    cpu_s = time.process_time() - began_cpu_s
    job.end(
        making_s=made_s - began_s,
        work_cpu_s=cpu_s,
        shape=list(batch.shape),
        pixel_sum=float(batch.astype(np.float64).sum()),
    )


def imported():
    """Import rasteret, which reads from a server without TLS from then on."""
    import rasteret
    import rasteret.fetch.cog

    # rasteret reads over https alone. Reading imports this module anyway.
    rasteret.fetch.cog._OBSTORE_CLIENT_OPTIONS["allow_http"] = "true"  # noqa: SLF001
    return rasteret


def _read(rasteret, job: Job, bounds):
    import shapely

    collection = rasteret.load(job["rasteret_folder"])
    return collection.get_numpy(
        shapely.box(*bounds), bands=job["bands"], geometry_crs=job["epsg"], max_concurrent=128, progress=False
    )


def points() -> None:
    """Read the values of all items and bands at points; imports are not part of it."""
    job = Job()
    rasteret = imported()
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    places = np.array(job["points"])
    given = pa.table({"x": places[:, 0], "y": places[:, 1]})
    job.begin()
    rows = rasteret.load(job["rasteret_folder"]).sample_points(
        given,
        bands=job["bands"],
        x_column="x",
        y_column="y",
        geometry_crs=job["epsg"],
        max_concurrent=128,
        progress=False,
    )
    job.stop()
    found = np.zeros((len(job["item_ids"]), len(job["bands"]), len(places)), np.uint16)
    item, band = (
        pc.index_in(rows[column], pa.array(names)).to_numpy()
        for column, names in (("record_id", job["item_ids"]), ("band", job["bands"]))
    )
    found[item, band, rows["point_index"].to_numpy()] = rows["value"].fill_null(0).to_numpy()
    job.end(found, rows=len(rows))
