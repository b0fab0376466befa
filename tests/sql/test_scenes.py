"""Every level and mask of every real scene, read through `read_tiles`, equals what rasterio reads."""

from __future__ import annotations

import csv
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

import rasteret_sql as rs

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def index(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes") / "scenes.parquet"
    files = [str(shared_data / row["path"]) for row in _manifest(shared_data)]
    report = rs.build_index(files, path)
    assert not report.failures, report
    assert report.rows == len(files)
    return path


def _manifest(shared_data: Path) -> list[dict[str, str]]:
    with (shared_data / "MANIFEST.tsv").open() as lines:
        return [row for row in csv.DictReader(lines, delimiter="\t") if row["group"] == "scenes"]


#: JPEGs with chroma at half resolution: rasterio's wheels have the IJG's libjpeg 9, which enlarges chroma in another
#: way than libjpeg-turbo does, by at most so much. A GDAL built with libjpeg-turbo gives our pixels: see the last test.
LIBJPEG_9 = {"masked.tif": 16, "cogeo.tif": 18}


def _equal(pixels: np.ndarray, expected: np.ndarray, tolerance: int) -> bool:
    if tolerance:
        return int(np.abs(pixels.astype(int) - expected).max()) <= tolerance
    return np.array_equal(pixels, expected, equal_nan=expected.dtype.kind == "f")


class Mosaic:
    """One band of one level, put together from its tiles; every pixel must be covered exactly once."""

    def __init__(self, shape: tuple[int, int], dtype: str) -> None:
        self.pixels = np.zeros(shape, dtype)
        self.mask = np.zeros(shape, bool)
        self.covered = np.zeros(shape, np.uint8)

    def place(self, row: dict[str, Any]) -> None:
        size = row["height"], row["width"]
        place = (
            slice(row["row_off"], row["row_off"] + size[0]),
            slice(row["col_off"], row["col_off"] + size[1]),
        )
        self.pixels[place] = np.frombuffer(row["pixels"], row["dtype"]).reshape(size)
        self.mask[place] = True if row["mask"] is None else np.frombuffer(row["mask"], bool).reshape(size)
        self.covered[place] += 1


def _mosaics(con: duckdb.DuckDBPyConnection, index: Path, level: int) -> dict[tuple[str, int], Mosaic]:
    sizes = dict(
        con.sql(
            f"SELECT href, struct_pack(w := levels[{level + 1}].width, h := levels[{level + 1}].height, "
            f"tw := levels[{level + 1}].format.tile_width, th := levels[{level + 1}].format.tile_height) "
            f"FROM '{index}' WHERE len(levels) > {level}"
        ).fetchall()
    )
    mosaics: dict[tuple[str, int], Mosaic] = {}
    tiles = con.sql(f"FROM read_tiles($$FROM '{index}' WHERE len(levels) > {level}$$, level := {level})")
    for batch in tiles.to_arrow_reader(1000):
        for row in batch.to_pylist():
            size = sizes[row["href"]]
            row |= {"row_off": row["tile_row"] * size["th"], "col_off": row["tile_col"] * size["tw"]}
            key = row["href"], row["band"]
            if key not in mosaics:
                mosaics[key] = Mosaic((size["h"], size["w"]), row["dtype"])
            mosaics[key].place(row)
    return mosaics


def test_every_level_and_mask_of_every_scene_equals_rasterio(index: Path) -> None:
    con = rs.connect()
    compared, differing = 0, []
    for level in range(7):
        for (href, band), mosaic in _mosaics(con, index, level).items():
            options = {} if level == 0 else {"overview_level": level - 1}
            with rasterio.open(href, **options) as source:
                expected, expected_mask = source.read(band), source.read_masks(band) != 0
            where = f"{href} level {level} band {band}"
            assert (mosaic.covered == 1).all(), where
            assert mosaic.pixels.dtype == expected.dtype, where
            if not _equal(mosaic.pixels, expected, LIBJPEG_9.get(href.rpartition("/")[2], 0)):
                differing.append(where)
            if not np.array_equal(mosaic.mask, expected_mask):
                differing.append(f"{where}: mask")
            compared += 1
    assert compared == _bands_and_levels(con, index)
    assert not differing, "\n".join(differing)


def _bands_and_levels(con: duckdb.DuckDBPyConnection, index: Path) -> int:
    """Count what rasterio sees: bands times levels of each file."""
    total = 0
    for (href,) in con.sql(f"SELECT href FROM '{index}'").fetchall():
        with rasterio.open(href) as source:
            total += source.count * (1 + len(source.overviews(1)))
    return total


@pytest.mark.parametrize("name", LIBJPEG_9)
def test_jpeg_pixels_are_those_of_a_gdal_with_libjpeg_turbo(shared_data: Path, tmp_path: Path, name: str) -> None:
    command = shutil.which("gdal_translate")
    if command is None:
        pytest.skip(
            "gdal_translate is not installed; it is the oracle here, for rasterio's wheels have another libjpeg"
        )
    (path,) = shared_data.glob(f"scenes/**/{name}")
    decoded = tmp_path / "decoded.tif"
    subprocess.run([command, "-q", "-co", "COMPRESS=NONE", "-b", "1", "-b", "2", "-b", "3", path, decoded], check=True)
    rs.build_index([str(path)], tmp_path / "index.parquet")
    with rasterio.open(decoded) as source:
        np.testing.assert_array_equal(rs.to_numpy(tmp_path / "index.parquet").data[0], source.read())
