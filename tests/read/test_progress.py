"""Progress of reads, and what interrupts them."""

from __future__ import annotations

import threading

import pytest

import rasteret_sql as rs
from rasteret_sql.errors import RasteretError
from rasteret_sql.io import loop
from rasteret_sql.read.progress import ReadProgress, listening
from rasteret_sql.sql.connection import connect, interrupt
from rasteret_sql.sql.indexes import build_index
from rasteret_sql.sql.virtual import scans_only_planned
from rasteret_sql.testing import write_collection
from rasteret_sql.testing.server import RangeServer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One item of 256 x 256 pixels, in five files."""
    folder = tmp_path_factory.mktemp("progress") / "collection"
    write_collection(folder, items=1, size=256, tile=128)
    return folder


@pytest.fixture(scope="module")
def index(folder):
    path = folder.parent / "s2.parquet"
    build_index(str(folder / "catalog.json"), path)
    return path


def test_sql_and_arrays_report_each_tile_and_all_bytes_once(index):
    con = connect()
    cost = con.sql(f"SELECT tiles, request_bytes FROM explain_read('{index}', bands := ['red']) WHERE band = 'total'")
    ((tiles, nbytes),) = cost.fetchall()
    for read in (
        lambda: con.sql(f"SELECT sum(octet_length(pixels)) FROM read_tiles('{index}', bands := ['red'])").fetchall(),
        lambda: rs.read_tiles(index, bands=["red"]).read_all(),
        lambda: rs.to_numpy(index, bands=["red"]),
    ):
        reports = []
        with listening(reports.append):
            read()
        assert reports[0] == ReadProgress(0, tiles, 0, nbytes)
        assert reports[-1] == ReadProgress(tiles, tiles, nbytes, nbytes)
        assert [report.nbytes for report in reports] == sorted(report.nbytes for report in reports)


def test_totals_grow_with_each_read_and_each_listener_counts_from_its_own_beginning(index):
    outer, inner = [], []
    with listening(outer.append):
        rs.read_tiles(index, bands=["red"]).read_all()
        with listening(inner.append):
            rs.read_tiles(index, bands=["nir"]).read_all()
    rs.read_tiles(index, bands=["nir"]).read_all()
    assert (inner[-1].tiles, inner[-1].total_tiles) == (4, 4)
    assert (outer[-1].tiles, outer[-1].total_tiles) == (8, 8)


def test_a_read_without_pixels_reports_nothing(index):
    reports = []
    with listening(reports.append):
        connect().sql(f"SELECT item_id FROM read_tiles('{index}')").fetchall()
    assert reports == []


def in_thread(work):
    """Start work in a thread; gives what waits for it and returns its error."""
    errors = []

    def run():
        try:
            work()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def ended():
        thread.join()
        return errors[0]

    return ended


@pytest.fixture
def slow(folder, index):
    """An index whose files are on a server that answers after hours."""
    with RangeServer(folder, latency_s=36_000) as server:
        path = folder.parent / "slow.parquet"
        connect().sql(
            f"SELECT * REPLACE (replace(href, '{folder}/', '{server.url('')}') AS mirror, NULL AS etag) FROM '{index}'"
        ).write_parquet(str(path))
        yield path


@pytest.mark.parametrize("how", ["sql", "arrow", "numpy"])
def test_an_interrupt_ends_reads_that_wait_for_their_server(slow, how):
    con = connect()
    planned = threading.Event()
    reads = {
        "sql": lambda: con.sql(f"SELECT count(pixels) FROM read_tiles('{slow}', bands := ['red'])").fetchall(),
        "arrow": lambda: rs.read_tiles(slow, bands=["red"]).read_all(),
        "numpy": lambda: rs.to_numpy(slow, bands=["red"]),
    }
    with listening(lambda _: planned.set()):
        ended = in_thread(reads[how])
        planned.wait()
        interrupt(con)
        assert "interrupt" in str(ended()).lower()
    assert con.sql("SELECT 42").fetchall() == [(42,)]


def test_an_interrupt_ends_what_waits_for_the_loop():
    started = threading.Event()

    async def wait():
        import asyncio

        started.set()
        await asyncio.Event().wait()

    ended = in_thread(lambda: loop.run(wait()))
    started.wait()
    loop.interrupt()
    error = ended()
    assert isinstance(error, RasteretError)
    assert "interrupted" in str(error)


def test_an_interrupt_of_nothing_is_nothing(index):
    con = connect()
    interrupt(con)
    assert con.sql(f"SELECT count(pixels) FROM read_tiles('{index}', bands := ['red'])").fetchall() == [(4,)]


def test_scans_that_are_only_planned_say_what_they_would_read(index):
    con = connect()
    read = f"FROM read_tiles('{index}')"
    with listening(pytest.fail), scans_only_planned() as scans:
        assert con.sql(f"SELECT pixels {read} WHERE band_name = 'red'").fetchall() == []
        assert con.sql(f"SELECT item_id {read} WHERE tile_row = 1 AND octet_length(mask) > 0").fetchall() == []
        assert con.sql(f"SELECT item_id {read}").fetchall() == []
    assert (len(scans[0].plan), scans[0].pixels, scans[0].mask) == (4, True, False)
    assert scans[1].mask
    assert (scans[2].pixels, scans[2].mask) == (False, False)
    assert con.sql(f"SELECT count(pixels) {read} WHERE band_name = 'red'").fetchall() == [(4,)]
