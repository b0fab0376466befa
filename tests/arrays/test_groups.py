"""Items of one slice: by place at the antimeridian, by any column, and without a value in it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import WEST, File, at, make_index, noise

#: The corner of a scene beside the antimeridian, and of one over it, in UTM zone 60 S.
BESIDE, OVER = 700_000.0, 817_000.0


def scene(item, west, when):
    options = {"crs": "EPSG:32760", "transform": at(west, 8_000_000.0, 100.0), "nodata": 0}
    return File(item, "red", noise(1, (100, 100)), when, options=options)


def ids(index, **options):
    return rs.to_xarray(index, **options).item_id.values.tolist()


@pytest.mark.parametrize(
    ("west", "times"),
    [
        ((BESIDE, OVER), ("22:30:00", "22:30:10")),
        ((OVER, BESIDE), ("01:00:00", "01:00:10")),
        ((OVER, OVER), ("23:59:55", "23:59:59")),
    ],
)
def test_one_pass_over_the_antimeridian_is_one_solar_day(tmp_path, west, times):
    moments = [dt.datetime.fromisoformat(f"2024-01-05T{time}+00:00") for time in times]
    index = make_index(tmp_path, [scene(name, *facts) for name, *facts in zip("ab", west, moments, strict=True)])
    assert ids(index, groupby="solar_day") == ["a,b"]


def test_the_solar_day_over_the_antimeridian_changes_at_noon_utc(tmp_path):
    moments = [dt.datetime(2024, 1, 5, hour, tzinfo=dt.UTC) for hour in (11, 13)]
    index = make_index(tmp_path, [scene("a", OVER, moments[0]), scene("b", OVER, moments[1])])
    assert ids(index, groupby="solar_day") == ["a", "b"]


def test_items_without_a_value_are_groups_of_their_own(tmp_path):
    orbits = (7, 7, None, None)
    files = [
        File(f"i{n}", "a", noise(n), n, properties={} if orbit is None else {"orbit": orbit})
        for n, orbit in enumerate(orbits, 1)
    ]
    index = make_index(tmp_path, files)
    assert ids(index, groupby="orbit") == ["i1,i2", "i3", "i4"]


@pytest.mark.parametrize("column", ["crs", "dtype", "start_datetime", "asset", "compression", "width"])
def test_any_column_of_an_index_groups(tmp_path, column):
    index = make_index(tmp_path, [File("a", "red", noise(1), 1), File("b", "red", noise(2), 2)])
    # start_datetime is NULL for both.
    assert ids(index, groupby=column) == (["a", "b"] if column == "start_datetime" else ["a,b"])


def test_a_name_that_is_no_column_is_refused_with_those_that_are(tmp_path):
    index = make_index(tmp_path, [File("a", "red", noise(1))])
    with pytest.raises(InvalidArgumentError, match=r"a column of the index: .*collection.*crs"):
        ids(index, groupby="orbit")


@pytest.mark.parametrize("resampling", [{"SCL": "nearest", "*": "average"}, {"scl": "nearest", "nir": "cubic"}])
@pytest.mark.parametrize("bands", [None, ["scl"]])
def test_a_method_for_a_band_that_is_not_read_is_refused(tmp_path, resampling, bands):
    index = make_index(tmp_path, [File("a", "scl", noise(1, dtype="uint8"))])
    with pytest.raises(InvalidArgumentError, match="resampling: got band"):
        rs.to_xarray(index, bands=bands, resampling=resampling, crs="EPSG:32643", resolution=20)


def test_a_method_for_an_asset_is_that_of_all_its_bands(tmp_path):
    data = np.stack([noise(1), noise(2)])
    index = make_index(tmp_path, [File("a", "visual", data)])
    options = {"crs": "EPSG:32643", "resolution": 20, "bbox": (WEST, 1_399_360, WEST + 640, 1_400_000)}
    expected = rs.to_xarray(index, **options, geometry_crs="EPSG:32643", resampling="average")
    found = rs.to_xarray(index, **options, geometry_crs="EPSG:32643", resampling={"visual": "average"})
    assert len(found.data_vars) == 2
    for name in found.data_vars:
        assert np.array_equal(found[name], expected[name])
