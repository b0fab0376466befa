"""Tokens for the files of Microsoft's Planetary Computer: fetched while files are read, never kept in an index.

Its storage accounts take requests with a short-lived token only, which an open endpoint gives per container. Two
environment variables of its own client are understood: `PC_SDK_SAS_URL` names another endpoint, and
`PC_SDK_SUBSCRIPTION_KEY` is sent to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rasteret_sql.errors import AccessDeniedError, TransportError
from rasteret_sql.io.asked import redact
from rasteret_sql.io.retry import RETRIED_STATUSES, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

#: Hosts of the storage accounts whose containers are read with a token, by account.
HOSTS = {
    f"{account}.blob.core.windows.net": account
    for account in (
        "ai4edataeuwest",
        "elevationeuwest",
        "landcoverdata",
        "landsateuwest",
        "naipeuwest",
        "nasademeuwest",
        "sentinel2l2a01",
    )
}
ENDPOINT = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
#: Seconds before its end from which a token is not used any more.
MARGIN_S = 120.0
#: Seconds for which an endpoint that failed is not asked again.
FAILED_S = 30.0
_FAILED_REMEDY = "Try again later, or set PC_SDK_SUBSCRIPTION_KEY where the limits are too low."


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    until_s: float


class TokenSource:
    """Gives tokens of containers, each fetched once until it ends. It belongs to the event loop of its store.

    An endpoint that fails is asked by one request on behalf of all, and then not again for `FAILED_S`.

    Args:
        retry: when the endpoint is asked again.
        clock: monotonic seconds; replaced in tests.
        sleep: waits between attempts; replaced in tests.
        jitter: random number, 0 <= jitter < 1; replaced in tests.
    """

    def __init__(
        self,
        retry: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._retry, self._clock, self._sleep, self._jitter = retry, clock, sleep, jitter
        self._tokens: dict[str, _Token] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._failure: tuple[float, str] | None = None

    async def signed(self, session: aiohttp.ClientSession, href: str) -> str:
        """Give the URL with a token where its host wants one, else as it is.

        Raises:
            FetchError: no token can be had.
        """
        container = container_of(href)
        if container is None:
            return href
        async with self._locks.setdefault(container, asyncio.Lock()):
            token = self._tokens.get(container)
            if token is None or token.until_s - MARGIN_S < time.time():
                token = self._tokens[container] = await self._fetched(session, container)
        return f"{href}{'&' if '?' in href else '?'}{token.text}"

    async def _fetched(self, session: aiohttp.ClientSession, container: str) -> _Token:
        if self._failure is not None and self._clock() < self._failure[0]:
            raise TransportError(self._failure[1])
        began_s = self._clock()
        failures = 0
        while True:
            try:
                return await _fetch(session, container)
            except (TransportError, _UnreachableError) as error:
                failures += 1
                delay_s = None
                if isinstance(error, TransportError):
                    delay_s = self._retry.delay_s(failures, self._clock() - began_s, jitter=self._jitter())
                if delay_s is None:
                    self._failure = self._clock() + FAILED_S, str(error)
                    raise TransportError(str(error)) from error
            await self._sleep(delay_s)


def container_of(href: str) -> str | None:
    """Give "account/container" of a file that is read with a token, or None.

    >>> container_of("https://naipeuwest.blob.core.windows.net/naip/v002/a.tif")
    'naipeuwest/naip'
    """
    # This runs with every request, and nearly all hrefs are others.
    account = HOSTS.get(href.partition("://")[2].partition("/")[0])
    if account is None:
        return None
    split = urlsplit(href)
    if "sig=" in split.query:
        return None
    return f"{account}/{split.path.lstrip('/').partition('/')[0]}"


class _UnreachableError(Exception):
    """The endpoint cannot be reached, and will not be in a moment either."""


async def _fetch(session: aiohttp.ClientSession, container: str) -> _Token:
    import aiohttp

    url = f"{os.environ.get('PC_SDK_SAS_URL', ENDPOINT).rstrip('/')}/{container}"
    key = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
    try:
        async with session.get(url, headers={"Ocp-Apim-Subscription-Key": key} if key else {}) as response:
            body = await response.read()
    except aiohttp.ClientConnectorError as error:
        # A refused connection, an unknown host or a wrong certificate does not change.
        raise _UnreachableError(f"{redact(url)}: the token endpoint cannot be reached. {_FAILED_REMEDY}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise TransportError(f"{redact(url)}: the token endpoint gave no answer. {_FAILED_REMEDY}") from error
    if response.status != 200:
        kind = TransportError if response.status in RETRIED_STATUSES else AccessDeniedError
        raise kind(f"{redact(url)}: the token endpoint answered {response.status}; expected 200. {_FAILED_REMEDY}")
    try:
        document = json.loads(body)
        until_s = datetime.fromisoformat(document["msft:expiry"]).timestamp()
        return _Token(str(document["token"]), until_s)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AccessDeniedError(
            f"{redact(url)}: got an answer without token and msft:expiry; expected these. {_FAILED_REMEDY}"
        ) from error
