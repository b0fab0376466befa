"""Tools for tests and benchmarks: a range server with faults and latency, and writers of files to read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasteret_sql.testing.cog import CogOptions, encode_cog, write_cog
    from rasteret_sql.testing.collection import CollectionInfo, ItemInfo, bench_collection, write_collection
    from rasteret_sql.testing.landscape import Landscape, Scene, SceneOptions, make_landscape
    from rasteret_sql.testing.server import Fault, RangeServer, Request

#: Public name to the module that holds it; modules are imported when a name is first used.
_MODULES = {
    "CogOptions": "rasteret_sql.testing.cog",
    "CollectionInfo": "rasteret_sql.testing.collection",
    "Fault": "rasteret_sql.testing.server",
    "ItemInfo": "rasteret_sql.testing.collection",
    "Landscape": "rasteret_sql.testing.landscape",
    "RangeServer": "rasteret_sql.testing.server",
    "Request": "rasteret_sql.testing.server",
    "Scene": "rasteret_sql.testing.landscape",
    "SceneOptions": "rasteret_sql.testing.landscape",
    "bench_collection": "rasteret_sql.testing.collection",
    "encode_cog": "rasteret_sql.testing.cog",
    "make_landscape": "rasteret_sql.testing.landscape",
    "write_cog": "rasteret_sql.testing.cog",
    "write_collection": "rasteret_sql.testing.collection",
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
