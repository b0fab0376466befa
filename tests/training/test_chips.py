"""Windows and labels from tables: what `chips` and `label_column` take, give and refuse."""

from __future__ import annotations

import datetime as dt
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from torch.utils.data import DataLoader
from torchgeo.datasets import stack_samples
from torchgeo.samplers import PreChippedGeoSampler

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import NORTH, WEST, File, make_index, noise
from tests.training.scenes import CRS, as_array, utc

#: Windows (row, col) of 16 by 16 pixels of A, which are chips in each form.
PLACES = [(8, 10), (40, 64), (80, 80)]
BOXES = [
    shapely.box(WEST + col * 10, NORTH - (row + 16) * 10, WEST + (col + 16) * 10, NORTH - row * 10)
    for row, col in PLACES
]
LABELS = [3, 1, 2]


def lonlat(geometry):
    return gpd.GeoSeries(geometry, crs=CRS).to_crs("OGC:CRS84").tolist()


def sides(boxes):
    return {name: [box.bounds[place] for box in boxes] for place, name in enumerate(("xmin", "ymin", "xmax", "ymax"))}


FORMS = {
    "WKB": pa.table({"geometry": [shapely.to_wkb(box) for box in BOXES], "label": LABELS}),
    "WKT": pa.table({"geometry": [box.wkt for box in BOXES], "label": LABELS}),
    "GeoJSON": pa.table({"geometry": [json.dumps(shapely.geometry.mapping(box)) for box in BOXES], "label": LABELS}),
    "GeoDataFrame": gpd.GeoDataFrame({"label": LABELS}, geometry=BOXES, crs=CRS),
    "GeoDataFrame in degrees": gpd.GeoDataFrame({"label": LABELS}, geometry=lonlat(BOXES), crs="OGC:CRS84"),
    "sides": pa.table(sides(BOXES) | {"label": LABELS}),
    "bbox": pa.table({"bbox": [dict(zip(("xmin", "ymin", "xmax", "ymax"), box.bounds, strict=True)) for box in BOXES], "label": LABELS}),
    "points": pa.table({"x": [box.centroid.x for box in BOXES], "y": [box.centroid.y for box in BOXES], "label": LABELS}),
    "pixels": pa.table({"item_id": ["A"] * 3, "row_off": [row for row, _ in PLACES], "col_off": [col for _, col in PLACES], "label": LABELS}),
}  # fmt: skip


def only_a(scenes):
    return f"FROM '{scenes.index}' WHERE item_id = 'A'"


@pytest.mark.parametrize("form", FORMS)
def test_chips_of_each_form_are_the_windows_they_say(scenes, form):
    size = 16 if form in {"points", "pixels", "GeoDataFrame in degrees"} else None
    dataset = rs.to_torchgeo(
        only_a(scenes), bands=["red"], chips=FORMS[form], chip_size=size, geometry_crs=CRS, label_column="label"
    )
    assert len(dataset) == 3
    assert dataset.index["label"].tolist() == LABELS
    sampler = PreChippedGeoSampler(dataset)
    samples = list(DataLoader(dataset, sampler=sampler, batch_size=None))
    for (row, col), label, sample in zip(PLACES, LABELS, samples, strict=True):
        assert np.array_equal(as_array(sample)[0], scenes.pixels("A", "red")[row : row + 16, col : col + 16])
        assert sample["label"].item() == label


def test_chips_are_queries_paths_and_relations_too(scenes, tmp_path, con):
    path = tmp_path / "chips.parquet"
    pq.write_table(FORMS["sides"], path)
    for chips in (path, str(path), f"FROM '{path}'", con.sql(f"FROM '{path}'"), FORMS["sides"].to_pandas()):
        dataset = rs.to_torchgeo(only_a(scenes), bands=["red"], chips=chips, geometry_crs=CRS)
        assert [box.bounds for box in dataset.index.geometry] == [box.bounds for box in BOXES]


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("size", [None, 16])
def test_rows_of_chips_are_chips_at_any_level(scenes, con, level, size):
    side = 16 >> level
    for chips in (
        rs.chips(scenes.index, size=side, bands=["red"], level=level),
        con.sql(f"FROM chips('{scenes.index}', size := {side}, bands := ['red'], level := {level})"),
    ):
        dataset = rs.to_torchgeo(scenes.index, bands=["red"], chips=chips, chip_size=size)
        assert len(dataset) == 3 * (96 // 16) ** 2
        rows = rs.chips(scenes.index, size=side, bands=["red"], level=level).read_all().to_pylist()
        for query, row in list(zip(PreChippedGeoSampler(dataset), rows, strict=True))[::17]:
            row_off, col_off = row["row_off"] << level, row["col_off"] << level
            expected = scenes.pixels(row["item_id"], "red")[row_off : row_off + 16, col_off : col_off + 16]
            assert np.array_equal(as_array(dataset[query])[0], expected)


def test_points_are_longitude_and_latitude_by_default(scenes):
    points = lonlat([box.centroid for box in BOXES])
    chips = pa.table({"x": [point.x for point in points], "y": [point.y for point in points]})
    dataset = rs.to_torchgeo(only_a(scenes), bands=["red"], chips=chips, chip_size=16)
    for box, expected in zip(dataset.index.geometry, BOXES, strict=True):
        assert box.bounds == pytest.approx(expected.bounds)


def test_a_chip_size_is_height_and_width(scenes):
    dataset = rs.to_torchgeo(only_a(scenes), bands=["red"], chips=FORMS["points"], chip_size=(8, 24), geometry_crs=CRS)
    for query in PreChippedGeoSampler(dataset):
        assert dataset[query]["image"].shape == (1, 8, 24)


def test_chips_that_name_an_item_are_read_from_it_at_its_time(scenes):
    chips = pa.table({"item_id": ["A", "C", "B"], "row_off": [8, 8, 8], "col_off": [60, 60, 12], "label": [1, 2, 3]})
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], chips=chips, chip_size=16, label_column="label")
    for query, item, col, label in zip(PreChippedGeoSampler(dataset), "ACB", (60, 60, 12), (1, 2, 3), strict=True):
        sample = dataset[query]
        assert np.array_equal(as_array(sample)[0], scenes.pixels(item, "red")[8:24, col : col + 16])
        assert sample["label"].item() == label


def test_a_chip_is_of_its_item_where_another_chip_of_the_same_time_lies_over_it(tmp_path):
    files = [File("A", "red", noise(1)), File("B", "red", noise(2))]
    chips = pa.table({"item_id": ["A", "B"], "row_off": [0, 8], "col_off": [0, 8], "label": [1, 2]})
    index = make_index(tmp_path, files)
    dataset = rs.to_torchgeo(index, chips=chips, chip_size=16, label_column="label")
    for number, (query, off) in enumerate(zip(PreChippedGeoSampler(dataset), (0, 8), strict=True), 1):
        sample = dataset[query]
        assert np.array_equal(as_array(sample)[0], noise(number)[off : off + 16, off : off + 16])
        assert sample["label"].item() == number


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, 3),
        ({"datetime": [utc(2024, 1, 3, 10)]}, 1),
        ({"datetime": [utc(2024, 1, 3, 10).replace(tzinfo=None)]}, 1),
        ({"start_datetime": [utc(2024, 1, 1)], "end_datetime": [utc(2024, 1, 2, 12)]}, 2),
        ({"start_datetime": [dt.date(2024, 1, 2)], "end_datetime": [dt.date(2024, 1, 4)]}, 2),
    ],
    ids=["any time", "a moment", "a moment without a zone", "a period", "dates"],
)
def test_chips_without_an_item_take_what_lies_there_at_their_time(scenes, columns, expected):
    box = BOXES[1]
    chips = pa.table({"geometry": [box.wkt]} | columns)
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], chips=chips, geometry_crs=CRS, time_series=True)
    (query,) = PreChippedGeoSampler(dataset)
    assert dataset[query]["image"].shape == (expected, 1, 16, 16)


def test_chips_may_move_to_another_crs(scenes):
    dataset = rs.to_torchgeo(only_a(scenes), bands=["red"], chips=FORMS["sides"], geometry_crs=CRS)
    expected = dataset.index.to_crs("EPSG:3857").total_bounds
    dataset.crs = pyproj.CRS("EPSG:3857")
    assert np.allclose(dataset.index.total_bounds, expected, atol=0.5)
    for query in PreChippedGeoSampler(dataset):
        assert as_array(dataset[query], "mask_valid").mean() > 0.95


def test_chips_over_the_edge_are_padded(scenes):
    chips = pa.table({"item_id": ["A"], "row_off": [90], "col_off": [-8]})
    dataset = rs.to_torchgeo(only_a(scenes), bands=["red"], chips=chips, chip_size=16)
    (query,) = PreChippedGeoSampler(dataset)
    sample = dataset[query]
    assert np.array_equal(as_array(sample)[0, :6, 8:], scenes.pixels("A", "red")[90:, :8])
    valid = as_array(sample, "mask_valid")[0]
    assert valid[:6, 8:].all()
    assert valid.sum() == 6 * 8


def test_labels_of_items_come_from_columns_of_the_query(scenes):
    query = f"SELECT *, item_id = 'B' AS is_b FROM '{scenes.index}'"
    for name, expected in (("cloud", [0.0, 10.0, 20.0]), ("is_b", [False, True, False])):
        dataset = rs.to_torchgeo(query, bands=["red"], label_column=name)
        loader = DataLoader(dataset, sampler=PreChippedGeoSampler(dataset), batch_size=3, collate_fn=stack_samples)
        assert next(iter(loader))["label"].tolist() == expected


def test_labels_may_be_joined_in_sql(scenes, con):
    con.execute("CREATE TABLE classes AS SELECT unnest(['A', 'B', 'C']) AS item_id, unnest([4, 5, 6]) AS class")
    relation = con.sql(f"SELECT i.*, c.class FROM '{scenes.index}' AS i JOIN classes AS c USING (item_id)")
    dataset = rs.to_torchgeo(relation, bands=["red"], label_column="class")
    assert [dataset[query]["label"].item() for query in PreChippedGeoSampler(dataset)] == [4, 5, 6]


def test_a_slice_of_rows_with_other_labels_has_none(scenes):
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], label_column="cloud")
    with pytest.raises(InvalidArgumentError, match="label_column: 2 rows"):
        dataset[WEST : WEST + 160, NORTH - 160 : NORTH]


GOOD = FORMS["sides"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chips": pa.table({"a": [1]})}, "chips: got columns a, expected geometry"),
        ({"chips": GOOD.slice(0, 0)}, "chips: got no rows"),
        ({"chips": 5}, "chips: got int"),
        ({"chips": "FROM nothing_there"}, "chips: got str"),
        ({"chips": pa.table({"geometry": ["POINT (1"]})}, "row 0, geometry: got 'POINT"),
        ({"chips": pa.table({"geometry": [None]}, schema=pa.schema([("geometry", pa.string())]))}, "row 0, geometry: got None"),
        ({"chips": FORMS["points"]}, "expected chip_size"),
        ({"chips": FORMS["pixels"]}, "expected item_id and chip_size"),
        ({"chips": FORMS["pixels"].drop(["item_id"]), "chip_size": 16}, "expected item_id and chip_size"),
        ({"chips": pa.table({"item_id": ["Z"], "row_off": [0], "col_off": [0]}), "chip_size": 16}, "item_id 'Z'"),
        ({"chips": pa.table(sides(BOXES[:1]) | {"xmin": ["west"]})}, "xmin holds string"),
        ({"chips": pa.table(sides(BOXES[:1]) | {"datetime": ["2024"]})}, "datetime holds string"),
        ({"chips": pa.table(sides([shapely.affinity.translate(BOXES[0], 1e5)]))}, "row 0 .* touches no item"),
        ({"chips": GOOD, "geometry_crs": "OGC:CRS84"}, "geometry_crs"),
        ({"chips": GOOD, "chip_size": 0}, "chip_size: got 0"),
        ({"chips": GOOD, "chip_size": (1, 2, 3)}, "chip_size: got"),
        ({"chips": GOOD, "label_column": "nothing"}, "label_column: got 'nothing'"),
        ({"chip_size": 16}, "chip_size: got 16 without chips"),
        ({"label_column": "nothing"}, "label_column: got 'nothing', expected a column .*cloud"),
        ({"label_column": "item_id"}, "label_column"),
        ({"groupby": "day"}, "groupby: got 'day' without time_series"),
        ({"groupby": "week", "time_series": True}, "groupby: got 'week'"),
        ({"mosaic": "count"}, "mosaic: got 'count'"),
        ({"resampling": "sinc"}, "resampling: got 'sinc'"),
        ({"on_error": "ignore"}, "on_error: got 'ignore'"),
        ({"dtype": "float32"}, "dtype: got 'float32'"),
        ({"resolution": -1}, "resolution"),
        ({"crs": "EPSG:999999"}, "crs|CRS"),
        ({"bands": ["blue"]}, "blue"),
        ({"bands": []}, "bands"),
        ({"datetime": "yesterday"}, "datetime|yesterday"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_read(served, options, words):
    options = {"bands": ["red"], "geometry_crs": CRS} | options
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}"):
        rs.to_torchgeo(served.index, **options)
    assert served.server.requests == []


def test_pandas_times_are_those_of_the_chips(scenes):
    chips = pd.DataFrame(sides(BOXES[1:2]) | {"datetime": [pd.Timestamp("2024-01-03T10:00", tz="UTC")]})
    dataset = rs.to_torchgeo(scenes.index, bands=["red"], chips=chips, geometry_crs=CRS)
    (query,) = PreChippedGeoSampler(dataset)
    row, col = PLACES[1]
    assert np.array_equal(as_array(dataset[query])[0], scenes.pixels("C", "red")[row : row + 16, col : col + 16])
