"""export to GeoTIFF: files that GDAL takes for cloud optimised, whose pixels are those of to_numpy."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from pyarrow import parquet
from rasterio.crs import CRS

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, InvalidArgumentError, RasteretError
from rasteret_sql.geo.geobox import GeoBox
from rasteret_sql.output import export_blocks
from rasteret_sql.output.cog_writer import TILE, CogBand, CogForm, CogWriter
from rasteret_sql.output.export import export
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.tiff.writing import layout
from rasteret_sql.tiff.writing.crs import geo_keys
from tests.arrays.cube_files import File, at, make_index, noise, smooth

_CHECKER = Path("/usr/lib/python3/dist-packages/osgeo_utils/samples/validate_cloud_optimized_geotiff.py")
_AT = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)


def check_cog(path: Path) -> None:
    """Check what GDAL's validate_cloud_optimized_geotiff.py checks, by tifffile."""
    data = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        head = 16 if tiff.is_bigtiff else 8
        marker = b"GDAL_STRUCTURAL_METADATA_SIZE="
        assert data[head : head + len(marker)] == marker
        first_ifd = head + 43 + int(data[head + len(marker) : head + len(marker) + 6])
        pages = list(tiff.pages)
        images = [page for page in pages if not page.subfiletype & 4]
        assert pages[0].offset == first_ifd + first_ifd % 2
        assert [page.offset for page in images] == sorted(page.offset for page in images)
        assert [page.shape[:2] for page in images] == sorted((page.shape[:2] for page in images), reverse=True)
        starts = [page.dataoffsets[0] for page in images]
        assert starts == sorted(starts, reverse=True)
        assert max(page.offset for page in pages) < min(starts)
        for page in pages:
            assert page.is_tiled
            offsets = list(page.dataoffsets)
            assert offsets == sorted(offsets)
            for offset, count in zip(offsets, page.databytecounts, strict=True):
                assert struct.unpack("<I", data[offset - 4 : offset]) == (count,)
                end = offset + count
                assert data[end - 4 : end] == data[end : end + 4]
    if _CHECKER.exists() and Path("/usr/bin/python3").exists():
        command = ["/usr/bin/python3", str(_CHECKER), "--full-check=yes", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "No module named" not in done.stderr:
            assert "is a valid cloud optimized GeoTIFF" in done.stdout, done.stdout + done.stderr


def write(path: Path, form: CogForm, pixels: np.ndarray, mask: np.ndarray, block: int) -> None:
    folder = path.with_suffix(".scratch")
    folder.mkdir()
    with CogWriter(form, folder, block) as writer, path.open("wb") as file:
        for row in range(0, mask.shape[0], block):
            for col in range(0, mask.shape[1], block):
                part = slice(row, row + block), slice(col, col + block)
                writer.add(row, col, pixels[part], mask[part])
        assert writer.write(file) == file.tell()


@pytest.mark.parametrize(
    ("dtype", "size", "bands", "is_masked", "block", "compression"),
    [
        ("uint8", (300, 200), 3, False, 2048, "deflate"),
        ("int8", (700, 700), 2, True, 1024, "none"),
        ("uint16", (2201, 1703), 3, False, 1024, "deflate"),
        ("int32", (1600, 600), 4, False, 512, "zstd"),
        ("uint64", (513, 1000), 2, False, 512, "deflate"),
        ("float32", (1500, 1400), 1, True, 512, "deflate"),
        ("float64", (1025, 1049), 2, False, 512, "zstd"),
        ("complex64", (600, 600), 1, False, 512, "deflate"),
        ("int16", (10, 20), 1, True, 512, "none"),
        ("uint8", (5000, 513), 1, True, 512, "zstd"),
    ],
)
def test_blocks_become_a_valid_cog_that_rasterio_reads_bit_for_bit(
    tmp_path, dtype, size, bands, is_masked, block, compression
):
    pixels = np.random.default_rng(0).integers(1, 120, (*size, bands)).astype(dtype)
    mask = np.ones(size, bool)
    mask[: size[0] // 3] = not is_masked
    pixels[~mask] = 0
    form = CogForm(
        GeoBox("EPSG:32643", _AT, *size),
        has_transform=True,
        dtype=np.dtype(dtype),
        bands=tuple(CogBand(f"b&{number}", is_continuous=False) for number in range(bands)),
        nodata=None if is_masked else 0,
        compression=compression,
    )
    write(tmp_path / "a.tif", form, pixels, mask, block)
    check_cog(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.crs == CRS.from_epsg(32643)
        assert tuple(file.transform)[:6] == _AT
        assert file.descriptions == tuple(f"b&{number}" for number in range(bands))
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), pixels)
        np.testing.assert_array_equal(file.dataset_mask() > 0, mask)
        factors = file.overviews(1)
    assert factors == [2 ** (number + 1) for number in range(len(form.levels) - 1)]
    assert max(form.levels[-1]) <= TILE
    for number, _ in enumerate(factors):
        # The first valid pixel of two by two is the top left one, but at the edge of the mask.
        pixels, mask = pixels[::2, ::2], mask[::2, ::2]
        with rasterio.open(tmp_path / "a.tif", overview_level=number) as file:
            got, valid = np.moveaxis(file.read(), 0, 2), file.dataset_mask() > 0
        assert got.shape == pixels.shape
        np.testing.assert_array_equal(got[mask & valid], pixels[mask & valid])
        assert (valid | ~mask).all()
        assert (valid & ~mask).any(axis=1).sum() <= 1


def test_overviews_of_what_is_measured_are_means_of_valid_pixels(tmp_path):
    pixels = smooth((1030, 1100))[..., np.newaxis]
    pixels[300:555, 200:901] = 0
    mask = np.ones(pixels.shape[:2], bool)
    form = CogForm(GeoBox(None, _AT, *mask.shape), True, pixels.dtype, (CogBand("a"),), nodata=0)
    write(tmp_path / "a.tif", form, pixels, mask, 512)
    values = np.where(pixels[..., 0] == 0, np.nan, pixels[..., 0].astype(float))
    parts = values.reshape(515, 2, 550, 2).swapaxes(1, 2).reshape(515, 550, 4)
    empty = np.isnan(parts).all(axis=2)
    parts[empty] = 0
    expected = np.where(empty, 0, np.floor(np.nanmean(parts, axis=2) + 0.5))
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        np.testing.assert_array_equal(file.read(1), expected)


def test_a_nodata_value_is_written_as_pixels_hold_it_and_without_a_word(tmp_path, caplog):
    nodata = float(np.float32(-3.4028226550889045e38))
    form = CogForm(GeoBox(None, _AT, 8, 8), True, np.dtype("float32"), (CogBand("a"),), nodata=nodata)
    write(tmp_path / "a.tif", form, np.full((8, 8, 1), nodata, "float32"), np.ones((8, 8), bool), 512)
    assert caplog.records == []
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.nodata == nodata
        assert not file.dataset_mask().any()


def test_a_mean_that_would_be_nodata_moves_by_one(tmp_path):
    pixels = np.tile(np.array([[-1, 1]], "int16"), (1024, 512))[..., np.newaxis]
    form = CogForm(GeoBox(None, _AT, 1024, 1024), True, pixels.dtype, (CogBand("a"),), nodata=0)
    write(tmp_path / "a.tif", form, pixels, np.ones((1024, 1024), bool), 1024)
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        assert set(np.unique(file.read(1))) == {-1}


def test_a_file_beyond_the_reach_of_32_bits_is_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "_CLASSIC_LIMIT", 100_000)
    pixels = noise(0, (600, 1100))[..., np.newaxis]
    form = CogForm(GeoBox("EPSG:4326", (0.1, 0, 0, 0, -0.1, 50), 600, 1100), True, pixels.dtype, (CogBand("a"),))
    write(tmp_path / "a.tif", form, pixels, np.ones((600, 1100), bool), 512)
    assert (tmp_path / "a.tif").read_bytes()[2:4] == b"\x2b\x00"
    check_cog(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(1), pixels[..., 0])


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:32643", "EPSG:4326", "OGC:CRS84", "EPSG:3857", "EPSG:3031", "EPSG:2056", "EPSG:2263", "EPSG:27700",
        "ESRI:54009", "ESRI:102008", "+proj=sinu +R=6371007.181 +units=m", "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84",
        "+proj=lcc +lat_1=20 +lat_2=40 +lat_0=30 +lon_0=7 +ellps=GRS80", "+proj=longlat +R=1737400",
        "+proj=tmerc +lat_0=3 +lon_0=5 +k=0.9 +x_0=1000 +ellps=bessel +units=us-ft",
        "+proj=stere +lat_0=90 +lat_ts=71 +lon_0=-40 +datum=WGS84",
        *(f"+proj={name} +lon_0=7 +x_0=500 +datum=WGS84" for name in ("robin", "vandg", "mill")),
        *(f"+proj={name} +lat_0=30 +lon_0=7 +x_0=500 +datum=WGS84"
          for name in ("aeqd", "cass", "gnom", "ortho", "poly", "sterea +k=0.9", "stere +k=0.9", "laea",
                       "aea +lat_1=20 +lat_2=40", "eqdc +lat_1=20 +lat_2=40", "lcc +lat_1=30 +k_0=0.9")),
        "+proj=eqc +lat_ts=30 +lat_0=10 +lon_0=7 +datum=WGS84", "+proj=cea +lat_ts=30 +lon_0=7 +datum=WGS84",
        "+proj=merc +k=0.9 +lon_0=7 +ellps=bessel", "+proj=omerc +lat_0=30 +lonc=7 +alpha=20 +gamma=20 +k=0.9 +datum=WGS84",
        "+proj=omerc +lat_0=30 +lonc=7 +alpha=20 +gamma=20 +k=0.9 +no_uoff +datum=WGS84",
        "+proj=geos +h=35785831 +lon_0=0 +a=6378169 +b=6356583.8 +sweep=y",
    ],
)  # fmt: skip
def test_a_crs_is_read_back_by_gdal_and_by_us(tmp_path, crs):
    import pyproj

    wanted = pyproj.CRS.from_user_input(crs)
    text = crs if ":" in crs and not crs.startswith("+") else wanted.to_wkt()
    form = CogForm(GeoBox(text, _AT, 8, 8), True, np.dtype("uint8"), (CogBand("a"),))
    write(tmp_path / "a.tif", form, np.ones((8, 8, 1), "uint8"), np.ones((8, 8), bool), 512)
    with rasterio.open(tmp_path / "a.tif") as file:
        found = pyproj.CRS.from_wkt(file.crs.to_wkt())
    # Datums without a name are taken for others with their ellipsoid; what matters is where points lie.
    there = pyproj.Transformer.from_crs(found.geodetic_crs, found, always_xy=True)
    expected = pyproj.Transformer.from_crs(wanted.geodetic_crs, wanted, always_xy=True)
    np.testing.assert_allclose(there.transform(6.5, 35.0), expected.transform(6.5, 35.0), rtol=1e-9, atol=1e-6)
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
    ((ours,),) = rs.connect().sql(f"SELECT crs FROM '{tmp_path / 'i.parquet'}'").fetchall()
    assert pyproj.CRS.from_user_input(ours).equals(wanted, ignore_axis_order=True)


def test_a_crs_that_geotiff_cannot_say_is_refused():
    rotated = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39 +lon_0=18 +R=6371229"
    with pytest.raises(InvalidArgumentError, match=r"^crs: got .*, expected one that GeoTIFF can express"):
        geo_keys(rotated)


@pytest.fixture(scope="module")
def files() -> list[File]:
    options = {"nodata": 0, "scales": [0.0001], "offsets": [-0.1], "units": ["reflectance"]}
    edge = smooth((900, 1300))
    edge[:, :100] = 0
    return [
        *(File(f"i{day}", "red", smooth((900, 1300), phase=day) + 1, day, options=options) for day in (1, 2)),
        *(File(f"i{day}", "nir", noise(day, (900, 1300)), day, options=options) for day in (1, 2)),
        File("i3", "red", edge, 3, options=options | {"transform": at(600_000.0 + 5000)}),
        File("i1", "scl", noise(9, (450, 650), "uint8"), 1, options={"transform": at(size=20.0)}),
    ]


@pytest.fixture(scope="module")
def index(files, tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("files"), files)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of one tile, as those of a file too large for memory are many."""
    monkeypatch.setattr(export_blocks, "BLOCK_BYTES", 1)


def equals(path: Path, array, number: int = 0) -> None:
    check_cog(path)
    with rasterio.open(path) as file:
        got, masks = file.read(), file.read_masks() > 0
        assert tuple(file.transform)[:6] == tuple(array.transform)
        assert CRS.from_user_input(array.crs) == file.crs
        assert file.descriptions == array.bands
    np.testing.assert_array_equal(masks, array.mask[number])
    np.testing.assert_array_equal(got[masks], array.data[number][array.mask[number]])


@pytest.mark.usefixtures("small_blocks")
def test_native_pixels_are_those_of_to_numpy_and_of_our_own_reading_of_the_file(index, tmp_path):
    query = f"FROM '{index}' WHERE item_id = 'i1'"
    wanted = {"bands": ["red", "nir"], "bbox": [600_037.0, 1_392_000.0, 611_111.0, 1_399_333.0]}
    wanted |= {"geometry_crs": "EPSG:32643"}
    report = export(query, tmp_path / "a.tif", **wanted)
    array = rs.to_numpy(query, **wanted)
    equals(tmp_path / "a.tif", array)
    (file,) = report.files
    assert (file.path, file.nbytes) == (tmp_path / "a.tif", (tmp_path / "a.tif").stat().st_size)
    assert (file.bands, file.dtypes, file.shape) == (("red", "nir"), ("uint16", "uint16"), array.shape[2:])
    assert (file.crs, file.transform, file.times, file.item_ids) == (
        "EPSG:32643", array.transform, ("2024-01-01T10:00:00Z",), ("i1",)
    )  # fmt: skip
    assert report.failures == ()
    assert report.requests > 0
    assert report.fetched_bytes > 0
    with rasterio.open(tmp_path / "a.tif") as opened:
        assert opened.scales == (0.0001, 0.0001)
        assert opened.offsets == (-0.1, -0.1)
        assert opened.units == ("reflectance", "reflectance")
        assert opened.nodata == 0
        assert opened.tags()["item_ids"] == "i1"
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "again.parquet")
    again = rs.to_numpy(tmp_path / "again.parquet")
    np.testing.assert_array_equal(again.data, array.data)
    np.testing.assert_array_equal(again.mask, array.mask)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "again.parquet"]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("mosaic", ["first", "last", "mean", "median", "count"])
def test_a_mosaic_on_another_grid_is_that_of_to_numpy_block_by_block(index, tmp_path, mosaic):
    wanted = {
        "bands": ["red"], "crs": "EPSG:4326", "resolution": 0.0001, "resampling": "bilinear", "groupby": "collection",
        "mosaic": mosaic,
    }  # fmt: skip
    export(index, tmp_path / "a.tif", **wanted)
    array = rs.to_numpy(index, **wanted)
    assert max(array.shape[2:]) > 2 * TILE
    check_cog(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        got = file.read()
        masks = file.read_masks() > 0
    if mosaic != "count":
        np.testing.assert_array_equal(masks, array.mask[0])
    np.testing.assert_array_equal(got[array.mask[0]], array.data[0][array.mask[0]])


def test_physical_values_are_floats_with_nan(index, tmp_path):
    query = f"FROM '{index}' WHERE item_id = 'i3'"
    export(query, tmp_path / "a.tif", mask_and_scale=True, overviews="none")
    array = rs.to_numpy(query)
    with rasterio.open(tmp_path / "a.tif") as file:
        got = file.read()
        assert np.isnan(file.nodata)
        assert file.scales == (1.0,)
        assert file.overviews(1) == []
    expected = array.data[0].astype("float32") * np.float32(0.0001) + np.float32(-0.1)
    np.testing.assert_array_equal(got[array.mask[0]], expected[array.mask[0]])
    assert np.isnan(got[~array.mask[0]]).all()


def test_several_times_are_a_file_each_by_what_stands_in_the_name(index, tmp_path):
    query = f"FROM '{index}' WHERE item_id IN ('i1', 'i2')"
    report = export(query, tmp_path / "{item}-{band}-{date}.tif", bands=["red", "nir"])
    names = ["i1-red-2024-01-01", "i1-nir-2024-01-01", "i2-red-2024-01-02", "i2-nir-2024-01-02"]
    assert [file.path.stem for file in report.files] == names
    assert [file.bands for file in report.files] == [("red",), ("nir",), ("red",), ("nir",)]
    array = rs.to_numpy(query, bands=["nir"])
    equals(tmp_path / "i2-nir-2024-01-02.tif", array, 1)
    times = export(query, tmp_path / "{time}.tif", bands=["red"]).files
    assert [file.path.stem for file in times] == ["20240101T100000", "20240102T100000"]


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        (
            "a.tif",
            {"bands": ["red"]},
            r"^path: got 'a\.tif' for 3 slices of time, .* put \{date\}, \{time\} or \{item\}",
        ),
        ("{day}.tif", {"bands": ["red"]}, r"^path: got \{day\} .*, expected one of \{item\}"),
        ("{.tif", {"bands": ["red"]}, r"^path: got '\{\.tif', expected braces"),
        ("{item}.tif", {"bands": ["red"], "groupby": "collection"}, r"which has 3 items, expected one"),
        ("{time}.tif", {"bands": ["red"], "groupby": "collection", "mosaic": "no"}, r"^mosaic: got 'no'"),
        ("{item}.tif", {}, r"^bands: red is uint16 and scl is uint8, expected one dtype"),
        ("a.png", {}, r"^path: got 'a\.png', expected a name that ends in \.tif"),
        ("a.tif", {"overviews": "cubic"}, r"^overviews: got 'cubic', expected one of auto"),
        ("a.tif", {"compression": "lzw"}, r"^compression: got 'lzw'"),
        ("a.zarr", {"nodata": 3}, r"^nodata: got 3 for \.zarr"),
        ("a.tif", {"bands": ["red"], "groupby": "collection", "nodata": 70_000}, r"^nodata: got 70000, .* uint16"),
        ("a.tif", {"bands": ["red"], "on_error": "skip"}, r"^on_error: got 'skip'"),
        ("nowhere/a.tif", {}, r"the folder .*nowhere does not exist"),
    ],
)
def test_what_no_file_can_be_is_refused_before_anything_is_read(index, tmp_path, name, wanted, message):
    onto = {"crs": "EPSG:32643", "resolution": 10}
    with pytest.raises(InvalidArgumentError, match=message):
        export(index, tmp_path / name, **onto, **wanted)
    assert list(tmp_path.iterdir()) == []


def test_files_without_nodata_get_an_internal_mask_where_there_is_nothing(index, tmp_path):
    wanted = {"bands": ["scl"], "bbox": [599_000, 1_395_000, 602_000, 1_401_000], "geometry_crs": "EPSG:32643"}
    wanted |= {"crs": "EPSG:32643", "resolution": 20}
    export(index, tmp_path / "a.tif", **wanted)
    array = rs.to_numpy(index, **wanted)
    assert not array.mask.all()
    equals(tmp_path / "a.tif", array)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.nodata is None
        assert file.mask_flag_enums == ([rasterio.enums.MaskFlags.per_dataset],)


def test_a_nodata_value_takes_the_place_of_what_has_none(index, tmp_path):
    wanted = {"bands": ["scl"], "bbox": [599_000, 1_395_000, 602_000, 1_401_000], "geometry_crs": "EPSG:32643"}
    wanted |= {"crs": "EPSG:32643", "resolution": 20}
    export(index, tmp_path / "a.tif", nodata=255, **wanted)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.nodata == 255
        np.testing.assert_array_equal(file.read(1) == 255, ~rs.to_numpy(index, **wanted).mask[0, 0])
    with pytest.raises(InvalidArgumentError, match=r'^nodata: got 7, which is a reading of "scl" at row \d+, column'):
        export(index, tmp_path / "b.tif", nodata=7, **wanted)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_bands_with_data_in_different_places_are_refused_without_a_nodata_value(tmp_path):
    mask = np.ones((64, 64), bool)
    mask[:5] = False
    index = make_index(tmp_path, [File("i", "a", noise(1), mask=mask), File("i", "b", noise(2))])
    with pytest.raises(InvalidArgumentError, match=r'^bands: at row 0, column 0 one of "a" and "b" has data'):
        export(index, tmp_path / "x.tif")
    assert not (tmp_path / "x.tif").exists()
    export(index, tmp_path / "x.tif", nodata=0)
    array = rs.to_numpy(index)
    with rasterio.open(tmp_path / "x.tif") as file:
        np.testing.assert_array_equal(file.read_masks() > 0, array.mask[0])


def test_pictures_with_alpha_are_masked_by_it_and_keep_it(tmp_path):
    pixels = np.stack([noise(number, (64, 64), "uint8") for number in range(4)])
    pixels[3] = np.where(noise(9) % 3 == 0, 0, 255)
    write_cog(tmp_path / "rgba.tif", pixels, photometric="rgb", alpha=True, transform=_AT)
    rs.build_index(str(tmp_path / "rgba.tif"), tmp_path / "i.parquet")
    export(tmp_path / "i.parquet", tmp_path / "a.tif")
    check_cog(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.colorinterp[3].name == "alpha"
        np.testing.assert_array_equal(file.dataset_mask() > 0, pixels[3] > 0)
        np.testing.assert_array_equal(file.read(4), pixels[3])
        np.testing.assert_array_equal(file.read(1)[pixels[3] > 0], pixels[0][pixels[3] > 0])


def test_bands_with_two_nodata_values_are_refused_without_one_for_both(tmp_path):
    index = make_index(
        tmp_path,
        [File("i", "a", noise(1), options={"nodata": 0}), File("i", "b", noise(2), options={"nodata": 1})],
    )
    with pytest.raises(InvalidArgumentError, match=r"^nodata: a has 0\.0 and b has 1\.0, expected one value"):
        export(index, tmp_path / "x.tif")


def test_overviews_are_means_of_what_is_measured_and_values_of_classes(tmp_path):
    data = noise(1, (1024, 1024), "uint8")
    index = make_index(tmp_path, [File("i", "red", data), File("i", "scl", data)])
    export(index, tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        red, scl = file.read()
    np.testing.assert_array_equal(scl, data[::2, ::2])
    means = np.floor(data.astype(float).reshape(512, 2, 512, 2).mean(axis=(1, 3)) + 0.5)
    np.testing.assert_array_equal(red, means)
    np.testing.assert_array_equal(
        red, rs.to_numpy(index, bands=["red"], crs="EPSG:32643", resolution=20, resampling="average").data[0, 0]
    )
    export(index, tmp_path / "b.tif", overviews="nearest")
    with rasterio.open(tmp_path / "b.tif", overview_level=0) as file:
        np.testing.assert_array_equal(file.read(1), data[::2, ::2])


def test_red_green_and_blue_bytes_are_a_picture_in_colour(tmp_path):
    index = make_index(tmp_path, [File("i", name, noise(1, (32, 32), "uint8")) for name in ("red", "green", "blue")])
    export(index, tmp_path / "a.tif", bands=["red", "green", "blue"])
    with rasterio.open(tmp_path / "a.tif") as file:
        assert [each.name for each in file.colorinterp] == ["red", "green", "blue"]


def exported(tmp_path, data, mask=None, **options):
    """One file, exported as it is: (source, export, what to_numpy reads of the source)."""
    write_cog(tmp_path / "in.tif", data, mask, transform=_AT, **options)
    rs.build_index(str(tmp_path / "in.tif"), tmp_path / "i.parquet")
    export(tmp_path / "i.parquet", tmp_path / "out.tif")
    check_cog(tmp_path / "out.tif")
    return tmp_path / "in.tif", tmp_path / "out.tif", rs.to_numpy(tmp_path / "i.parquet")


def colours(path):
    with rasterio.open(path) as file:
        return [each.name for each in file.colorinterp], file.mask_flag_enums, file.read_masks()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_colours_and_alpha_stay_those_of_the_file(tmp_path, dtype, has_alpha):
    data = np.random.default_rng(0).integers(1, 200, (3 + has_alpha, 600, 64)).astype(dtype)
    if has_alpha:
        data[3] = np.where(np.arange(64) % 3, 255, 0)
    source, target, array = exported(tmp_path, data, photometric="rgb", alpha=has_alpha)
    names, flags, masks = colours(source)
    assert colours(target)[:2] == (names, flags)
    assert names == ["red", "green", "blue", "alpha"][: 3 + has_alpha]
    np.testing.assert_array_equal(colours(target)[2], masks)
    with rasterio.open(target) as file:
        np.testing.assert_array_equal(file.read(), array.data[0])
    with rasterio.open(target, overview_level=0) as file:
        assert file.dataset_mask().all()


def test_a_palette_is_kept_with_its_classes_in_all_levels(tmp_path):
    data = np.random.default_rng(0).choice([1, 4, 200], (600, 600)).astype("uint8")
    colors = np.random.default_rng(3).integers(0, 256, (256, 3)).astype(np.uint8)
    source, target, _ = exported(tmp_path, data, photometric="palette", colormap=colors)
    assert colours(target)[0] == ["palette"]
    with rasterio.open(source) as one, rasterio.open(target) as other:
        assert one.colormap(1) == other.colormap(1)
        np.testing.assert_array_equal(other.read(1), data)
    with rasterio.open(target, overview_level=0) as file:
        np.testing.assert_array_equal(file.read(1), data[::2, ::2])
        assert file.colormap(1)[200] == (*colors[200].tolist(), 255)


def test_palettes_that_differ_are_left_out_and_named_in_the_log(tmp_path, caplog):
    colors = np.random.default_rng(3).integers(0, 256, (256, 3)).astype(np.uint8)
    files = [
        File(name, "cover", noise(1, (32, 32), "uint8"),
             options={"photometric": "palette", "colormap": colors + number, "transform": at(600_000.0 + 320 * number)})
        for number, name in enumerate("ij")
    ]  # fmt: skip
    index = make_index(tmp_path, files)
    onto = {"crs": "EPSG:32643", "resolution": 10, "groupby": "collection"}
    export(index, tmp_path / "a.tif", **onto)
    assert colours(tmp_path / "a.tif")[0] == ["gray"]
    assert "have different palettes" in caplog.text
    export(f"FROM '{index}' WHERE item_id = 'j'", tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.colormap(1)[9][:3] == tuple((colors[9] + 1).astype(np.uint8).tolist())


def test_pixels_under_a_mask_stay_those_of_the_file(tmp_path):
    data, mask = noise(1, (600, 64), "uint8"), noise(2, (600, 64)) % 3 > 0
    _, target, array = exported(tmp_path, data, mask)
    with rasterio.open(target) as file:
        np.testing.assert_array_equal(file.read(1), data)
        np.testing.assert_array_equal(file.read(1), array.data[0, 0])
        np.testing.assert_array_equal(file.dataset_mask() > 0, mask)


@pytest.mark.parametrize("name", ["i_a.tif", "link.tif", "{item}_a.tif", "i.parquet", "tiles.parquet"])
def test_an_export_onto_what_it_reads_is_refused_before_anything_is_written(tmp_path, name):
    index = make_index(tmp_path, [File("i", "a", noise(1))])
    (tmp_path / "link.tif").symlink_to(tmp_path / "i_a.tif")
    parquet.write_table(rs.read_tiles(index).read_all(), tmp_path / "tiles.parquet")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        InvalidArgumentError, match=r"which is read for it|is an index or holds rows of read_tiles, which"
    ):
        export(index, tmp_path / name, bbox=(600_000, 1_399_900, 600_100, 1_400_000), geometry_crs="EPSG:32643")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_fails_ends_the_export_or_is_nodata_and_named(tmp_path):
    index = make_index(tmp_path, [File("i", "a", noise(1), 1), File("j", "a", noise(2), 2)])
    (tmp_path / "j_a.tif").unlink()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(AssetNotFoundError, match=r"j_a\.tif"):
        export(f"FROM '{index}' WHERE item_id = 'j'", tmp_path / "a.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    report = export(index, tmp_path / "{item}.tif", on_error="nodata")
    (failure,) = report.failures
    assert failure.startswith('asset "a" of item j: ')
    with rasterio.open(tmp_path / "j.tif") as file:
        assert not file.dataset_mask().any()


def test_a_file_takes_the_place_of_an_older_one_once_it_is_whole(index, tmp_path):
    query = f"FROM '{index}' WHERE item_id = 'i3'"
    (tmp_path / "a.tif").write_text("older")
    with pytest.raises(RasteretError):
        export(f"FROM '{index}' WHERE item_id = 'none'", tmp_path / "a.tif")
    assert (tmp_path / "a.tif").read_text() == "older"
    export(query, tmp_path / "a.tif")
    check_cog(tmp_path / "a.tif")


def test_a_disk_that_is_full_is_an_error_of_ours_and_leaves_nothing(index, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CogWriter, "write", full)
    with pytest.raises(RasteretError, match=r"a\.tif: could not be written: No space left on device"):
        export(f"FROM '{index}' WHERE item_id = 'i3'", tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_size_of_the_file(tmp_path):
    import sys

    files = [File("i", name, noise(1, (6000, 6000)), options={"tile": 512, "nodata": 0}) for name in ("a", "b", "c")]
    index = make_index(tmp_path, files)
    code = (
        "import re, sys\n"
        "from rasteret_sql.output.export import export\n"
        "export(sys.argv[1], sys.argv[2], bands=sys.argv[3].split(','))\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]) // 1024)\n"
    )
    peaks = [
        int(subprocess.run([sys.executable, "-c", code, index, tmp_path / "x.tif", bands], check=True,
                           capture_output=True).stdout)
        for bands in ("a", "a,b,c")
    ]  # fmt: skip
    assert peaks[1] < peaks[0] + 150
    assert peaks[1] < 600
