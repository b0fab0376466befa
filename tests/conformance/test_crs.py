"""What counts as the same CRS, and what must not."""

from __future__ import annotations

import pyproj
import pytest
from rasterio.crs import CRS

from tests.conformance.crs import same_crs

BESSEL = 'DATUM["{}",SPHEROID["Bessel 1841",6377397.155,299.1528128]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]'
MAP = (
    'PROJCS["{name}",GEOGCS["{datum}",DATUM["{datum}",SPHEROID["s",{axis},300]],PRIMEM["p",{meridian}],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",{longitude}],PARAMETER["scale_factor",1],PARAMETER["false_easting",0],'
    'PARAMETER["false_northing",0],UNIT["u",{unit}]]'
)
PLAIN = {"name": "a", "datum": "mine", "axis": 6378000, "meridian": 0, "longitude": 9, "unit": 1}


@pytest.mark.parametrize(
    "change", [{}, {"name": "b"}, {"datum": "yours"}, {"axis": 6378000.0001}, {"longitude": 9 + 1e-10}]
)
def test_names_that_no_registry_has_and_less_than_a_millimetre_do_not_matter(change):
    ours = pyproj.CRS.from_wkt(MAP.format(**PLAIN)).to_wkt()
    assert same_crs(ours, CRS.from_wkt(MAP.format(**PLAIN | change)))


@pytest.mark.parametrize(
    "change",
    [
        {"datum": "North_American_Datum_1927"},
        {"axis": 6378001},
        {"meridian": 1},
        {"longitude": 9.0001},
        {"unit": 1.000002},
    ],
)
def test_another_datum_ellipsoid_meridian_projection_or_unit_is_another_crs(change):
    ours = pyproj.CRS.from_wkt(MAP.format(**PLAIN)).to_wkt()
    assert not same_crs(ours, CRS.from_wkt(MAP.format(**PLAIN | change)))


def test_a_datum_that_is_not_known_is_no_registered_one():
    theirs = CRS.from_wkt(f'GEOGCS["x",{BESSEL.format("unknown")}]')
    assert not same_crs("EPSG:4289", theirs)
    assert same_crs(f'GEOGCS["y",{BESSEL.format("unnamed")}]', theirs)


def test_an_engineering_crs_is_none():
    local = CRS.from_wkt('LOCAL_CS["my grid",UNIT["metre",1]]')
    assert same_crs(None, local)
    assert not same_crs("EPSG:4326", local)
    assert same_crs(None, None)
    assert not same_crs(None, CRS.from_epsg(4326))
    assert not same_crs("EPSG:4326", None)


def test_heights_are_part_of_a_crs():
    assert same_crs("EPSG:4979", CRS.from_epsg(4979))
    assert not same_crs("EPSG:4326", CRS.from_epsg(4979))
    assert not same_crs("EPSG:4326+5773", CRS.from_string("EPSG:4326+5703"))
