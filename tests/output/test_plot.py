"""Pictures show the right pixels in the right place; what is checked is what matplotlib was given."""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
import xarray as xr

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, InvalidArgumentError, InvalidIndexError
from rasteret_sql.geo.antimeridian import split_at_antimeridian
from rasteret_sql.testing import write_collection
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

matplotlib = pytest.importorskip("matplotlib")
BANDS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def _without_screen() -> Iterator[None]:
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landscape")
    written = write_collection(folder / "c", items=4, size=256, tile=128)
    rs.build_index(str(written.document), folder / "s2.parquet")
    return folder / "s2.parquet"


def _dataset(times: int = 1, **attrs: Any) -> xr.Dataset:
    """Three bands (time, 4, 5) on a grid of 10 m; each pixel of red has a value of its own."""
    values = np.arange(times * 20, dtype=np.uint16).reshape(times, 4, 5) + 100
    days = [np.datetime64("2024-01-01") + np.timedelta64(n, "D") for n in range(times)]
    coords = {
        "time": np.array(days, "M8[ns]"), "x": 600_005.0 + 10 * np.arange(5), "y": 1_399_995.0 - 10 * np.arange(4)
    }  # fmt: skip
    data = {name: (("time", "y", "x"), values.copy(), attrs) for name in BANDS}
    return xr.Dataset(data, coords=coords)


def _image(ax: Any) -> tuple[np.ndarray, list[float]]:
    (image,) = ax.get_images()
    return np.asarray(image.get_array()), list(image.get_extent())


def test_a_picture_lies_where_its_pixels_lie() -> None:
    ax = rs.plot_rgb(_dataset(), BANDS)
    image, extent = _image(ax)
    assert image.shape == (4, 5, 4)
    assert extent == [600_000, 600_050, 1_399_960, 1_400_000]
    assert ax.get_aspect() == 1
    assert ax.get_title() == "2024-01-01"
    assert ax.get_ylim()[0] < ax.get_ylim()[1]


@pytest.mark.parametrize(("y_step", "x_step"), [(-1, 1), (1, -1), (-1, -1)])
def test_rows_and_columns_that_run_backwards_give_the_same_picture(y_step: int, x_step: int) -> None:
    dataset = _dataset()
    expected = _image(rs.plot_rgb(dataset, BANDS))
    image, extent = _image(rs.plot_rgb(dataset.isel(y=slice(None, None, y_step), x=slice(None, None, x_step)), BANDS))
    np.testing.assert_array_equal(image, expected[0])
    assert extent == expected[1]


def test_files_without_a_place_are_shown_from_their_first_row_down() -> None:
    dataset = _dataset().assign_coords(x=np.arange(5) + 0.5, y=np.arange(4) + 0.5, spatial_ref=0)
    image, extent = _image(rs.plot_rgb(dataset, BANDS, percentiles=(0, 100)))
    assert extent == [0, 5, 4, 0]
    assert image[0, 0, 0] < image[3, 4, 0]
    without = dataset.drop_vars(["x", "y", "spatial_ref"])
    np.testing.assert_array_equal(_image(rs.plot_rgb(without, BANDS, percentiles=(0, 100)))[0], image)


def test_percentiles_are_those_of_valid_pixels() -> None:
    dataset = _dataset(_FillValue=np.uint16(0))
    dataset.red.values[0, 0, :2] = 0
    dataset["green_valid"] = dataset.green != 119
    dataset["blue"] = dataset.blue.astype(np.float32).where(dataset.blue != 110)
    image, _ = _image(rs.plot_rgb(dataset, BANDS, percentiles=(0, 100)))
    assert np.argwhere(image[..., 3] == 0).tolist() == [[0, 0], [0, 1], [2, 0], [3, 4]]
    red = dataset.red.values[0]
    expected = np.rint((np.clip(red, 102, 119) - 102.0) / 17 * 255)
    visible = image[..., 3] == 255
    np.testing.assert_array_equal(image[..., 0][visible], expected[visible])
    low, high = np.percentile(red[red != 0], (10, 60))
    image, _ = _image(rs.plot_rgb(dataset, BANDS, percentiles=(10, 60)))
    assert (image[..., 0][visible & (red <= low)] == 0).all()
    assert (image[..., 0][visible & (red >= high)] == 255).all()


def test_zero_is_data_unless_nodata_says_otherwise() -> None:
    dataset = _dataset()
    dataset.red.values[0, 0, 0] = 0
    assert (_image(rs.plot_rgb(dataset, BANDS))[0][..., 3] == 255).all()


def test_no_valid_pixel_and_one_value_give_pictures_too() -> None:
    dataset = _dataset(_FillValue=np.uint16(7))
    for name in BANDS:
        dataset[name].values[:] = 7
    assert (_image(rs.plot_rgb(dataset, BANDS))[0][..., 3] == 0).all()
    for name in BANDS:
        dataset[name].values[:] = 9
    assert (_image(rs.plot_rgb(dataset, BANDS))[0][..., :3] == 128).all()


def test_several_times_are_small_multiples_of_one_stretch() -> None:
    dataset = _dataset(6)
    axes = rs.plot_rgb(dataset, BANDS, percentiles=(0, 100))
    assert [ax.get_title() for ax in axes] == [f"2024-01-0{n}" for n in range(1, 7)]
    levels = [_image(ax)[0][..., 0].mean() for ax in axes]
    assert levels == sorted(levels)
    assert levels[0] < levels[-1]
    assert len({id(ax.figure) for ax in axes}) == 1
    axes[0].figure.canvas.draw()


def test_times_are_chosen_by_number_by_day_and_by_span() -> None:
    dataset = _dataset(6)
    assert rs.plot_rgb(dataset, BANDS, time=-1).get_title() == "2024-01-06"
    assert [ax.get_title() for ax in rs.plot_rgb(dataset, BANDS, time=[1, 3])] == ["2024-01-02", "2024-01-04"]
    assert rs.plot_rgb(dataset, BANDS, time="2024-01-03").get_title() == "2024-01-03"
    assert len(rs.plot_rgb(dataset, BANDS, time=slice("2024-01-02", "2024-01-04"))) == 3
    assert rs.plot_rgb(dataset, BANDS, time=np.datetime64("2024-01-03")).get_title() == "2024-01-03"
    assert rs.plot_rgb(dataset.isel(time=0), BANDS).get_title() == "2024-01-01"
    for time in ("2031", 17, slice("2031", "2032")):
        with pytest.raises(InvalidArgumentError, match="time: got"):
            rs.plot_rgb(dataset, BANDS, time=time)


def test_a_large_dataset_is_thinned_in_place() -> None:
    size = 4100
    coords = {"x": np.arange(size) + 0.5, "y": -np.arange(3) - 0.5}
    dataset = xr.Dataset({name: (("y", "x"), np.zeros((3, size), np.uint8)) for name in BANDS}, coords=coords)
    image, extent = _image(rs.plot_rgb(dataset, BANDS))
    assert image.shape[1] == -(-size // 3)
    assert abs(extent[0] - 0) <= 2
    assert abs(extent[1] - size) <= 2


def test_lonlat_pictures_are_as_wide_as_on_the_ground(index: Path) -> None:
    dataset = rs.to_xarray(index, bands=BANDS, crs="EPSG:4326", resolution=0.0005, groupby="day")
    axes = rs.plot_rgb(dataset, BANDS)
    assert axes[0].get_aspect() == pytest.approx(1 / np.cos(np.radians(13)), rel=1e-3)
    assert axes[0].get_ylabel() == "latitude [°N]"
    axes[0].figure.canvas.draw()


def test_a_dataset_of_a_read_is_plotted_lazy_or_not_and_by_xarray_itself(index: Path) -> None:
    query = f"FROM '{index}' WHERE crs = 'EPSG:32643'"
    eager = rs.to_xarray(query, bands=BANDS)
    lazy = rs.to_xarray(query, bands=BANDS, chunks={})
    np.testing.assert_array_equal(
        _image(rs.plot_rgb(eager, BANDS, time=0))[0], _image(rs.plot_rgb(lazy, BANDS, time=0))[0]
    )
    eager.red.isel(time=0).plot().figure.canvas.draw()


def test_bands_that_nobody_names_are_red_green_and_blue() -> None:
    shuffled = _dataset()[["blue", "red", "green"]]
    np.testing.assert_array_equal(_image(rs.plot_rgb(shuffled))[0], _image(rs.plot_rgb(shuffled, BANDS))[0])
    named = shuffled.rename(red="B04", green="B03", blue="B02")
    np.testing.assert_array_equal(_image(rs.plot_rgb(named))[0], _image(rs.plot_rgb(shuffled, BANDS))[0])


@pytest.mark.parametrize("bands", ["(red - green) / (red + green)", ["red / green"]])
def test_a_formula_has_one_colour_bar_for_all_times(bands: Any) -> None:
    dataset = _dataset(3)
    dataset["green"] = dataset.green * 0 + 130
    axes = rs.plot_rgb(dataset, bands)
    assert len(axes) == 3
    assert [bar.get_ylabel() for bar in axes[0].figure.axes if bar.get_label() == "<colorbar>"] == [
        bands if isinstance(bands, str) else bands[0]
    ]
    image, _ = _image(axes[1])
    assert image[..., 3].min() == 255
    assert len({tuple(color) for color in image[..., :3].reshape(-1, 3).tolist()}) > 5
    assert rs.plot_rgb(dataset, bands, time=0).figure.axes


def test_bad_arguments_of_plot_rgb_are_refused() -> None:
    from matplotlib import pyplot as plt

    dataset = _dataset(2)
    expected = r"expected three of the dataset's variables, or a formula over them: red, green, blue"
    with pytest.raises(InvalidArgumentError, match=expected):
        rs.plot_rgb(dataset, ("B04", "B03", "B02"))
    with pytest.raises(InvalidArgumentError, match="bands: got none, and the dataset has no red, green and blue"):
        rs.plot_rgb(dataset[["red", "blue"]])
    with pytest.raises(
        InvalidArgumentError, match="got 'nir' in 'nir - red', expected some of the dataset's variables"
    ):
        rs.plot_rgb(dataset, "nir - red")
    for percentiles in ((98, 2), (2, 101), 5, ("a", "b")):
        with pytest.raises(InvalidArgumentError, match="percentiles: got"):
            rs.plot_rgb(dataset, BANDS, percentiles=percentiles)
    _, ax = plt.subplots()
    with pytest.raises(InvalidArgumentError, match="got one for 2 times"):
        rs.plot_rgb(dataset, BANDS, ax=ax)
    assert rs.plot_rgb(dataset, BANDS, time=0, ax=ax) is ax


@pytest.mark.parametrize("call", [lambda: rs.plot_rgb(_dataset(), BANDS), lambda: rs.plot_footprints("i.parquet")])
def test_without_matplotlib_the_extra_is_named(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InvalidArgumentError, match=r"rasteret-sql\[plot\]"):
        call()


def _paths(ax: Any) -> list[Any]:
    return [path for collection in ax.collections for path in collection.get_paths()]


def test_footprints_are_those_of_the_items(index: Path) -> None:
    ax = rs.plot_footprints(index)
    paths = _paths(ax)
    assert len(paths) == 4
    wkb = (
        rs.connect().sql(f"SELECT DISTINCT ON (item_id) ST_AsWKB(geometry) FROM '{index}' ORDER BY item_id").fetchall()
    )
    expected = [shapely.from_wkb(bytes(each)).bounds for (each,) in wkb]
    found = [(*path.vertices.min(axis=0), *path.vertices.max(axis=0)) for path in paths]
    np.testing.assert_allclose(sorted(found), sorted(expected))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("longitude", "latitude")
    ax.figure.canvas.draw()
    assert all("°E" in label.get_text() for label in ax.get_xticklabels() if label.get_text())


def test_footprints_fetch_nothing(tmp_path: Path) -> None:
    written = write_collection(tmp_path / "c", items=2, size=256, tile=128)
    with RangeServer(written.folder) as server:
        rs.build_index(server.url(written.document.name), tmp_path / "s2.parquet")
        server.reset()
        rs.plot_footprints(tmp_path / "s2.parquet", color_by="eo:cloud_cover")
        assert server.requests == []


@pytest.mark.parametrize("color_by", ["eo:cloud_cover", "datetime"])
def test_numbers_and_times_get_a_colour_bar(index: Path, color_by: str) -> None:
    ax = rs.plot_footprints(rs.connect().sql(f"FROM '{index}'"), color_by=color_by)
    _, bar = ax.figure.axes
    assert bar.get_ylabel() == color_by
    ax.figure.canvas.draw()


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], ["a", "b", "c"]])
def test_each_colour_of_footprints_is_one_of_the_legend(values: list[Any]) -> None:
    boxes = [shapely.box(0, 0, 2, 1), shapely.box(1, 0, 3, 1), shapely.box(0.5, 0, 1.5, 1)]
    ax = rs.plot_footprints(_rows(*boxes, v=values), color_by="v")
    faces = np.concatenate([collection.get_facecolor() for collection in ax.collections])
    edges = np.concatenate([collection.get_edgecolor() for collection in ax.collections])
    assert (faces[:, 3] == 1).all()
    np.testing.assert_array_equal(faces, edges)
    if isinstance(values[0], str):
        shown = [patch.get_facecolor() for patch in ax.get_legend().get_patches()]
        np.testing.assert_allclose(sorted(map(tuple, faces)), sorted(shown))


def test_other_columns_get_a_legend(index: Path) -> None:
    ax = rs.plot_footprints(f"FROM '{index}'", color_by="crs")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["EPSG:32643", "EPSG:32644"]
    assert len(_paths(ax)) == 4


def _rows(*footprints: Any, **columns: Any) -> pa.Table:
    number = len(footprints)
    return pa.table(
        {
            "collection": ["c"] * number,
            "item_id": [f"item {n}" for n in range(number)],
            "geometry": [None if each is None else shapely.to_wkb(each) for each in footprints],
            **columns,
        }
    )


def test_items_without_a_value_are_grey_and_said_to_be() -> None:
    boxes = [shapely.box(n, 0, n + 1, 1) for n in range(3)]
    for values in ([1.0, None, 3.0], ["a", None, "b"], [None] * 3):
        ax = rs.plot_footprints(_rows(*boxes, v=values), color_by="v")
        assert "unknown" in [text.get_text() for text in ax.get_legend().get_texts()]
        assert len(_paths(ax)) == 3
    many = [shapely.box(n, 0, n + 1, 1) for n in range(14)]
    ax = rs.plot_footprints(_rows(*many, v=[f"kind {n}" for n in range(14)]), color_by="v")
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == "4 others"
    assert len(_paths(ax)) == 14


def test_footprints_around_the_antimeridian_make_one_narrow_map() -> None:
    west, over, east = (
        shapely.box(176, -18, 178, -16),
        shapely.box(179, -17, 181, -15),
        shapely.box(-178, -19, -176, -17),
    )
    ax = rs.plot_footprints(_rows(west, over, east))
    low, high = ax.get_xlim()
    assert 175 < low < 176
    assert 184 < high < 185
    assert len(_paths(ax)) == 3
    ax.figure.canvas.draw()
    assert {"176°E", "180°", "176°W"} <= {label.get_text() for label in ax.get_xticklabels()}


def test_a_footprint_is_cut_at_the_antimeridian() -> None:
    halves = shapely.multipolygons([shapely.box(-180, 0, -179, 1), shapely.box(179, 0, 180, 1)])
    for footprint in (
        shapely.box(179, 0, 181, 1),
        shapely.box(-181, 0, -179, 1),
        shapely.Polygon([(179, 0), (-179, 0), (-179, 1), (179, 1)]),
        halves,
    ):
        assert shapely.equals(split_at_antimeridian(footprint), halves)
    for footprint in (shapely.box(-180, -90, 180, 90), shapely.box(-89, 0, 90, 1), shapely.box(10, 0, 11, 1)):
        assert shapely.equals(split_at_antimeridian(footprint), footprint)
    ring = shapely.Polygon(
        [(178, 0), (-178, 0), (-178, 4), (178, 4)], holes=[[(179, 1), (-179, 1), (-179, 2), (179, 2)]]
    )
    assert split_at_antimeridian(ring).area == pytest.approx(16 - 2)


def test_what_is_no_index_or_has_no_footprints_is_refused(index: Path) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"color_by: got 'clouds', expected a column of the index: .*eo:cloud"
    ):
        rs.plot_footprints(index, color_by="clouds")
    with pytest.raises(InvalidIndexError, match="without the column collection, item_id, geometry"):
        rs.plot_footprints("SELECT 1 AS a")
    with pytest.raises(InvalidIndexError, match="does not run"):
        rs.plot_footprints("nowhere.parquet")
    with pytest.raises(EmptyReadError, match="got 2 items without one, expected some with"):
        rs.plot_footprints(_rows(None, shapely.Polygon()))


def test_dates_and_flags_are_colours_too() -> None:
    boxes = [shapely.box(n, 0, n + 1, 1) for n in range(2)]
    ax = rs.plot_footprints(_rows(*boxes, v=[dt.date(2024, 1, 1), dt.date(2024, 3, 1)]), color_by="v")
    assert len(ax.figure.axes) == 2
    ax = rs.plot_footprints(_rows(*boxes, v=[True, False]), color_by="v")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["false", "true"]
