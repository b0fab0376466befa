"""What a forked child has of the package: locks that are free, and loops, pools and connections of its own."""

import asyncio
import concurrent.futures
import importlib
import multiprocessing
import os
import pkgutil
import sys
import threading
import time
import warnings

import pytest

import rasteret_sql
from rasteret_sql.io import fork
from rasteret_sql.io.threads import ThreadPool

warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)

#: Modules that need what is not installed everywhere.
OPTIONAL = ("rasteret_sql.integrations", "rasteret_sql.training", "rasteret_sql.output", "rasteret_sql.testing")
INHERITED = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Condition,
    threading.Semaphore,
    concurrent.futures.Executor,
    asyncio.AbstractEventLoop,
    ThreadPool,
)
#: What is no state of a module that a child could find locked: the lock that a fork itself holds.
EXEMPT = {("rasteret_sql.io.fork", "no_fork")}


def child_exits_with(action):
    """Run an action in a forked child, and give its exit code; None where it hangs."""
    child = multiprocessing.get_context("fork").Process(target=action)
    child.start()
    child.join(30)
    if child.exitcode is None:
        child.kill()
        child.join()
        return None
    return child.exitcode


def held(value):
    """Give a value of a module and what it holds, if it is a container."""
    yield value
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, set, tuple)):
        yield from value


def test_modules_hold_no_lock_loop_or_pool_of_their_own():
    """A lock of a module is a `fork.Lock`, and a loop or pool a `fork.PerProcess`: both are renewed in a child."""
    for found in pkgutil.walk_packages(rasteret_sql.__path__, "rasteret_sql."):
        try:
            importlib.import_module(found.name)
        except (ImportError, RuntimeError):
            # Of torchvision, where its operators are not there, a RuntimeError.
            assert found.name.startswith(OPTIONAL), found.name
    unregistered = [
        (name, attribute)
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] == "rasteret_sql"
        for attribute, value in vars(module).items()
        if any(isinstance(each, INHERITED) and not isinstance(each, fork.Lock) for each in held(value))
        and (name, attribute) not in EXEMPT
    ]
    assert unregistered == []


def test_a_lock_that_another_thread_holds_is_free_in_the_child():
    lock = fork.Lock()
    holds, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            holds.set()
            done.wait()

    def take():
        with lock:
            os._exit(3)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait()
    try:
        assert child_exits_with(take) == 3
    finally:
        done.set()
        thread.join()


def test_a_process_that_forks_while_it_holds_a_lock_releases_it_on_both_sides():
    lock = fork.Lock()
    with lock:
        pid = os.fork()
        if pid == 0:
            with lock:
                pass
    if pid == 0:
        with lock:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    with lock:
        pass


def test_each_process_makes_its_own():
    made = fork.PerProcess(os.getpid)
    assert made.get() == os.getpid() == made.get()

    def look():
        os._exit(5 if made.get() == os.getpid() else 6)

    assert child_exits_with(look) == 5
    assert made.get() == os.getpid()


def test_a_fork_waits_for_an_import_of_another_thread(tmp_path, monkeypatch):
    """The lock of a module that is being imported would stay locked in the child."""
    (tmp_path / "slow_to_import.py").write_text(
        "import started\nstarted.event.set()\nimport time\ntime.sleep(0.5)\nVALUE = 7\n"
    )
    (tmp_path / "started.py").write_text("import threading\nevent = threading.Event()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    started = importlib.import_module("started")

    def load():
        importlib.import_module("slow_to_import")

    def use():
        os._exit(importlib.import_module("slow_to_import").VALUE)

    thread = threading.Thread(target=load)
    thread.start()
    started.event.wait()
    assert child_exits_with(use) == 7
    thread.join()


@pytest.mark.parametrize("what", ["connect", "cursor"])
def test_a_child_connects_whatever_the_parent_was_doing(what):
    con = rasteret_sql.connect()
    end = threading.Event()

    def work():
        while not end.is_set():
            (con.cursor() if what == "cursor" else rasteret_sql.connect()).close()

    def open_one():
        rasteret_sql.connect().close()
        os._exit(0)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        codes = []
        for _ in range(3):
            time.sleep(0.05)
            codes.append(child_exits_with(open_one))
    finally:
        end.set()
        thread.join()
        con.close()
    assert codes == [0, 0, 0]
