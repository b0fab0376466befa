"""Reading headers: how many requests, and what follows the first."""

from __future__ import annotations

import pytest

from rasteret_sql.errors import AssetChangedError, CorruptTiffError
from rasteret_sql.index import headers
from rasteret_sql.index.headers import UnreadFile, read_header, read_headers
from rasteret_sql.io import loop
from rasteret_sql.testing.server import Fault, RangeServer


def test_bytes_that_the_first_read_lacks_are_fetched_with_if_match(cog, tmp_path):
    cog("a.tif", ifds="last", tile=16, overviews=(), compression="none", block_leaders=None)
    (tmp_path / "big.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    size = (tmp_path / "a.tif").stat().st_size
    with RangeServer(tmp_path) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(headers, "FIRST_READ_BYTES", 1024)
        file = loop.run(read_header(server.url("a.tif")))
        first, *rest = server.requests
    assert file.requests == 1 + len(rest)
    assert 1 <= len(rest) <= 2
    assert (first.start, first.end) == (0, 1024)
    assert all(request.start >= 1024 and request.end <= size for request in rest)
    assert "if-match" not in first.headers
    assert {request.headers["if-match"] for request in rest} == {file.etag}
    assert file.file_size == size


def test_a_file_that_changes_between_two_reads_is_an_error(cog, tmp_path):
    cog("a.tif", ifds="last", tile=16, overviews=())
    faults = {"a.tif": [None, Fault("status", status=412)]}
    with RangeServer(tmp_path, faults=faults) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(headers, "FIRST_READ_BYTES", 1024)
        with pytest.raises(AssetChangedError):
            loop.run(read_header(server.url("a.tif")))


def test_a_header_that_asks_for_too_much_is_refused(cog, tmp_path):
    path = cog("a.tif", ifds="last", tile=16, overviews=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headers, "FIRST_READ_BYTES", 1024)
        patch.setattr(headers, "MAX_HEADER_BYTES", 1030)
        with pytest.raises(CorruptTiffError, match="the header asks for more than 1,030 bytes"):
            loop.run(read_header(str(path)))


def test_outcomes_come_in_the_order_of_the_files(cog, tmp_path):
    names = [str(cog(f"{number}.tif", bands=1 + number % 3)) for number in range(6)]
    names[3] = str(tmp_path / "missing.tif")
    batches = list(read_headers([names[:2], names[2:4], names[4:5], names[5:]]))
    assert [len(batch) for batch in batches] == [2, 2, 1, 1]
    outcomes = [outcome for batch in batches for outcome in batch]
    assert isinstance(outcomes[3], UnreadFile)
    bands = [len(one.header.bands) if not isinstance(one, UnreadFile) else None for one in outcomes]
    assert bands == [1, 2, 3, None, 2, 3]


def test_only_some_batches_are_read_ahead_of_the_caller(cog):
    path = str(cog("a.tif"))
    taken = []

    def batches():
        for number in range(10):
            taken.append(number)
            yield [path]

    reading = read_headers(batches())
    next(reading)
    assert len(taken) == headers.BATCHES_AHEAD + 1
    reading.close()
