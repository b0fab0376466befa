from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from rasteret_sql.errors import RasteretError
from rasteret_sql.io import loop
from rasteret_sql.io.threads import ThreadPool
from rasteret_sql.testing import RangeServer

from .conftest import CONTENT

ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str, flags: tuple[str, ...] = ("-W", "error")) -> str:
    """Run code in a fresh interpreter that shows every warning; give what it printed, which must be all on stdout.

    Not in development mode, in which asyncio reports whatever takes long on a busy machine.
    """
    done = subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=300,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.strip()


async def value(of):
    return of


def test_run_gives_what_the_coroutine_returns():
    assert loop.run(value(5)) == 5


def test_run_raises_what_the_coroutine_raises():
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.run(fail())


def test_run_works_where_a_loop_is_running_already():
    async def notebook_cell():
        return loop.run(value(5))

    assert asyncio.run(notebook_cell()) == 5


def test_submit_gives_a_future_that_a_coroutine_can_await():
    async def notebook_cell():
        return await asyncio.wrap_future(loop.submit(value(5)))

    assert asyncio.run(notebook_cell()) == 5


def test_cancelling_the_future_cancels_the_coroutine():
    ended = threading.Event()

    async def for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    future = loop.submit(for_ever())
    loop.run(value(None))
    future.cancel()
    ended.wait()
    with pytest.raises(CancelledError):
        future.result()


def test_all_threads_share_one_loop():
    async def which():
        return asyncio.get_running_loop()

    with ThreadPoolExecutor(16) as pool:
        loops = set(pool.map(lambda _: loop.run(which()), range(200)))
    assert len(loops) == 1


def test_first_uses_at_once_start_one_loop():
    printed = python(
        """
        import asyncio, threading
        from rasteret_sql.io import loop
        async def which():
            return asyncio.get_running_loop()
        seen, barrier = [], threading.Barrier(8)
        def use():
            barrier.wait()
            seen.append(loop.run(which()))
        threads = [threading.Thread(target=use) for _ in range(8)]
        [each.start() for each in threads]
        [each.join() for each in threads]
        print(len(set(seen)), sum(each.name == "rasteret-io" for each in threading.enumerate()))
        """
    )
    assert printed == "1 1"


def test_run_on_the_loop_itself_is_refused_and_leaves_no_coroutine_behind():
    async def wrong():
        return loop.run(value(5))

    with pytest.raises(RasteretError, match=r"value: run\(\) was called on the event loop.*await"):
        loop.run(wrong())


def test_an_interrupt_cancels_the_coroutine():
    printed = python(
        """
        import asyncio, linecache, signal, sys, threading
        from rasteret_sql.io import loop
        ended = []
        main = threading.main_thread().ident
        def main_waits():
            # An interrupt on the way into a lock can leave that locked, so the main thread must be there already.
            frame = sys._current_frames()[main]
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            return line == "waiter.acquire()" and any(future._condition._waiters for future in loop._running)
        async def for_ever():
            try:
                while not main_waits():
                    await asyncio.sleep(0)
                signal.pthread_kill(main, signal.SIGINT)
                await asyncio.Event().wait()
            finally:
                ended.append(True)
        async def nothing():
            pass
        try:
            loop.run(for_ever())
        except KeyboardInterrupt:
            loop.run(nothing())
            print("interrupted", ended)
        """
    )
    assert printed == "interrupted [True]"


def test_what_an_error_refers_to_is_freed_with_it():
    class Array:
        pass

    def read():
        array = Array()
        reference = weakref.ref(array)

        async def fail():
            _ = array
            raise ValueError

        with pytest.raises(ValueError):
            loop.run(fail())
        return reference

    gc.disable()
    try:
        reference = read()
        gc.collect()
        assert reference() is None
    finally:
        gc.enable()


def test_after_shutdown_the_next_use_starts_another_loop():
    printed = python(
        """
        import asyncio
        from rasteret_sql.io import loop
        async def which():
            return asyncio.get_running_loop()
        first = loop.run(which())
        loop.shutdown()
        print(first.is_closed(), loop.run(which()) is first)
        """
    )
    assert printed == "True False"


@pytest.fixture
def server(folder):
    with RangeServer(folder) as running:
        yield running


READ = """
import sys
from rasteret_sql.io import loop
from rasteret_sql.io.stores import store_for, warm_up
def read(href, start=0, end=100):
    return loop.run(store_for(href).fetch(href, start, end)).data
"""


class TestEndOfTheInterpreter:
    def test_is_silent_after_reads(self, server, folder):
        code = READ + "print(read(sys.argv[1]) == read(sys.argv[2]))"
        assert python(code, server.url("a.tif"), str(folder / "a.tif")) == "True"

    def test_is_silent_and_quick_while_a_request_is_in_flight(self, folder):
        from rasteret_sql.testing import Fault

        with RangeServer(folder, faults={"b.tif": [Fault("hang")]}) as server:
            code = READ + "read(sys.argv[1]); loop.submit(store_for(sys.argv[2]).fetch(sys.argv[2], 0, 9)); print(1)"
            assert python(code, server.url("a.tif"), server.url("b.tif")) == "1"

    def test_is_silent_while_a_library_is_being_imported(self):
        assert python(READ + "warm_up('http://host/a.tif'); print(1)") == "1"

    def test_is_silent_after_an_error(self, server):
        code = READ + "\ntry:\n    read(sys.argv[1])\nexcept FileNotFoundError:\n    print('none')"
        assert python(code, server.url("nothing.tif")) == "none"

    @pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 starts no thread while it shuts down")
    def test_handlers_at_exit_may_still_read(self, server, folder):
        code = READ + "import atexit\natexit.register(lambda: [print(len(read(each))) for each in sys.argv[1:]])"
        assert python(code, server.url("a.tif"), str(folder / "a.tif")) == "100\n100"


def test_nothing_is_started_or_imported_before_it_is_needed():
    code = """
        import sys, threading
        from rasteret_sql.io.stores import store_for
        store_for("a.tif")
        heavy = {"aiohttp", "obstore", "numpy", "duckdb", "pyarrow", "urllib.request"} & set(sys.modules)
        print(sorted(heavy), threading.active_count())
        """
    assert python(code) == "[] 1"


def test_warming_up_imports_in_the_background():
    code = (
        READ
        + """
warm_up("http://127.0.0.1:9/a.tif")
import threading
print(threading.active_count() > 1)
async def wait():
    await store_for("http://").warm_up()
loop.run(wait())
print("aiohttp" in sys.modules)
"""
    )
    assert python(code) == "True\nTrue"


FORKED = (
    READ
    + """
import os, signal, threading, warnings
warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
def in_child(call, leave):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            print("child", call())
        finally:
            sys.stdout.flush()
            if leave == "_exit":
                os._exit(0)
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
)


class TestFork:
    @pytest.mark.parametrize("leave", ["_exit", "exit"])
    def test_parent_and_child_both_read_on_over_http_and_from_files(self, server, folder, leave):
        code = (
            FORKED
            + """
here, there = sys.argv[1:3]
before = read(here), read(there)
for _ in range(2):
    in_child(lambda: (read(here), read(there)) == before, sys.argv[3])
    print("parent", (read(here), read(there)) == before)
"""
        )
        printed = python(code, server.url("a.tif"), str(folder / "a.tif"), leave)
        assert printed.split("\n") == ["child True", "parent True"] * 2

    def test_a_child_does_not_use_the_connections_of_its_parent(self, server, folder):
        code = (
            FORKED
            + """
url = sys.argv[1]
read(url)
(session,) = store_for(url)._sessions.values()
def is_the_only_one():
    return [each is session for each in store_for(url)._sessions.values()]
in_child(lambda: (len(read(url)), is_the_only_one()), "exit")
read(url)
print(is_the_only_one())
"""
        )
        assert python(code, server.url("a.tif")).split("\n") == ["child (100, [False])", "[True]"]

    def test_connections_of_the_parent_survive_a_child_that_collects_garbage(self, server):
        code = (
            FORKED
            + """
import gc
url = sys.argv[1]
read(url)
in_child(lambda: gc.collect() >= 0, "exit")
print([len(read(url)) for _ in range(3)])
"""
        )
        assert python(code, server.url("a.tif")) == "child True\n[100, 100, 100]"

    def test_forking_while_requests_are_in_flight(self, server, folder):
        code = (
            FORKED
            + """
import asyncio
url = sys.argv[1]
async def many():
    return await asyncio.gather(*(store_for(url).fetch(url, i, i + 900) for i in range(0, 90000, 1500)))
futures = [loop.submit(many()) for _ in range(3)]
in_child(lambda: len(read(url)), "exit")
print(sum(len(future.result()) for future in futures))
"""
        )
        # Not in development mode, where asyncio reports the step that the fork made slow.
        assert python(code, server.url("a.tif"), flags=("-W", "error")) == "child 100\n180"

    def test_forking_while_a_library_is_being_imported(self, server):
        code = FORKED + 'warm_up(sys.argv[1]); in_child(lambda: len(read(sys.argv[1])), "exit")'
        assert python(code, server.url("a.tif")) == "child 100"

    def test_workers_of_multiprocessing_read(self, server, folder):
        code = (
            FORKED
            + """
import multiprocessing
if __name__ == "__main__":
    read(sys.argv[1])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print([len(each) for each in pool.map(read, sys.argv[1:] * 3)])
        pool.close()
        pool.join()
"""
        )
        assert python(code, server.url("a.tif"), str(folder / "a.tif")) == str([100] * 6)


class TestThreadPool:
    def test_starts_no_more_threads_than_it_may_and_no_more_than_it_needs(self):
        pool = ThreadPool(3, "few")

        async def one_after_another():
            return {await pool.run(threading.get_ident) for _ in range(20)}

        async def at_once():
            barrier = threading.Barrier(3)
            return await asyncio.gather(*(pool.run(barrier.wait) for _ in range(3)))

        assert len(loop.run(one_after_another())) <= 2
        assert sorted(loop.run(at_once())) == [0, 1, 2]
        assert pool._started == 3
        pool.close()

    def test_passes_on_errors_of_the_call(self):
        pool = ThreadPool(1, "one")
        with pytest.raises(ZeroDivisionError):
            loop.run(pool.run(lambda: 1 // 0))
        pool.close()

    def test_a_cancelled_wait_does_not_disturb_the_next(self):
        pool = ThreadPool(1, "one")
        gate = threading.Event()

        async def cancelled():
            task = asyncio.create_task(pool.run(gate.wait))
            await asyncio.sleep(0)
            task.cancel()
            gate.set()
            return await pool.run(lambda: 5)

        assert loop.run(cancelled()) == 5
        pool.close()


def test_reading_from_many_threads_gives_each_its_own_bytes(server, folder):
    from rasteret_sql.io.stores import store_for

    hrefs = [server.url("a.tif"), str(folder / "a.tif")]

    def read(start):
        href = hrefs[start % 2]
        return loop.run(store_for(href).fetch(href, start, start + 50)).data == CONTENT[start : start + 50]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(read, range(500)))
    loop.run(store_for(hrefs[0]).aclose())
    assert os.getpid() == store_for(hrefs[0])._owner[0]
