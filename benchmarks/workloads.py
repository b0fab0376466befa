"""The workloads: who takes part, which clock counts, and what we promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OURS = "rasteret_sql"
#: What bounds a reader: it checks nothing.
PROTOTYPE = "prototype"


@dataclass(frozen=True, slots=True)
class Target:
    """Our time is to be at most `most` times the time of a peer."""

    peer: str
    most: float


@dataclass(frozen=True, slots=True)
class Workload:
    """One comparison.

    Attributes:
        name: as it is asked for.
        title: what is done; filled in with the fields of the job.
        clock: the field of a run that counts.
        calls: function below `benchmarks.peers` by contender.
        targets: what we promise.
        measured_once: contenders so slow that one run has to do.
        tolerance: relative difference up to which results that runs keep (`Job.keep`) are the same.
    """

    name: str
    title: str
    clock: Literal["process_s", "read_s"]
    calls: dict[str, str]
    targets: tuple[Target, ...] = ()
    measured_once: tuple[str, ...] = ()
    tolerance: float = 0.0


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "W1",
            "cold start: a window of {window[2]}² x {bands} bands x {items} items, whole process",
            "process_s",
            {
                OURS: "ours.window",
                "rasterio": "gdal.window",
                "rasteret": "rasteret.window",
                "async-geotiff": "async_geotiff.window",
                PROTOTYPE: "prototype.window",
            },
            (Target("rasteret", 0.5), Target("async-geotiff", 1.0)),
        ),
        Workload(
            "W1-read",
            "the same, read only",
            "read_s",
            {OURS: "ours.window_read", PROTOTYPE: "prototype.window_read"},
            (Target(PROTOTYPE, 1.3),),
        ),
        Workload(
            "W2",
            "read only: {size}² x {bands} bands x {full_items} items",
            "read_s",
            {
                OURS: "ours.full",
                "rasterio": "gdal.full",
                "rasterio, GDAL's chunk size": "gdal.full_usual",
                "rasteret": "rasteret.full",
                "async-geotiff": "async_geotiff.full",
                PROTOTYPE: "prototype.full",
            },
            (Target("rasterio", 0.7), Target("rasterio, GDAL's chunk size", 0.7)),
        ),
        Workload(
            "W3",
            "read only: {chips} chips of {chip_size}² at random places, {bands} bands of {items} items; "
            "rasterio is given them sorted by file",
            "read_s",
            {
                OURS: "ours.chips",
                "rasterio": "gdal.chips_by_file",
                "rasterio, in the order asked": "gdal.chips_in_order",
                "rasterio, one open per chip": "gdal.chips_one_by_one",
            },
            (Target("rasterio", 1 / 1.8), Target("rasterio, in the order asked", 1 / 1.8)),
            measured_once=("rasterio, in the order asked", "rasterio, one open per chip"),
        ),
        Workload(
            "W4",
            "headers of {files} files, whole process; ours also writes Parquet",
            "process_s",
            {OURS: "ours.headers", "rasterio": "gdal.headers"},
        ),
        Workload(
            "memory",
            "{gigabytes:.1f} GB of pixels streamed through SELECT sum(octet_length(pixels)) FROM read_tiles(...)",
            "read_s",
            {OURS: "ours.stream"},
        ),
        Workload(
            "points",
            "{points:,} points x {items} items x {bands} bands",
            "read_s",
            {
                OURS: "ours_analysis.points",
                "rasterio": "gdal_analysis.points",
                "rasterio, whole files": "gdal_analysis.points_of_whole_files",
            },
            (Target("rasterio", 1 / 4),),
        ),
        Workload(
            "points-half",
            "{points:,} points x {items} items x {bands} bands",
            "read_s",
            {OURS: "ours_analysis.points", "rasteret": "rasteret.points"},
            (Target("rasteret", 1 / 4),),
        ),
        Workload(
            "polygons",
            "count and mean of {polygons:,} polygons x {items} items, pixels by their centres",
            "read_s",
            {
                OURS: "ours_analysis.polygons",
                "rasterstats": "gdal_analysis.polygons",
                "rasterstats, whole files": "gdal_analysis.polygons_of_whole_files",
            },
            (Target("rasterstats", 1 / 4), Target("rasterstats, whole files", 1 / 4)),
            measured_once=("rasterstats",),
            tolerance=1e-12,
        ),
        Workload(
            "coverage",
            "count and mean of {polygons:,} polygons x {items} items, pixels by the covered part",
            "read_s",
            {
                OURS: "ours_analysis.coverage",
                "exactextract": "gdal_analysis.coverage",
                "exactextract, by raster": "gdal_analysis.coverage_by_raster",
            },
            (Target("exactextract", 1 / 4), Target("exactextract, by raster", 1 / 4)),
            # exactextract computes the covered parts as float32.
            tolerance=1e-5,
        ),
        Workload(
            "pixels",
            "SELECT band, avg(value) FROM read_pixels(...) GROUP BY band over {pixels:,} pixels",
            "read_s",
            {OURS: "ours_analysis.pixels"},
        ),
    )
}

#: Peak resident memory of the process that streams.
MOST_RSS_BYTES = 600_000_000
