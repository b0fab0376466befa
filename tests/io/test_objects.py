from __future__ import annotations

import asyncio
import importlib.util
import re

import pytest

from rasteret_sql.errors import (
    AccessDeniedError,
    AssetChangedError,
    AssetNotFoundError,
    InvalidArgumentError,
    RangeError,
    RasteretError,
    TransportError,
)
from rasteret_sql.io import loop, objects
from rasteret_sql.io.buckets import open_bucket
from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.io.objects import ObjectStore
from rasteret_sql.io.options import set_options

from .conftest import CONTENT, SIZE
from .test_loop import FORKED, python


@pytest.fixture
def buckets():
    """Opens `s3://memory` as a store in memory that holds the test files; records what is opened."""
    from obstore.store import MemoryStore

    opened = []

    def open_store(url, settings):
        opened.append(url)
        memory = MemoryStore()
        memory.put("folder/a.tif", CONTENT)
        memory.put("empty.tif", b"")
        return memory

    store = ObjectStore(open_store=open_store)
    store.opened = opened
    return store


def fetch(store, href, start, end, **more):
    return loop.run(store.fetch(href, start, end, **more))


def test_a_range_gives_its_bytes_and_what_the_store_said(buckets):
    response = fetch(buckets, "s3://memory/folder/a.tif", 10, 5000)
    assert response.data == CONTENT[10:5000]
    assert type(response.data) is bytes
    assert (response.start, response.file_size) == (10, SIZE)
    assert response.etag
    assert response.last_modified > 1.7e9


def test_a_range_over_the_end_of_the_object_is_shorter(buckets):
    assert fetch(buckets, "s3://memory/folder/a.tif", SIZE - 7, SIZE + 99).data == CONTENT[-7:]


def test_a_bucket_is_opened_once(buckets):
    async def many():
        hrefs = [f"{scheme}://memory/folder/a.tif" for scheme in ("s3", "s3a", "S3")] * 5
        await asyncio.gather(*(buckets.fetch(href, 0, 10) for href in hrefs))
        await buckets.fetch("gs://memory/folder/a.tif", 0, 10)

    loop.run(many())
    assert buckets.opened == ["s3://memory", "gs://memory"]


def test_the_etag_holds_or_the_file_has_changed(buckets):
    etag = fetch(buckets, "s3://memory/folder/a.tif", 0, 10).etag
    assert fetch(buckets, "s3://memory/folder/a.tif", 0, 10, identity=FileIdentity(etag)).etag == etag
    assert fetch(buckets, "s3://memory/folder/a.tif", 0, 10, identity=FileIdentity(f"W/{etag}")).etag == etag
    for other in ('"other"', 'W/"other"'):
        with pytest.raises(AssetChangedError, match=r"other.*rebuild the index"):
            fetch(buckets, "s3://memory/folder/a.tif", 0, 10, identity=FileIdentity(other))


@pytest.mark.parametrize(
    ("href", "start", "kind", "says"),
    [
        ("s3://memory/nothing.tif", 0, AssetNotFoundError, "no such object"),
        ("s3://memory/folder", 0, AssetNotFoundError, "no such object"),
        ("s3://memory/empty.tif", 0, RangeError, "empty (0 bytes)"),
        ("s3://memory/folder/a.tif", SIZE, RangeError, f"only {SIZE} bytes"),
        ("s3://memory/folder/../a.tif", 0, InvalidArgumentError, "not valid"),
        ("s3://memory", 0, InvalidArgumentError, "no bucket or no key"),
        ("s3:///a.tif", 0, InvalidArgumentError, "no bucket or no key"),
        ("s3://memory/folder/a.tif", -1, InvalidArgumentError, "0 <= start < end"),
    ],
)
def test_what_cannot_be_read_is_a_clear_error(buckets, href, start, kind, says):
    with pytest.raises(kind) as caught:
        fetch(buckets, href, start, start + 10)
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert href in str(caught.value)


def test_a_store_that_gives_other_bytes_is_refused(buckets, monkeypatch):
    import obstore

    real = obstore.get_async

    async def shifted(store, path, *, options):
        start, end = options["range"]
        return await real(store, path, options={"range": (start + 1, end + 1)})

    monkeypatch.setattr(obstore, "get_async", shifted)
    with pytest.raises(RangeError, match="gave bytes 1-10"):
        fetch(buckets, "s3://memory/folder/a.tif", 0, 10)


def _obstore_error(name, text):
    from obstore import exceptions

    return getattr(exceptions, name)(text)


@pytest.mark.parametrize(
    ("name", "text", "kind", "says"),
    [
        ("PermissionDeniedError", "403", AccessDeniedError, "AWS_SKIP_SIGNATURE"),
        ("UnauthenticatedError", "401", AccessDeniedError, "AWS_ACCESS_KEY_ID"),
        ("PreconditionError", "412", AssetChangedError, "another ETag"),
        ("GenericError", "Error performing PUT http://169.254.169.254/latest/api/token", AccessDeniedError, "credentials"),
        ("GenericError", "Received redirect without LOCATION, this normally indicates an incorrect region", TransportError, "AWS_REGION"),
        ("GenericError", "Error performing GET https://host/redirect/credentials?sig=secret: timed out", TransportError, "timed out"),
        ("GenericError", "Account must be specified", InvalidArgumentError, "AZURE_STORAGE_ACCOUNT_NAME"),
        ("GenericError", "Server returned non-2xx status code: 416 Range Not Satisfiable", RangeError, "ends before"),
        ("NotSupportedError", "no", TransportError, "no."),
        ("JoinError", "no", TransportError, "no."),
    ],
)  # fmt: skip
def test_each_error_of_obstore_becomes_one_of_ours(name, text, kind, says):
    def open_store(url, settings):
        raise _obstore_error(name, text)

    with pytest.raises(kind) as caught:
        fetch(ObjectStore(open_store=open_store), "s3://bucket/a.tif", 0, 10, identity=FileIdentity('"x"'))
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("bytes 0-9 of s3://bucket/a.tif: ")


def test_azure_without_an_account_says_where_to_name_it(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(InvalidArgumentError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        fetch(ObjectStore(), "az://container/a.tif", 0, 10)


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("AWS_NO_SIGN_REQUEST", "YES", "skip_signature", "true"),
        ("AWS_REQUEST_PAYER", "requester", "request_payer", "true"),
    ],
)
def test_customary_environment_variables_are_understood(monkeypatch, name, value, key, expected):
    monkeypatch.delenv(name, raising=False)
    assert key not in open_bucket("s3://bucket").config
    monkeypatch.setenv(name, value)
    assert open_bucket("s3://bucket").config[key] == expected


def test_a_forked_child_of_a_reader_is_refused_with_the_remedy():
    code = (
        FORKED
        + """
import obstore.store
from rasteret_sql.io.objects import ObjectStore
memory = obstore.store.MemoryStore()
memory.put("a.tif", b"0123456789")
store = ObjectStore(open_store=lambda url, settings: memory)
def read_object():
    return loop.run(store.fetch("s3://bucket/a.tif", 0, 5)).data
def refused():
    try:
        read_object()
    except Exception as error:
        return type(error).__name__, "spawn" in str(error), "forked" in str(error)
print(read_object())
in_child(lambda: refused(), "exit")
print(read_object())
"""
    )
    assert python(code) == "b'01234'\nchild ('RasteretError', True, True)\nb'01234'"


def test_a_forked_child_reads_where_its_parent_had_not():
    code = (
        FORKED
        + """
import obstore.store
from rasteret_sql.io.objects import ObjectStore
def read_object():
    memory = obstore.store.MemoryStore()
    memory.put("a.tif", b"0123456789")
    return loop.run(ObjectStore(open_store=lambda url, settings: memory).fetch("s3://bucket/a.tif", 0, 5)).data
in_child(read_object, "exit")
"""
    )
    assert python(code) == "child b'01234'"


def test_the_refusal_is_an_error_of_ours(buckets, monkeypatch):
    monkeypatch.setattr(objects, "_used_before_fork", True)
    with pytest.raises(RasteretError, match="forkserver"):
        fetch(buckets, "s3://memory/folder/a.tif", 0, 10)


_CHILD_OF_A_READER = """
import asyncio, multiprocessing
from rasteret_sql.io import objects
from rasteret_sql.io.identity import FileIdentity
url = "s3://bucket/folder/a b.tif"
def fetched(url, start, end, etag=None):
    return loop.run(store_for(url).fetch(url, start, end, identity=FileIdentity(etag)))
def refused(*asked):
    try:
        fetched(*asked)
    except Exception as error:
        return type(error).__name__
def reads():
    async def many():
        ranges = [(start, start + 10_000) for start in range(0, 100_000, 10_000)]
        return b"".join(each.data for each in await asyncio.gather(*(store_for(url).fetch(url, *r) for r in ranges)))
    whole = loop.run(many())
    errors = refused("s3://bucket/nothing.tif", 0, 9), refused(url, 0, 9, '"other"')
    response = fetched(url, 0, 9)
    is_same = fetched(url, 0, 100, response.etag).data == whole[:100]
    return " ".join([whole[:2].hex(), str(len(whole)), *errors, str(is_same)])
print(len(fetched(url, 0, 100).data))
in_child(reads, "exit")
process = multiprocessing.get_context("fork").Process(target=lambda: print("child", reads()))
sys.stdout.flush()
process.start()
process.join(300)
assert process.exitcode == 0
print(len(fetched(url, 0, 100).data))
"""
_KILLED_PROCESS = """
import time
from rasteret_sql.io import objects
url = "s3://bucket/folder/a b.tif"
def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
def reads():
    first = len(read(url))
    os.kill(objects._process.get()._process.pid, signal.SIGSTOP)
    waiting = loop.submit(store_for(url).fetch(url, 0, 10))
    os.kill(objects._process.get()._process.pid, signal.SIGKILL)
    said = "ended" if "has ended; try again" in str(waiting.exception(120)) else str(waiting.exception())
    again, pid = len(read(url)), objects._process.get()._process.pid
    loop.shutdown()
    return f"{first} {said} {again} {is_there(pid)}"
print(len(read(url)))
in_child(reads, "exit")
"""


@pytest.fixture(scope="module")
def s3():
    if importlib.util.find_spec("moto") is None:
        pytest.skip("moto is not installed: pip install 'moto[server,s3]'")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="folder/a b.tif", Body=CONTENT)
        client.put_object(Bucket="bucket", Key="empty.tif", Body=b"")
        client.put_object(Bucket="bucket", Key="public.tif", Body=CONTENT, ACL="public-read")
        client.close()
        yield ObjectStore()
    server.stop()


class TestS3:
    """Against moto's S3 server, over real sockets."""

    def test_a_range_gives_its_bytes(self, s3):
        response = fetch(s3, "s3://bucket/folder/a b.tif", 10, 5000)
        assert (response.data, response.file_size) == (CONTENT[10:5000], SIZE)
        assert fetch(s3, "s3://bucket/folder/a b.tif", 0, 10, identity=FileIdentity(response.etag)).data == CONTENT[:10]

    @pytest.mark.parametrize(
        ("key", "start", "etag", "kind", "says"),
        [
            ("nothing.tif", 0, None, AssetNotFoundError, "no such object"),
            ("empty.tif", 0, None, RangeError, "empty (0 bytes)"),
            ("folder/a b.tif", SIZE, None, RangeError, f"only {SIZE} bytes"),
            ("folder/a b.tif", 0, '"other"', AssetChangedError, "rebuild the index"),
        ],
    )
    def test_what_cannot_be_read_is_a_clear_error(self, s3, key, start, etag, kind, says):
        with pytest.raises(kind, match=re.escape(says)):
            fetch(s3, f"s3://bucket/{key}", start, start + 10, identity=FileIdentity(etag))

    def test_a_public_object_alone_is_read_where_there_are_no_keys(self, s3, tmp_path, monkeypatch):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.delenv(name)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        assert fetch(ObjectStore(), "s3://bucket/public.tif", 10, 5000).data == CONTENT[10:5000]
        with pytest.raises(AccessDeniedError, match=r"no credentials were found\. Looked at"):
            fetch(ObjectStore(), "s3://bucket/folder/a b.tif", 10, 5000)

    def test_a_forked_child_of_a_reader_reads(self, s3):
        printed = python(FORKED + _CHILD_OF_A_READER)
        found = "0007 100000 AssetNotFoundError AssetChangedError True"
        assert printed.split("\n") == ["100", f"child {found}", f"child {found}", "100"]

    def test_a_forked_child_reads_on_where_the_process_that_reads_for_it_ends(self, s3):
        printed = python(FORKED + _KILLED_PROCESS)
        assert printed.split("\n") == ["100", "child 100 ended 100 False"]


def test_an_endpoint_that_is_not_there_is_a_transport_error(monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "us-east-1",
        "AWS_NO_SIGN_REQUEST": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with set_options(attempts=1), pytest.raises(TransportError, match="Check the network, the endpoint"):
        fetch(ObjectStore(), "s3://bucket/a.tif", 0, 10)
