"""Times of items that have a period and no `datetime`, as STAC has annual products."""

from __future__ import annotations

import datetime as dt
import json

import duckdb
import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing import write_cog

YEARS = ("2020", "2021")


@pytest.fixture(params=["start and end", "start", "end"])
def products(request, tmp_path):
    """An index of two tiles in two years, with both ends of the period or one of them."""
    items = []
    for tile, west in (("A", 600000), ("B", 600320)):
        for year in reversed(YEARS):
            transform = (10.0, 0.0, west, 0.0, -10.0, 1400000.0)
            pixels = np.full((32, 32), int(year) - 2000, "uint8")
            href = write_cog(tmp_path / f"{tile}{year}.tif", pixels, transform=transform, crs="EPSG:32643", tile=32)
            period = {"start_datetime": f"{year}-01-01T00:00:00Z", "end_datetime": f"{year}-12-31T00:00:00Z"}
            times = {name: time for name, time in period.items() if name.partition("_")[0] in request.param}
            items.append({
                "type": "Feature", "stac_version": "1.0.0", "id": f"{tile}{year}", "collection": "lulc",
                "geometry": None, "properties": {"datetime": None, **times}, "links": [],
                "assets": {"map": {"href": str(href), "type": "image/tiff"}},
            })  # fmt: skip
    rs.build_index(items, tmp_path / "i.parquet")
    first = "12-31" if request.param == "end" else "01-01"
    return str(tmp_path / "i.parquet"), [f"{year}-{first}" for year in YEARS]


def test_their_time_is_that_of_the_start_or_else_of_the_end(products):
    index, times = products
    expected = [*np.repeat(times, 2)]
    cube = rs.to_xarray(index)
    assert cube["time"].values.astype("M8[D]").astype(str).tolist() == expected
    assert cube["item_id"].values.tolist() == ["A2020", "B2020", "A2021", "B2021"]
    assert rs.to_numpy(index).times.astype("M8[D]").astype(str).tolist() == expected
    tiles = rs.read_tiles(index).read_all()
    assert {time.astimezone(dt.UTC).date().isoformat() for time in tiles["datetime"].to_pylist()} == set(times)
    plan = rs.connect().execute("SELECT DISTINCT strftime(datetime, '%Y-%m-%d') FROM tile_plan(?)", [index]).fetchall()
    assert sorted(plan) == sorted((time,) for time in times)


@pytest.mark.parametrize("groupby", ["time", "day", "solar_day"])
def test_they_are_grouped_by_time(groupby, products):
    index, times = products
    cube = rs.to_xarray(index, groupby=groupby)
    assert cube["time"].values.astype("M8[D]").astype(str).tolist() == times
    assert cube["map"].values[:, 0, [0, -1]].tolist() == [[20, 20], [21, 21]]


_PERIOD = {"datetime": None, "start_datetime": "2020-01-01T00:00:00Z", "end_datetime": "2020-12-31T00:00:00Z"}
_MOMENTS = {"start": "2020-01-01", "middle": "2020-07-01", "end": "2020-12-31", None: None}


def _annual(folder, times=_PERIOD):
    href = write_cog(folder / "a.tif", np.ones((32, 32), "uint8"), crs="EPSG:32643", tile=32)
    document = {
        "type": "Feature", "stac_version": "1.0.0", "id": "a", "geometry": None, "properties": times, "links": [],
        "assets": {"map": {"href": str(href), "type": "image/tiff"}},
    }  # fmt: skip
    path = folder / "item.json"
    path.write_text(json.dumps(document))
    return path


def _written(index):
    query = f"SELECT strftime(datetime AT TIME ZONE 'UTC', '%Y-%m-%d') FROM read_parquet('{index}/**/*.parquet')"
    ((time,),) = duckdb.sql(query if index.is_dir() else query.replace("/**/*.parquet", "")).fetchall()
    return time


@pytest.mark.parametrize("moment", list(_MOMENTS))
def test_a_build_writes_the_time_of_a_period_that_is_asked_for(tmp_path, moment):
    index = tmp_path / "i.parquet"
    item = _annual(tmp_path)
    rs.build_index(item, index, period_time=moment)
    assert _written(index) == _MOMENTS[moment]
    rs.refresh(index)
    assert _written(index) == _MOMENTS[moment]
    # Without one, a read takes the start.
    assert str(rs.to_numpy(index).times.astype("M8[D]")[0]) == (_MOMENTS[moment] or "2020-01-01")
    # The period stays as it is.
    assert len(rs.read_tiles(index, datetime="2020-03").read_all()) > 0


@pytest.mark.parametrize("moment", list(_MOMENTS))
def test_read_headers_gives_the_same_time(tmp_path, moment):
    item = _annual(tmp_path)
    with rs.connect() as con:
        con.execute("SET TimeZone = 'America/Los_Angeles'")
        con.execute("CREATE TABLE found AS FROM stac_items($1)", [str(item)])
        ((time,),) = con.execute(
            "SELECT strftime(make_timestamp(epoch_us(datetime)), '%Y-%m-%d') FROM read_headers('found', period_time := $1)",
            [moment],
        ).fetchall()
    assert time == _MOMENTS[moment]


def test_a_datetime_is_never_replaced_and_one_end_of_a_period_is_enough(tmp_path):
    index = tmp_path / "i.parquet"
    for times, expected in (
        (_PERIOD | {"datetime": "2019-05-05T00:00:00Z"}, "2019-05-05"),
        ({"datetime": None, "end_datetime": "2020-12-31T00:00:00Z"}, "2020-12-31"),
    ):
        rs.build_index(_annual(tmp_path, times), index, period_time="start")
        assert _written(index) == expected


def test_parts_of_an_index_are_those_of_the_time_that_is_written(tmp_path):
    rs.build_index(_annual(tmp_path), tmp_path / "i", period_time="end", partition_by=["month"])
    assert [path.name for path in (tmp_path / "i").iterdir() if path.is_dir()] == ["month=12"]


def test_another_time_of_a_period_is_refused(tmp_path):
    item = _annual(tmp_path)
    with pytest.raises(InvalidArgumentError, match="period_time: got 'mid', expected one of start, middle, end"):
        rs.build_index(item, tmp_path / "i.parquet", period_time="mid")
    with rs.connect() as con:
        con.execute("CREATE TABLE found AS FROM stac_items($1)", [str(item)])
        with pytest.raises(duckdb.Error, match="period_time: got 'mid', expected 'start', 'middle' or 'end'"):
            con.execute("FROM read_headers('found', period_time := 'mid')")
