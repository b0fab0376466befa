"""The colours that files give to their values: photometric interpretation, alpha, palettes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from rasteret_sql.index.headers import read_parsed
from rasteret_sql.io import loop
from rasteret_sql.io.asked import redact
from rasteret_sql.plan.native_grid import named
from rasteret_sql.plan.tile_plan import MaskKind
from rasteret_sql.tiff.ifd import parse_container, parse_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.io.identity import FileIdentity
    from rasteret_sql.plan.cube import Cube
    from rasteret_sql.plan.tile_plan import PlannedAsset
    from rasteret_sql.tiff.buffer import SparseBytes

#: TIFF PhotometricInterpretation: RGB, palette, YCbCr.
_RGB: Final = frozenset({2, 6})
PALETTE: Final = 3
#: Mosaics and resampling methods that give values of the files, and never new ones.
KEEPING_MOSAICS: Final = frozenset({None, "first", "last", "min", "max"})
_KEEPING_METHODS: Final = frozenset({"nearest", "mode", "min", "max"})
_LOGGER: Final = logging.getLogger("rasteret_sql")
_COLOR_MAP: Final = 320  # TIFF 6.0, section 5: all reds, then all greens, then all blues, of 16 bits each


@dataclass(frozen=True, slots=True)
class FileColors:
    """How bands become colours.

    Attributes:
        photometric: "minisblack", "rgb" or "palette".
        has_alpha: whether the last band is the alpha channel of the others.
        table: the colours of a palette by value, uint8 (n, 3), or None.
    """

    photometric: Literal["minisblack", "rgb", "palette"] = "minisblack"
    has_alpha: bool = False
    table: npt.NDArray[np.uint8] | None = None


def colors_of(cube: Cube, group: int, places: Sequence[int]) -> FileColors:
    """Give the colours of some bands of a slice, where they have the values of the files.

    A palette costs one small request per file.

    Raises:
        RasteretError: a palette could not be fetched.
    """
    chosen = np.flatnonzero((cube.sources.group == group) & np.isin(cube.sources.place, list(places)))
    sources = cube.sources.take(chosen)
    files = [cube.plan.assets[number] for number in sources.asset_no.tolist()]
    bands = [cube.bands[place] for place in places]
    if not files or any(band.mosaic == "count" or band.dtype != band.source_dtype for band in bands):
        return FileColors()
    photometrics = {file.format.photometric for file in files}
    if photometrics == {PALETTE} and len(bands) == 1:
        is_kept = bands[0].mosaic in KEEPING_MOSAICS and bands[0].method in _KEEPING_METHODS
        return FileColors("palette", table=_shared_table(files)) if is_kept else FileColors()
    first = {(place, band) for place, band in zip(sources.place, sources.band, strict=True) if place in places[:3]}
    is_color = photometrics <= _RGB and first == set(zip(places[:3], (1, 2, 3), strict=False))
    is_alpha = [file.alpha_band == band for file, band in zip(files, sources.band.tolist(), strict=True)]
    # One file on its own pixels: only there is alpha certain to be 0 where the colours have no data, and nowhere else.
    has_alpha = (
        len(bands) > 1
        and len({(file.address, file.asset) for file in files}) == 1
        and is_alpha == [place == places[-1] for place in sources.place.tolist()]
        and len(files) == len(bands)
        and all(band.method == "nearest" for band in bands)
        and {kind for band in bands[:-1] for kind in band.mask_kinds} == {MaskKind.ALPHA}
    )
    return FileColors("rgb" if is_color else "minisblack", has_alpha)


def _shared_table(files: Sequence[PlannedAsset]) -> npt.NDArray[np.uint8] | None:
    """Give the palette of all files; None, with a warning in the log, where they differ."""
    tables = {file.address: color_table(file.address, file.identity)[0] for file in files}
    expected = tables[files[0].address]
    for file in files[1:]:
        table = tables[file.address]
        if table is None or expected is None or not np.array_equal(table, expected):
            _LOGGER.warning("%s and %s have different palettes; the export has none", named(files[0]), named(file))
            return None
    return expected


def color_table(address: str, identity: FileIdentity) -> tuple[npt.NDArray[np.uint8] | None, int, int]:
    """Read the colour table of a file.

    Args:
        address: where its bytes are.
        identity: facts that it must have.

    Returns:
        The colours, uint8 (n, 3), by value, or None where it has no such table; requests; and bytes.

    Raises:
        RasteretError: the bytes could not be fetched, or are those of no TIFF.
    """
    found = loop.run(read_parsed(address, lambda buffer: _parsed(buffer, redact(address)), identity=identity))
    return found.header, found.requests, found.nbytes


def _parsed(buffer: SparseBytes, name: str) -> npt.NDArray[np.uint8] | None:
    """Give the table of the first IFD.

    Raises:
        NeedBytes: parts of it are not there yet.
        TiffError: these are the bytes of no TIFF.
    """
    container = parse_container(buffer, name)
    directory, _ = parse_directory(buffer, container, container.first_ifd, f"{name}, IFD 0")
    values = np.array(directory.integers(_COLOR_MAP), np.int64)
    if not values.size or values.size % 3:
        return None
    # Some writers took bytes for the 16 bits.
    scaled = values if values.max() < 256 else values >> 8
    return scaled.reshape(3, -1).T.astype(np.uint8)
