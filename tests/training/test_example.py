"""The example that trains a model runs as it says, alone and in two processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_segmentation.py"
SMALL = ["--items", "8", "--size", "256", "--epochs", "2"]


def run(launcher, folder, *further):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, str(EXAMPLE), *SMALL, "--folder", str(folder), *further],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def losses(printed):
    return [float(value) for value in re.findall(r"loss ([\d.]+)", printed)]


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param([], marks=pytest.mark.slow, id="alone"),
        pytest.param(["-m", "torch.distributed.run", "--nproc-per-node", "2"], id="two processes"),
    ],
)
def test_it_learns_something_and_is_judged_on_other_scenes(launcher, tmp_path):
    printed = run(launcher, tmp_path / "data")
    assert printed.count("chips to train on") == 1
    first, last = losses(printed)
    assert last < first
    accuracy = float(re.search(r"accuracy ([\d.]+)", printed)[1])
    assert 0 < accuracy <= 1
    assert {"images.toml", "masks.toml"} <= {each.name for each in (tmp_path / "data").iterdir()}


@pytest.mark.slow
def test_workers_read_the_same_pixels(tmp_path):
    alone = run([], tmp_path / "data")
    assert losses(run([], tmp_path / "data", "--workers", "2")) == pytest.approx(losses(alone), abs=2e-3)
