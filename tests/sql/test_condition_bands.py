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
from rasteret_sql.errors import InvalidArgumentError
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


def _under(fields: Fields, item: str, row: int, col: int) -> np.ndarray:
    """Give the classes under a tile of red, without nodata."""
    half = TILE // 2
    part = fields.pixels[item, "SCL"][row * half : (row + 1) * half, col * half : (col + 1) * half]
    return part[part != 0].astype(float)


#: Conditions, and the same in NumPy, of the classes under a tile and of the tile itself.
CHOICES: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "share(SCL, [8, 9, 10]) < 0.1": lambda below, _: np.isin(below, (8, 9, 10)).mean() < 0.1,
    "share(SCL, 9) BETWEEN 0.2 AND 0.5": lambda below, _: 0.2 <= (below == 9).mean() <= 0.5,
    "valid_share(SCL) < 1": lambda below, _: len(below) < 256,
    "valid_count(SCL) > 250 AND max > 890": lambda below, own: len(below) > 250 and len(own) > 0 and own.max() > 890,
    "mean(SCL) > 4.1 AND min(SCL) = 4 AND max(SCL) < 9.5": lambda below, _: (
        below.mean() > 4.1 and below.min() == 4 and below.max() < 9.5
    ),
    "stdev(SCL) > 2 OR sum(SCL) = 1024": lambda below, _: below.std() > 2 or below.sum() == 1024,
    "share([0, 5]) > 0.001 OR share(SCL, [4]) = 1": lambda below, own: (
        (len(own) > 0 and np.isin(own, (0, 5)).mean() > 0.001) or bool((below == 4).all())
    ),
    "share(SCL, 77) > 0": lambda *_: False,
}


@pytest.mark.parametrize("condition", CHOICES)
@pytest.mark.parametrize("has_statistics", [True, False])
def test_tiles_are_those_under_which_another_band_meets_the_condition(
    fields: Fields, condition: str, has_statistics: bool
) -> None:
    expected = set()
    for item in "ab":
        for row in range(2 * HEIGHT // TILE):
            for col in range(2 * WIDTH // TILE):
                own = fields.pixels[item, "red"][row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE]
                if CHOICES[condition](_under(fields, item, row, col), own[own != 0]):
                    expected.add((item, row, col))
    statistics = fields.stats if has_statistics else None
    table = rs.read_tiles(fields.index, bands=["red"], tiles_where=condition, statistics=statistics).read_all()
    found = [tuple(row.values()) for row in table.select(["item_id", "tile_row", "tile_col"]).to_pylist()]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_statistics_of_another_band_decide_before_any_fetch(fields: Fields) -> None:
    """Tiles that lie under one class as a whole are decided; under the others, a class tile is fetched once."""
    condition = "share(SCL, [8, 9, 10]) < 0.1"
    clear = fields.box(slice(0, 32), slice(0, 32))
    options: dict[str, Any] = {"bands": ["red"], "geometry_crs": CRS, "tiles_where": condition}
    table = rs.read_tiles(fields.index, bbox=clear, statistics=fields.stats, **options)
    assert len(table.read_all()) == 2 * 4
    assert fields.paths() == {"a_red.tif", "b_red.tif"}
    cloudy = fields.box(slice(1, 31), slice(33, 63))
    assert not rs.read_tiles(fields.index, bbox=cloudy, statistics=fields.stats, **options).read_all()
    assert not fields.paths()
    found, tiles = fetched(lambda: rs.read_tiles(fields.index, statistics=fields.stats, **options).read_all())
    # Of the six class tiles of an item, that with both classes at random and that with them side by side are open.
    assert tiles == len(found) + 2 * 2
    assert {"a_SCL.tif", "b_SCL.tif"} < fields.paths()


def test_a_condition_on_another_band_is_the_same_in_sql_and_for_shards(fields: Fields) -> None:
    condition = "share(SCL, [8, 9, 10]) < 0.1"
    expected = rs.read_tiles(fields.index, bands=["red"], tiles_where=condition).read_all()
    call = f"'{fields.index}', bands := ['red'], statistics := '{fields.stats}', tiles_where := '{condition}'"
    with rs.connect() as con:
        found = con.execute(f"SELECT item_id, tile_row, tile_col, pixels FROM read_tiles({call})").fetchall()
        ((tiles,),) = con.execute(f"SELECT sum(tiles) FROM shards({call}, n := 2)").fetchall()
        text = explain_query(con, f"SELECT pixels FROM read_tiles({call})")
    names = ["item_id", "tile_row", "tile_col", "pixels"]
    assert found == [tuple(row.values()) for row in expected.select(names).to_pylist()]
    assert tiles == len(expected)
    assert "From statistics: " in text


def test_the_band_of_a_condition_may_be_finer_or_lie_beside(tmp_path: Path) -> None:
    """Red at 20 m over classes at 10 m that end where its last tiles begin; pixels beside the file are not valid."""
    classes = np.random.default_rng(3).integers(1, 10, (80, 112), np.uint8)
    for name, pixels, size in (("red", np.ones((64, 64), np.uint16), 20.0), ("SCL", classes, 10.0)):
        transform = (size, 0.0, CORNER[0], 0.0, -size, CORNER[1])
        write_cog(tmp_path / f"{name}.tif", pixels, tile=TILE, overviews=(), transform=transform, crs=CRS)
    rows = [{"href": str(tmp_path / f"{name}.tif"), "item_id": "a", "asset": name} for name in ("red", "SCL")]
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    rs.build_stats(tmp_path / "i.parquet", tmp_path / "s.parquet", histogram=["SCL"])
    for condition in ("valid_share(SCL) = 1", "valid_share(SCL) < 0.3", "share(SCL, [1, 2, 3]) > 0.33", "min(SCL) = 1"):
        expected = set()
        for row in range(2):
            for col in range(2):
                # A centre of red lies on an edge of classes, and a centre on an edge is in the pixel that begins there.
                below = classes[row * 64 + 1 : row * 64 + 64, col * 64 + 1 : col * 64 + 64].astype(float)
                values = {"share": np.isin(below, (1, 2, 3)).mean(), "valid": below.size / 63**2, "min": below.min()}
                meets = {
                    "valid_share(SCL) = 1": values["valid"] == 1,
                    "valid_share(SCL) < 0.3": values["valid"] < 0.3,
                    "share(SCL, [1, 2, 3]) > 0.33": values["share"] > 0.33,
                    "min(SCL) = 1": values["min"] == 1,
                }
                if meets[condition]:
                    expected.add((row, col))
        for statistics in (None, tmp_path / "s.parquet"):
            table = rs.read_tiles(
                tmp_path / "i.parquet", bands=["red"], tiles_where=condition, statistics=statistics
            ).read_all()
            found = {(row["tile_row"], row["tile_col"]) for row in table.to_pylist()}
            assert found == expected, condition


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("share(SCL) < 1", r"tiles_where: got 'share\(\.\.\.\)', expected some of valid_count"),
        ("median(SCL) < 1", "tiles_where: got 'median"),
        ("share(SCL, [8, 9) < 1", "tiles_where: got '\\)' at character"),
        ("max(SCL, 3) < 1", "tiles_where: got 'max"),
        ("share(SLC, 9) < 1", "tiles_where: bands: got 'SLC', expected one of the assets .*SCL"),
    ],
)
def test_wrong_conditions_on_bands_are_refused_before_any_request(fields: Fields, condition: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        rs.read_tiles(fields.index, bands=["red"], tiles_where=condition)
    assert not fields.paths()


def test_an_item_without_the_band_of_a_condition_has_null(fields: Fields) -> None:
    with rs.connect() as con:
        con.execute(f"CREATE TABLE files AS FROM '{fields.index}' WHERE NOT (item_id = 'b' AND asset = 'SCL')")
        call = "read_tiles('files', bands := ['red'], tiles_where := 'share(SCL, [4, 5, 9]) > 0{}')"
        items = con.execute(f"SELECT DISTINCT item_id FROM {call.format('')}").fetchall()
        either = con.execute(f"SELECT DISTINCT item_id FROM {call.format(' OR max > 1')} ORDER BY ALL").fetchall()
    assert (items, either) == ([("a",)], [("a",), ("b",)])
