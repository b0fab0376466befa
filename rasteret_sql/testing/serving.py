"""The serving half of `RangeServer`: non-blocking sockets on an event loop, and sendfile for the bytes."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import os
import re
import socket
import stat
import struct
import threading
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from http.client import responses
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rasteret_sql.testing.faults import Fault, Request

if TYPE_CHECKING:
    from collections import deque
    from pathlib import Path

_REQUEST_LINE = re.compile(r"([A-Z]+) (\S+) HTTP/1\.[01]")
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
_TLS_HANDSHAKE = 0x16
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MAX_HEAD_BYTES = 65_536
_CONTENT_TYPES = {
    ".geojson": "application/geo+json",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain; charset=utf-8",
    ".xml": "application/xml",
}


@dataclass
class _Asked:
    """A request as it came in; `end` is exclusive."""

    method: str
    path: str
    headers: dict[str, str]
    has_range: bool = False
    start: int | None = None
    end: int | None = None


@dataclass
class _Answer:
    """An answer as it goes out: `body` or, where it is None, `length` bytes of the file from `start` on."""

    status: int
    headers: dict[str, str]
    body: bytes | None = b""
    start: int = 0
    length: int = 0

    @property
    def nbytes(self) -> int:
        return self.length if self.body is None else len(self.body)


class _ConnectionEndsError(Exception):
    """A fault has ended this connection."""


class Serving:
    """One listening socket and its connections; `run` serves until `stop`, on an event loop of its own."""

    def __init__(
        self, root: Path, latency_s: float, faults: dict[str, deque[Fault | None]], recorded: list[Request]
    ) -> None:
        self.faults = faults
        self._root = root
        self._latency_s = latency_s
        self._recorded = recorded
        self._is_open = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._socket.setblocking(False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until `stop` is called."""
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve())

    def wait_until_open(self) -> int:
        """Wait for the listening socket; gives its port."""
        self._is_open.wait()
        port: int = self._socket.getsockname()[1]
        return port

    def stop(self) -> None:
        """End `run`, from any thread."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # Not `sock_accept`: cancelled at the wrong moment, it leaves the connection it has accepted to nobody.
        loop.add_reader(self._socket, self._accept)
        self._is_open.set()
        await self._stop.wait()
        loop.remove_reader(self._socket)
        self._socket.close()
        # The runner cancels the connections, and each closes its socket.

    def _accept(self) -> None:
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client has gone again
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.create_task(self._talk(accepted))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # A task that is cancelled before its first step closes nothing.
        task.add_done_callback(partial(_close, accepted))

    async def _talk(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        waiting = b""
        with connection, contextlib.suppress(ConnectionError, _ConnectionEndsError):
            while True:
                while b"\r\n\r\n" not in waiting:
                    received = await loop.sock_recv(connection, _MAX_HEAD_BYTES)
                    if not received or len(waiting) > _MAX_HEAD_BYTES:
                        return
                    waiting += received
                    if waiting[0] == _TLS_HANDSHAKE:
                        await loop.sock_sendall(connection, _BAD_REQUEST)
                        return
                head, _, waiting = waiting.partition(b"\r\n\r\n")
                asked = _parse(head.decode("latin-1"))
                if asked is None:
                    await loop.sock_sendall(connection, _BAD_REQUEST)
                    return
                await self._respond(connection, asked)
                if asked.headers.get("connection", "").lower() == "close":
                    return

    async def _respond(self, connection: socket.socket, asked: _Asked) -> None:
        if self._latency_s:
            await self._delay()
        fault = self._next_fault(asked.path)
        descriptor = self._open(asked.path)
        try:
            answer = _answer(asked, descriptor, fault)
            sending = _Sending(connection, asked, answer, descriptor)
            # Before the first byte: whoever has the answer must find its request recorded.
            record = Request(
                asked.method,
                asked.path,
                asked.start,
                asked.end,
                status=answer.status if sending.has_head(fault) else 0,
                nbytes_sent=sending.planned_nbytes(fault),
                headers=asked.headers,
            )
            self._recorded.append(record)
            try:
                await sending.send(fault)
            finally:
                if sending.nbytes != record.nbytes_sent:
                    self._correct(record, sending.nbytes)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    async def _delay(self) -> None:
        await asyncio.sleep(self._latency_s)

    def _correct(self, record: Request, nbytes_sent: int) -> None:
        """Say of a recorded request that the other side left before all of its answer was sent."""
        for place, each in enumerate(self._recorded):
            if each is record:
                self._recorded[place] = replace(record, nbytes_sent=nbytes_sent)

    def _next_fault(self, path: str) -> Fault | None:
        for key in (path, "*"):
            listed = self.faults.get(key)
            if listed:
                return listed.popleft()
        return None

    def _open(self, path: str) -> int | None:
        full = os.path.realpath(self._root / path)
        if not full.startswith(os.path.join(self._root, "")):  # noqa: PTH118 - a prefix that ends in a slash
            return None
        with contextlib.suppress(OSError, ValueError):
            descriptor = os.open(full, os.O_RDONLY | os.O_CLOEXEC)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
        return None


class _Sending:
    """Sends one answer, as right or wrong as its fault says; `nbytes` of its body went out so far."""

    def __init__(self, connection: socket.socket, asked: _Asked, answer: _Answer, descriptor: int | None) -> None:
        self.nbytes = 0
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._answer = answer
        self._descriptor = descriptor
        self._has_body = asked.method != "HEAD"

    def has_head(self, fault: Fault | None) -> bool:
        """False for a fault that lets the client wait for an answer in vain."""
        return fault is None or not (fault.kind == "close" or (fault.kind == "hang" and fault.count is None))

    def planned_nbytes(self, fault: Fault | None) -> int:
        """Give the bytes of the body that are sent to a client that takes them all."""
        if not self._has_body or not self.has_head(fault):
            return 0
        if fault is not None and fault.kind in {"hang", "reset", "truncate"}:
            return min(fault.count or 0, self._answer.nbytes)
        return self._answer.nbytes

    async def send(self, fault: Fault | None) -> None:
        """Send the answer; ends the connection where the fault says so."""
        kind = None if fault is None else fault.kind
        if self.has_head(fault):
            self._send_head()
        if fault is None or kind not in {"close", "drip", "hang", "reset", "truncate"}:
            await self._send_body(0, self._answer.nbytes)
            return
        if kind == "drip":
            step = max(1, fault.count or 1)
            for start in range(0, self._answer.nbytes, step):
                await self._send_body(start, min(start + step, self._answer.nbytes))
                await asyncio.sleep(fault.delay_s)
            return
        await self._send_body(0, self.planned_nbytes(fault))
        if kind == "hang":
            await asyncio.Event().wait()
        if kind == "reset":
            # Closing a socket that must not linger sends a reset instead of an orderly end.
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _ConnectionEndsError

    def _send_head(self) -> None:
        answer = self._answer
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [f"Content-Length: {answer.nbytes}", "", ""]
        # MSG_MORE joins head and body in one segment.
        more = socket.MSG_MORE if self._has_body and answer.nbytes and hasattr(socket, "MSG_MORE") else 0
        head = "\r\n".join(lines).encode("latin-1")
        if self._connection.send(head, more) != len(head):
            raise ConnectionError

    async def _send_body(self, start: int, end: int) -> None:
        if not self._has_body or start >= end:
            return
        if self._answer.body is not None:
            await self._loop.sock_sendall(self._connection, memoryview(self._answer.body)[start:end])
        else:
            assert self._descriptor is not None
            offset = self._answer.start + start
            with io.FileIO(self._descriptor, closefd=False) as file:
                try:
                    await self._loop.sock_sendfile(self._connection, file, offset, end - start)
                except BaseException:
                    # asyncio leaves the file where it stopped.
                    self.nbytes += max(0, file.tell() - offset)
                    raise
        self.nbytes += end - start


def _close(connection: socket.socket, _: asyncio.Task[None]) -> None:
    connection.close()


def _parse(head: str) -> _Asked | None:
    """Read the head of a request, or give None where it is none."""
    first, *lines = head.split("\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None or not all(":" in line for line in lines):
        return None
    method, target = match.groups()
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    asked = _Asked(method, unquote(target.partition("?")[0]).lstrip("/"), headers)
    match = _RANGE.fullmatch(headers.get("range", ""))
    if match is not None and any(match.groups()):
        asked.has_range = True
        asked.start = int(match[1]) if match[1] else None
        asked.end = int(match[2]) + 1 if match[2] else None
    return asked


def _answer(asked: _Asked, descriptor: int | None, fault: Fault | None) -> _Answer:
    kind = None if fault is None else fault.kind
    if fault is not None and kind == "status":
        retry_after = {} if fault.value is None else {"Retry-After": fault.value}
        return _Answer(fault.status or 503, retry_after, b"scripted fault\n")
    if fault is not None and kind == "redirect":
        return _Answer(fault.status or 302, {"Location": fault.value or ""})
    if asked.method not in {"GET", "HEAD"}:
        return _Answer(405, {"Allow": "GET, HEAD"})
    if descriptor is None:
        return _Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"not found\n")
    answer = _file_answer(asked, descriptor, fault)
    if answer.status in {200, 206} and fault is not None:
        _spoil(answer, descriptor, fault)
    return answer


def _file_answer(asked: _Asked, descriptor: int, fault: Fault | None) -> _Answer:
    kind = None if fault is None else fault.kind
    info = os.fstat(descriptor)
    size = info.st_size
    suffix = PurePosixPath(asked.path).suffix.lower()
    etag: str | None = f'"{size:x}-{info.st_mtime_ns:x}"'
    if fault is not None and kind == "etag":
        etag = fault.value
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": _CONTENT_TYPES.get(suffix, "application/octet-stream"),
        "Last-Modified": formatdate(info.st_mtime, usegmt=True),
    }
    if etag is not None:
        headers["ETag"] = etag
    wanted = asked.headers.get("if-match")
    ignores_if_match = wanted is None or wanted == "*" or kind == "etag"
    # RFC 9110, section 13.1.1: the comparison is strong, so a weak ETag never matches.
    if not ignores_if_match and etag not in [each.strip() for each in (wanted or "").split(",")]:
        return _Answer(412, headers)
    if not asked.has_range or kind == "ignore_range":
        return _Answer(200, headers, None, 0, size)
    if asked.start is None:
        start, end = max(0, size - ((asked.end or 1) - 1)), size
    else:
        start, end = asked.start, min(size, size if asked.end is None else asked.end)
    if start >= end:
        return _Answer(416, {**headers, "Content-Range": f"bytes */{size}"})
    if fault is not None and kind == "other_range":
        start, end = start + (fault.count or 0), end + (fault.count or 0)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return _Answer(206, headers, None, start, end - start)


def _spoil(answer: _Answer, descriptor: int, fault: Fault) -> None:
    if fault.kind == "gzip":
        answer.body = gzip.compress(os.pread(descriptor, answer.length, answer.start))
        answer.headers["Content-Encoding"] = "gzip"
    elif fault.kind == "short":
        answer.length = max(0, answer.length - (fault.count or 0))
    elif fault.kind == "content_range":
        answer.headers.pop("Content-Range", None)
        if fault.value is not None:
            answer.headers["Content-Range"] = fault.value
