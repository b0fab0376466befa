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

#: Public name to the module that holds it; modules are imported when a name is first used.
_MODULES = {
    "CogOptions": "rasteret_sql.testing.cog",
    "CollectionInfo": "rasteret_sql.apps.demo.collection",
    "Fault": "rasteret_sql.testing.server",
    "ItemInfo": "rasteret_sql.apps.demo.collection",
    "Landscape": "rasteret_sql.apps.demo.landscape",
    "RangeServer": "rasteret_sql.testing.server",
    "Request": "rasteret_sql.testing.server",
    "Scene": "rasteret_sql.apps.demo.landscape",
    "SceneOptions": "rasteret_sql.apps.demo.landscape",
    "bench_collection": "rasteret_sql.apps.demo.collection",
    "encode_cog": "rasteret_sql.testing.cog",
    "make_landscape": "rasteret_sql.apps.demo.landscape",
    "write_cog": "rasteret_sql.testing.cog",
    "write_collection": "rasteret_sql.apps.demo.collection",
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
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
