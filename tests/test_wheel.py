"""The wheel that is published holds what the package reads when it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.kernels import has_compiler

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
def pure(tmp_path_factory):
    """The folder with a wheel that was built without a working compiler, and what was said."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("pure")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "--directory", str(folder)],
        cwd=ROOT, env=os.environ | {"CC": "/bin/false"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folder, done.stdout + done.stderr


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


def resampled_by(wheel, folder):
    """What resamples pixels where a wheel is installed, and the average of two pixels."""
    wheel.extractall(folder)
    code = (
        "import numpy as np; from rasteret_sql.read import compiled, resample; "
        "print(compiled.in_use()); places = np.array([0.0, 2.0]); "
        "print(resample.resample_areas(np.array([[4, 8]]), None, places / 2, places, 'average')[0].tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env={"PYTHONPATH": str(folder)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_a_wheel_built_where_a_compiler_is_has_compiled_kernels_for_all_pythons(built, wheel, tmp_path):
    if not has_compiler():
        pytest.skip("there is no C compiler, or Python's headers are missing")
    (path,) = built.glob("*.whl")
    assert "-cp311-abi3-" in path.name
    assert contents(wheel, "", ".so") == {"read/_kernels.abi3.so"}
    assert "Root-Is-Purelib: false" in wheel.read("rasteret_sql-0.1.0.dist-info/WHEEL").decode()
    assert resampled_by(wheel, tmp_path) == ["compiled", "[[6]]"]


def test_a_wheel_built_without_a_compiler_is_pure_warns_once_and_works(pure, tmp_path):
    folder, said = pure
    (path,) = folder.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    assert said.count("is built without compiled kernels, NumPy resamples pixels: /bin/false failed") == 1
    with zipfile.ZipFile(path) as wheel:
        assert not contents(wheel, "", ".so")
        kind, average = resampled_by(wheel, tmp_path)
    assert kind.startswith("NumPy")
    assert average == "[[6]]"


def test_the_source_archive_can_compile_the_kernels(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"hatch_build.py", *(f"kernels/{file.name}" for file in (ROOT / "kernels").iterdir())} <= names
    assert not [name for name in names if name.endswith(".so")]
