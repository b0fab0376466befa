"""No fault of a server gives wrong pixels, at any rate, over any scheme, through any door."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.faults.matrix import FAULTS, RATES, SCHEMES, Lab, doors, laboratory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.faults
#: Other seeds draw other requests: `make test-faults SEED=7`.
SEED = int(os.environ.get("RASTERET_FAULT_SEED", "1"))
#: Faults that another attempt mends; a tenth of all requests may have them.
MENDED = (
    "408", "429, Retry-After: 0", "500", "502", "503", "504", "closed without an answer", "reset before the body",
    "reset in the body", "ended in the body",
)  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_pixels_are_right_or_an_error_is_named(lab: Lab, scheme: str, fault: str) -> None:
    """Each cell asserts this itself."""
    outcomes = {(door, rate): lab.outcome(fault, scheme, door, rate, SEED) for door in doors() for rate in RATES}
    assert all(outcomes.values())
    if fault in MENDED:
        assert [outcome for (_, rate), outcome in outcomes.items() if rate <= 0.01] == ["ok"] * len(doors())
