"""The small TIFFs that fuzzing starts from, and how they are made; `python -m tests.fuzz.corpus` makes them again.

They are kept in `corpus/` so that a run does not depend on the codec libraries that are installed. Files in
`regressions/` are inputs that once broke something; how those were found does not matter, so nothing makes them again.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rasteret_sql.testing import encode_cog
from rasteret_sql.tiff.writing.layout import FieldType, Ifd, LayoutOptions, Tag, assemble_tiff
from tests.tiff.conftest import BASIC, write_tiff

CORPUS = Path(__file__).parent / "corpus"
REGRESSIONS = Path(__file__).parent / "regressions"


@cache
def corpus() -> dict[str, bytes]:
    """The files of the corpus by name."""
    return {path.name: path.read_bytes() for path in sorted(CORPUS.glob("*.tif"))}


@cache
def regressions() -> dict[str, bytes]:
    """The files of the regressions by name."""
    return {path.name: path.read_bytes() for path in sorted(REGRESSIONS.glob("*.tif"))}


def image(dtype: str = "uint8", bands: int = 1, height: int = 20, width: int = 18, largest: int = 200) -> np.ndarray:
    """Pixels (bands, height, width) with runs and slopes, all different between bands."""
    ramp = np.add.outer(np.arange(height) // 3, np.arange(width) // 2) * 3
    return np.stack([(ramp + 7 * band) % (largest + 1) for band in range(bands)]).astype(dtype)


def _mask(height: int = 20, width: int = 18) -> np.ndarray:
    return np.add.outer(np.arange(height), np.arange(width)) % 5 > 0


def _cogs() -> dict[str, bytes]:
    """What `encode_cog` writes: codecs, layouts, sample types, masks, overviews, byte orders."""
    small: dict[str, Any] = {"tile": 16, "overviews": (2,)}
    colors = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
    float_image = image("float32") / np.float32(3)
    return {
        "deflate_predictor2_uint16": encode_cog(image("uint16"), **small),
        "deflate_predictor2_uint16_big_endian": encode_cog(image("uint16"), **small, byte_order="big"),
        "deflate_bigtiff_big_endian_int32": encode_cog(image("int32"), **small, byte_order="big", bigtiff=True),
        "deflate_bigtiff_uint64": encode_cog(image("uint64"), tile=16, overviews=(), bigtiff=True),
        "deflate_old_strips_int16": encode_cog(image("int16"), compression="deflate_old", rows_per_strip=7, overviews=()),
        "deflate_masks_of_every_level": encode_cog(image(bands=3), _mask(), **small, photometric="rgb"),
        "deflate_mask_of_8_bits": encode_cog(image(), _mask(), **small, mask_bits=8, ifds="last"),
        "deflate_ghost_area_sparse": encode_cog(
            np.pad(image("uint16"), ((0, 0), (0, 20), (0, 20))), **small, sparse=True, nodata=0, block_leaders=True
        ),
        "deflate_planar_4_bands_alpha": encode_cog(image(bands=4), **small, planar=True, alpha=True),
        "deflate_chunky_5_bands_metadata": encode_cog(
            image("int16", bands=5), **small, nodata=-9999,
            band_names=[f"B{number}" for number in range(5)], scales=[0.1, 1e-4, 1, 2, 3], offsets=[0, -1, 0.5, 2, 3],
            units=["m", "K", "", "%", "1"], metadata={"AREA_OR_POINT": "Area", "A & B": "<c>"},
        ),
        "deflate_fill_order_2": encode_cog(image(), **small, fill_order=2),
        "deflate_half_float_predictor3": encode_cog(float_image.astype("float16"), **small),
        "deflate_complex64": encode_cog(image("complex64"), tile=16, overviews=(), predictor=1),
        "deflate_boolean": encode_cog(_mask(), tile=16, overviews=()),
        "deflate_12_bits": encode_cog(image("uint16", bands=2), tile=16, overviews=(), bits_per_sample=12),
        "deflate_palette_4_bits_pixel_is_point": encode_cog(
            image(largest=15), tile=16, overviews=(), bits_per_sample=4, photometric="palette", colormap=colors[:16],
            area_or_point="point",
        ),
        "deflate_geographic_nan": encode_cog(
            float_image, **small, crs="EPSG:4326", transform=(0.1, 0, 10, 0, -0.1, 50), nodata=float("nan")
        ),
        "deflate_rotated": encode_cog(image(), tile=16, overviews=(), transform=(1, 0.5, 0, 0.5, -1, 0)),
        "lzw_predictor3_float32": encode_cog(float_image, **small, compression="lzw"),
        "lzw_predictor2_int8_3_bands": encode_cog(image("int8", 3, largest=100), **small, compression="lzw"),
        "lzw_no_predictor_strips": encode_cog(image(), compression="lzw", predictor=1, rows_per_strip=6, overviews=()),
        "zstd_predictor3_float64_big_endian": encode_cog(
            image("float64") / 7, **small, compression="zstd", byte_order="big"
        ),
        "zstd_predictor2_uint32_planar": encode_cog(image("uint32", 2), **small, compression="zstd", planar=True),
        "lzma_uint16": encode_cog(image("uint16"), tile=16, overviews=(), compression="lzma"),
        "packbits_strips": encode_cog(image(), compression="packbits", rows_per_strip=5, overviews=(2,)),
        "packbits_uint16_tiles": encode_cog(image("uint16"), **small, compression="packbits"),
        "none_float32_tiles": encode_cog(float_image, **small, compression="none"),
        "none_uint16_big_endian_strips": encode_cog(
            image("uint16"), compression="none", byte_order="big", rows_per_strip=4, overviews=()
        ),
        "none_miniswhite_without_grid": encode_cog(
            image(), compression="none", photometric="miniswhite", crs=None, transform=None, rows_per_strip=20, overviews=()
        ),
        "lerc_float32": encode_cog(float_image, **small, compression="lerc"),
        "lerc_uint8_3_bands": encode_cog(image(bands=3), tile=16, overviews=(), compression="lerc"),
        "lerc_deflate_uint16": encode_cog(image("uint16"), tile=16, overviews=(), compression="lerc_deflate"),
        "lerc_zstd_int32_lossy": encode_cog(image("int32"), tile=16, overviews=(), compression="lerc_zstd", level=2),
        "jpeg_gray": encode_cog(image(), tile=16, overviews=(), compression="jpeg"),
        "jpeg_gray_without_tables": encode_cog(image(), tile=16, overviews=(), compression="jpeg", jpeg_tables=False),
        "jpeg_rgb": encode_cog(image(bands=3), tile=16, overviews=(), compression="jpeg", photometric="rgb"),
        "jpeg_ycbcr_mask": encode_cog(
            image(bands=3), _mask(), tile=16, overviews=(), compression="jpeg", photometric="ycbcr", ifds="first"
        ),
        "webp_rgb": encode_cog(image(bands=3), tile=16, overviews=(), compression="webp", photometric="rgb"),
        "webp_rgba_lossy": encode_cog(
            image(bands=4), tile=16, overviews=(), compression="webp", photometric="rgb", alpha=True, level=50
        ),
    }  # fmt: skip


def _bits(text: str) -> bytes:
    text = text.replace(" ", "")
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))


_ROW = "1000 0011"
"""Three white pixels and five black ones, coded for themselves."""
_END_OF_LINE = "000000000001"


def _changed(*changes: tuple[int, int, Any]) -> list[tuple[int, int, Any]]:
    entries = {entry[0]: entry for entry in BASIC} | {entry[0]: entry for entry in changes}
    return [entry for entry in sorted(entries.values(), key=lambda entry: entry[0]) if entry[2] is not None]


def _bilevel(compression: int, data: bytes, *more: tuple[int, int, Any]) -> bytes:
    return write_tiff(_changed((258, 3, 1), (259, 3, compression), (279, 4, len(data)), *more), data=data)


def _by_hand() -> dict[str, bytes]:
    """What no writer writes: odd tags, odd codecs, and how IFDs may hang together."""
    keys = (1, 1, 1, 6, 1024, 0, 1, 1, 1025, 0, 1, 2, 1026, 34737, 4, 0, 3072, 0, 1, 32643, 3076, 0, 1, 9001,
            4096, 0, 1, 5773)  # fmt: skip
    defined = (1, 1, 0, 9, 1024, 0, 1, 1, 1026, 34737, 8, 0, 2048, 0, 1, 32767, 2057, 34736, 1, 0, 2059, 34736, 1, 1,
               3072, 0, 1, 32767, 3074, 0, 1, 32767, 3075, 0, 1, 11, 3078, 34736, 1, 2)  # fmt: skip
    xml = '<GDALMetadata><Item name="SCALE" sample="0" role="scale">0.1</Item></GDALMetadata>'
    overview = [entry for entry in _changed((254, 4, 1), (256, 3, 4), (257, 3, 4)) if entry[0] not in {273, 278, 279}]
    overview += [(322, 3, 8), (323, 3, 8), (324, 4, 16), (325, 4, 64)]
    rich = _changed((254, 4, 0), (33550, 12, (10.0, 20.0, 0.0)), (33922, 12, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0)),
                    (34735, 3, keys), (34737, 2, "utm|"), (42112, 2, xml), (42113, 2, "0"))  # fmt: skip
    albers = _changed((34264, 12, (30.0, 0, 0, 5.0, 0, -30.0, 0, 6.0, 0, 0, 0, 0, 0, 0, 0, 1.0)), (34735, 3, defined),
                      (34736, 12, (6378137.0, 298.257, 29.5)), (34737, 2, "albers |"), (42113, 2, "1e39"))  # fmt: skip
    esri = 'ESRI PE String = GEOGCS["a",DATUM["b",SPHEROID["c",6378137,298]],PRIMEM["d",0],UNIT["Degree",0.0174]]'
    cited = _changed((34735, 3, (1, 1, 0, 2, 1024, 0, 1, 1, 3073, 34737, len(esri), 0)), (34737, 2, esri))
    ycbcr = zlib.compress(bytes(range(6)) * 16)
    rgb = zlib.compress(bytes(range(256)))
    return {
        "uncompressed_every_dataset_tag": write_tiff(rich, overview),
        "uncompressed_every_dataset_tag_bigtiff_big_endian": write_tiff(rich, overview, order=">", bigtiff=True),
        "uncompressed_user_defined_crs": write_tiff(albers),
        "uncompressed_esri_wkt": write_tiff(cited),
        "uncompressed_ground_control_points": write_tiff(_changed((33922, 12, tuple(map(float, range(24)))))),
        "uncompressed_without_byte_counts": write_tiff(_changed((279, 4, None))),
        "uncompressed_9_bits": write_tiff(_changed((258, 3, 9), (279, 4, 72)), data=bytes(range(72))),
        "uncompressed_float24": write_tiff(_changed((258, 3, 24), (339, 3, 3), (279, 4, 192)), data=bytes(range(192))),
        "uncompressed_signed_24_bits_big_endian": write_tiff(
            _changed((258, 3, 24), (339, 3, 2), (279, 4, 192)), data=bytes(range(192)), order=">"
        ),
        "uncompressed_complex_int16": write_tiff(_changed((258, 3, 32), (339, 3, 5), (279, 4, 256)), data=bytes(256)),
        "uncompressed_five_pages": write_tiff(BASIC, BASIC, _changed((255, 3, 2)), _changed((255, 3, 3)), overview),
        "uncompressed_one_strip_per_row": write_tiff(
            _changed((278, 3, 1), (273, 4, [16 + 8 * row for row in range(8)]), (279, 3, [8] * 8))
        ),
        "deflate_ycbcr_2_by_2": write_tiff(
            _changed((258, 3, [8] * 3), (259, 3, 8), (262, 3, 6), (277, 3, 3), (279, 4, len(ycbcr)), (530, 3, (2, 2)),
                     (529, 5, (299, 1000, 587, 1000, 114, 1000)), (532, 5, (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1))),
            data=ycbcr,
        ),
        "deflate_cmyk": write_tiff(
            _changed((258, 3, [8] * 4), (259, 3, 8), (262, 3, 5), (277, 3, 4), (279, 4, len(rgb))), data=rgb
        ),
        "ccitt_rle": _bilevel(2, _bits(_ROW * 8)),
        "ccitt_group_3": _bilevel(3, _bits((_END_OF_LINE + _ROW) * 8), (292, 4, 0)),
        "ccitt_group_3_two_dimensional": _bilevel(3, _bits((_END_OF_LINE + "1" + _ROW + _END_OF_LINE + "0 1 1") * 4), (292, 4, 1)),
        "ccitt_group_4": _bilevel(4, _bits("001" + _ROW + "1 1" * 3 + "011 1" + "0001 1" + "1" * 4)),
        "sub_ifds_and_a_mask": _sub_ifds(),
    }  # fmt: skip


def _layout_tags(compression: int, samples: int, *more: Tag) -> tuple[Tag, ...]:
    shorts = (
        (256, 16),
        (257, 16),
        (259, compression),
        (262, 2 if samples == 3 else 1),
        (277, samples),
        (322, 16),
        (323, 16),
    )
    listed = [Tag(code, FieldType.SHORT, (value,)) for code, value in shorts]
    return (*listed, Tag(258, FieldType.SHORT, (8,) * samples), *more)


def _sub_ifds() -> bytes:
    tile = zlib.compress(image(height=16, width=16).tobytes())
    overview = Ifd(_layout_tags(8, 1, Tag(254, FieldType.LONG, (1,))), (tile,))
    mask = Ifd(_layout_tags(8, 1, Tag(254, FieldType.LONG, (4,))), (tile,))
    main = Ifd(_layout_tags(8, 1), (tile,), sub_ifds=(overview, mask))
    return b"".join(assemble_tiff([main], LayoutOptions()))


def _image_codecs() -> dict[str, bytes]:
    """Codecs that `encode_cog` does not write."""
    import imagecodecs

    files = {}
    for samples in (1, 3):
        pixels = np.moveaxis(image(bands=samples, height=16, width=16), 0, -1)
        pixels = pixels[..., 0] if samples == 1 else np.ascontiguousarray(pixels)
        encoded = {
            50002: ("jpegxl", imagecodecs.jpegxl_encode(pixels, lossless=True)),
            34712: ("jpeg2000", imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k")),
        }
        for compression, (name, data) in encoded.items():
            ifd = Ifd(_layout_tags(compression, samples), (bytes(data),))
            files[f"{name}_{samples}_bands"] = b"".join(assemble_tiff([ifd], LayoutOptions()))
    return files


def make_corpus() -> dict[str, bytes]:
    """All files of the corpus by name, made anew."""
    return {f"{name}.tif": data for name, data in {**_cogs(), **_by_hand(), **_image_codecs()}.items()}


def main() -> None:
    """Write the corpus."""
    CORPUS.mkdir(exist_ok=True)
    made = make_corpus()
    for path in CORPUS.glob("*.tif"):
        if path.name not in made:
            path.unlink()
    for name, data in made.items():
        (CORPUS / name).write_bytes(data)


if __name__ == "__main__":
    main()
