"""Started once, imports what commands import, then forks a process for each request; see `warm.py`.

Each process is forked by a keeper of its own, which waits for it and tells its exit status.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import importlib.util
import json
import os
import runpy
import signal
import socket
import sys
import warnings


def serve(requests: socket.socket) -> dict | None:
    """Give a request in the process that is to run it, and None in the server, when nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the tests
    while True:
        _reap()
        message, files, _, _ = socket.recv_fds(requests, 1, 4)
        if not message:
            return None
        if _fork() == 0:
            requests.close()
            return _keep(files)
        for file in files:
            os.close(file)


def _fork() -> int:
    """Fork; Python 3.12 warns of threads, which libraries have that let themselves be forked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _reap() -> None:
    """Take note of keepers that have ended, so that what they used counts as used by the server."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _keep(files: list[int]) -> dict:
    *streams, control_file = files
    control = socket.socket(fileno=control_file)
    with control.makefile("r", encoding="utf-8") as lines:
        request = json.loads(lines.readline())
    process = _fork()
    if process == 0:
        control.close()
        _become(request, streams)
        return request
    for file in {0, 1, 2, *streams}:
        os.close(file)
    control.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    control.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: dict, streams: list[int]) -> None:
    """Give this process what a new interpreter begins with: streams, folder, environment, signals."""
    for number, file in enumerate(streams):
        os.dup2(file, number)
    for file in set(streams) - {0, 1, 2}:
        os.close(file)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    encoding = sys.stdout.encoding
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    shown = open(2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = shown
    faulthandler.enable()


def run(request: dict) -> None:
    """Do what `python` does with these arguments."""
    kind, what, *arguments = request["arguments"]
    sys.argv = [kind, *arguments]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


def main() -> None:
    """Serve at the socket whose number is the first argument; the others are libraries to import."""
    _, number, *libraries = sys.argv
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these are libraries' own
        for library in libraries:
            if importlib.util.find_spec(library.partition(".")[0]) is not None:
                importlib.import_module(library)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(number)) as requests:
        request = serve(requests)
    if request is not None:
        run(request)


if __name__ == "__main__":
    main()
