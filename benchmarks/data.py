"""What is read: a synthetic collection, many small files and the indexes of both, all served by one local server."""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

import rasteret_sql as rs
from rasteret_sql.index.header_columns import RUN_TILES
from rasteret_sql.testing import bench_collection

if TYPE_CHECKING:
    from rasteret_sql.testing import CollectionInfo, RangeServer

EPSG = 32643
#: Pixel size and upper left corner of every file of `bench_collection`.
PIXEL_M, WEST, NORTH = 10.0, 700_000.0, 1_450_000.0
_DISTINCT_SMALL_FILES = 16


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is read.

    Attributes:
        items: items of the collection, of two bands each.
        full_items: those of them that are read as a whole.
        size: height and width of a file, in pixels.
        tile: height and width of a tile, in pixels.
        window: height and width of a window and of a chip, in pixels.
        chips: how many chips are read at a time.
        files: how many headers are read.
        stream_bytes: pixels that are streamed through SQL.
        points: places at which all files are sampled.
        polygons: zones over the whole collection, each some hectares.
        pixels: pixels that are averaged in SQL, as rows.
        latency_s: how long the server waits before each answer.
    """

    items: int = 24
    full_items: int = 12
    size: int = 2048
    tile: int = 512
    window: int = 256
    chips: int = 2_000
    files: int = 1_000
    stream_bytes: int = 10_000_000_000
    points: int = 10_000
    polygons: int = 1_000
    pixels: int = 1_000_000_000
    latency_s: float = 0.03


#: Proves that the scripts work; its times mean nothing.
TINY = Scale(
    items=2, full_items=1, size=256, tile=64, window=32, chips=10, files=5, stream_bytes=1_000_000, points=50,
    polygons=20, pixels=300_000, latency_s=0.0,
)  # fmt: skip
BANDS = ["red", "nir"]


@dataclass(frozen=True, slots=True)
class Data:
    """Files that are there, and the folder for what is made of them."""

    scale: Scale
    served: Path
    folder: Path
    collection: CollectionInfo
    small: list[Path]


def write_data(folder: Path, scale: Scale) -> Data:
    """Write all files below a folder."""
    served = folder / "served"
    collection = bench_collection(
        served / "collection", items=scale.items, bands=len(BANDS), size=scale.size, tile=scale.tile
    )
    return Data(scale, served, folder, collection, write_small(served / "small", scale))


def write_small(folder: Path, scale: Scale) -> list[Path]:
    """Write many files of few tiles; most of them are further names of the same few."""
    side = min(scale.size, 512)
    distinct = bench_collection(
        folder / "distinct", items=min(scale.files, _DISTINCT_SMALL_FILES), bands=1, size=side, tile=side // 4
    )
    paths = [Path(href) for href in distinct.hrefs]
    names = [folder / f"{number:04d}.tif" for number in range(scale.files)]
    for number, name in enumerate(names):
        name.unlink(missing_ok=True)
        source = paths[number % len(paths)]
        try:
            os.link(source, name)
        except OSError:
            shutil.copy(source, name)
    return names


def make_job(data: Data, server: RangeServer) -> dict[str, Any]:
    """Build the indexes, and give all that the measured processes need to know."""
    scale, items = data.scale, data.collection.items
    index = data.folder / "index.parquet"
    rs.build_index(server.url("collection/items.json"), index)
    repeated = data.folder / "repeated.parquet"
    nbytes = scale.items * len(BANDS) * scale.size**2 * 2
    _write_repeated(index, repeated, math.ceil(scale.stream_bytes / nbytes))
    many_pixels = data.folder / "pixels.parquet"
    _write_repeated(index, many_pixels, math.ceil(2 * scale.pixels / nbytes))
    plan = data.folder / "prototype.npz"
    _write_prototype_plan(index, plan, scale)
    kept = data.folder / "kept"
    kept.mkdir(exist_ok=True)
    row, col = scale.tile + scale.tile // 4, scale.tile - scale.window // 2
    west, south, east, north = items[0].bbox
    days = [items[0].when, items[scale.full_items - 1].when]
    rng = random.Random(0)
    most = scale.size - scale.window
    return {
        "index": str(index),
        "repeated_index": str(repeated),
        "pixel_index": str(many_pixels),
        "kept": str(kept),
        "prototype_plan": str(plan),
        "written_index": str(data.folder / "small.parquet"),
        "rasteret_folder": str(data.folder / "rasteret" / "bench_records"),
        "base_url": server.base_url,
        "bands": BANDS,
        "crs": f"EPSG:{EPSG}",
        "epsg": EPSG,
        "item_ids": [item.item_id for item in items],
        "times_us": [round(item.when.timestamp() * 1e6) for item in items],
        "full_datetime": "/".join(f"{day:%Y-%m-%d}" for day in days),
        "files": [[server.url(item.assets[band]) for band in BANDS] for item in items],
        "full_items": scale.full_items,
        "footprint": [west, south, east, north],
        "size": scale.size,
        "window": [row, col, scale.window, scale.window],
        "bounds": _bounds(row, col, scale.window),
        "all_bounds": _bounds(0, 0, scale.size),
        "chip_size": scale.window,
        "chips": [[rng.randrange(scale.items), rng.randint(0, most), rng.randint(0, most)] for _ in range(scale.chips)],
        "points": _points(rng, scale),
        "polygons": polygons(rng, scale.polygons, scale.size),
        "hrefs": [server.url(path) for path in data.small],
    }


def polygons(rng: random.Random, count: int, size: int) -> list[list[list[float]]]:
    """Draw rings of fields of 5 to 12 corners, 100 to 300 m around their middles, inside files of `size` pixels."""
    found = []
    for _ in range(count):
        most = min(300.0, PIXEL_M * size / 4)
        x = WEST + rng.uniform(most, PIXEL_M * size - most)
        y = NORTH - rng.uniform(most, PIXEL_M * size - most)
        corners = rng.randint(5, 12)
        ring = []
        for number in range(corners):
            angle, reach = 2 * math.pi * number / corners, rng.uniform(most / 3, most)
            ring.append([x + reach * math.cos(angle), y + reach * math.sin(angle)])
        found.append(ring)
    return found


def _points(rng: random.Random, scale: Scale) -> list[list[float]]:
    side = PIXEL_M * scale.size
    return [[WEST + rng.uniform(0, side), NORTH - rng.uniform(0, side)] for _ in range(scale.points)]


def _bounds(row: int, col: int, size: int) -> list[float]:
    west, north = WEST + PIXEL_M * col, NORTH - PIXEL_M * row
    return [west, north - PIXEL_M * size, west + PIXEL_M * size, north]


def _write_repeated(index: Path, path: Path, times: int) -> None:
    """Write an index that lists every file many times, each time under an address of its own."""
    duckdb.execute(
        f"""
        COPY (
            SELECT * REPLACE (item_id || '-' || copy AS item_id, href || '?copy=' || copy AS href),
            FROM '{index}', range({times}) copies(copy)
            ORDER BY copy, item_id, asset
        ) TO '{path}' (FORMAT parquet)
        """
    )


def _write_prototype_plan(index: Path, path: Path, scale: Scale) -> None:
    """Write where the tiles of full resolution lie, as plain arrays (file, tile); the files are in order of time."""
    rows = duckdb.execute(
        """
        SELECT levels[1].tile_byte_counts, levels[1].run_offsets[1], levels[1].tile_gaps[1]
        FROM read_parquet($1)
        ORDER BY datetime, list_position($2, asset)
        """,
        [str(index), BANDS],
    ).fetchall()
    byte_counts = np.array([row[0] for row in rows], np.int64)
    starts, gaps = np.array([row[1:] for row in rows], np.int64).T[:, :, np.newaxis]
    ends = starts + np.cumsum(byte_counts + gaps, axis=1) - gaps
    across = -(-scale.size // scale.tile)
    # Further runs of tiles have offsets of their own.
    assert byte_counts.shape[1] == across**2 <= RUN_TILES
    np.savez(path, offsets=ends - byte_counts, byte_counts=byte_counts, tile=scale.tile, across=across)


def build_rasteret(python: str, job_path: Path, root: Path) -> None:
    """Build rasteret's own collection, with its own Python."""
    subprocess.run(
        [python, "-c", "from benchmarks.peers import rasteret; rasteret.build()", str(job_path)],
        check=True,
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    )
