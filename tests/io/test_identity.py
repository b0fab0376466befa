"""What counts as the same file, and that every store compares it with the answer that it gets anyway."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from rasteret_sql.errors import AssetChangedError, InvalidArgumentError
from rasteret_sql.io import loop
from rasteret_sql.io.identity import FileIdentity, compare, difference
from rasteret_sql.io.options import get_options, set_options
from rasteret_sql.testing import Fault, RangeServer
from tests.io.conftest import CONTENT, SIZE

if TYPE_CHECKING:
    from pathlib import Path

MD5 = "5d41402abc4b2a76b9719d911017c592"
OTHER = "7d793037a0760186574b0282f2f435e7"


@pytest.mark.parametrize(
    ("indexed", "found", "verdict", "fact"),
    [
        # An ETag decides where both sides have one.
        (('"a"', 5, 1.0), ('"a"', 5, 9.0), "same", ""),
        (('"a"', 5, 1.0), ('"b"', 5, 1.0), "changed", "ETag"),
        (("a", 5, 1.0), ('"a"', None, None), "same", ""),
        (('"a"', 5, 1.0), (None, 5, 1.0), "unknown", "ETag"),
        # The size decides before it.
        (('"a"', 5, 1.0), ('"a"', 6, 1.0), "changed", "size"),
        ((None, 5, None), ('"b"', 6, 1.0), "changed", "size"),
        # Weak ETags, ETags of parts and of compressed answers differ for the same bytes; size and time decide.
        (('W/"a"', 5, 1.0), ('"a"', 5, 9.0), "same", ""),
        (('W/"a"', 5, 1.0), ('W/"b"', 5, 1.5), "same", ""),
        (('W/"a"', 5, 1.0), ('W/"b"', 5, 2.0), "changed", "ETag"),
        (('W/"a"', 5, None), ('W/"b"', 5, 1.0), "changed", "ETag"),
        (('W/"a"', None, 1.0), ('W/"b"', 5, 1.0), "changed", "ETag"),
        ((f'"{MD5}-5"', 5, 1.0), (f'"{OTHER}-2"', 5, 1.0), "same", ""),
        ((f'"{MD5}"', 5, 1.0), (f'"{OTHER}-2"', 5, 1.0), "same", ""),
        ((f'"{MD5}-5"', 5, 1.0), (f'"{OTHER}-2"', 5, 9.0), "changed", "ETag"),
        ((f'"{MD5}"', 5, 1.0), (f'"{OTHER}"', 5, 1.0), "changed", "ETag"),
        # A size and a time in nanoseconds: the number is no number of parts.
        (('"5-1"', 5, 1.0), ('"5-2"', 5, 1.0), "changed", "ETag"),
        (('"a"', 5, 1.0), ('"a-gzip"', 5, 1.0), "same", ""),
        (('"a--gzip"', 5, 1.0), ('W/"a;br"', 5, 1.0), "same", ""),
        # Without an ETag the time decides, and without a time the size.
        ((None, 5, 1.0), ('"b"', 5, 1.9), "same", ""),
        ((None, 5, 1.0), (None, 5, 2.0), "changed", "time of change"),
        ((None, 5, None), (None, 5, 2.0), "same", ""),
        ((None, None, None), ('"b"', 5, 2.0), "unknown", ""),
        ((None, 5, None), (None, None, 2.0), "unknown", ""),
    ],
)
def test_what_index_and_store_say_is_compared(indexed, found, verdict, fact):
    assert compare(FileIdentity(*indexed), FileIdentity(*found)) == (verdict, fact)
    is_refused = verdict == "changed" or (verdict, fact) == ("unknown", "ETag")
    assert (difference(FileIdentity(*indexed), FileIdentity(*found)) is not None) == is_refused


def test_a_difference_names_the_fact_both_versions_and_the_remedy():
    text = difference(FileIdentity('"a"', 5, 0.0), FileIdentity('"b"', 5, 60.0))
    assert text is not None
    for part in (
        "another ETag",
        'now: 5 bytes, time of change 1970-01-01T00:01:00.000000+00:00, ETag "b"',
        'expected 5 bytes, time of change 1970-01-01T00:00:00.000000+00:00, ETag "a"',
        "refresh or rebuild the index",
        'compared by identity="etag"',
        'identity="size"',
    ):
        assert part in text
    of_time = difference(FileIdentity(size=5, modified_s=0.0), FileIdentity(size=5, modified_s=60.0))
    assert 'identity="size"' in str(of_time)
    assert 'identity="size"' not in str(difference(FileIdentity(size=5), FileIdentity(size=6)))


@pytest.mark.parametrize(
    ("etag", "sent"),
    [('"a"', True), (f'"{MD5}"', True), ('"5-17"', True), ('W/"a"', False), (f'"{MD5}-3"', False), ('"a-gzip"', False)],
)
def test_if_match_is_sent_where_it_means_the_bytes(etag, sent, folder, store):
    with RangeServer(folder, faults={"a.tif": [Fault("etag", value=etag)]}) as server:
        found = loop.run(store.fetch(server.url("a.tif"), 0, 10, identity=FileIdentity(etag, SIZE)))
    assert found.etag == etag
    assert [request.headers.get("if-match") for request in server.requests] == [etag if sent else None]


def _replaced(path: Path, kind: str) -> None:
    before = path.stat()
    path.write_bytes(CONTENT[::-1] if kind == "content" else CONTENT[: SIZE // 2] if kind == "shorter" else CONTENT * 2)
    os.utime(path, (before.st_mtime + 60, before.st_mtime + 60))


@pytest.mark.parametrize("kind", ["content", "longer", "shorter"])
@pytest.mark.parametrize("etag", [None, 'W/"same"'])
def test_a_server_without_strong_etags_does_not_hide_a_replaced_file(kind, etag, folder, store):
    faults = [Fault("etag", value=etag), Fault("etag", value=None if etag is None else f'W/"{kind}"')]
    with RangeServer(folder, faults={"a.tif": faults}) as server:
        indexed = loop.run(store.fetch(server.url("a.tif"), 0, 10)).identity
        _replaced(folder / "a.tif", kind)
        # Beyond the end of the shorter file: the answer is 416 there.
        with pytest.raises(AssetChangedError, match="refresh or rebuild the index"):
            loop.run(store.fetch(server.url("a.tif"), SIZE - 10, SIZE, identity=indexed))
        assert len(server.requests) == 2


@pytest.mark.parametrize("kind", ["content", "longer", "shorter"])
@pytest.mark.parametrize("has_etag", [True, False])
def test_a_replaced_local_file_is_noticed(kind, has_etag, folder):
    from rasteret_sql.io.local import LocalStore

    files = LocalStore()
    indexed = loop.run(files.fetch(str(folder / "a.tif"), 0, 10)).identity
    if not has_etag:
        indexed = FileIdentity(None, indexed.size, indexed.modified_s)
    _replaced(folder / "a.tif", kind)
    with pytest.raises(AssetChangedError, match="refresh or rebuild the index"):
        loop.run(files.fetch(str(folder / "a.tif"), SIZE - 10, SIZE, identity=indexed))
    loop.run(files.aclose())


@pytest.mark.parametrize("kind", ["content", "longer", "shorter"])
@pytest.mark.parametrize("has_etag", [True, False])
def test_a_replaced_object_is_noticed(kind, has_etag, folder):
    store_module = pytest.importorskip("obstore.store")
    from rasteret_sql.io.objects import ObjectStore

    bucket = store_module.LocalStore(folder)
    objects = ObjectStore(open_store=lambda _url, _settings: bucket)
    indexed = loop.run(objects.fetch("s3://bucket/a.tif", 0, 10)).identity
    if not has_etag:
        indexed = FileIdentity(None, indexed.size, indexed.modified_s)
    _replaced(folder / "a.tif", kind)
    with pytest.raises(AssetChangedError, match="refresh or rebuild the index"):
        loop.run(objects.fetch("s3://bucket/a.tif", SIZE - 10, SIZE, identity=indexed))


class TestOptions:
    def test_a_block_ends_with_what_was_before(self):
        before = get_options()
        with set_options(identity="size"), set_options(identity="none"):
            assert get_options().identity == "none"
        assert get_options() == before

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"identity": "md5"}, "identity: got 'md5', expected one of etag, size, none"),
            ({"idendity": "size"}, "idendity"),
        ],
    )
    def test_what_is_no_option_is_refused(self, changes: dict[str, Any], says: str):
        before = get_options()
        with pytest.raises(InvalidArgumentError, match=says):
            set_options(**changes)
        assert get_options() == before

    def test_the_environment_has_them_too(self, monkeypatch):
        from rasteret_sql.io import options

        monkeypatch.setattr(options, "_current", [])
        monkeypatch.setenv("RASTERET_SQL_IDENTITY", "size")
        assert get_options().identity == "size"
        monkeypatch.setattr(options, "_current", [])
        monkeypatch.setenv("RASTERET_SQL_IDENTITY", "md5")
        with pytest.raises(InvalidArgumentError, match=r"RASTERET_SQL_\* in the environment: identity: got 'md5'"):
            get_options()
