"""Which bytes reads ask for: literal ranges, so that a planner that asks for more, or for less, is found out."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import shapely

import rasteret_sql as rs
from rasteret_sql.arrays.cubes import plans_of
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.read.chips import ChipLayout
from rasteret_sql.read.parts import Part, PartReader
from rasteret_sql.sql.readers import files_of, read_arguments
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer
from rasteret_sql.training.items import items_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WEST, NORTH, PIXEL = 600_000.0, 1_400_000.0, 10.0
#: Tiles of 256 x 256 are 128 KiB of uint16: one of them between two that are read is the longest gap that is read over.
OPTIONS: dict[str, Any] = {"compression": "none", "predictor": False, "tile": 256, "overviews": (2, 4), "nodata": 0}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RangeServer, Path]]:
    """Two items of one zone and one of the next, two single bands and a masked image of three planes each."""
    folder = tmp_path_factory.mktemp("requests")
    rows = []
    with RangeServer(folder) as server:
        for number, item in enumerate("abc"):
            crs = "EPSG:32643" if item != "c" else "EPSG:32644"
            west = WEST + number * 2_560.0 if item != "c" else 200_000.0
            place = {"crs": crs, "transform": (PIXEL, 0.0, west, 0.0, -PIXEL, NORTH)}
            pixels = np.random.default_rng(number).integers(1, 5000, (1536, 1536), np.uint16)
            for asset in ("red", "nir"):
                write_cog(folder / f"{item}_{asset}.tif", pixels, **place, **OPTIONS)
            image = (pixels[:1000, :900] % 251).astype(np.uint8)
            mask = np.ones(image.shape, bool)
            mask[:300, :300] = False
            write_cog(
                folder / f"{item}_rgb.tif", np.stack([image, image + 1, image + 2]), mask, **place,
                **OPTIONS | {"nodata": None, "planar": True, "photometric": "rgb"},
            )  # fmt: skip
            when = dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC)
            rows += [
                {"href": server.url(f"{item}_{asset}.tif"), "item_id": item, "asset": asset, "datetime": when}
                for asset in ("red", "nir", "rgb")
            ]
        index = folder / "index.parquet"
        assert rs.build_index(pa.Table.from_pylist(rows), index).rows == 9
        yield server, index


def _box(left: int, top: int, right: int, bottom: int) -> tuple[float, float, float, float]:
    """Give bounds of pixels of the first item."""
    return WEST + left * PIXEL, NORTH - bottom * PIXEL, WEST + right * PIXEL, NORTH - top * PIXEL


def _triangle() -> str:
    return shapely.Polygon([(WEST + 200, NORTH - 200), (WEST + 12_000, NORTH - 200), (WEST + 200, NORTH - 12_000)]).wkt


def _sql(index: Path) -> None:
    con = rs.connect()
    con.execute(
        f"SELECT octet_length(pixels), octet_length(mask) FROM read_tiles('{index}', bands := ['rgb:2'], "
        f"bbox := {list(_box(200, 100, 700, 400))}, geometry_crs := 'EPSG:32643') WHERE item_id = 'a'"
    ).fetchall()
    con.close()


def _tiles(index: Path) -> None:
    rs.read_tiles(index, bands=["red"], level=1, datetime="2024-01-02").read_all()


def _parts(index: Path) -> None:
    """Read a batch as a TorchGeo dataset does: one window at full resolution, one that takes an overview."""
    items = items_of(*files_of(str(index), read_arguments(["red", "rgb:3"], None, None, "OGC:CRS84", None, None, None)))
    fine = GeoBox("EPSG:32643", (10.0, 0.0, WEST + 5000, 0.0, -10.0, NORTH - 5000), 200, 200)
    coarse = GeoBox("EPSG:32643", (40.0, 0.0, WEST, 0.0, -40.0, NORTH), 200, 200)
    reader = PartReader(items.table, items.files, method="nearest", mosaic="first")
    reader.read([Part(fine, ((0,),)), Part(coarse, ((0, 1),)), Part(fine, ((0, 1),))])


READS: dict[str, Callable[[Path], Any]] = {
    "window": lambda index: rs.to_numpy(
        index, bands=["red", "nir"], bbox=_box(300, 300, 900, 700), geometry_crs="EPSG:32643", datetime="2024-01-01",
    ),
    "two items": lambda index: rs.to_numpy(
        index, bands=["red"], bbox=(76.0, 12.61, 76.01, 12.62), datetime="2024-01-01/2024-01-02"
    ),
    "geometry": lambda index: rs.to_numpy(
        index, bands=["red"], geometry=_triangle(), geometry_crs="EPSG:32643", datetime="2024-01-01"
    ),
    "grid": lambda index: rs.to_xarray(
        index, bands=["red", "rgb:1"], bbox=_box(100, 100, 1500, 1300), geometry_crs="EPSG:32643", crs="EPSG:3857",
        resolution=45, resampling="bilinear", groupby="id",
    ).load(),
    "chips": lambda index: rs.read_chips(
        index, [("a", 0, 0), ("a", 700, 700), ("b", 1300, 1000), ("a", 720, 720)], size=300, bands=["nir"]
    ),
    "zones": lambda index: rs.to_geopandas(
        index, [_triangle(), shapely.box(*_box(1000, 1000, 1100, 1400))], geometry_crs="EPSG:32643", bands=["red"],
        datetime="2024-01-01",
    ),
    "overlapping chips of masked planes": lambda index: rs.read_chips(
        index, [("a", 200, 200), ("c", 700, 100), ("a", 250, 230), ("a", -50, 880), ("b", 2000, 0)], size=100,
        bands=["rgb:2", "rgb:1"],
    ),
    "chips of an overview": lambda index: rs.read_chips(
        index, [("a", -20, 500), ("c", 300, 300), ("c", 900, 900)], size=(300, 260), bands=["red", "nir"], level=1
    ),
    "overlapping zones of masked planes": lambda index: rs.to_geopandas(
        index, [shapely.box(*_box(100, 100, 400, 300)), _triangle(), shapely.Point(WEST + 9000, NORTH - 9000)],
        geometry_crs="EPSG:32643", bands=["rgb:3", "rgb:1"],
    ),
    "zones in two CRSs": lambda index: rs.to_geopandas(
        index,
        [
            shapely.Polygon([(75.94, 12.64), (76.03, 12.64), (75.94, 12.56)]),
            shapely.LineString([(78.26, 12.62), (78.33, 12.55)]),
            shapely.box(76.05, 12.6, 76.06, 12.601),
        ],
        bands=["nir", "red"], resolution=20,
    ),
    "batch of parts": _parts,
    "tiles of an overview": _tiles,
    "masked tiles in SQL": _sql,
}  # fmt: skip

#: File, first byte, and the byte after the last, by read.
EXPECTED: dict[str, list[tuple[str, int, int]]] = {
    "window": [
        ("a_nir.tif", 2622844, 3016076),
        ("a_nir.tif", 3409324, 3802556),
        ("a_red.tif", 2622844, 3016076),
        ("a_red.tif", 3409324, 3802556),
    ],
    "two items": [
        ("a_red.tif", 2885004, 3016076),
        ("a_red.tif", 3671484, 3802556),
        ("b_red.tif", 2753924, 2884996),
        ("b_red.tif", 3540404, 3671476),
    ],
    "geometry": [
        ("a_red.tif", 1705284, 2360676),
        ("a_red.tif", 2491764, 3016076),
        ("a_red.tif", 3278244, 3671476),
        ("a_red.tif", 4064724, 4326876),
        ("a_red.tif", 4851204, 4982276),
    ],
    "grid": [
        ("a_red.tif", 1244, 525556),
        ("a_rgb.tif", 1856, 198509),
        ("b_red.tif", 1244, 525556),
        ("b_rgb.tif", 1856, 198509),
    ],
    "chips": [
        ("a_nir.tif", 1705284, 1967436),
        ("a_nir.tif", 2491764, 2753916),
        ("a_nir.tif", 3540404, 3802556),
        ("a_nir.tif", 4326884, 4589036),
        ("b_nir.tif", 6030924, 6424156),
    ],
    "zones": [
        ("a_red.tif", 1705284, 2360676),
        ("a_red.tif", 2491764, 3016076),
        ("a_red.tif", 3278244, 3671476),
        ("a_red.tif", 4064724, 4326876),
        ("a_red.tif", 4457964, 4720116),
        ("a_red.tif", 4851204, 4982276),
        ("a_red.tif", 5244444, 5506596),
        ("a_red.tif", 6030924, 6293076),
    ],
    "overlapping chips of masked planes": [
        ("a_rgb.tif", 985080, 1378296),
        ("a_rgb.tif", 2033656, 2426872),
        ("a_rgb.tif", 4130808, 4131027),
        ("c_rgb.tif", 1509368, 1574904),
        ("c_rgb.tif", 1771512, 1837048),
        ("c_rgb.tif", 2557944, 2623480),
        ("c_rgb.tif", 2820088, 2885624),
        ("c_rgb.tif", 4131089, 4131244),
    ],
    "chips of an overview": [
        ("a_nir.tif", 656644, 918796),
        ("a_nir.tif", 1049884, 1312036),
        ("a_red.tif", 656644, 918796),
        ("a_red.tif", 1049884, 1312036),
        ("c_nir.tif", 1049884, 1312036),
        ("c_nir.tif", 1443124, 1705276),
        ("c_red.tif", 1049884, 1312036),
        ("c_red.tif", 1443124, 1705276),
    ],
    "overlapping zones of masked planes": [
        ("a_rgb.tif", 985080, 1902584),
        ("a_rgb.tif", 3082232, 4131275),
        ("b_rgb.tif", 985080, 1968120),
        ("b_rgb.tif", 3082232, 4131306),
    ],
    "zones in two CRSs": [
        ("a_nir.tif", 525564, 1443116),
        ("a_red.tif", 525564, 1443116),
        ("b_nir.tif", 525564, 787716),
        ("b_nir.tif", 918804, 1443116),
        ("b_red.tif", 525564, 787716),
        ("b_red.tif", 918804, 1443116),
        ("c_nir.tif", 525564, 656636),
        ("c_nir.tif", 918804, 1180956),
        ("c_nir.tif", 1443124, 1574196),
        ("c_red.tif", 525564, 656636),
        ("c_red.tif", 918804, 1180956),
        ("c_red.tif", 1443124, 1574196),
    ],
    "batch of parts": [
        ("a_red.tif", 1244, 132316),
        ("a_red.tif", 2622844, 2884996),
        ("a_red.tif", 3409324, 3671476),
        ("a_rgb.tif", 132928, 198509),
        ("a_rgb.tif", 3409912, 3803128),
        ("a_rgb.tif", 4130985, 4131182),
        ("b_red.tif", 1244, 132316),
        ("b_red.tif", 2491764, 2753916),
        ("b_red.tif", 3278244, 3540396),
        ("b_rgb.tif", 132928, 198509),
        ("b_rgb.tif", 3344376, 3737592),
        ("b_rgb.tif", 4130951, 4131151),
    ],
    "tiles of an overview": [
        ("b_red.tif", 525564, 1705276),
    ],
    "masked tiles in SQL": [
        ("a_rgb.tif", 2033656, 2492408),
        ("a_rgb.tif", 4130808, 4131058),
    ],
}


@pytest.mark.parametrize("name", READS)
def test_a_read_asks_for_these_bytes_and_no_others(served: tuple[RangeServer, Path], name: str) -> None:
    server, index = served
    server.reset()
    READS[name](index)
    asked = sorted((request.path, request.start, request.end) for request in server.requests)
    assert asked == EXPECTED[name]


def test_chips_plan_the_tiles_of_their_windows_and_no_others(served: tuple[RangeServer, Path]) -> None:
    _, index = served
    arguments = read_arguments(["red", "nir"], None, None, "OGC:CRS84", None, None, None)
    with plans_of(index, arguments) as plans:
        files = plans.files(arguments)
        layout = ChipLayout(files.assets, ["a", "c"], np.array([(200, 0), (-300, 1500)]), (100, 100))
        planned = files.plan_windows(layout.windows)
    found = [
        (files.assets[asset_no].item_id, planned.tiles.tile_row[rows].tolist(), planned.tiles.tile_col[rows].tolist())
        for asset_no, rows in zip(
            layout.windows.asset_no.tolist(), map(slice, planned.bounds[:-1], planned.bounds[1:]), strict=True
        )
    ]
    assert sorted(found) == [("a", [0, 1], [0, 0]), ("a", [0, 1], [0, 0]), ("c", [], []), ("c", [], [])]
    assert {asset.item_id for asset in planned.tiles.assets} == {"a", "c"}
