"""validate: what became of the files of an index, without reading pixels."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rasteret_sql as rs
from rasteret_sql.errors import AssetNotFoundError, InvalidArgumentError, InvalidIndexError
from rasteret_sql.index.validate import IndexedFile, drift
from rasteret_sql.io.identity import FileIdentity
from rasteret_sql.testing.server import Fault, RangeServer

COUNTS = {"unchanged": 0, "changed": 0, "gone": 0, "no access": 0, "unknown": 0}


@pytest.fixture
def index(cog, tmp_path):
    """An index of four files on a server."""
    for number in range(4):
        cog(f"files/i{number}.tif")
    with RangeServer(tmp_path / "files") as server:
        rs.build_index([server.url(f"i{number}.tif") for number in range(4)], tmp_path / "i.parquet")
        server.reset()
        yield tmp_path / "i.parquet", server


def test_files_that_are_as_they_were_are_unchanged_at_one_byte_each(index):
    path, server = index
    report = rs.validate(path)
    assert report.counts == COUNTS | {"unchanged": 4}
    assert (report.files, report.checked, report.states) == (4, 4, ())
    assert (report.has_drift, report.is_complete) == (False, True)
    assert [(request.start, request.end) for request in server.requests] == [(0, 1)] * 4


def test_each_kind_of_drift_is_counted_and_named(index, cog, tmp_path):
    path, server = index
    cog("files/i0.tif", bands=2)
    (tmp_path / "files" / "i1.tif").unlink()
    server.add_faults("i2.tif", Fault("status", status=403))
    report = rs.validate(path)
    assert report.counts == COUNTS | {"unchanged": 1, "changed": 1, "gone": 1, "no access": 1}
    assert (report.has_drift, report.is_complete) == (True, False)
    assert [(state.kind, state.item_id) for state in report.states] == [
        ("changed", "i0"), ("gone", "i1"), ("no access", "i2"),
    ]  # fmt: skip
    assert "i0.tif has " in report.states[0].message
    assert "1 unchanged, 1 changed, 1 gone, 1 no access" in str(report)


def test_a_file_that_was_only_touched_has_another_etag_and_is_changed(cog, tmp_path):
    path = cog("a.tif")
    rs.build_index(path, tmp_path / "i.parquet")
    os.utime(path, ns=(1, 1))
    assert rs.validate(tmp_path / "i.parquet").counts == COUNTS | {"changed": 1}


def test_a_sample_is_that_many_files_and_the_same_ones_each_time(index):
    path, server = index
    first = rs.validate(path, sample=2)
    asked = sorted(request.path for request in server.requests)
    server.reset()
    assert rs.validate(path, sample=2) == first
    assert (first.files, first.checked) == (4, 2)
    assert sorted(request.path for request in server.requests) == asked
    assert len(set(asked)) == 2


def test_the_mirror_is_asked_where_there_is_one(cog, write_json, stac_item, tmp_path):
    cog("files/red.tif")
    item = write_json("i.json", stac_item("i", {"red": "https://example.com/red.tif"}))
    rs.build_index(item, tmp_path / "i.parquet", href_map={"https://example.com/": f"{tmp_path}/files/"})
    assert rs.validate(tmp_path / "i.parquet").counts == COUNTS | {"unchanged": 1}


def test_a_relative_href_lies_beside_the_index(cog, tmp_path):
    cog("a.tif")
    rs.build_index(tmp_path / "a.tif", tmp_path / "i.parquet")
    with rs.connect() as con:
        con.execute(
            f"COPY (SELECT * REPLACE ('a.tif' AS href) FROM '{tmp_path / 'i.parquet'}') TO '{tmp_path / 'j.parquet'}'"
        )
    assert rs.validate(tmp_path / "j.parquet").counts == COUNTS | {"unchanged": 1}


@pytest.mark.parametrize(
    ("indexed", "answer", "kind"),
    [
        ((None, None, None), FileIdentity('"a"', 5, 1.0), "unknown"),
        (('"a"', 5, 1.0), FileIdentity(None, 5, 1.0), "unknown"),
        (('"a"', 5, None), FileIdentity('W/"a"', None, 9.0), "unchanged"),
        (('"a"', 5, 1.0), FileIdentity('"b"', 5, 1.0), "changed"),
        (('"a"', 5, 1.0), FileIdentity(None, 6, 1.0), "changed"),
        ((None, 5, 1.4), FileIdentity(None, 5, 1.0), "unchanged"),
        ((None, 5, 1.0), FileIdentity(None, 5, 3.0), "changed"),
        ((None, 5, None), FileIdentity(None, 5, None), "unchanged"),
    ],
)
def test_what_index_and_store_say_is_compared(indexed, answer, kind):
    etag, size, modified = indexed
    assert drift(IndexedFile("a.tif", "a", "data", etag, size, modified), answer)[0] == kind


def test_what_is_no_index_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(
        InvalidIndexError,
        match=r"t\.parquet is not an index: it has no column item_id, .*href.*; its columns are a\. Build one with",
    ):
        rs.validate(tmp_path / "t.parquet")
    with pytest.raises(AssetNotFoundError, match=r"absent\.parquet: no such file"):
        rs.validate(tmp_path / "absent.parquet")


@pytest.mark.parametrize("sample", [0, -1, True, "5"])
def test_a_sample_is_a_number_above_0(tmp_path, sample):
    with pytest.raises(InvalidArgumentError, match="sample: got"):
        rs.validate(tmp_path / "i.parquet", sample=sample)
