"""Every public function works where an event loop is running: in coroutines, and in the cells of a notebook."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest

import rasteret_sql as rs
from rasteret_sql.testing import write_collection
from tests.arrays.kernels import Kernel, printed

if TYPE_CHECKING:
    from pathlib import Path

#: How long a call may take before it counts as one that waits for itself.
ZONE = "FROM 's2.parquet' WHERE crs = 'EPSG:32643'"
#: One call of each public function, in a folder with a collection and its index.
CALLS = {
    "build_index": "rs.build_index('collection/catalog.json', 'new.parquet', progress=True).rows == 10",
    "build_stats": "rs.build_stats('s2.parquet', 's2.stats.parquet', bands=['red']).rows > 0",
    "chips": "rs.chips(ZONE, size=16, bands=['scl'], bbox=around, where_valid=0).read_all().num_rows > 0",
    "connect": "len(rs.connect().sql(\"SELECT pixels FROM read_tiles('s2.parquet', bands := ['red'])\").fetchall()) == 8",
    "credentials": "rs.credentials('s3://bucket/', region='us-west-2') is not None",
    "datasets": "len(rs.datasets()) > 10",
    "explain": "rs.explain('s2.parquet').total['files'] == 10",
    "export": "rs.export(ZONE, 'red.tif', bands=['red']).files",
    "get_options": "rs.get_options().identity == 'etag'",
    "install": "rs.install(duckdb.connect()).sql(\"FROM read_tiles('s2.parquet', bands := ['scl'])\").fetchall()",
    "interrupt": "rs.interrupt() is None",
    "picture": "rs.picture(ZONE, bands=['red']).pixels.any()",
    "plot_footprints": "rs.plot_footprints('s2.parquet')",
    "plot_rgb": "rs.plot_rgb(rs.to_xarray(ZONE), ('red', 'green', 'blue'))",
    "progress": "with_progress(lambda: rs.to_numpy(ZONE, bands=['red']).data.any())",
    "read_chips": "rs.read_chips('s2.parquet', [(item_id, 8, 8)], size=16, bands=['red']).data.any()",
    "read_pixels": "rs.read_pixels(ZONE, bands=['scl'], bbox=around).read_all().num_rows > 0",
    "read_tiles": "sum(batch.num_rows for batch in rs.read_tiles('s2.parquet', bands=['red'])) == 8",
    "refresh": "rs.refresh('s2.parquet').kept == 10",
    "sample_points": "rs.sample_points(ZONE, points, bands=['red'], geometry_crs='OGC:CRS84').read_all().num_rows > 0",
    "set_options": "rs.set_options(identity='etag') is not None",
    "shards": "len(rs.shards(ZONE, 2, bands=['red'])) > 0",
    "stac_search": "repr(rs.stac_search('earthsearch/sentinel-2-l2a', max_items=1))",
    "to_dask": "len(rs.to_dask(ZONE, npartitions=2, bands=['red']).compute(scheduler='threads')) > 0",
    "to_geopandas": "len(rs.to_geopandas(ZONE, field, bands=['scl'])) > 0",
    "to_kerchunk": "rs.to_kerchunk(ZONE, 'cube.json', bands=['red']).exists()",
    "to_numpy": "rs.to_numpy(ZONE, bands=['red']).data.any()",
    "to_xarray": "rs.to_xarray(ZONE, bands=['red'], chunks={}).red.max().compute() > 0",
    "validate": "rs.validate('s2.parquet').is_complete",
    "versions": "'rasteret_sql' in rs.versions()",
    "zonal_stats": "rs.zonal_stats(ZONE, zones, bands=['red'], geometry_crs='OGC:CRS84').read_all().num_rows > 0",
}
#: Functions whose libraries need an environment of their own; they read by `read_chips` and `to_numpy`.
ELSEWHERE = frozenset({"block_sampler", "from_handoff", "handoff", "split_blocks", "to_torchgeo"})
NEEDS = {
    "plot_footprints": "matplotlib",
    "plot_rgb": "matplotlib",
    "to_dask": "dask.dataframe",
    "to_geopandas": "geopandas",
    "to_kerchunk": "zarr",
    "to_xarray": "dask",
}
SETUP = f"""
import duckdb
import pyarrow as pa
import rasteret_sql as rs
ZONE = {ZONE!r}
item_id, x, y = duckdb.sql(
    f"SELECT item_id, (bbox.xmin + bbox.xmax) / 2, (bbox.ymin + bbox.ymax) / 2 FROM ({{ZONE}})"
).fetchall()[0]
field = f"POINT ({{x}} {{y}})"
around = (x - 0.001, y - 0.001, x + 0.001, y + 0.001)
points, zones = pa.table({{"x": [x], "y": [y]}}), pa.table({{"wkt": [field]}})

def with_progress(call):
    with rs.progress():
        return call()
"""

pytestmark = pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    written = write_collection(tmp_path / "collection", items=2, size=256, tile=128)
    rs.build_index(written.document, tmp_path / "s2.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    return tmp_path


def test_every_public_function_is_tried_here() -> None:
    functions = {name for name in rs.__all__ if not inspect.isclass(getattr(rs, name))}
    assert functions - ELSEWHERE == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_a_function_works_in_a_coroutine_and_leaves_its_loop_alone(name: str, workplace: Path) -> None:
    library = NEEDS.get(name)
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    names: dict[str, Any] = {}
    exec(SETUP, names)

    async def cell() -> Any:
        loop = asyncio.get_running_loop()
        value = eval(CALLS[name], names)
        assert asyncio.get_running_loop() is loop
        # The loop goes on, and a thread of it may read at the same time.
        assert await asyncio.to_thread(eval, CALLS[name], names)
        return value

    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(_outcome(cell)), daemon=True)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    assert outcome[0]


def _outcome(cell: Any) -> Any:
    try:
        return asyncio.run(cell())
    except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
        return error


@pytest.fixture
def kernel(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(workplace, monkeypatch)


def test_every_function_works_in_the_cells_of_a_kernel(kernel: Kernel) -> None:
    names = [name for name in CALLS if name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None]
    loop = "import asyncio; assert asyncio.get_running_loop().is_running()"
    cells = [f"value = {CALLS[name]}\nassert value\n'came back'" for name in names]
    outputs = kernel.run(loop, SETUP, *cells)
    for name, shown in zip(names, outputs[2:], strict=True):
        assert shown[-1]["data"]["text/plain"] == "'came back'" or "image/png" in shown[-1]["data"], name


def test_a_cell_may_await_reads_in_threads(kernel: Kernel) -> None:
    read = "asyncio.to_thread(rs.to_numpy, ZONE, bands=['red'])"
    outputs = kernel.run(
        SETUP + "import asyncio",
        f"first, second = await asyncio.gather({read}, {read})\n(first.data == second.data).all().item()",
    )
    assert outputs[-1][0]["data"]["text/plain"] == "True"


def test_objects_are_shown_as_html(kernel: Kernel) -> None:
    calls = {
        "rs.build_index('collection/catalog.json', 'new.parquet')": "BuildReport",
        "rs.explain('s2.parquet')": "ReadCost",
        "rs.datasets()": "Catalog",
        "rs.to_numpy(ZONE, bands=['red'])": "RasterArray",
    }
    outputs = kernel.run(SETUP, *calls)
    for title, (shown,) in zip(calls.values(), outputs[1:], strict=True):
        assert f"<b>{title}</b>" in shown["data"]["text/html"]


def test_bars_are_widgets_that_end_full(kernel: Kernel) -> None:
    pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
    outputs = kernel.run(
        SETUP,
        "report = rs.build_index('collection/catalog.json', 'new.parquet', progress=True)",
        "with rs.progress():\n    rs.to_numpy(ZONE, bands=['red', 'nir'])",
        "with rs.progress():\n    rs.connect().sql(\"SELECT pixels FROM read_tiles('s2.parquet') LIMIT 1\").fetchall()",
        "with rs.progress():\n    pass",
    )
    # A build counts the documents of its source, whose number nobody knows before, then the files.
    for shown, count in zip(outputs[1:], (2, 1, 1, 1), strict=True):
        assert [list(output["data"]) for output in shown] == [
            ["text/plain", "application/vnd.jupyter.widget-view+json"]
        ] * count
    bars = kernel.widgets()
    assert [bar["bar_style"] for bar in bars] == ["info", *["success"] * 4]
    documents, files, arrays, tiles, nothing = ((bar["value"], bar["max"]) for bar in bars)
    assert documents[0] > 0
    assert files == (10, 10)
    assert arrays[0] == arrays[1] > 100_000
    # It ends full although LIMIT ended the reading.
    assert tiles[0] == tiles[1] > 10_000
    assert nothing == (0, 1)


def test_a_bar_of_a_read_that_fails_stays_where_it_was(kernel: Kernel) -> None:
    pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
    kernel.run(
        SETUP,
        """
        import pathlib
        changed = sorted(pathlib.Path("collection").rglob("B04.tif"))[0]
        changed.write_bytes(changed.read_bytes()[:-20_000])
        try:
            with rs.progress():
                rs.to_numpy("FROM 's2.parquet' WHERE crs = 'EPSG:32643'", bands=["red"])
        except rs.RasteretError as error:
            print(error)
        """,
    )
    (bar,) = kernel.widgets()
    assert bar["bar_style"] == "danger"


def test_without_ipywidgets_bars_are_text_in_their_own_cells_and_nobody_warns(kernel: Kernel) -> None:
    outputs = kernel.run(
        "import sys; sys.modules['ipywidgets'] = None",
        SETUP + "rs.to_numpy(ZONE, bands=['red']);",
        "report = rs.build_index('collection/catalog.json', 'new.parquet', progress=True)",
        "with rs.progress():\n    rs.to_numpy(ZONE, bands=['red', 'nir'])",
    )
    assert printed(outputs[1]) == ""
    assert "10/10" in printed(outputs[2])
    assert "tiles" in printed(outputs[3])
    assert "100%" in printed(outputs[3])
    assert not any("arning" in printed(shown) for shown in outputs)


def test_a_bar_in_a_script_is_text_on_stderr(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with rs.progress():
        rs.to_numpy(ZONE, bands=["red"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "4/4 tiles" in printed.err
    assert "100%" in printed.err
