"""Which store reads a path or URL: one store per kind and process."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.io import access, fork, loop
from rasteret_sql.io.asked import redact
from rasteret_sql.io.memory import MemoryFile, MemoryStore
from rasteret_sql.io.threads import import_in_thread

if TYPE_CHECKING:
    from rasteret_sql.io.store import RangeStore

__all__ = ["aclose_all", "redact", "store_for", "warm_up"]

Kind = Literal["http", "local", "memory", "object"]

_KINDS: dict[str, Kind] = {
    "abfs": "object",
    "abfss": "object",
    "az": "object",
    "azure": "object",
    "file": "local",
    "gs": "object",
    "hf": "http",
    "http": "http",
    "https": "http",
    "s3": "object",
    "s3a": "object",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_GDAL_PATH = re.compile(r"/vsi[a-z0-9_]+/")

_stores: dict[Kind, RangeStore] = {}


def store_for(href: str | os.PathLike[str]) -> RangeStore:
    """Give the store that reads a path or URL; always the same one in a process.

    In a forked child the store makes connections and threads of its own with the first fetch there.

    Args:
        href: `http(s)://`, `s3://`, `gs://`, `az://`, `abfs(s)://`, `hf://` or `file://` URL, or a local path.

    Raises:
        InvalidArgumentError: the scheme of the URL is not one of these.
        AccessDeniedError: this process may not read it.
    """
    kind = _kind_of(os.fspath(href))
    if kind in {"http", "object"}:
        access.check_url(os.fspath(href))
    store = _stores.get(kind)
    if store is None:
        # Another thread may make one too; the first one stays, and the other has held nothing yet.
        with fork.no_fork:
            store = _stores.setdefault(kind, _make(kind))
    return store


def warm_up(href: str | os.PathLike[str], *modules: str) -> None:
    """Begin, in the background, what the first fetch of such an address needs: event loop and library.

    It returns at once. Importing aiohttp takes about 0.3 s, during which the caller can plan or open an
    index. What goes wrong here goes wrong again, and is raised, in the first fetch.

    Args:
        href: an address like those that will be fetched.
        *modules: what else is imported once that is done, such as the decoders of what comes.

    Raises:
        InvalidArgumentError: no store reads addresses of this scheme.
    """
    store = store_for(href)
    warm = getattr(store, "warm_up", None)

    async def prepare() -> None:
        if warm is not None:
            await warm()
        await import_in_thread(*modules)

    if warm is not None or modules:
        loop.submit(prepare())


async def aclose_all() -> None:
    """Close the connections of all stores of this process; they can be used again afterwards."""
    for store in list(_stores.values()):
        await store.aclose()


def _kind_of(href: str) -> Kind:
    match = _SCHEME.match(href)
    if match is None:
        if _GDAL_PATH.match(href):
            raise InvalidArgumentError(
                f"{redact(href)}: this is a virtual path of GDAL, which is not used here; "
                f"expected a URL or a path. Give the URL itself, for example https://… or s3://…."
            )
        return "local"
    kind = "memory" if isinstance(href, MemoryFile) else _KINDS.get(match[1].lower())
    if kind is None:
        known = ", ".join(f"{scheme}://" for scheme in sorted(_KINDS))
        raise InvalidArgumentError(
            f"{redact(href)}: the scheme {match[1]}:// is not known; expected a local path or one of {known}."
        )
    return kind


def _make(kind: Kind) -> RangeStore:
    if kind == "http":
        from rasteret_sql.io.http import HttpStore

        return HttpStore()
    if kind == "memory":
        return MemoryStore()
    if kind == "object":
        from rasteret_sql.io.objects import ObjectStore

        return ObjectStore()
    from rasteret_sql.io.local import LocalStore

    return LocalStore()


loop.at_shutdown(aclose_all)
