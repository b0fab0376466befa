"""Files that others wrote read as in rasterio, or are refused by name; the page that says so is up to date."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

import rasteret_sql as rs
from rasteret_sql import errors
from tests.conformance import expected
from tests.conformance.examine import Outcome, listed
from tests.conformance.files import FOLDER, GROUPS, MANIFEST, examine_group, manifest
from tests.conformance.page import PAGE, page

if TYPE_CHECKING:
    from pathlib import Path

CPU_LIMIT_S = 10
MEMORY_LIMIT_KB = 500_000

ABSENT = pytest.mark.skipif(not manifest(), reason=f"no third-party files: {MANIFEST} is absent")
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type)}


@pytest.fixture(scope="session")
def found() -> dict[str, dict[str, Outcome]]:
    return {group: examine_group(group) for group in GROUPS}


def of_group(group):
    return [pytest.param(row, id=row["path"].partition("/")[2]) for row in manifest() if row["group"] == group] or [
        pytest.param(None, marks=ABSENT)
    ]


@pytest.mark.parametrize("row", of_group("scenes"))
def test_a_scene_reads_as_in_rasterio(row, found):
    outcome = found["scenes"][row["path"]]
    assert outcome.equal, outcome
    assert outcome.requests <= 2


@pytest.mark.parametrize("row", of_group("conformance"))
def test_a_conforming_file_reads_as_in_rasterio_or_is_refused_by_name(row, found):
    outcome = found["conformance"][row["path"]]
    reason = listed(expected.REFUSED, row["path"])
    if reason is not None:
        assert outcome.error.startswith("UnsupportedTiffError")
        assert reason in outcome.error
    elif outcome.gdal_reads:
        assert outcome.equal, outcome
    else:
        # GDAL's build has no codec for these (JPEG XL), or the image has no pixels.
        assert row["gdal_read"] not in {"full", "window"}
        assert outcome.error is None or outcome.error.partition(":")[0] in ERRORS, outcome


@pytest.mark.parametrize("row", of_group("malformed"))
def test_a_malformed_file_reads_as_in_gdal_or_is_an_error_of_ours(row, found):
    outcome = found["malformed"][row["path"]]
    assert outcome.cpu_s < CPU_LIMIT_S
    assert outcome.peak_kb < MEMORY_LIMIT_KB
    if outcome.error is None:
        assert outcome.equal or not outcome.gdal_reads, outcome
        return
    assert outcome.error.partition(":")[0] in ERRORS, outcome
    reason = listed({**expected.REFUSED, **expected.REFUSED_AS_BROKEN}, row["path"])
    assert reason is not None or not outcome.gdal_reads, outcome
    assert reason is None or reason in outcome.error


@ABSENT
def test_the_page_of_files_is_up_to_date(found):
    assert PAGE.read_text(encoding="utf-8") == page(found), "run `make files` and commit docs/files.md"


@ABSENT
@pytest.mark.parametrize("table", ["LOSSY", "REFUSED", "REFUSED_AS_BROKEN", "OTHER_DTYPE"])
def test_what_is_known_to_differ_is_still_there(table):
    for name in getattr(expected, table):
        assert any(row["path"].endswith(name) for row in manifest()), name


@ABSENT
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", expected.LOSSY)
def test_jpeg_pixels_are_those_of_a_gdal_with_libjpeg_turbo(name, tmp_path: Path):
    command = shutil.which("gdal_translate")
    if command is None:
        pytest.skip(
            "gdal_translate is not installed; it is the oracle here, for rasterio's wheels have another libjpeg"
        )
    (path,) = (FOLDER / row["path"] for row in manifest() if row["path"].endswith(name) and row["group"] != "malformed")
    decoded = tmp_path / "decoded.tif"
    bands = [word for band in (1, 2, 3) for word in ("-b", str(band))]
    subprocess.run([command, "-q", "-co", "COMPRESS=NONE", *bands, path, decoded], check=True)
    rs.build_index([str(path)], tmp_path / "index.parquet")
    with rasterio.open(decoded) as source:
        np.testing.assert_array_equal(rs.to_numpy(tmp_path / "index.parquet").data[0][:3], source.read())
