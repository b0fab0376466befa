"""Lazy cubes: the pixels of eager ones on every scheduler, from tasks that carry their own tiles and nothing else."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import itertools
import logging
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.arrays.dask import token_of
from rasteret_sql.errors import AccessDeniedError, AssetNotFoundError, InvalidArgumentError
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.testing import Fault, RangeServer
from rasteret_sql.testing.cog import write_cog
from tests.support.waits import answers_wait_for_each_other

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import xarray as xr

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

ROOT = Path(__file__).parents[2]
LATTICE = (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)
SIZE, TILE, ITEMS = 128, 32, 3
ASSETS = ("red", "nir")
CHUNKS = {"time": 1, "y": 64, "x": 64}
#: Pickled bytes of a task, without and for each of its tiles. No more than these go to a worker, and to the scheduler.
TASK_BYTES, TILE_BYTES = 2048, 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COGs of three items; those of `nir` have a mask of their own."""
    folder = tmp_path_factory.mktemp("lazy")
    rng = np.random.default_rng(5)
    for number in range(ITEMS):
        for asset in ASSETS:
            write_cog(
                folder / f"{number}_{asset}.tif",
                rng.integers(1, 5000, (SIZE, SIZE), np.uint16),
                tile=TILE,
                transform=LATTICE,
                overviews=(2,),
                **({"nodata": 0} if asset == "red" else {"mask": rng.random((SIZE, SIZE)) > 0.2}),
            )
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RangeServer]:
    with RangeServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def index(folder: Path, server: RangeServer) -> Path:
    return _index(folder, server)


@pytest.fixture
def requests(server: RangeServer, index: Path) -> RangeServer:
    """The server, with no request on record."""
    server.reset()
    return server


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers, each a process of its own."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _index(folder: Path, server: RangeServer | None, path: str = "i.parquet") -> Path:
    rows = [
        {
            "href": str(folder / name) if server is None else server.url(name),
            "item_id": f"item{number}",
            "asset": asset,
            "datetime": dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC),
            "collection": "c",
        }
        for number in range(ITEMS)
        for asset in ASSETS
        for name in [f"{number}_{asset}.tif"]
    ]
    rs.build_index(pa.Table.from_pylist(rows), folder / path)
    return folder / path


def _assert_same(lazy: xr.Dataset, eager: xr.Dataset) -> None:
    assert set(lazy) == set(eager)
    for name in eager:
        assert lazy[name].dtype == eager[name].dtype
        np.testing.assert_array_equal(lazy[name].values, eager[name].values)


def _blocks(lazy: xr.DataArray) -> list[Any]:
    """The blocks of an array's tasks."""
    from rasteret_sql.arrays.dask import Block

    tasks = [task for task in dict(lazy.data.dask).values() if isinstance(task, tuple)]
    return [part for task in tasks for part in task if isinstance(part, Block)]


def _run(code: str, *arguments: object, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "options",
    [
        {"bands": ["red"]},
        {"bands": ["red", "nir"], "mask_and_scale": True},
        {"bands": ["nir"]},
        {"resolution": 15, "crs": "EPSG:32643", "resampling": "bilinear", "bands": ["red"]},
        {"groupby": "collection", "mosaic": "median", "bands": ["red"]},
    ],
    ids=["native", "scaled", "masked", "resampled", "mosaic"],
)
def test_worker_processes_give_the_pixels_of_an_eager_read(
    index: Path, client: Any, options: Mapping[str, Any]
) -> None:
    lazy = rs.to_xarray(index, chunks=CHUNKS, **options)
    _assert_same(client.compute(lazy, sync=True), rs.to_xarray(index, **options))


def test_tasks_of_a_worker_that_is_killed_are_run_again(
    requests: RangeServer, index: Path, client: Any, tmp_path: Path
) -> None:
    eager = rs.to_xarray(index, bands=["red"])
    # Whole files: what a worker reads is not decided by how tiles are shared out to tasks.
    lazy = rs.to_xarray(index, bands=["red"], chunks={})
    flag = str(tmp_path / "killed")

    def die_once() -> None:
        """Let the first task of all workers take its worker with it, when its bytes are there and its result is not."""
        import os
        import signal

        from rasteret_sql.arrays import dask as lazy_reads

        read_cube = lazy_reads.read_cube

        def read_and_die(*arguments: Any, **options: Any) -> None:
            read_cube(*arguments, **options)
            try:
                os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

        lazy_reads.read_cube = read_and_die  # type: ignore[assignment]

    requests.reset()
    before = set(client.run(os.getpid).values())
    client.run(die_once)
    _assert_same(client.compute(lazy, sync=True), eager)
    assert Path(flag).exists()
    client.wait_for_workers(2)
    after = set(client.run(os.getpid).values())
    assert len(before - after) == 1
    asked = [request.path for request in requests.requests]
    assert set(asked) == {f"{number}_red.tif" for number in range(ITEMS)}
    assert max(asked.count(path) for path in asked) > 1


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_schedulers_in_one_process_give_the_same(index: Path, scheduler: str) -> None:
    lazy = rs.to_xarray(index, chunks=CHUNKS).compute(scheduler=scheduler)
    _assert_same(lazy, rs.to_xarray(index))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_either_start_method_give_the_same(index: Path, method: str) -> None:
    lazy = rs.to_xarray(index, chunks={"time": 1})
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        _assert_same(lazy.compute(scheduler="processes", pool=pool), rs.to_xarray(index))


def test_a_task_runs_where_neither_the_index_nor_duckdb_is(folder: Path, tmp_path: Path) -> None:
    local = _index(folder, None, "local.parquet")
    lazy = rs.to_xarray(local, bands=["red"], chunks=CHUNKS)
    expected = rs.to_xarray(local, bands=["red"]).red.values[0, :64, :64]
    (tmp_path / "task").write_bytes(pickle.dumps(_blocks(lazy.red)[0]))
    local.unlink()
    _run(
        "import pickle, sys; from pathlib import Path; import numpy as np\n"
        "for name in ('duckdb', 'pyarrow', 'xarray', 'dask', 'pandas'): sys.modules[name] = None\n"
        "from rasteret_sql.arrays.dask import read_block\n"
        "block = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "np.save(sys.argv[2], read_block(block)[0])",
        tmp_path / "task",
        tmp_path / "read.npy",
    )
    np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), expected)


def test_a_task_is_its_own_tiles_and_little_else(index: Path) -> None:
    for chunks, tiles in ((CHUNKS, 4), ({}, 16), ({"time": -1}, 48), ({"y": 32, "x": 32}, 1)):
        (block, *_) = _blocks(rs.to_xarray(index, bands=["red"], chunks=chunks).red)
        packed = pickle.dumps(block)
        cube, *_ = pickle.loads(packed).opened()
        assert len(cube.plan) == tiles
        files = len(cube.plan.assets)
        assert files == len({asset.item_id for asset in cube.plan.assets}) == (ITEMS if tiles == 48 else 1)
        assert len(packed) <= TASK_BYTES * files + TILE_BYTES * tiles
        # What is sent on by a scheduler is what it was sent.
        assert pickle.dumps(pickle.loads(packed)) == packed


def test_a_part_of_a_lazy_cube_asks_for_what_an_eager_read_of_it_does(requests: RangeServer, index: Path) -> None:
    lazy = rs.to_xarray(index, bands=["red"], chunks=CHUNKS)
    part = lazy.isel(time=[1], y=slice(64, 128), x=slice(0, 64))
    eager = rs.to_xarray(
        index,
        bands=["red"],
        datetime="2024-01-02",
        bbox=(600_000, 1_398_720, 600_640, 1_399_360),
        geometry_crs="EPSG:32643",
    )
    expected = requests.ranges_of("1_red.tif")
    assert {request.path for request in requests.requests} == {"1_red.tif"}
    requests.reset()
    np.testing.assert_array_equal(part.red.compute(scheduler="threads").values, eager.red.values)
    assert {request.path for request in requests.requests} == {"1_red.tif"}
    assert requests.ranges_of("1_red.tif") == expected


def test_making_a_lazy_cube_asks_for_nothing(requests: RangeServer, index: Path) -> None:
    rs.to_xarray(index, chunks=CHUNKS)
    assert requests.requests == []


@pytest.mark.parametrize("chunks", [{}, {"y": 64}], ids=["files", "rows"])
def test_each_byte_is_asked_for_once(requests: RangeServer, index: Path, chunks: Any) -> None:
    rs.to_xarray(index, bands=["red"], chunks=chunks).compute(scheduler="threads")
    for number in range(ITEMS):
        ranges = requests.ranges_of(f"{number}_red.tif")
        assert ranges
        for (_, end), (start, _) in itertools.pairwise(ranges):
            assert end is not None
            assert start is not None
            assert end <= start


def test_a_task_reads_its_files_at_the_same_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = 12
    with RangeServer(folder, latency_s=0.001) as server:
        rows = [
            {"href": server.url(f"{number % ITEMS}_red.tif") + f"?{number}", "item_id": f"item{number}", "asset": "red",
             "datetime": dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC), "collection": "c"}
            for number in range(items)
        ]  # fmt: skip
        rs.build_index(pa.Table.from_pylist(rows), folder / "slow.parquet")
        lazy = rs.to_xarray(folder / "slow.parquet", chunks={"time": -1})
        assert len(_blocks(lazy.red)) == 1
        server.reset()
        answers_wait_for_each_other(monkeypatch, items)
        lazy.compute(scheduler="synchronous")
        assert len(server.requests) == items


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ({}, ((1, 1, 1), (128,), (128,))),
        ({"time": -1}, ((3,), (128,), (128,))),
        ({"y": 100}, ((1, 1, 1), (100, 28), (128,))),
        ({"time": 2, "y": 64, "x": "auto"}, ((2, 1), (64, 64), (128,))),
        ({"time": (1, 2)}, ((1, 2), (128,), (128,))),
        (64, ((3,), (64, 64), (64, 64))),
        (-1, ((3,), (128,), (128,))),
        ("auto", ((3,), (128,), (128,))),
        ((1, 128, 64), ((1, 1, 1), (128,), (64, 64))),
    ],
)
def test_chunks_are_what_dask_takes_for_them(index: Path, chunks: Any, expected: Any) -> None:
    assert rs.to_xarray(index, bands=["red"], chunks=chunks).red.chunks == expected


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ({"lat": 64}, r"^chunks: got lat, expected sizes for time, y, x$"),
        ({"y": "many"}, r"^chunks: got \{'y': 'many'\}, expected sizes by dimension, such as"),
        ((64, 64), r"^chunks: got \(64, 64\), expected sizes by dimension"),
        ({"time": (1, 1)}, r"^chunks: got \{'time': \(1, 1\)\}, expected sizes by dimension"),
        (2.5, r"^chunks: got 2.5, expected sizes by dimension"),
        (object, r"^chunks: got <class 'object'>, expected sizes by dimension"),
        ({"y": 0}, r"^chunks: got \{'y': 0\}, expected sizes by dimension"),
        ({"y": -5}, r"^chunks: got \{'y': -5\}, expected .* of \{'time': 3, 'y': 128, 'x': 128\}: they must be whole"),
        ({"time": (0, 3)}, r"^chunks: got \{'time': \(0, 3\)\}, expected sizes by dimension"),
        (float("nan"), r"^chunks: got nan, expected sizes by dimension"),
    ],
)
def test_chunks_that_fit_no_cube_are_refused(index: Path, chunks: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        rs.to_xarray(index, bands=["red"], chunks=chunks)


def test_without_dask_the_remedy_is_named(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "dask" or name.startswith("dask.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(InvalidArgumentError, match=r"Dask is required.*pip install 'rasteret-sql\[dask\]'"):
        rs.to_xarray(index, chunks={})


def test_names_are_the_same_for_the_same_files_and_grid_only(folder: Path, index: Path) -> None:
    def name(source: Any = index, chunks: Any = CHUNKS, **options: Any) -> str:
        return str(rs.to_xarray(source, **{"bands": ["red"]} | options, chunks=chunks).red.data.name)

    assert name() == name(f"FROM '{index}'")
    assert name() == name(datetime="2024-01")
    assert name().startswith("read-red-")
    edited = [
        f"SELECT * REPLACE ('\"other\"' AS etag) FROM '{index}'",
        f"SELECT * REPLACE (replace(href, '0_red', '1_red') AS href) FROM '{index}'",
    ]
    others = [
        *(name(query) for query in edited),
        name(chunks={}),
        name(datetime="2024-01-01/2024-01-02"),
        name(on_error="nodata"),
        name(mask_and_scale=True),
        name(level=1),
        name(bbox=(600_000, 1_399_360, 600_640, 1_400_000), geometry_crs="EPSG:32643"),
        name(crs="EPSG:32643", resolution=15),
        name(crs="EPSG:32643", resolution=15, resampling="cubic"),
        name(groupby="collection"),
        name(groupby="collection", mosaic="last"),
    ]
    assert len({name(), *others}) == 1 + len(others)


def _other(value: Any) -> Any:
    """Give another value of about the same type."""
    if isinstance(value, np.ndarray):
        other = value.copy() if value.size else np.zeros(1, value.dtype)
        # NaN plus 1 is NaN.
        other.flat[-1] = ~other.flat[-1] if value.dtype == bool else np.nan_to_num(other.flat[-1]) + 1
        return other
    if isinstance(value, np.dtype):
        return np.dtype("int8") if value != np.int8 else np.dtype("int16")
    if isinstance(value, frozenset):
        return value ^ {MaskKind.ALPHA}
    if isinstance(value, bool):
        return not value
    if isinstance(value, (str, bytes)):
        return value + value[:1] if value else type(value)(b"x" if isinstance(value, bytes) else "x")
    if isinstance(value, tuple) and value and isinstance(value[0], (int, float)):
        return (*value[:-1], value[-1] + 1)
    if isinstance(value, tuple):
        return (*value, *value[:1]) if value else (1,)
    return 7 if value is None else value + type(value)(1)


def _varied(value: Any, path: str = "cube") -> Iterator[tuple[str, Any]]:
    """Give a value of the plan once for each field in it, at any depth, with another value in that field."""
    is_named = isinstance(value, tuple) and hasattr(value, "_fields")
    if not dataclasses.is_dataclass(value) and not is_named:
        if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            yield f"{path} (one more)", (*value, value[-1])
            for name, first in _varied(value[0], f"{path}[0]"):
                yield name, (first, *value[1:])
            return
        yield path, _other(value)
        return
    names = value._fields if is_named else [field.name for field in dataclasses.fields(value)]
    for name in names:
        for where, other in _varied(getattr(value, name), f"{path}.{name}"):
            yield where, value._replace(**{name: other}) if is_named else dataclasses.replace(value, **{name: other})


@pytest.mark.parametrize("options", [{}, {"bands": ["nir"], "crs": "EPSG:32643", "resolution": 15}])
def test_every_field_of_a_cube_is_in_the_names_of_its_tasks(index: Path, options: Mapping[str, Any]) -> None:
    """Whatever a plan gets in the future too: the fields of all of its dataclasses are found by introspection."""
    cube = rs.to_xarray(index, chunks={}, **options)
    part, settings, _ = _blocks(cube[next(iter(cube))])[0].opened()
    varied = dict(_varied(part)) | dict(_varied(settings, "settings"))
    for field in (
        "box.transform",
        "bands[0].fill",
        "plan.tile_offset",
        "plan.assets[0].identity.etag",
        "sources.start",
    ):
        assert f"cube.{field}" in varied
    assert "cube.plan.assets[0].format.predictor" in varied
    assert len(varied) > 70
    names: dict[str, str] = {token_of(part): "the part", token_of(settings): "the settings"}
    for field, each in varied.items():
        assert names.setdefault(token_of(each), field) == field
    # Pickling numbers mask tiles anew, once.
    sent = pickle.loads(pickle.dumps(part))
    assert token_of(sent) == token_of(pickle.loads(pickle.dumps(sent)))


def test_a_block_alone_is_named_by_its_cube_and_by_how_it_is_read(index: Path) -> None:
    """Schedulers may name single tasks: two blocks of one position must not pass for each other."""
    from dask.base import tokenize

    reads = [{}, {"level": 1}, {"mask_and_scale": True}, {"on_error": "nodata"}, {"bands": ["nir"]}]
    names = [
        tokenize(_blocks(rs.to_xarray(index, **({"bands": ["red"]} | read), chunks={})[band])[0])
        for read in reads
        for band in read.get("bands", ["red"])
    ]
    assert len(set(names)) == len(reads)
    assert names[0] == tokenize(_blocks(rs.to_xarray(index, bands=["red"], chunks={}).red)[0])


def test_names_are_the_same_in_another_process(index: Path) -> None:
    code = "import sys, rasteret_sql as rs\nprint(rs.to_xarray(sys.argv[1], bands=['red'], chunks={}).red.data.name)"
    here = rs.to_xarray(index, bands=["red"], chunks={}).red.data.name
    assert _run(code, index, PYTHONHASHSEED="7").strip() == here


def test_what_fails_is_raised_when_it_is_computed_or_logged_as_nodata(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RangeServer(folder) as server:
        index = _index(folder, server, "failing.parquet")
        read = {"bands": ["red"], "chunks": {}}
        lazy = {on_error: rs.to_xarray(index, on_error=on_error, **read) for on_error in ("raise", "nodata")}
        server.add_faults("1_red.tif", *[Fault("status", status=403)] * 20)
        with pytest.raises(AccessDeniedError, match=r"1_red\.tif: the server answered 403"):
            lazy["raise"].compute(scheduler="threads")
        with caplog.at_level(logging.WARNING, "rasteret_sql"):
            found = lazy["nodata"].compute(scheduler="threads").red.values
    (line,) = [record.getMessage() for record in caplog.records if record.name == "rasteret_sql"]
    assert line.startswith('asset "red" of item item1: ')
    assert line.endswith("; its pixels are nodata")
    assert (found[1] == 0).all()
    assert (found[[0, 2]] > 0).all()


def _gone(folder: Path) -> str:
    """A query in which the file of one item and band is not there."""
    index = _index(folder, None, "gone.parquet")
    return f"SELECT * REPLACE (replace(href, '1_red', 'gone') AS href) FROM '{index}'"


def _opened(index: Any, door: str) -> xr.Dataset:
    read: dict[str, Any] = {"on_error": "nodata", "chunks": CHUNKS}
    if door == "to_xarray":
        return rs.to_xarray(index, **read)
    import xarray

    from rasteret_sql.integrations.xarray import RasteretBackend

    return xarray.open_dataset(index, engine=RasteretBackend, **read)


@pytest.mark.parametrize("door", ["to_xarray", "open_dataset"])
@pytest.mark.parametrize("scheduler", ["threads", "synchronous", "cluster"])
def test_failures_of_lazy_reads_are_listed_in_attrs(
    folder: Path, request: pytest.FixtureRequest, scheduler: str, door: str
) -> None:
    """One line for each file, whoever computes; `failed` is empty until then, and the result has it too."""
    expected = rs.to_xarray(_gone(folder), on_error="nodata").attrs["failed"]
    lazy = _opened(_gone(folder), door)
    assert lazy.attrs["failed"] == []
    if scheduler == "cluster":
        request.getfixturevalue("client")
    with dask.config.set(scheduler="distributed" if scheduler == "cluster" else scheduler):
        computed = lazy.compute()
        assert computed.attrs["failed"] == lazy.attrs["failed"]
        # Chunks of a file fail at other bytes than its first tile.
        assert [line.partition(": bytes")[0] for line in lazy.attrs["failed"]] == ['asset "red" of item item1']
        assert [line.partition("gone.tif")[2] for line in lazy.attrs["failed"]] == [
            line.partition("gone.tif")[2] for line in expected
        ]
    assert "failed" not in rs.to_xarray(_gone(folder), chunks=CHUNKS).attrs


def test_datasets_of_the_same_read_list_the_same_failures(folder: Path) -> None:
    """A scheduler reads chunks of one name once, whichever of the datasets they are of."""
    one, other = _opened(_gone(folder), "to_xarray"), _opened(_gone(folder), "to_xarray")
    dask.compute(one, other, scheduler="threads")
    assert one.attrs["failed"] == other.attrs["failed"] != []
    of_nir = rs.to_xarray(_gone(folder), bands=["nir"], on_error="nodata", chunks=CHUNKS).compute()
    assert of_nir.attrs["failed"] == []


def test_files_and_copies_take_a_list_of_failures(folder: Path, tmp_path: Path) -> None:
    import xarray

    zarr = pytest.importorskip("zarr")
    lazy = _opened(_gone(folder), "to_xarray").compute(scheduler="threads")
    copies = [pickle.loads(pickle.dumps(lazy)), copy.deepcopy(lazy)]
    assert [(type(each.attrs["failed"]), each.attrs["failed"]) for each in copies] == [(list, lazy.attrs["failed"])] * 2
    lazy.to_zarr(tmp_path / "cube.zarr", zarr_format=2)
    assert zarr.open_group(tmp_path / "cube.zarr", mode="r").attrs["failed"] == lazy.attrs["failed"]
    pytest.importorskip("netCDF4")
    lazy.to_netcdf(tmp_path / "cube.nc")
    with xarray.open_dataset(tmp_path / "cube.nc") as written:
        assert [written.attrs["failed"]] == lazy.attrs["failed"]


def test_an_error_of_a_worker_process_is_the_one_of_an_eager_read(folder: Path, client: Any) -> None:
    query = _gone(folder)
    with pytest.raises(AssetNotFoundError) as eager:
        rs.to_xarray(query, bands=["red"])
    with pytest.raises(AssetNotFoundError) as lazy:
        client.compute(rs.to_xarray(query, bands=["red"], chunks={}), sync=True)
    assert str(lazy.value) == str(eager.value)


@pytest.mark.parametrize("options", ["", "crs='EPSG:32643', resolution=11, resampling='bilinear'"])
def test_a_task_takes_its_chunk_and_a_bound_that_does_not_grow_with_the_cube(tmp_path: Path, options: str) -> None:
    side = 2048
    data = np.random.default_rng(3).integers(0, 5000, (side, side), np.uint16)
    write_cog(tmp_path / "a_red.tif", data, tile=256, transform=LATTICE, overviews=())
    row = {"href": str(tmp_path / "a_red.tif"), "item_id": "a", "asset": "red", "collection": "c",
           "datetime": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)}  # fmt: skip
    rs.build_index(pa.Table.from_pylist([row]), tmp_path / "i.parquet")
    query = f"SELECT * REPLACE ('item' || n AS item_id) FROM '{tmp_path / 'i.parquet'}', range(40) AS r(n)"
    code = (
        "import resource, sys, rasteret_sql as rs\n"
        "lazy = rs.to_xarray(sys.argv[1], chunks={'y': 512, 'x': 512}, **eval(f'dict({sys.argv[2]})')).red\n"
        "lazy[0].max().compute(scheduler='synchronous')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "lazy.max().compute(scheduler='synchronous')\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, lazy.nbytes)"
    )
    grown, nbytes = map(int, _run(code, query, options).split())
    assert nbytes > 40 * side * side
    assert grown < 32 << 20


@pytest.mark.slow
def test_a_graph_of_ten_thousand_items_and_four_bands_takes_two_seconds(folder: Path, index: Path) -> None:
    import duckdb

    big = folder / "big.parquet"
    with duckdb.connect() as con:
        con.execute(
            "COPY (SELECT * REPLACE ('item' || n AS item_id, name AS asset, datetime + to_hours(n) AS datetime) "
            f"FROM (FROM '{index}' WHERE item_id = 'item0' AND asset = 'red'), range(10_000) AS r(n), "
            f"(VALUES ('red'), ('green'), ('blue'), ('nir')) AS b(name) ORDER BY n, name) TO '{big}'"
        )
    rs.to_xarray(index, chunks={})
    started = time.process_time()
    lazy = rs.to_xarray(big, chunks={})
    took_s = time.process_time() - started
    assert sum(len(lazy[name].data.dask) for name in lazy) == 40_000
    # Time of the processor, so that what else runs does not count; the two seconds are of a machine that is idle.
    assert took_s < 4
    started = time.process_time()
    packed = pickle.dumps(dict(lazy.red.data.dask))
    assert time.process_time() - started < 4
    assert len(packed) < 10_000 * (TASK_BYTES + 16 * TILE_BYTES)


@pytest.mark.slow
def test_the_example_runs_on_a_local_cluster() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "dask_cluster.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "2 workers" in done.stdout
    assert "red: mean 0." in done.stdout
    assert "tiles of item" in done.stdout
