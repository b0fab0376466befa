from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from rasteret_sql.errors import (
    AccessDeniedError,
    AssetChangedError,
    AssetNotFoundError,
    FetchError,
    InvalidArgumentError,
    RangeError,
    RasteretError,
    TransportError,
)
from rasteret_sql.io import http, loop
from rasteret_sql.io.http import HttpOptions, HttpStore
from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.io.retry import RetryPolicy
from rasteret_sql.testing import Fault, RangeServer

from .conftest import CONTENT, SIZE

SECRET = "?X-Amz-Signature=secret"


@pytest.fixture
def server(folder):
    with RangeServer(folder) as running:
        yield running


def fetch(store, href, start, end, **more):
    return loop.run(store.fetch(href, start, end, **more))


def error_of(store, href, start=10, end=50, **more) -> RasteretError:
    with pytest.raises(RasteretError) as caught:
        fetch(store, href, start, end, **more)
    return caught.value


def test_a_range_gives_its_bytes_and_what_the_server_said_of_the_file(server, store, folder):
    response = fetch(store, server.url("a.tif"), 10, 5000)
    assert response.data == CONTENT[10:5000]
    assert type(response.data) is bytes
    assert (response.start, response.file_size) == (10, SIZE)
    assert response.etag.startswith('"')
    assert response.last_modified == int((folder / "a.tif").stat().st_mtime)


def test_one_fetch_is_one_get_request_with_a_range_and_nothing_else(server, store):
    fetch(store, server.url("a.tif"), 10, 5000)
    (request,) = server.requests
    assert (request.method, request.start, request.end, request.status) == ("GET", 10, 5000, 206)
    assert request.headers["accept-encoding"] == "identity"
    assert "if-match" not in request.headers


def test_a_range_over_the_end_of_the_file_is_shorter(server, store):
    response = fetch(store, server.url("a.tif"), SIZE - 7, SIZE + 1000)
    assert response.data == CONTENT[-7:]


def test_a_prefix_longer_than_the_file_is_the_whole_file(server, store):
    assert fetch(store, server.url("a.tif"), 0, 2 * SIZE).data == CONTENT


def test_connections_are_used_again(server, store):
    ports = set()
    real = server._backend._serving._respond

    async def respond(connection, asked):
        ports.add(connection.getpeername())
        await real(connection, asked)

    server._backend._serving._respond = respond
    for start in range(0, 5000, 1000):
        fetch(store, server.url("a.tif"), start, start + 1000)
    assert len(server.requests) == 5
    assert len(ports) == 1


def test_many_ranges_at_once_give_each_its_own_bytes(server, store):
    url = server.url("a.tif")

    async def many():
        return await asyncio.gather(*(store.fetch(url, i, i + 300) for i in range(0, 60_000, 300)))

    responses = loop.run(many())
    assert all(each.data == CONTENT[each.start : each.start + 300] for each in responses)
    assert server.ranges_of("a.tif") == [(i, i + 300) for i in range(0, 60_000, 300)]


def test_the_query_string_is_sent_as_it_was_written(folder, store):
    seen = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        with connection:
            seen.append(connection.recv(65536).split(b"\r\n")[0])
            connection.sendall(
                b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nII"
            )

    thread = threading.Thread(target=answer)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/a%2Fb.tif?sig=a%2Fb%3D%7E&x=1+2"
    assert fetch(store, url, 0, 2).data == b"II"
    thread.join()
    listener.close()
    assert seen == [b"GET /a%2Fb.tif?sig=a%2Fb%3D%7E&x=1+2 HTTP/1.1"]


def test_a_name_with_spaces_and_accents_is_quoted(server, store, folder):
    (folder / "é tuile.tif").write_bytes(CONTENT)
    assert fetch(store, f"{server.base_url}/é tuile.tif", 0, 9).data == CONTENT[:9]


class TestETag:
    def test_if_match_is_sent_and_holds(self, server, store):
        etag = fetch(store, server.url("a.tif"), 0, 10).etag
        server.reset()
        assert fetch(store, server.url("a.tif"), 0, 10, identity=FileIdentity(etag)).etag == etag
        assert server.requests[0].headers["if-match"] == etag

    def test_a_rewritten_file_is_an_error_that_names_both(self, server, store, folder):
        etag = fetch(store, server.url("a.tif"), 0, 10).etag
        (folder / "a.tif").write_bytes(CONTENT + b"more")
        error = error_of(store, server.url("a.tif") + SECRET, identity=FileIdentity(etag))
        assert isinstance(error, AssetChangedError)
        assert etag in str(error)
        assert "412" in str(error)
        assert "refresh or rebuild the index" in str(error)
        assert "secret" not in str(error)

    def test_a_server_that_ignores_if_match_does_not_hide_the_rewrite(self, folder, store):
        with RangeServer(folder, faults={"a.tif": [Fault("etag", value='"new"')]}) as server:
            error = error_of(store, server.url("a.tif"), identity=FileIdentity('"old"'))
        assert isinstance(error, AssetChangedError)
        assert '"new"' in str(error)
        assert '"old"' in str(error)

    def test_a_weak_etag_is_compared_but_not_sent(self, folder, store):
        faults = {"a.tif": [Fault("etag", value='W/"v1"'), Fault("etag", value='W/"v2"')]}
        with RangeServer(folder, faults=faults) as server:
            assert fetch(store, server.url("a.tif"), 0, 10, identity=FileIdentity('W/"v1"')).etag == 'W/"v1"'
            assert isinstance(error_of(store, server.url("a.tif"), identity=FileIdentity('W/"v1"')), AssetChangedError)
            assert all("if-match" not in request.headers for request in server.requests)

    def test_no_etag_where_one_was_expected_is_an_error(self, folder, store):
        with RangeServer(folder, faults={"a.tif": [Fault("etag", value=None)]}) as server:
            error = error_of(store, server.url("a.tif"), identity=FileIdentity('"v1"'))
        assert isinstance(error, AssetChangedError)
        assert "no ETag" in str(error)

    def test_a_server_without_etags_is_read_where_none_is_expected(self, folder, store):
        with RangeServer(folder, faults={"a.tif": [Fault("etag", value=None)]}) as server:
            assert fetch(store, server.url("a.tif"), 0, 10).etag is None


class TestWrongAnswers:
    @pytest.mark.parametrize(
        ("fault", "says"),
        [
            (Fault("ignore_range"), "answered 200 with the whole file"),
            (Fault("content_range", value=None), "no Content-Range"),
            (Fault("content_range", value="bytes 0-1/2"), "Content-Range 'bytes 0-1/2'"),
            (Fault("content_range", value="pages 1-2"), "unreadable Content-Range"),
            (Fault("content_range", value="bytes 10-30/*"), "Content-Range 'bytes 10-30/*'"),
            (Fault("content_range", value="bytes 10-30/100000"), "Content-Range 'bytes 10-30/100000'"),
            (Fault("content_range", value="bytes 10-49/30"), "beyond the end"),
            (Fault("other_range", count=16), "Content-Range 'bytes 26-65/100000'"),
            (Fault("gzip"), "Content-Encoding gzip"),
        ],
    )
    def test_is_refused_at_once(self, folder, store, fault, says):
        with RangeServer(folder, faults={"a.tif": [fault]}) as server:
            error = error_of(store, server.url("a.tif") + SECRET)
            assert len(server.requests) == 1
        assert type(error) is RangeError
        assert str(error).startswith(f"bytes 10-49 of {server.url('a.tif')}: ")
        assert says in str(error)
        assert "secret" not in str(error)

    def test_an_unknown_size_of_the_file_is_fine(self, folder, store):
        with RangeServer(folder, faults={"a.tif": [Fault("content_range", value="bytes 10-49/*")]}) as server:
            response = fetch(store, server.url("a.tif"), 10, 50)
        assert response.data == CONTENT[10:50]
        assert response.file_size is None

    def test_a_whole_file_that_is_no_longer_than_the_range_is_accepted(self, folder, store):
        with RangeServer(folder, faults={"a.tif": [Fault("ignore_range")] * 2}) as server:
            response = fetch(store, server.url("a.tif"), 0, SIZE)
            assert (response.data, response.file_size) == (CONTENT, SIZE)
            assert isinstance(error_of(store, server.url("a.tif"), 1, SIZE), RangeError)

    def test_a_huge_answer_200_is_not_read(self, folder, store):
        with (folder / "huge.tif").open("wb") as file:
            file.truncate(8 << 30)
        with RangeServer(folder, faults={"huge.tif": [Fault("ignore_range")]}) as server:
            assert isinstance(error_of(store, server.url("huge.tif"), 0, 16384), RangeError)
        assert server.requests[0].nbytes_sent < 1 << 30

    def test_a_start_beyond_the_end_of_the_file_says_its_size(self, server, store):
        error = error_of(store, server.url("a.tif"), SIZE, SIZE + 10)
        assert type(error) is RangeError
        assert f"only {SIZE} bytes" in str(error)

    def test_an_empty_file_is_said_to_be_empty(self, folder, store):
        with RangeServer(folder, faults={"empty.tif": [None, Fault("ignore_range")]}) as server:
            for _ in range(2):
                assert "empty (0 bytes)" in str(error_of(store, server.url("empty.tif"), 0, 10))


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, RangeError),
            (401, AccessDeniedError),
            (403, AccessDeniedError),
            (404, AssetNotFoundError),
            (410, AssetNotFoundError),
            (412, AssetChangedError),
            (416, RangeError),
            (501, TransportError),
        ],
    )
    def test_an_error_status_has_its_own_error_and_is_not_retried(self, folder, store, status, kind):
        with RangeServer(folder, faults={"a.tif": [Fault("status", status=status)]}) as server:
            error = error_of(store, server.url("a.tif") + SECRET)
            assert len(server.requests) == 1
        assert type(error) is kind
        assert str(status) in str(error)
        assert "secret" not in str(error)

    def test_a_missing_file_and_a_folder_are_not_found(self, server, store):
        assert isinstance(error_of(store, server.url("nothing.tif")), AssetNotFoundError)
        assert isinstance(error_of(store, server.url("folder")), AssetNotFoundError)

    @pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 5), (6, 5)])
    def test_an_impossible_range_is_refused_before_any_request(self, server, store, start, end):
        assert isinstance(error_of(store, server.url("a.tif") + SECRET, start, end), InvalidArgumentError)
        assert server.requests == []

    @pytest.mark.parametrize("href", ["http:///a.tif?secret", "http://127.0.0.1:port/a.tif?secret"])
    def test_an_address_that_is_none_is_an_invalid_argument(self, store, href):
        error = error_of(store, href)
        assert isinstance(error, InvalidArgumentError)
        assert "secret" not in str(error)


class TestRedirects:
    def test_are_followed_with_range_and_if_match(self, folder, store):
        with RangeServer(folder) as server:
            etag = fetch(store, server.url("a.tif"), 0, 10).etag
            server.add_faults("old.tif", Fault("redirect", value=server.url("a.tif") + "?sig=a%2Fb%7E"))
            response = fetch(store, server.url("old.tif"), 10, 50, identity=FileIdentity(etag))
        assert response.data == CONTENT[10:50]
        assert server.requests[-1].headers["if-match"] == etag

    def test_a_loop_of_them_is_an_error(self, folder, store):
        faults = {"a.tif": [Fault("redirect", value="/a.tif?secret")] * 20}
        with RangeServer(folder, faults=faults) as server:
            error = error_of(store, server.url("a.tif"))
        assert type(error) is RangeError
        assert "redirected" in str(error)
        assert error.__cause__ is None


class TestRetries:
    @pytest.mark.parametrize(
        "fault",
        [
            *(Fault("status", status=status) for status in (408, 429, 500, 502, 503, 504)),
            Fault("close"),
            Fault("reset", count=0),
            Fault("reset", count=20),
            Fault("truncate", count=20),
            Fault("short", count=3),
        ],
        ids=lambda fault: f"{fault.kind}-{fault.status or fault.count}",
    )
    def test_a_passing_fault_is_not_seen(self, folder, store, waits, fault):
        with RangeServer(folder, faults={"a.tif": [fault, fault]}) as server:
            assert fetch(store, server.url("a.tif"), 10, 50).data == CONTENT[10:50]
            # aiohttp itself sends a request again, once and at once, when a connection that it used before is gone.
            assert 3 <= len(server.requests) <= 4
        assert waits.seconds in ([0.125, 0.25], [0.125])

    def test_a_lasting_fault_ends_after_the_attempts_and_names_what_came(self, folder, make_store, waits):
        store = make_store(retry=RetryPolicy(attempts=3))
        with RangeServer(folder, faults={"*": [Fault("status", status=503)] * 9}) as server:
            error = error_of(store, server.url("a.tif") + SECRET)
            assert len(server.requests) == 3
        assert type(error) is TransportError
        assert str(error).startswith(f"bytes 10-49 of {server.url('a.tif')}: the server answered 503; expected 206.")
        assert "3 times" in str(error)
        assert "secret" not in str(error)
        assert waits.seconds == [0.125, 0.25]

    def test_a_lasting_short_body_is_a_range_error(self, folder, make_store):
        store = make_store(retry=RetryPolicy(attempts=2))
        with RangeServer(folder, faults={"a.tif": [Fault("short", count=3)] * 2}) as server:
            error = error_of(store, server.url("a.tif"))
        assert type(error) is RangeError
        assert "37 bytes; expected 40" in str(error)

    def test_a_lasting_cut_is_a_transport_error(self, folder, make_store):
        store = make_store(retry=RetryPolicy(attempts=2))
        with RangeServer(folder, faults={"a.tif": [Fault("truncate", count=3)] * 2}) as server:
            assert type(error_of(store, server.url("a.tif"))) is TransportError

    def test_the_total_time_ends_them_too(self, folder, make_store, waits):
        store = make_store(retry=RetryPolicy(attempts=100, total_s=5.0))
        with RangeServer(folder, faults={"a.tif": [Fault("status", status=503)] * 99}) as server:
            assert type(error_of(store, server.url("a.tif"))) is TransportError
        assert sum(waits.seconds) <= 5.0

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_is_waited_for(self, folder, store, waits, status):
        with RangeServer(folder, faults={"a.tif": [Fault("status", status=status, value="7")]}) as server:
            fetch(store, server.url("a.tif"), 10, 50)
        assert waits.seconds == [7.0]

    def test_a_silent_server_is_asked_again(self, folder, make_store, waits):
        store = make_store(options=HttpOptions(read_s=0.1))
        faults = {"a.tif": [Fault("hang"), Fault("hang", count=5)]}
        with RangeServer(folder, faults=faults) as server:
            assert fetch(store, server.url("a.tif"), 10, 50).data == CONTENT[10:50]
        assert waits.seconds == [0.125, 0.25]

    def test_a_slow_server_is_not_cut_off_while_bytes_come(self, folder, make_store, waits):
        store = make_store(options=HttpOptions(read_s=0.5))
        with RangeServer(folder, faults={"a.tif": [Fault("drip", count=5, delay_s=0.01)]}) as server:
            assert fetch(store, server.url("a.tif"), 10, 50).data == CONTENT[10:50]
        assert waits.seconds == []

    def test_a_refused_connection_is_an_error_at_once(self, store, waits):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        error = error_of(store, f"http://127.0.0.1:{port}/a.tif{SECRET}")
        assert type(error) is TransportError
        assert "refused" in str(error)
        assert "secret" not in str(error)
        assert waits.seconds == []

    def test_a_server_without_tls_is_an_error_at_once(self, server, store, waits):
        error = error_of(store, server.url("a.tif").replace("http:", "https:") + SECRET)
        assert type(error) is TransportError
        assert "no secure connection" in str(error)
        assert "secret" not in str(error)
        assert waits.seconds == []

    @pytest.mark.parametrize(("number", "attempts"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 2)])
    def test_a_name_without_a_host_is_an_error_at_once_if_it_is_for_good(
        self, make_store, waits, monkeypatch, number, attempts
    ):
        def fail(*_, **__):
            raise socket.gaierror(number, "no")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        store = make_store(retry=RetryPolicy(attempts=2))
        assert type(error_of(store, "http://nothing.example/a.tif")) is TransportError
        assert len(waits.seconds) == attempts - 1

    def test_a_server_that_speaks_no_http_is_a_transport_error(self, make_store):
        listener = socket.create_server(("127.0.0.1", 0))

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"\x00\x01 nonsense\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        store = make_store(retry=RetryPolicy(attempts=1))
        error = error_of(store, f"http://127.0.0.1:{listener.getsockname()[1]}/a.tif{SECRET}")
        thread.join()
        listener.close()
        assert type(error) is TransportError
        assert "secret" not in str(error)


def test_user_and_password_of_an_address_are_sent_and_not_shown(server, store):
    url = server.url("a.tif").replace("//", "//user:word@")
    assert fetch(store, url, 0, 10).data == CONTENT[:10]
    assert server.requests[0].headers["authorization"] == "Basic dXNlcjp3b3Jk"
    assert "word" not in str(error_of(store, url.replace("a.tif", "b.no")))


class TestProxies:
    def test_are_taken_from_the_environment(self, server, store, monkeypatch):
        monkeypatch.setenv("http_proxy", server.base_url)
        monkeypatch.setenv("no_proxy", "")
        error = error_of(store, "http://files.example/a.tif")
        assert isinstance(error, AssetNotFoundError)
        assert [request.path for request in server.requests] == ["http://files.example/a.tif"]

    def test_no_proxy_is_honoured(self, server, store, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert fetch(store, server.url("a.tif"), 0, 10).data == CONTENT[:10]

    def test_their_password_is_sent_to_them_alone(self, server, store, monkeypatch):
        monkeypatch.setenv("http_proxy", server.base_url.replace("//", "//user:word@"))
        monkeypatch.setenv("no_proxy", "")
        error_of(store, "http://files.example/a.tif")
        assert server.requests[0].headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"


def test_an_etag_that_no_header_may_hold_is_an_invalid_argument(server, store):
    error = error_of(store, server.url("a.tif"), identity=FileIdentity('"a"\r\nX-Other: 1'))
    assert isinstance(error, InvalidArgumentError | AssetChangedError)
    assert all("x-other" not in request.headers for request in server.requests)


class TestEventLoops:
    def test_a_closed_store_can_be_used_again(self, server):
        store = HttpStore()

        async def read():
            try:
                return (await store.fetch(server.url("a.tif"), 0, 10)).data
            finally:
                await store.aclose()

        assert asyncio.run(read()) == CONTENT[:10]
        assert asyncio.run(read()) == CONTENT[:10]

    def test_closing_a_store_between_two_attempts_does_not_disturb_the_second(self, folder, make_store, waits):
        store = make_store()

        async def close(_):
            await store.aclose()

        store._sleep = close
        with RangeServer(folder, faults={"a.tif": [Fault("status", status=503)]}) as server:
            assert fetch(store, server.url("a.tif"), 0, 10).data == CONTENT[:10]

    def test_another_loop_is_a_clear_error(self, server, store):
        fetch(store, server.url("a.tif"), 0, 10)
        with pytest.raises(RasteretError, match="another event loop"):
            asyncio.run(store.fetch(server.url("a.tif"), 0, 10))

    def test_first_fetches_at_once_share_one_session(self, server, store):
        url = server.url("a.tif")

        async def many():
            return await asyncio.gather(*(store.fetch(url, 0, 10) for _ in range(20)))

        assert len(loop.run(many())) == 20
        assert len(store._sessions) == 1

    def test_cancelling_a_fetch_leaves_the_store_usable(self, folder, store, monkeypatch):
        reading = asyncio.Event()
        real = http._read_body

        async def read_body(*arguments):
            reading.set()
            return await real(*arguments)

        monkeypatch.setattr(http, "_read_body", read_body)
        with RangeServer(folder, faults={"a.tif": [Fault("hang", count=5)]}) as server:
            url = server.url("a.tif")

            async def cancelled():
                task = asyncio.create_task(store.fetch(url, 0, 50))
                await reading.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return await store.fetch(url, 0, 50)

            assert loop.run(cancelled()).data == CONTENT[:50]


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("status", status=status) for status in (204, 304, 400, 418, 451, 500, 599)),
        Fault("redirect", value="ftp://elsewhere/a.tif"),
        Fault("redirect", value="http://"),
        Fault("redirect", value=""),
        Fault("close"),
        Fault("hang"),
        Fault("reset", count=5),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status or fault.value}",
)
def test_no_error_of_a_fetch_is_of_another_library(folder, make_store, fault):
    store = make_store(retry=RetryPolicy(attempts=1), options=HttpOptions(read_s=0.05))
    with RangeServer(folder, faults={"a.tif": [fault] * 3}) as server:
        assert isinstance(error_of(store, server.url("a.tif")), FetchError | InvalidArgumentError)


def test_files_under_one_process_id_are_not_leaked(server, store):
    fetch(store, server.url("a.tif"), 0, 10)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for start in range(50):
        fetch(store, server.url("a.tif"), start, start + 10)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
