"""STAC documents: items, collections of items, static catalogs, which are crawled, NDJSON, and objects in memory."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

from rasteret_sql.checks import shown, shown_names
from rasteret_sql.database.hrefs import absolute, is_url, suffix_of
from rasteret_sql.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    InvalidArgumentError,
    RangeError,
    RasteretError,
    TransportError,
)
from rasteret_sql.index.found import Found, SourceKind
from rasteret_sql.index.report import Failure
from rasteret_sql.index.stac.items import own_base, take_item
from rasteret_sql.io import access, loop
from rasteret_sql.io.identity import UNKNOWN
from rasteret_sql.io.options import get_options
from rasteret_sql.io.stores import redact, store_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from rasteret_sql.index.found import Source, SourceOptions

#: Documents that are fetched at the same time.
DOCUMENTS_IN_FLIGHT = 32
#: Items per step of an NDJSON file.
ITEMS_PER_STEP = 256
#: A larger document is refused; NDJSON is read line by line and has no limit.
MAX_DOCUMENT_BYTES = 1 << 30
FIRST_DOCUMENT_BYTES = 1 << 22
NDJSON_PIECE_BYTES = 1 << 23
GET_TIMEOUT_S = 60.0
#: Catalogs in catalogs; a deeper one may lead in a circle under ever new names.
MAX_DEPTH = 100
_GZIP = b"\x1f\x8b"

_JSON_SUFFIXES = frozenset({".json", ".geojson"})
_NDJSON_SUFFIXES = frozenset({".ndjson", ".jsonl", ".geojsonl"})
_FOLLOWED = ("child", "item", "items")
_DESCRIBED = "STAC items in memory"


def stac_documents(hrefs: Sequence[str], options: SourceOptions) -> Iterator[Found]:
    """Fetch STAC documents and, if they are catalogs or collections, all documents that they link to, many at a time.

    Documents come in the order of their links, level by level, whichever answers first. A document that cannot be
    read is a failure; the others are still found.

    Raises:
        InvalidArgumentError: there is no end of documents.
    """
    seen = set(map(absolute, hrefs))
    waiting = deque((href, 0) for href in dict.fromkeys(map(absolute, hrefs)))
    fetching: deque[tuple[str, int, Future[Any]]] = deque()
    limit = get_options().max_documents
    try:
        while waiting or fetching:
            while waiting and len(fetching) < DOCUMENTS_IN_FLIGHT:
                href, depth = waiting.popleft()
                fetching.append((href, depth, loop.submit(fetch_document(href))))
            href, depth, future = fetching.popleft()
            found = Found()
            try:
                document = future.result()
                links = take_document(found, document, href, options)
            except RasteretError as error:
                found.failures.append(Failure(redact(href), None, None, type(error).__name__, str(error)))
                document, links = None, []
            new = [link for link in dict.fromkeys(links) if link not in seen]
            # The next page of a collection lies as deep as the one before it.
            below = depth + (not _is_collection_of_items(document))
            waiting += ((link, below) for link in _allowed(found, new, href))
            seen.update(new)
            if len(seen) > limit or (new and below > MAX_DEPTH):
                raise InvalidArgumentError(_endless(href, len(seen), below, limit))
            yield found
    finally:
        for *_, future in fetching:
            future.cancel()


def _is_collection_of_items(document: Any) -> bool:
    return isinstance(document, dict) and document.get("type") == "FeatureCollection"


def _endless(href: str, documents: int, depth: int, limit: int) -> str:
    return (
        f"{redact(href)}: got {documents:,} documents, {depth} links deep; expected at most {limit:,}, {MAX_DEPTH} "
        f"deep. The catalog may have no end: give the catalog of a part of it, or raise the option max_documents."
    )


def _allowed(found: Found, links: Sequence[str], href: str) -> Iterator[str]:
    """Give the links that a document may name; the others are failures."""
    for link in links:
        try:
            access.check_named(link, href)
        except RasteretError as error:
            found.failures.append(Failure(redact(link), None, None, type(error).__name__, str(error)))
        else:
            yield link


def ndjson_items(href: str, options: SourceOptions) -> Iterator[Found]:
    """Read a file with one STAC item per line, in pieces."""
    found = Found()
    try:
        for document in read_lines(href):
            take_document(found, document, href, options, is_own_document=False)
            if len(found.items) >= ITEMS_PER_STEP:
                yield found
                found = Found()
    except RasteretError as error:
        found.failures.append(Failure(redact(href), None, None, type(error).__name__, str(error)))
    yield found


def stac_objects(documents: Sequence[Any], hrefs: Sequence[str], options: SourceOptions) -> Iterator[Found]:
    """Take STAC documents in memory, then fetch those that catalogs and collections among them link to."""
    found = Found()
    links = list(hrefs)
    for document in documents:
        try:
            links += take_document(found, document, None, options, is_own_document=False)
        except RasteretError as error:
            found.failures.append(Failure(None, None, None, type(error).__name__, str(error)))
    yield found
    yield from stac_documents(links, options)


def _of_object(source: Any, options: SourceOptions) -> tuple[Source, str] | None:
    """Take a STAC document as a dictionary, a pystac object or collection of items, a list of these, or a search.

    The search is one of pystac-client, and runs now.
    """
    if hasattr(source, "items_as_dicts"):
        source = list(source.items_as_dicts())
        if not source:
            return [Found()], _DESCRIBED
    items = getattr(source, "items", None)
    if isinstance(items, list) and hasattr(source, "extra_fields"):
        source = items
    parts = source if isinstance(source, list) else [source]
    if not parts or not all(map(_is_document, parts)):
        return None
    documents: list[Any] = []
    hrefs: list[str] = []
    for part in parts:
        if _is_catalog(part):
            _take_catalog(part, documents, hrefs, seen=set())
        else:
            documents.append(_as_dict(part))
    return stac_objects(documents, hrefs, options), _DESCRIBED


def _is_document(source: Any) -> bool:
    return isinstance(source, dict) or (hasattr(source, "to_dict") and hasattr(source, "stac_extensions"))


def _is_catalog(source: Any) -> bool:
    """Whether an object is a Catalog or Collection of pystac."""
    return hasattr(source, "get_child_links")


def _take_catalog(catalog: Any, documents: list[Any], hrefs: list[str], seen: set[int]) -> None:
    """Collect the items of a pystac catalog that are in memory, and the hrefs of documents that pystac has not read."""
    if id(catalog) in seen:
        return
    seen.add(id(catalog))
    for link in catalog.links:
        if link.rel not in _FOLLOWED:
            continue
        if not link.is_resolved():
            hrefs.append(link.get_absolute_href() or link.href)
        elif _is_catalog(link.target):
            _take_catalog(link.target, documents, hrefs, seen)
        else:
            documents.append(_as_dict(link.target))


def _as_dict(source: Any) -> Any:
    if isinstance(source, dict):
        return source
    document = source.to_dict()
    own = source.get_self_href() if hasattr(source, "get_self_href") else None
    if own is not None:
        # pystac may write the self link as a relative one, and then nothing says relative to which folder.
        others = [link for link in document.get("links", []) if link.get("rel") != "self"]
        document["links"] = [*others, {"rel": "self", "href": own}]
    return document


def _takes_path(path: str) -> bool:
    suffix = suffix_of(path)
    # Landing pages and collections of STAC APIs have no extension; "io-lulc-v0.2" only seems to have one.
    is_api = is_url(path) and not suffix.strip(".0123456789")
    return suffix in _JSON_SUFFIXES | _NDJSON_SUFFIXES or is_api


def _of_paths(paths: Sequence[str], options: SourceOptions) -> list[Source]:
    return [
        ndjson_items(absolute(path), options)
        if suffix_of(path) in _NDJSON_SUFFIXES
        else stac_documents([path], options)
        for path in paths
    ]


KIND = SourceKind(rank=20, of_object=_of_object, takes_path=_takes_path, of_paths=_of_paths)


def take_document(
    found: Found,
    document: Any,
    href: str | None,
    options: SourceOptions,
    *,
    is_own_document: bool = True,
    named_by: str | None = None,
) -> list[str]:
    """Add the items of a STAC document to `found`.

    Args:
        found: receives the items.
        document: the parsed JSON.
        href: path or URL of the document, or None.
        options: which assets are wanted.
        is_own_document: relative hrefs of an item refer to `href`, rather than to its self link.
        named_by: path or URL of the document that this one was read in; `href` by default.

    Returns:
        Documents to read next: the links of a catalog or collection, absolute.

    Raises:
        InvalidArgumentError: it is no STAC document.
    """
    named_by = named_by or href
    if isinstance(document, list):
        parts = [take_document(found, part, href, options, is_own_document=False) for part in document]
        return [link for links in parts for link in links]
    if isinstance(document, dict):
        kind = document.get("type")
        if kind == "Feature":
            base = href if is_own_document else own_base(document, href)
            take_item(found, document, base, options, named_by=named_by)
            return []
        if kind == "FeatureCollection" and isinstance(document.get("features"), list):
            for item in document["features"]:
                take_document(found, item, href, options, is_own_document=False)
            return _next_pages(document, href)
        if kind in {"Catalog", "Collection"} or (kind is None and "stac_version" in document and "links" in document):
            base = href if is_own_document else own_base(document, href)
            return [absolute(link["href"], base) for link in _links(document) if link.get("rel") in _FOLLOWED]
    raise InvalidArgumentError(
        f"{redact(href) if href else 'the source'}: {_described(document)}; expected a STAC Item, "
        f"ItemCollection, Collection or Catalog. Give the path or URL of one."
    )


def _next_pages(document: Mapping[str, Any], href: str | None) -> list[str]:
    # The saved answer of an API still has its "next" link, but the path of a file means that file alone.
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
        keys = shown_names(list(document)[:6]) or "no keys"
        return f"got a JSON object of type {shown(document.get('type'))} with {keys}"
    return f"got a JSON {type(document).__name__}"


async def fetch_document(href: str) -> Any:
    """Fetch a JSON document and parse it.

    Raises:
        FetchError: it cannot be fetched.
        InvalidArgumentError: it is not JSON.
    """
    try:
        data = await _fetch_whole(href)
    except RangeError:
        if not href.startswith(("http://", "https://")):
            raise
        # STAC APIs and small web servers answer 200 to a range request; a whole document is as good.
        data = await asyncio.to_thread(_get, href)
    return _parse(data, redact(href))


async def _fetch_whole(href: str) -> bytes:
    store = store_for(href)
    first = await store.fetch(href, 0, FIRST_DOCUMENT_BYTES)
    if len(first.data) < FIRST_DOCUMENT_BYTES or first.file_size == FIRST_DOCUMENT_BYTES:
        return first.data
    rest = await store.fetch(href, FIRST_DOCUMENT_BYTES, MAX_DOCUMENT_BYTES, identity=first.identity)
    return first.data + rest.data


def read_lines(href: str) -> Iterator[Any]:
    """Parse an NDJSON file line by line; empty lines are skipped.

    Raises:
        FetchError: it cannot be fetched.
        InvalidArgumentError: a line is not JSON.
    """
    store = store_for(href)
    number = 0
    start = 0
    rest = b""
    identity = UNKNOWN
    while True:
        piece = loop.run(store.fetch(href, start, start + NDJSON_PIECE_BYTES, identity=identity))
        start += len(piece.data)
        identity = piece.identity
        is_last = len(piece.data) < NDJSON_PIECE_BYTES or start == piece.file_size
        *lines, rest = (rest + piece.data).split(b"\n")
        if is_last:
            lines.append(rest)
        for line in lines:
            number += 1
            if line.strip():
                yield _parse(line, f"{redact(href)}, line {number}")
        if is_last:
            return


def _parse(data: bytes, what: str) -> Any:
    data = _inflated(data, what)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{what}: not JSON ({error}); expected a STAC document.") from error


def _inflated(data: bytes, what: str) -> bytes:
    """Decompress a document in gzip, as some servers send it whether or not that was asked for."""
    if not data.startswith(_GZIP):
        return data
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = inflater.decompress(data, MAX_DOCUMENT_BYTES)
    except zlib.error as error:
        raise InvalidArgumentError(f"{what}: broken gzip ({error}); expected a STAC document.") from error
    if not inflater.eof:
        raise InvalidArgumentError(
            f"{what}: got gzip that is cut, or of more than {MAX_DOCUMENT_BYTES:,} bytes; expected a STAC document."
        )
    return found


def _get(href: str) -> bytes:
    """Fetch a whole document from a server that does not know range requests."""
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class CheckedRedirects(HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> Request | None:
            access.check_redirect(arguments[0].full_url, arguments[-1])
            return super().redirect_request(*arguments)

    access.check_url(href, resolve=True)

    request = Request(href, headers={"Accept": "application/geo+json, application/json"})  # noqa: S310 - http(s) only
    try:
        with build_opener(CheckedRedirects).open(request, timeout=GET_TIMEOUT_S) as response:
            data: bytes = response.read(MAX_DOCUMENT_BYTES)
            return data
    except HTTPError as error:
        kind = {
            401: AccessDeniedError,
            403: AccessDeniedError,
            404: AssetNotFoundError,
            410: AssetNotFoundError,
        }
        message = f"{redact(href)}: the server answered {error.code}; expected 200 and a STAC document."
        raise kind.get(error.code, TransportError)(message) from error
    except OSError as error:
        if isinstance(error, AccessDeniedError):
            raise
        raise TransportError(f"{redact(href)}: {error}; expected a STAC document.") from error
