"""Tests of the TorchGeo adapter, where torchgeo is installed: small collections as datasets, and who reads them too."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.training.scenes import Scenes

HAS_TORCHGEO = importlib.util.find_spec("torchgeo") is not None

#: Warnings of others, on behalf of what the tests use.
_THIRD_PARTY_WARNINGS = (
    # torchgeo 0.10 renames its samplers; both names are tested.
    "ignore:Use torchgeo.samplers:DeprecationWarning",
    "ignore:Use geopandas.GeoSeries.sample_points instead:DeprecationWarning",
    # pandas 3.1 warns of what torchgeo does to the index of an intersection.
    "ignore:The inplace keyword in GeoDataFrame:DeprecationWarning",
    # rasterio 1.4, which RasterDataset reads with, and affine 3.
    "ignore:Use `@` matmul instead of:PendingDeprecationWarning",
    # Python 3.12 warns of forks in processes with threads; that they are safe is what is tested.
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning",
)


class _Skipped(pytest.Module):
    """A file that cannot be imported here."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip("torchgeo is not installed")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return None if HAS_TORCHGEO else _Skipped.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for warning in _THIRD_PARTY_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    """Three overlapping items in time and place, two bands in files of their own, served with a record."""
    from tests.training.scenes import make_scenes

    with make_scenes(tmp_path_factory.mktemp("scenes")) as made:
        yield made


@pytest.fixture
def served(scenes: Scenes) -> Scenes:
    """The same with an empty record of requests."""
    scenes.server.reset()
    return scenes


@pytest.fixture
def con() -> Iterator[Any]:
    """A connection with the functions."""
    import rasteret_sql as rs

    connection = rs.connect()
    yield connection
    connection.close()
