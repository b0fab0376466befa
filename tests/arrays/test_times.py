"""Times of items that have a period and no `datetime`, as STAC has annual products."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import rasteret_sql as rs
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
