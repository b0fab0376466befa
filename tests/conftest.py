"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real TIFF and STAC files, where it is there."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder of real files at {SHARED_DATA}")
    return SHARED_DATA
