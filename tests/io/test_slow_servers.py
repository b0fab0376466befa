"""Servers that hold a read: they drip, are silent, ask to wait, or cannot be reached. No test waits for a clock."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from rasteret_sql.errors import InvalidArgumentError, TransportError
from rasteret_sql.io import loop, signing
from rasteret_sql.io.http import HttpOptions, HttpStore
from rasteret_sql.io.options import set_options
from rasteret_sql.io.retry import RetryPolicy
from rasteret_sql.testing import Fault, RangeServer
from tests.io.conftest import CONTENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


async def _no_wait(_seconds: float) -> None:
    """Wait for nothing."""


def _store(**named: object) -> HttpStore:
    return HttpStore(sleep=_no_wait, jitter=lambda: 0.0, **named)  # type: ignore[arg-type]


def _failure(store: HttpStore, url: str, end: int = 100) -> str:
    try:
        with pytest.raises(TransportError) as caught:
            loop.run(store.fetch(url, 0, end))
    finally:
        loop.run(store.aclose())
    return str(caught.value)


def test_a_slow_line_is_read_to_its_end_where_that_is_wanted(folder: Path) -> None:
    seconds = itertools.count(0, 10)
    options = HttpOptions(min_bytes_per_s=0.01)
    store = _store(retry=RetryPolicy(attempts=1), options=options, clock=lambda: float(next(seconds)))
    with RangeServer(folder, faults={"a.tif": [Fault("drip", count=10)]}) as server:
        assert loop.run(store.fetch(server.url("a.tif"), 0, 100)).data == CONTENT[:100]
    loop.run(store.aclose())


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Serve connections with a function; gives the address."""
    listening: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(handle: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        handle(connection)
                    except OSError:
                        continue

        threads.append(threading.Thread(target=accept, daemon=True))
        threads[-1].start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for listener in listening:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()


def test_a_server_that_drips_is_given_up(raw: Callable[[Callable[[socket.socket], None]], str]) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100\r\nContent-Range: bytes 0-99/100\r\n\r\nabc"
        )
        connection.recv(1)

    # Each look at the clock is a minute after the last one.
    seconds = itertools.count(0, 60)
    store = _store(retry=RetryPolicy(attempts=1), clock=lambda: float(next(seconds)))
    said = _failure(store, f"http://{raw(drip)}/a.tif")
    assert "the server sent 3 bytes in 60 s; expected 1000 bytes a second at least" in said
    assert "lower the option min_bytes_per_s" in said


def test_a_header_that_never_ends_is_given_up(raw: Callable[[Callable[[socket.socket], None]], str]) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.settimeout(0.01)
        # A byte whenever the other end has not hung up for a while, which is sooner than it takes for silence.
        for byte in itertools.chain(b"HTTP/1.1 206 Partial Content\r\nX: ", itertools.repeat(ord("x"))):
            connection.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    return

    store = _store(retry=RetryPolicy(attempts=1), options=HttpOptions(read_s=0.05))
    assert "silent for too long" in _failure(store, f"http://{raw(drip)}/a.tif")


def test_limits_are_options_of_the_process(folder: Path) -> None:
    store = _store()
    with (
        set_options(attempts=2, silence_s=0.05),
        RangeServer(folder, faults={"a.tif": [Fault("hang")] * 3}) as server,
    ):
        assert "Tried 2 times" in _failure(store, server.url("a.tif"))


@pytest.mark.parametrize(
    "changes", [{"attempts": 0}, {"attempts": 1.5}, {"silence_s": -1}, {"retry_s": "soon"}, {"connect_s": True}]
)
def test_limits_that_are_none_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(changes))):
        set_options(**changes)


def test_a_certificate_that_nobody_signed_is_said(
    tmp_path: Path, raw: Callable[[Callable[[socket.socket], None]], str]
) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    try:
        subprocess.run(
            [*command, "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no openssl here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")

    def shake_hands(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True).close()

    said = _failure(_store(), f"https://{raw(shake_hands)}/a.tif?sig=secret")
    assert "no secure connection" in said
    assert "self-signed certificate" in said
    assert "SSL_CERT_FILE" in said
    assert "secret" not in said


def test_a_token_service_that_cannot_be_reached_is_asked_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, raw: Callable[[Callable[[socket.socket], None]], str]
) -> None:
    asked: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"127.0.0.1:{closed.getsockname()[1]}"
    with RangeServer(folder) as server:
        monkeypatch.setitem(signing.HOSTS, server.base_url.removeprefix("http://"), "account")
        for endpoint, requests in ((nowhere, 0), (raw(refuse), 6)):
            monkeypatch.setenv("PC_SDK_SAS_URL", f"http://{endpoint}/token")
            store = _store()

            async def many(store: HttpStore = store) -> list[object]:
                fetches = (store.fetch(server.url(f"c/{number}.tif"), 0, 10) for number in range(200))
                return await asyncio.gather(*fetches, return_exceptions=True)

            found = loop.run(many())
            loop.run(store.aclose())
            assert all(isinstance(each, TransportError) and "token endpoint" in str(each) for each in found)
            assert len(asked) == requests
        assert not server.requests


def test_object_stores_wait_longer_than_a_second_before_they_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    store = pytest.importorskip("obstore.store")
    from rasteret_sql.io.objects import open_bucket

    made: list[dict[str, object]] = []
    monkeypatch.setattr(store, "from_url", lambda _url, **named: made.append(named))
    with set_options(attempts=4, retry_s=50, connect_s=7):
        open_bucket("s3://bucket")
    retry = made[0]["retry_config"]
    assert retry["max_retries"] == 3  # type: ignore[index]
    assert retry["retry_timeout"].total_seconds() == 50  # type: ignore[index]
    assert retry["backoff"]["init_backoff"].total_seconds() == 1  # type: ignore[index]
    assert made[0]["client_options"]["connect_timeout"].total_seconds() == 7  # type: ignore[index]
    # obstore takes them.
    monkeypatch.undo()
    assert json.dumps(str(open_bucket("s3://bucket")))
