"""Scales and offsets of a caller, in place of those of the files, at each door that gives or computes physical values."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from tests.arrays.cube_files import File, at, make_index, noise

if TYPE_CHECKING:
    from pathlib import Path

#: What the caller says; red has a scale and an offset of its own in the file, nir has none, as Landsat's in STAC 0.7.
_SCALES = {"red": 0.5, "*": 0.25}
_OFFSETS = {"nir": -100.0}
#: Scale and offset that follow.
_RED, _NIR = (0.5, 3.0), (0.25, -100.0)


@pytest.fixture(scope="module")
def files() -> dict[str, File]:
    return {
        "red": File("a", "red", noise(1), options={"scales": (0.0001,), "offsets": (3.0,)}),
        "nir": File("a", "nir", noise(2)),
    }


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, files: dict[str, File]) -> Path:
    return make_index(tmp_path_factory.mktemp("given"), list(files.values()))


@pytest.fixture(scope="module")
def expected(files: dict[str, File]) -> dict[str, Any]:
    scalings = {"red": _RED, "nir": _NIR}
    return {name: file.data * scalings[name][0] + scalings[name][1] for name, file in files.items()}


def _given(**options: Any) -> dict[str, Any]:
    return {"scales": _SCALES, "offsets": _OFFSETS, **options}


def test_arrays_have_the_values_that_follow(index: Path, expected: dict[str, Any]) -> None:
    array = rs.to_numpy(index, bands=["red", "nir"], mask_and_scale=True, **_given())
    np.testing.assert_array_equal(array.data[0], [expected["red"], expected["nir"]])
    for chunks in (None, {"x": 20}):
        dataset = rs.to_xarray(index, mask_and_scale=True, chunks=chunks, **_given())
        for name, values in expected.items():
            np.testing.assert_array_equal(dataset[name].values[0], values)


def test_stored_values_stay_and_the_metadata_follow(index: Path, files: dict[str, File]) -> None:
    dataset = rs.to_xarray(index, **_given())
    for name, (scale, offset) in (("red", _RED), ("nir", _NIR)):
        np.testing.assert_array_equal(dataset[name].values[0], files[name].data)
        assert (dataset[name].attrs["scale_factor"], dataset[name].attrs["add_offset"]) == (scale, offset)


def test_exports_have_the_values_or_the_metadata(index: Path, tmp_path: Path, expected: dict[str, Any]) -> None:
    rs.export(index, tmp_path / "physical.tif", bands=["red", "nir"], mask_and_scale=True, **_given())
    with rasterio.open(tmp_path / "physical.tif") as source:
        np.testing.assert_array_equal(source.read(), [expected["red"], expected["nir"]])
    rs.export(index, tmp_path / "stored.tif", bands=["red", "nir"], **_given())
    with rasterio.open(tmp_path / "stored.tif") as source:
        assert (source.scales, source.offsets) == ((0.5, 0.25), (3.0, -100.0))


def test_formulas_of_exports_and_pictures_follow(index: Path, tmp_path: Path, expected: dict[str, Any]) -> None:
    formula = "(nir - red) / (nir + red + 9999)"
    wanted = (expected["nir"] - expected["red"]) / (expected["nir"] + expected["red"] + 9999)
    rs.export(index, tmp_path / "f.tif", bands=formula, **_given())
    with rasterio.open(tmp_path / "f.tif") as source:
        np.testing.assert_allclose(source.read(1), wanted, rtol=1e-6)
    ((low, high),) = rs.picture(index, bands=formula, percentiles=(0, 100), colormap="gray", **_given()).limits
    assert (low, high) == pytest.approx((wanted.min(), wanted.max()))


def test_functions_that_give_rows_follow(index: Path, expected: dict[str, Any]) -> None:
    points = [f"POINT ({at()[2] + 10 * col + 5} {at()[5] - 10 * row - 5})" for row, col in ((0, 0), (5, 9))]
    zone = f"POLYGON (({at()[2]} {at()[5]}, {at()[2] + 640} {at()[5]}, {at()[2] + 640} {at()[5] - 640}, {at()[2]} {at()[5]}))"
    pixels = rs.read_pixels(index, bands=["red"], scale=True, **_given(offsets=None)).read_all()
    np.testing.assert_allclose(np.sort(pixels["value"].to_numpy()), np.sort(expected["red"].ravel()))
    samples = rs.sample_points(
        index, points, bands=["nir"], geometry_crs="EPSG:32643", scale=True, **_given(scales=0.25)
    )
    table = samples.read_all()
    assert table["value"].to_pylist() == [expected["nir"][0, 0], expected["nir"][5, 9]]
    assert set(zip(table["scale"].to_pylist(), table["offset"].to_pylist(), strict=True)) == {_NIR}
    rows, cols = np.mgrid[:64, :64]
    statistics = rs.zonal_stats(
        index, [zone], bands=["red"], geometry_crs="EPSG:32643", stats=["mean"], scale=True, scales={"red": 0.5}
    ).read_all()
    inside = cols > rows
    assert statistics["mean"].to_pylist() == [pytest.approx(expected["red"][inside].mean(), rel=1e-3)]


def test_rows_of_tiles_say_them_and_arrays_of_such_rows_follow(index: Path, expected: dict[str, Any]) -> None:
    tiles = rs.read_tiles(index, **_given()).read_all()
    pairs = {(row["band_name"], row["scale"], row["offset"]) for row in tiles.to_pylist()}
    assert pairs == {("red", *_RED), ("nir", *_NIR)}
    dataset = rs.to_xarray(tiles, mask_and_scale=True)
    np.testing.assert_array_equal(dataset.nir.values[0], expected["nir"])
    again = rs.to_xarray(rs.read_tiles(index).read_all(), mask_and_scale=True, **_given())
    np.testing.assert_array_equal(again.red.values[0], expected["red"])


@pytest.mark.parametrize("written", ["{'red': 0.5, '*': 0.25}", "MAP {'red': 0.5, '*': 0.25}"])
def test_sql_takes_a_struct_a_map_or_a_number(index: Path, expected: dict[str, Any], written: str) -> None:
    with rs.connect() as con:
        rows = con.execute(
            'SELECT band_name, scale, "offset" FROM read_tiles($1, '
            f"scales := {written}, offsets := {{'nir': -100}}) GROUP BY ALL ORDER BY ALL", [str(index)],
        ).fetchall()  # fmt: skip
        assert rows == [("nir", *_NIR), ("red", *_RED)]
        (sums,) = con.execute(
            "SELECT sum(value) FROM read_pixels($1, bands := ['red'], scale := true, scales := 0.5)", [str(index)]
        ).fetchall()
        assert sums == (pytest.approx(expected["red"].sum()),)


def test_a_dataset_for_training_follows_and_a_handoff_keeps_them(
    index: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    pytest.importorskip("torchgeo")
    west, north = at()[2], at()[5]
    place = slice(west, west + 640), slice(north - 640, north)
    options = {"bands": ["red", "nir"], "scale": True, **_given()}
    path = rs.handoff(tmp_path / "t.toml", index, **options)
    for dataset in (rs.to_torchgeo(index, **options), rs.from_handoff(path)):
        np.testing.assert_allclose(dataset[place]["image"].numpy(), [expected["red"], expected["nir"]], rtol=1e-6)


_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"scales": {"rot": 0.1}}, "scales: got band 'rot', expected one of nir, red"),
    ({"offsets": {"rot": 0.1}}, "offsets: got band 'rot'"),
    ({"scales": 0}, "scales: got 0, expected a number other than 0"),
    ({"scales": {"red": float("nan")}}, "scales: got"),
    ({"offsets": {"red": "1"}}, "offsets: got .* expected a number"),
    ({"offsets": float("inf")}, "offsets: got inf"),
    ({"scales": True}, "scales: got True"),
    ({"scales": [0.1]}, "scales: got"),
]


@pytest.mark.parametrize(("options", "message"), _WRONG)
def test_wrong_values_are_refused_before_anything_is_read(index: Path, options: dict[str, Any], message: str) -> None:
    for read in (rs.to_numpy, rs.to_xarray, rs.picture, rs.read_tiles):
        with pytest.raises(InvalidArgumentError, match=message):
            read(index, **options)


def test_values_without_effect_are_refused(index: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"scales: got 0\.5 for stored values, expected scale=True"):
        rs.read_pixels(index, bands=["red"], scales=0.5)
    with rs.connect() as con, pytest.raises(Exception, match=r"offsets: got .* for stored values"):
        con.execute("FROM read_pixels($1, offsets := {'red': 1})", [str(index)]).fetchall()


def test_the_command_line_takes_a_number_or_numbers_by_band(
    index: Path, tmp_path: Path, expected: dict[str, Any]
) -> None:
    command = [sys.executable, "-m", "rasteret_sql", "export", str(index), "-o", str(tmp_path / "o.tif")]
    options = ["--bands", "red,nir", "--mask-and-scale", "--scales", "red=0.5,*=0.25", "--offsets", "nir=-100"]
    subprocess.run([*command, *options], check=True, timeout=600, capture_output=True, stdin=subprocess.DEVNULL)
    with rasterio.open(tmp_path / "o.tif") as source:
        np.testing.assert_array_equal(source.read(), [expected["red"], expected["nir"]])
    wrong = subprocess.run(
        [*command, "--scales", "red=a"], check=False, timeout=600, capture_output=True, stdin=subprocess.DEVNULL
    )
    assert wrong.returncode == 2
    assert b"--scales: got 'red=a', expected a number, or BAND=NUMBER,..." in wrong.stderr
