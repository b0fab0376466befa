"""Keys of a machine in a cloud, which its metadata service gives where nothing else has any: obstore asks for them."""

from __future__ import annotations

import http.server
import json
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import rasteret_sql as rs
from rasteret_sql.io import loop
from rasteret_sql.io.stores import aclose_all
from rasteret_sql.testing import RangeServer

from .conftest import CONTENT, sent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AWS = {
    "Code": "Success", "AccessKeyId": "OFINSTANCE", "SecretAccessKey": "c4n4ry", "Token": "session",
    "Expiration": "2040-01-01T00:00:00Z",
}  # fmt: skip
_GOOGLE = {"access_token": "of-instance", "expires_in": 3600, "token_type": "Bearer"}


class _Metadata(http.server.BaseHTTPRequestHandler):
    """The metadata services of EC2 (version 2) and of Google's machines."""

    def do_PUT(self) -> None:
        self._answer("token-of-the-service")

    def do_GET(self) -> None:
        if "computeMetadata" in self.path:
            self._answer(json.dumps(_GOOGLE))
        else:
            self._answer("role" if self.path.endswith("/security-credentials/") else json.dumps(_AWS))

    def log_message(self, *_arguments: object) -> None:
        pass

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@contextmanager
def metadata_service() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Metadata) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(120)
        assert not thread.is_alive()


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    """A bucket; neither the environment nor a file of it has keys."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "GCE_")):
            monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    (folder / "bucket").mkdir()
    (folder / "bucket" / "a.tif").write_bytes(CONTENT)
    with RangeServer(folder) as server, metadata_service() as address:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{address}")
        monkeypatch.setenv("GCE_METADATA_ROOT", address)
        yield server
    loop.run(aclose_all())


def test_s3_is_signed_with_the_keys_of_the_role_of_the_machine(server: RangeServer) -> None:
    with rs.credentials("s3://", region="us-west-2", endpoint=server.base_url):
        headers = sent(server, "s3://bucket/a.tif")
    assert "Credential=OFINSTANCE/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "session"


def test_gs_is_read_with_the_token_of_the_machine(server: RangeServer) -> None:
    with rs.credentials("gs://", endpoint=server.base_url):
        assert sent(server, "gs://bucket/a.tif")["authorization"] == "Bearer of-instance"
