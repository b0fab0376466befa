"""Requests to a STAC API, with pystac-client: pages, retries, and errors of our own.

This module is imported when a search runs: pystac-client takes some tenths of a second.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pystac
import urllib3
from pystac_client import Client, ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from rasteret_sql.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    InvalidArgumentError,
    RasteretError,
    TransportError,
)
from rasteret_sql.io import access
from rasteret_sql.io.asked import redact, redact_text
from rasteret_sql.io.retry import RETRIED_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Longest time for a connection, and longest silence of a server: large searches take a while.
TIMEOUT_S = (15.0, 120.0)
#: Retries of a request, and the longest wait before one, whatever Retry-After says.
RETRIES = 6
MAX_WAIT_S = 60.0
#: Characters of an API's refusal in a message.
SHOWN_CHARACTERS = 300
#: Ids of collections in a message.
SHOWN_IDS = 8

_QUERY = re.compile(r"\?\S*")
#: Conformance classes that arguments need.
_NEEDS = {"filter": ConformanceClasses.FILTER, "sortby": ConformanceClasses.SORT, "query": ConformanceClasses.QUERY}


class _Retry(urllib3.Retry):
    """Retries that honour Retry-After within bounds. A search changes nothing, so POST is repeated too."""

    def get_retry_after(self, response: Any) -> float | None:
        """Seconds that the server asks to wait, at most `MAX_WAIT_S`."""
        try:
            wait_s = super().get_retry_after(response)
        except urllib3.exceptions.InvalidHeader:
            return None
        return None if wait_s is None else min(wait_s, MAX_WAIT_S)


class _PagedIO(StacApiIO):
    """The class of pystac-client, except that an empty page with a link to the next one is not the last."""

    def __init__(self, api: str, **options: Any) -> None:
        super().__init__(**options)
        self._named_by = api
        self.session.hooks["response"].append(_check_redirect)

    def request(self, href: str, *arguments: Any, **named: Any) -> str:
        """Send a request, if the process may read the URL, and the API may name it."""
        access.check_url(href, resolve=True)
        access.check_named(href, self._named_by, resolve=True)
        answer: str = super().request(href, *arguments, **named)
        return answer

    def get_pages(
        self, url: str, method: str | None = None, parameters: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Go through the pages of an answer."""
        page = self.read_json(url, method=method, parameters=parameters)
        asked: set[str] = set()
        while True:
            if not isinstance(page, dict):
                raise InvalidArgumentError(f"got a JSON {type(page).__name__} as a page, expected an ItemCollection")
            if page.get("features") or page.get("collections"):
                yield page
            following = next((link for link in page.get("links") or () if link.get("rel") == "next"), None)
            if following is None:
                return
            key = json.dumps(following, sort_keys=True)
            if key in asked:
                raise TransportError(
                    f"got a link to a page that was read before, after {len(asked)} pages; expected the next one. "
                    f"The API pages wrongly: narrow the search with datetime or bbox, or set page_items"
                )
            asked.add(key)
            page = self.read_json(pystac.Link.from_dict(following), parameters=parameters)


def _check_redirect(response: Any, **_options: Any) -> None:
    if response.is_redirect:
        with contextlib.ExitStack() as on_failure:
            # Its body is not read yet, so its connection is in no pool that could be closed later.
            on_failure.callback(response.close)
            access.check_redirect(response.url, urljoin(response.url, response.headers["Location"]))
            on_failure.pop_all()


class ApiClient:
    """One STAC API.

    Args:
        url: its landing page.

    Raises:
        RasteretError: the URL cannot be reached, or is no STAC API.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        retries = _Retry(
            total=RETRIES,
            # A refused connection or an unknown host does not change.
            connect=1,
            backoff_factor=0.5,
            status_forcelist=RETRIED_STATUSES,
            allowed_methods=None,
            raise_on_status=False,
        )
        # urllib3 before 2.0 took the limit from the class.
        retries.backoff_max = MAX_WAIT_S
        with contextlib.ExitStack() as on_failure:
            with self._errors("the landing page"), _quiet():
                io = _PagedIO(url, timeout=TIMEOUT_S, max_retries=retries)
                on_failure.callback(io.session.close)
                self._client: Client = Client.open(url, stac_io=io, timeout=TIMEOUT_S)
            if self._client.get_single_link("search") is None:
                raise InvalidArgumentError(
                    f"{redact(url)}: got the STAC catalog {self._client.id!r} without a link to a search, expected a "
                    "STAC API, since bbox, datetime and the like are options of a search. A static catalog is read "
                    "as a whole: leave them out, in Python by build_index(url), in SQL by stac_items(url)"
                )
            on_failure.pop_all()

    def close(self) -> None:
        """Close the connections."""
        self._io.session.close()

    def pages(self, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Search, and go through the pages of the answer.

        Args:
            parameters: arguments of pystac-client's `ItemSearch`.

        Yields:
            ItemCollections as dictionaries, none of them empty.

        Raises:
            RasteretError: the API refuses or fails, or lacks a feature that the search needs.
        """
        self._require(parameters)
        with self._errors("the search"), _quiet():
            search = self._client.search(method=self._method(parameters), **_with_filter_language(parameters))
            pages = search.pages_as_dicts()
        while True:
            with self._errors("the search"), _quiet():
                page = next(pages, None)
            if page is None:
                return
            yield page

    def require_collections(self, names: Sequence[str]) -> None:
        """Check that collections exist: an API silently finds nothing in a collection that it lacks.

        Raises:
            InvalidArgumentError: a collection does not exist; the message has similar ids.
        """
        known: list[str] | None = None
        for name in names:
            if self._has(name):
                continue
            known = known if known is not None else self._collection_ids()
            alike = difflib.get_close_matches(name, known, n=SHOWN_IDS, cutoff=0.4)
            alike += [one for one in known if name.lower() in one.lower() and one not in alike]
            shown = ", ".join((alike or sorted(known))[:SHOWN_IDS])
            what = "near ones are" if alike else "among its collections are"
            raise InvalidArgumentError(
                f"{redact(self._url)}: got the collection {name!r}, which this API does not have"
                + (f"; {what} {shown}" if shown else "; correct it")
            )

    def _has(self, name: str) -> bool:
        from urllib.parse import quote

        link = self._client.get_single_link("data")
        base = link.absolute_href if link is not None else f"{self._url.partition('?')[0].rstrip('/')}/collections"
        try:
            with self._errors("its collections"), _quiet():
                self._io.read_json(f"{base.rstrip('/')}/{quote(name, safe='')}")
        except AssetNotFoundError:
            return False
        except InvalidArgumentError:
            # Some servers answer 400; then the list of ids decides.
            return name in self._collection_ids()
        return True

    def _collection_ids(self) -> list[str]:
        link = self._client.get_single_link("data")
        if link is None:
            return []
        try:
            with self._errors("its collections"), _quiet():
                pages = self._io.get_pages(link.absolute_href)
                return [str(one.get("id")) for page in pages for one in page.get("collections") or ()]
        except RasteretError:
            # The ids are for a message only.
            return []

    @property
    def _io(self) -> _PagedIO:
        io = self._client._stac_io  # noqa: SLF001 - pystac-client has no public name for it
        assert isinstance(io, _PagedIO)
        return io

    def _require(self, parameters: Mapping[str, Any]) -> None:
        """Refuse an argument that the API does not support: it would silently leave the condition out."""
        if not self._client.has_conforms_to():
            return
        for name, needed in _NEEDS.items():
            if parameters.get(name) is not None and not self._client.conforms_to(needed):
                raise InvalidArgumentError(
                    f"{redact(self._url)}: got {name}, which this API does not offer (its landing page does not "
                    f"conform to {needed.name}); leave it out, and write the condition in WHERE"
                )

    def _method(self, parameters: Mapping[str, Any]) -> str:
        # All APIs have GET, and some lack POST; a filter in CQL2 text needs GET.
        if isinstance(parameters.get("filter"), str):
            return "GET"
        links = [link for link in self._client.links if link.rel == "search"]
        methods = {str(link.extra_fields.get("method", "GET")).upper() for link in links}
        return "POST" if "POST" in methods else "GET"

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn errors of pystac-client, pystac, requests and our own checks of pages into ours."""
        name = redact(self._url)
        try:
            yield
        except RasteretError as error:
            raise type(error)(f"{name}: {what}: {error}") from None
        except APIError as error:
            raise _mapped(error, f"{name}: {what}") from None
        except json.JSONDecodeError:
            raise InvalidArgumentError(
                f"{name}: {what}: got an answer that is not JSON, expected a STAC API; check the URL"
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever pystac raises is turned into one of ours
            raise InvalidArgumentError(
                f"{name}: {what}: got {_clean(str(error)) or type(error).__name__}, expected a STAC API; check the URL"
            ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Warnings, mostly on conformance, are about things that are checked here, and raised where they matter.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _with_filter_language(parameters: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in parameters.items() if value is not None}
    if "filter" in given:
        given["filter_lang"] = "cql2-text" if isinstance(given["filter"], str) else "cql2-json"
    return given


def _mapped(error: APIError, what: str) -> RasteretError:
    """Give our error for one of pystac-client, whose text is the answer of the server, or a URL with its query."""
    status = getattr(error, "status_code", None)
    if status is None:
        cause = error.__context__
        reason = getattr(getattr(cause, "args", (None,))[0], "reason", cause)
        kind = type(reason).__name__
        if "Timeout" in kind:
            got = f"no answer within {TIMEOUT_S[1]:.0f} s, after several attempts"
        elif "NameResolution" in kind:
            return TransportError(f"{what}: there is no host of this name; check the URL and the network")
        elif "SSL" in kind or "Certificate" in kind:
            return TransportError(f"{what}: no secure connection; check the certificates (REQUESTS_CA_BUNDLE)")
        else:
            got = f"no connection ({kind})"
        return TransportError(f"{what}: got {got}; check the URL and the network, or try again later")
    said = _said(str(error))
    if status in {401, 403}:
        return AccessDeniedError(f"{what}: the API answered {status}{said}; expected 200. Give a URL that needs no key")
    if status in {404, 410}:
        return AssetNotFoundError(f"{what}: the API answered {status}{said}; expected 200. Check URL and collections")
    if status in RETRIED_STATUSES:
        return TransportError(
            f"{what}: the API answered {status}{said}, also after {RETRIES} retries; try again later, or with a "
            f"smaller page_items"
        )
    return InvalidArgumentError(f"{what}: the API answered {status}{said}; expected 200. Correct the arguments")


def _said(text: str) -> str:
    """Give the reason that a server wrote, in a line."""
    try:
        document = json.loads(text)
    except ValueError:
        document = text if "<" not in text else ""
    if isinstance(document, dict):
        document = next(
            (document[key] for key in ("description", "detail", "message", "title", "code") if document.get(key)), ""
        )
    said = _clean(document if isinstance(document, str) else json.dumps(document))
    return f" ({said})" if said else ""


def _clean(text: str) -> str:
    # Paths with a query string come without their host too.
    line = " ".join(_QUERY.sub("", redact_text(text)).split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 3]}..."
