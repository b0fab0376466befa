"""Object stores in a process of their own, for a process in which obstore cannot work.

A child that was forked from a process that used obstore has its state, but none of its threads: obstore would wait for
ever. So the child starts a fresh interpreter, sends it the ranges that it wants over a socket, and gets the bytes, or
the error that a store would have raised. Both ends are of one version, and nobody else has the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pickle
import signal
import socket
import struct
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rasteret_sql.errors import RasteretError, TransportError
from rasteret_sql.io import fork
from rasteret_sql.io.options import get_options, names, options_of_call
from rasteret_sql.io.store import RangeResponse
from rasteret_sql.io.threads import ThreadPool

if TYPE_CHECKING:
    from rasteret_sql.io.asked import Asked
    from rasteret_sql.io.options import Options

#: Bytes that a socket holds before the other side has to wait.
_BUFFER_BYTES: Final = 1 << 22
#: How long the end of a process is waited for, once its socket is closed.
_END_S: Final = 5.0
#: A message is these two lengths, a pickle, and bytes of a file.
_LENGTHS: Final = struct.Struct("<QQ")
_START: Final = "import sys; sys.path[:] = {path!r}; from rasteret_sql.io.object_process import main; main({fd})"


class ObjectProcess:
    """Fetches ranges through another process, which starts with the first fetch and ends with `aclose`."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[RangeResponse]] = {}
        self._numbers = itertools.count()
        self._lock = asyncio.Lock()

    async def fetch(self, asked: Asked) -> RangeResponse:
        """Fetch a range; see `RangeStore.fetch`.

        Raises:
            RasteretError: the error of the store, or the other process could not be started, or ended.
        """
        async with self._lock:
            if self._writer is None:
                await self._start(asked)
        assert self._writer is not None
        number = next(self._numbers)
        answer: asyncio.Future[RangeResponse] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            _send(self._writer, (number, get_options(), asked))
            # Where the process has ended, the answer says so.
            with contextlib.suppress(OSError):
                await self._writer.drain()
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def aclose(self) -> None:
        """End the process; the next fetch starts another one."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        if self._answers is not None:
            await asyncio.gather(self._answers, return_exceptions=True)

    async def _start(self, asked: Asked) -> None:
        ours, theirs = socket.socketpair()
        code = _START.format(path=sys.path, fd=theirs.fileno())
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - it takes a millisecond, and runs our own code
                    [sys.executable, "-c", code],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        except OSError as error:
            ours.close()
            raise TransportError(
                f"{asked}: this process was forked from one that had read from object stores, so {sys.executable} was "
                f'to read in its place, and could not be started ({error}). Start the processes by "spawn" or '
                '"forkserver" instead'
            ) from error
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=_BUFFER_BYTES)
        fork.pin_in_child(self._process)
        fork.pin_in_child(self._writer.transport)
        self._answers = asyncio.create_task(self._receive(reader, self._writer, self._process, str(asked)))

    async def _receive(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, process: subprocess.Popen[bytes], first: str
    ) -> None:
        """Hand answers to those who wait, until the process ends."""
        try:
            while (message := await _received(reader)) is not None:
                (number, found), data = message
                answer = self._waiting.get(number)
                if answer is None or answer.done():
                    continue
                if isinstance(found, Exception):
                    answer.set_exception(found)
                else:
                    answer.set_result(RangeResponse(data=data, **found))
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(_ended(first))
            # It ends by itself when its socket is closed.
            pool = ThreadPool(1, "rasteret-reap")
            await pool.run(partial(_reap, process))
            pool.close()


def main(fd: int) -> None:
    """Answer requests that come over a socket, until it is closed."""
    # Ctrl-C reaches all processes of a terminal. This one ends with the one that started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(socket.socket(fileno=fd)))


async def _serve(sock: socket.socket) -> None:
    from rasteret_sql.io.objects import ObjectStore

    reader, writer = await asyncio.open_connection(sock=sock, limit=_BUFFER_BYTES)
    store = ObjectStore()
    tasks: set[asyncio.Task[None]] = set()

    async def answer(number: int, options: Options, asked: Asked) -> None:
        try:
            with options_of_call({name: getattr(options, name) for name in names()}):
                response = await store.fetch(asked.href, asked.start, asked.end, identity=asked.identity)
        except RasteretError as error:
            _send(writer, (number, error))
        else:
            facts = {name: getattr(response, name) for name in ("start", "file_size", "etag", "last_modified")}
            _send(writer, (number, facts), response.data)
        await writer.drain()

    while (message := await _received(reader)) is not None:
        task = asyncio.create_task(answer(*message[0]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()


def _send(writer: asyncio.StreamWriter, message: Any, data: bytes = b"") -> None:
    """Write a message as a whole: nothing comes between its parts, since nothing is awaited."""
    packed = pickle.dumps(message)
    writer.write(_LENGTHS.pack(len(packed), len(data)) + packed)
    writer.write(data)


async def _received(reader: asyncio.StreamReader) -> tuple[Any, bytes] | None:
    """Read a message; None where the other side has ended."""
    try:
        length, data_length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        message = pickle.loads(await reader.readexactly(length))  # noqa: S301 - of our own process
        return message, await reader.readexactly(data_length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _ended(what: object) -> TransportError:
    return TransportError(f"{what}: the process that reads from object stores for this one has ended; try again")


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
