"""One IFD to one `Level`: sizes, sample type, codec, and the arrays of its tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from rasteret_sql.errors import CorruptTiffError, UnsupportedTiffError
from rasteret_sql.tiff import names, tags
from rasteret_sql.tiff.color import check_color
from rasteret_sql.tiff.ifd import MAX_TILES, REMEDY, TILE_ARRAYS
from rasteret_sql.tiff.model import Level, TileFormat

if TYPE_CHECKING:
    import numpy.typing as npt

    from rasteret_sql.tiff.ifd import Directory

MAX_SAMPLES: Final = 65535
MAX_SIZE: Final = 2**31 - 1
MAX_CODE: Final = 2**16 - 1

_CMYK: Final = 1
"""InkSet of cyan, magenta, yellow and black."""

MAX_LAYOUTS: Final = 256
"""Layouts that are kept: the files of a collection share few."""

MAX_KEY_BYTES: Final = 1024
"""Largest value of a tag in the key of a layout that is kept; JPEG tables have half of it."""

_LAYOUT_TAGS: Final = tags.LAYOUT_TAGS - TILE_ARRAYS - {tags.NEW_SUBFILE_TYPE, tags.SUBFILE_TYPE}
_LAYOUTS: Final[dict[tuple[object, ...], tuple[int, int, TileFormat]]] = {}

_PREDICTING: Final = frozenset((names.LZW, names.DEFLATE, names.OLD_DEFLATE, names.LZMA, names.ZSTD))
"""Codecs for which libtiff honours the Predictor tag; elsewhere it has no meaning."""

_DTYPES: Final[dict[tuple[int, int], str]] = {
    (1, 8): "uint8", (1, 16): "uint16", (1, 32): "uint32", (1, 64): "uint64",
    (2, 8): "int8", (2, 16): "int16", (2, 32): "int32", (2, 64): "int64",
    (3, 16): "float32", (3, 24): "float32", (3, 32): "float32", (3, 64): "float64",
    (5, 32): "complex64", (5, 64): "complex128", (6, 64): "complex64", (6, 128): "complex128",
}  # fmt: skip
"""Decoded dtype by (SampleFormat, BitsPerSample). Other integers of up to 32 bits take the next larger type.
Half floats and complex integers are widened, as rasterio does. Where it would lose something this does not:
complex int32 becomes complex128, and signed integers of odd widths keep their sign."""


def parse_level(directory: Directory) -> Level:
    """Parse the size, format and tile arrays of an IFD.

    Raises:
        NeedBytes: values are not in the buffer yet.
        CorruptTiffError: the tags contradict each other or the size of the file.
        UnsupportedTiffError: the samples, the compression or the colours are of a kind that is not read.
    """
    key = _layout_key(directory)
    layout = _LAYOUTS.get(key)
    if layout is None:
        layout = _layout(directory)
        if len(_LAYOUTS) >= MAX_LAYOUTS:
            _LAYOUTS.clear()
        if key:
            _LAYOUTS[key] = layout
    width, height, tile_format = layout
    offsets, counts = _tile_arrays(directory, width, height, tile_format)
    return Level(width, height, tile_format, offsets, counts)


def _layout_key(directory: Directory) -> tuple[object, ...]:
    """All that `_layout` looks at, as the file has it; empty where that is much."""
    container, sizes = directory.container, tags.TYPE_SIZES
    field_bytes = container.field_bytes
    values: list[object] = [container.byte_order, field_bytes]
    for entry in directory.entries.values():
        if entry[0] in _LAYOUT_TAGS:
            tag, kind, length, _ = entry
            nbytes = length * sizes.get(kind, 0)
            if nbytes > MAX_KEY_BYTES:
                return ()
            values.append(entry if nbytes <= field_bytes else (tag, kind, bytes(directory.raw(tag))))
    return tuple(values)


def _layout(directory: Directory) -> tuple[int, int, TileFormat]:
    """Width and height of an image, and the format of its tiles."""
    width = _size(directory, tags.IMAGE_WIDTH)
    height = _size(directory, tags.IMAGE_LENGTH)
    samples = directory.integer(tags.SAMPLES_PER_PIXEL, 1)
    if not 0 < samples <= MAX_SAMPLES:
        raise directory.corrupt(tags.SAMPLES_PER_PIXEL, str(samples), f"1 to {MAX_SAMPLES}")
    bits = _per_sample(directory, tags.BITS_PER_SAMPLE, samples, 1)
    sample_format = _per_sample(directory, tags.SAMPLE_FORMAT, samples, 1)
    photometric = _code(directory, tags.PHOTOMETRIC, names.MINISBLACK)
    if photometric == names.SEPARATED and bits == 8:
        _check_inks(directory, samples)
        sample_format = 1  # colours that become RGB
    planar = directory.integer(tags.PLANAR_CONFIGURATION, 1)
    if planar not in {1, 2}:
        raise directory.corrupt(tags.PLANAR_CONFIGURATION, str(planar), "1 (chunky) or 2 (planar)")
    compression = directory.integer(tags.COMPRESSION, 1)
    tiled = tags.TILE_WIDTH in directory or tags.TILE_LENGTH in directory
    if tiled:
        tile_width = _size(directory, tags.TILE_WIDTH)
        tile_height = _size(directory, tags.TILE_LENGTH)
    else:
        tile_width = width
        rows = directory.integer(tags.ROWS_PER_STRIP, height)
        if rows <= 0:
            raise directory.corrupt(tags.ROWS_PER_STRIP, str(rows), "at least 1")
        tile_height = min(rows, height)
    tile_format = TileFormat(
        byte_order=directory.container.byte_order,
        dtype=_dtype(directory, sample_format, bits),
        bits_per_sample=bits,
        samples_per_pixel=samples,
        planar=planar == 2 and samples > 1,
        compression=compression,
        predictor=_code(directory, tags.PREDICTOR, 1) if compression in _PREDICTING else 1,
        photometric=photometric,
        fill_order=2 if directory.integer(tags.FILL_ORDER, 1) == 2 else 1,
        tile_width=tile_width,
        tile_height=tile_height,
        tiled=tiled,
        jpeg_tables=_jpeg_tables(directory, compression),
        ycbcr_subsampling=_subsampling(directory),
        codec_parameters=_codec_parameters(directory, compression),
    )
    _check_readable(directory, tile_format)
    return width, height, tile_format


def _check_readable(directory: Directory, tile_format: TileFormat) -> None:
    """Refuse what no decoder here reads, before it is in an index."""
    compression = tile_format.compression
    if compression not in names.BYTE_CODECS and compression not in names.IMAGE_CODECS:
        raise UnsupportedTiffError(
            f"{directory.where}: {tags.tag_name(tags.COMPRESSION)}: got {names.compression_name(compression)} "
            f"({compression}), which is not read; expected one of {names.READ_NAMES}. "
            "Rewrite the file, for example with gdal_translate -of COG."
        )
    try:
        check_color(tile_format)
    except UnsupportedTiffError as error:
        raise UnsupportedTiffError(f"{directory.where}: {error}") from None


def _check_inks(directory: Directory, samples: int) -> None:
    """Refuse inks of which nothing says how they make red, green and blue."""
    ink_set = directory.integer(tags.INK_SET, _CMYK)
    if ink_set != _CMYK and samples >= 4:
        raise UnsupportedTiffError(
            f"{directory.where}: {tags.tag_name(tags.INK_SET)}: got {ink_set}, expected {_CMYK} (CMYK). "
            "Rewrite the file as RGB, or without PhotometricInterpretation 5."
        )


def _code(directory: Directory, tag: int, default: int) -> int:
    """A code, which is a SHORT in TIFF 6.0, whatever integer type the file has it in."""
    code = directory.integer(tag, default)
    if not 0 <= code <= MAX_CODE:
        raise directory.corrupt(tag, str(code), f"0 to {MAX_CODE}")
    return code


def _size(directory: Directory, tag: int) -> int:
    size = directory.integer(tag)
    if not 0 < size <= MAX_SIZE:
        raise directory.corrupt(tag, str(size), f"1 to {MAX_SIZE}")
    return size


def _per_sample(directory: Directory, tag: int, samples: int, default: int) -> int:
    """The value that all samples share."""
    values = directory.integers(tag) or (default,)
    if len(values) != 1 and len(values) < samples:
        raise directory.corrupt(tag, f"{len(values)} values", f"one for each of {samples} samples")
    if len(set(values[:samples])) != 1:
        raise UnsupportedTiffError(
            f"{directory.where}: {tags.tag_name(tag)}: got {sorted(set(values))[:6]}, expected one value for all "
            "samples: images whose samples differ in type are not read. Split the bands into files."
        )
    return values[0]


def _dtype(directory: Directory, sample_format: int, bits: int) -> str:
    if sample_format not in {2, 3, 5, 6}:
        # 4 is "undefined"; libtiff takes it, and what it does not know, for unsigned integers.
        sample_format = 1
    dtype = _DTYPES.get((sample_format, bits))
    if dtype is None and sample_format in {1, 2} and 0 < bits <= 32:
        sign = "u" if sample_format == 1 else ""
        dtype = f"{sign}int{8 if bits <= 8 else 16 if bits <= 16 else 32}"
    if dtype is None:
        raise UnsupportedTiffError(
            f"{directory.where}: got {bits} bits per sample of SampleFormat {sample_format}, "
            "expected integers of 1 to 32 or 64 bits, floats of 16, 24, 32 or 64, or complex numbers of "
            "twice as many. Rewrite the file with a common sample type, for example with gdal_translate -ot."
        )
    return dtype


def _jpeg_tables(directory: Directory, compression: int) -> bytes | None:
    if compression != names.JPEG or tags.JPEG_TABLES not in directory:
        return None
    return bytes(directory.raw(tags.JPEG_TABLES))


def _subsampling(directory: Directory) -> tuple[int, int]:
    values = directory.integers(tags.YCBCR_SUBSAMPLING)
    if len(values) < 2:
        return (2, 2)
    if values[0] not in {1, 2, 4} or values[1] not in {1, 2, 4}:
        raise directory.corrupt(tags.YCBCR_SUBSAMPLING, str(values[:2]), "1, 2 or 4 each way")
    return (values[0], values[1])


def _codec_parameters(directory: Directory, compression: int) -> tuple[int, ...]:
    own = {names.LERC: tags.LERC_PARAMETERS, names.CCITT_FAX3: tags.T4_OPTIONS}.get(compression)
    if own is not None:
        values = directory.integers(own)
        if not all(0 <= value <= MAX_SIZE for value in values):
            raise directory.corrupt(own, str(values[:6]), f"0 to {MAX_SIZE}")
        return values
    photometric = directory.integer(tags.PHOTOMETRIC, names.MINISBLACK)
    if photometric == names.YCBCR and compression in names.BYTE_CODECS:
        return _luma_coefficients(directory)
    return ()


def _luma_coefficients(directory: Directory) -> tuple[int, ...]:
    """YCbCrCoefficients in billionths, so that an index can hold them; empty for those of CCIR 601."""
    black_white = directory.numbers(tags.REFERENCE_BLACK_WHITE)
    if black_white and tuple(black_white[:6]) != (0, 255, 128, 255, 128, 255):
        raise UnsupportedTiffError(
            f"{directory.where}: {tags.tag_name(tags.REFERENCE_BLACK_WHITE)}: got {black_white[:6]}, "
            "expected full-range YCbCr. Rewrite the file as RGB, for example with gdal_translate -of COG."
        )
    coefficients = directory.numbers(tags.YCBCR_COEFFICIENTS)
    if not coefficients:
        return ()
    if len(coefficients) < 3 or not all(0 < value < 1 for value in coefficients[:3]):
        raise directory.corrupt(tags.YCBCR_COEFFICIENTS, str(coefficients[:6]), "three numbers between 0 and 1")
    return tuple(round(value * 1_000_000_000) for value in coefficients[:3])


def _tile_arrays(
    directory: Directory, width: int, height: int, tile_format: TileFormat
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offsets and byte counts of all tiles, checked against the number of tiles and the size of the file."""
    across = -(-width // tile_format.tile_width)
    down = -(-height // tile_format.tile_height)
    expected = across * down * (tile_format.samples_per_pixel if tile_format.planar else 1)
    # libtiff takes the tags of strips and of tiles for one another, and some writers mix them.
    offsets_tag = _present(directory, tile_format, tags.TILE_OFFSETS, tags.STRIP_OFFSETS)
    counts_tag = _present(directory, tile_format, tags.TILE_BYTE_COUNTS, tags.STRIP_BYTE_COUNTS)
    if expected > MAX_TILES:
        raise directory.corrupt(offsets_tag, f"{expected} tiles", f"at most {MAX_TILES}")
    if offsets_tag not in directory:
        raise directory.corrupt(offsets_tag, "no such tag", f"{expected} offsets")
    offsets = _array(directory, offsets_tag, expected)
    if counts_tag in directory:
        counts = _array(directory, counts_tag, expected)
        # Of the only strip libtiff knows better; the only tile is sparse.
        if expected == 1 and not tile_format.tiled and not counts[0] and offsets[0]:
            counts = _estimated(directory, height, tile_format, offsets, counts_tag)
    else:
        counts = _estimated(directory, height, tile_format, offsets, counts_tag)
    if np.any((offsets == 0) & (counts > 0)):
        first = int(np.flatnonzero((offsets == 0) & (counts > 0))[0])
        raise directory.corrupt(
            offsets_tag,
            f"offset 0 of tile {first} of {offsets.size}, which has {int(counts[first])} bytes",
            "an offset behind the file's header, or a byte count of 0",
        )
    _check_inside(directory, offsets_tag, offsets, counts)
    return offsets, counts


def _present(directory: Directory, tile_format: TileFormat, of_tiles: int, of_strips: int) -> int:
    first, second = (of_tiles, of_strips) if tile_format.tiled else (of_strips, of_tiles)
    return first if first in directory or second not in directory else second


def _check_inside(
    directory: Directory, tag: int, offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> None:
    """Refuse tiles that reach beyond the end of the file: it was truncated, or they are made up."""
    file_size = directory.buffer.file_size
    if file_size is None:
        return
    if int(offsets.max()) + int(counts.max()) <= file_size:
        return
    # Not offsets + counts: the sum of two made-up numbers may wrap.
    outside = np.flatnonzero((counts > 0) & (offsets > 0) & ((offsets > file_size) | (counts > file_size - offsets)))
    if outside.size:
        first = int(outside[0])
        start, end = int(offsets[first]), int(offsets[first]) + int(counts[first])
        raise CorruptTiffError(
            f"{directory.where}: {tags.tag_name(tag)}: got tile {first} of {offsets.size} at bytes "
            f"{start} to {end}, expected it inside the {file_size} bytes of the file (truncated?). {REMEDY}"
        )


def _array(directory: Directory, tag: int, expected: int) -> npt.NDArray[np.int64]:
    count = directory.length(tag)
    if count < expected:
        raise directory.corrupt(tag, f"{count} values", f"{expected}, one for each tile")
    return directory.array(tag)[:expected]


def _estimated(
    directory: Directory,
    height: int,
    tile_format: TileFormat,
    offsets: npt.NDArray[np.int64],
    counts_tag: int,
) -> npt.NDArray[np.int64]:
    """Byte counts of a file without them: the size of uncompressed tiles, or up to the end of the file."""
    file_size = directory.buffer.file_size
    if tile_format.compression == names.NONE:
        samples = 1 if tile_format.planar else tile_format.samples_per_pixel
        row = -(-tile_format.tile_width * samples * tile_format.bits_per_sample // 8)
        # No file is as large as the limit; more would not fit the array.
        counts = np.full(offsets.shape, min(row * tile_format.tile_height, 1 << 48), np.int64)
        if not tile_format.tiled:
            down = -(-height // tile_format.tile_height)
            counts[down - 1 :: down] = min(row * (height - (down - 1) * tile_format.tile_height), 1 << 48)
    elif offsets.size == 1 and file_size is not None:
        counts = np.maximum(file_size - offsets, 0)
    else:
        raise directory.corrupt(counts_tag, "no such tag", f"{offsets.size} byte counts")
    return np.where(offsets > 0, counts, 0)
