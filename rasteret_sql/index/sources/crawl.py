"""STAC documents: items, collections of items, static catalogs and collections that are crawled, NDJSON."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from rasteret_sql.errors import InvalidArgumentError, RasteretError
from rasteret_sql.index.hrefs import absolute, is_url
from rasteret_sql.index.model import Found
from rasteret_sql.index.report import Failure
from rasteret_sql.index.sources.documents import fetch_document, read_lines
from rasteret_sql.index.sources.stac import StacOptions, own_base, take_item
from rasteret_sql.io import loop
from rasteret_sql.io.stores import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

#: Documents that are fetched at the same time.
DOCUMENTS_IN_FLIGHT = 32
#: Items per step of an NDJSON file.
ITEMS_PER_STEP = 256

_FOLLOWED = ("child", "item", "items")


class StacDocumentSource:
    """One STAC document and, where it is a catalog or a collection, everything that it links to.

    Documents come in the order of their links, level by level, whichever answers first. One that cannot be
    read is a failure; the others are still found.
    """

    def __init__(self, href: str, options: StacOptions) -> None:
        self._href = absolute(href)
        self._options = options

    def find(self) -> Iterator[Found]:
        """Fetch, many documents at a time."""
        waiting = deque([self._href])
        seen = {self._href}
        fetching: deque[tuple[str, Future[Any]]] = deque()
        try:
            while waiting or fetching:
                while waiting and len(fetching) < DOCUMENTS_IN_FLIGHT:
                    href = waiting.popleft()
                    fetching.append((href, loop.submit(fetch_document(href))))
                href, future = fetching.popleft()
                found = Found()
                try:
                    links = take_document(found, future.result(), href, self._options)
                except RasteretError as error:
                    found.failures.append(Failure(redact(href), None, None, type(error).__name__, str(error)))
                    links = []
                yield found
                for link in links:
                    if link not in seen:
                        seen.add(link)
                        waiting.append(link)
        finally:
            for _, future in fetching:
                future.cancel()


class NdjsonSource:
    """A file with one STAC item per line."""

    def __init__(self, href: str, options: StacOptions) -> None:
        self._href = absolute(href)
        self._options = options

    def find(self) -> Iterator[Found]:
        """Read the file in pieces."""
        found = Found()
        try:
            for document in read_lines(self._href):
                take_document(found, document, self._href, self._options, is_own_document=False)
                if len(found.items) >= ITEMS_PER_STEP:
                    yield found
                    found = Found()
        except RasteretError as error:
            found.failures.append(Failure(redact(self._href), None, None, type(error).__name__, str(error)))
        yield found


class StacObjectSource:
    """STAC items that are in memory already, as dictionaries."""

    def __init__(self, document: Any, options: StacOptions) -> None:
        self._document = document
        self._options = options

    def find(self) -> Iterator[Found]:
        """Take them all; nothing is fetched."""
        found = Found()
        try:
            take_document(found, self._document, None, self._options, is_own_document=False)
        except RasteretError as error:
            found.failures.append(Failure(None, None, None, type(error).__name__, str(error)))
        yield found


def take_document(
    found: Found, document: Any, href: str | None, options: StacOptions, *, is_own_document: bool = True
) -> list[str]:
    """Add the items of a STAC document to `found`.

    Args:
        found: what is added to.
        document: the parsed JSON.
        href: where it was read, or None.
        options: what is taken.
        is_own_document: relative hrefs of an item refer to `href`, rather than to its self link.

    Returns:
        Documents to read next: those that a catalog or collection links to, absolute.

    Raises:
        InvalidArgumentError: it is no STAC document.
    """
    if isinstance(document, list):
        for part in document:
            take_document(found, part, href, options, is_own_document=False)
        return []
    if isinstance(document, dict):
        kind = document.get("type")
        if kind == "Feature":
            take_item(found, document, href if is_own_document else own_base(document, href), options)
            return []
        if kind == "FeatureCollection" and isinstance(document.get("features"), list):
            for item in document["features"]:
                take_document(found, item, href, options, is_own_document=False)
            return _next_pages(document, href)
        if kind in {"Catalog", "Collection"} or (kind is None and "stac_version" in document and "links" in document):
            return [absolute(link["href"], href) for link in _links(document) if link.get("rel") in _FOLLOWED]
    raise InvalidArgumentError(
        f"{redact(href) if href else 'the source'}: {_described(document)}; expected a STAC Item, "
        f"ItemCollection, Collection or Catalog. Give the path or URL of one."
    )


def _next_pages(document: Mapping[str, Any], href: str | None) -> list[str]:
    # A saved answer of an API still has its "next" link, but whoever names a file means that file.
    if href is None or not is_url(href):
        return []
    pages = (link for link in _links(document) if link.get("rel") == "next" and link.get("method", "GET") == "GET")
    return [absolute(link["href"], href) for link in pages]


def _links(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    links = document.get("links")
    return [
        link
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, dict) and isinstance(link.get("href"), str)
    ]


def _described(document: Any) -> str:
    if isinstance(document, dict):
        keys = ", ".join(list(document)[:6]) or "no keys"
        return f"got a JSON object of type {document.get('type')!r} with {keys}"
    return f"got a JSON {type(document).__name__}"
