"""Conditions on bands of another resolution: statistics decide what is not fetched, and change no result."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

import rasteret_sql as rs
from rasteret_sql.apps.shell.explain import explain_query
from rasteret_sql.read.progress import ReadProgress, listening
from rasteret_sql.testing import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CORNER = 600_000.0, 1_400_000.0
TILE, CRS = 32, "EPSG:32643"
#: Pixels of the class band; red has twice as many along each axis.
HEIGHT, WIDTH = 64, 96


def _classes(number: int) -> np.ndarray:
    """Give classes tile by tile: all clear, all cloud, both at random; both side by side, some without data, clear."""
    draw = np.random.default_rng(number)
    found = np.full((HEIGHT, WIDTH), 4, np.uint8)
    found[:32, 32:64] = 9
    found[:32, 64:] = draw.choice([4, 5, 9], (32, 32))
    found[32:, 16:32] = 9
    found[32:, 32:64][draw.random((32, 32)) < 0.01] = 0
    return found


class Fields:
    """Two items on a server: red at 10 m, and classes at 20 m in tiles of as many pixels."""

    def __init__(self, folder: Path, server: RangeServer) -> None:
        self.folder, self.server, self.index, self.stats = folder, server, folder / "i.parquet", folder / "s.parquet"
        self.pixels: dict[tuple[str, str], np.ndarray] = {}
        rows = []
        for number, item in enumerate("ab"):
            red = np.random.default_rng(9 + number).integers(1, 900, (2 * HEIGHT, 2 * WIDTH), np.uint16)
            red[:32, :32] = 0
            for asset, pixels, size in (("red", red, 10.0), ("SCL", _classes(number), 20.0)):
                self.pixels[item, asset] = pixels
                name = f"{item}_{asset}.tif"
                transform = (size, 0.0, CORNER[0], 0.0, -size, CORNER[1])
                write_cog(folder / name, pixels, tile=TILE, overviews=(), nodata=0, transform=transform, crs=CRS)
                when = dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC)
                rows.append({"href": server.url(name), "item_id": item, "asset": asset, "datetime": when})
        rs.build_index(pa.Table.from_pylist(rows), self.index)
        rs.build_stats(self.index, self.stats, histogram=["SCL"])

    def box(self, rows: slice, cols: slice) -> list[float]:
        """Give the bounds of pixels of the class band."""
        west, north = CORNER
        return [west + 20 * cols.start, north - 20 * rows.stop, west + 20 * cols.stop, north - 20 * rows.start]

    def paths(self) -> set[str]:
        """Give the files of which bytes were fetched since the last call."""
        found = {request.path for request in self.server.requests}
        self.server.reset()
        return found


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fields]:
    folder = tmp_path_factory.mktemp("fields")
    with RangeServer(folder) as server:
        yield Fields(folder, server)


@pytest.fixture(autouse=True)
def _forget(fields: Fields) -> None:
    fields.server.reset()


def fetched(read: Callable[[], Any]) -> tuple[Any, int]:
    """Give what a read gives, and how many tiles it fetches."""
    seen: list[ReadProgress] = []
    with listening(seen.append):
        found = read()
    return found, seen[-1].tiles if seen else 0


READS: dict[str, Callable[..., pa.Table]] = {
    "pixels": lambda index, **options: rs.read_pixels(index, bands=["red"], **options).read_all(),
    "wide": lambda index, **options: rs.read_pixels(index, bands=["red"], layout="wide", **options).read_all(),
    "formula": lambda index, **options: rs.read_pixels(index, expressions={"half": "red / 2"}, **options).read_all(),
    "zones": lambda index, **options: rs.zonal_stats(
        index,
        [shapely.box(*CORNER, CORNER[0] + 1300, CORNER[1] - 1100), shapely.box(600_333, 1_398_900, 601_777, 1_399_888)],
        bands=["red"],
        geometry_crs=CRS,
        stats=["count", "sum", "min", "max", "median"],
        **options,
    ).read_all(),
    "chips": lambda index, **options: rs.chips(index, size=48, bands=["red"], where_valid=0.3, **options).read_all(),
}


@pytest.mark.parametrize(
    "condition", ["SCL IN (4, 5, 6)", "SCL <> 9 AND red > 100", "NOT SCL = 4", "SCL >= 4", "SCL = 7"]
)
@pytest.mark.parametrize("name", READS)
def test_results_are_the_same_with_statistics_of_the_band_of_a_condition(
    fields: Fields, name: str, condition: str
) -> None:
    expected, most = fetched(lambda: READS[name](fields.index, valid_where=condition))
    found, tiles = fetched(lambda: READS[name](fields.index, valid_where=condition, statistics=fields.stats))
    assert found.equals(expected)
    assert tiles < most


def test_a_mask_that_is_true_everywhere_is_not_fetched(fields: Fields) -> None:
    clear = fields.box(slice(16, 32), slice(16, 32))
    options: dict[str, Any] = {"valid_where": "SCL IN (4, 5, 6)", "statistics": fields.stats}
    pixels = rs.read_pixels(fields.index, bands=["red"], bbox=clear, geometry_crs=CRS, **options).read_all()
    assert len(pixels) == 2 * 32 * 32
    assert fields.paths() == {"a_red.tif", "b_red.tif"}
    cloudy = fields.box(slice(0, 32), slice(33, 64))
    assert not len(rs.read_pixels(fields.index, bands=["red"], bbox=cloudy, geometry_crs=CRS, **options).read_all())
    assert not fields.paths()


def test_a_zone_of_whole_tiles_that_a_mask_leaves_as_they_are_fetches_nothing(fields: Fields) -> None:
    zone = shapely.box(*fields.box(slice(0, 32), slice(0, 32)))
    options: dict[str, Any] = {"bands": ["red"], "geometry_crs": CRS, "valid_where": "SCL IN (4, 5, 6)"}
    expected = rs.zonal_stats(fields.index, [zone], **options).read_all()
    fields.server.reset()
    found = rs.zonal_stats(fields.index, [zone], statistics=fields.stats, **options).read_all()
    assert not fields.paths()
    assert found.equals(expected)


@pytest.mark.parametrize(
    "call",
    [
        "read_pixels('{index}', bands := ['red'], valid_where := 'SCL IN (4, 5)'{statistics})",
        "chips('{index}', size := 32, bands := ['red'], valid_where := 'SCL IN (4, 5)', where_valid := 0.5{statistics})",
        "zonal_stats('{index}', 'zones', bands := ['red'], geometry_crs := '{crs}', valid_where := 'SCL = 4'{statistics})",
    ],
)
def test_explain_says_what_a_known_condition_saves(fields: Fields, call: str) -> None:
    with rs.connect() as con:
        zone = shapely.box(*fields.box(slice(0, 64), slice(0, 64))).wkt
        con.execute(f"CREATE TABLE zones AS SELECT '{zone}' AS geometry")
        texts = []
        for statistics in (f", statistics := '{fields.stats}'", ""):
            text = f"SELECT * FROM {call.format(index=fields.index, crs=CRS, statistics=statistics)}"
            texts.append(explain_query(con, text))
            rows, tiles = fetched(lambda text=text: con.execute(text).fetchall())
            assert rows
            assert f"{tiles} tiles" in texts[-1]
    assert "From statistics: " in texts[0]
    assert "that are not fetched" in texts[0]
    assert "From statistics" not in texts[1]
