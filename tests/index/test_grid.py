"""Footprints in lon/lat, and grids compared with what STAC says."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely

from rasteret_sql.index.header_columns import bounds_of, contradicts, header_footprint
from rasteret_sql.tiff.model import Band, Header, Level, TileFormat

FORMAT = TileFormat("little", "uint8", 8, 1, False, 1, 1, 1, 1, 256, 256, tiled=True)


def header(crs, transform, width=100, height=100):
    tiles = np.ones(1, np.int64)
    level = Level(width, height, FORMAT, tiles, tiles)
    return Header("little", False, (level,), (Band(1),), crs, transform)


def footprint(*args):
    data = header_footprint(header(*args))
    return shapely.from_wkb(data) if data is not None else None


def test_a_footprint_has_the_bounds_that_proj_gives():
    shape = footprint("EPSG:32643", (10.0, 0.0, 600000.0, 0.0, -10.0, 1400000.0), 10980, 10980)
    to_lonlat = pyproj.Transformer.from_crs("EPSG:32643", "OGC:CRS84", always_xy=True)
    expected = to_lonlat.transform_bounds(600000, 1290200, 709800, 1400000, densify_pts=21)
    assert shape.bounds == pytest.approx(expected, abs=1e-6)
    assert shape.is_valid


def test_a_footprint_over_the_antimeridian_is_split_there():
    shape = footprint("EPSG:4326", (0.1, 0.0, 175.0, 0.0, -0.1, 10.0))
    assert shape.geom_type == "MultiPolygon"
    assert sorted(part.bounds for part in shape.geoms) == [(-180, 0, -175, 10), (175, 0, 180, 10)]


def test_longitudes_from_0_to_360_are_the_whole_globe():
    assert footprint("EPSG:4326", (1.0, 0.0, 0.0, 0.0, -1.0, 90.0), 360, 180).bounds == (-180, -90, 180, 90)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90.0), ("EPSG:3031", -90.0)])
def test_a_raster_around_a_pole_reaches_it(crs, pole):
    bounds = footprint(crs, (20000.0, 0.0, -1e6, 0.0, -20000.0, 1e6)).bounds
    assert (bounds[0], bounds[2]) == (-180.0, 180.0)
    assert pole in (bounds[1], bounds[3])


def test_a_polar_raster_that_does_not_hold_the_pole_does_not_reach_it():
    shape = footprint("EPSG:3413", (10000.0, 0.0, -2e6, 0.0, -10000.0, 2e6))
    assert shape.bounds[3] < 80
    assert shape.is_valid


@pytest.mark.parametrize(
    "args",
    [
        (None, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
        ("EPSG:4326", None),
        ("nonsense", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
    ],
)
def test_without_a_grid_on_earth_there_is_no_footprint(args):
    assert footprint(*args) is None


def test_bounds_that_cannot_be_degrees_are_none():
    assert bounds_of(shapely.to_wkb(shapely.box(0, 0, 600000, 10))) is None
    assert bounds_of(None) is None
    assert bounds_of(shapely.to_wkb(shapely.box(1, 2, 3, 4))) == {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}


UTM = (10.0, 0.0, 600000.0, 0.0, -10.0, 1400000.0)


@pytest.mark.parametrize(
    ("proj", "wrong"),
    [
        ({}, False),
        (
            {
                "shape": [100, 100],
                "transform": [10, 0, 600000, 0, -10, 1400000, 0, 0, 1],
                "code": "epsg:32643",
            },
            False,
        ),
        ({"transform": [10.0000001, 0, 600000, 0, -10, 1400000]}, False),
        ({"code": pyproj.CRS("EPSG:32643").to_wkt()}, False),
        ({"code": "EPSG:32644"}, True),
        ({"shape": [100, 101]}, True),
        ({"transform": [10, 0, 600005, 0, -10, 1400000]}, True),
        ({"transform": [10, 0]}, True),
        ({"code": "nonsense"}, True),
    ],
)
def test_a_contradiction_of_stac_and_header_is_seen(proj, wrong):
    assert contradicts(header("EPSG:32643", UTM), proj) is wrong
