"""The benchmarks of arrays run, on little data; their times mean nothing here, their pixels do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--repeat", "1", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def rows(text: str, reader: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"| {reader} |")]


def test_each_area_gives_a_cold_and_a_warm_row_of_our_reader(tmp_path):
    pytest.importorskip("xarray")
    done = run("X1", "X2", "X3-all", "--peers", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("### ")] == [
        "### X1",
        "### X2",
        "### X3-all",
    ]
    assert len(rows(done.stdout, "rasteret_sql")) == 3
    assert len(rows(done.stdout, "rasteret_sql, imported before")) == 3


@pytest.mark.slow
def test_odc_stac_gives_the_same_pixels_and_grids_and_nearly_the_same_when_resampled(tmp_path):
    pytest.importorskip("odc.stac")
    done = run("X1", "X3-nearest", "X3-bilinear", "--peers", "odc-stac", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(rows(done.stdout, "odc-stac, pool")) == 3
    found = re.findall(
        r"^\* rasteret_sql against odc-stac: ([\d.]+) equal; .* (\d+) valid in one only$", done.stdout, re.MULTILINE
    )
    assert len(found) == 2
    nearest, bilinear = (float(share) for share, _ in found)
    assert nearest > 0.999
    # Bilinear values that are a rounding apart.
    assert bilinear > 0.95
