"""Fixtures and settings for every test."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import engine, providers

from rasteret_sql.io import credential_chain, options

if TYPE_CHECKING:
    from collections.abc import Iterator

# Tests keep no headers for others, and in no folder of whoever runs them.
os.environ["RASTERET_SQL_HEADER_CACHE"] = "off"
# Tests ask no metadata service of the machine that they run on.
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["GCE_METADATA_HOST"] = "127.0.0.1:9"
credential_chain._AZURE_METADATA = "http://127.0.0.1:9/"  # type: ignore[misc]

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
# Hypothesis also draws constants that it finds in the source of whatever modules are loaded, so that examples would depend
# on the tests that ran before in the same process.
_NO_CONSTANTS = providers.Constants()
_FIND_CONSTANTS = providers._get_local_constants
providers._get_local_constants = lambda: (
    _NO_CONSTANTS if settings.get_current_profile_name() == "fixed" else _FIND_CONSTANTS()
)
#: Hypothesis lets this be set. Its own five minutes for each failure are too long for a suite that runs in nine.
engine.MAX_SHRINKING_SECONDS = 30


#: Names of threads that whoever starts them ends too. All others of ours live as long as the process.
ENDING_THREADS = (
    "range-server",
    "rasteret-encode",
    "rasteret-export",
    "rasteret-pair",
    "rasteret-progress",
    "rasteret-read",
)


@pytest.fixture(autouse=True)
def _threads_are_ended() -> Iterator[None]:
    """Fail a test that leaves a server or a reader running, and with it their sockets, to the garbage collector."""
    before = set(threading.enumerate())
    yield
    left = {thread.name for thread in threading.enumerate() if thread not in before}
    assert not [name for name in left if name.startswith(ENDING_THREADS)]


@pytest.fixture(autouse=True)
def _options_are_restored() -> Iterator[None]:
    """Let no test change the options, such as credentials, of those that run after it in the same process."""
    before = list(options._current)
    yield
    options._current[:] = before


TORCH_SHIM = Path(__file__).parent / "torch_shim"


def _use_torch_shim() -> None:
    """Let torchvision be imported here and in the processes that tests spawn, see `torch_shim/sitecustomize.py`."""
    if "sitecustomize" not in sys.modules or Path(str(sys.modules["sitecustomize"].__file__)).parent != TORCH_SHIM:
        spec = importlib.util.spec_from_file_location("torch_shim", TORCH_SHIM / "sitecustomize.py")
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(TORCH_SHIM) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(TORCH_SHIM), *filter(None, paths)])


if importlib.util.find_spec("torchvision") is not None:
    _use_torch_shim()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real TIFF and STAC files, where it is there."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder of real files at {SHARED_DATA}")
    return SHARED_DATA
