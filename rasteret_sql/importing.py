"""Imports that Ctrl-C cannot leave half done.

A module whose import ends with KeyboardInterrupt is imported anew by the next attempt, but the modules that it had
imported by then stay. Some libraries cannot be imported that way: asyncio then ends with a NameError, and NumPy refuses
to be loaded twice. Python delivers signals to its main thread only, so other threads import to the end.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def import_whole(name: str) -> ModuleType:
    """Import a module and all that it imports, to the end, also where Ctrl-C ends the wait for it.

    Args:
        name: absolute. Its import must not wait for a module that the calling thread is importing.
    """
    if name in sys.modules or threading.current_thread() is not threading.main_thread():
        return import_module(name)
    failed: list[BaseException] = []

    def load() -> None:
        try:
            import_module(name)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=load, name="rasteret-import")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return sys.modules[name]
