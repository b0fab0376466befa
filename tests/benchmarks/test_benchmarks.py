"""The benchmark scripts run, on little data; their times mean nothing here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rasteret_sql.geo.resampling import METHODS
from rasteret_sql.read import compiled

ROOT = Path(__file__).parents[2]
WORKLOADS = ("W1", "W1-read", "W2", "W3", "W4", "memory")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--repeat", "1", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)


def test_every_workload_gives_a_row_for_our_reader_and_writes_only_into_its_folder(tmp_path):
    before = sorted(ROOT.glob("*"))
    done = run(*WORKLOADS, "--peers", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("### ")] == [
        f"### {name}" for name in WORKLOADS
    ]
    assert sum(line.startswith("| rasteret_sql") for line in done.stdout.splitlines()) == len(WORKLOADS)
    assert "failed" not in done.stdout
    assert sorted(ROOT.glob("*")) == before


def test_rasterio_reads_the_same_pixels(tmp_path):
    pytest.importorskip("rasterio")
    done = run("W1", "W2", "W3", "--peers", "rasterio", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    # One way for W1, two for W2, three for W3.
    assert sum(line.startswith("| rasterio") for line in done.stdout.splitlines()) == 6


def test_the_prototype_reads_the_same_pixels(tmp_path):
    pytest.importorskip("obstore")
    done = run("W1", "W1-read", "W2", "--peers", "prototype", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| prototype")]
    assert len(rows) == 3
    assert not [row for row in rows if "failed" in row]


def test_decoders_of_every_codec_give_the_same_pixels():
    pytest.importorskip("rasterio")
    pytest.importorskip("tifffile")
    done = run("codecs")
    assert done.returncode == 0, done.stderr
    rows = [
        line.split(" | ") for line in done.stdout.splitlines() if line.startswith(("| deflate", "| lerc", "| jpeg"))
    ]
    assert len(rows) == 8
    # Ours, tifffile's and rasterio's speed.
    assert all(float(speed) > 0 for row in rows for speed in row[3:6])


def test_every_method_of_resampling_is_measured_with_and_without_kernels():
    pytest.importorskip("rasterio")
    done = run("resampling")
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    names, rows = rows[0], rows[1:]
    assert names[2:] == [*(["compiled"] if compiled.kernels else []), "NumPy", "rasterio"]
    assert {row[0] for row in rows} == set(METHODS)
    assert all(float(speed) > 0 for row in rows for speed in row[2:])


def test_decoders_are_measured_without_peers():
    done = run("codecs", "--peers")
    assert done.returncode == 0, done.stderr
    assert "### codecs" in done.stdout


def test_an_index_is_weighed_and_planned_from(tmp_path):
    done = run("index", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = [
        line.split(" | ")
        for line in done.stdout.splitlines()
        if line.startswith(("| bytes per tile", "| tile_plan", "| a plan in Python"))
    ]
    assert len(rows) == 4
    assert "2,250 rows in 3 months" in done.stdout
    assert all(float(row[1].strip(" |")) > 0 for row in rows)


def test_a_build_asks_once_for_each_file(tmp_path):
    done = run("build", "--peers", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (row,) = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| rasteret_sql")]
    assert float(row[1]) > 0
    assert row[-1] == "1.00"


def test_the_memory_of_builds_is_taken(tmp_path):
    done = run("build-memory", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith(("| 5 ", "| 20 "))]
    assert [row[0] for row in rows] == ["5", "20"]
    assert all(float(row[2]) > 0 for row in rows)


def test_too_many_requests_fail_the_benchmark_of_builds():
    from benchmarks import build
    from benchmarks.measure import Contender, Result, Run

    def result(requests):
        return Result(
            Contender("rasteret_sql", "python", "ours.build"),
            [Run(1.0, 1.0, 1.0, [("GET", True)] * requests, 0, {"files": 10, "peak_rss_bytes": 1})],
        )

    assert build._what_is_wrong([result(11)], 10) == []
    (wrong,) = build._what_is_wrong([result(12)], 10)
    assert "1.20 requests per file" in wrong


def test_a_zone_is_measured_with_and_without_statistics(tmp_path):
    done = run("zones", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith(("| pix", "| stat"))]
    assert [row[0] for row in rows] == ["pixels", "statistics"]
    assert float(rows[1][2]) < float(rows[0][2])


def test_settings_of_a_read_are_measured_and_never_change_its_requests(tmp_path):
    done = run("limits", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith(("| 1 |", "| 4 |", "| 8 |")) for line in done.stdout.splitlines()) == 4


def test_shards_are_read_by_one_worker_and_by_two_with_the_same_pixels(tmp_path):
    done = run("shards", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    assert [row[0] for row in rows] == ["1", "2"]
    assert all(float(row[2]) > 0 for row in rows)


def test_both_transports_are_measured(tmp_path):
    pytest.importorskip("obstore")
    done = run("transports", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [line.split(" | ")[1] for line in done.stdout.splitlines() if line.startswith("| 1,024")] == [
        "aiohttp",
        "obstore",
    ]


@pytest.mark.slow
def test_values_at_points_and_statistics_of_polygons_are_those_of_peers(tmp_path):
    peers = ("rasterio", "rasterstats", "exactextract")
    for module in peers:
        pytest.importorskip(module)
    done = run("points", "polygons", "coverage", "--peers", *peers, "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    readers = [line.strip("| ").partition(" (")[0].partition(" |")[0] for line in done.stdout.splitlines()]
    # Ours, and each peer in two ways, for each workload.
    assert [reader.partition(",")[0] for reader in readers if reader.startswith(("raster", "exact"))] == [
        each for peer in peers for each in ("rasteret_sql", peer, peer)
    ]


def test_statistics_that_differ_from_those_of_a_peer_fail_the_benchmark(tmp_path):
    from benchmarks import __main__ as main
    from benchmarks.measure import Contender, Result, Run
    from benchmarks.workloads import WORKLOADS

    def result(name, call, values):
        np.save(tmp_path / f"{call}.npy", values)
        return Result(Contender(name, "python", call), [Run(1.0, 1.0, 1.0, [], 0, {"checksum": None})])

    values = np.array([[10.0, 1500.25], [0.0, np.nan]])
    ours = result("rasteret_sql", "ours_analysis.polygons", values)
    job = {"kept": str(tmp_path)}
    same = result("rasterstats", "gdal_analysis.polygons", values * (1 + 1e-15))
    assert main._what_is_wrong(WORKLOADS["polygons"], [ours, same], job) == []
    for other in (values * (1 + 1e-9), np.nan_to_num(values)):
        theirs = result("rasterstats", "gdal_analysis.polygons", other)
        (wrong,) = main._what_is_wrong(WORKLOADS["polygons"], [ours, theirs], job)
        assert "rasterstats" in wrong


def test_pixels_as_rows_are_measured_with_half_of_the_points_and_without_peers(tmp_path):
    done = run("points-half", "pixels", "--peers", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "points-half: 25 points" in done.stdout
    assert sum(line.startswith("| rasteret_sql") for line in done.stdout.splitlines()) == 2


def test_a_report_says_how_many_rows_of_pixels_a_second_gives():
    from benchmarks.measure import Contender, Result, Run
    from benchmarks.report import table
    from benchmarks.workloads import WORKLOADS

    facts = {"pixels": 30_000_000, "read_s": 2.0, "peak_rss_bytes": 700_000_000}
    result = Result(Contender("rasteret_sql", "python", "ours_analysis.pixels"), [Run(3.0, 2.5, 2.0, [], 0, facts)])
    text = table(WORKLOADS["pixels"], "pixels", [result], with_targets=True)
    assert "30,000,000 pixels at 15.0 million rows/s" in text
    assert "700 MB, MISSED" in text


def test_repeated_queries_of_polygons_are_measured(tmp_path):
    done = run("warm", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if " polygon" in line]
    assert [row[0] for row in rows] == ["one polygon x 1 items", "200 polygons x 1 item"]
    assert all(float(row[1]) > 0 for row in rows)


@pytest.mark.slow
def test_first_batches_of_time_series_take_one_request_per_scene(tmp_path):
    pytest.importorskip("torchgeo")
    done = run("first-batch", "--peers", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| rasteret_sql")]
    # The cases a, b and c have 15, 30 and 12 scenes.
    assert [row[5] for row in rows] == ["15", "30", "12"]


def test_pixels_of_first_batches_that_differ_fail_the_benchmark():
    from benchmarks import first_batch
    from benchmarks.measure import Contender, Result, Run

    def result(name, pixel_sum):
        facts = {"shape": [1, 15, 1, 4, 4], "pixel_sum": pixel_sum}
        return Result(Contender(name, "python", "peer.series"), [Run(1.0, 1.0, 1.0, [], 0, facts)])

    results = [result("rasteret_sql", 1000.0), result("rasteret", 1001.0)]
    (wrong,) = first_batch._what_is_wrong("a", first_batch.CASES["a"], results)
    assert "the pixels differ" in wrong
    assert first_batch._what_is_wrong("c", first_batch.CASES["c"], results) == []


def test_an_unknown_workload_is_refused():
    done = run("W9")
    assert done.returncode == 2
    assert "W9" in done.stderr
