"""Tokens of the Planetary Computer: one per container, sent with requests, and in no message."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rasteret_sql.errors import AccessDeniedError, AssetNotFoundError
from rasteret_sql.io import loop, signing
from rasteret_sql.io.http import HttpStore
from rasteret_sql.io.retry import RetryPolicy
from rasteret_sql.testing import RangeServer


class Tokens:
    """A token endpoint: each token is another one, and lasts `lasts`."""

    def __init__(self, lasts: timedelta, statuses: list[int]) -> None:
        self.asked: list[tuple[str, str | None]] = []
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                tokens.asked.append((self.path, self.headers.get("Ocp-Apim-Subscription-Key")))
                expiry = (datetime.now(UTC) + lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
                self.send_response(statuses.pop(0) if statuses else 200)
                self.end_headers()
                document = {"msft:expiry": expiry, "token": f"se=2030&sig=secret{len(tokens.asked)}"}
                self.wfile.write(json.dumps(document).encode())

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Fetch from a server that counts as an account of the Planetary Computer."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.tif").write_bytes(bytes(100))
    servers = []

    def start(*, lasts=timedelta(hours=1), statuses=()):
        tokens = Tokens(lasts, list(statuses))
        files = RangeServer(tmp_path)
        files.start()
        servers.append((tokens.server, files))
        monkeypatch.setenv("PC_SDK_SAS_URL", f"http://127.0.0.1:{tokens.server.server_address[1]}/token")
        host = files.base_url.removeprefix("http://")
        monkeypatch.setitem(signing.HOSTS, host, "account")

        async def no_wait(_):
            return None

        return tokens, files, HttpStore(retry=RetryPolicy(), sleep=no_wait)

    yield start
    for tokens_server, files in servers:
        tokens_server.shutdown()
        tokens_server.server_close()
        files.close()


def fetch(store, href):
    try:
        return loop.run(store.fetch(href, 0, 10)).data
    finally:
        loop.run(store.aclose())


def test_one_token_serves_all_files_of_a_container(run, monkeypatch):
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "key")
    tokens, files, store = run()

    async def both():
        import asyncio

        await asyncio.gather(*(store.fetch(files.url("c/a.tif"), n, n + 10) for n in range(8)))

    loop.run(both())
    loop.run(store.aclose())
    assert tokens.asked == [("/token/account/c", "key")]
    assert len(files.ranges_of("c/a.tif")) == 8


def test_a_token_near_its_end_is_not_used_again(run):
    tokens, files, store = run(lasts=timedelta(seconds=30))
    loop.run(store.fetch(files.url("c/a.tif"), 0, 10))
    fetch(store, files.url("c/a.tif"))
    assert len(tokens.asked) == 2


def test_the_endpoint_is_asked_again_where_it_says_not_now(run):
    tokens, files, store = run(statuses=[429])
    assert fetch(store, files.url("c/a.tif")) == bytes(10)
    assert len(tokens.asked) == 2


def test_a_token_that_is_refused_is_an_error_with_the_remedy(run):
    _, files, store = run(statuses=[403])
    with pytest.raises(
        AccessDeniedError, match=r"/token/account/c: the token endpoint answered 403.*PC_SDK_SUBSCRIPTION_KEY"
    ):
        fetch(store, files.url("c/a.tif"))


def test_no_token_is_in_a_message(run):
    _, files, store = run()
    with pytest.raises(AssetNotFoundError) as caught:
        fetch(store, files.url("c/gone.tif"))
    assert "sig" not in str(caught.value)


@pytest.mark.parametrize(
    ("href", "container"),
    [
        ("https://naipeuwest.blob.core.windows.net/naip/v002/a.tif", "naipeuwest/naip"),
        ("https://naipeuwest.blob.core.windows.net/naip/a.tif?sig=abc", None),
        ("https://mine.blob.core.windows.net/c/a.tif", None),
        ("https://example.com/naipeuwest.blob.core.windows.net/a.tif", None),
        ("/data/a.tif", None),
    ],
)
def test_only_unsigned_files_of_known_accounts_are_signed(href, container):
    assert signing.container_of(href) == container
