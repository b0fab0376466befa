"""Ctrl-C ends the waits of all threads that began before it, and none that begins after it."""

import subprocess
import sys

import pytest

from rasteret_sql.io.interrupts import Wait

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

#: `wait` waits for ever in a thread, and sets `begun` when it does.
PROGRAM = """
import asyncio, os, signal, threading
from concurrent.futures import ThreadPoolExecutor
from rasteret_sql.io import interrupts, loop

begun, pressed = threading.Event(), threading.Event()

async def never():
    begun.set()
    await asyncio.Event().wait()

async def value():
    return 7

def wait():
    try:
        loop.run(never())
    except Exception as error:
        return str(error)

def press():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait()
    except KeyboardInterrupt:
        pressed.set()

interrupts.watch()
"""


def run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", PROGRAM + program], capture_output=True, text=True, check=False)


def test_it_ends_the_wait_of_another_thread():
    done = run("""
with ThreadPoolExecutor(1) as pool:
    waiting = pool.submit(wait)
    begun.wait()
    press()
    print(waiting.result())
""")
    assert (done.stdout, done.stderr) == ("the read was interrupted before it ended\n", "")


def test_waits_that_begin_after_the_keyboard_interrupt_go_on():
    done = run("""
with ThreadPoolExecutor(1) as pool:
    for _ in range(20):
        press()
        print(loop.run(value()), pool.submit(loop.run, value()).result(), interrupts.presses())
""")
    assert (done.stdout, done.stderr) == ("".join(f"7 7 {number}\n" for number in range(1, 21)), "")


def test_a_wait_that_is_announced_and_has_not_begun_is_ended_when_it_begins():
    ended = []
    wait = Wait()
    wait.end()
    wait.ends_by(lambda: ended.append(True))
    assert ended == [True]


def test_other_handlers_of_the_signal_are_left_alone():
    done = run("""
signal.signal(signal.SIGINT, lambda *_: None)
with ThreadPoolExecutor(1) as pool:
    waiting = pool.submit(wait)
    begun.wait()
    os.kill(os.getpid(), signal.SIGINT)
    print(interrupts.presses(), waiting.done())
    loop.interrupt()
""")
    assert (done.stdout, done.stderr) == ("0 False\n", "")


@pytest.mark.parametrize("code", ["raise KeyboardInterrupt", "interrupts.end_process()"])
def test_a_process_that_ctrl_c_ends_does_not_wait_for_threads_that_are_about_to_read(code):
    done = run(f"""
import time
def late():
    # Python waits for this thread, and it reads only then.
    while not loop._is_refusing:
        time.sleep(0.001)
    wait()
    print("ended", flush=True)

pool = ThreadPoolExecutor(2)
pool.submit(late)
pool.submit(wait)
begun.wait()
{code}
""")
    assert done.stdout == "ended\n"


def test_a_process_that_ends_well_waits_for_threads_that_read():
    done = run("""
def late():
    # Python waits for this thread, and it reads only then.
    threading.main_thread().join()
    print(loop.run(value()), flush=True)

# Python 3.12 starts no thread any more when it ends.
loop.run(value())
threading.Thread(target=late).start()
""")
    assert (done.stdout, done.stderr) == ("7\n", "")


def test_interrupt_is_public_and_ends_the_reads_of_other_threads():
    done = run("""
import rasteret_sql as rs
with ThreadPoolExecutor(1) as pool:
    waiting = pool.submit(wait)
    begun.wait()
    rs.interrupt()
    print(waiting.result(), "-", pool.submit(loop.run, value()).result())
""")
    assert (done.stdout, done.stderr) == ("the read was interrupted before it ended - 7\n", "")


def test_the_first_use_may_come_when_the_process_ends():
    program = """
import atexit

def use():
    import rasteret_sql.io.loop
    print("imported")

atexit.register(use)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("imported\n", "")
