"""Tools for tests and benchmarks: a range server with faults and latency, and writers of files to read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasteret_sql.testing.server import Fault, RangeServer, Request

#: Public name to the module that holds it; modules are imported when a name is first used.
_MODULES = {
    "Fault": "rasteret_sql.testing.server",
    "RangeServer": "rasteret_sql.testing.server",
    "Request": "rasteret_sql.testing.server",
}

__all__ = ["Fault", "RangeServer", "Request"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
