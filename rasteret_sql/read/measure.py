"""Measures reads: how fast a store answers, how fast tiles are decoded, and what a read's time goes into."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from rasteret_sql.io import loop
from rasteret_sql.io.identity import UNKNOWN, FileIdentity
from rasteret_sql.io.machine import decode_threads
from rasteret_sql.io.stores import store_for
from rasteret_sql.plan.requests import Request, plan_requests
from rasteret_sql.read.engine import ReadOptions, run_all
from rasteret_sql.read.tiles import TileReader
from rasteret_sql.tiff.names import compression_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from rasteret_sql.io.store import RangeResponse, RangeStore
    from rasteret_sql.plan.requests import Encoded, Piece
    from rasteret_sql.plan.tile_plan import TilePlan

Spans: TypeAlias = "list[tuple[float, float]]"
"""When things began and ended, in seconds."""

#: Tiles along a side of what is read of a file at once, as an area of interest would.
WINDOW_TILES: Final = 4
#: What a moment of a read is: the first of these that holds.
PHASES: Final = ("starting", "waiting", "receiving", "both", "decoding", "idle")


@dataclass(frozen=True, slots=True)
class Sweep:
    """Requests to a store, so many at a time.

    Attributes:
        in_flight: how many at a time.
        latencies_s: from asking for a range to its last byte, of each.
        nbytes: fetched by all.
        seconds: for all.
    """

    in_flight: int
    latencies_s: tuple[float, ...]
    nbytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Decoding:
    """What decoding the tiles of one codec took.

    Attributes:
        codec: compression and dtype, such as "deflate uint16".
        tiles: how many.
        encoded_bytes, pixel_bytes: before and after.
        thread_seconds: of all threads.
    """

    codec: str
    tiles: int
    encoded_bytes: int
    pixel_bytes: int
    thread_seconds: float


@dataclass(frozen=True, slots=True)
class MeasuredRead:
    """A read of tiles, fetched and decoded as all reads are, and what its time went into.

    Attributes:
        tiles, requests, encoded_bytes, pixel_bytes: what it read.
        seconds: from its start to its end.
        phases: seconds by the names of `PHASES`: before the first request is sent; while requests wait for their first
            byte, or bytes arrive, and nothing is decoded; while both goes on; while tiles are decoded and no request is
            in flight; the rest.
        decodings: by codec.
        threads: that decode.
        spans: when each fetch and each decoding of a tile began and ended, from its start on.
    """

    tiles: int
    requests: int
    encoded_bytes: int
    pixel_bytes: int
    seconds: float
    phases: dict[str, float]
    decodings: tuple[Decoding, ...]
    threads: int
    spans: tuple[Spans, Spans]

    def told_apart(self, first_byte_s: float) -> MeasuredRead:
        """Tell waiting from receiving by how long the store takes to answer."""
        return replace(self, phases=_phases(self.seconds, *self.spans, first_byte_s))


def sample_windows(plan: TilePlan, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Go through windows of `WINDOW_TILES` tiles in files of a plan, in an order that is random and always the same.

    Yields:
        Rows of the plan that have bytes; of each file once, then once more, for ever.
    """
    generator = np.random.default_rng(seed)
    with_bytes = np.flatnonzero(plan.tile_byte_count > 0)
    order = with_bytes[np.argsort(plan.asset_no[with_bytes], kind="stable")]
    starts = np.flatnonzero(np.diff(plan.asset_no[order], prepend=-1))
    files = np.split(order, starts[1:])
    while len(order):
        for number in generator.permutation(len(files)).tolist():
            rows = files[number]
            anchor = rows[generator.integers(len(rows))]
            down = plan.tile_row[rows] - plan.tile_row[anchor]
            across = plan.tile_col[rows] - plan.tile_col[anchor]
            yield rows[(down >= 0) & (down < WINDOW_TILES) & (across >= 0) & (across < WINDOW_TILES)]


def cut(requests: Sequence[Request], nbytes: int, max_bytes: float) -> list[Request]:
    """Cut requests into ranges of one length, which are requests without tiles.

    Args:
        requests: what is cut; what is left at their ends is dropped, but for those that are shorter.
        nbytes: length of a range.
        max_bytes: of all of them; at least one is given.
    """
    ranges: list[Request] = []
    for request in requests:
        for start in range(request.start, max(request.end - nbytes, request.start) + 1, nbytes):
            if ranges and (len(ranges) + 1) * nbytes > max_bytes:
                return ranges
            ranges.append(Request(request.address, request.identity, start, min(start + nbytes, request.end), ()))
    return ranges


def probe(requests: Sequence[Request], seconds: float) -> list[float]:
    """Ask for the first byte of each of some ranges, one at a time, for at most so long; give the seconds each took.

    Raises:
        RasteretError: a request failed.
    """

    async def ask() -> list[float]:
        took: list[float] = []
        end = time.perf_counter() + seconds
        for request in requests:
            began = time.perf_counter()
            if began > end:
                break
            await store_for(request.address).fetch(
                request.address, request.start, request.start + 1, identity=request.identity
            )
            took.append(time.perf_counter() - began)
        return took

    return loop.run(ask())


def sweep(requests: Sequence[Request], in_flight: int, seconds: float) -> Sweep:
    """Fetch ranges, so many at a time, until there are no more or so much time has passed; nothing is decoded.

    Raises:
        RasteretError: a request failed.
    """

    async def work() -> Sweep:
        waiting = iter(requests)
        took: list[float] = []
        nbytes = 0
        began = time.perf_counter()

        async def one_after_the_other() -> None:
            nonlocal nbytes
            for request in waiting:
                asked = time.perf_counter()
                if asked - began > seconds:
                    return
                response = await store_for(request.address).fetch(
                    request.address, request.start, request.end, identity=request.identity
                )
                took.append(time.perf_counter() - asked)
                nbytes += len(response.data)

        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(one_after_the_other())
        return Sweep(in_flight, tuple(took), nbytes, time.perf_counter() - began)

    try:
        return loop.run(work())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group


def measured_read(plan: TilePlan, first_byte_s: float) -> MeasuredRead:
    """Read the tiles of a plan, and take the time of everything.

    Args:
        plan: the tiles.
        first_byte_s: how long the store takes to answer, by which waiting is told from receiving.

    Raises:
        RasteretError: a tile could not be fetched or decoded.
    """
    requests = plan_requests(plan, pixels=True, mask=True)
    times = _Times(plan)

    async def read() -> None:
        await run_all(requests, times.handle, ReadOptions(), store_of=times.store_of)

    began = time.perf_counter()
    loop.run(read())
    ended = time.perf_counter()
    decodings = tuple(
        Decoding(codec, len(parts), *(sum(column) for column in list(zip(*parts, strict=True))))
        for codec, parts in sorted(times.decoded.items())
    )
    fetches, decodes = (
        [(start - began, end - began) for start, end in each] for each in (times.fetches, times.decodes)
    )
    spans = fetches, decodes
    return MeasuredRead(
        tiles=sum(len(request.pieces) for request in requests),
        requests=len(requests),
        encoded_bytes=sum(request.nbytes for request in requests),
        pixel_bytes=sum(each.pixel_bytes for each in decodings),
        seconds=ended - began,
        phases=_phases(ended - began, *spans, first_byte_s),
        decodings=decodings,
        threads=decode_threads(),
        spans=spans,
    )


@dataclass(slots=True)
class _Times:
    """Takes the times of a read: of each fetch and of each tile that is decoded."""

    plan: TilePlan
    fetches: list[tuple[float, float]] = field(default_factory=list)
    decodes: list[tuple[float, float]] = field(default_factory=list)
    #: Encoded bytes, bytes of pixels, and seconds, by codec.
    decoded: dict[str, list[tuple[int, int, float]]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _readers: list[TileReader] = field(default_factory=list)

    def store_of(self, address: str) -> _TimedStore:
        """Give a store that says how long it took."""
        return _TimedStore(store_for(address), self.fetches)

    def handle(self, piece: Piece, encoded: Encoded) -> None:
        """Decode a tile."""
        with self._lock:
            if not self._readers:
                self._readers.append(TileReader(self.plan))
        asset = self.plan.assets[piece.asset_no]
        layout = asset.format
        began = time.perf_counter()
        if piece.kind == "image":
            decoded = self._readers[0].image(piece.rows[0], encoded)
        else:
            assert piece.mask_tile is not None
            layout = asset.mask_format or asset.format
            decoded = self._readers[0].mask_tile(asset, piece.mask_tile, encoded)
        ended = time.perf_counter()
        codec = f"{compression_name(layout.compression)} {layout.dtype}"
        with self._lock:
            self.decodes.append((began, ended))
            self.decoded[codec].append((piece.nbytes, decoded.nbytes, ended - began))


@dataclass(slots=True)
class _TimedStore:
    """A store, and when its fetches began and ended."""

    store: RangeStore
    times: list[tuple[float, float]]

    async def fetch(self, href: str, start: int, end: int, *, identity: FileIdentity = UNKNOWN) -> RangeResponse:
        """Fetch a range; see `RangeStore.fetch`."""
        began = time.perf_counter()
        response = await self.store.fetch(href, start, end, identity=identity)
        self.times.append((began, time.perf_counter()))
        return response

    async def aclose(self) -> None:
        """Close nothing: the store belongs to others."""


def _phases(seconds: float, fetches: Spans, decodes: Spans, first_byte_s: float) -> dict[str, float]:
    """Share the time of a read out to `PHASES`, by what goes on between each two events."""
    events: list[tuple[float, int, int]] = []
    for start, end in fetches:
        arriving = min(start + first_byte_s, end)
        events += [(start, 0, 1), (arriving, 0, -1), (arriving, 1, 1), (end, 1, -1)]
    for start, end in decodes:
        events += [(start, 2, 1), (end, 2, -1)]
    found = dict.fromkeys(PHASES, 0.0)
    going_on = [0, 0, 0]
    has_begun = False
    before = 0.0
    for at, kind, change in [*sorted(events), (seconds, 0, 0)]:
        waiting, receiving, decoding = (number > 0 for number in going_on)
        if not has_begun:
            phase = "starting"
        elif decoding:
            phase = "both" if waiting or receiving else "decoding"
        elif receiving:
            phase = "receiving"
        else:
            phase = "waiting" if waiting else "idle"
        found[phase] += max(at - before, 0.0)
        before = max(at, before)
        going_on[kind] += change
        has_begun = has_begun or change > 0
    return found
