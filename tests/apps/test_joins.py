"""`rasteret-sql sample` and `rasteret-sql zonal` write what the functions of the same kind give."""

import io
import json

import duckdb
import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

import rasteret_sql as rs
from rasteret_sql.apps.geojson import write_geojson
from rasteret_sql.sql.vectors import VectorColumns

POINTS = gpd.GeoDataFrame(
    {"plot": ["a", "b"]}, geometry=gpd.points_from_xy([77.952, 77.956], [13.025, 13.03]), crs="OGC:CRS84"
)


@pytest.fixture
def zones():
    frame = POINTS.to_crs(32643)
    return frame.set_geometry(frame.buffer(300))


def test_samples_are_written_as_parquet_with_the_columns_of_the_points(run, index, tmp_path):
    POINTS.to_parquet(tmp_path / "p.parquet")
    outcome = run(
        "sample", index, tmp_path / "p.parquet", "--bands", "red", "--window-size", "3", "-o", tmp_path / "o.parquet"
    )
    assert outcome.code == 0, outcome.err
    found = pq.read_table(tmp_path / "o.parquet")
    expected = rs.sample_points(index, POINTS, bands=["red"], window_size=3).read_all()
    assert len(found) > 0
    assert found.schema.names == expected.schema.names
    for name in ("plot", "item_id", "value", "window_values"):
        assert found[name].to_pylist() == expected[name].to_pylist()


def test_points_of_a_csv_file_need_columns_and_a_crs(run, index, tmp_path):
    utm = POINTS.to_crs(32643)
    lines = [f"{plot},{point.x},{point.y}" for plot, point in zip(utm["plot"], utm.geometry, strict=True)]
    (tmp_path / "p.csv").write_text("\n".join(["plot,east,north", *lines]))
    words = ["sample", index, tmp_path / "p.csv", "--bands", "red", "--x-column", "east", "--y-column", "north"]
    outcome = run(*words)
    assert outcome.code == 1
    assert "--geometry-crs: points do not say what CRS they are in" in outcome.err
    outcome = run(*words, "--geometry-crs", "EPSG:32643", "--match", "latest", "--json")
    assert outcome.code == 0, outcome.err
    expected = rs.sample_points(index, POINTS, bands=["red"], match="latest").read_all()
    assert [row["value"] for row in json.loads(outcome.out)] == expected["value"].to_pylist()


def test_zones_are_shown_and_written(run, index, zones, tmp_path, monkeypatch):
    # Narrower tables hide columns.
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "z.geojson").write_text(zones.to_crs("OGC:CRS84").to_json())
    words = ["zonal", index, tmp_path / "z.geojson", "--bands", "red", "--stats", "count,median,p90", "--by", "all"]
    outcome = run(*words, "--json")
    assert outcome.code == 0, outcome.err
    # A join promises no order.
    rows = sorted(json.loads(outcome.out), key=lambda row: row["plot"])
    expected = (
        rs.zonal_stats(index, tmp_path / "z.geojson", bands=["red"], stats=["count", "median", "p90"], by="all")
        .read_all()
        .sort_by("plot")
    )
    assert [row["plot"] for row in rows] == ["a", "b"]
    for name in ("count", "median", "p90"):
        assert [row[name] for row in rows] == expected[name].to_pylist()
    shown = run(*words, "--weights", "coverage")
    assert shown.code == 0
    assert "median" in shown.out


@pytest.mark.parametrize("form", ["parquet", "wkt", "geojson"])
def test_zones_are_written_as_features_in_longitude_and_latitude(run, index, zones, tmp_path, form):
    path = tmp_path / f"z.{form}"
    if form == "parquet":
        zones.to_parquet(path)
    elif form == "geojson":
        path.write_text(zones.to_crs("OGC:CRS84").to_json())
    else:
        path = tmp_path / "z.csv"
        zones.assign(wkt=zones.geometry.to_wkt()).drop(columns="geometry").to_csv(path, index=False)
    crs = ["--geometry-crs", "EPSG:32643"] if form == "wkt" else []
    outcome = run("zonal", index, path, *crs, "--bands", "red", "--stats", "count,mean", "-o", tmp_path / "o.geojson")
    assert outcome.code == 0, outcome.err
    written = json.loads((tmp_path / "o.geojson").read_text())
    assert written["type"] == "FeatureCollection"
    assert "crs" not in written
    expected = rs.zonal_stats(index, zones, bands=["red"], stats=["count", "mean"]).read_all().to_pylist()
    assert len(written["features"]) == len(expected)
    lonlat = zones.to_crs("OGC:CRS84").set_index("plot").geometry
    for feature, row in zip(written["features"], expected, strict=True):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.exterior.is_ccw
        assert shape.equals_exact(lonlat[row["plot"]].normalize(), 1e-9, normalize=True)
        assert feature["properties"]["mean"] == row["mean"]
        assert feature["properties"]["count"] == row["count"]
        assert feature["properties"]["item_id"] == row["item_id"]
        assert {"geometry", "wkt"}.isdisjoint(feature["properties"])


def test_points_of_columns_are_features_that_keep_their_columns(run, index, tmp_path):
    utm = POINTS.to_crs(32643)
    frame = utm.assign(east=utm.geometry.x, north=utm.geometry.y).drop(columns="geometry")
    frame.to_csv(tmp_path / "p.csv", index=False)
    outcome = run(
        "sample", index, tmp_path / "p.csv", "--x-column", "east", "--y-column", "north", "--geometry-crs",
        "EPSG:32643", "--bands", "red", "--format", "geojson",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    features = json.loads(outcome.out)["features"]
    expected = rs.sample_points(index, POINTS, bands=["red"]).read_all().to_pylist()
    assert [feature["properties"]["value"] for feature in features] == [row["value"] for row in expected]
    for feature, row in zip(features, expected, strict=True):
        point = POINTS.set_index("plot").geometry[row["plot"]]
        assert feature["geometry"]["coordinates"] == pytest.approx([point.x, point.y], abs=1e-9)
        assert {"east", "north", "plot"} <= set(feature["properties"])


def test_features_over_the_antimeridian_are_cut_there(tmp_path):
    shapes = [shapely.box(179.5, 1, 180.5, 2), shapely.Point(181, 1), None, shapely.Polygon()]
    table = pa.table({"n": [0, 1, 2, 3], "shape": [None if each is None else each.wkb for each in shapes]})
    sink = io.BytesIO()
    con = duckdb.connect()
    write_geojson(con.from_arrow(table), sink, columns=VectorColumns("zones", "shape", crs="OGC:CRS84"))
    con.close()
    features = json.loads(sink.getvalue())["features"]
    first = shapely.geometry.shape(features[0]["geometry"])
    assert first.equals(shapely.MultiPolygon([shapely.box(179.5, 1, 180, 2), shapely.box(-180, 1, -179.5, 2)]))
    assert features[1]["geometry"]["coordinates"] == [-179, 1]
    assert features[2]["geometry"] is features[3]["geometry"] is None
    empty = io.BytesIO()
    con = duckdb.connect()
    write_geojson(con.from_arrow(table.slice(0, 0)), empty, columns=VectorColumns("zones", "shape", crs="OGC:CRS84"))
    con.close()
    assert json.loads(empty.getvalue()) == {"type": "FeatureCollection", "features": []}


@pytest.mark.parametrize("command", ["sample", "zonal"])
def test_formulas_and_conditions_are_options(run, index, zones, tmp_path, command):
    frame = POINTS if command == "sample" else zones
    frame.to_parquet(tmp_path / "p.parquet")
    outcome = run(
        command, index, tmp_path / "p.parquet", "--expression", "ndvi = (nir - red) / (nir + red)", "--expression",
        "twice=2 * red", "--valid-where", "red < 9000 AND nir >= 1", "-o", tmp_path / "o.parquet",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = pq.read_table(tmp_path / "o.parquet")
    read = rs.sample_points if command == "sample" else rs.zonal_stats
    expected = read(
        index, frame, expressions={"ndvi": "(nir - red) / (nir + red)", "twice": "2 * red"},
        valid_where="red < 9000 AND nir >= 1",
    ).read_all()  # fmt: skip
    assert set(found["band"].to_pylist()) == {"ndvi", "twice"}
    name = "value" if command == "sample" else "mean"
    assert any(value is not None for value in found[name].to_pylist())
    assert found[name].to_pylist() == expected[name].to_pylist()


@pytest.mark.parametrize(
    ("command", "words", "code", "message"),
    [
        ("zonal", ["--stats", "mode"], 2, "--stats: got 'mode'"),
        ("zonal", ["--by", "week"], 2, "invalid choice"),
        ("sample", ["--window-size", "2"], 2, "--window-size: got 2"),
        ("sample", ["--match", "nearest_time"], 1, "--time-column"),
        ("zonal", ["--expression", "nir - red"], 2, "got 'nir - red', expected NAME=FORMULA"),
        ("zonal", ["--expression", "a=nir", "--expression", "a=red"], 2, "got the name 'a' twice"),
        ("sample", ["--expression", "a=nir -"], 1, "expressions['a']: got 'nir -', which ends too early"),
        ("sample", ["--valid-where", "nir"], 2, "--valid-where: got 'nir' at character 1"),
    ],
)
def test_wrong_options_say_what_is_expected(run, index, tmp_path, command, words, code, message):
    POINTS.to_parquet(tmp_path / "p.parquet")
    outcome = run(command, index, tmp_path / "p.parquet", *words)
    assert outcome.code == code
    assert message in outcome.err


@pytest.mark.parametrize("command", ["sample", "zonal"])
def test_a_table_of_120_characters_shows_what_was_computed(run, index, zones, tmp_path, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "120")
    frame = POINTS if command == "sample" else zones
    (tmp_path / "v.geojson").write_text(frame.to_crs("OGC:CRS84").to_json())
    outcome = run(command, index, tmp_path / "v.geojson", "--bands", "red", "--expression", "half=red / 2")
    assert outcome.code == 0, outcome.err
    header = outcome.out.splitlines()[1]
    for name in ("plot", "datetime", "band", *(("value",) if command == "sample" else ("count", "mean", "min", "max"))):
        assert f" {name} " in header
    assert "collection" not in header
    assert max(map(len, outcome.out.splitlines())) <= 120


def test_a_reason_of_a_failure_stays_in_a_narrow_table(run, index, zones, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "z.geojson").write_text(zones.to_crs("OGC:CRS84").to_json())
    outcome = run("zonal", index, tmp_path / "z.geojson", "--bands", "red", "--on-error", "null")
    assert " error " in outcome.out.splitlines()[1]
