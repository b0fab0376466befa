"""A small collection and its index, and how a command is run in process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from rasteret_sql.cli.main import main
from rasteret_sql.index.build import build_index
from rasteret_sql.testing.collection import write_collection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rasteret_sql.testing.collection import CollectionInfo


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> CollectionInfo:
    """Two items of 256 x 256 pixels, one in each UTM zone, with five TIFF files each."""
    return write_collection(tmp_path_factory.mktemp("collection"), items=2, size=256, tile=128)


@pytest.fixture(scope="session")
def index(collection: CollectionInfo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "s2.parquet"
    build_index(str(collection.document), path)
    return path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command in this process; gives exit code, stdout and stderr."""

    def run_main(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(int(code), captured.out, captured.err)

    return run_main
