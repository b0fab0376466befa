"""A small collection and its index, and how a command is run in process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from rasteret_sql.apps.main import main
from rasteret_sql.sql.indexes import build_index
from rasteret_sql.testing import write_collection

from . import served as shells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rasteret_sql.testing import CollectionInfo


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


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder of duckdb 1.5.5, its shell and its extensions."""
    return shells.environment()


@pytest.fixture(scope="session")
def served(
    packages: Path, collection: CollectionInfo, index: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[shells.Served]:
    """A server over the collection, its index and a database."""
    folder = tmp_path_factory.mktemp("served")
    database = folder / "study.duckdb"
    # Made with the duckdb that serves it: an older one cannot read files of a newer one.
    code = (
        f"import duckdb; con = duckdb.connect({str(database)!r}); "
        f"con.execute('CREATE TABLE notes AS SELECT $$clear$$ AS note, 7 AS n'); "
        f"con.execute('CREATE TABLE s2 AS FROM $${index}$$')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(packages)})
    allowed = [part for name in (index.parent, collection.folder) for part in ("--allow-dir", name)]
    secrets = {"AWS_SECRET_ACCESS_KEY": "verysecret", "AWS_ACCESS_KEY_ID": "key", "HOME": str(folder)}
    with shells.running(packages, folder, database, *allowed, env=secrets) as found:
        yield found
