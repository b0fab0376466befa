"""Byte ranges of files over HTTP, with aiohttp: range requests alone, checked and retried."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from rasteret_sql.errors import (
    AccessDeniedError,
    FetchError,
    InvalidArgumentError,
    RangeError,
    RasteretError,
    TransportError,
)
from rasteret_sql.io import access, bearer_tokens, fork, hugging_face, machine
from rasteret_sql.io.asked import Asked, safe_cause
from rasteret_sql.io.credentials import with_credentials
from rasteret_sql.io.hedge import Hedge
from rasteret_sql.io.http_answer import check_answer
from rasteret_sql.io.identity import UNKNOWN, FileIdentity
from rasteret_sql.io.options import get_options
from rasteret_sql.io.retry import RETRIED_STATUSES, RetryPolicy, parse_http_date, parse_retry_after
from rasteret_sql.io.signing import TokenSource
from rasteret_sql.io.store import RangeResponse
from rasteret_sql.io.threads import import_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp
    from yarl import URL

#: Also what aiohttp, its host look-up and this module import only when they come to it.
_LIBRARIES = ("aiohttp", "email.utils", "encodings.idna", "urllib.request", "yarl")

#: Connections to one host that all reads of the process may share; a read with more requests in flight has as many.
_MIN_CONNECTIONS = 128
#: Error answers up to this size are read, so that their connection can be used again.
_DRAIN_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Limits of the connections of an `HttpStore`.

    An attempt ends where the header of its answer is not there `read_s` after it was sent, and where bytes come slower
    than `min_bytes_per_s` for `read_s`. So it takes `connect_s + 3 * read_s + bytes / min_bytes_per_s` at most.

    Attributes:
        connect_s: seconds until a connection must stand.
        read_s: seconds that the server may be silent while its answer is awaited or read.
        min_bytes_per_s: rate below which an answer is given up once it has taken `read_s`.
        connections_per_host: connections, so also requests in flight, to one host and port.
        redirects: how many redirects are followed.
        buffer_bytes: bytes of one answer that may wait in memory before its connection is paused.
    """

    connect_s: float = 15.0
    read_s: float = 30.0
    min_bytes_per_s: float = 1000.0
    connections_per_host: int = _MIN_CONNECTIONS
    redirects: int = 5
    buffer_bytes: int = 1 << 20


class _Failed(Exception):  # noqa: N818 - a signal between attempt and retry loop, never raised to callers
    """One attempt failed in a way that another one may not."""

    def __init__(self, error: FetchError, retry_after: str | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.retry_after = retry_after


class HttpStore:
    """Fetches ranges with GET requests, many at a time over kept-alive connections.

    Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`, ...). A store serves one event loop:
    the one of its first fetch, until it is closed.

    Args:
        retry: when a request is tried again; by the options of the process by default.
        options: timeouts and limits; by the options of the process by default.
        clock: monotonic seconds; replaced in tests.
        sleep: waits between attempts; replaced in tests.
        jitter: random number, 0 <= jitter < 1; replaced in tests.
    """

    def __init__(
        self,
        *,
        retry: RetryPolicy | None = None,
        options: HttpOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._given_retry, self._given_options = retry, options
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        #: By whether documents of strangers named the host, and by connections per host.
        self._sessions: dict[tuple[bool, int], aiohttp.ClientSession] = {}
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._proxies: dict[tuple[str, str | None], URL | None] = {}
        self._tokens = TokenSource(RetryPolicy())
        self._hedge = Hedge(clock, sleep)

    async def fetch(self, href: str, start: int, end: int, *, identity: FileIdentity = UNKNOWN) -> RangeResponse:
        """Fetch bytes `start` to `end` (exclusive); see `RangeStore.fetch`."""
        asked = Asked(href, start, end, identity)
        began_s = self._clock()
        failures = 0
        policy = self._policy()
        while True:
            try:
                # Anew each time, since the store may have been closed meanwhile.
                session = await self._session_for(asked)
                if not get_options().hedge:
                    return await self._attempt(session, asked)
                return await self._hedge.run(partial(self._attempt, session, asked))
            except _Failed as failed:
                failures += 1
                delay_s = policy.delay_s(
                    failures,
                    self._clock() - began_s,
                    jitter=self._jitter(),
                    retry_after_s=parse_retry_after(failed.retry_after, time.time()),
                )
                if delay_s is None:
                    raise _final(failed.error, failures, self._clock() - began_s) from failed.__cause__
            await self._sleep(delay_s)

    def _policy(self) -> RetryPolicy:
        options = get_options()
        return self._given_retry or RetryPolicy(attempts=options.attempts, total_s=options.retry_s)

    def _limits(self) -> HttpOptions:
        options = get_options()
        return self._given_options or HttpOptions(
            connect_s=options.connect_s,
            read_s=options.silence_s,
            min_bytes_per_s=options.min_bytes_per_s,
            connections_per_host=max(machine.max_requests(), _MIN_CONNECTIONS),
        )

    async def warm_up(self) -> None:
        """Import aiohttp, so that the first fetch need not; nothing is opened that would have to be closed."""
        await import_in_thread(*_LIBRARIES)

    async def aclose(self) -> None:
        """Close the connections; the store can be used again afterwards, also on another event loop."""
        sessions, self._sessions = self._sessions, {}
        if self._owner is not None and self._owner[0] == os.getpid():
            for session in sessions.values():
                await session.close()

    async def _attempt(self, session: aiohttp.ClientSession, asked: Asked) -> RangeResponse:
        import aiohttp

        headers = {"Range": f"bytes={asked.start}-{asked.end - 1}"}
        if asked.identity.if_match is not None:
            headers["If-Match"] = asked.identity.if_match
        limits = self._limits()
        try:
            href = asked.href
            if href.lower().startswith(hugging_face.SCHEME):
                href, of_hub = hugging_face.resolved(href, get_options().credentials)
                headers |= of_hub
            else:
                headers |= bearer_tokens.header_for(href, get_options().credentials)
            url = _as_url(asked, await self._signed(session, asked, href))
            # A header that comes byte by byte is never silent. The time counts from the last request that was sent.
            async with asyncio.timeout(None) as header_end:
                response = await session.get(
                    url,
                    headers=headers,
                    max_redirects=limits.redirects,
                    proxy=self._proxy_for(url),
                    timeout=aiohttp.ClientTimeout(sock_connect=limits.connect_s, sock_read=limits.read_s),
                    trace_request_ctx=(header_end, limits.read_s),
                )
            async with response:
                if response.status in RETRIED_STATUSES:
                    await _drain(response)
                    raise _Failed(
                        TransportError(f"{asked}: the server answered {response.status}; expected 206."),
                        response.headers.get("Retry-After"),
                    )
                body = check_answer(
                    asked,
                    response.status,
                    response.headers,
                    sender=response.url.host if response.history else None,
                    had_token="Authorization" in headers,
                )
                data = await _read_body(response, body.end - body.start, asked, limits, self._clock)
                return RangeResponse(
                    data=data,
                    start=body.start,
                    file_size=body.file_size,
                    etag=response.headers.get("ETag"),
                    last_modified=parse_http_date(response.headers.get("Last-Modified")),
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, RasteretError):
                raise
            # aiohttp takes what the look-up of a name or the making of a socket raises for its own.
            if isinstance(error.__cause__, AccessDeniedError):
                raise error.__cause__ from None
            raise _mapped(error, asked) from safe_cause(error)

    async def _signed(self, session: aiohttp.ClientSession, asked: Asked, href: str) -> str:
        try:
            return await self._tokens.signed(session, with_credentials(href, get_options().credentials))
        except TransportError as error:
            raise TransportError(f"{asked}: {error}") from safe_cause(error)

    async def _session_for(self, asked: Asked) -> aiohttp.ClientSession:
        limits = self._limits()
        key = (access.is_strange(asked.href), limits.connections_per_host)
        here = (os.getpid(), asyncio.get_running_loop())
        if key in self._sessions and self._owner == here:
            return self._sessions[key]
        if self._sessions and self._owner is not None and self._owner != here and self._owner[0] == here[0]:
            raise RasteretError(
                "HttpStore: it was first used on another event loop; its connections belong to that one. "
                "Fetch through rasteret_sql.io.loop.run or submit, or close the store first."
            )
        await import_in_thread(*_LIBRARIES)
        if self._owner != here or not self._sessions:
            self._sessions, self._owner = {}, here
            self._proxies = {}
            self._tokens = TokenSource(self._policy(), self._clock, self._sleep, self._jitter)
        if key not in self._sessions:
            self._sessions[key] = self._new_session(access.policy_of_connections(is_strange=key[0]), limits)
        return self._sessions[key]

    def _new_session(self, policy: access.AccessPolicy | None, options: HttpOptions) -> aiohttp.ClientSession:
        import aiohttp

        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=options.connections_per_host,
            ttl_dns_cache=300,
            **_checked_names(policy),
        )
        session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": "rasteret-sql", "Accept-Encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=options.buffer_bytes,
            # A redirect to a signed URL must be followed as it is, or its signature no longer fits.
            requote_redirect_url=False,
            trace_configs=[_trace()],
        )
        fork.pin_in_child(connector)
        fork.pin_in_child(session)
        return session

    def _proxy_for(self, url: URL) -> URL | None:
        # aiohttp's own `trust_env` asks a thread for every request; the answer is the same for all of a host.
        key = (url.scheme, url.host)
        if key not in self._proxies:
            self._proxies[key] = _proxy_from_environment(url)
        return self._proxies[key]


def _checked_names(policy: access.AccessPolicy | None) -> dict[str, Any]:
    """How names are looked up and sockets made: the policy looks at each name and each address."""
    import aiohttp

    class Checked(aiohttp.ThreadedResolver):
        async def resolve(self, host: str, port: int = 0, *arguments: Any, **named: Any) -> Any:
            found = await super().resolve(host, port, *arguments, **named)
            access.check_resolved(policy, host, port, [each["host"] for each in found])
            return found

    def checked_socket(info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, address = info
        access.check_address(policy, str(address[0]), int(address[1]))
        return socket.socket(family=family, type=kind, proto=protocol)

    return {"resolver": Checked(), "socket_factory": checked_socket}


def _trace() -> aiohttp.TraceConfig:
    """What is done at steps of a request: redirects are checked, and the time of the header begins."""
    import aiohttp

    async def check(_session: Any, _context: Any, redirect: aiohttp.TraceRequestRedirectParams) -> None:
        where = redirect.response.headers.get("Location") or redirect.response.headers.get("URI") or ""
        url = str(redirect.url)
        try:
            # It looks the name up, which may take long.
            await asyncio.to_thread(access.check_redirect, url, urljoin(url, where))
        except RasteretError:
            redirect.response.close()
            raise

    async def begin(_session: Any, context: Any, _sent: aiohttp.TraceRequestHeadersSentParams) -> None:
        if context.trace_request_ctx is not None:
            header_end, seconds = context.trace_request_ctx
            header_end.reschedule(asyncio.get_running_loop().time() + seconds)

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(check)
    trace.on_request_headers_sent.append(begin)
    return trace


def _proxy_from_environment(url: URL) -> URL | None:
    from urllib.request import getproxies, proxy_bypass

    from yarl import URL

    address = getproxies().get(url.scheme)
    if not address or (url.host is not None and proxy_bypass(url.host)):
        return None
    # User and password of a proxy stand in its address; aiohttp sends them to it alone.
    return URL(address if "://" in address else f"http://{address}")


def _as_url(asked: Asked, href: str) -> URL:
    from yarl import URL

    try:
        # As it is where that is possible: quoting it anew would break the signatures of some object stores.
        is_quoted = href.isascii() and href.isprintable() and " " not in href
        url = URL(href, encoded=is_quoted)
        if url.host:
            return url
    except ValueError as error:
        raise InvalidArgumentError(f"{asked}: this is not a valid URL. Check host, port and escapes.") from error
    raise InvalidArgumentError(f"{asked}: this URL has no host; expected http(s)://host/path.")


def _other_length(asked: Asked, length: int, expected: int) -> RangeError:
    return RangeError(
        f"{asked}: the server sent {length} bytes; expected {expected}, as its Content-Range says. "
        f"Use another mirror or a local copy."
    )


async def _read_body(
    response: aiohttp.ClientResponse, expected: int, asked: Asked, limits: HttpOptions, clock: Callable[[], float]
) -> bytes:
    """Read a body that must have `expected` bytes, and never more than these."""
    length = response.content_length
    if length is not None and length != expected:
        raise _Failed(_other_length(asked, length, expected))
    began_s = clock()
    parts: list[bytes] = []
    got = 0
    while got < expected:
        part = await response.content.read(expected - got)
        if not part:
            raise _Failed(_other_length(asked, got, expected))
        parts.append(part)
        got += len(part)
        took_s = clock() - began_s
        if got < expected and took_s > limits.read_s and got < limits.min_bytes_per_s * took_s:
            raise _Failed(
                TransportError(
                    f"{asked}: the server sent {got} bytes in {took_s:.0f} s; expected "
                    f"{limits.min_bytes_per_s:.0f} bytes a second at least. For a line so slow, lower the option "
                    f"min_bytes_per_s."
                )
            )
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a small error body; otherwise leaving the response closes its connection."""
    length = response.content_length
    if length is not None and length <= _DRAIN_BYTES:
        await response.read()


def _mapped(error: Exception, asked: Asked) -> Exception:
    """Give an error of ours for one of aiohttp, inside `_Failed` where another attempt may succeed."""
    import aiohttp

    if isinstance(error, aiohttp.TooManyRedirects):
        return RangeError(
            f"{asked}: the server redirected {len(error.history)} times; expected the file. Check the URL."
        )
    # An error of a certificate is a ValueError, too.
    if isinstance(error, aiohttp.ClientSSLError):
        return TransportError(
            f"{asked}: no secure connection: {_of_certificate(error)}. Check the certificate of the server and of "
            f"any proxy (SSL_CERT_FILE names further authorities)."
        )
    if isinstance(error, ValueError):
        return InvalidArgumentError(
            f"{asked}: this URL, the one that it redirects to, or the ETag is not valid in HTTP. Check them."
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return TransportError(
            f"{asked}: the proxy answered {error.status}. Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY."
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError) and not _is_temporary(error):
        return TransportError(f"{asked}: there is no host of this name. Check the URL and the network.")
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AccessDeniedError):
        return AccessDeniedError(f"{asked}: {error.os_error}")
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return TransportError(f"{asked}: the connection was refused. Check the host and port, and any proxy.")
    if isinstance(error, TimeoutError):
        return _Failed(TransportError(f"{asked}: the server was silent for too long."))
    if isinstance(error, aiohttp.ClientPayloadError):
        return _Failed(TransportError(f"{asked}: the connection ended before all bytes had come."))
    return _Failed(TransportError(f"{asked}: the connection failed: {_reason(error)}."))


def _is_temporary(error: aiohttp.ClientConnectorDNSError) -> bool:
    import socket

    return error.os_error.errno in {socket.EAI_AGAIN, None}


def _of_certificate(error: aiohttp.ClientSSLError) -> str:
    """Say what is wrong with a certificate, as OpenSSL does."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return getattr(inner, "verify_message", None) or _reason(error)


def _reason(error: Exception) -> str:
    """Say what happened without aiohttp's own text, which may hold the whole URL."""
    inner = getattr(error, "os_error", error)
    return getattr(inner, "strerror", None) or type(inner).__name__


def _final(error: FetchError, attempts: int, elapsed_s: float) -> FetchError:
    times = "once" if attempts == 1 else f"{attempts} times in {elapsed_s:.1f} s"
    text = str(error)
    remedy = "" if isinstance(error, RangeError) else " Try again later, or with fewer requests at a time."
    return type(error)(f"{text} Tried {times}.{remedy}")
