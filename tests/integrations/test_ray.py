"""Ray Data over shards: the same rows and pixels as one read, on a local cluster of two nodes."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'rasteret-sql[ray]'")

CHIPS = [(f"i{number % 5}", 11 * number, 7 * number) for number in range(20)]


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    """Two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    variables = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": variables})
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RangeServer, Path]]:
    folder = tmp_path_factory.mktemp("ray")
    rows = []
    with RangeServer(folder) as server:
        for number in range(5):
            pixels = np.random.default_rng(number).integers(0, 5000, (256, 200), np.uint16)
            write_cog(
                folder / f"i{number}.tif", pixels, tile=64, nodata=0, crs="EPSG:32643",
                transform=(10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0),
            )  # fmt: skip
            when = dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC)
            href = server.url(f"i{number}.tif")
            rows.append({"href": href, "item_id": f"i{number}", "asset": "red", "collection": "c", "datetime": when})
        index = folder / "index.parquet"
        with rs.set_options(allow=["*"]):
            rs.build_index(pa.Table.from_pylist(rows), index)
        yield server, index


def _datasets() -> Any:
    from rasteret_sql.integrations import ray as integration

    return integration


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in ("item_id", "tile_row", "tile_col")])


def _rows(dataset: Any) -> pa.Table:
    return pa.concat_tables(ray.get(dataset.to_arrow_refs()))


@pytest.mark.usefixtures("_cluster")
def test_rows_and_requests_are_those_of_one_read_and_no_worker_reads_the_index(
    served: tuple[RangeServer, Path], tmp_path: Path
) -> None:
    server, index = served
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(index.read_bytes())
    server.reset()
    expected = rs.read_tiles(copy).read_all()
    one = sorted((request.path, request.start, request.end) for request in server.requests)
    dataset = _datasets().dataset(copy, override_num_blocks=4)
    copy.unlink()
    server.reset()
    found = _rows(dataset)
    assert _sorted(found.cast(expected.schema)).equals(_sorted(expected))
    assert sorted((request.path, request.start, request.end) for request in server.requests) == one


@pytest.mark.usefixtures("_cluster")
def test_columns_and_limits_are_pushed_down(served: tuple[RangeServer, Path]) -> None:
    server, index = served
    dataset = _datasets().dataset(index, override_num_blocks=3)
    server.reset()
    found = _rows(dataset.select_columns(["item_id", "tile_row"]))
    assert found.num_rows == rs.shards(index, 1)[0].tile_count
    assert sorted(found.column_names) == ["item_id", "tile_row"]
    assert server.requests == []
    assert dataset.limit(2).count() == 2
    fetched = len(server.requests)
    assert fetched < rs.shards(index, 1)[0].file_count


@pytest.mark.usefixtures("_cluster")
def test_chips_are_tensors_and_a_killed_worker_is_made_up_for(served: tuple[RangeServer, Path], tmp_path: Path) -> None:
    _, index = served
    expected = rs.read_chips(index, CHIPS, size=50)
    flag = tmp_path / "killed"

    def mean(batch: dict[str, Any]) -> dict[str, Any]:
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {
            "chip": batch["chip"],
            "mean": batch["pixels"].mean(axis=(1, 2, 3)),
            "valid": batch["mask"].sum(axis=(1, 2, 3)),
        }

    dataset = _datasets().dataset(index, chips=CHIPS, chip_size=50, override_num_blocks=4)
    rows = sorted(dataset.map_batches(mean).take_all(), key=lambda row: row["chip"])
    assert flag.exists()
    assert [row["chip"] for row in rows] == list(range(len(CHIPS)))
    np.testing.assert_array_equal([row["mean"] for row in rows], expected.data.mean(axis=(1, 2, 3)))
    np.testing.assert_array_equal([row["valid"] for row in rows], expected.mask.sum(axis=(1, 2, 3)))


def test_sizes_are_those_of_the_blocks(served: tuple[RangeServer, Path]) -> None:
    _, index = served
    for read in ({}, {"columns": ["pixels"]}, {"columns": ["item_id"]}, {"chips": CHIPS, "chip_size": 50}):
        source = _datasets().RasteretDatasource(index, **read)
        tasks = source.get_read_tasks(3)
        blocks = [block for task in tasks for block in task()]
        nbytes = sum(block.nbytes for block in blocks)
        assert source.estimate_inmemory_data_size() == pytest.approx(nbytes, rel=0.05)
        assert sum(task.metadata.num_rows for task in tasks) == sum(block.num_rows for block in blocks)


def test_tasks_carry_bytes_of_shards_and_no_secrets(served: tuple[RangeServer, Path]) -> None:
    _, index = served
    rows = rs.connect().sql(f"SELECT * REPLACE (href || '?sig=hidden' AS href) FROM '{index}'")
    (task,) = _datasets().RasteretDatasource(rows, columns=["pixels"]).get_read_tasks(1)
    sent = pickle.dumps(task.read_fn)
    assert b"hidden" not in sent
    assert pickle.loads(sent)._shard.to_bytes() == task.read_fn._shard.to_bytes()


def test_a_shard_is_read_as_it_is(served: tuple[RangeServer, Path]) -> None:
    _, index = served
    shard = rs.shards(index, 3)[1]
    source = _datasets().RasteretDatasource(shard, columns=["item_id"])
    found = pa.concat_tables([block for task in source.get_read_tasks(2) for block in task()])
    assert found.equals(shard.read_tiles(columns=["item_id"]).read_all())


def test_the_example_writes_what_is_missing_and_no_more(tmp_path: Path) -> None:
    """In a process of its own, as users run it."""
    command = [sys.executable, "examples/ray_inference.py", str(tmp_path / "out"), "--pieces", "2"]
    for number in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("written") == (2 if number == 0 else 0)
        assert done.stdout.count("was there") == (0 if number == 0 else 2)
    means = [
        mean
        for path in (tmp_path / "out").glob("plan=*/**/*.parquet")
        for mean in pq.read_table(path)["ndvi"].to_pylist()
    ]
    assert len(means) == 4 * 4
    assert {path.name.partition("=")[0] for path in (tmp_path / "out").iterdir()} == {"collection", "plan"}
    assert all(-1 <= mean <= 1 for mean in means)


def test_wrong_columns_are_refused_by_name(served: tuple[RangeServer, Path]) -> None:
    _, index = served
    with pytest.raises(InvalidArgumentError, match="columns: got"):
        _datasets().RasteretDatasource(index, columns=["nothing"])
    with pytest.raises(InvalidArgumentError, match=r"columns: got .*expected some of chip, item_id"):
        _datasets().RasteretDatasource(index, columns=["nothing"], chips=CHIPS, chip_size=50)
