"""Public objects where there are no credentials: read unsigned, in the region of their bucket, and never otherwise."""

from __future__ import annotations

import http.server
import os
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AccessDeniedError, TransportError
from rasteret_sql.io import credential_chain, loop
from rasteret_sql.io.objects import ObjectStore
from rasteret_sql.testing import Fault, RangeServer

from .conftest import CONTENT, sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

URLS = {"s3": "s3://bucket/a.tif", "gs": "gs://bucket/a.tif", "az": "az://bucket/a.tif"}


class _Double(http.server.ThreadingHTTPServer):
    """A server of which a test says how it answers, and which tells what it was asked."""

    def __init__(self, answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> None:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def _do(self) -> None:
                asked.append(f"{self.command} {self.path}")
                answer(self)

            do_GET = do_PUT = do_HEAD = _do  # noqa: N815 - names of the library

            def log_message(self, *_arguments: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.url = asked, f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def double(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[_Double]:
    with _Double(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(120)
            assert not thread.is_alive()


def reply(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _nothing(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, 404)


@pytest.fixture(autouse=True)
def _no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "GCE_", "AZURE_", "STORAGE_")):
            monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setattr(credential_chain, "_without_role", {})
    monkeypatch.setattr(credential_chain, "_with_role", set())


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Double]:
    """A metadata service of a machine without a role."""
    with double(_nothing) as service:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", service.url)
        monkeypatch.setenv("GCE_METADATA_HOST", service.url.removeprefix("http://"))
        monkeypatch.setattr(credential_chain, "_AZURE_METADATA", f"{service.url}/azure")
        yield service


@pytest.fixture
def server(folder: Path) -> Iterator[RangeServer]:
    for bucket in ("bucket", "other"):
        (folder / bucket).mkdir()
        (folder / bucket / "a.tif").write_bytes(CONTENT)
    with RangeServer(folder) as server:
        rs.credentials("s3://", endpoint=server.base_url)
        rs.credentials("gs://", endpoint=server.base_url)
        rs.credentials("az://", endpoint=server.base_url, account_name="me")
        yield server


def fetched(href: str, store: ObjectStore | None = None) -> bytes:
    return loop.run((store or ObjectStore()).fetch(href, 10, 5000)).data


@pytest.mark.parametrize("kind", URLS)
def test_a_public_object_is_read_without_any_setting(kind: str, server: RangeServer, metadata: _Double) -> None:
    headers = sent(server, URLS[kind])
    assert "authorization" not in headers
    assert len(metadata.asked) == 1


def test_the_metadata_service_is_asked_once_for_all_buckets_and_requests(
    server: RangeServer, metadata: _Double
) -> None:
    import asyncio

    store = ObjectStore()

    async def many() -> None:
        hrefs = ["s3://bucket/a.tif", "s3://other/a.tif"] * 10
        await asyncio.gather(*(store.fetch(href, 0, 10) for href in hrefs))

    loop.run(many())
    fetched("s3://bucket/a.tif")
    assert metadata.asked == ["PUT /latest/api/token"]


def test_a_service_that_is_silent_is_waited_for_no_longer_than_its_limit(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(credential_chain, "METADATA_S", 0.05)
    with double(lambda _handler: released.wait(120) and None) as service:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", service.url)
        try:
            assert "authorization" not in sent(server, "s3://bucket/a.tif")
        finally:
            released.set()


def test_a_machine_that_is_told_to_have_no_service_is_not_asked(
    server: RangeServer, metadata: _Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "authorization" not in sent(server, "s3://bucket/a.tif")
    assert metadata.asked == []


@pytest.mark.parametrize(
    ("kind", "variable"),
    [
        ("s3", "AWS_ACCESS_KEY_ID"),
        ("s3", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("s3", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        ("s3", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ("gs", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("gs", "GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("az", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("az", "AZURE_STORAGE_SAS_TOKEN"),
        ("az", "AZURE_CLIENT_ID"),
        ("az", "AZURE_FEDERATED_TOKEN_FILE"),
        ("az", "IDENTITY_ENDPOINT"),
    ],
)
def test_credentials_that_exist_are_never_dropped(
    kind: str, variable: str, metadata: _Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
    bucket = URLS[kind].rpartition("/")[0]
    assert loop.run(credential_chain.find(bucket, ())) is not None
    monkeypatch.setenv(variable, "given")
    assert loop.run(credential_chain.find(bucket, ())) is None


@pytest.mark.parametrize("kind", URLS)
def test_a_refusal_lists_the_places_and_the_next_read_looks_again(
    kind: str, server: RangeServer, metadata: _Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore()
    server.add_faults("bucket/a.tif", Fault("status", status=403))
    with pytest.raises(
        AccessDeniedError, match=r"no credentials were found. Looked at: the option credentials, "
    ) as caught:
        fetched(URLS[kind], store)
    for named in {
        "s3": ("AWS_ACCESS_KEY_ID", "profile default in ~/.aws", metadata.url),
        "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "application_default_credentials.json", metadata.url),
        "az": ("AZURE_STORAGE_ACCOUNT_KEY", metadata.url),
    }[kind]:
        assert named in str(caught.value)
    if kind == "s3":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "LATER")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        assert fetched(URLS[kind], store) == CONTENT[10:5000]
        assert "Credential=LATER/" in server.requests[-1].headers["authorization"]


@pytest.mark.parametrize("by_variable", [True, False])
def test_requests_that_somebody_pays_for_are_never_unsigned(
    by_variable: bool, server: RangeServer, metadata: _Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_variable:
        monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    else:
        rs.credentials("s3://bucket/", endpoint=server.base_url, requester_pays=True)
    with pytest.raises(AccessDeniedError, match="s3://bucket: readers pay, and no credentials were found"):
        fetched("s3://bucket/a.tif")
    assert server.requests == []


class TestRegions:
    """A bucket of another region; the double answers as S3 does."""

    @staticmethod
    @contextmanager
    def bucket(region: str, refusal: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[_Double]:
        refused = threading.Event()

        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            signed = handler.headers.get("Authorization")
            if handler.command == "HEAD":
                reply(handler, 301, x_amz_bucket_region=region)
            # An unsigned request shows no region, but in the name of the host.
            elif (f"/{region}/s3/" not in signed) if signed else not refused.is_set():
                refused.set()
                refusal(handler)
            else:
                first, last = map(int, re.findall(r"\d+", handler.headers["Range"]))
                found = f"bytes {first}-{last}/{len(CONTENT)}"
                modified = "Mon, 01 Jan 2024 00:00:00 GMT"
                reply(
                    handler, 206, CONTENT[first : last + 1],
                    Content_Range=found, Last_Modified=modified, ETag='"e"',
                )  # fmt: skip

        with double(answer) as server:
            rs.credentials("s3://", endpoint=server.url)
            yield server

    @pytest.mark.parametrize("is_signed", [True, False])
    def test_a_redirect_without_a_place_is_followed_to_the_region(
        self, is_signed: bool, metadata: _Double, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if is_signed:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ID")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        store = ObjectStore()
        with self.bucket("us-west-2", lambda handler: reply(handler, 301)) as server:
            for _ in range(3):
                assert fetched("s3://bucket/a.tif", store) == CONTENT[10:5000]
        assert [asked.split()[0] for asked in server.asked] == ["GET", "HEAD", "GET", "GET", "GET"]
        assert server.asked[1] == "HEAD /bucket"

    def test_the_region_in_an_answer_to_a_wrong_signature_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ID")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>"
        with self.bucket("eu-central-1", lambda handler: reply(handler, 400, body)) as server:
            assert fetched("s3://bucket/a.tif") == CONTENT[10:5000]
        assert [asked.split()[0] for asked in server.asked] == ["GET", "GET"]

    def test_a_region_that_nobody_tells_is_an_error_with_the_remedy(self, metadata: _Double) -> None:
        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            reply(handler, 301)

        with (
            double(answer) as server,
            rs.credentials("s3://", endpoint=server.url),
            pytest.raises(TransportError, match=r"in another region\. Set AWS_REGION"),
        ):
            fetched("s3://bucket/a.tif")
        assert len(server.asked) == 2
