"""xarray's engine: the datasets of `to_xarray`, whose variables read the windows that are used and nothing else."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, EmptyReadError, InvalidArgumentError, InvalidIndexError
from rasteret_sql.testing import RangeServer
from tests.arrays.cube_files import File, at, make_index, noise

if TYPE_CHECKING:
    from collections.abc import Iterator

xr = pytest.importorskip("xarray")
pytest.importorskip("dask")

from rasteret_sql.integrations.xarray import RasteretBackend  # noqa: E402 - xarray may be absent

ROOT = Path(__file__).parents[2]
ITEMS, SIZE = 4, 64
MASK = np.random.default_rng(3).random((SIZE, SIZE)) > 0.3
#: Another grid than that of the files.
COARSER = {"crs": "EPSG:32643", "resolution": 25, "resampling": "bilinear"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four items of a band with a nodata value and of one with a mask, in an index on a server and a local one."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RangeServer]:
    with RangeServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def index(folder: Path, server: RangeServer) -> Path:
    files = [
        File(
            f"item{number}",
            asset,
            noise(10 * number + place, (SIZE, SIZE)),
            when=1 + number,
            mask=MASK if asset == "nir" else None,
            options={"transform": at(), "nodata": 0 if asset == "red" else None},
        )
        for number in range(ITEMS)
        for place, asset in enumerate(("red", "nir"))
    ]
    (folder / "local").mkdir()
    make_index(folder / "local", files)
    return make_index(folder, files, server.url("").rstrip("/"))


@pytest.fixture
def requests(server: RangeServer, index: Path) -> RangeServer:
    """The server, with no request on record."""
    server.reset()
    return server


def opened(index: Any, **arguments: Any) -> Any:
    return xr.open_dataset(index, engine=RasteretBackend, **arguments)


@pytest.mark.parametrize("grid", [{}, COARSER, {"mask_and_scale": True}, {"groupby": "day", "mosaic": "mean"}])
@pytest.mark.parametrize("chunks", [None, {}, {"time": 2, "y": 24}, "auto"])
def test_a_dataset_of_the_engine_is_that_of_to_xarray(index: Path, grid: dict[str, Any], chunks: Any) -> None:
    expected = rs.to_xarray(index, **grid)
    found = opened(index, chunks=chunks, **grid)
    xr.testing.assert_identical(found.compute(), expected)
    assert {name: found[name].dtype for name in found} == {name: expected[name].dtype for name in expected}


@pytest.fixture(scope="module")
def eager(folder: Path, index: Path) -> Any:
    assert index.exists()
    return rs.to_xarray(folder / "local" / "i.parquet")


def keys(size: int) -> st.SearchStrategy[Any]:
    """Numbers, slices and lists that an axis may be indexed with."""
    number = st.integers(-size, size - 1)
    # xarray itself fails for empty slices with a negative step.
    some = st.slices(size).filter(lambda key: len(range(size)[key]) or (key.step or 1) > 0)
    return st.one_of(number, some, st.lists(number, max_size=6))


@pytest.fixture(scope="module")
def lazy(folder: Path, index: Path) -> Any:
    assert index.exists()
    return opened(folder / "local" / "i.parquet", cache=False)


@settings(max_examples=60)
@given(time=keys(ITEMS), y=keys(SIZE), x=keys(SIZE), name=st.sampled_from(["red", "nir", "nir_valid"]))
def test_any_index_gives_the_values_that_the_whole_array_has_there(
    lazy: Any, eager: Any, time: Any, y: Any, x: Any, name: str
) -> None:
    expected = eager[name].isel(time=time, y=y, x=x)
    xr.testing.assert_identical(lazy[name].isel(time=time, y=y, x=x).load(), expected)


def test_points_give_the_values_that_the_whole_array_has_there(lazy: Any, eager: Any) -> None:
    points = {"y": xr.DataArray([3, 60, 3], dims="point"), "x": xr.DataArray([0, 1, 63], dims="point")}
    xr.testing.assert_identical(lazy.isel(points).load(), eager.isel(points))


def test_opening_fetches_no_pixels_and_a_window_fetches_what_an_eager_read_of_it_does(
    requests: RangeServer, index: Path
) -> None:
    found = opened(index)
    assert requests.requests == []
    window = found.red.isel(time=[0, -1], y=slice(40, 60), x=slice(2, 30)).load()
    assert {request.path for request in requests.requests} == {"item0_red.tif", "item3_red.tif"}
    ranges = requests.ranges_of("item0_red.tif")
    requests.reset()
    bounds = (600_020, 1_399_400, 600_300, 1_399_600)
    eager = rs.to_xarray(index, bands=["red"], bbox=bounds, geometry_crs="EPSG:32643", datetime="2024-01-01")
    assert requests.ranges_of("item0_red.tif") == ranges
    # One of the four tiles of the file.
    assert len(ranges) == 1
    np.testing.assert_array_equal(window[:1], eager.red)
    np.testing.assert_array_equal(window.x, eager.x)


def test_a_value_that_was_used_is_not_fetched_again_unless_the_cache_is_off(requests: RangeServer, index: Path) -> None:
    for cache, expected in ((True, ITEMS), (False, 2 * ITEMS)):
        requests.reset()
        found = opened(index, cache=cache)
        for _ in range(2):
            _ = found.red.values
        assert len(requests.requests) == expected


def test_chunks_left_open_are_those_of_to_xarray(index: Path) -> None:
    found, expected = opened(index, chunks={}), rs.to_xarray(index, chunks={})
    assert {name: found[name].chunks for name in expected} == {name: expected[name].chunks for name in expected}


def test_a_chunk_is_read_in_a_process_without_the_index(folder: Path, index: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(index.read_bytes())
    variable = opened(copy, cache=False).nir
    (tmp_path / "variable").write_bytes(pickle.dumps(variable))
    copy.unlink()
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "for name in ('duckdb', 'pyarrow.dataset'): sys.modules[name] = None\n"
        "print(pickle.loads(Path(sys.argv[1]).read_bytes())[1, 5:7, 9].values.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "variable")],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.stdout.strip() == str(rs.to_xarray(index).nir[1, 5:7, 9].values.tolist())


def test_a_pickled_variable_carries_its_own_band_alone(index: Path) -> None:
    one = pickle.dumps(opened(index, bands=["red"]).red)
    of_two = pickle.dumps(opened(index).red)
    assert len(of_two) < 1.05 * len(one)


def test_arrays_chunked_later_are_named_by_their_plan(index: Path) -> None:
    first, again = (opened(index).red.chunk({"time": 1}) for _ in range(2))
    other = opened(index, datetime="2024-01-01/2024-01-02").red.chunk({"time": 1})
    assert first.data.name == again.data.name != other.data.name


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"bands": ["blue"]}, InvalidArgumentError, "blue"),
        ({"datetime": "1999"}, EmptyReadError, "1999"),
        ({"bbox": (77.9, 12.6, 77.8, 12.5)}, InvalidArgumentError, "bbox"),
        ({"resolution": -1, "crs": "EPSG:32643"}, InvalidArgumentError, "resolution"),
        ({"on_error": "ignore"}, InvalidArgumentError, "on_error"),
        ({"mask_and_scale": {"red": False}}, InvalidArgumentError, "mask_and_scale"),
    ],
)
def test_errors_are_those_of_to_xarray(index: Path, arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message) as ours:
        rs.to_xarray(index, **arguments)
    with pytest.raises(error) as theirs:
        opened(index, **arguments)
    assert str(theirs.value) == str(ours.value)


def test_an_argument_that_to_xarray_has_not_is_named(index: Path) -> None:
    with pytest.raises(TypeError, match="decode_times"):
        opened(index, decode_times=True)


def test_a_table_without_rows_of_an_index_is_refused() -> None:
    with pytest.raises(InvalidIndexError, match="href"):
        opened(pa.table({"a": [1]}))


def test_a_window_larger_than_the_limit_is_refused_and_a_smaller_one_is_read(index: Path) -> None:
    found = opened(index, bands=["red"], cache=False)
    with rs.set_options(max_result_bytes=4096):
        assert found.red[0, :32, :32].values.shape == (32, 32)
        with pytest.raises(InvalidArgumentError, match="max_result_bytes"):
            _ = found.red.values


def test_files_that_fail_are_errors_or_nodata_that_the_log_lists(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = make_index(tmp_path, [File(f"item{number}", "red", noise(number), when=1 + number) for number in range(2)])
    kept, strict = opened(index, on_error="nodata"), opened(index)
    (tmp_path / "item1_red.tif").unlink()
    with pytest.raises(AssetNotFoundError, match="item1"):
        strict.load()
    with caplog.at_level(logging.WARNING, "rasteret_sql"):
        kept.load()
    assert "item1" in caplog.text
    np.testing.assert_array_equal(kept.red[0], noise(0))
    assert not kept.red_valid[1].any()
    assert kept.red_valid[0].all()


def test_variables_that_are_dropped_and_scaling_that_decode_cf_turns_off(index: Path) -> None:
    assert set(opened(index, drop_variables="nir")) == {"red", "nir_valid"}
    assert set(opened(index, drop_variables=["red", "none"])) == {"nir", "nir_valid"}
    assert opened(index, decode_cf=False, mask_and_scale=True).red.dtype == np.uint16


def test_queries_relations_tables_and_rows_of_pixels_are_opened(index: Path) -> None:
    expected = rs.to_xarray(index, bands=["red"])
    query = f"FROM '{index}' WHERE asset = 'red'"
    con = duckdb.connect()
    for source in (query, con.sql(query), pq.read_table(index)):
        for chunks in (None, {}):
            found = opened(source, bands=["red"], chunks=chunks)
            xr.testing.assert_identical(found.compute(), expected)
    assert opened(query, bands=["red"]).encoding["source"] == query
    con.close()
    area = {"bbox": (600_000, 1_399_900, 600_100, 1_400_000), "geometry_crs": "EPSG:32643"}
    pixels = rs.read_pixels(index, bands=["red"], **area).read_all()
    xr.testing.assert_identical(opened(pixels), rs.to_xarray(pixels))


def test_the_engine_claims_an_index_and_no_other_parquet_file(index: Path, tmp_path: Path) -> None:
    backend = RasteretBackend()
    assert backend.guess_can_open(index)
    assert backend.guess_can_open(str(index))
    # GeoParquet of others has a key "geo" too.
    table = pq.read_table(index)
    pq.write_table(table.replace_schema_metadata({"geo": table.schema.metadata[b"geo"]}), tmp_path / "geo.parquet")
    pq.write_table(pa.table({"href": ["a"]}), tmp_path / "table.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "folder.parquet").mkdir()
    others = [*tmp_path.glob("*.parquet"), tmp_path / "none.parquet", f"FROM '{index}'", "https://a.com/i.parquet"]
    assert [path for path in [*others, pa.table({"a": [1]}), b"a.parquet", None] if backend.guess_can_open(path)] == []
    assert len(others) == 7
