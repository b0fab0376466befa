"""One file, indexed and read as a user would, against rasterio: what is equal, what differs, what was refused.

`examine` does one file. `examine_all` does many in processes of their own, so that a crash or a hang is a finding, and
the time and memory of a broken file are those of that file alone.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

import rasteret_sql as rs
from rasteret_sql.errors import BuildError, RasteretError
from tests.conformance import expected
from tests.conformance.crs import same_crs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TOO_MANY_SAMPLES = 100_000_000
"""Of larger levels some tiles are read, not all."""

HANGS_AFTER_S = 600

PRELOADED = (
    "duckdb",
    "imagecodecs",
    "numpy",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pytz",
    "shapely",
    "rasteret_sql.sql.readers",
    "rasteret_sql.index.build",
    "rasteret_sql.sql.indexes",
    "rasteret_sql.sql.connection",
    "rasteret_sql.read.stream",
    "rasteret_sql.io.local",
)
"""What a process of one file would import."""


_WIDENED = {"complex_int16": "complex64", "float16": "float32"}
"""Types that numpy has not, or that GDAL itself widened until 3.11."""


@dataclass(slots=True)
class Outcome:
    """What was found of one file.

    Attributes:
        path: of the file.
        indexed: `build_index` took it.
        levels: levels that were compared.
        gdal_reads: rasterio reads every level.
        differing: facts, pixels and masks that differ from rasterio's.
        largest_difference: of a sample, where only that differs.
        error: class and message of our error, without the path.
        notes: what was left out of the file.
        requests: range requests that indexing took.
        cpu_s, peak_kb: time of the processor and memory that indexing and reading took.
    """

    path: str
    indexed: bool = False
    levels: int = 0
    gdal_reads: bool = False
    differing: list[str] = field(default_factory=list)
    largest_difference: float = 0
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    requests: int = 0
    cpu_s: float = 0
    peak_kb: int = 0

    @property
    def equal(self) -> bool:
        """Read as rasterio reads it, JPEG's chroma aside."""
        return self.gdal_reads and self.levels > 0 and not self.error and not self.differing


def listed(table: Any, path: str | Path) -> Any:
    """What a table of `expected` says of a file, or None."""
    pairs = table.items() if isinstance(table, dict) else ((name, True) for name in table)
    return next((value for name, value in pairs if str(path).endswith(name)), None)


@dataclass(slots=True)
class Mosaic:
    """One band of one level, put together from its tiles."""

    pixels: np.ndarray
    mask: np.ndarray
    covered: np.ndarray
    windows: list[Window]


def examine(path: str | Path) -> Outcome:
    """Index a file, read every level, and compare with rasterio."""
    outcome = Outcome(str(path))
    before_s = time.process_time()
    before = _peak_kb()
    levels: list[dict[int, Mosaic]] = []
    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index.parquet"
        try:
            report = rs.build_index([str(path)], index)
            outcome.indexed = True
            outcome.requests = report.requests
            with rs.connect() as con:
                (row,) = con.sql(f"SELECT * EXCLUDE (geometry) FROM '{index}'").to_arrow_table().to_pylist()
            outcome.notes = row["notes"] or []
            for number, level in enumerate(row["levels"]):
                tile = row["formats"][level["format"] - 1]
                levels.append(_read_level(index, number, level, tile, len(row["bands"])))
        except RasteretError as error:
            outcome.error = _without_path(error, str(path))
    outcome.cpu_s = round(time.process_time() - before_s, 3)
    outcome.peak_kb = _peak_kb() - before
    _compare(outcome, row, levels)
    return outcome


def _without_path(error: RasteretError, path: str) -> str:
    """Class and message of an error; of a build that had one file, those of the file."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, BuildError):
        # Its last line is that of the file: item and asset, then class and message.
        message = str(error).splitlines()[-1].partition(" data: ")[2]
    return message.replace(f"{path}: ", "").replace(str(Path(path).parent), "")


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _read_level(index: Path, number: int, level: dict[str, Any], tile: dict[str, Any], bands: int) -> dict[int, Mosaic]:
    height, width = level["height"], level["width"]
    whole = height * width * bands <= TOO_MANY_SAMPLES
    mosaics: dict[int, Mosaic] = {}
    for count, batch in enumerate(rs.read_tiles(index, level=number)):
        for row in batch.to_pylist():
            top, left = row["tile_row"] * tile["tile_height"], row["tile_col"] * tile["tile_width"]
            size = row["height"], row["width"]
            pixels = np.frombuffer(row["pixels"], row["dtype"]).reshape(size)
            valid = np.ones(size, bool) if row["mask"] is None else np.frombuffer(row["mask"], bool).reshape(size)
            if row["band"] not in mosaics:
                shape = (height, width) if whole else (0, 0)
                mosaics[row["band"]] = Mosaic(
                    np.zeros(shape, row["dtype"]), np.zeros(shape, bool), np.zeros(shape, np.uint8), []
                )
            mosaic = mosaics[row["band"]]
            if whole:
                place = slice(top, top + size[0]), slice(left, left + size[1])
                mosaic.pixels[place] = pixels
                mosaic.mask[place] = valid
                mosaic.covered[place] += 1
            else:
                mosaic.windows.append((Window(left, top, size[1], size[0]), pixels, valid))
        if not whole and count:
            break
    return mosaics


def _compare(outcome: Outcome, row: dict[str, Any], levels: list[dict[int, Mosaic]]) -> None:
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        warnings.simplefilter("ignore")
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(outcome.path, driver="GTiff") as dataset:
                if row:
                    outcome.differing += _differing_facts(outcome.path, row, dataset)
                sizes = _overview_sizes(outcome.path, len(dataset.overviews(1)))
                _ = dataset.read(1, window=Window(0, 0, 1, 1))
                if not levels and dataset.width * dataset.height * dataset.count < TOO_MANY_SAMPLES:
                    dataset.read()
            for number, mosaics in enumerate(levels):
                level = row["levels"][number]
                options = {}
                if number:
                    size = level["height"], level["width"]
                    if size not in sizes:
                        outcome.differing.append(f"level {number} is no overview of rasterio's")
                        continue
                    options = {"overview_level": sizes.index(size)}
                with rasterio.open(outcome.path, driver="GTiff", **options) as dataset:
                    _compare_level(outcome, number, mosaics, dataset)
                outcome.levels += 1
            outcome.gdal_reads = True
        except (RasterioError, MemoryError, ValueError) as error:
            outcome.gdal_reads = False
            outcome.differing.append(f"rasterio: {str(error).replace(Path(outcome.path).name + ': ', '')}"[:200])


def _overview_sizes(path: str, count: int) -> list[tuple[int, int]]:
    sizes = []
    for number in range(count):
        with rasterio.open(path, driver="GTiff", overview_level=number) as dataset:
            sizes.append(dataset.shape)
    return sizes


def _differing_facts(path: str, row: dict[str, Any], dataset: Any) -> Iterator[str]:
    """Each fact of the index that is not rasterio's."""
    bands, level = row["bands"], row["levels"][0]
    colors = [color is ColorInterp.alpha for color in dataset.colorinterp]
    dtype = listed(expected.OTHER_DTYPE, path) or _WIDENED.get(dataset.dtypes[0], dataset.dtypes[0])
    facts = {
        "size": ((row["width"], row["height"]), (dataset.width, dataset.height)),
        "bands": (len(bands), dataset.count),
        "dtype": (row["dtype"], dtype),
        "nodata": ([band["nodata"] for band in bands], list(dataset.nodatavals)),
        "overviews": (len(row["levels"]) - 1, len(dataset.overviews(1))),
        "scale": ([1.0 if band["scale"] is None else band["scale"] for band in bands], list(dataset.scales)),
        "offset": ([0.0 if band["offset"] is None else band["offset"] for band in bands], list(dataset.offsets)),
        "description": ([band["description"] for band in bands], list(dataset.descriptions)),
        "unit": ([band["unit"] for band in bands], [unit or None for unit in dataset.units]),
        "alpha": ([band["is_alpha"] for band in bands], colors),
    }
    if row["transform"] is None:
        # Rotated grids, and those that are none, are read as pixels without a grid.
        a, b, _, d, e, _ = tuple(dataset.transform)[:6]
        is_grid = not (b or d or np.isnan([a, b, d, e]).any() or a * e == 0)
        facts["transform"] = (is_grid and not dataset.transform.is_identity, False)
    else:
        facts["transform"] = (tuple(row["transform"]), tuple(dataset.transform)[:6])
    layout = row["formats"][level["format"] - 1]
    if layout["tiled"]:
        facts["block shape"] = (
            (layout["tile_height"], layout["tile_width"]),
            dataset.block_shapes[0],
        )
    for name, (ours, theirs) in facts.items():
        if not _same(ours, theirs):
            yield f"{name}: {ours!r}, rasterio {theirs!r}"[:400]
    if not same_crs(row["crs"], dataset.crs) and not listed(expected.OTHER_CRS, path):
        yield f"crs: {row['crs']!r}, rasterio {dataset.crs.to_wkt() if dataset.crs else None!r}"


def _same(ours: Any, theirs: Any) -> bool:
    try:
        np.testing.assert_equal(ours, theirs)
    except AssertionError:
        return False
    return True


def _compare_level(outcome: Outcome, number: int, mosaics: dict[int, Mosaic], dataset: Any) -> None:
    for band, mosaic in mosaics.items():
        where = f"level {number} band {band}"
        if not mosaic.windows:
            if not (mosaic.covered == 1).all():
                outcome.differing.append(f"{where}: pixels that no tile, or more than one, covers")
            parts = [(None, mosaic.pixels, mosaic.mask)]
        else:
            parts = mosaic.windows
        for window, pixels, mask in parts:
            difference = _difference(pixels, dataset.read(band, window=window))
            outcome.largest_difference = max(outcome.largest_difference, difference)
            if difference > (listed(expected.LOSSY, outcome.path) or 0):
                outcome.differing.append(f"{where}: pixels differ by up to {difference}")
            if not np.array_equal(mask, dataset.read_masks(band, window=window) != 0):
                outcome.differing.append(f"{where}: mask")
    if len(mosaics) != dataset.count:
        outcome.differing.append(f"level {number}: {len(mosaics)} bands, rasterio {dataset.count}")


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of a sample; infinite where dtypes or bits that are no NaN differ otherwise."""
    if ours.shape != theirs.shape:
        return float("inf")
    if ours.dtype != theirs.dtype:
        # The index says the dtype: where it is known to be another one, values are compared.
        return 0 if np.array_equal(ours, theirs) else float("inf")
    if ours.dtype.kind in "fc":
        bits = f"u{ours.dtype.itemsize}" if ours.dtype.kind == "f" else f"u{ours.dtype.itemsize // 2}"
        real = f"f{bits[1:]}"
        a, b = np.ascontiguousarray(ours), np.ascontiguousarray(theirs)
        same = (a.view(bits) == b.view(bits)) | (np.isnan(a.view(real)) & np.isnan(b.view(real)))
        return 0 if same.all() else float("inf")
    if np.array_equal(ours, theirs):
        return 0
    return float(np.abs(ours.astype(float) - theirs.astype(float)).max())


def examine_all(paths: Iterable[str | Path], *, together: int = 1, jobs: int = 2) -> list[Outcome]:
    """Examine files in processes that are forked from one that has imported everything and has no threads.

    Args:
        paths: the files.
        together: files for each process: 1 for files that may be broken; more are faster.
        jobs: processes at a time.
    """
    names = [str(path) for path in paths]
    parts = [names[first : first + together] for first in range(0, len(names), together)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.conformance.examine", *PRELOADED])
    with ThreadPoolExecutor(jobs) as pool:
        return [outcome for part in pool.map(lambda part: _in_process(context, part), parts) for outcome in part]


def _in_process(context: Any, paths: list[str]) -> list[Outcome]:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(paths, sender))
    process.start()
    sender.close()
    outcomes = []
    try:
        for path in paths:
            if not receiver.poll(HANGS_AFTER_S):
                process.kill()
                outcomes.append(Outcome(path, error=f"Hang: no answer after {HANGS_AFTER_S} s"))
                break
            outcomes.append(Outcome(**json.loads(receiver.recv())))
    except EOFError:
        process.join()
        outcomes.append(Outcome(path, error=f"Crash: exit code {process.exitcode}"))
    process.join()
    left = paths[len(outcomes) :]
    return outcomes + (_in_process(context, left) if left else [])


def _send(paths: list[str], sender: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.suppress(OSError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # libtiff's own words
    for path in paths:
        sender.send(json.dumps(asdict(examine(path))))
