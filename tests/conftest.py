"""Fixtures and settings for every test."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import engine

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

# Examples depend neither on the load of the machine nor on what an earlier run left behind. `fixed` draws the same examples
# in every run; `make test-random` chooses `random`, whose examples follow from the seed that it prints.
_PROFILE = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("fixed", _PROFILE, derandomize=True)
settings.register_profile("random", _PROFILE, derandomize=False, print_blob=True)
settings.load_profile("fixed")
#: Hypothesis lets this be set. Its own five minutes for each failure are too long for a suite that runs in nine.
engine.MAX_SHRINKING_SECONDS = 30


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real TIFF and STAC files, where it is there."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder of real files at {SHARED_DATA}")
    return SHARED_DATA
