"""Imports go to their end, whatever Ctrl-C does meanwhile."""

import subprocess
import sys

import pytest

#: A module that is interrupted in the middle of its import.
INTERRUPTED = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
sys.caught = threading.Event()
from rasteret_sql.importing import import_whole
try:
    import_whole("interrupted")
except KeyboardInterrupt:
    sys.caught.set()
    print("KeyboardInterrupt", import_whole("interrupted").whole)
"""
#: Imports asyncio, whose import is interrupted once.
ASYNCIO = """
import importlib.abc, sys
class Interrupted(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "asyncio.queues" and self in sys.meta_path:
            sys.meta_path.remove(self)
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
try:
    import asyncio
except KeyboardInterrupt:
    pass
try:
    import asyncio
except NameError as error:
    print(error)
"""


def output(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_import_goes_on_when_ctrl_c_ends_the_wait_for_it(tmp_path):
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, sys\nos.kill(os.getpid(), signal.SIGINT)\nsys.caught.wait()\nwhole = True\n"
    )
    assert output(INTERRUPTED, str(tmp_path)) == "KeyboardInterrupt True\n"


def test_what_an_import_raises_is_raised_to_whoever_asked_for_it(tmp_path):
    (tmp_path / "broken.py").write_text("raise LookupError('broken')\n")
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from rasteret_sql.importing import import_whole
for name in ("broken", "nowhere.at.all"):
    try:
        import_whole(name)
    except (LookupError, ImportError) as error:
        print(type(error).__name__, error)
"""
    assert output(program, str(tmp_path)) == "LookupError broken\nModuleNotFoundError No module named 'nowhere'\n"


def test_asyncio_still_cannot_be_imported_after_an_interrupted_import():
    """Once it can, imports may happen in any thread."""
    assert output(ASYNCIO).endswith("is not defined\n")
