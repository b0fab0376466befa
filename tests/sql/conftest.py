"""A small collection over HTTP, its index, and connections with the functions in them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

    from tests.support.scenes import ServedScene

ITEMS = ("A", "B", "C")
ASSETS = ("red", "nir")
SIZE = 192
TILE = 64


@dataclass(frozen=True)
class Collection:
    """Files on a server, what is in them, and their index."""

    server: RangeServer
    folder: Path
    index: Path
    pixels: dict[tuple[str, str], np.ndarray]


def unique_pixels(seed: int, size: int = SIZE) -> np.ndarray:
    """Pixels of which no two tiles are alike."""
    return np.random.default_rng(seed).integers(1, 10_000, (size, size), np.uint16)


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    folder = tmp_path_factory.mktemp("collection")
    pixels = {}
    rows = []
    with RangeServer(folder) as server:
        for number, item in enumerate(ITEMS):
            for asset in ASSETS:
                data = unique_pixels(len(pixels))
                data[:5, :7] = 0
                pixels[item, asset] = data
                name = f"{item}_{asset}.tif"
                write_cog(folder / name, data, tile=TILE, overviews=(2,), nodata=0)
                when = dt.datetime(2024, 1, 1 + number, 10, tzinfo=dt.UTC)
                row = {"href": server.url(name), "item_id": item, "asset": asset, "datetime": when}
                rows.append({**row, "collection": "demo", "cloud": number * 10.0})
        import pyarrow as pa

        index = folder / "index.parquet"
        report = rs.build_index(pa.Table.from_pylist(rows), index)
        assert report.rows == len(rows), report
        server.reset()
        yield Collection(server, folder, index, pixels)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = rs.connect()
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def shared_scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedScene]:
    folder = tmp_path_factory.mktemp("scene")
    with RangeServer(folder) as server:
        yield request.module.Scene(folder, server)


@pytest.fixture
def scene(shared_scene: ServedScene) -> ServedScene:
    """The `Scene` of the module, with an empty record."""
    shared_scene.server.reset()
    return shared_scene


@pytest.fixture
def server(collection: Collection) -> RangeServer:
    """The server of the collection, with an empty record."""
    collection.server.reset()
    return collection.server
