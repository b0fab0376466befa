"""The planner's SQL: bands, levels, areas, dates and windows, held against pyproj, rasterio and brute force."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio.warp
import rasterio.windows
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

import rasteret_sql as rs
from rasteret_sql.errors import InvalidIndexError
from rasteret_sql.sql.catalog import sql_objects
from rasteret_sql.sql.connection import make_planner
from rasteret_sql.sql.readers import plan_index, read_arguments
from rasteret_sql.testing.cog import write_cog

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sql.conftest import Collection

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def planner() -> duckdb.DuckDBPyConnection:
    return make_planner(duckdb.connect())


def _one(planner: duckdb.DuckDBPyConnection, expression: str, *parameters: Any) -> Any:
    ((value,),) = planner.execute(f"SELECT {expression}", list(parameters)).fetchall()
    return value


@settings(max_examples=60, deadline=None)
@given(zone=st.integers(1, 60), lon=st.floats(-12, 12), lat=st.floats(-80, 84), south=st.booleans())
def test_utm_in_sql_equals_pyproj(
    planner: duckdb.DuckDBPyConnection, zone: int, lon: float, lat: float, south: bool
) -> None:
    degrees = 6 * zone - 183 + lon
    ours = _one(planner, "rasteret_sql.main._rst_utm($1::DOUBLE, $2::DOUBLE, $3, $4)", degrees, lat, zone, south)
    code = f"EPSG:{32700 if south else 32600}"[:-2] + f"{zone:02d}"
    x, y = Transformer.from_crs("OGC:CRS84", code, always_xy=True).transform(degrees, lat)
    assert (ours["x"], ours["y"]) == pytest.approx((x, y), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    west=st.floats(74.0, 79.0), south=st.floats(-60, 70), width=st.floats(0.001, 2.0), height=st.floats(0.001, 2.0),
    code=st.sampled_from(["EPSG:32643", "EPSG:32743", "EPSG:3857", "EPSG:4326"]),
)  # fmt: skip
def test_projected_bounds_equal_rasterio(
    planner: duckdb.DuckDBPyConnection, west: float, south: float, width: float, height: float, code: str
) -> None:
    box = [west, south, west + width, south + height]
    ours = _one(
        planner,
        "rasteret_sql.main._rst_project(rasteret_sql.main._rst_bbox_parts($1::DOUBLE[], 'OGC:CRS84'), 'OGC:CRS84', $2)",
        box,
        code,
    )
    expected = rasterio.warp.transform_bounds("OGC:CRS84", code, *box, densify_pts=2001)
    # To a metre: where an edge turns, its points may miss the turn by that much.
    assert list(ours[0].values()) == pytest.approx(expected, abs=1e-9 if code == "EPSG:4326" else 1.0)


@pytest.mark.parametrize("code", ["EPSG:3031", "EPSG:2056", "ESRI:102001"])
def test_other_projections_are_pyprojs(planner: duckdb.DuckDBPyConnection, code: str) -> None:
    box = {"EPSG:3031": [10, -80, 12, -79], "EPSG:2056": [7, 46, 8, 47], "ESRI:102001": [-100, 50, -99, 51]}[code]
    ours = _one(
        planner,
        "rasteret_sql.main._rst_project(rasteret_sql.main._rst_bbox_parts($1::DOUBLE[], 'OGC:CRS84'), 'OGC:CRS84', $2)",
        box,
        code,
    )
    expected = rasterio.warp.transform_bounds("OGC:CRS84", code, *box, densify_pts=21)
    assert list(ours[0].values()) == pytest.approx(expected, abs=1.0)


def test_a_bbox_over_the_antimeridian_is_two_parts(planner: duckdb.DuckDBPyConnection) -> None:
    parts = _one(planner, "rasteret_sql.main._rst_bbox_parts([179.5, -17.0, -179.5, -16.0]::DOUBLE[], 'OGC:CRS84')")
    assert parts == [
        {"xmin": 179.5, "ymin": -17.0, "xmax": 180.0, "ymax": -16.0},
        {"xmin": -180.0, "ymin": -17.0, "xmax": -179.5, "ymax": -16.0},
    ]


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2024", (2024, 1, 1), (2025, 1, 1)),
        ("2024-02", (2024, 2, 1), (2024, 3, 1)),
        ("2024-02-29", (2024, 2, 29), (2024, 3, 1)),
        ("2024-12", (2024, 12, 1), (2025, 1, 1)),
        ("2024-01-01/2024-02-15", (2024, 1, 1), (2024, 2, 16)),
        ("2023/2024-06", (2023, 1, 1), (2024, 7, 1)),
        ("2024-01-01T10:30:00Z", (2024, 1, 1, 10, 30), (2024, 1, 1, 10, 30, 0, 1)),
        ("2024-01-01T10:30:00.25+05:30", (2024, 1, 1, 5, 0, 0, 250000), (2024, 1, 1, 5, 0, 0, 250001)),
        ("2024-01-01 10:30:00", (2024, 1, 1, 10, 30), (2024, 1, 1, 10, 30, 0, 1)),
        ("../2024-01-01", None, (2024, 1, 2)),
        ("2024-01-01/..", (2024, 1, 1), None),
        ("2024-01-01/", (2024, 1, 1), None),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_datetime_takes_the_forms_of_stac_in_any_time_zone(
    planner: duckdb.DuckDBPyConnection, text: str, first: Any, after: Any, zone: str
) -> None:
    planner.execute(f"SET TimeZone = '{zone}'")
    period = _one(planner, "rasteret_sql.main._rst_datetime_range($1)", text)
    planner.execute("SET TimeZone = 'UTC'")

    def microseconds(parts: Any) -> int:
        return int(
            (dt.datetime(*parts, tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1)
        )

    assert period["start_us"] == (-(2**63) + 1 if first is None else microseconds(first))
    assert period["end_us"] == (2**63 - 1 if after is None else microseconds(after))


def _asset(asset: str = "red", bands: tuple[str, ...] = ("red",), **values: Any) -> dict[str, Any]:
    """One row of an index: 300 x 200 pixels of 10 m in tiles of 64 x 32, and one overview."""
    width, height = values.pop("size", (300, 200))
    planar = values.pop("planar", False)

    form = {
        "byte_order": "little", "dtype": "uint16", "bits_per_sample": 16, "samples_per_pixel": len(bands),
        "planar": planar, "compression": 8, "predictor": 2, "photometric": 1, "fill_order": 1, "tile_width": 64,
        "tile_height": 32, "tiled": True, "jpeg_tables": None, "ycbcr_subsampling": [2, 2], "codec_parameters": [],
    }  # fmt: skip

    def level(factor: int) -> dict[str, Any]:
        across, down = -(-(width // factor) // 64), -(-(height // factor) // 32)
        count = across * down * (len(bands) if planar else 1)
        return {
            "width": width // factor, "height": height // factor, "format": 1, "mask": None,
            "tile_byte_counts": [500] * count, "run_offsets": [1000 + 500 * n for n in range(0, count, 64)],
            "tile_gaps": [0],
        }  # fmt: skip

    row = {
        "collection": "c", "item_id": "i", "asset": asset, "datetime": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        "start_datetime": None, "end_datetime": None, "bbox": None, "href": f"https://example.com/{asset}.tif",
        "mirror": None, "etag": None, "file_size": 1_000_000, "cog_layout": None, "crs": "EPSG:32643",
        "transform": [10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0], "dtype": "uint16",
        "bands": [
            {"name": name, "band": n + 1, "common_name": None, "description": None, "nodata": None, "scale": None,
             "offset": None, "unit": None, "is_alpha": False}
            for n, name in enumerate(bands)
        ],
        "formats": [form],
        "levels": [level(1), level(2)],
    }  # fmt: skip
    row |= values
    box, times = row["bbox"] or {}, [row["start_datetime"] or row["datetime"], row["end_datetime"] or row["datetime"]]
    start_us, end_us = (time and (time - EPOCH) // dt.timedelta(microseconds=1) for time in times)
    endless = {"xmin": -math.inf, "ymin": -math.inf, "xmax": math.inf, "ymax": math.inf}
    return row | {"reach": endless | box | {"start_us": start_us, "end_us": end_us}}


def _plan(con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], arguments: str = "") -> list[tuple[Any, ...]]:
    empty = con.execute("DROP TABLE IF EXISTS t")
    assert empty is not None
    from rasteret_sql.database.sqlfiles import sql_file

    con.execute(sql_file("schema/asset_index.sql").replace("CREATE TABLE asset_index", "CREATE TABLE t"))
    con.register("rows", pa.Table.from_pylist(rows))
    con.execute("INSERT INTO t BY NAME FROM rows")
    con.unregister("rows")
    separator = ", " if arguments else ""
    return con.execute(
        f"SELECT asset, band, band_name, level, tile_row, tile_col, width, height FROM tile_plan('t'{separator}{arguments})"
    ).fetchall()


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    return rs.connect()


def test_an_asset_comes_before_a_band_of_the_same_name(con: duckdb.DuckDBPyConnection) -> None:
    rows = [_asset("red"), _asset("visual", ("red", "green", "blue")), _asset("red-jp2x", ("red",))]
    found = {row[:3] for row in _plan(con, rows, "bands := ['red', 'visual:green']")}
    assert found == {("red", 1, "red"), ("visual", 2, "visual:green")}


def test_a_name_that_fits_two_bands_is_an_error_that_lists_them(con: duckdb.DuckDBPyConnection) -> None:
    rows = [_asset("visual", ("red", "green")), _asset("preview", ("red", "green"))]
    with pytest.raises(duckdb.Error, match="'red', which fits 'preview:red', 'visual:red'; expected one of them"):
        _plan(con, rows, "bands := ['red']")


def test_a_band_can_be_named_by_number_and_an_asset_gives_all_its_bands(
    con: duckdb.DuckDBPyConnection,
) -> None:
    rows = [_asset("image", ("R", "G", "B", "N"))]
    assert {row[2] for row in _plan(con, rows, "bands := ['image:4', 'B']")} == {"image:4", "B"}
    assert {row[1:3] for row in _plan(con, rows, "bands := ['image']")} == {
        (1, "image:R"), (2, "image:G"), (3, "image:B"), (4, "image:N"),
    }  # fmt: skip


def test_files_of_one_asset_may_have_other_bands(con: duckdb.DuckDBPyConnection) -> None:
    rows = [
        _asset("data", ("a",), item_id="one"),
        _asset("data", ("a", "b", "c"), item_id="three"),
        _asset("data", ("c", "b", "a"), item_id="turned"),
    ]
    plan = _plan(con, rows)
    assert len(plan) == 35 * (1 + 3 + 3)
    found = con.execute("SELECT DISTINCT item_id, band FROM tile_plan('t', bands := ['data']) ORDER BY ALL").fetchall()
    assert found == [
        ("one", 1),
        ("three", 1),
        ("three", 2),
        ("three", 3),
        ("turned", 1),
        ("turned", 2),
        ("turned", 3),
    ]


@pytest.mark.parametrize(("resolution", "level"), [(5, 0), (10, 0), (19.9, 0), (20, 1), (1000, 1)])
def test_resolution_chooses_the_coarsest_level_that_is_fine_enough(
    con: duckdb.DuckDBPyConnection, resolution: float, level: int
) -> None:
    assert {row[3] for row in _plan(con, [_asset()], f"resolution := {resolution}")} == {level}


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(-50, 350), y=st.floats(-50, 250), w=st.floats(0.01, 300), h=st.floats(0.01, 250),
    level=st.integers(0, 1), south_up=st.booleans(),
)  # fmt: skip
def test_a_bbox_takes_exactly_the_tiles_that_it_touches(
    con: duckdb.DuckDBPyConnection, x: float, y: float, w: float, h: float, level: int, south_up: bool
) -> None:
    y_size = 10.0 if south_up else -10.0
    transform = [10.0, 0.0, 600_000.0, 0.0, y_size, 1_400_000.0]
    ys = sorted([1_400_000 + y_size * y, 1_400_000 + y_size * (y + h)])
    box = [600_000 + 10 * x, ys[0], 600_000 + 10 * (x + w), ys[1]]
    try:
        plan = _plan(
            con, [_asset(transform=transform)], f"bbox := {box}, geometry_crs := 'EPSG:32643', level := {level}"
        )
    except duckdb.Error as error:
        if "touches none of the assets of index 't'" not in str(error):
            raise
        plan = []
    factor = 2**level
    width, height = 300 // factor, 200 // factor
    expected = set()
    for row in range(-(-height // 32)):
        for col in range(-(-width // 64)):
            left, right = col * 64, min((col + 1) * 64, width)
            top, bottom = row * 32, min((row + 1) * 32, height)
            margin = 2e-6
            if (
                x / factor < right - margin and (x + w) / factor > left + margin
                and y / factor < bottom - margin and (y + h) / factor > top + margin
            ):  # fmt: skip
                expected.add((row, col))
    assert {row[4:6] for row in plan} == expected


def test_edges_that_only_meet_do_not_touch(con: duckdb.DuckDBPyConnection) -> None:
    box = [600_640, 1_399_680, 601_280, 1_400_000]
    assert [row[4:6] for row in _plan(con, [_asset()], f"bbox := {box}, geometry_crs := 'EPSG:32643'")] == [(0, 1)]


def test_a_geometry_takes_the_tiles_that_it_touches_and_not_those_of_its_bbox(
    con: duckdb.DuckDBPyConnection,
) -> None:
    triangle = "POLYGON ((600000 1400000, 603000 1400000, 600000 1398000, 600000 1400000))"
    plan = _plan(con, [_asset()], f"geometry := '{triangle}', geometry_crs := 'EPSG:32643'")
    found = {row[4:6] for row in plan}
    assert (0, 0) in found
    assert (0, 4) in found
    assert (6, 4) not in found
    for row in range(7):
        for col in range(5):
            touches = col * 64 / 300 + row * 32 / 200 < 1
            assert ((row, col) in found) == touches
    geojson = '{"type": "Point", "coordinates": [75.93, 12.655]}'
    assert len(_plan(con, [_asset()], f"geometry := '{geojson}'")) == 1
    for value in (f"'{triangle}'::GEOMETRY", f"from_hex('{shapely.from_wkt(triangle).wkb_hex}')"):
        assert _plan(con, [_asset()], f"geometry := {value}, geometry_crs := 'EPSG:32643'") == plan


def test_tiles_at_the_edges_are_clipped_to_the_image(con: duckdb.DuckDBPyConnection) -> None:
    sizes = {(row[4], row[5]): (row[6], row[7]) for row in _plan(con, [_asset()])}
    assert sizes[0, 0] == (64, 32)
    assert sizes[6, 4] == (300 - 256, 200 - 192)


def test_dates_are_inclusive_and_intervals_overlap(con: duckdb.DuckDBPyConnection) -> None:
    last = dt.datetime(2024, 1, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    rows = [
        _asset(item_id="last", datetime=last),
        _asset(item_id="next", datetime=last + dt.timedelta(microseconds=1)),
        _asset(
            item_id="year", datetime=None, start_datetime=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
            end_datetime=dt.datetime(2024, 12, 31, tzinfo=dt.UTC),
        ),
    ]  # fmt: skip
    _plan(con, rows)
    query = "SELECT DISTINCT item_id FROM tile_plan('t', datetime := '{}') ORDER BY 1"
    assert con.execute(query.format("2024-01")).fetchall() == [("last",), ("year",)]
    assert con.execute(query.format("2024-02-01/..")).fetchall() == [("next",), ("year",)]
    assert con.execute(query.format("2024-06-15")).fetchall() == [("year",)]
    assert con.execute(query.format("2025")).fetchall() == []


def test_planar_bands_have_tiles_of_their_own_and_chunky_ones_share_them(
    con: duckdb.DuckDBPyConnection,
) -> None:
    _plan(con, [_asset("image", tuple("abcd"), planar=True)])
    query = "SELECT count(*), count(DISTINCT tile_offset), min(tile_offset) FROM tile_plan('t', bands := ['b', 'd'])"
    assert con.execute(query).fetchall() == [(70, 70, 1000 + 500 * 35)]
    _plan(con, [_asset("image", tuple("abcd"))])
    assert con.execute(query).fetchall() == [(70, 35, 1000)]


def test_explain_counts_shared_tiles_once(con: duckdb.DuckDBPyConnection) -> None:
    _plan(con, [_asset("image", tuple("abcd"))])
    rows = con.execute(
        "SELECT band, items, files, tiles, requests, tile_bytes, pixel_bytes FROM explain_read('t')"
    ).fetchall()
    assert rows[0] == ("image:a", 1, 1, 35, 1, 17_500, 120_000)
    assert rows[-1] == ("total", 1, 1, 140, 1, 17_500, 480_000)


def test_a_raster_without_a_place_is_refused_where_an_area_is_asked_for(
    con: duckdb.DuckDBPyConnection,
) -> None:
    assert len(_plan(con, [_asset(crs=None, transform=None)])) == 35
    with pytest.raises(
        duckdb.Error, match=r"asset .red. of item .i. has no CRS or no transform.*WHERE crs IS NOT NULL"
    ):
        _plan(con, [_asset(crs=None, transform=None)], "bbox := [0, 0, 1, 1]")


def test_the_plan_is_plain_sql(collection: Collection) -> None:
    """Without Python's functions, and with the macros in one catalogue, as the stock shell loads them."""
    con = duckdb.connect()
    for found in sql_objects("macros", "plain"):
        con.execute(found.text)
    plan = con.execute(
        f"SELECT count(*) FROM tile_plan('{collection.index}', bbox := [75.92, 12.65, 75.93, 12.66], bands := ['red'])"
    ).fetchall()
    assert plan[0][0] > 0
    with pytest.raises(duckdb.Error, match="plain SQL projects longitude and latitude to UTM and EPSG:3857 only"):
        con.execute(f"FROM tile_plan('{collection.index}', bbox := [1, 2, 3, 4], geometry_crs := 'EPSG:3035')")
    con.close()


def test_windows_are_those_of_rasterio(collection: Collection) -> None:
    rng = np.random.default_rng(3)
    with rasterio.open(collection.folder / "A_red.tif") as source:
        bounds = rasterio.warp.transform_bounds(source.crs, "OGC:CRS84", *source.bounds)
        for _ in range(10):
            xs = np.sort(rng.uniform(bounds[0] + 1e-3, bounds[2] - 1e-3, 2))
            ys = np.sort(rng.uniform(bounds[1] + 1e-3, bounds[3] - 1e-3, 2))
            box = (xs[0], ys[0], xs[1], ys[1])
            projected = rasterio.warp.transform_bounds("OGC:CRS84", source.crs, *box, densify_pts=21)
            window = rasterio.windows.from_bounds(*projected, transform=source.transform)
            rows = int(np.floor(window.row_off)), int(np.ceil(window.row_off + window.height))
            cols = int(np.floor(window.col_off)), int(np.ceil(window.col_off + window.width))
            expected = source.read(1, window=(rows, cols))
            ours = rs.to_numpy(collection.index, bands=["red"], bbox=box, datetime="2024-01-01")
            np.testing.assert_array_equal(ours.data[0, 0], expected)
            np.testing.assert_array_equal(ours.mask[0, 0], expected != 0)


def test_explain_in_python_gives_the_rows_of_explain_read(
    con: duckdb.DuckDBPyConnection, collection: Collection
) -> None:
    query = f"FROM explain_read('{collection.index}', bands := ['red'], bbox := [75.92, 12.65, 75.93, 12.66])"
    table = rs.explain(collection.index, bands=["red"], bbox=(75.92, 12.65, 75.93, 12.66))
    assert [tuple(row.values()) for row in table.to_pylist()] == con.execute(query).fetchall()
    assert table.column("band").to_pylist() == ["red", "total"]
    assert rs.explain(con.sql(f"FROM '{collection.index}' WHERE item_id = 'A'")).num_rows == 3


def test_rasters_beyond_the_antimeridian_are_found_from_both_sides(con: duckdb.DuckDBPyConnection) -> None:
    # 300 pixels of 100 m in zone 60 south, across 180 degrees.
    zone_60 = _asset(crs="EPSG:32760", transform=[100.0, 0.0, 800_000.0, 0.0, -100.0, 8_110_000.0])
    both = {row[4:6] for row in _plan(con, [zone_60], "bbox := [179.9, -17.2, -179.9, -17.1]")}
    east = {row[4:6] for row in _plan(con, [zone_60], "bbox := [179.9, -17.2, 180, -17.1]")}
    west = {row[4:6] for row in _plan(con, [zone_60], "bbox := [-180, -17.2, -179.9, -17.1]")}
    assert east
    assert west
    assert both == east | west
    degrees = {"crs": "EPSG:4326", "size": (360, 180)}
    from_zero = _asset(transform=[1.0, 0.0, 0.0, 0.0, -1.0, 90.0], **degrees)
    assert {row[5] for row in _plan(con, [from_zero], "bbox := [-100, 0, -90, 1]")} == {4}
    whole = _asset(transform=[1.0, 0.0, -180.0, 0.0, -1.0, 90.0], **degrees)
    assert {row[5] for row in _plan(con, [whole], "bbox := [179, 0, -179, 1]")} == {0, 5}


def test_wide_areas_lose_no_pixel_to_curved_edges(con: duckdb.DuckDBPyConnection) -> None:
    rows = [_asset(transform=[10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0])]
    assert len(_plan(con, rows, "bbox := [50, -60, 100, 70]")) == 35
    polar = [_asset(crs="EPSG:3031", transform=[20_000.0, 0.0, -3_000_000.0, 0.0, -20_000.0, 2_000_000.0])]
    assert len(_plan(con, polar, "bbox := [-180, -90, 180, -60]")) == 35
    europe = [_asset(crs="EPSG:3035", transform=[10_000.0, 0.0, 2_500_000.0, 0.0, -10_000.0, 5_500_000.0])]
    assert len(_plan(con, europe, "bbox := [-180, -90, 180, 90]")) == 35


def test_names_that_a_file_has_twice_are_refused_and_numbered(con: duckdb.DuckDBPyConnection) -> None:
    rows = [_asset("img", ("gray", "gray", "other"))]
    assert {row[1:3] for row in _plan(con, rows)} == {(1, "img:1"), (2, "img:2"), (3, "img:other")}
    with pytest.raises(duckdb.Error, match="'gray', which fits 'img:1', 'img:2'"):
        _plan(con, rows, "bands := ['gray']")
    assert {row[1:3] for row in _plan(con, rows, "bands := ['img:2']")} == {(2, "img:2")}
    shifted = [_asset("img", ("2", "3", "4"))]
    assert {row[1] for row in _plan(con, shifted, "bands := ['img:2']")} == {1}
    assert {row[1] for row in _plan(con, [_asset("a:b", ("red", "nir"))], "bands := ['a:b:nir']")} == {2}


@pytest.mark.parametrize("bands", ["[]", "[NULL]", "['red', NULL]", "['red', 'red']"])
def test_bands_that_say_nothing_or_twice_the_same_are_refused(con: duckdb.DuckDBPyConnection, bands: str) -> None:
    with pytest.raises(duckdb.Error, match=r"bands: got .*expected (names such as|each name once)"):
        _plan(con, [_asset()], f"bands := {bands}")


def test_a_row_without_all_its_offsets_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    row = _asset()
    row["levels"][0]["tile_byte_counts"][3] = None
    with pytest.raises(duckdb.Error, match="has no offset and byte count of it, expected those of every tile"):
        _plan(con, [row])
    row["levels"][0]["tile_byte_counts"] = row["levels"][0]["tile_byte_counts"][:3]
    with pytest.raises(duckdb.Error, match="is a list of 3 numbers, expected one for each tile of 64 x 32 pixels"):
        _plan(con, [row])


def test_a_table_may_have_any_name(con: duckdb.DuckDBPyConnection) -> None:
    _plan(con, [_asset()])
    for name in ("arguments", "candidates", "best", "assets", "planned_assets", "grid"):
        con.execute(f"CREATE OR REPLACE VIEW {name} AS FROM t")
        assert con.execute(f"SELECT count(*) FROM tile_plan('{name}')").fetchall() == [(35,)]
        con.execute(f"DROP VIEW {name}")


def test_an_index_of_the_first_schema_is_refused_by_name(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    _plan(con, [_asset()])
    old = tmp_path / "old.parquet"
    con.execute(f"COPY (SELECT * EXCLUDE (formats, reach) FROM t) TO '{old}'")
    message = r"old\.parquet' has another schema version than 2: it has no column formats, reach; build it again"
    for query in (f"FROM tile_plan('{old}')", f"FROM explain_read('{old}')"):
        with pytest.raises(duckdb.Error, match=r"index_of_schema_2.* does not have a column named"):
            con.execute(query).fetchall()
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"FROM read_tiles('{old}')").fetchall()
    with pytest.raises(InvalidIndexError, match=message):
        rs.to_numpy(old)
    with pytest.raises(InvalidIndexError, match="has another schema version than 2"):
        rs.explain(f"FROM '{old}'")


def test_a_path_may_have_any_number_of_dots(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    folder = tmp_path / "v1.2.3"
    folder.mkdir()
    _plan(con, [_asset()])
    for name in ("a.b.parquet", "c.d.parquet"):
        con.execute(f"COPY t TO '{folder / name}'")
    for index, tiles in (("a.b.parquet", 35), ("*.parquet", 70), ("../**/*.d.parquet", 35)):
        table = rs.explain(f"{folder}/{index}")
        assert table.column("tiles").to_pylist()[-1] == tiles


def test_places_are_pruned_and_rows_without_one_are_kept(con: duckdb.DuckDBPyConnection) -> None:
    def box(west: float, south: float) -> dict[str, float]:
        return {"xmin": west, "ymin": south, "xmax": west + 1, "ymax": south + 1}

    degrees = {"crs": "EPSG:4326", "size": (300, 200)}
    rows = [
        _asset(
            item_id=f"{west} {south}",
            bbox=box(west, south),
            transform=[1 / 300, 0.0, west, 0.0, -1 / 200, south + 1.0],
            **degrees,
        )
        for west in (-180.0, -10.0, 0.0, 10.0, 179.0)
        for south in (-5.0, 0.0, 5.0)
    ]
    whole = {"xmin": -180.0, "ymin": -90.0, "xmax": 180.0, "ymax": 90.0}
    rows.append(_asset(item_id="whole", bbox=whole, transform=[1.2, 0.0, 0.0, 0.0, -0.9, 90.0], **degrees))
    rows.append(_asset(item_id="none", bbox=None, transform=[1 / 300, 0.0, 0.0, 0.0, -1 / 200, 1.0], **degrees))
    _plan(con, rows)

    def found(arguments: str) -> set[str]:
        query = f"SELECT DISTINCT item_id FROM tile_plan('t', {arguments})"
        return {item for (item,) in con.execute(query).fetchall()}

    assert found("bbox := [0.2, 0.2, 0.4, 0.4]") == {"0.0 0.0", "whole", "none"}
    assert found("geometry := 'POINT (0.3 0.3)'") == {"0.0 0.0", "whole", "none"}
    assert found("bbox := [-9.8, 5.2, 10.2, 5.4]") == {"-10.0 5.0", "0.0 5.0", "10.0 5.0", "whole"}
    assert found("bbox := [179.5, 0.2, -179.5, 0.4]") == {"179.0 0.0", "-180.0 0.0", "whole"}
    assert found("geometry := 'POLYGON ((179.5 0.2, 180.5 0.2, 180.5 0.4, 179.5 0.4, 179.5 0.2))'") >= {"179.0 0.0"}
    assert found("bbox := [0.2, 0.2, 0.4, 0.4], geometry_crs := 'EPSG:4326'") == {"0.0 0.0", "whole", "none"}


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        ("bbox := [10.2, 0.2, 10.4, 0.4]", 2),
        ("geometry := 'POINT (10.31 0.41)'", 2),
        ("datetime := '2024-02'", 20),
        ("datetime := '2024-02/..', bbox := [10.2, 0.2, 10.4, 0.4]", 1),
    ],
)
def test_row_groups_of_another_place_or_time_are_not_read(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, arguments: str, most: int
) -> None:
    rows = [
        _asset(
            item_id=f"{month} {west}",
            datetime=dt.datetime(2024, month, 1, tzinfo=dt.UTC),
            bbox={"xmin": float(west), "ymin": 0.0, "xmax": west + 0.9, "ymax": 0.9},
            transform=[0.003, 0.0, float(west), 0.0, -0.003, 0.9],
            crs="EPSG:4326",
        )
        for month in (1, 2)
        for west in range(20)
    ]
    _plan(con, rows)
    table, path = con.sql("FROM t").to_arrow_table(), tmp_path / "i.parquet"
    pq.write_table(table.drop_columns(["geometry"]), path, row_group_size=1)
    metadata = pq.read_metadata(path)
    columns = [metadata.row_group(0).column(n).path_in_schema for n in range(metadata.num_columns)]
    (number,) = (n for n, name in enumerate(columns) if name == "item_id")
    wanted = con.execute(f"SELECT DISTINCT item_id FROM tile_plan('{path}', {arguments})").fetchall()
    assert len(wanted) == most
    # Without them, a plan that read the column in any other row group would be an error.
    data = bytearray(path.read_bytes())
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(number)
        if (chunk.statistics.min,) not in wanted:
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)
    assert sorted(con.execute(f"SELECT DISTINCT item_id FROM tile_plan('{path}', {arguments})").fetchall()) == sorted(
        wanted
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("datetime := '2025/2024'", "which ends before it starts"),
        ("datetime := '1999', level := -1", "level: got -1"),
        ("bbox := [100, 80, 101, 81], resolution := -1", "resolution: got -1"),
    ],
)
def test_a_wrong_argument_is_an_error_where_no_row_group_is_left(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, arguments: str, message: str
) -> None:
    _plan(con, [_asset(bbox={"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0})])
    con.execute(f"COPY t TO '{tmp_path / 'i.parquet'}'")
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"FROM tile_plan('{tmp_path / 'i.parquet'}', {arguments})").fetchall()


def test_files_of_a_plan_keep_what_is_their_own_and_share_what_is_not(tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {"dtype": np.uint16, "tile": 32, "nodata": 0},
        {"dtype": np.float32, "tile": 64, "nodata": math.nan},
        {"dtype": np.uint16, "tile": 32, "nodata": 7},
        {"dtype": np.uint8, "tile": 16, "mask": np.eye(64, dtype=bool)},
    ]
    rows = []
    for number in range(12):
        kind = dict(kinds[number % len(kinds)])
        lattice = (10.0, 0.0, 600_000.0 + 640 * (number % 5), 0.0, -10.0, 1_400_000.0)
        pixels = np.ones((64, 64), kind.pop("dtype"))
        write_cog(tmp_path / f"{number}.tif", pixels, transform=lattice, overviews=(), **kind)
        rows.append({"href": str(tmp_path / f"{number}.tif"), "item_id": f"{number:02}", "asset": "data"})
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    arguments = read_arguments(None, None, None, "OGC:CRS84", None, None, None)
    assets = plan_index(str(tmp_path / "i.parquet"), arguments).plan.assets
    assert [asset.item_id for asset in assets] == [row["item_id"] for row in rows]
    for number, asset in enumerate(assets):
        kind = kinds[number % len(kinds)]
        (band,) = asset.bands
        assert (asset.dtype, asset.format.tile_width) == (np.dtype(kind["dtype"]).name, kind["tile"])
        assert repr(band.nodata) == repr(None if "mask" in kind else float(kind["nodata"]))
        assert (asset.mask_format is None) == ("mask" not in kind)
        assert asset.transform is not None
        assert asset.transform[2] == 600_000 + 640 * (number % 5)
        assert asset.format is assets[number % len(kinds)].format
        assert asset.transform is assets[number % 5].transform
