"""The end of a process while threads are left: of obstore, which has just delivered an answer, or of an executor."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import thread as executors

import pytest

pytest.importorskip("obstore")

#: Reads once, and ends while the thread of obstore that delivered the answer stands in Python. `inside` says that it does,
#: and it goes on when `gate` is released.
PROGRAM = """
import asyncio.selector_events, sys, threading, time
import obstore, obstore.store
from rasteret_sql.io import foreign_threads, loop

inside, gate = threading.Lock(), threading.Lock()
inside.acquire()
gate.acquire()
wake = asyncio.selector_events.BaseSelectorEventLoop._write_to_self

def wake_and_stay(self):
    wake(self)
    if threading.get_ident() not in threading._active:
        inside.release()
        gate.acquire()

class LastOfAll:
    # Runs when the interpreter finalises and clears the module `sys`.
    def __init__(self):
        self.release, self.sleep = gate.release, time.sleep
    def __del__(self):
        self.release()
        # The thread now asks for the GIL. If that does not end the process, this does.
        self.sleep(60)

async def read():
    memory = obstore.store.MemoryStore()
    memory.put("a.tif", b"0123456789")
    asyncio.selector_events.BaseSelectorEventLoop._write_to_self = wake_and_stay
    return await obstore.get_range_async(memory, "a.tif", start=0, end=5)
"""
READ = """
print(bytes(loop.run(read())), inside.acquire(timeout=60), flush=True)
"""


def end_of(program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_the_end_of_a_process_waits_for_the_thread_that_delivered_an_answer():
    waiting = """
sleep, slept = time.sleep, []

def let_go(seconds):
    # The end of the interpreter looks, and finds the thread.
    if not slept:
        gate.release()
    slept.append(seconds)
    sleep(seconds)

foreign_threads.time.sleep = let_go
"""
    ended = end_of(PROGRAM + waiting + READ)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "b'01234' True\n", "")


@pytest.mark.skipif(sys.version_info >= (3, 14) or sys.platform == "win32", reason="such threads hang there")
def test_without_waiting_the_process_aborts():
    """CPython below 3.14 still ends threads that ask for the GIL, and obstore still dies of it: the wait is needed."""
    ended = end_of(PROGRAM + READ + "foreign_threads.wait_until_out = lambda: None\nsys.last_of_all = LastOfAll()\n")
    assert (ended.returncode, ended.stdout) == (-signal.SIGABRT, "b'01234' True\n"), ended.stderr


def test_a_thread_that_stays_is_not_waited_for_without_end():
    short = "foreign_threads.LIMIT_S = 0.01\n"
    ended = end_of(PROGRAM + short + READ)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "b'01234' True\n", "")


#: Ctrl-C comes when `submit` has started a thread, and before it notes the thread.
PRESS = """
import threading
from concurrent.futures import ThreadPoolExecutor

def start_and_press(self):
    start(self)
    raise KeyboardInterrupt

start, threading.Thread.start = threading.Thread.start, start_and_press
pool = ThreadPoolExecutor(1)
try:
    pool.submit(print, "done", flush=True)
except KeyboardInterrupt:
    threading.Thread.start = start
"""


def test_a_thread_of_an_executor_that_nobody_noted_ends_with_the_process():
    ended = end_of("import rasteret_sql.io.loop\n" + PRESS)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_executors_still_note_a_thread_after_its_start(monkeypatch):
    """Once this fails, `note_threads_of_executors` can go."""
    start = threading.Thread.start

    def start_and_press(thread):
        start(thread)
        raise KeyboardInterrupt

    pool = ThreadPoolExecutor(1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_and_press)
        with pytest.raises(KeyboardInterrupt):
            pool.submit(int)
    (thread,) = (each for each in threading.enumerate() if getattr(each, "_args", ())[1:2] == (pool._work_queue,))
    assert thread not in executors._threads_queues
    pool.shutdown(wait=False)
    thread.join()
