"""What notebooks show of arrays: sizes, bands, items, and small pictures of pixels that are in memory already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_sql.arrays.display import rgb_places, stretch_limits, stretched
from rasteret_sql.markup import Html, details, facts, line, panel, pictures, table
from rasteret_sql.wording import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from rasteret_sql.arrays.numpy import ChipArray, RasterArray

#: Pixels along the longer side of a picture; of larger arrays every nth pixel is shown.
SIDE = 112
#: Pictures of one array.
PICTURES = 6
#: Pixels that become black and white. The lowest limits of all pictures count, so that a cloudy one darkens no other.
PERCENTILES = (2, 96)


def raster_html(array: RasterArray) -> Html:
    """Show a `RasterArray`."""
    times = ["" if np.isnat(time) else str(time.astype("M8[s]")).replace("T", " ") for time in array.times]
    rows = list(zip(array.item_ids, times, array.collections, strict=True))
    grid: dict[str, Any] = {"CRS": array.crs and " ".join(array.crs.split())}
    if array.transform is not None:
        a, b, c, d, e, f = array.transform
        grid["pixel"] = f"{np.hypot(a, d):.9g} x {np.hypot(b, e):.9g} in units of the CRS"
        grid["corner"] = f"{c:.12g}, {f:.12g}"
    return panel(
        "RasterArray",
        _sizes("item", array.data),
        facts(grid | {"level": array.level} | _bands(array)),
        _pictures(array, [f"{time[:10]} {item}".strip() for item, time, _ in rows[:PICTURES]], "item"),
        details(count(len(rows), "item"), table(("item", "time (UTC)", "collection"), rows)),
    )


def chip_html(array: ChipArray) -> Html:
    """Show a `ChipArray`."""
    return panel(
        "ChipArray",
        _sizes("chip", array.data),
        facts(_bands(array)),
        _pictures(array, [f"chip {number}" for number in range(min(PICTURES, len(array.data)))], "chip"),
    )


def _sizes(first: str, data: npt.NDArray[Any]) -> str:
    sizes = ", ".join(f"{name}: {length:,}" for name, length in zip((first, "band", "y", "x"), data.shape, strict=True))
    return f"({sizes}) {data.dtype}"


def _bands(array: RasterArray | ChipArray) -> dict[str, Any]:
    is_same = len({repr(value) for value in array.nodata}) == 1
    return {
        "bands": array.bands,
        "nodata": array.nodata[0] if is_same else array.nodata,
        "memory": f"{size(array.data.nbytes)}, and {size(array.mask.nbytes)} for the mask",
    }


def _pictures(array: RasterArray | ChipArray, captions: Sequence[str], noun: str) -> Html | None:
    bands = rgb_places(array.bands) or [0]
    files = _png_files(array.data, array.mask, bands)
    if not files:
        return None
    total = len(array.data)
    of = count(total, noun) if len(files) == total else f"the first {len(files)} of {count(total, noun)}"
    names = ", ".join(array.bands[band] for band in bands)
    return Html(pictures(zip(files, captions, strict=True), side=SIDE) + line(f"{names} of {of}"))


def _png_files(data: npt.NDArray[Any], mask: npt.NDArray[np.bool_], bands: list[int]) -> list[bytes]:
    """Make a PNG file of each of the first arrays; pixels that are not valid are transparent."""
    if not data.size or data.dtype.kind not in "biuf":
        return []
    import imagecodecs

    step = -(-max(data.shape[2:]) // SIDE)
    pixels = data[:PICTURES, bands, ::step, ::step].astype(np.float64)
    valid = np.asarray(mask[:PICTURES, bands, ::step, ::step].all(axis=1) & np.isfinite(pixels).all(axis=1))
    images = np.zeros((*valid.shape, len(bands) + 1), np.uint8)
    for channel in range(len(bands)):
        values = pixels[:, channel]
        seen = [each[mask] for each, mask in zip(values, valid, strict=True)]
        images[..., channel] = stretched(values, valid, stretch_limits(seen, PERCENTILES, np.min))
    images[..., -1] = np.where(valid, 255, 0)
    return [bytes(imagecodecs.png_encode(image)) for image in images]
