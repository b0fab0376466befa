"""A disk that is full is an error that names what was being written, whoever writes; what was there stays."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import RasteretError
from rasteret_sql.io.disk import writing
from rasteret_sql.testing import write_cog

if TYPE_CHECKING:
    from pathlib import Path

#: What is written, by the name of the file; a process may write files of 1,000 bytes.
WRITES = {
    "o.parquet": "rs.build_index([str(folder / 'a.tif')], target)",
    "i.parquet": "rs.refresh(target)",
    "rows.parquet": "rs.export(index, target)",
    "o.tif": "rs.export(index, target)",
    "o.nc": "rs.export(index, target)",
    "o.zarr": "rs.export(index, target)",
    "o.png": "rs.picture(index).save(target)",
}
_CHILD = """
import resource, signal, sys
from pathlib import Path
import rasteret_sql as rs
from rasteret_sql.errors import RasteretError
folder, name, write = Path(sys.argv[1]), *sys.argv[2:]
index, target = folder / "i.parquet", folder / name
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    exec(write)
except RasteretError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    pixels = np.random.default_rng(0).integers(1, 60_000, (256, 256), np.uint16)
    place = {"crs": "EPSG:32643", "transform": (10.0, 0.0, 600_000.0, 0.0, -10.0, 1_400_000.0)}
    write_cog(folder / "a.tif", pixels, tile=128, **place)
    rs.build_index([str(folder / "a.tif")], folder / "i.parquet")
    return folder


@pytest.mark.parametrize("name", WRITES)
def test_a_full_disk_is_an_error_that_names_the_file(folder: Path, name: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, folder, name, WRITES[name]],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{folder / name}: " in done.stdout
    assert "ritten" in done.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_other_errors_stay_as_they_are(folder: Path) -> None:
    for error in (OSError(2, "No such file"), ValueError("No"), RasteretError("File too large")):
        with pytest.raises(type(error)) as caught, writing(folder):
            raise error
        assert caught.value is error
    with pytest.raises(RasteretError, match=r"No space left on device\. Nothing was written"), writing(folder):
        raise RuntimeError("IO Error: Could not write file: No space left on device")
