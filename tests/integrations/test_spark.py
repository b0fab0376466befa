"""Spark over shards: the rows of one read, in a local Spark."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore")]
pyspark = pytest.importorskip("pyspark", reason="Spark is not installed: pip install 'rasteret-sql[spark]'")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java", allow_module_level=True)

COLUMNS = ["item_id", "band_name", "datetime", "tile_row", "tile_col", "bounds", "transform", "pixels", "mask"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RangeServer, Path]]:
    folder = tmp_path_factory.mktemp("spark")
    rows = []
    with RangeServer(folder) as server:
        for number in range(4):
            for asset in ("red", "nir"):
                pixels = np.random.default_rng(number).integers(0, 5000, (160, 200), np.uint16)
                write_cog(folder / f"i{number}_{asset}.tif", pixels, tile=64, nodata=0, crs="EPSG:32643")
                href = server.url(f"i{number}_{asset}.tif")
                rows.append({"href": href, "item_id": f"i{number}", "asset": asset, "collection": "c"})
        index = folder / "index.parquet"
        with rs.set_options(allow=["*"]):
            rs.build_index(pa.Table.from_pylist(rows), index)
        yield server, index


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    from rasteret_sql.integrations.spark import RasteretDataSource

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.python.filterPushdown.enabled", "true")
        .getOrCreate()
    )
    session.dataSource.register(RasteretDataSource)
    try:
        yield session
    finally:
        session.stop()


def _requests(server: RangeServer) -> list[Any]:
    return sorted((request.path, request.start, request.end) for request in server.requests)


def _sorted(table: pa.Table, columns: list[str]) -> list[dict[str, Any]]:
    rows = table.select(columns).to_pylist()
    return sorted(rows, key=lambda row: (row["item_id"], row["band_name"], row["tile_row"], row["tile_col"]))


def test_rows_and_requests_are_those_of_one_read(spark: Any, served: tuple[RangeServer, Path]) -> None:
    server, index = served
    server.reset()
    expected = rs.read_tiles(index, bands=["red", "nir"]).read_all()
    one = _requests(server)
    frame = spark.read.format("rasteret").option("bands", "red,nir").option("shards", "3").load(str(index))
    server.reset()
    found = frame.toArrow()
    assert found.column_names == expected.column_names
    assert _sorted(found, COLUMNS) == _sorted(expected, COLUMNS)
    assert _requests(server) == one


def test_filters_leave_out_files_before_they_are_read(spark: Any, served: tuple[RangeServer, Path]) -> None:
    server, index = served
    frame = spark.read.format("rasteret").load(str(index))
    server.reset()
    found = frame.filter("item_id IN ('i1', 'i2') AND band_name = 'red' AND tile_row < 1").toArrow()
    expected = (
        rs.connect()
        .sql(f"FROM read_tiles('{index}', bands := ['red']) WHERE item_id IN ('i1', 'i2') AND tile_row < 1")
        .to_arrow_table()
    )
    assert _sorted(found, COLUMNS) == _sorted(expected, COLUMNS)
    assert {request.path for request in server.requests} == {"i1_red.tif", "i2_red.tif"}


def test_columns_without_pixels_fetch_nothing(spark: Any, served: tuple[RangeServer, Path]) -> None:
    server, index = served
    server.reset()
    frame = spark.read.format("rasteret").option("columns", "item_id,tile_row").load(str(index))
    assert frame.count() == rs.shards(index, 1)[0].tile_count
    assert frame.columns == ["item_id", "tile_row"]
    assert server.requests == []
    assert frame.filter("item_id = 'nothing'").count() == 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"band": "red"}, "option 'band': got 'red', expected one of bands"),
        ({"level": "x"}, "level: got 'x', expected numbers"),
        ({"columns": "nothing"}, r"columns: got \['nothing'\], expected some of collection"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, str], match: str) -> None:
    from rasteret_sql.integrations.spark import RasteretDataSource

    with pytest.raises(InvalidArgumentError, match=match):
        RasteretDataSource({"path": "s2.parquet"} | options).schema()
    with pytest.raises(InvalidArgumentError, match="path: got nothing"):
        RasteretDataSource({}).schema()
