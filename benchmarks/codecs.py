"""Decode speed per codec and predictor: one thread, encoded tiles that are in memory already.

Timed is a pass over all tiles of a file, each decoded once, and nothing is kept from pass to pass:

* ours: `TileDecoder.decode` of the bytes of each tile into its place in an image that was allocated before.
* tifffile: `TiffPage.decode` of the same bytes. Its tiles are arrays of their own and are dropped as they come;
  what placing them in an image would cost it is not counted.
* rasterio: `read(window=, out=)` of each block into its place in the same image, from a file in GDAL's memory, by
  a dataset that is opened anew for each pass, so that its block cache is empty. GDAL_NUM_THREADS is 1.

Not timed: writing the file, opening it, parsing its header, making decoders, allocating the image. The contenders take
turns, medians of their passes count, and the clock is the CPU time of the process: what else the machine does
counts less, and a second thread would be paid for.
"""

from __future__ import annotations

import gc
import io
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.workloads import OURS
from rasteret_sql.testing import SceneOptions, encode_cog, make_landscape
from rasteret_sql.tiff.buffer import SparseBytes
from rasteret_sql.tiff.decode import TileDecoder
from rasteret_sql.tiff.header import parse_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import numpy.typing as npt

    Image = npt.NDArray[Any]
    #: A pass over all tiles; whether they all have to lie in the image afterwards.
    Pass = Callable[[bool], None]

NAME = "codecs"
TITLE = "decoded MB/s of one thread, tiles of {tile}² in memory"
PEERS = ("tifffile", "rasterio")
#: Our speed is to be at least this part of that of the faster peer.
LEAST = 0.9
_PASSES = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of file.

    Attributes:
        name: codec and predictor.
        pixels: key of what `_make_pixels` gives.
        options: of `write_cog`.
        is_promised: whether `LEAST` is promised.
        peers: who decodes such tiles.
        tolerance: by how much pixels may differ between contenders.
    """

    name: str
    pixels: str
    options: dict[str, Any]
    is_promised: bool = True
    peers: tuple[str, ...] = PEERS
    tolerance: int = 0


CASES = (
    Case("deflate", "uint16", {"compression": "deflate", "predictor": 1}),
    Case("deflate, 2", "uint16", {"compression": "deflate", "predictor": 2}),
    Case("deflate, 3", "float32", {"compression": "deflate", "predictor": 3}),
    Case("lzw, 2", "uint16", {"compression": "lzw", "predictor": 2}),
    Case("zstd, 2", "uint16", {"compression": "zstd", "predictor": 2}),
    Case("zstd, 3", "float32", {"compression": "zstd", "predictor": 3}),
    Case("lerc", "float32", {"compression": "lerc"}),
    # Versions of libjpeg interpolate colour differently.
    Case("jpeg, YCbCr", "uint8 RGB", {"compression": "jpeg", "photometric": "ycbcr"}, tolerance=40),
    Case("deflate, 2", "uint16, 4 bands", {"compression": "deflate", "predictor": 2}, is_promised=False),
    Case("lerc", "float32, edge of a swath", {"compression": "lerc"}, is_promised=False),
    Case("lerc + zstd", "float32", {"compression": "lerc_zstd"}, is_promised=False),
    Case("webp", "uint8 RGB", {"compression": "webp", "photometric": "rgb"}, is_promised=False),
    Case("packbits", "uint8 classes", {"compression": "packbits"}, is_promised=False),
    # What tifffile gives are the bytes themselves.
    Case("none", "uint16", {"compression": "none"}, is_promised=False, peers=("rasterio",)),
)


@dataclass(frozen=True, slots=True)
class Coded:
    """A file in memory, and the image that its tiles are decoded into, shape (height, width, bands)."""

    case: Case
    data: bytes
    image: Image


@dataclass(slots=True)
class Speeds:
    """What was measured of one case: seconds of each pass, by contender."""

    coded: Coded
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def megabytes_per_s(self, name: str) -> float | None:
        """The median speed of a contender, None where it took no part."""
        seconds = self.seconds.get(name)
        return self.coded.image.nbytes / statistics.median(seconds) / 1e6 if seconds else None

    @property
    def ratio(self) -> float | None:
        """Our speed to that of the faster peer."""
        ours = self.megabytes_per_s(OURS)
        peers = [speed for name in PEERS if (speed := self.megabytes_per_s(name)) is not None]
        return ours / max(peers) if ours is not None and peers else None


def run(peers: Sequence[str], size: int, tile: int, repeat: int, *, with_targets: bool) -> tuple[str, list[str]]:
    """Measure all cases.

    Args:
        peers: those of `PEERS` that take part.
        size: height and width of the images.
        tile: height and width of their tiles.
        repeat: passes that count are three times as many.
        with_targets: say whether our promise holds.

    Returns:
        The results as Markdown, and who read other pixels than we did.
    """
    pixels = _make_pixels(size)
    rows, wrong = [], []
    for case in CASES:
        bands = pixels[case.pixels]
        data = encode_cog(bands, tile=tile, overviews=(), **case.options)
        coded = Coded(case, data, np.zeros((*bands.shape[1:], bands.shape[0]), bands.dtype))
        names = [OURS, *(name for name in case.peers if name in peers)]
        wrong += _differences(coded, names)
        rows.append(_measure(coded, names, repeat * _PASSES))
    return table(rows, tile, with_targets=with_targets), wrong


def table(rows: Sequence[Speeds], tile: int, *, with_targets: bool) -> str:
    """Give one row per case, and below it whether our promise holds where that is asked for."""
    lines = [
        f"### {NAME}: {TITLE.format(tile=tile)}",
        "",
        f"| codec, predictor | pixels | times smaller | {OURS} | {' | '.join(PEERS)} | ours / the faster |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        case, speeds = row.coded.case, [row.megabytes_per_s(name) for name in (OURS, *PEERS)]
        shown = " | ".join("" if speed is None else f"{speed:.0f}" for speed in speeds)
        smaller = row.coded.image.nbytes / len(row.coded.data)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(f"| {case.name} | {case.pixels} | {smaller:.1f} | {shown} | {ratio} |")
    said = []
    if with_targets:
        for row in rows:
            if row.coded.case.is_promised:
                verdict = "not measured" if row.ratio is None else "kept" if row.ratio >= LEAST else "MISSED"
                ratio = "" if row.ratio is None else f"{row.ratio:.2f}, "
                said.append(f"* {row.coded.case.name}: at least {LEAST:.2f} x the faster peer: {ratio}{verdict}")
    return "\n".join([*lines, "", *said, ""])


def _make_pixels(size: int) -> dict[str, Image]:
    """Arrays (bands, size, size) that compress like scenes of Sentinel-2 and what is derived from them."""
    scene = make_landscape(size, size).scene(datetime(2024, 10, 1), SceneOptions(cloud_cover=0.1))  # noqa: DTZ001
    blue, green, red, nir = scene.bands
    index = (nir.astype(np.float32) - red) / np.maximum(nir.astype(np.float32) + red, 1)
    is_seen = np.add.outer(np.arange(size), 3 * np.arange(size)) < 2 * size
    return {
        "uint16": red[None],
        "uint16, 4 bands": scene.bands,
        "float32": index[None],
        "float32, edge of a swath": np.where(is_seen, index, np.float32(-9999))[None],
        "uint8 RGB": np.clip(np.stack((red, green, blue)) // 12, 0, 255).astype(np.uint8),
        "uint8 classes": scene.scl.repeat(2, axis=0).repeat(2, axis=1)[None],
    }


def _measure(coded: Coded, names: Sequence[str], passes: int) -> Speeds:
    speeds = Speeds(coded)
    for number in range(passes):
        # Who comes first changes: it finds the caches as another case or the collector of garbage left them.
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            with _READERS[name](coded) as decode:
                gc.collect()
                began_s = time.process_time()
                decode(False)
                speeds.seconds.setdefault(name, []).append(time.process_time() - began_s)
    return speeds


def _differences(coded: Coded, names: Sequence[str]) -> list[str]:
    """Say who gives other pixels than we do; it warms everything up, too."""
    wrong = []
    expected = coded.image
    for name in names:
        coded.image[...] = 0
        with _READERS[name](coded) as decode:
            decode(True)
        if name == OURS:
            expected = coded.image.copy()
            continue
        most = np.abs(expected.astype(np.float64) - coded.image).max()
        # A comparison with NaN is never true.
        if not most <= coded.case.tolerance:
            wrong.append(f"{NAME}, {coded.case.name}, {coded.case.pixels}: pixels of {name} differ by up to {most}")
    return wrong


@contextmanager
def _ours(coded: Coded) -> Iterator[Pass]:
    level = parse_header(SparseBytes((0, coded.data), file_size=len(coded.data))).levels[0]
    decoder = TileDecoder(level.format)
    height, width = level.format.tile_height, level.format.tile_width
    view = memoryview(coded.data)
    tiles = []
    spans = zip(level.tile_offsets.tolist(), level.tile_byte_counts.tolist(), strict=True)
    for number, (offset, count) in enumerate(spans):
        row, col = divmod(number, level.tiles_across)
        place = coded.image[row * height : (row + 1) * height, col * width : (col + 1) * width]
        tiles.append((view[offset : offset + count], place))

    def decode(_: bool) -> None:  # noqa: FBT001
        for data, place in tiles:
            decoder.decode(data, *place.shape[:2], out=place)

    yield decode


@contextmanager
def _tifffile(coded: Coded) -> Iterator[Pass]:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(coded.data)) as file:
        page = file.pages.first
        decode_tile = page.decode
        further = {"jpegtables": page.jpegtables} if page.jpegtables else {}
        tiles = [
            coded.data[offset : offset + count]
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]

        def decode(keep: bool) -> None:  # noqa: FBT001
            for index, data in enumerate(tiles):
                pixels, (*_, row, col, _), (_, height, width, _) = decode_tile(data, index, **further)
                if keep:
                    coded.image[row : row + height, col : col + width] = pixels[0, :height, :width]

        yield decode


@contextmanager
def _rasterio(coded: Coded) -> Iterator[Pass]:
    import rasterio
    from rasterio.io import MemoryFile

    bands = np.moveaxis(coded.image, -1, 0)
    with rasterio.Env(GDAL_NUM_THREADS=1), MemoryFile(coded.data) as memory, memory.open() as dataset:
        blocks = [(window, bands[(slice(None), *window.toslices())]) for _, window in dataset.block_windows(1)]

        def decode(_: bool) -> None:  # noqa: FBT001
            for window, place in blocks:
                dataset.read(out=place, window=window)

        yield decode


_READERS: dict[str, Callable[[Coded], AbstractContextManager[Pass]]] = {
    OURS: _ours,
    "tifffile": _tifffile,
    "rasterio": _rasterio,
}
