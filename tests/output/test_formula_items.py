"""A formula is computed for each item alone, in float64 from stored values, by exports and pictures alike."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError, RasteretError
from tests.arrays.cube_files import File, make_index, noise

DIFFERENCE = "nir - red"
REDUCTIONS = {"min": np.nanmin, "max": np.nanmax, "mean": np.nanmean, "median": np.nanmedian}


def written(index, folder, **arguments):
    rs.export(index, folder / "o.tif", **arguments)
    with rasterio.open(folder / "o.tif") as source:
        return source.read(1)


def scenes(folder, *scales):
    """Items of one day, each with its own scale and gaps in either band, and the values of the difference in each."""
    files, values = [], []
    for number, scale in enumerate(scales):
        stored = {"red": noise(2 * number), "nir": noise(2 * number + 1)}
        for gap, band in enumerate(stored.values()):
            band[4 * (number + gap) : 4 * (number + gap) + 4] = 0
        options = {"nodata": 0.0, "scales": [scale]}
        files += [File(f"i{number}", name, band, options=options) for name, band in stored.items()]
        missing = (stored["red"] == 0) | (stored["nir"] == 0)
        values.append(np.where(missing, np.nan, stored["nir"] * scale - stored["red"] * scale))
    return make_index(folder, files), np.stack(values)


def first_of(values):
    result = values[0].copy()
    for each in values[1:]:
        result = np.where(np.isnan(result), each, result)
    return result


@pytest.mark.parametrize("mosaic", ["first", "last", *REDUCTIONS])
@pytest.mark.parametrize("scales", [(0.1, 0.1, 0.1), (0.1, 0.01, 2.0)])
def test_a_mosaic_is_one_of_the_formulas_of_items(tmp_path, mosaic, scales):
    index, values = scenes(tmp_path, *scales)
    ordered = values[::-1] if mosaic == "last" else values
    expected = REDUCTIONS[mosaic](values, axis=0) if mosaic in REDUCTIONS else first_of(ordered)
    result = written(index, tmp_path, bands=DIFFERENCE, groupby="day", mosaic=mosaic)
    np.testing.assert_array_equal(result, expected.astype(np.float32))
    shown = rs.picture(index, bands=DIFFERENCE, mosaic=mosaic, percentiles=(0, 100))
    most = np.nanmax(np.abs(expected))
    assert shown.limits == ((pytest.approx(-most, rel=1e-12), pytest.approx(most, rel=1e-12)),)


def test_files_of_items_of_different_scale_are_each_computed_alone(tmp_path):
    index, values = scenes(tmp_path, 0.1, 0.01)
    rs.export(index, tmp_path / "o-{item}.tif", bands=DIFFERENCE)
    for number, each in enumerate(values):
        with rasterio.open(tmp_path / f"o-i{number}.tif") as source:
            np.testing.assert_array_equal(source.read(1), each.astype(np.float32))


def test_items_that_have_one_band_each_make_up_one_item(tmp_path):
    red, nir = noise(1), noise(2)
    index = make_index(tmp_path, [File("a", "red", red), File("b", "nir", nir)])
    result = written(index, tmp_path, bands=DIFFERENCE, groupby="day")
    np.testing.assert_array_equal(result, nir.astype(np.float32) - red)


def test_a_group_without_an_item_that_has_all_bands_is_refused(tmp_path):
    files = [File("a", "red", noise(1)), File("b", "red", noise(2)), File("c", "nir", noise(3))]
    index = make_index(tmp_path, files)
    with pytest.raises(InvalidArgumentError, match="a group of 3 items, of which none has all of nir, red"):
        rs.export(index, tmp_path / "o.tif", bands=DIFFERENCE, groupby="day")


def test_the_scale_is_applied_in_the_arithmetic_of_the_formula(tmp_path):
    red = np.full((64, 64), 20000, "uint16")
    nir = red + 1
    nir[0] = 20003
    options = {"scales": [1e-4], "offsets": [-0.1]}
    index = make_index(tmp_path, [File("a", "red", red, options=options), File("a", "nir", nir, options=options)])
    expected = (nir * 1e-4 - 0.1) - (red * 1e-4 - 0.1)
    np.testing.assert_array_equal(written(index, tmp_path, bands=DIFFERENCE), expected.astype(np.float32))
    shown = rs.picture(index, bands=DIFFERENCE, percentiles=(0, 100))
    assert shown.limits[0][1] == pytest.approx(expected.max(), rel=1e-12)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_that_float64_would_round_are_refused(tmp_path, dtype):
    band = np.full((64, 64), 2**53 + 1, dtype)
    index = make_index(tmp_path, [File("a", "red", band), File("a", "nir", band)])
    for draw in (lambda: written(index, tmp_path, bands=DIFFERENCE), lambda: rs.picture(index, bands=DIFFERENCE)):
        says = r"\.tif: got the integer 9007199254740993, expected at most 9007199254740992"
        with pytest.raises(RasteretError, match=says):
            draw()


def test_complex_bands_are_refused(tmp_path):
    band = np.full((64, 64), 1 + 2j, "complex64")
    index = make_index(tmp_path, [File("a", "red", band), File("a", "nir", band)])
    with pytest.raises(InvalidArgumentError, match="is complex64, expected real numbers"):
        written(index, tmp_path, bands=DIFFERENCE)


def test_values_beyond_float32_are_no_data(tmp_path):
    band = np.full((64, 64), 1e30, "float32")
    band[0] = 2
    index = make_index(tmp_path, [File("a", "red", band)])
    result = written(index, tmp_path, bands="red * red")
    assert np.isnan(result[1:]).all()
    assert (result[0] == 4).all()
    rs.export(index, tmp_path / "o.parquet", bands="red * red")
    assert pq.read_table(tmp_path / "o.parquet").column("red * red").to_pylist() == [4.0] * 64


@pytest.mark.parametrize(("name", "value"), [("nodata", -1), ("dtype", "float64")])
def test_arguments_without_effect_on_a_formula_are_refused(tmp_path, name, value):
    index, _ = scenes(tmp_path, 1.0)
    with pytest.raises(InvalidArgumentError, match=f"{name}: got .* with the expression 'nir - red', expected none"):
        rs.export(index, tmp_path / "o.tif", bands=DIFFERENCE, **{name: value})


def test_a_formula_where_none_is_taken_says_which_functions_take_one(tmp_path):
    index, _ = scenes(tmp_path, 1.0)
    message = "got 'nir-red', .*a formula over bands stands alone in bands, and export, picture and plot_rgb take one"
    for read in (
        lambda: rs.export(index, tmp_path / "o.tif", bands=["nir-red", "red"]),
        lambda: rs.to_numpy(index, bands=["nir-red"]),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            read()
