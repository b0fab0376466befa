"""Tools for tests of pipelines: `write_cog`, `write_collection`, and `RangeServer` with faults and latency.

The collections of the demo have their names here, and live in `rasteret_sql.apps.demo`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasteret_sql.apps.demo.collection import CollectionInfo, ItemInfo, bench_collection, write_collection
    from rasteret_sql.apps.demo.landscape import Landscape, Scene, SceneOptions, make_landscape
    from rasteret_sql.testing.cog import CogOptions, encode_cog, write_cog
    from rasteret_sql.testing.server import Fault, RangeServer, Request

#: Modules and their public names; a module is imported when one of its names is first used.
_MODULES = {
    "rasteret_sql.apps.demo.collection": ("CollectionInfo", "ItemInfo", "bench_collection", "write_collection"),
    "rasteret_sql.apps.demo.landscape": ("Landscape", "Scene", "SceneOptions", "make_landscape"),
    "rasteret_sql.testing.cog": ("CogOptions", "encode_cog", "write_cog"),
    "rasteret_sql.testing.server": ("Fault", "RangeServer", "Request"),
}

__all__ = [
    "CogOptions",
    "CollectionInfo",
    "Fault",
    "ItemInfo",
    "Landscape",
    "RangeServer",
    "Request",
    "Scene",
    "SceneOptions",
    "bench_collection",
    "encode_cog",
    "make_landscape",
    "write_cog",
    "write_collection",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            globals()[name] = getattr(import_module(module), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
