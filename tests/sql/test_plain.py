"""The SQL that needs no Python, in a DuckDB that knows nothing of us: its plans are those of an installed connection."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import shapely

import rasteret_sql as rs
from rasteret_sql.database.sqlfiles import quote_identifier
from rasteret_sql.sql.catalog import plain_objects, plain_script
from rasteret_sql.testing.cog import write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Around the files of `places`: lon/lat of the corner where they lie, and how far they reach, in degrees.
WEST, SOUTH, REACH = 77.9, 12.95, 0.2
FORMS = {
    "wkt": lambda one: shapely.to_wkt(one, rounding_precision=-1),
    "geojson": shapely.to_geojson,
    "wkb": lambda one: shapely.to_wkb(one, hex=True),
}


@pytest.fixture(scope="module")
def plain() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(plain_script("1.2.3"))
        yield connection


@pytest.fixture(scope="module")
def installed() -> Iterator[duckdb.DuckDBPyConnection]:
    with rs.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of one place in two UTM zones, in EPSG:3857, and in lon/lat, each with tiles of about 2 km."""
    folder = tmp_path_factory.mktemp("places")
    rows = []
    corners = {
        "EPSG:32643": (814_000.0, 1_456_000.0, 40.0),
        "EPSG:32644": (163_000.0, 1_456_000.0, 40.0),
        "EPSG:3857": (8_671_789.0, 1_478_714.0, 40.0),
        "EPSG:4326": (WEST, SOUTH + REACH, 0.0004),
    }
    for number, (crs, (x, y, size)) in enumerate(corners.items()):
        data = np.full((500, 450), number + 1, np.uint8)
        path = folder / f"{number}.tif"
        write_cog(path, data, tile=64, overviews=(2,), crs=crs, transform=(size, 0, x, 0, -size, y))
        rows.append({"href": str(path), "item_id": crs, "asset": "a", "collection": "c", "cloud": number * 10.0})
    index = folder / "index.parquet"
    assert rs.build_index(pa.Table.from_pylist(rows), index).rows == 4
    return index


def blob(rng: random.Random, reach: float, corners: int) -> shapely.Polygon:
    x, y = WEST + rng.uniform(0, REACH), SOUTH + rng.uniform(0, REACH)
    around = [(2 * math.pi * n / corners, reach * rng.uniform(0.3, 1)) for n in range(corners)]
    return shapely.Polygon([(x + far * math.cos(turn), y + far * math.sin(turn)) for turn, far in around])


def geometry_of(kind: str, rng: random.Random) -> shapely.Geometry:
    def point() -> tuple[float, float]:
        return WEST + rng.uniform(0, REACH), SOUTH + rng.uniform(0, REACH)

    if kind == "polygon":
        return blob(rng, rng.uniform(0.005, 0.1), rng.randint(3, 30))
    if kind == "polygon with a hole":
        x, y = point()
        return shapely.box(x - 0.08, y - 0.08, x + 0.08, y + 0.08).difference(
            shapely.box(x - 0.06, y - 0.06, x + 0.06, y + 0.06)
        )
    if kind == "polygons":
        return shapely.unary_union([blob(rng, 0.02, 7) for _ in range(4)])
    if kind == "wide polygon":
        x, y = point()
        return shapely.box(x - 20, y - 20, x + rng.uniform(0, 30), y + 15)
    if kind == "line":
        return shapely.LineString([point() for _ in range(5)])
    if kind == "points":
        return shapely.MultiPoint([point() for _ in range(5)])
    if kind == "collection":
        return shapely.GeometryCollection([blob(rng, 0.03, 6), blob(rng, 0.03, 6)])
    return shapely.Point(point())


@pytest.mark.parametrize(
    "kind",
    ["point", "points", "line", "polygon", "polygon with a hole", "polygons", "wide polygon", "collection"],
)
@pytest.mark.parametrize("form", ["wkt", "geojson", "wkb"])
def test_a_plan_of_a_geometry_holds_that_of_an_installed_connection(plain, installed, places, kind, form):
    """Without Python, tiles are those that the bounds of each point, line and ring touch: all that are needed, and more."""
    rng = random.Random(f"{kind} {form}")
    for level in (0, 1):
        geometry = geometry_of(kind, rng)
        given = [str(places), FORMS[form](geometry), level]
        query = "FROM tile_plan(?, geometry := ?, level := ?)"
        needed, planned = (sorted(con.execute(query, given).fetchall()) for con in (installed, plain))
        assert needed
        assert set(map(str, needed)) <= set(map(str, planned))
        if "point" in kind:
            assert planned == needed
        if "polygon" in kind:
            # Bounds in lon/lat are bounds in these too, where the exact planner plans the boxes.
            boxes = shapely.union_all([shapely.box(*part.bounds) for part in getattr(geometry, "geoms", [geometry])])
            given[1] = shapely.to_wkt(boxes, rounding_precision=-1)
            of_boxes = installed.execute(query, given).fetchall()
            for crs in ("EPSG:4326", "EPSG:3857"):
                assert sorted(row for row in of_boxes if crs in row) == [row for row in planned if crs in row]


@pytest.mark.parametrize("kind", ["points", "line", "polygons"])
def test_costs_of_a_geometry_are_those_of_its_plan(plain, places, kind):
    text = FORMS["wkt"](geometry_of(kind, random.Random(kind)))
    tiles = len(plain.execute("FROM tile_plan(?, geometry := ?)", [str(places), text]).fetchall())
    cost = plain.execute("SELECT max(tiles) FROM explain_read(?, geometry := ?)", [str(places), text])
    assert cost.fetchall() == [(tiles,)]


@pytest.mark.parametrize(
    "arguments",
    [
        "bbox := [77.95, 13.0, 78.0, 13.05]",
        "bbox := [77.95, 13.0, 78.0, 13.05], resolution := 80",
        "bbox := [815000, 1440000, 820000, 1450000], geometry_crs := 'EPSG:32643'",
        "geometry := 'POLYGON ((816560 1453440, 819120 1453440, 819120 1450880, 816560 1450880, 816560 1453440))', geometry_crs := 'EPSG:32643'",
        "geometry := 'MULTIPOINT (816570 1453430, 819110 1450890)', geometry_crs := 'EPSG:32643'",
        "bands := ['a'], level := 1",
    ],
)
def test_other_plans_are_those_of_an_installed_connection(plain, installed, places, arguments):
    index = "(FROM places WHERE crs = 'EPSG:32643')" if "geometry_crs :=" in arguments else ""
    for con in (plain, installed):
        con.execute(
            f"CREATE OR REPLACE TABLE chosen AS FROM '{places}' {'WHERE crs = $$EPSG:32643$$' if index else ''}"
        )
    for table in ("tile_plan", "explain_read"):
        query = f"FROM {table}('chosen', {arguments})"
        expected = installed.sql(query).fetchall()
        assert plain.sql(query).fetchall() == expected
        assert expected


def test_a_polygon_along_tile_borders_takes_no_tile_beside(plain, places):
    """The last of the plans above once more: 2560 m are a tile of 64 pixels of 40 m."""
    plain.execute(f"CREATE OR REPLACE TABLE chosen AS FROM '{places}' WHERE crs = 'EPSG:32643'")
    box = "POLYGON ((816560 1453440, 819120 1453440, 819120 1450880, 816560 1450880, 816560 1453440))"
    rows = plain.sql(
        f"SELECT tile_row, tile_col FROM tile_plan('chosen', geometry := '{box}', geometry_crs := 'EPSG:32643')"
    )
    assert rows.fetchall() == [(1, 1)]


def test_a_line_takes_the_tiles_of_its_bounds(plain, installed, places):
    for con in (plain, installed):
        con.execute(f"CREATE OR REPLACE TABLE chosen AS FROM '{places}' WHERE crs = 'EPSG:32643'")
    line = "LINESTRING (816570 1453430, 819110 1448350)"
    query = f"SELECT tile_row, tile_col FROM tile_plan('chosen', geometry := '{line}', geometry_crs := 'EPSG:32643') ORDER BY ALL"
    assert plain.sql(query).fetchall() == [(1, 1), (2, 1)]
    line = "LINESTRING (816570 1453430, 821670 1448350)"
    query = f"SELECT tile_row, tile_col FROM tile_plan('chosen', geometry := '{line}', geometry_crs := 'EPSG:32643') ORDER BY ALL"
    assert plain.sql(query).fetchall() == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert set(installed.sql(query).fetchall()) < {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_a_geometry_over_the_antimeridian_reaches_rasters_on_both_sides(plain, installed, tmp_path):
    rows = []
    for number, x in enumerate((-180.0, 179.0, 180.0)):
        path = tmp_path / f"{number}.tif"
        write_cog(path, np.ones((64, 64), np.uint8), tile=16, crs="EPSG:4326", transform=(1 / 64, 0, x, 0, -1 / 64, 1))
        rows.append({"href": str(path), "item_id": str(number), "asset": "a"})
    rs.build_index(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    for area in ("179.9, 0.4, -179.9, 0.6", "179.5, 0.1, 179.9, 0.9"):
        query = f"SELECT item_id, tile_row, tile_col FROM tile_plan('{tmp_path}/i.parquet', bbox := [{area}])"
        assert plain.sql(query).fetchall() == installed.sql(query).fetchall()
    for area in ("POLYGON ((179.9 0.4, 180.1 0.4, 180.1 0.6, 179.9 0.4))", "MULTIPOINT ((179.9 0.5), (-179.9 0.5))"):
        query = f"SELECT item_id, tile_row, tile_col FROM tile_plan('{tmp_path}/i.parquet', geometry := '{area}')"
        needed = installed.sql(query).fetchall()
        assert set(needed) <= set(plain.sql(query).fetchall())
        assert {row[0] for row in needed} == {"0", "1", "2"}


def test_points_on_the_border_of_tiles_lie_in_the_tiles_that_begin_there(plain, installed, tmp_path):
    path = tmp_path / "a.tif"
    write_cog(path, np.ones((64, 64), np.uint8), tile=16, crs="EPSG:4326", transform=(1 / 64, 0, 10, 0, -1 / 64, 1))
    rs.build_index([str(path)], tmp_path / "i.parquet")
    points = "MULTIPOINT ((10.1 0.5), (10.75 0.5), (10.25 0.9))"
    query = f"SELECT tile_row, tile_col FROM tile_plan('{tmp_path}/i.parquet', geometry := '{points}') ORDER BY ALL"
    expected = [(0, 1), (2, 0), (2, 3)]
    assert plain.sql(query).fetchall() == installed.sql(query).fetchall() == expected
    rows = [row for batch in rs.read_tiles(tmp_path / "i.parquet", geometry=points) for row in batch.to_pylist()]
    assert sorted((row["tile_row"], row["tile_col"]) for row in rows) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected GeoJSON, WKT or WKB"),
        ("somewhere", "'somewhere', expected GeoJSON, WKT or WKB"),
        ('{"type": "Point", "coordinates": [1', "expected GeoJSON"),
        ('{"type": "Sphere", "coordinates": [1, 2]}', "expected GeoJSON"),
        ('{"type": "Polygon", "coordinates": [[1, 2], [3, 4]]}', "expected GeoJSON"),
        ('{"type": "Feature", "geometry": null}', "expected GeoJSON"),
        ("POINT (1)", "expected GeoJSON"),
        ("POINT (1 2) and more", "expected GeoJSON"),
        ("POINT (1 2) (3 4)", "expected GeoJSON"),
        ("POINT (1 2), POINT (3 4)", "expected GeoJSON"),
        ("POINT (1 inf)", "expected GeoJSON"),
        ("0102030405060708", "expected GeoJSON"),
        ("POLYGON EMPTY", "which is empty"),
        ('{"type": "FeatureCollection", "features": []}', "which is empty"),
        ("POLYGON ((0 0, 1 1, 1 0))", "rings of four or more that end where they begin"),
        ("LINESTRING (0 0)", "lines of two points or more"),
    ],
)
@pytest.mark.parametrize("table", ["tile_plan", "items"])
def test_what_is_no_geometry_is_an_error_that_says_what_is_one(plain, places, table, text, words):
    with pytest.raises(duckdb.Error, match="geometry: got .*" + words.replace("(", r"\(")):
        plain.execute(f"FROM {table}(?, geometry := ?)", [str(places), text]).fetchall()


@pytest.mark.parametrize(
    "text", ["POINT (78 13)", "point(78 13)", "POINT Z (78.0 13 +5)", "MULTIPOINT (78 13)", "POINT (7.8e1 .13e2)"]
)
def test_all_spellings_of_a_point_are_read(plain, places, text):
    expected = plain.sql(f"FROM tile_plan('{places}', bbox := [78, 13, 78, 13])").fetchall()
    assert plain.execute("FROM tile_plan(?, geometry := ?)", [str(places), text]).fetchall() == expected
    blob = f"'{shapely.to_wkb(shapely.Point(78, 13), hex=True)}'"
    assert plain.sql(f"FROM tile_plan('{places}', geometry := unhex({blob}))").fetchall() == expected


def test_projections_that_are_not_here_are_refused_with_the_remedy(plain, places):
    for area in ("bbox := [1, 2, 3, 4]", "geometry := 'POINT (1 2)'"):
        for table in ("tile_plan", "items"):
            with pytest.raises(
                duckdb.Error, match=r"UTM and EPSG:3857 only; give bbox := in.*rasteret_sql.install\(con\)"
            ):
                plain.sql(f"FROM {table}('{places}', {area}, geometry_crs := 'EPSG:3035')").fetchall()


def test_a_geometry_becomes_constants_by_which_row_groups_are_skipped(plain):
    bound = (
        "list_max(list_transform(_rstpy_geometry_parts('LINESTRING (1 2, 3 4)', 'OGC:CRS84'), lambda part: part.ymax))"
    )
    plan = plain.sql(f"EXPLAIN SELECT n FROM range(10) AS numbers(n) WHERE n < {bound}").fetchall()[0][1]
    assert "4.0" in plan
    assert "list_transform" not in plan


@pytest.mark.parametrize("kept", [False, True])
def test_the_script_is_read_twice_in_a_file_and_stays_there_unless_temporary(tmp_path, places, kept):
    database = tmp_path / "study.duckdb"
    for _ in range(2):
        with duckdb.connect(database) as con:
            con.execute(plain_script("1.2.3", temporary=not kept))
            con.execute(plain_script("1.2.3", temporary=not kept))
            assert len(con.sql(f"FROM items('{places}')").fetchall()) == 4
    with duckdb.connect(database, read_only=True) as con:
        names = con.sql("SELECT function_name FROM duckdb_functions() WHERE NOT internal")
        assert bool(names.fetchall()) == kept
        if kept:
            assert len(con.sql(f"FROM tile_plan('{places}', geometry := 'POINT (78 13)')").fetchall()) == 4
        else:
            con.execute(plain_script("1.2.3", temporary=True))
            assert len(con.sql(f"FROM items('{places}')").fetchall()) == 4


def test_a_schema_holds_all_of_it(places):
    with duckdb.connect() as con:
        con.execute(plain_script("1.2.3", schema='my "own"'))
        table = quote_identifier('my "own"') + ".tile_plan"
        assert len(con.sql(f"FROM {table}('{places}', geometry := 'POINT (78 13)')").fetchall()) == 4
        found = con.sql("SELECT DISTINCT schema_name FROM duckdb_functions() WHERE NOT internal").fetchall()
        assert found == [('my "own"',)]


def test_the_script_holds_comments_and_nothing_that_needs_python(plain):
    text = plain_script("1.2.3")
    assert text.startswith("-- rasteret_sql 1.2.3: ")
    public = {found.name for found in plain_objects() if found.is_public}
    assert public == {"explain_read", "items", "tile_plan"}
    made = dict(
        plain.sql(
            "SELECT function_name, comment FROM duckdb_functions() WHERE NOT internal AND database_name = 'memory'"
        ).fetchall()
    )
    assert made.keys() == {found.name for found in plain_objects()}
    assert all(made.values())


def test_items_are_one_row_each_with_what_their_files_share(plain, installed, collection):
    for con in (plain, installed):
        rows = con.sql(
            f"SELECT item_id, assets, bands, files, cloud, crs, datetime, file_bytes FROM items('{collection.index}')"
        )
        found = rows.fetchall()
        assert [row[0] for row in found] == ["A", "B", "C"]
        assert [row[1:5] for row in found] == [
            (["nir", "red"], ["nir", "red"], 2, number * 10.0) for number in range(3)
        ]
        expected = con.sql(f"SELECT DISTINCT crs FROM '{collection.index}'").fetchall()
        assert {(row[5],) for row in found} == set(expected)
        sizes = con.sql(f"SELECT sum(file_size) FROM '{collection.index}' GROUP BY item_id ORDER BY item_id").fetchall()
        assert [(row[7],) for row in found] == sizes


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("", {"A", "B", "C"}),
        ("datetime := '2024-01-02'", {"B"}),
        ("datetime := '2024-01-02/..'", {"B", "C"}),
        ("datetime := '2023'", set()),
        ("bbox := [75.92, 12.65, 75.93, 12.66]", {"A", "B", "C"}),
        ("geometry := 'POINT (75.925 12.655)', datetime := '2024-01-03'", {"C"}),
    ],
)
def test_a_search_gives_the_items_that_are_read(plain, installed, collection, arguments, found):
    for con in (plain, installed):
        rows = con.sql(f"FROM items('{collection.index}'{', ' if arguments else ''}{arguments})").fetchall()
        assert {row[1] for row in rows} == found
        planned = con.sql(
            f"SELECT DISTINCT item_id FROM tile_plan('{collection.index}'{', ' if arguments else ''}{arguments})"
        )
        assert {row[0] for row in planned.fetchall()} == found


def test_items_of_a_search_in_another_crs_are_found_where_projections_are(installed, places):
    rows = installed.sql(
        f"SELECT item_id FROM items('{places}', bbox := [815000, 1440000, 820000, 1450000], geometry_crs := 'EPSG:32643')"
    )
    assert len(rows.fetchall()) == 4
    with pytest.raises(duckdb.Error, match=r"bbox \[415000.0, .*\(EPSG:32643\): touches none of the assets"):
        installed.sql(
            f"SELECT item_id FROM items('{places}', bbox := [415000, 1440000, 420000, 1450000], geometry_crs := 'EPSG:32643')"
        ).fetchall()


@pytest.mark.parametrize("function", ["items", "tile_plan", "explain_read"])
@pytest.mark.parametrize(
    ("area", "shown"),
    [
        ("bbox := [1, 1, 2, 2]", "bbox [1.0, 1.0, 2.0, 2.0]"),
        ("bbox := [12.98, 77.98, 13.0, 78.0]", "bbox [12.98, 77.98, 13.0, 78.0]"),
        ("bbox := [170, -10, -170, 10]", "bbox [170.0, -10.0, -170.0, 10.0]"),
        ("geometry := 'POINT (12.98 77.98)'", "geometry"),
    ],
)
def test_an_area_outside_of_all_files_is_said_as_a_read_says_it(plain, installed, places, function, area, shown):
    with pytest.raises(duckdb.Error) as read:
        installed.sql(f"FROM read_tiles('{places}', {area})").fetchall()
    said = str(read.value).partition("EmptyReadError: ")[2].partition("\n")[0]
    assert said == (
        f"{shown} (OGC:CRS84): touches none of the assets of index '{places}'; expected an area inside their "
        "footprints. Check the order (xmin, ymin, xmax, ymax: longitude first) and geometry_crs"
    )
    for con in (plain, installed):
        # Whatever the query wants of the rows: none of them is there to be counted.
        for query in (f"FROM {function}('{places}', {area})", f"SELECT count(*) FROM {function}('{places}', {area})"):
            with pytest.raises(duckdb.Error, match="touches none of the assets") as refused:
                con.sql(query).fetchall()
            assert said in str(refused.value)


@pytest.mark.parametrize("function", ["items", "tile_plan"])
def test_an_area_is_not_blamed_for_what_the_period_leaves_out(plain, installed, places, function):
    for con in (plain, installed):
        con.execute(
            "CREATE OR REPLACE TEMP TABLE dated AS SELECT * REPLACE (struct_update(reach, start_us := 0, end_us := 1) AS reach) "
            f"FROM '{places}'"
        )
        outside = f"FROM {function}('dated', bbox := [1, 1, 2, 2], datetime := '2030')"
        assert con.sql(outside).fetchall() == []
        with pytest.raises(duckdb.Error, match=r"index 'dated' within datetime '1970'; expected an area"):
            con.sql(outside.replace("2030", "1970")).fetchall()


@pytest.mark.parametrize("function", ["tile_plan", "explain_read"])
@pytest.mark.parametrize(("given", "meant"), [("aa", "a"), ("zzzzzz", None)])
def test_a_band_that_is_nearly_right_is_asked_for(plain, installed, places, function, given, meant):
    for con in (plain, installed):
        with pytest.raises(duckdb.Error, match=f"bands: got '{given}', expected one of the assets 'a'") as refused:
            con.sql(f"FROM {function}('{places}', bands := ['{given}'])").fetchall()
        assert f"; did you mean {meant}?" in str(refused.value) if meant else "did you mean" not in str(refused.value)


def test_what_files_of_an_item_do_not_share_is_null(plain, collection):
    plain.execute(f"CREATE OR REPLACE TABLE mixed AS SELECT *, asset AS said_by FROM '{collection.index}'")
    plain.execute("UPDATE mixed SET crs = 'EPSG:4326' WHERE asset = 'red' AND item_id = 'A'")
    rows = plain.sql("SELECT item_id, said_by, crs IS NULL FROM items('mixed')").fetchall()
    assert rows == [("A", None, True), ("B", None, False), ("C", None, False)]
    only = plain.sql(
        "WITH red AS (FROM mixed WHERE asset = 'red') SELECT DISTINCT said_by FROM items('red')"
    ).fetchall()
    assert only == [("red",)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("bbox := [0, 0, 1, 1], geometry := 'POINT (1 1)'", "got both bbox and geometry"),
        ("bbox := [0, 5, 1, 1]", "whose ymin 5.0 is above"),
        ("datetime := 'soon'", "datetime: got 'soon'"),
    ],
)
def test_a_wrong_search_is_an_error(plain, installed, collection, arguments, words):
    for con in (plain, installed):
        with pytest.raises(duckdb.Error, match=words):
            con.sql(f"FROM items('{collection.index}', {arguments})").fetchall()


def test_assets_without_headers_are_refused_with_the_remedy(plain: duckdb.DuckDBPyConnection) -> None:
    plain.execute("CREATE OR REPLACE TEMP TABLE assets AS SELECT 'a.tif' AS href, 'a' AS item_id")
    for function in ("items", "tile_plan", "explain_read"):
        for index in ("assets", "items.json", "images/*.tif"):
            with pytest.raises(
                duckdb.Error, match=r"has no headers, expected rows of an index\..*`rasteret-sql build`"
            ):
                plain.execute(f"FROM {function}('{index}')")
