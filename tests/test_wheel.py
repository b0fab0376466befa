"""The wheel that is published holds what the package reads when it runs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with wheel and source archive of this checkout, built without network."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def contents(wheel, folder, ending):
    """Files of the wheel below a folder, by their paths inside it."""
    prefix = f"rasteret_sql/{folder}"
    return {name.removeprefix(prefix) for name in wheel.namelist() if name.startswith(prefix) and name.endswith(ending)}


@pytest.mark.parametrize(
    ("here", "there", "ending"),
    [
        ("sql", "sql/files/", ".sql"),
        ("rasteret_sql/index/datasets/entries", "index/datasets/entries/", ".toml"),
        ("rasteret_sql", "", ".py"),
    ],
)
def test_the_wheel_holds_the_files_of_the_checkout(wheel, here, there, ending):
    files = {path.relative_to(ROOT / here).as_posix() for path in (ROOT / here).rglob(f"*{ending}")}
    assert files
    assert contents(wheel, there, ending) == files


def test_the_wheel_says_that_it_is_typed_and_has_its_licence_and_command(wheel):
    names = wheel.namelist()
    assert "rasteret_sql/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "rasteret-sql = rasteret_sql.apps.main:main" in wheel.read(entry_points).decode()
    assert not [name for name in names if name.startswith(("tests", "docs", "sql/", "benchmarks"))]


def test_what_is_installed_from_the_wheel_finds_its_sql_and_datasets(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = (
        "import rasteret_sql as rs; con = rs.connect(); "
        "print(rs.__file__, con.execute('SELECT count(*) > 10 FROM datasets()').fetchall())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split(" ", 1) == [str(tmp_path / "rasteret_sql" / "__init__.py"), "[(True,)]\n"]


def test_xarray_finds_the_engine_of_what_is_installed_from_the_wheel(wheel, tmp_path):
    pytest.importorskip("xarray", reason="xarray is not installed")
    pytest.importorskip("dask", reason="Dask is not installed")
    wheel.extractall(tmp_path)
    code = (
        "import sys, numpy as np, rasteret_sql as rs, xarray as xr; from rasteret_sql.testing import write_cog\n"
        "write_cog('a.tif', np.arange(64, dtype='uint8').reshape(8, 8), tile=16, overviews=(),\n"
        "          transform=(10, 0, 600000, 0, -10, 1400000))\n"
        "rs.build_index('a.tif', 'a.parquet')\n"
        "for engine in ('rasteret_sql', None):\n"
        "    found = xr.open_dataset('a.parquet', engine=engine)\n"
        "    print(rs.__file__, [name for name in found], int(found['data'][0, 1, 2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=True, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.stdout == f"{tmp_path / 'rasteret_sql' / '__init__.py'} ['data'] 10\n" * 2


def test_the_source_archive_holds_what_is_kept_for_those_who_change_it(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kept = [
        *ROOT.glob("*.md"),
        *ROOT.glob("*.toml"),
        *ROOT.glob("*.yml"),
        *ROOT.glob(".pre-commit*"),
        ROOT / "Makefile",
    ]
    assert {file.name for file in kept} <= names
    assert {"tests/conftest.py", "docs/index.md", "sql/schema/asset_index.sql", "LICENSE"} <= names
