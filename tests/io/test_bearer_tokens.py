"""Bearer tokens of a prefix and of Earthdata: which requests have one, and what is said where it does not help."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AccessDeniedError, InvalidArgumentError
from rasteret_sql.io import bearer_tokens, loop
from rasteret_sql.io.bearer_tokens import header_for
from rasteret_sql.io.stores import aclose_all, store_for
from rasteret_sql.testing import Fault, RangeServer, write_cog

from .conftest import CONTENT
from .test_loop import FORKED, python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rasteret_sql.io.http import HttpStore

CANARY = "EDL-c4n4ry.5ecret"
FILE = "https://data.lpdaac.earthdatacloud.nasa.gov/protected/a.tif"


@pytest.fixture(autouse=True)
def _nobodys_token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    yield
    loop.run(aclose_all())


@pytest.fixture
def server(folder: Path) -> Iterator[RangeServer]:
    with RangeServer(folder) as server:
        yield server


@pytest.fixture
def login_page() -> Iterator[str]:
    """A server that answers every request with a page, as one for a login."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(120)
        assert not thread.is_alive()


def fetched(href: str) -> bytes:
    return loop.run(store_for(href).fetch(href, 10, 5000)).data


def sent(server: RangeServer) -> str | None:
    """Read a file, and give the header Authorization of the request."""
    server.reset()
    assert fetched(server.url("a.tif")) == CONTENT[10:5000]
    (request,) = server.requests
    return request.headers.get("authorization")


class TestPrefixes:
    def test_a_token_of_a_prefix_is_a_header_of_requests_below_it(self, server: RangeServer) -> None:
        rs.credentials(server.base_url + "/", bearer_token=CANARY)
        assert sent(server) == f"Bearer {CANARY}"
        rs.credentials(server.base_url + "/folder/", bearer_token="other")
        assert sent(server) == f"Bearer {CANARY}"
        rs.credentials(server.base_url + "/")
        assert sent(server) is None

    def test_parameters_beside_a_token_are_still_added(self, server: RangeServer) -> None:
        with rs.credentials("https://e.com/", bearer_token="abc", apikey="k"):
            keys = rs.get_options().credentials
        assert header_for("https://e.com/a.tif", keys) == {"Authorization": "Bearer abc"}
        from rasteret_sql.io.credentials import with_credentials

        assert with_credentials("https://e.com/a.tif?v=1", keys) == "https://e.com/a.tif?v=1&apikey=k"

    def test_sql_and_the_environment_set_it_too(self, server: RangeServer, tmp_path: Path) -> None:
        with rs.connect() as con:
            con.sql(
                f"SELECT rst_credentials('{server.base_url}/', settings := {{'bearer_token': '{CANARY}'}})"
            ).fetchall()
        assert sent(server) == f"Bearer {CANARY}"
        write_cog(server.root / "c.tif", np.ones((64, 64), np.uint8), tile=64, overviews=())
        server.reset()
        done = subprocess.run(
            [sys.executable, "-m", "rasteret_sql", "build", server.url("c.tif"), "-o", str(tmp_path / "i.parquet")],
            env={**os.environ, "RASTERET_SQL_CREDENTIALS": f"{server.base_url}/?bearer_token={CANARY}"},
            check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert {request.headers.get("authorization") for request in server.requests} == {f"Bearer {CANARY}"}
        assert CANARY.encode() not in done.stdout + done.stderr + (tmp_path / "i.parquet").read_bytes()

    def test_a_forked_child_has_it(self, server: RangeServer) -> None:
        code = f"""
import rasteret_sql as rs
rs.credentials({server.base_url + "/"!r}, bearer_token={CANARY!r})
read = lambda: len(loop.run(store_for({server.url("a.tif")!r}).fetch({server.url("a.tif")!r}, 10, 5000)).data)
print(read())
in_child(read, "exit")
"""
        assert python(FORKED + code) == "4990\nchild 4990"
        assert [request.headers.get("authorization") for request in server.requests] == [f"Bearer {CANARY}"] * 2

    @pytest.mark.parametrize(
        "text",
        [
            f"http://example.com/?bearer_token={CANARY}",
            f"https://me:pw@example.com/?bearer_token={CANARY}",
            f"https://example.com/?bearer_token={CANARY}&bearer_token=b",
            f"https://example.com/?bearer_token={CANARY}%0D%0AX-Evil:1",
            f"https://example.com/?bearer_token={CANARY}%20b",
            "https://example.com/?bearer_token=",
        ],
    )
    def test_what_cannot_be_sent_safely_is_refused_and_not_shown(self, text: str) -> None:
        with pytest.raises(InvalidArgumentError, match="user or a bearer token") as caught:
            rs.set_options(credentials=[text])
        assert CANARY not in str(caught.value)


class TestRedirects:
    def test_another_server_never_gets_it(self, server: RangeServer, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "signed.tif").write_bytes(CONTENT)
        with RangeServer(tmp_path / "other") as other, rs.set_options(allow=[f"{other.base_url}/"]):
            rs.credentials(server.base_url + "/", bearer_token=CANARY)
            server.add_faults("a.tif", Fault("redirect", value=other.url("signed.tif") + "?X-Amz-Signature=s%2F1"))
            assert fetched(server.url("a.tif")) == CONTENT[10:5000]
            assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"
            assert "authorization" not in other.requests[0].headers
            # There and back again.
            server.reset()
            rs.set_options(allow=[f"{other.base_url}/", f"{server.base_url}/"])
            other.add_faults("signed.tif", Fault("redirect", value=server.url("b.tif")))
            server.add_faults("a.tif", Fault("redirect", value=other.url("signed.tif")))
            fetched(server.url("a.tif"))
            assert "authorization" not in server.requests[-1].headers

    def test_the_policy_is_asked_before_one_is_followed(self, server: RangeServer, tmp_path: Path) -> None:
        with RangeServer(tmp_path) as other:
            rs.credentials(server.base_url + "/", bearer_token=CANARY)
            server.add_faults("a.tif", Fault("redirect", value=other.url("a.tif")))
            with pytest.raises(AccessDeniedError, match="private, loopback") as caught:
                fetched(server.url("a.tif"))
            assert other.requests == []
        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize("start", [0, 10])
    def test_one_to_a_login_page_says_so(self, server: RangeServer, login_page: str, start: int) -> None:
        server.add_faults("a.tif", *[Fault("redirect", value=f"{login_page}/oauth/authorize?client_id=x")] * 2)
        with rs.set_options(allow=[f"{login_page}/"]):
            with pytest.raises(AccessDeniedError, match=r"to a page of 127\.0\.0\.1.*the option credentials adds"):
                loop.run(store_for(server.url("a.tif")).fetch(server.url("a.tif"), start, 5000))
            rs.credentials(server.base_url + "/", bearer_token=CANARY)
            with pytest.raises(AccessDeniedError, match="may have expired") as caught:
                loop.run(store_for(server.url("a.tif")).fetch(server.url("a.tif"), start, 5000))
        assert CANARY not in str(caught.value)
        assert "client_id" not in str(caught.value)


class TestRefusals:
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refused_token_says_what_may_be_wrong_with_it(self, server: RangeServer, status: int) -> None:
        rs.credentials(server.base_url + "/", bearer_token=CANARY)
        server.add_faults("a.tif", Fault("status", status=status))
        with pytest.raises(AccessDeniedError, match=f"{status}.*bearer token: it may have expired") as caught:
            fetched(server.url("a.tif"))
        assert CANARY not in f"{caught.value!r} {caught.value.__cause__!r}"

    def test_a_refusal_of_earthdata_names_its_variable(self) -> None:
        assert "set EARTHDATA_TOKEN" in bearer_tokens.remedy(FILE, had_token=False)
        assert "Get another one at https://urs.earthdata.nasa.gov" in bearer_tokens.remedy(FILE, had_token=True)
        assert "EARTHDATA" not in bearer_tokens.remedy("https://example.com/a.tif", had_token=True)


class TestEarthdata:
    @pytest.mark.parametrize(
        ("href", "is_sent"),
        [
            (FILE, True),
            ("HTTPS://Archive.PODAAC.earthdata.nasa.gov/a.tif", True),
            (FILE.replace("https", "http"), False),
            (FILE.replace("https://", "https://me:pw@"), False),
            ("https://earthdata.nasa.gov.evil.org/a.tif", False),
            ("https://evilearthdata.nasa.gov/a.tif", False),
            ("https://evil.org/x.earthdata.nasa.gov/a.tif", False),
            ("https://evil.org?x=.earthdata.nasa.gov", False),
            ("https://evil.org#.earthdata.nasa.gov", False),
            ("https://example.com/a.tif", False),
        ],
    )
    def test_the_variable_is_for_its_hosts_alone(
        self, href: str, is_sent: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert header_for(href, ()) == {}
        monkeypatch.setenv("EARTHDATA_TOKEN", f" {CANARY}\n")
        assert header_for(href, ()) == ({"Authorization": f"Bearer {CANARY}"} if is_sent else {})

    @pytest.mark.parametrize("settings", ["bearer_token=of-prefix", "apikey=k"])
    def test_a_prefix_comes_before_the_variable(self, settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EARTHDATA_TOKEN", CANARY)
        found = header_for(FILE, (f"https://data.lpdaac.earthdatacloud.nasa.gov/?{settings}",))
        assert found == ({"Authorization": "Bearer of-prefix"} if "bearer" in settings else {})

    def test_a_variable_that_is_no_token_is_an_error_that_does_not_show_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EARTHDATA_TOKEN", f"{CANARY}\r\nX: 1")
        with pytest.raises(InvalidArgumentError, match="EARTHDATA_TOKEN: got a text that is no bearer token") as caught:
            header_for(FILE, ())
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize("variable", ["NETRC", "HOME"])
def test_netrc_is_not_read(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, store: HttpStore
) -> None:
    """A file of other tools gives no password to the hosts that an index names."""
    (tmp_path / ".netrc").write_text(
        f"machine 127.0.0.1 login me password {CANARY}\ndefault login me password {CANARY}\n"
    )
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv(variable, str(tmp_path / ".netrc" if variable == "NETRC" else tmp_path))
    loop.run(store.fetch(server.url("a.tif"), 10, 5000))
    assert "authorization" not in server.requests[0].headers
