"""Grids, failures and memory of cubes, and what holds for any collection: lazy is eager, and a part is a part."""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray  # noqa: F401 - gives datasets .rio
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.errors import EmptyReadError, FetchError, InvalidArgumentError, TiffError
from rasteret_sql.geo.pixelmap import PixelMap
from rasteret_sql.geo.resampling import METHODS
from rasteret_sql.read import assembly, regrid
from rasteret_sql.testing.faults import Fault
from rasteret_sql.testing.server import RangeServer
from tests.arrays.cube_files import File, at, make_index, noise

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def test_a_grid_that_is_that_of_the_files_costs_and_gives_what_native_pixels_do(tmp_path: Path) -> None:
    data = [noise(number, (96, 96)) for number in range(2)]
    files = [
        File("a", "red", data[0], 1, options={"nodata": 0, "transform": at(600_003, 1_400_007)}),
        File("b", "red", data[1], 2, options={"nodata": 0, "transform": at(600_003, 1_400_007)}),
    ]
    area = {"bbox": (600_213, 1_399_207, 600_613, 1_399_807), "geometry_crs": "EPSG:32643"}
    with RangeServer(tmp_path) as server:
        index = make_index(tmp_path, files, server.base_url)
        server.reset()
        native = rs.to_xarray(index, **area)
        asked = sorted((request.path, request.start, request.end) for request in server.requests)
        np.testing.assert_array_equal(native.red, [each[20:80, 21:61] for each in data])
        box = native.rio.transform()
        grids: list[dict[str, Any]] = [
            area | {"resolution": 10},
            area | {"resolution": (10.0, 10.0), "crs": 32643},
            {"crs": native.rio.crs, "shape": (60, 40), "transform": box},
            {"crs": "EPSG:32643", "shape": (60, 40), "transform": tuple(box)[:6]},
            area | {"crs": "EPSG:32643", "shape": (60, 40)},
            {"like": native},
            {"like": native.red},
            {"like": {"crs": native.rio.crs, "transform": box, "height": 60, "width": 40}},
        ]
        for number, options in enumerate(grids):
            server.reset()
            dataset = rs.to_xarray(index, resampling=("nearest", "cubic")[number % 2], **options)
            xr.testing.assert_identical(dataset, native)
            assert sorted((request.path, request.start, request.end) for request in server.requests) == asked


def test_an_odc_geobox_is_a_grid(tmp_path: Path) -> None:
    geobox = pytest.importorskip("odc.geo.geobox", reason="odc-geo is not installed")
    pytest.importorskip("odc.geo.xr", reason="odc-geo is not installed")
    index = make_index(tmp_path, [File("a", "red", noise(1), options={"nodata": 0})])
    box = geobox.GeoBox.from_bbox((600_100, 1_399_500, 600_500, 1_399_900), "EPSG:32643", resolution=20)
    dataset = rs.to_xarray(index, like=box)
    assert dataset.odc.geobox == box
    np.testing.assert_array_equal(dataset.red[0], noise(1)[11:51:2, 11:51:2])


@pytest.mark.parametrize("shift", [(5.0, 0.0), (0.0, 5.0), (2.5, -2.5)])
def test_items_beside_the_grid_of_others_are_refused_with_an_offer(tmp_path: Path, shift: tuple[float, float]) -> None:
    files = [
        File("a", "red", noise(1), 1),
        File("b", "red", noise(2), 2, options={"transform": at(600_000 + shift[0], 1_400_000 + shift[1])}),
    ]
    index = make_index(tmp_path, files)
    for read in (rs.to_xarray, rs.to_numpy):
        with pytest.raises(InvalidArgumentError, match=r'"red" of item b lie .* beside .*item a.* give resolution=10'):
            read(index)
    offered = rs.to_xarray(index, resolution=10)
    assert max(offered.sizes["x"], offered.sizes["y"]) <= 66, "no grid of double the width"
    np.testing.assert_array_equal(np.diff(offered.x), 10.0)
    # Edges are multiples of the resolution where the files have no grid in common.
    assert (offered.x.values[0] - 5) % 10 == 0


def test_a_grid_covers_the_area_with_pixels_on_its_anchor(tmp_path: Path) -> None:
    index = make_index(
        tmp_path, [File("a", "red", noise(1), options={"transform": at(600_003, 1_400_004), "nodata": 0})]
    )
    whole = rs.to_xarray(index, resolution=10)
    xr.testing.assert_identical(whole, rs.to_xarray(index))
    for left in range(600_101, 600_111, 3):
        part = rs.to_xarray(
            index, resolution=10, bbox=(left, 1_399_600, left + 50, 1_399_700), geometry_crs="EPSG:32643"
        )
        assert float(part.x[0]) - 5 <= left
        assert float(part.x[-1]) + 5 >= left + 50
        assert float(part.y[0]) + 5 >= 1_399_700
        assert part.sizes["x"] <= 6
        np.testing.assert_array_equal(part.red, whole.red.sel(x=part.x, y=part.y))
    coarse = rs.to_xarray(index, resolution=25)
    assert (float(coarse.x[0]) - 12.5) % 25 == 0
    assert (float(coarse.y[0]) + 12.5) % 25 == 0


def test_grids_that_cannot_be_are_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    with RangeServer(tmp_path) as server:
        index = make_index(tmp_path, [File("a", "red", noise(1))], server.base_url)
        server.reset()
        missing = tmp_path / "no_index.parquet"
        area = {"bbox": (75, 12, 76, 13)}
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"resampling": "best"}, "resampling: got 'best'"),
            ({"resampling": {"nir": "nearest"}, "bands": ["red"]}, "resampling: got band 'nir'"),
            ({"mosaic": "sum", "groupby": "day"}, "mosaic: got 'sum'"),
            ({"mosaic": "mean"}, "without groupby"),
            ({"groupby": 3}, "groupby: got 3"),
            ({"on_error": "ignore"}, "on_error: got 'ignore'"),
            ({"chunks": {"lat": 5}}, "chunks: got lat"),
            ({"resolution": 0}, "resolution: got 0"),
            ({"resolution": "fine"}, "resolution: got 'fine'"),
            ({"resolution": -10, "crs": "EPSG:32643"} | area, "resolution: got -10"),
            ({"shape": (5,)}, r"shape: got \(5,\)"),
            ({"shape": (0, 5), "crs": 4326} | area, r"shape: got \(0, 5\)"),
            ({"shape": (5, 5), "resolution": 3}, "shape: got resolution too"),
            ({"transform": at()}, "transform: expected shape"),
            ({"transform": at(), "shape": (5, 5)}, "transform: got no crs"),
            ({"transform": (1, 1, 0, 1, 1, 0), "shape": (5, 5), "crs": 4326}, "rotated or sheared"),
            ({"like": object()}, "like: got object"),
            ({"like": {"crs": None, "transform": at(), "height": 5, "width": 5}}, "without a CRS"),
            ({"like": {"crs": 4326, "transform": at(), "height": 5, "width": 5}, "crs": 4326}, "like: got crs too"),
            ({"crs": "EPSG:nothing"}, "crs: got 'EPSG:nothing'"),
            ({"crs": 4326, "resolution": 1, "level": 1}, "level: got 1 with a grid"),
            ({"bbox": (600_000, 1_399_000, 601_000, 1_400_000)}, 'geometry_crs="EPSG:32643"'),
        ]
        for options, message in wrong:
            # Not even the index is looked for.
            with pytest.raises(InvalidArgumentError, match=message):
                rs.to_xarray(missing, **options)
        # What only the index tells is told before a pixel is read.
        for options, message in [
            ({"crs": 4326}, r"resolution: got none for EPSG:4326.*resolution="),
            ({"groupby": "cloud"}, "groupby: got 'cloud'"),
        ]:
            with pytest.raises(InvalidArgumentError, match=message):
                rs.to_xarray(index, **options)
        with pytest.raises(EmptyReadError, match=r"datetime: '2020' matches none"):
            rs.to_xarray(index, datetime="2020")
        assert server.requests == []


@pytest.fixture
def served(tmp_path: Path) -> Any:
    """Three items of two bands on a server, as (server, index, files)."""
    files = [
        File(item, asset, noise(number * 2 + (asset == "nir")), number + 1, options={"nodata": 0})
        for number, item in enumerate("abc")
        for asset in ("red", "nir")
    ]
    with RangeServer(tmp_path) as server:
        yield server, make_index(tmp_path, files, server.base_url), files


def test_what_fails_is_named_or_filled_and_listed_while_others_stay_whole(served: Any) -> None:
    server, index, files = served
    (Path(server.root) / "b_red.tif").unlink()
    whole = {(file.item, file.asset): file.data for file in files}
    for options in ({}, {"resolution": 10, "crs": "EPSG:32643"}, {"groupby": "time"}):
        with pytest.raises(FetchError, match=r'"red" of item b.*b_red\.tif'):
            rs.to_xarray(index, **options)
        dataset = rs.to_xarray(index, on_error="nodata", **options)
        (failed,) = dataset.attrs["failed"]
        assert 'asset "red" of item b' in failed
        assert "b_red.tif" in failed
        for number, item in enumerate("abc"):
            for asset in ("red", "nir"):
                expected = np.zeros_like(whole["b", "red"]) if (item, asset) == ("b", "red") else whole[item, asset]
                np.testing.assert_array_equal(dataset[asset][number], expected)
    assert "failed" not in rs.to_xarray(index, bands=["nir"], on_error="nodata").attrs


def test_what_fails_lazily_is_named_or_logged(served: Any, caplog: pytest.LogCaptureFixture) -> None:
    server, index, _ = served
    (Path(server.root) / "b_red.tif").unlink()
    options: dict[str, Any] = {"bands": ["red"], "chunks": {"y": 32}}
    strict = rs.to_xarray(index, **options)
    with pytest.raises(FetchError, match=r'"red" of item b'):
        strict.compute()
    with caplog.at_level(logging.WARNING, "rasteret_sql"):
        filled = rs.to_xarray(index, on_error="nodata", **options).compute()
    assert (filled.red[1] == 0).all()
    assert (filled.red[[0, 2]] != 0).all()
    assert any('asset "red" of item b' in message and "nodata" in message for message in caplog.messages)


def test_a_broken_tile_fails_alone(served: Any) -> None:
    server, index, files = served
    server.add_faults("a_red.tif", Fault("status", status=404))
    with pytest.raises(FetchError, match=r'"red" of item a'):
        rs.to_xarray(index, bands=["red"])
    path = Path(server.root) / "c_nir.tif"
    content = bytearray(path.read_bytes())
    # Deflate of noise is hardly more than a copy: it breaks where the tile begins.
    content[-2000:] = bytes(2000)
    before = path.stat()
    path.write_bytes(bytes(content))
    # As far as the ETag goes, it is the file that was indexed.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(TiffError, match=r'tile \(row 1.*"nir" of item c'):
        rs.to_xarray(index, bands=["nir"])
    dataset = rs.to_xarray(index, bands=["nir"], on_error="nodata")
    (failed,) = dataset.attrs["failed"]
    assert 'asset "nir" of item c' in failed
    whole = {(file.item, file.asset): file.data for file in files}
    np.testing.assert_array_equal(dataset.nir[:2], [whole["a", "nir"], whole["b", "nir"]])
    np.testing.assert_array_equal(dataset.nir[2, :32], whole["c", "nir"][:32])


@pytest.mark.parametrize(
    ("mosaic", "crs"),
    [("first", "EPSG:4326"), ("mean", "EPSG:4326"), ("median", "EPSG:4326"), ("median", "EPSG:32643")],
)
def test_scratch_memory_is_bounded_however_many_files_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mosaic: str, crs: str
) -> None:
    shape, bound = (96, 128), 100_000
    # Each on a lattice of its own, as Landsat's scenes are.
    files = [
        File(f"i{number:02}", "red", noise(number, shape), 1, options={"nodata": 0, "transform": at(600_000 + 10.5 * number)})
        for number in range(24)
    ]  # fmt: skip
    index = make_index(tmp_path, files)
    options: dict[str, Any] = {"crs": crs, "resolution": 10 if crs == "EPSG:32643" else 0.0001, "groupby": "collection"}
    expected = rs.to_numpy(index, mosaic=mosaic, **options)
    held: list[int] = []
    depths: list[int] = []
    fetch, place = assembly._fetch, regrid.Regridder.place

    def counted(plan: Any, batch: Any, *rest: Any) -> None:
        fetch(plan, batch, *rest)
        arrays = [each for _, sources, _ in batch for source in sources for each in (source.pixels, source.mask)]
        held.append(sum(each.nbytes for each in arrays))

    def placed(self: Any, start: int, step: int) -> None:
        depths.append(step * self._box.width * max(len(sources) for _, sources, _ in self._shares))
        place(self, start, step)

    monkeypatch.setattr(assembly, "SCRATCH_BYTES", bound)
    monkeypatch.setattr(assembly, "BLOCK_PIXELS", 4096)
    monkeypatch.setattr(assembly, "_fetch", counted)
    monkeypatch.setattr(regrid.Regridder, "place", placed)
    bounded = rs.to_numpy(index, mosaic=mosaic, **options)
    np.testing.assert_array_equal(bounded.data, expected.data)
    np.testing.assert_array_equal(bounded.mask, expected.mask)
    assert len(held) > 5
    assert max(held) <= bound
    if mosaic == "median":
        # All sources of a part are in hand at once, so the parts are small.
        assert max(depths) <= max(4096, 24 * bounded.data.shape[-1])


def test_what_means_hold_beside_the_result_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        File(f"i{number:02}", "red", noise(number, (32, 32)), number + 1, options={"transform": at(600_000 + 320 * (number % 4))})
        for number in range(20)
    ]  # fmt: skip
    index = make_index(tmp_path, files)
    shape = {"crs": "EPSG:32643", "transform": at(), "shape": (200, 200)}
    monkeypatch.setattr(assembly, "SCRATCH_BYTES", 1_000_000)
    batches: list[int] = []
    fetch = assembly._fetch

    def counted(plan: Any, batch: Any, *rest: Any) -> None:
        batches.append(len(batch))
        fetch(plan, batch, *rest)

    monkeypatch.setattr(assembly, "_fetch", counted)
    dataset = rs.to_xarray(index, groupby="day", mosaic="mean", **shape)
    assert dataset.sizes["time"] == 20
    # 13 bytes of sum, count and mask for each of 40,000 pixels: one slice at a time, though its file has 3 KiB.
    assert max(batches) <= 1
    for number, file in enumerate(files):
        west = round((file.options["transform"][2] - 600_000) / 10)
        np.testing.assert_array_equal(dataset.red[number, :32, west : west + 32], file.data)


#: Rows and columns of a part of a grid, as fractions of its sides.
Part = tuple[float, float, float, float]


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[File], dict[str, Any], dict[str, int], Part]:
    """A few files in up to two CRSs, how they are read, chunks, and a part of the grid."""
    dtype, nodata = draw(st.sampled_from([("uint16", 0), ("uint8", None), ("float32", np.nan), ("float32", -9999.0), ("int16", None)]))  # fmt: skip
    masked = draw(st.booleans())
    files = []
    for number in range(draw(st.integers(1, 4))):
        shape = draw(st.integers(9, 60)), draw(st.integers(9, 60))
        east = draw(st.booleans())
        step = draw(st.sampled_from([0, 5, 10]))
        west = (174_300 if east else 825_000) + draw(st.integers(0, 30)) * 10 + step
        data = noise(number, shape, dtype)
        if nodata is not None:
            data[np.random.default_rng(number).random(shape) < 0.2] = nodata
        if dtype == "float32":
            data[:3, :3] = np.nan
        mask = np.random.default_rng(number + 9).random(shape) < 0.8 if masked else None
        options = {
            "nodata": nodata, "crs": "EPSG:32644" if east else "EPSG:32643", "tile": draw(st.sampled_from([16, 32])),
            "transform": at(west, 1_400_000 - 10 * draw(st.integers(0, 20)), south_up=draw(st.integers(0, 4)) == 0),
            "overviews": draw(st.sampled_from([(), (2,)])),
        }  # fmt: skip
        files.append(File(f"i{number}", "red", data, draw(st.integers(1, 2)), mask, {}, options))
    crs = draw(st.sampled_from(["EPSG:32643", "EPSG:4326"]))
    size = draw(st.sampled_from([7.0, 10.0, 13.0, 24.0])) / (1 if crs == "EPSG:32643" else 108_000)
    wanted: dict[str, Any] = {
        "crs": crs, "resolution": size, "mask_and_scale": draw(st.booleans()),
        "resampling": draw(st.sampled_from(METHODS)),
    }  # fmt: skip
    groupby = draw(st.sampled_from([None, "day", "collection"]))
    if groupby:
        wanted |= {"groupby": groupby, "mosaic": draw(st.sampled_from(["first", "last", "min", "mean", "median", "count"]))}  # fmt: skip
    chunks = {name: draw(st.integers(8, 70)) for name in ("x", "y")} | {"time": draw(st.integers(1, 2))}
    fraction = st.floats(0, 1, width=16)
    return files, wanted, chunks, (draw(fraction), draw(fraction), draw(fraction), draw(fraction))


def _same(one: xr.Dataset, other: xr.Dataset) -> None:
    """Bands alike, and masks: one that is left out says that all is valid."""
    for name in {*one.data_vars, *other.data_vars}:
        if name in one and name in other:
            xr.testing.assert_identical(one[name], other[name])
        else:
            assert name == "red_valid"
            assert (one if name in one else other)[name].all()


def _window(dataset: xr.Dataset, part: Part) -> dict[str, slice]:
    """A part of a grid, of one pixel at least."""
    spans = {}
    for dim, ends in (("y", part[:2]), ("x", part[2:])):
        size = dataset.sizes[dim]
        start, end = (round(fraction * size) for fraction in sorted(ends))
        start = min(start, size - 1)
        spans[dim] = slice(start, max(end, start + 1))
    return spans


def _assert_alone_is_a_part(index: Any, eager: xr.Dataset, window: dict[str, slice], **options: Any) -> None:
    """A window that is read as a grid of its own has the pixels of the same window of the whole, to the last bit."""
    expected = eager.isel(window)
    try:
        alone = rs.to_xarray(index, like=expected, **options)
    except EmptyReadError:
        assert "red_valid" not in expected or not expected.red_valid.any()
        return
    if "groupby" not in options:
        expected = expected.sel(time=eager.item_id.isin(alone.item_id))
    if options.get("groupby") != "collection":
        # The one slice of a collection has the time of its first item, which may lie beside the window.
        expected = expected.sel(time=expected.time.isin(alone.time))
        np.testing.assert_array_equal(alone.time, expected.time)
    np.testing.assert_array_equal(alone.red, expected.red)
    if "red_valid" in alone and "red_valid" in expected:
        np.testing.assert_array_equal(alone.red_valid, expected.red_valid)


#: A file of 10 m on a grid of 24 m: a box of 2.4 pixels ends on the edge of a pixel every 5 boxes.
_TOUCHING = File(
    "i0", "red", noise(0, (57, 43), "int16"), 1, None, {},
    {"crs": "EPSG:32643", "tile": 16, "transform": at(825_035, 1_399_870), "overviews": ()},
)  # fmt: skip
_ONTO_24_M = {"crs": "EPSG:32643", "resolution": 24.0, "mask_and_scale": False}


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=collections())
@example(case=([_TOUCHING], _ONTO_24_M | {"resampling": "average"}, {"x": 9, "y": 11, "time": 1}, (0.3, 0.9, 0.1, 0.6)))
@example(case=([_TOUCHING], _ONTO_24_M | {"resampling": "mode"}, {"x": 9, "y": 11, "time": 1}, (0.1, 0.7, 0.4, 1.0)))
@example(case=([_TOUCHING], _ONTO_24_M | {"resampling": "cubic"}, {"x": 8, "y": 13, "time": 1}, (0.5, 0.6, 0.0, 1.0)))
def test_lazy_is_eager_and_a_window_is_a_part_of_the_whole(
    case: tuple[list[File], dict[str, Any], dict[str, int], Part],
) -> None:
    files, wanted, chunks, part = case
    with tempfile.TemporaryDirectory() as folder:
        index = make_index(Path(folder), files)
        eager = rs.to_xarray(index, **wanted)
        lazy = rs.to_xarray(index, chunks=chunks, **wanted)
        _same(lazy.compute(scheduler="threads"), eager)
        _same(pickle.loads(pickle.dumps(lazy)).compute(scheduler="sync"), eager)
        window = _window(eager, part)
        _same(lazy.isel(window).compute(scheduler="sync"), eager.isel(window))
        options = {name: value for name, value in wanted.items() if name not in {"crs", "resolution"}}
        _assert_alone_is_a_part(index, eager, window, **options)


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of files in two zones that overlap, with holes, none on the grid of another."""
    files = []
    for number, (crs, west, shape) in enumerate(
        [("EPSG:32643", 825_003.7, (61, 83)), ("EPSG:32643", 825_300, (70, 59)), ("EPSG:32644", 174_305, (66, 71))]
    ):
        data = noise(number, shape)
        data[np.random.default_rng(number).random(shape) < 0.05] = 0
        options = {"nodata": 0, "crs": crs, "tile": 16, "transform": at(west, 1_400_000 - 70 * number)}
        files.append(File(f"i{number}", "red", data, options=options))
    return make_index(tmp_path_factory.mktemp("overlapping"), files)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "grid", [("EPSG:32643", 24.0), ("EPSG:32643", 7.0), ("EPSG:4326", 0.00023), ("EPSG:3857", 13.1)]
)
def test_a_pixel_does_not_depend_on_what_is_read_with_it(
    overlapping: Path, method: str, grid: tuple[str, float]
) -> None:
    query = f"FROM '{overlapping}' ORDER BY item_id"
    options: dict[str, Any] = {"groupby": "collection", "mosaic": "first", "resampling": method}
    eager = rs.to_xarray(query, crs=grid[0], resolution=grid[1], **options)
    lazy = rs.to_xarray(query, crs=grid[0], resolution=grid[1], chunks={"x": 37, "y": 29}, **options)
    np.testing.assert_array_equal(lazy.red, eager.red)
    for part in ((0.07, 0.61, 0.33, 0.97), (0.45, 0.5, 0.0, 1.0)):
        _assert_alone_is_a_part(query, eager, _window(eager, part), **options)
    # One column, and one pixel: sums of weights have another shape there.
    for part in ((0.0, 1.0, 0.4, 0.4), (0.5, 0.5, 0.5, 0.5)):
        _assert_alone_is_a_part(query, eager, _window(eager, part), **options)


@pytest.mark.parametrize(("crs", "size"), [("EPSG:32643", 7.0), ("EPSG:4326", 0.0001)])
def test_chunks_round_ties_as_the_whole_does(tmp_path: Path, crs: str, size: float) -> None:
    """Pixels of 7 m out of 10 m lie at whole twentieths of a pixel, so that many results lie between two integers."""
    data = noise(1, (40, 50), high=50)
    south_up = {"transform": at(south_up=True), "nodata": 0}
    index = make_index(tmp_path, [File("a", "red", data, options=south_up), File("b", "red", data.astype("float32"))])
    for item in "ab":
        query = f"FROM '{index}' WHERE item_id = '{item}'"
        for method in ("bilinear", "cubic"):
            eager = rs.to_xarray(query, crs=crs, resolution=size, resampling=method)
            lazy = rs.to_xarray(query, crs=crs, resolution=size, resampling=method, chunks={"x": 13, "y": 11})
            np.testing.assert_array_equal(lazy.red, eager.red)


def test_small_files_on_a_large_grid_cost_what_they_cover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        File(
            f"i{number}",
            "red",
            noise(number),
            options={"transform": at(600_000 + 3e3 * number, 1_400_000 - 3e3 * number)},
        )
        for number in range(8)
    ]
    index = make_index(tmp_path, files)
    asked: list[int] = []
    centres = PixelMap.centres

    def counted(self: PixelMap, row_start: int = 0, row_end: int | None = None) -> Any:
        rows, cols = centres(self, row_start, row_end)
        asked.append(np.broadcast_shapes(rows.shape, cols.shape)[0] * cols.shape[-1])
        return rows, cols

    monkeypatch.setattr(PixelMap, "centres", counted)
    cube = rs.to_xarray(index, crs="EPSG:32644", resolution=10, groupby="collection")
    assert cube.sizes["y"] * cube.sizes["x"] > 2_000_000
    assert int((cube.red > 0).sum()) > 8 * 64 * 60
    assert sum(asked) < 8 * 100 * 100


def test_a_chunk_lies_on_the_pixels_of_a_file_only_where_the_whole_grid_does(tmp_path: Path) -> None:
    """Steps differ by 2 ppm: too little to show over a chunk, and a thousandth of a pixel over the whole grid."""
    data = noise(4, (40, 40), "float32")
    index = make_index(tmp_path, [File("a", "red", data, options={"transform": at(605_000, 1_395_000)})])
    grid = {"crs": "EPSG:32643", "transform": at(599_999.99, 1_400_000.01, 10.00002), "shape": (540, 540)}
    eager = rs.to_xarray(index, resampling="bilinear", **grid)
    lazy = rs.to_xarray(index, resampling="bilinear", chunks={"x": 45, "y": 45}, **grid)
    assert int((eager.red != 0).sum()) > 1000
    np.testing.assert_array_equal(lazy.red, eager.red)


def test_a_grid_beside_files_in_another_crs_is_empty_for_its_area(tmp_path: Path) -> None:
    east = {"crs": "EPSG:32644", "transform": at(174_300)}
    index = make_index(tmp_path, [File("a", "red", noise(1)), File("b", "red", noise(2), options=east)])
    with pytest.raises(EmptyReadError, match="touches none of the assets"):
        rs.to_xarray(index, crs="EPSG:32643", transform=at(100_000, 5_000_000), shape=(5, 5))
