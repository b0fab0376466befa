"""odc-loader's driver: the pixels of its driver for rasterio where files lie on the grid, by an index or by headers."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.errors import (
    AssetChangedError,
    AssetNotFoundError,
    InvalidArgumentError,
)
from rasteret_sql.testing import RangeServer, write_cog
from tests.arrays.cube_files import File, at, make_index, noise, stac_items
from tests.conftest import SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

odc_stac = pytest.importorskip("odc.stac")
loader = pytest.importorskip("odc.loader")

from odc.geo.geobox import GeoBox  # noqa: E402 - odc-stac may be absent
from odc.loader import test_reader as theirs  # noqa: E402

from rasteret_sql.integrations.odc import Driver  # noqa: E402

pytestmark = [
    # Of odc-stac and rasterio.
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
]

ITEMS, SIZE, CRS = 3, 96, "EPSG:32643"
SCENES = SHARED_DATA / "scenes"
RASTERIO = loader.RioDriver()


def read(
    driver: Any, path: Any, geobox: Any, *, band: int = 1, dst: Any = None, selection: Any = None, **cfg: Any
) -> Any:
    """Read as odc-loader does: regions and pixels."""
    src = loader.RasterSource(str(path), band=band)
    load = driver.new_load(geobox)
    with driver.restore_env(driver.capture_env(), load) as ctx:
        found = driver.open(src, ctx).read(loader.RasterLoadParams(**cfg), geobox, dst=dst, selection=selection)
    driver.finalise_load(load)
    return found


def assert_same_read(path: Any, geobox: Any, **arguments: Any) -> None:
    region, pixels = read(Driver(), path, geobox, **arguments)
    expected_region, expected = read(RASTERIO, path, geobox, **arguments)
    assert region == expected_region
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels, expected)


# The tests of odc-loader for its own reader.


@contextmanager
def tiff_on_disk(folder: Path, data: Any, **options: Any) -> Iterator[str]:
    """Write a file as `with_temp_tiff` of odc-loader does, but where others than GDAL can read it."""
    path = folder / f"{len(list(folder.iterdir()))}.tif"
    data.odc.write_cog(path, **options)
    yield str(path)


@pytest.fixture
def reader_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of odc-loader's tests, whose reader is ours."""

    def our_read(src: Any, cfg: Any, geobox: Any, dst: Any = None, selection: Any = None) -> Any:
        driver = Driver()
        return driver.open(src, driver.new_load(geobox)).read(cfg, geobox, dst=dst, selection=selection)

    monkeypatch.setattr(theirs, "rio_read", our_read)
    monkeypatch.setattr(theirs, "RioDriver", Driver)
    monkeypatch.setattr(theirs, "with_temp_tiff", partial(tiff_on_disk, tmp_path))
    monkeypatch.setattr(theirs, "rasterio", SimpleNamespace(errors=SimpleNamespace(RasterioIOError=AssetNotFoundError)))
    return theirs


@pytest.mark.parametrize("name", ["rio_read", "reader_ovr", "reader_unhappy_paths", "reader_fail_on_error"])
def test_the_reader_passes_the_tests_of_odc_loader(reader_tests: Any, name: str) -> None:
    getattr(reader_tests, f"test_{name}")()


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("dims", [("y", "x", "band"), ("band", "y", "x")])
def test_the_reader_passes_the_test_of_odc_loader_for_bands_as_a_dimension(
    reader_tests: Any, resampling: str, dims: tuple[str, ...]
) -> None:
    reader_tests.test_rio_read_rgb(resampling, dims)


def test_the_driver_has_the_protocol_and_the_names_of_odc_loader() -> None:
    from odc.loader.types import is_reader_driver

    assert is_reader_driver(Driver())
    assert is_reader_driver(Driver)
    assert isinstance(loader.reader_driver("rasteret_sql"), Driver)
    assert isinstance(loader.reader_driver("rasteret_sql.integrations.odc.Driver"), Driver)
    assert rs.integrations.odc.Driver is Driver
    with pytest.raises(AttributeError, match="nothing"):
        _ = rs.integrations.nothing


# The pixels of its driver for rasterio.


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    """Files of several kinds, and how many bands each has."""
    folder = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(1)
    mask = rng.random((70, 90)) > 0.4
    floats = np.where(mask, rng.normal(size=(70, 90)), np.nan).astype("float32")
    small = rng.integers(0, 9, (3, 70, 90))
    files: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "uint16": (small[0].astype("uint16"), None, {"nodata": 3}),
        "int16 strips": (small[0].astype("int16") - 4, None, {"nodata": -2, "rows_per_strip": 16}),
        "no nodata": (small[0].astype("uint8"), None, {"compression": "lzw"}),
        "float": (floats, None, {"nodata": float("nan"), "predictor": 3}),
        "float with a number": (np.nan_to_num(floats, nan=-9999.0), None, {"nodata": -9999}),
        "mask": (small[0].astype("uint16"), mask, {}),
        "bands": (small.astype("uint16"), None, {"nodata": 0}),
        "planar": (small.astype("int32"), None, {"nodata": 8, "planar": True}),
        "south up": (small[0].astype("uint16"), None, {"nodata": 3, "transform": at(south_up=True)}),
        "sparse": (np.where(np.arange(90) < 40, small[0], 3).astype("uint16"), None, {"nodata": 3, "sparse": True}),
    }
    found = {}
    for name, (data, valid, options) in files.items():
        path = folder / f"{name.replace(' ', '_')}.tif"
        write_cog(path, data, valid, **{"tile": 32, "overviews": (2,), "transform": at()} | options)
        found[name] = path, 3 if data.ndim == 3 else 1
    return found


NAMES = (
    "uint16", "int16 strips", "no nodata", "float", "float with a number", "mask", "bands", "planar", "south up", "sparse",
)  # fmt: skip


@settings(max_examples=150)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_pixels_of_native_windows_are_those_of_the_driver_for_rasterio(kinds: Any, data: Any, name: str) -> None:
    path, bands = kinds[name]
    with rasterio.open(path) as source:
        box, nodata = GeoBox(source.shape, source.transform, source.crs), source.nodata
        dtypes = [source.dtypes[0], "float32", "float64"]
    # Windows begin and end inside the file or outside of it, or lie beside it.
    top, left = data.draw(st.integers(-30, 80)), data.draw(st.integers(-30, 100))
    height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))
    window = box.translate_pix(left, top).crop((height, width))
    shift = data.draw(st.sampled_from([0.0, 0.3]))
    cfg = {
        "dtype": data.draw(st.sampled_from(dtypes)),
        "fill_value": data.draw(st.sampled_from([None, 0, 7])),
        "src_nodata_fallback": data.draw(st.sampled_from([None, 5])),
        "src_nodata_override": data.draw(st.sampled_from([None, 6])),
        "resampling": data.draw(st.sampled_from(["nearest", "bilinear"])) if not shift else "nearest",
    }
    if name == "float" and nodata is not None and cfg["dtype"] == "float64":
        cfg["dtype"] = "float32"
    into = np.full((height, width), 1, cfg["dtype"]) if data.draw(st.booleans()) else None
    assert_same_read(path, window.translate_pix(shift, shift), band=data.draw(st.integers(1, bands)), dst=into, **cfg)


def test_nearest_pixels_of_coarser_grids_are_those_of_the_driver_for_rasterio_but_at_edges_of_pixels(
    kinds: Any,
) -> None:
    for name in ("uint16", "bands", "float"):
        path, _ = kinds[name]
        with rasterio.open(path) as source:
            box = GeoBox(source.shape, source.transform, source.crs)
        for factor in (2, 3):
            for use_overviews in (True, False):
                region, pixels = read(Driver(), path, box.zoom_out(factor), use_overviews=use_overviews)
                assert region == (slice(0, pixels.shape[0]), slice(0, pixels.shape[1]))
                assert pixels.shape == box.zoom_out(factor).shape
        assert_same_read(path, box.zoom_out(3), use_overviews=False)


@pytest.mark.skipif(not SCENES.is_dir(), reason=f"no folder of real files at {SCENES}")
def test_pixels_of_real_files_are_those_of_the_driver_for_rasterio() -> None:
    compared = 0
    for path in sorted(SCENES.rglob("*.tif")):
        with rasterio.open(path) as source:
            # Complex numbers become no floats, and rasterio's libjpeg gives other values than ours.
            is_other = source.dtypes[0].startswith("complex") or source.profile.get("compress") == "jpeg"
            if source.crs is None or source.transform.b or source.gcps[0] or is_other:
                continue
            box = GeoBox(source.shape, source.transform, source.crs)
        top, left = (max(0, size // 2 - 100) for size in box.shape)
        assert_same_read(path, box[top : top + 200, left : left + 200])
        compared += 1
    assert compared > 20


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Items of two bands on a server, two of which overlap, their index, and STAC items."""
    folder = tmp_path_factory.mktemp("scene")
    files = [
        File(
            f"item{number}", asset, noise(10 * number + place, (SIZE, SIZE)), when=1 + number // 2,
            options={"transform": at(600_000 + 320 * number), "nodata": 0},
        )
        for number in range(ITEMS)
        for place, asset in enumerate(("red", "nir"))
    ]  # fmt: skip
    with RangeServer(folder) as server:
        index = make_index(folder, files, server.url("").rstrip("/"))
        items = stac_items(folder, files)
        for item in items:
            for asset in item.assets.values():
                asset.href = server.url(Path(asset.href).name)
        yield SimpleNamespace(folder=folder, index=index, items=items, server=server, files=files)


GRIDS: dict[str, dict[str, Any]] = {
    "native": {"bands": ["red", "nir"], "groupby": "time", "crs": CRS, "resolution": 10},
    "averaged": {"bands": ["red"], "groupby": "time", "crs": "EPSG:3857", "resolution": 31, "resampling": "average"},
    "floats": {"bands": ["red"], "crs": CRS, "resolution": 10, "dtype": "float32", "nodata": float("nan")},
}


def local(scene: Any) -> list[Any]:
    """The items, with hrefs that GDAL opens without a server."""
    return stac_items(scene.folder, scene.files)


@pytest.mark.parametrize("name", ["native", "floats"])
@pytest.mark.parametrize("is_indexed", [True, False])
@pytest.mark.parametrize("chunks", [None, {"x": 50, "y": 40}])
def test_odc_stac_loads_the_same_cube_with_either_driver(scene: Any, name: str, is_indexed: bool, chunks: Any) -> None:
    driver = rs.integrations.odc.Driver(index=scene.index) if is_indexed else "rasteret_sql"
    expected = odc_stac.load(local(scene), **GRIDS[name])
    found = odc_stac.load(scene.items, driver=driver, chunks=chunks, **GRIDS[name])
    for band in expected:
        assert found[band].dtype == expected[band].dtype
        np.testing.assert_array_equal(found[band].compute(scheduler="threads").values, expected[band].values)


def test_pixels_do_not_depend_on_how_a_grid_is_cut_into_chunks(scene: Any) -> None:
    whole = odc_stac.load(scene.items, driver="rasteret_sql", **GRIDS["averaged"])
    for driver in ("rasteret_sql", Driver(scene.index)):
        cut = odc_stac.load(scene.items, driver=driver, chunks={"x": 13, "y": 20}, **GRIDS["averaged"])
        np.testing.assert_array_equal(cut.red.compute(scheduler="threads").values, whole.red.values)


def test_tasks_run_in_other_processes_and_those_of_an_index_need_it_no_more(scene: Any, tmp_path: Path) -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    copy = tmp_path / "copy.parquet"
    copy.write_bytes(scene.index.read_bytes())
    whole = odc_stac.load(scene.items, driver="rasteret_sql", **GRIDS["native"])
    lazy = [
        odc_stac.load(scene.items, driver=driver, chunks={"x": 100, "y": 100}, **GRIDS["native"])
        for driver in ("rasteret_sql", Driver(copy))
    ]
    copy.unlink()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for each in lazy:
            found = each.red.compute(scheduler="processes", pool=pool)
            np.testing.assert_array_equal(found.values, whole.red.values)


def test_an_index_saves_the_requests_for_headers_and_without_one_each_file_takes_one(scene: Any) -> None:
    grid = GRIDS["native"] | {"bands": ["red"]}
    counts = {}
    for name, driver in (("headers", "rasteret_sql"), ("index", Driver(scene.index))):
        scene.server.reset()
        odc_stac.load(scene.items, driver=driver, **grid)
        counts[name] = len(scene.server.requests)
    assert counts == {"headers": 2 * ITEMS, "index": ITEMS}


def test_files_that_an_index_lacks_are_read_by_their_headers(scene: Any) -> None:
    some = Driver(f"FROM '{scene.index}' WHERE item_id <> 'item1'")
    for chunks in (None, {"x": 64, "y": 64}):
        scene.server.reset()
        found = odc_stac.load(scene.items, driver=some, chunks=chunks, **GRIDS["native"]).compute(scheduler="sync")
        first = [request.path for request in scene.server.requests if request.start == 0]
        assert set(first) == {"item1_red.tif", "item1_nir.tif"}
        expected = odc_stac.load(local(scene), **GRIDS["native"])
        np.testing.assert_array_equal(found.red.values, expected.red.values)


def test_signatures_of_patched_urls_do_not_hide_files_from_the_index(scene: Any) -> None:
    scene.server.reset()
    odc_stac.load(scene.items, driver=Driver(scene.index), patch_url=lambda url: f"{url}?sig=secret", **GRIDS["native"])
    assert len(scene.server.requests) == 2 * ITEMS


# What is refused, and what fails.


@pytest.fixture
def one(tmp_path: Path) -> tuple[Path, Any]:
    path = write_cog(tmp_path / "one.tif", noise(1), tile=32, overviews=(), transform=at(), nodata=0)
    with rasterio.open(path) as source:
        return path, GeoBox(source.shape, source.transform, source.crs)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"resampling": "lanczos"}, "resampling: got 'lanczos'"),
        ({"dtype": "uint8", "src_nodata_override": 999}, "nodata value 999"),
        ({"dtype": "uint8", "fill_value": 0}, "uint8 cannot hold"),
    ],
)
def test_arguments_that_cannot_be_followed_are_refused_by_name(one: Any, cfg: dict[str, Any], message: str) -> None:
    path, box = one
    for fail_on_error in (True, False):
        with pytest.raises(InvalidArgumentError, match=message):
            read(Driver(), path, box, fail_on_error=fail_on_error, **cfg)


def test_files_that_cannot_be_placed_are_refused_by_name(tmp_path: Path, one: Any) -> None:
    _, box = one
    for name, options in (
        ("nowhere", {}),
        ("rotated", {"transform": rasterio.Affine(10, 2, 6e5, 2, -10, 1.4e6), "crs": CRS}),
    ):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", height=8, width=8, count=1, dtype="uint8", **options
        ) as file:
            file.write(np.ones((1, 8, 8), "uint8"))
    with pytest.raises(InvalidArgumentError, match=r"nowhere\.tif.*no CRS"):
        read(Driver(), tmp_path / "nowhere.tif", box)
    with pytest.raises(InvalidArgumentError, match=r"rotated\.tif.*along the axes"):
        read(Driver(), tmp_path / "rotated.tif", box)
    with pytest.raises(InvalidArgumentError, match="rotated"):
        Driver().new_load(box.rotate(10))
    with pytest.raises(InvalidArgumentError, match="subdataset"):
        Driver().open(loader.RasterSource("a.nc", subdataset="b"), Driver().new_load(box))


def test_a_nodata_value_for_a_file_with_a_mask_is_refused_where_it_is_resampled(kinds: Any) -> None:
    path, _ = kinds["mask"]
    with rasterio.open(path) as source:
        box = GeoBox(source.shape, source.transform, source.crs)
    with pytest.raises(InvalidArgumentError, match="mask"):
        read(Driver(), path, box.zoom_out(2), src_nodata_override=3)


@pytest.mark.parametrize("chunks", [None, {"x": 64, "y": 64}])
@pytest.mark.parametrize("is_indexed", [True, False])
def test_files_that_fail_are_errors_or_left_out(
    tmp_path: Path, chunks: Any, is_indexed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    files = [File(f"item{number}", "red", noise(number), when=1 + number, options={"nodata": 0}) for number in range(2)]
    index = make_index(tmp_path, files)
    items = stac_items(tmp_path, files)
    (tmp_path / "item1_red.tif").unlink()
    driver = Driver(index) if is_indexed else "rasteret_sql"
    with pytest.raises(AssetNotFoundError, match="item1_red"):
        odc_stac.load(items, driver=driver, chunks=chunks).compute(scheduler="sync")
    with caplog.at_level(logging.WARNING, "rasteret_sql"):
        found = odc_stac.load(items, driver=driver, chunks=chunks, fail_on_error=False).compute(scheduler="sync")
    assert "item1_red" in caplog.text
    np.testing.assert_array_equal(found.red[0], noise(0))
    assert np.isnan(found.red[1]).all()


def test_a_file_that_was_replaced_since_it_was_indexed_is_an_error(tmp_path: Path) -> None:
    files = [File("item0", "red", noise(1), options={"nodata": 0})]
    index, items = make_index(tmp_path, files), stac_items(tmp_path, files)
    write_cog(tmp_path / "item0_red.tif", noise(2), tile=16, overviews=(), transform=at())
    with pytest.raises(AssetChangedError, match="item0"):
        odc_stac.load(items, driver=Driver(index))
    np.testing.assert_array_equal(odc_stac.load(items, driver="rasteret_sql").red[0], noise(2))


def test_results_of_another_driver_are_not_taken_for_those_of_this_one(scene: Any) -> None:
    names = {
        odc_stac.load(scene.items, driver=driver, chunks={}, **GRIDS["native"]).red.data.name
        for driver in (None, "rasteret_sql")
    }
    assert len(names) == 2
