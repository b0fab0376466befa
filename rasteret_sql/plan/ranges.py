"""Byte ranges to requests: a pure function with the same rule as `sql/macros/_rst_requests.sql`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

#: Bytes between two ranges that are fetched along with them. One request more costs more than these.
MAX_GAP_BYTES = 131_072

#: Bytes after which a run of ranges becomes another request, so that long reads are concurrent and bounded.
MAX_REQUEST_BYTES = 4_194_304


def coalesce(
    file: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    *,
    max_gap_bytes: int = MAX_GAP_BYTES,
    max_request_bytes: int = MAX_REQUEST_BYTES,
) -> npt.NDArray[np.int64]:
    """Number the request that fetches each byte range.

    Ranges of one file share a request while the gap to what came before is at most `max_gap_bytes`. Such
    a run is cut after each `max_request_bytes`, counted from its start; a range is never cut, so a request is
    shorter than `max_request_bytes` plus its longest range. No request spans two files, and ranges that
    overlap by their bytes share one wherever the cut allows.

    Args:
        file: number of the file of each range, shape (n,).
        start: first byte of each range, shape (n,).
        end: byte after the last of each range, exclusive, shape (n,).
        max_gap_bytes: the longest gap that is read over.
        max_request_bytes: length after which a run is cut.

    Returns:
        Request numbers, shape (n,), counted from 0 in the order of (file, start).
    """
    count = len(file)
    if count == 0:
        return np.empty(0, np.int64)
    order = np.lexsort((end, start, file))
    sorted_file, sorted_start, sorted_end = file[order], start[order], end[order]
    new_file = np.empty(count, bool)
    new_file[0] = True
    np.not_equal(sorted_file[1:], sorted_file[:-1], out=new_file[1:])

    reach = np.empty(count, np.int64)
    bounds = [*np.flatnonzero(new_file).tolist(), count]
    for first, last in pairwise(bounds):
        np.maximum.accumulate(sorted_end[first:last], out=reach[first:last])

    new_run = new_file.copy()
    new_run[1:] |= sorted_start[1:] - reach[:-1] > max_gap_bytes
    run_start = sorted_start[np.flatnonzero(new_run)][np.cumsum(new_run) - 1]
    cut = (sorted_start - run_start) // max_request_bytes
    new_request = new_run
    new_request[1:] |= cut[1:] != cut[:-1]

    numbers = np.empty(count, np.int64)
    numbers[order] = np.cumsum(new_request) - 1
    return numbers
