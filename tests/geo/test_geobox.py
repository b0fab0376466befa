"""Grids that users ask for, or bring with the arrays and files that they have."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pyproj
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.geo.crs import normalized_crs, revolution_of, same_crs
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.geo.like import geobox_of

UTM = "EPSG:32643"
#: rasterio and odc-geo with affine 3.1
AFFINE = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
BOX = GeoBox(UTM, (10.0, 0.0, 300000.0, 0.0, -20.0, 2100000.0), height=30, width=40)
NO_CODE = pyproj.CRS("+proj=laea +lat_0=12.5 +lon_0=77.5 +datum=WGS84 +units=m").to_wkt()


# A grid


def test_bounds_are_the_edges_of_pixels_and_coordinates_their_centres() -> None:
    assert BOX.bounds == (300000.0, 2099400.0, 300400.0, 2100000.0)
    assert (BOX.x_size, BOX.y_size) == (10.0, 20.0)
    assert BOX.xs().tolist() == [300005.0 + 10 * number for number in range(40)]
    assert BOX.ys().tolist() == [2099990.0 - 20 * number for number in range(30)]
    assert BOX.xs().dtype == BOX.ys().dtype == np.float64


def test_axes_may_run_either_way() -> None:
    box = GeoBox(None, (-2.0, 0.0, 10.0, 0.0, 3.0, 5.0), height=2, width=4)
    assert box.bounds == (2.0, 5.0, 10.0, 11.0)
    assert (box.x_size, box.y_size) == (2.0, 3.0)
    assert box.xs().tolist() == [9.0, 7.0, 5.0, 3.0]
    assert box.ys().tolist() == [6.5, 9.5]


@given(row_off=st.integers(-50, 50), col_off=st.integers(-50, 50), height=st.integers(1, 50), width=st.integers(1, 50))
def test_a_window_has_the_pixels_of_its_grid(row_off: int, col_off: int, height: int, width: int) -> None:
    window = BOX.window(row_off, col_off, height, width)
    assert (window.crs, window.height, window.width) == (UTM, height, width)
    assert window.xs().tolist() == [300005.0 + 10 * (col_off + number) for number in range(width)]
    assert window.ys().tolist() == [2099990.0 - 20 * (row_off + number) for number in range(height)]
    assert window.window(-row_off, -col_off, 30, 40) == BOX


def test_a_grid_is_a_value() -> None:
    assert hash(BOX) == hash(dataclasses.replace(BOX))
    with pytest.raises(dataclasses.FrozenInstanceError):
        BOX.height = 3


@pytest.mark.parametrize(
    ("transform", "height", "width", "message"),
    [
        ((10.0, 1.0, 0.0, 0.0, -10.0, 0.0), 1, 1, "rotated or sheared"),
        ((10.0, 0.0, 0.0, 1e-9, -10.0, 0.0), 1, 1, "rotated or sheared"),
        ((0.0, 0.0, 0.0, 0.0, -10.0, 0.0), 1, 1, "pixel sizes that are not 0"),
        ((10.0, 0.0, 0.0, 0.0, 0.0, 0.0), 1, 1, "pixel sizes that are not 0"),
        ((10.0, 0.0, math.nan, 0.0, -10.0, 0.0), 1, 1, "finite"),
        ((10.0, 0.0, 0.0, 0.0, -10.0), 1, 1, r"expected finite numbers \(a, 0, c, 0, e, f\)"),
        ((10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 0, 1, "got a height of 0 pixels"),
        ((10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 1, 2**31, "got a width of 2147483648 pixels"),
    ],
)
def test_what_is_no_grid_is_refused(transform, height: int, width: int, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        GeoBox(UTM, transform, height, width)


# From bounds


def test_bounds_on_edges_stay_as_they_are() -> None:
    box = GeoBox.from_bounds((300000, 2099400, 300400, 2100000), UTM, (10, 20))
    assert box == BOX
    assert GeoBox.from_bounds(np.array(BOX.bounds), UTM, np.array([10, 20])) == BOX


@given(
    size=st.sampled_from([0.1, 0.3, 1 / 3, 1 / 3600, 10.0, 27.3]),
    first=st.integers(-10_000, 10_000),
    count=st.integers(1, 5000),
    anchor=st.sampled_from([0.0, 0.5, -7.1]),
)
def test_bounds_that_lie_on_edges_but_for_digits_gain_no_pixel(size, first, count, anchor) -> None:
    low, high = anchor + first * size, anchor + (first + count) * size
    box = GeoBox.from_bounds((low, low, high, high), None, size, (anchor, anchor))
    assert (box.height, box.width) == (count, count)
    assert np.allclose(box.bounds, (low, low, high, high), rtol=0, atol=1e-6 * size)


@given(low=st.floats(-1e6, 1e6), span=st.floats(0.01, 1e5), size=st.floats(0.5, 1e4), anchor=st.floats(-100, 100))
def test_bounds_between_edges_are_moved_outwards_by_less_than_a_pixel(low, span, size, anchor) -> None:
    box = GeoBox.from_bounds((low, low, low + span, low + span), None, size, (anchor, anchor))
    xmin, ymin, xmax, ymax = box.bounds
    slack = 2e-6 * size
    for lower, upper in ((xmin, xmax), (ymin, ymax)):
        assert low - size - slack < lower <= low + slack
        assert low + span - slack <= upper < low + span + size + slack
        shift = (lower - anchor) / size
        assert shift == pytest.approx(round(shift), abs=1e-6)
    assert box.transform[4] < 0 < box.transform[0]


def test_a_point_like_area_is_one_pixel() -> None:
    box = GeoBox.from_bounds((12.0, 13.0, 12.1, 13.1), UTM, 10)
    assert (box.bounds, box.height, box.width) == ((10.0, 10.0, 20.0, 20.0), 1, 1)


def test_a_shape_divides_bounds_exactly() -> None:
    box = GeoBox.from_shape((76.5, 12.0, 78.0, 13.0), 4326, (100, 300))
    assert box == GeoBox("EPSG:4326", (0.005, 0.0, 76.5, 0.0, -0.01, 13.0), 100, 300)
    assert box.bounds == (76.5, 12.0, 78.0, 13.0)


def test_longitudes_out_of_order_mean_over_the_antimeridian() -> None:
    assert GeoBox.from_bounds((179, -20, -179, -19), "EPSG:4326", 0.5).bounds == (179.0, -20.0, 181.0, -19.0)
    assert GeoBox.from_shape((170, -20, -170, -10), "EPSG:4326", (2, 4)).bounds == (170.0, -20.0, 190.0, -10.0)
    with pytest.raises(InvalidArgumentError, match="with an area"):
        GeoBox.from_bounds((179, -20, -179, -19), UTM, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 0, 1), UTM, 1), "bounds: got"),
        (((0, 0, math.inf, 1), UTM, 1), "bounds: got"),
        ((5, UTM, 1), "bounds: got 5"),
        ((("w", "s", "e", "n"), UTM, 1), "bounds: got"),
        (((0, 0, 1, 1), UTM, "ten"), "resolution: got 'ten'"),
        (((0, 0, 1, 1), UTM, None), "resolution: got None"),
        (((0, 0, 1, 1), UTM, 1, 5), "anchor: got 5"),
        (((0, 0, 0, 1), UTM, 1), "with an area"),
        (((0, 2, 1, 1), UTM, 1), "with an area"),
        (((0, 0, 1, 1), UTM, 0), "resolution: got 0"),
        (((0, 0, 1, 1), UTM, (1, -1)), "resolution: got"),
        (((0, 0, 1, 1), UTM, (1, 1, 1)), "resolution: got"),
        (((0, 0, 1, 1), UTM, math.nan), "resolution: got nan"),
        (((0, 0, 1, 1), UTM, 1, (0, math.nan)), "anchor: got"),
        (((0, 0, 1e6, 1e6), UTM, 1e-5), "check that resolution and bounds are in units of the CRS"),
        (((0, 0, 1, 1), "EPSG:1", 1), "crs: got 'EPSG:1'"),
    ],
)
def test_what_bounds_and_resolution_cannot_be_is_refused(arguments, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        GeoBox.from_bounds(*arguments)


@pytest.mark.parametrize("shape", [(0, 1), (1, -1), (1,), (1, 2, 3), 5, "ab"])
def test_what_is_no_shape_is_refused(shape) -> None:
    with pytest.raises(InvalidArgumentError, match="shape: got"):
        GeoBox.from_shape((0, 0, 1, 1), UTM, shape)


# CRSs


@pytest.mark.parametrize("code", [4326, 32643, 3857, 3413, 5070, 3035, 2193, 31467, 4807])
@pytest.mark.parametrize(
    "spelling", ["number", "lower", "WKT1_GDAL", "WKT1_ESRI", "WKT2_2019", "json", "dict", "object"]
)
def test_every_spelling_of_a_code_is_that_code(code: int, spelling: str) -> None:
    crs = pyproj.CRS(code)
    spelled = {
        "number": np.int64(code),
        "lower": f"epsg:{code}",
        "json": crs.to_json(),
        "dict": crs.to_json_dict(),
        "object": crs,
    }
    given_crs = spelled[spelling] if spelling in spelled else crs.to_wkt(spelling)
    assert normalized_crs(given_crs) == f"EPSG:{code}"


def test_other_authorities_keep_their_codes() -> None:
    assert normalized_crs("OGC:CRS84") == "OGC:CRS84"
    assert normalized_crs("ESRI:54008") == "ESRI:54008"
    assert normalized_crs("+proj=utm +zone=43 +datum=WGS84") == UTM


def test_a_crs_without_a_code_is_wkt2_and_stays_it() -> None:
    assert normalized_crs(pyproj.CRS("+proj=laea +lat_0=12.5 +lon_0=77.5 +datum=WGS84 +units=m")) == NO_CODE
    assert NO_CODE.startswith("PROJCRS[")
    assert normalized_crs(NO_CODE) == NO_CODE


def test_a_code_that_says_something_else_is_not_believed() -> None:
    definition = pyproj.CRS(32643).to_json_dict()
    definition["id"]["code"] = 32644
    assert normalized_crs(definition) == UTM


def test_heights_are_no_reason_to_refuse_a_crs() -> None:
    assert same_crs(normalized_crs("EPSG:32643+5703"), "EPSG:32643+5703")


def test_objects_of_other_libraries_are_taken_by_their_wkt() -> None:
    from rasterio.crs import CRS

    assert normalized_crs(CRS.from_epsg(2193)) == "EPSG:2193"
    assert normalized_crs(CRS.from_wkt(NO_CODE)) is not None

    class Spelled:
        def to_wkt(self) -> str:
            return pyproj.CRS(32643).to_wkt()

    assert normalized_crs(Spelled()) == UTM


@pytest.mark.parametrize(
    "crs", ["", "EPSG:1", "somewhere", 99999999, -1, True, 1.5, object(), [1, 2], {"type": "nothing"}, "PROJCRS[", b"x"]
)
def test_what_is_no_crs_is_refused(crs) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^crs: got .*expected an authority code"):
        normalized_crs(crs)


@pytest.mark.parametrize("crs", [5703, 4978])
def test_a_crs_without_horizontal_axes_is_refused(crs: int) -> None:
    with pytest.raises(InvalidArgumentError, match="expected one with horizontal axes"):
        normalized_crs(crs)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (UTM, UTM, True),
        (UTM, pyproj.CRS(32643).to_wkt(), True),
        ("EPSG:4326", "OGC:CRS84", True),
        ("EPSG:2193", pyproj.CRS(2193).to_wkt("WKT1_GDAL"), True),
        ("EPSG:31467", pyproj.CRS(31467).to_wkt("WKT1_GDAL"), True),
        (UTM, "EPSG:32644", False),
        (UTM, "EPSG:32743", False),
        ("EPSG:2193", "EPSG:27200", False),
        ("EPSG:4326", "EPSG:4267", False),
        ("EPSG:4326", UTM, False),
        ("EPSG:4326", "EPSG:4269", False),
        (UTM, UTM.lower(), True),
        ("EPSG:26910", "EPSG:32610", False),
        ("EPSG:25832", "EPSG:32632", False),
        ("EPSG:3857", "epsg:3857", True),
        ("EPSG:3857", UTM, False),
        (UTM, None, False),
        (None, None, True),
    ],
)
def test_crss_are_the_same_where_they_put_x_and_y_at_the_same_places(one, other, expected: bool) -> None:
    assert same_crs(one, other) is expected
    assert same_crs(other, one) is expected


def test_a_turn_is_in_units_of_the_crs() -> None:
    assert revolution_of("EPSG:4326") == 360
    assert revolution_of("OGC:CRS84") == 360
    assert revolution_of("EPSG:4807") == 400
    assert revolution_of(UTM) is None
    assert revolution_of(None) is None


# Grids of others


def test_a_grid_is_itself() -> None:
    assert geobox_of(BOX) is BOX


@AFFINE
def test_odc_geoboxes_are_taken() -> None:
    odc = pytest.importorskip("odc.geo.geobox", reason="odc-geo is not installed")
    theirs = odc.GeoBox.from_bbox((300000, 2099400, 300400, 2100000), UTM, resolution=10)
    assert geobox_of(theirs) == GeoBox(UTM, (10.0, 0.0, 300000.0, 0.0, -10.0, 2100000.0), 60, 40)
    theirs = odc.GeoBox((3, 4), theirs.affine, None)
    assert geobox_of(theirs) == GeoBox(None, (10.0, 0.0, 300000.0, 0.0, -10.0, 2100000.0), 3, 4)
    with pytest.raises(InvalidArgumentError, match="rotated"):
        geobox_of(theirs.rotate(10))


class Affine(tuple):
    """Nine numbers, as the library of this name gives them."""

    __slots__ = ()


class Stand:
    """What a GeoBox of odc-geo and a file of rasterio have."""

    def __init__(self, name: str, transform, crs=UTM, shape=(30, 40)) -> None:
        setattr(self, name, transform)
        self.crs, self.shape = crs, shape


NINE = Affine((10.0, 0.0, 300000.0, 0.0, -20.0, 2100000.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("name", ["affine", "transform"])
def test_what_has_crs_transform_and_shape_is_taken(name: str) -> None:
    assert geobox_of(Stand(name, NINE)) == BOX
    assert geobox_of(Stand(name, NINE[:6])) == BOX


@AFFINE
def test_a_rasterio_profile_and_file_are_taken(tmp_path) -> None:
    import rasterio
    from rasterio.transform import from_origin

    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=30, width=40, count=1, dtype="uint8", crs=UTM,
        transform=from_origin(300000, 2100000, 10, 20),
    ) as file:  # fmt: skip
        file.write(np.zeros((1, 30, 40), np.uint8))
    with rasterio.open(path) as file:
        assert geobox_of(file) == BOX
        assert geobox_of(file.profile) == BOX


def test_a_skew_of_rounding_is_none() -> None:
    transform = (10.0, 1e-12, 300000.0, -1e-12, -20.0, 2100000.0)
    assert geobox_of({"crs": UTM, "transform": transform, "height": 30, "width": 40}) == BOX


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"crs": UTM, "transform": NINE}, "a mapping without height, width"),
        ({"crs": UTM, "transform": NINE[:4], "height": 1, "width": 1}, "transform: got"),
        ({"crs": UTM, "transform": "north", "height": 1, "width": 1}, "transform: got"),
        ({"crs": UTM, "transform": (10, 5, 0, 5, -10, 0), "height": 1, "width": 1}, "rotated"),
        ({"crs": "x", "transform": NINE, "height": 1, "width": 1}, "crs: got 'x'"),
        ({"crs": UTM, "transform": NINE, "height": None, "width": 1}, "shape: got"),
        (Stand("transform", None), "like: got Stand"),
        (Stand("transform", NINE, shape=(1, 2, 3)), "shape: got"),
        (None, "like: got NoneType"),
        ("EPSG:4326", "like: got str"),
        (np.zeros((3, 4)), "like: got ndarray"),
    ],
)
def test_what_has_no_grid_is_refused(like, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        geobox_of(like)


# xarray


def array(box: GeoBox = BOX, reference: dict | None = None, name: str = "spatial_ref", **names: str) -> xr.DataArray:
    """An array as CF says, with the grid mapping as a coordinate."""
    x, y = names.get("x", "x"), names.get("y", "y")
    made = xr.DataArray(
        np.zeros((2, box.height, box.width), np.uint8), {x: box.xs(), y: box.ys()}, ("time", y, x), name="B04"
    )
    if reference is not None:
        made = made.assign_coords({name: ((), 0, reference)})
    return made


REFERENCE = {"crs_wkt": pyproj.CRS(32643).to_wkt(), "GeoTransform": "300000.0 10.0 0.0 2100000.0 0.0 -20.0"}


@pytest.mark.parametrize(
    "reference",
    [
        REFERENCE,
        {"spatial_ref": REFERENCE["crs_wkt"]},
        {"crs_wkt": pyproj.CRS(32643).to_wkt("WKT1_GDAL")},
        {key: value for key, value in pyproj.CRS(32643).to_cf().items() if key != "crs_wkt"},
    ],
)
def test_the_grid_of_an_array_is_that_of_its_coordinates_and_its_grid_mapping(reference) -> None:
    made = array(reference=reference)
    found = geobox_of(made)
    assert dataclasses.replace(found, crs=None) == dataclasses.replace(BOX, crs=None)
    assert same_crs(found.crs, UTM) or "unknown" in str(found.crs)
    assert geobox_of(made.to_dataset()) == found
    assert geobox_of(made.to_dataset().isel(time=0)) == found


def test_the_grid_mapping_may_have_any_name() -> None:
    made = array(reference=REFERENCE, name="where")
    made.attrs["grid_mapping"] = "where"
    assert geobox_of(made) == BOX
    assert geobox_of(made.to_dataset()) == BOX
    del made.attrs["grid_mapping"]
    made.encoding["grid_mapping"] = "where"
    assert geobox_of(made) == BOX


def test_a_grid_mapping_that_is_a_variable_of_the_dataset_is_found() -> None:
    dataset = array().to_dataset().assign(spatial_ref=((), 0, REFERENCE))
    dataset.B04.attrs["grid_mapping"] = "spatial_ref"
    assert geobox_of(dataset) == BOX


def test_an_array_that_was_cut_is_where_its_coordinates_are_not_where_its_geotransform_was() -> None:
    made = array(reference=REFERENCE)
    assert geobox_of(made.isel(x=slice(5, 20), y=slice(3, None))) == BOX.window(3, 5, 27, 15)
    assert geobox_of(made.isel(x=[7], y=[2])) == BOX.window(2, 7, 1, 1)
    assert geobox_of(made.isel(y=slice(None, None, -1))) == GeoBox(
        UTM, (10.0, 0.0, 300000.0, 0.0, 20.0, 2099400.0), 30, 40
    )
    assert geobox_of(made.isel(x=slice(None, None, 2))).transform[:3] == (20.0, 0.0, 299995.0)


def test_a_geotransform_gives_the_digits_that_float32_coordinates_lost() -> None:
    # Between 64 and 128 float32 has steps of 7.6e-6 degrees, a fortieth of these pixels.
    box = GeoBox("EPSG:4326", (1 / 3600, 0.0, 76.5, 0.0, -1 / 3600, 12.25), 300, 400)
    reference = {"crs_wkt": pyproj.CRS(4326).to_wkt(), "GeoTransform": (76.5, 1 / 3600, 0, 12.25, 0, -1 / 3600)}
    made = array(box, reference)
    made = made.assign_coords(x=made.x.astype("f4"), y=made.y.astype("f4"))
    assert geobox_of(made) == box
    del made.spatial_ref.attrs["GeoTransform"]
    assert np.allclose(geobox_of(made).bounds, box.bounds, rtol=0, atol=0.05 / 3600)


def test_an_array_without_coordinates_is_where_its_geotransform_is() -> None:
    made = array(reference=REFERENCE).drop_vars(["x", "y"])
    assert geobox_of(made) == BOX
    with pytest.raises(InvalidArgumentError, match='neither coordinates along "x" nor a GeoTransform'):
        geobox_of(array().drop_vars(["x", "y"]))


@pytest.mark.parametrize(("x", "y"), [("lon", "lat"), ("longitude", "latitude"), ("Longitude", "Latitude")])
def test_longitude_and_latitude_are_a_crs(x: str, y: str) -> None:
    box = GeoBox("EPSG:4326", (0.25, 0.0, 70.0, 0.0, -0.25, 30.0), 20, 10)
    assert geobox_of(array(box, x=x, y=y)) == box


def test_x_and_y_alone_are_none() -> None:
    assert geobox_of(array()) == dataclasses.replace(BOX, crs=None)


def test_dimensions_may_be_named_by_their_attributes() -> None:
    made = array(reference=REFERENCE, x="east", y="north")
    made.east.attrs["axis"] = "X"
    made.north.attrs["standard_name"] = "projection_y_coordinate"
    assert geobox_of(made) == BOX


@AFFINE
def test_arrays_of_rioxarray_are_taken(tmp_path) -> None:
    import rasterio
    import rioxarray
    from rasterio.transform import from_origin

    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=30, width=40, count=1, dtype="uint8", crs=UTM,
        transform=from_origin(300000, 2100000, 10, 20),
    ) as file:  # fmt: skip
        file.write(np.zeros((1, 30, 40), np.uint8))
    with rioxarray.open_rasterio(path) as opened:
        assert geobox_of(opened) == BOX
        assert geobox_of(opened.rio.clip_box(300100, 2099500, 300200, 2099700)) == geobox_of(
            opened.rio.clip_box(300100, 2099500, 300200, 2099700).drop_vars("spatial_ref").rio.write_crs(UTM)
        )
    assert geobox_of(array().rio.write_crs(UTM, grid_mapping_name="map")) == BOX
    made = array()
    with pytest.warns(FutureWarning):
        made.rio.set_crs(UTM)
    # Now only the accessor knows.
    assert not made.attrs
    assert geobox_of(made) == BOX


def test_the_attribute_crs_of_an_array_counts() -> None:
    assert geobox_of(array().assign_attrs(crs="epsg:32643")) == BOX


def test_the_grid_of_our_own_arrays_is_read_back_from_netcdf(tmp_path) -> None:
    made = array(reference=REFERENCE).to_dataset()
    made.B04.attrs["grid_mapping"] = "spatial_ref"
    made.to_netcdf(tmp_path / "a.nc")
    for decode in ("all", True, False):
        with xr.open_dataset(tmp_path / "a.nc", decode_coords=decode) as opened:
            assert geobox_of(opened) == BOX


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.assign_coords(x=np.arange(40.0) ** 2), 'irregular coordinates along "x"'),
        (lambda a: a.assign_coords(y=np.where(np.arange(30) < 29, a.y, np.nan)), 'irregular coordinates along "y"'),
        (lambda a: a.assign_coords(x=np.full(40, 3.0)), 'irregular coordinates along "x"'),
        (lambda a: a.assign_coords(x=[f"c{number}" for number in range(40)]), "no numbers"),
        (lambda a: a.isel(x=[0]), 'one coordinate along "x"'),
        (lambda a: a.isel(x=0), "with dimensions time, y, expected one along x"),
        (lambda a: a.rename(x="a", y="b"), "expected one along x"),
        (lambda a: a.assign_coords(spatial_ref=((), 0, {"GeoTransform": "1 2 3"})), "got GeoTransform '1 2 3'"),
        (lambda a: a.assign_coords(spatial_ref=((), 0, {"GeoTransform": "0 1 5 0 5 1"})), "rotated"),
        (lambda a: a.assign_coords(spatial_ref=((), 0, {"crs_wkt": "GEOGCS["})), "crs: got 'GEOGCS\\['"),
        (lambda a: a.assign_coords(spatial_ref=((), 0, {"grid_mapping_name": "odd"})), "got grid mapping 'odd'"),
    ],
)
def test_arrays_without_a_regular_grid_are_refused(change, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        geobox_of(change(array()))


def test_messages_show_no_more_than_the_beginning_of_a_crs() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        normalized_crs(json.dumps({"type": "nothing", "name": "x" * 5000}))
    assert len(str(caught.value)) < 300
