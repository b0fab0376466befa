"""GeoKeys to CRSs: each method and unit against the definition that a registry gives."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pyproj import CRS, Transformer

from rasteret_sql.tiff.crs import GEOGRAPHIC_CODES, METRIC_CODES, crs_of, vertical_unit

MODEL, CITATION = 1024, 1026
GCS, GCS_CITATION, DATUM, MERIDIAN, ANGLE, ANGLE_SIZE, ELLIPSOID = 2048, 2049, 2050, 2051, 2054, 2055, 2056
MAJOR, MINOR, INVERSE, AZIMUTH_UNIT, MERIDIAN_LONGITUDE, TO_WGS84 = 2057, 2058, 2059, 2060, 2061, 2062
PCS, PCS_CITATION, PROJECTION, METHOD, UNIT, UNIT_SIZE = 3072, 3073, 3074, 3075, 3076, 3077
SP1, SP2, LON, LAT, EAST, NORTH = 3078, 3079, 3080, 3081, 3082, 3083
FALSE_LON, FALSE_LAT, FALSE_EAST, FALSE_NORTH = 3084, 3085, 3086, 3087
CENTER_LON, CENTER_LAT, SCALE, CENTER_SCALE, AZIMUTH, POLE, RECTIFIED = 3088, 3089, 3092, 3093, 3094, 3095, 3096
VERTICAL, VERTICAL_CITATION, VERTICAL_DATUM, VERTICAL_UNIT = 4096, 4097, 4098, 4099
USER = 32767


def keys_of(method, values, gcs=4326):
    """Keys of a projected CRS without a code, in metres unless the values say otherwise."""
    return {MODEL: 1, GCS: gcs, PCS: USER, PROJECTION: USER, METHOD: method, UNIT: 9001} | values


def places(crs):
    """Coordinates of some places around the area of a CRS, in its own datum."""
    base = crs.geodetic_crs
    west, south, east, north = crs.area_of_use.bounds if crs.area_of_use else (-20, -20, 40, 60)
    lon, lat = np.meshgrid(np.linspace(west, east, 5), np.linspace(max(south, -89), min(north, 89), 5))
    angle = base.axis_info[0].unit_conversion_factor / np.radians(1)
    meridian = base.prime_meridian.longitude * base.prime_meridian.unit_conversion_factor / np.radians(1)
    return (lon - meridian) / angle, lat / angle


def mapped(crs, lon, lat):
    """Coordinates of places in a CRS, (2, ...): longitudes and latitudes are those of its own datum and unit."""
    return np.stack(Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(lon, lat))


def assert_same_map(ours, expected):
    """Both give some places the same coordinates, within 0.1 mm, on equal ellipsoids."""
    mine, reference = CRS.from_user_input(ours), CRS.from_user_input(expected)
    grid = places(reference)
    found, wanted = mapped(mine, *grid), mapped(reference, *grid)
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    assert mine.ellipsoid.semi_major_metre == pytest.approx(reference.ellipsoid.semi_major_metre, rel=1e-12)
    np.testing.assert_allclose(mine.ellipsoid.inverse_flattening, reference.ellipsoid.inverse_flattening, rtol=1e-10)


REGISTERED = {
    "EPSG:27700": (1, {LAT: 49.0, LON: -2.0, SCALE: 0.9996012717, EAST: 4e5, NORTH: -1e5}, 4277),
    "EPSG:6808": (
        3,
        {CENTER_LAT: 45.91666666666666, CENTER_LON: -123.0, AZIMUTH: 295.0, RECTIFIED: 295.0, CENTER_SCALE: 1.0,
         EAST: 7e6, NORTH: -3e6},
        6783,
    ),
    "EPSG:8441": (
        4,
        {CENTER_LAT: -18.9, CENTER_LON: 46.43722916666667, AZIMUTH: 18.9, CENTER_SCALE: 0.9995, EAST: 4e5, NORTH: 8e5},
        4297,
    ),
    "EPSG:8065": (
        9815,
        {CENTER_LAT: 32.25, CENTER_LON: -111.4, AZIMUTH: 45.0, RECTIFIED: 45.0, CENTER_SCALE: 1.00011, EAST: 160000.0,
         NORTH: 800000.0, UNIT: 9002},
        6318,
    ),
    "EPSG:3001": (7, {LAT: 0.0, LON: 110.0, SCALE: 0.997, EAST: 3900000.0, NORTH: 900000.0}, 4211),
    "EPSG:3388": (7, {SP1: 42.0, LON: 51.0}, 4284),
    "EPSG:2154": (8, {SP1: 49.0, SP2: 44.0, FALSE_LAT: 46.5, FALSE_LON: 3.0, EAST: 7e5, NORTH: 6.6e6}, 4171),
    "EPSG:27561": (9, {LAT: 55.0, LON: 0.0, SCALE: 0.999877341, EAST: 6e5, NORTH: 2e5, ANGLE: 9105}, 4807),
    "EPSG:3035": (10, {CENTER_LAT: 52.0, CENTER_LON: 10.0, EAST: 4321000.0, NORTH: 3210000.0}, 4258),
    "EPSG:5070": (11, {SP1: 29.5, SP2: 45.5, LAT: 23.0, LON: -96.0}, 4269),
    "ESRI:102010": (13, {SP1: 20.0, SP2: 60.0, LAT: 40.0, LON: -96.0}, 4269),
    "EPSG:5041": (15, {LAT: 90.0, POLE: 0.0, SCALE: 0.994, EAST: 2e6, NORTH: 2e6}, 4326),
    "EPSG:3031": (15, {LAT: -71.0, POLE: 0.0, SCALE: 1.0}, 4326),
    "EPSG:3995": (15, {LAT: 71.0, LON: 0.0}, 4326),
    "EPSG:28992": (
        16,
        {LAT: 52.156160555555555, LON: 5.387638888888889, SCALE: 0.9999079, EAST: 155000.0, NORTH: 463000.0},
        4289,
    ),
    "EPSG:4087": (17, {SP1: 0.0, CENTER_LAT: 0.0, CENTER_LON: 0.0}, 4326),
    "EPSG:30200": (
        18, {LAT: 10.441666666666666, LON: -61.333333333333336, EAST: 430000.0, NORTH: 325000.0, UNIT: 9039}, 4302,
    ),
    "ESRI:54003": (20, {CENTER_LAT: 0.0, CENTER_LON: 0.0}, 4326),
    "EPSG:5880": (22, {LAT: 0.0, LON: -54.0, EAST: 5e6, NORTH: 1e7}, 4674),
    "ESRI:54030": (23, {CENTER_LON: 0.0}, 4326),
    "ESRI:54008": (24, {CENTER_LON: 0.0}, 4326),
    "EPSG:27200": (26, {LAT: -41.0, LON: 173.0, EAST: 2510000.0, NORTH: 6023150.0}, 4272),
    "EPSG:2053": (27, {LAT: 0.0, LON: 29.0, SCALE: 1.0}, 4148),
    "EPSG:6933": (28, {SP1: 30.0, LON: 0.0}, 4326),
}  # fmt: skip
"""Registered CRSs: method, parameters in whatever key writers use, geographic CRS."""


@pytest.mark.parametrize("code", REGISTERED)
def test_a_crs_given_by_method_and_parameters_is_the_registered_one(code):
    crs, note = crs_of(keys_of(*REGISTERED[code]))
    assert note is None
    assert_same_map(crs, code)
    if code not in {"EPSG:5880", "EPSG:2053"}:
        assert CRS.from_user_input(crs).geodetic_crs.equals(CRS(code).geodetic_crs, ignore_axis_order=True)


@pytest.mark.parametrize(
    ("method", "values", "proj"),
    [
        (12, {CENTER_LAT: 40.0, CENTER_LON: 10.0, EAST: 1e5}, "+proj=aeqd +lat_0=40 +lon_0=10 +x_0=100000"),
        (19, {LAT: 40.0, LON: 10.0}, "+proj=gnom +lat_0=40 +lon_0=10"),
        (21, {LAT: 20.0, LON: 10.0}, "+proj=ortho +lat_0=20 +lon_0=10"),
        (25, {LON: 10.0}, "+proj=vandg +lon_0=10"),
        (14, {LAT: 30.0, LON: -90.0}, "+proj=stere +lat_0=30 +lon_0=-90"),
        (7, {LAT: 40.0, LON: 10.0}, "+proj=merc +lat_ts=40 +lon_0=10"),
        (3, {CENTER_LAT: 40.0, CENTER_LON: 0.0, AZIMUTH: 53.0}, "+proj=omerc +no_uoff +lat_0=40 +lonc=0 +alpha=53 +gamma=90"),
    ],
)  # fmt: skip
def test_a_crs_that_no_registry_has_is_the_projection_of_its_parameters(method, values, proj):
    crs = CRS(crs_of(keys_of(method, values))[0])
    wanted = CRS.from_proj4(f"{proj} +ellps=WGS84 +units=m +type=crs")
    grid = np.meshgrid(np.linspace(-20, 20, 5), np.linspace(10, 60, 5))
    np.testing.assert_allclose(mapped(crs, *grid), mapped(wanted, *grid), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("latitude", "direction"), [(90.0, "south"), (71.0, "south"), (-71.0, "north"), (0.0, "north")]
)
def test_the_axes_of_a_polar_map_point_away_from_its_pole(latitude, direction):
    crs = CRS(crs_of(keys_of(15, {LAT: latitude, POLE: 90.0, SCALE: 1.0}))[0])
    assert [axis.direction for axis in crs.axis_info] == [direction, direction]


def test_a_mercator_with_a_latitude_and_a_scale_is_none_as_in_gdal():
    crs, note = crs_of(keys_of(7, {LAT: 40.0, SCALE: 0.9}))
    assert crs is None
    assert "latitude of origin 40.0 and a scale 0.9" in note


@pytest.mark.parametrize(
    ("units", "name", "size"),
    [
        ({UNIT: 9001}, "metre", 1.0),
        ({UNIT: 9002}, "foot", 0.3048),
        ({UNIT: 9003}, "US survey foot", 1200 / 3937),
        ({UNIT: 9036}, "kilometre", 1000.0),
        ({UNIT: 9084}, "Indian yard", 0.914398530744441),
        ({UNIT: USER, UNIT_SIZE: 0.5}, "unknown", 0.5),
        ({UNIT: USER, UNIT_SIZE: 1.0}, "metre", 1.0),
        ({UNIT_SIZE: 2.0}, "unknown", 2.0),
        ({2052: 9002}, "foot", 0.3048),
        ({}, "metre", 1.0),
    ],
)
def test_axes_and_offsets_are_in_the_unit_of_the_keys(units, name, size):
    keys = keys_of(1, {LON: 9.0, EAST: 1000.0})
    del keys[UNIT]
    crs = CRS(crs_of(keys | units)[0])
    assert {axis.unit_name for axis in crs.axis_info} == {name}
    assert crs.axis_info[0].unit_conversion_factor == pytest.approx(size, rel=1e-9)
    assert mapped(crs, 9, 0)[0] == pytest.approx(1000)


@pytest.mark.parametrize("code", [9107, 9108, 9110, 9122])
def test_every_spelling_of_degrees_is_degrees(code):
    assert crs_of({MODEL: 2, GCS: USER, DATUM: 6267, ANGLE: code})[0] == "EPSG:4267"


@pytest.mark.parametrize(
    ("units", "size"),
    [({ANGLE: 9105}, np.pi / 200), ({ANGLE: 9114}, np.pi / 3200), ({ANGLE: USER, ANGLE_SIZE: 0.001}, 0.001)],
)
def test_longitudes_may_be_in_grads_mils_and_units_of_their_own(units, size):
    crs = CRS(crs_of({MODEL: 2, GCS: USER, DATUM: 6742} | units)[0])
    assert crs.axis_info[0].unit_conversion_factor == pytest.approx(size, rel=1e-12)
    assert crs.ellipsoid.name == "GRS 1980"


def test_parameters_are_in_the_angular_unit_and_azimuths_in_degrees_or_their_own():
    grads = {CENTER_LAT: 50.0, CENTER_LON: 10.0, AZIMUTH: 30.0, RECTIFIED: 40.0, ANGLE: 9105}
    degrees = {CENTER_LAT: 45.0, CENTER_LON: 9.0, AZIMUTH: 30.0, RECTIFIED: 36.0}
    wanted = CRS(crs_of(keys_of(9815, degrees, 4267))[0])
    for keys in (grads, grads | {AZIMUTH: 100 / 3, AZIMUTH_UNIT: 9105}):
        found = CRS(crs_of(keys_of(9815, keys, 4267))[0])
        np.testing.assert_allclose(mapped(found, 12 / 0.9, 47 / 0.9), mapped(wanted, 12, 47), rtol=0, atol=1e-4)


def test_a_prime_meridian_is_in_degrees_although_epsg_gives_it_in_grads():
    crs = CRS(crs_of({MODEL: 2, GCS: USER, MERIDIAN: 8903, ANGLE: 9102, ELLIPSOID: 7016})[0])
    assert crs.prime_meridian.name == "Paris"
    assert crs.prime_meridian.longitude == pytest.approx(2.33722917)
    own = CRS(crs_of({MODEL: 2, GCS: USER, MERIDIAN: USER, MERIDIAN_LONGITUDE: 10.0, ANGLE: 9105, ELLIPSOID: 7016})[0])
    assert own.prime_meridian.longitude * own.prime_meridian.unit_conversion_factor == pytest.approx(np.radians(9))


@pytest.mark.parametrize(
    "keys",
    [
        {DATUM: 6326},
        {DATUM: 6326, MERIDIAN: 8901, ANGLE: USER, ANGLE_SIZE: 0.017453292519943295, GCS_CITATION: "m"},
        {DATUM: 6326, MAJOR: 6378137.0, INVERSE: 298.257223563},
    ],
)
def test_a_datum_that_is_an_ensemble_has_an_ellipsoid(keys):
    assert crs_of({MODEL: 2, GCS: USER} | keys)[0] == "EPSG:4326"


def test_axes_of_an_ellipsoid_win_over_a_code_as_in_gdal():
    crs = CRS(crs_of(keys_of(11, {SP1: 29.5, SP2: 45.5, MAJOR: 6378140.0, INVERSE: 298.257}))[0])
    assert crs.ellipsoid.semi_major_metre == 6378140
    assert crs.geodetic_crs.to_authority() is None
    assert crs_of({MODEL: 2, GCS: 4326, MAJOR: 6378140.0, INVERSE: 298.257})[0] == "EPSG:4326"


def test_a_datum_of_which_only_the_ellipsoid_is_known_is_not_taken_for_another():
    for name in ("foo", "GCS Name = a|Datum = unknown|Ellipsoid = Bessel 1841|Primem = Greenwich|"):
        crs, _ = crs_of({MODEL: 2, GCS: USER, GCS_CITATION: name, ELLIPSOID: 7004})
        assert crs.startswith("GEOGCRS")
        assert CRS(crs).ellipsoid.name == "Bessel 1841"


def test_other_planets_have_their_ellipsoid():
    citation = "GCS Name=Jupiter (2015)|Datum=Jupiter (2015)|PrimeM=Jupiter (2015)|Ellipsoid=Jupiter (2015)"
    keys = {GCS: USER, GCS_CITATION: citation, MAJOR: 71492000.0, MINOR: 66854000.0}
    crs = CRS(crs_of(keys_of(7, {LAT: 0.0, LON: 0.0, SCALE: 1.0}) | keys)[0])
    assert (crs.ellipsoid.name, crs.ellipsoid.semi_major_metre) == ("Jupiter (2015)", 71492000)
    assert {parameter.name for parameter in crs.coordinate_operation.params} == {
        "Latitude of natural origin", "Longitude of natural origin", "Scale factor at natural origin", "False easting",
        "False northing",
    }  # fmt: skip


def test_shifts_to_wgs_84_are_kept_where_the_datum_is_the_files_own():
    shift = {TO_WGS84: (1.0, 2.0, 3.0)}
    assert crs_of({MODEL: 2, GCS: USER, ELLIPSOID: 7004} | shift)[0].startswith("BOUNDCRS")
    assert crs_of({MODEL: 2, GCS: USER, DATUM: 6267} | shift)[0] == "EPSG:4267"


@pytest.mark.parametrize(
    ("operation", "gcs", "unit", "code"),
    [
        (16043, 4326, 9001, "EPSG:32643"),
        (16101, 4326, 9001, "EPSG:32701"),
        (17365, 4283, 9001, "EPSG:3577"),
        (10406, 4267, 9003, "EPSG:26746"),
    ],
)
def test_a_projection_may_be_an_epsg_operation(operation, gcs, unit, code):
    assert crs_of({MODEL: 1, GCS: gcs, PCS: USER, PROJECTION: operation, UNIT: unit})[0] == code


def test_a_code_with_another_datum_lies_on_that_datum():
    crs = CRS(crs_of({MODEL: 1, PCS: 32643, GCS: 4267})[0])
    assert crs.geodetic_crs.name == "NAD27"
    assert crs.coordinate_operation.name == "UTM zone 43N"
    assert crs_of({MODEL: 1, PCS: 32643, GCS: 4326, UNIT: 9001})[0] == "EPSG:32643"


def test_a_deprecated_code_is_replaced_with_a_note():
    crs, note = crs_of({MODEL: 1, PCS: 21892})
    assert crs == "EPSG:21897"
    assert "EPSG:21892 is deprecated" in note


def test_a_code_unknown_to_proj_leaves_what_other_keys_define():
    crs, note = crs_of(keys_of(1, {PCS: 9999, LON: 9.0}))
    assert CRS(crs).coordinate_operation.method_name == "Transverse Mercator"
    assert "EPSG:9999" in note
    crs, note = crs_of({MODEL: 1, PCS: 9999})
    assert crs is None
    assert "EPSG:9999" in note


@pytest.mark.parametrize(
    ("citation", "code"),
    [
        ("WGS_1984_Web_Mercator", "ESRI:102113"),
        ("WGS_1984_Web_Mercator_Auxiliary_Sphere", "EPSG:3857"),
        ("Google Maps Global Mercator", "EPSG:3857"),
    ],
)
def test_web_mercators_are_known_by_name(citation, code):
    assert crs_of(keys_of(7, {CITATION: citation}))[0] == code


IMAGINE = "IMAGINE GeoTIFF Support\nCopyright 1991 - 2005\n@(#)$RCSfile: egtf.c $ $Revision: 10.0 $\n"


def test_erdas_imagine_says_feet_names_and_datums_in_citations():
    crs = CRS(crs_of({MODEL: 1, PCS: 2838, CITATION: f"{IMAGINE}Units = international_FeeT\n"})[0])
    assert crs.equals(CRS(2913), ignore_axis_order=True)
    own = {
        GCS: USER,
        MAJOR: 6378388.0,
        MINOR: 6356911.94613,
        CITATION: f"{IMAGINE}Projection Name = Monte_Mario_3003\nUnits = meters",
        PCS_CITATION: f"{IMAGINE}Projection = Transverse Mercator",
        GCS_CITATION: f"{IMAGINE}Ellipsoid = International 1909\nDatum = Rome 1940",
    }
    crs = CRS(crs_of(keys_of(1, {LON: -3.45, SCALE: 0.9996}) | own)[0])
    assert (crs.name, crs.datum.name, crs.ellipsoid.name) == ("Monte_Mario_3003", "Rome 1940", "International 1909")


def test_an_esri_string_in_a_citation_is_the_crs():
    wkt = CRS("ESRI:54030").to_wkt("WKT1_ESRI")
    assert crs_of({MODEL: USER, PCS_CITATION: f"ESRI PE String = {wkt}"})[0] == "ESRI:54030"


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({0: 1, MODEL: 2, GCS: 4326, VERTICAL: 5030}, "EPSG:4979"),
        ({0: 0, MODEL: 2, GCS: 4326, VERTICAL: 4979}, "EPSG:4979"),
        ({0: 1, MODEL: 2, GCS: 4979}, "EPSG:4979"),
        ({0: 0, MODEL: 2, GCS: 4326, VERTICAL: 5773}, "EPSG:4326"),
        ({0: 1, MODEL: 2, GCS: 4326, VERTICAL: 5773}, "EPSG:9707"),
        ({0: 1, MODEL: 1, PCS: 2193, UNIT: 9001, VERTICAL: 4959}, "3D"),
        ({MODEL: 3, GCS: 4978}, "EPSG:4978"),
        ({MODEL: 3, GCS: 4326}, "EPSG:4978"),
    ],
)
def test_heights_above_the_ellipsoid_are_an_axis_and_others_a_crs_of_geotiff_1_1(keys, code):
    crs, note = crs_of(keys)
    assert note is None
    if code == "3D":
        assert [axis.direction for axis in CRS(crs).axis_info] == ["north", "east", "up"]
    else:
        assert crs == code


def test_heights_of_a_files_own_have_datum_and_unit():
    keys = {0: 1, MODEL: 2, GCS: 4269, VERTICAL: USER, VERTICAL_CITATION: "VCS Name = x|", VERTICAL_DATUM: 5103}
    vertical = CRS(crs_of(keys | {VERTICAL_UNIT: 9003})[0]).sub_crs_list[1]
    assert (vertical.name, vertical.datum.name) == ("x", "North American Vertical Datum 1988")
    assert vertical.axis_info[0].unit_name == "US survey foot"


@pytest.mark.parametrize("code", [9999, 5019, 4326])
def test_heights_that_make_no_sense_leave_the_horizontal_crs_and_a_note(code):
    crs, note = crs_of({0: 1, MODEL: 2, GCS: 4230, VERTICAL: code})
    assert crs == "EPSG:4230"
    assert note.startswith("no vertical CRS")


def test_pixels_have_the_unit_of_the_vertical_keys():
    assert vertical_unit({VERTICAL_UNIT: 9002}) == "foot"
    assert vertical_unit({VERTICAL_UNIT: 9096}) == "yard"
    assert vertical_unit({VERTICAL_UNIT: USER}) is None
    assert vertical_unit({VERTICAL: 6360}) == "US survey foot"
    assert vertical_unit({VERTICAL: 4979}) is None
    assert vertical_unit({VERTICAL: 9999}) is None


@pytest.mark.parametrize(
    "keys",
    [
        {MODEL: 1, CITATION: "my grid"},
        {MODEL: 0, CITATION: "my grid", UNIT: 9001},
        {GCS: 4326, CITATION: "my grid"},
        {MODEL: 2, GCS: USER, CITATION: "my grid"},
        {MODEL: 1, GCS: 4326, PCS: USER, METHOD: 99, CITATION: "my grid"},
    ],
)
def test_a_name_without_a_definition_is_no_crs_but_a_note(keys):
    assert crs_of(keys) == (None, 'no CRS: its GeoKeys name no coordinate system, only "my grid"')


def test_no_keys_are_no_note():
    assert crs_of({}) == crs_of({0: 1, 1025: 1}) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [{METHOD: (1.0, 2.0)}, {LON: "x"}, {LON: float("nan")}, {UNIT: 1}, {ANGLE: 1}, {GCS: 32643}, {DATUM: 5103},
     {UNIT: USER, UNIT_SIZE: 0.0}, {MAJOR: 0.0}, {CITATION: 5}],
)  # fmt: skip
def test_values_that_make_no_sense_never_raise(wrong):
    crs, note = crs_of(keys_of(1, {LON: 9.0} | wrong))
    assert crs is not None or note.startswith("no CRS")


def test_codes_that_proj_is_not_asked_for_are_registered_and_not_deprecated():
    projected = [code for first, last in METRIC_CODES for code in range(first, last + 1)]
    for code in (*GEOGRAPHIC_CODES, *projected):
        crs = CRS.from_epsg(code)
        assert crs.is_projected is (code in projected)
        assert not crs.is_deprecated


def test_importing_the_module_does_not_import_pyproj():
    code = "import sys, rasteret_sql.tiff.crs; assert 'pyproj' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
