"""The parts of a file fetched so far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_sql.errors import CorruptTiffError
from rasteret_sql.tiff.buffer import NeedBytes, SparseBytes, merge_ranges


def test_bytes_that_are_not_there_are_asked_for_by_range():
    buffer = SparseBytes((0, b"abcd"), file_size=100)
    with pytest.raises(NeedBytes) as caught:
        buffer.read(2, 10)
    assert caught.value.ranges == ((2, 10),)


def test_bytes_beyond_a_known_end_are_an_error_and_never_asked_for():
    with pytest.raises(CorruptTiffError, match=r"truncated: bytes 2 to 10 .* the file has 8 bytes"):
        SparseBytes((0, b"abcd"), file_size=8).read(2, 10)


def test_bytes_beyond_an_unknown_end_are_asked_for():
    with pytest.raises(NeedBytes):
        SparseBytes((0, b"abcd")).read(2, 10)


@given(
    data=st.binary(min_size=1, max_size=60),
    cuts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12),
)
def test_parts_in_any_order_and_overlap_read_as_the_file(data, cuts):
    buffer = SparseBytes(file_size=len(data))
    there = set()
    for start, end in cuts:
        buffer.add(start, data[start:end])
        there.update(range(start, min(end, len(data))))
    for start in range(len(data)):
        for end in range(start + 1, len(data) + 1):
            assert buffer.has(start, end) == there.issuperset(range(start, end))
            if buffer.has(start, end):
                assert bytes(buffer.read(start, end)) == data[start:end]


def test_ranges_are_merged_when_they_overlap_or_are_close():
    assert merge_ranges([(50, 60), (0, 10), (5, 20), (24, 30)], max_gap_bytes=4) == ((0, 30), (50, 60))


def test_ranges_further_apart_than_the_gap_stay_apart():
    assert merge_ranges([(0, 10), (15, 20)], max_gap_bytes=4) == ((0, 10), (15, 20))
