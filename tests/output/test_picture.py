"""Pictures: their pixels against rasterio's, what is fetched for them, and what they show when nobody says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import imagecodecs
import numpy as np
import pyarrow as pa
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError, InvalidIndexError
from rasteret_sql.io.identity import UNKNOWN
from rasteret_sql.output import picture_pixels, picture_plan
from rasteret_sql.output.colormaps import MAX_CLASSES, SUGGESTED, class_colors, colormap_colors
from rasteret_sql.output.file_colors import color_table
from rasteret_sql.output.picture import Picture, picture
from rasteret_sql.output.picture_bands import KnownAsset, choose_bands
from rasteret_sql.plan.bands import IndexBand
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer
from tests.arrays.cube_files import NORTH, WEST, File, at, make_index, noise, smooth

RGB = ("red", "green", "blue")


def stretched(bands, valid, percentiles=(2, 98)):
    """RGB of bands, black and white at percentiles of the valid pixels."""
    image = np.zeros((*valid.shape, 3), np.uint8)
    for channel, values in enumerate(bands):
        low, high = np.percentile(values[valid].astype(float), percentiles)
        image[..., channel] = np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)
    return image


def gray_of(values, valid, percentiles=(2, 98)):
    return stretched([values] * 3, valid, percentiles)


def scene(folder, *, size=512, overviews=(2, 4), base=None, **options):
    """One item with three bands; the first pixels of each are nodata."""
    files = []
    for seed, name in enumerate(RGB):
        data = noise(seed, (size, size))
        data[: size // 4, : size // 8] = 0
        files.append(File("a", name, data, options={"tile": 64, "overviews": overviews, "nodata": 0.0, **options}))
    return make_index(folder, files, base)


def overview(folder, item, asset, level):
    with rasterio.open(folder / f"{item}_{asset}.tif", overview_level=level - 1) as source:
        return source.read(1, masked=True)


def test_colours_are_those_of_the_overview_stretched_by_percentiles(tmp_path):
    shown = picture(scene(tmp_path), size=128)
    bands = [overview(tmp_path, "a", name, 2) for name in RGB]
    valid = ~np.ma.getmaskarray(bands[0])
    assert shown.levels == (2,)
    assert shown.bands == RGB
    np.testing.assert_array_equal(shown.pixels[..., 3], np.where(valid, 255, 0))
    expected = stretched([band.filled(0) for band in bands], valid)
    np.testing.assert_array_equal(shown.pixels[valid, :3], expected[valid])


def test_a_size_between_two_overviews_averages_the_finer_one_as_gdal_does(tmp_path):
    shown = picture(scene(tmp_path), bands=["red"], size=100, percentiles=(0, 100))
    with (
        rasterio.open(tmp_path / "a_red.tif", overview_level=1) as source,
        WarpedVRT(
            source, crs=source.crs, transform=rasterio.Affine(*shown.transform), width=100, height=100,
            resampling=Resampling.average,
        ) as warped,
    ):  # fmt: skip
        values = warped.read(1, masked=True)
    valid = ~np.ma.getmaskarray(values)
    assert shown.levels == (2,)
    np.testing.assert_array_equal(shown.pixels[..., 3] > 0, valid)
    low, high = shown.limits[0]
    expected = (values.filled(0).astype(float) - low) / (high - low) * 255
    # GDAL's weights are floats of 32 bits, and both round to whole values first.
    assert np.abs(shown.pixels[..., 0] - expected)[valid].max() <= 1.1


def test_pixels_are_never_finer_than_those_of_the_files(tmp_path):
    shown = picture(scene(tmp_path, size=128), bands=["red"], size=4096)
    values = rasterio.open(tmp_path / "a_red.tif").read(1)
    assert shown.pixels.shape == (128, 128, 4)
    assert shown.levels == (0,)
    np.testing.assert_array_equal(shown.pixels[values > 0, :3], gray_of(values, values > 0)[values > 0])


def test_a_large_file_costs_an_overview_and_nothing_else(tmp_path):
    write_cog(tmp_path / "large.tif", noise(1, (4096, 4096)), tile=256, overviews=(2, 4, 8, 16))
    rs.build_index(str(tmp_path / "large.tif"), tmp_path / "i.parquet")
    with RangeServer(tmp_path) as server:
        table = pa.Table.from_pylist([{"href": server.url("large.tif"), "item_id": "a", "asset": "red"}])
        rs.build_index(table, tmp_path / "served.parquet")
        server.reset()
        shown = picture(tmp_path / "served.parquet", size=256)
        asked = server.ranges_of("large.tif")
    assert shown.levels == (4,)
    assert (shown.requests, len(asked)) == (1, 1)
    assert shown.nbytes == sum(end - start for start, end in asked)
    assert shown.nbytes < 256 * 256 * 2 * 1.1
    assert shown.nbytes < (tmp_path / "large.tif").stat().st_size / 100


def test_masks_are_transparent(tmp_path):
    mask = np.ones((64, 64), bool)
    mask[10:20, 5:9] = False
    index = make_index(tmp_path, [File("a", "red", noise(1), mask=mask)])
    np.testing.assert_array_equal(picture(index).pixels[..., 3] > 0, mask)


def test_classes_are_never_mixed_and_have_a_colour_each(tmp_path):
    data = np.random.default_rng(0).choice([1, 4, 7], (256, 256)).astype(np.uint8)
    index = make_index(tmp_path, [File("a", "kinds", data, options={"overviews": (2,)})])
    shown = picture(index, size=100)
    assert set(shown.classes) == {1, 4, 7}
    found = {tuple(color) for color in shown.pixels[..., :3].reshape(-1, 3).tolist()}
    assert found == {tuple(bytes.fromhex(color[1:])) for color in shown.classes.values()}
    assert shown.limits == ()


def test_classes_get_a_map_of_colours_where_one_is_asked_for(tmp_path):
    index = make_index(tmp_path, [File("a", "kinds", np.full((64, 64), 3, np.uint8))])
    shown = picture(index, colormap="viridis")
    assert shown.classes == {}
    assert shown.colormap == "viridis"
    np.testing.assert_array_equal(shown.pixels[0, 0, :3], colormap_colors("viridis")[128])


def test_many_values_of_eight_bits_are_no_classes(tmp_path):
    data = np.tile(np.arange(MAX_CLASSES + 1, dtype=np.uint8), (64, 3))
    shown = picture(make_index(tmp_path, [File("a", "gray", data)]))
    assert shown.classes == {}
    assert shown.colormap == "gray"


def test_a_palette_gives_the_colours_of_the_file(tmp_path):
    colors = np.random.default_rng(3).integers(0, 256, (256, 3)).astype(np.uint8)
    data = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64).astype(np.uint8)
    options = {"photometric": "palette", "colormap": colors}
    index = make_index(tmp_path, [File("a", "cover", data, options=options)])
    shown = picture(index)
    np.testing.assert_array_equal(shown.pixels[..., :3], colors[data])
    with rasterio.open(tmp_path / "a_cover.tif") as source:
        assert source.colormap(1)[17][:3] == tuple(bytes.fromhex(shown.classes[17][1:]))
    assert shown.requests == 2


def test_a_file_without_a_palette_has_no_table_of_colours(tmp_path):
    write_cog(tmp_path / "a.tif", noise(1), tile=32)
    assert color_table(str(tmp_path / "a.tif"), UNKNOWN)[0] is None


def test_the_scene_classification_has_the_colours_that_esa_gives_it():
    vegetation, water = class_colors(np.array([4, 6]), "SCL")
    assert (vegetation.tolist(), water.tolist()) == ([0, 160, 0], [0, 0, 255])
    assert class_colors(np.array([4, 60]), "scl").tolist() == class_colors(np.array([4, 60]), "other").tolist()


def test_pictures_in_colour_are_shown_as_they_are_unless_percentiles_are_given(tmp_path):
    data = np.random.default_rng(1).integers(20, 90, (3, 64, 64)).astype(np.uint8)
    index = make_index(tmp_path, [File("a", "visual", data, options={"photometric": "rgb"})])
    shown = picture(index)
    np.testing.assert_array_equal(np.moveaxis(shown.pixels[..., :3], 2, 0), data)
    assert shown.limits == ((0.0, 255.0),) * 3
    assert picture(index, percentiles=(0, 100)).pixels[..., :3].max() == 255


def test_alpha_of_a_file_is_that_of_the_picture_and_no_band(tmp_path):
    data = np.random.default_rng(1).integers(1, 255, (4, 64, 64)).astype(np.uint8)
    data[3] = np.where(data[3] > 99, 255, 0)
    index = make_index(tmp_path, [File("a", "visual", data, options={"photometric": "rgb", "alpha": True})])
    shown = picture(index, bands=["visual"])
    assert len(shown.bands) == 3
    np.testing.assert_array_equal(shown.pixels[..., 3], data[3])
    np.testing.assert_array_equal(picture(index).pixels, shown.pixels)


def tiled(folder, seed, **options):
    """Items that overlap, each with holes."""
    rng = np.random.default_rng(seed)
    files = []
    for number in range(12):
        data = noise(seed * 100 + number, (64, 64))
        data[rng.random(data.shape) < rng.choice([0.0, 0.02, 0.4])] = 0
        west, north = WEST + 10 * int(rng.integers(0, 80)), NORTH - 10 * int(rng.integers(0, 80))
        properties = {"eo:cloud_cover": float(rng.integers(0, 5)) if rng.random() < 0.8 else None}
        options = {"transform": at(west, north), "nodata": 0.0} | options
        files.append(File(f"i{number}", "red", data, when=number + 1, properties=properties, options=options))
    return files


def laid(files, box, order):
    """What is seen of files that lie on top of each other."""
    out = np.zeros((box.shape[0], box.shape[1]), np.uint16)
    for file in order:
        a, _, west, _, _, north = file.options["transform"]
        row, col = round((box.top - north) / a), round((west - box.left) / a)
        part = out[row : row + 64, col : col + 64]
        np.copyto(part, file.data, where=part == 0)
    return out


class Box:
    def __init__(self, shown):
        self.shape = shown.pixels.shape
        self.left, _, _, self.top = shown.bounds


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mosaic", ["first", "last"])
def test_each_pixel_is_that_of_the_clearest_item_then_the_earliest(tmp_path, seed, mosaic):
    files = tiled(tmp_path, seed)
    index = make_index(tmp_path, files)
    shown = picture(index, mosaic=mosaic, percentiles=(0, 100), size=4096)
    clouds = [file.properties["eo:cloud_cover"] for file in files]
    order = sorted(range(12), key=lambda n: (99 if clouds[n] is None else clouds[n], n), reverse=mosaic == "last")
    values = laid(files, Box(shown), [files[number] for number in order])
    np.testing.assert_array_equal(shown.pixels[..., 3] > 0, values > 0)
    np.testing.assert_array_equal(shown.pixels[values > 0, :3], gray_of(values, values > 0, (0, 100))[values > 0])


def test_items_of_a_query_lie_in_the_order_of_its_rows(tmp_path):
    files = tiled(tmp_path, 9)
    index = make_index(tmp_path, files)
    shown = picture(f"FROM '{index}' ORDER BY datetime DESC", percentiles=(0, 100))
    values = laid(files, Box(shown), files[::-1])
    np.testing.assert_array_equal(shown.pixels[values > 0, :3], gray_of(values, values > 0, (0, 100))[values > 0])


def test_items_that_nobody_would_see_are_not_read(tmp_path):
    with RangeServer(tmp_path) as server:
        files = [
            File(f"i{number}", "red", noise(number), when=number + 1, properties={"eo:cloud_cover": 20.0 - number})
            for number in range(20)
        ]
        index = make_index(tmp_path, files, server.base_url)
        server.reset()
        shown = picture(index)
        asked = {request.path for request in server.requests}
    assert shown.item_ids == ("i19",)
    assert asked == {"i19_red.tif"}


def test_a_median_reads_all_items(tmp_path):
    files = [File(f"i{number}", "red", np.full((64, 64), 100 * (number + 1), np.uint16)) for number in range(3)]
    files[0].data[:, :32] = 900
    shown = picture(make_index(tmp_path, files), mosaic="median", percentiles=(0, 100))
    assert len(shown.item_ids) == 3
    assert shown.limits == ((200.0, 300.0),)


def test_items_whose_scales_differ_are_compared_as_physical_values(tmp_path):
    left = File("a", "red", np.full((64, 64), 1000, np.uint16), options={"scales": (0.0001,), "offsets": (0.0,)})
    right = File(
        "b", "red", np.full((64, 64), 2000, np.uint16),
        options={"scales": (0.0001,), "offsets": (-0.1,), "transform": at(WEST + 640)},
    )  # fmt: skip
    shown = picture(make_index(tmp_path, [left, right]))
    assert shown.pixels.shape == (64, 128, 4)
    assert np.unique(shown.pixels[..., 0]).tolist() == [128]
    ((low, high),) = shown.limits
    assert (low + high) / 2 == pytest.approx(0.1)


def test_files_of_two_zones_share_the_grid_that_most_have(tmp_path):
    files = [
        File("a", "red", noise(1), options={"crs": "EPSG:32643", "transform": at(829_000.0)}),
        File("b", "red", noise(2), options={"crs": "EPSG:32643", "transform": at(829_640.0)}),
        File("c", "red", noise(3), options={"crs": "EPSG:32644", "transform": at(179_000.0)}),
    ]
    shown = picture(make_index(tmp_path, files), size=300)
    assert shown.crs == "EPSG:32643"
    assert set(shown.item_ids) == {"a", "b", "c"}
    _, columns = np.nonzero(shown.pixels[..., 3])
    assert columns.min() <= 2
    assert columns.max() >= shown.pixels.shape[1] - 3


def test_files_far_apart_are_shown_in_web_mercator(tmp_path):
    files = [
        File("a", "red", noise(1), options={"crs": "EPSG:32630", "transform": at(size=5000.0)}),
        File("b", "red", noise(2), options={"crs": "EPSG:32643", "transform": at(size=5000.0)}),
    ]
    assert picture(make_index(tmp_path, files), size=200).crs == "EPSG:3857"


def test_longitudes_are_drawn_as_long_as_they_are_on_the_ground(tmp_path):
    options = {"crs": "EPSG:4326", "transform": (0.001, 0.0, 10.0, 0.0, -0.001, 60.05)}
    shown = picture(make_index(tmp_path, [File("a", "red", noise(1, (100, 200)), options=options)]))
    height, width = shown.pixels.shape[:2]
    assert (height, width) == (100, 100)
    np.testing.assert_allclose(shown.bounds, (10.0, 59.95, 10.2, 60.05), atol=2e-3)


def test_north_is_up_whichever_way_the_rows_run(tmp_path):
    data = smooth()
    index = make_index(tmp_path, [File("a", "red", data, options={"transform": at(south_up=True)})])
    valid = np.ones(data.shape, bool)
    np.testing.assert_array_equal(picture(index).pixels[..., :3], gray_of(data, valid)[::-1])


def test_pixels_that_are_not_square_are_shown_as_they_are_long(tmp_path):
    options = {"crs": "EPSG:4326", "transform": (360.0, 0.0, -180.0, 0.0, -180.0, 90.0), "tile": 16}
    shown = picture(make_index(tmp_path, [File("a", "red", np.full((1, 1), 9, np.uint16), options=options)]))
    assert shown.pixels.tolist() == [[[128, 128, 128, 255]] * 2]


def test_a_size_may_bound_both_sides(tmp_path):
    index = make_index(tmp_path, [File("a", "red", noise(1, (64, 256)))])
    assert picture(index, size=(64, 128)).pixels.shape == (32, 128, 4)
    assert picture(index, size=(16, 128)).pixels.shape == (16, 64, 4)


@pytest.mark.parametrize("options", [{"crs": None, "transform": None}, {"crs": None}])
def test_files_without_a_place_are_shown_in_their_pixels(tmp_path, options):
    data = noise(1, (256, 256))
    write_cog(tmp_path / "a.tif", data, tile=32, overviews=(2, 4), **options)
    write_cog(tmp_path / "b.tif", noise(2, (256, 256)), tile=32, overviews=(2, 4), **options)
    rs.build_index([str(tmp_path / "a.tif"), str(tmp_path / "b.tif")], tmp_path / "i.parquet")
    shown = picture(tmp_path / "i.parquet", size=64)
    assert (shown.crs, shown.bounds, shown.levels) == (None, None, (2,))
    np.testing.assert_array_equal(shown.pixels[..., :3], gray_of(data[::4, ::4], np.ones((64, 64), bool)))
    assert shown.notes == ("the files have no CRS: the first of 2 items is shown",)


def test_rows_of_tiles_are_put_together_and_cost_nothing(tmp_path):
    index = scene(tmp_path)
    tiles = rs.read_tiles(index, bands=RGB, level=2)
    shown = picture(tiles)
    np.testing.assert_array_equal(shown.pixels, picture(index, size=128).pixels)
    assert (shown.requests, shown.nbytes) == (0, 0)


def test_a_query_of_a_connection_is_shown_as_it_sees_tables(tmp_path):
    index = scene(tmp_path)
    with rs.connect() as con:
        con.execute(f"CREATE TEMP TABLE mine AS FROM '{index}'")
        by_name = picture("mine", connection=con, size=64)
        by_query = picture("FROM mine WHERE asset = 'red'", connection=con, size=64)
        by_tiles = picture(f"FROM read_tiles('{index}', bands := ['red', 'green', 'blue'], level := 2)", connection=con)
        by_path = picture(str(index), connection=con, size=64)
    assert by_name.bands == by_tiles.bands == by_path.bands == RGB
    assert by_query.bands == ("red",)
    assert by_tiles.pixels.shape == (128, 128, 4)


def test_where_and_item_choose_rows_also_where_hrefs_are_relative(tmp_path):
    files = [File(name, "red", np.full((64, 64), value, np.uint16)) for name, value in (("a", 1), ("b", 2))]
    index = make_index(tmp_path, files)
    with rs.connect() as con:
        path = tmp_path / "relative.parquet"
        con.execute(f"COPY (SELECT * REPLACE (parse_filename(href) AS href) FROM '{index}') TO '{path}'")
    assert picture(path).limits == ((0.5, 1.5),)
    assert picture(path, item="b").limits == ((1.5, 2.5),)
    assert picture(path, where="item_id = 'b' -- the later one").limits == ((1.5, 2.5),)
    assert picture(path, datetime="2024-01-01", item=["a", "b"]).item_ids == ("a",)


def test_an_area_is_cut_to_its_pixels(tmp_path):
    index = make_index(tmp_path, [File("a", "red", noise(1))])
    bbox = (WEST + 100, NORTH - 300, WEST + 200, NORTH - 100)
    shown = picture(index, bbox=bbox, geometry_crs="EPSG:32643")
    assert shown.bounds == bbox
    assert shown.pixels.shape == (20, 10, 4)


def test_a_picture_of_nodata_alone_says_so(tmp_path):
    index = make_index(tmp_path, [File("a", "red", np.zeros((64, 64), np.uint16), options={"nodata": 0.0})])
    shown = picture(index)
    assert not shown.pixels.any()
    assert shown.notes == ("no pixel has a value",)


def test_what_is_shown_is_said_as_json_has_it(tmp_path):
    facts = json.loads(json.dumps(picture(scene(tmp_path), size=128).facts()))
    assert (facts["width"], facts["height"], facts["crs"]) == (128, 128, "EPSG:32643")
    assert facts["bounds"] == [WEST, NORTH - 5120, WEST + 5120, NORTH]
    assert facts["bands"] == list(RGB)
    assert facts["levels"] == [2]
    assert facts["items"] == ["a"]


def test_files_hold_what_is_shown(tmp_path):
    shown = picture(scene(tmp_path), size=128)
    shown.save(tmp_path / "a.png")
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "a.png").read_bytes()), shown.pixels)
    assert shown._repr_png_() == (tmp_path / "a.png").read_bytes()
    shown.save(tmp_path / "a.jpg")
    flat = imagecodecs.jpeg_decode((tmp_path / "a.jpg").read_bytes())
    assert flat.shape == (128, 128, 3)
    assert flat[:24, :8].min() > 200
    shown.save(tmp_path / "a.webp")
    assert imagecodecs.webp_decode((tmp_path / "a.webp").read_bytes()).shape == (128, 128, 4)
    assert not list(tmp_path.glob(".*partial"))
    with pytest.raises(InvalidArgumentError, match=r"suffix: got '\.bmp', expected one of \.png"):
        shown.save(tmp_path / "a.bmp")
    with pytest.raises(InvalidArgumentError, match="a folder that exists"):
        shown.save(tmp_path / "nowhere" / "a.png")


def test_it_says_in_a_line_what_it_is(tmp_path):
    assert repr(picture(scene(tmp_path), size=128)) == "<Picture 128 x 128 of red, green, blue, 1 item, EPSG:32643>"
    assert Picture(np.zeros((1, 2, 4), np.uint8), None, None, ("x",)).bounds is None


def known(asset, bands=((1, None, None),), *, dtype="uint16", photometric=1, collection="c", count=1):
    bands = tuple(IndexBand(*band, None, None, None, None, is_alpha=None) for band in bands)
    return KnownAsset(collection, asset, dtype, photometric, bands, count)


THREE = ((1, "B04", "red"), (2, "B03", "green"), (3, "B02", "blue"))


@pytest.mark.parametrize(
    ("assets", "expected"),
    [
        ([known("blue"), known("green"), known("nir"), known("red"), known("visual", THREE)], ["red", "green", "blue"]),
        ([known(f"B0{n}", ((1, f"B0{n}", None),)) for n in (2, 3, 4, 8)], ["B04", "B03", "B02"]),
        ([known("b", ((1, "SR_B2", "blue"),)), known("g", ((1, "SR_B3", "green"),)),
          known("r", ((1, "SR_B4", "red"),))], ["r", "g", "b"]),
        ([known("data"), known("visual", THREE)], ["visual:1", "visual:2", "visual:3"]),
        ([known("image", ((1, "Red", None), (2, "Green", None), (3, "Blue", None), (4, "NIR", None)))],
         ["image:1", "image:2", "image:3"]),
        ([known("image", ((1, "", None), (2, "", None), (3, "", None), (4, "", None)), photometric=2)],
         ["image:1", "image:2", "image:3"]),
        ([known("stack", ((1, "a", None), (2, "b", None), (3, "c", None)))], ["stack:1"]),
        ([known("a_thumbnail", THREE, dtype="uint8", photometric=2), known("dem")],
         ["a_thumbnail:1", "a_thumbnail:2", "a_thumbnail:3"]),
        ([known("a_thumbnail"), known("dem")], ["dem"]),
        ([known("red", collection="few"), known("dem", collection="many", count=9)], ["dem"]),
    ],
)  # fmt: skip
def test_bands_that_nobody_named_are_those_of_a_picture(assets, expected):
    single = {each.asset for each in assets if len(each.bands) == 1}
    assert [asset if asset in single else f"{asset}:{band}" for asset, band in choose_bands(assets)] == expected


@pytest.mark.parametrize("names", [("4", "3", "2"), ("3", "2", "1"), ("R", "G", "B"), ("a", "a", "1")])
def test_bands_whose_names_are_numbers_are_shown_by_their_own_number(tmp_path, names):
    data = np.stack([np.full((32, 32), value, np.uint8) for value in (200, 100, 20)])
    options = {"photometric": "rgb", "band_names": names}
    shown = picture(make_index(tmp_path, [File("x", "visual", data, options=options)]))
    assert shown.pixels[0, 0].tolist() == [200, 100, 20, 255]
    assert shown.bands == ("visual:1", "visual:2", "visual:3")


@pytest.mark.parametrize("name", [*SUGGESTED, "terrain", "grey", "PRGn", "cividis", "tab10"])
def test_maps_have_the_colours_of_matplotlib(name, caplog):
    matplotlib = pytest.importorskip("matplotlib")
    expected = matplotlib.colormaps[name](np.linspace(0, 1, 256), bytes=True)[:, :3].astype(int)
    # matplotlib cuts the fractions off, and so makes 5.9999 of some greys 5.
    assert np.abs(colormap_colors(name) - expected).max() <= (1 if "gr" in name else 0)
    np.testing.assert_array_equal(colormap_colors(f"{name}_r"), colormap_colors(name)[::-1])
    assert caplog.records == []


def test_maps_do_without_matplotlib_and_unknown_ones_are_refused(monkeypatch):
    with pytest.raises(InvalidArgumentError, match="'nonsense', expected gray, viridis"):
        colormap_colors("nonsense")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert colormap_colors("terrain").shape == colormap_colors("viridis").shape == (256, 3)
    with pytest.raises(InvalidArgumentError, match="'nonsense_r', expected gray, viridis"):
        colormap_colors("nonsense_r")


def test_a_map_that_the_process_registered_with_matplotlib_is_found():
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.colors import ListedColormap

    matplotlib.colormaps.register(ListedColormap(["#102030", "#405060"], name="mine"))
    try:
        assert colormap_colors("mine")[[0, 255]].tolist() == [[16, 32, 48], [64, 80, 96]]
    finally:
        matplotlib.colormaps.unregister("mine")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": ["red", "green"]}, "bands: got 2, red, green, expected three"),
        ({"colormap": "viridis"}, "colormap: got one with the three bands red, green, blue"),
        ({"bands": ["nir"]}, "bands: got 'nir', expected one of the assets 'blue', 'green', 'red'"),
        ({"size": 0}, "size: got 0, expected pixels"),
        ({"size": "large"}, "size: got 'large', expected pixels"),
        ({"percentiles": (98, 2)}, r"percentiles: got \(98, 2\), expected two numbers"),
        ({"mosaic": "best"}, "mosaic: got 'best', expected one of first"),
        ({"where": "no_such = 1"}, "where: 'no_such = 1' does not run: .*no_such"),
        ({"bbox": [0, 0, 500, 500]}, "bbox: got .*expected degrees"),
    ],
)
def test_wrong_arguments_are_said(tmp_path, arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        picture(scene(tmp_path, size=64, overviews=()), **arguments)


def test_nothing_that_is_left_is_said(tmp_path):
    index = scene(tmp_path, size=64, overviews=())
    for arguments in ({"item": "z"}, {"where": "false"}, {"datetime": "1999"}, {"bbox": [0, 0, 1, 1]}):
        with pytest.raises(EmptyReadError, match=r"i\.parquet"):
            picture(index, **arguments)
    with pytest.raises(InvalidIndexError, match="no such file"):
        picture(tmp_path / "none.parquet")
    with pytest.raises(InvalidIndexError, match="does not run"), rs.connect() as con:
        picture("FROM nowhere", connection=con)


def test_more_files_than_a_picture_shows_are_refused_with_what_to_add(tmp_path, monkeypatch):
    index = make_index(tmp_path, [File(f"i{number}", "red", noise(number)) for number in range(4)])
    monkeypatch.setattr(picture_plan, "MAX_FILES", 3)
    with pytest.raises(InvalidArgumentError, match="4 files of 4 items are left for one picture, expected 3 at most; "):
        picture(index)
    assert picture(index, item=["i0", "i1", "i2"]).item_ids


def test_more_bytes_than_a_picture_is_worth_are_refused_before_they_are_fetched(tmp_path):
    with RangeServer(tmp_path) as server:
        index = scene(tmp_path, overviews=(), base=server.base_url)
        server.reset()
        planned = picture_plan.plan_picture(
            index, rs.plan.arguments.ReadArguments(index="", bands=["red"]), connection=None, where=None, items=None,
            size=(64, 64),
        )  # fmt: skip
        with pytest.raises(
            InvalidArgumentError,
            match=r"a picture of 64 x 64 pixels fetches .* KiB, expected 1,000 bytes at most; choose fewer items",
        ):
            picture_pixels.read_picture(
                planned.plan, planned.box, planned.rank, resampling="average", mosaic="first", max_bytes=1000
            )
        assert not server.requests


def test_a_file_without_overviews_is_read_in_strips_and_an_endless_sparse_one_is_refused(tmp_path, monkeypatch):
    index = scene(tmp_path, overviews=())
    whole = picture(index, size=128)
    monkeypatch.setattr(picture_pixels, "_STRIP_BYTES", 40_000)
    assert picture(index, size=128).requests > whole.requests
    np.testing.assert_array_equal(picture(index, size=128).pixels, whole.pixels)
    write_cog(tmp_path / "s.tif", np.zeros((512, 512), np.uint8), sparse=True, overviews=(), tile=64)
    rs.build_index(str(tmp_path / "s.tif"), tmp_path / "s.parquet")
    assert not picture(tmp_path / "s.parquet", size=64).nbytes
    monkeypatch.setattr(picture_pixels, "MAX_DECODED_BYTES", 200_000)
    with pytest.raises(InvalidArgumentError, match=r"pixels decodes 256\.0 KiB, expected 195\.3 KiB at most"):
        picture(tmp_path / "s.parquet", size=64)


def test_items_without_all_bands_are_left_out(tmp_path):
    files = [File("a", name, noise(1)) for name in RGB] + [File("b", "red", noise(2), when=2)]
    assert picture(make_index(tmp_path, files), bands=RGB).item_ids == ("a",)
    (tmp_path / "apart").mkdir()
    apart = [File("a", "red", noise(1)), File("b", "green", noise(2)), File("c", "blue", noise(3))]
    with pytest.raises(EmptyReadError, match="no item of 3 has all of red, green, blue"):
        picture(make_index(tmp_path / "apart", apart), bands=RGB)


def test_real_scenes_are_shown(shared_data, tmp_path):
    folder = shared_data / "scenes" / "cogeotiff+rio-tiler-pds" / "tests" / "fixtures" / "sentinel-cogs"
    (path,) = folder.glob("**/S2A_29RKH_20200219_0_L2A/TCI.tif")
    rs.build_index(str(path), tmp_path / "i.parquet")
    with rasterio.open(path) as source:
        levels = len(source.overviews(1))
    with rasterio.open(path, overview_level=levels - 1) as source:
        expected = np.moveaxis(source.read(), 0, 2)
    shown = picture(tmp_path / "i.parquet", size=expected.shape[:2])
    assert shown.levels == (levels,)
    np.testing.assert_array_equal(shown.pixels[..., :3], expected)
    assert shown.nbytes < path.stat().st_size / 10


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_times_in_conditions_are_utc_whatever_the_zone_of_the_machine(tmp_path, zone):
    write_cog(tmp_path / "a.tif", noise(1), tile=32)
    row = {"href": str(tmp_path / "a.tif"), "item_id": "a", "asset": "red", "datetime": "2024-01-01T10:00:00Z"}
    rs.build_index(pa.Table.from_pylist([row]), tmp_path / "i.parquet")
    code = f"""
import rasteret_sql as rs
from rasteret_sql.errors import RasteretError
for condition in ("datetime < '2024-01-01 12:00:00'", "datetime > '2024-01-01 12:00:00'"):
    try:
        rs.picture({str(tmp_path / "i.parquet")!r}, where=condition)
        print("drawn")
    except RasteretError:
        print("nothing")
"""
    told = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["drawn", "nothing"]
