"""Plugins for other tools, one module each. `rasteret_sql.integrations.odc` imports one when it is first used."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from rasteret_sql.importing import import_whole

if TYPE_CHECKING:
    from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """Import a plugin when it is first used."""
    path = f"{__name__}.{name}"
    if name.startswith("_") or find_spec(path) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_whole(path)
