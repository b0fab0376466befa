"""`rasteret-sql bench`: what it measures adds up, and it reads no more than it says."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.apps.bench import Bench
from rasteret_sql.apps.bench_report import verdict
from rasteret_sql.io.identity import UNKNOWN, FileIdentity
from rasteret_sql.plan.requests import Request
from rasteret_sql.read.measure import (
    PHASES,
    WINDOW_TILES,
    Decoding,
    MeasuredRead,
    Sweep,
    _phases,
    cut,
    sample_windows,
)
from rasteret_sql.sql.readers import plan_index, read_arguments
from rasteret_sql.testing.cog import write_cog
from rasteret_sql.testing.server import RangeServer


@pytest.fixture(scope="module")
def served(collection, tmp_path_factory):
    """The collection on a server that takes 5 ms to answer, and its index."""
    with RangeServer(collection.folder, latency_s=0.005) as server:
        path = tmp_path_factory.mktemp("served") / "s2.parquet"
        rs.build_index(server.url("catalog.json"), path)
        server.reset()
        yield server, path


def test_it_says_what_it_will_read_and_reads_no_more(run, served):
    server, path = served
    server.reset()
    outcome = run("bench", path, "--max-bytes", "400e3", "--seconds", "2", "--json")
    report = json.loads(outcome.out)
    assert outcome.code == 0
    assert "10 files on http://127.0.0.1; reading at most" in outcome.err
    assert report["files"] == report["planned_files"] == 10
    assert 0 < report["fetched_bytes"] <= 400_000
    assert sum(request.end - request.start for request in server.requests) == report["fetched_bytes"]


def test_a_read_is_shared_out_to_its_phases(run, served):
    _, path = served
    report = json.loads(run("bench", path, "--bands", "red,scl", "--max-bytes", "300e3", "--json").out)
    assert [sweep["in_flight"] for sweep in report["sweeps"]] == [1, 8, 32, 100]
    assert report["first_byte_s"]["median"] >= 0.005
    for read in report["reads"].values():
        assert set(read["phases_s"]) == set(PHASES)
        assert math.isclose(sum(read["phases_s"].values()), read["seconds"], abs_tol=1e-4)
        assert {part["codec"] for part in read["decoding"]} <= {"deflate uint16", "deflate uint8"}
        assert sum(part["tiles"] for part in read["decoding"]) == read["tiles"]
    assert report["verdict"]


def test_a_table_for_people_has_all_of_it(run, index):
    outcome = run("bench", index, "--max-bytes", "200e3", "--seconds", "1")
    assert outcome.code == 0
    for part in ("on local files", "first byte", "in flight", "decoding, each thread", "cold read:", "warm read:"):
        assert part in outcome.out
    assert "\x1b" not in outcome.out


@pytest.mark.parametrize("option", ["--max-bytes", "--seconds"])
@pytest.mark.parametrize("value", ["0", "-3", "many", "inf", "nan"])
def test_bounds_are_numbers_above_0(run, index, option, value):
    outcome = run("bench", index, f"{option}={value}")
    assert outcome.code == 2
    assert "expected a number above 0" in outcome.err


def test_an_error_of_the_store_is_said(run, index, tmp_path):
    rs.connect().execute(
        f"COPY (SELECT * REPLACE ('/nowhere/a.tif' AS href) FROM '{index}') TO '{tmp_path / 'i.parquet'}'"
    )
    outcome = run("bench", tmp_path / "i.parquet")
    assert (outcome.code, outcome.out) == (1, "")
    assert "/nowhere/a.tif" in outcome.err
    assert "Traceback" not in outcome.err


def test_ranges_of_one_length_are_cut_from_requests():
    requests = [Request("a", UNKNOWN, 100, 1000, ()), Request("b", FileIdentity('"e"'), 0, 50, ())]
    found = cut(requests, 300, 10_000)
    assert [(each.address, each.identity, each.start, each.end) for each in found] == [
        ("a", UNKNOWN, 100, 400), ("a", UNKNOWN, 400, 700), ("a", UNKNOWN, 700, 1000), ("b", FileIdentity('"e"'), 0, 50)
    ]  # fmt: skip
    assert cut(requests, 300, 600) == found[:2]
    assert cut(requests, 300, 1) == found[:1]


def test_windows_are_the_same_each_time_and_lie_in_one_file(index):
    plan = plan_index(index, read_arguments(["red"], None, None, "OGC:CRS84", None, None, None)).plan
    first = [rows.tolist() for rows in itertools.islice(sample_windows(plan, 1), 6)]
    assert first == [rows.tolist() for rows in itertools.islice(sample_windows(plan, 1), 6)]
    for rows in first:
        assert len(set(plan.asset_no[rows])) == 1
        assert len(rows) <= WINDOW_TILES**2


def test_an_index_whose_tiles_are_all_sparse_is_refused(run, tmp_path):
    write_cog(tmp_path / "a.tif", np.zeros((64, 64), "uint8"), nodata=0, sparse=True, tile=32, overviews=())
    rs.build_index(str(tmp_path / "a.tif"), tmp_path / "i.parquet")
    outcome = run("bench", tmp_path / "i.parquet")
    assert outcome.code == 1
    assert "got 4 tiles without bytes" in outcome.err


def test_phases_are_told_by_what_goes_on():
    fetches = [(1.0, 4.0), (2.0, 6.0)]
    decodes = [(5.0, 8.0)]
    found = _phases(10.0, fetches, decodes, 0.5)
    assert found == {"starting": 1.0, "waiting": 0.5, "receiving": 3.5, "both": 1.0, "decoding": 2.0, "idle": 2.0}
    assert sum(_phases(10.0, fetches, decodes, math.inf).values()) == 10.0
    assert _phases(3.0, [], [], 0.1) == {**dict.fromkeys(PHASES, 0.0), "starting": 3.0}


def bench_of(busy: float, **phases: float) -> Bench:
    shares = dict.fromkeys(PHASES, 0.0) | phases
    decoding = Decoding("deflate uint16", 10, 100, 1000, 2 * busy * sum(shares.values()))
    read = MeasuredRead(10, 10, 100, 1000, sum(shares.values()), shares, (decoding,), 2, ([], []))
    sweep = Sweep(8, (0.1,), 5_000_000, 1.0)
    return Bench("i", ["local files"], 1, 1, 1, (0.1, 0.1), read, read, [0.1], [sweep])


@pytest.mark.parametrize(
    ("bench", "beginning"),
    [
        (bench_of(0.9, both=0.8, decoding=0.2), "Decoding bounds reads here: 2 threads decoded 90% of the time"),
        (bench_of(0.4, decoding=0.5, receiving=0.2, both=0.3), "Decoding bounds"),
        (bench_of(0.1, waiting=0.7, receiving=0.1, both=0.2), "Latency bounds reads here: 70%"),
        (bench_of(0.1, waiting=0.1, receiving=0.7, both=0.2), "The network bounds reads here: 80%"),
        (bench_of(0.5, waiting=0.1, receiving=0.1, both=0.8), "Nothing bounds reads alone: 80%"),
    ],
)
def test_the_verdict_follows_from_the_phases(bench, beginning):
    assert verdict(bench).startswith(beginning)
    assert "the store gave 5 MB/s with 8 requests in flight" in verdict(bench)
    assert np.isfinite(bench.fetched_bytes)
