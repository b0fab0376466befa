from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from rasteret_sql.errors import (
    AccessDeniedError,
    AssetChangedError,
    AssetNotFoundError,
    InvalidArgumentError,
    RangeError,
    TransportError,
)
from rasteret_sql.io import local, loop
from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.io.local import LocalStore

from .conftest import CONTENT, SIZE


@pytest.fixture
def files():
    store = LocalStore()
    yield store
    loop.run(store.aclose())


def fetch(store, path, start, end, **more):
    return loop.run(store.fetch(str(path), start, end, **more))


def test_a_range_gives_its_bytes_size_and_time(files, folder):
    response = fetch(files, folder / "a.tif", 10, 5000)
    assert response.data == CONTENT[10:5000]
    assert (response.start, response.file_size) == (10, SIZE)
    assert response.last_modified == pytest.approx((folder / "a.tif").stat().st_mtime)


def test_a_range_over_the_end_of_the_file_is_shorter(files, folder):
    assert fetch(files, folder / "a.tif", SIZE - 7, SIZE + 1000).data == CONTENT[-7:]


def test_many_ranges_at_once_give_each_its_own_bytes(files, folder):
    path = str(folder / "a.tif")

    async def many():
        return await asyncio.gather(*(files.fetch(path, i, i + 30) for i in range(0, 60_000, 300)))

    assert all(each.data == CONTENT[each.start : each.start + 30] for each in loop.run(many()))


def test_a_read_that_comes_in_parts_is_put_together(files, folder, monkeypatch):
    real = os.pread
    monkeypatch.setattr(local.os, "pread", lambda descriptor, n, offset: real(descriptor, min(n, 7), offset))
    assert fetch(files, folder / "a.tif", SIZE - 100, SIZE + 5).data == CONTENT[-100:]


@pytest.mark.parametrize("how", ["relative", "home", "url", "localhost"])
def test_relative_home_and_url_forms_name_the_same_file(files, folder, monkeypatch, how):
    (folder / "a b.tif").write_bytes(CONTENT)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    forms = {
        "relative": "a b.tif",
        "home": "~/a b.tif",
        "url": f"file://{folder}/a%20b.tif",
        "localhost": f"file://localhost{folder}/a%20b.tif",
    }
    assert fetch(files, forms[how], 0, 10).data == CONTENT[:10]


def test_the_etag_holds_while_the_file_is_the_same(files, folder):
    etag = fetch(files, folder / "a.tif", 0, 10).etag
    assert fetch(files, folder / "a.tif", 50, 60, identity=FileIdentity(etag)).etag == etag


def test_a_rewritten_file_is_an_error_that_says_what_it_was_and_is(files, folder):
    path = folder / "a.tif"
    identity = fetch(files, path, 0, 10).identity
    path.write_bytes(CONTENT + b"more")
    with pytest.raises(AssetChangedError) as caught:
        fetch(files, path, 0, 10, identity=identity)
    for part in (str(path), f"{SIZE + 4} bytes", f"{SIZE} bytes", "time of change", "rebuild the index"):
        assert part in str(caught.value)


def test_a_file_of_the_same_size_with_another_time_has_changed(files, folder):
    path = folder / "a.tif"
    etag = fetch(files, path, 0, 10).etag
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(AssetChangedError):
        fetch(files, path, 0, 10, identity=FileIdentity(etag))


def test_the_etag_of_another_store_does_not_match_a_local_file(files, folder):
    with pytest.raises(AssetChangedError, match="ETag"):
        fetch(files, folder / "a.tif", 0, 10, identity=FileIdentity('"5d41402abc4b2a76b9719d911017c592"'))


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("nothing.tif", AssetNotFoundError, "no such file"),
        ("a.tif/b.tif", AssetNotFoundError, "no such file"),
        ("folder", AssetNotFoundError, "a directory"),
        ("empty.tif", RangeError, "empty (0 bytes)"),
        ("x" * 5000, AssetNotFoundError, "name too long"),
        ("nul\0.tif", AssetNotFoundError, "null"),
        ("pipe", AssetNotFoundError, "not a regular file"),
        ("circle", AssetNotFoundError, "symbolic links"),
    ],
)
def test_what_is_no_file_to_read_is_a_clear_error(files, folder, name, kind, says):
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to(folder / "circle")
    with pytest.raises(kind) as caught:
        fetch(files, f"{folder}/{name}", 0, 10)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"bytes 0-9 of {folder}/{name}: ")


def test_a_start_beyond_the_end_says_the_size(files, folder):
    with pytest.raises(RangeError, match=f"only {SIZE} bytes"):
        fetch(files, folder / "a.tif", SIZE, SIZE + 1)


def test_no_permission_is_access_denied(files, folder, monkeypatch):
    # The mode of a file does not stop root, who runs the tests in a container.
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(local.os, "open", refuse)
    with pytest.raises(AccessDeniedError, match=r"a\.tif: no permission"):
        fetch(files, folder / "a.tif", 0, 10)


def test_a_failing_disk_is_a_transport_error(files, folder, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(local.os, "pread", fail)
    with pytest.raises(TransportError, match="Input/output error"):
        fetch(files, folder / "a.tif", 0, 10)


def test_an_impossible_range_is_an_invalid_argument(files, folder):
    with pytest.raises(InvalidArgumentError, match="expected 0 <= start < end"):
        fetch(files, folder / "a.tif", 5, 5)


def test_no_descriptor_is_left_open(files, folder):
    fetch(files, folder / "a.tif", 0, 10)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("a.tif", "b.tif", "empty.tif", "folder") * 5:
        with contextlib.suppress(OSError):
            fetch(files, folder / name, 0, 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_closed_store_can_be_used_again(folder):
    store = LocalStore()
    for _ in range(2):
        assert fetch(store, folder / "a.tif", 0, 10).data == CONTENT[:10]
        loop.run(store.aclose())
