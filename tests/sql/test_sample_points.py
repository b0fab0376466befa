"""Values at points, held against rasterio's `sample`, for SQL and for Python."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import duckdb
import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from rasterio.warp import transform as warp_points

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, EmptyReadError, InvalidArgumentError, RasteretError
from rasteret_sql.sql.virtual import scans_only_planned
from rasteret_sql.testing import write_cog
from rasteret_sql.testing.server import RangeServer
from tests.support.scenes import BANDS, TILE, TRANSFORM, ServedScene

if TYPE_CHECKING:
    from pathlib import Path


UTM = "EPSG:32643"
HEIGHT, WIDTH = 96, 128
ITEMS = "abc"


class Scene(ServedScene):
    """Files of three items with two bands each on a server, one day apart, and their index."""

    items, shape, above = ITEMS, (HEIGHT, WIDTH), 1000
    without_data = (slice(10, 14), slice(20, 26))

    def sampled(self, item: str, band: str, x: Any, y: Any) -> list[float | None]:
        """What rasterio has at points; None where the pixel is nodata."""
        with rasterio.open(self.folder / f"{item}_{band}.tif") as source:
            found = [value[0] for value in source.sample(zip(x, y, strict=True), masked=True)]
        return [None if value is np.ma.masked else float(value) for value in found]


def _points(count: int = 200, seed: int = 0, beside: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(600_000 - beside, 600_000 + WIDTH * 10 + beside, count)
    return x, rng.uniform(1_400_000 - HEIGHT * 10 - beside, 1_400_000 + beside, count)


def _frame(x: Any, y: Any, crs: str = UTM) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"plot": np.arange(len(x))}, geometry=gpd.points_from_xy(x, y), crs=crs)


def _table(con: duckdb.DuckDBPyConnection, x: Any, y: Any) -> None:
    points = pa.table({"plot": np.arange(len(x)), "x": x, "y": y})
    con.execute("CREATE TABLE plots AS SELECT * FROM points")
    del points


def _tile_requests(scene: Scene) -> list[tuple[str, Any]]:
    return [(request.path, request.start) for request in scene.server.requests]


def test_values_are_those_of_rasterio(scene: Scene) -> None:
    x, y = _points(500)
    rows = rs.sample_points(scene.index, _frame(x, y)).read_all().to_pylist()
    assert len(rows) == 500 * len(ITEMS) * len(BANDS)
    for item in ITEMS:
        for band in BANDS:
            found = [row for row in rows if (row["item_id"], row["band"]) == (item, band)]
            assert [row["plot"] for row in found] == list(range(500))
            assert [row["value"] for row in found] == scene.sampled(item, band, x, y)
            assert None in [row["value"] for row in found]


def test_sql_gives_what_python_gives_and_the_columns_of_the_points(
    scene: Scene, con: duckdb.DuckDBPyConnection
) -> None:
    x, y = _points(300, beside=300)
    _table(con, x, y)
    names = ["plot", "x", "y", "item_id", "collection", "datetime", "band", "value", "window_values", "scale", "offset"]
    query = f"FROM sample_points('{scene.index}', 'plots', bands := ['nir', 'red'], geometry_crs := '{UTM}')"
    found = con.sql(query).to_arrow_table()
    assert found.schema.names == [*names, "error"]
    table = pa.table({"plot": np.arange(len(x)), "x": x, "y": y})
    expected = rs.sample_points(scene.index, table, bands=["nir", "red"], geometry_crs=UTM).read_all()
    order = [(name, "ascending") for name in ("item_id", "band", "plot")]
    assert found.sort_by(order).to_pylist() == expected.sort_by(order).to_pylist()
    assert 0 < len(set(expected["plot"].to_pylist())) < 300


def test_points_on_edges_lie_where_gdal_has_them(scene: Scene) -> None:
    """Each corner of pixels of the image, its right and lower edges, and points beside it."""
    cols, rows = np.meshgrid(np.arange(-1, WIDTH + 2), np.arange(-1, HEIGHT + 2))
    x, y = 600_000.0 + 10 * cols.ravel(), 1_400_000.0 - 10 * rows.ravel()
    found = rs.sample_points(scene.index, _frame(x, y), bands=["red"], datetime="2024-01-01").read_all()
    inside = (cols.ravel() >= 0) & (cols.ravel() < WIDTH) & (rows.ravel() >= 0) & (rows.ravel() < HEIGHT)
    assert found["plot"].to_pylist() == np.flatnonzero(inside).tolist()
    assert found["value"].to_pylist() == scene.sampled("a", "red", x[inside], y[inside])


@pytest.mark.parametrize("crs", ["OGC:CRS84", "EPSG:4326", "EPSG:3857", "EPSG:32644", "EPSG:24343"])
def test_points_are_projected_to_each_raster(scene: Scene, crs: str) -> None:
    x, y = _points(200)
    there_x, there_y = warp_points(UTM, "EPSG:4326" if crs == "OGC:CRS84" else crs, x, y)
    rows = rs.sample_points(scene.index, _frame(there_x, there_y, crs), bands=["red"], datetime="2024-01-02").read_all()
    assert rows["value"].to_pylist() == scene.sampled("b", "red", x, y)


def test_each_tile_is_fetched_once_however_many_points_lie_in_it(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    x, y = _points(5000)
    _table(con, x, y)
    con.execute(
        f"SELECT count(value) FROM sample_points('{scene.index}', 'plots', bands := ['red'], geometry_crs := '{UTM}')"
    ).fetchall()
    read = _tile_requests(scene)
    assert len(read) == len(set(read)) == len(ITEMS), "the tiles of a file lie side by side: one request"


def test_only_tiles_that_hold_points_are_planned(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    """Two points in one tile, one in another; and a window of pixels that reaches into two more."""
    _table(con, [600_005.0, 600_105.0, 601_275.0], [1_399_995.0, 1_399_905.0, 1_399_045.0])
    for size, tiles in ((1, 2), (47, 5)):
        with scans_only_planned() as scans:
            con.execute(
                f"SELECT value FROM sample_points('{scene.index}', 'plots', bands := ['red'], geometry_crs := '{UTM}', "
                f"datetime := '2024-01-01', window_size := {size})"
            ).fetchall()
        plan = scans[0].plan
        assert len(plan) == tiles
        assert len(set(zip(plan.tile_row.tolist(), plan.tile_col.tolist(), strict=True))) == tiles
    assert not scene.server.requests


def test_conditions_on_items_prune_before_the_read(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    _table(con, *_points(100))
    call = f"sample_points('{scene.index}', 'plots', geometry_crs := '{UTM}')"
    rows = con.execute(f"SELECT DISTINCT item_id, band FROM {call} WHERE item_id = 'b' AND band = 'nir' AND value > 0")
    assert rows.fetchall() == [("b", "nir")]
    scene.server.reset()
    con.execute(f"SELECT avg(value) FROM {call} WHERE item_id = 'b' AND band = 'nir'").fetchall()
    assert {path for path, _ in _tile_requests(scene)} == {"b_nir.tif"}


def test_rows_alone_need_no_bytes(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    _table(con, *_points(100))
    ((count,),) = con.execute(
        f"SELECT count(*) FROM sample_points('{scene.index}', 'plots', geometry_crs := '{UTM}')"
    ).fetchall()
    assert count == 100 * len(ITEMS) * len(BANDS)
    assert not scene.server.requests


def test_a_limit_ends_the_read(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    """The rows of a read are not held in memory for the join with the points: many files are never fetched."""
    with RangeServer(tmp_path) as server:
        pixels = np.random.default_rng(0).integers(1, 60_000, (1024, 1024), np.uint16)
        write_cog(tmp_path / "m.tif", pixels, tile=256, transform=TRANSFORM)
        rows = [{"href": f"{server.url('m.tif')}?{n}", "item_id": f"i{n:03}", "asset": "m"} for n in range(200)]
        rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
        rng = np.random.default_rng(0)
        _table(con, 600_000 + rng.uniform(0, 10_240, 5000), 1_400_000 - rng.uniform(0, 10_240, 5000))
        server.reset()
        call = f"sample_points('{tmp_path}/i.parquet', 'plots', geometry_crs := '{UTM}')"
        assert len(con.execute(f"SELECT plot, value FROM {call} LIMIT 3").fetchall()) == 3
        assert 0 < len(server.requests) < 200


def test_null_empty_and_far_points_have_no_rows(scene: Scene) -> None:
    points = [None, shapely.Point(), shapely.Point(600_005, 1_399_995), shapely.Point(0, 0), shapely.Point(1e300, 5)]
    frame = gpd.GeoDataFrame({"plot": range(5)}, geometry=points, crs=UTM)
    assert set(rs.sample_points(scene.index, frame).read_all()["plot"].to_pylist()) == {2}
    nothing = rs.sample_points(scene.index, frame.iloc[:2]).read_all()
    assert len(nothing) == 0
    assert nothing.schema.names[:3] == ["plot", "geometry", "item_id"]
    with pytest.raises(EmptyReadError, match=r"points: .*touches none of the assets"):
        rs.sample_points(scene.index, frame.iloc[3:4])


def test_points_come_in_many_forms(scene: Scene, con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    x, y = warp_points(UTM, "EPSG:4326", *_points(50))
    frame = _frame(x, y, "OGC:CRS84")
    options: dict[str, Any] = {"bands": ["red"], "datetime": "2024-01-01"}
    expected = rs.sample_points(scene.index, frame, **options).read_all()["value"].to_pylist()
    frame.to_parquet(tmp_path / "p.parquet")
    (tmp_path / "p.geojson").write_text(frame.to_json())
    table = pa.table({"lon": x, "lat": y})
    pq.write_table(table, tmp_path / "xy.parquet")
    con.execute(f"CREATE TABLE wkb AS SELECT ST_AsWKB(geometry)::BLOB AS geometry FROM '{tmp_path}/p.parquet'")
    con.execute(f"CREATE TABLE wkt AS SELECT ST_AsText(geometry) AS wkt FROM '{tmp_path}/p.parquet'")
    con.execute("CREATE TABLE geojson AS SELECT {'type': 'Point', 'coordinates': [lon, lat]} AS geojson FROM "
                f"'{tmp_path}/xy.parquet'")  # fmt: skip
    lonlat = {"geometry_crs": "OGC:CRS84"}
    forms: list[tuple[Any, dict[str, Any]]] = [
        (frame.geometry, {}), (frame.geometry.tolist(), {}), ([each.wkt for each in frame.geometry], {}),
        (json.loads(frame.to_json()), {}), (tmp_path / "p.parquet", {}), (str(tmp_path / "p.geojson"), {}),
        (table, {}), (table.to_pandas(), {}), (table, {"x_column": "lon", "y_column": "lat", **lonlat}),
        (pq.read_table(tmp_path / "p.parquet"), {}), (con.sql("FROM wkb"), lonlat), (con.sql("FROM wkt"), lonlat),
        (con.sql("FROM geojson"), lonlat), (f"FROM '{tmp_path}/p.parquet' WHERE plot < 100", {}),
        (con.sql(f"FROM '{tmp_path}/p.parquet'"), {}),
    ]  # fmt: skip
    for points, given in forms:
        found = rs.sample_points(scene.index, points, **options, **given).read_all()
        assert found["value"].to_pylist() == expected, type(points)
    for source, given_sql in (
        ("wkb", ", geometry_crs := 'OGC:CRS84'"), ("wkt", ", geometry_column := 'WKT', geometry_crs := 'EPSG:4326'"),
        ("geojson", ", geometry_crs := 'OGC:CRS84'"), (f"{tmp_path}/p.parquet", ""), (f"{tmp_path}/xy.parquet", ""),
    ):  # fmt: skip
        call = f"sample_points('{scene.index}', '{source}', bands := ['red'], datetime := '2024-01-01'{given_sql})"
        assert [value for (value,) in con.execute(f"SELECT value FROM {call}").fetchall()] == expected, source


def test_geopandas_is_one_call_away(scene: Scene) -> None:
    frame = _frame(*_points(20))
    rows = gpd.GeoDataFrame.from_arrow(rs.sample_points(scene.index, frame, bands=["red"]).read_all())
    assert rows.crs == frame.crs
    assert rows.geometry.iloc[:20].geom_equals(frame.geometry).all()


def test_latest_takes_the_last_item_that_holds_each_point(tmp_path: Path) -> None:
    """Items that overlap in part; equal times go to the later one in the order of the index."""
    rng = np.random.default_rng(3)
    rows, pixels = [], {}
    for number in range(6):
        transform = (10.0, 0.0, 600_000.0 + 300 * (number % 3), 0.0, -10.0, 1_400_000.0 - 200 * (number % 2))
        pixels[number] = rng.integers(1, 1000, (HEIGHT, WIDTH), np.uint16), transform
        write_cog(tmp_path / f"{number}.tif", pixels[number][0], tile=TILE, transform=transform)
        when = dt.datetime(2024, 1, 1 + number // 2, tzinfo=dt.UTC)
        rows.append({"href": str(tmp_path / f"{number}.tif"), "item_id": str(number), "asset": "m", "datetime": when})
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    x, y = _points(400, seed=5, beside=400)
    found = rs.sample_points(tmp_path / "i.parquet", _frame(x, y), match="latest").read_all().to_pylist()
    expected = {}
    for number, (data, transform) in pixels.items():
        col, row = np.floor((x - transform[2]) / 10), np.floor((transform[5] - y) / 10)
        for plot in np.flatnonzero((col >= 0) & (col < WIDTH) & (row >= 0) & (row < HEIGHT)):
            expected[plot] = str(number), float(data[int(row[plot]), int(col[plot])])
    assert {row["plot"]: (row["item_id"], row["value"]) for row in found} == expected
    assert len(found) == len(expected)
    assert len({item for item, _ in expected.values()}) > 3


def test_items_are_matched_for_each_band_by_its_name(scene: Scene) -> None:
    """Also where all bands are read, and have no place in what was asked for."""
    x, y = _points(50)
    rows = rs.sample_points(scene.index, _frame(x, y), match="latest").read_all().to_pylist()
    for band in BANDS:
        found = [row for row in rows if row["band"] == band]
        assert {row["item_id"] for row in found} == {"c"}
        assert [row["value"] for row in found] == scene.sampled("c", band, x, y)


def test_nearest_time_takes_the_item_nearest_to_the_time_of_each_point(
    scene: Scene, con: duckdb.DuckDBPyConnection
) -> None:
    x, y = _points(60)
    start = dt.datetime(2023, 12, 30, tzinfo=dt.UTC)
    times = [start + dt.timedelta(hours=3 * number) if number % 7 else None for number in range(60)]
    given = pa.table({"plot": np.arange(60), "x": x, "y": y, "seen": pa.array(times, pa.timestamp("us", "UTC"))})
    options: dict[str, Any] = {"geometry_crs": UTM, "match": "nearest_time", "time_column": "seen", "bands": ["red"]}
    found = rs.sample_points(scene.index, given, **options).read_all().to_pylist()
    days = [dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC) for number in range(3)]
    expected = {
        plot: "abc"[min(range(3), key=lambda number: (abs(days[number] - when), number))]
        for plot, when in enumerate(times) if when is not None
    }  # fmt: skip
    assert {row["plot"]: row["item_id"] for row in found} == expected
    assert len(set(expected.values())) == 3
    con.execute("SET TimeZone = 'Asia/Kolkata'")
    con.execute("CREATE TABLE plots AS SELECT * REPLACE (seen AT TIME ZONE 'UTC' AS seen) FROM given")
    query = (
        f"SELECT plot, item_id FROM sample_points('{scene.index}', 'plots', bands := ['red'], geometry_crs := '{UTM}', "
        "match := 'nearest_time', time_column := 'seen')"
    )
    assert dict(con.execute(query).fetchall()) == expected


def test_windows_are_the_pixels_around_points_over_tiles_and_edges(scene: Scene) -> None:
    x, y = _points(300)
    options: dict[str, Any] = {"bands": ["red"], "datetime": "2024-01-01", "window_size": 5}
    found = rs.sample_points(scene.index, _frame(x, y), **options).read_all().to_pylist()
    padded = np.pad(scene.pixels["a", "red"], 2)
    for row in found:
        col, line = int((x[row["plot"]] - 600_000) // 10), int((1_400_000 - y[row["plot"]]) // 10)
        expected = padded[line : line + 5, col : col + 5].ravel().tolist()
        assert row["window_values"] == [None if value == 0 else float(value) for value in expected]
        assert row["value"] == row["window_values"][12]


@pytest.mark.parametrize("distance", [0.4, 1, 2.5, 4])
def test_the_nearest_valid_pixel_is_taken_up_to_a_distance(scene: Scene, distance: float) -> None:
    rng = np.random.default_rng(0)
    x, y = 600_000 + rng.uniform(180, 280, 300), 1_400_000 - rng.uniform(80, 160, 300)
    options: dict[str, Any] = {"bands": ["red"], "datetime": "2024-01-01", "max_distance_pixels": distance}
    found = rs.sample_points(scene.index, _frame(x, y), **options).read_all().to_pylist()
    pixels = scene.pixels["a", "red"].astype(float)
    lines, cols = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    lost = 0
    for row in found:
        col, line = (x[row["plot"]] - 600_000) / 10, (1_400_000 - y[row["plot"]]) / 10
        expected = pixels[int(line), int(col)]
        if expected == 0:
            away = np.where(pixels == 0, np.inf, np.hypot(lines - line, cols - col))
            expected = pixels.ravel()[away.argmin()] if away.min() <= distance else None
            lost += expected is None
        assert row["value"] == expected
    assert (lost > 0) == (distance < 2)


def test_bilinear_weighs_the_valid_pixels_around_a_point(scene: Scene) -> None:
    x, y = _points(400)
    options: dict[str, Any] = {"bands": ["red"], "datetime": "2024-01-01", "method": "bilinear"}
    found = rs.sample_points(scene.index, _frame(x, y), **options).read_all().to_pylist()
    pixels = np.pad(scene.pixels["a", "red"].astype(float), 1)
    for row in found:
        col, line = (x[row["plot"]] - 600_000) / 10 + 0.5, (1_400_000 - y[row["plot"]]) / 10 + 0.5
        first_col, first_line = int(col), int(line)
        block = pixels[first_line : first_line + 2, first_col : first_col + 2]
        right, down = col - first_col, line - first_line
        weights = np.outer([1 - down, down], [1 - right, right]) * (block > 0)
        if pixels[int(line + 0.5), int(col + 0.5)] == 0:
            assert row["value"] is None
        else:
            assert row["value"] == pytest.approx((weights * block).sum() / weights.sum(), rel=1e-9)


def test_scale_gives_physical_values(tmp_path: Path) -> None:
    write_cog(tmp_path / "m.tif", np.full((32, 32), 7, np.int16), tile=16, transform=TRANSFORM)
    bands = [{"name": "m", "band": 1, "scale": 0.5, "offset": -1.0}]
    rs.build_index(pa.table({"href": [str(tmp_path / "m.tif")]}), tmp_path / "i.parquet")
    index = pq.read_table(tmp_path / "i.parquet")
    number = index.schema.get_field_index("bands")
    kept = [dict(band) | {"scale": 0.5, "offset": -1.0} for band in index["bands"].to_pylist()[0]]
    index = index.set_column(number, "bands", pa.array([kept], index.schema.field("bands").type))
    point = _frame([600_005], [1_399_995])
    for scale, expected in ((False, 7.0), (True, 2.5)):
        (row,) = rs.sample_points(index, point, scale=scale).read_all().to_pylist()
        assert (row["value"], row["scale"], row["offset"]) == (expected, 0.5, -1.0)
    assert bands


def test_integers_that_a_double_would_round_are_refused(tmp_path: Path) -> None:
    pixels = np.array([[1, 2**53 + 1]] * 2, np.int64).repeat(8, axis=0).repeat(8, axis=1)
    write_cog(tmp_path / "m.tif", pixels, tile=16, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "*.tif"), tmp_path / "i.parquet")
    (row,) = rs.sample_points(tmp_path / "i.parquet", _frame([600_005], [1_399_995])).read_all().to_pylist()
    assert row["value"] == 1
    says = (
        r"tile \(row 0, col 0\), level 0.*m\.tif: got the integer 9007199254740993, expected at most 9007199254740992"
    )
    with pytest.raises(RasteretError, match=says):
        rs.sample_points(tmp_path / "i.parquet", _frame([600_155], [1_399_995])).read_all()


def test_files_over_the_antimeridian_and_in_longitudes_of_0_to_360_hold_their_points(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 1000, (40, 60), np.uint16)
    for name, left in (("beyond", 177.0), ("whole", 178.0 - 360)):
        write_cog(
            tmp_path / f"{name}.tif", pixels, tile=16, crs="EPSG:4326", transform=(0.1, 0.0, left, 0.0, -0.1, 10.0)
        )
    rs.build_index(str(tmp_path / "*.tif"), tmp_path / "i.parquet")
    points = _frame([179.95, -179.95, -178.05], [9.95, 9.95, 9.95], "OGC:CRS84")
    rows = rs.sample_points(tmp_path / "i.parquet", points).read_all().to_pylist()
    found = {(row["item_id"], row["plot"]): row["value"] for row in rows}
    assert found == {
        ("beyond", 0): pixels[0, 29], ("beyond", 1): pixels[0, 30], ("beyond", 2): pixels[0, 49],
        ("whole", 0): pixels[0, 19], ("whole", 1): pixels[0, 20], ("whole", 2): pixels[0, 39],
    }  # fmt: skip


def test_what_could_not_be_read_is_a_row_with_the_reason(tmp_path: Path) -> None:
    for name in "ab":
        write_cog(tmp_path / f"{name}.tif", np.full((32, 32), 7, np.int16), tile=16, transform=TRANSFORM)
    rs.build_index(str(tmp_path / "*.tif"), tmp_path / "i.parquet")
    (tmp_path / "a.tif").unlink()
    point = _frame([600_005, 600_305], [1_399_995, 1_399_995])
    rows = rs.sample_points(tmp_path / "i.parquet", point, on_error="null").read_all().to_pylist()
    assert [(row["item_id"], row["value"]) for row in rows] == [("a", None), ("a", None), ("b", 7.0), ("b", 7.0)]
    assert all("a.tif" in row["error"] for row in rows[:2])
    assert [row["error"] for row in rows[2:]] == [None, None]
    with pytest.raises(AssetNotFoundError, match=r"a\.tif"):
        rs.sample_points(tmp_path / "i.parquet", point).read_all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "cubic"}, "method: got 'cubic', expected 'nearest' or 'bilinear'"),
        ({"match": "first"}, "match: got 'first', expected one of all, latest, nearest_time"),
        ({"window_size": 4}, "window_size: got 4, expected an odd number"),
        ({"max_distance_pixels": -1}, "max_distance_pixels: got -1(.0)?, expected a number of pixels"),
        ({"geometry_column": "shape"}, "geometry_column: got 'shape', expected a column of points: plot, x, y"),
        ({"x_column": "x"}, "got one of x_column and y_column, expected both or neither"),
        ({"x_column": "plot", "y_column": "name"}, "y_column: got 'name', expected a column of points"),
        ({"match": "nearest_time"}, "time_column: got None and match 'nearest_time', expected a column of times"),
        ({"time_column": "plot"}, "time_column: got 'plot' and match 'all'"),
        ({"geometry_crs": None}, "geometry_crs: points do not say what CRS they are in, expected one"),
        (
            {"geometry_crs": "OGC:CRS84"},
            "row 1 is at x .* in OGC:CRS84, expected a latitude in y and a longitude in x; swap",
        ),
        ({"geometry_crs": "EPSG:1"}, "geometry_crs: got 'EPSG:1'"),
        ({"bands": ["blue"]}, "blue"),
        ({"level": 7}, "level: got 7, expected 0 to 1"),
        ({"on_error": "skip"}, "on_error: got 'skip', expected 'raise' or 'null'"),
    ],
)
def test_wrong_arguments_are_refused_before_any_request(
    scene: Scene, con: duckdb.DuckDBPyConnection, options: dict[str, Any], message: str
) -> None:
    x, y = _points(5)
    given = {"geometry_crs": UTM} | options
    table = pa.table({"plot": np.arange(5), "x": x, "y": y})
    with pytest.raises(InvalidArgumentError, match=message):
        rs.sample_points(scene.index, table, **given)
    _table(con, x, y)
    named = "".join(f", {name} := {value!r}" for name, value in given.items() if value is not None)
    with pytest.raises(Exception, match=message):
        con.execute(f"FROM sample_points('{scene.index}', 'plots'{named})").fetchall()
    assert not scene.server.requests


def test_pairs_of_coordinates_are_points(scene: Scene) -> None:
    x, y = _points(5)
    wanted = rs.sample_points(scene.index, gpd.GeoSeries(gpd.points_from_xy(x, y), crs=UTM)).read_all()["value"]
    assert len(wanted) > 0
    pairs = list(zip(x.tolist(), y.tolist(), strict=True))
    for given in (pairs, [list(pair) for pair in pairs], np.stack([x, y], axis=1), zip(x, y, strict=True)):
        assert rs.sample_points(scene.index, given, geometry_crs=UTM).read_all()["value"] == wanted
    one = rs.sample_points(scene.index, pairs[0], geometry_crs=UTM).read_all()["value"]
    assert one == rs.sample_points(scene.index, pairs[:1], geometry_crs=UTM).read_all()["value"]
    with pytest.raises(InvalidArgumentError, match=r"points: got \(1, 2, 3\), expected GeoJSON, .*tuple is no form"):
        rs.sample_points(scene.index, [(1, 2, 3)], geometry_crs=UTM)


def test_rows_that_are_no_points_and_names_of_the_result_are_refused(scene: Scene) -> None:
    box = shapely.box(600_000, 1_399_000, 600_100, 1_399_100)
    mixed = gpd.GeoDataFrame(geometry=[shapely.Point(600_005, 1_399_995), box], crs=UTM)
    with pytest.raises(InvalidArgumentError, match="points: row 2 is a Polygon, expected a Point"):
        rs.sample_points(scene.index, mixed)
    with pytest.raises(InvalidArgumentError, match="points: got the column Value, expected no name that the result"):
        rs.sample_points(scene.index, _frame(*_points(3)).rename(columns={"plot": "Value"}))
    with pytest.raises(InvalidArgumentError, match="got the columns a, expected one of geometries, or coordinates"):
        rs.sample_points(scene.index, pa.table({"a": [1]}), geometry_crs=UTM)


def test_a_query_and_a_misspelt_file_of_points_or_zones_are_refused_by_name(
    scene: Scene, con: duckdb.DuckDBPyConnection
) -> None:
    for function, what in (("sample_points", "points"), ("zonal_stats", "zones")):
        query = "SELECT 'POINT(1 2)' AS wkt"
        with pytest.raises(duckdb.Error, match=f"{what}: got the query .*CREATE VIEW my_{what} AS SELECT"):
            con.execute(f"FROM {function}('{scene.index}', $${query}$$)").fetchall()
        con.execute(f"CREATE OR REPLACE VIEW my_{what} AS {query}")
        with pytest.raises(duckdb.Error, match=f"{what} do not say what CRS"):
            con.execute(f"FROM {function}('{scene.index}', 'my_{what}')").fetchall()
        with pytest.raises(duckdb.Error, match=f"{what}: 'p.parquett': no such file, and no table or view"):
            con.execute(f"FROM {function}('{scene.index}', 'p.parquett')").fetchall()
        with pytest.raises(InvalidArgumentError, match=f"{what}: 'p.parquett': no such file"):
            getattr(rs, function)(scene.index, "p.parquett")


def test_points_that_a_read_cannot_see_are_refused(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    _table(con, *_points(5))
    con.execute("CREATE TEMP TABLE mine AS FROM plots")
    call = f"sample_points('{scene.index}', '{{}}', geometry_crs := '{UTM}')"
    with pytest.raises(Exception, match="points: got the temporary table 'mine', expected rows that a read can see"):
        con.execute(f"FROM {call.format('mine')}").fetchall()
    with pytest.raises(Exception, match="points: got the CTE 'given_rows'"):
        con.execute(f"WITH given_rows AS (FROM plots) SELECT * FROM {call.format('given_rows')}").fetchall()


def test_registered_points_are_not_seen_and_the_remedy_works(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    x, y = _points(5)
    con.register("registered", pa.table({"plot": np.arange(5), "x": x, "y": y}))
    call = f"FROM sample_points('{scene.index}', '{{}}', geometry_crs := '{UTM}', bands := ['red'])"
    # DuckDB 1.5 sees that the name is a temporary view before a read looks for it.
    message = "that a read can see.*registered DataFrame, under another name: CREATE TABLE my_table AS FROM"
    for query in (call.format("registered"), "FROM read_tiles('registered')"):
        with pytest.raises(Exception, match=message) as caught:
            con.execute(query).fetchall()
        assert "Did you mean" not in str(caught.value)
    con.execute("CREATE TABLE my_table AS FROM registered")
    assert len(con.execute(call.format("my_table")).fetchall()) == 5 * len(ITEMS)


def test_a_registered_table_that_hides_points_is_named(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    _table(con, *_points(5))
    x, y = _points(5, seed=1)
    con.register("plots", pa.table({"plot": np.arange(5), "x": x, "y": y}))
    # DuckDB 1.5 has a registered table as a temporary view, which is refused before rows are compared.
    hidden = "a registered DataFrame of the same name hides the table|the temporary view 'plots'.* that nothing hides"
    with pytest.raises(Exception, match=hidden):
        con.execute(f"FROM sample_points('{scene.index}', 'plots', geometry_crs := '{UTM}')").fetchall()


def test_points_that_a_view_draws_by_chance_are_refused(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    _table(con, *_points(5))
    con.execute("CREATE VIEW drawn AS SELECT plot, x, y, random() AS chance FROM plots")
    with pytest.raises(Exception, match="points: got rows in another order than the read saw"):
        con.execute(f"FROM sample_points('{scene.index}', 'drawn', geometry_crs := '{UTM}')").fetchall()


def test_points_whose_order_changes_are_an_error(scene: Scene, con: duckdb.DuckDBPyConnection) -> None:
    _table(con, *_points(500))
    con.execute("CREATE VIEW shuffled AS FROM plots ORDER BY random()")
    with pytest.raises(Exception, match="points: got rows in another order than the read saw"):
        con.execute(f"FROM sample_points('{scene.index}', 'shuffled', geometry_crs := '{UTM}')").fetchall()
    con.execute("CREATE VIEW ordered AS FROM plots ORDER BY x DESC")
    found = con.execute(
        f"FROM sample_points('{scene.index}', 'ordered', geometry_crs := '{UTM}', bands := ['red'])"
    ).fetchall()
    assert len(found) == 500 * len(ITEMS)


def _files_with_a_place(folder: Path) -> list[Path]:
    """Real files with a north-up transform and a CRS. Decoders of JPEG differ in the last bit, so such are left out."""
    found = []
    for path in sorted(folder.rglob("*.tif*")):
        if not path.is_file() or path.stat().st_size > 20_000_000:
            continue
        try:
            with rasterio.open(path) as source:
                t = source.transform
                if source.compression and "JPEG" in source.compression.name.upper():
                    continue
                if source.crs and not t.is_identity and not (t.b or t.d) and t.a > 0 > t.e:
                    found.append(path)
        except rasterio.errors.RasterioError:
            continue
    return found


@pytest.mark.filterwarnings("ignore")
def test_real_files_in_their_crss_give_what_rasterio_gives(shared_data: Path, tmp_path: Path) -> None:
    """One of them is of Europa, the moon."""
    files = _files_with_a_place(shared_data / "scenes")
    assert len(files) > 10
    rng = np.random.default_rng(0)
    crss = set()
    compared = 0
    for number, path in enumerate(files):
        index = tmp_path / f"{number}.parquet"
        try:
            rs.build_index(str(path), index)
        except RasteretError:
            continue
        with rasterio.open(path) as source:
            left, bottom, right, top = source.bounds
            x, y = rng.uniform(left, right, 60), rng.uniform(bottom, top, 60)
            expected = np.ma.array(list(source.sample(zip(x, y, strict=True), masked=True)))
            crs = source.crs.to_wkt()
        rows = rs.sample_points(index, pa.table({"plot": np.arange(60), "x": x, "y": y}), geometry_crs=crs).read_all()
        crss.add(crs)
        count = expected.shape[1]
        bands = dict.fromkeys(rows["band"].to_pylist())
        for position, band in enumerate(bands):
            found = [row for row in rows.to_pylist() if row["band"] == band]
            compared += len(found)
            for row in found:
                wanted = expected[row["plot"], position if len(bands) == count else 0]
                if wanted is np.ma.masked:
                    assert row["value"] is None, (path, row)
                else:
                    assert row["value"] == float(wanted) or (np.isnan(wanted) and np.isnan(row["value"])), (path, row)
    assert compared > 1000
    assert len(crss) >= 4
