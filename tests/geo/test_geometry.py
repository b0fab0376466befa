"""Geometries in all their forms, by one parser at every door."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.geometry import parse_geometries, parse_geometry, wkb_of
from rasteret_sql.testing.cog import write_cog

BOX = shapely.box(2.5, 1.5, 6.5, 4.5)
POINTS = "MULTIPOINT (1 2, 3 4)"


class Interface:
    """An object of another library."""

    def __init__(self, document):
        self.__geo_interface__ = document


def features(*shapes, **columns):
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {name: values[number] for name, values in columns.items()},
                "geometry": shapely.geometry.mapping(shape),
            }
            for number, shape in enumerate(shapes)
        ],
    }


def blob(data):
    return "".join(f"\\x{byte:02X}" for byte in data)


MAPPING = shapely.geometry.mapping(BOX)
FORMS = {
    "Shapely": BOX,
    "three dimensions": shapely.force_3d(BOX, 7.0),
    "WKT": shapely.to_wkt(BOX, rounding_precision=-1),
    "EWKT": "SRID=4326;" + shapely.to_wkt(BOX, rounding_precision=-1),
    "WKB": shapely.to_wkb(BOX),
    "EWKB": shapely.to_wkb(shapely.set_srid(BOX, 4326), include_srid=True),
    "bytearray": bytearray(shapely.to_wkb(BOX)),
    "hexadecimal WKB": shapely.to_wkb(BOX, hex=True),
    "text of a BLOB": blob(shapely.to_wkb(BOX)),
    "GeoJSON": MAPPING,
    "GeoJSON text": json.dumps(MAPPING),
    "an open ring": {"type": "Polygon", "coordinates": [MAPPING["coordinates"][0][:-1]]},
    "Feature": features(BOX)["features"][0],
    "Feature text": json.dumps(features(BOX)["features"][0]),
    "FeatureCollection": features(BOX),
    "FeatureCollection text": json.dumps(features(BOX)),
    "interface": Interface(MAPPING),
    "interface of features": Interface(features(BOX)),
    "GeoSeries": gpd.GeoSeries([BOX], crs=4326),
    "GeoDataFrame": gpd.GeoDataFrame({"a": [1]}, geometry=[BOX], crs="OGC:CRS84"),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("geometry")
    write_cog(
        folder / "a.tif", np.arange(100, dtype=np.uint8).reshape(10, 10), crs="EPSG:4326",
        transform=(1.0, 0.0, 0.0, 0.0, -1.0, 10.0), tile=16,
    )  # fmt: skip
    rs.build_index(folder / "a.tif", folder / "i.parquet")
    return str(folder / "i.parquet")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_geometry_is_read_at_every_door(form, index):
    value = FORMS[form]
    assert parse_geometry(value, "OGC:CRS84").equals(BOX)
    assert not parse_geometry(value).has_z
    (one,) = parse_geometries(value).geometries
    assert one.equals(BOX)
    assert shapely.from_wkb(wkb_of(value)).equals(BOX)
    expected = rs.to_numpy(index, geometry=BOX)
    found = rs.to_numpy(index, geometry=value)
    assert (found.mask == expected.mask).all()
    assert (found.data == expected.data).all()
    (row,) = rs.to_geopandas(index, value).itertuples()
    (as_shape,) = rs.to_geopandas(index, BOX).itertuples()
    assert (row.pixels == as_shape.pixels).all()
    assert (row.mask == as_shape.mask).all()
    if isinstance(value, (str, bytes)):
        with rs.connect() as con:
            query = "SELECT tile_row FROM read_tiles(?, geometry := ?)"
            assert con.execute(query, [index, value if isinstance(value, str) else value.hex()]).fetchall() == [(0,)]


def test_features_are_rows_where_rows_are_expected_and_a_union_where_one_geometry_is(index):
    north, south = shapely.box(0, 8, 2, 10), shapely.box(7, 0, 10, 2)
    collection = features(north, south, name=["north", "south"], size=[4, None])
    frame = gpd.GeoDataFrame.from_features(collection, crs=4326)
    for given in (collection, json.dumps(collection), collection["features"], frame, frame.__geo_interface__):
        rows = rs.to_geopandas(index, given)
        assert rows["name"].tolist() == ["north", "south"]
        assert [int(mask.sum()) for mask in rows["mask"]] == [4, 6]
        assert rows["size"].isna().tolist() == [False, True]
    assert parse_geometry(collection).equals(north | south)
    overlapping = features(shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3))
    assert parse_geometry(overlapping).area == 7
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    assert parse_geometry(features(bow, BOX)).area == pytest.approx(2 + BOX.area)


def test_a_feature_without_geometry_is_a_row_and_no_part_of_a_union():
    collection = features(BOX, BOX)
    collection["features"][1]["geometry"] = None
    assert parse_geometries(collection).geometries[1] is None
    assert parse_geometry(collection).equals(BOX)
    assert parse_geometries([BOX, None, POINTS]).geometries[1] is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("somewhere", "got 'somewhere', expected GeoJSON, WKT or WKB"),
        (7, "got 7, expected GeoJSON"),
        (b"\x01\x02", "expected GeoJSON"),
        ({"type": "Sphere", "coordinates": [1, 2]}, "expected GeoJSON"),
        ({"coordinates": [1, 2]}, "expected GeoJSON"),
        (features(BOX)["features"], "expected GeoJSON"),
        ({"type": "Feature", "geometry": None}, "it has no geometry"),
        ("POINT (1 inf)", "a coordinate is not finite"),
        (shapely.Point(float("nan"), 1), "a coordinate is not finite"),
        ("CIRCULARSTRING (0 0, 1 1, 2 0)", "expected GeoJSON"),
        ("POLYGON EMPTY", "which is empty"),
        (features(), "which is empty"),
        (None, "it has no geometry"),
    ],
)
def test_what_is_no_geometry_is_refused_by_one_message(value, words):
    with pytest.raises(InvalidArgumentError, match=r"^area: got") as caught:
        parse_geometry(value, name="area")
    assert words in str(caught.value)
    if value is not None and not isinstance(value, list):
        assert wkb_of(value) is None


UTM_BOX = shapely.box(500000, 1400000, 501000, 1401000)


@pytest.mark.parametrize(
    "value",
    [
        "SRID=32643;POINT (500000 1400000)",
        shapely.to_wkb(shapely.set_srid(UTM_BOX, 32643), include_srid=True),
        gpd.GeoSeries([UTM_BOX], crs="EPSG:32643"),
        gpd.GeoDataFrame(geometry=[UTM_BOX], crs="EPSG:32643"),
        gpd.GeoSeries([UTM_BOX], crs="EPSG:32643").to_json(),
    ],
    ids=["EWKT", "EWKB", "GeoSeries", "GeoDataFrame", "GeoJSON with a crs"],
)
def test_geometries_that_name_another_crs_than_is_given_are_refused(value, index):
    for read in (lambda: rs.to_numpy(index, geometry=value), lambda: parse_geometry(value, "OGC:CRS84")):
        with pytest.raises(InvalidArgumentError, match="it is in EPSG:32643, expected OGC:CRS84"):
            read()
    assert parse_geometry(value, "EPSG:32643").bounds[0] == 500000


def test_many_must_agree_and_be_some():
    one = shapely.set_srid(shapely.Point(0, 0), 4326)
    with pytest.raises(InvalidArgumentError, match="zones: got one that says that it is in EPSG:32643"):
        parse_geometries([one, "SRID=32643;POINT (0 0)"], name="zones")
    with pytest.raises(InvalidArgumentError, match="zones: got none"):
        parse_geometries([], name="zones")
    with pytest.raises(InvalidArgumentError, match="zones: got int"):
        parse_geometries(7, name="zones")
