from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest

import rasteret_sql.testing
from rasteret_sql.testing import Fault, RangeServer
from tests.support.waits import answers_wait_for_each_other

CONTENT = bytes(i % 251 for i in range(20_000))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.tif").write_bytes(CONTENT)
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "item.json").write_text("{}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "é b.tif").write_bytes(CONTENT[::-1])
    return tmp_path


@pytest.fixture(params=["thread", "process"])
def server(request, folder):
    with RangeServer(folder, runs_in=request.param) as running:
        yield running


@pytest.fixture
def local(folder):
    with RangeServer(folder) as running:
        yield running


def get(server, path, *, method="GET", **headers):
    """Ask over a connection of its own; gives the answer, with its body in `.body`."""
    host, port = server.base_url.removeprefix("http://").split(":")
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(http.client.HTTPConnection(host, int(port))) as connection:
        connection.request(method, "/" + path, headers=names)
        with connection.getresponse() as answer:
            answer.body = answer.read()
    return answer


def test_the_names_of_the_package_are_loaded_when_they_are_used():
    assert rasteret_sql.testing.RangeServer is RangeServer
    assert "RangeServer" in dir(rasteret_sql.testing)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = rasteret_sql.testing.nothing_of_the_kind


def test_a_file_is_served_whole_with_what_identifies_it(server, folder):
    answer = get(server, "a.tif")
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "image/tiff"
    assert answer.headers["ETag"].startswith('"')
    modified = parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp()
    assert modified == int((folder / "a.tif").stat().st_mtime)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        ("bytes=19990-30000", 19990, 20000),
        ("bytes=19990-", 19990, 20000),
        ("bytes=-7", 19993, 20000),
        ("bytes=-30000", 0, 20000),
    ],
)
def test_a_range_is_206_with_those_bytes(local, asked, start, end):
    answer = get(local, "a.tif", Range=asked)
    assert (answer.status, answer.body) == (206, CONTENT[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/20000"


@pytest.mark.parametrize("asked", ["bytes=20000-20001", "bytes=5-3", "bytes=-0"])
def test_a_range_without_bytes_is_416(local, asked):
    answer = get(local, "a.tif", Range=asked)
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */20000"


def test_any_range_of_an_empty_file_is_416(local):
    assert get(local, "empty.tif", Range="bytes=0-9").status == 416
    assert get(local, "empty.tif").status == 200


@pytest.mark.parametrize("asked", ["pages=1-2", "bytes=0-1,5-6", "bytes=-", "bytes"])
def test_a_range_that_it_does_not_know_is_ignored(local, asked):
    assert get(local, "a.tif", Range=asked).status == 200


def test_head_has_the_headers_and_no_body(server):
    answer = get(server, "a.tif", method="HEAD")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "20000")
    (request,) = server.requests
    assert (request.method, request.nbytes_sent) == ("HEAD", 0)


def test_if_match_holds_for_the_same_etag_alone(local):
    etag = get(local, "a.tif").headers["ETag"]
    assert get(local, "a.tif", If_Match=etag).status == 200
    assert get(local, "a.tif", If_Match=f'"x", {etag}').status == 200
    assert get(local, "a.tif", If_Match="*").status == 200
    assert get(local, "a.tif", If_Match='"x"').status == 412
    assert get(local, "a.tif", If_Match=f"W/{etag}").status == 412


def test_the_etag_changes_with_the_file(local, folder):
    before = get(local, "a.tif").headers["ETag"]
    os.utime(folder / "a.tif", ns=(0, 5))
    assert get(local, "a.tif").headers["ETag"] != before


@pytest.mark.parametrize("path", ["nothing.tif", "sub", "sub/", "", "a.tif/b", "../a.tif", "%2e%2e/%2e%2e/etc/passwd"])
def test_what_is_no_file_below_the_folder_is_404(local, path):
    assert get(local, path).status == 404


def test_a_link_out_of_the_folder_is_404(local, folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.tif"
    outside.write_bytes(b"secret")
    (folder / "link.tif").symlink_to(outside)
    assert get(local, "link.tif").status == 404


def test_other_methods_are_not_allowed(local):
    assert get(local, "a.tif", method="DELETE").status == 405


def test_json_has_its_content_type(local):
    assert get(local, "item.json").headers["Content-Type"] == "application/json"


def test_url_quotes_names_and_takes_full_paths(local, folder):
    url = local.url("sub/é b.tif")
    assert url == local.url(folder / "sub" / "é b.tif")
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == CONTENT[::-1]
    assert local.ranges_of("sub/é b.tif") == [(None, None)]
    assert local.ranges_of(folder / "sub" / "é b.tif") == [(None, None)]


def test_each_request_is_recorded_before_its_answer_has_arrived(server):
    for start in range(0, 100, 10):
        get(server, "a.tif", Range=f"bytes={start}-{start + 9}")
        assert len(server.requests) == start // 10 + 1
    request = server.requests[3]
    assert (request.method, request.path, request.start, request.end) == ("GET", "a.tif", 30, 40)
    assert (request.status, request.nbytes_sent) == (206, 10)
    assert server.ranges_of("a.tif") == [(start, start + 10) for start in range(0, 100, 10)]
    server.reset()
    assert server.requests == []


def test_the_record_outlives_the_server(server):
    get(server, "a.tif")
    server.close()
    assert len(server.requests) == 1


def test_several_requests_use_one_connection(local):
    host, port = local.base_url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    for _ in range(3):
        connection.request("GET", "/a.tif")
        assert connection.getresponse().read() == CONTENT
    connection.close()


def test_requests_that_come_together_are_answered_in_order(local):
    host, port = local.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        one = b"GET /a.tif HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n"
        last = one.replace(b"Host", b"Connection: close\r\nHost")
        connection.sendall(one % (0, 4) + last % (5, 9))
        received = b""
        while more := connection.recv(65536):
            received += more
    first, second = received.split(b"HTTP/1.1 206 Partial Content\r\n")[1:]
    assert first.endswith(CONTENT[0:5])
    assert second.endswith(CONTENT[5:10])


@pytest.mark.parametrize(
    "junk",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"GET /a HTTP/1.1\r\nno colon\r\n\r\n",
        b"a b c\r\n\r\n",
    ],
)
def test_what_is_no_request_does_not_end_the_server(local, junk):
    host, port = local.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(junk)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert get(local, "a.tif").status == 200


class TestFaults:
    def answers(self, folder, *faults, count=None, path="a.tif", runs_in="thread"):
        with RangeServer(folder, faults={path: faults}, runs_in=runs_in) as server:
            return [get(server, "a.tif", Range="bytes=0-9") for _ in range(count or len(faults))], server.requests

    @pytest.mark.parametrize("runs_in", ["thread", "process"])
    def test_come_in_order_and_end(self, folder, runs_in):
        faults = [Fault("status", status=503, value="3"), None, Fault("status", status=429)]
        answers, requests = self.answers(folder, *faults, count=4, runs_in=runs_in)
        assert [answer.status for answer in answers] == [503, 206, 429, 206]
        assert answers[0].headers["Retry-After"] == "3"
        assert [request.status for request in requests] == [503, 206, 429, 206]

    def test_of_a_star_befall_files_without_any_of_their_own(self, folder):
        answers, _ = self.answers(folder, Fault("status", status=500), path="*")
        assert answers[0].status == 500

    @pytest.mark.parametrize("runs_in", ["thread", "process"])
    def test_can_be_added_later(self, folder, runs_in):
        with RangeServer(folder, runs_in=runs_in) as server:
            assert get(server, "a.tif").status == 200
            server.add_faults("a.tif", Fault("status", status=403))
            assert get(server, "a.tif").status == 403

    def test_wrong_answers_are_wrong_in_the_way_that_they_say(self, folder):
        (whole, header, none, other, gzip, etag, redirect), _ = self.answers(
            folder,
            Fault("ignore_range"),
            Fault("content_range", value="bytes 1-2/3"),
            Fault("content_range"),
            Fault("other_range", count=5),
            Fault("gzip"),
            Fault("etag", value='W/"x"'),
            Fault("redirect", value="/b.tif", status=307),
        )
        assert (whole.status, whole.body) == (200, CONTENT)
        assert (header.headers["Content-Range"], header.body) == ("bytes 1-2/3", CONTENT[:10])
        assert none.headers["Content-Range"] is None
        assert (other.headers["Content-Range"], other.body) == ("bytes 5-14/20000", CONTENT[5:15])
        assert gzip.headers["Content-Encoding"] == "gzip"
        assert gzip.body != CONTENT[:10]
        assert etag.headers["ETag"] == 'W/"x"'
        assert (redirect.status, redirect.headers["Location"]) == (307, "/b.tif")

    def test_a_short_body_is_consistent_but_for_its_content_range(self, folder):
        (short,), _ = self.answers(folder, Fault("short", count=3))
        assert (short.body, short.headers["Content-Range"]) == (CONTENT[:7], "bytes 0-9/20000")

    def test_a_drip_arrives_whole(self, folder):
        (drip,), _ = self.answers(folder, Fault("drip", count=3))
        assert drip.body == CONTENT[:10]

    @pytest.mark.parametrize(
        ("fault", "error", "recorded"),
        [
            (Fault("close"), http.client.RemoteDisconnected, (0, 0)),
            (Fault("truncate", count=4), http.client.IncompleteRead, (206, 4)),
            (Fault("reset", count=4), OSError, (206, 4)),
            (Fault("reset", count=0), OSError, (206, 0)),
        ],
    )
    def test_ends_of_connections_are_recorded_with_what_was_sent(self, folder, fault, error, recorded):
        with RangeServer(folder, faults={"a.tif": [fault]}) as server:
            with pytest.raises(error):
                get(server, "a.tif", Range="bytes=0-9")
            assert [(request.status, request.nbytes_sent) for request in server.requests] == [recorded]

    @pytest.mark.parametrize("fault", [Fault("hang"), Fault("hang", count=4)])
    def test_a_hanging_answer_does_not_hinder_others_nor_the_end(self, folder, fault):
        with RangeServer(folder, faults={"a.tif": [fault]}) as server:
            host, port = server.base_url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(b"GET /a.tif HTTP/1.1\r\n\r\n")
                assert get(server, "empty.tif").status == 200
                server.close()


def test_a_client_that_leaves_early_is_recorded_with_what_it_took(folder):
    with (folder / "huge.tif").open("wb") as file:
        file.truncate(1 << 30)
    with RangeServer(folder) as server:
        host, port = server.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /huge.tif HTTP/1.1\r\n\r\n")
            connection.recv(1000)
    assert 1000 <= server.requests[0].nbytes_sent < 1 << 30


def test_latency_delays_each_answer_but_not_one_after_another(folder, monkeypatch):
    with RangeServer(folder, latency_s=0.1) as server:
        began = time.monotonic()
        assert get(server, "a.tif").status == 200
        assert time.monotonic() - began >= 0.1
    answers_wait_for_each_other(monkeypatch, 8)
    with RangeServer(folder, latency_s=0.1) as server, ThreadPoolExecutor(8) as pool:
        assert {answer.status for answer in pool.map(lambda _: get(server, "a.tif"), range(8))} == {200}


def test_a_file_may_be_rewritten_while_it_is_served(local, folder):
    assert get(local, "a.tif").body == CONTENT
    (folder / "a.tif").write_bytes(b"new")
    assert get(local, "a.tif").body == b"new"


def test_a_process_ends_with_its_parent_side(folder):
    server = RangeServer(folder, runs_in="process")
    server.start()
    child = server._backend._child
    server.close()
    assert child.returncode == 0
