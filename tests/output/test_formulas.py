"""Formulas over bands and classes with names in pictures, and the legends of both."""

from __future__ import annotations

import json

import imagecodecs
import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.output.colormaps import colormap_colors
from rasteret_sql.output.picture import picture
from rasteret_sql.testing.cog import write_cog
from tests.arrays.cube_files import File, make_index, noise

NDVI = "(nir - red) / (nir + red)"


@pytest.fixture
def bands(tmp_path):
    """An index of red and nir, with zeros in a corner of both, and what rasterio would read of them."""
    red, nir = noise(1), noise(2)
    red[:8, :8] = nir[:8, :8] = 0
    return make_index(tmp_path, [File("a", "red", red), File("a", "nir", nir)]), red.astype(float), nir.astype(float)


def test_a_formula_is_computed_pixel_by_pixel_and_lies_around_zero(bands):
    index, red, nir = bands
    shown = picture(index, bands=NDVI, percentiles=(0, 100))
    with np.errstate(invalid="ignore"):
        values = (nir - red) / (nir + red)
    valid = np.isfinite(values)
    most = np.abs(values[valid]).max()
    assert shown.bands == (NDVI,)
    assert shown.colormap == "RdYlGn"
    assert shown.limits == ((-most, most),)
    np.testing.assert_array_equal(shown.pixels[..., 3] > 0, valid)
    assert not valid[:8, :8].any()
    shares = np.rint((values[valid] + most) / (2 * most) * 255).astype(int)
    np.testing.assert_array_equal(shown.pixels[valid, :3], colormap_colors("RdYlGn")[shares])


def test_a_ratio_is_stretched_between_its_percentiles(bands):
    index, red, nir = bands
    shown = picture(index, bands=["nir / red"])
    with np.errstate(invalid="ignore"):
        values = nir / red
    assert shown.colormap == "viridis"
    assert shown.limits[0] == pytest.approx(tuple(np.percentile(values[np.isfinite(values)], (2, 98))))


def test_a_formula_takes_physical_values(tmp_path):
    options = {"scales": [0.0001], "offsets": [-0.1]}
    red, nir = noise(1), noise(2)
    index = make_index(tmp_path, [File("a", "red", red, options=options), File("a", "nir", nir, options=options)])
    shown = picture(index, bands="nir - red", percentiles=(0, 100))
    most = np.abs((nir.astype(float) - red) * 0.0001).max()
    assert shown.limits[0][1] == pytest.approx(most, rel=1e-5)
    shown = picture(index, bands="nir + red", percentiles=(0, 100))
    total = (nir.astype(float) + red) * 0.0001 - 0.2
    assert shown.limits[0] == pytest.approx((total.min(), total.max()), rel=1e-5, abs=1e-5)


def test_a_band_that_is_named_like_a_formula_is_a_band(tmp_path):
    files = [File("a", name, noise(seed)) for seed, name in enumerate(("nir-red", "nir", "red"))]
    index = make_index(tmp_path, files)
    assert picture(index, bands=["nir-red"]).colormap == "gray"
    assert picture(index, bands=["nir - red"]).colormap == "RdYlGn"
    doubled = picture(index, bands='"nir-red" - "nir-red"')
    assert set(map(tuple, doubled.pixels.reshape(-1, 4).tolist())) == {(*colormap_colors("RdYlGn")[128].tolist(), 255)}


def test_rows_of_tiles_take_formulas_too(bands):
    index, _, _ = bands
    with rs.connect() as con:
        tiles = con.sql(f"FROM read_tiles('{index}')")
        np.testing.assert_array_equal(picture(tiles, bands=NDVI).pixels, picture(index, bands=NDVI).pixels)


def test_a_map_that_does_not_diverge_is_stretched_as_any_band(bands):
    index, _, _ = bands
    low, high = picture(index, bands=NDVI, colormap="viridis").limits[0]
    assert low != -high
    low, high = picture(index, bands=NDVI, colormap="RdBu_r").limits[0]
    assert low == -high


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": "(nir - blue)"}, r"got 'blue', expected one of the assets 'nir', 'red'"),
        ({"bands": "nir - "}, "got 'nir - ', which ends too early, expected an expression of band names"),
        ({"bands": [NDVI, "red", "nir"]}, r"got the expression '\(nir - red\).*beside other bands, expected it alone"),
        ({"bands": NDVI, "mosaic": "count"}, "mosaic: got 'count' with the expression"),
        ({"bands": "__import__('os').system('true')"}, "expected an expression"),
    ],
)
def test_formulas_that_cannot_be_are_refused(bands, arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        picture(bands[0], **arguments)


def test_a_name_of_several_bands_in_a_formula_is_refused(tmp_path):
    data = np.stack([noise(1), noise(2)])
    index = make_index(tmp_path, [File("a", "visual", data), File("a", "red", noise(3))])
    with pytest.raises(InvalidArgumentError, match=r"got 'visual' in 'visual - red', which is not one band"):
        picture(index, bands="visual - red")
    assert picture(index, bands='"visual:1" - "visual:2"').bands == ('"visual:1" - "visual:2"',)


def test_files_of_formulas_and_classes_have_a_legend_and_natural_colours_do_not(bands, tmp_path):
    index, _, _ = bands
    shown = picture(index, bands=NDVI)
    height, width = shown.pixels.shape[:2]
    explained = imagecodecs.png_decode(shown.encoded())
    np.testing.assert_array_equal(explained[:height, :width], shown.pixels)
    legend = explained[height:]
    assert len(legend) > 30
    assert (legend[..., 3] == 255).all()
    # Ink and paper, and the first and the last colour of the map.
    for color in ([34] * 3, [255] * 3, colormap_colors("RdYlGn")[0], colormap_colors("RdYlGn")[-1]):
        assert (legend[..., :3] == color).all(axis=-1).any()
    np.testing.assert_array_equal(imagecodecs.png_decode(shown.encoded(legend=False)), shown.pixels)
    gray = picture(index, bands=["red"])
    assert not gray.has_legend
    assert imagecodecs.png_decode(gray.encoded(legend=True)).shape[0] > gray.pixels.shape[0]


def classified_item(folder, classes, *, asset_level=True):
    """A STAC item whose asset "cover" has classes."""
    data = np.tile(np.repeat(np.array([0, 1, 7, 200], np.uint8), 16), (64, 1))
    write_cog(folder / "cover.tif", data, tile=32, crs="EPSG:32643", transform=(10.0, 0.0, 8e5, 0.0, -10.0, 14e5))
    described = {"classification:classes": classes}
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "a", "geometry": None, "links": [],
        "properties": {"datetime": "2024-01-01T00:00:00Z"},
        "assets": {
            "cover": {"href": "cover.tif", "type": "image/tiff; application=geotiff"}
            | (described if asset_level else {"raster:bands": [{"data_type": "uint8"} | described]}),
        },
    }  # fmt: skip
    (folder / "item.json").write_text(json.dumps(item))
    rs.build_index(folder / "item.json", folder / "i.parquet")
    return folder / "i.parquet"


CLASSES = [
    {"value": 0, "name": "water", "color_hint": "0000FF"},
    {"value": 1, "name": "trees", "color_hint": "00aa00"},
    {"value": 7, "name": "built", "description": "Built-up areas"},
]


@pytest.mark.parametrize("asset_level", [True, False])
def test_classes_have_the_names_and_colours_of_stac(tmp_path, asset_level):
    shown = picture(classified_item(tmp_path, CLASSES, asset_level=asset_level))
    assert shown.class_names == {0: "water", 1: "trees", 7: "built"}
    assert (shown.classes[0], shown.classes[1]) == ("#0000ff", "#00aa00")
    assert set(shown.classes) == {0, 1, 7, 200}
    assert shown.facts()["class_names"] == {"0": "water", "1": "trees", "7": "built"}
    explained = imagecodecs.png_decode(shown.encoded())
    assert explained.shape[0] > shown.pixels.shape[0]


@pytest.mark.parametrize("classes", [None, "x", [], [{"name": "x"}], [{"value": "1"}], [None], [{"value": True}]])
def test_classes_that_are_none_are_passed_over(tmp_path, classes):
    index = classified_item(tmp_path, classes)
    assert picture(index).class_names == {}
    assert "classification:classes" not in rs.connect().sql(f"FROM '{index}'").columns


def test_classes_have_the_categories_and_colours_that_gdal_keeps_beside_a_file(tmp_path):
    data = np.tile(np.repeat(np.array([0, 1, 2, 3], np.uint8), 16), (64, 1))
    index = make_index(tmp_path, [File("a", "cover", data)])
    (tmp_path / "a_cover.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category>water</Category><Category>trees</Category>"
        "<Category></Category></CategoryNames><ColorTable><Entry c1='0' c2='0' c3='255' c4='255'/></ColorTable>"
        "</PAMRasterBand></PAMDataset>"
    )
    shown = picture(index)
    assert shown.class_names == {0: "water", 1: "trees"}
    assert shown.classes[0] == "#0000ff"
    (tmp_path / "a_cover.tif.aux.xml").write_text("<PAMDataset><PAMRasterBand")
    assert picture(index).class_names == {}


def test_the_scene_classification_has_the_names_that_esa_gives_it(tmp_path):
    data = np.full((64, 64), 4, np.uint8)
    data[0] = 9
    shown = picture(make_index(tmp_path, [File("a", "scl", data)]))
    assert shown.class_names == {4: "vegetation", 9: "cloud, high probability"}
